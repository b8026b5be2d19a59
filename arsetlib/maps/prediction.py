"""Predict a whole area for the window that starts on a date: in bounded memory, here or on Spark.

    made = maps.predict(trained, "data/pixels", 120, "maps", area="dense", year=2019)
    made = maps.predict(trained, scenes, [60, 120], "maps", area="dense", study=study)   # no labels, no table

One task is a run of row groups of the table, or a chunk of the label grid read from scenes. Its series go through the
loader's window and scaler to the model in large batches, for all starts from one read. The results of a task are one
file; a rerun makes the missing ones. When all are there they become COGs, see ``products``.

The labels of training had gone through the vegetation rule, so 'No Crops Growing' on a map means that no crop is
visible yet, or any more. The rule itself is not applied to predictions.

Lab: part3_train_and_test.
"""

from __future__ import annotations

import importlib.metadata
import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import rasterio

from arsetlib import checksums, engine, folders, seeds, web
from arsetlib.catalogue import Scenes
from arsetlib.labels import Labels
from arsetlib.maps import cogs, neighbourhood, sources
from arsetlib.maps.pieces import BAD, BATCH, OUTCOME, PRODUCTS, Sent, choice_of, inputs_of, make_piece, name_of
from arsetlib.maps.products import (
    BIASED,
    KIND,
    NODATA,
    SCALE,
    VERSION,
    MapError,
    Prediction,
    legend_as_json,
    open_prediction,
    window_dates,
)
from arsetlib.samples import Rows, SampleError
from arsetlib.study import Area, Study
from arsetlib.translation import _


def predict(
    trained: Any,
    source: str | Path | pa.Table | Rows | Scenes,
    start: int | Sequence[int],
    out: str | Path,
    *,
    area: str | Area | None = None,
    year: int | None = None,
    study: Study | None = None,
    labels: Labels | None = None,
    spark: Any = None,
    smooth: str | neighbourhood.Majority | neighbourhood.Bayes | None = None,
    batch: int = BATCH,
    progress: bool = True,
) -> Prediction | list[Prediction]:
    """Predict the classes of every pixel of an area, and write maps of them.

    Args:
        trained: A ``models.Trained``.
        source: The path of a pixel table, a table in memory or ``Rows``; or ``Scenes`` of ``catalogue.find_scenes``, of
            which those in the window are read. Where a table holds each so-many-th pixel only, so does the map.
        start: First day of the window, day of the year, or several: all are predicted from one read of the series.
        out: Folder of the maps. Of each start it gets ``<area>_<year>_<start>.json`` and the rasters of ``products``;
            an older map of that name is replaced. It may lie in an object store (``s3://…``, see ``folders``).
        area: Key of an area of the source, or, for scenes, any ``Area``. May be left out where there is one only, or
            one only that is dense.
        year: May be left out where the source has one only.
        study: For scenes: whose areas, scene filters and label grid to use; the model's own by default. Its season,
            bands and legend are always the model's.
        labels: For scenes: a label raster whose grid to take; by default the grid that the study's labels have. No
            labels are needed.
        spark: A session of ``engine.session``, or None to work in this process. Workers must share the disk of ``out``,
            unless it is in an object store.
        smooth: ``"majority"`` or ``"bayes"``, or ``Majority`` or ``Bayes`` with other settings: smooth the classes
            among neighbours. The model's own classes stay in ``_unsmoothed``.
        batch: Pixels to the model at once.
        progress: Show a bar, and notes.

    Returns:
        A Prediction, or a list of them where ``start`` is one.

    Raises:
        MapError: No such area, year or scenes; a start out of range; no image in the window; bands or their order
            differ from the model's; the maps cannot be written; a read failed. Finished tasks are kept: the same call
            goes on from there.

    Lab: part3_train_and_test.
    """
    several = not isinstance(start, int | np.integer)
    starts = _starts(start)
    smoother = neighbourhood.named(smooth)
    study = (study or trained.study).replace(
        season=trained.study.season, bands=trained.study.bands, legend=trained.study.legend
    )
    data = _source(source, area, year, study, starts, labels)
    _check_bands(trained, data.bands)
    if data.every > 1 and progress:
        words = _(
            "The table holds one label pixel in {every} along x and y of area {area}, so a pixel of the map is "
            "{side} m wide and stands for {pixels}. A dense area gives every pixel."
        )
        side = f"{data.grid.side:g}"
        print(words.format(every=data.every, area=repr(data.area), side=side, pixels=data.every**2))
    season = study.season
    beyond = [s for s in starts if not season.first_day <= s <= season.last_day]
    if beyond and progress:
        words = _(
            "Start {days}: the model was trained on windows that start between days {first} and {last} of the year, "
            "so other starts are not reliable."
        )
        print(words.format(days=", ".join(map(str, beyond)), first=season.first_day, last=season.last_day))
    out = folders.place(out)
    _writable(out, data.grid.height * data.grid.width * len(starts), len(study.legend.classes))
    identity = _identity(trained, data, starts, smoother)
    stems = [f"{data.area}_{data.year}_{s:03d}" for s in starts]
    work = out / f".{data.area}_{data.year}_{'-'.join(map(str, starts))}.partial"  # gone when the maps are there
    finished = None if work.exists() else _finished(out, stems, identity)
    if finished is None:
        _drop_other(work, identity)
        names = [name_of(i) for i in range(len(data))]
        with folders.claim(work, {"identity": identity}, names, what="map", error=MapError, ours=True) as folder:
            finished = _finished(out, stems, identity)
            if finished is None:
                finished = _run(folder, trained, data, study, starts, stems, identity, smoother, spark, batch, progress)
            folder.remove()
    return finished if several else finished[0]


