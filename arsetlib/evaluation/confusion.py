"""A confusion matrix that adds up: the matrix of two chunks together is the sum of theirs.

Lab: part3_train_and_test.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from arsetlib.errors import ArsetError
from arsetlib.evaluation import scores
from arsetlib.study import Legend
from arsetlib.translation import _
from arsetlib.wording import column

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

PER_PASS = 4_000_000  # samples counted at once, so that memory does not grow with the map
OVER = {"truth": "each row sums to 1", "prediction": "each column sums to 1", "all": "the whole sums to 1"}


class EvaluationError(ArsetError, ValueError):
    """The input cannot be scored; the message says why and what to do."""


@dataclass(frozen=True, eq=False, repr=False)
class Confusion:
    """How often each class was predicted as each other.

    ``Confusion.of`` makes one, ``+`` and ``sum`` add several: by date, block or chunk, in any order, on any machine.

    >>> one = Confusion.of([0, 0, 1], [0, 1, 1], ["corn", "rice"])
    >>> one.accuracy, one.recall
    (0.6666666666666666, array([0.5, 1. ]))
    >>> (one + one).total
    6

    A class that occurs neither in truth nor in prediction has no score (NaN) and is in no mean. A class that occurs in
    only one of them counts with F1 = IoU = 0. scikit-learn does the same if it is given no list of labels.

    Attributes:
        counts: (K, K) int64 (float64 where weighted), rows = truth, columns = prediction.
        keys: (K,) what code calls the classes.
        names: (K,) what a reader sees.
        scored: (K,) bool, the classes that are scored; all of them unless ``only`` was called.

    Lab: part3_train_and_test.

    >>> one = Confusion.of([0, 1, 1, 1], [0, 1, 1, 0], ["corn", "rice"])
    >>> (one + one).counts.tolist()
    [[2, 0], [2, 4]]
    >>> one.accuracy
    0.75
    """

    counts: np.ndarray
    keys: tuple[str, ...]
    names: tuple[str, ...]
    scored: np.ndarray

    @classmethod
    def of(
        cls,
        truth: ArrayLike,
        predicted: ArrayLike,
        legend: Legend | Sequence[str] | int,
        *,
        weight: ArrayLike | None = None,
        ignore: int | None = None,
    ) -> Confusion:
        """Count.

        Args:
            truth: Class numbers of any shape: (N,) for samples, (B, H, W) for masks.
            predicted: Class numbers, same shape.
            legend: A legend, the classes' names, or how many classes there are (K).
            weight: Same shape, what each sample counts; None counts each once.
            ignore: A value of ``truth`` that stands for 'not labelled'; such samples are left out.

        Raises:
            EvaluationError: Shapes differ, numbers are not whole, or outside 0 to K − 1.
        """
        keys, names = _named(legend)
        truth, predicted = _flat(truth, "truth"), _flat(predicted, "predicted")
        if truth[1] != predicted[1]:
            raise EvaluationError(
                f"Expected truth and prediction of one shape, received {truth[1]} and {predicted[1]}. "
                "Predictions must be class numbers: take argmax over the classes first."
            )
        weight = None if weight is None else np.asarray(weight, np.float64).ravel()
        if weight is not None and weight.shape != truth[0].shape:
            raise EvaluationError(f"Expected one weight a sample, {truth[0].size}, received {weight.size}.")
        if weight is not None and not (np.isfinite(weight) & (weight >= 0)).all():
            raise EvaluationError("Expected weights of 0 or more, received a negative or missing one.")
        return cls(_counted(truth[0], predicted[0], len(keys), weight, ignore), keys, names, np.ones(len(keys), bool))

    @classmethod
    def from_counts(cls, counts: ArrayLike, legend: Legend | Sequence[str] | int | None = None) -> Confusion:
        """From a matrix that is already counted, (K, K), rows = truth, columns = prediction.

        Raises:
            EvaluationError: Another shape, a count that is none, or a table whose rows or columns are in another order.
        """
        table, counts = counts, np.array(counts)
        keys, names = _named(len(counts) if legend is None else legend)
        if isinstance(table, pd.DataFrame):
            _check_order(table, legend is not None, keys, names)
        if counts.shape != (len(keys), len(keys)):
            raise EvaluationError(f"Expected a matrix of {len(keys)} × {len(keys)}, received {counts.shape}.")
        if not np.issubdtype(counts.dtype, np.number) or not (np.isfinite(counts) & (counts >= 0)).all():
            raise EvaluationError("Expected counts of 0 or more, received a negative or missing one.")
        kind = np.int64 if np.issubdtype(counts.dtype, np.integer) else np.float64
        return cls(counts.astype(kind), keys, names, np.ones(len(keys), bool))

    # -- adding up ----------------------------------------------------------------------------------------------------

    def __add__(self, other: Confusion) -> Confusion:
        if not isinstance(other, Confusion):
            return NotImplemented
        if self.keys != other.keys:
            raise EvaluationError(
                f"Expected the same classes in the same order, received {list(self.keys)} and {list(other.keys)}. "
                "Score both with one legend before adding them."
            )
        if not np.array_equal(self.scored, other.scored):
            raise EvaluationError("Expected confusions of the same classes; call .only(...) after adding, not before.")
        return replace(self, counts=self.counts + other.counts)

    def __radd__(self, other) -> Confusion:
        """Lets ``sum(confusions)`` start from 0."""
        return self if isinstance(other, int) and other == 0 else NotImplemented

    def __eq__(self, other) -> bool:
        if not isinstance(other, Confusion):
            return NotImplemented
        same = self.keys == other.keys and np.array_equal(self.scored, other.scored)
        return same and np.array_equal(self.counts, other.counts)

    __hash__ = None

    def __len__(self) -> int:
        """How many classes, K."""
        return len(self.keys)

    def only(self, classes: Sequence[str | int]) -> Confusion:
        """Scores of some classes: of the samples whose truth is one of them.

        Samples of other truth are left out, so that accuracy late in the season is not that of bare fields. Predictions
        stay as they are: a corn field predicted as 'No Crops Growing' is still wrong. Means are over these classes.

        Args:
            classes: Keys or numbers.

        Raises:
            EvaluationError: No such class.
        """
        scored = np.zeros(len(self), bool)
        scored[numbers_of(classes, self.keys)] = True
        scored &= self.scored
        return replace(self, counts=scores.rows_only(self.counts, scored), scored=scored)

    # -- one number ---------------------------------------------------------------------------------------------------

    @property
    def total(self) -> float:
        """Samples (or their weight)."""
        return self.counts.sum().item()

    @property
    def accuracy(self) -> float:
        """Share of the samples that are right; for masks this is pixel accuracy. NaN without samples."""
        return float(scores.accuracy(self.counts))

    pixel_accuracy = accuracy

    @property
    def balanced_accuracy(self) -> float:
        """Mean recall of the classes that the truth has."""
        return float(scores.mean_of_known(self.recall))

    @property
    def macro_f1(self) -> float:
        """Mean F1 of the classes that truth or prediction has: each class weighs the same."""
        return float(scores.mean_of_known(self.f1))

    @property
    def weighted_f1(self) -> float:
        """Mean F1 weighted by the classes' share of the truth: common classes weigh more."""
        return self._weighted(self.f1)

    @property
    def micro_f1(self) -> float:
        """F1 of all decisions pooled. It equals accuracy unless ``only`` left some classes out."""
        found = scores.hits(self.counts)[self.scored].sum()
        named = scores.support(self.counts)[self.scored].sum() + scores.predicted(self.counts)[self.scored].sum()
        return float(scores.ratio(2 * found, named))

    @property
    def kappa(self) -> float:
        """Cohen's kappa: agreement beyond that of chance. For readers who know it; it tells no more than accuracy
        (Pontius & Millones 2011, International Journal of Remote Sensing 32)."""
        return float(scores.kappa(self.counts))

    @property
    def mean_iou(self) -> float:
        """Mean IoU of the classes that truth or prediction has."""
        return float(scores.mean_of_known(self.iou))

    @property
    def frequency_weighted_iou(self) -> float:
        """Mean IoU weighted by the classes' share of the truth."""
        return self._weighted(self.iou)

    # -- one number a class -------------------------------------------------------------------------------------------

    @property
    def support(self) -> np.ndarray:
        """(K,) samples whose truth is each class."""
        return scores.support(self.counts)

    @property
    def precision(self) -> np.ndarray:
        """(K,) share of each class's predictions that are right; NaN where it was never predicted."""
        return self._scored(scores.precision(self.counts))

    @property
    def recall(self) -> np.ndarray:
        """(K,) share of each class that was found; NaN where the truth has none of it."""
        return self._scored(scores.recall(self.counts))

    @property
    def f1(self) -> np.ndarray:
        """(K,) harmonic mean of precision and recall; NaN where truth and prediction lack the class."""
        return self._scored(scores.f1(self.counts))

    @property
    def iou(self) -> np.ndarray:
        """(K,) intersection over union; NaN where truth and prediction lack the class."""
        return self._scored(scores.iou(self.counts))

    # -- tables -------------------------------------------------------------------------------------------------------

    def normalised(self, over: str = "truth") -> pd.DataFrame:
        """The matrix as shares.

        Args:
            over: ``"truth"``: each row sums to 1 and the diagonal is recall. ``"prediction"``: each column sums to 1
                and the diagonal is precision; a class of which 1 % was found can then look perfect.
                ``"all"``: shares of all samples.

        Returns:
            (K, K) table, rows = truth, columns = prediction, NaN in a row or column without samples. The name of its
            rows and ``.attrs["normalised"]`` say over what it is normalised.
        """
        if over not in OVER:
            raise EvaluationError(f"Expected over = {' or '.join(map(repr, OVER))}, received {over!r}.")
        axis = {"truth": 1, "prediction": 0, "all": None}[over]
        shares = scores.ratio(self.counts, self.counts.sum(axis, keepdims=True))
        table = self._frame(shares, f"truth ({OVER[over]})")
        table.attrs["normalised"] = over
        return table

    def matrix(self) -> pd.DataFrame:
        """The counts with names, rows = truth, columns = prediction."""
        return self._frame(self.counts, "truth (counts)")

    def table(self, names: Sequence[str] | None = None) -> pd.DataFrame:
        """One row a class: truth and predicted (samples), precision, recall, f1, iou. ``names`` in another language."""
        columns = {
            "truth": scores.support(self.counts),
            "predicted": scores.predicted(self.counts),
            "precision": self.precision,
            "recall": self.recall,
            "f1": self.f1,
            "iou": self.iou,
        }
        return pd.DataFrame(columns, index=pd.Index(names or self.names, name="class"))[self.scored]

    def summary(self) -> dict[str, float]:
        """The one-number scores, JSON values but for NaN where a score has no meaning."""
        return {
            "samples": self.total,
            "accuracy": self.accuracy,
            "balanced_accuracy": self.balanced_accuracy,
            "macro_f1": self.macro_f1,
            "weighted_f1": self.weighted_f1,
            "kappa": self.kappa,
            "mean_iou": self.mean_iou,
            "frequency_weighted_iou": self.frequency_weighted_iou,
        }

    def __repr__(self) -> str:
        table = self.matrix()
        table["recall"] = [f"{r:.2f}" if r == r else "-" for r in self.recall]
        table = table[self.scored]
        absent = [n for n, f, s in zip(self.names, self.f1, self.scored, strict=True) if s and f != f]
        names = ("accuracy", "balanced_accuracy", "macro_f1", "kappa")
        lines = [
            _("Confusion of {n} samples, counts, rows = truth, columns = prediction").format(n=f"{self.total:,.10g}"),
            table.rename_axis(index=None, columns=None).rename(columns={"recall": column("recall")}).to_string(),
            ", ".join(f"{column(name)} {getattr(self, name):.3f}" for name in names),
        ]
        if not self.scored.all():
            lines.append(_("scored: {classes}").format(classes=", ".join(self.table().index)))
        if absent:
            lines.append(
                _("neither in truth nor predicted, so in no mean: {classes}").format(classes=", ".join(absent))
            )
        return "\n".join(lines)

    # -- small parts --------------------------------------------------------------------------------------------------

    def _scored(self, values: np.ndarray) -> np.ndarray:
        return np.where(self.scored, values, np.nan)

    def _weighted(self, values: np.ndarray) -> float:
        shares = np.where(self.scored, self.support, 0)
        known = np.where(np.isnan(values), 0, values)
        return float(scores.ratio((shares * known).sum(), shares.sum()))

    def _frame(self, values: np.ndarray, rows: str) -> pd.DataFrame:
        columns = pd.Index(self.names, name="predicted")
        return pd.DataFrame(values, index=pd.Index(self.names, name=rows), columns=columns)


