"""Find scenes and label rasters, and write down what was found, so that a rerun sees the same.

Scenes come from any STAC API (Earth Search by default, no account needed) or from a static catalogue, collection or
item collection on http or on disk; labels from ``labels.find_labels``, which this module passes on.

Source: STAC 1.0 with the EO, projection, raster and Sentinel-2 extensions. Lab: part1_build_dataset.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cached_property, lru_cache
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import numpy as np
import shapely
from pyproj import Transformer
from pyproj.exceptions import CRSError
from shapely.geometry import box, mapping, shape
from tqdm.auto import tqdm

from arsetlib import web
from arsetlib.labels import Labels, find_labels
from arsetlib.sentinel2 import BANDS, offset_of
from arsetlib.study import Area, Study
from arsetlib.web import CatalogueError, sign
from arsetlib.web import public as safe_href

__all__ = ["CatalogueError", "Labels", "Scene", "Scenes", "find_labels", "find_scenes", "safe_href", "sign"]

EPOCH = date(1970, 1, 1).toordinal()
SAME_PASS = 30 * 60  # seconds between two items that show one pass of a satellite over a tile
SAME_GROUND = 0.5  # share of an item's ground that a newer one shows, from which on it is the same scene
READERS = 8  # items of a static catalogue read at once over http
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
        day: Days since 1970-01-01 (UTC).
        datetime: When it was taken, RFC 3339.
        platform: Satellite, such as ``sentinel-2a``.
        tile: MGRS tile, such as ``15SYT``; None where the item does not say.
        epsg: Of the pixel grid.
        footprint: Where there are data, longitude and latitude: a polygon or several.
        cloud: Cloud cover, percent; None where the item does not say.
        baseline: Processing baseline, such as ``05.09``.
        offset: What must be added to the DN of every band: 0 or -1000.
        hrefs: Band name or ``scl`` → URL or path, without credentials (``sign`` makes it openable).
        shape: Rows and columns of the finest grid, where the item says.
        transform: Its affine coefficients (a, b, c, d, e, f).
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
    checksums: dict[str, tuple[int, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Scenes:
    """An item list: scenes by date, what was asked for, and how many each filter dropped."""

    items: tuple[Scene, ...]
    dropped: dict[str, int] = field(default_factory=dict)
    query: dict = field(default_factory=dict)

    def __post_init__(self):
        object.__setattr__(self, "items", tuple(sorted(self.items, key=lambda s: (s.day, s.id))))

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Scene]:
        return iter(self.items)

    def __str__(self) -> str:
        lost = "; ".join(f"{n:,} {reason.replace('_', ' ')}" for reason, n in self.dropped.items() if n)
        return f"{len(self):,} scenes. Dropped: {lost or 'none'}."

    def save(self, path: str | Path) -> Path:
        """Write a STAC item collection that any STAC tool reads, whole or not at all; no credentials in it."""
        path = Path(path)
        features = [_feature(s, path.resolve().parent) for s in self.items]
        content = {
            "type": "FeatureCollection",
            "arset": {"version": 1, "query": self.query, "dropped": self.dropped},
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
            content = json.loads(path.read_text(encoding="utf-8"))
            about = content["arset"]
            scenes = tuple(_from_feature(f, path.resolve().parent) for f in content["features"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CatalogueError(
                f"{path} is not a whole item list of ours ({type(error).__name__}: {error}). "
                "Delete it and find the scenes again."
            ) from None
        return cls(scenes, about["dropped"], about["query"])


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

    Args:
        study: Says where scenes come from and which are wanted.
        years: Calendar years; the study's by default.
        areas: Keys of areas; all by default.
        cache: Folder (or ``.json`` file) of the saved item list, ``items.json``. It is used where it exists.
        leave_out: Ids of scenes not wanted, say because one is damaged.
        progress: Show a bar, then what was dropped.

    Raises:
        CatalogueError: The service failed, an item is unusable, an area has no scene in a year, or the saved list
            answers another question.

    Lab: part1_build_dataset.
    """
    years = tuple(sorted(years or study.years))
    chosen = [study.area(key) for key in areas] if areas else list(study.areas)
    leave_out = set(leave_out)
    query = _query(study, years, chosen, leave_out)
    path = Path(cache) if cache else None
    if path and path.suffix != ".json":
        path = path / "items.json"
    if path and path.exists():
        saved = Scenes.load(path)
        _same_question(saved.query, query, path)
        return saved
    found, dropped = _candidates(study, years, chosen, progress), {}
    kept = _filter(found, study, years, chosen, leave_out, dropped)
    scenes = Scenes(_scenes(kept, study.bands), dropped, query)
    _each_area_has_scenes(kept, chosen, years, scenes)
    if path:
        scenes.save(path)
    if progress:
        print(scenes)
    return scenes


