"""Train one model of series: a network, or a baseline on the same windows.

Lab: part3_train_and_test.
"""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from arsetlib import processes
from arsetlib.pixels.sources import ahead
from arsetlib.samples import Loader, Rows, SampleError, Scaler
from arsetlib.study import Study
from arsetlib.training import run as runs
from arsetlib.training.plan import (
    Devices,
    Log,
    Options,
    Plan,
    TrainingError,
    class_weights,
    even_weights,
    one_of,
    settled,
)

if TYPE_CHECKING:
    from arsetlib.models import Trained
    from arsetlib.samples.device import Block

IN_MEMORY = 2**28  # bytes of validation windows that are kept in memory
BASELINE_EPOCHS = 4  # epochs of windows that a baseline sees
LOSSES = ("crossentropy", "focal")
SCORES = {"categorical_accuracy": "accuracy", "macro_f1": "macro_f1"}  # of the history → of a Confusion
MONITORS = ("val_loss", *(f"val_{name}" for name in SCORES))
SHOWN = 5  # rows that a message names


@dataclass(frozen=True, repr=False)
class Sampling(Options):
    """How windows are taken from the rows.

    Attributes:
        fill, choose: See ``samples.window``.
        starts: Day of the year on which all windows start; None draws them over the season.
        scaler: None fits one on the training rows.
        missing: ``"refuse"`` a legend with a class that has no training sample, or ``"allow"`` it; such a class is
            never predicted, and ``notes["classes_without_samples"]`` names it.

    Lab: part3_train_and_test.
    """

    fill: str = "zeros"
    choose: str = "random"
    starts: int | None = None
    scaler: Scaler | None = None
    missing: str = "refuse"


def fit(
    name_or_model: Any,
    sides: dict[str, Rows],
    study: Study,
    *,
    folder: str | Path | None = None,
    options: dict | None = None,
    plan: Plan = Plan(),  # noqa: B008 -- frozen
    sampling: Sampling = Sampling(),
    devices: Devices = Devices(),  # noqa: B008
    log: Log = Log(),  # noqa: B008
    notes: dict | None = None,
    **settings: object,
) -> Trained:
    """Train a model until its validation loss no longer falls, and keep the best epoch.

    Each epoch draws new windows of the training rows (random start, a random image per step). The validation windows
    are drawn once, by the seed, and stay the same, so that epochs can be compared. With a folder, a training that was
    killed continues after its last finished epoch when the same call is made again, and ends with the same weights; a
    finished one is returned without training.

    Networks train on Keras's backend: TensorFlow, or JAX or PyTorch where ``KERAS_BACKEND`` says so before Python
    starts. Each backend draws its own first weights and dropout, so their trainings differ as those of two seeds do.

    What a seed guarantees: on a CPU the same weights, bit for bit, on the same machine and backend with the same number
    of threads and versions. On a GPU, call ``tf.config.experimental.enable_op_determinism()`` first (it holds for the
    whole process and makes the input slower); without it trainings differ in the last digits.

    Several devices: ``strategy="mirrored"`` divides each batch among the GPUs of this machine and sums their gradients;
    ``batch`` is the size of the whole. Several machines are not offered for series, which one machine trains in
    minutes; ``fields.fit(strategy="workers")`` has them, see ``arsetlib.training.workers``.

    Args:
        name_or_model: A name of ``models.names()``, or a Keras model (not compiled, softmax output) or Baseline.
        sides: Rows with ``train`` and ``validation``, from ``samples.split``.
        study: Season, channels and legend.
        folder: Where the training is kept, see ``arsetlib.training.run``; None keeps nothing. Also in an object store
            (``s3://…``): it continues from there on another machine.
        options: For ``models.build``.
        plan: Epochs, batch, learning rate, seed, …
        sampling: How windows are drawn.
        devices: Where it computes.
        log: What it reports meanwhile.
        notes: More to keep with the model.
        settings: Any field of ``Plan``, ``Sampling``, ``Devices`` or ``Log`` by its own name: ``epochs=5`` is short
            for ``plan=Plan(epochs=5)``.

    Returns:
        A ``models.Trained``. Its ``history`` has, per epoch, ``loss``, ``categorical_accuracy``, ``macro_f1``, the
        same with ``val_``, ``learning_rate`` and ``seconds``; ``notes["best_epoch"]`` is the one that was kept.

    Raises:
        TrainingError: An invalid option; no validation rows; a class without training samples; the loss is not finite
            (with epoch, step and rows); the folder holds another training.

    Lab: part3_train_and_test.
    """
    from arsetlib import models

    plan, sampling, devices, log = settled(settings, plan, sampling, devices, log)
    baseline = is_baseline(name_or_model)
    plan = plan.filled(epochs=BASELINE_EPOCHS if baseline else 40, batch=256, monitor="val_loss", learning_rate=1e-3)
    plan = plan.filled(patience=max(min(6, plan.epochs - 1), 1))
    _check(plan, sampling, sides, baseline)
    scaler = sampling.scaler or Scaler.fit(sides["train"], study)
    model = None if isinstance(name_or_model, str) else name_or_model
    asked = {"model": name_or_model if model is None else runs.identity_of(model), "options": options or {}}
    asked |= vars(plan) | vars(sampling) | {"scaler": asdict(scaler), "study": runs.facts(study)}
    asked |= {side: runs.digest(sides[side]) for side in ("train", "validation")}
    with runs.claimed(folder, asked) as run:
        if run.finished:
            return models.load(run.model, study)
        work = _Training(name_or_model, sides, study, scaler, options or {}, plan, sampling)
        trained = work.baseline(log) if baseline else work.network(devices, log, run)
        trained.notes.update(digest_of_training_rows=asked["train"], **(notes or {}))
        run.finish(trained)
    return trained


