"""Tables that the notebooks of the 2024 training made, read as pixel tables.

Lab: part1_build_dataset.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from urllib.parse import quote, unquote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyproj import Transformer

from arsetlib import cdl, folders, sentinel2
from arsetlib.pixels.arrays import binary, buffers, make_batch, ragged
from arsetlib.pixels.listing import damaged
from arsetlib.pixels.meta import Meta
from arsetlib.pixels.schema import BLOCK_M, SCHEMA, PixelError, block_id, pixel_id

GRID_CRS, RESOLUTION = "EPSG:5070", 30.0
COLUMNS = ("lon", "lat", "CDL", "num_images", "bands", "img_dates", "scl_vals")


def read_arset(path: str | Path) -> pa.Table:
    """Read a table in the ARSET layout, as learners of the 2024 course have it, as a pixel table.

    Its folders ``bbox=…/year=…`` give area and year, its class names become codes, its big-endian numbers
    little-endian, and x, y come from lon, lat: on the CDL grid where they fall within half a metre of a pixel's
    centre. Of images of one day the first is kept, and images without a value in any band are left out.
    It has no label confidence.

    Args:
        path: The layout's root, or any folder or file in it; the names of the folders above are read as well.

    Returns:
        A table in ``SCHEMA`` with metadata, ready for ``write``.

    Raises:
        PixelError: No file, one that is damaged, or byte strings that disagree in length.
        cdl.CDLError: A class name that is not CDL's.

    Lab: part1_build_dataset.
    """
    root = folders.place(path).resolve()
    files = [root] if root.is_file() else sorted(root.rglob("*.parquet"))
    files = [file for file in files if not file.name.startswith(("_", "."))]
    if not files:
        raise PixelError(f"Expected Parquet files in the ARSET layout under {path}, found none. Unpack its zip file.")
    meta = Meta(
        bands=tuple(sentinel2.BANDS),
        crs=GRID_CRS,
        resolution=RESOLUTION,
        study="arset",
        simulated=False,
        extra={"block_m": BLOCK_M, "layout": "ARSET"},
    )
    batches = [_batch(file) for file in files]
    return pa.Table.from_batches(batches, SCHEMA).replace_schema_metadata(meta.to_kv())


def _batch(file: Path) -> pa.RecordBatch:
    try:
        with file.open("rb") as source, pq.ParquetFile(source) as opened:
            table = opened.read()
    except (pa.ArrowException, OSError) as error:
        raise damaged(file, error) from error
    missing = set(COLUMNS) - set(table.column_names)
    if missing:
        raise PixelError(f"{file}: expected the ARSET layout, missing the columns {sorted(missing)}.")
    lon, lat = table.column("lon").to_numpy(), table.column("lat").to_numpy()
    x, y = _grid(lon, lat)
    above = dict(part.split("=", 1) for part in file.parts if "=" in part)
    return make_batch(
        **_series(table, file),
        pixel=pixel_id(x, y, RESOLUTION),
        year=_year(table, above, file),
        area=unquote(above.get("bbox", "arset")),
        block=block_id(x, y, BLOCK_M),
        x=x,
        y=y,
        lon=lon,
        lat=lat,
        label_code=_codes(table, file),
    )


def _grid(lon: np.ndarray, lat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    to_grid = Transformer.from_crs("EPSG:4326", GRID_CRS, always_xy=True)
    x, y = (np.asarray(v, np.float64) for v in to_grid.transform(lon, lat))
    # Centres of CDL pixels lie at multiples of 30 m.
    centre_x, centre_y = (np.round(v / RESOLUTION) * RESOLUTION + 0.0 for v in (x, y))
    near = (np.abs(x - centre_x) < 0.5) & (np.abs(y - centre_y) < 0.5)
    return np.where(near, centre_x, x), np.where(near, centre_y, y)


def _year(table: pa.Table, above: dict[str, str], file: Path):
    if "year" in above:
        return int(above["year"])
    if "year" in table.column_names:
        return table.column("year").combine_chunks().cast(pa.int16())
    raise PixelError(f"{file}: expected a folder year=… above the file. Keep the folders as they were unpacked.")


def _codes(table: pa.Table, file: Path) -> np.ndarray:
    names = table.column("CDL").combine_chunks().cast(pa.string()).dictionary_encode()
    try:
        codes = np.array([cdl.code_of(text) for text in names.dictionary.to_pylist()], np.int16)
    except cdl.CDLError as error:
        raise cdl.CDLError(f"{file}: {error}") from error
    return codes[names.indices.to_numpy()] if len(names) else codes


def _series(table: pa.Table, file: Path) -> dict[str, np.ndarray]:
    """Days, scene classes and bands, little-endian, sorted, one image a day; and the rows' offsets."""
    images = table.column("num_images").to_numpy().astype(np.int64)
    width = {"img_dates": 2, "scl_vals": 1, "bands": 2 * len(sentinel2.BANDS)}
    raw = {}
    for name, size in width.items():
        offsets, raw[name] = buffers(table.column(name))
        wrong = np.flatnonzero(np.diff(offsets) != images * size)
        if len(wrong):
            raise PixelError(
                f"{file}, row {wrong[0]}: expected {size} bytes of `{name}` for each of {images[wrong[0]]} images, "
                f"received {np.diff(offsets)[wrong[0]]}. Remove the row, or unpack the file again."
            )
    day, bands = raw["img_dates"].view(">u2"), raw["bands"].view(">u2").reshape(-1, len(sentinel2.BANDS))
    keep, rows = _one_a_day(day, bands, np.repeat(np.arange(len(images)), images))
    offsets = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(images)))])
    return {"day": day[keep], "scl": raw["scl_vals"][keep], "bands": bands[keep], "offsets": offsets}


