"""Tiled TIFF files without GDAL: what their headers say, and from packed blocks to values.

``describe`` makes a ``TiffFile`` of a header; ``unpack`` puts a block's values into a window. ``remote`` and ``disk``
bring the bytes. Each block is unpacked once and its checksum compared (of DEFLATE and ZSTD where the file has one);
only the columns and rows of the window are computed from its differences.

Files that are not read here as GDAL reads them (JPEG 2000, masks, palettes, strips) raise ``Unsupported``: GDAL reads
them, see ``reader``.

Sources: TIFF 6.0; GDAL's GTiff driver (no data, scale, sparse files); OGC GeoTIFF 1.1.

Lab: part1_build_dataset.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pyarrow as pa
from affine import Affine
from isal import isal_zlib
from rasterio.coords import BoundingBox
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.windows import Window

from arsetlib import web

if TYPE_CHECKING:
    from async_tiff import TIFF

__all__ = ["Level", "Source", "TiffFile", "Unsupported", "describe", "unpack"]

PREFETCH = 32 * 1024  # first bytes of a file; they hold the header of a scene's file
USER_DEFINED, PIXEL_IS_POINT = 32767, 2  # of the TIFF's geo keys
REDUCED, MASK = 1, 4  # bits of the TIFF's NewSubfileType
PACKED = {1: "none", 5: "lzw", 8: "deflate", 32946: "deflate", 50000: "zstd"}  # the TIFF's compression
NONE, HORIZONTAL = 1, 2  # the TIFF's predictor


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
        packed: ``none``, ``lzw``, ``deflate`` or ``zstd``.
        predictor: 1 values as they are, 2 differences along a row, 3 floating point.
        ifd: The library's own.
    """

    width: int
    height: int
    wide: int
    high: int
    offsets: np.ndarray
    sizes: np.ndarray
    packed: str
    predictor: int
    ifd: object = field(repr=False)

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
        values = np.empty((int(window.height), int(window.width)), self.dtypes[0])
        kind = values.dtype
        if kind.kind != "f" and not (value == int(value) and np.iinfo(kind).min <= value <= np.iinfo(kind).max):
            raise Unsupported(f"no data is {value:g} in a file of {kind}")
        values[...] = value
        return values

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
    place(np.frombuffer(numbers, values.dtype).reshape(level.high, level.wide), level, x, y, window, values)


def place(
    block: np.ndarray, level: Level, x: int, y: int, window: Window, values: np.ndarray, predictor: int | None = None
) -> None:
    """Put the part of a block that lies in a window there; differences along a row are added up on the way.

    Args:
        block: (high, wide) of the block.
        level, x, y, window, values: As of ``unpack``.
        predictor: Of the block's numbers; that of the level by default.
    """
    top, left, _, _ = corner(window)
    r0, c0 = y * level.high - top, x * level.wide - left  # of the block in the window
    into = values[max(r0, 0) : r0 + level.high, max(c0, 0) : c0 + level.wide]
    r, c = max(-r0, 0), max(-c0, 0)
    part = block[r : r + into.shape[0], c : c + into.shape[1]]
    if (predictor or level.predictor) == NONE:
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


def unpacks(level: Level, dtype: str) -> bool:
    """Whether ``unpack`` reads the blocks of a level; ``async_tiff`` reads the others."""
    kind = np.dtype(dtype).kind
    simple = level.predictor == NONE or (level.predictor == HORIZONTAL and kind in "iu" and level.packed != "none")
    return simple and level.packed != "lzw"


# -- what the tags of a TIFF say ------------------------------------------------------------------------------------


def describe(tiff: TIFF) -> TiffFile:
    """The file that a header describes.

    Args:
        tiff: Its header.

    Raises:
        Unsupported: GDAL would read it in another way than this module, or not at all.
    """
    try:
        return _describe(tiff)
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise Unsupported(f"a header that cannot be understood: {web.redact(error)}") from None


def _describe(tiff: TIFF) -> TiffFile:
    from async_tiff import enums

    if tiff.endianness != enums.Endianness.LittleEndian:
        raise Unsupported("numbers with the high byte first")
    first, *others = tiff.ifds
    images = [first, *(ifd for ifd in others if (ifd.new_subfile_type or 0) & REDUCED)]
    keys, scale, tie = first.geo_key_directory, first.model_pixel_scale, first.model_tiepoint
    refused = {
        "more than one layer": any(ifd.samples_per_pixel != 1 for ifd in images),
        "a mask of its own": any((ifd.new_subfile_type or 0) & MASK for ifd in (first, *others)),
        "no blocks": any(not ifd.tile_width or not ifd.tile_byte_counts for ifd in images),
        "a palette": first.colormap is not None,
        "another compression": any(int(ifd.compression) not in PACKED for ifd in images),
        "no projection": keys is None or not scale or not tie,
        "a model transformation": first.model_transformation is not None,
        "another order of bits": any("fill_order" in ifd.keys() or 266 in ifd.other_tags for ifd in images),  # noqa: SIM118
    }
    for reason, holds in refused.items():
        if holds:
            raise Unsupported(reason)
    if keys.raster_type == PIXEL_IS_POINT:
        raise Unsupported("coordinates of pixel centres")
    code = keys.projected_type or keys.geographic_type
    if not code or code == USER_DEFINED:
        raise Unsupported("a projection without code")
    column, row, _, x, y, _ = tie[:6]
    wide, high, _ = scale
    if not (wide > 0 and high > 0 and len(tie) == 6):
        raise Unsupported("another kind of grid")
    nodata = None if first.gdal_nodata is None else float(first.gdal_nodata.strip("\0 "))
    return TiffFile(
        crs=_crs(code),
        transform=Affine(wide, 0.0, x - column * wide, 0.0, -high, y + row * high),
        width=first.image_width,
        height=first.image_height,
        dtypes=(_dtype(first, enums.SampleFormat),),
        nodata=nodata,
        scales=(_stated(first.gdal_metadata, "scale", 1.0),),
        offsets=(_stated(first.gdal_metadata, "offset", 0.0),),
        levels=tuple(_level(ifd) for ifd in images),
    )


def _level(ifd) -> Level:
    offsets, sizes = np.array(ifd.tile_offsets, np.int64), np.array(ifd.tile_byte_counts, np.int64)
    wide, high = ifd.tile_width, ifd.tile_height
    if not len(offsets) == len(sizes) == -(-ifd.image_width // wide) * -(-ifd.image_height // high):
        raise Unsupported("another number of blocks than its size needs")
    packed, predictor = PACKED[int(ifd.compression)], int(ifd.predictor or NONE)
    return Level(ifd.image_width, ifd.image_height, wide, high, offsets, sizes, packed, predictor, ifd)


@lru_cache(maxsize=256)
def _crs(code: int) -> CRS:
    return CRS.from_epsg(code)


def _dtype(ifd, formats) -> str:
    kinds = {formats.Uint: "uint", formats.Int: "int", formats.Float: "float"}
    stated, bits = ifd.sample_format, ifd.bits_per_sample
    name = f"{kinds.get(stated[0] if stated else formats.Uint, '?')}{bits[0]}"
    if name not in ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"):
        raise Unsupported(f"values of {name}")
    return name


def _stated(metadata: str | None, role: str, otherwise: float) -> float:
    """Scale or offset in GDAL's own tag."""
    stated = re.search(rf'role="{role}"[^>]*>\s*([^<\s]+)\s*<', metadata or "")
    return float(stated[1]) if stated else otherwise
