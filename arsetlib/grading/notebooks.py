"""Learners' notebooks: made by ``make homework``, shipped with the library, written with the learner's name in them."""

from __future__ import annotations

import json
import unicodedata
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from arsetlib.grading.homework import ASSIGNMENTS, NOBODY, HomeworkError, open_homework, read_start


@dataclass(frozen=True)
class Summary:
    """What an assignment asks."""

    key: str
    title: str
    questions: int
    points: int


def shipped() -> list[str]:
    """Keys of the assignments that this library has notebooks of."""
    return [key for key in ASSIGNMENTS if (_home() / key / f"{key}.ipynb").is_file()]


def summaries() -> list[Summary]:
    """All assignments, in the order of the course."""
    found = []
    for key in shipped():
        hw = open_homework(key, NOBODY)
        title = hw.module.__doc__.split(". ")[0].strip().rstrip(".")
        found.append(Summary(key, title, len(hw.questions), sum(question.points for question in hw.questions)))
    return found


def write(keys: list[str], name: str, out: Path) -> list[tuple[Path, bool]]:
    """Write assignments for one learner: the notebook with the name in it, and otter's test files beside it.

    Args:
        keys: Assignments; none means all.
        name: Of the learner.
        out: Folder; each assignment gets one of its own in it.

    Returns:
        Each notebook, and whether it was written: one that is there already is a learner's work, and is kept.

    Raises:
        HomeworkError: No such assignment, no name, or ``out`` holds the notebook of somebody else.
    """
    homework = [open_homework(key, name) for key in keys or shipped()]
    for hw in homework:
        if hw.assignment not in shipped():
            raise HomeworkError(f"This version has no notebook of {hw.assignment!r}. It has: {', '.join(shipped())}.")
        if any(unicodedata.category(letter)[0] == "C" for letter in hw.name):
            raise HomeworkError(f"Expected a name of letters, received {hw.name!r} with a control character.")
        if hw.name == NOBODY:
            raise HomeworkError("Expected your name after --seed, for instance --seed 'Ada Lovelace'.")
    return [_write(hw, out / hw.assignment) for hw in homework]


def started(notebook: Path) -> tuple[str, str] | None:
    """Assignment and name of the first cell of a notebook that starts one, without running it; None if none does.

    Raises:
        HomeworkError: It is no notebook.
    """
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    except (ValueError, KeyError, TypeError) as problem:
        raise HomeworkError(f"Expected a notebook, received {notebook}: {problem}.") from None
    return next((found for found in map(read_start, sources) if found), None)


def _write(hw, folder: Path) -> tuple[Path, bool]:
    place = folder / f"{hw.assignment}.ipynb"
    if place.exists():
        found = started(place)
        if found and open_homework(*found).name != hw.name:
            raise HomeworkError(f"{place} is the homework of {found[1]}. Name another folder with --out.")
        return place, False
    home = _home() / hw.assignment
    notebook = json.loads((home / f"{hw.assignment}.ipynb").read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code" and read_start(source):
            source = source.replace(f'"{NOBODY}"', json.dumps(hw.name, ensure_ascii=False))
            cell["source"] = source.splitlines(keepends=True)
    (folder / "tests").mkdir(parents=True, exist_ok=True)
    for test in sorted((home / "tests").iterdir(), key=lambda file: file.name):
        if test.name.endswith(".py"):
            (folder / "tests" / test.name).write_bytes(test.read_bytes())
    part = place.with_name("." + place.name + ".part")
    part.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8", newline="\n")
    part.replace(place)
    return place, True


def _home():
    return resources.files("arsetlib.grading") / "student"
