"""Hides the lines on the standard error with which TensorFlow and Spark report a normal start.

TensorFlow writes its lines from C++ and Spark from Java, past ``sys.stderr``; so a process of its own reads the
descriptor, drops the lines of ``NOISE`` and passes on all others, also those of a process that crashes. Whoever wants
to see every line sets ``TF_CPP_MIN_LOG_LEVEL=0``.
"""

from __future__ import annotations

import contextlib
import importlib.machinery
import os
import sys
from collections.abc import Iterator
from typing import Any

VARIABLE = "TF_CPP_MIN_LOG_LEVEL"  # 0 shows everything, 2 hides TensorFlow's notes and warnings
NOISE = (
    # TensorFlow: notes and warnings of its C++ code, and what two of its parts that bring the same code say
    r"WARNING: All log messages before absl::InitializeLog\(\) is called",
    r"[IW]\d{4} \d\d:\d\d:[\d.]+ +\d+ \S+:\d+\] ",
    r"\d{4}-\d\d-\d\d \d\d:\d\d:[\d.]+: [IW] \S+:\d+\] ",
    r"To enable the following instructions: .*rebuild TensorFlow",
    r".*Unable to register cu\w+ (plugin )?factory",
    r".*computation.placer already registered",
    # Java
    r"WARNING: Using incubator modules",
    r"WARNING: A (terminally deprecated|restricted) method in ",
    r"WARNING: (sun\.misc\.Unsafe|java\.lang\.System)::",
    r"WARNING: Please consider reporting this to the maintainers of class (org\.apache|io\.netty)\.",
    r"WARNING: Use --(enable-native-access|sun-misc-unsafe-memory-access)",
    r"WARNING: Restricted methods will be blocked",
    # Spark
    r"Using Spark's default log4j profile: ",
    r"Setting default log level to \"",
    r"To adjust logging level use sc\.setLogLevel",
    r"\d\d/\d\d/\d\d \d\d:\d\d:\d\d (INFO|WARN) (NativeCodeLoader|Utils|SparkContext|SparkConf|ResourceUtils): ",
)

_FILTER = """\
import os, re, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
noise = re.compile(sys.argv[1].encode())
rest = b""
while more := os.read(0, 65536):
    *lines, rest = re.split(rb"(?<=[\\n\\r])", rest + more)
    for line in lines:
        if not noise.match(line):
            os.write(1, line)
if not noise.match(rest):
    os.write(1, rest)
"""


@contextlib.contextmanager
def quiet(wait: bool = True) -> Iterator[None]:
    """Drop the lines of ``NOISE`` from the standard error, of this process and of those that start in the block.

    A process that starts here is filtered until it ends.

    Args:
        wait: At the end wait until all that was written in the block has been passed on. An error always waits.
    """
    filtering = _start()
    if filtering is None:
        yield
        return
    process, before = filtering
    try:
        yield
    except BaseException:
        wait = True
        raise
    finally:
        if sys.stderr is not None:
            with contextlib.suppress(OSError, ValueError):
                sys.stderr.flush()
        os.dup2(before, 2)
        os.close(before)
        _let_end(process, wait)


def _start() -> Any:
    """Turn the standard error over to a new filter; returns it and the descriptor before, or None where none can be."""
    if os.environ.get(VARIABLE) in ("0", "1") or not sys.executable:
        return None
    import subprocess

    detached: dict[str, Any] = {"start_new_session": True}  # Ctrl-C ends what it reads from, then it ends itself
    if sys.platform == "win32":
        detached = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
    try:
        before = os.dup(2)
    except OSError:  # there is no standard error
        return None
    command = [sys.executable, "-I", "-S", "-c", _FILTER, "|".join(NOISE)]
    try:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=before, stderr=before, **detached)
    except OSError:  # a sandbox that allows no process
        os.close(before)
        return None
    os.dup2(process.stdin.fileno(), 2)
    process.stdin.close()
    return process, before


def _let_end(process: Any, wait: bool) -> None:
    import subprocess

    if wait:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(2)
            return
    process.returncode = 0  # it ends with what writes to it, which may be after this process: no warning about it


class _Tensorflow:
    """Asked first for a module: TensorFlow is imported as by Python itself, but quietly."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> Any:
        if name != "tensorflow":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is None or spec.loader is None:
            return None
        run = spec.loader.exec_module

        def run_quietly(module: Any) -> None:
            os.environ.setdefault(VARIABLE, "2")
            with quiet():
                run(module)

        spec.loader.exec_module = run_quietly  # type: ignore[method-assign]
        return spec


def install() -> None:
    """Import TensorFlow quietly from now on."""
    if _Tensorflow not in sys.meta_path:
        sys.meta_path.insert(0, _Tensorflow)  # type: ignore[arg-type]