class _Training:
    """One training: model, windows and what is noted of them."""

    def __init__(self, name_or_model, sides, study: Study, scaler: Scaler, options: dict, plan: Plan, sampling):
        from arsetlib import models

        self.began = time.perf_counter()
        self.model = None if isinstance(name_or_model, str) else name_or_model
        self.name = name_or_model if self.model is None else getattr(self.model, "name", type(self.model).__name__)
        self.sides, self.study, self.scaler = sides, study, scaler
        self.options, self.plan, self.sampling = options, plan, sampling
        self.train = self.loader("train", plan.batch, models.needs(name_or_model))
        self.without = self._without_samples()  # before TensorFlow is loaded

    def loader(self, side: str, batch: int, extras: tuple[str, ...], place: str = "host") -> Loader:
        ask = self.sampling
        return Loader(
            self.sides[side], self.study, self.scaler, batch=batch, shuffle=side == "train", seed=self.plan.seed,
            start="random" if ask.starts is None else ask.starts, fill=ask.fill, choose=ask.choose, extras=extras,
            place=place,
        )  # fmt: skip

    def loaders(self, model, place: str = "host") -> tuple[Loader, Loader]:
        """Of training and of validation, with the inputs that the model takes."""
        from arsetlib import models

        extras = tuple(models.needs(model))
        if extras != tuple(self.train.extras) or place == "device":
            self.train = self.loader("train", self.plan.batch, extras, place)
        return self.train, self.loader("validation", max(self.plan.batch, 4096), extras, place)

    def placed(self, model, devices: Devices) -> tuple[Loader, Loader]:
        """``loaders`` where the training asks for them: on the GPU if there is one, unless they do not fit there."""
        from arsetlib.samples.backends import on_gpu

        if devices.strategy is not None and devices.place is None:
            return self.loaders(model)
        try:
            return self.loaders(model, devices.place or ("device" if on_gpu() else "host"))
        except SampleError:
            if devices.place is not None:
                raise
            return self.loaders(model)

    def build(self):
        return built(self.name, self.study, self.plan.seed, self.options)

    def baseline(self, log: Log):
        """Fit a baseline on some epochs of windows."""
        from tqdm.auto import tqdm

        from arsetlib.evaluation import Confusion

        model = self.model or self.build()
        train, validation = self.loaders(model)
        batches = itertools.chain.from_iterable(train.arrays(epoch) for epoch in range(self.plan.epochs))
        weights = self._class_weights(train)
        if weights is not None:
            batches = ((x, y, y @ np.asarray(weights, np.float32)) for x, y in batches)
        bar = {"unit": "batch", "desc": "windows", "disable": None if log.progress else True, "leave": False}
        model.fit(tqdm(batches, total=self.plan.epochs * train.steps, **bar))
        x, y = joined(validation)
        shares, truth = np.asarray(model.predict(x)), y.argmax(axis=1)
        matrix = Confusion.of(truth, shares.argmax(axis=1), self.study.legend)
        sure = shares[np.arange(len(truth)), truth].clip(1e-7)
        history = {"val_loss": [float(-np.log(sure).mean())]}
        history |= {f"val_{name}": [float(getattr(matrix, of))] for name, of in SCORES.items()}
        history["seconds"] = [time.perf_counter() - self.began]
        return self.trained(model, history, validation, best_epoch=self.plan.epochs)

    def network(self, devices: Devices, log: Log, run: runs.RunFolder):
        """Train a network with early stopping."""
        from arsetlib.samples.backends import on_gpu
        from arsetlib.training import loop
        from arsetlib.training.devices import in_float32, make_network, strategy_of
        from arsetlib.training.tasks import classes_task

        plan, strategy = self.plan, strategy_of(devices.strategy)
        mixed = on_gpu() if devices.mixed is None else devices.mixed
        mixed = bool(mixed and self.model is None)
        model = make_network(self.model, self.build, plan.seed, strategy, mixed)
        train, validation = self.placed(model, devices)
        replicas = strategy.num_replicas_in_sync if strategy else 1
        feeds = (SeriesFeed(train, replicas), SeriesFeed(validation, keep=bytes_of(validation) <= IN_MEMORY))
        task = classes_task(plan.loss, self._class_weights(train), **SCORES)
        history, best_epoch = loop.train(
            model, replace(task, explain=feeds[0].explain), feeds, plan, backup=run.backup,
            callbacks=lambda of: self._callbacks(of, log, run), strategy=strategy,
        )  # fmt: skip
        if mixed:
            model = in_float32(model, self.build)
        return self.trained(model, history, validation, best_epoch=best_epoch, mixed=mixed, devices=replicas)

    def trained(self, model, history, validation: Loader, **notes):
        from arsetlib import models

        counts = dict(zip(self.study.legend.keys, self.train.class_counts.tolist(), strict=True))
        notes |= {
            "seed": self.plan.seed, "epochs_asked": self.plan.epochs, "simulated": self.study.simulated,
            "rows": {"train": self.train.counts, "validation": validation.counts},
            "samples_of_class": counts, "classes_without_samples": self.without,
            "seconds": round(time.perf_counter() - self.began, 1),
        }  # fmt: skip
        return models.Trained(
            model=model, name=self.name, scaler=self.scaler, study=self.study, choose=self.sampling.choose,
            fill=self.sampling.fill, history=history, notes=notes, options=self.options,
        )  # fmt: skip

    def _class_weights(self, train: Loader) -> list[float] | None:
        return class_weights(
            self.plan.balance, len(self.study.legend.classes), lambda: even_weights(train.class_counts)
        )

    def _callbacks(self, of, log: Log, run: runs.RunFolder) -> list:
        asked = {"model": self.name, "options": self.options, **vars(self.plan), "choose": self.sampling.choose}
        return callbacks_for(of, log, run, asked, self.study.legend)

    def _without_samples(self) -> list[str]:
        """Keys of the classes that no training sample has, after the vegetation rule."""
        keys, counts = self.study.legend.keys, self.train.class_counts.tolist()
        empty = [key for key, count in zip(keys, counts, strict=True) if count == 0]
        if empty and self.sampling.missing == "refuse":
            raise TrainingError(
                f"The classes {empty} have no training sample, so they could never be predicted. Samples: "
                f"{dict(zip(keys, counts, strict=True))}. The vegetation rule has been applied. Take more rows, drop "
                f"the class from the legend, or allow it with missing='allow'."
            )
        return empty


