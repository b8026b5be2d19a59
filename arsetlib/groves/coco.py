"""COCO's JSON: outlines of many images in one file, as polygons or run lengths, or boxes.

Lab: case_groves.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from shapely import Polygon

from arsetlib.groves import annotation_files, box_files
from arsetlib.groves.classes import Classes, GroveError

NO_OUTLINE: tuple[object, ...] = (None, [], [[]], {})  # of a segmentation


def index(path: Path) -> dict:
    """A COCO file as image id → image, image id → annotations, category id → name. Ids are texts: 7 and "7" are one.

    It is read again only where the file has changed.

    Raises:
        GroveError: Not a COCO file; an annotation of an image or a category that the file does not list.
    """
    try:
        return _index(path, path.stat().st_mtime_ns)
    except FileNotFoundError:
        raise GroveError(f"{path} does not exist.") from None


@functools.lru_cache(maxsize=4)
def _index(path: Path, changed: int) -> dict:
    content = annotation_files.read_json(path)
    lists = {}
    for name in ("images", "annotations", "categories"):
        rows = content.get(name)
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            what = "no" if rows is None else "another kind of"
            raise GroveError(f"{path} has {what} {name!r}, expected a COCO file with lists of images, annotations and "
                            "categories. Export it again.")  # fmt: skip
        lists[name] = rows
    images = _by_id(lists["images"], "images", path)
    categories = {k: row.get("name") for k, row in _by_id(lists["categories"], "categories", path).items()}
    by_image: dict[str, list[dict]] = {}
    for row in lists["annotations"]:
        which = f"{path}: annotation {row.get('id', '?')}"
        for key, known, what in (("image_id", images, "image"), ("category_id", categories, "category")):
            if _id(row.get(key)) not in known:
                raise GroveError(
                    f"{which} is of the {what} {row.get(key)!r}, which the file does not list under "
                    f"{'images' if what == 'image' else 'categories'}. Export the file again, or delete the annotation."
                )
        by_image.setdefault(_id(row["image_id"]), []).append(row)
    return {"images": images, "categories": categories, "annotations": by_image}


def _id(value) -> str | None:
    """An id as text; None where it is invalid."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip() if isinstance(value, int | str) and not isinstance(value, bool) else None


def _by_id(rows, name, path):
    rows_of_id = {}
    for row in rows:
        key = _id(row.get("id"))
        if key is None or key in rows_of_id:
            raise GroveError(
                f"{path} has under {name!r} {'two entries with' if key else 'an entry with'} the id {row.get('id')!r}, "
                "expected an id of its own for each. Export it again."
            )
        rows_of_id[key] = row
    return rows_of_id


def mask_of(path: Path, number: int | str, shape: tuple[int, int], classes: Classes) -> np.ndarray:
    """The mask of one image of a COCO file: polygons and run lengths, compressed or not.

    Args:
        path: The file.
        number: The image's id.
        shape: (rows, columns) of the image.
        classes: Known classes; a category's name is a class's key. ``classes.boxes`` states what a box becomes
            where there is no outline.

    Raises:
        GroveError: Another size, an unknown category, an annotation with a box only, an invalid outline.
    """
    mask = np.zeros(shape, np.uint8)
    for where, value, row in rows_of(path, number, shape, classes):
        outline = row.get("segmentation")
        if outline in NO_OUTLINE:
            attributes = row.get("attributes")
            turned = box_files.turn_of(attributes.get("rotation") if isinstance(attributes, dict) else 0)
            ellipse = box_files.outline(box_of(row, shape, where), classes, where, turned)
            annotation_files.fill(mask, value, ellipse)
        elif isinstance(outline, dict):
            mask[_run_lengths(outline, shape, where)] = value
        else:
            rings = [annotation_files.checked(ring, shape, where) for ring in _rings(outline, where)]
            _check_holes(rings, row.get("area"), where)
            for ring in rings:
                annotation_files.fill(mask, value, ring)
    return mask


def _check_holes(rings: list[np.ndarray], area: object, where: str) -> None:
    """Refuse an annotation whose area shows that one of its polygons is a hole in another: COCO adds polygons."""
    if len(rings) < 2 or not isinstance(area, int | float):
        return
    shapes = [polygon if (polygon := Polygon(ring)).is_valid else polygon.buffer(0) for ring in rings]
    inner = sum(a.area for a in shapes if any(a is not b and b.area > a.area and b.covers(a) for b in shapes))
    outer = sum(a.area for a in shapes) - inner
    if inner and abs(area - (outer - inner)) < abs(area - outer):
        raise GroveError(
            f"{where} has a polygon within another, and its area ({area:,.0f} pixels) shows that it is a hole. In COCO "
            "polygons have no holes. Export it as run lengths (RLE)."
        )


