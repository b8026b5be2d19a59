"""Batches for training and scoring: of stored images, or of arrays in memory.

Lab: case_fields.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from arsetlib import folders, seeds
from arsetlib.checksums import digest_arrays
from arsetlib.fields.chips import Chips
from arsetlib.fields.classes import CLASSES, ImageError
from arsetlib.fields.loading import KINDS, ChipBatches
from arsetlib.groves.changes import Augment

__all__ = ["KINDS", "ArrayBatches", "as_float", "feed"]


class ArrayBatches:
    """Batches of arrays in memory, with the attributes of ``ChipBatches`` that training and scoring use.

    Args:
        x: (N, S, S, C) uint8 0..255 or float32 0..1.
        y: (N, K) 0 or 1.
        batch: Images of a step, in this process.
        shuffle: Another order in each epoch.
        seed: Of the order.
        part: (k, n): this process is number k of n, which share the images of each step.
        drop_remainder: Leave out the last images that fill no step, so that all processes take as many steps.
    """

    simulated = False

    def __init__(
        self,
        x: np.ndarray,
        y: np.ndarray,
        *,
        batch: int,
        shuffle: bool = False,
        seed: int = 0,
        part: tuple[int, int] = (0, 1),
        drop_remainder: bool = False,
    ):
        self.x, self.y = np.asarray(x), np.asarray(y, np.float32)
        if self.x.ndim != 4 or self.y.ndim != 2 or len(self.x) != len(self.y) or not len(self.x):
            raise ImageError(
                f"Expected images (N, S, S, C) and labels (N, K), received {self.x.shape} and {self.y.shape}."
            )
        if not np.isin(self.y, (0, 1)).all():
            raise ImageError("Expected labels of 0 and 1, one column per class, received other values.")
        self.shuffle, self.seed, self.part, self.step = shuffle, seed, part, batch * part[1]
        self.total, count = self.y.shape
        self.steps = self.total // self.step if drop_remainder else -(-self.total // self.step)
        if not self.steps:
            raise ImageError(f"{self.total} images fill no batch of {self.step}. Use a smaller batch.")
        self.counts = self.y.sum(axis=0).astype(int)
        self.classes = CLASSES if count == len(CLASSES) else tuple(f"class {k}" for k in range(count))
        self.size, self.channels = self.x.shape[1], self.x.shape[3]

    @property
    def identity(self) -> str:
        """Of the arrays."""
        return digest_arrays([self.x, self.y])[:16]

    def batches(self, epoch: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The batches of an epoch: (B, S, S, C) float32 in 0..1, (B, K) float32."""
        order = np.arange(self.total)
        if self.shuffle:
            order = seeds.generator(self.seed, "order", epoch).permutation(self.total)
        k, n = self.part
        for i in range(self.steps):
            rows = order[i * self.step : (i + 1) * self.step][k::n]
            if len(rows):
                yield as_float(self.x[rows]), self.y[rows]


def feed(
    source: Chips | str | Path | tuple,
    *,
    batch: int,
    size: int,
    kind: str,
    augment: bool | Augment = False,
    cache: bool = False,
    **options: Any,
) -> ChipBatches | ArrayBatches:
    """Batches of a source.

    Args:
        source: Chips or a converted folder (see ``ChipBatches``), or a pair of arrays (x, y), which are neither
            augmented nor cached.
        batch, size, kind, augment, cache, options: Of ``ChipBatches``.

    Raises:
        ImageError: Arrays that do not fit each other or the kind; what ``ChipBatches`` refuses.
    """
    if isinstance(source, tuple | list):
        arrays = ArrayBatches(*source, batch=batch, **options)
        if kind == "single" and not (arrays.y.sum(axis=1) == 1).all():
            raise ImageError("kind='single' needs labels with exactly one 1 in each row. Leave the others out.")
        return arrays
    if not folders.is_place(source) and not hasattr(source, "names"):
        raise ImageError(f"Expected Chips, a converted folder or arrays (x, y), received {type(source).__name__}.")
    return ChipBatches(source, batch=batch, size=size, kind=kind, augment=augment, cache=cache, **options)


def as_float(x: np.ndarray) -> np.ndarray:
    """uint8 0..255 as float32 0..1; floats are returned as they are."""
    return x.astype(np.float32) / np.float32(255) if x.dtype == np.uint8 else np.asarray(x, np.float32)
