"""The encoded files of a chip: bytes, checked but not decoded.

Lab: case_fields.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

from arsetlib import filetypes
from arsetlib.fields.chips import Chips
from arsetlib.fields.classes import ImageError

END = b"\xff\xd9"  # last bytes of a JPEG file
TAIL = 1024  # bytes in which they are searched: some writers add a few


@dataclass(frozen=True)
class Encoded:
    """One image: JPEG of red, green and blue, JPEG of near infrared, PNG of valid pixels or nothing."""

    rgb: bytes
    nir: bytes
    valid: bytes


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


def encoded(chips: Chips, number: int) -> Encoded:
    """A chip's files, and a PNG with one bit per pixel of where both its masks are set.

    Raises:
        ImageError: A file cannot be read, or has another size or number of channels.
    """
    from PIL import Image

    paths, png = chips.paths(number), io.BytesIO()
    rgb, nir = jpeg(paths.rgb, chips.side, 3), jpeg(paths.nir, chips.side, 1)
    valid = paths.valid(chips.size)
    if valid is not None:
        Image.fromarray(valid).save(png, "PNG", compress_level=4)
    return Encoded(rgb, nir, png.getvalue())
