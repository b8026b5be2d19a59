"""Score maps: IoU as in the thesis, borders of classes, and what a model costs.

Lab: case_groves.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from arsetlib import copies, folders, models, seeds
from arsetlib.evaluation import Confusion
from arsetlib.groves import masks, prediction
from arsetlib.groves.capture import Capture, classes_of, read
from arsetlib.groves.classes import CLASSES, IGNORE, Classes, GroveError
from arsetlib.groves.layouts import as_captures
from arsetlib.groves.segmenter import Segmenter

TOLERANCE = 3  # pixels, of a border
TILES = 35  # of a capture, in the thesis


@dataclass
class CaptureScores:
    """Scores of captures.

    Attributes:
        captures: Name → Confusion. They add up.
        borders: Name → (K, 4) int64 counts of border pixels: predicted ones near a true one, predicted, true ones near
            a predicted one, true. They add up, too.
        seconds: Name → s to predict that capture; empty where maps were given.

    Lab: case_groves.
    """

    captures: dict[str, Confusion] = field(default_factory=dict)
    borders: dict[str, np.ndarray] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def confusion(self) -> Confusion:
        """Of all captures."""
        return sum(self.captures.values())

    def table(self, name: str = "all captures") -> pd.DataFrame:
        """As in the thesis: frequency-weighted IoU, mean IoU, IoU of each class; then pixel accuracy, boundary F1."""
        row = _row(self.confusion, sum(self.borders.values()))
        return pd.DataFrame([row], index=pd.Index([name], name="model"))

    def by_capture(self) -> pd.DataFrame:
        """The same, one row a capture."""
        rows = {name: _row(confusion, self.borders[name]) for name, confusion in self.captures.items()}
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("capture")


def evaluate(
    segmenter: Segmenter | str | Path,
    captures: str | Path | Iterable[str | Path | Capture],
    *,
    overlap: float = 0.25,
    progress: bool = True,
) -> CaptureScores:
    """Predict captures that have masks and score them.

    Args:
        segmenter: A Segmenter or its folder; or a folder of maps that ``predict`` wrote (PNG named as the captures).
        captures: With masks: a folder in a layout of ``groves.captures``, or a list of captures.
        overlap: Of tiles, as in ``predict``.
        progress: Show a bar.

    Raises:
        GroveError: A capture without mask; a mask or map whose size is not the capture's.

    Lab: case_groves.
    """
    from tqdm.auto import tqdm

    maps, classes = None, CLASSES
    if not isinstance(segmenter, Segmenter):
        known = prediction.settings(folders.place(segmenter))
        maps = copies.fetched(segmenter) if known else None
        segmenter = None if maps else models.load(segmenter, kind="segmentation")
    classes = classes_of_maps(maps) if maps else Classes(segmenter.classes, segmenter.colours[: len(segmenter.classes)])
    channels, scores = None if maps else segmenter.channels, CaptureScores()
    for capture in tqdm(as_captures(captures), desc="evaluate", unit="capture", disable=not progress):
        if capture.mask is None:
            raise GroveError(f"Capture {capture.name} has no mask, so it cannot be scored. Leave it out, or label it.")
        # What a box becomes is stated in the folder of the captures.
        image, truth = read(capture, replace(classes, boxes=classes_of(capture).boxes), channels)
        if maps:
            predicted = masks.read_mask(maps / f"{capture.name}.png", classes)
            if predicted.shape != truth.shape:
                raise GroveError(
                    f"The map {maps / capture.name}.png has {predicted.shape} pixels (rows, columns), its mask "
                    f"{capture.mask} {truth.shape}. Map the capture again."
                )
        else:
            began = time.perf_counter()
            predicted = prediction.mapped(segmenter, image, overlap, name=str(capture.image))
            scores.seconds[capture.name] = time.perf_counter() - began
        scores.captures[capture.name] = Confusion.of(truth, predicted, classes.keys, ignore=IGNORE)
        scores.borders[capture.name] = border_counts(truth, predicted, len(classes))
    return scores


def classes_of_maps(folder: Path) -> Classes | None:
    """The classes of a folder of maps that ``predict`` wrote; None for another folder."""
    stated = prediction.settings(folder)
    if not stated:
        return None
    return Classes(tuple(stated["classes"]), tuple(stated["colours"][: len(stated["classes"])]))


def border_counts(truth: np.ndarray, predicted: np.ndarray, classes: int, tolerance: int = TOLERANCE) -> np.ndarray:
    """Count how much of the borders lies within ``tolerance`` pixels (rows and columns) of the other's.

    The border of a large region hardly changes its IoU; these counts see nothing else.

    Args:
        truth: (H, W) class numbers, 255 where not labelled: what is predicted there does not count.
        predicted: (H, W) class numbers.
        classes: K.
        tolerance: Pixels.

    Returns:
        (K, 4) int64, see ``CaptureScores.borders``.
    """
    from scipy.ndimage import maximum_filter, minimum_filter

    known = minimum_filter(truth != IGNORE, 3, mode="nearest")  # a border with the unknown is none
    size, counts = 2 * tolerance + 1, np.zeros((classes, 4), np.int64)
    for k in range(classes):
        edges = [inside & ~minimum_filter(inside, 3, mode="nearest") & known for inside in (predicted == k, truth == k)]
        near = [maximum_filter(edge, size) for edge in edges]
        counts[k] = [(edges[0] & near[1]).sum(), edges[0].sum(), (edges[1] & near[0]).sum(), edges[1].sum()]
    return counts


def boundary_f1(counts: np.ndarray) -> np.ndarray:
    """(K,) F1 of the borders from their counts; NaN where neither truth nor prediction has a border of the class."""
    hit, predicted, found, true = counts.T.astype(float)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision, recall = hit / predicted, found / true
        f1 = 2 * precision * recall / (precision + recall)
    return np.where(predicted + true == 0, np.nan, np.nan_to_num(f1))


def _row(confusion: Confusion, borders: np.ndarray) -> dict[str, float]:
    f1 = boundary_f1(borders)
    return {
        "frequency_weighted_iou": confusion.frequency_weighted_iou,
        "mean_iou": confusion.mean_iou,
        **dict(zip(confusion.names, confusion.iou.tolist(), strict=True)),
        "pixel_accuracy": confusion.accuracy,
        "boundary_f1": float(f1[~np.isnan(f1)].mean()) if not np.isnan(f1).all() else float("nan"),
    }


def cost(segmenter: Segmenter, repeats: int = 3, batch: int = prediction.BATCH) -> dict[str, float]:
    """What a model costs: parameters, bytes on disk and seconds, on this machine.

    Args:
        segmenter: The model.
        repeats: Passes of which the median is taken.
        batch: Tiles a call of the model.

    Returns:
        dict of ``parameters``, ``bytes`` (of ``model.keras``), ``seconds_per_tile`` (one at a time),
        ``seconds_per_capture`` (35 tiles, in batches).

    Lab: case_groves.
    """
    import tempfile

    shape = (batch, *segmenter.size, segmenter.channels)
    tiles = seeds.generator(0, "tiles to time").integers(0, 256, shape, dtype=np.uint8)
    calls = -(-TILES // batch)

    def seconds(part: np.ndarray, times: int) -> float:
        """Of a call of the model; the first call, which compiles it, is not counted."""
        spent = []
        for _ in range(repeats + 1):
            began = time.perf_counter()
            for _ in range(times):
                segmenter.shares(part)
            spent.append((time.perf_counter() - began) / times)
        return float(np.median(spent[1:]))

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        segmenter.model.save(path)
        size = path.stat().st_size
    return {
        "parameters": int(segmenter.model.count_params()),
        "bytes": size,
        "seconds_per_tile": seconds(tiles[:1], 1),
        "seconds_per_capture": seconds(tiles, calls) * TILES / batch,
    }
