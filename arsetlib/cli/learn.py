"""Commands of part 3 and 4: train, pretrain, evaluate, report, audit, predict."""

from __future__ import annotations

import importlib.util
import textwrap
from pathlib import Path
from typing import Annotated

import typer

from arsetlib import folders
from arsetlib.cli.arguments import (
    AsJson,
    Cache,
    Place,
    StudyName,
    Table,
    find,
    load,
    place,
    place_argument,
    place_option,
    show,
)
from arsetlib.translation import _, ngettext
from arsetlib.wording import column, shown, span

app = typer.Typer()


@app.command(epilog="Example: arset train data/pixels data/delta/study.toml --out runs/ltae")
def train(
    table: Table,
    study: StudyName,
    out: Annotated[Place, place_option(help="Folder of the training; the same call continues a stopped one.")],
    model: Annotated[str | None, typer.Option(help="Name of the model, see models.names(); else ltae.")] = None,
    start_from: Annotated[Place | None, place_option("--from", help="Fine-tune the model of this folder.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Largest number of epochs; 40, or 4 for a baseline.")] = None,
    batch: Annotated[int | None, typer.Option(help="Samples in a step; 256, or 32 with --from.")] = None,
    patience: Annotated[int | None, typer.Option(help="Epochs without improvement after which training stops.")] = None,
    rate: Annotated[float | None, typer.Option(help="Learning rate; 0.001, or 0.0003 with --from.")] = None,
    loss: Annotated[str, typer.Option(help="crossentropy or focal.")] = "crossentropy",
    balance: Annotated[bool, typer.Option("--balance", help="Give all classes the same total weight.")] = False,
    freeze: Annotated[bool, typer.Option("--freeze", help="With --from: train the last layer only.")] = False,
    held_out: Annotated[list[str] | None, typer.Option(help="Area used only for the test; repeat for more.")] = None,
    allow: Annotated[bool, typer.Option("--allow-missing", help="Allow a class without training samples.")] = False,
    seed: Annotated[int, typer.Option(help="Same seed, same weights.")] = 0,
    as_json: AsJson = False,
):
    """Train a model on the study's split, or train one further on new labels."""
    from arsetlib import models, samples, training
    from arsetlib.models import registry

    if start_from is not None and model is not None:
        raise training.TrainingError(
            f"--from uses the network of its own folder: leave out --model {model}, or --from."
        )
    loaded = load(study, None)
    sides = samples.split(table, loaded, held_out=held_out or ())
    asked = {"epochs": epochs, "batch": batch, "patience": patience, "learning_rate": rate}
    options = {name: value for name, value in asked.items() if value is not None}
    options |= {"folder": out, "loss": loss, "balance": balance, "seed": seed, "progress": not as_json}
    options |= {"missing": "allow"} if allow else {}
    if start_from is None:
        if freeze:
            raise training.TrainingError("--freeze keeps the weights of a trained model; name its folder with --from.")
        trained = training.fit(model or registry.DEFAULT, sides, loaded, **options)
    else:
        before = models.load(start_from, kind="series")
        trained = training.fine_tune(before, sides, loaded, freeze="body" if freeze else None, **options)
    _tell(trained, out, as_json)


def _tell(trained, out: Place, as_json: bool) -> None:
    """The scores of the best epoch, and where the curves are."""
    from arsetlib import models

    at = trained.notes["best_epoch"] - 1
    best = {n: v[min(at, len(v) - 1)] for n, v in trained.history.items() if n.startswith("val_")}
    report = {"folder": str(out), "model": str(out / "model"), "name": trained.name, "best": best}
    report |= {"best_epoch": at + 1, "notes": trained.notes}
    scores = ", ".join(f"{column(n)} {v:.3f}" for n, v in best.items())
    words = _("{name} in {out}: best epoch {epoch}, {scores}. Curves: {board}")
    if isinstance(trained.model, models.Baseline):  # it has neither epochs nor curves
        return show(
            report, as_json, _("{name} in {out}").format(name=trained.name, out=out) + f": {scores}".rstrip(": ")
        )
    board = f"tensorboard --logdir {out}" if folders.on_disk(out) else f"training.events.scalars('{out}/logs')"
    words = words.format(name=trained.name, out=out, epoch=at + 1, scores=scores, board=board)
    show(report, as_json, words)


