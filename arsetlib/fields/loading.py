"""Batches of field images for a model, from every storage format.

    train = fields.batches("data/fields_tfrecord", size=224, batch=32, shuffle=True, augment=True, seed=1)
    model.fit(train.dataset, epochs=10)

Chips, a directory, TFRecord and Parquet give the same pixels in the same order for the same seed. Threads of TensorFlow
read, decode, reduce and augment some batches ahead of the model. Memory holds the images of a pool and these batches,
however large the set is.

Lab: case_fields.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from arsetlib import folders, processes
from arsetlib.checksums import digest_arrays
from arsetlib.fields import stored
from arsetlib.fields.chips import Chips
from arsetlib.fields.classes import CLASSES, ImageError
from arsetlib.fields.order import Order
from arsetlib.groves.changes import Augment, draw_changes
from arsetlib.samples.passes import epochs

if TYPE_CHECKING:
    import tensorflow as tf

CHANGES = Augment(contrast=(1, 1))  # contrast would change invalid pixels, which are 0
KINDS = ("multi", "single")  # several classes at once, or exactly one
MARKED = re.compile(r"<<(.*?)>>", re.DOTALL)  # our own messages within those of TensorFlow
RAISED = re.compile(r"ImageError: (.*?)(?:\nTraceback|\n\n|\Z)", re.DOTALL)


def batches(source: Chips | str | Path, **options: Any) -> ChipBatches:
    """Batches of images and classes, from chips or from a converted folder. Options are those of ``ChipBatches``.

    >>> import tempfile; from arsetlib import fields, simulate
    >>> folder = simulate.fields(tempfile.mkdtemp(), fields=2, chips=2, size=32, progress=False)
    >>> train = batches(fields.agriculture_vision(folder), size=16, batch=3, shuffle=True, seed=1)
    >>> train
    ChipBatches(4 simulated images, 2 batches of 3, 16 px)
    >>> [(x.shape, y.shape) for x, y in train.arrays()]
    [((3, 16, 16, 4), (3, 9)), ((1, 16, 16, 4), (1, 9))]

    Lab: case_fields.
    """
    return ChipBatches(source, **options)


class ChipBatches:
    """The images of a source, batch by batch.

    Args:
        source: Chips, or a folder that ``fields.convert`` wrote.
        batch: Images in a batch; the last one of an epoch may be smaller.
        size: Side of the images that the model gets, pixels.
        shuffle: Another order in each epoch.
        augment: True, or which changes: mirror, turn, brightness.
        seed: Same seed, same order and changes, for every format, every machine and any number of threads.
        cache: Decode the images once and keep the pixels in memory. ``fields.convert(…, encoding="raw")`` keeps them
            on disk.
        part: (k, n), the k-th of n workers, from 0: each image belongs to exactly one worker.
        readers: Files that are read at a time.
        drop_remainder: Leave out the last batch if it is smaller; all workers then have the same number of batches.
        kind: ``multi``: every image, with all its classes. ``single``: only images with exactly one class.
        pool: Images that are shuffled together, and in memory meanwhile; blocks of 32 images are shuffled before.

    Attributes:
        dataset: (x, y) batches: x (B, size, size, 4) float32, 0 to 1, red, green, blue, near infrared, 0 where invalid;
            y (B, 9) float32, 1 for each class. Each pass over it is the next epoch, from 0 on.
        steps: Batches of an epoch.
        total: Images of all parts.
        counts: (9,) images of all parts that show each class.
        dropped: Images left out because they do not have exactly one class (``kind="single"``).
        classes: Names of the nine.
        simulated: Whether the images are.

    Raises:
        ImageError: Invalid options, an incomplete source; while batches are made: a damaged file or record.

    Lab: case_fields.
    """

    channels, classes = 4, CLASSES

    def __init__(
        self,
        source: Chips | str | Path,
        *,
        batch: int = 32,
        size: int = 224,
        shuffle: bool = False,
        augment: bool | Augment = False,
        seed: int = 0,
        cache: bool = False,
        part: tuple[int, int] = (0, 1),
        readers: int = 2,
        drop_remainder: bool = False,
        kind: str = "multi",
        pool: int = 512,
    ):
        self.source = stored.load(source) if folders.is_place(source) else source
        self.batch, self.size, self.seed, self.readers = int(batch), int(size), int(seed), int(readers)
        self.augment, self.cache = CHANGES if augment is True else augment or None, cache
        if min(self.batch, self.readers) < 1 or self.size < 8 or kind not in KINDS or cache not in (True, False):
            raise ImageError(
                f"Expected batch and readers from 1, size from 8, kind {' | '.join(KINDS)}, and cache True or False; "
                f"received {batch}, {readers}, {size}, {kind!r} and {cache!r}."
            )
        if self.augment and tuple(self.augment.contrast) != (1, 1):
            raise ImageError(
                f"Expected an Augment with contrast=(1, 1), received {self.augment.contrast}: another one would change "
                "invalid pixels, which are 0."
            )
        labels = np.asarray(self.source.labels)
        used = np.flatnonzero(labels.sum(1) == 1) if kind == "single" else np.arange(len(labels))
        if not len(used):
            raise ImageError(f"No image of {self.source.folder} has exactly one class. Use kind='multi'.")
        self.labels = labels[used]
        self.total, self.dropped = len(used), len(labels) - len(used)
        self.counts = self.labels.sum(axis=0, dtype=int)
        self.simulated = bool(self.source.simulated)
        self.order = Order(used, shuffle, self.seed, part, pool)
        self.steps = self.total // part[1] // self.batch if drop_remainder else -(-len(self.order) // self.batch)
        if not self.steps:
            raise ImageError(
                f"{self.total} images of {self.source.folder} fill no batch of {self.batch * part[1]}. Use a smaller "
                "batch."
            )
        if cache:
            self._check_memory()

    def __len__(self) -> int:
        return self.steps

    def __repr__(self) -> str:
        says = "simulated " if self.simulated else ""
        return f"ChipBatches({len(self.order):,} {says}images, {self.steps:,} batches of {self.batch}, {self.size} px)"

    def __getstate__(self):
        raise ImageError("ChipBatches cannot be sent to another process. Make them there from the same arguments.")

    @property
    def identity(self) -> str:
        """Of the images in use, whatever format they are stored in."""
        names = np.frombuffer("\n".join(map(str, self.source.names)).encode(), np.uint8)
        return digest_arrays([names, self.labels])[:16]

    def rows(self, epoch: int = 0) -> np.ndarray:
        """(n,) numbers of the images of an epoch, in their order."""
        return self.order.epoch(epoch)

    @cached_property
    def dataset(self) -> tf.data.Dataset:
        """A ``tf.data.Dataset`` of (x, y); each pass over it is the next epoch, from 0 on.

        If a record is damaged, TensorFlow raises an error of its own that names file and record; within
        ``named_errors`` it is an ImageError.
        """
        return self.epoch(None if self.order.shuffle or self.augment else 0)

    def epoch(self, number: int | None) -> tf.data.Dataset:
        """A ``tf.data.Dataset`` of one epoch: each pass over it is the same. None: each pass is the next epoch."""
        if self.cache:
            self._pixels  # noqa: B018  decoded now, not within TensorFlow
        return epochs(self._batches, self.steps, number, shared=False)

    def batches(self, epoch: int = 0) -> Iterator[tuple]:
        """The batches (x, y) of one epoch as tensors.

        Raises:
            ImageError: A file or record cannot be read; the message names it.
        """
        with self.named_errors():
            yield from self.epoch(epoch)

    def arrays(self, epoch: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The batches (x, y) of one epoch as NumPy arrays; raises as ``batches``."""
        for x, y in self.batches(epoch):
            yield x.numpy(), y.numpy()

    @contextlib.contextmanager
    def named_errors(self) -> Iterator[None]:
        """Within, an error of TensorFlow that a damaged image causes becomes an ``ImageError`` that names it."""
        import tensorflow as tf

        try:
            yield
        except tf.errors.OpError as problem:
            text = MARKED.search(problem.message) or RAISED.search(problem.message)
            if text:
                raise ImageError(text.group(1).strip()) from None
            if re.search("jpeg|png", problem.message, re.IGNORECASE) and (place := self._damaged()):
                raise ImageError(f"{place} cannot be decoded. Copy it again, or leave the image out.") from None
            raise

    # -- how batches are made ---------------------------------------------------------------------------------------

    def _batches(self, epoch):
        """(x, y) of an epoch, a () int64 tensor."""
        import tensorflow as tf

        from arsetlib.fields import decode

        plain = tf.autograph.experimental.do_not_convert
        data = self._from_memory(epoch) if self.cache else self.decoded(self.order, epoch).batch(self.batch)
        labels = tf.constant(np.asarray(self.source.labels), tf.uint8)
        changes = self._changes(epoch)

        @plain
        def scaled(rows, pixels):
            y = tf.cast(tf.gather(labels, rows), tf.float32)
            if changes is None:
                return tf.cast(pixels, tf.float32) / 255, y
            return decode.changed(pixels, *(tf.gather(change, rows) for change in changes)), y

        return data.take(self.steps).map(scaled, num_parallel_calls=2)

    def decoded(self, order: Order, epoch: tf.Tensor) -> tf.data.Dataset:
        """A ``tf.data.Dataset`` of (number, (size, size, 4) uint8 pixels) in an order; ``epoch`` a () int64 tensor."""
        from arsetlib.fields.streams import stream_of

        stream = stream_of(self.source, order, self.readers, epoch)
        return stream.map(self.decoder(), num_parallel_calls=processes.cores())

    def decoder(self) -> Callable:
        """The function of TensorFlow that makes the pixels of one element of a stream."""
        import tensorflow as tf

        from arsetlib.fields import decode

        side, names = self.source.side, tf.constant(self.source.names)

        @tf.autograph.experimental.do_not_convert
        def pixels(row, rgb, nir, *masks):
            if self.source.encoding == "raw":
                return row, decode.raw_pixels(rgb, nir, side, self.size)
            return row, decode.pixels_of(rgb, nir, masks, side, self.size, names[row])

        return pixels

    def _changes(self, epoch):
        """Of all images: mirror, flip, turn, brightness factor, (N,) each."""
        import tensorflow as tf

        if self.augment is None:
            return None
        count = len(self.source.names)

        @tf.autograph.experimental.do_not_convert
        def drawn(epoch):
            changes = draw_changes(self.augment, np.arange(count), self.seed, int(epoch))
            return changes.mirror, changes.flip, changes.turn.astype(np.int64), changes.brightness

        kinds = [tf.bool, tf.bool, tf.int64, tf.float32]
        return [tf.ensure_shape(array, [count]) for array in tf.numpy_function(drawn, [epoch], kinds)]

    def _damaged(self) -> str | None:
        """Where the first image lies that cannot be decoded; all are tried, one after the other."""
        import tensorflow as tf

        from arsetlib.fields.streams import stream_of

        decode = tf.function(self.decoder(), autograph=False)
        for parts in stream_of(self.source, Order(np.sort(self.order.rows)), 1, tf.constant(0, tf.int64)):
            try:
                decode(*parts)
            except tf.errors.OpError:
                return self.source.place(int(parts[0]))
        return None

    # -- decoded once: tf.data.Dataset.cache would keep one order, and each epoch has its own ------------------------

    @cached_property
    def _pixels(self) -> np.ndarray:
        """(n, size, size, 4) uint8 of all images of this worker, by number."""
        import tensorflow as tf

        rows = np.sort(self.order.rows)
        pixels = np.empty((len(rows), self.size, self.size, 4), np.uint8)
        with self.named_errors():
            images = self.decoded(Order(rows), tf.constant(0, tf.int64))
            for k, (_, image) in enumerate(images.as_numpy_iterator()):
                pixels[k] = image
        return pixels

    def _from_memory(self, epoch):
        import tensorflow as tf

        from arsetlib.fields.streams import rows_of

        rows, pixels = np.sort(self.order.rows), self._pixels

        @tf.autograph.experimental.do_not_convert
        def gathered(numbers):
            found = tf.numpy_function(lambda numbers: pixels[np.searchsorted(rows, numbers)], [numbers], tf.uint8)
            return numbers, tf.ensure_shape(found, [None, *pixels.shape[1:]])

        return rows_of(self.order, epoch).batch(self.batch).map(gathered, num_parallel_calls=processes.cores())

    def _check_memory(self) -> None:
        needed = len(self.order) * self.size**2 * 4
        try:
            lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        except OSError:  # a system that does not tell
            return
        free = next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")), needed)
        if needed > free:
            raise ImageError(
                f"The pixels of {len(self.order):,} images take {needed / 1e9:,.2f} GB, {free / 1e9:,.2f} GB of memory "
                "are free. Leave cache out, use a smaller size, or convert the images with encoding='raw'."
            )
