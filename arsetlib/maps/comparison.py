"""A predicted map against a label raster, pixel by pixel.

Lab: part3_train_and_test.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import rasterio
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT

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
    with web.gdal(**cogs.GDAL), ExitStack() as stack:

        def opened(file):
            return stack.enter_context(rasterio.open(copies.fetched(file)))

        src, codes, green = opened(path), opened(truth_file), opened(rule) if rule else None
        options = {"crs": src.crs, "transform": src.transform, "width": src.width, "height": src.height}
        with WarpedVRT(codes, **options, resampling=Resampling.nearest, src_nodata=0, nodata=0) as truth:
            for window in cogs.blocks(src):
                predicted, code = src.read(1, window=window), truth.read(1, window=window)
                there = (predicted != NODATA["class"]) & (code != 0)
                classes = legend.classes_of(code[there].astype(np.int64))
                if green is not None:
                    shows = green.read(1, window=window)[there] == 1
                    classes = samples.apply_vegetation_rule(classes, shows, legend)
                predicted = predicted[there]
                if predicted.size and predicted.max() >= len(legend.classes):
                    raise MapError(f"{path} has class {predicted.max()}; the legend has {len(legend.classes)} classes.")
                found += Confusion.of(classes[classes >= 0], predicted[classes >= 0], legend)
    if not found.total:
        raise MapError(f"{path} and {truth_file} have no pixel in common that both know. Take the labels of that area.")
    return found
