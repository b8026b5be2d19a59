"""A folder of results, made in parts: it is complete when it has its manifest.

    with folders.claim("data/pixels", plan, ["a-2021", "b-2021"]) as folder:
        for part in folder.missing():
            folder.put(f"{part}.parquet", content)      # whole or not at all
            folder.finish(part, [f"{part}.parquet"])    # its size and checksum are noted
        folder.publish()                                # every planned part is there, or an error

    _plan.json       what is made: settings, and every part by name. Put first.
    _parts/          one JSON file for each finished part: its files with size and SHA-256, and the caller's facts
    _errors/         one text file for each part that failed
    _work/           scratch files of the job, where it needs some
    .lock            held by the process that works
    _manifest.json   every planned part with its files. Put last: a folder that has it is complete.

Files are named by their key, the path relative to the folder with ``/``. Code outside this module lists, reads, puts
and deletes keys; it does not rename files or search for names. A task may run twice and a process may be killed at
any point; the same call then makes what is missing. A report of a task is never trusted: ``publish`` looks into the
folder.

Lab: part1_build_dataset.
"""

from __future__ import annotations

import errno
import json
import math
import os
import re
import shutil
import tempfile
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from filelock import FileLock, Timeout

from arsetlib import leases, textfiles
from arsetlib.checksums import sha256
from arsetlib.errors import ArsetError
from arsetlib.stores import SCHEMES, StoreAnswerError, StorePath, place

__all__ = [
    "Folder", "FolderError", "OccupiedError", "claim", "differences", "full_disk", "is_full", "is_temporary", "lock",
    "problems", "put", "put_json", "remove", "remove_partial", "size_and_sha256", "state",
]  # fmt: skip

PLAN, MANIFEST, LOCK = "_plan.json", "_manifest.json", ".lock"
PARTS, ERRORS, WORK = "_parts", "_errors", "_work"  # removed when the folder is complete
EARLIER = "_parameters.json", "_complete"  # first and last file of a simulated folder of earlier versions
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK)  # of some mounted file systems
VOLUMES = "/Volumes"  # of Databricks: no change in the middle of a file, no append, no hard links
MOUNTS = "/dbfs"  # its older mounts, with the same limits
FEW, AT_ONCE = 4, 16  # files of a store that are asked for one by one; requests at the same time
LITTLE = 1 << 20  # bytes; with less space left, a failed write is taken for a full disk, whatever the library said
PARTIAL = re.compile(r"\.[0-9a-f]{12}\.part")  # start of the names of partial files; a library may add an ending

Content = bytes | str | Path | Callable[[Path], object]
Item = TypeVar("Item")
Result = TypeVar("Result")


class FolderError(ArsetError, RuntimeError):
    """A folder cannot be made, or is not as expected; the message says what to do."""


class OccupiedError(FolderError, FileExistsError):
    """The folder contains something else."""


# -- places ---------------------------------------------------------------------------------------------------------


def on_disk(path: str | Path | StorePath) -> bool:
    """Whether files can be changed in the middle there: not in an object store, nor in a volume of Databricks."""
    path = place(path)
    if isinstance(path, StorePath):
        return False
    names = path.absolute(), Path(os.path.realpath(path))  # a link may lead into a volume
    return not any(name.is_relative_to(one) for name in names for one in (VOLUMES, MOUNTS))


def is_place(value: object) -> bool:
    """Whether something names a file or a folder."""
    return isinstance(value, str | Path | StorePath)


def in_store(path: str | Path | StorePath) -> bool:
    """Whether an address is one of an object store."""
    return isinstance(path, StorePath) or str(path).partition("://")[0].lower() in SCHEMES


