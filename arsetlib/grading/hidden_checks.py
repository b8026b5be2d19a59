"""Hidden checks: an instructor's own checks, in a private folder or zip that learners never see.

One file for each assignment, ``part1.py``, with ``HIDDEN = {"q1": check, …}``. A check is a function
``(answer, hw) -> None`` that raises `Wrong`. Checks run in the grader's own process: use only checks that you trust.
"""

from __future__ import annotations

import sys
import types
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

from arsetlib import copies
from arsetlib.grading.homework import HomeworkError, find_question, open_homework
from arsetlib.grading.questions import Wrong, assess

__all__ = ["load", "require"]


def load(where: str | Path, assignment: str) -> dict[str, Callable]:
    """The hidden checks of one assignment: question → check.

    Args:
        where: Folder or zip; in a zip the files may be in a folder.
        assignment: "part1", …

    Returns:
        Empty where there is no file for this assignment.

    Raises:
        HomeworkError: There is no such folder or zip, the file does not run, or a key is not a question.
    """
    where = copies.fetched(where)
    source = _read_source(where, f"{assignment}.py")
    if source is None:
        return {}
    module = types.ModuleType(f"arset_hidden_{assignment}")
    module.__file__ = f"{where}/{assignment}.py"
    sys.modules[module.__name__] = module  # dataclasses look up their module
    try:
        exec(compile(source, module.__file__, "exec"), module.__dict__)  # noqa: S102 - the instructor's own file
        checks = dict(module.HIDDEN)
    except Exception as error:
        raise HomeworkError(
            f'Expected {module.__file__} to define HIDDEN = {{"q1": check, …}}, '
            f"received {type(error).__name__}: {error}."
        ) from error
    questions = [question.key for question in open_homework(assignment, "anyone").questions]
    for key, check in checks.items():
        if key not in questions or not callable(check):
            raise HomeworkError(
                f"{module.__file__} has {'a check' if callable(check) else 'no function'} for {key!r}. "
                f"Questions of {assignment}: {', '.join(questions)}."
            )
    return checks


def require(key: str, answer: Any, hidden: str | Path | None = None) -> None:
    """Like `arsetlib.grading.check`, for otter's test files: silent where the answer is right.

    Args:
        key: "q3" of the homework started last, or "part1.q3".
        answer: The variable or function of the notebook.
        hidden: Folder or zip of hidden checks, used instead of the public check.

    Raises:
        Wrong: The answer is not right.
    """
    hw, question = find_question(key)
    checks = load(hidden, hw.assignment) if hidden is not None else {}
    result = assess(question, answer, hw, *(checks[name] for name in checks if name == question.key))
    if not result.ok:
        raise Wrong(result.message)


def _read_source(where: Path, name: str) -> bytes | None:
    if where.is_dir():
        return (where / name).read_bytes() if (where / name).is_file() else None
    if not where.is_file() or not zipfile.is_zipfile(where):
        raise HomeworkError(f"Expected a folder or a zip of hidden checks, received {str(where)!r}.")
    try:
        with zipfile.ZipFile(where) as archive:
            entries = [entry for entry in archive.namelist() if PurePosixPath(entry.replace("\\", "/")).name == name]
            entries = [entry for entry in entries if not entry.startswith("__MACOSX")]
            if len(entries) > 1:
                raise HomeworkError(f"{where} contains {name} more than once: {', '.join(entries)}. Keep one.")
            return archive.read(entries[0]) if entries else None
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as problem:
        raise HomeworkError(f"{where} is damaged or encrypted: {problem}. Zip the folder of checks again.") from None
