"""Sources of a map: a pixel table, or scenes. Both are read task by task, as flat series.

A task is a run of row groups of a table, or one chunk of the label grid read from scenes by the code that builds the
table. A source knows where the pixels of the map are and how many tasks there are; it holds no series itself, so it can
be sent to workers.

Lab: part3_train_and_test.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import rasterio
from pyproj import CRS
from shapely import STRtree

from arsetlib import checksums, copies, folders, ground, ingest, pixels, samples
from arsetlib.catalogue import CatalogueError, Scene, Scenes
from arsetlib.ingest import Chunk, Grid
from arsetlib.ingest.survey import Survey, survey
from arsetlib.labels import CDL_CORNER, CDL_KINDS, Labels, raster_grid
from arsetlib.maps.products import MapError
from arsetlib.pixels.listing import footer
from arsetlib.pixels.sources import ahead, many
from arsetlib.samples.store import checked
from arsetlib.study import Area, Season, Study, StudyError

TASK_ROWS = 32_768  # of a table; with a year of images some 60 MB of series
CHUNK_SIDE = 256  # label pixels of a chunk read from scenes
PLACES = ("area", "year", "x", "y")


@dataclass(frozen=True)
class Piece:
    """Series of some of a map's pixels: rows and columns (n,), the series, and which of its rows they are (n,)."""

    row: np.ndarray
    col: np.ndarray
    series: pixels.Ragged
    rows: np.ndarray


# -- pixel tables ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TableSource:
    """Pixels of one area and year of a table.

    Attributes:
        table: Folder or file, or a table in memory.
        groups: For each task the (file, row group)s it reads; of a table in memory (first row, rows).
        every: The table holds each so-many-th label pixel along x and y.
        pixels: Pixels there are.
    """

    table: str | pa.Table
    area: str
    year: int
    grid: Grid
    groups: tuple[tuple[tuple[str | int, int], ...], ...]
    every: int
    pixels: int
    simulated: bool
    study: str
    bands: tuple[str, ...]
    identity: str

    def __len__(self) -> int:
        return len(self.groups)

    def name(self, task: int) -> str:
        """Of a task, for messages."""
        file, group = self.groups[task][0]
        return f"{Path(file).name}, row group {group}" if isinstance(file, str) else f"rows from {file}"

    def read(self, task: int, counts: dict) -> Piece:
        """The series of a task's pixels."""
        parts = [_read_group(self.table, *g, (*PLACES, "num_images", *pixels.SERIES)) for g in self.groups[task]]
        for (file, number), part in zip(self.groups[task], parts, strict=True):
            checked(part, f"{file}, row group {number}, " if isinstance(file, str) else f"from row {file} on, ")
        table = pa.concat_tables(parts).combine_chunks() if len(parts) > 1 else parts[0]
        mine = np.flatnonzero(_mine(table, self.area, self.year))
        x, y = (table.column(n).to_numpy()[mine] for n in ("x", "y"))
        row, col = self.grid.places(x, y)
        return Piece(row, col, pixels.ragged(table), mine)


def of_table(
    source: str | Path | pa.Table | samples.Rows, area: str | None, year: int | None, study: Study
) -> TableSource:
    """A source from a path, a table in memory, or Rows; one pass over the places of its pixels.

    Raises:
        MapError: The table has no such area or year, or several and none was named.
        PixelError: The table is missing, unfinished or damaged.
    """
    if isinstance(source, samples.Rows):
        source = source.read() if len(source) < _length(source.source) else source.source
    meta = pixels.Meta.of(source)
    area, year = _which(source, area, year, study)
    groups: list[list] = []
    held, across, down = 0, _Places(), _Places()
    for group, table in _places(source):
        mine = _mine(table, area, year)
        if not mine.any():
            continue
        if not groups or held + table.num_rows > TASK_ROWS:
            groups.append([])
            held = 0
        groups[-1].append(group)
        held += table.num_rows
        across.add(table.column("x").to_numpy()[mine])
        down.add(table.column("y").to_numpy()[mine])
    if not groups:
        raise MapError(f"The table has no pixel of area {area!r} in {year}. `arset describe` tells what it holds.")
    grid, every = _table_grid(meta, across, down, study, area)
    _refuse_distorted(grid)
    facts = [meta.study, meta.crs, area, year, _stamp(source), [[list(g) for g in part] for part in groups]]
    identity = checksums.digest_json(facts, default=str)[:16]
    table = source if isinstance(source, pa.Table) else str(Path(source).resolve())
    return TableSource(
        table, area, year, grid, tuple(tuple(part) for part in groups), every, across.count, meta.simulated,
        meta.study, meta.bands, identity,
    )  # fmt: skip


