"""Boxes around objects: Pascal VOC's XML, DeepForest's CSV, COCO without outlines.

A box is not an outline: 21 % of the box of a round crown is not crown. So a mask is made of boxes only where
``classes.toml`` states ``boxes = "ellipse"``: then the ellipse that touches the box's sides is filled, an approximation
that ``groves.check`` reports. Without a mask, ``groves.boxes`` reads boxes and ``groves.count`` counts them.

Lab: case_groves.
"""

from __future__ import annotations

import codecs
import csv
import functools
import io
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree
from xml.parsers import expat

import numpy as np

from arsetlib import textfiles
from arsetlib.groves import annotation_files
from arsetlib.groves.classes import FILE, Classes, GroveError

CORNERS = ("xmin", "ymin", "xmax", "ymax")
COLUMNS = ("image_path", *CORNERS, "label")
ALSO = {"filename": "image_path", "class": "label"}  # as TensorFlow and Roboflow call these columns
LARGEST_XML = 32 * 2**20  # bytes
CORNER_COUNT = 64  # of the polygon that stands for an ellipse


def outline(box: np.ndarray, classes: Classes, where: str, turned: float = 0.0) -> np.ndarray:
    """(64, 2) the ellipse of a box, turned by some degrees clockwise, as a polygon.

    Raises:
        GroveError: ``classes`` does not state that boxes become ellipses.
    """
    if classes.boxes != "ellipse":
        raise GroveError(
            f"{where} is a box without an outline, so no mask is made of it. Draw outlines; or "
            f"put boxes = 'ellipse' at the top of {FILE} in the folder of the images, which fills the ellipse of each "
            "box, an approximation; or count the boxes: arset groves count."
        )
    x0, y0, x1, y1 = box
    angle = np.linspace(0, 2 * np.pi, CORNER_COUNT, endpoint=False)
    across, down = (x1 - x0) / 2 * np.cos(angle), (y1 - y0) / 2 * np.sin(angle)
    cos, sin = np.cos(np.radians(turned)), np.sin(np.radians(turned))
    return np.stack([(x0 + x1) / 2 + across * cos - down * sin, (y0 + y1) / 2 + across * sin + down * cos], axis=1)


def turn_of(rotation: object) -> float:
    """Degrees, clockwise, by which CVAT turned a box around its middle after its corners were taken; 0 where not."""
    try:
        return float(str(rotation)) % 360
    except ValueError:
        return 0.0


def checked(box: Sequence[float] | np.ndarray, shape: tuple[int, int], where: str) -> np.ndarray:
    """(4,) x0, y0, x1, y1 of a box in pixels.

    Raises:
        GroveError: It has no area, lies outside its image, or is in shares of the image.
    """
    box = np.array(box, float)
    x0, y0, x1, y1 = box
    shown = f"from x {x0:g}, y {y0:g} to x {x1:g}, y {y1:g}"
    if not np.isfinite(box).all() or x1 <= x0 or y1 <= y0:
        raise GroveError(f"{where} has a box without an area, {shown}. Draw it again or delete it.")
    if box.min() >= 0 and box.max() <= annotation_files.FIRST_PIXEL and max(shape) > 2:
        raise GroveError(
            f"{where} has a box {shown}: the coordinates seem to be shares from 0 to 1. Multiply x by the image's "
            "width and y by its height."
        )
    if not (0 <= (x0 + x1) / 2 <= shape[1] and 0 <= (y0 + y1) / 2 <= shape[0]):
        raise GroveError(
            f"{where} has a box {shown}, outside of the image of {annotation_files.size_text(shape)} pixels. Was it "
            "drawn on another size or another image?"
        )
    return box


def check_twice(rows: list) -> None:
    """Refuse a box that is listed twice: it would be counted twice.

    Raises:
        GroveError: It names both places.
    """
    seen: dict[tuple, str] = {}
    for where, value, box in rows:
        if (first := seen.setdefault((value, *box), where)) is not where:
            raise GroveError(f"{where} repeats the box of {first}. Keep one of them.")


