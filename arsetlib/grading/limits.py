"""Resource limits of one submission, and what all its processes use together (read from /proc, outside the sandbox)."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path

from arsetlib.translation import _

__all__ = ["Limits"]

WRITABLE = ("/tmp", "/dev/shm")  # noqa: S108 -- folders in memory of a sandbox; their size does not limit empty files
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
OWN_TASKS = 8  # processes and threads that the sandbox itself may need
MEGABYTE = 1 << 20


@dataclass(frozen=True)
class Limits:
    """What one submission may use.

    Attributes:
        seconds: Processor time of all cells of the notebook, s. Cells and later calls of its functions together may
            take ``total_seconds``.
        memory_mb: Memory of all its processes together, MB.
        disk_mb: Size of all files it writes, MB. They are kept in memory.
        processes: Processes and threads at one time.
        files: Number of files it may write. One process may have 128 files open.
    """

    seconds: float = 60
    memory_mb: int = 2048
    disk_mb: int = 256
    processes: int = 48
    files: int = 10_000

    @property
    def wall_seconds(self) -> float:
        """Seconds by the clock from start to end; generous, because a busy machine is not the learner's fault."""
        return 3 * self.seconds + 60

    @property
    def total_seconds(self) -> float:
        """Processor time of all its processes together, cells and later calls of its functions, s."""
        return 2 * self.seconds + 10

    def rlimits(self, isolated: bool) -> dict[str, int]:
        """The limits that the operating system applies to each process: {"RLIMIT_…": value}.

        Args:
            isolated: The processes run in namespaces of their own. Otherwise the limits per user would also count what
                the user's other programs have.
        """
        values = {
            "RLIMIT_CORE": 0, "RLIMIT_CPU": int(2 * self.seconds + 1), "RLIMIT_DATA": self.memory_mb * MEGABYTE,
            "RLIMIT_AS": (self.memory_mb + 4096) * MEGABYTE, "RLIMIT_FSIZE": self.disk_mb * MEGABYTE,
            "RLIMIT_NOFILE": 128, "RLIMIT_MEMLOCK": 1 << 16,
        }  # fmt: skip
        if not isolated:
            return values
        # Since Linux 5.14 a user namespace counts its own processes. Older kernels count all of the user's.
        counts_own = os.geteuid() == 0 or tuple(map(int, os.uname().release.split("-")[0].split(".")[:2])) >= (5, 14)
        processes = self.processes + (0 if counts_own else 4096)
        return values | {"RLIMIT_MSGQUEUE": 0, "RLIMIT_SIGPENDING": 256, "RLIMIT_NPROC": processes}

    def exceeded_by(self, pid: int) -> str:
        """Why the process ``pid`` and its descendants have to be stopped; empty while they are within the limits."""
        processes = process_tree(pid)
        tasks, seconds, memory = (sum(values) for values in zip(*map(usage, processes), strict=True))
        if tasks > self.processes + OWN_TASKS:  # the system already refuses more than `processes` to each user
            return _("it had more than {n} processes and was stopped").format(n=self.processes)
        if memory > self.memory_mb * MEGABYTE:
            return _("it used more than {n} MB of memory and was stopped").format(n=self.memory_mb)
        if seconds > self.total_seconds:
            said = _("its processes used more than {n:g} s of processor time and were stopped")
            return said.format(n=self.total_seconds)
        if len(processes) > 1 and count_files(processes[1]) > self.files:
            return _("it wrote more than {n} files and was stopped").format(n=self.files)
        return ""

    def __str__(self) -> str:
        return ", ".join(f"{name} {value:g}" for name, value in asdict(self).items())


def process_tree(pid: int) -> list[int]:
    """A process and its descendants. In a PID namespace its first process adopts orphans, so none is lost."""
    tree, todo = [pid], [pid]
    while todo and len(tree) < 5000:
        parent = todo.pop()
        for task in _list_folder(f"/proc/{parent}/task"):
            try:
                children = [int(word) for word in Path(f"/proc/{parent}/task/{task}/children").read_bytes().split()]
            except (OSError, ValueError):
                continue
            tree += children
            todo += children
    return tree


def usage(pid: int) -> tuple[int, float, int]:
    """Threads, processor time (s, with ended children) and memory (bytes, without mapped files) of a process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        status = Path(f"/proc/{pid}/status").read_bytes()
    except OSError:
        return 0, 0.0, 0
    memory = 0
    for line in status.splitlines():
        if line.startswith((b"RssAnon:", b"RssShmem:", b"VmSwap:")):
            memory += int(line.split()[1]) << 10
    return int(stat[17]), sum(map(int, stat[11:15])) / TICKS_PER_SECOND, memory


def count_files(pid: int) -> int:
    """Number of files in the writable folders that a process in a sandbox sees; 0 before and after it has any."""
    return sum(_count_files(f"/proc/{pid}/root{folder}") for folder in WRITABLE)


def _count_files(folder: str) -> int:
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return 0
    try:
        if os.fstat(descriptor).st_dev in {os.stat(own).st_dev for own in ("/", *WRITABLE) if os.path.isdir(own)}:
            return 0  # a folder of this machine, not of a sandbox
        filesystem = os.fstatvfs(descriptor)
        return filesystem.f_files - filesystem.f_ffree
    finally:
        os.close(descriptor)


def _list_folder(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []
