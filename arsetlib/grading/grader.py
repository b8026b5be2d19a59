"""Grade a folder of submissions: several at a time, each in a sandbox, into one CSV and a log for each.

    grades = grade("submissions", out="grades.csv")

**One row for each notebook.** A learner who hands in an assignment twice, or whose name stands in two notebooks, has
two rows; both say so, and the better one counts: so nobody can take another's points away by using their name.

**The same submission gets the same marks.** What was graded is not run again while its bytes, the checks, the limits
and the library are the same; so a stopped run goes on where it was. Only what the clock stopped is tried again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import selectors
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import arsetlib
from arsetlib import folders
from arsetlib.errors import ArsetError
from arsetlib.grading import sandbox, submission, talk
from arsetlib.grading.grades import Grades, write, write_csv
from arsetlib.grading.marking import Mark
from arsetlib.grading.sandbox import Limits

PATIENCE = {
    "start": 300.0,
    "read": 60.0,
    "prepare": 3600.0,
}  # seconds a worker may take for a stage; "mark" has that of the limits
SAMPLE = "sample-data"  # folder beside the logs; a run that is killed leaves it, and the next one goes on with it
MAX_FAILED = 3  # submissions that could not be run, through no fault of theirs, before the batch stops
GRACE = 60.0  # seconds for the checks themselves, beyond what the sandbox may take


class GradeError(ArsetError, ValueError):
    """A batch that cannot be graded as it was asked for."""


def grade(
    folder: str | Path, *, out: str | Path = "grades.csv", hidden: str | Path | None = None,
    data: str | Path | None = None, jobs: int | None = None, limits: Limits | None = None, trust: bool = False,
    progress: bool = True,
) -> Grades:  # fmt: skip
    """Grade all notebooks and zips below a folder.

    Args:
        folder: Of the submissions; it may have one folder for each learner.
        out: The CSV; logs go to a folder beside it, ``<name>-logs``.
        hidden: Folder or zip of hidden checks; by default those of this repository, if there are any.
        data: Folder of the sample data, made if missing; else the environment variable ARSET_DATA; else the sample is
            made beside the logs (from the scenes in ``data/delta-toy``, if they are there), and removed at the end.
        jobs: How many at a time; by default one for each core.
        limits: What each submission may use.
        trust: Run the submissions even where there is no sandbox.
        progress: Show a bar.

    Raises:
        SandboxError: There is no sandbox on this machine and ``trust`` is False, or it stopped working.
        GradeError: The folder or the hidden checks cannot be used; another process grades into the same logs; the disk
            is full.
    """
    sandbox.require(trust)
    out = Path(out).absolute()
    logs = out.with_name(f"{out.stem}-logs")
    batch = _Batch(folder, out, logs, hidden, data, limits or Limits(), trust)
    jobs = max(1, min(jobs or len(_cores()), len(batch.waiting) or 1))
    with folders.room(logs, GradeError), folders.lock(logs, GradeError):
        folders.clear(logs)
        try:
            with _Bar(len(batch.paths), batch.reused, progress) as bar:
                for _ in batch.run(jobs):
                    bar.update()
        finally:
            marks = batch.marks()
            write_csv(logs / out.name, marks)  # first here, so that a kill leaves nothing beside the CSV
            folders.put(out, logs / out.name)
            if batch.sample:
                shutil.rmtree(batch.sample, ignore_errors=True)
    if batch.failed:
        name, words = next(iter(batch.failed.items()))
        raise sandbox.SandboxError(
            f"{len(batch.failed)} submissions could not be run, one is {submission.clean(name)}: {words} "
            "What was graded is kept; run the same command to go on."
        )
    return Grades(tuple(marks), batch.out, batch.logs, batch.reused)


class _Batch:
    """The submissions of a folder: what is done, what waits, and the workers."""

    def __init__(self, folder, out: Path, logs: Path, hidden, data, limits: Limits, trust: bool):
        self.folder, self.out, self.logs = Path(folder).absolute(), out, logs
        data = data or os.environ.get("ARSET_DATA")
        self.sample = None if data else self.logs / SAMPLE
        data = Path(data or self.sample).absolute()
        if not self.sample and data.is_relative_to(self.folder):
            raise GradeError(f"The sample data in {data} lie among the submissions. Keep them in another folder.")
        hidden = find_hidden(hidden)
        try:
            self.paths = submission.find(self.folder)
        except submission.SubmissionError as problem:
            raise GradeError(str(problem)) from None
        for place in (self.logs, data):
            place.mkdir(parents=True, exist_ok=True)
        if self.sample:
            _copy_scenes(Path("data"), self.sample)
        private = [self.folder, self.out, self.logs, *([hidden] if hidden else [])]
        self.settings = {
            "folder": str(self.folder), "data": str(data), "private": [str(path) for path in private],
            "hidden": hidden and str(hidden), "limits": asdict(limits), "trust": trust,
            "parent": os.getpid(),
        }  # fmt: skip
        self.patience = PATIENCE | {"mark": limits.wall + GRACE}
        checks = _fingerprint_of_checks(hidden, limits)
        self.done: dict[str, list[Mark]] = {}
        self.failed: dict[str, str] = {}
        self.begun: dict[str, list[Mark]] = {}  # zips of which a notebook ended the worker
        self.keys, self.waiting = {}, []
        for path in self.paths:
            name = str(path.relative_to(self.folder))
            self.keys[name] = hashlib.sha256(f"{checks}\n{submission.fingerprint(path)}".encode()).hexdigest()
            held = self.load(name)
            if held is None:
                self.waiting.append(name)
            else:
                self.done[name] = held
        self.reused = len(self.done)

    def run(self, jobs: int) -> Iterator[str]:
        """Grade what waits; gives each name as it is finished. Stops all workers at its end, however that comes."""
        todo, workers = list(reversed(self.waiting)), []
        with selectors.DefaultSelector() as selector:
            try:
                while len(self.failed) < MAX_FAILED and (todo or any(worker.name for worker in workers)):
                    workers = [worker for worker in workers if worker.process.poll() is None or worker.name]
                    while todo and len(workers) < jobs:
                        workers.append(_Worker(self.settings, selector))
                    for worker in workers:
                        if todo and not worker.name:
                            name = todo.pop()
                            worker.give(name, self.begun.get(name, []))
                    for key, _ in selector.select(timeout=0.5):
                        if key.data.take():
                            yield from self.finish(key.data, todo)
                    for worker in workers:
                        if worker.name and time.monotonic() - worker.since > self.patience[worker.stage]:
                            worker.late = True
                            worker.give_up(f"it took over {self.patience[worker.stage]:g} s to {worker.stage} it")
                            yield from self.finish(worker, todo)
            finally:
                for worker in workers:
                    worker.stop()

    def finish(self, worker: _Worker, todo: list[str]) -> Iterator[str]:
        """Keep what a worker found of its submission, and give its name; a zip's further notebooks are still to do."""
        name, marks = worker.name, worker.marks
        worker.name = ""
        if worker.failed:
            self.failed[name] = worker.failed
            yield name
            return
        if worker.ended:
            unread = worker.unread or Mark(submission.clean(name))
            unread.reason, unread.again = f"It could not be graded: {worker.ended}", worker.late
            marks = [*marks, unread]
            if worker.unread and name.lower().endswith(".zip"):
                self.begun[name] = marks
                todo.append(name)
                return
        self.save(name, marks)
        self.done[name] = marks
        yield name

    def load(self, name: str) -> list[Mark] | None:
        """Marks of an earlier run, None where there are none for the same bytes and checks."""
        try:
            held = json.loads(self.place(name, ".json").read_text(encoding="utf-8"))
            if held["key"] != self.keys[name]:
                return None
            marks = [Mark(**one) for one in held["marks"]]
            return None if any(one.again for one in marks) else marks
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def save(self, name: str, marks: list[Mark]) -> None:
        log = "\n".join(one.log or f"{one.submission}: {one.reason}\n" for one in marks)
        write(self.place(name, ".log"), log)
        for one in marks:
            one.log = self.place(name, ".log").name
        write(self.place(name, ".json"), json.dumps({"key": self.keys[name], "marks": [asdict(m) for m in marks]}))

    def place(self, name: str, ending: str) -> Path:
        """Where a submission's log or marks are: never outside the folder, never that of another."""
        words = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[:60]
        return self.logs / f"{words}-{hashlib.sha256(os.fsencode(name)).hexdigest()[:10]}{ending}"

    def marks(self) -> list[Mark]:
        """Of all submissions in their order, with a word where two are of one learner, or where one is still to do."""
        order = [str(path.relative_to(self.folder)) for path in self.paths]
        waits = "Not graded yet: run the same command to go on."
        marks = [
            one
            for name in order
            for one in self.done.get(name) or [Mark(submission.clean(name), reason=waits, again=True)]
        ]
        same = defaultdict(list)
        for one in marks:
            if one.learner and one.assignment:
                same[one.learner, one.assignment].append(one)
        for group in same.values():
            for one in group:
                others = [other.submission for other in group if other is not one]
                if others:
                    words = f"The same name and assignment also in {', '.join(others[:3])}: the better one counts"
                    one.reason = "; ".join(filter(None, (one.reason, words)))
        return marks


