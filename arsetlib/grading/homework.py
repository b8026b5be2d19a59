"""A learner's homework: own numbers drawn from the name, the sample data, the questions; and `check`.

hw = start("part1", name="Ada Lovelace")
hw.draw                      # {'crop': 'cotton', 'year': 2020}: the same on every machine, different for Bob
hw.table, hw.study           # the small sample that all homework uses, made where it is missing
check("q3", corn_ha)         # of the assignment started last; check("part1.q3", corn_ha) names the assignment
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib
import os
import unicodedata
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from arsetlib import folders, textfiles, translation
from arsetlib.errors import ArsetError
from arsetlib.grading.questions import Question, Result, assess, shown
from arsetlib.translation import _

if TYPE_CHECKING:
    import pyarrow as pa

    from arsetlib.lab import Place
    from arsetlib.study import Study

__all__ = [
    "ASSIGNMENTS", "PLACEHOLDER", "Homework", "HomeworkError", "Start", "check", "data_folder", "find_question",
    "normal_name", "open_homework", "read_language", "read_start", "start",
]  # fmt: skip

ASSIGNMENTS = ("part1", "part2", "part3", "part4", "groves", "fields")  # keys, in the order of the course
MAX_ID = 40  # characters of a learner's ID
PLACEHOLDER = "your name"  # in a notebook until `arset homework start` or the learner puts a name
_started: list[Homework] = []
_tries: dict[Path, dict[str, list[str]]] = {}  # of this session, for the file where it cannot be written


class Start(NamedTuple):
    """The call ``start("part1", name="Ada", id="s123")`` in a notebook."""

    assignment: str
    name: str
    id: str = ""


class HomeworkError(ArsetError, ValueError):
    """Invalid usage: no such assignment or question, or no homework was started."""


@dataclass(frozen=True)
class Homework:
    """One learner's assignment.

    Attributes:
        assignment: "part1", "part2", "part3", "part4", "groves" or "fields".
        name: Name of the learner; spaces at the ends and double spaces are removed.
        data: Folder of the sample data.
        id: What tells two learners of one name apart, such as a student number; may be empty.
    """

    assignment: str
    name: str
    data: Path
    id: str = ""
    _right: set[str] = field(default_factory=set, repr=False, compare=False)
    _drawn: dict[str, dict[str, Any]] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def module(self) -> ModuleType:
        """The assignment's module in `arsetlib.grading.assignments`."""
        return importlib.import_module(f"arsetlib.grading.assignments.{self.assignment}")

    @property
    def questions(self) -> tuple[Question, ...]:
        """The questions, in the order of the notebook."""
        return self.module.QUESTIONS

    @property
    def points(self) -> int:
        """Points of all questions together."""
        return sum(question.points for question in self.questions)

    @property
    def draw(self) -> dict[str, Any]:
        """The learner's own numbers, and texts to choose from in the reader's language."""
        return self.drawn(translation.language())

    def drawn(self, language: str) -> dict[str, Any]:
        """What ``draw`` is in one language, for checks that look for a word in a text: the order is always the same."""
        if language not in self._drawn:
            with translation.speaking(language):
                self._drawn[language] = self.module.draw(self.rng())
        return self._drawn[language]

    def rng(self, of: str = "") -> np.random.Generator:
        """A random generator of this learner and assignment; another ``of`` gives other numbers."""
        words = "\n".join((self.assignment, self.name, *([f"id {self.id}"] if self.id else []), of)).encode()
        return np.random.default_rng(int.from_bytes(hashlib.sha256(words).digest(), "little"))

    @cached_property
    def _place(self) -> Place:
        from arsetlib import lab

        return lab.place("simulated", self.data, small=True)

    @property
    def study(self) -> Study:
        """The study of the sample: two areas with every pixel, three years. It is made where it is missing."""
        return self._place.study

    @cached_property
    def table(self) -> pa.Table:
        """The pixel table of the sample. It is made where it is missing."""
        return self._place.table()

    @cached_property
    def prepared(self) -> Any:
        """What the assignment's own ``prepare(data)`` returns."""
        return self.module.prepare(self.data)

    def question(self, key: str) -> Question:
        """The question with this key.

        Raises:
            HomeworkError: There is none.
        """
        for question in self.questions:
            if question.key == key:
                return question
        keys = ", ".join(question.key for question in self.questions)
        said = _("Homework {assignment!r} has no question {key!r}. It has: {keys}.")
        raise HomeworkError(said.format(assignment=self.assignment, key=key, keys=keys))


