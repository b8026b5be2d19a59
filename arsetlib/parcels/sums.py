"""The class of each parcel, from a map of pixels.

A tile of the map is read once, and its pixels are added to the parcels that cover them, each by the share of it that
lies inside. So memory grows with the number of parcels, not with the map.

Lab: part4_defend_the_map.
"""

from __future__ import annotations

import math
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import rasterio
import shapely
from pyproj import CRS
from rasterio.features import rasterize
from rasterio.windows import Window
from rasterio.windows import bounds as bounds_of
from tqdm.auto import tqdm

from arsetlib import copies, folders, web
from arsetlib.evaluation import Confusion
from arsetlib.labels import Labels
from arsetlib.labels.fields import SWAPPED
from arsetlib.maps import MapError, Prediction, cogs
from arsetlib.maps.comparison import truth_in_blocks
from arsetlib.maps.products import NODATA, SCALE
from arsetlib.parcels.coverage import coverage
from arsetlib.parcels.outlines import ParcelError, Parcels, some, write
from arsetlib.study import Legend
from arsetlib.translation import N_, _

if TYPE_CHECKING:
    import pandas as pd

TILE = 1024  # pixels a side, read at once
RULES = ("probability", "majority")
# What became of a parcel. Only 'mapped' ones have a class.
STATES = (N_("mapped"), N_("too small"), N_("no prediction"), N_("outside the map"))
MAPPED, SMALL, UNKNOWN, OUTSIDE = range(4)


@dataclass(frozen=True)
class Gain:
    """A map by parcel against the map of single pixels it came from, on the same pixels.

    Attributes:
        pixels: Confusion of the model's own classes.
        parcels: Confusion of the parcels' classes.
        outside: Pixels with a truth that lie in no mapped parcel; they count in neither.
    """

    pixels: Confusion
    parcels: Confusion
    outside: int

    @property
    def accuracy(self) -> float:
        """Accuracy by parcel minus that by pixel."""
        return self.parcels.accuracy - self.pixels.accuracy

    @property
    def macro_f1(self) -> float:
        """Macro-F1 by parcel minus that by pixel."""
        return self.parcels.macro_f1 - self.pixels.macro_f1

    def table(self) -> pd.DataFrame:
        """Accuracy and macro-F1 of both maps, and the F1 of each class."""
        import pandas as pd

        rows = {N_("pixels"): self.pixels, N_("parcels"): self.parcels}
        found = {
            name: {"accuracy": c.accuracy, "macro_f1": c.macro_f1, **dict(zip(c.names, c.f1, strict=True))}
            for name, c in rows.items()
        }
        return pd.DataFrame(found).T

    def __str__(self) -> str:
        words = _("accuracy {pixels} by pixel, {parcels} by parcel, on {n} pixels; {outside} in no mapped parcel")
        return words.format(
            pixels=f"{self.pixels.accuracy:.3f}", parcels=f"{self.parcels.accuracy:.3f}", n=f"{self.pixels.total:,}",
            outside=f"{self.outside:,}",
        )  # fmt: skip