def on_this_disk(path: str | Path | StorePath, what: str, error: type[Exception], *, changes: bool = False) -> Path:
    """A path of this machine, for what cannot lie in an object store.

    Args:
        path: Where.
        what: What is there, for the message: "the keys".
        error: What is raised.
        changes: Its files change in the middle, so a volume of Databricks cannot hold it either.

    Raises:
        FolderError: As ``error``: it is in an object store.
    """
    path = place(path)
    if isinstance(path, StorePath) or (changes and not on_disk(path)):
        raise error(f"Expected {what} on a disk of this machine, received {path}. Name a local file or folder.")
    return path


@contextmanager
def workspace(path: Path | StorePath) -> Iterator[Path]:
    """An empty folder of this machine in which files are made before they are put; it is gone afterwards.

    Args:
        path: Where it is on a disk, so that files need only be renamed. For a store or a volume it is a temporary one.
    """
    if not on_disk(path):
        with tempfile.TemporaryDirectory(prefix="arset-") as work:
            yield Path(work)
        return
    shutil.rmtree(path, ignore_errors=True)  # of a process that was killed
    path.mkdir(parents=True)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


# -- one file -------------------------------------------------------------------------------------------------------


def put(file: str | Path, content: Content) -> None:
    """Write a file whole or not at all; an older one stays until the new one is complete.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "a" / "b.txt"
    >>> put(file, "corn"); file.read_text()
    'corn'

    Args:
        file: Where. Its folder is made.
        content: Bytes, text (UTF-8, lines end with a line feed), a function that writes to the path it is given, or a
            finished file of the same disk, which is moved.

    Raises:
        OSError: It cannot be written; nothing is left.
    """
    file = place(file)
    if not on_disk(file):
        _put_whole(file, content)
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = content if isinstance(content, Path) else file.with_name(f".{uuid.uuid4().hex[:12]}.part")
    try:
        if callable(content):
            content(partial)
        elif partial is not content:
            partial.write_bytes(content.encode() if isinstance(content, str) else content)
        with partial.open("rb+") as written:
            os.fsync(written.fileno())
        os.replace(partial, file)
    except BaseException:
        if partial is not content:
            for left in partial.parent.glob(f"{partial.name}*"):
                left.unlink(missing_ok=True)
        raise


def _put_whole(file: Path | StorePath, content: Content) -> None:
    """Put a file that was made on this machine, from its first to its last byte; in a volume, look whether it arrived.

    A store says itself what has arrived.
    """
    with tempfile.TemporaryDirectory(prefix="arset-") as place_of_it:
        made = content if isinstance(content, Path) else Path(place_of_it) / file.name
        if callable(content):
            content(made)
        elif made is not content:
            made.write_bytes(content.encode() if isinstance(content, str) else content)
        facts = {"size": made.stat().st_size, "sha256": sha256(made)}
        leases.refuse_lost(file)
        if isinstance(file, StorePath):
            _put_before.pop(str(file), None)
            file.upload(made)
            _remember(file, facts)
        else:
            _copy_to_volume(made, file)
        if made is content:
            made.unlink()


