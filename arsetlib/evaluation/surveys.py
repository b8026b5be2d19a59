"""Areas and accuracies from a labelled random sample, whatever its strata; intervals that hold in small strata, too.

``areas.stratified_areas`` has the paper's normal intervals. They are too narrow where a stratum has few samples or
where no error was found in it: in the simulated delta some cover the truth less often than they say
(``benchmarks/areas.py``). The intervals here add one sample that was not seen, as Clopper and Pearson do for one
proportion, so they cover at least what they say, and are wider for rare classes.

Sources: Olofsson et al. 2014, Remote Sensing of Environment 148, 42-57 (strata are the map's classes). Stehman 2014,
Estimating area and map accuracy for stratified random sampling when the strata are different from the map classes,
International Journal of Remote Sensing 35, 4923-4939. Cochran 1977, Sampling Techniques (finite populations). Fay &
Feuer 1997, Confidence intervals for directly standardized rates, Statistics in Medicine 16, 791-801 (the weight of the
sample that was not seen; there with the gamma distribution, here with the beta distribution, since shares end at 1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import special

from arsetlib.evaluation.areas import Areas, mapped_areas
from arsetlib.evaluation.confusion import EvaluationError
from arsetlib.evaluation.scores import ratio
from arsetlib.translation import _

LEAST = 2  # samples of a stratum, below which it has no variance


def survey_areas(
    counts: ArrayLike, sizes: ArrayLike, mapped: Mapping | ArrayLike, keys: Sequence[str], *,
    names: Sequence[str] | None = None, strata: Sequence[str] | None = None, pixel_area: float = 1.0,
    unit: str = "ha", confidence: float = 0.95,
) -> Areas:  # fmt: skip
    """Area and accuracies of each class from a stratified random sample; strata may be anything.

    Where the strata are the classes of the map, the estimates are those of ``stratified_areas``.

    Args:
        counts: (H, K, K) labelled samples by stratum, true class and mapped class.
        sizes: (H,) pixels of each stratum.
        mapped: (K,) pixels of each class on the map, or {class key: pixels}.
        keys: (K,) of the classes.
        names: (K,) what to call them.
        strata: (H,) what to call strata in a message.
        pixel_area: Of one pixel, in ``unit``.
        unit: Of the areas.
        confidence: Of the intervals.

    Returns:
        Areas; its table also has the standard errors: ``area_error``, ``share_error``, ``users_error``,
        ``producers_error``. An accuracy is NaN where map or truth has none of a class.

    Raises:
        EvaluationError: A stratum has fewer than two labelled samples, or more than pixels; shapes do not fit; strata
            and classes have different numbers of pixels in all (by more than 1 %).

    Sources: Stehman 2014, equations 3 and 14-27; Fay & Feuer 1997.

    >>> sample = np.zeros((2, 2, 2), int)
    >>> sample[0, :, 0], sample[1, :, 1] = (45, 5), (5, 45)
    >>> survey_areas(sample, [9000, 1000], [9000, 1000], ["corn", "rice"], unit="pixels").table["area"].round().tolist()
    [8200.0, 1800.0]
    """
    keys = list(keys)
    if not (np.isfinite(pixel_area) and pixel_area > 0):
        raise EvaluationError(f"Expected pixel_area above 0, the area of one pixel in {unit}, received {pixel_area}.")
    if names is not None and len(names) != len(keys):
        raise EvaluationError(f"Expected a name for each of {len(keys)} classes, received {list(names)}.")
    every = np.asarray(counts)
    counts, sizes, drawn = _checked(counts, sizes, len(keys), strata)
    own = _by_class(every)
    on_map = mapped_areas(mapped, keys)
    if not np.isclose(on_map.sum(), sizes.sum(), rtol=0.01, atol=len(sizes)):  # sizes may be rounded
        raise EvaluationError(
            f"Expected strata and classes of one map, in pixels; the strata have {sizes.sum():,.6g} pixels and the "
            f"classes {on_map.sum():,.6g}. Give both in pixels, and the area of one as pixel_area."
        )
    weight = sizes / sizes.sum()
    left, freedom = 1 - drawn / sizes, np.maximum(drawn - 1, 1)  # share that was not sampled
    unseen = (weight / drawn * left).max()  # weight of one more sample

    def total(hits: np.ndarray) -> tuple[np.ndarray, ...]:
        """Share of the pixels with a property, from its samples in each stratum (H, …), and the error of it."""
        shape = (-1,) + (1,) * (hits.ndim - 1)
        share = hits / drawn.reshape(shape)
        spread = share * (1 - share) * (weight**2 * left / freedom).reshape(shape)
        return (weight.reshape(shape) * share).sum(0), np.sqrt(spread.sum(0))

    def part(hits: np.ndarray, of: np.ndarray) -> tuple[np.ndarray, ...]:
        """The same for a share of a part, such as the mapped corn: a ratio of two estimates, and that part's share."""
        some, whole = hits / drawn[:, None], of / drawn[:, None]
        base = weight @ whole
        found = ratio(weight @ some, base)
        mean = some - found * whole
        square = some * (1 - 2 * found) + found**2 * whole
        spread = ((weight**2 * left / freedom)[:, None] * (square - mean**2)).sum(0)
        return found, ratio(np.sqrt(np.maximum(spread, 0)), base), base

    right = np.einsum("hkk->hk", counts)
    share, share_error = total(counts.sum(2))
    overall, overall_error = total(right.sum(1))
    users, users_error, of_map = part(right, counts.sum(1))
    producers, producers_error, of_truth = part(right, counts.sum(2))
    columns: dict[str, np.ndarray] = {"mapped": on_map * pixel_area}
    whole = sizes.sum() * pixel_area
    low, high = limits(share, share_error, unseen, confidence)
    columns |= {"area": share * whole, "area_error": share_error * whole, "area_low": low * whole}
    columns |= {"area_high": high * whole, "share": share, "share_error": share_error}
    columns |= {"share_low": low, "share_high": high}
    each = weight / drawn * left  # of one more sample in each stratum
    could = counts.sum(1) > 0  # (H, K): strata with samples of a mapped class; those of a true class may be in any
    heaviest = np.where(could, each[:, None], 0).max(0)
    missed = np.full(len(keys), unseen)
    ratios = (
        ("users", users, users_error, of_map, heaviest),
        ("producers", producers, producers_error, of_truth, missed),
    )
    for name, value, error, base, one in ratios:
        low, high = limits(value, error, ratio(heaviest, base), confidence, missed=ratio(one, base))
        columns |= {name: value, f"{name}_error": error, f"{name}_low": low, f"{name}_high": high}
    columns["sampled"] = counts.sum((0, 1))
    table = pd.DataFrame(columns, index=pd.Index(names or keys, name="class"))
    low, high = (float(v) for v in limits(overall, overall_error, unseen, confidence))
    method = _("Olofsson et al. 2014") if own else _("Stehman 2014, strata other than the map's classes")
    method = _("{method}; intervals with one unseen sample").format(method=method)
    return Areas(table, float(overall), low, high, confidence, unit, method)


