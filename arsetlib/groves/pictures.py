"""Read pictures from files that may be damaged, huge or of another kind than their name says.

Lab: case_groves.
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from arsetlib import filetypes, textfiles
from arsetlib.groves.classes import GroveError

if TYPE_CHECKING:
    from PIL import Image

MOST_PIXELS = 80_000_000  # a small file can hold a picture that needs more memory than there is
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP")  # JPEG includes MPO, of phones and drones: its first picture is read
SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".tif", ".tiff", ".bmp", ".webp")
ORIENTATION = 0x0112  # tag: how the camera was turned
BITS, SAMPLES, NODATA = 258, 277, 42113  # tags of TIFF: bits a value, values a pixel, GDAL's value of no data
SOFT = 0.01  # largest share of half-transparent pixels, as on the border of an orthomosaic
EXPECTED = "expected RGB (red, green, blue) of 8 bits"


class _CompressionError(GroveError):
    """Pillow cannot decompress a TIFF; rasterio may."""


def files_of(folder: Path) -> list[Path]:
    """The picture files of a folder, by their endings, in order; without files of the operating system."""
    if not folder.is_dir():
        return []
    return sorted(
        f
        for f in folder.iterdir()
        if f.suffix.lower() in SUFFIXES and not filetypes.is_system_file(f.name) and not f.is_dir()
    )


def finder(files: Mapping[str, Path]) -> Callable[[str], Path | None]:
    """Finds a file by its name; where none has it exactly, the only one that has it when ``textfiles.folded``."""
    alike: dict[str, set[Path]] = {}
    for name, file in files.items():
        alike.setdefault(textfiles.folded(name), set()).add(file)

    def find(name: str) -> Path | None:
        near = alike.get(textfiles.folded(name), ())
        return files.get(name) or (next(iter(near)) if len(near) == 1 else None)

    return find


@contextmanager
def _opened(path: Path):
    """A Pillow picture. Its file is closed at the end, also one of several pictures, which Pillow keeps open."""
    with ExitStack() as stack:
        picture = _identified(path, stack)
        if picture.width * picture.height > MOST_PIXELS:
            raise GroveError(_too_large(path, picture))
        yield picture


def _too_large(path: Path, picture) -> str:
    return f"{path} has {picture.width} × {picture.height} pixels, more than {MOST_PIXELS:,}. Cut it into parts first."


def _identified(path: Path, stack: ExitStack):
    from PIL import Image, UnidentifiedImageError

    try:
        return Image.open(stack.enter_context(path.open("rb")), formats=FORMATS)
    except (FileNotFoundError, IsADirectoryError, PermissionError, UnidentifiedImageError):
        raise GroveError(f"{path} {filetypes.what_is(path)}") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise GroveError(f"{path} holds more than {MOST_PIXELS:,} pixels. Cut it into parts first.") from None
    except (OSError, SyntaxError, ValueError, EOFError, struct.error) as problem:
        raise GroveError(f"{path} is no picture that can be read ({problem}). Export it again.") from None


def loaded(path: Path) -> Image.Image:
    """A Pillow picture with its pixels, turned upright; ``info`` has the format, bits and nodata of the file.

    Raises:
        GroveError: It cannot be read, or holds more than ``MOST_PIXELS``.
    """
    from PIL import ImageOps

    with _opened(path) as picture:
        try:
            turned = picture.getexif().get(ORIENTATION, 1) != 1  # before `load`, which closes a TIFF
            _check_one(picture, path)
            picture.load()
            about = {"format": picture.format, "bits": _bits(picture, path), "nodata": _nodata(picture)}
            about["samples"] = picture.tag_v2.get(SAMPLES) if picture.format == "TIFF" else None
            upright = ImageOps.exif_transpose(picture) if turned else picture.copy()
        except GroveError:
            raise
        except (OSError, SyntaxError, ValueError, EOFError, struct.error) as problem:
            how = picture.info.get("compression") if picture.format == "TIFF" else None
            if how not in (None, "raw"):
                raise _CompressionError(
                    f"{path} is damaged, has parts without pixels, or its compression ({how}) is not read here "
                    f"({problem}). Write it anew: gdal_translate -co COMPRESS=DEFLATE in.tif out.tif, or copy it again."
                ) from None
            raise GroveError(f"{path} is damaged ({problem}). Export or copy it again.") from None
        upright.info |= about
        return upright


def _check_one(picture, path: Path) -> None:
    """Refuse a file of several pictures, such as layers that GIMP exports as pages of a TIFF; overviews are none."""
    import rasterio

    count = 1
    if picture.format == "TIFF":  # Pillow cannot count pages where one is a mask of 1 bit
        with suppress(rasterio.errors.RasterioError), _tiff(path) as source:
            count = len(source.subdatasets)
    elif picture.format != "MPO":
        count = getattr(picture, "n_frames", 1)
    if count > 1:
        raise GroveError(_several(path, count))


def _several(path: Path, count: int) -> str:
    return f"{path} holds {count} pictures (pages, layers or frames), expected one. Merge them, or export one of them."


def _bits(picture, path: Path) -> int:
    """Bits of each value in the file: Pillow reduces RGB of 16 bits to 8."""
    if picture.format == "PNG":
        with path.open("rb") as file:
            return file.read(25)[24]
    if picture.format == "TIFF":
        return int(max(np.atleast_1d(picture.tag_v2.get(BITS, 1))))
    return 8


def size_of(path: Path) -> tuple[int, int]:
    """(rows, columns) of the upright picture, from the file's header."""
    with _opened(path) as picture:
        turned = picture.getexif().get(ORIENTATION, 1) in (5, 6, 7, 8)
        return (picture.width, picture.height) if turned else (picture.height, picture.width)


