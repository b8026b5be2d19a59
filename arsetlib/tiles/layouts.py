"""Find images and their masks in a folder, whatever tool labelled them."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from arsetlib import folders
from arsetlib.tiles import annotations, pictures
from arsetlib.tiles.classes import CLASSES, Classes, TileError

LAYOUTS = {
    "masks": "images/ and masks/ with the same names; masks are PNG of class numbers or colours (GIMP)",
    "beside": "name.jpg and name_mask.png in one folder",
    "keras-segmentation": "images…/ and annotations…/ with the same names, class numbers as PNG",
    "labelme": "name.jpg and name.json in one folder",
    "coco": "one .json with images, annotations and categories, images beside it or in images/",
}
MARK = "_mask"


@dataclass(frozen=True)
class Capture:
    """An image and what says where its classes are.

    Args:
        name: Unique in its folder.
        image: File of the image.
        mask: File of the mask or of its outlines; None where the image is not labelled.
        layout: How to read the mask.
        number: The image's id in a COCO file.
    """

    name: str
    image: Path
    mask: Path | None = None
    layout: str = "masks"
    number: int | str | None = None


def captures(folder: str | Path, layout: str = "auto") -> list[Capture]:
    """The captures of a folder, in the order of their names; numbers in names count as numbers.

    Args:
        folder: Where the images are.
        layout: One of ``LAYOUTS``, or ``"auto"``.

    Returns:
        Every image, with its mask where it has one.

    Raises:
        TileError: No images in a known layout, or a simulated grove that is not finished.

    Lab: case_olive_groves.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise TileError(f"{folder} is no folder.")
    if folders.state(folder) == "unfinished":
        raise TileError(
            f"{folder} is a simulated grove that is not finished. Run `arset simulate-grove {folder}` again."
        )
    layout = layout_of(folder) if layout == "auto" else layout
    if layout not in LAYOUTS:
        raise TileError(f"Expected a layout of {', '.join(LAYOUTS)} or 'auto', received {layout!r}.")
    found = sorted(_FIND[layout](folder), key=lambda c: _counted(c.name))
    if not found:
        raise TileError(f"{folder} has no images in the layout {layout!r}: {LAYOUTS[layout]}.")
    return found


def layout_of(folder: Path) -> str:
    """Which layout a folder has.

    Raises:
        TileError: None that is known.
    """
    if (folder / "images").is_dir() and (folder / "masks").is_dir():
        return "masks"
    if _keras_pairs(folder):
        return "keras-segmentation"
    beside = _files(folder)
    names = {path.stem for path in beside}
    texts = [p for p in sorted(folder.glob("*.json")) if p.name != "flight.json"]
    if any(p.stem in names for p in texts):
        return "labelme"
    if len(texts) == 1:
        return "coco"
    if beside:
        return "beside"
    known = "\n".join(f"  {name}: {what}" for name, what in LAYOUTS.items())
    raise TileError(f"{folder} has no images in a layout that is known:\n{known}")


def orphans(folder: Path, layout: str, found: list[Capture]) -> list[Path]:
    """Masks that belong to no image."""
    used = {c.mask.resolve() for c in found if c.mask}
    if layout == "masks":
        there = _files(folder / "masks")
    elif layout == "keras-segmentation":
        there = [f for _, masks, _ in _keras_pairs(folder) for f in _files(masks)]
    elif layout == "labelme":
        there = sorted(folder.glob("*.json"))
    elif layout == "beside":
        there = [f for f in _files(folder) if f.stem.endswith(MARK)]
    else:
        there = []
    return [f for f in there if f.resolve() not in used and f.name != "flight.json"]


