"""Processes: how many cores one may use, work in several of them, and how a worker ends with what started it.

A process that was killed cannot stop its workers: they would continue for hours, or wait without end.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from types import ModuleType
from typing import TypeVar

T = TypeVar("T")

PR_SET_PDEATHSIG = 1  # see prctl(2)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def workers(jobs: int) -> Iterator[Callable[[Sequence[Callable[[], T]]], Iterator[T]]]:
    """Do tasks in several new processes: a fork of a process with threads (Spark, TensorFlow, a notebook) can hang.

    The script that calls needs no ``if __name__ == "__main__":``, because the processes do not run it again. They leave
    Ctrl-C to this process.

    >>> from functools import partial
    >>> with workers(1) as results:
    ...     print(*results([partial(max, 1, 2), partial(min, 1, 2)]))
    2 1

    Args:
        jobs: How many. One works in this process, and so does a process that may start no others.

    Yields:
        A function of tasks, which can be pickled and come from a module; it yields their results as they become ready.
    """
    if jobs <= 1 or multiprocessing.current_process().daemon:
        yield lambda tasks: (task() for task in tasks)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, _begin, (os.getpid(),)) as pool:

        def results(tasks):
            with _without_main(), _deaf_to_interrupts():  # here the processes start
                running = [pool.submit(task) for task in tasks]
            return (ready.result() for ready in as_completed(running))

        try:
            yield results
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _begin(parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with(parent)


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """Hide the program: a process that starts imports it, and a script without a main guard would run again."""
    program = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = program


@contextlib.contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Processes that start here do not get Ctrl-C, from their first moment; each would print a traceback."""
    if sys.platform == "win32":
        ignore = ctypes.windll.kernel32.SetConsoleCtrlHandler  # what (None, 1) says holds for children, too
        ignore(None, 1)
        try:
            yield
        finally:
            ignore(None, 0)
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # it unblocks the signal when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


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
