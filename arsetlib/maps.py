"""Draw scenes, labels and series; show them in a notebook and in the book.

Maps are drawn on the label grid's projection, so that a metre is a metre, with a scale bar, a north arrow and a
legend of the classes present. Interactive figures are Plotly figures on plain axes in km: no map tiles, so they
work offline. What a figure holds is thinned to what the eye can see: at most 400 pixels a side.

Static pictures are matplotlib figures. `show` displays either kind, and a table too, with a text for readers who
cannot see it.

Labs: part1_build_dataset, part2_load_data.
"""

from __future__ import annotations

import base64
import html
import io
import itertools
import math
import os
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import rasterio
import shapely
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.patheffects import withStroke
from plotly.subplots import make_subplots
from pyproj import CRS, Transformer
from rasterio.enums import Resampling
from rasterio.transform import from_bounds
from rasterio.vrt import WarpedVRT

from arsetlib import cdl, sentinel2

TRUE_COLOUR = ("red", "green", "blue")
FALSE_COLOUR = ("nir", "red", "green")
SWIR_COLOUR = ("nir", "swir16", "red")

WIDTH = 760  # CSS pixels: the one figure width of the course
EYE = 400  # pixels a side: more is not seen at that width
FONT_SIZE = 13
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
INK, GRID, ACCENT = "#22303c", "#dfe4e8", "#0b6e4f"
# Okabe and Ito's colours, told apart by readers of every kind of colour vision.
LINES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
# Shape as well as colour tells scene classes apart.
SCL_SYMBOLS = {
    0: "x-thin", 1: "asterisk", 2: "square", 3: "triangle-down", 4: "circle", 5: "diamond", 6: "hexagon",
    7: "cross", 8: "square-open", 9: "x", 10: "triangle-up-open", 11: "star-open",
}  # fmt: skip
SCL_INK = {
    0: "#8a8a8a", 1: "#8a1c1c", 2: "#595959", 3: "#7a4b1e", 4: "#009e73", 5: "#b8860b", 6: "#0072b2",
    7: "#6d6d6d", 8: "#d55e00", 9: "#a6228b", 10: "#3d9fd6", 11: "#c4477f",
}  # fmt: skip
SIMULATED = "simulated"
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
# Where the built book keeps Plotly, seen from a page of labs/en.
PLOTLY_IN_BOOK = "../../_static/vendor/plotly.min.js"

# Of every value that a byte can have; those that are no code of the layer are named by their number.
_NAMES = [cdl.CODES[c].name if c in cdl.CODES else f"code {c}" for c in range(256)]
_COLOURS = [cdl.CODES[c].colour if c in cdl.CODES else "#000000" for c in range(256)]

_figure_numbers = itertools.count(1)


# -- reading what is drawn -----------------------------------------------------------------------------------------


def read(path, area, size=None, resampling="nearest"):
    """One band of a raster on an area, in the area's CRS.

    Only the window of the area is read, from an overview where that is enough.

    Args:
        path: Raster file or URL.
        area: The `Area` to show.
        size: At most so many pixels along the longer side; ``None`` keeps the raster's own resolution.
        resampling: ``"nearest"``, ``"bilinear"``, or ``"mode"`` (the majority) for thinning labels.

    Returns:
        values: (H, W) in the raster's dtype, 0 where the raster has nothing.
        extent: (west, east, south, north), units of ``area.crs``: the area's bounds, moved to the raster's pixel
            edges where raster and area share a CRS.

    Raises:
        ValueError: The raster and the area do not overlap.
        rasterio.errors.RasterioIOError: The file cannot be opened or read.

    Lab: part1_build_dataset.
    """
    with rasterio.open(path) as source:
        west, south, east, north = _on_grid(source, area)
        pixel = _pixel_side(source, area)
        width, height = (max(1, round(side / pixel)) for side in (east - west, north - south))
        factor = min(1.0, (size or math.inf) / max(width, height))
        width, height = max(1, round(width * factor)), max(1, round(height * factor))
        if not shapely.box(*source.bounds).intersects(area.outline(source.crs.to_wkt())):
            raise ValueError(
                f"{path} does not touch the area {area.key!r}. "
                "Take a file that covers it: for scenes, one whose footprint intersects area.outline()."
            )
        with WarpedVRT(
            source,
            crs=area.crs,
            transform=from_bounds(west, south, east, north, width, height),
            width=width,
            height=height,
            resampling=Resampling[resampling],
            src_nodata=0,
            nodata=0,
        ) as warped:
            return warped.read(1), (west, east, south, north)


def _on_grid(source, area):
    west, south, east, north = area.bounds
    if CRS(source.crs.to_wkt()) != CRS(area.crs):
        return west, south, east, north
    t = source.transform
    columns = [t.c + t.a * round((x - t.c) / t.a) for x in (west, east)]
    rows = [t.f + t.e * round((y - t.f) / t.e) for y in (south, north)]
    return columns[0], rows[0], columns[1], rows[1]


def _pixel_side(source, area):
    metres_of = [CRS(c).axis_info[0].unit_conversion_factor for c in (source.crs.to_wkt(), area.crs)]
    if CRS(area.crs).is_geographic or source.crs.is_geographic:
        return (area.bounds[2] - area.bounds[0]) / EYE
    return abs(source.transform.a) * metres_of[0] / metres_of[1]


# -- still pictures ------------------------------------------------------------------------------------------------


