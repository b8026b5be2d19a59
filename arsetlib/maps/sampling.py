"""A random sample of a map's pixels, to be labelled by a person, and the areas that follow from the labels.

    here = maps.ClassMap.open("maps/dense_2019_120.json")
    plan = maps.plan_sample(here, 500, least=50)
    sample = maps.draw_sample(here, plan, seed=1)
    sample.save("visit")                                     # CSV and GeoPackage to fill in
    maps.sample_areas(maps.MapSample.load("visit"), here)

Each pixel comes with its inclusion probability: the chance that it had to be drawn. The points stand in random order,
so the first of them are a random sample, too.

Sources: Olofsson et al. 2014, Remote Sensing of Environment 148, 42-57; Cochran 1977, Sampling Techniques.

Lab: part4_defend_the_map.
"""

from __future__ import annotations

import csv
import io
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pyproj import CRS, Transformer

from arsetlib import evaluation, filetypes, folders, seeds, textfiles
from arsetlib.evaluation import Areas
from arsetlib.evaluation.facts import plain
from arsetlib.maps.classmaps import ClassMap
from arsetlib.maps.products import MapError, legend_as_json, legend_of
from arsetlib.study import Legend
from arsetlib.translation import N_, _, ngettext
from arsetlib.wording import shown, span

FILES = ("sample.gpkg", "README.txt", "sample.json", "sample.csv")  # in the order in which they are written
NUMBERS = ("x", "y", "lon", "lat", "inclusion_probability")
TEXTS = ("stratum", "label", "confidence", "remarks")
DRAWN = ("id", "stratum", "lon", "lat")  # what sample.json keeps, to notice rows that were changed by hand
MOVED = 1e-6  # degrees, 0.1 m: a spreadsheet may round
COLUMNS = ("id", "stratum", *NUMBERS, "label", "confidence", "remarks")
WHOLE = "all"  # the stratum of a simple random sample
PROPOSED = "proposed"  # in the place of a stratum: a point that a model proposed, `arset next`
CHOSEN = "chosen"  # the same: a point that a person chose on the map of the labelling page
UNDRAWN = (PROPOSED, CHOSEN)  # they have no inclusion probability, so no area can be estimated from them
RANDOM = "random"
KINDS = (N_("proportional"), N_("equal"), N_("neyman"), N_("random"))  # allocations, as a reader sees them
SPREADSHEETS = (".xlsx", ".xls", ".ods")
FEW = 12  # ids that a message names


@dataclass(frozen=True)
class SamplePlan:
    """How many pixels of each stratum to draw.

    Attributes:
        table: One row a stratum: ``pixels``, ``hectares``, ``samples``, and ``half_width``, ha: half the interval to
            expect for the area of that class, NaN where no accuracies were guessed.
        allocation: How the samples were spread.
        size: Samples in all.
    """

    table: pd.DataFrame
    allocation: str
    size: int

    def __str__(self) -> str:
        words = ngettext("{n} sample, allocation {kind}", "{n} samples, allocation {kind}", self.size)
        table = self.table.round({"hectares": 1, "half_width": 1}).dropna(axis=1, how="all")
        return f"{words.format(n=f'{self.size:,}', kind=_(self.allocation))}\n{shown(table).to_string()}"


