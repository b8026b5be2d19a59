"""What an instructor changes: a place, its labels, years, season, bands and legend, in one TOML file.

Nothing else in the library knows a place, a year or a crop by name. ``Study.load("sample")`` reads a study that
ships with the package, ``Study.load("mine.toml")`` one of your own. A typo in the file is an error that names the
key and the nearest one that exists.

Labs: part1_build_dataset (areas, labels, filters), part2_load_data (season, split, legend).
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import math
import re
import tomllib
from dataclasses import dataclass
from datetime import date
from importlib import resources
from pathlib import Path

import numpy as np
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError
from shapely import Geometry, MultiPolygon, Polygon, box, get_parts, make_valid, segmentize, transform, union_all

from arsetlib import textfiles
from arsetlib.errors import ArsetError

LABEL_KINDS = ("cdl", "planetary-computer", "cropscape", "raster", "vector", "simulated")
SIDES = ("train", "validation", "test")
OFFSET_MODES = ("measure", "state", "refuse")
ALL_BANDS = (
    "coastal", "blue", "green", "red", "rededge1", "rededge2", "rededge3", "nir", "nir08", "nir09", "swir16", "swir22",
)  # fmt: skip
INDEX_BANDS = {
    "ndvi": ("nir", "red"), "gndvi": ("nir", "green"), "ndre": ("nir", "rededge1"), "evi": ("nir", "red", "blue"),
    "evi2": ("nir", "red"), "savi": ("nir", "red"), "ndmi": ("nir", "swir16"), "ndwi": ("green", "nir"),
    "mndwi": ("green", "swir16"), "ndti": ("swir16", "swir22"), "nbr": ("nir", "swir22"),
}  # fmt: skip  # formulas and papers stand in samples.INDICES
WAVES = ("day_of_year_sin", "day_of_year_cos")
MAX_CODE = 32_767  # the pixel table keeps codes as int16
CDL_10_M = 2024  # first year whose Cropland Data Layer is made at 10 m
MARGIN = 8  # degrees that an area may lie outside the area of use of its CRS
_EPOCH = date(1970, 1, 1).toordinal()


class StudyError(ArsetError, ValueError):
    """A study file says something that cannot be meant; the message tells what and how to mend it."""


@dataclass(frozen=True)
class Area:
    """A box to sample.

    Attributes:
        key: Short name, used in file names: letters, digits and ``_``.
        name: Language code → name to show.
        bounds: (west, south, east, north) in ``crs``.
        crs: Anything pyproj understands, e.g. ``"EPSG:5070"``.
        every: Take each ``every``-th label pixel along x and along y; 1 takes all of them.
    """

    key: str
    name: dict[str, str]
    bounds: tuple[float, float, float, float]
    crs: str
    every: int = 1

    def outline(self, crs: str = "EPSG:4326", spacing: float = 1000.0) -> Polygon | MultiPolygon:
        """The box's whole outline in another CRS, as a polygon in x, y (longitude, latitude) order.

        In longitude and latitude, an area across 180° is two polygons, one on either side.

        A straight edge in one projection is a curve in another, so reprojecting two corners only, as is often
        done, cuts off or adds land. Here points are first set along each edge, ``spacing`` units of the area's
        own CRS apart (metres for a projected one, at most 400 points an edge).
        """
        west, south, east, north = self.bounds
        whole = Polygon([(west, south), (east, south), (east, north), (west, north)])
        longest = max(east - west, north - south)
        step = min(max(spacing, longest / 400), longest) if CRS(self.crs).is_projected else longest / 100
        dense = np.asarray(segmentize(whole, step).exterior.coords)
        x, y = Transformer.from_crs(self.crs, crs, always_xy=True).transform(dense[:, 0], dense[:, 1])
        outline = Polygon(np.column_stack([x, y]))
        return across_180(outline) if CRS(crs).is_geographic and np.isfinite(x).all() else outline


def across_180(ground: Geometry) -> Polygon | MultiPolygon:
    """A polygon in longitude and latitude with its parts beyond ±180° on the other side, where they lie on Earth.

    Two neighbouring vertices more than 180° apart are taken the short way. Nothing else changes; what has no area is
    left out.
    """
    parts = [p for p in get_parts(get_parts(ground)) if isinstance(p, Polygon) and not p.is_empty]
    turned = [_the_short_way(part) for part in parts]
    if all(p.bounds[0] >= -180 and p.bounds[2] <= 180 for p in turned):
        return parts[0] if len(parts) == 1 and turned == parts else _polygons(union_all(turned))
    lies = []
    for part in turned:
        for turn in (-360, 0, 360):
            cut = part.intersection(box(turn - 180, -90, turn + 180, 90))
            lies.append(transform(cut, lambda p, turn=turn: p - [turn, 0]))
    return _polygons(union_all(lies))


def _the_short_way(part: Polygon) -> Geometry:
    rings = []
    for ring in (part.exterior, *part.interiors):
        points = np.asarray(ring.coords)[:, :2].copy()
        if np.any(np.abs(np.diff(points[:, 0])) > 180):
            points[:, 0] = np.unwrap(points[:, 0], period=360)
        if rings:  # a hole lies within its ring
            points[:, 0] += 360 * np.round((rings[0][:, 0].mean() - points[:, 0].mean()) / 360)
        rings.append(points)
    return make_valid(Polygon(rings[0], rings[1:]))


def _polygons(ground: Geometry) -> Polygon | MultiPolygon:
    """Without the points and lines that cutting leaves."""
    parts = [p for p in getattr(ground, "geoms", [ground]) if p.geom_type in ("Polygon", "MultiPolygon") and p.area]
    return union_all(parts) if parts else Polygon()


@dataclass(frozen=True)
class Season:
    """How long a window is, how wide its steps are, and where it may start.

    Attributes:
        window_days: Length of a window, days.
        step_days: Width of one step, days; divides ``window_days``.
        first_day: Earliest day of the year on which a window starts (1 = 1 January).
        last_day: Latest day of the year on which a window starts. It may be counted on past New Year: 31 January
            of the next year is 396.

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
    """How label codes become classes. Labels stay codes until the last moment; a legend is easy to change."""

    name: str
    classes: tuple[Class, ...]
    excluded: tuple[int, ...] = ()

    @property
    def keys(self) -> list[str]:
        return [c.key for c in self.classes]

    @property
    def colours(self) -> list[str]:
        return [c.colour for c in self.classes]

    def names(self, lang: str = "en") -> list[str]:
        """Names to show in ``lang``, in English where a class has none in that language."""
        return [text(c.name, lang) for c in self.classes]

    def classes_of(self, codes) -> np.ndarray:
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
    def side(self) -> float:
        """Side of a pixel of a grid to make, m."""
        return self.resolution or 30.0

    def not_yearly(self, years) -> str:
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


