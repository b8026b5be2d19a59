"""Commands of the homework for learners: list the assignments, start them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from arsetlib.cli.arguments import AsJson, Place, place_argument, place_option, show
from arsetlib.cli.commands import Commands
from arsetlib.translation import _

app = typer.Typer()
homework = typer.Typer(cls=Commands, help="Homework: notebooks with a learner's own numbers.", no_args_is_help=True)
app.add_typer(homework, name="homework")


@homework.command("start", epilog="Example: arset homework start part1 --seed 'Ada Lovelace'")
def start(
    seed: Annotated[str, typer.Option(help="Your name. It draws your own numbers, the same on every machine.")],
    assignments: Annotated[list[str] | None, typer.Argument(help="part1, part2, …; by default all.")] = None,
    id: Annotated[str, typer.Option(help="Your ID in the course, such as a student number, if you have one.")] = "",
    out: Annotated[Place, place_option(help="Folder to write to; an existing notebook is kept.")] = Path("my_homework"),
    as_json: AsJson = False,
) -> None:
    """Write the notebooks of the homework, with your name in them."""
    from arsetlib.grading import notebooks

    files = notebooks.write(assignments or [], seed, out, id)
    lines = [str(file) if written else f"{file}: {_('exists already, kept as it is')}" for file, written in files]
    show([{"notebook": str(file), "written": written} for file, written in files], as_json, "\n".join(lines))


@homework.command("check", epilog="Example: arset homework check my_homework/part1/part1.ipynb")
def check(
    file: Annotated[Place, place_argument(help="The notebook (.ipynb), or a zip with it.")],
    as_json: AsJson = False,
) -> None:
    """Check a notebook before you hand it in: the file, your name, missing answers, points by the visible checks.

    The notebook is run from its first cell, in a sandbox or in a temporary folder. Exit code: 0 where nothing has to be
    corrected and all visible checks pass, else 1.
    """
    from arsetlib.grading import handin

    reports = handin.check_file(file)
    show([report.as_dict() for report in reports], as_json, "\n\n".join(map(str, reports)))
    if not all(report.ok for report in reports):
        raise typer.Exit(1)


@homework.command("list", epilog="Example: arset homework list")
def list_(as_json: AsJson = False) -> None:
    """List the assignments with their questions and points."""
    from arsetlib.grading import notebooks

    rows = notebooks.summaries()
    words = _("{questions} questions, {points} points")
    lines = [f"{r.key:<8}{r.title}: {words.format(questions=r.questions, points=r.points)}" for r in rows]
    show([asdict(row) for row in rows], as_json, "\n".join(lines))
