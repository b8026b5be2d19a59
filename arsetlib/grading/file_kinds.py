"""What a file is that should be a notebook and is not: one sentence that names it and says what to do.

>>> why_no_notebook(b"")
'The file is empty (0 bytes). Save the notebook once more, and hand in the saved file.'
>>> why_no_notebook(b"PK\\x03\\x04…")
'The file is a zip archive, not a notebook. Unpack it, and hand in the .ipynb file that is in it.'
"""

from __future__ import annotations

import codecs
import json
import re

from arsetlib.translation import N_, _

__all__ = ["why_no_notebook"]

ZIP = N_("a zip archive"), N_("Unpack it, and hand in the .ipynb file that is in it")
PICTURE = N_("Hand in the notebook itself, not a picture of it")
PRINT = N_("Hand in the notebook itself, not a print of it")
# How files begin, what they are, and what to do.
KINDS = (
    (b"PK\x05\x06", *ZIP),
    (b"PK\x03\x04", *ZIP),
    (b"\x1f\x8b", N_("a gzip archive"), ZIP[1]),
    (b"7z\xbc\xaf\x27\x1c", N_("a 7z archive"), ZIP[1]),
    (b"Rar!", N_("a rar archive"), ZIP[1]),
    (b"BZh", N_("a bzip2 archive"), ZIP[1]),
    (b"\xfd7zXZ", N_("an xz archive"), ZIP[1]),
    (b"\x28\xb5\x2f\xfd", N_("a zstd archive"), ZIP[1]),
    (b"\x89PNG", N_("a PNG image"), PICTURE),
    (b"\xff\xd8\xff", N_("a JPEG image"), PICTURE),
    (b"GIF8", N_("a GIF image"), PICTURE),
    (b"BM", N_("a BMP image"), PICTURE),
    (b"RIFF", N_("an image or a sound"), PICTURE),
    (b"II*\x00", N_("a TIFF image"), PICTURE),
    (b"MM\x00*", N_("a TIFF image"), PICTURE),
    (b"<svg", N_("an SVG image"), PICTURE),
    (b"%PDF", N_("a PDF document"), PRINT),
    (b"{\\rtf", N_("an RTF document"), PRINT),
    (b"\xd0\xcf\x11\xe0", N_("an old Office document"), PRINT),
    (b"\x7fELF", N_("a program"), ""),
    (b"MZ", N_("a program"), ""),
    (b"\x93NUMPY", N_("a NumPy array"), ""),
    (b"\x89HDF", N_("an HDF5 file"), ""),
    (b"PAR1", N_("a Parquet file"), ""),
    (b"SQLite format 3", N_("a database"), ""),
    (b"bplist00", N_("a web archive of Safari"), N_("Download the file with another browser")),
    (b"version https://git-lfs", N_("a Git LFS pointer"), N_("Fetch the file itself with `git lfs pull`")),
)
NOTEBOOK = N_("Hand in the notebook (.ipynb)")
MARKUP = re.compile(rb"\s*(<!--.*?-->\s*)*<(!doctype html|html|head|body|\?xml)", re.IGNORECASE | re.DOTALL)
CODE = re.compile(r"^(# %%|import \w|from \w[\w.]* import|def \w+\(|%\w+|\w+ = |print\()", re.MULTILINE)


