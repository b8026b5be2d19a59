"""One raster of pixels whose values are already known: marks of an audit, sets of classes, distances.

Lab: part4_defend_the_map.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import rasterio

from arsetlib import folders, web
from arsetlib.ingest import Grid
from arsetlib.maps import cogs
from arsetlib.study import Class, Legend
from arsetlib.translation import _, language

FULL = 1000  # cells of a grid to one pixel with a value; where there are more, pixels are points and no map


def legend_of_marks(name: str, marks: dict[str, tuple[str, str]]) -> Legend:
    """A legend from key → (what a reader sees, marked for the catalogue; colour)."""
    classes = (
        Class(k, {"en": text, language(): _(text)}, colour, (), crop=False) for k, (text, colour) in marks.items()
    )
    return Legend(name, tuple(classes))


def scattered(grid: Grid, count: int) -> bool:
    """Whether so many pixels are too far apart for a raster of the whole grid."""
    return grid.height * grid.width > FULL * max(count, 1)


def write_raster(
    target: str | Path, grid: Grid, parts: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]], *, legend: Legend,
    product: str, tags: dict,
) -> list[str]:  # fmt: skip
    """Write one Cloud Optimized GeoTIFF of one band.

    Args:
        target: The file, ``.tif``, on disk or in an object store.
        grid: Of the map.
        parts: Rows, columns and values of pixels, each (n,), part by part; all other pixels are nodata.
        legend: Names and colours, where the values are numbers of its classes.
        product: Which layer, see ``products.NODATA``.
        tags: More to keep in the file.

    Returns:
        Names of the files: the raster and, where it has classes, their names beside it, for GDAL.
    """
    target = folders.place(target)
    with folders.workspace(target.with_name(f".{target.name}.partial")) as here:
        made = cogs.scratch(here / "layer.tif", product, grid)
        with web.gdal(**cogs.GDAL), rasterio.open(made, "r+") as raster:
            for row, col, value in parts:
                if len(row):
                    cogs.paint(raster, row, col, value.astype(raster.dtypes[0]))
        cogs.finish(made, here / target.name, product, legend, tags)
        names = sorted(file.name for file in here.glob(f"{target.name}*"))
        for name in names:
            folders.put(target.with_name(name), here / name)
    return names