class _Worker:
    """A process that marks, see `arsetlib.grading.worker`.

    Attributes:
        name: Submission that it works on; empty where it waits.
        stage: What it does: start, read, prepare or mark; ``since`` when.
        marks: Of this submission's notebooks.
        unread: The mark of the notebook it works on, should that end it.
        failed: Why the submission could not be run, through no fault of its own.
        ended: Why the process was ended by the submission; ``late`` where it was the clock.
    """

    def __init__(self, settings: dict, selector):
        self.selector, self.words = selector, tempfile.TemporaryFile()  # noqa: SIM115 -- closed by stop
        self._expect("")
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "arsetlib.grading.worker", json.dumps(settings)], bufsize=0,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.words, start_new_session=True,
        )  # fmt: skip
        selector.register(self.process.stdout, selectors.EVENT_READ, self)

    def _expect(self, name: str) -> None:
        self.name, self.stage, self.since = name, "start", time.monotonic()
        self.marks, self.unread, self.failed, self.ended, self.late = [], None, "", "", False

    def give(self, name: str, begun: list[Mark]) -> None:
        """Let it mark a submission, after those of its notebooks that have a mark."""
        self._expect(name)
        self.marks = list(begun)
        with contextlib.suppress(talk.TalkError):  # then it has ended, and `take` finds out
            talk.send(self.process.stdin.fileno(), {"submission": name, "after": len(begun)})

    def take(self) -> bool:
        """Take a message; True where the submission is finished by it."""
        try:
            message = talk.receive(self.process.stdout.fileno())
        except talk.TalkError:
            return self._end()
        if "stage" in message:
            self.stage, self.since = message["stage"], time.monotonic()
            self.unread = Mark(**message["unread"]) if "unread" in message else None
        elif "mark" in message:
            self.marks.append(Mark(**message["mark"]))
            self.stage, self.since, self.unread = "read", time.monotonic(), None
        self.failed = message.get("failed", "")
        return "failed" in message or "done" in message

    def _end(self) -> bool:
        """The process has ended by itself: while it marked, or before it could."""
        self.words.seek(0)
        words = self.words.read().decode(errors="replace").strip().rpartition("\n")[2][-300:]
        had = bool(self.name)
        self.give_up(f"reading it ended the grader's own process ({words or 'no words'})")
        return had

    def give_up(self, why: str) -> None:
        """End it: by fault of the submission, once that is being read."""
        self.stop()
        if self.stage in ("start", "prepare"):
            self.failed = why
        else:
            self.ended = why

    def stop(self) -> None:
        """End it; its sandbox ends with it."""
        if not self.process.stdout.closed:
            self.selector.unregister(self.process.stdout)
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.words):
            pipe.close()


