"""Train a segmentation model on tiles; a run that was stopped goes on.

Lab: case_groves. Shell: ``arset groves train``.
"""

from __future__ import annotations

import math
import shutil
import time
from pathlib import Path

import numpy as np

from arsetlib.groves.classes import GroveError
from arsetlib.groves.segmenter import CLASSES, COLOURS, Segmenter, fingerprint, load
from arsetlib.training.run import says_full

APART = 0.15  # of accuracy: a run of the thesis whose train and validation accuracy differ by more was not valid
FLAT = 0.02  # of accuracy: a run that gained less than this learnt nothing
FOUND = 0.1  # IoU from which a class counts as found
RATES = {"adadelta": 1.0}  # of its paper and of Keras in 2020; Keras 3 starts it a thousand times slower


@says_full
def fit(
    model,
    sides: dict,
    *,
    encoder: str = "mobilenet",
    size: int = 224,
    channels: int = 3,
    weights=None,
    options: dict | None = None,
    classes=CLASSES,
    colours=COLOURS,
    shrink: float = 1.0,
    folder: str | Path | None = None,
    epochs: int = 40,
    batch: int = 8,
    patience: int = 8,
    monitor: str = "val_mean_iou",
    optimizer: str = "adam",
    learning_rate: float | None = None,
    loss: str = "crossentropy",
    class_weights=None,
    seed: int = 0,
    callbacks=(),
    progress: bool = True,
    notes: dict | None = None,
) -> Segmenter:
    """Train until the validation no longer improves, and keep the best epoch.

    With a folder, a run that was stopped goes on after its last finished epoch when it is called again with the same
    arguments, and a finished one is returned as it is.

    Args:
        model: An architecture ("unet", "fcn8", "segnet", "pspnet"), or a Keras model with a softmax over the classes.
        sides: ``train`` and ``validation``: each a ``tf.data.Dataset`` of (tiles (B, S, S, C) float32 0..1, one-hot
            masks (B, S, S, K); all zeros where not labelled), as ``groves.batches`` makes it.
        encoder, size, channels, weights, options: For ``segmentation.build``.
        classes, colours: (K,) names and "#rrggbb".
        shrink: Capture pixels per pixel of the tiles.
        folder: Where the run is kept: ``model/`` in the end, until then ``backup/``. None keeps nothing.
        epochs: At most.
        batch: Only noted: the datasets are batched already.
        patience: Epochs without improvement of ``monitor`` after which training stops.
        monitor: ``"val_mean_iou"``, ``"val_accuracy"`` or ``"val_loss"``.
        optimizer: ``"adam"``, or ``"adadelta"`` as in the thesis, or another of Keras.
        learning_rate: None: 1e-3, for adadelta 1.0. A small network that is to learn in minutes bears 3e-3.
        loss: ``"crossentropy"``, ``"dice"`` or ``"focal"``.
        class_weights: None, (K,) numbers, or ``"balanced"``: each class counts the same in sum.
        seed: Of the model's random weights.
        callbacks: More of Keras.
        progress: Print one line an epoch.
        notes: More to keep with the model.

    Returns:
        A Segmenter. ``history`` has loss, accuracy, mean_iou, the same with ``val_``, learning_rate and seconds of each
        epoch; ``notes["best_epoch"]`` is the one that was kept, from 1; ``notes["validation_iou"]`` its IoU of each
        class (None where the validation has none of it); ``notes["verdict"]`` see ``verdict``.

    Raises:
        GroveError: No validation; an unknown optimiser, loss or monitor; the loss is no number; the folder holds
            another run.
    """
    import keras

    from arsetlib.groves import losses
    from arsetlib.models import segmentation
    from arsetlib.training.callbacks import Backup
    from arsetlib.training.run import Folder

    if missing := {"train", "validation"} - set(sides):
        raise GroveError(f"sides lacks {' and '.join(sorted(missing))}. groves.split makes both.")
    if patience < 1:
        raise GroveError(f"Expected a patience of 1 or more, received {patience}.")
    if monitor not in ("val_mean_iou", "val_accuracy", "val_loss"):
        raise GroveError(f"Expected monitor val_mean_iou, val_accuracy or val_loss, received {monitor!r}.")
    if isinstance(class_weights, str):
        if class_weights != "balanced":
            raise GroveError(f"Expected class_weights None, numbers or 'balanced', received {class_weights!r}.")
        class_weights = losses.balanced(pixels(sides["train"]))
    rate = learning_rate or RATES.get(str(optimizer).lower(), 1e-3)
    plan = {
        "model": model if isinstance(model, str) else model.name, "encoder": encoder, "size": size,
        "channels": channels, "weights": _origin(weights),
        "options": options or {}, "classes": list(classes), "shrink": shrink, "epochs": epochs, "batch": batch,
        "patience": patience, "monitor": monitor, "optimizer": optimizer, "learning_rate": rate, "loss": loss,
        "class_weights": None if class_weights is None else [round(float(w), 6) for w in class_weights], "seed": seed,
    }  # fmt: skip
    kept = Folder(folder, plan)
    if folder is not None and (Path(folder) / "model" / "card.json").is_file():
        shutil.rmtree(kept / "backup", ignore_errors=True)  # of a run that was killed just after its end
        kept.close()
        return load(Path(folder) / "model")
    keras.utils.set_random_seed(seed)
    name = model
    if isinstance(model, str):
        model = segmentation.build(
            model, encoder=encoder, size=size, channels=channels, classes=len(classes), weights=weights, seed=seed,
            **(options or {}),
        )  # fmt: skip
    model.compile(
        optimizer=_optimizer(optimizer, rate),
        loss=losses.make_loss(loss, class_weights),
        metrics=[losses.PixelAccuracy(), losses.MeanIoU(len(classes))],
    )
    history: dict[str, list[float]] = {}
    mode = "min" if monitor == "val_loss" else "max"
    stopping = keras.callbacks.EarlyStopping(monitor, patience=patience, mode=mode, restore_best_weights=True)
    backup = Backup(kept / "backup" if folder is not None else None, stopping, None, history)
    began = time.perf_counter()
    told = [_told()] if progress else []
    model.fit(
        sides["train"],
        validation_data=sides["validation"],
        epochs=epochs,
        callbacks=[_finite(), *callbacks, stopping, *told, backup],
        verbose=0,
        shuffle=False,
    )
    reached = validation_iou(model, sides["validation"])
    facts = plan | {
        "model": model.name if isinstance(name, str) else str(model.name),
        "best_epoch": stopping.best_epoch + 1,
        "seconds": round(time.perf_counter() - began, 1),
        "validation_iou": [None if np.isnan(v) else round(float(v), 4) for v in reached],
        "verdict": verdict(history, reached),
        "keras": keras.__version__,
    }
    made = Segmenter(model, classes, colours, shrink, history, facts | (notes or {}))
    if folder is not None:
        made.save(kept / "model")
        shutil.rmtree(kept / "backup", ignore_errors=True)
        kept.close()
    return made


