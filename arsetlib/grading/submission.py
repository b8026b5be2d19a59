"""Read submissions: notebooks and zips of notebooks, made by anybody in any way.

Nothing is unpacked to disk and nothing is run. A file is checked before it is read, a zip before it is opened, and what
is read has a maximum size, whatever size the file states.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import stat
import struct
import unicodedata
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from arsetlib.errors import ArsetError
from arsetlib.grading.file_kinds import why_no_notebook
from arsetlib.grading.homework import ASSIGNMENTS, HomeworkError, open_homework, read_language, read_start
from arsetlib.translation import _, speaking

__all__ = [
    "Notebook", "SubmissionError", "clean", "display_name", "file_name", "find", "fingerprint", "read", "read_notebook",
    "without_magics", "words",
]  # fmt: skip

MAX_NOTEBOOK = 20 << 20  # bytes
MAX_ZIP = 50 << 20
MAX_CODE = 2 << 20  # characters of all code cells
MAX_NAME = 255  # characters of the name of a file in a zip
MAX_OUTPUT = 20_000  # characters of the text that a cell printed
MAX_CELLS, MAX_ENTRIES, MAX_NOTEBOOKS, MAX_FILES = 2000, 2000, 20, 20_000
# What `check` prints, in any language: "q7: not yet (attempt 3).", whose second number is of the attempt.
TRIES = re.compile(r"^(q\d{1,3}): [^\n.():]{1,40}(?: \([^\n()\d]{0,40}(\d{1,4})[^\n()\d]{0,40}\))?\.", re.MULTILINE)
SKIPPED = (".", "__MACOSX")  # how names of files start that programs leave behind
NOTEBOOKS = (".ipynb", ".zip")
INSTEAD = (".pdf", ".html", ".htm", ".py", ".docx", ".odt", ".rar", ".7z", ".gz")  # what learners hand in in its place
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
        runs: In which order each code cell was run, as Jupyter counts; 0 where it was not run.
        outputs: The text that each code cell printed, as the file states it: anybody may have edited it.
        ids: IDs of all cells; a new cell has a random one.
        language: That its first cell sets, such as "es"; empty where it sets none.
    """

    inside: str
    cells: tuple[str, ...] = ()
    assignment: str = ""
    learner: str = ""
    problem: str = ""
    id: str = ""
    runs: tuple[int, ...] = ()
    outputs: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    language: str = ""

    @property
    def tries(self) -> dict[str, int]:
        """Question → how many different answers its check counted, where its stored output says so."""
        found = {}
        for source, output in zip(self.cells, self.outputs, strict=False):
            if "check(" not in source:
                continue
            for key, count in TRIES.findall(output):
                found[key] = int(count or 1)
        return found