def find_hidden(hidden: str | Path | None) -> Path | None:
    """Where the hidden checks are: what was asked for, else those of the repository this library is used from.

    Raises:
        GradeError: What was asked for does not exist.
    """
    if hidden is not None:
        if not Path(hidden).exists():
            raise GradeError(f"Expected a folder or a zip of hidden checks, found none at {hidden}.")
        return Path(hidden).absolute()
    own = Path(arsetlib.__file__).parent.parent / "homework" / "hidden"
    return own if own.is_dir() else None


def _copy_scenes(data: Path, sample: Path) -> None:
    """The sample's scenes, which take a minute to make, from where a lab or a homework made them."""
    made, target = data / "delta-toy", sample / "delta-toy"
    if folders.state(made) == "complete" and not target.exists():
        part = sample / ".delta-toy.part"
        shutil.rmtree(part, ignore_errors=True)
        shutil.copytree(made, part)
        part.rename(target)


def _fingerprint_of_checks(hidden: Path | None, limits: Limits) -> str:
    """SHA-256 of all that marks depend on besides the submission."""
    found = hashlib.sha256(f"{arsetlib.__version__} {sys.version_info[:2]} {sandbox.describe(limits)}".encode())
    files = sorted(Path(__file__).parent.rglob("*.py"))
    if hidden is not None:
        kept = (path for path in hidden.rglob("*") if path.is_file() and path.suffix != ".pyc")
        files += sorted(kept) if hidden.is_dir() else [hidden]
    for path in files:
        found.update(f"\n{path.name}\n".encode() + path.read_bytes())
    return found.hexdigest()


def _cores() -> set[int] | range:
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)


def _Bar(total: int, done: int, progress: bool):
    from tqdm import tqdm

    return tqdm(total=total, initial=done, unit=" submissions", disable=not progress, leave=False)
