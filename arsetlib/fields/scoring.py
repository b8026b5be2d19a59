"""Score an image classifier, next to two baselines that use no neural network.

Lab: case_fields.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from arsetlib import models
from arsetlib.evaluation import scores as ratios
from arsetlib.fields.chips import Chips
from arsetlib.fields.classes import title
from arsetlib.fields.classifier import Classifier, decided
from arsetlib.fields.feeds import ArrayBatches, feed
from arsetlib.fields.loading import ChipBatches
from arsetlib.fields.training import best_thresholds
from arsetlib.translation import _
from arsetlib.wording import shown

BINS = 16  # of a histogram
TREES = 200


@dataclass(frozen=True, repr=False)
class LabelScores:
    """Scores of the yes-or-no answers to each class.

    Attributes:
        name: Of the model or baseline.
        classes: (K,) names.
        counts: (K, 2, 2) int64, a confusion matrix of each class: rows = truth (no, yes), columns = answer (no, yes).
        average_precision: (K,) area under precision over recall, from the probabilities: it needs no threshold. NaN
            where no image has the class. Equal probabilities for all images give the share of images with the class.
        exact: Share of the images with all labels right.
        images: N.

    Lab: case_fields.
    """

    name: str
    classes: tuple[str, ...]
    counts: np.ndarray
    average_precision: np.ndarray
    exact: float
    images: int

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value:.3f}" for name, value in self.summary().items())
        return f"LabelScores({self.name!r}, {self.images:,} images, {values})"

    @property
    def f1(self) -> np.ndarray:
        """(K,) 2 TP / (2 TP + FP + FN); NaN where neither truth nor answers have the class."""
        return ratios.f1(self.counts)[:, 1]

    @property
    def precision(self) -> np.ndarray:
        """(K,) share of the 'yes' answers that are right; NaN where there is none."""
        return ratios.precision(self.counts)[:, 1]

    @property
    def recall(self) -> np.ndarray:
        """(K,) share of the images with the class that are answered 'yes'; NaN where there is none."""
        return ratios.recall(self.counts)[:, 1]

    @property
    def macro_f1(self) -> float:
        """Mean F1 of the classes that have one: a rare class counts as much as a common one."""
        return float(ratios.mean_of_known(self.f1))

    @property
    def mean_average_precision(self) -> float:
        """mAP: the mean of ``average_precision``."""
        return float(ratios.mean_of_known(self.average_precision))

    @property
    def accuracy(self) -> float:
        """Share of all labels (images × classes) that are right; high even if a rare class is never predicted."""
        return float(ratios.accuracy(self.counts.sum(axis=0)))

    def summary(self) -> dict[str, float]:
        """Score → value."""
        return {
            "macro_f1": self.macro_f1,
            "mean_average_precision": self.mean_average_precision,
            "accuracy": self.accuracy,
            "exact": self.exact,
        }

    def by_class(self) -> pd.DataFrame:
        """One row per class, with its images, F1, precision, recall and average precision."""
        columns = {
            "images": ratios.support(self.counts)[:, 1], "f1": self.f1, "precision": self.precision,
            "recall": self.recall, "average_precision": self.average_precision,
        }  # fmt: skip
        return pd.DataFrame(columns, index=pd.Index(self.classes, name="class"))


@dataclass(frozen=True, repr=False)
class FieldScores:
    """Scores of a model, and of the baselines on the same images.

    Attributes:
        model: LabelScores of the model.
        baselines: Name → LabelScores; empty if no training images were given.
        simulated: Whether the images are.

    Lab: case_fields.
    """

    model: LabelScores
    baselines: dict[str, LabelScores]
    simulated: bool = False

    def table(self) -> pd.DataFrame:
        """One row for the model and for each baseline."""
        both = [self.model, *self.baselines.values()]
        return pd.DataFrame([s.summary() for s in both], index=pd.Index([s.name for s in both], name="model"))

    def by_class(self) -> pd.DataFrame:
        """One row per class: the model's scores, and the F1 of each baseline."""
        table = self.model.by_class()
        for name, scores in self.baselines.items():
            table[f"f1 of {name}"] = scores.f1
        return table

    def __repr__(self) -> str:
        return f"FieldScores({self.model!r}, baselines: {', '.join(self.baselines) or 'none'})"

    def __str__(self) -> str:
        words = _("{n} SIMULATED images") if self.simulated else _("{n} images")
        images = words.format(n=f"{self.model.images:,}")
        with pd.option_context("display.width", 150, "display.max_columns", None):
            return f"{images}\n{shown(self.table().round(3))}\n\n{shown(self.by_class().round(3).rename(title))}"


