"""Find images and their masks in a folder, whatever tool labelled them.

Lab: case_groves.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote

from arsetlib import copies, filetypes, folders, textfiles
from arsetlib.groves import annotation_files, box_files, coco, flight, pictures
from arsetlib.groves.capture import Capture
from arsetlib.groves.classes import GroveError
from arsetlib.groves.masks import MARK

# Layout → how its folders look.
LAYOUTS = {
    "masks": "images/ and masks/ (or JPEGImages/ and SegmentationClass/) with the same names; PNG of class numbers or "
    "colours (GIMP)",
    "beside": "name.jpg and name_mask.png in one folder",
    "keras-segmentation": "images…/ and annotations…/ with the same names, class numbers as PNG; folders that end in "
    "train and test are kept as these sides",
    "detectree": "img/ and response_img/ with the same names, 0 and 255: white is tree",
    "labelme": "name.jpg and name.json in one folder",
    "coco": ".json with images, annotations and categories, in the folder or in annotations/; images beside it or in "
    "images/",
    "voc": "name.jpg and name.xml of Pascal VOC in one folder, or JPEGImages/ (images/) and Annotations/ "
    "(annotations/): boxes",
    "deepforest": "one .csv with image_path, xmin, ymin, xmax, ymax, label, images beside it or in images/: boxes",
}
SHOWN = 5  # folders that a message names
OURS = (folders.PLAN, folders.MANIFEST, *folders.EARLIER)  # files of the library, not annotations
PAIRS = (("images", "masks"), ("JPEGImages", "SegmentationClass"))
DETECTREE = ("img", "response_img")
VOC_PAIRS = (("JPEGImages", "Annotations"), ("images", "annotations"))
SIDES = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}


def captures(folder: str | Path, layout: str = "auto") -> list[Capture]:
    """The captures of a folder, in the order of their names; numbers in names count as numbers.

    Args:
        folder: Where the images are. Files of an object store (``s3://…``) are copied into the cache of this machine.
        layout: One of ``LAYOUTS``, or ``"auto"``.

    Returns:
        Every image, with its mask where it has one.

    Raises:
        GroveError: No images in a known layout, two of one name, or an unfinished simulated grove.

    Lab: case_groves.
    """
    folder = copies.fetched(folder)
    if not folder.is_dir():
        raise GroveError(f"{folder} is no folder.")
    if folders.state(folder) == "unfinished":
        raise GroveError(
            f"{folder} is a simulated grove that is not finished. Run `arset simulate-groves {folder}` again."
        )
    layout = layout_of(folder) if layout == "auto" else layout
    if layout not in LAYOUTS:
        raise GroveError(f"Expected a layout of {', '.join(LAYOUTS)} or 'auto', received {layout!r}.")
    listed = sorted(_FIND[layout](folder), key=lambda c: _counted(c.name))
    if not listed:
        raise GroveError(f"{folder} has no images in the layout {layout!r}: {LAYOUTS[layout]}.{_instead(folder)}")
    names: dict[str, Capture] = {}
    for capture in listed:
        other = names.setdefault(capture.name, capture)
        if other.image == capture.image:
            continue
        if absent := next((c for c in (capture, other) if not c.image.exists()), None):
            there = other if absent is capture else capture
            raise GroveError(
                f"{absent.mask} lists the image {absent.image.name!r}, which does not exist; {there.image.name} has "
                "another ending. Correct the name in the list, or rename the image."
            )
        raise GroveError(f"{capture.image} and {other.image.name} have the same name. Rename one of them.")
    return listed


def as_captures(source: str | Path | Capture | Iterable[str | Path | Capture]) -> list[Capture]:
    """Captures of a folder, of an image file, or of a list of either or of captures.

    Raises:
        GroveError: As ``captures``; a file that does not exist; two captures of one name.
    """
    if isinstance(source, Capture):
        return [source]
    if folders.is_place(source):
        path = copies.fetched(source)
        if path.is_file():
            return [Capture(path.stem, path)]
        if not path.is_dir():
            raise GroveError(f"There is no file or folder {path}.")
        with_masks = any(path.name == a and (path.parent / b).is_dir() for a, b in PAIRS)
        return captures(path.parent if with_masks else path)
    listed = [capture for one in source for capture in as_captures(one)]
    names = [capture.name for capture in listed]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise GroveError(f"Two captures are called {', '.join(twice)}. Rename one, or take one after the other.")
    return listed


def layout_of(folder: Path) -> str:
    """The layout of a folder, one of ``LAYOUTS``.

    Raises:
        GroveError: It has no known layout.
    """
    if any((folder / a).is_dir() and (folder / b).is_dir() for a, b in PAIRS):
        return "masks"
    if all((folder / name).is_dir() for name in DETECTREE):
        return "detectree"
    if _voc_pair(folder):
        return "voc"
    texts = _jsons(folder)
    if any(annotation_files.kind_of(p) == "coco" for p in _jsons(folder / "annotations")):
        return "coco"
    if _keras_pairs(folder):
        return "keras-segmentation"
    beside = pictures.files_of(folder)
    names = {textfiles.folded(path.stem) for path in beside}
    for path in texts:
        kind = annotation_files.kind_of(path)
        if kind == "coco" or (kind == "labelme" and textfiles.folded(path.stem) in names):
            return kind
    if any(textfiles.folded(path.stem) in names and box_files.is_voc(path) for path in _ending(folder, ".xml")):
        return "voc"
    if _tables(folder):
        return "deepforest"
    foreign = {annotation_files.kind_of(p) for p in texts} & {"a VIA project", "VIA annotations"}
    if foreign and not any(f.stem.endswith(MARK) for f in beside):
        name = next(p for p in texts if annotation_files.kind_of(p) in foreign)
        raise GroveError(f"{name} is {foreign.pop()}, which is not read here. Export it from VIA as COCO.")
    if beside:
        return "beside"
    if any(pictures.files_of(folder / name) for name, _ in PAIRS):
        return "masks"  # none of the images has a mask yet
    known = "\n".join(f"  {name}: {what}" for name, what in LAYOUTS.items())
    raise GroveError(f"{folder} has no images in a known layout:\n{known}{_instead(folder)}")


def _instead(folder: Path) -> str:
    """A hint for a folder without pictures: files that are no pictures for this library, or folders in it."""
    kinds = (*filetypes.RAW, ".heic", ".heif", ".gif", ".jp2", ".pdf", ".zip", ".xcf", ".psd", ".avif")
    places = [folder, *(p for p in (folder / "images", folder / "img") if p.is_dir())]
    odd = sorted(f for p in places for f in p.iterdir() if f.suffix.lower() in kinds)
    alone = [p for p in _jsons(folder) if annotation_files.kind_of(p) == "labelme"]
    if not odd and alone:
        return (
            f"\n{alone[0]} is of LabelMe, and its image is not beside it. An image inside the file (imageData) is not "
            f"read: labelme_export_json {alone[0].name} writes it as a picture."
        )
    if not odd:
        deeper = [d for p in places for d in sorted(p.iterdir()) if p != folder and d.is_dir()]
        if deeper:
            return f"\nIts pictures lie deeper, in {deeper[0]} for example. Move pictures and masks up by one folder."
        inner = [f.name for f in sorted(folder.iterdir()) if f.is_dir() and not filetypes.is_system_file(f.name)]
        named = f"{', '.join(inner[:SHOWN])}{' …' if len(inner) > SHOWN else ''}"
        return f"\nIt holds the folders {named}. Name one of them, or rename them as above." if inner else ""
    return f"\n{odd[0]} {filetypes.what_is(odd[0])} Pictures are {', '.join(pictures.SUFFIXES)}."


def orphans(folder: Path, layout: str, listed: list[Capture]) -> list[Path]:
    """Masks that belong to no image."""
    used = {c.mask.resolve() for c in listed if c.mask}
    if layout == "masks":
        there = [f for _, name in PAIRS for f in pictures.files_of(folder / name)]
    elif layout == "detectree":
        there = pictures.files_of(folder / DETECTREE[1])
    elif layout == "keras-segmentation":
        there = [f for _, masks, _ in _keras_pairs(folder) for f in pictures.files_of(masks)]
    elif layout == "labelme":
        there = [f for f in _jsons(folder) if annotation_files.kind_of(f) == "labelme"]
    elif layout == "voc":
        there = [
            f for f in _ending(_voc_pair(folder)[1] if _voc_pair(folder) else folder, ".xml") if box_files.is_voc(f)
        ]
    elif layout == "beside":
        there = [f for f in pictures.files_of(folder) if f.stem.endswith(MARK)]
    else:
        there = []
    return [f for f in there if f.resolve() not in used]


# -- layouts -----------------------------------------------------------------------------------------------------------


def _counted(name: str) -> list:
    """A key that sorts image_9 before image_10."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name)]


def _ending(folder: Path, suffix: str) -> list[Path]:
    """Files of a folder with an ending, without those of the operating system and of the library."""
    if not folder.is_dir():
        return []
    files = (f for f in folder.iterdir() if f.suffix.lower() == suffix and f.is_file())
    return sorted(f for f in files if not filetypes.is_system_file(f.name) and f.name not in OURS)


def _jsons(folder: Path) -> list[Path]:
    return [f for f in _ending(folder, ".json") if f.name != flight.FILE]


def _paired(images: Path, masks: Path, prefix: str = "", layout: str = "masks", side: str = "") -> list[Capture]:
    there = pictures.files_of(masks)
    by_name: dict[str, Path] = {}
    for file in there:
        by_name.setdefault(file.stem, file)
        by_name.setdefault(file.stem.removesuffix(MARK), file)
    find = pictures.finder(by_name)  # also img_1.png for IMG_1.JPG
    return [Capture(prefix + file.stem, file, find(file.stem), layout, side=side) for file in pictures.files_of(images)]


def _masks(folder):
    return [c for a, b in PAIRS if (folder / a).is_dir() for c in _paired(folder / a, folder / b)]


def _detectree(folder):
    return _paired(*(folder / name for name in DETECTREE), layout="detectree")


def _keras_pairs(folder: Path) -> list[tuple[Path, Path, str]]:
    pairs = []
    for images in sorted(folder.glob("images*")):
        masks = folder / images.name.replace("images", "annotations", 1)
        if images.is_dir() and masks.is_dir():
            pairs.append((images, masks, images.name.removeprefix("images").strip("_")))
    return pairs


def _keras_segmentation(folder):
    pairs = _keras_pairs(folder)
    listed = []
    for images, folder_of_masks, part in pairs:
        side = SIDES.get(re.split(r"[_\- ]", part.lower())[-1], "")
        listed += _paired(images, folder_of_masks, f"{part}/" if len(pairs) > 1 else "", "keras-segmentation", side)
    return listed


def _beside(folder):
    files = pictures.files_of(folder)
    find = pictures.finder({f.stem.removesuffix(MARK): f for f in files if f.stem.endswith(MARK)})
    return [Capture(f.stem, f, find(f.stem), "beside") for f in files if not f.stem.endswith(MARK)]


def _labelme(folder):
    find = pictures.finder({f.stem: f for f in _jsons(folder)})
    return [Capture(f.stem, f, find(f.stem), "labelme") for f in pictures.files_of(folder)]


def _voc_pair(folder: Path) -> tuple[Path, Path] | None:
    """The folders of images and of XML files; None where there are none."""
    for a, b in VOC_PAIRS:
        if (folder / a).is_dir() and _ending(folder / b, ".xml") and not pictures.files_of(folder / b):
            return folder / a, folder / b
    return None


def _voc(folder):
    images, texts = _voc_pair(folder) or (folder, folder)
    find = pictures.finder({f.stem: f for f in _ending(texts, ".xml")})
    return [Capture(f.stem, f, find(f.stem), "voc") for f in pictures.files_of(images)]


def _tables(folder: Path) -> list[Path]:
    return [f for f in _ending(folder, ".csv") if box_files.is_table(f)]


def _deepforest(folder):
    listed = []
    for path in _tables(folder):
        listed += [(path, image, image) for image in box_files.table(path)]
    return _with_images(folder, listed, "deepforest")


def _coco(folder):
    texts = [*_jsons(folder), *_jsons(folder / "annotations")]
    texts = [p for p in texts if annotation_files.kind_of(p) == "coco"] or texts
    if not texts:
        raise GroveError(f"Expected a COCO file in {folder}, found no .json.")
    listed = []
    for path in texts:
        for number, image in coco.index(path)["images"].items():
            if not image.get("file_name"):
                raise GroveError(f"{path} has an image without a file_name (id {number}).")
            listed.append((path, image["file_name"], number))
    return _with_images(folder, listed, "coco")


def _with_images(folder: Path, listed: list[tuple], layout: str) -> list[Capture]:
    """Captures of the images in a list of (annotation file, image, number), and of the folder's other images."""
    named: list[Capture] = []
    seen: dict[Path, tuple[Path, str]] = {}  # image → the file that lists it, and how
    images = folder / "images"
    find = pictures.finder({f.name: f.resolve() for place in (images, folder) for f in pictures.files_of(place)})
    for path, name, number in listed:
        base = Path(str(name).replace("\\", "/")).name  # some tools write paths of their server
        tried = [(place / n).resolve() for n in (str(name).replace("\\", "/"), base) for place in (folder, images)]
        file = next((p for p in tried if p.is_relative_to(folder.resolve()) and p.is_file()), None)
        file = file or find(base) or find(unquote(base)) or annotation_files.inside(folder, name, path)
        if file in seen:
            by, other = seen[file]
            where = f"as {by} does" if by != path else "twice" if other == name else f"also as {other!r}"
            raise GroveError(f"{path} lists the image {name!r} {where}. Keep one of them.")
        seen[file] = path, str(name)
        named.append(Capture(Path(str(name).replace("\\", "/")).stem, file, path, layout, number))
    for place in (folder, folder / "images"):
        named += [Capture(f.stem, f, None, layout) for f in pictures.files_of(place) if f.resolve() not in seen]
    return named


_FIND = {
    "masks": _masks,
    "beside": _beside,
    "keras-segmentation": _keras_segmentation,
    "detectree": _detectree,
    "labelme": _labelme,
    "coco": _coco,
    "voc": _voc,
    "deepforest": _deepforest,
}
