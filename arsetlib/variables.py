"""What the machine's environment variables say: where caches go, and what makes Spark or PROJ fail here.

QGIS, PostGIS and an older Spark set such variables for the whole machine. ``arset doctor`` lists them, too.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import importlib.util
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

PROJ = ("PROJ_DATA", "PROJ_LIB")
ignored: dict[str, str] = {}  # variable → its value, where ``use_own_proj`` removed it


def cache_folder() -> Path:
    """The folder of this user for what can be made again, where the platform keeps it; it may be deleted any time."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "arsetlib"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "arsetlib"


def use_own_proj() -> None:
    """Remove PROJ_DATA and PROJ_LIB from this process where they point to the database of another PROJ.

    rasterio uses them even where its wheel contains a database; then no CRS has an EPSG code. A variable stays if its
    database has the layout that rasterio needs, or a newer one. Those that were removed are kept in ``ignored``.
    """
    named = {name: os.environ[name] for name in PROJ if os.environ.get(name)}
    own = _own_proj() if named else None
    if own is None:
        return
    needed = _layout(own)
    for name, value in named.items():
        found = [_layout(Path(folder)) for folder in value.split(os.pathsep) if folder]
        if not any(one and needed and one[0] == needed[0] and one[1] >= needed[1] for one in found):
            ignored[name] = os.environ.pop(name)
    if ignored and "rasterio" in sys.modules:  # it read the variable when it was imported
        with contextlib.suppress(ImportError, AttributeError):
            from rasterio.env import set_proj_data_search_path

            set_proj_data_search_path(str(own))


def _own_proj() -> Path | None:
    """The folder of the PROJ database in rasterio's wheel, else in this Python's prefix."""
    spec = importlib.util.find_spec("rasterio")
    folders = [Path(place) / "proj_data" for place in (spec.submodule_search_locations or ())] if spec else []
    folders += [Path(sys.prefix) / "share" / "proj", Path(sys.prefix) / "Library" / "share" / "proj"]
    return next((folder for folder in folders if (folder / "proj.db").is_file()), None)


def _layout(folder: Path) -> tuple[int, int] | None:
    """Version of the layout of a folder's PROJ database; None where there is no such database."""
    if not (folder / "proj.db").is_file():
        return None
    try:
        with contextlib.closing(
            sqlite3.connect(f"{(folder / 'proj.db').absolute().as_uri()}?immutable=1", uri=True)
        ) as db:
            found = dict(db.execute("SELECT key, value FROM metadata WHERE key LIKE 'DATABASE.LAYOUT.VERSION.%'"))
        return int(found["DATABASE.LAYOUT.VERSION.MAJOR"]), int(found["DATABASE.LAYOUT.VERSION.MINOR"])
    except (sqlite3.Error, KeyError, ValueError, TypeError):
        return None


def wrong_for_spark(local: bool = True) -> dict[str, str]:
    """Variables with which Spark cannot start or run here.

    Args:
        local: The workers run on this machine, with its Python.

    Returns:
        Variable → a text: its value, what is wrong, and what to do.
    """
    found = {}
    if home := os.environ.get("SPARK_HOME"):
        ours, theirs = _minor(importlib.metadata.version("pyspark")), _spark_of(Path(home))
        words = None
        if not (Path(home) / "bin" / ("spark-submit.cmd" if sys.platform == "win32" else "spark-submit")).is_file():
            words = "which contains no Spark"
        elif theirs and theirs != ours:
            words = f"which is Spark {theirs}, but the PySpark installed here is {ours}"
        if words:
            found["SPARK_HOME"] = (
                f"SPARK_HOME is {home}, {words}. Remove it (unset SPARK_HOME): PySpark contains Spark {ours}."
            )
    if local and (python := os.environ.get("PYSPARK_PYTHON")):
        words = _wrong_python(python)
        if words:
            found["PYSPARK_PYTHON"] = (
                f"PYSPARK_PYTHON is {python}, {words}. Remove it (unset PYSPARK_PYTHON): the workers then use "
                f"{sys.executable}."
            )
    return found


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _spark_of(home: Path) -> str | None:
    """Major and minor version of the Spark in a folder, from the name of its core library; None if unclear."""
    names = [file.name for file in (home / "jars").glob("spark-core_*.jar")]
    found = re.fullmatch(r"spark-core_[\d.]+-(\d+\.\d+).*\.jar", names[0]) if len(names) == 1 else None
    return found[1] if found else None


@functools.cache
def _wrong_python(python: str) -> str | None:
    """What is wrong with the Python of the workers; None if it has the version of this Python."""
    here = "{}.{}".format(*sys.version_info[:2])
    place = shutil.which(python)
    if place is None:
        return "which does not exist or cannot be run"
    if Path(place) == Path(sys.executable):
        return None
    try:
        command = [place, "-c", "import sys; print('{}.{}'.format(*sys.version_info[:2]))"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return "which does not run"
    there = done.stdout.strip()
    return None if there == here else f"which is Python {there}; this is Python {here}, and both must be the same"