@dataclass(frozen=True)
class Study:
    """One study: everything that changes when the course moves to another place.

    Attributes:
        key, name, description: Who it is. ``simulated`` says whether any of it is.
        areas: Boxes to sample.
        years: Label years.
        split: Side → years; no year on two sides.
        block_m: Side of a spatial block, units of the label grid's CRS, for splits and for honest scores.
        season, bands, legend, labels, scenes: See their classes.
        drop_scl: Scene classes whose observations are dropped.
        min_confidence: Least label confidence (0-100) of a pixel; 0 takes all.
        seed: Of every random choice in building the table.
        root: Folder against which relative paths are read.
        text: The study file itself, kept with what is made from it.
        sensors: Sensor → its bands, for tables to which ``pixels.join`` added those of other sensors.
        indices: Spectral indices that are channels of a sample, such as ``ndvi``; see ``samples.INDICES``.
        day_of_year: Whether the time of the year is a channel, as a sine and a cosine.
    """

    key: str
    name: dict[str, str]
    description: str
    simulated: bool
    areas: tuple[Area, ...]
    years: tuple[int, ...]
    split: dict[str, tuple[int, ...]]
    block_m: float
    season: Season
    bands: tuple[str, ...]
    legend: Legend
    labels: LabelSource
    scenes: SceneSource
    drop_scl: tuple[int, ...]
    min_confidence: int
    seed: int
    root: Path | None = None
    text: str = ""
    sensors: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    indices: tuple[str, ...] = ()
    day_of_year: bool = False

    @classmethod
    def load(cls, name: str | Path) -> Study:
        """Read a study file: the name of a shipped one (``"sample"``) or a path that ends in ``.toml``.

        Raises:
            StudyError: No such study, not TOML, a key that does not exist, a value that cannot be meant.
        """
        path = Path(name)
        if path.suffix == ".toml":
            if not path.is_file():
                raise StudyError(f"There is no study file {path}. Shipped studies are: {', '.join(shipped())}.")
            try:
                text = textfiles.read_text(path)
            except ValueError as error:
                raise StudyError(f"{path} cannot be read: {error} and try again.") from None
            except OSError as error:
                raise StudyError(f"{path} cannot be read: {error.strerror}.") from None
            return cls.parse(text, str(path), root=path.resolve().parent)
        if str(name) not in shipped():
            raise StudyError(
                f"There is no study called {str(name)!r}{_near(str(name), shipped())}. "
                f"Shipped studies are: {', '.join(shipped())}. A file of your own must end in .toml."
            )
        source = resources.files("arsetlib") / "studies" / f"{name}.toml"
        return cls.parse(source.read_text(encoding="utf-8"), f"{name}.toml")

    @classmethod
    def parse(cls, toml: str, source: str = "study", root: Path | None = None) -> Study:
        """Build a study from the text of a study file; ``source`` names it in errors."""
        try:
            raw = tomllib.loads(toml)
        except tomllib.TOMLDecodeError as error:
            raise StudyError(f"{source} is not valid TOML: {error}. Correct that line and try again.") from None
        except (RecursionError, ValueError) as error:  # nested without end; a whole number of thousands of digits
            raise StudyError(f"{source} cannot be read as TOML: {error}.") from None
        return _Reader(source).study(raw, toml, root)

    @property
    def channels(self) -> tuple[str, ...]:
        """Names along the last axis of a sample: the bands, then what the study adds to them."""
        return (*self.table_bands, *self.indices, *(WAVES if self.day_of_year else ()))

    @property
    def table_bands(self) -> tuple[str, ...]:
        """Bands of the table that samples are made from: the study's own, then those of its other sensors."""
        return (*self.bands, *(band for bands in self.sensors.values() for band in bands))

    def area(self, key: str) -> Area:
        for area in self.areas:
            if area.key == key:
                return area
        keys = [a.key for a in self.areas]
        raise StudyError(f"Study {self.key!r} has no area {key!r}{_near(key, keys)}. It has: {', '.join(keys)}.")

    def replace(self, **changes) -> Study:
        """The same study with other values, e.g. ``study.replace(years=(2021,))``."""
        return dataclasses.replace(self, **changes)

    def at(self, root: str | Path) -> Study:
        """The same study with its relative paths read against another folder."""
        return self.replace(root=Path(root).resolve())

    def resolve(self, path: str) -> str:
        """A path or URL of the study file as one that can be opened from anywhere."""
        if re.match(r"^[a-z][a-z0-9+.-]*://", path):
            return path
        return str(Path(self.root or ".").resolve() / path)

    def title(self, lang: str = "en") -> str:
        return text(self.name, lang)

    def fingerprint(self) -> str:
        """Hex digest of all that changes the pixel table.

        Names, colours, legend and split do not, and the season only where it runs on over New Year.
        """
        parts = {
            "areas": [(a.key, a.bounds, a.crs, a.every) for a in self.areas],
            "years": self.years,
            "bands": self.bands,
            "block_m": self.block_m,
            "labels": self.labels.facts(),
            "scenes": _facts(self.scenes),
            "drop_scl": self.drop_scl,
            "min_confidence": self.min_confidence,
            "seed": self.seed,
        }
        if self.season.over_new_year:
            parts["days"] = [self.season.first_day, self.season.end_day]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _facts(source: SceneSource) -> dict:
    """What changes a table. Which scenes are left out is in the list of scenes; newer keys count where they are set."""
    found = dataclasses.asdict(source)
    for key in ("leave_out", "max_bad_share"):
        del found[key]
    return {k: v for k, v in found.items() if k not in ("offset", "collections") or v != getattr(SceneSource, k, {})}


