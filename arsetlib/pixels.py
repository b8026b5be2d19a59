"""The pixel table: one row is one pixel of the label grid in one year, with all its images in date order.

Three byte strings hold a row's series: ``day`` (``<u2``, days since 1970-01-01), ``scl`` (``u1``) and ``bands``
(``<u2`` × C, reflectance × 10,000 with the processing offset removed; valid values are at least 1, 0 is no data).
An Arrow binary column is a ragged array, offsets and one contiguous buffer, so the observations of a whole batch
are NumPy views on it: no copy and no loop. Band order, dtypes, scale, schema version and study stand in the
Parquet key-value metadata, and every reader here checks them.

On disk a table is a folder of Parquet files with a ``_run.json``, or a single Parquet file. While it is being
made its folder ends in ``.partial``, and no reader here opens it.

Lab: part1_build_dataset.
"""

from __future__ import annotations

import errno
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from urllib.parse import quote, unquote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from pyproj import Transformer

from arsetlib import cdl, sentinel2

VERSION = 1
DTYPES = {"day": "<u2", "scl": "u1", "bands": "<u2"}
SERIES = tuple(DTYPES)

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
UNFINISHED = ".partial"
RUN_FILE = "_run.json"
MAX_DN = 32_767  # ESA writes DN in 15 bits
PER_PASS = 16_000_000  # rows whose keys are compared at once
BLOCK_M = 10_000.0  # block side of tables read from the ARSET layout, m


class PixelError(ValueError):
    """A pixel table cannot be read or written, or does not say what it should."""


# Metadata


@dataclass(frozen=True)
class Meta:
    """What a table's byte strings mean and where they come from.

    Attributes:
        bands: Band names in the order of the ``bands`` column.
        crs: CRS of ``x`` and ``y``, such as ``EPSG:5070``.
        resolution: Side of a label pixel, m.
        study: Key of the study.
        simulated: True where no satellite saw these values.
        scale: Reflectance per unit of ``bands``.
        version: Version of the schema.
        extra: More facts, JSON values. ``block_m`` (side of a spatial block) lets ``check`` verify ``block``.
    """

    bands: tuple[str, ...]
    crs: str
    resolution: float
    study: str
    simulated: bool
    scale: float = sentinel2.SCALE
    version: int = VERSION
    extra: dict = field(default_factory=dict)

    def to_kv(self) -> dict[bytes, bytes]:
        """Parquet key-value metadata: each value as JSON, each key starting with ``arset.``."""
        values = {
            "version": self.version,
            "bands": list(self.bands),
            "dtypes": DTYPES,
            "scale": self.scale,
            "crs": self.crs,
            "resolution": self.resolution,
            "study": self.study,
            "simulated": self.simulated,
            "extra": self.extra,
        }
        return {(PREFIX + key).encode(): json.dumps(value).encode() for key, value in values.items()}

    @classmethod
    def of(cls, source: pa.Schema | pa.Table | str | Path) -> Meta:
        """Metadata of a table.

        Args:
            source: A schema, a table, or the path of a table (its first file is read).

        Raises:
            PixelError: The metadata is absent, of a newer version, or describes other byte strings.

        Lab: part1_build_dataset.
        """
        if isinstance(source, pa.Table):
            return cls._of(source.schema, "The table")
        if isinstance(source, pa.Schema):
            return cls._of(source, "The schema")
        file = files(source)[0]
        return cls._of(_footer(file).schema.to_arrow_schema(), str(file))

    @classmethod
    def _of(cls, schema: pa.Schema, where: str) -> Meta:
        found = {key.decode(): value for key, value in (schema.metadata or {}).items()}
        found = {key[len(PREFIX) :]: json.loads(value) for key, value in found.items() if key.startswith(PREFIX)}
        if "version" not in found:
            hint = (
                "It is in the ARSET layout: open it with pixels.read_arset."
                if {"CDL", "img_dates"} <= set(schema.names)
                else "Make one with `arset ingest`, or write yours with pixels.write."
            )
            raise PixelError(f"{where} is not a pixel table: expected {PREFIX}* metadata, received none. {hint}")
        if found["version"] > VERSION:
            raise PixelError(
                f"{where} has schema version {found['version']}, this library reads up to {VERSION}. "
                f"Update it: pip install --upgrade arsetlib."
            )
        if found.pop("dtypes", None) != DTYPES:
            raise PixelError(f"{where} states other dtypes than {DTYPES}. Write it again with pixels.write.")
        try:
            return cls(**{**found, "bands": tuple(found["bands"])})
        except (KeyError, TypeError) as error:
            raise PixelError(f"{where} lacks metadata ({error}). Write it again with pixels.write.") from error


# Identities


def pixel_id(x, y, resolution: float) -> np.ndarray:
    """Number of a grid pixel, the same in every year and area.

    ``row * 2**25 + col`` with ``row = floor(-y / resolution + 1/4) + 2**24`` and
    ``col = floor(x / resolution + 1/4) + 2**24``. The quarter keeps the centres of both usual kinds of grid
    (edges or centres at multiples of the resolution; CDL's is of the second) away from a rounding edge.

    Args:
        x, y: Pixel centres, m, any shape.
        resolution: Side of a pixel, m.

    Returns:
        int64 of the same shape.
    """
    row = np.floor(-np.asarray(y, np.float64) / resolution + 0.25).astype(np.int64) + 2**24
    col = np.floor(np.asarray(x, np.float64) / resolution + 0.25).astype(np.int64) + 2**24
    return row * 2**25 + col


