"""Scenes and labels in, pixel table out: one task is one chunk of the label grid in one year.

A task opens the scenes that touch its chunk, reads the scene classification first, skips what that rules out, reads
just the windows it needs of the bands, and writes the finished chunk as one Parquet file. There is no shuffle and no
Python per pixel, memory depends on the chunk and not on the region, and a chunk that is done stays done: a rerun
does the rest and gives the same table.

A label pixel takes the value of the scene pixel in which its centre lies, in each band's own resolution.

Lab: part1_build_dataset.
"""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import rasterio
from pyproj import CRS, Transformer
from rasterio.windows import Window
from shapely import STRtree

from arsetlib import engine, folders, ground, pixels, reflectance, sentinel2, survey
from arsetlib.catalogue import CatalogueError, Labels, Scene, Scenes
from arsetlib.errors import ArsetError
from arsetlib.pixels.listing import RUN_FILE
from arsetlib.reader import Reader, SceneError, is_remote
from arsetlib.study import Area, Study, StudyError

CHUNK_PIXELS = 256 * 256  # of a dense chunk; what a worker holds follows from it
CHUNK_SIDE = 1024  # label pixels; the longest side of a chunk where sampling is sparse
REMOTE_READERS = 8  # files of one scene read at once where each waits for the network
BLANK = 100  # pixels; that many without data in one band alone are a failed read, not a swath's edge
OUTCOME = pa.schema([("chunk", pa.string())])  # what came of it is looked up in the folder


class IngestError(ArsetError, RuntimeError):
    """The table cannot be built; the message says where it stopped, why, and how to go on."""


SCENES = "_scenes.json"  # the item list of a table, with what a survey of it found
BAD = "bad-"  # start of the names of files that tell of bad scenes, one a chunk


class BadScenes(IngestError):
    """Scenes that failed while a chunk was read. ``found``: id → why."""

    def __init__(self, found: dict[str, str]):
        super().__init__("\n".join(found.values()))
        self.found = found


@dataclass(frozen=True)
class Chunk:
    """One task: a rectangle of the label grid in one year.

    ``row`` and ``col`` count pixels of the label grid's lattice (``Grid``), so a chunk does not move when the label
    file is cut differently. ``scenes`` are positions in the item list.
    """

    area: str
    year: int
    row: int
    col: int
    rows: int
    cols: int
    scenes: tuple[int, ...]

    @property
    def name(self) -> str:
        return f"{self.area}-{self.year}-{self.row}-{self.col}"


@dataclass(frozen=True)
class Summary:
    """What a run made and what it dropped, by reason.

    Attributes:
        path: The table's folder.
        rows: Pixel-years written.
        observations: Images over all rows.
        chunks: Tasks, of which ``resumed`` had been finished by an earlier run.
        counts: Reason → number. ``pixels_…`` count label pixels, ``observations_…`` pixel × image, ``scenes_…``
            chunk × scene.
        seconds: Wall time of this run.
        scenes: How many scenes got which answer on their offset, and how many were bad and are not in the table.
        bad: Why each of the bad scenes is not in the table.
    """

    path: str
    rows: int
    observations: int
    chunks: int
    resumed: int
    seconds: float
    counts: dict[str, int] = field(default_factory=dict)
    scenes: dict[str, int] = field(default_factory=dict)
    bad: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [
            f"{self.rows:,} pixel-years with {self.observations:,} observations in {self.path}",
            f"{self.chunks} chunks ({self.resumed} from an earlier run) in {self.seconds:.1f} s",
        ]
        lines += [f"  {reason.replace('_', ' ')}: {n:,}" for reason, n in sorted(self.counts.items()) if n]
        lines += [f"  scenes, {answer}: {n:,}" for answer, n in self.scenes.items()]
        lines += [f"  not in the table: {reason}" for reason in self.bad.values()]
        return "\n".join(lines)


