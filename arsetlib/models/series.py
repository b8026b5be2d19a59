"""Convolutions over a series: the toy of the slides, the course's CNN of 2024, TempCNN.

Each function is one entry of the registry: build it by name with ``models.build``. The comments give the shapes for
the course's season of 24 steps, 12 bands and 7 classes.

Lab: part3_train_and_test.
"""

from __future__ import annotations

import keras
from keras import layers

from arsetlib.models.layers import Blank, Calendar, Gaps
from arsetlib.models.registry import ModelError


def toy(steps: int, bands: int, classes: int, step_days: int = 5, *, filters: int = 3, kernel: int = 5, pool: int = 5,
        units: int = 10, padding: str = "valid") -> keras.Model:  # fmt: skip
    """One convolution and two dense layers, small enough to count its parameters by hand.

    With 20 steps and 6 classes, as on the slides: 183 + 0 + 0 + 100 + 66 = 349 parameters, and the outputs are
    (16, 3), (3, 3), (9,), (10,), (6,). 390 parameters for the course's season.

    The trap: Keras' default padding is ``"valid"``, which shortens a series by ``kernel - 1`` steps, and pooling drops
    what does not fill a whole ``pool``. Of fewer than ``kernel + pool - 1`` steps nothing is left.

    Args:
        filters: Filters of the convolution.
        kernel: Steps that a filter spans.
        pool: Steps of which pooling keeps the largest value.
        units: Width of the hidden layer.
        padding: ``"valid"``, or ``"same"``, which pads with zeros and keeps the length.

    Raises:
        ModelError: Nothing is left after pooling.

    Lab: part3_train_and_test.
    """
    _check_length("toy", steps, kernel, 1, pool, padding)
    return keras.Sequential(
        [
            keras.Input((steps, bands), name="series"),  # (B, 24, 12)
            layers.Conv1D(filters, kernel, padding=padding),  # (B, 20, 3)
            layers.MaxPooling1D(pool),  # (B, 4, 3)
            layers.Flatten(),  # (B, 12)
            layers.Dense(units, activation="relu"),  # (B, 10)
            layers.Dense(classes, activation="softmax", dtype="float32"),  # (B, 7)
        ],
        name="toy",
    )


def original(steps: int, bands: int, classes: int, step_days: int = 5, *, filters: int = 64, kernel: int = 5,
             dropout: float = 0.5, pool: int = 2, units: int = 50, padding: str = "valid") -> keras.Model:  # fmt: skip
    """The CNN of the course of 2024: two convolutions, dropout, pooling, two dense layers.

    50,455 parameters for the course's season. It knows neither which steps were seen (a gap is the mean, like an
    average image) nor which day of the year it is.

    Args:
        filters: Filters of each convolution.
        kernel: Steps that a filter spans.
        dropout: Share of values that training drops, after the convolutions.
        pool: Steps of which pooling keeps the largest value.
        units: Width of the hidden layer.
        padding: ``"valid"`` as in 2024, or ``"same"``.

    Raises:
        ModelError: Nothing is left after pooling.

    Paper: none; J. Just & E. Sorensen, Large-scale machine learning for agriculture, NASA ARSET 2024.

    Lab: part3_train_and_test.
    """
    _check_length("original", steps, kernel, 2, pool, padding)
    return keras.Sequential(
        [
            keras.Input((steps, bands), name="series"),  # (B, 24, 12)
            layers.Conv1D(filters, kernel, activation="relu", padding=padding),  # (B, 20, 64)
            layers.Conv1D(filters, kernel, activation="relu", padding=padding),  # (B, 16, 64)
            layers.Dropout(dropout),
            layers.MaxPooling1D(pool),  # (B, 8, 64)
            layers.Flatten(),  # (B, 512)
            layers.Dense(units, activation="relu"),  # (B, 50)
            layers.Dense(classes, activation="softmax", dtype="float32"),  # (B, 7)
        ],
        name="original",
    )


def tempcnn(steps: int, bands: int, classes: int, step_days: int = 5, *, filters: int = 64, kernel: int = 5,
            blocks: int = 3, units: int = 256, dropout: float = 0.5, l2: float = 1e-6, seen: bool = False,
            calendar: bool = False, gaps: float = 0.0, shift: float = 0.0) -> keras.Model:  # fmt: skip
    """TempCNN: three blocks of convolution, batch normalisation, ReLU and dropout, then one dense block.

    441,607 parameters for the course's season, most of them between the flattened series and the dense block.

    Args:
        filters: Filters of each convolution.
        kernel: Steps that a filter spans; 5 steps of 5 days are 25 days.
        blocks: How many blocks.
        units: Width of the dense block.
        dropout: Share of values that training drops, after each block.
        l2: Weight decay of the paper.
        seen: Also take which steps were seen: the others are set to 0, and one more channel marks them.
        calendar: Also take the day of the year: four channels more, waves of a year and of half a year.
        gaps: With ``seen``, the share of the steps that training drops, see ``layers.Gaps``.
        shift: With ``calendar``, days by which training moves it, see ``layers.Calendar``.

    Paper: C. Pelletier, G. Webb & F. Petitjean, Temporal convolutional neural network for the classification of
    satellite image time series, Remote Sensing 11(5), 523, 2019.

    Lab: part3_train_and_test.
    """
    series = keras.Input((steps, bands), name="series")
    inputs, x = {"series": series}, series  # (B, 24, 12)
    if seen:
        inputs["seen"] = keras.Input((steps,), dtype="bool", name="seen")
        x = Blank(flag=True)(x, Gaps(gaps)(inputs["seen"]))  # (B, 24, 13)
    if calendar:
        inputs["day_of_year"] = keras.Input((), dtype="int32", name="day_of_year")
        x = layers.Concatenate()([x, Calendar(steps, step_days, 4, None, shift)(inputs["day_of_year"])])  # (B, 24, + 4)
    decay = {"kernel_regularizer": keras.regularizers.L2(l2)} if l2 else {}
    for _ in range(blocks):
        x = layers.Conv1D(filters, kernel, padding="same", use_bias=False, **decay)(x)  # (B, 24, 64)
        x = layers.BatchNormalization()(x)
        x = layers.Dropout(dropout)(layers.ReLU()(x))
    x = layers.Flatten()(x)  # (B, 1536)
    x = layers.Dense(units, use_bias=False, **decay)(x)  # (B, 256)
    x = layers.BatchNormalization()(x)
    x = layers.Dropout(dropout)(layers.ReLU()(x))
    out = layers.Dense(classes, activation="softmax", dtype="float32", **decay)(x)  # (B, 7)
    return keras.Model(inputs if len(inputs) > 1 else series, out, name="tempcnn")


def _check_length(name: str, steps: int, kernel: int, convolutions: int, pool: int, padding: str) -> None:
    if padding not in ("valid", "same"):
        raise ModelError(f"Expected padding = 'valid' or 'same', received {padding!r}.")
    lost = convolutions * (kernel - 1) if padding == "valid" else 0
    if steps - lost < pool:
        raise ModelError(
            f"Expected at least {lost + pool} steps for {name} with padding={padding!r}, received {steps}: convolution "
            f"leaves {max(steps - lost, 0)} of them and pooling by {pool} leaves none. Take "
            + ("padding='same', " if lost else "")
            + "a smaller kernel or pool, or a longer window."
        )
