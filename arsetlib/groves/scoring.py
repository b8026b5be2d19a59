"""Score maps: IoU in the thesis's form, borders, what a model costs, and why pixel accuracy misleads.

Lab: case_groves.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from arsetlib import groves, models
from arsetlib.evaluation import Confusion
from arsetlib.groves import captures as files
from arsetlib.groves import prediction
from arsetlib.groves.classes import GroveError
from arsetlib.groves.segmenter import Segmenter

TOLERANCE = 3  # pixels, of a border
TILES = 35  # of a capture, in the thesis


@dataclass(frozen=True)
class Boundary:
    """Counts of border pixels, by class; those of two captures add up.

    Attributes:
        counts: (K, 4) int64: predicted border pixels near a true one, predicted, true ones near a predicted one, true.
    """

    counts: np.ndarray

    def __add__(self, other: Boundary) -> Boundary:
        return Boundary(self.counts + other.counts)

    def __radd__(self, other):
        return self if isinstance(other, int) and other == 0 else NotImplemented

    @property
    def f1(self) -> np.ndarray:
        """(K,) F1 of the borders; NaN where neither truth nor prediction has a border of the class."""
        hit, predicted, found, true = self.counts.T.astype(float)
        with np.errstate(invalid="ignore", divide="ignore"):
            precision, recall = hit / predicted, found / true
            f1 = 2 * precision * recall / (precision + recall)
        return np.where(predicted + true == 0, np.nan, np.nan_to_num(f1))

    @property
    def mean(self) -> float:
        """Mean over the classes that have borders."""
        known = self.f1[~np.isnan(self.f1)]
        return float(known.mean()) if len(known) else float("nan")


def boundary(truth: np.ndarray, predicted: np.ndarray, classes: int, tolerance: int = TOLERANCE) -> Boundary:
    """Count how much of the borders lies within ``tolerance`` pixels (rows and columns) of the other's.

    IoU hardly sees the border of a large region; this sees nothing else.

    Args:
        truth: (H, W) class numbers, 255 where not labelled: what is predicted there does not count.
        predicted: (H, W) class numbers.
        classes: K.
        tolerance: Pixels.
    """
    from scipy.ndimage import maximum_filter, minimum_filter

    known = minimum_filter(truth != files.IGNORE, 3, mode="nearest")  # a border with the unknown is none
    size, counts = 2 * tolerance + 1, np.zeros((classes, 4), np.int64)
    for k in range(classes):
        edges = [inside & ~minimum_filter(inside, 3, mode="nearest") & known for inside in (predicted == k, truth == k)]
        near = [maximum_filter(edge, size) for edge in edges]
        counts[k] = (
            (edges[0] & near[1]).sum(),
            edges[0].sum(),
            (edges[1] & near[0]).sum(),
            edges[1].sum(),
        )
    return Boundary(counts)


@dataclass
class Evaluation:
    """Scores of captures.

    Attributes:
        captures: Name → Confusion. They add up.
        boundaries: Name → Boundary.
        seconds: Name → s to predict that capture; empty where maps were given.
    """

    captures: dict[str, Confusion]
    boundaries: dict[str, Boundary]
    seconds: dict[str, float] = field(default_factory=dict)
    simulated: bool = False

    @property
    def confusion(self) -> Confusion:
        """Of all captures."""
        return sum(self.captures.values())

    @property
    def boundary(self) -> Boundary:
        return sum(self.boundaries.values())

    def table(self, name: str = "all captures") -> pd.DataFrame:
        """The thesis's form: frequency-weighted IoU, mean IoU, IoU of each class; then pixel accuracy, boundary F1."""
        return pd.DataFrame([_row(self.confusion, self.boundary)], index=pd.Index([name], name="model"))

    def by_capture(self) -> pd.DataFrame:
        """The same, one row a capture."""
        rows = {name: _row(c, self.boundaries[name]) for name, c in self.captures.items()}
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("capture")


