"""Predicted maps through the season: beside the labels with a slider of dates, and as an animated picture.

Lab: part3_train_and_test.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots
from pyproj import CRS

from arsetlib import folders
from arsetlib.figures.style import (
    EYE,
    INK,
    SIMULATED,
    STYLE,
    WIDTH,
    length_name,
    north_turn,
    palette_png,
    plotly_layout,
    rgb,
    round_length,
)
from arsetlib.labels import Labels
from arsetlib.maps.layers import Layers, in_order
from arsetlib.maps.products import MapError, Prediction
from arsetlib.study import Study
from arsetlib.translation import _, day_text
from arsetlib.wording import day

AGREE, DISAGREE, NOTHING = "#dfe4e8", "#d55e00", "#ffffff"
HOVERED = 12_000  # cells that carry names, over all dates and panels


def prediction_map(
    predictions: Prediction | Sequence[Prediction],
    *,
    labels: Labels | str | Path | None = None,
    study: Study | None = None,
    size: int = EYE,
    title: str | None = None,
) -> go.Figure:
    """Map of a prediction beside the labels and what disagrees, to zoom, hover, and move through the season.

    Args:
        predictions: One, or several dates of one area and year, which get a slider.
        labels: `Labels` or the path of a raster of label codes. They are shown as the truth of the date: through the
            vegetation rule of each window. Without labels the margin is shown beside the prediction: how far the most
            probable class is ahead of the second.
        study: Whose areas' names to show; without it the area's key is shown.
        size: At most so many pixels a side.
        title: Of the figure.

    Returns:
        A Plotly figure that needs no server; axes are km of the maps' projection.

    Raises:
        MapError: The predictions are of several areas, years or legends.

    Lab: part3_train_and_test.
    """
    dates = in_order(predictions)
    first = dates[0]
    legend, none = first.legend, len(first.legend.classes)
    layers = [Layers.of(p, labels, size) for p in dates]
    colours = [*legend.colours, NOTHING]
    names = _panel_names(labels is not None)
    west, east, south, north = _km(layers[0])
    fig = make_subplots(rows=1, cols=len(names), horizontal_spacing=0.02, subplot_titles=names, shared_yaxes=True)
    shown = []  # of which date each trace and each image is
    traces = []
    for number, one in enumerate(layers):
        margin = np.nan_to_num(one.margin * 254, nan=255).astype(np.uint8)
        parts: list[tuple] = [(one.predicted, colours)]
        if labels is None:
            parts.append((margin, [*_greys(), NOTHING]))
        else:
            parts += [(one.truth, colours), (one.wrong, [AGREE, DISAGREE, NOTHING])]
        hover = _hover(one, legend, HOVERED // (len(dates) * len(parts)))
        for i, (codes, palette) in enumerate(parts, 1):
            axis = "" if i == 1 else i
            fig.add_layout_image(
                source=palette_png(_crisp(codes), palette), xref=f"x{axis}", yref=f"y{axis}", x=west, y=north,
                sizex=east - west, sizey=north - south, sizing="stretch", layer="below", visible=number == 0,
            )  # fmt: skip
            shown.append(number)
            fig.add_heatmap(
                **hover, opacity=0, showscale=False, showlegend=False, visible=number == 0,
                hovertemplate=_("predicted %{text}<br>margin %{z}") + "<extra></extra>", row=1, col=i,
            )  # fmt: skip
            traces.append(number)
    for name, colour in _legend_of(layers, legend, labels is not None):
        fig.add_scatter(
            x=[None], y=[None], mode="markers", name=name, hoverinfo="skip", row=1, col=1,
            marker={"symbol": "square", "size": 11, "color": colour, "line": {"width": 0.5, "color": INK}},
        )  # fmt: skip
        traces.append(None)
    aspect = (north - south) / (east - west)
    tall = min(max((WIDTH - 80) / len(names) * aspect, 150), 520)
    below = 62 + 22 * math.ceil((none + 3) / 4) + (75 if len(dates) > 1 else 0)
    where = title or f"{_area_name(first, study)}, {first.year}: {first.info['model']}"
    layout = plotly_layout(where, int(tall + 80 + below), first.simulated)
    layout["margin"] |= {"t": 80, "b": below, "l": 8}
    axes = {"showgrid": False, "zeroline": False, "tickformat": ".1~f", "ticklabeloverflow": "hide past domain"}
    base = layout.pop("xaxis"), layout.pop("yaxis")
    for i in range(1, len(names) + 1):
        axis = "" if i == 1 else i
        layout[f"xaxis{axis}"] = (
            base[0] | axes | {"range": [west, east], "matches": "x", "nticks": 4, "title": _("east, km")}
        )
        layout[f"yaxis{axis}"] = base[1] | axes | {
            "range": [south, north], "matches": "y", "scaleanchor": f"x{axis}", "showticklabels": i == 1,
            "constrain": "domain",
        }  # fmt: skip
        layout[f"xaxis{axis}"]["constrain"] = "domain"
    layout["yaxis"]["title"] = _("north in {crs}, km").format(crs=CRS(layers[0].crs).to_string())
    layout["annotations"] = [*fig.layout.annotations, *layout["annotations"]]
    if first.simulated:
        layout["annotations"][-1] |= {"y": 1.0, "yshift": 34}
    layout["legend"] |= {"y": 0}
    if len(dates) > 1:
        layout["sliders"] = [_slider(dates, shown, traces)]
    else:
        layout["title"]["text"] += ", " + _("window to {day}").format(day=day_text(first.last, _("d MMMM")))
    fig.update_layout(layout)
    _furniture(fig, layers[0], (west, east, south, north))
    return fig


def _panel_names(truth: bool) -> tuple[str, ...]:
    """Titles of the maps that stand side by side."""
    return (_("prediction"), _("labels on that date"), _("disagreement")) if truth else (_("prediction"), _("margin"))


def _crisp(codes: np.ndarray) -> np.ndarray:
    """Small pictures with larger pixels: browsers blur what they enlarge."""
    factor = max(1, EYE // max(codes.shape))
    return codes.repeat(factor, axis=0).repeat(factor, axis=1)


def _slider(dates, shown, traces) -> dict:
    steps = []
    for number, one in enumerate(dates):
        images = {f"images[{i}].visible": of == number for i, of in enumerate(shown)}
        steps.append({
            "label": day_text(one.last, _("d MMM")), "method": "update",
            "args": [{"visible": [of is None or of == number for of in traces]}, images],
        })  # fmt: skip
    return {
        "steps": steps, "active": 0, "x": 0.02, "len": 0.96, "y": 0, "yanchor": "top", "pad": {"t": 48, "b": 0},
        "currentvalue": {"prefix": _("window ends on") + " ", "font": {"size": 13}}, "font": {"size": 11},
    }  # fmt: skip


def _legend_of(layers, legend, truth: bool):
    present = set()
    for one in layers:
        present |= set(np.unique(one.predicted).tolist()) | set(np.unique(one.truth).tolist() if truth else ())
    for i, (name, colour) in enumerate(zip(legend.names(), legend.colours, strict=True)):
        if i in present:
            yield name, colour
    if truth:
        yield _("agree"), AGREE
        yield _("disagree"), DISAGREE
    else:
        yield _("sure"), "#ffffff"
        yield _("unsure"), _greys()[0]
    if len(legend.classes) in present:
        yield _("nothing"), NOTHING


def _greys() -> list[str]:
    return [f"#{v:02x}{v:02x}{v:02x}" for v in np.linspace(40, 250, 255).astype(int)]


def _hover(one: Layers, legend, cells: int) -> dict:
    """Invisible cells that name what lies under the mouse."""
    step = max(1, math.ceil(math.sqrt(one.predicted.size / max(cells, 100))))
    part = (slice(step // 2, None, step), slice(step // 2, None, step))
    names = np.array([*legend.names(), _("nothing")], object)
    predicted = one.predicted[part]
    text = names[predicted]
    if one.truth is not None:
        text = text + f"<br>{_('labelled')} " + names[one.truth[part]]
    west, east, south, north = _km(one)
    rows, columns = one.predicted.shape
    dx, dy = (east - west) / columns, (north - south) / rows
    return {
        "z": np.nan_to_num(one.margin[part]).round(2), "text": text.tolist(),
        "x0": west + dx * (step // 2 + 0.5), "dx": dx * step,
        "y0": north - dy * (step // 2 + 0.5), "dy": -dy * step,
    }  # fmt: skip


def _furniture(fig, one: Layers, box) -> None:
    """Scale bar and north arrow in the first panel."""
    west, east, south, north = box
    length = round_length((east - west) * 1000 / 3)
    x0, y0, bar = west + (east - west) * 0.05, south + (north - south) * 0.03, length / 1000
    white = {"fillcolor": "rgba(255,255,255,0.85)", "line": {"width": 0}}
    fig.add_shape(
        type="rect",
        x0=x0 - bar * 0.08,
        x1=x0 + bar * 1.08,
        y0=y0 - bar * 0.05,
        y1=y0 + bar * 0.42,
        row=1,
        col=1,
        **white,
    )
    fig.add_shape(
        type="rect", x0=x0, x1=x0 + bar, y0=y0, y1=y0 + bar * 0.06, fillcolor=INK, line={"width": 0}, row=1, col=1
    )
    fig.add_annotation(
        x=x0 + bar / 2, y=y0 + bar * 0.06, text=length_name(length), showarrow=False, yanchor="bottom",
        font={"size": 11}, row=1, col=1,
    )  # fmt: skip
    turn = math.radians(north_turn(SimpleNamespace(crs=one.crs, bounds=np.array(one.extent)[[0, 2, 1, 3]])))
    fig.add_annotation(
        text="<b>N</b>", x=east - (east - west) * 0.1, y=north - (north - south) * 0.04, ax=-24 * math.sin(turn),
        ay=24 * math.cos(turn), arrowhead=2, arrowcolor=INK, arrowwidth=1.5, bgcolor="rgba(255,255,255,0.8)",
        row=1, col=1,
    )  # fmt: skip


def season_gif(
    predictions: Sequence[Prediction],
    out: str | Path,
    *,
    labels: Labels | str | Path | None = None,
    study: Study | None = None,
    size: int = EYE,
    seconds: float = 0.9,
) -> Path:
    """The season as an animated picture: one frame a date, with its legend; beside it what the labels say then.

    Args:
        predictions: Several dates of one area and year.
        out: A ``.gif`` file to write, also in an object store (``s3://…``).
        labels: As in `prediction_map`.
        study: As in `prediction_map`.
        size: At most so many pixels of the map a side.
        seconds: Each frame; the last one stays three times as long.

    Returns:
        The file. ``figures.show(path, alt)`` shows it.

    Raises:
        MapError: As `prediction_map`; or the file cannot be written.

    Lab: part3_train_and_test.
    """
    dates = in_order(predictions)
    out = folders.place(out)
    if out.suffix != ".gif":
        raise MapError(f"Expected a file that ends in .gif, received {out}.")
    layers = [Layers.of(p, labels, size) for p in dates]
    entries, name = list(_legend_of(layers, dates[0].legend, labels is not None)), _area_name(dates[0], study)
    frames = [_frame(one, entries, name) for one in layers]
    palette = frames[len(frames) // 2].quantize(64)
    frames = [f.quantize(palette=palette, dither=0) for f in frames]
    waits = [int(seconds * 1000)] * (len(frames) - 1) + [int(seconds * 3000)]
    options = {"save_all": True, "append_images": frames[1:], "duration": waits, "loop": 0, "disposal": 1}
    try:
        folders.put(out, lambda path: frames[0].save(path, "GIF", optimize=True, **options))
    except OSError as error:
        raise MapError(f"{out} cannot be written: {error.strerror or error}. Give another file.") from None
    return out


def _area_name(prediction: Prediction, study: Study | None) -> str:
    """What the study calls the area of a map; without a study the area's key."""
    return next((a.title() for a in (study.areas if study else ()) if a.key == prediction.area), prediction.area)


def _frame(one: Layers, entries, area: str):
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch
    from PIL import Image

    from arsetlib.figures.still import map_furniture

    west, east, south, north = one.extent
    legend = one.prediction.legend
    palette = rgb([*legend.colours, NOTHING])
    pictures = [palette[one.predicted]]
    if one.truth is not None:
        pictures += [palette[one.truth], rgb([AGREE, DISAGREE, NOTHING])[one.wrong]]
    else:
        greys = np.nan_to_num(one.margin * 254, nan=255).astype(np.uint8)
        pictures += [rgb([*_greys(), NOTHING])[greys]]
    parts = list(zip(_panel_names(one.truth is not None), pictures, strict=True))
    inches = WIDTH / 100
    tall = min(max(inches / len(parts) * (north - south) / (east - west), 1.5), 5.5)
    with rc_context(STYLE):
        fig = Figure(figsize=(inches, tall + 1.25), dpi=100, facecolor="white")
        across = fig.subplots(1, len(parts), squeeze=False)[0]
        fig.subplots_adjust(
            left=0.01, right=0.99, top=1 - 0.62 / (tall + 1.25), bottom=0.6 / (tall + 1.25), wspace=0.03
        )
        box = SimpleNamespace(crs=one.crs, bounds=(west, south, east, north))
        for ax, (name, picture) in zip(across, parts, strict=True):
            ax.imshow(picture, extent=one.extent, interpolation="nearest")
            ax.set_title(name, fontsize=10)
            map_furniture(ax, box, one.extent, False)
        stamp = f"  ({_(SIMULATED)})" if one.prediction.simulated else ""
        fig.suptitle(
            _("{area}: window {first} to {last}").format(
                area=area,
                first=day(date.fromisoformat(one.prediction.info["window"]["first"])),
                last=day(one.prediction.last),
            ) + stamp,
            fontsize=11, x=0.01, ha="left",
        )  # fmt: skip
        handles = [Patch(facecolor=colour, edgecolor=INK, linewidth=0.4, label=name) for name, colour in entries]
        fig.legend(handles=handles, loc="lower left", ncols=5, frameon=False, fontsize=8.5, borderaxespad=0.3)
        buffer = io.BytesIO()
        fig.savefig(buffer, format="png", dpi=100)
    return Image.open(buffer).convert("RGB")


def _km(one: Layers) -> tuple[float, float, float, float]:
    """West, east, south and north in km."""
    factor = CRS(one.crs).axis_info[0].unit_conversion_factor / 1000
    west, east, south, north = (float(v) * factor for v in one.extent)
    return west, east, south, north
