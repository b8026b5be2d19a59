"""What a table is made of: its scenes, its chunks, and the label pixels that are taken."""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import rasterio
from pyproj import CRS
from shapely import Geometry, STRtree, to_wkb

from arsetlib import copies, ground, pixels, seeds
from arsetlib.catalogue import Scenes
from arsetlib.ingest.lattice import Chunk, Chunks, Cut, Grid, IngestError
from arsetlib.labels import Labels
from arsetlib.study import Area, Study, StudyError

CHUNK_PIXELS = 256 * 256  # sampled label pixels of a chunk; they decide how much memory a worker needs
CHUNK_SIDE = 1024  # label pixels; the longest side of a chunk where sampling is sparse


def plan(study: Study, scenes: Scenes, labels: dict[int, Labels], every: int | None, per_class: int | None) -> dict:
    """Everything that decides what the table contains, as JSON values; two runs of equal plans give equal tables.

    Chunks, and the scenes of each, are not in it: they follow from it (``chunks_of``). So a plan stays small, and no
    task needs to read the chunks of the others.

    Raises:
        IngestError: Labels of a year are missing or on another grid, a grid that is not in metres on the ground, or
            an area without a scene in a year.
        StudyError: Two areas overlap.
    """
    grid = _common_grid(study, labels)
    _refuse_overlap(study.areas, grid.crs)
    _refuse_areas_without_scenes(study, scenes)
    steps = {a.key: every or (1 if per_class else a.every) for a in study.areas}
    thresholds = {
        f"{area.key}-{year}": class_thresholds(study, labels[year], area, per_class)
        for area in (study.areas if per_class else ())
        for year in study.years
    }
    return {
        "study": study.key,
        "fingerprint": study.fingerprint(),
        "scenes": [[s.id, s.offset, _digest(s.footprint)] for s in scenes],
        "labels": {str(y): labels[y].identity for y in study.years},
        "every": steps,
        "first": {key: _first_pixel(study.seed, key, step) for key, step in steps.items()},
        "per_class": per_class,
        "thresholds": thresholds,
        "schema_version": pixels.VERSION,
    }


def chunks_of(study: Study, labels: dict[int, Labels], plan: dict) -> Chunks:
    """The chunks of a plan: year by year of the first area, then of the second."""
    grid = Grid.of(labels[study.years[0]])
    side = {key: CHUNK_SIDE if plan["per_class"] else _side(step) for key, step in plan["every"].items()}
    return Chunks(grid, tuple(Cut.of(grid, a, year, side[a.key]) for a in study.areas for year in study.years))


def _digest(footprint: Geometry) -> str:
    return hashlib.sha256(to_wkb(footprint)).hexdigest()[:12]


def _common_grid(study: Study, labels: dict[int, Labels]) -> Grid:
    """The one grid of the labels of all years."""
    if missing := [y for y in study.years if y not in labels]:
        raise IngestError(f"There are no labels for {missing}. Find them with labels.find_labels(study, year).")
    first, *others = study.years
    grid = Grid.of(labels[first])
    for year in others:
        if (other := Grid.of(labels[year])) != grid:
            raise IngestError(
                f"The labels of {year} ({labels[year].path}) are on another grid than those of {first} "
                f"({labels[first].path}): {other} against {grid}. Bring all years to one grid."
            )
    try:
        ground.check(CRS(grid.crs), study.areas, f"{CRS(grid.crs).name}, in which the labels are,")
    except ground.GridError as error:
        raise IngestError(f"{error} labels.find_labels brings a raster to such a grid.") from None
    return grid


def _refuse_overlap(areas: tuple[Area, ...], crs: str) -> None:
    outlines = [a.outline(crs) for a in areas]
    for i, j in STRtree(outlines).query(outlines, predicate="intersects").T:
        if j < i and outlines[i].intersection(outlines[j]).area > 0:
            raise StudyError(
                f"Areas {areas[j].key!r} and {areas[i].key!r} overlap, so a pixel would be in the table twice "
                "and could be on both sides of a split. Move or shrink one."
            )


def _side(every: int) -> int:
    return min(CHUNK_SIDE, every * math.isqrt(CHUNK_PIXELS))


def _first_pixel(seed: int, area: str, every: int) -> list[int]:
    """Row and column, modulo ``every``, of the pixels taken by a regular sample."""
    return seeds.generator(seed, "every", area).integers(0, every, 2).tolist()