def chip(scene, area, *combinations, study, size=EYE):
    """A scene on an area, once for each combination of three bands.

    Args:
        scene: A `Scene`.
        area: The `Area` to show.
        combinations: Band triples shown as red, green and blue; `TRUE_COLOUR` if none is given.
        study: Whose picture it is: says whether the scene is simulated.
        size: At most so many pixels a side.

    Returns:
        A matplotlib figure. Each band is stretched from its 2nd to its 98th percentile; grey is no data.

    Lab: part1_build_dataset.
    """
    combinations = combinations or (TRUE_COLOUR,)
    names = list(dict.fromkeys(name for bands in combinations for name in bands))
    shown = {}
    for name in names:
        dn, extent = read(scene.hrefs[name], area, size, "bilinear")
        shown[name] = _stretch(sentinel2.reflectance_dn(dn.astype(np.uint16), scene.offset))
    height, width = shown[names[0]].shape
    with rc_context(STYLE):
        fig, axes = _panels([1] * len(combinations), height / width)
        for ax, bands in zip(axes, combinations, strict=True):
            picture = np.dstack([shown[name] for name in bands])
            picture[~np.all([shown[name] > 0 for name in bands], axis=0)] = 128
            ax.imshow(picture, extent=extent, interpolation="nearest")
            ax.set_title(f"{_combination_name(bands)}: {', '.join(bands)}")
            _map_furniture(ax, area, extent, study.simulated)
        fig.suptitle(f"{area.name.get('en', area.key)}, {_date(scene.day):%-d %B %Y}", fontsize=12)
    return fig


def labels_map(labels, area, *, study, legend=None, size=EYE, most=12):
    """The labels of an area in their own colours, with a legend of the classes present.

    Args:
        labels: A `Labels`.
        area: The `Area` to show.
        study: Whose picture it is.
        legend: A `Legend`: show its classes. ``None`` shows the Cropland Data Layer's codes and colours, or the
            study's classes where the codes are its own.
        size: At most so many pixels a side; a thinned pixel shows the majority of those it stands for.
        most: Name so many classes, the largest first; the legend says how many more there are.

    Returns:
        A matplotlib figure.

    Lab: part1_build_dataset.
    """
    codes, extent = read(labels.path, area, size, "mode")
    names, colours, index = _classes(codes, legend or _own_legend(study, labels))
    picture = _rgb(colours)[index]
    present, counts = np.unique(index, return_counts=True)
    order = present[np.argsort(-counts)]
    share = dict(zip(present, counts / counts.sum(), strict=True))
    with rc_context(STYLE):
        fig, (ax, beside) = _panels((0.66, 0.34), codes.shape[0] / codes.shape[1])
        ax.imshow(picture, extent=extent, interpolation="nearest")
        ax.set_title(f"{area.name.get('en', area.key)}, labels of {labels.year}")
        _map_furniture(ax, area, extent, study.simulated)
        handles = [
            Patch(facecolor=colours[i], edgecolor=INK, linewidth=0.4, label=f"{names[i]} {_percent(share[i])}")
            for i in order[:most]
        ]
        if len(order) > most:
            rest = sum(share[i] for i in order[most:])
            handles.append(Patch(facecolor="none", label=f"and {len(order) - most} more {_percent(rest)}"))
        ax.set_anchor("N")
        beside.axis("off")
        beside.legend(handles=handles, loc="upper left", frameon=False, borderaxespad=0, fontsize=9)
    return fig


def _panels(widths, aspect):
    """A figure of the one width, with axes side by side, the first of which holds a box of height / width = aspect."""
    inches = WIDTH / 100
    height = min(max(inches * widths[0] / sum(widths) * aspect, 1.6), 6.0) + 0.85
    fig = Figure(figsize=(inches, height), dpi=100, layout="constrained", facecolor="white")
    return fig, fig.subplots(1, len(widths), squeeze=False, width_ratios=widths)[0]


def _map_furniture(ax, area, extent, simulated):
    """Scale bar, north arrow, no ticks; and a stamp where the picture is simulated."""
    west, east, south, north = extent
    ax.set_xticks([])
    ax.set_yticks([])
    metres = CRS(area.crs).axis_info[0].unit_conversion_factor
    length = _round_length((east - west) * metres / 4)
    wide, tall = east - west, north - south
    step = max(wide, tall) * 0.03
    box = {"boxstyle": "round,pad=0.25", "facecolor": "white", "edgecolor": "none", "alpha": 0.85}
    x0, y0 = west + step, south + step
    ax.add_patch(
        Rectangle((x0 - step * 0.4, y0 - step * 0.4), length / metres + step * 0.8, step * 2.6, fc="white", alpha=0.85)
    )
    ax.add_patch(Rectangle((x0, y0), length / metres, step * 0.4, fc=INK))
    ax.text(x0 + length / metres / 2, y0 + step * 0.6, _length_name(length), ha="center", va="bottom", fontsize=8)
    turn = math.radians(_north(area))
    foot = (east - 2.2 * step, north - 4.0 * step)
    head = (foot[0] + 2.6 * step * math.sin(turn), foot[1] + 2.6 * step * math.cos(turn))
    halo = [withStroke(linewidth=3.5, foreground="white")]
    ax.annotate(
        "N", xy=head, xytext=foot, ha="center", va="center", fontsize=9, fontweight="bold", path_effects=halo,
        arrowprops={"arrowstyle": "-|>", "color": INK, "linewidth": 1.4, "shrinkA": 6, "shrinkB": 0,
                    "path_effects": halo},
    )  # fmt: skip
    ax.set_xlim(west, east)
    ax.set_ylim(south, north)
    if simulated:
        ax.text(
            0.02, 0.97, SIMULATED, transform=ax.transAxes, ha="left", va="top", fontsize=9, fontstyle="italic", bbox=box
        )


