"""A sample of each scene before any work: can it be read, is it reflectance, do its values contain the offset?

A few thousand pixels of every scene within the areas are read, from overviews where the files have them. This finds
all bad scenes at once and gives ``arsetlib.ingest.offset`` the values from which it decides. Every chunk then uses the
same decision, here and on Spark, and the table keeps the evidence.

Lab: part1_build_dataset.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pyproj import CRS
from rasterio.windows import Window
from tqdm.auto import tqdm

from arsetlib import checksums, engine
from arsetlib.catalogue import CatalogueError, Scene, Scenes
from arsetlib.catalogue.processings import other_processings
from arsetlib.ingest import offset, reader, reflectance
from arsetlib.sentinel2 import NEAR_INFRARED, NOT_VEGETATED, VEGETATION
from arsetlib.study import Area, Study

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SIDE = 64  # cells along a side of the sample of one area; of several areas together about as many cells
PLACES = 4  # areas of a scene that are sampled
READERS = 32  # scenes sampled at the same time where each read waits for the internet
OF_A_TASK = 32  # scenes that one task on Spark samples
OF_A_JOB = 2048  # scenes of one job on Spark, which sends them to each of its tasks
# Bands that are sampled: the first of each row that the study has. Different things change them.
SAMPLED_BANDS = (
    ("blue", "coastal", "green"),
    ("red", "green", "rededge1"),
    ("nir", "nir08", "rededge3", "rededge2", "nir09"),
    ("swir22", "swir16"),
)
# Prior probability that a statement of the offset is wrong, by what states it.
WRONG = {"old baseline": 0.002, "bands": 0.05, "baseline": 0.1, "flag": 0.1, "nothing": 0.4, "file": 0.1}
DISAGREE = 0.5  # where item and file state different offsets
COLLECTION_1_WRONG = 0.001  # of Earth Search, whose statements are correct
LAND = 50  # least pixels of land for a judgement of a scene's brightness
DIMMEST = {"plants": 600, "infrared": 100, "visible": 30}  # DN that the brightest land exceeds in any scene
BRIGHTEST = {"plants": 10_000, "infrared": 15_000, "visible": 15_000}  # DN that half of the land never exceeds
DIMMEST_EVER = {"infrared": 500, "visible": 250}  # DN that the brightest bare land exceeds on one date at least
MAX_CLIPPED = 0.5  # share of land values that may be 1 or less in a band other than blue
TOO_DIM = (
    "expected reflectance x 10,000, some hundreds at least. Are the values percent, x 1,000, or a preview of 8 bits? "
    "Link the measured bands, or state their raster:scale."
)
SHOWN = 20  # reasons in an error; all ids are named
APART = 2  # pixels by which the corners of a scene's files may differ


@dataclass(frozen=True)
class Survey:
    """What is known of the scenes of a table.

    Attributes:
        decisions: Scene id → the offset decided on and why, see ``offset.Decision``.
        bad: Scene id → why it cannot be used.
        asked: Digest of the question, so that a saved survey is used again only for the same one.
    """

    decisions: dict[str, dict] = field(default_factory=dict)
    bad: dict[str, str] = field(default_factory=dict)
    asked: str = ""

    def as_dict(self) -> dict:
        return {"asked": self.asked, "bad": self.bad, "decisions": self.decisions}

    def counts(self) -> dict[str, int]:
        """How many scenes got which answer on their offset, and how many are bad."""
        answers = [d["answer"] for d in self.decisions.values()]
        numbers = {f"offset {a}": answers.count(a) for a in offset.ANSWERS} | {"bad": len(self.bad)}
        return {k: n for k, n in numbers.items() if n}

    def apply(self, scenes: Iterable[Scene]) -> list[Scene | None]:
        """The scenes with the offsets decided on; None in place of a bad one."""
        return [
            None if s.id in self.bad else replace(s, offset=self.decisions.get(s.id, {}).get("decided", s.offset))
            for s in scenes
        ]

    def only(self, scenes: Iterable[Scene]) -> Survey:
        """What is known of some scenes."""
        ids = [s.id for s in scenes]
        return Survey(
            {i: self.decisions[i] for i in ids if i in self.decisions}, {i: self.bad[i] for i in ids if i in self.bad}
        )

    def decided(self, scene_id: str) -> int | None:
        """The offset decided on for a scene; None where there is no decision."""
        return self.decisions.get(scene_id, {}).get("decided")

    def with_bad(self, bad: dict[str, str]) -> Survey:
        """The survey with more bad scenes."""
        return replace(self, bad=dict(sorted((self.bad | bad).items())))

    def refuse_too_many(self, scenes: int, share: float) -> None:
        """Accept the bad scenes if they are no more than the share that the study allows.

        Raises:
            CatalogueError: With all bad scenes, why, and what to write to leave them out.
        """
        if len(self.bad) <= share * scenes:
            return
        ids, shown = list(self.bad), list(self.bad.values())[:SHOWN]
        limit = f", more than the share of {share:g} that max_bad_share allows" if share else ""
        reasons = "\n".join(f"  {reason}" for reason in shown)
        more = f"\n  (and {len(ids) - SHOWN} more)" if len(ids) > SHOWN else ""
        if len(ids) == scenes:
            raise CatalogueError(
                f"None of the {scenes} scenes can be used:\n{reasons}{more}\n"
                "If all fail in the same way, the collection or the way the files were made is the cause. Correct the "
                "files or the items, or take another collection."
            )
        raise CatalogueError(
            f"{len(ids)} of {scenes} scenes cannot be used{limit}:\n{reasons}{more}\n"
            f"Repair them, or leave them out. In the study file, under [scenes]:\n"
            f"  leave_out = {json.dumps(ids)}\n"
            f"or on the command line: --leave-out {','.join(ids)}\n"
            f"To continue without the bad scenes, set max_bad_share to "
            f"{math.ceil(1000 * len(ids) / scenes) / 1000:g} or more. Finished chunks are kept."
        )


def survey(
    scenes: Sequence[Scene],
    study: Study,
    areas: Sequence[Area] | None = None,
    progress: bool = False,
    spark: SparkSession | None = None,
) -> Survey:
    """Sample every scene. Nothing is refused: see ``Survey.refuse_too_many``.

    Args:
        scenes: Of ``catalogue.find_scenes``.
        study: Its bands, and how offsets are decided.
        areas: Where to sample; the study's by default.
        progress: Show a bar.
        spark: A session of ``engine.session`` whose workers read the scenes, or None to read them in this process.

    Lab: part1_build_dataset.
    """
    areas = list(areas or study.areas)
    bands = sampled_bands(study.bands)
    grids = _SampleGrids(areas)
    looks = _look_at(scenes, study, bands, grids, progress, spark)
    bad = {s.id: look.bad for s, look in zip(scenes, looks, strict=True) if look.bad}
    usable = [(s, look) for s, look in zip(scenes, looks, strict=True) if not look.bad]
    samples = [_offset_sample(scene, look) for scene, look in usable]
    results = offset.decide(samples, bands, study.scenes.offset)
    doubtful = [usable[i][0] for i in offset.doubtful(samples, results)] if study.scenes.offset != "state" else []
    others = _other_samples(doubtful, study, areas, bands, grids, progress, spark)
    if others:
        results = offset.decide([*samples, *others], bands, study.scenes.offset)[: len(samples)]
    compared = {other.processing_of: other.id for other in others}
    decisions = {}
    for (scene, look), decision in zip(usable, results, strict=True):
        problem = _problem(look, decision, bands, study.scenes.offset)
        if problem:
            bad[scene.id] = f"Scene {scene.id}: {problem}"
        else:
            decisions[scene.id] = decision.as_dict() | {"stated_by": look.stated_by}
            if scene.id in compared:
                decisions[scene.id]["compared_with"] = compared[scene.id]
    good = [(scene, look) for scene, look in usable if scene.id in decisions]
    if problem := _too_dim_together([(look, decisions[scene.id]["decided"]) for scene, look in good], bands):
        bad |= {scene.id: f"Scene {scene.id}: {problem}" for scene, _ in good}
        decisions = {}
    order = [s.id for s in scenes if s.id in bad]
    return Survey(decisions, {i: bad[i] for i in order}, _question(scenes, study, areas))


def load_or_make(scenes: Scenes, study: Study, saved: Path, progress: bool, spark: SparkSession | None) -> Survey:
    """The survey in the item list that an earlier run of the same question saved, or a new one."""
    if saved.is_file():
        earlier = Scenes.load(saved).survey
        if earlier.get("asked") == _question(scenes.items, study, study.areas):
            return Survey(**earlier)
    return survey(scenes.items, study, progress=progress, spark=spark)


def sampled_bands(bands: Sequence[str]) -> tuple[str, ...]:
    """Those of the bands, at most four, that a survey reads."""
    if len(bands) <= len(SAMPLED_BANDS):
        return tuple(bands)
    chosen: list[str] = []
    for row in SAMPLED_BANDS:
        chosen += [b for b in row if b in bands and b not in chosen][:1]
    return tuple(chosen)


def _question(scenes: Sequence[Scene], study: Study, areas: Sequence[Area]) -> str:
    facts = [
        [[s.id, s.offset, s.offset_by] for s in scenes],
        [[a.key, a.bounds, a.crs] for a in areas],
        study.bands,
        study.scenes.offset,
        study.scenes.max_bad_share,
    ]
    return checksums.digest_json(facts)[:16]


# -- one scene ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Look:
    """Sample of one scene, or why there is none. dn: (N, C) as stored, scl: (N,), at the places of a group."""

    group: str = ""
    dn: np.ndarray | None = None
    scl: np.ndarray | None = None
    stated: int = 0
    stated_by: str = ""
    wrong: float = offset.WRONG
    disagree: str = ""
    bad: str = ""


LOOKS = pa.schema([
    ("group", pa.string()), ("dn", pa.binary()), ("type", pa.string()), ("scl", pa.binary()), ("stated", pa.int64()),
    ("stated_by", pa.string()), ("wrong", pa.float64()), ("disagree", pa.string()), ("bad", pa.string()),
])  # fmt: skip


def _offset_sample(scene: Scene, look: _Look) -> offset.Sample:
    return offset.Sample(scene.id, scene.day, look.group, look.dn, look.scl, look.stated, look.wrong)


def _other_samples(
    scenes: Sequence[Scene],
    study: Study,
    areas: Sequence[Area],
    bands: Sequence[str],
    grids: _SampleGrids,
    progress: bool,
    spark: SparkSession | None,
) -> list[offset.Sample]:
    """Samples of other processings of these scenes, as far as they can be had and read."""
    others = other_processings(scenes, study, areas, study.bands) if scenes else {}
    looks = _look_at(list(others.values()), study, bands, grids, progress, spark) if others else []
    return [
        replace(_offset_sample(other, look), wrong=COLLECTION_1_WRONG, processing_of=scene_id)
        for (scene_id, other), look in zip(others.items(), looks, strict=True)
        if not look.bad and other.id != scene_id
    ]


class _SampleGrids:
    """Cells of the sample in each CRS of scenes: for each area left, top, cell side, rows, columns."""

    def __init__(self, areas: Sequence[Area]):
        self.areas = areas
        self.grids: dict[int, list[tuple[float, float, float, int, int]]] = {}
        self.cells = max(16, int(SIDE / math.sqrt(min(len(areas), PLACES))))

    def of(self, epsg: int) -> list[tuple[float, float, float, int, int]]:
        if epsg not in self.grids:
            grids = []
            for area in self.areas:
                west, south, east, north = area.outline(f"EPSG:{epsg}").bounds
                least = 1e-4 if CRS(epsg).is_geographic else 10.0  # degrees or metres
                side = least * max(1, math.ceil(max(east - west, north - south) / self.cells / least))
                left, top = math.floor(west / side) * side, math.ceil(north / side) * side
                rows, cols = math.ceil((top - south) / side), math.ceil((east - left) / side)
                grids.append((left, top, side, rows, cols))
            self.grids[epsg] = grids
        return self.grids[epsg]


def _look_at(
    scenes: Sequence[Scene],
    study: Study,
    bands: Sequence[str],
    grids: _SampleGrids,
    progress: bool,
    spark: SparkSession | None,
) -> list[_Look]:
    """A sample of each scene."""
    with tqdm(total=len(scenes), desc="survey", unit="scene", disable=not progress) as bar:
        found: list[_Look] = []
        if spark is None:
            for look in _looks(scenes, study, bands, grids):
                found.append(look)
                bar.update()
            return found
        for start in range(0, len(scenes), OF_A_JOB):
            some = scenes[start : start + OF_A_JOB]
            job = partial(_look_task, some, study, bands, grids)
            rows = engine.run(job, math.ceil(len(some) / OF_A_TASK), LOOKS, spark)
            found += [_of_row(row, len(bands)) for batch in rows.to_batches() for row in batch.to_pylist()]
            bar.update(len(some))
        return found


def _looks(scenes: Sequence[Scene], study: Study, bands: Sequence[str], grids: _SampleGrids) -> Iterator[_Look]:
    """Samples in order; several scenes are read at the same time where they are on the internet."""
    remote = any(reader.is_remote(s.hrefs["scl"]) for s in scenes)
    with ThreadPoolExecutor(READERS if remote else 1) as pool, engine.stoppable():
        looks = [pool.submit(_look, scene, study, bands, grids) for scene in scenes]
        try:
            yield from map(engine.result, looks)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _look_task(
    scenes: Sequence[Scene], study: Study, bands: Sequence[str], grids: _SampleGrids, number: int
) -> Iterator[pa.RecordBatch]:
    """The samples of some scenes, as rows of ``LOOKS``."""
    looks = _looks(scenes[number * OF_A_TASK : (number + 1) * OF_A_TASK], study, bands, grids)
    yield pa.RecordBatch.from_pylist([_row(look) for look in looks], LOOKS)


def _row(look: _Look) -> dict:
    """A sample as a row of ``LOOKS``."""
    if look.dn is None:
        return vars(look)
    return vars(look) | {"dn": look.dn.tobytes(), "type": look.dn.dtype.str, "scl": look.scl.tobytes()}


def _of_row(row: dict, bands: int) -> _Look:
    """A sample from a row of ``LOOKS``."""
    of = row.pop("type")
    if row["dn"] is not None:
        row["dn"] = np.frombuffer(row["dn"], of).reshape(-1, bands).copy()
        row["scl"] = np.frombuffer(row["scl"], np.uint8).copy()
    return _Look(**row)


def _look(scene: Scene, study: Study, bands: Sequence[str], grids: _SampleGrids) -> _Look:
    try:
        places = grids.of(scene.epsg)
        group, cells = f"{scene.epsg}", places
        reader.prepare(scene, ("scl", *bands))
        corners: dict[str, tuple] = {}
        stated: set[int] = set()

        def read(asset: str) -> np.ndarray:
            def sample(file: reader.SceneFile) -> np.ndarray:
                nonlocal group, cells
                if asset == "scl" and len(places) > PLACES:  # a sample of all areas would grow with the country
                    seen = [k for k, place in enumerate(places) if _shows(file.src, place)][:PLACES]
                    group, cells = f"{scene.epsg} {seen}", [places[k] for k in seen]
                t = file.src.transform
                corners[asset] = (*file.src.bounds, max(abs(t.a), abs(t.e)))
                if file.encoding.offset is not None:
                    stated.add(file.encoding.offset)
                return _sample(file, cells)

            return reader.read_file(scene, asset, sample)

        scl = read("scl")
        if not scl.any():
            _refuse_other_place(scene, corners["scl"])
        if np.isin(scl, (0, *study.drop_scl)).all():  # all cloud: nothing to decide from, and hardly anything to read
            dn = np.zeros((scl.size, len(bands)), np.uint16)
            return _Look(group, dn, scl, scene.offset, scene.offset_by, WRONG[scene.offset_by])
        dn = np.stack([read(b) for b in bands], axis=1)
        dn[scl == 0] = 0  # the scene itself says that nothing was measured there
        if not reader.is_remote(scene.hrefs["scl"]):  # on the internet, opening the other files would cost too much
            for asset in (b for b in study.bands if b not in bands):
                reader.read_file(scene, asset, lambda file: file.encoding)
        _refuse_other_ground(corners)
        offset_dn, by, wrong, disagree = _stated(scene, stated)
        dn[~reflectance.refuse_many_outside(dn.T, offset_dn, bands)] = 0
        return _Look(group, dn, scl, offset_dn, by, wrong, disagree)
    except reader.SceneError as error:
        return _Look(bad=str(error))
    except (reflectance.ReflectanceError, CatalogueError) as error:
        return _Look(bad=f"Scene {scene.id}, {error}")


def _sample(file: reader.SceneFile, cells: Sequence[tuple]) -> np.ndarray:
    """Values at the cells of some areas, flat; 0 outside the file."""
    src, parts = file.src, [np.zeros(0, np.uint8)]
    for place in cells:
        _, _, side, rows, cols = place
        part = np.zeros((rows, cols), np.uint8 if file.asset == "scl" else np.uint16)
        r, c, in_r, in_c = _pixels(src, place)
        if in_r.any() and in_c.any():
            r, c = r[in_r], c[in_c]
            window = Window(c.min(), r.min(), np.ptp(c) + 1, np.ptp(r) + 1)
            # Not finer than the cells, so that overviews are read where there are some.
            step = max(1, int(side / max(abs(src.transform.a), abs(src.transform.e))))
            shape = (max(1, math.ceil(window.height / step)), max(1, math.ceil(window.width / step)))
            at_r = np.minimum((r - window.row_off) * shape[0] // window.height, shape[0] - 1).astype(int)
            at_c = np.minimum((c - window.col_off) * shape[1] // window.width, shape[1] - 1).astype(int)
            values = file.values(window, at_r[:, None] * shape[1] + at_c, shape)
            part = part.astype(np.promote_types(part.dtype, values.dtype), copy=False)
            part[np.ix_(in_r, in_c)] = values
        parts.append(part.ravel())
    return np.concatenate(parts)


def _pixels(src, place: tuple) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Of the cells of an area: row and column of a file's pixels, and which rows and columns the file has."""
    left, top, side, rows, cols = place
    t = src.transform
    if t.b or t.d:
        return np.zeros(rows, int), np.zeros(cols, int), np.zeros(rows, bool), np.zeros(cols, bool)
    x, y = left + (np.arange(cols) + 0.5) * side, top - (np.arange(rows) + 0.5) * side
    r, c = np.floor((y - t.f) / t.e).astype(int), np.floor((x - t.c) / t.a).astype(int)
    return r, c, (r >= 0) & (r < src.height), (c >= 0) & (c < src.width)


