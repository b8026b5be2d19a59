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
import errno
import hashlib
import json
import math
import os
import re
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import rasterio
from filelock import FileLock, Timeout
from pyproj import CRS, Transformer
from rasterio.windows import Window
from shapely import STRtree

from arsetlib import checksums, engine, ground, links, pixels, sentinel2, web
from arsetlib.catalogue import Labels, Scene, Scenes
from arsetlib.study import Area, Study, StudyError

CHUNK_PIXELS = 256 * 256  # of a dense chunk; what a worker holds follows from it
CHUNK_SIDE = 1024  # label pixels; the longest side of a chunk where sampling is sparse
WAITS = (2.0, 8.0)  # s, before each further try of a read; GDAL itself has asked several times before
GDAL = {**web.GDAL_HTTP, "GDAL_CACHEMAX": 128 * 2**20, "CPL_VSIL_CURL_USE_HEAD": "NO"}
FINAL = ("401", "403", "404", "410")  # answers that asking again does not change
REMOTE_READERS = 8  # files of one scene read at once where each waits for the network
BLANK = 100  # pixels; that many without data in one band alone are a failed read, not a swath's edge
OUTCOME = pa.schema(
    [
        ("chunk", pa.string()),
        ("rows", pa.int64()),
        ("seconds", pa.float64()),
        ("counts", pa.string()),
        ("error", pa.string()),
    ]
)


