"""Sphinx extension: the bibliography and its citations with the words of the page's language.

``:style: course`` is pybtex's ``plain`` with translated words: "Drusch y Gascon", "En". Titles stay as they were
published. Where an entry describes a work instead, `references.bib` has the description in other languages, too:
``title_es`` next to ``title``.
"""

from __future__ import annotations

from pybtex.plugin import register_plugin
from pybtex.style.formatting import plain, toplevel
from pybtex.style.formatting.unsrt import pages
from pybtex.style.template import join, names, optional, optional_field, sentence, together, words
from sphinx.locale import get_translation
from sphinxcontrib.bibtex.plugin import register_plugin as register_reference_style
from sphinxcontrib.bibtex.style.referencing import PersonStyle
from sphinxcontrib.bibtex.style.referencing.author_year import AuthorYearReferenceStyle

_ = get_translation("book")
STYLE = "course"


def setup(app):
    app.connect("config-inited", add_styles)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


def add_styles(app, config):
    """Register the styles for the language of the book, and choose that of citations."""
    language = config.language
    both = f" {_('and')} "

    class Style(plain.Style):
        def format_entries(self, entries, *args, **kwargs):
            ours = f"_{language}"
            for entry in entries:
                for field in [name for name in entry.fields if name.endswith(ours)]:
                    entry.fields[field.removesuffix(ours)] = entry.fields[field]
            return super().format_entries(entries, *args, **kwargs)

        def format_names(self, role, as_sentence=True):
            said = names(role, sep=", ", sep2=both, last_sep=both)
            return sentence[said] if as_sentence else said

        def get_inproceedings_template(self, entry):
            volume = together[str(_("volume")), optional_field("volume")]
            series = words[volume, optional[words[str(_("of")), optional_field("series")]]]
            return toplevel[
                self.format_names("author"),
                self.format_title(entry, "title"),
                words[
                    str(_("In")),
                    sentence[
                        self.format_btitle(entry, "booktitle", as_sentence=False),
                        *([series] if "volume" in entry.fields else []),
                        optional[join[pages]],
                        optional_field("year"),
                    ],
                ],
                sentence[optional_field("note")],
                self.format_web_refs(entry),
            ]

    class Citations(AuthorYearReferenceStyle):
        def __init__(self):
            super().__init__(person=PersonStyle(sep2=both, last_sep=both))

    register_plugin("pybtex.style.formatting", STYLE, Style, force=True)
    register_reference_style("sphinxcontrib.bibtex.style.referencing", STYLE, Citations, force=True)
    config.bibtex_reference_style = STYLE
