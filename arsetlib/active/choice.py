"""Which samples of a pool to label next.

Lab: part4_defend_the_map.
"""

from __future__ import annotations

import numpy as np

from arsetlib import seeds
from arsetlib.errors import ArsetError
from arsetlib.evaluation.predictions import no_shares

# Method → whether it looks at probabilities, and at features.
METHODS = {
    "random": (False, False),
    "entropy": (True, False),
    "margin": (True, False),
    "k_centre": (False, True),
    "cluster": (True, True),
}
POOL = 10  # times as many candidates as are wanted: the most uncertain, of which 'cluster' takes different ones
ROUNDS = 20  # of k-means


class ActiveError(ArsetError, ValueError):
    """Samples cannot be chosen; the message says why and what to do."""


def uncertainty(probability: np.ndarray, measure: str = "margin") -> np.ndarray:
    """How unsure a model is of each sample, 0 sure to 1.

    >>> uncertainty(np.array([[1.0, 0.0], [0.6, 0.4]])).round(2).tolist()
    [0.0, 0.8]

    Args:
        probability: (N, K), K of at least 2; rows sum to 1.
        measure: ``"margin"``, 1 − (largest − second probability), or ``"entropy"``, over log K.

    Returns:
        (N,) float64.

    Raises:
        ActiveError: An unknown measure, or probabilities that are none.

    Lab: part4_defend_the_map.
    """
    probability = np.asarray(probability, np.float64)
    if probability.ndim != 2 or probability.shape[1] < 2 or not np.isfinite(probability).all():
        raise ActiveError(
            f"Expected finite probabilities (N, K) of at least 2 classes, received shape {probability.shape}."
        )
    if no_shares(probability).any():
        sums = probability.sum(axis=1)
        raise ActiveError(
            f"Expected probabilities from 0 to 1 whose rows sum to 1, received values from {probability.min():g} and "
            f"sums from {sums.min():g} to {sums.max():g}. Give a model's softmax, not its logits."
        )
    if measure == "margin":
        two = np.partition(probability, -2, axis=1)[:, -2:]
        return 1 - (two[:, 1] - two[:, 0])
    if measure != "entropy":
        raise ActiveError(f"Expected measure = 'margin' or 'entropy', received {measure!r}.")
    surprise = -np.sum(probability * np.log(np.maximum(probability, 1e-12)), axis=1)
    return surprise / np.log(probability.shape[1])