def find(folder: Path) -> list[Path]:
    """All notebooks and zips in a folder and the folders below it, sorted by path; and what was handed in instead.

    That is any file in a folder of its own, where neither this folder nor one above it has a notebook or zip, and a
    PDF, a web page, code, a document or another archive beside other learners' notebooks.

    Raises:
        SubmissionError: It is not a folder, has none, or far too many.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise SubmissionError(
            _("Expected a folder of notebooks or zips, found none at {folder}.").format(folder=folder)
        )
    files: list[Path] = []
    having: set[Path] = set()  # folders below the first with a notebook, and all in them
    for place, folders, names in os.walk(folder):
        here = Path(place)
        folders[:] = [name for name in folders if not name.startswith(SKIPPED)]
        names = [name for name in names if not name.startswith(SKIPPED)]
        found = [name for name in names if name.lower().endswith(NOTEBOOKS)]
        if here == folder:
            found += [name for name in names if name.lower().endswith(INSTEAD)]
        elif found or here.parent in having:
            having.add(here)
        else:
            found = names
        files += [here / name for name in found]
        if len(files) > MAX_FILES:
            raise SubmissionError(
                _("{folder} has more than {most} notebooks and zips. Is it the right folder?").format(
                    folder=folder, most=MAX_FILES
                )
            )
    if not any(file.name.lower().endswith(NOTEBOOKS) for file in files):
        raise SubmissionError(_("There is no notebook (.ipynb) and no .zip in {folder}.").format(folder=folder))
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
        raise SubmissionError(
            _("The file cannot be read: {problem}.").format(problem=problem.strerror or _("it is a link"))
        ) from None
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise SubmissionError(_("It is not a regular file."))
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


def read_notebook(data: bytes) -> Notebook:
    """The notebook in the bytes of one file; one that cannot be graded has a ``problem``."""
    return _notebook(data, "")


def _unzip(data: bytes) -> list[tuple[str, bytes | str]]:
    """(Name, bytes) of each notebook in a zip; a text instead of the bytes says why one cannot be read."""
    _check_entry_count(data)
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except (zipfile.BadZipFile, ValueError, OSError, EOFError, NotImplementedError, struct.error):
        raise SubmissionError(_("The file is not a zip that can be opened.")) from None
    entries = archive.infolist()
    if len(entries) > MAX_ENTRIES:
        raise SubmissionError(_too_many(len(entries)))
    for entry in entries:
        parts = PurePosixPath(entry.filename.replace("\\", "/")).parts
        if ".." in parts or entry.filename.startswith(("/", "\\")) or ":" in entry.filename[:3]:
            raise SubmissionError(_("The zip has a path that leads out of it. Zip the notebook alone."))
        if len(entry.filename) > MAX_NAME:  # a few of them would not fit a cell of a spreadsheet
            raise SubmissionError(
                _("The zip has a name of over {most} characters. Zip the notebook alone.").format(most=MAX_NAME)
            )
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise SubmissionError(_("The zip has a link. Zip the notebook alone."))
    notebooks = [
        entry
        for entry in entries
        if entry.filename.lower().endswith(".ipynb")
        and not any(part.startswith(SKIPPED) for part in PurePosixPath(entry.filename).parts)
    ]
    if not notebooks:
        nested = any(entry.filename.lower().endswith(".zip") for entry in entries)
        more = _("It contains another zip: hand that in.") if nested else _("Zip the notebook (.ipynb).")
        raise SubmissionError(_("There is no notebook in the zip. {more}").format(more=more))
    if len(notebooks) > MAX_NOTEBOOKS:
        raise SubmissionError(
            _("The zip has {count} notebooks; at most {most} are read.").format(
                count=len(notebooks), most=MAX_NOTEBOOKS
            )
        )
    return [(entry.filename, _read_entry(archive, entry)) for entry in sorted(notebooks, key=lambda e: e.filename)]


def _read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes | str:
    if entry.flag_bits & 1:
        return _("The notebook in the zip is encrypted. Zip it without a password.")
    if entry.file_size > MAX_NOTEBOOK:
        return _too_large(entry.file_size, MAX_NOTEBOOK)
    try:
        with archive.open(entry) as file:
            data = file.read(MAX_NOTEBOOK + 1)  # whatever size the entry states
    except Exception as problem:  # zlib, lzma, bz2 and zipfile raise different types
        return _("The notebook in the zip cannot be unpacked ({error}).").format(error=type(problem).__name__)
    return _too_large(len(data), MAX_NOTEBOOK) if len(data) > MAX_NOTEBOOK else data


def _check_entry_count(data: bytes) -> None:
    """Refuse a zip whose list of entries would fill the memory, before that list is read."""
    at = data.rfind(b"PK\x05\x06")
    if at < 0 or len(data) < at + END_RECORD.size:
        raise SubmissionError(_("The file is not a zip that can be opened."))
    if b"PK\x06\x07" in data[max(0, at - 20) : at] or END_RECORD.unpack_from(data, at)[4] > MAX_ENTRIES:
        raise SubmissionError(_too_many(END_RECORD.unpack_from(data, at)[4]))
    if data.count(b"PK\x01\x02") > 2 * MAX_ENTRIES:
        raise SubmissionError(_too_many(data.count(b"PK\x01\x02")))


def _notebook(data: bytes | str, inside: str) -> Notebook:
    try:
        if isinstance(data, str):
            raise SubmissionError(data)
        read = _read_cells(data, inside)
    except SubmissionError as problem:
        return Notebook(inside, problem=str(problem))
    with speaking(read.language):
        return _started(read)


def _started(read: Notebook) -> Notebook:
    """The notebook with the arguments of its call of ``start``."""
    calls = [call for call in map(read_start, map(without_magics, read.cells)) if call]
    if not calls:
        return replace(read, problem=_('There is no cell with start("part1", name="…"). Keep the first cell.'))
    assignment, learner, id = calls[-1]
    if assignment not in ASSIGNMENTS:
        return replace(
            read,
            problem=_("It starts the homework {assignment!r}, which does not exist.").format(
                assignment=assignment[:40]
            ),
        )
    read = replace(read, assignment=assignment)
    try:
        learner = open_homework(assignment, learner).name
    except HomeworkError:
        return replace(read, problem=_("The call start(…) has no name in it."))
    read = replace(read, learner=clean(learner)[:200])
    try:
        id = open_homework(assignment, learner, id=id).id
    except HomeworkError as error:
        return replace(read, problem=str(error))
    if len(learner) > 200 or learner != clean(learner):
        return replace(read, problem=_("The name in it has characters that are not part of a name."))
    return replace(read, learner=learner, id=clean(id))


def _read_cells(data: bytes, inside: str) -> Notebook:
    """The cells of a notebook, nbformat 4."""
    try:
        notebook = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError, MemoryError):
        raise SubmissionError(why_no_notebook(data)) from None
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    if not isinstance(cells, list) or not all(isinstance(cell, dict) for cell in cells):
        raise SubmissionError(why_no_notebook(data))
    code = [cell for cell in cells if cell.get("cell_type") == "code"]
    sources = [_text_of(cell.get("source", "")) for cell in code]
    if None in sources:
        raise SubmissionError(_("A code cell of the notebook has a source that is not text."))
    if len(sources) > MAX_CELLS or sum(map(len, sources)) > MAX_CODE:
        raise SubmissionError(
            _("The notebook has over {most} code cells, or over {size} MB of code.").format(
                most=MAX_CELLS, size=MAX_CODE >> 20
            )
        )
    counts = [cell.get("execution_count") for cell in code]
    ids = [cell.get("id") for cell in cells[: 2 * MAX_CELLS]]
    return Notebook(
        inside,
        tuple(sources),
        language=next(filter(None, map(read_language, map(without_magics, sources))), ""),
        runs=tuple(count if type(count) is int and 0 < count < 1 << 31 else 0 for count in counts),
        outputs=tuple(_printed(cell.get("outputs")) for cell in code),
        ids=tuple(id for id in ids if isinstance(id, str) and len(id) <= 64),
    )


def _text_of(value: object) -> str | None:
    """Text that a notebook holds as one string or as a list of lines; None where it is neither."""
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        value = "".join(value)
    if not isinstance(value, str):
        return None
    return value.encode("utf-8", errors="replace").decode("utf-8")  # replaces half characters


def _printed(outputs: object) -> str:
    """The text in the outputs of a cell, at most `MAX_OUTPUT` characters."""
    texts = []
    for output in outputs[:100] if isinstance(outputs, list) else ():
        if not isinstance(output, dict):
            continue
        data = output.get("data")
        text = _text_of(output.get("text", data.get("text/plain") if isinstance(data, dict) else None))
        texts.append((text or "")[:MAX_OUTPUT])
    return "\n".join(texts)[:MAX_OUTPUT]


def without_magics(source: str) -> str:
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


def file_name(text: str) -> str:
    """A text in small letters of its own script, with a hyphen for whatever a file name cannot have everywhere.

    >>> file_name("José  Núñez: part1?.ipynb")
    'josé-núñez-part1-ipynb'
    """
    return words(text).encode()[:120].decode(errors="ignore").rstrip("-")


def words(text: str) -> str:
    """The words of a text in small letters, with a hyphen between them, however a file system spells it."""
    return re.sub(r"[\W_]+", "-", unicodedata.normalize("NFC", text).lower()).strip("-")


def _too_large(size: int, limit: int) -> str:
    return _(
        "The file has {size:,.0f} MB; at most {most} MB are read. Clear the outputs of the notebook and hand "
        "it in again."
    ).format(size=size / 1e6, most=limit >> 20)


def _too_many(entries: int) -> str:
    return _("The zip has {entries:,} entries; at most {most:,} are read. Zip the notebook alone.").format(
        entries=entries, most=MAX_ENTRIES
    )
