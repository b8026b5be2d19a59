"""The command ``arset``: what the labs do, from a shell.

Exit codes: 0 done, 1 a problem that the message explains, 2 a call that cannot be meant.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Crop maps at scale: from scenes and labels to pixel tables, models and maps.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

StudyName = Annotated[str, typer.Argument(help="A shipped study (sample, mississippi_delta, …) or a .toml file.")]
Table = Annotated[Path, typer.Argument(help="Folder of a pixel table, or one .parquet file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a script, no bars.")]
Years = Annotated[list[int] | None, typer.Option("--year", help="Only this year; repeat for more.")]
Cache = Annotated[Path, typer.Option(help="Folder for what is fetched: item list, labels.")]


@app.command(epilog="Example: arset simulate data/delta --scale 0.1")
def simulate(
    out: Annotated[Path, typer.Argument(help="Folder to write the simulated scenes and labels into.")],
    seed: Annotated[int, typer.Option(help="Same seed, same bytes.")] = 1,
    scale: Annotated[float, typer.Option(help="Area against the default; 20 makes more than 5 GB.")] = 1.0,
    year: Years = None,
    as_json: AsJson = False,
):
    """Make the simulated delta: scenes, labels and a study file in the layouts of the real services."""
    from arsetlib import simulate as simulation

    path = simulation.delta(out, seed=seed, scale=scale, years=tuple(year or (2019, 2020, 2021)), progress=not as_json)
    report = {"folder": str(path), "study": str(path / "study.toml"), "simulated": True}
    show(report, as_json, f"Simulated delta in {path}. Next: arset ingest {path / 'study.toml'} data/pixels")


@app.command(epilog="Example: arset simulate-grove data/grove --captures 4 --width 1000 --height 750")
def simulate_grove(
    out: Annotated[Path, typer.Argument(help="Folder to write the simulated captures and masks into.")],
    seed: Annotated[int, typer.Option(help="Same seed, same bytes.")] = 1,
    captures: Annotated[int, typer.Option(help="Images of the flight; each overlaps the next by about 80 %.")] = 10,
    width: Annotated[int, typer.Option(help="Columns of a capture, pixels.")] = 3808,
    height: Annotated[int, typer.Option(help="Rows of a capture, pixels.")] = 2912,
    resolution: Annotated[float | None, typer.Option(help="Metres per pixel; by default 0.016 at full width.")] = None,
    jobs: Annotated[int | None, typer.Option(help="Processes; by default one per core.")] = None,
    as_json: AsJson = False,
):
    """Make the simulated olive grove: drone images of one flight with exact masks of ground, tree and grass."""
    from arsetlib import simulate as simulation

    path = simulation.grove(
        out,
        seed=seed,
        captures=captures,
        size=(height, width),
        resolution=resolution,
        jobs=jobs,
        progress=not as_json,
    )
    report = {"folder": str(path), "captures": captures, "simulated": True}
    show(report, as_json, f"Simulated grove in {path}. Next: arset tiles check {path}")


@app.command(epilog="Example: arset scenes data/delta/study.toml --year 2021")
def scenes(study: StudyName, year: Years = None, cache: Cache = Path("data"), as_json: AsJson = False):
    """Find the scenes of a study and save the item list."""
    from arsetlib import catalogue

    loaded = load(study, year)
    folder = store(cache, loaded)
    found = catalogue.find_scenes(loaded, cache=folder, progress=not as_json)
    per_year = {y: sum(1 for s in found if s.datetime.startswith(str(y))) for y in loaded.years}
    report = {"scenes": len(found), "per_year": per_year, "dropped": found.dropped, "saved": str(folder)}
    lines = [f"{len(found)} scenes for {loaded.title()}"]
    lines += [f"  {y}: {n}" for y, n in per_year.items()]
    lines += [f"  dropped, {reason.replace('_', ' ')}: {n}" for reason, n in found.dropped.items()]
    show(report, as_json, "\n".join(lines))


@app.command(epilog="Example: arset ingest data/delta/study.toml data/pixels --every 1")
def ingest(
    study: StudyName,
    out: Annotated[Path, typer.Argument(help="Folder of the table to make.")],
    year: Years = None,
    every: Annotated[int | None, typer.Option(help="Take each so-many-th label pixel along x and y.")] = None,
    per_class: Annotated[int | None, typer.Option(help="Take so many pixels of each class per area and year.")] = None,
    cache: Cache = Path("data"),
    master: Annotated[str, typer.Option(help="Where Spark runs; 'none' works in this process.")] = "local[*]",
    remote: Annotated[str | None, typer.Option(help="Spark Connect address, e.g. sc://host:15002.")] = None,
    as_json: AsJson = False,
):
    """Build the pixel table of a study. Run it again after a failure: finished chunks are kept."""
    from arsetlib import catalogue, engine
    from arsetlib.ingest import ingest as build

    loaded = load(study, year)
    folder = store(cache, loaded)
    found = catalogue.find_scenes(loaded, cache=folder, progress=not as_json)
    labels = {y: catalogue.find_labels(loaded, y, folder.parent / "labels", not as_json) for y in loaded.years}
    spark = None if master == "none" and not remote else engine.session(master, remote)
    summary = build(loaded, found, labels, out, spark=spark, every=every, per_class=per_class, progress=not as_json)
    show(vars(summary), as_json, str(summary))


@app.command(epilog="Example: arset describe data/pixels")
def describe(table: Table, as_json: AsJson = False):
    """What a pixel table holds: rows, years, labels, images per series, band statistics."""
    from arsetlib import pixels

    summary = pixels.summary(table)
    show(summary, as_json, pixels.format_summary(summary))


@app.command(epilog="Example: arset check data/pixels || echo 'do not train on this'")
def check(table: Table, as_json: AsJson = False):
    """Hold every row of a pixel table against the rules; exit 1 where one is broken."""
    from arsetlib import pixels

    report = pixels.check(table)
    show(report.as_dict(), as_json, str(report))
    if not report.ok:
        raise typer.Exit(1)


@app.command(epilog="Example: arset batches data/pixels data/delta/study.toml --side test --start 120 --show")
def batches(
    table: Table,
    study: StudyName,
    side: Annotated[str, typer.Option(help="Side of the study's split: train, validation or test.")] = "train",
    start: Annotated[str, typer.Option(help="'random', or the day of the year on which windows start.")] = "random",
    batch: Annotated[int, typer.Option(help="Samples a batch.")] = 1024,
    seed: Annotated[int, typer.Option(help="Same seed, same batches.")] = 0,
    look: Annotated[bool, typer.Option("--show", help="Make an epoch and tell what it holds.")] = False,
    as_json: AsJson = False,
):
    """Count the samples of one side of the split; --show looks at what a model would be fed."""
    from arsetlib import samples

    if start != "random" and not start.isdigit():
        raise samples.SampleError(f"Expected --start random or a day of the year such as 120, received {start!r}.")
    loaded = load(study, None)
    sides = samples.split(table, loaded)
    if side not in sides:
        raise samples.SampleError(f"Study {loaded.key!r} has no side {side!r}. It has: {', '.join(sides)}.")
    scaler = samples.Scaler.fit(sides["train"], loaded) if look and "train" in sides else None
    day = start if start == "random" else int(start)
    loader = samples.Loader(sides[side], loaded, scaler, start=day, batch=batch, seed=seed)
    if look:
        report = samples.describe(loader)
        show(report, as_json, samples.format_description(report, loaded.legend.names()))
    else:
        report = loader.counts | {"batches": loader.steps}
        show(report, as_json, "\n".join(f"{noun.replace('_', ' ')}: {n:,}" for noun, n in report.items()))


@app.command(epilog="Example: arset predict runs/tempcnn data/pixels --start 120 --area dense --year 2019")
def predict(
    model: Annotated[Path, typer.Argument(help="Folder of a trained model, or of its run.")],
    source: Annotated[str, typer.Argument(help="A pixel table, or a study whose scenes are read.")],
    start: Annotated[list[int], typer.Option(help="Day of the year on which the window starts; repeat for more.")],
    area: Annotated[str | None, typer.Option(help="Area to map; not needed where one only is dense.")] = None,
    year: Annotated[int | None, typer.Option(help="Year to map; not needed where there is one only.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the maps.")] = Path("maps"),
    smooth: Annotated[str, typer.Option(help="none, majority or bayes.")] = "none",
    cache: Cache = Path("data"),
    master: Annotated[str, typer.Option(help="Where Spark runs; 'none' works in this process.")] = "none",
    remote: Annotated[str | None, typer.Option(help="Spark Connect address, e.g. sc://host:15002.")] = None,
    as_json: AsJson = False,
):
    """Map an area: classes, probabilities, entropy and margin as GeoTIFFs. Run it again after a failure to go on."""
    from arsetlib import catalogue, engine, maps, models

    options = {"area": area, "year": year, "smooth": smooth, "progress": not as_json}
    if not Path(source).exists() and Path(source).parent != Path():  # names of shipped studies are no paths
        raise maps.MapError(f"There is no pixel table and no study file at {source}. `arset ingest` makes a table.")
    if not Path(source).exists() or source.endswith(".toml"):
        study = load(source, [year] if year else None)
        options["study"] = study
        wanted = catalogue.find_scenes(study, cache=store(cache, study), progress=not as_json)
    else:
        wanted = source
    trained = models.load(model_folder(model))
    spark = None if master == "none" and not remote else engine.session(master, remote)
    made = maps.predict(trained, wanted, start, out, spark=spark, **options)
    kind = "SIMULATED: " if any(p.simulated for p in made) else ""
    words = "\n".join(f"{p}\n  class map: {p.path()}" for p in made)
    show([p.info | {"folder": str(p.folder)} for p in made], as_json, f"{kind}{words}")


tiles_app = typer.Typer(help="Images and masks for segmentation.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(tiles_app, name="tiles")


@tiles_app.command("check", epilog="Example: arset tiles check data/grove --size 224")
def check_tiles(
    folder: Annotated[Path, typer.Argument(help="Folder of images and masks.")],
    layout: Annotated[
        str, typer.Option(help="masks, beside, keras-segmentation, labelme, coco, or 'auto' to look.")
    ] = "auto",
    classes: Annotated[Path | None, typer.Option(help="A .toml file of classes; else classes.toml in FOLDER.")] = None,
    size: Annotated[int, typer.Option(help="Side of the tiles that are to be cut, pixels.")] = 224,
    as_json: AsJson = False,
):
    """Read every image and mask of a folder, name what does not match; exit 1 where something does not."""
    from arsetlib import tiles

    known = tiles.Classes.load(classes) if classes else None
    report = tiles.check(folder, layout, known, size, progress=not as_json)
    show(report.as_dict(), as_json, str(report))
    if not report.ok:
        raise typer.Exit(1)


segments = typer.Typer(
    help="Case study A: map drone captures with a segmentation model and count their trees.", no_args_is_help=True
)
app.add_typer(segments, name="segment")


@segments.command("train", epilog="Example: arset segment train data/grove runs/unet --slim --by flight --epochs 24")
def segment_train(
    data: Annotated[Path, typer.Argument(help="Folder of captures with masks, see arset tiles check.")],
    out: Annotated[Path, typer.Argument(help="Folder of the run; the same command goes on where a run stopped.")],
    architecture: Annotated[str, typer.Option(help="unet, fcn8, segnet or pspnet.")] = "unet",
    encoder: Annotated[str, typer.Option(help="mobilenet, vgg16 or resnet50.")] = "mobilenet",
    slim: Annotated[bool, typer.Option("--slim", help="A thin U-Net or SegNet: minutes on two cores.")] = False,
    weights: Annotated[str | None, typer.Option(help="Of the encoder: imagenet, or a file.")] = None,
    size: Annotated[int, typer.Option(help="Side of the model's tiles, px; a multiple of 32.")] = 224,
    grid: Annotated[str, typer.Option(help="Tiles down x across that a capture is cut into.")] = "5x7",
    by: Annotated[
        str, typer.Option(help="Split by capture, or by flight so that no ground is on two sides.")
    ] = "capture",
    epochs: Annotated[int, typer.Option(help="At most.")] = 40,
    batch: Annotated[int, typer.Option(help="Tiles a step.")] = 8,
    optimizer: Annotated[str, typer.Option(help="adam, or adadelta as in the thesis.")] = "adam",
    learning_rate: Annotated[float | None, typer.Option(help="Else 0.001, with --slim 0.003, with adadelta 1.")] = None,
    loss: Annotated[str, typer.Option(help="crossentropy, dice or focal.")] = "crossentropy",
    balance: Annotated[bool, typer.Option("--balance", help="Let each class count the same.")] = False,
    seed: Annotated[int, typer.Option(help="Of split, weights and order.")] = 0,
    as_json: AsJson = False,
):
    """Train a segmentation model and score it on the captures it has not seen."""
    from arsetlib import segment
    from arsetlib.models import segmentation

    if slim and (encoder != "mobilenet" or architecture not in ("unet", "segnet")):
        raise segment.SegmentError("--slim is for unet or segnet on mobilenet.")
    if slim and optimizer == "adam":
        learning_rate = learning_rate or 3e-3
    found = segment.train_folder(
        data, out, architecture, encoder=encoder, weights=weights, size=size, grid=grid, by=by, epochs=epochs,
        batch=batch, optimizer=optimizer, loss=loss, class_weights="balanced" if balance else None, seed=seed,
        learning_rate=learning_rate, options=segmentation.SLIM if slim else None,
        progress=not as_json,
    )  # fmt: skip
    row = found.scores.table(architecture).iloc[0].to_dict() if found.scores else {}
    report = {"model": str(out / "model"), "best_epoch": found.segmenter.notes["best_epoch"], "test": row}
    report |= {"verdict": found.segmenter.notes["verdict"], "simulated": found.segmenter.notes["simulated"]}
    lines = [f"Model in {out / 'model'}, best epoch {report['best_epoch']}, the thesis's verdict: {report['verdict']}"]
    lines += [f"  {name.replace('_', ' ')}: {value:.3f}" for name, value in row.items()]
    show(report, as_json, "\n".join(lines))


@segments.command("predict", epilog="Example: arset segment predict runs/unet data/grove maps/grove")
def segment_predict(
    model: Annotated[Path, typer.Argument(help="Folder of a run of arset segment train.")],
    captures: Annotated[Path, typer.Argument(help="An image, or a folder of images.")],
    out: Annotated[Path, typer.Argument(help="Folder of the maps; finished ones are kept.")],
    overlap: Annotated[float, typer.Option(help="Share of a tile that the next repeats, 0 to 0.9.")] = 0.25,
    as_json: AsJson = False,
):
    """Map whole captures: one class PNG each, at the capture's own size."""
    from arsetlib import segment

    paths = segment.predict(model, captures, out, overlap=overlap, progress=not as_json)
    show({"maps": [str(path) for path in paths]}, as_json, f"{len(paths)} maps in {out}")


