"""Commands of the homework for learners: list it, write it with one's own numbers."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from arsetlib.cli.arguments import AsJson, show

app = typer.Typer()
homework = typer.Typer(help="Homework: notebooks with a learner's own numbers.", no_args_is_help=True)
app.add_typer(homework, name="homework")


@homework.command("start", epilog="Example: arset homework start part1 --seed 'Ada Lovelace'")
def start(
    seed: Annotated[str, typer.Option(help="Your name: it draws your numbers, the same on every machine.")],
    assignments: Annotated[list[str] | None, typer.Argument(help="part1, part2, …; by default all.")] = None,
    out: Annotated[Path, typer.Option(help="Folder; a notebook that is there is kept.")] = Path("my_homework"),
    as_json: AsJson = False,
):
    """Write the notebooks of the homework, with your name in them."""
    from arsetlib.grading import notebooks

    made = notebooks.write(assignments or [], seed, out)
    lines = [f"{place}" + ("" if fresh else ": there already, kept as it is") for place, fresh in made]
    show([{"notebook": str(place), "written": fresh} for place, fresh in made], as_json, "\n".join(lines))


@homework.command("list", epilog="Example: arset homework list")
def list_(as_json: AsJson = False):
    """What homework there is, and what it is worth."""
    from arsetlib.grading import notebooks

    found = notebooks.summaries()
    lines = [f"{one.key:<8}{one.title}: {one.questions} questions, {one.points} points" for one in found]
    show([asdict(one) for one in found], as_json, "\n".join(lines))
