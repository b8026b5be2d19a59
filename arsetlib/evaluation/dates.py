"""Scores by date, block, area or year, with intervals and the majority baseline; from when on a crop is known.

Lab: part3_train_and_test.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from arsetlib.evaluation import scores
from arsetlib.evaluation.blocks import interval, resampled
from arsetlib.evaluation.confusion import Confusion, EvaluationError, numbers_of, single_crops
from arsetlib.evaluation.predictions import Predictions
from arsetlib.translation import _


def majority(truth: Predictions | Confusion, training: ArrayLike | None = None) -> Confusion:
    """Scores of always predicting one class: the baseline for every score.

    Args:
        truth: What is scored. For ``confusion.only(crops)`` it is one of the crops.
        training: (K,) samples or shares of each class in training, whose commonest class is predicted. None takes
            the commonest class of the truth itself: no constant answer is better.

    Raises:
        EvaluationError: ``training`` has another number of classes, or there is nothing to score.
    """
    confusion = truth.confusion() if isinstance(truth, Predictions) else truth
    support = confusion.support
    counts = np.zeros_like(confusion.counts)
    counts[:, _commonest(training, support, confusion.scored)] = support
    return Confusion(counts, confusion.keys, confusion.names, confusion.scored)


def score_table(
    predictions: Predictions, by: str = "last", *, training: ArrayLike | None = None,
    crops: Sequence[str | int] | None = None, repeats: int = 500, seed: int = 0, confidence: float = 0.95,
) -> pd.DataFrame:  # fmt: skip
    """One row a date (or block, area, year).

    Args:
        predictions: Any.
        by: ``"last"`` (date of the prediction), ``"start"``, ``"day_of_year"`` (of the start, years pooled),
            ``"block"``, ``"area"``, ``"year"``, or ``"all"`` for one row.
        training: (K,) samples of each class in training, for the majority baseline. None takes the commonest class of
            each row's own truth: no constant answer is better there.
        crops: Classes of the 'crops only' scores; None takes the classes that are one crop each.
        repeats: Draws of whole blocks for the intervals; 0 leaves them out. A row with one block has none (NaN).
        seed: Of the draws.
        confidence: Of the intervals.

    Returns:
        Columns: ``samples``, ``blocks``; ``accuracy``, ``accuracy_low``, ``accuracy_high``; ``macro_f1`` and its
        ``_low``, ``_high``; ``crops_accuracy``, ``crops_macro_f1`` with theirs, of the samples whose truth is one of
        ``crops``; ``majority_accuracy`` and ``majority_macro_f1``; ``crops_share``, the part of the truth that is one
        of ``crops``. ``attrs`` hold the class that the majority baseline predicts, and the classes of ``crops``.
    """
    if not len(predictions):
        raise EvaluationError("Expected predictions to score, received none.")
    legend = predictions.legend
    crops = single_crops(legend) if crops is None else crops
    kept = np.zeros(len(legend.classes), bool)
    kept[numbers_of(crops, legend.keys)] = True
    measures = {
        "accuracy": scores.accuracy,
        "macro_f1": scores.macro_f1,
        "crops_accuracy": lambda c: scores.accuracy(scores.rows_only(c, kept)),
        "crops_macro_f1": lambda c: scores.macro_f1(scores.rows_only(c, kept), kept),
    }
    rows, index = [], []
    for value, counts in _counts_by_block(predictions, by):
        whole = counts.sum(0)
        row = {"samples": int(whole.sum()), "blocks": len(counts)}
        draws = resampled(counts, repeats, seed) if repeats and len(counts) > 1 else None
        for name, score in measures.items():
            row[name] = float(score(whole))
            if repeats:
                low, high = (np.nan, np.nan) if draws is None else interval(score(draws), confidence)
                row |= {f"{name}_low": float(low), f"{name}_high": float(high)}
        base = majority(Confusion.from_counts(whole, legend), training)
        row |= {"majority_accuracy": base.accuracy, "majority_macro_f1": base.macro_f1}
        row["crops_share"] = float(whole[kept].sum() / whole.sum())
        rows.append(row)
        index.append(value)
    table = pd.DataFrame(rows, index=pd.Index(index, name=_INDEX.get(by, by)))
    table.attrs["majority"] = (
        _("the commonest class of each row's truth")
        if training is None
        else legend.names()[_commonest(training, np.asarray(training))]
    )
    table.attrs["crops"] = [legend.names()[i] for i in np.flatnonzero(kept)]
    return table


def by_date(predictions: Predictions, **options: Any) -> pd.DataFrame:
    """One row a date of prediction, the last day of the window; see ``score_table``."""
    return score_table(predictions, "last", **options)


def by_block(predictions: Predictions, **options: Any) -> pd.DataFrame:
    """One row a spatial block, with its middle, ``x`` and ``y`` in m; see ``score_table``. Without intervals."""
    table = score_table(predictions, "block", **{"repeats": 0, **options})
    values, codes = predictions.groups("block")
    sizes = np.bincount(codes, minlength=len(values))
    table["x"] = np.bincount(codes, predictions.x, len(values)) / sizes
    table["y"] = np.bincount(codes, predictions.y, len(values)) / sizes
    return table


def f1_by_date(predictions: Predictions) -> pd.DataFrame:
    """F1 of each class on each date of prediction: rows = dates, columns = class names, NaN where a class is absent."""
    values, counts = predictions.counts_by("last")
    return pd.DataFrame(scores.f1(counts), pd.Index(values, name="date"), predictions.legend.names())


def earliest_dates(
    predictions: Predictions, f1: float = 0.8, *, classes: Sequence[str | int] | None = None, least: int = 30
) -> pd.DataFrame:
    """When each crop is known: the earliest date of prediction at which its F1 reaches a value.

    Years are pooled by the day of the year on which windows start; dates are those of the last year.

    Args:
        predictions: Several dates of the season.
        f1: The value to reach.
        classes: Keys or numbers; None takes the classes that are one crop each.
        least: A date counts for a class if it has at least so many samples of it; a score of three pixels means little.

    Returns:
        One row a class. ``date``: the first date with that F1, NaT where there is none; ``until``: the last date of
        that run. ``stays``: the first date from which it holds on all later dates that have ``least`` samples, NaT
        where it does not. ``f1``: on ``date``. ``best_f1``, ``best_date``. ``dates``: how many have enough samples.

    Raises:
        EvaluationError: ``f1`` is not in 0-1, or there are no predictions.
    """
    if not 0 < f1 <= 1:
        raise EvaluationError(f"Expected an F1 above 0 and up to 1, received {f1}.")
    if not len(predictions):
        raise EvaluationError("Expected predictions of several dates, received none.")
    legend = predictions.legend
    numbers = numbers_of(single_crops(legend) if classes is None else classes, legend.keys)
    _, codes = predictions.groups("day_of_year")
    _, counts = predictions.counts_by("day_of_year")
    last = np.full(len(counts), np.iinfo(np.int32).min)
    np.maximum.at(last, codes, predictions.last)
    dates = pd.to_datetime(last.astype("datetime64[D]"))
    score, enough = scores.f1(counts), scores.support(counts) >= least
    rows = []
    for i in numbers:
        days = np.flatnonzero(enough[:, i])
        values = score[days, i]
        good = values >= f1
        first = days[good.argmax()] if good.any() else None
        run = days[good.argmax() + np.argmin(np.append(good[good.argmax() :], False)) - 1] if good.any() else None
        held = np.logical_and.accumulate(good[::-1])[::-1]
        best = days[values.argmax()] if len(days) else None
        rows.append(
            {
                "date": dates[first] if first is not None else pd.NaT,
                "until": dates[run] if run is not None else pd.NaT,
                "stays": dates[days[held.argmax()]] if held.any() else pd.NaT,
                "f1": score[first, i] if first is not None else np.nan,
                "best_f1": score[best, i] if best is not None else np.nan,
                "best_date": dates[best] if best is not None else pd.NaT,
                "dates": len(days),
            }
        )
    table = pd.DataFrame(rows, index=pd.Index([legend.names()[i] for i in numbers], name="class"))
    table.attrs |= {"f1": f1, "least": least}
    return table.astype(dict.fromkeys(("date", "until", "stays", "best_date"), "datetime64[s]"))


_INDEX = {"last": "date", "start": "window starts", "day_of_year": "window starts on day"}


def _commonest(training, support: np.ndarray, scored: np.ndarray | bool = True) -> int:
    """Number of the commonest class of training, or of the truth, among those that are scored."""
    if training is None:
        return int(np.where(scored, support, -1).argmax())
    training = np.asarray(training, np.float64)
    if training.shape != support.shape or not np.nan_to_num(training).sum() > 0:
        raise EvaluationError(
            f"Expected the training samples of each of {len(support)} classes, received {training.tolist()}. "
            "A Loader has them as class_counts."
        )
    return int(np.where(scored, training, -1).argmax())


def _counts_by_block(predictions: Predictions, by: str):
    """(value, (blocks, K, K) counts) of each value, in order; blocks are those with samples."""
    values, codes = predictions.groups(by)
    _, blocks = predictions.groups("block")
    classes = len(predictions.legend.classes)
    pairs = predictions.truth.astype(np.int64) * classes + predictions.predicted
    order = np.argsort(codes, kind="stable")
    ends = np.searchsorted(codes[order], np.arange(len(values) + 1))
    for i, value in enumerate(values):
        rows = order[ends[i] : ends[i + 1]]
        _, here = np.unique(blocks[rows], return_inverse=True)
        counts = np.bincount(here * classes**2 + pairs[rows], minlength=(here.max() + 1) * classes**2)
        yield value, counts.reshape(-1, classes, classes)