def _shows(src, place: tuple) -> bool:
    """Whether a file has some cell of an area."""
    _, _, in_r, in_c = _pixels(src, place)
    return bool(in_r.any() and in_c.any())


def _refuse_other_place(scene: Scene, corners: tuple) -> None:
    """Refuse a file that lies elsewhere than its item says; a scene without data in the areas is common."""
    if scene.transform is None or scene.shape is None:
        return
    a, _, c, _, e, f = scene.transform
    rows, cols = scene.shape
    west, east, south, north = c, c + a * cols, f + e * rows, f
    if corners[2] <= west or corners[0] >= east or corners[3] <= south or corners[1] >= north:
        raise reflectance.ReflectanceError(
            f"scl: the file lies at {[round(v) for v in corners[:4]]} and the item says "
            f"{[round(v) for v in (west, south, east, north)]} (EPSG:{scene.epsg}). One of the two is wrong"
        )


def _refuse_other_ground(corners: dict[str, tuple]) -> None:
    """Refuse a scene whose files do not cover the same ground."""
    first, *others = corners
    for other in others:
        far = max(abs(a - b) for a, b in zip(corners[first][:4], corners[other][:4], strict=True))
        if far > APART * max(corners[first][4], corners[other][4]):
            raise reflectance.ReflectanceError(
                f"{other}: the file lies at {[round(v) for v in corners[other][:4]]}, that of {first} at "
                f"{[round(v) for v in corners[first][:4]]}: files of one scene cover the same ground"
            )