@segments.command("count", epilog="Example: arset segment count maps/grove --flight data/grove/flight.json")
def segment_count(
    masks: Annotated[Path, typer.Argument(help="A map, or a folder of maps.")],
    flight: Annotated[Path | None, typer.Option(help="flight.json: where the captures lie; each tree once.")] = None,
    truth: Annotated[Path | None, typer.Option(help="trees.geojson of the true trees, to score against.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write the trees: .geojson or .csv.")] = None,
    radius: Annotated[float, typer.Option(help="Of the smallest crown that counts, m.")] = 0.5,
    metres_per_pixel: Annotated[float | None, typer.Option(help="Where there is no flight.")] = None,
    as_json: AsJson = False,
):
    """Count the trees of maps, their crowns and the canopy cover."""
    from arsetlib import segment

    if out is not None and out.suffix not in (".geojson", ".csv"):
        raise segment.SegmentError(f"Expected --out with the ending .geojson or .csv, received {out.name!r}.")
    if flight is None and metres_per_pixel is None:
        raise segment.SegmentError("Expected --flight, or --metres-per-pixel for captures that do not overlap.")
    found = segment.count(masks, flight=flight, metres_per_pixel=metres_per_pixel, radius=radius, progress=not as_json)
    report = found.summary() | ({"score": found.score(truth)} if truth else {})
    if out is not None:
        report["saved"] = str(found.geojson(out) if out.suffix == ".geojson" else found.csv(out))
    says = "SIMULATED: " if found.simulated else ""
    lines = [
        f"{says}{len(found)} trees on {found.area_ha:.2f} ha, {found.trees_per_ha:.0f} a hectare, "
        f"crowns cover {found.cover:.1%} ({found.canopy_m2_per_ha:,.0f} m² a hectare)"
    ]
    if truth:
        score = report["score"]
        lines.append(
            f"Against {score['truth']} true trees: count error {score['count_error']:+.1%}, "
            f"precision {score['precision']:.3f}, recall {score['recall']:.3f}"
        )
    show(report, as_json, "\n".join(lines))


