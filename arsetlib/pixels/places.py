"""Positions of points, checked: swapped, missing and zero coordinates and those of the wrong sign are refused.

Lab: part3_train_and_test.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import shapely
from pyproj import CRS, Proj, Transformer
from pyproj.exceptions import CRSError
from shapely import contains_xy, union_all

from arsetlib.pixels.columns import numbers, rows_of
from arsetlib.pixels.schema import PixelError
from arsetlib.study import Study

MARGIN = 6.0  # degrees that points may lie outside the area of use of their CRS: the width of a UTM zone
ALONE = 1.0  # degrees from the equator or the prime meridian to all points on a side of it
NEAR = 0.2  # degrees from a point with the other sign to the points among which it would lie
STRETCH = 1.25  # most by which a CRS may enlarge or shrink an area


def places(
    frame: pd.DataFrame, lon: str, lat: str, crs: str, study: Study | str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(P,) x and y in m, longitude and latitude in degrees; all lie in the region where points are expected."""
    try:
        parsed = CRS(crs)
    except CRSError as error:
        raise PixelError(f"Expected a CRS such as 'EPSG:32636', received {crs!r} ({error}).") from None
    if not parsed.is_projected or parsed.axis_info[0].unit_name not in ("metre", "meter"):
        raise PixelError(
            f"Expected a projected CRS in metres, so that blocks are in metres, received {crs}. Take the UTM zone."
        )
    if lon not in frame.columns and lat not in frame.columns and ".geo" in frame.columns:
        longitude, latitude = _earth_engine(frame[".geo"])
    else:
        longitude, latitude = numbers(frame, lon), numbers(frame, lat)
    _check_degrees(longitude, latitude, lon, lat)
    _check_expected(longitude, latitude, lon, lat, parsed, crs, study)
    _check_strays(longitude, latitude, lon, lat)
    some = np.linspace(0, len(longitude) - 1, min(len(longitude), 1000)).astype(int)
    stretch = np.asarray(Proj(parsed).get_factors(longitude[some], latitude[some]).areal_scale)
    wrong = ~((stretch < STRETCH) & (stretch > 1 / STRETCH))
    if wrong.any():
        raise PixelError(
            f"Expected a CRS whose metres are metres on the ground; {crs} makes areas {stretch[wrong][0]:.3g} times as "
            f"large at the points. Take the UTM zone, such as crs={utm(longitude, latitude)!r}."
        )
    to_crs = Transformer.from_crs("EPSG:4326", parsed, always_xy=True)
    x, y = (np.asarray(v) for v in to_crs.transform(longitude, latitude))
    wrong = ~np.isfinite(x) | ~np.isfinite(y)
    if wrong.any():
        raise PixelError(f"{crs} has no place for {rows_of(wrong)}. Take the UTM zone of the points as crs=….")
    return x, y, longitude, latitude


