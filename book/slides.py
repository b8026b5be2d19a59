"""Slides of the labs, made from the executed labs of the book: no text and no figure of a slide is written by hand.

    python book/slides.py          # `make slides`; `make book` makes them as well

A lab becomes one page for a projector: a slide for each section and its first words, for each *Predict* question, for
each figure with its caption, and for the answer with the lines that the cells printed. Solutions are left out. A cell
tagged ``answer`` is the answer where it is not the first text after the question.

nbconvert's slides show whole cells; the labs' cells hold a paragraph, a heading and a question at once.
"""

from __future__ import annotations

import html
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import languages
import nbformat
from jinja2 import Environment, FileSystemLoader
from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parent.parent
OF_A_SECTION, OF_AN_ANSWER, OF_A_LIST = 40, 45, 60  # words, at most, where more than one sentence is there
MOST_LINES, MOST_ROWS, MOST_COLUMNS = 9, 10, 8  # of what cells printed; of tables
markdown = MarkdownIt()


@dataclass
class Slide:
    """One slide.

    Attributes:
        kind: title, list, section, question, figure, table, answer or exercise.
        heading: Of the section.
        text: HTML of its words.
        shown: HTML of the figure or table, or of what was printed.
    """

    kind: str
    heading: str
    text: str = ""
    shown: str = ""


def setup(app):
    app.connect("build-finished", after_book)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


def after_book(app, exception):
    """Write the slides of the labs into the site."""
    if exception is None and app.builder.format == "html":
        write_all(Path(app.outdir).parent / "jupyter_execute", Path(app.outdir))


def main() -> int:
    built = ROOT / "_build"
    pages = write_all(built / "jupyter_execute", built / "html")
    for other in built.glob("*/_build/jupyter_execute"):  # as book/build.py leaves another language
        pages += write_all(other, built / "html" / other.parent.parent.name)
    if not pages:
        print(f"No executed labs in {built}. Run `make book` first.", file=sys.stderr)
        return 1
    print("\n".join(map(str, pages)))
    return 0


def write_all(executed: Path, site: Path) -> list[Path]:
    """Write the slides of each executed lab into a site; returns the pages."""
    pages = []
    for notebook in sorted((executed / "labs").glob("*/*.ipynb")):
        page = site / "slides" / notebook.parent.name / f"{notebook.stem}.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(render(nbformat.read(notebook, 4), notebook.parent.name, notebook.stem), encoding="utf-8")
        pages.append(page)
    return pages


def render(notebook: nbformat.NotebookNode, language: str, stem: str) -> str:
    """The page of a lab's slides."""
    slides = list(deck(notebook))
    templates = Environment(loader=FileSystemLoader(ROOT / "book" / "templates"), autoescape=True)
    return templates.get_template("slides.html.jinja").render(
        slides=slides,
        words=page_words(language),
        language=language,
        simulated=is_simulated(notebook),
        plotly=any("plotly-graph-div" in slide.shown for slide in slides),
        lab=f"../../labs/{language}/{stem}.html",
    )


def page_words(language: str) -> dict[str, str]:
    """Words that the template adds to those of the lab."""
    _ = languages.words_in(language)
    return {
        "predict": _("Predict"),
        "answer": _("Answer"),
        "exercise": _("Exercise"),
        "simulated": _("Data: simulated, where no other source is named"),
        "lab": _("Open the lab"),
    }


def is_simulated(notebook: nbformat.NotebookNode) -> bool:
    """Whether the lab ran on simulated data."""
    return any(re.search(r'^source = "simulated"', cell.source, re.MULTILINE) for cell in notebook.cells)


# -- what is on them ---------------------------------------------------------------------------------------------------


def deck(notebook: nbformat.NotebookNode) -> Iterator[Slide]:
    """The slides of an executed lab, in its order."""
    heading, asked, lines = "", False, []
    answers = {i for i, cell in enumerate(notebook.cells) if "answer" in cell.metadata.get("tags", [])}
    for i, cell in enumerate(notebook.cells):
        if cell.cell_type == "code":
            if "hide-cell" not in cell.metadata.get("tags", []):
                lines += printed_by(cell)
                yield from shown_by(cell, heading)
            continue
        blocks = list(blocks_of(cell.source))
        if asked and (i in answers or not answers & set(range(i, next_question(notebook, i)))):
            if blocks and blocks[0][0] == "text":
                yield Slide("answer", heading, words(blocks[0][1], OF_AN_ANSWER), fitting(lines))
            asked = False
        lines = []
        for kind, text in blocks:
            if kind == "title":
                heading, title = text, text
            elif kind == "lab-header":
                question, _, goals = re.split(r"\n\n", text, maxsplit=2)
                yield Slide("title", title, inline(question))
                lead, _, points = goals.partition("\n")
                for part in parts(points.split("\n\n")[0]):
                    yield Slide("list", title, markdown.render(f"{lead}\n{part}"))
                    lead = ""
            elif kind == "heading":
                heading = text
            elif kind == "section":
                yield Slide("section", heading, words(text, OF_A_SECTION))
            elif kind == "predict":
                yield Slide("question", heading, inline(text))
                asked = True
            elif kind == "exercise":
                yield Slide("exercise", heading, inline(text))
            elif kind == "list" and not re.match(r"- \*\*¿?…", text):  # what if … is read at home
                for part in parts(text):
                    yield Slide("list", heading, markdown.render(part))


