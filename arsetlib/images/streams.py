"""Encoded images in the order that is asked, from each of the forms in which they are stored.

A stream is a ``tf.data.Dataset`` of (number, rgb, nir, mask, mask): the image's number and its files as strings; a mask
is empty where all pixels are valid. TFRecord and a directory are read by TensorFlow itself, Parquet and the files of
chips by Python.

Lab: case_field_images.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from arsetlib.images import source, stored
from arsetlib.images.classes import ImageError
from arsetlib.images.order import Order

BUFFER = 1 << 18  # bytes that TFRecord files are read by
TEXT = tf.TensorSpec([], tf.string)
NUMBERS = tf.TensorSpec([None], tf.int64)
plain = tf.autograph.experimental.do_not_convert  # our functions hold TensorFlow's operations only: nothing to convert


def stream_of(images, order: Order, readers: int) -> Callable:
    """The stream of an epoch: a function of its number, a () int64 tensor.

    Args:
        images: ``Stored`` images, or chips.
        order: Which images, in which order.
        readers: How many files are read at a time.
    """
    if not isinstance(images, stored.Stored):
        return lambda epoch: _of_files(images, order, readers, epoch)
    if images.form == "directory":
        return lambda epoch: _of_directory(images, order, readers, epoch)
    block = _tfrecord_block(images) if images.form == "tfrecord" else _parquet_block(images)
    return lambda epoch: _of_pools(images, order, readers, epoch, block)


# -- one file an image ------------------------------------------------------------------------------------------------


def _of_files(chips, order: Order, readers: int, epoch):
    """A plain Python generator for each reader; they take turns."""
    side = source.side_of(chips)

    @plain
    def generator(epoch, reader):
        for row in order.epoch(int(epoch))[int(reader) :: readers].tolist():
            paths = chips.paths(row)
            masks = [_read(path) for path in (paths.bounds, paths.masks)]
            yield row, source.jpeg(paths.rgb, side, 3), source.jpeg(paths.nir, side, 1), *masks

    signature = (tf.TensorSpec([], tf.int64), TEXT, TEXT, TEXT, TEXT)

    @plain
    def of(reader):
        return tf.data.Dataset.from_generator(generator, output_signature=signature, args=(epoch, reader))

    if readers == 1:
        return of(tf.constant(0, tf.int64))
    return tf.data.Dataset.range(readers).interleave(
        of, cycle_length=readers, block_length=1, num_parallel_calls=readers
    )


def _read(path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as problem:
        raise ImageError(f"{path} cannot be read ({problem.strerror}). Copy it again.") from None


def _of_directory(images: stored.Stored, order: Order, readers: int, epoch):
    """Files by name; sizes are compared with those that the index counts."""
    homes = tf.constant(
        [f"{images.folder}/{home}/{name}" for home, name in zip(images.homes, images.names, strict=True)]
    )
    sizes = tf.constant(images.sizes, tf.int64)

    @plain
    def read(row):
        parts = []
        for k, suffix in enumerate(stored.SUFFIXES):
            path, size = homes[row] + suffix, sizes[row, k]
            parts.append(tf.cond(size > 0, lambda p=path, s=size: whole(p, s), lambda: tf.constant("")))
        return (row, *parts, "")

    def whole(path, size):
        data = tf.io.read_file(path)
        seen = tf.strings.length(data)
        text = tf.strings.as_string
        said = tf.strings.join(["<<", path, " has ", text(seen), " bytes, expected ", text(size), ". Copy it again.>>"])
        with tf.control_dependencies([tf.debugging.Assert(tf.equal(tf.cast(seen, tf.int64), size), [said])]):
            return tf.identity(data)

    return _rows(order, epoch).map(read, num_parallel_calls=readers)


def _rows(order: Order, epoch):
    """Numbers of the images of an epoch."""
    rows = tf.numpy_function(lambda e: order.epoch(int(e)).astype(np.int64), [epoch], tf.int64)
    return tf.data.Dataset.from_tensor_slices(tf.ensure_shape(rows, [len(order)]))


# -- many images a file -----------------------------------------------------------------------------------------------


def _of_pools(images: stored.Stored, order: Order, readers: int, epoch, block: Callable):
    """Blocks of a pool, as many at a time as there are readers, then the pool in its order.

    Args:
        block: Of (file, start, first row in the file, count), () each: a data set of one element, the three parts of
            ``count`` images that lie side by side, (count,) string each.
    """
    first_of = np.searchsorted(images.shard, np.arange(len(images.shards)))  # a file's first image

    @plain
    def plan(epoch):
        for pool in order.pools(int(epoch)):
            low, high = (np.array([rows[k] for rows in pool.blocks]) for k in (0, -1))
            count = high - low + 1  # of a block that is read from its first to its last image in use
            shift = np.repeat(np.cumsum(count) - count - low, [len(rows) for rows in pool.blocks])
            rows = np.concatenate(pool.blocks)
            place = np.empty(int(pool.rows.max()) + 1, np.int64)
            place[rows] = rows + shift
            shard = images.shard[low]
            yield tuple(
                np.asarray(a, np.int64)
                for a in (shard, images.start[low], low - first_of[shard], count, place[pool.rows], pool.rows)
            )

    @plain
    def pool(shard, start, first, count, place, rows):
        blocks = tf.data.Dataset.from_tensor_slices((shard, start, first, count))
        blocks = blocks.interleave(block, cycle_length=readers, num_parallel_calls=readers, deterministic=True)
        together = blocks.unbatch().batch(tf.reduce_sum(count))

        @plain
        def in_order(*parts):
            return (rows, *(tf.gather(part, place) for part in parts), tf.fill(tf.shape(rows), ""))

        return together.map(in_order)

    plans = tf.data.Dataset.from_generator(plan, output_signature=(NUMBERS,) * 6, args=(epoch,))
    return plans.flat_map(pool).prefetch(1).unbatch()


def _tfrecord_block(images: stored.Stored) -> Callable:
    """Reads from a TFRecord file, from a byte on, and compares the checksums that are in it."""
    files = tf.constant([str(images.folder / shard.file) for shard in images.shards])
    features = {part: tf.io.FixedLenFeature([], tf.string) for part in stored.PARTS}

    @plain
    def block(shard, start, first, count):
        path = files[shard]
        found = tf.data.experimental.from_variant(
            tf.raw_ops.TFRecordDatasetV2(
                filenames=[path], compression_type="", buffer_size=BUFFER, byte_offsets=[start]
            ),
            TEXT,
        )
        # What cannot be read is left out here and counted below, so that the error can name the record.
        found = found.ignore_errors().take(count).concatenate(tf.data.Dataset.from_tensors(""))
        return found.batch(count + 1).map(plain(lambda records: parsed(records[:-1], path, first, count)))

    def parsed(records, path, first, count):
        seen = tf.shape(records, tf.int64)[0]
        said = tf.strings.join(
            ["<<", path, ", record ", tf.strings.as_string(first + seen), " is damaged: its checksum does not fit, or "
             "the file ends. Copy the file again, or convert again.>>"]
        )  # fmt: skip
        with tf.control_dependencies([tf.debugging.Assert(tf.equal(seen, count), [said])]):
            records = tf.identity(records)
        made = tf.io.parse_example(records, features)
        return tuple(made[part] for part in stored.PARTS)

    return block


def _parquet_block(images: stored.Stored) -> Callable:
    """Reads row groups of a Parquet file with pyarrow, which compares the checksums of its pages."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from arsetlib.images.order import BLOCK

    held = threading.local()  # open files of a thread: one is not for several at a time

    def opened(shard: int):
        files = held.__dict__.setdefault("files", {})
        if shard not in files:
            if len(files) > 64:
                files.pop(next(iter(files))).close()
            files[shard] = pq.ParquetFile(images.folder / images.shards[shard].file, page_checksum_verification=True)
        return files[shard]

    def read(shard, first, count):
        where = images.folder / images.shards[shard].file
        try:
            table = opened(int(shard)).read_row_group(int(first) // BLOCK, columns=list(stored.PARTS))
        except (OSError, pa.ArrowException) as problem:
            raise ImageError(
                f"{where}, records from {first // BLOCK * BLOCK} on are damaged ({problem}). Copy the file again, or "
                "convert again."
            ) from None
        table = table.slice(int(first) % BLOCK, int(count))
        return tuple(table[part].to_numpy() for part in stored.PARTS)

    @plain
    def block(shard, start, first, count):
        parts = tf.numpy_function(read, [shard, first, count], [tf.string] * 3)
        return tf.data.Dataset.from_tensors(tuple(tf.ensure_shape(part, [None]) for part in parts))

    return block
