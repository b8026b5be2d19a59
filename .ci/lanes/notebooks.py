"""Run notebooks in the kernel of another Python, one after the other: `notebooks.py PYTHON CHECKOUT FILE…`.

It stops at the first cell that fails. A file is a notebook, or a master of the homework (`.py`): then the first cell of
the learner's notebook runs, each solution of the master, and after it the check that a learner runs.

This program's own Python needs only `jupyter_client`; the kernel's Python needs only `ipykernel`.
"""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import KernelManager

TIMEOUT_S = 600  # of one cell


def cells(checkout: Path, name: str) -> list[str]:
    """The code of a notebook, or of a master with its checks."""
    file = checkout / name
    if file.suffix == ".ipynb":
        return code(file)
    first, *rest = code(checkout / "arsetlib" / "grading" / "student" / file.stem / f"{file.stem}.ipynb")
    checks = {found[1]: cell for cell in rest if (found := re.match(r'grading\.check\("(\w+)"', cell))}
    found, question = [first], None
    for cell in re.split(r"^# %%", file.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        kind, _, source = cell.partition("\n")
        if name := re.search(r"^# # BEGIN QUESTION\n# name: (\w+)", source, re.MULTILINE):
            question = name[1]
        elif "# # END QUESTION" in source:
            found.append(f"assert {checks.pop(question)}.ok")
        elif not kind.strip().startswith("["):
            found.append(source)
    if checks:
        raise SystemExit(
            f"{file.name}: the learner's notebook checks {', '.join(checks)}, which the master does not ask."
        )
    return found


def code(notebook: Path) -> list[str]:
    return ["".join(c["source"]) for c in json.loads(notebook.read_text("utf-8"))["cells"] if c["cell_type"] == "code"]


def run(python: str, name: str, cells: list[str]) -> None:
    """Run one file; raises SystemExit at a cell that fails, with the cell and what it said."""
    kernel = KernelManager()
    kernel._kernel_spec = KernelSpec(
        argv=[python, "-m", "ipykernel_launcher", "-f", "{connection_file}"], language="python"
    )
    kernel.start_kernel(stderr=subprocess.DEVNULL)  # what cells print to it arrives as messages
    client = kernel.blocking_client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=120)
        for cell in cells:
            said = []

            def listen(message, said=said):
                content = message["content"]
                if message["msg_type"] == "stream":
                    said.append(content["text"])
                elif message["msg_type"] == "error":
                    said.append("\n".join(content["traceback"]))

            reply = client.execute_interactive(cell, timeout=TIMEOUT_S, output_hook=listen, allow_stdin=False)
            if reply["content"]["status"] != "ok":
                raise SystemExit(f"{name}: this cell fails\n\n{cell}\n\n{''.join(said)[-6000:]}")
    finally:
        client.stop_channels()
        kernel.shutdown_kernel(now=True)


if __name__ == "__main__":
    python, checkout, *names = sys.argv[1:]
    for name in names:
        start = time.monotonic()
        run(python, name, cells(Path(checkout), name))
        print(f"  {name} passes ({time.monotonic() - start:.0f} s)", flush=True)
