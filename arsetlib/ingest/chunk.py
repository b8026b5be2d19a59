"""One task: the observations of the label pixels of one chunk, as one Parquet file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from pyproj import CRS, Transformer

from arsetlib import pixels, sentinel2
from arsetlib.catalogue import Scene
from arsetlib.ingest import reflectance
from arsetlib.ingest.lattice import Chunk, Grid, IngestError
from arsetlib.ingest.plan import count, label_pixels, pixel_priority
from arsetlib.ingest.reader import Reader, SceneError, Wanted
from arsetlib.ingest.survey import Survey
from arsetlib.labels import Labels
from arsetlib.study import Study

BLANK = 100  # pixels; so many without data in one band only are a failed read, not the edge of a swath


class BadScenes(IngestError):
    """Scenes that failed while a chunk was read.

    Attributes:
        reasons: Scene id → why.
    """

    def __init__(self, reasons: dict[str, str]):
        super().__init__("\n".join(reasons.values()))
        self.reasons = reasons


def build(
    chunk: Chunk,
    study: Study,
    scenes: Sequence[Scene],
    survey: Survey,
    labels: Labels,
    plan: dict,
    path: Path,
) -> tuple[int, dict[str, int]]:
    """Make the Parquet file of one chunk.

    Args:
        chunk: Which.
        study: Bands and filters.
        scenes: Those that touch it, in order of the item list.
        survey: What is known of the scenes: which are bad, and the offsets that are used; the file keeps it.
        labels: Of the chunk's year.
        plan: Of the table; its scenes are not needed.
        path: Of the file.

    Returns:
        Rows written, and reason → what was dropped.
    """
    counts: dict[str, int] = {}
    every, first = plan["every"][chunk.area], plan["first"][chunk.area]
    rows, cols, codes, confidence = label_pixels(chunk, study, labels, counts, every, first)
    classes = study.legend.classes_of(codes)  # refuses a code that is not in the legend
    if plan["per_class"]:
        limit = plan["thresholds"][f"{chunk.area}-{chunk.year}"]
        ceiling = np.array([limit.get(k, 0) for k in study.legend.keys], np.uint64)
        take = (classes >= 0) & (pixel_priority(rows, cols, study.seed, chunk.year) <= ceiling[classes])
        count(counts, "pixels_not_sampled", ~take)
        rows, cols, codes = rows[take], cols[take], codes[take]
        confidence = None if confidence is None else confidence[take]
    grid = Grid.of(labels)
    x, y = grid.centres(rows, cols)
    usable = [scene for scene in survey.apply(scenes) if scene is not None]
    offsets, day, scl, bands = observe(chunk, study, usable, Reader(x, y, grid.crs, chunk.name), counts)
    images = np.diff(offsets)
    some = images > 0
    count(counts, "pixels_without_images", ~some)
    x, y = x[some], y[some]
    lon, lat = Transformer.from_crs(grid.crs, "EPSG:4326", always_xy=True).transform(x, y)
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
    season = study.season
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
            "offsets": {s.id: survey.decisions[s.id] for s in usable if s.id in survey.decisions},
            "bad_scenes": {s.id: survey.bad[s.id] for s in scenes if s.id in survey.bad},
            # Then a code has no name that the table could know.
            **({"own_codes": True} if study.labels.own_codes else {}),
            # Where a row's images are not those of a calendar year, the table must say so.
            **({"days": [season.first_day, season.end_day]} if season.over_new_year else {}),
        },
    )
    pixels.write([batch], path, meta)
    return batch.num_rows, counts


def observe(
    chunk: Chunk, study: Study, scenes: Sequence[Scene], reader: Reader, counts: dict[str, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Read all scenes at the points of a reader.

    Args:
        chunk: For messages.
        study: Its bands, C of them, and the scene classes that are dropped.
        scenes: In date order.
        reader: At P points.
        counts: Reason → observations dropped; this call adds to it.

    Returns:
        offsets (P+1,), day (N,), scl (N,), bands (N, C): the observations of point p, by date, are
        ``offsets[p]:offsets[p + 1]``.

    Raises:
        BadScenes: Files that cannot be read or contain something else than reflectance; it names all of them.
    """
    points = reader.x.size
    last_day = np.full(points, -1, np.int32)
    observations: list[tuple[np.ndarray, int, np.ndarray, np.ndarray]] = []
    classes, bad = _classes(scenes, reader)
    for wanted in reader.ahead(_likely(scenes, classes, study)):
        scene, scl = wanted.scene, classes.pop(wanted.scene.id)
        keep = _kept(scl, study)
        count(counts, "observations_dropped_by_scl", ~keep & (scl != 0))
        twice = keep & (last_day == scene.day)
        count(counts, "observations_twice_on_a_day", twice)
        take = np.flatnonzero(keep & ~twice)
        if not take.size:
            count(counts, "scenes_skipped_after_scl", True)
            continue
        count(counts, "scenes_read", True)
        try:
            raw = np.stack([reader.values(scene, band, take) for band in study.bands])  # (C, n)
            valid = _valid(raw, scene, study.bands, chunk, counts)
        except SceneError as error:
            bad[scene.id] = str(error)
            continue
        if not valid.all():
            take, raw = take[valid], raw[:, valid]
        last_day[take] = scene.day
        values = sentinel2.reflectance_dn(raw, scene.offset)
        observations.append((take, scene.day, scl[take].astype(np.uint8), values))
    if bad:
        raise BadScenes(bad)
    return _by_point(observations, points, len(study.bands))


