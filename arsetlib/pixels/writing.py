"""Writing a pixel table.

Lab: part1_build_dataset.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from arsetlib import folders
from arsetlib.pixels import schema as layout
from arsetlib.pixels.meta import Meta
from arsetlib.pixels.schema import SCHEMA, SMALL, ZSTD_LEVEL, PixelError


def write(batches: Iterable[pa.RecordBatch] | pa.Table, path: str | Path, meta: Meta) -> int:
    """Write one complete Parquet file, or none.

    Series are stored as they are used, image by image, compressed with zstd; a row group has 8,192 rows; each page has
    a checksum. benchmarks/storage.py measures the alternatives: storing low and high bytes apart makes smaller files,
    but reading is then slower and needs a copy.

    Args:
        batches: Batches (or a table) in ``SCHEMA``; taken one at a time.
        path: File to write, on disk or in an object store. It appears when it is complete: until then its bytes go to a
            hidden file beside it, or to a temporary file of this machine.
        meta: Its key-value metadata.

    Returns:
        Rows written.

    Raises:
        PixelError: A batch is not in ``SCHEMA``, or the disk is full.

    Lab: part1_build_dataset.
    """
    if isinstance(batches, pa.Table):
        batches = batches.to_batches()
    conform = (_conform(batch, folders.place(path)) for batch in batches)
    return write_file(conform, path, SCHEMA.with_metadata(meta.to_kv()))


def write_file(batches: Iterable[pa.RecordBatch], path: str | Path, schema: pa.Schema) -> int:
    """As ``write``, for batches that have the columns of ``schema``, which may be more than those of ``SCHEMA``."""
    path, rows = folders.place(path), 0

    def fill(hidden: Path) -> None:
        nonlocal rows
        with pq.ParquetWriter(hidden, schema, **_writer_options()) as writer:
            rows = sum(_write_group(writer, group, schema) for group in _grouped(batches))

    with folders.full_disk(path.parent, PixelError):
        folders.put(path, fill)
    return rows


def _writer_options() -> dict:
    return {
        "compression": "zstd",
        "compression_level": ZSTD_LEVEL,
        "use_dictionary": ["year", "area", "block", "label_code", "label_confidence", "num_images"],
        "write_statistics": list(SMALL),
        "write_page_checksum": True,
    }


def _write_group(writer: pq.ParquetWriter, group: list[pa.RecordBatch], schema: pa.Schema) -> int:
    table = pa.Table.from_batches(group).cast(schema)
    writer.write_table(table, row_group_size=layout.ROW_GROUP)
    return table.num_rows


def _grouped(batches: Iterable[pa.RecordBatch]) -> Iterator[list[pa.RecordBatch]]:
    """Join small batches and cut large ones, so that each row group but the last is full."""
    waiting: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        while count + batch.num_rows >= layout.ROW_GROUP:
            cut = layout.ROW_GROUP - count
            yield [*waiting, batch.slice(0, cut)]
            waiting, count, batch = [], 0, batch.slice(cut)
        if batch.num_rows:
            waiting.append(batch)
            count += batch.num_rows
    if waiting:
        yield waiting


def _conform(batch: pa.RecordBatch, path: Path) -> pa.RecordBatch:
    if not all(name in batch.schema.names for name in SCHEMA.names):
        raise PixelError(f"{path}: expected the columns {SCHEMA.names}, received {batch.schema.names}.")
    batch = batch.select(SCHEMA.names)
    for have, want in zip(batch.schema, SCHEMA, strict=True):
        if have.type != want.type:
            raise PixelError(f"{path}: expected `{want.name}` as {want.type}, received {have.type}.")
        if not want.nullable and batch.column(want.name).null_count:
            raise PixelError(f"{path}: expected a value in every row of `{want.name}`, received nulls.")
    return pa.RecordBatch.from_arrays(batch.columns, schema=SCHEMA)
