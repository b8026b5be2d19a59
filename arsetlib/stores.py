"""Files in object stores, addressed like paths: ``s3://bucket/folder/file``, and ``gs://``, ``az://``, ``abfss://``.

    place = stores.place("s3://bucket/maps")     # a StorePath; for a path on disk a pathlib.Path
    (place / "a.json").read_bytes()

A ``StorePath`` has the methods of ``pathlib.Path`` that the library uses, so most code takes either. It is no
``os.PathLike``: what only reads or writes files of a disk fails at once with a type error; ``copies.fetched`` gives it
a copy, ``folders.put`` takes what it wrote. A store has no folders, so a folder is there when a file is in it.

Keys come from the environment, from a profile (``AWS_PROFILE``, read by boto3) or from the role of the machine, never
from an address: an address with a user, a query or a fragment is refused. An error repeats only status and code of a
store's answer. ``AWS_ENDPOINT_URL`` names another server with Amazon's protocol.

The class is our own, over ``obstore``, which the library needs anyway to read scenes: it has puts that only create,
byte ranges and retries, and keeps no list of files. ``universal_pathlib`` over obstore's file system was tried
(November 2026): two more dependencies, it registers itself for ``s3`` in the whole process, a missing bucket looks like
a missing file, and puts that only create have to go past it.
"""

from __future__ import annotations

import errno
import functools
import io
import os
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from fnmatch import fnmatchcase
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any
from urllib.request import url2pathname

from arsetlib.errors import ArsetError

SCHEMES = ("s3", "gs", "az", "abfs", "abfss")
_SAME = {"s3a": "s3://", "s3n": "s3://", "gcs": "gs://"}
WHOLE = 128 << 20  # bytes that are put with one request; of a larger file the pieces appear together
PIECE = 32 << 20
READ = 1 << 20  # bytes that are read at least
RETRY: Any = {"max_retries": 8, "retry_timeout": timedelta(minutes=4)}
SHORT: Any = {"max_retries": 4, "retry_timeout": timedelta(minutes=1)}  # where GDAL tries after it
TIMES = {"connect_timeout": "10s", "timeout": "120s"}
_ENDPOINTS = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT")
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")
_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
         "AWS_CONTAINER_CREDENTIALS_FULL_URI")  # fmt: skip


class StoreError(ArsetError, ValueError):
    """An address that names no place for files."""


