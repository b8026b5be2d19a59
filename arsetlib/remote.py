"""Raster files on the web, read ahead: many requests in flight, each header once for a process.

    files = remote.files()
    later = files.read(href, where)      # at once; `where(header)` says which window
    header, values = later.result()      # waits

A tiled TIFF takes two requests: its first bytes, which hold the header, and the blocks of a window, which the store
merges where they lie close together. Requests run on one event loop in a thread of its own; blocks are decoded on the
threads of ``async_tiff``. A host gets no more than ``IN_FLIGHT`` requests at once, and none while it asks for a pause
(status 429 or 503).

What this module does not read (JPEG 2000, masks, palettes, other schemes than http) raises ``Unsupported`` at once or
from the future: GDAL reads it, see ``arsetlib.ingest.reader``.

Lab: part1_build_dataset.
"""

from __future__ import annotations

import asyncio
import os
import re
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import unquote, urlsplit

import numpy as np
from affine import Affine
from rasterio.coords import BoundingBox
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.windows import Window

from arsetlib import web
from arsetlib.errors import ArsetError

__all__ = ["Files", "Header", "RemoteError", "Unsupported", "available", "files", "in_order"]

IN_FLIGHT = 64  # requests to one host at once
AHEAD = 192 * 2**20  # bytes of windows that are asked for before they are used
WAITS = (1.0, 4.0, 16.0)  # s, before each further try
TIMEOUT = "60s"  # of one request
FIRST_BYTES = 32 * 1024  # hold the header of a scene's file
HEADERS = 20_000  # headers that are kept, some kB each
FINAL = (400, 401, 403, 404, 410)  # answers that asking again does not change
PAUSE = (429, 503)  # answers that ask for a pause
USER_DEFINED, PIXEL_IS_POINT = 32767, 2  # of the TIFF's geo keys
REDUCED, MASK = 1, 4  # bits of the TIFF's NewSubfileType


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
class Header:
    """What the header of a file says, under the names of an open file of rasterio."""

    crs: CRS
    transform: Affine
    width: int
    height: int
    dtypes: tuple[str]
    nodata: float | None
    scales: tuple[float]
    offsets: tuple[float]
    levels: tuple = field(repr=False)  # image file directories, the full image first

    count = 1
    colorinterp = (ColorInterp.gray,)

    @property
    def bounds(self) -> BoundingBox:
        """Edges in the file's CRS."""
        t = self.transform
        return BoundingBox(t.c, t.f + t.e * self.height, t.c + t.a * self.width, t.f)

    @property
    def mask_flag_enums(self) -> tuple[list[MaskFlags]]:
        """Where pixels without data are noted; never in a mask of their own."""
        return ([MaskFlags.all_valid if self.nodata is None else MaskFlags.nodata],)

    def level(self, step: int) -> int:
        """The coarsest overview whose pixels are not larger than ``step`` pixels of the file; 0 is the file itself."""
        fits = [k for k, ifd in enumerate(self.levels) if self.width / ifd.image_width < step + 0.5]
        return max(fits, key=lambda k: self.width / self.levels[k].image_width, default=0)


