"""Find and read the files of field images in the layout of Agriculture-Vision, and list what does not fit together.

Lab: case_fields.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from arsetlib import filetypes, folders, textfiles
from arsetlib.fields.classes import CLASSES, ImageError

if TYPE_CHECKING:
    from PIL import Image

PARTS = ("train", "val", "test")  # folders of the challenge's download
# Names in the data of the paper, then in the challenge's download.
IMAGES, LABELS = ("field_images", "images"), ("field_labels", "labels")
BOUNDS, MASKS = ("field_bounds", "boundaries"), ("field_masks", "masks")
NAME = re.compile(r"(?P<field>[^_]+)_\d+-\d+-\d+-\d+")
ORIENTATION = 0x0112  # tag: how the camera was turned
MOST_PIXELS = 80_000_000  # of a picture: a small compressed file can need more memory than there is


@dataclass(frozen=True)
class Paths:
    """The files of one chip.

    Args:
        rgb, nir: JPEG of three bands and of one.
        bounds, masks: PNG, 255 in the field, 255 where the camera has a pixel.
        labels: PNG of each class in the order of ``CLASSES``, 255 where the anomaly is.
    """

    rgb: Path
    nir: Path
    bounds: Path
    masks: Path
    labels: tuple[Path, ...]

    @property
    def all(self) -> tuple[Path, ...]:
        """All of them."""
        return self.rgb, self.nir, self.bounds, self.masks, *self.labels

    def valid(self, size: tuple[int, int]) -> np.ndarray | None:
        """(H, W) bool, pixels within the field and the mask; None if all are.

        Raises:
            ImageError: A file cannot be read, or has another size or other values.
        """
        valid = None
        for path in (self.bounds, self.masks):
            shape, count, pixels = mask(path)
            same_size(path, shape, size)
            if pixels is None and not count:
                pixels = np.zeros(shape, bool)
            if pixels is not None:
                valid = pixels if valid is None else valid & pixels
        return valid


@dataclass(frozen=True)
class Part:
    """One folder with images, masks and labels.

    Args:
        name: ``train``, ``val`` or ``test``; empty where there are no such folders.
        images, labels, bounds, masks: Its folders.
        names: Of its chips, ascending.
        stamp: Of the names, sizes and times of all its files.
        problems: (file, message).
        unlabelled: Chips left out because this part has no labels at all, as the challenge's test part.
    """

    name: str
    images: Path
    labels: Path
    bounds: Path
    masks: Path
    names: tuple[str, ...]
    stamp: str
    problems: tuple[tuple[str, str], ...] = ()
    unlabelled: int = 0

    def paths(self, name: str) -> Paths:
        """The files of a chip."""
        return Paths(
            self.images / "rgb" / f"{name}.jpg",
            self.images / "nir" / f"{name}.jpg",
            self.bounds / f"{name}.png",
            self.masks / f"{name}.png",
            tuple(self.labels / label / f"{name}.png" for label in CLASSES),
        )


def parts(folder: Path) -> list[Part]:
    """The parts of a folder: train, val and test if it has these, else the folder itself.

    Raises:
        ImageError: No folder, no images in this layout, or a simulated set that is not finished.
    """
    if not folder.is_dir():
        raise ImageError(f"{folder} is not a folder. Expected one with {IMAGES[0]}/rgb, {IMAGES[0]}/nir, {LABELS[0]} …")
    if folders.state(folder) == "unfinished":
        raise ImageError(
            f"{folder} is a simulated set of fields that is not finished. Run `arset simulate-fields {folder}` again "
            "with the same options."
        )
    places = [("", folder)] if _first(folder, IMAGES) else [(p, folder / p) for p in PARTS if (folder / p).is_dir()]
    parts = [_part(name, place) for name, place in places if _first(place, IMAGES)]
    if parts and parts[0].name:  # not of a folder without parts
        _refuse_other_parts(folder, parts)
    if not parts:
        raise ImageError(
            f"{folder} has no images in the layout of Agriculture-Vision. Expected {IMAGES[0]}/rgb and "
            f"{IMAGES[0]}/nir in it, or the folders {', '.join(PARTS)} with them."
        )
    if not any(part.names or part.unlabelled or part.problems for part in parts):
        raise ImageError(f"{folder} has no images: {parts[0].images / 'rgb'} is empty. Copy the images there.")
    return parts


def _refuse_other_parts(folder: Path, parts: list[Part]) -> None:
    """Refuse a folder of images beside train, val and test: its images would be left out."""
    known = {part.name for part in parts}
    for place in sorted(folder.iterdir()):
        if place.name not in known and place.is_dir() and _first(place, IMAGES):
            raise ImageError(
                f"{place} has images, and its name is none of {', '.join(PARTS)}. Rename it so that it is read, or "
                "move it elsewhere."
            )


def field_of(name: str) -> str:
    """The field of a chip of this name.

    >>> field_of("1A2B_0-0-512-512")
    '1A2B'
    """
    return name.split("_")[0]


def spellings(names: Iterable[str]) -> list[tuple[str, str]]:
    """Fields that differ only in upper and lower case or in how accents are stored, as (one, other)."""
    same = defaultdict(set)
    for name in names:
        same[textfiles.folded(field_of(name))].add(field_of(name))
    return [(first, other) for first, *others in map(sorted, same.values()) for other in others]


def _first(folder: Path, names: tuple[str, ...]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_dir()), None)


def _listed(folder: Path, suffix: str, stamp) -> tuple[set[str], list[str]]:
    """Names with the suffix in a folder, and other files; files of the operating system do not count."""
    names, others = set(), []
    if folder.is_dir():
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda e: e.name):
                if filetypes.is_system_file(entry.name):
                    continue
                try:
                    state = entry.stat()
                except FileNotFoundError:  # a link: reading the file says so
                    state = entry.stat(follow_symlinks=False)
                stamp.update(f"{folder.name}/{entry.name} {state.st_size} {state.st_mtime_ns}\n".encode())
                if entry.name.endswith(suffix):
                    names.add(entry.name[: -len(suffix)])
                else:
                    others.append(entry.name)
    return names, others


def _part(name: str, folder: Path) -> Part:
    images = _first(folder, IMAGES)
    labels = _first(folder, LABELS)
    bounds, masks = (_first(folder, names) or folder / names[0] for names in (BOUNDS, MASKS))
    problems, stamp = [], hashlib.sha256()

    def wrong(path: Path, text: str) -> None:
        problems.append((str(path), f"{path} {text}"))

    rgb, strange = _listed(images / "rgb", ".jpg", stamp)
    for file in strange:
        wrong(images / "rgb" / file, _strange(file, ".jpg"))
    for chip in sorted(rgb):
        if not NAME.fullmatch(chip):
            wrong(
                images / "rgb" / f"{chip}.jpg",
                "has a name without its field: expected FIELD_x1-y1-x2-y2.jpg, without _ in FIELD, so that the chips "
                "of a field stay in one set. Rename it.",
            )
    if labels is None:
        if name:
            return Part(name, images, folder, bounds, masks, (), stamp.hexdigest(), (), len(rgb))
        wrong(folder / LABELS[0], "does not exist: expected a folder of masks for each class in it.")
        labels = folder / LABELS[0]

    others = [(images / "nir", ".jpg", "near-infrared image"), (bounds, ".png", "boundary"), (masks, ".png", "mask")]
    for place, suffix, what in others:
        _compare(rgb, _listed(place, suffix, stamp), place, suffix, what, images / "rgb", wrong)
    for place in sorted(labels.iterdir()) if labels.is_dir() else ():
        if place.is_dir() and place.name not in CLASSES and not filetypes.is_system_file(place.name):
            wrong(
                place,
                f"is not a class of the nine: {', '.join(CLASSES)}. Move it elsewhere. (The challenge of 2020 had six "
                "other classes; the full data and the challenge of 2021 have these.)",
            )
    for label in CLASSES:
        place = labels / label
        if not place.is_dir():
            wrong(place, "does not exist: expected a folder of masks for each of the nine classes.")
            continue
        listed = _listed(place, ".png", stamp)
        if rgb and not listed[0]:
            wrong(place, "is a class folder without masks: expected one PNG for each image, empty ones too.")
            continue
        _compare(rgb, listed, place, ".png", "label mask", images / "rgb", wrong)
    return Part(name, images, labels, bounds, masks, tuple(sorted(rgb)), stamp.hexdigest(), tuple(problems))


def _compare(rgb, listed, place, suffix, what, images, wrong) -> None:
    """List images without a file in a folder, and files there without an image."""
    names, strange = listed
    if rgb and not names:
        wrong(place, f"has no {suffix} files: expected a {what} for each image.")
        return
    plain = {textfiles.folded(chip): chip for chip in names - rgb}
    for chip in sorted(rgb - names):
        if other := plain.get(textfiles.folded(chip)):
            names = names - {other}
            wrong(
                place / f"{other}{suffix}",
                f"is written in another way than {images / (chip + '.jpg')}: upper and lower case differ, or how an "
                f"accent is stored (macOS stores two characters). Rename it; in Python: {other + suffix!a} → "
                f"{chip + suffix!a}.",
            )
            continue
        wrong(images / f"{chip}.jpg", f"has no {what}: expected {place / (chip + suffix)}. Copy it again.")
    for chip in sorted(names - rgb):
        wrong(place / f"{chip}{suffix}", f"is a {what} without its image: expected {images / (chip + '.jpg')}.")
    for file in strange:
        wrong(place / file, _strange(file, suffix))


def _strange(file: str, suffix: str) -> str:
    """What is wrong with a file of another ending."""
    ending = Path(file).suffix
    if ending.lower().replace(".jpeg", ".jpg") == suffix:
        return f"ends in {ending}: expected {suffix}. Rename it."
    return f"is not a {suffix}: expected {suffix} files only. Move it elsewhere."


# -- reading one file --------------------------------------------------------------------------------------------------


def opened(path: Path) -> Image.Image:
    """A Pillow picture whose header has been read.

    Raises:
        ImageError: It cannot be read, or has too many pixels.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        picture = Image.open(path, formats=("JPEG", "PNG"))
    except FileNotFoundError:
        if path.is_symlink():
            raise ImageError(f"{path} is a link to {os.readlink(path)}, which does not exist. Copy it again.") from None
        raise ImageError(f"{path} does not exist. Copy it again, or read the folder again.") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ImageError(f"{path} holds more than {MOST_PIXELS:,} pixels: that is not a chip.") from None
    except (UnidentifiedImageError, IsADirectoryError, PermissionError):
        raise ImageError(f"{path} {filetypes.what_is(path)} Expected a JPEG or PNG.") from None
    except (OSError, SyntaxError, ValueError, EOFError) as problem:
        raise ImageError(f"{path} cannot be read ({problem}). Copy it again.") from None
    if picture.width * picture.height > MOST_PIXELS:
        picture.close()
        raise ImageError(f"{path} has {picture.width} × {picture.height} pixels: that is not a chip.")
    return picture


