"""Read pictures and masks from files that may be damaged, huge or not what they say."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from arsetlib.tiles.classes import IGNORE, Classes, TileError

MOST_PIXELS = 80_000_000  # of a picture; a small file can hold a picture that fills the memory
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "MPO")
SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp")
ORIENTATION = 0x0112  # tag of how a camera was held
SHOWN = 3  # unknown colours that a message names


def _opened(path: Path):
    try:
        from PIL import Image
    except ImportError:
        raise TileError("Pictures need Pillow: pip install 'arsetlib[images]'.") from None
    try:
        picture = Image.open(path, formats=FORMATS)
    except FileNotFoundError:
        raise TileError(f"{path} does not exist.") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise TileError(f"{path} holds more than {MOST_PIXELS:,} pixels. Cut it into parts first.") from None
    except (OSError, SyntaxError, ValueError, EOFError, struct.error) as problem:
        raise TileError(f"{path} is no picture that can be read ({problem}). Export it again.") from None
    if picture.width * picture.height > MOST_PIXELS:
        picture.close()
        raise TileError(
            f"{path} has {picture.width} × {picture.height} pixels, more than {MOST_PIXELS:,}. Cut it into parts first."
        )
    return picture


def loaded(path: Path):
    """A Pillow picture with its pixels, as a viewer would turn it.

    Raises:
        TileError: It cannot be read, or holds more than ``MOST_PIXELS``.
    """
    from PIL import ImageOps

    picture = _opened(path)
    try:
        picture.load()
        return ImageOps.exif_transpose(picture) if picture.getexif().get(ORIENTATION, 1) != 1 else picture
    except (OSError, SyntaxError, ValueError, EOFError, struct.error) as problem:
        picture.close()
        raise TileError(f"{path} is damaged ({problem}). Export or copy it again.") from None


def size_of(path: Path) -> tuple[int, int]:
    """(rows, columns) from the file's header, as a viewer would turn it."""
    with _opened(path) as picture:
        turned = picture.getexif().get(ORIENTATION, 1) in (5, 6, 7, 8)
        return (picture.width, picture.height) if turned else (picture.height, picture.width)


def read_image(path: Path) -> np.ndarray:
    """A picture as (H, W, 3) uint8.

    Raises:
        TileError: It cannot be read, has another number of bands than three, or is not of 8 bits.
    """
    picture = loaded(path)
    if picture.mode == "P":
        picture = picture.convert("RGBA" if "transparency" in picture.info else "RGB")
    bands = len(picture.getbands())
    if picture.mode not in ("RGB", "RGBA"):
        raise TileError(f"{path} has mode {picture.mode} ({bands} band(s)), expected RGB of 8 bits. Export it as RGB.")
    pixels = np.asarray(picture)
    if bands == 4:
        if pixels[..., 3].min() < 255:
            raise TileError(
                f"{path} has 4 bands, expected 3. Export it as RGB, without transparency or a near-infrared band."
            )
        pixels = np.ascontiguousarray(pixels[..., :3])
    return pixels


def read_mask(path: Path, classes: Classes) -> np.ndarray:
    """A mask as (H, W) uint8 class numbers.

    The file may hold class numbers (grey, palette, or three equal bands as keras-segmentation has them; 255 is ignored)
    or the colours of ``classes``. A palette whose used colours are all class colours is read by colour.

    Raises:
        TileError: It cannot be read, or holds other numbers or colours; the message names some and where they are.
    """
    picture = loaded(path)
    if picture.mode == "1":
        picture = picture.convert("L")
    if picture.mode == "L":
        return _numbers(np.asarray(picture), path, classes)
    if picture.mode == "P":
        return _palette(picture, path, classes)
    if picture.mode not in ("RGB", "RGBA"):
        raise TileError(f"Mask {path} has mode {picture.mode}, expected class numbers of 8 bits or RGB colours.")
    pixels = np.asarray(picture)
    if pixels.shape[2] == 4 and (clear := (pixels[..., 3] < 255)).any():
        raise TileError(
            f"Mask {path} has {clear.sum():,} transparent pixels, {_first(clear)}. Fill them with a class's colour and "
            "flatten the image before the export."
        )
    red, green, blue = (pixels[..., k] for k in range(3))
    if (red.max() < len(classes) or red.max() == IGNORE) and (red == green).all() and (red == blue).all():
        known = (red < len(classes)) | (red == IGNORE)
        if known.all():
            return np.ascontiguousarray(red)
    return _coloured(red, green, blue, path, classes)


def _numbers(mask, path, classes):
    wrong = (mask >= len(classes)) & (mask != IGNORE) if mask.max(initial=0) >= len(classes) else np.zeros(1, bool)
    if wrong.any():
        value = int(mask[wrong][0])
        raise TileError(
            f"Mask {path} has class number {value} ({(mask == value).sum():,} pixels, {_first(mask == value)}); "
            f"expected 0 to {len(classes) - 1} ({', '.join(classes.keys)}) or {IGNORE} to ignore."
        )
    return mask


def _palette(picture, path, classes):
    mask, palette = np.asarray(picture), np.array(picture.getpalette()).reshape(-1, 3)
    used = np.flatnonzero(picture.histogram())
    table = np.zeros(256, np.uint8)
    for value in used:
        colour = palette[value] if value < len(palette) else None
        match = [] if colour is None else np.flatnonzero((classes.rgb == colour).all(1))
        if not len(match):
            return _numbers(mask, path, classes)
        table[value] = match[0]
    return mask if (table[used] == used).all() else np.take(table, mask)


def _coloured(red, green, blue, path, classes):
    code = (red.astype(np.uint32) << 16) | (green.astype(np.uint32) << 8) | blue
    mask = np.full(code.shape, IGNORE, np.uint8)
    for number, colour in enumerate(classes.rgb.astype(np.uint32)):
        mask[code == (colour[0] << 16 | colour[1] << 8 | colour[2])] = number
    unknown = mask == IGNORE
    if not unknown.any():
        return mask
    values, counts = np.unique(code[unknown], return_counts=True)
    order = np.argsort(-counts, kind="stable")[:SHOWN]
    shown = [f"#{values[k]:06x} ({counts[k]:,} pixels, {_first(code == values[k])})" for k in order]
    more = f" and {len(values) - SHOWN} more" if len(values) > SHOWN else ""
    hint = "Add them to the classes, or paint them over."
    if len(values) > 2 * len(classes):
        hint = "So many are the sign of anti-aliasing: draw with the pencil, not the brush, and save no JPEG."
    wanted = ", ".join(f"{k} {c}" for k, c in zip(classes.keys, classes.colours, strict=True))
    raise TileError(
        f"Mask {path} has {len(values)} colour(s) of no class: {', '.join(shown)}{more}. Known: {wanted}. {hint}"
    )


def _first(where) -> str:
    row, column = np.unravel_index(int(np.argmax(where)), where.shape)
    return f"first at column {column}, row {row}"
