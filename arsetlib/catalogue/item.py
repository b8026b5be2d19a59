"""One STAC item of a Sentinel-2 Level-2A scene, in the terms of any service.

Services use different names for the same thing: the tile is ``grid:code`` in Earth Search v1, ``s2:mgrs_tile`` in
Planetary Computer, three ``sentinel:`` keys in Earth Search v0; the red band is ``red``, ``B04`` or ``B04_10m``. Here
each fact is looked for in all places where it can be. What cannot be read is an ``Unusable`` error that states the
value; nothing is guessed.

Source: STAC 1.0 and 1.1 with the EO, grid, MGRS, projection, processing, raster and Sentinel-2 extensions.
Lab: part1_build_dataset.
"""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from urllib.parse import unquote, urlsplit

import shapely
from pyproj.exceptions import CRSError
from shapely.geometry import box

from arsetlib.catalogue.geometry import Unusable, epsg_code, lonlat, numbers, pixel_grid, read_footprint, to_tile
from arsetlib.sentinel2 import BANDS
from arsetlib.web import host, join, public, storage

DATATAKE = timedelta(hours=1)  # longer than any datatake: a start further back belongs to something else
CLOUD_ROUNDING = 0.01  # percent beyond 0 or 100 that sums of rounded shares may have
NATIVE = {name: band.resolution_m for name, band in BANDS.items()} | {"scl": 20}
COLLECTION_1 = "sentinel-2-c1-l2a"
_TILE = r"(\d{1,2}[C-HJ-NP-X])([A-HJ-NP-Z][A-HJ-NP-V])"
_PRODUCT = re.compile(r"\b(S2[A-D])_MSIL2A_(\d{8}T\d{6})_(?:N(\d{4})_)?R\d{3}_T\w{5}_(\d{8}T\d{6})")


