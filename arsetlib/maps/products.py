"""The files of a prediction, five rasters and a JSON file, and how they are opened.

Each raster is a Cloud Optimized GeoTIFF on the label grid; ``SCALE`` counts make 1.

=================  ======  ======  ===================================================================================
``_class``         uint8   255     class number, in the legend's order, with the legend's colours and names
``_probability``   uint16  65535   one band a class: the model's probability × 10,000
``_entropy``       uint16  65535   of those probabilities, over ln K: 0 sure, 10,000 all classes alike
``_margin``        uint16  65535   largest minus second probability × 10,000
``_vegetation``    uint8   255     1 where one of the window's last two images is vegetation: the rule of the labels
=================  ======  ======  ===================================================================================

The third column is nodata: pixels without an image in the window, and those that were not predicted. Where smoothing
was asked for, ``_class`` is smoothed and ``_unsmoothed`` holds the model's own classes; the others are never smoothed.

Lab: part3_train_and_test.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import rasterio

from arsetlib import copies, folders
from arsetlib.errors import ArsetError
from arsetlib.study import Class, Legend
from arsetlib.study.settings import text
from arsetlib.translation import _
from arsetlib.wording import span

SCALE = 10_000
CATEGORIES = ("class", "unsmoothed", "audit", "set")  # their values are numbers of a legend's classes
NODATA = dict.fromkeys((*CATEGORIES, "vegetation"), 255)
NODATA |= dict.fromkeys(("probability", "entropy", "margin", "dissimilarity"), 65_535)
VERSION = 1
KIND = "arset.prediction"
BIASED = (
    "Hectares are counts of pixels. They are biased, because errors of a classifier do not cancel; "
    "evaluation.stratified_areas gives areas with intervals from a sample of known truth."
)


class MapError(ArsetError, RuntimeError):
    """A map cannot be predicted, written or read; the message says why and what to do."""


@dataclass(frozen=True)
class Prediction:
    """One predicted map: an area, in one window.

    Attributes:
        folder: Where its files lie.
        stem: What their names begin with, such as ``dense_2019_120``.
        info: The JSON file: model, study, window, legend, counts, hectares, versions, chunks.
    """

    folder: Path
    stem: str
    info: dict

    def path(self, product: str = "class") -> Path:
        """File of ``class``, ``probability``, ``entropy``, ``margin``, ``vegetation`` or ``unsmoothed``.

        Where the maps lie in an object store, ``copies.fetched`` gives a copy on this machine.

        Raises:
            MapError: The prediction has no such file.
        """
        if product not in self.info["files"]:
            raise MapError(f"{self.stem} has no {product!r}; it has {', '.join(self.info['files'])}.")
        return self.folder / self.info["files"][product]

    def read(self, product: str = "class") -> np.ma.MaskedArray:
        """A whole raster, (H, W), or (K, H, W) for ``probability``; masked where nothing was predicted.

        Probabilities, entropy and margin come as float32 from 0 to 1.
        """
        with rasterio.open(copies.fetched(self.path(product))) as src:
            values = src.read(masked=True)
        if NODATA[product] == NODATA["probability"]:
            values = values.astype(np.float32) / SCALE
        return values if product == "probability" else values[0]

    @property
    def legend(self) -> Legend:
        """Meaning of the class numbers."""
        return legend_of(self.info["legend"])

    @property
    def area(self) -> str:
        """Key of the area."""
        return self.info["area"]

    @property
    def year(self) -> int:
        """In which the window starts."""
        return self.info["year"]

    @property
    def start(self) -> int:
        """Day of the year on which the window starts."""
        return self.info["start"]

    @property
    def last(self) -> date:
        """Last day of the window: the date of the prediction."""
        return date.fromisoformat(self.info["window"]["last"])

    @property
    def simulated(self) -> bool:
        """Whether any of its images was simulated."""
        return self.info["simulated"]

    def __str__(self) -> str:
        counts = self.info["pixels"]
        names = self.legend.names()
        window = span(self.info["window"]["first"], self.info["window"]["last"])
        words = _("{predicted} pixels predicted, {no_image} without an image in the window")
        words = words.format(predicted=f"{counts['predicted']:,}", no_image=f"{counts['no_image']:,}")
        names_of_area = self.info.get("area_name", {})
        lines = [f"{text(names_of_area) if names_of_area else self.area}, {window}: {words}"]
        lines += [f"  {names[i]}: {part['pixels']:,} {_('pixels')}" for i, part in enumerate(self.info["classes"])]
        return "\n".join(lines)


def open_prediction(path: str | Path) -> Prediction:
    """A prediction that `predict` made.

    Args:
        path: Its ``.json`` file, also in an object store (``s3://…``).

    Raises:
        MapError: There is none, it is damaged, or one of its rasters is gone.

    Lab: part3_train_and_test.
    """
    path = folders.place(path)
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
        if info["kind"] != KIND or info["version"] > VERSION:
            raise ValueError("another kind or a newer version")
        made = Prediction(path.parent, path.stem, info)
        gone = [p for p in info["files"].values() if not (path.parent / p).is_file()]
        cut = list(folders.differences(path.parent, info.get("seals", {})))  # earlier versions noted none
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MapError(f"{path} is no prediction of maps.predict ({error}). Predict it again.") from None
    if gone:
        raise MapError(
            f"{path} names {', '.join(gone)}, which {'is' if len(gone) == 1 else 'are'} gone. Predict it again."
        )
    if cut:
        raise MapError(f"{path} is not as it was predicted: {'; '.join(cut)}. Copy it anew, or predict it again.")
    return made


def predictions(folder: str | Path) -> list[Prediction]:
    """All finished predictions of a folder, by area, year and start.

    Raises:
        MapError: There is none.

    Lab: part3_train_and_test.
    """
    found = []
    for path in sorted(folders.place(folder).glob("*.json")):
        try:
            found.append(open_prediction(path))
        except MapError:
            if f'"{KIND}"' in path.read_text(encoding="utf-8", errors="replace"):
                raise
    if not found:
        raise MapError(f"There is no prediction in {folder}. Make one with maps.predict or `arset predict`.")
    return sorted(found, key=lambda p: (p.area, p.year, p.start))


def legend_as_json(legend: Legend) -> dict:
    """As JSON values."""
    return json.loads(json.dumps(asdict(legend)))


def legend_of(raw: dict) -> Legend:
    """What `legend_as_json` made."""
    classes = (
        Class(c["key"], c["name"], c["colour"], c["codes"] if c["codes"] == "others" else tuple(c["codes"]), c["crop"])
        for c in raw["classes"]
    )
    return Legend(raw["name"], tuple(classes), tuple(raw["excluded"]))


def window_dates(year: int, start: int, days: int) -> tuple[str, str]:
    """First and last day of a window, ISO."""
    first = date(year, 1, 1) + timedelta(days=start - 1)
    return first.isoformat(), (first + timedelta(days=days - 1)).isoformat()
