"""Training, validation and test without leakage: by year, by spatial block, or both.

Neighbouring pixels are alike, and so is one pixel in two years. If a neighbour of a test row is in training, the model
has seen nearly the same row. So rows are split by year and by block, before anything is sampled.

Source: Roberts et al. (2017), "Cross-validation strategies for data with temporal, spatial, hierarchical, or
phylogenetic structure", Ecography 40, 913-929.

Lab: part2_load_data.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pyarrow as pa

from arsetlib import pixels
from arsetlib.samples.draws import draw, scrambled
from arsetlib.samples.rows import Rows, SampleError
from arsetlib.seeds import generator
from arsetlib.study import SIDES, Study

BLOCK_SHARES = {"train": 0.6, "validation": 0.2, "test": 0.2}
SHOWN = 5  # rows that a message names


class LeakWarning(UserWarning):
    """A split puts neighbours, one pixel's years or the same ground on two sides."""


def split(
    source: Rows | pa.Table | str | Path, study: Study, by: str = "year and block", held_out: Sequence[str] = ()
) -> dict[str, Rows]:
    """Training, validation and test rows of a table, from the study file.

    Years are those of ``study.split``. Blocks, squares of ``study.block_m``, are assigned at random (by
    ``study.seed``) so that sides hold 60, 20 and 20 % of the rows. A row belongs to a side if its year does and its
    block does; other rows are on no side, which is the cost of a test without leaks.

    Args:
        source: The table, its path, or some rows of it.
        study: Years, blocks, seed.
        by: ``"year and block"``, ``"year"`` (the original course: the same pixels, another year) or ``"block"``
            (all years).
        held_out: Areas whose blocks all go to the test, such as a box that is mapped whole.

    Returns:
        Side → rows, for the sides that the study names.

    Raises:
        SampleError: A side would be empty, a year is on two sides, or an area does not exist.

    Lab: part2_load_data.

    >>> sides = split("data/pixels", study)  # doctest: +SKIP
    >>> train, test = sides["train"], sides["test"]  # doctest: +SKIP
    """
    ways = ("year and block", "year", "block")
    if by not in ways:
        raise SampleError(f"Expected by = {', '.join(map(repr, ways))}, received {by!r}.")
    rows = Rows.of(source)
    sides = [s for s in SIDES if by == "block" or study.split.get(s)]
    if not sides:
        raise SampleError(f"Study {study.key!r} names no year of any side. Add a [split] table to the study file.")
    place = _sides_of_blocks(rows, study, sides, held_out) if "block" in by else None
    split_rows = {}
    for number, side in enumerate(sides):
        mine = np.ones(len(rows), bool)
        if "year" in by:
            mine &= np.isin(rows.column("year"), study.split[side])
        if place is not None:
            mine &= place == number
        split_rows[side] = rows.pick(mine, side)
    _refuse_empty(split_rows, rows, study)
    _refuse_overlap(split_rows, by, study.block_m)
    if by == "year":
        _refuse_shared_days(study, sides)
    return split_rows


def random_split(
    source: Rows | pa.Table | str | Path, shares: Sequence[float] = (0.8, 0.1, 0.1), seed: int = 0
) -> dict[str, Rows]:
    """Rows divided at random, whatever their place and year: to show what is wrong with it.

    Args:
        source: The table, its path, or some rows of it.
        shares: Of training, validation and test; their sum is 1.
        seed: Same seed, same sides.

    Returns:
        Side → rows.

    Warns:
        LeakWarning: Always, with the share of test rows that have a neighbour (same block) in training.

    Raises:
        SampleError: The shares are not three positive numbers with the sum 1.

    Lab: part2_load_data.
    """
    shares = np.asarray(shares, float)
    if shares.shape != (3,) or not (shares > 0).all() or not np.isclose(shares.sum(), 1):
        raise SampleError(f"Expected three positive shares with the sum 1, received {shares.tolist()}.")
    rows = Rows.of(source)
    order = generator(seed, "random split").permutation(len(rows))
    ends = np.round(np.cumsum([0, *shares]) * len(rows)).astype(int)
    sides = {}
    for side, low, high in zip(SIDES, ends[:-1], ends[1:], strict=True):
        mine = np.zeros(len(rows), bool)
        mine[order[low:high]] = True
        sides[side] = rows.pick(mine, side)
    train, test = sides["train"].column("block"), sides["test"].column("block")
    share = np.isin(test, train).mean() if len(test) else 0.0
    warnings.warn(
        f"A random split leaks: {share:.0%} of the test rows have neighbours of their own block in training, so the "
        f"score will be too good. Use samples.split for a result that you report.",
        LeakWarning,
        stacklevel=2,
    )
    return sides


