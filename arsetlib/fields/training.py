"""Train a classifier of field images; a stopped training continues. On one device, several, or in several processes.

Lab: case_fields. Shell: ``arset fields train``.
"""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from arsetlib import folders
from arsetlib.fields.classes import ImageError
from arsetlib.fields.classifier import Classifier
from arsetlib.fields.feeds import KINDS, feed
from arsetlib.models.registry import check_name
from arsetlib.training import Devices, Log, Plan
from arsetlib.training import run as runs
from arsetlib.training.plan import Options, TrainingError, class_weights, even_weights, one_of, settled, whole_number

SCORES = {"accuracy": "accuracy", "macro_f1": "macro_f1"}  # of the history → of a Confusion
MONITORS = ("val_loss", *(f"val_{name}" for name in SCORES))
MOST_WEIGHT = 20.0  # of a rare class: one image in a thousand must not count more than all the others
FINE_TUNE_DIVISOR = 10  # fine-tuning uses learning_rate / 10


@dataclass(frozen=True, repr=False)
class ImageInput(Options):
    """How images are read.

    Attributes:
        size: Side of the images as the model gets them, px; of arrays and models, their own.
        kind: ``"multi"``: several classes may be present; ``"single"``: images with exactly one, softmax.
        augment: Mirror, turn and relight training images; see ``fields.batches``. Arrays stay as they are.
        cache: Decode the images once and keep the pixels in memory.

    Lab: case_fields.
    """

    size: int = 224
    kind: str = "multi"
    augment: object = True
    cache: bool = False


@dataclass(frozen=True, repr=False)
class Transfer(Options):
    """How a backbone that was trained elsewhere is used.

    Attributes:
        weights: Of the backbone, see ``models.images.build``.
        freeze: Epochs in which only the head is trained, before the whole network is; ``epochs`` never fine-tunes.
        fine_tune_rate: Learning rate after the frozen epochs; None: a tenth of ``learning_rate``.

    Lab: case_fields.
    """

    weights: object = None
    freeze: int = 0
    fine_tune_rate: object = None


def fit(
    name_or_model: Any,
    sides: dict,
    *,
    folder: str | Path | None = None,
    images: ImageInput = ImageInput(),
    transfer: Transfer = Transfer(),
    plan: Plan = Plan(),  # noqa: B008
    devices: Devices = Devices(),  # noqa: B008
    log: Log = Log(),  # noqa: B008
    notes: dict | None = None,
    **settings: object,
) -> Classifier:
    """Train until the validation no longer improves, and keep the best epoch.

    With a folder, a training that was stopped continues after its last finished epoch when the same call is made again,
    and ends with the same weights; a finished one is returned as it is.

    Transfer learning: ``weights`` from elsewhere and ``freeze=3`` train the head alone for three epochs, with the
    backbone and its batch normalisation unchanged; then the whole network is trained with a tenth of the rate.

    Several devices: ``"mirrored"`` divides each batch among the GPUs of this machine (or give a
    ``tf.distribute.Strategy``). ``"workers"`` is for a process that is one of several, see
    ``arsetlib.training.workers``: all of them make the same call, the first keeps the training. ``batch`` is the size
    of the whole, and batch normalisation sees the whole, so that the number of devices changes only the last digits
    (dropout draws its own on each device).

    Args:
        name_or_model: A name of ``models.images.BACKBONES``, or a Keras model that ends in shares (B, K). It is trained
            itself, or a copy of it where a strategy did not make it.
        sides: ``train`` and ``validation``: each Chips, a folder made by ``fields.convert``, or arrays (x, y).
        folder: Where the training is kept, see ``arsetlib.training.run``, also in an object store (``s3://…``); None
            keeps nothing.
        images: How images are read.
        transfer: Weights from elsewhere, and which epochs keep them.
        plan: Epochs, batch, learning rate, seed, … ``balance`` of kind multi is the weight of a present class against
            an absent one: images without it / images with it, at most 20. Of kind single it is the weight of an image
            of the class. Frozen epochs do not count for ``patience``.
        devices: Where it computes.
        log: What it reports meanwhile.
        notes: More to keep with the model.
        settings: Any field of ``ImageInput``, ``Transfer``, ``Plan``, ``Devices`` or ``Log`` by its own name:
            ``epochs=5``.

    Returns:
        A Classifier. ``history`` has loss, accuracy, macro_f1 (at a threshold of 0.5), the same with ``val_``,
        learning_rate and seconds of each epoch; ``notes["best_epoch"]`` is the one that was kept, from 1. With workers,
        those after the first keep nothing and leave the thresholds at 0.5.

    Raises:
        ImageError: No validation, an unknown kind of labels, images that do not fit the model.
        TrainingError: Another invalid option; the loss is not finite (with epoch and step); the folder holds another
            training.
        WorkerError: Another worker was lost.

    Lab: case_fields.
    """
    from arsetlib import models

    images, transfer, plan, devices, log = settled(settings, images, transfer, plan, devices, log)
    plan = plan.filled(epochs=20, batch=32, patience=6, monitor="val_loss", learning_rate=1e-3)
    _check(name_or_model, sides, images, transfer, plan, devices)
    cluster, strategy = _together(devices.strategy)
    processes, rank = (cluster.size, cluster.rank) if cluster else (1, 0)
    replicas = strategy.num_replicas_in_sync if strategy else 1
    if plan.batch % replicas:
        raise ImageError(f"Expected a batch that {replicas} devices share evenly, received {plan.batch}.")
    model = None if isinstance(name_or_model, str) else name_or_model
    size = images.size if model is None else model.input_shape[1]
    shared = {"size": size, "kind": images.kind, "seed": plan.seed, "part": (rank, processes), "cache": images.cache}
    share = plan.batch // processes
    train = feed(
        sides["train"], batch=share, shuffle=True, augment=images.augment, drop_remainder=replicas > 1, **shared
    )  # fmt: skip
    validation = feed(sides["validation"], batch=max(share, 64), **shared)
    weights = class_weights(plan.balance, len(train.classes), lambda: _balanced(train, images.kind))
    asked = {"model": name_or_model if model is None else runs.identity_of(model), **vars(images), **vars(transfer)}
    asked |= vars(plan) | {"size": train.size, "balance": weights, "classes": list(train.classes)}
    asked |= {"train": train.identity, "validation": validation.identity}
    asked["weights"] = None if transfer.weights is None else str(transfer.weights)
    del asked["cache"]  # changes nothing but the time
    chief = rank == 0
    if not chief and folder is not None and folders.state(folder) == "complete":
        return models.load(folder, kind="images")
    with runs.claimed(folder if chief else None, asked) as run:
        if run.finished:
            return models.load(run.model, kind="images")
        backup = None if folder is None else folders.place(folder) / runs.BACKUP  # the others read it, too
        work = _Training(name_or_model, train, validation, images, transfer, plan)
        classifier = work.run(weights, strategy, cluster, bool(devices.mixed), log, backup)
        classifier.notes.update({"weights": asked["weights"], "processes": processes, **(notes or {})})
        if images.kind == "multi" and chief:
            classifier.thresholds = best_thresholds(*classifier.predictions(sides["validation"]))
        run.finish(classifier)
    return classifier


