"""Losses of masks: cross-entropy with class weights, dice, focal.

Lab: case_groves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from arsetlib.groves.classes import GroveError

LOSSES = ("crossentropy", "dice", "focal")
FOCUS = 2.0  # the exponent of the focal loss
TINY = 1e-7


def make_loss(name: str, weights: Any = None) -> Callable:
    """A loss for one-hot truth and class shares; a pixel whose truth is all zeros (not labelled) counts for nothing.

    Args:
        name: ``"crossentropy"``; ``"dice"``: one minus the overlap of each class, so that small classes count as much
            as large ones; ``"focal"``: cross-entropy with more weight on pixels that are still wrong (Lin et al. 2017).
        weights: (K,) of each class, for crossentropy and focal; dice gives all classes the same weight.

    Returns:
        (B, H, W, K) truth, (B, H, W, K) shares → the loss of the batch, one number.

    Raises:
        GroveError: There is no such loss, or dice with weights.
    """
    if name not in LOSSES:
        raise GroveError(f"There is no loss {name!r}. There are: {', '.join(LOSSES)}.")
    if name == "dice" and weights is not None:
        raise GroveError("Dice gives all classes the same weight. Leave balance out, or take crossentropy.")

    def crossentropy(truth, shares):
        weight = truth if weights is None else truth * tf.constant(weights, tf.float32)
        total = -tf.reduce_sum(weight * tf.math.log(tf.clip_by_value(shares, TINY, 1.0)))
        return total / tf.maximum(tf.reduce_sum(weight), TINY)  # the mean over the weights

    def dice(truth, shares):
        shares = shares * tf.reduce_sum(truth, axis=-1, keepdims=True)  # only labelled pixels
        both = 2 * tf.reduce_sum(truth * shares, axis=(0, 1, 2))
        either = tf.reduce_sum(truth, axis=(0, 1, 2)) + tf.reduce_sum(shares, axis=(0, 1, 2))
        return 1 - tf.reduce_mean((both + TINY) / (either + TINY))

    def focal(truth, shares):
        shares = tf.clip_by_value(shares, TINY, 1 - TINY)
        each = -truth * (1 - shares) ** FOCUS * tf.math.log(shares)
        if weights is not None:
            each = each * tf.constant(weights, tf.float32)
        return tf.reduce_mean(tf.reduce_sum(each, axis=-1))

    return {"crossentropy": crossentropy, "dice": dice, "focal": focal}[name]
