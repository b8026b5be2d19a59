"""Which files a pixel table consists of, and what their footers state.

Lab: part1_build_dataset.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from arsetlib import filetypes, folders
from arsetlib.pixels import sources
from arsetlib.pixels.rewritten import in_folder_names
from arsetlib.pixels.schema import PREFIX, SMALL, PixelError
from arsetlib.stores import StoreAnswerError, StorePath

UNFINISHED = ".partial"  # end of the name of a table that an earlier version was making
RUN_FILE = "_run.json"  # of earlier versions: says whether the table is complete
UNREADABLE = (pa.ArrowException, OSError, ValueError, KeyError, RuntimeError)  # Arrow's errors for a damaged file


def files(path: str | Path | StorePath) -> list[Path] | list[StorePath]:
    """Parquet files of a table, in order of name.

    A table that ``arset ingest`` made has a manifest: its files are the table, and other files in the folder are not
    read (``check`` names them). Without a manifest all Parquet files in the folder are the table.

    Args:
        path: Folder or file, on disk or in an object store (``s3://…``).

    Raises:
        PixelError: There is no table here, it is unfinished, a file of the manifest is missing or has another size, or
            it is a Delta or Iceberg table.

    Lab: part2_load_data.
    """
    path = folders.place(path)
    if isinstance(path, Path):
        partial = path.with_name(path.name + UNFINISHED)
        if path.name.endswith(UNFINISHED) or (partial.exists() and not path.exists()):
            raise _unfinished(path)
    if path.is_file():
        return [path]
    names = planned(path)
    if names is not None:
        wrong = list(islice(differences(path), 4))
        if wrong:
            more = " …" if len(wrong) > 3 else ""
            raise PixelError(
                f"The table {path} is not complete, or was changed: {'; '.join(wrong[:3])}{more}. Run the "
                "`arset ingest` command that made it again, which makes what is missing, or copy the table again."
            )
        if isinstance(path, StorePath):
            sources.know({path / name: sha256 for name, sha256 in _sums(path).items()})
        return [path / name for name in names]
    if (path / "_delta_log").is_dir() or (path / "catalog.db").is_file():
        raise PixelError(
            f"{path} is a table of a lake, which may keep files of deleted rows. Read it with "
            "pixels.open_lake(path).read(), or name the table from which it was exported."
        )
    return _without_manifest(path)


def planned(path: str | Path) -> list[str] | None:
    """Names of the Parquet files that a table was planned to have, in order; None if nothing states them.

    Nothing does for a single file, and for a folder that another program wrote.

    Args:
        path: Folder or file.

    Raises:
        PixelError: The table is unfinished.
    """
    path = folders.place(path)
    if (state := folders.state(path)) == "complete":
        return sorted(_sums(path))
    if (path / RUN_FILE).exists():  # of earlier versions, which planned a file for each chunk
        if _status(path / RUN_FILE) != "complete":
            raise _unfinished(path)
        return _earlier_files(path) or None
    if state == "unfinished":
        raise _unfinished(path)
    return None


def _sums(path: Path | StorePath) -> dict[str, str]:
    """Name → SHA-256 of each Parquet file in the manifest of a complete table."""
    parts = (folders.Folder(path).manifest() or {"parts": {}})["parts"].values()
    files = {key: facts for part in parts for key, facts in part["files"].items()}
    return {key: facts["sha256"] for key, facts in files.items() if key.endswith(".parquet")}


def differences(path: str | Path, *, deep: bool = False, others: bool = False) -> Iterator[str]:
    """What differs between the files that a table was planned to have and those in its folder, one sentence a file.

    Args:
        path: Folder of a table whose files ``planned`` knows.
        deep: Read all bytes and compare checksums, too.
        others: Also name Parquet files that were not planned.
    """
    path = folders.place(path)
    if folders.state(path) == "complete":
        yield from folders.problems(path, deep=deep, listed=".parquet" if others else None)
        return
    expected, present = set(_earlier_files(path)), {f.name for f in path.glob("*.parquet")}
    yield from (f"{path / name} is missing" for name in sorted(expected - present))
    if others:
        yield from (f"{path / name} is not in {folders.PLAN}: move it elsewhere" for name in sorted(present - expected))


def _earlier_files(path: Path) -> list[str]:
    """Names of the files in the plan of a table that an earlier version made."""
    try:
        chunks = json.loads((path / folders.PLAN).read_text(encoding="utf-8"))["chunks"]
        return sorted(f"{c['area']}-{c['year']}-{c['row']}-{c['col']}.parquet" for c in chunks)
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _without_manifest(path: Path | StorePath) -> list[Path] | list[StorePath]:
    """The Parquet files of a folder, or those in folders named after our columns, such as ``year=2021``.

    Spark, pandas and Arrow partition a table so. Names that begin with ``_`` or ``.`` are their temporary ones.
    """
    found = (f for f in sorted(path.rglob("*.parquet")) if isinstance(f, StorePath) or f.is_file())
    names = {f: f.relative_to(path).parts for f in found}
    depth = {f: len(parts) - 1 for f, parts in names.items() if not any(n.startswith(("_", ".")) for n in parts)}
    own = [f for f, d in depth.items() if not d]
    partitions = [f for f, d in depth.items() if d and len(in_folder_names(f, SMALL)) >= d]
    others = [f for f in depth if f not in {*own, *partitions}]
    kinds = [some for some in (own, partitions, others) if some]
    if len(kinds) > 1:
        raise PixelError(
            f"{path} has Parquet files in several places, such as {kinds[0][0]} and {kinds[1][0]}, so it is not known "
            "which are the table. Keep each table in a folder of its own."
        )
    if others:
        hint = (
            f"Its files lie in folders, the first in {others[0].parent}: name that folder. "
            "If this is the ARSET layout, open it with pixels.read_arset."
        )
    else:
        there = sorted(one.name for one in path.iterdir())[:3] if path.is_dir() else []
        hint = "Make one with `arset ingest`." + (
            f" It has {', '.join(there)}; names of Parquet files end in .parquet." if there else ""
        )
    if not own and not partitions:
        raise PixelError(f"Expected a pixel table at {path}, found no Parquet file. {hint}")
    return own or partitions


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


def footer(file: Path | StorePath) -> pq.FileMetaData:
    """The footer of a file.

    Raises:
        PixelError: The file is truncated or damaged, or no Parquet file.
    """
    try:
        content = sources.metadata(file)
        _check_types(content)
    except StoreAnswerError:
        raise
    except UNREADABLE as error:
        raise damaged(file, error) from error
    return content


def _check_types(content: pq.FileMetaData) -> None:
    """Each column chunk has the type that the schema states; else one flipped bit makes Arrow end the process.

    Arrow reads the statistics of such a chunk for a filter, and its exception is caught nowhere (Arrow 21: ``terminate
    called after throwing … ColumnMetaData type does not match``). Of 3,000 flipped bits in a footer, 3 did so.
    """
    types = [content.schema.column(number).physical_type for number in range(content.num_columns)]
    for group in map(content.row_group, range(content.num_row_groups)):
        if types != [group.column(number).physical_type for number in range(group.num_columns)]:
            raise pa.ArrowInvalid("the types of its columns differ within its footer")


def file_schema(file: Path | StorePath) -> pa.Schema:
    """Columns and metadata of a file.

    Arrow writes the metadata twice; a difference between the two shows a flipped bit.

    Raises:
        PixelError: The file is truncated or damaged, or no Parquet file.
    """
    content = footer(file)
    try:
        schema = content.schema.to_arrow_schema()
        twice = (content.metadata or {}).get(b"ARROW:schema")
        second = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(twice, validate=True))).metadata if twice else None
        ours, copy = (
            {key: value for key, value in (one or {}).items() if key.startswith(PREFIX.encode())}
            for one in (content.metadata, second)
        )
        if copy and ours != copy:
            raise pa.ArrowInvalid("its metadata and the copy of them differ")
    except UNREADABLE as error:
        raise damaged(file, error) from error
    return schema


def damaged(file: Path | StorePath, error: Exception) -> PixelError | MemoryError:
    """The error to raise for a file that Arrow cannot read."""
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    if isinstance(error, MemoryError):  # Arrow's own is both
        return MemoryError(f"Too little memory to read {file} ({reason}). Read fewer columns or rows, or stream them.")
    if found := filetypes.placeholder(file, "Parquet file"):
        return PixelError(f"{file} {found}")
    return PixelError(
        f"{file} cannot be read: truncated or damaged, or no Parquet file ({reason}). If it belongs to a table, delete "
        f"it and run the same `arset ingest` command again, or copy it again."
    )
