"""Check a folder of images and masks before anything is trained on it.

Lab: case_groves.
"""

from __future__ import annotations

import glob
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from arsetlib import checksums, copies, filetypes
from arsetlib.groves import box_files, flight, pictures
from arsetlib.groves.annotation_files import kind_of
from arsetlib.groves.capture import Capture, boxes, read
from arsetlib.groves.classes import FILE, IGNORE, Classes, GroveError
from arsetlib.groves.layouts import OURS, PAIRS, captures, orphans
from arsetlib.translation import _

MUCH = 0.25  # of a mask's pixels ignored: worth a note
OUTLINES = ("labelme", "coco", "voc", "deepforest")  # layouts whose files list outlines or boxes
BORDER = 0.1  # of an image's pixels exactly black, or white, and not ignored: worth a note
SHOWN = 5  # names in a note
VECTORS = (".shp", ".gpkg", ".geojson", ".kml")
IMAGE_FOLDERS, MASK_FOLDERS = zip(*PAIRS, strict=True)


@dataclass(frozen=True)
class CaptureCheck:
    """What a folder of captures holds and what is wrong with it.

    Args:
        folder: The folder.
        layout: Its layout.
        captures: How many images.
        labelled: How many of them have a mask that can be used.
        share: Class → share of the labelled pixels.
        problems: (file, what is wrong).
        simulated: Whether the folder's flight.json says that it is simulated.
        notes: (file or folder, what is unusual and may be a mistake).
        ignored: Share of the masks' pixels that count for nothing: 255, or without data in the image.

    Lab: case_groves.
    """

    folder: Path
    layout: str
    captures: int
    labelled: int
    share: dict[str, float] = field(default_factory=dict)
    problems: list[tuple[str, str]] = field(default_factory=list)
    simulated: bool = False
    notes: list[tuple[str, str]] = field(default_factory=list)
    ignored: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether there is no problem."""
        return not self.problems

    @property
    def absent(self) -> list[str]:
        """Classes that no mask holds."""
        return [key for key, share in self.share.items() if not share]

    def as_dict(self) -> dict:
        """JSON values."""
        return {
            "folder": str(self.folder),
            "layout": self.layout,
            "simulated": self.simulated,
            "captures": self.captures,
            "labelled": self.labelled,
            "share": self.share,
            "absent": self.absent,
            "ignored": self.ignored,
            "ok": self.ok,
            "problems": [{"file": file, "problem": what} for file, what in self.problems],
            "notes": [{"file": file, "note": what} for file, what in self.notes],
        }

    def __str__(self) -> str:
        lines = [
            _("{captures} captures in {folder} ({layout}), {labelled} with a mask of known classes").format(
                captures=self.captures, folder=self.folder, layout=self.layout, labelled=self.labelled
            )
        ]
        if self.simulated:
            lines.append(_("SIMULATED: nothing here was photographed"))
        lines += [f"  {key}: {share:.1%}" for key, share in self.share.items()]
        if self.ignored:
            lines.append("  " + _("ignored: {share} of all pixels of the masks").format(share=f"{self.ignored:.1%}"))
        lines += [f"{_('NOTE')} {what}" for __, what in self.notes]
        lines += [f"{_('PROBLEM')} {what}" for __, what in self.problems]
        if self.ok:
            lines.append(_("No file is wrong, but read the notes") if self.notes else _("No problem found"))
        return "\n".join(lines)


def check(
    folder: str | Path, layout: str = "auto", classes: Classes | None = None, size: int = 224, progress: bool = False
) -> CaptureCheck:
    """Read every image and mask of a folder and name what does not fit.

    Args:
        folder: Images and masks in one of ``groves.LAYOUTS``.
        layout: Which; ``"auto"`` finds out.
        classes: Known classes; None takes those of ``classes.toml`` in the folder, or ground, tree and grass.
        size: Side of the tiles that are to be cut, pixels.
        progress: Show a progress bar.

    Returns:
        The report. ``ok`` is False where a file cannot be read, a pair does not match, a colour or label is unknown,
        numbers can be read in two ways, sizes differ, no file has an outline, or an image is smaller than a tile.
        ``notes`` names classes that never occur, masks with a large ignored share, and boxes that were filled as
        ellipses.

    Raises:
        GroveError: The folder has no images in a known layout.

    Lab: case_groves. Shell: ``arset groves check FOLDER``.
    """
    from tqdm.auto import tqdm

    folder = copies.fetched(folder)
    classes = classes or Classes.of(folder)
    listed = captures(folder, layout)
    layout = listed[0].layout
    problems, notes, counts, labelled, ellipses = [], [], np.zeros(256, np.int64), 0, 0
    empty = []  # labelled captures whose pixels are all of class 0
    files: dict[str, Path] = {}  # digest → image
    turned = []  # labelled captures whose image a tag turns, unseen in its size
    for capture in tqdm(listed, desc="check", unit="image", disable=not progress):
        try:
            shape = pictures.size_of(capture.image)
            same = files.setdefault(checksums.sha256(capture.image), capture.image)
            if same != capture.image:
                what = (
                    f"{capture.image} is the same file as {same}. Delete one: a model must not be tested on a picture "
                )
                notes.append((str(capture.image), f"{what}of its training, and trees would be counted twice."))
            if min(shape) < size:
                what = f"{capture.image} has {shape[1]} × {shape[0]} pixels: it is smaller than a tile ({size})."
                problems.append((str(capture.image), what))
            if capture.mask is None:
                problems.append((str(capture.image), f"{capture.image} has no mask.{_beside(capture)}"))
            turned += [capture.name] if capture.mask and pictures.turned_unseen(capture.image) else []
            image, mask = read(capture, classes)
            drawn = boxes(capture, classes)
        except GroveError as problem:
            problems.append((str(capture.image), str(problem)))
            continue
        if mask is None:
            continue
        notes += _border(capture, image, mask)
        pixels = np.bincount(mask.ravel(), minlength=256)
        counts += pixels
        labelled += 1
        ellipses += 0 if drawn is None else len(drawn[0])
        if not pixels[1:IGNORE].any():
            empty.append(capture)
        if pixels[IGNORE] > MUCH * mask.size:
            share = pixels[IGNORE] / mask.size
            what = "has no pixel that counts" if share == 1 else f"is ignored: {share:.0%}"
            notes.append((str(capture.mask), f"{capture.mask} {what}. 255 and pixels without data count for nothing."))
    problems += [(str(file), f"{file} belongs to no image.") for file in orphans(folder, layout, listed)]
    total = counts[: len(classes)].sum()
    share = {key: float(n / total) for key, n in zip(classes.keys, counts, strict=False)} if total else {}
    without_outline = empty if layout in OUTLINES else []
    if without_outline and len(without_outline) == labelled and not problems:
        what = f"No file in {folder} has an outline: all pixels would be {classes.keys[0]}. Label the images."
        problems.append((str(folder), what))
    else:
        absent = [key for key, n in share.items() if not n]
        if without_outline:
            names = ", ".join(c.name for c in without_outline[:SHOWN]) + (" …" if len(without_outline) > SHOWN else "")
            what = f"{len(without_outline)} of {labelled} images have no outline: all their pixels are "
            notes.append((str(folder), f"{what}{classes.keys[0]} ({names})."))
        if ellipses:
            what = f"{ellipses} box(es) were filled as ellipses, an approximation ({FILE}: boxes = 'ellipse')."
            notes.append((str(folder), what))
        if absent:
            notes.append((str(folder), _never(absent, share, layout)))
        if turned:
            names = ", ".join(turned[:SHOWN]) + (" …" if len(turned) > SHOWN else "")
            what = f"{len(turned)} images are turned by a tag of the camera (EXIF orientation): {names}. They are read "
            notes.append((str(folder), f"{what}as viewers show them. Check that labels were drawn on them so."))
    ignored = float(counts[IGNORE] / counts.sum()) if counts.any() else 0.0
    simulated = False
    try:
        known = flight.of_folder(folder)
        simulated = known is not None and known.simulated
    except GroveError as problem:
        problems.append((str(folder / flight.FILE), str(problem)))
    return CaptureCheck(folder, layout, len(listed), labelled, share, problems, simulated, notes, ignored)


def _border(capture: Capture, image: np.ndarray, mask: np.ndarray) -> list[tuple[str, str]]:
    """A note on a large part of an image that is exactly black or white, as the border of an orthomosaic is."""
    for value, colour, bands in ((0, "black", image.max(-1)), (255, "white", image.min(-1))):
        share = ((bands == value) & (mask != IGNORE)).mean()
        if share > BORDER:
            what = (
                f"{capture.image} is {colour} ({value}) in {share:.0%} of its pixels, and they count as the mask has "
            )
            how = f"them. If they are a border without data, state it: gdal_edit.py -a_nodata {value} in a GeoTIFF."
            return [(str(capture.image), what + how)]
    return []


def _never(absent: list[str], share: dict[str, float], layout: str) -> str:
    what = f"No mask holds {' or '.join(absent)}."
    if len(absent) == len(share) - 1:
        only = next(key for key, n in share.items() if n)
        return f"{what} All pixels are {only}: a model has nothing to tell apart. Are these the right masks?"
    if layout == "detectree":
        return f"{what} In this layout black means everything except trees."
    return f"{what} If they should, check the masks; else state your own classes in {FILE}."


def _beside(capture: Capture) -> str:
    """What lies beside an image in place of a mask."""
    stem, here, name = capture.image.stem, capture.image.parent, capture.image.name
    for file in (here / f"{stem}.json", here / f"{name}.json"):
        if file.is_file() and kind_of(file) not in ("labelme", "coco"):
            return f" {_unread(file)}"
    file = here / f"{stem}.xml"
    if file.is_file():
        return f" {box_files.why_not(file)}"
    for file in (place / f"{stem}.txt" for place in (here, here.parent / "labels")):
        if file.is_file():
            return f" {file} looks like YOLO's, which is not read here. Export the labels as COCO."
    for table in sorted(here.glob("*.csv")):
        if box_files.is_table(table):
            return f" {table.name} has no row for it. If the image shows no tree, give it a row with empty corners."
        return f" {table.name} has not the columns {', '.join(box_files.COLUMNS)}."
    for folder in (here.parent / name for name in MASK_FOLDERS):
        for file in sorted(folder.glob(f"{glob.escape(stem)}*")):
            if file.suffix.lower() in pictures.SUFFIXES:
                return f" A mask has the name of its image, also with _mask at the end: not {file.name}."
            return f" {file} {filetypes.what_is(file)}"
    places = (here, here.parent) if here.name in IMAGE_FOLDERS else (here,)
    for file in (f for place in places for f in sorted(place.iterdir()) if f.suffix.lower() in VECTORS):
        return f" {file.name} holds shapes on the ground, not in pixels. Draw outlines as a mask (gdal_rasterize)."
    for file in (f for place in places for f in sorted(place.glob("*.json")) if f.name not in (*OURS, flight.FILE)):
        if kind_of(file) not in ("labelme", "coco"):
            return f" {_unread(file)}"
    for file in (f for place in places for f in sorted(place.glob("*.xml"))):
        if why := box_files.why_not(file):
            return f" {why}"
    return ""


def _unread(file: Path) -> str:
    """What a JSON file is that holds no annotations of a known kind, and what to do."""
    if (kind := kind_of(file)) == "not valid JSON":
        return f"{file.name} beside it is not valid JSON: cut short, perhaps, or not in UTF-8. Save it again."
    return f"{file.name} beside it is {kind}, not of LabelMe or COCO. If it holds the labels, export them as COCO."