def _stated(scene: Scene, in_files: set[int]) -> tuple[int, str, float, str]:
    """Offset stated, what states it, how likely it is to be wrong, and a message where item and files disagree."""
    if len(in_files) > 1:
        raise reflectance.ReflectanceError("its files state different offsets: 0 and -0.1")
    if not in_files or in_files == {scene.offset}:
        return scene.offset, scene.offset_by, WRONG[scene.offset_by], ""
    own = in_files.pop()
    if scene.offset_by in ("baseline", "nothing"):
        return own, "file", WRONG["file"], ""
    if scene.offset_by == "flag":  # a service that has removed the offset leaves its old statement in the files
        return scene.offset, "flag", WRONG["flag"], ""
    return scene.offset, scene.offset_by, DISAGREE, f"the item states offset {scene.offset} and its files {own}"


def _problem(look: _Look, decision: offset.Decision, bands: Sequence[str], mode: str) -> str:
    """Why a scene is bad with the offset decided on; empty where it is not."""
    if look.disagree and decision.measured is None and mode != "state":
        return f"{look.disagree}, and the values do not show which is right. Correct one of them, or leave it out."
    if decision.answer == "contradicted" and mode == "refuse":
        return (
            f"its metadata states an offset of {decision.stated} (by {look.stated_by}), its values show "
            f'{decision.measured}: {decision.evidence}. Correct its metadata, leave it out, or set offset = "measure".'
        )
    land = _Land.of(look, decision.decided, bands)
    if land is None:
        return ""
    if land.median > BRIGHTEST[land.kind]:
        return (
            f"half of the {land.what} is over {land.median:.0f} in {land.names}; expected reflectance x 10,000, some "
            "thousands. Were the values stretched to 16 bits? Link the measured bands, or state their raster:scale."
        )
    if land.top <= DIMMEST[land.kind]:
        return f"the brightest {land.what} has {land.top:.0f} in {land.names}; {TOO_DIM}"
    for i, band in enumerate(bands):
        share = float(np.mean(land.dn[:, i] <= 1))
        if band not in ("coastal", "blue") and share > MAX_CLIPPED:
            return (
                f"{band}: {share:.0%} of the land has no reflectance left after an offset of {decision.decided} is "
                "removed; expected hardly any. The offset seems to have been removed twice, or the band is damaged."
            )
    return ""


