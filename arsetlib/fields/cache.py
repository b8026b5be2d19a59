"""Decoded pixels in memory, so that later epochs do not decode.

Lab: case_fields.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from arsetlib.fields.classes import ImageError
from arsetlib.fields.order import Order

if TYPE_CHECKING:
    import tensorflow as tf

    from arsetlib.fields.loading import ChipBatches


class PixelCache:
    """The pixels of all images of ``ChipBatches``, decoded when the first batch is requested.

    ``tf.data.Dataset.cache`` returns its elements only in the order in which it stored them; here each epoch has
    another order, the same as without a cache.

    Raises:
        ImageError: There is not enough memory.
    """

    def __init__(self, batches: ChipBatches):
        self.batches, self.rows = batches, np.sort(batches.order.rows)
        self.shape = (len(self.rows), batches.size, batches.size, 4)
        self.lock, self.pixels = threading.Lock(), None
        needed, free = int(np.prod(self.shape)), _free_memory()
        if free is not None and needed > free:
            raise ImageError(
                f"The pixels of {len(self.rows):,} images take {needed / 1e9:,.2f} GB, {free / 1e9:,.2f} GB of memory "
                "are free. Leave cache out, use a smaller size, or convert the images with encoding='raw'."
            )

    def gather(self, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """A batch of numbers → the numbers and (B, size, size, 4) uint8 pixels."""
        import tensorflow as tf

        @tf.autograph.experimental.do_not_convert
        def gathered(rows):
            return self._decoded()[np.searchsorted(self.rows, rows)]

        pixels = tf.numpy_function(gathered, [rows], tf.uint8)
        return rows, tf.ensure_shape(pixels, [None, *self.shape[1:]])

    def _decoded(self) -> np.ndarray:
        import tensorflow as tf

        with self.lock:
            if self.pixels is None:
                pixels = np.empty(self.shape, np.uint8)
                with self.batches.named_errors():
                    images = self.batches.decoded(Order(self.rows), tf.constant(0, tf.int64))
                    for k, (_, image) in enumerate(images.as_numpy_iterator()):
                        pixels[k] = image
                self.pixels = pixels
            return self.pixels


def _free_memory() -> int | None:
    """Bytes that can be had, or None where the system does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")), None)
