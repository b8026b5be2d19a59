"""Copies on this machine of files that lie in an object store, for libraries that read only files of a disk.

Lab: part1_build_dataset.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from arsetlib import textfiles
from arsetlib.folders import FolderError, put, put_json
from arsetlib.stores import SCHEMES, StorePath, place
from arsetlib.variables import cache_folder

__all__ = ["cache_size", "empty_cache", "fetched", "with_addresses"]

CACHED, DAY = 20 << 30, 86_400.0  # bytes of copies that are kept; seconds in which a used one is not deleted
LITTLE = 8 << 20  # bytes of a file that is read with one request


def fetched(path: str | Path | StorePath) -> Path:
    """A file or folder on this machine: as it is, or a copy of one in an object store.

    Copies are kept in ``variables.cache_folder``, and files are copied again where they changed. When all copies
    together have more than ``CACHED`` bytes, those that were used longest ago are deleted, but none that was used
    within a day.

    Raises:
        FolderError: There is nothing.
        StoreAnswerError: The store cannot be read.
    """
    path = place(path)
    if isinstance(path, Path):
        return path
    copy = cache_folder() / "copies" / path.root.replace("://", "/") / path.key
    there, single = {}, False
    with suppress(FileNotFoundError):
        if path.key:
            there, single = {"": path.stat()}, True
    there = there or path.files()
    if not there:
        raise FolderError(f"There is no file or folder {path}. Look at its name, and at the rules of the bucket.")
    noted = cache_folder() / "copies" / f"{hashlib.sha256(str(path).encode()).hexdigest()}.json"
    noted.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{noted}.lock"):
        known = _copies(noted)[1]
        stamps = {key: f"{facts.stamp} {facts.st_size}" for key, facts in there.items()}
        changed = [k for k, stamp in stamps.items() if known.get(k) != stamp or not (copy / k).is_file()]
        noted.unlink(missing_ok=True)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda key: _copy(path / key if key else path, copy / key, there[key].st_size), changed))
        if not single:
            for file in list(copy.rglob("*")):
                if file.is_file() and file.relative_to(copy).as_posix() not in there:
                    file.unlink()
        put_json(noted, {"copy": copy.relative_to(cache_folder()).as_posix(), "files": stamps})
    if changed:
        empty_cache(CACHED, rest=DAY)
    return copy


def with_addresses(text: str) -> str:
    """A text in which the paths of copies are the addresses of their originals."""
    schemes = "|".join(SCHEMES)
    return re.sub(rf"{re.escape(str(cache_folder() / 'copies'))}/({schemes})/", r"\1://", text)


def cache_size() -> int:
    """Bytes of all files in ``variables.cache_folder``."""
    size = 0
    for parent, _, names in os.walk(cache_folder()):
        for name in names:
            with suppress(OSError):  # another process has just deleted it
                size += os.stat(os.path.join(parent, name)).st_size
    return size


def empty_cache(most: int = 0, rest: float = 0.0) -> int:
    """Delete copies of files in object stores, those used longest ago first; one that is being made is kept.

    Args:
        most: Bytes that may stay.
        rest: Seconds in which a copy must not have been used.

    Returns:
        Bytes of what was deleted.
    """
    now, size, deleted = time.time(), cache_size(), 0
    if size <= most:
        return 0
    used = {}
    for noted in (cache_folder() / "copies").glob("*.json"):
        with suppress(OSError):
            used[noted] = noted.stat().st_mtime
    busy = [_copies(noted)[0] for noted, at in used.items() if now - at < rest]
    for noted in sorted(used, key=lambda file: used[file]):
        copy, _ = _copies(noted)
        if now - used[noted] < rest or any(_overlap(copy, other) for other in busy) or size - deleted <= most:
            continue
        with suppress(Timeout), FileLock(f"{noted}.lock", timeout=0):
            if noted.is_file() and noted.stat().st_mtime == used[noted]:
                files = [file for file in (copy, *copy.rglob("*")) if file.is_file()] if copy is not None else []
                deleted += sum(file.stat().st_size for file in files)
                noted.unlink()
                for file in files:
                    file.unlink(missing_ok=True)
    if not most and (cache_folder() / "labels").is_dir():
        before = cache_size()
        shutil.rmtree(cache_folder() / "labels", ignore_errors=True)
        deleted += before - cache_size()
    return deleted


def _copies(noted: Path) -> tuple[Path | None, dict[str, str]]:
    """Where the copy of a note is, and the stamps of its files."""
    try:
        note = textfiles.read_json(noted)
        return cache_folder() / note["copy"], note["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return None, {}


def _overlap(one: Path | None, other: Path | None) -> bool:
    return one is not None and other is not None and (one.is_relative_to(other) or other.is_relative_to(one))


def _copy(source: StorePath, target: Path, size: int) -> None:
    if size <= LITTLE:
        put(target, source.read_bytes())
        return

    def write(partial: Path) -> None:
        with source.open() as from_store, partial.open("wb") as out:
            shutil.copyfileobj(from_store, out, 1 << 20)

    put(target, write)
