"""A trained image classifier with what is needed to use it: classes, thresholds, how it was trained; also as a folder.

Lab: case_fields.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from arsetlib.fields.classes import CLASSES, ImageError
from arsetlib.fields.feeds import KINDS, as_float, feed
from arsetlib.models import card as files


@dataclass(eq=False)
class Classifier:
    """A model and how to read its shares as classes.

    Attributes:
        model: keras.Model, (B, S, S, C) in 0..1 → (B, K).
        kind: ``"multi"``: several classes may be present, or none; ``"single"``: exactly one is.
        classes: (K,) names, in the order of the model's outputs.
        thresholds: (K,) share from which a class counts as present, of kind multi. ``fit`` finds on the validation
            those that give the best F1: at 0.5 a rare class would never be predicted.
        history: Name → one value an epoch.
        notes: Seed, counts, weights, devices, whether the data were simulated.

    Lab: case_fields.
    """

    model: Any
    kind: str = "multi"
    classes: tuple[str, ...] = CLASSES
    thresholds: np.ndarray | None = None
    history: dict = field(default_factory=dict)
    notes: dict = field(default_factory=dict)

    def __post_init__(self):
        self.classes = tuple(self.classes)
        if self.kind not in KINDS:
            raise ImageError(f"Expected kind 'multi' or 'single', received {self.kind!r}.")
        if len(self.classes) != self.model.output_shape[-1]:
            raise ImageError(f"The model has {self.model.output_shape[-1]} outputs, but {len(self.classes)} classes.")
        thresholds = np.full(len(self.classes), 0.5) if self.thresholds is None else self.thresholds
        self.thresholds = np.asarray(thresholds, np.float32)
        if self.thresholds.shape != (len(self.classes),) or not np.isfinite(self.thresholds).all():
            raise ImageError(f"Expected one threshold for each of {len(self.classes)} classes, received {thresholds}.")
        self._call = None

    def __repr__(self) -> str:
        simulated = "SIMULATED, " if self.notes.get("simulated") else ""
        return f"Classifier({self.model.name!r}, {simulated}{self.kind}, {self.size} px, {len(self.classes)} classes)"

    @property
    def size(self) -> int:
        """Side of an image as the model takes it, px."""
        return self.model.input_shape[1]

    @property
    def channels(self) -> int:
        return self.model.input_shape[3]

    def predict(self, x: Any) -> np.ndarray:
        """Shares of the classes.

        Args:
            x: (B, S, S, C): uint8 0..255, or float 0..1. One compiled function serves every B.

        Returns:
            (B, K) float32 in 0..1; of kind single rows sum to 1.

        Raises:
            ImageError: Another shape.
        """
        import tensorflow as tf

        shape = (self.size, self.size, self.channels)
        if np.ndim(x) != 4 or tuple(np.shape(x)[1:]) != shape:
            raise ImageError(f"Expected images (B, {shape[0]}, {shape[1]}, {shape[2]}), received {np.shape(x)}.")
        if self._call is None:
            spec = tf.TensorSpec((None, *shape), tf.float32)
            self._call = tf.function(lambda batch: self.model(batch, training=False), input_signature=[spec])
        return self._call(as_float(np.asarray(x))).numpy()

    def labels(self, shares: np.ndarray) -> np.ndarray:
        """(B, K) uint8: the classes that are predicted, from the shares of ``predict``."""
        return decided(shares, self.kind, self.thresholds)

    def predictions(self, source: Any, *, batch: int = 64) -> tuple[np.ndarray, np.ndarray]:
        """Truth and shares of all images of a source.

        Args:
            source: Chips, a converted folder, or arrays (x, y).
            batch: Images at once.

        Returns:
            (N, K) float32 of 0 and 1, (N, K) float32.
        """
        images = feed(source, batch=batch, size=self.size, kind=self.kind)
        if tuple(images.classes) != self.classes:
            raise ImageError(f"The model knows the classes {self.classes}, the images have {tuple(images.classes)}.")
        pairs = [(np.asarray(y), self.predict(x)) for x, y in images.batches()]
        truth, shares = (np.concatenate(part) for part in zip(*pairs, strict=True))
        return truth, shares

    def save(self, folder: str | Path) -> Path:
        """Write the model's folder, which ``models.load`` reads.

        Args:
            folder: A new or empty folder, or one that holds a model, which is replaced; also in an object store
                (``s3://…``).
        """
        card = {
            "type": "images", "name": self.model.name, "kind": self.kind, "classes": self.classes,
            "thresholds": self.thresholds, "size": self.size, "channels": self.channels, "history": self.history,
            "notes": self.notes,
        }  # fmt: skip
        return files.write(folder, card, lambda parts: files.save_keras(self.model, parts))


def read_model(folder: Path, card: dict) -> Classifier:
    """A classifier of a folder whose card was read, see ``models.load``."""
    from arsetlib.models import images as networks

    files.check_parts(folder, card, (files.KERAS,))
    with files.understood(folder / files.CARD, ImageError):
        facts = {name: card[name] for name in ("kind", "classes", "thresholds", "notes")}
        return Classifier(networks.load(folder / files.KERAS), history=files.history(card), **facts)


def decided(shares: np.ndarray, kind: str, thresholds: Any) -> np.ndarray:
    """(B, K) uint8 of shares (B, K)."""
    shares = np.asarray(shares)
    if kind == "single":
        return np.eye(shares.shape[1], dtype=np.uint8)[shares.argmax(axis=1)]
    return (shares >= np.asarray(thresholds)).astype(np.uint8)
