"""Train one model: a network with callbacks, or a baseline on the same windows.

Lab: part3_train_and_test.
"""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

import numpy as np

from arsetlib.samples import Loader, Rows, Scaler
from arsetlib.study import Study
from arsetlib.training.run import Folder, TrainingError, digest, digest_arrays, facts, says_full

IN_MEMORY = 2**28  # bytes of validation windows that are kept in memory
BASELINE_EPOCHS = 4  # epochs of windows that a baseline sees
LOSSES = ("crossentropy", "focal")


@says_full
def fit(
    name_or_model,
    sides: dict[str, Rows],
    study: Study,
    *,
    folder: str | Path | None = None,
    epochs: int | None = None,
    batch: int = 256,
    patience: int | None = None,
    monitor: str = "val_loss",
    learning_rate=1e-3,
    optimizer="adam",
    loss: str = "crossentropy",
    balance: bool = False,
    seed: int = 0,
    fill: str = "zeros",
    choose: str = "random",
    starts: int | None = None,
    scaler: Scaler | None = None,
    options: dict | None = None,
    missing: str = "refuse",
    strategy=None,
    mixed: bool | None = None,
    tensorboard: bool = True,
    profile: tuple[int, int] | int | None = None,
    callbacks: Sequence = (),
    progress: bool = True,
    notes: dict | None = None,
):
    """Train a model until its validation loss no longer falls, and keep the best.

    Each epoch draws new windows of the training rows (random start, a random image per step). The validation windows
    are drawn once, by the seed, and stay the same, so that epochs can be compared. With a folder, a run that was
    killed goes on after its last finished epoch when the same call is made again, and ends with the same weights; a
    finished run is returned without training.

    What a seed promises: on a CPU the same weights, bit for bit, on the same machine with the same number of threads
    and versions. On a GPU, call ``tf.config.experimental.enable_op_determinism()`` first (it holds for the whole
    process and slows the input down); without it runs differ in the last digits.

    Several devices: ``strategy="mirrored"`` splits each batch over the GPUs of this machine and sums their gradients;
    ``batch`` stays the size of the whole. Several machines are not offered here: with Keras 3.15 Keras's own ``fit``
    under TensorFlow's ``MultiWorkerMirroredStrategy`` (``TF_CONFIG``) connects and then fails where it adds up the
    metrics. A training loop of one's own works: ``fields.fit(strategy="workers")`` has one, see
    ``arsetlib.training.workers``. Series are small; one machine trains them in minutes.

    Args:
        name_or_model: A name of ``models.names()``, or a Keras model (not compiled, softmax output) or Baseline.
        sides: Rows with ``train`` and ``validation``, from ``samples.split``.
        study: Season, channels and legend.
        folder: Where the run is kept, see ``arsetlib.training.run``; None keeps nothing.
        epochs: At most so many; 40 by default. For a baseline, how many epochs of windows it is fitted on; 4.
        batch: Samples a step, over all devices. Larger ones fill a GPU; smaller ones give a small table more steps.
        patience: Epochs without improvement after which training stops; less than ``epochs``. None takes 6, or fewer
            where there are no more than 6 epochs.
        monitor: What must improve, such as ``"val_loss"`` or ``"val_macro_f1"``.
        learning_rate: A number or a ``keras.optimizers.schedules`` object.
        optimizer: Name of a Keras optimiser.
        loss: ``"crossentropy"``, or ``"focal"``, which looks more at samples that are still wrong.
        balance: Weigh samples so that classes count the same in sum.
        seed: Of weights, dropout, draws and order.
        fill, choose: See ``samples.window``.
        starts: Day of the year on which all windows start; None draws them over the season.
        scaler: None fits one on the training rows.
        options: For ``models.build``.
        missing: ``"refuse"`` a legend with a class that has no training sample, or ``"allow"`` it; it is then never
            predicted, and ``notes["classes_without_samples"]`` names it.
        strategy: None, ``"mirrored"`` or a ``tf.distribute.Strategy``.
        mixed: Compute in float16 where that is faster; None does so on a GPU. The model that is kept is float32.
        tensorboard: Write logs into the folder.
        profile: Steps to profile for TensorBoard, such as ``(10, 20)``.
        callbacks: More Keras callbacks. Their own state is not kept over a kill.
        progress: Show a bar. It stays quiet where no one looks, as in CI.
        notes: More to keep with the model.

    Returns:
        A ``models.Trained``. Its ``history`` has, per epoch, ``loss``, ``categorical_accuracy``, ``macro_f1``, the
        same with ``val_``, ``learning_rate`` and ``seconds``; ``notes["best_epoch"]`` is the one that was kept.

    Raises:
        TrainingError: An option cannot be meant; no validation rows; a class without training samples; the loss is no
            number (with epoch, step and rows); the folder holds another run.

    Lab: part3_train_and_test.
    """
    from arsetlib import models

    options = options or {}
    baseline = _is_baseline(name_or_model)
    if epochs is None:
        epochs = BASELINE_EPOCHS if baseline else 40
    if patience is None:
        patience = max(min(6, epochs - 1), 1)
    elif not baseline and not 1 <= patience < epochs:
        raise TrainingError(
            f"Expected a patience from 1 to {epochs - 1}, less than the {epochs} epochs, received {patience}: "
            f"EarlyStopping could never fire, so every training would run to its last epoch. "
            f"Lower patience or raise epochs."
        )
    _check(sides, epochs, loss, missing, learning_rate)
    scaler = scaler or Scaler.fit(sides["train"], study)
    given = name_or_model if not isinstance(name_or_model, str) else None
    plan = {
        "model": name_or_model if given is None else identity_of(given),
        "options": options, "epochs": epochs, "batch": batch, "patience": patience, "monitor": monitor,
        "learning_rate": learning_rate, "optimizer": optimizer, "loss": loss, "balance": balance, "seed": seed,
        "fill": fill, "choose": choose, "starts": starts, "missing": missing, "scaler": asdict(scaler),
        "study": facts(study), "train": digest(sides["train"]), "validation": digest(sides["validation"]),
    }  # fmt: skip
    strategy = None if baseline else strategy_of(strategy)
    kept = Folder(folder, plan)
    if kept.finished:
        return models.load(kept / "model", study)

    def build():
        shape = {"steps": study.season.steps, "bands": len(study.channels), "classes": len(study.legend.classes)}
        return models.build(name_or_model, **shape, step_days=study.season.step_days, seed=seed, **options)

    began = time.perf_counter()
    with strategy.scope() if strategy else nullcontext():
        if baseline:
            model = given or build()
        else:
            model, mixed = _network(given, build, mixed, seed)
    extras = tuple(models.needs(model))
    feed = {"fill": fill, "choose": choose, "seed": seed}
    start = "random" if starts is None else starts
    loader = Loader(
        sides["train"], study, scaler, batch=batch, start=start, shuffle=True, **feed,
        extras=(*extras, "weight") if balance else extras,
    )  # fmt: skip
    fixed = Loader(
        sides["validation"], study, scaler, batch=max(batch, 4096), start=start, shuffle=False, **feed, extras=extras
    )
    empty = _without_samples(loader, study, missing)
    history: dict[str, list[float]] = {}
    facts_of_run = {
        "seed": seed, "epochs_asked": epochs, "rows": {"train": loader.counts, "validation": fixed.counts},
        "samples_of_class": dict(zip(study.legend.keys, loader.class_counts.tolist(), strict=True)),
        "classes_without_samples": empty, "simulated": study.simulated, "digest_of_training_rows": plan["train"],
    }  # fmt: skip
    if baseline:
        _fit_baseline(model, loader, fixed, epochs, history, study, progress)
        facts_of_run["best_epoch"] = epochs
    else:
        setting = {
            "epochs": epochs, "patience": patience, "monitor": monitor, "learning_rate": learning_rate,
            "optimizer": optimizer, "loss": loss, "tensorboard": tensorboard, "profile": profile,
            "callbacks": callbacks, "progress": progress, "classes": len(study.legend.classes),
        }  # fmt: skip
        facts_of_run["best_epoch"] = _train(model, loader, fixed, kept, strategy, history, study.legend, **setting)
        facts_of_run |= {"mixed": mixed, "devices": strategy.num_replicas_in_sync if strategy else 1}
        if mixed:
            model = _in_float32(model, build)
    facts_of_run |= {"versions": _versions(baseline), "seconds": round(time.perf_counter() - began, 1)}
    name = name_or_model if given is None else getattr(given, "name", type(given).__name__)
    trained = models.Trained(
        model=model, name=name, scaler=scaler, study=study, choose=choose, fill=fill, history=history,
        notes=facts_of_run | (notes or {}), options=options,
    )  # fmt: skip
    kept.finish(trained)
    return trained