def turned_unseen(path: Path) -> bool:
    """Whether a tag turns or mirrors a picture and its size stays the same, so that no size can show a mistake."""
    with _opened(path) as picture:
        tag = picture.getexif().get(ORIENTATION, 1)
        return tag in (2, 3, 4) or (tag in (5, 6, 7, 8) and picture.width == picture.height)


def read_valid(path: Path, channels: int | None = 3) -> tuple[np.ndarray, np.ndarray | None]:
    """A picture, and where it has data.

    An orthomosaic has a border without data: transparent pixels, GDAL's value of no data, or GDAL's mask, in the TIFF
    or beside it (``.msk``). A transparency is no band.

    Args:
        path: The file.
        channels: C, bands that the picture must have; None takes those that it has.

    Returns:
        (H, W, C) uint8; (H, W) bool, False where there are no data, or None where all pixels have some.

    Raises:
        GroveError: It cannot be read, has another number of bands, is not of 8 bits, or has a fourth band that is no
            transparency where three are expected.
    """
    tiff = path.suffix.lower() in (".tif", ".tiff")
    if channels == 3:
        try:
            return _rgb(path)
        except _CompressionError as problem:
            try:
                image, valid = _raster(path, channels)
            except GroveError:
                raise problem from None
    elif tiff:
        image, valid = _raster(path, channels)
    else:
        picture = loaded(path)
        if channels is None and picture.mode in ("RGB", "RGBA", "P"):
            return _rgb(path)
        image, valid = np.atleast_3d(np.asarray(picture)), None
    if image.dtype != np.uint8:
        raise GroveError(f"{path} holds {image.dtype}; expected 8-bit values (0 to 255). Scale it first.")
    if channels not in (None, image.shape[2]):
        raise GroveError(
            f"{path} has {image.shape[2]} bands, the model takes {channels}. Nothing is dropped silently: write the "
            f"bands that the model knows into a new file, or train one with channels = {image.shape[2]}."
        )
    return image, valid


def _raster(path: Path, channels: int | None) -> tuple[np.ndarray, np.ndarray | None]:
    """The bands of a TIFF, and where it has data by its alpha band, mask or value of no data."""
    import rasterio
    from rasterio.enums import ColorInterp

    what = filetypes.what_is
    try:
        with _tiff(path) as source:
            if source.width * source.height > MOST_PIXELS:
                raise GroveError(_too_large(path, source))
            if len(source.subdatasets) > 1:
                raise GroveError(_several(path, len(source.subdatasets)))
            bands = [k for k, what in enumerate(source.colorinterp, 1) if what != ColorInterp.alpha]
            transparent = len(bands) < source.count and channels in (None, source.count - 1)
            what = _damaged  # what follows fails where the file is cut short
            image = np.moveaxis(source.read(bands if transparent else None), 0, -1)
            valid = source.dataset_mask() == 255  # less: half transparent
    except rasterio.RasterioIOError as problem:
        raise GroveError(f"{path} {what(path)} ({problem})") from problem
    return image, None if valid.all() else valid


def _damaged(path: Path) -> str:
    return "is damaged. Export or copy it again."


