"""Image classifiers: what a chip of a field shows. Known networks of `keras.applications`, and a small one.

    model = images.build("small", size=128)                                   # random weights, minutes on two cores
    model = images.build("resnet50", weights="imagenet", frozen=True)         # transfer learning
    model.predict(chips)                                 # chips (B, S, S, 4) in 0..1 -> (B, 9) shares, each 0..1

A backbone turns the image into a vector of features; a head of one dense layer predicts the classes from them.
Transfer learning takes the backbone's weights from elsewhere, trains the head first and then the backbone, slowly.

**Four channels.** Networks trained on ImageNet know red, green and blue. One more band is added by this rule: the mean
of the three kernels of the first convolution responds to brightness, the rest of each kernel to colour. The colour part
stays with the three bands; the brightness part is divided equally among all C bands, each getting 3 / C of the mean. So
where the near infrared is the mean of red, green and blue, the network gives exactly the same answer as before.

**Batch normalisation.** These networks were trained for days and average their statistics over thousands of steps
(momentum 0.99 to 0.9997). In a training of a few hundred steps such averages do not reach the true values: validation
scores are then like chance while training scores look good. So all are set to 0.9.

Lab: case_fields.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from arsetlib.models import pretrained
from arsetlib.models.card import keras_model
from arsetlib.models.pretrained import HOME
from arsetlib.models.registry import ModelError, check_name, seeded

if TYPE_CHECKING:
    import keras
    import pandas as pd

__all__ = ["BACKBONES", "build", "describe", "freeze", "load", "widen"]

MOMENTUM = 0.9
LEAST = 32  # side of an image, px
MIDDLE, SPREAD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)  # 0..1 to -1..1


@dataclass(frozen=True)
class Backbone:
    """One entry of ``BACKBONES``.

    Attributes:
        application: Its name in ``keras.applications``; None: ours.
        paper: Where it comes from.
        mean, spread: What ImageNet's images were brought to before training, for red, green, blue in 0..1.
        weights: File of the ImageNet weights without classifier, below ``HOME``.
        flipped: Whether those weights expect blue before red.
    """

    application: str | None
    paper: str
    mean: tuple[float, ...] = MIDDLE
    spread: tuple[float, ...] = SPREAD
    weights: str = ""
    flipped: bool = False


# Name → backbone that `build` knows.
BACKBONES = {
    "small": Backbone(None, "four convolutions, for a lab on two cores"),
    "nasnetlarge": Backbone(
        "NASNetLarge",
        "Zoph et al. 2018, Learning transferable architectures, CVPR",
        weights="nasnet/NASNet-large-no-top.h5",
    ),
    "nasnetmobile": Backbone(
        "NASNetMobile",
        "Zoph et al. 2018, Learning transferable architectures, CVPR",
        weights="nasnet/NASNet-mobile-no-top.h5",
    ),
    "resnet50": Backbone(
        "ResNet50",
        "He et al. 2016, Deep residual learning for image recognition, CVPR",
        mean=(123.68 / 255, 116.779 / 255, 103.939 / 255),
        spread=(1 / 255, 1 / 255, 1 / 255),
        weights="resnet/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
        flipped=True,
    ),
    "mobilenetv3": Backbone(
        "MobileNetV3Large",
        "Howard et al. 2019, Searching for MobileNetV3, ICCV",
        weights="mobilenet_v3/weights_mobilenet_v3_large_224_1.0_float_no_top_v2.h5",
    ),
    "efficientnetv2b0": Backbone(
        "EfficientNetV2B0",
        "Tan & Le 2021, EfficientNetV2: smaller models and faster training, ICML",
        mean=(0.485, 0.456, 0.406),
        spread=(0.229, 0.224, 0.225),
        weights="efficientnet_v2/efficientnetv2-b0_notop.h5",
    ),
}
# Parameters of each with 4 channels and 9 classes, as `describe` shows them.
PARAMETERS = {
    "small": 96_841, "nasnetlarge": 84_953_979, "nasnetmobile": 4_279_517, "resnet50": 23_609_289,
    "mobilenetv3": 3_005_145, "efficientnetv2b0": 5_931_129,
}  # fmt: skip


def build(
    name: str,
    *,
    size: int = 224,
    channels: int = 4,
    classes: int = 9,
    head: str = "multi",
    weights: Any = None,
    seed: int = 0,
    frozen: bool = False,
    dropout: float = 0.2,
) -> keras.Model:
    """Build a classifier.

    Args:
        name: Key of ``BACKBONES``: ``"small"``, ``"nasnetlarge"``, ``"nasnetmobile"``, ``"resnet50"``,
            ``"mobilenetv3"`` (Large) or ``"efficientnetv2b0"``.
        size: Side S of the square image, px, 32 or more.
        channels: Bands (C). The first three are red, green and blue; ``"small"`` takes any.
        classes: How many (K).
        head: ``"multi"``: a sigmoid each, several classes may be there at once; ``"single"``: a softmax, one is there.
        weights: Of the backbone. None: random. ``"imagenet"``: those of ``keras.applications``, downloaded once. A
            path: such a file ('notop'), or a saved ``.keras`` model of ours, with 3 channels or as many as this one.
        seed: Of the random weights and of dropout; the same seed gives the same model.
        frozen: Keep the backbone as it is in training, see ``freeze``.
        dropout: Share of the features that a training step leaves out.

    Returns:
        keras.Model: input (B, S, S, C) float32 in 0..1, output (B, K) float32. What the backbone wants of its input is
        done inside. Its parts are the layers ``standardise``, ``backbone`` and ``head``. It is not compiled; it is
        saved as ``.keras`` and loaded in safe mode by ``load``.

    Raises:
        ModelError: No such name or head, sizes that cannot be, weights that are not there or do not fit.

    Lab: case_fields.
    """
    check_name(name, BACKBONES, "image model")
    check_name(head, ("multi", "single"), "head")
    least = 1 if name == "small" else 3
    for noun, value, lowest in (("size", size, LEAST), ("channels", channels, least), ("classes", classes, 1)):
        if isinstance(value, bool) or not hasattr(value, "__index__") or value < lowest:
            raise ModelError(f"Expected {noun} to be a whole number of at least {lowest}, received {value!r}.")
    if head == "single" and classes < 2:
        raise ModelError(f"Expected 2 classes or more for head='single', received {classes}.")
    import keras

    kind = BACKBONES[name]
    with seeded(seed):
        mean, spread = _statistics(kind, channels)
        image = keras.Input((size, size, channels), name="image")  # (B, S, S, C)
        x = keras.layers.Normalization(mean=mean, variance=np.square(spread), name="standardise")(image)
        body = _backbone(kind, (size, size, channels))
        h = body(x)  # (B, F)
        h = keras.layers.Dropout(dropout, name="dropout")(h)
        last = {"activation": "sigmoid" if head == "multi" else "softmax", "dtype": "float32", "name": "head"}
        model = keras.Model(image, keras.layers.Dense(classes, **last)(h), name=name)  # (B, K)
    if weights is not None:
        body.set_weights(_weights(name, kind, body, channels, size, weights))
    return freeze(model, frozen)


def freeze(model: keras.Model, frozen: bool = True) -> keras.Model:
    """Keep the backbone as it is in training, or let it be trained again.

    A frozen backbone's batch normalisation stays in inference mode: it uses the averages that came with the weights
    and does not change them, so the head learns from the features it will see later.

    Returns:
        The model itself.
    """
    _part(model, "backbone").trainable = not frozen
    return model


def load(path: str | Path) -> keras.Model:
    """A model from a ``.keras`` file, in safe mode: no code from the file is run.

    Raises:
        ModelError: No such file, or none that Keras can load safely.
    """
    return keras_model(path)


def describe() -> pd.DataFrame:
    """What there is, as a pandas table: one row a model, parameters with 4 channels and 9 classes."""
    import pandas as pd

    rows = [{"name": k, "parameters": PARAMETERS[k], "paper": b.paper} for k, b in BACKBONES.items()]
    return pd.DataFrame(rows).set_index("name")


def widen(kernel: np.ndarray, channels: int, spread: Any = (1.0, 1.0, 1.0)) -> np.ndarray:
    """A first convolution for red, green and blue made one for more bands, by the rule at the top of this page.

    Args:
        kernel: (h, w, 3, F).
        channels: C, more than 3.
        spread: (3,) by which each band was divided before it; the bands that are new are divided by their mean.

    Returns:
        (h, w, C, F).
    """
    every = _stretched(spread, channels)
    raw = kernel / every[:3, None]  # what the convolution makes of the bands as they were before the division
    grey = raw.mean(axis=2, keepdims=True)
    colour = raw - grey
    shared = grey * (3 / channels)
    raw = np.concatenate([colour + shared, np.repeat(shared, channels - 3, axis=2)], axis=2)
    return (raw * every[:, None]).astype(kernel.dtype)


# Parts


def _backbone(kind: Backbone, shape: tuple[int, int, int]):
    """Image (B, S, S, C), standardised -> features (B, F); random weights."""
    import keras

    if kind.application is None:
        body = _small(shape)
    else:
        maker = getattr(keras.applications, kind.application)
        inside = (
            {"include_preprocessing": False} if kind.application in ("MobileNetV3Large", "EfficientNetV2B0") else {}
        )
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "This model usually expects 1 or 3 input channels")  # that is the point
            body = maker(include_top=False, weights=None, input_shape=shape, pooling="avg", **inside)
    for layer in body.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = MOMENTUM
    body.name = "backbone"
    return body


def _small(shape: tuple[int, int, int]):
    """Four convolutions. It keeps both the mean and the strongest answer of each filter: an anomaly may be small."""
    import keras
    from keras import layers

    image = keras.Input(shape)  # (B, S, S, C)
    h = image
    for filters, stride in ((24, 2), (48, 2), (64, 2), (96, 1)):
        h = layers.Conv2D(filters, 3, strides=stride, padding="same", use_bias=False)(h)
        h = layers.BatchNormalization()(h)
        h = layers.ReLU()(h)  # (B, S/2, S/2, 24) … (B, S/8, S/8, 96)
    mean, most = layers.GlobalAveragePooling2D()(h), layers.GlobalMaxPooling2D()(h)
    return keras.Model(image, layers.Concatenate()([mean, most]))  # (B, 192)


def _statistics(kind: Backbone, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """(C,) mean and (C,) spread; bands beyond the third get the means of the three."""
    return _stretched(kind.mean, channels), _stretched(kind.spread, channels)


def _stretched(values, channels: int) -> np.ndarray:
    values = np.asarray(values, float)
    return np.concatenate([values, np.full(max(channels - 3, 0), values.mean())])[:channels]


def _part(model, name: str):
    try:
        return model.get_layer(name)
    except ValueError:
        names = ", ".join(layer.name for layer in model.layers)
        raise ModelError(
            f"Expected a model with a layer called {name!r}, as models.images.build makes it, received {names}."
        ) from None


# Weights from elsewhere


def _weights(name: str, kind: Backbone, body, channels: int, size: int, weights) -> list[np.ndarray]:
    """The backbone's weights, its first convolution widened where they know three bands only."""
    donor, flipped = _donor(name, kind, size, weights)
    values, expected = donor.get_weights(), [tuple(w.shape) for w in body.weights]
    first = next((i for i, value in enumerate(values) if value.ndim == 4), None)
    if first is not None and flipped:
        values[first] = values[first][:, :, ::-1]
    if first is not None and values[first].shape[2] == 3 < channels:
        values[first] = widen(values[first], channels, kind.spread)
    shapes = [value.shape for value in values]
    if shapes != expected:
        pairs = enumerate(zip(shapes, expected, strict=False), start=1)
        differ = (f"weight {i} is {one}, expected {other}" for i, (one, other) in pairs if one != other)
        there = next(differ, f"it has {len(shapes)} weights, expected {len(expected)}")
        raise ModelError(
            f"{weights} does not fit the {name} with {channels} channels: {there}. Take weights of the same network, "
            f"with 3 channels or {channels}."
        )
    return values


def _donor(name: str, kind: Backbone, size: int, weights):
    """The backbone to copy, and whether it expects blue before red."""
    if str(weights) == "imagenet":
        weights = _fetched(name, kind)
    path = pretrained.check_file(weights)
    if path.suffix == ".keras":
        return _part(load(path), "backbone"), False
    return pretrained.load_weights(_backbone(kind, (size, size, 3)), name, path), kind.flipped


def _fetched(name: str, kind: Backbone) -> Path:
    """The file of the ImageNet weights."""
    if not kind.weights:
        raise ModelError(f"There are no ImageNet weights of the model {name!r}; it is ours. Take weights=None.")
    return pretrained.fetch(name, f"{HOME}/{kind.weights}")