@dataclass
class _Training:
    """One training: the model and its images."""

    name_or_model: Any
    train: Any
    validation: Any
    images: ImageInput
    transfer: Transfer
    plan: Plan

    def build(self):
        from arsetlib.models import images as networks

        return networks.build(
            self.name_or_model, size=self.train.size, channels=self.train.channels, classes=len(self.train.classes),
            head=self.images.kind, weights=self.transfer.weights, seed=self.plan.seed,
        )  # fmt: skip

    def run(self, weights, strategy, cluster, mixed: bool, log: Log, backup) -> Classifier:
        from arsetlib.training import loop
        from arsetlib.training.callbacks import Progress
        from arsetlib.training.devices import in_float32, make_network
        from arsetlib.training.tasks import classes_task

        began, plan, train = time.perf_counter(), self.plan, self.train
        model = None if isinstance(self.name_or_model, str) else self.name_or_model
        mixed, replicas = mixed and model is None, strategy.num_replicas_in_sync if strategy else 1
        model = make_network(model, self.build, plan.seed, strategy, mixed)
        _check_fits(model, train)
        if replicas > 1:
            _synchronise(model, True)
        single = self.images.kind == "single"
        task = classes_task("crossentropy", weights, **SCORES) if single else labels_task(weights)
        shown = [Progress(lines=True)] if log.progress and (cluster is None or cluster.chief) else []
        history, best_epoch = loop.train(
            model, task, (train, self.validation), plan, phases=self.phases(), backup=backup, strategy=strategy,
            callbacks=lambda of: [*log.callbacks, *shown], cluster=cluster,
            start_from=self.transfer.freeze if self.transfer.freeze < plan.epochs else 0,
        )  # fmt: skip
        if replicas > 1:
            _synchronise(model, False)
        if mixed:
            model = in_float32(model, self.build)
        counts = dict(zip(train.classes, train.counts.tolist(), strict=True))
        notes = {
            "seed": plan.seed, "simulated": train.simulated, "size": train.size, "batch": plan.batch,
            "epochs_asked": plan.epochs, "freeze": self.transfer.freeze, "best_epoch": best_epoch,
            "images": {"train": train.total, "validation": self.validation.total}, "images_of_class": counts,
            "classes_without_images": [key for key, count in counts.items() if not count], "devices": replicas,
            "seconds": round(time.perf_counter() - began, 1),
        }  # fmt: skip
        return Classifier(model, self.images.kind, train.classes, None, history, notes)

    def phases(self) -> list:
        """The head alone, then the whole network; or one phase for all epochs."""
        from arsetlib.models import images as networks
        from arsetlib.training import loop
        from arsetlib.training.devices import optimizer_of

        plan, freeze, slow = self.plan, self.transfer.freeze, self.transfer.fine_tune_rate
        make = functools.partial(optimizer_of, plan.optimizer, plan.learning_rate)
        if not freeze:
            return [loop.Phase(0, plan.epochs, make)]
        if slow is None:
            slow = plan.learning_rate / FINE_TUNE_DIVISOR
        first = loop.Phase(0, min(freeze, plan.epochs), make, lambda model: networks.freeze(model, True))
        make = functools.partial(optimizer_of, plan.optimizer, slow)
        second = loop.Phase(freeze, plan.epochs, make, lambda model: networks.freeze(model, False))
        return [first, second] if freeze < plan.epochs else [first]


