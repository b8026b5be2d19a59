"""Label rasters: a GeoTIFF of your own, the Cropland Data Layer from three sources, or fields from a vector file.

Whatever the source, what comes out is one GeoTIFF of whole-number codes on one grid of metres, checked to cover every
area of the study. Of national files only the windows of the areas are kept. A file made here says in its tag
``ARSET_LABELS`` what it was made from.

Sources: USDA NASS Cropland Data Layer (https://www.nass.usda.gov/Research_and_Science/Cropland/), Planetary
Computer ``usda-cdl``, CropScape (https://nassgeodata.gmu.edu/CropScape/). Lab: part1_build_dataset.
"""

from __future__ import annotations

import contextlib
import dataclasses
import glob
import hashlib
import json
import math
import os
import re
import shutil
import stat
import warnings
import zipfile
import zlib
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from urllib.parse import urljoin, urlsplit

import numpy as np
import rasterio
import shapely
from filelock import FileLock, Timeout
from pyproj import CRS
from rasterio.enums import MaskFlags, Resampling
from rasterio.transform import from_origin
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window
from shapely.geometry import box, mapping

from arsetlib import checksums, ground, vectors, web
from arsetlib.study import CDL_10_M, Area, Study
from arsetlib.web import CatalogueError, public, redact

__all__ = ["Labels", "find_labels", "majority"]

NASS = "https://www.nass.usda.gov/Research_and_Science/Cropland/Release/datasets"
PLANETARY_COMPUTER = "https://planetarycomputer.microsoft.com/api/stac/v1"
CROPSCAPE = "https://nassgeodata.gmu.edu/axis2/services/CDLService"

# Of NASS's <year>_30m_cdls.zip, as torchgeo records them. A sum in <zip>.md5 beside the file comes before these.
# None is known of 10 m files, of 2025, and of the second release of 2020 (see FIRST_2020).
NASS_MD5 = {
    2008: "0610f2f17ab60a9fbb3baeb7543993a4",
    2009: "663c8a5fdd92ebfc0d6bee008586d19a",
    2010: "98d354c5a62c9e3e40ccadce265c721c",
    2011: "517bad1a99beec45d90abb651fb1f0e3",
    2012: "286504ff0512e9fe1a1975c635a1bec2",
    2013: "7be66c650416dc7c4a945dd7fd93c5b7",
    2014: "50bdf9da84ebd0457ddd9e0bf9bbcc1f",
    2015: "2e92038ab62ba75e1687f60eecbdd055",
    2016: "fddc5dff0bccc617d70a12864c993e51",
    2017: "d173f942a70f94622f9b8290e7548684",
    2018: "4ad0d7802a9bb751685eb239b0fa8609",
    2019: "a5168a2fc93acbeaa93e24eee3d8c696",
    2021: "27606eab08fe975aa138baad3e5dfcd8",
    2022: "754cf50670cdfee511937554785de3e6",
    2023: "8c7685d6278d50c554f934b16a6076b7",
    2024: "841cd0cb8d4a9129cb1e4cfa0e40c286",
}
# NASS released 2020 again on 1 February 2022: the first release lay one pixel (30 m) too far west and north in 17
# western states. This sum was recorded when 2020 was the newest year, so it is of the first release.
FIRST_2020 = "483ee48c503aa81b684225179b402d42"
CDL_CORNER = (-2_356_095.0, 3_172_605.0)  # m, EPSG:5070: upper left of the national 30 m grid
CDL_SIDE = 30.0
ALBERS = CRS.from_epsg(5070)
DTYPES = ("uint8", "uint16")
MAX_CODE = 32_767  # the pixel table's label_code is int16
FRESH = {"CPL_VSIL_CURL_NON_CACHED": "/vsicurl/"}  # GDAL remembers failed answers; a rerun must ask again
CDL_KINDS = ("cdl", "planetary-computer", "cropscape")
TAG = "ARSET_LABELS"
SHAPEFILE = (".dbf", ".prj", ".shx", ".cpg")


@dataclass(frozen=True)
class Labels:
    """The label raster of one year.

    Attributes:
        year: Of the labels.
        path: One-band uint8 or uint16 GeoTIFF of label codes.
        confidence: One-band uint8 GeoTIFF, 0-100, on the same grid; None where there is none.
        identity: Hex digest of both files, so that a table knows which labels it was made from.
        simulated: Whether the labels are.
        about: What a made file was made from: ``text`` for people, and the same as JSON values, such as the fields
            read, drawn and lost. Empty for a raster that is used where it lies.
    """

    year: int
    path: Path
    confidence: Path | None
    identity: str
    simulated: bool
    about: dict = field(default_factory=dict, compare=False)


