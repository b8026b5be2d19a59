"""Annual vectors of other people's networks as channels: AlphaEarth, Tessera, or any raster of vectors.

    vectors = embeddings.read("A_2021.tif", x, y, crs="EPSG:5070", side=30)          # (N, 64) of unit length
    extra = embeddings.as_sensor(table, {2021: "A_2021.tif"}, study.season)          # a table of one more sensor
    both = pixels.join(table, extra)                                                 # beside the bands
    # in the study file: [channels] sensors = { embedding = ["e00", "e01", …] }

A vector stands for a whole year: the network that made it has seen images of all its months. A model that uses it
cannot map a crop during the season, however early its window ends. `simulate.embeddings` makes rasters of this form of
a simulated delta.

Sources: C. Brown et al., AlphaEarth Foundations, 2025 (https://arxiv.org/abs/2507.22291), in files as
https://developers.google.com/earth-engine/guides/aef_on_gcs_readme describes them (CC BY 4.0, with attribution);
Z. Feng et al., TESSERA, 2025 (https://arxiv.org/abs/2506.20380).

Lab: part4_defend_the_map.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import rasterio
from numpy.typing import ArrayLike
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError
from rasterio.enums import MaskFlags
from rasterio.windows import Window

from arsetlib import copies, filetypes, pixels
from arsetlib.errors import ArsetError
from arsetlib.pixels.schema import SCHEMA, SMALL
from arsetlib.study import Season
from arsetlib.web import public

__all__ = ["NO_DATA", "EmbeddingError", "as_sensor", "decode", "encode", "names", "read"]

NO_DATA = -128  # of int8 vectors, in all channels of a pixel
TILE = 512  # pixels a side that are read at once
UNIT = 0.9, 1.1  # lengths of vectors that were stored as AlphaEarth's
HALF = 32_767  # counts from -1 to 0 in a pixel table, whose values are 1 to 65,535


class EmbeddingError(ArsetError, ValueError):
    """Vectors cannot be read or used; the message says why and what to do."""


def decode(raw: np.ndarray) -> np.ndarray:
    """Vectors of int8 counts, as AlphaEarth's files store them: (v / 127.5)², with the sign of v.

    >>> decode(np.array([127, -64, 0, -128], np.int8)).astype(float).round(3).tolist()
    [0.992, -0.252, 0.0, nan]

    Args:
        raw: int8 of any shape, -128 no data.

    Returns:
        float32, -1 to 1, NaN no data.

    Raises:
        EmbeddingError: Another type.

    Lab: part4_defend_the_map.
    """
    raw = np.asarray(raw)
    if raw.dtype != np.int8:
        raise EmbeddingError(f"Expected int8 counts, received {raw.dtype}.")
    value = raw.astype(np.float32)
    return np.where(raw == NO_DATA, np.float32(np.nan), np.sign(value) * np.square(value / np.float32(127.5)))


def encode(vectors: np.ndarray) -> np.ndarray:
    """The int8 counts that `decode` reads; NaN becomes -128.

    Raises:
        EmbeddingError: A value beyond -1 to 1.
    """
    value = np.where(np.isnan(vectors), 0, vectors)
    if value.size and np.abs(value).max() > 1.001:
        raise EmbeddingError(f"Expected values from -1 to 1, received up to {np.abs(value).max():g}.")
    counts = np.clip(np.rint(np.sign(value) * np.sqrt(np.abs(value)) * 127.5), -127, 127)
    return np.where(np.isnan(vectors), NO_DATA, counts).astype(np.int8)


def names(count: int) -> tuple[str, ...]:
    """What the channels of a vector are called in a pixel table: e00, e01, …."""
    return tuple(f"e{i:02d}" for i in range(count))


def read(path: str | Path, x: ArrayLike, y: ArrayLike, *, crs: str, side: float | None = None) -> np.ndarray:
    """The vectors at some places.

    Only tiles in which places lie are read, one at a time.

    Args:
        path: GeoTIFF with a band for each channel, on disk, a URL or in an object store: int8, decoded as `decode` says
            (AlphaEarth), or floating point, taken as it is (Tessera). NaN, infinity, a vector of zeros and
            what the file says is no data, also with a mask, are no vector. Of copies of AlphaEarth whose rows
            go from south to north, take the .vrt file beside each.
        x, y: (N,) places.
        crs: Of the places.
        side: Of the ground that a place stands for, m: the mean of all vectors whose pixel centre lies in the square
            around it, which is at least as large as a pixel, at unit length, as AlphaEarth's own overviews are made.
            None takes the pixel that holds the place, as it is.

    Returns:
        (N, channels) float32; NaN where the raster has no data, or does not reach.

    Raises:
        EmbeddingError: Not a north-up raster in metres, another type, counts that are not in the form of AlphaEarth, no
            place lies on it, a file that cannot be read, no CRS, or a side that is not above 0.

    Lab: part4_defend_the_map.
    """
    if side is not None and not side > 0:
        raise EmbeddingError(f"Expected a side above 0 m, received {side}.")
    x, y = (np.atleast_1d(np.asarray(v, np.float64)) for v in (x, y))
    if x.ndim != 1 or x.shape != y.shape:
        raise EmbeddingError(f"Expected as many x as y, (N,), received {x.shape} and {y.shape}.")
    try:
        given = CRS(crs)
    except CRSError:
        raise EmbeddingError(f"Expected crs as that of the places, such as 'EPSG:32630', received {crs!r}.") from None
    with _opened(path) as src:
        _check(src, path)
        t = src.transform
        half = 0.0 if side is None else max(0.5, side / t.a / 2)
        own_x, own_y = Transformer.from_crs(given, CRS(src.crs.to_wkt()), always_xy=True).transform(x, y)
        col, row = (np.asarray(own_x) - t.c) / t.a, (np.asarray(own_y) - t.f) / t.e
        inside = (row >= 0) & (row < src.height) & (col >= 0) & (col < src.width)
        if not inside.any():
            raise EmbeddingError(
                f"None of the {len(x):,} places lies on {path}. Take the file of this place and UTM zone."
            )
        reach = math.ceil(half)
        out = np.full((len(x), src.count), np.nan, np.float32)
        tile = (np.where(inside, row, 0) // TILE).astype(np.int64) * (src.width // TILE + 1) + (
            np.where(inside, col, 0) // TILE
        ).astype(np.int64)
        for number in np.unique(tile[inside]):
            mine = np.flatnonzero(inside & (tile == number))
            top, left = (max(0, int(v[mine].min()) - reach) for v in (row, col))
            bottom = min(src.height, int(row[mine].max()) + reach + 1)
            right = min(src.width, int(col[mine].max()) + reach + 1)
            window = Window(left, top, right - left, bottom - top)
            vectors = _decoded(src.read(window=window), src.nodata, path)
            if MaskFlags.per_dataset in src.mask_flag_enums[0]:
                vectors[:, src.read_masks(1, window=window) == 0] = np.nan
            out[mine] = _gathered(vectors, row[mine] - top, col[mine] - left, half)
    return out


@contextmanager
def _opened(path: str | Path) -> Iterator[rasterio.DatasetReader]:
    remote = isinstance(path, str) and path.startswith(("http:", "https:"))
    try:
        with rasterio.open(path if remote else copies.fetched(path)) as src:
            yield src
    except rasterio.errors.RasterioIOError as error:
        why = (
            filetypes.placeholder(path, "raster")
            or f"cannot be read as a raster: {str(error.__cause__ or error).rstrip('.')}."
        )
        raise EmbeddingError(
            f"{public(str(path))} {why} Expected a GeoTIFF; check the name, or copy it again."
        ) from None


def _decoded(raw: np.ndarray, nodata: float | None, path: str | Path) -> np.ndarray:
    """(C, h, w) float32 vectors, NaN where there is none."""
    counts = raw.dtype == np.int8
    vectors = decode(raw) if counts else raw.astype(np.float32)
    if nodata is not None and not math.isnan(nodata):
        # What may be a value of one channel is no data only in all of them.
        none = raw == nodata
        vectors[none if abs(nodata) > 1 and not counts else np.broadcast_to(none.all(axis=0), none.shape)] = np.nan
    vectors[:, ~vectors.any(axis=0) | np.isinf(vectors).any(axis=0)] = np.nan
    filled = (vectors == vectors[0]).all(axis=0) & (np.abs(vectors[0]) > 1)
    if len(vectors) > 1 and filled.any():
        fill = vectors[0][filled][0]
        raise EmbeddingError(
            f"{public(str(path))} holds {fill:g} in all channels of {filled.sum():,} pixels: that is no vector. Say in "
            f"the file that it means no data: gdal_edit.py -a_nodata {fill:g} {Path(str(path)).name}"
        )
    some = vectors[:, np.isfinite(vectors).all(axis=0)]
    if not some.size:
        return vectors
    length = float(np.median(np.linalg.norm(some, axis=0)))
    if counts and not UNIT[0] <= length <= UNIT[1]:
        raise EmbeddingError(
            f"Expected int8 counts in the form of AlphaEarth, whose vectors have the length 1, received vectors of the "
            f"length {length:.2f} in {path}. Decode them as their source says, and write them as float32."
        )
    if not counts and np.abs(some).max() > 1 and np.array_equal(some, np.rint(some)):
        raise EmbeddingError(
            f"Expected vectors in {path}, received whole numbers up to {np.abs(some).max():g}: counts that were not "
            "decoded. Decode them as their source says (embeddings.decode for AlphaEarth)."
        )
    return vectors


def _check(src: rasterio.DatasetReader, path: str | Path) -> None:
    t = src.transform
    if t.b or t.d or t.a <= 0 or t.e >= 0 or not math.isclose(t.a, -t.e):
        raise EmbeddingError(
            f"{path} is not a raster of square pixels with north up. Where a .vrt file lies beside it, take that."
        )
    if src.crs is None or not src.crs.is_projected or CRS(src.crs.to_wkt()).axis_info[0].unit_conversion_factor != 1:
        raise EmbeddingError(f"{path} has no CRS in metres. Warp it to the UTM zone of the place.")
    if src.dtypes[0] not in ("int8", "float16", "float32", "float64"):
        raise EmbeddingError(
            f"Expected vectors as int8 (AlphaEarth) or floating point (Tessera) in {path}, received {src.dtypes[0]}."
        )
    if src.dtypes[0] != "int8" and (set(src.scales) != {1.0} or set(src.offsets) != {0.0}):
        raise EmbeddingError(
            f"{path} states a scale of {src.scales[0]:g} and an offset of {src.offsets[0]:g}, which are not read. "
            "Write the values that it means: gdal_translate -unscale."
        )


def _check_year(path: str | Path, year: int) -> None:
    """Refuse a raster that says that it is of another year."""
    with _opened(path) as src:
        said = src.tags().get("YEAR")
    name = re.split(r"[/\\\\]", str(path))[-1]
    stated = [said] if said else re.findall(r"(?<!\d)(?:19|20)\d\d(?!\d)", name)
    if stated and str(year) not in stated:
        raise EmbeddingError(
            f"The rows are of {year}, and {path} says that its vectors are of {' or '.join(stated)}. Take the file of "
            f"{year}. If the name means something else, rename the file."
        )


def _gathered(vectors: np.ndarray, row: np.ndarray, col: np.ndarray, half: float) -> np.ndarray:
    """(n, C) the vector of the pixel at each place, or the mean of those around it, at unit length."""
    if not half:
        return vectors[:, row.astype(np.int64), col.astype(np.int64)].T
    _, height, width = vectors.shape
    reach = math.ceil(half)
    total, count = np.zeros((len(row), len(vectors)), np.float32), np.zeros(len(row))
    for down in range(-reach, reach + 1):
        for across in range(-reach, reach + 1):
            r, c = np.floor(row).astype(np.int64) + down, np.floor(col).astype(np.int64) + across
            near = (np.abs(r + 0.5 - row) <= half) & (np.abs(c + 0.5 - col) <= half)
            near &= (r >= 0) & (r < height) & (c >= 0) & (c < width)
            found = vectors[:, r.clip(0, height - 1), c.clip(0, width - 1)].T
            near &= np.isfinite(found).all(axis=1)
            total += np.where(near[:, None], found, 0)
            count += near
    length = np.linalg.norm(total, axis=1)
    good = (count > 0) & (length > 0)
    return np.where(good[:, None], total / np.where(good, length, 1)[:, None], np.float32(np.nan))


def as_sensor(table: pa.Table | str | Path, vectors: Mapping[int, str | Path] | ArrayLike, season: Season) -> pa.Table:
    """A pixel table of one more sensor, whose images are the annual vectors of the table's pixels.

    `pixels.join` puts it beside the bands, and ``[channels] sensors`` of the study file gives it to models. The vector
    of a year stands on days that are one window apart, so that each window holds it exactly once.

    Args:
        table: Pixels and years.
        vectors: Year → its raster, as in `read`; or (rows, channels) a vector of each row, -1 to 1, from an encoder of
            your own (Presto, say, with weights that you fetched). NaN where a row has none.
        season: Of the study.

    Returns:
        A table in ``pixels.SCHEMA`` with the bands of `names`. A value v, -1 to 1, is stored as 1 + 32,767 (v + 1): 0
        stays 'no data'. Pixels without a vector have no image; ``Meta.extra["without_embedding"]`` counts them by year.

    Raises:
        EmbeddingError: A year without a raster or without a vector, a raster that says that it is of another year (its
            tag YEAR, or a year in its name where no other number of a year stands there), rasters of different
            channels, vectors of another number of rows or over 1, or as `read`.

    Lab: part4_defend_the_map.
    """
    table = table if isinstance(table, pa.Table) else pixels.read(table)
    meta, year = pixels.Meta.of(table), table.column("year").to_numpy()
    years = np.unique(year).tolist()
    if isinstance(vectors, Mapping):
        found = _of_rasters(table, vectors)
        origin = {str(one): public(str(vectors[one])) for one in years}
        simulated = meta.simulated or any(_simulated(vectors[one]) for one in years)
    else:
        found = _of_rows(vectors, len(table))
        origin, simulated = dict.fromkeys(map(str, years), "vectors of the rows"), meta.simulated
    good = np.isfinite(found).all(axis=1)
    if empty := [one for one in years if not good[year == one].any()]:
        sources = ", ".join(f"{one} ({origin[str(one)]})" for one in empty)
        raise EmbeddingError(f"No pixel of {sources} has a vector. Take the vectors of this place and year.")
    first, last = (np.array([season.days(one)[k] for one in years])[np.searchsorted(years, year)] for k in (0, 1))
    images = np.where(good, (last - first) // season.window_days + 1, 0)
    offsets = np.concatenate([[0], np.cumsum(images)])
    row = np.repeat(np.arange(len(year)), images)
    day = first[row] + (np.arange(len(row)) - offsets[row]) * season.window_days
    counts = np.where(good[:, None], np.rint(1 + HALF * (np.nan_to_num(found).clip(-1, 1) + 1)), 0).astype("<u2")
    small = {n: table.column(n).combine_chunks() for n in SMALL if n != "num_images"}
    batch = pixels.make_batch(
        day=day.astype("<u2"), scl=np.zeros(len(row), "u1"), bands=counts[row], offsets=offsets, **small
    )
    extra = meta.extra | {
        "embedding": origin,
        "without_embedding": {str(one): int((~good[year == one]).sum()) for one in years},
    }
    made = pixels.Meta(names(found.shape[1]), meta.crs, meta.resolution, meta.study, simulated, meta.scale, extra=extra)
    return pa.Table.from_batches([batch], SCHEMA).replace_schema_metadata(made.to_kv())


def _of_rasters(table: pa.Table, rasters: Mapping[int, str | Path]) -> np.ndarray:
    """(rows, channels) the vectors of a table's pixels, each from the raster of its year."""
    meta, year = pixels.Meta.of(table), table.column("year").to_numpy()
    x, y = (table.column(n).to_numpy() for n in ("x", "y"))
    if missing := sorted(set(np.unique(year).tolist()) - set(rasters)):
        raise EmbeddingError(f"Expected a raster of each year of the table, received none of {missing}.")
    found: dict[int, np.ndarray] = {}
    for one in np.unique(year).tolist():
        _check_year(rasters[one], one)
        mine = year == one
        found[one] = read(rasters[one], x[mine], y[mine], crs=meta.crs, side=meta.resolution)
    if len(widths := {v.shape[1] for v in found.values()}) > 1:
        raise EmbeddingError(f"Expected rasters of one number of channels, received {sorted(widths)}.")
    vectors = np.empty((len(year), widths.pop()), np.float32)
    for one, values in found.items():
        vectors[year == one] = values
    return vectors


def _of_rows(vectors: ArrayLike, rows: int) -> np.ndarray:
    """(rows, channels) vectors that were given, where they can be stored."""
    found = np.asarray(vectors, np.float32)
    if found.ndim != 2 or len(found) != rows:
        raise EmbeddingError(
            f"Expected a vector of each of the {rows:,} rows of the table, (rows, channels), received {found.shape}."
        )
    if np.isinf(found).any() or np.nanmax(np.abs(found), initial=0) > 1:
        raise EmbeddingError(
            f"Expected vectors with values from -1 to 1, received up to {np.nanmax(np.abs(found)):.3g}. Bring each to "
            "length 1: vectors / np.linalg.norm(vectors, axis=1, keepdims=True)."
        )
    return found


def _simulated(path: str | Path) -> bool:
    with _opened(path) as src:
        return src.tags().get("SIMULATED") == "YES"