def ingest(
    study: Study,
    scenes: Scenes,
    labels: dict[int, Labels],
    out: str | Path,
    *,
    spark=None,
    every: int | None = None,
    per_class: int | None = None,
    progress: bool = True,
) -> Summary:
    """Build the pixel table of a study.

    Args:
        study: Places, years, bands and filters.
        scenes: Of ``catalogue.find_scenes``.
        labels: Year → label raster, of ``catalogue.find_labels``. Every year of the study must be there.
        out: Folder of the table, on a disk that the workers share. It is complete when it has its ``_manifest.json``,
            see ``folders``; until then no reader of the library opens it.
        spark: A session of ``engine.session``, or None to work in this process.
        every: Take each ``every``-th label pixel along x and y, from a seeded start, in place of what each area
            says; 1 takes all.
        per_class: Take at most this many pixels of each legend class per area and year, at random.
        progress: Show a bar with rate and time left.

    Returns:
        Summary

    Raises:
        IngestError: A read failed for good, values contradict their metadata, the disk is full, or ``out`` holds or
            is being written by another run. Finished chunks are kept; the same call goes on from there.

    Lab: part1_build_dataset.
    """
    started = time.perf_counter()
    if every is not None and per_class is not None:
        raise IngestError("Give either every= (a regular grid) or per_class= (a number per class), not both.")
    if (every is not None and every < 1) or (per_class is not None and per_class < 1):
        raise IngestError(f"every and per_class count from 1; got every={every}, per_class={per_class}.")
    for scene in scenes:
        lacks = [name for name in ("scl", *study.bands) if name not in scene.hrefs]
        if lacks:
            raise IngestError(
                f"Scene {scene.id} of the list has no link to {lacks}, which the study asks for. "
                "The list was made for other bands: find the scenes again with this study."
            )
    out = Path(out)
    looked = survey.known(scenes, study, out, progress)
    share = study.scenes.max_bad_share
    _refuse_too_many(looked, scenes, share)
    chunks, thresholds = _plan(study, scenes, labels, every, per_class)
    plan = {
        "study": study.key,
        "fingerprint": study.fingerprint(),
        "scenes": [[s.id, s.offset] for s in scenes],
        "labels": {str(y): labels[y].identity for y in study.years},
        "every": {a.key: every or (1 if per_class else a.every) for a in study.areas},
        "per_class": per_class,
        "thresholds": thresholds,
        "schema_version": pixels.VERSION,
        "chunks": [asdict(c) for c in chunks],
    }
    if (out / RUN_FILE).is_file():
        raise IngestError(
            f"{out} holds the table of an earlier version of arsetlib. It can be read as it is; to make it anew, "
            "delete it or give this run another folder."
        )
    names = [chunk.name for chunk in chunks]
    adapt = partial(_stale, out, plan, looked)
    with folders.claim(out, plan, names, what="pixel table", error=IngestError, adapt=adapt) as folder:
        manifest, resumed = folder.manifest(), len(names)
        if manifest is None:
            notes = {name: folder.done(name) for name in names}
            folder.forget(name for name, note in notes.items() if note and not {"rows", "counts"} <= note.keys())
            resumed -= len(folder.missing())
            _bad_scenes(folder)  # what a killed run left; files may have been mended since
        while manifest is None:
            replace(scenes, survey=looked.as_dict()).save(out / SCENES)  # also of a rerun, whose links may be newer
            job = partial(_make, replace(folder, path=out.resolve()), study, labels, time.time_ns())
            engine.run_watched(job, len(names), OUTCOME, spark, finished=folder.count, desc="ingest", progress=progress)
            if bad := _bad_scenes(folder):
                looked = looked.with_bad(bad)
                _refuse_too_many(looked, scenes, share)
                folder.forget(c.name for c in chunks if any(scenes.items[i].id in bad for i in c.scenes))
            else:
                manifest = _close(folder, study)
    seconds = time.perf_counter() - started
    try:
        made = [manifest[key] for key in ("rows", "observations")]
        facts = manifest["counts"], manifest["scenes"], manifest["bad_scenes"]
    except KeyError as problem:
        raise IngestError(
            f"{out / folders.MANIFEST} lacks {problem}: it is damaged, or of another program. Delete it, and run the "
            "same command again."
        ) from None
    return Summary(str(out), *made, len(names), resumed, seconds, *facts)


def _refuse_too_many(looked: survey.Survey, scenes: Scenes, share: float) -> None:
    try:
        looked.refuse_too_many(len(scenes), share)
    except CatalogueError as error:
        raise IngestError(str(error)) from None


