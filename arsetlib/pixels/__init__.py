"""The pixel table: one row is one pixel of the label grid in one year, with all its images in order of date.

Three byte strings hold a row's series: ``day`` (``<u2``, days since 1970-01-01), ``scl`` (``u1``) and ``bands``
(``<u2`` × C, reflectance × 10,000 with the processing offset removed; valid values are at least 1, 0 is no data).
An Arrow binary column is a ragged array, offsets and one contiguous buffer, so the observations of a whole batch
are NumPy views on it: no copy and no loop. Band order, dtypes, scale, schema version and study are in the Parquet
key-value metadata, and every reader here checks them.

On disk a table is a folder of Parquet files, or a single file. ``arset ingest`` writes a plan into the folder first and
a manifest of all files last (see ``folders``). Readers read the files of the manifest; they refuse a folder that has a
plan and no manifest, or that lacks a file of its manifest. A folder that another program wrote has neither, so it
cannot be known whether it is complete.

    schema, meta, arrays      columns and numbers of pixels; metadata; series as NumPy arrays
    listing, reading          the files of a table and their footers; reading them (``rewritten``: of other programs)
    writing                   one file, complete or not at all
    rules, checking           the rules of a row; which rows of a table break them
    points, columns, places   tables of points from other sources
    arset_layout, sensors     tables of the 2024 course; two sensors joined
    describe, costs           a summary, and queries in SQL; what it costs in an object store
    lakes                     Delta, Iceberg and GeoParquet

Lab: part1_build_dataset.
"""

from arsetlib import oldnames
from arsetlib.pixels.arrays import Ragged, make_batch, ragged, series
from arsetlib.pixels.arset_layout import read_arset, write_arset
from arsetlib.pixels.checking import EXAMPLES, TableReport, check
from arsetlib.pixels.costs import cost, format_cost, prices
from arsetlib.pixels.describe import QUERIES, format_summary, summary
from arsetlib.pixels.lakes import Lake, export, open_lake
from arsetlib.pixels.listing import files
from arsetlib.pixels.meta import Meta
from arsetlib.pixels.points import PointFormat, from_cube, from_long, from_wide
from arsetlib.pixels.reading import FileBatch, dataset, read, row_group, stream
from arsetlib.pixels.rules import RULES, Break
from arsetlib.pixels.schema import SCHEMA, SERIES, VERSION, PixelError, block_id, pixel_id
from arsetlib.pixels.sensors import join
from arsetlib.pixels.writing import write

__all__ = [
    "EXAMPLES",
    "QUERIES",
    "RULES",
    "SCHEMA",
    "SERIES",
    "VERSION",
    "Break",
    "FileBatch",
    "Lake",
    "Meta",
    "PixelError",
    "PointFormat",
    "Ragged",
    "TableReport",
    "block_id",
    "check",
    "cost",
    "dataset",
    "export",
    "files",
    "format_cost",
    "format_summary",
    "from_cube",
    "from_long",
    "from_wide",
    "join",
    "make_batch",
    "open_lake",
    "pixel_id",
    "prices",
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

__getattr__ = oldnames.names_of("pixels")
