"""What a person needs to label a pixel: small images of its surroundings on several dates, and its series.

From scenes, whose pixels have 10 m, or from a pixel table: then the images are made of the neighbouring pixels of the
table, where it is dense.

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
from tqdm.auto import tqdm

from arsetlib import ingest, pixels, sentinel2
from arsetlib.catalogue import Scene, Scenes
from arsetlib.maps import sources
from arsetlib.maps.ground import Surroundings, ground_of_table
from arsetlib.maps.products import MapError
from arsetlib.maps.rasters import ndvi
from arsetlib.study import Area, Study

VIEWS = {"true": ("red", "green", "blue"), "false": ("nir", "red", "green")}  # bands of each kind of image
FINE = 10.0  # m, of a scene's image
CELL = 3_000.0  # m; points of one square are read together
CLOUDY = (3, 8, 9, 10)  # scene classes: an image with less of them near the point is taken


@dataclass(frozen=True)
class PixelViews:
    """Images and series of P points.

    Attributes:
        days: For each point the (D,) days of its images, since 1970-01-01, ascending.
        images: For each point (D, V, S, S, 3) uint8, V kinds of image; 0 where there is no data. The pixel is in the
            middle. D is 0 where the source has no surroundings. Where a table is thinned, each of its pixels fills the
            gaps beside it.
        kinds: The V kinds, keys of ``VIEWS``.
        series: For each point a table with ``day``, ``ndvi`` (NaN without data) and ``scl``.
        side: Of an image, m.
        pixel: Side of the labelled pixel, m.
        ground: Pictures of the ground around all points, None where there are none.
    """

    days: list[np.ndarray]
    images: list[np.ndarray]
    kinds: tuple[str, ...]
    series: list[pd.DataFrame]
    side: float
    pixel: float
    ground: Surroundings | None = None


def views_of_table(
    source: str | Path | pa.Table, table: pd.DataFrame, *, year: int, dates: int = 12, side: int = 21
) -> PixelViews:
    """Views from a pixel table: series, images where it holds the neighbours, and the ground around all points.

    Args:
        source: The pixel table.
        table: Of a ``MapSample``: its ``lon`` and ``lat`` are used.
        year: Of the images.
        dates: Images of each point, at most.
        side: Of an image, pixels of the table, odd.

    Raises:
        MapError: No point is in the table in that year.
    """
    meta, places, series = _rows_of(source, table, year, side // 2)
    kinds = tuple(k for k, bands in VIEWS.items() if set(bands) <= set(meta.bands))
    index = {kind: [meta.bands.index(b) for b in VIEWS[kind]] for kind in kinds}
    order = np.argsort(places)
    middle = (side * side) // 2
    days, images, lines = [], [], []
    for near in _neighbours(meta, table, side):
        at = order[np.minimum(np.searchsorted(places, near, sorter=order), len(places) - 1)]
        at = _without_gaps(np.where(places[at] == near, at, -1), side)
        if at[middle] < 0:
            days.append(np.empty(0, np.int64))
            images.append(np.empty((0, len(kinds), side, side, 3), np.uint8))
            lines.append(
                _line(np.empty(0, np.uint16), np.empty(0, np.uint8), np.empty((0, len(meta.bands))), meta.bands)
            )
            continue
        own = slice(*series.offsets[at[middle] : at[middle] + 2])
        lines.append(_line(series.day[own], series.scl[own], series.bands[own], meta.bands))
        clear = ~np.isin(series.scl[own], CLOUDY) & ((at >= 0).sum() > 1)  # without neighbours there is no image
        chosen = _spread(series.day[own], clear, dates)
        days.append(chosen)
        block = np.zeros((len(chosen), side * side, len(meta.bands)), np.uint16)
        if len(chosen):
            place, observed = _observations(series, at)
            which = np.minimum(np.searchsorted(chosen, series.day[observed]), len(chosen) - 1)
            same = chosen[which] == series.day[observed]
            block[which[same], place[same]] = series.bands[observed[same]]
        pictures = [painted(block[..., index[kind]]) for kind in kinds]
        images.append(np.stack(pictures, 1).reshape(len(chosen), len(kinds), side, side, 3))
    if not any(len(line) for line in lines):
        raise MapError(f"No point of the sample is in the table in {year}. Take the table of the map's area and year.")
    ground = ground_of_table(source, table, year, CLOUDY)
    return PixelViews(days, images, kinds, lines, side * meta.resolution, meta.resolution, ground)


def views_of_scenes(
    scenes: Scenes, study: Study, table: pd.DataFrame, *, year: int, crs: str, pixel: float, dates: int = 12,
    side: int = 48, progress: bool = True,
) -> PixelViews:  # fmt: skip
    """Views from scenes: images of 10 m, and the series as ingestion reads it.

    Points of a square of 3 km are read together, so memory depends on how many lie there. Over the internet each image
    costs a request; a sample of 400 points and 12 dates takes tens of minutes.

    Args:
        scenes: Of the study and year.
        study: Its bands and filters.
        table: Of a ``MapSample``.
        year: Of the images.
        crs: Of the sample's ``x`` and ``y``.
        pixel: Side of a pixel of the map, m.
        dates: Images of each point, at most.
        side: Of an image, pixels of 10 m.
        progress: Show a bar.

    Raises:
        MapError: No scene of that year shows the sample.
        BadScenes: A scene cannot be read.
    """
    x, y = table["x"].to_numpy(), table["y"].to_numpy()
    margin = side * FINE
    area = Area("sample", {}, (x.min() - margin, y.min() - margin, x.max() + margin, y.max() + margin), crs)
    starts = range(1, 366, study.season.window_days)
    place = sources.of_scenes(scenes, study.replace(areas=(area,)), area, year, starts, None)
    usable = [s for s in place.scenes if s.id not in place.survey.bad]
    kinds = tuple(k for k, bands in VIEWS.items() if set(bands) <= set(study.bands))
    down, across = (v.ravel() * FINE for v in np.indices((side, side)) - (side - 1) / 2)
    count = len(table)
    days: list = [None] * count
    images: list = [None] * count
    lines: list = [None] * count
    cells = pd.Series(range(count)).groupby([np.floor(x / CELL), np.floor(y / CELL)])
    with tqdm(total=count, desc="chips", unit="point", disable=not progress) as bar:
        for _, members in cells:
            mine = members.to_numpy()
            reader = ingest.Reader(x[mine], y[mine], crs, "of the sample")
            found = pixels.Ragged(*ingest.observe(place.chunks[0], study, usable, reader, {}))
            wide = ingest.Reader((x[mine, None] + across).ravel(), (y[mine, None] - down).ravel(), crs, "of the sample")
            for i, p in enumerate(mine):
                own = slice(*found.offsets[i : i + 2])
                lines[p] = _line(found.day[own], found.scl[own], found.bands[own], study.bands)
                days[p] = _spread(found.day[own], ~np.isin(found.scl[own], CLOUDY), dates)
                images[p] = np.zeros((len(days[p]), len(kinds), side, side, 3), np.uint8)
            for scene in usable:
                wants = [i for i, p in enumerate(mine) if scene.day in days[p]]
                if wants:
                    points = np.concatenate([np.arange(i * side * side, (i + 1) * side * side) for i in wants])
                    values = _values(wide, scene, kinds, points).reshape(len(wants), side, side, len(kinds), 3)
                    for i, value in zip(wants, values, strict=True):
                        p = mine[i]
                        at = int(np.searchsorted(days[p], scene.day))
                        new = np.moveaxis(value, 2, 0)  # (V, S, S, 3)
                        images[p][at] = np.where(images[p][at] == 0, new, images[p][at])
            bar.update(len(mine))
    return PixelViews(days, images, kinds, lines, side * FINE, pixel)


def _values(reader: ingest.Reader, scene: Scene, kinds: Sequence[str], points: np.ndarray) -> np.ndarray:
    """(n, V, 3) uint8 of one scene at some points."""
    names = dict.fromkeys(band for kind in kinds for band in VIEWS[kind])
    of = {b: sentinel2.reflectance_dn(reader.values(scene, b, points).astype(np.uint16), scene.offset) for b in names}
    return np.stack([painted(np.stack([of[b] for b in VIEWS[kind]], -1)) for kind in kinds], axis=1)


def painted(values: np.ndarray) -> np.ndarray:
    """Reflectance × 10,000 → uint8, alike on all dates, so that they can be compared; 0 is no data.

    The square root shows dark crops and bright soil together: 0 to 0.4 in the visible bands.
    """
    whole = np.clip(np.sqrt(values / 4_000) * 255, 1, 255)
    return np.where((values > 0).all(-1, keepdims=True), whole, 0).astype(np.uint8)


def _spread(day: np.ndarray, clear: np.ndarray, dates: int) -> np.ndarray:
    """At most so many clear days, evenly spread over the year."""
    days = np.unique(day[clear]).astype(np.int64)
    if len(days) <= dates or not len(days):
        return days
    targets = np.linspace(days[0], days[-1], dates)
    return np.unique(days[np.abs(days[:, None] - targets).argmin(0)])


def _observations(series: pixels.Ragged, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of the rows ``at`` (n,), -1 where there is none: the place in ``at`` and the number of each observation."""
    there = np.flatnonzero(at >= 0)
    first, count = series.offsets[at[there]], np.diff(series.offsets)[at[there]]
    number = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    return np.repeat(there, count), np.repeat(first, count) + number