def shipped() -> list[str]:
    """Names of the studies that come with the package."""
    folder = resources.files("arsetlib") / "studies"
    return sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml"))


def text(names: dict[str, str], lang: str = "en") -> str:
    """The name in ``lang``, else the English one, else any."""
    return names.get(lang) or names.get("en") or next(iter(names.values()))


def _near(word: str, words) -> str:
    close = difflib.get_close_matches(word, list(words), 1, 0.5)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _misplaced(bounds: tuple[float, float, float, float], crs: CRS) -> str:
    """Why bounds cannot be meant in a CRS, in words; empty where they can."""
    west, south, east, north = bounds
    if crs.is_geographic:
        if max(abs(west), abs(east)) > 180 or max(abs(south), abs(north)) > 90:
            swapped = max(abs(west), abs(east)) <= 90 and max(abs(south), abs(north)) <= 180
            what = "have latitude first; write [west, south, east, north]" if swapped else "are no degrees"
            return f"{what}: longitude goes from -180 to 180, latitude from -90 to 90"
        return ""
    if max(abs(west), abs(east)) <= 180 and max(abs(south), abs(north)) <= 90 and max(east - west, north - south) < 60:
        return "look like degrees, and this crs counts in metres. Write crs = 'EPSG:4326' for degrees"
    if not _lies(bounds, crs):
        turned = _lies((south, west, north, east), crs)
        hint = " x and y seem swapped: write [west, south, east, north]." if turned else ""
        return f"lie far from where this crs is used ({_use(crs)}).{hint} Check bounds and crs"
    return ""


