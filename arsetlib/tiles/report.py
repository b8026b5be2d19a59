"""Hold a folder of images and masks against the rules, before anything is trained on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from arsetlib.tiles import pictures
from arsetlib.tiles.annotations import read_json
from arsetlib.tiles.classes import CLASSES, Classes, TileError
from arsetlib.tiles.layouts import captures, orphans, read


@dataclass(frozen=True)
class Report:
    """What a folder holds and what is wrong with it.

    Args:
        folder: The folder.
        layout: Its layout.
        captures: How many images.
        labelled: How many of them have a mask that can be used.
        share: Class → share of the labelled pixels.
        problems: (file, what is wrong).
        simulated: True where the folder says so of itself.
    """

    folder: Path
    layout: str
    captures: int
    labelled: int
    share: dict[str, float] = field(default_factory=dict)
    problems: list[tuple[str, str]] = field(default_factory=list)
    simulated: bool = False

    @property
    def ok(self) -> bool:
        return not self.problems

    def as_dict(self) -> dict:
        return {
            "folder": str(self.folder),
            "layout": self.layout,
            "simulated": self.simulated,
            "captures": self.captures,
            "labelled": self.labelled,
            "share": self.share,
            "ok": self.ok,
            "problems": [{"file": file, "problem": what} for file, what in self.problems],
        }

    def __str__(self) -> str:
        lines = [
            f"{self.captures} captures in {self.folder} ({self.layout}), {self.labelled} with a mask of known classes"
        ]
        if self.simulated:
            lines.append("SIMULATED: nothing here was photographed")
        lines += [f"  {key}: {share:.1%}" for key, share in self.share.items()]
        lines += [f"PROBLEM {what}" for _, what in self.problems] or ["No problem found"]
        return "\n".join(lines)


def check(
    folder: str | Path, layout: str = "auto", classes: Classes | None = None, size: int = 224, progress: bool = False
) -> Report:
    """Read every image and mask of a folder and name what does not fit.

    Args:
        folder: Images and masks in one of ``tiles.LAYOUTS``.
        layout: Which; ``"auto"`` looks.
        classes: Known classes; None takes those of ``classes.toml`` in the folder, or ground, tree and grass.
        size: Side of the tiles that are to be cut, pixels.
        progress: Show a progress bar.

    Returns:
        The report; ``ok`` is False where a file cannot be read, a pair does not match, a colour or label is unknown,
        sizes differ, or an image is smaller than a tile.

    Raises:
        TileError: The folder has no images in a known layout.

    Lab: case_olive_groves. Shell: ``arset tiles check FOLDER``.
    """
    from tqdm import tqdm

    folder = Path(folder)
    if classes is None:
        classes = Classes.load(folder / "classes.toml") if (folder / "classes.toml").is_file() else CLASSES
    found = captures(folder, layout)
    layout = found[0].layout
    problems, counts, labelled = [], np.zeros(256, np.int64), 0
    for capture in tqdm(found, desc="check", unit="image", disable=not progress):
        try:
            shape = pictures.size_of(capture.image)
            if min(shape) < size:
                what = f"{capture.image} has {shape[1]} × {shape[0]} pixels: it is smaller than a tile ({size})."
                problems.append((str(capture.image), what))
            if capture.mask is None:
                problems.append((str(capture.image), f"{capture.image} has no mask."))
            _, mask = read(capture, classes)
        except TileError as problem:
            problems.append((str(capture.image), str(problem)))
            continue
        if mask is not None:
            counts += np.bincount(mask.ravel(), minlength=256)
            labelled += 1
    for file in orphans(folder, layout, found):
        problems.append((str(file), f"{file} belongs to no image."))
    total = counts[: len(classes)].sum()
    share = {key: float(n / total) for key, n in zip(classes.keys, counts, strict=False)} if total else {}
    return Report(folder, layout, len(found), labelled, share, problems, _simulated(folder))


def _simulated(folder: Path) -> bool:
    flight = folder / "flight.json"
    return flight.is_file() and bool(read_json(flight).get("simulated"))
