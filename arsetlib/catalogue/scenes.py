"""Scenes and the item list: what a search found, saved as a STAC item collection."""

from __future__ import annotations

import io
import json
import math
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit

import shapely
from shapely.errors import ShapelyError
from shapely.geometry import mapping, shape

from arsetlib import folders, textfiles, web
from arsetlib.catalogue.item import is_url
from arsetlib.sentinel2 import SCALE
from arsetlib.translation import _
from arsetlib.web import CatalogueError, public, unwritable
from arsetlib.wording import column

EPOCH = date(1970, 1, 1).toordinal()


@dataclass(frozen=True)
class Scene:
    """One image of one tile.

    Attributes:
        id: Of the item.
        day: Days since 1970-01-01 (UTC) of its pass: all images of one pass have the day on which the pass began.
        datetime: When it was taken, RFC 3339.
        platform: Satellite, such as ``sentinel-2a``.
        tile: MGRS tile, such as ``15SYT``; None where the item does not state it.
        epsg: Of the pixel grid.
        footprint: Where there are data, longitude and latitude: a polygon or several.
        cloud: Cloud cover, percent; None where the item does not state it.
        baseline: Processing baseline, such as ``05.09``.
        offset: What must be added to the DN of every band: 0 or -1000, as the item states it; ``ingest.survey``
            measures it.
        hrefs: Band name or ``scl`` → URL or path, without credentials (``web.sign`` adds them).
        shape: Rows and columns of the finest grid, where the item states them.
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
        return year_of(self.day)


@dataclass(frozen=True)
class Scenes:
    """An item list.

    >>> Scenes((), dropped={"too_cloudy": 3})
    Scenes(0 scenes)
    >>> print(Scenes((), dropped={"too_cloudy": 3}))
    0 scenes. Dropped: 3 too cloudy.

    Attributes:
        items: Scenes by date.
        dropped: Filter → scenes that it dropped.
        query: What was asked for.
        notes: What the user should know about the list.
        survey: What ``ingest.survey`` found, once a table was made.

    Lab: part1_build_dataset.
    """

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

    def __repr__(self) -> str:
        return f"Scenes({len(self):,} scenes)"

    def __str__(self) -> str:
        lost = "; ".join(f"{n:,} {column(reason)}" for reason, n in self.dropped.items() if n)
        words = _("{n} scenes. Dropped: {lost}.").format(n=f"{len(self):,}", lost=lost or _("none"))
        return "\n".join([words, *self.notes])

    def save(self, path: str | Path) -> Path:
        """Write a STAC item collection that any STAC tool reads, whole or not at all, without credentials.

        Args:
            path: A ``.json`` file, also in an object store (``s3://…``).
        """
        path = folders.place(path)

        def write(to: Path) -> None:
            with to.open("wb") as file:
                file.writelines(self.encode(self.features(path.resolve().parent)))

        try:
            folders.put(path, write)
        except OSError as error:
            raise unwritable(path, error) from None
        return path

    def features(self, folder: Path) -> Iterator[bytes]:
        """Each scene as a STAC item in JSON; links to files are relative to ``folder``, that of the list."""
        return (_json(_feature(scene, folder)).encode() for scene in self.items)

    def encode(self, features: Iterable[bytes]) -> Iterator[bytes]:
        """What ``save`` writes, in pieces: one line for each scene, so that a long list is read one scene at a time.

        Args:
            features: Of ``features``, in the order of ``items``.
        """
        about = {
            "version": 1,
            "query": self.query,
            "dropped": self.dropped,
            "notes": list(self.notes),
            "survey": self.survey,
        }
        yield f'{{"type":"FeatureCollection","arset":{_json(about)},"features":['.encode()
        for number, feature in enumerate(features):
            yield b",\n" if number else b"\n"
            yield feature
        yield b"\n]}"

    @classmethod
    def load(cls, path: str | Path) -> Scenes:
        """Read what ``save`` wrote.

        Raises:
            CatalogueError: Not there, damaged, or not written by ``save``.
        """
        path = folders.place(path)
        try:
            return cls.decode(path.read_bytes(), path.resolve().parent)
        except (OSError, ValueError, LookupError, TypeError, AttributeError, ShapelyError) as error:
            raise CatalogueError(
                f"{path} is not a complete item list of arsetlib ({type(error).__name__}: {error}). "
                "Delete it and find the scenes again."
            ) from None

    @classmethod
    def decode(cls, data: bytes, folder: Path) -> Scenes:
        """Read what ``encode`` made, with links relative to ``folder``.

        Raises:
            ValueError, LookupError, TypeError, AttributeError: The bytes are damaged, or not of ``encode``.
        """
        about, features = _parse(data)
        scenes = tuple(_from_feature(f, folder) for f in features)
        notes = tuple(map(str, about.get("notes", ())))
        return cls(scenes, dict(about["dropped"]), dict(about["query"]), notes, dict(about.get("survey", {})))


# -- on disk ------------------------------------------------------------------------------------------------------


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def _parse(data: bytes) -> tuple[dict, Iterable[dict]]:
    """What a list states of itself, and its features: line by line where it is written so."""
    lines = io.BytesIO(data)
    first = next(lines, b"")
    if first.startswith(b'{"type":"FeatureCollection","arset":{') and data.endswith(b"\n]}"):
        features = (textfiles.parse_json(line.removesuffix(b",\n")) for line in lines if line != b"]}")
        return textfiles.parse_json(first.rstrip() + b"]}")["arset"], features
    content = textfiles.parse_json(data)  # of an earlier version, or changed in an editor
    return content["arset"], content["features"]


def _feature(scene: Scene, folder: Path) -> dict:
    """A scene as a STAC item; files are named relative to the list, so that the folder can move."""
    assets = {}
    for name, href in scene.hrefs.items():
        href = _href(href, folder)
        jp2 = href.lower().endswith(".jp2")
        kind = "image/jp2" if jp2 else "image/tiff; application=geotiff; profile=cloud-optimized"
        assets[name] = {"href": href, "type": kind}
        if name in scene.checksums:
            assets[name] |= dict(zip(("file:size", "file:checksum"), scene.checksums[name], strict=True))
        stated = {k: v if math.isfinite(v) else str(v) for k, v in scene.stated.get(name, {}).items()}
        if name != "scl":
            assets[name]["raster:bands"] = [{"scale": SCALE, "offset": round(scene.offset * SCALE, 4), **stated}]
        if stated:
            assets[name]["arset:stated"] = stated
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
    hrefs = {sys.intern(name): asset["href"] for name, asset in feature["assets"].items()}
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
        hrefs={n: h if is_url(h) and not h.startswith("file://") else _under(folder, h) for n, h in hrefs.items()},
        shape=tuple(p["proj:shape"]) if "proj:shape" in p else None,
        transform=tuple(p["proj:transform"]) if "proj:transform" in p else None,
        offset_by=str(p.get("arset:offset_by", "bands")),
        stated={name: {k: float(v) for k, v in numbers.items()} for name, numbers in stated.items() if numbers},
        checksums=checksums_of(feature["assets"]),
    )


def _href(href: str, folder: Path) -> str:
    """A link as the list has it: of files on the list's own disk the way from its folder."""
    if is_url(href):
        return public(href)
    if not isinstance(folder, Path):  # the list goes to an object store, where no disk is near
        return Path(href).absolute().as_uri()
    return Path(os.path.relpath(href, folder)).as_posix()


def _under(folder: Path, href: str) -> str:
    """Where a relative link leads from the folder of the list."""
    if href.startswith("file://"):
        return unquote(urlsplit(href).path)
    return os.path.normpath(folder / href) if isinstance(folder, Path) else web.join(f"{folder}/", href)


def checksums_of(assets: dict[str, dict]) -> dict[str, tuple[int, str]]:
    """Asset → its size and checksum, where it states both."""
    pairs = {name: (asset.get("file:size"), asset.get("file:checksum")) for name, asset in assets.items()}
    return {n: (size, digest) for n, (size, digest) in pairs.items() if type(size) is int and isinstance(digest, str)}


def year_of(day: int) -> int:
    """Calendar year of a day since 1970-01-01."""
    return date.fromordinal(day + EPOCH).year
