"""Find scenes and label rasters, and write down what was found, so that a rerun sees the same.

Scenes come from any STAC API (Earth Search by default, no account needed) or from a static catalogue, collection or
item collection on http or on disk; labels from ``labels.find_labels``, which this module passes on.

Source: STAC 1.0 with the EO, projection, raster and Sentinel-2 extensions. Lab: part1_build_dataset.
"""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cmp_to_key, lru_cache
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import numpy as np
import shapely
from shapely.errors import ShapelyError
from shapely.geometry import box, mapping, shape
from tqdm.auto import tqdm

from arsetlib import web
from arsetlib.item import COLLECTION_1, Item, Unusable, is_url, to_tile
from arsetlib.labels import Labels, find_labels
from arsetlib.links import host
from arsetlib.links import public as safe_href
from arsetlib.sentinel2 import BANDS, SCALE, offset_and_source, stated_of
from arsetlib.study import Area, Study
from arsetlib.web import CatalogueError, sign

__all__ = ["CatalogueError", "Labels", "Scene", "Scenes", "find_labels", "find_scenes", "safe_href", "sign"]

EPOCH = date(1970, 1, 1).toordinal()
SAME_PASS = timedelta(minutes=30)  # between two items of one pass of a satellite; its next orbit comes after 100
LONG = 20  # days without a scene at the end of a season over New Year, from which on it is told
SAME_GROUND = 0.5  # share of an item's ground that a newer one shows, from which on it is the same scene
READERS = 8  # items of a static catalogue read at once over http
DEEPEST = 32  # levels of a static catalogue
MOST_DOCUMENTS = 100_000  # of a static catalogue
NOT_NEEDED = (
    "thumbnail",
    "granule_metadata",
    "tileinfo_metadata",
    *(f"{b}-jp2" for b in (*BANDS, "scl", "aot", "wvp")),
)


@dataclass(frozen=True)
class Scene:
    """One image of one tile.

    Attributes:
        id: Of the item.
        day: Days since 1970-01-01 (UTC) of its pass: all images of one pass have the day on which the pass began.
        datetime: When it was taken, RFC 3339.
        platform: Satellite, such as ``sentinel-2a``.
        tile: MGRS tile, such as ``15SYT``; None where the item does not say.
        epsg: Of the pixel grid.
        footprint: Where there are data, longitude and latitude: a polygon or several.
        cloud: Cloud cover, percent; None where the item does not say.
        baseline: Processing baseline, such as ``05.09``.
        offset: What must be added to the DN of every band: 0 or -1000. As the item states it; ``survey`` measures it.
        hrefs: Band name or ``scl`` → URL or path, without credentials (``sign`` makes it openable).
        shape: Rows and columns of the finest grid, where the item says.
        transform: Its affine coefficients (a, b, c, d, e, f).
        offset_by: What states the offset, see ``sentinel2.offset_and_source``.
        stated: Band or ``scl`` → ``scale`` and ``nodata`` that the item states, where it states them.
        checksums: Name of an asset → its ``file:size`` and ``file:checksum``, where the item states both.
    """

    id: str
    day: int
    datetime: str
    platform: str
    tile: str | None
    epsg: int
    footprint: shapely.Geometry
    cloud: float | None
    baseline: str | None
    offset: int
    hrefs: dict[str, str]
    shape: tuple[int, int] | None = None
    transform: tuple[float, ...] | None = None
    offset_by: str = "bands"
    stated: dict[str, dict[str, float]] = field(default_factory=dict)
    checksums: dict[str, tuple[int, str]] = field(default_factory=dict)

    @property
    def year(self) -> int:
        """Calendar year of ``day``."""
        return _year(self.day)


