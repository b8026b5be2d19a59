"""Predictions in a folder with what is known of their model, so that a report can be made later, elsewhere.

Lab: part3_train_and_test.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from arsetlib import textfiles
from arsetlib.evaluation.confusion import EvaluationError
from arsetlib.evaluation.facts import to_json
from arsetlib.evaluation.page import Report, report
from arsetlib.evaluation.predictions import Predictions

PREDICTIONS, MODEL = "predictions.parquet", "model.json"


@dataclass(frozen=True)
class Evaluated:
    """Predictions and their model.

    Attributes:
        predictions: What it said.
        name: What to call the model.
        history: Lists by epoch, as Keras gives them.
        notes: What else is known of it.
        training: (K,) samples of each class in training, or None where unknown.
    """

    predictions: Predictions
    name: str = "model"
    history: Mapping = field(default_factory=dict)
    notes: Mapping = field(default_factory=dict)
    training: list[int] | None = None

    def save(self, folder: str | Path) -> Path:
        """Write ``predictions.parquet`` and, last, ``model.json``.

        Raises:
            EvaluationError: The folder holds a trained model, whose files have such names too.
        """
        folder = Path(folder)
        if (folder / "card.json").exists():
            raise EvaluationError(f"{folder} holds a trained model. Choose another folder for its predictions.")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MODEL).unlink(missing_ok=True)
        self.predictions.save(folder / PREDICTIONS)
        known = {"name": self.name, "history": self.history, "notes": self.notes, "training": self.training}
        partial = folder / (MODEL + ".partial")
        partial.write_text(to_json(known), encoding="utf-8")
        os.replace(partial, folder / MODEL)
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> Evaluated:
        """Read what ``save`` wrote, or a file of predictions alone.

        Raises:
            EvaluationError: No predictions there, or the folder is unfinished.
        """
        folder = Path(folder)
        if folder.is_file():
            return cls(Predictions.load(folder), folder.stem)
        predictions = Predictions.load(folder / PREDICTIONS)
        try:
            known = textfiles.read_json(folder / MODEL)
        except (OSError, ValueError):
            raise EvaluationError(
                f"Expected {MODEL} beside the predictions in {folder}, found none that can be read. "
                "The run did not finish: make it again with `arset evaluate`."
            ) from None
        return cls(predictions, known["name"], known["history"], known["notes"], known["training"])


def evaluated(trained, rows, starts, *, side: str = "test", progress: bool = False) -> Evaluated:
    """What a trained model says of some rows, with what is known of the model.

    Args:
        trained: A ``models.Trained``.
        rows: ``samples.Rows``, such as a side of a split.
        starts: Days of the year on which windows start.
        side: What the rows are called, for the notes.
        progress: Show a bar.

    Raises:
        EvaluationError: There are no rows.
    """
    if not len(rows):
        raise EvaluationError(f"Expected rows on the side {side!r}, received none. Look at the table and its split.")
    predictions = trained.predictions(rows, starts, progress=progress)
    simulated = predictions.simulated or bool(rows.meta.simulated)
    counts = trained.notes.get("samples_of_class")
    training = [counts.get(k, 0) for k in predictions.legend.keys] if counts else None
    notes = {"model": trained.name, "side": side, "starts": list(starts), "bands": list(trained.study.bands)}
    notes |= {"options": dict(trained.options), **trained.notes}
    predictions = replace(predictions, simulated=simulated)
    return Evaluated(predictions, trained.name, trained.history, notes, training)


def report_of(folders: Sequence[str | Path], out: str | Path, *, title: str | None = None, **options) -> Report:
    """A report of one saved folder, or of several side by side; ``options`` are those of ``report``."""
    runs = [Evaluated.load(folder) for folder in folders]
    if not runs:
        raise EvaluationError("Expected at least one folder of saved predictions, received none.")
    options = {"training": runs[0].training, **options}
    if len(runs) == 1:
        (one,) = runs
        given = {"history": one.history, "notes": one.notes, "title": title or f"{one.name}: how good it is"}
        return report(one.predictions, out, **given, **options)
    names = [run.name for run in runs]
    names = [str(f) if names.count(n) > 1 else n for n, f in zip(names, folders, strict=True)]
    if len(set(names)) < len(names):
        raise EvaluationError(f"Expected different folders, received {list(map(str, folders))}.")
    by_name = dict(zip(names, runs, strict=True))
    given = {what: {n: getattr(run, what) for n, run in by_name.items()} for what in ("history", "notes")}
    predictions = {n: run.predictions for n, run in by_name.items()}
    return report(predictions, out, title=title or "Models side by side", **given, **options)
