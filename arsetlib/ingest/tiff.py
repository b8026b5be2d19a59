"""Tiled TIFF files without GDAL: what their headers say, and from packed blocks to values.

``describe`` makes a ``TiffFile`` of a header; ``unpack`` puts a block's values into a window. ``remote`` and ``disk``
bring the bytes. Headers are read with bounds: a library that was tried ends the process where a damaged header states a
tag of terabytes. Each block is unpacked once, and its checksum compared (of DEFLATE, and of ZSTD where there is one);
only the columns and rows of the window are computed from its differences.

Files that are not read here as GDAL reads them (JPEG 2000, masks, palettes, strips, LZW) raise ``Unsupported``: GDAL
reads them, see ``reader``.

Sources: TIFF 6.0; GDAL's GTiff driver (no data, scale, sparse files); OGC GeoTIFF 1.1.

Lab: part1_build_dataset.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

import numpy as np
import pyarrow as pa
from affine import Affine
from isal import isal_zlib
from rasterio.coords import BoundingBox
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.windows import Window

from arsetlib import web

__all__ = ["Level", "Missing", "Source", "TiffFile", "Unsupported", "corner", "describe", "unpack"]

PREFETCH = 32 * 1024  # first bytes of a file; they hold the header of a scene's file
MOST_PARTS = 16  # further requests for a header
MOST_IMAGES, MOST_TAGS = 64, 4096  # of a file, of an image
LARGEST_TAG, LARGEST_BLOCK, WIDEST = 1 << 24, 1 << 28, 1 << 14  # bytes, bytes, pixels of a block's side
REDUCED, MASK = 1, 4  # bits of the tag "subfile"
PACKED = {1: "none", 8: "deflate", 32946: "deflate", 50000: "zstd"}  # what the tag "compression" means
NONE, HORIZONTAL = 1, 2  # the tag "predictor"
MODEL, RASTER_TYPE, GEOGRAPHIC, PROJECTED = 1024, 1025, 2048, 3072  # geo keys
PIXEL_IS_POINT, USER_DEFINED = 2, 32767  # their values
TYPES = {
    1: "u1", 2: "u1", 3: "<u2", 4: "<u4", 6: "i1", 7: "u1", 8: "<i2", 9: "<i4", 11: "<f4", 12: "<f8", 13: "<u4",
    16: "<u8", 17: "<i8", 18: "<u8",
}  # fmt: skip
TAGS = {
    254: "subfile", 256: "width", 257: "height", 258: "bits", 259: "compression", 266: "bit order", 277: "layers",
    317: "predictor", 320: "palette", 322: "wide", 323: "high", 324: "offsets", 325: "sizes", 339: "format",
    33550: "pixel", 33922: "tie", 34264: "transformation", 34735: "keys", 42112: "metadata", 42113: "nodata",
}  # fmt: skip


class Unsupported(Exception):
    """This module does not read such a file; GDAL may."""


class Source(Protocol):
    """Where the bytes of a file come from."""

    def values(self, file: TiffFile, window: Window, level: int) -> np.ndarray:
        """(rows, cols) values of a window of a level; waits for them."""


@dataclass(frozen=True)
class Level:
    """The full image of a file, or an overview.

    Attributes:
        width, height: Pixels.
        wide, high: Of a block, pixels.
        offsets, sizes: Of each block in the file, bytes; size 0 is a block that the file leaves out.
        packed: ``none``, ``deflate`` or ``zstd``.
        predictor: 1 values as they are, 2 differences along a row.
    """

    width: int
    height: int
    wide: int
    high: int
    offsets: np.ndarray
    sizes: np.ndarray
    packed: str
    predictor: int

    def number(self, x: int, y: int) -> int:
        """Position of the block in column x and row y of blocks."""
        return y * -(-self.width // self.wide) + x

    def blocks(self, window: Window) -> Iterator[tuple[int, int]]:
        """Column and row of each block of a window that the file has."""
        top, left, rows, cols = corner(window)
        for y in range(top // self.high, (top + rows - 1) // self.high + 1):
            for x in range(left // self.wide, (left + cols - 1) // self.wide + 1):
                if self.sizes[self.number(x, y)]:
                    yield x, y


@dataclass(frozen=True)
class TiffFile:
    """What the header of a file says, and ``read``, under the names of an open file of rasterio."""

    crs: CRS
    transform: Affine
    width: int
    height: int
    dtypes: tuple[str]
    nodata: float | None
    scales: tuple[float]
    offsets: tuple[float]
    levels: tuple[Level, ...] = field(repr=False)
    href: str = field(default="", repr=False)
    source: Source | None = field(default=None, repr=False)
    window: Window | None = field(default=None, repr=False)  # whose values have been read already
    values: np.ndarray | None = field(default=None, repr=False)

    count = 1
    colorinterp = (ColorInterp.gray,)

    @property
    def bounds(self) -> BoundingBox:
        """Edges in the file's CRS."""
        t = self.transform
        return BoundingBox(t.c, t.f + t.e * self.height, t.c + t.a * self.width, t.f)

    @property
    def mask_flag_enums(self) -> tuple[list[MaskFlags]]:
        """How pixels without data are marked; never by a mask."""
        return ([MaskFlags.all_valid if self.nodata is None else MaskFlags.nodata],)

    def read(self, layer: int, window: Window, out_shape: tuple[int, int] | None = None) -> np.ndarray:
        """Values of a window, by nearest neighbour; waits for them.

        Args:
            layer: 1.
            window: Whole pixels, within the file.
            out_shape: Rows and columns of the result, from the overview that suffices; the window's by default.

        Raises:
            RemoteError: It cannot be read.
            Unsupported: GDAL has to read this file.
        """
        top, left, rows, cols = corner(window)
        if out_shape is None or tuple(out_shape) == (rows, cols):
            if self.values is None or not _contains(self.window, window):
                return self.source.values(self, window, 0)
            r, c = top - int(self.window.row_off), left - int(self.window.col_off)
            return self.values[r : r + rows, c : c + cols]
        number = self._level(min(rows / out_shape[0], cols / out_shape[1]))
        level = self.levels[number]
        row = _middles(top, rows, out_shape[0]) * level.height // self.height
        col = _middles(left, cols, out_shape[1]) * level.width // self.width
        row, col = row.astype(int), col.astype(int)
        part = Window(col[0], row[0], col[-1] - col[0] + 1, row[-1] - row[0] + 1)
        return self.source.values(self, part, number)[np.ix_(row - row[0], col - col[0])]

    def empty(self, window: Window) -> np.ndarray:
        """(rows, cols) of the value of blocks that the file leaves out."""
        value = 0 if self.nodata is None else self.nodata
        return np.full((int(window.height), int(window.width)), value, self.dtypes[0])

    def _level(self, step: float) -> int:
        """The coarsest overview whose pixels are not larger than ``step`` pixels of the file; 0 is the file itself."""
        fits = [k for k, level in enumerate(self.levels) if self.width / level.width < step + 0.5]
        return max(fits, key=lambda k: self.width / self.levels[k].width, default=0)