def open_homework(assignment: str, name: str, data: str | Path | None = None, id: str = "") -> Homework:
    """A learner's homework, without making it the one that `check` uses.

    Args:
        assignment: One of `ASSIGNMENTS`.
        name: Name of the learner.
        data: Folder of the sample data; else the environment variable ARSET_DATA; else a folder ``data`` that has the
            sample, here or in a folder above; else a new one, beside the folders of the assignments.
        id: The learner's ID in the course, such as a student number. Two learners of one name need it: their numbers
            are drawn from both, and their grades stay apart.

    Raises:
        HomeworkError: There is no such assignment, or no name, or the ID is not a short text without spaces.
    """
    if assignment not in ASSIGNMENTS:
        said = _("There is no homework {assignment!r}. There is: {names}.")
        raise HomeworkError(said.format(assignment=assignment, names=", ".join(ASSIGNMENTS)))
    if not isinstance(name, str) or not name.strip():
        said = _('Expected your name, received {name!r}. Write start("{assignment}", name="Ada Lovelace").')
        raise HomeworkError(said.format(name=name, assignment=assignment))
    if not isinstance(id, str) or len(id) > MAX_ID or id != "".join(id.split()) or not id.isprintable():
        said = _('Expected an ID of up to {most} characters without spaces, such as id="s1234567", received {id!r}.')
        raise HomeworkError(said.format(most=MAX_ID, id=id))
    data = folders.on_this_disk(data or data_folder(), "the folder of the sample data (ARSET_DATA)", HomeworkError)
    return Homework(assignment, normal_name(name), data, unicodedata.normalize("NFC", id))


def start(assignment: str, name: str, data: str | Path | None = None, id: str = "") -> Homework:
    """Start a homework in this notebook: from here on `check` means its questions.

        >>> from arsetlib import grading
        >>> hw = grading.start("part1", name="Ada Lovelace")
        >>> hw.draw["year"]
        2021

    Args and errors are those of `open_homework`.
    """
    hw = open_homework(assignment, name, data, id)
    _started[:] = [hw]
    if hw.name == PLACEHOLDER:
        said = _('Put your name in: start("{assignment}", name="Ada Lovelace"). Your numbers depend on it.')
        print(said.format(assignment=assignment))
    return hw


def check(key: str, answer: Any) -> Result:
    """Check an answer with the public check of its question, and print the result.

        >>> from arsetlib import grading
        >>> hw = grading.start("part1", name="Ada Lovelace")
        >>> result = grading.check("q1", ...)
        q1: not yet. 0 of 24 points so far.
          Expected a function called hectares, received ... (nothing yet). Define it with `def hectares`.

    Args:
        key: "q3" of the homework started last, or "part1.q3".
        answer: The variable or function of the notebook.

    Returns:
        The result; ``ok`` is True where the public check finds nothing wrong. Hidden checks may follow in grading.
        ``points`` are those of all questions that were right so far, since `start` was called.

    Raises:
        HomeworkError: No homework was started, or it has no such question.
    """
    hw, question = find_question(key)
    result = assess(question, answer, hw)
    (hw._right.add if result.ok else hw._right.discard)(question.key)
    points = sum(one.points for one in hw.questions if one.key in hw._right)
    # A choice can be found by trying all: say how many were tried.
    attempt = _count_tries(hw, question.key, answer) if question.kind == "reasoned" else 0
    result = replace(result, attempt=attempt, points=points, of=hw.points)
    print(result)
    return result


