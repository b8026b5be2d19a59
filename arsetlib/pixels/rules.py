"""The rules that each row of a pixel table keeps. They look at one batch at a time and read no file.

Lab: part1_build_dataset.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyproj import Transformer

from arsetlib import sentinel2
from arsetlib.pixels.arrays import buffers, ragged
from arsetlib.pixels.meta import Meta
from arsetlib.pixels.schema import MAX_DN, SCHEMA, SERIES, block_number, pixel_id
from arsetlib.translation import N_, _

# Rule → what it asks of a row.
RULES: dict[str, str] = {
    "null": N_("every column but label_confidence has a value"),
    "num_images": N_("num_images is at least 0"),
    "lengths": N_("day, scl and bands hold num_images observations"),
    "day_order": N_("days ascend strictly: one image a day"),
    "day_year": N_("days lie in the row's year, or in the season that starts in it"),
    "scl": N_("scene classes are 0 to 11"),
    "bands": N_("values are at most 32767, and every image has a value in some band"),
    "finite": N_("x, y, lon and lat are finite and on Earth"),
    "pixel": N_("pixel is the number of the grid pixel at x, y"),
    "block": N_("block is the number of the block at x, y"),
    "lonlat": N_("lon, lat are those of x, y to 0.00001 degrees"),
    "label": N_("label_code is at least 0"),
    "confidence": N_("label_confidence is 0 to 100 or absent"),
    "duplicate": N_("a pixel has one row a year"),
}
TOLERANCE = 1e-5  # degrees
COORDINATES = ("x", "y", "lon", "lat")

Broken = tuple[str, np.ndarray, Callable[[int], str]]  # rule, (P,) bool, and the words for row i


@dataclass(frozen=True)
class Break:
    """One row that breaks one rule.

    Attributes:
        file, row_group, row: Where it is; ``row`` counts from 0 in its row group.
        rule: A key of ``RULES``.
        found: What the row holds instead.
    """

    file: str
    row_group: int
    row: int
    rule: str
    found: str

    def __str__(self) -> str:
        words = _("{file}, row group {group}, row {row}: {rule}: {found}")
        return words.format(file=self.file, group=self.row_group, row=self.row, rule=self.rule, found=self.found)


def complete_rows(batch: pa.RecordBatch) -> np.ndarray:
    """(P,) bool, rows that have a value in each column that needs one."""
    complete = np.ones(batch.num_rows, bool)
    for want in SCHEMA:
        column = batch.column(want.name)
        if not want.nullable and column.null_count:
            complete &= column.is_valid().to_numpy(zero_copy_only=False)
    return complete


def missing_values(batch: pa.RecordBatch, i: int) -> str:
    """Words for the columns in which row ``i`` has no value."""
    empty = [f.name for f in SCHEMA if not f.nullable and not batch.column(f.name)[i].is_valid]
    return f"no {', '.join(empty)}"


def broken_places(batch: pa.RecordBatch, meta: Meta, to_lonlat: Transformer) -> Iterator[Broken]:
    """Rules on coordinates, identities and labels."""
    value = {name: batch.column(name).to_numpy(zero_copy_only=False) for name in ("pixel", "block", *COORDINATES)}
    x, y = value["x"], value["y"]
    on_earth = (np.abs(x) < 1e8) & (np.abs(y) < 1e8) & (np.abs(value["lon"]) <= 360) & (np.abs(value["lat"]) <= 90)
    yield "finite", ~on_earth, lambda i: ", ".join(f"{name} {value[name][i]}" for name in COORDINATES)
    x, y = np.where(on_earth, x, 0), np.where(on_earth, y, 0)
    pixel = pixel_id(x, y, meta.resolution)
    yield "pixel", on_earth & (pixel != value["pixel"]), lambda i: f"{value['pixel'][i]}, expected {pixel[i]}"
    if "block_m" in meta.extra:
        block = block_number(x, y, meta.extra["block_m"])
        yield "block", on_earth & (block != value["block"]), lambda i: f"{value['block'][i]}, expected {block[i]}"
    lon, lat = to_lonlat.transform(x, y)
    off = np.maximum(np.abs((lon - value["lon"] + 180) % 360 - 180), np.abs(lat - value["lat"]))
    near = off <= TOLERANCE
    yield "lonlat", on_earth & ~near, lambda i: f"{value['lon'][i]}, {value['lat'][i]}, expected {lon[i]}, {lat[i]}"
    code = batch.column("label_code").to_numpy()
    yield "label", code < 0, lambda i: str(code[i])
    confidence = batch.column("label_confidence").fill_null(0).to_numpy(zero_copy_only=False)
    yield "confidence", confidence > 100, lambda i: str(confidence[i])


def broken_series(batch: pa.RecordBatch, meta: Meta) -> Iterator[Broken]:
    """Rules on the byte strings."""
    images = batch.column("num_images").to_numpy()
    sizes = {name: pc.binary_length(batch.column(name)).to_numpy() for name in SERIES}
    width = {"day": 2, "scl": 1, "bands": 2 * len(meta.bands)}
    yield "num_images", images < 0, lambda i: str(images[i])
    fit = np.ones(batch.num_rows, bool)
    for name in SERIES:
        fit &= sizes[name] == np.maximum(images, 0).astype(np.int64) * width[name]
    yield (
        "lengths",
        ~fit,
        lambda i: f"{images[i]} images, but " + ", ".join(f"{n} of {sizes[n][i]} bytes" for n in SERIES),
    )
    yield from _broken_observations(batch, fit, meta)


def _broken_observations(batch: pa.RecordBatch, fit: np.ndarray, meta: Meta) -> Iterator[Broken]:
    places = np.flatnonzero(fit)
    flat = ragged((batch if fit.all() else batch.filter(pa.array(fit))).replace_schema_metadata(meta.to_kv()))
    rows = places[flat.rows]

    def of_rows(broken: np.ndarray) -> np.ndarray:
        mask = np.zeros(batch.num_rows, bool)
        mask[rows[broken]] = True
        return mask

    def first(broken: np.ndarray, values: np.ndarray):
        return lambda i: f"{values[np.flatnonzero(broken & (rows == i))[0]]}"

    back = np.zeros(len(flat.day), bool)
    back[1:] = (flat.day[1:] <= flat.day[:-1]) & (rows[1:] == rows[:-1])
    yield "day_order", of_rows(back), first(back, flat.day)
    years = batch.column("year").to_numpy().astype(np.int64)[rows]
    low, high = _first_day(years), _first_day(years + 1)
    if "days" in meta.extra:  # a season that continues after New Year, counted from 1 January (= 1) of the row's year
        low, high = (_first_day(years) + d for d in (meta.extra["days"][0] - 1, meta.extra["days"][1]))
    outside = (flat.day < low) | (flat.day >= high)
    yield "day_year", of_rows(outside), first(outside, flat.day.astype("datetime64[D]"))
    unknown = flat.scl >= len(sentinel2.SCL)
    yield "scl", of_rows(unknown), first(unknown, flat.scl)
    wrong = (flat.bands > MAX_DN).any(axis=1) | ~flat.bands.any(axis=1)
    yield "bands", of_rows(wrong), first(wrong, flat.bands)


def _first_day(years: np.ndarray) -> np.ndarray:
    """Days since 1970-01-01 of 1 January."""
    return (years - 1970).astype("datetime64[Y]").astype("datetime64[D]").astype(np.int64)


def breaks_series(table: pa.Table, rule: str, meta: Meta) -> bool:
    """Whether some row of a table breaks the rule ``lengths`` or ``day_order``, as far as its columns show.

    For all rows together this takes a few comparisons. Two images of one day pass.
    """
    columns = {name: table.column(name) for name in SERIES if name in table.column_names}
    if rule == "day_order":
        if "day" not in columns:
            return False
        offsets, raw = buffers(columns["day"])
        day, starts = raw.view("<u2"), offsets[1:-1] // 2
        back = day[1:] < day[:-1]
        back[starts[(starts > 0) & (starts < len(day))] - 1] = False  # the first day of a row may be before the last
        return bool(back.any())
    width = {"day": 2, "scl": 1, "bands": 2 * len(meta.bands)}
    lengths = {name: pc.binary_length(column).to_numpy() for name, column in columns.items()}
    if any((length % width[name]).any() for name, length in lengths.items()):
        return True
    counts = [length // width[name] for name, length in lengths.items()]
    if "num_images" in table.column_names:
        counts.append(table.column("num_images").to_numpy())
    return not all(np.array_equal(counts[0], other) for other in counts[1:])
