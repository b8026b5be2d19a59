"""A server that is far away: each answer comes after a delay, and all answers share one bandwidth.

    with far_server(folder, wait=0.06, rate=None) as server:
        server.url, server.take()                       # requests, bytes and most in flight since the last call

It runs in a process of its own, so that it takes no time from the interpreter that is measured. A path with a leading
``/<anything>@`` part is served without it: one file plays many scenes.
"""

import asyncio
import json
import multiprocessing
import os
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass
class FarServer:
    """Address of the server, and what it counted."""

    url: str

    def take(self) -> dict[str, int]:
        """``requests``, ``bytes`` and ``peak`` (most requests in flight) since the last call."""
        with urllib.request.urlopen(f"{self.url}/count") as answer:
            return json.load(answer)


@contextmanager
def far_server(folder: Path, wait: float, rate: float | None = None) -> Iterator[FarServer]:
    """Serve a folder.

    Args:
        folder: What is served.
        wait: Seconds between a request and its answer.
        rate: Bytes a second for all answers together; None is as fast as the machine.
    """
    context = multiprocessing.get_context("spawn")
    port = context.Queue()
    process = context.Process(target=_serve, args=(str(folder), wait, rate, port), daemon=True)
    process.start()
    try:
        yield FarServer(f"http://127.0.0.1:{port.get(timeout=60)}")
    finally:
        process.terminate()
        process.join()


def _serve(folder: str, wait: float, rate: float | None, port) -> None:
    asyncio.run(_Server(folder, wait, rate).run(port))


class _Server:
    def __init__(self, folder: str, wait: float, rate: float | None):
        self.folder, self.wait, self.rate = folder, wait, rate
        self.counts = {"requests": 0, "bytes": 0, "peak": 0}
        self.flying = 0
        self.free_at = 0.0  # when the line has sent what it was given

    async def run(self, port) -> None:
        server = await asyncio.start_server(self.answer, "127.0.0.1", 0, backlog=1024)
        port.put(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    async def answer(self, reader, writer) -> None:
        try:
            while True:
                lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                method, target, _ = lines[0].split(" ")
                headers = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
                if target == "/count":
                    body = json.dumps(self.counts).encode()
                    self.counts = dict.fromkeys(self.counts, 0)
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
                    await writer.drain()
                    continue
                self.flying += 1
                self.counts["requests"] += 1
                self.counts["peak"] = max(self.counts["peak"], self.flying)
                try:
                    await asyncio.sleep(self.wait)
                    await self.send(method, target, headers, writer)
                finally:
                    self.flying -= 1
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def send(self, method: str, target: str, headers: dict, writer) -> None:
        path = self.folder + "/" + "/".join(p for p in target.split("?")[0].split("/") if not p.endswith("@"))
        try:
            size = os.path.getsize(path)
        except OSError:
            writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            return await writer.drain()
        first, last, status, part = 0, size - 1, "200 OK", ""
        if "range" in headers:
            start, end = headers["range"].removeprefix("bytes=").split("-")
            first, last = (int(start), min(int(end or last), last)) if start else (size - int(end), last)
            status, part = "206 Partial Content", f"Content-Range: bytes {first}-{last}/{size}\r\n"
        head = f"HTTP/1.1 {status}\r\nContent-Length: {last - first + 1}\r\nAccept-Ranges: bytes\r\n{part}\r\n"
        writer.write(head.encode())
        if method == "HEAD":
            return await writer.drain()
        with open(path, "rb") as file:
            file.seek(first)
            left = last - first + 1
            while left:
                piece = file.read(min(left, 1 << 16))
                left -= len(piece)
                if self.rate:
                    now = time.monotonic()
                    self.free_at = max(self.free_at, now) + len(piece) / self.rate
                    await asyncio.sleep(self.free_at - now)
                writer.write(piece)
                await writer.drain()
                self.counts["bytes"] += len(piece)