def boxes_of(path: Path, number: int | str, shape: tuple[int, int], classes: Classes) -> list | None:
    """(where, class number, box) of an image's annotations; None where the file has outlines."""
    if any(row.get("segmentation") not in NO_OUTLINE for rows in index(path)["annotations"].values() for row in rows):
        return None
    rows = rows_of(path, number, shape, classes)
    return [(where, value, box_of(row, shape, where)) for where, value, row in rows]


def rows_of(path: Path, number: int | str, shape: tuple[int, int], classes: Classes) -> Iterator[tuple[str, int, dict]]:
    """(where, class number, annotation) of an image's annotations."""
    listed = index(path)
    image = listed["images"][_id(number)]
    annotation_files.same_size(
        image.get("height"), image.get("width"), shape, f"{path}: image {image.get('file_name')}"
    )
    for row in listed["annotations"].get(_id(number), []):
        name = listed["categories"][_id(row["category_id"])]
        value = annotation_files.class_of(name, classes, f"{path} has the category")
        yield f"{path}: annotation {row.get('id', '?')}", value, row


def box_of(row: dict, shape: tuple[int, int], where: str) -> np.ndarray:
    """(4,) x0, y0, x1, y1 of an annotation's ``bbox`` (x, y, width, height), px."""
    if row.get("iscrowd") in (1, "1"):
        raise GroveError(f"{where} is a box around several objects (iscrowd). Draw a box or an outline for each.")
    if row.get("bbox") in (None, []):
        raise GroveError(f"{where} has neither an outline (segmentation) nor a box (bbox). Draw it again or delete it.")
    try:
        x, y, wide, high = map(float, row["bbox"])
    except (TypeError, ValueError):
        raise GroveError(f"{where} has the box {row['bbox']!r}, expected x, y, width and height in pixels.") from None
    return box_files.checked((x, y, x + wide, y + high), shape, where)


def _rings(outline, where):
    """The polygons of an annotation: lists of x, y, x, y …, or of pairs; one such list alone, too."""
    if isinstance(outline, list) and outline:
        flat = all(isinstance(v, int | float) for v in outline)
        pairs = len(outline) > 2 and all(isinstance(r, list | tuple) and len(r) == 2 and not isinstance(r[0], list)
                                         for r in outline)  # fmt: skip
        return [annotation_files.points_of(r, where) for r in ([outline] if flat or pairs else outline)]
    raise GroveError(f"{where} has the segmentation {str(outline)[:60]!r}, expected polygons or run lengths.")


def _run_lengths(outline, shape, where):
    """A mask from COCO's run lengths: column by column, starting with pixels outside of the object."""
    counts = outline.get("counts")
    runs = np.asarray(_decoded(counts, where) if isinstance(counts, str) else counts)
    if runs.dtype.kind == "f" and (runs == np.floor(runs)).all():
        runs = runs.astype(np.int64)  # some programs write 5.0
    size = outline.get("size")
    if (
        not isinstance(size, list)
        or tuple(size) != tuple(shape)
        or runs.dtype.kind not in "iu"
        or runs.ndim != 1
        or (runs < 0).any()
        or runs.sum() != shape[0] * shape[1]
    ):
        raise GroveError(
            f"{where} has {'compressed ' if isinstance(counts, str) else ''}RLE of size {size} that does not add up to "
            f"{annotation_files.size_text(shape)} pixels. Export it again from the image at this size."
        )
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    if not flat.any():
        raise GroveError(f"{where} has RLE without a pixel. Draw it again or delete it.")
    return flat.reshape(shape[::-1]).T


def _decoded(text: str, where: str) -> list[int]:
    """Compressed run lengths: 6 bits a letter, lowest bits first; from the fourth run on the difference to the run two
    before."""
    counts: list[int] = []
    value = shift = 0
    for letter in text:
        bits = ord(letter) - 48
        if not 0 <= bits < 64 or shift > 60:
            raise GroveError(f"{where} has compressed RLE with {letter!r}. Export it again.")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            if bits & 16:
                value -= 1 << shift
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value, shift = 0, 0
    return counts