@dataclass(frozen=True, eq=False)
class Item:
    """A STAC item of a scene.

    >>> item = Item({"id": "a", "properties": {"grid:code": "MGRS-15SYT", "s2:processing_baseline": "05.11"}}, "")
    >>> item.tile, item.baseline, item.cloud
    ('15SYT', '05.11', None)

    Attributes:
        raw: As the service gave it.
        base: Where it came from; relative links are relative to this.
    """

    raw: dict
    base: str

    @property
    def id(self) -> str:
        """Its id, as text."""
        return str(self.raw["id"])

    def require_parts(self) -> None:
        """Refuse an item without geometry, properties or assets.

        Raises:
            Unusable: One is missing, null or of another kind.
        """
        for part in ("properties", "assets", "geometry"):
            value = self.raw.get(part)
            if not isinstance(value, dict) or not value:
                what = "nothing" if value is None else repr(value)[:60]
                raise Unusable(f"lacks {part} (expected an object, found {what}), so it is not a STAC item of a scene")

    @property
    def properties(self) -> dict:
        """Its facts, by STAC key."""
        return self.raw["properties"]

    @property
    def assets(self) -> dict:
        """Its files, by the service's key."""
        return self.raw["assets"]

    # -- when and by whom ----------------------------------------------------------------------------------------

    @cached_property
    def time(self) -> datetime:
        """When the scene was taken, UTC."""
        p = self.properties
        value = p.get("start_datetime") if p.get("datetime") is None else p["datetime"]
        when = _time(value)
        if when is None:
            raise Unusable(
                f"has no date that can be read: datetime is {value!r}, expected text like 2021-07-03T16:58:49Z"
            )
        return when

    @cached_property
    def start(self) -> datetime:
        """When its pass began, as far as the item says: the start of its datatake, else its own time."""
        start = _time(self._product[1] if self._product else None)
        taken = re.search(r"GS2[A-D]_(\d{8}T\d{6})_", self._text("s2:datatake_id", "eopf:datatake_id"))
        start = start or _time(taken[1] if taken else None)
        # Planetary Computer cuts the fraction off the name but not off the item's time.
        return start if start and timedelta(0) <= self.time - start <= DATATAKE else self.time

    @cached_property
    def made(self) -> datetime | None:
        """When it was processed, to the second."""
        p = self.properties
        when = _time(p.get("s2:generation_time")) or _time(p.get("processing:datetime"))
        if not when and self._product:
            when = _time(self._product[3])
        granule = re.search(r"_TL_\w{4}_(\d{8}T\d{6})_", self._text("s2:tile_id", "s2:granule_id"))
        when = when or _time(granule[1] if granule else None)
        return when.replace(microsecond=0) if when else None

    @cached_property
    def platform(self) -> str | None:
        """``sentinel-2a`` to ``sentinel-2d``, however it is spelt; None where the item does not state it."""
        for text in (self._text("platform", "eo:platform"), self._product[0] if self._product else "", self.id):
            letter = re.search(r"(?i)(?<![a-z0-9])s(?:entinel)?[\s_-]*2[\s_-]*([a-d])(?![a-z0-9])", text)
            if letter:
                return f"sentinel-2{letter[1].lower()}"
        return None

    @cached_property
    def tile(self) -> str | None:
        """MGRS tile with two digits, such as ``05QKB``; None where the item does not state it."""
        p = self.properties
        parts = [
            "".join(str(p.get(f"{prefix}:{name}") or "") for name in ("utm_zone", "latitude_band", "grid_square"))
            for prefix in ("mgrs", "sentinel")
        ]
        for text in (str(p.get("grid:code") or "").upper().removeprefix("MGRS-"), str(p.get("s2:mgrs_tile")), *parts):
            if match := re.fullmatch(f"T?{_TILE}", text.upper()):
                return match[1].zfill(3) + match[2]
        names = self._text("s2:product_uri", "sentinel:product_id"), self._text("s2:tile_id", "s2:granule_id"), self.id
        for text in names:
            # With a T in ESA's names: "2CPS", a processing station there, looks like a tile, too.
            if match := re.search(f"_T{_TILE}(?![0-9A-Za-z])", text) or re.search(f"^S2[A-D]_{_TILE}_", text):
                return match[1].zfill(3) + match[2]
        return None

    @cached_property
    def baseline(self) -> str | None:
        """Processing baseline such as ``05.11``."""
        text = self._text("s2:processing_baseline", "sentinel:processing_baseline", "processing:version")
        if not text and self._product and self._product[2]:
            text = self._product[2]
        number = re.fullmatch(r"(?i)N?(\d{2})\.?(\d{2})", text.strip())
        if number:
            return f"{number[1]}.{number[2]}"
        number = re.fullmatch(r"(\d{1,2})\.(\d{1,2})", text.strip())
        return f"{number[1]:0>2}.{number[2]:0<2}" if number else (text or None)

    @cached_property
    def cloud(self) -> float | None:
        """Cloud cover, percent; None where the item does not state it."""
        value = self.properties.get("eo:cloud_cover")
        if value is None:
            return None
        try:
            share = float(value) if not isinstance(value, bool) else math.nan
        except (TypeError, ValueError):
            share = math.nan
        if not -CLOUD_ROUNDING <= share <= 100 + CLOUD_ROUNDING:
            raise Unusable(f"has a cloud cover (eo:cloud_cover) of {value!r}, expected a number from 0 to 100")
        return min(max(share, 0.0), 100.0)

    def newer_than(self, other: Item) -> bool:
        """Whether this one is the newer processing of the same scene.

        The first fact decides that both state and that differs: baseline; when it was processed; Collection 1 of
        Earth Search, which states the offset correctly; number of the processing; when the item
        was changed. Where none differs, the id decides, so that the answer does not depend on the order.
        """
        for mine, its in zip(self._newness, other._newness, strict=True):
            if mine is not None and its is not None and mine != its:
                return mine > its
        return self.id > other.id

    @cached_property
    def _newness(self) -> tuple:
        p = self.properties
        baseline = tuple(int(n) for n in re.findall(r"\d+", self.baseline or "")) or None
        in_id = re.search(r"_(\d{1,4})_L2A", self.id)
        text = self._text("s2:sequence", "sentinel:sequence") or (in_id[1] if in_id else "")
        sequence = int(text) if re.fullmatch(r"[0-9]{1,9}", text) else None
        changed = _time(p.get("updated")) or _time(p.get("published")) or _time(p.get("created"))
        return baseline, self.made, self.raw.get("collection") == COLLECTION_1, sequence, changed

    @cached_property
    def _product(self) -> re.Match | None:
        """Satellite, start of the datatake, baseline and time of processing in the name of ESA's product."""
        match = _PRODUCT.search(f"{self._text('s2:product_uri', 'sentinel:product_id')} {self.id}")
        return match.groups() if match else None

    def _text(self, *names: str) -> str:
        """The first of these properties that is stated, as text."""
        values = (self.properties.get(name) for name in names)
        return next((str(value) for value in values if isinstance(value, str | int | float) and value != ""), "")

    # -- where ---------------------------------------------------------------------------------------------------

    @cached_property
    def footprint(self) -> shapely.Geometry:
        """Where there are data, longitude and latitude; two polygons where it crosses 180°."""
        return self._footprint[0]

    @cached_property
    def repaired(self) -> bool:
        """Whether the stated footprint lay across 180° or around the Earth, and was corrected."""
        return self._footprint[1]

    @cached_property
    def _footprint(self) -> tuple[shapely.Geometry, bool]:
        return read_footprint(self.raw["geometry"], self.tile_outline)

    @cached_property
    def epsg(self) -> int:
        """EPSG code of the pixel grid, of the item or of its bands (``proj:code``, ``proj:epsg``, …)."""
        stated = [self.properties, *self._own_assets]
        codes = {code for code in map(epsg_code, stated) if code}
        if not codes:
            value = next((p[k] for p in stated for k in ("proj:code", "proj:epsg") if p.get(k)), None)
            raise Unusable(f"states no CRS (proj:epsg or proj:code, found {value!r})")
        if len(codes) > 1:
            raise Unusable(f"names several CRS, {', '.join(f'EPSG:{code}' for code in sorted(codes))}; expected one")
        code = codes.pop()
        try:
            to_tile(code)
        except CRSError:
            raise Unusable(f"has a CRS that does not exist, EPSG:{code}") from None
        return code

    def grid(self, bands) -> tuple[tuple[int, int] | None, tuple[float, ...] | None]:
        """Shape and transform of the finest grid that the item or its assets state."""
        stated = [self.properties, *(self.asset(b) for b in bands)]
        grids = [pixel_grid(a) for a in stated if a.get("proj:shape") and a.get("proj:transform")]
        if not grids:
            return None, None
        return min(grids, key=lambda g: abs(g[1][0]))

    def rectangle(self, bands) -> shapely.Polygon | None:
        """All of its tile, data or not, in its own CRS."""
        size, t = self.grid(bands)
        if size and t:
            return box(t[2], t[5] + t[4] * size[0], t[2] + t[0] * size[1], t[5])
        stated = (a.get("proj:bbox") for a in (self.properties, *(self.asset(b) for b in bands)))
        bounds = next((b for b in stated if b), None)
        if bounds is None:
            return None
        west, south, east, north = numbers(bounds, 4, "proj:bbox")
        if not (west < east and south < north):
            raise Unusable(f"has proj:bbox {bounds!r}; expected west, south, east, north")
        return box(west, south, east, north)

    @cached_property
    def tile_outline(self) -> shapely.Geometry | None:
        """All of its tile in longitude and latitude; None where the item does not say where its pixels lie."""
        try:
            tile = self.rectangle([name for name in NATIVE if self.find(name)])
            return lonlat(self.epsg, tile.bounds) if tile else None
        except Unusable:
            return None

    @property
    def _own_assets(self) -> list[dict]:
        return [asset for name in NATIVE if (asset := self.find(name))]

    # -- its files -----------------------------------------------------------------------------------------------

    def find(self, name: str) -> dict | None:
        """An asset by our name of it, by ESA's, with the pixel size, or by the one band that it states.

        A common name, such as nir, counts where one asset alone states it: files of other pixel sizes state it, too.
        """
        esa = BANDS[name].esa if name in BANDS else name.upper()
        sizes = sorted((10, 20, 60), key=lambda size: (size != NATIVE.get(name), size))
        short = re.sub(r"^B0", "B", esa)  # Google Earth Engine's B4
        for key in (name, esa, esa.lower(), short, *(f"{esa}_{size}m" for size in sizes)):
            if isinstance(self.assets.get(key), dict):
                return self.assets[key]
        common = []
        for asset in self.assets.values():
            bands = (asset.get("bands") or asset.get("eo:bands")) if isinstance(asset, dict) else None
            only = bands[0] if isinstance(bands, list) and len(bands) == 1 else None
            if not isinstance(only, dict):
                continue
            if only.get("name") in (name, esa):
                return asset
            if name in (only.get("common_name"), only.get("eo:common_name")):
                common.append(asset)
        return common[0] if len(common) == 1 else None

    def asset(self, name: str) -> dict:
        asset = self.find(name)
        if asset is None:
            there = [key for key, asset in self.assets.items() if isinstance(asset, dict)]
            raise Unusable(f"lacks the band {name!r} (it has {', '.join(sorted(there)) or 'no assets'})")
        href = asset.get("href")
        if not isinstance(href, str) or not href.strip() or re.search(r"[\x00-\x1f]", href):
            raise Unusable(f"has no link to its band {name!r}: href is {href!r}")
        return asset

    def href(self, name: str) -> str:
        """The absolute link to a band, without credentials.

        Raises:
            Unusable: The band is missing, its link needs credentials or may not be followed from here.
        """
        href = self.asset(name)["href"].strip()
        if is_url(href) and not href.lower().startswith("file://") and not host(href):
            raise Unusable(f"links {name!r} to {public(href)!r}, which is not an address")
        local = not is_url(self.base)
        if local and href.lower().startswith("file://"):
            href = unquote(urlsplit(href).path)
        if not is_url(href) and not local:
            href = join(self.base, href)
        elif not is_url(href):
            href = beside(self.base, href)
        here = local and not href.startswith("/vsi")  # a list on disk may name files on disk
        if not (urlsplit(href).scheme in ("http", "https", "s3") if is_url(href) else here):
            raise Unusable(f"links {name!r} to {public(href)}, which is neither http(s), s3 nor a file")
        clean = public(href)
        if clean != href and not host(clean).endswith(storage.BLOB_HOST):
            raise Unusable(
                f"has credentials in its link to {name!r}, or a query that may hold some; they expire and are never "
                "stored, so use a catalogue whose links need none"
            )
        return clean


def beside(base: str, href: str) -> str:
    """Where a link in a file on this disk leads; it may be spelt as an address (%20 for a space) or as in Windows."""
    path = os.path.normpath(os.path.join(os.path.dirname(base), href))
    spellings = (path, unquote(path), path.replace("\\", "/"))
    return next((p for p in spellings if os.path.exists(p)), path)


def is_url(text: str) -> bool:
    return re.match(r"(?i)[a-z][a-z0-9+.-]+://", text) is not None


def _time(said) -> datetime | None:
    """A date and time as text, UTC where it names no zone; None where it is none."""
    if not isinstance(said, str):
        return None
    try:
        when = datetime.fromisoformat(said.strip())
        return when.astimezone(UTC) if when.tzinfo else when.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