def _refuse_areas_without_scenes(study: Study, scenes: Scenes) -> None:
    tree, days = STRtree([s.footprint for s in scenes]), np.array([s.day for s in scenes])
    for area in study.areas:
        near = days[tree.query(area.outline(), predicate="intersects")]
        for year in study.years:
            first, last = study.season.days(year)
            if not ((first <= near) & (near <= last)).any():
                number = int(((first <= days) & (days <= last)).sum())
                raise IngestError(
                    f"No scene of {year} touches area {area.key!r} ({number} scenes of that "
                    f"{'season' if study.season.over_new_year else 'year'} in the list). Find the scenes again with "
                    "this study, or remove the area or the year from it."
                )


# -- label pixels -------------------------------------------------------------------------------------------------


def label_pixels(
    chunk: Chunk, study: Study, labels: Labels, counts: dict[str, int], every: int = 1, first: tuple[int, int] = (0, 0)
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
    """The label pixels of a chunk that pass the label filters.

    Args:
        chunk: Where.
        study: Its areas and least confidence.
        labels: Of the chunk's year.
        counts: Reason → pixels dropped; this call adds to it.
        every: Take each ``every``-th pixel along x and y.
        first: Row and column, modulo ``every``, of the pixels taken.

    Returns:
        (P,) rows and columns on the grid, (P,) codes, (P,) confidence or None.
    """
    grid = Grid.of(labels)
    with _label_file(labels.path, chunk) as src:
        window = grid.window(src, chunk)
        inside = window.col_off >= 0 and window.row_off >= 0
        if not inside or window.col_off + window.width > src.width or window.row_off + window.height > src.height:
            raise IngestError(
                f"The labels {labels.path} do not cover chunk {chunk.name} of area {chunk.area!r}. "
                "Get labels for the whole area (labels.find_labels checks this)."
            )
        codes = src.read(1, window=window)
    confidence = None
    if labels.confidence:
        with _label_file(labels.confidence, chunk) as src:
            confidence = src.read(1, window=window)
    rows, cols = np.meshgrid(np.arange(chunk.rows) + chunk.row, np.arange(chunk.cols) + chunk.col, indexing="ij")
    take = grid.inside(study.area(chunk.area), rows, cols)
    if every > 1:
        take &= (rows % every == first[0]) & (cols % every == first[1])
    count(counts, "pixels_without_label", take & (codes == 0))
    take &= codes != 0
    if confidence is not None and study.min_confidence:
        low = confidence < study.min_confidence
        count(counts, "pixels_of_low_confidence", take & low)
        take &= ~low
    return rows[take], cols[take], codes[take], None if confidence is None else confidence[take]


@contextlib.contextmanager
def _label_file(path: Path, chunk: Chunk) -> Iterator[rasterio.DatasetReader]:
    """An open raster of labels or confidence; if reading fails, the error names file and chunk."""
    try:
        with rasterio.open(copies.fetched(path)) as src:
            yield src
    except rasterio.errors.RasterioError as error:
        raise IngestError(
            f"Could not read {path} for chunk {chunk.name}: {error.__cause__ or error}. The file is damaged or cut "
            "short: fetch or make it again; then run the same command: finished chunks are kept."
        ) from None


def count(counts: dict[str, int], reason: str, mask: np.ndarray | bool) -> None:
    """Add the number of true values to a count."""
    counts[reason] = counts.get(reason, 0) + int(np.count_nonzero(mask))


# -- a number of pixels per class -----------------------------------------------------------------------------------


def class_thresholds(study: Study, labels: Labels, area: Area, per_class: int) -> dict[str, int]:
    """For each class the priority up to which pixels are taken, from one pass over the labels in strips."""
    row0, row1, col0, col1 = Grid.of(labels).extent(area)
    best: dict[int, np.ndarray] = {}
    for row in range(row0, row1, CHUNK_SIDE):
        strip = Chunk(area.key, labels.year, row, col0, min(CHUNK_SIDE, row1 - row), col1 - col0)
        rows, cols, codes, _ = label_pixels(strip, study, labels, {})
        try:
            classes = study.legend.classes_of(codes)
        except ValueError as error:
            raise IngestError(f"Labels of {labels.year}, area {area.key!r}: {error}") from None
        priority = pixel_priority(rows, cols, study.seed, labels.year)
        for c in np.unique(classes[classes >= 0]).tolist():
            pool = np.concatenate([best.get(c, np.empty(0, np.uint64)), priority[classes == c]])
            best[c] = np.sort(pool)[:per_class]
    return {study.legend.keys[c]: int(v[-1]) for c, v in best.items()}


def pixel_priority(rows: np.ndarray, cols: np.ndarray, seed: int, year: int) -> np.ndarray:
    """(P,) uint64 random numbers that depend on the pixel only, not on how the area is cut into chunks."""
    with np.errstate(over="ignore"):
        place = seeds.mix(rows.astype(np.uint64) * seeds.GOLDEN ^ cols.astype(np.uint64))
        return seeds.mix(place + np.uint64((seed * 1_000_003 + year) % 2**64))
