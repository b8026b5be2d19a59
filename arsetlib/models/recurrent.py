"""Recurrent networks: they read a season step by step and skip the steps that were not seen.

Lab: part3_train_and_test.
"""

from __future__ import annotations

import keras
from keras import layers

from arsetlib.models.layers import Blank, Calendar, Gaps


def lstm(steps: int, bands: int, classes: int, step_days: int = 5, *, units: int = 64, depth: int = 1,
         bidirectional: bool = True, dropout: float = 0.3, calendar: bool = True,
         gaps: float = 0.0, shift: float = 0.0) -> keras.Model:  # fmt: skip
    """Long short-term memory: a state with gates that decide what to keep, add and output.

    42,375 parameters for the course's season. A step that was not seen leaves the state as it is. The day of the year
    is given with each step, so the network knows how long a gap was. The last state of each direction is classified.

    Args:
        units: Length of the state, in each direction.
        depth: Number of layers.
        bidirectional: Also read from the end of the window to its start.
        dropout: Share of values that training drops, before the last layer.
        calendar: Take the day of the year: four channels more, waves of a year and of half a year.
        gaps: Share of the steps that training drops, see ``layers.Gaps``.
        shift: Days by which training moves the calendar, see ``layers.Calendar``.

    Paper: S. Hochreiter & J. Schmidhuber, Long short-term memory, Neural Computation 9(8), 1997.

    Lab: part3_train_and_test.
    """
    sizes = (steps, bands, classes, step_days)
    return _recurrent("lstm", layers.LSTM, sizes, units, depth, bidirectional, dropout, calendar, gaps, shift)


def gru(steps: int, bands: int, classes: int, step_days: int = 5, *, units: int = 64, depth: int = 1,
        bidirectional: bool = True, dropout: float = 0.3, calendar: bool = True,
        gaps: float = 0.0, shift: float = 0.0) -> keras.Model:  # fmt: skip
    """Gated recurrent unit: the LSTM's idea with two gates and no separate memory.

    32,391 parameters for the course's season.

    Args:
        units, depth, bidirectional, dropout, calendar, gaps, shift: See ``lstm``.

    Paper: K. Cho et al., Learning phrase representations using RNN encoder-decoder, EMNLP 2014.

    Lab: part3_train_and_test.
    """
    sizes = (steps, bands, classes, step_days)
    return _recurrent("gru", layers.GRU, sizes, units, depth, bidirectional, dropout, calendar, gaps, shift)


def _recurrent(name, layer, sizes, units, depth, bidirectional, dropout, calendar, gaps, shift) -> keras.Model:
    steps, bands, classes, step_days = sizes
    series = keras.Input((steps, bands), name="series")
    seen = keras.Input((steps,), dtype="bool", name="seen")
    inputs = {"series": series, "seen": seen}
    seen = Gaps(gaps)(seen)
    x = Blank()(series, seen)  # (B, 24, 12)
    if calendar:
        inputs["day_of_year"] = keras.Input((), dtype="int32", name="day_of_year")
        x = layers.Concatenate()([x, Calendar(steps, step_days, 4, None, shift)(inputs["day_of_year"])])  # (B, 24, 16)
    for level in range(depth):
        # The fused kernel of a GPU takes only gaps at the end of a series, so it is not asked for.
        one = layer(units, return_sequences=level < depth - 1, use_cudnn=False)
        x = (layers.Bidirectional(one) if bidirectional else one)(x, mask=seen)  # (B, 24, 128), at last (B, 128)
    x = layers.Dropout(dropout)(x)
    out = layers.Dense(classes, activation="softmax", dtype="float32")(x)  # (B, 7)
    return keras.Model(inputs, out, name=name)
