"""Write one file of images, or one run of files of a directory; each function is one form.

All return the keys of the files they wrote, and what the index says of them: name, images, bytes, SHA-256, where each
image starts, and the bytes of its parts.

Lab: case_fields.
"""

from __future__ import annotations

import csv
import errno
import hashlib
import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from arsetlib import folders
from arsetlib.fields import stored
from arsetlib.fields.classes import CLASSES
from arsetlib.fields.order import BLOCK
from arsetlib.fields.source import Encoded

Images = Iterable[tuple[int, Encoded]]
AROUND = 16  # bytes of length and checksums beside a TFRecord's own


Written = tuple[list[str], dict]


def tfrecord(out: Path, number: int, images: Images, chips, homes=None) -> Written:
    """A TFRecord file of ``tf.train.Example``."""
    import tensorflow as tf

    file = out / f"shard-{number:05}.tfrecord"
    start, sizes = [], []

    def fill(half: Path) -> None:
        at = 0
        try:
            with tf.io.TFRecordWriter(str(half)) as writer:
                for row, one in images:
                    data = example(one, str(chips.names[row]), chips.labels[row])
                    writer.write(data)
                    start.append(at)
                    sizes.append(_sizes(one))
                    at += AROUND + len(data)
        except tf.errors.OpError as problem:
            raise OSError(errno.ENOSPC if _no_room(problem) else errno.EIO, problem.message, str(file)) from problem
        if half.stat().st_size != at:
            raise OSError(errno.ENOSPC, "not all bytes were written", str(file))

    folders.put(file, fill)
    return _told(file, start, sizes)


def example(one: Encoded, name: str, labels: np.ndarray) -> bytes:
    """A ``tf.train.Example``: name, field, labels (9 whole numbers, 0 or 1), rgb, nir, valid."""
    import tensorflow as tf

    def of_bytes(*values: bytes):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))

    feature = {
        "name": of_bytes(name.encode()),
        "field": of_bytes(name.split("_")[0].encode()),
        "labels": tf.train.Feature(int64_list=tf.train.Int64List(value=labels.tolist())),
        "rgb": of_bytes(one.rgb),
        "nir": of_bytes(one.nir),
        "valid": of_bytes(one.valid),
    }
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString(deterministic=True)


def parquet(out: Path, number: int, images: Images, chips, homes=None) -> Written:
    """A Parquet file, one row group for each block of images; pages carry checksums."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = out / f"shard-{number:05}.parquet"
    kinds = {"name": pa.string(), "field": pa.string(), "labels": pa.list_(pa.uint8(), len(CLASSES))}
    schema = pa.schema([*kinds.items(), *((part, pa.binary()) for part in stored.PARTS)])
    sizes: list[list[int]] = []
    # JPEG does not get smaller by compressing it again, and numbers of a dictionary would be as long as the bytes.
    options = {"compression": "none", "use_dictionary": False, "write_statistics": False, "write_page_checksum": True}

    def fill(half: Path) -> None:
        with pq.ParquetWriter(half, schema, **options) as writer:
            for block in _blocks(images):
                rows = [row for row, _ in block]
                names = [str(chips.names[row]) for row in rows]
                columns = {"name": names, "field": [name.split("_")[0] for name in names]}
                columns["labels"] = [chips.labels[row].tolist() for row in rows]
                for part in stored.PARTS:
                    columns[part] = [getattr(one, part) for _, one in block]
                writer.write_table(pa.table(columns, schema=schema), row_group_size=BLOCK)
                sizes.extend(_sizes(one) for _, one in block)

    folders.put(file, fill)
    return _told(file, list(range(len(sizes))), sizes)


def directory(out: Path, number: int, images: Images, chips, homes) -> Written:
    """One run of images, each in the folder of its rarest class."""
    keys, sizes, seal = [], [], hashlib.sha256()
    for row, one in images:
        for suffix, data in zip(stored.SUFFIXES, (one.rgb, one.nir, one.valid), strict=True):
            if data:
                keys.append(f"{homes[row]}/{chips.names[row]}{suffix}")
                folders.put(out / keys[-1], data)
                seal.update(data)
        sizes.append(_sizes(one))
    return keys, {
        "file": f"run-{number:05}", "records": len(sizes), "bytes": int(np.sum(sizes)), "sha256": seal.hexdigest(),
        "start": list(range(len(sizes))), "sizes": sizes,
    }  # fmt: skip


WRITERS = {"tfrecord": tfrecord, "parquet": parquet, "directory": directory}


def labels_csv(made: stored.Stored) -> str:
    """labels.csv of a directory: each image with its folder and all its classes; returns its key."""
    text = io.StringIO(newline="")
    rows = csv.writer(text)
    rows.writerow(["folder", "name", "field", *CLASSES])
    for home, name, field, labels in zip(made.homes, made.names, made.fields, made.labels.tolist(), strict=True):
        rows.writerow([home, name, field, *labels])
    folders.put(made.folder / "labels.csv", text.getvalue())
    return "labels.csv"


def _blocks(images: Images):
    block = []
    for image in images:
        block.append(image)
        if len(block) == BLOCK:
            yield block
            block = []
    if block:
        yield block


def _sizes(one: Encoded) -> list[int]:
    return [len(one.rgb), len(one.nir), len(one.valid)]


def _told(file: Path, start, sizes) -> Written:
    seal = folders.seal(file)
    return [file.name], {
        "file": file.name, "records": len(sizes), "bytes": seal["size"], "sha256": seal["sha256"], "start": start,
        "sizes": sizes,
    }  # fmt: skip


def _no_room(problem) -> bool:
    import tensorflow as tf

    told = ("No space", "File too large", "quota")  # the system's words: TensorFlow drops the number of the error
    return isinstance(problem, tf.errors.ResourceExhaustedError) or any(word in problem.message for word in told)
