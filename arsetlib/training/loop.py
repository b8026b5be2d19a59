"""The training loop of all models: series, groves and fields.

    Loop(model, task, strategy).run(train, validation, [Phase(0, 40, make_optimizer)], stopping, backup, callbacks)

It is written out instead of Keras's ``fit``, because that fails on several machines, and because a training that is
killed must continue with the same weights. Callbacks and optimisers are Keras's; the optimiser sums the gradients over
devices and processes. How a step is computed depends on Keras's backend: ``on_tensorflow``, ``on_jax``, ``on_torch``.

Lab: case_fields.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np
from keras import ops

from arsetlib.samples.backends import backend, on_gpu
from arsetlib.samples.device import Block
from arsetlib.training import workers
from arsetlib.training.plan import Plan, TrainingError
from arsetlib.training.tasks import Task

UNREAD = 8  # blocks that a GPU may compute ahead before their losses are read


class Feed(Protocol):
    """What a loop takes batches from.

    Attributes:
        steps: Batches in an epoch; None where that is not known.
    """

    steps: int | None

    def batches(self, epoch: int) -> Iterator[tuple]:
        """(x, y) of each step: x an array or a dict of arrays (B, …), y (B, …, K) float32.

        Or a ``samples.device.Block`` of several steps, whose batches are computed on the device.
        """


@dataclass(frozen=True)
class Phase:
    """Epochs with one optimiser: from ``first`` to before ``last``, counted from 0.

    Attributes:
        optimizer: Makes a new one.
        prepare: Changes the model before, such as which layers are trained.
    """

    first: int
    last: int
    optimizer: Callable
    prepare: Callable = lambda model: None


class Loop:
    """A model, and how batches change it.

    Args:
        model: Made under the strategy.
        task: Loss and scores.
        strategy: A ``tf.distribute.Strategy``; None for one device.
        cluster: The processes that train together; None where there is one.

    Attributes:
        counts: What the last look at the validation counted, see ``Task.count``.

    Raises:
        TrainingError: A strategy, and another backend than TensorFlow.
    """

    def __init__(self, model: Any, task: Task, strategy: Any = None, cluster: workers.Cluster | None = None) -> None:
        self.model, self.task, self.cluster, self.counts = model, task, cluster, None
        self.steps = _steps()(model, task, strategy, cluster)
        self.unread = UNREAD if on_gpu() else 0

    def run(
        self, train: Feed, validation: Feed, phases: list[Phase], stopping: Any, backup: Any, callbacks: Sequence = ()
    ) -> dict:
        """Train phase after phase, from where the backup ends.

        Args:
            train, validation: Batches.
            phases: One after the other, without gaps.
            stopping: A ``keras.callbacks.EarlyStopping``.
            backup: A ``training.callbacks.Backup``.
            callbacks: More of Keras, called before ``stopping``. On JAX the model's variables change once an epoch,
                and a callback can change them, and the learning rate, between epochs only.

        Returns:
            The history: name → one value for each epoch.

        Raises:
            TrainingError: The loss is not finite.
        """
        begin, history, every = backup.epochs, {}, None
        self._check_same_epoch(begin)
        for phase in phases:
            if begin > phase.last:
                continue
            self._prepare(phase)
            if every is None:
                params = {"epochs": phases[-1].last, "steps": train.steps, "verbose": 0}
                every = keras.callbacks.CallbackList([*callbacks, stopping], model=self.model, **params)
                self.model.stop_training = False
                every.on_train_begin()
                history = backup.restore(self.model)
            for epoch in range(max(begin, phase.first), phase.last):
                if self.model.stop_training:
                    break
                began = time.perf_counter()
                with workers.explained(f"epoch {epoch + 1}") if self.cluster else nullcontext():
                    logs = self._epoch(train, validation, every, epoch)
                    every.on_epoch_end(epoch, logs)
                rate = float(ops.convert_to_numpy(self.model.optimizer.learning_rate))
                for name, value in {**logs, "learning_rate": rate, "seconds": time.perf_counter() - began}.items():
                    history.setdefault(name, []).append(float(value))
                backup.keep(self.model, epoch + 1, history)
        every.on_train_end()  # the best weights are put back
        return history

    def _prepare(self, phase: Phase) -> None:
        with self.steps.scope():
            phase.prepare(self.model)
            self.model.compile(optimizer=phase.optimizer(), jit_compile=False)
            self.model.optimizer.build(self.model.trainable_variables)
        self.steps.begin()

    def _epoch(self, train: Feed, validation: Feed, every, epoch: int) -> dict[str, float]:
        """The scores of an epoch."""
        every.on_epoch_begin(epoch)
        totals, done = np.zeros(2), 0
        unread: deque[tuple] = deque()

        def read(most: int) -> None:
            """Read what the device has computed, but for so many blocks."""
            nonlocal totals
            while len(unread) > most:
                step, found = unread.popleft()
                for k, of_step in enumerate(np.asarray(ops.convert_to_numpy(found), np.float64)):
                    totals = totals + of_step if totals[1] else of_step
                    if not math.isfinite(totals[0]):
                        of = f" of {train.steps}" if train.steps else ""
                        where = f"The loss is {totals[0]} in epoch {epoch + 1}, step {step + k + 1}{of}."
                        raise TrainingError(f"{where} {self.task.explain(epoch, step + k)}")

        for batch in train.batches(epoch):
            size = batch.steps if isinstance(batch, Block) else 1
            for step in range(done, done + size):
                every.on_train_batch_begin(step)
            unread.append((done, self.steps.train(batch)))
            read(self.unread)
            for step in range(done, done + size):
                every.on_train_batch_end(step, {"loss": totals[0] / totals[1]} if totals[1] else {})
            done += size
        read(0)
        self.steps.settle()
        if not done or done != (train.steps or done):
            raise TrainingError(f"Expected {train.steps} steps in epoch {epoch + 1}, received batches for {done}.")
        logs = self._scores(self.steps.everywhere(totals))
        logs |= {f"val_{name}": value for name, value in self.scores(validation).items()}
        if not math.isfinite(logs["val_loss"]):
            raise TrainingError(
                f"The loss of the validation is {logs['val_loss']} after epoch {epoch + 1}: the weights diverged. "
                "Use a lower learning_rate."
            )
        return logs

    def scores(self, feed: Feed) -> dict[str, float]:
        """``loss`` and scores of a feed; of all processes where each has its part of it."""
        found = [self.steps.test(batch) for batch in feed.batches(0)]
        totals = sum(np.asarray(ops.convert_to_numpy(part), np.float64).sum(axis=0) for part in found)
        totals = self.steps.everywhere(totals)
        self.counts = totals[2:]
        return self._scores(totals)

    def _scores(self, totals: np.ndarray) -> dict[str, float]:
        return {"loss": totals[0] / totals[1], **self.task.scores(totals[2:])}

    def _check_same_epoch(self, begin: int) -> None:
        """All processes must begin with the same epoch."""
        if self.cluster is None:
            return
        one = np.zeros(self.cluster.size)
        one[self.cluster.rank] = begin
        with workers.explained("the beginning"):
            epochs = self.steps.everywhere(one).round().astype(int)
        if len(set(epochs.tolist())) > 1:
            raise workers.WorkerError(
                f"The workers see backups of different epochs: {epochs.tolist()} are finished. The folder of the "
                "training must be one that all of them share."
            )


def _steps() -> type:
    """The steps of Keras's backend."""
    if backend() == "jax":
        from arsetlib.training.on_jax import StepsOnJax

        return StepsOnJax
    if backend() == "torch":
        from arsetlib.training.on_torch import StepsOnTorch

        return StepsOnTorch
    from arsetlib.training.on_tensorflow import StepsOnTensorflow

    return StepsOnTensorflow


