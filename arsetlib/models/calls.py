"""The call of a network for predictions, compiled, on any backend of Keras.

Lab: part3_train_and_test.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def compiled_call(model: Any) -> Callable[[Any], np.ndarray]:
    """A function that calls a Keras model without training.

    It is faster than Keras's ``model.predict``, which makes a data set and runs callbacks in each call.

    Args:
        model: A Keras model with one output.

    Returns:
        Arrays (B, …), as the model takes them: one, or by name → (B, …) float32. One compiled function takes every B;
        on JAX, which compiles for each B anew, batches are filled up to powers of two.
    """
    import keras
    from keras import ops

    backend, single = keras.backend.backend(), len(model.inputs) == 1
    kinds = {"" if single else t.name: keras.backend.standardize_dtype(t.dtype) for t in model.inputs}

    def arrays(x: Any) -> dict[str, np.ndarray]:
        """Arrays of the types that the model takes."""
        return {name: np.asarray(x if single else x[name], kind) for name, kind in kinds.items()}

    def inputs(parts: dict) -> Any:
        return parts[""] if single else parts

    if backend == "tensorflow":
        import tensorflow as tf

        spec = {"" if single else t.name: tf.TensorSpec(t.shape, t.dtype) for t in model.inputs}

        @tf.function(input_signature=[spec])
        def compiled(parts):
            return tf.cast(model(inputs(parts), training=False), tf.float32)

        return lambda x: compiled(arrays(x)).numpy()
    if backend == "jax":
        import jax

        @jax.jit
        def compiled(state, parts):
            return model.stateless_call(*state, inputs(parts), training=False)[0]

        def filled(x):
            parts = arrays(x)
            count = len(next(iter(parts.values())))
            more = (1 << max(count - 1, 0).bit_length()) - count
            whole = {name: np.concatenate([part, np.repeat(part[-1:], more, 0)]) for name, part in parts.items()}
            state = [[v.value for v in group] for group in (model.trainable_variables, model.non_trainable_variables)]
            return np.asarray(compiled(state, whole), np.float32)[:count]

        return filled
    import torch

    def plain(x):
        with torch.no_grad():
            parts = {name: ops.convert_to_tensor(part) for name, part in arrays(x).items()}
            return np.asarray(ops.convert_to_numpy(model(inputs(parts), training=False)), np.float32)

    return plain
