"""Losses for masks: cross-entropy with class weights, dice, focal.

Lab: case_groves.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from arsetlib.groves.classes import GroveError

LOSSES = ("crossentropy", "dice", "focal")


@keras.saving.register_keras_serializable(package="arsetlib")
class WeightedCrossentropy(keras.losses.Loss):
    """Cross-entropy in which each pixel weighs what its true class weighs; the mean is over the weights.

    A pixel whose truth is all zeros (not labelled) weighs nothing.

    Args:
        weights: (K,) of each class; None weighs all alike.
    """

    def __init__(self, weights=None, name="weighted_crossentropy", **kwargs):
        super().__init__(name=name, **kwargs)
        self.weights = None if weights is None else [float(w) for w in weights]

    def call(self, y_true, y_pred):
        y_pred = ops.clip(y_pred, 1e-7, 1.0)
        weight = y_true if self.weights is None else y_true * ops.convert_to_tensor(self.weights, y_pred.dtype)
        total = ops.sum(weight)
        return -ops.sum(weight * ops.log(y_pred)) / ops.maximum(total, 1e-7)

    def get_config(self):
        return super().get_config() | {"weights": self.weights}


@keras.saving.register_keras_serializable(package="arsetlib")
class PixelAccuracy(keras.metrics.MeanMetricWrapper):
    """Share of the labelled pixels that are right."""

    def __init__(self, name="accuracy", dtype=None):
        super().__init__(fn=keras.metrics.categorical_accuracy, name=name, dtype=dtype)

    def update_state(self, y_true, y_pred, sample_weight=None):
        return super().update_state(y_true, y_pred, ops.sum(y_true, axis=-1))

    def get_config(self):
        return {"name": self.name, "dtype": self.dtype}


@keras.saving.register_keras_serializable(package="arsetlib")
class MeanIoU(keras.metrics.OneHotMeanIoU):
    """Mean IoU over the labelled pixels of all batches of an epoch."""

    def __init__(self, num_classes, name="mean_iou", dtype=None):
        super().__init__(num_classes=num_classes, name=name, dtype=dtype)

    def update_state(self, y_true, y_pred, sample_weight=None):
        return super().update_state(y_true, y_pred, ops.cast(ops.sum(y_true, axis=-1), "int32"))

    def get_config(self):
        return {"num_classes": self.num_classes, "name": self.name, "dtype": self.dtype}


@keras.saving.register_keras_serializable(package="arsetlib")
class LabelledDice(keras.losses.Dice):
    """Dice over the labelled pixels of a batch; what is said of the others counts for nothing."""

    def __init__(self, name="labelled_dice", **kwargs):
        super().__init__(name=name, axis=(0, 1, 2), **kwargs)

    def call(self, y_true, y_pred):
        return super().call(y_true, y_pred * ops.sum(y_true, axis=-1, keepdims=True))

    def get_config(self):
        return {name: value for name, value in super().get_config().items() if name != "axis"}


def make_loss(name: str, weights=None):
    """A loss for (B, H, W, K) one-hot truth and class shares.

    Args:
        name: ``"crossentropy"``, ``"dice"`` (one less the overlap of each class, so that small classes count as much as
            large ones) or ``"focal"`` (cross-entropy that looks at pixels which are still wrong; Lin et al. 2017).
        weights: (K,) of each class, for crossentropy and focal; dice weighs classes alike already.
    """
    if name == "crossentropy":
        return WeightedCrossentropy(weights)
    if name == "dice":
        if weights is not None:
            raise GroveError("Dice weighs every class alike; leave class_weights out, or take crossentropy.")
        return LabelledDice()
    if name == "focal":
        # Keras multiplies by alpha; scaled so that alike weights leave the loss as it is in the paper without alpha.
        alpha = 1.0 if weights is None else [float(w) for w in weights]
        return keras.losses.CategoricalFocalCrossentropy(alpha=alpha, gamma=2.0)
    raise GroveError(f"There is no loss {name!r}. There are: {', '.join(LOSSES)}.")


def balanced(shares) -> np.ndarray:
    """(K,) weights under which each class counts the same in sum; they average 1 over the pixels.

    Args:
        shares: (K,) pixels of each class, or their shares.
    """
    shares = np.asarray(shares, float) / np.sum(shares)
    there = shares > 0
    weights = np.zeros_like(shares)
    weights[there] = 1 / (shares[there] * there.sum())
    return weights