def why_no_notebook(data: bytes) -> str:
    """Why the bytes are not a notebook of nbformat 4; one or two sentences, whatever the bytes are.

    Args:
        data: All bytes of a file that could not be read as a notebook.
    """
    if not data:
        return _("The file is empty (0 bytes). Save the notebook once more, and hand in the saved file.")
    if not data.strip(b"\0"):
        return _("The file has {count:,} bytes, and all are zero: its content was lost. Hand in another copy.").format(
            count=len(data)
        )
    if not data.strip():
        return _("The file has only spaces and empty lines. Save the notebook once more, and hand in the saved file.")
    if data[4:8] == b"ftyp":
        return _is(N_("a photo or a film"), PICTURE)
    if data[257:262] == b"ustar":
        return _is(N_("a tar archive"), ZIP[1])
    begin = data.lstrip(b"\xef\xbb\xbf \t\r\n")
    for mark, kind, remedy in KINDS:
        if data.startswith(mark) or (mark[:1] in (b"<", b"{", b"v") and begin.startswith(mark)):
            return _is(kind, remedy or NOTEBOOK)
    if MARKUP.match(begin[:4000]):
        return _is(
            N_("a web page"), N_("Download the notebook itself: in Colab with File → Download → Download .ipynb")
        )
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in data[:200]:
        return _not_utf8(data)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        return _(
            "The file is not a notebook: byte {start:,} of {count:,} is not UTF-8 text. Save it with "
            "Jupyter, or hand in another copy."
        ).format(start=problem.start, count=len(data))
    return _why_text(text)


def _why_text(text: str) -> str:
    begin = text.lstrip()
    if re.search(r"^(<<<<<<<|>>>>>>>) ", text, re.MULTILINE):
        return _("The file contains the marks of a merge conflict of Git (<<<<<<<). Resolve the conflict, and save it.")
    if not begin.startswith(("{", "[")):
        if CODE.search(text[:100_000]):
            return _is(N_("Python code"), N_("Hand in the notebook (.ipynb), not the .py file"))
        return _is(N_("plain text"), NOTEBOOK)
    try:
        found = json.loads(text)
    except json.JSONDecodeError as problem:
        if not text.rstrip().endswith("}"):
            return _(
                "The file is broken: it ends in the middle of the notebook, after {count:,} characters. Was it "
                "still being saved or uploaded? Save it once more, and hand in the saved file."
            ).format(count=len(text))
        return _(
            "The file is broken: it is not JSON at line {lineno:,}, column {colno:,}. Was it edited by hand? "
            "Open it in Jupyter and save it."
        ).format(lineno=problem.lineno, colno=problem.colno)
    except (ValueError, RecursionError, MemoryError):  # a number of thousands of digits, endless nesting
        return _("The file is broken: it is not JSON that can be read. Open it in Jupyter and save it.")
    return _why_json(found)


def _why_json(found: object) -> str:
    remedy = _("Open it in Jupyter and save it.")
    if not isinstance(found, dict):
        return (
            _("The file is not a notebook: it holds a JSON list. {remedy}.")
            if isinstance(found, list)
            else _("The file is not a notebook: it holds a JSON value. {remedy}.")
        ).format(remedy=_(NOTEBOOK))
    if "worksheets" in found:
        return _("The notebook has the old format 3. {remedy}").format(remedy=remedy)
    if "cells" in found:
        return _("The file is not a notebook of format 4: its cells are no list of cells. {remedy}").format(
            remedy=remedy
        )
    return _("The file is not a notebook of format 4: it has no list of cells. {remedy}").format(remedy=remedy)


def _not_utf8(data: bytes) -> str:
    encoding = "utf-16" if data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else ""
    encoding = encoding or ("utf-16-le" if data[1:2] == b"\0" else "utf-16-be")
    try:
        text = data[: len(data) // 2 * 2].decode(encoding)
    except UnicodeDecodeError:
        text = ""
    if text.lstrip("\ufeff \r\n\t").startswith("{"):
        return _("The file is text in UTF-16; a notebook is text in UTF-8. Open it in an editor and save it as UTF-8.")
    if text and text.isprintable():
        return _("The file is text in UTF-16, and not a notebook. {remedy}.").format(remedy=_(NOTEBOOK))
    return _("The file is not a notebook: it is not text. {remedy}.").format(remedy=_(NOTEBOOK))


def _is(kind: str, remedy: str) -> str:
    return _("The file is {kind}, not a notebook. {remedy}.").format(kind=_(kind), remedy=_(remedy))
