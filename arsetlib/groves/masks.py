"""Read and write mask files: class numbers or class colours. Ambiguous files are refused.

Class numbers are in a grey picture (8 bits; 16 bits and floats where all are whole numbers), or in three equal bands as
keras-segmentation writes them; pixels of 255 are ignored. Class colours are in an RGB picture or in a palette. A
palette is read by its colours, not by its numbers, because each program numbers colours differently. Only the grey
palette and that of Pascal VOC, whose colours have no meaning, are read by number. A TIFF's value of no data is ignored,
too, except 0, which is ground: many programs state 0 by default.

Some files have two possible meanings. They are refused unless the folder shows which one is right:

- Only 0 and 255, the usual output of tools: is 255 'ignored', or white for 'tree'? If the class colours are #000000 and
  #ffffff, it is white; if another mask in the folder has a class number above 0, it is 'ignored'.
- No 0: do the numbers start at 1? If another mask in the folder has a 0, they do not.

Lab: case_groves.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from arsetlib import folders
from arsetlib.groves import pictures
from arsetlib.groves.classes import CLASSES, FILE, IGNORE, Classes, GroveError

MARK = "_mask"  # ends the name of a mask that lies beside its image
CLOSE = 2  # levels a channel: a colour this near to a class colour is that colour, rounded by a program
SHOWN = 3  # unknown colours that a message names
MANY = 32  # different values; a file with more is a picture, where no classes are stated
LOSSY = ("JPEG", "MPO")
LOSSY_TIFF = ("jpeg", "tiff_jpeg", "webp")


def read_mask(path: Path, classes: Classes | None, white: int | None = None) -> np.ndarray:
    """A mask as (H, W) uint8 class numbers, 255 where a pixel is ignored.

    Args:
        path: The file.
        classes: What numbers and colours mean. None: numbers as they are.
        white: In a mask of two values (0 and 255, or 0 and 1), the class of the larger one; other values are refused.

    Raises:
        GroveError: It cannot be read, was saved with losses, or holds other numbers or colours; the message names some
            and where they are.
    """
    picture = pictures.loaded(path)
    _lossless(picture, path)
    mode, bits = picture.mode, picture.info["bits"]
    if mode == "P":
        mask = _palette(picture, path, classes)
    elif mode in ("1", "L"):
        values = _without_data(_unscaled(np.asarray(picture.convert("L")), bits), picture, path, classes)
        mask = _grey(values, path, classes, white)
    elif mode.startswith(("I", "F")):
        values = _without_data(np.asarray(picture), picture, path, classes)
        mask = _grey(_whole(values, path, classes), path, classes, white)
    elif bits > 8 or mode not in ("LA", "RGB", "RGBA"):
        raise GroveError(
            f"Mask {path} has mode {mode} of {bits} bits, expected class numbers (grey, 8 bits) or RGB colours of 8 "
            "bits. Export it so, as PNG."
        )
    else:
        pixels = np.asarray(picture)
        if mode != "RGB":
            _opaque(pixels[..., -1] < 255, path)
        mask = _coloured(pixels, path, classes, white) if mode != "LA" else _grey(pixels[..., 0], path, classes, white)
    return np.ascontiguousarray(mask)


def _lossless(picture, path):
    kind = picture.info["format"]
    lossy = kind in LOSSY or (kind == "TIFF" and picture.info.get("compression") in LOSSY_TIFF)
    if kind == "WEBP":
        with path.open("rb") as file:
            lossy = b"VP8 " in file.read(64)
    if lossy:
        raise GroveError(
            f"Mask {path} is a {kind} that was saved with losses: its values are no longer those that were drawn. "
            "Export the mask from its source again, as PNG."
        )


def _opaque(clear, path):
    if clear.any():
        raise GroveError(
            f"Mask {path} has {clear.sum():,} transparent pixels, {_first(clear)}. Fill them with a class's colour and "
            "flatten the image before the export."
        )


def write_mask(mask: np.ndarray, path: Path, colours: Sequence[str], about: str = "") -> None:
    """Write class numbers as a PNG with a palette, whole or not at all.

    Args:
        mask: (H, W) uint8 class numbers, 255 where a pixel is ignored.
        path: The file.
        colours: (K,) "#rrggbb".
        about: Text to keep in the file, see ``description``.
    """
    from PIL import Image, PngImagePlugin

    picture = Image.fromarray(mask).convert("P")
    palette = [int(colour[i : i + 2], 16) for colour in colours for i in (1, 3, 5)]
    if (mask == IGNORE).any():  # shown in a colour of no class
        grey = next(g for g in (255, 0, 128) if f"#{g:02x}{g:02x}{g:02x}" not in {c.lower() for c in colours})
        palette = palette + [grey] * (768 - len(palette))
    picture.putpalette(palette)
    text = PngImagePlugin.PngInfo()
    if about:
        text.add_text("Description", about)
    encoded = io.BytesIO()  # Pillow hides why a file could not be written
    picture.save(encoded, "PNG", compress_level=3, pnginfo=text)
    folders.put(path, encoded.getvalue())


def description(path: Path) -> str:
    """The text that ``write_mask`` put into a file; empty where there is none."""
    from PIL import Image

    try:
        with Image.open(path, formats=("PNG",)) as picture:
            return getattr(picture, "text", {}).get("Description", "")
    except (OSError, SyntaxError, ValueError):
        return ""


# -- numbers -----------------------------------------------------------------------------------------------------------


def _unscaled(values, bits):
    """Grey of 2 or 4 bits as its own numbers: Pillow spreads them over 0 to 255. White stays 255."""
    if bits not in (2, 4):
        return values
    return np.where(values == IGNORE, IGNORE, values // (255 // (2**bits - 1))).astype(np.uint8)


def _without_data(values, picture, path, classes):
    """Numbers with 255 in place of the file's own value of no data; 0 is kept."""
    nodata = picture.info["nodata"]
    if nodata in (None, 0, IGNORE):
        return values
    none = np.isnan(values) if np.isnan(nodata) else values == nodata
    if classes is not None and 0 < nodata < len(classes) and nodata.is_integer() and none.any():
        raise GroveError(
            f"Mask {path} holds {nodata:g}, the number of {classes.keys[int(nodata)]!r}, and states it as its value of "
            "no data. Remove that statement (gdal_edit.py -unsetnodata), or set these pixels to 255."
        )
    return np.where(none, values.dtype.type(IGNORE), values)


