"""Label rasters: the checks that every one must pass, and the writing of one."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import shutil
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import rasterio
import shapely
from pyproj import CRS
from rasterio.enums import MaskFlags, Resampling
from rasterio.transform import from_origin
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window
from shapely.geometry import box

from arsetlib import checksums, copies, filetypes, folders, ground
from arsetlib.study import MAX_CODE, Area, Study
from arsetlib.web import CatalogueError, public, redact

CDL_CORNER = (-2_356_095.0, 3_172_605.0)  # m, EPSG:5070: upper left of the national 30 m grid
CDL_SIDE = 30.0
CDL_KINDS = ("cdl", "planetary-computer", "cropscape")  # kinds of labels that are the Cropland Data Layer
ALBERS = CRS.from_epsg(5070)
DTYPES = ("uint8", "uint16")
TAG = "ARSET_LABELS"
FILLER = 255  # what most tools write for no data in a raster of 8 bits


# -- checks -----------------------------------------------------------------------------------------------------------


def check_undamaged(file: Path, year: int) -> None:
    """Refuse a file whose bytes differ from the list of checksums beside it."""
    try:
        checksums.check_beside(file)
    except checksums.ChecksumError as error:
        raise CatalogueError(f"The labels of {year} cannot be used: {error}.") from None


@contextlib.contextmanager
def readable(path: Path) -> Iterator[None]:
    """Name the file where GDAL fails to read it: cut short, or damaged."""
    try:
        with warnings.catch_warnings():  # the checks say it, with the file's name
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            yield
    except rasterio.errors.RasterioError as error:
        raise CatalogueError(
            f"{path} is damaged or cut short: {_reason(error.__cause__ or error)}. Fetch or make this file again."
        ) from None


def _reason(error: BaseException) -> str:
    return str(error).rstrip(".")


def is_masked(src: rasterio.DatasetReader) -> bool:
    """Whether a raster has a mask of its own for no data."""
    return MaskFlags.per_dataset in src.mask_flag_enums[0]


def check(path: Path, study: Study, year: int) -> None:
    """Refuse a file that is not a label raster, and one that does not cover an area."""
    if not path.exists():
        raise CatalogueError(
            f"There are no labels of {year} at {path}. Check [labels] path and {{year}} in it, or the years asked for."
        )
    if isinstance(path, Path) and path.is_dir():
        raise CatalogueError(f"{path} is a folder; expected one raster. Name the file in [labels] path.")
    try:
        src = rasterio.open(copies.fetched(path))
    except rasterio.errors.RasterioIOError as error:
        if found := filetypes.placeholder(path, "raster"):
            raise CatalogueError(f"{path} {found}") from None
        raise CatalogueError(f"{path} cannot be read as a raster: {_reason(error)}. Fetch or make it again.") from None
    with src:
        _check_raster(src, str(path))
        _check_grid(src, str(path))
        _check_stated(src, study, str(path))
        crs, side = CRS(src.crs), src.transform.a
        for area in study.areas:
            _check_cover(area, crs, side, [src.bounds], str(path))
            ground.check(crs, [area], f"{path} is in {ground.crs_name(crs)}, which")
            window = _window(area, crs, src.transform.c, src.transform.f, side)
            inside = window.intersection(Window(0, 0, src.width, src.height))
            codes = src.read(1, window=inside)
            if not codes.any():
                raise CatalogueError(
                    f"{path} has no label anywhere in area {area.key!r}: all of it is no data. "
                    "Check the area's bounds and crs, or remove the area from the study."
                )
            _check_codes(codes, src, study, area, path)
            if codes.max() > MAX_CODE:
                raise CatalogueError(
                    f"{path} has the code {codes.max()} in area {area.key!r}; codes go up to {MAX_CODE}. "
                    "Give the classes smaller numbers, or make that number the file's no data if it means that."
                )


def _check_codes(codes: np.ndarray, src: rasterio.DatasetReader, study: Study, area: Area, path: Path) -> None:
    """Refuse 0 as the code of a class, and 255 that fills a raster of 8 bits without being named in the legend."""
    of_class = {c.key: c.codes for c in study.legend.classes if c.codes != "others"}
    zero = [key for key, listed in of_class.items() if 0 in listed]
    if zero and not codes.all():
        raise CatalogueError(
            f"The class {zero[0]!r} has the code 0, and in a label raster 0 means no label: "
            f"{np.count_nonzero(codes == 0):,} pixels of {path} in area {area.key!r} would have none. "
            "Give that class another number in the raster and in the study file, or remove 0 from its codes."
        )
    named = {code for listed in of_class.values() for code in listed} | set(study.legend.excluded)
    count = int(np.count_nonzero(codes == FILLER)) if src.dtypes[0] == "uint8" and FILLER not in named else 0
    if count:
        raise CatalogueError(
            f"{path} has the code {FILLER} on {count:,} pixels of area {area.key!r}, and the study file does not name "
            f"it. If it means no data, state it in the file: gdal_edit.py -a_nodata {FILLER} {path.name}. "
            "If it is a code, list it in the codes of a class or in excluded of [legend]."
        )


def _check_lossless(src: rasterio.DatasetReader, name: str) -> None:
    """Refuse a compression that changes codes."""
    if losses := filetypes.saved_with_losses(src):
        raise CatalogueError(
            f"{public(name)} was saved as {losses}: its numbers are no longer those that were written. "
            "Export it from its source again, with DEFLATE or LZW."
        )


def _check_raster(src: rasterio.DatasetReader, name: str) -> None:
    """Refuse a raster that does not hold codes, or has no CRS."""
    name = public(name)
    _check_lossless(src, name)
    if src.count != 1 or src.dtypes[0] not in DTYPES:
        raise CatalogueError(
            f"{name} is not a label raster: expected one band of uint8 or uint16 codes, "
            f"received {src.count} of {src.dtypes[0]}. If the numbers are codes, convert it: "
            "gdal_translate -b 1 -ot UInt16 in.tif out.tif. A picture of a map (3 bands) holds colours, not codes."
        )
    if (src.scales[0], src.offsets[0]) != (1, 0):
        raise CatalogueError(
            f"{name} states scale {src.scales[0]:g} and offset {src.offsets[0]:g}, so its numbers are no codes. "
            "If they are codes, remove both: gdal_edit.py -scale 1 -offset 0 in.tif"
        )
    if src.crs is None or not (src.crs.is_projected or src.crs.is_geographic):
        raise CatalogueError(
            f"{name} has no CRS that says where on Earth it lies. Give it the one that it is in, e.g.: "
            "gdal_edit.py -a_srs EPSG:32633 in.tif"
        )


def _check_grid(src: rasterio.DatasetReader, name: str) -> None:
    """Refuse a raster that is not north-up with square pixels."""
    name, t = public(name), src.transform
    if t.b or t.d or t.a <= 0 or abs(t.a + t.e) > 1e-6 * t.a:
        raise CatalogueError(
            f"{name} is not north-up with square pixels (transform {tuple(t)[:6]}). "
            "Warp it: gdalwarp -tr 10 10 -r near in.tif out.tif"
        )


def _check_stated(src: rasterio.DatasetReader, study: Study, name: str) -> None:
    """Refuse a raster that is not on the grid that the study file states."""
    source, own = study.labels, CRS(src.crs)
    if source.kind not in ("raster", "simulated"):
        return
    asked = CRS(source.crs) if source.crs else own
    if not asked.is_geographic and None not in (asked.to_epsg(), own.to_epsg()) and asked.to_epsg() != own.to_epsg():
        raise CatalogueError(
            f"{name} is in EPSG:{own.to_epsg()} and [labels] crs says {source.crs!r}. Remove crs from [labels] to use "
            f"the raster's own grid, or warp the file: gdalwarp -t_srs {source.crs} -r near in.tif out.tif"
        )
    if source.resolution and abs(src.transform.a / source.resolution - 1) > 1e-6:
        raise CatalogueError(
            f"{name} has pixels of {src.transform.a:g} m and [labels] resolution says {source.resolution:g}. Remove "
            "resolution from [labels] to use the raster's own, or warp the file: "
            f"gdalwarp -tr {source.resolution:g} {source.resolution:g} -tap -r mode in.tif out.tif"
        )


def _check_cover(area: Area, crs: CRS, side: float, bounds: list, name: str) -> None:
    """Refuse labels that do not cover an area: every pixel centre of it must have a label."""
    outline = area.outline(crs.to_wkt())
    if not np.isfinite(outline.bounds).all():
        raise CatalogueError(
            f"{public(name)} does not cover area {area.key!r}: 100% of the area has no label; the file's CRS, "
            f"{crs.name}, does not reach it. Get labels for all of it, or move the area's bounds in the study file."
        )
    labelled = shapely.union_all([box(*b) for b in bounds])
    if labelled.buffer(side * 0.501, join_style="mitre").covers(outline):
        return
    missing = outline.difference(labelled)
    (w, s, e, n), (rw, rs, re_, rn) = outline.bounds, labelled.bounds
    beyond = {"west": rw - w, "south": rs - s, "east": e - re_, "north": n - rn}
    unit, size = ("°", 1) if crs.is_geographic else (" km", 1000 / crs.axis_info[0].unit_conversion_factor)
    sides = ", ".join(f"{d / size:.1f}{unit} to the {k}" for k, d in beyond.items() if d > side / 2)
    turned = dataclasses.replace(area, bounds=tuple(area.bounds[i] for i in (1, 0, 3, 2))).outline(crs.to_wkt())
    if np.isfinite(turned.bounds).all() and labelled.intersects(turned):
        sides += "; with x and y of its bounds swapped it would lie on the labels"
    raise CatalogueError(
        f"{public(name)} does not cover area {area.key!r}: {missing.area / outline.area:.0%} of the area has no label"
        f"{f'; it extends beyond them by {sides}' if sides else ''}. "
        "Get labels for all of it, or move the area's bounds in the study file."
    )


def check_confidence(confidence: Path, path: Path, areas: Sequence[Area]) -> None:
    """Refuse a layer of confidence that is not on the grid of the labels, or not in percent."""
    if not confidence.exists():
        raise CatalogueError(f"There is no confidence layer at {confidence}. Check [labels] confidence, or remove it.")
    with rasterio.open(copies.fetched(confidence)) as a, rasterio.open(copies.fetched(path)) as b:
        same = a.shape == b.shape and a.transform.almost_equals(b.transform) and CRS(a.crs).equals(CRS(b.crs))
        if not same or a.dtypes[0] != "uint8":
            raise CatalogueError(
                f"{confidence} must be uint8 on the grid of {path}; it is {a.dtypes[0]}, {a.shape} pixels at "
                f"({a.transform.c:g}, {a.transform.f:g}) against {b.shape} at ({b.transform.c:g}, {b.transform.f:g})."
            )
        _check_lossless(a, str(confidence))
        for area in areas:
            window = _window(area, CRS(a.crs), a.transform.c, a.transform.f, a.transform.a)
            values = a.read(1, window=window.intersection(Window(0, 0, a.width, a.height)))
            if values.size and values.max() > 100:
                raise CatalogueError(
                    f"{confidence} has the value {values.max()} in area {area.key!r}; confidence is percent, 0 to 100. "
                    "Scale it to percent, and write 0 where there is none."
                )


# -- grids ------------------------------------------------------------------------------------------------------------


def raster_grid(study: Study, src: rasterio.DatasetReader) -> tuple[CRS, float, str]:
    """CRS and pixel side (m) of the label grid made of a raster, and why that is not its own grid, or empty text.

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
    target = f"pixels of {side:g} m in {ground.crs_name(crs)} ({why})"
    return crs, float(side), f"is in {ground.crs_name(own)}, and {reason}; brought to {target} by nearest neighbour"


