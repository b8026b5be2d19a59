"""What is learned: the loss of a batch, and what is counted for the scores; on every backend of Keras.

Lab: case_fields.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from arsetlib.evaluation import Confusion


@dataclass(frozen=True)
class Task:
    """What is learned.

    Attributes:
        loss: (truth, probabilities) → (B,), or one number, the mean of the batch.
        count: (truth, probabilities) → an array from which scores are made; arrays of batches add up.
        scores: Sum of such arrays → name → score.
        explain: (epoch, step) → sentences for the message if the loss of that step is not finite.
    """

    loss: Callable
    count: Callable
    scores: Callable[[np.ndarray], dict[str, float]]
    explain: Callable[[int, int], str] = lambda epoch, step: "Take a lower learning_rate, and look at the images."


def measured(task: Task, truth: Any, shares: Any) -> tuple:
    """(B,) losses, and (2 + …,): sum of the losses, samples, counts of the task."""
    count = ops.shape(truth)[0]
    each = ops.broadcast_to(task.loss(truth, shares), (count,))
    counts = ops.reshape(ops.cast(task.count(truth, shares), "float32"), (-1,))
    return each, ops.concatenate(
        [ops.stack([ops.sum(each), ops.cast(ops.convert_to_tensor(count), "float32")]), counts], axis=0
    )


def confusion(truth: Any, shares: Any) -> Any:
    """(K, K) counts, rows = truth, of one-hot truth (…, K); all zeros in truth do not count."""
    kinds = shares.shape[-1]
    predicted = ops.one_hot(ops.argmax(shares, axis=-1), kinds, dtype="float32")
    return ops.matmul(ops.transpose(ops.reshape(truth, (-1, kinds))), ops.reshape(predicted, (-1, kinds)))


def class_scores(counts: np.ndarray, **names: str) -> dict[str, float]:
    """Scores of a confusion matrix.

    Args:
        counts: K × K numbers in any shape.
        names: Name of a score in the history → attribute of ``evaluation.Confusion``.
    """
    kinds = math.isqrt(np.size(counts))
    matrix = Confusion.from_counts(np.reshape(counts, (kinds, kinds)).round().astype(np.int64))
    return {name: float(getattr(matrix, attribute)) for name, attribute in names.items()}


def classes_task(loss: str, weights: list[float] | None, **names: str) -> Task:
    """One of K classes for each sample.

    Args:
        loss: ``"crossentropy"`` or ``"focal"``.
        weights: (K,) of the classes, or None.
        names: See ``class_scores``.
    """
    kind = keras.losses.CategoricalFocalCrossentropy if loss == "focal" else keras.losses.CategoricalCrossentropy
    each = kind(reduction=None)

    def weighted(truth, shares):
        return each(truth, shares) * ops.sum(truth * ops.convert_to_tensor(weights, "float32"), axis=-1)

    return Task(each if weights is None else weighted, confusion, functools.partial(class_scores, **names))
