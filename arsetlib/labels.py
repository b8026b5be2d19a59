"""Label rasters: a GeoTIFF of your own, the Cropland Data Layer from three sources, or fields from a vector file.

Whatever the source, what comes out is one GeoTIFF of whole-number codes on one metric grid, checked to cover every
area of the study. Of national files only the windows of the areas are kept.

Sources: USDA NASS Cropland Data Layer (https://www.nass.usda.gov/Research_and_Science/Cropland/), Planetary
Computer ``usda-cdl``, CropScape (https://nassgeodata.gmu.edu/CropScape/). Lab: part1_build_dataset.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import stat
import warnings
import zipfile
import zlib
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urljoin, urlsplit

import numpy as np
import rasterio
import shapely
from filelock import FileLock, Timeout
from pyproj import CRS, Transformer
from rasterio.features import rasterize
from rasterio.transform import from_origin
from rasterio.windows import Window
from shapely.geometry import box, mapping

from arsetlib import checksums, web
from arsetlib.study import Area, Study
from arsetlib.web import CatalogueError, public, redact

__all__ = ["Labels", "find_labels", "majority"]

NASS = "https://www.nass.usda.gov/Research_and_Science/Cropland/Release/datasets"
PLANETARY_COMPUTER = "https://planetarycomputer.microsoft.com/api/stac/v1"
CROPSCAPE = "https://nassgeodata.gmu.edu/axis2/services/CDLService"

# Of NASS's <year>_30m_cdls.zip, as torchgeo records them. A sum in <zip>.md5 beside the file comes before these.
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
    2020: "483ee48c503aa81b684225179b402d42",
    2021: "27606eab08fe975aa138baad3e5dfcd8",
    2022: "754cf50670cdfee511937554785de3e6",
    2023: "8c7685d6278d50c554f934b16a6076b7",
    2024: "841cd0cb8d4a9129cb1e4cfa0e40c286",
}
CDL_CORNER = (-2_356_095.0, 3_172_605.0)  # m, EPSG:5070: upper left of the national 30 m grid
CDL_SIDE = 30.0
ALBERS = CRS.from_epsg(5070)
DTYPES = ("uint8", "uint16")
MAX_CODE = 32_767  # the pixel table's label_code is int16
FRESH = {"CPL_VSIL_CURL_NON_CACHED": "/vsicurl/"}  # GDAL remembers failed answers; a rerun must ask again
CDL_KINDS = ("cdl", "planetary-computer", "cropscape")


@dataclass(frozen=True)
class Labels:
    """The label raster of one year.

    Attributes:
        year: Of the labels.
        path: One-band uint8 or uint16 GeoTIFF of label codes.
        confidence: One-band uint8 GeoTIFF, 0-100, on the same grid; None where there is none.
        identity: Hex digest of both files, so that a table knows which labels it was made from.
        simulated: Whether the labels are.
    """

    year: int
    path: Path
    confidence: Path | None
    identity: str
    simulated: bool


def find_labels(study: Study, year: int, cache: str | Path = "data/labels", progress: bool = True) -> Labels:
    """The label raster of a study for one year, fetched or made where needed.

    ``raster`` and ``simulated`` files on disk are used where they lie, unless their no data is another number than
    0. Everything else ends as a GeoTIFF in ``cache`` that holds the areas' windows and 0 elsewhere; a second call
    uses it.

    Args:
        study: Says which labels, and which areas they must cover.
        year: Of the labels.
        cache: Folder for what is fetched.
        progress: Show bars.

    Raises:
        CatalogueError: Not there, not a label raster, does not cover an area, no confidence where the study asks
            for it, service failed, or disk full.

    Lab: part1_build_dataset.
    """
    source, cache = study.labels, Path(cache)
    place = study.resolve(source.path.replace("{year}", str(year))) if source.path else ""
    if source.kind in ("raster", "simulated") and "://" not in place and not _other_nodata(Path(place)):
        path = Path(place)
        sure = Path(study.resolve(source.confidence.replace("{year}", str(year)))) if source.confidence else None
    else:
        stem = f"{source.kind}_{year}_{_key(study, place)}"
        path, sure = cache / f"{stem}.tif", cache / f"{stem}_confidence.tif"
        if not path.exists():
            _make(study, year, place, path, sure, progress)
            for made in filter(Path.exists, (path, sure)):
                web.save(checksums.of(made), checksums.listed([made]).encode())
        sure = sure if sure.exists() else None
    for one in filter(None, (path, sure)):
        try:
            checksums.check_beside(one)
        except checksums.ChecksumError as error:
            raise CatalogueError(f"The labels of {year} cannot be used: {error}.") from None
    with _readable(path):
        _check(path, study.areas, year)
    if sure:
        with _readable(sure):
            _check_same_grid(sure, path)
    elif study.min_confidence:
        raise CatalogueError(
            f"The study asks for a confidence of at least {study.min_confidence}, and the labels of {year} "
            f"({path}) have none. Give [labels] confidence a file on their grid, or set min_confidence = 0."
        )
    digest = hashlib.sha256("".join(_digest(p) for p in (path, sure) if p).encode()).hexdigest()[:16]
    return Labels(year, path, sure, digest, study.simulated or source.kind == "simulated")


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


def _other_nodata(path: Path) -> bool:
    """Whether a label raster marks no data by another number than 0; what is no raster is refused later."""
    try:
        with _readable(path), rasterio.open(path) as src:
            return src.nodata not in (None, 0)
    except CatalogueError:
        return False


def _make(study: Study, year: int, place: str, path: Path, sure: Path, progress: bool) -> None:
    """Fetch or draw the labels; confidence first, so that a label file in the cache means that both are there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(path.with_suffix(".lock"), timeout=0), rasterio.Env(**web.GDAL_HTTP, **FRESH):
            match study.labels.kind:
                case "raster" | "simulated":
                    _from_url(study, year, place, path, sure)
                case "vector":
                    _from_fields(study, place, path)
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
    parts = [[a.bounds, a.crs] for a in study.areas], sorted(asdict(study.labels).items()), study.min_confidence > 0
    text = repr(parts) + (_digest(Path(place)) if place and "://" not in place and Path(place).is_file() else "")
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# -- checks ----------------------------------------------------------------------------------------------------