def _bad_scenes(folder: folders.Folder) -> dict[str, str]:
    """Scenes that failed in some chunk of this pass: id → why. A scene is in the whole table or not at all."""
    found: dict[str, str] = {}
    for file in sorted((folder.path / folders.WORK).glob(f"{BAD}*.json")):
        found |= json.loads(file.read_text(encoding="utf-8"))
        file.unlink()
    return found


def _stale(out: Path, plan: dict, looked: survey.Survey, held: dict) -> list[str] | None:
    """Chunks of an unfinished table that must be made again where scenes were left out; None: it is another table.

    A chunk stays if all its scenes stay and their offsets are decided on as before.
    """
    theirs = {k: v for k, v in held.items() if k not in ("scenes", "chunks", "parts")}
    if theirs != {k: json.loads(json.dumps(v)) for k, v in plan.items() if k not in ("scenes", "chunks")}:
        return None
    asked = [list(s) for s in plan["scenes"]]
    stay = [s for s in held["scenes"] if s in asked]
    if stay != asked:
        return None
    before = survey.Survey(**Scenes.load(out / SCENES).survey) if (out / SCENES).is_file() else survey.Survey()

    def used(one: dict, chunks: list) -> dict:
        ids = [s[0] for s in one["scenes"]]
        return {Chunk(**c).name: [ids[i] for i in c["scenes"]] for c in chunks}

    now, then = used(plan, plan["chunks"]), used(held, held["chunks"])
    same = {i for ids in now.values() for i in ids if looked.decided(i) == before.decided(i)}
    return [name for name in then if now.get(name) != then[name] or not same.issuperset(now[name])]


# -- plan: which chunks, which scenes, which pixels -------------------------------------------------------------


def _plan(study, scenes, labels, every, per_class):
    missing = [y for y in study.years if y not in labels]
    if missing:
        raise IngestError(f"There are no labels for {missing}. Find them with catalogue.find_labels(study, year).")
    grid = Grid.of(labels[study.years[0]])
    for year in study.years[1:]:
        other = Grid.of(labels[year])
        if other != grid:
            raise IngestError(
                f"The labels of {year} ({labels[year].path}) are on another grid than those of {study.years[0]} "
                f"({labels[study.years[0]].path}): {other} against {grid}. Bring all years to one grid."
            )
    try:
        ground.check(CRS(grid.crs), study.areas, f"{CRS(grid.crs).name}, in which the labels are,")
    except ground.GridError as error:
        raise IngestError(f"{error} catalogue.find_labels brings a raster to such a grid.") from None
    _refuse_overlap(study.areas, grid.crs)
    days = {y: study.season.days(y) for y in study.years}
    by_year = {y: [i for i, s in enumerate(scenes) if days[y][0] <= s.day <= days[y][1]] for y in study.years}
    trees = {y: STRtree([scenes.items[i].footprint for i in by_year[y]]) for y in study.years}
    chunks, thresholds = [], {}
    for area in study.areas:
        k = every or (1 if per_class else area.every)
        side = CHUNK_SIDE if per_class else min(CHUNK_SIDE, k * math.isqrt(CHUNK_PIXELS))
        west, south, east, north = area.outline(grid.crs).bounds
        row0, row1 = grid.rows(north, south)
        col0, col1 = grid.cols(west, east)
        for year in study.years:
            here = trees[year].query(area.outline(), predicate="intersects")
            if not len(here):
                raise IngestError(
                    f"No scene of {year} touches area {area.key!r} ({len(by_year[year])} scenes of that "
                    f"{'season' if study.season.over_new_year else 'year'} in the list). Look for scenes again with "
                    "this study, or take the area or the year out of it."
                )
            if per_class:
                thresholds[f"{area.key}-{year}"] = _class_thresholds(
                    study, labels[year], area, (row0, row1, col0, col1), per_class
                )
            for chunk in cut(grid, area, year, side):
                near = trees[year].query(grid.outline(chunk), predicate="intersects")
                chunks.append(replace(chunk, scenes=tuple(sorted(by_year[year][i] for i in near))))
    return chunks, thresholds