@dataclass(frozen=True)
class MapSample:
    """Points to label, or labelled.

    Attributes:
        table: One row a point, in random order: ``id``, ``stratum``, ``x``, ``y`` (m, the map's CRS), ``lon``, ``lat``,
            ``inclusion_probability``, ``label`` (a class; empty where nobody has labelled it), ``confidence``,
            ``remarks``. A point that was not drawn has ``proposed`` (by a model) or ``chosen`` (by a person) as its
            stratum and NaN as its inclusion probability: it is for training, and `sample_areas` leaves it out.
        design: Legend, CRS, seed, allocation, strata, points as drawn; empty where only a CSV or GeoPackage was read.
    """

    table: pd.DataFrame
    design: dict = field(default_factory=dict)

    @property
    def legend(self) -> Legend:
        """Of the map from which it was drawn.

        Raises:
            MapError: The file that says it, ``sample.json``, is not there.
        """
        if "legend" not in self.design:
            raise MapError("The sample's legend is in sample.json. Name the folder that `arset sample` wrote.")
        return legend_of(self.design["legend"])

    def save(self, folder: str | Path) -> list[Path]:
        """Write ``sample.csv``, ``sample.gpkg``, ``README.txt`` and ``sample.json`` into a folder.

        The GeoPackage is left out where the package pyogrio is not installed.

        Returns:
            The files written; ``sample.csv`` is the last one, so a folder with it is complete.

        Raises:
            MapError: One of them exists, the folder is a file, or another job is writing it.
        """
        folder = folders.place(folder)
        if folder.exists() and not folder.is_dir():
            raise MapError(f"Expected a new folder for the sample, but {folder} is a file. Give another name.")
        with folders.lock(folder, MapError):
            return self._write(folder)

    def _write(self, folder: Path) -> list[Path]:
        """The files of ``save``, in a folder that no other job writes."""
        there = [name for name in FILES if (folder / name).exists()]
        if there:
            raise MapError(
                f"{folder} already has {', '.join(there)}. Labels in it would be lost. Name another folder, or delete "
                "this one if nobody has worked in it."
            )
        points = {"points": self.design["points"]} if "points" in self.design else {}  # `plain` would round them
        content: dict[str, Any] = {
            "README.txt": _protocol(self),
            "sample.json": json.dumps({**plain(self.design), **points}, indent=1, ensure_ascii=False),
            "sample.csv": self.csv(),
        }
        if has_pyogrio():
            content = {"sample.gpkg": self._geopackage(), **content}
        for name, what in content.items():
            folders.put(folder / name, what)
        return [folder / name for name in content]

    def csv(self) -> str:
        """The table as CSV."""
        table = self.table.copy()
        for name, digits in {"x": 3, "y": 3, "lon": 8, "lat": 8}.items():
            table[name] = table[name].map(f"{{:.{digits}f}}".format)
        table["inclusion_probability"] = table["inclusion_probability"].map("{:.12g}".format, na_action="ignore")
        return table.to_csv(index=False, lineterminator="\n")

    def _geopackage(self) -> bytes:
        """The table as a GeoPackage of points."""
        import pyogrio.raw
        import shapely

        points = shapely.to_wkb(shapely.points(self.table["lon"], self.table["lat"]))
        data = [self.table[name].to_numpy(object if name in TEXTS else None) for name in COLUMNS]
        options = {"layer": "sample", "driver": "GPKG", "geometry_type": "Point", "crs": "EPSG:4326"}
        with tempfile.TemporaryDirectory(prefix="arset-") as folder:
            file = Path(folder) / "sample.gpkg"
            pyogrio.raw.write(file, points, data, list(COLUMNS), **options)
            return file.read_bytes()

    @classmethod
    def load(cls, path: str | Path) -> MapSample:
        """Read a sample that was drawn, or filled in with a spreadsheet, a GIS or the labelling page.

        Args:
            path: The folder that ``save`` wrote (its ``sample.csv`` is read), a ``.csv`` or a ``.gpkg``.

        Raises:
            MapError: No such file; a column is missing or comes twice; a row has other cells than the header; an id
                comes twice or is no whole number; a number is none.
        """
        path = folders.place(path)
        if path.is_dir():
            path = path / "sample.csv"
        if not path.is_file():
            raise MapError(f"There is no sample at {path}. Draw one with `arset sample`.")
        raw = _of_geopackage(path) if path.suffix.lower() == ".gpkg" else read_csv(path)
        missing = [name for name in COLUMNS if name not in raw]
        if missing:
            raise MapError(
                f"{path} lacks the columns {', '.join(missing)}. Keep all columns of the sample when you fill it in; "
                "without inclusion probabilities no area can be estimated."
            )
        if raw.empty:
            raise MapError(f"{path} has no rows. Take the file that `arset sample` wrote, with all its rows.")
        table = raw[list(COLUMNS)].copy()
        for name in TEXTS:
            table[name] = table[name].fillna("").astype(str).str.strip()
        undrawn = table["stratum"].isin(UNDRAWN) & _empty(table["inclusion_probability"])
        for name in ("id", *NUMBERS[:-1]):
            table[name] = parsed(table[name], name, path)
        chance = parsed(table["inclusion_probability"].mask(undrawn, "1"), "inclusion_probability", path)
        check_degrees(table["lon"], table["lat"], path)
        whole = (table["id"] % 1 == 0) & (table["id"].abs() < 2**53)
        if not whole.all():
            raise MapError(f"{path}: expected whole numbers as ids, received {table['id'][~whole].iloc[0]}.")
        table["id"] = table["id"].astype(np.int64)
        twice = table["id"][table["id"].duplicated()].tolist()
        if twice:
            raise MapError(f"{path}: the ids {_some(twice)} come more than once. Keep one row for each point.")
        if not ((chance > 0) & (chance <= 1)).all():
            bad = table["id"][~((chance > 0) & (chance <= 1))].tolist()
            raise MapError(f"{path}: expected inclusion probabilities above 0 and up to 1; ids {_some(bad)} have none.")
        table["inclusion_probability"] = chance.mask(undrawn)
        beside = path.with_name("sample.json")
        return cls(table, _design(beside) if beside.is_file() else {})


