"""Reads a study file: every key is checked, and an error names the key and the nearest one that exists."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable
from datetime import date

from pyproj import CRS
from pyproj.exceptions import CRSError

from arsetlib import textfiles
from arsetlib.errors import ArsetError
from arsetlib.study.area import Area, misplaced, uncovered
from arsetlib.study.settings import MAX_CODE, Class, LabelSource, Legend, SceneSource, Season, text
from arsetlib.translation import N_, languages

CDL_KINDS = ("cdl", "planetary-computer", "cropscape")  # kinds that are the Cropland Data Layer
LABEL_KINDS = (*CDL_KINDS, "raster", "vector", "simulated")
# Sides of a split.
SIDES = (N_("train"), N_("validation"), N_("test"))
OFFSET_MODES = ("measure", "state", "refuse")
# Sentinel-2 bands that a study may name.
ALL_BANDS = (
    "coastal", "blue", "green", "red", "rededge1", "rededge2", "rededge3", "nir", "nir08", "nir09", "swir16", "swir22",
)  # fmt: skip
# Spectral index → the bands that it needs.
INDEX_BANDS = {
    "ndvi": ("nir", "red"), "gndvi": ("nir", "green"), "ndre": ("nir", "rededge1"), "evi": ("nir", "red", "blue"),
    "evi2": ("nir", "red"), "savi": ("nir", "red"), "ndmi": ("nir", "swir16"), "ndwi": ("green", "nir"),
    "mndwi": ("green", "swir16"), "ndti": ("swir16", "swir22"), "nbr": ("nir", "swir22"),
}  # fmt: skip  # formulas and papers stand in samples.INDICES
# Channels of the time of the year.
WAVES = ("day_of_year_sin", "day_of_year_cos")
BACKSLASH = "In double quotes a backslash begins a special sign: write paths with / or in single quotes"
CDL_10_M = 2024  # first year whose Cropland Data Layer is made at 10 m


class StudyError(ArsetError, ValueError):
    """The study file is invalid; the message says what is wrong and how to fix it."""


def nearest(word: str, words: Iterable[str]) -> str:
    """The nearest of some words, for a message; empty where none is near."""
    close = difflib.get_close_matches(word, list(words), 1, 0.5)
    return f" (did you mean {close[0]!r}?)" if close else ""


class Parser:
    """Turns parsed TOML into the values of a Study.

    Args:
        source: Name of the file, for messages.
    """

    def __init__(self, source: str):
        self.source = source

    def values(self, raw: dict) -> dict:
        """The arguments of ``Study``, all but ``root`` and ``text``.

        Raises:
            StudyError: A key does not exist, or a value is invalid.
        """
        tables = ("study", "areas", "split", "season", "scenes", "labels", "legend", "classes", "channels")
        self.known(raw, tables, "the file")
        head = self.table(
            raw, "study", ("key", "name", "description", "language", "simulated", "years", "bands", "seed")
        )
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
        source = self.labels(labels, years)
        for area in areas:
            if reason := uncovered(area, source.kind in CDL_KINDS, source.crs):
                self.fail(f"[areas.{area.key}] {reason}")
        return dict(
            key=self.key(head["key"], "[study] key"),
            name=self.names(head["name"], "[study] name"),
            description=self.words(head.get("description", ""), "[study] description").strip(),
            language=self.language(head.get("language", "")),
            simulated=self.flag(head.get("simulated", False), "[study] simulated"),
            areas=areas,
            years=years,
            split=self.split(split_raw, years),
            block_m=self.number(split_raw.get("block_m", 10_000), "[split] block_m", 1e-6, 1e7),
            season=self.season(self.table(raw, "season", ("window_days", "step_days", "first_day", "last_day"))),
            bands=bands,
            legend=self.legend(raw),
            labels=source,
            scenes=SceneSource(
                url=self.one_line(scenes.get("url", SceneSource.url), "[scenes] url"),
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
            **self.channels(self.table(raw, "channels", ("sensors", "indices", "day_of_year")), bands),
        )

    def language(self, raw) -> str:
        if raw != "" and raw not in languages():
            self.fail(f"[study] language must be one of {', '.join(languages())}, got {raw!r}")
        return raw

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
        if reason := misplaced(bounds, CRS(crs)):
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
                self.fail(
                    f"[study] bands has {band!r}{nearest(str(band), ALL_BANDS)}; bands are {', '.join(ALL_BANDS)}"
                )
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
                self.fail(f"[channels] indices has {index!r}{nearest(str(index), INDEX_BANDS)}; indices are {known}")
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
            self.fail(f"[labels] kind = {kind!r}{nearest(str(kind), LABEL_KINDS)}; kinds are {', '.join(LABEL_KINDS)}")
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
            self.one_line(v, f"[labels] {k}")
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
        for lang in sorted({lang for c in classes for lang in c.name}):
            shown: dict[str, str] = {}
            for c in classes:
                name = text(c.name, lang)
                other = shown.setdefault(name.casefold(), c.key)
                if other != c.key:
                    self.fail(
                        f"[classes.{other}] and [classes.{c.key}] have the same name {name!r} ({lang}), so figures and "
                        "tables could not tell them apart; give one another name"
                    )
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
                self.fail(
                    f"{where} has the key {k!r}, which means nothing{nearest(k, keys)}; keys are {', '.join(keys)}"
                )

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
            self.fail(f"{where} must be one of {', '.join(words)}, got {value!r}{nearest(str(value), words)}")
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

    def one_line(self, value, where: str) -> str:
        """A text without control characters, such as a path."""
        if odd := re.search(r"[\x00-\x1f\x7f]", self.words(value, where)):
            self.fail(f"{where} = {value!r} holds the control character {odd[0]!r}. {BACKSLASH}")
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
        names = {"en": value} if isinstance(value, str) else value
        if not isinstance(names, dict) or not names or not all(isinstance(v, str) for v in names.values()):
            self.fail(f"{where} must be text or a table of languages such as {{ en = 'Corn', es = 'Maíz' }}")
        for name in names.values():
            if problem := textfiles.name_problem(name):
                self.fail(f"{where} = {name!r} {problem}; write letters, digits and usual signs")
        return dict(names)