def cut(grid: Grid, area: Area, year: int, side: int) -> Iterator[Chunk]:
    """The chunks of an area, without scenes: squares of a lattice of so many label pixels a side, cut at its edge."""
    west, south, east, north = area.outline(grid.crs).bounds
    row0, row1 = grid.rows(north, south)
    col0, col1 = grid.cols(west, east)
    for row in range(row0 - row0 % side, row1, side):
        for col in range(col0 - col0 % side, col1, side):
            top, left = max(row, row0), max(col, col0)
            yield Chunk(area.key, year, top, left, min(row + side, row1) - top, min(col + side, col1) - left, ())


@dataclass(frozen=True)
class Grid:
    """The lattice of label pixels: pixel (row, col) has its upper left corner at (x0 + col·side, y0 - row·side)."""

    crs: str  # WKT
    side: float
    x0: float
    y0: float

    @classmethod
    def of(cls, labels: Labels) -> Grid:
        with rasterio.open(labels.path) as src:
            t, crs = src.transform, src.crs
        if t.b or t.d or not math.isclose(t.a, -t.e, rel_tol=1e-9):
            raise IngestError(f"{labels.path} is not a north-up raster of square pixels. Warp it to one first.")
        # The CDL's corners are odd multiples of half a pixel; grids made with gdalwarp -tap have whole ones.
        halves = 2 * t.c / t.a, 2 * t.f / t.a
        if max(abs(h - round(h)) for h in halves) > 1e-3:
            raise IngestError(
                f"{labels.path}: its corner ({t.c}, {t.f}) is no multiple of half its pixel side ({t.a:g}). "
                "Warp it with gdalwarp -tap, so that every year counts the same pixels."
            )
        return cls(crs.to_wkt(), t.a, round(halves[0]) % 2 * t.a / 2, round(halves[1]) % 2 * t.a / 2)

    def rows(self, north: float, south: float) -> tuple[int, int]:
        """First and last-but-one row whose pixel centres lie between two ordinates."""
        return tuple(math.ceil((self.y0 - y) / self.side - 0.5) for y in (north, south))

    def cols(self, west: float, east: float) -> tuple[int, int]:
        return tuple(math.ceil((x - self.x0) / self.side - 0.5) for x in (west, east))

    def centres(self, rows, cols):
        return self.x0 + (cols + 0.5) * self.side, self.y0 - (rows + 0.5) * self.side

    def inside(self, area: Area, rows, cols) -> np.ndarray:
        """Whether the centres of pixels within the outline of an area lie in the area, whatever its CRS."""
        if CRS(area.crs) == CRS(self.crs):
            return np.ones(np.shape(rows), bool)
        x, y = Transformer.from_crs(self.crs, area.crs, always_xy=True).transform(*self.centres(rows, cols))
        west, south, east, north = area.bounds
        return (x >= west) & (x < east) & (y >= south) & (y < north)

    def outline(self, chunk: Chunk):
        """A chunk in longitude and latitude."""
        left, top = self.x0 + chunk.col * self.side, self.y0 - chunk.row * self.side
        bounds = (left, top - chunk.rows * self.side, left + chunk.cols * self.side, top)
        return Area("chunk", {"en": "chunk"}, bounds, self.crs).outline()

    def window(self, src, chunk: Chunk) -> Window:
        """Where a chunk lies in a raster on this grid."""
        row = chunk.row + round((src.transform.f - self.y0) / self.side)
        col = chunk.col - round((src.transform.c - self.x0) / self.side)
        return Window(col, row, chunk.cols, chunk.rows)


def _refuse_overlap(areas, crs: str) -> None:
    outlines = [a.outline(crs) for a in areas]
    for i, a in enumerate(outlines):
        for j in range(i):
            if a.intersection(outlines[j]).area > 0:
                raise StudyError(
                    f"Areas {areas[j].key!r} and {areas[i].key!r} overlap, so a pixel would stand in the table twice "
                    "and could be on both sides of a split. Move or shrink one."
                )


