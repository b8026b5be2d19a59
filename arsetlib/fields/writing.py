"""Write one shard: a TFRecord file, a Parquet file, or a run of image files in a directory.

Each function writes images and returns the keys of its files, where each image starts, and the bytes of its parts.

Lab: case_fields.
"""

from __future__ import annotations

import errno
import itertools
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from arsetlib import folders
from arsetlib.fields import layout, stored
from arsetlib.fields.chips import Chips
from arsetlib.fields.classes import CLASSES
from arsetlib.fields.encoded import Encoded
from arsetlib.fields.order import BLOCK

Images = Iterable[tuple[int, Encoded]]
Written = tuple[list[str], list[int], list[list[int]]]
FRAME = 16  # bytes of length and checksums around each record of a TFRecord file


def tfrecord(out: Path, number: int, images: Images, chips: Chips, homes: np.ndarray | None = None) -> Written:
    """A TFRecord file of ``tf.train.Example``."""
    import tensorflow as tf

    start, sizes = [], []

    def fill(half: Path) -> None:
        end = 0
        with tf.io.TFRecordWriter(str(half)) as writer:
            for row, one in images:
                data = example(one, str(chips.names[row]), chips.labels[row])
                writer.write(data)
                start.append(end)
                sizes.append(_sizes(one))
                end += FRAME + len(data)
        if half.stat().st_size != end:  # the writer does not always report a full disk
            raise OSError(errno.ENOSPC, "not all bytes were written", str(half))

    key = f"shard-{number:05}.tfrecord"
    folders.put(out / key, fill)
    return [key], start, sizes


def example(one: Encoded, name: str, labels: np.ndarray) -> bytes:
    """A ``tf.train.Example``: name, field, labels (9 integers, 0 or 1), rgb, nir, valid."""
    import tensorflow as tf

    texts = {"name": name.encode(), "field": layout.field_of(name).encode(), **vars(one)}
    feature = {key: tf.train.Feature(bytes_list=tf.train.BytesList(value=[text])) for key, text in texts.items()}
    feature["labels"] = tf.train.Feature(int64_list=tf.train.Int64List(value=labels.tolist()))
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString(deterministic=True)


def parquet(out: Path, number: int, images: Images, chips: Chips, homes: np.ndarray | None = None) -> Written:
    """A Parquet file, one row group for each block of images; pages carry checksums."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {"name": pa.string(), "field": pa.string(), "labels": pa.list_(pa.uint8(), len(CLASSES))}
    schema = pa.schema([*kinds.items(), *((part, pa.binary()) for part in stored.PARTS)])
    # JPEG does not get smaller when it is compressed again, and its bytes never repeat, so a dictionary saves nothing.
    options = {"compression": "none", "use_dictionary": False, "write_statistics": False, "write_page_checksum": True}
    sizes: list[list[int]] = []

    def fill(half: Path) -> None:
        rest = iter(images)
        with pq.ParquetWriter(half, schema, **options) as writer:
            while block := list(itertools.islice(rest, BLOCK)):
                names = [str(chips.names[row]) for row, _ in block]
                columns = {"name": names, "field": [layout.field_of(name) for name in names]}
                columns["labels"] = [chips.labels[row].tolist() for row, _ in block]
                columns |= {part: [getattr(one, part) for _, one in block] for part in stored.PARTS}
                writer.write_table(pa.table(columns, schema=schema), row_group_size=BLOCK)
                sizes.extend(_sizes(one) for _, one in block)

    key = f"shard-{number:05}.parquet"
    folders.put(out / key, fill)
    return [key], list(range(len(sizes))), sizes


def directory(out: Path, number: int, images: Images, chips: Chips, homes: np.ndarray) -> Written:
    """One run of images, each in the folder of its rarest class."""
    keys, sizes = [], []
    for row, one in images:
        for suffix, data in zip(stored.SUFFIXES, vars(one).values(), strict=True):
            if data:
                keys.append(f"{homes[row]}/{chips.names[row]}{suffix}")
                folders.put(out / keys[-1], data)
        sizes.append(_sizes(one))
    return keys, list(range(len(sizes))), sizes


WRITERS = {"tfrecord": tfrecord, "parquet": parquet, "directory": directory}


def labels_csv(images: stored.Stored) -> str:
    """labels.csv of a directory: each image with its folder and all its classes; returns its key."""
    import pandas as pd

    table = pd.DataFrame({"folder": images.homes, "name": images.names, "field": images.fields})
    table[list(CLASSES)] = images.labels
    folders.put(images.folder / "labels.csv", table.to_csv(index=False))
    return "labels.csv"


def _sizes(one: Encoded) -> list[int]:
    return [len(data) for data in vars(one).values()]