def on_metres(
    study: Study, src: rasterio.DatasetReader, name: str, stack: ExitStack
) -> tuple[rasterio.DatasetReader | WarpedVRT, str]:
    """A raster, or a view of it on a grid in metres, and what was done to it, in words."""
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


def majority(codes: np.ndarray, factor: int) -> np.ndarray:
    """Bring codes to coarser pixels: each takes the code that most of its parts have, in a tie the lowest.

    >>> majority(np.array([[1, 1], [1, 5]], np.uint8), 2)
    array([[1]], dtype=uint8)

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
    grain = 1e-6  # bounds that differ from the grid by rounding only do not need one more pixel
    col, row = int(np.floor((w - left) / side + grain)), int(np.floor((top - n) / side + grain))
    cols = int(np.ceil((e - left) / side - grain)) - col
    rows = int(np.ceil((top - s) / side - grain)) - row
    return Window(col, row, cols, rows)


def is_albers(crs: CRS) -> bool:
    """Whether a CRS is CONUS Albers, under any name: some CDL files state no EPSG code."""
    operation = crs.coordinate_operation
    if operation is None or "Albers" not in operation.method_name:
        return False
    return sorted(p.value for p in operation.params) == [-96.0, 0.0, 0.0, 23.0, 29.5, 45.5]


# -- reading and writing ----------------------------------------------------------------------------------------------


def _read_pixels(src: rasterio.DatasetReader, left: float, top: float, rows: int, cols: int) -> tuple[np.ndarray, int]:
    """(rows, cols) pixels from the one whose centre is the first right of ``left`` and below ``top``; 0 is no data.

    Also how many of them are 0 in the file and not hidden by its mask.
    """
    zeros = 0
    t = src.transform
    col, row = (int(np.ceil(v - 0.5 - 1e-6)) for v in ((left - t.c) / t.a, (t.f - top) / t.a))
    out = np.zeros((rows, cols), src.dtypes[0])
    c0, c1, r0, r1 = max(col, 0), min(col + cols, src.width), max(row, 0), min(row + rows, src.height)
    if c0 < c1 and r0 < r1:
        window = Window(c0, r0, c1 - c0, r1 - r0)
        codes = src.read(1, window=window)
        zeros = int(np.count_nonzero(codes == 0))
        if is_masked(src):
            codes[src.read_masks(1, window=window) == 0] = 0
        out[r0 - row : r1 - row, c0 - col : c1 - col] = codes
    if src.nodata:
        out[out == src.nodata] = 0
    return out, zeros


def cut(study: Study, sources: Sequence, path: Path, name: str, about: dict) -> None:
    """Write the areas' windows of some rasters.

    Args:
        study: Its areas, and the pixel side that it asks for: a finer CDL is brought to it by majority.
        sources: Open rasters that share a grid; the highest code of them counts.
        path: Of the file to write.
        name: Of the source, for messages.
        about: What goes into the file's tag, JSON values.
    """
    for src in sources:
        _check_raster(src, name)
        _check_grid(src, name)
    first = sources[0]
    t, albers = first.transform, is_albers(CRS(first.crs))
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

    zeros = 0

    def pixels(left, top, rows, cols) -> np.ndarray:
        nonlocal zeros
        out = np.zeros((rows * factor, cols * factor), first.dtypes[0])
        for src in sources:
            codes, count = _read_pixels(src, left, top, *out.shape)
            zeros += count if src.nodata else 0
            out = np.maximum(out, codes)
        return majority(out, factor) if factor > 1 else out

    try:
        colours = first.colormap(1)
    except ValueError:
        colours = None

    def counted() -> dict:
        if not zeros:
            return about
        note = f"0, which is not its no data ({first.nodata:g}), on {zeros:,} pixels: they have no label, as all 0 here"
        return about | {"text": f"{about['text']}; {note}", "zeros": zeros}

    write(study.areas, path, crs, side, corner, first.dtypes[0], pixels, counted, colours)


def write(
    areas: Sequence[Area],
    path: Path,
    crs: CRS,
    side: float,
    corner: tuple[float, float],
    dtype: str,
    pixels: Callable[[float, float, int, int], np.ndarray],
    about: Callable[[], dict],
    colours: dict | None = None,
) -> None:
    """Write the areas' windows into one GeoTIFF that spans them all, and read it back before it gets its name.

    Args:
        areas: Whose windows are written; elsewhere the file is 0.
        path: Of the file.
        crs, side, corner: Of the grid, m.
        dtype: Of the codes.
        pixels: From left, top, rows and columns of a window to its codes.
        about: Called when all pixels are drawn; goes into the file's tag.
        colours: Colour table.

    Raises:
        CatalogueError: It cannot be written.
    """
    windows = [_window(a, crs, *corner, side) for a in areas]
    col, row = (int(min(getattr(w, k) for w in windows)) for k in ("col_off", "row_off"))
    width = int(max(w.col_off + w.width for w in windows)) - col
    height = int(max(w.row_off + w.height for w in windows)) - row
    left, top = corner[0] + col * side, corner[1] - row * side
    profile = {
        "driver": "GTiff", "dtype": dtype, "count": 1, "width": width, "height": height, "crs": crs.to_wkt(),
        "transform": from_origin(left, top, side, side), "tiled": True, "blockxsize": 256, "blockysize": 256,
        "compress": "deflate", "sparse_ok": True,
    }  # fmt: skip

    def fill(partial: Path) -> None:
        sums = {}
        with rasterio.open(partial, "w", **profile) as out:
            for w in windows:
                place = Window(w.col_off - col, w.row_off - row, w.width, w.height)
                block = pixels(corner[0] + w.col_off * side, corner[1] - w.row_off * side, int(w.height), int(w.width))
                out.write(block, 1, window=place)
                sums[place] = zlib.crc32(np.ascontiguousarray(block))
            if colours:
                out.write_colormap(1, colours)
            out.update_tags(**{TAG: json.dumps(about(), ensure_ascii=True)})
        with rasterio.open(partial) as back:
            if any(zlib.crc32(back.read(1, window=place)) != crc for place, crc in sums.items()):
                raise CatalogueError(
                    f"{path} was not written completely; is the disk full? Free some space and run it again."
                )

    try:
        folders.put(path, fill)
    except (rasterio.errors.RasterioIOError, rasterio._err.CPLE_BaseError, OSError) as error:
        free = shutil.disk_usage(path.parent).free
        raise CatalogueError(
            f"Cannot write {path} ({redact(error)}); {free / 1e9:.2f} GB are free there. Free some space and "
            "run it again."
        ) from None