class IngestError(RuntimeError):
    """The table cannot be built; the message says where it stopped, why, and how to go on."""


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
    """

    path: str
    rows: int
    observations: int
    chunks: int
    resumed: int
    seconds: float
    counts: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [
            f"{self.rows:,} pixel-years with {self.observations:,} observations in {self.path}",
            f"{self.chunks} chunks ({self.resumed} from an earlier run) in {self.seconds:.1f} s",
        ]
        lines += [f"  {reason.replace('_', ' ')}: {n:,}" for reason, n in sorted(self.counts.items()) if n]
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
        out: Folder of the table, on a disk that the workers share. Until the table is whole it is called
            ``<out>.partial``.
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
    partial_out = out.with_name(out.name + ".partial")
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
    identity = hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()
    if out.exists():
        return _finished(out, identity, started)
    partial_out.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(str(out.with_name(f".{out.name}.lock")), timeout=0):
            if out.exists():
                return _finished(out, identity, started)
            resumed = _prepare(partial_out, scenes, plan, identity)
            job = partial(_make, str(partial_out.resolve()), study, labels, time.time_ns())
            outcomes = _work(job, partial_out, len(chunks), spark, progress)
            return _close(partial_out, out, outcomes, study, identity, resumed, started)
    except Timeout:
        raise IngestError(
            f"Another job is writing {out}. Wait until it ends, or give this one another folder; two never mix."
        ) from None


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


class Reader:
    """Reads scene values at fixed points; points are projected once per grid, not once per file."""

    def __init__(self, x, y, crs, chunk: str):
        self.x, self.y, self.crs, self.chunk = x, y, crs, chunk
        self.projected: dict[int, tuple] = {}
        self.cells: dict[tuple, tuple] = {}

    def cells_of(self, src, epsg: int):
        """(P,) row and column of each point in the file's own grid."""
        key = (epsg, src.transform, src.width, src.height)
        if key not in self.cells:
            if epsg not in self.projected:
                self.projected[epsg] = Transformer.from_crs(self.crs, epsg, always_xy=True).transform(self.x, self.y)
            x, y = self.projected[epsg]
            t = src.transform
            row = np.floor((y - t.f) / t.e).astype(np.int32)
            col = np.floor((x - t.c) / t.a).astype(np.int32)
            inside = (row >= 0) & (row < src.height) & (col >= 0) & (col < src.width)
            self.cells[key] = row, col, inside
        return self.cells[key]

    def values(self, scene: Scene, asset: str, points=None) -> np.ndarray:
        """Values of one asset at the points, 0 outside the file; network failures are tried again."""
        href = web.sign(scene.hrefs[asset])
        remote = _remote(href)
        try:
            options = GDAL | web.s3_options(href)
        except web.CatalogueError as error:
            raise IngestError(f"Could not read {asset} of scene {scene.id}: {error}") from None
        if remote:  # GDAL remembers a failed answer; a further try must ask the server again
            options["CPL_VSIL_CURL_NON_CACHED"] = _vsi(href)
        if asset in scene.checksums and not remote and "://" not in href and not href.startswith("/vsi"):
            try:
                checksums.check(href, *scene.checksums[asset])
            except (checksums.ChecksumError, OSError) as error:
                raise IngestError(self._explain(scene, asset, href, error)) from None
        for wait in (*WAITS, None) if remote else (None,):
            try:
                with rasterio.Env(**options):
                    return self._values(scene, asset, href, points)
            except rasterio.errors.RasterioError as error:
                if wait is None or _answered(error) in FINAL:
                    raise IngestError(self._explain(scene, asset, href, error)) from None
                time.sleep(wait)
        raise AssertionError("unreachable")

    def _values(self, scene, asset, href, points) -> np.ndarray:
        with rasterio.open(href) as src:
            if src.crs is None or src.crs.to_epsg() != scene.epsg:
                raise IngestError(
                    f"{scene.id} {asset}: the item says EPSG:{scene.epsg}, the file is in {src.crs}. "
                    "Take this scene out of the item list, or report it to the catalogue's owner."
                )
            row, col, inside = self.cells_of(src, scene.epsg)
            if points is not None:
                row, col, inside = row[points], col[points], inside[points]
            found = np.zeros(row.size, src.dtypes[0])
            if not inside.any():
                return found
            r, c = row[inside], col[inside]
            top, left = int(r.min()), int(c.min())
            window = Window(left, top, int(c.max()) - left + 1, int(r.max()) - top + 1)
            data = src.read(1, window=window)
            taken = data.ravel()[(r - top) * data.shape[1] + (c - left)]
            if inside.all():
                return taken
            found[inside] = taken
            return found

    def _explain(self, scene, asset, href, error) -> str:
        reason = web.redact(error)
        hint = "The disk or the server must mend this file"
        if href.startswith("s3://") and _answered(error) in ("401", "403"):
            hint = (
                "The bucket wants keys: set the environment variables AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY "
                "(where the requester pays, as in sentinel-s2-l2a, you pay), or take a catalogue with http links"
            )
        elif _answered(error) in ("401", "403"):
            hint = "The link may have expired: find the scenes again, which renews it"
        elif _answered(error) in ("404", "410") or "No such file" in reason:
            hint = "The file is gone: find the scenes again, or take this one out of the item list"
        return (
            f"Could not read {asset} of scene {scene.id} for chunk {self.chunk} ({web.public(href)}): {reason}. "
            f"{hint}; then run the same command: finished chunks are kept."
        )


def _answered(error: Exception) -> str | None:
    """The status with which a server refused, if it did; never digits of the address."""
    said = f"{error} {error.__cause__}"
    found = re.search(r"HTTP response code: (\d{3})", said)
    if not found and re.search(r"Access ?Denied|InvalidAccessKeyId|SignatureDoesNotMatch|AWS_SECRET_ACCESS_KEY", said):
        return "403"  # as s3 says it
    return found[1] if found else None


def _remote(href: str) -> bool:
    return links.remote(href)


def _vsi(href: str) -> str:
    """The name under which GDAL keeps what it has read of a link."""
    scheme, _, rest = href.partition("://")
    return f"/vsicurl/{href}" if scheme in ("http", "https") else f"/vsi{scheme}/{rest}" if rest else href


