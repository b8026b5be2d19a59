"""Show figures and tables, in a notebook and in the book.

Labs: part1_build_dataset, part2_load_data, part3_train_and_test.
"""

from __future__ import annotations

import base64
import datetime
import html
import io
import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from arsetlib import folders, wording
from arsetlib.figures.style import WIDTH, data_uri, plotly_config
from arsetlib.wording import column

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Where the built book keeps Plotly, seen from a page of labs/en.
PLOTLY_IN_BOOK = "../../_static/vendor/plotly.min.js"
_figure_numbers = itertools.count(1)
_loaded: list[str] = []  # scripts that this page has loaded already


def show(thing: go.Figure | Figure | pd.DataFrame | str | Path, alt: str) -> None:
    """Display a figure or a table, with a text for readers who cannot see it.

    In a notebook (Jupyter, Colab, Databricks) a Plotly figure appears as usual. While the book is built
    (``ARSET_BOOK=1``) it becomes plain HTML that works with no kernel and no network: the page loads the book's own
    copy of Plotly once. A matplotlib figure becomes a picture, a pandas table one whose columns sort when clicked.

    Args:
        thing: A Plotly figure, a matplotlib figure, a pandas table, or the path of a picture, such as an animated GIF.
        alt: What it shows, in a sentence.

    Lab: part1_build_dataset.
    """
    from IPython.display import HTML, display

    if isinstance(thing, go.Figure) and not _in_book():
        thing.update_layout(meta={"alt": alt})
        if config := plotly_config():
            thing.show(config=config)
        else:
            display(thing)
    else:
        display(HTML(loader(thing) + _html(thing, alt)))


def knob(draw: Callable, alt: str, **choice: Sequence | Mapping) -> None:
    """A figure with a knob: ``draw(value)`` for the value chosen.

    In a notebook it is an ipywidgets menu and each turn draws anew. The book has no kernel, so there all choices
    are drawn beforehand and a menu of the page switches between them.

    Args:
        draw: Called with one value by keyword, returns a figure.
        alt: What the figure shows, in a sentence.
        choice: One keyword, ``name=[value, …]``: what can be chosen; a dict shows its keys and passes its values.

    Lab: part1_build_dataset.
    """
    from IPython.display import HTML, display

    ((name, options),) = choice.items()
    said = column(name)
    options = options if isinstance(options, dict) else {str(v): v for v in options}
    if not _in_book():
        import ipywidgets

        menu = ipywidgets.Dropdown(options=list(options.items()), description=said)
        ipywidgets.interact(lambda value: show(draw(**{name: value}), alt), value=menu)
        return
    figures = {label: draw(**{name: value}) for label, value in options.items()}
    parts = [
        f'<div class="arset-choice"{" hidden" if i else ""}>{_html(fig, f"{alt} {said}: {label}.")}</div>'
        for i, (label, fig) in enumerate(figures.items())
    ]
    picks = "".join(f"<option>{html.escape(label)}</option>" for label in figures)
    key = f"arset-knob-{next(_figure_numbers)}"
    script = _SWITCH.replace("KEY", key)
    display(
        HTML(
            f"{loader(next(iter(figures.values())))}"
            f'<div class="arset-knob" id="{key}"><label>{html.escape(said)} <select>{picks}</select></label>'
            f"{''.join(parts)}</div><script>{script}</script>"
        )
    )


_SWITCH = """
(() => {
  const knob = document.getElementById("KEY");
  const choices = knob.querySelectorAll(".arset-choice");
  knob.querySelector("select").addEventListener("change", (event) => {
    choices.forEach((choice, i) => { choice.hidden = i !== event.target.selectedIndex; });
    const plot = choices[event.target.selectedIndex].querySelector(".js-plotly-plot");
    if (plot) { Plotly.Plots.resize(plot); }
  });
})();
"""
_SORT = """
(() => {
  const table = document.getElementById("KEY");
  table.querySelectorAll("th button").forEach((button, column) => button.addEventListener("click", () => {
    const head = button.parentElement, up = head.getAttribute("aria-sort") !== "ascending";
    table.querySelectorAll("th").forEach((th) => th.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const value = (row) => row.cells[column].dataset.value;
    const body = table.tBodies[0], missing = (row) => ["nan", "None", "NaT", "<NA>"].includes(value(row));
    const words = [...body.rows].some((row) => isNaN(value(row)) && !missing(row));
    const number = (row) => missing(row) ? Infinity : Number(value(row));
    const order = (a, b) =>
      words ? value(a).localeCompare(value(b), undefined, {numeric: true}) : number(a) - number(b) || 0;
    [...body.rows].sort((a, b) => (up ? 1 : -1) * order(a, b)).forEach((row) => body.append(row));
  }));
})();
"""


