"""The table itself: schema, metadata, series as flat arrays, writing and reading.

Lab: part1_build_dataset.
"""

from __future__ import annotations

import base64
import filecmp
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from pyproj import CRS
from pyproj.exceptions import CRSError

from arsetlib import folders, sentinel2
from arsetlib.errors import ArsetError
from arsetlib.pixels.rewritten import cast, in_folder_names, reason_against

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
UNFINISHED = ".partial"  # end of the name of a table that an earlier version was making
RUN_FILE = "_run.json"  # of earlier versions: says whether the table is complete
MAX_DN = 32_767  # ESA writes DN in 15 bits
UNREADABLE = (pa.ArrowException, OSError, ValueError, KeyError, RuntimeError)  # what Arrow says of a damaged file
PER_PASS = 16_000_000  # rows whose keys are compared at once
BLOCK_M = 10_000.0  # block side of tables read from the ARSET layout, m


class PixelError(ArsetError, ValueError):
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
        extra: More facts, JSON values. ``block_m`` (side of a spatial block) lets ``check`` verify ``block``; ``days``
            is there where a season runs on over New Year: first and last day of a row's images, counted from 1
            January (= 1) of its year.
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
        return cls._of(_arrow_schema(file), str(file))

    @classmethod
    def _of(cls, schema: pa.Schema, where: str) -> Meta:
        found = _stated(schema.metadata or {}, where)
        if "version" not in found:
            hint = _hint(schema, bool(found))
            raise PixelError(f"{where} is not a pixel table: expected {PREFIX}* metadata, received none. {hint}")
        version = found["version"]
        if isinstance(version, bool) or not isinstance(version, int) or version < 1:
            raise PixelError(f"{where} states the schema version {version!r}, expected a whole number. {AGAIN}")
        if version > VERSION:
            raise PixelError(
                f"{where} has schema version {version}, this library reads up to {VERSION}. "
                f"Update it: pip install --upgrade arsetlib."
            )
        if found.pop("dtypes", None) != DTYPES:
            raise PixelError(f"{where} states other dtypes than {DTYPES}. {AGAIN}")
        for key, (fits, expected) in _KINDS.items():
            if key not in found:
                raise PixelError(f"{where} lacks metadata: expected {PREFIX}{key}. {AGAIN}")
            if not fits(found[key]):
                raise PixelError(f"{where}: expected {PREFIX}{key} as {expected}, received {found[key]!r:.80}. {AGAIN}")
        unknown = sorted(set(found) - {"version", *_KINDS})
        if unknown:
            raise PixelError(
                f"{where} states {PREFIX}{unknown[0]}, which this library does not know. "
                f"Update it: pip install --upgrade arsetlib."
            )
        return cls(**{**found, "bands": tuple(found["bands"])})


AGAIN = "Copy the file again from where it was whole, or write it again with pixels.write and pixels.Meta."


def _stated(metadata: dict[bytes, bytes], where: str) -> dict:
    """Our keys and their values, read from JSON."""
    found = {}
    for key, value in metadata.items():
        name = key.decode(errors="replace")
        if not name.startswith(PREFIX):
            continue
        try:
            found[name[len(PREFIX) :]] = json.loads(value)
        except (ValueError, RecursionError) as error:
            reason = "it is nested too deep" if isinstance(error, RecursionError) else error
            raise PixelError(
                f"{where}: expected {name} as JSON, received {value[:40]!r} ({reason}). {AGAIN}"
            ) from error
    return found


def _hint(schema: pa.Schema, some: bool) -> str:
    if {"CDL", "img_dates"} <= set(schema.names):
        return "It is in the ARSET layout: open it with pixels.read_arset."
    if set(SERIES) <= set(schema.names) and not some:
        return (
            "Another program seems to have written it again without them. With the original at hand, read it as "
            "pixels.read(path, meta=pixels.Meta.of(original)), and pixels.write the result."
        )
    return "Make one with `arset ingest`, or write yours with pixels.write."