@app.command(
    epilog="Example: arset evaluate runs/tempcnn data/pixels --study data/delta/study.toml --out runs/tempcnn/test"
)
def evaluate(
    model: Annotated[Path, typer.Argument(help="Folder of a trained model, or of its run.")],
    table: Table,
    out: Annotated[Path, typer.Option(help="Folder for predictions and scores.")],
    study: Annotated[str | None, typer.Option(help="Study whose split names the side; --side all needs none.")] = None,
    side: Annotated[str, typer.Option(help="train, validation, test, or all: every row of the table.")] = "test",
    start: Annotated[list[int] | None, typer.Option(help="Day of the year on which windows start; repeat.")] = None,
    held_out: Annotated[list[str] | None, typer.Option(help="Area that is all test, as in training; repeat.")] = None,
    f1: Annotated[float, typer.Option(help="F1 from which a crop counts as known.")] = 0.8,
    seed: Annotated[int, typer.Option(help="Of the draws for intervals.")] = 0,
    as_json: AsJson = False,
):
    """Predict a side of the table for several dates, save what was said, and print the scores."""
    from arsetlib import evaluation, models, samples
    from arsetlib.training.run import digest

    known = load(study, None) if study else None
    trained = models.load(model_folder(model), known)
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
        words = "the model was trained on other rows than this split's; if on some of this table, the score may flatter"
        typer.echo(f"arset: note: {words}. Give --study and --held-out as in training.", err=True)
    season = trained.study.season
    starts = start or sorted({*range(season.first_day, season.last_day + 1, 30), season.last_day})
    done = evaluation.evaluated(trained, sides[side], starts, side=side, progress=not as_json)
    done.save(out)
    facts = evaluation.Facts.of(done.predictions, training=done.training, f1=f1, seed=seed)
    report = {"folder": str(out), "model": done.name, "side": side, "simulated": done.predictions.simulated}
    kind = "SIMULATED: " if done.predictions.simulated else ""
    show(
        report | facts.as_dict(),
        as_json,
        f"{kind}{done.name}, {side}\n{facts}\n\nSaved in {out}. Next: arset report {out}",
    )


