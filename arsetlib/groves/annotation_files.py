"""Masks from outlines: what all kinds of annotations share, and LabelMe's JSON.

Pixels in no outline are of class 0; later outlines cover earlier ones. An outline is a list of x, y pairs in pixels of
its image; it has an area, and its middle lies inside the image. Boxes are not outlines, see ``box_files``.

Lab: case_groves.
"""

from __future__ import annotations

import base64
import binascii
import functools
import io
from pathlib import Path
from typing import Any

import numpy as np

from arsetlib import textfiles
from arsetlib.groves.classes import FILE, Classes, GroveError

LARGEST_JSON = 512 * 2**20  # bytes
AREAS = (
    "polygon",
    "rectangle",
    "rotation",
    "oriented_rectangle",
    "circle",
)  # of LabelMe and tools that write its files
FIRST_PIXEL = 1.0  # pixels; an outline no larger than this has coordinates that are shares of the image


def read_json(path: Path) -> dict:
    """The object in a JSON file.

    Raises:
        GroveError: It holds something else, or is too large.
    """
    content = _json(path)
    if not isinstance(content, dict):
        raise GroveError(f"{path} holds a {type(content).__name__}, expected a JSON object.")
    return content


def _json(path: Path):
    try:
        size = path.stat().st_size
        data = path.read_bytes() if size <= LARGEST_JSON else b""
    except FileNotFoundError:
        raise GroveError(f"{path} does not exist.") from None
    except OSError as problem:
        raise GroveError(f"{path} cannot be opened ({problem.strerror}). Check its permissions.") from None
    if size > LARGEST_JSON:
        raise GroveError(f"{path} is larger than {LARGEST_JSON >> 20} MB. Split it by image.")
    try:
        return textfiles.parse_json(data)
    except ValueError as problem:
        raise GroveError(f"{path} is not valid JSON ({problem}). Save it again.") from None


def kind_of(path: Path) -> str:
    """The kind of a JSON file: ``labelme``, ``coco``, or a description of anything else."""
    return _kind(path, path.stat().st_mtime_ns)


@functools.lru_cache(maxsize=65536)
def _kind(path: Path, changed: int) -> str:
    try:
        content = _json(path)
    except GroveError:
        return "not valid JSON"
    if not isinstance(content, dict):
        return f"a JSON {type(content).__name__}"
    if "shapes" in content:
        return "labelme"
    if "images" in content and ("annotations" in content or "categories" in content):
        return "coco"
    if any(str(key).startswith("_via_") for key in content):
        return "a VIA project"
    if any(isinstance(v, dict) and "regions" in v and "filename" in v for v in content.values()):
        return "VIA annotations"
    if content.get("type") in ("FeatureCollection", "Feature"):
        return "GeoJSON"
    return f"a JSON object with {', '.join(map(repr, list(content)[:5])) or 'nothing'}"


def inside(folder: Path, name: object, path: Path) -> Path:
    """A file that an annotation names, which must lie in the folder."""
    path_named = (folder / str(name).replace("\\", "/")).resolve()
    if not path_named.is_relative_to(folder.resolve()):
        raise GroveError(f"{path} names the image {name!r}, outside of {folder}. Put the images beside it.")
    return path_named


def class_of(label: object, classes: Classes, where: str) -> int:
    """The number of the class of a label.

    Raises:
        GroveError: There is no such class.
    """
    number = classes.number(label)
    if number is None:
        raise GroveError(
            f"{where} {label!r}. Known: {', '.join(classes.keys)}. Rename it, or state your own classes in {FILE} in "
            "the folder of the images."
        )
    return number


# -- LabelMe -----------------------------------------------------------------------------------------------------------


def labelme_mask(path: Path, shape: tuple[int, int], classes: Classes, image: str | None = None) -> np.ndarray:
    """The mask of a LabelMe file: polygons, rectangles, circles and masks.

    Args:
        path: The file.
        shape: (rows, columns) of its image.
        classes: Known classes; a label is a class's key.
        image: The image's file name; None does not compare it.

    Raises:
        GroveError: No LabelMe file; another size or name than the image's, an unknown label or shape, an invalid
            outline.
    """
    mask = np.zeros(shape, np.uint8)
    for number, one in enumerate(labelme_shapes(path, shape, image), start=1):
        where = f"{path}: shape {number}"
        value = class_of(one.get("label"), classes, f"{path} has the label")
        kind, points = one.get("shape_type") or "polygon", one.get("points")
        if kind == "mask":
            _paste(mask, value, one, where)
            continue
        points = np.empty((0, 2)) if kind not in AREAS else points_of(points, where)
        if kind == "circle" and len(points) == 2:
            points = _circle(*points)
        elif kind == "rectangle" and len(points) == 2:
            (x0, y0), (x1, y1) = points
            points = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
        elif kind not in AREAS or kind == "circle" or len(points) < 3:
            raise GroveError(
                f"{where} is a {kind} of {len(one.get('points') or ())} point(s). Expected a shape with an area: a "
                "polygon of three points or more, a rectangle, a circle or a mask. Draw it again."
            )
        fill(mask, value, checked(points, shape, where))
    return mask


