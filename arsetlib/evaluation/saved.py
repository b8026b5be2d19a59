"""Predictions in a folder with what is known of their model, so that a report can be made later, elsewhere.

Lab: part3_train_and_test.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from arsetlib import folders, textfiles
from arsetlib.evaluation.confusion import EvaluationError
from arsetlib.evaluation.facts import to_json
from arsetlib.evaluation.predictions import Predictions

PREDICTIONS, MODEL = "predictions.parquet", "model.json"


@dataclass(frozen=True)
class ModelPredictions:
    """Predictions and what is known of the model that made them.

    Attributes:
        predictions: For the rows of one side of a split.
        name: What to call the model.
        history: Lists by epoch, as Keras gives them.
        notes: What else is known of the model.
        training: (K,) samples of each class in training, or None where unknown.
    """

    predictions: Predictions
    name: str = "model"
    history: Mapping = field(default_factory=dict)
    notes: Mapping = field(default_factory=dict)
    training: Sequence[int] | None = None

    def __repr__(self) -> str:
        return f"ModelPredictions({self.name!r}, {self.predictions})"

    @classmethod
    def of(
        cls, trained: Any, rows: Any, starts: Sequence[int], *, side: str = "test", progress: bool = False
    ) -> ModelPredictions:
        """Predict some rows with a trained model.

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
            raise EvaluationError(
                f"Expected rows on the side {side!r}, received none. Look at the table and its split."
            )
        predictions = trained.predictions(rows, starts, progress=progress)
        simulated = predictions.simulated or bool(rows.meta.simulated)
        counts = trained.notes.get("samples_of_class")
        training = [counts.get(k, 0) for k in predictions.legend.keys] if counts else None
        notes = {"model": trained.name, "side": side, "starts": list(starts), "bands": list(trained.study.bands)}
        notes |= {"options": dict(trained.options), **trained.notes}
        return cls(replace(predictions, simulated=simulated), trained.name, trained.history, notes, training)

    def save(self, folder: str | Path) -> Path:
        """Write ``predictions.parquet`` and, last, ``model.json``.

        Args:
            folder: On disk or in an object store (``s3://…``).

        Raises:
            EvaluationError: The folder holds a trained model, whose files have such names too.
        """
        folder = folders.place(folder)
        if (folder / "card.json").exists():
            raise EvaluationError(f"{folder} holds a trained model. Choose another folder for its predictions.")
        (folder / MODEL).unlink(missing_ok=True)
        self.predictions.save(folder / PREDICTIONS)
        known = {"name": self.name, "history": self.history, "notes": self.notes, "training": self.training}
        folders.put(folder / MODEL, to_json(known))
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> ModelPredictions:
        """Read what ``save`` wrote, or a file of predictions alone.

        Raises:
            EvaluationError: No predictions there, or the folder is unfinished.
        """
        folder = folders.place(folder)
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

    @classmethod
    def load_all(cls, places: Sequence[str | Path]) -> dict[str, ModelPredictions]:
        """Name → predictions of several folders; models of one name are called by their folder.

        Raises:
            EvaluationError: No folder, the same folder twice, or as `load`.
        """
        runs = [cls.load(place) for place in places]
        if not runs:
            raise EvaluationError("Expected at least one folder of saved predictions, received none.")
        names = [run.name for run in runs]
        names = [str(place) if names.count(n) > 1 else n for n, place in zip(names, places, strict=True)]
        if len(set(names)) < len(names):
            raise EvaluationError(f"Expected different folders, received {list(map(str, places))}.")
        return dict(zip(names, runs, strict=True))
