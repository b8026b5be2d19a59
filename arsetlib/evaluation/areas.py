"""Area of each crop with an interval: stratified estimators of Olofsson et al. 2014.

Counting the pixels of a map gives a biased area, because errors do not cancel. If 1 % of a large class is mapped as a
small class, the area of the small class is greatly overestimated. A sample with known truth measures how often each
mapped class is really another one; from this the area is corrected and its interval computed.

Source: Olofsson, Foody, Herold, Stehman, Woodcock & Wulder 2014, Good practices for estimating area and assessing
accuracy of land change, Remote Sensing of Environment 148, 42-57. Equations are numbered as there.

Lab: part3_train_and_test.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from arsetlib.evaluation.blocks import interval, resampled
from arsetlib.evaluation.confusion import Confusion, EvaluationError
from arsetlib.evaluation.predictions import Predictions
from arsetlib.evaluation.scores import ratio
from arsetlib.translation import N_, _
from arsetlib.wording import column, span

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Areas:
    """Area and accuracy of each class.

    >>> sample = Confusion.from_counts([[45, 5], [5, 45]], ["corn", "rice"])
    >>> areas = stratified_areas(sample, [900, 100])
    >>> areas.table["area"].round(1).to_dict()
    {'corn': 820.0, 'rice': 180.0}

    Attributes:
        table: One row a class. ``mapped`` (by counting pixels), ``area`` (the estimate), ``area_low``, ``area_high``;
            ``share``, ``share_low``, ``share_high`` of the whole; ``users``, ``producers`` (accuracies) and their
            ``…_low``, ``…_high``; ``sampled`` (how many samples were mapped so). Areas in ``unit``.
        accuracy, accuracy_low, accuracy_high: Overall, of the area and not of the sample.
        confidence: Of the intervals, 0.95 for 95 %.
        unit: Of the areas.
        method: How intervals were made.
    """

    table: pd.DataFrame
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    confidence: float
    unit: str
    method: str

    def __str__(self) -> str:
        heads = [column(name) for name in ("class", "mapped", "estimate")]
        between = _("{confidence} interval, {unit}").format(confidence=f"{self.confidence:.0%}", unit=_(self.unit))
        rows = ["{:<20}{:>14}{:>14}   {}".format(*heads, between)]
        for name, r in self.table.iterrows():
            between = span(f"{r.area_low:,.5g}", f"{r.area_high:,.5g}")
            rows.append(f"{name:<20}{r.mapped:>14,.5g}{r.area:>14,.5g}   {between}")
        between = span(f"{self.accuracy_low:.3f}", f"{self.accuracy_high:.3f}")
        words = _("overall accuracy {share} ({between}); {method}")
        return "\n".join([*rows, words.format(share=f"{self.accuracy:.3f}", between=between, method=self.method)])


def stratified_areas(
    sample: Confusion,
    mapped: Mapping | ArrayLike,
    *,
    unit: str = "ha",
    confidence: float = 0.95,
    names: Sequence[str] | None = None,
) -> Areas:
    """Area of each class from a map and a random sample of it with known truth.

    The sample is drawn at random within each mapped class (stratified), or over the whole map at random or on a regular
    grid (then mapped classes serve as strata afterwards). Samples must be independent: for pixels that lie together in
    fields use ``block_areas``, or intervals come out too narrow.
    The intervals are the paper's normal approximations; where strata are small or errors rare, ``survey_areas`` has
    intervals that hold.

    Args:
        sample: Counts of the sample, rows = truth, columns = mapped class. (The paper's matrix has them the other way
            round.)
        mapped: (K,) area of each class on the map, or {class key: area}.
        unit: Of ``mapped``: ``"ha"``, ``"pixels"``, …
        confidence: Of the intervals, which are normal approximations.
        names: What to call classes, instead of the confusion's names.

    Raises:
        EvaluationError: Fewer than two samples in a class that is on the map; no area at all.

    Source: Olofsson et al. 2014, equations 1-11.

    >>> sample = Confusion.from_counts([[45, 5], [5, 45]], ["corn", "rice"])
    >>> stratified_areas(sample, [800, 200]).table["area"].round().tolist()
    [740.0, 260.0]
    """
    area = mapped_areas(mapped, sample.keys)
    counts = sample.counts.T.astype(np.float64)  # the paper's: rows = map, columns = truth
    sampled = counts.sum(1)
    _check_strata(sample, area, sampled)
    weight = (area / area.sum())[:, None]
    on_map = weight[:, 0] > 0
    within = np.where(on_map[:, None], ratio(counts, sampled[:, None]), 0)  # n_ij / n_i.
    freedom = np.where(on_map, sampled - 1, 1)[:, None]

    share = (weight * within).sum(0)  # eq. 9
    spread = weight**2 * within * (1 - within) / freedom
    share_error = np.sqrt(spread.sum(0))  # eq. 10
    users = np.where(on_map, np.diag(within), np.nan)  # eq. 2
    users_error = np.sqrt(users * (1 - users) / freedom[:, 0])  # eq. 6
    producers = ratio(weight[:, 0] * np.diag(within), share)  # eq. 3
    own = np.diag(spread)
    producers_error = ratio(np.sqrt((1 - producers) ** 2 * own + producers**2 * (spread.sum(0) - own)), share)  # eq. 7
    overall = (weight[:, 0] * np.diag(within)).sum()  # eq. 1
    overall_error = np.sqrt(own.sum())  # eq. 5

    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    table = pd.DataFrame(
        {
            "mapped": area,
            **_spread("area", share * area.sum(), z * share_error * area.sum(), floor=0),
            **_spread("share", share, z * share_error, floor=0, ceiling=1),
            **_spread("users", users, z * users_error, floor=0, ceiling=1),
            **_spread("producers", producers, z * producers_error, floor=0, ceiling=1),
            "sampled": sampled,
        },
        index=pd.Index(names or sample.names, name="class"),
    )
    method = _("Olofsson et al. 2014, independent samples")
    low, high = (float(np.clip(overall + s * z * overall_error, 0, 1)) for s in (-1, 1))
    return Areas(table, float(overall), low, high, confidence, unit, method)


def block_areas(
    predictions: Predictions, mapped: Mapping | ArrayLike | None = None, *, unit: str | None = None,
    confidence: float = 0.95, repeats: int = 1000, seed: int = 0,
) -> Areas:  # fmt: skip
    """The same estimates from predictions whose pixels lie together, with intervals from resampling whole blocks.

    The pixels of a field are not independent, so the formulas for independent samples give intervals that are too
    narrow. Here blocks are drawn with replacement and all estimates are made again; draws without a
    sample of a mapped class are left out.

    Args:
        predictions: Of one date: ``p.pick(p.last == day)``. Each pixel stands for the same area.
        mapped: As in ``stratified_areas``; None takes the predictions themselves as the map, in pixels. The estimate is
            then the sample's own truth, and its interval is the sampling error.
        unit: Of ``mapped``; ``"pixels"`` where it is None.
        confidence, repeats, seed: Of the intervals.

    Raises:
        EvaluationError: Several dates; a mapped class without a prediction.
    """
    if len(np.unique(predictions.last)) > 1:
        raise EvaluationError(
            "Expected predictions of one date, received several: a pixel would count more than once. "
            "Pick one, e.g. p.pick(p.last == p.last.max())."
        )
    whole = predictions.confusion()
    own = mapped is None
    area = mapped_areas(whole.counts.sum(0) if own else mapped, whole.keys)
    _check_strata(whole, area, whole.counts.sum(0), least=1)
    by_block = predictions.counts_by("block")[1]
    draws = resampled(by_block, repeats, seed)
    best, every = _estimates(whole.counts[None], area, own), _estimates(draws, area, own)
    tails = {k: interval(v, confidence) for k, v in every.items()}
    columns = {"mapped": area}
    for name, scale in (("area", area.sum()), ("share", 1), ("users", 1), ("producers", 1)):
        key = "share" if name == "area" else name
        columns |= {name: best[key][0] * scale, f"{name}_low": tails[key][0] * scale}
        columns |= {f"{name}_high": tails[key][1] * scale}
    columns["sampled"] = whole.counts.sum(0)
    table = pd.DataFrame(columns, index=pd.Index(whole.names, name="class"))
    method = _("Olofsson et al. 2014, intervals from {repeats} draws of {blocks} blocks")
    method = method.format(repeats=repeats, blocks=len(by_block))
    low, high = (float(v) for v in tails["overall"])
    unit = unit or (N_("pixels") if own else "ha")
    return Areas(table, float(best["overall"][0]), low, high, confidence, unit, method)


def sample_size(shares: Sequence[float], users: Sequence[float], error: float = 0.01) -> int:
    """How many samples an overall accuracy with a given standard error needs.

    Args:
        shares: (K,) share of the map in each class.
        users: (K,) user's accuracies to be expected; a guess is enough.
        error: Standard error of overall accuracy to reach; the 95 % interval is about twice as wide to each side.

    Source: Olofsson et al. 2014, equation 13.

    >>> sample_size(shares=[0.7, 0.3], users=[0.9, 0.8])
    1089
    """
    shares, users = np.asarray(shares, np.float64), np.asarray(users, np.float64)
    if shares.shape != users.shape or ((users < 0) | (users > 1)).any() or (shares < 0).any() or not shares.sum() > 0:
        raise EvaluationError("Expected one share and one user's accuracy, 0 to 1, a class.")
    if not error > 0:
        raise EvaluationError(f"Expected a standard error above 0, received {error}.")
    return int(np.ceil(((shares / shares.sum() * np.sqrt(users * (1 - users))).sum() / error) ** 2))


def allocate(size: int, shares: Sequence[float], least: int = 50) -> np.ndarray:
    """How to spread samples over mapped classes: at least ``least`` in each that is mapped, the rest by share.

    Returns:
        (K,) int64 that sums to ``size``. The paper advises 50 to 100 for rare classes.

    Raises:
        EvaluationError: ``size`` is too small for ``least`` in each.
    """
    shares = np.asarray(shares, np.float64)
    on_map = shares > 0
    if size < least * on_map.sum():
        raise EvaluationError(
            f"Expected at least {least * on_map.sum()} samples for {least} in each class, got {size}."
        )
    given, rare = np.zeros(len(shares)), np.zeros(len(shares), bool)
    while True:
        rest = on_map & ~rare
        given[rare] = least
        if not rest.any():
            given[np.argmax(shares)] += size - given.sum()
            break
        given[rest] = (size - given[rare].sum()) * shares[rest] / shares[rest].sum()
        few = rest & (given < least)
        if not few.any():
            break
        rare |= few
    whole = np.floor(given).astype(np.int64)
    most = np.argsort(whole - given, kind="stable")[: size - whole.sum()]
    whole[most] += 1
    return whole


def mapped_areas(mapped: Mapping | ArrayLike, keys: Sequence[str]) -> np.ndarray:
    """(K,) float64 areas from an array or a mapping of class keys.

    Raises:
        EvaluationError: A key comes twice or is unknown, or an area is none.
    """
    if len(set(keys)) < len(keys):
        raise EvaluationError(f"Expected distinct class keys, received {list(keys)}.")
    if isinstance(mapped, Mapping):
        unknown = [k for k in mapped if k not in keys]
        if unknown:
            raise EvaluationError(f"Expected areas of {', '.join(keys)}, received {unknown}.")
        mapped = [mapped.get(k, 0) for k in keys]
    area = np.asarray(mapped, np.float64)
    if area.shape != (len(keys),) or not (np.isfinite(area) & (area >= 0)).all() or not area.sum() > 0:
        raise EvaluationError(
            f"Expected one mapped area, 0 or more, for each of {len(keys)} classes, received {mapped}."
        )
    return area


def _check_strata(sample: Confusion, area, sampled, least: int = 2) -> None:
    for name, a, n in zip(sample.names, area, sampled, strict=True):
        if a > 0 and n < least:
            raise EvaluationError(
                f"{name!r} covers {a:,.6g} of the map but has {n:g} samples, so its area cannot be estimated. "
                f"Sample at least {least} of each mapped class; 50 or more are advised."
            )


def _estimates(counts: np.ndarray, area: np.ndarray, own: bool) -> dict[str, np.ndarray]:
    """Estimates of many samples at once, from counts (R, K, K), rows = truth."""
    counts = np.swapaxes(counts, -1, -2).astype(np.float64)  # rows = map
    sampled = counts.sum(-1)
    weight = sampled / sampled.sum(-1, keepdims=True) if own else np.broadcast_to(area / area.sum(), sampled.shape)
    within = ratio(counts, sampled[..., None])
    within = np.where((weight > 0)[..., None], within, 0)  # a draw that lacks a mapped class stays NaN
    joint = weight[..., None] * within
    share, right = joint.sum(-2), np.diagonal(joint, axis1=-2, axis2=-1)
    users = np.where(weight > 0, np.diagonal(within, axis1=-2, axis2=-1), np.nan)
    return {"share": share, "users": users, "producers": ratio(right, share), "overall": right.sum(-1)}


def _spread(name: str, value, half, floor=None, ceiling=None) -> dict[str, np.ndarray]:
    low, high = np.clip(value - half, floor, ceiling), np.clip(value + half, floor, ceiling)
    return {name: value, f"{name}_low": low, f"{name}_high": high}