def _positive(value) -> bool:
    return not isinstance(value, bool) and isinstance(value, int | float) and math.isfinite(value) and value > 0


@lru_cache
def _is_crs(value) -> bool:
    try:
        CRS(value)
    except CRSError:
        return False
    return True


_KINDS = {
    "bands": (
        lambda v: isinstance(v, list) and v and all(isinstance(b, str) and b for b in v) and len(set(v)) == len(v),
        "a list of different names",
    ),
    "scale": (_positive, "a number above 0"),
    "crs": (lambda v: isinstance(v, str) and _is_crs(v), "a CRS such as EPSG:5070"),
    "resolution": (_positive, "a number of metres above 0"),
    "study": (lambda v: isinstance(v, str), "text"),
    "simulated": (lambda v: isinstance(v, bool), "true or false"),
    "extra": (
        lambda v: isinstance(v, dict) and ("block_m" not in v or _positive(v["block_m"])),
        "a table, with block_m in metres above 0 if at all",
    ),
}


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
    if isinstance(batches, pa.Table):
        batches = batches.to_batches()
    schema = SCHEMA.with_metadata(meta.to_kv())
    rows = 0

    def fill(hidden: Path) -> None:
        nonlocal rows
        with pq.ParquetWriter(hidden, schema, **_writer_options()) as writer:
            rows = sum(_write_group(writer, group, schema) for group in _grouped(batches, path))

    with folders.room(path.parent, PixelError):
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
    """Parquet files of a table, in order of name: those of the manifest where it has one, else all that are there.

    Args:
        path: Folder or file.

    Raises:
        PixelError: There is no table here, it is unfinished, or its files are not those that were planned.
    """
    path = Path(path)
    partial = path.with_name(path.name + UNFINISHED)
    if path.name.endswith(UNFINISHED) or (partial.exists() and not path.exists()):
        raise _unfinished(path)
    if path.is_file():
        return [path]
    if planned(path) is not None and (wrong := list(islice(differences(path), 4))):
        more = " …" if len(wrong) > 3 else ""
        raise PixelError(
            f"The table {path} is not complete, or not as it was made: {'; '.join(wrong[:3])}{more}. Run the "
            "`arset ingest` command that made it again, which makes what is missing, or copy the table anew."
        )
    found = sorted(f for f in path.glob("*.parquet") if not f.name.startswith(("_", ".")))
    found = found or _in_partitions(path)
    if not found:
        if next(path.glob("**/*.parquet"), None):
            hint = "Its files lie in folders: if this is the ARSET layout, open it with pixels.read_arset."
        else:
            hint = "Make one with `arset ingest`."
        raise PixelError(f"Expected a pixel table at {path}, found no Parquet file. {hint}")
    return found


def planned(path: str | Path) -> int | None:
    """Number of Parquet files that a table was planned to have; None where it does not say: a file, or another writer.

    Args:
        path: Folder or file.

    Raises:
        PixelError: The table is unfinished.
    """
    path = Path(path)
    if (state := folders.state(path)) == "complete":
        manifest = folders.Folder(path).manifest() or {}
        return len(manifest.get("parts", ()))
    if (path / RUN_FILE).exists():  # of earlier versions, which planned as many files as chunks
        if _status(path / RUN_FILE) != "complete":
            raise _unfinished(path)
        return len(chunks) if (chunks := _earlier_chunks(path)) else None
    if state == "unfinished":
        raise _unfinished(path)
    return None


def differences(path: str | Path, deep: bool = False) -> Iterator[str]:
    """What differs between the files that a table was planned to have and those that are there, one sentence a file.

    Args:
        path: Folder of a table of which ``planned`` knows the number.
        deep: Read all bytes and compare checksums, too.
    """
    path = Path(path)
    if folders.state(path) == "complete":
        yield from folders.wrong(path, deep=deep, alone="*.parquet")
        return
    expected = {f"{chunk}.parquet" for chunk in _earlier_chunks(path)}
    there = {f.name for f in path.glob("*.parquet")}
    yield from (f"{path / name} is missing" for name in sorted(expected - there))
    yield from (f"{path / name} is not in {folders.PLAN}: move it elsewhere" for name in sorted(there - expected))