@dataclass(frozen=True, eq=False, repr=False)
class ParcelMap:
    """The classes of N parcels.

    Attributes:
        parcels: In the map's CRS.
        prediction: The map of pixels.
        rule: ``"probability"`` or ``"majority"``: how a parcel's class was decided.
        area: (N,) size of each parcel, pixels.
        covered: (N,) of these on the map.
        votes: (N, K) pixels of each class; a pixel at the edge counts by the share of it inside.
        chances: (N, K) sums of the pixels' probabilities, with the same shares.
    """

    parcels: Parcels
    prediction: Prediction
    rule: str
    area: np.ndarray
    covered: np.ndarray
    votes: np.ndarray
    chances: np.ndarray

    def __len__(self) -> int:
        return len(self.parcels)

    @property
    def legend(self) -> Legend:
        """Meaning of the class numbers."""
        return self.prediction.legend

    @cached_property
    def known(self) -> np.ndarray:
        """(N,) pixels with a prediction."""
        return self.votes.sum(axis=1)

    @cached_property
    def state(self) -> np.ndarray:
        """(N,) position in ``STATES``."""
        state = np.where(self.known > 0, MAPPED, np.where(self.covered > 0, UNKNOWN, OUTSIDE))
        return np.where((self.area < 1) & (self.covered > 0), SMALL, state)

    @cached_property
    def probability(self) -> np.ndarray:
        """(N, K) mean probability of the pixels with a prediction; NaN where there is none."""
        return _shares(self.chances)

    @cached_property
    def shares(self) -> np.ndarray:
        """(N, K) share of the pixels with a prediction that the map gives to each class; NaN where there is none."""
        return _shares(self.votes)

    @property
    def classes(self) -> np.ma.MaskedArray:
        """(N,) class number of each parcel by ``rule``; masked where it is not mapped."""
        best = self.probability if self.rule == "probability" else self.shares
        return np.ma.array(_best(best)[0], mask=self.state != MAPPED)

    @property
    def simulated(self) -> bool:
        """Whether outlines or images were simulated."""
        return self.prediction.simulated or self.parcels.simulated

    @cached_property
    def table(self) -> pd.DataFrame:
        """A row for each parcel, missing where there is nothing.

        ``parcel``, ``state``, ``class`` (its key) and ``class_number``; ``pixels`` of its ground, of which ``unknown``
        have no prediction; ``majority``, the class of most pixels, with its ``share`` of the known pixels and the
        ``margin`` to the second class; ``probability``, the mean probability of ``class``;
        ``probability_margin``, from the highest mean probability to the second; ``p_<key>``, the mean probability of
        each class; ``hectares``.
        """
        import pandas as pd

        return pd.DataFrame({name: _column(values) for name, values in self._columns().items()})

    def _columns(self) -> dict[str, np.ndarray]:
        keys = np.array(self.legend.keys, object)
        blank = self.state != MAPPED
        most, share, margin = _best(self.shares)
        chance = self.probability
        number = self.classes.filled(0)
        found = {
            "parcel": self.parcels.ids,
            "state": np.array(STATES, object)[self.state],
            "class": np.ma.array(keys[number], mask=blank),
            "class_number": np.ma.array(number.astype(np.int16), mask=blank),
            "pixels": self.area,
            "unknown": np.maximum(self.area - self.known, 0),
            "majority": np.ma.array(keys[most], mask=blank),
            "share": np.ma.array(share, mask=blank),
            "margin": np.ma.array(margin, mask=blank),
            "probability": np.ma.array(chance[np.arange(len(self)), number], mask=blank),
            "probability_margin": np.ma.array(_best(chance)[2], mask=blank),
        }
        found |= {f"p_{key}": np.ma.array(chance[:, i], mask=blank) for i, key in enumerate(self.legend.keys)}
        return found | {"hectares": self.parcels.hectares}

    def summary(self) -> dict:
        """Counts, as JSON values."""
        overlapping, common = self.parcels.overlaps
        mapped = self.state == MAPPED
        return {
            "parcels": len(self),
            "states": {name: int((self.state == i).sum()) for i, name in enumerate(STATES)},
            "pixels": float(self.area[mapped].sum()),
            "unknown_pixels": float(np.maximum(self.area - self.known, 0)[mapped].sum()),
            "rules_differ": int((_best(self.shares)[0] != _best(self.probability)[0])[mapped].sum()),
            "overlapping_pairs": len(overlapping),
            "shared_hectares": float(common.sum() / 10_000),
            "left_out": {reason: len(rows) for reason, rows in self.parcels.lost.items()},
            "left_out_rows": {reason: rows for reason, rows in self.parcels.lost.items()},
            "repaired_rows": self.parcels.repaired,
            "rule": self.rule,
            "simulated": self.simulated,
            "prediction": self.prediction.stem,
            "classes": {
                key: int((self.classes[mapped] == i).sum()) for i, key in enumerate(self.legend.keys)
            },
        }  # fmt: skip

    def __str__(self) -> str:
        found = self.summary()
        states = ", ".join(f"{n:,} {_(name)}" for name, n in found["states"].items() if n)
        words = _("{name}: {n} parcels, {states}")
        lines = [words.format(name=self.parcels.name, n=f"{len(self):,}", states=states)]
        names = dict(zip(self.legend.keys, self.legend.names(), strict=True))
        lines += [f"  {names[key]}: {n:,}" for key, n in found["classes"].items()]
        if found["unknown_pixels"] >= 0.5:
            words = _("{n} of {all} pixels of mapped parcels have no prediction")
            lines.append(words.format(n=f"{found['unknown_pixels']:,.0f}", all=f"{found['pixels']:,.0f}"))
        if found["overlapping_pairs"]:
            words = _("{n} pairs of parcels overlap; their {area} ha in common count in both")
            area = f"{found['shared_hectares']:,.2f}"
            lines.append(words.format(n=f"{found['overlapping_pairs']:,}", area=area))
        for reason, rows in self.parcels.lost.items():
            lines.append(
                _("left out: {n} rows {reason} ({rows})").format(n=len(rows), reason=_(reason), rows=some(rows))
            )
        if self.parcels.repaired:
            words = _("repaired: {n} outlines that cross themselves (rows {rows})")
            lines.append(words.format(n=len(self.parcels.repaired), rows=some(self.parcels.repaired)))
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"ParcelMap({self})"

    def save(self, path: str | Path) -> Path:
        """Write the table with the outlines, as GeoParquet 1.1 (``.parquet``) or GeoPackage (``.gpkg``).

        The file's metadata hold ``summary()``, in GeoParquet under ``arset.parcels``.

        Raises:
            ParcelError: Another ending.
        """
        return write(path, self.parcels, self._columns(), self.summary())

    def raster(self, path: str | Path) -> Path:
        """Write a class raster, a Cloud Optimized GeoTIFF on the map's grid: `maps.compare` and GIS read it.

        A pixel takes the class of the mapped parcel in which its centre lies, the last one where there are two;
        elsewhere it keeps the model's own class.

        Raises:
            ParcelError: A name that does not end in ``.tif``.
        """
        path = folders.place(path)
        if path.suffix != ".tif":
            raise ParcelError(f"Expected a file ending in .tif, received {path.name!r}.")
        tags = {"parcels": self.parcels.name, "rule": self.rule, "simulated": "yes" if self.simulated else "no"}

        def made(file: Path) -> None:
            with folders.workspace(file.with_name(f"{file.name}.work")) as work:
                with web.gdal(**cogs.GDAL), rasterio.open(copies.fetched(_own_classes(self.prediction))) as source:
                    scratch = cogs.scratch(work / "class.tif", "class", cogs.grid_of(source))
                    with rasterio.open(scratch, "r+") as out:
                        for window in cogs.blocks(source):
                            mine = self._painted(source, window)
                            out.write(np.where(mine >= 0, mine, source.read(1, window=window)).astype(np.uint8), 1,
                                      window=window)  # fmt: skip
                cogs.finish(scratch, work / "cog.tif", "class", self.legend, tags)
                (work / "cog.tif").replace(file)

        folders.put(path, made)
        return path

    def gain(self, labels: Labels | str | Path) -> Gain:
        """Score the map by parcel, and the map of pixels, against labels, on the pixels of mapped parcels.

        Args:
            labels: `Labels`, or the path of a raster of label codes: of truth, or of labels with their errors. They go
                through the vegetation rule, as in `maps.compare`.

        Raises:
            ParcelError: No pixel of a mapped parcel has a label, or `Labels` of another year.
        """
        if isinstance(labels, Labels) and labels.year != self.prediction.year:
            raise ParcelError(
                f"Expected labels of {self.prediction.year}, the year of the map {self.prediction.stem}, received "
                f"those of {labels.year}. Take the labels of that year."
            )
        none = np.empty(0, np.int8)
        pixels = parcels = Confusion.of(none, none, self.legend)
        outside = 0
        truth = getattr(labels, "path", labels)
        with web.gdal(**cogs.GDAL), rasterio.open(copies.fetched(_own_classes(self.prediction))) as source:
            rule = self.prediction.path("vegetation")
            for window, predicted, classes in truth_in_blocks(source, truth, rule, self.legend):
                mine = self._painted(source, window)
                both = (classes >= 0) & (mine >= 0)
                outside += int(((classes >= 0) & (mine < 0)).sum())
                pixels += Confusion.of(classes[both], predicted[both], self.legend)
                parcels += Confusion.of(classes[both], mine[both], self.legend)
        if not pixels.total:
            raise ParcelError(
                f"No pixel of a mapped parcel of {self.parcels.name} has a label in {truth}. Take labels of this area."
            )
        return Gain(pixels, parcels, outside)

    @cached_property
    def _tree(self) -> shapely.STRtree:
        return shapely.STRtree(self.parcels.shapes)

    def _painted(self, source: rasterio.DatasetReader, window: Window) -> np.ndarray:
        """(h, w) int16 class of the mapped parcel in which each pixel's centre lies; -1 where there is none."""
        here = np.sort(self._tree.query(shapely.box(*bounds_of(window, source.transform))))
        here = here[self.state[here] == MAPPED]
        shape = int(window.height), int(window.width)
        if not len(here):
            return np.full(shape, -1, np.int16)
        pairs = zip(self.parcels.shapes[here], self.classes[here].tolist(), strict=True)
        return rasterize(pairs, shape, fill=-1, transform=source.window_transform(window), dtype="int16")