def _copy_to_volume(made: Path, file: Path) -> None:
    """Copy a file to its name in a volume of Databricks, and look whether it arrived.

    Its documentation names this way, a copy of a file of the local disk, and no renaming in a volume ("Volumes",
    limitations; read in November 2026). A copy that is cut short is not in a manifest, or is no valid JSON.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        shutil.copyfile(made, file)
        if (arrived := file.stat().st_size) != (size := made.stat().st_size):
            raise OSError(errno.EIO, f"{arrived:,} of {size:,} bytes arrived", str(file))
    except BaseException:
        file.unlink(missing_ok=True)
        raise


def at_once(path: str | Path, work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """What ``work`` gives for each item, in order; many items at a time where it waits for a store.

    Args:
        path: Where it reads or puts files: on a disk it does one item after the other.
        work: Reads or puts a file.
        items: What it is called with.
    """
    if isinstance(place(path), Path):
        return [work(item) for item in items]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(work, items))


def put_json(file: str | Path, value: object) -> None:
    """Write JSON values, as ``put``."""
    put(file, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def is_temporary(name: str) -> bool:
    """Whether a file is a lock or the partial file of a process that was killed."""
    return name == LOCK or bool(PARTIAL.match(name))


def remove_partial(path: str | Path) -> None:
    """Remove the partial files that a killed process left in a folder and below; call it with the lock held."""
    if isinstance(path := place(path), StorePath):  # what is not whole is not there; only a lease may leave something
        for file in path.iterdir():
            if PARTIAL.match(file.name):
                file.unlink(missing_ok=True)
        return
    for parent, _, names in os.walk(path):
        for name in names:
            if PARTIAL.match(name):
                Path(parent, name).unlink(missing_ok=True)


def size_and_sha256(file: Path | StorePath) -> dict:
    """Size and SHA-256 of a file, as the manifest notes them.

    What this process has put into a store is not asked for again: the store has said that it arrived, and ``publish``
    lists what is there.
    """
    if isinstance(file, StorePath) and (known := _put_before.get(str(file))):
        return known
    return {"size": file.stat().st_size, "sha256": sha256(file)}


_put_before: OrderedDict[str, dict] = OrderedDict()  # address → size and sha256 of the latest puts


def _remember(file: StorePath, facts: dict) -> None:
    _put_before[str(file)] = facts
    with suppress(KeyError):  # another thread
        _put_before.move_to_end(str(file))
    while len(_put_before) > 1000:
        with suppress(KeyError):  # another thread
            _put_before.popitem(last=False)


@contextmanager
def lock(
    path: str | Path, error: type[Exception] = FolderError, *, name: str = LOCK, wait: bool = False
) -> Iterator[str]:
    """Keep other processes out of a folder, which is made where needed. No file of the lock is left.

    On a disk the file is locked; in a store, in a volume and where files cannot be locked it is a lease, see
    ``leases``.

    Args:
        path: Of the folder.
        error: What is raised.
        name: Of the lock's file, where only a part of the folder is locked.
        wait: Wait until another process has finished, instead of raising an error.

    Yields:
        The name of the lease, see ``Folder``; empty on a disk.

    Raises:
        FolderError: As ``error``: another process works in the folder, or it has a folder of this name. Or this one has
            lost the lease, and wants to write: it was stopped for so long that another job has taken it over.
    """
    path = place(path)
    if isinstance(path, Path) and path.is_symlink() and not path.exists():
        raise error(
            f"{path} is a link to {os.readlink(path)}, which is not there. Delete the link, or give another name."
        )
    path.mkdir(parents=True, exist_ok=True)
    file = path / name
    if file.is_dir():
        raise error(_of_wrong_kind(file))
    if not on_disk(path):
        with leases.held(file, error, wait) as job:
            yield job
        return
    while True:
        own = FileLock(str(file), timeout=-1 if wait else 0)
        try:
            own.acquire()
        except Timeout:
            raise error(
                f"Another job is writing {path}. Wait until it ends, or give this one another folder."
            ) from None
        except (NotImplementedError, OSError) as problem:
            if isinstance(problem, OSError) and problem.errno not in NO_LOCKS:
                raise
            if file.is_file() and not file.stat().st_size:
                file.unlink(missing_ok=True)  # made for the lock that could not be had
            with leases.held(file, error, wait) as job:
                yield job
            return
        if file.exists():
            break
        own.release()  # the job before has just removed the file, so a third one could lock a new file
    try:
        yield ""
    finally:
        with suppress(OSError):
            file.unlink()
        own.release()


@contextmanager
def full_disk(path: str | Path, error: type[Exception] = FolderError) -> Iterator[None]:
    """Turn the error of a full disk, of whatever library, into a message that names the disk and says how to continue.

    Raises:
        FolderError: As ``error``: the disk of ``path`` is full.
    """
    try:
        yield
    except Exception as problem:
        if not isinstance(problem, error) and is_full(problem, path):
            # what goes to a store is made on this machine
            where, other = (
                (tempfile.gettempdir(), ", or set TMPDIR to a folder of another disk,")
                if in_store(path)
                else (path, "")
            )
            raise error(
                f"The disk of {where} is full ({_free(where) / 1e6:,.1f} MB free). Free some space{other} and run the "
                "same command again: what is finished is kept."
            ) from problem
        raise


def is_full(problem: BaseException | None, path: str | Path) -> bool:
    """Whether a write failed because there is no space, or a quota or limit was reached."""
    first = problem
    while problem is not None:
        if isinstance(problem, OSError) and problem.errno in DISK_FULL:
            return True
        if any(os.strerror(number) in str(problem) for number in DISK_FULL):
            return True  # libraries in C keep the words and drop the number
        problem = problem.__cause__ or problem.__context__
    return isinstance(first, OSError) and _free(path) < LITTLE


def _free(path: str | Path) -> float:
    path = place(path)
    if isinstance(path, StorePath):
        return math.inf
    path = path.absolute()
    while not path.exists():
        path = path.parent
    usage = shutil.disk_usage(path)
    return usage.free if usage.total else math.inf  # some mounted stores state nothing


def remove(path: str | Path) -> None:
    """Delete a folder with all that is in it, on a disk or in an object store; nothing where there is none.

    Raises:
        OSError: A file on the disk cannot be deleted.
        StoreAnswerError: The store does not answer, or refuses.

    Lab: part1_build_dataset.
    """
    path = place(path)
    if isinstance(path, StorePath):
        path.remove()
    elif path.exists():
        shutil.rmtree(path)


# -- a folder -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Folder:
    """A folder that ``claim`` made ready. It contains only a path, so it can be sent to workers.

    Attributes:
        path: Where.
        what: What it contains, for messages: "pixel table".
        error: What is raised.
        lease: In a store and in a volume: the job that may write. A worker that outlives it may not.
    """

    path: Path
    what: str = "folder"
    error: type[Exception] = FolderError
    lease: str = ""

    # Files by key: all that a store needs to offer.

    def keys(self, prefix: str = "") -> list[str]:
        """Keys of all files in the folder and below, in order; with ``prefix``, only those under that folder."""
        if isinstance(self.path, StorePath):
            start = f"{prefix}/" if prefix else ""
            return sorted(start + key for key in (self.path / prefix).files())
        keys = (
            Path(parent, name).relative_to(self.path).as_posix()
            for parent, _, names in os.walk(self.path / prefix)
            for name in names
        )
        return sorted(keys)

    def read(self, key: str) -> bytes:
        """The content of a file."""
        return (self.path / key).read_bytes()

    def put(self, key: str, content: Content) -> None:
        """Write a file whole or not at all, see ``folders.put``."""
        self._refuse_lost()
        put(self.path / key, content)

    def delete(self, key: str) -> None:
        """Remove a file, where it is there."""
        self._refuse_lost()
        _put_before.pop(str(self.path / key), None)
        (self.path / key).unlink(missing_ok=True)

    def remove(self) -> None:
        """Delete the folder with everything in it."""
        self._refuse_lost()
        remove(self.path)

    # What is planned and what is done.

    def plan(self) -> dict | None:
        """What is made: the settings, and ``parts``; None where there is no plan, or a damaged one."""
        plan = self._json(PLAN)
        parts = plan.get("parts") if plan is not None else None
        return plan if isinstance(parts, list) and all(isinstance(part, str) for part in parts) else None

    def manifest(self) -> dict | None:
        """What was made: ``parts``, and what ``publish`` was given; None where it is unfinished or damaged."""
        manifest = self._json(MANIFEST)
        parts = manifest.get("parts") if manifest is not None else None
        return manifest if isinstance(parts, dict) and all(map(_is_note, parts.values())) else None

    def finish(self, part: str, keys: Iterable[str], **facts: object) -> dict:
        """Note that all files of a part are there.

        Args:
            part: Its name in the plan.
            keys: Of its files.
            facts: JSON values to keep with it.

        Returns:
            The note: ``files`` (key → size and sha256) and the facts.
        """
        note = {"files": {key: size_and_sha256(self.path / key) for key in keys}, **facts}
        self._put_json(_note(part), note)
        return note

    def done(self, part: str) -> dict | None:
        """The note of a part; None where it is not finished, or a file of it is missing or has another size."""
        return self._checked(_note(part))

    def missing(self) -> list[str]:
        """Planned parts that are not finished, in the order of the plan."""
        return [part for part, note in self.notes(listed=True).items() if note is None]

    def notes(self, *, listed: bool = False) -> dict[str, dict | None]:
        """Planned part → its note, see ``done``. In a store many notes are read at a time, and sizes are listed.

        Args:
            listed: In a store, read only the notes that it lists: of a long plan many may not be there yet. Without, a
                list that is not of this moment hides nothing.
        """
        parts = self.plan()["parts"]
        if isinstance(self.path, Path):
            return {part: self.done(part) for part in parts}
        facts = self.path.files() if len(parts) > FEW else {}
        sizes = {key: one.st_size for key, one in facts.items()}

        def note(part: str) -> dict | None:
            if listed and sizes and _note(part) not in sizes:
                return None
            return self._checked(_note(part), sizes=sizes)

        with ThreadPoolExecutor(AT_ONCE) as pool:
            return dict(zip(parts, pool.map(note, parts), strict=True))

    def count(self) -> int:
        """How many parts have a note that they are finished."""
        return len(self.keys(PARTS))

    def fail(self, part: str, reason: str) -> None:
        """Keep why a part could not be made, so that repeating the task cannot lose it."""
        self.put(f"{ERRORS}/{part}.txt", reason)

    @property
    def failed(self) -> bool:
        """Whether any part has failed since the folder was claimed: then no other part need be started."""
        return (self.path / ERRORS).is_dir()

    def failures(self) -> dict[str, str]:
        """Part → why it could not be made."""
        failed = set(self.keys(ERRORS))
        names = {part: f"{ERRORS}/{part}.txt" for part in (self.plan()["parts"] if failed else ())}
        return {part: self.read(key).decode() for part, key in names.items() if key in failed}

    def forget(self, parts: Iterable[str]) -> None:
        """Have parts made again, and forget why parts failed."""
        for part in parts:
            self.delete(_note(part))
        self._clear(ERRORS)

    def settle(self) -> dict[str, dict]:
        """Part → its note, of all planned parts; read from the folder, whatever tasks have reported.

        Raises:
            FolderError: As ``error``: a part failed or is not there.
        """
        failures = self.failures()
        notes = self.notes()
        missing = [part for part, note in notes.items() if note is None]
        if not missing:
            return notes
        if failures:
            more = f" ({len(failures) - 1} more parts failed too.)" if len(failures) > 1 else ""
            raise self.error(next(iter(failures.values())) + more)
        raise self.error(
            f"The {self.what} {self.path} is unfinished: {len(missing)} of {len(notes)} parts are missing, the first "
            f"is {missing[0]}. Run the same command again: finished parts are kept."
        )

    def publish(self, **facts: object) -> dict:
        """Put the manifest, which makes the folder complete.

        Args:
            facts: JSON values to keep in it.

        Returns:
            The manifest.

        Raises:
            FolderError: As ``error``: a planned part failed or is not there. Nothing is published.
        """
        manifest = {**facts, "parts": self.settle()}
        self._put_json(MANIFEST, manifest)
        self._clear(PARTS, ERRORS, WORK)
        return manifest

    def _refuse_lost(self) -> None:
        if self.lease:
            leases.refuse_lost(self.path / LOCK, self.lease, self.error)

    def _put_json(self, key: str, value: object) -> None:
        self._refuse_lost()
        put_json(self.path / key, value)

    def _clear(self, *names: str) -> None:
        self._refuse_lost()
        for name in names:
            if (self.path / name).exists():
                remove(self.path / name)

    def _json(self, key: str) -> dict | None:
        """The object in a JSON file; None where it is missing or cannot be read: such a file is written again."""
        try:
            value = textfiles.parse_json(self.read(key))
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError):
            return None
        return value if isinstance(value, dict) else None

    def _checked(self, key: str, deep: bool = False, sizes: dict[str, int] | None = None) -> dict | None:
        """A note, if the files that it names are as it says."""
        note = self._json(key)
        return note if _is_note(note) and not any(differences(self.path, note["files"], deep, sizes)) else None

    def _reopen(self, manifest: dict) -> None:
        """A complete folder that lost a part is unfinished again; its other parts are kept."""
        for part, note in manifest["parts"].items():
            if not any(differences(self.path, note["files"])):
                self._put_json(_note(part), note)
        self.delete(MANIFEST)

    def _forget_damaged(self) -> None:
        """Forget parts whose files are not those that were noted: they are made again.

        What a store holds is not read again: it keeps checksums of its own.
        """
        deep, sizes = not isinstance(self.path, StorePath), dict[str, int]()
        if isinstance(self.path, StorePath):
            sizes = {key: facts.st_size for key, facts in self.path.files().items()}
        keys = self.keys(PARTS) if deep else [key for key in sorted(sizes) if key.startswith(f"{PARTS}/")]
        with ThreadPoolExecutor(4 if deep else AT_ONCE) as pool:
            for key, note in zip(keys, pool.map(lambda key: self._checked(key, deep, sizes), keys), strict=True):
                if note is None:
                    self.delete(key)


@contextmanager
def claim(
    path: str | Path, plan: dict, parts: Iterable[str], *,
    what: str = "folder", error: type[Exception] = FolderError, ours: bool = False, grows: bool = False,
    adapt: Callable[[dict], Iterable[str] | None] = lambda earlier: None,
) -> Iterator[Folder]:  # fmt: skip
    """A folder for one job: new, empty, or begun or made by the same call. It is locked meanwhile.

    Partial files of a killed process are removed; parts that were damaged since are forgotten, and so are errors of
    an earlier run. A complete folder is given as it is (``manifest()`` is not None), unless it lost a file: then it is
    unfinished again.

    >>> import tempfile
    >>> with claim(Path(tempfile.mkdtemp()), {"seed": 1}, ["a", "b"]) as folder:
    ...     folder.put("a.txt", "corn")
    ...     _ = folder.finish("a", ["a.txt"])
    ...     folder.missing()
    ['b']

    Args:
        path: Where.
        plan: All that decides what is made, JSON values. A folder with another plan is refused.
        parts: Names of all parts, all different, and usable as file names.
        what: What the folder contains, for messages.
        error: What is raised.
        ours: Files that are there without a plan belong to the caller.
        grows: Parts are added to those that earlier calls planned.
        adapt: Called with the other plan of an unfinished folder. It returns the parts that must be made again so that
            the folder can continue under this plan, or None: the folder is refused.

    Raises:
        FolderError: As ``error``: the folder contains something else (``OccupiedError`` where ``error`` is left out),
            another process works in it, or has taken it over from this one, or the disk gets full.
    """
    path = place(path)
    asked = json.loads(json.dumps({**plan, "parts": list(parts)}))
    folder = Folder(path, what, error)
    with full_disk(path, error):
        plan = _grown(folder, asked) if grows else asked
        _stale_parts(folder, plan, ours, grows, adapt)  # before a lock is put into a folder of others
        left = any((path / name).exists() for name in (PARTS, ERRORS, WORK, LOCK))
        if folder.manifest() is not None and folder.plan() == plan and not left and not any(problems(path)):
            yield folder  # also on a disk that cannot be written
            return
        with lock(path, error) as lease:
            folder = replace(folder, lease=lease)
            plan = _grown(folder, asked) if grows else asked
            stale = _stale_parts(folder, plan, ours, grows, adapt)
            manifest, earlier = folder.manifest(), folder.plan()
            if manifest is not None and (earlier != plan or any(problems(path))):
                folder._reopen(manifest)
                manifest = None
            folder.forget(stale)
            if earlier != plan:
                put_json(path / PLAN, plan)
            if manifest is None:
                remove_partial(path)
                folder._forget_damaged()
            else:
                folder._clear(PARTS, ERRORS, WORK)
            yield folder


def refuse_occupied(
    path: str | Path, what: str, error: type[Exception] = OccupiedError, ours: bool = False
) -> dict | None:
    """Refuse a folder in which ``claim`` would find files without a plan. Call it before long work.

    Args:
        path: Of the folder that will be claimed.
        what: What it is for, for the message.
        error: What is raised.
        ours: Files that are there without a plan belong to the caller.

    Returns:
        The plan that is there, or None.

    Raises:
        OccupiedError: As ``error``: a file has this name, or the folder has files of others.
    """
    path = place(path)
    if path.exists() and not path.is_dir():
        raise error(f"Expected a folder for the {what}, but {path} is a file. Give another name.")
    for names, kind in (((PLAN, MANIFEST, LOCK), "is_dir"), ((PARTS, ERRORS, WORK), "is_file")):
        if wrong := next((path / name for name in names if getattr(path / name, kind)()), None):
            raise error(_of_wrong_kind(wrong))
    plan = Folder(path).plan()
    if ours or plan is not None:
        return plan
    others = sorted(n for n in _names(path) if not is_temporary(n))
    if not others or (others == [PLAN] and not on_disk(path)):
        return None  # in a store, a plan alone is a copy that was cut short
    if (path / PLAN).is_file():
        raise error(
            f"{path / PLAN} is damaged, so it is not known what the {what} should contain. Copy the folder again, or "
            "delete it and make it again."
        )
    raise error(
        f"{path} holds something else ({', '.join(others[:3])}{' …' if len(others) > 3 else ''}). Give the {what} a "
        "new or an empty folder."
    )


def _grown(folder: Folder, asked: dict) -> dict:
    """The plan with the parts of earlier calls before its own."""
    before = (folder.plan() or {}).get("parts", [])
    return {**asked, "parts": [*before, *(part for part in asked["parts"] if part not in set(before))]}


def _stale_parts(folder: Folder, plan: dict, ours: bool, grows: bool, adapt: Callable) -> list[str]:
    """Refuse a folder that contains something else; returns the parts that must be made again under this plan."""
    path, error = folder.path, OccupiedError if folder.error is FolderError else folder.error
    earlier = refuse_occupied(path, folder.what, error, ours)
    if earlier is not None and earlier != ({**plan, "parts": earlier.get("parts")} if grows else plan):
        stale = adapt(earlier) if folder.manifest() is None else None
        if stale is not None:
            return list(stale)
        state = "the unfinished" if folder.manifest() is None else "the"
        differ = sorted(name for name in {**earlier, **plan} if earlier.get(name) != plan.get(name))
        if len(differ) > 1 and "parts" in differ:
            differ.remove("parts")  # they follow from the others
        shown = "; ".join(_difference(name, earlier.get(name), plan.get(name)) for name in differ)
        raise error(
            f"{path} holds {state} {folder.what} of another run, which differs in: {shown}. Finish that one with its "
            "own settings, delete the folder, or give this run another one."
        )
    return []


def _of_wrong_kind(file: Path) -> str:
    kinds = ("folder", "file") if file.is_dir() else ("file", "folder")
    return (
        f"{file} is a {kinds[0]}, and the library needs this name for a {kinds[1]} of its own. Rename it, or give "
        "another folder."
    )


def _names(path: Path | StorePath) -> list[str]:
    """Of the files and folders in a folder."""
    return [one.name for one in path.iterdir()] if path.is_dir() else []


def _difference(name: str, earlier: object, asked: object) -> str:
    texts = [json.dumps(value, ensure_ascii=False) for value in (earlier, asked)]
    return f"{name} (was {texts[0]}, now {texts[1]})" if max(map(len, texts)) <= 60 else name


def _note(part: str) -> str:
    """Key of the note that a part is finished."""
    return f"{PARTS}/{part}.json"


def _is_note(note: object) -> bool:
    """Whether this is what ``finish`` notes of a part: its files with size and checksum."""
    files = note.get("files") if isinstance(note, dict) else None
    return isinstance(files, dict) and all(
        isinstance(one, dict) and type(one.get("size")) is int and isinstance(one.get("sha256"), str)
        for one in files.values()
    )


# -- for those who read ---------------------------------------------------------------------------------------------


def state(path: str | Path) -> str | None:
    """``"complete"``, ``"unfinished"``, or None for a folder that was not made in parts."""
    path = place(path)
    if (path / MANIFEST).is_file() or (path / EARLIER[1]).is_file():
        return "complete"
    return "unfinished" if (path / EARLIER[0]).is_file() or (path / PLAN).is_file() else None


def problems(path: str | Path, *, deep: bool = False, listed: str | None = None) -> Iterator[str]:
    """What differs between a complete folder, its manifest and its plan, one sentence a file.

    Args:
        path: Of a folder with a manifest.
        deep: Read all bytes and compare checksums, too; else presence and size.
        listed: Ending of the names of files that must be in the manifest, such as ``.parquet``.
    """
    path = place(path)
    folder = Folder(path)
    manifest, plan = folder.manifest(), folder.plan()
    for name, content in ((MANIFEST, manifest), (PLAN, plan)):
        if content is None and (path / name).exists():
            yield f"{path / name} is damaged: copy the folder again, or delete it and make it again"
            return
    if manifest is None:
        yield f"{path / MANIFEST} is missing"
        return
    planned = manifest["parts"] if plan is None else dict.fromkeys(plan["parts"])
    for part in planned:
        if part not in manifest["parts"]:
            yield f"{path / MANIFEST} lacks {part}, which {PLAN} names: the two files are not of one run"
    for part in manifest["parts"]:
        if part not in planned:
            yield f"{path / MANIFEST} names {part}, which is not in {PLAN}: the two files are not of one run"
    files = {key: facts for note in manifest["parts"].values() for key, facts in note["files"].items()}
    yield from differences(path, files, deep)
    for name in sorted(_names(path)) if listed is not None else ():
        if name.endswith(listed) and name not in files and not name.startswith((".", "_")):
            yield f"{path / name} is not in {MANIFEST}: move it elsewhere"


def differences(
    path: Path | StorePath, files: dict[str, dict], deep: bool = False, sizes: dict[str, int] | None = None
) -> Iterator[str]:
    """What differs between files and their noted size and SHA-256, one sentence a file.

    Args:
        path: Of the folder.
        files: Key → ``size`` and ``sha256``.
        deep: Compare checksums, too.
        sizes: Sizes of files as a store listed them. What differs from the list is asked for again.
    """
    if sizes is None and isinstance(path, StorePath) and len(files) > FEW:
        sizes = {key: facts.st_size for key, facts in path.files().items()}
    for key, noted in files.items():
        file = path / key
        try:
            size = noted["size"] if (sizes or {}).get(key) == noted["size"] else file.stat().st_size
        except StoreAnswerError:
            raise
        except OSError:
            yield f"{file} is missing"
            continue
        if size != noted["size"]:
            yield f"{file} has {size:,} bytes, expected {noted['size']:,}"
        elif deep and sha256(file) != noted["sha256"]:
            yield f"{file} was changed since it was written: its checksum differs"
