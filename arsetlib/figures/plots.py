"""Bars, time and series (Plotly).

Labs: part1_build_dataset, part2_load_data, part3_train_and_test.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import ArrayLike
from plotly.subplots import make_subplots

from arsetlib import sentinel2
from arsetlib.catalogue import Scenes
from arsetlib.figures.style import (
    ACCENT,
    DASHES,
    INK,
    LINES,
    SCL_INK,
    SCL_SYMBOLS,
    SYMBOLS,
    Simulated,
    add_menu,
    date_of,
    fit_names,
    fitted,
    plotly_layout,
)
from arsetlib.maps.rasters import code_colour, ndvi
from arsetlib.study import Study
from arsetlib.translation import _
from arsetlib.wording import word

MARKED = 60  # points of a line up to which each is drawn
PATTERNS = ("", "/", ".", "x", "\\", "-", "+")  # hatching of bars


def empty_figure(title: str, x: str, y: str, *, study: Simulated | None = None, height: int = 380) -> go.Figure:
    """An empty Plotly figure in the course's look, to add traces to.

    Args:
        title: Its title.
        x, y: What the axes show, with the unit.
        study: Whose data it shows, so that it says whether they are simulated; None for timings and the like.
        height: CSS pixels.

    Lab: part2_load_data.
    """
    layout = plotly_layout(title, height, study is not None and study.simulated)
    layout["xaxis"] |= {"title": x}
    layout["yaxis"] |= {"title": y}
    layout["colorway"] = LINES
    return go.Figure(layout=layout)


def lines(
    curves: pd.DataFrame | Mapping[str, tuple], title: str, x: str, y: str, *, study: Simulated | None = None,
    points: Mapping[str, tuple] | None = None, dashes: Sequence[str] = DASHES, height: int = 380,
) -> go.Figure:  # fmt: skip
    """Lines of one figure, distinguished by colour and dashes; a line of up to 60 points shows each of them.

    Args:
        curves: A table: one line for each column, over the index. Or name → (x, y), each (N,). A line ends where a
            value is NaN.
        title: Title of the figure.
        x, y: What the axes show, with the unit.
        study: Whose data it shows; None for timings and the like.
        points: Name → (x, y) of values to draw as black dots, such as measurements.
        dashes: Plotly's names of dashes, one for each line; repeated if there are more lines.
        height: CSS pixels.

    Returns:
        A Plotly figure.

    Labs: part2_load_data, part3_train_and_test, case_fields.
    """
    if isinstance(curves, pd.DataFrame):
        curves = {str(name): (curves.index, curves[name].to_numpy()) for name in curves}
    fig = empty_figure(title, x, y, study=study, height=height)
    for i, (name, (at, values)) in enumerate(curves.items()):
        fig.add_scatter(
            x=at, y=np.round(values, 4), mode="lines+markers" if len(values) <= MARKED else "lines", name=fitted(name),
            line={"dash": dashes[i % len(dashes)], "color": LINES[i % len(LINES)]},
        )  # fmt: skip
    for name, (at, values) in (points or {}).items():
        fig.add_scatter(
            x=at, y=np.round(values, 4), mode="markers", name=name, marker={"size": 9, "color": INK}
        )  # fmt: skip
    return fig.update_layout(showlegend=True, margin={"b": 80})


def scatter(
    groups: Mapping, title: str, x: str, y: str, *, study: Simulated | None = None,
    text: Sequence[str] | None = None, equal: bool = False, height: int = 380,
) -> go.Figure:  # fmt: skip
    """Points in groups, distinguished by colour and shape.

    Args:
        groups: Name → (x, y), each (N,).
        title: Its title.
        x, y: What the axes show, with the unit.
        study: As in `empty_figure`.
        text: (N,) what a point shows when the pointer is on it, the same for each group; or None.
        equal: Whether a unit of x is as long as one of y, as on a map.
        height: CSS pixels.

    Returns:
        A Plotly figure.

    Lab: case_groves.
    """
    fig = empty_figure(title, x, y, study=study, height=height)
    for i, (name, (at, value)) in enumerate(groups.items()):
        fig.add_scatter(
            x=np.round(at, 3), y=np.round(value, 3), mode="markers", name=str(name), text=text,
            marker={"symbol": SYMBOLS[i % len(SYMBOLS)], "size": 9, "color": LINES[i % len(LINES)]},
        )  # fmt: skip
    if equal:
        fig.update_yaxes(scaleanchor="x")
    return fig.update_layout(showlegend=True, margin={"t": 60, "b": 80})


def bars(
    values: pd.Series | pd.DataFrame, title: str, unit: str, *, study: Simulated | None = None, mode: str = "stack",
    colours: str | Sequence[str] | None = None, text: str | None = None, height: int | None = None,
) -> go.Figure:  # fmt: skip
    """Horizontal bars, in the order given, with their values written on them.

    Args:
        values: pandas Series, name → value; or DataFrame: a row is a bar, or a group of bars.
        title: Title of the figure.
        unit: Of the values, for the axis.
        study: As in `empty_figure`.
        mode: For a DataFrame: ``"stack"`` puts the columns of a row into one bar, ``"group"`` draws a bar for each
            column, distinguished by hatching too.
        colours: One colour, or one for each bar; for a DataFrame one for each column.
        text: d3 format of the written values; None: three digits, with k or M from a thousand on.
        height: CSS pixels; None: what the bars need.

    Returns:
        A Plotly figure.

    Labs: part2_load_data, part3_train_and_test, case_fields.
    """
    several, grouped = isinstance(values, pd.DataFrame), mode == "group"
    parts = values if several else values.to_frame("")
    count = len(parts) * (max(len(parts.columns), 2) * 0.6 if grouped else 1)
    fig = empty_figure(title, unit, "", study=study, height=height or round(150 + 38 * count + 50 * several))
    bars_of = [word(name) for name in parts.index]
    for i, name in enumerate(parts):
        numbers = parts[name].to_numpy()
        written = ["" if pd.isna(v) else f"%{{x:{text or _digits(v)}}}" for v in numbers]
        colour = (colours or LINES)[i % len(colours or LINES)] if several else colours or ACCENT
        marker = {"color": colour, "line": {"color": INK, "width": 0.5}}
        if grouped:
            marker["pattern"] = {"shape": PATTERNS[i % len(PATTERNS)], "solidity": 0.25, "fgcolor": "white"}
        fig.add_bar(
            x=numbers, y=bars_of, orientation="h", name=str(word(name)), marker=marker, texttemplate=written,
            textposition="inside" if several and not grouped else "auto",
            hovertemplate=[f"%{{y}}<br>{w} {unit}<extra>{word(name)}</extra>" for w in written],
        )  # fmt: skip
    fig.update_yaxes(autorange="reversed", gridcolor="white", title=None)
    fit_names(fig, "yaxis", parts.index.tolist())
    fig.update_xaxes(rangemode="tozero")
    fig.update_layout(barmode=mode, bargap=0.25, showlegend=several, margin={"t": 60})
    return fig.update_layout(margin={"b": 90}, legend={"traceorder": "normal"}) if several else fig


def _digits(value: float) -> str:
    """d3 format of three digits. 'k' and 'M' help readers; 'm' does not: 0.488 would be '488m'."""
    return ".3~s" if abs(value) >= 1000 else ".3~r"


def class_bars(land: pd.DataFrame, *, study: Study, most: int = 15) -> go.Figure:
    """Hectares of each label class, for all areas together or one of them, in the colours of the labels.

    Args:
        land: What ``maps.class_areas`` returns.
        study: Whose labels these are: gives names, colours and areas.
        most: So many classes, the largest first.

    Returns:
        A Plotly figure with a menu of areas.

    Lab: part1_build_dataset.
    """
    keys = [None, *dict.fromkeys(land["area"])]
    names = {a.key: a.title() for a in study.areas}
    fig = go.Figure()
    for key in keys:
        part = land if key is None else land[land["area"] == key]
        sums = part.groupby(["code", "name"], as_index=False)["hectares"].sum()
        sums = sums.sort_values("hectares", ascending=False)
        share = sums["hectares"] / sums["hectares"].sum()
        top = sums.head(most)
        fig.add_bar(
            x=top["hectares"].round(2), y=top["name"], orientation="h", visible=key is None,
            name=_("all areas") if key is None else names.get(key, key),
            customdata=np.column_stack([top["code"], (100 * share.head(most)).round(2)]),
            marker={"color": [code_colour(study, c) for c in top["code"]], "line": {"color": INK, "width": 0.5}},
            hovertemplate=_("%{y} (code %{customdata[0]:.0f})<br>%{x:,.0f} ha, %{customdata[1]:.1f} %")
            + "<extra></extra>",
        )  # fmt: skip
    year = int(land["year"].iloc[0])
    title = _("Land by label class, {year}").format(year=year)
    layout = plotly_layout(title, 470, study.simulated)
    layout["xaxis"] |= {"title": _("hectares"), "rangemode": "tozero"}
    layout["yaxis"] |= {"autorange": "reversed", "automargin": True, "gridcolor": "white"}
    add_menu(layout, [
        {"label": _("All areas") if key is None else names.get(key, key), "method": "update",
         "args": [{"visible": [k == key for k in keys]},
                  {"title.text": title if key is None else f"{title}: {names.get(key, key)}"}]}
        for key in keys
    ])  # fmt: skip
    fig.update_layout(layout | {"showlegend": False, "bargap": 0.25})
    fit_names(fig, "yaxis", [*dict.fromkeys(name for bar in fig.data for name in bar.y)])
    return fig


def timeline(scenes: Scenes, *, study: Study) -> go.Figure:
    """When scenes were taken and how cloudy they are: one marker a scene, one shape and colour a tile.

    Returns:
        A Plotly figure: cloud cover in percent against the date.

    Lab: part1_build_dataset.
    """
    fig = go.Figure()
    tiles = sorted({s.tile or "scenes" for s in scenes})
    for i, tile in enumerate(tiles):
        of_tile = [s for s in scenes if (s.tile or "scenes") == tile and s.cloud is not None]
        fig.add_scatter(
            x=[date_of(s.day) for s in of_tile], y=[round(s.cloud, 1) for s in of_tile], text=[s.id for s in of_tile],
            mode="markers", name=_("scenes") if tile == "scenes" else tile,
            marker={"symbol": SYMBOLS[i % len(SYMBOLS)], "color": LINES[i % len(LINES)], "size": 7, "opacity": 0.75},
            hovertemplate="%{text}<br>" + _("%{x|%-d %B %Y}, cloud %{y:.0f} %") + "<extra></extra>",
        )  # fmt: skip
    layout = plotly_layout(_("Scenes by date and cloud"), 380, study.simulated)
    layout["xaxis"] |= {"title": _("date")}
    layout["yaxis"] |= {"title": _("cloud cover, %"), "range": [-4, 104]}
    return fig.update_layout(layout)


def series(
    day: ArrayLike, scl: ArrayLike, bands: ArrayLike, *, study: Study, quantity: str = "ndvi",
    title: str | None = None,
) -> go.Figure:  # fmt: skip
    """One pixel's irregular series: every observation above, what the scene classes leave of it below.

    Args:
        day: (N,) days since 1970-01-01.
        scl: (N,) scene classes.
        bands: (N, C) reflectance × 10,000 in the order of ``study.bands``, 0 = no data.
        study: Gives the band order and ``drop_scl``, the scene classes to drop.
        quantity: ``"ndvi"``, or a band's name for its reflectance.
        title: Title of the figure; None says that it is one pixel's series.

    Returns:
        A Plotly figure. Shape and colour of a marker tell its scene class.

    Raises:
        ValueError: ``quantity`` is neither 'ndvi' nor a band of the study.

    Lab: part1_build_dataset.
    """
    values, unit = quantity_of(np.asarray(bands), study.bands, quantity)
    day, scl = np.asarray(day), np.asarray(scl)
    dates = np.array([date_of(d) for d in day.tolist()], object)
    kept = ~np.isin(scl, study.drop_scl)
    fig = make_subplots(
        rows=2, cols=1, shared_xaxes=True, shared_yaxes="all", vertical_spacing=0.16,
        subplot_titles=(
            _("raw: {number} observations").format(number=len(day)),
            _("filtered: {number} observations").format(number=int(kept.sum())),
        ),
    )  # fmt: skip
    fig.add_scatter(
        x=dates[kept], y=values[kept], mode="lines", line={"color": "#9aa5ad", "width": 1}, hoverinfo="skip",
        showlegend=False, row=2, col=1,
    )  # fmt: skip
    for value in np.unique(scl).tolist():
        name = sentinel2.SCL[value].title()
        for row, of_class in ((1, scl == value), (2, (scl == value) & kept)):
            if of_class.any():
                fig.add_scatter(
                    x=dates[of_class], y=values[of_class].round(4), mode="markers", row=row, col=1,
                    name=f"{value} {name}", legendgroup=str(value), showlegend=row == 1,
                    marker={"symbol": SCL_SYMBOLS[value], "color": SCL_INK[value], "size": 8,
                            "line": {"width": 1.5, "color": SCL_INK[value]}},
                    hovertemplate=_("%{x|%-d %B %Y}")
                    + f"<br>{unit} %{{y:.3f}}<br>SCL {value} {name}<extra></extra>",
                )  # fmt: skip
    fig.update_annotations(x=0, xanchor="left")  # of the two parts, so that they leave room for the stamp
    layout = plotly_layout(title or _("One pixel's series"), 560, study.simulated)
    for row in (1, 2):
        layout[f"yaxis{row if row > 1 else ''}"] = layout["yaxis"] | {"title": unit}
    layout["xaxis2"] = layout["xaxis"] | {"title": _("date")}
    layout["annotations"] = [*fig.layout.annotations, *layout["annotations"]]
    return fig.update_layout(layout)


def quantity_of(bands: np.ndarray, names: Sequence[str], quantity: str) -> tuple[np.ndarray, str]:
    """Values (N,) and axis title of NDVI, or of the reflectance of a band."""
    if quantity == "ndvi":
        return ndvi(bands[:, names.index("red")], bands[:, names.index("nir")]), "NDVI"
    if quantity not in names:
        raise ValueError(f"quantity must be 'ndvi' or one of {', '.join(names)}; got {quantity!r}.")
    dn = bands[:, names.index(quantity)]
    return np.where(dn > 0, dn / 10_000, np.nan), _("reflectance of {band}").format(band=quantity)
