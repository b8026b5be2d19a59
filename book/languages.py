"""Sphinx extension: one site in several languages, one build each; each page leads to the same page in another.

The English site is `_build/html`; another language is a folder of it, `_build/html/es`. Pages are pairs by their path:
`book/en/setup` and `book/es/setup`, `labs/en/…` and `labs/es/…`. A page that another language lacks leads to its first
page. Sections are numbered in all languages alike (``#section-3``), so the way leads to the same section.

The words of the book's own code are in `book/locale`; `_` marks them. ``book/build.py`` says by ``ARSET_LANGUAGES``
which languages the site has.
"""

from __future__ import annotations

import gettext
import json
import os
import posixpath
from collections.abc import Callable
from pathlib import Path

from babel import Locale
from docutils import nodes
from sphinx.locale import get_translation

HERE = Path(__file__).resolve().parent
ENGLISH = "en"
_ = get_translation("book")


def script_words() -> dict[str, str]:
    """What the scripts of the book say, `book/static/*.js`."""
    return {
        "slide": _("Slide between the satellite scene and its labels"),
        "scene": _("scene · simulated"),
        "labels": _("labels · simulated"),
        "series": _("series"),
        "dataOfFigure": _("Data of this figure"),
        "dataOf": _("Data: {name}"),
        "firstRows": _("The first {most} of {count} rows."),
        "pictures": _("It shows pictures; it has no series."),
        "pagesUnder": _("Pages under {page}"),
    }


def words_in(language: str) -> Callable[[str], str]:
    """What `_` is in one language, also where no book is being built."""
    return gettext.translation("book", HERE / "locale", [language], fallback=True).gettext


def offer_in(language: str) -> dict[str, str]:
    """The offer of a page in a language, in its words."""
    _ = words_in(language)
    return {"offer": _("You can read this page in English:"), "close": _("Close")}


def setup(app):
    app.add_message_catalog("book", str(HERE / "locale"))
    app.connect("config-inited", dress)
    app.connect("doctree-read", number_sections)
    app.connect("html-page-context", offer_twins)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


def dress(app, config):
    config.html_theme_options["article_header_end"] = ["language.html", "article-header-buttons.html"]


def built() -> list[str]:
    """Languages of the site."""
    return os.environ.get("ARSET_LANGUAGES", "").split()


def folder_of(language: str) -> str:
    """Where a language's pages lie in the site."""
    return "" if language == ENGLISH else f"{language}/"


def name_of(language: str) -> str:
    """What a language calls itself."""
    return Locale(language).get_display_name(language).capitalize()


def page_in(pagename: str, language: str) -> str | None:
    """The same page in another language, if its source is there."""
    folder, _, rest = pagename.split("/", 2) if pagename.count("/") >= 2 else (pagename, "", "")
    twin = f"{folder}/{language}/{rest}"
    known = rest and any((HERE.parent / f"{twin}{end}").exists() for end in (".md", ".py", ".rst"))
    return twin if known else None


def address(pagename: str, here: str, target: str, language: str) -> str:
    """The relative address of a page of one language's site, on a page of another's."""
    start = posixpath.dirname(f"{folder_of(here)}{pagename}")
    return posixpath.relpath(f"{folder_of(language)}{target}.html", start or ".")


def number_sections(app, doctree):
    """Give each section an anchor that is the same in all languages."""
    for number, section in enumerate(doctree.findall(nodes.section)):
        section["ids"].append(f"section-{number}")


def offer_twins(app, pagename, templatename, context, doctree):
    """Tell the templates which languages there are, and where the page is in them."""
    here = app.config.language or ENGLISH
    context["script_words"] = json.dumps(script_words(), ensure_ascii=False).replace("<", "\\u003c")
    # Lunr stems English by itself; scripts of `book/vendor.py` teach it other languages.
    own = f"lunr.{here}.js"
    known = (HERE / "static" / "vendor" / own).exists()
    context["stemmers"] = ["lunr.stemmer.support.js", own] if known else []
    context["book_"] = _
    others = [language for language in built() if language != here]
    first = "book/{}/index"
    context["twins"] = [
        {
            "language": language,
            "name": name_of(language),
            **offer_in(language),
            "same": page_in(pagename, language) is not None,
            "address": address(pagename, here, page_in(pagename, language) or first.format(language), language),
        }
        for language in others
    ]
