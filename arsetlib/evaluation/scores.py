"""Scores as functions of counts: one call for one confusion matrix or for thousands, as a bootstrap needs.

Each function takes ``counts`` (…, K, K), rows = truth, columns = prediction, and works over all leading axes. A score
that is not defined (a precision where nothing was predicted) is NaN, never 0, and gives no warning.

Lab: part3_train_and_test.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def ratio(part: ArrayLike, whole: ArrayLike) -> np.ndarray:
    """``part / whole`` as float64, NaN where ``whole`` is 0."""
    part, whole = np.broadcast_arrays(np.asarray(part, np.float64), np.asarray(whole, np.float64))
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole != 0)


def mean_of_known(values: np.ndarray) -> np.ndarray:
    """(…, K) → (…), the mean of what is not NaN; NaN where nothing is known."""
    known = ~np.isnan(values)
    return ratio(np.where(known, values, 0).sum(-1), known.sum(-1))


def hits(counts: np.ndarray) -> np.ndarray:
    """(…, K), samples of each class that were found."""
    return np.diagonal(counts, axis1=-2, axis2=-1)


def support(counts: np.ndarray) -> np.ndarray:
    """(…, K), samples whose truth is each class."""
    return counts.sum(-1)


def predicted(counts: np.ndarray) -> np.ndarray:
    """(…, K), samples predicted as each class."""
    return counts.sum(-2)


def accuracy(counts: np.ndarray) -> np.ndarray:
    """(…), share of the samples that are right; NaN without samples."""
    return ratio(hits(counts).sum(-1), counts.sum((-2, -1)))


def precision(counts: np.ndarray) -> np.ndarray:
    """(…, K), share of each class's predictions that are right (user's accuracy); NaN where it was never predicted."""
    return ratio(hits(counts), predicted(counts))


def recall(counts: np.ndarray) -> np.ndarray:
    """(…, K), share of each class that was found (producer's accuracy); NaN where the truth has none of it."""
    return ratio(hits(counts), support(counts))


def f1(counts: np.ndarray) -> np.ndarray:
    """(…, K), 2 TP / (2 TP + FP + FN): 0 where truth or prediction lacks the class, NaN where both do."""
    return ratio(2 * hits(counts), support(counts) + predicted(counts))


def iou(counts: np.ndarray) -> np.ndarray:
    """(…, K), intersection over union, TP / (TP + FP + FN); NaN where truth and prediction lack the class."""
    return ratio(hits(counts), support(counts) + predicted(counts) - hits(counts))


def kappa(counts: np.ndarray) -> np.ndarray:
    """(…), Cohen's kappa: agreement beyond that of chance with the same totals; NaN where chance agrees fully."""
    total = counts.sum((-2, -1))
    chance = ratio((support(counts).astype(np.float64) * predicted(counts)).sum(-1), total.astype(np.float64) ** 2)
    return ratio(accuracy(counts) - chance, 1 - chance)


def macro_f1(counts: np.ndarray, scored: np.ndarray | None = None) -> np.ndarray:
    """(…), mean F1 of the classes that truth or prediction has; ``scored`` (K,) bool limits it to some classes."""
    return mean_of_known(f1(counts) if scored is None else f1(counts)[..., scored])


def rows_only(counts: np.ndarray, scored: np.ndarray) -> np.ndarray:
    """(…, K, K), the same without the samples whose truth is not ``scored``, (K,) bool."""
    return counts * np.asarray(scored)[:, None]
