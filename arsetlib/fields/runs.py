"""From a folder of field images to its sides, stored or as they are.

Lab: case_fields. Shell: ``arset fields convert``, ``arset fields train``.
"""

from __future__ import annotations

from pathlib import Path

from arsetlib.fields import stored
from arsetlib.fields.chips import agriculture_vision
from arsetlib.fields.classes import ImageError
from arsetlib.fields.conversion import convert
from arsetlib.fields.sides import SIDES, split
from arsetlib.folders import place


def sides_of(folder: str | Path, seed: int = 0, progress: bool = False) -> dict:
    """The sides of a folder: converted ones as they are, or images in the layout of Agriculture-Vision, split by field.

    Args:
        folder: With ``train``, ``validation`` and maybe ``test``, each made by ``fields.convert``; or images.
        seed: Of the split.
        progress: Show a progress bar.

    Returns:
        Side → folder or Chips, as ``fields.fit`` takes them.

    Raises:
        ImageError: Neither, or a conversion that has not finished.
    """
    folder = place(folder)
    folders = {side: folder / side for side in SIDES if stored.is_conversion(folder / side)}
    if not folders and stored.is_conversion(folder):
        raise ImageError(
            f"{folder} holds one set of converted images. Expected a folder with train and validation, as "
            "`arset fields convert` makes it."
        )
    if not folders:
        return split(agriculture_vision(folder, progress=progress), seed=seed)
    if missing := {"train", "validation"} - set(folders):
        raise ImageError(f"{folder} has the sides {sorted(folders)} but lacks {sorted(missing)}. Convert them again.")
    for path in folders.values():
        stored.load(path)  # an incomplete folder is an error now, not after a long training
    return folders


def convert_sides(folder: str | Path, out: str | Path, *, seed: int = 0, **options: object) -> dict[str, Path]:
    """Split images by field and convert each side; finished sides are kept, and the same call continues.

    Args:
        folder: Images in the layout of Agriculture-Vision.
        out: Gets ``train``, ``validation`` and ``test``.
        seed: Of the split.
        options: Of ``fields.convert``.

    Raises:
        ImageError: What ``fields.agriculture_vision``, ``fields.split`` and ``fields.convert`` refuse.
    """
    progress = options.get("progress", True)
    sides = split(agriculture_vision(folder, progress=progress), seed=seed)
    return {side: convert(chips, place(out) / side, **options) for side, chips in sides.items()}