def _check(path: Path, areas: Iterable[Area], year: int) -> None:
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
        crs, side = CRS(src.crs), src.transform.a
        for area in areas:
            _check_cover(area, crs, side, [src.bounds], str(path))
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
    if src.crs is None or not src.crs.is_projected:
        raise CatalogueError(
            f"{name} is in {src.crs or 'no CRS'}; labels need a grid in metres. Bring it to one, e.g.: "
            "gdalwarp -t_srs EPSG:32633 -tr 10 10 -tap -r near in.tif out.tif"
        )
    t = src.transform
    if t.b or t.d or t.a <= 0 or abs(t.a + t.e) > 1e-6 * t.a:
        raise CatalogueError(
            f"{name} is not north-up with square pixels (transform {tuple(t)[:6]}). "
            "Warp it: gdalwarp -tr 10 10 -r near in.tif out.tif"
        )


def _check_cover(area: Area, crs: CRS, side: float, bounds: list, name: str) -> None:
    """Every pixel centre of the area must have a label: half a pixel may stick out."""
    outline = area.outline(crs.to_string())
    there = shapely.union_all([box(*b) for b in bounds])
    if there.buffer(side * 0.501, join_style="mitre").covers(outline):
        return
    missing = outline.difference(there)
    (w, s, e, n), (rw, rs, re_, rn) = outline.bounds, there.bounds
    beyond = {"west": rw - w, "south": rs - s, "east": e - re_, "north": n - rn}
    sides = ", ".join(f"{d / 1000:.1f} km to the {k}" for k, d in beyond.items() if d > side / 2)
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
        out[r0 - row : r1 - row, c0 - col : c1 - col] = src.read(1, window=Window(c0, r0, c1 - c0, r1 - r0))
    if src.nodata:
        out[out == src.nodata] = 0
    return out


