"""Figures and tables of the Spanish pages, as a browser draws them, hold no English word."""

import re
import sys
from pathlib import Path

import pytest
from babel.messages import pofile
from plotly.offline import get_plotlyjs
from predicted import LEGEND
from test_book import SITE
from test_maps import areas, codes, labels, scene, season_of_maps, study  # noqa: F401
from test_words import drawn  # noqa: F401

from arsetlib import sentinel2
from arsetlib.figures import notebook

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "book"))

import proofread  # noqa: E402
import translations  # noqa: E402

LABS = sorted(SITE.glob("es/labs/es/*.html"))
# Names that stay as they are in Spanish, and words that both languages have.
ALLOWED = {
    "adadelta", "adam", "batch", "block", "dropout", "fcn", "filters", "forest", "loss", "ltae", "may", "mobilenet",
    "original", "random", "segnet", "simulated", "tempcnn", "unet", "vgg", *sentinel2.BANDS,
}  # fmt: skip
# Drawn text, what the pointer shows, heads of tables, names of menus.
SHOWN = """() => {
  const texts = [...document.querySelectorAll(".js-plotly-plot svg text, .arset-table th, .arset-knob label")]
    .map((element) => element.textContent);
  for (const plot of document.querySelectorAll(".js-plotly-plot")) {
    for (const trace of plot.data) {
      texts.push(trace.name ?? "", ...[trace.hovertemplate ?? ""].flat(), ...[trace.text ?? ""].flat(3));
    }
  }
  return [...new Set(texts.map(String))];
}"""

DRAWN = "[...document.querySelectorAll('.plotly-graph-div')].every(plot => plot.querySelector('.main-svg'))"

pytestmark = pytest.mark.browser


def words(texts) -> set[str]:
    """Words of three letters or more, without what fills a template, tags, and the files of a drone's captures."""
    plain = (re.sub(r"%\{[^}]*\}|<[^<>]*>|\{[^}]*\}|\bcapture_\d+", " ", text) for text in texts)
    return {word.lower() for text in plain for word in re.findall(r"[^\W\d_]{3,}", text)}


@pytest.fixture(scope="module")
def english():
    """Words that the English text has and the Spanish one has not."""
    said = {"en": [], "es": []}
    for language, texts in said.items():
        for file in sorted((ROOT / "labs" / language).glob("*.py")):
            texts += [text for _, text in proofread.texts(file)]
    said["es"] += [text for _, text in proofread.catalogue_texts("es")]  # without what they quote, such as options
    for domain in translations.DOMAINS:
        with translations.catalogue_file(domain, "es").open("rb") as stream:
            for message in pofile.read_po(stream):
                said["en"] += list(message.id) if isinstance(message.id, tuple | list) else [message.id]
    return words(said["en"]) - words(said["es"]) - ALLOWED


def shown(browser, file: Path) -> list[str]:
    """What a page's figures and tables show."""
    page = browser.new_page()
    page.goto(file.as_uri())
    page.wait_for_function(
        "[...document.querySelectorAll('.plotly-graph-div')].every(p => p.querySelector('.main-svg'))"
    )
    texts = page.evaluate(SHOWN)
    page.close()
    return texts


def page_of(figures, file: Path, monkeypatch) -> Path:
    """A page with these figures, as the book has them."""
    monkeypatch.setenv("ARSET_BOOK", "1")
    bodies = "".join(notebook._html(fig, "") for fig in figures)
    file.write_text(f"<meta charset=utf-8><script>{get_plotlyjs()}</script>{bodies}", encoding="utf-8")
    return file


SEEN = ("timeline", "series", "verdicts", "by_date", "confusion", "reliability", "learning_curves", "class_bars")


def test_figures_of_the_library_hold_no_english_word(drawn, areas, english, browser, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setenv("ARSET_LANGUAGE", "es")
    file = page_of([drawn[name]() for name in SEEN], tmp_path / "es.html", monkeypatch)
    texts = shown(browser, file)
    names = [*LEGEND.names(), *(area.title() for area in areas)]
    assert words(texts) & english - words(names) == set()
    assert any(re.search(r"\b(ene|feb|mar|abr|may|jun|jul|ago|sept?|oct|nov|dic)\b", text) for text in texts)
    monkeypatch.setenv("ARSET_LANGUAGE", "en")
    file = page_of([drawn[name]() for name in SEEN], tmp_path / "en.html", monkeypatch)
    assert {"truth", "cloud", "probability", "accuracy"} <= words(shown(browser, file)) & english


@pytest.mark.skipif(not LABS, reason="the Spanish site is not built: run `make book` first")
@pytest.mark.parametrize("file", LABS, ids=[file.stem for file in LABS])
def test_figures_of_the_spanish_site_hold_no_english_word(file, english, browser):
    assert words(shown(browser, file)) & english == set()
