"""A small http server on 127.0.0.1 that misbehaves on request.

It serves a folder, or what a test puts, with byte ranges, so that GDAL reads COGs from it. A failure is set for a
path pattern and a number of requests:

    with BadServer(folder) as server:
        server.fail("*/B04.tif", 503, times=2, retry_after=1)   # twice, then well
        server.fail("/items/*", "stall")                        # for ever: half the body, then silence
        ...
        assert server.count("*/B04.tif") == 3
"""

import email.utils
import fnmatch
import gzip
import hashlib
import json
import re
import ssl
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

FAILURES = (
    "stall", "break", "truncated", "garbage", "slow", "drip", "drip headers", "silence", "wrong range", "short range",
    "gzip", "empty", "page",
)  # fmt: skip


@dataclass
class Request:
    """What a client asked."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes = b""

    def json(self):
        return json.loads(self.body)


@dataclass
class _Fault:
    pattern: str
    how: int | str
    times: int | None
    after: int
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    def meets(self, path: str) -> bool:
        """Whether this request fails; counts it."""
        if not fnmatch.fnmatchcase(path, self.pattern):
            return False
        if self.after > 0:
            self.after -= 1
            return False
        if self.times is None:
            return True
        self.times -= 1
        return self.times >= 0


class BadServer:
    """See the module. ``put`` adds what is served, ``fail`` makes it go wrong, ``mend`` undoes that."""

    def __init__(self, folder: Path | None = None, ranges: bool = True, tls: ssl.SSLContext | None = None):
        self.folder, self.ranges = folder, ranges
        self.requests: list[Request] = []
        self._routes: dict[str, object] = {}
        self._headers: dict[str, dict[str, str]] = {}
        self._faults: list[_Fault] = []
        self._lock, self._closing = threading.Lock(), threading.Event()
        handler = type("Handler", (_Handler,), {"bad": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self._server.server_port}"

    def __enter__(self):
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def put(self, path: str, content, headers: dict[str, str] | None = None) -> str:
        """Serve ``content``: bytes, text, something JSON, or a function of a Request that returns one of these or
        (status, content). Returns the URL."""
        self._routes[path], self._headers[path] = content, headers or {}
        return self.url + path

    def fail(self, pattern: str, how: int | str, times: int | None = None, after: int = 0, **more) -> None:
        """Let requests whose path matches ``pattern`` (as in a shell) go wrong.

        Args:
            pattern: Of the path, without the query.
            how: A status (403: the link has expired; 404; 429; 502; 503), or ``stall`` (half the body, then
                silence), ``break`` (half the body, then the connection closes), ``truncated`` (half of the file, as
                though it were whole), ``garbage`` (bytes of the right number that mean nothing), ``slow``, ``drip``
                (a byte now and then, without end), ``drip headers``, ``silence`` (no byte at all), ``wrong range`` and
                ``short range`` (other bytes than those asked for), ``gzip`` (packed, although nobody asked for it),
                ``empty``, or ``page`` (200 and the HTML of a login page).
            times: So many requests; None for all.
            after: So many requests go well first.
            more: ``retry_after`` (seconds, or an HTTP date) and ``seconds`` (of ``slow``).
        """
        if not isinstance(how, int) and how not in FAILURES:
            raise ValueError(f"{how!r} is no failure; they are statuses and {', '.join(FAILURES)}")
        headers = {"Retry-After": str(more["retry_after"])} if "retry_after" in more else {}
        with self._lock:
            self._faults.append(_Fault(pattern, how, times, after, headers, more.get("seconds", 0.5)))

    def mend(self) -> None:
        with self._lock:
            self._faults.clear()

    def count(self, pattern: str = "*") -> int:
        """Requests so far whose path matches."""
        return sum(fnmatch.fnmatchcase(r.path, pattern) for r in self.requests)

    # -- for the handler

    def fault(self, path: str) -> _Fault | None:
        with self._lock:
            return next((f for f in self._faults if f.meets(path)), None)

    def content(self, request: Request) -> tuple[int, bytes]:
        status, found = 200, self._routes.get(request.path)
        if callable(found):
            found = found(request)
            status, found = found if isinstance(found, tuple) else (200, found)
        if found is None and self.folder is not None:
            file = (self.folder / request.path.lstrip("/")).resolve()
            if file.is_relative_to(self.folder.resolve()) and file.is_file():
                found = file.read_bytes()
        if found is None:
            return 404, b"not found"
        if isinstance(found, str):
            found = found.encode()
        return status, found if isinstance(found, bytes) else json.dumps(found).encode()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """Clients hang up on a server like this one; no need to print it."""


class _Handler(BaseHTTPRequestHandler):
    bad: BadServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or the body, a second packet, waits 40 ms for the receipt of the headers
    timeout = 30

    def log_message(self, *_):
        pass

    def do_GET(self):
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = Request(self.command, unquote(parts.path), parts.query, dict(self.headers), body)
        with self.bad._lock:
            self.bad.requests.append(request)
        try:
            self._answer(request)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    do_HEAD = do_POST = do_GET

    def _answer(self, request: Request) -> None:
        fault = self.bad.fault(request.path)
        if fault and isinstance(fault.how, int):
            return self._send(fault.how, fault.headers, b"it failed on request")
        status, content = self.bad.content(request)
        how = fault.how if fault else ""
        if how == "slow":
            time.sleep(fault.seconds)
        if how == "truncated":
            content = content[: len(content) // 2]
        if how == "garbage":
            content = hashlib.sha256(content).digest() * (len(content) // 32 + 1)
            content = content[: len(content) // 32 * 32]
        headers = {"ETag": f'"{hashlib.md5(content).hexdigest()}"', "Accept-Ranges": "bytes"}
        headers |= self.bad._headers.get(request.path, {})
        headers["Last-Modified"] = email.utils.formatdate(1_600_000_000, usegmt=True)
        if how == "silence":
            self.bad._closing.wait(20)
            self.close_connection = True
            return
        if how == "page":
            return self._send(200, {"Content-Type": "text/html"}, b"<html>Please log in</html>")
        status, content = self._range(status, content, headers)
        if how == "wrong range" and "Content-Range" in headers:
            headers["Content-Range"] = "bytes 1-" + str(len(content)) + "/" + headers["Content-Range"].split("/")[1]
        if how in ("short range", "empty"):
            content = content[: len(content) // 2 if how == "short range" else 0]
        if how == "gzip":
            content, headers["Content-Encoding"] = gzip.compress(content), "gzip"
        self._send(status, headers, content, how)

    def _range(self, status: int, content: bytes, headers: dict) -> tuple[int, bytes]:
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        same = self.headers.get("If-Range") in (None, headers["ETag"], headers["Last-Modified"])
        if not asked or status != 200 or not self.bad.ranges or not same:
            return status, content
        first, last = int(asked[1]), min(int(asked[2] or len(content) - 1), len(content) - 1)
        if first >= len(content):
            headers["Content-Range"] = f"bytes */{len(content)}"
            return 416, b""
        headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
        return 206, content[first : last + 1]

    def _send(self, status: int, headers: dict, content: bytes, how: str = "") -> None:
        if how == "drip headers":
            self.wfile.write(b"HTTP/1.1 200 OK\r\n")
            return self._drip(b"X-Slow: 1\r\n")
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(1 << 30 if how == "drip" else len(content)))
        self.end_headers()
        if how == "drip":
            return self._drip(b" ")
        if self.command == "HEAD":
            return
        if how in ("stall", "break"):
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            if how == "stall":
                self.bad._closing.wait(20)
            self.close_connection = True
            return
        self.wfile.write(content)

    def _drip(self, piece: bytes) -> None:
        while not self.bad._closing.wait(0.05):
            self.wfile.write(piece)
            self.wfile.flush()
        self.close_connection = True
