"""A worker process of the grader: it marks submissions one by one, each notebook in a sandbox.

The checks run in this process. It is separate from the grader because a value may make a check endless or fill the
memory while it is read: then only this process ends, not the whole batch.

    python -m arsetlib.grading.worker '{"folder": …}'      messages on standard input and output, see protocol.py
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from arsetlib import processes
from arsetlib.grading import hidden_checks, protocol
from arsetlib.grading.homework import HomeworkError, open_homework
from arsetlib.grading.limits import Limits
from arsetlib.grading.marking import Mark, mark
from arsetlib.grading.sandbox import SCRATCH, SandboxError, View, require
from arsetlib.grading.submission import Notebook, SubmissionError, display_name, read

MEMORY = 6 << 30  # bytes of this process itself


def main() -> None:
    """Mark submissions until the grader closes the channel."""
    settings = json.loads(sys.argv[1])
    processes.end_with(settings["parent"])
    requests, replies = protocol.take_over_stdio()
    warnings.simplefilter("ignore")  # those of code that is only parsed
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, resource.getrlimit(resource.RLIMIT_DATA)[1]))
    worker = Worker(settings, lambda message: protocol.send(replies, message))
    while True:
        try:
            request = protocol.receive(requests)
        except protocol.ProtocolError:
            return
        worker.mark_submission(request["submission"], request["after"])


class Worker:
    """Marks submissions, and reports its stage, so that the grader knows how long to wait.

    Args:
        settings: "folder", "data", "private", "hidden", "limits", "trust".
        send: Takes messages: ``{"stage": …}``, ``{"mark": …}`` for each notebook, at the end ``{"done": True}`` or
            ``{"failed": reason}``.
    """

    def __init__(self, settings: dict, send: Callable[[dict], None]):
        self.folder, self.data = Path(settings["folder"]), Path(settings["data"])
        self.private = tuple(map(Path, settings["private"]))
        self.hidden, self.limits = settings["hidden"], Limits(**settings["limits"])
        self.trust, self.send = settings["trust"], send
        self._prepared: dict = {}
        require(self.trust)

    def mark_submission(self, submission: str, after: int) -> None:
        """Mark the notebooks of one submission, without the first ``after``, which have a mark already."""
        self.send({"stage": "read"})
        try:
            for notebook in read(self.folder / submission)[after:]:
                self.send({"mark": asdict(self.mark_notebook(submission, notebook))})
        except SubmissionError as problem:
            self.send({"mark": asdict(Mark(display_name(submission), reason=str(problem)))})
        except (SandboxError, HomeworkError) as problem:
            return self.send({"failed": str(problem)})
        self.send({"done": True})

    def mark_notebook(self, submission: str, notebook: Notebook) -> Mark:
        """Mark one notebook of a submission."""
        name = display_name(submission) + (f"/{display_name(notebook.inside)}" if notebook.inside else "")
        if notebook.problem:
            of = open_homework(notebook.assignment, "anyone").points if notebook.assignment else 0
            return Mark(name, notebook.learner, notebook.assignment, of=of, reason=notebook.problem, id=notebook.id,
                        language=notebook.language)  # fmt: skip
        self.send({"stage": "prepare"})
        checks, files = self.prepare(notebook.assignment)
        hw = open_homework(notebook.assignment, notebook.learner, self.data, notebook.id)
        view = View(self.data, self.private, files)
        unread = Mark(
            name, notebook.learner, notebook.assignment, of=hw.points, id=notebook.id, language=notebook.language
        )
        self.send({"stage": "mark", "unread": asdict(unread)})
        if not self.trust:
            return mark(name, notebook, hw, checks, self.limits, view)
        with tempfile.TemporaryDirectory(prefix="arset-grade-", ignore_cleanup_errors=True) as scratch:
            return mark(name, notebook, hw, checks, self.limits, view, Path(scratch))

    def prepare(self, assignment: str) -> tuple[dict[str, Callable], dict[str, str]]:
        """Hidden checks of an assignment, and further files for its sandboxes. Makes the sample data if missing."""
        if assignment not in self._prepared:
            hw = open_homework(assignment, "anyone", self.data)
            checks = hidden_checks.load(self.hidden, assignment) if self.hidden else {}
            hw.table, hw.draw  # noqa: B018 -- made where they are missing
            if hasattr(hw.module, "prepare"):
                hw.prepared  # noqa: B018
            self._prepared[assignment] = checks, font_cache()
        return self._prepared[assignment]


def font_cache() -> dict[str, str]:
    """Matplotlib's list of fonts, which takes seconds to make: path here → path in the sandbox."""
    try:
        import matplotlib
    except ImportError:
        return {}
    folder = Path(matplotlib.get_cachedir())
    if not any(folder.glob("fontlist-v*.json")):
        import IPython.core.interactiveshell  # noqa: F401 -- compiles it; a sandbox could not keep the result
        import matplotlib.pyplot  # makes the list
    readable = (file for file in folder.glob("fontlist-v*.json") if os.stat(file).st_mode & 0o004)
    return {str(file): f"{SCRATCH}/.matplotlib/{file.name}" for file in readable}


if __name__ == "__main__":
    main()
