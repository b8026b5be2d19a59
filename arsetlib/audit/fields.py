"""Which field of a vector file each pixel lies in.

Lab: none.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from arsetlib import copies, folders
from arsetlib.audit.confidence import AuditError

PER_PASS = 500_000  # points looked up at once


def field_ids(file: str | Path, x: np.ndarray, y: np.ndarray, crs: str) -> np.ndarray:
    """The field in which each point lies.

    Args:
        file: Outlines in a file that GDAL reads (GeoPackage, GeoJSON, shapefile, …), of one layer.
        x, y: (N,) points, m.
        crs: Theirs.

    Returns:
        (N,) int64, the row of the field in the file, from 0; the first of several; -1 outside all.

    Raises:
        AuditError: The file cannot be read, has no outlines or no CRS, or no point lies in any.

    Lab: none.
    """
    import shapely
    from pyogrio.errors import DataLayerError, DataSourceError
    from pyogrio.raw import read
    from pyproj import CRS, Transformer

    file = folders.place(file)
    try:
        meta, _, geometry, _ = read(copies.fetched(file), columns=[], force_2d=True)
    except (DataSourceError, DataLayerError) as error:
        raise AuditError(
            f"{file} cannot be read as a vector file: {error}. Give fields=… a file of outlines."
        ) from None
    shapes = shapely.from_wkb(geometry) if geometry is not None else np.empty(0, object)
    if not len(shapes) or not meta["crs"]:
        raise AuditError(f"{file} has no outlines, or no CRS. Export it again with both.")
    to_file = Transformer.from_crs(CRS(crs), CRS(meta["crs"]), always_xy=True)
    tree, out = shapely.STRtree(shapes), np.full(len(x), -1, np.int64)
    for at in range(0, len(x), PER_PASS):
        part = slice(at, at + PER_PASS)
        points = shapely.points(*to_file.transform(x[part], y[part]))
        mine, field = tree.query(points, predicate="intersects")
        order = np.lexsort((-field, mine))  # the first field of a point is written last
        out[at + mine[order]] = field[order]
    if (out < 0).all():
        raise AuditError(f"None of the {len(x):,} pixels lies in a field of {file}. Is it of another place?")
    return out
