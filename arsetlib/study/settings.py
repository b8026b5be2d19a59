"""What a study file sets besides areas: season, legend, sources of labels and scenes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import ArrayLike

from arsetlib.translation import language

MAX_CODE = 32_767  # the pixel table keeps codes as int16
_EPOCH = date(1970, 1, 1).toordinal()


@dataclass(frozen=True)
class Season:
    """How long a window is, how wide its steps are, and where it may start.

    Attributes:
        window_days: Length of a window, days.
        step_days: Width of one step, days; divides ``window_days``.
        first_day: Earliest day of the year on which a window starts (1 = 1 January).
        last_day: Latest day of the year on which a window starts. It may be counted on past New Year: 31 January
            of the next year is 396.

    >>> season = Season(window_days=120, step_days=5, first_day=1, last_day=200)
    >>> season.steps, season.end_day, season.over_new_year
    (24, 319, False)

    A season whose last window ends after day 365 runs on over New Year, as summer crops of the southern hemisphere
    do. The year of a row is then the year in which its season starts.
    """

    window_days: int = 120
    step_days: int = 5
    first_day: int = 1
    last_day: int = 200

    @property
    def steps(self) -> int:
        """Steps in a window: 120 days of 5 are 24."""
        return self.window_days // self.step_days

    @property
    def end_day(self) -> int:
        """Last day of the last window, counted from 1 January (= 1) of the year in which the season starts."""
        return self.last_day + self.window_days - 1

    @property
    def over_new_year(self) -> bool:
        """Whether windows need images of the next calendar year."""
        return self.end_day > 365

    def days(self, year: int) -> tuple[int, int]:
        """First and last day, since 1970-01-01, of the images that a row of this year holds.

        They are the calendar year, or, where the season runs on over New Year, the days from the first day of the
        first window to the last day of the last one.
        """
        new_year = date(year, 1, 1).toordinal() - _EPOCH
        if not self.over_new_year:
            return new_year, date(year, 12, 31).toordinal() - _EPOCH
        return new_year + self.first_day - 1, new_year + self.end_day - 1


@dataclass(frozen=True)
class Class:
    """One class of a legend.

    Attributes:
        key: What code calls it.
        name: Language code → what a learner sees.
        colour: ``"#rrggbb"``.
        codes: Label codes that belong to it, or ``"others"`` for every code named nowhere else. Empty for a class
            that no label holds, such as 'No Crops Growing', which the vegetation rule of the window makes.
        crop: Whether something is grown here, so that the vegetation rule applies.
    """

    key: str
    name: dict[str, str]
    colour: str
    codes: tuple[int, ...] | str
    crop: bool = True


@dataclass(frozen=True)
class Legend:
    """How label codes become classes. Labels stay codes until the last moment, so a legend is easy to change.

    >>> corn, rest = Class("corn", {}, "#ffd400", (1,)), Class("rest", {}, "#888888", "others")
    >>> legend = Legend("crops", (corn, rest))
    >>> legend.classes_of([1, 5, 1])
    array([0, 1, 0], dtype=int8)
    """

    name: str
    classes: tuple[Class, ...]
    excluded: tuple[int, ...] = ()

    @property
    def keys(self) -> list[str]:
        """Of the classes, in order."""
        return [c.key for c in self.classes]

    @property
    def colours(self) -> list[str]:
        """Of the classes, in order."""
        return [c.colour for c in self.classes]

    def names(self, lang: str | None = None) -> list[str]:
        """Names to show in a language, by default the reader's; in English where a class has none in it."""
        return [text(c.name, lang) for c in self.classes]

    def classes_of(self, codes: ArrayLike) -> np.ndarray:
        """Label codes → class numbers.

        Args:
            codes: (N,) integers, label codes.

        Returns:
            (N,) int8: position in ``classes``, -1 for an excluded code (a double crop, say).

        Raises:
            ValueError: A code belongs to no class and is not excluded.

        Lab: part1_build_dataset.
        """
        codes = np.asarray(codes)
        if codes.size and not np.issubdtype(codes.dtype, np.integer):
            raise ValueError(f"Label codes must be integers; got dtype {codes.dtype}.")
        if codes.size and (codes.min() < 0 or codes.max() > MAX_CODE):
            raise ValueError(f"Label codes must lie in 0-{MAX_CODE}; got {codes.min()} to {codes.max()}.")
        found = self._table()[codes]
        if (found == -2).any():
            missing = np.unique(codes[found == -2]).tolist()
            raise ValueError(
                f"Label codes {missing} are in no class of the legend {self.name!r}. "
                "Add each to a class or to 'excluded' in the study file, or name one class with codes = 'others'."
            )
        return found

    def _table(self) -> np.ndarray:
        others = next((i for i, c in enumerate(self.classes) if c.codes == "others"), -2)
        table = np.full(MAX_CODE + 1, others, np.int8)
        for i, c in enumerate(self.classes):
            if c.codes != "others":
                table[list(c.codes)] = i
        table[list(self.excluded)] = -1
        return table


