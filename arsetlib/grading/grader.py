"""Grade a folder of submissions: several at a time, each in a sandbox, into one CSV and a log for each.

    grades = grade("submissions", out="grades.csv")

**One row for each notebook.** If a learner hands in an assignment twice, or two notebooks have the same name in them,
there are two rows; both say so, and the better one counts. So nobody can take away another's points by using the name.

**The same submission gets the same marks.** A submission is not run again while its bytes, the checks, the limits and
the library stay the same, so a stopped run continues where it was. Only what the clock stopped is tried again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import selectors
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

from tqdm import tqdm

import arsetlib
from arsetlib import checksums, copies, folders, processes, textfiles, translation
from arsetlib.grading import protocol, sandbox, submission
from arsetlib.grading.grades import GradeError, Grades, write_csv
from arsetlib.grading.limits import Limits
from arsetlib.grading.marking import Mark
from arsetlib.translation import _

__all__ = ["find_hidden", "grade"]

MAX_SECONDS = {"start": 300.0, "read": 60.0, "prepare": 3600.0}  # of a worker's stage; the limits give that of "mark"
CHECK_SECONDS = 60.0  # for the checks of a submission, in addition to the time in the sandbox
SAMPLE = "sample-data"  # folder beside the logs; a killed run leaves it for the next one
MAX_FAILED = 3  # submissions that could not be run, through no fault of their own, before the batch stops


def grade(
    folder: str | Path, *, out: str | Path = "grades.csv", hidden: str | Path | None = None,
    data: str | Path | None = None, jobs: int | None = None, limits: Limits | None = None, trust: bool = False,
    progress: bool = True,
) -> Grades:  # fmt: skip
    """Grade all notebooks and zips in a folder and the folders below it.

    Args:
        folder: The submissions; there may be a folder for each learner.
        out: The CSV to write; logs go to a folder beside it, ``<name>-logs``. Both may be in an object store: the work
            is done on this machine, and what is finished is put there.
        hidden: Folder or zip of hidden checks; by default those of this repository, if there are any.
        data: Folder of the sample data, made if missing; else the environment variable ARSET_DATA; else the sample is
            made beside the logs (from the scenes in ``data/delta-toy``, if they exist), and removed at the end.
        jobs: Submissions at a time; by default one for each core.
        limits: What each submission may use.
        trust: Run the submissions even where there is no sandbox.
        progress: Show a progress bar.

    Raises:
        SandboxError: There is no sandbox on this machine and ``trust`` is False, or it stopped working.
        GradeError: The folder or the hidden checks cannot be used, another process uses the same logs, or the disk is
            full.
    """
    sandbox.require(trust)
    if not folders.on_disk(out):
        options = {"hidden": hidden, "data": data, "jobs": jobs, "limits": limits, "trust": trust}
        return _graded_elsewhere(folder, folders.place(out), progress=progress, **options)
    folder, out = copies.fetched(folder), folders.place(out).absolute()
    logs = out.with_name(f"{out.stem}-logs")
    batch = _Batch(folder, out, logs, hidden, data, limits or Limits(), trust)
    jobs = max(1, min(jobs or processes.cores(), len(batch.waiting) or 1))
    bar = tqdm(total=len(batch.paths), initial=batch.reused, unit=" submissions", disable=not progress, leave=False)
    with folders.full_disk(logs, GradeError), folders.lock(logs, GradeError):
        folders.remove_partial(logs)
        try:
            with bar:
                for _ in batch.run(jobs):
                    bar.update()
        finally:
            marks = batch.marks()
            write_csv(logs / out.name, marks)  # written in the folder of logs, so that a kill leaves nothing beside out
            folders.put(out, logs / out.name)
            if batch.sample:
                shutil.rmtree(batch.sample, ignore_errors=True)
    if batch.failed:
        name, reason = next(iter(batch.failed.items()))
        raise sandbox.SandboxError(
            f"{len(batch.failed)} submissions could not be run, one is {submission.clean(name)}: {reason} "
            "What was graded is kept; run the same command to go on."
        )
    return Grades(tuple(marks), batch.out, batch.logs, batch.reused)


def _graded_elsewhere(folder, out, **options) -> Grades:
    """``grade`` for a CSV in an object store or a volume: a sandbox and its logs need a disk of this machine."""
    logs = out.with_name(f"{out.stem}-logs")
    with tempfile.TemporaryDirectory(prefix="arset-grades-") as place:
        here = Path(place) / out.name
        own = here.with_name(logs.name)
        if logs.exists():  # of an earlier call: what was graded then is not graded again
            shutil.copytree(copies.fetched(logs), own)
        try:
            grades = grade(folder, out=here, **options)
        finally:
            for file in sorted(own.rglob("*")):
                if file.is_file() and not folders.is_temporary(file.name):
                    folders.put(logs / file.relative_to(own).as_posix(), file.read_bytes())
            if here.is_file():
                folders.put(out, here.read_bytes())
    return replace(grades, path=out, logs=logs)


class _Batch:
    """The submissions of a folder: those with marks, those that wait, and the workers."""

    def __init__(self, folder, out: Path, logs: Path, hidden, data, limits: Limits, trust: bool):
        self.folder, self.out, self.logs = Path(folder).absolute(), out, logs
        data = data or os.environ.get("ARSET_DATA")
        self.sample = None if data else self.logs / SAMPLE
        data = folders.on_this_disk(data or self.sample, "the folder of the sample data (ARSET_DATA)", GradeError)
        data = data.absolute()
        if not self.sample and data.is_relative_to(self.folder):
            raise GradeError(f"The sample data in {data} are among the submissions. Keep them in another folder.")
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
            "hidden": hidden and str(hidden), "limits": asdict(limits), "trust": trust, "parent": os.getpid(),
        }  # fmt: skip
        self.max_seconds = MAX_SECONDS | {"mark": limits.wall_seconds + CHECK_SECONDS}
        self.done: dict[str, list[Mark]] = {}
        self.failed: dict[str, str] = {}
        self.begun: dict[str, list[Mark]] = {}  # zips in which a notebook ended the worker: marks so far
        self.keys, self.waiting = {}, []
        checks = _fingerprint_of_checks(hidden, limits)
        for path in self.paths:
            name = str(path.relative_to(self.folder))
            self.keys[name] = hashlib.sha256(f"{checks}\n{submission.fingerprint(path)}".encode()).hexdigest()
            marks = self.load(name)
            if marks is None:
                self.waiting.append(name)
            else:
                self.done[name] = marks
        self.reused = len(self.done)

    def run(self, jobs: int) -> Iterator[str]:
        """Grade what waits; yields each name when it is finished. However it ends, it stops all workers."""
        todo = list(reversed(self.waiting))
        workers: list = []
        with selectors.DefaultSelector() as selector:
            try:
                while len(self.failed) < MAX_FAILED and (todo or any(worker.name for worker in workers)):
                    workers = [worker for worker in workers if worker.process.poll() is None or worker.name]
                    while todo and len(workers) < jobs:
                        workers.append(_WorkerProcess(self.settings, selector))
                    for worker in workers:
                        if todo and not worker.name:
                            name = todo.pop()
                            worker.assign(name, self.begun.get(name, []))
                    for key, _ in selector.select(timeout=0.5):
                        if key.data.receive():
                            yield from self.finish(key.data, todo)
                    for worker in workers:
                        limit = self.max_seconds[worker.stage]
                        if worker.name and time.monotonic() - worker.since > limit:
                            worker.timed_out = True
                            worker.give_up(f"it took over {limit:g} s in the stage {worker.stage!r}")
                            yield from self.finish(worker, todo)
            finally:
                for worker in workers:
                    worker.stop()

    def finish(self, worker: _WorkerProcess, todo: list[str]) -> Iterator[str]:
        """Keep the marks of a worker's submission and yield its name. Further notebooks of a zip go on ``todo``."""
        name, marks = worker.name, worker.marks
        worker.name = ""
        if worker.failed:
            self.failed[name] = worker.failed
            yield name
            return
        if worker.ended:
            unread = worker.unread or Mark(submission.clean(name))
            with translation.speaking(unread.language):
                unread.reason = _("It could not be graded: {why}").format(why=worker.ended)
            unread.again = worker.timed_out
            marks = [*marks, unread]
            if worker.unread and name.lower().endswith(".zip"):
                self.begun[name] = marks
                todo.append(name)
                return
        self.save(name, marks)
        self.done[name] = marks
        yield name

    def load(self, name: str) -> list[Mark] | None:
        """Marks of an earlier run; None where there are none for the same bytes and checks."""
        try:
            saved = textfiles.read_json(self.path_of(name, ".json"))
            if saved["key"] != self.keys[name]:
                return None
            marks = [Mark(**fields) for fields in saved["marks"]]
            return None if any(mark.again for mark in marks) else marks
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def save(self, name: str, marks: list[Mark]) -> None:
        """Write the log, then the marks, by which a later run knows that the submission is done."""
        log = self.path_of(name, ".log")
        text = "\n".join(mark.log or f"{mark.submission}: {mark.reason}\n" for mark in marks)
        folders.put(log, text.encode("utf-8", errors="replace"))
        for mark in marks:
            mark.log = log.name
        saved = {"key": self.keys[name], "marks": [asdict(mark) for mark in marks]}
        folders.put(self.path_of(name, ".json"), json.dumps(saved))

    def path_of(self, name: str, ending: str) -> Path:
        """File for a submission's log or marks: never outside the folder of logs, never that of another."""
        own = hashlib.sha256(os.fsencode(name)).hexdigest()[:10]
        return self.logs / f"{submission.file_name(name) or 'file'}-{own}{ending}"

    def marks(self) -> list[Mark]:
        """Marks of all submissions in their order, with a note where two are of one learner, or one still waits."""
        waits, marks = _("Not graded yet: run the same command to go on."), []
        for path in self.paths:
            name = str(path.relative_to(self.folder))
            of_file = self.done.get(name) or [Mark(submission.clean(name), reason=waits, again=True)]
            marks += [replace(mark, handed_in=_changed(path)) for mark in of_file]
        groups = defaultdict(list)
        for mark in marks:
            if mark.learner and mark.assignment:
                groups[mark.learner, mark.id, mark.assignment].append(mark)
        for group in groups.values():
            for mark in group:
                others = [other.submission for other in group if other is not mark]
                if others:
                    with translation.speaking(mark.language):
                        note = _("The same name and assignment also in {names}: the better one counts")
                    note = note.format(names=", ".join(others[:3]))
                    mark.reason = "; ".join(filter(None, (mark.reason, note)))
        return marks