def find_labels(study: Study, year: int, cache: str | Path = "data/labels", progress: bool = True) -> Labels:
    """The label raster of a study for one year, fetched or made where needed.

    ``raster`` and ``simulated`` files on disk are used where they lie, unless their no data is another number than
    0, a mask of their own says where it is, or their CRS is not in metres on the ground (degrees, feet, Web Mercator
    far from the equator): those are made anew, the last ones in the UTM zone of the areas by nearest neighbour. Fields
    are drawn there, too, if the study names no CRS. Everything made ends as a GeoTIFF in ``cache`` that holds the
    areas' windows and 0 elsewhere; a second call uses it. What was made, from what, is printed each time.

    Args:
        study: Says which labels, and which areas they must cover.
        year: Of the labels.
        cache: Folder for what is fetched.
        progress: Show bars, and say what the labels were made from.

    Raises:
        CatalogueError: Not there, not a label raster, does not cover an area, no confidence where the study asks
            for it, service failed, or disk full.

    Lab: part1_build_dataset.
    """
    source, cache = study.labels.of(year), Path(cache)
    if what := study.labels.not_yearly(study.years):
        raise CatalogueError(
            f"[labels] {what} = {getattr(study.labels, what)!r} names one file for the years {list(study.years)}. "
            "Write {year} where the year stands, or same_every_year = true."
        )
    place = study.resolve(source.path) if source.path else ""
    try:
        own = source.kind in ("raster", "simulated") and "://" not in place
        if own:
            _undamaged(Path(place), year)
        if own and not _must_be_made(Path(place), study):
            path = Path(place)
            sure = Path(study.resolve(source.confidence)) if source.confidence else None
        else:
            stem = f"{source.kind}_{year}_{_key(study, place)}"
            path, sure = cache / f"{stem}.tif", cache / f"{stem}_confidence.tif"
            if not path.exists():
                _make(study, year, place, path, sure, progress)
                for made in filter(Path.exists, (path, sure)):
                    web.save(checksums.of(made), checksums.listed([made]).encode())
            sure = sure if sure.exists() else None
        for one in filter(None, (path, sure)):
            _undamaged(one, year)
        with _readable(path):
            _check(path, study, year)
    except ground.GridError as error:
        raise CatalogueError(str(error)) from None
    if sure:
        with _readable(sure):
            _check_same_grid(sure, path)
    elif study.min_confidence:
        raise CatalogueError(
            f"The study asks for a confidence of at least {study.min_confidence}, and the labels of {year} "
            f"({path}) have none. Give [labels] confidence a file on their grid, or set min_confidence = 0."
        )
    digest = hashlib.sha256("".join(_digest(p) for p in (path, sure) if p).encode()).hexdigest()[:16]
    about = _about(path)
    if progress and about:
        print(f"Labels of {year}: {about['text']}.")
    return Labels(year, path, sure, digest, study.simulated or source.kind == "simulated", about)


def _undamaged(file: Path, year: int) -> None:
    """Refuse a file whose bytes are not those of the list of checksums beside it."""
    try:
        checksums.check_beside(file)
    except checksums.ChecksumError as error:
        raise CatalogueError(f"The labels of {year} cannot be used: {error}.") from None


def _about(path: Path) -> dict:
    with rasterio.open(path) as src:
        return json.loads(src.tags().get(TAG, "{}"))


@contextlib.contextmanager
def _readable(path: Path):
    """Name the file where GDAL fails within it: cut short, or damaged."""
    try:
        with warnings.catch_warnings():  # that it lacks a grid is said by the checks, with the file's name
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            yield
    except rasterio.errors.RasterioError as error:
        raise CatalogueError(
            f"{path} is damaged or cut short: {error.__cause__ or error}. Fetch or make this file again."
        ) from None


def _must_be_made(path: Path, study: Study) -> bool:
    """Whether a label raster cannot be used where it lies; what is no raster is refused later."""
    try:
        with _readable(path), rasterio.open(path) as src:
            return (
                src.nodata not in (None, 0)
                or _masked(src)
                or (src.crs is not None and bool(ground.fault(CRS(src.crs), study.areas)) and src.count == 1)
            )
    except CatalogueError:
        return False


def _masked(src) -> bool:
    """Whether a raster has a mask of its own, which says where there is no data."""
    return MaskFlags.per_dataset in src.mask_flag_enums[0]


