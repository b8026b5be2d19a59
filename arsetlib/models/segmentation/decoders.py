"""Four decoders: from the stages of an encoder to a class for each pixel.

All end at the size of the image with a softmax; the last upsampling is bilinear where the stage below is at half size.

Lab: case_groves.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from arsetlib.models.registry import ModelError
from arsetlib.models.segmentation import encoders

# Of the running means that batch normalisation predicts with. Keras' 0.99 needs about 500 steps to forget its start:
# after a short training the scores of the validation would be random.
MOMENTUM = 0.9
FILTERS = (512, 256, 128, 64)  # of U-Net's and SegNet's decoder, coarsest first: the thesis's


def build(name: str, encoder: str, shape: tuple[int, int, int], classes: int, options: dict) -> Any:
    """The model; see ``segmentation.build``."""
    options = dict(options)
    of_encoder = {"alpha": options.pop("alpha")} if encoder == "mobilenet" and "alpha" in options else {}
    if name in ("unet", "segnet"):
        options.setdefault("separable", encoder == "mobilenet")
    allowed = {
        "fcn8": {"dense"},
        "unet": {"filters", "separable"},
        "segnet": {"filters", "separable"},
        "pspnet": {"bins", "filters"},
    }
    if odd := set(options) - allowed[name]:
        raise ModelError(
            f"{name} on {encoder} has no option {', '.join(sorted(odd))}. It has: "
            f"{', '.join(sorted(allowed[name] | ({'alpha'} if encoder == 'mobilenet' else set())))}."
        )
    image, features = encoders.stages(encoder, shape, **of_encoder)
    scores = {"fcn8": fcn8, "unet": unet, "segnet": segnet, "pspnet": pspnet}[name](features, classes, **options)
    if scores.shape[1] != shape[0]:
        scores = Resize(*shape[:2], name="full_size")(scores)  # (B, H, W, K)
    shares = layers.Softmax(dtype="float32", name="shares")(scores)  # (B, H, W, K)
    model = keras.Model(image, shares, name=f"{encoder}_{name}")
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = MOMENTUM
    return model


def unet(features: Any, classes: int, filters: Any = FILTERS, separable: bool = False) -> Any:
    """U-Net: at each upsampling the encoder's features of that size are concatenated with those from below.

    As in the thesis: one convolution for each size, from 1/16, the last at 1/2. (The paper has two and goes to full
    size.) Unlike the thesis's library, each convolution is followed by a ReLU, as in the paper: without one the decoder
    is a linear map.

    Args:
        features: The five stages; the last is not used.
        classes: K.
        filters: Of the steps at 1/16, 1/8, 1/4 and 1/2.
        separable: Depthwise-separable convolutions, as MobileNet's own: an eighth of the work.

    Returns:
        (B, H/2, W/2, K) scores.
    """
    half, quarter, eighth, sixteenth, _ = features
    x = convolve(sixteenth, filters[0], "decoder1", separable)  # (B, H/16, W/16, 512)
    for step, (skip, width) in enumerate(zip((eighth, quarter, half), filters[1:], strict=True), start=2):
        x = layers.UpSampling2D(2, name=f"decoder{step}_up")(x)
        x = layers.Concatenate(name=f"decoder{step}_skip")([x, skip])
        x = convolve(x, width, f"decoder{step}", separable)  # (B, H/8.., W/8.., 256..)
    return layers.Conv2D(classes, 3, padding="same", name="scores")(x)


def segnet(features: Any, classes: int, filters: Any = FILTERS, separable: bool = False) -> Any:
    """SegNet: upsampling without connections from the encoder.

    The paper's unpooling puts each value back where the encoder's maximum was. Only VGG-16 has such maxima (ResNet-50
    and MobileNet stride), so, like the thesis's library, this one repeats values instead. It is a U-Net without
    skips; the comparison of both shows what the skips contribute.

    Returns:
        (B, H/2, W/2, K) scores.
    """
    x = convolve(features[3], filters[0], "decoder1", separable)  # (B, H/16, W/16, 512)
    for step, width in enumerate(filters[1:], start=2):
        x = layers.UpSampling2D(2, name=f"decoder{step}_up")(x)
        x = convolve(x, width, f"decoder{step}", separable)
    return layers.Conv2D(classes, 3, padding="same", name="scores")(x)


def fcn8(features: Any, classes: int, dense: int = 4096) -> Any:
    """FCN-8: a classifier applied at every position, its scores added to those of two finer stages.

    Args:
        features: The five stages.
        classes: K.
        dense: Width of the two layers that were VGG's dense ones. 4096 makes most of the model: 103 of 134 million
            parameters with VGG-16.

    Returns:
        (B, H, W, K) scores. Upsampling is by transposed convolutions that start as bilinear ones, as in the paper.
    """
    x = layers.Conv2D(dense, 7, padding="same", activation="relu", name="dense1")(features[4])  # (B, H/32, W/32, 4096)
    x = layers.Dropout(0.5, name="dense1_dropout")(x)
    x = layers.Conv2D(dense, 1, activation="relu", name="dense2")(x)
    x = layers.Dropout(0.5, name="dense2_dropout")(x)
    x = layers.Conv2D(classes, 1, name="scores32")(x)  # (B, H/32, W/32, K)
    for stage, at in ((features[3], 16), (features[2], 8)):
        x = step_up(classes, 2, f"up{at}")(x)
        x = layers.Add(name=f"sum{at}")([x, layers.Conv2D(classes, 1, name=f"scores{at}")(stage)])
    return step_up(classes, 8, "up1")(x)  # (B, H, W, K)


def pspnet(features: Any, classes: int, bins: Any = (1, 2, 3, 6), filters: int = 512) -> Any:
    """PSPNet: each pixel also gets the mean features of the whole image and of its halves, thirds and sixths.

    The paper dilates the last two stages of a ResNet so that they stay at 1/8. Those of ``keras.applications`` do
    not, so the pyramid uses the stage at 1/8. Its parts need not divide it: any multiple of 32 is possible.

    Returns:
        (B, H/8, W/8, K) scores.
    """
    x = features[2]  # (B, H/8, W/8, C)
    height, width = x.shape[1:3]
    parts = [x]
    for n in bins:
        part = PyramidPool(n, name=f"pool{n}")(x)  # (B, n, n, C)
        part = convolve(part, max(1, filters // len(bins)), f"pool{n}", kernel=1)
        parts.append(Resize(height, width, name=f"pool{n}_up")(part))
    x = layers.Concatenate(name="pyramid")(parts)
    x = convolve(x, filters, "decoder")  # (B, H/8, W/8, 512)
    x = layers.Dropout(0.1, name="decoder_dropout")(x)
    return layers.Conv2D(classes, 1, name="scores")(x)


def convolve(x: Any, filters: int, name: str, separable: bool = False, kernel: int = 3) -> Any:
    """Convolution, batch normalisation, ReLU."""
    if separable:
        x = layers.DepthwiseConv2D(kernel, padding="same", use_bias=False, name=f"{name}_dw")(x)
        x = layers.Conv2D(filters, 1, use_bias=False, name=f"{name}_conv")(x)
    else:
        x = layers.Conv2D(filters, kernel, padding="same", use_bias=False, name=f"{name}_conv")(x)
    x = layers.BatchNormalization(name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def step_up(classes: int, factor: int, name: str) -> Any:
    return layers.Conv2DTranspose(
        classes, 2 * factor, factor, padding="same", use_bias=False, kernel_initializer=Bilinear(), name=name
    )


@keras.saving.register_keras_serializable(package="arsetlib")
class Bilinear(keras.initializers.Initializer):
    """Starts a transposed convolution of stride s and kernel 2 s as bilinear interpolation of each class by itself."""

    def __call__(self, shape: Any, dtype: str | None = None) -> Any:
        side, classes = shape[0], shape[2]
        factor = (side + 1) // 2
        ramp = 1 - np.abs(np.arange(side) - (side - 1) / 2) / factor
        kernel = np.zeros(shape, np.float32)
        kernel[:, :, range(classes), range(classes)] = np.outer(ramp, ramp)[:, :, None]
        return ops.convert_to_tensor(kernel, dtype or "float32")

    def get_config(self) -> dict:
        return {}


@keras.saving.register_keras_serializable(package="arsetlib")
class Resize(layers.Layer):
    """Bilinear, to (height, width)."""

    def __init__(self, height: int, width: int, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.height, self.width = height, width

    def call(self, x: Any) -> Any:
        return ops.image.resize(x, (self.height, self.width), interpolation="bilinear")

    def compute_output_shape(self, shape: Any) -> tuple:
        return (shape[0], self.height, self.width, shape[3])

    def get_config(self) -> dict:
        return super().get_config() | {"height": self.height, "width": self.width}


@keras.saving.register_keras_serializable(package="arsetlib")
class PyramidPool(layers.Layer):
    """Means of n × n parts of the image, whatever its size: (B, H, W, C) → (B, n, n, C).

    Part i of a side of length L goes from ⌊i L / n⌋ to ⌈(i + 1) L / n⌉: parts cover the side, and neighbours share a
    pixel at most.
    """

    def __init__(self, n: int, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.n = n

    def call(self, x: Any) -> Any:
        rows, columns = (ops.convert_to_tensor(parts(side, self.n), x.dtype) for side in x.shape[1:3])
        x = ops.einsum("ih,bhwc->biwc", rows, x)
        return ops.einsum("jw,biwc->bijc", columns, x)

    def compute_output_shape(self, shape: Any) -> tuple:
        return (shape[0], self.n, self.n, shape[3])

    def get_config(self) -> dict:
        return super().get_config() | {"n": self.n}


def parts(side: int, n: int) -> np.ndarray:
    """(n, side) float32: each row takes the mean of one part of the side."""
    at = np.arange(side)
    low, high = np.arange(n) * side // n, -(-np.arange(1, n + 1) * side // n)
    inside = (at >= low[:, None]) & (at < high[:, None])
    return (inside / inside.sum(axis=1, keepdims=True)).astype(np.float32)