def evaluate(segmenter: Segmenter | str | Path, captures, *, overlap=0.25, progress=True) -> Evaluation:
    """Predict captures that have masks and score them.

    Args:
        segmenter: A Segmenter or its folder; or a folder of maps that ``predict`` wrote (PNG named as the captures).
        captures: With masks: a folder with ``images`` and ``masks``, or a list of captures.
        overlap: Of tiles, as in ``predict``.
        progress: Show a bar.

    Raises:
        GroveError: A capture without mask; a mask whose size is not the capture's.
    """
    from tqdm.auto import tqdm

    maps = None
    if not isinstance(segmenter, Segmenter):
        maps = Path(segmenter) if files.card(Path(segmenter)) else None
        segmenter = None if maps else models.load(segmenter, kind="segmentation")
    card = files.card(maps) if maps else {}
    kinds = groves.CLASSES
    if segmenter or "colours" in card:
        names, colours = (card["classes"], card["colours"]) if maps else (segmenter.classes, segmenter.colours)
        kinds = groves.Classes(tuple(names), tuple(colours[: len(names)]))
    simulated = bool(card.get("simulated") if maps else segmenter.notes.get("simulated"))
    found = Evaluation({}, {}, simulated=simulated)
    if isinstance(captures, str | Path):
        captures = groves.captures(captures)
    for name, image, mask in tqdm(files.listed(captures), desc="evaluate", unit="capture", disable=not progress):
        if mask is None:
            raise GroveError(f"Capture {name} has no mask, so it cannot be scored. Leave it out, or label it.")
        truth = files.read_mask(mask, kinds)
        if maps:
            predicted = files.read_mask(maps / f"{name}.png", kinds)
        else:
            picture = files.read_image(image, segmenter.channels)
            _same(picture.shape[:2], truth.shape, image, mask)
            began = time.perf_counter()
            predicted = prediction.mapped(segmenter, picture, overlap, name=str(image))
            found.seconds[name] = time.perf_counter() - began
        _same(predicted.shape, truth.shape, maps or image, mask)
        found.captures[name] = Confusion.of(truth, predicted, kinds.keys, ignore=files.IGNORE)
        found.boundaries[name] = boundary(truth, predicted, len(kinds))
    return found


def treeless(truth: Confusion, tree: str | int = "tree") -> Confusion:
    """The score of a map that says for every tree pixel what the truth has most of, and all else right.

    Where trees are few its pixel accuracy is high and its tree IoU 0: why pixel accuracy misleads. (With 5 % of trees
    it is 95 % right.)
    """
    counts = truth.counts.sum(axis=1)
    number = truth.keys.index(tree) if isinstance(tree, str) else tree
    others = counts.copy()
    others[number] = -1
    made = np.diag(counts)
    made[number, number], made[number, others.argmax()] = 0, counts[number]
    return Confusion.from_counts(made, truth.names)


def cost(segmenter: Segmenter, repeats: int = 3, batch: int = prediction.BATCH) -> dict:
    """What a model costs: parameters, bytes on disk, seconds and memory, on this machine.

    Returns:
        dict of ``parameters``, ``bytes`` (of ``model.keras``), ``seconds_per_tile`` (one at a time),
        ``seconds_per_capture`` (35 tiles, in batches), ``peak_mib`` (of the process while predicting; None where the
        system does not tell).
    """
    import tempfile

    rng = np.random.default_rng(0)
    tiles = rng.integers(0, 256, (batch, *segmenter.size, segmenter.channels), dtype=np.uint8)
    segmenter.shares(tiles[:1])
    segmenter.shares(tiles)
    one, many = [], []
    memory = _Peak()
    for _ in range(repeats):
        began = time.perf_counter()
        segmenter.shares(tiles[:1])
        one.append(time.perf_counter() - began)
        began = time.perf_counter()
        for _ in range(-(-TILES // batch)):
            segmenter.shares(tiles)
        many.append((time.perf_counter() - began) * TILES / (batch * -(-TILES // batch)))
    peak = memory.mib()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        segmenter.model.save(path)
        size = path.stat().st_size
    return {
        "parameters": int(segmenter.model.count_params()),
        "bytes": size,
        "seconds_per_tile": float(np.median(one)),
        "seconds_per_capture": float(np.median(many)),
        "peak_mib": peak,
    }


class _Peak:
    """Peak memory of this process since it was made, where Linux tells."""

    def __init__(self):
        try:
            Path("/proc/self/clear_refs").write_text("5")
            self.known = True
        except OSError:
            self.known = False

    def mib(self) -> float | None:
        if not self.known:
            return None
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) / 1024


def _row(confusion: Confusion, edges: Boundary) -> dict[str, float]:
    return {
        "frequency_weighted_iou": confusion.frequency_weighted_iou,
        "mean_iou": confusion.mean_iou,
        **dict(zip(confusion.names, confusion.iou.tolist(), strict=True)),
        "pixel_accuracy": confusion.accuracy,
        "boundary_f1": edges.mean,
    }


def _same(size, expected, what, mask) -> None:
    if tuple(size) != tuple(expected):
        raise GroveError(
            f"{what} is {size[0]} × {size[1]} pixels, its mask {mask} {expected[0]} × {expected[1]}. Nothing is "
            "resized silently: export the mask at the size of the image."
        )