def _without_gaps(at: np.ndarray, side: int) -> np.ndarray:
    """Rows ``at`` (side²,) around a point, -1 where there is none; in a thinned area gaps get the row beside them.

    An area is thinned by k where the nearest row on a line through the point, across or down, is k pixels away. Fewer
    than four rows on these lines are no grid, but single points.
    """
    grid, half = at.reshape(side, side), side // 2
    away = np.arange(side) - half
    lines = np.abs(np.concatenate([away[grid[half] >= 0], away[grid[:, half] >= 0]]))
    distances = lines[lines > 0]
    k = distances.min(initial=side)
    if k == 1 or len(distances) < 4:
        return at
    beside = half + ((away + k // 2) // k * k).clip(-(half // k * k), half // k * k)
    return np.where(grid >= 0, grid, grid[np.ix_(beside, beside)]).ravel()


def _line(day: np.ndarray, scl: np.ndarray, bands: np.ndarray, names: Sequence[str]) -> pd.DataFrame:
    both = "red" in names and "nir" in names
    values = ndvi(*(bands[:, list(names).index(b)] for b in ("red", "nir"))) if both else np.full(len(day), np.nan)
    return pd.DataFrame({"day": day.astype(np.int64), "ndvi": values, "scl": scl})


def _neighbours(meta: pixels.Meta, table: pd.DataFrame, side: int) -> Iterator[np.ndarray]:
    """For each point the (side²,) pixel numbers around it, row after row from the north."""
    x, y = Transformer.from_crs("EPSG:4326", CRS(meta.crs), always_xy=True).transform(
        table["lon"].to_numpy(), table["lat"].to_numpy()
    )
    down, across = (v.ravel() for v in np.indices((side, side)) - side // 2)
    for one in pixels.pixel_id(x, y, meta.resolution):
        yield one + down * 2**25 + across


def _rows_of(source, table: pd.DataFrame, year: int, reach: int) -> tuple[pixels.Meta, np.ndarray, pixels.Ragged]:
    """Pixel numbers and series of the rows of a year around the points."""
    meta = pixels.Meta.of(source)
    wanted = np.unique(np.concatenate([*_neighbours(meta, table, 2 * reach + 1)]))
    columns = ["pixel", "year", *pixels.SERIES]
    parts = [source] if isinstance(source, pa.Table) else pixels.stream(source, columns)
    kept = []
    for part in parts:
        part = part if isinstance(part, pa.Table) else pa.Table.from_batches([getattr(part, "batch", part)])
        mine = np.isin(part["pixel"].to_numpy(), wanted) & (part["year"].to_numpy() == year)
        if mine.any():
            kept.append(part.select(columns).filter(pa.array(mine)))
    if not kept:
        raise MapError(f"No point of the sample is in the table in {year}. Take the table of the map's area and year.")
    whole = pa.concat_tables(kept).combine_chunks()
    return meta, whole["pixel"].to_numpy(), pixels.ragged(whole)
