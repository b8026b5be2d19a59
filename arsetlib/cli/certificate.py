"""Commands of certificates: make keys, issue, verify."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from arsetlib.cli.arguments import AsJson, Place, place_argument, place_option, show
from arsetlib.cli.commands import Commands

app = typer.Typer()
certificate = typer.Typer(cls=Commands, help="Certificates for learners who passed all homework.", no_args_is_help=True)
app.add_typer(certificate, name="certificate")
Day = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Day of issue, YYYY-MM-DD; by default today.")]


@certificate.command("key", epilog="Example: arset certificate key ~/.arset-keys --until 2031-12-31 --issuer 'UPC'")
def key(
    folder: Annotated[Place, place_argument(help="Folder for the keys, outside of any git work tree.")],
    until: Annotated[
        datetime, typer.Option(formats=["%Y-%m-%d"], help="Last day on which certificates of this key are valid.")
    ],
    issuer: Annotated[str, typer.Option(help="Who issues, printed on certificates.")] = "",
    as_json: AsJson = False,
) -> None:
    """Make a pair of keys: keep private.pem to yourself, give public.json to all who verify."""
    from arsetlib.grading import keys

    public = keys.make(folder, until.date(), issuer)
    report = {"public": str(public), "private": str(public.with_name(keys.PRIVATE)), "until": f"{until:%Y-%m-%d}"}
    show(report, as_json, f"Hand out {public}. Keep {report['private']} to yourself, and a copy of it in a safe place.")


@certificate.command("issue", epilog="Example: arset certificate issue grades.csv --key ~/.arset-keys --lang es")
def issue(
    grades: Annotated[list[Place], place_argument(help="CSV of arset grade; several are read together.")],
    key: Annotated[Place | None, place_option(help="Folder of the keys.")] = None,
    self_study: Annotated[bool, typer.Option("--self-study", help="Without a key; the page says so.")] = False,
    out: Annotated[Place, place_option(help="Folder to write into.")] = Path("certificates"),
    lang: Annotated[str, typer.Option(help="en or es; by default the language that is set.")] = "",
    pass_mark: Annotated[float, typer.Option(help="Percent of the points that each assignment needs.")] = 60,
    edition: Annotated[str | None, typer.Option(help="Edition of the course, for instance '2026, autumn'.")] = None,
    day: Day = None,
    assignments: Annotated[str, typer.Option(help="Those that count, as part1,part2,part3; by default all.")] = "",
    course: Annotated[
        Place | None, place_option(help="Course file of arset gradebook: deadlines, roster, assignments, pass mark.")
    ] = None,
    learner: Annotated[str, typer.Option(help="Only this learner: a name or an ID.")] = "",
    shown_as: Annotated[str, typer.Option(help="The learner's name in another spelling.")] = "",
    font: Annotated[Place | None, place_option(help="Font file with letters that DejaVu Sans lacks.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write a PDF and a signed JSON file for each learner who reached the pass mark in all assignments."""
    from arsetlib.grading import certificate as certificates
    from arsetlib.grading import keys
    from arsetlib.grading.gradebook import Course
    from arsetlib.grading.homework import ASSIGNMENTS

    if (key is None) != self_study:
        raise keys.CertificateError("Expected either --key FOLDER or --self-study.")
    if course and (assignments or pass_mark != certificates.PASS_MARK):
        raise keys.CertificateError("The file of --course says which assignments count, and the pass mark.")
    terms = Course.load(course) if course else None
    counted = tuple(key.strip() for key in assignments.split(",")) if assignments else ASSIGNMENTS
    pages = certificates.issue(
        list(grades), out, key=keys.load(key) if key else None, lang=lang, pass_mark=pass_mark,
        edition=edition or certificates.EDITION, day=day.date() if day else None, learner=learner, shown_as=shown_as,
        font=font, assignments=counted, course=terms,
    )  # fmt: skip
    _, found = certificates.passed(list(grades), pass_mark, counted, terms)
    missing = {str(one): what for one, what in found.items()}
    lines = [str(path) for path in pages] + ([] if learner else [f"None for {n}: {why}" for n, why in missing.items()])
    show({"certificates": [str(path) for path in pages], "missing": missing}, as_json, "\n".join(lines))


@certificate.command("verify", epilog="Example: arset certificate verify ada-lovelace-1f6cae01.pdf --key public.json")
def verify(
    file: Annotated[Place, place_argument(help="The PDF or the JSON file.")],
    key: Annotated[Place, place_option(help="public.json of the issuer, from a source you trust.")],
    as_json: AsJson = False,
) -> None:
    """Check a certificate, without internet: exit code 0 and what it says, or 1 and why it is not valid."""
    from arsetlib.grading import certificate as certificates
    from arsetlib.grading import keys
    from arsetlib.grading.homework import ASSIGNMENTS

    public = keys.load_public(key)
    content = certificates.verify(file, public)
    points, of = content["total"]
    words = f"Valid: {content['name']}, {content['course']}, edition {content['edition']}, {content['date']}, "
    words += f"{points} of {of} points.\n"
    covered = [f"  {key}: {got} of {most}" for key, (got, most) in content["points"].items()]
    words += f"It covers {len(covered)} of the {len(ASSIGNMENTS)} assignments of the course:\n" + "\n".join(covered)
    if file.suffix.lower() != ".pdf":
        words += "\nThis is what the JSON file says. A PDF that came with it may say something else: verify that, too."
    words += f"\nSigned with {public.name}" + (f" of {public.issuer}" if public.issuer else "")
    show({"valid": True} | content, as_json, f"{words}, which is valid until {public.until}.")
