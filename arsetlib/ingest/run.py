"""The job that builds a pixel table: plan it, make its chunks, publish it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from arsetlib import engine, folders, pixels
from arsetlib.catalogue import CatalogueError, Scenes
from arsetlib.ingest import inputs
from arsetlib.ingest import survey as surveys
from arsetlib.ingest.chunk import BadScenes, build
from arsetlib.ingest.inputs import SCENES
from arsetlib.ingest.lattice import Chunks, IngestError
from arsetlib.ingest.plan import chunks_of
from arsetlib.ingest.plan import plan as make_plan
from arsetlib.ingest.reader import is_remote
from arsetlib.labels import Labels
from arsetlib.pixels.listing import RUN_FILE
from arsetlib.study import Study, StudyError
from arsetlib.translation import _
from arsetlib.wording import column

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

BAD = "bad-"  # start of the names of the files, one a chunk, that list bad scenes
TABLE = "pixel table"  # what the folder holds, for messages
DONE = pa.schema([("chunk", pa.string())])  # a task returns only its name; its result is in the folder
AT_ONCE = 2  # chunks in this process where scenes are on the internet: one is requested while one is computed


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
        scenes: Answer on the offset → scenes, and how many scenes were bad and are not in the table.
        bad: Scene id → why it is not in the table.
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
        rows = _("{rows} pixel-years with {observations} observations in {folder}")
        chunks = _("{chunks} chunks ({resumed} from an earlier run) in {seconds} s")
        lines = [
            rows.format(rows=f"{self.rows:,}", observations=f"{self.observations:,}", folder=self.path),
            chunks.format(chunks=self.chunks, resumed=self.resumed, seconds=f"{self.seconds:.1f}"),
        ]
        lines += [f"  {column(reason)}: {n:,}" for reason, n in sorted(self.counts.items()) if n]
        lines += [f"  {_('scenes')}, {column(answer)}: {n:,}" for answer, n in self.scenes.items()]
        lines += [f"  {_('not in the table')}: {reason}" for reason in self.bad.values()]
        return "\n".join(lines)


def ingest(
    study: Study,
    scenes: Scenes,
    labels: dict[int, Labels],
    out: str | Path,
    *,
    spark: SparkSession | None = None,
    every: int | None = None,
    per_class: int | None = None,
    progress: bool = True,
) -> Summary:
    """Build the pixel table of a study.

    A label pixel takes the value of the scene pixel in which its centre lies, in each band's own resolution.

    Args:
        study: Places, years, bands and filters.
        scenes: Of ``catalogue.find_scenes``.
        labels: Year → label raster, of ``labels.find_labels``. Every year of the study must be there.
        out: Folder of the table, in an object store (``s3://…``) or on a disk that the workers share. It is complete
            when it has its ``_manifest.json``, see ``folders``; until then no reader of the library opens it.
        spark: A session of ``engine.session``, or None to work in this process.
        every: Take each ``every``-th label pixel along x and y, from a random start, instead of what each area
            says; 1 takes all.
        per_class: Take at most this many pixels of each legend class per area and year, at random.
        progress: Show a bar with rate and time left.

    Raises:
        IngestError: A read failed for good, values contradict their metadata, the disk is full, or ``out`` belongs to
            another run. Finished chunks are kept; the same call continues from there.

    Lab: part1_build_dataset.
    """
    started = time.perf_counter()
    _check_arguments(study, scenes, every, per_class)
    out = folders.place(out)
    refuse_occupied(out)
    survey = surveys.load_or_make(scenes, study, out / SCENES, progress, spark)
    _refuse_too_many(survey, scenes, study)
    plan = make_plan(study, scenes, labels, every, per_class)
    chunks = chunks_of(study, labels, plan)
    names = [chunk.name for chunk in chunks]
    adapt = partial(_stale, out, study, scenes, chunks, plan, survey)
    with folders.claim(out, plan, names, what=TABLE, error=IngestError, adapt=adapt) as folder:
        manifest, missing = folder.manifest(), set()
        if manifest is None:
            notes = folder.notes(listed=True)
            missing = {name for name, note in notes.items() if not (note and {"rows", "counts"} <= note.keys())}
            folder.forget(name for name in missing if notes[name])
            _take_bad_scenes(folder)  # left by a killed run; the files may have been repaired since
        resumed = len(names) - len(missing)
        while manifest is None:
            inputs.put(folder, scenes, survey)  # also in a rerun: its links may be newer
            job = partial(
                _task, replace(folder, path=out.resolve()), study, labels, chunks, _recipe(plan), time.time_ns()
            )
            engine.run_watched(
                job, [number for number, name in enumerate(names) if name in missing], DONE, spark,
                finished=folder.count, total=len(names), desc="ingest", progress=progress,
                threads=AT_ONCE if any(is_remote(s.hrefs["scl"]) for s in scenes) else 1,
            )  # fmt: skip
            if bad := _take_bad_scenes(folder):
                survey = survey.with_bad(bad)
                _refuse_too_many(survey, scenes, study)
                folder.forget(chunks.touching([s for s in scenes if s.id in bad], study))
                missing = set(folder.missing())
            else:
                manifest = _publish(folder, study, survey)
    seconds = time.perf_counter() - started
    try:
        rows, observations, counts, answers, bad = (
            manifest[key] for key in ("rows", "observations", "counts", "scenes", "bad_scenes")
        )
    except KeyError as problem:
        raise IngestError(
            f"{out / folders.MANIFEST} lacks {problem}: it is damaged, or of another program. Delete it, and run the "
            "same command again."
        ) from None
    return Summary(str(out), rows, observations, len(names), resumed, seconds, counts, answers, bad)


def refuse_occupied(out: str | Path) -> None:
    """Refuse a folder that holds something else than a pixel table, before scenes are searched and surveyed.

    Raises:
        IngestError: It has files of others, or a table of an earlier version.
    """
    out = folders.place(out)
    if (out / RUN_FILE).is_file() or "chunks" in (folders.Folder(out).plan() or {}):
        raise IngestError(
            f"{out} contains the table of an earlier version of arsetlib. If it is complete, it can be read as it is; "
            "to make it again, delete it or give this run another folder."
        )
    folders.refuse_occupied(out, TABLE, IngestError)


def _check_arguments(study: Study, scenes: Scenes, every: int | None, per_class: int | None) -> None:
    if every is not None and per_class is not None:
        raise IngestError("Give either every= (a regular grid) or per_class= (a number per class), not both.")
    if (every is not None and every < 1) or (per_class is not None and per_class < 1):
        raise IngestError(f"every and per_class must be at least 1; got every={every}, per_class={per_class}.")
    for scene in scenes:
        if lacks := [name for name in ("scl", *study.bands) if name not in scene.hrefs]:
            raise IngestError(
                f"Scene {scene.id} of the list has no link to {lacks}, which the study asks for. "
                "The list was made for other bands: find the scenes again with this study."
            )


def _refuse_too_many(survey: surveys.Survey, scenes: Scenes, study: Study) -> None:
    try:
        survey.refuse_too_many(len(scenes), study.scenes.max_bad_share)
    except CatalogueError as error:
        raise IngestError(str(error)) from None


def _take_bad_scenes(folder: folders.Folder) -> dict[str, str]:
    """Scenes that failed in some chunk of this pass: id → why. A scene is in the whole table or not at all."""
    bad: dict[str, str] = {}
    for key in folder.keys(folders.WORK):
        if key.startswith(f"{folders.WORK}/{BAD}"):
            bad |= json.loads(folder.read(key))
            folder.delete(key)
    return bad


def _stale(
    out: Path, study: Study, scenes: Scenes, chunks: Chunks, plan: dict, survey: surveys.Survey, earlier: dict
) -> list[str] | None:
    """Chunks of an unfinished table that must be made again because scenes were left out; None: it is another table.

    A chunk is kept if it has the same scenes, with the same offsets.
    """

    def settings(one: dict) -> dict:
        return {k: v for k, v in one.items() if k not in ("scenes", "parts")}

    now = {tuple(s) for s in plan["scenes"]}
    if settings(earlier) != settings(json.loads(json.dumps(plan))) or earlier["parts"] != [c.name for c in chunks]:
        return None
    if [s for s in earlier["scenes"] if tuple(s) in now] != plan["scenes"]:
        return None
    if not (out / SCENES).is_file():
        return earlier["parts"]
    saved = Scenes.load(out / SCENES)
    before = surveys.Survey(**saved.survey)
    same = {s.id for s in scenes if survey.decided(s.id) == before.decided(s.id)}
    known = {s.id: s for s in (*saved, *scenes)}
    return chunks.touching([known[i] for i, *_ in earlier["scenes"] if i not in same and i in known], study)


def _recipe(plan: dict) -> dict:
    """What a task needs to know of the plan: all but its scenes."""
    return {key: value for key, value in plan.items() if key != "scenes"}


def _task(
    folder: folders.Folder,
    study: Study,
    labels: dict[int, Labels],
    chunks: Chunks,
    recipe: dict,
    run_id: int,
    number: int,
) -> Iterator[pa.RecordBatch]:
    """Make one chunk, if it is not finished yet. Its result, or why it failed, is put into the folder."""
    chunk = chunks[number]
    if folder.done(chunk.name) is None and not folder.failed:
        path = folder.path / f"{chunk.name}.parquet"
        try:
            with folders.full_disk(folder.path, IngestError):
                scenes, survey = inputs.of(folder, run_id, chunks, chunk, study)
                rows, counts = build(chunk, study, scenes, survey, labels[chunk.year], recipe, path)
                folder.finish(chunk.name, [path.name], rows=rows, counts=counts)
        except BadScenes as problem:
            folder.put(f"{folders.WORK}/{BAD}{chunk.name}.json", json.dumps(problem.reasons))
            if not study.scenes.max_bad_share:  # else the other chunks continue, so that all bad scenes are named
                folder.fail(chunk.name, str(problem))
        except (IngestError, pixels.PixelError, StudyError, ValueError) as problem:
            folder.fail(chunk.name, str(problem))
    yield pa.record_batch([pa.array([chunk.name])], schema=DONE)


def _publish(folder: folders.Folder, study: Study, survey: surveys.Survey) -> dict:
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
    return folder.publish(
        schema_version=pixels.VERSION,
        study=study.key,
        simulated=study.simulated,
        rows=rows,
        observations=counts.pop("observations"),
        counts=counts,
        scenes=survey.counts(),
        bad_scenes=survey.bad,
    )
