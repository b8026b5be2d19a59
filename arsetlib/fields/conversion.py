"""Convert chips once, so that training reads few large files: TFRecord, Parquet, or a directory for each class.

    fields.convert(chips, "data/fields_tfrecord")                      # the JPEG files as they are, in files of 32 MB
    fields.convert(chips, "data/fields_224", size=224)                 # made smaller once

Files are written by several threads. An interrupted conversion goes on with the files that are missing; the same chips
give the same bytes, whatever the number of threads. See ``folders`` for how the folder comes to be.

Lab: case_fields.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from arsetlib import folders
from arsetlib.fields import source, stored, writing
from arsetlib.fields.classes import ImageError
from arsetlib.fields.order import BLOCK

QUALITY = 90  # of JPEG that is made smaller
TABLES = "tables"  # name of the part with what is said of the others
ENCODINGS = ("jpeg", "raw")


def convert(
    chips,
    out: str | Path,
    form: str = "tfrecord",
    *,
    shard_mb: float = 32,
    size: int | None = None,
    encoding: str = "jpeg",
    jobs: int | None = None,
    progress: bool = True,
) -> Path:
    """Write chips to few large files, or to a directory tree.

    A record holds what an image is: name, field, labels, the two JPEG files as found (not encoded again), and a PNG of
    its valid pixels where not all are. The folder's index.json counts images, classes and bytes with a SHA-256 of each
    file; records.parquet has a row for each image: name, field, classes and where it lies.

    A directory has a folder for each class, and an image in that of its rarest one: a folder cannot say that an image
    has several classes, so labels.csv beside them does.

    Args:
        chips: From ``fields.agriculture_vision``, or some of them.
        out: A new folder, or one in which the same conversion was interrupted.
        form: ``tfrecord``, ``parquet`` or ``directory``.
        shard_mb: Megabytes of a file, about; images are not parted.
        size: Make images so many pixels wide once; None leaves them as they are.
        encoding: ``jpeg``; or ``raw``, pixels that need no decoding and more room: exactly those that ``fields.images``
            makes of the chips at the same ``size``, which is needed here.
        jobs: Threads; None means one for each core.
        progress: Show a progress bar.

    Returns:
        ``out``.

    Raises:
        ImageError: Wrong options, an image that cannot be read or differs from the others, a folder that holds
            something else, a full disk. What is finished is kept: the same call goes on.

    Lab: case_fields.
    """
    out = Path(out)
    side = source.side_of(chips)
    _check(chips, form, shard_mb, size, encoding, side, jobs)
    sizes = source.sizes(chips)
    identity = source.identity(chips, sizes)
    runs = _runs(sizes.sum(1), side, shard_mb, size, encoding)
    asked = {"identity": identity, "form": form, "encoding": encoding, "size": size, "shard_mb": shard_mb}
    if _made_earlier(out, asked):
        return out
    parts = [*map(_name, range(len(runs))), TABLES]
    with folders.claim(out, asked, parts, what="conversion", error=ImageError) as folder:
        if folder.manifest() is None:
            _convert(chips, folder, asked, side, runs, jobs, progress)
    return out


def _check(chips, form, shard_mb, size, encoding, side, jobs) -> None:
    if form not in stored.FORMS or encoding not in ENCODINGS:
        raise ImageError(
            f"Expected form {' | '.join(stored.FORMS)} and encoding {' | '.join(ENCODINGS)}, received {form!r} and "
            f"{encoding!r}."
        )
    if not len(chips):
        raise ImageError(f"There are no chips to convert in this selection of {chips.folder}. Select some.")
    if not 0 < shard_mb <= 4000 or (jobs is not None and jobs < 1):
        raise ImageError(f"Expected shard_mb above 0, up to 4000, and jobs from 1, received {shard_mb} and {jobs}.")
    if size is not None and not 8 <= size <= side:
        raise ImageError(f"Expected size from 8 to the {side} pixels of the images, received {size}.")
    if encoding == "raw" and (size is None or form == "directory"):
        raise ImageError(
            "encoding='raw' needs size=…, the pixels a model will get, and form='tfrecord' or 'parquet'; received "
            f"size={size} and form={form!r}."
        )


def _runs(bytes_found: np.ndarray, side: int, shard_mb: float, size, encoding) -> list[np.ndarray]:
    """Numbers of the images of each file: whole blocks, until the file has its size."""
    expected = bytes_found.astype(float)
    if encoding == "raw":
        expected[:] = 4 * size**2
    elif size is not None:
        expected *= 1.3 * (size / side) ** 2  # small pictures hold more bytes a pixel
    blocks = np.add.reduceat(expected, np.arange(0, len(expected), BLOCK))
    ends, held = [], 0.0
    for number, megabytes in enumerate(blocks / 1e6):
        if held and held + megabytes / 2 > shard_mb:
            ends.append(number * BLOCK)
            held = 0.0
        held += megabytes
    return np.split(np.arange(len(expected)), ends)


def _made_earlier(out: Path, asked: dict) -> bool:
    """Whether an earlier version of arsetlib, which put other marks, has completed the folder with the same call."""
    try:
        held = json.loads((out / stored.ASKED).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return held == asked and (out / stored.INDEX).is_file()


def _convert(chips, folder: folders.Folder, asked: dict, side: int, runs, jobs, progress) -> None:
    form, encoding, size = asked["form"], asked["encoding"], asked["size"]
    out = folder.path
    homes = stored.rarest(chips.labels) if form == "directory" else None
    left = [number for number in range(len(runs)) if folder.done(_name(number)) is None]
    _room(out, sum(len(runs[number]) for number in left), 4 * size**2 if encoding == "raw" else 0)
    shrink = _shrinking(side, size, encoding) if left else None
    writer = writing.WRITERS[form]
    stop = threading.Event()
    with tqdm(total=len(chips), initial=len(chips) - sum(len(runs[n]) for n in left), desc="convert", unit="image",
              disable=not progress) as bar:  # fmt: skip

        def images(run):
            for row in run.tolist():
                if stop.is_set():
                    raise InterruptedError
                one = source.encoded(chips, row, side)
                yield row, one if shrink is None else shrink(one, str(chips.paths(row).rgb))
                bar.update()

        def make(number: int) -> None:
            keys, facts = writer(out, number, images(runs[number]), chips, homes)
            folder.finish(_name(number), keys, **facts)

        _together(make, left, jobs or _cores(), stop)
    _close(chips, folder, asked, side, runs, homes)


def _name(number: int) -> str:
    return f"{number:05}"


def _together(make: Callable[[int], None], numbers: list[int], jobs: int, stop: threading.Event) -> None:
    """Call ``make`` in threads; at the first problem the others stop, and what is finished is kept."""
    with ThreadPoolExecutor(min(jobs, max(1, len(numbers)))) as pool:
        futures = [pool.submit(make, number) for number in numbers]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            if any(f.done() and not f.cancelled() and f.exception() for f in futures) or not all(
                f.done() for f in futures
            ):
                stop.set()
                for future in futures:
                    future.cancel()
    problems = [f.exception() for f in futures if not f.cancelled() and f.exception()]
    problem = next((p for p in problems if not isinstance(p, InterruptedError)), None)
    if problem is not None:
        raise problem


def _room(out: Path, images: int, bytes_each: int) -> None:
    free = shutil.disk_usage(out).free
    if images * bytes_each > free:
        raise ImageError(
            f"{out} needs {images * bytes_each / 1e9:,.1f} GB more, {free / 1e9:,.1f} GB are free. Free some space, "
            "choose another disk, or another size."
        )


def _shrinking(side: int, size: int | None, encoding: str):
    """What makes an image smaller, or None where it stays as it is."""
    if size is None or (size == side and encoding == "jpeg"):
        return None
    import tensorflow as tf

    from arsetlib.fields import decode

    text = tf.TensorSpec([], tf.string)

    @tf.function(input_signature=[text] * 4, autograph=False)
    def smaller(rgb, nir, valid, name):
        if encoding == "raw":
            return decode.pixels_of(rgb, nir, [valid], side, size, name)
        return decode.smaller_files(rgb, nir, [valid], side, size, QUALITY, name)

    def shrink(one: source.Encoded, name: str) -> source.Encoded:
        try:
            made = smaller(one.rgb, one.nir, one.valid, name)
        except tf.errors.InvalidArgumentError as problem:
            raise ImageError(
                f"{name} or its near infrared is damaged ({problem.message[:200]}). Copy it again."
            ) from None
        if encoding == "raw":
            pixels = made.numpy()
            return source.Encoded(pixels[..., :3].tobytes(), pixels[..., 3].tobytes(), b"")
        return source.Encoded(*(part.numpy() for part in made))

    return shrink


def _close(chips, folder: folders.Folder, asked: dict, side: int, runs, homes) -> None:
    out, made = folder.path, [folder.done(_name(number)) for number in range(len(runs))]
    if None in made:
        folder.settle()  # raises: says which are missing
    shards = tuple(stored.Shard(*(done[key] for key in ("file", "records", "bytes", "sha256"))) for done in made)
    result = stored.Stored(
        out, asked["form"], asked["encoding"], asked["size"] or side,
        np.asarray(chips.names).astype(str), np.asarray(chips.fields).astype(str), chips.labels, shards,
        np.repeat(np.arange(len(runs)), [len(run) for run in runs]),
        np.concatenate([done["start"] for done in made]), np.concatenate([done["sizes"] for done in made]),
        homes, chips.licence, bool(chips.simulated), asked["identity"],
    )  # fmt: skip
    keys = [stored.TABLE, stored.INDEX]
    if homes is not None:
        keys.append(writing.labels_csv(result))
    about = {"quality": QUALITY if asked["encoding"] == "jpeg" and asked["size"] not in (None, side) else None}
    stored.save(result, {"source": str(chips.folder), **about})
    folder.finish(TABLES, keys)
    folder.publish()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
