"""A learner's homework: own numbers from the name, the sample data, the questions; and `check`.

hw = start("part1", name="Ada Lovelace")
hw.draw                      # {'crop': 'cotton', 'year': 2020}: the same on every machine, another for Bob
hw.table, hw.study           # the small sample that all homework uses, made where it is missing
check("q3", corn_ha)         # of the assignment started last; check("part1.q3", corn_ha) names it
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import os
import unicodedata
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from arsetlib.errors import ArsetError
from arsetlib.grading.questions import Question, Result, Wrong, assess

ASSIGNMENTS = ("part1", "part2", "part3", "groves", "fields")
NOBODY = "your name"  # what stands in a notebook before `arset homework start` or the learner puts a name
_started: list[Homework] = []


class HomeworkError(ArsetError, ValueError):
    """A call that cannot be meant: no such assignment or question, or nothing started yet."""


@dataclass(frozen=True)
class Homework:
    """One learner's assignment.

    Attributes:
        assignment: "part1", "part2", "part3", "groves" or "fields".
        name: Of the learner; spaces at the ends and double ones do not count.
        data: Folder of the sample data.
    """

    assignment: str
    name: str
    data: Path

    @cached_property
    def module(self):
        """The assignment's module of `arsetlib.grading.assignments`."""
        return importlib.import_module(f"arsetlib.grading.assignments.{self.assignment}")

    @property
    def questions(self) -> tuple[Question, ...]:
        return self.module.QUESTIONS

    @cached_property
    def draw(self) -> dict[str, Any]:
        """The learner's own numbers."""
        return self.module.draw(self.rng())

    def rng(self, of: str = "") -> np.random.Generator:
        """Random numbers of this learner and assignment; ``of`` names an own stream."""
        words = "\n".join((self.assignment, self.name, of)).encode()
        return np.random.default_rng(int.from_bytes(hashlib.sha256(words).digest(), "little"))

    @cached_property
    def study(self):
        """The study of the homework's sample: two areas, three years."""
        from arsetlib.grading import sample

        return sample.study(self.data)

    @cached_property
    def table(self):
        """The pixel table of the homework's sample, a pyarrow Table. Made where it is missing."""
        from arsetlib.grading import sample

        return sample.table(self.data)

    @cached_property
    def prepared(self):
        """What the assignment's own ``prepare(data)`` gives."""
        return self.module.prepare(self.data)

    def question(self, key: str) -> Question:
        """One question by its key.

        Raises:
            HomeworkError: There is none.
        """
        for question in self.questions:
            if question.key == key:
                return question
        known = ", ".join(question.key for question in self.questions)
        raise HomeworkError(f"Homework {self.assignment!r} has no question {key!r}. It has: {known}.")


def open_homework(assignment: str, name: str, data: str | Path | None = None) -> Homework:
    """A learner's homework, without making it the one that `check` uses.

    Args:
        assignment: One of `ASSIGNMENTS`.
        name: Of the learner.
        data: Folder of the sample data; else the environment variable ARSET_DATA, else a folder ``data`` here or in a
            folder above that has the sample, else a new one: beside the assignments where this is one's folder.

    Raises:
        HomeworkError: No such assignment, or no name.
    """
    if assignment not in ASSIGNMENTS:
        raise HomeworkError(f"There is no homework {assignment!r}. There is: {', '.join(ASSIGNMENTS)}.")
    if not isinstance(name, str) or not name.strip():
        raise HomeworkError(f'Expected your name, received {name!r}. Write start("{assignment}", name="Ada Lovelace").')
    words = " ".join(unicodedata.normalize("NFC", name).split())
    return Homework(assignment, words, Path(data or os.environ.get("ARSET_DATA") or _data_folder()))


def start(assignment: str, name: str, data: str | Path | None = None) -> Homework:
    """Start a homework in this kernel: `check` then means its questions. See `open_homework`."""
    hw = open_homework(assignment, name, data)
    _started[:] = [hw]
    if hw.name == NOBODY:
        print(f'Put your name in: start("{assignment}", name="Ada Lovelace"). Your numbers depend on it.')
    return hw


def check(key: str, answer: Any) -> Result:
    """Hold an answer against its public check, and print what it says.

    Args:
        key: "q3" of the homework started last, or "part1.q3".
        answer: The variable or the function of the notebook.

    Returns:
        The result; its ``ok`` is True where the answer is right, as far as the public check tells.

    Raises:
        HomeworkError: No homework was started, or it has no such question.
    """
    hw, question = _find(key)
    result = assess(question, answer, hw)
    print(result)
    return result


def require(key: str, answer: Any, hidden: str | Path | None = None) -> None:
    """Like `check`, for otter's test files: silent where the answer is right.

    Args:
        key: As for `check`.
        answer: As for `check`.
        hidden: Folder or zip of hidden checks to use instead of the public one.

    Raises:
        Wrong: It is not.
    """
    hw, question = _find(key)
    checks = []
    if hidden is not None:
        from arsetlib.grading import hidden as store

        checks = [check for name, check in store.load(hidden, hw.assignment).items() if name == question.key]
    result = assess(question, answer, hw, *checks)
    if not result.ok:
        raise Wrong(result.message)


def read_start(source: str) -> tuple[str, str] | None:
    """Assignment and name in the call ``start("part1", name="Ada")`` of a cell, read without running it.

    None where there is no such call with plain strings.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call) or getattr(call.func, "attr", getattr(call.func, "id", "")) != "start":
            continue
        given = dict(zip(("assignment", "name"), call.args, strict=False))
        given |= {word.arg: word.value for word in call.keywords}
        values = [getattr(given.get(word), "value", None) for word in ("assignment", "name")]
        if all(isinstance(value, str) for value in values):
            return values[0], values[1]
    return None


def _data_folder() -> Path:
    here = Path.cwd()
    for place in (here, *here.parents[:3]):
        if (place / "data" / "delta-toy").is_dir():
            return place / "data"
    return (here.parent if here.name in ASSIGNMENTS else here) / "data"


def _find(key: str) -> tuple[Homework, Question]:
    assignment, _, name = key.rpartition(".")
    hw = _started[0] if _started else None
    if hw is None or (assignment and hw.assignment != assignment):
        call = f'start("{assignment or "part1"}", …)'
        raise HomeworkError(f"No homework {assignment} was started here. Run the first cell: it has the call {call}.")
    return hw, hw.question(name)
