"""A box to sample, and whether its bounds make sense in its CRS."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pyproj import CRS, Transformer
from shapely import (
    Geometry,
    MultiPolygon,
    Polygon,
    box,
    get_coordinates,
    get_parts,
    is_valid,
    make_valid,
    polygons,
    segmentize,
    transform,
    union_all,
)  # fmt: skip

from arsetlib.study.settings import text

TILES = (-80, 84)  # latitudes between which Sentinel-2 has tiles
CONUS = (-125.0, 24.0, -66.5, 50.0)  # what the Cropland Data Layer covers: west, south, east, north
MARGIN = 8  # degrees that an area may lie outside the area of use of its CRS


@dataclass(frozen=True)
class Area:
    """A box to sample.

    Attributes:
        key: Short name, used in file names: letters, digits and ``_``.
        name: Language code → name to show.
        bounds: (west, south, east, north) in ``crs``.
        crs: Anything pyproj understands, e.g. ``"EPSG:5070"``.
        every: Take each ``every``-th label pixel along x and along y; 1 takes all of them.
    """

    key: str
    name: dict[str, str]
    bounds: tuple[float, float, float, float]
    crs: str
    every: int = 1

    def title(self) -> str:
        """Its name in the reader's language, else the English one, else any; its key where it has none."""
        return text(self.name) if self.name else self.key

    def outline(self, crs: str = "EPSG:4326", spacing: float = 1000.0) -> Polygon | MultiPolygon:
        """The box's whole outline in another CRS, as a polygon in x, y (longitude, latitude) order.

        In longitude and latitude, an area across 180° is two polygons, one on either side.

        A straight edge in one projection is a curve in another, so reprojecting two corners only, as is often
        done, cuts off or adds land. Here points are first set along each edge, ``spacing`` units of the area's
        own CRS apart (metres for a projected one, at most 400 points an edge).
        """
        return outlines([self.bounds], self.crs, crs, spacing)[0]


def outlines(
    bounds: Sequence[Sequence[float]], own_crs: str, crs: str = "EPSG:4326", spacing: float = 1000.0
) -> np.ndarray:
    """The outlines of many boxes of one CRS in another, each as ``Area.outline`` gives it; (N,) of geometries.

    Args:
        bounds: (N, 4) west, south, east, north.
        own_crs: Of the bounds.
        crs: Of the outlines.
        spacing: As in ``Area.outline``.
    """
    west, south, east, north = np.asarray(bounds, float).T
    corners = np.stack([np.stack(c, -1) for c in ((west, south), (east, south), (east, north), (west, north))], 1)
    longest = np.maximum(east - west, north - south)
    steps = np.minimum(np.maximum(spacing, longest / 400), longest) if CRS(own_crs).is_projected else longest / 100
    dense = segmentize(polygons(corners), steps)
    change = Transformer.from_crs(own_crs, crs, always_xy=True)
    ground = transform(dense, lambda p: np.column_stack(change.transform(p[:, 0], p[:, 1])))
    if not CRS(crs).is_geographic:
        return ground
    points, owner = get_coordinates(ground, return_index=True)
    with np.errstate(invalid="ignore"):  # a point that has no place in the other CRS is infinite
        jump = (np.abs(np.diff(points[:, 0])) > 180) & (np.diff(owner) == 0)
    beyond = owner[~(np.abs(points[:, 0]) <= 180)]
    for i in {*beyond.tolist(), *owner[1:][jump].tolist(), *np.flatnonzero(~is_valid(ground)).tolist()}:
        if np.isfinite(get_coordinates(ground[i])[:, 0]).all():
            ground[i] = across_180(ground[i])
    return ground


def across_180(ground: Geometry) -> Polygon | MultiPolygon:
    """A polygon in longitude and latitude with its parts beyond ±180° on the other side, where they lie on Earth.

    Two neighbouring vertices more than 180° apart are taken the short way. Nothing else changes; what has no area is
    left out.
    """
    parts = [p for p in get_parts(get_parts(ground)) if isinstance(p, Polygon) and not p.is_empty]
    turned = [_the_short_way(part) for part in parts]
    if all(p.bounds[0] >= -180 and p.bounds[2] <= 180 for p in turned):
        return parts[0] if len(parts) == 1 and turned == parts else _polygons(union_all(turned))
    lies = []
    for part in turned:
        for turn in (-360, 0, 360):
            cut = part.intersection(box(turn - 180, -90, turn + 180, 90))
            lies.append(transform(cut, lambda p, turn=turn: p - [turn, 0]))
    return _polygons(union_all(lies))


def _the_short_way(part: Polygon) -> Geometry:
    rings: list[np.ndarray] = []
    for ring in (part.exterior, *part.interiors):
        points = np.asarray(ring.coords)[:, :2].copy()
        if np.any(np.abs(np.diff(points[:, 0])) > 180):
            points[:, 0] = np.unwrap(points[:, 0], period=360)
        if rings:  # a hole lies within its ring
            points[:, 0] += 360 * np.round((rings[0][:, 0].mean() - points[:, 0].mean()) / 360)
        rings.append(points)
    return make_valid(Polygon(rings[0], rings[1:]))