def grid_of_pixels(meta: pixels.Meta, x: np.ndarray, y: np.ndarray, study: Study, area: str) -> Grid:
    """The grid of a map of some pixels of a table, whose centres are x and y (n,), m."""
    across, down = _Places(), _Places()
    across.add(x)
    down.add(y)
    return _table_grid(meta, across, down, study, area)[0]


def _refuse_distorted(grid: Grid) -> None:
    """Areas of a map are counted in pixels, so its grid must be in metres on the ground."""
    bottom, right = grid.y0 - grid.height * grid.side, grid.x0 + grid.width * grid.side
    place = Area("table", {"en": "table"}, (grid.x0, bottom, right, grid.y0), grid.crs)
    try:
        ground.check(CRS(grid.crs), [place], f"{CRS(grid.crs).name}, in which the table is,")
    except ground.GridError as error:
        raise MapError(f"{error} Make the table again on such a grid.") from None


class _Places:
    """The different coordinates of many pixels along one axis; their number grows with the side, not the area."""

    def __init__(self):
        self.values, self.count = np.empty(0), 0

    def add(self, values: np.ndarray) -> None:
        """Take in the coordinates of more pixels."""
        self.values = np.unique(np.concatenate([self.values, values]))
        self.count += len(values)

    def step(self, side: float) -> int:
        """Label pixels from one coordinate to the next."""
        apart = np.rint(np.diff(self.values) / side).astype(np.int64)
        return int(np.gcd.reduce(apart[apart > 0])) if (apart > 0).any() else 1


def _table_grid(meta: pixels.Meta, across: _Places, down: _Places, study: Study, area: str) -> tuple[Grid, int]:
    """The grid of the map, and how many label pixels along x and y there are to one in the table.

    A dense table of an area that the study knows gives the area's box, as scenes do; else what the table holds.
    """
    side, crs = meta.resolution, CRS(meta.crs).to_string()
    steps = [p.step(side) for p in (across, down) if len(p.values) > 1]
    every = math.gcd(*steps) if steps else 1
    big = every * side
    left, top = across.values[0] - big / 2, down.values[-1] + big / 2
    width, height = (round((p.values[-1] - p.values[0]) / big) + 1 for p in (across, down))
    if every == 1 and area in [a.key for a in study.areas]:
        half = side / 2
        grid = Grid(crs, side, round(left % side / half) % 2 * half, round(top % side / half) % 2 * half)
        row0, row1, col0, col1 = grid.extent(study.area(area))
        row, col = round((grid.y0 - top) / side), round((left - grid.x0) / side)
        row0, row1, col0, col1 = min(row0, row), max(row1, row + height), min(col0, col), max(col1, col + width)
        return grid.part(row0, row1, col0, col1), every
    return Grid(crs, big, left, top, height, width), every


