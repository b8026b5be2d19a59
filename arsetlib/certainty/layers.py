"""Certainty as layers of a map: classes with "cannot say", and how unlike the training each pixel is.

Lab: part4_defend_the_map.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import rasterio

from arsetlib import copies, folders, pixels, web
from arsetlib.certainty.applicability import Applicability, features
from arsetlib.certainty.sets import CertaintyError, Conformal, certain
from arsetlib.maps import cogs
from arsetlib.maps.marks import scattered, write_raster
from arsetlib.maps.products import NODATA, SCALE, Prediction
from arsetlib.maps.sources import grid_of_pixels
from arsetlib.samples import Rows, Scaler
from arsetlib.study import Class, Legend, Study
from arsetlib.translation import N_, _, language

CANNOT_SAY = N_("cannot say")
GREY = "#8c8c8c"


def legend_with_doubt(legend: Legend) -> Legend:
    """The legend of a map of sets: its classes, and "cannot say" as the last."""
    last = Class("cannot_say", {"en": CANNOT_SAY, language(): _(CANNOT_SAY)}, GREY, (), crop=False)
    return Legend(legend.name, (*legend.classes, last))


def set_layer(prediction: Prediction, conformal: Conformal, out: str | Path | None = None) -> tuple[Path, dict]:
    """A class map in which a pixel has a class only where its set has exactly one.

    Args:
        prediction: As ``maps.predict`` makes it; its probabilities are read block by block. They are stored in steps of
            0.0001, which is added to the limits, so that rounding takes no class from a set.
        conformal: Calibrated for this model, with ``score="lac"`` (``"aps"`` draws at random, which a map must not).
        out: The file, ``.tif``; by default beside the class map, ``…_set.tif``.

    Returns:
        The path, and counts of pixels: by key of class, ``cannot_say``, and of these ``none`` and ``several``.

    Raises:
        CertaintyError: Other classes than the map's, another score, or ``out`` is the map itself.

    Lab: part4_defend_the_map.
    """
    legend = prediction.legend
    if conformal.score != "lac" or len(conformal.limits) != len(legend.classes):
        raise CertaintyError(
            f"Expected a Conformal with score='lac' and {len(legend.classes)} classes, received "
            f"{conformal.score!r} with {len(conformal.limits)}."
        )
    target = folders.place(out) if out is not None else prediction.folder / f"{prediction.stem}_set.tif"
    if target in {prediction.path(product) for product in ("class", "probability")}:
        raise CertaintyError(f"{target} is a layer of the prediction and would be lost. Name another file.")
    looser = replace(conformal, limits=tuple(limit + 0.5 / SCALE for limit in conformal.limits))
    classes, counts = len(legend.classes), np.zeros(len(legend.classes) + 3, np.int64)
    with web.gdal(**cogs.GDAL), rasterio.open(copies.fetched(prediction.path("probability"))) as source:

        def blocks():
            for window in cogs.blocks(source):
                raw = source.read(window=window).reshape(classes, -1).T
                shown = np.flatnonzero(raw[:, 0] != NODATA["probability"])
                sets = looser.sets(raw[shown] / np.float32(SCALE))
                value, size = certain(sets), sets.sum(1)
                counts[: classes + 1] += np.bincount(value, minlength=classes + 1)
                counts[classes + 1 :] += (size == 0).sum(), (size > 1).sum()
                row, col = np.divmod(shown, int(window.width))
                yield row + int(window.row_off), col + int(window.col_off), value

        tags = {"alpha": conformal.alpha, "by_class": "yes" if conformal.by_class else "no"}
        tags |= {"area": prediction.area, "year": prediction.year, "model": prediction.info["model"]}
        tags |= {"simulated": "yes" if prediction.simulated else "no"}
        write_raster(target, _grid(source), blocks(), legend=legend_with_doubt(legend), product="set", tags=tags)
    keys = [*legend.keys, "cannot_say", "none", "several"]
    return target, dict(zip(keys, counts.tolist(), strict=True))


def applicability_layer(
    applicability: Applicability, source: Rows | pa.Table | str | Path, study: Study, scaler: Scaler | None,
    start: int, out: str | Path, *, area: str, year: int,
) -> tuple[Path, float]:  # fmt: skip
    """Dissimilarity of every pixel of an area in one year, as a map, and the share of them that is inside.

    Args:
        applicability: Of the training windows.
        source: A pixel table, its path, or rows of it.
        study, scaler, start: As for ``features``, the same as in training.
        out: The file, ``.tif``: uint16, dissimilarity × 10,000 up to 6.5534, nodata 65535; its tag ``threshold`` says
            up to where a pixel is inside.
        area, year: Which rows.

    Returns:
        The path, and the share of pixels inside, 0 to 1.

    Raises:
        CertaintyError: No such rows, or pixels too far apart for a map.

    Lab: part4_defend_the_map.
    """
    rows = Rows.of(source)
    mine = rows.pick((rows.column("area") == area) & (rows.column("year") == year))
    mine = mine.pick(study.legend.classes_of(mine.column("label_code")) >= 0)
    if not len(mine):
        raise CertaintyError(f"The table has no row of area {area!r} in {year} that the legend has a class for.")
    x, y = mine.column("x"), mine.column("y")
    grid = grid_of_pixels(pixels.Meta.of(rows.source), x, y, study, area)
    if scattered(grid, len(mine)):
        raise CertaintyError(f"The {len(mine):,} pixels of {area!r} are too far apart for a map. Take a dense area.")
    far = applicability.dissimilarity(features(mine, study, scaler, start)[0])
    row, col = grid.places(x, y)
    value = np.clip(np.rint(far * SCALE), 0, NODATA["dissimilarity"] - 1).astype(np.uint16)
    tags = {"threshold": applicability.threshold, "scale": SCALE, "area": area, "year": year, "start": start}
    tags |= {"simulated": "yes" if rows.meta.simulated else "no"}
    target = folders.place(out)
    write_raster(target, grid, [(row, col, value)], legend=study.legend, product="dissimilarity", tags=tags)
    return target, float((far <= applicability.threshold).mean())


def _grid(source: rasterio.DatasetReader):
    from arsetlib.ingest import Grid

    t = source.transform
    return Grid(source.crs.to_wkt(), t.a, t.c, t.f, source.height, source.width)
