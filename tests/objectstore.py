"""An S3 server on this machine, for tests: moto's, in a process of its own, behind the loopback address."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import requests

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test-key", "AWS_SECRET_ACCESS_KEY": "test-secret-never-saved"}
SERVER = """
import logging, os, threading, time
from werkzeug.serving import WSGIRequestHandler, make_server
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
logging.getLogger("werkzeug").setLevel(logging.ERROR)
WSGIRequestHandler.protocol_version = "HTTP/1.1"
app = DomainDispatcherApplication(create_backend_app)
#
server = make_server("127.0.0.1", 0, app, threaded=True)
parent = os.getppid()
def end_with_it():
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
threading.Thread(target=end_with_it, daemon=True).start()
print(server.port, flush=True)
server.serve_forever()
"""


def variables(url: str) -> dict[str, str]:
    """What a program needs to use the server."""
    return {**CREDENTIALS, "AWS_ENDPOINT_URL": url, "AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1"}


@contextmanager
def s3_server(before: str = "") -> Iterator[str]:
    """Start the server, which ends when this process does, however that ends; gives its URL.

    ``before``: code that puts something before its ``app``.
    """
    clean = {k: v for k, v in os.environ.items() if not k.startswith("AWS_") and "proxy" not in k.lower()}
    command = [sys.executable, "-W", "ignore", "-c", SERVER.replace("#", before)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=clean | CREDENTIALS
    )
    try:
        port = process.stdout.readline().strip()
        assert port, "moto's server did not start: install the group test of pyproject.toml"
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def new_bucket(url: str) -> str:
    """Make an empty bucket, whose name reads like answers of a store; gives its address, ``s3://…``."""
    name = f"region-404-{uuid.uuid4().hex[:8]}"
    requests.put(f"{url}/{name}", timeout=30).raise_for_status()
    return f"s3://{name}"
