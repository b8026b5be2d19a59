"""The grades of a batch: one row for each notebook, in a CSV that a spreadsheet can open safely."""

from __future__ import annotations

import csv
import io
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from arsetlib import folders, textfiles
from arsetlib.errors import ArsetError
from arsetlib.grading.homework import ASSIGNMENTS, PLACEHOLDER, normal_name
from arsetlib.grading.marking import Mark
from arsetlib.grading.submission import clean

__all__ = [
    "GradeError", "Grades", "Learner", "Row", "best_points", "read_rows", "read_table", "write_csv", "write_table",
]  # fmt: skip

FIRST = ("submission", "learner", "id", "assignment", "handed_in")  # first columns of the CSV
START = r"[=+@\-\uff1d\uff0b\uff20\uff0d]"  # of a formula; the wide characters in a Japanese spreadsheet
FORMULA = re.compile(rf"'*\s*{START}")
INNER = re.compile(rf"(;[\s\"]*)(?='*{START})")
QUOTED = re.compile(rf"(;[\s\"]*)'(?='*{START})")


class GradeError(ArsetError, ValueError):
    """A batch cannot be graded as asked, or a file is not a CSV of grades."""


@dataclass(frozen=True)
class Grades:
    """The marks of a batch.

    Attributes:
        marks: One for each notebook, sorted by path.
        path: The CSV.
        logs: Folder of the logs.
        reused: Number of submissions that were graded before and not run again.
    """

    marks: tuple[Mark, ...]
    path: Path
    logs: Path
    reused: int

    @property
    def rows(self) -> list[dict]:
        """Rows of the CSV: submission, learner, id, assignment, handed_in, points of each question, total, of, tries,
        reason, log."""
        return list(_rows_of(self.marks))


