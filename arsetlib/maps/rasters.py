"""Rasters as arrays: one band on an area, land by class, vegetation indices.

Lab: part1_build_dataset.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import rasterio
import shapely
from numpy.typing import ArrayLike
from pyproj import CRS, Transformer
from rasterio.enums import Resampling
from rasterio.transform import from_bounds
from rasterio.vrt import WarpedVRT

from arsetlib import cdl, copies, folders, ground, web
from arsetlib.labels import Labels
from arsetlib.samples.indices import INDICES
from arsetlib.study import Area, Legend, Study
from arsetlib.translation import _

LEFT_OUT = "#ffffff"  # colour of codes that a legend excludes
EYE = 400  # pixels a side: a picture in the course shows no more
_CODES = range(256)
_CDL_COLOURS = [cdl.CODES[c].colour if c in cdl.CODES else "#000000" for c in _CODES]


def read(
    path: str | Path, area: Area, size: int | None = None, resampling: str = "nearest"
) -> tuple[np.ndarray, tuple[float, float, float, float]]:
    """One band of a raster on an area, in the area's CRS.

    Only the window of the area is read, from an overview where that is enough.

    Args:
        path: Raster file or URL.
        area: The `Area` to show.
        size: At most so many pixels along the longer side; ``None`` keeps the raster's own resolution.
        resampling: ``"nearest"``, ``"bilinear"``, or ``"mode"`` (the majority) for thinning labels.

    Returns:
        values: (H, W) in the raster's dtype, 0 where the raster has no data.
        extent: (west, east, south, north), units of ``area.crs``: the area's bounds, moved to the raster's pixel
            edges where raster and area share a CRS.

    Raises:
        ValueError: The raster and the area do not overlap.
        rasterio.errors.RasterioIOError: The file cannot be opened or read.

    Lab: part1_build_dataset.
    """
    with _opened(path) as source:
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


@contextmanager
def _opened(path: str | Path) -> Iterator[rasterio.DatasetReader]:
    """An open raster: on disk, a link that GDAL reads, or a copy of one in an object store."""
    if isinstance(path, str) and web.remote(path) and (not folders.in_store(path) or path.lower().startswith("s3:")):
        with web.gdal(**web.s3_options(path)), rasterio.open(path) as source:
            yield source
    else:
        with rasterio.open(copies.fetched(path)) as source:
            yield source


def _on_grid(source, area: Area) -> tuple[float, float, float, float]:
    west, south, east, north = area.bounds
    if CRS(source.crs.to_wkt()) != CRS(area.crs):
        return west, south, east, north
    t = source.transform
    columns = [t.c + t.a * round((x - t.c) / t.a) for x in (west, east)]
    rows = [t.f + t.e * round((y - t.f) / t.e) for y in (south, north)]
    return columns[0], rows[0], columns[1], rows[1]


def _pixel_side(source, area: Area) -> float:
    metres_of = [CRS(c).axis_info[0].unit_conversion_factor for c in (source.crs.to_wkt(), area.crs)]
    if CRS(area.crs).is_geographic or source.crs.is_geographic:
        return (area.bounds[2] - area.bounds[0]) / EYE
    return abs(source.transform.a) * metres_of[0] / metres_of[1]


def class_areas(labels: Labels, areas: Sequence[Area], study: Study) -> pd.DataFrame:
    """How much land each label code covers.

    Args:
        labels: Of one year.
        areas: Where to count; pixels are counted at the labels' own resolution.
        study: Gives the names of the codes, and the class of each.

    Returns:
        A table, one row per area and code, largest first, with columns area, year, code, name, class, pixels,
        hectares, share (of the area, 0-1).

    Raises:
        GridError: Metres of the labels' grid are not metres on the ground, so areas would be wrong.

    Labs: part1_build_dataset, part3_train_and_test.
    """
    with _opened(labels.path) as source:
        crs, side = source.crs.to_wkt(), source.transform.a
    ground.check(CRS(crs), areas, f"{CRS(crs).name}, in which the labels are,")
    hectares = side**2 / 10_000  # of one pixel
    rows = []
    for area in areas:
        codes = _pixels_inside(labels.path, area, crs, side)[0]
        present, counts = np.unique(codes, return_counts=True)
        for code, count in zip(present.tolist(), counts.tolist(), strict=True):
            names = code_name(study, code), _class_name(study.legend, code)
            rows.append((area.key, labels.year, code, *names, count, count * hectares, count / codes.size))
    columns = ["area", "year", "code", "name", "class", "pixels", "hectares", "share"]
    frame = pd.DataFrame(rows, columns=columns).sort_values(["hectares", "code"], ascending=[False, True])
    return frame.reset_index(drop=True)


def code_name(study: Study, code: int) -> str:
    """What a label code is called: by the Cropland Data Layer where the labels are its own, else by the study's legend.

    A legend's class with several codes is named with the code: "Other crops (code 7)". 0 is no label.
    """
    if not study.labels.own_codes:
        return cdl.name(code) if code in cdl.CODES else _("code {code}").format(code=code)
    number = int(_numbers(study.legend, np.array([code]))[0])
    codes = study.legend.classes[number].codes if number >= 0 else ()
    name = _class_name(study.legend, code)
    return (
        name
        if code == 0 or (codes != "others" and len(codes) == 1)
        else _("{name} (code {code})").format(name=name, code=code)
    )


def code_colour(study: Study, code: int) -> str:
    """Colour of a label code, from the same source as `code_name`; white for what the legend leaves out."""
    if not study.labels.own_codes:
        return _CDL_COLOURS[code] if code in _CODES else "#000000"
    number = int(_numbers(study.legend, np.array([code]))[0])
    return study.legend.colours[number] if number >= 0 else LEFT_OUT


def _numbers(legend: Legend, codes: np.ndarray) -> np.ndarray:
    """Class of each label code, (N,): -1 where the legend leaves it out, -2 for 0, which is no label in any raster."""
    numbers = np.full(codes.shape, -2, np.int64)
    numbers[codes != 0] = legend.classes_of(codes[codes != 0].astype(np.int64))
    return numbers


def _class_name(legend: Legend, code: int) -> str:
    names = [*legend.names(), _("no label"), _("left out")]
    return names[int(_numbers(legend, np.array([code]))[0])]


def examples(labels: Labels, area: Area, *, study: Study, count: int = 4) -> pd.DataFrame:
    """One label pixel of each of the commonest crops of an area.

    Args:
        labels: `Labels` of one year.
        area: Where to look.
        study: Its legend says which codes are crops.
        count: So many codes, the commonest first; other land where there are fewer crops.

    Returns:
        A table with columns code, name, class, x, y: the centre of a label pixel. ``attrs`` hold the label grid's
        ``crs`` and the ``side`` of its pixels.

    Lab: part1_build_dataset.
    """
    with _opened(labels.path) as source:
        crs, side = source.crs.to_wkt(), source.transform.a
    codes, x, y = _pixels_inside(labels.path, area, crs, side)
    present, counts = np.unique(codes, return_counts=True)
    of = _numbers(study.legend, present)
    crop = np.array([k >= 0 and study.legend.classes[k].crop for k in of])
    rows = []
    for i in np.lexsort((-counts, ~crop))[:count]:
        here = np.flatnonzero(codes == present[i])
        at = here[here.size // 2]
        code = int(present[i])
        rows.append((code, code_name(study, code), _class_name(study.legend, code), float(x[at]), float(y[at])))
    frame = pd.DataFrame(rows, columns=["code", "name", "class", "x", "y"])
    frame.attrs |= {"crs": crs, "side": side}
    return frame


def _pixels_inside(path, area, crs, side):
    """Codes, x and y (each (P,), in the labels' CRS) of the label pixels whose centres lie in the area."""
    same = CRS(crs) == CRS(area.crs)
    around = area if same else replace(area, bounds=area.outline(crs).bounds, crs=crs)
    codes, (left, _, _, top) = read(path, around)
    x, y = np.meshgrid(left + (np.arange(codes.shape[1]) + 0.5) * side, top - (np.arange(codes.shape[0]) + 0.5) * side)
    if same:
        return codes.ravel(), x.ravel(), y.ravel()
    own_x, own_y = Transformer.from_crs(crs, area.crs, always_xy=True).transform(x, y)
    west, south, east, north = area.bounds
    inside = (own_x >= west) & (own_x < east) & (own_y >= south) & (own_y < north)
    return codes[inside], x[inside], y[inside]


def colours_in(codes: np.ndarray, study: Study, legend: Legend | None = None) -> tuple[list, list, np.ndarray]:
    """Names (K,) and colours (K,) of what a label raster shows, and the position of each pixel in them.

    Args:
        codes: (H, W) label codes.
        study: Whose labels these are.
        legend: Show its classes. None shows the Cropland Data Layer's codes, or the study's classes where the codes
            are its own.
    """
    legend = legend or (study.legend if study.labels.own_codes else None)
    if legend is None:
        return [code_name(study, code) for code in _CODES], _CDL_COLOURS, codes
    positions = _numbers(legend, codes) % (len(legend.classes) + 2)  # -2 and -1 stand at the end
    return [*legend.names(), _("no label"), _("left out")], [*legend.colours, LEFT_OUT, LEFT_OUT], positions


def ndvi(red: ArrayLike, nir: ArrayLike) -> np.ndarray:
    """Normalised difference vegetation index, -1 to 1; NaN where either band has no data (0).

    Args:
        red, nir: Arrays of one shape, reflectance × 10,000, 0 = no data.

    Lab: part1_build_dataset.

    >>> ndvi(np.array([500, 0]), np.array([3000, 0])).round(2).tolist()
    [0.71, nan]
    """
    red, nir = np.asarray(red, np.float64), np.asarray(nir, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((red > 0) & (nir > 0), INDICES["ndvi"].formula(nir, red), np.nan)
