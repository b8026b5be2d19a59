"""Compare models on the same samples, and test whether their difference can be chance.

Lab: part3_train_and_test.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from arsetlib.evaluation import scores
from arsetlib.evaluation.blocks import interval, resampled
from arsetlib.evaluation.confusion import EvaluationError
from arsetlib.evaluation.dates import score_table
from arsetlib.evaluation.predictions import Predictions, same_legend
from arsetlib.evaluation.probabilities import calibration_error, top_k

BASELINE = "majority baseline"


def compare(
    models: Mapping[str, Predictions], *, training: ArrayLike | None = None, repeats: int = 500, seed: int = 0
) -> pd.DataFrame:
    """One row a model, best macro-F1 first, then ``majority baseline``.

    ``compare({"forest": p, "tempcnn": q})`` says by ``behind_low`` whether the second is worse by more than chance.

    Args:
        models: Name → predictions of the same samples.
        training, repeats, seed: As in ``score_table``.

    Returns:
        The columns of ``score_table`` without the majority's, then ``top_2``, ``calibration_error``, and
        ``behind``, ``behind_low``, ``behind_high``: macro-F1 of the best model minus that of this one, with an interval
        from the same draws of blocks for both. If it contains 0, the data cannot tell the two apart.

    Raises:
        EvaluationError: No model, or models that did not predict the same samples.
    """
    if not models:
        raise EvaluationError("Expected predictions of at least one model, received none.")
    if BASELINE in models:
        raise EvaluationError(f"Expected another name than {BASELINE!r}, which the baseline's row has.")
    first, *rest = models.items()
    for name, predictions in rest:
        same_samples(first[1], predictions, first[0], name)
    rows = {}
    for name, predictions in models.items():
        row = score_table(predictions, "all", training=training, repeats=repeats, seed=seed).iloc[0]
        extra = {"top_2": top_k(predictions, min(2, len(predictions.legend.classes)))}
        rows[name] = {**row, **extra, "calibration_error": calibration_error(predictions)}
    table = pd.DataFrame(rows).T.sort_values("macro_f1", ascending=False, kind="stable").infer_objects()
    best = table.index[0]
    draws = {n: scores.macro_f1(resampled(p.counts_by("block")[1], repeats, seed)) for n, p in models.items()}
    table["behind"] = table.macro_f1[best] - table.macro_f1
    tails = np.array([interval(draws[best] - draws[name]) for name in table.index])
    table["behind_low"], table["behind_high"] = tails[:, 0], tails[:, 1]
    base = table.loc[best, ["majority_accuracy", "majority_macro_f1"]]
    table = table.drop(columns=["majority_accuracy", "majority_macro_f1"])
    table.loc[BASELINE, ["accuracy", "macro_f1"]] = base.to_numpy()
    return table.astype({"samples": "Int64", "blocks": "Int64"})


def same_samples(one: Predictions, other: Predictions, name: str, other_name: str) -> None:
    """Raise an error if the samples or their labels differ: such scores cannot be compared."""
    same_legend(one.legend, other.legend)
    if len(one) == len(other):
        orders = [np.lexsort((p.pixel, p.year, p.start)) for p in (one, other)]
        sides = [(p.pixel[o], p.year[o], p.start[o]) for p, o in zip((one, other), orders, strict=True)]
        if all(np.array_equal(a, b) for a, b in zip(*sides, strict=True)):
            truths = [p.truth[o] for p, o in zip((one, other), orders, strict=True)]
            if different := int((truths[0] != truths[1]).sum()):
                raise EvaluationError(
                    f"Expected {name!r} and {other_name!r} to be scored against the same labels, received "
                    f"{different:,} of {len(one):,} samples with another label. Evaluate both on one table with one "
                    "study."
                )
            return
    raise EvaluationError(
        f"Expected {name!r} and {other_name!r} to predict the same pixels, years and windows, received {len(one):,} "
        f"and {len(other):,} predictions that differ. Evaluate both on the same side and starts."
    )
