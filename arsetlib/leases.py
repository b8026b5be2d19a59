"""Who works in a folder where files cannot be locked: in an object store, or in a volume of Databricks.

    with leases.held(file, taken): ...

A job creates the file of the lease; a store lets one of several jobs do so, with a put that only creates. While it
works, the job puts the file again every 15 seconds. A lease that is older than 90 seconds belongs to a job that was
killed, and another job takes it over; it does so at once where the job ran on the same machine and its process is gone.
Ages are differences between two times of the store, so the clocks of machines do not matter. Of two jobs that take a
lease over at the same time one wins: the file is replaced only if it is the one that was looked at. A job that was
stopped for longer, and then goes on, puts the same parts with the same bytes as the one that took over.

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

__all__ = ["held"]

BEAT, DEAD = 15.0, 90.0  # seconds between two signs of life; after which without one a job is taken for killed
TRIES = 4  # of a put that gave an error
MACHINE = hashlib.sha256(f"{platform.node()} {uuid.getnode()}".encode()).hexdigest()[:16]


@contextmanager
def held(file: Path | StorePath, taken: Callable[[str], Exception], wait: bool = False) -> Iterator[None]:
    """Hold a lease; its file is removed afterwards.

    Args:
        file: Of the lease. Its folder is there.
        taken: Makes the error to raise where another job holds it, from words on when it can be had.
        wait: Wait for it instead.
    """
    lease = _Lease(file)
    while (age := lease.take()) is not None:
        if not wait:
            raise taken(
                f"It gave a sign of life {age:.0f} seconds ago. If that job was killed, the folder is free "
                f"{max(DEAD - age, 1):.0f} seconds from now."
            )
        time.sleep(min(1.0, BEAT))
    done = threading.Event()
    heart = threading.Thread(target=lease.beat, args=(done,), daemon=True, name="arset-lease")
    heart.start()
    try:
        yield
    finally:
        done.set()
        heart.join()
        if not lease.lost:
            with suppress(OSError):
                file.unlink(missing_ok=True)


class _Lease:
    def __init__(self, file: Path | StorePath):
        self.file, self.job, self.beats, self.tag, self.lost = file, uuid.uuid4().hex, 0, "", False

    def take(self) -> float | None:
        """None where this job holds the lease now, else the age of the other job's last sign of life, seconds."""
        for number in range(TRIES):
            try:
                self.tag = self._create(self._content())
                return None
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
                return None
            age = self._now() - since
            if age < DEAD and not _is_gone(other):
                return age
            try:
                self.tag = self._replace(self._content(), tag)
                return None
            except (FileExistsError, FileNotFoundError):
                continue  # another job was faster
        return 0.0

    def beat(self, done: threading.Event) -> None:
        """Give signs of life until the job is done, or another one has taken over."""
        while not done.wait(BEAT):
            self.beats += 1
            try:
                self.tag = self._replace(self._content(), self.tag)
            except (FileExistsError, FileNotFoundError):
                try:
                    self.tag, _, other = self._look()
                except OSError:
                    other = {}
                if other.get("job") != self.job:
                    self.lost = True
                    return
            except OSError:
                continue  # the store does not answer; the next sign may arrive

    def _content(self) -> bytes:
        return json.dumps(
            {"job": self.job, "machine": MACHINE, "process": os.getpid(), "beats": self.beats}
        ).encode()  # fmt: skip

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


def _is_gone(other: dict) -> bool:
    """Whether the job ran on this machine and its process has ended."""
    process = other.get("process")
    if other.get("machine") != MACHINE or not isinstance(process, int) or process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