@dataclass(frozen=True)
class SampleAreas:
    """What a labelled sample says of a map.

    Attributes:
        areas: Estimates with intervals, from the labels.
        powered: The same with the model's probabilities beside the labels, see ``evaluation.powered_areas``; None where
            the map has no probabilities, or the strata are not those of this map.
        labelled: Points that were used.
        unlabelled: Ids of points without a label.
        outside: Ids of points where the map has no class.
        notes: What a reader must know.
        simulated: Whether the map was made of simulated images.
        undrawn: Ids of points that a model proposed or a person chose: they are not random, so they are left out.
    """

    areas: Areas
    powered: pd.DataFrame | None
    labelled: int
    unlabelled: tuple[int, ...]
    outside: tuple[int, ...]
    notes: tuple[str, ...]
    simulated: bool
    undrawn: tuple[int, ...] = ()

    def __str__(self) -> str:
        table, unit = self.areas.table, self.areas.unit
        pieces = [_("{n} labelled points").format(n=f"{self.labelled:,}")]
        if self.simulated:
            pieces.insert(0, _("SIMULATED"))
        rows = pd.DataFrame(index=table.index)
        rows["mapped"] = table["mapped"].map("{:,.1f}".format)
        for name, source in (("area", table), ("powered", self.powered)):
            if source is not None:
                low, high = (source[f"area_{end}"].map("{:,.1f}".format) for end in ("low", "high"))
                rows[name] = [
                    f"{a:,.1f} ± {e:,.1f} ({span(lo, hi)})"
                    for a, e, lo, hi in zip(source["area"], source["area_error"], low, high, strict=True)
                ]
        accuracy = pd.DataFrame(index=table.index)
        for name in ("users", "producers"):
            accuracy[name] = [
                "–" if pd.isna(v) else f"{v:.3f} ({span(f'{lo:.3f}', f'{hi:.3f}')})"
                for v, lo, hi in zip(table[name], table[f"{name}_low"], table[f"{name}_high"], strict=True)
            ]
        accuracy["sampled"] = table["sampled"].map("{:,.0f}".format)
        a = self.areas
        overall = _("overall accuracy {share} ({between}); {method}").format(
            share=f"{a.accuracy:.3f}",
            between=span(f"{a.accuracy_low:.3f}", f"{a.accuracy_high:.3f}"),
            method=a.method,
        )
        read = _("{unit}: estimate ± standard error ({confidence} interval)").format(
            unit=unit, confidence=f"{a.confidence:.0%}"
        )
        lines = [", ".join(pieces), "", read, shown(rows).to_string(), "", shown(accuracy).to_string(), "", overall]
        return "\n".join([*lines, *self.notes])

    def as_dict(self) -> dict:
        """As JSON values."""
        return plain(
            {
                "simulated": self.simulated,
                "labelled": self.labelled,
                "unlabelled": list(self.unlabelled),
                "outside": list(self.outside),
                "undrawn": list(self.undrawn),
                "method": self.areas.method,
                "confidence": self.areas.confidence,
                "unit": self.areas.unit,
                "accuracy": [self.areas.accuracy, self.areas.accuracy_low, self.areas.accuracy_high],
                "classes": self.areas.table,
                "powered": self.powered,
                "notes": list(self.notes),
            }
        )