def _whole(values, path, classes):
    """Numbers of 16 or 32 bits, or floats, as uint8, where nothing is lost."""
    with np.errstate(invalid="ignore"):
        wrong = ~((values >= 0) & (values <= 255) & (values == np.floor(values)))
    if wrong.any():
        value = values[wrong].ravel()[0]
        raise GroveError(
            f"Mask {path} holds {values.dtype} with the value {value:g} ({wrong.sum():,} pixels, {_first(wrong)}); "
            f"expected whole class numbers, {_wanted(classes)}. Export class numbers of 8 bits, as PNG."
        )
    return values.astype(np.uint8)


def _wanted(classes) -> str:
    if classes is None:
        return f"0 to 254, or {IGNORE} to ignore"
    return f"0 to {len(classes) - 1} ({', '.join(classes.keys)}) or {IGNORE} to ignore"


def _grey(mask, path, classes, white=None):
    """Grey values as class numbers or, where class colours are grey, as colours."""
    used = _used(mask)
    if white is not None:
        if not (set(used) <= {0, 1} or set(used) <= {0, IGNORE}):
            raise GroveError(
                f"Mask {path} holds the values {_listed(used)}; expected two, 0 and 255 or 0 and 1: no tree and tree."
            )
        return np.where(mask > 0, np.uint8(white), np.uint8(0))
    if classes is not None:
        as_colours = classes.of_colours(np.repeat(used[:, None], 3, axis=1))
        numbers = used < len(classes)
        if (as_colours >= 0).all():
            if (differ := numbers & (as_colours != used)).any():
                value = int(used[differ][0])
                raise GroveError(
                    f"Mask {path} has the value {value}, which is the number of {classes.keys[value]!r} and the colour "
                    f"of {classes.keys[as_colours[differ][0]]!r}. Save it in RGB, or choose other colours in {FILE}."
                )
            return _table(used, as_colours)[mask]
        if IGNORE in used and classes.of_colours([[255] * 3])[0] >= 0 and (numbers | (used == IGNORE)).all():
            raise GroveError(
                f"Mask {path} has class numbers ({_listed(used[numbers])}) and 255, which is the colour of a class "
                f"(#ffffff) in {FILE}, too. Choose another colour, or draw the mask in colours."
            )
    return _numbers(mask, used, path, classes)


