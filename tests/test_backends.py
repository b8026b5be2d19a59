"""TensorFlow, JAX and PyTorch give the same windows, and each trains and predicts: on_backend.py has the checks."""

import ast
import functools
import importlib.metadata
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from packaging.version import Version

HERE = Path(__file__).resolve().parent
CODE = ast.parse((HERE / "on_backend.py").read_text(encoding="utf-8"))
CHECKS = [f.name.removeprefix("check_") for f in CODE.body if isinstance(f, ast.FunctionDef) and "check_" in f.name]
ELSEWHERE = next(
    ast.literal_eval(a.value) for a in CODE.body if isinstance(a, ast.Assign) and a.targets[0].id == "ELSEWHERE"
)
ASKED = [(b, c) for b in ("tensorflow", "jax", "torch") for c in CHECKS if b != "tensorflow" or c not in ELSEWHERE]

pytestmark = pytest.mark.backends


@functools.cache
def found(backend: str) -> dict[str, str]:
    """Check → what went wrong with this backend."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(HERE / "on_backend.py"), folder]
        settings = {**os.environ, "KERAS_BACKEND": backend}
        kept = {"cwd": HERE.parent, "env": settings, "capture_output": True, "text": True}
        if backend != "tensorflow":  # its killed training is in ELSEWHERE
            died = subprocess.run([*command, "kill"], **kept)
            assert died.returncode == -signal.SIGKILL, died.stderr
        done = subprocess.run(command, **kept)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(("backend", "check"), ASKED)
def test_on(backend, check):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    if Version(importlib.metadata.version("keras")) < Version("3.9"):
        pytest.skip("windows on the device need Keras 3.9 or newer: see samples.device")
    assert found(backend)[check] == ""


def test_a_backend_that_is_not_installed_is_named():
    absent = next((b for b in ("jax", "torch", "tensorflow") if importlib.util.find_spec(b) is None), None)
    if absent is None:
        pytest.skip("all backends are installed")
    code = "import few; from arsetlib import samples; samples.Loader(few.make_table(), few.STUDY, None, place='device')"
    settings = {**os.environ, "KERAS_BACKEND": absent, "PYTHONPATH": str(HERE)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=settings, cwd=HERE.parent)
    assert f"Keras is asked for the backend '{absent}'" in done.stderr