def mask(rows: list, shape: tuple[int, int], classes: Classes) -> np.ndarray:
    """The mask of (where, class number, box) rows; a fifth number of a box is by what it is turned."""
    drawn = np.zeros(shape, np.uint8)
    for where, value, box in rows:
        annotation_files.fill(drawn, value, outline(box[:4], classes, where, *box[4:]))
    return drawn


# -- Pascal VOC --------------------------------------------------------------------------------------------------------


def is_voc(path: Path) -> bool:
    """Whether an XML file is of Pascal VOC, by its root."""
    return not why_not(path)


def why_not(path: Path) -> str:
    """Why an XML file is not of Pascal VOC; empty where it is."""
    try:
        tag = _root(path).tag
    except GroveError as problem:
        return str(problem)
    if tag == "annotations":
        return f"{path} is of CVAT, which is not read here. Export the labels as COCO."
    return "" if tag == "annotation" else f"{path} has the root {tag!r}, expected 'annotation' of Pascal VOC."


def voc(path: Path, shape: tuple[int, int], classes: Classes, image: str | None = None) -> list:
    """(where, class number, box) of each object of a Pascal VOC file: the box's edges, px, and by what it is turned.

    Raises:
        GroveError: No such file; another size or name than the image's, an unknown class, an invalid box.
    """
    root = _root(path)
    if root.tag != "annotation":
        raise GroveError(f"{path} is XML with the root {root.tag!r}, expected 'annotation' of Pascal VOC.")
    if root.find("object") is None and root.find("size") is None:
        raise GroveError(f"{path} has neither a size nor an object of Pascal VOC. Export it again.")
    size = root.find("size")
    if size is not None:
        annotation_files.same_size(size.findtext("height"), size.findtext("width"), shape, str(path))
    named = Path((root.findtext("filename") or "").replace("\\", "/").strip()).name
    own = textfiles.folded(Path(image).stem) if image and named else None
    if own is not None and own not in (textfiles.folded(named), textfiles.folded(Path(named).stem)):
        raise GroveError(
            f"{path} was drawn on {named!r} (its filename), not on {image}. Put it beside its own image, or correct "
            "filename where the image was renamed."
        )
    rows = []
    for number, one in enumerate(root.findall("object"), start=1):
        where, box = f"{path}: object {number}", one.find("bndbox")
        value = annotation_files.class_of((one.findtext("name") or "").strip(), classes, f"{path} has the class")
        if box is None:
            parts = ", ".join(part.tag for part in one if part.tag not in ("name", "pose", "truncated", "difficult"))
            raise GroveError(
                f"{where} has no box (bndbox) but {parts or 'nothing'}. Only boxes are read from XML: export outlines "
                "as COCO."
            )
        corners = checked(_numbers([box.findtext(name) for name in CORNERS], where), shape, where)
        turned = (a.findtext("value") for a in one.findall("attributes/attribute") if a.findtext("name") == "rotation")
        rows.append((where, value, np.append(corners, turn_of(next(turned, 0)))))
    return rows


def _root(path: Path):
    """The root of an XML file; entities and document types are refused, since they can fill the memory."""
    try:
        if path.stat().st_size > LARGEST_XML:
            raise GroveError(f"{path} is larger than {LARGEST_XML >> 20} MB. Split it by image.")
        data = path.read_bytes()
    except OSError as problem:
        raise GroveError(f"{path} cannot be read ({problem.strerror}). Copy it again.") from None

    def refuse(*_):
        raise GroveError(f"{path} has a document type (DOCTYPE), which is not read. Delete that line.")

    try:
        parser = expat.ParserCreate()
        parser.StartDoctypeDeclHandler = refuse
        parser.Parse(data, True)
        return ElementTree.fromstring(data)  # noqa: S314 - no entities: no document type
    except (expat.ExpatError, ElementTree.ParseError, ValueError) as problem:
        raise GroveError(f"{path} is not valid XML ({problem}). Export it again.") from None