def evaluate(
    classifier: Classifier | str | Path,
    source: Chips | str | Path | tuple,
    *,
    train: Chips | str | Path | tuple | None = None,
    seed: int = 0,
    batch: int = 64,
) -> FieldScores:
    """Score a classifier on images that were not used for training.

    Args:
        classifier: Or its folder.
        source: Chips, a converted folder, or arrays (x, y).
        train: The training images, for two baselines. ``majority`` gives each image the most frequent answer to each
            class. ``random forest`` sees colour histograms, but not where a pixel is: a network is worth what it adds
            to that.
        seed: Of the forest.
        batch: Images at once.

    Returns:
        FieldScores.

    Raises:
        ImageError: Images of other classes than the model's, or that cannot be read.

    Lab: case_fields.
    """
    if not isinstance(classifier, Classifier):
        classifier = models.load(classifier, kind="images")
    options = {"batch": batch, "size": classifier.size, "kind": classifier.kind}
    images = feed(source, **options)
    truth, probabilities, features = _predicted(classifier, images, histograms_too=train is not None)
    common = {"classes": classifier.classes, "kind": classifier.kind}
    model = score(classifier.model.name, truth, probabilities, thresholds=classifier.thresholds, **common)
    baselines = {}
    if train is not None:
        known, labels = histograms(feed(train, **options))
        prior = np.broadcast_to(labels.mean(axis=0), truth.shape)
        baselines["majority"] = score("majority", truth, prior, **common)
        forest, thresholds = _forest(known, labels, features, classifier.kind, seed)
        baselines["random forest"] = score("random forest", truth, forest, thresholds=thresholds, **common)
    return FieldScores(model, baselines, images.simulated)


def score(
    name: str,
    truth: np.ndarray,
    probabilities: np.ndarray,
    *,
    classes: Sequence[str],
    kind: str = "multi",
    thresholds: np.ndarray | None = None,
) -> LabelScores:
    """Compare probabilities with the truth.

    Args:
        name: Of the model that gave them.
        truth: (N, K) 0 or 1.
        probabilities: (N, K) 0..1.
        classes: (K,) names.
        kind: ``"multi"``, or ``"single"``: the most probable class is the answer.
        thresholds: (K,) probability from which the answer is 'yes' (kind multi); None: 0.5.
    """
    from sklearn.metrics import average_precision_score

    truth, probabilities = np.asarray(truth) > 0.5, np.asarray(probabilities)
    answer = decided(probabilities, kind, 0.5 if thresholds is None else thresholds) > 0
    counts = np.stack([~truth & ~answer, ~truth & answer, truth & ~answer, truth & answer], axis=-1).sum(axis=0)
    average = np.full(truth.shape[1], np.nan)
    for k in np.flatnonzero(truth.any(axis=0)):
        average[k] = average_precision_score(truth[:, k], probabilities[:, k])
    exact = float((truth == answer).all(axis=1).mean())
    return LabelScores(name, tuple(classes), counts.reshape(-1, 2, 2), average, exact, len(truth))


def histograms(images: ChipBatches | ArrayBatches) -> tuple[np.ndarray, np.ndarray]:
    """The colours of images, without their places, and their labels.

    Args:
        images: From ``feeds.feed``.

    Returns:
        (N, C × 16 + 2 C) float32: of each band the share of pixels in each of 16 bins, then mean and standard
        deviation; with four bands also 16 bins of NDVI. (N, K) 0 or 1.
    """
    features, labels = [], []
    for x, y in images.batches(0):
        features += [_histogram(image) for image in np.asarray(x)]
        labels.append(np.asarray(y))
    return np.array(features), np.concatenate(labels)


def _predicted(classifier: Classifier, images, histograms_too: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Truth, probabilities and histograms of images, in one pass."""
    truth, probabilities, features = [], [], []
    for x, y in images.batches(0):
        x = np.asarray(x)
        truth.append(np.asarray(y))
        probabilities.append(classifier.predict(x))
        if histograms_too:
            features += [_histogram(image) for image in x]
    return np.concatenate(truth), np.concatenate(probabilities), np.array(features)


def _histogram(image: np.ndarray) -> np.ndarray:
    bands = image.reshape(-1, image.shape[2])
    parts = [np.bincount(np.minimum((b * BINS).astype(int), BINS - 1), minlength=BINS) / len(b) for b in bands.T]
    if bands.shape[1] == 4:
        red, nir = bands[:, 0], bands[:, 3]
        ndvi = (nir - red) / np.maximum(nir + red, 1e-6)
        parts.append(np.histogram(ndvi, BINS, (-1, 1))[0] / len(bands))
    return np.concatenate([*parts, bands.mean(axis=0), bands.std(axis=0)]).astype(np.float32)


def _forest(known, labels, features, kind: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(N, K) probabilities of a random forest, and thresholds from the trees that were not trained on an image."""
    from sklearn.ensemble import RandomForestClassifier

    count = labels.shape[1]
    if kind == "single":
        forest = RandomForestClassifier(TREES, class_weight="balanced", random_state=seed, n_jobs=-1)
        forest.fit(known, labels.argmax(axis=1))
        probabilities = np.zeros((len(features), count))
        probabilities[:, forest.classes_] = forest.predict_proba(features)
        return probabilities, np.full(count, 0.5)
    probabilities, thresholds = np.zeros((len(features), count)), np.full(count, 0.5)
    for k in range(count):
        if len(set(labels[:, k].tolist())) < 2:  # no training image has it, or all have
            probabilities[:, k] = labels[0, k]
            continue
        forest = RandomForestClassifier(TREES, random_state=seed, n_jobs=-1, oob_score=True)
        forest.fit(known, labels[:, k] > 0.5)
        probabilities[:, k] = forest.predict_proba(features)[:, 1]
        unseen = np.nan_to_num(forest.oob_decision_function_[:, 1:])
        thresholds[k] = best_thresholds(labels[:, k : k + 1], unseen)[0]
    return probabilities, thresholds
