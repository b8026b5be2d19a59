"""A trained segmentation model with what is needed to use it: classes, size, scale. In memory and as a folder.

Lab: case_groves.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from arsetlib import textfiles
from arsetlib.groves.classes import CLASSES as PUBLISHED
from arsetlib.groves.classes import GroveError

CLASSES, COLOURS = PUBLISHED.keys, PUBLISHED.colours
CARD = 1  # version of card.json


@dataclass
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

    model: object
    classes: tuple[str, ...] = CLASSES
    colours: tuple[str, ...] = COLOURS
    shrink: float = 1.0
    history: dict = field(default_factory=dict)
    notes: dict = field(default_factory=dict)

    def __post_init__(self):
        self.classes, self.colours = tuple(self.classes), tuple(self.colours)
        found = self.model.output_shape[-1]
        if len(self.classes) != found:
            raise GroveError(f"The model has {found} classes, but {len(self.classes)} are named: {self.classes}.")
        if len(self.colours) < len(self.classes):
            raise GroveError(f"Expected a colour for each of {self.classes}, received {self.colours}.")
        if not self.shrink > 0:
            raise GroveError(f"Expected shrink above 0, capture pixels per model pixel, received {self.shrink}.")
        self._calls = {}

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
        """Write ``model.keras`` and ``card.json`` into a folder, the card last."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "card.json").unlink(missing_ok=True)
        part = folder / "part.keras"
        self.model.save(part)
        os.replace(part, folder / "model.keras")
        card = {
            "card": CARD,
            "classes": self.classes,
            "colours": self.colours,
            "shrink": self.shrink,
            "history": self.history,
            "notes": self.notes,
            "sha256": digest(folder / "model.keras"),
        }
        part = folder / "card.json.part"
        part.write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
        os.replace(part, folder / "card.json")
        return folder


def load(folder: str | Path) -> Segmenter:
    """A segmenter from the folder that ``Segmenter.save`` wrote, or from that of a training run.

    Raises:
        GroveError: No such folder, a part is missing or was altered.
    """
    from arsetlib.models import segmentation
    from arsetlib.models.card import understood

    folder = Path(folder)
    if not (folder / "card.json").is_file() and (folder / "model" / "card.json").is_file():
        folder = folder / "model"
    try:
        card = textfiles.read_json(folder / "card.json")
        found = digest(folder / "model.keras")
    except FileNotFoundError as problem:
        raise GroveError(
            f"{folder} holds no trained segmenter: {Path(problem.filename).name} is missing. Train one first "
            "(`arset groves train`), or name the folder of a finished run."
        ) from problem
    except ValueError as problem:
        raise GroveError(f"{folder / 'card.json'} cannot be read: {problem}.") from problem
    with understood(folder / "card.json", GroveError):
        if card["card"] != CARD or found != card["sha256"]:
            raise GroveError(
                f"{folder / 'model.keras'} is not the file that card.json describes. Train or copy it again."
            )
        model = segmentation.load(folder / "model.keras")
        return Segmenter(model, card["classes"], card["colours"], card["shrink"], card["history"], card["notes"])


def fingerprint(model) -> str:
    """sha256 of a model's weights."""
    weights = hashlib.sha256()
    for value in model.get_weights():
        weights.update(np.ascontiguousarray(value).tobytes())
    return weights.hexdigest()


def digest(file: Path) -> str:
    """sha256 of a file."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