def verdict(history: dict, iou=None) -> str:
    """The thesis's rule on a run, made stricter: ``"valid"``, ``"overfit"`` or ``"underfit"``.

    Valid if the best train and validation accuracy differ by at most 15 points. Otherwise the training set was learnt
    by heart (overfit). Lines that stay flat are underfit. Accuracy alone would call a map valid that says 'ground'
    everywhere; so a run that does not find a class (IoU under 0.1) is underfit, too.

    Args:
        history: ``accuracy`` and ``val_accuracy``, one value an epoch.
        iou: (K,) IoU of each class on the validation, NaN where it has none of it. None leaves the thesis's own rule.
    """
    if iou is not None and (np.asarray(iou, float) < FOUND).any():
        return "underfit"
    train, validation = history.get("accuracy", []), history.get("val_accuracy", [])
    if not train or not validation:
        return "underfit"
    if max(train) - max(validation) > APART:
        return "overfit"
    if len(train) > 1 and max(train) - train[0] < FLAT and max(train) < 0.9:
        return "underfit"
    return "valid"


def pixels(batches) -> np.ndarray:
    """(K,) labelled pixels of each class in a dataset."""
    return np.sum([np.asarray(masks).sum(axis=(0, 1, 2)) for _, masks in batches], axis=0)


def validation_iou(model, batches) -> np.ndarray:
    """(K,) IoU of each class over the labelled pixels of a dataset; NaN where it has none of the class."""
    from arsetlib.evaluation import Confusion

    classes = model.output_shape[-1]
    counts = np.zeros((classes, classes), np.int64)
    for x, y in batches:
        y = np.asarray(y)
        known = y.any(axis=-1)
        truth, said = y.argmax(-1)[known], np.asarray(model(x, training=False)).argmax(-1)[known]
        counts += np.bincount(truth * classes + said, minlength=classes**2).reshape(classes, classes)
    return np.where(counts.sum(axis=1) > 0, Confusion.from_counts(counts).iou, np.nan)


def _origin(weights) -> str | None:
    """What the encoder starts from, as a run's plan notes it."""
    if weights is None or isinstance(weights, str | Path):
        return None if weights is None else str(weights)
    model = getattr(weights, "model", weights)
    return f"{model.name} {fingerprint(model)[:16]}"


def _optimizer(name: str, rate: float):
    import keras

    try:
        return keras.optimizers.get({"class_name": name, "config": {"learning_rate": rate}})
    except (ValueError, TypeError) as problem:
        raise GroveError(f"Expected an optimiser of Keras, such as adam or adadelta, received {name!r}.") from problem


def _finite():
    import keras

    class Finite(keras.callbacks.Callback):
        """Stop where the loss is no number, and say so."""

        def on_train_batch_end(self, batch, logs=None):
            if not math.isfinite((logs or {}).get("loss", 0.0)):
                raise GroveError(f"The loss is no number after step {batch + 1}. Take a lower learning_rate.")

    return Finite()


def _told():
    import keras

    class Told(keras.callbacks.Callback):
        """One line an epoch."""

        def on_epoch_end(self, epoch, logs=None):
            said = ", ".join(f"{k} {logs[k]:.3f}" for k in ("loss", "val_loss", "val_accuracy", "val_mean_iou"))
            print(f"epoch {epoch + 1}/{self.params['epochs']}: {said}", flush=True)

    return Told()