@dataclass(frozen=True)
class Scenes:
    """An item list: scenes by date, what was asked for, what each filter dropped, what to know, what a survey found."""

    items: tuple[Scene, ...]
    dropped: dict[str, int] = field(default_factory=dict)
    query: dict = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    survey: dict = field(default_factory=dict)

    def __post_init__(self):
        object.__setattr__(self, "items", tuple(sorted(self.items, key=lambda s: (s.day, s.id))))

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Scene]:
        return iter(self.items)

    def __str__(self) -> str:
        lost = "; ".join(f"{n:,} {reason.replace('_', ' ')}" for reason, n in self.dropped.items() if n)
        return "\n".join([f"{len(self):,} scenes. Dropped: {lost or 'none'}.", *self.notes])

    def save(self, path: str | Path) -> Path:
        """Write a STAC item collection that any STAC tool reads, whole or not at all; no credentials in it."""
        path = Path(path)
        features = [_feature(s, path.resolve().parent) for s in self.items]
        content = {
            "type": "FeatureCollection",
            "arset": {
                "version": 1,
                "query": self.query,
                "dropped": self.dropped,
                "notes": list(self.notes),
                "survey": self.survey,
            },
            "features": features,
        }
        web.save(path, json.dumps(content, separators=(",", ":"), allow_nan=False).encode())
        return path

    @classmethod
    def load(cls, path: str | Path) -> Scenes:
        """Read what ``save`` wrote.

        Raises:
            CatalogueError: Not there, damaged, or not one of ours.
        """
        path = Path(path)
        try:
            content = web.parse_json(path.read_bytes())
            about = content["arset"]
            scenes = tuple(_from_feature(f, path.resolve().parent) for f in content["features"])
            notes = tuple(map(str, about.get("notes", ())))
            return cls(scenes, dict(about["dropped"]), dict(about["query"]), notes, dict(about.get("survey", {})))
        except (OSError, ValueError, LookupError, TypeError, AttributeError, ShapelyError) as error:
            raise CatalogueError(
                f"{path} is not a whole item list of ours ({type(error).__name__}: {error}). "
                "Delete it and find the scenes again."
            ) from None


def find_scenes(
    study: Study,
    years: Iterable[int] | None = None,
    areas: Iterable[str] | None = None,
    cache: str | Path | None = None,
    leave_out: Iterable[str] = (),
    progress: bool = True,
) -> Scenes:
    """The scenes of a study: all images of its years that show enough of its areas.

    Filters, in this order, each counted in ``dropped``: named in ``leave_out``; other years; footprint touches no
    area; an older processing of a scene that is there in a newer one; cloudier than ``max_cloud``; shows less than
    ``min_valid`` of every area it touches, where 1 is all of the area that its tile could show.

    Understood are items of Earth Search v1 (both collections) and v0, of Planetary Computer and of the Copernicus Data
    Space, and of static catalogues in STAC 1.0 or 1.1 (``item``). An item that a filter must judge and cannot read is
    an error that names it; footprints across 180° are repaired and counted in ``notes``.

    Args:
        study: Says where scenes come from and which are wanted.
        years: Years of labels; the study's by default. Where the season runs on over New Year, a year is the days of
            the season that starts in it.
        areas: Keys of areas; all by default.
        cache: Folder (or ``.json`` file) of the saved item list, ``items.json``. It is used where it exists.
        leave_out: Ids of scenes not wanted, say because one is damaged; besides those of the study.
        progress: Show a bar, then what was dropped.

    Raises:
        CatalogueError: The service failed, an item is unusable, an area has no scene in a year, or the saved list
            answers another question.

    Lab: part1_build_dataset.
    """
    years = tuple(sorted(years or study.years))
    chosen = [study.area(key) for key in areas] if areas else list(study.areas)
    leave_out = {*study.scenes.leave_out, *leave_out}
    query = _query(study, years, chosen, leave_out)
    path = Path(cache) if cache else None
    if path and path.suffix != ".json":
        path = path / "items.json"
    if path and path.exists():
        saved = Scenes.load(path)
        _same_question(saved.query, {k: v for k, v in query.items() if k != "leave_out"}, path)
        if saved.query.get("leave_out") == query["leave_out"]:
            if progress and saved.notes:
                print(*saved.notes, sep="\n")
            return saved
        # Where other scenes are left out, an older processing of one may be wanted: search again.
    found, dropped = _candidates(study, years, chosen, progress), {}
    kept, days = _filter(found, study, years, chosen, leave_out, dropped)
    items = _scenes(kept, days, study.bands)
    notes = _notes(study, years, kept, items)
    if strange := sorted(leave_out - {item.id for item in found}):
        notes += (
            f"No scene found has these ids of leave_out: {', '.join(strange[:5])}"
            f"{f' and {len(strange) - 5} more' if len(strange) > 5 else ''}. Check their spelling.",
        )
    scenes = Scenes(items, dropped, query, notes)
    _each_area_has_scenes(kept, days, chosen, study, years, scenes)
    if path:
        scenes.save(path)
    if progress:
        print(scenes)
    return scenes


