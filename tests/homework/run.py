"""Try the answers of `answers_<key>.py` against the public and the hidden checks, as the grader does."""

import contextlib
import dataclasses
import importlib
import io
import os
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from arsetlib.grading import hidden_checks, questions
from arsetlib.grading.homework import ASSIGNMENTS, Homework, open_homework

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("ARSET_DATA") or ROOT / "data")  # the sample is made there once, and kept
NAMES = ("Ada Lovelace", "Blas Cabrera", "陳景潤")  # whose numbers are tried
SECONDS = 2.0  # that one call may take here, so that a very slow answer is soon over


@dataclass(frozen=True)
class Tried:
    """One answer and what the checks said; ``by`` is the check that found it wrong: public, hidden or none."""

    assignment: str
    question: str
    kind: str
    answer: str
    by: str
    message: str


def there() -> list[str]:
    """Assignments that have answers here."""
    return [key for key in ASSIGNMENTS if (Path(__file__).parent / f"answers_{key}.py").is_file()]


def answers(assignment: str):
    """The module with RIGHT and WRONG."""
    return importlib.import_module(f"homework.answers_{assignment}")


@cache
def homework(assignment: str, name: str = NAMES[0]) -> Homework:
    """A learner's homework, with its sample ready."""
    hw = open_homework(assignment, name, DATA)
    for ready in ("table", "prepared"):
        if ready == "table" or hasattr(hw.module, "prepare"):
            getattr(hw, ready)
    return hw


@cache
def hidden_of(assignment: str) -> dict:
    """Question → hidden check, of this repository."""
    return hidden_checks.load(ROOT / "homework" / "hidden", assignment)


def trial(hw: Homework, key: str, name: str, make) -> Tried:
    """One answer against the public check, then the hidden one."""
    question = dataclasses.replace(hw.question(key), seconds=SECONDS)
    further = hidden_of(hw.assignment).get(key)
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a wrong answer may divide by zero
        answer = make(hw)
        found = questions.assess(question, answer, hw)
        by = "" if found.ok else "public"
        if found.ok and further:
            found = questions.assess(question, answer, hw, further)
            by = "" if found.ok else "hidden"
    return Tried(hw.assignment, key, question.kind, name, by, found.message)


def tried(hw: Homework, answers: dict) -> list[Tried]:
    """All answers (RIGHT or WRONG) of a module, for one learner."""
    return [trial(hw, key, name, make) for key, made in answers.items() for name, make in made.items()]