def block_id(x, y, block_m: float) -> np.ndarray:
    """Number of the spatial block that holds a pixel, for splits without leakage.

    Args:
        x, y: Pixel centres, m, any shape.
        block_m: Side of a block, m; at least 1,000 on Earth's grids, so that the number fits.

    Returns:
        int32 of the same shape.
    """
    reach = max(np.max(np.abs(x), initial=0), np.max(np.abs(y), initial=0)) / block_m
    if not reach < 20_000:
        raise PixelError(
            f"Expected coordinates within 20,000 blocks of the grid's origin, received {reach:,.0f} blocks of "
            f"{block_m} m. Use a larger block_m in the study."
        )
    return _block_number(x, y, block_m).astype(np.int32)


def _block_number(x, y, block_m: float) -> np.ndarray:
    row, col = (np.floor(np.asarray(v, np.float64) / block_m).astype(np.int64) + 20_000 for v in (y, x))
    return row * 40_000 + col


# Ragged series


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


def make_batch(*, day, scl, bands, offsets, **columns) -> pa.RecordBatch:
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
        PixelError: Lengths do not agree, a column is missing, or the series pass 2 GiB.

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
        "day": _binary(day, offsets, day.itemsize),
        "scl": _binary(scl, offsets, scl.itemsize),
        "bands": _binary(bands, offsets, bands.itemsize * bands.shape[1]),
    }
    small = {name: _column(columns[name], rows, SCHEMA.field(name).type) for name in SMALL}
    return pa.RecordBatch.from_arrays([(small | series)[name] for name in SCHEMA.names], schema=SCHEMA)


def _binary(values: np.ndarray, offsets: np.ndarray, size: int) -> pa.Array:
    if offsets[-1] * size >= 2**31:
        raise PixelError(f"Expected less than 2 GiB of series in one batch, received {offsets[-1] * size} bytes.")
    buffers = [None, pa.py_buffer((offsets * size).astype("<i4")), pa.py_buffer(values)]
    return pa.Array.from_buffers(pa.binary(), len(offsets) - 1, buffers)


def _column(value, rows: int, kind: pa.DataType) -> pa.Array:
    if value is None:
        return pa.nulls(rows, kind)
    if isinstance(value, np.ma.MaskedArray):
        return pa.array(value.data, kind, mask=np.ma.getmaskarray(value))
    if np.ndim(value) == 0:
        return pa.repeat(pa.scalar(value, kind), rows)
    return value.cast(kind) if isinstance(value, pa.Array) else pa.array(value, kind)


def ragged(table: pa.Table | pa.RecordBatch) -> Ragged:
    """The series of a table as flat arrays.

    Views on the table's own buffers where it is one chunk (one batch, or ``table.combine_chunks()``), else one copy.

    Args:
        table: With the columns ``day``, ``scl`` and ``bands``. The number of bands is that of the metadata, or else
            follows from the lengths.

    Returns:
        Offsets, days, scene classes and bands.

    Raises:
        PixelError: The byte strings of a row disagree in length.

    Lab: part1_build_dataset.
    """
    parts = {name: _buffers(table.column(name)) for name in SERIES}
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

    Lab: part1_build_dataset.
    """
    one = ragged(table.slice(i, 1))
    return one.day, one.scl, one.bands


def _bytes_of_bands(schema: pa.Schema, count: int, total: int) -> int:
    """Bytes of `bands` per observation."""
    key = (PREFIX + "bands").encode()
    if key in (schema.metadata or {}):
        return 2 * len(json.loads(schema.metadata[key]))
    return int(total) // count if count and total % (2 * count) == 0 else 2 * len(sentinel2.BANDS)


def _buffers(column: pa.ChunkedArray | pa.Array) -> tuple[np.ndarray, np.ndarray]:
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


# Writing


def write(batches: Iterable[pa.RecordBatch] | pa.Table, path: str | Path, meta: Meta) -> int:
    """Write one Parquet file, whole or not at all.

    Series are stored as they are used, image by image, compressed with zstd; rows come in groups of
    ``ROW_GROUP``; pages carry a checksum. benchmarks/storage.py measures what else was tried: splitting low from
    high bytes makes smaller files, but then reading is slower and no longer without a copy.

    Args:
        batches: Batches (or a table) in ``SCHEMA``; taken one at a time.
        path: File to write. It appears when complete: until then its bytes go to a hidden file beside it.
        meta: Goes into the key-value metadata.

    Returns:
        Rows written.

    Raises:
        PixelError: A batch is not in ``SCHEMA``, or the disk is full.

    Lab: part1_build_dataset.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    hidden = path.with_name(f".{path.name}.{os.getpid()}")
    if isinstance(batches, pa.Table):
        batches = batches.to_batches()
    schema = SCHEMA.with_metadata(meta.to_kv())
    try:
        with pq.ParquetWriter(hidden, schema, **_writer_options()) as writer:
            rows = sum(_write_group(writer, group, schema) for group in _grouped(batches, path))
        os.replace(hidden, path)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise PixelError(
                f"No space left to write {path}. Free some and run the same command again: finished files are kept."
            ) from error
        raise
    finally:
        hidden.unlink(missing_ok=True)
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
    table = pa.Table.from_batches(group, schema=SCHEMA).replace_schema_metadata(schema.metadata)
    writer.write_table(table, row_group_size=ROW_GROUP)
    return table.num_rows