@dataclass(frozen=True)
class _Land:
    """How bright the land of a sample is, in its brightest bands.

    dn: (N, C) reflectance x 10,000; median and top: of the brightest band of a pixel, half and 99 % of the pixels.
    """

    dn: np.ndarray
    kind: str
    what: str
    names: str
    median: float
    top: float

    @classmethod
    def of(cls, look: _Look, offset_dn: int, bands: Sequence[str]) -> _Land | None:
        """None where the sample shows too little land."""
        land = np.isin(look.scl, (VEGETATION, NOT_VEGETATED)) & (look.dn != 0).all(1)
        if land.sum() < LAND:
            return None
        dn = look.dn[land].astype(np.int32) + offset_dn
        plants, near = look.scl[land] == VEGETATION, [i for i, b in enumerate(bands) if b in NEAR_INFRARED]
        if near and plants.sum() >= LAND:
            kind, what, bright, shown = "plants", "vegetation", near, dn[plants]
        else:
            kind = "infrared" if any(b in offset.INFRARED for b in bands) else "visible"
            what, shown = "land", dn
            bright = [i for i, b in enumerate(bands) if (b in offset.INFRARED) == (kind == "infrared")]
        brightest = shown[:, bright].max(1)
        names = ", ".join(bands[i] for i in bright)
        return cls(dn, kind, what, names, float(np.median(brightest)), float(np.percentile(brightest, 99)))


def _too_dim_together(looks: Sequence[tuple[_Look, int]], bands: Sequence[str]) -> str:
    """Why all scenes are bad: bare land that is dark on every date. One dark date alone may be wet or in shadow."""
    lands = [land for look, decided in looks if (land := _Land.of(look, decided, bands))]
    if not lands or any(land.kind == "plants" or land.top > DIMMEST_EVER[land.kind] for land in lands):
        return ""
    top = max(land.top for land in lands)
    return f"the brightest land of all {len(lands)} scenes has {top:.0f} in {lands[0].names}; {TOO_DIM}"