def _cut(study: Study, sources: list, path: Path, name: str) -> None:
    """Write the areas' windows of rasters that share a grid, finer ones brought to the CDL's 30 m by majority."""
    for src in sources:
        _check_raster(src, name)
    first = sources[0]
    t, albers = first.transform, _is_albers(CRS(first.crs))
    crs = ALBERS if albers else CRS(first.crs)
    factor = round(CDL_SIDE / t.a) if albers and t.a < CDL_SIDE and study.labels.kind in CDL_KINDS else 1
    if factor > 1 and abs(factor * t.a - CDL_SIDE) > 1e-6:
        raise CatalogueError(f"{public(name)} has pixels of {t.a:g} m, which do not fit into the {CDL_SIDE:g} m grid.")
    side, corner = (CDL_SIDE, CDL_CORNER) if factor > 1 else (t.a, (t.c, t.f))
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
    _write(study.areas, path, crs, side, corner, first.dtypes[0], pixels, colours)


def _is_albers(crs: CRS) -> bool:
    """Whether a CRS is CONUS Albers, whatever its file calls it: some CDL files name no EPSG code."""
    operation = crs.coordinate_operation
    if operation is None or "Albers" not in operation.method_name:
        return False
    return sorted(p.value for p in operation.params) == [-96.0, 0.0, 0.0, 23.0, 29.5, 45.5]


def _write(areas, path: Path, crs: CRS, side: float, corner, dtype: str, pixels, colours=None) -> None:
    """Write the areas' windows into one GeoTIFF that spans them all, and read it back before it gets its name."""
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
        with rasterio.open(part) as back:
            whole = all(zlib.crc32(back.read(1, window=place)) == crc for place, crc in sums.items())
    except (rasterio.errors.RasterioIOError, rasterio._err.CPLE_BaseError, OSError) as error:
        free = shutil.disk_usage(path.parent).free
        part.unlink(missing_ok=True)
        raise CatalogueError(
            f"Cannot write {path} ({redact(error)}); {free / 1e9:.2f} GB are free there. Make room and run it again."
        ) from None
    if not whole:
        part.unlink(missing_ok=True)
        raise CatalogueError(f"{path} was not written whole; is the disk full? Make room and run it again.")
    os.replace(part, path)


# -- sources ---------------------------------------------------------------------------------------------------


def _from_url(study: Study, year: int, place: str, path: Path, sure: Path) -> None:
    source = study.labels
    if source.confidence:
        other = study.resolve(source.confidence.replace("{year}", str(year)))
        with rasterio.open(web.sign(other)) as src:
            _cut(study, [src], sure, other)
    with rasterio.open(web.sign(place)) as src:
        _cut(study, [src], path, place)


def _from_fields(study: Study, place: str, path: Path) -> None:
    """Draw fields (or points) on a grid: a pixel takes the code of the field in which its centre lies.

    Where fields overlap the later one in the file wins; pixels of no field are 0, no data.
    """
    shapes, codes = _fields(study, place)
    source = study.labels
    dtype = "uint8" if codes.max() < 256 else "uint16"
    tree = shapely.STRtree(shapes)

    def pixels(left, top, rows, cols) -> np.ndarray:
        side = source.resolution
        here = np.sort(tree.query(box(left, top - rows * side, left + cols * side, top)))
        if not here.size:
            return np.zeros((rows, cols), dtype)
        pairs = zip(shapes[here], codes[here].tolist(), strict=True)
        grid = from_origin(left, top, side, side)
        return rasterize(pairs, (rows, cols), fill=0, transform=grid, all_touched=False, dtype=dtype)

    _write(study.areas, path, CRS(source.crs), source.resolution, (0.0, 0.0), dtype, pixels)


