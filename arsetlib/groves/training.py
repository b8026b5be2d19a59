"""Train a segmentation model on tiles; a training that was stopped continues.

Lab: case_groves. Shell: ``arset groves train``.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from arsetlib import folders
from arsetlib.groves.classes import GroveError
from arsetlib.groves.segmenter import CLASSES, COLOURS, Segmenter, fingerprint
from arsetlib.training import Log, Plan
from arsetlib.training import run as runs
from arsetlib.training.plan import Options, class_weights, even_weights, settled

APART = 0.15  # of accuracy: a run of the thesis whose train and validation accuracy differ by more was not valid
FLAT = 0.02  # of accuracy: a run that gained less than this has learned nothing
LEAST_IOU = 0.1  # from which a class counts as detected
RATES = {"adadelta": 1.0}  # of its paper and of Keras in 2020; Keras 3 starts it a thousand times slower
SCORES = {"accuracy": "accuracy", "mean_iou": "mean_iou"}  # of the history → of a Confusion
MONITORS = ("val_loss", *(f"val_{name}" for name in SCORES))


@dataclass(frozen=True, repr=False)
class Network(Options):
    """The network that ``models.segmentation.build`` makes.

    Attributes:
        encoder, size, channels, weights: See ``models.segmentation.build``.
        options: More of it, such as ``{"filters": (64, 48, 32, 16)}``.

    Lab: case_groves.
    """

    encoder: str = "mobilenet"
    size: int | tuple[int, int] = 224
    channels: int = 3
    weights: object = None
    options: dict | None = None


def fit(
    model: Any,
    sides: dict,
    *,
    folder: str | Path | None = None,
    classes: Any = CLASSES,
    colours: Any = COLOURS,
    shrink: float = 1.0,
    network: Network = Network(),
    plan: Plan = Plan(),  # noqa: B008
    log: Log = Log(),  # noqa: B008
    notes: dict | None = None,
    **settings: object,
) -> Segmenter:
    """Train until the validation no longer improves, and keep the best epoch.

    With a folder, a training that was stopped continues after its last finished epoch when the same call is made again,
    and a finished one is returned as it is. With sides from ``groves.TileBatches`` it also ends with the same weights.

    Args:
        model: An architecture ("unet", "fcn8", "segnet", "pspnet"), or a Keras model with a softmax over the classes.
        sides: ``train`` and ``validation``: each a ``groves.TileBatches``, or a ``tf.data.Dataset`` of (tiles (B, S,
            S, C) float32 0..1, one-hot masks (B, S, S, K); all zeros where not labelled), see ``groves.batches``.
        folder: Where the training is kept, see ``arsetlib.training.run``, also in an object store (``s3://…``); None
            keeps nothing.
        classes, colours: (K,) names and "#rrggbb".
        shrink: Capture pixels per pixel of the tiles.
        network: What is built where ``model`` is the name of an architecture.
        plan: Epochs, patience, learning rate, … Without a learning rate 0.001, for adadelta 1.0; a small network that
            has to learn in minutes takes 0.003.
        log: What it reports meanwhile.
        notes: More to keep with the model.
        settings: Any field of ``Network``, ``Plan`` or ``Log`` by its own name: ``epochs=5``.

    Returns:
        A Segmenter. ``history`` has loss, accuracy, mean_iou, the same with ``val_``, learning_rate and seconds of each
        epoch; ``notes["best_epoch"]`` is the one that was kept, from 1; ``notes["validation_iou"]`` its IoU of each
        class (None where the validation has none of it); ``notes["verdict"]`` see ``verdict``.

    Raises:
        GroveError: No validation; an unknown loss.
        TrainingError: An invalid option; the loss is not finite (with epoch and step); the folder holds another
            training.

    Lab: case_groves.
    """
    from arsetlib import models

    network, plan, log = settled(settings, network, plan, log)
    if missing := {"train", "validation"} - set(sides):
        raise GroveError(f"sides lacks {' and '.join(sorted(missing))}. groves.split makes both.")
    plan = plan.filled(
        epochs=40, batch=8, patience=8, monitor="val_mean_iou",
        learning_rate=RATES.get(str(plan.optimizer).lower(), 1e-3),
    )  # fmt: skip
    plan.check(("crossentropy", "dice", "focal"), MONITORS)
    feeds = TileFeed(sides["train"]), TileFeed(sides["validation"])
    weights = class_weights(plan.balance, len(classes), lambda: even_weights(feeds[0].class_counts()))
    asked = {"model": model if isinstance(model, str) else model.name, **vars(network), **vars(plan)}
    asked |= {"weights": _origin(network.weights), "classes": list(classes), "shrink": shrink, "balance": weights}
    with runs.claimed(folder, asked) as run:
        if run.finished:
            return models.load(run.model, kind="segmentation")
        trained = _trained(model, feeds, network, plan, log, weights, run.backup, len(classes))
        network, history, facts = trained
        facts = {**runs.json_values(asked), **facts, **(notes or {})}
        segmenter = Segmenter(network, classes, colours, shrink, history, facts)
        run.finish(segmenter)
    return segmenter


def _trained(model, feeds, shape: Network, plan: Plan, log: Log, weights, backup, count: int) -> tuple:
    """The trained network, its history and what is noted of it."""
    import keras

    from arsetlib.groves.losses import make_loss
    from arsetlib.models import segmentation
    from arsetlib.training import loop
    from arsetlib.training.callbacks import Progress
    from arsetlib.training.devices import make_network
    from arsetlib.training.tasks import Task, class_scores, confusion

    def build():
        sizes = {"encoder": shape.encoder, "size": shape.size, "channels": shape.channels, "classes": count}
        options = shape.options or {}
        return segmentation.build(model, **sizes, weights=shape.weights, seed=plan.seed, **options)

    began = time.perf_counter()
    task = Task(make_loss(plan.loss, weights), confusion, functools.partial(class_scores, **SCORES))
    network = make_network(None if isinstance(model, str) else model, build, plan.seed)
    history, best_epoch = loop.train(
        network, task, feeds, plan, backup=backup,
        callbacks=lambda of: [*log.callbacks, *([Progress(lines=True)] if log.progress else [])],
    )  # fmt: skip
    iou = validation_iou(network, feeds[1].batches(0))
    return network, history, {
        "model": network.name,
        "best_epoch": best_epoch,
        "seconds": round(time.perf_counter() - began, 1),
        "validation_iou": [None if np.isnan(v) else round(float(v), 4) for v in iou],
        "verdict": verdict(history, iou),
        "keras": keras.__version__,
    }  # fmt: skip


class TileFeed:
    """Batches of a ``groves.TileBatches`` or of a ``tf.data.Dataset`` for the training loop."""

    def __init__(self, source: Any) -> None:
        self.source = source
        length = source.steps if hasattr(source, "steps") else int(source.cardinality())
        self.steps = length if length >= 0 else None  # a data set may not know its length

    def batches(self, epoch: int) -> Iterator[tuple]:
        """(tiles, one-hot masks) of each step; each pass over a data set is its next epoch."""
        return iter(self.source.arrays(epoch) if hasattr(self.source, "arrays") else self.source)

    def class_counts(self) -> np.ndarray:
        """(K,) labelled pixels of each class."""
        if hasattr(self.source, "class_counts"):
            return self.source.class_counts()
        return np.sum([np.asarray(masks).sum(axis=(0, 1, 2)) for _, masks in self.source], axis=0)


def verdict(history: dict, iou: Any = None) -> str:
    """The thesis's rule on a training, made stricter: ``"valid"``, ``"overfit"`` or ``"underfit"``.

    Valid if the best train and validation accuracy differ by at most 15 points; otherwise the network has memorised the
    training set (overfit). Curves that stay flat are underfit. By accuracy alone a map that is 'ground' everywhere
    would be valid; so a training that does not detect a class (IoU under 0.1) is underfit, too.

    Args:
        history: ``accuracy`` and ``val_accuracy``, one value an epoch.
        iou: (K,) IoU of each class on the validation, NaN where it has none of it. None leaves the thesis's own rule.
    """
    if iou is not None and (np.asarray(iou, float) < LEAST_IOU).any():
        return "underfit"
    train, validation = history.get("accuracy", []), history.get("val_accuracy", [])
    if not train or not validation:
        return "underfit"
    if max(train) - max(validation) > APART:
        return "overfit"
    if len(train) > 1 and max(train) - train[0] < FLAT and max(train) < 0.9:
        return "underfit"
    return "valid"


def validation_iou(model: Any, batches: Any) -> np.ndarray:
    """(K,) IoU of each class over the labelled pixels of some batches; NaN where they have none of the class."""
    from arsetlib.evaluation import Confusion
    from arsetlib.training.tasks import confusion

    counts = sum(np.asarray(confusion(y, model(x, training=False)), np.float64) for x, y in batches)
    counts = counts.round().astype(np.int64)
    return np.where(counts.sum(axis=1) > 0, Confusion.from_counts(counts).iou, np.nan)


def _origin(weights) -> str | None:
    """What the encoder starts from, as it is noted."""
    if weights is None or folders.is_place(weights):
        return None if weights is None else str(weights)
    model = getattr(weights, "model", weights)
    return f"{model.name} {fingerprint(model)[:16]}"
