"""The encoders of `keras.applications`, as five stages, and their weights.

    stage   VGG-16        ResNet-50           MobileNet        at 224
    1/2     block1_pool   conv1_relu          conv_pw_1_relu   112 × 112
    1/4     block2_pool   conv2_block3_out    conv_pw_3_relu   56 × 56
    1/8     block3_pool   conv3_block4_out    conv_pw_5_relu   28 × 28
    1/16    block4_pool   conv4_block6_out    conv_pw_11_relu  14 × 14
    1/32    block5_pool   conv5_block3_out    conv_pw_13_relu  7 × 7

Lab: case_groves.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from arsetlib.models import pretrained
from arsetlib.models.card import keras_model
from arsetlib.models.pretrained import HOME
from arsetlib.models.registry import ModelError

STAGES = {
    "vgg16": ("block1_pool", "block2_pool", "block3_pool", "block4_pool", "block5_pool"),
    "resnet50": ("conv1_relu", "conv2_block3_out", "conv3_block4_out", "conv4_block6_out", "conv5_block3_out"),
    "mobilenet": ("conv_pw_1_relu", "conv_pw_3_relu", "conv_pw_5_relu", "conv_pw_11_relu", "conv_pw_13_relu"),
}
STYLES = {"vgg16": "caffe", "resnet50": "caffe", "mobilenet": "tf"}
# encoder: (address of the ImageNet weights without the classifier, its md5 where Keras names one)
IMAGENET = {
    "vgg16": (f"{HOME}/vgg16/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5", "6d6bbae143d832006294945121d1f1fc"),
    "resnet50": (
        f"{HOME}/resnet/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "4d473c1dd8becc155b73f8504c6f6626",
    ),
    "mobilenet": (f"{HOME}/mobilenet/mobilenet_1_0_224_tf_no_top.h5", None),
}
BGR_MEAN = (103.939, 116.779, 123.68)


@keras.saving.register_keras_serializable(package="arsetlib")
class Standardise(keras.layers.Layer):
    """From 0..1 to what an encoder was trained on, inside the model, so that no caller can forget it.

    ``"tf"`` (MobileNet): −1..1. ``"caffe"`` (VGG-16, ResNet-50): 0..255, blue before red, less the mean of ImageNet;
    bands after the first three less the mean of those means.
    """

    def __init__(self, style: str, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.style = style

    def call(self, x: Any) -> Any:
        if self.style == "tf":
            return x * 2.0 - 1.0
        mean = BGR_MEAN + (float(np.mean(BGR_MEAN)),) * (x.shape[-1] - 3)
        order = ops.concatenate([x[..., 2:3], x[..., 1:2], x[..., 0:1], x[..., 3:]], axis=-1)
        return order * 255.0 - ops.convert_to_tensor(mean, x.dtype)

    def compute_output_shape(self, shape: Any) -> tuple:
        return shape

    def get_config(self) -> dict:
        return super().get_config() | {"style": self.style}


def stages(encoder: str, shape: tuple[int, int, int], **options: object) -> Any:
    """The image and the five stages of an encoder with random weights.

    Args:
        encoder: Key of ``STAGES``.
        shape: (H, W, C) of the image.
        options: For ``keras.applications``: ``alpha`` of MobileNet.

    Returns:
        (image, [1/2, 1/4, 1/8, 1/16, 1/32]), Keras tensors.
    """
    image = keras.Input(shape, name="image")
    model = application(encoder, shape, input_tensor=Standardise(STYLES[encoder], name="standardise")(image), **options)
    return image, [model.get_layer(name).output for name in STAGES[encoder]]


def application(encoder: str, shape: tuple[int, int, int], **options: object) -> Any:
    """The model of ``keras.applications`` without its classifier, random weights."""
    maker = {
        "vgg16": keras.applications.VGG16,
        "resnet50": keras.applications.ResNet50,
        "mobilenet": keras.applications.MobileNet,
    }[encoder]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "This model usually expects 1 or 3 input channels")  # that is the point
        return maker(include_top=False, weights=None, input_shape=shape, **options)


def set_weights(model: Any, encoder: str, channels: int, weights: Any, alpha: float = 1.0) -> list[str]:
    """Start the encoder of ``model`` from weights; see ``segmentation.build``.

    Returns:
        Names of the layers that were set.
    """
    donor = source(encoder, weights, alpha)
    theirs = {layer.name: layer for layer in donor.layers}
    copied = []
    for layer in layers_of(encoder, model):
        values = theirs[layer.name].get_weights() if layer.name in theirs else []
        shapes = [tuple(w.shape) for w in layer.weights]
        three = bool(values) and values[0].ndim == len(shapes[0]) == 4 and values[0].shape[2] == 3
        if three and 3 < shapes[0][2] == channels:
            values[0] = widen(values[0], channels)
        if not values or [v.shape for v in values] != shapes:
            raise ModelError(
                f"The weights do not fit layer {layer.name!r} of the {encoder}: expected {shapes}, received "
                f"{[v.shape for v in values] or 'none'}. Take those of the same encoder, with as many channels or 3."
            )
        layer.set_weights(values)
        copied.append(layer.name)
    return copied


def layers_of(encoder: str, model: Any) -> list:
    """The layers of ``model`` that are its encoder's and have weights."""
    prefix = {"vgg16": ("block",), "resnet50": ("conv",), "mobilenet": ("conv",)}[encoder]
    return [layer for layer in model.layers if layer.weights and layer.name.startswith(prefix)]


def widen(kernel: np.ndarray, channels: int) -> np.ndarray:
    """A first convolution for three bands made one for more: (h, w, 3, F) → (h, w, C, F)."""
    more = np.repeat(kernel.mean(axis=2, keepdims=True), channels - 3, axis=2)
    return np.concatenate([kernel, more], axis=2) * (3 / channels)


def source(encoder: str, weights: Any, alpha: float) -> Any:
    """The model whose encoder is to be copied."""
    if hasattr(weights, "layers"):
        return weights
    if hasattr(weights, "model"):
        return weights.model
    path = pretrained.check_file(_fetched(encoder, alpha) if str(weights) == "imagenet" else weights)
    if path.suffix == ".keras":
        return keras_model(path)
    donor = application(encoder, (224, 224, 3), **({"alpha": alpha} if encoder == "mobilenet" else {}))
    return pretrained.load_weights(donor, encoder, path)


def _fetched(encoder: str, alpha: float = 1.0) -> Path:
    """The file of the ImageNet weights."""
    if alpha != 1.0:
        raise ModelError(f"ImageNet weights are offered for alpha = 1 only, received {alpha}.")
    return pretrained.fetch(encoder, *IMAGENET[encoder])
