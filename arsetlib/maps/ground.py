"""The ground around the points of a sample, as pictures of some dates: what a person sees under the points.

Lab: part4_defend_the_map.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from pyproj import CRS, Transformer

from arsetlib import pixels

WIDEST = 480  # pixels of a picture along its longer side; of a larger ground every second, third, … pixel is shown
AROUND = 0.15  # of the points' extent, shown on each side of it
LEAST = 12  # pixels around the points, at least
DATES = 4


@dataclass(frozen=True)
class Surroundings:
    """Pictures of the ground around points.

    Attributes:
        days: (D,) since 1970-01-01, ascending.
        bands: (D, H, W, C) reflectance × 10,000, north up; 0 where there is no data. Where an area of the table is
            thinned, each of its pixels fills the gaps beside it.
        names: (C,) of the bands.
        bounds: West, south, east, north, m.
        crs: Of the bounds.
        pixel: Side of a pixel of the table, m; of a thinned table the distance of two pixels.
    """

    days: np.ndarray
    bands: np.ndarray
    names: tuple[str, ...]
    bounds: tuple[float, float, float, float]
    crs: str
    pixel: float


def ground_of_table(
    source: str | Path | pa.Table, table: pd.DataFrame, year: int, cloudy: tuple[int, ...]
) -> Surroundings:
    """The ground of a pixel table around points, on up to four dates with few clouds.

    The table is read three times, batch after batch; memory depends on the size of the pictures alone.

    Args:
        source: The pixel table.
        table: Its ``lon`` and ``lat`` are used.
        year: Of the images.
        cloudy: Scene classes that are not shown.
    """
    meta = pixels.Meta.of(source)
    x, y = Transformer.from_crs("EPSG:4326", CRS(meta.crs), always_xy=True).transform(
        table["lon"].to_numpy(), table["lat"].to_numpy()
    )
    side = meta.resolution
    row, col = np.divmod(pixels.pixel_id(x, y, side), 2**25)
    around = max(LEAST, int(AROUND * max(np.ptp(row), np.ptp(col))))
    top, left = int(row.min()) - around, int(col.min()) - around
    tall, wide = int(row.max()) + around + 1 - top, int(col.max()) + around + 1 - left
    held: dict[str, list[np.ndarray]] = {}  # rows and columns that the table has of an area
    for rows in _rows(source, year):
        r, c = np.divmod(rows["pixel"].to_numpy(), 2**25)
        inside = (r >= top) & (r < top + tall) & (c >= left) & (c < left + wide)
        areas = _areas(rows)
        for area in np.unique(areas[inside]):
            mine = inside & (areas == area)
            known = held.get(area, [np.empty(0, np.int64)] * 2)
            held[area] = [np.unique(np.append(old, new[mine])) for old, new in zip(known, (r, c), strict=True)]
    steps = {area: _step(both) for area, both in held.items() if sum(map(len, both)) > 6}  # a few points are no grid
    both = [np.unique(np.concatenate(v)) for v in zip(*held.values(), strict=True)]
    step = _step(both)
    if held:
        top, left = (
            int(v[0]) - -(-(int(v[0]) - first) // step) * step for v, first in zip(both, (top, left), strict=True)
        )
    tall, wide = int(row.max()) + around + 1 - top, int(col.max()) + around + 1 - left
    every = step * -(-max(tall, wide) // (step * WIDEST))
    high, across = -(-tall // every), -(-wide // every)
    corner = float(x[0]) - (int(col[0]) - left + step / 2) * side, float(y[0]) + (int(row[0]) - top + step / 2) * side

    def observed() -> Iterator[tuple[np.ndarray, ...]]:
        """Row, column, day, bands and size, in pixels of a picture, of the clear observations."""
        nonlocal corner
        for rows in _rows(source, year):
            series = pixels.ragged(rows)
            r, c = np.divmod(rows["pixel"].to_numpy(), 2**25)
            r, c = r - top, c - left
            first_x, first_y = rows["x"][0].as_py(), rows["y"][0].as_py()  # centres, exactly
            corner = first_x - (int(c[0]) + step / 2) * side, first_y + (int(r[0]) + step / 2) * side
            inside = (r >= 0) & (r < tall) & (c >= 0) & (c < wide) & (r % every == 0) & (c % every == 0)
            use = np.repeat(inside, np.diff(series.offsets)) & ~np.isin(series.scl, cloudy)
            of = np.repeat(np.arange(len(r)), np.diff(series.offsets))[use]
            areas, own = np.unique(_areas(rows), return_inverse=True)
            size = np.array([max(1, steps.get(area, 1) // every) for area in areas], int)[own]
            yield r[of] // every, c[of] // every, series.day[use].astype(np.int64), series.bands[use], size[of]

    counted: dict[int, int] = {}
    for _, _, day, _, _ in observed():
        for one, count in zip(*np.unique(day, return_counts=True), strict=True):
            counted[int(one)] = counted.get(int(one), 0) + int(count)
    best = max(counted.values(), default=0)
    good = np.array(sorted(day for day, count in counted.items() if count >= 0.7 * best), np.int64)
    if len(good) > DATES:
        good = good[np.unique(np.linspace(0, len(good) - 1, DATES).round().astype(int))]
    bands = np.zeros((len(good), high, across, len(meta.bands)), np.uint16)
    for r, c, day, values, size in observed():
        at = np.searchsorted(good, day).clip(max=max(len(good) - 1, 0))
        use = good[at] == day if len(good) else np.zeros(len(day), bool)
        bands[at[use], r[use], c[use]] = values[use]
        for down, right in np.ndindex(*[size.max(initial=1)] * 2):  # gaps of a thinned area
            gap_r, gap_c = r + down - size // 2, c + right - size // 2
            gap = (
                use & (np.maximum(down, right) < size) & (gap_r >= 0) & (gap_r < high) & (gap_c >= 0) & (gap_c < across)
            )
            where = at[gap], gap_r[gap], gap_c[gap]
            bands[where] = np.where((bands[where] == 0).all(1, keepdims=True), values[gap], bands[where])
    west, north = corner
    bounds = (west, north - high * every * side, west + across * every * side, north)
    return Surroundings(good, bands, meta.bands, bounds, meta.crs, step * side)


def _areas(rows: pa.Table) -> np.ndarray:
    """(N,) names of the areas of rows."""
    return np.asarray(rows["area"].to_numpy(), str)


def _step(both: Sequence[np.ndarray]) -> int:
    """Pixels from one row, or column, to the next; 1 where there is only one."""
    return max(1, int(np.gcd.reduce(np.concatenate([np.diff(v) for v in both])))) if both else 1


def _rows(source: str | Path | pa.Table, year: int) -> Iterator[pa.Table]:
    """The rows of a year, batch by batch."""
    columns = ["pixel", "year", "area", "x", "y", *pixels.SERIES]
    if isinstance(source, pa.Table):
        parts: Iterator = iter(source.select(columns).to_batches())
    else:
        parts = (part.batch for part in pixels.stream(source, columns))
    for part in parts:
        whole = pa.Table.from_batches([part.select(columns)])
        mine = whole.filter(pa.array(whole["year"].to_numpy() == year)).combine_chunks()
        if mine.num_rows:
            yield mine