def _changed(path: Path) -> str:
    """When a file was last changed, UTC."""
    try:
        return datetime.fromtimestamp(int(path.stat().st_mtime), UTC).isoformat()
    except OSError:
        return ""


class _WorkerProcess:
    """The grader's side of a worker process, see `arsetlib.grading.worker`.

    Attributes:
        name: Submission that it works on; empty where it waits.
        stage: "start", "read", "prepare" or "mark"; ``since`` is when the stage began.
        marks: Marks of this submission's notebooks.
        unread: Mark of the notebook that it works on, in case that ends the process.
        failed: Why the submission could not be run, through no fault of its own.
        ended: Why the submission ended the process; ``timed_out`` where it took too long.
    """

    def __init__(self, settings: dict, selector: selectors.BaseSelector):
        self.selector, self.errors = selector, tempfile.TemporaryFile()  # noqa: SIM115 -- closed by stop
        self._expect("")
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "arsetlib.grading.worker", json.dumps(settings)], bufsize=0,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, start_new_session=True,
        )  # fmt: skip
        selector.register(self.process.stdout, selectors.EVENT_READ, self)

    def _expect(self, name: str) -> None:
        self.name, self.stage, self.since = name, "start", time.monotonic()
        self.marks: list[Mark] = []
        self.unread: Mark | None = None
        self.failed, self.ended, self.timed_out = "", "", False

    def assign(self, name: str, begun: list[Mark]) -> None:
        """Let it mark a submission, after those of its notebooks that have a mark."""
        self._expect(name)
        self.marks = list(begun)
        with contextlib.suppress(protocol.ProtocolError):  # then it has ended, and `receive` notices
            protocol.send(self.process.stdin.fileno(), {"submission": name, "after": len(begun)})

    def receive(self) -> bool:
        """Read a message; True where it finishes the submission."""
        try:
            message = protocol.receive(self.process.stdout.fileno())
        except protocol.ProtocolError:
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
        """The process has ended by itself; True where it worked on a submission."""
        self.errors.seek(0)
        last_line = self.errors.read().decode(errors="replace").strip().rpartition("\n")[2][-300:]
        has_submission = bool(self.name)
        self.give_up(f"reading it ended the grader's own process ({last_line or 'no message'})")
        return has_submission

    def give_up(self, reason: str) -> None:
        """End the process. Once the submission is being read, it is the submission's fault."""
        self.stop()
        if self.stage in ("start", "prepare"):
            self.failed = reason
        else:
            self.ended = reason

    def stop(self) -> None:
        """End the process; its sandbox ends with it."""
        if not self.process.stdout.closed:
            self.selector.unregister(self.process.stdout)
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.errors):
            pipe.close()


