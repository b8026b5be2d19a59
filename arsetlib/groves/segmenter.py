"""A trained segmentation model with what is needed to use it: classes, size, scale. In memory and as a folder.

Lab: case_groves.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from arsetlib.checksums import digest_arrays
from arsetlib.groves.classes import CLASSES as PUBLISHED
from arsetlib.groves.classes import GroveError
from arsetlib.models import card as files

CLASSES, COLOURS = PUBLISHED.keys, PUBLISHED.colours


@dataclass(eq=False, repr=False)
class Segmenter:
    """A model and how to feed it.

    Attributes:
        model: keras.Model, (B, S, S, C) in 0..1 → (B, S, S, K).
        classes: (K,) names, in the order of the class numbers.
        colours: (K,) "#rrggbb", of maps.
        shrink: Capture pixels per model pixel along each axis, as in training. The thesis cut a capture into 35 tiles
            of 582 × 544 pixels and gave each as 224 × 224, so about 2.5.
        history: Name → one value an epoch.
        notes: Seed, versions, counts, and whether the data were simulated.

    Lab: case_groves.
    """

    model: Any
    classes: tuple[str, ...] = CLASSES
    colours: tuple[str, ...] = COLOURS
    shrink: float = 1.0
    history: dict = field(default_factory=dict)
    notes: dict = field(default_factory=dict)

    def __post_init__(self):
        self.classes, self.colours = tuple(self.classes), tuple(self.colours)
        outputs = self.model.output_shape[-1]
        if len(self.classes) != outputs:
            raise GroveError(f"The model has {outputs} classes, but {len(self.classes)} are named: {self.classes}.")
        if len(self.colours) < len(self.classes):
            raise GroveError(f"Expected a colour for each of {self.classes}, received {self.colours}.")
        if not self.shrink > 0:
            raise GroveError(f"Expected shrink above 0, capture pixels per model pixel, received {self.shrink}.")
        self._calls = {}

    def __repr__(self) -> str:
        simulated = "SIMULATED, " if self.notes.get("simulated") else ""
        size = " × ".join(map(str, self.size))
        return f"Segmenter({self.model.name!r}, {simulated}{size} px, {', '.join(self.classes)})"

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of a tile as the model takes it."""
        return tuple(self.model.input_shape[1:3])

    @property
    def channels(self) -> int:
        return self.model.input_shape[3]

    def shares(self, tiles: np.ndarray) -> np.ndarray:
        """Class shares of a batch of tiles.

        Args:
            tiles: (B, S, S, C) uint8 0..255. One compiled function serves each B: keep it the same.

        Returns:
            (B, S, S, K) float32, rows sum to 1.
        """
        call = self._calls.get(len(tiles))
        if call is None:
            import tensorflow as tf

            spec = tf.TensorSpec((len(tiles), *self.size, self.channels), tf.uint8)

            @tf.function(input_signature=[spec])
            def call(batch):
                return self.model(tf.cast(batch, tf.float32) / 255.0, training=False)

            self._calls[len(tiles)] = call
        return call(tiles).numpy()

    def save(self, folder: str | Path) -> Path:
        """Write the model's folder, which ``models.load`` reads.

        Args:
            folder: A new or empty folder, or one that holds a model, which is replaced; also in an object store
                (``s3://…``).
        """
        card = {
            "type": "segmentation", "name": self.model.name, "classes": self.classes, "colours": self.colours,
            "shrink": self.shrink, "history": self.history, "notes": self.notes,
        }  # fmt: skip
        return files.write(folder, card, lambda parts: files.save_keras(self.model, parts))


def read_model(folder: Path, card: dict) -> Segmenter:
    """A segmenter of a folder whose card was read, see ``models.load``."""
    from arsetlib.models import segmentation

    files.check_parts(folder, card, (files.KERAS,))
    with files.understood(folder / files.CARD, GroveError):
        facts = {name: card[name] for name in ("classes", "colours", "shrink", "notes")}
        return Segmenter(segmentation.load(folder / files.KERAS), history=files.history(card), **facts)


def fingerprint(model: Any) -> str:
    """SHA-256 of a model's weights."""
    return digest_arrays(model.get_weights())