def kfold(source: Rows | pa.Table | str | Path, k: int = 5, seed: int = 0) -> list[dict[str, Rows]]:
    """K folds by block: each block is tested once, by a model that has not seen it.

    Args:
        source: The table, its path, or some rows of it (the training side, say).
        k: Folds.
        seed: Same seed, same folds.

    Returns:
        K splits with the sides ``train`` and ``test``; folds hold about as many rows each.

    Raises:
        SampleError: Fewer blocks than folds.

    Lab: part2_load_data.
    """
    rows = Rows.of(source)
    blocks, inverse, counts = np.unique(rows.column("block"), return_inverse=True, return_counts=True)
    if not 2 <= k <= len(blocks):
        raise SampleError(f"Expected 2 to {len(blocks)} folds, as many as blocks, received k = {k}.")
    fold = _deal(blocks, counts, np.full(k, 1 / k), seed)[inverse]
    return [{"train": rows.pick(fold != i, "train"), "test": rows.pick(fold == i, "test")} for i in range(k)]


def shared(sides: dict[str, Rows]) -> dict[tuple[str, str], dict[str, np.ndarray]]:
    """What two sides have in common, to see a leak.

    Args:
        sides: Side → rows, from any split.

    Returns:
        For each pair of sides, ``year``, ``block`` and ``pixel`` → row numbers (in the table) of the second side whose
        value the first side has too.

    Lab: part2_load_data.
    """
    value = {side: {n: rows.column(n) for n in ("year", "block", "pixel")} for side, rows in sides.items()}
    return {
        (a, b): {n: sides[b].index[np.isin(value[b][n], value[a][n])] for n in value[b]}
        for a, b in combinations(sides, 2)
    }


def _sides_of_blocks(rows: Rows, study: Study, sides: list[str], held_out: Sequence[str]) -> np.ndarray:
    """(R,) number of the side that holds each row's block."""
    block = pixels.block_id(rows.column("x"), rows.column("y"), study.block_m)
    blocks, inverse, counts = np.unique(block, return_inverse=True, return_counts=True)
    kept = np.zeros(len(blocks), bool)
    if held_out:
        area = rows.column("area").astype(str)
        strangers = sorted(set(held_out) - set(area))
        if strangers or "test" not in sides:
            raise SampleError(
                f"Expected held_out to name areas of the table ({', '.join(sorted(set(area)))}) and a study with a "
                f"test side, received {list(held_out)}."
            )
        kept[inverse[np.isin(area, held_out)]] = True
    shares = np.array([BLOCK_SHARES[s] for s in sides])
    already = np.zeros(len(sides))
    if kept.any():
        already[sides.index("test")] = counts[kept].sum()
    place = np.full(len(blocks), len(sides) - 1)
    place[~kept] = _deal(blocks[~kept], counts[~kept], shares / shares.sum(), study.seed, already)
    return place[inverse]


def _deal(blocks: np.ndarray, counts: np.ndarray, shares: np.ndarray, seed: int, already=0.0) -> np.ndarray:
    """(N,) number of the share of each block: blocks in random order, each to the share that is least full."""
    order = np.argsort(draw(scrambled(seed), blocks.astype(np.uint64), 0), kind="stable")
    rows_so_far = np.zeros(len(shares)) + already
    place = np.zeros(len(blocks), np.int64)
    for i in order:
        place[i] = np.argmin(rows_so_far / shares)
        rows_so_far[place[i]] += counts[i]
    return place


def _refuse_empty(sides: dict[str, Rows], rows: Rows, study: Study) -> None:
    empty = [side for side, mine in sides.items() if not len(mine)]
    if empty:
        years = sorted(set(rows.column("year").tolist()))
        raise SampleError(
            f"The sides {empty} have no row: the table has {len(rows)} rows of the years {years}, the study's split is "
            f"{ {s: list(y) for s, y in study.split.items()} } with blocks of {study.block_m:g} m. "
            f"Ingest the missing years, or make blocks smaller."
        )


def _refuse_shared_days(study: Study, sides: list[str]) -> None:
    """No image of a pixel may be on two sides: seasons over New Year can be so long that they share days."""
    if not study.season.over_new_year:
        return
    spans = {(side, year): study.season.days(year) for side in sides for year in study.split[side]}
    for (a, one), (b, other) in combinations(spans, 2):
        shared_days = min(spans[a, one][1], spans[b, other][1]) - max(spans[a, one][0], spans[b, other][0]) + 1
        if a != b and shared_days > 0:
            raise SampleError(
                f"Rows of {one} ({a}) and {other} ({b}) share images of {shared_days} days: windows go from day "
                f"{study.season.first_day} to day {study.season.end_day}, more than a year. Split by 'year and block', "
                f"set [season] last_day to {study.season.last_day - shared_days} at most, or leave out a year between."
            )


def _refuse_overlap(sides: dict[str, Rows], by: str, block_m: float) -> None:
    """No year, no block and no row may be on two sides."""
    value = {
        side: {
            "year": rows.column("year"),
            "block": pixels.block_id(rows.column("x"), rows.column("y"), block_m),
            "row": rows.index,
        }
        for side, rows in sides.items()
    }
    for a, b in combinations(sides, 2):
        for noun in [n for n in ("year", "block") if n in by] + ["row"]:
            both = np.isin(value[b][noun], value[a][noun])
            if both.any():
                names = np.unique(value[b][noun][both]).tolist()[:SHOWN]
                raise SampleError(
                    f"{both.sum()} rows of {b!r} share their {noun} ({names}) with {a!r}; the first are rows "
                    f"{sides[b].index[both][:SHOWN].tolist()}. Give each {noun} to one side in the study's [split]."
                )
