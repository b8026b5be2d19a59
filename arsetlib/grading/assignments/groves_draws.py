"""Each learner's own data of homework A: numbers, a part of the sample, a grove, and the order of choices."""

from __future__ import annotations

import math

import numpy as np

from arsetlib.grading.assignments import shuffled
from arsetlib.translation import N_

CAPTURES, SIZE, PART = 3, (240, 336), (180, 250)
IGNORE = 255

# Choices and reasons → why they are wrong; empty for the right one.
RESIZE = {
    N_("Take the pixel of the old mask that is nearest"): "",
    N_("Average the old pixels of each new pixel, and round to whole numbers"): (
        N_("Half ground (0) and half grass (2) would round to tree (1)")
    ),
    N_("Average the old pixels of each new pixel, and keep the decimals"): N_("A class of 0.7 does not exist"),
    N_("Save the mask as a small JPEG"): N_("JPEG changes values: it writes class numbers that were not there"),
}
RESIZE_REASONS = {
    N_("Class numbers are names: the mean of ground (0) and grass (2) is not tree (1)"): "",
    N_("It is the fastest way, and all others give the same mask"): N_("They do not give the same mask: try 0 and 2"),
    N_("A mask has more detail than a picture, so it must be smoothed first"): N_("Smoothing invents classes"),
    N_("It is the only way that keeps each class's share of the pixels exactly"): N_(
        "Not exactly: thin objects may be lost"
    ),
}
REMEDY = {
    N_("Divide whole captures, and leave out those between the sides that show ground of both"): "",
    N_("Divide tiles, each with all its copies"): N_(
        "The next capture shows the same trees, and may be in the other set"
    ),
    N_("Divide samples as before, with another seed"): N_("Any seed puts copies into both sets"),
    N_("Divide samples as before, and augment the copies more strongly"): N_(
        "A copy in other light still shows the same tree"
    ),
}
REMEDY_REASONS = {
    N_("A capture shows most of the ground of the one before, so only such a split separates related tiles"): "",
    N_("A turned or brighter tile is new to a network, so copies are harmless"): N_(
        "It has seen that tree, and its mask"
    ),
    N_("Tiles of one capture share no pixel, so captures need not be kept together"): (
        N_("They share crowns on the cut, light and soil, and the ground of neighbouring captures")
    ),
    N_("A leak shows in the training loss, so it is enough to monitor that"): N_("It does not show there"),
}
NETWORKS = "ABCD"


def draw(rng) -> dict:
    """A learner's own numbers."""
    return {
        "capture": int(rng.integers(3)),
        "corner": (int(rng.integers(0, 40)), int(rng.integers(0, 60))),  # of the learner's part of it: row, column
        "unjudged": int(rng.integers(14, 30)),  # columns at the left that are not labelled
        "resize": shuffled(rng, "abcd", RESIZE),
        "resize_reasons": shuffled(rng, "1234", RESIZE_REASONS),
        "captures": int(rng.integers(6, 10)),
        "tiles_a_capture": int(rng.integers(6, 13)),
        "copies": int(rng.integers(3, 5)),
        "remedy": shuffled(rng, "abcd", REMEDY),
        "remedy_reasons": shuffled(rng, "1234", REMEDY_REASONS),
        "shift": (int(rng.integers(1, 4)), int(rng.integers(-3, 0))),
        "layer": {
            "kernel": int(rng.choice([3, 5, 7])),
            "inputs": int(rng.choice([256, 320, 512])),
            "outputs": int(rng.choice([1024, 2048, 4096])),
        },
        "flight": flight(rng),
    }


def flight(rng) -> dict:
    """A flight and four networks: the best is too slow, the next too large, the third is right, the last is worse."""
    tile = int(rng.choice([192, 224, 256]))
    high, wide = int(rng.integers(4 * tile, 5 * tile)), int(rng.integers(6 * tile, 7 * tile))
    overlap = int(rng.choice([16, 24, 32]))
    tiles = _across(high, tile, overlap) * _across(wide, tile, overlap)
    rest, largest = round(float(rng.uniform(0.35, 0.6)), 2), int(rng.choice([300, 400, 500]))
    left = 2.0 - rest
    roles = (  # mean IoU, seconds for all tiles, share of the largest size
        (rng.uniform(0.715, 0.74), rng.uniform(left + 0.08, 1.95), rng.uniform(0.3, 0.8)),
        (rng.uniform(0.69, 0.71), left * rng.uniform(0.5, 0.8), rng.uniform(1.2, 2.5)),
        (rng.uniform(0.66, 0.68), left * rng.uniform(0.6, 0.9), rng.uniform(0.3, 0.9)),
        (rng.uniform(0.6, 0.64), left * rng.uniform(0.3, 0.5), rng.uniform(0.1, 0.3)),
    )
    networks = [
        {
            "network": name,
            "mean_iou": round(float(roles[role][0]), 3),
            "s_a_tile": round(float(roles[role][1] / tiles), 4),
            "parameters": int(roles[role][2] * largest * 2**20 / 12),
        }
        for name, role in zip(NETWORKS, rng.permutation(4), strict=True)
    ]
    return {
        "high": high, "wide": wide, "tile": tile, "overlap": overlap, "rest_s": rest, "every_s": 2.0,
        "largest_mb": largest, "networks": networks,
    }  # fmt: skip