def _query(study: Study, years, areas: list[Area], leave_out) -> dict:
    query = {
        "url": safe_href(study.scenes.url),
        "collection": study.scenes.collection,
        "years": list(years),
        "areas": {a.key: [*a.bounds, a.crs] for a in areas},
        "bands": list(study.bands),
        "max_cloud": study.scenes.max_cloud,
        "min_valid": study.scenes.min_valid,
        "leave_out": sorted(leave_out),
    }
    return json.loads(json.dumps(query))


def _same_question(saved: dict, asked: dict, path: Path) -> None:
    other = [key for key in asked if saved.get(key) != asked[key]]
    if other:
        was = "; ".join(f"{k} was {saved.get(k)!r}, now {asked[k]!r}" for k in other)
        raise CatalogueError(
            f"{path} answers another question: {was[:600]}. "
            "Delete it to search again, or give another cache folder to keep both."
        )


# -- items, wherever they come from ----------------------------------------------------------------------------


class _Unusable(Exception):
    """An item that passed the filters cannot be used; all such are reported at once."""


@dataclass(frozen=True)
class _Item:
    """A STAC item as it came, and where it came from (relative links count from there)."""

    raw: dict
    base: str

    @property
    def id(self) -> str:
        return str(self.raw["id"])

    @property
    def properties(self) -> dict:
        return self.raw["properties"]

    @cached_property
    def time(self) -> datetime:
        said = self.properties.get("datetime") or self.properties.get("start_datetime")
        when = datetime.fromisoformat(said)
        return when.astimezone(UTC) if when.tzinfo else when.replace(tzinfo=UTC)

    @cached_property
    def footprint(self) -> shapely.Geometry:
        found = shape(self.raw["geometry"])
        return found if found.is_valid else shapely.make_valid(found)

    @cached_property
    def tile(self) -> str | None:
        p = self.properties
        said = p.get("grid:code") or p.get("s2:mgrs_tile") or p.get("s2:tile_id")
        if not said and p.get("mgrs:grid_square"):
            said = f"{p.get('mgrs:utm_zone')}{p.get('mgrs:latitude_band')}{p['mgrs:grid_square']}"
        match = re.search(r"(\d{1,2}[C-X][A-Z]{2})(?![A-Z])", str(said or ""))
        return match[1] if match else None

    @property
    def platform(self) -> str:
        return str(self.properties.get("platform") or self.id[:3]).lower()

    @property
    def cloud(self) -> float | None:
        said = self.properties.get("eo:cloud_cover")
        return None if said is None else float(said)

    @property
    def baseline(self) -> str | None:
        said = self.properties.get("s2:processing_baseline") or self.properties.get("processing:version")
        return None if said is None else str(said)

    @property
    def newness(self) -> tuple:
        """Grows with processing: baseline, then sequence number, then when it was made."""
        baseline = tuple(int(n) for n in re.findall(r"\d+", self.baseline or ""))
        in_id = re.search(r"_(\d+)_L2A", self.id)
        sequence = self.properties.get("s2:sequence") or (in_id[1] if in_id else 0)
        made = self.properties.get("s2:generation_time") or self.properties.get("updated") or ""
        return baseline, int(sequence), str(made), self.id

    @cached_property
    def epsg(self) -> int:
        code = str(self.properties.get("proj:epsg") or self.properties.get("proj:code") or "")
        number = code.upper().removeprefix("EPSG:")
        if not number.isdigit():
            raise _Unusable(f"says no CRS (proj:epsg or proj:code, found {code!r})")
        try:
            _to_tile(int(number))
        except CRSError:
            raise _Unusable(f"has a CRS that does not exist, EPSG:{number}") from None
        return int(number)

    def asset(self, name: str) -> dict:
        """An asset by our name of it, or by ESA's."""
        assets = self.raw.get("assets") or {}
        esa = BANDS[name].esa if name in BANDS else name.upper()
        for key in (name, esa, esa.lower()):
            if key in assets and assets[key].get("href"):
                return assets[key]
        raise _Unusable(f"lacks the band {name!r} (it has {', '.join(sorted(assets)) or 'no assets'})")

    def href(self, name: str) -> str:
        href = str(self.asset(name)["href"])
        if not _is_url(href) and _is_url(self.base):
            href = urljoin(self.base, href)
        elif not _is_url(href):
            href = os.path.normpath(os.path.join(os.path.dirname(self.base), href))
        here = not _is_url(self.base) and not href.startswith("/vsi")  # a list on disk may name files on disk
        if not (urlsplit(href).scheme in ("http", "https", "s3") if _is_url(href) else here):
            raise _Unusable(f"links {name!r} to {safe_href(href)}, which is neither http(s), s3 nor a file")
        clean = safe_href(href)
        if clean != href and not (urlsplit(clean).hostname or "").endswith(web.BLOB_HOST):
            raise _Unusable(
                f"has credentials in its link to {name!r}; they expire and are never stored, "
                "so use a catalogue whose links need none"
            )
        return clean

    def grid(self, bands) -> tuple[tuple[int, int] | None, tuple[float, ...] | None]:
        """Shape and transform of the finest grid that the item or its assets state."""
        stated = [self.properties, *(self.asset(b) for b in bands)]
        grids = [
            (a["proj:shape"], a["proj:transform"]) for a in stated if a.get("proj:shape") and a.get("proj:transform")
        ]
        if not grids:
            return None, None
        rows_cols, transform = min(grids, key=lambda g: abs(g[1][0]))
        return tuple(int(n) for n in rows_cols), tuple(float(v) for v in transform[:6])

    def rectangle(self, bands) -> shapely.Polygon | None:
        """All of its tile, data or not, in its own CRS."""
        size, t = self.grid(bands)
        if size and t:
            return box(t[2], t[5] + t[4] * size[0], t[2] + t[0] * size[1], t[5])
        bounds = self.properties.get("proj:bbox")
        return box(*bounds) if bounds else None