def _class_thresholds(study, labels, area, lattice, per_class) -> dict[str, int]:
    """For each class the priority up to which pixels are taken, from one pass over the labels in strips."""
    row0, row1, col0, col1 = lattice
    best: dict[int, np.ndarray] = {}
    for row in range(row0, row1, CHUNK_SIDE):
        strip = Chunk(area.key, labels.year, row, col0, min(CHUNK_SIDE, row1 - row), col1 - col0, ())
        rows, cols, codes, _ = _candidates(strip, study, labels, {})
        classes = study.legend.classes_of(codes)
        priority = _priority(rows, cols, study.seed, labels.year)
        for c in np.unique(classes[classes >= 0]).tolist():
            pool = np.concatenate([best.get(c, np.empty(0, np.uint64)), priority[classes == c]])
            best[c] = np.sort(pool)[:per_class]
    return {study.legend.keys[c]: int(v[-1]) for c, v in best.items()}


def _priority(rows, cols, seed: int, year: int) -> np.ndarray:
    """(P,) uint64, as good as random and the same however the pixels are chunked (splitmix64)."""
    with np.errstate(over="ignore"):
        z = rows.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) ^ cols.astype(np.uint64)
        z += np.uint64((seed * 1_000_003 + year) % 2**64)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            z = (z + np.uint64(0x9E3779B97F4A7C15)) & np.uint64(2**64 - 1)
            z = (z ^ (z >> np.uint64(shift))) * np.uint64(factor)
        return z ^ (z >> np.uint64(31))


# -- scenes that fail while chunks are read -----------------------------------------------------------------------


# -- one chunk ----------------------------------------------------------------------------------------------------


def _candidates(chunk: Chunk, study: Study, labels: Labels, counts: dict, every: int = 1):
    """Label pixels of a chunk that pass the label filters: rows, cols (lattice), codes, confidence or None."""
    grid = Grid.of(labels)
    with _label_file(labels.path, chunk) as src:
        window = grid.window(src, chunk)
        inside = window.col_off >= 0 and window.row_off >= 0
        if not inside or window.col_off + window.width > src.width or window.row_off + window.height > src.height:
            raise IngestError(
                f"The labels {labels.path} do not cover chunk {chunk.name} of area {chunk.area!r}. "
                "Get labels for the whole area (catalogue.find_labels checks this)."
            )
        codes = src.read(1, window=window)
    confidence = None
    if labels.confidence:
        with _label_file(labels.confidence, chunk) as src:
            confidence = src.read(1, window=window)
    rows, cols = np.meshgrid(np.arange(chunk.rows) + chunk.row, np.arange(chunk.cols) + chunk.col, indexing="ij")
    area = study.area(chunk.area)
    take = grid.inside(area, rows, cols)
    if every > 1:
        start = np.random.default_rng([study.seed, *area.key.encode()]).integers(0, every, 2)
        take &= (rows % every == start[0]) & (cols % every == start[1])
    _count(counts, "pixels_without_label", take & (codes == 0))
    take &= codes != 0
    if confidence is not None and study.min_confidence:
        low = confidence < study.min_confidence
        _count(counts, "pixels_of_low_confidence", take & low)
        take &= ~low
    return rows[take], cols[take], codes[take], None if confidence is None else confidence[take]


@contextlib.contextmanager
def _label_file(path: Path, chunk: Chunk):
    """An open raster of labels or confidence; where reading fails, the error names file and chunk."""
    try:
        with rasterio.open(path) as src:
            yield src
    except rasterio.errors.RasterioError as error:
        raise IngestError(
            f"Could not read {path} for chunk {chunk.name}: {error.__cause__ or error}. The file is damaged or cut "
            "short: fetch or make it again; then run the same command: finished chunks are kept."
        ) from None


def _count(counts: dict, reason: str, mask) -> None:
    counts[reason] = counts.get(reason, 0) + int(np.count_nonzero(mask))