def raster_grid(study: Study, src) -> tuple[CRS, float, str]:
    """CRS and side of pixels (m) of the label grid of a raster, and why it is another than its own; else empty.

    Raises:
        GridError: Its metres are not metres on the ground, nor are those of [labels] crs.
    """
    own = CRS(src.crs)
    reason = ground.fault(own, study.areas)
    if not reason:
        return own, src.transform.a, ""
    crs, why = ground.grid_crs(study.labels.crs, study.areas)
    side = study.labels.resolution
    if side is None:
        bounds = shapely.total_bounds([a.outline(own.to_wkt()) for a in study.areas])
        if not np.isfinite(bounds).all():
            raise ground.GridError(f"The labels' CRS, {own.name}, does not reach the areas of the study.")
        centre = box(*bounds).centroid
        side = ground.pixel_side(own, centre.x, centre.y, src.transform.a, -src.transform.e)
        side = max(1.0, round(side)) if side > 0.75 else side
    named = f"EPSG:{own.to_epsg()}" if own.to_epsg() else own.name
    target = f"pixels of {side:g} m in {crs.to_string() if crs.to_epsg() else crs.name} ({why})"
    return crs, float(side), f"is in {named}, and {reason}; brought to {target} by nearest neighbour"


def _make(study: Study, year: int, place: str, path: Path, sure: Path, progress: bool) -> None:
    """Fetch or draw the labels; confidence first, so that a label file in the cache means that both are there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(path.with_suffix(".lock"), timeout=0), rasterio.Env(**web.GDAL_HTTP, **FRESH):
            match study.labels.kind:
                case "raster" | "simulated":
                    _from_url(study, year, place, path, sure)
                case "vector":
                    _from_fields(study, year, place, path)
                case "cdl":
                    _from_nass(study, year, path, sure, progress)
                case "planetary-computer":
                    _from_planetary_computer(study, year, path, sure)
                case "cropscape":
                    _from_cropscape(study, year, path, progress)
    except Timeout:
        raise CatalogueError(f"Another run is making {path}. Wait for it, then run this again.") from None
    except rasterio.errors.RasterioError as error:
        raise CatalogueError(
            f"Reading the labels of {year} failed: {redact(error)}. "
            "Run it again; if it stays, take another kind of [labels]: cdl, planetary-computer or a raster of your own."
        ) from None


def _key(study: Study, place: str) -> str:
    """Changes with all that changes the cut: areas, source, and the file of fields."""
    parts = [[a.bounds, a.crs] for a in study.areas], sorted(study.labels.facts().items()), study.min_confidence > 0
    text = repr(parts) + "".join(_digest(p) for p in _files_of(place))
    if study.labels.kind == "vector":
        text += "rules 2"  # how fields are drawn, since 2026
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def _files_of(place: str) -> list[Path]:
    """The files that make up a data set on disk: a shapefile has its codes in a .dbf, a geodatabase is a folder."""
    path = Path(place)
    if not place or "://" in place or not path.exists():
        return []
    if path.is_dir():
        return sorted(p for p in path.rglob("*") if p.is_file() and p.suffix != ".lock")
    beside = [path.with_name(f"{path.name}-wal")]  # what QGIS has not yet written into a GeoPackage
    if path.suffix.lower() == ".shp":
        beside = [p for p in path.parent.glob(f"{glob.escape(path.stem)}.*") if p.suffix.lower() in SHAPEFILE]
    return [path, *(p for p in sorted(beside) if p.is_file())]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# -- checks ----------------------------------------------------------------------------------------------------


def _check(path: Path, study: Study, year: int) -> None:
    """Refuse what is no label raster, and one that leaves part of an area out."""
    if not path.exists():
        raise CatalogueError(
            f"There are no labels of {year} at {path}. Check [labels] path and {{year}} in it, or the years asked for."
        )
    try:
        src = rasterio.open(path)
    except rasterio.errors.RasterioIOError as error:
        raise CatalogueError(f"{path} cannot be read as a raster: {error}. Fetch or make it anew.") from None
    with src:
        _check_raster(src, str(path))
        _check_grid(src, str(path))
        _check_stated(src, study, str(path))
        crs, side = CRS(src.crs), src.transform.a
        for area in study.areas:
            _check_cover(area, crs, side, [src.bounds], str(path))
            ground.check(crs, [area], f"{path} is in {crs.to_string() if crs.to_epsg() else crs.name}, which")
            window = _window(area, crs, src.transform.c, src.transform.f, side)
            inside = window.intersection(Window(0, 0, src.width, src.height))
            codes = src.read(1, window=inside)
            if not codes.any():
                raise CatalogueError(
                    f"{path} has no label anywhere in area {area.key!r}: all of it is no data. "
                    "Check the area's bounds and crs, or take the area out of the study."
                )
            if codes.max() > MAX_CODE:
                raise CatalogueError(
                    f"{path} has the code {codes.max()} in area {area.key!r}; codes go up to {MAX_CODE}. "
                    "Give the classes smaller numbers, or make that number the file's no data if it means that."
                )


def _check_raster(src, name: str) -> None:
    name = public(name)
    if src.count != 1 or src.dtypes[0] not in DTYPES:
        raise CatalogueError(
            f"{name} is no label raster: expected one band of uint8 or uint16 codes, "
            f"received {src.count} of {src.dtypes[0]}. If the numbers are codes, convert it: "
            "gdal_translate -b 1 -ot UInt16 in.tif out.tif. A picture of a map (3 bands) holds colours, not codes."
        )
    if src.crs is None or not (src.crs.is_projected or src.crs.is_geographic):
        raise CatalogueError(
            f"{name} has no CRS that says where on Earth it lies. Give it the one that it is in, e.g.: "
            "gdal_edit.py -a_srs EPSG:32633 in.tif"
        )


def _check_grid(src, name: str) -> None:
    """Refuse a raster that is not north-up with square pixels."""
    name, t = public(name), src.transform
    if t.b or t.d or t.a <= 0 or abs(t.a + t.e) > 1e-6 * t.a:
        raise CatalogueError(
            f"{name} is not north-up with square pixels (transform {tuple(t)[:6]}). "
            "Warp it: gdalwarp -tr 10 10 -r near in.tif out.tif"
        )


def _check_stated(src, study: Study, name: str) -> None:
    """Refuse a raster that is not on the grid which the study file states."""
    source, own = study.labels, CRS(src.crs)
    if source.kind not in ("raster", "simulated"):
        return
    asked = CRS(source.crs) if source.crs else own
    if not asked.is_geographic and None not in (asked.to_epsg(), own.to_epsg()) and asked.to_epsg() != own.to_epsg():
        raise CatalogueError(
            f"{name} is in EPSG:{own.to_epsg()} and [labels] crs says {source.crs!r}. Take crs out of [labels] to use "
            f"the raster's own grid, or warp the file: gdalwarp -t_srs {source.crs} -r near in.tif out.tif"
        )
    if source.resolution and abs(src.transform.a / source.resolution - 1) > 1e-6:
        raise CatalogueError(
            f"{name} has pixels of {src.transform.a:g} m and [labels] resolution says {source.resolution:g}. Take "
            "resolution out of [labels] to use the raster's own, or warp the file: "
            f"gdalwarp -tr {source.resolution:g} {source.resolution:g} -tap -r mode in.tif out.tif"
        )


def _check_cover(area: Area, crs: CRS, side: float, bounds: list, name: str) -> None:
    """Every pixel centre of the area must have a label: half a pixel may stick out."""
    outline = area.outline(crs.to_wkt())
    if not np.isfinite(outline.bounds).all():
        raise CatalogueError(
            f"{public(name)} does not cover area {area.key!r}: 100% of the area has no label; the file's CRS, "
            f"{crs.name}, does not reach it. Get labels for all of it, or move the area's bounds in the study file."
        )
    there = shapely.union_all([box(*b) for b in bounds])
    if there.buffer(side * 0.501, join_style="mitre").covers(outline):
        return
    missing = outline.difference(there)
    (w, s, e, n), (rw, rs, re_, rn) = outline.bounds, there.bounds
    beyond = {"west": rw - w, "south": rs - s, "east": e - re_, "north": n - rn}
    unit, size = ("°", 1) if crs.is_geographic else (" km", 1000 / crs.axis_info[0].unit_conversion_factor)
    sides = ", ".join(f"{d / size:.1f}{unit} to the {k}" for k, d in beyond.items() if d > side / 2)
    turned = dataclasses.replace(area, bounds=tuple(area.bounds[i] for i in (1, 0, 3, 2))).outline(crs.to_wkt())
    if np.isfinite(turned.bounds).all() and there.intersects(turned):
        sides += "; with x and y of its bounds swapped it would lie on the labels"
    raise CatalogueError(
        f"{public(name)} does not cover area {area.key!r}: {missing.area / outline.area:.0%} of the area has no label"
        f"{f'; it sticks out by {sides}' if sides else ''}. "
        "Get labels for all of it, or move the area's bounds in the study file."
    )


def _check_same_grid(sure: Path, path: Path) -> None:
    if not sure.exists():
        raise CatalogueError(f"There is no confidence layer at {sure}. Check [labels] confidence, or take it out.")
    with rasterio.open(sure) as a, rasterio.open(path) as b:
        same = a.shape == b.shape and a.transform.almost_equals(b.transform) and CRS(a.crs).equals(CRS(b.crs))
        if not same or a.dtypes[0] != "uint8":
            raise CatalogueError(
                f"{sure} must be uint8 on the grid of {path}; it is {a.dtypes[0]}, {a.shape} pixels at "
                f"({a.transform.c:g}, {a.transform.f:g}) against {b.shape} at ({b.transform.c:g}, {b.transform.f:g})."
            )


# -- grids -----------------------------------------------------------------------------------------------------


def majority(codes: np.ndarray, factor: int) -> np.ndarray:
    """Bring codes to coarser pixels: each takes the code that most of its parts have, the lowest one of a tie.

    Args:
        codes: (rows × factor, columns × factor) unsigned integers.
        factor: Parts along a side; 3 brings 10 m to 30 m.

    Returns:
        (rows, columns), same dtype.

    Lab: part1_build_dataset.
    """
    rows, cols = codes.shape[0] // factor, codes.shape[1] // factor
    out = np.empty((rows, cols), codes.dtype)
    step = max(1, (1 << 20) // max(cols, 1))  # rows at a time, to bound memory
    for top in range(0, rows, step):
        part = codes[top * factor : (top + step) * factor].reshape(-1, factor, cols, factor)
        part = np.sort(part.swapaxes(1, 2).reshape(-1, cols, factor * factor), axis=2)  # (r, cols, factor²)
        votes = np.zeros(part.shape, np.uint8)
        for k in range(factor * factor):
            votes += part == part[:, :, k : k + 1]
        winner = votes.argmax(axis=2)[:, :, None]  # the first of the largest, so the lowest code
        out[top : top + step] = np.take_along_axis(part, winner, axis=2)[:, :, 0]
    return out


def _window(area: Area, crs: CRS, left: float, top: float, side: float) -> Window:
    """The area's pixels on the grid whose corner is (left, top); may begin before it."""
    w, s, e, n = area.outline(crs.to_string()).bounds
    grain = 1e-6  # bounds that lie on the grid but for rounding do not ask for one more pixel
    col, row = int(np.floor((w - left) / side + grain)), int(np.floor((top - n) / side + grain))
    cols = int(np.ceil((e - left) / side - grain)) - col
    rows = int(np.ceil((top - s) / side - grain)) - row
    return Window(col, row, cols, rows)