def observe(chunk: Chunk, study: Study, scenes: list[Scene], reader: Reader, counts: dict):
    """Read all scenes over the points; returns offsets (P+1,), day (N,), scl (N,), bands (N, C), pixel by pixel."""
    points = reader.x.size
    last_day = np.full(points, -1, np.int32)
    drop = np.zeros(256, bool)
    drop[[0, *study.drop_scl]] = True
    seen: list[tuple[np.ndarray, int, np.ndarray, np.ndarray]] = []
    remote = any(_remote(s.hrefs["scl"]) for s in scenes)
    with ThreadPoolExecutor(REMOTE_READERS if remote else 1) as pool:
        read_all = pool.map if remote else map
        for scene in scenes:
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
            blank = raw == 0
            if take.size >= BLANK:
                empty = blank.all(1)
                if empty.any() and not empty.all():
                    names = [b for b, e in zip(study.bands, empty, strict=True) if e]
                    raise IngestError(
                        f"Scene {scene.id}, chunk {chunk.name}: {names} have no data at {take.size} pixels where "
                        "the other bands have. A blank band is a failed read or a broken file, never zeros: "
                        "take the scene out of the item list or have it mended, then run the same command."
                    )
            valid = ~blank.any(0)
            _count(counts, "observations_without_data", ~valid)
            if not valid.all():
                take, raw = take[valid], raw[:, valid]
            try:
                sentinel2.check_offset(raw.T, scl[take], study.bands, scene.offset)
            except sentinel2.OffsetError as error:
                raise IngestError(f"Scene {scene.id}, chunk {chunk.name}: {error}") from None
            last_day[take] = scene.day
            seen.append((take, scene.day, scl[take].astype(np.uint8), sentinel2.reflectance_dn(raw, scene.offset)))
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


def _make(folder: str, study: Study, labels: dict[int, Labels], run_id: int, number: int):
    """The job of one task; a chunk that is there already is not made again."""
    started = time.perf_counter()
    run = Path(folder)
    scenes, plan = _run(folder, run_id)
    chunk = Chunk(**plan["chunks"][number])
    path = run / f"{chunk.name}.parquet"
    counts, error, rows = {}, "", 0
    if path.exists():
        rows, counts = _outcome_of(path)
    elif not (run / "_failed").exists():
        try:
            rows, counts = _build(chunk, study, scenes, labels[chunk.year], plan, path)
        except (IngestError, pixels.PixelError, StudyError, ValueError) as problem:
            error = str(problem)
        except OSError as problem:
            if problem.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            free = shutil.disk_usage(run).free
            error = f"The disk of {run} is full ({free / 1e6:.0f} MB free). Make room and run the same command."
        if error:
            (run / "_failed").write_text(f"{chunk.name}: {error}\n", encoding="utf-8")
    else:
        error = "stopped"
    outcome = [[chunk.name], [rows], [time.perf_counter() - started], [json.dumps(counts)], [error]]
    yield pa.record_batch([pa.array(v, f.type) for v, f in zip(outcome, OUTCOME, strict=True)], schema=OUTCOME)


def _build(chunk: Chunk, study: Study, scenes: Scenes, labels: Labels, plan: dict, path: Path):
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
    here = [scenes.items[i] for i in chunk.scenes]
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
    meta = pixels.Meta(
        bands=study.bands,
        crs=CRS(grid.crs).to_string(),
        resolution=grid.side,
        study=study.key,
        simulated=study.simulated,
        extra={"chunk": chunk.name, "counts": counts, "block_m": study.block_m} | _span(study),
    )
    pixels.write([batch], path, meta)
    return batch.num_rows, counts


@lru_cache(maxsize=2)
def _run(folder: str, run_id: int):
    """Scenes and plan of a run folder, read once per process and run."""
    run = Path(folder)
    return Scenes.load(run / "_scenes.json"), json.loads((run / "_plan.json").read_text(encoding="utf-8"))


# -- the run folder -----------------------------------------------------------------------------------------------


