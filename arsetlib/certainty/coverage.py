"""Coverage: how often sets of classes contain the truth, over all rows, by class, block, date or year, with intervals.

Lab: part4_defend_the_map.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from arsetlib.certainty.sets import CertaintyError, Conformal, digest
from arsetlib.evaluation import Predictions
from arsetlib.evaluation.blocks import interval, resampled
from arsetlib.evaluation.predictions import GROUPS


def coverage(
    conformal: Conformal, predictions: Predictions, by: str = "all", *, repeats: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """How often the sets contain the truth, and how large they are.

    Args:
        conformal: Calibrated on other rows.
        predictions: Of the same model, rows with their truth.
        by: ``"all"``, ``"class"`` (of the truth), or a group of ``Predictions.by``: ``"block"``, ``"last"`` (the date),
            ``"year"``, ``"area"``, ….
        repeats, seed: Of the intervals: whole blocks are drawn, because pixels of a field are alike.

    Returns:
        One row a group: ``samples``, ``coverage``, ``coverage_low``, ``coverage_high`` (95 %; NaN where rows lie in
        fewer than two blocks, so always by block), ``mean_size`` (number of classes in a set), ``cannot_say`` (share
        of sets without exactly one class), ``holds``: the interval reaches what was promised. ``attrs["promised"]`` is
        1 − alpha.

    Raises:
        CertaintyError: No rows, other classes, an unknown group, or the very rows of the calibration.

    Lab: part4_defend_the_map.
    """
    if not len(predictions):
        raise CertaintyError("Expected predictions, received none.")
    if by != "class" and by not in GROUPS:
        raise CertaintyError(f"Expected by = 'class' or one of {', '.join(GROUPS)}, received {by!r}.")
    if conformal.rows and conformal.rows == digest(predictions):
        raise CertaintyError(
            "These are the rows on which the sets were calibrated: on them coverage is as promised whatever the model. "
            "Take rows of other blocks, such as the test side of the split."
        )
    sets = conformal.sets(predictions.probability)
    hit = sets[np.arange(len(sets)), predictions.truth]
    size = sets.sum(1)
    if by == "class":
        names, code = predictions.legend.names(), predictions.truth.astype(np.int64)
    else:
        names, code = predictions.groups(by)
    blocks, block = np.unique(predictions.block, return_inverse=True)
    groups = len(names)
    samples = np.bincount(code, minlength=groups)
    hits = np.bincount(code, hit, groups)
    whole = np.maximum(samples, 1)
    frame = pd.DataFrame({"samples": samples, "coverage": hits / whole}, index=pd.Index(names, name=by))
    low, high = _intervals(code, hit, block, groups, len(blocks), repeats, seed)
    frame["coverage_low"], frame["coverage_high"] = low, high
    frame["mean_size"] = np.bincount(code, size, groups) / whole
    frame["cannot_say"] = np.bincount(code, size != 1, groups) / whole
    promised = 1 - conformal.alpha
    reached = np.where(np.isnan(high), frame.coverage, high)
    frame["holds"] = reached >= promised
    frame = frame[samples > 0]
    frame.attrs["promised"] = promised
    return frame


def across(conformal: Conformal, predictions: Mapping[str, Predictions], **options: object) -> pd.DataFrame:
    """Coverage on several sets of rows: the calibration's own year, another year, another place.

    Args:
        conformal: Calibrated on other rows of one of them.
        predictions: Name → rows.
        options: Of ``coverage``.

    Returns:
        As ``coverage``, one row a name. Where ``holds`` is False, the rows do not come from the calibration's source.

    Lab: part4_defend_the_map.
    """
    parts = {name: coverage(conformal, rows, **options).reset_index(drop=True) for name, rows in predictions.items()}
    if not parts:
        raise CertaintyError("Expected at least one set of predictions, received none.")
    table = pd.concat(parts).droplevel(1).rename_axis("name")
    table.attrs["promised"] = 1 - conformal.alpha
    return table


def _intervals(code, hit, block, groups: int, blocks: int, repeats: int, seed: int) -> np.ndarray:
    """(2, groups): blocks drawn with replacement."""
    where = block * groups + code
    counts = np.stack([np.bincount(where, weight, blocks * groups) for weight in (hit, ~hit)])
    counts = counts.reshape(2, blocks, groups).transpose(2, 1, 0)  # (groups, blocks, 2)
    out = np.full((2, groups), np.nan)
    for number, own in enumerate(counts):  # memory of one group
        own = own[own.sum(1) > 0]
        if len(own) > 1:
            drawn = resampled(own[:, None, :].repeat(2, 1), repeats, seed)[:, 0]
            out[:, number] = interval(drawn[:, 0] / drawn.sum(1))
    return out