def corner(window: Window) -> tuple[int, int, int, int]:
    """Top, left, rows and columns of a window."""
    return int(window.row_off), int(window.col_off), int(window.height), int(window.width)


def _contains(outer: Window, inner: Window) -> bool:
    top, left, rows, cols = corner(outer)
    r, c, height, width = corner(inner)
    return top <= r and left <= c and r + height <= top + rows and c + width <= left + cols


def _middles(start: int, length: int, cells: int) -> np.ndarray:
    """Pixels in the middle of so many cells of a row of pixels."""
    return start + (np.arange(cells) + 0.5) * length / cells


# -- from packed bytes to values ------------------------------------------------------------------------------------


def unpack(packed: bytes, level: Level, x: int, y: int, window: Window, values: np.ndarray) -> None:
    """Put the values of one block into those of a window.

    Args:
        packed: The block as it stands in the file.
        level: To which it belongs.
        x, y: Its column and row of blocks.
        window: In pixels of the level.
        values: (rows, cols) of the window; changed where the block lies.

    Raises:
        Unsupported: These bytes are no such block.
    """
    length = level.high * level.wide * values.itemsize
    try:
        numbers = _unpacked(packed, level.packed, length)
    except Exception as error:  # of several kinds, one for each compression
        raise Unsupported(f"blocks that cannot be unpacked: {web.redact(error)}") from None
    if len(numbers) != length:
        raise Unsupported(f"a block of {len(numbers)} bytes in place of {length}")
    block = np.frombuffer(numbers, values.dtype).reshape(level.high, level.wide)
    top, left, _, _ = corner(window)
    r0, c0 = y * level.high - top, x * level.wide - left  # of the block in the window
    into = values[max(r0, 0) : r0 + level.high, max(c0, 0) : c0 + level.wide]
    r, c = max(-r0, 0), max(-c0, 0)
    part = block[r : r + into.shape[0], c : c + into.shape[1]]
    if level.predictor == NONE:
        into[...] = part
        return
    before = block[r : r + into.shape[0], :c].sum(1, dtype=values.dtype)
    np.cumsum(part, axis=1, dtype=values.dtype, out=into)
    into += before[:, None]