def _starts(start) -> list[int]:
    starts = [start] if isinstance(start, int | np.integer) else list(start)
    wrong = [s for s in starts if not (isinstance(s, int | np.integer) and 1 <= s <= 731)]
    if wrong or not starts or len(set(starts)) < len(starts):
        raise MapError(f"Expected start to be different days of the year, each from 1 to 731, received {start!r}.")
    return sorted(int(s) for s in starts)


def _source(source, area, year, study: Study, starts: list[int], labels):
    if isinstance(source, Scenes):
        return sources.of_scenes(source, study, area, year, starts, labels)
    if isinstance(source, Study):
        raise MapError("Give the study's scenes: source=catalogue.find_scenes(study, …), study=study.")
    try:
        for start in starts:
            Rows.of(source).check_season(study.season, start)
    except SampleError as error:
        raise MapError(str(error)) from None
    return sources.of_table(source, area.key if isinstance(area, Area) else area, year, study)


def _check_bands(trained, bands) -> None:
    """A scaler's bands are those of the model, in its order."""
    wants = tuple(trained.study.table_bands)
    if tuple(bands) != wants:
        missing = [b for b in wants if b not in bands]
        raise MapError(
            f"Expected the model's bands {list(wants)}, received {list(bands)}, "
            f"{f'missing {missing}' if missing else 'in another order or with more'}. Predict from a table that was "
            "ingested with the model's study."
        )


def _writable(out: Path, pixels_all: int, classes: int) -> None:
    """Raise an error before the work if the maps could not be written."""
    if not folders.on_disk(out):  # the plan, which is put first, shows whether a store can be written
        return
    try:
        with folders.full_disk(out, MapError):
            out.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=out):
                pass
        free = shutil.disk_usage(out).free
    except OSError as error:
        raise MapError(f"Maps cannot be written to {out}: {error.strerror}. Give another folder.") from None
    needed = pixels_all * (2 * (2 * classes + 6) + 8)
    if needed > free:
        raise MapError(
            f"The maps need up to {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB are free in {out}. Make room."
        )


def _identity(trained, data, starts: list[int], smoother) -> str:
    """A digest of everything that changes the maps; the model by its answers to a fixed input."""
    season = trained.study.season
    x = (
        seeds.generator(0, "identity", "series")
        .standard_normal((32, season.steps, _channels(trained)))
        .astype(np.float32)
    )
    seen = seeds.generator(0, "identity", "seen").random((32, season.steps)) < 0.5
    seen[:, -1] = True
    x[~seen] = 0
    parts = {"series": x, "seen": seen, "day_of_year": np.full(32, starts[0], np.int32)}
    parts |= {"xy": np.zeros((32, 2)), "pixel": np.zeros(32, np.int64)}
    answers = np.asarray(trained.predict(inputs_of(trained, parts)))
    if answers.shape != (32, len(trained.study.legend.classes)) or not np.isfinite(answers).all():
        raise MapError(
            f"Expected a model that answers with a probability for each of the {len(trained.study.legend.classes)} "
            f"classes of the legend, received {answers.shape}{'' if np.isfinite(answers).all() else ' with NaN'}."
        )
    scaler = trained.scaler
    facts = {
        "answers": np.round(answers, 4).tolist(),
        "scaler": scaler and [scaler.bands, scaler.mean, scaler.std],
        "fill": trained.fill,
        "choose": choice_of(trained),
        "season": vars(season),
        "legend": legend_as_json(trained.study.legend),
        "data": data.identity,
        "starts": starts,
        "smooth": smoother and str(smoother),
    }
    return checksums.digest_json(facts)[:16]