def _query(study: Study, years, areas: list[Area], leave_out) -> dict:
    query = {
        "url": safe_href(study.scenes.url),
        "collection": study.scenes.collection,
        **({"collections": _collections(study, years)} if study.scenes.collections else {}),
        "years": list(years),
        "areas": {a.key: [*a.bounds, a.crs] for a in areas},
        "bands": list(study.bands),
        "max_cloud": study.scenes.max_cloud,
        "min_valid": study.scenes.min_valid,
        "leave_out": sorted(leave_out),
    }
    if study.season.over_new_year:
        query["days"] = [study.season.first_day, study.season.end_day]
    return json.loads(json.dumps(query))


def _collections(study: Study, years) -> dict[int, str]:
    """The collection of each calendar year that is asked for."""
    last = 1 if study.season.over_new_year else 0
    return {y: study.scenes.collection_of(y) for year in years for y in range(year, year + 1 + last)}


def _same_question(saved: dict, asked: dict, path: Path) -> None:
    other = [key for key in (*asked, *{"days"}.difference(asked)) if saved.get(key) != asked.get(key)]
    if other:
        was = "; ".join(f"{k} was {saved.get(k)!r}, now {asked.get(k)!r}" for k in other)
        raise CatalogueError(
            f"{path} answers another question: {was[:600]}. "
            "Delete it to search again, or give another cache folder to keep both."
        )


# -- items, wherever they come from ----------------------------------------------------------------------------


def _candidates(study: Study, years, areas: list[Area], progress: bool) -> list[Item]:
    """All items that the source offers for these years and areas; those far off may be among them."""
    place = _static(study)
    items: list[Item] = []
    same: dict[str, list[Item]] = {}
    with tqdm(desc="Items", unit="", disable=not progress) as bar:
        for number, item in enumerate(_walk(place) if place else _search(study, years, areas), 1):
            ident = item.raw.get("id") if isinstance(item.raw, dict) else None
            if not isinstance(ident, str | int) or not str(ident).strip():
                what = f"has the id {ident!r}" if isinstance(item.raw, dict) else f"is {str(item.raw)[:40]!r}"
                raise CatalogueError(
                    f"Item {number} of {safe_href(item.base)} {what}: it is no STAC item. "
                    "Take it out of that list, or check the address in [scenes] url."
                )
            twins = same.setdefault(item.id, [])
            if not any(item.raw == twin.raw for twin in twins):  # pages of an API may overlap
                twins.append(item)
                items.append(item)
            bar.update()
    return items


def _static(study: Study) -> str | None:
    """The file or address of a static catalogue; None where the study names an API."""
    url = study.scenes.url
    if url.lower().startswith("file://"):
        url = unquote(urlsplit(url).path)
    if not is_url(url):
        return study.resolve(url)
    if not host(url) or urlsplit(url).scheme not in ("http", "https"):
        raise CatalogueError(
            f"[scenes] url = {safe_href(url)!r} is no address that scenes can come from. Write one that begins with "
            "https:// or http://, or the path of a file."
        )
    return url if urlsplit(url).path.endswith((".json", ".geojson")) else None


