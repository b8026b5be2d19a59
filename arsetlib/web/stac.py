"""Search of a STAC API, page after page."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import requests
from pystac import Link
from pystac.errors import STACError
from pystac_client import Client
from pystac_client.conformance import ConformanceClasses
from pystac_client.errors import ClientTypeError
from pystac_client.exceptions import APIError
from pystac_client.stac_api_io import StacApiIO
from pystac_client.warnings import PystacClientWarning

from arsetlib.web.answers import CatalogueError, ask, ask_json
from arsetlib.web.links import public, redact

PAGE, SMALLEST_PAGE = 100, 10  # items; Earth Search answers 500 or 502 above about 250
MOST_PAGES = 2000  # of one search
REPEATED_PAGES = 3  # pages in a row without a new item: the service goes in a circle, or has ended


class _CircleError(CatalogueError):
    """A 'next' link leads to a page already read."""


class _PatientIO(StacApiIO):
    """pystac-client's connection with the retries of ``web.ask``, and smaller pages where large ones fail."""

    def __init__(self, attempts: int | None):
        super().__init__(max_retries=None)
        self.attempts = attempts
        self.limit = PAGE
        self.asked: set[str] = set()

    def request(self, href, method=None, headers=None, parameters=None) -> str:
        method, body = (method or "GET").upper(), dict(parameters or {})
        if method == "GET":
            href, body = requests.Request("GET", href, params=body).prepare().url, None
        href, body = self._limited(href, body)
        if method == "POST" or "?" in href:
            key = f"{method} {href} {json.dumps(body, sort_keys=True)}"
            if key in self.asked:
                raise _CircleError(
                    f"{public(href)} leads back to a page already read: its 'next' links form a circle. "
                    "Report it to the service, or use a static item list."
                )
            self.asked.add(key)
        return ask(href, method, body, headers, self._smaller, self.attempts).text

    def get_pages(self, url, method=None, parameters=None) -> Iterator[dict]:
        """The pages that have items. Over ``REPEATED_PAGES`` empty ones end a search; in pystac-client one does."""
        page, empty = self.read_json(url, method=method, parameters=parameters), 0
        while True:
            empty = 0 if page.get("features") else empty + 1
            if not empty:
                yield page
            following = next((link for link in page.get("links") or [] if link.get("rel") == "next"), None)
            if following is None or empty > REPEATED_PAGES:
                return
            try:
                page = self.read_json(Link.from_dict(following), parameters=parameters)
            except _CircleError:
                if empty:  # the last page of some services leads to itself
                    return
                raise

    def _smaller(self, url, body):
        self.limit = max(SMALLEST_PAGE, self.limit // 2)
        return self._limited(url, body)

    def _limited(self, url, body):
        """Ask for at most ``self.limit`` items, except where pages are numbered: there a page's size is its place."""
        parts = urlsplit(url)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        if {"page", "offset", "startIndex", "startindex"} & (set(query) | set(body or {})):
            return url, body
        if body is not None and "limit" in body:
            body = {**body, "limit": min(int(body["limit"]), self.limit)}
        if "limit" in query:
            query["limit"] = str(min(int(query["limit"]), self.limit))
            url = urlunsplit(parts._replace(query=urlencode(query)))
        return url, body


_NO_API = (
    APIError, ClientTypeError, STACError, PystacClientWarning, AttributeError, KeyError, TypeError, ValueError,
    NotImplementedError, RecursionError,
)  # fmt: skip  # what pystac and pystac-client raise where an answer is not what the standard says


def search(
    url: str, collection: str, area: dict, when: str, leave_out: tuple[str, ...] = (), attempts: int | None = None
) -> Iterator[dict]:
    """Items of a STAC API, page after page.

    Args:
        url: Root of the API.
        collection: Collection id.
        area: GeoJSON geometry, longitude and latitude, that items must touch.
        when: ``start/end``, RFC 3339.
        leave_out: Names of assets not needed, left out of the answer where the API can.
        attempts: Tries of each request; by default as ``web.ask``.

    Yields:
        Items as dicts. An item may come twice.

    Raises:
        CatalogueError: The API failed, or gave fewer items than it said it has.
    """
    received = matched = 0
    known: set[str] = set()
    repeated = 0
    try:
        pages = _pages(url, collection, area, when, leave_out, attempts)
        for number, page in enumerate(pages, 1):
            features = page["features"]
            if not all(isinstance(feature, dict) for feature in features):
                raise TypeError("a page holds features that are no objects")
            counts = [page.get("numberMatched"), (page.get("context") or {}).get("matched"), matched]
            matched = matched or max(int(c) for c in counts if c is not None)
            received += len(features)
            new = {str(feature.get("id")) for feature in features} - known
            known |= new
            repeated = 0 if new else repeated + 1
            if repeated >= REPEATED_PAGES or number > MOST_PAGES:
                raise CatalogueError(
                    f"{public(url)} gives pages without end: after {number} pages and {len(known)} items its 'next' "
                    "link never ends. Report it to the service, or use a static item list."
                )
            yield from features
    except _NO_API as error:
        raise _no_root(url, error) from None
    if received < matched:
        raise CatalogueError(
            f"{public(url)} said it has {matched} items and gave {received}. Nothing was kept; run it again."
        )


def _pages(
    url: str, collection: str, area: dict, when: str, leave_out: tuple[str, ...], attempts: int | None
) -> Iterator[dict]:
    fields = {"exclude": [f"assets.{name}" for name in leave_out]}
    fields["include"] = ["id", "type", "collection", "geometry", "bbox", "properties", "assets"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PystacClientWarning)
        client = Client.open(url, stac_io=_PatientIO(attempts))
        if not client.conforms_to(ConformanceClasses.ITEM_SEARCH) and client.get_single_link("search"):
            client.add_conforms_to("ITEM_SEARCH")  # an old API, such as Earth Search v0, does not say what it can
        search = client.search(
            collections=[collection],
            intersects=area,
            datetime=when,
            limit=PAGE,
            fields=fields if client.conforms_to(ConformanceClasses.FIELDS) else None,
        )
    return search.pages_as_dicts()


def _no_root(url: str, error: Exception) -> CatalogueError:
    """The error for a URL that does not answer as the root of an API: what it is, and what to write instead."""
    why = f"{type(error).__name__}: {' '.join(redact(error).split())[:200]}"
    remedy = "The URL in [scenes] must be the root of a STAC API, or end in .json for a static catalogue."
    if not isinstance(error, APIError):
        try:
            there = ask_json(url)
        except CatalogueError:
            there = {}
        kind, name = there.get("type"), there.get("id")
        root = re.split(r"/(?:collections|search)(?:/|\?|$)", url, maxsplit=1)[0]
        if kind in ("Collection", "Feature", "FeatureCollection") and root != url:
            its = f', and collection = "{name}"' if kind == "Collection" and isinstance(name, str) else ""
            what = {"Collection": "a collection", "Feature": "one item"}.get(kind, "a page of items")
            why = f"it is {what} of an API, not its root"
            remedy = f'In [scenes], write url = "{public(root)}"{its}.'
        elif kind in ("Catalog", "Collection", "FeatureCollection") and not there.get("conformsTo"):
            why = "it is a static catalogue that cannot be searched"
            remedy = "In [scenes] url, give the address of its file, which ends in .json."
    return CatalogueError(f"{public(url)} does not answer as a STAC API should ({why}). {remedy}")
