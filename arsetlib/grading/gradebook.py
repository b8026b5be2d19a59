"""A gradebook: one row for each learner over all assignments, with deadlines and rules for late work.

    course = Course.load("course.toml")
    book = gradebook(["grades.csv"], course)
    book.write("gradebook.csv", "canvas")

A course file says what counts:

    name = "Crop maps at scale, autumn 2026"
    pass_percent = 60                 # of the points of each assignment
    timezone = "Europe/Madrid"        # of times without an offset
    roster = "learners.csv"           # columns id and name; beside this file. Who handed in nothing has a row, too

    [assignments.part1]
    deadline = 2026-10-05T23:59:00+02:00
    [assignments.part2]               # no deadline

    [late]
    percent_per_day = 10              # taken off for each day that has begun
    last_day = 7                      # later than this, work counts 0
"""

from __future__ import annotations

import csv
import math
import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from arsetlib import folders, textfiles
from arsetlib.grading.grades import GradeError, Learner, Row, read_rows, read_table, write_table
from arsetlib.grading.homework import ASSIGNMENTS, PLACEHOLDER, normal_name, open_homework
from arsetlib.grading.submission import words

__all__ = ["FORMATS", "Course", "Gradebook", "GradebookEntry", "gradebook"]

FORMATS = ("plain", "moodle", "canvas")
COPY = re.compile(r"\(\d{1,2}\)")  # what a browser adds to the name of a file that exists
KNOWN = {"name", "pass_percent", "roster", "timezone", "assignments", "late"}


@dataclass(frozen=True)
class Course:
    """What counts in a course.

    Attributes:
        name: Of the course.
        assignments: Assignment → deadline, or None.
        pass_percent: Percent of the points that each assignment needs.
        percent_per_day: Taken off late work for each day that has begun.
        last_day: Days after which late work counts 0; None: never.
        roster: The learners; empty: those who handed in.
        timezone: Of times without an offset, in the course file and in the grades.
    """

    name: str
    assignments: dict[str, datetime | None]
    pass_percent: float = 60
    percent_per_day: float = 0
    last_day: int | None = None
    roster: tuple[Learner, ...] = ()
    timezone: ZoneInfo | None = None

    @classmethod
    def load(cls, path: str | Path) -> Course:
        """Read a course file.

        Raises:
            GradeError: It is missing, is not TOML, or says something that the library does not know.
        """
        path = folders.place(path)
        try:
            said = tomllib.loads(textfiles.read_text(path))
        except FileNotFoundError:
            raise GradeError(f"There is no course file {path}. The page on grading shows one.") from None
        except (OSError, ValueError) as problem:
            raise GradeError(f"Expected {path} to be a TOML file, received: {problem}.") from None
        for name in ("late", "assignments"):
            if not isinstance(said.get(name, {}), dict):
                form = "[assignments.part1]" if name == "assignments" else "[late]"
                raise GradeError(f"{path}: expected a table such as {form}, received {name} = {said[name]!r}.")
        for name in ("name", "roster", "timezone"):
            if not isinstance(said.get(name, ""), str):
                raise GradeError(f"{path}: expected {name} as a text in quotes, received {said[name]!r}.")
        late = said.get("late", {})
        for where, names, known in (("", said, KNOWN), ("[late] ", late, {"percent_per_day", "last_day"})):
            if unknown := set(names) - known:
                raise GradeError(f"{path}: expected {where}{', '.join(sorted(known))}, received {min(unknown)!r}.")
        chosen = said.get("assignments", {})
        if not chosen or (unknown := set(chosen) - set(ASSIGNMENTS)):
            received = min(unknown) if chosen else "none"
            raise GradeError(
                f"{path}: expected a table for each assignment of {', '.join(ASSIGNMENTS)}, such as "
                f"[assignments.part1], received {received}."
            )
        zone = _zone(path, said["timezone"]) if "timezone" in said else None
        deadlines = {key: _deadline(path, key, chosen[key], zone) for key in ASSIGNMENTS if key in chosen}
        pass_percent = _amount(path, "pass_percent", said.get("pass_percent", 60), 100)
        percent_per_day = _amount(path, "percent_per_day", late.get("percent_per_day", 0), 100)
        last_day = _amount(path, "last_day", late["last_day"], 1000, whole=True) if "last_day" in late else None
        roster = _roster(path.parent / said["roster"]) if "roster" in said else ()
        return cls(said.get("name", path.stem), deadlines, pass_percent, percent_per_day, last_day, roster, zone)