def limits(
    share: ArrayLike, error: ArrayLike, unseen: ArrayLike, confidence: float = 0.95, *, missed: ArrayLike | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Low and high end of an interval for shares that were estimated from weighted samples.

    The upper end counts one sample more that has the property, the lower end one more that has it not. For one
    stratum this is close to the interval of Clopper and Pearson.

    Args:
        share: Estimates from 0 to 1, of any shape; NaN stays NaN.
        error: Their standard errors, same shape.
        unseen: Weight of one sample more: the largest share of the whole that a sample stands for.
        confidence: Of the interval.
        missed: The same weight for the lower end, where it is another one.

    Raises:
        EvaluationError: A confidence that is not between 0 and 1.

    Source: Fay & Feuer 1997, with a beta distribution of the same mean and variance.

    >>> low, high = limits(0.0, 0.0, 1 / 50)      # none of 50 samples
    >>> round(float(low), 3), round(float(high), 3)
    (0.0, 0.072)
    """
    if not 0 < confidence < 1:
        raise EvaluationError(f"Expected a confidence between 0 and 1, such as 0.95, received {confidence}.")
    share, error = (np.asarray(v, np.float64) for v in (share, error))
    missed = unseen if missed is None else missed
    more, less = (np.asarray(v, np.float64) / (1 + np.asarray(v, np.float64)) for v in (unseen, missed))
    share, tail = np.clip(share, 0, 1), (1 - confidence) / 2
    low = _beta(share * (1 - less), error**2 + less**2 * share, tail)
    high = _beta(share + more * (1 - share), error**2 + more**2 * (1 - share), 1 - tail)
    known = ~np.isnan(share)
    return np.where(known, np.minimum(low, share), np.nan), np.where(known, np.maximum(high, share), np.nan)


def _beta(mean: np.ndarray, variance: np.ndarray, tail: float) -> np.ndarray:
    """A quantile of the beta distribution of some mean and variance; the mean where there is no variance."""
    inside = (mean > 0) & (mean < 1) & (variance > 0)
    mean_, variance_ = np.where(inside, mean, 0.5), np.where(inside, variance, 0.01)
    size = np.maximum(mean_ * (1 - mean_) / variance_ - 1, 1e-3)
    return np.where(inside, special.betaincinv(mean_ * size, (1 - mean_) * size, tail), np.clip(mean, 0, 1))


def _by_class(counts: np.ndarray) -> bool:
    """Whether strata are the classes of the map: stratum i has samples of mapped class i only."""
    strata, classes = counts.shape[0], counts.shape[-1]
    return strata == classes and not counts.sum(1)[~np.eye(classes, dtype=bool)].any()


def _checked(
    counts: ArrayLike, sizes: ArrayLike, classes: int, names: Sequence[str] | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Counts, sizes and samples of the strata that have pixels."""
    counts, sizes = np.asarray(counts, np.float64), np.asarray(sizes, np.float64)
    if counts.shape != (len(sizes), classes, classes):
        raise EvaluationError(
            f"Expected counts of {len(sizes)} strata × {classes} true × {classes} mapped classes, received "
            f"{counts.shape}."
        )
    if not (np.isfinite(counts) & (counts >= 0)).all():
        raise EvaluationError("Expected counts of samples, 0 or more, received a negative number or NaN.")
    if not (np.isfinite(sizes) & (sizes >= 0)).all() or not sizes.sum() > 0:
        raise EvaluationError(f"Expected the pixels of each stratum, received {sizes.tolist()}.")
    drawn = counts.sum((1, 2))
    for name, size, n in zip(names or range(len(sizes)), sizes, drawn, strict=True):
        if n > size:
            raise EvaluationError(f"Stratum {name!r} has {n:g} samples and only {size:g} pixels. Draw each pixel once.")
        if size > 0 and n < LEAST and n < size:
            raise EvaluationError(
                f"Stratum {name!r} has {size:,.0f} pixels and {n:g} labelled samples, so it cannot be estimated. "
                f"Label at least {LEAST} of each stratum; 50 or more are advised."
            )
    there = sizes > 0
    return counts[there], sizes[there], drawn[there]