def _across(length: int, tile: int, overlap: int) -> int:
    return 1 + -(-(length - tile) // (tile - overlap))


def _divided(rng, captures: int, tiles: int, copies: int) -> list[tuple]:
    """(capture, tile, copy, side) of samples divided one by one: half to training, half to test."""
    rows = [(c, t, k) for c in range(1, captures + 1) for t in range(1, tiles + 1) for k in range(1, copies + 1)]
    test = set(rng.permutation(len(rows))[: len(rows) // 2].tolist())
    return [(*row, "test" if at in test else "train") for at, row in enumerate(rows)]


def _trees(rng) -> tuple[list, list]:
    """((x, y, radius) of true trees, m; (capture, x, y) of detections): a grove in three captures."""
    rows, columns = int(rng.integers(4, 6)), int(rng.integers(5, 8))
    true, finds = [], []
    for i in range(rows):
        for j in range(columns):
            x, y = 6 * j + rng.uniform(-0.7, 0.7), 6 * i + rng.uniform(-0.7, 0.7)
            true.append((x, y, rng.uniform(1.2, 2.0)))
            if rng.random() < 0.1:
                continue  # a tree that no capture shows well
            for capture in (1, 2, 3):
                if rng.random() < 0.85:
                    finds.append((capture, x + rng.uniform(-0.4, 0.4), y + rng.uniform(-0.4, 0.4)))
    for _ in range(int(rng.integers(2, 5))):  # bushes between the rows
        place = 6 * rng.integers(0, [columns, rows]) + 3
        finds.append((int(rng.integers(1, 4)), place[0] + rng.uniform(-0.3, 0.3), place[1] + rng.uniform(-0.3, 0.3)))
    return [tuple(round(float(v), 2) for v in t) for t in true], [(c, round(x, 2), round(y, 2)) for c, x, y in finds]


# --- the learner's own data -------------------------------------------------------------------------------------------


def prepare(data):
    """Captures of the sample: [(image (H, W, 3), mask (H, W)), …]. Made where they are missing."""
    from filelock import FileLock

    from arsetlib import folders, groves, simulate

    folder = data / "grove-homework"
    if folders.state(folder) != "complete":
        data.mkdir(parents=True, exist_ok=True)
        with FileLock(data / ".homework.lock"):
            simulate.groves(folder, captures=CAPTURES, size=SIZE, jobs=1, progress=False)
    return [groves.read(capture) for capture in groves.captures(folder)]


def my_part(hw) -> tuple[np.ndarray, np.ndarray]:
    """The learner's part of a capture: image (180, 250, 3) and mask (180, 250), 255 where it is not labelled."""
    image, mask = hw.prepared[hw.draw["capture"]]
    (row, column), (high, wide) = hw.draw["corner"], PART
    window = np.s_[row : row + high, column : column + wide]
    image, mask = image[window].copy(), mask[window].copy()
    mask[:, : hw.draw["unjudged"]] = IGNORE
    return image, mask


def my_prediction(hw) -> np.ndarray:
    """(180, 250) classes that a simulated network predicts for the learner's part, shifted, with patches of errors."""
    _, mask = hw.prepared[hw.draw["capture"]]
    (row, column), (high, wide) = hw.draw["corner"], PART
    guess = np.roll(mask, hw.draw["shift"], (0, 1))[row : row + high, column : column + wide].copy()
    guess[guess == IGNORE] = 0
    rng = hw.rng("prediction")
    for _ in range(12):
        at, side = rng.integers(0, [high, wide]), rng.integers(8, 30, 2)
        guess[at[0] : at[0] + side[0], at[1] : at[1] + side[1]] = rng.integers(3)
    return guess


def samples(hw):
    """1 row a sample: ``capture``, ``tile``, ``copy`` and its ``side``, train or test."""
    import pandas as pd

    rows = _divided(hw.rng("samples"), *(hw.draw[key] for key in ("captures", "tiles_a_capture", "copies")))
    return pd.DataFrame(rows, columns=["capture", "tile", "copy", "side"])


def true_trees(hw) -> np.ndarray:
    """(M, 3) x, y and radius of the trees of a small grove, m."""
    return np.array(_trees(hw.rng("trees"))[0])


def finds(hw):
    """1 row a detection: ``capture``, ``x``, ``y`` in m. Three captures show the grove, so a tree has up to three."""
    import pandas as pd

    return pd.DataFrame(_trees(hw.rng("trees"))[1], columns=["capture", "x", "y"])


def once(places, reach=1.5) -> np.ndarray:
    """(N, 2) x, y of each tree once: detections of several captures less than ``reach`` apart are one tree."""
    kept: list[tuple] = []
    for _, x, y in places.sort_values("capture").itertuples(index=False):
        if all(math.hypot(x - a, y - b) >= reach for a, b in kept):
            kept.append((x, y))
    return np.array(kept).reshape(-1, 2)