def available() -> bool:
    """Whether the libraries that read ahead are installed (``arsetlib[remote]``)."""
    try:
        import async_tiff
        import obstore  # noqa: F401
    except ImportError:
        return False
    return async_tiff is not None


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
    """Reads windows of files over http. Its methods return at once; a ``Future`` has the values or the error."""

    def __init__(self, in_flight: int = IN_FLIGHT):
        self._in_flight = in_flight
        self._hosts: dict[str, _Host] = {}
        self._headers: OrderedDict[str, asyncio.Task] = OrderedDict()
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="arset-remote", daemon=True).start()

    def read(self, href: str, where: Callable[[Header], tuple[Window | None, int]]) -> Future:
        """Read a window of a file.

        Args:
            href: Link with ``http`` or ``https``.
            where: From the file's header to a window in pixels of a level, and the level; None reads no pixels.

        Returns:
            Future of (Header, values): (rows, cols) of the file's type, or None where there is no window.

        Raises:
            Unsupported: Also from the future: GDAL has to read this file.
            RemoteError: From the future: it cannot be read.
        """
        if urlsplit(href).scheme.lower() not in ("http", "https"):
            raise Unsupported(f"{web.public(href)} is no http link")
        return asyncio.run_coroutine_threadsafe(self._read(href, where), self._loop)

    async def _read(self, href: str, where):
        header = await self._header(href)
        window, level = where(header)
        if window is None:
            return header, None
        return header, await self._window(href, header, window, level)

    def _header(self, href: str) -> asyncio.Task:
        """The task that reads a header; it is kept, and forgotten where it failed."""
        task = self._headers.get(href)
        if task is None:
            task = self._headers[href] = asyncio.ensure_future(self._open(href))
            task.add_done_callback(lambda t: (t.cancelled() or t.exception()) and self._headers.pop(href, None))
            while len(self._headers) > HEADERS:
                self._headers.popitem(last=False)
        return asyncio.shield(task)

    async def _open(self, href: str) -> Header:
        from async_tiff import TIFF

        host = self._host(href)
        path = unquote(urlsplit(href).path).lstrip("/")
        tiff = await host.ask(href, lambda: TIFF.open(path, store=host.store(href), prefetch=FIRST_BYTES))
        return _header_of(tiff)

    async def _window(self, href: str, header: Header, window: Window, level: int) -> np.ndarray:
        ifd = header.levels[level]
        top, left, rows, cols = window.row_off, window.col_off, window.height, window.width
        high, wide = ifd.tile_height, ifd.tile_width
        across = -(-ifd.image_width // wide)
        blocks = [
            (x, y)
            for y in range(top // high, (top + rows - 1) // high + 1)
            for x in range(left // wide, (left + cols - 1) // wide + 1)
        ]
        stored = [(x, y) for x, y in blocks if ifd.tile_byte_counts[y * across + x]]
        empty = 0 if header.nodata is None else header.nodata  # of blocks that the file leaves out, as GDAL reads them
        values = np.full((rows, cols), empty, header.dtypes[0])
        if not stored:
            return values
        tiles = await self._host(href).ask(href, lambda: ifd.fetch_tiles(stored))
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
        self.stores: dict[str, object] = {}

    def store(self, href: str):
        """The store of a link; signatures stand in the query, which belongs to the store's address."""
        from obstore.store import HTTPStore

        parts = urlsplit(href)
        address = f"{parts.scheme}://{parts.netloc}/" + (f"?{parts.query}" if parts.query else "")
        if address not in self.stores:
            options = {"timeout": TIMEOUT, "connect_timeout": "10s"}
            if parts.scheme == "http":
                options["allow_http"] = True
            self.stores = {k: v for k, v in self.stores.items() if "?" not in k}  # older signatures have expired
            self.stores[address] = HTTPStore.from_url(address, client_options=options, retry_config={"max_retries": 0})
        return self.stores[address]

    async def ask(self, href: str, request: Callable):
        """The answer to a request, tried again after failures of the network; a pause holds for all requests."""
        loop = asyncio.get_running_loop()
        for wait in (*WAITS, None):
            async with self.free:
                while (rest := self.until - loop.time()) > 0:
                    await asyncio.sleep(rest)
                try:
                    return await request()
                except Exception as error:
                    status, problem = _status(error), error
            if status is None and not _of_network(problem):
                raise Unsupported(web.redact(problem)) from None
            if wait is None or status in FINAL:
                raise RemoteError(_reason(status, problem), status) from None
            if status in PAUSE:
                self.until = max(self.until, loop.time() + wait)
            await asyncio.sleep(wait)
        raise AssertionError("unreachable")


def in_order(requests: Iterable, ask: Callable[[object], Future], size: Callable[[object], int], limit: int = AHEAD):
    """Ask for many things ahead and give their futures in order.

    Args:
        requests: What is asked for.
        ask: From a request to its future.
        size: Bytes of an answer, about.
        limit: Bytes of answers that are on their way or wait to be used; one request is always on its way.

    Yields:
        (request, future)
    """
    waiting: deque[tuple[object, Future, int]] = deque()
    held = 0
    for request in requests:
        bytes_ = size(request)
        while waiting and held + bytes_ > limit:
            first, future, freed = waiting.popleft()
            yield first, future
            held -= freed
        waiting.append((request, ask(request), bytes_))
        held += bytes_
    while waiting:
        first, future, _ = waiting.popleft()
        yield first, future


# -- what the tags of a TIFF say ------------------------------------------------------------------------------------


def _header_of(tiff) -> Header:
    """The header of an opened TIFF, where this module can read the file as GDAL would."""
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
    return Header(
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
    return "Error performing" in str(error)


def _status(error: Exception) -> int | None:
    answer = re.search(r"status code: (\d{3})", str(error))
    return int(answer[1]) if answer else None


def _reason(status: int | None, error: Exception) -> str:
    if status:
        return f"HTTP response code: {status}"
    return web.redact(str(error).split("\n\nDebug source")[0].split(" - ")[-1])
