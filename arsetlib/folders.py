"""A folder of results, made in parts: it is complete when its manifest says so.

    with folders.claim("data/pixels", plan, ["a-2021", "b-2021"]) as folder:
        for part in folder.missing():
            folder.put(f"{part}.parquet", content)      # whole or not at all
            folder.finish(part, [f"{part}.parquet"])    # its size and checksum are noted
        folder.publish()                                # every planned part is there, or an error

    _plan.json       what is made: settings, and every part by name. Put first.
    _parts/          one JSON file for each finished part: its files with size and SHA-256, and the caller's facts
    _errors/         one text file for each part that failed
    _work/           scratch files of the job; a caller fills it, or not
    .lock            held by the process that works
    _manifest.json   every planned part with its files. Put last: a folder that has it is complete.

Files are named by their key, the path relative to the folder with ``/``. They are never renamed and no other name
stands for "half done", so a task may run twice, a process may be killed at any point, and the same call goes on with
what is missing. Nothing is believed of what a task reported: ``publish`` looks into the folder itself.

Lab: part1_build_dataset.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from arsetlib import textfiles
from arsetlib.checksums import sha256
from arsetlib.errors import ArsetError

PLAN, MANIFEST, LOCK = "_plan.json", "_manifest.json", ".lock"
PARTS, ERRORS, WORK = "_parts", "_errors", "_work"  # removed when the folder is complete
EARLIER = "_parameters.json", "_complete"  # first and last file of a simulated folder of earlier versions
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
LITTLE = 1 << 20  # bytes; with less space left a failed write is put down to a full disk, whatever the library said
HALF = re.compile(r"\.[0-9a-f]{12}\.part")  # how names of unfinished files start: a library may add its own ending


class FolderError(ArsetError, RuntimeError):
    """A folder cannot be made, or is not what it should be; the message says what to do."""


class HeldError(FolderError, FileExistsError):
    """The folder holds something else."""


# -- one file -------------------------------------------------------------------------------------------------------


def put(file: str | Path, content: bytes | str | Path | Callable[[Path], object]) -> None:
    """Write a file whole or not at all; an older one stays until the new one is complete.

    Args:
        file: Where. Its folder is made.
        content: Bytes, text (UTF-8, lines end with a line feed), a function that writes the path it is given, or a
            finished file of the same disk, which is moved.

    Raises:
        OSError: It cannot be written; nothing is left.
    """
    file = Path(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    half = content if isinstance(content, Path) else file.with_name(f".{uuid.uuid4().hex[:12]}.part")
    try:
        if callable(content):
            content(half)
        elif half is not content:
            half.write_bytes(content.encode() if isinstance(content, str) else content)
        with half.open("rb+") as written:
            os.fsync(written.fileno())
        os.replace(half, file)
    except BaseException:
        if half is not content:
            for left in half.parent.glob(f"{half.name}*"):
                left.unlink(missing_ok=True)
        raise


def put_json(file: str | Path, value) -> None:
    """Write JSON values, as ``put``."""
    put(file, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def clear(path: str | Path) -> None:
    """Remove the unfinished files that a killed process left in a folder and below; call it with the lock held."""
    for place, _, names in os.walk(path):
        for name in names:
            if HALF.match(name):
                Path(place, name).unlink(missing_ok=True)


@contextmanager
def lock(path: str | Path, error: type[Exception] = FolderError) -> Iterator[None]:
    """Keep other processes out of a folder, which is made if need be. No file of the lock is left.

    Raises:
        FolderError: As ``error``: another process holds it.
    """
    path = Path(path)
    path.mkdir(parents=True, exist_ok=True)
    file = path / LOCK
    while True:
        held = FileLock(str(file), timeout=0)
        try:
            held.acquire()
        except Timeout:
            raise error(
                f"Another job is writing {path}. Wait until it ends, or give this one another folder; two never mix."
            ) from None
        if file.exists():
            break
        held.release()  # the one before has just removed the file, so that a third could hold a new one
    try:
        yield
    finally:
        with suppress(OSError):
            file.unlink()
        held.release()


@contextmanager
def room(path: str | Path, error: type[Exception] = FolderError) -> Iterator[None]:
    """Say of a full disk which one it is and how to go on, however the library that met it words it.

    Raises:
        FolderError: As ``error``: the disk of ``path`` is full.
    """
    try:
        yield
    except Exception as problem:
        if not isinstance(problem, error) and is_full(problem, path):
            free = _free(path)
            raise error(
                f"The disk of {path} is full ({free / 1e6:,.1f} MB free). Make room and run the same command again: "
                "what is finished is kept."
            ) from problem
        raise


def is_full(problem: BaseException | None, path: str | Path) -> bool:
    """Whether a write failed since there is no space, or a quota or limit was reached."""
    first = problem
    while problem is not None:
        if isinstance(problem, OSError) and problem.errno in FULL:
            return True
        if any(os.strerror(number) in str(problem) for number in FULL):
            return True  # libraries in C keep the words and drop the number
        problem = problem.__cause__ or problem.__context__
    return isinstance(first, OSError) and _free(path) < LITTLE


def _free(path: str | Path) -> int:
    path = Path(path).absolute()
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


# -- a folder -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Folder:
    """A folder that ``claim`` made ready. It holds a path only, so it travels to workers.

    Attributes:
        path: Where.
        what: What it holds, for messages: "pixel table".
        error: What is raised.
    """

    path: Path
    what: str = "folder"
    error: type[Exception] = FolderError

    def plan(self) -> dict | None:
        """What is made: the settings, and ``parts``; None where there is no plan, or a damaged one."""
        held = _json(self.path / PLAN)
        return held if held is not None and _are_names(held.get("parts")) else None

    def manifest(self) -> dict | None:
        """What was made: ``parts``, and what ``publish`` was given; None where it is unfinished or damaged."""
        held = _json(self.path / MANIFEST)
        parts = held.get("parts") if held is not None else None
        return held if isinstance(parts, dict) and all(map(_is_note, parts.values())) else None

    def put(self, key: str, content: bytes | str | Path | Callable[[Path], object]) -> None:
        """Write a file whole or not at all, see ``folders.put``."""
        put(self.path / key, content)

    def finish(self, part: str, keys: Iterable[str], **facts) -> dict:
        """Note that all files of a part are there.

        Args:
            part: Its name in the plan.
            keys: Of its files.
            facts: JSON values to keep with it.

        Returns:
            What is noted: ``files`` (key → size and sha256) and the facts.
        """
        held = {"files": {key: seal(self.path / key) for key in keys}, **facts}
        put_json(self._note(part), held)
        return held

    def done(self, part: str) -> dict | None:
        """What is noted of a part; None where it is not finished, or a file of it is missing or has another size."""
        held = _json(self._note(part))
        return held if _is_note(held) and not any(differences(self.path, held["files"])) else None

    def missing(self) -> list[str]:
        """Planned parts that are not finished, in the order of the plan."""
        return [part for part in self.plan()["parts"] if self.done(part) is None]

    def fail(self, part: str, words: str) -> None:
        """Keep why a part could not be made, where a repeated task cannot lose it."""
        put(self.path / ERRORS / f"{part}.txt", words)

    def forget(self, parts: Iterable[str]) -> None:
        """Have parts made again, and forget why parts failed."""
        for part in parts:
            self._note(part).unlink(missing_ok=True)
        if self.failed:
            shutil.rmtree(self.path / ERRORS)

    def count(self) -> int:
        """How many parts are finished, as far as a look at their notes tells."""
        notes = self.path / PARTS
        return sum(name.endswith(".json") for name in os.listdir(notes)) if notes.is_dir() else 0

    @property
    def failed(self) -> bool:
        """Whether any part has failed since the folder was claimed: no need to begin another."""
        return (self.path / ERRORS).is_dir()

    def failures(self) -> dict[str, str]:
        """Part → why it could not be made."""
        if not self.failed:
            return {}
        found = {part: self.path / ERRORS / f"{part}.txt" for part in self.plan()["parts"]}
        return {part: file.read_text(encoding="utf-8") for part, file in found.items() if file.is_file()}

    def settle(self) -> dict[str, dict]:
        """All planned parts, part → what is noted; looked up in the folder, whatever tasks have reported.

        Raises:
            FolderError: As ``error``: a part failed or is not there.
        """
        failures = self.failures()
        held = {part: self.done(part) for part in self.plan()["parts"]}
        missing = [part for part, note in held.items() if note is None]
        if not missing:
            return held
        if failures:
            more = f" ({len(failures) - 1} more parts failed too.)" if len(failures) > 1 else ""
            raise self.error(next(iter(failures.values())) + more)
        raise self.error(
            f"The {self.what} {self.path} is unfinished: {len(missing)} of {len(held)} parts are missing, the first is "
            f"{missing[0]}. Run the same command again: finished parts are kept."
        )

    def remove(self) -> None:
        """Delete the folder with all that is in it."""
        shutil.rmtree(self.path)

    def publish(self, **facts) -> dict:
        """Put the manifest, by which the folder is complete.

        Args:
            facts: JSON values to keep in it.

        Returns:
            The manifest.

        Raises:
            FolderError: As ``error``: a planned part failed or is not there. Nothing is published.
        """
        manifest = {**facts, "parts": self.settle()}
        put_json(self.path / MANIFEST, manifest)
        self._sweep()
        return manifest

    def _note(self, part: str) -> Path:
        return self.path / PARTS / f"{part}.json"

    def _sweep(self) -> None:
        for name in (PARTS, ERRORS, WORK):
            if (self.path / name).exists():
                shutil.rmtree(self.path / name)

    def _reopen(self, manifest: dict) -> None:
        """A complete folder that lost a part is unfinished again; its other parts are kept."""
        for part, held in manifest["parts"].items():
            if not any(differences(self.path, held["files"])):
                put_json(self._note(part), held)
        (self.path / MANIFEST).unlink()

    def _drop_damaged(self) -> None:
        """Forget parts whose files are not those that were noted: they are made anew."""
        notes = sorted((self.path / PARTS).glob("*.json"))
        with ThreadPoolExecutor(4) as pool:
            for note, whole in zip(notes, pool.map(self._whole, notes), strict=True):
                if not whole:
                    note.unlink()

    def _whole(self, note: Path) -> bool:
        held = _json(note)
        return _is_note(held) and not any(differences(self.path, held["files"], deep=True))


@contextmanager
def claim(
    path: str | Path, plan: dict, parts: Iterable[str], *,
    what: str = "folder", error: type[Exception] = FolderError, ours: bool = False, grows: bool = False,
    adapt: Callable[[dict], Iterable[str] | None] = lambda held: None,
) -> Iterator[Folder]:  # fmt: skip
    """A folder for one job: new, empty, or begun or made by the same call. It is locked meanwhile.

    What a killed process left half written is removed; parts that were damaged since are forgotten; so are errors of
    an earlier run. A complete folder is given as it is (``manifest()`` is not None), unless it lost a file: then it is
    unfinished again.

    Args:
        path: Where.
        plan: All that decides what is made, JSON values. A folder with another plan is refused.
        parts: Names of all parts, different, and fit for a file name.
        what: What the folder holds, for messages.
        error: What is raised.
        ours: Files that are there without a plan belong to the caller.
        grows: Parts are added to those that earlier calls planned.
        adapt: Called with the other plan of an unfinished folder. It names the parts that must be made again so that
            the folder can go on under this plan, or is None: the folder is refused.

    Raises:
        FolderError: As ``error``: the folder holds something else (``HeldError`` where ``error`` is left out), another
            process works in it, or the disk gets full.
    """
    path = Path(path)
    asked = json.loads(json.dumps({**plan, "parts": list(parts)}))
    folder = Folder(path, what, error)
    with room(path, error):
        plan = _grown(folder, asked) if grows else asked
        _look(folder, plan, ours, grows, adapt)  # before a lock is put into a folder of others
        left = any((path / name).exists() for name in (PARTS, ERRORS, WORK, LOCK))
        if folder.manifest() is not None and folder.plan() == plan and not left and not any(wrong(path)):
            yield folder  # also from a disk that cannot be written
            return
        with lock(path, error):
            plan = _grown(folder, asked) if grows else asked
            stale = _look(folder, plan, ours, grows, adapt)
            manifest, held = folder.manifest(), folder.plan()
            if manifest is not None and (held != plan or any(wrong(path))):
                folder._reopen(manifest)
                manifest = None
            folder.forget(stale)
            if held != plan:
                put_json(path / PLAN, plan)
            if manifest is None:
                clear(path)
                folder._drop_damaged()
            else:
                folder._sweep()
            yield folder


def _grown(folder: Folder, asked: dict) -> dict:
    """The plan with the parts of earlier calls before its own."""
    before = (folder.plan() or {}).get("parts", [])
    return {**asked, "parts": [*before, *(part for part in asked["parts"] if part not in set(before))]}


def _look(folder: Folder, plan: dict, ours: bool, grows: bool, adapt) -> list[str]:
    """Refuse a folder that holds something else; returns the parts that must be made again under this plan."""
    path = folder.path
    error = HeldError if folder.error is FolderError else folder.error
    if path.exists() and not path.is_dir():
        raise error(f"Expected a folder for the {folder.what}, but {path} is a file. Give another name.")
    held = folder.plan()
    if held is None:
        strange = [] if ours or not path.exists() else sorted(n for n in os.listdir(path) if not is_litter(n))
        if strange and (path / PLAN).is_file():
            raise error(
                f"{path / PLAN} is damaged, so it cannot be known what the {folder.what} was to hold. Copy the folder "
                "again, or delete it and make it again."
            )
        if strange:
            raise error(
                f"{path} holds something else ({', '.join(strange[:3])}{' …' if len(strange) > 3 else ''}). Give the "
                f"{folder.what} a new or an empty folder."
            )
    elif held != ({**plan, "parts": held.get("parts")} if grows else plan):
        stale = adapt(held) if folder.manifest() is None else None
        if stale is not None:
            return list(stale)
        state = "the unfinished" if folder.manifest() is None else "the"
        differ = sorted(name for name in {**held, **plan} if held.get(name) != plan.get(name))
        if len(differ) > 1 and "parts" in differ:
            differ.remove("parts")  # they follow from the others
        shown = "; ".join(_difference(name, held.get(name), plan.get(name)) for name in differ)
        raise error(
            f"{path} holds {state} {folder.what} of another run, which differs in: {shown}. Finish that one with its "
            "own settings, delete the folder, or give this run another one."
        )
    return []


def is_litter(name: str) -> bool:
    """Whether a file is a lock or the unfinished file of a process that was killed."""
    return name == LOCK or bool(HALF.match(name))


def _difference(name: str, held, asked) -> str:
    texts = [json.dumps(value, ensure_ascii=False) for value in (held, asked)]
    return f"{name} (was {texts[0]}, now {texts[1]})" if max(map(len, texts)) <= 60 else name


# -- for those who read ---------------------------------------------------------------------------------------------


def state(path: str | Path) -> str | None:
    """``"complete"``, ``"unfinished"``, or None for a folder that was not made in parts."""
    path = Path(path)
    if (path / MANIFEST).is_file() or (path / EARLIER[1]).is_file():
        return "complete"
    if (path / EARLIER[0]).is_file():
        return "unfinished"
    return "unfinished" if (path / PLAN).is_file() else None


def wrong(path: str | Path, *, deep: bool = False, alone: str | None = None) -> Iterator[str]:
    """What differs between a complete folder, its manifest and its plan, one sentence a file.

    Args:
        path: Of a folder with a manifest.
        deep: Read all bytes and compare checksums, too; else presence and size.
        alone: Pattern of the names of files that must stand in the manifest, such as ``*.parquet``.
    """
    path = Path(path)
    manifest, plan = Folder(path).manifest(), Folder(path).plan()
    for name, held in ((MANIFEST, manifest), (PLAN, plan)):
        if held is None and (path / name).exists():
            yield f"{path / name} is damaged: copy the folder again, or delete it and make it again"
            return
    if manifest is None:
        yield f"{path / MANIFEST} is missing"
        return
    files = {key: sealed for held in manifest["parts"].values() for key, sealed in held["files"].items()}
    asked = manifest["parts"] if plan is None else dict.fromkeys(plan["parts"])
    for part in asked:
        if part not in manifest["parts"]:
            yield f"{path / MANIFEST} lacks {part}, which {PLAN} names: the two files are not of one run"
    for part in manifest["parts"]:
        if part not in asked:
            yield f"{path / MANIFEST} names {part}, which is not in {PLAN}: the two files are not of one run"
    yield from differences(path, files, deep)
    if alone is not None:
        for file in sorted(path.glob(alone)):
            if file.name not in files and not file.name.startswith((".", "_")):
                yield f"{file} is not in {MANIFEST}: move it elsewhere"


def differences(path: Path, files: dict, deep: bool = False) -> Iterator[str]:
    """What differs between files and their seals (key → size and sha256), one sentence a file."""
    for key, sealed in files.items():
        file = path / key
        try:
            size = file.stat().st_size
        except OSError:
            yield f"{file} is missing"
            continue
        if size != sealed["size"]:
            yield f"{file} has {size:,} bytes, expected {sealed['size']:,}"
        elif deep and sha256(file) != sealed["sha256"]:
            yield f"{file} was changed since it was written: its checksum differs"


def seal(file: Path) -> dict:
    """Size and SHA-256 of a file."""
    return {"size": file.stat().st_size, "sha256": sha256(file)}


def _json(file: Path) -> dict | None:
    """What a file holds; None where it is missing, or not to be read: such a file is written anew."""
    try:
        held = textfiles.read_json(file)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return held if isinstance(held, dict) else None


def _are_names(parts) -> bool:
    return isinstance(parts, list) and all(isinstance(part, str) for part in parts)


def _is_note(held) -> bool:
    """Whether this is what ``finish`` notes of a part: its files with size and checksum."""
    files = held.get("files") if isinstance(held, dict) else None
    return isinstance(files, dict) and all(
        isinstance(one, dict) and type(one.get("size")) is int and isinstance(one.get("sha256"), str)
        for one in files.values()
    )
