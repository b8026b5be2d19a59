"""The command that grades homework."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from arsetlib.cli.arguments import AsJson, Place, place_argument, place_option, show

app = typer.Typer()


@app.command(epilog="Example: arset grade submissions --hidden ../private-checks --out grades.csv")
def grade(
    folder: Annotated[Place, place_argument(help="Folder of notebooks or zips; it may have a folder per learner.")],
    out: Annotated[Place, place_option(help="The CSV to write; logs go beside it, to NAME-logs.")] = Path("grades.csv"),
    hidden: Annotated[Place | None, place_option(help="Folder or zip of hidden checks; else the repository's.")] = None,
    jobs: Annotated[int | None, typer.Option(help="Submissions at a time; by default one per core.")] = None,
    seconds: Annotated[float, typer.Option(help="Processor time of a notebook's cells, s.")] = 60,
    memory_mb: Annotated[int, typer.Option(help="Memory of a submission, MB.")] = 2048,
    disk_mb: Annotated[int, typer.Option(help="Size of the files that a submission writes, MB.")] = 256,
    processes: Annotated[int, typer.Option(help="Processes and threads of a submission.")] = 48,
    trust: Annotated[
        bool, typer.Option("--trust", help="Run the submissions without a sandbox, with all the rights you have.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Grade homework: run each submission in a sandbox and check its answers with public and hidden checks.

    Writes one CSV with the points of each question and the reasons, and a log for each submission. A submission is not
    run again while its bytes and the checks stay the same. If a learner handed in twice, the better one counts.
    """
    from arsetlib.grading import grader, sandbox
    from arsetlib.grading.limits import Limits

    limits = Limits(seconds, memory_mb, disk_mb, processes)
    if not as_json:
        typer.echo(sandbox.protection(), err=True)
        if grader.find_hidden(hidden) is None:
            typer.echo("No hidden checks: only public checks are used. Name a folder or a zip with --hidden.", err=True)
    grades = grader.grade(folder, out=out, hidden=hidden, jobs=jobs, limits=limits, trust=trust, progress=not as_json)
    problems = [mark for mark in grades.marks if mark.reason]
    report = {"csv": str(grades.path), "logs": str(grades.logs), "notebooks": len(grades.marks)}
    report |= {"reused": grades.reused, "with_problems": len(problems)}
    lines = [f"{len(grades.marks)} notebooks in {grades.path}, their logs in {grades.logs}"]
    lines += [f"  {mark.submission}: {mark.reason}" for mark in problems[:10]]
    lines += [f"  … and {len(problems) - 10} more, see the column 'reason'"] * (len(problems) > 10)
    show(report, as_json, "\n".join(lines))


@app.command(epilog="Example: arset similarity submissions --out similarity.csv")
def similarity(
    folder: Annotated[Place, place_argument(help="Folder of notebooks or zips, as for arset grade.")],
    out: Annotated[Place, place_option(help="The CSV to write; a page goes beside it.")] = Path("similarity.csv"),
    as_json: AsJson = False,
) -> None:
    """List submissions that are alike: code after renaming, another learner's numbers or name, cells from one file.

    Nothing in the submissions is run. A pair is a reason to read both notebooks, not a proof.
    """
    from arsetlib.grading import similarity as similar

    report = similar.compare(folder)
    path, page = report.write(out)
    lines = [str(report), f"Table: {path}. Both codes side by side: {page}."]
    lines += [f"  not compared: {name}: {why}" for name, why in list(report.unread.items())[:10]]
    lines += [f"  … and {len(report.unread) - 10} more"] * (len(report.unread) > 10)
    rows = [pair.as_dict() for pair in report.pairs]
    show({"csv": str(path), "page": str(page), "pairs": rows, "unread": report.unread}, as_json, "\n".join(lines))


@app.command(epilog="Example: arset gradebook grades.csv --course course.toml --out gradebook.csv --form canvas")
def gradebook(
    grades: Annotated[list[Place], place_argument(help="CSV of arset grade; several are read together.")],
    course: Annotated[Place, place_option(help="TOML file: assignments, deadlines, rule for late work, roster.")],
    out: Annotated[Place, place_option(help="The CSV to write.")] = Path("gradebook.csv"),
    form: Annotated[str, typer.Option(help="plain, or what moodle or canvas imports.")] = "plain",
    as_json: AsJson = False,
) -> None:
    """One row for each learner over all assignments, with deadlines, as a CSV that Moodle and Canvas import."""
    from arsetlib.grading import gradebook as books

    book = books.gradebook(list(grades), books.Course.load(course))
    book.write(out, form)
    passed = sum(map(book.passed, book.entries))
    late = sum(entry.days_late > 0 for entries in book.entries.values() for entry in entries.values())
    report = {"csv": str(out), "learners": len(book.entries), "passed": passed, "late": late, "nobodys": book.nobodys}
    report["doubts"] = book.doubts
    lines = [f"{len(book.entries)} learners in {out}: {passed} passed, {late} pieces of late work"]
    lines += [f"  not counted: {name}: {why}" for name, why in book.nobodys.items()]
    lines += [f"  look at: {name}: {why}" for name, why in book.doubts.items()]
    show(report, as_json, "\n".join(lines))
