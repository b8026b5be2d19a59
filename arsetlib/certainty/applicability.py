"""Area of applicability: which new windows are so far from all training windows that no score speaks for them.

The dissimilarity of a window is its distance to the nearest training window, divided by the mean distance between
training windows. Features that matter more to the model weigh more. What is still near is learned from the training
itself: the distance of each training window to the nearest of another fold, which is what cross-validation had to
bridge. Windows farther away than nearly all of these are outside.

Source: Meyer & Pebesma 2021, Predicting into unknown space? Estimating the area of applicability of spatial prediction
models, Methods in Ecology and Evolution 12.

Lab: part4_defend_the_map.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import ArrayLike

from arsetlib import seeds
from arsetlib.certainty.sets import CertaintyError
from arsetlib.evaluation import Predictions
from arsetlib.samples import Loader, Rows, Scaler
from arsetlib.study import Study

PER_PASS = 16_000_000  # distances held at once
PAIRS = 2000  # training windows whose mean distance is taken
CHANGED = 1e-4  # of a feature that was constant in the training, as a share of its value: more is another value
MONTH = 30  # days of a part of the window


@dataclass(frozen=True, eq=False, repr=False)
class Applicability:
    """The training windows as features, and the distance up to which a new window counts as like them.

    Attributes:
        points: (M, F) float32, the training features, scaled and weighted.
        centre, spread: (F,) mean of the training features; their standard deviation over the weight. The spread is
            infinite for a feature without weight, and 0 for one that is the same in all training windows.
        mean_distance: Mean distance of two training windows.
        threshold: Largest dissimilarity that is inside.
        held_out: (M,) dissimilarity of each training window to the nearest of another fold.

    Lab: part4_defend_the_map.
    """

    points: np.ndarray
    centre: np.ndarray
    spread: np.ndarray
    mean_distance: float
    threshold: float
    held_out: np.ndarray

    def __repr__(self) -> str:
        return f"Applicability({len(self.points):,} windows, {len(self.centre)} features, up to {self.threshold:.3f})"

    @classmethod
    def fit(
        cls, x: ArrayLike, fold: ArrayLike, weights: ArrayLike | None = None, *, most: int = 20_000, seed: int = 0
    ) -> Applicability:
        """Learn what is near from training windows.

        Args:
            x: (N, F) features, as ``features`` gives them.
            fold: (N,) of each row: a spatial block, or the fold that holds it; at least two.
            weights: (F,) importance of the features, 0 or more; None weighs all alike.
            most: Windows that are kept; more are thinned at random. Work grows with this number times the new windows.
            seed: Of the thinning.

        Raises:
            CertaintyError: One fold only, other shapes, values that are not finite, weights that are all 0.

        Lab: part4_defend_the_map.
        """
        x, fold = np.asarray(x, np.float32), np.asarray(fold)
        if x.ndim != 2 or fold.shape != (len(x),) or not np.isfinite(x).all():
            raise CertaintyError(
                f"Expected finite features (N, F) and one fold a row, received {x.shape} and {fold.shape}, or NaN."
            )
        weights = np.ones(x.shape[1]) if weights is None else np.asarray(weights, np.float64)
        if weights.shape != (x.shape[1],) or not (np.isfinite(weights) & (weights >= 0)).all() or not weights.any():
            raise CertaintyError(
                f"Expected {x.shape[1]} finite weights of 0 or more, one above 0, received {weights[:9]} of shape "
                f"{weights.shape}."
            )
        keep = np.sort(seeds.generator(seed, "applicability").permutation(len(x))[:most])
        x, fold = x[keep], fold[keep]
        if len(np.unique(fold)) < 2:
            raise CertaintyError(
                f"Expected training windows of at least two folds, received one in the {len(x):,} kept: the distance "
                "from one to the others gives the threshold. Take blocks as folds, or a larger most."
            )
        centre, deviation = x.mean(0, dtype=np.float64), x.std(0, dtype=np.float64)
        used = weights * (deviation > 0)
        spread = np.where(used > 0, deviation / np.where(used > 0, used, 1), np.where(weights > 0, 0.0, np.inf))
        points = _scaled(x, centre, spread)
        some = points[np.sort(seeds.generator(seed, "pairs").permutation(len(points))[:PAIRS])]
        mean = float(np.sqrt(_squared(some, some)).sum() / max(len(some) * (len(some) - 1), 1))
        if not mean > 0:
            raise CertaintyError(f"Expected training windows that differ, received {len(x):,} equal ones.")
        held_out = _nearest(points, points, fold, fold) / mean
        low, high = np.quantile(held_out, [0.25, 0.75])
        threshold = float(held_out[held_out <= high + 1.5 * (high - low)].max())
        return cls(points, centre, spread, mean, threshold, held_out)

    def dissimilarity(self, x: ArrayLike) -> np.ndarray:
        """(N,) float32, dissimilarity of new windows (N, F): 0 at a training window, 1 at their mean distance.

        It is infinite where a feature that never changed in the training has another value: nothing says how far
        that is.

        Raises:
            CertaintyError: Another number of features, or a value that is not finite.

        Lab: part4_defend_the_map.
        """
        x = np.asarray(x, np.float32)
        if x.ndim != 2 or x.shape[1] != len(self.centre):
            raise CertaintyError(f"Expected features (N, {len(self.centre)}), received {x.shape}.")
        if not np.isfinite(x).all():
            row = int((~np.isfinite(x).all(1)).argmax())
            raise CertaintyError(f"Expected finite features, received {x[row, :9]} in row {row}. Leave such rows out.")
        near = _nearest(_scaled(x, self.centre, self.spread), self.points) / self.mean_distance
        same = self.spread == 0
        moved = np.abs(x[:, same] - self.centre[same]) > CHANGED * np.maximum(1, np.abs(self.centre[same]))
        return np.where(moved.any(1), np.inf, near).astype(np.float32)

    def inside(self, x: ArrayLike) -> np.ndarray:
        """(N,) bool, new windows (N, F) to which the scores of cross-validation apply.

        Lab: none.
        """
        return self.dissimilarity(x) <= self.threshold


def features(
    source: Rows | pa.Table | str | Path, study: Study, scaler: Scaler | None, start: int
) -> tuple[np.ndarray, list[tuple[str, int]]]:
    """Windows as few numbers: the mean of each band in each month of the window.

    Gaps are filled along time first. Rows that the legend excludes are left out, as a loader does.

    Args:
        source: Rows, a table, or its path.
        study: Season and channels.
        scaler: Of the training rows.
        start: Day of the year on which windows start.

    Returns:
        (N, F) float32, and (F,) pairs of band and number of the month, from 0, to name the columns.

    Lab: part4_defend_the_map.
    """
    loader = Loader(source, study, scaler, batch=8192, start=start, fill="linear", shuffle=False)
    steps = study.season.steps
    month = np.minimum(
        np.arange(steps) * study.season.step_days // MONTH, max(steps * study.season.step_days // MONTH, 1) - 1
    )
    edges = np.flatnonzero(np.diff(month, prepend=-1))
    lengths = np.diff(np.append(edges, steps))[:, None]
    parts = [np.add.reduceat(x, edges, axis=1) / lengths for x, _ in loader.arrays()]  # each (B, months, C)
    whole = np.concatenate(parts).astype(np.float32)
    names = [(band, number) for number in range(len(edges)) for band in study.channels]
    return whole.reshape(len(whole), -1), names


def weights_of(importance: pd.DataFrame, names: Sequence[tuple[str, int]]) -> np.ndarray:
    """(F,) weights of features from the importance of bands; a band that hurts or does nothing has 0.

    Args:
        importance: As ``evaluation.permutation_importance`` gives it: index band, column ``drop``.
        names: (F,) as ``features`` gives them.

    Lab: none.
    """
    missing = sorted({band for band, _ in names} - set(importance.index))
    if missing:
        raise CertaintyError(f"Expected the importance of all bands, missing {missing}.")
    return importance["drop"].clip(lower=0).reindex([band for band, _ in names]).to_numpy(np.float64)


def drift(training: ArrayLike, new: ArrayLike, names: Sequence[tuple[str, int]]) -> pd.DataFrame:
    """How far each band has moved in each month: difference of the means, in standard deviations of the training.

    Args:
        training, new: (N, F) features.
        names: (F,) as ``features`` gives them.

    Returns:
        One row a band, one column a month (from 1).

    Lab: part4_defend_the_map.
    """
    training, new = np.asarray(training, np.float64), np.asarray(new, np.float64)
    if training.shape[1:] != (len(names),) or new.shape[1:] != (len(names),) or not len(training) or not len(new):
        raise CertaintyError(f"Expected features (N, {len(names)}), received {training.shape} and {new.shape}.")
    deviation = training.std(0)
    moved = (new.mean(0) - training.mean(0)) / np.where(deviation > 0, deviation, np.nan)
    index = pd.MultiIndex.from_tuples([(band, month + 1) for band, month in names], names=["band", "month"])
    table = pd.Series(moved, index).unstack("month")
    return table.reindex(list(dict.fromkeys(band for band, _ in names)))


def accuracy_by_dissimilarity(
    dissimilarity: ArrayLike, predictions: Predictions, threshold: float, bins: int = 5
) -> pd.DataFrame:
    """Accuracy of rows by their dissimilarity: does the threshold tell where a model fails?

    Args:
        dissimilarity: (N,) of the rows of ``predictions``, in their order.
        predictions: With their truth.
        threshold: Of the area of applicability.
        bins: Parts with as many rows each, beside "inside" and "outside".

    Returns:
        Index: ``inside``, ``outside``, then the bins from near to far. Columns ``low``, ``high`` (dissimilarity),
        ``samples``, ``accuracy`` (NaN without rows).

    Raises:
        CertaintyError: Other lengths, no rows, a dissimilarity or a threshold that is NaN.

    Lab: part4_defend_the_map.
    """
    far = np.asarray(dissimilarity, np.float64)
    if far.shape != (len(predictions),) or not len(far):
        raise CertaintyError(f"Expected one dissimilarity a prediction, ({len(predictions)},), received {far.shape}.")
    if np.isnan(far).any() or np.isnan(threshold):
        raise CertaintyError(
            "Expected dissimilarities and a threshold, received NaN: it is neither inside nor outside."
        )
    right = predictions.predicted == predictions.truth
    inside = far <= threshold
    groups: Mapping[str, np.ndarray] = {"inside": inside, "outside": ~inside}
    order = np.argsort(far, kind="stable")
    groups |= {str(i + 1): mine for i, mine in enumerate(np.array_split(order, min(bins, len(order))))}
    rows = []
    for mine in groups.values():
        part = far[mine]
        some = bool(len(part))
        rows.append((*((part.min(), part.max()) if some else (np.nan, np.nan)), len(part),
                     right[mine].mean() if some else np.nan))  # fmt: skip
    return pd.DataFrame(
        rows, index=pd.Index(list(groups), name="group"), columns=["low", "high", "samples", "accuracy"]
    )


def _scaled(x: np.ndarray, centre: np.ndarray, spread: np.ndarray) -> np.ndarray:
    return ((x - centre) / np.where(spread > 0, spread, np.inf)).astype(np.float32)


def _squared(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(n, m) squared distances."""
    out = a @ b.T
    out *= -2
    out += (a**2).sum(1)[:, None]
    out += (b**2).sum(1)
    return np.maximum(out, 0, out=out)


def _nearest(x: np.ndarray, points: np.ndarray, own: np.ndarray | None = None, of: np.ndarray | None = None):
    """(N,) distance to the nearest point; with folds, to the nearest of another fold than one's own."""
    out = np.empty(len(x), np.float64)
    step = max(1, PER_PASS // len(points))
    for at in range(0, len(x), step):
        rows = slice(at, at + step)
        apart = _squared(x[rows], points)
        if own is not None:
            apart[own[rows][:, None] == of[None, :]] = np.inf
        near = apart.argmin(1)
        out[rows] = np.sqrt(((x[rows].astype(np.float64) - points[near]) ** 2).sum(1))  # exact, not by the formula
    return out
