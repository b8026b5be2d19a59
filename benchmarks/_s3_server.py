"""A server that speaks as much of S3 as reading needs: sizes, byte ranges and lists of the files of a folder.

    with s3_server(folder) as server:               # folder/bucket/key
        os.environ.update(server.variables)
        server.take()                               # requests and bytes since the last call

It runs in a process of its own. moto's server handles a few hundred requests a second and copies every answer, so that
it would be what is measured; this one sends parts of a file with ``sendfile``.
"""

import json
import multiprocessing
import os
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from xml.sax.saxutils import escape


@dataclass
class S3Server:
    """The environment that leads a program to the server, and what the server counted."""

    variables: dict[str, str]

    def take(self) -> dict[str, int]:
        """``requests`` and ``bytes`` since the last call."""
        with urllib.request.urlopen(f"{self.variables['AWS_ENDPOINT_URL']}/-count") as answer:
            return json.load(answer)


@contextmanager
def s3_server(folder: Path) -> Iterator[S3Server]:
    """Serve a folder; its folders are the buckets."""
    context = multiprocessing.get_context("spawn")
    port = context.Queue()
    process = context.Process(target=_serve, args=(str(folder.resolve()), port), daemon=True)
    process.start()
    try:
        url = f"http://127.0.0.1:{port.get(timeout=60)}"
        keys = {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench", "AWS_REGION": "us-east-1"}
        yield S3Server({**keys, "AWS_ENDPOINT_URL": url, "AWS_ALLOW_HTTP": "true"})
    finally:
        process.terminate()
        process.join()


def _serve(folder: str, port) -> None:
    count, lock = {"requests": 0, "bytes": 0}, threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path, _, query = self.path.partition("?")
            if path == "/-count":
                with lock:
                    body = json.dumps(count).encode()
                    count.update(requests=0, bytes=0)
                return self.answer(200, body)
            with lock:
                count["requests"] += 1
            file = Path(folder + urllib.parse.unquote(path))
            if query and file.is_dir():
                return self.answer(200, _listed(file, urllib.parse.parse_qs(query)), "application/xml")
            if not file.is_file():
                return self.answer(404, b"<Error><Code>NoSuchKey</Code></Error>", "application/xml")
            self.send_file(file)
            return None

        def send_file(self, file: Path) -> None:
            size = file.stat().st_size
            first, last = 0, size - 1
            if given := self.headers.get("Range"):
                low, _, high = given.removeprefix("bytes=").partition("-")
                first = int(low) if low else size - int(high)
                last = min(int(high), last) if low and high else last
            self.send_response(206 if given else 200)
            self.send_header("Content-Length", str(last - first + 1))
            if given:
                self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
            self.facts(file)
            self.end_headers()
            if self.command == "HEAD":
                return
            with lock:
                count["bytes"] += last - first + 1
            self.wfile.flush()
            with file.open("rb") as source:
                while first <= last:
                    first += os.sendfile(self.connection.fileno(), source.fileno(), first, last + 1 - first)

        def facts(self, file: Path) -> None:
            self.send_header("ETag", f'"{file.stat().st_mtime_ns}"')
            self.send_header("Last-Modified", formatdate(file.stat().st_mtime, usegmt=True))

        def answer(self, status: int, body: bytes, kind: str = "application/json") -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(b"" if self.command == "HEAD" else body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    port.put(server.server_port)
    server.serve_forever()


def _listed(bucket: Path, query: dict[str, list[str]]) -> bytes:
    """A list of version 2, of all keys or of one level."""
    prefix, delimiter = (query.get(name, [""])[0] for name in ("prefix", "delimiter"))
    keys = sorted(f.relative_to(bucket).as_posix() for f in bucket.rglob("*") if f.is_file())
    keys = [key for key in keys if key.startswith(prefix)]
    levels = {prefix + key[len(prefix) :].partition("/")[0] + "/" for key in keys if delimiter in key[len(prefix) :]}
    levels = levels if delimiter else set()
    found = "".join(
        f"<Contents><Key>{escape(key)}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>&quot;"
        f"{(bucket / key).stat().st_mtime_ns}&quot;</ETag><Size>{(bucket / key).stat().st_size}</Size></Contents>"
        for key in keys
        if not any(key.startswith(level) for level in levels)
    )
    found += "".join(f"<CommonPrefixes><Prefix>{escape(level)}</Prefix></CommonPrefixes>" for level in sorted(levels))
    return f"<ListBucketResult><IsTruncated>false</IsTruncated>{found}</ListBucketResult>".encode()