def _lies(bounds: tuple[float, float, float, float], crs: CRS) -> bool:
    """Whether bounds are on Earth and not far from the area of use of their CRS, where that is known."""
    x, y = np.meshgrid(np.linspace(bounds[0], bounds[2], 3), np.linspace(bounds[1], bounds[3], 3))
    lon, lat = Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform(x, y)
    if not (np.isfinite(lon).all() and np.isfinite(lat).all()):
        return False
    use = crs.area_of_use
    if use is None:
        return True
    utm = crs.utm_zone is not None  # either hemisphere's zone is used on the other side of the equator, too
    south, north = (-80, 84) if utm else (use.south - MARGIN, use.north + MARGIN)
    width = (use.east - use.west) % 360 or 360
    across = (lon - use.west + MARGIN) % 360 <= min(width + 2 * MARGIN, 360)
    return bool(across.all() and (lat >= south).all() and (lat <= north).all())


def _use(crs: CRS) -> str:
    use = crs.area_of_use
    if use is None:
        return crs.name
    return f"longitude {use.west:g} to {use.east:g}, latitude {use.south:g} to {use.north:g}"


class _Reader:
    """Turns parsed TOML into a Study and says where it is wrong."""

    def __init__(self, source: str):
        self.source = source

    def study(self, raw: dict, toml: str, root: Path | None) -> Study:
        tables = ("study", "areas", "split", "season", "scenes", "labels", "legend", "classes", "channels")
        self.known(raw, tables, "the file")
        head = self.table(raw, "study", ("key", "name", "description", "simulated", "years", "bands", "seed"))
        for need in ("key", "name", "years"):
            if need not in head:
                self.fail(f"[study] lacks {need!r}")
        areas = tuple(self.area(k, v) for k, v in self.table(raw, "areas").items())
        if not areas:
            self.fail("it has no area; add a table such as [areas.home] with bounds, crs and every")
        years = tuple(self.whole(y, "[study] years", 1984, 2100) for y in self.items(head["years"], "[study] years"))
        if not years or len(set(years)) < len(years):
            self.fail(f"years must be different whole numbers, got {list(years)}")
        split_raw = self.table(raw, "split", (*SIDES, "block_m"))
        scenes = self.table(
            raw,
            "scenes",
            (
                *("url", "collection", "collections", "max_cloud", "min_valid", "drop_scl"),
                *("offset", "leave_out", "max_bad_share"),
            ),
        )
        labels = self.table(
            raw, "labels",
            ("kind", "path", "layer", "confidence", "code_column", "crs", "resolution", "same_every_year",
             "min_confidence"),
        )  # fmt: skip
        bands = self.bands(head.get("bands", list(ALL_BANDS)))
        return Study(
            key=self.key(head["key"], "[study] key"),
            name=self.names(head["name"], "[study] name"),
            description=self.words(head.get("description", ""), "[study] description").strip(),
            simulated=self.flag(head.get("simulated", False), "[study] simulated"),
            areas=areas,
            years=years,
            split=self.split(split_raw, years),
            block_m=self.number(split_raw.get("block_m", 10_000), "[split] block_m", 1e-6, 1e7),
            season=self.season(self.table(raw, "season", ("window_days", "step_days", "first_day", "last_day"))),
            bands=bands,
            legend=self.legend(raw),
            labels=self.labels(labels, years),
            scenes=SceneSource(
                url=self.words(scenes.get("url", SceneSource.url), "[scenes] url"),
                collection=self.words(scenes.get("collection", SceneSource.collection), "[scenes] collection"),
                max_cloud=self.number(scenes.get("max_cloud", 95.0), "[scenes] max_cloud", 0, 100),
                min_valid=self.number(scenes.get("min_valid", 0.3), "[scenes] min_valid", 0, 1),
                offset=self.one_of(scenes.get("offset", "measure"), "[scenes] offset", OFFSET_MODES),
                leave_out=self.ids(scenes.get("leave_out", []), "[scenes] leave_out"),
                max_bad_share=self.number(scenes.get("max_bad_share", 0.0), "[scenes] max_bad_share", 0, 1),
                collections=self.collections(scenes.get("collections", {}), years),
            ),
            drop_scl=tuple(
                self.whole(v, "[scenes] drop_scl", 0, 11)
                for v in self.items(scenes.get("drop_scl", [0, 1, 7, 8, 9, 11]), "[scenes] drop_scl")
            ),
            min_confidence=self.whole(labels.get("min_confidence", 0), "[labels] min_confidence", 0, 100),
            seed=self.whole(head.get("seed", 1), "[study] seed", 0, 2**63 - 1),
            root=root,
            text=toml,
            **self.channels(self.table(raw, "channels", ("sensors", "indices", "day_of_year")), bands),
        )

    def collections(self, raw, years: tuple[int, ...]) -> dict[int, str]:
        where, found = "[scenes.collections]", {}
        if not isinstance(raw, dict):
            self.fail(f"{where} must be a table such as 2019 = 'sentinel-2-l2a', got {raw!r}")
        for year, collection in raw.items():
            # Scenes of a season over New Year are of the year after its label year, too.
            if not re.fullmatch(r"[0-9]{4}", year) or not {int(year), int(year) - 1} & set(years):
                self.fail(f"{where} names {year!r}, which [study] years does not have ({list(years)})")
            if not isinstance(collection, str) or not collection.strip():
                self.fail(f"{where} {year} must be the id of a collection, got {collection!r}")
            found[int(year)] = collection
        return found

    def area(self, key: str, raw) -> Area:
        where = f"[areas.{key}]"
        self.known(raw, ("name", "bounds", "crs", "every"), where)
        bounds = tuple(
            self.number(v, f"{where} bounds", -1e9, 1e9) for v in self.items(raw.get("bounds"), f"{where} bounds")
        )
        if len(bounds) != 4 or bounds[0] >= bounds[2] or bounds[1] >= bounds[3]:
            self.fail(
                f"{where} bounds must be [west, south, east, north] with west < east, south < north; got {bounds}"
            )
        crs = self.words(raw.get("crs", "EPSG:5070"), f"{where} crs")
        try:
            CRS(crs)
        except CRSError:
            self.fail(f"{where} crs = {crs!r} is no CRS that pyproj knows; write e.g. 'EPSG:5070'")
        if reason := _misplaced(bounds, CRS(crs)):
            stated = "" if "crs" in raw else " (the default, since it states no crs)"
            self.fail(f"{where} bounds = {list(bounds)} {reason}; its crs is {crs!r}{stated}")
        name = self.names(raw.get("name", {"en": key}), f"{where} name")
        return Area(
            self.key(key, where),
            name,
            bounds,
            crs,
            self.whole(raw.get("every", 1), f"{where} every", 1, 10**6),
        )

    def split(self, raw: dict, years: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        split = {
            s: tuple(self.whole(y, f"[split] {s}", 1984, 2100) for y in self.items(raw.get(s, []), f"[split] {s}"))
            for s in SIDES
        }
        placed = [y for side in split.values() for y in side]
        if len(set(placed)) < len(placed):
            twice = sorted({y for y in placed if placed.count(y) > 1})
            self.fail(f"[split] has {twice} on two sides; a year seen in training tells the test what it will ask")
        strangers = sorted(set(placed) - set(years))
        if strangers:
            self.fail(f"[split] names {strangers}, which [study] years does not have ({list(years)})")
        return split

    def season(self, raw: dict) -> Season:
        day = {k: self.whole(v, f"[season] {k}", 1, 731 if k == "last_day" else 366) for k, v in raw.items()}
        season = Season(**day)
        if season.window_days % season.step_days:
            self.fail(f"[season] window_days = {season.window_days} is no multiple of step_days = {season.step_days}")
        if season.last_day < season.first_day:
            self.fail(
                f"[season] last_day = {season.last_day} comes before first_day = {season.first_day}. For a season over "
                f"New Year count on: day {season.last_day} of the next year is last_day = {season.last_day + 365}"
            )
        if season.last_day - season.first_day > 365:
            self.fail(f"[season] first_day = {season.first_day} to last_day = {season.last_day} is more than a year")
        return season

    def bands(self, raw) -> tuple[str, ...]:
        bands = tuple(self.items(raw, "[study] bands"))
        for band in bands:
            if band not in ALL_BANDS:
                self.fail(f"[study] bands has {band!r}{_near(str(band), ALL_BANDS)}; bands are {', '.join(ALL_BANDS)}")
        if not bands or len(set(bands)) < len(bands):
            self.fail(f"[study] bands must name each band once, got {list(bands)}")
        return bands

    def channels(self, raw: dict, bands: tuple[str, ...]) -> dict:
        sensors = raw.get("sensors", {})
        if not isinstance(sensors, dict):
            self.fail(f"[channels] sensors must be a table such as {{ radar = ['vv', 'vh'] }}, got {sensors!r}")
        named = list(bands)
        for sensor, own in sensors.items():
            where = f"[channels] sensors {sensor}"
            self.key(sensor, where)
            named += [self.key(band, where) for band in self.items(own, where)]
            if not own:
                self.fail(f"{where} has no band; name those that the sensor adds to the table")
        indices = tuple(self.items(raw.get("indices", []), "[channels] indices"))
        for index in indices:
            if not isinstance(index, str) or index not in INDEX_BANDS:
                known = ", ".join(INDEX_BANDS)
                self.fail(f"[channels] indices has {index!r}{_near(str(index), INDEX_BANDS)}; indices are {known}")
            missing = [band for band in INDEX_BANDS[index] if band not in bands]
            if missing:
                self.fail(f"[channels] index {index!r} needs {missing}, which [study] bands does not have")
        twice = sorted({n for n in (*named, *indices, *WAVES) if [*named, *indices, *WAVES].count(n) > 1})
        if twice:
            self.fail(f"[channels] names {twice} twice, or what is a band already; leave one")
        day_of_year = self.flag(raw.get("day_of_year", False), "[channels] day_of_year")
        sensors = {sensor: tuple(own) for sensor, own in sensors.items()}
        return {"sensors": sensors, "indices": indices, "day_of_year": day_of_year}

    def labels(self, raw: dict, years: tuple[int, ...]) -> LabelSource:
        kind = raw.get("kind", "cdl")
        if kind not in LABEL_KINDS:
            self.fail(f"[labels] kind = {kind!r}{_near(str(kind), LABEL_KINDS)}; kinds are {', '.join(LABEL_KINDS)}")
        if kind in ("raster", "vector", "simulated") and "path" not in raw:
            self.fail(f"[labels] kind = {kind!r} needs path, e.g. path = 'labels_{{year}}.tif'")
        if kind == "vector" and "code_column" not in raw:
            self.fail("[labels] kind = 'vector' needs code_column: the column with the integer label code")
        if "confidence" in raw and kind not in ("raster", "simulated"):
            self.fail(f"[labels] confidence is a file beside a raster of labels; kind = {kind!r} has no use for it")
        if "layer" in raw and kind != "vector":
            self.fail(f"[labels] layer belongs to a vector file; kind = {kind!r} has no use for it")
        fields = {k: raw[k] for k in ("path", "layer", "confidence", "code_column", "crs") if k in raw}
        for k, v in fields.items():
            if not isinstance(v, str):
                self.fail(f"[labels] {k} must be text, got {v!r}")
        if "crs" in fields:
            try:
                CRS(fields["crs"])
            except CRSError:
                self.fail(f"[labels] crs = {fields['crs']!r} is no CRS that pyproj knows; write e.g. 'EPSG:32636'")
        if "resolution" in raw:
            fields["resolution"] = self.resolution(raw["resolution"], kind, years)
        same = self.flag(raw.get("same_every_year", False), "[labels] same_every_year")
        source = LabelSource(kind=kind, same_every_year=same, **fields)
        if what := source.not_yearly(years):
            self.fail(
                f"[labels] {what} = {getattr(source, what)!r} names one file for the years {list(years)}, so all would "
                f"get the same labels. Write {{year}} where the year stands in the name"
                f"{' (or in code_column, if each year has a column)' if kind == 'vector' else ''}; "
                "if nothing changes between the years (orchards, say), add same_every_year = true"
            )
        return source

    def resolution(self, raw, kind: str, years: tuple[int, ...]) -> float:
        side = self.number(raw, "[labels] resolution", 1e-6, 1e5)
        if kind == "cdl":
            early = [y for y in years if y < CDL_10_M]
            if side not in (10, 30):
                self.fail(f"[labels] resolution = {side:g}: the Cropland Data Layer has pixels of 30 m or of 10 m")
            if side == 10 and early:
                self.fail(
                    f"[labels] resolution = 10: the Cropland Data Layer has pixels of 10 m from {CDL_10_M} on, and "
                    f"[study] years has {early}. Write resolution = 30, or make a study of the later years"
                )
        elif kind in ("planetary-computer", "cropscape") and side != 30:
            self.fail(f"[labels] resolution = {side:g}: kind = {kind!r} has pixels of 30 m; kind = 'cdl' has 10 m, too")
        elif side < 0.5:
            self.fail(f"[labels] resolution = {side:g} is in metres, and far below a Sentinel-2 pixel of 10 m")
        return side

    def legend(self, raw: dict) -> Legend:
        head = self.table(raw, "legend", ("name", "excluded"))
        classes = tuple(self.klass(k, v) for k, v in self.table(raw, "classes").items())
        if not classes:
            self.fail("it has no class; add tables such as [classes.corn] with name, codes and colour")
        if len(classes) > 127:
            self.fail(f"the legend has {len(classes)} classes; at most 127 fit")
        excluded = self.codes(head.get("excluded", []), "[legend] excluded")
        owner: dict[int, str] = dict.fromkeys(excluded, "excluded")
        for c in classes:
            for code in () if c.codes == "others" else c.codes:
                if code in owner:
                    self.fail(f"code {code} is both in [classes.{c.key}] and in {owner[code]}; leave one")
                owner[code] = f"[classes.{c.key}]"
        if sum(c.codes == "others" for c in classes) > 1:
            self.fail("two classes have codes = 'others'; only one can take the rest")
        return Legend(self.words(head.get("name", "legend"), "[legend] name"), classes, excluded)

    def klass(self, key: str, raw) -> Class:
        where = f"[classes.{key}]"
        self.known(raw, ("name", "codes", "colour", "crop"), where)
        colour = self.words(raw.get("colour", "#808080"), f"{where} colour")
        if not re.fullmatch(r"#[0-9a-fA-F]{6}", colour):
            self.fail(f"{where} colour = {colour!r} is no colour; write it as '#rrggbb'")
        if "codes" not in raw:
            self.fail(f"{where} lacks codes; write a list such as [1, 12, '230-241'], [] or 'others'")
        codes = "others" if raw["codes"] == "others" else self.codes(raw["codes"], f"{where} codes")
        crop = self.flag(raw.get("crop", True), f"{where} crop")
        return Class(
            self.key(key, where), self.names(raw.get("name", {"en": key}), f"{where} name"), colour.lower(), codes, crop
        )

    def codes(self, raw, where: str) -> tuple[int, ...]:
        codes: list[int] = []
        for item in self.items(raw, where):
            span = re.fullmatch(r"\s*(\d{1,9})\s*-\s*(\d{1,9})\s*", item) if isinstance(item, str) else None
            if span:
                low, high = int(span[1]), int(span[2])
                if not low < high <= MAX_CODE:
                    self.fail(f"{where}: {item!r} is no range of codes; write 'low-high'")
                codes.extend(range(low, high + 1))
            else:
                codes.append(self.whole(item, where, 0, MAX_CODE))
        if len(set(codes)) < len(codes):
            self.fail(f"{where} names code {next(c for c in codes if codes.count(c) > 1)} twice")
        return tuple(codes)

    # -- small readers ---------------------------------------------------------------------------------------

    def fail(self, what: str):
        raise StudyError(f"{self.source}: {what}.")

    def known(self, raw, keys, where: str) -> None:
        if not isinstance(raw, dict):
            self.fail(f"{where} must be a table, got {raw!r}")
        for k in raw:
            if k not in keys:
                self.fail(f"{where} has the key {k!r}, which means nothing{_near(k, keys)}; keys are {', '.join(keys)}")

    def table(self, raw: dict, key: str, keys=None) -> dict:
        found = raw.get(key, {})
        self.known(found, keys if keys is not None else tuple(found) if isinstance(found, dict) else (), f"[{key}]")
        return found

    def items(self, value, where: str) -> list:
        if not isinstance(value, list):
            self.fail(f"{where} must be a list, got {value!r}")
        return value

    def whole(self, value, where: str, low: int, high: int) -> int:
        if isinstance(value, date) or not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            self.fail(f"{where} must be a whole number from {low} to {high}, got {value!r}")
        return value

    def number(self, value, where: str, low: float, high: float) -> float:
        ok = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not ok or not low <= value <= high:
            self.fail(f"{where} must be a number from {low:g} to {high:g}, got {value!r}")
        return float(value)

    def one_of(self, value, where: str, words: tuple[str, ...]) -> str:
        if value not in words:
            self.fail(f"{where} must be one of {', '.join(words)}, got {value!r}{_near(str(value), words)}")
        return value

    def ids(self, value, where: str) -> tuple[str, ...]:
        for item in self.items(value, where):
            if not isinstance(item, str) or not item.strip():
                self.fail(f"{where} must list ids of scenes as text, got {item!r}")
        return tuple(dict.fromkeys(value))

    def words(self, value, where: str) -> str:
        if not isinstance(value, str):
            self.fail(f"{where} must be text in quotes, got {value!r}")
        return value

    def flag(self, value, where: str) -> bool:
        if not isinstance(value, bool):
            self.fail(f"{where} must be true or false, got {value!r}")
        return value

    def key(self, value, where: str) -> str:
        if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_]*", value):
            self.fail(f"{where}: {value!r} cannot be a key; use letters, digits and _")
        return value

    def names(self, value, where: str) -> dict[str, str]:
        if isinstance(value, str):
            return {"en": value}
        if not isinstance(value, dict) or not value or not all(isinstance(v, str) and v for v in value.values()):
            self.fail(f"{where} must be text or a table of languages such as {{ en = 'Corn', es = 'Maíz' }}")
        return dict(value)
