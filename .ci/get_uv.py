"""Put uv, of one fixed version, into a folder of its own: for machines that have only Python.

    python3 .ci/get_uv.py _build/uv

Runs on any Python from 3.8 and needs neither pip nor ensurepip (Debian ships them apart): without them it takes pip's
own wheel from PyPI, checked by its hash, and runs it from there.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

UV = "uv==0.13.8"
PIP_SHA256 = "f3b60b20ffaadd4415ed7957212a38ac63fa4c5fa375bd0f4a797777940fad13"
PIP_URL = (
    "https://files.pythonhosted.org/packages/07/25/"
    "ee8c38ae72d66b844ce8eb9711ba905dba21ca1a8a0c960057c41cd23337/pip-26.3-py3-none-any.whl"
)


def main(folder):
    with tempfile.TemporaryDirectory() as scratch:
        pip = find_pip() or [sys.executable, str(fetch_pip(Path(scratch)) / "pip")]
        command = [*pip, "install", "--quiet", "--disable-pip-version-check", "--upgrade", "--target", folder, UV]
        environment = {name: value for name, value in os.environ.items() if name not in ("PIP_USER", "PIP_TARGET")}
        environment["PIP_ROOT_USER_ACTION"] = "ignore"  # a folder of our own is no system package
        return subprocess.call(command, env=environment)


def find_pip():
    """The command of the pip that this Python has, if it has one."""
    pip = [sys.executable, "-m", "pip"]
    return pip if subprocess.run([*pip, "--version"], capture_output=True).returncode == 0 else None


def fetch_pip(scratch):
    """Download pip's wheel, which Python can run as it is."""
    with urllib.request.urlopen(PIP_URL, timeout=60) as answer:
        wheel = answer.read()
    if hashlib.sha256(wheel).hexdigest() != PIP_SHA256:
        sys.exit(f"{PIP_URL} is not the file it should be. Install uv by hand (https://docs.astral.sh/uv) and go on.")
    path = scratch / "pip-26.3-py3-none-any.whl"
    path.write_bytes(wheel)
    return path


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