def _channels(trained) -> int:
    return len(trained.study.channels)


def _finished(out: Path, stems: list[str], identity: str) -> list[Prediction] | None:
    """The maps, if they are there and are those asked for."""
    try:
        found = [open_prediction(out / f"{stem}.json") for stem in stems]
    except MapError:
        return None
    return found if all(p.info["identity"] == identity for p in found) else None


# -- the run --------------------------------------------------------------------------------------------------------


def _run(folder, trained, data, study, starts, stems, identity, smoother, spark, batch, progress) -> list[Prediction]:
    began = time.perf_counter()
    run, resumed = folder.path, len(data) - len(folder.missing())
    sent = Sent.of(trained, run / "model") if spark is not None else None
    data = _without(data, _bad_scenes(folder), folder)  # of a run that was killed
    while True:
        job = partial(make_piece, replace(folder, path=run.resolve()), sent or trained, data, starts, batch)
        engine.run_watched(job, len(data), OUTCOME, spark, finished=folder.count, desc="predict", progress=progress)
        bad = {i: why for i, why in _bad_scenes(folder).items() if i not in data.survey.bad}
        if not bad or folder.failed:
            break
        data = _without(data, bad, folder)
        folder.forget(name_of(i) for i in data.tasks_with(bad))
    notes = folder.settle().values()
    predicted = np.sum([note["predicted"] for note in notes], axis=0)
    reasons: dict[str, int] = {}
    for note in notes:
        for reason, n in note["counts"].items():
            reasons[reason] = reasons.get(reason, 0) + n
    if not predicted.any():
        folder.remove()
        raise MapError(
            f"No pixel of area {data.area!r} has an image in the window of {study.season.window_days} days that starts "
            f"on day {' or '.join(map(str, starts))} of {data.year}. Take another start or a wider window."
        )
    made = []
    for i, (start, stem) in enumerate(zip(starts, stems, strict=True)):
        first, last = window_dates(data.year, start, study.season.window_days)
        season = study.season
        tags = {
            "model": trained.name,
            "study": study.key,
            "season": f"{season.window_days} days in steps of {season.step_days}",
            "year": data.year,
            "area": data.area,
            "window_start": first,
            "window_last_day": last,
            "simulated": "yes" if data.simulated else "no",
        }
        info = {
            "kind": KIND,
            "version": VERSION,
            "identity": identity,
            "model": trained.name,
            "study": study.key,
            "simulated": data.simulated,
            "area": data.area,
            "area_name": dict(next((one.name for one in study.areas if one.key == data.area), {})),
            "year": data.year,
            "start": start,
            "window": {"first": first, "last": last, "days": season.window_days, "step_days": season.step_days},
            "inside_season": season.first_day <= start <= season.last_day,
            "choose": choice_of(trained),
            "fill": trained.fill,
            "bands": list(study.bands),
            "smooth": smoother and str(smoother),
            "legend": legend_as_json(study.legend),
            "every": data.every,
            "pixel_side": data.grid.side,
            "scale": SCALE,
        }
        counts = {"predicted": int(predicted[i]), "no_image": data.pixels - int(predicted[i])}
        counts["in_raster"] = data.grid.height * data.grid.width
        info |= {"pixels": counts, "read": reasons}
        if isinstance(data, sources.SceneChunks) and data.survey.bad:
            info["bad_scenes"] = data.survey.bad
        made.append(_write(folder, run.parent, stem, start, data, study, smoother, info, tags))
    seconds = time.perf_counter() - began
    for p in made:
        p.info.update(chunks=[data.name(i) for i in range(len(data))], resumed=resumed, seconds=round(seconds, 2))
        folders.put_json(p.folder / f"{p.stem}.json", p.info)  # last: the map is finished
    return made