def built(name: str, study: Study, seed: int, options: dict) -> Any:
    """A new network or baseline with the shape of a study."""
    from arsetlib import models

    season, classes = study.season, len(study.legend.classes)
    shape = {"steps": season.steps, "bands": len(study.channels), "classes": classes}
    return models.build(name, **shape, step_days=season.step_days, seed=seed, **options)


def callbacks_for(of: Any, log: Log, run: runs.RunFolder, asked: dict, legend: Any) -> list:
    """What a loop calls between epochs: the user's callbacks, TensorBoard in a folder, the progress bar.

    Args:
        of: The ``training.loop.Loop``.
        log: What is reported.
        run: Its folder.
        asked: What the training was asked for.
        legend: Of the confusion matrix; None where nothing is classified.
    """
    from arsetlib.training.callbacks import KeepLogs, Progress

    shown = []
    if run.path is not None and log.tensorboard:
        from arsetlib.training.board import boards

        shown = [*boards(run.logs, runs.json_values(asked), legend, of, log.profile), KeepLogs(run)]
    return [*log.callbacks, *shown, *([Progress()] if log.progress else [])]


class SeriesFeed:
    """Batches of a ``samples.Loader`` for the training loop.

    Args:
        loader: Of one side.
        devices: They share each batch evenly; a last, smaller batch that they cannot share is left out.
        keep: Keep the batches in memory; for windows that stay the same.
    """

    def __init__(self, loader: Loader, devices: int = 1, keep: bool = False) -> None:
        self.loader, self.keep, self.cache, self.epoch = loader, keep, None, 0
        count, batch = len(loader.rows), loader.batch_size
        self.steps = loader.steps
        if devices > 1:
            if batch % devices or count < batch:
                raise TrainingError(
                    f"Expected a batch that {devices} devices share evenly and {count} training samples fill, received "
                    f"{batch}. Take {max(min(batch, count) // devices, 1) * devices}."
                )
            self.steps = count // batch if count % batch % devices else loader.steps
        if devices > 1 and loader.device is not None:
            raise TrainingError("place='device' is for one device. Take place='host' with a strategy.")

    @functools.cached_property
    def _data(self) -> Any:
        """The loader's ``tf.data.Dataset``."""
        return self.loader.dataset(epoch=lambda: self.epoch)

    def batches(self, epoch: int) -> Iterator[tuple | Block]:
        """(x, y) of each step, or blocks of steps that are computed on the device."""
        if self.cache is not None:
            yield from self.cache
            return
        self.epoch = epoch
        parts = self._parts(epoch)
        if self.keep:
            parts = self.cache = list(parts)
        yield from parts

    def _parts(self, epoch: int) -> Iterator[tuple | Block]:
        from arsetlib.samples.backends import backend

        if self.loader.device is not None:
            return self.loader.device.blocks(epoch)
        if backend() == "tensorflow":
            return itertools.islice(self._data, self.steps)
        return self._made(lambda step: self.loader.batch(epoch, step))

    def _made(self, batch: Callable[[int], tuple]) -> Iterator[tuple]:
        """Batches that threads make ahead, in order, on the device."""
        from arsetlib.samples.backends import on_device

        return map(on_device, ahead(batch, range(self.steps), True, processes.cores() + 1))

    def explain(self, epoch: int, step: int) -> str:
        """Names the rows of a step whose loss is not finite."""
        pools = [pool.columns for pool in self.loader._rows(epoch, step)]
        pixel, year = (np.concatenate([np.asarray(p[name]) for p in pools]) for name in ("pixel", "year"))
        x = self.loader.batch_on_host(epoch, step)[0]
        x = x["series"] if isinstance(x, dict) else x
        broken = np.flatnonzero(~np.isfinite(x).all(axis=(1, 2)))
        shown = broken if len(broken) else np.arange(len(pixel))
        named = ", ".join(f"({pixel[i]}, {year[i]})" for i in shown[:SHOWN])
        more = f" and {len(shown) - SHOWN} more" if len(shown) > SHOWN else ""
        if len(broken):
            return (
                f"{len(broken)} of its {len(pixel)} samples hold NaN or infinite values: (pixel, year) = {named}{more}"
                f". Look at them with `arset check`, and at the scaler."
            )
        return (
            f"Its {len(pixel)} samples are finite, so the weights diverged before: use a lower learning_rate. Rows of "
            f"the batch (pixel, year): {named}{more}."
        )


