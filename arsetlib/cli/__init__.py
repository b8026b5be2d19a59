"""The command ``arset``: what the labs do, from a shell.

Exit codes: 0 done, 1 a problem that the message explains, 2 a call that cannot be meant.
"""

from __future__ import annotations

import os
import sys

import typer

from arsetlib.cli import certificate, data, grade, groves, homework, images, learn

app = typer.Typer(
    help="Crop maps at scale: from scenes and labels to pixel tables, models and maps.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for commands in (data, learn, groves, images, homework, grade, certificate):
    app.add_typer(commands.app)


def main() -> None:
    """Run ``arset``; a problem of ours is one message and exit code 1, never a traceback."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # what TensorFlow says of the processor is no news here
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
