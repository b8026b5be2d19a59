"""An audit of a whole table, in parts that a stopped run keeps.

    _manifest.json        the audit is complete
    labels.parquet        every judged label with what was found, see ``LabelAudit``
    suspicious.parquet    labels that at least one way calls wrong, the most suspicious first
    top.csv               the first 1,000 of them, to look at
    fields.csv            one row a field, where outlines were given
    summary.txt           what a person reads first
    audit.json            settings, counts, legend
    <area>_<year>.tif     map: how many of the three ways call the label of a pixel wrong
    folds/                the models' predictions, one file a model and fold, and each row's neuron

Lab: part4_defend_the_map.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm.auto import tqdm

from arsetlib import folders, models, pixels, seeds
from arsetlib.audit.confidence import AuditError, confident
from arsetlib.audit.fields import field_ids
from arsetlib.audit.folds import OutOfFold, fold_of, judged, middle
from arsetlib.audit.marked import COLUMNS, MARKS, LabelAudit
from arsetlib.audit.som import Som, judge
from arsetlib.audit.votes import votes
from arsetlib.maps.marks import legend_of_marks, scattered, write_raster
from arsetlib.maps.sources import grid_of_pixels
from arsetlib.models import registry
from arsetlib.samples import Loader, Rows, Scaler
from arsetlib.study import Study

MODELS = ("random_forest", "random_forest")  # two deals of the folds; boosting takes a hundred times longer
SOM_ROWS = 100_000  # rows on which the map is trained; the others are put on it afterwards
TOP = 1000  # rows of the short list
PLACE = ("pixel", "year", "area", "block", "x", "y", "lon", "lat", "label_code")


def run(
    source: Rows | str | Path,
    study: Study,
    out: str | Path,
    *,
    names: Sequence[str] = MODELS,
    start: int | None = None,
    folds: int = 5,
    fields: str | Path | None = None,
    seed: int = 0,
    progress: bool = True,
    **settings: object,
) -> LabelAudit:
    """Audit the labels of a table in three ways; nothing in the table is changed.

    Each model is trained on folds by spatial block and predicts the fold it has not seen. Confident learning works on
    the mean of their probabilities; each model has one vote; the self-organising map sees the windows only.

    Args:
        source: The path of a pixel table, or rows of it.
        study: Season, channels and legend.
        out: A new folder, or that of the same audit, which goes on; also in an object store.
        names: Models of ``models.names()``, at least two; each has a seed and a deal of the blocks to folds of its own,
            so a name may come twice.
        start: Day of the year on which windows start; by default the middle of the season. Take one whose window ends
            while the crops stand: a label that the window does not show is not judged.
        folds: By spatial block.
        fields: A vector file with outlines of fields.
        seed: Of folds, trainings and the map.
        progress: Show a bar.
        settings: For ``training.fit``, such as ``epochs``.

    Raises:
        AuditError: One class only, fewer blocks than folds, fewer than two models, another audit in the folder; as
            ``field_ids``.

    Lab: part4_defend_the_map.
    """
    names, rows = list(names), Rows.of(source)
    for name in names:
        registry.check_name(name, models.names(), "model")
    if len(names) < 2:
        raise AuditError(f"Expected at least two models, whose disagreement is looked at, received {names}.")
    start = middle(study) if start is None else start
    deals = [judged(rows, study, start, folds, seed + number) for number in range(len(names))]
    from arsetlib.training.run import digest, facts, json_values

    plan = {"kind": "audit", "rows": digest(rows), "study": facts(study), "models": names, "start": start}
    plan |= {"folds": folds, "seed": seed, "fields": fields and str(fields), "settings": settings}
    if fields is not None and folders.state(out) != "complete":  # a wrong file is refused before hours of training
        field_ids(fields, rows.column("x"), rows.column("y"), rows.meta.crs)
    jobs = [(model, number) for model in range(len(names)) for number in range(folds)]
    planned = [*(_name(*job) for job in jobs), "som", "report"]
    with folders.claim(out, json_values(plan), planned, what="audit", error=AuditError) as folder:
        if folder.manifest() is None:
            for model, number in tqdm(jobs, desc="audit", unit="fold", disable=not progress):
                if folder.done(_name(model, number)) is None:
                    own = seed + 1000 * model
                    made = fold_of(deals[model][0], number, study, names[model], start, own, **settings)
                    _save(folder, _name(model, number), made)
            held = _alike([_gathered(folder, model, folds) for model in range(len(names))])
            if folder.done("som") is None:
                _map_series(folder, rows, held[0].index, study, start, seed)
            if folder.done("report") is None:
                asked = {k: plan[k] for k in ("models", "start", "folds", "seed")}
                _report(folder, rows, study, held, deals[0][1], asked, fields)
            folder.publish()
    return LabelAudit.load(out)


def _name(model: int, fold: int) -> str:
    return f"model-{model}-{fold}"


def _alike(held: list[OutOfFold]) -> list[OutOfFold]:
    """The rows that all models have judged: in one deal of the folds a class may be in one fold only."""
    common = functools.reduce(np.intersect1d, [one.index for one in held])
    first = held[0]
    more = first.lost.get("class_not_in_training", 0) + len(first.index) - len(common)
    return [replace(one.at(common), lost=first.lost | {"class_not_in_training": more}) for one in held]


def _save(folder: folders.Folder, name: str, made: OutOfFold) -> None:
    made.predictions.save(folder.path / f"folds/{name}.parquet")
    folder.put(f"folds/{name}.npy", _npy(made.index))
    folder.finish(name, [f"folds/{name}.parquet", f"folds/{name}.npy"], lost=made.lost)


def _gathered(folder: folders.Folder, model: int, folds: int) -> OutOfFold:
    """All folds of a model, in the order of the table."""
    from arsetlib.evaluation import Predictions

    parts = [f"folds/{_name(model, number)}" for number in range(folds)]
    index = np.concatenate([np.load(io.BytesIO(folder.read(f"{part}.npy"))) for part in parts])
    order = np.argsort(index, kind="stable")
    predictions = Predictions.concat([Predictions.load(folder.path / f"{part}.parquet") for part in parts])
    lost: dict[str, int] = {}
    for number in range(folds):
        for reason, count in folder.done(_name(model, number))["lost"].items():
            lost[reason] = lost.get(reason, 0) + count
    return OutOfFold(predictions.pick(order), index[order], lost)


def _npy(values: np.ndarray) -> bytes:
    held = io.BytesIO()
    np.save(held, values)
    return held.getvalue()


def _windows(rows: Rows, study: Study, scaler: Scaler, start: int):
    """Batches (B, F) of scaled series without gaps."""
    loader = Loader(rows, study, scaler, batch=8192, start=start, fill="linear", shuffle=False)
    return (x.reshape(len(x), -1) for x, _ in loader.arrays())


def _map_series(folder: folders.Folder, rows: Rows, index: np.ndarray, study: Study, start: int, seed: int) -> None:
    """Train the self-organising map on some rows, and find the neuron of all."""
    used = Rows(rows.source, index)
    scaler = Scaler.fit(used, study)
    some = np.sort(seeds.generator(seed, "som rows").permutation(len(index))[:SOM_ROWS])
    series = np.concatenate(list(_windows(Rows(rows.source, index[some]), study, scaler, start)))
    trained = Som.fit(series, seed=seed)
    neurons = np.concatenate([trained.neurons(x) for x in _windows(used, study, scaler, start)])
    folder.put("folds/som.npy", _npy(neurons))
    folder.finish("som", ["folds/som.npy"], side=trained.side)


def _report(folder: folders.Folder, rows: Rows, study: Study, held: list[OutOfFold], lost, asked, fields) -> None:
    """Bring all ways together and write what a person needs."""
    first = held[0]
    label, classes = first.predictions.truth.astype(np.int16), len(study.legend.classes)
    probability = sum(one.predictions.probability for one in held) / np.float32(len(held))
    sure = confident(label, probability)
    said = votes(label, [one.predictions.probability for one in held])
    neurons = np.load(io.BytesIO(folder.read("folds/som.npy")))
    of_map = judge(neurons, label, folder.done("som")["side"], classes)
    probability[np.arange(len(label)), label] = -1
    used = Rows(rows.source, first.index)
    columns: dict[str, np.ndarray] = {name: used.column(name).astype(COLUMNS[name], copy=False) for name in PLACE}
    accuracy = [one.predictions.confusion().accuracy for one in held]
    noted = {"simulated": bool(rows.meta.simulated), **asked, "noise": sure.noise, "lost": lost | first.lost}
    noted |= {"labels": len(label), "agreement_with_labels": accuracy, "joint": sure.joint.round(6).tolist()}
    made = LabelAudit(
        **columns, label=label, guess=probability.argmax(1).astype(np.int16), margin=sure.margin,
        confident=sure.wrong, som=of_map.verdict == 2, votes=said.unanimous, legend=study.legend, facts=noted,
    )  # fmt: skip
    keys = made.save(folder)
    frame = made.table()
    worst = pa.Table.from_pandas(frame, preserve_index=False)
    folder.put("suspicious.parquet", lambda file: pq.write_table(worst, file))
    folder.put("top.csv", frame.head(TOP).to_csv(index=False))
    keys += ["suspicious.parquet", "top.csv"]
    if fields is not None:
        ids = field_ids(fields, made.x, made.y, rows.meta.crs)
        folder.put("fields.csv", made.by_field(ids).to_csv())
        keys += ["fields.csv"]
    keys += _maps(folder, made, rows.meta, study)
    folder.put("summary.txt", f"{made}\n")
    folder.finish("report", [*keys, "summary.txt"])


def _maps(folder: folders.Folder, made: LabelAudit, meta: pixels.Meta, study: Study) -> list[str]:
    """One raster an area and year, but for points that are far apart."""
    keys, found, legend = [], made.found_by, legend_of_marks("audit", MARKS)
    for area in sorted(set(made.area.tolist())):
        here = made.area == area
        for year in np.unique(made.year[here]).tolist():
            mine = np.flatnonzero(here & (made.year == year))
            grid = grid_of_pixels(meta, made.x[mine], made.y[mine], study, area)
            if scattered(grid, len(mine)):
                continue
            row, col = grid.places(made.x[mine], made.y[mine])
            tags = {"study": meta.study, "area": area, "year": year, "simulated": "yes" if meta.simulated else "no"}
            target = folder.path / f"{area}_{year}.tif"
            keys += write_raster(target, grid, [(row, col, found[mine])], legend=legend, product="audit", tags=tags)
    return keys