def _grouped(batches: Iterable[pa.RecordBatch], path: Path) -> Iterator[list[pa.RecordBatch]]:
    """Small batches together, large ones cut, so that row groups are full whatever comes in."""
    waiting: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        batch = _conform(batch, path)
        while count + batch.num_rows >= ROW_GROUP:
            cut = ROW_GROUP - count
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


# Reading


def files(path: str | Path) -> list[Path]:
    """Parquet files of a table, in order of name.

    Args:
        path: Folder or file.

    Raises:
        PixelError: There is no table here, or it is unfinished.
    """
    path = Path(path)
    partial = path.with_name(path.name + UNFINISHED)
    if path.name.endswith(UNFINISHED) or (partial.exists() and not path.exists()):
        raise _unfinished(path)
    if path.is_file():
        return [path]
    run = path / RUN_FILE
    if run.exists() and _status(run) != "complete":
        raise _unfinished(path)
    found = sorted(f for f in path.glob("*.parquet") if not f.name.startswith(("_", ".")))
    if not found:
        if next(path.glob("**/*.parquet"), None):
            hint = "Its files lie in folders: if this is the ARSET layout, open it with pixels.read_arset."
        else:
            hint = "Make one with `arset ingest`."
        raise PixelError(f"Expected a pixel table at {path}, found no Parquet file. {hint}")
    return found


def _status(run: Path) -> str | None:
    try:
        return json.loads(run.read_text()).get("status")
    except (ValueError, AttributeError):
        return None


def _unfinished(path: Path) -> PixelError:
    out = path.name.removesuffix(UNFINISHED)
    return PixelError(
        f"The table {path.with_name(out)} is unfinished. Run the `arset ingest` command that began it again, "
        f"with the same study and output: finished chunks are kept and only the rest is made."
    )


def _footer(file: Path) -> pq.FileMetaData:
    try:
        return pq.read_metadata(file)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(file, error) from error


def _damaged(file: Path, error: Exception) -> PixelError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return PixelError(
        f"{file} cannot be read: truncated or damaged ({reason}). Delete it and run the same `arset ingest` command "
        f"again, or copy it anew."
    )


def dataset(path: str | Path) -> ds.Dataset:
    """A table as a lazy Arrow data set, for scans larger than memory; its metadata are checked first.

    Args:
        path: Folder or file.

    Returns:
        A data set whose schema is ``SCHEMA`` with the table's metadata.

    Raises:
        PixelError: The table is missing, unfinished or damaged, or two of its files differ in what they hold.

    Lab: part1_build_dataset.
    """
    found = files(path)
    meta = _common_meta(found)
    options = ds.ParquetFragmentScanOptions(page_checksum_verification=True)
    layout = ds.ParquetFileFormat(default_fragment_scan_options=options)
    return ds.dataset([str(f) for f in found], schema=SCHEMA.with_metadata(meta.to_kv()), format=layout)


def _common_meta(found: Sequence[Path]) -> Meta:
    first: Meta | None = None
    for file in found:
        schema = _footer(file).schema.to_arrow_schema()
        meta = Meta._of(schema, str(file))
        _check_columns(schema, file)
        first = first or meta
        if (meta.bands, meta.scale, meta.crs, meta.resolution, meta.study, meta.simulated) != (
            *(first.bands, first.scale, first.crs, first.resolution, first.study, first.simulated),
        ):
            raise PixelError(
                f"{file} and {found[0]} differ in bands, scale, grid or study, so they are not one table. "
                f"Keep each in its own folder."
            )
    return first


def _check_columns(schema: pa.Schema, file: Path) -> None:
    for want in SCHEMA:
        have = schema.field(want.name).type if want.name in schema.names else None
        if have != want.type:
            raise PixelError(
                f"{file}: expected a column `{want.name}` of type {want.type}, received {have or 'none'}. "
                f"Write the file again with pixels.write."
            )


def read(path: str | Path, columns: Sequence[str] | None = None, filter: pc.Expression | None = None) -> pa.Table:
    """Read a table, or a part of it, into memory.

    Args:
        path: Folder or file.
        columns: Columns to read, all by default.
        filter: Rows to keep, such as ``pc.field("year") == 2021``. Row groups it rules out are not read.

    Returns:
        A table in ``SCHEMA`` (its columns asked for) with the metadata.

    Raises:
        PixelError: The table is missing, unfinished or damaged, or the byte strings of a row disagree in length.

    Lab: part1_build_dataset.
    """
    data = dataset(path)
    unknown = set(columns or ()) - set(SCHEMA.names)
    if unknown:
        raise PixelError(f"Expected columns out of {SCHEMA.names}, received {sorted(unknown)}.")
    try:
        table = data.to_table(columns=None if columns is None else list(columns), filter=filter)
    except (pa.ArrowException, OSError) as error:
        raise _blame(data.files, error) from error
    if {"num_images", *SERIES} & set(table.column_names) != {"num_images"}:
        _check_lengths(table, path)
    return table


def _blame(found: Sequence[str], error: Exception) -> PixelError:
    """Find the file that cannot be read: a scan of many does not always say."""
    for file in map(Path, found):
        try:
            for _ in pq.ParquetFile(file, page_checksum_verification=True).iter_batches():
                pass
        except (pa.ArrowException, OSError) as reason:
            return _damaged(file, reason)
    return PixelError(f"The table could not be read ({error}). If the disk is sound, run `arset check` on it.")