def read(capture: Capture, classes: Classes = CLASSES) -> tuple[np.ndarray, np.ndarray | None]:
    """The pixels of a capture.

    Returns:
        (H, W, 3) uint8 image; (H, W) uint8 class numbers, 255 where a pixel is to be ignored, None without a mask.

    Raises:
        TileError: A file cannot be read, sizes differ, or the mask holds something unknown.

    Lab: case_olive_groves.
    """
    image = pictures.read_image(capture.image)
    if capture.mask is None:
        return image, None
    shape = image.shape[:2]
    if capture.layout == "labelme":
        return image, annotations.labelme_mask(capture.mask, shape, classes)
    if capture.layout == "coco":
        index = _coco_index(capture.mask, capture.mask.stat().st_mtime_ns)
        return image, annotations.coco_mask(capture.mask, index, capture.number, shape, classes)
    mask = pictures.read_mask(capture.mask, classes)
    if mask.shape != shape:
        raise TileError(
            f"Mask {capture.mask} has {mask.shape[1]} × {mask.shape[0]} pixels, its image {capture.image.name} has "
            f"{shape[1]} × {shape[0]}. Nothing is resized: export the mask at the image's size."
        )
    return image, mask


@functools.lru_cache(maxsize=4)
def _coco_index(path: Path, changed: int) -> dict:
    return annotations.coco_index(path)


# -- layouts -----------------------------------------------------------------------------------------------------------


def _counted(name: str) -> list:
    """A key that sorts image_9 before image_10, as a camera counts."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name)]


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(f for f in folder.iterdir() if f.suffix.lower() in pictures.SUFFIXES and not f.name.startswith("."))


def _paired(images: Path, masks: Path, prefix: str = "", layout: str = "masks") -> list[Capture]:
    by_name: dict[str, Path] = {}
    for file in _files(masks):
        by_name.setdefault(file.stem, file)
        by_name.setdefault(file.stem.removesuffix(MARK), file)
    found: dict[str, Capture] = {}
    for file in _files(images):
        if file.stem in found:
            raise TileError(f"{file} and {found[file.stem].image.name} have the same name. Rename one of them.")
        found[file.stem] = Capture(prefix + file.stem, file, by_name.get(file.stem), layout)
    return list(found.values())


def _masks(folder):
    return _paired(folder / "images", folder / "masks")


def _keras_pairs(folder: Path) -> list[tuple[Path, Path, str]]:
    pairs = []
    for images in sorted(folder.glob("images*")):
        masks = folder / images.name.replace("images", "annotations", 1)
        if images.is_dir() and masks.is_dir():
            pairs.append((images, masks, images.name.removeprefix("images").strip("_")))
    return pairs


def _keras_segmentation(folder):
    pairs = _keras_pairs(folder)
    return [
        capture
        for images, masks, part in pairs
        for capture in _paired(images, masks, f"{part}/" if len(pairs) > 1 else "", "keras-segmentation")
    ]


def _beside(folder):
    files = _files(folder)
    masks = {f.stem.removesuffix(MARK): f for f in files if f.stem.endswith(MARK)}
    return [Capture(f.stem, f, masks.get(f.stem), "beside") for f in files if not f.stem.endswith(MARK)]


def _labelme(folder):
    found, images = [], {f.stem: f for f in _files(folder)}
    texts = {f.stem: f for f in sorted(folder.glob("*.json"))}
    for name, file in images.items():
        found.append(Capture(name, file, texts.get(name), "labelme"))
    return found


def _coco(folder):
    texts = [p for p in sorted(folder.glob("*.json")) if p.name != "flight.json"]
    if len(texts) != 1:
        raise TileError(f"Expected one COCO file in {folder}, found {[p.name for p in texts]}.")
    index, found = annotations.coco_index(texts[0]), {}
    for number, image in index["images"].items():
        name = image.get("file_name")
        if not name:
            raise TileError(f"{texts[0]} has an image without a file_name (id {number}).")
        file = annotations.inside(folder, name, texts[0])
        if not file.is_file() and (folder / "images").is_dir():
            file = annotations.inside(folder / "images", name, texts[0])
        key = Path(str(name)).stem
        if key in found:
            raise TileError(f"{texts[0]} has two images called {key!r}. Rename one of them.")
        found[key] = Capture(key, file, texts[0], "coco", number)
    return list(found.values())


_FIND = {
    "masks": _masks,
    "beside": _beside,
    "keras-segmentation": _keras_segmentation,
    "labelme": _labelme,
    "coco": _coco,
}
