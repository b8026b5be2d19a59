"""Annual vectors of a simulated delta, in the form of AlphaEarth's files.

Lab: part4_defend_the_map.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
from rasterio.transform import from_origin

from arsetlib import embeddings as vectors
from arsetlib import folders, seeds
from arsetlib.simulate import landscape as land
from arsetlib.simulate import phenology
from arsetlib.simulate.delta import STRIP, SimulationError
from arsetlib.simulate.files import TAGS
from arsetlib.simulate.outlines import parameters

CHANNELS = 64
DAYS = (15, 46, 74, 105, 135, 166, 196, 227, 258, 288, 319, 349)  # the middle of each month
NOISE = 0.05  # of a vector, before it is brought to length 1


def embeddings(delta: str | Path, out: str | Path, year: int) -> Path:
    """Write a raster of annual vectors of a simulated delta: int8, 64 channels, 10 m.

    No network has made them: they are a fixed random mixture of the ground's reflectance in the middle of each month,
    without clouds, and noise. So they know the crops better than vectors of a real network do, and a score with them
    shows only that the data path works.

    Args:
        delta: Folder of `delta`.
        out: GeoTIFF to write, also in an object store.
        year: Of its years.

    Raises:
        SimulationError: No delta of this version there, no such year, or a name that does not end in ``.tif``.

    Lab: part4_defend_the_map.
    """
    if not str(out).endswith(".tif"):
        raise SimulationError(f"Expected a file ending in .tif, received {out}.")
    made = parameters(delta)
    if year not in made["years"]:
        raise SimulationError(f"The delta {delta} has no {year}; it has {', '.join(map(str, made['years']))}.")
    return vectors_of(made["seed"], made["scale"], year, out)


def vectors_of(seed: int, scale: float, year: int, out: str | Path) -> Path:
    """The raster of a seed, without its delta."""
    ground, region = phenology.ground(seed, scale, year), land.Region.of(scale)
    height, width = region.shape
    rng = seeds.generator(0, "embeddings", "mixture")  # one 'network' for all deltas and years
    mixture = rng.standard_normal((len(DAYS) * 12, CHANNELS)).astype(np.float32)
    noise = seeds.generator(seed, "embeddings", year)
    raw = np.empty((CHANNELS, height, width), np.int8)
    for top in range(0, height, STRIP):
        rows = slice(top, min(top + STRIP, height))
        seen = np.concatenate([ground.reflectance(day, rows) for day in DAYS])
        mixed = np.tanh(np.tensordot(np.sqrt(np.maximum(seen, 0)) - 0.35, mixture, (0, 0)))
        mixed += NOISE * noise.standard_normal(mixed.shape, dtype=np.float32)
        mixed /= np.linalg.norm(mixed, axis=-1, keepdims=True)
        raw[:, rows] = np.moveaxis(vectors.encode(mixed), -1, 0)
    west, _, _, north = region.bounds

    def write(file: Path) -> None:
        with rasterio.open(
            file, "w", driver="GTiff", width=width, height=height, count=CHANNELS, dtype="int8", crs=land.UTM,
            transform=from_origin(west, north, 10, 10), nodata=vectors.NO_DATA, tiled=True, compress="deflate",
        ) as raster:  # fmt: skip
            raster.update_tags(**TAGS, YEAR=str(year))
            raster.write(raw)
            raster.descriptions = [f"A{i:02d}" for i in range(CHANNELS)]

    out = folders.place(out)
    folders.put(out, write)
    return out
