"""Convert chips once, so that training reads few large files: TFRecord, Parquet, or a directory for each class.

    fields.convert(chips, "data/fields_tfrecord")                      # the JPEG files as they are, in files of 32 MB
    fields.convert(chips, "data/fields_224", size=224)                 # reduced once

Several threads write the files. An interrupted conversion continues with the files that are missing; the same chips
give the same bytes for any number of threads. ``folders`` says how the folder is written.

Lab: case_fields.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from arsetlib import folders, processes
from arsetlib.fields import stored, writing
from arsetlib.fields.chips import Chips
from arsetlib.fields.classes import ImageError
from arsetlib.fields.encoded import Encoded, encoded
from arsetlib.fields.order import BLOCK

QUALITY = 90  # of JPEG that is reduced
TABLES = "tables"  # name of the part with the index and the table of images
ENCODINGS = ("jpeg", "raw")


def convert(
    chips: Chips,
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

    A record holds one image: name, field, labels, the two JPEG files as they were (not encoded again), and a PNG of its
    valid pixels where not all are valid. The folder's index.json counts images, classes and bytes, with a SHA-256 of
    each file; records.parquet has a row for each image: name, field, classes and its place.

    A directory has a folder for each class, and an image is in that of its rarest class: a folder cannot say that an
    image has several classes, so labels.csv does.

    Args:
        chips: From ``fields.agriculture_vision``, or some of them.
        out: A new folder, or one in which the same conversion was interrupted; also in an object store (``s3://…``).
        form: ``tfrecord``, ``parquet`` or ``directory``.
        shard_mb: Megabytes of a file, about; an image is never divided.
        size: Reduce images to this many pixels a side; None leaves them as they are.
        encoding: ``jpeg``; or ``raw``, pixels that need no decoding and more space: exactly those that
            ``fields.batches`` makes of the chips at the same ``size``, which is required here.
        jobs: Threads; None means one for each core.
        progress: Show a progress bar.

    Returns:
        ``out``.

    Raises:
        ImageError: Invalid options, an image that cannot be read or differs from the others, a folder that holds
            something else, a full disk. Finished files are kept: the same call continues.

    >>> import tempfile; from arsetlib import fields, simulate
    >>> folder = simulate.fields(tempfile.mkdtemp(), fields=2, chips=2, size=32, progress=False)
    >>> chips = fields.agriculture_vision(folder)
    >>> out = convert(chips, folder / "parquet", "parquet", progress=False)
    >>> sorted(file.name for file in out.glob("shard*")), fields.verify(out)
    (['shard-00000.parquet'], 4)

    Lab: case_fields.
    """
    out = folders.place(out)
    side = chips.side
    _check(chips, form, shard_mb, size, encoding, side, jobs)
    plan = {"identity": chips.identity, "form": form, "encoding": encoding, "size": size, "shard_mb": shard_mb}
    runs = _runs(chips.jpeg_bytes.sum(1), side, shard_mb, size, encoding)
    parts = [*map(_name, range(len(runs))), TABLES]
    with folders.claim(out, plan, parts, what="conversion", error=ImageError) as folder:
        if folder.manifest() is None:
            homes = stored.rarest(chips.labels) if form == "directory" else None
            _write(chips, folder, plan, runs, homes, jobs or processes.cores(), progress)
            _publish(chips, folder, plan, runs, homes)
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


def _runs(bytes_of: np.ndarray, side: int, shard_mb: float, size, encoding) -> list[np.ndarray]:
    """Numbers of the images of each file: whole blocks, until the file has its size."""
    expected = bytes_of.astype(float)
    if encoding == "raw":
        expected[:] = 4 * size**2
    elif size is not None:
        expected *= 1.3 * (size / side) ** 2  # small pictures have more bytes per pixel
    blocks = np.add.reduceat(expected, np.arange(0, len(expected), BLOCK))
    ends, filled = [], 0.0
    for number, megabytes in enumerate(blocks / 1e6):
        if filled and filled + megabytes / 2 > shard_mb:
            ends.append(number * BLOCK)
            filled = 0.0
        filled += megabytes
    return np.split(np.arange(len(expected)), ends)


