"""Training, validation and test sides: by source image, by flight order, and in the leaky way of the thesis.

Tiles of one image share its light, its trees and, where tiles overlap, its pixels; augmented copies of one tile are
the same tile. If such related tiles are on two sides, the test contains what was seen in training. And captures of a
flight overlap, by 80 %, so that even other images show the same trees.

Source: Kapoor & Narayanan (2023), "Leakage and the reproducibility crisis in machine-learning-based science",
Patterns 4, 100804.

Lab: case_groves.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from arsetlib import seeds
from arsetlib.groves import flight, pictures
from arsetlib.groves.capture import Capture
from arsetlib.groves.classes import GroveError
from arsetlib.groves.cutting import places
from arsetlib.samples.split import LeakWarning
from arsetlib.translation import _

SIDES = ("train", "validation", "test")
SHARES = (0.8, 0.1, 0.1)
COPIES = 4  # of a tile in the thesis: itself, mirrored, upside down, other light
FLIGHT_OVERLAP = 0.8  # assumed where there is no flight.json


@dataclass(frozen=True, repr=False)
class TileSplit:
    """Single tiles of captures, divided as in the thesis; ``groves.batches`` takes it in place of captures.

    Args:
        captures: All captures.
        capture: (N,) which capture.
        tile: (N,) which tile of it.
        copy: (N,) which copy: 0 as it is, 1 mirrored, 2 upside down, 3 other light.
        size, grid, overlap: How the captures are cut.

    Lab: case_groves.
    """

    captures: tuple[Capture, ...]
    capture: np.ndarray
    tile: np.ndarray
    copy: np.ndarray
    size: int | tuple[int, int] | None
    grid: tuple[int, int] | None
    overlap: int

    def __len__(self) -> int:
        return len(self.tile)

    def __repr__(self) -> str:
        return _("{n} tiles of {captures} captures").format(n=len(self), captures=len(self.captures))


def split(
    captures: Sequence[Capture],
    shares: Sequence[float] = SHARES,
    seed: int = 0,
    by: str = "capture",
    allowed: float = 0.0,
) -> dict[str, list[Capture]]:
    """Captures for training, validation and test; no tile and no augmented copy of a capture is on two sides.

        >>> from pathlib import Path
        >>> ten = [Capture(f"image_{k}", Path(f"image_{k}.jpg")) for k in range(10)]
        >>> {side: len(part) for side, part in split(ten, seed=1).items()}
        {'train': 8, 'validation': 1, 'test': 1}

    Where the authors of a folder split their images (``images_prepped_train``, ``images_prepped_test``), their sides
    are kept as they are: ``shares`` and ``seed`` have no effect, and only sides that they have are returned.

    Args:
        captures: From ``groves.captures``.
        shares: Of training, validation and test, by captures; 0 leaves a side out.
        seed: Same seed, same sides.
        by: ``"capture"`` divides captures at random. ``"flight"`` takes stretches of the flight and leaves out the
            captures between that overlap another side; then no ground is on two sides, but fewer captures remain.
        allowed: With ``by="flight"``, the share of a capture that another side may show.

    Returns:
        Side → captures, in their order; only sides with a share.

    Warns:
        LeakWarning: By capture, where captures of two sides show the same ground according to flight.json.

    Raises:
        GroveError: Shares that do not add up to 1, too few captures.

    Lab: case_groves.
    """
    captures = list(captures)
    if by == "capture" and captures and all(c.side for c in captures) and len({c.side for c in captures}) > 1:
        return {side: part for side in SIDES if (part := [c for c in captures if c.side == side])}
    counts = _counts(len(captures), shares)
    if by == "flight":
        return _by_flight(captures, shares, allowed)
    if by != "capture":
        raise GroveError(f"Expected by = 'capture' or 'flight', received {by!r}.")
    order = seeds.generator(seed, "groves", "split").permutation(len(captures))
    sides = {side: [captures[k] for k in part] for side, part in _divided(order, counts).items()}
    seen = {s: ground_seen(sides["train"], of) for s, of in sides.items() if s != "train"} if "train" in sides else {}
    if seen and max(v or 0 for v in seen.values()) > 0.01:
        shown = " and ".join(f"{share:.0%} of the ground of {side}" for side, share in seen.items() if share)
        warnings.warn(
            f"Captures of this flight overlap: training shows {shown}, if in other images. Scores will be too high; "
            f"groves.split(…, by='flight') leaves the overlapping captures out.",
            LeakWarning,
            stacklevel=2,
        )
    return sides


def leaky_split(
    captures: Sequence[Capture],
    shares: Sequence[float] = SHARES,
    seed: int = 0,
    size: int | tuple[int, int] | None = None,
    grid: tuple[int, int] | None = None,
    overlap: int = 0,
    copies: int = COPIES,
) -> dict[str, TileSplit]:
    """Tiles and their augmented copies divided at random, as in the thesis: to measure how much such a split leaks.

    Args:
        captures: From ``groves.captures``.
        shares: Of training, validation and test, by samples.
        seed: Same seed, same sides.
        size, grid, overlap: As for ``groves.cut``; 5 × 7 tiles without.
        copies: Of each tile, 1 to 4: as it is, mirrored, upside down, other light.

    Returns:
        Side → tiles, for ``groves.batches``.

    Warns:
        LeakWarning: Always, with the share of test samples whose tile or capture is in training.

    Raises:
        GroveError: Shares that do not add up to 1.

    Lab: case_groves.
    """
    captures = tuple(captures)
    if not 1 <= copies <= COPIES:
        raise GroveError(f"Expected 1 to {COPIES} copies, received {copies}.")
    per = [len(places(pictures.size_of(c.image), size, grid, overlap, str(c.image))[0]) for c in captures]
    capture = np.repeat(np.repeat(np.arange(len(captures)), per), copies)
    tile = np.repeat(np.concatenate([np.arange(n) for n in per]), copies)
    copy = np.tile(np.arange(copies), sum(per))
    order = seeds.generator(seed, "groves", "leaky split").permutation(len(tile))
    sides = {
        side: TileSplit(captures, capture[rows], tile[rows], copy[rows], size, grid, overlap)
        for side, rows in _divided(order, _counts(len(tile), shares)).items()
    }
    leaks = ""
    if {"train", "test"} <= set(sides):
        train, test = sides["train"], sides["test"]
        same = np.isin(test.capture * 2**32 + test.tile, train.capture * 2**32 + train.tile).mean()
        image = np.isin(test.capture, train.capture).mean()
        leaks = f": {same:.0%} of the test samples are copies of a training tile, {image:.0%} of a training image"
    warnings.warn(f"This split leaks{leaks}. Use groves.split for a result that you report.", LeakWarning, stacklevel=2)
    return sides


def ground_seen(training: Sequence[Capture], others: Sequence[Capture]) -> float | None:
    """Share of the ground of some captures that other captures show too.

    Returns:
        0 to 1, or None where no ``flight.json`` states where the captures lie.

    Lab: case_groves.
    """
    import shapely

    mine, theirs = ([_outline(c) for c in captures] for captures in (training, others))
    if not mine or not theirs or any(outline is None for outline in (*mine, *theirs)):
        return None
    known, asked = shapely.union_all(mine), shapely.union_all(theirs)
    return float(known.intersection(asked).area / asked.area)


def _outline(capture: Capture):
    """The ground of a capture as a polygon; None where no flight.json states it."""
    import shapely

    known = flight.of_folder(capture.image.parent)
    if known is None or capture.name not in known.poses:
        return None
    return shapely.Polygon(known.poses[capture.name].outline(pictures.size_of(capture.image)))


def _divided(order: np.ndarray, counts: Sequence[int]) -> dict[str, np.ndarray]:
    """Side → its rows in ascending order; only sides with rows."""
    parts = np.split(order, np.cumsum(counts)[:-1])
    return {side: np.sort(rows) for side, rows in zip(SIDES, parts, strict=True) if len(rows)}


def _counts(total: int, shares) -> list[int]:
    shares = np.asarray(shares, float)
    if shares.shape != (3,) or (shares < 0).any() or shares[0] == 0 or not np.isclose(shares.sum(), 1):
        raise GroveError(f"Expected shares of train, validation and test with the sum 1, received {shares.tolist()}.")
    wanted = int((shares > 0).sum())
    if total < wanted:
        raise GroveError(f"Expected at least {wanted} captures for {wanted} sides, received {total}.")
    counts = np.floor(shares * total + 1e-9).astype(int)
    counts[(shares > 0) & (counts == 0)] = 1
    counts[0] += total - counts.sum()
    return counts.tolist()


def _by_flight(captures: list[Capture], shares, allowed: float) -> dict[str, list[Capture]]:
    """Stretches of the flight with gaps between: no capture overlaps one of another side by more than is allowed."""
    shares = np.asarray(shares, float)
    sides = [(side, share) for side, share in zip(SIDES, shares, strict=True) if share > 0]
    gap = _gap(captures, allowed)
    remaining = len(captures) - gap * (len(sides) - 1)
    if remaining < len(sides):
        raise GroveError(
            f"{len(captures)} captures are too few for {len(sides)} sides: each overlaps its next {gap} by more than "
            f"{allowed:.0%}, so {gap * (len(sides) - 1) + len(sides)} are needed. Leave validation out "
            "(in Python: shares=(0.8, 0, 0.2)), allow some overlap (in Python: allowed=0.25), or fly further."
        )
    counts = np.maximum(1, np.floor(np.array([s for _, s in sides]) * remaining + 1e-9).astype(int))
    counts[0] += remaining - counts.sum()
    parts, at = {}, 0
    for (side, __), count in zip(sides, counts, strict=True):
        parts[side] = captures[at : at + count]
        at += count + gap
    return parts


def _gap(captures: list[Capture], allowed: float) -> int:
    """How many captures must lie between two that overlap by no more than is allowed."""
    ground = [_outline(c) for c in captures]
    for gap in range(len(captures)):
        if any(outline is None for outline in ground):
            worst = 1 - (1 - FLIGHT_OVERLAP) * (gap + 1)
        else:
            pairs = [(ground[k], ground[j]) for k in range(len(captures)) for j in range(k + gap + 1, len(captures))]
            worst = max((a.intersection(b).area / min(a.area, b.area) for a, b in pairs), default=0.0)
        if worst <= allowed + 1e-9:
            return gap
    return len(captures)