class StoreAnswerError(ArsetError, RuntimeError):
    """A store refused a request, or did not answer; the message says what to do, and contains no keys.

    It is no ``OSError``: what a reader says of a file that is missing or damaged, to make it again, is wrong here.
    """


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
    def parts(self) -> tuple[str, ...]:
        return (self.root, *self._pure.parts[1:])

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
            StoreAnswerError: The store does not answer, or refuses.
        """
        with _errors(self):
            return _facts(_obstore().head(self._store, self.key), self._version)

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
        """Key below this folder → facts of each file there, as ``stat``.

        The empty object ``folder/``, which consoles make to show an empty folder, is no file. The list names it without
        its slash, so the store is asked whether an empty file is there.
        """
        start = len(self.key) + 1 if self.key else 0
        found = {key[start:]: facts for key, facts in self._listed() if len(key) >= start}
        return {key: facts for key, facts in found.items() if facts.st_size or (key and (self / key).is_file())}

    def iterdir(self) -> Iterator[StorePath]:
        """Files and folders in this folder, in order."""
        with _errors(self):
            found = _obstore().list_with_delimiter(self._store, f"{self.key}/" if self.key else None)
        keys = {*found["common_prefixes"], *(one["path"] for one in found["objects"])} - {self.key}
        return iter([StorePath(self.root, key) for key in sorted(keys)])

    def glob(self, pattern: str) -> Iterator[StorePath]:
        """Files that match a pattern without ``**``."""
        depth = pattern.count("/")
        keys = (key for key in sorted(self.files()) if key.count("/") == depth)
        return (self / key for key in keys if fnmatchcase(key, pattern))

    def is_symlink(self) -> bool:
        return False

    def rglob(self, pattern: str) -> Iterator[StorePath]:
        """Files of this folder and below whose name matches a pattern."""
        return (self / key for key in sorted(self.files()) if fnmatchcase(key.rpartition("/")[2], pattern))

    # Content

    def read_bytes(self) -> bytes:
        with _errors(self):
            return bytes(_obstore().get(self._store, self.key).bytes())

    def read_text(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return self.read_bytes().decode(encoding, errors)

    def read_range(self, start: int, length: int) -> memoryview:
        """Some bytes, with one request."""
        with _errors(self):
            return memoryview(_obstore().get_range(self._store, self.key, start=start, length=length))

    async def read_ranges(
        self, starts: Sequence[int], lengths: Sequence[int], close: int, **asked: bool
    ) -> list[memoryview]:
        """Some parts of the file; those less than ``close`` bytes apart are one request.

        ``asked``: how the owner of a bucket of S3 wants to be asked: ``skip_signature``, ``request_payer``.
        """
        with _errors(self):
            found = await _obstore().get_ranges_async(
                _store(self.root, **asked), self.key, starts=starts, lengths=lengths, coalesce=close
            )
            return [memoryview(part) for part in found]

    def read_end(self, length: int) -> tuple[int, memoryview]:
        """Size of the file, and its last bytes, with one request; Azure needs two."""
        if self.root.startswith("a"):
            size = self.stat().st_size
            return size, self.read_range(max(0, size - length), min(size, length))
        with _errors(self):
            answer = _obstore().get(self._store, self.key, options={"range": {"suffix": length}})
            return answer.meta["size"], memoryview(answer.bytes())

    def open(self, mode: str = "rb", encoding: str | None = None, **_: object) -> io.IOBase:
        """A file to read bytes or text from."""
        if mode not in ("r", "rt", "rb"):
            raise ValueError(f"{self} can only be read, received the mode {mode!r}. Write it with folders.put.")
        binary = io.BufferedReader(_Reader(self), READ)
        return binary if mode == "rb" else io.TextIOWrapper(binary, encoding or "utf-8")

    def write_bytes(self, content: bytes) -> None:
        """Put a whole file."""
        self._put(content)

    def upload(self, file: Path) -> str:
        """Put a file of this machine; returns its tag."""
        return self._put(file)

    def create(self, content: bytes) -> str:
        """Put a file where there is none; returns its tag.

        Raises:
            FileExistsError: There is one.
        """
        return self._put(content, "create")

    def replace(self, content: bytes, tag: str) -> str:
        """Put a file in place of the one that has this tag; returns the new tag.

        Raises:
            FileExistsError: It has another tag by now.
            FileNotFoundError: It is gone.
        """
        return self._put(content, {self._version: tag})

    def _put(self, content: bytes | Path, mode: str | dict = "overwrite") -> str:
        size = content.stat().st_size if isinstance(content, Path) else len(content)
        many = size > WHOLE and mode == "overwrite"
        with _errors(self):
            return _obstore().put(
                self._store, self.key, content, mode=mode, use_multipart=many, chunk_size=PIECE, max_concurrency=4
            )[self._version]

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
        return _store(self.root)

    @property
    def _version(self) -> str:
        """What a put names to replace one state of a file: Google compares numbers of versions, others tags."""
        return "version" if self.root.startswith("gs:") else "e_tag"

    def _listed(self, chunk: int = 1000) -> Iterator[tuple[str, SimpleNamespace]]:
        with _errors(self):
            for batch in _obstore().list(self._store, f"{self.key}/" if self.key else None, chunk_size=chunk):
                for meta in batch:
                    yield meta["path"], _facts(meta, self._version)


class _Reader(io.RawIOBase):
    """The bytes of a file in a store, range by range."""

    def __init__(self, file: StorePath) -> None:
        self.file, self.size, self.at = file, file.stat().st_size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        length = min(len(buffer), self.size - self.at)
        if length <= 0:
            return 0
        buffer[:length] = self.file.read_range(self.at, length)
        self.at += length
        return length

    def seek(self, offset: int, whence: int = 0) -> int:
        self.at = max(0, offset + (0, self.at, self.size)[whence])
        return self.at

    def tell(self) -> int:
        return self.at


def place(path: str | Path | StorePath) -> Path | StorePath:
    """The path of an address: on disk, or in an object store.

    >>> place("s3://bucket/maps/") / "a.json"
    StorePath('s3://bucket/maps/a.json')
    >>> place("file:///data/maps").name
    'maps'

    Raises:
        StoreError: Another kind of address, or one that holds credentials.
    """
    if isinstance(path, StorePath):
        return path
    text = os.fspath(path)
    found = _URL.match(text)
    if not found:
        return Path(path).expanduser() if text == "~" or text.startswith("~/") else Path(path)
    if not isinstance(path, str):
        raise StoreError(f"Received an address of {found[1]}: as a pathlib.Path, which changes it. Give it as text.")
    scheme = found[1].lower()
    if scheme not in (*SCHEMES, "file"):
        also = f" Write {_SAME[scheme]} in place of {scheme}:." if scheme in _SAME else ""
        raise StoreError(
            f"Expected a path, or an address that begins with {_known()} or file://, received one with {scheme}:."
            f"{also} A volume of Databricks is the path /Volumes/…"
        )
    text = scheme + text[len(scheme) :]
    if scheme == "file" and not text.startswith("file://"):
        text = f"file://{text[5:]}"  # Spark and Java write one slash
    if not text.startswith(f"{scheme}://"):
        raise StoreError(f"Expected an address that begins with {scheme}://, received one with {scheme}:/ only.")
    host, _, key = text[len(scheme) + 3 :].partition("/")
    user = host.rpartition("@")[0]
    own_user = scheme in ("abfs", "abfss")  # container@account: no secret
    if (user and not own_user) or ":" in host or host.count("@") > 1 or set("?#\\") & set(host + key):
        raise StoreError(
            f"Expected an address of {scheme}:// without user, port, query and fragment, which may hold keys. Set keys "
            "as environment variables, or give the machine a role; AWS_ENDPOINT_URL names another server."
        )
    if scheme == "file":
        if host not in ("", "localhost"):
            raise StoreError(f"Expected file:///folder of this machine, received a file of {host!r}.")
        return Path(url2pathname(f"/{key}"))
    if not host or own_user != bool(user):
        form = "container@account.dfs.core.windows.net" if own_user else "bucket"
        raise StoreError(f"Expected {scheme}://{form}/folder, received none of this form.")
    parts = [part for part in key.split("/") if part not in ("", ".")]
    if ".." in parts or not key.isprintable():
        raise StoreError(f"Expected an address of {scheme}:// without '..', tabs and line ends.")
    return StorePath(f"{scheme}://{host}", "/".join(parts))


def _known() -> str:
    return ", ".join(f"{scheme}://" for scheme in SCHEMES)


def _obstore():
    import obstore

    return obstore


def _store(root: str, **asked: bool):
    """The connections of a process to one bucket, as the environment is now."""
    names = ("AWS_", "GOOGLE_", "AZURE_", "HOME")
    variables = sorted((name, value) for name, value in os.environ.items() if name.startswith(names))
    return _connected(root, os.getpid(), tuple(variables), tuple(sorted(asked.items())))


@functools.lru_cache(maxsize=32)
def _connected(root: str, _process: int, variables: tuple[tuple[str, str], ...], asked: tuple[tuple[str, bool], ...]):
    from obstore.store import from_url

    given = dict(variables)
    options: Any = dict(TIMES)
    plain = any(given.get(name, "").startswith("http://") for name in _ENDPOINTS)
    if plain or given.get("GOOGLE_ALLOW_HTTP") == "true":  # Google's address stands inside a key
        options["allow_http"] = True
    signed: Any = _signed(given) if root[:2] == "s3" and not dict(asked).get("skip_signature") else {}
    retry = SHORT if asked else RETRY
    return from_url(root, client_options=options, retry_config=retry, **{**signed, **dict(asked)})


def unsigned(given: Mapping[str, str]) -> bool | None:
    """What the variable AWS_NO_SIGN_REQUEST says, in the words of GDAL; None where it says nothing."""
    said = given.get("AWS_NO_SIGN_REQUEST", "").upper()
    return True if said in ("YES", "TRUE", "ON", "1") else False if said in ("NO", "FALSE", "OFF", "0") else None


def _signed(given: dict[str, str]) -> dict:
    """Who asks S3: keys or a role, which obstore finds by itself, or a profile, which boto3 reads."""
    if unsigned(given):
        return {"skip_signature": True}
    home, profile = given.get("HOME", ""), given.get("AWS_PROFILE")
    shared = given.get("AWS_SHARED_CREDENTIALS_FILE", f"{home}/.aws/credentials")
    files = (shared, given.get("AWS_CONFIG_FILE", f"{home}/.aws/config"))
    if any(given.get(name) for name in _KEYS) or not (profile or any(Path(file).is_file() for file in files)):
        return {}
    if find_spec("boto3") is None:
        raise StoreAnswerError(
            f"The keys of {f'the profile {profile!r}' if profile else shared} are read by boto3, which is missing. "
            "Install it with: pip install boto3; or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
        )
    import boto3
    from botocore.exceptions import BotoCoreError
    from obstore.auth.boto3 import Boto3CredentialProvider

    try:
        session = boto3.Session()
        if session.get_credentials() is None:
            return {}
    except BotoCoreError as error:
        raise StoreAnswerError(f"boto3 finds no keys for S3: {error}") from None
    region = given.get("AWS_REGION") or given.get("AWS_DEFAULT_REGION") or session.region_name
    return {"credential_provider": Boto3CredentialProvider(session), **({"region": region} if region else {})}


def _facts(meta, version: str) -> SimpleNamespace:
    stamp = meta.get(version) or meta.get("e_tag") or str(meta["last_modified"])
    return SimpleNamespace(st_size=meta["size"], st_mtime_ns=int(meta["last_modified"].timestamp() * 1e9), stamp=stamp)


@contextmanager
def _errors(file: StorePath) -> Iterator[None]:
    """Errors of a store as those of a disk, with the address and without the store's answer, which may hold keys."""
    try:
        yield
    except Exception as error:
        kind = type(error).__name__
        if not type(error).__module__.startswith("obstore") and not (isinstance(error, OSError) and not error.errno):
            raise  # of a file on this machine, or our own
        text = str(error)
        if kind in ("AlreadyExistsError", "PreconditionError") and _status(text) != "404":
            raise FileExistsError(errno.EEXIST, "Another job has put it", str(file)) from None
        if _code(text) in NO_BUCKET:
            raise StoreAnswerError(_reason(file, text)) from None
        if isinstance(error, FileNotFoundError) or kind in ("NotFoundError", "PreconditionError"):
            _refuse_missing_bucket(file)
            raise FileNotFoundError(errno.ENOENT, "No such file or folder", str(file)) from None
        raise StoreAnswerError(_reason(file, text)) from None


