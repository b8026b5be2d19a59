"""How good a prediction is, where and when: scores that add up, with intervals, and areas.

    p = trained.predictions(sides["test"], starts=[1, 30, 60, 90, 120])
    p.confusion()                                   # rows = truth
    sum(p.by("block").values()) == p.confusion()    # results add up
    evaluation.by_date(p)                           # scores beside the majority baseline, with intervals
    figures.report(p, "report.html")                # all of it on one page
    evaluation.survey_areas(counts, sizes, mapped, keys)    # hectares from a labelled random sample

Needs neither Spark nor TensorFlow nor Plotly: predictions may come from any model, as class numbers and probabilities.

Lab: part3_train_and_test.
"""

from arsetlib import oldnames
from arsetlib.evaluation import published
from arsetlib.evaluation.areas import Areas, allocate, block_areas, sample_size, stratified_areas
from arsetlib.evaluation.blocks import score_interval
from arsetlib.evaluation.comparison import compare
from arsetlib.evaluation.confusion import Confusion, EvaluationError, single_crops
from arsetlib.evaluation.dates import by_block, by_date, earliest_dates, f1_by_date, majority, score_table
from arsetlib.evaluation.facts import Facts
from arsetlib.evaluation.importance import leave_one_out, permutation_importance
from arsetlib.evaluation.powered import ProbabilitySums, powered_areas
from arsetlib.evaluation.predictions import Predictions, as_date
from arsetlib.evaluation.probabilities import (
    Temperature,
    brier,
    calibration,
    calibration_error,
    log_loss,
    reliability,
    top_k,
)
from arsetlib.evaluation.sampling import allocation, expected_shares, half_widths, size_for_interval
from arsetlib.evaluation.saved import ModelPredictions
from arsetlib.evaluation.surveys import limits, survey_areas

__all__ = [
    "Areas",
    "Confusion",
    "EvaluationError",
    "Facts",
    "ModelPredictions",
    "Predictions",
    "ProbabilitySums",
    "Temperature",
    "allocate",
    "allocation",
    "as_date",
    "block_areas",
    "brier",
    "by_block",
    "by_date",
    "calibration",
    "calibration_error",
    "compare",
    "earliest_dates",
    "expected_shares",
    "f1_by_date",
    "half_widths",
    "leave_one_out",
    "limits",
    "log_loss",
    "majority",
    "permutation_importance",
    "powered_areas",
    "published",
    "reliability",
    "sample_size",
    "score_interval",
    "score_table",
    "single_crops",
    "size_for_interval",
    "stratified_areas",
    "survey_areas",
    "top_k",
]

__getattr__ = oldnames.names_of("evaluation")
