"""Still maps (matplotlib): a scene, the labels of an area.

Lab: part1_build_dataset.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.patheffects import withStroke

from arsetlib import ground, sentinel2
from arsetlib.catalogue import Scene, Scenes
from arsetlib.figures.style import (
    EYE,
    INK,
    SIMULATED,
    STYLE,
    WIDTH,
    date_of,
    length_name,
    north_turn,
    rgb,
    round_length,
)
from arsetlib.labels import Labels
from arsetlib.maps.rasters import colours_in, read
from arsetlib.study import Area, Legend, Study
from arsetlib.translation import _, day_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from arsetlib.catalogue import Scene, Scenes
    from arsetlib.labels import Labels
    from arsetlib.study import Area, Legend, Study

# Bands shown as red, green and blue.
TRUE_COLOUR = ("red", "green", "blue")
FALSE_COLOUR = ("nir", "red", "green")  # vegetation is red
SWIR_COLOUR = ("nir", "swir16", "red")  # water is dark, vegetation orange


def chip(scene: Scene, area: Area, *combinations: Sequence[str], study: Study, size: int = EYE) -> Figure:
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
            map_furniture(ax, area, extent, study.simulated)
        fig.suptitle(f"{area.title()}, {day_text(date_of(scene.day), _('d MMMM y'))}", fontsize=12)
    return fig


def clear_view(scenes: Scenes, study: Study, year: int) -> tuple[Scene, Area]:
    """A scene for a picture: in mid season, over as many areas as possible, with the least cloud.

    Mid season is the 60 days around the last day on which a window may start.

    Args:
        scenes: `Scenes` of the study.
        study: Its areas and its season.
        year: Of the picture.

    Returns:
        scene: A `Scene`.
        view: An `Area` around the study's areas that lie wholly on the scene.

    Raises:
        ValueError: No scene of that time covers a whole area.

    Lab: part1_build_dataset.
    """
    middle = int(np.datetime64(f"{year}-01-01").astype(int)) + study.season.last_day - 1
    season = [s for s in scenes if abs(s.day - middle) <= 30]
    covered = {s.id: [a for a in study.areas if s.footprint.covers(a.outline())] for s in season}
    if not any(covered.values()):
        raise ValueError(
            f"None of the {len(season)} scenes within 30 days of {date_of(middle):%-d %B %Y} covers a whole area. "
            "Take a larger max_cloud, a smaller area, or another year."
        )
    scene = max(season, key=lambda s: (len(covered[s.id]), -(s.cloud or 0)))
    areas = [a for a in covered[scene.id] if a.crs == covered[scene.id][0].crs]
    bounds = np.array([a.bounds for a in areas])
    return scene, replace(areas[0], name=study.name, bounds=(*bounds[:, :2].min(0), *bounds[:, 2:].max(0)))


def labels_map(
    labels: Labels, area: Area, *, study: Study, legend: Legend | None = None, size: int = EYE, most: int = 12
) -> Figure:
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
    names, colours, index = colours_in(codes, study, legend)
    picture = rgb(colours)[index]
    present, counts = np.unique(index, return_counts=True)
    order = present[np.argsort(-counts)]
    share = dict(zip(present, counts / counts.sum(), strict=True))
    with rc_context(STYLE):
        fig, (ax, beside) = _panels((0.66, 0.34), codes.shape[0] / codes.shape[1])
        ax.imshow(picture, extent=extent, interpolation="nearest")
        ax.set_title(_("{area}, labels of {year}").format(area=area.title(), year=labels.year))
        map_furniture(ax, area, extent, study.simulated)
        handles = [
            Patch(facecolor=colours[i], edgecolor=INK, linewidth=0.4, label=f"{names[i]} {_percent(share[i])}")
            for i in order[:most]
        ]
        if len(order) > most:
            rest = sum(share[i] for i in order[most:])
            handles.append(
                Patch(
                    facecolor="none",
                    label=_("and {number} more").format(number=len(order) - most) + f" {_percent(rest)}",
                )
            )
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


def map_furniture(ax: Axes, area: Area, extent: Sequence[float], simulated: bool) -> None:
    """Scale bar, north arrow, no ticks; and a stamp where the picture is simulated."""
    west, east, south, north = extent
    ax.set_xticks([])
    ax.set_yticks([])
    metres = ground.metres_per_unit(area)
    length = round_length((east - west) * metres / 4)
    wide, tall = east - west, north - south
    step = max(wide, tall) * 0.03
    box = {"boxstyle": "round,pad=0.25", "facecolor": "white", "edgecolor": "none", "alpha": 0.85}
    x0, y0 = west + step, south + step
    ax.add_patch(
        Rectangle((x0 - step * 0.4, y0 - step * 0.4), length / metres + step * 0.8, step * 2.6, fc="white", alpha=0.85)
    )
    ax.add_patch(Rectangle((x0, y0), length / metres, step * 0.4, fc=INK))
    ax.text(x0 + length / metres / 2, y0 + step * 0.6, length_name(length), ha="center", va="bottom", fontsize=8)
    turn = math.radians(north_turn(area))
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
            0.02,
            0.97,
            _(SIMULATED),
            transform=ax.transAxes,
            ha="left",
            va="top",
            fontsize=9,
            fontstyle="italic",
            bbox=box,
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
    known = {TRUE_COLOUR: _("True colour"), FALSE_COLOUR: _("False colour"), SWIR_COLOUR: _("Short-wave infrared")}
    return known.get(tuple(bands), _("Bands"))


def _percent(share):
    return _("(under 1 %)") if share < 0.01 else f"({100 * share:.0f} %)"