def _search(study: Study, years, areas: list[Area]) -> Iterator[Item]:
    # A little wider than the areas; the true footprint decides later, on this machine.
    ground = shapely.union_all([a.outline() for a in areas]).simplify(0.001).buffer(0.002, quad_segs=1)
    ground = ground.intersection(box(-180, -90, 180, 90))
    for year in years:
        first, last = (date.fromordinal(EPOCH + day) for day in study.season.days(year))
        for part in range(first.year, last.year + 1):  # a season over New Year may need two collections
            begin, end = max(first, date(part, 1, 1)), min(last, date(part, 12, 31)) + timedelta(days=1)
            # A pass that begins before the last midnight ends after it.
            when = f"{begin}T00:00:00Z/{end}T00:{SAME_PASS.seconds // 60}:00Z"
            collection = study.scenes.collection_of(part)
            for raw in web.search(study.scenes.url, collection, mapping(ground), when, NOT_NEEDED):
                yield Item(raw, safe_href(study.scenes.url) + "/")


def _walk(place: str) -> Iterator[Item]:
    """Every item below a catalogue, a collection or an item collection; each document is read once."""
    seen, level, depth, pages = {place}, [place], 0, 0
    with ThreadPoolExecutor(READERS) as pool:
        while level:
            below = []
            for base, document in zip(level, pool.map(_read, level), strict=True):
                kind = document.get("type")
                if kind == "Feature":
                    yield Item(document, base)
                elif kind == "FeatureCollection":
                    yield from (Item(feature, base) for feature in _list_of(document, "features", base))
                elif kind not in ("Catalog", "Collection"):
                    raise CatalogueError(
                        f"{safe_href(base)} is no STAC catalogue, collection, item collection or item (type {kind!r}). "
                        "Check the address in [scenes] url."
                    )
                wanted = ("next",) if kind == "FeatureCollection" else ("child", "item")
                for link in _list_of(document, "links", base) if kind != "Feature" else ():
                    target = _link(base, link, wanted)
                    if target and target not in seen:
                        seen.add(target)
                        below.append(target)
                        pages += kind == "FeatureCollection"
            depth += bool(below) and not pages
            if depth > DEEPEST or pages > web.MOST_PAGES or len(seen) > MOST_DOCUMENTS:
                raise CatalogueError(
                    f"{safe_href(place)} links on and on: {len(seen):,} documents on {depth + pages} levels, "
                    f"the last {safe_href(below[-1])}. Check [scenes] url, or list the items in one file."
                )
            level = below


def _list_of(document: dict, key: str, base: str) -> list:
    found = document.get(key, [] if key == "links" else None)
    if not isinstance(found, list):
        raise CatalogueError(
            f"{safe_href(base)} should have a list of {key}; received {str(found)[:40]!r}. "
            "Fetch or make it anew, or check the address in [scenes] url."
        )
    return found


def _link(base: str, link, wanted: tuple[str, ...]) -> str | None:
    """The document that a link leads to, where it is of a wanted kind."""
    if not isinstance(link, dict) or link.get("rel") not in wanted:
        return None
    href = link.get("href")
    if str(link.get("method", "GET")).upper() != "GET":
        raise CatalogueError(
            f"{safe_href(base)} is one page of a search, and its link {link['rel']!r} asks for the next page by "
            f"{link['method']}, which cannot be followed from here. Set [scenes] url to the service itself, or save "
            "the items of all pages in one list."
        )
    if not isinstance(href, str) or not href.strip():
        raise CatalogueError(
            f"{safe_href(base)} has a link {link['rel']!r} whose href is {href!r}; expected an address."
        )
    if is_url(base) or is_url(href):
        target = urljoin(base, href) if is_url(base) and not is_url(href) else href
        if not host(target) and not target.lower().startswith("file://"):
            raise CatalogueError(f"{safe_href(base)} links to {safe_href(target)!r}, which is no address.")
        if not is_url(base) and urlsplit(target).scheme == "file":
            return unquote(urlsplit(target).path)
        if urlsplit(target).scheme not in ("http", "https"):
            raise CatalogueError(
                f"{safe_href(base)} links to {safe_href(target)}: only http(s) links are followed there."
            )
        return target
    return os.path.normpath(os.path.join(os.path.dirname(base), href))


