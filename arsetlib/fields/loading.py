"""One way to feed field images to a model, whatever the form in which they are stored.

    train = fields.images("data/fields_tfrecord", size=224, batch=32, shuffle=True, augment=True, seed=1)
    model.fit(train.dataset, epochs=10)

Chips, a directory, TFRecord and Parquet give the same pixels in the same order for the same seed. Files are read,
decoded, made smaller, put into batches and augmented by threads of TensorFlow, some batches ahead of the model, and no
more is in memory than the images of a pool and these batches.

Lab: case_fields.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np

from arsetlib.fields import source, stored
from arsetlib.fields.classes import CLASSES, ImageError
from arsetlib.fields.order import Order
from arsetlib.groves.changes import Augment, draw_changes

CHANGES = Augment(contrast=(1, 1))  # contrast would lift invalid pixels from 0
KINDS = ("multi", "single")
NAMED = re.compile(r"<<(.*?)>>", re.DOTALL)  # how our own messages are marked within TensorFlow's
RAISED = re.compile(r"ImageError: (.*?)(?:\nTraceback|\n\n|\Z)", re.DOTALL)


def images(source, **options) -> Loader:
    """Batches of images and classes from chips or from a converted folder: see ``Loader``.

    Lab: case_fields.
    """
    return Loader(source, **options)


class Loader:
    """The images of a source, batch by batch.

    Args:
        source: Chips, read by plain Python, or a folder that ``fields.convert`` made.
        batch: Images a batch; the last of an epoch may be smaller.
        size: Side of the squares that a model gets, pixels.
        shuffle: Another order each epoch.
        augment: True, or which changes: mirrored, turned, relit.
        seed: Same seed, same order and changes, in every form, on every machine.
        cache: False decodes images in each epoch. ``"memory"`` decodes them once and keeps the pixels; a folder keeps
            them on disk, for the next run too.
        part: (k, n), the k-th of n workers, from 0: no image is lost and none is of two workers.
        readers: Files that are read at a time.
        deterministic: False gives out a batch as soon as it is ready, in an order that changes from run to run.
        drop_remainder: Leave out the last batch if it is smaller.
        kind: ``multi``: every image, all its classes. ``single``: only images with exactly one class.
        pool: Images that are shuffled together, and in memory while they are; blocks of 32 are shuffled before.

    Attributes:
        dataset: (x, y) batches: x (B, size, size, 4) float32, 0 to 1, red, green, blue, near infrared, 0 where invalid;
            y (B, 9) float32, 1 for each class. Each pass over it is the next epoch, from 0 on.
        steps: Batches of an epoch.
        labels: (n, 9) uint8 of the images of this part, by ascending number.
        counts: Class → images of this part that show it.
        dropped: Images left out because ``kind="single"`` has no place for them.
        classes: Names of the nine.

    Raises:
        ImageError: Unknown options, a source that is incomplete; while batches are made: a damaged file or record.

    Lab: case_fields.
    """

    def __init__(
        self,
        source,
        *,
        batch: int = 32,
        size: int = 224,
        shuffle: bool = False,
        augment: bool | Augment = False,
        seed: int = 0,
        cache: bool | str | Path = False,
        part: tuple[int, int] = (0, 1),
        readers: int = 2,
        deterministic: bool = True,
        drop_remainder: bool = False,
        kind: str = "multi",
        pool: int = 512,
    ):
        self.source = stored.load(source) if isinstance(source, str | Path) else source
        self.batch_size, self.size, self.seed, self.readers = int(batch), int(size), int(seed), int(readers)
        self.deterministic, self.drop_remainder, self.kind = deterministic, drop_remainder, kind
        self.augment = CHANGES if augment is True else augment or None
        self.classes = CLASSES
        if min(self.batch_size, self.readers) < 1 or self.size < 8 or kind not in KINDS or cache is True:
            raise ImageError(
                f"Expected batch and readers from 1, size from 8, kind {' | '.join(KINDS)}, and cache False, 'memory' "
                f"or a folder; received {batch}, {readers}, {size}, {kind!r} and {cache!r}."
            )
        if self.augment and tuple(self.augment.contrast) != (1, 1):
            raise ImageError(
                f"Expected an Augment with contrast=(1, 1), received {self.augment.contrast}: another one would change "
                "invalid pixels, which are 0."
            )
        of_all = np.asarray(self.source.labels)
        used = np.flatnonzero(of_all.sum(1) == 1) if kind == "single" else np.arange(len(of_all))
        self.dropped = len(of_all) - len(used)
        if not len(used):
            raise ImageError(f"No image of {self.source.folder} has exactly one class. Use kind='multi'.")
        self.order = Order(used, shuffle, self.seed, part, pool)
        self.labels = of_all[np.sort(self.order.rows)]
        self.counts = {name: int(n) for name, n in zip(CLASSES, self.labels.sum(0, dtype=int), strict=True)}
        self.steps = len(self.order) // self.batch_size if drop_remainder else -(-len(self.order) // self.batch_size)
        if not self.steps:
            raise ImageError(f"{len(self.order)} images fill no batch of {batch}. Use a smaller batch.")
        self.cache = None
        if cache:
            from arsetlib.fields.kept import Kept

            self.cache = Kept(self, None if cache == "memory" else Path(cache))

    def __len__(self) -> int:
        return self.steps

    def __getstate__(self):
        raise ImageError("A loader cannot be sent to another process. Make one there from the same arguments.")

    def rows(self, epoch: int = 0) -> np.ndarray:
        """(n,) numbers of the images of an epoch, in the order in which they come."""
        return self.order.epoch(epoch)

    @cached_property
    def dataset(self):
        """A ``tf.data.Dataset`` of (x, y); each pass over it is the next epoch, from 0 on.

        An error of a damaged record comes as TensorFlow's own, with file and record in it; ``explaining`` shortens it.
        """
        import tensorflow as tf

        if not (self.order.shuffle or self.augment):
            return self.epoch(0)
        passes = itertools.count()
        plain = tf.autograph.experimental.do_not_convert

        @plain
        def now(_):
            return tf.ensure_shape(tf.numpy_function(plain(lambda: np.int64(next(passes))), [], tf.int64), [])

        return self._ready(tf.data.Dataset.range(1).map(now).flat_map(plain(self._batches)))

    def epoch(self, number: int):
        """A ``tf.data.Dataset`` of one epoch: each pass over it is the same."""
        import tensorflow as tf

        return self._ready(self._batches(tf.constant(number, tf.int64)))

    def arrays(self, epoch: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The batches of one epoch as NumPy arrays.

        Raises:
            ImageError: A file or record cannot be read; the message names it.
        """
        with self.explaining():
            yield from self.epoch(epoch).as_numpy_iterator()

    @contextlib.contextmanager
    def explaining(self):
        """Within, an error of TensorFlow that a damaged image causes becomes an ``ImageError`` that names it."""
        import tensorflow as tf

        try:
            yield
        except tf.errors.OpError as problem:
            said = NAMED.search(problem.message) or RAISED.search(problem.message)
            if said:
                raise ImageError(said.group(1).strip()) from None
            if "jpeg" in problem.message.lower() or "png" in problem.message.lower():
                where = self._damaged()
                if where:
                    raise ImageError(f"{where} cannot be decoded. Copy it again, or leave the image out.") from None
            raise

    # -- how batches are made ---------------------------------------------------------------------------------------

    def _ready(self, data):
        import tensorflow as tf

        options = tf.data.Options()
        options.deterministic = self.deterministic
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
        return data.apply(tf.data.experimental.assert_cardinality(self.steps)).prefetch(2).with_options(options)

    def _batches(self, epoch):
        """(x, y) of an epoch, a () int64 tensor."""
        import tensorflow as tf

        if self.cache:
            from arsetlib.fields.streams import rows_of

            numbers = rows_of(self.order, epoch)
            data = numbers.batch(self.batch_size, drop_remainder=self.drop_remainder)
            data = data.map(tf.autograph.experimental.do_not_convert(self.cache.looked_up), num_parallel_calls=_cores())
        else:
            data = self.decoded(self.order, epoch).batch(self.batch_size, drop_remainder=self.drop_remainder)
        labels = tf.constant(np.asarray(self.source.labels), tf.uint8)
        changes = self._changes(epoch)

        @tf.autograph.experimental.do_not_convert
        def finished(rows, pixels):
            from arsetlib.fields import decode

            y = tf.cast(tf.gather(labels, rows), tf.float32)
            if changes is None:
                return tf.cast(pixels, tf.float32) / 255, y
            return decode.changed(pixels, *(tf.gather(change, rows) for change in changes)), y

        return data.map(finished, num_parallel_calls=2)

    def decoded(self, order: Order, epoch):
        """A ``tf.data.Dataset`` of (number, (size, size, 4) uint8 pixels) in an order."""
        from arsetlib.fields.streams import stream_of

        return stream_of(self.source, order, self.readers)(epoch).map(self.decoding(), num_parallel_calls=_cores())

    def decoding(self):
        """The function of TensorFlow that makes the pixels of one element of a stream."""
        import tensorflow as tf

        from arsetlib.fields import decode

        converted = isinstance(self.source, stored.Stored)
        side = self.source.side if converted else source.side_of(self.source)
        raw = converted and self.source.encoding == "raw"
        names = tf.constant(np.asarray(self.source.names).astype(str))

        @tf.autograph.experimental.do_not_convert
        def pixels(row, rgb, nir, *masks):
            if raw:
                return row, decode.raw_pixels(rgb, nir, side, self.size)
            return row, decode.pixels_of(rgb, nir, masks, side, self.size, names[row])

        return pixels

    def _changes(self, epoch):
        """Of all images: mirror, flip, turn, factor of the light, (N,) each."""
        import tensorflow as tf

        if self.augment is None:
            return None
        count = len(self.source.names)

        @tf.autograph.experimental.do_not_convert
        def drawn(epoch):
            found = draw_changes(self.augment, np.arange(count), self.seed, int(epoch))
            return found.mirror, found.flip, found.turn.astype(np.int64), found.brightness

        kinds = [tf.bool, tf.bool, tf.int64, tf.float32]
        return [tf.ensure_shape(array, [count]) for array in tf.numpy_function(drawn, [epoch], kinds)]

    def _damaged(self) -> str | None:
        """The first image that cannot be decoded: all are tried, one after the other."""
        import tensorflow as tf

        from arsetlib.fields.streams import stream_of

        order = Order(np.sort(self.order.rows))
        decode = tf.function(self.decoding(), autograph=False)
        for parts in stream_of(self.source, order, 1)(tf.constant(0, tf.int64)):
            try:
                decode(*parts)
            except tf.errors.OpError:
                row = int(parts[0])
                return (
                    self.source.place(row)
                    if isinstance(self.source, stored.Stored)
                    else str(self.source.paths(row).rgb)
                )
        return None


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
