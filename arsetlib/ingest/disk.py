"""Tiled TIFF files on this machine's disks: the header once for a process, then only the blocks of a window.

GDAL opens a file anew for each chunk, 0.6 to 0.9 ms; here a further chunk only costs the reading and unpacking of its
blocks. Whatever is odd about a file raises ``Unsupported``: GDAL, which reads it then, says what is wrong with it.

Lab: part1_build_dataset.
"""

from __future__ import annotations

import os
from dataclasses import replace
from functools import lru_cache

import numpy as np
from rasterio.windows import Window

from arsetlib.ingest import tiff
from arsetlib.ingest.tiff import Missing, TiffFile, Unsupported

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
        with open(path, "rb") as bytes_:
            parts = [(0, bytes_.read(tiff.PREFETCH))]
            for _ in range(tiff.MOST_PARTS):
                try:
                    return replace(tiff.describe(parts), href=path, source=Disk())
                except Missing as more:
                    bytes_.seek(more.offset)
                    parts.append((more.offset, bytes_.read(more.size)))
    except (OSError, Unsupported) as error:
        return error if isinstance(error, Unsupported) else Unsupported(str(error))
    return Unsupported("a header in too many places")


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