def _in_book():
    return os.environ.get("ARSET_BOOK") == "1"


def loader(thing: object) -> str:
    """The tag that loads Plotly, the first time a page needs it."""
    if not isinstance(thing, go.Figure) or not _in_book() or _loaded:
        return ""
    _loaded.append(PLOTLY_IN_BOOK)
    return f'<script src="{PLOTLY_IN_BOOK}"></script>'


def _html(thing, alt):
    if isinstance(thing, pd.DataFrame):
        return _table(thing, alt)
    said = html.escape(alt, quote=True)
    if isinstance(thing, go.Figure):
        height = thing.layout.height or 450
        body = thing.to_html(
            full_html=False, include_plotlyjs=False, include_mathjax=False, auto_play=False,
            default_width="100%", default_height=f"{height}px", div_id=f"arset-figure-{next(_figure_numbers)}",
            config={"responsive": True, "displaylogo": False, "modeBarButtonsToRemove": ["select2d", "lasso2d"]}
            | plotly_config(),
        )  # fmt: skip
        head = f'<figure class="arset-figure" aria-label="{said}" style="max-width:{WIDTH}px">'
        return f"{head}{body}</figure>"
    source = _file(thing) if folders.is_place(thing) else _picture(thing)
    return (
        f'<figure class="arset-figure" style="max-width:{WIDTH}px">'
        f'<img alt="{said}" src="{source}" style="width:100%;height:auto"></figure>'
    )


def _file(path):
    """A picture file as a data URI, so that the page needs no other file."""
    path = folders.place(path)
    return f"data:image/{path.suffix[1:]};base64,{base64.b64encode(path.read_bytes()).decode()}"


def _picture(fig):
    """A matplotlib figure as a data URI: WebP where that is smaller than PNG."""
    from PIL import Image

    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", dpi=160)
    picture = Image.open(buffer).convert("RGB")
    return min(data_uri(picture, "png", optimize=True), data_uri(picture, "webp", quality=88), key=len)


def _table(frame, alt):
    """A table whose columns sort when their head is clicked; numbers stand right, with their unit's decimals."""
    key = f"arset-table-{next(_figure_numbers)}"
    numeric = [_side(v) for v in frame.iloc[0]] if len(frame) else [""] * frame.shape[1]
    heads = "".join(
        f'<th scope="col"{side}><button type="button">{html.escape(column(c))}</button></th>'
        for c, side in zip(frame, numeric, strict=True)
    )
    decimals = [_decimals(frame.iloc[:, i]) for i in range(frame.shape[1])]
    rows = []
    for row in frame.itertuples(index=False):
        cells = "".join(
            f'<td data-value="{html.escape(str(v), quote=True)}"{_side(v)}>{html.escape(_said(v, d))}</td>'
            for v, d in zip(row, decimals, strict=True)
        )
        rows.append(f"<tr>{cells}</tr>")
    return (
        f'<div class="arset-table" tabindex="0" role="region" aria-label="{html.escape(alt, quote=True)}" '
        f'style="max-width:{WIDTH}px;max-height:24em;overflow:auto">'
        f'<table id="{key}"><caption>{html.escape(alt)}</caption><thead><tr>{heads}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div><script>{_SORT.replace('KEY', key)}</script>"
    )


def _side(value):
    return ' style="text-align:right"' if isinstance(value, int | float | np.number) else ""


def _decimals(values):
    """Decimals of all numbers of a column: as many as they have, but the fewer, the larger they are."""
    numbers = np.array([v for v in values if isinstance(v, float | np.floating) and np.isfinite(v)], float)
    largest = np.abs(numbers).max(initial=0)
    most = 3 if largest <= 1 else 2 if largest < 10 else 1
    return next((d for d in range(1, most) if np.allclose(numbers, numbers.round(d), rtol=0, atol=1e-9)), most)


def _said(value, decimals):
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return "–"
    if isinstance(value, float | np.floating):
        return f"{value:,.{decimals}f}"
    if isinstance(value, datetime.date):
        return wording.day(value)
    return str(wording.word(value))