def labelme_shapes(path: Path, shape: tuple[int, int], image: str | None = None) -> list[dict]:
    """The shapes of a LabelMe file that belongs to an image of a size and a name."""
    content = read_json(path)
    if "shapes" not in content:
        raise GroveError(
            f"{path} is not a LabelMe file but {kind_of(path)}: it has no 'shapes'. Label the image, or move the file "
            "elsewhere."
        )
    shapes = content["shapes"]
    if not isinstance(shapes, list) or not all(isinstance(one, dict) for one in shapes):
        raise GroveError(
            f"{path} has {str(shapes)[:40]} as 'shapes', expected a list of shapes; an empty one where there is "
            "nothing to label. Save it again in LabelMe."
        )
    same_size(content.get("imageHeight"), content.get("imageWidth"), shape, str(path))
    named = Path(str(content.get("imagePath") or "").replace("\\", "/")).stem
    if image and named and textfiles.folded(named) != textfiles.folded(Path(image).stem):
        raise GroveError(
            f"{path} was drawn on {content['imagePath']!r} (its imagePath), not on {image}. Put it beside its own "
            "image, or correct imagePath where the image was renamed."
        )
    return shapes


def _paste(mask, value, one, where):
    """Draw a LabelMe mask: its corner, and a small picture as base64."""
    from PIL import Image

    points = points_of(one.get("points"), where)
    corner = points.min(0).round().astype(int)
    try:
        picture = Image.open(io.BytesIO(base64.b64decode(one["mask"], validate=True)), formats=("PNG",))
        if picture.width > mask.shape[1] or picture.height > mask.shape[0]:
            raise ValueError("larger than the image")
        part = np.asarray(picture.convert("L")) > 0
    except (KeyError, TypeError, ValueError, OSError, SyntaxError, binascii.Error) as problem:
        raise GroveError(f"{where} is a mask that cannot be read ({problem!r}). Draw it again.") from None
    box = (points.max(0) - points.min(0) + 1).round().astype(int)  # LabelMe's corners are the first and the last pixel
    if len(points) == 2 and np.abs(box - part.shape[::-1]).max() > 1:
        raise GroveError(
            f"{where} is a mask of {size_text(part.shape)} pixels in a box of {size_text(tuple(box[::-1]))}. "
            "Save it again in LabelMe."
        )
    column, row = corner
    place = mask[max(row, 0) : row + part.shape[0], max(column, 0) : column + part.shape[1]]
    if not part.any() or place.shape != part.shape:
        raise GroveError(f"{where} is a mask that is empty or lies outside of the image. Draw it again.")
    place[part] = value


# -- outlines ----------------------------------------------------------------------------------------------------------


def same_size(height: Any, width: Any, shape: tuple[int, int], what: str) -> None:
    """Refuse annotations that were drawn on an image of another size; ``what`` starts the message."""
    try:
        stated = [int(float(v)) for v in (height, width) if v is not None]
    except (TypeError, ValueError, OverflowError):
        raise GroveError(f"{what} has the size {width!r} × {height!r}, expected numbers of pixels.") from None
    if len(stated) == 2 and any(stated) and tuple(stated) != tuple(shape):
        raise GroveError(
            f"{what} was drawn on {size_text(stated)} pixels, its image has {size_text(shape)}. Label or export it at "
            "the image's own size."
        )


def points_of(points: object, where: str) -> np.ndarray:
    """(N, 2) x, y of an outline, N of 2 or more."""
    try:
        pairs = np.asarray(points, np.float64)
        pairs = pairs.reshape(-1, 2)
    except (TypeError, ValueError):
        pairs = np.empty((0, 2))
    if len(pairs) < 2 or not np.isfinite(pairs).all() or np.abs(pairs).max() > 1e6:
        raise GroveError(f"{where} has an outline that is no list of x, y pairs: {str(points)[:80]}.")
    return pairs


def checked(points: np.ndarray, shape: tuple[int, int], where: str) -> np.ndarray:
    """The outline, if it is in pixels, has an area and lies in the image.

    Raises:
        GroveError: It does not.
    """
    low, high = points.min(0), points.max(0)
    x, y = points[:, 0], points[:, 1]
    area = abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2
    if low.min() >= 0 and high.max() <= FIRST_PIXEL and max(shape) > 2:
        raise GroveError(
            f"{where} lies within the first pixel of the image: its coordinates seem to be shares from 0 to 1. "
            "Multiply x by the image's width and y by its height."
        )
    if len(points) < 3 or area == 0:
        raise GroveError(f"{where} is an outline without an area: {_shown(points)}. Draw it again or delete it.")
    middle = (low + high) / 2
    if not (0 <= middle[0] <= shape[1] and 0 <= middle[1] <= shape[0]):
        raise GroveError(
            f"{where} lies outside of the image of {size_text(shape)} pixels: its middle is at x {middle[0]:.0f}, "
            f"y {middle[1]:.0f}. Was it drawn on another size or another image?"
        )
    return points


def _shown(points) -> str:
    return str(np.round(points, 2).tolist())[:80]


def _circle(centre, edge):
    angle = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    return centre + np.hypot(*(edge - centre)) * np.stack([np.cos(angle), np.sin(angle)], 1)


def fill(mask: np.ndarray, value: int, points: np.ndarray) -> None:
    """Fill a polygon of a mask in place; only its own part of the mask is touched."""
    from PIL import Image, ImageDraw

    low = np.clip(np.floor(points.min(0)).astype(int) - 1, 0, None)
    high = np.ceil(points.max(0)).astype(int) + 2
    part = np.s_[low[1] : high[1], low[0] : high[0]]
    picture = Image.fromarray(mask[part])
    # A pixel is inside if its centre is: PIL counts from pixels' centres, annotations from their corners.
    ImageDraw.Draw(picture).polygon([tuple(p) for p in (points - 0.5 - low).tolist()], fill=int(value))
    mask[part] = np.asarray(picture)


def size_text(shape: tuple[int, int]) -> str:
    """Columns × rows, as image viewers write sizes."""
    return f"{shape[1]} × {shape[0]}"