def _unpacked(packed: bytes, how: str, length: int) -> bytes:
    if how == "deflate":
        return isal_zlib.decompress(packed, bufsize=length)
    if how == "zstd":
        return _zstd().decompress(packed, decompressed_size=length, asbytes=True)
    return packed


@lru_cache(maxsize=1)
def _zstd() -> pa.Codec:
    return pa.Codec("zstd")


# -- what the tags of a TIFF say ------------------------------------------------------------------------------------


class Missing(Exception):
    """A part of a file that ``describe`` needs as well: ``size`` bytes at ``offset``."""

    def __init__(self, offset: int, size: int):
        super().__init__(offset, size)
        self.offset, self.size = offset, size


def describe(parts: Sequence[tuple[int, bytes]]) -> TiffFile:
    """The file that a header describes.

    Args:
        parts: What is known of the file: positions and bytes, the first from position 0.

    Raises:
        Missing: More has to be known.
        Unsupported: GDAL would read it in another way than this module, or not at all.
    """
    try:
        return _described(_directories(parts))
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise Unsupported(f"a header that cannot be understood: {web.redact(error)}") from None


def _directories(parts: Sequence[tuple[int, bytes]]) -> list[dict[str, np.ndarray]]:
    """The tags of each image of a file, as far as they are in ``TAGS``."""

    def at(offset: int, size: int) -> bytes:
        for start, known in parts:
            if start <= offset and offset + size <= start + len(known):
                return known[offset - start : offset - start + size]
        raise Missing(offset, size)

    mark = at(0, 16)
    kinds = {b"II\x2a\0": ("<u2", "<u4", 4), b"II\x2b\0\x08\0\0\0": ("<u8", "<u8", 8)}
    kind = next((k for start, k in kinds.items() if mark.startswith(start)), None)
    if kind is None:
        raise Unsupported("no TIFF, or one with the high byte first")
    number, position, wide = kind
    entry = np.dtype([("tag", "<u2"), ("type", "<u2"), ("count", position), ("value", f"V{wide}")])
    offset, found = int(np.frombuffer(mark, position, 1, wide)[0]), []
    visited: set[int] = set()
    while offset:
        if offset in visited or len(visited) == MOST_IMAGES:
            raise Unsupported("images without end")
        visited.add(offset)
        first = np.dtype(number).itemsize
        entries = int(np.frombuffer(at(offset, first), number)[0])
        if entries > MOST_TAGS:
            raise Unsupported(f"{entries} tags")
        table = at(offset + first, entries * entry.itemsize + wide)
        tags = {}
        for tag, how, count, value in np.frombuffer(table, entry, entries).tolist():
            if tag not in TAGS or how not in TYPES:
                continue
            size = int(count) * np.dtype(TYPES[how]).itemsize
            if size > LARGEST_TAG:
                raise Unsupported(f"a tag of {size} bytes")
            stored = value[:size] if size <= wide else at(int.from_bytes(value, "little"), size)
            tags[TAGS[tag]] = np.frombuffer(stored, TYPES[how])
        found.append(tags)
        offset = int.from_bytes(table[-wide:], "little")
    return found


