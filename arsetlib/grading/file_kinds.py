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

__all__ = ["why_no_notebook"]

ZIP = "a zip archive", "Unpack it, and hand in the .ipynb file that is in it"
PICTURE = "Hand in the notebook itself, not a picture of it"
PRINT = "Hand in the notebook itself, not a print of it"
# How files begin, what they are, and what to do.
KINDS = (
    (b"PK\x05\x06", *ZIP), (b"PK\x03\x04", *ZIP),
    (b"\x1f\x8b", "a gzip archive", ZIP[1]), (b"7z\xbc\xaf\x27\x1c", "a 7z archive", ZIP[1]),
    (b"Rar!", "a rar archive", ZIP[1]), (b"BZh", "a bzip2 archive", ZIP[1]), (b"\xfd7zXZ", "an xz archive", ZIP[1]),
    (b"\x28\xb5\x2f\xfd", "a zstd archive", ZIP[1]),
    (b"\x89PNG", "a PNG image", PICTURE), (b"\xff\xd8\xff", "a JPEG image", PICTURE),
    (b"GIF8", "a GIF image", PICTURE), (b"BM", "a BMP image", PICTURE), (b"RIFF", "an image or a sound", PICTURE),
    (b"II*\x00", "a TIFF image", PICTURE), (b"MM\x00*", "a TIFF image", PICTURE), (b"<svg", "an SVG image", PICTURE),
    (b"%PDF", "a PDF document", PRINT), (b"{\\rtf", "an RTF document", PRINT),
    (b"\xd0\xcf\x11\xe0", "an old Office document", PRINT),
    (b"\x7fELF", "a program", ""), (b"MZ", "a program", ""), (b"\x93NUMPY", "a NumPy array", ""),
    (b"\x89HDF", "an HDF5 file", ""), (b"PAR1", "a Parquet file", ""), (b"SQLite format 3", "a database", ""),
    (b"bplist00", "a web archive of Safari", "Download the file with another browser"),
    (b"version https://git-lfs", "a Git LFS pointer", "Fetch the file itself with `git lfs pull`"),
)  # fmt: skip
NOTEBOOK = "Hand in the notebook (.ipynb)"
MARKUP = re.compile(rb"\s*(<!--.*?-->\s*)*<(!doctype html|html|head|body|\?xml)", re.IGNORECASE | re.DOTALL)
CODE = re.compile(r"^(# %%|import \w|from \w[\w.]* import|def \w+\(|%\w+|\w+ = |print\()", re.MULTILINE)


def why_no_notebook(data: bytes) -> str:
    """Why the bytes are not a notebook of nbformat 4; one or two sentences, whatever the bytes are.

    Args:
        data: All bytes of a file that could not be read as a notebook.
    """
    if not data:
        return "The file is empty (0 bytes). Save the notebook once more, and hand in the saved file."
    if not data.strip(b"\0"):
        return f"The file has {len(data):,} bytes, and all are zero: its content was lost. Hand in another copy."
    if not data.strip():
        return "The file has only spaces and empty lines. Save the notebook once more, and hand in the saved file."
    if data[4:8] == b"ftyp":
        return _is("a photo or a film", PICTURE)
    if data[257:262] == b"ustar":
        return _is("a tar archive", ZIP[1])
    begin = data.lstrip(b"\xef\xbb\xbf \t\r\n")
    for mark, kind, remedy in KINDS:
        if data.startswith(mark) or (mark[:1] in (b"<", b"{", b"v") and begin.startswith(mark)):
            return _is(kind, remedy or NOTEBOOK)
    if MARKUP.match(begin[:4000]):
        return _is("a web page", "Download the notebook itself: in Colab with File → Download → Download .ipynb")
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in data[:200]:
        return _not_utf8(data)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        return (
            f"The file is not a notebook: byte {problem.start:,} of {len(data):,} is not UTF-8 text. "
            "Save it with Jupyter, or hand in another copy."
        )
    return _why_text(text)


def _why_text(text: str) -> str:
    begin = text.lstrip()
    if re.search(r"^(<<<<<<<|>>>>>>>) ", text, re.MULTILINE):
        return "The file contains the marks of a merge conflict of Git (<<<<<<<). Resolve the conflict, and save it."
    if not begin.startswith(("{", "[")):
        if CODE.search(text[:100_000]):
            return _is("Python code", "Hand in the notebook (.ipynb), not the .py file")
        return _is("plain text", NOTEBOOK)
    try:
        found = json.loads(text)
    except json.JSONDecodeError as problem:
        if not text.rstrip().endswith("}"):
            return (
                f"The file is broken: it ends in the middle of the notebook, after {len(text):,} characters. "
                "Was it still being saved or uploaded? Save it once more, and hand in the saved file."
            )
        return (
            f"The file is broken: it is not JSON at line {problem.lineno:,}, column {problem.colno:,}. "
            "Was it edited by hand? Open it in Jupyter and save it."
        )
    except (ValueError, RecursionError, MemoryError):  # a number of thousands of digits, endless nesting
        return "The file is broken: it is not JSON that can be read. Open it in Jupyter and save it."
    return _why_json(found)


def _why_json(found: object) -> str:
    remedy = "Open it in Jupyter and save it."
    if not isinstance(found, dict):
        return (
            f"The file is not a notebook: it holds a JSON {'list' if isinstance(found, list) else 'value'}. {NOTEBOOK}."
        )
    if "worksheets" in found:
        return f"The notebook has the old format 3. {remedy}"
    if "cells" in found:
        return f"The file is not a notebook of format 4: its cells are no list of cells. {remedy}"
    return f"The file is not a notebook of format 4: it has no list of cells. {remedy}"


def _not_utf8(data: bytes) -> str:
    encoding = "utf-16" if data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else ""
    encoding = encoding or ("utf-16-le" if data[1:2] == b"\0" else "utf-16-be")
    try:
        text = data[: len(data) // 2 * 2].decode(encoding)
    except UnicodeDecodeError:
        text = ""
    if text.lstrip("\ufeff \r\n\t").startswith("{"):
        return "The file is text in UTF-16; a notebook is text in UTF-8. Open it in an editor and save it as UTF-8."
    if text and text.isprintable():
        return f"The file is text in UTF-16, and not a notebook. {NOTEBOOK}."
    return f"The file is not a notebook: it is not text. {NOTEBOOK}."


def _is(kind: str, remedy: str) -> str:
    return f"The file is {kind}, not a notebook. {remedy}."