def _which(source, area: str | None, year: int | None, study: Study) -> tuple[str, int]:
    """The area and the year meant, where the caller names none and there is only one."""
    there = _contents(source)
    areas = sorted({a for a, _ in there})
    if area is None:
        dense = [a.key for a in study.areas if a.every == 1 and a.key in areas]
        known = areas if len(areas) == 1 else dense
        if len(known) != 1:
            raise MapError(f"Name one area to predict, area=…: the table has {', '.join(areas)}.")
        area = known[0]
    if area not in areas:
        raise MapError(f"The table has no area {area!r}. It has: {', '.join(areas)}.")
    years = sorted({y for a, y in there if a == area})
    if year is None and len(years) > 1:
        raise MapError(f"Name one year to predict, year=…: the table has {', '.join(map(str, years))} of {area!r}.")
    year = years[0] if year is None else year
    if year not in years:
        raise MapError(f"The table has no {year} of area {area!r}. It has: {', '.join(map(str, years))}.")
    return area, year


def _contents(source) -> set[tuple[str, int]]:
    found = set()
    for _, table in _places(source, ("area", "year")):
        pairs = table.group_by(["area", "year"]).aggregate([])
        found |= set(zip(pairs["area"].to_pylist(), pairs["year"].to_pylist(), strict=True))
    return found


def _places(source, columns: Sequence[str] = PLACES):
    """Row group after row group of a table with some of its small columns: ((file, number), table)."""
    if isinstance(source, pa.Table):
        for first in range(0, source.num_rows, TASK_ROWS):
            group = (first, min(TASK_ROWS, source.num_rows - first))
            yield group, _read_group(source, *group, columns)
        return
    pixels.dataset(source)  # one schema and one grid, or an error
    files = pixels.files(source)
    footers = zip(files, many(footer, files), strict=True)
    groups = [(str(file), number) for file, content in footers for number in range(content.num_row_groups)]
    stored = not isinstance(files[0], Path)
    yield from ahead(lambda group: (group, _read_group(None, group[0], group[1], columns)), groups, stored)


def _read_group(table, file, number: int, columns: Sequence[str]) -> pa.Table:
    if isinstance(file, int):
        return table.slice(file, number).select(list(columns))
    return pixels.row_group(file, number, columns)


def _mine(table: pa.Table, area: str, year: int) -> np.ndarray:
    chosen = pc.and_(pc.equal(table.column("area"), area), pc.equal(table.column("year"), year))
    return chosen.to_numpy(zero_copy_only=False)


def _length(source) -> int:
    return source.num_rows if isinstance(source, pa.Table) else pixels.dataset(source).count_rows()


def _stamp(source) -> list:
    """What changes when a table does: names, sizes and times of its files, or the bytes of a table in memory."""
    if isinstance(source, pa.Table):
        held = hashlib.blake2b()
        for chunk in (c for name in (*PLACES, *pixels.SERIES) for c in source.column(name).chunks):
            held.update(f"{chunk.offset} {len(chunk)}".encode())
            for buffer in filter(None, chunk.buffers()):
                held.update(buffer)
        return [source.num_rows, held.hexdigest()]
    return many(lambda file: [file.name, (facts := file.stat()).st_size, facts.st_mtime_ns], pixels.files(source))


# -- scenes ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SceneChunks:
    """Chunks of the label grid, and the scenes that touch each of them.

    Attributes:
        label_grid: Rows and columns of chunks count on it.
        grid: Of the map: its part that holds the area.
        scenes: With the offsets decided on; those that ``survey`` calls bad are not read.
    """

    study: Study
    place: Area
    year: int
    label_grid: Grid
    grid: Grid
    chunks: tuple[Chunk, ...]
    scenes: tuple[Scene, ...]
    pixels: int
    identity: str
    survey: Survey
    every: int = 1

    def __len__(self) -> int:
        return len(self.chunks)

    @property
    def area(self) -> str:
        """Its key."""
        return self.place.key

    @property
    def simulated(self) -> bool:
        """Whether the scenes are."""
        return self.study.simulated

    @property
    def bands(self) -> tuple[str, ...]:
        """In the order of the series."""
        return self.study.bands

    def name(self, task: int) -> str:
        """Of a task, for messages."""
        return self.chunks[task].name

    def read(self, task: int, counts: dict) -> Piece:
        """The series of a chunk's pixels, read as ingestion reads them."""
        chunk = self.chunks[task]
        rows, cols = np.indices((chunk.rows, chunk.cols)).reshape(2, -1)
        rows, cols = rows + chunk.row, cols + chunk.col
        take = self.label_grid.inside(self.place, rows, cols)
        x, y = self.label_grid.centres(rows[take], cols[take])
        usable = [self.scenes[i] for i in chunk.scenes if self.scenes[i].id not in self.survey.bad]
        reader = ingest.Reader(x, y, self.grid.crs, chunk.name)
        series = pixels.Ragged(*ingest.observe(chunk, self.study, usable, reader, counts))
        return Piece(*self.grid.places(x, y), series, np.arange(len(x)))

    def without(self, bad: dict[str, str]) -> SceneChunks:
        """The same without more scenes, id → why.

        Raises:
            MapError: They are more than the study's ``max_bad_share`` allows.
        """
        survey = self.survey.with_bad(bad)
        _refuse_too_many(survey, len(self.scenes), self.study)
        return replace(self, survey=survey)

    def tasks_with(self, scenes: Collection[str]) -> list[int]:
        """Tasks that read one of some scenes, by id."""
        return [n for n, c in enumerate(self.chunks) if any(self.scenes[i].id in scenes for i in c.scenes)]


