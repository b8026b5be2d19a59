"""The optimiser, the devices and the precision of a training. Needs Keras.

Lab: part3_train_and_test.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import keras

from arsetlib.training.plan import TrainingError


def optimizer_of(name: str, learning_rate: Any) -> Any:
    """A new optimiser of Keras.

    Raises:
        TrainingError: There is none of that name.
    """
    try:
        return keras.optimizers.get({"class_name": name, "config": {"learning_rate": learning_rate}})
    except (ValueError, TypeError) as error:
        known = [n.lower() for n in dir(keras.optimizers) if n[0].isupper() and n not in ("Optimizer",)]
        raise TrainingError(f"Expected an optimiser of Keras ({', '.join(known)}), received {name!r}.") from error


def strategy_of(strategy: Any) -> Any:
    """A ``tf.distribute.Strategy``, or None for one device."""
    if not isinstance(strategy, str):
        return strategy
    if strategy != "mirrored":
        raise TrainingError(f"Expected strategy = 'mirrored' or a tf.distribute.Strategy, received {strategy!r}.")
    if keras.backend.backend() != "tensorflow":
        one_device(strategy)
    return _mirrored()


@functools.cache
def _mirrored():
    """One for the process: a second one would number its sums as the first did, and TensorFlow would mix them up."""
    import tensorflow as tf

    return tf.distribute.MirroredStrategy()


def one_device(strategy: Any) -> None:
    """Refuse several devices on a backend that does not offer them.

    Raises:
        TrainingError: So.
    """
    if strategy is not None:
        raise TrainingError(
            f"Expected strategy = None on the backend {keras.backend.backend()!r}, received {strategy!r}. Several "
            "devices are offered with TensorFlow only: set KERAS_BACKEND=tensorflow before Python starts."
        )


def make_network(model: Any, build: Callable, seed: int, strategy: Any = None, mixed: bool = False) -> Any:
    """The model to train: the one of the caller, or a new one that computes in the precision asked for.

    Args:
        model: A Keras model, copied where the strategy did not make it; None builds one.
        build: Makes a new model.
        seed: Of dropout and whatever else draws.
        strategy: See ``Loop``.
        mixed: Compute in float16 where that is faster; only for new models.
    """
    keras.utils.set_random_seed(seed)
    with strategy.scope() if strategy else nullcontext():
        if model is not None:
            return _of_strategy(model, strategy)
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy("mixed_float16" if mixed else before)
        try:
            return build()
        finally:
            keras.config.set_dtype_policy(before)


def _of_strategy(model, strategy):
    if strategy is None or all(strategy.extended.variable_created_in_scope(v.value) for v in model.variables):
        return model
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy


def in_float32(model: Any, build: Callable) -> Any:
    """The same weights in a new network that computes in float32, so that it runs anywhere."""
    plain = build()
    plain.set_weights(model.get_weights())
    return plain