def _check_lengths(table: pa.Table, path: str | Path) -> None:
    """Byte lengths of the series must agree; a few comparisons on the offsets, so every read does it."""
    size = {"day": 2, "scl": 1, "bands": 2 * len(Meta.of(table).bands)}
    present = [name for name in SERIES if name in table.column_names]
    counts = [pc.binary_length(table.column(name)).to_numpy() / size[name] for name in present]
    if "num_images" in table.column_names:
        counts.append(table.column("num_images").to_numpy())
    if all(np.array_equal(counts[0], other) for other in counts[1:]):
        return
    broken = next((b for b in check(path).breaks if b.rule == "lengths"), None)
    raise PixelError(f"{broken or path}: byte strings disagree in length. Run `arset check` for all such rows.")


@dataclass(frozen=True)
class Part:
    """A piece of a table as it is streamed: rows ``row`` onwards of one row group of one file."""

    file: Path
    row_group: int
    row: int
    batch: pa.RecordBatch


def stream(path: str | Path, columns: Sequence[str] | None = None) -> Iterator[Part]:
    """A table piece by piece, in order, in memory that does not grow with it.

    Args:
        path: Folder or file.
        columns: Columns to read, all by default.

    Yields:
        Batches of at most ``ROW_GROUP`` rows with where they come from.

    Raises:
        PixelError: The table is missing, unfinished or damaged.
    """
    found = files(path)
    _common_meta(found)
    names = list(columns or SCHEMA.names)
    for file in found:
        try:
            with pq.ParquetFile(file, page_checksum_verification=True) as opened:
                for group in range(opened.num_row_groups):
                    row = 0
                    for batch in opened.iter_batches(ROW_GROUP, row_groups=[group], columns=names):
                        yield Part(file, group, row, batch.select(names))
                        row += batch.num_rows
        except (pa.ArrowException, OSError) as error:
            raise _damaged(file, error) from error


# Checking

RULES: dict[str, str] = {
    "null": "every column but label_confidence has a value",
    "num_images": "num_images is at least 0",
    "lengths": "day, scl and bands hold num_images observations",
    "day_order": "days ascend strictly: one image a day",
    "day_year": "days lie in the row's year",
    "scl": "scene classes are 0 to 11",
    "bands": f"values are at most {MAX_DN}, and every image has a value in some band",
    "finite": "x, y, lon and lat are finite and on Earth",
    "pixel": "pixel is the number of the grid pixel at x, y",
    "block": "block is the number of the block at x, y",
    "lonlat": "lon, lat are those of x, y to 0.00001 degrees",
    "confidence": "label_confidence is 0 to 100 or absent",
    "duplicate": "a pixel has one row a year",
}
EXAMPLES = 20  # rows named per rule; all are counted
TOLERANCE = 1e-5  # degrees
COORDINATES = ("x", "y", "lon", "lat")


@dataclass(frozen=True)
class Break:
    """One row that breaks one rule. ``row`` counts from 0 within its row group."""

    file: str
    row_group: int
    row: int
    rule: str
    found: str

    def __str__(self) -> str:
        return f"{self.file}, row group {self.row_group}, row {self.row}: {self.rule}: {self.found}"


@dataclass(frozen=True)
class Report:
    """What ``check`` found.

    Attributes:
        path: The table.
        rows: Rows looked at.
        counts: Rule to number of rows that break it, for all rules of ``RULES``.
        breaks: The first rows that break each rule, at most 20 per rule.
    """

    path: str
    rows: int
    counts: dict[str, int]
    breaks: tuple[Break, ...]

    @property
    def ok(self) -> bool:
        """Whether no row breaks a rule."""
        return not any(self.counts.values())

    def as_dict(self) -> dict:
        """The same as JSON values."""
        return asdict(self) | {"ok": self.ok, "breaks": [asdict(b) for b in self.breaks]}

    def __str__(self) -> str:
        if self.ok:
            return f"{self.path}: {self.rows:,} rows keep all {len(RULES)} rules."
        lines = [f"{self.path}: of {self.rows:,} rows"]
        for rule, count in self.counts.items():
            if count:
                lines.append(f"{count:,} break {rule!r} ({RULES[rule]}), first:")
                lines += [f"  {b}" for b in self.breaks if b.rule == rule][:3]
        return "\n".join(lines)


def check(path: str | Path) -> Report:
    """Say which rows of a table break which rule of ``RULES``.

    The table is streamed, so memory does not grow with it.

    Args:
        path: Folder or file.

    Returns:
        Counts per rule, and the first rows that break each with file, row group and row.

    Raises:
        PixelError: The table cannot be read at all: missing, unfinished, damaged, or of another schema.

    Lab: part1_build_dataset.
    """
    found = _Found()
    meta = Meta.of(path)
    to_lonlat = Transformer.from_crs(meta.crs, "EPSG:4326", always_xy=True)
    for part in stream(path):
        found.rows += part.batch.num_rows
        whole = _whole_rows(part.batch)
        found.add(part, "null", ~whole, lambda i, b=part.batch: _nulls(b, i))
        rows = np.flatnonzero(whole)
        batch = part.batch if whole.all() else part.batch.filter(pa.array(whole))
        for rule, broken, words in _broken_places(batch, meta, to_lonlat):
            found.add(part, rule, broken, words, rows)
        for rule, broken, words in _broken_series(batch, meta):
            found.add(part, rule, broken, words, rows)
    _find_duplicates(path, found)
    breaks = sorted(found.breaks, key=lambda b: list(RULES).index(b.rule))
    return Report(str(path), found.rows, found.counts, tuple(breaks))


