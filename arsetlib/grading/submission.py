"""Read submissions: notebooks and zips of notebooks, made by anybody in any way.

Nothing is unpacked to disk and nothing is run. A file is checked before it is read, a zip before it is opened, and what
is read has a maximum size, whatever size the file states.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import struct
import unicodedata
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from arsetlib.errors import ArsetError
from arsetlib.grading.homework import ASSIGNMENTS, HomeworkError, open_homework, read_start

__all__ = ["Notebook", "SubmissionError", "clean", "display_name", "find", "fingerprint", "read"]

MAX_NOTEBOOK = 20 << 20  # bytes
MAX_ZIP = 50 << 20
MAX_CODE = 2 << 20  # characters of all code cells
MAX_NAME = 255  # characters of the name of a file in a zip
MAX_CELLS, MAX_ENTRIES, MAX_NOTEBOOKS, MAX_FILES = 2000, 2000, 20, 20_000
SKIPPED = (".", "__MACOSX")  # how names of files start that programs leave behind
END_RECORD = struct.Struct("<4s4H2LH")  # the last record of a zip; its fifth number counts the entries


class SubmissionError(ArsetError, ValueError):
    """A submission that cannot be graded. The message is for its learner."""


@dataclass(frozen=True)
class Notebook:
    """One notebook of a submission: its code cells, and the arguments of its ``start("part1", name="Ada")``.

    Attributes:
        inside: Name inside the zip; empty for a notebook that is a file.
        cells: Source of its code cells, in order.
        assignment: "part1", …
        learner: Name of the learner, from which the own numbers are drawn.
        problem: Why it cannot be graded; assignment and learner may then be empty.
        id: ID of the learner, where the notebook states one.
    """

    inside: str
    cells: tuple[str, ...] = ()
    assignment: str = ""
    learner: str = ""
    problem: str = ""
    id: str = ""


def find(folder: Path) -> list[Path]:
    """All notebooks and zips in a folder and the folders below it, sorted by path.

    Raises:
        SubmissionError: It is not a folder, has none, or far too many.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise SubmissionError(f"Expected a folder of notebooks or zips, found none at {folder}.")
    files = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(SKIPPED)]
        names = (name for name in names if not name.startswith(SKIPPED))
        files += [Path(place, name) for name in names if name.lower().endswith((".ipynb", ".zip"))]
        if len(files) > MAX_FILES:
            raise SubmissionError(f"{folder} has more than {MAX_FILES} notebooks and zips. Is it the right folder?")
    if not files:
        raise SubmissionError(f"There is no notebook (.ipynb) and no .zip in {folder}.")
    return sorted(files, key=lambda path: path.relative_to(folder).parts)


def read_bytes(path: Path) -> bytes:
    """The bytes of a submission's file.

    Raises:
        SubmissionError: It is a link, not a regular file, or larger than a submission may be.
    """
    limit = MAX_ZIP if path.suffix.lower() == ".zip" else MAX_NOTEBOOK
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        if path.is_symlink():
            raise OSError  # the message below says that it is a link
        descriptor = os.open(path, flags)
    except OSError as problem:
        raise SubmissionError(f"The file cannot be read: {problem.strerror or 'it is a link'}.") from None
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise SubmissionError("It is not a regular file.")
        if status.st_size > limit:
            raise SubmissionError(_too_large(status.st_size, limit))
        data = file.read(limit + 1)
    if len(data) > limit:
        raise SubmissionError(_too_large(len(data), limit))
    return data


def fingerprint(path: Path) -> str:
    """SHA-256 of a submission's bytes; where they cannot be read, of its name and the problem."""
    try:
        return hashlib.sha256(read_bytes(path)).hexdigest()
    except SubmissionError as problem:
        return hashlib.sha256(f"{path.name}\n{problem}".encode(errors="replace")).hexdigest()


def read(path: Path) -> list[Notebook]:
    """The notebooks of a submission, at least one; a notebook that cannot be graded has a ``problem``.

    Raises:
        SubmissionError: There is no notebook that can be read.
    """
    data = read_bytes(path)
    if path.suffix.lower() == ".zip":
        return [_notebook(part, inside) for inside, part in _unzip(data)]
    return [_notebook(data, "")]


def _unzip(data: bytes) -> list[tuple[str, bytes | str]]:
    """(Name, bytes) of each notebook in a zip; a text instead of the bytes says why one cannot be read."""
    _check_entry_count(data)
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except (zipfile.BadZipFile, ValueError, OSError, EOFError, NotImplementedError, struct.error):
        raise SubmissionError("The file is not a zip that can be opened.") from None
    entries = archive.infolist()
    if len(entries) > MAX_ENTRIES:
        raise SubmissionError(_too_many(len(entries)))
    for entry in entries:
        parts = PurePosixPath(entry.filename.replace("\\", "/")).parts
        if ".." in parts or entry.filename.startswith(("/", "\\")) or ":" in entry.filename[:3]:
            raise SubmissionError("The zip has a path that leads out of it. Zip the notebook alone.")
        if len(entry.filename) > MAX_NAME:  # a few of them would not fit a cell of a spreadsheet
            raise SubmissionError(f"The zip has a name of over {MAX_NAME} characters. Zip the notebook alone.")
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise SubmissionError("The zip has a link. Zip the notebook alone.")
    notebooks = [
        entry
        for entry in entries
        if entry.filename.lower().endswith(".ipynb")
        and not any(part.startswith(SKIPPED) for part in PurePosixPath(entry.filename).parts)
    ]
    if not notebooks:
        nested = any(entry.filename.lower().endswith(".zip") for entry in entries)
        more = "It contains another zip: hand that in." if nested else "Zip the notebook (.ipynb)."
        raise SubmissionError(f"There is no notebook in the zip. {more}")
    if len(notebooks) > MAX_NOTEBOOKS:
        raise SubmissionError(f"The zip has {len(notebooks)} notebooks; at most {MAX_NOTEBOOKS} are read.")
    return [(entry.filename, _read_entry(archive, entry)) for entry in sorted(notebooks, key=lambda e: e.filename)]


