"""The library's words in the reader's language.

    import arsetlib
    arsetlib.language("es")     # figures, tables, checks and messages for learners are now in Spanish

Words are in gettext catalogues, ``arsetlib/locale/<language>/LC_MESSAGES/arsetlib.po``; a word that a catalogue lacks
is shown in English. A language is there when its folder is there: nothing else lists them. ``make translations``
gathers the words of the library and compiles the catalogues.

The language is kept in the environment variable ``ARSET_LANGUAGE``, so that worker processes and the graders' sandbox
use the same one.
"""

from __future__ import annotations

import contextlib
import functools
import gettext as catalogues
import os
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

from arsetlib.errors import ArsetError

__all__ = ["N_", "LanguageError", "_", "day_text", "language", "languages", "ngettext", "speaking", "words_of"]

VARIABLE = "ARSET_LANGUAGE"
FOLDER = Path(__file__).parent / "locale"
DOMAIN = "arsetlib"
ENGLISH = "en"  # of the source


class LanguageError(ArsetError, ValueError):
    """No such language."""


def languages() -> list[str]:
    """Codes of the languages that the library speaks, English first.

    >>> languages()[:2]
    ['en', 'es']
    """
    return list(_languages(FOLDER))


def language(code: str | None = None) -> str:
    """Set the language of figures, tables, checks and messages; without a code, tell which one is set.

    Without this call the environment variable ``ARSET_LANGUAGE`` decides, else the ``language`` of the study that was
    loaded first, else English.

    Args:
        code: Such as ``"es"``; a longer one, ``"es_MX"`` or ``"es-MX.UTF-8"``, stands for its language.

    Returns:
        The code of the language that is set.

    Raises:
        LanguageError: No catalogue for this language.

    Labs: all.
    """
    if code is not None:
        os.environ[VARIABLE] = _known(code, FOLDER)
    return _known(os.environ.get(VARIABLE) or ENGLISH, FOLDER)


@contextlib.contextmanager
def speaking(code: str) -> Iterator[None]:
    """Inside ``with``: speak another language, and after it the one before. An empty code changes nothing.

    Raises:
        LanguageError: No catalogue for this language.
    """
    before = os.environ.get(VARIABLE)
    if code:
        language(code)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(VARIABLE, None)
        else:
            os.environ[VARIABLE] = before


def set_default(code: str) -> None:
    """Set the language of a study, unless a language is set already."""
    if not os.environ.get(VARIABLE):
        language(code)


@functools.cache
def _languages(folder: Path) -> tuple[str, ...]:
    return ENGLISH, *sorted(file.parent.parent.name for file in folder.glob(f"*/LC_MESSAGES/{DOMAIN}.po"))


@functools.cache
def _known(code: str, folder: Path) -> str:
    short = str(code).replace("-", "_").partition("_")[0].partition(".")[0].lower()
    if short in ("c", "posix"):  # of a machine without a language
        return ENGLISH
    if short not in (known := _languages(folder)):
        raise LanguageError(
            f"Expected a language of {', '.join(known)}, received {code!r}. It comes from arsetlib.language(…), from "
            f"the environment variable {VARIABLE}, or from `language` in a study file."
        )
    return short


@functools.cache
def _catalogue(code: str, folder: Path) -> catalogues.NullTranslations:
    if code == ENGLISH:
        return catalogues.NullTranslations()
    file = folder / code / "LC_MESSAGES" / f"{DOMAIN}.mo"
    try:
        with file.open("rb") as stream:
            return catalogues.GNUTranslations(stream)
    except FileNotFoundError:
        raise LanguageError(
            f"The words of the language {code!r} are not compiled: {file} is missing. In a checkout run `make env`; "
            "elsewhere install the library again."
        ) from None


def words_of(code: str) -> Callable[[str], str]:
    """What `_` is in one language, whatever the reader's: for a document that has a language of its own.

    >>> words_of("es")("Corn")
    'Maíz'

    Raises:
        LanguageError: No catalogue for this language.
    """
    return _catalogue(_known(code, FOLDER), FOLDER).gettext


def _(text: str) -> str:
    """The text in the reader's language. Values go into the translated text: ``_("{n} rows").format(n=n)``."""
    return _catalogue(language(), FOLDER).gettext(text) if text else text  # gettext("") is the catalogue's header


def ngettext(one: str, many: str, number: int) -> str:
    """The text for one thing or for several, in the reader's language: ``ngettext("{n} row", "{n} rows", n)``."""
    return _catalogue(language(), FOLDER).ngettext(one, many, number)


def N_(text: str) -> str:
    """Mark a text of a constant for the catalogue. It is translated where it is shown, by ``_``."""
    return text


def day_text(day: date, pattern: str, code: str | None = None) -> str:
    """A day as text in the reader's language, or in another one.

    Args:
        day: The day.
        code: The other language.
        pattern: As the Unicode standard writes them; mark it, since each language has its own order:
            ``day_text(day, _("d MMMM y"))`` is "1 July 2021" and "1 de julio de 2021".

    Source: Unicode Technical Standard 35, part 4.
    """
    from babel.dates import format_date

    return format_date(day, pattern, locale=code or language())
