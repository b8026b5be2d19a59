"""Batches for training and scoring, from stored images or from arrays, for one process or a share for each of several.

Lab: case_fields.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from arsetlib.fields.classes import CLASSES, ImageError
from arsetlib.training.run import digest_arrays

KINDS = ("multi", "single")


class ArrayFeed:
    """Batches of arrays in memory, in another order each epoch.

    Args:
        x: (N, S, S, C) uint8 0..255 or float32 0..1.
        y: (N, K) 0 or 1; with one 1 a row where one class is there.
        batch: Images a step, in this process.
        shuffle: Another order each epoch.
        seed: Of the order.
        part: (k, n): this process is number k of n; each step's images are shared among them.
        whole: Leave out the last images that fill no step, so that all processes take as many steps.
    """

    def __init__(self, x, y, *, batch: int, shuffle: bool, seed: int, part=(0, 1), whole: bool = False):
        self.x, self.y = np.asarray(x), np.asarray(y, np.float32)
        if self.x.ndim != 4 or self.y.ndim != 2 or len(self.x) != len(self.y) or not len(self.x):
            raise ImageError(
                f"Expected images (N, S, S, C) and labels (N, K), received {self.x.shape} and {self.y.shape}."
            )
        if not np.isin(self.y, (0, 1)).all():
            raise ImageError("Expected labels of 0 and 1, one column a class, received other values.")
        self.batch, self.shuffle, self.seed, self.part = batch, shuffle, seed, part
        step = batch * part[1]
        self.total = len(self.x)
        self.steps = self.total // step if whole else -(-self.total // step)
        if not self.steps:
            raise ImageError(f"{self.total} images fill no batch of {step}. Take a smaller one.")
        self.counts = self.y.sum(axis=0).astype(int)
        self.classes = (
            CLASSES if self.y.shape[1] == len(CLASSES) else tuple(f"class {k}" for k in range(self.y.shape[1]))
        )
        self.size, self.channels = self.x.shape[1], self.x.shape[3]
        self.simulated = False

    @property
    def identity(self) -> str:
        return digest_arrays([self.x, self.y])

    def explain(self, epoch: int, step: int) -> str:
        """What to do where the loss of a step is not finite."""
        return "Take a lower learning_rate, and look at the images with fields.check."

    def batches(self, epoch: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The batches of an epoch: (B, S, S, C) float32 in 0..1, (B, K) float32."""
        order = np.arange(self.total)
        if self.shuffle:
            order = np.random.default_rng([self.seed, epoch]).permutation(self.total)
        (k, n), step = self.part, self.batch * self.part[1]
        for i in range(self.steps):
            mine = order[i * step : (i + 1) * step][k::n]
            if len(mine):
                yield as_float(self.x[mine]), self.y[mine]


class StoredFeed:
    """Batches of stored images, see ``fields.Loader``; the arguments are those of ``feed``."""

    channels = 4

    def __init__(self, source, *, batch, size, kind, shuffle, augment, seed, part, whole, cache):
        from arsetlib import fields

        self.loader = fields.images(
            source, batch=batch, size=size, shuffle=shuffle, augment=augment, seed=seed, part=part, kind=kind,
            cache=cache, drop_remainder=whole,
        )  # fmt: skip
        held = self.loader.source
        labels = np.asarray(held.labels)
        if kind == "single":
            labels = labels[labels.sum(axis=1) == 1]
        self.labels, self.names = labels, held.names
        self.total, self.counts = len(labels), labels.sum(axis=0, dtype=int)
        # Parts differ by one image at most; all must take as many steps.
        self.steps = self.total // part[1] // batch if whole else self.loader.steps
        if not self.steps:
            raise ImageError(
                f"{self.total} images of {held.folder} fill no batch of {batch * part[1]}. Take a smaller one."
            )
        self.classes, self.size, self.simulated = tuple(self.loader.classes), size, bool(held.simulated)

    @property
    def identity(self) -> str:
        """What the images are, whatever form they are stored in."""
        names = np.frombuffer("\n".join(map(str, self.names)).encode(), np.uint8)
        return digest_arrays([names, self.labels])

    def explain(self, epoch: int, step: int) -> str:
        """What to do where the loss of a step is not finite."""
        return ArrayFeed.explain(self, epoch, step)

    def batches(self, epoch: int = 0):
        """The batches of an epoch: (B, S, S, 4) float32 in 0..1, (B, 9) float32; tensors."""
        with self.loader.explaining():
            yield from self.loader.epoch(epoch)


def feed(
    source, *, batch: int, size: int, kind: str, shuffle=False, augment=False, seed=0, part=(0, 1), whole=False,
    cache=False,
):  # fmt: skip
    """Batches of a source: Chips or a converted folder (see ``fields.images``), or a pair of arrays (x, y).

    Raises:
        ImageError: Arrays that do not fit each other or the kind; what ``fields.images`` refuses.
    """
    if isinstance(source, tuple | list):
        made = ArrayFeed(*source, batch=batch, shuffle=shuffle, seed=seed, part=part, whole=whole)
        if kind == "single" and not (made.y.sum(axis=1) == 1).all():
            raise ImageError("kind='single' needs labels with exactly one 1 in each row. Leave the others out.")
        return made
    if not isinstance(source, str | Path) and not hasattr(source, "names"):
        raise ImageError(f"Expected Chips, a converted folder or arrays (x, y), received {type(source).__name__}.")
    return StoredFeed(
        source, batch=batch, size=size, kind=kind, shuffle=shuffle, augment=augment, seed=seed, part=part, whole=whole,
        cache=cache,
    )  # fmt: skip


def as_float(x) -> np.ndarray:
    """uint8 0..255 as float32 0..1; what is float already stays."""
    return x.astype(np.float32) / np.float32(255) if x.dtype == np.uint8 else np.asarray(x, np.float32)
