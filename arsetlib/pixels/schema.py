"""The columns of a pixel table, and the numbers that identify its pixels and blocks.

Lab: part1_build_dataset.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike

from arsetlib.errors import ArsetError

VERSION = 1  # of the schema, in the metadata of each table
DTYPES = {"day": "<u2", "scl": "u1", "bands": "<u2"}
SERIES = tuple(DTYPES)  # the columns of byte strings

# Columns of a pixel table and their Arrow types.
SCHEMA = pa.schema(
    [
        pa.field("pixel", pa.int64(), nullable=False),
        pa.field("year", pa.int16(), nullable=False),
        pa.field("area", pa.string(), nullable=False),
        pa.field("block", pa.int32(), nullable=False),
        pa.field("x", pa.float64(), nullable=False),
        pa.field("y", pa.float64(), nullable=False),
        pa.field("lon", pa.float64(), nullable=False),
        pa.field("lat", pa.float64(), nullable=False),
        pa.field("label_code", pa.int16(), nullable=False),
        pa.field("label_confidence", pa.uint8(), nullable=True),
        pa.field("num_images", pa.int32(), nullable=False),
        pa.field("day", pa.binary(), nullable=False),
        pa.field("scl", pa.binary(), nullable=False),
        pa.field("bands", pa.binary(), nullable=False),
    ]
)
SMALL = tuple(name for name in SCHEMA.names if name not in SERIES)

# Chosen by benchmarks/storage.py: see the figures of `zstd_level_*` and `row_group_*` there.
ROW_GROUP = 8192  # rows
ZSTD_LEVEL = 3

PREFIX = "arset."
MAX_DN = 32_767  # ESA writes DN in 15 bits
BLOCK_M = 10_000.0  # block side of tables read from the ARSET layout, m


class PixelError(ArsetError, ValueError):
    """A pixel table cannot be read or written, or its contents are invalid."""


def pixel_id(x: ArrayLike, y: ArrayLike, resolution: float) -> np.ndarray:
    """Number of a grid pixel, the same in every year and area.

    ``row * 2**25 + col`` with ``row = floor(-y / resolution + 1/4) + 2**24`` and
    ``col = floor(x / resolution + 1/4) + 2**24``. The quarter keeps pixel centres away from the
    values at which ``floor`` changes, for both usual grids: edges or (as the CDL) centres at multiples of the
    resolution.

    Args:
        x, y: Pixel centres, m, any shape.
        resolution: Side of a pixel, m.

    Returns:
        int64 of the same shape.

    Lab: part1_build_dataset.

    >>> pixel_id(15.0, 45.0, 30.0) - pixel_id(15.0, 15.0, 30.0) == -(2**25)  # one row to the north
    np.True_
    """
    row = np.floor(-np.asarray(y, np.float64) / resolution + 0.25).astype(np.int64) + 2**24
    col = np.floor(np.asarray(x, np.float64) / resolution + 0.25).astype(np.int64) + 2**24
    return row * 2**25 + col


def block_id(x: ArrayLike, y: ArrayLike, block_m: float) -> np.ndarray:
    """Number of the spatial block that holds a pixel, for splits without leakage.

    Args:
        x, y: Pixel centres, m, any shape.
        block_m: Side of a block, m; at least 1,000 on Earth's grids, so that the number fits.

    Returns:
        int32 of the same shape.

    Raises:
        PixelError: A coordinate is more than 20,000 blocks from the origin.

    Lab: part2_load_data.

    >>> block_id([0, 999, 1001], [0, 0, 0], block_m=1000).tolist()
    [800020000, 800020000, 800020001]
    """
    reach = max(np.max(np.abs(x), initial=0), np.max(np.abs(y), initial=0)) / block_m
    if not reach < 20_000:
        raise PixelError(
            f"Expected coordinates within 20,000 blocks of the grid's origin, received {reach:,.0f} blocks of "
            f"{block_m} m. Use a larger block_m in the study."
        )
    return block_number(x, y, block_m).astype(np.int32)


def block_number(x: ArrayLike, y: ArrayLike, block_m: float) -> np.ndarray:
    """``block_id`` as int64, for coordinates of any size."""
    row, col = (np.floor(np.asarray(v, np.float64) / block_m).astype(np.int64) + 20_000 for v in (y, x))
    return row * 40_000 + col