def _take(src, left: float, top: float, rows: int, cols: int) -> np.ndarray:
    """(rows, cols) pixels from the one whose centre is the first right of ``left`` and below ``top``; 0 is no data."""
    t = src.transform
    col, row = (int(np.ceil(v - 0.5 - 1e-6)) for v in ((left - t.c) / t.a, (t.f - top) / t.a))
    out = np.zeros((rows, cols), src.dtypes[0])
    c0, c1, r0, r1 = max(col, 0), min(col + cols, src.width), max(row, 0), min(row + rows, src.height)
    if c0 < c1 and r0 < r1:
        window = Window(c0, r0, c1 - c0, r1 - r0)
        found = src.read(1, window=window)
        if _masked(src):
            found[src.read_masks(1, window=window) == 0] = 0
        out[r0 - row : r1 - row, c0 - col : c1 - col] = found
    if src.nodata:
        out[out == src.nodata] = 0
    return out


def _cut(study: Study, sources: list, path: Path, name: str, about: dict) -> None:
    """Write the areas' windows of rasters that share a grid, a CDL finer than asked for by majority of its pixels."""
    for src in sources:
        _check_raster(src, name)
        _check_grid(src, name)
    first = sources[0]
    t, albers = first.transform, _is_albers(CRS(first.crs))
    crs = ALBERS if albers else CRS(first.crs)
    wanted = study.labels.side if study.labels.kind in CDL_KINDS else t.a
    factor = max(1, round(wanted / t.a)) if albers else 1
    if wanted != t.a and abs(factor * t.a - wanted) > 1e-6:
        raise CatalogueError(f"{public(name)} has pixels of {t.a:g} m, which do not fit into the {wanted:g} m grid.")
    side, corner = (wanted, CDL_CORNER) if factor > 1 else (t.a, (t.c, t.f))
    if factor > 1:
        about = about | {"text": f"{about['text']}, its pixels of {t.a:g} m brought to {wanted:g} m by majority"}
    for area in study.areas:
        _check_cover(area, crs, side, [src.bounds for src in sources], name)

    def pixels(left, top, rows, cols) -> np.ndarray:
        out = np.zeros((rows * factor, cols * factor), first.dtypes[0])
        for src in sources:
            out = np.maximum(out, _take(src, left, top, *out.shape))
        return majority(out, factor) if factor > 1 else out

    try:
        colours = first.colormap(1)
    except ValueError:
        colours = None
    _write(study.areas, path, crs, side, corner, first.dtypes[0], pixels, lambda: about, colours)