def check_same_place(image: Path, mask: Path) -> None:
    """Refuse a mask that lies elsewhere on the ground than its image, of which both files say where they lie.

    Raises:
        GroveError: A corner is more than half a pixel away.
    """
    import rasterio

    if image.suffix.lower() not in (".tif", ".tiff"):
        return
    try:
        with _tiff(image) as one, _tiff(mask) as other:
            size, grids = (one.width, one.height), (one.transform, other.transform)
    except rasterio.errors.RasterioError:
        return  # where a file lies is not known; reading it says what is wrong
    if any(grid.is_identity for grid in grids):
        return
    corners = [(0, 0), (size[0], 0), (0, size[1])]
    away = max(np.abs(np.subtract(~grids[0] * (grids[1] * corner), corner)).max() for corner in corners)
    if away > 0.5:
        raise GroveError(
            f"Mask {mask} lies elsewhere than its image {image.name}: a corner is {away:,.1f} pixels away. Export the "
            "mask with the extent, the resolution and the CRS of the image."
        )


@contextmanager
def _tiff(path: Path) -> Iterator:
    """A TIFF opened by rasterio, which warns where it has no place on the ground."""
    import rasterio

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path) as source:
            yield source


def _rgb(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """A picture of three bands, read by Pillow, see ``read_valid``."""
    picture = loaded(path)
    nodata, bits = picture.info["nodata"], picture.info["bits"]
    if picture.mode == "P":
        picture = picture.convert("RGBA" if "transparency" in picture.info else "RGB")
    bands = len(picture.getbands())
    if picture.mode == "RGB" and "transparency" in picture.info:
        picture = picture.convert("RGBA")  # one colour of the file is transparent
    if picture.mode not in ("RGB", "RGBA"):
        raise GroveError(f"{path} has mode {picture.mode} ({bands} band(s)), {EXPECTED}. Export it as RGB.")
    if bits > 8:
        raise GroveError(f"{path} holds values of {bits} bits, {EXPECTED}. Scale it to 0 to 255 and export it again.")
    pixels, shown = np.asarray(picture), []
    if (picture.info["samples"] or 0) > bands:  # Pillow leaves out bands whose meaning the file does not state
        pixels = _all_bands(path, pixels.shape[:2])
    if pixels.shape[2] == 4:
        shown.append(_opaque(pixels[..., 3], path))
        pixels = np.ascontiguousarray(pixels[..., :3])
    if nodata is not None:
        shown.append((pixels != nodata).any(-1))
    if picture.info["format"] == "TIFF" and (mask := _gdal_mask(path)) is not None:
        if mask.shape != pixels.shape[:2]:
            raise GroveError(f"{path} has a mask of GDAL and a tag that turns it. Export it upright.")
        shown.append(mask)
    valid = np.logical_and.reduce(shown) if shown else None
    return pixels, None if valid is None or valid.all() else valid


def _all_bands(path: Path, shape: tuple[int, int]) -> np.ndarray:
    """(H, W, 4) a TIFF whose fourth band has no stated meaning; its values show whether it is a transparency."""
    image, _ = _raster(path, 4)
    if image.shape != (*shape, 4):
        raise GroveError(f"{path} has {image.shape[2]} bands, {EXPECTED}. Export these three bands, upright.")
    return image


def _opaque(alpha, path):
    """Where a fourth band that is a transparency has pixels: 255 there, 0 where there are none."""
    soft = np.count_nonzero((alpha > 0) & (alpha < 255))
    if soft > SOFT * alpha.size:
        raise GroveError(
            f"{path} has 4 bands, expected 3: the fourth is no transparency of 0 and 255 ({soft / alpha.size:.0%} of "
            "its pixels lie between). Export red, green and blue, without transparency or a near-infrared band."
        )
    if not (alpha == 255).any():
        raise GroveError(f"{path} is transparent everywhere. Export it again.")
    return alpha == 255


def _gdal_mask(path: Path) -> np.ndarray | None:
    """Where the mask that GDAL keeps for all bands of a TIFF has data, (H, W) bool; None where there is none."""
    import rasterio
    from rasterio.enums import MaskFlags

    try:
        with _tiff(path) as source:
            colours = [what.name for what in source.colorinterp[:3]]
            if sorted(colours) == ["blue", "green", "red"] and colours != ["red", "green", "blue"]:
                raise GroveError(f"{path} states that its bands are {', '.join(colours)}, {EXPECTED}. Export it so.")
            flags = source.mask_flag_enums[0]
            own = MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags
            return source.dataset_mask() > 0 if own else None
    except rasterio.errors.RasterioError as problem:
        raise GroveError(f"{path} is damaged ({problem}). Export or copy it again.") from None


def _nodata(picture):
    """GDAL's value of no data in a TIFF."""
    try:
        return float(str(picture.tag_v2[NODATA]).strip(" \0"))
    except (AttributeError, KeyError, ValueError):
        return None