def _earlier_chunks(path: Path) -> list[str]:
    """Names of the chunks in the plan of a table that an earlier version made."""
    try:
        chunks = json.loads((path / folders.PLAN).read_text(encoding="utf-8"))["chunks"]
        return [f"{c['area']}-{c['year']}-{c['row']}-{c['col']}" for c in chunks]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _in_partitions(path: Path) -> list[Path]:
    """Files in folders named after our columns (``year=2021``), as Spark, pandas and Arrow partition a table."""
    found = [f for f in sorted(path.glob("*=*/**/*.parquet")) if not f.name.startswith(("_", "."))]
    depth = [len(f.relative_to(path).parts) - 1 for f in found]
    named = [len(in_folder_names(f, SMALL)) for f in found]
    return found if all(n >= d for n, d in zip(named, depth, strict=True)) else []


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
    except UNREADABLE as error:
        raise _damaged(file, error) from error


def _arrow_schema(file: Path) -> pa.Schema:
    """Columns and metadata of a file. Arrow writes the metadata twice, so that a flipped bit in one shows."""
    footer = _footer(file)
    try:
        schema = footer.schema.to_arrow_schema()
        twice = (footer.metadata or {}).get(b"ARROW:schema")
        second = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(twice, validate=True))).metadata if twice else None
        ours, copy = (
            {key: value for key, value in (one or {}).items() if key.startswith(PREFIX.encode())}
            for one in (footer.metadata, second)
        )
        if copy and ours != copy:
            raise pa.ArrowInvalid("its metadata and the copy of them differ")
    except UNREADABLE as error:
        raise _damaged(file, error) from error
    return schema


def _damaged(file: Path, error: Exception) -> PixelError | MemoryError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    if isinstance(error, MemoryError):  # Arrow's own is both
        return MemoryError(f"Too little memory to read {file} ({reason}). Read fewer columns or rows, or stream them.")
    return PixelError(
        f"{file} cannot be read: truncated or damaged, or no Parquet file ({reason}). If it belongs to a table, delete "
        f"it and run the same `arset ingest` command again, or copy it anew."
    )


def dataset(path: str | Path, meta: Meta | None = None) -> ds.Dataset:
    """A table as a lazy Arrow data set, for scans larger than memory; its metadata are checked first.

    Args:
        path: Folder or file.
        meta: As in ``read``.

    Returns:
        A data set whose schema is ``SCHEMA`` with the table's metadata.

    Raises:
        PixelError: The table is missing, unfinished or damaged, or two of its files differ in what they hold.

    Lab: part1_build_dataset.
    """
    found = files(path)
    meta = _common_meta(found, meta)
    options = ds.ParquetFragmentScanOptions(page_checksum_verification=True)
    layout = ds.ParquetFileFormat(default_fragment_scan_options=options)
    folders = pa.schema([SCHEMA.field(name) for name in in_folder_names(found[0], SMALL)])
    return ds.dataset(
        [str(f) for f in found],
        schema=SCHEMA.with_metadata(meta.to_kv()),
        format=layout,
        partitioning=ds.partitioning(folders, flavor="hive") if len(folders) else None,
    )


def _common_meta(found: Sequence[Path], given: Meta | None = None) -> Meta:
    """Metadata of all files; ``given`` serves those that state none."""
    first = given
    for file in found:
        schema = _arrow_schema(file)
        states = any(key.startswith(PREFIX.encode()) for key in schema.metadata or {})
        meta = Meta._of(schema, str(file)) if states or given is None else given
        _check_columns(schema, file)
        first = first or meta
        if (meta.bands, meta.scale, meta.crs, meta.resolution, meta.study, meta.simulated) != (
            *(first.bands, first.scale, first.crs, first.resolution, first.study, first.simulated),
        ):
            raise PixelError(
                f"{file} and {found[0] if given is None else 'the metadata given'} differ in bands, scale, grid or "
                f"study, so they are not one table. Keep each in its own folder."
            )
    _refuse_copies(found)
    return first


