"""A step of training on JAX: one compiled function of the whole state; several steps in one call on a GPU.

Lab: part3_train_and_test.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
from keras import ops

from arsetlib.samples.device import Block
from arsetlib.training.devices import one_device
from arsetlib.training.tasks import Task, measured


class StepsOnJax:
    """What ``loop.Loop`` asks of a backend, see ``on_tensorflow.StepsOnTensorflow``.

    The model's variables are read at the beginning of an epoch and written at its end.

    Raises:
        TrainingError: A strategy.
    """

    def __init__(self, model: Any, task: Task, strategy: Any = None, cluster: Any = None) -> None:
        one_device(strategy)
        self.model, self.task = model, task
        self.state: Any = None
        self._compiled = functools.cache(self._new)
        self._tested = functools.cache(lambda make, steps: jax.jit(functools.partial(self._test_many, make, steps)))

    def scope(self) -> Any:
        return nullcontext()

    def begin(self) -> None:
        self._compiled = functools.cache(self._new)  # other variables than before
        self._tested.cache_clear()
        self.state = None

    def train(self, batch: Block | tuple) -> Any:
        arguments, make, steps = _parts(batch)
        if self.state is None:
            self.state = [[v.value for v in group] for group in self._groups()]
        self.state, sums = self._compiled(make, steps)(self.state, arguments)
        return sums

    def test(self, batch: Block | tuple) -> Any:
        arguments, make, steps = _parts(batch)
        state = [[v.value for v in group] for group in self._groups()[:2]]
        return self._tested(make, steps)(state, arguments)

    def settle(self) -> None:
        if self.state is None:
            return
        for group, values in zip(self._groups(), self.state, strict=True):
            for variable, value in zip(group, values, strict=True):
                variable.assign(value)
        self.state = None

    def everywhere(self, totals: np.ndarray) -> np.ndarray:
        return totals

    def _groups(self) -> tuple:
        model = self.model
        return model.trainable_variables, model.non_trainable_variables, model.optimizer.variables

    def _new(self, make: Callable, steps: int) -> Callable:
        return jax.jit(functools.partial(self._train_many, make, steps))

    def _train_many(self, make: Callable, steps: int, state: list, arguments: Any):
        def one(state, k):
            x, y = make(arguments, k)[:2]
            return self._train_one(state, x, y)

        if steps == 1:
            state, sums = one(state, jnp.int32(0))
            return state, sums[None]
        return jax.lax.scan(one, state, jnp.arange(steps, dtype="int32"))

    def _train_one(self, state: list, x: Any, y: Any):
        trained, rest, of_optimizer = state
        optimizer = self.model.optimizer

        def loss(trained):
            shares, changed, losses = self.model.stateless_call(trained, rest, x, training=True, return_losses=True)
            each, sums = measured(self.task, y, shares)
            mean = ops.mean(each) + sum(losses)
            with keras.StatelessScope(state_mapping=zip(optimizer.variables, of_optimizer, strict=True)):
                return optimizer.scale_loss(mean), (changed, sums)

        (_, (rest, sums)), gradients = jax.value_and_grad(loss, has_aux=True)(trained)
        trained, of_optimizer = optimizer.stateless_apply(of_optimizer, gradients, trained)
        return [list(trained), list(rest), list(of_optimizer)], sums

    def _test_many(self, make: Callable, steps: int, state: list, arguments: Any):
        def one(k):
            x, y = make(arguments, k)[:2]
            return measured(self.task, y, self.model.stateless_call(*state, x, training=False)[0])[1]

        return jnp.stack([one(jnp.int32(k)) for k in range(steps)])


def _parts(batch: Block | tuple) -> tuple:
    """Arguments, how a batch is made of them, and number of batches."""
    return (batch.arguments, batch.make, batch.steps) if isinstance(batch, Block) else (batch[:2], _as_it_is, 1)


def _as_it_is(batch: tuple, k: Any) -> tuple:
    return batch