def _read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes | str:
    if entry.flag_bits & 1:
        return "The notebook in the zip is encrypted. Zip it without a password."
    if entry.file_size > MAX_NOTEBOOK:
        return _too_large(entry.file_size, MAX_NOTEBOOK)
    try:
        with archive.open(entry) as file:
            data = file.read(MAX_NOTEBOOK + 1)  # whatever size the entry states
    except Exception as problem:  # zlib, lzma, bz2 and zipfile raise different types
        return f"The notebook in the zip cannot be unpacked ({type(problem).__name__})."
    return _too_large(len(data), MAX_NOTEBOOK) if len(data) > MAX_NOTEBOOK else data


def _check_entry_count(data: bytes) -> None:
    """Refuse a zip whose list of entries would fill the memory, before that list is read."""
    at = data.rfind(b"PK\x05\x06")
    if at < 0 or len(data) < at + END_RECORD.size:
        raise SubmissionError("The file is not a zip that can be opened.")
    if b"PK\x06\x07" in data[max(0, at - 20) : at] or END_RECORD.unpack_from(data, at)[4] > MAX_ENTRIES:
        raise SubmissionError(_too_many(END_RECORD.unpack_from(data, at)[4]))
    if data.count(b"PK\x01\x02") > 2 * MAX_ENTRIES:
        raise SubmissionError(_too_many(data.count(b"PK\x01\x02")))


def _notebook(data: bytes | str, inside: str) -> Notebook:
    try:
        if isinstance(data, str):
            raise SubmissionError(data)
        cells = _cells(data)
    except SubmissionError as problem:
        return Notebook(inside, problem=str(problem))
    calls = [call for call in map(read_start, map(_without_magics, cells)) if call]
    if not calls:
        return Notebook(inside, cells, problem='There is no cell with start("part1", name="…"). Keep the first cell.')
    assignment, learner, id = calls[-1]
    if assignment not in ASSIGNMENTS:
        return Notebook(inside, cells, problem=f"It starts the homework {assignment[:40]!r}, which does not exist.")
    try:
        learner = open_homework(assignment, learner).name
    except HomeworkError:
        return Notebook(inside, cells, assignment, problem="The call start(…) has no name in it.")
    try:
        open_homework(assignment, learner, id=id)
    except HomeworkError as error:
        return Notebook(inside, cells, assignment, clean(learner)[:200], str(error))
    if len(learner) > 200 or learner != clean(learner):
        problem = "The name in it has characters that are not part of a name."
        return Notebook(inside, cells, assignment, clean(learner)[:200], problem)
    return Notebook(inside, cells, assignment, learner, id=clean(id))


def _cells(data: bytes) -> tuple[str, ...]:
    """Source of the code cells of a notebook, nbformat 4."""
    try:
        notebook = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError, MemoryError):
        raise SubmissionError("The file is broken: it is not a notebook, because its text is not JSON.") from None
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    if not isinstance(cells, list) or not all(isinstance(cell, dict) for cell in cells):
        raise SubmissionError("The file is not a notebook of format 4: it has no list of cells. Save it with Jupyter.")
    sources = []
    for cell in cells:
        if cell.get("cell_type") != "code":
            continue
        source = cell.get("source", "")
        if isinstance(source, list) and all(isinstance(line, str) for line in source):
            source = "".join(source)
        if not isinstance(source, str):
            raise SubmissionError("A code cell of the notebook has a source that is not text.")
        sources.append(source.encode("utf-8", errors="replace").decode("utf-8"))  # replaces half characters
    if len(sources) > MAX_CELLS or sum(map(len, sources)) > MAX_CODE:
        raise SubmissionError(f"The notebook has over {MAX_CELLS} code cells, or over {MAX_CODE >> 20} MB of code.")
    return tuple(sources)


def _without_magics(source: str) -> str:
    """A cell with empty lines instead of magics and shell commands, for Python's own parser."""
    lines = source.splitlines(keepends=True)
    return "".join("\n" if line.lstrip().startswith(("%", "!", "?")) else line for line in lines)


def clean(text: str, lines: bool = False) -> str:
    """Text with a space for each control character, invisible character and change of writing direction.

    The two invisible characters that names in Persian and Hindi need (joiner and non-joiner) stay.

    Args:
        text: Any text.
        lines: Keep line ends and tabs.
    """
    allowed = "\u200c\u200d\n\t" if lines else "\u200c\u200d"
    return "".join(
        c if c in allowed or unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Zl", "Zp") else " " for c in text
    )


def display_name(name: str) -> str:
    """The name of a file without characters that a table cannot show. Different names stay different."""
    cleaned = clean(name)
    if cleaned == name:
        return name
    return f"{cleaned} ({hashlib.sha256(name.encode(errors='surrogateescape')).hexdigest()[:8]})"


def _too_large(size: int, limit: int) -> str:
    return (
        f"The file has {size / 1e6:,.0f} MB; at most {limit >> 20} MB are read. "
        "Clear the outputs of the notebook and hand it in again."
    )


def _too_many(entries: int) -> str:
    return f"The zip has {entries:,} entries; at most {MAX_ENTRIES:,} are read. Zip the notebook alone."
