"""A language made up by the tests: each piece of each word of the catalogue stands in ⟦…⟧.

Text that stands outside them did not pass through the catalogue, or is a value that was put into a text.
"""

import re
import sys
from pathlib import Path

from babel.dates import get_day_names, get_month_names
from babel.messages import mofile

from arsetlib import translation

sys.path.append(str(Path(__file__).resolve().parents[1] / "book"))

import translations

CODE = "fi"  # a language that Babel has the months of, and the library no words
KEPT = re.compile(r"(%?\{[^{}]*\}|%%|<[^<>]*>|\n)")  # placeholders and tags
DATES = {
    *(name for form in ("wide", "abbreviated") for name in get_month_names(form, locale=CODE).values()),
    *(name for form in ("wide", "abbreviated") for name in get_day_names(form, locale=CODE).values()),
}


def marked(text: str) -> str:
    """The text with ⟦…⟧ around each piece that has a letter."""
    pieces = KEPT.split(text)
    return "".join(f"⟦{p}⟧" if i % 2 == 0 and re.search("[^\\W\\d_]", p) else p for i, p in enumerate(pieces))


def write(folder: Path, code: str = CODE) -> None:
    """The catalogue, compiled, as the library looks for it."""
    words = translations.template("arsetlib")
    for message in words:
        if message.id:
            many = isinstance(message.id, tuple)
            message.string = tuple(map(marked, message.id)) if many else marked(message.id)
    place = folder / code / "LC_MESSAGES"
    place.mkdir(parents=True)
    (place / "arsetlib.po").write_bytes(b"")
    with (place / "arsetlib.mo").open("wb") as file:
        mofile.write_mo(file, words)


def speak(folder: Path, monkeypatch) -> None:
    """Set this language, with the catalogue of a folder."""
    monkeypatch.setattr(translation, "FOLDER", folder)
    monkeypatch.setenv(translation.VARIABLE, CODE)


def unmarked(text: str, allowed=()) -> set[str]:
    """Words of three letters or more that stand outside ⟦…⟧, but for those that are allowed."""
    outside, depth = [], 0
    for letter in text:
        depth += (letter == "⟦") - (letter == "⟧")
        outside.append(" " if depth or letter == "⟧" else letter)
    words = set(re.findall(r"[^\W\d_]{3,}", re.sub(r"<[^<>]*>|%\{[^{}]*\}|https?:\S+", " ", "".join(outside))))
    known = {part for one in (*allowed, *DATES) for part in re.findall(r"[^\W\d_]{3,}", one)}
    return words - known
