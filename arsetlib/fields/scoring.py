"""Score an image classifier, beside what is to be had without a network.

Lab: case_fields.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from arsetlib import models
from arsetlib.evaluation import scores as ratios
from arsetlib.fields.classifier import Classifier, decided
from arsetlib.fields.feeds import feed
from arsetlib.fields.training import best_thresholds

BINS = 16  # of a histogram
TREES = 200


@dataclass(frozen=True)
class Scores:
    """How right one way of answering is.

    Attributes:
        name: Of the model or baseline.
        classes: (K,).
        counts: (K, 4) int64 of each class: right, wrongly said, missed, rightly not said.
        average_precision: (K,) area under precision over recall, from the shares: it needs no threshold. NaN where no
            image has the class. A share that is the same for all images gives the share of the class.
        exact: Share of the images whose labels are all right.
        images: N.

    Lab: case_fields.
    """

    name: str
    classes: tuple[str, ...]
    counts: np.ndarray
    average_precision: np.ndarray
    exact: float
    images: int

    @property
    def f1(self) -> np.ndarray:
        """(K,) 2 right / (2 right + wrong + missed); NaN where neither truth nor answer has the class."""
        right, wrong, missed, _ = self.counts.T
        return ratios.ratio(2 * right, 2 * right + wrong + missed)

    @property
    def precision(self) -> np.ndarray:
        """(K,) share of what was said that is right; NaN where it was never said."""
        return ratios.ratio(self.counts[:, 0], self.counts[:, 0] + self.counts[:, 1])

    @property
    def recall(self) -> np.ndarray:
        """(K,) share of what is there that was said; NaN where it never is."""
        return ratios.ratio(self.counts[:, 0], self.counts[:, 0] + self.counts[:, 2])

    @property
    def macro_f1(self) -> float:
        """Plain mean over the classes that are known: a rare one counts as much as a common one."""
        return float(ratios.mean_of_known(self.f1))

    @property
    def mean_average_precision(self) -> float:
        """mAP: the plain mean of ``average_precision``."""
        return float(ratios.mean_of_known(self.average_precision))

    @property
    def accuracy(self) -> float:
        """Share of all labels (images × classes) that are right; high for who never says a rare class."""
        right, _, _, rightly_not = self.counts.sum(axis=0)
        return float((right + rightly_not) / self.counts.sum())

    def summary(self) -> dict[str, float]:
        return {
            "macro_f1": self.macro_f1,
            "mean_average_precision": self.mean_average_precision,
            "accuracy": self.accuracy,
            "exact": self.exact,
        }

    def by_class(self):
        """A pandas table: one row a class, with its images, F1, precision, recall and average precision."""
        import pandas as pd

        rows = {
            "images": self.counts[:, 0] + self.counts[:, 2], "f1": self.f1, "precision": self.precision,
            "recall": self.recall, "average_precision": self.average_precision,
        }  # fmt: skip
        return pd.DataFrame(rows, index=pd.Index(self.classes, name="class"))


@dataclass(frozen=True)
class Evaluation:
    """A model's scores, and those of the baselines on the same images.

    Attributes:
        model: Scores of the model.
        baselines: Name → Scores; empty where no training images were given.
        simulated: Whether the images were.

    Lab: case_fields.
    """

    model: Scores
    baselines: dict[str, Scores]
    simulated: bool = False

    def table(self):
        """A pandas table: one row for the model and for each baseline."""
        import pandas as pd

        both = [self.model, *self.baselines.values()]
        return pd.DataFrame([s.summary() for s in both], index=pd.Index([s.name for s in both], name="model"))

    def by_class(self):
        """A pandas table of the model's scores, and the F1 of each baseline, one row a class."""
        table = self.model.by_class()
        for name, scores in self.baselines.items():
            table[f"f1 of {name}"] = scores.f1
        return table

    def __str__(self) -> str:
        import pandas as pd

        said = f"{self.model.images:,} {'SIMULATED ' if self.simulated else ''}images"
        with pd.option_context("display.width", 150, "display.max_columns", None):
            return f"{said}\n{self.table().round(3)}\n\n{self.by_class().round(3)}"


