"""What the library's tables, scores and counts are called where a reader sees them.

Data keep their own names, which code uses: ``table["macro_f1"]``. ``shown(table)`` is the same table to print, with
heads in the reader's language.

    print(wording.shown(table).to_string())

Labs: all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date
from typing import TYPE_CHECKING

from arsetlib.translation import N_, _, day_text

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["COLUMNS", "VALUES", "column", "day", "shown", "span", "word"]

# Name in data → what a reader sees. Other names are shown with spaces for underscores.
COLUMNS = {
    # of many tables
    "area": N_("area"), "areas": N_("areas"), "band": N_("band"), "bands": N_("bands"), "batches": N_("batches"),
    "block": N_("block"), "blocks": N_("blocks"), "bytes": N_("bytes"), "class": N_("class"), "code": N_("code"),
    "capture": N_("capture"), "captures": N_("captures"), "date": N_("date"), "dates": N_("dates"), "day": N_("day"),
    "device": N_("device"), "epoch": N_("epoch"), "epochs": N_("epochs"), "error": N_("error"),
    "hectares": N_("hectares"), "high": N_("high"), "images": N_("images"), "kind": N_("kind"), "low": N_("low"),
    "labels": N_("labels"), "max": N_("max"), "mean": N_("mean"), "median": N_("median"), "method": N_("method"),
    "min": N_("min"), "model": N_("model"), "name": N_("name"), "observations": N_("observations"), "page": N_("page"),
    "parameters": N_("parameters"), "pixel": N_("pixel"), "pixels": N_("pixels"), "repeat": N_("repeat"),
    "rows": N_("rows"), "samples": N_("samples"), "score": N_("score"), "seconds": N_("seconds"),
    "share": N_("share"), "side": N_("side"), "simulated": N_("simulated"), "start": N_("start"), "std": N_("std"),
    "used": N_("used"), "what": N_("what"), "year": N_("year"), "years": N_("years"), "value": N_("value"),
    "predictions": N_("predictions"), "most": N_("most"),
    # scores
    "accuracy": N_("accuracy"), "average_precision": N_("average precision"),
    "balanced_accuracy": N_("balanced accuracy"), "behind": N_("behind"), "best": N_("best"),
    "best_date": N_("best date"), "best_f1": N_("best F1"), "boundary_f1": N_("boundary F1"),
    "brier": N_("Brier score"),
    "calibration_error": N_("calibration error"), "categorical_accuracy": N_("accuracy"),
    "confidence": N_("mean probability"), "constant": N_("constant"), "crops": N_("crops"),
    "crops_accuracy": N_("crops accuracy"), "crops_macro_f1": N_("crops macro-F1"),
    "crops_share": N_("crops in truth"), "drop": N_("drop"), "exact": N_("all labels right"),
    "explained": N_("share explained"), "f1": N_("F1"),
    "four_crops": N_("four crops"), "frequency_weighted_iou": N_("frequency-weighted IoU"), "iou": N_("IoU"),
    "kappa": N_("kappa"), "log_loss": N_("log loss"), "loss": N_("loss"), "macro_f1": N_("macro-F1"),
    "majority": N_("majority"), "majority_accuracy": N_("majority accuracy"),
    "majority_macro_f1": N_("majority macro-F1"), "mean_average_precision": N_("mean average precision"),
    "mean_iou": N_("mean IoU"), "micro_f1": N_("micro-F1"), "pixel_accuracy": N_("pixel accuracy"),
    "precision": N_("precision"), "predicted": N_("predicted"), "producers": N_("producer's accuracy"),
    "published": N_("published"), "recall": N_("recall"), "right": N_("right"),
    "sampled": N_("sampled"), "sparse_categorical_accuracy": N_("accuracy"), "stays": N_("stays from"),
    "support": N_("samples"), "tested": N_("tested"), "top_2": N_("top two"), "truth": N_("truth"),
    "until": N_("until"), "users": N_("user's accuracy"), "weighted_f1": N_("weighted F1"),
    "mapped": N_("mapped"), "estimate": N_("estimate"),
    "difference": N_("difference"), "lowest": N_("lowest"), "highest": N_("highest"), "ground": N_("ground"),
    "tree": N_("tree"), "grass": N_("grass"), "directory": N_("directory"), "tfrecord": N_("TFRecord"),
    # bands
    "esa": N_("ESA's name"), "wavelength_nm": N_("wavelength, nm"), "width_nm": N_("width, nm"),
    "resolution_m": N_("resolution, m"), "bytes_of_scl": N_("bytes of SCL"),
    # models and layers
    "architecture": N_("architecture"), "encoder": N_("encoder"), "encoder_paper": N_("encoder's paper"),
    "layer": N_("layer"), "learning_rate": N_("learning rate"), "needs": N_("needs"), "output": N_("output"),
    "paper": N_("paper"), "state": N_("state"), "trial": N_("trial"),
    # queries of the pixel table
    "codes": N_("codes"), "confidence_from": N_("confidence from"), "from_code": N_("from code"),
    "images_from": N_("images from"), "label_code": N_("label code"), "label_confidence": N_("label confidence"),
    "mean_images": N_("mean images"), "num_images": N_("number of images"), "pixel_years": N_("pixel-years"),
    "series": N_("series"), "to_code": N_("to code"), "rule": N_("rule"), "what_it_asks": N_("what it asks"),
    # scenes that a search dropped; rows and observations that a table or a loader left out
    "left_out": N_("left out, as asked"), "other_years": N_("of other years"), "outside_areas": N_("outside the areas"),
    "older_processing": N_("older processing"), "too_cloudy": N_("too cloudy"),
    "too_little_valid": N_("too little of them valid"), "excluded": N_("excluded by the legend"),
    "no_image": N_("without an image"), "bad": N_("bad"), "rows_again": N_("rows that come again"),
    "observations_of_another_year": N_("observations of another year"),
    "observations_without_value": N_("observations without a value"),
    "values_blanked": N_("values left out"),
    "pixels_not_sampled": N_("pixels not sampled"), "pixels_without_images": N_("pixels without images"),
    "pixels_without_label": N_("pixels without label"), "pixels_of_low_confidence": N_("pixels of low confidence"),
    "observations_dropped_by_scl": N_("observations dropped by scene class"),
    "observations_twice_on_a_day": N_("observations twice on a day"),
    "observations_without_data": N_("observations without data"),
    "observations_out_of_range": N_("observations out of range"),
    "scenes_skipped_after_scl": N_("scenes skipped after the scene class"), "scenes_read": N_("scenes read"),
    "offset confirmed": N_("offset confirmed"), "offset corrected": N_("offset corrected"),
    "offset contradicted": N_("offset contradicted"), "offset cannot tell": N_("offset cannot be told"),
    # audits of labels, sets of classes
    "cannot_say": N_("cannot say"), "coverage": N_("coverage"), "field": N_("field"), "found_by": N_("found by"),
    "guess": N_("probable class"), "holds": N_("holds"), "inside": N_("inside"),
    "mean_size": N_("classes in a set"), "outside": N_("outside"), "suspicious": N_("suspicious"),
    # a sample of a map
    "place": N_("place"), "seed": N_("seed"),
    "stratum": N_("stratum"), "half_width": N_("half width, ha"), "powered": N_("with probabilities"),
    # menus of figures
    "run": N_("run"), "shares": N_("shares"), "view": N_("view"), "threshold": N_("threshold"),
    # parcels
    "class_number": N_("class number"), "margin": N_("margin"), "parcel": N_("parcel"), "parcels": N_("parcels"),
    "probability": N_("probability"), "probability_margin": N_("margin of probability"), "unknown": N_("unknown"),
    # trees
    "area_ha": N_("area, ha"), "canopy_m2_per_ha": N_("canopy, m² per ha"), "trees_per_ha": N_("trees per ha"),
    "seconds_per_capture": N_("seconds per capture"), "seconds_per_tile": N_("seconds per tile"),
    "canopy_cover": N_("canopy cover"), "count_error": N_("count error"), "matched": N_("matched"),
    "radius": N_("radius"), "trees": N_("trees"), "views": N_("views"),
}  # fmt: skip
# Words that stand in cells and in the first column of tables.
VALUES = (
    N_("baseline"), N_("complete"), N_("left out"), N_("majority"), N_("majority baseline"), N_("nothing"),
    N_("pruned"), N_("random forest"), N_("test"), N_("train"), N_("validation"), N_("all captures"), N_("valid"),
    N_("mapped"), N_("no prediction"), N_("outside the map"), N_("parcels"), N_("pixels"), N_("too small"),
    N_("inside"), N_("outside"),
    N_("overfit"), N_("underfit"), N_("GPU: P100 directory, V100 TFRecord"), N_("one GPU, mirrored"),
)  # fmt: skip
_PARTS = {
    re.compile(r"val_(.+)"): N_("{column} of validation"),
    re.compile(r"(.+)_low"): N_("{column}, low"),
    re.compile(r"(.+)_high"): N_("{column}, high"),
}


def column(name: object) -> str:
    """What a column, score or count is called, in the reader's language; another name with spaces for underscores.

    >>> column("val_macro_f1"), column("my_own")
    ('macro-F1 of validation', 'my own')
    """
    name = str(name)
    if name in COLUMNS:
        return _(COLUMNS[name])
    for pattern, text in _PARTS.items():
        if (found := pattern.fullmatch(name)) and found[1] in COLUMNS:
            return _(text).format(column=column(found[1]))
    return name.replace("_", " ")


def word(cell: object) -> object:
    """A cell of a table in the reader's language, where it is one of ``VALUES``."""
    return _(cell) if isinstance(cell, str) and cell in VALUES else cell