def _polygons(ground: Geometry) -> Polygon | MultiPolygon:
    """Without the points and lines that cutting leaves."""
    parts = [p for p in getattr(ground, "geoms", [ground]) if p.geom_type in ("Polygon", "MultiPolygon") and p.area]
    return union_all(parts) if parts else Polygon()


def misplaced(bounds: tuple[float, float, float, float], crs: CRS) -> str:
    """Why bounds are implausible in a CRS, in words; empty where they are not."""
    west, south, east, north = bounds
    if crs.is_geographic:
        if max(abs(west), abs(east)) > 180 or max(abs(south), abs(north)) > 90:
            swapped = max(abs(west), abs(east)) <= 90 and max(abs(south), abs(north)) <= 180
            metres = max(map(abs, bounds)) > 360
            what = "have latitude first; write [west, south, east, north]" if swapped else "are no degrees"
            hint = ". If they are metres, write the crs they are in, such as 'EPSG:32636'" if metres else ""
            return f"{what}: longitude goes from -180 to 180, latitude from -90 to 90{hint}"
        return ""
    if max(map(abs, bounds)) <= 180 and max(east - west, north - south) < 60:
        turned = max(abs(south), abs(north)) > 90
        first = ", and the bounds as [west, south, east, north]: latitude stands first" if turned else ""
        return f"look like degrees, and this crs counts in metres. Write crs = 'EPSG:4326' for degrees{first}"
    if not _lies(bounds, crs):
        turned = _lies((south, west, north, east), crs)
        hint = " x and y seem swapped: write [west, south, east, north]." if turned else ""
        return f"lie far from where this crs is used ({_use(crs)}).{hint} Check bounds and crs"
    return ""


def uncovered(area: Area, cdl: bool, labels_crs: str | None) -> str:
    """Why no scenes or labels can be had for an area, in words; empty where they may be.

    Args:
        area: Whose bounds are plausible in its CRS.
        cdl: Its labels are the Cropland Data Layer.
        labels_crs: That the study states for its labels; one in degrees is not compared.
    """
    west, south, east, north = area.outline().bounds
    at = f"lies at longitude {west:.2f} to {east:.2f}, latitude {south:.2f} to {north:.2f}"
    swapped = " Longitude and latitude seem swapped: bounds are [west, south, east, north]."
    if south < TILES[0] or north > TILES[1]:
        return f"{at}. The tiles of Sentinel-2 end at latitude {TILES[0]} and {TILES[1]}. Check bounds and crs"
    w, s, e, n = CONUS
    if cdl and (east < w or west > e or north < s or south > n):
        hint = " Longitudes in the United States are negative." if -east < e and -west > w else ""
        hint = swapped if w < south < e and s < west < n else hint
        return (
            f"{at}. The Cropland Data Layer covers only the contiguous United States.{hint} Check bounds and crs, or "
            "name labels of your own: [labels] kind = 'raster' or 'vector'"
        )
    crs = CRS(labels_crs) if labels_crs else None
    use = crs.area_of_use if crs is not None and crs.is_projected else None
    if crs is not None and use is not None:
        x, y = (west + east) / 2, (south + north) / 2

        def inside(lon, lat):
            width = (use.east - use.west) % 360 or 360
            return (lon - use.west + MARGIN) % 360 <= width + 2 * MARGIN and (
                crs.utm_zone is not None or use.south - MARGIN <= lat <= use.north + MARGIN
            )

        if not inside(x, y):
            hint = swapped if -90 <= x <= 90 and inside(y, x) else ""
            return (
                f"{at}, far from where [labels] crs = {labels_crs!r} is used ({_use(crs)}).{hint} Check both; without "
                "[labels] crs, it is the UTM zone of the areas"
            )
    return ""


def _lies(bounds: tuple[float, float, float, float], crs: CRS) -> bool:
    """Whether bounds are on Earth and not far from the area of use of their CRS, where that is known."""
    x, y = np.meshgrid(np.linspace(bounds[0], bounds[2], 3), np.linspace(bounds[1], bounds[3], 3))
    lon, lat = Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform(x, y)
    if not (np.isfinite(lon).all() and np.isfinite(lat).all()):
        return False
    use = crs.area_of_use
    if use is None:
        return True
    utm = crs.utm_zone is not None  # either hemisphere's zone is used on the other side of the equator, too
    south, north = (-80, 84) if utm else (use.south - MARGIN, use.north + MARGIN)
    width = (use.east - use.west) % 360 or 360
    across = (lon - use.west + MARGIN) % 360 <= min(width + 2 * MARGIN, 360)
    return bool(across.all() and (lat >= south).all() and (lat <= north).all())


def _use(crs: CRS) -> str:
    use = crs.area_of_use
    if use is None:
        return crs.name
    return f"longitude {use.west:g} to {use.east:g}, latitude {use.south:g} to {use.north:g}"
