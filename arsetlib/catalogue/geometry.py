"""Where an item says that it lies: footprint, CRS, pixel grid.

What cannot be read is an ``Unusable`` error that states the value.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache

import numpy as np
import shapely
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError
from shapely.errors import ShapelyError
from shapely.geometry import box, shape

from arsetlib.study import across_180

TALL, WIDE = 10, 30  # degrees; no tile has such a footprint
TOO_LARGE = 3  # a footprint more than so many times as large as its tile is wrong


class Unusable(Exception):
    """An item cannot be used; the message follows its id."""


def read_footprint(geometry: dict, tile: shapely.Geometry | None) -> tuple[shapely.Geometry, bool]:
    """Where an item has data, longitude and latitude, and whether it had to be corrected.

    Args:
        geometry: Of the item, GeoJSON.
        tile: Outline of its tile, where that is known.

    Raises:
        Unusable: No geometry, or one that cannot be a footprint.
    """
    stated, valid = _read(geometry)
    points = shapely.get_coordinates(stated)
    crosses = (np.abs(np.diff(points[:, 0])) > 180).any()
    beyond = np.abs(points[:, 0]).max() > 180
    moved = across_180(stated if crosses else valid) if crosses or beyond else valid
    ground = shapely.unary_union([p for p in getattr(moved, "geoms", [moved]) if p.area])
    if tile is None:
        west, south, east, north = ground.bounds if ground.area else (-180, -90, 180, 90)
        east_of_0 = shapely.transform(ground, lambda p: np.column_stack([p[:, 0] % 360, p[:, 1]])).bounds
        if north - south > TALL or min(east - west, east_of_0[2] - east_of_0[0]) > WIDE:
            raise Unusable("has a footprint that goes around the Earth, and does not state where its pixels lie")
    elif not ground.area or ground.area > TOO_LARGE * tile.area:
        return tile, True
    return ground, moved is not valid and not ground.equals(valid)


def _read(geometry: dict) -> tuple[shapely.Geometry, shapely.Geometry]:
    """The geometry as stated, and a valid one."""
    kind = geometry.get("type")
    try:
        with np.errstate(invalid="ignore"):  # NaN among the points is refused below
            stated = shape(geometry)
        points = shapely.get_coordinates(stated)
        keep = stated.is_valid or not np.isfinite(points).all()
        valid = stated if keep else shapely.make_valid(stated)
    except (ShapelyError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:100]
        raise Unusable(f"has a geometry (type {kind!r}) that cannot be read: {reason}") from None
    if not len(points) or not np.isfinite(points).all() or not valid.area:
        raise Unusable(f"has a geometry (type {kind!r}) without any area; expected a polygon with data")
    if np.abs(points[:, 1]).max() > 90 or np.abs(points[:, 0]).max() > 540:
        worst = points[np.argmax(np.abs(points).max(1))].tolist()
        raise Unusable(f"has a geometry with the point {worst}; expected longitude, then latitude, in degrees")
    return stated, valid


def epsg_code(stated: dict) -> int | None:
    """EPSG code by any projection key of an item or asset."""
    for key in ("proj:code", "proj:epsg", "eo:epsg"):  # the last one until STAC 0.9
        value = stated.get(key)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, int | str) and not isinstance(value, bool):
            number = re.fullmatch(r"(?i)(?:EPSG:)?([0-9]{4,6})", str(value).strip())
            if number:
                return int(number[1])
    for key in ("proj:wkt2", "proj:projjson"):
        if stated.get(key):
            try:
                return CRS.from_user_input(stated[key]).to_epsg()
            except CRSError:
                return None
    return None


def pixel_grid(stated: dict) -> tuple[tuple[int, int], tuple[float, ...]]:
    """Rows and columns, and affine coefficients, of the grid that an item or asset states."""
    size = numbers(stated["proj:shape"], 2, "proj:shape")
    transform = numbers(stated["proj:transform"], 6, "proj:transform")
    if min(size) < 1 or transform[0] <= 0 or transform[4] >= 0 or transform[1] or transform[3]:
        raise Unusable(
            f"has proj:shape {stated['proj:shape']!r} and proj:transform {stated['proj:transform']!r}; "
            "expected rows, columns and a grid with north up"
        )
    return (int(size[0]), int(size[1])), transform


def numbers(stated: object, count: int, key: str) -> tuple[float, ...]:
    """The first ``count`` numbers of a list."""
    try:
        values = tuple(float(value) for value in stated[:count])
    except (TypeError, ValueError):
        values = ()
    if len(values) < count or not all(map(math.isfinite, values)):
        raise Unusable(f"has {key} {str(stated)[:80]!r}; expected {count} numbers")
    return values


@lru_cache
def to_tile(epsg: int) -> Transformer:
    """From longitude and latitude to the CRS of a tile."""
    return Transformer.from_crs(4326, epsg, always_xy=True)


@lru_cache(4096)
def lonlat(epsg: int, bounds: tuple) -> shapely.Geometry:
    """A rectangle in a tile's CRS as longitude and latitude."""
    change = to_tile(epsg).transform
    dense = shapely.segmentize(box(*bounds), max(bounds[2] - bounds[0], bounds[3] - bounds[1]) / 8)
    ground = shapely.transform(dense, lambda p: np.column_stack(change(p[:, 0], p[:, 1], direction="INVERSE")))
    if not np.isfinite(shapely.get_coordinates(ground)).all():
        raise Unusable(f"states that its grid {bounds} is in EPSG:{epsg}, where no such place exists")
    return across_180(ground)
