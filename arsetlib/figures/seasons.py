"""Predicted maps through the season: beside the labels with a slider of dates, and as an animated picture.

What is shown are real pixels: a large map is thinned by taking each so-many-th row and column, so that agreement
with the labels stays that of single pixels.

Lab: part3_train_and_test.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
import rasterio
from plotly.subplots import make_subplots
from pyproj import CRS
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from arsetlib import samples
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
from arsetlib.maps.products import NODATA, MapError, Prediction

if TYPE_CHECKING:
    from arsetlib.labels import Labels
    from arsetlib.study import Study

AGREE, DISAGREE, NOTHING = "#dfe4e8", "#d55e00", "#ffffff"
HOVERED = 12_000  # cells that carry names, over all dates and panels


@dataclass(frozen=True)
class Layers:
    """One date, thinned: class numbers (H, W), K where there is none; truth likewise, or None; margin 0-1, NaN."""

    prediction: Prediction
    predicted: np.ndarray
    truth: np.ndarray | None
    margin: np.ndarray
    extent: tuple[float, float, float, float]  # west, east, south, north, units of the CRS
    crs: str

    @property
    def wrong(self) -> np.ndarray:
        """(H, W) 0 agree, 1 disagree, 2 nothing to compare."""
        none = len(self.prediction.legend.classes)
        known = (self.predicted != none) & (self.truth != none)
        return np.where(known, (self.predicted != self.truth).astype(np.uint8), 2).astype(np.uint8)


def prediction_map(
    predictions: Prediction | Sequence[Prediction],
    *,
    labels: Labels | None = None,
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
    dates = _dates(predictions)
    first = dates[0]
    legend, none = first.legend, len(first.legend.classes)
    layers = [_layers(p, labels, size) for p in dates]
    colours = [*legend.colours, NOTHING]
    names = ("prediction", "labels on that date", "disagreement") if labels is not None else ("prediction", "margin")
    west, east, south, north = (v / 1000 * _metres(layers[0].crs) for v in layers[0].extent)
    fig = make_subplots(rows=1, cols=len(names), horizontal_spacing=0.02, subplot_titles=names, shared_yaxes=True)
    shown = []  # of which date each trace and each image is
    traces = []
    for number, one in enumerate(layers):
        margin = np.nan_to_num(one.margin * 254, nan=255).astype(np.uint8)
        parts = [(one.predicted, colours)]
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
                hovertemplate="predicted %{text}<br>margin %{z}<extra></extra>", row=1, col=i,
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
    name = next((a.name.get("en", a.key) for a in (study.areas if study else ()) if a.key == first.area), first.area)
    where = title or f"{name}, {first.year}: {first.info['model']}"
    layout = plotly_layout(where, int(tall + 80 + below), first.simulated)
    layout["margin"] |= {"t": 80, "b": below, "l": 8}
    axes = {"showgrid": False, "zeroline": False, "tickformat": ".1~f", "ticklabeloverflow": "hide past domain"}
    base = layout.pop("xaxis"), layout.pop("yaxis")
    for i in range(1, len(names) + 1):
        axis = "" if i == 1 else i
        layout[f"xaxis{axis}"] = (
            base[0] | axes | {"range": [west, east], "matches": "x", "nticks": 4, "title": "east, km"}
        )
        layout[f"yaxis{axis}"] = base[1] | axes | {
            "range": [south, north], "matches": "y", "scaleanchor": f"x{axis}", "showticklabels": i == 1,
            "constrain": "domain",
        }  # fmt: skip
        layout[f"xaxis{axis}"]["constrain"] = "domain"
    layout["yaxis"]["title"] = f"north in {CRS(layers[0].crs).to_string()}, km"
    layout["annotations"] = [*fig.layout.annotations, *layout["annotations"]]
    if first.simulated:
        layout["annotations"][-1] |= {"y": 1.0, "yshift": 34}
    layout["legend"] |= {"y": 0}
    if len(dates) > 1:
        layout["sliders"] = [_slider(dates, shown, traces)]
    else:
        layout["title"]["text"] += f", window to {first.last:%-d %B}"
    fig.update_layout(layout)
    _furniture(fig, layers[0], (west, east, south, north))
    return fig


def _crisp(codes: np.ndarray) -> np.ndarray:
    """Small pictures with larger pixels: browsers blur what they enlarge."""
    factor = max(1, EYE // max(codes.shape))
    return codes.repeat(factor, axis=0).repeat(factor, axis=1)


def _slider(dates, shown, traces) -> dict:
    steps = []
    for number, one in enumerate(dates):
        images = {f"images[{i}].visible": of == number for i, of in enumerate(shown)}
        steps.append({
            "label": f"{one.last:%-d %b}", "method": "update",
            "args": [{"visible": [of is None or of == number for of in traces]}, images],
        })  # fmt: skip
    return {
        "steps": steps, "active": 0, "x": 0.02, "len": 0.96, "y": 0, "yanchor": "top", "pad": {"t": 48, "b": 0},
        "currentvalue": {"prefix": "window ends on ", "font": {"size": 13}}, "font": {"size": 11},
    }  # fmt: skip


def _legend_of(layers, legend, truth: bool):
    present = set()
    for one in layers:
        present |= set(np.unique(one.predicted).tolist()) | set(np.unique(one.truth).tolist() if truth else ())
    for i, (name, colour) in enumerate(zip(legend.names(), legend.colours, strict=True)):
        if i in present:
            yield name, colour
    if truth:
        yield "agree", AGREE
        yield "disagree", DISAGREE
    else:
        yield "sure", "#ffffff"
        yield "unsure", _greys()[0]
    if len(legend.classes) in present:
        yield "nothing", NOTHING


def _greys() -> list[str]:
    return [f"#{v:02x}{v:02x}{v:02x}" for v in np.linspace(40, 250, 255).astype(int)]


def _hover(one: Layers, legend, cells: int) -> dict:
    """Invisible cells that name what lies under the mouse."""
    step = max(1, math.ceil(math.sqrt(one.predicted.size / max(cells, 100))))
    part = (slice(step // 2, None, step), slice(step // 2, None, step))
    names = np.array([*legend.names(), "nothing"], object)
    predicted = one.predicted[part]
    text = names[predicted]
    if one.truth is not None:
        text = text + "<br>labelled " + names[one.truth[part]]
    west, east, south, north = (v / 1000 * _metres(one.crs) for v in one.extent)
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


def season(
    predictions: Sequence[Prediction],
    out: str | Path,
    *,
    labels: Labels | None = None,
    size: int = EYE,
    seconds: float = 0.9,
) -> Path:
    """The season as an animated picture: one frame a date, with its legend; beside it what the labels say then.

    Args:
        predictions: Several dates of one area and year.
        out: A ``.gif`` file to write.
        labels: As in `prediction_map`.
        size: At most so many pixels of the map a side.
        seconds: Each frame; the last one stays three times as long.

    Returns:
        The file. ``figures.show(path, alt)`` shows it.

    Raises:
        MapError: As `prediction_map`; or the file cannot be written.

    Lab: part3_train_and_test.
    """
    dates = _dates(predictions)
    out = Path(out)
    if out.suffix != ".gif":
        raise MapError(f"Expected a file that ends in .gif, received {out}.")
    layers = [_layers(p, labels, size) for p in dates]
    frames = [_frame(one, list(_legend_of(layers, dates[0].legend, labels is not None))) for one in layers]
    palette = frames[len(frames) // 2].quantize(64)
    frames = [f.quantize(palette=palette, dither=0) for f in frames]
    hidden = out.with_name(f".{out.name}")
    waits = [int(seconds * 1000)] * (len(frames) - 1) + [int(seconds * 3000)]
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        frames[0].save(
            hidden, "GIF", save_all=True, append_images=frames[1:], duration=waits, loop=0, optimize=True, disposal=1
        )
        hidden.replace(out)
    except OSError as error:
        raise MapError(f"{out} cannot be written: {error.strerror or error}. Give another file.") from None
    finally:
        hidden.unlink(missing_ok=True)
    return out


def _frame(one: Layers, entries):
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch
    from PIL import Image

    from arsetlib.figures.still import map_furniture

    west, east, south, north = one.extent
    legend = one.prediction.legend
    palette = rgb([*legend.colours, NOTHING])
    parts = [("prediction", palette[one.predicted])]
    if one.truth is not None:
        parts += [("labels on that date", palette[one.truth])]
        parts += [("disagreement", rgb([AGREE, DISAGREE, NOTHING])[one.wrong])]
    else:
        greys = np.nan_to_num(one.margin * 254, nan=255).astype(np.uint8)
        parts += [("margin", rgb([*_greys(), NOTHING])[greys])]
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
        stamp = f"  ({SIMULATED})" if one.prediction.simulated else ""
        fig.suptitle(
            f"{one.prediction.area}: window {one.prediction.info['window']['first']} to {one.prediction.last}{stamp}",
            fontsize=11, x=0.01, ha="left",
        )  # fmt: skip
        handles = [Patch(facecolor=colour, edgecolor=INK, linewidth=0.4, label=name) for name, colour in entries]
        fig.legend(handles=handles, loc="lower left", ncols=5, frameon=False, fontsize=8.5, borderaxespad=0.3)
        buffer = io.BytesIO()
        fig.savefig(buffer, format="png", dpi=100)
    return Image.open(buffer).convert("RGB")


def _dates(predictions) -> list[Prediction]:
    dates = [predictions] if isinstance(predictions, Prediction) else list(predictions)
    if not dates:
        raise MapError("Expected predictions, received none. Make some with maps.predict.")
    first = dates[0]
    for other in dates[1:]:
        if (other.area, other.year, other.info["legend"]) != (first.area, first.year, first.info["legend"]):
            raise MapError(
                f"Expected predictions of one area, year and legend, received {first.stem} and {other.stem}. "
                "Show each area and year in its own figure."
            )
    return sorted(dates, key=lambda p: p.start)


def _layers(prediction: Prediction, labels, size: int) -> Layers:
    legend = prediction.legend
    none = len(legend.classes)
    with rasterio.open(prediction.path()) as src:
        rows, cols = (_thinned(n, max(src.width, src.height), size) for n in (src.height, src.width))
        predicted = _pixels(src, rows, cols)
        side, west, north = src.transform.a, src.bounds.left, src.bounds.top
        crs, truth = src.crs.to_wkt(), None
        if labels is not None:
            options = {"crs": src.crs, "transform": src.transform, "width": src.width, "height": src.height}
            with (
                rasterio.open(getattr(labels, "path", labels)) as codes,
                WarpedVRT(codes, **options, resampling=Resampling.nearest, src_nodata=0, nodata=0) as warped,
                rasterio.open(prediction.path("vegetation")) as green,
            ):
                code = _pixels(warped, rows, cols)
                shows = _pixels(green, rows, cols)
            truth = legend.classes_of(code.ravel().astype(np.int64)).reshape(code.shape)
            truth = samples.apply_vegetation_rule(truth, shows == 1, legend).astype(np.int16)
            truth[(truth < 0) | (code == 0) | (shows == NODATA["vegetation"])] = none
            truth = truth.astype(np.uint8)
    with rasterio.open(prediction.path("margin")) as src:
        raw = _pixels(src, rows, cols).astype(np.float32)
    margin = np.where(raw == NODATA["margin"], np.nan, raw / prediction.info["scale"])
    predicted = np.where(predicted == NODATA["class"], none, predicted).astype(np.uint8)
    thin = (rows[1] - rows[0] if len(rows) > 1 else 1) * side
    extent = (west, west + len(cols) * thin, north - len(rows) * thin, north)
    return Layers(prediction, predicted, truth, margin, extent, crs)


def _thinned(count: int, longest: int, size: int) -> np.ndarray:
    """Which rows (or columns) of so many are shown."""
    step = math.ceil(longest / size)
    return np.arange(step // 2, count, step)


def _pixels(src, rows, cols) -> np.ndarray:
    """Values of a raster at rows × columns, strip by strip."""
    out = np.empty((len(rows), len(cols)), src.dtypes[0])
    strip = max(1, 512 // max(1, int(rows[1] - rows[0]) if len(rows) > 1 else 1))
    for i in range(0, len(rows), strip):
        mine = rows[i : i + strip]
        part = src.read(1, window=Window(0, int(mine[0]), src.width, int(mine[-1] - mine[0]) + 1))
        out[i : i + strip] = part[mine - mine[0]][:, cols]
    return out


def _metres(crs) -> float:
    return CRS(crs).axis_info[0].unit_conversion_factor
