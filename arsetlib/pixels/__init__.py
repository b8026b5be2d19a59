"""The pixel table: one row is one pixel of the label grid in one year, with all its images in date order.

Three byte strings hold a row's series: ``day`` (``<u2``, days since 1970-01-01), ``scl`` (``u1``) and ``bands``
(``<u2`` × C, reflectance × 10,000 with the processing offset removed; valid values are at least 1, 0 is no data).
An Arrow binary column is a ragged array, offsets and one contiguous buffer, so the observations of a whole batch
are NumPy views on it: no copy and no loop. Band order, dtypes, scale, schema version and study stand in the
Parquet key-value metadata, and every reader here checks them.

On disk a table is a folder of Parquet files, or a single one. ``arset ingest`` puts a plan into the folder first and a
manifest of all files last (see ``folders``): readers open no folder that has a plan and no manifest, or that lacks a
file of its manifest. A folder that another program wrote has neither, so whether it is complete cannot be known.

Lab: part1_build_dataset.
"""

from arsetlib.pixels.arset_layout import read_arset, write_arset
from arsetlib.pixels.describe import QUERIES, format_summary, summary
from arsetlib.pixels.long import from_long
from arsetlib.pixels.rules import EXAMPLES, RULES, Break, Report, check
from arsetlib.pixels.sensors import join
from arsetlib.pixels.table import (
    BLOCK_M,
    SCHEMA,
    SERIES,
    VERSION,
    Meta,
    Part,
    PixelError,
    Ragged,
    block_id,
    dataset,
    files,
    make_batch,
    pixel_id,
    ragged,
    read,
    row_group,
    series,
    stream,
    write,
)
from arsetlib.pixels.wide import from_wide

__all__ = [
    "BLOCK_M",
    "EXAMPLES",
    "QUERIES",
    "RULES",
    "SCHEMA",
    "SERIES",
    "VERSION",
    "Break",
    "Meta",
    "Part",
    "PixelError",
    "Ragged",
    "Report",
    "block_id",
    "check",
    "dataset",
    "files",
    "format_summary",
    "from_long",
    "from_wide",
    "join",
    "make_batch",
    "pixel_id",
    "ragged",
    "read",
    "read_arset",
    "row_group",
    "series",
    "stream",
    "summary",
    "write",
    "write_arset",
]
