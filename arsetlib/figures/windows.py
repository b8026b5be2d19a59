"""Figures of windows and bands: calendar, split, distribution of bands, vegetation rule (Plotly).

Lab: part2_load_data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike
from plotly.subplots import make_subplots

from arsetlib import sentinel2
from arsetlib.figures.plots import empty_figure, quantity_of
from arsetlib.figures.style import INK, LINES, SCL_INK, SCL_SYMBOLS, Simulated, date_of, plotly_layout
from arsetlib.samples import Rows
from arsetlib.study import Season, Study
from arsetlib.translation import _


def calendar(
    day: ArrayLike, values: ArrayLike, season: Season, start: int, taken: ArrayLike, *, study: Simulated,
    title: str | None = None, unit: str = "NDVI",
) -> go.Figure:  # fmt: skip
    """Irregular images above, the steps of a window below: which image each step uses, and which steps are empty.

    Args:
        day: (N,) days since 1970-01-01.
        values: (N,) what to plot of each image.
        season: Gives the window's length and step, days.
        start: First day of the window, days since 1970-01-01.
        taken: (T,) image of each step, -1 where there is none.
        study: Whose picture it is.

    Returns:
        A Plotly figure; x counts days from the window's start.

    Lab: part2_load_data.
    """
    taken, since = np.asarray(taken), np.asarray(day, np.int64) - int(start)
    inside = (since >= 0) & (since < season.window_days)
    chosen = np.isin(np.arange(len(since)), taken)
    fig = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.04, row_heights=[0.82, 0.18])
    kinds = (
        (_("taken"), inside & chosen, "circle", LINES[0]),
        (_("not taken"), inside & ~chosen, "circle-open", LINES[1]),
        (_("outside the window"), ~inside, "x-thin-open", "#9aa5ad"),
    )
    for name, mask, symbol, colour in kinds:
        if mask.any():
            fig.add_scatter(
                x=since[mask], y=np.asarray(values)[mask].round(4), mode="markers", name=name, row=1, col=1,
                marker={"symbol": symbol, "size": 9, "color": colour, "line": {"width": 2, "color": colour}},
                hovertemplate=_("day %{x}") + f"<br>{unit} %{{y:.2f}}<extra>{name}</extra>",
            )  # fmt: skip
    step = season.step_days
    for name, steps, colour in (
        (_("step with an image"), np.flatnonzero(taken >= 0), LINES[0]),
        (_("empty step"), np.flatnonzero(taken < 0), "white"),
    ):
        fig.add_bar(
            x=steps * step + step / 2, y=np.ones(len(steps)), width=step * 0.92, name=name, row=2, col=1,
            customdata=steps, marker={"color": colour, "line": {"color": INK, "width": 1}},
            hovertemplate=_("step %{customdata}") + f"<extra>{name}</extra>",
        )  # fmt: skip
    layout = plotly_layout(title or _("A window"), 430, study.simulated)
    ticks = np.arange(0, season.window_days + 1, step * max(1, season.steps // 12))
    grid = layout["xaxis"] | {"tickvals": ticks, "range": [-step, season.window_days + step]}
    layout |= {"xaxis": grid, "xaxis2": grid | {"title": _("days from the window's start")}}
    layout["yaxis2"] = layout["yaxis"] | {"showticklabels": False, "range": [0, 1.15], "title": _("steps"), "ticks": ""}
    layout["yaxis"] = layout["yaxis"] | {"title": unit}
    layout |= {"barmode": "overlay", "margin": layout["margin"] | {"t": 60, "b": 95}}
    return fig.update_layout(layout)


def split_map(sides: Mapping[str, Rows], *, study: Simulated, title: str | None = None) -> go.Figure:
    """Where the rows of each side of a split lie.

    Args:
        sides: Side → ``Rows``, of ``samples.split``.
        study: Whose picture it is.

    Returns:
        A Plotly figure; axes are km of the label grid, one colour and shape a side.

    Lab: part2_load_data.
    """
    fig = empty_figure(title or _("Rows by side"), _("east, km"), _("north, km"), study=study, height=520)
    for (side, rows), colour, symbol in zip(sides.items(), LINES, ("square", "diamond", "circle"), strict=False):
        years = ", ".join(map(str, np.unique(rows.column("year")).tolist()))
        fig.add_scatter(
            x=(rows.column("x") / 1000).round(2), y=(rows.column("y") / 1000).round(2), mode="markers",
            name=_("{side}, {years}: {number} rows").format(side=_(side), years=years, number=f"{len(rows):,}"),
            marker={"color": colour, "symbol": symbol, "size": 4},
        )  # fmt: skip
    fig.update_yaxes(scaleanchor="x", showgrid=False, tickformat=".1~f")
    return fig.update_layout(legend_itemsizing="constant")


def spreads(
    panels: Mapping[str, np.ndarray],
    names: Sequence[str],
    *,
    study: Simulated,
    title: str | None = None,
) -> go.Figure:
    """One box a band, in panels above each other: middle half, median, and 5th to 95th percentile.

    Args:
        panels: Panel title → (N, C) values; NaN is left out.
        names: (C,) names of the bands.
        study: Whose picture it is.

    Returns:
        A Plotly figure that holds five numbers a box, not the values.

    Lab: part2_load_data.
    """
    fig = make_subplots(rows=len(panels), cols=1, shared_xaxes=True, vertical_spacing=0.1, subplot_titles=list(panels))
    for row, values in enumerate(panels.values(), 1):
        low, q1, median, q3, high = np.nanpercentile(values, (5, 25, 50, 75, 95), axis=0)
        fig.add_box(
            x=list(names), lowerfence=low, q1=q1, median=median, q3=q3, upperfence=high, row=row, col=1,
            fillcolor="#cfe3f1", line={"color": LINES[0], "width": 1.5}, showlegend=False,
        )  # fmt: skip
    fig.update_annotations(x=0, xanchor="left")  # they leave room for the stamp
    layout = plotly_layout(title or _("Distribution of each band"), 130 + 210 * len(panels), study.simulated)
    for row in range(2, len(panels) + 1):
        layout[f"yaxis{row}"], layout[f"xaxis{row}"] = layout["yaxis"], layout["xaxis"]
    layout["annotations"] = [*fig.layout.annotations, *layout["annotations"]]
    return fig.update_layout(layout)


def verdicts(
    day: ArrayLike, scl: ArrayLike, bands: ArrayLike, ends: ArrayLike, classes: ArrayLike, *, study: Study,
    title: str | None = None,
) -> go.Figure:  # fmt: skip
    """A pixel's NDVI by scene class, and under it the class that a window gets, by its last day.

    Args:
        day, scl, bands: One series, as in `series`.
        ends: (M,) last days of windows, days since 1970-01-01, evenly spaced.
        classes: (M,) class number of each window in ``study.legend``.
        study: Gives the bands and the legend.

    Returns:
        A Plotly figure.

    Lab: part2_load_data.
    """
    fig = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.06, row_heights=[0.8, 0.2])
    values, unit = quantity_of(np.asarray(bands), study.bands, "ndvi")
    dates = np.array([date_of(d) for d in np.asarray(day).tolist()], object)
    for value in np.unique(scl).tolist():
        of_class = np.asarray(scl) == value
        name = sentinel2.SCL[value].title()
        fig.add_scatter(
            x=dates[of_class], y=values[of_class].round(4), mode="markers", name=f"{value} {name}", row=1, col=1,
            marker={"symbol": SCL_SYMBOLS[value], "color": SCL_INK[value], "size": 8,
                    "line": {"width": 1.5, "color": SCL_INK[value]}},
            hovertemplate=_("%{x|%-d %B %Y}") + f"<br>{unit} %{{y:.3f}}<br>SCL {value} {name}<extra></extra>",
        )  # fmt: skip
    ends, classes = np.asarray(ends), np.asarray(classes)
    width = int(ends[1] - ends[0]) * 86_400_000  # ms
    hatch = ("", "/", "x", "\\", ".", "+", "-")
    for i, k in enumerate(np.unique(classes).tolist()):
        mine = ends[classes == k]
        fig.add_bar(
            x=[date_of(d) for d in mine.tolist()], y=np.ones(len(mine)), width=width, row=2, col=1,
            name=_("window ends here: {name}").format(name=study.legend.names()[k]),
            marker={"color": study.legend.colours[k], "line": {"width": 0},
                    "pattern": {"shape": hatch[i % len(hatch)], "fgcolor": INK, "size": 6, "solidity": 0.2}},
            hovertemplate=_("%{x|%-d %B}") + f"<extra>{study.legend.names()[k]}</extra>",
        )  # fmt: skip
    layout = plotly_layout(title or _("Class of a window that ends here"), 470, study.simulated)
    layout["xaxis2"] = layout["xaxis"] | {"title": _("date")}
    layout["yaxis2"] = layout["yaxis"] | {"showticklabels": False, "range": [0, 1], "title": _("class"), "ticks": ""}
    layout["yaxis"] = layout["yaxis"] | {"title": unit}
    layout |= {"barmode": "overlay", "margin": layout["margin"] | {"t": 60, "b": 110}}
    return fig.update_layout(layout)
