"""The command ``arset``: what the labs do, from a shell.

Exit codes: 0 done, 1 a problem that the message explains, 2 a call that cannot be meant.
"""

from __future__ import annotations

import errno
import os
import sys

import typer

from arsetlib.cli import certificate, data, fields, grade, groves, homework, learn

app = typer.Typer(
    help="Crop maps at scale: from scenes and labels to pixel tables, models and maps.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for commands in (data, learn, groves, fields, homework, grade, certificate):
    app.add_typer(commands.app)


def disk_is_full(problem: BaseException | None) -> str:
    """What to say where an error, or one that led to it, is that of a full disk; else nothing.

    TensorFlow, h5py and Arrow each raise another type for it.
    """
    while problem is not None:
        number, text = getattr(problem, "errno", None), str(problem)
        if number in (errno.ENOSPC, errno.EDQUOT) or "No space left on device" in text:
            place = getattr(problem, "filename", None) or "where the command writes"
            return (
                f"The disk is full ({place}). Free space there or write to another folder, then run the same command; "
                "what was finished is kept."
            )
        problem = problem.__cause__ or (None if problem.__suppress_context__ else problem.__context__)
    return ""


def main() -> None:
    """Run ``arset``; a problem of ours is one message and exit code 1, never a traceback."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # what TensorFlow says of the processor is no news here
    try:
        app()
    except Exception as problem:
        # PySpark's own are those of starting it: no such master, no server at that address.
        ours = isinstance(problem, (ValueError, RuntimeError)) and type(problem).__module__.startswith(
            ("arsetlib", "pyspark")
        )
        if not ours and (full := disk_is_full(problem)):
            typer.echo(f"arset: {full}", err=True)
            sys.exit(1)
        if not ours and not isinstance(problem, OSError):
            raise
        said = str(problem)
        if "See previous exception" in said and problem.__cause__:  # of rasterio, whose cause names the file
            said = str(problem.__cause__)
        typer.echo(f"arset: {said}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        typer.echo("arset: stopped; what was finished is kept, run the same command to go on.", err=True)
        sys.exit(130)
