"""Raster files on the internet, read ahead: many requests at once, each header once for a process.

    files = remote.files()
    future = files.open(href, where)     # returns at once; `where(file)` says which window will be read
    file = future.result()               # a TiffFile, read like an open file of rasterio
    file.read(1, window=window)

A tiled TIFF takes two requests: its first bytes, which hold the header, and the blocks of a window, which the store
merges where they lie close together. Requests run on one event loop in a thread of its own; blocks are unpacked on a
pool of threads. At most ``HELD`` bytes of packed blocks are on their way or wait. A host gets at most ``IN_FLIGHT``
requests at once, and none while it asks for a pause (status 429 or 503).

Files in the stores of Google and Azure (``gs://``, ``az://``, ``abfss://``) are read with the keys of ``stores``, and
so are those in S3 where GDAL is given no service of its own. What S3 refuses is left to GDAL, which finds a bucket's
region and says what is wrong.

What this module does not read raises ``Unsupported``: GDAL reads it, see ``reader``.

Lab: part1_build_dataset.
"""

from __future__ import annotations

import asyncio
import os
import re
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote, urlsplit

import numpy as np
import requests
from rasterio.windows import Window

from arsetlib import engine, stores, web
from arsetlib.errors import ArsetError
from arsetlib.ingest import tiff
from arsetlib.ingest.tiff import Missing, TiffFile, Unsupported

__all__ = ["Files", "RemoteError", "files", "in_order"]

IN_FLIGHT = 64  # requests to one host at once
HELD = 64 * 2**20  # bytes of packed blocks that are requested and not yet unpacked
AHEAD = 96 * 2**20  # bytes of windows that are requested before they are used
WAITS = (1.0, 4.0, 16.0)  # s, before each further try
LONGEST = 120.0  # s, the longest pause that a server may ask for
SILENCE, TIMEOUT = 30.0, 180.0  # s, without a byte of an answer; for a whole answer, after which GDAL reads the file
CLOSE = 2**18  # bytes between two blocks that are read in one request
HEADERS = 20_000  # headers that are kept, some kB each
FINAL = (400, 401, 403, 404, 410)  # answers after which another try is useless
PAUSE = (429, 503)  # answers that ask for a pause
BUNDLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")  # variables that name files of certificates

Job = TypeVar("Job")


class RemoteError(ArsetError, OSError):
    """A file could not be read after all tries.

    Attributes:
        status: HTTP status of the last answer; None where none came.
    """

    def __init__(self, message: str, status: int | None):
        super().__init__(message)
        self.status = status


_process: tuple[int, Files] | None = None
_lock = threading.Lock()


def in_store(href: str) -> bool:
    """Whether a link leads to Google's or Azure's store, which GDAL does not read with the keys of ``stores``."""
    return href.partition("://")[0].lower() in ("gs", "az", "abfs", "abfss")


def _in_s3(href: str) -> bool:
    """Whether a file in S3 is read here: GDAL reads those of the Copernicus Data Space, and where it has settings."""
    return href.lower().startswith("s3://") and web.host(href) != "eodata" and not os.environ.get("AWS_S3_ENDPOINT")


def files() -> Files:
    """The files of this process. In a process that was forked from one that read files, GDAL has to read all."""
    global _process
    with _lock:
        if _process is None or _process[0] != os.getpid():
            _process = os.getpid(), Files(forked=_process is not None)
        return _process[1]


