"""A step of training on PyTorch.

Lab: part3_train_and_test.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from keras import ops

from arsetlib.samples.backends import compiled, on_device
from arsetlib.samples.device import Block
from arsetlib.training.devices import one_device
from arsetlib.training.tasks import Task, measured


class StepsOnTorch:
    """What ``loop.Loop`` asks of a backend, see ``on_tensorflow.StepsOnTensorflow``.

    Raises:
        TrainingError: A strategy.
    """

    def __init__(self, model: Any, task: Task, strategy: Any = None, cluster: Any = None) -> None:
        one_device(strategy)
        self.model, self.task = model, task

    def scope(self) -> Any:
        return nullcontext()

    def begin(self) -> None:
        """Nothing is compiled."""

    def train(self, batch: Block | tuple) -> Any:
        return torch.stack([self._train(x, y) for x, y in _batches(batch)])

    def test(self, batch: Block | tuple) -> Any:
        with torch.no_grad():
            return torch.stack(
                [measured(self.task, y, self.model(x, training=False))[1] for x, y in _batches(batch)]
            )  # fmt: skip

    def settle(self) -> None:
        """The model's variables hold what was learned."""

    def everywhere(self, totals: np.ndarray) -> np.ndarray:
        return totals

    def _train(self, x: Any, y: Any) -> Any:
        model = self.model
        each, sums = measured(self.task, y, model(x, training=True))
        loss = model.optimizer.scale_loss(ops.mean(each) + sum(model.losses))
        model.zero_grad()
        loss.backward()
        variables = model.trainable_variables
        with torch.no_grad():
            model.optimizer.apply([v.value.grad for v in variables], variables)
        return sums.detach()


def _batches(batch: Block | tuple):
    """(x, y) of each step, on the device."""
    if not isinstance(batch, Block):
        return [on_device(batch[:2])]
    make = compiled(batch.make)
    return (make(batch.arguments, torch.tensor(k, device=batch.arguments[2].device))[:2] for k in range(batch.steps))