def best_thresholds(truth: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """(K,) the share from which predicting a class gives the best F1; 0.5 for a class that no image has.

    Args:
        truth: (N, K) 0 or 1.
        shares: (N, K) 0..1.
    """
    thresholds = np.full(truth.shape[1], 0.5, np.float32)
    for k in np.flatnonzero(truth.any(axis=0)):
        order = np.argsort(-shares[:, k], kind="stable")
        share, there = shares[order, k], truth[order, k]
        right, predicted = there.cumsum(), np.arange(1, len(there) + 1)
        f1 = 2 * right / (predicted + there.sum())
        last = np.append(share[:-1] > share[1:], True)  # equal shares are predicted together or not at all
        best = int(np.argmax(np.where(last, f1, -1)))
        below = share[best + 1] if best + 1 < len(share) else 0.0
        thresholds[k] = (share[best] + below) / 2  # between the last that is predicted and the first that is not
    return thresholds


def labels_task(weights: list[float] | None) -> Any:
    """Several classes may be present: binary cross-entropy; accuracy is the share of labels that are right."""
    import tensorflow as tf

    from arsetlib.training.tasks import Task

    each = tf.constant(weights or [1.0], tf.float32)

    def loss(truth, shares):
        shares = tf.clip_by_value(shares, 1e-7, 1 - 1e-7)
        there, not_there = truth * tf.math.log(shares), (1 - truth) * tf.math.log(1 - shares)
        return -tf.reduce_mean(each * there + not_there, axis=1)

    def count(truth, shares):
        predicted = tf.cast(shares >= 0.5, tf.float32)
        parts = (truth * predicted, (1 - truth) * predicted, truth * (1 - predicted), tf.ones_like(truth))
        return tf.stack([tf.reduce_sum(part, axis=0) for part in parts])

    def scores(counts):
        right, wrong, missed, images = np.reshape(counts, (4, -1))
        both = 2 * right + wrong + missed
        f1 = 2 * right[both > 0] / both[both > 0]  # a class that neither truth nor prediction has does not count
        macro = float(f1.mean()) if len(f1) else float("nan")
        return {"accuracy": 1 - (wrong + missed).sum() / images.sum(), "macro_f1": macro}

    return Task(loss, count, scores)


def _balanced(train, kind: str) -> np.ndarray:
    """(K,) weights that let rare classes count as much as common ones, within a limit."""
    if kind == "single":
        weights = even_weights(train.counts)
    else:
        weights = (train.total - train.counts) / np.maximum(train.counts, 1)
    return np.where(train.counts > 0, np.minimum(weights, MOST_WEIGHT), 1.0)


def _synchronise(model, together: bool) -> None:
    """Let batch normalisation see the whole batch, not each device its own share; so their number changes nothing."""
    import keras

    for layer in getattr(model, "layers", []):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = together
        _synchronise(layer, together)


def _together(strategy):
    """(Cluster or None, strategy or None)."""
    if strategy is None:
        return None, None
    import tensorflow as tf

    from arsetlib.training import workers
    from arsetlib.training.devices import strategy_of

    if isinstance(strategy, str) and strategy == "workers":
        return workers.cluster(), workers.strategy()
    several = isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
    return workers.cluster() if several else None, strategy_of(strategy)


def _check_fits(model, train) -> None:
    expected = (train.size, train.size, train.channels)
    if tuple(model.input_shape[1:]) != expected or model.output_shape[1:] != (len(train.classes),):
        raise ImageError(
            f"Expected a model that takes {expected} and gives {len(train.classes)} shares, received one that takes "
            f"{tuple(model.input_shape[1:])} and gives {model.output_shape[1:]}."
        )


def _check(model, sides, images: ImageInput, transfer: Transfer, plan: Plan, devices: Devices) -> None:
    if missing := {"train", "validation"} - set(sides):
        raise ImageError(f"sides lacks {' and '.join(sorted(missing))}. fields.split makes both.")
    if images.kind not in KINDS:
        raise ImageError(f"Expected kind = {', '.join(map(repr, KINDS))}, received {images.kind!r}.")
    plan.check(("crossentropy",), MONITORS)
    whole_number("freeze", transfer.freeze, 0)
    if isinstance(devices.strategy, str):
        one_of("strategy", devices.strategy, (None, "mirrored", "workers"))
    rate = plan.learning_rate
    if transfer.freeze and transfer.fine_tune_rate is None and not isinstance(rate, int | float):
        raise TrainingError("A tenth of a schedule of learning rates is not defined. Give fine_tune_rate, too.")
    if isinstance(model, str):
        from arsetlib.models import images as networks

        check_name(model, networks.BACKBONES, "image model")
