"""Parquet files of a table, on disk or in an object store, as Arrow reads them.

In a store a footer is read with one request, and so are all columns that are wanted of a row group.

Lab: part2_load_data.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from arsetlib.stores import StorePath

TAIL = 1 << 16  # bytes at the end of a file that are asked for first; the footer is mostly in them
GAP = 1 << 20  # unwanted bytes between wanted ones that are read rather than asked around
AHEAD = 4  # row groups of a stream that are read ahead from a store
ENDS = 1000  # of files of tables in a store that a process keeps, 64 MB
READERS = 8  # requests at the same time

File = Path | StorePath


_sums: dict[str, str] = {}  # address of a file of the table that was opened last → SHA-256 in its manifest


def know(sums: dict[StorePath, str]) -> None:
    """Take the SHA-256 of the files of a table in a store, so that each footer is asked for once in a process."""
    _sums.clear()
    _sums.update((str(file), sha256) for file, sha256 in sums.items())


def known(file: File) -> str | None:
    """The SHA-256 that the manifest of the table that was opened last states of a file."""
    return _sums.get(str(file))


def metadata(file: File) -> pq.FileMetaData:
    """The footer of a file; errors are Arrow's."""
    return pq.read_metadata(file) if isinstance(file, Path) else pq.read_metadata(pa.PythonFile(_tail(file), "r"))


def opened(file: File, footer: pq.FileMetaData | None = None, group: int | None = None,
           columns: Sequence[str] | None = None) -> pq.ParquetFile:  # fmt: skip
    """A file to read from, with checksums of pages verified; errors are Arrow's.

    Args:
        file: A Parquet file.
        footer: What ``metadata`` gave of it: then it is not read again.
        group: The only row group that will be read, whose bytes are fetched at once.
        columns: Those that will be read of it, all by default.
    """
    return _parquet(file, footer, group, columns, True)


def _parquet(file: File, footer, group, columns, verify: bool) -> pq.ParquetFile:
    if isinstance(file, Path):
        return pq.ParquetFile(file, page_checksum_verification=verify)
    if footer is None:
        footer = metadata(file)
    source = _Pieces(file, 1 << 62)
    if group is not None:
        source.fetch(_extents(footer.row_group(group), columns))
    return pq.ParquetFile(pa.PythonFile(source, "r"), metadata=footer, page_checksum_verification=verify)


def row_group(file: File, footer: pq.FileMetaData | None, number: int, columns: Sequence[str], verify: bool):
    """(the columns that the file has, rows) of one row group; errors are Arrow's."""
    with _parquet(file, footer, number, columns, verify) as source:
        present = [name for name in columns if name in source.schema_arrow.names]
        table = source.read_row_group(number, columns=present, use_threads=False)
        return table, source.metadata.row_group(number).num_rows


def _extents(group: pq.RowGroupMetaData, columns: Sequence[str] | None) -> list[tuple[int, int]]:
    """First byte and length of what must be read of a row group, with small gaps included."""
    ends: list[list[int]] = []
    for column in map(group.column, range(group.num_columns)):
        if columns is not None and column.path_in_schema.partition(".")[0] not in columns:
            continue
        start = column.data_page_offset
        if column.has_dictionary_page and column.dictionary_page_offset:
            start = min(start, column.dictionary_page_offset)
        ends.append([start, start + column.total_compressed_size])
    merged: list[list[int]] = []
    for start, end in sorted(ends):
        if merged and start - merged[-1][1] <= GAP:
            merged[-1][1] = max(merged[-1][1], end)
        else:
            merged.append([start, end])
    return [(start, end - start) for start, end in merged]


