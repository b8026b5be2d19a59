"""The steps of a training, written out: gradients of each share of a batch, summed, one step for all.

The same loop runs on one device, on several of a machine and in several processes; Keras's own ``fit`` does not do the
last. Callbacks and optimisers are Keras's; the optimiser sums the gradients over devices and processes. Needs
TensorFlow.

Lab: case_fields.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tqdm.auto import tqdm

from arsetlib.models import images as networks
from arsetlib.training import workers
from arsetlib.training.run import TrainingError

SHOWN = ("loss", "accuracy", "macro_f1")


@dataclass(frozen=True)
class Phase:
    """Epochs that are trained alike: from ``first`` to before ``last``, counted from 0.

    Attributes:
        frozen: Whether the backbone is kept as it is; None leaves the model's layers as they are.
        optimizer: Makes a new one.
    """

    first: int
    last: int
    frozen: bool | None
    optimizer: Callable


class Loop:
    """A model, and how batches change it.

    Args:
        model: (B, S, S, C) → (B, K), made under the strategy.
        loss: truth (B, K), shares (B, K) → (B,).
        kind: ``"multi"`` or ``"single"``.
        strategy: A ``tf.distribute.Strategy``; None for one device.
        cluster: The processes that train together; None where there is one.
    """

    def __init__(self, model, loss: Callable, kind: str, strategy=None, cluster: workers.Cluster | None = None):
        self.model, self.loss, self.kind, self.cluster = model, loss, kind, cluster
        self.strategy = strategy or tf.distribute.get_strategy()
        self.devices = self.strategy.num_replicas_in_sync
        self.local = self.devices // (cluster.size if cluster else 1)  # of this process
        self._look = tf.function(self._looked, reduce_retracing=True)
        self._add = tf.function(self._added)

    def run(self, feed, validation, phases: list[Phase], callbacks: list, backup, epochs: int) -> None:
        """Train phase after phase, from where the backup ends.

        Args:
            feed, validation: With ``batches(epoch)`` and ``steps``, see ``arsetlib.fields.feeds``.
            phases: One after the other, without gaps.
            callbacks: Of Keras, in order.
            backup: ``training.callbacks.Backup``, called last.
            epochs: Of all phases.
        """
        begin = epochs_kept(backup.folder)
        self._same(begin)
        called = None
        for phase in phases:
            if begin > phase.last:
                continue
            self._prepare(phase)
            if called is None:
                params = {"epochs": epochs, "steps": feed.steps, "verbose": 0}
                called = keras.callbacks.CallbackList([*callbacks, backup], model=self.model, **params)
                self.model.stop_training, self.model._initial_epoch = False, 0
                called.on_train_begin()  # the backup sets weights, optimiser and the epoch to begin with
                begin = self.model._initial_epoch
            step = tf.function(self._stepped, reduce_retracing=True)
            for epoch in range(max(begin, phase.first), phase.last):
                if self.model.stop_training:
                    break
                self._epoch(step, feed, validation, called, epoch)
        called.on_train_end()

    def _prepare(self, phase: Phase) -> None:
        with self.strategy.scope():
            if phase.frozen is not None:
                networks.freeze(self.model, phase.frozen)
            optimizer = phase.optimizer()
            self.model.compile(optimizer=optimizer)
            optimizer.build(self.model.trainable_variables)

    def _epoch(self, step, feed, validation, called, epoch: int) -> None:
        with workers.told(f"epoch {epoch + 1}") if self.cluster else nullcontext():
            called.on_epoch_begin(epoch)
            totals, done = np.zeros(2 + 3 * self.model.output_shape[-1]), 0
            for x, y in feed.batches(epoch):
                if done == feed.steps:
                    break
                called.on_train_batch_begin(done)
                totals += step(*self._shared(x, y)).numpy()
                if not math.isfinite(totals[0]):
                    raise TrainingError(
                        f"The loss is no number in epoch {epoch + 1}, step {done + 1} of {feed.steps}. Take a lower "
                        "learning_rate, and look at the images with fields.check."
                    )
                called.on_train_batch_end(done, {"loss": totals[0] / totals[1]})
                done += 1
            if done != feed.steps:
                raise TrainingError(f"Expected {feed.steps} steps in epoch {epoch + 1}, received images for {done}.")
            logs = scores_of(self._everywhere(totals), self.kind)
            logs |= {f"val_{name}": value for name, value in self.scores(validation).items()}
            called.on_epoch_end(epoch, logs)

    def scores(self, feed) -> dict[str, float]:
        """``loss``, ``accuracy`` and ``macro_f1`` of a feed; of all processes where each has its part of it."""
        totals = np.zeros(2 + 3 * self.model.output_shape[-1])
        for x, y in feed.batches(0):
            totals += self._look(tf.convert_to_tensor(x), tf.convert_to_tensor(y)).numpy()
        return scores_of(self._everywhere(totals), self.kind)

    # On the devices

    def _shared(self, x, y) -> tuple:
        """A batch, dealt to the devices of this process."""
        x, y = tf.convert_to_tensor(x), tf.convert_to_tensor(y)
        if self.local == 1:
            return x, y

        def deal(part):
            number = self.local
            return self.strategy.experimental_distribute_values_from_function(
                lambda context: part[context.replica_id_in_sync_group % number :: number]
            )

        return deal(x), deal(y)

    def _stepped(self, x, y):
        totals = self.strategy.run(self._replica, args=(x, y))
        return tf.add_n(self.strategy.experimental_local_results(totals))

    def _replica(self, x, y):
        """One device's share of a step; its sums."""
        everywhere = tf.cast(tf.shape(y)[0] * self.devices, tf.float32)  # all shares are alike
        with tf.GradientTape() as tape:
            shares = self.model(x, training=True)
            each = self.loss(y, shares)
            mean = tf.reduce_sum(each) / everywhere
        variables = self.model.trainable_variables
        self.model.optimizer.apply(tape.gradient(mean, variables), variables)  # sums over devices and processes
        return self._sums(y, shares, each)

    def _looked(self, x, y):
        shares = self.model(x, training=False)
        return self._sums(y, shares, self.loss(y, shares))

    def _sums(self, y, shares, each):
        """(2 + 3 K,): sum of the loss, images, and of each class right, wrongly said and missed."""
        if self.kind == "single":
            said = tf.one_hot(tf.argmax(shares, axis=1), shares.shape[1])
        else:
            said = tf.cast(shares >= 0.5, tf.float32)
        right, wrong, missed = (
            tf.reduce_sum(part, axis=0) for part in (y * said, (1 - y) * said, y * (1 - said))
        )  # fmt: skip
        images = tf.cast(tf.shape(y)[0], tf.float32)
        return tf.concat([tf.stack([tf.reduce_sum(each), images]), right, wrong, missed], axis=0)

    def _everywhere(self, totals: np.ndarray) -> np.ndarray:
        """Sums over all processes."""
        if self.cluster is None:
            return totals

        return self._add(tf.constant(totals / self.local)).numpy()

    def _added(self, values):
        def replica(part):
            # A copy, so that it has a device, which the sum wants to know.
            return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, tf.identity(part))

        return self.strategy.experimental_local_results(self.strategy.run(replica, args=(values,)))[0]

    def _same(self, begin: int) -> None:
        """All processes must begin with the same epoch."""
        if self.cluster is None:
            return
        one = np.zeros(self.cluster.size)
        one[self.cluster.rank] = begin
        with workers.told("the beginning"):
            found = self._everywhere(one).round().astype(int)
        if len(set(found.tolist())) > 1:
            raise workers.WorkerError(
                f"The workers see backups of different epochs: {found.tolist()} are done. The run's folder must be one "
                "that all of them share."
            )