def _is_albers(crs: CRS) -> bool:
    """Whether a CRS is CONUS Albers, whatever its file calls it: some CDL files name no EPSG code."""
    operation = crs.coordinate_operation
    if operation is None or "Albers" not in operation.method_name:
        return False
    return sorted(p.value for p in operation.params) == [-96.0, 0.0, 0.0, 23.0, 29.5, 45.5]


def _write(areas, path: Path, crs: CRS, side: float, corner, dtype: str, pixels, about, colours=None) -> None:
    """Write the areas' windows into one GeoTIFF that spans them all, and read it back before it gets its name.

    ``about`` is asked when all pixels are drawn, and goes into the file's tag.
    """
    windows = [_window(a, crs, *corner, side) for a in areas]
    col, row = (int(min(getattr(w, k) for w in windows)) for k in ("col_off", "row_off"))
    width = int(max(w.col_off + w.width for w in windows)) - col
    height = int(max(w.row_off + w.height for w in windows)) - row
    left, top = corner[0] + col * side, corner[1] - row * side
    part = path.with_name(f"{path.name}.part")
    profile = {
        "driver": "GTiff", "dtype": dtype, "count": 1, "width": width, "height": height, "crs": crs.to_wkt(),
        "transform": from_origin(left, top, side, side), "tiled": True, "blockxsize": 256, "blockysize": 256,
        "compress": "deflate", "sparse_ok": True,
    }  # fmt: skip
    try:
        sums = {}
        with rasterio.open(part, "w", **profile) as out:
            for w in windows:
                place = Window(w.col_off - col, w.row_off - row, w.width, w.height)
                block = pixels(corner[0] + w.col_off * side, corner[1] - w.row_off * side, int(w.height), int(w.width))
                out.write(block, 1, window=place)
                sums[place] = zlib.crc32(np.ascontiguousarray(block))
            if colours:
                out.write_colormap(1, colours)
            out.update_tags(**{TAG: json.dumps(about(), ensure_ascii=True)})
        with rasterio.open(part) as back:
            whole = all(zlib.crc32(back.read(1, window=place)) == crc for place, crc in sums.items())
    except CatalogueError:
        part.unlink(missing_ok=True)
        raise
    except (rasterio.errors.RasterioIOError, rasterio._err.CPLE_BaseError, OSError) as error:
        free = shutil.disk_usage(path.parent).free
        part.unlink(missing_ok=True)
        raise CatalogueError(
            f"Cannot write {path} ({redact(error)}); {free / 1e9:.2f} GB are free there. Free some space and "
            "run it again."
        ) from None
    if not whole:
        part.unlink(missing_ok=True)
        raise CatalogueError(f"{path} was not written whole; is the disk full? Free some space and run it again.")
    os.replace(part, path)


