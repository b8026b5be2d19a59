"""Files in the real layouts: cloud-optimised GeoTIFFs, STAC items, label rasters with a colour table.

Nothing here depends on the clock, so the same seed gives the same bytes. Each file is written under another name
first: a file that carries its own name is whole.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import rasterio
from rasterio.transform import Affine

TAGS = {"SIMULATED": "YES", "TIFFTAG_IMAGEDESCRIPTION": "SIMULATED data of the course library arsetlib: not measured"}
BLOCK = 512


def write_text(path: Path, text: str) -> None:
    """Write a text file that is either whole or not there."""
    part = path.with_name("." + path.name + ".part")
    part.write_text(text, encoding="utf-8", newline="\n")
    os.replace(part, path)


def write_json(path: Path, what: dict) -> None:
    write_text(path, json.dumps(what, indent=1) + "\n")


def claim(out: Path, parameters: dict, what: str, folders: tuple[str, ...]) -> bool:
    """Make a folder ours, with its subfolders; True if it is already complete.

    Raises:
        FileExistsError: It holds something else, or was made with other parameters; ``what`` names what it should be.
    """
    mark = out / "_parameters.json"
    if mark.is_file():
        held = json.loads(mark.read_text(encoding="utf-8"))
        if held != parameters:
            raise FileExistsError(
                f"{out} holds a simulated {what} made with {held}; asked for {parameters}. "
                "Choose another folder, delete this one, or ask for the same parameters."
            )
        return (out / "_complete").is_file()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(f"{out} exists and is no simulated {what}. Choose a new or an empty folder.")
    for folder in folders:
        (out / folder).mkdir(parents=True, exist_ok=True)
    write_json(mark, parameters)
    return False


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
    part = path.with_name("." + path.name + ".part")
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
        with rasterio.open(
            part, "w", driver="GTiff", tiled=True, predictor=predictor, zstd_level=3, **side, **profile
        ) as file:
            _fill(file, image, colours)
    else:
        options = {"predictor": "STANDARD" if predictor == 2 else "NO", "level": 3, "blocksize": BLOCK}
        options["overview_resampling"] = "nearest"
        with rasterio.open(part, "w", driver="COG", **options, **profile) as file:
            _fill(file, image, colours)
    os.replace(part, path)


def _fill(file, image, colours):
    file.update_tags(**TAGS)
    if colours:
        file.write_colormap(1, colours)
    file.write(image, 1)
