"""A pixel table in the tables that people keep elsewhere: Delta, Iceberg, GeoParquet.

All three get the columns of ``SCHEMA`` with the byte strings as they are, and the metadata: in Delta as JSON in the
table's description, in Iceberg as table properties, in GeoParquet as key-value metadata of the file, which
``pixels.read`` reads too. Delta and Iceberg have no unsigned and Iceberg no short integers: ``label_confidence`` and
``year`` get a longer type there, and their own again when they are read. A lake does not keep the order of rows.

An export is one commit: before it, nothing can be read at the target. The packages are those of the extra ``lakes``.

Sources: https://github.com/delta-io/delta/blob/master/PROTOCOL.md, https://iceberg.apache.org/spec,
https://geoparquet.org/releases/v1.1.0. Lab: part1_build_dataset.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyproj import CRS

from arsetlib import copies, extras, folders
from arsetlib.pixels import rules
from arsetlib.pixels.listing import files, footer
from arsetlib.pixels.meta import Meta
from arsetlib.pixels.reading import as_schema, refuse_nulls, stream
from arsetlib.pixels.schema import PREFIX, SCHEMA, PixelError
from arsetlib.pixels.writing import write_file

KINDS = ("delta", "iceberg", "geoparquet")
ROWS = f"{PREFIX}rows"  # how many rows were exported: shows whether some were deleted or added since
MARK = "_export.json"  # is in the target until the commit: a folder with it is ours, and unfinished
CATALOGUE, NAME = "catalog.db", "arset.pixels"  # of Iceberg: file in the folder, and the table's name in it


def export(path: str | Path, out: str | Path, to: str) -> int:
    """Write a pixel table as a Delta table, an Iceberg table or a GeoParquet file.

    Rows are taken batch by batch, so memory does not grow with the table. If the process is killed, the target cannot
    be read, and the same call starts again.

    Args:
        path: Folder or file of a pixel table.
        out: New folder; for GeoParquet a new file. An Iceberg folder contains its catalogue, ``catalog.db``
            (SQLite), with the table ``arset.pixels``; Iceberg notes absolute paths, so do not move it.
        to: ``delta``, ``iceberg`` or ``geoparquet``. GeoParquet 1.1 gets a column ``geometry``, the centre of each
            pixel as a point in the table's own CRS.

    Returns:
        Rows written.

    Raises:
        PixelError: The table cannot be read, or the target contains something.
        MissingPackage: The extra ``lakes`` is not installed.

    Lab: part1_build_dataset.
    """
    if to not in KINDS:
        raise PixelError(f"Expected to = {', '.join(map(repr, KINDS))}, received {to!r}.")
    out, meta = folders.place(out), _common(path)
    if to == "iceberg":
        out = folders.on_this_disk(out, "an Iceberg table, which holds whole paths,", PixelError, changes=True)
    if to == "geoparquet":
        if out.exists():
            raise PixelError(f"{out} exists. Give a new file name, or delete it first.")
        return _write_geoparquet(path, out, meta)
    with _target(out, to):
        rows = sum(footer(file).num_rows for file in files(path))
        if to == "iceberg":
            _write_iceberg(path, out.resolve(), meta, rows)
        elif folders.on_disk(out):
            _write_delta(path, out.resolve(), meta, rows)
        else:
            with folders.workspace(out) as here:
                _write_delta(path, here / "table", meta, rows)
                written = (f for f in (here / "table").rglob("*") if f.is_file())
                for file in sorted(written, key=lambda f: ("_delta_log" in f.parts, f)):  # the log makes it a table
                    folders.put(out / file.relative_to(here / "table").as_posix(), file)
    return rows


def _common(path: str | Path) -> Meta:
    """Metadata of a table; of the facts in ``extra`` those that are the same in all files."""
    metas = [Meta.of(file) for file in files(path)]
    first, *others = metas
    extra = {k: v for k, v in first.extra.items() if all(k in m.extra and m.extra[k] == v for m in others)}
    return replace(first, extra=extra)


@contextmanager
def _target(out: Path, to: str) -> Iterator[None]:
    """A new folder. What an export left that was killed is deleted; anything else is refused."""
    if out.exists() and not out.is_dir():
        raise PixelError(f"Expected a folder for the {to} table, but {out} is a file. Give another name.")
    with folders.lock(out, PixelError), folders.full_disk(out, PixelError):
        there = [p for p in out.iterdir() if p.name != folders.LOCK]
        if there and not (out / MARK).is_file():
            raise PixelError(f"{out} contains something ({there[0].name}). Give a new folder, or delete it first.")
        for left in there:
            folders.remove(left) if left.is_dir() else left.unlink()
        folders.put_json(out / MARK, {"to": to})
        yield
        (out / MARK).unlink()


def _batches(path: str | Path, types: dict[str, pa.DataType]) -> pa.RecordBatchReader:
    schema = pa.schema([f.with_type(types.get(f.name, f.type)) for f in SCHEMA])
    batches = (_cast(piece.batch, schema) for piece in stream(path))
    return pa.RecordBatchReader.from_batches(schema, batches)


def _cast(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([batch.column(f.name).cast(f.type) for f in schema], schema=schema)


def _properties(meta: Meta, rows: int) -> dict[str, str]:
    values = {key.decode(): value.decode() for key, value in meta.to_kv().items()}
    return values | {ROWS: str(rows)}


# -- Delta ----------------------------------------------------------------------------------------------------------


def _write_delta(path: str | Path, out: Path, meta: Meta, rows: int) -> None:
    write_deltalake = _needed("deltalake").write_deltalake
    batches = _batches(path, {"label_confidence": pa.int16()})
    # Not as configuration: delta-rs refuses keys that the protocol does not know.
    description = json.dumps(_properties(meta, rows))
    write_deltalake(str(out), batches, mode="error", name="pixels", description=description)


def _open_delta(path: Path, version: int | None) -> Lake:
    deltalake = _needed("deltalake")
    try:
        table = deltalake.DeltaTable(str(path), version=version)
        description = table.metadata().description
        data = table.to_pyarrow_dataset()
    except Exception as error:  # delta-rs has no common class of its errors
        raise PixelError(f"{path} cannot be read as a Delta table ({_first_line(error)}).") from error
    try:
        properties = json.loads(description or "")
    except ValueError:
        properties = None
    properties = properties if isinstance(properties, dict) else {}
    return _lake(path, "delta", properties, data.count_rows, lambda columns: data.to_batches(columns=columns))


# -- Iceberg --------------------------------------------------------------------------------------------------------


def _write_iceberg(path: str | Path, out: Path, meta: Meta, rows: int) -> None:
    batches = _batches(path, {n: pa.int32() for n in ("year", "label_code", "label_confidence")})
    catalogue = _catalogue(out)
    try:
        catalogue.create_namespace(NAME.split(".")[0])
        with catalogue.create_table_transaction(NAME, batches.schema, properties=_properties(meta, rows)) as commit:
            commit.append(batches)
    finally:
        catalogue.close()


def _catalogue(folder: Path) -> Any:
    _needed("pyiceberg")
    _needed("sqlalchemy")
    from pyiceberg.catalog.sql import SqlCatalog

    return SqlCatalog("arset", uri=f"sqlite:///{folder / CATALOGUE}", warehouse=folder.as_uri())


def _open_iceberg(path: Path, version: int | None) -> Lake:
    _needed("pyiceberg")
    from pyiceberg.exceptions import NoSuchTableError
    from pyiceberg.table import StaticTable

    try:
        if path.is_file():
            table = StaticTable.from_metadata(str(path))
        else:
            catalogue = _catalogue(path.resolve())
            try:
                table = catalogue.load_table(NAME)
            finally:
                catalogue.close()
        if version is not None and table.snapshot_by_id(version) is None:
            known = [snapshot.snapshot_id for snapshot in table.snapshots()]
            raise PixelError(f"{path} has no snapshot {version}. It has: {', '.join(map(str, known)) or 'none'}.")
        count = table.scan(snapshot_id=version).count
    except NoSuchTableError:
        raise PixelError(
            f"The catalogue {path / CATALOGUE} has no table {NAME}. If an export was stopped there, run it again; for "
            "a table of your own give its file, …/metadata/….metadata.json."
        ) from None
    except PixelError:
        raise
    except Exception as error:  # of pyiceberg, its reader of files or its catalogue
        raise PixelError(f"{path} cannot be read as an Iceberg table ({_first_line(error)}).") from error
    return _lake(
        path, "iceberg", table.properties, count,
        lambda columns: table.scan(selected_fields=tuple(columns), snapshot_id=version).to_arrow_batch_reader(),
    )  # fmt: skip


# -- reading --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Lake:
    """A Delta or Iceberg table that ``export`` made.

    Attributes:
        path: Of the table.
        kind: ``delta`` or ``iceberg``.
        meta: What its byte strings mean.
        rows: How many it has.
    """

    path: Path
    kind: str
    meta: Meta
    rows: int
    _scan: Callable[[list[str]], Iterable[pa.RecordBatch]]

    def batches(self, columns: Iterable[str] | None = None) -> Iterator[pa.RecordBatch]:
        """The rows, batch by batch, in the types of ``SCHEMA``; ``pixels.write`` makes a pixel table of them.

        Raises:
            PixelError: A file is missing or damaged, or a row lacks a value.
        """
        names = list(columns or SCHEMA.names)
        try:
            for batch in self._scan(names):
                batch = as_schema(batch, names, str(self.path))
                refuse_nulls(batch, self.path)
                yield batch
        except PixelError:
            raise
        except Exception as error:  # of the lake's own reader
            raise PixelError(f"{self.path}: its rows cannot be read ({_first_line(error)}).") from error

    def read(self, columns: Iterable[str] | None = None) -> pa.Table:
        """The rows, or some of their columns, in memory, as ``pixels.read`` gives them.

        Raises:
            PixelError: As ``batches``, or the byte strings of a row disagree in length or order.
        """
        names = list(columns or SCHEMA.names)
        schema = pa.schema([SCHEMA.field(name) for name in names], self.meta.to_kv())
        batches = [pa.RecordBatch.from_arrays(b.columns, schema=schema) for b in self.batches(names)]
        table = pa.Table.from_batches(batches, schema)
        for rule in ("lengths", "day_order") if set(SCHEMA.names) == set(names) else ():
            if rules.breaks_series(table, rule, self.meta):
                raise PixelError(f"{self.path}: a row breaks the rule {rule}. Export the pixel table again.")
        return table


def open_lake(path: str | Path, version: int | None = None) -> Lake:
    """A Delta or Iceberg table that ``export`` made, for reading.

    Args:
        path: Its folder; for Iceberg also a file ``….metadata.json``.
        version: An earlier state of it: a version of Delta, a snapshot of Iceberg. The newest by default.

    Raises:
        PixelError: There is no such table, it was not made by ``export``, or rows were deleted or added since.
        MissingPackage: The extra ``lakes`` is not installed.

    Lab: part1_build_dataset.

    >>> open_lake("data/lake").read(["pixel", "year"])  # doctest: +SKIP
    """
    path = folders.place(path)
    if (path / "_delta_log").is_dir():
        return _open_delta(copies.fetched(path), version)
    path = folders.on_this_disk(path, "an Iceberg table, or a folder with _delta_log", PixelError)
    if (path / CATALOGUE).is_file() or path.name.endswith(".metadata.json"):
        return _open_iceberg(path, version)
    if (path / MARK).is_file():
        raise PixelError(f"The export to {path} was stopped. Run the same command again.")
    raise PixelError(
        f"Expected a Delta table (a folder with _delta_log) or an Iceberg table (a folder with {CATALOGUE}, or a file "
        f"….metadata.json) at {path}, found neither. `arset export` makes one. A pixel table is read by pixels.read."
    )


def _lake(path: Path, kind: str, properties: dict, count: Callable[[], int], scan: Callable) -> Lake:
    ours = {key: value for key, value in properties.items() if key.startswith(PREFIX)}
    if not ours:
        place = "in the table's description" if kind == "delta" else "among the table's properties"
        raise PixelError(
            f"{path} is a table of another program: expected {PREFIX}* {place}, found none. Make a pixel table of its "
            "rows with pixels.from_long or pixels.write."
        )
    try:
        expected = int(ours.pop(ROWS))
    except (KeyError, ValueError):
        raise PixelError(f"{path} lacks {ROWS}, or it is no number. Export the pixel table again.") from None
    kv = {key.encode(): str(value).encode() for key, value in ours.items()}
    meta = Meta.of_schema(pa.schema([], metadata=kv), str(path))
    try:
        rows = count()
    except Exception as error:  # of the lake's own reader
        raise PixelError(f"{path}: its rows cannot be counted ({_first_line(error)}).") from error
    if rows != expected:
        raise PixelError(
            f"{path} has {rows:,} rows; {expected:,} were exported. Rows were deleted or added since. Read the state "
            "that was exported, open_lake(path, version=…), or export the pixel table again."
        )
    return Lake(path, kind, meta, rows, scan)


def _needed(module: str) -> Any:
    try:
        return __import__(module)
    except ImportError:
        raise extras.missing(module) from None


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}"


# -- GeoParquet -----------------------------------------------------------------------------------------------------


def _write_geoparquet(path: str | Path, out: Path, meta: Meta) -> int:
    low, high, rows = np.full(2, np.inf), np.full(2, -np.inf), 0
    for piece in stream(path, ["x", "y"]):
        x, y = (piece.batch.column(n).to_numpy() for n in ("x", "y"))
        low, high = np.minimum(low, (x.min(), y.min())), np.maximum(high, (x.max(), y.max()))
        rows += piece.batch.num_rows
    column = {
        "encoding": "WKB",
        "geometry_types": ["Point"] if rows else [],
        "crs": CRS(meta.crs).to_json_dict(),
        "edges": "planar",
        **({"bbox": [*low.tolist(), *high.tolist()]} if rows else {}),
    }
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
    schema = SCHEMA.append(pa.field("geometry", pa.binary(), nullable=False))
    schema = schema.with_metadata(meta.to_kv() | {b"geo": json.dumps(geo).encode()})
    batches = (
        pa.RecordBatch.from_arrays([*piece.batch.columns, _points(piece.batch)], schema=schema)
        for piece in stream(path)
    )
    return write_file(batches, out, schema)


def _points(batch: pa.RecordBatch) -> pa.Array:
    """(N,) points (x, y) as WKB."""
    points = np.empty(batch.num_rows, np.dtype([("order", "u1"), ("type", "<u4"), ("x", "<f8"), ("y", "<f8")]))
    points["order"], points["type"] = 1, 1
    points["x"], points["y"] = batch.column("x").to_numpy(), batch.column("y").to_numpy()
    ends = np.arange(batch.num_rows + 1, dtype=np.int32) * points.itemsize
    return pa.Array.from_buffers(
        pa.binary(), batch.num_rows, [None, pa.py_buffer(ends), pa.py_buffer(points.tobytes())]
    )
