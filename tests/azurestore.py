"""An Azure Blob server on this machine, for tests: Azurite, where it is installed (``make azurite``)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path

import requests

OWN = Path(__file__).resolve().parents[1] / "_build" / "azurite" / "node_modules" / ".bin"
PROGRAM = shutil.which("azurite-blob", path=os.pathsep.join([str(OWN), os.environ["PATH"]]))
ACCOUNT = "devstoreaccount1"
# Of every Azurite, published in its documentation: no secret.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


def variables(url: str) -> dict[str, str]:
    """What a program needs to use the server."""
    return {
        "AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT, "AZURE_STORAGE_ACCOUNT_KEY": KEY, "AZURE_STORAGE_ENDPOINT": url,
        "AZURE_ALLOW_HTTP": "true",
    }  # fmt: skip


@contextmanager
def serve() -> Iterator[str]:
    """Start the server; gives the URL of its account."""
    with tempfile.TemporaryDirectory() as folder:
        command = [PROGRAM, "--inMemoryPersistence", "--blobPort", "0", "--skipApiVersionCheck"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder)
        try:
            lines = iter(process.stdout.readline, "")
            found = next(filter(None, (re.search(r"listens on (http://127\.0\.0\.1:\d+)", line) for line in lines)))
            yield f"{found[1]}/{ACCOUNT}"
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


def new_container(url: str) -> str:
    """Make an empty container; gives its address, ``az://…``."""
    name, version, date = f"box-{uuid.uuid4().hex[:8]}", "2021-08-06", formatdate(usegmt=True)
    signed = f"PUT\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:{date}\nx-ms-version:{version}\n"
    signed += f"/{ACCOUNT}/{ACCOUNT}/{name}\nrestype:container"
    digest = hmac.new(base64.b64decode(KEY), signed.encode(), hashlib.sha256).digest()
    headers = {
        "x-ms-date": date, "x-ms-version": version,
        "Authorization": f"SharedKey {ACCOUNT}:{base64.b64encode(digest).decode()}",
    }  # fmt: skip
    requests.put(f"{url}/{name}?restype=container", headers=headers, timeout=30).raise_for_status()
    return f"az://{name}"
