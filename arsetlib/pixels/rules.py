"""What every row of a pixel table keeps to, and which rows do not.

Lab: part1_build_dataset.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyproj import Transformer

from arsetlib import sentinel2
from arsetlib.pixels.table import (
    MAX_DN,
    PER_PASS,
    SCHEMA,
    SERIES,
    Meta,
    Part,
    _block_number,
    _with_meta,
    differences,
    pixel_id,
    planned,
    ragged,
    stream,
)

RULES: dict[str, str] = {
    "null": "every column but label_confidence has a value",
    "num_images": "num_images is at least 0",
    "lengths": "day, scl and bands hold num_images observations",
    "day_order": "days ascend strictly: one image a day",
    "day_year": "days lie in the row's year, or in the season that starts in it",
    "scl": "scene classes are 0 to 11",
    "bands": f"values are at most {MAX_DN}, and every image has a value in some band",
    "finite": "x, y, lon and lat are finite and on Earth",
    "pixel": "pixel is the number of the grid pixel at x, y",
    "block": "block is the number of the block at x, y",
    "lonlat": "lon, lat are those of x, y to 0.00001 degrees",
    "label": "label_code is at least 0",
    "confidence": "label_confidence is 0 to 100 or absent",
    "duplicate": "a pixel has one row a year",
}
EXAMPLES = 20  # rows named per rule; all are counted
TOLERANCE = 1e-5  # degrees
COORDINATES = ("x", "y", "lon", "lat")


@dataclass(frozen=True)
class Break:
    """One row that breaks one rule. ``row`` counts from 0 within its row group."""

    file: str
    row_group: int
    row: int
    rule: str
    found: str

    def __str__(self) -> str:
        return f"{self.file}, row group {self.row_group}, row {self.row}: {self.rule}: {self.found}"


@dataclass(frozen=True)
class Report:
    """What ``check`` found.

    Attributes:
        path: The table.
        rows: Rows looked at.
        counts: Rule to number of rows that break it, for all rules of ``RULES``.
        breaks: The first rows that break each rule, at most 20 per rule.
        planned: Files that the table was planned to have; None where it does not say (a single file, or a folder that
            another program wrote), so that nobody can know whether it is complete.
        files: What is wrong with its files: missing, changed, or not planned. The rows are not looked at then.
    """

    path: str
    rows: int
    counts: dict[str, int]
    breaks: tuple[Break, ...]
    planned: int | None = None
    files: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether all planned files are there, as they were written, and no row breaks a rule."""
        return not self.files and not any(self.counts.values())

    def as_dict(self) -> dict:
        """The same as JSON values."""
        return asdict(self) | {"ok": self.ok, "breaks": [asdict(b) for b in self.breaks]}

    def __str__(self) -> str:
        if self.files:
            lines = [f"{self.path}: {len(self.files)} of its files are not as planned, so its rows were not checked."]
            lines += [f"  {words}." for words in self.files[:EXAMPLES]]
            return "\n".join([*lines, "Run the command that made the table again, or copy it anew."])
        if self.ok:
            known = "" if self.planned is None else f"All {self.planned:,} planned files are there, unchanged. "
            unknown = Path(self.path).is_dir() and self.planned is None
            return f"{self.path}: {known}{self.rows:,} rows keep all {len(RULES)} rules." + (
                " It has no manifest, so it cannot be known whether it is complete." if unknown else ""
            )
        lines = [f"{self.path}: of {self.rows:,} rows"]
        for rule, count in self.counts.items():
            if count:
                lines.append(f"{count:,} break {rule!r} ({RULES[rule]}), first:")
                lines += [f"  {b}" for b in self.breaks if b.rule == rule][:3]
        return "\n".join(lines)


def check(path: str | Path) -> Report:
    """Say whether all planned files of a table are there, unchanged, and which rows break which rule of ``RULES``.

    All bytes are compared with the checksums of the manifest. The table is streamed, so memory does not grow with it.

    Args:
        path: Folder or file.

    Returns:
        Wrong files; counts per rule, and the first rows that break each with file, row group and row.

    Raises:
        PixelError: The table cannot be read at all: missing, unfinished, damaged, or of another schema.

    Lab: part1_build_dataset.
    """
    found, expected = _Found(), planned(path)
    if expected is not None and (strange := tuple(differences(path, deep=True))):
        return Report(str(path), 0, found.counts, (), expected, strange)
    meta = Meta.of(path)
    to_lonlat = Transformer.from_crs(meta.crs, "EPSG:4326", always_xy=True)
    for part in stream(path):
        found.rows += part.batch.num_rows
        whole = _whole_rows(part.batch)
        found.add(part, "null", ~whole, lambda i, b=part.batch: _nulls(b, i))
        rows = np.flatnonzero(whole)
        batch = part.batch if whole.all() else part.batch.filter(pa.array(whole))
        for rule, broken, words in _broken_places(batch, meta, to_lonlat):
            found.add(part, rule, broken, words, rows)
        for rule, broken, words in _broken_series(batch, meta):
            found.add(part, rule, broken, words, rows)
    _find_duplicates(path, found)
    breaks = sorted(found.breaks, key=lambda b: list(RULES).index(b.rule))
    return Report(str(path), found.rows, found.counts, tuple(breaks), expected)