def of_scenes(
    scenes: Scenes,
    study: Study,
    area: str | Area | None,
    year: int | None,
    starts: Sequence[int],
    labels: Labels | None,
) -> SceneChunks:
    """A source from an item list; only scenes that fall into one of the windows are kept.

    Raises:
        MapError: No such area or year, or no scene in a window there.
    """
    place = _place(study, area)
    season = study.season
    if year is None:
        years = _years(scenes, season)
        if len(years) != 1:
            named = ", ".join(map(str, years)) or "no year"
            raise MapError(f"Name one year to predict, year=…: the scenes are of {named}.")
        year = years[0]
    firsts = samples.start_days(np.full(len(starts), year), np.asarray(starts))
    chosen = [s for s in scenes if any(first <= s.day < first + season.window_days for first in firsts)]
    lacks = {s.id: [n for n in ("scl", *study.bands) if n not in s.hrefs] for s in chosen}
    for scene, missing in lacks.items():
        if missing:
            raise MapError(
                f"Scene {scene} of the list has no link to {missing}, which the model needs. The list was made for "
                "other bands: find the scenes again with the model's study."
            )
    near = [s for s in chosen if s.footprint.intersects(place.outline())]
    if not near:
        raise MapError(
            f"No scene of the list shows area {place.key!r} in the window{'s' if len(starts) > 1 else ''} that "
            f"start{'s' if len(starts) == 1 else ''} on day {', '.join(map(str, starts))} of {year} "
            f"({season.window_days} days). Find scenes of that year and area, or take another start."
        )
    near, found = _surveyed(list(scenes), near, study, place)
    grid = grid_of(study, place, labels)
    chunks = list(ingest.Cut.of(grid, place, year, CHUNK_SIDE))
    touching: list[list[int]] = [[] for _ in chunks]
    tree = STRtree([s.footprint for s in near])
    for chunk, scene in tree.query(grid.outlines(chunks), predicate="intersects").T.tolist():
        touching[chunk].append(scene)
    chunks = [replace(chunk, scenes=tuple(sorted(numbers))) for chunk, numbers in zip(chunks, touching, strict=True)]
    if not chunks:
        raise MapError(f"Area {place.key!r} holds the centre of no label pixel of {grid.side:g} m. Take a larger one.")
    row0, row1 = min(c.row for c in chunks), max(c.row + c.rows for c in chunks)
    col0, col1 = min(c.col for c in chunks), max(c.col + c.cols for c in chunks)
    part = replace(grid.part(row0, row1, col0, col1), crs=CRS(grid.crs).to_string())
    facts = [place.key, place.bounds, place.crs, year, grid.crs, grid.side, grid.x0, grid.y0, study.drop_scl]
    facts.append([[s.id, s.offset] for s in near if s.id not in found.bad])
    identity = checksums.digest_json(facts, default=str)[:16]
    total = part.height * part.width
    return SceneChunks(study, place, year, grid, part, tuple(chunks), tuple(near), total, identity, found)


