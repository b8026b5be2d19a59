"""A place small enough to compute by hand: one label grid, a few scenes with known values.

``tiny.make(folder)`` writes real files: scenes of 10, 20 and 60 m in UTM and a label raster in EPSG:5070 on the CDL's
lattice. Values are seeded noise, so a pixel that lands in the wrong place is noticed.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import rasterio
from pyproj import Transformer
from rasterio.transform import from_origin
from shapely import Polygon

from arsetlib import sentinel2
from arsetlib.catalogue import Scene, Scenes
from arsetlib.labels import Labels
from arsetlib.study import Study

UTM = 32615
LEFT, TOP = 450_015.0, 1_420_005.0  # corner of the label raster, EPSG:5070, on the CDL's lattice
SIDE = 36  # label pixels

STUDY = """
[study]
key = "tiny"
name = {{ en = "Tiny" }}
simulated = true
years = [2020, 2021]
seed = 3

[split]
train = [2021]
test = [2020]
block_m = 1000

[labels]
kind = "raster"
path = "labels_{{year}}.tif"

[areas.west]
bounds = [{west}, {south}, {middle}, {north}]
crs = "EPSG:5070"

[areas.east]
bounds = [{middle}, {south}, {east}, {north}]
crs = "EPSG:5070"
every = 3

[legend]
name = "tiny"

[classes.crops]
codes = [1, 5]

[classes.rest]
codes = "others"
crop = false
"""


@dataclass
class Place:
    study: Study
    scenes: Scenes
    labels: dict[int, Labels]
    folder: Path


def study() -> Study:
    inner = 3 * 30
    return Study.parse(
        STUDY.format(
            west=LEFT + inner,
            south=TOP - SIDE * 30 + inner,
            middle=LEFT + 18 * 30,
            east=LEFT + SIDE * 30 - inner,
            north=TOP - inner,
        )
    )


def make(folder: Path, seed: int = 0) -> Place:
    """Write everything; the second tile lies 600 m east, so both see the middle, on the same days too."""
    rng = np.random.default_rng(seed)
    here = study()
    labels = {year: write_labels(folder, year, rng) for year in here.years}
    x, y = Transformer.from_crs("EPSG:5070", UTM, always_xy=True).transform(LEFT, TOP)
    west, north = x // 60 * 60 - 240, y // 60 * 60 + 1200
    scenes = []
    for year in here.years:
        for number, day_of_year in enumerate((20, 95, 140, 140, 200, 201, 330)):
            tile = ("15AAA", "15BBB")[number % 2]
            left = west + 600 * (number % 2)
            day = int(np.datetime64(f"{year}-01-01").astype(int)) + day_of_year - 1
            offset = -1000 if number in (1, 4) else 0
            scenes.append(
                write_scene(folder, f"T{tile}-{year}-{day_of_year}-{number}", day, tile, left, north, offset, rng)
            )
    return Place(here, Scenes(tuple(sorted(scenes, key=lambda s: (s.day, s.id))), {}, {}), labels, folder)


def write_labels(folder: Path, year: int, rng) -> Labels:
    path = folder / f"labels_{year}.tif"
    codes = rng.choice([0, 1, 5, 176], (SIDE, SIDE), p=[0.05, 0.35, 0.35, 0.25]).astype("u1")
    confidence = rng.integers(20, 101, (SIDE, SIDE)).astype("u1")
    for file, data in ((path, codes), (folder / f"confidence_{year}.tif", confidence)):
        write(file, data, from_origin(LEFT, TOP, 30, 30), 5070)
    return Labels(
        year=year, path=path, confidence=folder / f"confidence_{year}.tif", identity=f"{seed_of(codes)}", simulated=True
    )


def seed_of(array) -> int:
    return int(array.astype("u8").sum())


def write_scene(folder, name, day, tile, left, north, offset, rng, side=252, epsg=UTM) -> Scene:
    """One scene of 2.5 km: clouds in a third, no data in the lower left corner."""
    scl = rng.choice([4, 5, 6, 7, 8, 9, 10, 11], (side // 2, side // 2), p=[0.35, 0.2, 0.05, 0.1, 0.1, 0.1, 0.05, 0.05])
    edge = np.add.outer(np.arange(side // 2)[::-1], np.arange(side // 2)) < 50
    scl[edge] = 0
    hrefs = {"scl": folder / f"{name}-scl.tif"}
    write(hrefs["scl"], scl.astype("u1"), from_origin(left, north, 20, 20), epsg)
    for band, info in sentinel2.BANDS.items():
        cells = side * 10 // info.resolution_m
        dn = rng.integers(150, 4000, (cells, cells)) - offset
        dn[rng.random((cells, cells)) < 0.01] = 0
        hrefs[band] = folder / f"{name}-{band}.tif"
        write(hrefs[band], dn.astype("u2"), from_origin(left, north, info.resolution_m, info.resolution_m), epsg)
    to_degrees = Transformer.from_crs(epsg, 4326, always_xy=True)
    reach = side * 10
    corners = [(left, north), (left + reach, north), (left + reach, north - reach), (left, north - reach)]
    return Scene(
        id=name,
        day=day,
        datetime=f"{np.datetime64(day, 'D')}T17:00:00Z",
        platform="sentinel-2a",
        tile=tile,
        epsg=epsg,
        footprint=Polygon([to_degrees.transform(*c) for c in corners]),
        cloud=30.0,
        baseline="04.00" if offset else "02.14",
        offset=offset,
        hrefs={k: str(v) for k, v in hrefs.items()},
    )


def write(path, data, transform, epsg) -> None:
    with rasterio.open(
        path, "w", driver="GTiff", width=data.shape[1], height=data.shape[0], count=1, dtype=data.dtype,
        crs=f"EPSG:{epsg}", transform=transform, nodata=0, tiled=True, blockxsize=64, blockysize=64,
    ) as dst:  # fmt: skip
        dst.write(data, 1)


def half_wrong(place, folder, number=9):
    """The scenes, one of which has values that are no reflectance in half of its green band.

    A look at every scene before the work does not read this band, so a chunk is the first to meet them.
    """
    scene = place.scenes.items[number]
    with rasterio.open(scene.hrefs["green"]) as src:
        data, transform = src.read(1), src.transform
    data[data.shape[0] // 2 :] = 64_700
    write(folder / "half.tif", data, transform, UTM)
    other = replace(scene, hrefs={**scene.hrefs, "green": str(folder / "half.tif")})
    return replace(place.scenes, items=tuple(other if s is scene else s for s in place.scenes))