def shown(table: pd.DataFrame | pd.Series) -> pd.DataFrame | pd.Series:
    """A copy of a table, or of a list of scores, to print: its heads are in the reader's language.

    >>> import pandas as pd
    >>> print(shown(pd.Series({"macro_f1": 0.5})).to_string())
    macro-F1    0.5

    Labs: part1_build_dataset, part3_train_and_test, case_groves.
    """
    import pandas as pd

    if isinstance(table, pd.Series):
        index = table.index.map(column) if all(isinstance(name, str) for name in table.index) else table.index
        name = table.name if table.name is None else column(table.name)
        return table.set_axis(index.set_names(_names(table.index.names))).rename(name)
    cells = table.map(word)
    index = table.index.map(_first) if table.index.nlevels == 1 else table.index
    columns = table.columns.map(column) if table.columns.nlevels == 1 else table.columns
    index, columns = index.set_names(_names(table.index.names)), columns.set_names(_names(table.columns.names))
    return cells.set_axis(index).set_axis(columns, axis=1)


def _first(name: object) -> object:
    """What stands before a row: a score, or a word of ``VALUES``."""
    return column(name) if name in COLUMNS else word(name)


def _names(names: Iterable) -> list:
    return [name if name is None else column(name) for name in names]


def span(low: object, high: object) -> str:
    """From … to …: two ends of an interval."""
    return _("{low} to {high}").format(low=low, high=high)


def day(when: date) -> str:
    """A day as tables and figures show it: 1 Jul 2021."""
    return day_text(when, _("d MMM y"))
