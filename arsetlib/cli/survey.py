"""Commands of a map's check on the ground: draw a sample, estimate areas from its labels."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from arsetlib import folders
from arsetlib.cli.arguments import AsJson, Cache, Place, find, load, place, place_argument, place_option, show
from arsetlib.translation import _

app = typer.Typer()

MapPlace = Annotated[Place, place_argument(help="Class map: the .json or _class.tif of a prediction, or codes.")]
MapStudy = Annotated[str | None, typer.Option(help="Study whose legend names the codes of the map.")]


@app.command(epilog="Example: arset sample maps/dense_2019_120.json --size 500 --least 50 --seed 1 --out visit")
def sample(
    path: MapPlace,
    out: Annotated[
        Place | None, place_option(help="New folder of the sample; without it only the plan is shown.")
    ] = None,
    size: Annotated[int | None, typer.Option(help="How many pixels to draw.")] = None,
    half_width: Annotated[
        float | None, typer.Option(help="Draw as many as give --target an interval of ± so many hectares.")
    ] = None,
    target: Annotated[str | None, typer.Option(help="Class whose area is wanted most exactly.")] = None,
    allocation: Annotated[str, typer.Option(help="proportional, equal, neyman, or random: without strata.")] = (
        "proportional"
    ),
    least: Annotated[int, typer.Option(help="Pixels of each class at least.")] = 50,
    users: Annotated[
        list[str] | None, typer.Option(help="User's accuracy to expect: 0.85, or corn=0.9; repeat for each class.")
    ] = None,
    study: MapStudy = None,
    seed: Annotated[int, typer.Option(help="Same seed, same pixels.")] = 0,
    as_json: AsJson = False,
):
    """Draw a random sample of a map's pixels to label: CSV and GeoPackage to fill in, with inclusion probabilities."""
    from arsetlib import maps
    from arsetlib.evaluation.facts import plain

    here = maps.ClassMap.open(path, load(study, None) if study else None)
    options = {"allocation": allocation, "least": least, "users": _accuracies(users)}
    plan = maps.plan_sample(here, size, target=target, half_width=half_width, **options)
    report = {"simulated": here.simulated, "samples": plan.size, "allocation": plan.allocation}
    report |= {"strata": plain(plan.table), "files": []}
    lines = [str(plan), ""]
    if out is None:
        lines.append(_("Nothing was drawn. Name a folder to draw this sample: {command}").format(command="--out visit"))
    else:
        files = maps.draw_sample(here, plan, seed).save(out)
        report["files"] = [str(file) for file in files]
        lines.append(_("Drawn into {out}: {files}").format(out=out, files=", ".join(file.name for file in files)))
        if not any(file.name.endswith(".gpkg") for file in files):
            lines.append(_("There is no GeoPackage, because the package pyogrio is not installed."))
        lines.append(_("Fill in `label`, then: {command}").format(command=f"arset areas {out} {path}"))
    show(report, as_json, (_("SIMULATED") + ": " if here.simulated else "") + "\n".join(lines))


@app.command(epilog="Example: arset label visit data/pixels --year 2019 --out visit/label.html")
def label(
    drawn: Annotated[Place, place_argument(help="Folder of a sample that `arset sample` drew.")],
    source: Annotated[str, typer.Argument(help="A pixel table, or a study whose scenes are read.")],
    year: Annotated[int, typer.Option(help="Year of the images.")],
    out: Annotated[Place, place_option(help="The page to write, .html.")],
    dates: Annotated[int, typer.Option(min=1, max=60, help="Images of each point at most.")] = 12,
    cache: Cache = Path("data"),
    as_json: AsJson = False,
):
    """Write a page on which a person labels the points of a sample beside images and series; it needs no network."""
    from arsetlib import figures, maps
    from arsetlib.figures.labelling import new_page

    out = new_page(out)  # refused before scenes are read
    sample = maps.MapSample.load(drawn)
    sample.legend  # noqa: B018 - the same, where there is none
    there = place(source).exists()
    if not there and Path(source).parent != Path():  # names of shipped studies are no paths
        raise maps.MapError(f"There is no pixel table and no study file at {source}. `arset ingest` makes a table.")
    if not there or source.endswith(".toml"):
        study = load(source, [year])
        scenes = find(study, cache, progress=not as_json)[0]
        side = math.sqrt(sample.design["pixel_hectares"] * 10_000)
        options = {"crs": sample.design["crs"], "pixel": side, "dates": dates, "progress": not as_json}
        views = maps.views_of_scenes(scenes, study, sample.table, year=year, **options)
    else:
        views = maps.views_of_table(source, sample.table, year=year, dates=dates)
    page = figures.labelling_page(sample, views, out)
    without = [int(i) for i, found in zip(sample.table["id"], views.series, strict=True) if not len(found)]
    report = {"page": str(page), "points": len(sample.table), "without_series": without}
    lines = [_("Page of {n} points: {page}. Open it in a browser.").format(n=f"{len(sample.table):,}", page=page)]
    if without:
        lines.append(_("No series for {n} points: {ids}").format(n=len(without), ids=", ".join(map(str, without))))
    lines.append(_("Then: {command}").format(command="arset areas sample.csv MAP"))
    show(report, as_json, "\n".join(lines))


@app.command(epilog="Example: arset areas visit maps/dense_2019_120.json --out areas.csv")
def areas(
    labelled: Annotated[Place, place_argument(help="Folder of a sample that was filled in, or its .csv or .gpkg.")],
    path: MapPlace,
    out: Annotated[Place | None, place_option(help="Write the table too, .csv.")] = None,
    confidence: Annotated[float, typer.Option(min=0.5, max=0.999, help="Of the intervals.")] = 0.95,
    study: MapStudy = None,
    as_json: AsJson = False,
):
    """Estimate the area of each class, with standard errors and intervals, and accuracies, from a labelled sample."""
    from arsetlib import maps

    if out is not None and out.suffix != ".csv":
        raise maps.MapError(f"Expected --out with the ending .csv, received {out.name!r}.")
    if out is not None and out.exists():
        raise maps.MapError(f"{out} exists, perhaps with labels in it. Name another file, or delete it first.")
    here = maps.ClassMap.open(path, load(study, None) if study else None)
    found = maps.sample_areas(maps.MapSample.load(labelled), here, confidence)
    lines = [str(found)]
    report = found.as_dict()
    if out is not None:
        table = found.areas.table
        if found.powered is not None:
            table = table.join(found.powered.add_prefix("powered_"))
        folders.put(out, table.to_csv(index_label="class", lineterminator="\n"))
        report["saved"] = str(out)
        lines.append(_("Saved in {out}.").format(out=out))
    show(report, as_json, "\n".join(lines))


def _accuracies(options: list[str] | None) -> float | dict[str, float] | None:
    """What ``--users`` says: one number for all classes, or one a class."""
    from arsetlib import maps

    if not options:
        return None
    pairs = [text.rpartition("=") for text in options]
    try:
        found = {key.strip(): float(value) for key, _sign, value in pairs}
    except ValueError:
        found = {}
    if len(found) != len(options) or ("" in found and len(found) > 1):
        raise maps.MapError(
            f"Expected --users 0.85, or --users corn=0.9 for each class, received {', '.join(options)}."
        )
    return found.get("", found)