@app.command(epilog="Example: arset pretrain data/pixels data/delta/study.toml --out runs/encoder")
def pretrain(
    table: Table,
    study: StudyName,
    out: Annotated[Place, place_option(help="Folder of the training; the same call continues a stopped one.")],
    model: Annotated[str | None, typer.Option(help="Name of the network, see models.names(); else ltae.")] = None,
    hide: Annotated[float, typer.Option(help="Share of a window's images that is hidden, above 0 and below 1.")] = 0.5,
    epochs: Annotated[int | None, typer.Option(help="Largest number of epochs; 40.")] = None,
    batch: Annotated[int | None, typer.Option(help="Samples in a step; 256.")] = None,
    patience: Annotated[int | None, typer.Option(help="Epochs without improvement after which training stops.")] = None,
    rate: Annotated[float | None, typer.Option(help="Learning rate; 0.001.")] = None,
    held_out: Annotated[list[str] | None, typer.Option(help="Area used only for the test; repeat for more.")] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same weights.")] = 0,
    as_json: AsJson = False,
):
    """Pre-train a network without labels; then train it on few labels with `arset train --from MODEL`."""
    from arsetlib import samples, training
    from arsetlib.models import registry

    loaded = load(study, None)
    sides = samples.split(table, loaded, held_out=held_out or ())
    asked = {"epochs": epochs, "batch": batch, "patience": patience, "learning_rate": rate}
    options = {name: value for name, value in asked.items() if value is not None}
    options |= {"folder": out, "hide": hide, "seed": seed, "progress": not as_json}
    _tell(training.pretrain(model or registry.DEFAULT, sides, loaded, **options), out, as_json)


@app.command(epilog="Example: arset evaluate runs/ltae data/pixels --study data/delta/study.toml --out runs/ltae/test")
def evaluate(
    model: Annotated[Place, place_argument(help="Folder of a trained model, or of its training.")],
    table: Table,
    out: Annotated[Place, place_option(help="Folder for predictions and scores.")],
    study: Annotated[str | None, typer.Option(help="Study whose split names the side; --side all needs none.")] = None,
    side: Annotated[str, typer.Option(help="train, validation, test, or all: every row of the table.")] = "test",
    start: Annotated[
        list[int] | None, typer.Option(min=1, max=731, help="Day of the year on which windows start; repeat.")
    ] = None,
    held_out: Annotated[
        list[str] | None, typer.Option(help="Area used only for the test, as in training; repeat for more.")
    ] = None,
    f1: Annotated[float, typer.Option(min=0, max=1, help="F1 from which a crop counts as mapped well.")] = 0.8,
    seed: Annotated[int, typer.Option(help="Of the draws for intervals.")] = 0,
    as_json: AsJson = False,
):
    """Predict a side of the table for several dates, save the predictions, and print the scores."""
    from arsetlib import evaluation, models, samples
    from arsetlib.training.run import digest

    if side == "all" and held_out:
        raise evaluation.EvaluationError("Expected --held-out with a side of the split, received it with --side all.")
    known = load(study, None) if study else None
    trained = models.load(model, known, kind="series")
    if side != "all" and known is None:
        raise evaluation.EvaluationError(
            f"Expected --study FILE, whose split says which rows are {side!r}, received none. "
            "Name it, or take every row with --side all."
        )
    sides = {"all": samples.Rows.of(table)} if side == "all" else samples.split(table, known, held_out=held_out or ())
    if side not in sides:
        raise evaluation.EvaluationError(f"Study {known.key!r} has no side {side!r}. It has: {', '.join(sides)}.")
    trained_on = trained.notes.get("digest_of_training_rows")
    if trained_on and "train" in sides and digest(sides["train"]) != trained_on:
        words = _(
            "note: the model was trained on other rows than this split's. If rows of this table are among them, the "
            "score is too high. Give --study and --held-out as in training."
        )
        typer.echo(f"arset: {words}", err=True)
    season = trained.study.season
    starts = start or sorted({*range(season.first_day, season.last_day + 1, 30), season.last_day})
    done = evaluation.ModelPredictions.of(trained, sides[side], starts, side=side, progress=not as_json)
    done.save(out)
    facts = evaluation.Facts.of(done.predictions, training=done.training, f1=f1, seed=seed)
    report = {"folder": str(out), "model": done.name, "side": side, "simulated": done.predictions.simulated}
    saved = _("Saved in {out}. Next: {command}").format(out=out, command=f"arset report {out}")
    head = f"{_kind(done.predictions.simulated)}{done.name}, {_(side)}"
    show(report | facts.as_dict(), as_json, f"{head}\n{facts}\n\n{saved}")