@dataclass(frozen=True)
class GradebookEntry:
    """One assignment of one learner.

    Attributes:
        points: After what lateness takes off.
        of: Points of the whole assignment.
        days_late: Days after the deadline, each counted from its begin; 0 in time.
        note: What an instructor must know: late, broken, or when it came is not known.
    """

    points: float = 0
    of: int = 0
    days_late: int = 0
    note: str = "not handed in"


@dataclass(frozen=True)
class Gradebook:
    """One row for each learner.

    Attributes:
        course: What counts.
        entries: Learner → assignment → entry, in the order of the names.
        nobodys: Submissions whose learner is not known, with the reason.
        doubts: Submissions that count, and why an instructor should look at them.
    """

    course: Course
    entries: dict[Learner, dict[str, GradebookEntry]]
    nobodys: dict[str, str] = field(default_factory=dict)
    doubts: dict[str, str] = field(default_factory=dict)

    def passed(self, learner: Learner) -> bool:
        """Whether a learner reached the pass mark in each assignment."""
        entries = self.entries[learner].values()
        return all(one.of and 100 * one.points >= self.course.pass_percent * one.of for one in entries)

    def write(self, path: str | Path, form: str = "plain") -> None:
        """Write the gradebook as a CSV file.

        Args:
            path: The file.
            form: "plain": points, days late and notes. "moodle": ID number and points, for *Import from CSV* (map
                "ID number" to "ID number"). "canvas": the columns of Canvas's own export, for *Import*.

        Raises:
            GradeError: No such form, or learners have no ID, by which Moodle and Canvas know them.
        """
        if form not in FORMATS:
            raise GradeError(f"Expected a form of {', '.join(FORMATS)}, received {form!r}.")
        if form != "plain" and (lacking := [one.name for one in self.entries if not one.id]):
            raise GradeError(
                f"{form.capitalize()} knows learners by their ID, and {len(lacking)} have none, the first is "
                f"{lacking[0]}. Put IDs into a roster with columns id and name, and name it in the course file."
            )
        columns, rows = getattr(self, f"_{form}")()
        write_table(folders.place(path), columns, rows)

    def _plain(self) -> tuple[list[str], Iterable[Sequence]]:
        keys = list(self.course.assignments)
        columns = ["id", "learner", *keys, *(f"{key}_days_late" for key in keys), "total", "of", "passed", "notes"]
        rows = []
        for learner, entries in self.entries.items():
            notes = [f"{key}: {one.note}" for key, one in entries.items() if one.note]
            total, of = sum(one.points for one in entries.values()), sum(_full(key) for key in keys)
            rows.append([
                learner.id, learner.name, *(_number(entries[key].points) for key in keys),
                *(entries[key].days_late for key in keys), _number(total), of,
                "yes" if self.passed(learner) else "no", " | ".join(notes),
            ])  # fmt: skip
        return columns, rows

    def _moodle(self) -> tuple[list[str], Iterable[Sequence]]:
        keys = list(self.course.assignments)
        rows = [
            [one.id, one.name, *(_number(entries[key].points) for key in keys)] for one, entries in self.entries.items()
        ]
        return ["ID number", "Full name", *(_title(key) for key in keys)], rows

    def _canvas(self) -> tuple[list[str], Iterable[Sequence]]:
        keys = list(self.course.assignments)
        first = ["    Points Possible", "", "", "", "", *(_full(key) for key in keys)]
        rows = [
            [one.name, "", one.id, "", "", *(_number(entries[key].points) for key in keys)]
            for one, entries in self.entries.items()
        ]
        head = ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", *(_title(key) for key in keys)]
        return head, [first, *rows]


