"""Checksums of files on disk, of JSON and of arrays: one flipped bit in a raster changes pixels, and no reader notices.

Measured on a scene of 600 × 600 pixels, one bit flipped at 600 places: with ZSTD 391 changed pixels without an error,
with DEFLATE 57 to 114 (GDAL reads a block before its checksum is looked at). So the whole file is compared: items state
``file:size`` and ``file:checksum`` (STAC's file extension); beside other files lies ``NAME.sha256`` or, for several, a
list ``SHA256SUMS``, as the program ``sha256sum`` writes and checks them.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from arsetlib.errors import ArsetError

LIST = "SHA256SUMS"
SHA256 = "1220"  # what a multihash begins with: the function, and 32 bytes


class ChecksumError(ArsetError, ValueError):
    """A file does not hold the bytes that were written."""


def sha256(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with _place(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _place(path: str | Path) -> Path:
    """A path; what stands for one in an object store stays as it is, see ``folders.place``."""
    return Path(path) if isinstance(path, str) else path


def digest_json(value: Any, default: Callable[[Any], Any] | None = None) -> str:
    """Hexadecimal SHA-256 of a value as JSON, whatever the order of its keys.

    Args:
        value: Dicts, lists and what JSON has.
        default: As of ``json.dumps``: makes JSON of anything else, such as ``str``.
    """
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=default).encode()).hexdigest()


def digest_arrays(arrays: Iterable) -> str:
    """Hexadecimal SHA-256 of the values of arrays, such as the weights of a model."""
    import numpy as np

    parts = hashlib.sha256()
    for array in arrays:
        parts.update(np.ascontiguousarray(array).tobytes())
    return parts.hexdigest()


def stated(size: int, sha256: str) -> dict:
    """What an asset of a STAC item states of a file: ``file:size``, bytes, and ``file:checksum``, a multihash."""
    return {"file:size": size, "file:checksum": SHA256 + sha256}


def check(path: str | Path, size: int | None, checksum: str | None) -> None:
    """Compare a local file with what its item states; each file is read once in a process.

    Where the size differs, the file is another one than the item is about (cut or compressed anew, as local copies
    often are) and the checksum says nothing about it. A file that was cut short fails when it is read.

    Args:
        path: On disk.
        size: ``file:size``; None where the item does not say.
        checksum: ``file:checksum``; other functions than SHA-256 are not compared.

    Raises:
        ChecksumError: It has the size, and other bytes.
        OSError: It cannot be read.
    """
    if not (isinstance(checksum, str) and checksum.lower().startswith(SHA256)):
        return
    file = Path(path).stat()
    if file.st_size != size:
        return
    expected, received = checksum.lower().removeprefix(SHA256), _once(str(path), file.st_size, file.st_mtime_ns)
    if expected != received:
        raise ChecksumError(
            f"{path} is damaged: its item states sha256 {expected[:12]}…, its bytes have {received[:12]}…. Fetch or "
            "make this file again. If you changed it yourself, remove file:checksum from its item"
        )


def listed(paths: Iterable[Path]) -> str:
    """The text of a list of checksums, by name."""
    return "".join(f"{sha256(path)}  {path.name}\n" for path in sorted(paths))


def check_beside(path: Path) -> None:
    """Compare a file with ``NAME.sha256`` or the list ``SHA256SUMS`` beside it; where neither names it, do nothing.

    Raises:
        ChecksumError: It has other bytes.
        OSError: It cannot be read.
    """
    path = _place(path)
    sums = next((file for file in (of(path), path.parent / LIST) if file.is_file()), None)
    if sums is None or not path.is_file():
        return
    for line in sums.read_text(encoding="utf-8", errors="replace").splitlines():
        one = re.fullmatch(r"([0-9a-fA-F]{64}) [ *](.+)", line)
        if one and one[2] == path.name:
            facts = path.stat()
            received = _once(path, facts.st_size, facts.st_mtime_ns)
            if one[1].lower() != received:
                raise ChecksumError(
                    f"{path} is damaged: {sums} states sha256 {one[1][:12]}…, its bytes have {received[:12]}…. Fetch "
                    f"or make this file again. If you changed it yourself, remove its line from {sums.name}"
                )


def of(path: Path) -> Path:
    """Where the checksum of one file stands."""
    return path.with_name(f"{path.name}.sha256")


@functools.lru_cache(maxsize=100_000)
def _once(path: str | Path, _size: int, _changed: int) -> str:
    return sha256(path)