def _check_order(table: pd.DataFrame, has_legend: bool, keys: Sequence[str], names: Sequence[str]) -> None:
    """Refuse a table of counts whose rows or columns are the classes in another order."""
    rows, columns = list(table.index), list(table.columns)
    wanted = [list(keys), list(names)] if has_legend else []
    for expected in [*wanted, rows]:
        for whose, found in (("rows", rows), ("columns", columns)):
            if found != expected and set(found) == set(expected):
                raise EvaluationError(
                    f"Expected rows and columns in the order {expected}, received the {whose} {found}. Sort them: "
                    "table.loc[keys, keys]."
                )


def numbers_of(classes: Sequence[str | int], keys: Sequence[str]) -> list[int]:
    """Class numbers of keys or numbers."""
    if isinstance(classes, str):
        classes = [classes]
    found = []
    for c in classes:
        number = keys.index(c) if isinstance(c, str) and c in keys else c
        if isinstance(number, str) or not 0 <= number < len(keys):
            raise EvaluationError(f"Expected classes among {', '.join(keys)}, received {c!r}.")
        found.append(int(number))
    if not found:
        raise EvaluationError("Expected at least one class to score, received none.")
    return found


def single_crops(legend: Legend) -> list[str]:
    """Keys of the classes that are one crop each: the 'four crops' of the delta's legend.

    Where no class has a single label code, every class on which something is grown.

    >>> from arsetlib.study import Study
    >>> single_crops(Study.load("sample").legend)
    ['corn', 'soybeans', 'cotton', 'rice']
    """
    grown = [c for c in legend.classes if c.crop and c.codes]
    single = [c.key for c in grown if c.codes != "others" and len(c.codes) == 1]
    return single or [c.key for c in grown] or legend.keys


