"""What all processes of a sandbox use together: read from /proc, from outside."""

from __future__ import annotations

import os
from pathlib import Path

PLACES = ("/tmp", "/dev/shm")  # noqa: S108 -- where a sandbox can write; their size does not limit their empty files
TICK = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


def over(pid: int, limits) -> str:
    """Why the processes under ``pid`` have to be stopped; empty where they are within their limits."""
    processes = family(pid)
    tasks, seconds, memory = 0, 0.0, 0
    for process in processes:
        threads, spent, held = usage(process)
        tasks, seconds, memory = tasks + threads, seconds + spent, memory + held
    if tasks > limits.processes + 8:  # the system refuses more than `processes`; the sandbox has a few of its own
        return f"it had more than {limits.processes} processes and was stopped"
    if memory > limits.memory_mb << 20:
        return f"it used more than {limits.memory_mb} MB of memory and was stopped"
    if seconds > 2 * limits.seconds + 10:
        return f"its processes used more than {2 * limits.seconds + 10:g} s of the processor and were stopped"
    if len(processes) > 1 and files(processes[1]) > limits.files:
        return f"it wrote more than {limits.files} files and was stopped"
    return ""


def family(pid: int) -> list[int]:
    """A process and all that descend from it; in a namespace an orphan's parent is the first process: none is lost."""
    found, new = [pid], [pid]
    while new and len(found) < 5000:
        one = new.pop()
        for task in _names(f"/proc/{one}/task"):
            try:
                below = [int(child) for child in Path(f"/proc/{one}/task/{task}/children").read_bytes().split()]
            except (OSError, ValueError):
                continue
            found += below
            new += below
    return found


def usage(pid: int) -> tuple[int, float, int]:
    """Threads, seconds of the processor (with those of children that ended), bytes of memory of its own."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        status = Path(f"/proc/{pid}/status").read_bytes()
    except OSError:
        return 0, 0.0, 0
    held = 0
    for line in status.splitlines():
        if line.startswith((b"RssAnon:", b"RssShmem:", b"VmSwap:")):
            held += int(line.split()[1]) << 10
    return int(stat[17]), sum(map(int, stat[11:15])) / TICK, held


def files(pid: int) -> int:
    """How many files are in the folders in memory that a process of the sandbox sees; 0 before and after it has any."""
    return sum(_files(f"/proc/{pid}/root{place}") for place in PLACES)


def _files(place: str) -> int:
    try:
        folder = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return 0
    try:
        if os.fstat(folder).st_dev in {os.stat(ours).st_dev for ours in ("/", *PLACES) if os.path.isdir(ours)}:
            return 0
        found = os.fstatvfs(folder)
        return found.f_files - found.f_ffree
    finally:
        os.close(folder)


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []
