"""Image classifiers: what a chip of a field shows. Known networks of `keras.applications`, and a small one.

    model = images.build("small", size=128)                                   # random weights, minutes on two cores
    model = images.build("resnet50", weights="imagenet", frozen=True)         # transfer learning
    model.predict(chips)                                 # chips (B, S, S, 4) in 0..1 -> (B, 9) shares, each 0..1

A backbone looks at the image and gives a vector of features; a head of one dense layer says from them what is there.
Transfer learning takes the backbone's weights from elsewhere, trains the head first and bends the backbone after.

**Four channels.** Networks trained on ImageNet know red, green and blue. A band more is taken in by this rule: the
mean of the three kernels of the first convolution is what the network makes of brightness, what is left of each is
what it makes of colour. Colour stays with the three; brightness is shared evenly by all C bands, each getting 3 / C of
the mean. So where the near infrared is the mean of red, green and blue, the network answers exactly as it did.

**Batch normalisation.** These networks were trained for days and average their statistics over thousands of steps
(momentum 0.99 to 0.9997). In a training of a few hundred steps such averages never arrive, and validation looks at
chance while training looks fine; so all are set to 0.9.

Lab: case_fields.
"""

from __future__ import annotations

import difflib
import random
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from arsetlib.errors import ArsetError
from arsetlib.models.card import first_line, keras_model

__all__ = ["BACKBONES", "ImageModelError", "build", "describe", "freeze", "load", "widen"]

HOME = "https://storage.googleapis.com/tensorflow/keras-applications"
MOMENTUM = 0.9
LEAST = 32  # side of an image, px
MIDDLE, SPREAD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)  # 0..1 to -1..1


class ImageModelError(ArsetError, ValueError):
    """A model that cannot be built, or weights that do not fit it; the message tells what to do."""


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
    weights=None,
    seed: int = 0,
    frozen: bool = False,
    dropout: float = 0.2,
):
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
        ImageModelError: No such name or head, sizes that cannot be, weights that are not there or do not fit.

    Lab: case_fields.
    """
    _known(name, BACKBONES, "image model")
    _known(head, ("multi", "single"), "head")
    least = 1 if name == "small" else 3
    for noun, value, lowest in (("size", size, LEAST), ("channels", channels, least), ("classes", classes, 1)):
        if isinstance(value, bool) or not hasattr(value, "__index__") or value < lowest:
            raise ImageModelError(f"Expected {noun} to be a whole number of at least {lowest}, received {value!r}.")
    if head == "single" and classes < 2:
        raise ImageModelError(f"Expected 2 classes or more for head='single', received {classes}.")
    import keras

    kind = BACKBONES[name]
    state = random.getstate()
    random.seed(seed)  # Keras draws the seed of each layer from here
    try:
        mean, spread = _statistics(kind, channels)
        image = keras.Input((size, size, channels), name="image")  # (B, S, S, C)
        x = keras.layers.Normalization(mean=mean, variance=np.square(spread), name="standardise")(image)
        body = _backbone(kind, (size, size, channels))
        h = body(x)  # (B, F)
        h = keras.layers.Dropout(dropout, name="dropout")(h)
        last = {"activation": "sigmoid" if head == "multi" else "softmax", "dtype": "float32", "name": "head"}
        model = keras.Model(image, keras.layers.Dense(classes, **last)(h), name=name)  # (B, K)
    finally:
        random.setstate(state)
    if weights is not None:
        body.set_weights(_weights(name, kind, body, channels, size, weights))
    return freeze(model, frozen)


def freeze(model, frozen: bool = True):
    """Keep the backbone as it is in training, or let it be trained again.

    A frozen backbone's batch normalisation stays in inference mode: it uses the averages that came with the weights
    and does not change them, so the head learns from the features it will see later.

    Returns:
        The model itself.
    """
    _part(model, "backbone").trainable = not frozen
    return model


def load(path: str | Path):
    """A model from a ``.keras`` file, in safe mode: no code from the file is run.

    Raises:
        ImageModelError: No such file, or none that Keras can load safely.
    """
    return keras_model(path, ImageModelError)


def describe():
    """What there is, as a pandas table: one row a model, parameters with 4 channels and 9 classes."""
    import pandas as pd

    rows = [{"name": k, "parameters": PARAMETERS[k], "paper": b.paper} for k, b in BACKBONES.items()]
    return pd.DataFrame(rows).set_index("name")


def widen(kernel: np.ndarray, channels: int, spread=(1.0, 1.0, 1.0)) -> np.ndarray:
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
        raise ImageModelError(
            f"Expected a model with a layer called {name!r}, as models.images.build makes it, received {names}."
        ) from None


# Weights from elsewhere


def _weights(name: str, kind: Backbone, body, channels: int, size: int, weights) -> list[np.ndarray]:
    """The backbone's weights, its first convolution widened where they know three bands only."""
    donor, flipped = _donor(name, kind, size, weights)
    values, wanted = donor.get_weights(), [tuple(w.shape) for w in body.weights]
    first = next((i for i, value in enumerate(values) if value.ndim == 4), None)
    if first is not None and flipped:
        values[first] = values[first][:, :, ::-1]
    if first is not None and values[first].shape[2] == 3 < channels:
        values[first] = widen(values[first], channels, kind.spread)
    found = [value.shape for value in values]
    if found != wanted:
        at = next((i for i, pair in enumerate(zip(found, wanted, strict=False)) if pair[0] != pair[1]), len(wanted))
        there = f"weight {at + 1} is {found[at]}, expected {wanted[at]}" if at < min(len(found), len(wanted)) else (
            f"it has {len(found)} weights, expected {len(wanted)}"
        )  # fmt: skip
        raise ImageModelError(
            f"{weights} does not fit the {name} with {channels} channels: {there}. Take weights of the same network, "
            f"with 3 channels or {channels}."
        )
    return values