@dataclass(frozen=True)
class LabelSource:
    """Where labels come from.

    Attributes:
        kind: ``cdl`` (NASS's yearly file), ``planetary-computer``, ``cropscape``, ``raster`` (your GeoTIFF),
            ``vector`` (your fields or points) or ``simulated``.
        path: For ``raster``, ``vector`` and ``simulated``: file, ``{year}`` stands for the year.
        confidence: File of confidence, 0-100, on the same grid.
        code_column: For ``vector``: the column that holds the integer code; ``{year}`` stands for the year.
        layer: For ``vector``: the layer to take, where several have geometry.
        crs: CRS of the label grid to make, in metres, for ``vector`` and for a ``raster`` that is not on a grid of
            metres; by default the UTM zone of the areas.
        resolution: Side of a label pixel, m. By default 30 for the Cropland Data Layer and ``vector``, and a raster's
            own. 10 takes the Cropland Data Layer's native file, from 2024 on.
        same_every_year: The same file holds for all years (orchards, say), so its path needs no ``{year}``.
    """

    kind: str = "cdl"
    path: str | None = None
    confidence: str | None = None
    code_column: str | None = None
    crs: str | None = None
    resolution: float | None = None
    layer: str | None = None
    same_every_year: bool = False

    @property
    def own_codes(self) -> bool:
        """Whether codes are the study's own: then the Cropland Data Layer's names would be wrong for them."""
        return self.kind in ("raster", "vector")

    @property
    def side(self) -> float:
        """Side of a pixel of a grid to make, m."""
        return self.resolution or 30.0

    def not_yearly(self, years: Iterable[int]) -> str:
        """What gives several years the same labels without the study file saying so; empty where nothing does."""
        if self.same_every_year or len(years) < 2 or self.path is None:
            return ""
        if "{year}" not in self.path + (self.code_column or ""):
            return "path"
        return "confidence" if self.confidence and "{year}" not in self.confidence else ""

    def facts(self) -> dict:
        """What changes the labels. Keys that say nothing are left out: older fingerprints stay as they are."""
        said = dataclasses.asdict(self)
        new = {k: said.pop(k) for k in ("layer", "same_every_year")}
        said["crs"] = said["crs"] or ("UTM" if said["kind"] == "vector" else "EPSG:5070")
        said["resolution"] = said["resolution"] or 30.0
        return said | {k: v for k, v in new.items() if v}

    def of(self, year: int) -> LabelSource:
        """The same with ``{year}`` filled in."""
        filled = {k: getattr(self, k) for k in ("path", "confidence", "code_column")}
        return dataclasses.replace(self, **{k: v and v.replace("{year}", str(year)) for k, v in filled.items()})


@dataclass(frozen=True)
class SceneSource:
    """Where scenes come from and which are taken.

    Attributes:
        url: STAC API, or a static catalogue, collection or item collection (``.json``), on http(s) or on disk.
        collection: Collection id.
        collections: Year → collection id, for years that another collection than ``collection`` serves better.
        max_cloud: Largest cloud cover of a scene, percent.
        min_valid: Least share, 0-1, of the area (of that part which the scene's tile could show) with data.
        offset: What decides on the processing offset, see ``arsetlib.ingest.offset``: ``measure`` (the values where
            they show it, else the metadata), ``state`` (the metadata) or ``refuse`` (the metadata; a scene whose
            values contradict it is bad).
        leave_out: Ids of scenes not wanted.
        max_bad_share: Share, 0-1, of the scenes that may be bad: these are left out, named and counted. Where more
            are, nothing is built.
    """

    url: str = "https://earth-search.aws.element84.com/v1"
    collection: str = "sentinel-2-l2a"
    max_cloud: float = 95.0
    min_valid: float = 0.3
    offset: str = "measure"
    leave_out: tuple[str, ...] = ()
    max_bad_share: float = 0.0
    collections: dict[int, str] = dataclasses.field(default_factory=dict)

    def collection_of(self, year: int) -> str:
        """The collection that scenes of a year are taken from."""
        return self.collections.get(year, self.collection)


def scene_facts(source: SceneSource) -> dict:
    """What changes a table. Which scenes are left out is in the list of scenes; newer keys count where they are set."""
    found = dataclasses.asdict(source)
    for key in ("leave_out", "max_bad_share"):
        del found[key]
    return {k: v for k, v in found.items() if k not in ("offset", "collections") or v != getattr(SceneSource, k, {})}


def text(names: dict[str, str], lang: str | None = None) -> str:
    """The name in a language, by default the reader's; else the English one, else any."""
    return names.get(lang or language()) or names.get("en") or next(iter(names.values()))