def observe(chunk: Chunk, study: Study, scenes: list[Scene], reader: Reader, counts: dict):
    """Read all scenes over the points; returns offsets (P+1,), day (N,), scl (N,), bands (N, C), pixel by pixel.

    Raises:
        BadScenes: Files that cannot be read or hold something else than reflectance; all of them are named.
    """
    points = reader.x.size
    last_day = np.full(points, -1, np.int32)
    drop = np.zeros(256, bool)
    drop[[0, *study.drop_scl]] = True
    seen: list[tuple[np.ndarray, int, np.ndarray, np.ndarray]] = []
    bad: dict[str, str] = {}
    remote = any(is_remote(s.hrefs["scl"]) for s in scenes)
    with ThreadPoolExecutor(REMOTE_READERS if remote else 1) as pool:
        read_all = pool.map if remote else map
        for scene in scenes:
            try:
                scl = reader.values(scene, "scl")
                _count(counts, "observations_dropped_by_scl", drop[scl] & (scl != 0))
                keep = ~drop[scl]
                twice = keep & (last_day == scene.day)
                _count(counts, "observations_twice_on_a_day", twice)
                take = np.flatnonzero(keep & ~twice)
                if not take.size:
                    _count(counts, "scenes_skipped_after_scl", True)
                    continue
                _count(counts, "scenes_read", True)
                raw = np.stack(list(read_all(partial(reader.values, scene, points=take), study.bands)))  # (C, n)
                valid = _valid(raw, scene, study.bands, chunk, counts)
            except SceneError as error:
                bad[scene.id] = str(error)
                continue
            if not valid.all():
                take, raw = take[valid], raw[:, valid]
            last_day[take] = scene.day
            seen.append((take, scene.day, scl[take].astype(np.uint8), sentinel2.reflectance_dn(raw, scene.offset)))
    if bad:
        raise BadScenes(bad)
    per_point = np.zeros(points, np.int64)
    for take, *_ in seen:
        per_point[take] += 1
    offsets = np.concatenate([[0], np.cumsum(per_point)])
    total = int(offsets[-1])
    day, scl, bands = np.empty(total, "<u2"), np.empty(total, "u1"), np.empty((total, len(study.bands)), "<u2")
    free = offsets[:-1].copy()  # where each pixel's next observation goes; scenes come in date order
    while seen:
        take, when, classes, values = seen.pop(0)
        at = free[take]
        day[at], scl[at], bands[at] = when, classes, values.T
        free[take] += 1
    return offsets, day, scl, bands


def _valid(raw: np.ndarray, scene: Scene, bands, chunk: Chunk, counts: dict) -> np.ndarray:
    """(n,) whether a pixel has a value of every band, in the valid range; raw: (C, n), 0 is no data."""
    blank = raw == 0
    if raw.shape[1] >= BLANK:
        empty = blank.all(1)
        if empty.any() and not empty.all():
            names = [b for b, e in zip(bands, empty, strict=True) if e]
            raise SceneError(
                scene.id,
                f"Scene {scene.id}, chunk {chunk.name}: {names} have no data at {raw.shape[1]} pixels where "
                "the other bands have. A blank band is a failed read or a broken file, never zeros: "
                "leave the scene out or have it mended, then run the same command.",
            )
    valid = ~blank.any(0)
    _count(counts, "observations_without_data", ~valid)
    if raw.dtype == np.uint16 and raw.max(initial=0) < reflectance.MAX_DN:
        return valid
    try:
        inside = reflectance.refuse_many_outside(raw, scene.offset, bands)
    except reflectance.ReflectanceError as error:
        raise SceneError(scene.id, f"Scene {scene.id}, chunk {chunk.name}: {error}") from None
    _count(counts, "observations_out_of_range", valid & ~inside)
    return valid & inside


def _make(folder: folders.Folder, study: Study, labels: dict[int, Labels], run_id: int, number: int):
    """The job of one task; a chunk that is there already is not made again. What came of it stands in the folder."""
    scenes, plan = _run(folder.path, run_id)
    chunk = Chunk(**plan["chunks"][number])
    if folder.done(chunk.name) is None and not folder.failed:
        path = folder.path / f"{chunk.name}.parquet"
        try:
            with folders.room(folder.path, IngestError):
                rows, counts = _build(chunk, study, scenes, labels[chunk.year], plan, path)
                folder.finish(chunk.name, [path.name], rows=rows, counts=counts)
        except BadScenes as problem:
            folder.put(f"{folders.WORK}/{BAD}{chunk.name}.json", json.dumps(problem.found))
            if not study.scenes.max_bad_share:  # else the other chunks go on, so that all bad scenes are named at once
                folder.fail(chunk.name, str(problem))
        except (IngestError, pixels.PixelError, StudyError, ValueError) as problem:
            folder.fail(chunk.name, str(problem))
    yield pa.record_batch([pa.array([chunk.name])], schema=OUTCOME)


