"""Interactive maps (Plotly) of scenes, areas and labels.

Lab: part1_build_dataset.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
import shapely
from pyproj import CRS, Transformer

from arsetlib.catalogue import Scenes
from arsetlib.figures.style import (
    DASHES,
    EYE,
    INK,
    LINES,
    add_menu,
    date_of,
    fitted,
    north_turn,
    palette_png,
    plotly_layout,
)
from arsetlib.labels import Labels
from arsetlib.maps.rasters import colours_in, read
from arsetlib.study import Area, Study
from arsetlib.translation import _, ngettext
from arsetlib.wording import day


def footprints(
    scenes: Scenes, areas: Sequence[Area], *, study: Study, labels: Labels | None = None, most: int = 9
) -> go.Figure:
    """Map of where the scenes, the areas and the labels lie, to zoom, hover and switch.

    Args:
        scenes: `Scenes`; outlines that are alike (same tile, same 10 km) are drawn once and counted.
        areas: The `Area`s, all in one CRS.
        study: Whose picture it is.
        labels: `Labels` of one year, drawn on the areas in the colours of the Cropland Data Layer, or of the study's
            legend where the codes are its own; hovering names them.
        most: Name so many label classes in the legend, the largest first.

    Returns:
        A Plotly figure; axes are km of the areas' projection.

    Lab: part1_build_dataset.
    """
    crs = areas[0].crs
    fig = go.Figure()
    _draw_footprints(fig, scenes, crs)
    if labels is not None:
        _draw_labels(fig, labels, areas, most, study)
    for area in areas:
        x, y = np.asarray(area.outline(crs).exterior.coords).T / 1000
        name = area.title()
        fig.add_scatter(
            x=x, y=y, mode="lines", line={"color": INK, "width": 1.5}, name=_("areas"), legendgroup="areas",
            legendrank=1, showlegend=area is areas[0], hovertemplate=f"{name}<extra>{_('area')}</extra>",
        )  # fmt: skip
    boxes = [np.array(a.bounds)[[0, 2, 1, 3]] / 1000 for a in areas]
    stacked = np.array(boxes)
    around = np.concatenate([f(stacked[:, [i]], axis=0) for i, f in enumerate((np.min, np.max, np.min, np.max))])
    views = [(_("All areas"), around), *((a.title(), b) for a, b in zip(areas, boxes, strict=True))]
    views.append((_("All scenes"), _bounds_km(scenes, crs) if len(scenes) else around))
    title = _("Scenes, areas and labels")
    layout = plotly_layout(title, 560, study.simulated)
    layout["xaxis"] |= {
        "title": _("east in {crs}, km").format(crs=CRS(crs).to_string()),
        "range": _padded(around[:2]),
        "showgrid": False,
        "tickformat": ".1~f",
    }
    layout["yaxis"] |= {
        "title": _("north, km"),
        "range": _padded(around[2:]),
        "showgrid": False,
        "scaleanchor": "x",
        "tickformat": ".1~f",
        "constrain": "domain",  # else the view is as wide as the figure, and shows the neighbours of a narrow area, too
    }
    layout["xaxis"]["constrain"] = "domain"
    add_menu(layout, [
        {"label": label, "method": "relayout",
         "args": [{"xaxis.range": _padded(box[:2]), "yaxis.range": _padded(box[2:]),
                   "title.text": f"{title}: {label}"}]}
        for label, box in views
    ])  # fmt: skip
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
    tiles = list(dict.fromkeys(tile for tile, __ in largest))
    for tile in tiles:
        x, y, text = [], [], []
        for key in (k for k in largest if k[0] == tile):
            same = alike[key]
            ring = np.asarray(shapely.segmentize(same[0].footprint, 0.08).exterior.coords)
            gx, gy = to_grid.transform(ring[:, 0], ring[:, 1])
            days = sorted(s.day for s in same)
            said = ngettext("{n} scene, {first} to {last}", "{n} scenes, {first} to {last}", len(same)).format(
                n=len(same), first=day(date_of(days[0])), last=day(date_of(days[-1]))
            )
            clouds = [s.cloud for s in same if s.cloud is not None]
            if clouds:
                said += "<br>" + _("median cloud {percent} %").format(percent=f"{np.median(clouds):.0f}")
            x += [*np.round(gx / 1000, 2), None]
            y += [*np.round(gy / 1000, 2), None]
            text += [said] * len(gx) + [""]
        i, hover = tiles.index(tile), "" if tile == "scenes" else f"{tile}<br>"
        fig.add_scatter(
            x=x, y=y, text=text, mode="lines", legendrank=2,
            name=_("scenes {tile}").format(tile=tile) if tile != "scenes" else _("scenes"),
            line={"color": LINES[i % len(LINES)], "dash": DASHES[i % len(DASHES)], "width": 2},
            hovertemplate=f"{hover}%{{text}}<extra>{_('scenes')}</extra>",
        )  # fmt: skip


def _draw_labels(fig, labels, areas, most, study):
    """Palette pictures as images; and under them few invisible cells that carry the names for hovering."""
    cells = 20_000 // len(areas)
    counts = np.zeros(256, np.int64)
    for area in areas:
        codes, extent = read(labels.path, area, EYE, "mode")
        names, colours, codes = colours_in(codes, study)
        counts += np.bincount(codes.ravel(), minlength=256)
        west, east, south, north = (v / 1000 for v in extent)
        fig.add_layout_image(
            source=palette_png(codes, colours), xref="x", yref="y", x=west, y=north,
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
                x=[None], y=[None], mode="markers", name=fitted(names[code]), hoverinfo="skip",
                marker={"symbol": "square", "size": 11, "color": colours[code],
                        "line": {"width": 0.5, "color": INK}},
            )  # fmt: skip


def _bounds_km(scenes, crs):
    boxes = shapely.bounds(shapely.unary_union([s.footprint for s in scenes]))
    to_grid = Transformer.from_crs("EPSG:4326", crs, always_xy=True)
    west, south, east, north = to_grid.transform_bounds(*boxes)
    return np.array([west, east, south, north]) / 1000


def _padded(span):
    pad = (span[1] - span[0]) * 0.06
    return [float(span[0] - pad), float(span[1] + pad)]


def _north_in_plotly(fig, area):
    turn = math.radians(north_turn(area))
    fig.add_annotation(
        text="<b>N</b>", xref="paper", yref="paper", x=0.975, y=0.93, ax=-28 * math.sin(turn),
        ay=28 * math.cos(turn), arrowhead=2, arrowcolor=INK, arrowwidth=1.5, bgcolor="rgba(255,255,255,0.8)",
    )  # fmt: skip
