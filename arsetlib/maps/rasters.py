"""Rasters as arrays: one band on an area, land by class, vegetation indices.

Lab: part1_build_dataset.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import rasterio
import shapely
from pyproj import CRS, Transformer
from rasterio.enums import Resampling
from rasterio.transform import from_bounds
from rasterio.vrt import WarpedVRT

from arsetlib import cdl, ground
from arsetlib.figures.style import EYE
from arsetlib.samples.indices import INDICES

# Of every value that a byte can have; those that are no code of the layer are named by their number.
CODE_NAMES = [cdl.CODES[c].name if c in cdl.CODES else f"code {c}" for c in range(256)]
CODE_COLOURS = [cdl.CODES[c].colour if c in cdl.CODES else "#000000" for c in range(256)]


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


def class_areas(labels, areas, legend=None):
    """How much land each label code covers.

    Args:
        labels: `Labels` of one year.
        areas: The `Area`s; pixels are counted at the labels' own resolution.
        legend: A `Legend`: adds the column ``class``, its class of the code.

    Returns:
        A table, one row per area and code, largest first, with columns area, year, code, name, (class,) pixels,
        hectares, share (of the area, 0-1).

    Raises:
        GridError: Metres of the labels' grid are not metres on the ground, so areas would be wrong.

    Lab: part1_build_dataset.
    """
    with rasterio.open(labels.path) as source:
        crs, side = source.crs.to_wkt(), source.transform.a
    ground.check(CRS(crs), areas, f"{CRS(crs).name}, in which the labels are,")
    hectares = side**2 / 10_000  # of one pixel
    rows = []
    for area in areas:
        codes = _codes_inside(labels.path, area, crs, side)
        present, counts = np.unique(codes, return_counts=True)
        for code, count in zip(present.tolist(), counts.tolist(), strict=True):
            name = CODE_NAMES[code] if code < len(CODE_NAMES) else f"code {code}"
            rows.append((area.key, labels.year, code, name, count, count * hectares, count / codes.size))
    columns = ["area", "year", "code", "name", "pixels", "hectares", "share"]
    frame = pd.DataFrame(rows, columns=columns).sort_values(["hectares", "code"], ascending=[False, True])
    if legend is not None:
        of = legend.classes_of(frame["code"].to_numpy())
        frame.insert(4, "class", [legend.names()[i] if i >= 0 else "left out" for i in of])
    return frame.reset_index(drop=True)


def examples(labels, area, *, study, count=4):
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
    with rasterio.open(labels.path) as source:
        crs, side = source.crs.to_wkt(), source.transform.a
    own = own_legend(study, labels)
    codes, x, y = _pixels_inside(labels.path, area, crs, side)
    present, counts = np.unique(codes, return_counts=True)
    of = study.legend.classes_of(present.astype(np.int64))
    crop = np.array([k >= 0 and study.legend.classes[k].crop for k in of])
    rows = []
    for i in np.lexsort((-counts, ~crop))[:count]:
        here = np.flatnonzero(codes == present[i])
        at = here[here.size // 2]
        class_name = study.legend.names()[of[i]] if of[i] >= 0 else "left out"
        name = class_name if own else CODE_NAMES[present[i]]
        rows.append((int(present[i]), name, class_name, float(x[at]), float(y[at])))
    frame = pd.DataFrame(rows, columns=["code", "name", "class", "x", "y"])
    frame.attrs |= {"crs": crs, "side": side}
    return frame


def _codes_inside(path, area, crs, side):
    """(P,) codes of the label pixels whose centres lie in the area, whatever its CRS."""
    return _pixels_inside(path, area, crs, side)[0]


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


def classes_in(codes, legend):
    """names (K,), colours (K,), and index of each pixel: CDL's codes, or a legend's classes and what it leaves out."""
    if legend is None:
        return CODE_NAMES, CODE_COLOURS, codes
    found = legend.classes_of(codes.ravel().astype(np.int64)).reshape(codes.shape)
    return [*legend.names(), "left out"], [*legend.colours, "#ffffff"], np.where(found < 0, len(legend.classes), found)


def own_legend(study, labels):
    """The study's legend where the codes are its own, None where they are the Cropland Data Layer's.

    The layer lies on one grid, EPSG:5070; codes on another grid, or made from fields, are somebody's own, and the
    layer's names and colours would be wrong for them.
    """
    with rasterio.open(labels.path) as src:
        layer = src.crs is not None and src.crs.to_epsg() == 5070
    return None if layer and study.labels.kind != "vector" else study.legend


def ndvi(red, nir):
    """Normalised difference vegetation index, -1 to 1; NaN where either band has no data (0).

    Args:
        red, nir: Arrays of one shape, reflectance × 10,000, 0 = no data.

    Lab: part1_build_dataset.
    """
    red, nir = np.asarray(red, np.float64), np.asarray(nir, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((red > 0) & (nir > 0), INDICES["ndvi"].formula(nir, red), np.nan)
