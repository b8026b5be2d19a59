"""Batches of tiles: as NumPy arrays and as a tf.data.Dataset. The same batches, both.

A batch is made from its epoch and its number alone, so threads may make batches in any order and a seed gives the same
batches on any machine. A capture is decoded once and cut into its tiles, not read again for each tile; what is small
stays in memory, what is large passes through a pool of captures.

Lab: case_groves.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from arsetlib.groves import pictures
from arsetlib.groves.changes import Augment, Changes, draw_changes
from arsetlib.groves.classes import Classes, GroveError
from arsetlib.groves.cutting import cut, places
from arsetlib.groves.kernels import fill
from arsetlib.groves.layouts import Capture, classes_of, read
from arsetlib.groves.sides import Dealt
from arsetlib.samples.windows import aligned

IN_MEMORY = 1 << 30  # bytes of decoded tiles that are kept


class Loader:
    """The tiles of captures, batch by batch.

    Args:
        captures: Labelled captures, or tiles of them from ``leaky_split``.
        classes: What the masks mean; None takes ``classes.toml`` of the captures' folder, or ground, tree and grass.
        size: Side of the squares that a model gets, pixels.
        grid: Cut each capture into (down, across) tiles and resample these to ``size``, as the thesis did with 5 × 7;
            None cuts tiles of ``size`` as they are.
        overlap: Pixels that tiles share at least.
        reduce: Before cutting, average blocks of so many pixels a side, and take the masks' middle pixels.
        batch: Tiles a batch; the last may be smaller.
        augment: True, or how.
        shuffle: Another order each epoch; None does so where tiles are augmented.
        seed: Same seed, same batches, whatever the number of threads.
        cache: ``"auto"`` keeps decoded tiles in memory up to a gigabyte, else decodes each capture once an epoch;
            ``"memory"``; ``"none"``; or a folder in which decoded tiles are kept between runs.
        pool: Captures that are in memory at a time where they are not all kept; tiles are shuffled within a pool.

    Raises:
        GroveError: An unknown option, a capture without a mask, an image smaller than a tile; while batches are made:
            files that cannot be read or do not match.

    Lab: case_groves.
    """

    def __init__(
        self,
        captures: Sequence[Capture] | Dealt,
        classes: Classes | None = None,
        size: int = 224,
        *,
        grid: tuple[int, int] | None = None,
        overlap: int = 0,
        reduce: int = 1,
        batch: int = 8,
        augment: bool | Augment = False,
        shuffle: bool | None = None,
        seed: int = 0,
        cache: str | Path = "auto",
        pool: int = 4,
    ):
        if isinstance(captures, Dealt):
            grid, overlap = _cut_as_dealt(captures, size, grid, overlap, reduce)
        self.captures = list(captures.captures if isinstance(captures, Dealt) else captures)
        self.size, self.grid, self.overlap, self.reduce = int(size), grid, overlap, int(reduce)
        self.batch_size, self.seed, self.pool = int(batch), int(seed), int(pool)
        self.augment = Augment() if augment is True else augment or None
        self.shuffle = bool(self.augment) if shuffle is None else shuffle
        if min(self.batch_size, self.size, self.reduce, self.pool) < 1 or not self.captures:
            raise GroveError(
                f"Expected captures, and batch, size, reduce and pool from 1, received {len(self.captures)} captures, "
                f"{batch}, {size}, {reduce} and {pool}."
            )
        self.classes = classes or classes_of(self.captures[0])
        bare = [c.image for c in self.captures if c.mask is None]
        if bare:
            raise GroveError(f"{bare[0]} has no mask. Label it, or predict it with a trained model.")
        per = [len(self._places(c)[0]) for c in self.captures]
        if isinstance(captures, Dealt):
            self.capture, self.tile, self.copy = captures.capture, captures.tile, captures.copy
        else:
            self.capture = np.repeat(np.arange(len(per)), per)
            self.tile = np.concatenate([np.arange(n) for n in per])
            self.copy = np.zeros(len(self.tile), np.intp)
        self.keys = np.cumsum([0, *per])[self.capture] + self.tile  # of a tile, whatever is dealt
        self.steps = -(-len(self.tile) // self.batch_size)
        total = sum(per) * self.size**2 * 4
        if cache == "auto":
            cache = "memory" if total <= IN_MEMORY else "none"
        self.streams = cache == "none"
        folder = Path(cache) if cache not in ("none", "memory") else None
        self.store = Store(self, 2 * self.pool if self.streams else len(per), folder)
        self._orders: OrderedDict = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self.steps

    def __getstate__(self):
        raise GroveError("A loader cannot be sent to another process. Make one there from the same arguments.")

    def batch(self, epoch: int, number: int) -> tuple[np.ndarray, np.ndarray]:
        """One batch.

        Returns:
            (B, S, S, 3) float32 images, 0 to 1; (B, S, S, K) float32 one-hot masks, all 0 where a pixel is ignored.

        Lab: case_groves.
        """
        order = self._order(epoch)
        rows = order[number * self.batch_size : (number + 1) * self.batch_size]
        changes = self._changes(rows, epoch)
        x = aligned((len(rows), self.size, self.size, 3), np.float32)
        y = aligned((len(rows), self.size, self.size, len(self.classes)), np.float32)
        for k, row in enumerate(rows):
            images, masks = self.store.get(int(self.capture[row]))
            fill(x, y, k, images[self.tile[row]], masks[self.tile[row]], changes)
        return x, y

    def arrays(self, epoch: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """All batches of one epoch, see ``batch``; the next is made while one is used."""
        with ThreadPoolExecutor(1) as pool:
            ahead = pool.submit(self.batch, epoch, 0)
            for number in range(self.steps):
                made = ahead.result()
                if number + 1 < self.steps:
                    ahead = pool.submit(self.batch, epoch, number + 1)
                yield made

    def dataset(self):
        """The batches as a ``tf.data.Dataset`` of known length; each pass over it is the next epoch, from 0 on.

        Needs TensorFlow. Passes count from the making of the data set, so a peek with ``next(iter(data))`` is one.
        """
        import tensorflow as tf

        side, kinds = self.size, len(self.classes)

        def made(epoch, number):
            x, y = tf.numpy_function(lambda e, n: self.batch(int(e), int(n)), [epoch, number], [tf.float32, tf.float32])
            x.set_shape([None, side, side, 3])
            y.set_shape([None, side, side, kinds])
            return x, y

        def of_epoch(epoch):
            numbers = tf.data.Dataset.range(self.steps)
            return numbers.map(lambda n: made(epoch, n), num_parallel_calls=_cores(), deterministic=True)

        if self.shuffle or self.augment:
            passes = itertools.count()
            now = tf.data.Dataset.range(1).map(
                lambda _: tf.ensure_shape(tf.numpy_function(lambda: np.int64(next(passes)), [], tf.int64), [])
            )
            data = now.flat_map(of_epoch).apply(tf.data.experimental.assert_cardinality(self.steps))
        else:
            data = of_epoch(tf.constant(0, tf.int64))
        options = tf.data.Options()
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
        return data.prefetch(2).with_options(options)

    def class_counts(self) -> np.ndarray:
        """(K,) int64, pixels of each class, before augmentation."""
        counts = np.zeros(256, np.int64)
        for k in range(len(self.captures)):
            mine = self.tile[(self.capture == k)]
            if len(mine):
                counts += np.bincount(self.store.get(k)[1][mine].ravel(), minlength=256)
        return counts[: len(self.classes)]

    # -- which tiles, in which order, changed how -------------------------------------------------------------------

    def _order(self, epoch: int) -> np.ndarray:
        """(N,) rows of an epoch: shuffled all together, or pool by pool where captures stream."""
        if not self.shuffle:
            return np.arange(len(self.tile))
        with self._lock:
            if epoch not in self._orders:
                rng = np.random.default_rng([self.seed, 3, epoch])
                if not self.streams:
                    order = rng.permutation(len(self.tile))
                else:
                    dealt = rng.permutation(len(self.captures))
                    pools = [dealt[k : k + self.pool] for k in range(0, len(dealt), self.pool)]
                    order = np.concatenate([rng.permutation(np.flatnonzero(np.isin(self.capture, p))) for p in pools])
                self._orders[epoch] = order
                while len(self._orders) > 4:
                    self._orders.popitem(last=False)
            return self._orders[epoch]

    def _changes(self, rows: np.ndarray, epoch: int) -> Changes:
        if self.augment:
            return draw_changes(self.augment, self.keys[rows] * 4 + self.copy[rows], self.seed, epoch)
        copy = self.copy[rows]
        if not copy.any():
            return Changes.none(len(rows))
        light = draw_changes(Augment(), self.keys[rows], self.seed)  # a copy is the same in every epoch
        one, relit = np.float32(1), copy == 3
        bright, contrast = (np.where(relit, v, one) for v in (light.brightness, light.contrast))
        return Changes(copy == 1, copy == 2, np.zeros(len(rows), np.intp), bright, contrast)

    # -- tiles of a capture -----------------------------------------------------------------------------------------

    def _places(self, capture: Capture):
        shape = tuple(n // self.reduce for n in pictures.size_of(capture.image))
        size = None if self.grid else self.size
        return places(shape, size, self.grid, self.overlap, str(capture.image))

    def decoded(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """(n, S, S, 3) uint8 tiles of a capture and (n, S, S) uint8 masks."""
        image, mask = read(self.captures[number], self.classes)
        if self.reduce > 1:
            image, mask = reduced(image, self.reduce), reduced_mask(mask, self.reduce)
        size = None if self.grid else self.size
        parts = [cut(array, size, self.grid, self.overlap).values for array in (image, mask)]
        return (_resampled(parts[0], self.size), _resampled_masks(parts[1], self.size)) if self.grid else tuple(parts)

    def described(self, number: int) -> str:
        """What a cached file of tiles depends on."""
        capture = self.captures[number]
        files = [(str(f.resolve()), f.stat().st_mtime_ns, f.stat().st_size) for f in (capture.image, capture.mask)]
        how = [self.size, self.grid, self.overlap, self.reduce, capture.layout, capture.number]
        return json.dumps([2, files, how, self.classes.keys, self.classes.colours, self.classes.boxes])


class Store:
    """Decoded tiles of captures: each capture is decoded once, by the first thread that asks; the others wait."""

    def __init__(self, loader: Loader, room: int, folder: Path | None):
        self.loader, self.room, self.folder = loader, room, folder
        self.kept: OrderedDict[int, tuple] = OrderedDict()
        self.locks = [threading.Lock() for _ in loader.captures]
        self.lock = threading.Lock()
        self.decodings = 0

    def get(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        with self.lock:
            if number in self.kept:
                self.kept.move_to_end(number)
                return self.kept[number]
        with self.locks[number]:
            with self.lock:
                if number in self.kept:
                    return self.kept[number]
            found = self._from_folder(number) if self.folder else self._decoded(number)
            with self.lock:
                self.kept[number] = found
                while len(self.kept) > self.room:
                    self.kept.popitem(last=False)
            return found

    def _decoded(self, number):
        with self.lock:
            self.decodings += 1
        return self.loader.decoded(number)

    def _from_folder(self, number):
        key = hashlib.sha256(self.loader.described(number).encode()).hexdigest()[:24]
        file = self.folder / f"{key}.npy"
        if not file.is_file():
            images, masks = self._decoded(number)
            self.folder.mkdir(parents=True, exist_ok=True)
            part = self.folder / f".{key}.{os.getpid()}.part"
            with part.open("wb") as out:
                np.save(out, np.concatenate([images.ravel(), masks.ravel()]), allow_pickle=False)
            os.replace(part, file)
        try:
            both = np.load(file, mmap_mode="r", allow_pickle=False)
            side, pixels = self.loader.size, len(both) // 4
        except (ValueError, TypeError, OSError, EOFError) as problem:
            raise GroveError(f"Cached tiles {file} are damaged ({problem}). Delete the file.") from None
        return both[:-pixels].reshape(-1, side, side, 3), both[-pixels:].reshape(-1, side, side)


def one_hot(masks: np.ndarray, count: int) -> np.ndarray:
    """(…, K) float32 of class numbers; all 0 where a number is of no class."""
    hot = np.zeros((*masks.shape, count), np.float32)
    for k in range(count):
        np.equal(masks, k, out=hot[..., k], casting="unsafe")
    return hot


def reduced(image: np.ndarray, by: int) -> np.ndarray:
    """Means of blocks of ``by`` × ``by`` pixels; rows and columns that fill no block are left out."""
    from PIL import Image

    high, wide = (n // by * by for n in image.shape[:2])
    return np.asarray(Image.fromarray(np.ascontiguousarray(image[:high, :wide])).reduce(by))


def reduced_mask(mask: np.ndarray, by: int) -> np.ndarray:
    """The middle pixel of each block of ``by`` × ``by``: a mask has no mean."""
    high, wide = (n // by * by for n in mask.shape[:2])
    return np.ascontiguousarray(mask[by // 2 : high : by, by // 2 : wide : by])


def batches(captures: Sequence[Capture] | Dealt, classes: Classes | None = None, size: int = 224, **options):
    """A ``tf.data.Dataset`` of (images, one-hot masks): (B, S, S, 3) and (B, S, S, K), float32.

    For training ``batches(train, augment=True, seed=1)``; for a test ``batches(test)``, the same each time.

    Args:
        captures, classes, size, **options: See ``Loader``.

    Returns:
        A data set of known length, ready for ``model.fit``; each pass is another epoch with new draws.

    Lab: case_groves.
    """
    return Loader(captures, classes, size, **options).dataset()


def arrays(
    captures: Sequence[Capture] | Dealt, classes: Classes | None = None, size: int = 224, *, epoch: int = 0, **options
):
    """The batches of ``batches`` as NumPy arrays, without TensorFlow.

    Args:
        captures, classes, size, **options: See ``Loader``.
        epoch: Which pass.

    Returns:
        Iterator over one epoch.

    Lab: case_groves.
    """
    return Loader(captures, classes, size, **options).arrays(epoch)


def _cut_as_dealt(dealt, size, grid, overlap, reduce):
    if grid not in (None, dealt.grid) or overlap not in (0, dealt.overlap) or reduce != 1:
        raise GroveError(
            f"These tiles were dealt with grid {dealt.grid} and overlap {dealt.overlap}; received grid {grid}, overlap "
            f"{overlap}, reduce {reduce}. Say so to leaky_split instead."
        )
    if dealt.size is None:
        return dealt.grid or (5, 7), dealt.overlap
    if dealt.size not in (size, (size, size)):
        raise GroveError(f"These tiles were dealt at size {dealt.size}, received {size}. Ask for the same size.")
    return None, dealt.overlap


def _resampled(tiles: np.ndarray, side: int) -> np.ndarray:
    from PIL import Image

    how = Image.Resampling.BOX if min(tiles.shape[1:3]) >= side else Image.Resampling.BILINEAR
    return np.stack([np.asarray(Image.fromarray(t).resize((side, side), how)) for t in tiles])


def _resampled_masks(tiles: np.ndarray, side: int) -> np.ndarray:
    rows, columns = (((np.arange(side) + 0.5) * n / side).astype(np.intp) for n in tiles.shape[1:3])
    return np.ascontiguousarray(tiles[:, rows[:, None], columns])


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