@app.command(epilog="Example: arset report runs/ltae/test runs/random_forest/test --out report.html")
def report(
    folders: Annotated[list[Place], place_argument(help="What `arset evaluate` saved, of one model or several.")],
    out: Annotated[Place | None, place_option(help="The page, .html, or a folder; else beside the first.")] = None,
    title: Annotated[str | None, typer.Option(help="Of the page.")] = None,
    f1: Annotated[float, typer.Option(min=0, max=1, help="F1 from which a crop counts as mapped well.")] = 0.8,
    seed: Annotated[int, typer.Option(help="Of the draws for intervals.")] = 0,
    as_json: AsJson = False,
):
    """Write one HTML page and a JSON file from saved predictions; several models are compared."""
    from arsetlib import evaluation, extras, figures

    for name in ("plotly", "jinja2"):  # before the work, not after it
        if importlib.util.find_spec(name) is None:
            raise extras.missing(name)
    beside = folders[0].parent if folders[0].is_file() else folders[0]
    models = evaluation.ModelPredictions.load_all(folders)
    files = figures.report(models, out or beside, title=title, f1=f1, seed=seed)
    show({"html": str(files.html), "json": str(files.json)}, as_json, f"{files.html}\n{files.json}")


@app.command(epilog="Example: arset compare runs/ltae runs/random_forest --out comparison.csv")
def compare(
    runs: Annotated[
        list[Place], place_argument(help="What `arset evaluate` saved, or a training that has it in test.")
    ],
    out: Annotated[Place | None, place_option(help="Write the table too: .csv, or .html for a whole report.")] = None,
    seed: Annotated[int, typer.Option(help="Of the draws for intervals.")] = 0,
    as_json: AsJson = False,
):
    """Compare models on the same test rows: scores, intervals, what chance can explain, and the majority baseline.

    Models of any kind can be compared. Runs whose rows, windows, classes or labels differ are refused.
    """
    from arsetlib import evaluation, folders
    from arsetlib.evaluation.facts import plain

    if out is not None and out.suffix not in (".csv", ".html"):
        raise evaluation.EvaluationError(f"Expected --out with the ending .csv or .html, received {out.name!r}.")
    models = evaluation.ModelPredictions.load_all([_evaluated(run) for run in runs])
    first = next(iter(models.values()))
    predictions = {name: run.predictions for name, run in models.items()}
    table = evaluation.compare(predictions, training=first.training, seed=seed)
    report: dict = {"simulated": first.predictions.simulated, "samples": len(first.predictions)}
    report |= {"models": plain(table.rename_axis("model"))}
    if out is not None:
        report["saved"] = str(out)
        if out.suffix == ".csv":
            folders.put(out, table.to_csv(index_label="model"))
        else:
            from arsetlib import figures

            figures.report(models, out, seed=seed)
    words = ngettext(
        "{n} model, {samples} predictions", "{n} models, the same {samples} predictions of each", len(models)
    ).format(n=len(models), samples=f"{report['samples']:,}")
    lines = [_kind(report["simulated"]) + words, "", shown(_side_by_side(table)).to_string(), ""]
    words = _(
        "In brackets: 95 % intervals. {behind}: macro-F1 of the best model minus that of this one; where its interval "
        "contains 0, these samples cannot tell the two apart."
    )
    lines += textwrap.wrap(words.format(behind=column("behind")), 110)
    lines += [_("Saved in {out}.").format(out=out)] * (out is not None)
    show(report, as_json, "\n".join(lines))


def _kind(simulated: bool) -> str:
    """What stands before a result of simulated data."""
    return _("SIMULATED") + ": " if simulated else ""


def _evaluated(run: Place) -> Place:
    """The folder of saved predictions that a run names."""
    from arsetlib import evaluation

    if run.is_file() or (run / "predictions.parquet").is_file():
        return run
    if (run / "test" / "predictions.parquet").is_file():
        return run / "test"
    raise evaluation.EvaluationError(
        f"There are no saved predictions in {run}, nor in {run / 'test'}. "
        f"Make them: arset evaluate {run} TABLE --study STUDY --out {run / 'test'}"
    )


