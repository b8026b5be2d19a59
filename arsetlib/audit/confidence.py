"""Confident learning: labels that a model contradicts with confidence, and how many labels are wrong.

A model that has not seen a row gives it a high probability of a class other than its label. How high is high? For each
class the threshold is the mean probability that the model gives to the rows of this label. A row counts as class j if
its probability of j reaches the threshold of j.

Source: Northcutt, Jiang & Chuang 2021, Confident Learning: Estimating Uncertainty in Dataset Labels, Journal of
Artificial Intelligence Research 70.

Lab: part4_defend_the_map.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from arsetlib.errors import ArsetError
from arsetlib.evaluation.predictions import are_numbers, refuse_no_shares

PER_PASS = 1_000_000  # rows worked on at once
SLACK = 1e-6  # of a comparison with a threshold: a mean of equal float32 is not exactly their value


class AuditError(ArsetError, ValueError):
    """Labels cannot be audited; the message says why and what to do."""


@dataclass(frozen=True, eq=False, repr=False)
class Confident:
    """What confident learning finds in N labels of K classes.

    Attributes:
        label: (N,) the labels as given, class numbers.
        guess: (N,) the class that the model is confident of; the label itself where it is confident of none.
        margin: (N,) float32, probability of the label minus the largest of the others, -1 to 1. The lowest are the
            most suspicious.
        thresholds: (K,) probability from which the model is confident of a class; NaN for a class that no label has.
        joint: (K, K) estimated share of all rows, rows = label, columns = true class; its sum is 1.

    Lab: part4_defend_the_map.
    """

    label: np.ndarray
    guess: np.ndarray
    margin: np.ndarray
    thresholds: np.ndarray
    joint: np.ndarray

    @property
    def wrong(self) -> np.ndarray:
        """(N,) bool, the labels that are probably wrong."""
        return self.guess != self.label

    @property
    def noise(self) -> float:
        """Estimated share of wrong labels. It also counts errors of the model, so it is an upper estimate."""
        return float(1 - np.trace(self.joint))

    def __repr__(self) -> str:
        return f"Confident({int(self.wrong.sum()):,} of {len(self.label):,} labels)"


def confident(label: ArrayLike, probability: ArrayLike) -> Confident:
    """Find labels that a model contradicts with confidence.

    Two passes over blocks of a million rows; beside the input it holds 6 bytes a row.

    >>> sure, unsure = [0.9, 0.1], [0.45, 0.55]
    >>> found = confident([0, 0, 0, 1, 1], [sure, sure, [0.1, 0.9], unsure, [0.2, 0.8]])
    >>> found.wrong.tolist()
    [False, False, True, False, False]

    Args:
        label: (N,) class numbers, 0 to K − 1, as given.
        probability: (N, K) of a model that has not seen the rows, such as ``out_of_fold`` gives.

    Raises:
        AuditError: Shapes differ, a label is no class, all labels are of one class, or a row of probabilities does not
            sum to 1.

    Lab: part4_defend_the_map.
    """
    label, probability = checked(label, probability)
    classes = probability.shape[1]
    sums, counts = np.zeros(classes), np.zeros(classes, np.int64)
    for own, share, _ in _passes(label, probability):
        sums += np.bincount(own, share[np.arange(len(own)), own], classes)
        counts += np.bincount(own, minlength=classes)
    if (counts > 0).sum() < 2:
        raise AuditError(
            f"Expected labels of at least two classes, received {int((counts > 0).sum())} in {len(label):,} rows: with "
            "one class nothing can contradict a label. Take more rows."
        )
    with np.errstate(invalid="ignore"):
        thresholds = sums / counts
    guess, margin = np.empty(len(label), np.int16), np.empty(len(label), np.float32)
    joint = np.zeros((classes, classes), np.int64)
    least = np.where(np.isnan(thresholds), np.inf, thresholds - SLACK).astype(np.float32)
    for own, share, rows in _passes(label, probability):
        there = np.arange(len(own))
        reached = np.where(share >= least, share, np.float32(-1))
        best = reached.argmax(1)
        known = reached[there, best] >= 0
        joint += np.bincount(own[known] * classes + best[known], minlength=classes**2).reshape(classes, classes)
        guess[rows] = np.where(known, best, own)
        others = share.copy()
        others[there, own] = -1
        margin[rows] = share[there, own] - others.max(1)
    return Confident(label, guess, margin, thresholds, _calibrated(joint, counts))


def checked(label: ArrayLike, probability: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """(N,) integers and (N, K) float32; refuses other shapes, labels that are no class, and rows without a sum of 1."""
    label, probability = np.asarray(label), np.asarray(probability)
    if label.ndim != 1 or probability.ndim != 2 or len(label) != len(probability) or not len(label):
        raise AuditError(
            f"Expected labels (N,) and probabilities (N, K) of the same rows, received {label.shape} and "
            f"{probability.shape}."
        )
    classes = probability.shape[1]
    if not are_numbers(label, classes):
        raise AuditError(f"Expected labels as whole numbers from 0 to {classes - 1}, received {np.unique(label)[:9]}.")
    for _, part, rows in _passes(label, probability):
        if not np.isfinite(part).all():
            raise AuditError("Expected probabilities, received NaN. Did the training of the model diverge?")
        refuse_no_shares(part, rows.start, AuditError)
    return label, probability


def _calibrated(joint: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Counts of confident rows → shares of all rows: each label weighs what it has in the table."""
    confident = joint.sum(1, keepdims=True)
    rows = np.where(confident > 0, joint / np.maximum(confident, 1), np.eye(len(joint)))
    return rows * counts[:, None] / counts.sum()


def _passes(label: np.ndarray, probability: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, slice]]:
    for at in range(0, len(label), PER_PASS):
        rows = slice(at, at + PER_PASS)
        yield label[rows].astype(np.int64), probability[rows].astype(np.float32, copy=False), rows