# -- sources ---------------------------------------------------------------------------------------------------


def _from_url(study: Study, year: int, place: str, path: Path, sure: Path) -> None:
    source = study.labels.of(year)
    targets = [(study.resolve(source.confidence), sure)] if source.confidence else []
    for file, target in (*targets, (place, path)):
        with ExitStack() as stack:
            src, text = _on_ground(study, stack.enter_context(rasterio.open(web.sign(file))), file, stack)
            _cut(study, [src], target, file, {"file": public(file), "text": text})


def _on_ground(study: Study, src, name: str, stack: ExitStack):
    """A raster, or a view of it on a grid of metres, and what was done to it in words."""
    _check_raster(src, name)
    for area in study.areas:
        _check_cover(area, CRS(src.crs), src.transform.a, [src.bounds], name)
    crs, side, why = raster_grid(study, src)
    name = public(name) if "://" in name else Path(name).name
    if not why:
        return src, f"{name}, cut to the areas"
    west, south, east, north = shapely.total_bounds([a.outline(crs.to_wkt()) for a in study.areas])
    left, top = (math.floor(west / side) - 1) * side, (math.ceil(north / side) + 1) * side
    cols, rows = math.ceil((east - left) / side) + 1, math.ceil((top - south) / side) + 1
    view = WarpedVRT(
        src, crs=crs.to_wkt(), transform=from_origin(left, top, side, side), width=cols, height=rows,
        resampling=Resampling.nearest, tolerance=0.001,
    )  # fmt: skip
    return stack.enter_context(view), f"{name} {why}"


