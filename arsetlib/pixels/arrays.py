"""The series of a table as flat NumPy arrays, and back: an Arrow binary column is a ragged array.

Lab: part1_build_dataset.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike

from arsetlib import sentinel2
from arsetlib.pixels.schema import PREFIX, SCHEMA, SERIES, SMALL, PixelError


@dataclass(frozen=True)
class Ragged:
    """Series of P rows as flat arrays: row i holds the observations ``offsets[i]`` to ``offsets[i + 1]``.

    Attributes:
        offsets: (P + 1,) int64, in observations.
        day: (N,) uint16, days since 1970-01-01.
        scl: (N,) uint8.
        bands: (N, C) uint16, reflectance × 10,000, 0 where there is no data.
    """

    offsets: np.ndarray
    day: np.ndarray
    scl: np.ndarray
    bands: np.ndarray

    @property
    def rows(self) -> np.ndarray:
        """(N,) row of each observation."""
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))


def make_batch(
    *, day: ArrayLike, scl: ArrayLike, bands: ArrayLike, offsets: ArrayLike, **columns: object
) -> pa.RecordBatch:
    """A record batch whose byte strings are the given arrays themselves, not copies.

    Args:
        day: (N,) days since 1970-01-01, all rows one after the other.
        scl: (N,) scene classes.
        bands: (N, C) reflectance × 10,000, 0 is no data.
        offsets: (P + 1,) where each row's observations begin, and the end of the last.
        **columns: The other columns of ``SCHEMA`` but ``num_images``, each (P,) or one value for all rows.
            ``label_confidence`` may be None or a masked array.

    Returns:
        A batch in ``SCHEMA``.

    Raises:
        PixelError: Lengths do not agree, a column is missing, or the series are larger than 2 GiB.

    Lab: part1_build_dataset.
    """
    offsets = np.asarray(offsets, np.int64)
    day, scl = np.ascontiguousarray(day, "<u2"), np.ascontiguousarray(scl, "u1")
    bands = np.ascontiguousarray(bands, "<u2")
    if bands.ndim != 2 or not len(day) == len(scl) == len(bands) == offsets[-1] or offsets[0] != 0:
        raise PixelError(
            f"Expected as many days, scene classes and band rows as the last offset says ({offsets[-1]}), "
            f"received {len(day)}, {len(scl)} and bands of shape {bands.shape}; offsets must start at 0."
        )
    rows = len(offsets) - 1
    columns = {"label_confidence": None} | columns | {"num_images": np.diff(offsets)}
    expected = set(SMALL)
    if set(columns) != expected:
        raise PixelError(
            f"Expected the columns {sorted(expected - {'num_images'})}, missing {sorted(expected - set(columns))}, "
            f"unknown {sorted(set(columns) - expected)}."
        )
    series = {
        "day": binary(day, offsets, day.itemsize),
        "scl": binary(scl, offsets, scl.itemsize),
        "bands": binary(bands, offsets, bands.itemsize * bands.shape[1]),
    }
    small = {name: _column(columns[name], rows, SCHEMA.field(name).type) for name in SMALL}
    return pa.RecordBatch.from_arrays([(small | series)[name] for name in SCHEMA.names], schema=SCHEMA)


def binary(values: np.ndarray, offsets: np.ndarray, size: int) -> pa.Array:
    """A binary column on the memory of ``values``.

    Args:
        values: (N, …) contiguous, ``size`` bytes an observation.
        offsets: (P + 1,) where each row's observations begin.
        size: Bytes an observation.
    """
    if offsets[-1] * size >= 2**31:
        raise PixelError(f"Expected less than 2 GiB of series in one batch, received {offsets[-1] * size} bytes.")
    buffers = [None, pa.py_buffer((offsets * size).astype("<i4")), pa.py_buffer(values)]
    return pa.Array.from_buffers(pa.binary(), len(offsets) - 1, buffers)


def _column(value: object, rows: int, kind: pa.DataType) -> pa.Array:
    if value is None:
        return pa.nulls(rows, kind)
    if isinstance(value, np.ma.MaskedArray):
        return pa.array(value.data, kind, mask=np.ma.getmaskarray(value))
    if np.ndim(value) == 0:
        return pa.repeat(pa.scalar(value, kind), rows)
    return value.cast(kind) if isinstance(value, pa.Array) else pa.array(value, kind)


def ragged(table: pa.Table | pa.RecordBatch) -> Ragged:
    """The series of a table as flat arrays.

    They are views on the table's own buffers if it is one chunk (one batch, or ``table.combine_chunks()``), else one
    copy.

    Args:
        table: With the columns ``day``, ``scl`` and ``bands``. The number of bands is that of the metadata, or else
            follows from the lengths.

    Returns:
        Offsets, days, scene classes and bands.

    Raises:
        PixelError: The byte strings of a row disagree in length.

    Lab: part1_build_dataset.

    >>> columns = {"day": [b"\\x01\\x00"], "scl": [b"\\x04"], "bands": [b"\\x10\\x00\\x20\\x00"]}
    >>> flat = ragged(pa.table({name: pa.array(value, pa.binary()) for name, value in columns.items()}))
    >>> flat.day.tolist(), flat.bands.tolist()
    ([1], [[16, 32]])
    """
    parts = {name: buffers(table.column(name)) for name in SERIES}
    scl_offsets, scl = parts["scl"]
    count = int(scl_offsets[-1])
    size = _bytes_of_bands(table.schema, count, parts["bands"][0][-1])
    for name, width in (("day", 2), ("bands", size)):
        wrong = np.flatnonzero(parts[name][0] != scl_offsets * width)
        if len(wrong):
            row = max(int(wrong[0]) - 1, 0)
            raise PixelError(
                f"Row {row}: expected {width} bytes of `{name}` per byte of `scl`, received "
                f"{np.diff(parts[name][0])[row]} for {np.diff(scl_offsets)[row]}. Run `arset check` on the table."
            )
    bands = parts["bands"][1].view("<u2").reshape(count, size // 2)
    return Ragged(scl_offsets, parts["day"][1].view("<u2"), scl, bands)


def series(table: pa.Table | pa.RecordBatch, i: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The series of one row.

    Args:
        table: With the columns ``day``, ``scl`` and ``bands``.
        i: Row number.

    Returns:
        day (N,), scl (N,) and bands (N, C), as in ``Ragged``.

    Raises:
        IndexError: The table has no such row.

    Lab: part1_build_dataset.
    """
    if not 0 <= i < table.num_rows:
        raise IndexError(f"Expected a row from 0 to {table.num_rows - 1}, received {i}.")
    one = ragged(table.slice(i, 1))
    return one.day, one.scl, one.bands


