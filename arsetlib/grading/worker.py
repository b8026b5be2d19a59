"""A process of the grader that marks submissions one by one: the checks run here, learners' code in its sandboxes.

It is a process of its own so that a value which makes a check endless, or fills memory while it is read, ends this one
and not the batch.

    python -m arsetlib.grading.worker '{"folder": …}'      messages on standard input and output, see talk.py
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import warnings
from dataclasses import asdict
from pathlib import Path

from arsetlib import orphans
from arsetlib.grading import hidden, talk
from arsetlib.grading.homework import HomeworkError, open_homework
from arsetlib.grading.marking import Mark, mark
from arsetlib.grading.sandbox import SCRATCH, Limits, SandboxError, View, require
from arsetlib.grading.submission import Notebook, SubmissionError, read, shown

MEMORY = 6 << 30  # bytes of this process itself


def main() -> None:
    """Mark what is asked for until the grader closes the talk."""
    settings = json.loads(sys.argv[1])
    orphans.end_with(settings["parent"])
    requests, replies = talk.take_over()
    warnings.simplefilter("ignore")  # of code that is only parsed
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, resource.getrlimit(resource.RLIMIT_DATA)[1]))
    worker = Worker(settings, lambda message: talk.send(replies, message))
    while True:
        try:
            request = talk.receive(requests)
        except talk.TalkError:
            return
        worker.do(request["submission"], request["after"])


class Worker:
    """Marks submissions, and says at which stage it is, so that the grader knows how long to wait.

    Args:
        settings: "folder", "data", "private", "hidden", "limits", "trust".
        tell: Takes messages: ``{"stage": …}``, ``{"mark": …}`` for each notebook, at the end ``{"done": True}`` or
            ``{"failed": words}``.
    """

    def __init__(self, settings: dict, tell):
        self.folder, self.data = Path(settings["folder"]), Path(settings["data"])
        self.private = tuple(map(Path, settings["private"]))
        self.hidden, self.limits = settings["hidden"], Limits(**settings["limits"])
        self.trust, self.tell, self._ready = settings["trust"], tell, {}
        require(self.trust)

    def do(self, submission: str, after: int) -> None:
        """Mark the notebooks of one submission, but for the first ones, which have a mark."""
        self.tell({"stage": "read"})
        try:
            for notebook in read(self.folder / submission)[after:]:
                self.tell({"mark": asdict(self.one(submission, notebook))})
        except SubmissionError as problem:
            self.tell({"mark": asdict(Mark(shown(submission), reason=str(problem)))})
        except (SandboxError, HomeworkError) as problem:
            return self.tell({"failed": str(problem)})
        self.tell({"done": True})

    def one(self, submission: str, notebook: Notebook) -> Mark:
        name = shown(submission) + (f"/{shown(notebook.inside)}" if notebook.inside else "")
        if notebook.problem:
            return Mark(name, notebook.learner, notebook.assignment, reason=notebook.problem)
        self.tell({"stage": "prepare"})
        checks, files = self.prepare(notebook.assignment)
        hw = open_homework(notebook.assignment, notebook.learner, self.data)
        view = View(self.data, self.private, files)
        unread = Mark(name, notebook.learner, notebook.assignment, of=sum(q.points for q in hw.questions))
        self.tell({"stage": "mark", "unread": asdict(unread)})
        if not self.trust:
            return mark(name, notebook, hw, checks, self.limits, view)
        with tempfile.TemporaryDirectory(prefix="arset-grade-", ignore_cleanup_errors=True) as scratch:
            return mark(name, notebook, hw, checks, self.limits, view, Path(scratch))

    def prepare(self, assignment: str) -> tuple[dict, dict]:
        """Hidden checks of an assignment and files for the sandbox; the sample data are there after it."""
        if assignment not in self._ready:
            hw = open_homework(assignment, "nobody", self.data)
            checks = hidden.load(self.hidden, assignment) if self.hidden else {}
            hw.table, hw.draw  # noqa: B018 -- made where they are missing
            if hasattr(hw.module, "prepare"):
                hw.prepared  # noqa: B018
            self._ready[assignment] = checks, find_fonts()
        return self._ready[assignment]


def find_fonts() -> dict[str, str]:
    """Matplotlib's list of fonts, which takes seconds to make: a file here, and its name in the sandbox."""
    try:
        import matplotlib
    except ImportError:
        return {}
    made = sorted(Path(matplotlib.get_cachedir()).glob("fontlist-v*.json"))
    if not made:
        import IPython.core.interactiveshell  # noqa: F401
        import matplotlib.pyplot  # makes it; and both are compiled now, which a sandbox could not keep

        made = sorted(Path(matplotlib.get_cachedir()).glob("fontlist-v*.json"))
    return {str(path): f"{SCRATCH}/.matplotlib/{path.name}" for path in made if os.stat(path).st_mode & 0o004}


if __name__ == "__main__":
    main()
