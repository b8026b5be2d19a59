"""The tables of a report on one model, and the same as JSON.

Lab: part3_train_and_test.
"""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from arsetlib.evaluation.areas import Areas, block_areas
from arsetlib.evaluation.confusion import Confusion, EvaluationError
from arsetlib.evaluation.dates import by_block, by_date, earliest_dates, f1_by_date, majority, score_table
from arsetlib.evaluation.predictions import Predictions
from arsetlib.evaluation.probabilities import calibration, reliability, top_k
from arsetlib.translation import _
from arsetlib.wording import column, shown, span


@dataclass(frozen=True)
class Facts:
    """The tables of a report on one model.

    Attributes:
        summary: The one row of ``score_table(p, "all")`` with ``top_2``, ``balanced_accuracy``, ``kappa``.
        confusion, classes: Counts, and the table by class.
        majority, crops_majority: Scores of always predicting one class, for all samples and for the crops alone.
        dates: See ``by_date``; its baseline names the commonest class of each date.
        f1, earliest, blocks: See ``f1_by_date``, ``earliest_dates``, ``by_block``.
        calibration, reliability: Scores of the probabilities, and the table of bins.
        areas, areas_date: Area estimates on the date with the best macro-F1 of the crops.
        history: Lists by epoch, as Keras gives them; empty where unknown.
        notes: What else is known of the model.
    """

    summary: pd.Series
    confusion: Confusion
    classes: pd.DataFrame
    majority: Confusion
    crops_majority: Confusion
    majority_names: str
    crops: list[str]
    dates: pd.DataFrame
    f1: pd.DataFrame
    earliest: pd.DataFrame
    blocks: pd.DataFrame
    calibration: dict[str, float]
    reliability: pd.DataFrame
    areas: Areas
    areas_date: datetime.date
    history: dict
    notes: dict

    @classmethod
    def of(
        cls, predictions: Predictions, *, training: ArrayLike | None = None, mapped: Mapping | ArrayLike | None = None,
        unit: str | None = None, f1: float = 0.8, repeats: int = 500,
        seed: int = 0, history: dict | None = None, notes: dict | None = None,
    ) -> Facts:  # fmt: skip
        """Collect; see ``report`` for the arguments."""
        if not len(predictions):
            raise EvaluationError("Expected predictions to report on, received none. Does the side have rows?")
        confusion = predictions.confusion()
        whole = score_table(predictions, "all", training=training, repeats=repeats, seed=seed)
        crops = [i for i, name in enumerate(confusion.names) if name in whole.attrs["crops"]]
        # The strictest baseline: the commonest class of each date. That of training is rare late in the season.
        dates = by_date(predictions, repeats=repeats, seed=seed)
        best = dates.crops_macro_f1.fillna(dates.macro_f1).idxmax() if len(dates) > 1 else dates.index[0]
        on = predictions.pick(predictions.last == (best - datetime.date(1970, 1, 1)).days)
        summary = whole.iloc[0].copy()
        summary["balanced_accuracy"], summary["kappa"] = confusion.balanced_accuracy, confusion.kappa
        summary["top_2"] = top_k(predictions, min(2, len(predictions.legend.classes)))
        return cls(
            summary=summary,
            confusion=confusion,
            classes=confusion.table(),
            majority=majority(confusion, training),
            crops_majority=majority(confusion.only(crops), training),
            majority_names=whole.attrs["majority"],
            crops=whole.attrs["crops"],
            dates=dates,
            f1=f1_by_date(predictions),
            earliest=earliest_dates(predictions, f1),
            blocks=by_block(predictions, training=training),
            calibration=calibration(predictions),
            reliability=reliability(predictions),
            areas=block_areas(on, mapped, unit=unit, repeats=max(repeats, 2), seed=seed),
            areas_date=best,
            history=dict(history or {}),
            notes=dict(notes or {}),
        )

    def __str__(self) -> str:
        """The tables of one page of text."""
        s, base = self.summary, self.majority
        dates = self.dates[["accuracy", "macro_f1", "crops_accuracy", "crops_macro_f1", "majority_accuracy"]]
        dates = shown(dates.rename(columns={"majority_accuracy": "constant"}))
        earliest = self.earliest[["date", "stays", "best_f1"]].astype({"date": object, "stays": object})
        earliest = earliest.map(lambda v: "-" if pd.isna(v) else f"{v:%Y-%m-%d}" if hasattr(v, "year") else f"{v:.3f}")
        low, high = s.get("accuracy_low", np.nan), s.get("accuracy_high", np.nan)
        between = ""
        if low == low:
            ends = span(f"{low:.3f}", f"{high:.3f}")
            between = (
                " (" + _("{interval}, drawing {blocks} blocks").format(interval=ends, blocks=f"{s.blocks:.0f}") + ")"
            )
        wrong = self.calibration["calibration_error"]
        constant = f"{column('accuracy')} {base.accuracy:.3f}, {column('macro_f1')} {base.macro_f1:.3f}"
        parts = [
            _("{n} predictions").format(n=f"{s.samples:,.0f}")
            + f": {column('accuracy')} {s.accuracy:.3f}{between}, {column('macro_f1')} {s.macro_f1:.3f}, "
            f"{column('top_2')} {s.top_2:.3f}, {column('calibration_error')} {wrong:.3f}",
            _("majority baseline") + f": {constant}",
            _("crops are {crops}").format(crops=", ".join(self.crops)),
            "\n" + _("By date of prediction; constant: the commonest class of that date"),
            dates.to_string(float_format="{:.3f}".format, na_rep="-"),
            "\n" + _("Class by class"),
            shown(self.classes.rename_axis(None)).to_string(float_format="{:.3f}".format, na_rep="-"),
            "\n"
            + _("Earliest date with an F1 of {f1}, and from when it stays").format(f1=f"{self.earliest.attrs['f1']:g}"),
            shown(earliest.rename_axis(None)).to_string(),
        ]
        return "\n".join(parts)

    def as_dict(self) -> dict:
        """JSON values; a score without meaning is null."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        values["confusion"] = {
            "rows": "truth",
            "columns": "predicted",
            "classes": list(self.confusion.names),
            "counts": self.confusion.counts.tolist(),
            "normalised_by_truth": self.confusion.normalised("truth").to_numpy().tolist(),
        }
        values["majority"] = {"names": self.majority_names} | self.majority.summary()
        values["crops_majority"] = self.crops_majority.summary()
        values["areas"] = {"date": self.areas_date, **{f.name: getattr(self.areas, f.name) for f in fields(Areas)}}
        for name in ("majority_names", "areas_date"):
            del values[name]
        return plain(values)


def plain(value: Any) -> Any:
    """A value as JSON takes it: tables as rows, dates as text, NaN as null, floats to seven digits."""
    if isinstance(value, pd.DataFrame):
        return [plain(row) for row in value.reset_index().to_dict("records")]
    if isinstance(value, pd.Series):
        return plain(value.to_dict())
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(v) for v in value]
    if value is None or value is pd.NaT or value is pd.NA:
        return None
    if isinstance(value, pd.Timestamp):
        return value.date().isoformat()
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return float(f"{value:.7g}") if math.isfinite(value) else None
    if isinstance(value, str | int | bool):
        return value
    return str(value)


def to_json(facts: dict) -> str:
    """As text, with the values of `plain`."""
    return json.dumps(plain(facts), indent=1, ensure_ascii=False, allow_nan=False)
