"""Pre-train a network without labels: hide images of a window, and learn to reconstruct their bands from the others.

    encoder = training.pretrain("ltae", sides, study, folder="runs/encoder")   # reads no label
    trained = training.fine_tune(encoder, few_rows, study)                     # starts with its weights
    vectors = encoder.vectors(x)                                               # or: (B, D), for a forest

All layers but the last are trained: what the last one receives, a vector for each window, goes into a small decoder
that gives the bands of every step. The decoder is dropped afterwards.

Sources: G. Tseng et al., Lightweight, pre-trained transformers for remote sensing timeseries (Presto), 2023,
arXiv:2304.14065; Y. Yuan & L. Lin, Self-supervised pretraining of transformers for satellite image time series
classification, IEEE JSTARS 14, 2021; K. He et al., Masked autoencoders are scalable vision learners, CVPR 2022.

Lab: none.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from arsetlib.samples import Loader, Rows, Scaler
from arsetlib.seeds import generator
from arsetlib.study import Class, Legend, Study
from arsetlib.training import run as runs
from arsetlib.training.fit import (
    IN_MEMORY,
    Sampling,
    SeriesFeed,
    built,
    bytes_of,
    callbacks_for,
    check_patience,
    check_sides,
    is_baseline,
)
from arsetlib.training.plan import Devices, Log, Plan, TrainingError, settled

if TYPE_CHECKING:
    from arsetlib.models import Trained

WIDTH = 128  # of the decoder's hidden layer


def pretrain(
    name_or_model: Any,
    sides: dict[str, Rows],
    study: Study,
    *,
    hide: float = 0.5,
    folder: str | Path | None = None,
    options: dict | None = None,
    plan: Plan = Plan(),  # noqa: B008 -- frozen
    sampling: Sampling = Sampling(),  # noqa: B008
    devices: Devices = Devices(),  # noqa: B008
    log: Log = Log(),  # noqa: B008
    notes: dict | None = None,
    **settings: object,
) -> Trained:
    """Train a network without labels until it no longer reconstructs hidden images better, and keep the best epoch.

    Of each window, a share of the steps that hold an image is hidden: their bands become 0 and ``seen`` becomes False,
    as behind a cloud. The loss is the mean squared error of the scaled bands of those images, and of nothing else.
    Each epoch draws windows and hidden images anew; those of the validation stay the same. Labels are not used: all
    rows of the sides count, also those that the legend excludes.

    Args:
        name_or_model: Name of a network of ``models.names()``, or a Keras model, as for ``fit``.
        sides: Rows with ``train`` and ``validation``, from ``samples.split``. Of the place that is mapped later, if
            possible, but never of its test.
        study: Season, channels of one sensor, and the legend that the network gets later.
        hide: Share of the images of a window that is hidden, above 0 and below 1: at least one image is hidden and one
            is left. A window with fewer than two images hides none.
        folder: As for ``fit``: it is continued by the same call, and ``models.load`` or
            ``arset train --from MODEL`` reads it.
        options: For ``models.build``.
        plan: Epochs, batch, learning rate, seed, …; without ``loss`` and ``balance``.
        sampling: How windows are drawn; only ``fill="zeros"``, because other fills would show what is hidden.
        devices: Where it computes: one device, windows on the host.
        log: What it reports meanwhile.
        notes: More to keep with the model.
        settings: Any field of these groups by its own name, as for ``fit``.

    Returns:
        A ``models.Trained`` for ``fine_tune`` or ``vectors``; ``predict`` refuses it, because its last layer has seen
        no label. Its ``history`` has ``loss`` and ``explained``, the same with ``val_``, ``learning_rate`` and
        ``seconds``. ``explained`` is the share of the hidden values' squared distance to the mean that the network
        explains: 1 is perfect, 0 no better than the mean of each band.

    Raises:
        TrainingError: No rows, or none with images; a share that hides nothing or all; a network of other steps or
            channels; a baseline; several sensors; an option that needs labels; the folder holds another training.

    Lab: none.
    """
    from arsetlib import models

    plan, sampling, devices, log = settled(settings, plan, sampling, devices, log)
    plan = plan.filled(epochs=40, batch=256, monitor="val_loss", learning_rate=1e-3)
    plan = plan.filled(patience=max(min(6, plan.epochs - 1), 1))
    _check(name_or_model, sides, study, hide, plan, sampling, devices)
    scaler = sampling.scaler or Scaler.fit(sides["train"], study)
    own = None if isinstance(name_or_model, str) else name_or_model
    asked = {"task": "pretrain", "hide": hide}
    asked |= {"model": name_or_model if own is None else runs.identity_of(own), "options": options or {}}
    asked |= vars(plan) | vars(sampling) | {"scaler": asdict(scaler), "study": runs.facts(study)}
    asked |= {side: runs.digest(sides[side], ("pixel", "year")) for side in ("train", "validation")}
    with runs.claimed(folder, asked) as run:
        if run.finished:
            return models.load(run.model, study)
        work = _Pretraining(name_or_model, study, scaler, options or {}, plan, sampling, float(hide))
        trained = work.run(sides, devices, log, run)
        trained.notes.update(digest_of_pretraining_rows=asked["train"], **(notes or {}))
        run.finish(trained)
    return trained


@dataclass
class _Pretraining:
    """One pre-training: what was asked for."""

    name_or_model: Any
    study: Study
    scaler: Scaler
    options: dict
    plan: Plan
    sampling: Sampling
    hide: float

    def run(self, sides: dict[str, Rows], devices: Devices, log: Log, run: runs.RunFolder) -> Trained:
        from arsetlib import models
        from arsetlib.models.trained import UNLABELLED
        from arsetlib.samples.backends import on_gpu
        from arsetlib.training import loop
        from arsetlib.training.devices import in_float32, make_network

        began, plan = time.perf_counter(), self.plan
        given = None if isinstance(self.name_or_model, str) else self.name_or_model
        mixed = bool(given is None and (on_gpu() if devices.mixed is None else devices.mixed))
        network = make_network(given, self.build, plan.seed, mixed=mixed)
        feeds = self.feed("train", sides["train"], network), self.feed("validation", sides["validation"], network)
        whole = with_decoder(network, self.study.season.steps, feeds[0].bands)
        history, best_epoch = loop.train(
            whole, task(feeds[0].explain), feeds, plan, backup=run.backup,
            callbacks=lambda of: self.callbacks(of, log, run),
        )  # fmt: skip
        if mixed:
            network = in_float32(network, self.build)
        notes = {
            UNLABELLED: {"hide": self.hide}, "seed": plan.seed, "epochs_asked": plan.epochs, "best_epoch": best_epoch,
            "simulated": self.study.simulated, "mixed": mixed,
            "rows": {name: feed.loader.counts for name, feed in zip(("train", "validation"), feeds, strict=True)},
            "seconds": round(time.perf_counter() - began, 1),
        }  # fmt: skip
        return models.Trained(
            model=network, name=self.name, scaler=self.scaler, study=self.study, choose=self.sampling.choose,
            fill=self.sampling.fill, history=history, notes=notes, options=self.options,
        )  # fmt: skip

    @property
    def name(self) -> str:
        return self.name_or_model if isinstance(self.name_or_model, str) else self.name_or_model.name

    def build(self) -> Any:
        return built(self.name, self.study, self.plan.seed, self.options)

    def feed(self, side: str, rows: Rows, network: Any) -> MaskedFeed:
        from arsetlib import models

        ask, needs, train = self.sampling, models.needs(network), side == "train"
        loader = Loader(
            rows, self.study.replace(legend=UNREAD), self.scaler, batch=self.plan.batch if train else 4096,
            shuffle=train, seed=self.plan.seed, start="random" if ask.starts is None else ask.starts, fill=ask.fill,
            choose=ask.choose, extras=tuple(dict.fromkeys((*needs, "seen"))),
        )  # fmt: skip
        if loader.counts["no_image"] == loader.counts["rows"]:
            raise TrainingError(
                f"Expected rows with images in the windows on the side {side!r}, received {len(rows)} rows without: "
                f"{loader.counts}. Look at the table with `arset describe`, and at the study's [season]."
            )
        return MaskedFeed(loader, side, needs, self.hide, keep=not train and bytes_of(loader) <= IN_MEMORY)

    def callbacks(self, of: Any, log: Log, run: runs.RunFolder) -> list:
        asked = {"model": self.name, "options": self.options, "hide": self.hide, **vars(self.plan)}
        return callbacks_for(of, log, run, asked, None)


class _Unread(Legend):
    """A legend of one class that holds every row, whatever its label."""

    def classes_of(self, codes: Any) -> np.ndarray:
        return np.zeros(len(codes), np.int8)


UNREAD = _Unread("unread", (Class("any", {"en": "any"}, "#808080", "others", crop=False),))


class MaskedFeed(SeriesFeed):
    """Batches whose x lacks the hidden images and whose y holds them.

    Args:
        loader: Of one side, with ``seen`` among its extras.
        side: Its name, on which the draws depend.
        needs: Extras that the network takes.
        hide: Share of the images.
        keep: See ``SeriesFeed``.
    """

    def __init__(self, loader: Loader, side: str, needs: tuple[str, ...], hide: float, keep: bool = False) -> None:
        super().__init__(loader, keep=keep)
        self.side, self.needs, self.hide, self.bands = side, needs, hide, len(loader.channels.measured)

    def _parts(self, epoch: int) -> Iterator[tuple]:
        return self._made(lambda step: self.batch(epoch, step))

    def batch(self, epoch: int, step: int) -> tuple:
        """One batch.

        Returns:
            x, an array or a dict as the network takes it, and y (B, T, bands) float32: see ``masked``.
        """
        x = self.loader.batch(epoch, step)[0]
        draws = generator(self.loader.seed, "hidden", self.side, epoch, step)
        hidden = hidden_steps(x["seen"], self.hide, draws)
        series, y = masked(x["series"], hidden, self.bands)
        changed = {**x, "series": series, "seen": x["seen"] & ~hidden}
        return ({name: changed[name] for name in ("series", *self.needs)} if self.needs else series), y


def hidden_steps(seen: np.ndarray, share: float, draws: np.random.Generator) -> np.ndarray:
    """Which images to hide.

    Args:
        seen: (B, T) bool, steps with an image.
        share: Of the images of a window.
        draws: Random numbers.

    Returns:
        (B, T) bool: of each window with n ≥ 2 images share × n of them, rounded, from 1 to n − 1; of others none.

    >>> hidden_steps(np.array([[True, True, False, True]]), 0.7, np.random.default_rng(0)).sum(axis=1).tolist()
    [2]
    """
    images = seen.sum(axis=1, keepdims=True)
    count = np.minimum(np.maximum(np.rint(share * images), 1), images - 1)
    drawn = np.where(seen, draws.random(seen.shape, np.float32), np.float32(2))
    rank = drawn.argsort(axis=1, kind="stable").argsort(axis=1, kind="stable")
    return seen & (rank < count)


def masked(series: np.ndarray, hidden: np.ndarray, bands: int) -> tuple[np.ndarray, np.ndarray]:
    """What a network sees, and what it has to reconstruct.

    Args:
        series: (B, T, C) float32, scaled; 0 is no data. The first ``bands`` channels were measured, others are the
            calendar's.
        hidden: (B, T) bool.
        bands: How many channels are hidden.

    Returns:
        The series with 0 in the hidden bands, and (B, T, bands) of them, 0 elsewhere. A value of exactly 0 does not
        count in the loss.
    """
    there, out = hidden[..., None], series.copy()
    y = np.where(there, series[..., :bands], np.float32(0))
    out[..., :bands] = np.where(there, np.float32(0), series[..., :bands])
    return out, y


def task(explain: Any) -> Any:
    """The mean squared error of what was hidden, for ``loop.train``."""
    from keras import ops

    from arsetlib.training.tasks import Task

    def squares(truth: Any, made: Any) -> tuple:
        there = ops.cast(ops.not_equal(truth, 0), "float32")
        return ops.sum(there * ops.square(made - truth), axis=(1, 2)), ops.sum(there, axis=(1, 2))

    def loss(truth: Any, made: Any) -> Any:
        total, count = squares(truth, made)
        return total / ops.maximum(count, 1)

    def counts(truth: Any, made: Any) -> Any:
        return ops.stack([ops.sum(squares(truth, made)[0]), ops.sum(ops.square(truth))])

    def scores(sums: np.ndarray) -> dict[str, float]:
        return {"explained": 1 - float(sums[0]) / max(float(sums[1]), 1e-12)}

    return Task(loss, counts, scores, explain)


def with_decoder(network: Any, steps: int, bands: int) -> Any:
    """The network without its last layer, and a decoder of the bands of each step: → (B, T, bands).

    It shares its layers with the network.

    Raises:
        TrainingError: What the last layer receives is not one vector for each window.
    """
    from keras import layers

    from arsetlib.models.trained import with_output

    vector = network.layers[-1].input
    if getattr(vector, "ndim", None) != 2:
        raise TrainingError(
            f"Expected a network whose last layer receives one vector for each window, (B, D), received "
            f"{getattr(vector, 'shape', 'several inputs')} in {network.layers[-1].name!r}. Take a network of "
            "models.names()."
        )
    h = layers.Dense(WIDTH, activation="relu", name="decoder")(vector)  # (B, 128)
    h = layers.Dense(steps * bands, dtype="float32", name="reconstruction")(h)
    return with_output(network, layers.Reshape((steps, bands), dtype="float32")(h))


def _check(name_or_model, sides, study: Study, hide, plan: Plan, sampling: Sampling, devices: Devices) -> None:
    """Stop at what cannot work, before anything is read."""
    from arsetlib.models.trained import shape_of
    from arsetlib.samples.channels import Channels

    if is_baseline(name_or_model):
        name = name_or_model if isinstance(name_or_model, str) else name_or_model.name
        raise TrainingError(f"Expected a network, such as 'ltae', received {name!r}: a baseline needs labels.")
    if isinstance(hide, bool) or not isinstance(hide, int | float | np.number) or not 0 < hide < 1:
        raise TrainingError(
            f"Expected hide, the share of the images that is hidden, above 0 and below 1, received {hide!r}. With 0 "
            "there is nothing to learn, with 1 nothing to learn from. Take 0.5."
        )
    check_sides(sides)
    if plan.loss != Plan.loss or plan.balance is not False:
        raise TrainingError(
            f"Expected neither loss nor balance, received loss={plan.loss!r}, balance={plan.balance!r}: they need "
            "labels. Give them to fine_tune."
        )
    plan.check((Plan.loss,), ("val_loss",))
    check_patience(plan)
    if sampling.fill != "zeros":
        raise TrainingError(
            f"Expected fill='zeros', received {sampling.fill!r}: a fill from neighbours would show what is hidden."
        )
    if devices.strategy is not None or devices.place not in (None, "host"):
        raise TrainingError(
            f"Expected one device, with windows from the host, received strategy={devices.strategy!r}, "
            f"place={devices.place!r}. Leave them out."
        )
    sensors = Channels.of(study).sensors
    if len(sensors) > 1:
        raise TrainingError(
            f"Expected channels of one sensor, received those of {len(sensors)}: {[list(s) for s in sensors]}. Leave "
            "'sensors' out of the study's [channels]: each sensor has images of its own."
        )
    if isinstance(name_or_model, str):
        return
    steps, bands, _ = shape_of(name_or_model)
    if (steps, bands) != (study.season.steps, len(study.channels)):
        raise TrainingError(
            f"Expected a network of {study.season.steps} steps and {len(study.channels)} channels, as study "
            f"{study.key!r} has them, received one of {steps} steps and {bands} channels. Build it for this study."
        )
