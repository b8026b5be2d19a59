"""Commands of case study B: simulate field images, convert, train, evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from arsetlib.cli.arguments import AsJson, show

app = typer.Typer()


@app.command(epilog="Example: arset simulate-fields data/fields --fields 60 --chips 4 --size 128")
def simulate_fields(
    out: Annotated[Path, typer.Argument(help="Folder to write the simulated images and masks into.")],
    seed: Annotated[int, typer.Option(help="Same seed, same bytes.")] = 1,
    fields: Annotated[int, typer.Option(help="How many fields; with 30 each anomaly is on three at least.")] = 60,
    chips: Annotated[int, typer.Option(help="Images of each field.")] = 4,
    size: Annotated[int, typer.Option(help="Side of an image, pixels.")] = 512,
    jobs: Annotated[int | None, typer.Option(help="Processes; by default one per core.")] = None,
    as_json: AsJson = False,
):
    """Make simulated field images with nine anomalies, in the layout of Agriculture-Vision."""
    from arsetlib import simulate as simulation

    path = simulation.fields(out, seed=seed, fields=fields, chips=chips, size=size, jobs=jobs, progress=not as_json)
    report = {"folder": str(path), "fields": fields, "images": fields * chips, "simulated": True}
    show(report, as_json, f"{fields * chips:,} simulated images of {fields:,} fields in {path}.")
