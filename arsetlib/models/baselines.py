"""Baselines on the same windows: the most common class, a random forest, gradient boosting.

They are built by name like the others (``models.build("random_forest", …)``) and fitted on batches of the loader.

Lab: part3_train_and_test.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from arsetlib import copies, folders, processes, textfiles
from arsetlib.models.registry import ModelError
from arsetlib.models.trees import TreeError, check_file, check_trees

# The types in the files of these estimators, besides those of NumPy and Python; skops loads no other type.
TRUSTED = (
    "sklearn._loss.link.Interval",
    "sklearn._loss.link.MultinomialLogit",
    "sklearn._loss.link.LogitLink",
    "sklearn._loss.loss.HalfBinomialLoss",
    "sklearn._loss.loss.HalfMultinomialLoss",
    "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.tree._tree.Tree",
)


class Baseline:
    """A classifier of windows without a neural network.

    Features of a sample: its flat window (T × C), which steps were seen (T), and the day of the year on which the
    window starts (1), as sine and cosine.

    Attributes:
        name: ``"majority"``, ``"random_forest"`` or ``"gradient_boosting"``.
        needs: Loader extras it takes.
        steps, bands, classes: T, C, K.
        options: As given to ``build``.
        present: (P,) the classes of the training samples; None before ``fit``.
    """

    def __init__(
        self, name: str, steps: int, bands: int, classes: int, estimator: Any = None, options: dict | None = None
    ) -> None:
        self.name, self.steps, self.bands, self.classes = name, steps, bands, classes
        self.estimator, self.options = estimator, options or {}
        self.needs = ("seen", "day_of_year") if estimator is not None else ()
        self.present: np.ndarray | None = None
        self.share: np.ndarray | None = None

    def __repr__(self) -> str:
        state = "not fitted" if self.share is None else f"fitted on {len(self.present)} of {self.classes} classes"
        return f"Baseline({self.name!r}, {state})"

    @property
    def shape(self) -> tuple[int, int, int]:
        """(T, C, K)."""
        return self.steps, self.bands, self.classes

    def fit(self, batches: Iterable[tuple]) -> Baseline:
        """Learn from batches ``(x, y)`` or ``(x, y, weight)``, which are all kept in memory.

        Args:
            batches: As the loader gives them: y (B, K) one-hot. Several epochs give more random windows: chain
                ``loader.arrays(0)``, ``loader.arrays(1)``, ….

        Raises:
            ModelError: No sample, other shapes, a label that is no class.

        Lab: part3_train_and_test.
        """
        parts = [self._part(batch) for batch in batches]
        if not sum(len(part[1]) for part in parts):
            raise ModelError(f"Expected samples to fit {self.name} on, received none. Look at the split's counts.")
        x, y, weight = (np.concatenate(column) for column in zip(*parts, strict=True))
        counts = np.bincount(y, weight, self.classes)
        self.share, self.present = counts / counts.sum(), np.unique(y)
        if self.estimator is not None and len(self.present) > 1:
            self._fit(x, y, weight)
        return self

    def predict(self, x: Any, batch_size: int | None = None, verbose: int = 0) -> np.ndarray:
        """Probabilities.

        Args:
            x: As the loader gives it: a dict with ``series`` (B, T, C) and what ``needs`` names.
            batch_size, verbose: Not used; a baseline takes them so that it can be used like a Keras model.

        Returns:
            (B, K) float32; 0 for a class without training samples.

        Raises:
            ModelError: It is not fitted, or x has another shape.

        Lab: part3_train_and_test.
        """
        if self.share is None:
            raise ModelError(f"{self.name} is not fitted yet. Call fit(batches) first.")
        features = self._features(x)
        out = np.zeros((len(features), self.classes), np.float32)
        if self.estimator is None or len(self.present) == 1:
            out[:] = self._constant()
        elif len(features):
            out[:, self.present] = self.estimator.predict_proba(features)
        return out

    def _constant(self) -> np.ndarray:
        """(K,) the shares of the classes in training; the largest is the majority class."""
        return self.share.astype(np.float32)

    def _fit(self, x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> None:
        if "n_jobs" in self.estimator.get_params():
            self.estimator.set_params(n_jobs=processes.cores())
        self.estimator.fit(x, y, weight)
        if "n_jobs" in self.estimator.get_params():
            self.estimator.set_params(n_jobs=None)  # the file must not depend on the machine that wrote it

    def _part(self, batch: tuple) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        x, hot, *weight = (part if isinstance(part, dict) else np.asarray(part) for part in batch)
        if hot.ndim != 2 or hot.shape[1] != self.classes:
            raise ModelError(f"Expected one-hot labels (B, {self.classes}), received {hot.shape}.")
        weight = np.asarray(weight[0], np.float64) if weight else np.ones(len(hot))
        return self._features(x), hot.argmax(1), weight

    def _features(self, x) -> np.ndarray:
        """(B, F) float32, F = T × C + T + 2; for the majority (B, 0)."""
        parts = x if isinstance(x, dict) else {"series": x}
        missing = [name for name in ("series", *self.needs) if name not in parts]
        if missing:
            raise ModelError(
                f"Expected x to be a dict with {['series', *self.needs]}, received one without {missing}. "
                f"Make the loader with extras={self.needs!r}."
            )
        series = np.asarray(parts["series"], np.float32)
        if series.ndim != 3 or series.shape[1:] != (self.steps, self.bands):
            raise ModelError(f"Expected series (B, {self.steps}, {self.bands}), received {series.shape}.")
        if not self.needs:
            return np.empty((len(series), 0), np.float32)
        seen = np.asarray(parts["seen"], np.float32)
        angle = np.asarray(parts["day_of_year"], np.float32)[:, None] * np.float32(2 * np.pi / 365.25)
        return np.concatenate([series.reshape(len(series), -1), seen, np.sin(angle), np.cos(angle)], 1)

    def save(self, file: Path) -> None:
        """Write the file that ``read`` reads: JSON for the majority, skops for the others (never pickle)."""
        if self.share is None:
            raise ModelError(f"{self.name} is not fitted yet, so there is nothing to save. Call fit(batches) first.")
        if self.estimator is None:
            folders.put_json(file, {"share": self.share.tolist()})
        else:
            import skops.io

            state = {"estimator": self.estimator, "present": self.present, "share": self.share}
            folders.put(file, lambda partial: skops.io.dump(state, partial))

    def read(self, file: Path) -> Baseline:
        """Read the file that ``save`` wrote into this baseline.

        Raises:
            ModelError: It holds types that are not trusted, or is not such a file.
        """
        if self.estimator is None:
            state = _read_json(file)
            self.share = state["share"]
            self.present = np.flatnonzero(self.share)
        else:
            state = _read_skops(copies.fetched(file))
            if type(state.get("estimator")) is not type(self.estimator):
                raise ModelError(
                    f"{file} holds a {type(state.get('estimator')).__name__}, expected a "
                    f"{type(self.estimator).__name__} for {self.name}. Train and save the model again."
                )
            self.estimator, self.present, self.share = state["estimator"], state.get("present"), state.get("share")
        self._check(file)
        return self

    def _check(self, file: Path) -> None:
        """Stop where the file would not predict safely: shares that do not add up to 1, trees with wrong indices."""
        share, present = self.share, self.present
        if not isinstance(share, np.ndarray) or share.shape != (self.classes,):
            raise ModelError(
                f"{file} has {np.size(share)} classes, expected {self.classes}. Train and save the model again."
            )
        fits = share.dtype.kind == "f" and bool(np.isfinite(share).all() and (share >= 0).all())
        if not fits or not np.isclose(share.sum(), 1):
            raise ModelError(f"{file} has shares of classes that do not add up to 1. Train and save the model again.")
        whole = isinstance(present, np.ndarray) and present.ndim == 1 and present.dtype.kind in "iu"
        if not whole or not present.size or not _in_order(present, self.classes):
            raise ModelError(f"{file} does not say which classes it was trained on. Train and save the model again.")
        if self.estimator is not None and present.size > 1:
            try:
                check_trees(self.estimator, self.steps * self.bands + self.steps + 2, present.size)
            except TreeError as error:
                raise ModelError(f"{file} cannot predict: {error}. Train and save the model again.") from error


def majority(steps: int, bands: int, classes: int, step_days: int = 5, *, seed: int = 0) -> Baseline:
    """The most common class of the training windows for every sample; probabilities are the classes' shares."""
    return Baseline("majority", steps, bands, classes)