NO_BUCKET = ("NoSuchBucket", "ContainerNotFound")
_there: set[tuple[str, str | None]] = set()


def _refuse_missing_bucket(file: StorePath) -> None:
    """A store answers for a key of a missing bucket as for a missing key: ask once whether the bucket is there."""
    bucket = (file.root, os.environ.get("AWS_ENDPOINT_URL"))
    if bucket in _there:
        return
    try:
        next(iter(_obstore().list(_store(file.root), "none/", chunk_size=1)), None)
    except Exception as error:
        if _status(str(error)) == "404" or _code(str(error)) in NO_BUCKET:
            raise StoreAnswerError(f"There is no bucket {file.root}. Make it, or correct its name.") from None
        return  # the account may not list it
    _there.add(bucket)


_VARIABLES = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS to a file of keys, or run `gcloud auth application-default login`",
    "a": "AZURE_STORAGE_ACCOUNT_KEY, or AZURE_STORAGE_SAS_TOKEN",
}
_NETWORK = {
    "timed out": "it did not answer in time", "timeout": "it did not answer in time",
    "connection refused": "nothing answers at this address", "reset": "the connection was cut",
    "dns": "its name is not known", "incomplete": "the connection was cut", "closed": "the connection was cut",
    "connect": "there is no connection",
}  # fmt: skip


