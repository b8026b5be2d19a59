"""The options of a training, in a few small groups; a ``fit`` takes each of them by name, too.

    training.fit("tempcnn", sides, study, epochs=5)                       # the same as
    training.fit("tempcnn", sides, study, plan=training.Plan(epochs=5))

Lab: part3_train_and_test.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from arsetlib.errors import ArsetError


class TrainingError(ArsetError, RuntimeError):
    """A training cannot begin, continue or end well; the message says why and what to do."""


class Options:
    """Base of the groups of options: a ``repr`` that shows only what differs from the defaults."""

    def __repr__(self) -> str:
        changed = [f for f in fields(self) if getattr(self, f.name) is not f.default]
        return f"{type(self).__name__}({', '.join(f'{f.name}={getattr(self, f.name)!r}' for f in changed)})"


@dataclass(frozen=True, repr=False)
class Plan(Options):
    """What decides the weights that a training ends with. None takes the default of the kind of model.

    Attributes:
        epochs: The largest number of epochs. Series and groves 40, fields 20; a baseline sees 4 epochs of windows.
        batch: Samples in a step, over all devices. Series 256, fields 32; batches of groves are made before.
        patience: Epochs without improvement of ``monitor`` after which training stops. Series 6 (fewer than
            ``epochs``), groves 8, fields 6.
        monitor: The validation score that must improve: ``"val_loss"`` or another of the history. Groves take
            ``"val_mean_iou"``.
        learning_rate: A number or a ``keras.optimizers.schedules`` object; 0.001.
        optimizer: Name of a Keras optimiser.
        loss: ``"crossentropy"``, or ``"focal"``, which gives more weight to samples that are still wrong. Groves also
            have ``"dice"``.
        balance: True: all classes have the same total weight. Or (K,) weights of the classes. False: no weights.
        seed: Of first weights, dropout, random draws and order.

    Example:
        >>> Plan(epochs=5, seed=1)
        Plan(epochs=5, seed=1)
        >>> Plan().filled(epochs=40, batch=256).batch
        256

    Lab: part3_train_and_test.
    """

    epochs: int | None = None
    batch: int | None = None
    patience: int | None = None
    monitor: str | None = None
    learning_rate: object = None
    optimizer: str = "adam"
    loss: str = "crossentropy"
    balance: bool | Sequence[float] = False
    seed: int = 0

    def filled(self, **defaults: object) -> Plan:
        """The plan with defaults where it has None."""
        return replace(self, **{name: value for name, value in defaults.items() if getattr(self, name) is None})

    def check(self, losses: Sequence[str], monitors: Sequence[str]) -> None:
        """Stop at values that are not valid.

        Args:
            losses: Names of the losses that there are.
            monitors: Names of the validation scores that there are.

        Raises:
            TrainingError: One of the values is not valid.
        """
        for name in ("epochs", "batch", "patience"):
            whole_number(name, getattr(self, name), 1)
        if isinstance(self.learning_rate, int | float) and not self.learning_rate > 0:
            raise TrainingError(f"Expected a learning_rate above 0, such as 0.001, received {self.learning_rate}.")
        one_of("loss", self.loss, losses)
        one_of("monitor", self.monitor, monitors)


@dataclass(frozen=True, repr=False)
class Devices(Options):
    """Where a training computes.

    Attributes:
        strategy: None: one device. ``"mirrored"``: each batch is divided among the GPUs of this machine. Fields also
            take ``"workers"``, see ``arsetlib.training.workers``. Or a ``tf.distribute.Strategy``.
        mixed: Compute in float16 where that is faster; the model that is kept is float32. None: series do so on a GPU.
        place: Where windows of series are computed: ``"host"`` or ``"device"``, see ``samples.Loader``. None: on the
            GPU if there is one and the rows fit there, else on the host.

    Lab: part3_train_and_test.
    """

    strategy: object = None
    mixed: bool | None = None
    place: str | None = None


@dataclass(frozen=True, repr=False)
class Log(Options):
    """What a training reports while it runs.

    Attributes:
        progress: Show a bar and the scores of each epoch; it shows nothing where no one looks, as in CI.
        tensorboard: Write TensorBoard's files into the folder of the run (series only).
        profile: Steps that TensorBoard's profiler records, such as ``(10, 20)``.
        callbacks: More Keras callbacks. Their own state is not kept over a kill.

    Lab: part3_train_and_test.
    """

    progress: bool = True
    tensorboard: bool = True
    profile: tuple[int, int] | int | None = None
    callbacks: Sequence = ()


def settled(settings: dict, *groups: Options) -> list:
    """The groups of options with single settings put into the group that has a field of that name.

    Args:
        settings: Name → value, as a caller gave them beside the groups.
        groups: One of each kind.

    Raises:
        TrainingError: A name that no group has.
    """
    owner = {field.name: group for group in groups for field in fields(group)}
    for name in settings:
        if name not in owner:
            near = difflib.get_close_matches(name, owner, 1, 0.6)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise TrainingError(f"There is no option {name!r}.{hint} The options are: {', '.join(sorted(owner))}.")
    return [replace(g, **{n: v for n, v in settings.items() if owner[n] is g}) for g in groups]


def one_of(noun: str, value: object, known: Sequence) -> None:
    """Stop at a value that is not among those known."""
    if value not in known:
        raise TrainingError(f"Expected {noun} = {' or '.join(map(repr, known))}, received {value!r}.")


def whole_number(noun: str, value: object, least: int) -> None:
    """Stop at a value that is not a whole number, or too small."""
    if isinstance(value, bool) or not hasattr(value, "__index__") or value < least:
        raise TrainingError(f"Expected {noun} to be a whole number of at least {least}, received {value!r}.")


def even_weights(counts: Any) -> np.ndarray:
    """(K,) weights under which all classes have the same total weight; their mean over the samples is 1.

    Args:
        counts: (K,) samples or pixels of each class, or their shares. A class without any gets 0.
    """
    counts = np.asarray(counts, float)
    there = counts > 0
    return np.where(there, counts.sum() / (there.sum() * np.where(there, counts, 1)), 0.0)


def class_weights(balance: object, count: int, balanced: Any) -> list[float] | None:
    """The weights of the classes that ``Plan.balance`` asks for.

    Args:
        balance: False, True or (K,) numbers.
        count: K.
        balanced: Gives the (K,) weights for True.

    Raises:
        TrainingError: Something else.
    """
    if balance is False or balance is None:
        return None
    weights = None if isinstance(balance, str) else np.asarray(balanced() if balance is True else balance, float)
    if weights is None or weights.shape != (count,) or not (np.isfinite(weights) & (weights >= 0)).all():
        raise TrainingError(f"Expected balance = True, False or {count} numbers from 0 on, received {balance!r}.")
    if not weights.any():
        raise TrainingError(f"Expected a weight above 0 in balance, received {balance!r}.")
    return [round(float(w), 6) for w in weights]