def _read(place: str) -> dict:
    if is_url(place):
        return web.ask_json(place)
    try:
        document = web.parse_json(Path(place).read_bytes())
    except FileNotFoundError:
        raise CatalogueError(
            f"There is no {place}. Check [scenes] url; for the simulated delta run `arset simulate data/delta` first."
        ) from None
    except (OSError, ValueError) as error:
        raise CatalogueError(f"{place} cannot be read as JSON ({error}). Fetch or make it anew.") from None
    if not isinstance(document, dict):
        raise CatalogueError(
            f"{place} holds no JSON object but a {type(document).__name__}, so it is no STAC document. "
            'Check [scenes] url; a bare list of items must become {"type": "FeatureCollection", "features": [...]}.'
        )
    return document


# -- filters ---------------------------------------------------------------------------------------------------


def _filter(
    items: list[Item], study: Study, years, areas: list[Area], leave_out: set, dropped: dict
) -> tuple[list[Item], list[int]]:
    """The items that stay, and the day of each one's pass."""
    outlines = {a.key: a.outline() for a in areas}
    broken: list[str] = []

    def keep(items: list[Item], wanted: Callable[[Item], bool], reason: str) -> list[Item]:
        kept, lost = [], 0
        for item in items:
            try:
                good = wanted(item)
            except Unusable as error:
                broken.append(f"{item.id} {error}")
            else:
                kept += [item] if good else []
                lost += not good
        dropped[reason] = dropped.get(reason, 0) + lost
        return kept

    def of_years(item: Item) -> bool:
        item.require_parts()
        return any(_in_season(when.toordinal() - EPOCH, study, years) for when in (item.time, item.start))

    def shown(item: Item) -> bool:
        if any(item.footprint.intersects(o) for o in outlines.values()):
            return True
        tile = item.tile_outline
        if tile and not tile.intersects(item.footprint) and any(tile.intersects(o) for o in outlines.values()):
            raise _elsewhere(item)
        return False

    items = keep(items, lambda i: i.id not in leave_out, "left_out")
    items = keep(items, of_years, "other_years")
    items = keep(items, shown, "outside_areas")
    days = _pass_days(items)
    items = keep(items, lambda i: _in_season(days[i], study, years), "other_years")
    newest = set(_newest(items))
    items = keep(items, lambda i: i in newest, "older_processing")
    twice = sorted(ident for ident, n in Counter(i.id for i in items).items() if n > 1)
    broken += [f"{ident} stands for several scenes; ids must differ" for ident in twice]
    items = keep(items, lambda i: i.cloud is None or i.cloud <= study.scenes.max_cloud, "too_cloudy")

    def enough(item: Item) -> bool:
        touched = [a for a in areas if item.footprint.intersects(outlines[a.key])]
        return any(_valid_share(item, a, study.bands) >= study.scenes.min_valid for a in touched)

    items = keep(items, enough, "too_little_valid")
    _refuse(broken)
    return items, [days[i] for i in items]


def _in_season(day: int, study: Study, years) -> bool:
    """Whether the season of one of these years holds a day, counted since 1970-01-01."""
    return any(first <= day <= last for first, last in map(study.season.days, years))


def _pass_days(items: list[Item]) -> dict[Item, int]:
    """Item → day on which its pass began, days since 1970-01-01.

    A pass across midnight UTC, in the western Pacific, would otherwise be two images of one moment on two days.
    """
    days: dict[Item, int] = {}
    first: dict[str | None, datetime] = {}
    for item in sorted(items, key=lambda i: (i.platform or "", i.start)):
        began = first.get(item.platform)
        if began is None or item.start - began > SAME_PASS:
            began = first[item.platform] = item.start
        days[item] = began.toordinal() - EPOCH
    return days