def plan_sample(
    here: ClassMap, size: int | None = None, *, allocation: str = "proportional", least: int = 50,
    users: float | Mapping[str, float] | None = None, target: str | None = None, half_width: float | None = None,
    confidence: float = 0.95,
) -> SamplePlan:  # fmt: skip
    """Say how many pixels of each class to draw, before any is drawn.

    Args:
        here: The map.
        size: Samples in all; None where ``half_width`` decides.
        allocation: ``"proportional"`` to pixels, ``"equal"``, ``"neyman"`` (the smallest error of the target's area, or
            of overall accuracy), or ``"random"``: a simple random sample without strata.
        least: Samples of each class at least, or all of its pixels where it has fewer; Olofsson et al. advise 50 or
            more. Not for ``"random"``.
        users: User's accuracy to be expected, of all classes or by class key: for ``"neyman"`` and ``half_width``.
        target: Key of the class whose area is wanted.
        half_width: Take as many samples as give the target's area an interval of ± so many hectares.
        confidence: Of that interval.

    Raises:
        MapError: A class gets one sample only and has more pixels; an argument is missing that another one needs.
        EvaluationError: As ``evaluation.allocation`` and ``evaluation.size_for_interval``.

    Lab: part4_defend_the_map.
    """
    legend, sizes = here.legend, here.sizes
    number = None if target is None else class_number(target, legend)
    if number is not None and number < 0:
        raise MapError(f"Expected target as one of {', '.join(legend.keys)}, received {target!r}.")
    if (size is None) == (half_width is None):
        raise MapError("Expected either size=… samples or half_width=… hectares, and not both.")
    if half_width is not None and (number is None or users is None):
        raise MapError("half_width=… needs target=…, the class whose area it is of, and users=…, accuracies to expect.")
    if allocation == "neyman" and users is None:
        raise MapError("allocation = 'neyman' needs users=…: the user's accuracy to expect, such as 0.85.")
    shares = None if users is None else evaluation.expected_shares(_guesses(users, legend), sizes)
    strata, names, simple = sizes, legend.keys, allocation == RANDOM
    if simple:
        strata, names, allocation, least = np.array([sizes.sum()]), [WHOLE], "proportional", 1
        shares = None if shares is None else (sizes @ shares / sizes.sum())[None]
    if half_width is not None:
        wanted = half_width / (sizes.sum() * here.hectares)
        options = {"least": least, "confidence": confidence}
        size = evaluation.size_for_interval(wanted, allocation, strata, shares, number, **options)
    options = {"shares": shares, "target": number, "least": least}
    drawn = evaluation.allocation(allocation, size, strata, **options)
    if single := [k for k, n, d in zip(names, strata, drawn, strict=True) if d < min(2, n)]:
        raise MapError(
            f"Fewer than 2 samples say nothing of the spread in a stratum: {', '.join(single)}. Take at least 2 of "
            "each; 50 or more are advised."
        )
    table = pd.DataFrame(
        {"pixels": strata, "hectares": strata * here.hectares, "samples": drawn, "half_width": np.nan},
        index=pd.Index(list(names), name="stratum"),
    )
    if shares is not None and not simple:
        whole = sizes.sum() * here.hectares
        table["half_width"] = evaluation.half_widths(drawn, strata, shares, confidence) * whole
    return SamplePlan(table, RANDOM if simple else allocation, int(drawn.sum()))


def draw_sample(here: ClassMap, plan: SamplePlan, seed: int = 0) -> MapSample:
    """Draw pixels at random in each stratum, each once; window by window, so memory does not grow with the map.

    Args:
        here: The map.
        plan: Of this map.
        seed: Same seed, same pixels.

    Raises:
        MapError: The plan is of another map.

    Source: Cochran 1977, section 5.1: simple random sampling without replacement in each stratum.

    Lab: part4_defend_the_map.
    """
    simple = plan.allocation == RANDOM
    strata = np.array([here.sizes.sum()]) if simple else here.sizes
    if plan.table["pixels"].tolist() != strata.tolist():
        raise MapError("The plan was made for another map. Make one for this map with maps.plan_sample.")
    wanted = plan.table["samples"].to_numpy()
    ranks = [
        np.sort(seeds.generator(seed, "sample", name).choice(int(size), int(n), replace=False, shuffle=False))
        for name, size, n in zip(plan.table.index, strata, wanted, strict=True)
    ]
    before, rows, cols, owner = np.zeros(len(strata), np.int64), [], [], []
    for window, number in here.windows():
        number = np.where(number >= 0, 0, number) if simple else number
        counted = np.bincount(number[number >= 0], minlength=len(strata))
        for h in np.flatnonzero(counted).tolist():
            first, last = np.searchsorted(ranks[h], [before[h], before[h] + counted[h]])
            if first < last:
                at = np.flatnonzero(number.ravel() == h)[ranks[h][first:last] - before[h]]
                row, col = np.divmod(at, number.shape[1])
                rows.append(row + int(window.row_off))
                cols.append(col + int(window.col_off))
                owner.append(np.full(len(at), h))
        before += counted
    row, col, owner = (np.concatenate(v) for v in (rows, cols, owner))
    order = seeds.generator(seed, "order of the sample").permutation(len(row))
    x, y = here.centres(row[order], col[order])
    lon, lat = Transformer.from_crs(here.crs, "EPSG:4326", always_xy=True).transform(x, y)
    table = pd.DataFrame(
        {
            "id": np.arange(1, len(row) + 1),
            "stratum": plan.table.index.to_numpy()[owner[order]],
            "x": x,
            "y": y,
            "lon": lon,
            "lat": lat,
            "inclusion_probability": (wanted / np.maximum(strata, 1))[owner[order]],
            "label": "",
            "confidence": "",
            "remarks": "",
        }
    )
    design = {
        "map": here.path.name,
        "seed": seed,
        "allocation": plan.allocation,
        "crs": CRS(here.crs).to_string(),
        "pixel_hectares": here.hectares,
        "simulated": here.simulated,
        "legend": legend_as_json(here.legend),
        "strata": plan.table[["pixels", "hectares", "samples"]],
        "points": table[list(DRAWN)].round(8).to_numpy(object).tolist(),
    }
    return MapSample(table, design)


