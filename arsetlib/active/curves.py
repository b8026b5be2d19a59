"""Learning curves with known truth as the expert: what each way to choose is worth under a budget of labels.

Lab: part4_defend_the_map.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from arsetlib import seeds
from arsetlib.active.choice import ActiveError, choose
from arsetlib.evaluation import Confusion


class Fitted(Protocol):
    """What learns: scikit-learn's classifiers are such."""

    classes_: np.ndarray

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        """(N, P) probabilities of the classes that were in training."""
        ...


@dataclass(frozen=True)
class KnownSamples:
    """Samples with their truth, which is shown only for what is asked.

    Attributes:
        features: (N, F) float32.
        truth: (N,) class numbers: what the expert would say.

    Raises:
        ActiveError: Not one truth a sample.
    """

    features: np.ndarray
    truth: np.ndarray

    def __post_init__(self) -> None:
        if len(self.features) != len(self.truth):
            raise ActiveError(
                f"Expected a truth for each sample, received {len(self.features):,} and {len(self.truth):,}."
            )

    def __len__(self) -> int:
        return len(self.truth)


def learning_curve(
    pool: KnownSamples,
    test: KnownSamples,
    fit: Callable[[np.ndarray, np.ndarray, int], Fitted],
    *,
    classes: int,
    methods: Sequence[str] = ("random", "margin"),
    start: int = 20,
    step: int = 20,
    budget: int = 200,
    draws: Sequence[int] = (0, 1, 2, 3, 4),
    progress: bool = False,
) -> pd.DataFrame:
    """Ask an expert for labels step by step, and score the model on a test after each.

    All methods begin with the same random samples, so that they differ only in what they ask for next.

    Args:
        pool: What may be asked for.
        test: What models are scored on; it must share no place with the pool.
        fit: Called with features (L, F), truth (L,) and a seed; gives a classifier.
        classes: K.
        methods: Of `choose`.
        start: Labels at the beginning, drawn at random.
        step: Labels asked for at a time.
        budget: Labels in all.
        draws: Seeds: one curve for each.
        progress: Show a bar.

    Returns:
        A table with columns method, seed, labels, accuracy, macro_f1.

    Raises:
        ActiveError: A budget that the pool cannot give, or that is below the start; a truth that is no class.

    Lab: part4_defend_the_map.
    """
    if not 2 <= start <= budget or step < 1:
        raise ActiveError(f"Expected 2 ≤ start ≤ budget and step ≥ 1, received {start}, {budget} and {step}.")
    if budget > len(pool):
        raise ActiveError(f"Expected a budget of at most {len(pool):,}, the samples of the pool, received {budget}.")
    for samples in (pool, test):
        if len(samples) and not 0 <= samples.truth.min() <= samples.truth.max() < classes:
            raise ActiveError(
                f"Expected class numbers from 0 to {classes - 1}, received {samples.truth.min()} to "
                f"{samples.truth.max()}. Leave out samples without a class."
            )
    rows: list[dict[str, Any]] = []
    runs = [(method, seed) for seed in draws for method in methods]
    for method, seed in tqdm(runs, desc="curves", unit="curve", disable=not progress):
        asked = seeds.generator(seed, "active", "start").permutation(len(pool))[:start]
        while True:
            model = fit(pool.features[asked], pool.truth[asked], seed)
            answers = _all_classes(model, test.features, classes).argmax(1)
            score = Confusion.of(test.truth, answers, classes)
            rows.append({"method": method, "seed": seed, "labels": len(asked), "accuracy": score.accuracy,
                         "macro_f1": score.macro_f1})  # fmt: skip
            if len(asked) >= budget:
                break
            rest = np.setdiff1d(np.arange(len(pool)), asked)
            chosen = choose(
                _all_classes(model, pool.features[rest], classes), min(step, budget - len(asked)), method=method,
                features=pool.features[rest], known=pool.features[asked], seed=seed + 1000 * len(asked),
            )  # fmt: skip
            asked = np.concatenate([asked, rest[chosen]])
    return pd.DataFrame(rows)


def _all_classes(model: Fitted, x: np.ndarray, classes: int) -> np.ndarray:
    """(N, K) probabilities; 0 for a class that was not in training."""
    out = np.zeros((len(x), classes))
    out[:, np.asarray(model.classes_, np.int64)] = model.predict_proba(x)
    return out