def by_parcel(prediction: Prediction, parcels: Parcels, *, rule: str = "majority", progress: bool = True) -> ParcelMap:
    """Sum up a map of pixels by parcel.

    Args:
        prediction: Of `maps.predict`. The model's own classes are counted, not those smoothed among neighbours.
        parcels: Outlines in any CRS, of `read` or `segment`.
        rule: The class of a parcel: ``"majority"``, that of most pixels, or ``"probability"``, that of the highest mean
            probability; of equal classes the first of the legend. With true outlines of five simulated deltas
            (``benchmarks/parcels.py``) the majority was never worse and once 4 points better.
        progress: Show a bar.

    Returns:
        A ParcelMap. A parcel smaller than a pixel is kept as 'too small', one without a predicted pixel as 'no
        prediction', one beside the map as 'outside the map'; these have no class.

    Raises:
        ParcelError: No parcel lies on the map; an unknown rule.
        MapError: The rasters of the map do not belong together.
        MissingPackage: exactextract is not installed.

    Lab: part4_defend_the_map.
    """
    if rule not in RULES:
        raise ParcelError(f"Expected rule = {' or '.join(map(repr, RULES))}, received {rule!r}.")
    classes = len(prediction.legend.classes)
    with web.gdal(**cogs.GDAL), ExitStack() as stack:
        own, chance = (
            stack.enter_context(rasterio.open(copies.fetched(path)))
            for path in (_own_classes(prediction), prediction.path("probability"))
        )
        cogs.refuse_unlike(chance, own, classes)
        _refuse_elsewhere(parcels, own, prediction)
        parcels = parcels.to(own.crs.to_wkt())
        side = cogs.grid_of(own).side
        covered = np.zeros(len(parcels))
        votes, chances = np.zeros((len(parcels), classes)), np.zeros((len(parcels), classes))
        tree = shapely.STRtree(parcels.shapes)
        count = math.ceil(own.width / TILE) * math.ceil(own.height / TILE)
        for window in tqdm(cogs.blocks(own, TILE), total=count, desc="parcels", unit="tile", disable=not progress):
            box = bounds_of(window, own.transform)
            here = np.sort(tree.query(shapely.box(*box), predicate="intersects"))
            if not len(here):
                continue
            shape = int(window.height), int(window.width)
            found = coverage(parcels.shapes[here], box[0], box[3], side, *shape)
            covered[here] += found.sums(found.share)
            number = own.read(1, window=window).ravel()[found.cell]
            known = number != NODATA["class"]
            if (number[known] >= classes).any():
                raise MapError(
                    f"{own.name} has class {number[known].max()}; the legend has {classes} classes. Predict it again."
                )
            weight = np.where(known, found.share, 0)
            number = np.where(known, number, 0)
            raw = chance.read(window=window).reshape(classes, -1)
            for k in range(classes):
                mine = raw[k][found.cell]
                if (mine[known] > SCALE).any():
                    raise MapError(f"{chance.name} lacks pixels that {own.name} has. Predict the map again.")
                votes[here, k] += found.sums(weight * (number == k))
                chances[here, k] += found.sums(weight * (mine / SCALE))
    area = shapely.area(parcels.shapes) / side**2
    return ParcelMap(parcels, prediction, rule, area, covered, votes, chances)