class _Found:
    """Counts and examples as they are found."""

    def __init__(self):
        self.rows = 0
        self.counts = dict.fromkeys(RULES, 0)
        self.breaks: list[Break] = []

    def add(self, part: Part, rule: str, broken: np.ndarray, words, rows: np.ndarray | None = None) -> None:
        """Record rows of a part where ``broken``; ``words(i)`` tells what stands there, ``rows`` where i lies."""
        where = np.flatnonzero(broken)
        room = max(EXAMPLES - self.counts[rule], 0)
        for i in where[:room]:
            row = part.row + int(i if rows is None else rows[i])
            self.breaks.append(Break(str(part.file), part.row_group, row, rule, words(int(i))))
        self.counts[rule] += len(where)


def _whole_rows(batch: pa.RecordBatch) -> np.ndarray:
    whole = np.ones(batch.num_rows, bool)
    for want in SCHEMA:
        column = batch.column(want.name)
        if not want.nullable and column.null_count:
            whole &= column.is_valid().to_numpy(zero_copy_only=False)
    return whole


def _nulls(batch: pa.RecordBatch, i: int) -> str:
    empty = [f.name for f in SCHEMA if not f.nullable and not batch.column(f.name)[i].is_valid]
    return f"no {', '.join(empty)}"


def _broken_places(batch: pa.RecordBatch, meta: Meta, to_lonlat: Transformer) -> Iterator[tuple]:
    """Rules on coordinates, identities and labels: (rule, (P,) broken, words)."""
    value = {name: batch.column(name).to_numpy(zero_copy_only=False) for name in ("pixel", "block", *COORDINATES)}
    x, y = value["x"], value["y"]
    on_earth = (np.abs(x) < 1e8) & (np.abs(y) < 1e8) & (np.abs(value["lon"]) <= 360) & (np.abs(value["lat"]) <= 90)
    yield "finite", ~on_earth, lambda i: ", ".join(f"{name} {value[name][i]}" for name in COORDINATES)
    x, y = np.where(on_earth, x, 0), np.where(on_earth, y, 0)
    pixel = pixel_id(x, y, meta.resolution)
    yield "pixel", on_earth & (pixel != value["pixel"]), lambda i: f"{value['pixel'][i]}, expected {pixel[i]}"
    if "block_m" in meta.extra:
        block = _block_number(x, y, meta.extra["block_m"])
        yield "block", on_earth & (block != value["block"]), lambda i: f"{value['block'][i]}, expected {block[i]}"
    lon, lat = to_lonlat.transform(x, y)
    off = np.maximum(np.abs((lon - value["lon"] + 180) % 360 - 180), np.abs(lat - value["lat"]))
    near = off <= TOLERANCE
    yield "lonlat", on_earth & ~near, lambda i: f"{value['lon'][i]}, {value['lat'][i]}, expected {lon[i]}, {lat[i]}"
    code = batch.column("label_code").to_numpy()
    yield "label", code < 0, lambda i: str(code[i])
    sure = batch.column("label_confidence").fill_null(0).to_numpy(zero_copy_only=False)
    yield "confidence", sure > 100, lambda i: str(sure[i])


def _broken_series(batch: pa.RecordBatch, meta: Meta) -> Iterator[tuple]:
    """Rules on the byte strings: (rule, (P,) broken, words)."""
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


def _broken_observations(batch: pa.RecordBatch, fit: np.ndarray, meta: Meta) -> Iterator[tuple]:
    places = np.flatnonzero(fit)
    flat = ragged(_with_meta(batch if fit.all() else batch.filter(pa.array(fit)), meta))
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
    if "days" in meta.extra:  # a season over New Year, counted from 1 January (= 1) of the row's year
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


def _find_duplicates(path: str | Path, found: _Found) -> None:
    """Compare (pixel, year) of all rows, a share of the pixels at a time so that memory stays flat."""
    passes = max(1, -(-found.rows // PER_PASS))
    for turn in range(passes):
        parts, keys, start = [], [np.zeros((3, 0), np.int64)], 0
        for part in stream(path, ["pixel", "year"]):
            pixel, year = (part.batch.column(n).fill_null(-1).to_numpy() for n in ("pixel", "year"))
            mine = np.flatnonzero(pixel % passes == turn)
            keys.append(np.stack([pixel[mine], year[mine], mine + start]))
            parts.append((start, part.batch.num_rows, replace(part, batch=None)))
            start += part.batch.num_rows
        _add_duplicates(found, parts, np.concatenate(keys, axis=1))


def _add_duplicates(found: _Found, parts: list[tuple[int, int, Part]], keys: np.ndarray) -> None:
    """Record the rows whose (pixel, year) an earlier row has; keys: (3, R) pixel, year, row in the table."""
    pixel, year, row = keys[:, np.lexsort(keys[::-1])]
    again = np.flatnonzero((pixel[1:] == pixel[:-1]) & (year[1:] == year[:-1])) + 1
    again = again[np.argsort(row[again])]
    owner = np.searchsorted([start for start, _, _ in parts], row[again], side="right") - 1
    for number in np.unique(owner):
        start, count, part = parts[number]
        mine = again[owner == number]
        broken = np.zeros(count, bool)
        broken[row[mine] - start] = True
        words = {int(row[k] - start): f"pixel {pixel[k]} again in {year[k]}" for k in mine[:EXAMPLES]}
        found.add(part, "duplicate", broken, words.__getitem__)
