"""Conformal prediction: instead of one class a set of classes that contains the truth as often as promised.

Labelled rows that the model was not trained on, the calibration rows, tell how improbable the true class can be in the
model's eyes. Every class that is not more improbable than that is in the set of a new row. The promise needs no belief
in the probabilities, only that new rows come from the same source as the calibration rows (exchangeability): another
year or place breaks it, and ``coverage`` measures by how much. Pixels of a field are alike, so what counts is how many
blocks there are to calibrate on: with few, coverage on other blocks of the same year varies by several points.

Source: Vovk, Gammerman & Shafer 2005, Algorithmic Learning in a Random World (split, and by class: Mondrian); Sadinle,
Lei & Wasserman 2019, Least Ambiguous Set-Valued Classifiers with Bounded Error Levels, Journal of the American
Statistical Association 114 (LAC); Romano, Sesia & Candès 2020, Classification with Valid and Adaptive Coverage, NeurIPS
(APS).

Lab: part4_defend_the_map.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from arsetlib import checksums, seeds
from arsetlib.errors import ArsetError
from arsetlib.evaluation import Predictions
from arsetlib.evaluation.predictions import refuse_no_shares

SCORES = ("lac", "aps")
PER_PASS = 1_000_000  # rows worked on at once
SLACK = 1e-6  # float32 probabilities of one model for one row may differ by this between two calls


class CertaintyError(ArsetError, ValueError):
    """Certainty cannot be computed from the input; the message says why and what to do."""


@dataclass(frozen=True)
class Conformal:
    """A calibrated rule that gives sets of classes.

    >>> from arsetlib.certainty.sets import quantile
    >>> quantile([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9], 0.2)
    0.8

    Attributes:
        limits: (K,) largest score with which a class is in a set; all equal unless calibrated by class. Infinite where
            too few rows of a class were there to promise anything: the class is then in every set.
        alpha: Share of sets that may miss the truth.
        score: ``"lac"``: one minus the probability of the class; the smallest sets. ``"aps"``: the probability of the
            class and of all more probable ones together, at random up to a share of its own; larger sets where the
            model is unsure, and coverage that is more even over easy and hard rows.
        by_class: Whether each class keeps the promise by itself.
        counts: (K,) calibration rows of each class.
        seed: Of the random share in ``"aps"``.
        rows: Checksum of the calibration rows, so that ``coverage`` refuses them; empty where it is not known.

    Lab: part4_defend_the_map.
    """

    limits: tuple[float, ...]
    alpha: float
    score: str
    by_class: bool
    counts: tuple[int, ...]
    seed: int = 0
    rows: str = ""

    @classmethod
    def fit(
        cls, predictions: Predictions, alpha: float = 0.1, *, score: str = "lac", by_class: bool = False, seed: int = 0
    ) -> Conformal:
        """Calibrate on rows whose truth is known and that the model was not trained on.

        Args:
            predictions: Of such rows, the validation side for instance; never the test, whose coverage is measured.
            alpha: 0.1 promises that 90 % of the sets contain the truth.
            score: ``"lac"`` or ``"aps"``.
            by_class: Keep the promise in each class (Mondrian); rare classes get larger sets.
            seed: Of the random share in ``"aps"``.

        Raises:
            CertaintyError: No rows, an alpha outside 0 to 1, an unknown score.

        Lab: part4_defend_the_map.
        """
        if score not in SCORES or not 0 < alpha < 1:
            raise CertaintyError(
                f"Expected score = {' or '.join(map(repr, SCORES))} and alpha between 0 and 1, received {score!r} and "
                f"{alpha}."
            )
        if not len(predictions):
            raise CertaintyError("Expected predictions to calibrate on, received none.")
        truth, classes = predictions.truth.astype(np.int64), len(predictions.legend.classes)
        own = np.concatenate([
            scores(p, score, _shares(seed, rows))[np.arange(len(p)), truth[rows]]
            for p, rows in _passes(predictions.probability)
        ])  # fmt: skip
        counts = np.bincount(truth, minlength=classes)
        if by_class:
            limits = [quantile(own[truth == k], alpha) for k in range(classes)]
        else:
            limits = [quantile(own, alpha)] * classes
        return cls(tuple(limits), alpha, score, by_class, tuple(counts.tolist()), seed, digest(predictions))

    def sets(self, probability: ArrayLike) -> np.ndarray:
        """Which classes are in the set of each row.

        Args:
            probability: (N, K) of the model that was calibrated.

        Returns:
            (N, K) bool. A row may be empty (``"lac"``): no class is probable enough.

        Raises:
            CertaintyError: Another number of classes; a row that is NaN or does not sum to 1.

        Lab: part4_defend_the_map.
        """
        probability = np.asarray(probability)
        if probability.ndim != 2 or probability.shape[1] != len(self.limits):
            raise CertaintyError(f"Expected probabilities (N, {len(self.limits)}), received {probability.shape}.")
        out, limits = np.empty(probability.shape, bool), np.array(self.limits) + SLACK
        for part, rows in _passes(probability):
            refuse_no_shares(part, rows.start, CertaintyError)
            out[rows] = scores(part, self.score, _shares(self.seed + 1, rows)) <= limits
        return out

    @property
    def promises(self) -> tuple[bool, ...]:
        """(K,) whether enough calibration rows were there to promise anything of a class."""
        return tuple(bool(np.isfinite(limit)) for limit in self.limits)


def scores(probability: np.ndarray, score: str, share: np.ndarray | None = None) -> np.ndarray:
    """How strange each class would be as the truth, (N, K) float64; see ``Conformal.score``.

    Args:
        probability: (N, K).
        score: ``"lac"`` or ``"aps"``.
        share: (N,) 0 to 1, for ``"aps"``.
    """
    probability = probability.astype(np.float64)
    if score == "lac":
        return 1 - probability
    order = np.argsort(-probability, axis=1, kind="stable")
    sorted_ = np.take_along_axis(probability, order, 1)
    before = np.cumsum(sorted_, 1) - sorted_
    out = np.empty_like(probability)
    np.put_along_axis(out, order, before + sorted_ * share[:, None], 1)
    return out


def quantile(values: ArrayLike, alpha: float) -> float:
    """The ``⌈(n + 1)(1 − alpha)⌉``-th smallest of n values; infinite where n is too small for it."""
    values = np.asarray(values, np.float64)
    place = int(np.ceil(np.round((len(values) + 1) * (1 - alpha), 9)))
    return float(np.partition(values, place - 1)[place - 1]) if place <= len(values) else float("inf")


def certain(sets: np.ndarray) -> np.ndarray:
    """(N,) the class of a set with exactly one, K where it has none or several: "cannot say"."""
    sets = np.asarray(sets, bool)
    return np.where(sets.sum(1) == 1, sets.argmax(1), sets.shape[1]).astype(np.int16)


def digest(predictions: Predictions) -> str:
    """Checksum of rows in any order: their pixels, years, windows, truth and probabilities."""
    order = np.lexsort([getattr(predictions, name) for name in ("start", "year", "pixel")])
    names = ("pixel", "year", "start", "truth", "probability")
    return checksums.digest_arrays(getattr(predictions, name)[order] for name in names)


def _passes(probability: np.ndarray):
    for at in range(0, len(probability), PER_PASS):
        rows = slice(at, min(at + PER_PASS, len(probability)))
        yield probability[rows], rows


def _shares(seed: int, rows: slice) -> np.ndarray:
    """The same draws for the same rows of the same seed."""
    return seeds.generator(seed, "aps", rows.start).random(rows.stop - rows.start)
