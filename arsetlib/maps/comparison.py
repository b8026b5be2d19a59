"""A predicted map against a label raster, pixel by pixel.

Lab: part3_train_and_test.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import rasterio
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from arsetlib import copies, folders, samples, web
from arsetlib.evaluation import Confusion
from arsetlib.labels import Labels
from arsetlib.maps import cogs
from arsetlib.maps.products import NODATA, MapError, Prediction
from arsetlib.study import Legend

if TYPE_CHECKING:
    from arsetlib.labels import Labels


def compare(
    prediction: Prediction | str | Path,
    labels: Labels | str | Path,
    legend: Legend | None = None,
    *,
    smoothed: bool = True,
) -> Confusion:
    """How often each class of the labels was mapped as each other.

    For a `Prediction` the truth goes through the vegetation rule of its window, as in training and evaluation: a corn
    field where nothing shows yet is 'No Crops Growing'. For the path of a class raster alone the truth is what the
    labels say of the whole year.

    Args:
        prediction: A `Prediction`, or the path of a class raster.
        labels: `Labels`, or the path of a raster of label codes on any grid: a map's pixel is compared with the label
            pixel in which its centre lies.
        legend: Of both; the prediction's own by default.
        smoothed: False compares the model's own classes, before smoothing.

    Returns:
        A Confusion. Left out are pixels without prediction, without label (code 0), and of excluded codes.

    Raises:
        MapError: No legend, another number of classes, or nothing to compare.

    Lab: part3_train_and_test.
    """
    truth_file, rule = getattr(labels, "path", labels), None
    if isinstance(prediction, Prediction):
        legend = legend or prediction.legend
        unsmoothed = not smoothed and "unsmoothed" in prediction.info["files"]
        path, rule = prediction.path("unsmoothed" if unsmoothed else "class"), prediction.path("vegetation")
    else:
        path = folders.place(prediction)
    if legend is None:
        raise MapError("Give the legend: a class raster alone does not say which label codes its classes stand for.")
    found = Confusion.of(np.empty(0, np.int8), np.empty(0, np.int8), legend)
    with web.gdal(**cogs.GDAL), rasterio.open(copies.fetched(path)) as src:
        for _window, predicted, classes in truth_in_blocks(src, truth_file, rule, legend):
            there = classes >= 0
            predicted = predicted[there]
            if predicted.size and predicted.max() >= len(legend.classes):
                raise MapError(f"{path} has class {predicted.max()}; the legend has {len(legend.classes)} classes.")
            found += Confusion.of(classes[there], predicted, legend)
    if not found.total:
        raise MapError(f"{path} and {truth_file} have no pixel in common that both know. Take the labels of that area.")
    return found


def labels_on(prediction: Prediction, labels: Labels | str | Path) -> np.ndarray:
    """The classes of labels at the pixels of a map, as `compare` takes them: through the vegetation rule of its window.

    Args:
        prediction: Of `predict`; the whole of it is held in memory.
        labels: `Labels`, or the path of a raster of label codes on any grid, such as the truth of a simulated delta.

    Returns:
        (H, W) int8 class numbers; -1 where the map has no prediction, or the labels no class: code 0, excluded codes.

    Lab: part4_defend_the_map.
    """
    rule = prediction.path("vegetation")
    with web.gdal(**cogs.GDAL), rasterio.open(copies.fetched(prediction.path())) as src:
        found = np.full((src.height, src.width), -1, np.int8)
        blocks = truth_in_blocks(src, getattr(labels, "path", labels), rule, prediction.legend)
        for window, _predicted, classes in blocks:
            found[window.toslices()] = classes
    return found


def truth_in_blocks(
    src: rasterio.DatasetReader, labels: str | Path, rule: str | Path | None, legend: Legend
) -> Iterator[tuple[Window, np.ndarray, np.ndarray]]:
    """The pixels of a class raster beside the truth, block by block.

    Args:
        src: The class raster, open.
        labels: Raster of label codes, on any grid.
        rule: Raster of where vegetation shows, for the vegetation rule; None leaves the labels as they are.
        legend: Of both.

    Yields:
        A window, (h, w) classes of the map, and (h, w) int8 classes of the truth, -1 where either is unknown, or the
        code excluded.
    """
    with ExitStack() as stack:
        codes, green = (file and stack.enter_context(rasterio.open(copies.fetched(file))) for file in (labels, rule))
        options = {"crs": src.crs, "transform": src.transform, "width": src.width, "height": src.height}
        with WarpedVRT(codes, **options, resampling=Resampling.nearest, src_nodata=0, nodata=0) as truth:
            for window in cogs.blocks(src):
                predicted, code = src.read(1, window=window), truth.read(1, window=window)
                there = (predicted != NODATA["class"]) & (code != 0)
                classes = np.full(code.shape, -1, np.int8)
                classes[there] = legend.classes_of(code[there].astype(np.int64))
                if green is not None:
                    shows = green.read(1, window=window)[there] == 1
                    classes[there] = samples.apply_vegetation_rule(classes[there], shows, legend)
                yield window, predicted, classes
