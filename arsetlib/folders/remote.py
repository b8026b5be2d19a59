"""Paths: on this machine, or in an object store.

``place("s3://bucket/pixels")`` is a path with the methods of ``pathlib.Path`` that the library uses, so code that reads
and writes need not know where a file is. The class is our own, over ``obstore``, which the library uses anyway to read
scenes; it has put-if-absent, byte ranges, retries and no cache. ``universal_pathlib`` with obstore's file system was
tried (2026-11): two more dependencies; it registers itself for ``s3`` in the whole process; a missing bucket reads as a
missing file; and put-if-absent has to go past it.

    s3://bucket/key                                  Amazon S3, and stores that speak its protocol
    gs://bucket/key                                  Google Cloud Storage
    az://container/key                               Azure, in the account of AZURE_STORAGE_ACCOUNT_NAME
    abfss://container@account.dfs.core.windows.net/key
    file:///tmp/a, /Volumes/catalog/schema/volume/a  a local path

Credentials come from the environment, a profile (``AWS_PROFILE``, with boto3) or the role of the machine. They are not
in a URL, and an error states only status and code of the store's answer. ``AWS_ENDPOINT_URL`` (and ``AWS_ALLOW_HTTP``)
name another server than Amazon's.

Lab: part1_build_dataset.
"""

from __future__ import annotations

import io
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from fnmatch import fnmatchcase
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from arsetlib.folders.errors import PlaceError, StoreError

SCHEMES = ("s3", "gs", "az", "abfss")
ANY_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")
WHOLE = 128 << 20  # bytes that one request puts; a larger file goes up in pieces, which appear together
PIECE = 32 << 20
READ = 1 << 20  # bytes that a reader asks for at least
RETRY = {"max_retries": 8, "retry_timeout": timedelta(minutes=4)}
TIMES = {"connect_timeout": "10 seconds", "timeout": "2 minutes"}
KEYS = ("AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI")  # fmt: skip


def place(path: str | Path | RemotePath) -> Path | RemotePath:
    """A path or URL as a path object: ``pathlib.Path`` for a place on this machine, else a ``RemotePath``.

    >>> place("s3://bucket/pixels") / "a.parquet"
    RemotePath('s3://bucket/pixels/a.parquet')
    >>> place("data/pixels").name
    'pixels'

    Args:
        path: A path; or a URL that begins with ``s3://``, ``gs://``, ``az://``, ``abfss://`` or ``file://``.

    Raises:
        PlaceError: A URL that is none of these, or that contains a user, a password or parameters.
    """
    if isinstance(path, RemotePath):
        return path
    text = os.fspath(path)
    scheme = ANY_SCHEME.match(text)
    if scheme is None:
        return Path(path)
    name = scheme[1]
    if isinstance(path, Path):
        raise PlaceError(f"{text} is a URL that was made a pathlib.Path. Give the URL as a string.")
    if name.lower() not in (*SCHEMES, "file"):
        raise PlaceError(
            f"Expected a path, or a URL that begins with {', '.join(f'{s}://' for s in SCHEMES)} or file://; received "
            f"{name}:. (On Databricks a volume is the path /Volumes/…)"
        )
    if name != name.lower() or not text.startswith(f"{name}://"):
        raise PlaceError(f"Expected a URL that begins with {name.lower()}://, received {_shown(text)}.")
    rest = text[len(name) + 3 :]
    host = rest.partition("/")[0]
    if "?" in rest or "#" in rest or "\\" in rest:
        raise PlaceError(
            f"Expected a URL without parameters, received {_shown(text)} with more. Keys and tokens do not belong "
            "into a URL: set the variables of the store, such as AWS_ACCESS_KEY_ID."
        )
    if name == "file":
        if host not in ("", "localhost"):
            raise PlaceError(f"Expected file:///path of this machine, received {_shown(text)}.")
        return Path(url2pathname(urlsplit(text).path))
    user = host.rpartition("@")[0]
    if (user and name != "abfss") or ":" in host or host.count("@") > 1:
        raise PlaceError(
            f"{name}://{host.rpartition('@')[2]}: expected a URL without user, password and port. Set the variables of "
            "the store, such as AWS_ACCESS_KEY_ID; AWS_ENDPOINT_URL for another server."
        )
    if not host or (name == "abfss" and not user):
        form = "abfss://container@account.dfs.core.windows.net/folder" if name == "abfss" else f"{name}://bucket/folder"
        raise PlaceError(f"Expected {form}, received {_shown(text)}.")
    return RemotePath(f"{name}://{host}", rest.partition("/")[2])