def random_forest(steps: int, bands: int, classes: int, step_days: int = 5, *, seed: int = 0, trees: int = 200,
                  leaf: int = 2, depth: int | None = None, features: float | str = "sqrt") -> Baseline:  # fmt: skip
    """A random forest: trees on random parts of the samples and features, whose votes are averaged.

    Args:
        trees: How many.
        leaf: Fewest samples in a leaf; more makes smaller files and smoother probabilities.
        depth: Largest depth; None grows every tree to its leaves.
        features: Features tried at a split: ``"sqrt"``, or a share.

    Paper: L. Breiman, Random forests, Machine Learning 45, 2001.

    Lab: part3_train_and_test.
    """
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(
        trees, min_samples_leaf=leaf, max_depth=depth, max_features=features, random_state=seed
    )
    options = {"trees": trees, "leaf": leaf, "depth": depth, "features": features}
    return Baseline("random_forest", steps, bands, classes, forest, options)


def gradient_boosting(steps: int, bands: int, classes: int, step_days: int = 5, *, seed: int = 0, rounds: int = 150,
                      rate: float = 0.1, leaves: int = 31, l2: float = 0.0) -> Baseline:  # fmt: skip
    """Gradient boosting on histograms: each tree corrects the errors of those before it.

    Args:
        rounds: Trees of each class.
        rate: Share of its correction that each tree applies.
        leaves: Largest number of leaves of a tree.
        l2: Weight decay of the leaves.

    Paper: J. Friedman, Greedy function approximation, Annals of Statistics 29(5), 2001; on histograms G. Ke et al.,
    LightGBM, NeurIPS 2017.

    Lab: part3_train_and_test.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    boosting = HistGradientBoostingClassifier(
        learning_rate=rate, max_iter=rounds, max_leaf_nodes=leaves, l2_regularization=l2, early_stopping=False,
        random_state=seed,
    )  # fmt: skip
    options = {"rounds": rounds, "rate": rate, "leaves": leaves, "l2": l2}
    return Baseline("gradient_boosting", steps, bands, classes, boosting, options)


def _in_order(present: np.ndarray, classes: int) -> bool:
    """Whether these are numbers of classes, ascending."""
    return bool((np.diff(present.astype(np.int64)) > 0).all() and present[0] >= 0 and present[-1] < classes)


def _read_json(file: Path) -> dict:
    try:
        state = textfiles.read_json(file)
        return {"share": np.asarray(state["share"], np.float64)}
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise ModelError(f"{file} is not a majority baseline: {error!r}. Train and save the model again.") from error


def _read_skops(file: Path) -> dict:
    import skops.io

    try:
        check_file(file)
        strange = sorted(set(skops.io.get_untrusted_types(file=file)) - set(TRUSTED))
        if not strange:
            state = skops.io.load(file, trusted=list(TRUSTED))
    except Exception as error:  # a damaged or hostile file can raise anything
        raise ModelError(f"{file} cannot be read as a skops file: {error}. Train and save the model again.") from error
    if strange:
        raise ModelError(
            f"{file} holds types that are not trusted: {', '.join(strange)}. Load models only from those you trust; "
            "this one was not written by this library."
        )
    return state if isinstance(state, dict) else {}
