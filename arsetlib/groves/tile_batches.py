"""Batches of tiles: as NumPy arrays and as a tf.data.Dataset. Both are the same batches.

A batch depends on its epoch and its number alone, so threads may make batches in any order and a seed gives the same
batches on any machine. A capture is decoded once and cut into its tiles, not read again for each tile. Small data stay
in memory; of large data only a pool of captures is in memory at a time.

Lab: case_groves.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from arsetlib import folders, processes, seeds
from arsetlib.groves import pictures
from arsetlib.groves.capture import Capture, classes_of, read
from arsetlib.groves.changes import Augment, Changes, draw_changes
from arsetlib.groves.classes import Classes, GroveError
from arsetlib.groves.cutting import GRID, cut, places
from arsetlib.groves.kernels import fill
from arsetlib.groves.sides import TileSplit
from arsetlib.samples.passes import epochs
from arsetlib.samples.windows import aligned

if TYPE_CHECKING:
    import tensorflow as tf

IN_MEMORY = 1 << 30  # bytes of decoded tiles that are kept


class TileBatches:
    """The tiles of captures, batch by batch.

    Args:
        captures: Labelled captures, or tiles of them from ``leaky_split``.
        classes: Of the masks; None takes ``classes.toml`` of the captures' folder, or ground, tree and grass.
        size: Side of the squares that a model gets, pixels.
        grid: Cut each capture into (down, across) tiles and resample these to ``size``, as the thesis did with 5 × 7;
            None cuts tiles of ``size`` without resampling.
        overlap: Pixels that tiles share at least.
        batch: Tiles a batch; the last may be smaller.
        augment: True, or how.
        shuffle: Another order each epoch; None shuffles where tiles are augmented.
        seed: Same seed, same batches, whatever the number of threads.
        cache: ``"auto"`` keeps decoded tiles in memory up to a gigabyte, else decodes each capture once an epoch;
            ``"memory"``; ``"none"``; or a folder in which decoded tiles are kept between runs.
        pool: Captures in memory at a time where not all are kept; tiles are shuffled within a pool.

    Raises:
        GroveError: An unknown option, a capture without a mask, an image smaller than a tile; while batches are made:
            files that cannot be read or do not match.

    Lab: case_groves.
    """

    def __init__(
        self,
        captures: Sequence[Capture] | TileSplit,
        classes: Classes | None = None,
        size: int = 224,
        *,
        grid: tuple[int, int] | None = None,
        overlap: int = 0,
        batch: int = 8,
        augment: bool | Augment = False,
        shuffle: bool | None = None,
        seed: int = 0,
        cache: str | Path = "auto",
        pool: int = 4,
    ):
        if isinstance(captures, TileSplit):
            grid, overlap = _cut_as_split(captures, size, grid, overlap)
        self.captures = list(captures.captures if isinstance(captures, TileSplit) else captures)
        self.size, self.grid, self.overlap = int(size), grid, overlap
        self.batch_size, self.seed, self.pool = int(batch), int(seed), int(pool)
        self.augment = Augment() if augment is True else augment or None
        self.shuffle = bool(self.augment) if shuffle is None else shuffle
        if min(self.batch_size, self.size, self.pool) < 1 or not self.captures:
            raise GroveError(
                f"Expected captures, and batch, size and pool from 1, received {len(self.captures)} captures, {batch}, "
                f"{size} and {pool}."
            )
        self.classes = classes or classes_of(self.captures[0])
        if unlabelled := [c.image for c in self.captures if c.mask is None]:
            raise GroveError(f"{unlabelled[0]} has no mask. Label it, or predict it with a trained model.")
        per = [len(self._places(c)[0]) for c in self.captures]
        if isinstance(captures, TileSplit):
            self.capture, self.tile, self.copy = captures.capture, captures.tile, captures.copy
        else:
            self.capture = np.repeat(np.arange(len(per)), per)
            self.tile = np.concatenate([np.arange(n) for n in per])
            self.copy = np.zeros(len(self.tile), np.intp)
        self.keys = np.cumsum([0, *per])[self.capture] + self.tile  # of a tile, whatever the split
        self.steps = -(-len(self.tile) // self.batch_size)
        if cache == "auto":
            cache = "memory" if sum(per) * self.size**2 * 4 <= IN_MEMORY else "none"
        self.streams = cache == "none"
        folder = folders.place(cache) if cache not in ("none", "memory") else None
        if folder is not None and not folders.on_disk(cache):
            raise GroveError(f"Expected cache to be a folder on a disk of this machine, received {cache}.")
        self.cache = TileCache(self, 2 * self.pool if self.streams else len(per), folder)
        self._order = functools.lru_cache(maxsize=4)(self._order_of)

    def __len__(self) -> int:
        """Batches in an epoch."""
        return self.steps

    def __getstate__(self):
        raise GroveError("Batches of tiles cannot be sent to another process. Make one there from the same arguments.")

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
            images, masks = self.cache.get(int(self.capture[row]))
            fill(x, y, k, images[self.tile[row]], masks[self.tile[row]], changes)
        return x, y

    def arrays(self, epoch: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """All batches of one epoch, see ``batch``; the next is made while one is used."""
        with ThreadPoolExecutor(1) as pool:
            ahead = pool.submit(self.batch, epoch, 0)
            for number in range(self.steps):
                ready = ahead.result()
                if number + 1 < self.steps:
                    ahead = pool.submit(self.batch, epoch, number + 1)
                yield ready

    def dataset(self) -> tf.data.Dataset:
        """The batches as a ``tf.data.Dataset`` of known length; each pass over it is the next epoch, from 0 on.

        Needs TensorFlow. ``next(iter(data))`` is a pass, too.
        """
        import tensorflow as tf

        side, kinds = self.size, len(self.classes)

        def batch(epoch, number):
            x, y = tf.numpy_function(lambda e, n: self.batch(int(e), int(n)), [epoch, number], [tf.float32, tf.float32])
            x.set_shape([None, side, side, 3])
            y.set_shape([None, side, side, kinds])
            return x, y

        def of_epoch(epoch):
            numbers = tf.data.Dataset.range(self.steps)
            return numbers.map(lambda n: batch(epoch, n), num_parallel_calls=processes.cores(), deterministic=True)

        return epochs(of_epoch, self.steps, None if self.shuffle or self.augment else 0)

    def class_counts(self) -> np.ndarray:
        """(K,) int64, pixels of each class, before augmentation."""
        counts = np.zeros(256, np.int64)
        for k in range(len(self.captures)):
            mine = self.tile[(self.capture == k)]
            if len(mine):
                counts += np.bincount(self.cache.get(k)[1][mine].ravel(), minlength=256)
        return counts[: len(self.classes)]

    # -- which tiles, in which order, with which changes ------------------------------------------------------------

    def _order_of(self, epoch: int) -> np.ndarray:
        """(N,) rows of an epoch: shuffled all together, or pool by pool where not all captures are kept."""
        if not self.shuffle:
            return np.arange(len(self.tile))
        rng = seeds.generator(self.seed, "groves", "order", epoch)
        if not self.streams:
            return rng.permutation(len(self.tile))
        captures = rng.permutation(len(self.captures))
        pools = [captures[k : k + self.pool] for k in range(0, len(captures), self.pool)]
        return np.concatenate([rng.permutation(np.flatnonzero(np.isin(self.capture, pool))) for pool in pools])

    def _changes(self, rows: np.ndarray, epoch: int) -> Changes:
        if self.augment:
            return draw_changes(self.augment, self.keys[rows] * 4 + self.copy[rows], self.seed, epoch)
        copy = self.copy[rows]
        if not copy.any():
            return Changes.none(len(rows))
        light = draw_changes(Augment(), self.keys[rows], self.seed)  # a copy is the same in each epoch
        one, relit = np.float32(1), copy == 3
        bright, contrast = (np.where(relit, v, one) for v in (light.brightness, light.contrast))
        return Changes(copy == 1, copy == 2, np.zeros(len(rows), np.intp), bright, contrast)

    # -- tiles of a capture -----------------------------------------------------------------------------------------

    def _places(self, capture: Capture):
        size = None if self.grid else self.size
        return places(pictures.size_of(capture.image), size, self.grid, self.overlap, str(capture.image))

    def decoded(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """(n, S, S, 3) uint8 tiles of a capture and (n, S, S) uint8 masks."""
        image, mask = read(self.captures[number], self.classes)
        size = None if self.grid else self.size
        parts = [cut(array, size, self.grid, self.overlap).values for array in (image, mask)]
        return (_resampled(parts[0], self.size), _resampled_masks(parts[1], self.size)) if self.grid else tuple(parts)

    def settings(self, number: int) -> str:
        """Everything that the tiles of a capture depend on, as text."""
        capture = self.captures[number]
        files = [(str(f.resolve()), f.stat().st_mtime_ns, f.stat().st_size) for f in (capture.image, capture.mask)]
        how = [self.size, self.grid, self.overlap, capture.layout, capture.number]
        return json.dumps([3, files, how, self.classes.keys, self.classes.colours, self.classes.boxes])


class TileCache:
    """Decoded tiles of captures: each capture is decoded once, by the first thread that asks; the others wait."""

    def __init__(self, batches: TileBatches, capacity: int, folder: Path | None):
        self.batches, self.capacity, self.folder = batches, capacity, folder
        self.tiles: OrderedDict[int, tuple] = OrderedDict()
        self.locks = [threading.Lock() for _ in batches.captures]
        self.lock = threading.Lock()
        self.decodings = 0

    def get(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Tiles and masks of a capture, see ``TileBatches.decoded``."""
        with self.lock:
            if number in self.tiles:
                self.tiles.move_to_end(number)
                return self.tiles[number]
        with self.locks[number]:
            with self.lock:
                if number in self.tiles:
                    return self.tiles[number]
            tiles = self._from_folder(number) if self.folder else self._decoded(number)
            with self.lock:
                self.tiles[number] = tiles
                while len(self.tiles) > self.capacity:
                    self.tiles.popitem(last=False)
            return tiles

    def _decoded(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        with self.lock:
            self.decodings += 1
        return self.batches.decoded(number)

    def _from_folder(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        key = hashlib.sha256(self.batches.settings(number).encode()).hexdigest()[:24]
        file = self.folder / f"{key}.npy"
        if not file.is_file():
            both = io.BytesIO()
            np.save(both, np.concatenate([part.ravel() for part in self._decoded(number)]), allow_pickle=False)
            folders.put(file, both.getvalue())
        try:
            both = np.load(file, mmap_mode="r", allow_pickle=False)
            side, pixels = self.batches.size, len(both) // 4
        except (ValueError, TypeError, OSError, EOFError) as problem:
            raise GroveError(f"Cached tiles {file} are damaged ({problem}). Delete the file.") from None
        return both[:-pixels].reshape(-1, side, side, 3), both[-pixels:].reshape(-1, side, side)


def batches(
    captures: Sequence[Capture] | TileSplit, classes: Classes | None = None, size: int = 224, **options: Any
) -> tf.data.Dataset:
    """A ``tf.data.Dataset`` of (images, one-hot masks): (B, S, S, 3) and (B, S, S, K), float32.

    For training ``batches(train, augment=True, seed=1)``; for a test ``batches(test)``, the same each time.

    Args:
        captures, classes, size, **options: See ``TileBatches``.

    Returns:
        A data set of known length, ready for ``model.fit``; each pass is another epoch with new draws.

    Lab: case_groves.
    """
    return TileBatches(captures, classes, size, **options).dataset()


def arrays(
    captures: Sequence[Capture] | TileSplit,
    classes: Classes | None = None,
    size: int = 224,
    *,
    epoch: int = 0,
    **options: Any,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The batches of ``batches`` as NumPy arrays, without TensorFlow.

    Args:
        captures, classes, size, **options: See ``TileBatches``.
        epoch: Which pass.

    Returns:
        Iterator over one epoch.

    Lab: case_groves.
    """
    return TileBatches(captures, classes, size, **options).arrays(epoch)


def _cut_as_split(tiles: TileSplit, size, grid, overlap):
    if grid not in (None, tiles.grid) or overlap not in (0, tiles.overlap):
        raise GroveError(
            f"These tiles were split with grid {tiles.grid} and overlap {tiles.overlap}; received grid {grid}, overlap "
            f"{overlap}. State them in leaky_split instead."
        )
    if tiles.size is None:
        return tiles.grid or GRID, tiles.overlap
    if tiles.size not in (size, (size, size)):
        raise GroveError(f"These tiles were split at size {tiles.size}, received {size}. Ask for the same size.")
    return None, tiles.overlap


def _resampled(tiles: np.ndarray, side: int) -> np.ndarray:
    from PIL import Image

    how = Image.Resampling.BOX if min(tiles.shape[1:3]) >= side else Image.Resampling.BILINEAR
    return np.stack([np.asarray(Image.fromarray(t).resize((side, side), how)) for t in tiles])


def _resampled_masks(tiles: np.ndarray, side: int) -> np.ndarray:
    rows, columns = (((np.arange(side) + 0.5) * n / side).astype(np.intp) for n in tiles.shape[1:3])
    return np.ascontiguousarray(tiles[:, rows[:, None], columns])
