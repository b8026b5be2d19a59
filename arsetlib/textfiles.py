"""Text files that a person may have edited with any editor. One that cannot be read is an error that says why.

UTF-8 with or without a byte-order mark, and UTF-16 and UTF-32 with one (PowerShell's ``>``, Notepad's "Unicode").
Line ends of Windows become ``\\n``.
"""

from __future__ import annotations

import codecs
import json
import re
import unicodedata
from pathlib import Path

# UTF-32 first: its little-endian mark begins with that of UTF-16.
MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def decode(data: bytes) -> str:
    """The text of a file's bytes.

    Raises:
        ValueError: The bytes are not text in one of these encodings; the message names the byte and the remedy.
    """
    encoding = next((name for mark, name in MARKS if data.startswith(mark)), "utf-8")
    if encoding == "utf-8" and b"\0" in data:
        raise ValueError(
            f"byte {data.index(0)} is zero: it is UTF-16 without a byte-order mark, or no text at all. Save it as UTF-8"
        )
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"it is not {encoding.upper().removesuffix('-SIG')} text (byte {error.start}: {error.reason}). "
            "Save it as UTF-8"
        ) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_text(path: str | Path) -> str:
    """The text of a file.

    Raises:
        OSError: The file cannot be opened.
        ValueError: As ``decode``.
    """
    return decode(_bytes(path))


def parse_json(data: bytes):
    """The value of JSON in bytes.

    Raises:
        ValueError: It is not text, not JSON, or nested too deeply to be read.
    """
    encoding = json.detect_encoding(data)  # knows UTF-16 and UTF-32 without a mark, too
    try:
        return json.loads(decode(data) if encoding.startswith("utf-8") else data.decode(encoding))
    except RecursionError:
        raise ValueError("its values are nested too deeply") from None


def read_json(path: str | Path):
    """The value in a JSON file.

    Raises:
        OSError: The file cannot be opened.
        ValueError: As ``parse_json``.
    """
    return parse_json(_bytes(path))


def _bytes(path: str | Path) -> bytes:
    """The content of a file; a place in an object store reads itself, see ``folders.place``."""
    return (Path(path) if isinstance(path, str) else path).read_bytes()


def folded(name: str) -> str:
    """A name or word to compare: lower case, and letters with accents as one sign (macOS stores them as two)."""
    return unicodedata.normalize("NFC", name).casefold()


def name_problem(name: str) -> str | None:
    """What keeps a name from being shown as it is in figures and tables; None for a usual name.

    >>> name_problem("Corn < 2 m")
    >>> name_problem("<b>Corn</b>")
    "holds '<b>', which figures take for a tag of HTML"
    """
    if not name.strip():
        return "is empty"
    if tag := re.search(r"</?[A-Za-z][^<>]*>", name):
        return f"holds {tag[0]!r}, which figures take for a tag of HTML"
    if odd := next((c for c in name if unicodedata.category(c) in ("Cc", "Zl", "Zp")), None):
        return f"holds the control character {odd!r}"
    return None