def evaluate(classifier: Classifier | str | Path, source, *, train=None, seed: int = 0, batch: int = 64) -> Evaluation:
    """Score a classifier on images that it has not seen.

    Args:
        classifier: Or the folder of one.
        source: Chips, a converted folder, or arrays (x, y).
        train: What it was trained on; gives the baselines. ``majority`` says of every image what most training images
            say of a class; ``random forest`` sees colour histograms, not where a pixel is: what a network is worth is
            what it adds to that.
        seed: Of the forest.
        batch: Images at once.

    Returns:
        An Evaluation.

    Raises:
        ImageError: Images of other classes than the model's, or that cannot be read.

    Lab: case_fields.
    """
    if not isinstance(classifier, Classifier):
        classifier = models.load(classifier, kind="images")
    given = feed(source, batch=batch, size=classifier.size, kind=classifier.kind)
    truth, shares, there = _seen(classifier, given, train is not None)
    common = {"classes": classifier.classes, "kind": classifier.kind}
    found = score(classifier.model.name, truth, shares, thresholds=classifier.thresholds, **common)
    baselines = {}
    if train is not None:
        seen = feed(train, batch=batch, size=classifier.size, kind=classifier.kind)
        features, labels = histograms(seen)
        prior = np.broadcast_to(labels.mean(axis=0), truth.shape)
        baselines["majority"] = score("majority", truth, prior, thresholds=np.full(len(found.classes), 0.5), **common)
        forest, thresholds = _forest(features, labels, there, classifier.kind, seed)
        baselines["random forest"] = score("random forest", truth, forest, thresholds=thresholds, **common)
    return Evaluation(found, baselines, given.simulated)


def score(name: str, truth, shares, *, classes, kind: str = "multi", thresholds=None) -> Scores:
    """Scores of shares.

    Args:
        name: Of who gave them.
        truth: (N, K) 0 or 1.
        shares: (N, K) 0..1.
        classes: (K,) names.
        kind: ``"multi"``, or ``"single"``: the largest share is the answer.
        thresholds: (K,) of kind multi; None: 0.5.
    """
    from sklearn.metrics import average_precision_score

    truth, shares = np.asarray(truth) > 0.5, np.asarray(shares)
    said = decided(shares, kind, 0.5 if thresholds is None else thresholds) > 0
    parts = (truth & said, ~truth & said, truth & ~said, ~truth & ~said)
    average = np.full(truth.shape[1], np.nan)
    for k in np.flatnonzero(truth.any(axis=0)):
        average[k] = average_precision_score(truth[:, k], shares[:, k])
    return Scores(
        name, tuple(classes), np.stack([part.sum(axis=0) for part in parts], axis=1), average,
        float((truth == said).all(axis=1).mean()), len(truth),
    )  # fmt: skip


def histograms(given) -> tuple[np.ndarray, np.ndarray]:
    """What a chip's colours are, without where they are, and its labels.

    Args:
        given: A feed, see ``arsetlib.fields.feeds``.

    Returns:
        (N, C × 16 + 2 C) float32: of each band the share of pixels in each of 16 steps, then mean and standard
        deviation; with four bands also 16 steps of NDVI. (N, K) 0 or 1.
    """
    features, labels = [], []
    for x, y in given.batches(0):
        x = np.asarray(x)
        features.append(np.stack([_histogram(image) for image in x]))
        labels.append(np.asarray(y))
    return np.concatenate(features), np.concatenate(labels)


def _seen(classifier: Classifier, given, colours: bool) -> tuple:
    """Truth, shares and histograms of a feed, in one pass."""
    truth, shares, features = [], [], []
    for x, y in given.batches(0):
        x = np.asarray(x)
        truth.append(np.asarray(y))
        shares.append(classifier.predict(x))
        if colours:
            features += [_histogram(image) for image in x]
    return np.concatenate(truth), np.concatenate(shares), np.array(features)


def _histogram(image: np.ndarray) -> np.ndarray:
    bands = image.reshape(-1, image.shape[2])
    parts = [np.bincount(np.minimum((b * BINS).astype(int), BINS - 1), minlength=BINS) / len(b) for b in bands.T]
    if bands.shape[1] == 4:
        red, nir = bands[:, 0], bands[:, 3]
        ndvi = (nir - red) / np.maximum(nir + red, 1e-6)
        parts.append(np.histogram(ndvi, BINS, (-1, 1))[0] / len(bands))
    return np.concatenate([*parts, bands.mean(axis=0), bands.std(axis=0)]).astype(np.float32)


def _forest(features, labels, there, kind: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(N, K) shares of a random forest, and thresholds from the trees that had not seen an image."""
    from sklearn.ensemble import RandomForestClassifier

    count = labels.shape[1]
    if kind == "single":
        forest = RandomForestClassifier(TREES, class_weight="balanced", random_state=seed, n_jobs=-1)
        forest.fit(features, labels.argmax(axis=1))
        shares = np.zeros((len(there), count))
        shares[:, forest.classes_] = forest.predict_proba(there)
        return shares, np.full(count, 0.5)
    shares, thresholds = np.zeros((len(there), count)), np.full(count, 0.5)
    for k in range(count):
        if len(set(labels[:, k].tolist())) < 2:  # no image of training has it, or all do
            shares[:, k] = labels[0, k]
            continue
        forest = RandomForestClassifier(TREES, random_state=seed, n_jobs=-1, oob_score=True)
        forest.fit(features, labels[:, k] > 0.5)
        shares[:, k] = forest.predict_proba(there)[:, 1]
        unseen = np.nan_to_num(forest.oob_decision_function_[:, 1:])
        thresholds[k] = best_thresholds(labels[:, k : k + 1], unseen)[0]
    return shares, thresholds
