"""Tiled TIFF files on this machine's disks: the header once for a process, then only the blocks of a window.

GDAL opens a file anew for each chunk, 0.6 to 0.9 ms; here a further chunk only costs the reading and unpacking of its
blocks. Whatever is odd about a file raises ``Unsupported``: GDAL, which reads it then, says what is wrong with it.

Lab: part1_build_dataset.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from rasterio.windows import Window

from arsetlib.ingest import tiff
from arsetlib.ingest.tiff import TiffFile, Unsupported

__all__ = ["open_file"]

HEADERS = 20_000  # headers that are kept, some kB each
ODD = (".aux.xml", ".msk", ".ovr")  # ends of names of files beside a file which say more about it


def open_file(path: str) -> TiffFile:
    """A file on disk.

    Args:
        path: Of the file; no URL.

    Raises:
        Unsupported: GDAL has to read it.
    """
    try:
        facts = os.stat(path)
    except (OSError, ValueError):
        raise Unsupported("no file") from None
    file = _described(os.path.abspath(path), facts.st_size, facts.st_mtime_ns)
    if isinstance(file, Unsupported):
        raise file
    return file


@lru_cache(maxsize=HEADERS)
def _described(path: str, _size: int, _changed: int) -> TiffFile | Unsupported:
    """What the header says, or why GDAL has to read the file."""
    if any(os.path.exists(path + end) for end in ODD):
        return Unsupported("another file says more about it")
    try:
        header = asyncio.run(_header(path))
    except Exception as error:  # of several kinds: no TIFF, cut short, not readable
        return Unsupported(str(error))
    try:
        file = tiff.describe(header)
    except Unsupported as error:
        return error
    if not all(tiff.unpacks(level, file.dtypes[0]) for level in file.levels[:1]):
        return Unsupported("a compression that GDAL unpacks")
    return replace(file, href=path, source=Disk())


async def _header(path: str):
    from async_tiff import TIFF

    return await TIFF.open(Path(path).name, store=_Bytes(path), prefetch=tiff.PREFETCH)


class _Bytes:
    """A file as the library wants it: parts by position. It needs no threads, which a fork would lose."""

    def __init__(self, path: str):
        self.path = path

    async def get_range_async(self, path: str, *, start: int, end: int | None = None, length: int | None = None):
        """Some bytes."""
        with open(self.path, "rb") as file:
            file.seek(start)
            return file.read((end - start) if length is None else length)

    async def get_ranges_async(self, path: str, *, starts, ends=None, lengths=None):
        """Several of them."""
        ends = ends or [a + n for a, n in zip(starts, lengths, strict=True)]
        return [await self.get_range_async(path, start=a, end=b) for a, b in zip(starts, ends, strict=True)]


class Disk:
    """Reads the blocks of windows."""

    def values(self, file: TiffFile, window: Window, level: int) -> np.ndarray:
        """(rows, cols) values of a window of a level.

        Raises:
            Unsupported: The file changed or is damaged.
        """
        image, values = file.levels[level], file.empty(window)
        try:
            with open(file.href, "rb", buffering=0) as bytes_:
                for x, y in image.blocks(window):
                    number = image.number(x, y)
                    bytes_.seek(int(image.offsets[number]))
                    tiff.unpack(bytes_.read(int(image.sizes[number])), image, x, y, window, values)
        except OSError as error:
            raise Unsupported(str(error)) from None
        return values
