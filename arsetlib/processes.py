"""Processes: how many cores one may use, and how a worker ends when the process that started it has ended.

A process that was killed cannot stop its workers: they would continue for hours, or wait without end.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time

PR_SET_PDEATHSIG = 1  # see prctl(2)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def end_with(parent: int) -> None:
    """End this process at once when its parent ends.

    On Linux the system does it, whatever this process is doing. Elsewhere a thread looks twice a second.

    Args:
        parent: Number of the parent's process; where it has ended already, this one ends now.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    elif sys.platform != "win32":  # there a parent's number stays the same
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    if _orphaned(parent):
        os._exit(1)


def _orphaned(parent: int) -> bool:
    return sys.platform != "win32" and os.getppid() != parent


def _watch(parent: int) -> None:
    while not _orphaned(parent):
        time.sleep(0.5)
    os._exit(1)