def check_header(path: Path, picture: Image.Image, bands: int) -> None:
    """Refuse a picture of other channels, or one that a viewer turns, as the masks beside it are not.

    Raises:
        ImageError: It is one of these.
    """
    if picture.mode not in ({"L", "1"} if bands == 1 else {"RGB"}):
        raise ImageError(
            f"{path} has {len(picture.getbands())} channel(s) of mode {picture.mode}, expected {bands} of 8 bits "
            f"({'grey' if bands == 1 else 'RGB'}). Export it again."
        )
    tag = picture.getexif().get(ORIENTATION, 1) if picture.format == "JPEG" else 1  # a PNG would be read whole
    if tag not in (0, 1):
        raise ImageError(
            f"{path} is turned by a tag of the camera (EXIF orientation {tag}); expected pixels that lie as those of "
            "its other files. Turn the pixels, and save it without the tag."
        )


def _loaded(path: Path, bands: int):
    with opened(path) as picture:
        check_header(path, picture, bands)
        try:
            picture.load()
        except (OSError, SyntaxError, ValueError, EOFError) as problem:
            raise ImageError(f"{path} is damaged ({problem}). Copy it again.") from None
        return picture.convert("L") if picture.mode == "1" else picture


def photo(path: Path, bands: int) -> np.ndarray:
    """(H, W, 3) or (H, W) uint8.

    Raises:
        ImageError: Unreadable, damaged, or with another number of channels.
    """
    return np.asarray(_loaded(path, bands))


def same_size(path: Path, shape: tuple[int, ...], size: tuple[int, int]) -> None:
    """Compare the size of a picture with that of its chip.

    Raises:
        ImageError: It differs.
    """
    if tuple(shape[:2]) != tuple(size):
        raise ImageError(
            f"{path} has {shape[0]} × {shape[1]} pixels, expected {size[0]} × {size[1]} as the others. Export it "
            "again, or leave the image out."
        )


def mask(path: Path) -> tuple[tuple[int, int], int, np.ndarray | None]:
    """A mask of 0 and 255.

    Returns:
        (rows, columns); how many pixels are set; (H, W) bool, or None if none or all of them are set.

    Raises:
        ImageError: Unreadable, damaged, or with other values.
    """
    picture = _loaded(path, 1)
    counts = picture.histogram()
    total = picture.width * picture.height
    if counts[0] + counts[255] != total:
        other = next(value for value in range(1, 255) if counts[value])
        raise ImageError(f"{path} has the value {other}, expected 0 and 255 only. Export it as a PNG mask again.")
    some = 0 < counts[255] < total
    return (picture.height, picture.width), counts[255], np.asarray(picture) > 0 if some else None
