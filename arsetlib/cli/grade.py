"""The command that grades homework."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from arsetlib.cli.arguments import AsJson, show

app = typer.Typer()


@app.command(epilog="Example: arset grade submissions --hidden ../private-checks --out grades.csv")
def grade(
    folder: Annotated[Path, typer.Argument(help="Folder of notebooks or zips, or of one folder for each learner.")],
    out: Annotated[Path, typer.Option(help="The CSV to write; logs go beside it, to NAME-logs.")] = Path("grades.csv"),
    hidden: Annotated[Path | None, typer.Option(help="Folder or zip of hidden checks; else the repository's.")] = None,
    jobs: Annotated[int | None, typer.Option(help="Submissions at a time; by default one per core.")] = None,
    seconds: Annotated[float, typer.Option(help="Of the processor that a notebook's cells may take.")] = 60,
    memory_mb: Annotated[int, typer.Option(help="Memory of a submission, MB.")] = 2048,
    disk_mb: Annotated[int, typer.Option(help="Files that a submission may write, MB.")] = 256,
    processes: Annotated[int, typer.Option(help="Processes and threads of a submission.")] = 48,
    trust: Annotated[
        bool, typer.Option("--trust", help="Run the submissions without a sandbox, with all rights that you have.")
    ] = False,
    as_json: AsJson = False,
):
    """Grade homework: run each submission in a sandbox, hold its answers against public and hidden checks.

    One CSV with the points of each question and the reasons, and a log for each submission. What was graded is not run
    again while its bytes and the checks stay the same. Where a learner handed in twice, the better one counts.
    """
    from arsetlib.grading import grader, sandbox

    limits = sandbox.Limits(seconds, memory_mb, disk_mb, processes)
    if not as_json:
        typer.echo(sandbox.protection(), err=True)
        if grader.find_hidden(hidden) is None:
            typer.echo("No hidden checks: public ones only. Name a folder or a zip with --hidden.", err=True)
    try:
        found = grader.grade(
            folder, out=out, hidden=hidden, jobs=jobs, limits=limits, trust=trust, progress=not as_json
        )
    except KeyboardInterrupt:
        typer.echo("arset: stopped; what was finished is kept, run the same command to go on.", err=True)
        raise typer.Exit(130) from None
    report = {"csv": str(found.path), "logs": str(found.logs), "notebooks": len(found.marks), "reused": found.reused}
    show(report, as_json, f"{len(found.marks)} notebooks in {found.path}, their logs in {found.logs}")