class _Found:
    """Counts and examples as they are found."""

    def __init__(self):
        self.rows = 0
        self.counts = dict.fromkeys(RULES, 0)
        self.breaks: list[Break] = []

    def add(self, part: Part, rule: str, broken: np.ndarray, words, rows: np.ndarray | None = None) -> None:
        """Record rows of a part where ``broken``; ``words(i)`` tells what stands there, ``rows`` where i lies."""
        where = np.flatnonzero(broken)
        room = max(EXAMPLES - self.counts[rule], 0)
        for i in where[:room]:
            row = part.row + int(i if rows is None else rows[i])
            self.breaks.append(Break(str(part.file), part.row_group, row, rule, words(int(i))))
        self.counts[rule] += len(where)


def _whole_rows(batch: pa.RecordBatch) -> np.ndarray:
    whole = np.ones(batch.num_rows, bool)
    for want in SCHEMA:
        column = batch.column(want.name)
        if not want.nullable and column.null_count:
            whole &= column.is_valid().to_numpy(zero_copy_only=False)
    return whole


def _nulls(batch: pa.RecordBatch, i: int) -> str:
    empty = [f.name for f in SCHEMA if not f.nullable and not batch.column(f.name)[i].is_valid]
    return f"no {', '.join(empty)}"


def _broken_places(batch: pa.RecordBatch, meta: Meta, to_lonlat: Transformer) -> Iterator[tuple]:
    """Rules on coordinates, identities and labels: (rule, (P,) broken, words)."""
    value = {name: batch.column(name).to_numpy(zero_copy_only=False) for name in ("pixel", "block", *COORDINATES)}
    x, y = value["x"], value["y"]
    on_earth = (np.abs(x) < 1e8) & (np.abs(y) < 1e8) & (np.abs(value["lon"]) <= 360) & (np.abs(value["lat"]) <= 90)
    yield "finite", ~on_earth, lambda i: ", ".join(f"{name} {value[name][i]}" for name in COORDINATES)
    x, y = np.where(on_earth, x, 0), np.where(on_earth, y, 0)
    pixel = pixel_id(x, y, meta.resolution)
    yield "pixel", on_earth & (pixel != value["pixel"]), lambda i: f"{value['pixel'][i]}, expected {pixel[i]}"
    if "block_m" in meta.extra:
        block = _block_number(x, y, meta.extra["block_m"])
        yield "block", on_earth & (block != value["block"]), lambda i: f"{value['block'][i]}, expected {block[i]}"
    lon, lat = to_lonlat.transform(x, y)
    off = np.maximum(np.abs((lon - value["lon"] + 180) % 360 - 180), np.abs(lat - value["lat"]))
    near = off <= TOLERANCE
    yield "lonlat", on_earth & ~near, lambda i: f"{value['lon'][i]}, {value['lat'][i]}, expected {lon[i]}, {lat[i]}"
    sure = batch.column("label_confidence").fill_null(0).to_numpy(zero_copy_only=False)
    yield "confidence", sure > 100, lambda i: str(sure[i])


def _broken_series(batch: pa.RecordBatch, meta: Meta) -> Iterator[tuple]:
    """Rules on the byte strings: (rule, (P,) broken, words)."""
    images = batch.column("num_images").to_numpy()
    sizes = {name: pc.binary_length(batch.column(name)).to_numpy() for name in SERIES}
    width = {"day": 2, "scl": 1, "bands": 2 * len(meta.bands)}
    yield "num_images", images < 0, lambda i: str(images[i])
    fit = np.ones(batch.num_rows, bool)
    for name in SERIES:
        fit &= sizes[name] == np.maximum(images, 0).astype(np.int64) * width[name]
    yield (
        "lengths",
        ~fit,
        lambda i: f"{images[i]} images, but " + ", ".join(f"{n} of {sizes[n][i]} bytes" for n in SERIES),
    )
    yield from _broken_observations(batch, fit, meta)


def _broken_observations(batch: pa.RecordBatch, fit: np.ndarray, meta: Meta) -> Iterator[tuple]:
    places = np.flatnonzero(fit)
    flat = ragged(_with_meta(batch if fit.all() else batch.filter(pa.array(fit)), meta))
    rows = places[flat.rows]

    def of_rows(broken: np.ndarray) -> np.ndarray:
        mask = np.zeros(batch.num_rows, bool)
        mask[rows[broken]] = True
        return mask

    def first(broken: np.ndarray, values: np.ndarray):
        return lambda i: f"{values[np.flatnonzero(broken & (rows == i))[0]]}"

    back = np.zeros(len(flat.day), bool)
    back[1:] = (flat.day[1:] <= flat.day[:-1]) & (rows[1:] == rows[:-1])
    yield "day_order", of_rows(back), first(back, flat.day)
    years = batch.column("year").to_numpy().astype(np.int64)[rows]
    outside = (flat.day < _first_day(years)) | (flat.day >= _first_day(years + 1))
    yield "day_year", of_rows(outside), first(outside, flat.day.astype("datetime64[D]"))
    unknown = flat.scl >= len(sentinel2.SCL)
    yield "scl", of_rows(unknown), first(unknown, flat.scl)
    wrong = (flat.bands > MAX_DN).any(axis=1) | ~flat.bands.any(axis=1)
    yield "bands", of_rows(wrong), first(wrong, flat.bands)


def _with_meta(batch: pa.RecordBatch, meta: Meta) -> pa.RecordBatch:
    return batch.replace_schema_metadata(meta.to_kv())


