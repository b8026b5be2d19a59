"""Sides of the tile loader's figures, for segmentation.py: ours and keras-segmentation's generator on the same tiles.

    figures_of_the_loader(figures, generator, quick=False)

``generator`` is keras-segmentation's ``image_segmentation_generator``. It reads tile files that were cut beforehand, as
the thesis did; ours reads the captures. Both give float32 images and one-hot masks of 224 × 224 in batches of 16.
"""

import itertools
import time
from pathlib import Path

import measure
from PIL import Image

from arsetlib import groves, simulate

PLACE = Path("data/bench/tiles")
SIZE, BATCH, KINDS = 224, 16, len(groves.CLASSES)
CAPTURES = 3


def grove() -> list[groves.Capture]:
    """Captures of full size, made at the first call."""
    return groves.captures(simulate.groves(PLACE / f"grove{CAPTURES}", captures=CAPTURES, progress=False))


def tile_files(captures, cut: str) -> tuple[Path, Path]:
    """The tiles as files in keras-segmentation's two folders: images as JPEG, masks as PNG of class numbers."""
    home = PLACE / f"{cut}{len(captures)}"
    folders = tuple(home / name for name in ("images_prepped_train", "annotations_prepped_train"))
    if (home / "complete").exists():
        return folders
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    for capture in captures:
        parts = [groves.cut(array, **CUTS[cut]["files"]) for array in groves.read(capture)]
        for k, (image, mask) in enumerate(zip(*parts, strict=True)):
            Image.fromarray(image).save(folders[0] / f"{capture.name}_{k:03d}.jpg", quality=95)
            Image.fromarray(mask).save(folders[1] / f"{capture.name}_{k:03d}.png")
    (home / "complete").touch()
    return folders


# 35 tiles a capture, made 224 wide, as in the thesis; and tiles of 224 as they are, 221 a capture.
CUTS = {
    "thesis": {"files": {"grid": (5, 7)}, "ours": {"grid": (5, 7)}},
    "native": {"files": {"size": SIZE}, "ours": {}},
}


class Epochs:
    """Runs over one epoch a call and counts tiles."""

    def __init__(self, batches, steps: int):
        self.batches, self.steps, self.tiles = batches, steps, 0

    def __call__(self) -> None:
        self.tiles = sum(len(batch[0]) for batch in itertools.islice(self.batches(), self.steps))


def theirs(captures, cut: str, generator) -> Epochs:
    """keras-segmentation's generator over the tile files."""
    images, masks = tile_files(captures, cut)
    count = len(list(images.iterdir()))
    endless = generator(str(images), str(masks), BATCH, KINDS, SIZE, SIZE, SIZE, SIZE)
    return Epochs(lambda: endless, count // BATCH)


def ours(captures, cut: str, **options) -> Epochs:
    """Our data set over the captures."""
    loader = groves.TileBatches(captures, size=SIZE, batch=BATCH, shuffle=True, **CUTS[cut]["ours"], **options)
    data = loader.dataset()
    return Epochs(lambda: data, len(loader))


def compare(cut: str, generator, repeats: int) -> dict[str, float]:
    """Tiles a second of each side."""
    captures = grove()
    sides = {
        "keras_segmentation": theirs(captures, cut, generator),
        "dataset": ours(captures, cut),
        "dataset_augmented": ours(captures, cut, augment=True),
        "dataset_streamed": ours(captures, cut, cache="none", pool=1),
    }
    seconds = measure.sides(sides, repeats)
    rate = {name: side.tiles / seconds[name] for name, side in sides.items()}
    first = ours(captures, cut)
    begin = time.perf_counter()
    first()
    return rate | {"dataset_first_epoch": first.tiles / (time.perf_counter() - begin)}


def figures_of_the_loader(figures, generator, quick: bool = False) -> None:
    """Add the loader's figures: in memory, streamed, and the first epoch, which decodes."""
    for cut in ("thesis",) if quick else CUTS:
        rate = compare(cut, generator, 3 if quick else 5)
        for side in [name for name in rate if name != "keras_segmentation"]:
            sides = {name: round(rate[name], 1) for name in (side, "keras_segmentation")}
            # Theirs neither augments nor decodes captures.
            goal = 5 if side == "dataset" else None
            figures.add(
                f"{cut}_tiles_{side}_against_keras_segmentation",
                rate[side] / rate["keras_segmentation"],
                goal,
                "x",
                sides,
            )