def _numbers(mask, used, path, classes):
    if classes is None and len(used) > MANY:
        raise GroveError(
            f"{path} holds {len(used)} different values: that is a picture, not a mask of class numbers. Name the "
            "folder of the masks, or map the pictures first: arset groves predict."
        )
    wrong = used[(used >= (len(classes) if classes else IGNORE)) & (used != IGNORE)]
    if len(wrong):
        value = int(wrong[0])
        where = mask == value
        hint = " Grey levels are no class numbers: export the numbers, or the colours of the classes."
        if classes and value == len(classes) and used.min() > 0:
            hint = f" The numbers seem to start at 1: subtract 1, so that 0 is {classes.keys[0]}."
        raise GroveError(
            f"Mask {path} has class number {value} ({where.sum():,} pixels, {_first(where)}); "
            f"expected {_wanted(classes)}.{hint}"
        )
    _refuse_ambiguous(used, path, classes)
    return mask


def _refuse_ambiguous(used, path, classes):
    """Refuse ambiguous numbers, unless another mask of the folder shows their meaning."""
    ground, real = (classes.keys[0] if classes else "class 0"), used[used != IGNORE]
    if IGNORE in used and not real.any():
        if not any(any(0 < v < IGNORE for v in values) for values in _others(path)):
            key = "tree" if classes is None or "tree" in classes.keys else classes.keys[1]
            only, first = "0 and 255" if len(real) else "255", classes.keys[0] if classes else "ground"
            raise GroveError(
                f"Mask {path} holds only {only}, and no mask beside it holds a class number above 0. As class numbers "
                f"that is {ground} and 'ignored' (255). If white means {key}, state it in "
                f'{_toml(path)}: [classes.{first}] with colour = "#000000" and [classes.{key}] with '
                'colour = "#ffffff". Otherwise save class numbers.'
            )
    elif len(real) and real.min() > 0 and not any(0 in values for values in _others(path)):
        raise GroveError(
            f"Mask {path} holds the numbers {_listed(real)} and no 0 ({ground}), nor does any mask beside it: the "
            "numbers seem to start at 1. Subtract 1. If they are right, save the masks in the classes' colours, which "
            "have one meaning."
        )


def _toml(path: Path) -> Path:
    """The file that states the classes of a mask's folder."""
    return (path.parent if path.stem.endswith(MARK) else path.parent.parent) / FILE


def _others(path: Path):
    """The values of the other masks of class numbers in the folder of a mask."""
    beside = path.stem.endswith(MARK)
    for file in pictures.files_of(path.parent):
        if file != path and (not beside or file.stem.endswith(MARK)):
            state = file.stat()
            if values := _values(file, state.st_mtime_ns, state.st_size):
                yield values


@functools.lru_cache(maxsize=65536)
def _values(path: Path, changed: int, size: int) -> frozenset:
    """Values of a mask of class numbers; empty for other files."""
    try:
        picture = pictures.loaded(path)
        if picture.mode not in ("L", "RGB") or picture.info["bits"] != 8:
            return frozenset()
        _lossless(picture, path)
        pixels = np.asarray(picture)
        if pixels.ndim == 3:
            if (pixels != pixels[..., :1]).any():
                return frozenset()
            pixels = pixels[..., 0]
        return frozenset(map(int, _used(pixels)))
    except GroveError:
        return frozenset()


# -- colours -----------------------------------------------------------------------------------------------------------


def _palette(picture, path, classes):
    mask = np.asarray(picture)
    used = _used(mask)
    palette = np.zeros((256, 3), int)
    stored = np.array(picture.getpalette("RGB") or [], int).reshape(-1, 3)
    palette[: len(stored)] = stored
    if "transparency" in picture.info:
        alpha = np.asarray(picture.convert("RGBA"))[..., 3]
        _opaque(alpha < 255, path)
    if (palette[used] == GREYS[used]).all():
        return _grey(mask, path, classes)
    _refuse_one_band(palette[used], path, classes or CLASSES)
    numbers = (classes or CLASSES).of_colours(palette[used], CLOSE)
    ignored = (used == IGNORE) & (numbers < 0)
    if (numbers >= 0).any() and ((numbers >= 0) | ignored).all():
        return _table(used, np.where(ignored, IGNORE, numbers))[mask]
    if classes is None and not _binary(palette[used]):
        return _numbers(mask, used, path, None)
    if (numbers >= 0).any():
        unknown = [
            f"#{''.join(f'{v:02x}' for v in palette[k])} ({(mask == k).sum():,} pixels)" for k in used[numbers < 0]
        ]
        raise GroveError(
            f"Mask {path} has a palette with the colours of classes, and {len(unknown)} of no class: "
            f"{', '.join(unknown[:SHOWN])}. {_known(classes)} Paint them over, or add them to {FILE}."
        )
    if (palette[used] == voc_palette()[used]).all():
        return _numbers(mask, used, path, classes)
    if _binary(palette[used]):
        return _grey(palette[:, 0].astype(np.uint8)[mask], path, classes)
    shown = ", ".join(f"{k} {_hex(palette[k])}" for k in used[: 2 * SHOWN])
    raise GroveError(
        f"Mask {path} has a palette of other colours than the classes' ({shown}), and each program numbers colours "
        f"differently. {_known(classes)} State the mask's colours in {_toml(path)}, or save class numbers as a "
        "grey picture."
    )


