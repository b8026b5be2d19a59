"""Commands of parts 1 and 2: simulate, find, ingest, look, check."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from arsetlib.cli.arguments import (
    AsJson,
    Cache,
    LeaveOut,
    Place,
    StudyName,
    Table,
    Years,
    find,
    ids_of,
    load,
    place_argument,
    show,
    show_check,
)
from arsetlib.translation import N_, _, ngettext
from arsetlib.wording import column

app = typer.Typer()


@app.command(epilog="Example: arset simulate data/delta --scale 0.1")
def simulate(
    out: Annotated[Place, place_argument(help="Folder to write the simulated scenes and labels into.")],
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 1,
    scale: Annotated[float, typer.Option(help="Area relative to the default; 20 gives more than 5 GB.")] = 1.0,
    year: Years = None,
    as_json: AsJson = False,
):
    """Make the simulated delta: scenes, labels and a study file in the layouts of the real services."""
    from arsetlib import simulate as simulation

    path = simulation.delta(out, seed=seed, scale=scale, years=tuple(year or (2019, 2020, 2021)), progress=not as_json)
    report = {"folder": str(path), "study": str(path / "study.toml"), "simulated": True}
    words = _("Simulated delta in {path}. Next: {command}")
    show(report, as_json, words.format(path=path, command=f"arset ingest {path / 'study.toml'} data/pixels"))


@app.command(epilog="Example: arset scenes data/delta/study.toml --year 2021")
def scenes(
    study: StudyName,
    year: Years = None,
    leave_out: LeaveOut = None,
    cache: Cache = Path("data"),
    as_json: AsJson = False,
):
    """Find the scenes of a study and save the item list."""
    loaded = load(study, year)
    found, folder = find(loaded, cache, ids_of(leave_out), not as_json)
    days = {y: loaded.season.days(y) for y in loaded.years}
    per_year = {y: sum(1 for s in found if first <= s.day <= last) for y, (first, last) in days.items()}
    report = {"scenes": len(found), "per_year": per_year, "dropped": found.dropped, "notes": found.notes}
    report["saved"] = str(folder)
    words = ngettext("{n} scene for {study}", "{n} scenes for {study}", len(found))
    lines = [words.format(n=len(found), study=loaded.title())]
    lines += [f"  {y}: {n}" for y, n in per_year.items()]
    lines += [f"  {_('dropped')}, {column(reason)}: {n}" for reason, n in found.dropped.items()]
    show(report, as_json, "\n".join(lines))


@app.command(epilog="Example: arset ingest data/delta/study.toml data/pixels --every 1")
def ingest(
    study: StudyName,
    out: Annotated[Place, place_argument(help="Folder of the table to make.")],
    year: Years = None,
    every: Annotated[int | None, typer.Option(help="Take every n-th label pixel along x and y.")] = None,
    per_class: Annotated[
        int | None, typer.Option(help="Take this many pixels of each class per area and year.")
    ] = None,
    leave_out: LeaveOut = None,
    max_bad_share: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Share of the scenes, 0-1, that may be unusable; they are left out and listed."
        ),
    ] = None,
    cache: Cache = Path("data"),
    master: Annotated[
        str, typer.Option(help="Where Spark runs; 'none' uses this process, without Spark.")
    ] = "local[*]",
    remote: Annotated[str | None, typer.Option(help="Spark Connect address, e.g. sc://host:15002.")] = None,
    as_json: AsJson = False,
):
    """Build the pixel table of a study. After a failure, run it again: finished chunks are kept."""
    from arsetlib import engine
    from arsetlib.ingest import ingest as build
    from arsetlib.ingest.run import refuse_occupied
    from arsetlib.labels import find_labels

    loaded = load(study, year)
    refuse_occupied(out)
    if max_bad_share is not None:
        loaded = loaded.replace(scenes=replace(loaded.scenes, max_bad_share=max_bad_share))
    found, folder = find(loaded, cache, ids_of(leave_out), not as_json)
    labels = {y: find_labels(loaded, y, folder.parent / "labels", not as_json) for y in loaded.years}
    spark = None if master == "none" and not remote else engine.session(master, remote)
    summary = build(loaded, found, labels, out, spark=spark, every=every, per_class=per_class, progress=not as_json)
    show(vars(summary), as_json, str(summary))


@app.command(epilog="Example: arset describe data/pixels")
def describe(
    table: Table,
    cost: Annotated[bool, typer.Option("--cost", help="Show what it costs to keep and read it in S3.")] = False,
    as_json: AsJson = False,
):
    """Show what is in a pixel table: rows, years, labels, images per series, band statistics."""
    from arsetlib import pixels

    if cost:
        found = pixels.cost(table)
        return show(found, as_json, pixels.format_cost(found))
    summary = pixels.summary(table)
    show(summary, as_json, pixels.format_summary(summary))


@app.command(epilog="Example: arset export data/pixels data/pixels-delta --to delta")
def export(
    table: Table,
    out: Annotated[Place, place_argument(help="New folder; for GeoParquet a new file.")],
    to: Annotated[str, typer.Option(help="delta, iceberg or geoparquet.")],
    as_json: AsJson = False,
):
    """Write a pixel table as a Delta table, an Iceberg table or a GeoParquet file."""
    from arsetlib import pixels

    rows = pixels.export(table, out, to)
    show(
        {"rows": rows, "to": to, "out": str(out)},
        as_json,
        _("{rows} rows in {out} ({to})").format(rows=f"{rows:,}", out=out, to=to),
    )


@app.command(epilog="Example: arset check data/pixels || echo 'do not train on this'")
def check(table: Table, as_json: AsJson = False):
    """Check every row of a pixel table against the rules; exit code 1 if one is broken."""
    from arsetlib import pixels

    show_check(pixels.check(table), as_json)


@app.command(epilog="Example: arset batches data/pixels data/delta/study.toml --side test --start 120 --show")
def batches(
    table: Table,
    study: StudyName,
    side: Annotated[str, typer.Option(help="Side of the study's split: train, validation or test.")] = "train",
    start: Annotated[str, typer.Option(help="'random', or the day of the year on which windows start.")] = "random",
    batch: Annotated[int, typer.Option(help="Samples per batch.")] = 1024,
    seed: Annotated[int, typer.Option(help="The same seed gives the same batches.")] = 0,
    look: Annotated[bool, typer.Option("--show", help="Make one epoch and describe it.")] = False,
    as_json: AsJson = False,
):
    """Count the samples of one side of the split; --show describes the batches that a model would get."""
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
        show(report, as_json, "\n".join(f"{column(noun)}: {n:,}" for noun, n in report.items()))


@app.command(epilog="Example: arset doctor")
def doctor(as_json: AsJson = False):
    """Show what is installed here, what is missing, and the command that fixes it."""
    from arsetlib import check_env, copies, doctor, variables

    report, size = check_env(), copies.cache_size()
    if size:
        words = _("{size} GiB in {folder}; `arset cache --empty` deletes them")
        words = words.format(size=f"{size / doctor.GIB:.1f}", folder=variables.cache_folder())
        found = doctor.Finding(N_("copies of files in stores"), "ok", words)
        report = replace(report, findings=(*report.findings, found))
    show_check(report, as_json)


@app.command(epilog="Example: arset cache --empty")
def cache(
    empty: Annotated[
        bool, typer.Option("--empty", help="Delete the copies. They are fetched again when needed.")
    ] = False,
    as_json: AsJson = False,
):
    """Show how large the copies of files in object stores are; --empty deletes them."""
    from arsetlib import copies, variables

    deleted = copies.empty_cache() if empty else 0
    report = {"folder": str(variables.cache_folder()), "bytes": copies.cache_size(), "deleted": deleted}
    words = _("{size} MB in {folder}").format(size=f"{report['bytes'] / 1e6:,.1f}", folder=report["folder"])
    gone = _("{size} MB deleted").format(size=f"{deleted / 1e6:,.1f}")
    show(report, as_json, f"{words}; {gone}" if empty else words)