def _side_by_side(table):
    """The comparison as a terminal shows it."""
    import pandas as pd

    def cell(row, name):
        if pd.isna(row[name]):
            return ""
        low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
        if low is None or pd.isna(low):
            return f"{row[name]:.3f}"
        return f"{row[name]:.3f} ({span(f'{low:.3f}', f'{high:.3f}')})"

    names = [
        n for n in ("accuracy", "macro_f1", "crops_macro_f1", "behind", "top_2", "calibration_error") if n in table
    ]
    shown = {name: [cell(row, name) for _, row in table.iterrows()] for name in names}
    return pd.DataFrame(shown, index=table.index)


@app.command(epilog="Example: arset audit data/pixels data/delta/study.toml --out runs/audit")
def audit(
    table: Table,
    study: StudyName,
    out: Annotated[Place, place_option(help="Folder of the audit; the same call continues a stopped one.")],
    model: Annotated[
        list[str] | None,
        typer.Option(help="Name of a model, at least two, also twice the same; else two random forests. Repeat."),
    ] = None,
    start: Annotated[
        int | None, typer.Option(min=1, max=731, help="Day of the year on which windows start; else mid-season.")
    ] = None,
    folds: Annotated[int, typer.Option(help="Parts by spatial block; each is judged by models of the others.")] = 5,
    fields: Annotated[Place | None, place_option(help="Vector file of field outlines, to count by field.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Largest number of epochs of each training.")] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same result.")] = 0,
    as_json: AsJson = False,
):
    """List labels that are probably wrong, with a map of them. The table is not changed."""
    from arsetlib import audit

    options = {"start": start, "folds": folds, "fields": fields, "seed": seed, "progress": not as_json}
    options |= {"names": model} if model else {}
    options |= {"epochs": epochs} if epochs is not None else {}
    found = audit.run(table, load(study, None), out, **options)
    suspicious = int(found.suspicious().sum())
    report = {"folder": str(out), "labels": len(found), "suspicious": suspicious, **found.facts}
    words = _("Saved in {out}. Next: {command}").format(
        out=out, command=_("look at {file}").format(file=out / "top.csv")
    )
    show(report, as_json, f"{found}\n\n{words}")


@app.command(epilog="Example: arset predict runs/ltae data/pixels --start 120 --area dense --year 2019")
def predict(
    model: Annotated[Place, place_argument(help="Folder of a trained model, or of its training.")],
    source: Annotated[str, typer.Argument(help="A pixel table, or a study whose scenes are read.")],
    start: Annotated[list[int], typer.Option(help="Day of the year on which the window starts; repeat for more.")],
    area: Annotated[str | None, typer.Option(help="Area to map; not needed where one only is dense.")] = None,
    year: Annotated[int | None, typer.Option(help="Year to map; not needed where there is one only.")] = None,
    out: Annotated[Place, place_option(help="Folder of the maps.")] = Path("maps"),
    smooth: Annotated[str, typer.Option(help="none, majority or bayes.")] = "none",
    cache: Cache = Path("data"),
    master: Annotated[str, typer.Option(help="Where Spark runs; 'none' works in this process.")] = "none",
    remote: Annotated[str | None, typer.Option(help="Spark Connect address, e.g. sc://host:15002.")] = None,
    as_json: AsJson = False,
):
    """Map an area: classes, probabilities, entropy and margin as GeoTIFFs. Run it again after a failure to go on."""
    from arsetlib import engine, maps, models

    options = {"area": area, "year": year, "smooth": smooth, "progress": not as_json}
    there = place(source).exists()
    if not there and Path(source).parent != Path():  # names of shipped studies are no paths
        raise maps.MapError(f"There is no pixel table and no study file at {source}. `arset ingest` makes a table.")
    if not there or source.endswith(".toml"):
        study = load(source, [year] if year else None)
        options["study"] = study
        wanted = find(study, cache, progress=not as_json)[0]
    else:
        wanted = source
    trained = models.load(model, kind="series")
    spark = None if master == "none" and not remote else engine.session(master, remote)
    made = maps.predict(trained, wanted, start, out, spark=spark, **options)
    kind = _kind(any(p.simulated for p in made))
    words = "\n".join(f"{p}\n  {_('class map')}: {p.path()}" for p in made)
    show([p.info | {"folder": str(p.folder)} for p in made], as_json, f"{kind}{words}")