def sample_areas(sample: MapSample, here: ClassMap, confidence: float = 0.95) -> SampleAreas:
    """Areas and accuracies of a map from a labelled sample, with intervals; beside them prediction-powered ones.

    Strata may be this map's classes (Olofsson et al. 2014), the whole map (a simple random sample; the map's classes
    then serve as strata afterwards), or those of another map of the same area (Stehman 2014).

    Args:
        sample: Filled in.
        here: The map whose accuracy and areas are wanted.
        confidence: Of the intervals.

    Points that were not drawn, but proposed by a model or chosen by a person, are left out; a note names them.

    Raises:
        MapError: A label is in no class of the legend, or in two; rows were removed, added or moved; no point was
            drawn; nothing is labelled, or no point that the map shows as one of its classes.
        EvaluationError: A stratum has fewer than two labels.

    Lab: part4_defend_the_map.
    """
    legend, notes = here.legend, []
    random = sample.table["inclusion_probability"].notna()
    undrawn = tuple(sample.table["id"][~random].tolist())
    if not random.any():
        raise MapError(
            f"None of the {len(random):,} points was drawn at random: a model proposed them or a person chose them, so "
            "no area can be estimated from them. Use them for training, and draw a sample with `arset sample`."
        )
    _check_drawn(sample)
    if undrawn:
        words = ngettext(
            "{n} point that was chosen and not drawn is left out: {ids}. It is no random point.",
            "{n} points that were chosen and not drawn are left out: {ids}. They are no random points.",
            len(undrawn),
        )
        notes.append(words.format(n=len(undrawn), ids=_some(undrawn)))
    table = sample.table[random].reset_index(drop=True)
    truth = _labels(table, legend)
    stratum, names, strata = _strata(table, here)
    mapped = here.at(table["lon"], table["lat"])
    outside = tuple(table["id"][mapped < 0].tolist())
    if outside:
        raise MapError(
            f"The map {here.path} has no class at the points {_some(outside)}. Take the map from which the sample was "
            "drawn, or another one of the whole of its area."
        )
    used = truth >= 0
    if not used.any():
        raise MapError("No point has a label. Fill in the column `label`, with the labelling page for instance.")
    blank = tuple(table["id"][~used].tolist())
    if blank:
        words = ngettext(
            "{n} point without a label is left out: {ids}. The estimate holds only if it is like the labelled ones of "
            "its stratum.",
            "{n} points without a label are left out: {ids}. The estimate holds only if they are like the labelled "
            "ones of their strata.",
            len(blank),
        )
        notes.append(words.format(n=len(blank), ids=_some(blank)))
        without = table["stratum"][~used].value_counts().sort_index()
        all_of = table["stratum"].value_counts()
        listed = ", ".join(f"{name} {n:,}/{all_of[name]:,}" for name, n in without.items())
        notes.append(_("Without a label, by stratum: {strata}.").format(strata=listed))
        drawn, known = (np.bincount(mapped[mine], minlength=len(legend.classes)) for mine in (used | ~used, used))
        if none := [key for key, n, k in zip(legend.keys, drawn, known, strict=True) if n >= 2 and not k]:
            raise MapError(
                f"No point at which the map shows {', '.join(none)} has a label, so nothing is known of these classes "
                "and the areas of all others would be wrong, too. Label some of these points."
            )
    truth, stratum, mapped = truth[used], stratum[used], mapped[used]
    classes = len(legend.classes)
    own = names == legend.keys
    afterwards = names == [WHOLE]
    method = None
    if afterwards:
        per_class = np.bincount(mapped, minlength=classes)
        if (per_class[here.sizes > 0] >= 2).all():
            stratum, names, strata, own = mapped.astype(np.int64), legend.keys, here.sizes, True
            method = _("simple random sample, the map's classes as strata afterwards; intervals with one unseen sample")
        else:
            method = _("simple random sample; intervals with one unseen sample")
    counts = np.zeros((len(strata), classes, classes), np.int64)
    np.add.at(counts, (stratum, truth, mapped), 1)
    areas = evaluation.survey_areas(
        counts, strata, here.sizes, legend.keys, names=legend.names(), strata=names, pixel_area=here.hectares,
        confidence=confidence,
    )  # fmt: skip
    areas = areas if method is None else replace(areas, method=method)
    powered = None
    if here.probability is not None and not (own or afterwards):
        notes.append(_("No areas with probabilities: the strata of the sample are not the classes of this map."))
    elif here.probability is not None:
        points = table[used]
        powered = evaluation.powered_areas(
            truth, here.probability_at(points["lon"], points["lat"]), stratum, here.moments(by_class=own), legend.keys,
            pixel_area=here.hectares, confidence=confidence,
        ).set_axis(areas.table.index)  # fmt: skip
    return SampleAreas(areas, powered, int(used.sum()), blank, outside, tuple(notes), here.simulated, undrawn)


