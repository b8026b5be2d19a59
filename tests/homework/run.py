"""Try the answers of `answers_<key>.py` against the public and the hidden checks, as the grader does."""

import contextlib
import dataclasses
import importlib
import importlib.util
import io
from dataclasses import dataclass
from pathlib import Path

from arsetlib.grading import questions
from arsetlib.grading.homework import ASSIGNMENTS, Homework, open_homework

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("Ada Lovelace", "Blas Cabrera", "陳景潤")  # whose numbers are tried
SECONDS = 3.0  # that one call may take here, so that a very slow answer is soon over


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


def hidden(assignment: str, folder: Path = ROOT / "homework" / "hidden") -> dict:
    """Question → hidden check."""
    path = folder / f"{assignment}.py"
    spec = importlib.util.spec_from_file_location(f"hidden_{assignment}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.HIDDEN


def homework(assignment: str, name: str, data: Path) -> Homework:
    return open_homework(assignment, name, data)


def trial(hw: Homework, key: str, name: str, make, checks: dict) -> Tried:
    """One answer against the public check, then the hidden one."""
    question = dataclasses.replace(hw.question(key), seconds=SECONDS)
    with contextlib.redirect_stdout(io.StringIO()):
        answer = make(hw)
        found = questions.assess(question, answer, hw)
        by = "" if found.ok else "public"
        if found.ok and key in checks:
            found = questions.assess(question, answer, hw, checks[key])
            by = "" if found.ok else "hidden"
    return Tried(hw.assignment, key, question.kind, name, by, found.message)


def tried(hw: Homework, which: dict) -> list[Tried]:
    """All answers of ``which`` (RIGHT or WRONG) for one learner."""
    checks = hidden(hw.assignment)
    return [trial(hw, key, name, make, checks) for key, made in which.items() for name, make in made.items()]