@app.command(epilog="Example: arset report runs/tempcnn/test runs/random_forest/test --out report.html")
def report(
    folders: Annotated[list[Path], typer.Argument(help="What `arset evaluate` saved, of one model or several.")],
    out: Annotated[Path | None, typer.Option(help="The page, .html, or a folder; else beside the first.")] = None,
    title: Annotated[str | None, typer.Option(help="Of the page.")] = None,
    f1: Annotated[float, typer.Option(help="F1 from which a crop counts as known.")] = 0.8,
    seed: Annotated[int, typer.Option(help="Of the draws for intervals.")] = 0,
    as_json: AsJson = False,
):
    """Write one HTML page and a JSON file from saved predictions; several models are compared."""
    from arsetlib import evaluation

    beside = folders[0].parent if folders[0].is_file() else folders[0]
    made = evaluation.report_of(folders, out or beside, title=title, f1=f1, seed=seed)
    show({"html": str(made.html), "json": str(made.json)}, as_json, f"{made.html}\n{made.json}")


@app.command(epilog="Example: arset train data/pixels data/delta/study.toml --model tempcnn --out runs/tempcnn")
def train(
    table: Table,
    study: StudyName,
    out: Annotated[Path, typer.Option(help="Folder of the run; the same call goes on with a run that was stopped.")],
    model: Annotated[str | None, typer.Option(help="Name of the model, see models.names(); else tempcnn.")] = None,
    start_from: Annotated[Path | None, typer.Option("--from", help="Fine-tune this run's model.")] = None,
    epochs: Annotated[int | None, typer.Option(help="At most so many; 40, or 4 for a baseline.")] = None,
    batch: Annotated[int | None, typer.Option(help="Samples a step; 256, or 32 with --from.")] = None,
    patience: Annotated[int | None, typer.Option(help="Stop after so many epochs without improvement.")] = None,
    rate: Annotated[float | None, typer.Option(help="Learning rate; 0.001, or 0.0003 with --from.")] = None,
    loss: Annotated[str, typer.Option(help="crossentropy or focal.")] = "crossentropy",
    balance: Annotated[bool, typer.Option("--balance", help="Classes count the same in sum.")] = False,
    freeze: Annotated[bool, typer.Option("--freeze", help="With --from: train the last layer only.")] = False,
    held_out: Annotated[list[str] | None, typer.Option(help="Area that is all test; repeat.")] = None,
    allow: Annotated[bool, typer.Option("--allow-missing", help="Allow a class without training samples.")] = False,
    seed: Annotated[int, typer.Option(help="Same seed, same weights.")] = 0,
    as_json: AsJson = False,
):
    """Train a model on the study's split, or go on training one on new labels."""
    from arsetlib import models, samples, training

    if start_from is not None and model is not None:
        raise training.TrainingError(f"--from goes on with its own network, so leave out --model {model}, or --from.")
    loaded = load(study, None)
    sides = samples.split(table, loaded, held_out=held_out or ())
    given = {"epochs": epochs, "batch": batch, "patience": patience, "learning_rate": rate}
    options = {name: value for name, value in given.items() if value is not None}
    options |= {"folder": out, "loss": loss, "balance": balance, "seed": seed, "progress": not as_json}
    options |= {"missing": "allow"} if allow else {}
    if start_from is None:
        if freeze:
            raise training.TrainingError("--freeze keeps what a model has learned; name the model with --from.")
        trained = training.fit(model or "tempcnn", sides, loaded, **options)
    else:
        before = models.load(model_folder(start_from))
        trained = training.fine_tune(before, sides, loaded, freeze="body" if freeze else None, **options)
    at = trained.notes["best_epoch"] - 1
    best = {n: v[min(at, len(v) - 1)] for n, v in trained.history.items() if n.startswith("val_")}
    report = {"folder": str(out), "model": str(out / "model"), "name": trained.name, "best": best}
    report |= {"best_epoch": at + 1, "notes": trained.notes}
    words = f"{trained.name} in {out}: epoch {at + 1} is kept, " + ", ".join(f"{n} {v:.3f}" for n, v in best.items())
    show(report, as_json, f"{words}. Curves: tensorboard --logdir {out}")