def has_pyogrio() -> bool:
    """Whether GeoPackages can be written here."""
    import importlib.util

    return importlib.util.find_spec("pyogrio") is not None


def class_number(label: str, legend: Legend) -> int:
    """The class that a label means, by its key or else by its name in any language; -1 where it is none.

    Raises:
        MapError: Several classes have this name.
    """
    wanted = textfiles.folded(label.strip())
    for words in (lambda one: [one.key], lambda one: one.name.values()):
        found = [
            i
            for i, one in enumerate(legend.classes)
            if wanted in {textfiles.folded(word.strip()) for word in words(one)}
        ]
        if len(found) > 1:
            keys = ", ".join(legend.keys[i] for i in found)
            raise MapError(f"{label!r} is the name of several classes: {keys}. Write the key of the class instead.")
        if found:
            return found[0]
    return -1


def _check_drawn(sample: MapSample) -> None:
    """Refuse a sample whose rows are not those that were drawn, where its ``sample.json`` keeps them."""
    if "points" not in sample.design:
        return
    drawn = pd.DataFrame(sample.design["points"], columns=list(DRAWN)).set_index("id")
    table = sample.table[sample.table["inclusion_probability"].notna()].set_index("id")
    added, removed = table.index.difference(drawn.index).tolist(), drawn.index.difference(table.index).tolist()
    if added or removed:
        raise MapError(
            f"The rows are not those that were drawn. Added: {_some(added) or '–'}; removed: {_some(removed) or '–'}. "
            "Keep the rows of the sample and no others: a point that a person chose is not random."
        )
    drawn = drawn.loc[table.index]
    moved = (table["stratum"] != drawn["stratum"]) | (table["lon"] - drawn["lon"]).abs().gt(MOVED)
    moved |= (table["lat"] - drawn["lat"]).abs().gt(MOVED)
    if moved.any():
        raise MapError(
            f"Points {_some(table.index[moved].tolist())} have another place or stratum than when they were drawn. "
            "Change only label, confidence and remarks; the README.txt of the sample says how."
        )


def _labels(table: pd.DataFrame, legend: Legend) -> np.ndarray:
    """(n,) class numbers, -1 where there is no label."""
    found = {label: class_number(label, legend) for label in set(table["label"]) if label}
    wrong = table[table["label"].map(lambda label: found.get(label, 0) < 0)]
    if len(wrong):
        named = ", ".join(f"{i}: {label!r}" for i, label in wrong[["id", "label"]].head(FEW).itertuples(index=False))
        raise MapError(
            f"{len(wrong)} labels are in no class of the legend (id: label): {named}. Expected one of "
            f"{', '.join(legend.keys)}, or their names. Correct them, or leave the label empty where you cannot tell."
        )
    return np.array([found.get(label, -1) for label in table["label"]], np.int64)