def _own_classes(prediction: Prediction) -> Path:
    """The model's own classes, before smoothing."""
    return prediction.path("unsmoothed" if "unsmoothed" in prediction.info["files"] else "class")


def _refuse_elsewhere(parcels: Parcels, own: rasterio.DatasetReader, prediction: Prediction) -> None:
    """Refuse parcels none of which lies on the map."""
    from rasterio.warp import transform_bounds

    box = transform_bounds(own.crs, CRS(parcels.crs).to_wkt(), *own.bounds)
    if not np.isfinite(box).all() or not shapely.intersects(parcels.shapes, shapely.box(*box)).any():
        of = shapely.total_bounds(parcels.shapes)
        turned = shapely.transform(parcels.shapes, lambda p: p[:, ::-1])
        swapped = CRS(parcels.crs).is_geographic and shapely.intersects(turned, shapely.box(*box)).any()
        check = "Take the parcels of this area, or check the CRS of their file."
        raise ParcelError(
            f"None of the {len(parcels):,} parcels of {parcels.name} lies on the map {prediction.stem}: in "
            f"{CRS(parcels.crs).name} they reach from ({of[0]:g}, {of[1]:g}) to ({of[2]:g}, {of[3]:g}), the map from "
            f"({box[0]:g}, {box[1]:g}) to ({box[2]:g}, {box[3]:g}). {SWAPPED if swapped else check}"
        )


def _shares(sums: np.ndarray) -> np.ndarray:
    total = sums.sum(axis=1, keepdims=True)
    return np.divide(sums, total, out=np.full(sums.shape, np.nan), where=total > 0)


def _best(shares: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(N,) largest class, the first of the legend where some are equal; its value; how far it is before the second."""
    filled = np.nan_to_num(shares).round(9)  # sums of equal shares may differ in their last digits
    ordered = np.sort(filled, axis=1)
    second = ordered[:, -2] if filled.shape[1] > 1 else np.zeros(len(filled))
    return filled.argmax(axis=1), ordered[:, -1], ordered[:, -1] - second


def _column(values: np.ndarray):
    """Values for a table, missing where they are masked."""
    import pandas as pd

    if not isinstance(values, np.ma.MaskedArray):
        return values
    if values.dtype.kind in "iu":
        return pd.arrays.IntegerArray(values.data, np.ma.getmaskarray(values).copy())
    return np.where(np.ma.getmaskarray(values), None if values.dtype == object else np.nan, values.data)
