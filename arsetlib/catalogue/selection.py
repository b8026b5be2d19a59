"""Find the scenes of a study: search, filter, and note what each filter dropped."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime
from functools import cmp_to_key, lru_cache
from pathlib import Path

import numpy as np
import shapely
from pyproj import CRS

from arsetlib import folders, ground
from arsetlib.catalogue.geometry import Unusable, to_tile
from arsetlib.catalogue.item import COLLECTION_1, Item
from arsetlib.catalogue.scenes import EPOCH, Scene, Scenes, checksums_of, year_of
from arsetlib.catalogue.sources import SAME_PASS, items_of, static_place
from arsetlib.sentinel2 import offset_and_source, stated_of
from arsetlib.study import Area, Study
from arsetlib.web import CatalogueError, host, public

LONG = 20  # a note says so if a season over New Year has more days than these without a scene at its end
SAME_GROUND = 0.5  # an item is the same scene as a newer one that shows at least this share of its ground


class OtherSearchError(CatalogueError):
    """The saved item list is of another search: of other bounds, years or filters."""


def find_scenes(
    study: Study,
    years: Iterable[int] | None = None,
    areas: Iterable[str] | None = None,
    cache: str | Path | None = None,
    leave_out: Iterable[str] = (),
    progress: bool = True,
) -> Scenes:
    """The scenes of a study: all images of its years that show enough of its areas.

    >>> find_scenes(Study.load("mississippi_delta"), progress=False)  # doctest: +SKIP
    Scenes(… scenes)

    Filters, in this order, each counted in ``dropped``: named in ``leave_out``; other years; footprint touches no
    area; an older processing of a scene that is there in a newer one; cloudier than ``max_cloud``; shows less than
    ``min_valid`` of every area it touches, where 1 is all of the area that lies in its tile.

    Items may come from Earth Search v1 (both collections) and v0, Planetary Computer, the Copernicus Data Space, and
    static catalogues in STAC 1.0 or 1.1. An item that a filter needs and that cannot be read is an error that names
    it; footprints across 180° are repaired and counted in ``notes``.

    Args:
        study: Says where scenes come from and which are wanted.
        years: Years of labels; the study's by default. Where the season runs on over New Year, a year is the days of
            the season that starts in it.
        areas: Keys of areas; all by default.
        cache: Folder (or ``.json`` file) of the saved item list, ``items.json``, also in an object store
            (``s3://…``). It is used where it exists.
        leave_out: Ids of scenes to leave out, for example damaged ones; in addition to those of the study.
        progress: Show a bar, then what was dropped.

    Raises:
        CatalogueError: The service failed, an item is unusable, an area has no scene in a year, or the saved list
            is of another search.
        GridError: One metre of [labels] crs is not one metre on the ground.

    Lab: part1_build_dataset.
    """
    years = tuple(sorted(years or study.years))
    chosen = [study.area(key) for key in areas] if areas else list(study.areas)
    leave_out = {*study.scenes.leave_out, *leave_out}
    query = _query(study, years, chosen, leave_out)
    path = folders.place(cache) if cache else None
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
    if (crs := study.labels.crs) and not CRS(crs).is_geographic:
        ground.check(CRS(crs), study.areas, f"[labels] crs = {crs!r}")  # labels come last, and the search takes minutes
    offered = items_of(study, years, chosen, progress)
    if not offered and (place := static_place(study)):
        raise CatalogueError(
            f"{public(place)} lists no item; links 'item' and 'child' of a catalogue are followed. Check [scenes] url: "
            "for a collection of a service, write the address of the service itself."
        )
    dropped: dict = {}
    kept, days = _filter(offered, study, years, chosen, leave_out, dropped)
    items = _scenes(kept, days, study.bands)
    notes = _notes(study, years, kept, items)
    if unknown := sorted(leave_out - {item.id for item in offered}):
        notes += (
            f"No scene found has these ids of leave_out: {', '.join(unknown[:5])}"
            f"{f' and {len(unknown) - 5} more' if len(unknown) > 5 else ''}. Check their spelling.",
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
        "url": public(study.scenes.url),
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
        raise OtherSearchError(
            f"{path} is of another search: {was[:600]}. "
            "Delete it to search again, or give another cache folder to keep both."
        )


# -- filters ---------------------------------------------------------------------------------------------------


def _filter(
    items: list[Item], study: Study, years, areas: list[Area], leave_out: set, dropped: dict
) -> tuple[list[Item], list[int]]:
    """The items that stay, and the day of each one's pass."""
    outlines = [a.outline() for a in areas]
    tree = shapely.STRtree(outlines)
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
        if len(tree.query(item.footprint, predicate="intersects")):
            return True
        tile = item.tile_outline
        if tile and not tile.intersects(item.footprint) and len(tree.query(tile, predicate="intersects")):
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
    broken += [f"{ident} is the id of several scenes; ids must differ" for ident in twice]
    items = keep(items, lambda i: i.cloud is None or i.cloud <= study.scenes.max_cloud, "too_cloudy")

    def enough(item: Item) -> bool:
        touched = [areas[i] for i in tree.query(item.footprint, predicate="intersects")]
        return any(_valid_share(item, a, study.bands) >= study.scenes.min_valid for a in touched)

    items = keep(items, enough, "too_little_valid")
    _refuse(broken)
    return items, [days[i] for i in items]


def _in_season(day: int, study: Study, years) -> bool:
    """Whether a day, counted since 1970-01-01, lies in the season of one of these years."""
    return any(first <= day <= last for first, last in map(study.season.days, years))


def _pass_days(items: list[Item]) -> dict[Item, int]:
    """Item → day on which its pass began, days since 1970-01-01.

    Otherwise a pass across midnight UTC, in the western Pacific, would give two images of one moment on two days.
    """
    days: dict[Item, int] = {}
    first: dict[str | None, datetime] = {}
    for item in sorted(items, key=lambda i: (i.platform or "", i.start)):
        began = first.get(item.platform)
        if began is None or item.start - began > SAME_PASS:
            began = first[item.platform] = item.start
        days[item] = began.toordinal() - EPOCH
    return days


def _newer_first(a: Item, b: Item) -> int:
    return -1 if a.newer_than(b) else 1


def _newest(items: list[Item]) -> list[Item]:
    """One item per pass and tile: the newest processing.

    A pass is cut in two where one recording ends and the next begins; both halves have the same tile and day, but
    show different ground. So an older item is dropped only if newer ones show most of its ground.
    """
    kept: list[Item] = []
    for group in (one for together in _passes(items) for one in _by_tile(together)):
        shown: list[Item] = []
        for item in sorted(group, key=cmp_to_key(_newer_first)):
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


def _by_tile(items: list[Item]) -> Iterable[list[Item]]:
    """Items of one pass by satellite and tile, where all state both: then no two groups have the same ground."""
    if not all(item.platform and item.tile for item in items):
        return [items]
    groups: dict[tuple, list[Item]] = {}
    for item in items:
        groups.setdefault((item.platform, item.tile), []).append(item)
    return groups.values()


def _same_tile(one: Item, other: Item) -> bool:
    """Whether two items close in time are of one satellite and one tile, as far as they state it.

    An item that does not state its tile is compared by its pixel grid, so that its newer processing replaces it.
    """
    if one.platform and other.platform and one.platform != other.platform:
        return False
    if one.tile and other.tile:
        return one.tile == other.tile
    if one.tile_outline and other.tile_outline:
        return one.epsg == other.epsg and one.tile_outline.equals_exact(other.tile_outline, 1e-6)
    return True


def _valid_share(item: Item, area: Area, bands) -> float:
    """Share, 0-1, of the part of the area in the item's tile for which the item has data.

    If the item does not state its grid: the share of data in the whole tile; if it does not state that either: 1.
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
    return Unusable(f"states that its grid is in EPSG:{item.epsg}, which is elsewhere than its footprint: {why}")


@lru_cache
def _outline(bounds: tuple, crs: str, epsg: int) -> shapely.Polygon:
    return Area("area", {}, tuple(bounds), crs).outline(f"EPSG:{epsg}")


def _scenes(items: list[Item], days: list[int], bands) -> tuple[Scene, ...]:
    scenes, broken = [], []
    for item, day in zip(items, days, strict=True):
        try:
            scenes.append(scene_of(item, day, bands))
        except (Unusable, ValueError) as error:
            broken.append(f"{item.id} {error}")
    _refuse(broken)
    return tuple(scenes)


def scene_of(item: Item, day: int, bands: Iterable[str]) -> Scene:
    """The scene of an item.

    Args:
        item: Of a service.
        day: Of its pass.
        bands: Whose files are needed, besides ``scl``.

    Raises:
        Unusable: A fact or a file is missing.
        ValueError: It states different offsets.
    """
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
        stated={name: numbers for name, one in stated.items() if (numbers := _encoding(one))},
        checksums=checksums_of({name: item.asset(name) for name in (*bands, "scl")}),
    )


def _encoding(stated: dict[str, float]) -> dict[str, float]:
    """The part of it that the reader of files needs: the scale, and no data other than 0."""
    return {k: v for k, v in stated.items() if k == "scale" or (k == "nodata" and v != 0)}


def _refuse(broken: list[str]) -> None:
    if broken:
        more = f" (and {len(broken) - 3} more)" if len(broken) > 3 else ""
        raise CatalogueError(
            f"{len(broken)} of the scenes cannot be used. Item {'; item '.join(broken[:3])}{more}. "
            "Name these items in leave_out, take another collection or catalogue, or correct the item list; if a band "
            "is missing, set other bands in [study] bands."
        )


def _each_area_has_scenes(
    items: list[Item], days: list[int], areas: list[Area], study: Study, years, scenes: Scenes
) -> None:
    tree = shapely.STRtree([item.footprint for item in items])
    for area in areas:
        outline = area.outline()
        there = [days[i] for i in tree.query(outline, predicate="intersects")]
        empty = [y for y in years if not any(_in_season(d, study, [y]) for d in there)]
        if empty:
            west, south, east, north = (round(v, 2) for v in outline.bounds)
            raise CatalogueError(
                f"Area {area.key!r} (longitude {west} to {east}, latitude {south} to {north}) has no scene in {empty}. "
                f"{' '.join(str(scenes).splitlines())} Check its bounds and crs, the years and the collection, "
                "or relax max_cloud and min_valid."
            )


# -- notes for the user -----------------------------------------------------------------------------------

GAPS = {  # Earth Search's issues 65 and 70: years of which a collection lacks many scenes, and who has them
    COLLECTION_1: ({2016, 2017, 2018, 2019, 2022}, "sentinel-2-l2a"),
    "sentinel-2-l2a": (set(range(2024, 2100)), COLLECTION_1),
}
COMPLETE = ("dataspace.copernicus.eu", "planetarycomputer.microsoft.com")  # other services, same collection id


def _notes(study: Study, years, items: list[Item], scenes: tuple[Scene, ...]) -> tuple[str, ...]:
    notes = [] if static_place(study) or host(study.scenes.url).endswith(COMPLETE) else _gaps(study, years, scenes)
    notes += _ends_at_newyear_of(study, years, scenes)
    repaired = [i.id for i in items if i.repaired]
    if repaired:
        notes.append(
            f"{len(repaired)} footprints across 180° or around the Earth were corrected (first: {repaired[0]})."
        )
    buckets = {host(h) for s in scenes for h in s.hrefs.values() if h.startswith("s3://")}
    if buckets:
        notes.append(
            f"Files are in the s3 buckets {', '.join(sorted(buckets))}. Reading may need keys (environment variables "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY), and the owner of a bucket may charge you for it."
        )
    return tuple(notes)


def _ends_at_newyear_of(study: Study, years, scenes: tuple[Scene, ...]) -> list[str]:
    """A note for each season over New Year whose scenes end with the year, as in a list fetched by calendar year."""
    notes = []
    for year in years if study.season.over_new_year else ():
        first, last = study.season.days(year)
        newest = max((s.day for s in scenes if first <= s.day <= last), default=last)
        if year_of(newest) == year and last - newest > LONG:
            notes.append(
                f"The season that starts in {year} runs to {date.fromordinal(EPOCH + last)}, and its last scene is of "
                f"{date.fromordinal(EPOCH + newest)}: scenes of {year + 1} are missing. Windows there stay empty."
            )
    return notes


def _gaps(study: Study, years, scenes: tuple[Scene, ...]) -> list[str]:
    number = Counter(s.year for s in scenes)
    notes = []
    for year in years:
        collection = study.scenes.collection_of(year)
        poor, other = GAPS.get(collection, ((), ""))
        if year in poor:
            notes.append(
                f"{collection} is known to lack many scenes of {year} ({number[year]} found). "
                f'[scenes.collections] {year} = "{other}" in the study file takes them from the other collection.'
            )
    return notes
