"""Files in the real layouts: cloud-optimised GeoTIFFs, STAC items, label rasters with a colour table.

Nothing here depends on the clock, so the same seed gives the same bytes. Each file is complete or not there.
"""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import rasterio
from rasterio.transform import Affine

from arsetlib import folders

TAGS = {"SIMULATED": "YES", "TIFFTAG_IMAGEDESCRIPTION": "SIMULATED data of the course library arsetlib: not measured"}
BLOCK = 512


def write_json(path: Path, what: dict) -> None:
    folders.put(path, json.dumps(what, indent=1) + "\n")


def write_picture(path: Path, picture, form: str, **options) -> None:
    """Write a picture of Pillow. It is encoded in memory, since Pillow hides why a file could not be written."""
    encoded = io.BytesIO()
    picture.save(encoded, form, **options)
    folders.put(path, encoded.getvalue())


def made_earlier(out: Path, parameters: dict) -> bool:
    """Whether an earlier version of arsetlib, which put other marks, has completed the folder with these parameters."""
    try:
        held = json.loads((out / "_parameters.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return held == parameters and (out / "_complete").is_file()


def write_raster(path: Path, image: np.ndarray, transform: Affine, crs: str, nodata=0, colours=None) -> None:
    """Write one band as a cloud-optimised GeoTIFF: one block where it is small, else blocks and overviews.

    Args:
        path: Where to.
        image: (H, W) uint8 or uint16.
        transform: Of its pixels.
        crs: Of the transform.
        nodata: Value that stands for no data, or None.
        colours: Value → (r, g, b, a), for a raster of classes.
    """
    rows, columns = image.shape
    profile = {
        "height": rows,
        "width": columns,
        "count": 1,
        "dtype": image.dtype.name,
        "crs": crs,
        "transform": transform,
        "nodata": nodata,
        "compress": "ZSTD",
    }
    predictor = 2 if image.dtype.itemsize == 2 else 1
    if max(rows, columns) <= BLOCK:
        side = {"blockxsize": -(-columns // 16) * 16, "blockysize": -(-rows // 16) * 16}
        profile |= {"driver": "GTiff", "tiled": True, "predictor": predictor, "zstd_level": 3, **side}
    else:
        options = {"predictor": "STANDARD" if predictor == 2 else "NO", "level": 3, "blocksize": BLOCK}
        options["overview_resampling"] = "nearest"
        profile |= {"driver": "COG", **options}

    def fill(half: Path) -> None:
        with rasterio.open(half, "w", **profile) as file:
            _fill(file, image, colours)

    folders.put(path, fill)


def _fill(file, image, colours):
    file.update_tags(**TAGS)
    if colours:
        file.write_colormap(1, colours)
    file.write(image, 1)
