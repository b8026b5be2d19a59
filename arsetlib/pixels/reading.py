"""Reading a pixel table: as a whole, in part, or as a stream.

Lab: part1_build_dataset.
"""

from __future__ import annotations

import filecmp
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from arsetlib import folders
from arsetlib.pixels import rules, sources
from arsetlib.pixels import schema as layout
from arsetlib.pixels.listing import UNREADABLE, damaged, file_schema, files, footer
from arsetlib.pixels.meta import Meta, states_any
from arsetlib.pixels.rewritten import cast, in_folder_names, reason_against
from arsetlib.pixels.schema import SCHEMA, SERIES, SMALL, PixelError
from arsetlib.stores import StoreAnswerError, StorePath


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
    parquet = files(path)
    meta = _common_meta(parquet, meta)
    options = ds.ParquetFragmentScanOptions(page_checksum_verification=True)
    partitions = pa.schema([SCHEMA.field(name) for name in in_folder_names(parquet[0], SMALL)])
    names, system = sources.arrow_files(parquet)
    return ds.dataset(
        names,
        filesystem=system,
        schema=SCHEMA.with_metadata(meta.to_kv()),
        format=ds.ParquetFileFormat(default_fragment_scan_options=options),
        partitioning=ds.partitioning(partitions, flavor="hive") if len(partitions) else None,
    )


def _common_meta(parquet: Sequence[Path], default: Meta | None = None) -> Meta:
    """Metadata of all files; those that state none have the ``default``."""
    common = default
    for file, schema in zip(parquet, sources.many(file_schema, parquet), strict=True):
        meta = default if default is not None and not states_any(schema) else Meta.of_schema(schema, str(file))
        _check_columns(schema, file)
        _refuse_other_folder(schema, file)
        common = common or meta
        if replace(meta, version=common.version, extra=common.extra) != common:
            raise PixelError(
                f"{file} and {parquet[0] if default is None else 'meta=…'} differ in bands, scale, grid or study, so "
                f"they are not one table. Keep each in its own folder."
            )
    _refuse_copies(parquet)
    return common


def _refuse_copies(parquet: Sequence[Path]) -> None:
    """A copy of a file in the same folder, such as 'a (1).parquet', would count its rows twice."""
    by_content: dict[object, list] = {}
    stored = not isinstance(parquet[0], Path)
    for file, content in zip(parquet, sources.many(_content, parquet), strict=True):
        same = by_content.setdefault(content, [])
        for other in same:
            if (stored or filecmp.cmp(file, other, shallow=False)) and footer(file).num_rows:
                raise PixelError(f"{file} is a copy of {other}: all rows would count twice. Delete one of them.")
        same.append(file)


def _content(file: Path | StorePath) -> object:
    """What two files have in common if they are copies: on a disk only their size."""
    if isinstance(file, Path):
        return file.stat().st_size
    return sources.known(file) or file.stat().stamp


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


def _refuse_other_folder(schema: pa.Schema, file: Path | StorePath) -> None:
    """A column that the file and the name of its folder both state must be the same in both."""
    for name, value in in_folder_names(file, SMALL).items():
        if name not in schema.names:
            continue
        try:
            stated = pa.scalar(value).cast(SCHEMA.field(name).type).as_py()
        except pa.ArrowInvalid:
            stated = value
        for piece in _pieces([file], [name]):
            other = [v for v in piece.batch.column(name).unique().to_pylist() if v != stated]
            if other:
                raise PixelError(
                    f"{file} has rows with `{name}` = {other[0]!r} in a folder named {name}={value}. "
                    "Correct the name of the folder, or the rows."
                )


def as_schema(data: pa.RecordBatch | pa.Table, names: Sequence[str], where: str):
    """Some columns of a batch or table in our types; those that the file lacks are in the names of its folders."""
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
            raise PixelError(
                f"{where}: a value of `{name}` is not of type {want.type} ({error}). Correct it there."
            ) from error
    schema = pa.schema([SCHEMA.field(name) for name in names], data.schema.metadata)
    return type(data).from_arrays(columns, schema=schema)


def row_group(
    file: str | Path | StorePath,
    number: int,
    columns: Sequence[str],
    verify: bool = True,
    footer: pq.FileMetaData | None = None,
) -> pa.Table:
    """One row group of a file of a table, its columns in the types of ``SCHEMA``.

    Args:
        file: A file of ``files``.
        number: Row group, from 0.
        columns: Columns of ``SCHEMA``.
        verify: Whether page checksums are verified.
        footer: Of the file, if it is known; a file in a store is then read with one request.

    Raises:
        PixelError: The file is damaged, or a row lacks a value.

    Lab: part2_load_data.
    """
    file = folders.place(file)
    try:
        table, rows = sources.row_group(file, footer, number, columns, verify)
        if table.num_columns and table.num_rows != rows:
            raise pa.ArrowInvalid(f"{table.num_rows} rows came, its footer says {rows}")
    except StoreAnswerError:
        raise
    except UNREADABLE as error:
        raise damaged(file, error) from error
    if not table.num_columns:
        table = pa.table({"": pa.nulls(rows)})
    table = as_schema(table, columns, str(file))
    refuse_nulls(table, f"{file}, row group {number}")
    return table