def find_hidden(hidden: str | Path | None) -> Path | None:
    """Path of the hidden checks: ``hidden``, else those of the repository from which this library is used.

    Raises:
        GradeError: ``hidden`` does not exist.
    """
    if hidden is not None:
        hidden = copies.fetched(hidden)
        if not hidden.exists():
            raise GradeError(f"Expected a folder or a zip of hidden checks, found none at {hidden}.")
        return hidden.absolute()
    own = Path(arsetlib.__file__).parent.parent / "homework" / "hidden"
    return own if own.is_dir() else None


def _copy_scenes(data: Path, sample: Path) -> None:
    """Copy the sample's scenes, which take a minute to make, from where a lab or a homework made them."""
    source, target = data / "delta-toy", sample / "delta-toy"
    if folders.state(source) != "complete" or folders.state(target) == "complete":
        return
    shutil.rmtree(target, ignore_errors=True)
    last = folders.MANIFEST if (source / folders.MANIFEST).is_file() else folders.EARLIER[1]  # marks it as complete
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(last))
    folders.put(target / last, (source / last).read_bytes())


def _fingerprint_of_checks(hidden: Path | None, limits: Limits) -> str:
    """SHA-256 of everything but the submission that the marks depend on."""
    files = sorted(Path(__file__).parent.rglob("*.py"))
    if hidden is not None:
        inside = (path for path in hidden.rglob("*") if path.is_file() and path.suffix != ".pyc")
        files += sorted(inside) if hidden.is_dir() else [hidden]
    lines = [f"{arsetlib.__version__} {sys.version_info[:2]} {limits}"]
    lines += [f"{path.name} {checksums.sha256(path)}" for path in files]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