def _donor(name: str, kind: Backbone, size: int, weights):
    """The backbone to copy, and whether it expects blue before red."""
    if str(weights) == "imagenet":
        weights = _fetched(name, kind)
    path = Path(weights)
    if not path.is_file():
        raise ImageModelError(f"There is no file of weights {path}. Expected None, 'imagenet' or a file.")
    if path.suffix == ".keras":
        return _part(load(path), "backbone"), False
    donor = _backbone(kind, (size, size, 3))
    try:
        donor.load_weights(path)
    except (ValueError, OSError, KeyError, TypeError) as problem:
        raise ImageModelError(
            f"{path} does not hold weights of a {name} without its classifier ('notop'), nor a model of Keras. Keras "
            f"says: {first_line(problem)}"
        ) from problem
    return donor, kind.flipped


def _fetched(name: str, kind: Backbone) -> Path:
    """The file of the ImageNet weights, downloaded once into Keras' own folder."""
    import keras

    if not kind.weights:
        raise ImageModelError(f"There are no ImageNet weights of the model {name!r}; it is ours. Take weights=None.")
    address = f"{HOME}/{kind.weights}"
    try:
        return Path(keras.utils.get_file(address.rsplit("/", 1)[1], address, cache_subdir="models"))
    except Exception as problem:  # Keras raises a bare Exception where the network fails
        raise ImageModelError(
            f"The ImageNet weights of the {name} could not be fetched ({type(problem).__name__}). With no network: "
            f"download {address} elsewhere and put it into ~/.keras/models, or name the file with weights='PATH'; "
            "weights=None starts from random ones."
        ) from problem


def _known(name, names, noun: str) -> None:
    if name in names:
        return
    near = difflib.get_close_matches(str(name).lower().replace("-", "").replace("_", ""), list(names), 1, 0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ImageModelError(f"There is no {noun} {name!r}. There are: {', '.join(names)}.{hint}")