def _surveyed(scenes: list[Scene], near: list[Scene], study: Study, place: Area) -> tuple[list[Scene], Survey]:
    """The near scenes with offsets decided on from the whole list, as ingestion does, and which of them are bad."""
    found = survey(scenes, study, study.areas if place in study.areas else [place])
    here = {s.id for s in near}
    found = replace(found, bad={i: why for i, why in found.bad.items() if i in here})
    _refuse_too_many(found, len(near), study)
    return [fit or scene for scene, fit in zip(near, found.apply(near), strict=True)], found


def _refuse_too_many(found: Survey, scenes: int, study: Study) -> None:
    try:
        found.refuse_too_many(scenes, study.scenes.max_bad_share)
    except CatalogueError as error:
        raise MapError(str(error)) from None


def _years(scenes: Scenes, season: Season) -> list[int]:
    """The years of which there are scenes; of a season over New Year, those in which such a season starts."""
    calendar = {s.year for s in scenes}
    if not season.over_new_year:
        return sorted(calendar)
    if len(asked := scenes.query.get("years", ())) == 1:
        return list(asked)
    spans = {y: season.days(y) for y in calendar | {y - 1 for y in calendar}}
    return sorted(y for y, (low, high) in spans.items() if any(low <= s.day <= high for s in scenes))


Source = TableSource | SceneChunks


def grid_of(study: Study, area: Area, labels: Labels | None = None) -> Grid:
    """The label grid: of a label raster where there is one, else of the study's kind of labels. No labels are fetched.

    Args:
        study: Says which labels it would use, and their resolution.
        area: Its CRS is the grid's where nothing else says.
        labels: A label raster whose grid to take.

    Raises:
        MapError: Metres of the grid are not metres on the ground at the area.
    """
    try:
        grid = _grid_of(study, area, labels)
        ground.check(CRS(grid.crs), [area], f"{CRS(grid.crs).name}, the CRS of the study's labels,")
    except ground.GridError as error:
        raise MapError(f"{error} Give the study of this place (study=…) or its labels (labels=…).") from None
    return grid


def _grid_of(study: Study, area: Area, labels: Labels | None) -> Grid:
    if labels is not None:
        return Grid.of(labels)
    source, areas = study.labels, study.areas or (area,)
    if source.kind in CDL_KINDS:
        side = source.side
        return Grid(CRS("EPSG:5070").to_wkt(), side, CDL_CORNER[0] % side, CDL_CORNER[1] % side)
    if source.path and source.kind != "vector":
        for year in study.years:
            path = study.resolve(source.of(year).path)
            if ("://" in path and not folders.in_store(path)) or not (path := folders.place(path)).is_file():
                continue
            with rasterio.open(copies.fetched(path)) as src:
                crs, side, made = raster_grid(study, src)
            if made:
                return Grid(crs.to_wkt(), side, 0.0, 0.0)
            return Grid.of(Labels(year, path, None, "", study.simulated))
    crs = source.crs
    if crs is None and source.kind != "vector" and not ground.fault(CRS(area.crs), areas):
        crs = area.crs
    return Grid(ground.grid_crs(crs, areas)[0].to_wkt(), source.side, 0.0, 0.0)


def _place(study: Study, area: str | Area | None) -> Area:
    if isinstance(area, Area):
        return area
    if not study.areas:
        raise MapError("The model's own study has no areas. Give the one whose scenes these are: study=…")
    if area is None:
        dense = [a for a in study.areas if a.every == 1]
        known = study.areas if len(study.areas) == 1 else dense
        if len(known) != 1:
            raise MapError(f"Name one area to predict, area=…: the study has {', '.join(a.key for a in study.areas)}.")
        return known[0]
    try:
        return study.area(area)
    except StudyError as error:
        raise MapError(str(error)) from None
