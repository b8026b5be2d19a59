"""Masks from outlines: LabelMe's and COCO's JSON. Pixels in no outline are of class 0; later outlines cover earlier."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from arsetlib.tiles.classes import Classes, TileError

LARGEST_JSON = 512 * 2**20  # bytes


def read_json(path: Path) -> dict:
    """A JSON file that holds an object.

    Raises:
        TileError: It is none, or too large.
    """
    try:
        if path.stat().st_size > LARGEST_JSON:
            raise TileError(f"{path} is larger than {LARGEST_JSON >> 20} MB. Split it by image.")
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TileError(f"{path} does not exist.") from None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise TileError(f"{path} is no JSON that can be read ({problem}). Save it again.") from None
    if not isinstance(found, dict):
        raise TileError(f"{path} holds a {type(found).__name__}, expected a JSON object.")
    return found


def inside(folder: Path, name, path: Path) -> Path:
    """A file that an annotation names, which must lie in the folder."""
    found = (folder / str(name).replace("\\", "/")).resolve()
    if not found.is_relative_to(folder.resolve()):
        raise TileError(f"{path} names the image {name!r}, outside of {folder}. Put the images beside it.")
    return found


def labelme_mask(path: Path, shape: tuple[int, int], classes: Classes) -> np.ndarray:
    """The mask of a LabelMe file: polygons, rectangles and circles.

    Raises:
        TileError: Another size than the image's, an unknown label or shape, an outline that is none.
    """
    found = read_json(path)
    held = found.get("imageHeight"), found.get("imageWidth")
    if None not in held and held != shape:
        raise TileError(f"{path} was drawn on {_size(held)} pixels, its image has {_size(shape)}. Label it again.")
    outlines = []
    for shape_ in found.get("shapes", []):
        label = shape_.get("label")
        if label not in classes.keys:
            raise TileError(f"{path} has the label {label!r}. Known: {', '.join(classes.keys)}.")
        points, kind = _points(shape_.get("points"), path), shape_.get("shape_type") or "polygon"
        if kind == "circle" and len(points) == 2:
            points = _circle(*points)
        elif kind == "rectangle" and len(points) == 2:
            (x0, y0), (x1, y1) = points
            points = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
        elif kind != "polygon" or len(points) < 3:
            raise TileError(f"{path} has a {kind} of {len(points)} points. Expected polygons, rectangles or circles.")
        outlines.append((classes.keys.index(label), points))
    return _filled(shape, outlines)


def coco_mask(path: Path, index: dict, number, shape: tuple[int, int], classes: Classes) -> np.ndarray:
    """The mask of one image of a COCO file: polygons and uncompressed RLE.

    Args:
        path: The file, for messages.
        index: From ``coco_index``.
        number: The image's id.
        shape: (rows, columns) of the image.
        classes: Known classes; a category's name is a class's key.

    Raises:
        TileError: Another size, an unknown category, compressed RLE, an outline that is none.
    """
    image = index["images"][number]
    held = image.get("height"), image.get("width")
    if None not in held and held != shape:
        raise TileError(f"{path} gives {image.get('file_name')} {_size(held)} pixels, it has {_size(shape)}.")
    mask = np.zeros(shape, np.uint8)
    for one in index["annotations"].get(number, []):
        name = index["categories"].get(one.get("category_id"))
        if name not in classes.keys:
            raise TileError(f"{path} has the category {name!r}. Known: {', '.join(classes.keys)}.")
        where, value = one.get("segmentation"), classes.keys.index(name)
        if isinstance(where, dict):
            mask[_run_lengths(where, shape, path)] = value
        else:
            rings = [_points(np.reshape(r, (-1, 2)) if len(r) % 2 == 0 else None, path) for r in where or []]
            mask = _filled(shape, [(value, ring) for ring in rings], mask)
    return mask


def coco_index(path: Path) -> dict:
    """A COCO file as image id → image, image id → annotations, category id → name."""
    found = read_json(path)
    try:
        index = {
            "images": {i["id"]: i for i in found["images"]},
            "categories": {c["id"]: c["name"] for c in found["categories"]},
            "annotations": {},
        }
        for one in found["annotations"]:
            index["annotations"].setdefault(one["image_id"], []).append(one)
    except (KeyError, TypeError) as problem:
        raise TileError(f"{path} is no COCO file ({problem!r}). Expected images, annotations, categories.") from None
    return index


def _run_lengths(where, shape, path):
    """COCO's run lengths: down the columns, first of what is outside."""
    counts = where.get("counts")
    if not isinstance(counts, list):
        raise TileError(f"{path} has compressed RLE. Export uncompressed RLE (a list of counts) or polygons.")
    size, runs = tuple(where.get("size", ())), np.asarray(counts)
    if size != shape or runs.dtype.kind not in "iu" or (runs < 0).any() or runs.sum() != shape[0] * shape[1]:
        raise TileError(f"{path} has RLE of size {list(size)} that does not add up to {_size(shape)} pixels.")
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return flat.reshape(shape[::-1]).T


def _points(points, path):
    try:
        found = np.asarray(points, np.float64).reshape(-1, 2)
    except (TypeError, ValueError):
        found = np.empty((0, 2))
    if len(found) < 2 or not np.isfinite(found).all() or np.abs(found).max() > 1e6:
        raise TileError(f"{path} has an outline that is no list of x, y pairs: {str(points)[:80]}.")
    return found


def _circle(centre, edge):
    angle = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    return centre + np.hypot(*(edge - centre)) * np.stack([np.cos(angle), np.sin(angle)], 1)


def _filled(shape, outlines, mask=None):
    from PIL import Image, ImageDraw

    picture = Image.new("L", shape[::-1]) if mask is None else Image.fromarray(mask)
    draw = ImageDraw.Draw(picture)
    for value, points in outlines:
        # A pixel is inside if its centre is: PIL counts from pixels' centres, annotations from their corners.
        draw.polygon([(x - 0.5, y - 0.5) for x, y in points], fill=int(value))
    return np.array(picture)


def _size(shape) -> str:
    return f"{shape[1]} × {shape[0]}"
