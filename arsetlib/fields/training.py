"""Train an image classifier; a run that was stopped goes on. On one device, on several, in several processes.

Lab: case_fields. Shell: ``arset fields train``.
"""

from __future__ import annotations

import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np

from arsetlib.fields.classes import ImageError
from arsetlib.fields.classifier import Classifier, load
from arsetlib.fields.feeds import KINDS, feed
from arsetlib.training.fit import identity_of, optimizer_of, strategy_of
from arsetlib.training.run import says_full

MONITORS = ("val_loss", "val_accuracy", "val_macro_f1")
STRATEGIES = (None, "mirrored", "workers")
MOST = 20.0  # what a rare class may weigh at most: one image in a thousand must not drown the others
GENTLER = 10  # how many times slower a backbone is bent than the head was trained


@says_full
def fit(
    name_or_model,
    sides: dict,
    *,
    folder: str | Path | None = None,
    size: int = 224,
    kind: str = "multi",
    weights=None,
    epochs: int = 20,
    freeze: int = 0,
    batch: int = 32,
    patience: int = 6,
    monitor: str = "val_loss",
    optimizer: str = "adam",
    learning_rate=1e-3,
    fine_tune_rate=None,
    class_weights=None,
    augment=True,
    cache=False,
    strategy=None,
    seed: int = 0,
    callbacks=(),
    progress: bool = True,
    notes: dict | None = None,
) -> Classifier:
    """Train until the validation no longer improves, and keep the best epoch.

    With a folder, a run that was stopped goes on after its last finished epoch when it is called again with the same
    arguments, and ends the same; a finished one is returned as it is.

    Transfer learning: ``weights`` from elsewhere and ``freeze=3`` train the head alone for three epochs, with the
    backbone and its batch normalisation as they came; then all of it is trained, ten times more gently.

    Several devices: ``"mirrored"`` splits each batch over the GPUs of this machine (or give a
    ``tf.distribute.Strategy``). ``"workers"`` is for a process that is one of several, see
    ``arsetlib.training.workers``: all of them make the same call, the first keeps the run. ``batch`` stays the size of
    the whole, and batch normalisation sees the whole, so that the number of devices changes the digits' end alone
    (dropout draws its own on each device).

    Args:
        name_or_model: A name of ``models.images.BACKBONES``, or a Keras model that ends in shares (B, K). It is trained
            itself, or a copy of it where a strategy did not make it.
        sides: ``train`` and ``validation``: each Chips, a folder made by ``fields.convert``, or arrays (x, y).
        folder: Where the run is kept: ``model/`` in the end, until then ``backup/``. None keeps nothing.
        size: Side of the images as the model gets them, px; of arrays and models, their own.
        kind: ``"multi"``: several classes may be there; ``"single"``: images with exactly one, softmax.
        weights: Of the backbone, see ``models.images.build``.
        epochs: At most.
        freeze: Epochs with a frozen backbone, before it is fine-tuned; ``epochs`` never fine-tunes.
        batch: Images a step, over all devices and processes.
        patience: Epochs without improvement of ``monitor`` after which training stops. Frozen epochs do not count.
        monitor: ``"val_loss"``, ``"val_accuracy"`` or ``"val_macro_f1"``.
        optimizer: Name of one of Keras's.
        learning_rate: A number or a schedule of Keras, such as ``workers.linear_rate`` makes.
        fine_tune_rate: After the frozen epochs; None: a tenth of ``learning_rate``.
        class_weights: None, (K,) numbers, or ``"balanced"``. Of kind multi what a class that is there weighs against
            one that is not; balanced: images without it / images with it, at most 20. Of kind single what an image of
            the class weighs; balanced: all classes weigh the same in sum.
        augment: Mirror, turn and relight training images; see ``fields.batches``. Arrays stay as they are.
        cache: Keep decoded pixels: False, ``"memory"`` or a folder.
        strategy: None, ``"mirrored"``, ``"workers"`` or a ``tf.distribute.Strategy``.
        seed: Of weights, order, changes and dropout.
        callbacks: More of Keras. Their own state is not kept over a kill.
        progress: Print one line an epoch.
        notes: More to keep with the model.

    Returns:
        A Classifier. ``history`` has loss, accuracy, macro_f1 (at a threshold of 0.5), the same with ``val_``,
        learning_rate and seconds of each epoch; ``notes["best_epoch"]`` is the one that was kept, from 1. With workers,
        those after the first keep nothing and leave the thresholds at 0.5.

    Raises:
        ImageError: No validation, options that cannot be meant, images that do not fit the model.
        TrainingError: The loss is no number; the folder holds another run.
        WorkerError: Another worker was lost.

    Lab: case_fields.
    """
    _check(sides, kind, epochs, freeze, batch, patience, monitor, strategy, name_or_model)
    cluster, strategy = _together(strategy)
    import keras

    from arsetlib.fields import loop as loops
    from arsetlib.training.callbacks import Backup, Bar
    from arsetlib.training.run import Folder

    processes, rank = (cluster.size, cluster.rank) if cluster else (1, 0)
    devices = strategy.num_replicas_in_sync if strategy else 1
    if batch % devices:
        raise ImageError(f"Expected a batch that {devices} devices share evenly, received {batch}.")
    given = None if isinstance(name_or_model, str) else name_or_model
    size = size if given is None else given.input_shape[1]
    shared = {"size": size, "kind": kind, "seed": seed, "part": (rank, processes), "cache": cache}
    train = feed(
        sides["train"], batch=batch // processes, shuffle=True, augment=augment, drop_remainder=devices > 1, **shared
    )
    fixed = feed(sides["validation"], batch=max(batch // processes, 64), **shared)
    weights_of_classes = _class_weights(class_weights, train, kind)
    plan = {
        "model": name_or_model if given is None else identity_of(given), "size": train.size, "kind": kind,
        "weights": None if weights is None else str(weights), "epochs": epochs, "freeze": freeze, "batch": batch,
        "patience": patience, "monitor": monitor, "optimizer": optimizer, "learning_rate": learning_rate,
        "fine_tune_rate": fine_tune_rate, "class_weights": weights_of_classes, "augment": augment, "seed": seed,
        "classes": list(train.classes), "train": train.identity, "validation": fixed.identity,
    }  # fmt: skip
    chief = rank == 0
    if folder is not None and (Path(folder) / "run.json").is_file() and not chief:
        return load(folder)
    kept = Folder(folder if chief else None, plan)
    if kept.finished:
        return load(kept / "model")
    keras.utils.set_random_seed(seed)
    with strategy.scope() if strategy else nullcontext():
        model = _build(name_or_model, train, kind, weights, seed) if given is None else _within(given, strategy)
    _fits(model, train)
    if devices > 1:
        loops.synchronise(model, True)
    stopping = keras.callbacks.EarlyStopping(
        monitor, patience=patience, mode="min" if monitor == "val_loss" else "max", restore_best_weights=True,
        start_from_epoch=freeze if freeze < epochs else 0,
    )  # fmt: skip
    history: dict[str, list[float]] = {}
    backup = _backup(Backup, chief)(None if folder is None else Path(folder) / "backup", stopping, None, history)
    loop = loops.Loop(model, _loss(kind, weights_of_classes), kind, strategy, cluster)
    told = [Bar(epochs), loops.Told()] if progress and chief else []
    began = time.perf_counter()
    phases = _phases(loops.Phase, epochs, freeze, optimizer, learning_rate, fine_tune_rate)
    loop.run(train, fixed, phases, [*callbacks, stopping, *told], backup, epochs)
    if devices > 1:
        loops.synchronise(model, False)
    facts = {
        "seed": seed, "simulated": train.simulated, "size": train.size, "batch": batch, "epochs_asked": epochs,
        "freeze": freeze, "weights": plan["weights"], "best_epoch": stopping.best_epoch + 1,
        "images": {"train": train.total, "validation": fixed.total},
        "images_of_class": dict(zip(train.classes, train.counts.tolist(), strict=True)),
        "classes_without_images": [k for k, n in zip(train.classes, train.counts, strict=True) if n == 0],
        "devices": devices, "processes": processes, "seconds": round(time.perf_counter() - began, 1),
    }  # fmt: skip
    made = Classifier(model, kind, train.classes, None, history, facts | (notes or {}))
    if kind == "multi" and chief:
        made.thresholds = best_thresholds(*made.predictions(sides["validation"]))
    if chief:
        kept.finish(made)
    return made


def best_thresholds(truth: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """(K,) share from which saying 'it is there' gives the best F1; 0.5 for a class that no image has.

    Args:
        truth: (N, K) 0 or 1.
        shares: (N, K) 0..1.
    """
    found = np.full(truth.shape[1], 0.5, np.float32)
    for k in np.flatnonzero(truth.any(axis=0)):
        order = np.argsort(-shares[:, k], kind="stable")
        share, there = shares[order, k], truth[order, k]
        right, said = there.cumsum(), np.arange(1, len(there) + 1)
        f1 = 2 * right / (said + there.sum())
        last = np.append(share[:-1] > share[1:], True)  # equal shares are said together or not at all
        best = int(np.argmax(np.where(last, f1, -1)))
        below = share[best + 1] if best + 1 < len(share) else 0.0
        found[k] = (share[best] + below) / 2  # between the last that is said and the first that is not
    return found


# What fit is made of


def _build(name: str, train, kind: str, weights, seed: int):
    from arsetlib.models import images as networks

    return networks.build(
        name,
        size=train.size,
        channels=train.channels,
        classes=len(train.classes),
        head=kind,
        weights=weights,
        seed=seed,
    )


def _within(model, strategy):
    """The model, or a copy that is the strategy's where it was made outside."""
    import keras

    if strategy is None or all(strategy.extended.variable_created_in_scope(v.value) for v in model.variables):
        return model
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy


def _phases(phase, epochs, freeze, optimizer, rate, fine_tune_rate) -> list:
    if not freeze:
        return [phase(0, epochs, None, lambda: optimizer_of(optimizer, rate))]
    gentle = fine_tune_rate
    if gentle is None:
        if not isinstance(rate, int | float):
            raise ImageError("A schedule cannot be made a tenth by itself. Give fine_tune_rate, too.")
        gentle = rate / GENTLER
    first = phase(0, min(freeze, epochs), True, lambda: optimizer_of(optimizer, rate))
    if freeze >= epochs:
        return [first]
    return [first, phase(freeze, epochs, False, lambda: optimizer_of(optimizer, gentle))]


def _loss(kind: str, weights):
    """truth (B, K), shares (B, K) → (B,)."""
    import tensorflow as tf

    each = tf.constant(weights or [1.0], tf.float32)

    def several(truth, shares):
        shares = tf.clip_by_value(shares, 1e-7, 1 - 1e-7)
        there, not_there = truth * tf.math.log(shares), (1 - truth) * tf.math.log(1 - shares)
        return -tf.reduce_mean(each * there + not_there, axis=1)

    def one(truth, shares):
        return -tf.reduce_sum(each * truth * tf.math.log(tf.clip_by_value(shares, 1e-7, 1.0)), axis=1)

    return several if kind == "multi" else one


def _class_weights(given, train, kind: str) -> list[float] | None:
    if given is None:
        return None
    count = len(train.classes)
    if isinstance(given, str):
        if given != "balanced":
            raise ImageError(f"Expected class_weights None, {count} numbers or 'balanced', received {given!r}.")
        there = np.maximum(train.counts, 1)
        if kind == "multi":
            found = np.minimum((train.total - train.counts) / there, MOST)
        else:
            found = np.minimum(train.counts.sum() / (there * (train.counts > 0).sum()), MOST)
        given = np.where(train.counts > 0, found, 1.0)
    given = np.asarray(given, float)
    if given.shape != (count,) or not (np.isfinite(given) & (given >= 0)).all() or not given.any():
        raise ImageError(f"Expected class_weights None, {count} numbers from 0 on or 'balanced', received {given}.")
    return [round(float(w), 6) for w in given]


def _backup(base, chief: bool):
    """Every worker goes on from the backup; the first alone writes it."""
    if chief:
        return base

    class Reader(base):
        def _keep(self, epoch: int) -> None:
            pass

    return Reader


def _together(strategy):
    """(Cluster or None, strategy or None)."""
    if strategy is None:
        return None, None
    import tensorflow as tf

    from arsetlib.training import workers

    if isinstance(strategy, str) and strategy == "workers":
        return workers.cluster(), workers.strategy()
    several = isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
    return workers.cluster() if several else None, strategy_of(strategy)


def _fits(model, train) -> None:
    wanted = (train.size, train.size, train.channels)
    if tuple(model.input_shape[1:]) != wanted or model.output_shape[1:] != (len(train.classes),):
        raise ImageError(
            f"Expected a model that takes {wanted} and gives {len(train.classes)} shares, received one that takes "
            f"{tuple(model.input_shape[1:])} and gives {model.output_shape[1:]}."
        )


def _check(sides, kind, epochs, freeze, batch, patience, monitor, strategy, model) -> None:
    if missing := {"train", "validation"} - set(sides):
        raise ImageError(f"sides lacks {' and '.join(sorted(missing))}. fields.split makes both.")
    for noun, value, known in (("kind", kind, KINDS), ("monitor", monitor, MONITORS)):
        if value not in known:
            raise ImageError(f"Expected {noun} = {', '.join(map(repr, known))}, received {value!r}.")
    if isinstance(strategy, str) and strategy not in STRATEGIES:
        raise ImageError(
            f"Expected strategy = None, 'mirrored', 'workers' or one of TensorFlow, received {strategy!r}."
        )
    for noun, value, least in (
        ("epochs", epochs, 1),
        ("batch", batch, 1),
        ("patience", patience, 1),
        ("freeze", freeze, 0),
    ):
        if isinstance(value, bool) or not hasattr(value, "__index__") or value < least:
            raise ImageError(f"Expected {noun} to be a whole number of at least {least}, received {value!r}.")
    if isinstance(model, str):
        from arsetlib.models import images as networks

        networks._known(model, networks.BACKBONES, "image model")