def _candidates(study: Study, years, areas: list[Area], progress: bool) -> list[_Item]:
    """All items that the source offers for these years and areas, each once; those far off may be among them."""
    url = study.scenes.url
    place = url if _is_url(url) else study.resolve(url)
    static = not _is_url(place) or urlsplit(place).path.endswith(".json")
    items: dict[str, _Item] = {}
    with tqdm(desc="Items", unit="", disable=not progress) as bar:
        for item in _walk(place) if static else _search(study, years, areas):
            lacks = [k for k in ("id", "geometry", "properties", "assets") if not item.raw.get(k)]
            if lacks:
                raise CatalogueError(
                    f"An item of {safe_href(item.base)} (id {item.raw.get('id')!r}) lacks {', '.join(lacks)}: "
                    "it is no STAC item. Check the address in [scenes] url."
                )
            items.setdefault(item.id, item)
            bar.update()
    return list(items.values())


def _search(study: Study, years, areas: list[Area]) -> Iterator[_Item]:
    # A little wider than the areas; the true footprint decides later, on this machine.
    ground = shapely.union_all([a.outline() for a in areas]).simplify(0.001).buffer(0.002, quad_segs=1)
    for year in years:
        when = f"{year}-01-01T00:00:00Z/{year}-12-31T23:59:59.999Z"
        for raw in web.search(study.scenes.url, study.scenes.collection, mapping(ground), when, NOT_NEEDED):
            yield _Item(raw, safe_href(study.scenes.url) + "/")


def _walk(place: str) -> Iterator[_Item]:
    """Every item below a catalogue, a collection or an item collection; each document is read once."""
    seen, level = {place}, [place]
    with ThreadPoolExecutor(READERS) as pool:
        while level:
            below = []
            for base, document in zip(level, pool.map(_read, level), strict=True):
                kind = document.get("type")
                if kind == "Feature":
                    yield _Item(document, base)
                elif kind == "FeatureCollection":
                    yield from (_Item(feature, base) for feature in document.get("features", []))
                elif kind not in ("Catalog", "Collection"):
                    raise CatalogueError(
                        f"{safe_href(base)} is no STAC catalogue, collection, item collection or item (type {kind!r}). "
                        "Check the address in [scenes] url."
                    )
                for link in document.get("links", []):
                    wanted = ("next",) if kind == "FeatureCollection" else ("child", "item")
                    target = _link(base, link) if kind != "Feature" and link.get("rel") in wanted else None
                    if target and target not in seen:
                        seen.add(target)
                        below.append(target)
            level = below