def _strata(table: pd.DataFrame, here: ClassMap) -> tuple[np.ndarray, list[str], np.ndarray]:
    """Stratum of each point (n,), names of the strata, and their pixels (H,)."""
    names = list(dict.fromkeys(table["stratum"]))
    names = here.legend.keys if set(names) <= set(here.legend.keys) else sorted(names)
    stratum = table["stratum"].map({name: i for i, name in enumerate(names)}).to_numpy(np.int64)
    drawn = np.bincount(stratum, minlength=len(names))
    chance = np.zeros(len(names))
    for h, name in enumerate(names):
        mine = table["inclusion_probability"].to_numpy()[stratum == h]
        if len(mine) and np.ptp(mine) > 1e-9 * mine.max():
            raise MapError(f"Stratum {name!r} has different inclusion probabilities. Read the sample as it was drawn.")
        chance[h] = mine[0] if len(mine) else 1
    sizes = np.rint(drawn / chance).astype(np.int64)
    if abs(sizes.sum() - here.sizes.sum()) > len(names):
        other = [
            f"{name} ({size:,}, the map has {n:,})"
            for name, size, n in zip(names, sizes, here.sizes, strict=False)
            if names == here.legend.keys and size != n
        ]
        raise MapError(
            f"The sample stands for {sizes.sum():,} pixels and the map has {here.sizes.sum():,}"
            f"{': ' if other else ''}{', '.join(other)}. Rows were removed from the sample, or it is of another area "
            "or of another version of the map. Keep all rows, also those without a label."
        )
    if names == here.legend.keys and (sizes != here.sizes).any():  # strata of another map with the same classes
        there = drawn > 0
        names = [f"{name} (stratum)" for name, some in zip(names, there, strict=True) if some]
        stratum, sizes = (np.cumsum(there) - 1)[stratum], sizes[there]
    return stratum, names, sizes


def _guesses(users: float | Mapping[str, float], legend: Legend) -> np.ndarray:
    """(K,) user's accuracies."""
    if not isinstance(users, Mapping):
        return np.full(len(legend.classes), float(users))
    given = {class_number(key, legend): float(value) for key, value in users.items()}
    lacking = [key for i, key in enumerate(legend.keys) if i not in given]
    if -1 in given or lacking:
        raise MapError(
            f"Expected users=… with an accuracy for each of {', '.join(legend.keys)}, received {', '.join(users)}."
        )
    return np.array([given[i] for i in range(len(legend.classes))])


def _design(path: Path) -> dict:
    """What ``sample.json`` says."""
    try:
        found = textfiles.read_json(path)
    except ValueError as error:
        raise MapError(f"{path} cannot be read: {error}. Copy the file that `arset sample` wrote again.") from None
    if not isinstance(found, dict):
        raise MapError(f"{path} is not what `arset sample` wrote. Copy that file again.")
    return found


def check_degrees(lon: pd.Series, lat: pd.Series, path: Path) -> None:
    """Refuse places that are not in degrees.

    Raises:
        MapError: A longitude is not between -180 and 180, or a latitude not between -90 and 90.
    """
    odd = ~(lon.between(-180, 180) & lat.between(-90, 90))
    if odd.any():
        raise MapError(
            f"{path}: expected lon from -180 to 180 and lat from -90 to 90, degrees; {odd.sum():,} rows have others, "
            f"the first lon {lon[odd].iloc[0]:g} and lat {lat[odd].iloc[0]:g}. Swap the two, or make degrees of metres."
        )