def choose(
    probability: np.ndarray | None,
    count: int,
    *,
    method: str = "margin",
    features: np.ndarray | None = None,
    known: np.ndarray | None = None,
    seed: int = 0,
) -> np.ndarray:
    """Rows of a pool of unlabelled samples that should be labelled next.

    >>> choose(np.array([[0.9, 0.1], [0.5, 0.5], [0.7, 0.3]]), 2).tolist()
    [1, 2]

    Args:
        probability: (N, K) of a model, for ``"entropy"``, ``"margin"`` and ``"cluster"``.
        count: So many.
        method: ``"random"``; ``"entropy"`` or ``"margin"``, the most uncertain; ``"k_centre"``, samples far from each
            other and from what is labelled; or ``"cluster"``, of the ten times as many most uncertain one from each of
            ``count`` clusters.
        features: (N, F) of like range, for ``"k_centre"`` and ``"cluster"``: windows, or a network's last layer.
        known: (L, F) features of what is labelled, for ``"k_centre"``.
        seed: Of all draws, and of ties.

    Returns:
        (count,) int64 positions, different; the most wanted first.

        On five simulated deltas (``benchmarks/labels.py``) ``"cluster"`` on the windows was best in four,
        ``"k_centre"`` second, ``"margin"`` little better than random, and ``"entropy"`` worse than random.

    Raises:
        ActiveError: An unknown method, more than the pool holds, or what the method needs is not there or no finite
            number.

    Lab: part4_defend_the_map.
    """
    if method not in METHODS:
        raise ActiveError(f"Expected method = {', '.join(map(repr, METHODS))}, received {method!r}.")
    looks, measures = METHODS[method]
    if (looks and probability is None) or (measures and features is None):
        needs = " and ".join(["probability"] * looks + ["features"] * measures)
        raise ActiveError(f"The method {method!r} needs {needs}.")
    given = [len(part) for part in (probability, features) if part is not None]
    if not given or len(set(given)) > 1:
        raise ActiveError(f"Expected probability or features of one pool, received lengths {given}.")
    if not 1 <= count <= given[0]:
        raise ActiveError(f"Expected a count from 1 to {given[0]:,}, the samples of the pool, received {count}.")
    if measures:
        features = np.asarray(features, np.float32)
        known = np.empty((0, features.shape[1]), np.float32) if known is None else np.asarray(known, np.float32)
        if not (np.isfinite(features).all() and np.isfinite(known).all()):
            raise ActiveError("Expected finite features, received NaN or infinity. Fill them, or leave the rows out.")
        centre = features.mean(axis=0, dtype=np.float64).astype(np.float32)
        features, known = features - centre, known - centre  # squares of large numbers would round differences away
    rng = seeds.generator(seed, "active", method)
    order = rng.permutation(given[0])  # ties are drawn, not taken in the order of the table
    if method == "random":
        return order[:count]
    if method == "k_centre":
        return order[_far_apart(features[order], count, known)]
    unsure = uncertainty(probability, "margin" if method == "cluster" else method)
    order = order[np.argsort(-unsure[order], kind="stable")]
    if method != "cluster":
        return order[:count]
    near = order[: POOL * count]
    cluster = _k_means(features[near], count, unsure[near], rng)
    first = np.sort(np.unique(cluster, return_index=True)[1])  # the most uncertain of each cluster
    rest = np.setdiff1d(np.arange(len(near)), first)[: count - len(first)]  # where clusters are empty
    return near[np.concatenate([first, rest])]


def _far_apart(features: np.ndarray, count: int, known: np.ndarray) -> np.ndarray:
    """Greedy k-centre: each time the sample that is farthest from all that are chosen or known."""
    square = np.einsum("ij,ij->i", features, features)

    def to(centre: np.ndarray) -> np.ndarray:
        return square - 2 * (features @ centre) + centre @ centre

    nearest = np.full(len(features), np.inf, np.float32)
    for centre in known:
        nearest = np.minimum(nearest, to(centre))
    chosen = np.empty(count, np.int64)
    for i in range(count):
        chosen[i] = nearest.argmax()
        nearest = np.minimum(nearest, to(features[chosen[i]]))
        nearest[chosen[: i + 1]] = -np.inf
    return chosen


def _k_means(x: np.ndarray, count: int, weight: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(N,) cluster of each sample, by k-means with weights, from the start of k-means++."""
    square = np.einsum("ij,ij->i", x, x)
    weight = np.maximum(weight, 1e-9)

    def distances(centres: np.ndarray) -> np.ndarray:
        return np.maximum(square[:, None] - 2 * (x @ centres.T) + np.einsum("ij,ij->i", centres, centres), 0)

    centres = x[[rng.choice(len(x), p=weight / weight.sum())]]
    nearest = distances(centres)[:, 0]
    for _ in range(1, count):
        odds = weight * nearest
        at = rng.choice(len(x), p=odds / odds.sum()) if odds.sum() > 0 else rng.integers(len(x))
        centres = np.concatenate([centres, x[[at]]])
        nearest = np.minimum(nearest, distances(x[[at]])[:, 0])
    cluster = distances(centres).argmin(1)
    for _ in range(ROUNDS):
        total = np.bincount(cluster, weight, count)
        sums = np.stack([np.bincount(cluster, weight * column, count) for column in x.T], 1)
        has = total > 0
        centres[has] = sums[has] / total[has, None]
        before, cluster = cluster, distances(centres).argmin(1)
        if np.array_equal(before, cluster):
            break
    return cluster