def _stretch(dn):
    """(H, W) reflectance × 10,000, 0 = none → (H, W) uint8 in 1-255, 0 = none."""
    valid = dn > 0
    if not valid.any():
        return np.zeros(dn.shape, np.uint8)
    low, high = np.percentile(dn[valid], (2, 98))
    scaled = np.clip((dn - low) / max(high - low, 1), 0, 1) ** 0.9
    return np.where(valid, 1 + scaled * 254, 0).astype(np.uint8)


def _combination_name(bands):
    known = {TRUE_COLOUR: "True colour", FALSE_COLOUR: "False colour", SWIR_COLOUR: "Short-wave infrared"}
    return known.get(tuple(bands), "Bands")


def _north(area):
    """Degrees clockwise from grid north to true north at the area's centre."""
    west, south, east, north = area.bounds
    x, y = (west + east) / 2, (south + north) / 2
    lon, lat = Transformer.from_crs(area.crs, "EPSG:4326", always_xy=True).transform(x, y)
    x1, y1 = Transformer.from_crs("EPSG:4326", area.crs, always_xy=True).transform(lon, lat + 0.01)
    return math.degrees(math.atan2(x1 - x, y1 - y))


def _round_length(metres):
    power = 10 ** math.floor(math.log10(metres))
    return next(m * power for m in (5, 2, 1) if m * power <= metres)


def _percent(share):
    return "(under 1 %)" if share < 0.01 else f"({100 * share:.0f} %)"


def _length_name(metres):
    return f"{metres / 1000:g} km" if metres >= 1000 else f"{metres:g} m"


def _classes(codes, legend):
    """names (K,), colours (K,), and index of each pixel: CDL's codes, or a legend's classes and what it leaves out."""
    if legend is None:
        return _NAMES, _COLOURS, codes
    found = legend.classes_of(codes.ravel().astype(np.int64)).reshape(codes.shape)
    return [*legend.names(), "left out"], [*legend.colours, "#ffffff"], np.where(found < 0, len(legend.classes), found)


def _own_legend(study, labels):
    """The study's legend where the codes are its own, None where they are the Cropland Data Layer's.

    The layer lies on one grid, EPSG:5070; codes on another grid, or made from fields, are somebody's own, and the
    layer's names and colours would be wrong for them.
    """
    with rasterio.open(labels.path) as src:
        layer = src.crs is not None and src.crs.to_epsg() == 5070
    return None if layer and study.labels.kind != "vector" else study.legend


def _rgb(colours):
    return np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in colours], np.uint8)


# -- interactive maps ----------------------------------------------------------------------------------------------


def footprints(scenes, areas, *, study, labels=None, most=9):
    """Map of where the scenes, the areas and the labels lie, to zoom, hover and switch.

    Args:
        scenes: `Scenes`; outlines that are alike (same tile, same 10 km) are drawn once and counted.
        areas: The `Area`s, all in one CRS.
        study: Whose picture it is.
        labels: `Labels` of one year, drawn on the areas in the Cropland Data Layer's colours (in the study's where
            the codes are its own); hovering names them.
        most: Name so many label classes in the legend, the largest first.

    Returns:
        A Plotly figure; axes are km of the areas' projection.

    Lab: part1_build_dataset.
    """
    crs = areas[0].crs
    fig = go.Figure()
    _draw_footprints(fig, scenes, crs)
    if labels is not None:
        _draw_labels(fig, labels, areas, most, _own_legend(study, labels))
    for area in areas:
        x, y = np.asarray(area.outline(crs).exterior.coords).T / 1000
        name = area.name.get("en", area.key)
        fig.add_scatter(
            x=x, y=y, mode="lines", line={"color": INK, "width": 1.5}, name="areas", legendgroup="areas", legendrank=1,
            showlegend=area is areas[0], hovertemplate=f"{name}<extra>area</extra>",
        )  # fmt: skip
    boxes = [np.array(a.bounds)[[0, 2, 1, 3]] / 1000 for a in areas]
    stacked = np.array(boxes)
    around = np.concatenate([f(stacked[:, [i]], axis=0) for i, f in enumerate((np.min, np.max, np.min, np.max))])
    views = [("All areas", around), *((a.name.get("en", a.key), b) for a, b in zip(areas, boxes, strict=True))]
    views.append(("All scenes", _bounds_km(scenes, crs) if len(scenes) else around))
    layout = _layout("Scenes, areas and labels", 560, study.simulated)
    layout["xaxis"] |= {
        "title": f"east in {CRS(crs).to_string()}, km",
        "range": _padded(around[:2]),
        "showgrid": False,
        "tickformat": ".1~f",
    }
    layout["yaxis"] |= {
        "title": "north, km",
        "range": _padded(around[2:]),
        "showgrid": False,
        "scaleanchor": "x",
        "tickformat": ".1~f",
    }
    layout["updatemenus"] = [
        _menu([
            {"label": label, "method": "relayout",
             "args": [{"xaxis.range": _padded(box[:2]), "yaxis.range": _padded(box[2:])}]}
            for label, box in views
        ])
    ]  # fmt: skip
    fig.update_layout(layout)
    _north_in_plotly(fig, areas[0])
    return fig