def joined(loader: Loader) -> tuple:
    """(x, y) of one epoch as whole arrays; x is a dict where the loader makes one."""
    xs, ys = zip(*(b[:2] for b in loader.arrays(0)), strict=True)
    if isinstance(xs[0], dict):
        return {name: np.concatenate([x[name] for x in xs]) for name in xs[0]}, np.concatenate(ys)
    return np.concatenate(xs), np.concatenate(ys)


def bytes_of(loader: Loader) -> int:
    """Of the windows of one epoch."""
    return 4 * len(loader.rows) * loader.study.season.steps * len(loader.study.channels)


def is_baseline(name_or_model: Any) -> bool:
    """Whether a name or model is a baseline; known before any network is built."""
    from arsetlib.models import registry

    if isinstance(name_or_model, str):
        return registry.is_baseline(name_or_model)
    return not hasattr(name_or_model, "get_weights")


def check_sides(sides: dict[str, Rows]) -> None:
    """Stop where training or validation has no rows."""
    for side in ("train", "validation"):
        if side not in sides or not len(sides[side]):
            have = {name: len(rows) for name, rows in sides.items()}
            raise TrainingError(
                f"Expected rows on the side {side!r}, received {have}. Without validation nothing tells when to stop: "
                f"name its years in the study's [split], or cut blocks with samples.split(…, by='block')."
            )


def check_patience(plan: Plan) -> None:
    """Stop where early stopping could never stop."""
    if plan.patience >= plan.epochs > 1:  # one epoch has nothing to stop
        raise TrainingError(
            f"Expected a patience from 1 to {plan.epochs - 1}, less than the {plan.epochs} epochs, received "
            f"{plan.patience}: EarlyStopping could never fire, so every training would run to its last epoch. "
            f"Lower patience or raise epochs."
        )


def _check(plan: Plan, sampling: Sampling, sides, baseline: bool) -> None:
    check_sides(sides)
    plan.check(LOSSES, MONITORS)
    one_of("missing", sampling.missing, ("refuse", "allow"))
    if not baseline:
        check_patience(plan)