def scores_of(totals: np.ndarray, kind: str) -> dict[str, float]:
    """Scores of the sums that ``Loop`` makes.

    Accuracy is the share of images that are right, for several labels the share of labels; F1 of a class that neither
    the truth nor the prediction has does not count.
    """
    loss, images = totals[:2]
    right, wrong, missed = totals[2:].reshape(3, -1)
    both = 2 * right + wrong + missed
    f1 = 2 * right[both > 0] / both[both > 0]
    accuracy = right.sum() / images if kind == "single" else 1 - (wrong + missed).sum() / (images * len(right))
    return {"loss": loss / images, "accuracy": accuracy, "macro_f1": float(f1.mean()) if len(f1) else math.nan}


def synchronise(model, together: bool) -> None:
    """Let batch normalisation see the whole batch, not each device its own share; so their number changes nothing."""
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = together


def epochs_kept(folder: Path | None) -> int:
    """Epochs that a backup's folder holds."""
    kept = sorted(folder.glob("epoch-*[0-9]")) if folder and folder.is_dir() else []
    return int(re.sub(r"\D", "", kept[-1].name)) if kept else 0


class Told(keras.callbacks.Callback):
    """One line an epoch."""

    def on_epoch_end(self, epoch, logs=None):
        said = ", ".join(f"{side}{name} {logs[side + name]:.3f}" for name in SHOWN for side in ("", "val_"))
        tqdm.write(f"epoch {epoch + 1}/{self.params['epochs']}: {said}")  # above the bar, if there is one
        sys.stdout.flush()