def _draw_footprints(fig, scenes, crs):
    to_grid = Transformer.from_crs("EPSG:4326", crs, always_xy=True)
    alike = {}
    for scene in scenes:
        near = tuple(round(v, 1) for v in scene.footprint.bounds)
        alike.setdefault((scene.tile or "scenes", near), []).append(scene)
    largest = sorted(sorted(alike, key=lambda k: -len(alike[k]))[:40])
    tiles = list(dict.fromkeys(tile for tile, _ in largest))
    for tile in tiles:
        x, y, text = [], [], []
        for key in (k for k in largest if k[0] == tile):
            same = alike[key]
            ring = np.asarray(shapely.segmentize(same[0].footprint, 0.08).exterior.coords)
            gx, gy = to_grid.transform(ring[:, 0], ring[:, 1])
            days = sorted(s.day for s in same)
            said = f"{len(same)} scenes, {_date(days[0])} to {_date(days[-1])}"
            clouds = [s.cloud for s in same if s.cloud is not None]
            if clouds:
                said += f"<br>median cloud {np.median(clouds):.0f} %"
            x += [*np.round(gx / 1000, 2), None]
            y += [*np.round(gy / 1000, 2), None]
            text += [said] * len(gx) + [""]
        i = tiles.index(tile)
        fig.add_scatter(
            x=x, y=y, text=text, mode="lines", legendrank=2, name=f"scenes {tile}" if tile != "scenes" else tile,
            line={"color": LINES[i % len(LINES)], "dash": DASHES[i % len(DASHES)], "width": 2},
            hovertemplate=f"{tile}<br>%{{text}}<extra>scenes</extra>",
        )  # fmt: skip