def _from_fields(study: Study, year: int, place: str, path: Path) -> None:
    """Draw fields (or points) on a grid: a pixel takes the code of the field in which its centre lies.

    Pixels of no field, and of fields of different codes, are 0, no data.
    """
    source = study.labels.of(year)
    crs, why = ground.grid_crs(source.crs, study.areas)
    fields = vectors.read_fields(place, source.layer, source.code_column, crs, study.areas)
    drawing = vectors.Drawing(fields, source.side)

    def about() -> dict:
        counted = drawing.close()
        grid = f"pixels of {source.side:g} m in {crs.to_string() if crs.to_epsg() else crs.name} ({why})"
        return counted | {"text": f"{vectors.told(counted)}; {grid}"}

    _write(study.areas, path, crs, source.side, (0.0, 0.0), drawing.dtype, drawing.window, about)


def _from_nass(study: Study, year: int, path: Path, sure: Path, progress: bool) -> None:
    """NASS's national file, of which the areas' windows stay: some 2 GB a year at 30 m, some 10 GB at 10 m."""
    side = f"{study.labels.side:g}m"
    if study.labels.side < CDL_SIDE and year < CDL_10_M:
        raise CatalogueError(
            f"The Cropland Data Layer of {year} has pixels of 30 m; 10 m begins with {CDL_10_M}. "
            "Set [labels] resolution = 30."
        )
    if study.min_confidence > 0:
        names = [f"{year}_{side}_{word}.zip" for word in ("confidence_layer", "Confidence_Layer")]
        _cut_zip(study, names, None, sure, progress)
    names = [f"{year}_{side}_cdls.zip", *([f"{year}_10m_cdls.zip"] if year >= CDL_10_M and side != "10m" else [])]
    _cut_zip(study, names, year, path, progress)


def _cut_zip(study: Study, names: list[str], year: int | None, path: Path, progress: bool) -> None:
    """Cut the first of these zips that NASS has; one that lies in the cache already is used and stays.

    The checksum of a zip that proved good is noted beside it and holds for later downloads.
    """
    with FileLock(path.parent / f"{names[0]}.lock", timeout=0):
        file, fetched = _zip(path.parent, names, year, progress)
        known = _expected(file, year)
        md5 = web.md5_of(file)
        raw = path.parent / f"{file.stem}.tif.part"
        try:
            _extract(file, raw)
            with rasterio.open(raw) as src:
                _cut(study, [src], path, file.name, _edition(file, year, md5, known))
        finally:
            raw.unlink(missing_ok=True)
        web.save(file.with_name(f"{file.name}.md5"), f"{md5}\n".encode())
        if fetched:
            file.unlink()


def _edition(file: Path, year: int | None, md5: str, known: str | None) -> dict:
    """Which file of NASS's it is, as JSON values and in words."""
    size = file.stat().st_size
    if year == 2020 and md5 == FIRST_2020:
        release = (
            "its checksum is that of the first release of 2020, which lies one pixel (30 m) too far west and north in "
            f"17 western states; for those, delete it and fetch the release of February 2022 from {NASS}"
        )
    elif known == md5:
        release = "its checksum is the known one"
    else:
        release = "no checksum of this file is known, so only its size and content were checked"
    text = f"NASS's {file.name}, {size / 1e6:,.1f} MB, md5 {md5}: {release}"
    return {"file": file.name, "bytes": size, "md5": md5, "release": release, "text": text}


def _zip(folder: Path, names: list[str], year: int | None, progress: bool) -> tuple[Path, bool]:
    """A zip with the right checksum, where one is known, and whether it was fetched now."""
    file = next((folder / n for n in names if (folder / n).exists()), None)
    fetched = file is None
    for name in names if fetched else ():
        try:
            file = web.download(f"{NASS}/{name}", folder / name, _expected(folder / name, year), progress)
            break
        except CatalogueError as error:
            if "HTTP 404" not in str(error) or name == names[-1]:
                raise
    expected = _expected(file, year)
    if not fetched and expected and (received := web.md5_of(file)) != expected:
        raise CatalogueError(f"{file} should have md5 {expected}; it has {received}. Delete it and run this again.")
    return file, fetched


def _expected(file: Path, year: int | None) -> str | None:
    note = file.with_name(f"{file.name}.md5")
    if note.exists():
        return note.read_text(encoding="utf-8").split()[0]
    return NASS_MD5.get(year) if file.name == f"{year}_30m_cdls.zip" else None


