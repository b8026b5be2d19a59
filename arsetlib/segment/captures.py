"""Read captures and masks, write masks: whole files or none.

Lab: case_olive_groves.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from arsetlib import folders, textfiles, tiles
from arsetlib.segment.segmenter import SegmentError
from arsetlib.tiles import pictures

IMAGES, IGNORE = pictures.SUFFIXES, tiles.IGNORE
CARD = "maps.json"  # of a folder of maps of earlier versions


def listed(captures) -> list:
    """(name, path of the image, mask or None) of each capture; a mask is a path, or a capture that `tiles` reads.

    Args:
        captures: A folder of images (or one with ``images`` and ``masks``), a file, or a list of these or of captures
            (anything with ``name``, ``image`` and ``mask``).
    """
    if isinstance(captures, str | Path):
        path = Path(captures)
        if path.is_file():
            return [(path.stem, path, None)]
        if not path.is_dir():
            raise SegmentError(f"There is no file or folder {path}.")
        masks = path / "masks" if (path / "images").is_dir() else path.parent / "masks"
        path = path / "images" if (path / "images").is_dir() else path
        found = sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGES and not p.name.startswith("."))
        if not found:
            raise SegmentError(f"{path} holds no image ({', '.join(IMAGES)}).")
        made = [(p.stem, p, masks / f"{p.stem}.png") for p in found]
        captures = [(name, p, mask if mask.is_file() and mask != p else None) for name, p, mask in made]
    else:
        captures = [row for c in captures for row in (listed(c) if isinstance(c, str | Path) else [c])]
    rows = [
        c if isinstance(c, tuple) else (c.name, c.image, c if c.mask and hasattr(c, "layout") else c.mask)
        for c in captures
    ]
    names = [row[0] for row in rows]
    if twice := sorted({n for n in names if names.count(n) > 1}):
        raise SegmentError(f"Two captures are called {', '.join(twice)}; their maps would overwrite each other.")
    return [(name, Path(image), Path(mask) if isinstance(mask, str) else mask) for name, image, mask in rows]


def read_image(path: Path, channels: int) -> np.ndarray:
    """(H, W, C) uint8, exactly the bands that the model wants."""
    if path.suffix.lower() in (".tif", ".tiff"):
        import rasterio

        try:
            with rasterio.open(path) as source:
                if source.width * source.height > pictures.MOST_PIXELS:
                    raise SegmentError(
                        f"{path} has {source.width} × {source.height} pixels, more than {pictures.MOST_PIXELS:,}. Cut "
                        "it into parts first."
                    )
                image = np.moveaxis(source.read(), 0, -1)
        except rasterio.RasterioIOError as problem:
            raise SegmentError(f"{path} cannot be read: {problem}.") from problem
    else:
        picture = _picture(path)
        image = np.asarray(picture.convert("RGB") if picture.mode == "P" else picture)
        image = image[:, :, None] if image.ndim == 2 else image
    if image.dtype != np.uint8:
        raise SegmentError(f"{path} holds {image.dtype}; expected 8-bit values (0 to 255). Scale it first.")
    if image.shape[2] != channels:
        raise SegmentError(
            f"{path} has {image.shape[2]} bands, the model takes {channels}. Nothing is dropped silently: write the "
            f"bands that the model knows into a new file, or train one with channels = {image.shape[2]}."
        )
    return image


def read_mask(path, classes: tiles.Classes | None = None) -> np.ndarray:
    """(H, W) uint8 class numbers, 255 = not labelled; of a file, or of a capture in any layout that `tiles` knows.

    Args:
        path: A file, or a capture of ``tiles.captures``.
        classes: What numbers and colours mean. None takes the file's numbers as they are.
    """
    try:
        if hasattr(path, "layout"):
            return tiles.read(path, classes or tiles.CLASSES)[1]
        if classes is not None:
            return pictures.read_mask(path, classes)
    except tiles.TileError as problem:
        raise SegmentError(str(problem)) from problem
    mask = np.asarray(_picture(path))
    if mask.ndim == 3 and (mask == mask[:, :, :1]).all():
        mask = mask[:, :, 0]
    if mask.ndim != 2 or mask.dtype != np.uint8:
        raise SegmentError(f"{path} is no mask of class numbers (8 bit, one band); `arset tiles check` tells more.")
    return mask


def _picture(path: Path):
    try:
        return pictures.loaded(path)
    except tiles.TileError as problem:
        raise SegmentError(str(problem)) from problem


def card(folder: Path) -> dict:
    """How ``predict`` made a folder of maps; empty where it made none.

    Raises:
        SegmentError: Some of the maps that were planned are not there.
    """
    if folders.state(folder) == "unfinished":
        raise SegmentError(
            f"The maps in {folder} are unfinished: not all captures that were to be mapped have a map. Run the same "
            "`arset segment predict` again: finished maps are kept."
        )
    if plan := folders.Folder(folder).plan():
        return {key: value for key, value in plan.items() if key != "parts"}
    try:
        return textfiles.read_json(folder / CARD)
    except FileNotFoundError:
        return {}
    except ValueError as problem:
        raise SegmentError(f"{folder / CARD} cannot be read ({problem}). Delete the folder and map anew.") from problem


def described(path: Path) -> str:
    """The text that ``write_mask`` put into a map; empty where there is none."""
    from PIL import Image

    try:
        with Image.open(path, formats=("PNG",)) as picture:
            return getattr(picture, "text", {}).get("Description", "")
    except (OSError, SyntaxError, ValueError):
        return ""


def write_mask(mask: np.ndarray, path: Path, colours, about: str = "") -> None:
    """Write class numbers as a PNG with a palette, whole or not at all."""
    from PIL import Image, PngImagePlugin

    picture = Image.fromarray(mask).convert("P")
    picture.putpalette([int(colour[i : i + 2], 16) for colour in colours for i in (1, 3, 5)])
    text = PngImagePlugin.PngInfo()
    if about:
        text.add_text("Description", about)
    encoded = io.BytesIO()  # Pillow hides why a file could not be written
    picture.save(encoded, "PNG", compress_level=3, pnginfo=text)
    folders.put(path, encoded.getvalue())