def _newest(items: list[Item]) -> list[Item]:
    """One item per pass and tile: the newest processing.

    A pass is cut in two where one recording ends and the next begins; such halves share tile and day, too. They
    show different ground, so an older item goes only where newer ones show most of what it shows.
    """
    kept: list[Item] = []
    for group in _passes(items):
        shown: list[Item] = []
        for item in sorted(group, key=cmp_to_key(lambda a, b: -1 if a.newer_than(b) else 1)):
            again = shapely.union_all([s.footprint for s in shown if _same_tile(s, item)])
            if again.intersection(item.footprint).area < SAME_GROUND * item.footprint.area:
                shown.append(item)
        kept += shown
    return kept


def _passes(items: list[Item]) -> Iterator[list[Item]]:
    """Items close in time."""
    group: list[Item] = []
    for item in sorted(items, key=lambda i: (i.time, i.id)):
        if group and item.time - group[-1].time > SAME_PASS:
            yield group
            group = []
        group.append(item)
    if group:
        yield group


def _same_tile(one: Item, other: Item) -> bool:
    """Whether two items close in time are of one satellite and one tile, as far as they say.

    An item that does not say its tile is compared by its pixel grid, so that it cannot stand beside its newer twin.
    """
    if one.platform and other.platform and one.platform != other.platform:
        return False
    if one.tile and other.tile:
        return one.tile == other.tile
    if one.tile_outline and other.tile_outline:
        return one.epsg == other.epsg and one.tile_outline.equals_exact(other.tile_outline, 1e-6)
    return True


def _valid_share(item: Item, area: Area, bands) -> float:
    """How much of the area the item shows, of what its tile could show, 0-1.

    Where the item does not state its grid, the share of data in the whole tile stands in; where it does not state
    that either, 1.
    """
    tile = item.rectangle(bands)
    if tile is None:
        empty = item.properties.get("s2:nodata_pixel_percentage")
        return 1 - empty / 100 if isinstance(empty, int | float) and 0 <= empty <= 100 else 1.0
    # Corners only: a footprint's edges are straight in the tile's CRS, where it was drawn.
    change = to_tile(item.epsg).transform
    footprint = shapely.transform(item.footprint, lambda p: np.column_stack(change(p[:, 0], p[:, 1])))
    if not math.isfinite(footprint.area) or not footprint.intersects(tile):
        raise _elsewhere(item)
    could = tile.intersection(_outline(area.bounds, area.crs, item.epsg))
    return min(1.0, footprint.intersection(could).area / could.area) if could.area else 0.0


def _elsewhere(item: Item) -> Unusable:
    swapped = shapely.transform(item.footprint, lambda p: p[:, ::-1])
    why = "one of the two is wrong"
    if item.tile_outline and swapped.intersects(item.tile_outline):
        why = "its geometry gives latitude before longitude"
    return Unusable(f"says its grid is in EPSG:{item.epsg}, which puts it elsewhere than its footprint: {why}")


@lru_cache
def _outline(bounds: tuple, crs: str, epsg: int) -> shapely.Polygon:
    return Area("area", {}, tuple(bounds), crs).outline(f"EPSG:{epsg}")


def _scenes(items: list[Item], days: list[int], bands) -> tuple[Scene, ...]:
    scenes, broken = [], []
    for item, day in zip(items, days, strict=True):
        try:
            scenes.append(_scene(item, day, bands))
        except (Unusable, ValueError) as error:
            broken.append(f"{item.id} {error}")
    _refuse(broken)
    return tuple(scenes)


def _scene(item: Item, day: int, bands) -> Scene:
    size, transform = item.grid(bands)
    stated = {name: stated_of(item.asset(name)) for name in (*bands, "scl")}
    offset, offset_by = offset_and_source(
        item.properties | {"s2:processing_baseline": item.baseline}, [stated[name] for name in bands]
    )
    return Scene(
        id=item.id,
        day=day,
        datetime=item.time.isoformat().replace("+00:00", "Z"),
        platform=item.platform or str(item.properties.get("platform") or "unknown").lower(),
        tile=item.tile,
        epsg=item.epsg,
        footprint=item.footprint,
        cloud=item.cloud,
        baseline=item.baseline,
        offset=offset,
        hrefs={name: item.href(name) for name in (*bands, "scl")},
        shape=size,
        transform=transform,
        offset_by=offset_by,
        stated={name: _encoding(said) for name, said in stated.items() if _encoding(said)},
        checksums=_checksums({name: item.asset(name) for name in (*bands, "scl")}),
    )