def _link(base: str, link: dict) -> str:
    href = str(link["href"])
    if _is_url(base) or _is_url(href):
        target = urljoin(base, href) if _is_url(base) else href
        if urlsplit(target).scheme not in ("http", "https"):
            raise CatalogueError(
                f"{safe_href(base)} links to {safe_href(target)}: only http(s) links are followed there."
            )
        return target
    return os.path.normpath(os.path.join(os.path.dirname(base), href))


def _read(place: str) -> dict:
    if _is_url(place):
        return web.ask_json(place)
    try:
        document = json.loads(Path(place).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CatalogueError(
            f"There is no {place}. Check [scenes] url; for the simulated delta run `arset simulate data/delta` first."
        ) from None
    except (OSError, ValueError) as error:
        raise CatalogueError(f"{place} cannot be read as JSON ({error}). Fetch or make it anew.") from None
    if not isinstance(document, dict):
        raise CatalogueError(f"{place} holds no JSON object, so it is no STAC document. Check [scenes] url.")
    return document


def _is_url(text: str) -> bool:
    return re.match(r"(?i)[a-z][a-z0-9+.-]+://", text) is not None


# -- filters ---------------------------------------------------------------------------------------------------


def _filter(items: list[_Item], study: Study, years, areas: list[Area], leave_out: set, dropped: dict) -> list[_Item]:
    outlines = {a.key: a.outline() for a in areas}
    items = _keep(items, lambda i: i.id not in leave_out, "left_out", dropped)
    items = _keep(items, lambda i: i.time.year in years, "other_years", dropped)
    items = _keep(items, lambda i: any(i.footprint.intersects(o) for o in outlines.values()), "outside_areas", dropped)
    newest = {i.id for i in _newest(items)}
    items = _keep(items, lambda i: i.id in newest, "older_processing", dropped)
    clear = study.scenes.max_cloud
    items = _keep(items, lambda i: i.cloud is None or i.cloud <= clear, "too_cloudy", dropped)
    broken: list[str] = []

    def enough(item: _Item) -> bool:
        touched = [a for a in areas if item.footprint.intersects(outlines[a.key])]
        try:
            return any(_valid_share(item, a, study.bands) >= study.scenes.min_valid for a in touched)
        except _Unusable as error:
            broken.append(f"{item.id} {error}")
            return False

    items = _keep(items, enough, "too_little_valid", dropped)
    _refuse(broken)
    return items


def _keep(items: list[_Item], wanted, reason: str, dropped: dict) -> list[_Item]:
    kept = [item for item in items if wanted(item)]
    dropped[reason] = len(items) - len(kept)
    return kept


def _newest(items: list[_Item]) -> list[_Item]:
    """One item per pass and tile: the newest processing.

    A pass is cut in two where one recording ends and the next begins; such halves share tile and day, too. They
    show different ground, so an older item goes only where newer ones show most of what it shows.
    """
    kept: list[_Item] = []
    for group in _passes(items):
        shown = []
        for item in sorted(group, key=lambda i: i.newness, reverse=True):
            again = shapely.union_all([s.footprint for s in shown]).intersection(item.footprint).area
            if again < SAME_GROUND * item.footprint.area or not shown:
                shown.append(item)
        kept += shown
    return kept


def _passes(items: list[_Item]) -> Iterator[list[_Item]]:
    """Items of one satellite, tile and moment; an item of no known tile stands alone."""
    yield from ([i] for i in items if i.tile is None)
    group: list[_Item] = []
    for item in sorted((i for i in items if i.tile), key=lambda i: (i.platform, i.tile, i.time)):
        last = group[-1] if group else item
        same = (last.platform, last.tile) == (item.platform, item.tile)
        if not same or (item.time - last.time).total_seconds() > SAME_PASS:
            yield group
            group = []
        group.append(item)
    if group:
        yield group


def _valid_share(item: _Item, area: Area, bands) -> float:
    """How much of the area the item shows, of what its tile could show, 0-1.

    Where the item does not state its grid, the share of data in the whole tile stands in; where it does not state
    that either, 1.
    """
    tile = item.rectangle(bands)
    if tile is None:
        return 1 - float(item.properties.get("s2:nodata_pixel_percentage") or 0) / 100
    # Corners only: a footprint's edges are straight in the tile's CRS, where it was drawn.
    change = _to_tile(item.epsg).transform
    footprint = shapely.transform(item.footprint, lambda p: np.column_stack(change(p[:, 0], p[:, 1])))
    if not math.isfinite(footprint.area) or not footprint.intersects(tile):
        raise _Unusable(
            f"says its grid is in EPSG:{item.epsg}, which puts it elsewhere than its footprint: one of the two is wrong"
        )
    could = tile.intersection(_outline(area.bounds, area.crs, item.epsg))
    return min(1.0, footprint.intersection(could).area / could.area) if could.area else 0.0


@lru_cache
def _to_tile(epsg: int) -> Transformer:
    return Transformer.from_crs(4326, epsg, always_xy=True)


@lru_cache
def _outline(bounds: tuple, crs: str, epsg: int) -> shapely.Polygon:
    return Area("area", {}, tuple(bounds), crs).outline(f"EPSG:{epsg}")


def _scenes(items: list[_Item], bands) -> tuple[Scene, ...]:
    scenes, broken = [], []
    for item in items:
        try:
            scenes.append(_scene(item, bands))
        except (_Unusable, ValueError) as error:
            broken.append(f"{item.id} {error}")
    _refuse(broken)
    return tuple(scenes)


def _scene(item: _Item, bands) -> Scene:
    size, transform = item.grid(bands)
    raster_bands = [b for name in bands for b in item.asset(name).get("raster:bands") or ()]
    return Scene(
        id=item.id,
        day=item.time.toordinal() - EPOCH,
        datetime=item.time.isoformat().replace("+00:00", "Z"),
        platform=item.platform,
        tile=item.tile,
        epsg=item.epsg,
        footprint=item.footprint,
        cloud=item.cloud,
        baseline=item.baseline,
        offset=offset_of(item.properties, raster_bands),
        hrefs={name: item.href(name) for name in (*bands, "scl")},
        shape=size,
        transform=transform,
        checksums=_checksums({name: item.asset(name) for name in (*bands, "scl")}),
    )


def _checksums(assets: dict[str, dict]) -> dict[str, tuple[int, str]]:
    found = {name: (asset.get("file:size"), asset.get("file:checksum")) for name, asset in assets.items()}
    return {n: (size, said) for n, (size, said) in found.items() if type(size) is int and isinstance(said, str)}


def _refuse(broken: list[str]) -> None:
    if broken:
        more = f" (and {len(broken) - 3} more)" if len(broken) > 3 else ""
        raise CatalogueError(
            f"{len(broken)} of the scenes cannot be used. Item {'; item '.join(broken[:3])}{more}. "
            "Ask for other bands in [study] bands, take another collection, or name these items in leave_out."
        )


def _each_area_has_scenes(items: list[_Item], areas: list[Area], years, scenes: Scenes) -> None:
    for area in areas:
        outline = area.outline()
        there = {i.time.year for i in items if i.footprint.intersects(outline)}
        empty = [y for y in years if y not in there]
        if empty:
            west, south, east, north = (round(v, 2) for v in outline.bounds)
            raise CatalogueError(
                f"Area {area.key!r} (longitude {west} to {east}, latitude {south} to {north}) has no scene in {empty}. "
                f"{scenes} Check its bounds and crs, the years and the collection, or loosen max_cloud and min_valid."
            )


# -- the item list on disk -------------------------------------------------------------------------------------


def _feature(scene: Scene, folder: Path) -> dict:
    """A scene as a STAC item; files are named relative to the list, so that the folder can move."""
    assets = {}
    for name, href in scene.hrefs.items():
        href = safe_href(href) if _is_url(href) else Path(os.path.relpath(href, folder)).as_posix()
        assets[name] = {"href": href, "type": "image/tiff; application=geotiff; profile=cloud-optimized"}
        if name in scene.checksums:
            assets[name] |= dict(zip(("file:size", "file:checksum"), scene.checksums[name], strict=True))
        if name != "scl":
            assets[name]["raster:bands"] = [{"scale": 0.0001, "offset": scene.offset * 0.0001}]
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
    return Scene(
        id=feature["id"],
        day=when.toordinal() - EPOCH,
        datetime=p["datetime"],
        platform=p["platform"],
        tile=p["grid:code"].removeprefix("MGRS-") if "grid:code" in p else None,
        epsg=p["proj:epsg"],
        footprint=shape(feature["geometry"]),
        cloud=p.get("eo:cloud_cover"),
        baseline=p.get("s2:processing_baseline"),
        offset=p["arset:offset"],
        hrefs={n: h if _is_url(h) else os.path.normpath(folder / h) for n, h in hrefs.items()},
        shape=tuple(p["proj:shape"]) if "proj:shape" in p else None,
        transform=tuple(p["proj:transform"]) if "proj:transform" in p else None,
        checksums=_checksums(feature["assets"]),
    )