# A network


def _train(
    model, loader, fixed, kept, strategy, history, legend, *, epochs, patience, monitor, learning_rate, optimizer,
    loss, tensorboard, profile, callbacks, progress, classes,
) -> int:  # fmt: skip
    """Run Keras's fit; gives the best epoch, counted from 1."""
    import keras

    from arsetlib.training.callbacks import Backup, Bar, Epoch, MacroF1, StopAtNaN

    with strategy.scope() if strategy else nullcontext():
        model.compile(
            optimizer=optimizer_of(optimizer, learning_rate),
            loss=keras.losses.CategoricalFocalCrossentropy() if loss == "focal" else "categorical_crossentropy",
            metrics=[keras.metrics.CategoricalAccuracy(), MacroF1(classes)],
            jit_compile=False,
        )
    mode = "min" if monitor.endswith("loss") else "max"
    stopping = keras.callbacks.EarlyStopping(monitor, patience=patience, mode=mode, restore_best_weights=True)
    epoch = Epoch()
    best, shown = None, []
    if kept.path is not None:
        best = keras.callbacks.ModelCheckpoint(kept / "best.keras", monitor, mode=mode, save_best_only=True)
        if tensorboard:
            from arsetlib.training.board import boards

            shown = boards(kept / "logs", kept.plan, legend, profile)
    backup = Backup(kept / "backup" if kept.path is not None else None, stopping, best, history)
    bar = [Bar(epochs)] if progress else []
    order = [epoch, StopAtNaN(loader, epoch), *callbacks, *filter(None, [best]), *shown, stopping, *bar, backup]
    if strategy:
        _build_once(model, loader, strategy)
    model.fit(
        _shared(loader, loader.dataset(epoch=lambda: epoch.number), strategy),
        epochs=epochs,
        callbacks=order,
        verbose=0,
        shuffle=False,  # the loader does
        **_validation(fixed, strategy),
    )
    return stopping.best_epoch + 1


