"""Scenes of the size of real ones, for reading over the network: a year of dates of two areas that cross blocks.

One set of files serves all dates. Blocks outside the areas are left out of the files, so that they take little room;
their headers are as long as those of a whole file.
"""

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import rasterio
from pystac import Item
from rasterio.shutil import copy
from rasterio.transform import from_origin
from rasterio.windows import Window

from arsetlib import sentinel2

SIDE = 109_800  # m, of a tile
WEST, NORTH = 600_000, 4_000_020
BLOCK = 1024  # pixels, as in the COGs of Earth Search
CHUNK = 256 * 30  # m, a chunk of the ingest
BOXES = {"one": (80, 519), "two": (87, 513)}  # west and north in chunks, so that each is one chunk of the ingest
STEP = {b.name: b.resolution_m for b in sentinel2.BANDS.values()} | {"scl": 20}


def bounds(box: str) -> tuple[int, int, int, int]:
    """West, south, east and north of an area, m."""
    west, north = (CHUNK * n for n in BOXES[box])
    return west, north - CHUNK, west + CHUNK, north


def make(folder: Path, bands: tuple[str, ...]) -> None:
    """Write the files of one scene, and its labels."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in (*bands, "scl"):
        if not (folder / f"{name}.tif").exists():
            _write(folder / f"{name}.tif", name, STEP[name])
    with rasterio.open(
        folder / "labels.tif", "w", driver="GTiff", count=1, dtype="uint8", width=SIDE // 30, height=SIDE // 30,
        crs="EPSG:32615", transform=from_origin(WEST, NORTH, 30, 30), tiled=True, compress="DEFLATE",
    ) as out:  # fmt: skip
        out.write(np.full((1, SIDE // 30, SIDE // 30), 1, np.uint8))


def _write(path: Path, name: str, step: int) -> None:
    random = np.random.default_rng(STEP[name])
    side = SIDE // step
    profile = {
        "driver": "GTiff", "count": 1, "dtype": "uint8" if name == "scl" else "uint16", "width": side, "height": side,
        "crs": "EPSG:32615", "transform": from_origin(WEST, NORTH, step, step), "nodata": 0, "compress": "DEFLATE",
        "predictor": 2, "tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK, "SPARSE_OK": "TRUE",
    }  # fmt: skip
    half = path.with_suffix(".half.tif")
    with rasterio.open(half, "w", **profile) as out:
        for box in BOXES:
            west, south, east, north = bounds(box)
            left, top = (west - WEST) // step // BLOCK * BLOCK, (NORTH - north) // step // BLOCK * BLOCK
            right, bottom = -(-(east - WEST) // step // BLOCK) * BLOCK, -(-(NORTH - south) // step // BLOCK) * BLOCK
            shape = min(bottom, side) - top, min(right, side) - left
            fields = random.integers(500, 3500, (shape[0] // 20 + 1, shape[1] // 20 + 1)).repeat(20, 0).repeat(20, 1)
            values = fields[: shape[0], : shape[1]] + random.normal(0, 40, shape).astype(int)
            values = np.full(shape, 4) if name == "scl" else values
            out.write(values.astype(profile["dtype"]), 1, window=Window(left, top, shape[1], shape[0]))
    # As a COG has it: all headers in front of all pixels.
    copy(half, path, driver="COG", COMPRESS="DEFLATE", PREDICTOR="YES", BLOCKSIZE=BLOCK, SPARSE_OK="TRUE",
         OVERVIEW_RESAMPLING="NEAREST")  # fmt: skip
    half.unlink()


def items(url: str, bands: tuple[str, ...], dates: int) -> list[Item]:
    """STAC items of as many passes, five days apart, whose links lead to a server."""
    corners = [(-91.9, 35.2), (-90.6, 35.2), (-90.6, 36.2), (-91.9, 36.2), (-91.9, 35.2)]
    found = []
    for number in range(dates):
        day = date(2021, 1, 2) + timedelta(days=5 * number)
        name = f"S2A_15SYV_{day:%Y%m%d}_0_L2A"
        assets = {
            b: {
                "href": f"{url}/{name}@/{b}.tif", "type": "image/tiff; application=geotiff", "roles": ["data"],
                "eo:bands": [{"name": b, "common_name": b}],
                "proj:shape": [SIDE // STEP[b]] * 2, "proj:transform": [STEP[b], 0, WEST, 0, -STEP[b], NORTH],
                "raster:bands": [{"nodata": 0, "data_type": "uint16"}],
            }
            for b in (*bands, "scl")
        }  # fmt: skip
        properties = {
            "datetime": f"{day}T17:00:00Z", "platform": "sentinel-2a", "proj:epsg": 32615, "eo:cloud_cover": 5,
            "grid:code": "MGRS-15SYV", "s2:processing_baseline": "05.00", "earthsearch:boa_offset_applied": True,
        }  # fmt: skip
        found.append(Item.from_dict({
            "type": "Feature", "stac_version": "1.0.0", "id": name, "collection": "far", "links": [],
            "geometry": {"type": "Polygon", "coordinates": [corners]}, "bbox": [-91.9, 35.2, -90.6, 36.2],
            "properties": properties, "assets": assets,
            "stac_extensions": ["https://stac-extensions.github.io/projection/v1.1.0/schema.json"],
        }))  # fmt: skip
    return found