def _extract(file: Path, out: Path) -> None:
    """Take the one GeoTIFF out of a zip, under a name of ours: no name in the zip decides where bytes go."""
    try:
        with zipfile.ZipFile(file) as archive:
            for info in archive.infolist():
                name = PurePosixPath(info.filename.replace("\\", "/"))
                link = stat.S_ISLNK(info.external_attr >> 16)
                if link or name.is_absolute() or ".." in name.parts or re.match(r"[A-Za-z]:", info.filename):
                    raise CatalogueError(
                        f"{file} holds {'a link' if link else 'a name that leads out of the folder'}: "
                        f"{info.filename!r}. That is no file of NASS's; delete it and fetch it from {NASS}."
                    )
            rasters = [i for i in archive.infolist() if i.filename.lower().endswith(".tif")]
            if len(rasters) != 1:
                found = [i.filename for i in rasters] or archive.namelist()[:5]
                raise CatalogueError(f"{file} should hold one GeoTIFF; it holds {found}. Delete it and run this again.")
            free = shutil.disk_usage(out.parent).free
            if rasters[0].file_size > free:
                raise CatalogueError(
                    f"{file} unpacks to {rasters[0].file_size / 1e9:.1f} GB and {free / 1e9:.1f} GB are free in "
                    f"{out.parent}. Free some space and run this again."
                )
            with archive.open(rasters[0]) as source, out.open("wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise CatalogueError(f"{file} is a damaged zip ({error}). Delete it and run this again.") from None
    except OSError as error:
        raise CatalogueError(
            f"Cannot unpack {file} into {out.parent}: {error.strerror}. Free some space and run this again."
        ) from None


def _from_planetary_computer(study: Study, year: int, path: Path, sure: Path) -> None:
    """Tiles of the collection ``usda-cdl``, with confidence; to 2021."""
    ground = shapely.union_all([a.outline() for a in study.areas])
    when = f"{year}-01-01T00:00:00Z/{year}-12-31T23:59:59Z"
    items = {i["id"]: i for i in web.search(PLANETARY_COMPUTER, "usda-cdl", mapping(ground), when)}
    tiles = [i["assets"] for i in items.values() if "cropland" in i["assets"] and _is_of(i, year)]
    if not tiles:
        raise CatalogueError(
            f"Planetary Computer has no usda-cdl of {year} for these areas (it ends with 2021). "
            "Set [labels] kind = 'cdl' for NASS's own file."
        )
    for asset, target in (("confidence", sure), ("cropland", path)):
        hrefs = sorted({t[asset]["href"] for t in tiles if asset in t})
        if hrefs:
            with ExitStack() as stack:
                sources = [stack.enter_context(rasterio.open(web.sign(h))) for h in hrefs]
                name = f"Planetary Computer's usda-cdl of {year}"
                _cut(study, sources, target, name, {"file": name, "text": name})


def _is_of(item: dict, year: int) -> bool:
    p = item["properties"]
    return str(p.get("start_datetime") or p.get("datetime") or "").startswith(str(year))


def _from_cropscape(study: Study, year: int, path: Path, progress: bool) -> None:
    """The CropScape service, which is often down: one GeoTIFF per area, each answer looked at before it is used."""
    files = []
    try:
        with ExitStack() as stack:
            for area in study.areas:
                files.append(path.with_name(f"{path.stem}_{area.key}.tif.part"))
                web.download(_cropscape_link(area, year), files[-1], progress=progress)
            sources = [stack.enter_context(rasterio.open(f)) for f in files]
            for src in sources:
                if src.crs is None or not _is_albers(CRS(src.crs)):
                    raise CatalogueError(f"CropScape's file is in {src.crs}, expected EPSG:5070. {_RATHER}")
            name = f"CropScape's answer for {year}"
            _cut(study, sources, path, name, {"file": name, "text": name})
    except rasterio.errors.RasterioIOError:
        raise CatalogueError(f"What CropScape sent for {year} is no GeoTIFF. {_RATHER}") from None
    finally:
        for file in files:
            file.unlink(missing_ok=True)


_RATHER = "Set [labels] kind = 'cdl' (NASS's file) or 'planetary-computer' instead: this service often fails."


def _cropscape_link(area: Area, year: int) -> str:
    w, s, e, n = area.outline("EPSG:5070").bounds
    bounds = ",".join(str(int(v)) for v in (w - 45, s - 45, e + 45, n + 45))  # a pixel more on each side
    said = web.ask(f"{CROPSCAPE}/GetCDLFile?year={year}&bbox={bounds}").text
    found = re.search(r"<returnURL>\s*(.*?)\s*</returnURL>", said, re.DOTALL)
    if not found:
        text = redact(" ".join(re.sub(r"<[^>]*>", " ", said).split()))[:160]
        raise CatalogueError(f"CropScape gave no file for area {area.key!r} in {year}; it said: {text!r}. {_RATHER}")
    link = urljoin(CROPSCAPE, found[1])
    if urlsplit(link).hostname != urlsplit(CROPSCAPE).hostname or urlsplit(link).scheme not in ("http", "https"):
        raise CatalogueError(f"CropScape sends to another place, {public(link)}, which is not followed. {_RATHER}")
    return link
