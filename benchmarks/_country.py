"""A study as large as the United States, without any image: areas, an empty label raster, and an item list.

48 areas of equal size in EPSG:5070, tiles of 109.8 km every 100 km in their UTM zones as Sentinel-2 has them, every
third scene cut by the edge of a swath, dates spread evenly over three years.
"""

import math
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import rasterio
from pyproj import Transformer
from rasterio.transform import from_origin
from shapely import Polygon

from arsetlib.catalogue import Scene, Scenes
from arsetlib.labels import Labels
from arsetlib.study import Study

YEARS = (2021, 2022, 2023)
DOWN, ACROSS = 6, 8  # areas
SIDE = 256  # label pixels of a chunk
WEST, NORTH = -1_999_995, 3_000_015  # m, on the CDL's lattice
BUCKET = "https://sentinel-cogs.s3.us-west-2.amazonaws.com/sentinel-s2-l2a-cogs"


def study_and_labels(folder: Path, chunks: int) -> tuple[Study, dict[int, Labels]]:
    """A study of about so many chunks, and its label rasters, which take no space on disk."""
    side = 30 * SIDE * max(1, math.isqrt(chunks // (len(YEARS) * DOWN * ACROSS)))
    study = Study.load("mississippi_delta").replace(years=YEARS)
    areas = [
        replace(
            study.areas[0], key=f"r{row}c{col}", crs="EPSG:5070", every=1,
            bounds=(WEST + col * side, NORTH - (row + 1) * side, WEST + (col + 1) * side, NORTH - row * side),
        )
        for row in range(DOWN)
        for col in range(ACROSS)
    ]  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "labels.tif"
    profile = {"driver": "GTiff", "count": 1, "dtype": "uint8", "crs": "EPSG:5070", "tiled": True, "sparse_ok": True}
    size = {"width": ACROSS * side // 30, "height": DOWN * side // 30}
    with rasterio.open(path, "w", transform=from_origin(WEST, NORTH, 30, 30), **size, **profile):
        pass
    return study.replace(areas=tuple(areas)), {year: Labels(year, path, None, "0" * 16, False) for year in YEARS}


def scenes(study: Study, number: int) -> Scenes:
    """An item list of so many scenes over all areas."""
    tiles = _tiles(study)
    first, days = date(YEARS[0], 1, 1), 365 * len(YEARS)
    rounds = math.ceil(number / len(tiles))
    made = []
    for i in range(number):
        turn, place = divmod(i, len(tiles))
        tile, epsg, x, y, whole, cut = tiles[place]
        day = first + timedelta(turn * days // rounds + place % 5)
        ident = f"S2A_{tile}_{day:%Y%m%d}_0_L2A"
        folder = f"{BUCKET}/{tile[:2]}/{tile[2]}/{tile[3:]}/{day.year}/{day.month}/{ident}"
        made.append(
            Scene(
                ident, (day - date(1970, 1, 1)).days, f"{day}T16:58:49Z", "sentinel-2a", tile, epsg,
                whole if turn % 3 else cut, 10.0, "05.00", 0, {b: f"{folder}/{b}.tif" for b in (*study.bands, "scl")},
                (10980, 10980), (10.0, 0.0, float(x), 0.0, -10.0, float(y)),
            )
        )  # fmt: skip
    return Scenes(tuple(made))


def _tiles(study: Study) -> list[tuple]:
    """Name, EPSG code, left and top, outline, and outline cut by a swath, of each tile that may touch an area."""
    boxes = np.array([a.bounds for a in study.areas])
    west, south, east, north = *boxes[:, :2].min(0), *boxes[:, 2:].max(0)
    lon, lat = Transformer.from_crs(5070, 4326, always_xy=True).transform(
        (west, west, east, east, (west + east) / 2), (north, south, north, south, north)
    )
    tiles = []
    for zone in range(int((min(lon) + 180) // 6) + 1, int((max(lon) + 180) // 6) + 2):
        to_degrees = Transformer.from_crs(32600 + zone, 4326, always_xy=True)
        to_grid = Transformer.from_crs(32600 + zone, 5070, always_xy=True)
        for x in range(200_000, 800_000, 100_000):
            for y in range(int(min(lat) * 1.1) * 100_000, int(max(lat) * 1.12 + 2) * 100_000, 100_000):
                middle = x + 54_900, y + 54_900
                at_x, at_y = to_grid.transform(*middle)
                in_zone = abs(to_degrees.transform(*middle)[0] - (6 * zone - 183)) <= 3.6
                if not in_zone or not (west - 8e4 < at_x < east + 8e4 and south - 8e4 < at_y < north + 8e4):
                    continue
                corners = np.array([(x, y), (x + 109_800, y), (x + 109_800, y + 109_800), (x, y + 109_800)], float)
                swath = corners - [(0, 0), (50_000, 0), (20_000, 0), (0, 0)]
                outlines = [Polygon(np.column_stack(to_degrees.transform(*ring.T))) for ring in (corners, swath)]
                name = f"{zone}S{chr(65 + x // 100_000)}{y // 100_000:02d}"
                tiles.append((name, 32600 + zone, x, y + 109_800, *outlines))
    return tiles