def _encoding(stated: dict[str, float]) -> dict[str, float]:
    """What the reader of files needs of it: the scale, and no data other than 0."""
    return {k: v for k, v in stated.items() if k == "scale" or (k == "nodata" and v != 0)}


def _checksums(assets: dict[str, dict]) -> dict[str, tuple[int, str]]:
    found = {name: (asset.get("file:size"), asset.get("file:checksum")) for name, asset in assets.items()}
    return {n: (size, said) for n, (size, said) in found.items() if type(size) is int and isinstance(said, str)}


def _refuse(broken: list[str]) -> None:
    if broken:
        more = f" (and {len(broken) - 3} more)" if len(broken) > 3 else ""
        raise CatalogueError(
            f"{len(broken)} of the scenes cannot be used. Item {'; item '.join(broken[:3])}{more}. "
            "Name these items in leave_out, take another collection or catalogue, or correct the item list; where a "
            "band is missing, ask for other bands in [study] bands."
        )


def _each_area_has_scenes(
    items: list[Item], days: list[int], areas: list[Area], study: Study, years, scenes: Scenes
) -> None:
    for area in areas:
        outline = area.outline()
        there = [d for i, d in zip(items, days, strict=True) if i.footprint.intersects(outline)]
        empty = [y for y in years if not any(_in_season(d, study, [y]) for d in there)]
        if empty:
            west, south, east, north = (round(v, 2) for v in outline.bounds)
            raise CatalogueError(
                f"Area {area.key!r} (longitude {west} to {east}, latitude {south} to {north}) has no scene in {empty}. "
                f"{' '.join(str(scenes).splitlines())} Check its bounds and crs, the years and the collection, "
                "or loosen max_cloud and min_valid."
            )


# -- what to know about them -----------------------------------------------------------------------------------

GAPS = {  # Earth Search's issues 65 and 70: years of which a collection lacks many scenes, and who has them
    COLLECTION_1: ({2016, 2017, 2018, 2019, 2022}, "sentinel-2-l2a"),
    "sentinel-2-l2a": (set(range(2024, 2100)), COLLECTION_1),
}
WHOLE = ("dataspace.copernicus.eu", "planetarycomputer.microsoft.com")  # other services, same collection id


def _notes(study: Study, years, items: list[Item], scenes: tuple[Scene, ...]) -> tuple[str, ...]:
    notes = [] if _static(study) or host(study.scenes.url).endswith(WHOLE) else _gaps(study, years, scenes)
    notes += _ends_at_new_year(study, years, scenes)
    repaired = [i.id for i in items if i.repaired]
    if repaired:
        notes.append(
            f"{len(repaired)} footprints across 180° or round the Earth were put right (first: {repaired[0]})."
        )
    buckets = {host(h) for s in scenes for h in s.hrefs.values() if h.startswith("s3://")}
    if buckets:
        notes.append(
            f"Files lie in the s3 buckets {', '.join(sorted(buckets))}. Reading may need keys (environment variables "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY), and the owner of a bucket may charge you for it."
        )
    return tuple(notes)


def _ends_at_new_year(study: Study, years, scenes: tuple[Scene, ...]) -> list[str]:
    """Whether a season runs on over New Year and its scenes do not, as a list fetched by calendar year has it."""
    notes = []
    for year in years if study.season.over_new_year else ():
        first, last = study.season.days(year)
        newest = max((s.day for s in scenes if first <= s.day <= last), default=last)
        if _year(newest) == year and last - newest > LONG:
            notes.append(
                f"The season that starts in {year} runs to {date.fromordinal(EPOCH + last)}, and its last scene is of "
                f"{date.fromordinal(EPOCH + newest)}: scenes of {year + 1} are missing. Windows there stay empty."
            )
    return notes