class _Pieces(io.RawIOBase):
    """A file of a store of which some bytes are in memory; others are asked for when they are read."""

    def __init__(self, file: StorePath, size: int):
        self.file, self.size, self.at = file, size, 0
        self.held: list[tuple[int, memoryview]] = []

    def fetch(self, extents: Iterable[tuple[int, int]]) -> None:
        self.held += [(start, self.file.read_range(start, length)) for start, length in extents]

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.at

    def seek(self, offset: int, whence: int = 0) -> int:
        self.at = max(0, offset + (0, self.at, self.size)[whence])
        return self.at

    def read(self, size: int = -1) -> bytes:
        length = self.size - self.at if size is None or size < 0 else max(0, min(size, self.size - self.at))
        start, self.at = self.at, self.at + length
        for first, content in self.held:
            if first <= start and start + length <= first + len(content):
                return content[start - first : start - first + length]  # a view: Arrow copies it
        return bytes(self.file.read_range(start, length)) if length else b""

    def readinto(self, buffer) -> int:
        content = self.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)


def _tail(file: StorePath) -> _Pieces:
    """A file whose last bytes, the footer among them, are in memory."""
    sha256 = known(file)
    size, content = file.read_end(TAIL) if sha256 is None else _end(file, sha256)
    pieces = _Pieces(file, size)
    pieces.held.append((size - len(content), memoryview(content)))
    return pieces


@functools.lru_cache(maxsize=ENDS)
def _end(file: StorePath, _sha256: str) -> tuple[int, bytes]:
    """Size and last bytes of a file that does not change."""
    size, content = file.read_end(TAIL)
    return size, bytes(content)


def many(function: Callable, files: Sequence[File]) -> list:
    """The results of a function of a file for several; in a store several are asked for at the same time."""
    if not files or isinstance(files[0], Path):
        return [function(file) for file in files]
    with ThreadPoolExecutor(2 * READERS) as pool:
        return list(pool.map(function, files))


def sizes(files: Sequence[File]) -> list[int]:
    """Bytes of each file; in a store they came with the footer, which is kept."""
    return many(lambda file: file.stat().st_size if isinstance(file, Path) else _tail(file).size, files)


def ahead(function: Callable, arguments: Iterable, stored: bool, threads: int = AHEAD) -> Iterator[Any]:
    """The results of a function in order; of files in a store, the next ones are computed in threads meanwhile."""
    if not stored:
        yield from map(function, arguments)
        return
    with ThreadPoolExecutor(threads) as pool:
        rest = iter(arguments)
        waiting = [pool.submit(function, one) for one in islice(rest, threads)]
        try:
            while waiting:
                result = waiting.pop(0).result()
                waiting += [pool.submit(function, one) for one in islice(rest, 1)]
                yield result
        finally:
            for future in waiting:
                future.cancel()


def arrow_files(files: Sequence[File]) -> tuple[list[str], pafs.FileSystem | None]:
    """Names and file system under which Arrow's data sets find some files."""
    if isinstance(files[0], Path):
        return [str(file) for file in files], None
    return [f"{file.root.partition('://')[2]}/{file.key}" for file in files], pafs.PyFileSystem(_Stored(files))


class _Stored(pafs.FileSystemHandler):
    """The files of one table in a store, for reading."""

    def __init__(self, files: Sequence[StorePath]):
        self.files = {f"{file.root.partition('://')[2]}/{file.key}": file for file in files}

    def get_type_name(self) -> str:
        return "arset"

    def normalize_path(self, path: str) -> str:
        return path

    def get_file_info(self, paths: list[str]) -> list[pafs.FileInfo]:
        kinds = (pafs.FileType.NotFound, pafs.FileType.File)
        return [pafs.FileInfo(path, kinds[path in self.files]) for path in paths]

    def open_input_file(self, path: str) -> pa.PythonFile:
        return pa.PythonFile(_tail(self.files[path]), "r")

    open_input_stream = open_input_file

    def _refuse(self, *_: object) -> None:
        raise NotImplementedError("The files of a table are only read.")

    get_file_info_selector = create_dir = delete_dir = delete_dir_contents = delete_root_dir_contents = _refuse
    delete_file = move = copy_file = open_output_stream = open_append_stream = _refuse