def _earth_engine(column: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Positions in the column that Earth Engine adds to its exports: GeoJSON points as text."""
    number = r"\[\s*([-+.\deE]+)\s*,\s*([-+.\deE]+)"
    text = column.astype(str)
    found = text.str.extract(number).apply(pd.to_numeric, errors="coerce")
    wrong = (found.isna().any(axis=1) | ~text.str.contains('"Point"', regex=False)).to_numpy()
    if wrong.any():
        raise PixelError(f"Column '.geo': expected GeoJSON points, received something else in {rows_of(wrong)}.")
    return found[0].to_numpy(np.float64), found[1].to_numpy(np.float64)


def _check_degrees(longitude: np.ndarray, latitude: np.ndarray, lon: str, lat: str) -> None:
    for name, value in ((lon, longitude), (lat, latitude)):
        wrong = ~np.isfinite(value)
        if wrong.any():
            raise PixelError(f"Column {name!r}: {wrong.sum()} rows have no position: {rows_of(wrong)}. Drop them.")
    far = (np.abs(longitude) > 360) | (np.abs(latitude) > 360)
    if far.any():
        raise PixelError(
            f"Columns {lon!r} and {lat!r}: expected degrees (WGS 84), received {longitude[far][0]:g}, "
            f"{latitude[far][0]:g} in {rows_of(far)}. If these are metres of a projection, turn them into degrees with "
            f"pyproj.Transformer.from_crs(yours, 'EPSG:4326', always_xy=True)."
        )
    wrong = np.abs(latitude) > 90
    if wrong.any():
        raise PixelError(
            f"Column {lat!r}: expected latitudes from -90 to 90, received {latitude[wrong][0]:g} in {rows_of(wrong)}. "
            f"Longitude and latitude seem to be swapped there."
        )
    wrong = np.abs(longitude) > 180
    if wrong.any():
        raise PixelError(
            f"Column {lon!r}: expected longitudes from -180 to 180, received {longitude[wrong][0]:g} in "
            f"{rows_of(wrong)}. Take 360 from those above 180."
        )
    wrong = (longitude == 0) & (latitude == 0)
    if wrong.any():
        raise PixelError(
            f"Columns {lon!r} and {lat!r}: 0, 0 in {rows_of(wrong)}; it lies in the sea and often stands for a "
            f"position that is missing. Drop these rows or give them their position."
        )


def _check_expected(longitude, latitude, lon: str, lat: str, parsed: CRS, crs: str, study: Study | str) -> None:
    """Points lie in the study's areas, or else where their CRS is used."""
    if isinstance(study, Study):
        areas = union_all([area.outline() for area in study.areas])

        def inside(x, y):
            return contains_xy(areas, x, y)

        where, spot = f"the areas of study {study.key!r}", areas.bounds
        hint = f"Add an area that holds them to the study, or drop them. They lie in {utm(longitude, latitude)}."
    elif parsed.area_of_use is not None:
        west, south, east, north = spot = parsed.area_of_use.bounds
        width = (east - west) % 360 or 360

        def inside(x, y):
            across = (x - west + MARGIN) % 360 <= width + 2 * MARGIN
            return (across | (width + 2 * MARGIN >= 360)) & (y >= south - MARGIN) & (y <= north + MARGIN)

        where = f"the region in which {crs} is used"
        hint = f"If the positions are right, take a CRS of their place, such as crs={utm(longitude, latitude)!r}."
    else:
        return
    wrong = ~inside(longitude, latitude)
    if not wrong.any():
        return
    x, y = longitude[wrong], latitude[wrong]
    likely = "."
    for words, fit in (
        (f"columns {lon!r} and {lat!r} are swapped", inside(y, x)),
        (f"{lon!r} has the wrong sign", inside(-x, y)),
        (f"{lat!r} has the wrong sign", inside(x, -y)),
    ):
        if fit.all():
            likely = f"; they would lie in it if {words}."
            break
    count = "All" if wrong.all() else f"{wrong.sum():,} of"
    raise PixelError(
        f"{count} {len(longitude):,} positions ({rows_of(wrong)}; the first is {lon!r} {x[0]:g}, {lat!r} {y[0]:g}) lie "
        f"outside {where} (longitude {spot[0]:.2f} to {spot[2]:.2f}, latitude {spot[1]:.2f} to {spot[3]:.2f}){likely} "
        f"{hint}"
    )


def _check_strays(longitude, latitude, lon: str, lat: str) -> None:
    """Refuse a few points that lie alone but would lie among the others if a sign were another or a 0 were a value.

    Near the equator and the prime meridian such points lie where the CRS is used.
    """
    place = np.unique(np.stack([longitude, latitude], axis=1), axis=0)
    for axis, name in ((0, lon), (1, lat)):
        value = place[:, axis]
        for wrong, what, remedy in (
            (value == 0, "0", "a position that is missing"),
            (value < 0 if 2 * (value < 0).sum() < len(value) else value > 0, "the other sign", "a sign that is wrong"),
        ):
            others = place[~wrong & (value != 0)]
            if not wrong.any() or 2 * wrong.sum() >= len(place) or not len(others):
                continue
            if np.abs(others[:, axis]).min() < ALONE or np.abs(value[wrong & (value != 0)]).min(initial=ALONE) < ALONE:
                continue  # points on both sides of the line, near each other
            if what != "0":
                mirrored = place[wrong] * np.where(np.arange(2) == axis, -1, 1)
                if (
                    shapely.STRtree(shapely.points(others))
                    .query_nearest(shapely.points(mirrored), return_distance=True, all_matches=False)[1]
                    .max()
                    > NEAR
                ):
                    continue
            rows = np.isin((longitude, latitude)[axis], value[wrong])
            raise PixelError(
                f"Column {name!r}: {what} in {rows_of(rows)} ({value[wrong][0]:g}), where the others lie at "
                f"{others[:, axis].min():g} to {others[:, axis].max():g}; it seems to be {remedy}. Correct or drop "
                f"these rows; where they are right, make a table of their own of them."
            )


def utm(longitude: np.ndarray, latitude: np.ndarray) -> str:
    """The UTM zone of the middle of some points, such as ``"EPSG:32636"``."""
    x, y = np.median(longitude), np.median(latitude)
    return f"EPSG:{(32_600 if y >= 0 else 32_700) + min(int((x + 180) // 6) + 1, 60)}"