def _after_fork() -> None:
    """Another thread may have held the lock while this process was made."""
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class Files:
    """Reads files over http. Its methods return at once; a ``Future`` has the result or the error.

    Args:
        in_flight: Requests to one host at once.
        forked: Whether the threads of the http library were left behind in a parent process: then nothing is read.
    """

    def __init__(self, in_flight: int = IN_FLIGHT, forked: bool = False):
        self._in_flight, self._forked = in_flight, forked
        self._hosts: dict[str, _Host] = {}
        self._headers: OrderedDict[str, asyncio.Task] = OrderedDict()
        self._refused: set[str] = set()  # buckets of S3 that are left to GDAL
        self._room = _Room(HELD)
        self._unpackers = ThreadPoolExecutor(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
                                             thread_name_prefix="arset-unpack")  # fmt: skip
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="arset-remote", daemon=True).start()

    def open(self, href: str, where: Callable[[TiffFile], Window | None] | None = None) -> Future[TiffFile]:
        """Open a file, and read a window of it.

        Args:
            href: Link with ``http`` or ``https``, ``s3``, ``gs``, ``az`` or ``abfss``.
            where: From the file to the window that is read; None, or the result None, reads only the header.

        Returns:
            Future of the file. It raises ``Unsupported`` where GDAL has to read the file, ``RemoteError`` where it
            cannot be read.
        """
        return asyncio.run_coroutine_threadsafe(self._opened(href, where), self._loop)

    def window(self, file: TiffFile, window: Window, level: int) -> Future[np.ndarray]:
        """Read a window of a file: future of (rows, cols) values of the file's type.

        Args:
            file: From ``open``.
            window: In pixels of the level.
            level: 0 is the file, the others are its overviews.
        """
        return asyncio.run_coroutine_threadsafe(self._window(file, window, level), self._loop)

    def values(self, file: TiffFile, window: Window, level: int) -> np.ndarray:
        """``window``, waiting for it."""
        return engine.result(self.window(file, window, level))

    async def _opened(self, href: str, where) -> TiffFile:
        read_here = urlsplit(href).scheme.lower() in ("http", "https") or in_store(href)
        if not read_here and not (_in_s3(href) and stores.place(href).root not in self._refused):
            raise Unsupported(f"{web.public(href)} is no link that is read here")
        if self._forked:
            raise Unsupported("this process was forked from one that had read files")
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

    async def _head(self, href: str) -> TiffFile:
        parts: list[tuple[int, bytes]] = []
        missing = 0, tiff.PREFETCH
        for _ in range(tiff.MOST_PARTS):
            (some,) = await self._bytes(href, [missing])
            parts.append((missing[0], bytes(some)))
            try:
                return replace(tiff.describe(parts), href=href, source=self)
            except Missing as more:
                missing = more.offset, max(more.size, tiff.PREFETCH)
        raise Unsupported("a header in too many places")

    async def _bytes(self, href: str, ranges: list[tuple[int, int]]) -> list:
        """Parts of a file: positions and sizes. Those that lie close together are one request."""
        from obstore import get_ranges_async

        starts, sizes = zip(*ranges, strict=True)
        if in_store(href) or _in_s3(href):
            return await self._stored(href, starts, sizes)
        path, host = _path(href), self._host(href)
        return await host.ask(
            href, lambda: get_ranges_async(host.store(href), path, starts=starts, lengths=sizes, coalesce=CLOSE)
        )

    async def _stored(self, href: str, starts: Sequence[int], sizes: Sequence[int]) -> list:
        """Parts of a file in an object store, which tries again by itself."""
        place, s3 = stores.place(href), _in_s3(href)
        async with self._host(href).free:
            try:
                return await place.read_ranges(starts, sizes, CLOSE, **(_asked(href) if s3 else {}))
            except (OSError, stores.StoreAnswerError) as error:
                missing = isinstance(error, FileNotFoundError)
                if s3:
                    self._refused |= set() if missing else {place.root}
                    raise Unsupported(str(error)) from None
                if missing:
                    raise RemoteError(f"{error.strerror}: {href}", 404) from None
                raise RemoteError(str(error), None) from None

    async def _window(self, file: TiffFile, window: Window, number: int) -> np.ndarray:
        level = file.levels[number]
        blocks = list(level.blocks(window))
        values = file.empty(window)
        if not blocks:
            return values
        ranges = [(int(level.offsets[n]), int(level.sizes[n])) for n in (level.number(*block) for block in blocks)]
        async with self._room.of(sum(size for _, size in ranges)):
            packed = await self._bytes(file.href, ranges)
            jobs = [
                self._loop.run_in_executor(self._unpackers, tiff.unpack, some, level, x, y, window, values)
                for some, (x, y) in zip(packed, blocks, strict=True)
            ]
            await asyncio.gather(*jobs)
        return values

    def _host(self, href: str) -> _Host:
        parts = urlsplit(href)
        name = f"{parts.scheme}://{parts.netloc}"
        if name not in self._hosts:
            self._hosts[name] = _Host(self._in_flight)
        return self._hosts[name]


class _Room:
    """So many bytes; who needs some waits until they are free, in the order of asking."""

    def __init__(self, size: int):
        self.size = self.free = size
        self.waiting: deque[tuple[int, asyncio.Future]] = deque()

    @asynccontextmanager
    async def of(self, needed: int):
        """Hold some bytes; more than there are means all of them."""
        needed = min(needed, self.size)
        if self.waiting or needed > self.free:
            turn = asyncio.get_running_loop().create_future()
            self.waiting.append((needed, turn))
            await turn
        else:
            self.free -= needed
        try:
            yield
        finally:
            self.free += needed
            while self.waiting and self.waiting[0][0] <= self.free:
                next_needed, turn = self.waiting.popleft()
                self.free -= next_needed
                turn.set_result(None)