def train(
    model: Any, task: Task, feeds: tuple[Feed, Feed], plan: Plan, *, phases: list[Phase] | None = None,
    backup: Path | None = None,
    callbacks: Callable[[Loop], list] = lambda loop: [], strategy: Any = None, cluster: Any = None, start_from: int = 0,
) -> tuple[dict[str, list[float]], int]:  # fmt: skip
    """Train a model with early stopping, and leave it with its best weights.

    Args:
        model: Made under the strategy.
        task: Loss and scores.
        feeds: Of training and of validation.
        plan: Filled and checked.
        phases: None: one with the plan's optimiser.
        backup: File of the last finished epoch; None keeps nothing.
        callbacks: Gives Keras's callbacks of a loop.
        strategy, cluster: See ``Loop``.
        start_from: Epochs of which early stopping does not look at the monitor.

    Returns:
        The history, and the best epoch, counted from 1.
    """
    from arsetlib.training.callbacks import Backup
    from arsetlib.training.devices import optimizer_of

    mode = "min" if plan.monitor.endswith("loss") else "max"
    stopping = keras.callbacks.EarlyStopping(
        plan.monitor, patience=plan.patience, mode=mode, restore_best_weights=True, start_from_epoch=start_from
    )
    phases = phases or [Phase(0, plan.epochs, lambda: optimizer_of(plan.optimizer, plan.learning_rate))]
    loop = Loop(model, task, strategy, cluster)
    writes = cluster is None or cluster.chief
    history = loop.run(*feeds, phases, stopping, Backup(backup, stopping, writes), callbacks(loop))
    return history, stopping.best_epoch + 1