def _refuse_copies(found: Sequence[Path]) -> None:
    """A copy of a file in the same folder, such as 'a (1).parquet', would count its rows twice."""
    seen: dict[int, list[Path]] = {}
    for file in found:
        same = seen.setdefault(file.stat().st_size, [])
        for other in same:
            if filecmp.cmp(file, other, shallow=False) and _footer(file).num_rows:
                raise PixelError(f"{file} is a copy of {other}: all rows would count twice. Delete one of them.")
        same.append(file)


def _check_columns(schema: pa.Schema, file: Path) -> None:
    named = in_folder_names(file, SMALL)
    for want in SCHEMA:
        if schema.names.count(want.name) > 1:
            raise PixelError(f"{file} has the column `{want.name}` twice. Write the file again with pixels.write.")
        if want.name not in schema.names and want.name in named:
            continue
        have = schema.field(want.name).type if want.name in schema.names else None
        reason = reason_against(have, want)
        if reason:
            raise PixelError(f"{file}: {reason}. Write the file again with pixels.write.")


def _as_schema(data, names: Sequence[str], where: str):
    """Some columns of a batch or table in our types; those that the file lacks stand in the names of its folders."""
    columns = []
    for name in names:
        want = SCHEMA.field(name)
        try:
            if name in data.schema.names:
                reason = reason_against(data.schema.field(name).type, want)
                if reason:
                    raise PixelError(f"{where}: {reason}. Write the file again with pixels.write.")
                columns.append(cast(data.column(name), want))
            else:
                value = pa.scalar(in_folder_names(Path(where), SMALL)[name]).cast(want.type)
                columns.append(pa.repeat(value, data.num_rows))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise PixelError(f"{where}: a value of `{name}` is no {want.type} ({error}). Correct it there.") from error
    schema = pa.schema([SCHEMA.field(name) for name in names], data.schema.metadata)
    return type(data).from_arrays(columns, schema=schema)


def row_group(file: str | Path, number: int, columns: Sequence[str], verify: bool = True) -> pa.Table:
    """One row group of a file of a table, its columns in the types of ``SCHEMA``.

    Args:
        file: A file of ``files``.
        number: Row group, from 0.
        columns: Columns of ``SCHEMA``.
        verify: Whether page checksums are verified.

    Raises:
        PixelError: The file is damaged, or a row lacks a value.
    """
    try:
        with pq.ParquetFile(file, page_checksum_verification=verify) as opened:
            there = [name for name in columns if name in opened.schema_arrow.names]
            table = opened.read_row_group(number, columns=there, use_threads=False)
            rows = opened.metadata.row_group(number).num_rows
    except UNREADABLE as error:
        raise _damaged(Path(file), error) from error
    if not there:
        table = pa.table({"": pa.nulls(rows)})
    table = _as_schema(table, columns, str(file))
    _refuse_nulls(table, f"{file}, row group {number}")
    return table


def _refuse_nulls(table: pa.Table, where: str | Path) -> None:
    for name in table.column_names:
        if not SCHEMA.field(name).nullable and table.column(name).null_count:
            raise PixelError(
                f"{where}: expected a value in every row of `{name}`, received none in "
                f"{table.column(name).null_count:,} rows. Run `arset check` on the table."
            )


