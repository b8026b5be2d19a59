"""From a folder of labelled captures to a trained and scored model, in one call.

Lab: case_groves. Shell: ``arset groves train``.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from arsetlib.groves.classes import GroveError
from arsetlib.groves.scoring import CaptureScores, evaluate
from arsetlib.groves.segmenter import Segmenter
from arsetlib.groves.training import fit


@dataclass
class Run:
    """What ``train_folder`` made: the model, the captures of each side, the scores of the test side (None without)."""

    segmenter: Segmenter
    sides: dict[str, list]
    scores: CaptureScores | None


def train_folder(
    data: str | Path, out: str | Path, architecture: str = "unet", *, size=224, grid="5x7", by="capture",
    shares=(0.8, 0.1, 0.1), batch=8, seed=0, progress=True, **options,
) -> Run:  # fmt: skip
    """Split the captures of a folder, train on their tiles, score the test captures as whole maps.

    Each capture is cut into a grid of tiles and each tile brought to the model's size, as in the thesis. A
    ``classes.toml`` in the folder tells other classes than ground, tree and grass.

    Args:
        data: Captures with masks, in a layout of ``groves.captures``.
        out: Folder of the run; see ``fit``.
        architecture, size, batch, seed, options: For ``fit`` and ``groves.batches``.
        grid: Tiles down × across, "5x7" or (5, 7).
        by, shares: See ``groves.split``. By flight the test is clean, for which captures between are left out; the
            last training capture serves as validation, since few flights are long enough for three clean sides. Where
            the authors of the folder split their images, validation is taken from their training side.

    Raises:
        GroveError: A grid that cannot be read, or whose tiles would have to be enlarged; captures of other sizes.
    """
    from arsetlib import groves
    from arsetlib.groves import pictures

    found = [c for c in groves.captures(data) if c.mask is not None]
    if not found:
        raise GroveError(f"{data} has no capture with a mask. `arset groves check {data}` tells what is missing.")
    grid = _grid(grid)
    classes = groves.Classes.of(data)
    areas = [float(np.prod(pictures.size_of(c.image))) for c in found]
    odd = int(np.argmax(np.abs(np.log(np.array(areas) / areas[0]))))
    if not 0.9 < areas[odd] / areas[0] < 1.1:
        raise GroveError(
            f"{found[0].image} and {found[odd].image} have other sizes, so that a tile of one shows more ground than a "
            "tile of the other. Train on captures of one size."
        )
    height, width = pictures.size_of(found[0].image)
    shrink = float(np.sqrt(height / grid[0] * width / grid[1]) / size)
    if shrink < 1:
        raise GroveError(
            f"A tile of {found[0].image} has {height // grid[0]} × {width // grid[1]} pixels, less than the model's "
            f"{size}. Nothing is enlarged silently: take a coarser grid than {grid[0]}x{grid[1]} or a smaller size."
        )
    sides = _split(found, shares, seed, by)
    given = {"size": size, "grid": grid, "batch": batch, "seed": seed}
    batches = {
        side: groves.batches(sides[side], classes, augment=side == "train", **given)
        for side in ("train", "validation")
        if side in sides
    }
    flight = Path(data) / "flight.json"
    simulated = flight.is_file() and bool(json.loads(flight.read_text(encoding="utf-8")).get("simulated"))
    notes = {"simulated": simulated, "captures": {side: [c.name for c in part] for side, part in sides.items()}}
    made = fit(
        architecture, batches, size=size, classes=classes.keys, colours=classes.colours, shrink=shrink, folder=out,
        batch=batch, seed=seed, progress=progress,
        notes=notes, **options,
    )  # fmt: skip
    scores = evaluate(made, sides["test"], progress=progress) if "test" in sides else None
    return Run(made, sides, scores)


def _split(found, shares, seed, by) -> dict[str, list]:
    from arsetlib import groves

    if by != "flight":
        sides = groves.split(found, shares, seed=seed, by=by)
        if "validation" in sides or not shares[1] or "train" not in sides:
            return sides
        part = shares[1] / (shares[0] + shares[1])  # of the authors' training: their test stays whole
        return {**sides, **groves.split(sides["train"], (1 - part, part, 0), seed=seed)}
    sides = groves.split(found, (1 - shares[2], 0, shares[2]), by=by)
    if len(sides["train"]) < 2:
        raise GroveError(f"By flight {len(found)} captures leave one for training and validation. Split by capture.")
    *train, validation = sides["train"]
    return {**sides, "train": train, "validation": [validation]}


def _grid(grid) -> tuple[int, int]:
    if isinstance(grid, str):
        found = re.fullmatch(r"\s*(\d+)\s*[x×,]\s*(\d+)\s*", grid)
        if not found:
            raise GroveError(f"Expected a grid such as 5x7 (tiles down x across), received {grid!r}.")
        grid = tuple(map(int, found.groups()))
    if len(grid) != 2 or min(grid) < 1:
        raise GroveError(f"Expected a grid of at least 1x1, received {grid}.")
    return tuple(grid)
