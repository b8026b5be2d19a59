"""Large files: an interrupted download continues where it stopped."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import threading
from concurrent.futures import Future
from pathlib import Path

import requests
from tqdm.auto import tqdm
from urllib3.exceptions import LocationParseError

from arsetlib.web import answers
from arsetlib.web.answers import Answer, CatalogueError
from arsetlib.web.links import public, redact

LARGEST_FILE = 50 << 30  # bytes of a download; the largest known one, CDL at 10 m, has about 10 GB
SLOWEST = 1000  # bytes a second that a download must bring


def download(url: str, target: Path, md5: str | None = None, progress: bool = True) -> Path:
    """Fetch a large file; an interrupted download continues where it stopped.

    Args:
        url: What.
        target: Where to put it. Until it is complete, its name is ``<target>.part``.
        md5: Expected checksum, hex; None checks the length only.
        progress: Show a bar.

    Returns:
        ``target``.

    Raises:
        CatalogueError: Refused, still failing after ``PATIENCE.attempts``, checksum differs, or disk full.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part, mark = (target.with_name(target.name + end) for end in (".part", ".part.version"))
    trouble, attempt = "", 0
    while attempt < answers.PATIENCE.attempts:
        wait, before = None, _size(part)
        try:
            refused = _watched(part, url, mark, target, progress)
            if refused is None:
                break
            if refused.status == 416:  # the file on the server is no longer the one that was begun
                part.unlink(missing_ok=True)
                trouble = "HTTP 416 for the rest of the file"
            else:
                trouble, wait = answers.status_text(refused, url), answers.retry_after(refused)
        except TimeoutError:
            trouble = f"less than {SLOWEST} bytes a second for {answers.PATIENCE.read:g} s"
        except answers.PASSING as error:
            trouble = answers.failure_text(error)
        except (requests.RequestException, LocationParseError) as error:
            raise CatalogueError(f"{public(url)} cannot be fetched: {redact(error)}.") from None
        except OSError as error:
            raise unwritable(part, error) from None
        attempt = 0 if _size(part) > before + (1 << 20) else attempt + 1  # much was received: start counting again
        if attempt < answers.PATIENCE.attempts:
            answers.pause(attempt, wait, url, trouble)
    else:
        raise answers.gave_up(url, answers.PATIENCE.attempts, trouble)
    if md5 and (received := md5_of(part)) != md5:
        part.unlink()
        mark.unlink(missing_ok=True)
        raise CatalogueError(
            f"{public(url)} should have md5 {md5}; received {received}. The damaged file is deleted: run it again. "
            f"If the publisher has issued a new version, put its md5 into {target.name}.md5 beside it."
        )
    os.replace(part, target)
    mark.unlink(missing_ok=True)
    return target


def md5_of(path: Path) -> str:
    """Hexadecimal MD5 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _watched(part: Path, *arguments) -> Answer | None:
    """``_fetch`` in a thread that is abandoned when it is too slow; the answer where it was refused."""
    done: Future = Future()
    stop = threading.Event()
    answers.in_thread(done, _fetch, stop, part, *arguments)
    size = _size(part)
    try:
        while True:
            try:
                return done.result(timeout=answers.PATIENCE.connect + answers.PATIENCE.read)
            except TimeoutError:
                before, size = size, _size(part)
                if done.done() or size - before < SLOWEST * answers.PATIENCE.read:
                    raise
    finally:
        stop.set()


def _fetch(stop: threading.Event, part: Path, url: str, mark: Path, target: Path, progress: bool) -> Answer | None:
    with answers.request("GET", url, None, _resume(part, mark)) as answer:
        if not answer.ok:
            start = next(answer.iter_content(1 << 10), b"")
            return Answer(answer.status_code, answer.reason or "", answer.headers, start)
        _receive(stop, answer, part, mark, target, progress)
    return None


def _resume(part: Path, mark: Path) -> dict[str, str]:
    """Headers that ask for the rest of what was begun, if it is still the same file."""
    headers = {"Accept-Encoding": "identity"}
    if _size(part) and mark.exists():
        headers |= {"Range": f"bytes={_size(part)}-", "If-Range": mark.read_text(encoding="utf-8")}
    return headers


def _receive(stop, answer: requests.Response, part: Path, mark: Path, target: Path, progress: bool) -> None:
    have = _size(part) if answer.status_code == 206 else 0
    if have and not re.match(rf"bytes {have}-", answer.headers.get("Content-Range", "")):
        part.unlink()  # another piece than the one asked for
        raise requests.exceptions.ChunkedEncodingError("wrong piece")
    declared = answer.headers.get("Content-Length", "")
    left = int(declared) if declared.isdecimal() else 0
    if have + left > LARGEST_FILE:
        raise CatalogueError(
            f"{target.name} would have {(have + left) / 1e9:.0f} GB; at most {LARGEST_FILE / 1e9:.0f} GB are fetched. "
            "Check the address, or fetch the file by hand."
        )
    free = shutil.disk_usage(part.parent).free
    if left > free:
        raise CatalogueError(
            f"{target.name} needs {left / 1e9:.2f} GB more and {part.parent} has {free / 1e9:.2f} GB free. "
            "Free some space or give another cache folder; what was fetched is kept, a rerun continues from there."
        )
    etag = answer.headers.get("ETag", "")
    version = etag if etag.startswith('"') else answer.headers.get("Last-Modified", "")
    if version:
        mark.write_text(version, encoding="utf-8")
    else:
        mark.unlink(missing_ok=True)
    with (
        part.open("ab" if have else "wb", buffering=0) as out,  # its size tells how fast it comes
        tqdm(
            desc=target.name,
            initial=have,
            total=have + left or None,
            unit="B",
            unit_scale=True,
            disable=not progress,
        ) as bar,
    ):
        size = have
        for block in answer.iter_content(1 << 16):
            if stop.is_set():
                return
            size += len(block)
            if size > LARGEST_FILE:
                raise CatalogueError(
                    f"{target.name} has more than {LARGEST_FILE / 1e9:.0f} GB. Check the address, or fetch it by hand."
                )
            out.write(block)
            bar.update(len(block))
    if left and "Content-Encoding" not in answer.headers and size != have + left:
        raise requests.exceptions.ChunkedEncodingError("incomplete")


def unwritable(path: Path, error: OSError) -> CatalogueError:
    """The error for a file that cannot be written."""
    return CatalogueError(
        f"Cannot write {path}: {error.strerror or error}. Free some space (or give another cache folder) and run "
        "it again; what is complete is kept."
    )
