"""Items of a STAC API or of a static catalogue, on http or on disk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from functools import partial
from urllib.parse import unquote, urlsplit

import shapely
from shapely.geometry import box, mapping
from tqdm.auto import tqdm

from arsetlib import filetypes, folders, textfiles, web
from arsetlib.catalogue.item import Item, beside, is_url
from arsetlib.catalogue.scenes import EPOCH
from arsetlib.sentinel2 import BANDS
from arsetlib.study import Area, Study
from arsetlib.web import CatalogueError, host, public
from arsetlib.web.stac import MOST_PAGES

SAME_PASS = timedelta(minutes=30)  # between two items of one pass of a satellite; its next orbit comes after 100
READERS = 8  # items of a static catalogue read at the same time over http
DEEPEST = 32  # levels of a static catalogue
MOST_DOCUMENTS = 100_000  # of a static catalogue
NOT_NEEDED = (
    "thumbnail",
    "granule_metadata",
    "tileinfo_metadata",
    *(f"{b}-jp2" for b in (*BANDS, "scl", "aot", "wvp")),
)


def items_of(study: Study, years: Iterable[int], areas: list[Area], progress: bool) -> list[Item]:
    """All items that the source offers for some years and areas; some may lie outside the areas."""
    place = static_place(study)
    items: list[Item] = []
    same: dict[str, list[Item]] = {}
    with tqdm(desc="Items", unit="", disable=not progress) as bar:
        for number, item in enumerate(_walk(place) if place else _search(study, years, areas), 1):
            ident = item.raw.get("id") if isinstance(item.raw, dict) else None
            if not isinstance(ident, str | int) or not str(ident).strip():
                what = f"has the id {ident!r}" if isinstance(item.raw, dict) else f"is {str(item.raw)[:40]!r}"
                raise CatalogueError(
                    f"Item {number} of {public(item.base)} {what}: it is not a STAC item. "
                    "Remove it from that list, or check the address in [scenes] url."
                )
            others = same.setdefault(item.id, [])
            if not any(item.raw == other.raw for other in others):  # pages of an API may overlap
                others.append(item)
                items.append(item)
            bar.update()
    return items


def static_place(study: Study) -> str | None:
    """The file or address of a static catalogue; None where the study names an API."""
    url = study.scenes.url
    if url.lower().startswith("file://"):
        url = unquote(urlsplit(url).path)
    if not is_url(url):
        return study.resolve(url)
    if folders.in_store(url):
        return url
    if not host(url) or urlsplit(url).scheme not in ("http", "https"):
        raise CatalogueError(
            f"[scenes] url = {public(url)!r} is not an address of scenes. Write one that begins with "
            "https:// or http://, or the path of a file, also in an object store."
        )
    return url if urlsplit(url).path.endswith((".json", ".geojson")) else None


def _search(study: Study, years: Iterable[int], areas: list[Area]) -> Iterator[Item]:
    for year in years:
        first, last = (date.fromordinal(EPOCH + day) for day in study.season.days(year))
        for part in range(first.year, last.year + 1):  # a season over New Year may need two collections
            begin, end = max(first, date(part, 1, 1)), min(last, date(part, 12, 31))
            yield from search(study.scenes.url, study.scenes.collection_of(part), areas, begin, end)


def search(
    url: str, collection: str, areas: Iterable[Area], first: date, last: date, attempts: int | None = None
) -> Iterator[Item]:
    """Items of one collection of a STAC API.

    Args:
        url: Root of the API.
        collection: Collection id.
        areas: That items must touch; some of the items lie a little outside.
        first, last: Days, UTC.
        attempts: Tries of each request; by default as ``web.ask``.

    Raises:
        CatalogueError: As ``web.search``.
    """
    # A little wider than the areas; the true footprint decides later, on this machine.
    ground = shapely.union_all([a.outline() for a in areas]).simplify(0.001).buffer(0.002, quad_segs=1)
    ground = ground.intersection(box(-180, -90, 180, 90))
    # A pass that begins before the last midnight ends after it.
    when = f"{first}T00:00:00Z/{last + timedelta(days=1)}T00:{SAME_PASS.seconds // 60}:00Z"
    for raw in web.search(url, collection, mapping(ground), when, NOT_NEEDED, attempts):
        yield Item(raw, public(url) + "/")


def _walk(place: str) -> Iterator[Item]:
    """Every item below a catalogue, a collection or an item collection; each document is read once."""
    seen, level, depth, pages = {place}, [place], 0, 0
    with ThreadPoolExecutor(READERS) as pool:
        while level:
            below = []
            for base, document in zip(level, pool.map(partial(_read, root=place), level), strict=True):
                kind = document.get("type")
                if kind == "Feature":
                    yield Item(document, base)
                elif kind == "FeatureCollection":
                    yield from (Item(feature, base) for feature in _list_of(document, "features", base))
                elif kind not in ("Catalog", "Collection"):
                    raise CatalogueError(
                        f"{public(base)} is not a STAC catalogue, collection, item collection or item (type {kind!r}). "
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
            if depth > DEEPEST or pages > MOST_PAGES or len(seen) > MOST_DOCUMENTS:
                raise CatalogueError(
                    f"{public(place)} has links without end: {len(seen):,} documents on {depth + pages} levels, "
                    f"the last {public(below[-1])}. Check [scenes] url, or list the items in one file."
                )
            level = below


def _list_of(document: dict, key: str, base: str) -> list:
    value = document.get(key, [] if key == "links" else None)
    if not isinstance(value, list):
        raise CatalogueError(
            f"{public(base)} should have a list of {key}; received {str(value)[:40]!r}. "
            "Fetch or make it again, or check the address in [scenes] url."
        )
    return value


def _link(base: str, link, wanted: tuple[str, ...]) -> str | None:
    """The document that a link leads to, where it is of a wanted kind."""
    if not isinstance(link, dict) or link.get("rel") not in wanted:
        return None
    href = link.get("href")
    if str(link.get("method", "GET")).upper() != "GET":
        raise CatalogueError(
            f"{public(base)} is one page of a search, and its link {link['rel']!r} asks for the next page by "
            f"{link['method']}, which this library cannot follow. Set [scenes] url to the service itself, or save "
            "the items of all pages in one list."
        )
    if not isinstance(href, str) or not href.strip():
        raise CatalogueError(f"{public(base)} has a link {link['rel']!r} whose href is {href!r}; expected an address.")
    if is_url(base) or is_url(href):
        target = web.join(base, href) if is_url(base) and not is_url(href) else href
        if not host(target) and not target.lower().startswith("file://"):
            raise CatalogueError(f"{public(base)} links to {public(target)!r}, which is not an address.")
        if not is_url(base) and urlsplit(target).scheme == "file":
            return unquote(urlsplit(target).path)
        if urlsplit(target).scheme not in ("http", "https") and not (
            folders.in_store(base) and folders.in_store(target)
        ):
            raise CatalogueError(f"{public(base)} links to {public(target)}: only http(s) links are followed there.")
        return target
    return beside(base, href)


def _read(place: str, root: str) -> dict:
    if is_url(place) and not folders.in_store(place):
        return web.ask_json(place)
    try:
        document = textfiles.read_json(folders.place(place))
    except FileNotFoundError:
        if place != root:
            raise CatalogueError(
                f"There is no {place}, to which {root} leads. Copy it there, or remove the link."
            ) from None
        raise CatalogueError(
            f"There is no {place}. Check [scenes] url; for the simulated delta run `arset simulate data/delta` first."
        ) from None
    except (OSError, ValueError) as error:
        if not folders.in_store(place) and (found := filetypes.placeholder(place, "JSON file")):
            raise CatalogueError(f"{place} {found}") from None
        raise CatalogueError(f"{place} cannot be read as JSON ({error}). Fetch or make it again.") from None
    if not isinstance(document, dict):
        raise CatalogueError(
            f"{place} contains not a JSON object but a {type(document).__name__}, so it is not a STAC document. "
            'Check [scenes] url; a bare list of items must become {"type": "FeatureCollection", "features": [...]}.'
        )
    return document