def _one_a_day(day: np.ndarray, bands: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which observations to keep, in order of date, and the rows they belong to."""
    seen = np.flatnonzero(bands.any(axis=1))
    order = seen[np.lexsort((day[seen], rows[seen]))]
    first = np.ones(len(order), bool)
    first[1:] = (day[order][1:] != day[order][:-1]) | (rows[order][1:] != rows[order][:-1])
    return order[first], rows[order[first]]


def write_arset(table: pa.Table, path: str | Path) -> None:
    """Write a pixel table of 12 bands in the ARSET layout, for comparisons; for new tables use ``write``.

    Args:
        table: In ``SCHEMA``, with the 12 bands; ``label_code`` are CDL codes.
        path: Root folder of the layout, also in an object store.

    Raises:
        PixelError: The codes are not the CDL's: that layout has no other names.
        cdl.CDLError: A code that the CDL does not have.
    """
    if Meta.of(table).extra.get("own_codes"):
        raise PixelError(
            "Expected codes of the Cropland Data Layer: the ARSET layout holds its names. This table has codes of its "
            "own. Write it with pixels.write."
        )
    for area, year in sorted(set(zip(table["area"].to_pylist(), table["year"].to_pylist(), strict=True))):
        mine = table.filter((pc.field("area") == area) & (pc.field("year") == year))
        folder = folders.place(path) / f"bbox={quote(area, safe=', ')}" / f"year={year}"
        write = partial(pq.write_table, _to_arset(mine), compression="snappy")
        folders.put(folder / "part-00000.snappy.parquet", write)


def _to_arset(table: pa.Table) -> pa.Table:
    flat = ragged(table)
    names = [cdl.entry(code).name.encode() for code in table["label_code"].to_pylist()]
    return pa.table(
        {
            "lon": table["lon"],
            "lat": table["lat"],
            "CDL": pa.array(names, pa.binary()),
            "num_images": table["num_images"],
            "bands": binary(flat.bands.astype(">u2"), flat.offsets, 2 * flat.bands.shape[1]),
            "tiles": pa.array([b""] * table.num_rows, pa.binary()),
            "img_dates": binary(flat.day.astype(">u2"), flat.offsets, 2),
            "scl_vals": binary(np.ascontiguousarray(flat.scl), flat.offsets, 1),
        }
    )