@app.command(epilog="Example: arset doctor")
def doctor(as_json: AsJson = False):
    """What is installed here, what is missing, and the command that mends it."""
    from arsetlib import check_env

    report = check_env()
    show(report.as_dict(), as_json, str(report))
    if not report.ok:
        raise typer.Exit(1)


def load(study: str, years: list[int] | None):
    """The study, for some of its years only where the caller names them."""
    from arsetlib.study import Study, StudyError

    loaded = Study.load(study)
    if study == "sample":
        loaded = loaded.at("data/delta")
    for year in years or ():
        if year not in loaded.years:
            raise StudyError(f"Study {loaded.key!r} has no year {year}. It has: {', '.join(map(str, loaded.years))}.")
    return loaded.replace(years=tuple(sorted(set(years)))) if years else loaded


def model_folder(folder: Path) -> Path:
    """The model within a run's folder, or the folder itself."""
    return folder / "model" if (folder / "model" / "card.json").is_file() else folder


def store(cache: Path, study) -> Path:
    """Folder of a study's item list; each choice of years has its own."""
    return cache / study.key / "-".join(map(str, study.years))


def show(report: dict | list, as_json: bool, words: str) -> None:
    typer.echo(json.dumps(report, indent=1, default=str) if as_json else words)


def main() -> None:
    """Run ``arset``; a problem of ours is one message and exit code 1, never a traceback."""
    try:
        app()
    except (ValueError, RuntimeError, OSError) as problem:
        # PySpark's own are those of starting it: no such master, no server at that address.
        if not type(problem).__module__.startswith(("arsetlib", "pyspark")) and not isinstance(problem, OSError):
            raise
        typer.echo(f"arset: {problem}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        typer.echo("arset: stopped; what was finished is kept, run the same command to go on.", err=True)
        sys.exit(130)
