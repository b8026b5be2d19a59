"""Calibration: of all predictions with a probability of 80 %, are 80 % right?

Source: Guo, Pleiss, Sun & Weinberger 2017, On Calibration of Modern Neural Networks, ICML; Brier 1950, Monthly Weather
Review 78.

Lab: part3_train_and_test.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from arsetlib.evaluation.confusion import EvaluationError
from arsetlib.evaluation.predictions import Predictions

LEAST = 1e-7  # replaces a probability of 0 in a logarithm: random forests give zeros
PER_PASS = 1_000_000  # predictions worked on at once


def top_k(predictions: Predictions, k: int = 2) -> float:
    """Share of the predictions whose truth is among the ``k`` most probable classes.

    Of equally probable classes the first in the legend comes first, so ``top_k(p, 1)`` is the accuracy.
    """
    classes = len(predictions.legend.classes)
    if not 1 <= k <= classes:
        raise EvaluationError(f"Expected k from 1 to {classes}, the number of classes, received {k}.")
    _some(predictions)
    found = 0
    for truth, probability in _passes(predictions):
        own = probability[np.arange(len(truth)), truth][:, None]
        before = (probability == own) & (np.arange(classes) < truth[:, None])
        found += int((((probability > own) | before).sum(1) < k).sum())
    return found / len(predictions)


def reliability(predictions: Predictions, bins: int = 15, *, equal: str = "width") -> pd.DataFrame:
    """Share of right predictions by the probability of the predicted class.

    Args:
        predictions: Any.
        bins: How many classes of confidence.
        equal: ``"width"`` (0 to 1 in equal steps) or ``"count"`` (as many predictions in each).

    Returns:
        One row a bin that has predictions: ``low``, ``high`` (its edges), ``samples``, ``confidence`` (mean probability
        of the predicted class), ``accuracy``. Confidence above accuracy: the model is overconfident.
    """
    _some(predictions)
    if bins < 1 or equal not in ("width", "count"):
        raise EvaluationError(f"Expected one bin or more, equal = 'width' or 'count', received {bins}, {equal!r}.")
    confidence = predictions.probability.max(1).clip(0, 1)
    right = predictions.predicted == predictions.truth
    edges = np.linspace(0, 1, bins + 1)
    if equal == "count":
        edges = np.unique(np.concatenate([[0], np.quantile(confidence, edges[1:-1]), [1]]))
    where = np.searchsorted(edges[1:-1], confidence)  # a bin includes its upper edge
    samples = np.bincount(where, minlength=len(edges) - 1)
    table = pd.DataFrame({"low": edges[:-1], "high": edges[1:], "samples": samples})
    whole = np.maximum(samples, 1)
    table["confidence"] = np.bincount(where, confidence, len(samples)) / whole
    table["accuracy"] = np.bincount(where, right, len(samples)) / whole
    return table[table.samples > 0].reset_index(drop=True)


def calibration_error(predictions: Predictions, bins: int = 15, *, equal: str = "width") -> float:
    """Expected calibration error (ECE): mean gap of confidence and accuracy over bins, weighted by their samples."""
    table = reliability(predictions, bins, equal=equal)
    return float(((table.confidence - table.accuracy).abs() * table.samples).sum() / table.samples.sum())


def brier(predictions: Predictions) -> float:
    """Brier score: mean squared distance of the probabilities from the truth, summed over classes; 0 best, 2 worst."""
    _some(predictions)
    total = 0.0
    for truth, probability in _passes(predictions):
        own = probability[np.arange(len(truth)), truth]
        total += float((probability**2).sum() + (1 - 2 * own).sum())
    return total / len(predictions)


def log_loss(predictions: Predictions) -> float:
    """Mean negative log-likelihood, nats: the cross-entropy that training lowers. A probability of 0 counts as 1e-7."""
    _some(predictions)
    total = sum(float(-np.log(_own(t, p)).sum()) for t, p in _passes(predictions))
    return total / len(predictions)


def calibration(predictions: Predictions, bins: int = 15) -> dict[str, float]:
    """Confidence, accuracy and the scores of this module, JSON values."""
    return {
        "confidence": float(predictions.probability.max(1).mean()),
        "accuracy": predictions.confusion().accuracy,
        "calibration_error": calibration_error(predictions, bins),
        "brier": brier(predictions),
        "log_loss": log_loss(predictions),
    }


@dataclass(frozen=True)
class Temperature:
    """One number that makes probabilities softer (above 1) or sharper (below 1) and changes no predicted class.

    Fit it on validation, never on the test: ``Temperature.fit(validation).apply(test)``.

    Source: Guo et al. 2017, section 4.2.
    """

    value: float

    @classmethod
    def fit(cls, predictions: Predictions) -> Temperature:
        """The temperature of least log loss, between 1/20 and 20."""
        from scipy.optimize import minimize_scalar

        _some(predictions)

        def loss(log_temperature: float) -> float:
            warm = cls(float(np.exp(log_temperature)))
            parts = ((truth, warm.of(p)) for truth, p in _passes(predictions))
            return sum(float(-np.log(_own(t, p)).sum()) for t, p in parts) / len(predictions)

        found = minimize_scalar(loss, bounds=(-np.log(20), np.log(20)), method="bounded", options={"xatol": 1e-4})
        return cls(float(np.exp(found.x)))

    def of(self, probability: np.ndarray) -> np.ndarray:
        """(N, K) probabilities, each row summing to 1, at this temperature; float32."""
        logits = np.log(np.maximum(probability, LEAST, dtype=np.float64)) / self.value
        logits -= logits.max(1, keepdims=True)
        warm = np.exp(logits)
        return (warm / warm.sum(1, keepdims=True)).astype(np.float32)

    def apply(self, predictions: Predictions) -> Predictions:
        """The same predictions with probabilities at this temperature."""
        warm = np.empty_like(predictions.probability)
        for at in range(0, len(predictions), PER_PASS):
            part = slice(at, at + PER_PASS)
            warm[part] = self.of(predictions.probability[part])
        return replace(predictions, probability=warm)


def _some(predictions: Predictions) -> None:
    if not len(predictions):
        raise EvaluationError("Expected predictions to score, received none.")


def _passes(predictions: Predictions):
    """(truth as positions, float64 probabilities), some at a time."""
    for at in range(0, len(predictions), PER_PASS):
        part = slice(at, at + PER_PASS)
        yield predictions.truth[part].astype(np.intp), predictions.probability[part].astype(np.float64)


def _own(truth: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """Probability given to the truth, never 0."""
    return np.maximum(probability[np.arange(len(truth)), truth].astype(np.float64), LEAST)