def gradebook(grades: Sequence[str | Path], course: Course) -> Gradebook:
    """Put the rows of graded submissions together: the best of each learner and assignment, after lateness.

    A submission that cannot be read counts as handed in, with 0 points. Where the notebook does not say whose it is,
    the path of the file may: a folder or file name with one ID or one name of the roster.

    Args:
        grades: CSV files of ``arset grade``.
        course: What counts.

    Raises:
        GradeError: A file is not such a CSV.
    """
    rows = [_owned(row, course) for row in read_rows(list(grades))]
    known = {one.id: one for one in course.roster if one.id} | {one.name: one for one in course.roster if not one.id}
    learners = dict.fromkeys(course.roster)
    entries: dict[tuple[Learner, str], GradebookEntry] = {}
    nobodys, doubts = {}, {}
    for row in rows:
        learner = known.get(row.learner.id) or known.get(row.learner.name) or _by_name(row.learner, course.roster)
        if not learner.name or learner.name == PLACEHOLDER:
            nobodys[row.submission] = row.reason or "no name in it"
            continue
        if row.assignment not in course.assignments:
            if row.assignment in ASSIGNMENTS:
                continue
            nobodys[row.submission] = f"{learner}: {row.reason or 'its assignment is not known'}"
            continue
        if course.roster and learner not in learners:
            nobodys[row.submission] = f"{learner} is not in the roster"
            continue
        learners[learner] = None
        named = {one for one in _in_path(row.submission, course) if one.id}
        if len(named) == 1 and learner not in named:
            doubts[row.submission] = f"the notebook says {learner}, its path {min(named)}; it counts for {learner}"
        entry = _entry(row, course)
        key = (learner, row.assignment)
        if key not in entries or entry.points > entries[key].points:
            entries[key] = entry
    ordered = sorted(learners, key=lambda one: (one.name.casefold(), one.id))
    table = {one: {key: entries.get((one, key), GradebookEntry()) for key in course.assignments} for one in ordered}
    return Gradebook(course, table, nobodys, doubts)


def _entry(row: Row, course: Course) -> GradebookEntry:
    deadline, handed_in = course.assignments[row.assignment], row.handed_in
    notes, days, points = [], 0, float(row.points)
    if deadline and handed_in and handed_in.tzinfo is None:
        if course.timezone is None:
            raise GradeError(
                f"{row.submission}: handed_in is {handed_in}, a time without a time zone. Write it with its offset, "
                f'such as {handed_in}+02:00, or add timezone = "Europe/Madrid" to the course file.'
            )
        handed_in = handed_in.replace(tzinfo=course.timezone)
    if row.of < 1:
        notes.append(f"counts as handed in with 0: {row.reason or 'it could not be graded'}")
    if deadline and handed_in is None:
        notes.append("when it was handed in is not known: taken as in time")
    elif deadline and handed_in > deadline:
        days = _days_begun(deadline, handed_in.astimezone(UTC))
        over = course.last_day is not None and days > course.last_day
        points = 0.0 if over else points * max(0.0, 1 - days * course.percent_per_day / 100)
        notes.append(f"{days} {'day' if days == 1 else 'days'} late: {row.points} of {row.of} become {_number(points)}")
    return GradebookEntry(round(points, 2), row.of, days, "; ".join(notes))


def _owned(row: Row, course: Course) -> Row:
    """A row with learner and assignment from the path of its file, where its notebook does not say them."""
    if not row.learner.name:
        owners = _in_path(row.submission, course)
        row = row._replace(learner=owners.pop()) if len(owners) == 1 else row
    if not row.assignment:
        path = words(COPY.sub(" ", row.submission))
        keys = [key for key in course.assignments if key in path]
        row = row._replace(assignment=keys[0]) if len(keys) == 1 else row
    return row


def _in_path(submission: str, course: Course) -> set[Learner]:
    """Learners of the roster whose ID or name is in the path of a file."""
    path = words(COPY.sub(" ", submission))
    texts = {text: one for one in course.roster for text in map(words, one) if text}
    found = [text for text in texts if f"-{text}-" in f"-{path}-"]
    return {texts[text] for text in found if not any(text != other and text in other for other in found)}