def _name(number: int) -> str:
    return f"{number:05}"


def _write(chips, folder: folders.Folder, plan: dict, runs, homes, jobs: int, progress: bool) -> None:
    """Write the files that are missing, in threads; after a problem no other file is begun, and finished ones stay."""
    left = [number for number in range(len(runs)) if folder.done(_name(number)) is None]
    reduced = _reducer(chips.side, plan["size"], plan["encoding"]) if left else None
    done = len(chips) - sum(len(runs[number]) for number in left)
    with (
        tqdm(total=len(chips), initial=done, desc="convert", unit="image", disable=not progress) as bar,
        ThreadPoolExecutor(jobs) as pool,
    ):

        def images(run):
            for row in run.tolist():
                one = encoded(chips, row)
                yield row, one if reduced is None else reduced(one, str(chips.paths(row).rgb))
                bar.update()

        def write(number: int) -> None:
            images_of_file = images(runs[number])
            keys, start, sizes = writing.WRITERS[plan["form"]](folder.path, number, images_of_file, chips, homes)
            folder.finish(_name(number), keys, start=start, sizes=sizes)

        try:
            for written in as_completed([pool.submit(write, number) for number in left]):
                written.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _reducer(side: int, size: int | None, encoding: str) -> Callable[[Encoded, str], Encoded] | None:
    """A function that reduces an image, or None where it stays as it is."""
    if size is None or (size == side and encoding == "jpeg"):
        return None
    import tensorflow as tf

    from arsetlib.fields import decode

    @tf.function(input_signature=[tf.TensorSpec([], tf.string)] * 4, autograph=False)
    def compiled(rgb, nir, valid, name):
        if encoding == "raw":
            return decode.pixels_of(rgb, nir, [valid], side, size, name)
        return decode.smaller_files(rgb, nir, [valid], side, size, QUALITY, name)

    def reduced(one: Encoded, name: str) -> Encoded:
        try:
            result = compiled(one.rgb, one.nir, one.valid, name)
        except tf.errors.InvalidArgumentError as problem:
            raise ImageError(
                f"{name} or its near infrared is damaged ({problem.message[:200]}). Copy it again."
            ) from None
        if encoding == "raw":
            pixels = result.numpy()
            return Encoded(pixels[..., :3].tobytes(), pixels[..., 3].tobytes(), b"")
        return Encoded(*(part.numpy() for part in result))

    return reduced


def _publish(chips, folder: folders.Folder, plan: dict, runs, homes) -> None:
    notes = [folder.done(_name(number)) for number in range(len(runs))]
    if None in notes:
        folder.settle()  # raises: says which are missing
    form, encoding, size = plan["form"], plan["encoding"], plan["size"]
    images = stored.Stored(
        folder.path, form, encoding, size or chips.side, chips.names, chips.fields, chips.labels,
        tuple(_shard(number, note) for number, note in enumerate(notes)),
        np.repeat(np.arange(len(runs)), [len(run) for run in runs]),
        np.concatenate([note["start"] for note in notes]), np.concatenate([note["sizes"] for note in notes]),
        homes, chips.licence, bool(chips.simulated), plan["identity"],
    )  # fmt: skip
    quality = QUALITY if encoding == "jpeg" and size not in (None, chips.side) else None
    stored.save(images, {"source": str(chips.folder), "quality": quality})
    keys = [stored.TABLE, stored.INDEX] + ([writing.labels_csv(images)] if form == "directory" else [])
    folder.finish(TABLES, keys)
    folder.publish()


def _shard(number: int, note: dict) -> stored.Shard:
    files, images = note["files"], len(note["start"])
    if len(files) == 1:
        ((key, seal),) = files.items()
        return stored.Shard(key, images, seal["size"], seal["sha256"])
    return stored.Shard(f"run-{number:05}", images, sum(seal["size"] for seal in files.values()), None)
