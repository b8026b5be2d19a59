"""A proxy before the S3 server that fails as a test asks, and counts requests."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests

SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"


class FailingStore:
    """Passes requests on to a server, unless ``fails`` says what to do with one.

    ``fails(method, path)`` returns None (pass it on), ``"slow"`` (503), ``"reset"`` (cut the connection while
    the body comes), ``"lost"`` (pass it on, give no answer), ``"hide"`` (leave files out of a list),
    or (status, code) of an S3 error.
    """

    def __init__(self, url: str):
        self.target, self.fails, self.seen = url, lambda method, path: None, []
        store = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # as in badserver

            def log_message(self, *_: object) -> None:
                pass

            def serve(self) -> None:
                store.serve(self)

            do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = serve

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.session = threading.local()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        self.seen.append((handler.command, handler.path))
        what = self.fails(handler.command, handler.path)
        length = int(handler.headers.get("Content-Length") or 0)
        if what == "reset":
            handler.rfile.read(length // 2)
            return self._cut(handler)
        body = handler.rfile.read(length)
        if what == "slow":
            return self._answer(handler, 503, SLOW_DOWN, {})
        if isinstance(what, tuple):
            status, code = what
            return self._answer(handler, status, f"<Error><Code>{code}</Code></Error>".encode(), {})
        if not hasattr(self.session, "own"):
            self.session.own = requests.Session()
        answer = self.session.own.request(
            handler.command, self.target + handler.path, data=body, allow_redirects=False, timeout=60,
            headers={k: v for k, v in handler.headers.items() if k.lower() not in ("content-length", "connection")},
        )  # fmt: skip
        if what == "lost":
            return self._cut(handler)
        content = answer.content
        if what == "hide":
            start, end = content.find(b"<Contents>"), content.rfind(b"</Contents>")
            content = content[:start] + content[end + len(b"</Contents>") :] if start >= 0 else content
        return self._answer(handler, answer.status_code, content, dict(answer.headers))

    def _cut(self, handler: BaseHTTPRequestHandler) -> None:
        handler.close_connection = True
        handler.connection.close()

    def _answer(self, handler: BaseHTTPRequestHandler, status: int, content: bytes, headers: dict) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "connection", "transfer-encoding", "content-encoding", "date",
                                    "server"):  # fmt: skip
                handler.send_header(name, value)
        length = headers.get("Content-Length") if handler.command == "HEAD" else None
        handler.send_header("Content-Length", length or str(len(content)))
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(content)


def first(n: int, what: object, method: str, part: str = "") -> Callable:
    """Fail the first n requests of a method whose path contains ``part``."""
    left, lock = [n], threading.Lock()

    def fails(command: str, path: str):
        with lock:
            if command != method or part not in path or not left[0]:
                return None
            left[0] -= 1
            return what

    return fails