def _path(href: str) -> str:
    """The path of a link as the store wants it; the store writes the same link of it again.

    Raises:
        Unsupported: It would ask for another.
    """
    try:
        parts = [unquote(part, errors="strict") for part in urlsplit(href).path.split("/")[1:]]
    except UnicodeDecodeError:
        raise Unsupported("a path that is no UTF-8") from None
    if "@" in urlsplit(href).netloc:
        raise Unsupported("a user's name, which the library would not send")
    if not parts or any(part in ("", ".", "..") or re.search(r"[/\\\x00-\x1f\x7f]", part) for part in parts):
        raise Unsupported("a path with other parts than names")
    return "/".join(parts)


def _certificates() -> bytes:
    """Certificates that the user trusts in addition to those of the system."""
    named = dict.fromkeys(os.environ[name] for name in BUNDLES if os.environ.get(name))
    return b"\n".join(Path(name).read_bytes() for name in named if Path(name).is_file())


class _Host:
    """One server: its connections, how many requests it gets at once, and until when it asked for a pause."""

    def __init__(self, in_flight: int):
        self.free = asyncio.Semaphore(in_flight)
        self.until = 0.0
        self.answered = self.unreachable = False  # whether any answer came; whether all tries ended without one
        self.silent = False  # whether a request ended without an answer after all tries, and none came since
        self.asking: asyncio.Task | None = None  # how long it wants to rest
        self.stores: dict[str, object] = {}

    def store(self, href: str):
        """The store of a link; signatures stand in the query, which belongs to the store's address."""
        from obstore.store import HTTPStore

        parts = urlsplit(href)
        address = f"{parts.scheme}://{parts.netloc}/" + (f"?{parts.query}" if parts.query else "")
        if address not in self.stores:
            options: dict = {"connect_timeout": "10s", "read_timeout": f"{SILENCE}s", "timeout": f"{TIMEOUT}s"}
            if parts.scheme == "http":
                options["allow_http"] = True
            elif bundle := _certificates():
                options["root_certificate"] = bundle
            self.stores = {k: v for k, v in self.stores.items() if "?" not in k}  # older signatures have expired
            self.stores[address] = HTTPStore.from_url(address, client_options=options, retry_config={"max_retries": 0})
        return self.stores[address]

    async def ask(self, href: str, request: Callable):
        """The answer to a request, tried again after failures of the internet; a pause holds for all requests."""
        if self.unreachable:
            raise Unsupported("no answer of this server has ever come")
        for wait in (*WAITS, None):
            async with self.free:
                await self._rest()
                started = time.monotonic()
                try:
                    answer = await request()
                    self.answered, self.silent = True, False
                    return answer
                except Exception as error:
                    status, problem = _status(error), error
            if status is None and not _of_network(problem):
                raise Unsupported(web.redact(problem)) from None
            if status is None and time.monotonic() - started >= TIMEOUT:
                raise Unsupported("too slow")  # GDAL ends such a transfer, or knows better settings
            self.answered |= status is not None
            self.silent &= status is None
            if self.silent or wait is None:
                self.silent |= status is None
                if not self.answered:  # a proxy or certificates that only GDAL knows? It shall try
                    self.unreachable = True
                    raise Unsupported(_reason(status, problem)) from None
                raise RemoteError(_reason(status, problem), status) from None
            if status in FINAL:
                raise RemoteError(_reason(status, problem), status) from None
            if status in PAUSE:
                await self._pause(href, wait)
            else:
                await asyncio.sleep(wait)
        raise AssertionError("unreachable")

    async def _rest(self) -> None:
        while (rest := self.until - time.monotonic()) > 0:
            await asyncio.sleep(rest)

    async def _pause(self, href: str, wait: float) -> None:
        """Stop all requests for as long as the server wants: the library does not show it, so it is asked once more.

        Raises:
            RemoteError: It wants more than ``LONGEST``.
        """
        self.until = max(self.until, time.monotonic() + wait)
        if self.asking is None or self.asking.done():
            self.asking = asyncio.ensure_future(asyncio.to_thread(_retry_after, href))
        longer = await asyncio.shield(self.asking)
        if longer > LONGEST:
            raise RemoteError(f"the server asks to wait {longer:.0f} s. Run it again then", 429)
        self.until = max(self.until, time.monotonic() + longer)
        await self._rest()


def _retry_after(href: str) -> float:
    """Seconds for which an overloaded server wants no requests; 0 where it does not say."""
    try:
        with web.request("GET", href, None, {"Range": "bytes=0-0"}) as answer:
            return (web.retry_after(answer) or 0.0) if answer.status_code in PAUSE else 0.0
    except (requests.RequestException, OSError, ValueError):
        return 0.0


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


def _asked(href: str) -> dict[str, bool]:
    """How a bucket of S3 is asked: without a signature where there are no keys, and who pays."""
    options = web.s3_options(href)
    unsigned = options["AWS_NO_SIGN_REQUEST"] == "YES"
    return {"skip_signature": True} if unsigned else {"request_payer": "AWS_REQUEST_PAYER" in options}


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