def _first_day(years: np.ndarray) -> np.ndarray:
    """Days since 1970-01-01 of 1 January."""
    return (years - 1970).astype("datetime64[Y]").astype("datetime64[D]").astype(np.int64)


def _find_duplicates(path: str | Path, found: _Found) -> None:
    """Compare (pixel, year) of all rows, a share of the pixels at a time so that memory stays flat."""
    passes = max(1, -(-found.rows // PER_PASS))
    for turn in range(passes):
        parts, keys, start = [], [np.zeros((3, 0), np.int64)], 0
        for part in stream(path, ["pixel", "year"]):
            pixel, year = (part.batch.column(n).fill_null(-1).to_numpy() for n in ("pixel", "year"))
            mine = np.flatnonzero(pixel % passes == turn)
            keys.append(np.stack([pixel[mine], year[mine], mine + start]))
            parts.append((start, part.batch.num_rows, replace(part, batch=None)))
            start += part.batch.num_rows
        _add_duplicates(found, parts, np.concatenate(keys, axis=1))


def _add_duplicates(found: _Found, parts: list[tuple[int, int, Part]], keys: np.ndarray) -> None:
    """Record the rows whose (pixel, year) an earlier row has; keys: (3, R) pixel, year, row in the table."""
    pixel, year, row = keys[:, np.lexsort(keys[::-1])]
    again = np.flatnonzero((pixel[1:] == pixel[:-1]) & (year[1:] == year[:-1])) + 1
    again = again[np.argsort(row[again])]
    owner = np.searchsorted([start for start, _, _ in parts], row[again], side="right") - 1
    for number in np.unique(owner):
        start, count, part = parts[number]
        mine = again[owner == number]
        broken = np.zeros(count, bool)
        broken[row[mine] - start] = True
        words = {int(row[k] - start): f"pixel {pixel[k]} again in {year[k]}" for k in mine[:EXAMPLES]}
        found.add(part, "duplicate", broken, words.__getitem__)


# Describing


def summary(path: str | Path) -> dict:
    """Count and measure a table in one streamed pass, memory flat.

    Args:
        path: Folder or file.

    Returns:
        JSON values: ``study``, ``simulated``, ``crs``, ``resolution``, ``files``, ``bytes``, ``rows``,
        ``observations``, ``areas``, ``years`` and ``codes`` (key to rows), ``images`` (per row: min, median, mean,
        max), ``dates`` (first and last, or None where there is no image), ``bands`` (name to mean and std, DN, of
        valid values; None where there is none).

    Raises:
        PixelError: The table is missing, unfinished or damaged.

    Lab: part1_build_dataset.
    """
    meta, found = Meta.of(path), files(path)
    counts = {"area": Counter(), "year": Counter(), "label_code": Counter(), "num_images": Counter()}
    moments = np.zeros((3, len(meta.bands)))
    first, last = 2**16, -1
    for part in stream(path, [*counts, *SERIES]):
        for name, counter in counts.items():
            _count(counter, part.batch.column(name))
        flat = ragged(_with_meta(part.batch, meta))
        moments += _moments(flat.bands)
        if len(flat.day):
            first, last = min(first, int(flat.day.min())), max(last, int(flat.day.max()))
    images = counts["num_images"]
    return {
        "study": meta.study,
        "simulated": meta.simulated,
        "crs": meta.crs,
        "resolution": meta.resolution,
        "files": len(found),
        "bytes": sum(file.stat().st_size for file in found),
        "rows": images.total(),
        "observations": sum(n * rows for n, rows in images.items()),
        "areas": _sorted(counts["area"]),
        "years": _sorted(counts["year"]),
        "codes": _sorted(counts["label_code"]),
        "images": _spread(images),
        "dates": None if last < 0 else [str(np.datetime64(day, "D")) for day in (first, last)],
        "bands": {name: _mean_std(*moments[:, i]) for i, name in enumerate(meta.bands)},
    }


def _count(counter: Counter, column: pa.Array) -> None:
    for pair in pc.value_counts(column).to_pylist():
        counter[pair["values"]] += pair["counts"]


def _sorted(counter: Counter) -> dict:
    return {str(key): counter[key] for key in sorted(counter)}


def _moments(bands: np.ndarray) -> np.ndarray:
    """(3, C): number, sum and sum of squares of the valid values; 0 adds nothing to the sums."""
    values = bands.astype(np.float64)
    return np.stack([(bands > 0).sum(axis=0), values.sum(axis=0), np.einsum("nc,nc->c", values, values)])


def _mean_std(number: float, total: float, squares: float) -> dict[str, float] | None:
    if number == 0:
        return None
    mean = total / number
    return {"mean": float(mean), "std": float(np.sqrt(max(squares / number - mean**2, 0)))}


def _spread(images: Counter) -> dict[str, float] | None:
    if not images:
        return None
    keys = np.array(sorted(images))
    cumulated = np.cumsum([images[k] for k in keys])
    rows = cumulated[-1]
    middle = [keys[np.searchsorted(cumulated, k, side="right")] for k in ((rows - 1) // 2, rows // 2)]
    mean = sum(int(k) * images[k] for k in images) / rows
    return {"min": int(keys[0]), "median": float(np.mean(middle)), "mean": float(mean), "max": int(keys[-1])}


def format_summary(summary: dict) -> str:
    """A summary as lines to read.

    Args:
        summary: What ``summary`` returns.
    """
    images, dates = summary["images"] or {}, summary["dates"] or ["-", "-"]
    lines = [
        f"{summary['study']}{' (SIMULATED)' if summary['simulated'] else ''}, {summary['crs']}, "
        f"{summary['resolution']:g} m: {summary['rows']:,} pixel-years, {summary['observations']:,} observations, "
        f"{summary['bytes'] / 1e6:,.1f} MB in {summary['files']} files",
        f"dates   {dates[0]} to {dates[1]}",
        "images  " + ", ".join(f"{key} {value:,.4g}" for key, value in images.items()) + " per pixel-year",
    ]
    for key in ("areas", "years"):
        lines.append(f"{key:7} " + ", ".join(f"{name} {rows:,}" for name, rows in summary[key].items()))
    most = sorted(summary["codes"].items(), key=lambda pair: -pair[1])
    lines.append("labels  " + ", ".join(f"{_label(int(code))} {rows:,}" for code, rows in most))
    for name, band in summary["bands"].items():
        lines.append(f"{name:9}" + (f"mean {band['mean']:7.1f}  std {band['std']:7.1f}" if band else "no value"))
    return "\n".join(lines)


def _label(code: int) -> str:
    """Code with its CDL name, if it has one: labels of another source keep their bare code."""
    return f"{code} {cdl.CODES[code].name}" if code in cdl.CODES else str(code)


# SQL that Spark SQL and DuckDB understand alike, over a view called `pixels`.
QUERIES: dict[str, str] = {
    # Pixel-years per label code and year.
    "classes": """
        SELECT label_code, year, COUNT(*) AS pixel_years
        FROM pixels
        GROUP BY label_code, year
        ORDER BY year, pixel_years DESC, label_code""",
    # Pixels, labels and images per area and year.
    "areas": """
        SELECT area, year, COUNT(*) AS pixel_years, COUNT(DISTINCT label_code) AS codes,
               COUNT(DISTINCT block) AS blocks, AVG(num_images) AS mean_images
        FROM pixels
        GROUP BY area, year
        ORDER BY area, year""",
    # How many series have how many images, in steps of ten.
    "images": """
        SELECT year, CAST(FLOOR(num_images / 10.0) * 10 AS INT) AS images_from, COUNT(*) AS series
        FROM pixels
        GROUP BY year, CAST(FLOOR(num_images / 10.0) * 10 AS INT)
        ORDER BY year, images_from""",
    # Hectares that the sampled pixels themselves cover: 0.09 ha for a pixel of 30 m.
    "hectares": """
        SELECT label_code, year, COUNT(*) * CAST(0.09 AS DOUBLE) AS hectares
        FROM pixels
        GROUP BY label_code, year
        ORDER BY year, hectares DESC, label_code""",
    # Labels by how sure their makers are; absent confidence forms its own row.
    "confidence": """
        SELECT CAST(FLOOR(label_confidence / 10.0) * 10 AS INT) AS confidence_from, COUNT(*) AS pixel_years
        FROM pixels
        GROUP BY CAST(FLOOR(label_confidence / 10.0) * 10 AS INT)
        ORDER BY confidence_from""",
    # Pixels whose label stayed the same from one year to the next.
    "rotation": """
        SELECT a.label_code AS from_code, b.label_code AS to_code, COUNT(*) AS pixels
        FROM pixels a JOIN pixels b ON a.pixel = b.pixel AND b.year = a.year + 1
        GROUP BY a.label_code, b.label_code
        ORDER BY pixels DESC, from_code, to_code""",
    # Size of the series.
    "bytes": """
        SELECT SUM(num_images) AS observations,
               SUM(OCTET_LENGTH(day) + OCTET_LENGTH(scl) + OCTET_LENGTH(bands)) AS bytes
        FROM pixels""",
}


# The ARSET layout: tables that the 2024 course's notebooks made

ARSET_CRS, ARSET_RESOLUTION = "EPSG:5070", 30.0
ARSET_COLUMNS = ("lon", "lat", "CDL", "num_images", "bands", "img_dates", "scl_vals")


def read_arset(path: str | Path) -> pa.Table:
    """Read a table in the ARSET layout, as learners of the 2024 course have it, as a pixel table.

    Its folders ``bbox=…/year=…`` give area and year, its class names become codes, its big-endian numbers
    little-endian, and x, y come from lon, lat: on the CDL grid where they fall within half a metre of a pixel's
    centre. Of images of one day the first is kept, and images without a value in any band are left out.
    It has no label confidence.

    Args:
        path: The layout's root or any folder or file in it; folders' names above it count, too.

    Returns:
        A table in ``SCHEMA`` with metadata, ready for ``write``.

    Raises:
        PixelError: No file, one that is damaged, or byte strings that disagree in length.
        cdl.CDLError: A class name that is not CDL's.

    Lab: part1_build_dataset.
    """
    root = Path(path).resolve()
    found = [root] if root.is_file() else sorted(root.glob("**/*.parquet"))
    found = [file for file in found if not file.name.startswith(("_", "."))]
    if not found:
        raise PixelError(f"Expected Parquet files in the ARSET layout under {path}, found none. Unpack its zip file.")
    meta = Meta(
        bands=tuple(sentinel2.BANDS),
        crs=ARSET_CRS,
        resolution=ARSET_RESOLUTION,
        study="arset",
        simulated=False,
        extra={"block_m": BLOCK_M, "layout": "ARSET"},
    )
    batches = [_arset_batch(file) for file in found]
    return pa.Table.from_batches(batches, SCHEMA).replace_schema_metadata(meta.to_kv())


def _arset_batch(file: Path) -> pa.RecordBatch:
    try:
        with pq.ParquetFile(file) as opened:
            table = opened.read()
    except (pa.ArrowException, OSError) as error:
        raise _damaged(file, error) from error
    missing = set(ARSET_COLUMNS) - set(table.column_names)
    if missing:
        raise PixelError(f"{file}: expected the ARSET layout, missing the columns {sorted(missing)}.")
    lon, lat = table.column("lon").to_numpy(), table.column("lat").to_numpy()
    x, y = _arset_grid(lon, lat)
    folders = dict(part.split("=", 1) for part in file.parts if "=" in part)
    return make_batch(
        **_arset_series(table, file),
        pixel=pixel_id(x, y, ARSET_RESOLUTION),
        year=_arset_year(table, folders, file),
        area=unquote(folders.get("bbox", "arset")),
        block=block_id(x, y, BLOCK_M),
        x=x,
        y=y,
        lon=lon,
        lat=lat,
        label_code=_arset_codes(table, file),
    )


def _arset_grid(lon: np.ndarray, lat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    to_grid = Transformer.from_crs("EPSG:4326", ARSET_CRS, always_xy=True)
    x, y = (np.asarray(v, np.float64) for v in to_grid.transform(lon, lat))
    # Centres of CDL pixels lie at multiples of 30 m.
    centre_x, centre_y = (np.round(v / ARSET_RESOLUTION) * ARSET_RESOLUTION + 0.0 for v in (x, y))
    near = (np.abs(x - centre_x) < 0.5) & (np.abs(y - centre_y) < 0.5)
    return np.where(near, centre_x, x), np.where(near, centre_y, y)


def _arset_year(table: pa.Table, folders: dict[str, str], file: Path):
    if "year" in folders:
        return int(folders["year"])
    if "year" in table.column_names:
        return table.column("year").combine_chunks().cast(pa.int16())
    raise PixelError(f"{file}: expected a folder year=… above the file. Keep the folders as they were unpacked.")


def _arset_codes(table: pa.Table, file: Path) -> np.ndarray:
    names = table.column("CDL").combine_chunks().cast(pa.string()).dictionary_encode()
    try:
        codes = np.array([cdl.code_of(text) for text in names.dictionary.to_pylist()], np.int16)
    except cdl.CDLError as error:
        raise cdl.CDLError(f"{file}: {error}") from error
    return codes[names.indices.to_numpy()] if len(names) else codes


def _arset_series(table: pa.Table, file: Path) -> dict[str, np.ndarray]:
    """Days, scene classes and bands, little-endian, sorted, one image a day; and the rows' offsets."""
    images = table.column("num_images").to_numpy().astype(np.int64)
    width = {"img_dates": 2, "scl_vals": 1, "bands": 2 * len(sentinel2.BANDS)}
    raw = {}
    for name, size in width.items():
        offsets, raw[name] = _buffers(table.column(name))
        wrong = np.flatnonzero(np.diff(offsets) != images * size)
        if len(wrong):
            raise PixelError(
                f"{file}, row {wrong[0]}: expected {size} bytes of `{name}` for each of {images[wrong[0]]} images, "
                f"received {np.diff(offsets)[wrong[0]]}. Remove the row, or unpack the file anew."
            )
    day, bands = raw["img_dates"].view(">u2"), raw["bands"].view(">u2").reshape(-1, len(sentinel2.BANDS))
    keep, rows = _one_a_day(day, bands, np.repeat(np.arange(len(images)), images))
    offsets = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(images)))])
    return {"day": day[keep], "scl": raw["scl_vals"][keep], "bands": bands[keep], "offsets": offsets}


def _one_a_day(day: np.ndarray, bands: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which observations to keep, in order of date, and the rows they belong to."""
    seen = np.flatnonzero(bands.any(axis=1))
    order = seen[np.lexsort((day[seen], rows[seen]))]
    first = np.ones(len(order), bool)
    first[1:] = (day[order][1:] != day[order][:-1]) | (rows[order][1:] != rows[order][:-1])
    return order[first], rows[order[first]]


def write_arset(table: pa.Table, path: str | Path) -> None:
    """Write a pixel table of 12 bands in the ARSET layout, for comparisons; new tables belong in ``write``.

    Args:
        table: In ``SCHEMA``, with the 12 bands; ``label_code`` are CDL codes.
        path: Root folder of the layout.
    """
    for area, year in sorted(set(zip(table["area"].to_pylist(), table["year"].to_pylist(), strict=True))):
        mine = table.filter((pc.field("area") == area) & (pc.field("year") == year))
        folder = Path(path) / f"bbox={quote(area, safe=', ')}" / f"year={year}"
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(_to_arset(mine), folder / "part-00000.snappy.parquet", compression="snappy")


def _to_arset(table: pa.Table) -> pa.Table:
    flat = ragged(table)
    names = [cdl.name(code).encode() for code in table["label_code"].to_pylist()]
    return pa.table(
        {
            "lon": table["lon"],
            "lat": table["lat"],
            "CDL": pa.array(names, pa.binary()),
            "num_images": table["num_images"],
            "bands": _binary(flat.bands.astype(">u2"), flat.offsets, 2 * flat.bands.shape[1]),
            "tiles": pa.array([b""] * table.num_rows, pa.binary()),
            "img_dates": _binary(flat.day.astype(">u2"), flat.offsets, 2),
            "scl_vals": _binary(np.ascontiguousarray(flat.scl), flat.offsets, 1),
        }
    )
