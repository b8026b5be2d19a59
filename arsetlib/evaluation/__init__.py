"""How good a prediction is, where and when: scores that add up, intervals, areas, and a report.

    p = trained.predictions(sides["test"], starts=[1, 30, 60, 90, 120])
    p.confusion()                                   # rows = truth
    sum(p.by("block").values()) == p.confusion()    # results add up

Needs neither Spark nor TensorFlow: predictions may come from any model, as class numbers and probabilities.

Lab: part3_train_and_test.
"""

from arsetlib.evaluation.confusion import Confusion, EvaluationError, single_crops
from arsetlib.evaluation.predictions import Predictions

__all__ = ["Confusion", "EvaluationError", "Predictions", "single_crops"]