GREYS = np.repeat(np.arange(256)[:, None], 3, axis=1)


@functools.cache
def voc_palette() -> np.ndarray:
    """(256, 3) the palette of Pascal VOC, which LabelMe, CVAT and many scripts give to masks of class numbers."""
    colours = np.zeros((256, 3), int)
    for number in range(256):
        for bit in range(8):
            for band in range(3):
                colours[number, band] |= ((number >> (3 * bit + band)) & 1) << (7 - bit)
    return colours


def _binary(colours) -> bool:
    """Whether there are no colours but black and white, and white among them."""
    return {tuple(c) for c in np.asarray(colours).tolist()} in ({(255,) * 3}, {(0,) * 3, (255,) * 3})


def _coloured(pixels, path, classes, white):
    red, green, blue = (pixels[..., k] for k in range(3))
    if (red == green).all() and (red == blue).all():
        used = _used(red)
        numbers = (used < (len(classes) if classes else IGNORE)) | (used == IGNORE)
        if white is not None or numbers.all() or (classes and (classes.of_colours(np.stack([used] * 3, 1)) >= 0).all()):
            return _grey(red, path, classes, white)
    if classes is None or white is not None:
        raise GroveError(f"{path} is no mask of class numbers: it holds RGB colours. Run `arset groves check`.")
    _refuse_one_band(pixels[..., :3].reshape(-1, 3), path, classes)
    code = (red.astype(np.uint32) << 16) | (green.astype(np.uint32) << 8) | blue
    mask = np.full(code.shape, IGNORE, np.uint8)
    for number, colour in enumerate(classes.rgb.astype(np.uint32)):
        mask[code == (colour[0] << 16 | colour[1] << 8 | colour[2])] = number
    unknown = mask == IGNORE
    if not unknown.any():
        return mask
    values, which, counts = np.unique(code[unknown], return_inverse=True, return_counts=True)
    numbers = np.full(len(values), -1)
    if len(values) <= len(classes) * (2 * CLOSE + 1) ** 3:  # more values cannot all be near a class colour
        numbers = classes.of_colours(np.stack([values >> 16, values >> 8 & 255, values & 255], 1), CLOSE)
    if (numbers >= 0).all():
        mask[unknown] = numbers[which]
        return mask
    values, counts = values[numbers < 0], counts[numbers < 0]
    order = np.argsort(-counts, kind="stable")[:SHOWN]
    shown = [f"#{values[k]:06x} ({counts[k]:,} pixels, {_first(code == values[k])})" for k in order]
    more = f" and {len(values) - SHOWN} more" if len(values) > SHOWN else ""
    hint = "Add them to the classes, or paint them over."
    if len(values) > 2 * len(classes):
        hint = "So many colours are a sign of anti-aliasing: draw with the pencil, not the brush, and use PNG."
    raise GroveError(
        f"Mask {path} has {len(values)} colour(s) of no class: {', '.join(shown)}{more}. {_known(classes)} {hint}"
    )


def _refuse_one_band(colours, path, classes):
    """Refuse class numbers in one band of three, as simulators write them: such colours are all close to black."""
    highest = colours.max(0)
    if (highest > 0).sum() == 1 and highest.max() < len(classes):
        band = ("red", "green", "blue")[int(highest.argmax())]
        raise GroveError(
            f"Mask {path} has values of 0 to {highest.max()} in its {band} band and 0 in the others: class numbers, it "
            "seems, not colours. Save that band as a grey picture."
        )


def _known(classes) -> str:
    return f"Known: {', '.join(f'{k} {c}' for k, c in zip(classes.keys, classes.colours, strict=True))}."


def _hex(colour) -> str:
    return "#" + "".join(f"{v:02x}" for v in colour)


def _table(used, numbers):
    table = np.zeros(256, np.uint8)
    table[used] = numbers
    return table


def _used(mask) -> np.ndarray:
    return np.flatnonzero(np.bincount(mask.ravel(), minlength=256))


def _listed(values) -> str:
    shown = ", ".join(map(str, values[:6]))
    return shown + (f" … {values[-1]}" if len(values) > 6 else "")


def _first(where) -> str:
    row, column = np.unravel_index(int(np.argmax(where)), where.shape)
    return f"first at column {column}, row {row}"