def _prepare(run: Path, scenes: Scenes, plan: dict, identity: str) -> int:
    """Make the folder ready for this run, or refuse; returns how many chunks an earlier run finished."""
    plan_file = run / "_plan.json"
    if plan_file.exists():
        before = json.loads(plan_file.read_text(encoding="utf-8"))
        if before.get("identity") != identity:
            changed = sorted(k for k in plan if json.loads(json.dumps(plan[k])) != before.get(k))
            raise IngestError(
                f"{run} holds the unfinished table of another run (it differs in: {', '.join(changed)}). "
                "Finish that one with its own settings, delete the folder, or give this run another one."
            )
    elif any(run.glob("*.parquet")):
        raise IngestError(f"{run} holds Parquet files but no plan of a run. Give this run another folder.")
    for leftover in (*run.glob(".*"), *run.glob("_failed")):  # half-written files of a killed run
        leftover.unlink()
    scenes.save(run / "_scenes.json")  # also of a rerun, whose links may be newer
    if not plan_file.exists():
        web.save(
            plan_file, json.dumps({**plan, "identity": identity}, indent=1).encode()
        )  # last: a plan means that the folder is ready
    return sum(1 for _ in run.glob("*.parquet"))


def _work(job, run: Path, chunks: int, spark, progress: bool) -> list[dict]:
    """Run all tasks under a bar that counts the finished files."""

    def finished():
        return sum(1 for f in os.listdir(run) if f.endswith(".parquet"))

    return engine.run_watched(
        job, chunks, OUTCOME, spark, finished=finished, desc="ingest", progress=progress
    ).to_pylist()


def _close(run: Path, out: Path, outcomes: list[dict], study, identity: str, resumed: int, started: float) -> Summary:
    errors = [o["error"] for o in outcomes if o["error"] and o["error"] != "stopped"]
    if errors:
        more = f" ({len(errors) - 1} more chunks failed too.)" if len(errors) > 1 else ""
        raise IngestError(errors[0] + more)
    counts: dict[str, int] = {}
    for outcome in outcomes:
        for reason, n in json.loads(outcome["counts"]).items():
            counts[reason] = counts.get(reason, 0) + n
    rows = sum(o["rows"] for o in outcomes)
    if not rows:
        shutil.rmtree(run)
        raise IngestError(
            f"No label pixel passed the filters, so there is no table: {counts}. "
            "Widen the areas, lower every, min_confidence or the scene filters, and run again."
        )
    observations = counts.pop("observations")
    record = {
        "status": "complete",
        "schema_version": pixels.VERSION,
        "identity": identity,
        "study": study.key,
        "simulated": study.simulated,
        "rows": rows,
        "observations": observations,
        "chunks": len(outcomes),
        "counts": counts,
    }
    web.save(run / "_run.json", json.dumps(record, indent=1).encode())
    run.rename(out)
    seconds = time.perf_counter() - started
    return Summary(str(out), rows, observations, len(outcomes), resumed, seconds, counts)


def _finished(out: Path, identity: str, started: float) -> Summary:
    """The summary of a table that is there already, if it is the one asked for."""
    record = out / "_run.json"
    known = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}
    if known.get("identity") != identity:
        raise IngestError(
            f"{out} is there already and is not the table of this run (other study, scenes, labels or sampling). "
            "Delete it or give this run another folder."
        )
    return Summary(
        str(out), known["rows"], known["observations"], known["chunks"], known["chunks"],
        time.perf_counter() - started, known["counts"],
    )  # fmt: skip


def _outcome_of(path: Path):
    meta = pixels.Meta.of(path)
    return pq.read_metadata(path).num_rows, meta.extra["counts"]


def _span(study: Study) -> dict:
    """What a table must say of its rows' images where they are not those of a calendar year."""
    season = study.season
    return {"days": [season.first_day, season.end_day]} if season.over_new_year else {}
