"""Raster files on the internet, read ahead: many requests at once, each header once for a process.

    files = remote.files()
    future = files.open(href, where)     # returns at once; `where(file)` says which window will be read
    file = future.result()               # a RemoteFile, read like an open file of rasterio
    file.read(1, window=window)

A tiled TIFF takes two requests: its first bytes, which hold the header, and the blocks of a window, which the store
merges where they lie close together. Requests run on one event loop in a thread of its own; blocks are decoded on the
threads of ``async_tiff``. A host gets at most ``IN_FLIGHT`` requests at once, and none while it asks for a pause
(status 429 or 503).

Files that this module does not read (JPEG 2000, masks, palettes, other schemes than http) raise ``Unsupported``: GDAL
reads them, see ``reader``.

Lab: part1_build_dataset.
"""

from __future__ import annotations

import asyncio
import os
import re
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TypeVar
from urllib.parse import unquote, urlsplit

import numpy as np
from affine import Affine
from rasterio.coords import BoundingBox
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.windows import Window

from arsetlib import web
from arsetlib.errors import ArsetError

__all__ = ["Files", "RemoteError", "RemoteFile", "Unsupported", "files", "in_order"]

IN_FLIGHT = 64  # requests to one host at once
AHEAD = 96 * 2**20  # bytes of windows that are requested before they are used
WAITS = (1.0, 4.0, 16.0)  # s, before each further try
SILENCE, TIMEOUT = "30s", "600s"  # without a byte of an answer; for a whole answer
FIRST_BYTES = 32 * 1024  # hold the header of a scene's file
HEADERS = 20_000  # headers that are kept, some kB each
FINAL = (400, 401, 403, 404, 410)  # answers after which another try is useless
PAUSE = (429, 503)  # answers that ask for a pause
USER_DEFINED, PIXEL_IS_POINT = 32767, 2  # of the TIFF's geo keys
REDUCED, MASK = 1, 4  # bits of the TIFF's NewSubfileType

Job = TypeVar("Job")


class Unsupported(Exception):
    """This module does not read such a file; GDAL may."""


class RemoteError(ArsetError, OSError):
    """A file could not be read after all tries.

    Attributes:
        status: HTTP status of the last answer; None where none came.
    """

    def __init__(self, message: str, status: int | None):
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class RemoteFile:
    """What the header of a file says, and ``read``, under the names of an open file of rasterio."""

    crs: CRS
    transform: Affine
    width: int
    height: int
    dtypes: tuple[str]
    nodata: float | None
    scales: tuple[float]
    offsets: tuple[float]
    levels: tuple = field(repr=False)  # image file directories of the full image and its overviews
    href: str = field(default="", repr=False)
    files: Files | None = field(default=None, repr=False)
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
        """Values of a window, by nearest neighbour; waits for the answer.

        Args:
            layer: 1.
            window: Whole pixels, within the file.
            out_shape: Rows and columns of the result, from the overview that suffices; the window's by default.

        Raises:
            RemoteError: It cannot be read.
            Unsupported: GDAL has to read this file.
        """
        top, left, rows, cols = _corner(window)
        if out_shape is None or tuple(out_shape) == (rows, cols):
            if self.values is None or not _contains(self.window, window):
                return self.files.window(self, window, 0).result()
            r, c = top - int(self.window.row_off), left - int(self.window.col_off)
            return self.values[r : r + rows, c : c + cols]
        level = self._level(min(rows / out_shape[0], cols / out_shape[1]))
        ifd = self.levels[level]
        row = _middles(top, rows, out_shape[0]) * ifd.image_height // self.height
        col = _middles(left, cols, out_shape[1]) * ifd.image_width // self.width
        row, col = row.astype(int), col.astype(int)
        part = Window(col[0], row[0], col[-1] - col[0] + 1, row[-1] - row[0] + 1)
        return self.files.window(self, part, level).result()[np.ix_(row - row[0], col - col[0])]

    def _level(self, step: float) -> int:
        """The coarsest overview whose pixels are not larger than ``step`` pixels of the file; 0 is the file itself."""
        fits = [k for k, ifd in enumerate(self.levels) if self.width / ifd.image_width < step + 0.5]
        return max(fits, key=lambda k: self.width / self.levels[k].image_width, default=0)


