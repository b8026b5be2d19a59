"""The encoded files of a chip: bytes, checked but not decoded.

Lab: case_fields.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from arsetlib import filetypes
from arsetlib.fields import layout
from arsetlib.fields.classes import ImageError

END = b"\xff\xd9"  # last bytes of a JPEG file
TAIL = 1024  # bytes in which they are searched: some writers add a few


@dataclass(frozen=True)
class Encoded:
    """One image: JPEG of red, green and blue, JPEG of near infrared, PNG of valid pixels or nothing."""

    rgb: bytes
    nir: bytes
    valid: bytes


def side_of(chips) -> int:
    """Pixels of a side of all chips.

    Raises:
        ImageError: They are not square.
    """
    rows, columns = chips.size
    if rows != columns:
        raise ImageError(f"Expected square images, received {rows} × {columns} in {chips.folder}. Cut them square.")
    return int(rows)


def identity(chips, sizes: np.ndarray) -> str:
    """SHA-256 of names, labels and file sizes: the same for the same chips in another folder."""
    digest = hashlib.sha256("\n".join(chips.names.tolist()).encode())
    for part in (np.ascontiguousarray(chips.labels, np.uint8), np.ascontiguousarray(sizes, "<i8")):
        digest.update(part.tobytes())
    return digest.hexdigest()


def sizes_of(chips) -> np.ndarray:
    """(N, 2) bytes of the two pictures of each chip.

    Raises:
        ImageError: One is missing.
    """
    sizes = np.empty((len(chips), 2), np.int64)
    for number in range(len(chips)):
        paths = chips.paths(number)
        try:
            sizes[number] = paths.rgb.stat().st_size, paths.nir.stat().st_size
        except FileNotFoundError as problem:
            raise ImageError(f"{problem.filename} is missing. Copy it again, or read the folder again.") from None
    return sizes


def contents(path: Path) -> bytes:
    """The bytes of a file.

    Raises:
        ImageError: It cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as problem:
        raise ImageError(f"{path} cannot be read ({problem.strerror}). Copy it again.") from None


def jpeg(path: Path, side: int, bands: int) -> bytes:
    """The bytes of a JPEG file, after a look at its header and its end.

    Raises:
        ImageError: It is missing, cut short, no JPEG, or has another size or number of channels.
    """
    from PIL import Image

    data = contents(path)
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as picture:
            shape = (picture.height, picture.width, len(picture.getbands()))
    except (OSError, SyntaxError, ValueError, EOFError):
        raise ImageError(f"{path} {filetypes.what_is(path)} Expected a JPEG.") from None
    if shape != (side, side, bands):
        raise ImageError(
            f"{path} has {shape[0]} × {shape[1]} pixels of {shape[2]} channel(s), expected {side} × {side} of {bands} "
            "as the others. Export it again, or leave the image out."
        )
    if data.rfind(END, max(0, len(data) - TAIL)) < 0:
        raise ImageError(f"{path} is cut short: it has no end. Copy it again.")
    return data


def valid_png(bounds: Path, masks: Path, side: int) -> bytes:
    """A PNG with one bit per pixel: within the field and the mask. No bytes where all pixels are.

    Raises:
        ImageError: A file cannot be read, or has another size or other values.
    """
    from PIL import Image

    valid = None
    for path in (bounds, masks):
        shape, count, mask = layout.mask(path)
        if shape != (side, side):
            raise ImageError(
                f"{path} has {shape[0]} × {shape[1]} pixels, expected {side} × {side} as its image. Export it again."
            )
        if mask is None and not count:
            mask = np.zeros(shape, bool)
        if mask is not None:
            valid = mask if valid is None else valid & mask
    if valid is None:
        return b""
    out = io.BytesIO()
    Image.fromarray(valid).save(out, "PNG", compress_level=4)
    return out.getvalue()


def encoded(chips, number: int, side: int) -> Encoded:
    """A chip's files.

    Raises:
        ImageError: As ``jpeg`` and ``valid_png``.
    """
    paths = chips.paths(number)
    return Encoded(jpeg(paths.rgb, side, 3), jpeg(paths.nir, side, 1), valid_png(paths.bounds, paths.masks, side))
