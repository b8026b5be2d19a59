"""Decoded pixels in memory or in a file, so that later epochs and runs do not decode.

Lab: case_fields.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
from pathlib import Path

import numpy as np

from arsetlib import folders
from arsetlib.fields import encoded, stored
from arsetlib.fields.classes import ImageError
from arsetlib.fields.order import Order


class PixelCache:
    """The pixels of all images of ``ChipBatches``, decoded when the first batch is requested.

    ``tf.data.Dataset.cache`` returns its elements only in the order in which it stored them; here each epoch has
    another order, the same as without a cache. And a file that a killed process left is never taken for complete.

    Args:
        batches: The ChipBatches.
        folder: Where the file is; None keeps the pixels in memory.

    Raises:
        ImageError: There is not enough space.
    """

    def __init__(self, batches, folder: Path | None):
        self.batches, self.rows = batches, np.sort(batches.order.rows)
        self.shape = (len(self.rows), batches.size, batches.size, 4)
        self.bytes = int(np.prod(self.shape))
        self.file = None if folder is None else folder / f"{self._identity()[:32]}.pixels"
        self.lock, self.pixels = threading.Lock(), None
        free, where = _free_memory(), "memory"
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            stored_before = self.file.stat().st_size if self.file.is_file() else 0
            free, where = shutil.disk_usage(folder).free + stored_before, folder
        if free is not None and self.bytes > free:
            raise ImageError(
                f"The pixels of {len(self.rows):,} images take {self.bytes / 1e9:,.2f} GB, {free / 1e9:,.2f} GB of "
                f"{where} are free. Leave cache out, name a folder on a larger disk, or use a smaller size."
            )

    def gather(self, rows):
        """A batch of numbers → the numbers and (B, size, size, 4) uint8 pixels, as TensorFlow."""
        import tensorflow as tf

        @tf.autograph.experimental.do_not_convert
        def gathered(rows):
            return self._pixels()[np.searchsorted(self.rows, rows)]

        pixels = tf.numpy_function(gathered, [rows], tf.uint8)
        return rows, tf.ensure_shape(pixels, [None, *self.shape[1:]])

    def _pixels(self) -> np.ndarray:
        with self.lock:
            if self.pixels is None:
                self.pixels = self._in_memory() if self.file is None else self._in_file()
            return self.pixels

    def _in_memory(self) -> np.ndarray:
        pixels = np.empty(self.shape, np.uint8)
        self._decode(pixels)
        return pixels

    def _in_file(self) -> np.ndarray:
        """The file, mapped into memory; it is written first if it is not there."""

        def write(half: Path) -> None:
            pixels = np.memmap(half, np.uint8, "w+", shape=self.shape)
            self._decode(pixels)
            pixels.flush()

        if not self.file.is_file() or self.file.stat().st_size != self.bytes:
            folders.put(self.file, write)
        return np.memmap(self.file, np.uint8, "r", shape=self.shape)

    def _decode(self, pixels: np.ndarray) -> None:
        import tensorflow as tf

        with self.batches.named_errors():
            images = self.batches.decoded(Order(self.rows), tf.constant(0, tf.int64))
            for k, (_, image) in enumerate(images.as_numpy_iterator()):
                pixels[k] = image

    def _identity(self) -> str:
        """Of images and shape: the same for all formats that hold the same JPEG files."""
        images = self.batches.source
        if isinstance(images, stored.Stored):
            what = [images.identity, images.encoding, images.side]
        else:
            what = [encoded.identity(images, encoded.sizes_of(images)), "jpeg", encoded.side_of(images)]
        digest = hashlib.sha256(json.dumps([1, what, self.shape]).encode())
        digest.update(np.ascontiguousarray(self.rows, "<i8").tobytes())
        return digest.hexdigest()


def _free_memory() -> int | None:
    """Bytes that can be had, or None where the system does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")), None)
