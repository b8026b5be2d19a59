"""A capture: an image of a flight, and the file that states where its classes are.

Lab: case_groves.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from arsetlib.groves import annotation_files, box_files, coco, masks, pictures
from arsetlib.groves.classes import FILE, IGNORE, Classes, GroveError


@dataclass(frozen=True)
class Capture:
    """An image and the file that states where its classes are.

    Args:
        name: Unique in its folder.
        image: File of the image.
        mask: File of the mask, of its outlines or boxes; None where the image is not labelled.
        layout: How to read the mask, see ``groves.LAYOUTS``.
        number: The image's id in a COCO file, or its path in a table of boxes.
        side: ``train``, ``validation`` or ``test`` where the folder's authors split their images, else empty.

    Lab: case_groves.
    """

    name: str
    image: Path
    mask: Path | None = None
    layout: str = "masks"
    number: int | str | None = None
    side: str = ""


def classes_of(capture: Capture) -> Classes:
    """The classes that ``classes.toml`` states in the folder of a capture, or ground, tree and grass."""
    for folder in list(capture.image.parents)[:2]:
        if (folder / FILE).is_file():
            return Classes.of(folder)
    return Classes.of(capture.image.parent)


def read(
    capture: Capture, classes: Classes | None = None, channels: int | None = 3
) -> tuple[np.ndarray, np.ndarray | None]:
    """The pixels of a capture.

    Args:
        capture: From ``groves.captures``.
        classes: What its mask means; None takes ``classes.toml`` of its folder, or ground, tree and grass.
        channels: C, bands that the image must have; None takes those that it has.

    Returns:
        (H, W, C) uint8 image; (H, W) uint8 class numbers, None without a mask. 255 where a pixel is ignored: it is
        255 in the mask, or the image has no data there (transparent, or GDAL's value of no data).

    Raises:
        GroveError: A file cannot be read, sizes differ, or the mask holds something unknown or ambiguous.

    Lab: case_groves.
    """
    image, valid = pictures.read_valid(capture.image, channels)
    if capture.mask is None:
        return image, None
    mask = _mask(capture, image.shape[:2], classes or classes_of(capture))
    return image, mask if valid is None else np.where(valid, mask, np.uint8(IGNORE))


def _mask(capture: Capture, shape, classes: Classes) -> np.ndarray:
    if capture.layout == "labelme":
        return annotation_files.labelme_mask(capture.mask, shape, classes, capture.image.name)
    if capture.layout == "coco":
        return coco.mask_of(capture.mask, capture.number, shape, classes)
    if capture.layout in ("voc", "deepforest"):
        return box_files.mask(_box_rows(capture, shape, classes), shape, classes)
    white = None
    if capture.layout == "detectree":
        white = annotation_files.class_of("tree", classes, f"{capture.mask} is a mask of trees. The classes lack")
    mask = masks.read_mask(capture.mask, classes, white)
    if mask.shape != shape:
        raise GroveError(
            f"Mask {capture.mask} has {mask.shape[1]} × {mask.shape[0]} pixels, its image {capture.image.name} has "
            f"{shape[1]} × {shape[0]}. Nothing is resized: export the mask at the image's size."
        )
    pictures.check_same_place(capture.image, capture.mask)
    return mask


def boxes(capture: Capture, classes: Classes | None = None) -> tuple[np.ndarray, np.ndarray] | None:
    """The boxes of a capture that is labelled with boxes: Pascal VOC, DeepForest, COCO without outlines.

    Args:
        capture: From ``groves.captures``.
        classes: As for ``groves.read``.

    Returns:
        (N, 4) x0, y0, x1, y1 of the edges, pixels from the upper left corner, and (N,) class numbers; None where the
        capture is labelled otherwise.

    Raises:
        GroveError: A file cannot be read; a class, size or box is invalid.

    Lab: case_groves.
    """
    if capture.mask is None or capture.layout not in ("voc", "deepforest", "coco"):
        return None
    shape, classes = pictures.size_of(capture.image), classes or classes_of(capture)
    rows = _box_rows(capture, shape, classes)
    if rows is None:
        return None
    box_files.check_twice(rows)
    corners, numbers = [box[:4] for _, _, box in rows], [value for _, value, _ in rows]
    return np.array(corners, float).reshape(-1, 4), np.array(numbers, np.uint8)


def _box_rows(capture: Capture, shape, classes: Classes):
    """(where, class number, box); None where a COCO image has outlines."""
    if capture.layout == "voc":
        return box_files.voc(capture.mask, shape, classes, capture.image.name)
    if capture.layout == "deepforest":
        return box_files.rows_of(capture.mask, capture.number, shape, classes)
    return coco.boxes_of(capture.mask, capture.number, shape, classes)