def write_csv(path: Path, marks: list[Mark]) -> None:
    """Write the CSV, whole or not at all."""
    rows = list(_rows_of(marks))
    columns = list(rows[0]) if rows else [*FIRST, "total", "of", "tries", "reason", "log"]
    write_table(path, columns, [[row[name] for name in columns] for row in rows])


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence]) -> None:
    """Write a CSV whose cells a spreadsheet shows and never runs, whole or not at all."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_escape(cell) for cell in row] for row in rows)
    folders.put(path, text.getvalue().encode("utf-8", errors="replace"))


class Learner(NamedTuple):
    """Who handed in: two learners of one name have different IDs."""

    name: str
    id: str = ""

    def __str__(self) -> str:
        return f"{self.name} ({self.id})" if self.id else self.name


class Row(NamedTuple):
    """A row of a CSV of grades; ``handed_in`` is None where the file does not say when."""

    learner: Learner
    assignment: str
    points: int
    of: int
    submission: str = ""
    handed_in: datetime | None = None
    reason: str = ""


def best_points(paths: list[str | Path]) -> dict[Learner, dict[str, tuple[int, int]]]:
    """The points of each learner: learner → assignment → (points, of). The better of two submissions counts.

    A submission that could not be graded has (0, 0).

    Args:
        paths: CSV files of ``arset grade``, also as a spreadsheet saved them again.

    Raises:
        GradeError: A file is missing or is not such a CSV.
    """
    best: dict[Learner, dict[str, tuple[int, int]]] = {}
    for row in read_rows(paths):
        if row.learner.name and row.learner.name != PLACEHOLDER and row.assignment in ASSIGNMENTS:
            points = best.setdefault(row.learner, {})
            points[row.assignment] = max(points.get(row.assignment, (0, 0)), (row.points, row.of))
    return best


def read_rows(paths: list[str | Path]) -> list[Row]:
    """All rows of CSV files of ``arset grade``.

    A notebook without an ID belongs to the one learner of its name who has an ID in another row; where two have the
    name, it stays apart.

    Raises:
        GradeError: A file is missing or is not such a CSV.
    """
    rows = [row for path in paths for row in _read_csv(folders.place(path))]
    ids = defaultdict(set)
    for row in rows:
        if row.learner.id:
            ids[row.learner.name].add(row.learner.id)
    return [
        row._replace(learner=Learner(row.learner.name, *ids[row.learner.name]))
        if not row.learner.id and row.learner.name and len(ids[row.learner.name]) == 1
        else row
        for row in rows
    ]


def _rows_of(marks: list[Mark] | tuple[Mark, ...]) -> Iterator[dict]:
    questions = sorted({key for mark in marks for key in mark.points}, key=lambda key: (len(key), key))
    for mark in marks:
        row = {name: getattr(mark, name) for name in FIRST}
        row |= {key: mark.points.get(key, "") for key in questions}
        by_reason = defaultdict(list)
        for key, reason in mark.reasons.items():
            by_reason[reason].append(key)
        reasons = [mark.reason, *(f"{', '.join(keys)}: {reason}" for reason, keys in by_reason.items())]
        yield row | {
            "total": mark.total, "of": mark.of,
            "tries": " | ".join(f"{key}: {count}" for key, count in mark.tries.items()),
            "reason": " | ".join(filter(None, reasons)), "log": mark.log,
        }  # fmt: skip


def read_table(path: Path) -> Iterator[dict[str, str]]:
    """Rows of a CSV, also as a spreadsheet saved it: in Spanish or German with semicolons, "Unicode text" with tabs.

    A file that is not UTF-8 is read as Windows-1252, which spreadsheets on Windows write. Column names are in small
    letters; a cell that is missing is empty.

    Raises:
        OSError: The file cannot be opened.
        ValueError: It is not text.
        csv.Error: It is not a table.
    """
    data = path.read_bytes()
    try:
        text = textfiles.decode(data)
    except ValueError:
        if b"\0" in data:
            raise
        text = textfiles.decode(data.decode("cp1252", errors="replace").encode())
    first, _, rest = text.partition("\n")
    if first.lower().startswith("sep="):  # a line that Excel adds
        text, first = rest, rest.partition("\n")[0]
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=first.count), restval="")
    reader.fieldnames = [name.strip().lower() for name in reader.fieldnames or ()]
    for row in reader:
        row.pop(None, None)  # cells beyond the last column
        yield row


def _read_csv(path: Path) -> Iterator[Row]:
    try:
        for line, row in enumerate(read_table(path), 2):
            if not any(row.values()):
                continue
            learner = Learner(normal_name(_unescape(row["learner"])), normal_name(_unescape(row.get("id") or "")))
            yield Row(
                learner, row["assignment"], _points(path, line, row["total"]), _points(path, line, row["of"]),
                _unescape(row.get("submission") or ""), _time(path, line, row.get("handed_in") or ""),
                _unescape(row.get("reason") or ""),
            )  # fmt: skip
    except FileNotFoundError:
        raise GradeError(f"There is no file {path}. It is made by: arset grade FOLDER --out {path.name}.") from None
    except KeyError as problem:
        raise GradeError(f"Expected {path} as arset grade writes it, received no column {problem}.") from None
    except (OSError, UnicodeError, csv.Error) as problem:
        raise GradeError(f"Expected {path} as arset grade writes it, received: {problem}.") from None
    except ValueError as problem:
        if isinstance(problem, GradeError):
            raise
        raise GradeError(f"Expected {path} as arset grade writes it, received: {problem}.") from None


def _points(path: Path, line: int, text: str) -> int:
    """Points of a cell; a spreadsheet may have written 22.0 or 22,0."""
    try:
        points = float(text.strip().replace(",", ".") or 0)
        if points != int(points) or points < 0:
            raise ValueError
    except (ValueError, OverflowError):
        raise GradeError(
            f"Expected {path} as arset grade writes it: points as a whole number in line {line}, received {text!r}."
        ) from None
    return int(points)


def _time(path: Path, line: int, text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text.strip()) if text.strip() else None
    except ValueError:
        raise GradeError(
            f"Expected {path} as arset grade writes it: handed_in such as 2026-10-05T23:59:00+02:00 in line {line}, "
            f"received {text!r}."
        ) from None


def _escape(value: str | int) -> str | int:
    """A cell that a spreadsheet shows and never runs: text that looks like a formula gets an apostrophe.

    This also holds after a semicolon, where a spreadsheet in Spanish or German starts a new cell. Text that already
    begins with apostrophes before a formula gets one more, so that ``_unescape`` gives back each text.
    """
    if not isinstance(value, str):
        return value
    value = INNER.sub(r"\1'", clean(value))
    return f"'{value}" if FORMULA.match(value) else value


def _unescape(cell: str) -> str:
    """The text of a cell that ``_escape`` made."""
    cell = cell[1:] if cell[:1] == "'" and FORMULA.match(cell[1:]) else cell
    return QUOTED.sub(r"\1", cell)