def read(
    path: str | Path,
    columns: Sequence[str] | None = None,
    filter: pc.Expression | None = None,
    meta: Meta | None = None,
) -> pa.Table:
    """Read a table, or a part of it, into memory.

    Tables that pandas, polars, DuckDB or Spark wrote again are read as well: with other integer, string and byte
    string types, more columns, columns in another order, or in folders such as ``year=2021``.

    Args:
        path: Folder or file.
        columns: Columns to read, all by default.
        filter: Rows to keep, such as ``pc.field("year") == 2021``. Row groups it rules out are not read.
        meta: What the byte strings mean, for files that lost their metadata when another program wrote them again,
            such as ``Meta.of(original)``. Files that state theirs must agree with it.

    Returns:
        A table in ``SCHEMA`` (its columns asked for) with the metadata.

    Raises:
        PixelError: The table is missing, unfinished or damaged, two of its files are the same, the byte strings of a
            row disagree in length, or its days do not ascend.

    Lab: part1_build_dataset.
    """
    data = dataset(path, meta)
    unknown = set(columns or ()) - set(SCHEMA.names)
    if unknown:
        raise PixelError(f"Expected columns out of {SCHEMA.names}, received {sorted(unknown)}.")
    try:
        table = data.to_table(columns=None if columns is None else list(columns), filter=filter)
    except UNREADABLE as error:
        raise _blame(data.files, error) from error
    _refuse_nulls(table, path)
    if set(SERIES) & set(table.column_names):
        _check_series(table, path)
    return table


def _blame(found: Sequence[str], error: Exception) -> PixelError:
    """Find the file that cannot be read: a scan of many does not always say."""
    for file in map(Path, found):
        try:
            for batch in pq.ParquetFile(file, page_checksum_verification=True).iter_batches():
                _as_schema(batch, [n for n in SCHEMA.names if n in batch.schema.names], str(file))
        except PixelError as reason:
            return reason
        except UNREADABLE as reason:
            return _damaged(file, reason)
    return PixelError(f"The table could not be read ({error}). If the disk is sound, run `arset check` on it.")


def _check_series(table: pa.Table, path: str | Path) -> None:
    """Byte lengths of the series must agree and days ascend; a few comparisons, so every read does it."""
    size = {"day": 2, "scl": 1, "bands": 2 * len(Meta.of(table).bands)}
    present = [name for name in SERIES if name in table.column_names]
    lengths = [pc.binary_length(table.column(name)).to_numpy() for name in present]
    counts = [length // size[name] for name, length in zip(present, lengths, strict=True)]
    if "num_images" in table.column_names:
        counts.append(table.column("num_images").to_numpy())
    whole = not any((length % size[name]).any() for name, length in zip(present, lengths, strict=True))
    if not whole or not all(np.array_equal(counts[0], other) for other in counts[1:]):
        raise PixelError(f"{_first_break(path, 'lengths')}: byte strings disagree in length. {SEE_ALL}")
    if "day" in present:
        offsets, raw = _buffers(table.column("day"))
        day = raw.view("<u2")
        back = day[1:] < day[:-1]
        starts = offsets[1:-1] // 2
        back[starts[(starts > 0) & (starts < len(day))] - 1] = False
        if back.any():
            raise PixelError(f"{_first_break(path, 'day_order')}: days do not ascend. {SEE_ALL}")


SEE_ALL = "Run `arset check` for all such rows."


def _first_break(path: str | Path, rule: str):
    from arsetlib.pixels.rules import check  # rules.py reads tables with this module

    try:
        return next((b for b in check(path).breaks if b.rule == rule), path)
    except PixelError:  # the table has no metadata of its own
        return path


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
                there = [name for name in names if name in opened.schema_arrow.names]
                for group in range(opened.num_row_groups):
                    row = 0
                    for batch in opened.iter_batches(ROW_GROUP, row_groups=[group], columns=there):
                        yield Part(file, group, row, _as_schema(batch, names, str(file)))
                        row += batch.num_rows
        except PixelError:
            raise
        except UNREADABLE as error:
            raise _damaged(file, error) from error


def _with_meta(batch: pa.RecordBatch, meta: Meta) -> pa.RecordBatch:
    return batch.replace_schema_metadata(meta.to_kv())
