"""Segmentation models: a class for each pixel. FCN-8, U-Net, SegNet and PSPNet on VGG-16, ResNet-50 or MobileNet.

    model = segmentation.build("unet", encoder="mobilenet", size=224, classes=3)
    model.predict(images)                       # images (B, 224, 224, 3) in 0..1 -> (B, 224, 224, 3) class shares

An encoder of `keras.applications` computes features in five stages, each half as large as the one before; a decoder
brings them back to the size of the image. The four architectures are four kinds of decoder.

Why our own: `segmodels-keras` 0.1.0.dev13, the maintained successor of `segmentation-models`, has no FCN-8 and no
SegNet, its PSPNet takes multiples of 48 only (neither 224 nor 512), its inputs must be prepared outside the model, and
it is a development release. It would save only a U-Net decoder of twenty lines.

Lab: case_groves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from arsetlib.models.registry import ModelError, check_name, seeded

if TYPE_CHECKING:
    import keras
    import pandas as pd

__all__ = ["ARCHITECTURES", "ENCODERS", "SLIM", "build", "describe", "load"]

# Name of an architecture → its paper.
ARCHITECTURES = {
    "fcn8": "Long, Shelhamer & Darrell 2015, Fully convolutional networks for semantic segmentation, CVPR",
    "unet": "Ronneberger, Fischer & Brox 2015, U-Net: convolutional networks for biomedical image segmentation, MICCAI",
    "segnet": "Badrinarayanan, Kendall & Cipolla 2017, SegNet, IEEE TPAMI 39(12)",
    "pspnet": "Zhao et al. 2017, Pyramid scene parsing network, CVPR",
}
# Name of an encoder → its paper.
ENCODERS = {
    "vgg16": "Simonyan & Zisserman 2015, Very deep convolutional networks for large-scale image recognition, ICLR",
    "resnet50": "He et al. 2016, Deep residual learning for image recognition, CVPR",
    "mobilenet": "Howard et al. 2017, MobileNets, arXiv:1704.04861",
}
# Options of a U-Net or SegNet on MobileNet that learns in minutes on two cores, from random weights.
SLIM = {"alpha": 0.25, "filters": (64, 48, 32, 16)}
MULTIPLE = 32  # an encoder halves the image five times


def build(
    name: str,
    *,
    encoder: str = "mobilenet",
    size: int | tuple[int, int] = 224,
    channels: int = 3,
    classes: int = 3,
    weights: Any = None,
    seed: int = 0,
    **options: object,
) -> keras.Model:
    """Build a segmentation model.

    Args:
        name: ``"fcn8"``, ``"unet"``, ``"segnet"`` or ``"pspnet"``.
        encoder: ``"vgg16"``, ``"resnet50"`` or ``"mobilenet"``.
        size: Side of the square input, or (height, width), px; multiples of 32.
        channels: Bands of the image (C). The first three are red, green and blue.
        classes: How many (K).
        weights: Of the encoder. None: random. ``"imagenet"``: those of ``keras.applications``, downloaded once. A path:
            a file of such weights ('notop'), or a saved ``.keras`` model of ours. A model of ours, or what holds one as
            ``.model``: its encoder, so that what was learnt at one size starts another. Where there are more than
            three channels, the first convolution starts each further band from the mean of the filters of red, green
            and blue, and all are scaled by 3 / C so that its answers keep their size; other layers fit as they are.
        seed: Of the random weights; the same seed gives the same model.
        options: Of the architecture: ``filters`` (of the decoder, from the coarsest step; U-Net, SegNet), ``separable``
            (U-Net, SegNet; on MobileNet the decoder is separable like its encoder unless False), ``dense`` (width of
            FCN-8's two wide layers, 4096), ``bins`` (of PSPNet's pyramid). Of MobileNet: ``alpha``, its width.

    Returns:
        keras.Model: input (B, H, W, C) float32 in 0..1, output (B, H, W, K) float32, the softmax over the classes at
        full resolution. What the encoder wants of its input is done inside the model. It is saved as ``.keras`` and
        loaded in safe mode by ``segmentation.load``.

    Raises:
        ModelError: No such name, size no multiple of 32, weights that are not there or do not fit.

    Lab: case_groves.
    """
    check_name(name, ARCHITECTURES, "architecture")
    check_name(encoder, ENCODERS, "encoder")
    height, width = sides(size)
    if channels < 3:
        raise ModelError(
            f"Expected 3 channels (red, green, blue) or more, received {channels}. Repeat a single band three times."
        )
    if classes < 2:
        raise ModelError(f"Expected 2 classes or more, received {classes}; the background is one of them.")

    from arsetlib.models.segmentation import decoders, encoders

    with seeded(seed):
        model = decoders.build(name, encoder, (height, width, channels), classes, options)
    if weights is not None:
        encoders.set_weights(model, encoder, channels, weights, options.get("alpha", 1.0))
    return model


def load(path: Any) -> keras.Model:
    """A model from a ``.keras`` file, in safe mode: no code from the file is run.

    Raises:
        ModelError: No such file, or none that Keras can load safely.
    """
    from arsetlib.models.card import keras_model
    from arsetlib.models.segmentation import decoders  # noqa: F401 (registers our layers)

    return keras_model(path)


def describe() -> pd.DataFrame:
    """A table of the registry: one row for each architecture and encoder, with their papers."""
    import pandas as pd

    rows = [
        {"architecture": name, "encoder": encoder, "paper": paper, "encoder_paper": ENCODERS[encoder]}
        for name, paper in ARCHITECTURES.items()
        for encoder in ENCODERS
    ]
    return pd.DataFrame(rows).set_index(["architecture", "encoder"])


def sides(size: int | tuple[int, int]) -> tuple[int, int]:
    """Height and width, px, that an encoder can halve five times."""
    height, width = (size, size) if isinstance(size, int) else map(int, size)
    for side in (height, width):
        if side < MULTIPLE or side % MULTIPLE:
            lower = max(MULTIPLE, side // MULTIPLE * MULTIPLE)
            raise ModelError(
                f"Expected a size that is a multiple of {MULTIPLE}, received {side}: the encoder halves the image five "
                f"times. The nearest are {lower} and {lower + MULTIPLE}."
            )
    return height, width
