"""Commands of case study A: simulate a grove, check captures and masks, train, predict, count."""

from __future__ import annotations

from typing import Annotated

import typer

from arsetlib.cli.arguments import AsJson, Place, place_argument, place_option, show, show_check
from arsetlib.cli.commands import Commands
from arsetlib.translation import _
from arsetlib.wording import column, word

app = typer.Typer()
group = typer.Typer(
    cls=Commands,
    help="Case study A: check drone captures and masks, map captures with a segmentation model and count their trees.",
    no_args_is_help=True,
)
app.add_typer(group, name="groves")


@app.command(epilog="Example: arset simulate-groves data/groves --captures 4 --width 1000 --height 750")
def simulate_groves(
    out: Annotated[Place, place_argument(help="Folder to write the simulated captures and masks into.")],
    seed: Annotated[int, typer.Option(help="Same seed, same bytes.")] = 1,
    captures: Annotated[int, typer.Option(help="Images of the flight; each overlaps the next by about 80 %.")] = 10,
    width: Annotated[int, typer.Option(help="Columns of a capture, pixels.")] = 3808,
    height: Annotated[int, typer.Option(help="Rows of a capture, pixels.")] = 2912,
    resolution: Annotated[float | None, typer.Option(help="Metres per pixel; by default 0.016 at full width.")] = None,
    jobs: Annotated[int | None, typer.Option(help="Processes; by default one per core.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make the simulated olive grove: drone images of one flight with exact masks of ground, tree and grass."""
    from arsetlib import simulate as simulation

    path = simulation.groves(
        out,
        seed=seed,
        captures=captures,
        size=(height, width),
        resolution=resolution,
        jobs=jobs,
        progress=not as_json,
    )
    report = {"folder": str(path), "captures": captures, "simulated": True}
    show(
        report,
        as_json,
        _("Simulated grove in {path}. Next: {command}").format(path=path, command=f"arset groves check {path}"),
    )


@group.command("check", epilog="Example: arset groves check data/groves --size 224")
def groves_check(
    folder: Annotated[Place, place_argument(help="Folder of images and masks.")],
    layout: Annotated[
        str,
        typer.Option(
            help="masks, beside, keras-segmentation, detectree, labelme, coco, voc, deepforest, or 'auto' to find out."
        ),
    ] = "auto",
    classes: Annotated[Place | None, place_option(help="A .toml file of classes; else classes.toml in FOLDER.")] = None,
    size: Annotated[int, typer.Option(help="Side of the tiles that are to be cut, pixels.")] = 224,
    as_json: AsJson = False,
) -> None:
    """Read every image and mask of a folder and name what does not match; exit code 1 if there is a problem.

    Notes name what is unusual: classes that never occur, masks with a large ignored share, boxes as ellipses.
    """
    from arsetlib import groves

    known = groves.Classes.load(classes) if classes else None
    show_check(groves.check(folder, layout, known, size, progress=not as_json), as_json)


@group.command("train", epilog="Example: arset groves train data/groves runs/unet --slim --by flight --epochs 24")
def groves_train(
    data: Annotated[Place, place_argument(help="Folder of captures with masks, see arset groves check.")],
    out: Annotated[Place, place_argument(help="Folder of the training; the same command continues a stopped one.")],
    architecture: Annotated[str, typer.Option(help="unet, fcn8, segnet or pspnet.")] = "unet",
    encoder: Annotated[str, typer.Option(help="mobilenet, vgg16 or resnet50.")] = "mobilenet",
    slim: Annotated[bool, typer.Option("--slim", help="A small U-Net or SegNet: minutes on two cores.")] = False,
    weights: Annotated[str | None, typer.Option(help="Of the encoder: imagenet, or a file.")] = None,
    size: Annotated[int, typer.Option(help="Side of the model's tiles, px; a multiple of 32.")] = 224,
    grid: Annotated[str, typer.Option(help="Tiles down x across that a capture is cut into.")] = "5x7",
    by: Annotated[
        str, typer.Option(help="Split by capture, or by flight so that no ground is on two sides.")
    ] = "capture",
    epochs: Annotated[int, typer.Option(help="Largest number of epochs.")] = 40,
    batch: Annotated[int, typer.Option(help="Tiles in a step.")] = 8,
    optimizer: Annotated[str, typer.Option(help="adam, or adadelta as in the thesis.")] = "adam",
    learning_rate: Annotated[float | None, typer.Option(help="Else 0.001, with --slim 0.003, with adadelta 1.")] = None,
    loss: Annotated[str, typer.Option(help="crossentropy, dice or focal.")] = "crossentropy",
    balance: Annotated[bool, typer.Option("--balance", help="Give all classes the same total weight.")] = False,
    seed: Annotated[int, typer.Option(help="Of split, weights and order.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Train a segmentation model and score it on captures that were not used for training."""
    from arsetlib import groves
    from arsetlib.models import segmentation

    if slim and (encoder != "mobilenet" or architecture not in ("unet", "segnet")):
        raise groves.GroveError("--slim is for unet or segnet on mobilenet.")
    if slim and optimizer == "adam":
        learning_rate = learning_rate or 3e-3
    trained = groves.train_folder(
        data, out, architecture, encoder=encoder, weights=weights, size=size, grid=grid, by=by, epochs=epochs,
        batch=batch, optimizer=optimizer, loss=loss, balance=balance, seed=seed,
        learning_rate=learning_rate, options=segmentation.SLIM if slim else None,
        progress=not as_json,
    )  # fmt: skip
    row = trained.scores.table(architecture).iloc[0].to_dict() if trained.scores else {}
    report = {"model": str(out / "model"), "best_epoch": trained.segmenter.notes["best_epoch"], "test": row}
    report |= {name: trained.segmenter.notes[name] for name in ("verdict", "simulated")}
    words = _("Model in {folder}, best epoch {epoch}, the thesis's verdict: {verdict}")
    lines = [words.format(folder=out / "model", epoch=report["best_epoch"], verdict=word(report["verdict"]))]
    lines += [f"  {column(name)}: {value:.3f}" for name, value in row.items()]
    show(report, as_json, "\n".join(lines))


@group.command("predict", epilog="Example: arset groves predict runs/unet data/groves maps/grove")
def groves_predict(
    model: Annotated[Place, place_argument(help="Folder of arset groves train.")],
    captures: Annotated[Place, place_argument(help="An image, or a folder of images.")],
    out: Annotated[Place, place_argument(help="Folder of the maps; finished ones are kept.")],
    overlap: Annotated[float, typer.Option(help="Share of a tile that the next repeats, 0 to 0.9.")] = 0.25,
    as_json: AsJson = False,
) -> None:
    """Map whole captures: one class PNG each, at the capture's own size."""
    from arsetlib import groves

    paths = groves.predict(model, captures, out, overlap=overlap, progress=not as_json)
    show({"maps": [str(path) for path in paths]}, as_json, _("{n} maps in {out}").format(n=len(paths), out=out))


@group.command("count", epilog="Example: arset groves count maps/grove --flight data/groves/flight.json")
def groves_count(
    masks: Annotated[Place, place_argument(help="A map, a folder of maps, or a folder of labelled captures.")],
    flight: Annotated[Place | None, place_option(help="flight.json: counts each tree once.")] = None,
    truth: Annotated[Place | None, place_option(help="trees.geojson of the true trees, to score against.")] = None,
    out: Annotated[Place | None, place_option(help="Write the trees: .geojson or .csv.")] = None,
    radius: Annotated[float, typer.Option(help="Of the smallest crown that counts, m.")] = 0.5,
    metres_per_pixel: Annotated[float | None, typer.Option(help="Where there is no flight.")] = None,
    tree: Annotated[str | None, typer.Option(help="Class of the trees, where it is not called tree.")] = None,
    as_json: AsJson = False,
) -> None:
    """Count the trees of maps, their crowns and the canopy cover."""
    from arsetlib import groves

    if out is not None and out.suffix not in (".geojson", ".csv"):
        raise groves.GroveError(f"Expected --out with the ending .geojson or .csv, received {out.name!r}.")
    if flight is None and metres_per_pixel is None:
        raise groves.GroveError("Expected --flight, or --metres-per-pixel for captures that do not overlap.")
    trees = groves.count(
        masks, flight=flight, metres_per_pixel=metres_per_pixel, tree=tree, radius=radius, progress=not as_json
    )
    report = trees.summary() | ({"score": trees.score(truth)} if truth else {})
    if out is not None:
        report["saved"] = str(trees.geojson(out) if out.suffix == ".geojson" else trees.csv(out))
    lines = [repr(trees)]
    if truth:
        score = report["score"]
        words = _("Against {n} true trees: count error {error}, precision {precision}, recall {recall}")
        lines.append(
            words.format(
                n=score["truth"],
                error=f"{score['count_error']:+.1%}",
                precision=f"{score['precision']:.3f}",
                recall=f"{score['recall']:.3f}",
            )
        )
    show(report, as_json, "\n".join(lines))
