"""The true field outlines of a simulated delta.

Lab: part4_defend_the_map.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import shapely
from pyproj import CRS
from rasterio.features import shapes as polygons_of
from rasterio.transform import from_origin

from arsetlib import folders
from arsetlib.parcels import Parcels
from arsetlib.simulate import landscape as land
from arsetlib.simulate.delta import VERSION, SimulationError


def outlines(delta: str | Path) -> Parcels:
    """The outlines of the fields of a simulated delta: exact, to its pixels of 10 m. They hold for all years.

    >>> outlines("data/delta")  # doctest: +SKIP
    278 parcels of the simulated delta, 1,542.9 ha

    Args:
        delta: Folder of `delta`.

    Returns:
        Parcels, in the CRS of the scenes. Woods, waters, roads and towns are no parcels.

    Raises:
        SimulationError: The folder holds no delta of this version.

    Lab: part4_defend_the_map.
    """
    made = parameters(delta)
    return of_landscape(land.build(made["seed"], made["scale"]))


def parameters(delta: str | Path) -> dict:
    """Seed, scale and years of a complete simulated delta.

    Raises:
        SimulationError: The folder holds none of this version.
    """
    folder = folders.Folder(folders.place(delta))
    made = (folder.manifest() and folder.plan()) or {}
    if made.get("version") != VERSION or not {"seed", "scale", "years"} <= made.keys():
        raise SimulationError(
            f"Expected the folder of a simulated delta of version {VERSION}, received {delta}. "
            f"Make one: arset simulate {delta}"
        )
    return made


def of_landscape(ground: land.Landscape) -> Parcels:
    """The fields of a landscape; a field that a river or road cuts has several parts."""
    field = ground.code[ground.unit] == 0
    transform = from_origin(ground.region.west, ground.region.north, 10, 10)
    found = list(polygons_of(ground.unit, mask=field, connectivity=4, transform=transform))
    parts = np.array([shapely.geometry.shape(shape) for shape, _unit in found], object)
    units, owner = np.unique([int(unit) for _shape, unit in found], return_inverse=True)
    order = np.argsort(owner, kind="stable")
    shapes = shapely.multipolygons(parts[order], indices=owner[order])
    single = shapely.get_num_geometries(shapes) == 1
    shapes[single] = shapely.get_geometry(shapes[single], 0)
    return Parcels(shapes, units, CRS(land.UTM).to_wkt(), "the simulated delta", simulated=True)
