"""Encoded images in the order that is asked, from each of the forms in which they are stored.

A stream is a ``tf.data.Dataset`` of (number, rgb, nir, mask, mask): the image's number and its files as strings; a mask
is empty where all pixels are valid. TFRecord and a directory are read by TensorFlow itself, Parquet and the files of
chips by Python.

Lab: case_fields.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tensorflow as tf

from arsetlib.fields import source, stored
from arsetlib.fields.classes import ImageError
from arsetlib.fields.order import BLOCK, Order

BUFFER = 1 << 18  # bytes that TFRecord files are read by
TEXT = tf.TensorSpec([], tf.string)
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
    return lambda epoch: _of_pools(images, order, readers, epoch)


# -- one file an image ------------------------------------------------------------------------------------------------


def _of_files(chips, order: Order, readers: int, epoch):
    """Plain Python reads the files of an image when its turn comes.

    Not through ``Dataset.from_generator``: that has the C library give memory back at once, and slows all that follows.
    """
    side = source.side_of(chips)

    def files(row):
        paths = chips.paths(int(row))
        masks = [_read(path) for path in (paths.bounds, paths.masks)]
        return source.jpeg(paths.rgb, side, 3), source.jpeg(paths.nir, side, 1), *masks

    @plain
    def read(row):
        return (row, *(tf.ensure_shape(part, []) for part in tf.numpy_function(plain(files), [row], [tf.string] * 4)))

    return rows_of(order, epoch).map(read, num_parallel_calls=readers)


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

    return rows_of(order, epoch).map(read, num_parallel_calls=readers)


def rows_of(order: Order, epoch):
    """Numbers of the images of an epoch."""
    rows = tf.numpy_function(plain(lambda e: order.epoch(int(e)).astype(np.int64)), [epoch], tf.int64)
    return tf.data.Dataset.from_tensor_slices(tf.ensure_shape(rows, [len(order)]))


# -- many images a file -----------------------------------------------------------------------------------------------


def _of_pools(images: stored.Stored, order: Order, readers: int, epoch):
    """Pool after pool, one being read while another is given out."""
    first_of = np.searchsorted(images.shard, np.arange(len(images.shards)))  # a file's first image

    pools = functools.lru_cache(2)(order.pools)
    lock = threading.Lock()

    def plan(epoch, number):
        with lock:
            pool = pools(int(epoch))[int(number)]
        low, high = (np.array([rows[k] for rows in pool.blocks]) for k in (0, -1))
        count = high - low + 1  # of a block that is read from its first to its last image in use
        shift = np.repeat(np.cumsum(count + 1) - count - 1 - low, [len(rows) for rows in pool.blocks])
        rows = np.concatenate(pool.blocks)
        by_number = np.argsort(rows)
        at = by_number[np.searchsorted(rows, pool.rows, sorter=by_number)]
        shard = images.shard[low]
        found = (shard, images.start[low], low - first_of[shard], count, (rows + shift)[at], pool.rows)
        return tuple(np.asarray(array, np.int64) for array in found)

    @plain
    def planned(number):
        return tuple(
            tf.ensure_shape(a, [None]) for a in tf.numpy_function(plain(plan), [epoch, number], [tf.int64] * 6)
        )

    @plain
    def in_order(rows, place, *parts):
        return (rows, *(tf.gather(part, place) for part in parts), tf.fill(tf.shape(rows), ""))

    plans = tf.data.Dataset.range(len(order.pools(0))).map(planned)
    read = _tfrecord_pools if images.form == "tfrecord" else _parquet_pools
    return read(plans, images, readers).map(in_order).prefetch(1).unbatch()


# A pool's blocks lie one after the other, each with an empty record behind it: so an image that is missing shows where.


def _tfrecord_pools(plans, images: stored.Stored, readers: int):
    """Reads TFRecord files, each block from its first byte on, and compares the checksums that are in them."""
    files = tf.constant([str(images.folder / shard.file) for shard in images.shards])
    features = {part: tf.io.FixedLenFeature([], tf.string, "") for part in stored.PARTS}

    @plain
    def block(shard, start, count):
        found = tf.raw_ops.TFRecordDatasetV2(
            filenames=[files[shard]], compression_type="", buffer_size=BUFFER, byte_offsets=[start]
        )
        # What cannot be read is left out here and found below, so that the error can name the record.
        records = tf.data.experimental.from_variant(found, TEXT).ignore_errors().take(count)
        return records.concatenate(tf.data.Dataset.from_tensors("")).batch(count + 1)

    @plain
    def pool(shard, start, first, count, place, rows):
        blocks = tf.data.Dataset.from_tensor_slices((shard, start, count))
        records = blocks.interleave(
            block, cycle_length=readers, num_parallel_calls=readers, deterministic=True
        ).unbatch()

        @plain
        def parsed(records):
            ends = tf.where(tf.equal(records, ""))[:, 0]
            seen = ends - tf.concat([[tf.constant(-1, tf.int64)], ends[:-1]], 0) - 1
            short = tf.argmax(tf.cast(seen < count, tf.int64))
            said = tf.strings.join(
                ["<<", files[shard[short]], ", record ", tf.strings.as_string(first[short] + seen[short]),
                 " is damaged: its checksum does not fit, or the file ends. Copy the file again, or convert again.>>"]
            )  # fmt: skip
            with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(tf.equal(seen, count)), [said])]):
                made = tf.io.parse_example(tf.identity(records), features)
            return (rows, place, *(made[part] for part in stored.PARTS))

        return records.batch(tf.reduce_sum(count + 1)).map(parsed)

    return plans.flat_map(pool)


def _parquet_pools(plans, images: stored.Stored, readers: int):
    """Reads row groups of Parquet files with pyarrow, which compares the checksums of pages."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    held = threading.local()  # open files of a thread: one is not for several at a time
    threads = ThreadPoolExecutor(readers)

    def opened(shard: int):
        files = held.__dict__.setdefault("files", {})
        if shard not in files:
            if len(files) > 64:
                files.pop(next(iter(files))).close()
            files[shard] = pq.ParquetFile(images.folder / images.shards[shard].file, page_checksum_verification=True)
        return files[shard]

    def block(shard: int, first: int, count: int):
        try:
            table = opened(shard).read_row_group(first // BLOCK, columns=list(stored.PARTS), use_threads=False)
        except (OSError, pa.ArrowException) as problem:
            where = images.folder / images.shards[shard].file
            raise ImageError(
                f"{where}, records from {first // BLOCK * BLOCK} on are damaged ({problem}). Copy the file again, or "
                "convert again."
            ) from None
        table = table.slice(first % BLOCK, count)
        return [[*table[part].to_pylist(), b""] for part in stored.PARTS]

    def pool(shard, first, count):
        blocks = list(threads.map(block, shard.tolist(), first.tolist(), count.tolist()))
        return [np.array([one for part in parts for one in part], object) for parts in zip(*blocks, strict=True)]

    @plain
    def read(shard, start, first, count, place, rows):
        parts = tf.numpy_function(plain(pool), [shard, first, count], [tf.string] * 3)
        return (rows, place, *(tf.ensure_shape(part, [None]) for part in parts))

    return plans.map(read)