def _named(legend) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Keys and names of the classes."""
    if isinstance(legend, Legend):
        return tuple(legend.keys), tuple(legend.names())
    if isinstance(legend, int | np.integer):
        legend = [str(i) for i in range(legend)]
    names = tuple(map(str, legend))
    if not names or len(set(names)) < len(names):
        raise EvaluationError(f"Expected a legend, distinct names or a number of classes, received {list(names)}.")
    return names, names


def _flat(values, whose: str) -> tuple[np.ndarray, tuple[int, ...]]:
    values = np.asarray(values)
    if values.size and not np.issubdtype(values.dtype, np.integer):
        raise EvaluationError(
            f"Expected whole class numbers as {whose}, received {values.dtype}. Take argmax of probabilities first."
        )
    return values.ravel(), values.shape


def _counted(truth, predicted, classes: int, weight, ignore) -> np.ndarray:
    """(K, K) counts, in passes of bounded memory."""
    counts = np.zeros(classes * classes, np.int64 if weight is None else np.float64)
    for at in range(0, truth.size, PER_PASS):
        part = slice(at, at + PER_PASS)
        t, p = truth[part], predicted[part]
        w = None if weight is None else weight[part]
        if ignore is not None:
            keep = t != ignore
            t, p, w = t[keep], p[keep], None if w is None else w[keep]
        _check_range(t, classes, "Truth", at, ignore)
        _check_range(p, classes, "Prediction", at, None)
        pair = t.astype(np.int64) * classes + p
        counts += np.bincount(pair, weights=w, minlength=len(counts)).astype(counts.dtype)
    return counts.reshape(classes, classes)


def _check_range(values: np.ndarray, classes: int, whose: str, at: int, ignore) -> None:
    if not values.size or (values.min() >= 0 and values.max() < classes):
        return
    bad = (values < 0) | (values >= classes)
    hint = "" if ignore is not None or whose != "Truth" else " Leave them out, or name their value with ignore = …"
    raise EvaluationError(
        f"{whose} has class numbers {np.unique(values[bad])[:5].tolist()}, {int(bad.sum())} of them, the first near "
        f"sample {at + int(bad.argmax())}; this legend's go from 0 to {classes - 1}. -1 is a row that the legend "
        f"excludes, such as a double crop.{hint}"
    )
