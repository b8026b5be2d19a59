"""Take a trained model elsewhere: fine-tune it on a few labels, and see how many labels are enough.

Lab: part3_train_and_test.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from arsetlib.samples import Loader, Rows, Scaler, kfold
from arsetlib.seeds import generator
from arsetlib.study import Study
from arsetlib.training.fit import fit
from arsetlib.training.plan import TrainingError, one_of

if TYPE_CHECKING:
    import keras
    import pandas as pd

    from arsetlib.models import Trained

HELD_BACK = 0.2  # share of the labels that is the validation
FEW_LABELS = {"epochs": 60, "batch": 32}
METHODS = ("fine-tuned", "from scratch", "random forest", "majority")


def fine_tune(
    trained: Trained,
    rows: Rows | dict[str, Rows],
    study: Study,
    *,
    freeze: str | Sequence[str] | None = None,
    scaler: str = "keep",
    notes: dict | None = None,
    **settings: object,
) -> Trained:
    """Train a model further on the labels of another place or year.

    Where the study's legend has other classes, the last layer is replaced by a new one; the layers before, which know
    what a season looks like, keep their weights to begin with. The same holds for a network of ``pretrain``.

    Args:
        trained: A ``models.Trained`` of a network.
        rows: Labelled rows of the new place. A fifth of each class is kept as validation; it is too small and too near
            for a score, so test on other blocks. Or sides with ``train`` and ``validation``.
        study: Of the new place: the same steps and channels; the legend may differ.
        freeze: Layers that keep their weights: ``"body"`` all but the last, or names of layers; None trains all.
        scaler: ``"keep"`` that of the model, so that a reflectance means what it did; ``"refit"`` on the new rows,
            where the sensor or the processing differ. With few labels keep it: statistics of 20 points are noise.
        notes: More to keep with the model.
        settings: For ``fit``. The learning rate is low, 0.0003, so that the weights change only a little; epochs 60,
            batch 32, patience 10 (or fewer with few epochs).

    Returns:
        A ``models.Trained`` with the new study; the one that was given is not changed.

    Raises:
        TrainingError: Steps or channels differ, no such layer, the model is a baseline, or what ``fit`` refuses.

    Lab: part3_train_and_test.
    """
    import keras

    from arsetlib.models.trained import UNLABELLED

    one_of("scaler", scaler, ("keep", "refit"))
    settings = {"seed": 0, "learning_rate": 3e-4, **FEW_LABELS, **settings}
    sides = rows if isinstance(rows, dict) else held_back(rows, study, settings["seed"])
    keras.utils.set_random_seed(settings["seed"])
    network = adapted(trained, study)
    _freeze(network, freeze)
    settings.setdefault("patience", max(min(10, settings["epochs"] - 1), 1))
    settings |= {"scaler": trained.scaler if scaler == "keep" else Scaler.fit(sides["train"], study)}
    settings = {"fill": trained.fill, "choose": trained.choose, "missing": "allow"} | settings
    origin = {"name": trained.name, "study": trained.study.key}
    origin |= {"pretrained": trained.notes[UNLABELLED]} if UNLABELLED in trained.notes else {}
    kept = {"fine_tuned_from": origin, "freeze": freeze, "scaler": scaler}
    return fit(network, sides, study, notes=kept | (notes or {}), **settings)


def adapted(trained: Trained, study: Study) -> keras.Model:
    """A copy of the network for a study; the last layer is new where the classes differ, or have not been learned."""
    import keras

    from arsetlib.models.trained import UNLABELLED, with_output

    if not hasattr(trained.model, "get_weights"):
        raise TrainingError(f"{trained.name} cannot be fine-tuned: a baseline is fitted anew. Call fit on the rows.")
    old = trained.study
    for noun, had, has in (
        ("steps", (old.season.steps, old.season.step_days), (study.season.steps, study.season.step_days)),
        ("channels", tuple(old.channels), tuple(study.channels)),
    ):
        if had != has:
            raise TrainingError(
                f"Expected the {noun} of the model, {list(had)}, received a study with {list(has)}. Give the study the "
                f"model's season and bands, or train anew."
            )
    copy = keras.models.clone_model(trained.model)
    copy.set_weights(trained.model.get_weights())
    if old.legend.keys == study.legend.keys and UNLABELLED not in trained.notes:
        return copy
    head = keras.layers.Dense(len(study.legend.classes), activation="softmax", dtype="float32", name="new_head")
    return with_output(copy, head(copy.layers[-1].input))


def _freeze(network, freeze) -> None:
    names = [layer.name for layer in network.layers]
    if freeze is None:
        return
    chosen = names[:-1] if freeze == "body" else list(freeze)
    unknown = set(chosen) - set(names)
    if unknown or (isinstance(freeze, str) and freeze != "body"):
        raise TrainingError(f"Expected freeze = 'body' or layers out of {names}, received {freeze!r}.")
    for layer in network.layers:
        layer.trainable = layer.name not in chosen


def held_back(rows: Rows, study: Study, seed: int = 0) -> dict[str, Rows]:
    """``train`` and ``validation``: a fifth of each class, at least one row, goes to the second.

    A class with a single row stays in training.
    """
    classes = study.legend.classes_of(rows.column("label_code"))
    random = generator(seed, "validation of few labels")
    second = np.zeros(len(rows), bool)
    for number in range(len(study.legend.classes)):
        mine = random.permutation(np.flatnonzero(classes == number))
        if len(mine) > 1:
            second[mine[: max(1, round(HELD_BACK * len(mine)))]] = True
    return {"train": rows.pick(~second & (classes >= 0), "train"), "validation": rows.pick(second, "validation")}


def learning_curve(
    trained: Trained,
    rows: Rows,
    study: Study,
    counts: Sequence[int] = (0, 5, 20, 100),
    *,
    repeats: int = 5,
    methods: Sequence[str] = METHODS,
    starts: int | Sequence[int] | None = None,
    folds: int = 3,
    seed: int = 0,
    progress: bool = True,
    **options: object,
) -> pd.DataFrame:
    """How good a model is with a number of labels of each class: fine-tuned, from scratch, and a random forest.

    Each repeat divides the blocks anew: labels are drawn from two thirds of them, the score is that of the other third.
    All methods get the same labels and the same test.

    Args:
        trained: A trained network from elsewhere.
        rows: All labelled rows of the new place.
        study: Of the new place.
        counts: Labels of each class. A class with fewer gives what it has; 0 applies the model as it is: it can be
            right only on classes whose keys both legends share.
        repeats: How often blocks and labels are drawn.
        methods: Any of ``METHODS``.
        starts: Days of the year on which the tested windows start; None takes the middle of the season's starts.
        folds: Parts that the blocks are divided into; one is the test.
        seed: Of all draws.
        progress: Show a bar.
        **options: For ``fine_tune``; ``epochs``, ``patience`` and ``batch`` hold from scratch, too.

    Returns:
        A pandas table: ``labels`` (of each class), ``repeat``, ``method``, ``macro_f1``, ``accuracy``, ``used`` (rows
        that were drawn) and ``tested``. ``mean_and_spread`` sums it up.

    Raises:
        TrainingError: An unknown method; too few blocks; a count of 0 with a network that has seen no label.

    Lab: part3_train_and_test.
    """
    import pandas as pd
    from tqdm.auto import tqdm

    from arsetlib.models.trained import UNLABELLED

    unknown = set(methods) - set(METHODS)
    if unknown or any(n < 0 or n == 1 for n in counts):
        raise TrainingError(
            f"Expected methods out of {METHODS} and counts of 0, 2 or more, received {methods} and {counts}: of two "
            f"labels one is the validation."
        )
    if 0 in counts and UNLABELLED in trained.notes:
        raise TrainingError(
            f"Expected counts without 0, received {list(counts)}: the {trained.name} was pre-trained and has seen no "
            "label, so it cannot be applied as it is."
        )
    rows = Rows.of(rows).pick(study.legend.classes_of(Rows.of(rows).column("label_code")) >= 0)
    if starts is None:
        starts = (study.season.first_day + study.season.last_day) // 2
    scores = []
    work = [(r, n, m) for r in range(repeats) for n in counts for m in methods if n or m == "fine-tuned"]
    for repeat, count, method in tqdm(work, unit="model", desc="labels", disable=None if progress else True):
        sides = kfold(rows, folds, seed + repeat)[repeat % folds]
        few = _drawn(sides["train"], study, count, seed + repeat)
        score = _score(method, trained, few, study, sides["test"], starts, seed + repeat, count, options)
        known = {"labels": count, "repeat": repeat, "method": method}
        scores.append(known | score | {"used": len(few), "tested": len(sides["test"])})
    return pd.DataFrame(scores)


def mean_and_spread(curve: pd.DataFrame, score: str = "macro_f1") -> pd.DataFrame:
    """Mean and standard deviation over the repeats, one row a number of labels, one pair of columns a method."""
    table = curve.groupby(["labels", "method"])[score].agg(["mean", "std"]).unstack("method")
    return table.swaplevel(axis=1).sort_index(axis=1)


def _drawn(rows: Rows, study: Study, count: int, seed: int) -> Rows:
    """So many rows of each class."""
    classes = study.legend.classes_of(rows.column("label_code"))
    random = generator(seed, "few labels")
    chosen = np.zeros(len(rows), bool)
    for number in range(len(study.legend.classes)):
        chosen[random.permutation(np.flatnonzero(classes == number))[:count]] = True
    return rows.pick(chosen, "few labels")


def _score(method, trained, few: Rows, study: Study, test: Rows, starts, seed: int, count: int, options) -> dict:
    if count == 0:
        confusion = _as_it_is(trained, study, test, starts)
    else:
        confusion = _fitted(method, trained, few, study, seed, options).predictions(test, starts).confusion()
    return {"macro_f1": float(confusion.macro_f1), "accuracy": float(confusion.accuracy)}


def _fitted(method, trained, few: Rows, study: Study, seed: int, options):
    import keras

    if method == "fine-tuned":
        return fine_tune(trained, few, study, seed=seed, progress=False, **options)
    shared = {k: v for k, v in options.items() if k not in ("freeze", "scaler", "learning_rate")}
    quiet = {"progress": False, "missing": "allow", "seed": seed, "fill": trained.fill, "choose": trained.choose}
    if method == "from scratch":
        keras.utils.set_random_seed(seed)
        fresh = keras.models.clone_model(adapted(trained, study))
        setting = FEW_LABELS | shared | quiet
        setting = {"patience": max(min(10, setting["epochs"] - 1), 1)} | setting
        return fit(fresh, held_back(few, study, seed), study, **setting)
    # A forest has no early stopping, so it is fitted on all labels.
    name = "random_forest" if method == "random forest" else "majority"
    return fit(name, {"train": few, "validation": few}, study, epochs=8, **quiet)


def _as_it_is(trained, study: Study, test: Rows, starts):
    """The model without any label of the place; classes are matched by their keys, the others never predicted."""
    from arsetlib import evaluation

    old, keys = trained.study.legend.keys, study.legend.keys
    place = [old.index(key) if key in old else -1 for key in keys]
    if old == keys:
        same = dataclasses.replace(trained, study=study)
        return same.predictions(test, starts).confusion()
    if max(place) < 0:
        raise TrainingError(f"None of the classes {keys} is one of the model's, {old}: leave 0 out of counts.")
    total = evaluation.Confusion.of([], [], study.legend)
    for start in np.atleast_1d(starts):
        options = {"choose": "clearest", "fill": trained.fill, "extras": trained.needs}
        for x, y in Loader(test, study, trained.scaler, start=int(start), batch=4096, **options).arrays():
            share = np.where(np.array(place) >= 0, trained.predict(x)[:, place], -1)
            total += evaluation.Confusion.of(y.argmax(axis=1), share.argmax(axis=1), study.legend)
    return total
