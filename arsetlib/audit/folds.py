"""Probabilities for every row of a table, each from a model that has seen no row of its block.

Lab: part4_defend_the_map.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from arsetlib import models
from arsetlib.audit.confidence import AuditError
from arsetlib.models import registry
from arsetlib.samples import Rows, kfold, start_days
from arsetlib.samples.store import rows_with_images
from arsetlib.study import Study

if TYPE_CHECKING:
    from arsetlib.evaluation import Predictions

LOST = ("excluded", "no_image", "not_visible", "class_not_in_training")  # why rows are not judged


@dataclass(frozen=True, eq=False, repr=False)
class OutOfFold:
    """Predictions of rows by models that were trained on other blocks.

    Attributes:
        predictions: Of N rows, in the order of the table; ``truth`` is the label as given.
        index: (N,) int64, their row numbers in the table.
        lost: Why other rows are not judged → how many. ``excluded``: by the legend. ``no_image``: none in the window.
            ``not_visible``: the label is a crop, but the window shows no plants on its last days, so the vegetation
            rule replaced it. ``class_not_in_training``: the class has no row in other folds' blocks.

    Lab: part4_defend_the_map.
    """

    predictions: Predictions
    index: np.ndarray
    lost: dict[str, int] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"OutOfFold({len(self.index):,} rows, {sum(self.lost.values()):,} not judged)"

    def at(self, index: np.ndarray) -> OutOfFold:
        """Some of the rows, by their numbers in the table, ascending; all of them must be there."""
        where = np.searchsorted(self.index, index)
        return replace(self, predictions=self.predictions.pick(where), index=index)


def judged(rows: Rows, study: Study, start: int, folds: int, seed: int) -> tuple[list[dict[str, Rows]], dict[str, int]]:
    """The folds of the rows that can be judged, and how many cannot; nothing heavy is imported.

    Args:
        rows: Of a pixel table.
        study: Season and legend.
        start: Day of the year on which windows start.
        folds: By spatial block.
        seed: Of the folds.

    Raises:
        AuditError: One class only; fewer blocks than folds; no row with an image; a start outside the season.
    """
    season, legend = study.season, study.legend
    if not season.first_day <= start <= season.last_day:
        raise AuditError(
            f"Expected start from {season.first_day} to {season.last_day}, the season of study {study.key!r}, received "
            f"{start}."
        )
    rows.check_season(season, start)
    labelled = legend.classes_of(rows.column("label_code")) >= 0
    first = start_days(rows.column("year"), start)
    shows = rows_with_images(rows, season, first, first)
    lost = {"excluded": int((~labelled).sum()), "no_image": int((labelled & ~shows).sum())}
    used = rows.pick(labelled & shows)
    present = np.unique(legend.classes_of(used.column("label_code")))
    blocks = len(np.unique(used.column("block")))
    if len(present) < 2:
        names = [legend.keys[i] for i in present]
        raise AuditError(
            f"Expected rows of at least two classes, received {len(used):,} rows of {names or 'none'}: with one class "
            "nothing can contradict a label. Take more areas or years, or another legend."
        )
    if not 2 <= folds <= blocks:
        raise AuditError(
            f"Expected folds from 2 to {blocks}, the number of blocks with rows, received {folds}. A row is judged "
            "by a model that has not seen its block: take a larger table, or smaller blocks (block_m in the study)."
        )
    return kfold(used, folds, seed), lost


def out_of_fold(
    source: Rows | pa.Table | str | Path,
    study: Study,
    model: str = "random_forest",
    *,
    start: int | None = None,
    folds: int = 5,
    seed: int = 0,
    options: dict | None = None,
    **settings: object,
) -> OutOfFold:
    """Predict every row of a table with a model that was trained on other blocks.

    A network is trained on K − 2 folds, stops by the next and predicts the last. A baseline needs nothing to stop it:
    it is trained on K − 1 folds.

    Args:
        source: The table, its path, or some rows of it.
        study: Season, channels and legend.
        model: A name of ``models.names()``.
        start: Day of the year on which windows start; by default the middle of the season.
        folds: K. Each spatial block is in one fold.
        seed: Of folds and trainings.
        options: For ``models.build``.
        settings: For ``training.fit``, such as ``epochs``.

    Raises:
        AuditError: As ``judged``.

    Lab: part4_defend_the_map.
    """
    from arsetlib.evaluation import Predictions

    rows = Rows.of(source)
    start = middle(study) if start is None else start
    registry.check_name(model, models.names(), "model")
    parts, lost = judged(rows, study, start, folds, seed)
    made = [fold_of(parts, i, study, model, start, seed, options, **settings) for i in range(folds)]
    index = np.concatenate([one.index for one in made])
    order = np.argsort(index, kind="stable")
    for one in made:
        for reason, count in one.lost.items():
            lost[reason] = lost.get(reason, 0) + count
    return OutOfFold(Predictions.concat([one.predictions for one in made]).pick(order), index[order], lost)


def fold_of(
    parts: list[dict[str, Rows]], number: int, study: Study, model: str, start: int, seed: int,
    options: dict | None = None, **settings: object,
) -> OutOfFold:  # fmt: skip
    """Train for one fold, and predict it."""
    from arsetlib import training

    test, train = parts[number]["test"], parts[number]["train"]
    validation = test
    if not registry.is_baseline(model):
        validation = parts[(number + 1) % len(parts)]["test"]
        train = train.pick(~np.isin(train.index, validation.index))
    own = {"epochs": 1} if registry.is_baseline(model) else {}  # one start: more would only be other images of a step
    settings = {"progress": False, "missing": "allow", "starts": start, **own, **settings}
    sides = {"train": train, "validation": validation}
    trained = training.fit(model, sides, study, options=options, seed=seed + number, **settings)
    predictions = trained.predictions(test, start)
    visible = predictions.truth == study.legend.classes_of(test.column("label_code"))
    known = ~np.isin(predictions.truth, [study.legend.keys.index(k) for k in trained.notes["classes_without_samples"]])
    keep = visible & known
    lost = {"not_visible": int((~visible).sum()), "class_not_in_training": int((visible & ~known).sum())}
    return OutOfFold(predictions.pick(keep), test.index[keep], lost)


def middle(study: Study) -> int:
    """The day of the year in the middle of a season's starts."""
    return (study.season.first_day + study.season.last_day) // 2