def _classes(scenes: Sequence[Scene], reader: Reader) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Scene id → (P,) scene classes at all points; scene id → why they cannot be read."""
    classes: dict[str, np.ndarray] = {}
    bad: dict[str, str] = {}
    for wanted in reader.ahead(Wanted(scene, ("scl",)) for scene in scenes):
        try:
            classes[wanted.scene.id] = reader.values(wanted.scene, "scl")
        except SceneError as error:
            bad[wanted.scene.id] = str(error)
    return classes, bad


def _likely(scenes: Sequence[Scene], classes: dict[str, np.ndarray], study: Study) -> Iterator[Wanted]:
    """Bands and points that will probably be read: points that no other scene of the day shows.

    An earlier scene of the day may yet turn out to have no value at a point; then more is read than was requested.
    """
    day, shown = None, np.empty(0, bool)
    for scene in scenes:
        if scene.id not in classes:
            continue
        keep = _kept(classes[scene.id], study)
        if scene.day != day:
            day, shown = scene.day, np.zeros(keep.size, bool)
        points = np.flatnonzero(keep & ~shown)
        shown |= keep
        yield Wanted(scene, study.bands if points.size else (), points)


def _kept(scl: np.ndarray, study: Study) -> np.ndarray:
    """(P,) whether a scene class is one that the study keeps."""
    return ~np.isin(scl, (0, *study.drop_scl))


def _by_point(observations: list, points: int, channels: int) -> tuple[np.ndarray, ...]:
    """Sort observations that come scene by scene into series, point by point."""
    per_point = np.zeros(points, np.int64)
    for take, *_ in observations:
        per_point[take] += 1
    offsets = np.concatenate([[0], np.cumsum(per_point)])
    total = int(offsets[-1])
    day, scl, bands = np.empty(total, "<u2"), np.empty(total, "u1"), np.empty((total, channels), "<u2")
    free = offsets[:-1].copy()  # where the next observation of each point goes; scenes come in date order
    while observations:  # each is freed as soon as it is copied
        take, date, classes, values = observations.pop(0)
        at = free[take]
        day[at], scl[at], bands[at] = date, classes, values.T
        free[take] += 1
    return offsets, day, scl, bands


def _valid(raw: np.ndarray, scene: Scene, bands: Sequence[str], chunk: Chunk, counts: dict[str, int]) -> np.ndarray:
    """(n,) whether a pixel has a value of every band, in the valid range; raw: (C, n), 0 is no data."""
    where = f"Scene {scene.id}, chunk {chunk.name}"
    blank = raw == 0
    if raw.shape[1] >= BLANK:
        empty = blank.all(1)
        if empty.any() and not empty.all():
            names = [b for b, e in zip(bands, empty, strict=True) if e]
            raise SceneError(
                scene.id,
                f"{where}: {names} have no data at {raw.shape[1]} pixels where the other bands have. A blank band is "
                "a failed read or a broken file, never zeros: leave the scene out or have it repaired, then run the "
                "same command.",
            )
    valid = ~blank.any(0)
    count(counts, "observations_without_data", ~valid)
    if raw.dtype == np.uint16 and raw.max(initial=0) < reflectance.MAX_DN:
        return valid
    try:
        inside = reflectance.refuse_many_outside(raw, scene.offset, bands)
    except reflectance.ReflectanceError as error:
        raise SceneError(scene.id, f"{where}: {error}") from None
    count(counts, "observations_out_of_range", valid & ~inside)
    return valid & inside