def _bytes_of_bands(schema: pa.Schema, count: int, total: int) -> int:
    """Bytes of `bands` per observation."""
    key = (PREFIX + "bands").encode()
    if key in (schema.metadata or {}):
        return 2 * len(json.loads(schema.metadata[key]))
    return int(total) // count if count and total % (2 * count) == 0 else 2 * len(sentinel2.BANDS)


def buffers(column: pa.ChunkedArray | pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Offsets (P + 1,) int64 and bytes (B,) uint8 of a binary column; views where it is one chunk."""
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    parts = [_chunk_buffers(chunk) for chunk in chunks if len(chunk)]
    if not parts:
        return np.zeros(1, np.int64), np.zeros(0, np.uint8)
    starts = np.cumsum([0] + [offsets[-1] for offsets, _ in parts])
    offsets = [parts[0][0]] + [o[1:] + s for (o, _), s in zip(parts[1:], starts[1:-1], strict=True)]
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(offsets), np.concatenate([values for _, values in parts])


def _chunk_buffers(chunk: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    if chunk.null_count:
        raise PixelError("Expected byte strings in every row, received a null. Run `arset check` on the table.")
    if chunk.type not in (pa.binary(), pa.large_binary()):
        chunk = chunk.cast(pa.large_binary())
    width = "<i8" if chunk.type == pa.large_binary() else "<i4"
    _, where, values = chunk.buffers()
    offsets = np.frombuffer(where, width)[chunk.offset : chunk.offset + len(chunk) + 1].astype(np.int64)
    if values is None:
        return offsets - offsets[0], np.zeros(0, np.uint8)
    return offsets - offsets[0], np.frombuffer(values, np.uint8)[offsets[0] : offsets[-1]]
