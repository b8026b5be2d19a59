"""Makers of submissions that mean harm, or are broken, and what each may get.

Every one answers q1 and q2 of part1 rightly first, unless it says otherwise: `EARNED` points are its own, and a
submission ends with those or with none. Its cells are in `hostile_cells`; they print `LEAK` where something was seen or
done that must not be.
"""

from __future__ import annotations

import io
import json
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from homework import hostile_cells as cells

EARNED = 6  # points of q1 and q2
START = 'from arsetlib import grading\nhw = grading.start("part1", name={name!r})'
ANSWERS = """
import numpy as np
def hectares(codes, code, side_m):
    return float((np.asarray(codes) == code).sum()) * side_m**2 / 10_000

def class_of(code, classes, excluded):
    if code in excluded:
        return "left out"
    for name, codes in classes.items():
        if code in codes:
            return name
    raise ValueError(f"unknown code {code}")
"""


@dataclass(frozen=True)
class Hostile:
    """A submission: what its cells do after the answers, or a function that writes its file.

    Attributes:
        cells: Run after the right answers.
        points: That it gets; None where it may be 0 or EARNED.
        reason: Words that its row has; empty where any will do.
        write: ``(path without ending, name of the learner) -> None``, where it is no plain notebook.
    """

    cells: tuple[str, ...] = ()
    points: int | None = EARNED
    reason: str = ""
    write: Callable[[Path, str], None] | None = None


def notebook(name: str, *more: str, answers: str = ANSWERS, **metadata) -> bytes:
    """A notebook of part1: start, answers, more cells."""
    sources = [START.format(name=name), answers, *more]
    made = [
        {"cell_type": "code", "metadata": {}, "execution_count": None, "outputs": [], "source": source}
        for source in sources
    ]
    return json.dumps({"cells": made, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}).encode()


def write(folder: Path, key: str, one: Hostile) -> None:
    """Write a hostile submission; its learner has the name of its key."""
    path, name = folder / key, key.replace("_", " ")
    if one.write:
        one.write(path, name)
    else:
        path.with_suffix(".ipynb").write_bytes(notebook(name, *one.cells))


def ten_gigabytes(path: Path, name: str) -> None:
    """A zip of 10 MB whose notebook would unpack to 10 GB: one piece of zeros, a thousand times."""
    pack = zlib.compressobj(9, zlib.DEFLATED, -15)
    piece = pack.compress(bytes(10 << 20)) + pack.flush(zlib.Z_FULL_FLUSH)
    body = piece * 1000 + pack.flush()
    for said, ending in (0xFFFFFFFE, ""), (1000, "-that says 1 kB"):
        entry = b"part1.ipynb"
        head = struct.pack("<5H3I2H", 20, 0, 8, 0, 33, 0, len(body), said, len(entry), 0)
        local = b"PK\x03\x04" + head + entry + body
        central = b"PK\x01\x02" + struct.pack("<H", 20) + head + struct.pack("<3H2I", 0, 0, 0, 0, 0) + entry
        end = b"PK\x05\x06" + struct.pack("<4H2IH", 0, 0, 1, 1, len(central), len(local), 0)
        path.with_name(f"{path.name}{ending}.zip").write_bytes(local + central + end)


def zipped(*entries: tuple[str, bytes], mode: int = 0o644, inner: Callable | None = None) -> Callable:
    """A maker of a zip with these entries; a name may hold {0}, an empty body is an honest notebook."""

    def make(path: Path, name: str) -> None:
        held = io.BytesIO()
        with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as zipped:
            for entry, body in entries:
                info = zipfile.ZipInfo(entry)
                info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, (stat.S_IFREG | mode) << 16
                if mode == stat.S_IFLNK:
                    info.external_attr = (stat.S_IFLNK | 0o777) << 16
                zipped.writestr(info, body or notebook(name))
        data = held.getvalue()
        path.with_suffix(".zip").write_bytes(inner(data) if inner else data)

    return make


def encrypted(data: bytes) -> bytes:
    """The flag of encryption in both heads of a zip of one entry."""
    at = data.rindex(b"PK\x01\x02")
    data = bytearray(data)
    data[6] |= 1
    data[at + 8] |= 1
    return bytes(data)


