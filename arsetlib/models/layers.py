"""Own Keras layers: for steps that were not seen, for the day of the year, and attention to the steps that were seen.

All of them are registered under ``arsetlib``, so that a ``.keras`` file holds no code and loads in safe mode.

Lab: part3_train_and_test.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import layers, ops


@keras.saving.register_keras_serializable("arsetlib")
class Blank(layers.Layer):
    """Put 0 where nothing was seen: (B, T, C) and (B, T) bool → (B, T, C).

    So no fill value of a step without image can reach the model.

    Args:
        flag: Append ``seen`` as one more channel: (B, T, C + 1).
    """

    def __init__(self, flag: bool = False, **options: object) -> None:
        super().__init__(**options)
        self.flag = flag

    def call(self, x: Any, seen: Any) -> Any:
        there = ops.expand_dims(seen, -1)
        x = ops.where(there, x, ops.zeros_like(x))
        return ops.concatenate([x, ops.cast(there, x.dtype)], -1) if self.flag else x

    def get_config(self) -> dict:
        return {**super().get_config(), "flag": self.flag}


@keras.saving.register_keras_serializable("arsetlib")
class Gaps(layers.Layer):
    """Drop some of the steps that were seen, in training only: (B, T) bool → (B, T) bool.

    Clouds hide other dates next year. A model that was trained with many patterns of gaps depends on no single date.

    Args:
        rate: Share of the steps that are dropped.
    """

    def __init__(self, rate: float, **options: object) -> None:
        super().__init__(**options)
        if not 0 <= rate < 1:
            raise ValueError(f"Expected a share from 0 to below 1, received {rate}.")
        self.rate = rate
        self.draws = keras.random.SeedGenerator()

    def call(self, seen: Any, training: bool | None = None) -> Any:
        if not training or not self.rate:
            return seen
        keep = keras.random.uniform(ops.shape(seen), dtype="float32", seed=self.draws) >= self.rate
        return ops.logical_and(seen, keep)

    def get_config(self) -> dict:
        return {**super().get_config(), "rate": self.rate}


@keras.saving.register_keras_serializable("arsetlib")
class Calendar(layers.Layer):
    """The day of each step as waves: (B,) day of the year of the window's start → (B, T, size).

    A pair of channels holds sine and cosine of one wavelength. With ``longest`` these are the wavelengths of
    Vaswani et al. (2017), from 2π to 2π × longest days; Garnot & Landrieu (2020) take 1,000. With ``longest = None``
    they are the year and its halves, thirds, …: 31 December is then next to 1 January.

    Args:
        steps: T.
        step_days: Width of a step, days.
        size: Channels, even.
        longest: See above.
        shift: In training the whole window is early or late by up to this many days, drawn for each sample, because
            spring comes earlier in one year than in another.
    """

    def __init__(
        self,
        steps: int,
        step_days: int,
        size: int,
        longest: float | None = 1000.0,
        shift: float = 0.0,
        **options: object,
    ) -> None:
        super().__init__(**options)
        if size < 2 or size % 2:
            raise ValueError(f"Expected an even size of at least 2, received {size}.")
        self.steps, self.step_days, self.size, self.longest = steps, step_days, size, longest
        self.shift, self.draws = shift, keras.random.SeedGenerator()

    def call(self, day_of_year: Any, training: bool | None = None) -> Any:
        pair = np.arange(self.size // 2)
        yearly = self.longest is None
        rate = 2 * math.pi * (pair + 1) / 365.25 if yearly else self.longest ** (-2 * pair / self.size)
        offset = np.arange(self.steps) * self.step_days  # (T,)
        day = ops.cast(day_of_year, "float32")
        if training and self.shift:
            day = day + keras.random.uniform(ops.shape(day), -self.shift, self.shift, dtype="float32", seed=self.draws)
        day = day[:, None] + ops.convert_to_tensor(offset.astype("float32"))
        angle = day[:, :, None] * ops.convert_to_tensor(rate.astype("float32"))  # (B, T, size / 2)
        return ops.cast(ops.concatenate([ops.sin(angle), ops.cos(angle)], -1), self.compute_dtype)

    def compute_output_shape(self, shape: Any) -> tuple:
        return (shape[0], self.steps, self.size)

    def get_config(self) -> dict:
        own = ("steps", "step_days", "size", "longest", "shift")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}


@keras.saving.register_keras_serializable("arsetlib")
class StepVector(layers.Layer):
    """Add a learned vector to each step, so that its place in the window is known: (B, T, D) → (B, T, D)."""

    def build(self, shape: Any) -> None:
        start = keras.initializers.RandomNormal(stddev=0.02)
        self.vector = self.add_weight(name="vector", shape=shape[1:], initializer=start)
        self.built = True

    def call(self, h: Any) -> Any:
        return h + ops.cast(self.vector, h.dtype)


@keras.saving.register_keras_serializable("arsetlib")
class SeenMean(layers.Layer):
    """Mean over the steps that were seen: (B, T, D) and (B, T) bool → (B, D); 0 where nothing was."""

    def call(self, h: Any, seen: Any) -> Any:
        weight = ops.expand_dims(ops.cast(seen, h.dtype), -1)
        return ops.sum(h * weight, 1) / ops.maximum(ops.sum(weight, 1), 1)


@keras.saving.register_keras_serializable("arsetlib")
class MasterQuery(layers.Layer):
    """Attention of L-TAE: one learned query per head, each head on channels of its own.

    (B, T, D) and (B, T) bool → (B, D). Steps that were not seen have no weight; where none was seen the result is 0.

    Args:
        heads: Heads; divides D.
        key: Length of a key and of a query.
        dropout: Share of the weights that are dropped in training.
    """

    def __init__(self, heads: int, key: int, dropout: float = 0.0, **options: object) -> None:
        super().__init__(**options)
        self.heads, self.key, self.dropout = heads, key, dropout
        self.to_keys = layers.Dense(heads * key, name="keys")
        self.drop = layers.Dropout(dropout, name="drop")

    def build(self, shape: Any) -> None:
        if shape[-1] % self.heads:
            raise ValueError(f"Expected a size that {self.heads} heads divide, received {shape[-1]}.")
        self.to_keys.build(shape)
        start = keras.initializers.RandomNormal(stddev=math.sqrt(2 / self.key))
        self.query = self.add_weight(name="query", shape=(self.heads, self.key), initializer=start)
        self.built = True

    def weights_of(self, h: Any, seen: Any) -> Any:
        """(B, heads, T) how much each head looks at each step; rows sum to 1, or to 0 where nothing was seen."""
        keys = ops.reshape(self.to_keys(h), (-1, h.shape[1], self.heads, self.key))
        score = ops.einsum("bthk,hk->bht", keys, ops.cast(self.query, keys.dtype)) / math.sqrt(self.key)
        there = ops.expand_dims(seen, 1)
        score = ops.where(there, ops.cast(score, "float32"), -1e9)
        return ops.where(there, ops.softmax(score, -1), 0.0)

    def call(self, h: Any, seen: Any, training: bool | None = None) -> Any:
        weight = self.drop(ops.cast(self.weights_of(h, seen), h.dtype), training=training)
        size = h.shape[-1]
        values = ops.reshape(h, (-1, h.shape[1], self.heads, size // self.heads))
        return ops.reshape(ops.einsum("bht,bthd->bhd", weight, values), (-1, size))

    def compute_output_shape(self, shape: Any, *_: object) -> tuple:
        return (shape[0], shape[-1])

    def get_config(self) -> dict:
        own = ("heads", "key", "dropout")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}
