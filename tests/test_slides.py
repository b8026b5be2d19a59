"""The slides of the labs: all their words and figures come from the labs, and each slide fits a projector and paper."""

import html
import importlib.util
import itertools
import re
import sys
from pathlib import Path

import jupytext
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from test_book import SITE

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted((ROOT / "labs" / "en").glob("*.py"))
every_lab = pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)


@pytest.fixture(scope="module")
def slides():
    spec = importlib.util.spec_from_file_location("slides", ROOT / "book" / "slides.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["slides"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["slides"]


def letters(text):
    """Letters and digits of a text, so that its marks do not count."""
    return re.sub(r"[\W_]+", "", text)


def words(slide):
    return html.unescape(re.sub(r"<[^>]+>", "", slide.text))


@every_lab
def test_each_section_of_a_lab_is_on_a_slide(slides, source):
    headings = re.findall(r"^# ##+ (.+)$", source.read_text(encoding="utf-8"), re.MULTILINE)
    shown = {slide.heading for slide in slides.deck(jupytext.read(source))}
    assert set(headings[:-1]) <= shown  # the last one, 'What if …', is read at home


@every_lab
def test_each_predict_of_a_lab_is_a_slide_and_its_answer_the_next_text(slides, source):
    kinds = [slide.kind for slide in slides.deck(jupytext.read(source))]
    assert kinds.count("question") == source.read_text(encoding="utf-8").count(":class: predict")
    texts = [kind for kind in kinds if kind not in ("figure", "table")]
    assert all(after == "answer" for kind, after in itertools.pairwise(texts) if kind == "question")


@every_lab
def test_no_word_of_a_slide_is_written_by_hand_and_they_are_few(slides, source):
    notebook = jupytext.read(source)
    links = re.compile(r"\[([^\]]+)\]\([^)]+\)")
    lab = letters(links.sub(r"\1", "\n".join(cell.source for cell in notebook.cells)))
    for slide in slides.deck(notebook):
        assert letters(slide.heading) in lab
        assert letters(words(slide)) in lab
        assert len(words(slide).split()) <= 80


def shown(page):
    return new_output("display_data", {"text/html": page})


LOADER = '<script src="../../_static/vendor/plotly.min.js"></script>'
FIGURE = f'{LOADER}<figure class="arset-figure" aria-label="A line, it rises."></figure>'
TABLE = '<div class="arset-table" aria-label="Two rows"><table><caption>Two rows</caption>{}</table></div>'


@pytest.fixture
def small_lab():
    """A lab with a question, a figure, a solution, and text between the figure and the answer."""
    printing = new_code_cell('source = "simulated"', outputs=[new_output("stream", name="stdout", text="7 of 9\n")])
    return new_notebook(
        cells=[
            new_markdown_cell(
                "## 1. Rise\n\nIt begins here.\n\n:::{admonition} Predict\n:class: predict\nWill it rise?\n:::"
            ),
            new_code_cell("show()", outputs=[shown(FIGURE), shown(TABLE.format("<tr><td>1</td></tr>" * 2))]),
            new_markdown_cell("Now count.", metadata={}),
            printing,
            new_markdown_cell("Yes, it *rises*. See [there](../x.md). Next comes this:", metadata={"tags": ["answer"]}),
            new_code_cell("# Solution", metadata={"tags": ["hide-cell"]}, outputs=[shown(FIGURE)]),
            new_code_cell("long()", outputs=[shown(TABLE.format("<tr><td>1</td></tr>" * 99))]),
        ]
    )


def test_a_deck_is_the_section_the_question_its_figures_and_the_answer_with_what_was_printed(slides, small_lab):
    deck = list(slides.deck(small_lab))
    assert [slide.kind for slide in deck] == ["section", "question", "figure", "table", "answer"]
    assert deck[2].text == "A line, it rises."
    assert "<script" not in deck[2].shown
    assert deck[4].text == "Yes, it <em>rises</em>. See there."
    assert "7 of 9" in deck[4].shown


def test_slides_of_simulated_data_say_so_and_others_do_not(slides, small_lab):
    said = slides.page_words("en")["simulated"]
    assert slides.render(small_lab, "en", "x").count(said) == 5
    small_lab.cells[3].source = 'source = "real"'
    assert said not in slides.render(small_lab, "en", "x")


def test_slides_are_made_for_each_executed_lab_and_their_absence_is_told(
    slides, small_lab, tmp_path, capsys, monkeypatch
):
    executed = tmp_path / "jupyter_execute" / "labs" / "en" / "x.ipynb"
    executed.parent.mkdir(parents=True)
    nbformat.write(small_lab, executed)
    (page,) = slides.write_all(tmp_path / "jupyter_execute", tmp_path / "html")
    assert page == tmp_path / "html" / "slides" / "en" / "x.html"
    monkeypatch.setattr(slides, "ROOT", tmp_path / "empty")
    assert slides.main() == 1
    assert "make book" in capsys.readouterr().err


# -- in a browser ------------------------------------------------------------------------------------------------------

DECKS = sorted([*SITE.glob("slides/*/*.html"), *SITE.glob("*/slides/*/*.html")])
in_browser = [pytest.mark.browser, pytest.mark.skipif(not DECKS, reason="no slides yet: run `make book` first")]
# Walks through the slides; what stands outside of its slide, over the line at its foot, or is too small to be read.
FAULTS = """
async () => {
  const faults = [], frame = () => new Promise((done) => requestAnimationFrame(done));
  for (let i = 0; i < Reveal.getTotalSlides(); i++) {
    Reveal.slide(i);
    await frame();
    const slide = Reveal.getCurrentSlide();
    const shown = (e) => e.getClientRects().length > 0 && !e.closest("[hidden]");
    const plots = [...slide.querySelectorAll(".plotly-graph-div")].filter(shown);
    for (let n = 0; n < 300 && plots.some((plot) => !plot._fullLayout); n++) await frame();
    const tell = (what, e) =>
      faults.push(`slide ${i + 1}, ${slide.className}: ${what}: ${e.tagName} ${e.textContent.slice(0, 60)}`);
    const box = slide.getBoundingClientRect(), foot = slide.querySelector(".source");
    const limit = foot ? foot.getBoundingClientRect().top : box.bottom;
    for (const e of slide.querySelectorAll("h1, h2, p, li, pre, table, img, figure, svg.main-svg")) {
      if (!shown(e) || e === foot) continue;
      const r = e.getBoundingClientRect();
      const inside = r.left > box.left - 1 && r.right < box.right + 1 && r.top > box.top - 1 && r.bottom < limit + 1;
      if (!inside) tell("outside", e);
      const least = { P: 22, LI: 22, PRE: 22, TABLE: 18 }[e.tagName] ?? 0;
      if (parseFloat(getComputedStyle(e).fontSize) < least) tell("small", e);
    }
    for (const e of slide.querySelectorAll(".shown > :not(script)")) {
      const r = e.getBoundingClientRect(), above = slide.querySelector("h2"), under = slide.querySelector(".caption");
      if (r.top < above.getBoundingClientRect().bottom - 1) tell("over the heading", e);
      if (r.bottom > under.getBoundingClientRect().top + 1) tell("over the caption", e);
    }
    for (const plot of plots) {
      const log = Object.entries(plot._fullLayout).some(([key, axis]) => /^[xy]axis/.test(key) && axis.type === "log");
      for (const text of plot.querySelectorAll("svg text"))
        if (text.textContent.trim() && shown(text) && !(log && text.closest(".xtick, .ytick"))
            && parseFloat(getComputedStyle(text).fontSize) * plot.currentCSSZoom < 16) tell("small", text);
    }
  }
  return faults;
}
"""


@pytest.fixture
def deck(browser):
    """Open a page of slides from the disk; it brings ``trouble``: requests to other hosts, and errors."""
    context = browser.new_context(viewport={"width": 1280, "height": 720})
    page = context.new_page()
    page.trouble = []
    page.on("request", lambda r: r.url.startswith(("file:", "data:", "blob:")) or page.trouble.append(r.url))
    page.on("requestfailed", lambda r: page.trouble.append(f"failed: {r.url[:90]}"))
    page.on("pageerror", lambda e: page.trouble.append(str(e)))

    def open_page(path, query=""):
        page.goto(path.as_uri() + query)
        page.wait_for_function("window.Reveal?.isReady()")
        return page

    yield open_page
    context.close()


class TestInABrowser:
    pytestmark = in_browser

    @pytest.mark.parametrize("path", DECKS, ids=lambda path: path.stem)
    def test_slides_open_from_the_disk_and_each_fits_its_frame_in_large_type(self, deck, path):
        page = deck(path)
        assert page.evaluate(FAULTS) == []
        assert page.trouble == []

    @pytest.mark.parametrize("path", DECKS, ids=lambda path: path.stem)
    def test_each_figure_of_the_lab_is_on_a_slide_with_its_caption(self, deck, path):
        lab = path.parents[2] / "labs" / path.parent.name / path.name
        page = deck(path)
        counts = page.evaluate(
            """(text) => {
                const lab = new DOMParser().parseFromString(text, "text/html");
                const alone = (e) => !e.closest(".tag_hide-cell") && !e.parentElement.closest(".arset-knob");
                const all = lab.querySelectorAll("figure.arset-figure, figure.arset-wipe, .arset-knob");
                return [[...all].filter(alone).length, document.querySelectorAll("section.figure").length];
            }""",
            lab.read_text(encoding="utf-8"),
        )
        assert counts[0] == counts[1] > 0
        assert page.evaluate("[...document.querySelectorAll('.caption')].every((p) => p.textContent.trim())")

    def test_on_paper_each_slide_is_a_page(self, deck, tmp_path):
        page = deck(DECKS[0], "?print-pdf")
        page.wait_for_function("!document.querySelector('.plotly-graph-div:not(.js-plotly-plot)')")
        total = page.evaluate("Reveal.getTotalSlides()")
        file = tmp_path / "slides.pdf"
        page.pdf(path=file, prefer_css_page_size=True, print_background=True)
        assert len(re.findall(rb"/Type\s*/Page\b", file.read_bytes())) == total
