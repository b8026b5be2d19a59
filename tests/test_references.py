"""The bibliography has the words of the page's language; published titles stay as they are."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import sphinx.locale
from pybtex.database import parse_file
from pybtex.plugin import find_plugin
from sphinxcontrib.bibtex.plugin import find_plugin as find_reference_style

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "book"))

import references  # noqa: E402


@pytest.fixture
def written(monkeypatch):
    """What the bibliography of a language says of each entry."""
    monkeypatch.setattr(sphinx.locale, "translators", dict(sphinx.locale.translators))

    def entries(language: str) -> dict[str, str]:
        sphinx.locale.translators.clear()
        sphinx.locale.init([str(ROOT / "book" / "locale")], language, "book")
        config = SimpleNamespace(language=language)
        references.add_styles(None, config)
        style = find_plugin("pybtex.style.formatting", config.bibtex_reference_style)()
        entries = parse_file(str(ROOT / "book" / "en" / "references.bib")).entries.values()
        backend = find_plugin("pybtex.backends", "text")()
        return {entry.key: entry.text.render(backend) for entry in style.format_entries(list(entries))}

    return entries


def test_names_and_words_between_are_in_the_language_of_the_page(written):
    assert written("en")["mainknorn2017"].startswith("Magdalena Main-Knorn, Bringfried Pflug, Jerome Louis, ")
    assert "Uwe Müller-Wilm and Ferran Gascon. Sen2Cor for Sentinel-2. In Image " in written("en")["mainknorn2017"]
    assert "Uwe Müller-Wilm y Ferran Gascon. Sen2Cor for Sentinel-2. En Image " in written("es")["mainknorn2017"]
    assert "volumen 10427 de Proceedings of SPIE, 2017." in written("es")["mainknorn2017"]
    assert find_reference_style("sphinxcontrib.bibtex.style.referencing", references.STYLE)().person.sep2 == " y "


def test_a_description_is_translated_and_a_title_is_not(written):
    english, spanish = written("en"), written("es")
    assert "Clasificación de imágenes" in spanish["eafit2021"]
    assert "Classification of farm images" in english["eafit2021"]
    assert "Random forests. Machine Learning" in spanish["breiman2001"] == english["breiman2001"]
    assert english.keys() == spanish.keys()