def large(path: Path, name: str) -> None:
    """A notebook of 200 MB, which takes no room on disk."""
    with open(path.with_suffix(".ipynb"), "wb") as file:
        file.write(notebook(name)[:-1] + b" ")
        file.truncate(200 << 20)


def raw(body: bytes) -> Callable:
    """A maker of a notebook file with these bytes."""
    return lambda path, name: path.with_suffix(".ipynb").write_bytes(body)


def named(learner: str) -> Callable:
    """A maker of an honest notebook of a learner with an odd name."""
    return lambda path, name: path.with_suffix(".ipynb").write_bytes(notebook(learner))


def linked(path: Path, name: str) -> None:
    """A notebook that is a link to a file of the grader's own."""
    path.with_suffix(".ipynb").symlink_to(path.parent.parent / "private" / "own.ipynb")


def piped(path: Path, name: str) -> None:
    """A notebook that is a pipe, which nobody ever writes to."""
    os.mkfifo(path.with_suffix(".ipynb"))


def hostile(*, secrets: tuple[Path, ...], elsewhere: tuple[Path, ...], port: int) -> dict[str, Hostile]:
    """All hostile submissions.

    Args:
        secrets: Files and folders that must not be read: other submissions, hidden checks, solutions, home.
        elsewhere: Folders that must not be written to.
        port: Where the test listens, on the grader's own network.
    """
    made = {
        "endless_loop": Hostile(("while True: pass",), EARNED, "was stopped"),
        "endless_and_holds_on": Hostile(
            ("while True:\n  try:\n    while True: pass\n  except BaseException: pass",), None
        ),
        "endless_sleep": Hostile(("import time\nwhile True:\n  try: time.sleep(99)\n  except BaseException: pass",), 0),
        "endless_function": Hostile(("def hectares(codes, code, side_m):\n    while True: pass",), 4, "took more than"),
        "fork_bomb": Hostile((cells.FORKS,), None),
        "children": Hostile((cells.CHILDREN,), EARNED, "BlockingIOError"),
        "daemons": Hostile(("!for i in $(seq 20); do setsid sleep 61 >/dev/null 2>&1 & done",)),
        "threads": Hostile((cells.THREADS,), EARNED, "RuntimeError"),
        "allocation": Hostile(("held = np.ones(1 << 30)",), EARNED, "Unable to allocate"),
        "allocation_of_many": Hostile((cells.ALLOCATES_IN_MANY,), 0, "memory"),
        "allocation_shared": Hostile((cells.ALLOCATES_SHARED,), 0, "memory"),
        "reads": Hostile((cells.reading(*secrets),)),
        "writes": Hostile((cells.writing(*elsewhere),)),
        "takes_rights": Hostile((cells.RIGHTS,)),
        "network": Hostile((cells.NETWORK.replace("PORT", str(port)),)),
        "patches": Hostile((cells.PATCHES,), 0),
        "prints": Hostile((cells.PRINTS,), 0, "Expected a function called hectares"),
        "floods": Hostile(("import os\nfor turn in range(300): os.write(1, b'flood ' * 100_000)",)),
        "exits": Hostile(("import os; os._exit(0)",), 0, "ended before its answers"),
        "exits_politely": Hostile(("raise SystemExit", "quit()")),
        "exits_in_function": Hostile(("import os\ndef hectares(*a): os._exit(0)",), 0, "ended before its answers"),
        "kills_itself": Hostile(("!kill -9 -1\nimport os; os.kill(os.getpid(), 9)",), 0, "ended before its answers"),
        "crashes": Hostile(("import ctypes; ctypes.string_at(0)",), 0, "ended before its answers"),
        "stops_itself": Hostile(("import os; os.kill(os.getpid(), 19)",), 0, "too long"),
        "closes_all": Hostile(("import os; os.closerange(0, 1000)",), 0, "Not answered"),
        "fills_disk": Hostile((cells.FILLS.replace("{FOLDER}", "/tmp"),), EARNED, "No space left"),
        "fills_shared_memory": Hostile((cells.FILLS.replace("{FOLDER}", "/dev/shm"),), EARNED, "No space left"),
        "one_large_file": Hostile(("file = open('/tmp/a', 'wb')\nfile.truncate(1 << 40)",), None),
        "many_files": Hostile(("import os\nfor turn in range(10**6): os.mkdir(f'/tmp/{turn}')",), 0, "files"),
        "many_files_in_shared_memory": Hostile(
            ("import os\nfor turn in range(10**6): os.mkdir(f'/dev/shm/{turn}')",), 0, "files"
        ),
        "pickles": Hostile((cells.PICKLES,), 4, "plain"),
        "endless_values": Hostile((cells.ENDLESS_VALUES,), 4),
        "no_such_kernel": Hostile(
            write=lambda path, name: path.with_suffix(".ipynb").write_bytes(
                notebook(name, kernelspec={"name": "no-such-kernel", "language": "brainfuck", "display_name": "x"})
            )
        ),
        "answers_for_it": Hostile((cells.ANSWERS_FOR_IT,), 0),
        "large": Hostile(points=0, reason="MB", write=large),
        "zip_bomb": Hostile(points=0, write=ten_gigabytes),
        "zip_out": Hostile(points=0, reason="leads out", write=zipped(("../../planted.ipynb", b""))),
        "zip_absolute": Hostile(points=0, reason="leads out", write=zipped(("/tmp/planted.ipynb", b""))),
        "zip_drive": Hostile(points=0, reason="leads out", write=zipped(("C:\\planted.ipynb", b""))),
        "zip_link": Hostile(
            points=0, reason="link", write=zipped(("part1.ipynb", b"../private/own.ipynb"), mode=stat.S_IFLNK)
        ),
        "zip_long_names": Hostile(
            points=0, reason="255", write=zipped(*(("x" * 60_000 + f"{k}.ipynb", b"") for k in range(4)))
        ),
        "zip_nested": Hostile(points=0, reason="another zip", write=zipped(("inner.zip", b"PK"))),
        "zip_encrypted": Hostile(points=0, reason="password", write=zipped(("part1.ipynb", b""), inner=encrypted)),
        "zip_broken": Hostile(points=0, reason="not a zip", write=zipped(("part1.ipynb", b""), inner=lambda d: d[:50])),
        "zip_of_thousands": Hostile(
            points=0, reason="entries", write=zipped(*((f"{k}.ipynb", b"{}") for k in range(2500)))
        ),
        "zip_honest": Hostile(write=zipped(("me/part1.ipynb", b""), ("__MACOSX/._part1.ipynb", b"\0"))),
        "deep": Hostile(points=0, reason="not JSON", write=raw(b'{"cells": ' + b"[" * 2_000_000)),
        "no_notebook": Hostile(points=0, reason="not a notebook", write=raw(b"\xff\xfe\x00PK")),
        "no_cells": Hostile(points=0, reason="no list of cells", write=raw(b'{"cells": {"a": 1}}')),
        "no_source": Hostile(
            points=0, reason="not text", write=raw(b'{"cells": [{"cell_type": "code", "source": {"a": 1}}]}')
        ),
        "no_start": Hostile(points=0, reason="no cell with start", write=raw(b'{"cells": []}')),
        "deep_code": Hostile(
            points=0,
            write=lambda path, name: path.with_suffix(".ipynb").write_bytes(
                json.dumps({"cells": [{"cell_type": "code", "source": "start(" + "(" * 500_000}]}).encode()
            ),
        ),
        "other_homework": Hostile(
            points=0,
            reason="does not exist",
            write=lambda path, name: path.with_suffix(".ipynb").write_bytes(
                notebook(name).replace(b"part1", b"../../x")
            ),
        ),
        "a_link": Hostile(points=0, reason="link", write=linked),
        "a_pipe": Hostile(points=0, reason="regular", write=piped),
        "name_of_a_formula": Hostile(write=named('=HYPERLINK("http://x",1)')),
        "name_of_a_command": Hostile(write=named("@SUM(1+1)*cmd|' /C calc'!A0")),
        "name_of_lines": Hostile(points=0, reason="characters", write=named("Ada\u202egnp.exe")),
        "name_not_seen": Hostile(points=0, reason="characters", write=named("honest\u200b first")),
        "name_of_halves": Hostile(points=0, reason="", write=named("\ud800Ada")),
        "name_of_another": Hostile(
            points=0,
            reason="the better one counts",
            write=lambda path, name: path.with_suffix(".ipynb").write_bytes(
                notebook("honest first", answers="hectares = 'rubbish'")
            ),
        ),
    }
    for name, cell in cells.FORGES.items():
        made[name] = Hostile((cells.SENDS + cell,), 0, "Not answered")
    return made