def _bad_scenes(folder: folders.Folder) -> dict[str, str]:
    """Scenes that failed in some task: id → why. A scene is in the whole map or not at all."""
    bad: dict[str, str] = {}
    for key in folder.keys(folders.WORK):
        if key.startswith(f"{folders.WORK}/{BAD}"):
            bad |= json.loads(folder.read(key))
    return bad


def _without(data, bad: dict[str, str], folder: folders.Folder):
    """The source without bad scenes. If there are too many, they are tried again by the next run."""
    if not bad:
        return data
    try:
        return data.without(bad)
    except MapError:
        for key in folder.keys(folders.WORK):
            folder.delete(key)
        raise


def _drop_other(work: Path, identity: str) -> None:
    """Delete what a run with another model or other data left there, or an earlier version."""
    if work.exists() and (folders.Folder(work).plan() or {}).get("identity") != identity:
        with folders.lock(work, MapError):
            folders.Folder(work).remove()


# -- rasters --------------------------------------------------------------------------------------------------------


def _write(folder, out: Path, stem: str, start: int, data, study, smoother, info: dict, tags: dict) -> Prediction:
    """The rasters of one start, from all pieces; the JSON file comes later, and an older one goes first."""
    (out / f"{stem}.json").unlink(missing_ok=True)
    classes = len(study.legend.classes)
    with folders.workspace(folder.path / "rasters") as here:
        made = _painted(folder, here, start, data, classes)
        if smoother is not None:
            made["unsmoothed"] = made["class"].rename(here / "unsmoothed.tif")
            made["class"] = cogs.scratch(here / "class.tif", "class", data.grid)
            source = made["unsmoothed" if isinstance(smoother, neighbourhood.Majority) else "probability"]
            with web.gdal(**cogs.GDAL):
                neighbourhood.smooth_raster(smoother, source, made["class"])
        files = {product: f"{stem}_{product}.tif" for product in made}
        for product in set(NODATA) - set(files):  # of an older map that was smoothed
            for name in (f"{stem}_{product}.tif", f"{stem}_{product}.tif.aux.xml"):
                (out / name).unlink(missing_ok=True)
        pixels_of, seals = cogs.class_counts(made["class"], classes), {}
        for product, path in made.items():
            whole = here / files[product]
            cogs.finish(path, whole, product, study.legend, tags | {"smooth": info["smooth"] or "none"})
            path.unlink()
            seals[files[product]] = folders.size_and_sha256(whole)
            for file in here.glob(f"{whole.name}.*"):
                folders.put(out / file.name, file)
            folders.put(out / whole.name, whole)
    hectares = data.grid.hectares
    info |= {
        "files": files,
        "seals": seals,
        "classes": [
            {"key": c.key, "pixels": int(n), "hectares": round(float(n) * hectares, 4)}
            for c, n in zip(study.legend.classes, pixels_of, strict=True)
        ],
        "about_hectares": BIASED,
        "versions": _versions(),
    }
    return Prediction(out, stem, info)


def _painted(folder, here: Path, start: int, data, classes: int) -> dict[str, Path]:
    """Product → tiled scratch file in a folder of this machine, from all pieces."""
    made = {p: here / f"{p}.tif" for p in PRODUCTS}
    for product, path in made.items():
        cogs.scratch(path, product, data.grid, classes if product == "probability" else 1)
    with web.gdal(**cogs.GDAL), ExitStack() as stack:
        rasters = {product: stack.enter_context(rasterio.open(path, "r+")) for product, path in made.items()}
        for key in (key for note in folder.settle().values() for key in note["files"]):
            with (folder.path / key).open("rb") as file, np.load(file) as piece:
                if len(row := piece["row"]):
                    for product, raster in rasters.items():
                        cogs.paint(raster, row, piece["col"], piece[f"{product}_{start}"])
    return made


def _versions() -> dict[str, str]:
    found = {}
    for name in ("arsetlib", "numpy", "rasterio", "keras", "tensorflow", "tensorflow-cpu", "scikit-learn"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found | {"gdal": rasterio.__gdal_version__}
