"""Keras's backend: its name, whether it computes on a GPU, compiled functions and tensors.

Lab: part2_load_data.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any


def backend() -> str:
    """Name of Keras's backend."""
    import keras

    return keras.backend.backend()


def on_gpu() -> bool:
    """Whether Keras's backend computes on a GPU."""
    if backend() == "jax":
        import jax

        return jax.default_backend() != "cpu"
    if backend() == "torch":
        import torch

        return torch.cuda.is_available()
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


@functools.lru_cache(maxsize=8)
def compiled(function: Callable) -> Callable:
    """A function of tensors, compiled where the backend compiles."""
    if backend() == "jax":
        import jax

        return jax.jit(function)
    if backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(function, jit_compile=True, autograph=False, reduce_retracing=True)
    import torch

    return torch.no_grad()(function)


def on_device(batch: Any) -> Any:
    """A batch of arrays as tensors."""
    import keras
    from keras import ops

    return keras.tree.map_structure(ops.convert_to_tensor, batch)