def _count_tries(hw: Homework, key: str, answer: Any) -> int:
    """How many different choices this learner has tried, in this session and before; 0 for what is no choice.

    They are kept beside the sample data. Where nothing can be written, only this session counts.
    """
    parts = answer.split(",") if isinstance(answer, str) else answer
    if not isinstance(parts, list | tuple) or len(parts) != 2:
        return 0
    choice = ",".join(part.strip().lower() if isinstance(part, str) else shown(part) for part in parts)[:80]
    learner = hashlib.sha256("\n".join((hw.assignment, hw.name, hw.id)).encode(errors="replace")).hexdigest()
    file = hw.data / "tries" / f"{hw.assignment}-{learner[:12]}.json"
    try:
        kept = textfiles.read_json(file)
        tried = {name: list(map(str, kept[name])) for name in kept}
    except (OSError, ValueError, TypeError):
        tried = _tries.get(file, {})
    if choice not in tried.setdefault(key, []):
        tried[key].append(choice)
        _tries[file] = tried
        with contextlib.suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
            folders.put_json(file, tried)
    return len(tried[key])


def find_question(key: str) -> tuple[Homework, Question]:
    """The homework started last and its question "q3" or "part1.q3".

    Raises:
        HomeworkError: No such homework was started, or it has no such question.
    """
    assignment, _dot, name = key.rpartition(".")
    hw = _started[0] if _started else None
    if hw is None or (assignment and hw.assignment != assignment):
        call = f'start("{assignment or "part1"}", …)'
        said = _("No homework {assignment} was started here. Run the first cell: it has the call {call}.")
        raise HomeworkError(said.format(assignment=assignment, call=call))
    return hw, hw.question(name)


def read_language(source: str) -> str:
    """The language of the call ``language("es")`` in a cell, read without running it; empty where there is none.

    >>> from arsetlib.grading.homework import read_language
    >>> read_language('arsetlib.language("es")')
    'es'
    """
    for call in _calls(source, "language"):
        if (
            len(call.args) == 1
            and isinstance(call.args[0], ast.Constant)
            and call.args[0].value in translation.languages()
        ):
            return str(call.args[0].value)
    return ""


def read_start(source: str) -> Start | None:
    """Assignment, name and ID of the call ``start("part1", name="Ada")`` in a cell, read without running it.

        >>> from arsetlib.grading.homework import read_start
        >>> read_start('hw = grading.start("part1", name="Ada")')
        Start(assignment='part1', name='Ada', id='')

    None where the cell has no such call with plain strings.
    """
    for call in _calls(source, "start"):
        arguments = dict(zip(("assignment", "name"), call.args, strict=False))
        arguments |= {keyword.arg: keyword.value for keyword in call.keywords}
        values = [getattr(arguments.get(key), "value", None) for key in ("assignment", "name")]
        values.append(getattr(arguments["id"], "value", None) if "id" in arguments else "")
        if all(isinstance(value, str) for value in values):
            return Start(*values)
    return None


def _calls(source: str, name: str) -> list[ast.Call]:
    """The calls of ``name`` or of ``….name`` in a cell; none where it is not Python."""
    try:
        nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    return [call for call in nodes if getattr(call.func, "attr", getattr(call.func, "id", "")) == name]


def normal_name(name: str) -> str:
    """A name with composed letters and single spaces, so that two ways to type it are the same name."""
    return " ".join(unicodedata.normalize("NFC", name).split())


def data_folder(here: Path | None = None) -> Path:
    """Folder of the sample data for a notebook in the folder ``here``, by default the current one."""
    if os.environ.get("ARSET_DATA"):
        return Path(os.environ["ARSET_DATA"])
    here = here or Path.cwd()
    for folder in (here, *here.parents[:3]):
        if (folder / "data" / "delta-toy").is_dir():
            return folder / "data"
    return (here.parent if here.name in ASSIGNMENTS else here) / "data"
