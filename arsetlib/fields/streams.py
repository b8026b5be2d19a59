"""The encoded files of images, in a given order, from each storage format.

A stream is a ``tf.data.Dataset`` of (number, rgb, nir, mask, mask): the image's number and its files as strings; a mask
is empty where all pixels are valid. TFRecord is read by TensorFlow, Parquet by pyarrow, single files by Python.

Lab: case_fields.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import tensorflow as tf

from arsetlib.fields import encoded, stored
from arsetlib.fields.chips import Chips
from arsetlib.fields.classes import ImageError
from arsetlib.fields.order import BLOCK, Order

BUFFER = 1 << 18  # bytes that are read from a TFRecord file at a time
plain = tf.autograph.experimental.do_not_convert  # these functions use TensorFlow operations only: nothing to convert


def stream_of(images: stored.Stored | Chips, order: Order, readers: int, epoch: tf.Tensor) -> tf.data.Dataset:
    """The encoded images of an epoch.

    Args:
        images: ``Stored`` images, or chips.
        order: Which images, in which order.
        readers: How many files are read at a time.
        epoch: () int64 tensor.
    """
    stream = _from_shards if images.form in ("tfrecord", "parquet") else _from_files
    return stream(images, order, readers, epoch)


def rows_of(order: Order, epoch: tf.Tensor) -> tf.data.Dataset:
    """Numbers of the images of an epoch, a () int64 tensor."""
    rows = tf.numpy_function(plain(lambda e: order.epoch(int(e)).astype(np.int64)), [epoch], tf.int64)
    return tf.data.Dataset.from_tensor_slices(tf.ensure_shape(rows, [len(order)]))


def _from_files(images, order: Order, readers: int, epoch):
    """Python reads the files of an image when it is its turn.

    Not with ``Dataset.from_generator``: it makes the C library return memory at once, which slows all that follows.
    """

    def files(row):
        if images.form == "directory":
            sizes = images.sizes[row].tolist()
            return *(_of_size(*file) for file in zip(images.paths(int(row)), sizes, strict=True)), b""
        paths = images.paths(int(row))
        photos = encoded.jpeg(paths.rgb, images.side, 3), encoded.jpeg(paths.nir, images.side, 1)
        return *photos, *(encoded.contents(path) for path in (paths.bounds, paths.masks))

    @plain
    def read(row):
        return (row, *(tf.ensure_shape(part, []) for part in tf.numpy_function(plain(files), [row], [tf.string] * 4)))

    return rows_of(order, epoch).map(read, num_parallel_calls=readers)


def _of_size(path: Path, size: int) -> bytes:
    content = encoded.contents(path) if size else b""
    if len(content) != size:
        raise ImageError(f"{path} has {len(content)} bytes, expected {size}. Copy it again.")
    return content


# -- many images in a file --------------------------------------------------------------------------------------------


def _from_shards(images: stored.Stored, order: Order, readers: int, epoch):
    """Pool after pool: its blocks are read in parallel, then its images are put in order."""
    block_of = _tfrecord_block(images) if images.form == "tfrecord" else _parquet_block(images)
    first_of = np.searchsorted(images.shard, np.arange(len(images.shards)))  # first image of each shard
    pools = functools.lru_cache(2)(order.pools)

    def plan(epoch, number):
        """Of each block: shard, start in it, first record, how many; of each image: place among those read, number."""
        rows = pools(int(epoch))[int(number)]
        blocks, block = np.unique(rows // BLOCK, return_inverse=True)
        first = blocks * BLOCK
        count = np.minimum(first + BLOCK, len(images)) - first
        place = (np.cumsum(count) - count)[block] + rows % BLOCK
        shard = images.shard[first]
        plan = shard, images.start[first], first - first_of[shard], count, place, rows
        return tuple(np.asarray(array, np.int64) for array in plan)

    @plain
    def pool(number):
        planned = tf.numpy_function(plain(plan), [epoch, number], [tf.int64] * 6)
        *blocks, place, rows = (tf.ensure_shape(array, [None]) for array in planned)
        images_read = (
            tf.data.Dataset.from_tensor_slices(tuple(blocks))
            .interleave(block_of, cycle_length=readers, num_parallel_calls=readers, deterministic=True)
            .unbatch()
            .batch(tf.reduce_sum(blocks[-1]))
        )

        @plain
        def in_order(*parts):
            return (rows, *(tf.gather(part, place) for part in parts), tf.fill(tf.shape(rows), ""))

        return images_read.map(in_order)

    return tf.data.Dataset.range(len(order.pools(0))).flat_map(pool).prefetch(1).unbatch()


def _tfrecord_block(images: stored.Stored):
    """A function that reads a block of a TFRecord file from its first byte on, and compares its checksums."""
    files = tf.constant([str(images.folder / shard.file) for shard in images.shards])
    features = {part: tf.io.FixedLenFeature([], tf.string, "") for part in stored.PARTS}

    @plain
    def block(shard, start, first, count):
        # The public TFRecordDataset cannot begin in the middle of a file; this operation below it can.
        variant = tf.raw_ops.TFRecordDatasetV2(
            filenames=[files[shard]], compression_type="", buffer_size=BUFFER, byte_offsets=[start]
        )
        records = tf.data.experimental.from_variant(variant, tf.TensorSpec([], tf.string)).ignore_errors().take(count)

        @plain
        def parsed(records):
            complete = tf.shape(records, tf.int64)[0] - 1  # the last one is the empty record that is added below
            message = tf.strings.join(
                ["<<", files[shard], ", record ", tf.strings.as_string(first + complete),
                 " is damaged: its checksum is wrong, or the file ends. Copy the file again, or convert again.>>"]
            )  # fmt: skip
            with tf.control_dependencies([tf.debugging.Assert(tf.equal(complete, count), [message])]):
                examples = tf.io.parse_example(records[:-1], features)
            return tuple(examples[part] for part in stored.PARTS)

        # With an empty record at the end there is a batch even if the first record cannot be read.
        return records.concatenate(tf.data.Dataset.from_tensors("")).batch(count + 1).map(parsed)

    return block


def _parquet_block(images: stored.Stored):
    """A function that reads a row group of a Parquet file with pyarrow, which compares the checksums of pages."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    def read(shard, first, count):
        file = images.folder / images.shards[shard].file
        try:
            with pq.ParquetFile(file, page_checksum_verification=True) as parquet:
                table = parquet.read_row_group(first // BLOCK, columns=list(stored.PARTS), use_threads=False)
                if table.num_rows != count:  # Arrow 18 leaves rows out where a page is damaged
                    raise pa.ArrowInvalid(f"{table.num_rows} records came in place of {count}")
        except (OSError, pa.ArrowException) as problem:
            raise ImageError(
                f"{file}, records from {first} on are damaged ({problem}). Copy the file again, or convert again."
            ) from None
        return [np.array(table[part].to_pylist(), object) for part in stored.PARTS]

    @plain
    def block(shard, start, first, count):
        parts = tf.numpy_function(plain(read), [shard, first, count], [tf.string] * len(stored.PARTS))
        return tf.data.Dataset.from_tensors(tuple(tf.ensure_shape(part, [None]) for part in parts))

    return block
