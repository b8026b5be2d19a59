"""Files in object stores, addressed like paths: ``s3://bucket/folder/file``, and ``gs://``, ``az://``, ``abfss://``.

    place = stores.place("s3://bucket/maps")     # a StorePath; for a path on disk a pathlib.Path
    (place / "a.json").read_bytes()

A ``StorePath`` has the methods of ``pathlib.Path`` that the library uses, so most code takes either. It is no
``os.PathLike``: what only reads or writes files of a disk fails at once with a type error; ``folders.fetched`` gives it
a copy, ``folders.put`` takes what it wrote. A store has no folders, so a folder is there when a file is in it.

Keys come from the platform's own chain (environment, instance, profile of a workload), never from an address: an
address with a user, a query or a fragment is refused.
"""

from __future__ import annotations

import errno
import functools
import io
import os
import posixpath
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from urllib.parse import unquote, urlsplit

from arsetlib.errors import ArsetError

SCHEMES = ("s3", "gs", "az", "abfs", "abfss")
_URL = re.compile(r"(?i)([a-z][a-z0-9+.-]+)://")


class StoreError(ArsetError, ValueError):
    """An address that names no place for files."""


@functools.total_ordering
@dataclass(frozen=True, repr=False)
class StorePath:
    """A file or folder in an object store.

    Attributes:
        root: Scheme and bucket, such as ``s3://bucket``.
        key: Path in it, without slashes at its ends; empty for the bucket itself.
    """

    root: str
    key: str = ""

    def __str__(self) -> str:
        return f"{self.root}/{self.key}" if self.key else self.root

    def __repr__(self) -> str:
        return f"StorePath({str(self)!r})"

    def __lt__(self, other: StorePath) -> bool:
        return str(self) < str(other)

    # Names

    def __truediv__(self, other: object) -> StorePath:
        joined = posixpath.normpath(posixpath.join("/", self.key, str(other))).lstrip("/")
        return StorePath(self.root, joined)

    @property
    def _pure(self) -> PurePosixPath:
        return PurePosixPath("/", self.key)

    @property
    def name(self) -> str:
        return self._pure.name

    @property
    def stem(self) -> str:
        return self._pure.stem

    @property
    def suffix(self) -> str:
        return self._pure.suffix

    @property
    def parent(self) -> StorePath:
        return StorePath(self.root, str(self._pure.parent).strip("/"))

    @property
    def parents(self) -> list[StorePath]:
        return [StorePath(self.root, str(one).strip("/")) for one in self._pure.parents]

    def with_name(self, name: str) -> StorePath:
        return self.parent / name

    def with_suffix(self, suffix: str) -> StorePath:
        return self.with_name(self._pure.with_suffix(suffix).name)

    def relative_to(self, other: StorePath) -> PurePosixPath:
        return self._pure.relative_to(other._pure)

    def as_posix(self) -> str:
        return str(self)

    def resolve(self) -> StorePath:
        return self

    absolute = resolve

    # What is there

    def stat(self) -> SimpleNamespace:
        """``st_size``, bytes, and ``stamp``, which changes when the file does.

        Raises:
            FileNotFoundError: It is not there.
            OSError: The store does not answer, or refuses.
        """
        with _errors(self):
            return _facts(_obstore().head(self._store, self.key))

    def is_file(self) -> bool:
        if not self.key:
            return False
        try:
            self.stat()
        except FileNotFoundError:
            return False
        return True

    def is_dir(self) -> bool:
        return next(self._listed(chunk=1), None) is not None

    def exists(self) -> bool:
        return self.is_file() or self.is_dir()

    def files(self) -> dict[str, SimpleNamespace]:
        """Key below this folder → facts of each file there, as ``stat``."""
        start = len(self.key) + 1 if self.key else 0
        return {key[start:]: facts for key, facts in self._listed()}

    def iterdir(self) -> Iterator[StorePath]:
        """Files and folders in this folder, in order."""
        names = {key.partition("/")[0] for key in self.files()}
        return iter([self / name for name in sorted(names)])

    def glob(self, pattern: str) -> Iterator[StorePath]:
        """Files that match a pattern without ``**``."""
        depth = pattern.count("/")
        keys = (key for key in sorted(self.files()) if key.count("/") == depth)
        return (self / key for key in keys if fnmatchcase(key, pattern))

    def rglob(self, pattern: str) -> Iterator[StorePath]:
        """Files of this folder and below whose name matches a pattern."""
        return (self / key for key in sorted(self.files()) if fnmatchcase(key.rpartition("/")[2], pattern))

    # Content

    def read_bytes(self) -> bytes:
        with _errors(self):
            return bytes(_obstore().get(self._store, self.key).bytes())

    def read_text(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return self.read_bytes().decode(encoding, errors)

    def open(self, mode: str = "rb") -> io.BufferedIOBase:
        """A file to read bytes from."""
        if mode != "rb":
            raise ValueError(f"{self} can only be read ('rb'), received {mode!r}. Write it with folders.put.")
        with _errors(self):
            return io.BufferedReader(_Reader(_obstore().open_reader(self._store, self.key)), 1 << 20)

    def write_bytes(self, content: bytes) -> None:
        """Put a whole file."""
        with _errors(self):
            _obstore().put(self._store, self.key, content)

    def upload(self, file: Path) -> None:
        """Put a file of this machine."""
        with _errors(self):
            _obstore().put(self._store, self.key, file)

    def unlink(self, missing_ok: bool = False) -> None:
        if not missing_ok:
            self.stat()
        with _errors(self), suppress(FileNotFoundError):
            _obstore().delete(self._store, self.key)

    def remove(self) -> None:
        """Delete all files of this folder and below."""
        keys = [f"{self.key}/{key}" for key in self.files()]
        with _errors(self):
            for at in range(0, len(keys), 1000):
                _obstore().delete(self._store, keys[at : at + 1000])

    def mkdir(self, **_: object) -> None:
        """Nothing: a folder is there when a file is in it."""

    # The store

    @property
    def _store(self):
        return _store(self.root, os.getpid())

    def _listed(self, chunk: int = 1000) -> Iterator[tuple[str, SimpleNamespace]]:
        with _errors(self):
            for batch in _obstore().list(self._store, f"{self.key}/" if self.key else None, chunk_size=chunk):
                for meta in batch:
                    yield meta["path"], _facts(meta)


class _Reader(io.RawIOBase):
    """What obstore reads, as Python's own buffers take it."""

    def __init__(self, source) -> None:
        self.source = source

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        data = bytes(self.source.read(len(buffer)))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self.source.seek(offset, whence)

    def tell(self) -> int:
        return self.source.tell()


def place(path: str | Path | StorePath) -> Path | StorePath:
    """The path of an address: on disk, or in an object store.

    >>> place("s3://bucket/maps/") / "a.json"
    StorePath('s3://bucket/maps/a.json')
    >>> place("file:///data/maps").name
    'maps'

    Raises:
        StoreError: Another kind of address, or one that holds credentials.
    """
    if not isinstance(path, str):
        return path
    found = _URL.match(path)
    if not found:
        return Path(path)
    scheme, parts = found[1].lower(), urlsplit(path)
    if scheme == "file":
        return Path(unquote(parts.path))
    if scheme not in SCHEMES or not parts.hostname:
        raise StoreError(f"Expected a path, or an address that begins with {_known()}, received one with {scheme}://.")
    own_user = scheme in ("abfs", "abfss")  # container@account: no secret
    if (parts.username is not None and not own_user) or parts.password is not None or parts.query or parts.fragment:
        raise StoreError(
            f"Expected an address of {scheme}:// without user, query and fragment, which may hold keys. Set keys as "
            "environment variables, or give the machine a role."
        )
    return StorePath(f"{scheme}://{parts.netloc}") / parts.path.strip("/")


def _known() -> str:
    return ", ".join(f"{scheme}://" for scheme in SCHEMES)


def _obstore():
    import obstore

    return obstore


@functools.lru_cache(maxsize=64)
def _store(root: str, _process: int):
    """The connections of a process to one bucket."""
    from obstore.store import from_url

    options: dict = {"connect_timeout": "10s", "timeout": "600s"}
    if any(os.environ.get(name, "").startswith("http://") for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3")):
        options["allow_http"] = True
    return from_url(root, client_options=options)


def _facts(meta) -> SimpleNamespace:
    stamp = meta.get("e_tag") or str(meta["last_modified"])
    return SimpleNamespace(st_size=meta["size"], st_mtime_ns=int(meta["last_modified"].timestamp() * 1e9), stamp=stamp)


@contextmanager
def _errors(place: StorePath) -> Iterator[None]:
    """Errors of a store as those of a disk, with the place and without the store's answer, which may hold keys."""
    try:
        yield
    except FileNotFoundError:
        raise FileNotFoundError(errno.ENOENT, "No such file or folder, or no such bucket", str(place)) from None
    except Exception as error:
        if not type(error).__module__.startswith("obstore") and not isinstance(error, OSError):
            raise
        text = str(error)
        code, status = re.search(r"<Code>(\w+)</Code>", text), re.search(r"\b([45]\d\d)\b [A-Z]", text)
        said = " ".join(one[1] for one in (status, code) if one) or type(error).__name__
        denied = isinstance(error, PermissionError) or type(error).__name__ in (
            "PermissionDeniedError", "UnauthenticatedError"
        )  # fmt: skip
        kind, number = (PermissionError, errno.EACCES) if denied else (OSError, errno.EIO)
        why = (
            "no permission: look at the keys in the environment, and at the rules of the bucket"
            if denied
            else ("the store does not answer as expected")
        )
        raise kind(number, f"{why} ({said})", str(place)) from None