def _draw_labels(fig, labels, areas, most, legend):
    """Palette pictures as images; and under them few invisible cells that carry the names for hovering."""
    cells = 20_000 // len(areas)
    counts = np.zeros(256, np.int64)
    for area in areas:
        codes, extent = read(labels.path, area, EYE, "mode")
        names, colours, codes = _classes(codes, legend)
        counts += np.bincount(codes.ravel(), minlength=256)
        west, east, south, north = (v / 1000 for v in extent)
        fig.add_layout_image(
            source=_palette_png(codes, colours), xref="x", yref="y", x=west, y=north,
            sizex=east - west, sizey=north - south, sizing="stretch", layer="below", name=area.key,
        )  # fmt: skip
        step = math.ceil(math.sqrt(codes.size / cells))
        thin = codes[step // 2 :: step, step // 2 :: step]
        hover = np.array(names, object)[thin]
        rows, columns = codes.shape
        dx, dy = (east - west) / columns, (north - south) / rows
        fig.add_heatmap(
            z=thin, text=hover.tolist(), opacity=0, showscale=False, hoverongaps=False, showlegend=False,
            x0=west + dx * (step // 2 + 0.5), dx=dx * step, y0=north - dy * (step // 2 + 0.5), dy=-dy * step,
            hovertemplate=f"%{{text}}<extra>{labels.year}</extra>",
        )  # fmt: skip
    for code in np.argsort(-counts)[:most]:
        if counts[code]:
            fig.add_scatter(
                x=[None], y=[None], mode="markers", name=names[code], hoverinfo="skip",
                marker={"symbol": "square", "size": 11, "color": colours[code],
                        "line": {"width": 0.5, "color": INK}},
            )  # fmt: skip


def _palette_png(codes, colours):
    """(H, W) positions in ``colours`` → data URI of a PNG with that palette."""
    from PIL import Image

    picture = Image.fromarray(codes.astype(np.uint8)).convert("P")
    picture.putpalette(_rgb(colours).ravel().tolist())
    return _data_uri(picture, "png", optimize=True)


def _bounds_km(scenes, crs):
    boxes = shapely.bounds(shapely.unary_union([s.footprint for s in scenes]))
    to_grid = Transformer.from_crs("EPSG:4326", crs, always_xy=True)
    west, south, east, north = to_grid.transform_bounds(*boxes)
    return np.array([west, east, south, north]) / 1000


def _padded(span):
    pad = (span[1] - span[0]) * 0.06
    return [float(span[0] - pad), float(span[1] + pad)]


def _north_in_plotly(fig, area):
    turn = math.radians(_north(area))
    fig.add_annotation(
        text="<b>N</b>", xref="paper", yref="paper", x=0.975, y=0.93, ax=-28 * math.sin(turn),
        ay=28 * math.cos(turn), arrowhead=2, arrowcolor=INK, arrowwidth=1.5, bgcolor="rgba(255,255,255,0.8)",
    )  # fmt: skip


# -- tables, bars, time --------------------------------------------------------------------------------------------


def class_areas(labels, areas, legend=None):
    """How much land each label code covers.

    Args:
        labels: `Labels` of one year.
        areas: The `Area`s; pixels are counted at the labels' own resolution.
        legend: A `Legend`: adds the column ``class``, its class of the code.

    Returns:
        A table, one row per area and code, largest first, with columns area, year, code, name, (class,) pixels,
        hectares, share (of the area, 0-1).

    Lab: part1_build_dataset.
    """
    with rasterio.open(labels.path) as source:
        crs, side = source.crs.to_wkt(), source.transform.a
    hectares = (side * CRS(crs).axis_info[0].unit_conversion_factor) ** 2 / 10_000  # of one pixel
    rows = []
    for area in areas:
        codes = _codes_inside(labels.path, area, crs, side)
        present, counts = np.unique(codes, return_counts=True)
        for code, count in zip(present.tolist(), counts.tolist(), strict=True):
            name = _NAMES[code] if code < len(_NAMES) else f"code {code}"
            rows.append((area.key, labels.year, code, name, count, count * hectares, count / codes.size))
    columns = ["area", "year", "code", "name", "pixels", "hectares", "share"]
    frame = pd.DataFrame(rows, columns=columns).sort_values(["hectares", "code"], ascending=[False, True])
    if legend is not None:
        of = legend.classes_of(frame["code"].to_numpy())
        frame.insert(4, "class", [legend.names()[i] if i >= 0 else "left out" for i in of])
    return frame.reset_index(drop=True)


def _codes_inside(path, area, crs, side):
    """(P,) codes of the label pixels whose centres lie in the area, whatever its CRS."""
    if CRS(crs) == CRS(area.crs):
        return read(path, area)[0].ravel()
    around = replace(area, bounds=area.outline(crs).bounds, crs=crs)
    codes, (left, _, _, top) = read(path, around)
    x, y = np.meshgrid(left + (np.arange(codes.shape[1]) + 0.5) * side, top - (np.arange(codes.shape[0]) + 0.5) * side)
    x, y = Transformer.from_crs(crs, area.crs, always_xy=True).transform(x, y)
    west, south, east, north = area.bounds
    return codes[(x >= west) & (x < east) & (y >= south) & (y < north)]


def class_bars(frame, *, study, most=15):
    """Bars of hectares by class in the Cropland Data Layer's colours, for all areas together or one of them.

    Args:
        frame: What `class_areas` returns.
        study: Whose picture it is.
        most: So many classes, the largest first.

    Returns:
        A Plotly figure with a menu of areas.

    Lab: part1_build_dataset.
    """
    keys = [None, *dict.fromkeys(frame["area"])]
    fig = go.Figure()
    for key in keys:
        part = frame if key is None else frame[frame["area"] == key]
        sums = part.groupby(["code", "name"], as_index=False)["hectares"].sum()
        sums = sums.sort_values("hectares", ascending=False)
        share = sums["hectares"] / sums["hectares"].sum()
        top = sums.head(most)
        colours = [_COLOURS[c] if c < len(_COLOURS) else INK for c in top["code"]]
        fig.add_bar(
            x=top["hectares"].round(2), y=top["name"], orientation="h", visible=key is None, name=key or "all areas",
            customdata=np.column_stack([top["code"], (100 * share.head(most)).round(2)]),
            marker={"color": colours, "line": {"color": INK, "width": 0.5}},
            hovertemplate="%{y} (code %{customdata[0]:.0f})<br>%{x:,.0f} ha, %{customdata[1]:.1f} %<extra></extra>",
        )  # fmt: skip
    year = int(frame["year"].iloc[0])
    layout = _layout(f"Land by label class, {year}", 470, study.simulated)
    layout["xaxis"] |= {"title": "hectares", "rangemode": "tozero"}
    layout["yaxis"] |= {"autorange": "reversed", "automargin": True, "gridcolor": "white"}
    layout |= {"showlegend": False, "bargap": 0.25}
    names = {a.key: a.name.get("en", a.key) for a in study.areas}
    areas_menu = _menu([
        {"label": "All areas" if key is None else names.get(key, key), "method": "update",
         "args": [{"visible": [k == key for k in keys]}]}
        for key in keys
    ])  # fmt: skip
    layout["updatemenus"] = [areas_menu]
    return fig.update_layout(layout)


def timeline(scenes, *, study):
    """When scenes were taken and how cloudy they are: one marker a scene, one shape and colour a tile.

    Returns:
        A Plotly figure: cloud cover in percent against the date.

    Lab: part1_build_dataset.
    """
    fig = go.Figure()
    symbols = ("circle", "diamond", "square", "triangle-up", "cross", "star", "hexagon")
    tiles = sorted({s.tile or "scenes" for s in scenes})
    for i, tile in enumerate(tiles):
        of_tile = [s for s in scenes if (s.tile or "scenes") == tile and s.cloud is not None]
        fig.add_scatter(
            x=[_date(s.day) for s in of_tile], y=[round(s.cloud, 1) for s in of_tile], text=[s.id for s in of_tile],
            mode="markers", name=tile,
            marker={"symbol": symbols[i % len(symbols)], "color": LINES[i % len(LINES)], "size": 7, "opacity": 0.75},
            hovertemplate="%{text}<br>%{x|%-d %B %Y}, cloud %{y:.0f} %<extra></extra>",
        )  # fmt: skip
    layout = _layout("Scenes by date and cloud", 380, study.simulated)
    layout["xaxis"] |= {"title": "date"}
    layout["yaxis"] |= {"title": "cloud cover, %", "range": [-4, 104]}
    return fig.update_layout(layout)


def series(day, scl, bands, *, study, quantity="ndvi", title="One pixel's series"):
    """One pixel's irregular series: every observation above, what the scene classes leave of it below.

    Args:
        day: (N,) days since 1970-01-01.
        scl: (N,) scene classes.
        bands: (N, C) reflectance × 10,000 in the order of ``study.bands``, 0 = no data.
        study: Gives the band order and ``drop_scl``, the scene classes to drop.
        quantity: ``"ndvi"``, or a band's name for its reflectance.
        title: Title of the figure.

    Returns:
        A Plotly figure. Shape and colour of a marker tell its scene class.

    Raises:
        ValueError: ``quantity`` is neither 'ndvi' nor a band of the study.

    Lab: part1_build_dataset.
    """
    values, unit = _quantity(np.asarray(bands), study.bands, quantity)
    day, scl = np.asarray(day), np.asarray(scl)
    dates = np.array([_date(d) for d in day.tolist()], object)
    kept = ~np.isin(scl, study.drop_scl)
    fig = make_subplots(
        rows=2, cols=1, shared_xaxes=True, shared_yaxes="all", vertical_spacing=0.1,
        subplot_titles=(f"raw: {len(day)} observations", f"filtered: {int(kept.sum())} observations"),
    )  # fmt: skip
    fig.add_scatter(
        x=dates[kept], y=values[kept], mode="lines", line={"color": "#9aa5ad", "width": 1}, hoverinfo="skip",
        showlegend=False, row=2, col=1,
    )  # fmt: skip
    for value in np.unique(scl).tolist():
        name = sentinel2.SCL[value].name
        for row, of_class in ((1, scl == value), (2, (scl == value) & kept)):
            if of_class.any():
                fig.add_scatter(
                    x=dates[of_class], y=values[of_class].round(4), mode="markers", row=row, col=1,
                    name=f"{value} {name}", legendgroup=str(value), showlegend=row == 1,
                    marker={"symbol": SCL_SYMBOLS[value], "color": SCL_INK[value], "size": 8,
                            "line": {"width": 1.5, "color": SCL_INK[value]}},
                    hovertemplate=f"%{{x|%-d %B %Y}}<br>{unit} %{{y:.3f}}<br>SCL {value} {name}<extra></extra>",
                )  # fmt: skip
    layout = _layout(title, 560, study.simulated)
    for row in (1, 2):
        layout[f"yaxis{row if row > 1 else ''}"] = layout["yaxis"] | {"title": unit}
    layout["xaxis2"] = layout["xaxis"] | {"title": "date"}
    layout["annotations"] = [*fig.layout.annotations, *layout["annotations"]]
    return fig.update_layout(layout)


def _quantity(bands, names, quantity):
    if quantity == "ndvi":
        return ndvi(bands[:, names.index("red")], bands[:, names.index("nir")]), "NDVI"
    if quantity not in names:
        raise ValueError(f"quantity must be 'ndvi' or one of {', '.join(names)}; got {quantity!r}.")
    dn = bands[:, names.index(quantity)]
    return np.where(dn > 0, dn / 10_000, np.nan), f"{quantity} reflectance"


def ndvi(red, nir):
    """Normalised difference vegetation index, -1 to 1; NaN where either band has no data (0).

    Args:
        red, nir: Arrays of one shape, reflectance × 10,000, 0 = no data.

    Lab: part1_build_dataset.
    """
    red, nir = np.asarray(red, np.float64), np.asarray(nir, np.float64)
    valid = (red > 0) & (nir > 0)
    return np.divide(nir - red, nir + red, out=np.full(red.shape, np.nan), where=valid)


# -- loaders: calendars, spreads, rules --------------------------------------------------------------------------------


def figure(title, x, y, *, study=None, height=380):
    """An empty Plotly figure in the course's look, to add traces to.

    Args:
        title: Its title.
        x, y: What the axes show, with the unit.
        study: Whose data it shows, so that it says whether they are simulated; None for timings and the like.
        height: CSS pixels.

    Lab: part2_load_data.
    """
    layout = _layout(title, height, study is not None and study.simulated)
    layout["xaxis"] |= {"title": x}
    layout["yaxis"] |= {"title": y}
    layout["colorway"] = LINES
    return go.Figure(layout=layout)


def bars(values, title, unit, *, study=None, colours=ACCENT, text=".3~s"):
    """Horizontal bars, in the order given, with their values written on them.

    Args:
        values: pandas Series, name → value; or DataFrame: each column a part, stacked.
        title: Title of the figure.
        unit: Of the values, for the axis.
        study: As in `figure`.
        colours: One colour, or one for each bar; for a DataFrame one for each column.
        text: d3 format of the written values.

    Returns:
        A Plotly figure.

    Lab: part2_load_data.
    """
    stacked = isinstance(values, pd.DataFrame)
    fig = figure(title, unit, "", study=study, height=150 + 38 * len(values))
    parts = values if stacked else values.to_frame("")
    for i, name in enumerate(parts):
        fig.add_bar(
            x=parts[name].to_numpy(), y=parts.index.tolist(), orientation="h", name=name,
            marker={"color": (LINES if colours is ACCENT else colours)[i] if stacked else colours,
                    "line": {"color": INK, "width": 0.5}},
            texttemplate=f"%{{x:{text}}}", textposition="inside" if stacked else "auto",
            hovertemplate=f"%{{y}}<br>%{{x:{text}}} {unit}<extra>{name}</extra>",
        )  # fmt: skip
    fig.update_yaxes(autorange="reversed", gridcolor="white", title=None)
    fig.update_xaxes(rangemode="tozero")
    fig.update_layout(barmode="stack", bargap=0.25, showlegend=stacked, margin={"t": 60})
    if stacked:
        fig.update_layout(height=fig.layout.height + 50, margin={"b": 90}, legend={"traceorder": "normal"})
    return fig


def calendar(day, values, season, start, taken, *, study, title="A window", unit="NDVI"):
    """Irregular images above, the steps of a window below: which image each step took, and which steps stay empty.

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
        ("taken", inside & chosen, "circle", LINES[0]),
        ("not taken", inside & ~chosen, "circle-open", LINES[1]),
        ("outside the window", ~inside, "x-thin-open", "#9aa5ad"),
    )
    for name, mask, symbol, colour in kinds:
        if mask.any():
            fig.add_scatter(
                x=since[mask], y=np.asarray(values)[mask].round(4), mode="markers", name=name, row=1, col=1,
                marker={"symbol": symbol, "size": 9, "color": colour, "line": {"width": 2, "color": colour}},
                hovertemplate=f"day %{{x}}<br>{unit} %{{y:.2f}}<extra>{name}</extra>",
            )  # fmt: skip
    step = season.step_days
    for name, steps, colour in (
        ("step with an image", np.flatnonzero(taken >= 0), LINES[0]),
        ("empty step", np.flatnonzero(taken < 0), "white"),
    ):
        fig.add_bar(
            x=steps * step + step / 2, y=np.ones(len(steps)), width=step * 0.92, name=name, row=2, col=1,
            customdata=steps, marker={"color": colour, "line": {"color": INK, "width": 1}},
            hovertemplate=f"step %{{customdata}}<extra>{name}</extra>",
        )  # fmt: skip
    layout = _layout(title, 430, study.simulated)
    ticks = np.arange(0, season.window_days + 1, step * max(1, season.steps // 12))
    grid = layout["xaxis"] | {"tickvals": ticks, "range": [-step, season.window_days + step]}
    layout |= {"xaxis": grid, "xaxis2": grid | {"title": "days from the window's start"}}
    layout["yaxis2"] = layout["yaxis"] | {"showticklabels": False, "range": [0, 1.15], "title": "steps", "ticks": ""}
    layout["yaxis"] = layout["yaxis"] | {"title": unit}
    layout |= {"barmode": "overlay", "margin": layout["margin"] | {"t": 60, "b": 95}}
    return fig.update_layout(layout)


def spreads(panels, names, *, study, title="How each band spreads"):
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
    layout = _layout(title, 130 + 210 * len(panels), study.simulated)
    for row in range(2, len(panels) + 1):
        layout[f"yaxis{row}"], layout[f"xaxis{row}"] = layout["yaxis"], layout["xaxis"]
    layout["annotations"] = [*fig.layout.annotations, *layout["annotations"]]
    return fig.update_layout(layout)


def verdicts(day, scl, bands, ends, classes, *, study, title="What a window that ends here is called"):
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
    values, unit = _quantity(np.asarray(bands), study.bands, "ndvi")
    dates = np.array([_date(d) for d in np.asarray(day).tolist()], object)
    for value in np.unique(scl).tolist():
        of_class = np.asarray(scl) == value
        name = sentinel2.SCL[value].name
        fig.add_scatter(
            x=dates[of_class], y=values[of_class].round(4), mode="markers", name=f"{value} {name}", row=1, col=1,
            marker={"symbol": SCL_SYMBOLS[value], "color": SCL_INK[value], "size": 8,
                    "line": {"width": 1.5, "color": SCL_INK[value]}},
            hovertemplate=f"%{{x|%-d %B %Y}}<br>{unit} %{{y:.3f}}<br>SCL {value} {name}<extra></extra>",
        )  # fmt: skip
    ends, classes = np.asarray(ends), np.asarray(classes)
    width = int(ends[1] - ends[0]) * 86_400_000  # ms
    hatch = ("", "/", "x", "\\", ".", "+", "-")
    for i, k in enumerate(np.unique(classes).tolist()):
        mine = ends[classes == k]
        fig.add_bar(
            x=[_date(d) for d in mine.tolist()], y=np.ones(len(mine)), width=width, row=2, col=1,
            name=f"window ends here: {study.legend.names()[k]}",
            marker={"color": study.legend.colours[k], "line": {"width": 0},
                    "pattern": {"shape": hatch[i % len(hatch)], "fgcolor": INK, "size": 6, "solidity": 0.2}},
            hovertemplate=f"%{{x|%-d %B}}<extra>{study.legend.names()[k]}</extra>",
        )  # fmt: skip
    layout = _layout(title, 470, study.simulated)
    layout["xaxis2"] = layout["xaxis"] | {"title": "date"}
    layout["yaxis2"] = layout["yaxis"] | {"showticklabels": False, "range": [0, 1], "title": "class", "ticks": ""}
    layout["yaxis"] = layout["yaxis"] | {"title": unit}
    layout |= {"barmode": "overlay", "margin": layout["margin"] | {"t": 60, "b": 110}}
    return fig.update_layout(layout)


# -- the look of Plotly figures ------------------------------------------------------------------------------------


def _layout(title, height, simulated):
    axis = {"gridcolor": GRID, "zerolinecolor": GRID, "linecolor": INK, "ticks": "outside", "tickcolor": GRID}
    layout = {
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
        stamp = {"text": f"<i>{SIMULATED}</i>", "xref": "paper", "yref": "paper", "x": 1, "y": 1, "xanchor": "right",
                 "yanchor": "bottom", "showarrow": False, "font": {"color": "#5a6872"}}  # fmt: skip
        layout["annotations"].append(stamp)
    return layout


def _menu(buttons):
    return {
        "buttons": buttons, "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom", "direction": "down",
        "bgcolor": "white", "bordercolor": GRID, "font": {"size": 12}, "showactive": True,
    }  # fmt: skip


# -- showing -------------------------------------------------------------------------------------------------------


def show(thing, alt):
    """Display a figure or a table, with a text for readers who cannot see it.

    In a notebook (Jupyter, Colab, Databricks) a Plotly figure appears as usual. While the book is built
    (``ARSET_BOOK=1``) it becomes plain HTML that works with no kernel and no network: the page loads the book's own
    copy of Plotly once. A matplotlib figure becomes a picture, a pandas table one whose columns sort when clicked.

    Args:
        thing: A Plotly figure, a matplotlib figure or a pandas table.
        alt: What it shows, in a sentence.

    Lab: part1_build_dataset.
    """
    from IPython.display import HTML, display

    if isinstance(thing, go.Figure) and not _in_book():
        thing.update_layout(meta={"alt": alt})
        display(thing)
    else:
        display(HTML(_loader(thing) + _html(thing, alt)))


def knob(draw, alt, **choice):
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
    options = options if isinstance(options, dict) else {str(v): v for v in options}
    if not _in_book():
        import ipywidgets

        menu = ipywidgets.Dropdown(options=list(options.items()), description=name)
        ipywidgets.interact(lambda value: show(draw(**{name: value}), alt), value=menu)
        return
    figures = {label: draw(**{name: value}) for label, value in options.items()}
    parts = [
        f'<div class="arset-choice"{" hidden" if i else ""}>{_html(fig, f"{alt} {name}: {label}.")}</div>'
        for i, (label, fig) in enumerate(figures.items())
    ]
    picks = "".join(f"<option>{html.escape(label)}</option>" for label in figures)
    key = f"arset-knob-{next(_figure_numbers)}"
    script = _SWITCH.replace("KEY", key)
    display(
        HTML(
            f"{_loader(next(iter(figures.values())))}"
            f'<div class="arset-knob" id="{key}"><label>{html.escape(name)} <select>{picks}</select></label>'
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
    const order = (a, b) => isNaN(value(a)) ? value(a).localeCompare(value(b)) : value(a) - value(b);
    const body = table.tBodies[0];
    [...body.rows].sort((a, b) => (up ? 1 : -1) * order(a, b)).forEach((row) => body.append(row));
  }));
})();
"""


def _in_book():
    return os.environ.get("ARSET_BOOK") == "1"


def _loader(thing):
    """The tag that loads Plotly, the first time a page needs it."""
    if not isinstance(thing, go.Figure) or not _in_book() or getattr(_loader, "done", False):
        return ""
    _loader.done = True
    return f'<script src="{PLOTLY_IN_BOOK}"></script>'


def _html(thing, alt):
    if isinstance(thing, pd.DataFrame):
        return _table(thing, alt)
    said = html.escape(alt, quote=True)
    if isinstance(thing, go.Figure):
        height = thing.layout.height or 450
        body = thing.to_html(
            full_html=False, include_plotlyjs=False, include_mathjax=False, default_width="100%",
            default_height=f"{height}px", div_id=f"arset-figure-{next(_figure_numbers)}",
            config={"responsive": True, "displaylogo": False, "modeBarButtonsToRemove": ["select2d", "lasso2d"]},
        )  # fmt: skip
        head = f'<figure class="arset-figure" role="img" aria-label="{said}" style="max-width:{WIDTH}px">'
        return f"{head}{body}</figure>"
    return (
        f'<figure class="arset-figure" style="max-width:{WIDTH}px">'
        f'<img alt="{said}" src="{_picture(thing)}" style="width:100%;height:auto"></figure>'
    )


def _picture(fig):
    """A matplotlib figure as a data URI: WebP where that is smaller than PNG."""
    from PIL import Image

    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", dpi=160)
    picture = Image.open(buffer).convert("RGB")
    return min(_data_uri(picture, "png", optimize=True), _data_uri(picture, "webp", quality=88), key=len)


def _data_uri(picture, kind, **options):
    buffer = io.BytesIO()
    picture.save(buffer, format=kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _table(frame, alt):
    """A table whose columns sort when their head is clicked; numbers stand right, with their unit's decimals."""
    key = f"arset-table-{next(_figure_numbers)}"
    numeric = [_side(v) for v in frame.iloc[0]] if len(frame) else [""] * frame.shape[1]
    heads = "".join(
        f'<th scope="col"{side}><button type="button">{html.escape(str(c))}</button></th>'
        for c, side in zip(frame, numeric, strict=True)
    )
    rows = []
    for row in frame.itertuples(index=False):
        cells = "".join(
            f'<td data-value="{html.escape(str(v), quote=True)}"{_side(v)}>{html.escape(_said(v))}</td>' for v in row
        )
        rows.append(f"<tr>{cells}</tr>")
    return (
        f'<div class="arset-table" style="max-width:{WIDTH}px;max-height:24em;overflow:auto">'
        f'<table id="{key}"><caption>{html.escape(alt)}</caption><thead><tr>{heads}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div><script>{_SORT.replace('KEY', key)}</script>"
    )


def _side(value):
    return ' style="text-align:right"' if isinstance(value, int | float | np.number) else ""


def _said(value):
    if isinstance(value, float | np.floating):
        return f"{value:,.3f}" if abs(value) < 1 else f"{value:,.1f}"
    return str(value)


def _date(day):
    return date(1970, 1, 1) + timedelta(days=int(day))