def _numbers(texts, where) -> list[float]:
    try:
        return [float(text) for text in texts]
    except (TypeError, ValueError):
        wrong = next(f"{k} = {t!r}" for k, t in zip(CORNERS, texts, strict=True) if not _is_number(t))
        raise GroveError(f"{where} has the box {wrong}, expected numbers for {', '.join(CORNERS)}, px.") from None


def _is_number(text) -> bool:
    try:
        float(text)
        return True
    except (TypeError, ValueError):
        return False


# -- DeepForest --------------------------------------------------------------------------------------------------------


def is_table(path: Path) -> bool:
    """Whether a CSV file has a column of images and one of boxes."""
    try:
        with path.open("rb") as file:
            head = file.read(10_000)
    except OSError:
        return False
    encoding = "utf-16" if head[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"
    first = head.decode(encoding, errors="replace").partition("\n")[0]
    return "image_path" in first or ("filename" in first and "xmin" in first)


def table(path: Path) -> dict[str, list[tuple[int, dict]]]:
    """Image path → (line, row) of a CSV file; a row whose corners are all 0 or empty stands for an image without boxes.

    Raises:
        GroveError: Another set of columns, a row without an image.
    """
    return _table(path, path.stat().st_mtime_ns)


@functools.lru_cache(maxsize=16)
def _table(path: Path, changed: int) -> dict:
    try:
        text = textfiles.read_text(path)
    except (OSError, ValueError) as problem:
        raise GroveError(f"{path} cannot be read: {problem}.") from None
    try:
        reader = csv.DictReader(io.StringIO(text), skipinitialspace=True)
        names = [str(n).strip() for n in reader.fieldnames or []]
        names = [ALSO[n] if n in ALSO and ALSO[n] not in names else n for n in names]
        if twice := [name for name in COLUMNS if names.count(name) > 1]:
            raise GroveError(f"{path} has several columns called {twice[0]!r}. Keep one, or rename the others.")
        missing = [name for name in COLUMNS if name not in names]
        if missing:
            raise GroveError(
                f"{path} lacks the column(s) {', '.join(missing)}. Expected {', '.join(COLUMNS)}, separated by commas; "
                f"found {', '.join(map(str, reader.fieldnames or [])) or 'nothing'}."
            )
        found: dict[str, list] = {}
        reader.fieldnames = names
        for row in reader:
            if not any(row.values()):
                continue  # spreadsheets add empty rows
            row = {str(k).strip(): (v or "").strip() if isinstance(v, str | None) else v for k, v in row.items()}
            if not row["image_path"]:
                raise GroveError(f"{path}, line {reader.line_num}: image_path is empty. Name the image.")
            if "None" in row:
                raise GroveError(f"{path}, line {reader.line_num}: more values than columns. A decimal comma?")
            found.setdefault(row["image_path"], []).append((reader.line_num, row))
    except csv.Error as problem:
        raise GroveError(f"{path} is not valid CSV ({problem}). Save it again.") from None
    if not found:
        raise GroveError(f"{path} has no row. Export the boxes again.")
    return found


def rows_of(path: Path, image: str, shape: tuple[int, int], classes: Classes) -> list:
    """(where, class number, box) of an image's boxes in a table.

    Raises:
        GroveError: An unknown class, an invalid box.
    """
    rows = []
    for line, row in table(path).get(image, []):
        where, texts = f"{path}, line {line}", [row[name] for name in CORNERS]
        if all(t in ("", "0", "0.0") for t in texts):
            continue
        value = annotation_files.class_of(row["label"], classes, f"{where} has the label")
        rows.append((where, value, checked(_numbers(texts, where), shape, where)))
    return rows