def read_csv(path: Path) -> pd.DataFrame:
    """The cells of a CSV as text, also as spreadsheets save it: with semicolons. Rows without any text are left out.

    Raises:
        MapError: It is no text, a column comes twice, or a row has other cells than the header.
    """
    if path.suffix.lower() in SPREADSHEETS:
        raise MapError(f"{path} is a spreadsheet. Save its table as CSV (UTF-8), and name that file.")
    if why := filetypes.placeholder(path, "table"):
        raise MapError(f"{path} {why}")
    try:
        text = textfiles.read_text(path)
    except ValueError as error:
        raise MapError(f"{path} cannot be read: {error}.") from None
    head = text.partition("\n")[0]
    separator = max(",;\t", key=head.count)
    head, *rows = [row for row in csv.reader(io.StringIO(text), delimiter=separator) if any(map(str.strip, row))] or [
        []
    ]
    if twice := sorted({name for name in head if name and head.count(name) > 1}):
        raise MapError(f"{path} has the columns {', '.join(twice)} more than once. Keep one of each.")
    if text.count('"') % 2 and (open_ := [i for i, row in enumerate(rows, 2) if any("\n" in cell for cell in row)]):
        raise MapError(f"{path}: row {open_[0]} begins a text with a quote and never ends it. Delete the quote.")
    odd = next((i for i, row in enumerate(rows, 2) if len(row) != len(head)), None)
    if odd is not None:
        raise MapError(
            f"{path}: row {odd} has {len(rows[odd - 2])} cells, the header has {len(head)}. A text with the separator "
            f"{separator!r} needs quotes around it; save the file again as CSV."
        )
    return pd.DataFrame(rows, columns=[name.strip() for name in head], dtype=str)


def _of_geopackage(path: Path) -> pd.DataFrame:
    import shapely

    from arsetlib import copies, extras

    if not has_pyogrio():
        raise extras.missing("pyogrio")
    from pyogrio.errors import DataLayerError, DataSourceError
    from pyogrio.raw import read

    try:
        meta, _fids, geometry, columns = read(copies.fetched(path))
    except (DataSourceError, DataLayerError) as error:
        why = (
            filetypes.placeholder(path)
            or f"cannot be read as a GeoPackage: {str(error).partition(';')[0].rstrip('.')}."
        )
        raise MapError(f"{path} {why} Take the file that `arset sample` wrote, or its CSV.") from None
    table = pd.DataFrame(dict(zip(meta["fields"], columns, strict=True)))
    if geometry is not None and meta["crs"] and {"id", "lon", "lat"} <= set(table):
        to_degrees = Transformer.from_crs(meta["crs"], "EPSG:4326", always_xy=True)
        place = to_degrees.transform(*(part(shapely.from_wkb(geometry)) for part in (shapely.get_x, shapely.get_y)))
        stated = (pd.to_numeric(table[name], errors="coerce") for name in ("lon", "lat"))
        moved = np.any([np.abs(one - other) > MOVED for one, other in zip(place, stated, strict=True)], axis=0)
        if moved.any():
            raise MapError(
                f"{path}: points {_some(table['id'][moved].tolist())} were moved away from their lon and lat. Move "
                "them back: the label must be that of the pixel that was drawn."
            )
    return table


def _empty(column: pd.Series) -> pd.Series:
    return column.isna() | column.astype(str).str.strip().str.lower().isin(("", "nan"))


def parsed(column: pd.Series, name: str, path: Path) -> pd.Series:
    """Numbers, also written with a decimal comma.

    Raises:
        MapError: A row has none.
    """
    values = pd.to_numeric(column.astype(str).str.strip().str.replace(",", "."), errors="coerce")
    if values.isna().any():
        row = int(values.isna().to_numpy().argmax())
        raise MapError(f"{path}: expected a number in column {name!r}, row {row + 2} has {column.iloc[row]!r}.")
    return values


def _some(ids: Sequence[int]) -> str:
    """The first ids, and how many more there are."""
    more = len(ids) - FEW
    return ", ".join(map(str, ids[:FEW])) + (_(" and {n} more").format(n=more) if more > 0 else "")


def _protocol(sample: MapSample) -> str:
    """What a person who labels must know, in the reader's language."""
    classes = "\n".join(
        f"  {c.key}: {name}" for c, name in zip(sample.legend.classes, sample.legend.names(), strict=True)
    )
    return _(
        "How to fill in this sample\n\n"
        "Each row of sample.csv (and each point of sample.gpkg) is one pixel of the map. "
        "Fill in one of the two files.\n\n"
        "label       the class that is on the ground, one of the words below; leave it empty where you cannot tell\n"
        "confidence  sure, likely or guess\n"
        "remarks     anything that helps to understand the label\n\n"
        "Label the ground, not the map: do not look at the map or at the column `stratum` before you decide.\n"
        "Work in the order of the rows: it is random, so what is done is a random sample if you must stop.\n"
        "Delete no row and change no other column: `inclusion_probability` is what areas are computed from.\n"
        "Points that you add on the labelling page have none: they are for training, and areas leave them out.\n\n"
        "Classes:\n{classes}\n\n"
        "Then: arset areas FOLDER MAP\n"
    ).format(classes=classes)