def next_question(notebook: nbformat.NotebookNode, start: int) -> int:
    """The next cell from ``start`` on that asks another question or begins a section; what answers comes before it."""
    for i in range(start, len(notebook.cells)):
        cell = notebook.cells[i]
        if cell.cell_type == "markdown" and re.search(r"^##+ |:class: predict", cell.source, re.MULTILINE):
            return i + 1
    return len(notebook.cells)


def blocks_of(source: str) -> Iterator[tuple[str, str]]:
    """What stands in a text cell that slides use: ("text", its first words) if it does not begin with a heading,
    ("section", words under a heading), admonitions by their class, and ("list", the last section's points)."""
    pieces = re.findall(r"^:::\{admonition\}.*?^:::$|(?:(?!^:::)[^\n]+(?:\n|\Z))+", source, re.MULTILINE | re.DOTALL)
    headed, first = False, True
    for piece in map(str.strip, pieces):
        if inside := re.match(r":::\{admonition\} .*\n:class: ([\w-]+)\n(.*)\n:::", piece, re.DOTALL):
            headed = False  # the question of a section that has no words before it stands under its heading
            yield inside[1], inside[2].strip()
        elif marks := re.match(r"(#+) (.+)", piece):
            if headed:
                yield "section", ""
            yield ("title" if marks[1] == "#" else "heading"), marks[2]
            headed = marks[1] != "#"
        elif headed and not re.match(r"#+ \d", piece):
            yield ("list" if piece.startswith("- ") else "section"), "" if piece.startswith(("|", "```")) else piece
            headed = False
        elif first:
            yield "text", piece
        first = False
    if headed:
        yield "section", ""


def printed_by(cell: nbformat.NotebookNode) -> list[str]:
    """The lines that a code cell printed."""
    texts = [o.text for o in cell.outputs if o.output_type == "stream" and o.name == "stdout"]
    return [line for text in texts for line in text.split("\n") if line.strip()]


def shown_by(cell: nbformat.NotebookNode, heading: str) -> Iterator[Slide]:
    """The figures and small tables of a code cell."""
    for output in cell.outputs:
        page = output.get("data", {}).get("text/html", "")
        if "arset-figure" in page or "arset-wipe" in page:
            page = re.sub(r'<script src="[^"]*plotly[^"]*"></script>', "", page)
            yield Slide("figure", heading, html.escape(caption(page)), page)
        elif "arset-table" in page and page.count("<tr>") <= MOST_ROWS + 1 and page.count("<th ") <= MOST_COLUMNS:
            table = re.search(r"<table.*</table>", page, re.DOTALL)[0]
            table = re.sub(r"</?button[^>]*>|<caption>.*?</caption>", "", table)
            yield Slide("table", heading, html.escape(caption(page)), table)


def caption(page: str) -> str:
    """What a figure or a table shows, as the lab says it."""
    picture = re.search(r'<figure class="arset-figure" aria-label="([^"]+)"|<img [^>]*?alt="([^"]+)"', page)
    said = picture[1] or picture[2] if picture else re.search(r'aria-label="([^"]+)"', page)[1]
    if knob := re.search(r"<label>([^<]+) <select><option>([^<]+)", page):
        said = said.removesuffix(f" {knob[1]}: {knob[2]}.")
    return html.unescape(said)


def fitting(lines: list[str]) -> str:
    """HTML of printed lines, if they fit."""
    return f"<pre>{html.escape(chr(10).join(lines))}</pre>" if 0 < len(lines) <= MOST_LINES else ""


def words(text: str, most: int) -> str:
    """HTML of the first sentences of a paragraph, up to ``most`` words, and one sentence at least."""
    sentences = re.split(r"(?<=[.!?])\s+(?=[^\W_a-zß-ÿ]|[*`'\"“«¿¡(])", text.strip())
    if len(sentences) > 1 and sentences[-1].endswith(":"):  # leads on to the next cell of the lab
        del sentences[-1]
    taken = ""
    for sentence in sentences:
        if taken and len(f"{taken} {sentence}".split()) > most:
            break
        taken = f"{taken} {sentence}".strip()
    return inline(taken)


def inline(text: str) -> str:
    """HTML of a paragraph; links of the book become their words."""
    return markdown.renderInline(re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", " ".join(text.split())))


def parts(points: str) -> Iterator[str]:
    """A list of points in pieces, each short enough for a slide."""
    piece = ""
    for point in re.findall(r"^- .+(?:\n(?!- ).+)*", points, re.MULTILINE):
        if piece and len(f"{piece} {point}".split()) > OF_A_LIST:
            yield piece
            piece = ""
        piece += point + "\n"
    yield piece


if __name__ == "__main__":
    sys.exit(main())