_ROLE = re.compile(r"Error performing [A-Z]+ http://(169\.254\.\d+\.\d+|metadata\b)")  # asks the machine for its role
_ASKED = re.compile(r"Error performing .*? in [\d.]+[a-zµ]+(, after .*?retry_timeout: \S+)?\s+- ", re.DOTALL)


def _answer(text: str) -> str:
    """What an error of a store says after the request: names of files and addresses may contain any word and number."""
    return text[asked.end() :] if (asked := _ASKED.search(text)) else text


def _code(text: str) -> str:
    """The code of a store's answer, such as NoSuchBucket; empty where it gives none."""
    return found[1] if (found := re.search(r"<Code>(\w+)</Code>", _answer(text))) else ""


def _status(text: str) -> str:
    """The status of a store's answer, such as 404; empty where there was no answer."""
    return found[1] if (found := re.search(r"\b([345]\d\d) [A-Z]\w+", _answer(text))) else ""


def _reason(file: StorePath, text: str) -> str:
    """What a store's answer means: of the answer only status and code are repeated."""
    code, status = _code(text), _status(text)
    answer = f" ({' '.join(filter(None, (status, code)))})" if status or code else ""
    said, _, details = _answer(text).partition("Debug source")
    low = re.sub(r"<.*", "", said, flags=re.DOTALL).lower()  # without the answer's body, which names files, too
    if bad := re.search(r"invalid path: .*?Path \"(.*?)\"", text, re.DOTALL):
        return (
            f"{file} contains an object whose name is no path: {bad[1]!r}. Names with '//', with '.' or '..' between "
            "slashes or with tabs cannot be read. Rename or delete it in the store."
        )
    if code in NO_BUCKET:
        return f"There is no bucket {file.root}. Make it, or correct its name."
    if code in ("PermanentRedirect", "TemporaryRedirect", "AuthorizationHeaderMalformed") or "region" in low:
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
        return f"The bucket {file.root} is not in the region {region}{answer}. Set AWS_REGION to the bucket's region."
    if code in ("InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"):
        return f"{file}: the store does not accept the keys{answer}. Renew them and run the same command again."
    if code in ("RequestTimeTooSkewed", "RequestExpired"):
        return f"{file}: the clock of this machine is wrong{answer}. Set it and run the same command again."
    if "account must be specified" in low:
        return f"{file}: the storage account is not known. Set AZURE_STORAGE_ACCOUNT_NAME to its name."
    if _ROLE.search(text) or "credential" in low or "metadata" in low:
        variables = next(words for scheme, words in _VARIABLES.items() if file.root.startswith(scheme))
        return f"{file}: no keys were found. Set {variables}, or run on a machine that has a role."
    if status in ("401", "403") or "permission" in low or "unauth" in low:
        return (
            f"{file}: access denied{answer}. The account needs the right to list the bucket and to read, put and "
            "delete its objects."
        )
    if status == "503" or code == "SlowDown":
        return f"{file}: the store is busy{answer}, also after several tries. Run the same command again later."
    cause = low + re.sub(r"\S+://\S+", "", details.rpartition("inner: ")[2]).lower()  # before it stand settings
    why = next((words for sign, words in _NETWORK.items() if sign in cause), "it gave an error")
    return f"{file}: the store did not do what was asked: {why}{answer}. Run the same command again later."
