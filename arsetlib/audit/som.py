"""A self-organising map: similar series come to one neuron, and a label that is rare there is suspicious.

The map is a square grid of neurons, each a series of its own. Training moves each neuron to the mean of the series that
are nearest to it and to its neighbours, in all rows at once (the batch form), so no learning rate is chosen and a seed
gives one map. After that the labels are looked at: the share of a class among the rows of a neuron, and the same
smoothed by the neurons around it.

Source: Santos, Ferreira, Camara, Picoli & Simoes 2021, Quality control and class noise reduction of satellite image
time series, ISPRS Journal of Photogrammetry and Remote Sensing 177; Kohonen 2013, Essentials of the self-organizing
map, Neural Networks 37.

Lab: part4_defend_the_map.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from arsetlib import seeds
from arsetlib.audit.confidence import AuditError
from arsetlib.evaluation.predictions import are_numbers

PER_PASS = 16_384  # rows whose distances to all neurons are held at once
LARGEST = 40  # neurons along a side, unless the caller asks for more
VERDICTS = ("keep", "look", "remove")


@dataclass(frozen=True, eq=False, repr=False)
class Som:
    """A trained map.

    Attributes:
        weights: (M, F) float32, the series of each neuron; M is a square number, the grid's rows one after another.

    Lab: part4_defend_the_map.
    """

    weights: np.ndarray

    def __repr__(self) -> str:
        return f"Som({self.side} × {self.side} neurons, {self.weights.shape[1]} features)"

    @property
    def side(self) -> int:
        """Neurons along a side."""
        return round(len(self.weights) ** 0.5)

    @classmethod
    def fit(cls, x: ArrayLike, side: int | None = None, *, rounds: int = 20, seed: int = 0) -> Som:
        """Train a map.

        Args:
            x: (N, F) float, one row a series, scaled so that features have similar ranges and without gaps: NumPy's
                distances take a filled-in zero for a value.
            side: Neurons along a side; by default about ``5 √N`` neurons in all, at most 40 × 40.
            rounds: Passes over the rows. The neighbourhood shrinks from half the grid to a single neuron.
            seed: Of the rows on which the neurons begin.

        Raises:
            AuditError: Fewer rows than neurons, or a value that is not finite.

        Lab: part4_defend_the_map.
        """
        x = np.ascontiguousarray(x, np.float32)
        if x.ndim != 2 or not len(x) or not np.isfinite(x).all():
            raise AuditError(f"Expected series (N, F) of finite numbers, received {x.shape}, or NaN among them.")
        side = side or int(np.clip(round((5 * len(x) ** 0.5) ** 0.5), 2, LARGEST))
        if side < 2 or side**2 > len(x):
            raise AuditError(
                f"Expected a side from 2 to {int(len(x) ** 0.5)}, so that there are no more neurons than the "
                f"{len(x):,} rows, received {side}."
            )
        weights = _plane(x, side, seed)
        apart = _apart(side)
        for spread in np.geomspace(max(side / 2, 1.0), 0.5, rounds):
            near = np.exp(-apart / (2 * spread**2)).astype(np.float32)
            sums, counts = _sums(x, _nearest(x, weights), side**2)
            weight = near @ counts
            weights = np.where(weight[:, None] > 1e-6, near @ sums / np.maximum(weight, 1e-6)[:, None], weights)
        return cls(weights)

    def neurons(self, x: ArrayLike) -> np.ndarray:
        """(N,) number of the neuron nearest to each series (N, F)."""
        x = np.ascontiguousarray(x, np.float32)
        if x.ndim != 2 or x.shape[1] != self.weights.shape[1]:
            raise AuditError(f"Expected series (N, {self.weights.shape[1]}), received {x.shape}.")
        return _nearest(x, self.weights)


@dataclass(frozen=True, eq=False, repr=False)
class Neurons:
    """The classes of each neuron, and what that says of the labels.

    Attributes:
        share: (M, K) share of each class among the labels of a neuron; 0 in a neuron without rows.
        posterior: (M, K) the same, pulled to the mean of the neurons around it: more so where the neuron is mixed and
            its neighbours agree.
        verdict: (N,) 0 keep, 1 look, 2 remove, of each row.

    Lab: part4_defend_the_map.
    """

    share: np.ndarray
    posterior: np.ndarray
    verdict: np.ndarray

    def __repr__(self) -> str:
        counts = np.bincount(self.verdict, minlength=3)
        return f"Neurons({', '.join(f'{name} {count:,}' for name, count in zip(VERDICTS, counts, strict=True))})"


def judge(neuron: ArrayLike, label: ArrayLike, side: int, classes: int, threshold: float = 0.6) -> Neurons:
    """Keep, look at or remove: each label against its neuron and the neurons around it.

    Remove: less than ``threshold`` of the neuron's rows have this label. Look: enough of them have, but its neighbours
    speak against it. Keep: both agree.

    The posterior of a class is ``(v · share + e · m) / (v + e)``: m and v are mean and variance of its share in the up
    to eight neurons around, e = 1 − the largest share in this one. Neurons without rows are left out of m and v.

    Args:
        neuron: (N,) as ``Som.neurons`` gives it.
        label: (N,) class numbers.
        side: Neurons along a side of the map.
        classes: K.
        threshold: Of both probabilities; 0.6 in the paper's software.

    Raises:
        AuditError: Other shapes, a neuron or a label that is none, or another threshold.

    Lab: part4_defend_the_map.
    """
    neuron, label, count = np.asarray(neuron), np.asarray(label), side**2
    if neuron.shape != label.shape or not 0 < threshold < 1:
        raise AuditError(
            f"Expected one neuron and one label a row and a threshold between 0 and 1, received {neuron.shape}, "
            f"{label.shape} and {threshold}."
        )
    for name, value, above in (("neuron", neuron, count), ("label", label, classes)):
        if not are_numbers(value, above):
            raise AuditError(
                f"Expected each {name} as a whole number from 0 to {above - 1}, received {np.unique(value)[:9]}."
            )
    counts = np.bincount(neuron * classes + label, minlength=count * classes).reshape(count, classes)
    rows = counts.sum(1, keepdims=True)
    share = counts / np.maximum(rows, 1)
    near = (np.abs(_apart(side) - 1.5) < 1) & (rows.T > 0)  # squared distances 1 and 2: the eight around
    around = near.sum(1, keepdims=True)
    mean = near @ share / np.maximum(around, 1)
    variance = np.maximum(near @ share**2 - around * mean**2, 0) / np.maximum(around - 1, 1)
    mixed = np.maximum(1 - share.max(1, keepdims=True), 1e-7)
    posterior = np.where(around > 1, (variance * share + mixed * mean) / (variance + mixed), share)
    enough, agreed = share[neuron, label] >= threshold, posterior[neuron, label] >= threshold
    return Neurons(share, posterior, np.where(enough, np.where(agreed, 0, 1), 2).astype(np.int8))


def _plane(x: np.ndarray, side: int, seed: int) -> np.ndarray:
    """First weights: a plane through the two directions in which the series differ most."""
    some = x[np.sort(seeds.generator(seed, "som").permutation(len(x))[:10_000])].astype(np.float64)
    mean = some.mean(0)
    values, vectors = np.linalg.eigh((some - mean).T @ (some - mean) / len(some))
    values = np.maximum(values, 0)  # rounding may put a direction without spread below 0
    steps = np.linspace(-1, 1, side)
    order = np.argsort(values)[::-1][: min(2, x.shape[1])]
    ways = [vectors[:, i] * np.sign(vectors[np.abs(vectors[:, i]).argmax(), i]) * values[i] ** 0.5 for i in order]
    ways += [np.zeros(x.shape[1])] * (2 - len(ways))
    grid = mean + steps[:, None, None] * ways[0] + steps[None, :, None] * ways[1]
    return grid.reshape(side**2, -1).astype(np.float32)


def _apart(side: int) -> np.ndarray:
    """(M, M) squared distance of neurons on the grid."""
    row, column = np.divmod(np.arange(side**2), side)
    return (row[:, None] - row) ** 2 + (column[:, None] - column) ** 2


def _nearest(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    out = np.empty(len(x), np.int32)
    half = (weights**2).sum(1) / 2
    for at in range(0, len(x), PER_PASS):
        out[at : at + PER_PASS] = (half - x[at : at + PER_PASS] @ weights.T).argmin(1)
    return out


def _sums(x: np.ndarray, neuron: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(M, F) sum and (M,) number of the series of each neuron."""
    from scipy.sparse import csr_array

    ones = np.ones(len(x), np.float32)
    member = csr_array((ones, (neuron, np.arange(len(x)))), shape=(count, len(x)))
    return member @ x, np.bincount(neuron, minlength=count).astype(np.float32)
