"""Prediction-powered areas: a few labelled pixels and the model's probabilities everywhere.

The probabilities of the whole map give an area without sampling error, but biased. The labelled sample measures the
bias. If the probabilities are good, what is left to measure varies little, so the interval is narrower than that of
the labels alone; if they are bad, the tuning factor goes to 0 and the labels alone remain.

Sources: Angelopoulos, Bates, Fannjiang, Jordan & Zrnic 2023, Prediction-powered inference, Science 382, 669-674.
Angelopoulos, Duchi & Zrnic 2023, PPI++: efficient prediction-powered inference, arXiv:2311.01453 (the tuning). Fisch,
Maynez, Hofer, Dhingra, Globerson & Cohen 2024, Stratified prediction-powered inference, NeurIPS 37 (strata). In survey
sampling the same is the difference estimator: Cochran 1977, chapter 7.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from arsetlib.evaluation.confusion import EvaluationError
from arsetlib.evaluation.predictions import are_numbers
from arsetlib.evaluation.surveys import LEAST, limits


@dataclass(frozen=True, eq=False)
class ProbabilitySums:
    """Pixels of each stratum, with sums of their probabilities and of the squares; those of two pieces add.

    >>> piece = ProbabilitySums.of(np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([0, 0]), 1)
    >>> (piece + piece).total.tolist()
    [[2.2, 1.8]]

    Attributes:
        count: (H,) int64.
        total: (H, K) float64.
        square: (H, K) float64.
    """

    count: np.ndarray
    total: np.ndarray
    square: np.ndarray

    @classmethod
    def of(cls, probability: ArrayLike, stratum: ArrayLike, strata: int) -> ProbabilitySums:
        """Of some pixels: probabilities (N, K) and strata (N,), numbers below ``strata``."""
        probability, stratum = np.asarray(probability, np.float64), np.asarray(stratum)

        def sums(values: np.ndarray) -> np.ndarray:
            return np.stack([np.bincount(stratum, v, strata) for v in values.T], axis=1)

        return cls(np.bincount(stratum, minlength=strata), sums(probability), sums(probability**2))

    def __add__(self, other: ProbabilitySums) -> ProbabilitySums:
        if not isinstance(other, ProbabilitySums):
            return NotImplemented
        return ProbabilitySums(self.count + other.count, self.total + other.total, self.square + other.square)

    def __radd__(self, other: object) -> ProbabilitySums:
        """Lets ``sum(pieces)`` start from 0."""
        return self if isinstance(other, int) and other == 0 else NotImplemented


def powered_areas(
    truth: ArrayLike, probability: ArrayLike, stratum: ArrayLike, everywhere: ProbabilitySums, keys: Sequence[str], *,
    tuned: bool = True, pixel_area: float = 1.0, confidence: float = 0.95,
) -> pd.DataFrame:  # fmt: skip
    """Area of each class from labelled pixels and probabilities everywhere.

    Args:
        truth: (n,) class numbers of the labelled pixels.
        probability: (n, K) the model's probabilities there; or a 1 for the mapped class, where there are none.
        stratum: (n,) the stratum of each; all 0 for a simple random sample.
        everywhere: Of all pixels of the map.
        keys: (K,) of the classes.
        tuned: False takes the factor 1 for all classes: prediction-powered inference without the tuning of PPI++.
        pixel_area: Of one pixel, in the unit of the areas to return.
        confidence: Of the intervals, which are those of ``limits``.

    Returns:
        A table, one row a class: ``area``, ``area_error``, ``area_low``, ``area_high``; ``share`` and its ``…_error``,
        ``…_low`` and ``…_high``; ``tuning``, from 0 (labels alone) to 1 (the probabilities count in full). Each class
        has its own factor, so areas sum to that of the map only nearly.

    Raises:
        EvaluationError: A stratum with fewer than two labelled pixels; shapes do not fit; a class or
            stratum that is none; a probability that is NaN.

    Source: Angelopoulos et al. 2023 (Science), algorithm 1; PPI++, equations 2-3 and example 6.1; by stratum as in
    Fisch et al. 2024, with one factor for all strata.

    >>> moments = ProbabilitySums.of(np.repeat([[0.8, 0.2]], 100, 0), np.zeros(100, int), 1)
    >>> powered_areas([0, 0, 1, 0], np.repeat([[0.8, 0.2]], 4, 0), [0] * 4, moments, ["a", "b"])["share"].tolist()
    [0.75, 0.25]
    """
    truth, stratum = np.asarray(truth), np.asarray(stratum)
    probability = np.asarray(probability, np.float64)
    strata, classes = everywhere.total.shape
    if probability.shape != (len(truth), classes) or classes != len(keys) or stratum.shape != truth.shape:
        raise EvaluationError(
            f"Expected {len(truth)} labelled pixels with {len(keys)} probabilities and a stratum each, and {len(keys)} "
            f"classes everywhere, received {probability.shape}, {stratum.shape} and {classes}."
        )
    for name, value, above in (("class", truth, classes), ("stratum", stratum, strata)):
        if not are_numbers(value, above):
            raise EvaluationError(
                f"Expected the {name} of each labelled pixel as a whole number from 0 to {above - 1}, received "
                f"{np.unique(value)[:9]}. Leave pixels without a label out."
            )
    if not (np.isfinite(probability).all() and np.isfinite(everywhere.square).all()):
        raise EvaluationError("Expected probabilities at all pixels, received NaN. Predict the map again.")
    drawn, size = np.bincount(stratum, minlength=strata), everywhere.count
    if few := [i for i in range(strata) if drawn[i] < min(LEAST, size[i])]:
        raise EvaluationError(f"Expected at least {LEAST} labelled pixels in each stratum; {few} have fewer.")
    there = size > 0
    drawn, size = drawn[there].astype(np.float64), size[there].astype(np.float64)
    weight = (size / size.sum())[:, None]
    hit = np.eye(classes)[truth]

    def mean(values: np.ndarray) -> np.ndarray:
        """(H, K) means of the labelled pixels, stratum by stratum."""
        return np.stack([np.bincount(stratum, v, strata)[there] for v in values.T], axis=1) / drawn[:, None]

    def covariance(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        return (mean(one * other) - mean(one) * mean(other)) * (drawn / np.maximum(drawn - 1, 1))[:, None]

    of_all = everywhere.total[there] / size[:, None]
    spread = np.maximum(everywhere.square[there] / size[:, None] - of_all**2, 0)
    per_sample = weight**2 / drawn[:, None]
    bottom = (per_sample * (1 + drawn / size)[:, None] * spread).sum(0)
    top = (per_sample * covariance(hit, probability)).sum(0)
    tuning = np.clip(np.divide(top, bottom, out=np.zeros(classes), where=bottom > 0), 0, 1)
    tuning = tuning if tuned else np.ones(classes)
    left = hit - tuning * probability
    share = (weight * (tuning * of_all + mean(left))).sum(0)
    variance = (per_sample * covariance(left, left) + weight**2 * tuning**2 * spread / size[:, None]).sum(0)
    error = np.sqrt(np.maximum(variance, 0))
    unseen = (weight[:, 0] / drawn).max()
    low, high = limits(share, error, unseen, confidence)
    share = np.clip(share, 0, 1)
    whole = size.sum() * pixel_area
    columns = {"area": share * whole, "area_error": error * whole, "area_low": low * whole, "area_high": high * whole}
    columns |= {"share": share, "share_error": error, "share_low": low, "share_high": high, "tuning": tuning}
    return pd.DataFrame(columns, index=pd.Index(list(keys), name="class"))
