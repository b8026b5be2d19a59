"""Row groups decoded once: a streamed table is then read from a scratch folder, which costs a copy of memory.

Decoding Parquet (zstd) takes about as long as making the samples. So where a caller names a folder, each row group is
written there uncompressed when it is first read, and later epochs copy it from there. A file of the folder says which
row group of which file, of what size and time of change, it was made from, and carries a checksum; one that is stale,
cut short or altered is made anew. Files are read, not mapped: that costs the same, and a disk that fails is then an
error and no crash.

Lab: part2_load_data.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import get_ident

import pyarrow as pa

from arsetlib.samples.rows import SampleError

VERSION = 1
KEY = b"arset.scratch"
SEAL = 4  # bytes of the checksum at the end of a file


class Scratch:
    """A folder of decoded row groups; several loaders, threads and processes may share it.

    Args:
        folder: Made where it does not exist. Delete it when it is no longer needed.
        columns: What of a row group is kept.
        size: Bytes the whole table takes, about.

    Raises:
        SampleError: The disk has no room for the table.
    """

    def __init__(self, folder: str | Path, columns: Sequence[str], size: int):
        self.folder, self.columns = Path(folder), tuple(columns)
        self.folder.mkdir(parents=True, exist_ok=True)
        held = sum(file.stat().st_size for file in self.folder.glob("*.arrow"))
        if shutil.disk_usage(self.folder).free + held < size:
            raise self._full(size)

    def table(self, file: Path, number: int, decode: Callable[[], pa.Table], check: bool) -> pa.Table:
        """One row group: from the folder, or else decoded and put there.

        Args:
            file, number: The row group.
            decode: Gives it from Parquet.
            check: Whether to verify the checksum of what lies in the folder.
        """
        identity = self._identity(file, number)
        place = self.folder / f"{hashlib.blake2b(identity, digest_size=16).hexdigest()}.arrow"
        table = _opened(place, identity, check)
        if table is None:
            table = decode()
            self._write(table, place, identity)
        return table

    def _identity(self, file: Path, number: int) -> bytes:
        state = file.stat()
        made_of = [VERSION, str(file.resolve()), state.st_size, state.st_mtime_ns, number, self.columns]
        return json.dumps(made_of).encode()

    def _write(self, table: pa.Table, place: Path, identity: bytes) -> None:
        """The file appears when it is complete."""
        sink = pa.BufferOutputStream()
        table = table.replace_schema_metadata({KEY: identity})
        with pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
        content = sink.getvalue()
        hidden = place.with_name(f".{place.name}.{os.getpid()}.{get_ident()}")
        try:
            with hidden.open("wb") as out:
                out.write(content)
                out.write(zlib.crc32(content).to_bytes(SEAL, "little"))
            os.replace(hidden, place)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise self._full(content.size) from error
            raise
        finally:
            hidden.unlink(missing_ok=True)

    def _full(self, size: int) -> SampleError:
        return SampleError(
            f"No space in the scratch folder {self.folder} for {size / 1e9:.2g} GB of decoded series. Free some, name "
            f"a folder on another disk, or leave scratch out: then each epoch decodes the table anew."
        )


def _opened(place: Path, identity: bytes, check: bool) -> pa.Table | None:
    """A table on one buffer of the file's bytes; None where there is no such file or it is damaged."""
    try:
        with pa.OSFile(str(place)) as source:
            whole = source.read_buffer()
    except OSError:
        return None
    content, seal = whole.slice(0, max(whole.size - SEAL, 0)), whole.slice(max(whole.size - SEAL, 0))
    if check and zlib.crc32(content) != int.from_bytes(seal.to_pybytes(), "little"):
        return None
    try:
        table = pa.ipc.open_file(content).read_all()
    except (pa.ArrowException, OSError):
        return None
    return table if (table.schema.metadata or {}).get(KEY) == identity else None
