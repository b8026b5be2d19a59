"""From a folder of labelled captures to a trained and scored model, in one call.

Lab: case_groves. Shell: ``arset groves train``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from arsetlib import copies
from arsetlib.groves.classes import GroveError
from arsetlib.groves.scoring import CaptureScores, evaluate
from arsetlib.groves.segmenter import Segmenter
from arsetlib.groves.training import fit


@dataclass
class ScoredModel:
    """A model, the captures of each side that it was made with, and the scores of the test side (None without)."""

    segmenter: Segmenter
    sides: dict[str, list]
    scores: CaptureScores | None


def train_folder(
    data: str | Path, out: str | Path, architecture: str = "unet", *, size: int = 224,
    grid: str | tuple[int, int] = "5x7", by: str = "capture",
    shares: tuple[float, float, float] = (0.8, 0.1, 0.1), batch: int = 8, seed: int = 0, progress: bool = True,
    **options: object,
) -> ScoredModel:  # fmt: skip
    """Split the captures of a folder, train on their tiles, score the test captures as whole maps.

    Each capture is cut into a grid of tiles and each tile brought to the model's size, as in the thesis. A
    ``classes.toml`` in the folder defines other classes than ground, tree and grass.

    Args:
        data: Captures with masks, in a layout of ``groves.captures``.
        out: Folder of the training; see ``fit``.
        architecture, size, batch, seed: For ``fit`` and ``groves.TileBatches``.
        grid: Tiles down × across, "5x7" or (5, 7).
        by, shares: See ``groves.split``. By flight the test shows no ground of the training, so captures between
            them are left out; the last training capture is the validation, because few flights are long enough for
            three separate sides. Where the authors of the folder split their images, validation is taken from their
            training side.
        options: Settings of ``fit``.

    Raises:
        GroveError: A grid that cannot be read, or whose tiles would have to be enlarged; captures of other sizes.
    """
    from arsetlib import groves
    from arsetlib.groves import flight, pictures

    captures = [c for c in groves.captures(data) if c.mask is not None]
    if not captures:
        raise GroveError(f"{data} has no capture with a mask. `arset groves check {data}` tells what is missing.")
    grid = _grid(grid)
    classes = groves.Classes.of(data)
    areas = [float(np.prod(pictures.size_of(c.image))) for c in captures]
    odd = int(np.argmax(np.abs(np.log(np.array(areas) / areas[0]))))
    if not 0.9 < areas[odd] / areas[0] < 1.1:
        raise GroveError(
            f"{captures[0].image} and {captures[odd].image} have other sizes: a tile of one shows more ground than "
            "a tile of the other. Train on captures of one size."
        )
    height, width = pictures.size_of(captures[0].image)
    shrink = float(np.sqrt(height / grid[0] * width / grid[1]) / size)
    if shrink < 1:
        raise GroveError(
            f"A tile of {captures[0].image} has {height // grid[0]} × {width // grid[1]} pixels, less than the model's "
            f"{size}. Nothing is enlarged silently: take a coarser grid than {grid[0]}x{grid[1]} or a smaller size."
        )
    sides = _split(captures, shares, seed, by)
    sizes = {"size": size, "grid": grid, "batch": batch, "seed": seed}
    loaders = {
        side: groves.TileBatches(sides[side], classes, augment=side == "train", **sizes)
        for side in ("train", "validation")
        if side in sides
    }
    taken = flight.of_folder(copies.fetched(data))
    notes = {
        "simulated": taken is not None and taken.simulated,
        "captures": {side: [c.name for c in part] for side, part in sides.items()},
    }
    segmenter = fit(
        architecture, loaders, size=size, classes=classes.keys, colours=classes.colours, shrink=shrink, folder=out,
        batch=batch, seed=seed, progress=progress, notes=notes, **options,
    )  # fmt: skip
    scores = evaluate(segmenter, sides["test"], progress=progress) if "test" in sides else None
    return ScoredModel(segmenter, sides, scores)


def _split(captures, shares, seed, by) -> dict[str, list]:
    from arsetlib import groves

    if by != "flight":
        sides = groves.split(captures, shares, seed=seed, by=by)
        if "validation" in sides or not shares[1] or "train" not in sides:
            return sides
        part = shares[1] / (shares[0] + shares[1])  # of the authors' training; their test is not divided
        return {**sides, **groves.split(sides["train"], (1 - part, part, 0), seed=seed)}
    sides = groves.split(captures, (1 - shares[2], 0, shares[2]), by=by)
    if len(sides["train"]) < 2:
        raise GroveError(f"By flight {len(captures)} captures leave one for training and validation. Split by capture.")
    *train, validation = sides["train"]
    return {**sides, "train": train, "validation": [validation]}


def _grid(grid) -> tuple[int, int]:
    if isinstance(grid, str):
        match = re.fullmatch(r"\s*(\d+)\s*[x×,]\s*(\d+)\s*", grid)
        if not match:
            raise GroveError(f"Expected a grid such as 5x7 (tiles down x across), received {grid!r}.")
        grid = tuple(map(int, match.groups()))
    if len(grid) != 2 or min(grid) < 1:
        raise GroveError(f"Expected a grid of at least 1x1, received {grid}.")
    return tuple(grid)