def _corner(window: Window) -> tuple[int, int, int, int]:
    return int(window.row_off), int(window.col_off), int(window.height), int(window.width)


def _contains(outer: Window, inner: Window) -> bool:
    top, left, rows, cols = _corner(outer)
    r, c, height, width = _corner(inner)
    return top <= r and left <= c and r + height <= top + rows and c + width <= left + cols


def _middles(start: int, length: int, cells: int) -> np.ndarray:
    """Pixels in the middle of so many cells of a row of pixels."""
    return start + (np.arange(cells) + 0.5) * length / cells


_process: tuple[int, Files] | None = None
_lock = threading.Lock()


def files() -> Files:
    """The files of this process. A forked worker gets its own."""
    global _process
    with _lock:
        if _process is None or _process[0] != os.getpid():
            _process = os.getpid(), Files()
        return _process[1]


class Files:
    """Reads files over http. Its methods return at once; a ``Future`` has the result or the error.

    Args:
        in_flight: Requests to one host at once.
    """

    def __init__(self, in_flight: int = IN_FLIGHT):
        self._in_flight = in_flight
        self._hosts: dict[str, _Host] = {}
        self._headers: OrderedDict[str, asyncio.Task] = OrderedDict()
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="arset-remote", daemon=True).start()

    def open(self, href: str, where: Callable[[RemoteFile], Window | None] | None = None) -> Future[RemoteFile]:
        """Open a file, and read a window of it.

        Args:
            href: Link with ``http`` or ``https``.
            where: From the file to the window that is read; None, or the result None, reads only the header.

        Returns:
            Future of the file. It raises ``Unsupported`` where GDAL has to read the file, ``RemoteError`` where it
            cannot be read.
        """
        return asyncio.run_coroutine_threadsafe(self._opened(href, where), self._loop)

    def window(self, file: RemoteFile, window: Window, level: int) -> Future[np.ndarray]:
        """Read a window of a file: future of (rows, cols) values of the file's type.

        Args:
            file: From ``open``.
            window: In pixels of the level.
            level: 0 is the file, the others are its overviews.
        """
        return asyncio.run_coroutine_threadsafe(self._window(file, window, level), self._loop)

    async def _opened(self, href: str, where) -> RemoteFile:
        if urlsplit(href).scheme.lower() not in ("http", "https"):
            raise Unsupported(f"{web.public(href)} is no http link")
        file = await self._header(href)
        window = where(file) if where else None
        return file if window is None else replace(file, window=window, values=await self._window(file, window, 0))

    def _header(self, href: str) -> asyncio.Future:
        """The task that reads a header. It is kept, unless the server failed: then the next call asks again."""
        task = self._headers.get(href)
        if task is None:
            task = self._headers[href] = asyncio.ensure_future(self._head(href))
            task.add_done_callback(lambda t: isinstance(t.exception(), RemoteError) and self._headers.pop(href, None))
            while len(self._headers) > HEADERS:
                self._headers.popitem(last=False)
        return asyncio.shield(task)

    async def _head(self, href: str) -> RemoteFile:
        from async_tiff import TIFF

        host = self._host(href)
        path = unquote(urlsplit(href).path).lstrip("/")
        tiff = await host.ask(lambda: TIFF.open(path, store=host.store(href), prefetch=FIRST_BYTES))
        return replace(_file_of(tiff), href=href, files=self)

    async def _window(self, file: RemoteFile, window: Window, level: int) -> np.ndarray:
        ifd = file.levels[level]
        top, left, rows, cols = _corner(window)
        high, wide = ifd.tile_height, ifd.tile_width
        across = -(-ifd.image_width // wide)
        blocks = [
            (x, y)
            for y in range(top // high, (top + rows - 1) // high + 1)
            for x in range(left // wide, (left + cols - 1) // wide + 1)
        ]
        stored = [(x, y) for x, y in blocks if ifd.tile_byte_counts[y * across + x]]
        empty = 0 if file.nodata is None else file.nodata  # of blocks that the file leaves out, as GDAL reads them
        values = np.full((rows, cols), empty, file.dtypes[0])
        if not stored:
            return values
        tiles = await self._host(file.href).ask(lambda: ifd.fetch_tiles(stored))
        try:
            decoded = await asyncio.gather(*(tile.decode() for tile in tiles))
        except Exception as error:  # of several kinds, one for each compression
            raise Unsupported(f"blocks that cannot be decoded: {web.redact(error)}") from None
        for (x, y), block in zip(stored, decoded, strict=True):
            pixels = np.asarray(block)[..., 0]
            if pixels.dtype != values.dtype:
                raise Unsupported(f"blocks of {pixels.dtype} in a file of {values.dtype}")
            r0, c0 = y * high - top, x * wide - left  # of the block in the window
            into = values[max(r0, 0) : r0 + high, max(c0, 0) : c0 + wide]
            from_r, from_c = max(-r0, 0), max(-c0, 0)
            into[...] = pixels[from_r : from_r + into.shape[0], from_c : from_c + into.shape[1]]
        return values

    def _host(self, href: str) -> _Host:
        parts = urlsplit(href)
        return self._hosts.setdefault(f"{parts.scheme}://{parts.netloc}", _Host(self._in_flight))


class _Host:
    """One server: its connections, how many requests it gets at once, and until when it asked for a pause."""

    def __init__(self, in_flight: int):
        self.free = asyncio.Semaphore(in_flight)
        self.until = 0.0
        self.answered = self.unreachable = False  # whether any answer came; whether all tries ended without one
        self.stores: dict[str, object] = {}

    def store(self, href: str):
        """The store of a link; signatures stand in the query, which belongs to the store's address."""
        from obstore.store import HTTPStore

        parts = urlsplit(href)
        address = f"{parts.scheme}://{parts.netloc}/" + (f"?{parts.query}" if parts.query else "")
        if address not in self.stores:
            options = {"connect_timeout": "10s", "read_timeout": SILENCE, "timeout": TIMEOUT}
            if parts.scheme == "http":
                options["allow_http"] = True
            self.stores = {k: v for k, v in self.stores.items() if "?" not in k}  # older signatures have expired
            self.stores[address] = HTTPStore.from_url(address, client_options=options, retry_config={"max_retries": 0})
        return self.stores[address]

    async def ask(self, request: Callable):
        """The answer to a request, tried again after failures of the internet; a pause holds for all requests."""
        loop = asyncio.get_running_loop()
        if self.unreachable:
            raise Unsupported("no answer of this server has ever come")
        for wait in (*WAITS, None):
            async with self.free:
                while (rest := self.until - loop.time()) > 0:
                    await asyncio.sleep(rest)
                try:
                    answer = await request()
                    self.answered = True
                    return answer
                except Exception as error:
                    status, problem = _status(error), error
            self.answered |= status is not None
            if status is None and not _of_network(problem):
                raise Unsupported(web.redact(problem)) from None
            if wait is None and not self.answered:  # a proxy or certificates that only GDAL knows? It shall try
                self.unreachable = True
                raise Unsupported(_reason(status, problem)) from None
            if wait is None or status in FINAL:
                raise RemoteError(_reason(status, problem), status) from None
            if status in PAUSE:
                self.until = max(self.until, loop.time() + wait)
            await asyncio.sleep(wait)
        raise AssertionError("unreachable")


def in_order(
    jobs: Iterable[Job], start: Callable[[Job], object], size: Callable[[Job], int], limit: int = AHEAD
) -> Iterator[Job]:
    """Start jobs ahead of their use, as far as memory allows, and give them in order.

    Args:
        jobs: What is to be done.
        start: Starts one; called long before the job is given.
        size: Bytes that the result of a job takes, about.
        limit: Bytes of results that may wait; a larger job is started alone.

    Yields:
        The jobs, in order. The memory of a job counts as free when the next one is asked for.
    """
    waiting: deque[tuple[Job, int]] = deque()
    used = 0
    for job in jobs:
        more = size(job)
        while waiting and used + more > limit:
            first, freed = waiting.popleft()
            yield first
            used -= freed
        start(job)
        waiting.append((job, more))
        used += more
    for job, _ in waiting:
        yield job


# -- what the tags of a TIFF say ------------------------------------------------------------------------------------


def _file_of(tiff) -> RemoteFile:
    """The file that a TIFF's header describes, where this module reads it as GDAL would."""
    from async_tiff import enums

    if tiff.endianness != enums.Endianness.LittleEndian:
        raise Unsupported("numbers with the high byte first")
    first, *others = tiff.ifds
    levels = [first, *(ifd for ifd in others if (ifd.new_subfile_type or 0) & REDUCED)]
    keys = first.geo_key_directory
    c = enums.Compression
    refused = {
        "more than one layer": any(ifd.samples_per_pixel != 1 for ifd in levels),
        "a mask of its own": any((ifd.new_subfile_type or 0) & MASK for ifd in others),
        "no blocks": any(not ifd.tile_width or not ifd.tile_byte_counts for ifd in levels),
        "a palette": first.colormap is not None,
        "another compression": any(ifd.compression not in (c.Uncompressed, c.Deflate, c.LZW, c.ZSTD) for ifd in levels),
        "no projection": keys is None or first.model_pixel_scale is None or first.model_tiepoint is None,
    }
    for reason, holds in refused.items():
        if holds:
            raise Unsupported(reason)
    if keys.raster_type == PIXEL_IS_POINT:
        raise Unsupported("coordinates of pixel centres")
    code = keys.projected_type or keys.geographic_type
    if not code or code == USER_DEFINED:
        raise Unsupported("a projection without code")
    column, row, _, x, y, _ = first.model_tiepoint[:6]
    wide, high, _ = first.model_pixel_scale
    return RemoteFile(
        crs=_crs(code),
        transform=Affine(wide, 0.0, x - column * wide, 0.0, -high, y + row * high),
        width=first.image_width,
        height=first.image_height,
        dtypes=(_dtype(first, enums.SampleFormat),),
        nodata=None if first.gdal_nodata is None else float(first.gdal_nodata.strip("\0 ")),
        scales=(_stated(first.gdal_metadata, "scale", 1.0),),
        offsets=(_stated(first.gdal_metadata, "offset", 0.0),),
        levels=tuple(levels),
    )


@lru_cache(maxsize=256)
def _crs(code: int) -> CRS:
    return CRS.from_epsg(code)


def _dtype(ifd, formats) -> str:
    kinds = {formats.Uint: "uint", formats.Int: "int", formats.Float: "float"}
    formats_, bits = ifd.sample_format, ifd.bits_per_sample
    name = f"{kinds.get(formats_[0] if formats_ else formats.Uint, '?')}{bits[0]}"
    if name not in ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"):
        raise Unsupported(f"values of {name}")
    return name


def _stated(metadata: str | None, role: str, otherwise: float) -> float:
    """Scale or offset in GDAL's own tag."""
    stated = re.search(rf'role="{role}"[^>]*>\s*([^<\s]+)\s*<', metadata or "")
    return float(stated[1]) if stated else otherwise


# -- what an error says ---------------------------------------------------------------------------------------------


def _of_network(error: Exception) -> bool:
    return any(words in str(error) for words in ("Error performing", "HTTP error:"))


def _status(error: Exception) -> int | None:
    answer = re.search(r"status code: (\d{3})", str(error))
    return int(answer[1]) if answer else None


def _reason(status: int | None, error: Exception) -> str:
    if status:
        return f"HTTP response code: {status}"
    return web.redact(str(error).split("\n\nDebug source")[0].split(" - ")[-1])
