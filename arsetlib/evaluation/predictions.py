"""Predictions of a model for pixels and windows, with their truth: the data from which all scores are computed.

Lab: part3_train_and_test.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import ArrayLike

from arsetlib import copies, folders
from arsetlib.evaluation.confusion import Confusion, EvaluationError
from arsetlib.study import Class, Legend
from arsetlib.translation import _
from arsetlib.wording import span

VERSION = 1
META = b"arset.predictions"
PREFIX = "p_"  # of a probability's column
ROW_GROUP = 262_144  # rows
KINDS = {
    "truth": np.int8,
    "probability": np.float32,
    "start": np.int32,
    "last": np.int32,
    "pixel": np.int64,
    "year": np.int16,
    "x": np.float64,
    "y": np.float64,
    "block": np.int32,
    "area": object,
}
GROUPS = ("last", "start", "day_of_year", "block", "area", "year", "all")
EPOCH = date(1970, 1, 1)


@dataclass(frozen=True, eq=False, repr=False)
class Predictions:
    """N predictions. Arrays of the types below; others are converted where nothing is lost.

    >>> from arsetlib.study import Class, Legend
    >>> classes = [Class(name, {"en": name}, "#ffd400", (code,)) for name, code in (("corn", 1), ("rice", 3))]
    >>> legend = Legend("two crops", tuple(classes))
    >>> one = dict(start=[17897], last=[18016], pixel=[7], year=[2019], x=[0.0], y=[0.0], block=[0], area=["a"])
    >>> Predictions(truth=[0], probability=[[0.8, 0.2]], legend=legend, simulated=True, **one)
    Predictions (SIMULATED, 1 of 2 classes, 2019-04-30 to 2019-04-30)

    Attributes:
        truth: (N,) int8, class numbers after the vegetation rule.
        probability: (N, K) float32, each row sums to 1.
        start: (N,) int32, first day of the window, days since 1970-01-01.
        last: (N,) int32, last day of the window: the date on which the prediction could be made.
        pixel: (N,) int64, the label grid's pixel.
        year: (N,) int16.
        x, y: (N,) float64, m in the label grid's CRS.
        block: (N,) int32, spatial block.
        area: (N,) str.
        legend: What the class numbers mean.
        simulated: True where any of it was not measured.

    Raises:
        EvaluationError: Lengths or shapes differ; class numbers outside the legend (-1 is a row that the legend
            excludes, such as a double crop: it must not be a test sample); a NaN probability, with its row;
            probabilities that do not sum to 1.

    Lab: part3_train_and_test.
    """

    truth: np.ndarray
    probability: np.ndarray
    start: np.ndarray
    last: np.ndarray
    pixel: np.ndarray
    year: np.ndarray
    x: np.ndarray
    y: np.ndarray
    block: np.ndarray
    area: np.ndarray
    legend: Legend
    simulated: bool

    def __post_init__(self):
        for name, kind in KINDS.items():
            object.__setattr__(self, name, _column(getattr(self, name), name, kind))
        self._check_shapes()
        self._check_windows()
        self._check_classes()
        self._check_probability()

    def __len__(self) -> int:
        return len(self.truth)

    def __repr__(self) -> str:
        kind = _("SIMULATED") + ", " if self.simulated else ""
        dates = span(as_date(self.last.min()), as_date(self.last.max())) if len(self) else _("no dates")
        words = _("Predictions ({n} of {classes} classes, {dates})")
        return words.format(n=f"{kind}{len(self):,}", classes=len(self.legend.classes), dates=dates)

    @functools.cached_property
    def predicted(self) -> np.ndarray:
        """(N,) int8, the most probable class; the first of equal ones."""
        return self.probability.argmax(1).astype(np.int8)

    def confusion(self) -> Confusion:
        """How often each class was predicted as each other, over all predictions."""
        return Confusion.of(self.truth, self.predicted, self.legend)

    def groups(self, name: str) -> tuple[list, np.ndarray]:
        """Values in ascending order, and the position of each prediction's, (N,) int64.

        Values are ``datetime.date`` for ``last`` and ``start``, str for ``area``, int for ``block``, ``year`` and
        ``day_of_year`` (of the window's start: pools years). ``all`` puts everything together.
        """
        if name not in GROUPS:
            raise EvaluationError(f"Expected one of {', '.join(GROUPS)} to group by, received {name!r}.")
        if name == "all":
            return ["all"], np.zeros(len(self), np.int64)
        column = day_of_year(self.start, self.year) if name == "day_of_year" else getattr(self, name)
        codes, values = pd.factorize(column, sort=True)
        values = [as_date(v) for v in values] if name in ("last", "start") else np.asarray(values).tolist()
        return values, codes

    def counts_by(self, name: str) -> tuple[list, np.ndarray]:
        """Values as ``groups`` gives them, and (G, K, K) int64 counts of each."""
        values, codes = self.groups(name)
        classes = len(self.legend.classes)
        pairs = self.truth.astype(np.int64) * classes + self.predicted
        counts = np.bincount(codes * classes**2 + pairs, minlength=len(values) * classes**2)
        return values, counts.reshape(len(values), classes, classes)

    def by(self, name: str) -> dict[object, Confusion]:
        """One confusion for each value of ``last``, ``start``, ``day_of_year``, ``block``, ``area`` or ``year``.

        Keys are those of ``groups``, ascending: ``datetime.date`` for ``last``, the date of a prediction. Their
        ``sum(…)`` is ``confusion()``.
        """
        values, counts = self.counts_by(name)
        return {v: Confusion.from_counts(c, self.legend) for v, c in zip(values, counts, strict=True)}

    def pick(self, which: ArrayLike | slice) -> Predictions:
        """Some of them: a bool mask (N,), row numbers or a slice."""
        which = np.asarray(which) if not isinstance(which, slice) else which
        if isinstance(which, np.ndarray) and which.dtype == bool and which.shape != (len(self),):
            raise EvaluationError(f"Expected a mask of {len(self)} rows, received shape {which.shape}.")
        columns = {name: getattr(self, name)[which] for name in KINDS}
        return Predictions(**columns, legend=self.legend, simulated=self.simulated)

    def __add__(self, other: Predictions) -> Predictions:
        if not isinstance(other, Predictions):
            return NotImplemented
        return Predictions.concat([self, other])

    @classmethod
    def concat(cls, parts: Iterable[Predictions]) -> Predictions:
        """All of several; one copy, where ``+`` in a loop would make many."""
        parts = list(parts)
        if not parts:
            raise EvaluationError("Expected at least one set of predictions, received none.")
        legend = parts[0].legend
        for part in parts[1:]:
            same_legend(legend, part.legend)
        columns = {name: np.concatenate([getattr(p, name) for p in parts]) for name in KINDS}
        return cls(**columns, legend=legend, simulated=any(p.simulated for p in parts))

    # -- on disk ------------------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> Path:
        """Write a Parquet file: a column an attribute, ``p_<class key>`` the probabilities, the legend in its metadata.

        An unfinished file never has the name ``path``, which may be an address in an object store (``s3://…``).
        """
        path = folders.place(path)
        meta = {"version": VERSION, "simulated": self.simulated, "legend": _legend_json(self.legend)}
        schema = _schema(self.legend).with_metadata({META: json.dumps(meta).encode()})

        def write(file: Path) -> None:
            with pq.ParquetWriter(file, schema, compression="zstd", use_dictionary=["area", "year", "block"]) as out:
                for at in range(0, len(self), ROW_GROUP):
                    out.write_table(self._arrow(slice(at, at + ROW_GROUP), schema))

        folders.put(path, write)
        return path

    @classmethod
    def load(cls, path: str | Path) -> Predictions:
        """Read what ``save`` wrote.

        Raises:
            EvaluationError: No such file, no predictions in it, or of a newer version.
        """
        path = folders.place(path)
        if path.is_dir():
            path = path / "predictions.parquet"
        if not path.is_file():
            raise EvaluationError(f"Expected saved predictions at {path}, found none. Make them with `arset evaluate`.")
        try:
            with pq.ParquetFile(copies.fetched(path)) as file:
                meta = _meta(file.schema_arrow, path)
                columns = _read(file, len(meta["legend"].classes), meta["legend"].keys)
        except (pa.ArrowInvalid, OSError) as problem:
            raise EvaluationError(f"{path} cannot be read: {problem}. Make it again with `arset evaluate`.") from None
        return cls(**columns, **meta)

    def _arrow(self, rows: slice, schema: pa.Schema) -> pa.Table:
        columns = {name: getattr(self, name)[rows] for name in KINDS if name != "probability"}
        probability = self.probability[rows]
        columns |= {PREFIX + k: np.ascontiguousarray(probability[:, i]) for i, k in enumerate(self.legend.keys)}
        return pa.table([pa.array(columns[f.name], f.type) for f in schema], schema=schema)

    # -- checks -------------------------------------------------------------------------------------------------------

    def _check_shapes(self) -> None:
        rows, classes = len(self.truth), len(self.legend.classes)
        for name in KINDS:
            expected = (rows, classes) if name == "probability" else (rows,)
            if getattr(self, name).shape != expected:
                raise EvaluationError(
                    f"Expected {name} of shape {expected} (N = {rows} truths, K = {classes} classes of the legend), "
                    f"received {getattr(self, name).shape}."
                )

    def _check_windows(self) -> None:
        bad = self.last < self.start
        if bad.any():
            row = int(bad.argmax())
            raise EvaluationError(
                f"Expected windows whose last day is not before the first, received {int(bad.sum())} others: row {row} "
                f"has start {self.start[row]} and last {self.last[row]}. Give both as days since 1970-01-01."
            )

    def _check_classes(self) -> None:
        bad = (self.truth < 0) | (self.truth >= len(self.legend.classes))
        if bad.any():
            row = int(bad.argmax())
            raise EvaluationError(
                f"{int(bad.sum())} truths are no class of the legend {self.legend.name!r} (0 to "
                f"{len(self.legend.classes) - 1}): row {row} has {self.truth[row]}, pixel {self.pixel[row]}. -1 is a "
                "row that the legend excludes, such as a double crop: leave it out of the test."
            )

    def _check_probability(self) -> None:
        bad = no_shares(self.probability)
        if not bad.any():
            return
        row = int(bad.argmax())
        unknown = np.isnan(self.probability[row]).any()
        what = "NaN" if unknown else "no shares that sum to 1"
        hint = "Did the training diverge?" if unknown else "The model's last layer should be a softmax."
        raise EvaluationError(
            f"{int(bad.sum())} of {len(self)} predictions have {what}: row {row}, pixel {self.pixel[row]}, "
            f"received {self.probability[row].tolist()}. {hint}"
        )


def no_shares(probability: np.ndarray) -> np.ndarray:
    """(N,) bool, rows of probabilities (N, K) that are NaN, below 0, or do not sum to 1.

    The sum may be off by 0.01: half precision and forests sum to 1 less exactly than float32 does.
    """
    # NaN fails the comparisons, too
    return ~((np.abs(probability.sum(1, dtype=np.float64) - 1) < 0.01) & (probability.min(1, initial=0) >= 0))


def refuse_no_shares(probability: np.ndarray, first: int, error: type[Exception]) -> None:
    """Refuse rows of probabilities that are none, see ``no_shares``; ``first`` is the number of the first row."""
    odd = no_shares(probability)
    if odd.any():
        row = int(odd.argmax())
        raise error(
            f"Expected probabilities of which each row sums to 1, received {probability[row].tolist()} in row "
            f"{first + row}. Logits or votes are none: divide each row by its sum, or take the softmax. With NaN, look "
            "whether the training of the model diverged."
        )


def are_numbers(values: np.ndarray, count: int) -> bool:
    """Whether values are whole numbers from 0 to ``count`` - 1, as those of classes are; so are no values at all."""
    return values.dtype.kind in "iu" and (not values.size or bool(values.min() >= 0 and values.max() < count))


def as_date(days: int) -> date:
    """Days since 1970-01-01 as a date."""
    return EPOCH + timedelta(days=int(days))


def day_of_year(days: np.ndarray, year: np.ndarray) -> np.ndarray:
    """Days since 1970-01-01 → day of ``year``, 1 on 1 January; 0 and less in the year before."""
    first = (np.asarray(year, np.int64) - 1970).astype("datetime64[Y]").astype("datetime64[D]")
    return (np.asarray(days) - first.astype(np.int64) + 1).astype(np.int32)


def same_legend(one: Legend, other: Legend) -> None:
    """Refuse two legends whose class numbers mean different things; names and colours may differ."""
    if one.keys != other.keys:
        raise EvaluationError(
            f"Expected one legend, received {one.name!r} with {one.keys} and {other.name!r} with {other.keys}. "
            "Predict both with the same study before putting them together."
        )


def _column(values, name: str, kind) -> np.ndarray:
    values = np.asarray(values)
    if kind is object:
        # Each text once, so that ten million rows hold pointers and not letters.
        codes, texts = pd.factorize(values.astype(object, copy=False))
        if (codes < 0).any():
            raise EvaluationError(
                f"Expected a text in every row of {name}, received none in row {(codes < 0).argmax()}."
            )
        return np.array([str(t) for t in texts], object)[codes] if len(texts) else np.empty(values.shape, object)
    whole = np.issubdtype(kind, np.integer)
    if values.size and not np.issubdtype(values.dtype, np.integer if whole else np.number):
        raise EvaluationError(f"Expected {name} as {np.dtype(kind)}, received {values.dtype}.")
    if whole and values.size and values.dtype != kind:
        low, high = np.iinfo(kind).min, np.iinfo(kind).max
        if values.min() < low or values.max() > high:
            raise EvaluationError(f"Expected {name} from {low} to {high}, received {values.min()} to {values.max()}.")
    return values.astype(kind, copy=False)


def _schema(legend: Legend) -> pa.Schema:
    columns = [pa.field(n, pa.string() if k is object else pa.from_numpy_dtype(k)) for n, k in KINDS.items()]
    columns = [c for c in columns if c.name != "probability"]
    return pa.schema(columns + [pa.field(PREFIX + k, pa.float32()) for k in legend.keys])


def _read(file: pq.ParquetFile, classes: int, keys: list[str]) -> dict[str, np.ndarray]:
    """Columns, filled row group by row group so that memory holds them once."""
    rows = file.metadata.num_rows
    columns = {n: np.empty((rows, classes) if n == "probability" else rows, k) for n, k in KINDS.items()}
    at = 0
    for part in file.iter_batches(ROW_GROUP):
        to = slice(at, at + part.num_rows)
        for name in KINDS:
            if name != "probability":
                columns[name][to] = part.column(name).to_numpy(zero_copy_only=False)
        for i, key in enumerate(keys):
            columns["probability"][to, i] = part.column(PREFIX + key).to_numpy(zero_copy_only=False)
        at += part.num_rows
    if at != rows:
        raise pa.ArrowInvalid(f"{at} rows came, its footer says {rows}")
    return columns


def _meta(schema: pa.Schema, path: Path) -> dict:
    raw = (schema.metadata or {}).get(META)
    if raw is None:
        raise EvaluationError(f"{path} holds no predictions. Expected a file that `arset evaluate` wrote.")
    meta = json.loads(raw)
    if meta["version"] > VERSION:
        raise EvaluationError(f"{path} has version {meta['version']}, this library reads up to {VERSION}. Update it.")
    legend = meta["legend"]
    classes = [c | {"codes": c["codes"] if c["codes"] == "others" else tuple(c["codes"])} for c in legend["classes"]]
    known = {f.name for f in fields(Class)}
    classes = tuple(Class(**{k: v for k, v in c.items() if k in known}) for c in classes)
    return {"legend": Legend(legend["name"], classes, tuple(legend["excluded"])), "simulated": meta["simulated"]}


def _legend_json(legend: Legend) -> dict:
    return {"name": legend.name, "classes": [asdict(c) for c in legend.classes], "excluded": list(legend.excluded)}
