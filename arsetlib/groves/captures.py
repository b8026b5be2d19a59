"""Read captures and masks, write masks: whole files or none.

Lab: case_groves.
"""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np

from arsetlib import filetypes, folders, groves, textfiles
from arsetlib.groves import layouts, masks, pictures
from arsetlib.groves.classes import GroveError

IMAGES, IGNORE = pictures.SUFFIXES, groves.IGNORE
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
            raise GroveError(f"There is no file or folder {path}.")
        place = path / "masks" if (path / "images").is_dir() else path.parent / "masks"
        path = path / "images" if (path / "images").is_dir() else path
        found = pictures.files_of(path)
        stems = {p.stem for p in found}
        found = [p for p in found if not (p.stem.endswith(masks.MARK) and p.stem.removesuffix(masks.MARK) in stems)]
        if not found:
            raise GroveError(f"{path} holds no image ({', '.join(IMAGES)}).")
        made = [(p.stem, p, place / f"{p.stem}.png") for p in found]
        captures = [(name, p, mask if mask.is_file() and mask != p else None) for name, p, mask in made]
    else:
        captures = [row for c in captures for row in (listed(c) if isinstance(c, str | Path) else [c])]
    rows = [
        c if isinstance(c, tuple) else (c.name, c.image, c if c.mask and hasattr(c, "layout") else c.mask)
        for c in captures
    ]
    names = [row[0] for row in rows]
    if twice := sorted({n for n in names if names.count(n) > 1}):
        raise GroveError(f"Two captures are called {', '.join(twice)}; their maps would overwrite each other.")
    return [(name, Path(image), Path(mask) if isinstance(mask, str) else mask) for name, image, mask in rows]


def read_image(path: Path, channels: int) -> np.ndarray:
    """(H, W, C) uint8, exactly the bands that the model wants; see ``read_valid``."""
    return read_valid(path, channels)[0]


def read_valid(path: Path, channels: int) -> tuple[np.ndarray, np.ndarray | None]:
    """(H, W, C) uint8, exactly the bands that the model wants, and where the image has data.

    The second is (H, W) bool, False where pixels are transparent or have the file's value of no data; None where all
    have data. A transparency is no band.
    """
    if path.suffix.lower() in (".tif", ".tiff"):
        image, valid = _raster(path, channels)
    elif channels == 3 and (mode := _picture(path).mode) in ("RGB", "RGBA", "P"):
        try:
            return pictures.read_valid(path)
        except groves.GroveError as problem:
            bands = f"{path} has 4 bands, the model takes 3. " if mode == "RGBA" else ""
            raise GroveError(f"{bands}{problem}") from problem
    else:
        image, valid = np.asarray(_picture(path)), None
        image = image[:, :, None] if image.ndim == 2 else image
    if image.dtype != np.uint8:
        raise GroveError(f"{path} holds {image.dtype}; expected 8-bit values (0 to 255). Scale it first.")
    if image.shape[2] != channels:
        raise GroveError(
            f"{path} has {image.shape[2]} bands, the model takes {channels}. Nothing is dropped silently: write the "
            f"bands that the model knows into a new file, or train one with channels = {image.shape[2]}."
        )
    return image, valid


def _raster(path: Path, channels: int):
    """The bands of a TIFF, and where it has data by its alpha band, mask or value of no data."""
    import warnings

    import rasterio
    from rasterio.enums import ColorInterp

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            source = rasterio.open(path)
        with source:
            if source.width * source.height > pictures.MOST_PIXELS:
                raise GroveError(
                    f"{path} has {source.width} × {source.height} pixels, more than {pictures.MOST_PIXELS:,}. Cut "
                    "it into parts first."
                )
            bands = [k for k, what in enumerate(source.colorinterp, 1) if what != ColorInterp.alpha]
            clear = len(bands) < source.count == channels + 1
            image = np.moveaxis(source.read(bands if clear else None), 0, -1)
            valid = source.dataset_mask() == 255  # less: half transparent
    except rasterio.RasterioIOError as problem:
        raise GroveError(f"{path} {filetypes.what_is(path)} ({problem})") from problem
    return image, None if valid.all() else valid


def read_mask(path, classes: groves.Classes | None = None) -> np.ndarray:
    """(H, W) uint8 class numbers, 255 = not labelled; of a file, or of a capture in any layout that `tiles` knows.

    Args:
        path: A file, or a capture of ``groves.captures``.
        classes: What numbers and colours mean. None takes a capture's own (``classes.toml``), and a file's numbers as
            they are.
    """
    try:
        if not hasattr(path, "layout"):
            return masks.read_mask(path, classes)
        if classes is not None:  # what boxes become is stated in the folder of the captures
            classes = replace(classes, boxes=layouts.classes_of(path).boxes)
        return groves.read(path, classes)[1]
    except groves.GroveError as problem:
        raise GroveError(str(problem)) from problem


def _picture(path: Path):
    try:
        return pictures.loaded(path)
    except groves.GroveError as problem:
        raise GroveError(str(problem)) from problem


def card(folder: Path) -> dict:
    """How ``predict`` made a folder of maps; empty where it made none.

    Raises:
        GroveError: Some of the maps that were planned are not there.
    """
    if folders.state(folder) == "unfinished":
        raise GroveError(
            f"The maps in {folder} are unfinished: not all captures that were to be mapped have a map. Run the same "
            "`arset groves predict` again: finished maps are kept."
        )
    if plan := folders.Folder(folder).plan():
        return {key: value for key, value in plan.items() if key != "parts"}
    try:
        return textfiles.read_json(folder / CARD)
    except FileNotFoundError:
        return {}
    except ValueError as problem:
        raise GroveError(f"{folder / CARD} cannot be read ({problem}). Delete the folder and map anew.") from problem


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
    palette = [int(colour[i : i + 2], 16) for colour in colours for i in (1, 3, 5)]
    if (mask == IGNORE).any():  # shown in a colour that is no class's
        grey = next(g for g in (255, 0, 128) if f"#{g:02x}{g:02x}{g:02x}" not in {c.lower() for c in colours})
        palette = palette + [grey] * (768 - len(palette))
    picture.putpalette(palette)
    text = PngImagePlugin.PngInfo()
    if about:
        text.add_text("Description", about)
    encoded = io.BytesIO()  # Pillow hides why a file could not be written
    picture.save(encoded, "PNG", compress_level=3, pnginfo=text)
    folders.put(path, encoded.getvalue())
