"""The look that all figures share: sizes, colours, fonts, the frame of a Plotly figure, scale bars and north.

Labs: part1_build_dataset, part2_load_data, part3_train_and_test.
"""

from __future__ import annotations

import base64
import io
import math
import textwrap
from collections.abc import Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING, Protocol

import numpy as np
from babel.dates import get_day_names, get_month_names
from pyproj import Transformer

from arsetlib.maps.rasters import EYE as EYE
from arsetlib.study import Area
from arsetlib.translation import ENGLISH, N_, _, language

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from PIL.Image import Image

WIDTH = 760  # CSS pixels: the one figure width of the course
FONT_SIZE = 13  # of all texts in figures, px
# The fonts of the book.
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
INK, GRID, ACCENT = "#22303c", "#dfe4e8", "#0b6e4f"  # colours: text, grid lines, the one accent
# Okabe and Ito's colours, distinguished by readers of every kind of colour vision.
LINES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")  # of lines, in this order
SYMBOLS = ("circle", "diamond", "square", "triangle-up", "cross", "star", "hexagon")
# Shape as well as colour tells scene classes apart.
SCL_SYMBOLS = {
    0: "x-thin", 1: "asterisk", 2: "square", 3: "triangle-down", 4: "circle", 5: "diamond", 6: "hexagon",
    7: "cross", 8: "square-open", 9: "x", 10: "triangle-up-open", 11: "star-open",
}  # fmt: skip
# Scene class → colour of its symbol.
SCL_INK = {
    0: "#8a8a8a", 1: "#8a1c1c", 2: "#595959", 3: "#7a4b1e", 4: "#009e73", 5: "#b8860b", 6: "#0072b2",
    7: "#6d6d6d", 8: "#d55e00", 9: "#a6228b", 10: "#3d9fd6", 11: "#c4477f",
}  # fmt: skip
SIMULATED = N_("simulated")  # the word in figures of simulated data, to be shown by `_`
# Settings of matplotlib, for `rc_context`.
STYLE = {
    "font.size": 10,
    "font.family": "sans-serif",
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlesize": 11,
    "axes.titlecolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


class Simulated(Protocol):
    """Whose data a figure shows, such as a study: it says whether they are simulated."""

    @property
    def simulated(self) -> bool: ...


def plotly_layout(title: str, height: int, simulated: bool) -> dict:
    """Fonts, colours, axes and legend of a figure; a stamp where the data are simulated."""
    axis = {"gridcolor": GRID, "zerolinecolor": GRID, "linecolor": INK, "ticks": "outside", "tickcolor": GRID}
    layout: dict = {
        "title": {"text": title, "x": 0.01, "xref": "container", "font": {"size": 16}},
        "font": {"family": FONT, "size": FONT_SIZE, "color": INK},
        "height": height,
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "margin": {"l": 10, "r": 10, "t": 88, "b": 10},
        "legend": {"orientation": "h", "x": 0, "y": 0, "yref": "container", "yanchor": "bottom", "font": {"size": 12}},
        "hoverlabel": {"font": {"family": FONT}},
        "dragmode": "pan",
        "xaxis": axis | {"automargin": True},
        "yaxis": axis | {"automargin": True},
        "annotations": [],
    }
    if simulated:
        stamp = {"text": f"<i>{_(SIMULATED)}</i>", "xref": "paper", "yref": "paper", "x": 1, "y": 1, "xanchor": "right",
                 "yanchor": "bottom", "showarrow": False, "font": {"color": "#5a6872"}}  # fmt: skip
        layout["annotations"].append(stamp)
    return layout


# Words of Plotly's own buttons.
BUTTONS = (
    N_("Download plot as a PNG"), N_("Zoom"), N_("Pan"), N_("Zoom in"), N_("Zoom out"), N_("Autoscale"),
    N_("Reset axes"), N_("Double-click to zoom back out"), N_("Taking snapshot - this may take a few seconds"),
    N_("Snapshot succeeded"),
)  # fmt: skip


def plotly_config() -> dict:
    """Plotly's settings for the reader's language: names of months, order of dates, words of buttons; none in English.

    Numbers keep the decimal point, as code prints them.
    """
    code = language()
    if code == ENGLISH:
        return {}
    widths = ("wide", "abbreviated")
    months = [[get_month_names(width, "stand-alone", code)[n] for n in range(1, 13)] for width in widths]
    sunday_first = (6, *range(6))
    days = [[get_day_names(width, "stand-alone", code)[n] for n in sunday_first] for width in widths]
    forms = {
        "months": months[0], "shortMonths": months[1], "days": days[0], "shortDays": days[1],
        "date": _("%m/%d/%Y"), "month": _("%b %Y"), "dayMonth": _("%b %-d"), "dayMonthYear": _("%b %-d, %Y"),
        "decimal": ".", "thousands": ",",
    }  # fmt: skip
    words = {word: _(word) for word in BUTTONS}
    return {"locale": code, "locales": {code: {"dictionary": words, "format": forms}}}


def add_menu(layout: dict, buttons: list[dict]) -> None:
    """Put a menu above the plot; the stamp moves up to the title, where the menu cannot cover it."""
    for stamp in layout["annotations"]:
        stamp["yshift"] = 36
    menu = {
        "buttons": buttons, "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom", "direction": "down",
        "bgcolor": "white", "bordercolor": GRID, "font": {"size": 12}, "showactive": True,
    }  # fmt: skip
    layout["updatemenus"] = [menu]


def fitted(name: str) -> str:
    """A name on lines of up to 22 characters, as Plotly breaks them: a long one leaves room for the figure on a phone.

    >>> fitted("Soybeans, sown late after winter cereals")
    'Soybeans, sown late<br>after winter cereals'
    """
    return name if "<" in name else "<br>".join(textwrap.wrap(name, 22, break_long_words=False)) or name


def fit_names(fig: go.Figure, axis: str, names: Sequence[str]) -> None:
    """Show names beside an axis as `fitted`, below one shortened; the data keep them as they are."""
    said = [str(name) for name in names]
    down = axis.startswith("y")
    if (shown := [fitted(n) if down else textwrap.shorten(n, 22, placeholder="…") for n in said]) != said:
        fig.update_layout({axis: {"tickmode": "array", "tickvals": list(names), "ticktext": shown}})


def rgb(colours: Sequence[str]) -> np.ndarray:
    """``#rrggbb`` colours as (N, 3) uint8."""
    return np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in colours], np.uint8)


