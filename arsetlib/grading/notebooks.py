"""Learners' notebooks: made by ``make homework``, shipped with the library, written with the learner's name in them."""

from __future__ import annotations

import json
import unicodedata
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from arsetlib import folders, textfiles
from arsetlib.grading.homework import (
    ASSIGNMENTS,
    PLACEHOLDER,
    Homework,
    HomeworkError,
    Start,
    open_homework,
    read_start,
)
from arsetlib.translation import ENGLISH, _, language, languages

__all__ = ["AssignmentSummary", "shipped", "shipped_files", "started", "summaries", "write"]


@dataclass(frozen=True)
class AssignmentSummary:
    """What an assignment asks."""

    key: str
    title: str
    questions: int
    points: int


def shipped() -> list[str]:
    """Keys of the assignments whose notebooks come with this library."""
    return [key for key in ASSIGNMENTS if (_shipped_folder(key) / f"{key}.ipynb").is_file()]


def summaries() -> list[AssignmentSummary]:
    """All assignments, in the order of the course."""
    rows = []
    for key in shipped():
        hw = open_homework(key, PLACEHOLDER)
        rows.append(AssignmentSummary(key, _(hw.module.TITLE), len(hw.questions), hw.points))
    return rows


def write(keys: list[str], name: str, out: Path, id: str = "") -> list[tuple[Path, bool]]:
    """Write assignments for one learner: the notebook with the name in it, and otter's test files beside it.

    Notebooks are in the reader's language, see `arsetlib.language`.

    Args:
        keys: Assignments; an empty list means all.
        name: Name of the learner.
        out: Folder, also in an object store; each assignment gets a folder in it.
        id: The learner's ID in the course, such as a student number.

    Returns:
        Each notebook, and whether it was written: an existing one is the learner's work and is kept.

    Raises:
        HomeworkError: There is no such assignment or no name, or ``out`` has the notebook of somebody else.
    """
    homework = [open_homework(key, name, id=id) for key in keys or shipped()]
    for hw in homework:
        if hw.assignment not in shipped():
            raise HomeworkError(
                _("This version has no notebook of {assignment!r}. It has: {names}.").format(
                    assignment=hw.assignment, names=", ".join(shipped())
                )
            )
        if any(unicodedata.category(letter)[0] == "C" for letter in hw.name):
            raise HomeworkError(
                _("Expected a name of letters, received {name!r} with a control character.").format(name=hw.name)
            )
        if hw.name == PLACEHOLDER:
            raise HomeworkError(_("Expected your name after --seed, for instance --seed 'Ada Lovelace'."))
    out = folders.place(out)
    return [_write(hw, out / hw.assignment) for hw in homework]


def started(notebook: Path) -> Start | None:
    """Assignment, name and ID of the first cell of a notebook that starts a homework, without running it; else None.

    Raises:
        HomeworkError: It is not a notebook.
    """
    try:
        cells = textfiles.read_json(notebook)["cells"]
        sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    except (ValueError, KeyError, TypeError) as problem:
        raise HomeworkError(
            _("Expected a notebook, received {notebook}: {problem}.").format(notebook=notebook, problem=problem)
        ) from None
    return next((start for start in map(read_start, sources) if start), None)


def _write(hw: Homework, folder: Path) -> tuple[Path, bool]:
    file = folder / f"{hw.assignment}.ipynb"
    if file.exists():
        start = started(file)
        if start and (open_homework(start.assignment, start.name).name, start.id) != (hw.name, hw.id):
            raise HomeworkError(
                _("{file} is the homework of {name}. Name another folder with --out.").format(
                    file=file, name=start.name
                )
            )
        return file, False
    source_folder = _shipped_folder(hw.assignment)
    notebook = json.loads((source_folder / file.name).read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code" and read_start(source):
            own = json.dumps(hw.name, ensure_ascii=False) + (f", id={json.dumps(hw.id)}" if hw.id else "")
            source = source.replace(f'"{PLACEHOLDER}"', own)
            cell["source"] = source.splitlines(keepends=True)
    for test in (source_folder / "tests").iterdir():
        if test.name.endswith(".py"):
            folders.put(folder / "tests" / test.name, test.read_bytes())
    folders.put_json(file, notebook)
    return file, True


def shipped_files(key: str) -> list[Traversable]:
    """The notebooks of an assignment that come with this library, English first."""
    files = [_folder_of(key, code) / f"{key}.ipynb" for code in languages()]
    return [file for file in files if file.is_file()]


def _shipped_folder(key: str) -> Traversable:
    """Folder of an assignment's notebook in the reader's language; of the English one where there is none."""
    own = _folder_of(key, language())
    return own if own.is_dir() else _folder_of(key, ENGLISH)


def _folder_of(key: str, code: str) -> Traversable:
    student = resources.files("arsetlib.grading") / "student"
    return student / key if code == ENGLISH else student / code / key