def _shown(text: str) -> str:
    """A URL without what may be secret."""
    scheme, _, rest = re.split(r"[?#]", text, maxsplit=1)[0].partition(":")
    host, slash, key = rest.lstrip("/").partition("/")
    return f"{scheme}:{'/' * (len(rest) - len(rest.lstrip('/')))}{host.rpartition('@')[2]}{slash}{key}"


@dataclass(frozen=True)
class Stat:
    """What a store states of a file: size in bytes, when it was put, and a tag that changes with its content."""

    st_size: int
    st_mtime: float
    e_tag: str | None

    @property
    def st_mtime_ns(self) -> int:
        return int(self.st_mtime * 1e9)


class RemotePath:
    """A key in an object store, used like a ``pathlib.Path``. It is immutable, and can be sent to workers.

    A store has no folders: one exists as long as a key begins with its name.

    Attributes:
        root: Store and bucket, ``s3://bucket``.
        key: The rest, with ``/``; empty for the bucket.
    """

    __slots__ = ("key", "root")

    def __init__(self, root: str, key: str = ""):
        parts = [part for part in key.split("/") if part not in ("", ".")]
        if ".." in parts:
            raise PlaceError(f"{root}/{key}: expected a key without '..'.")
        object.__setattr__(self, "root", root)
        object.__setattr__(self, "key", "/".join(parts))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"A RemotePath cannot be changed: {name}")

    def __reduce__(self):
        return RemotePath, (self.root, self.key)

    def __str__(self) -> str:
        return f"{self.root}/{self.key}" if self.key else self.root

    def __repr__(self) -> str:
        return f"RemotePath({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemotePath) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __lt__(self, other: RemotePath) -> bool:
        return (self.root, self.key.split("/")) < (other.root, other.key.split("/"))

    # -- names: as in pathlib

    def __truediv__(self, other: str | PurePosixPath) -> RemotePath:
        return RemotePath(self.root, f"{self.key}/{other}")

    def joinpath(self, *others: str) -> RemotePath:
        return self / "/".join(map(str, others))

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
    def suffixes(self) -> list[str]:
        return self._pure.suffixes

    @property
    def parts(self) -> tuple[str, ...]:
        return (self.root, *self._pure.parts[1:])

    @property
    def parent(self) -> RemotePath:
        return self._with(self._pure.parent)

    @property
    def parents(self) -> tuple[RemotePath, ...]:
        return tuple(map(self._with, self._pure.parents))

    def _with(self, pure: PurePosixPath) -> RemotePath:
        return RemotePath(self.root, str(pure))

    def with_name(self, name: str) -> RemotePath:
        return self._with(self._pure.with_name(name))

    def with_stem(self, stem: str) -> RemotePath:
        return self._with(self._pure.with_stem(stem))

    def with_suffix(self, suffix: str) -> RemotePath:
        return self._with(self._pure.with_suffix(suffix))

    def relative_to(self, other: RemotePath) -> PurePosixPath:
        if not isinstance(other, RemotePath) or other.root != self.root:
            raise ValueError(f"{self} is not below {other}")
        return self._pure.relative_to(other._pure)

    def is_relative_to(self, other: RemotePath) -> bool:
        return isinstance(other, RemotePath) and other.root == self.root and self._pure.is_relative_to(other._pure)

    def as_posix(self) -> str:
        return str(self)

    def as_uri(self) -> str:
        return str(self)

    def is_absolute(self) -> bool:
        return True

    def absolute(self) -> RemotePath:
        return self

    def resolve(self, strict: bool = False) -> RemotePath:
        return self

    def expanduser(self) -> RemotePath:
        return self

    # -- reading

    def stat(self) -> Stat:
        """Size, time and tag.

        Raises:
            FileNotFoundError: There is no such file.
            StoreError: The store does not answer, or refuses.
        """
        import obstore

        with self._explained():
            facts = obstore.head(self.store, self.key)
        return Stat(facts["size"], facts["last_modified"].timestamp(), facts["e_tag"])

    def is_file(self) -> bool:
        try:
            return bool(self.key) and self.stat() is not None
        except FileNotFoundError:
            return False

    def is_dir(self) -> bool:
        return not self.key or next(self._objects(self, few=True), None) is not None

    def exists(self) -> bool:
        return self.is_file() or self.is_dir()

    def is_symlink(self) -> bool:
        return False

    def read_bytes(self) -> bytes:
        import obstore

        with self._explained():
            return bytes(obstore.get(self.store, self.key).bytes())

    def read_text(self, encoding: str | None = "utf-8", errors: str | None = None) -> str:
        return self.read_bytes().decode(encoding or "utf-8", errors or "strict")

    def read_range(self, start: int, length: int) -> memoryview:
        """Some bytes of the file, in one request."""
        import obstore

        with self._explained():
            return memoryview(obstore.get_range(self.store, self.key, start=start, length=length))

    def open(self, mode: str = "r", encoding: str | None = None, errors: str | None = None, **_: object) -> io.IOBase:
        """The file for reading. To write, use ``folders.put``: an object is put whole."""
        if mode not in ("r", "rt", "rb"):
            raise StoreError(f"{self} can be opened for reading only (mode {mode!r}): an object is put whole.")
        binary = io.BufferedReader(_Reader(self), READ)
        return binary if mode == "rb" else io.TextIOWrapper(binary, encoding or "utf-8", errors)

    def iterdir(self) -> Iterator[RemotePath]:
        import obstore

        with self._explained():
            found = obstore.list_with_delimiter(self.store, self.key or None)
        keys = {*found["common_prefixes"], *(one["path"] for one in found["objects"])} - {self.key}
        if not keys and self.key:
            raise FileNotFoundError(f"There is no folder {self}")
        return (RemotePath(self.root, key) for key in sorted(keys))

    def sizes(self) -> dict[str, int]:
        """Key relative to this folder → size in bytes, of all files below it, in order."""
        start = len(self.key) + 1 if self.key else 0
        return dict(sorted((one["path"][start:], one["size"]) for one in self._objects(self)))

    def glob(self, pattern: str) -> Iterator[RemotePath]:
        if "/" not in pattern and "**" not in pattern:
            try:
                yield from (path for path in self.iterdir() if fnmatchcase(path.name, pattern))
            except FileNotFoundError:
                return
            return
        words = re.split(r"(\*\*/|\*\*|\*|\?)", pattern)
        forms = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
        wanted = re.compile("".join(forms.get(word, re.escape(word)) for word in words))
        yield from (self / key for key in self.sizes() if wanted.fullmatch(key))

    def rglob(self, pattern: str) -> Iterator[RemotePath]:
        return self.glob(f"**/{pattern}")

    # -- writing

    def write_bytes(self, content: bytes) -> int:
        self._put(content)
        return len(content)

    def write_text(self, content: str, encoding: str | None = "utf-8") -> int:
        return self.write_bytes(content.encode(encoding or "utf-8"))

    def create(self, content: bytes) -> str | None:
        """Put a file unless there is one; returns its tag.

        Raises:
            FileExistsError: There is one.
        """
        return self._put(content, "create")

    def replace_if(self, content: bytes, e_tag: str) -> str | None:
        """Put a file over one that has this tag; returns the new tag.

        Raises:
            FileExistsError: It has another tag.
        """
        return self._put(content, {"e_tag": e_tag})

    def _put(self, content: bytes | Path, mode: str | dict = "overwrite") -> str | None:
        import obstore

        size = content.stat().st_size if isinstance(content, Path) else len(content)
        many = size > WHOLE and mode == "overwrite"
        with self._explained():
            answer = obstore.put(
                self.store, self.key, content, mode=mode, use_multipart=many, chunk_size=PIECE, max_concurrency=4
            )
        return answer["e_tag"]

    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        """Nothing: a store has no folders."""

    def unlink(self, missing_ok: bool = False) -> None:
        import obstore

        if not missing_ok and not self.is_file():
            raise FileNotFoundError(str(self))
        with self._explained(), _missing_is_fine():
            obstore.delete(self.store, self.key)

    def remove_all(self) -> None:
        """Delete all files below this key."""
        import obstore

        keys = [f"{self.key}/{key}" if self.key else key for key in self.sizes()]
        with self._explained():
            for first in range(0, len(keys), 1000):
                obstore.delete(self.store, keys[first : first + 1000])

    # -- the store

    @property
    def store(self) -> Any:
        """The store of ``obstore`` for the bucket."""
        names = ("AWS_", "GOOGLE_", "AZURE_", "HOME")
        return _store(
            self.root, os.getpid(), tuple(sorted((k, v) for k, v in os.environ.items() if k.startswith(names)))
        )

    def _objects(self, folder: RemotePath, few: bool = False) -> Iterator[dict]:
        import obstore

        with self._explained():
            for chunk in obstore.list(self.store, folder.key or None, chunk_size=1 if few else 1000):
                yield from chunk

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Errors of ``obstore`` as ours, without what a request contained."""
        from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError, PreconditionError

        try:
            yield
        except (NotFoundError, FileNotFoundError) as error:
            if isinstance(error, FileNotFoundError) and error.errno is not None:
                raise  # a local file
            _check_bucket(self)
            raise FileNotFoundError(f"There is no file {self}") from None
        except (AlreadyExistsError, PreconditionError) as error:
            if "404" in str(error) or "NoSuchKey" in str(error):
                raise FileNotFoundError(f"There is no file {self}") from None
            raise FileExistsError(f"{self} was put by another job") from None
        except (BaseError, PermissionError) as error:
            if isinstance(error, PermissionError) and error.errno is not None:
                raise
            raise StoreError(_reason(self, str(error))) from None


@contextmanager
def _missing_is_fine() -> Iterator[None]:
    from obstore.exceptions import NotFoundError

    try:
        yield
    except (NotFoundError, FileNotFoundError):
        return


class _Reader(io.RawIOBase):
    """The bytes of an object by ranges."""

    def __init__(self, path: RemotePath):
        self.path, self.size, self.at = path, path.stat().st_size, 0
        self.name = str(path)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self.at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.at, io.SEEK_END: self.size}[whence])
        return self.at

    def readinto(self, buffer) -> int:
        length = min(len(buffer), self.size - self.at)
        if length <= 0:
            return 0
        got = self.path.read_range(self.at, length)
        buffer[: len(got)] = got
        self.at += len(got)
        return len(got)


# -- one bucket -----------------------------------------------------------------------------------------------------


@lru_cache(maxsize=32)
def _store(root: str, pid: int, variables: tuple):
    from obstore.store import from_url

    given = dict(variables)
    more = _aws(given) if root.startswith("s3://") else {}
    return from_url(root, client_options=TIMES | _http(root, given), retry_config=RETRY, **more)


def _http(root: str, given: dict[str, str]) -> dict:
    """Whether http is allowed: only where the variable of the store says so."""
    allowed = any(given.get(f"{store}_ALLOW_HTTP", "").lower() in ("1", "true") for store in ("AWS", "GOOGLE", "AZURE"))
    return {"allow_http": True} if allowed else {}


def _aws(given: dict[str, str]) -> dict:
    """Who asks: keys or a role of the environment, which obstore finds by itself; or a profile, by boto3."""
    if given.get("AWS_NO_SIGN_REQUEST", "").lower() in ("1", "true", "yes"):
        return {"skip_signature": True}
    home = given.get("HOME", "~")
    files = (given.get("AWS_SHARED_CREDENTIALS_FILE", f"{home}/.aws/credentials"),
             given.get("AWS_CONFIG_FILE", f"{home}/.aws/config"))  # fmt: skip
    profile = given.get("AWS_PROFILE")
    if any(given.get(name) for name in KEYS) or not (profile or any(Path(file).is_file() for file in files)):
        return {}
    if find_spec("boto3") is None:
        raise StoreError(
            f"The credentials of {f'the profile {profile!r}' if profile else files[0]} are read by boto3, which is not "
            "installed. Install it with: pip install boto3; or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
        )
    import boto3
    from botocore.exceptions import BotoCoreError
    from obstore.auth.boto3 import Boto3CredentialProvider

    try:
        session = boto3.Session()
        if session.get_credentials() is None:
            return {}
    except BotoCoreError as error:
        raise StoreError(f"boto3 finds no credentials: {error}") from None
    region = given.get("AWS_REGION") or given.get("AWS_DEFAULT_REGION") or session.region_name
    return {"credential_provider": Boto3CredentialProvider(session), **({"region": region} if region else {})}


_present: set[tuple[str, int]] = set()


def _check_bucket(path: RemotePath) -> None:
    """Refuse a bucket that is not there, once: a store answers a question on a key of it as for a missing key."""
    import obstore

    known = (path.root, hash(os.environ.get("AWS_ENDPOINT_URL")))
    if known in _present:
        return
    try:
        next(iter(obstore.list(path.store, "none", chunk_size=1)), None)
    except Exception as error:
        if re.search("NoSuchBucket|ContainerNotFound|bucket does not exist", str(error)) or "404" in str(error):
            raise StoreError(f"There is no bucket {path.root}. Make it, or correct the name.") from None
        return  # listing may be forbidden
    _present.add(known)


def _reason(path: RemotePath, text: str) -> str:
    """What a store's answer means: of the answer only status and code are shown."""
    code = (re.search(r"<Code>(\w+)</Code>", text) or [None, ""])[1]
    status = (re.search(r"\b([345]\d\d) [A-Z]\w+", text) or [None, ""])[1]
    answer = f" ({' '.join(filter(None, (status, code)))})" if status or code else ""
    low = text.lower()
    if code in ("NoSuchBucket", "ContainerNotFound"):
        return f"There is no bucket {path.root}. Make it, or correct the name."
    if code in ("PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException",
                "TemporaryRedirect") or "configured region" in low or status in ("301", "307"):  # fmt: skip
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
        return f"The bucket {path.root} is not in the region {region}{answer}. Set AWS_REGION to the bucket's region."
    if code in ("InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "TokenRefreshRequired"):
        return f"{path}: the store does not accept the credentials{answer}. Renew them, and run the same command again."
    if "169.254.169.254" in text or "credential" in low or "metadata" in low:
        return (
            f"{path}: no credentials were found. Set the variables of the store (S3: AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or AWS_PROFILE), or run on a machine that has a role."
        )
    if status in ("401", "403") or "permission" in low or "unauth" in low:
        return (
            f"{path}: access denied{answer}. The account that is used needs the right to list the bucket, and to read, "
            "put and delete its objects."
        )
    if status == "503" or code == "SlowDown":
        return f"{path}: the store is too busy{answer}, also after several tries. Run the same command again later."
    if "url scheme is not allowed" in low or "builder error" in low:
        return f"{path}: AWS_ENDPOINT_URL begins with http://, which needs AWS_ALLOW_HTTP=true."
    kind = next((words for sign, words in _NETWORK.items() if sign in low), "it gave an error")
    return f"{path}: the store did not do what was asked: {kind}{answer}. Run the same command again later."


_NETWORK = {
    "timed out": "it did not answer in time", "timeout": "it did not answer in time",
    "connection refused": "nothing answers at this address", "reset": "the connection was cut",
    "dns": "its name cannot be resolved", "connect": "there is no connection",
    "incomplete": "the connection was cut", "closed": "the connection was cut",
}  # fmt: skip


# -- local copies ---------------------------------------------------------------------------------------------------


@contextmanager
def local(path: str | Path | RemotePath) -> Iterator[Path]:
    """A file or folder as one of this machine, for libraries that read nothing else.

    Args:
        path: Where. What is local already is given as it is; else a copy, which is removed in the end.

    Raises:
        FileNotFoundError: There is neither a file nor a folder.
        StoreError: The store does not answer, or refuses.
    """
    path = place(path)
    if isinstance(path, Path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="arset-") as folder:
        copy = Path(folder, path.name or "bucket")
        if path.is_file():
            fetch(path, copy)
        else:
            keys = path.sizes()
            if not keys:
                raise FileNotFoundError(f"There is no file or folder {path}")
            for key in keys:
                fetch(path / key, copy / key)
        yield copy


def fetch(path: RemotePath, file: Path) -> None:
    """Copy a file of a store to this machine; its size is compared.

    Raises:
        StoreError: It arrived cut.
    """
    import obstore

    file.parent.mkdir(parents=True, exist_ok=True)
    with path._explained():
        answer = obstore.get(path.store, path.key)
        with file.open("wb") as out:
            for piece in answer.stream(min_chunk_size=READ):
                out.write(piece)
    if file.stat().st_size != answer.meta["size"]:
        raise StoreError(f"{path} arrived cut short. Run the same command again.")
