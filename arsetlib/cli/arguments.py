"""What the commands share: arguments, and printing a result."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from arsetlib import copies, folders
from arsetlib.translation import N_

Place = Path  # or what stands for a path in an object store: both come from `folders.place`


def place_argument(help: str) -> Any:
    """An argument that names a file or a folder, on a disk or in an object store."""
    return typer.Argument(help=help, parser=place)


def place_option(*names: str, help: str) -> Any:
    """An option that names a file or a folder, on a disk or in an object store."""
    return typer.Option(*names, help=help, parser=place, metavar=N_("PLACE"))


def place(text: str | Path) -> Place:
    """What an argument names; typer's own paths would make ``s3:/bucket`` of ``s3://bucket``."""
    try:
        return folders.place(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


StudyName = Annotated[str, typer.Argument(help="A shipped study (sample, mississippi_delta, …) or a .toml file.")]
Table = Annotated[Place, place_argument(help="Folder of a pixel table, or one .parquet file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, without progress bars.")]
Years = Annotated[list[int] | None, typer.Option("--year", help="Only this year; repeat for more.")]
Cache = Annotated[Place, place_option(help="Folder for downloads: item list, labels.")]
LeaveOut = Annotated[
    list[str] | None,
    typer.Option("--leave-out", help="Ids of scenes to leave out, separated by commas; repeat for more."),
]


def load(study: str, years: list[int] | None):
    """The study; only some of its years if the caller names them."""
    from arsetlib.study import Study, StudyError

    loaded = Study.load(study)
    if study == "sample":
        loaded = loaded.at("data/delta")
    for year in years or ():
        if year not in loaded.years:
            raise StudyError(f"Study {loaded.key!r} has no year {year}. It has: {', '.join(map(str, loaded.years))}.")
    return loaded.replace(years=tuple(sorted(set(years)))) if years else loaded


def ids_of(options: list[str] | None) -> tuple[str, ...]:
    """Ids that an option names, repeated or separated by commas."""
    return tuple(part.strip() for option in options or () for part in option.split(",") if part.strip())


def find(study, cache: Place, leave_out: tuple[str, ...] = (), progress: bool = True):
    """The scenes of a study, and the folder of their item list.

    Each choice of years has a folder; a study that was edited since (its bounds, say) gets another one, never the list
    of its earlier form.
    """
    from arsetlib import catalogue, checksums
    from arsetlib.catalogue.selection import OtherSearchError

    folder = cache / study.key / "-".join(map(str, study.years))
    try:
        return catalogue.find_scenes(study, cache=folder, leave_out=leave_out, progress=progress), folder
    except OtherSearchError:
        asked = [[area.key, area.bounds, area.crs] for area in study.areas]
        asked += [study.scenes, study.season, study.bands]
        folder = folder.with_name(f"{folder.name}-{checksums.digest_json(asked, repr)[:8]}")
        return catalogue.find_scenes(study, cache=folder, leave_out=leave_out, progress=progress), folder


def show_check(report: Any, as_json: bool) -> None:
    """Print what a check found; the command fails where it found a problem."""
    show(report.as_dict(), as_json, str(report))
    if not report.ok:
        raise typer.Exit(1)


def show(report: dict | list, as_json: bool, text: str) -> None:
    """Print a report, as JSON or as text."""
    typer.echo(copies.with_addresses(json.dumps(report, indent=1, default=str) if as_json else text))
