"""How much of each pixel each parcel covers, exactly.

Source: D. Baston, exactextract (https://github.com/isciences/exactextract). A pixel at the edge of a parcel counts by
the share of it that lies inside.

Lab: part4_defend_the_map.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely

from arsetlib.labels.fields import POLYGONS, keep_parts


@dataclass(frozen=True)
class Coverage:
    """The pixels of some parcels, parcel after parcel.

    Attributes:
        first: (N + 1,) where the pixels of each parcel begin in the arrays below.
        cell: (M,) position in the flattened raster.
        share: (M,) float64 of the pixel that lies in the parcel, above 0 to 1.
    """

    first: np.ndarray
    cell: np.ndarray
    share: np.ndarray

    def sums(self, values: np.ndarray) -> np.ndarray:
        """(N, …) sums of ``values``, (M, …), over the pixels of each parcel; 0 where it has none."""
        total = np.zeros((len(self.first) - 1, *values.shape[1:]))
        has = np.flatnonzero(np.diff(self.first))
        if len(has):
            total[has] = np.add.reduceat(values, self.first[has], axis=0, dtype=np.float64)
        return total


def coverage(shapes: np.ndarray, left: float, top: float, side: float, rows: int, cols: int) -> Coverage:
    """Pixels of a north-up raster that polygons cover.

    Args:
        shapes: (N,) polygons in the raster's CRS; only what lies on the raster counts.
        left, top: Its upper left corner.
        side: Of a pixel.
        rows, cols: Its size.

    Raises:
        MissingPackage: exactextract is not installed.
    """
    from exactextract import exact_extract
    from exactextract.feature import Feature, FeatureSource
    from exactextract.raster import NumPyRasterSource

    class Shape(Feature):
        def __init__(self, wkb: bytes):
            super().__init__()
            self.wkb = wkb

        def geometry(self) -> bytes:
            return self.wkb

        def fields(self) -> list:
            return []

    class Shapes(FeatureSource):
        def count(self) -> int:
            return len(shapes)

        def __iter__(self):
            return (Shape(wkb) for wkb in shapely.to_wkb(shapes))

        def srs_wkt(self) -> None:
            return None

    shapes = _on_raster(shapes, shapely.box(left, top - rows * side, left + cols * side, top))
    grid = NumPyRasterSource(
        np.broadcast_to(np.uint8(0), (rows, cols)), left, top - rows * side, left + cols * side, top
    )
    found = [f["properties"] for f in exact_extract(grid, Shapes(), ["cell_id", "coverage"])]
    first = np.concatenate([[0], np.cumsum([len(f["coverage"]) for f in found], dtype=np.int64)])
    cell = np.concatenate([np.empty(0, np.int64), *(f["cell_id"] for f in found)])
    share = np.concatenate([np.empty(0), *(f["coverage"] for f in found)])
    return Coverage(first, cell, share)


def _on_raster(shapes: np.ndarray, frame: shapely.Polygon) -> np.ndarray:
    """(N,) polygons cut to a raster: exactextract loses whole pixels where a corner lies 1e-16 beyond its edge."""
    cut = shapes.copy()
    beyond = ~shapely.covered_by(shapes, frame)
    cut[beyond] = shapely.intersection(shapes[beyond], frame)
    keep_parts(cut, POLYGONS)
    nothing = shapely.is_empty(cut) | ~np.isin(shapely.get_type_id(cut), POLYGONS)  # it at most touches the raster
    west, _, _, north = frame.bounds
    cut[nothing] = shapely.box(west - 2, north + 1, west - 1, north + 2)  # beyond: exactextract takes no empty one
    return cut
