"""The grades of a batch: one row for each notebook, as a CSV that a spreadsheet can open safely."""

from __future__ import annotations

import csv
import io
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from arsetlib import folders
from arsetlib.grading.marking import Mark
from arsetlib.grading.submission import clean

START = r"[=+@\-\uff1d\uff0b\uff20\uff0d]"  # of a formula; the wide ones in a spreadsheet in Japanese
FORMULA = re.compile(rf"'*\s*{START}")
INNER = re.compile(rf"(;[\s\"]*)(?='*{START})")
QUOTED = re.compile(rf"(;[\s\"]*)'(?='*{START})")


@dataclass(frozen=True)
class Grades:
    """The marks of a batch.

    Attributes:
        marks: One for each notebook, by name.
        path: The CSV.
        logs: Folder of the logs.
        reused: How many submissions had been graded before and were not run again.
    """

    marks: tuple[Mark, ...]
    path: Path
    logs: Path
    reused: int

    @property
    def rows(self) -> list[dict]:
        """The rows of the CSV: submission, learner, assignment, points of each question, total, of, reason, log."""
        return list(rows_of(self.marks))


def rows_of(marks) -> Iterator[dict]:
    """The rows of the CSV, see `Grades.rows`."""
    questions = sorted({key for one in marks for key in one.points}, key=lambda key: (len(key), key))
    for one in marks:
        row = {"submission": one.submission, "learner": one.learner, "assignment": one.assignment}
        row |= {key: one.points.get(key, "") for key in questions}
        alike = defaultdict(list)  # a reason: the questions that have it
        for key, words in one.reasons.items():
            alike[words].append(key)
        why = [one.reason, *(f"{', '.join(sorted(keys))}: {words}" for words, keys in alike.items())]
        yield row | {"total": one.total, "of": one.of, "reason": " | ".join(filter(None, why)), "log": one.log}


def write_csv(path: Path, marks: list[Mark]) -> None:
    """Write the CSV, whole or not at all."""
    text = io.StringIO(newline="")
    rows = list(rows_of(marks))
    columns = list(rows[0]) if rows else ["submission", "learner", "assignment", "total", "of", "reason", "log"]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(row[name]) for name in columns] for row in rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, text.getvalue())


def _cell(value):
    """A value as a spreadsheet shows it and never runs it: text that looks like a formula gets an apostrophe.

    Also inside, since a spreadsheet in Spanish or German splits cells at semicolons. Text that begins with apostrophes
    before a formula gets one more, so that two texts never become one, and ``uncell`` gives each back.
    """
    if not isinstance(value, str):
        return value
    value = INNER.sub(r"\1'", clean(value))
    return f"'{value}" if FORMULA.match(value) else value


def uncell(text: str) -> str:
    """The text of which ``write_csv`` made a cell."""
    text = text[1:] if text[:1] == "'" and FORMULA.match(text[1:]) else text
    return QUOTED.sub(r"\1", text)


def write(path: Path, text: str) -> None:
    """Write a text file that is either whole or not there."""
    folders.put(path, text.encode("utf-8", errors="replace"))