def _gaps(study: Study, years, scenes: tuple[Scene, ...]) -> list[str]:
    found = Counter(s.year for s in scenes)
    notes = []
    for year in years:
        collection = study.scenes.collection_of(year)
        poor, other = GAPS.get(collection, ((), ""))
        if year in poor:
            notes.append(
                f"{collection} is known to lack many scenes of {year} ({found[year]} found). "
                f'[scenes.collections] {year} = "{other}" in the study file takes them from the other collection.'
            )
    return notes


def _year(day: int) -> int:
    return date.fromordinal(day + EPOCH).year


# -- the item list on disk -------------------------------------------------------------------------------------


def _feature(scene: Scene, folder: Path) -> dict:
    """A scene as a STAC item; files are named relative to the list, so that the folder can move."""
    assets = {}
    for name, href in scene.hrefs.items():
        href = safe_href(href) if is_url(href) else Path(os.path.relpath(href, folder)).as_posix()
        jp2 = href.lower().endswith(".jp2")
        kind = "image/jp2" if jp2 else "image/tiff; application=geotiff; profile=cloud-optimized"
        assets[name] = {"href": href, "type": kind}
        if name in scene.checksums:
            assets[name] |= dict(zip(("file:size", "file:checksum"), scene.checksums[name], strict=True))
        said = {k: v if math.isfinite(v) else str(v) for k, v in scene.stated.get(name, {}).items()}
        if name != "scl":
            assets[name]["raster:bands"] = [{"scale": SCALE, "offset": round(scene.offset * SCALE, 4), **said}]
        if said:
            assets[name]["arset:stated"] = said
    properties = {
        "datetime": scene.datetime,
        "platform": scene.platform,
        "grid:code": f"MGRS-{scene.tile}" if scene.tile else None,
        "proj:epsg": scene.epsg,
        "proj:shape": scene.shape,
        "proj:transform": scene.transform,
        "eo:cloud_cover": scene.cloud,
        "s2:processing_baseline": scene.baseline,
        "arset:offset": scene.offset,
        "arset:offset_by": scene.offset_by,
        "arset:day": scene.day,
    }
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": scene.id,
        "geometry": mapping(scene.footprint),
        "bbox": list(scene.footprint.bounds),
        "properties": {k: v for k, v in properties.items() if v is not None},
        "links": [],
        "assets": assets,
    }


def _from_feature(feature: dict, folder: Path) -> Scene:
    p = feature["properties"]
    when = datetime.fromisoformat(p["datetime"])
    hrefs = {name: asset["href"] for name, asset in feature["assets"].items()}
    if p["arset:offset"] not in (0, -1000) or isinstance(p["arset:offset"], bool | float):
        raise ValueError(
            f"item {feature['id']!r} states arset:offset = {p['arset:offset']!r}; only 0 and -1000 exist, so the list "
            "was changed by hand or by another program"
        )
    stated = {name: asset.get("arset:stated") for name, asset in feature["assets"].items()}
    return Scene(
        id=feature["id"],
        day=int(p.get("arset:day", when.toordinal() - EPOCH)),
        datetime=p["datetime"],
        platform=p["platform"],
        tile=p["grid:code"].removeprefix("MGRS-") if "grid:code" in p else None,
        epsg=p["proj:epsg"],
        footprint=shape(feature["geometry"]),
        cloud=p.get("eo:cloud_cover"),
        baseline=p.get("s2:processing_baseline"),
        offset=p["arset:offset"],
        hrefs={n: h if is_url(h) else os.path.normpath(folder / h) for n, h in hrefs.items()},
        shape=tuple(p["proj:shape"]) if "proj:shape" in p else None,
        transform=tuple(p["proj:transform"]) if "proj:transform" in p else None,
        offset_by=str(p.get("arset:offset_by", "bands")),
        stated={name: {k: float(v) for k, v in said.items()} for name, said in stated.items() if said},
        checksums=_checksums(feature["assets"]),
    )
