"""Who works in a folder where files cannot be locked: in an object store, or in a volume of Databricks.

    with leases.held(file, error) as job: ...

A job creates the file of the lease; a store lets one of several jobs do so, with a put that only creates. While it
works, the job puts the file again every 15 seconds. A lease that is older than 90 seconds belongs to a job that was
killed, and another job takes it over; it does so at once where the job ran on the same machine and its process is gone.
Ages are differences between two times of the store, so the clocks of machines do not matter. Of two jobs that take a
lease over at the same time one wins: the file is replaced only if it is the one that was looked at.

A job that was stopped for longer, and then goes on, has lost its lease: ``refuse_lost``, which ``folders`` calls before
each write, ends it. It asks the store only if the last sign of life is old; a worker in another process asks each time.

Lab: part1_build_dataset.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from arsetlib.stores import StoreAnswerError, StorePath

__all__ = ["held", "refuse_lost"]

BEAT, DEAD = 15.0, 90.0  # seconds between two signs of life; after which without one a job is taken for killed
TRIES = 4  # of a put that gave an error
MACHINE = hashlib.sha256(f"{platform.node()} {uuid.getnode()}".encode()).hexdigest()[:16]


@contextmanager
def held(file: Path | StorePath, error: Callable[[str], Exception], wait: bool = False) -> Iterator[str]:
    """Hold a lease; its file is removed afterwards.

    Args:
        file: Of the lease. Its folder is there.
        error: Makes the error to raise where another job holds it, or has taken it over.
        wait: Wait for it instead.

    Yields:
        The name of the job, for ``refuse_lost`` in other processes.
    """
    lease = _Lease(file, error)
    _jobs.add(lease.job)
    try:
        while (age := lease.take()) is not None:
            if not wait:
                raise error(
                    f"Another job is writing {file.parent}: {lease.other}. Wait until it ends, or give this one "
                    f"another folder. It gave a sign of life {age:.0f} seconds ago. If that job was killed, the folder "
                    f"is free {max(DEAD - age, 1):.0f} seconds from now."
                )
            time.sleep(min(1.0, BEAT))
        with _beating(lease):
            yield lease.job
    finally:
        _jobs.remove(lease.job)


@contextmanager
def _beating(lease: _Lease) -> Iterator[None]:
    done = threading.Event()
    heart = threading.Thread(target=lease.beat, args=(done,), daemon=True, name="arset-lease")
    heart.start()
    _held.append(lease)
    try:
        yield
    except Exception as problem:
        if lease.lost and str(problem) != str(lease.refusal()):  # whatever a worker made of it
            raise lease.refusal() from problem
        raise
    finally:
        _held.remove(lease)
        done.set()
        heart.join()
        with suppress(OSError, StoreAnswerError):
            if not lease.lost and lease.look_again():
                lease.file.unlink(missing_ok=True)


def refuse_lost(file: Path | StorePath, job: str = "", error: Callable[[str], Exception] = OSError) -> None:
    """Refuse a write into a folder whose lease this job has lost.

    Args:
        file: That is to be written or deleted.
        job: In another process than that of ``held``: what it gave. ``file`` is then that of the lease.
        error: What is raised there.

    Raises:
        Exception: Another job has taken the lease over, or its file was deleted; the message says who has it.
        StoreAnswerError: The store does not answer.
    """
    mine = [lease for lease in _held if lease.process == os.getpid()]
    for lease in mine:
        if lease.file.parent in (file, *file.parents):
            lease.refuse_lost()
    if job and job not in [lease.job for lease in mine]:
        other = _Lease(file, error, job)
        if not other.look_again():
            raise other.refusal()


class _Lease:
    def __init__(self, file: Path | StorePath, error: Callable[[str], Exception], job: str = ""):
        self.file, self.error, self.job, self.process = file, error, job or uuid.uuid4().hex, os.getpid()
        self.beats, self.tag, self.seen = 0, "", 0.0  # seen: when this job was last known to hold it
        self.other, self.lost = "", False  # other: who holds it
        self.one = threading.Lock()

    def take(self) -> float | None:
        """None where this job holds the lease now, else the age of the other job's last sign of life, seconds."""
        for number in range(TRIES):
            began = time.time()
            try:
                self.tag = self._create(self._content())
                break
            except FileExistsError:
                pass
            except StoreAnswerError:
                if number == TRIES - 1:
                    raise
                time.sleep(0.2 * 2**number)  # it may have arrived nevertheless: then it is there, with our number
            try:
                tag, since, other = self._look()
            except FileNotFoundError:
                continue  # it was just given back
            if other.get("job") == self.job:
                self.tag = tag
                break
            age, self.other = self._now() - since, _who(other)
            if age < DEAD and not _is_gone(other):
                return age
            try:
                self.tag = self._replace(self._content(), tag)
                break
            except (FileExistsError, FileNotFoundError):
                continue  # another job was faster
        else:
            return 0.0
        self.seen = began
        return None

    def beat(self, done: threading.Event) -> None:
        """Give signs of life until the job is done, or another one has taken over."""
        while not done.wait(BEAT) and not self.lost:
            with suppress(OSError, StoreAnswerError):  # the store does not answer; the next sign may arrive
                self.sign()

    def sign(self) -> None:
        """Give a sign of life, or find that the lease is lost.

        Raises:
            StoreAnswerError: The store does not answer.
        """
        with self.one:
            began = time.time()
            self.beats += 1
            try:
                self.tag = self._replace(self._content(), self.tag)
                self.seen = began
            except (FileExistsError, FileNotFoundError):
                if self.look_again():  # the put arrived, and its answer did not
                    self.seen = began

    def look_again(self) -> bool:
        """Whether the store says that this job holds the lease.

        Raises:
            StoreAnswerError: The store does not answer.
        """
        try:
            self.tag, _, other = self._look()
            self.other = _who(other)
        except FileNotFoundError:
            other, self.other = {}, ""
        self.lost = other.get("job") != self.job
        return not self.lost

    def refuse_lost(self) -> None:
        """Raise an error if this job has lost the lease; the store is asked if no sign of life arrived for a while."""
        if not self.lost and time.time() - self.seen > DEAD / 2:
            self.sign()
        if self.lost:
            raise self.refusal()

    def refusal(self) -> Exception:
        """The error of a job that has lost its lease."""
        return self.error(
            f"This job writes no more into {self.file.parent}: "
            + (
                f"another job has taken it over, {self.other}, as no sign of life of this one arrived for {DEAD:.0f} "
                "seconds."
                if self.other
                else f"its {self.file.name} was deleted."
            )
            + " When no other job works there, run the same command again: finished parts are kept."
        )

    def _content(self) -> bytes:
        return json.dumps(
            {"job": self.job, "host": platform.node(), "machine": MACHINE, "process": os.getpid(), "beats": self.beats}
        ).encode()

    # A store, or a volume, where a file that exists cannot be created again.

    def _create(self, content: bytes) -> str:
        if isinstance(self.file, StorePath):
            return self.file.create(content)
        with self.file.open("xb") as out:
            out.write(content)
        return content.decode()

    def _look(self) -> tuple[str, float, dict]:
        facts, content = self.file.stat(), self.file.read_bytes()
        try:
            other = json.loads(content)
        except ValueError:
            other = {}
        tag = facts.stamp if isinstance(self.file, StorePath) else content.decode(errors="replace")
        return tag, facts.st_mtime_ns / 1e9, other if isinstance(other, dict) else {}

    def _replace(self, content: bytes, tag: str) -> str:
        if isinstance(self.file, StorePath):
            return self.file.replace(content, tag)
        if self.file.read_bytes().decode(errors="replace") != tag:
            raise FileExistsError(str(self.file))
        self.file.write_bytes(content)
        return content.decode()

    def _now(self) -> float:
        """The time of the store."""
        probe = self.file.with_name(f".{uuid.uuid4().hex[:12]}.part")  # a name that is cleared away, see ``folders``
        probe.write_bytes(b"")
        try:
            return probe.stat().st_mtime_ns / 1e9
        finally:
            probe.unlink(missing_ok=True)


_held: list[_Lease] = []  # of this process
_jobs: set[str] = set()  # of this process: those that hold a lease, or try to


def _who(other: dict) -> str:
    return f"process {other.get('process', 'unknown')} on {other.get('host', 'an unknown machine')}"


def _is_gone(other: dict) -> bool:
    """Whether the job ran on this machine and has ended, with its process or without."""
    process = other.get("process")
    if other.get("machine") != MACHINE or not isinstance(process, int):
        return False
    if process == os.getpid():
        return other.get("job") not in _jobs  # its file could not be deleted
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
