"""Images of 32 × 32 with four bands whose classes are easy to see: bright and dark squares, stripes."""

import numpy as np

SIDE = 32


def make(count: int, seed: int, classes: int = 9) -> tuple[np.ndarray, np.ndarray]:
    """(N, 32, 32, 4) uint8 and (N, K) float32; class k is a square in band k % 4, bright for k < 4, dark for k >= 4."""
    random = np.random.default_rng(seed)
    y = (random.random((count, classes)) < 0.25).astype("f4")
    x = random.random((count, SIDE, SIDE, 4)).astype("f4") * 0.3 + 0.3
    for i, k in np.argwhere(y):
        row, column = random.integers(0, SIDE - 8, 2)
        x[i, row : row + 8, column : column + 8, k % 4] += 0.5 if k < 4 else -0.5
        if k == 8:
            x[i, :, ::4] = 0
    return (x.clip(0, 1) * 255).astype("u1"), y


def sides(train: int = 96, validation: int = 40, classes: int = 9) -> dict:
    return {"train": make(train, 0, classes), "validation": make(validation, 1, classes)}


def network(seed: int = 3):
    """A Keras model of two convolutions and a batch normalisation. Smooth: a last digit that differs stays one.

    (Where the largest value of a map counts, the last digit may decide which one that is.)
    """
    import keras
    from keras import layers

    keras.utils.set_random_seed(seed)
    image = keras.Input((SIDE, SIDE, 4))
    h = layers.Conv2D(8, 5, strides=2, activation="tanh")(image)
    h = layers.BatchNormalization(momentum=0.9)(h)
    h = layers.GlobalAveragePooling2D()(layers.Conv2D(16, 3, strides=2, activation="tanh")(h))
    return keras.Model(image, layers.Dense(9, activation="sigmoid")(h), name="smooth")