def refuse_nulls(table: pa.Table | pa.RecordBatch, where: str | Path) -> None:
    """Refuse a table with a row that lacks a value."""
    for name in table.schema.names:
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

    >>> table = read("data/pixels", ["pixel", "label_code"], pc.field("year") == 2021)  # doctest: +SKIP
    """
    data = dataset(path, meta)
    unknown = set(columns or ()) - set(SCHEMA.names)
    if unknown:
        raise PixelError(f"Expected columns out of {SCHEMA.names}, received {sorted(unknown)}.")
    try:
        table = data.to_table(columns=None if columns is None else list(columns), filter=filter)
    except StoreAnswerError:
        raise
    except UNREADABLE as error:
        raise _blame(files(path), error) from error
    refuse_nulls(table, path)
    if set(SERIES) & set(table.column_names):
        _check_series(table, path, Meta.of(table))
    return table


def _blame(names: Sequence[Path | StorePath], error: Exception) -> PixelError | MemoryError:
    """The error that names the file which cannot be read: a scan of many files does not always name it."""
    for file in names:
        try:
            present = set(file_schema(file).names)
            for _ in _pieces([file], [n for n in SCHEMA.names if n in present]):
                pass
        except (PixelError, StoreAnswerError) as reason:
            return reason
    return PixelError(f"The table could not be read ({error}). If the disk has no fault, run `arset check` on it.")


def _check_series(table: pa.Table, path: str | Path, meta: Meta) -> None:
    """Refuse series whose lengths disagree or whose days do not ascend; this is fast, so every read does it."""
    for rule, problem in (("lengths", "byte strings disagree in length"), ("day_order", "days do not ascend")):
        if rules.breaks_series(table, rule, meta):
            first = _first_break(path, rule, meta)
            raise PixelError(f"{first or path}: {problem}. Run `arset check` for all such rows.")


def _first_break(path: str | Path, rule: str, meta: Meta) -> rules.Break | None:
    """The first row of a table that breaks a rule on its series."""
    for piece in _pieces(files(path), ("year", "num_images", *SERIES)):
        for name, broken, words in rules.broken_series(piece.batch, meta):
            if name == rule and broken.any():
                row = int(broken.argmax())
                return rules.Break(str(piece.file), piece.row_group, piece.row + row, rule, words(row))
    return None


@dataclass(frozen=True)
class FileBatch:
    """A batch of a table, and where it was read: rows ``row`` onwards of one row group of one file."""

    file: Path
    row_group: int
    row: int
    batch: pa.RecordBatch


def stream(path: str | Path, columns: Sequence[str] | None = None) -> Iterator[FileBatch]:
    """A table batch by batch, in order, in memory that does not grow with it.

    Args:
        path: Folder or file.
        columns: Columns to read, all by default.

    Yields:
        Batches of at most 8,192 rows with where they come from.

    Raises:
        PixelError: The table is missing, unfinished or damaged.

    Lab: part1_build_dataset.
    """
    parquet = files(path)
    _common_meta(parquet)
    yield from _pieces(parquet, columns or SCHEMA.names)


def _pieces(parquet: Sequence[Path] | Sequence[StorePath], names: Sequence[str]) -> Iterator[FileBatch]:
    stored = not isinstance(parquet[0], Path)

    def groups() -> Iterator[tuple]:
        for file in parquet:
            content = footer(file)
            yield from ((file, content, number) for number in range(content.num_row_groups))

    def opened(one: tuple) -> tuple:
        file, content, group = one
        try:  # in a store, the bytes of the group are fetched here, ahead of time
            return file, content, group, sources.opened(file, content, group if stored else None, names)
        except StoreAnswerError:
            raise
        except UNREADABLE as error:
            raise damaged(file, error) from error

    for file, content, group, source in sources.ahead(opened, groups(), stored):
        try:
            with source:
                present = [name for name in names if name in source.schema_arrow.names]
                row = 0
                for batch in source.iter_batches(layout.ROW_GROUP, row_groups=[group], columns=present):
                    yield FileBatch(file, group, row, as_schema(batch, names, str(file)))
                    row += batch.num_rows
            if row != content.row_group(group).num_rows:  # Arrow 18 ends some damaged files without an error
                raise pa.ArrowInvalid(f"{row} rows came, its footer says {content.row_group(group).num_rows}")
        except (PixelError, StoreAnswerError):
            raise
        except UNREADABLE as error:
            raise damaged(file, error) from error
