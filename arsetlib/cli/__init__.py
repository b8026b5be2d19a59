"""The command ``arset``: what the labs do, from a shell.

Exit codes: 0 done, 1 a problem that the message explains, 2 invalid usage, 130 stopped with Ctrl-C.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from typing import Annotated

import typer

from arsetlib import __version__, copies, oldnames
from arsetlib.cli import certificate, data, fields, grade, groves, homework, learn, parcels, survey
from arsetlib.cli.commands import Commands, in_options
from arsetlib.folders import is_full
from arsetlib.translation import N_, _


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"arset {__version__}")
        raise typer.Exit


app = typer.Typer(
    cls=Commands,
    help="Crop maps at scale: from scenes and labels to pixel tables, models and maps.\n\n"
    "A PLACE is a file or a folder, on disk or in an object store: s3://bucket/folder, gs://…, az://…, abfss://…. "
    "Keys come from the environment, never from the address.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for commands in (data, learn, parcels, survey, groves, fields, homework, grade, certificate):
    app.add_typer(commands.app)
_groups = {"groves": groves.group, "fields": fields.group}
for _old, _new in oldnames.COMMANDS.items():
    if _new in _groups:
        app.add_typer(_groups[_new], name=_old, hidden=True)
    else:
        app.command(_old, hidden=True)(groves.simulate_groves)


@app.callback()
def options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options of the command itself."""
    if new := oldnames.COMMANDS.get(old := context.invoked_subcommand or ""):
        words = _("note: `arset {old}` is now `arset {new}`; the old name works until version {version}.")
        typer.echo(f"arset: {words.format(old=old, new=new, version=oldnames.UNTIL)}", err=True)


def full_disk_text(problem: BaseException) -> str:
    """The message for an error that comes from a full disk; empty for another."""
    if not is_full(problem, "."):
        return ""
    names = (name for e in _chain(problem) if (name := getattr(e, "filename", None)))
    return _(
        "The disk is full ({place}). Free space there or write to another folder, then run the same command; "
        "what was finished is kept."
    ).format(place=next(names, _("where the command writes")))


REFUSED = {
    errno.EACCES: N_("{place} may not be read or written. Change its permissions, or name another place."),
    errno.ENAMETOOLONG: N_("The name {place} is too long. Give a shorter one."),
    errno.ELOOP: N_("The links of {place} lead in a circle. Correct them, or name another place."),
}  # fmt: skip
REFUSED[errno.EPERM] = REFUSED[errno.EROFS] = REFUSED[errno.EACCES]


def _of_the_system(problem: Exception) -> str:
    """What an error of the operating system means, where it names a file that is refused."""
    words, place = REFUSED.get(getattr(problem, "errno", None)), getattr(problem, "filename", None)
    return _(words).format(place=place) if words and place else str(problem)


def _chain(problem: BaseException | None) -> Iterator[BaseException]:
    """An error and those that led to it."""
    while problem is not None:
        yield problem
        problem = problem.__cause__ or (None if problem.__suppress_context__ else problem.__context__)


def _open_closed_streams() -> None:
    """Streams that are closed lead nowhere: else the next file that is opened would get the number of one."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w" if number else "r", encoding="utf-8"))  # noqa: SIM115


def _folder_is_gone() -> bool:
    try:
        os.getcwd()
    except OSError:
        return True
    return False


def main() -> None:
    """Run ``arset``; an error of arsetlib is one message and exit code 1, never a traceback."""
    _open_closed_streams()
    if not sys.stderr.isatty():
        # Seconds between two states of a bar in a log file, where each state is a line; tqdm reads them when imported.
        os.environ.setdefault("TQDM_MININTERVAL", "30")
        os.environ.setdefault("TQDM_MAXINTERVAL", "30")
    try:
        app()
    except Exception as problem:
        # PySpark's own errors come from starting it: no such master, no server at that address.
        ours = isinstance(problem, (ValueError, RuntimeError, ModuleNotFoundError)) and type(
            problem
        ).__module__.startswith(("arsetlib", "pyspark"))
        if not ours and _folder_is_gone():
            typer.echo(
                "arset: " + _("The folder in which this command runs was deleted. Go to another: cd FOLDER."), err=True
            )
            sys.exit(1)
        if not ours and (full := full_disk_text(problem)):
            typer.echo(f"arset: {full}", err=True)
            sys.exit(1)
        if not ours and not isinstance(problem, OSError):
            raise
        message = str(problem) if ours else _of_the_system(problem)
        if "See previous exception" in message and problem.__cause__:  # from rasterio; the cause names the file
            message = str(problem.__cause__)
        message, command = copies.with_addresses(message), getattr(problem, "command", None)
        typer.echo(f"arset: {in_options(message, command) if command else message}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:  # before a command began
        sys.exit(130)
