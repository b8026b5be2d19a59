"""Attention over a series: steps are weighted by their values and their day, not by their position.

Both models take ``seen`` and ``day_of_year``: a step without image has no weight, whatever its fill value.

Lab: part3_train_and_test.
"""

from __future__ import annotations

import keras
from keras import layers

from arsetlib.models.layers import Blank, Calendar, Gaps, MasterQuery, SeenMean, StepVector


def ltae(steps: int, bands: int, classes: int, step_days: int = 5, *, size: int = 128, heads: int = 16, key: int = 8,
         units: int = 128, hidden: int = 64, dropout: float = 0.2, longest: float = 1000.0,
         gaps: float = 0.0, shift: float = 0.0) -> keras.Model:  # fmt: skip
    """Lightweight temporal attention encoder: one learned query per head, channels divided among the heads.

    64,199 parameters for the course's season. The paper encodes a parcel's pixels first; here a step's bands are
    embedded by two dense layers, because pixels are classified one by one.

    Args:
        size: Channels of an embedded step; ``heads`` divides it.
        heads: Attention heads.
        key: Length of a key.
        units: Width of the layer after attention.
        hidden: Width of the layer before the classes.
        dropout: Share of values that training drops.
        longest: Of the encoding of days, see ``layers.Calendar``.
        gaps: Share of the steps that training drops, see ``layers.Gaps``.
        shift: Days by which training moves the calendar, see ``layers.Calendar``.

    Paper: V. Garnot & L. Landrieu, Lightweight temporal self-attention for classifying satellite image time series,
    AALTD 2020, arXiv:2007.00586.

    Lab: part3_train_and_test.
    """
    inputs = _inputs(steps, bands)
    seen = Gaps(gaps)(inputs["seen"])
    x = Blank()(inputs["series"], seen)  # (B, 24, 12)
    x = layers.Dense(size, activation="relu")(x)  # (B, 24, 128)
    x = layers.LayerNormalization()(layers.Dense(size)(x))
    x = layers.Add()([x, Calendar(steps, step_days, size, longest, shift)(inputs["day_of_year"])])
    x = StepVector()(x)
    x = MasterQuery(heads, key, dropout / 2)(x, seen)  # (B, 128)
    x = layers.ReLU()(layers.BatchNormalization()(layers.Dense(units, use_bias=False)(x)))  # (B, 128)
    x = layers.LayerNormalization()(layers.Dropout(dropout)(x))
    x = layers.ReLU()(layers.BatchNormalization()(layers.Dense(hidden, use_bias=False)(x)))  # (B, 64)
    x = layers.Dropout(dropout)(x)
    out = layers.Dense(classes, activation="softmax", dtype="float32")(x)  # (B, 7)
    return keras.Model(inputs, out, name="ltae")


def transformer(steps: int, bands: int, classes: int, step_days: int = 5, *, size: int = 64, heads: int = 4,
                depth: int = 2, wide: int = 128, dropout: float = 0.2,
                longest: float = 1000.0, gaps: float = 0.0, shift: float = 0.0) -> keras.Model:  # fmt: skip
    """A small Transformer encoder: in each layer every step looks at all steps that were seen.

    69,895 parameters for the course's season. Layer normalisation comes first in each block, which trains without a
    warm-up. The mean over the steps that were seen is what is classified.

    Args:
        size: Channels of an embedded step; ``heads`` divides it.
        heads: Attention heads.
        depth: Encoder layers.
        wide: Width of the dense layer within a block.
        dropout: Share of values that training drops.
        longest: Of the encoding of days, see ``layers.Calendar``.
        gaps: Share of the steps that training drops, see ``layers.Gaps``.
        shift: Days by which training moves the calendar, see ``layers.Calendar``.

    Paper: A. Vaswani et al., Attention is all you need, NeurIPS 2017; for crops M. Rußwurm & M. Körner, Self-attention
    for raw optical satellite time series classification, ISPRS Journal 169, 2020.

    Lab: part3_train_and_test.
    """
    inputs = _inputs(steps, bands)
    seen = Gaps(gaps)(inputs["seen"])
    x = layers.Dense(size)(Blank()(inputs["series"], seen))  # (B, 24, 64)
    x = layers.Add()([x, Calendar(steps, step_days, size, longest, shift)(inputs["day_of_year"])])
    x = StepVector()(x)
    pairs = layers.Reshape((1, steps))(seen)  # (B, 1, 24): the steps that may be attended to
    for _ in range(depth):
        h = layers.LayerNormalization()(x)
        h = layers.MultiHeadAttention(heads, size // heads, dropout=dropout)(h, h, attention_mask=pairs)
        x = layers.Add()([x, layers.Dropout(dropout)(h)])  # (B, 24, 64)
        h = layers.Dense(wide, activation="gelu")(layers.LayerNormalization()(x))  # (B, 24, 128)
        x = layers.Add()([x, layers.Dropout(dropout)(layers.Dense(size)(h))])
    x = SeenMean()(layers.LayerNormalization()(x), seen)  # (B, 64)
    x = layers.Dropout(dropout)(x)
    out = layers.Dense(classes, activation="softmax", dtype="float32")(x)  # (B, 7)
    return keras.Model(inputs, out, name="transformer")


def _inputs(steps: int, bands: int) -> dict:
    return {
        "series": keras.Input((steps, bands), name="series"),
        "seen": keras.Input((steps,), dtype="bool", name="seen"),
        "day_of_year": keras.Input((), dtype="int32", name="day_of_year"),
    }