def _described(images: list[dict[str, np.ndarray]]) -> TiffFile:
    first = images[0]
    kinds = [_one(tags, "subfile", 0) for tags in images]
    levels = [first, *(tags for tags, kind in zip(images[1:], kinds[1:], strict=True) if kind & REDUCED)]
    refused = {
        "more than one layer": any(_one(tags, "layers", 1) != 1 for tags in levels),
        "a mask of its own": any(kind & MASK for kind in kinds),
        "no blocks": any("sizes" not in tags or "offsets" not in tags for tags in levels),
        "a palette": "palette" in first,
        "another compression": any(_one(tags, "compression", 1) not in PACKED for tags in levels),
        "no projection": not {"keys", "pixel", "tie"} <= first.keys(),
        "a model transformation": "transformation" in first,
        "another order of bits": any(_one(tags, "bit order", 1) != 1 for tags in levels),
    }
    for reason, holds in refused.items():
        if holds:
            raise Unsupported(reason)
    wide, high, _ = map(float, first["pixel"])
    column, row, _, x, y, _ = map(float, first["tie"])
    if not (wide > 0 and high > 0):
        raise Unsupported("a grid from south to north, or from east to west")
    dtype = _dtype(first)
    return TiffFile(
        crs=_crs_of(first["keys"]),
        transform=Affine(wide, 0.0, x - column * wide, 0.0, -high, y + row * high),
        width=_one(first, "width"),
        height=_one(first, "height"),
        dtypes=(dtype,),
        nodata=_nodata(first, dtype),
        scales=(_stated(_text(first, "metadata"), "scale", 1.0),),
        offsets=(_stated(_text(first, "metadata"), "offset", 0.0),),
        levels=tuple(_level(tags, dtype) for tags in levels),
    )


def _one(tags: dict[str, np.ndarray], name: str, otherwise: int | None = None) -> int:
    return int(tags[name][0]) if name in tags or otherwise is None else otherwise


def _text(tags: dict[str, np.ndarray], name: str) -> str:
    return tags[name].tobytes().decode("utf-8", "replace").strip("\0 ") if name in tags else ""


def _level(tags: dict[str, np.ndarray], dtype: str) -> Level:
    width, height, wide, high = (_one(tags, name) for name in ("width", "height", "wide", "high"))
    offsets, sizes = tags["offsets"].astype(np.int64), tags["sizes"].astype(np.int64)
    if min(width, height, wide, high) < 1 or max(wide, high) > WIDEST or _dtype(tags) != dtype:
        raise Unsupported(f"blocks of {wide} x {high} in {width} x {height}, {_dtype(tags)}")
    if not len(offsets) == len(sizes) == -(-width // wide) * -(-height // high):
        raise Unsupported("another number of blocks than its size needs")
    if sizes.min() < 0 or sizes.max() > LARGEST_BLOCK or offsets.min() < 0:
        raise Unsupported("blocks that are too large")
    packed, predictor = PACKED[_one(tags, "compression", 1)], _one(tags, "predictor", NONE)
    whole = np.dtype(dtype).kind in "iu"
    if packed == "none":
        predictor = NONE
    elif predictor != NONE and not (predictor == HORIZONTAL and whole):
        raise Unsupported("differences of another kind")
    return Level(width, height, wide, high, offsets, sizes, packed, predictor)


def _crs_of(keys: np.ndarray) -> CRS:
    """The CRS that the geo keys name: rows of key, place of the value, count, value."""
    rows = keys[4 : 4 + 4 * int(keys[3])].reshape(-1, 4).tolist()
    values = {key: value for key, place, _, value in rows if place == 0}
    if values.get(RASTER_TYPE) == PIXEL_IS_POINT:
        raise Unsupported("coordinates of pixel centres")
    code = values.get(PROJECTED) or (values.get(GEOGRAPHIC) if values.get(MODEL) == 2 else None)
    if not code or code == USER_DEFINED:
        raise Unsupported("a projection without code")
    return _crs(code)


@lru_cache(maxsize=256)
def _crs(code: int) -> CRS:
    return CRS.from_epsg(code)


def _dtype(tags: dict[str, np.ndarray]) -> str:
    name = f"{ {1: 'uint', 2: 'int', 3: 'float'}.get(_one(tags, 'format', 1), '?') }{_one(tags, 'bits', 1)}"
    if name not in ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"):
        raise Unsupported(f"values of {name}")
    return name


def _nodata(tags: dict[str, np.ndarray], dtype: str) -> float | None:
    """The value of no data, which the file's type must be able to hold."""
    if "nodata" not in tags:
        return None
    value = float(_text(tags, "nodata"))
    kind = np.dtype(dtype)
    if kind.kind == "f":
        with np.errstate(all="ignore"):
            holds = math.isnan(value) or float(kind.type(value)) == value
    else:
        holds = value.is_integer() and np.iinfo(kind).min <= value <= np.iinfo(kind).max
    if not holds:
        raise Unsupported(f"no data is {value:g} in a file of {dtype}")
    return value


def _stated(metadata: str, role: str, otherwise: float) -> float:
    """Scale or offset in GDAL's own tag."""
    stated = re.search(rf'role="{role}"[^>]*>\s*([^<\s]+)\s*<', metadata)
    return float(stated[1]) if stated else otherwise
