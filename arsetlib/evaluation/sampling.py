"""How many samples, and how many in each stratum, before any is drawn.

Sources: Cochran 1977, Sampling Techniques, chapter 5; Olofsson et al. 2014, Remote Sensing of Environment 148, 42-57,
section 5.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from arsetlib.evaluation.areas import allocate
from arsetlib.evaluation.confusion import EvaluationError

ALLOCATIONS = ("proportional", "equal", "neyman")
MOST = 1_000_000  # samples; nobody labels more


def expected_shares(users: ArrayLike, sizes: ArrayLike) -> np.ndarray:
    """What to expect in each mapped class: a guess of the truth, from guesses of the user's accuracies.

    What is wrong in a class is spread over the others by their share of the map, since large classes are confused
    with most.

    Args:
        users: (K,) user's accuracies, 0 to 1.
        sizes: (K,) pixels of each mapped class.

    Returns:
        (K, K) float64, rows = mapped class, columns = true class; each row sums to 1.

    >>> expected_shares([0.9, 0.8, 0.8], [600, 300, 100]).round(3).tolist()
    [[0.9, 0.075, 0.025], [0.171, 0.8, 0.029], [0.133, 0.067, 0.8]]
    """
    users, sizes = np.asarray(users, np.float64), np.asarray(sizes, np.float64)
    if users.shape != sizes.shape or not ((users >= 0) & (users <= 1)).all() or not (sizes >= 0).all():
        raise EvaluationError("Expected one user's accuracy from 0 to 1 and the pixels of each class.")
    others = np.where(np.eye(len(sizes), dtype=bool), 0, np.broadcast_to(sizes, (len(sizes),) * 2))
    total = others.sum(1, keepdims=True)
    spread = np.divide(others, total, out=np.zeros_like(others), where=total > 0)
    alone = total[:, 0] == 0
    return spread * (1 - users)[:, None] + np.diag(np.where(alone, 1, users))


def allocation(
    kind: str, size: int, sizes: ArrayLike, *, shares: ArrayLike | None = None, target: int | None = None,
    least: int = 50,
) -> np.ndarray:  # fmt: skip
    """How many samples each stratum gets.

    Args:
        kind: ``"proportional"`` to pixels; ``"equal"`` in each; ``"neyman"``, which makes the error of one class's area
            (or of overall accuracy) smallest: proportional to pixels × standard deviation.
        size: Samples in all.
        sizes: (H,) pixels of each stratum.
        shares: (H, K) expected shares of the true classes in each stratum, for ``"neyman"``; see
            ``expected_shares``.
        target: Number of the class whose area is wanted; None takes overall accuracy, if strata are classes.
        least: Samples in each stratum at least, or all of its pixels where it has fewer.

    Returns:
        (H,) int64 that sums to ``size``; 0 for a stratum without pixels, and never more than its pixels.

    Raises:
        EvaluationError: ``size`` is too small for ``least`` in each stratum, or larger than the map.

    Source: Cochran 1977, equation 5.26 (Neyman 1934).

    >>> allocation("proportional", 200, [9000, 1000], least=10).tolist()
    [180, 20]
    >>> allocation("equal", 200, [9000, 1000]).tolist()
    [100, 100]
    """
    sizes = np.asarray(sizes, np.float64)
    if kind not in ALLOCATIONS:
        raise EvaluationError(f"Expected allocation = {' or '.join(map(repr, ALLOCATIONS))}, received {kind!r}.")
    if not 0 < size <= MOST:
        raise EvaluationError(f"Expected from 1 to {MOST:,} samples, received {size:,}.")
    if least < 0:
        raise EvaluationError(f"Expected least = 0 or more samples of each stratum, received {least}.")
    if size > sizes.sum():
        raise EvaluationError(f"Expected at most the map's {sizes.sum():,.0f} pixels as size, received {size:,}.")
    there = sizes > 0
    if kind == "equal":
        weight = there.astype(np.float64)
    elif kind == "proportional":
        weight = sizes
    else:
        if shares is None:
            raise EvaluationError("Neyman's allocation needs the shares to be expected: give users=… accuracies.")
        weight = np.where(there, sizes * np.maximum(_deviation(shares, target), 1e-6), 0)
    least = 1 if kind == "equal" else least
    whole = there & (sizes <= least)  # strata of which all pixels are taken; the others share the rest
    while True:
        drawn = np.where(whole, sizes, 0).astype(np.int64)
        left = size - int(drawn.sum())
        if left < 0 or (left > 0 and whole[there].all()):
            raise EvaluationError(
                f"Expected at least {drawn.sum():,} samples for all pixels of the smallest strata, received {size:,}."
            )
        if left or not whole[there].all():
            drawn += allocate(left, np.where(whole, 0, weight), least)
        if not (more := drawn > sizes).any():
            return drawn
        whole |= more


def half_widths(drawn: ArrayLike, sizes: ArrayLike, shares: ArrayLike, confidence: float = 0.95) -> np.ndarray:
    """(K,) half the width to expect of the interval of each class's share of the map.

    A normal approximation, for planning; the interval itself, which ``survey_areas`` gives, is wider for rare classes.

    Args:
        drawn: (H,) samples of each stratum.
        sizes: (H,) pixels.
        shares: (H, K) expected shares of the true classes in each stratum.
        confidence: Of the interval.

    Source: Cochran 1977, equations 5.7 and 5.53.
    """
    if not 0 < confidence < 1:
        raise EvaluationError(f"Expected a confidence between 0 and 1, such as 0.95, received {confidence}.")
    drawn, sizes, shares = (np.asarray(v, np.float64) for v in (drawn, sizes, shares))
    there = sizes > 0
    drawn, sizes, shares = drawn[there], sizes[there], shares[there]
    if (drawn < 1).any():
        return np.full(shares.shape[1], np.inf)
    weight = sizes / sizes.sum()
    spread = (weight**2 * (1 - drawn / sizes) / np.maximum(drawn - 1, 1))[:, None] * shares * (1 - shares)
    return NormalDist().inv_cdf(0.5 + confidence / 2) * np.sqrt(spread.sum(0))


def size_for_interval(
    half_width: float, kind: str, sizes: Sequence[int], shares: ArrayLike, target: int, *, least: int = 50,
    confidence: float = 0.95,
) -> int:  # fmt: skip
    """The fewest samples that give the area of a class the wanted interval, if the expected shares are right.

    Args:
        half_width: Wanted, as a share of the map: 0.01 for ± 1 %.
        kind, sizes, shares, least: As in ``allocation``.
        target: Number of the class.
        confidence: Of the interval.

    Raises:
        EvaluationError: No sample of the map is large enough.

    Source: Cochran 1977, section 5.9, by search, so that ``least`` and whole numbers count.

    >>> size_for_interval(0.02, "proportional", [70_000, 30_000], [[0.9, 0.1], [0.2, 0.8]], 0)
    1058
    """
    if not half_width > 0:
        raise EvaluationError(f"Expected a half width above 0, received {half_width}.")
    sizes = np.asarray(sizes, np.int64)

    def enough(size: int) -> bool:
        drawn = allocation(kind, size, sizes, shares=shares, target=target, least=least)
        return bool(half_widths(drawn, sizes, shares, confidence)[target] <= half_width)

    low = int(np.minimum(sizes, 2 if kind == "equal" else max(least, 2)).sum())
    high = int(min(sizes.sum(), MOST))
    if low > high or not enough(high):
        raise EvaluationError(
            f"No sample of up to {high:,} pixels gives an interval of ± {half_width:.3g} of the map. Want a wider one."
        )
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    return low


def _deviation(shares: ArrayLike, target: int | None) -> np.ndarray:
    shares = np.asarray(shares, np.float64)
    if target is not None:
        hit = shares[:, target]
    elif shares.shape[0] == shares.shape[1]:
        hit = np.diag(shares)
    else:
        raise EvaluationError("Overall accuracy needs strata that are the map's classes; name a class, target=…")
    return np.sqrt(hit * (1 - hit))
