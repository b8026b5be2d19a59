"""Hidden checks: an instructor's own, in a folder or a zip beside no learner's eyes.

One file each, ``part1.py``, with ``HIDDEN = {"q1": check, …}``; a check is a function ``(answer, hw) -> None`` that
raises `Wrong`. They run in the grader's process: take them from people you trust.
"""

from __future__ import annotations

import sys
import types
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from arsetlib.grading.homework import HomeworkError, open_homework


def load(where: str | Path, assignment: str) -> dict[str, Callable]:
    """The hidden checks of one assignment, by the key of the question.

    Args:
        where: Folder or zip; in a zip the files may lie in one folder.
        assignment: "part1", …

    Returns:
        Empty where there is no file for this assignment.

    Raises:
        HomeworkError: There is no such folder or zip, the file does not run, or it has a check for no question.
    """
    where = Path(where)
    source = _source(where, f"{assignment}.py")
    if source is None:
        return {}
    module = types.ModuleType(f"arset_hidden_{assignment}")
    module.__file__ = f"{where}/{assignment}.py"
    sys.modules[module.__name__] = module  # dataclasses look their module up
    try:
        exec(compile(source, module.__file__, "exec"), module.__dict__)  # noqa: S102 - the instructor's own file
        checks = dict(module.HIDDEN)
    except Exception as problem:
        raise HomeworkError(
            f'Expected {module.__file__} to define HIDDEN = {{"q1": check, …}}, '
            f"received {type(problem).__name__}: {problem}."
        ) from problem
    known = [question.key for question in open_homework(assignment, "anyone").questions]
    for key, check in checks.items():
        if key not in known or not callable(check):
            raise HomeworkError(
                f"{module.__file__} has {'a check' if callable(check) else 'no function'} for {key!r}. "
                f"Questions of {assignment}: {', '.join(known)}."
            )
    return checks


def _source(where: Path, name: str) -> bytes | None:
    if where.is_dir():
        return (where / name).read_bytes() if (where / name).is_file() else None
    if not where.is_file() or not zipfile.is_zipfile(where):
        raise HomeworkError(f"Expected a folder or a zip of hidden checks, received {str(where)!r}.")
    try:
        with zipfile.ZipFile(where) as held:
            found = [entry for entry in held.namelist() if PurePosixPath(entry.replace("\\", "/")).name == name]
            found = [entry for entry in found if not entry.startswith("__MACOSX")]
            if len(found) > 1:
                raise HomeworkError(f"{where} holds {name} more than once: {', '.join(found)}. Leave one.")
            return held.read(found[0]) if found else None
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as problem:
        raise HomeworkError(f"{where} is damaged or encrypted: {problem}. Zip the folder of checks again.") from None
