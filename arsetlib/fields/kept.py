"""Decoded pixels that are kept, in memory or in a file: later epochs and runs do not decode.

Lab: case_fields.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from pathlib import Path

import numpy as np

from arsetlib.fields import source, stored
from arsetlib.fields.classes import ImageError
from arsetlib.fields.order import Order


class Kept:
    """The pixels of a loader's images, decoded once, when the first is asked for.

    Args:
        loader: Whose.
        folder: Where the file is; None keeps them in memory.

    Raises:
        ImageError: They have no room there.
    """

    def __init__(self, loader, folder: Path | None):
        self.loader, self.rows = loader, np.sort(loader.order.rows)
        self.shape = (len(self.rows), loader.size, loader.size, 4)
        self.lock, self.pixels = threading.Lock(), None
        self.file = None if folder is None else folder / f"{self._identity()[:32]}.pixels"
        need = int(np.prod(self.shape))
        if folder is None:
            free = _free_memory()
            where = "memory"
        else:
            folder.mkdir(parents=True, exist_ok=True)
            there = self.file.stat().st_size if self.file.is_file() else 0
            state = os.statvfs(folder) if hasattr(os, "statvfs") else None
            free = state.f_bavail * state.f_frsize + there if state else None
            where = str(folder)
        if free is not None and need > free:
            raise ImageError(
                f"The pixels of {len(self.rows):,} images take {need / 1e9:,.2f} GB, {free / 1e9:,.2f} GB of {where} "
                "are free. Leave cache out, name a folder on a larger disk, or use a smaller size."
            )

    def looked_up(self, rows):
        """A batch of numbers → the numbers and (B, size, size, 4) uint8 pixels, as TensorFlow."""
        import tensorflow as tf

        @tf.autograph.experimental.do_not_convert
        def gathered(rows):
            return np.take(self._all(), np.searchsorted(self.rows, rows), axis=0)

        pixels = tf.numpy_function(gathered, [rows], tf.uint8)
        return rows, tf.ensure_shape(pixels, [None, *self.shape[1:]])

    def _all(self) -> np.ndarray:
        with self.lock:
            if self.pixels is None:
                self.pixels = self._filled() if self.file is None else self._from_file()
            return self.pixels

    def _filled(self, into: np.ndarray | None = None) -> np.ndarray:
        import tensorflow as tf

        into = np.empty(self.shape, np.uint8) if into is None else into
        with self.loader.explaining():
            found = self.loader.decoded(Order(self.rows), tf.constant(0, tf.int64))
            for k, (_, pixels) in enumerate(found.as_numpy_iterator()):
                into[k] = pixels
        return into

    def _from_file(self) -> np.ndarray:
        """The file, mapped into memory; made first where it is not there."""
        whole = self.file.is_file() and self.file.stat().st_size == int(np.prod(self.shape))
        if not whole:
            hidden = self.file.with_name(f".{self.file.name}.{os.getpid()}.partial")
            try:
                made = np.memmap(hidden, np.uint8, "w+", shape=self.shape)
                self._filled(made)
                made.flush()
                del made
                os.replace(hidden, self.file)
            finally:
                hidden.unlink(missing_ok=True)
        return np.memmap(self.file, np.uint8, "r", shape=self.shape)

    def _identity(self) -> str:
        images = self.loader.source
        if isinstance(images, stored.Stored):
            what = [images.identity, images.encoding, images.side]
        else:
            what = [source.identity(images, source.sizes(images)), "jpeg", source.side_of(images)]
        seal = hashlib.sha256(json.dumps([1, what, self.shape]).encode())
        seal.update(np.ascontiguousarray(self.rows, "<i8").tobytes())
        return seal.hexdigest()


def _free_memory() -> int | None:
    """Bytes that can be had, or None where the system does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")), None)
