"""A step of training on TensorFlow: on one device, on several, in several processes.

Lab: case_fields.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras  # noqa: F401 -- before TensorFlow
import numpy as np
import tensorflow as tf

from arsetlib.samples.backends import compiled
from arsetlib.samples.device import Block
from arsetlib.training.tasks import Task, measured


class StepsOnTensorflow:
    """What ``loop.Loop`` asks of a backend.

    Args:
        model, task, strategy, cluster: See ``loop.Loop``.
    """

    def __init__(self, model: Any, task: Task, strategy: Any = None, cluster: Any = None) -> None:
        self.model, self.task, self.cluster = model, task, cluster
        self.strategy = strategy or tf.distribute.get_strategy()
        self.devices = self.strategy.num_replicas_in_sync
        self.local = self.devices // (cluster.size if cluster else 1)  # of this process
        self._train_step = self._test_step = None
        self._add = tf.function(self._add_everywhere)

    def scope(self) -> Any:
        """Where variables are made."""
        return self.strategy.scope()

    def begin(self) -> None:
        """A new optimiser, or other layers that are trained."""
        self._train_step = None

    def train(self, batch: Block | tuple) -> Any:
        """Change the model; (K, 2 + …) sums of each step, see ``loop.measured``."""
        sums = []
        for x, y in _batches(batch):
            parts = self._divided(x, y)
            self._train_step = self._train_step or self._compiled(self._train, parts)
            sums.append(self._train_step(*parts))
        return tf.stack(sums)

    def test(self, batch: Block | tuple) -> Any:
        """(K, 2 + …) sums of batches, without changing the model."""
        sums = []
        for x, y in _batches(batch):
            parts = tf.nest.map_structure(tf.convert_to_tensor, (x, y))
            self._test_step = self._test_step or self._compiled(self._test, parts)
            sums.append(self._test_step(*parts))
        return tf.stack(sums)

    def settle(self) -> None:
        """The model's variables hold what was learned."""

    def everywhere(self, totals: np.ndarray) -> np.ndarray:
        """Sums over all processes."""
        if self.cluster is None:
            return totals
        return self._add(tf.constant(totals / self.local, tf.float32)).numpy().astype(np.float64)

    def _compiled(self, step: Callable, batch: tuple):
        """One compiled function for batches of every size."""
        if self.local > 1:
            return tf.function(step, reduce_retracing=True)
        every_size = tf.nest.map_structure(lambda part: tf.TensorSpec([None, *part.shape[1:]], part.dtype), batch)
        return tf.function(step, input_signature=every_size)

    def _divided(self, x, y) -> tuple:
        """A batch, divided among the devices of this process."""
        batch = tf.nest.map_structure(tf.convert_to_tensor, (x, y))
        if self.local == 1:
            return batch

        def divide(part):
            return self.strategy.experimental_distribute_values_from_function(
                lambda context: part[context.replica_id_in_sync_group % self.local :: self.local]
            )

        return tf.nest.map_structure(divide, batch)

    def _train(self, x, y):
        totals = self.strategy.run(self._replica, args=(x, y))
        return tf.add_n(self.strategy.experimental_local_results(totals))

    def _replica(self, x, y):
        """One device's share of a step; its sums."""
        model, everywhere = self.model, tf.cast(tf.shape(y)[0] * self.devices, tf.float32)  # all shares are equal
        with tf.GradientTape() as tape:
            each, totals = measured(self.task, y, model(x, training=True))
            mean = tf.reduce_sum(each) / everywhere
            if model.losses:  # of layers with a regulariser
                mean += tf.add_n(model.losses) / self.devices
            scaled = model.optimizer.scale_loss(mean)  # against underflow in float16
        variables = model.trainable_variables
        model.optimizer.apply(tape.gradient(scaled, variables), variables)  # sums over devices and processes
        return totals

    def _test(self, x, y):
        return measured(self.task, y, self.model(x, training=False))[1]

    def _add_everywhere(self, values):
        def replica(part):
            # A copy, so that it has a device, which the sum needs to know.
            return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, tf.identity(part))

        return self.strategy.experimental_local_results(self.strategy.run(replica, args=(values,)))[0]


def _batches(batch: Block | tuple):
    """(x, y) of each step."""
    if not isinstance(batch, Block):
        return [batch[:2]]
    make = compiled(batch.make)
    return (make(batch.arguments, tf.constant(k))[:2] for k in range(batch.steps))
