"""Rasters written piece by piece, then turned into Cloud Optimized GeoTIFFs.

Pieces come in any order, so they are painted on tiled scratch files, tile by tile; memory does not grow with the map.
A COG is made under a hidden name and renamed, so that a half-made one never looks finished.

Lab: part3_train_and_test.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
import rasterio
import rasterio.shutil
from pyproj import CRS
from rasterio.windows import Window

from arsetlib import web
from arsetlib.ingest import Grid
from arsetlib.maps.products import CATEGORIES, NODATA, SCALE, MapError
from arsetlib.study import Legend

TILE = 512  # pixels; of scratch files and COGs
CACHE = 64 * 2**20  # bytes that GDAL may hold
GDAL = {"GDAL_CACHEMAX": CACHE, "GDAL_NUM_THREADS": "ALL_CPUS"}


def scratch(path: Path, product: str, grid: Grid, bands: int = 1) -> Path:
    """An empty tiled file for one product, all nodata."""
    nodata = NODATA[product]
    with rasterio.open(
        path, "w", driver="GTiff", width=grid.width, height=grid.height, count=bands,
        dtype="uint8" if nodata == 255 else "uint16", crs=grid.crs, transform=grid.transform, nodata=nodata,
        tiled=True, blockxsize=TILE, blockysize=TILE, SPARSE_OK=True, BIGTIFF="IF_SAFER",
    ) as out:  # fmt: skip
        if nodata == NODATA["probability"]:
            out.scales = (1 / SCALE,) * bands
    return path


def paint(raster: rasterio.io.DatasetWriter, row: np.ndarray, col: np.ndarray, values: np.ndarray) -> None:
    """Set pixels of an open scratch file.

    Args:
        raster: Open for update.
        row, col: (n,) places.
        values: (n,) or (n, bands).
    """
    values = values.reshape(len(row), -1).T
    tile = (row // TILE).astype(np.int64) * (raster.width // TILE + 1) + col // TILE
    order = np.argsort(tile, kind="stable")
    for mine in np.split(order, np.flatnonzero(np.diff(tile[order])) + 1):
        top, left = (int(v[mine[0]]) // TILE * TILE for v in (row, col))
        window = Window(left, top, min(TILE, raster.width - left), min(TILE, raster.height - top))
        block = raster.read(window=window)
        block[:, row[mine] - top, col[mine] - left] = values[:, mine]
        raster.write(block, window=window)


def finish(made: Path, target: Path, product: str, legend: Legend, tags: dict) -> None:
    """A scratch file as a COG with overviews, colours, names and tags; names of classes beside it, for GDAL."""
    whole = product in CATEGORIES
    names = legend.names()
    with rasterio.open(made, "r+") as out:
        out.update_tags(**{k: str(v) for k, v in tags.items()}, product=product)
        if whole:
            colours = {i: (*(int(c[j : j + 2], 16) for j in (1, 3, 5)), 255) for i, c in enumerate(legend.colours)}
            out.write_colormap(1, colours | {NODATA[product]: (0, 0, 0, 0)})
            out.update_tags(**{f"class_{i}": name for i, name in enumerate(names)})
        for band in range(1, out.count + 1):
            out.set_band_description(band, names[band - 1] if product == "probability" else product)
    few = NODATA[product] == 255
    with web.gdal(**GDAL):
        rasterio.shutil.copy(
            made, target, driver="COG", BLOCKSIZE=TILE, COMPRESS="DEFLATE", PREDICTOR="NO" if few else "YES",
            LEVEL=6, NUM_THREADS="ALL_CPUS", BIGTIFF="IF_SAFER", OVERVIEW_RESAMPLING="MODE" if few else "AVERAGE",
        )  # fmt: skip
    if whole:  # GeoTIFF has no place of its own for the names of categories; GDAL reads them beside it
        entries = "".join(f"<Category>{escape(name)}</Category>" for name in names)
        text = f'<PAMDataset><PAMRasterBand band="1"><CategoryNames>{entries}</CategoryNames>'
        beside = target.with_name(f"{target.name}.aux.xml")
        beside.write_text(f"{text}</PAMRasterBand></PAMDataset>\n", encoding="utf-8")


def blocks(raster: rasterio.DatasetReader, size: int = TILE) -> Iterator[Window]:
    """Windows that cover a raster, row by row."""
    for top in range(0, raster.height, size):
        for left in range(0, raster.width, size):
            yield Window(left, top, min(size, raster.width - left), min(size, raster.height - top))


def grid_of(raster: rasterio.DatasetReader) -> Grid:
    """The grid of a map that is open.

    Raises:
        MapError: Its pixels are not square, north is not up, or its unit is not the metre: `predict` makes no such map.
    """
    t, crs = raster.transform, raster.crs
    square = not (t.b or t.d) and t.a > 0 and math.isclose(t.a, -t.e, rel_tol=1e-9)
    if not square or crs is None or not crs.is_projected or CRS(crs.to_wkt()).axis_info[0].unit_conversion_factor != 1:
        raise MapError(
            f"{raster.name} is not a north-up raster of square pixels in metres, as maps.predict makes them. "
            "Predict the map again."
        )
    return Grid(crs.to_wkt(), t.a, t.c, t.f, raster.height, raster.width)


def refuse_unlike(probability: rasterio.DatasetReader, classes: rasterio.DatasetReader, count: int) -> None:
    """Refuse probabilities that are not those of a class raster.

    Raises:
        MapError: Another grid, or not one band a class.
    """
    found, wanted = grid_of(probability), grid_of(classes)
    if found != wanted or probability.count != count:
        both = (f"{n} bands of {g.height} × {g.width} pixels from ({g.x0:g}, {g.y0:g})"
                for n, g in ((count, wanted), (probability.count, found)))  # fmt: skip
        raise MapError(
            f"{probability.name} does not belong to {classes.name}: expected {next(both)}, received {next(both)}. "
            "Predict the map again."
        )


def class_counts(path: Path, classes: int) -> np.ndarray:
    """(K,) pixels of each class."""
    counts = np.zeros(256, np.int64)
    with web.gdal(**GDAL), rasterio.open(path) as src:
        for window in blocks(src):
            counts += np.bincount(src.read(1, window=window).ravel(), minlength=256)
    return counts[:classes]
