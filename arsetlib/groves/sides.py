"""Training, validation and test: by source image, by flight order, and the leaky way of the thesis.

Tiles of one image share its light, its trees and, where tiles overlap, its pixels; augmented copies of one tile are
the same tile. Such relatives on two sides answer the test's question in training. And captures of a flight overlap:
by 80 %, so that even other images show the same trees.

Source: Kapoor & Narayanan (2023), "Leakage and the reproducibility crisis in machine-learning-based science",
Patterns 4, 100804.

Lab: case_groves.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from arsetlib.groves import pictures
from arsetlib.groves.annotations import read_json
from arsetlib.groves.classes import GroveError
from arsetlib.groves.cutting import places
from arsetlib.groves.layouts import Capture

SIDES = ("train", "validation", "test")
SHARES = (0.8, 0.1, 0.1)
COPIES = 4  # of a tile in the thesis: itself, mirrored, upside down, other light
FLIGHT_OVERLAP = 0.8  # taken where no flight.json tells


class LeakWarning(UserWarning):
    """A split puts the same ground on two sides."""


@dataclass(frozen=True)
class Dealt:
    """Single tiles of captures, as the thesis dealt them; ``groves.batches`` takes it in place of captures.

    Args:
        captures: All captures.
        capture: (N,) which capture.
        tile: (N,) which tile of it.
        copy: (N,) which copy: 0 as it is, 1 mirrored, 2 upside down, 3 other light.
        size, grid, overlap: How the captures are cut.
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


def split(
    captures: Sequence[Capture],
    shares: Sequence[float] = SHARES,
    seed: int = 0,
    by: str = "capture",
    allowed: float = 0.0,
) -> dict[str, list[Capture]]:
    """Captures for training, validation and test; no tile and no augmented copy of a capture is on two sides.

    Where the authors of a folder split their images (``images_prepped_train``, ``images_prepped_test``), their sides
    are kept as they are: ``shares`` and ``seed`` count for nothing, and only sides that they have are returned.

    Args:
        captures: From ``groves.captures``.
        shares: Of training, validation and test, by captures; 0 leaves a side out.
        seed: Same seed, same sides.
        by: ``"capture"`` deals captures at random. ``"flight"`` takes stretches of the flight and leaves out the
            captures between that overlap another side; then no ground is on two sides, but fewer captures remain.
        allowed: With ``by="flight"``, the share of a capture that may be seen from another side.

    Returns:
        Side → captures, in their order; only sides with a share.

    Warns:
        LeakWarning: By capture, where flight.json tells that captures of two sides show the same ground.

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
    order = np.random.default_rng(seed).permutation(len(captures))
    ends = np.cumsum([0, *counts])
    sides = {
        side: [captures[k] for k in sorted(order[low:high])]
        for side, low, high in zip(SIDES, ends[:-1], ends[1:], strict=True)
        if high > low
    }
    seen = {s: ground_seen(sides["train"], of) for s, of in sides.items() if s != "train"} if "train" in sides else {}
    if seen and max(v or 0 for v in seen.values()) > 0.01:
        told = " and ".join(f"{share:.0%} of the ground of {side}" for side, share in seen.items() if share)
        warnings.warn(
            f"Captures of this flight overlap: training shows {told}, if in other images. Scores will flatter; "
            f"tiles.split(…, by='flight') leaves the overlapping captures out.",
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
) -> dict[str, Dealt]:
    """Tiles and their augmented copies dealt at random, as the thesis did: to measure what that hides.

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
    ends = np.cumsum([0, *_counts(len(tile), shares)])
    order = np.random.default_rng(seed).permutation(len(tile))
    sides = {}
    for side, low, high in zip(SIDES, ends[:-1], ends[1:], strict=True):
        mine = np.sort(order[low:high])
        if len(mine):
            sides[side] = Dealt(captures, capture[mine], tile[mine], copy[mine], size, grid, overlap)
    told = []
    if {"train", "test"} <= set(sides):
        train, test = sides["train"], sides["test"]
        same = np.isin(test.capture * 2**32 + test.tile, train.capture * 2**32 + train.tile).mean()
        image = np.isin(test.capture, train.capture).mean()
        told = [f"{same:.0%} of the test samples are copies of a training tile", f"{image:.0%} of a training image"]
    warnings.warn(
        f"This split leaks{': ' if told else ''}{', '.join(told)}. Use groves.split for a result that you report.",
        LeakWarning,
        stacklevel=2,
    )
    return sides


def ground_seen(training: Sequence[Capture], others: Sequence[Capture]) -> float | None:
    """Share of the ground of some captures that other captures show too.

    Returns:
        0 to 1, or None where no ``flight.json`` tells where the captures lie.

    Lab: case_groves.
    """
    import shapely

    mine, theirs = ([_footprint(c) for c in captures] for captures in (training, others))
    if not mine or not theirs or any(f is None for f in (*mine, *theirs)):
        return None
    known, asked = shapely.union_all(mine), shapely.union_all(theirs)
    return float(known.intersection(asked).area / asked.area)


def _footprint(capture: Capture):
    """The ground of a capture as a polygon, from the flight.json of its folder."""
    import shapely

    for folder in list(capture.image.resolve().parents)[:2]:
        file = folder / "flight.json"
        if file.is_file():
            found = _flight(file, file.stat().st_mtime_ns)
            return shapely.Polygon(found[capture.name]) if capture.name in found else None
    return None


_FLIGHTS: dict[tuple[Path, int], dict] = {}


def _flight(file: Path, changed: int) -> dict:
    key = (file, changed)
    if key not in _FLIGHTS:
        try:
            _FLIGHTS[key] = {one["name"]: one["footprint"] for one in read_json(file)["captures"]}
        except (KeyError, TypeError) as problem:
            raise GroveError(f"{file} is no flight ({problem!r}). Expected captures with name and footprint.") from None
    return _FLIGHTS[key]


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


def _by_flight(captures, shares, allowed):
    """Stretches of the flight with gaps between: every capture left overlaps none of another side by more."""
    shares = np.asarray(shares, float)
    sides = [(side, share) for side, share in zip(SIDES, shares, strict=True) if share > 0]
    gap = _gap(captures, allowed)
    room = len(captures) - gap * (len(sides) - 1)
    if room < len(sides):
        raise GroveError(
            f"{len(captures)} captures are too few for {len(sides)} sides: each overlaps its next {gap} by more than "
            f"{allowed:.0%}, so {gap * (len(sides) - 1) + len(sides)} are needed. Leave validation out "
            "(shares=(0.8, 0, 0.2)), allow some overlap (allowed=0.25), or fly further."
        )
    counts = np.maximum(1, np.floor(np.array([s for _, s in sides]) * room + 1e-9).astype(int))
    counts[0] += room - counts.sum()
    found, at = {}, 0
    for (side, _), count in zip(sides, counts, strict=True):
        found[side] = captures[at : at + count]
        at += count + gap
    return found


def _gap(captures, allowed):
    """How many captures must lie between two that overlap by no more than is allowed."""
    ground = [_footprint(c) for c in captures]
    for gap in range(len(captures)):
        if any(f is None for f in ground):
            worst = 1 - (1 - FLIGHT_OVERLAP) * (gap + 1)
        else:
            pairs = [(ground[k], ground[j]) for k in range(len(captures)) for j in range(k + gap + 1, len(captures))]
            worst = max((a.intersection(b).area / min(a.area, b.area) for a, b in pairs), default=0.0)
        if worst <= allowed + 1e-9:
            return gap
    return len(captures)