def _by_name(learner: Learner, roster: tuple[Learner, ...]) -> Learner:
    """The one learner of the roster who has this name, where the notebook has no ID."""
    same = [one for one in roster if one.name == learner.name]
    return same[0] if len(same) == 1 and not learner.id else learner


def _days_begun(deadline: datetime, handed_in: datetime) -> int:
    """Days after a deadline, each from its begin. A day ends at the clock time of the deadline, even if clocks change.

    Args:
        deadline: With its time zone.
        handed_in: After it, UTC.
    """
    days = max(0, math.ceil((handed_in - deadline) / timedelta(days=1)) - 2)
    while (deadline + timedelta(days=days)).astimezone(UTC) < handed_in:
        days += 1
    return days


def _deadline(path: Path, key: str, said: object, zone: ZoneInfo | None) -> datetime | None:
    if not isinstance(said, dict) or set(said) - {"deadline"}:
        raise GradeError(f"{path}: expected deadline = … in [assignments.{key}], received {said!r}.")
    deadline = said.get("deadline")
    if deadline is None:
        return None
    if not isinstance(deadline, datetime) or (deadline.tzinfo is None and zone is None):
        raise GradeError(
            f"{path}: expected the deadline of {key} as a date and time with its offset, such as "
            f'2026-10-05T23:59:00+02:00, or without one and with timezone = "Europe/Madrid", received {deadline}.'
        )
    if not 2000 <= deadline.year < 2100:
        raise GradeError(f"{path}: expected the deadline of {key} in the years 2000 to 2099, received {deadline}.")
    if deadline.tzinfo is not None:
        return deadline
    local = deadline.replace(tzinfo=zone, fold=1)  # where clocks go back, the later one of the two times
    if local.astimezone(UTC).astimezone(zone).replace(tzinfo=None, fold=0) != deadline:
        raise GradeError(
            f"{path}: the deadline of {key}, {deadline}, does not exist in {zone}: clocks go forward then."
        )
    return local


def _zone(path: Path, name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise GradeError(
            f'{path}: expected timezone as a name such as "Europe/Madrid" or "UTC", received {name!r}.'
        ) from None


def _amount(path: Path, name: str, said: object, most: int, whole: bool = False) -> float:
    kinds = int if whole else int | float
    if isinstance(said, bool) or not isinstance(said, kinds) or not 0 <= said <= most:
        number = "a whole number" if whole else "a number"
        raise GradeError(f"{path}: expected {name} as {number} from 0 to {most}, received {said!r}.")
    return said


def _roster(path: Path) -> tuple[Learner, ...]:
    try:
        rows = list(read_table(path))
    except FileNotFoundError:
        raise GradeError(f"There is no roster {path}.") from None
    except (OSError, ValueError, csv.Error) as problem:
        raise GradeError(f"Expected {path} as a CSV with the columns id and name, received {problem}.") from None
    roster = []
    for line, row in enumerate(rows, 2):
        if "id" not in row or "name" not in row:
            received = ", ".join(filter(None, row)) or "none"
            raise GradeError(f"Expected {path} as a CSV with the columns id and name, received {received}.")
        learner = Learner(normal_name(row["name"]), normal_name(row["id"]))
        if learner.id and not learner.name:
            raise GradeError(f"{path}, line {line}: the ID {learner.id} has no name beside it.")
        roster += [learner] if learner.name else []
    if not roster:
        raise GradeError(f"Expected {path} with the columns id and name and a line for each learner, found none.")
    names = [one.id or one.name for one in roster]
    if len(set(names)) < len(names):
        twice = next(one for one in roster if names.count(one.id or one.name) > 1)
        raise GradeError(f"{path} has {twice} twice. Give each learner an ID of their own.")
    return tuple(roster)


def _full(key: str) -> int:
    return open_homework(key, "anyone").points


def _title(key: str) -> str:
    return {"part1": "Part 1", "part2": "Part 2", "part3": "Part 3", "part4": "Part 4"}.get(key, key.capitalize())


def _number(points: float) -> int | float:
    return int(points) if points == int(points) else round(points, 2)
