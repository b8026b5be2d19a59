"""Commands of case study B: simulate field images, convert, train, evaluate."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer

from arsetlib.cli.arguments import AsJson, Place, place_argument, show, show_check
from arsetlib.cli.commands import Commands
from arsetlib.translation import _

app = typer.Typer()


@app.command(epilog="Example: arset simulate-fields data/fields --fields 60 --chips 4 --size 128")
def simulate_fields(
    out: Annotated[Place, place_argument(help="Folder to write the simulated images and masks into.")],
    seed: Annotated[int, typer.Option(help="Same seed, same bytes.")] = 1,
    fields: Annotated[int, typer.Option(help="How many fields; with 30, each anomaly is on at least three.")] = 60,
    chips: Annotated[int, typer.Option(help="Images of each field.")] = 4,
    size: Annotated[int, typer.Option(help="Side of an image, pixels.")] = 512,
    jobs: Annotated[int | None, typer.Option(help="Processes; by default one per core.")] = None,
    as_json: AsJson = False,
):
    """Make simulated field images with nine anomalies, in the layout of Agriculture-Vision."""
    from arsetlib import simulate as simulation

    path = simulation.fields(out, seed=seed, fields=fields, chips=chips, size=size, jobs=jobs, progress=not as_json)
    report = {"folder": str(path), "fields": fields, "images": fields * chips, "simulated": True}
    text = _("{images} simulated images of {fields} fields in {path}. Next: {command}")
    command = f"arset fields check {path}"
    text = text.format(images=f"{fields * chips:,}", fields=f"{fields:,}", path=path, command=command)
    show(report, as_json, text)


group = typer.Typer(
    cls=Commands,
    help="Case study B: convert field images, train a classifier on them and score it.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(group, name="fields")


@group.command("check", epilog="Example: arset fields check data/fields")
def fields_check(
    folder: Annotated[Place, place_argument(help="Images in the layout of Agriculture-Vision.")],
    as_json: AsJson = False,
):
    """Read every image and mask of a folder and list all problems; exit 1 if there is one."""
    from arsetlib import fields

    show_check(fields.check(folder, progress=not as_json), as_json)


@group.command("convert", epilog="Example: arset fields convert data/fields data/shards --form tfrecord")
def fields_convert(
    folder: Annotated[Place, place_argument(help="Images in the layout of Agriculture-Vision.")],
    out: Annotated[Place, place_argument(help="Folder for train, validation and test; finished files are kept.")],
    form: Annotated[str, typer.Option(help="tfrecord, parquet or directory.")] = "tfrecord",
    shard_mb: Annotated[float, typer.Option(help="Approximate size of a file, MB.")] = 32,
    size: Annotated[
        int | None, typer.Option(help="Reduce images to this side, px; by default they stay as they are.")
    ] = None,
    encoding: Annotated[str, typer.Option(help="jpeg, or raw: needs no decoding, but more disk space.")] = "jpeg",
    seed: Annotated[int, typer.Option(help="Of the split by field.")] = 0,
    jobs: Annotated[int | None, typer.Option(help="Threads; by default one per core.")] = None,
    as_json: AsJson = False,
):
    """Split field images by field and store each side in few large files, or as a directory tree."""
    from arsetlib.fields import runs, stored

    paths = runs.convert_sides(
        folder, out, seed=seed, form=form, shard_mb=shard_mb, size=size, encoding=encoding, jobs=jobs,
        progress=not as_json,
    )  # fmt: skip
    sides = {side: stored.load(path) for side, path in paths.items()}
    report: dict[str, Any] = {
        "folder": str(out),
        "form": form,
        "simulated": any(images.simulated for images in sides.values()),
        "images": {side: len(images) for side, images in sides.items()},
        "bytes": {side: sum(shard.bytes for shard in images.shards) for side, images in sides.items()},
    }
    text = ", ".join(
        f"{_(side)}: {n:,} {_('images')} ({report['bytes'][side] / 1e6:,.1f} MB)"
        for side, n in report["images"].items()
    )
    saved = _("Saved in {out}. Next: {command}").format(out=out, command=f"arset fields train {out} runs/small")
    show(report, as_json, f"{text}. {saved}")


@group.command("train", epilog="Example: arset fields train data/shards runs/small --size 128 --epochs 12")
def fields_train(
    context: typer.Context,
    data: Annotated[Place, place_argument(help="What arset fields convert made, or images as they are.")],
    out: Annotated[Place, place_argument(help="Folder of the training; the same command continues a stopped one.")],
    model: Annotated[
        str, typer.Option(help="small, nasnetlarge, nasnetmobile, resnet50, mobilenetv3 or efficientnetv2b0.")
    ] = "small",
    size: Annotated[int, typer.Option(help="Side of the images as the model gets them, px.")] = 224,
    kind: Annotated[str, typer.Option(help="multi: several anomalies an image; single: exactly one.")] = "multi",
    weights: Annotated[str | None, typer.Option(help="Of the backbone: imagenet, or a file.")] = None,
    epochs: Annotated[int, typer.Option(help="Largest number of epochs.")] = 20,
    freeze: Annotated[int, typer.Option(help="Epochs that train the head alone, before fine-tuning.")] = 0,
    batch: Annotated[int, typer.Option(help="Images in a step, over all devices and workers.")] = 32,
    patience: Annotated[int, typer.Option(help="Epochs without improvement after which training stops.")] = 6,
    learning_rate: Annotated[float, typer.Option(help="Of the first step.")] = 1e-3,
    balance: Annotated[bool, typer.Option("--balance", help="Give rare anomalies more weight.")] = False,
    cache: Annotated[bool, typer.Option("--cache", help="Keep decoded pixels in memory.")] = False,
    mirrored: Annotated[bool, typer.Option("--mirrored", help="Use all GPUs of this machine.")] = False,
    workers: Annotated[int, typer.Option(help="Processes on this machine that share each batch.")] = 1,
    seed: Annotated[int, typer.Option(help="Of split, weights, order and changes.")] = 0,
    as_json: AsJson = False,
):
    """Train an image classifier, keep the best epoch, and score it next to two baselines that use no neural network."""
    from arsetlib import fields
    from arsetlib.fields import runs
    from arsetlib.training import workers as processes

    together = "TF_CONFIG" in os.environ  # this process is one of several workers
    if mirrored and (together or workers > 1):
        raise fields.ImageError("--mirrored uses the GPUs of one process, --workers several processes. Give one.")
    sides = runs.sides_of(data, seed, progress=not as_json)
    if workers != 1 and not together:
        return processes.run(_again(context, ["fields", "train"], without="workers"), workers)
    trained = fields.fit(
        model, sides, folder=out, size=size, kind=kind, weights=weights, epochs=epochs, freeze=freeze, batch=batch,
        patience=patience, learning_rate=learning_rate, balance=balance,
        cache=cache, strategy="workers" if together else "mirrored" if mirrored else None, seed=seed,
        progress=not as_json,
    )  # fmt: skip
    if together and not processes.cluster().chief:
        return None
    report = {"model": str(out / "model"), "best_epoch": trained.notes["best_epoch"]}
    words = _("Model in {folder}, best epoch {epoch}").format(folder=out / "model", epoch=report["best_epoch"])
    if "test" in sides:
        return _scored(trained, sides, report, words, seed, as_json)
    return show(report, as_json, words)


@group.command("evaluate", epilog="Example: arset fields evaluate runs/small data/shards")
def fields_evaluate(
    model: Annotated[Place, place_argument(help="Folder of arset fields train.")],
    data: Annotated[Place, place_argument(help="The same images as in training; their test side is scored.")],
    seed: Annotated[int, typer.Option(help="Of the split, as in training.")] = 0,
    as_json: AsJson = False,
):
    """Score a trained classifier on the test images, next to two baselines that use no neural network."""
    from arsetlib import fields, models
    from arsetlib.fields import runs

    sides = runs.sides_of(data, seed, progress=not as_json)
    if "test" not in sides:
        raise fields.ImageError(f"{data} has no test side. It has: {', '.join(sides)}.")
    trained = models.load(model, kind="images")
    _scored(trained, sides, {"model": str(model)}, _("Model {folder}").format(folder=model), seed, as_json)


def _scored(trained, sides, report: dict, words: str, seed: int, as_json: bool) -> None:
    from arsetlib import fields

    scores = fields.evaluate(trained, sides["test"], train=sides["train"], seed=seed)
    table = scores.table()
    report |= {"simulated": scores.simulated, "test": table.to_dict("index"), "f1": dict(scores.model.by_class()["f1"])}
    show(report, as_json, f"{words}\n{scores}")


def _again(context: typer.Context, command: list[str], without: str) -> list[str]:
    """The command that this process was called with, without one of its options."""
    words = [sys.executable, "-c", "from arsetlib.cli import main; main()", *command]
    for parameter in context.command.params:
        value = context.params.get(parameter.name)
        if parameter.name == without or value is None or value is False or not hasattr(parameter, "opts"):
            continue
        if parameter.param_type_name == "argument":
            words.append(str(value))
        else:
            words += [parameter.opts[0]] if value is True else [f"{parameter.opts[0]}={value}"]
    return words