def _fields(study: Study, place: str) -> tuple[np.ndarray, np.ndarray]:
    """(N,) shapes in the label CRS and their (N,) codes."""
    try:
        from pyogrio import read_info
        from pyogrio.errors import DataSourceError
        from pyogrio.raw import read
    except ImportError:
        raise CatalogueError("Fields need pyogrio. Install it: pip install 'arsetlib[vector]'.") from None
    column = study.labels.code_column
    try:
        known = list(read_info(place)["fields"])
        if column not in known:
            raise CatalogueError(
                f"{place} has no column {column!r}; it has {', '.join(known)}. Set [labels] code_column."
            )
        meta, _, geometry, (codes,) = read(place, columns=[column])
    except DataSourceError as error:
        raise CatalogueError(f"{place} cannot be read as a vector file: {error}. Check [labels] path.") from None
    if not len(codes) or meta["crs"] is None:
        raise CatalogueError(f"{place} has {'no CRS' if len(codes) else 'no fields'}. Export it again with both.")
    number = np.asarray(codes, float) if np.asarray(codes).dtype.kind in "iuf" else np.full(len(codes), np.nan)
    bad = ~(np.isfinite(number) & (number == np.round(number)) & (number > 0) & (number <= MAX_CODE))
    if bad.any():
        raise CatalogueError(
            f"{place}: column {column!r} must hold whole numbers from 1 to {MAX_CODE} (0 is no label); "
            f"row {int(bad.argmax())} has {str(codes[bad.argmax()])!r}."
        )
    change = Transformer.from_crs(meta["crs"], study.labels.crs, always_xy=True)
    shapes = shapely.from_wkb(geometry)
    shapes = shapely.transform(shapes, lambda p: np.column_stack(change.transform(p[:, 0], p[:, 1])))
    there = ~(shapely.is_missing(shapes) | shapely.is_empty(shapes))
    return shapes[there], number[there].astype(np.int64)


def _from_nass(study: Study, year: int, path: Path, sure: Path, progress: bool) -> None:
    """NASS's national file: some 2 GB a year, of which the areas' windows stay."""
    if study.min_confidence > 0:
        names = [f"{year}_30m_{word}.zip" for word in ("confidence_layer", "Confidence_Layer")]
        _cut_zip(study, names, None, sure, progress)
    names = [f"{year}_30m_cdls.zip", *([f"{year}_10m_cdls.zip"] if year >= 2024 else [])]
    _cut_zip(study, names, year, path, progress)


def _cut_zip(study: Study, names: list[str], year: int | None, path: Path, progress: bool) -> None:
    """Cut the first of these zips that NASS has; one that lies in the cache already is used and stays.

    The checksum of a zip that proved good is noted beside it and holds for later downloads.
    """
    with FileLock(path.parent / f"{names[0]}.lock", timeout=0):
        file, fetched = _zip(path.parent, names, year, progress)
        raw = path.parent / f"{file.stem}.tif.part"
        try:
            _extract(file, raw)
            with rasterio.open(raw) as src:
                _cut(study, [src], path, file.name)
        finally:
            raw.unlink(missing_ok=True)
        web.save(file.with_name(f"{file.name}.md5"), f"{web.md5_of(file)}\n".encode())
        if fetched:
            file.unlink()


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
                    f"{out.parent}. Make room and run this again."
                )
            with archive.open(rasters[0]) as source, out.open("wb") as target:
                shutil.copyfileobj(source, target, 1 << 20)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise CatalogueError(f"{file} is a damaged zip ({error}). Delete it and run this again.") from None
    except OSError as error:
        raise CatalogueError(
            f"Cannot unpack {file} into {out.parent}: {error.strerror}. Make room and run this again."
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
                _cut(study, sources, target, f"Planetary Computer's usda-cdl of {year}")


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
            _cut(study, sources, path, f"CropScape's answer for {year}")
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
