"""Metres on the ground: which coordinate systems (CRS) a label grid may have, and the UTM zone of a place.

A projected CRS may have metres as its unit and still be wrong: one metre of Web Mercator at 60° N is half a metre on
the ground, so 100 ha are counted as 400 ha. Areas in hectares, sides of blocks and ``every`` are counted in pixels of
the label grid. So the pixels of a label grid must have the stated size on the ground.

Lab: part1_build_dataset.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import shapely
from pyproj import CRS, Geod, Transformer

from arsetlib.errors import ArsetError
from arsetlib.study import Area

AREA_ERROR = 0.01  # largest relative error of a pixel's area in a label grid
LENGTH_ERROR = 0.10  # and of its sides: an equal-area CRS has correct areas, but stretches sides at its edges
STEP = 1000.0  # m, of the square that is measured
_GEOD = Geod(ellps="WGS84")


class GridError(ArsetError, ValueError):
    """One metre of a coordinate system is not one metre on the ground in the study's areas."""


def utm_zone(areas: Iterable[Area]) -> CRS:
    """The UTM zone, on WGS 84, that contains the middle of some areas.

    Raises:
        GridError: The middle is north of 84° N or south of 80° S, where UTM ends.
    """
    west, south, east, north = shapely.total_bounds([a.outline() for a in areas])
    lon, lat = (west + east) / 2, (south + north) / 2
    if not -80 <= lat <= 84:
        raise GridError(f"UTM ends at 84° N and 80° S, and the areas lie at latitude {lat:.1f}. Set [labels] crs.")
    zone = min(int((lon + 180) // 6) + 1, 60)
    return CRS.from_epsg((32600 if lat >= 0 else 32700) + zone)


def true_size(crs: CRS, area: Area) -> tuple[float, float, float]:
    """Size on the ground divided by size on the grid, of areas and of lengths along x and along y; 1 is no error.

    Measured on the ellipsoid (Karney's geodesics) at nine places of the area; each ratio is the one farthest from 1.
    """
    west, south, east, north = area.outline(crs.to_wkt()).bounds
    x, y = (v.ravel() for v in np.meshgrid(np.linspace(west, east, 3), np.linspace(south, north, 3)))
    half = STEP / 2
    to_degrees = Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
    corners = [to_degrees.transform(x + dx, y + dy) for dx, dy in ((half, 0), (0, half), (-half, 0), (0, -half))]
    if not np.isfinite(np.asarray(corners)).all():
        return math.inf, math.inf, math.inf
    (e, n, w, s), sizes = corners, []
    along_x = _GEOD.inv(*w, *e)[2] / STEP
    along_y = _GEOD.inv(*s, *n)[2] / STEP
    for i in range(len(x)):
        ground, _ = _GEOD.polygon_area_perimeter([c[0][i] for c in corners], [c[1][i] for c in corners])
        sizes.append(abs(ground) / (STEP * STEP / 2))
    sizes = np.asarray(sizes)
    far = [v[np.abs(np.log(v)).argmax()] for v in (sizes, along_x, along_y)]
    return tuple(float(v) for v in far)


def pixel_side(crs: CRS, x: float, y: float, width: float, height: float) -> float:
    """Side, m, of a square as large as the pixel at (x, y) of a grid in any CRS."""
    left, right, low, high = x - width / 2, x + width / 2, y - height / 2, y + height / 2
    xs, ys = [left, right, right, left], [low, low, high, high]
    lon, lat = Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform(xs, ys)
    return math.sqrt(abs(_GEOD.polygon_area_perimeter(lon, lat)[0]))


def crs_name(crs: CRS) -> str:
    """A CRS for a message: its EPSG code, else its name."""
    return f"EPSG:{crs.to_epsg()}" if crs.to_epsg() else crs.name


def metres_per_unit(area: Area) -> float:
    """Metres on the ground of one unit of an area's CRS, along x, at the middle of the area: for a scale bar."""
    west, south, east, north = area.bounds
    to_degrees = Transformer.from_crs(area.crs, "EPSG:4326", always_xy=True)
    lon, lat = to_degrees.transform((west, east), [(south + north) / 2] * 2)
    return _GEOD.inv(lon[0], lat[0], lon[1], lat[1])[2] / (east - west)


def fault(crs: CRS, areas: Iterable[Area]) -> str:
    """Why one metre of a CRS is not one metre on the ground in some areas; an empty text where it is.

    Args:
        crs: Of a label grid.
        areas: Where it is used.
    """
    if crs.is_geographic:
        return "its unit is degrees"
    if not crs.is_projected:
        return "it is not a projected CRS"
    unit = crs.axis_info[0]
    if unit.unit_conversion_factor != 1:
        return f"its unit is the {unit.unit_name}, not the metre"
    for area in areas:
        size, *sides = true_size(crs, area)
        if not math.isfinite(size):
            return f"it does not reach area {area.key!r}"
        if abs(size - 1) > AREA_ERROR:
            return f"100 ha on its grid are {100 * size:.1f} ha on the ground in area {area.key!r}"
        worst = max(sides, key=lambda v: abs(v - 1))
        if abs(worst - 1) > LENGTH_ERROR:
            return f"100 m on its grid are up to {100 * worst:.0f} m on the ground in area {area.key!r}"
    return ""


def check(crs: CRS, areas: Iterable[Area], what: str) -> None:
    """Refuse a CRS for a label grid if one metre of it is not one metre on the ground.

    Args:
        crs: Of the grid.
        areas: Of the study.
        what: Whose CRS it is, for the message.

    Raises:
        GridError: With the reason and the UTM zone of the areas.
    """
    areas = list(areas)
    if reason := fault(crs, areas):
        raise GridError(f"{what} cannot be the CRS of a label grid: {reason}. {_suggestion(areas)}")


def grid_crs(crs: str | None, areas: Iterable[Area]) -> tuple[CRS, str]:
    """The CRS of a new label grid, and the reason in words.

    Args:
        crs: From the study file. None, or one in degrees, takes the UTM zone of the areas.
        areas: Of the study.

    Raises:
        GridError: One metre of it is not one metre on the ground, or the areas are too far apart for one UTM zone.
    """
    areas = list(areas)
    if crs is not None and not CRS(crs).is_geographic:
        check(CRS(crs), areas, f"[labels] crs = {crs!r}")
        return CRS(crs), "as [labels] crs says"
    zone = utm_zone(areas)
    if reason := fault(zone, areas):
        raise GridError(
            f"The areas are too far apart for one UTM zone ({reason} in {zone.to_string()}). Set [labels] crs to an "
            "equal-area CRS of the region, such as 'EPSG:3035' in Europe or 'EPSG:5070' in the United States, "
            "or make a study of each part."
        )
    why = "the UTM zone of the areas"
    return zone, why if crs is None else f"{why}, since [labels] crs = {crs!r} is in degrees"


def _suggestion(areas: list[Area]) -> str:
    try:
        zone = utm_zone(areas)
    except GridError:
        return "Take an equal-area CRS of the region in metres."
    if fault(zone, areas):
        return "Take an equal-area CRS of the region in metres."
    return f"Take the UTM zone of the areas, '{zone.to_string()}', or an equal-area CRS of the region in metres."