def _network(given, build, mixed: bool | None, seed: int):
    """The model to train, made under the precision to compute in."""
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(seed)
    if given is not None:
        return given, False
    mixed = bool(tf.config.list_physical_devices("GPU")) if mixed is None else mixed
    if not mixed:
        return build(), False
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        return build(), True
    finally:
        keras.config.set_dtype_policy(before)


def _in_float32(model, build):
    """The same weights in a network that computes in float32, so that it runs anywhere."""
    plain = build()
    plain.set_weights(model.get_weights())
    return plain


def _build_once(model, loader: Loader, strategy) -> None:
    """Make the variables of metrics and optimiser from one plain batch.

    Keras would average a batch over the devices for it, which fails where inputs are a dict (keras 3.15).
    """
    if not all(hasattr(model, name) for name in ("_symbolic_build", "_maybe_symbolic_build")):
        return
    with strategy.scope():
        model._symbolic_build(data_batch=loader.batch(0, 0))
    model._maybe_symbolic_build = lambda *_, **__: None


def _shared(loader: Loader, data, strategy):
    """The batches of an epoch, without the last, smaller one where devices cannot share it evenly."""
    devices = strategy.num_replicas_in_sync if strategy else 1
    if devices == 1:
        return data
    count, batch = len(loader.rows), loader.batch_size
    if batch % devices or count < batch:
        raise TrainingError(
            f"Expected a batch that {devices} devices share evenly and {count} training samples fill, received "
            f"{batch}. Take {max(min(batch, count) // devices, 1) * devices}."
        )
    return data.take(count // batch) if count % batch % devices else data


def _validation(fixed: Loader, strategy) -> dict:
    """The validation windows as arguments of Keras's fit: in memory where they are small."""
    steps, channels = fixed.study.season.steps, len(fixed.study.channels)
    if len(fixed.rows) * steps * channels * 4 > IN_MEMORY:
        return {"validation_data": fixed.dataset(epoch=0)}
    x, y = joined(fixed)
    devices = strategy.num_replicas_in_sync if strategy else 1
    # Keras looks at the first batch of several devices and asks that they share it evenly.
    size = max(min(fixed.batch_size, len(y)) // devices, 1) * devices
    return {"validation_data": (x, y), "validation_batch_size": size}


def joined(loader: Loader) -> tuple:
    """(x, y) of one epoch as whole arrays; x is a dict where the loader makes one."""
    xs, ys = zip(*(b[:2] for b in loader.arrays(0)), strict=True)
    if isinstance(xs[0], dict):
        return {name: np.concatenate([x[name] for x in xs]) for name in xs[0]}, np.concatenate(ys)
    return np.concatenate(xs), np.concatenate(ys)


def optimizer_of(name, learning_rate):
    import keras

    try:
        return keras.optimizers.get({"class_name": name, "config": {"learning_rate": learning_rate}})
    except (ValueError, TypeError) as error:
        known = [n.lower() for n in dir(keras.optimizers) if n[0].isupper() and n not in ("Optimizer",)]
        raise TrainingError(f"Expected an optimiser of Keras ({', '.join(known)}), received {name!r}.") from error


def strategy_of(strategy):
    """A tf.distribute.Strategy, or None for one device."""
    if strategy is None:
        return None

    if isinstance(strategy, str):
        if strategy != "mirrored":
            raise TrainingError(f"Expected strategy = 'mirrored' or a tf.distribute.Strategy, received {strategy!r}.")
        return _mirrored()
    return strategy


@functools.cache
def _mirrored():
    """One for the process: a second one would number its sums as the first did, and TensorFlow mixes them up."""
    import tensorflow as tf

    return tf.distribute.MirroredStrategy()


# A baseline


def _fit_baseline(model, loader, fixed, epochs, history, study, progress) -> None:
    from tqdm.auto import tqdm

    began = time.perf_counter()
    all_batches = itertools.chain.from_iterable(loader.arrays(epoch) for epoch in range(epochs))
    total, quiet = epochs * loader.steps, None if progress else True
    model.fit(tqdm(all_batches, total=total, unit="batch", desc="windows", disable=quiet, leave=False))
    x, y = joined(fixed)
    probability = np.asarray(model.predict(x))
    truth, predicted = y.argmax(axis=1), probability.argmax(axis=1)
    kinds = y.shape[1]
    counts = np.bincount(truth * kinds + predicted, minlength=kinds**2).reshape(kinds, kinds)
    both = counts.sum(axis=0) + counts.sum(axis=1)
    f1 = 2 * np.diag(counts)[both > 0] / both[both > 0]
    sure = probability[np.arange(len(truth)), truth].clip(1e-7)
    history["val_loss"] = [float(-np.log(sure).mean())]
    history["val_categorical_accuracy"] = [float((truth == predicted).mean())]
    history["val_macro_f1"] = [float(f1.mean())]
    history["seconds"] = [time.perf_counter() - began]


def _is_baseline(name_or_model) -> bool:
    """Whether a name or model is a baseline; known before any network is built."""
    from arsetlib.models import registry

    if isinstance(name_or_model, str):
        return registry.is_baseline(name_or_model)
    return not hasattr(name_or_model, "get_weights")


# What is refused, and what is told


def _check(sides, epochs, loss, missing, learning_rate) -> None:
    for side in ("train", "validation"):
        if side not in sides or not len(sides[side]):
            have = {name: len(rows) for name, rows in sides.items()}
            raise TrainingError(
                f"Expected rows on the side {side!r}, received {have}. Without validation nothing tells when to stop: "
                f"name its years in the study's [split], or cut blocks with samples.split(…, by='block')."
            )
    if epochs < 1:
        raise TrainingError(f"Expected at least one epoch, received {epochs}.")
    if isinstance(learning_rate, int | float) and not learning_rate > 0:
        raise TrainingError(f"Expected a learning_rate above 0, such as 0.001, received {learning_rate}.")
    for name, value, known in (("loss", loss, LOSSES), ("missing", missing, ("refuse", "allow"))):
        if value not in known:
            raise TrainingError(f"Expected {name} = {' or '.join(map(repr, known))}, received {value!r}.")


def _without_samples(loader: Loader, study: Study, missing: str) -> list[str]:
    """Keys of the classes that no training sample has, after the vegetation rule."""
    empty = [k for k, n in zip(study.legend.keys, loader.class_counts, strict=True) if n == 0]
    if empty and missing == "refuse":
        found = dict(zip(study.legend.keys, loader.class_counts.tolist(), strict=True))
        raise TrainingError(
            f"The classes {empty} have no training sample, so they could never be predicted: {found}. The vegetation "
            f"rule has been applied. Take more rows, drop the class from the legend, or allow it: "
            f"missing='allow' in Python, --allow-missing for `arset train`."
        )
    return empty


def identity_of(model) -> dict:
    """What tells one given model from another: its make and its weights."""
    if hasattr(model, "get_weights"):
        trainable = [bool(layer.trainable) for layer in model.layers]
        return {"name": model.name, "weights": digest_arrays(model.get_weights()), "trainable": trainable}
    return {"name": model.name, "options": model.options}


def _versions(baseline: bool) -> dict[str, str]:
    from importlib import metadata

    import sklearn

    found = {"numpy": np.__version__}
    if baseline:
        return found | {"scikit-learn": sklearn.__version__}
    import keras
    import tensorflow as tf

    return found | {"keras": keras.__version__, "tensorflow": tf.__version__, "arsetlib": metadata.version("arsetlib")}