def _build(chunk: Chunk, study: Study, scenes, labels: Labels, plan: dict, path: Path):
    counts: dict[str, int] = {}
    every = plan["every"][chunk.area]
    rows, cols, codes, confidence = _candidates(chunk, study, labels, counts, every)
    classes = study.legend.classes_of(codes)  # refuses a code that the legend does not know
    if plan["per_class"]:
        limit = plan["thresholds"][f"{chunk.area}-{chunk.year}"]
        ceiling = np.array([limit.get(k, 0) for k in study.legend.keys], np.uint64)
        take = (classes >= 0) & (_priority(rows, cols, study.seed, chunk.year) <= ceiling[classes])
        _count(counts, "pixels_not_sampled", ~take)
        rows, cols, codes = rows[take], cols[take], codes[take]
        confidence = None if confidence is None else confidence[take]
    grid = Grid.of(labels)
    x, y = grid.centres(rows, cols)
    found, decided = scenes
    here = [scene for scene in (decided[i] for i in chunk.scenes) if scene is not None]
    offsets, day, scl, bands = observe(chunk, study, here, Reader(x, y, grid.crs, chunk.name), counts)
    images = np.diff(offsets)
    some = images > 0
    _count(counts, "pixels_without_images", ~some)
    lon, lat = Transformer.from_crs(grid.crs, "EPSG:4326", always_xy=True).transform(x[some], y[some])
    x, y = x[some], y[some]
    batch = pixels.make_batch(
        pixel=pixels.pixel_id(x, y, grid.side),
        year=chunk.year,
        area=chunk.area,
        block=pixels.block_id(x, y, study.block_m),
        x=x,
        y=y,
        lon=lon,
        lat=lat,
        label_code=codes[some].astype(np.int16),
        label_confidence=None if confidence is None else confidence[some].astype(np.uint8),
        day=day,
        scl=scl,
        bands=bands,
        offsets=np.concatenate([[0], np.cumsum(images[some])]),
    )
    counts["observations"] = int(offsets[-1])
    chunk_ids = [plan["scenes"][i][0] for i in chunk.scenes]
    evidence = {scene.id: found.decisions[scene.id] for scene in here if scene.id in found.decisions}
    meta = pixels.Meta(
        bands=study.bands,
        crs=CRS(grid.crs).to_string(),
        resolution=grid.side,
        study=study.key,
        simulated=study.simulated,
        extra={
            "chunk": chunk.name,
            "counts": counts,
            "block_m": study.block_m,
            "offsets": evidence,
            "bad_scenes": {i: found.bad[i] for i in chunk_ids if i in found.bad},
        }
        | _span(study),
    )
    pixels.write([batch], path, meta)
    return batch.num_rows, counts


@lru_cache(maxsize=2)
def _run(path: Path, run_id: int):
    """Survey, scenes with their offsets decided on, and plan of a run folder, read once per process and run."""
    scenes = Scenes.load(path / SCENES)
    found = survey.Survey(**scenes.survey)
    return (found, found.apply(scenes)), folders.Folder(path).plan()


def _close(folder: folders.Folder, study: Study) -> dict:
    """Publish the table, if every planned chunk is there; returns the manifest."""
    notes = folder.settle().values()
    counts: dict[str, int] = {}
    for note in notes:
        for reason, n in note["counts"].items():
            counts[reason] = counts.get(reason, 0) + n
    rows = sum(note["rows"] for note in notes)
    if not rows:
        folder.remove()
        raise IngestError(
            f"No label pixel passed the filters, so there is no table: {counts}. "
            "Widen the areas, lower every, min_confidence or the scene filters, and run again."
        )
    found = survey.Survey(**Scenes.load(folder.path / SCENES).survey)
    return folder.publish(
        schema_version=pixels.VERSION,
        study=study.key,
        simulated=study.simulated,
        rows=rows,
        observations=counts.pop("observations"),
        counts=counts,
        scenes=found.counts(),
        bad_scenes=found.bad,
    )


def _span(study: Study) -> dict:
    """What a table must say of its rows' images where they are not those of a calendar year."""
    season = study.season
    return {"days": [season.first_day, season.end_day]} if season.over_new_year else {}
