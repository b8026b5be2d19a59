"""Files of the simulations: cloud-optimised GeoTIFFs, label rasters with a colour table, pictures.

They contain no time of writing, so the same seed gives the same bytes. Each file is written whole or not at all.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from rasterio.transform import Affine

from arsetlib import folders, textfiles, web

if TYPE_CHECKING:
    from PIL.Image import Image

TAGS = {"SIMULATED": "YES", "TIFFTAG_IMAGEDESCRIPTION": "SIMULATED data of the course library arsetlib: not measured"}
BLOCK = 512


def write_picture(path: Path, picture: Image, form: str, **options: Any) -> None:
    """Write a Pillow picture. It is encoded in memory, because Pillow hides why a file could not be written."""
    encoded = io.BytesIO()
    picture.save(encoded, form, **options)
    folders.put(path, encoded.getvalue())


def made_earlier(out: Path, parameters: dict) -> bool:
    """Whether an earlier version of arsetlib (without a manifest) has completed this folder with ``parameters``."""
    try:
        made = textfiles.read_json(out / folders.EARLIER[0])
    except (OSError, ValueError):
        return False
    return made == parameters and (out / folders.EARLIER[1]).is_file()


def write_raster(
    path: Path, image: np.ndarray, transform: Affine, crs: str, nodata: float | None = 0,
    colours: dict[int, tuple[int, int, int, int]] | None = None,
) -> None:  # fmt: skip
    """Write one band as a cloud-optimised GeoTIFF: one block where it is small, else blocks and overviews.

    Args:
        path: File to write.
        image: (H, W) uint8 or uint16.
        transform: From pixels to coordinates.
        crs: Of the coordinates.
        nodata: Value that means no data, or None.
        colours: Value → (r, g, b, a), for a raster of classes.
    """
    rows, columns = image.shape
    profile = {
        "height": rows, "width": columns, "count": 1, "dtype": image.dtype.name, "crs": crs, "transform": transform,
        "nodata": nodata, "compress": "ZSTD",
    }  # fmt: skip
    differences = image.dtype.itemsize == 2  # the predictor helps where values are not classes
    if max(rows, columns) <= BLOCK:
        sides = {"blockxsize": -(-columns // 16) * 16, "blockysize": -(-rows // 16) * 16}
        profile |= {"driver": "GTiff", "tiled": True, "predictor": 2 if differences else 1, "zstd_level": 3, **sides}
    else:
        profile |= {"driver": "COG", "predictor": "STANDARD" if differences else "NO", "level": 3, "blocksize": BLOCK}
        profile |= {"overview_resampling": "nearest"}

    def write(unfinished: Path) -> None:
        with web.gdal(), rasterio.open(unfinished, "w", **profile) as file:
            file.update_tags(**TAGS)
            if colours:
                file.write_colormap(1, colours)
            file.write(image, 1)

    folders.put(path, write)
