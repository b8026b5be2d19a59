"""Disagreement: several models that have not seen a row all say that its label is wrong.

Source: Brodley & Friedl 1999, Identifying Mislabeled Training Data, Journal of Artificial Intelligence Research 11
(there: the consensus filter).

Lab: part4_defend_the_map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from arsetlib.audit.confidence import AuditError, checked


@dataclass(frozen=True, eq=False, repr=False)
class Votes:
    """What several models say of N labels.

    Attributes:
        against: (N,) float32, share of the models whose class is not the label.
        guess: (N,) the class with most votes; of equal ones that with the larger mean probability.
        unanimous: (N,) bool, all models name the same class, and it is not the label.

    Lab: part4_defend_the_map.
    """

    against: np.ndarray
    guess: np.ndarray
    unanimous: np.ndarray

    def __repr__(self) -> str:
        return f"Votes({int(self.unanimous.sum()):,} of {len(self.guess):,} labels)"


def votes(label: ArrayLike, probabilities: Sequence[ArrayLike]) -> Votes:
    """Count the models that contradict each label.

    >>> votes([0, 0], [[[0.1, 0.9], [0.8, 0.2]], [[0.3, 0.7], [0.4, 0.6]]]).unanimous.tolist()
    [True, False]

    Args:
        label: (N,) class numbers.
        probabilities: One array (N, K) a model, at least two; none of them has seen the row it predicts.

    Raises:
        AuditError: Fewer than two models, other shapes.

    Lab: part4_defend_the_map.
    """
    parts = [checked(label, one) for one in probabilities]
    if len(parts) < 2:
        raise AuditError(f"Expected the probabilities of at least two models, received {len(parts)}.")
    label, classes = parts[0][0], parts[0][1].shape[1]
    total = np.zeros((len(label), classes), np.float32)
    against = np.zeros(len(label), np.float32)
    rows = np.arange(len(label))
    for _, probability in parts:
        chosen = probability.argmax(1)
        total[rows, chosen] += 1
        total += probability / (2 * len(parts))  # decides between equal numbers of votes
        against += chosen != label
    guess = total.argmax(1).astype(np.int16)
    unanimous = (total[rows, guess] >= len(parts)) & (guess != label)
    return Votes(against / len(parts), guess, unanimous)