def palette_png(codes: np.ndarray, colours: Sequence[str]) -> str:
    """(H, W) positions in ``colours`` → data URI of a PNG with that palette."""
    from PIL import Image

    picture = Image.fromarray(codes.astype(np.uint8)).convert("P")
    picture.putpalette(rgb(colours).ravel().tolist())
    return data_uri(picture, "png", optimize=True)


def data_uri(picture: Image, kind: str, **options: object) -> str:
    """A Pillow picture as a data URI."""
    buffer = io.BytesIO()
    picture.save(buffer, format=kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def date_of(day: int) -> date:
    """Days since 1970-01-01 as a date."""
    return date(1970, 1, 1) + timedelta(days=int(day))


def round_length(metres: float) -> float:
    """1, 2 or 5 times a power of ten, at most so long: for a scale bar."""
    power = 10 ** math.floor(math.log10(metres))
    return next(m * power for m in (5, 2, 1) if m * power <= metres)


def length_name(metres: float) -> str:
    """A length in m or km."""
    return f"{metres / 1000:g} km" if metres >= 1000 else f"{metres:g} m"


def north_turn(area: Area) -> float:
    """Degrees clockwise from grid north to true north at the area's centre."""
    west, south, east, north = area.bounds
    x, y = (west + east) / 2, (south + north) / 2
    lon, lat = Transformer.from_crs(area.crs, "EPSG:4326", always_xy=True).transform(x, y)
    x1, y1 = Transformer.from_crs("EPSG:4326", area.crs, always_xy=True).transform(lon, lat + 0.01)
    return math.degrees(math.atan2(x1 - x, y1 - y))
