"""Case study A against the thesis's own library, keras-segmentation: mapping a capture, a training step, feeding tiles.

Both sides have random weights (a figure of speed does not depend on them) and a MobileNet U-Net at 224. A figure named
`same_network` gives ours the decoder of theirs, layer by layer: what the code around the network is worth. One named
`separable_decoder` has ours as `segmentation.build` makes it, with an eighth of the work in the decoder: what a user
gains by changing over. Theirs is called as the thesis did: one `predict` a tile. Both map a capture as 35 tiles that do
not overlap, save where the name says blended. Needs arsetlib[train,images,keras-segmentation].
"""

import itertools
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import sys

import measure
import numpy as np

from arsetlib import groves
from arsetlib.groves import prediction
from arsetlib.models import keras_segmentation, segmentation

CAPTURE, GRID, SIZE = (2912, 3808), (5, 7), 224
SHRINK = CAPTURE[0] / GRID[0] / SIZE  # capture pixels per model pixel at which 5 × 7 tiles cover the capture
BATCH = 8


def a_capture(size=CAPTURE) -> np.ndarray:
    """(H, W, 3) uint8 of noise at several scales."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (*(-(-n // 16) for n in size), 3), dtype=np.uint8)
    return np.ascontiguousarray(coarse.repeat(16, 0).repeat(16, 1)[: size[0], : size[1]])


def tile_by_tile(model, capture: np.ndarray) -> np.ndarray:
    """A map as the thesis made it: 35 tiles, each handed to `predict_segmentation`, laid side by side."""
    import cv2

    mask = np.zeros(capture.shape[:2], np.uint8)
    rows, columns = (np.linspace(0, n, k + 1).astype(int) for n, k in zip(mask.shape, GRID, strict=True))
    for top, bottom in itertools.pairwise(rows):
        for left, right in itertools.pairwise(columns):
            got = model.predict_segmentation(inp=np.ascontiguousarray(capture[top:bottom, left:right]))
            got = cv2.resize(got.astype(np.uint8), (right - left, bottom - top), interpolation=cv2.INTER_NEAREST)
            mask[top:bottom, left:right] = got
    return mask


def mapping(figures: measure.Figures, theirs, quick: bool) -> None:
    """Seconds for a whole capture."""
    capture = a_capture()
    ours = groves.Segmenter(segmentation.build("unet", encoder="mobilenet", size=SIZE), shrink=SHRINK)
    wide = segmentation.build("unet", encoder="mobilenet", size=SIZE, separable=False)
    same = groves.Segmenter(wide, shrink=SHRINK)
    sides = {
        "keras_segmentation": lambda: tile_by_tile(theirs, capture),
        "same_network": lambda: prediction.mapped(same, capture, overlap=0),
        "separable_decoder": lambda: prediction.mapped(ours, capture, overlap=0),
    }
    if not quick:
        sides["separable_decoder_blended"] = lambda: prediction.mapped(ours, capture, overlap=0.25)
    seconds = measure.sides(sides, 1 if quick else 5)
    for name in list(sides)[1:]:
        value = seconds["keras_segmentation"] / seconds[name]
        pair = {side: seconds[side] for side in (name, "keras_segmentation")}
        figures.add(f"capture_mapped_{name}", value, 3 if name == "separable_decoder" else None, "x", pair)


def training(figures: measure.Figures, theirs, quick: bool) -> None:
    """Seconds of a training step of 8 tiles: adadelta and cross-entropy, masks at the size each model answers at."""
    rng = np.random.default_rng(1)
    x = rng.random((BATCH, SIZE, SIZE, 3), dtype=np.float32)
    mask = rng.integers(0, 3, (BATCH, SIZE, SIZE))
    one_hot = np.eye(3, dtype=np.float32)
    half = one_hot[mask[:, ::2, ::2]].reshape(BATCH, -1, 3)
    models = {
        "keras_segmentation": (theirs, x * 255 - 120, half),
        "same_network": (segmentation.build("unet", encoder="mobilenet", size=SIZE, separable=False), x, one_hot[mask]),
        "separable_decoder": (segmentation.build("unet", encoder="mobilenet", size=SIZE), x, one_hot[mask]),
    }

    def step(model, tiles, masks):
        model.compile(optimizer="adadelta", loss="categorical_crossentropy", metrics=["accuracy"])
        return lambda: model.train_on_batch(tiles, masks)

    seconds = measure.sides({name: step(*given) for name, given in models.items()}, 2 if quick else 7)
    for name in list(models)[1:]:
        value = seconds["keras_segmentation"] / seconds[name]
        pair = {side: seconds[side] for side in (name, "keras_segmentation")}
        figures.add(f"training_step_{name}", value, 1 if name == "separable_decoder" else None, "x", pair)


def costs(figures: measure.Figures) -> None:
    """Bytes and seconds of our models, for the book's table beside the thesis's."""
    for encoder, name, size in (("mobilenet", "unet", 224), ("vgg16", "unet", 224), ("resnet50", "unet", 224)):
        cost = groves.cost(groves.Segmenter(segmentation.build(name, encoder=encoder, size=size)), repeats=2)
        figures.add(f"seconds_per_capture_{encoder}_{name}_{size}", cost["seconds_per_capture"], None, "s", cost)


def main() -> None:
    options = measure.arguments(__doc__, quick=True)
    figures = measure.Figures("segmentation")
    if keras_segmentation.installed() is None:
        sys.exit("keras-segmentation is not installed: uv sync --extra keras-segmentation")
    library = keras_segmentation.load()
    theirs = library.models.unet.mobilenet_unet(3)
    mapping(figures, theirs, options.quick)
    training(figures, theirs, options.quick)

    from _tiles_sides import figures_of_the_loader

    figures_of_the_loader(figures, library.data_utils.data_loader.image_segmentation_generator, options.quick)
    if not options.quick:
        costs(figures)
    figures.finish()


if __name__ == "__main__":
    main()
