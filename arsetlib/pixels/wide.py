"""Tables of points with a column for each band and date, read as pixel tables: bring your own labels.

Field surveys and public collections of labelled points often come like this: one row a point, one column for each
band of each composite. ``from_wide`` makes a pixel table of them, so that loader, models and scores work as ever.

Lab: part3_train_and_test.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
from pyproj import CRS, Transformer

from arsetlib.pixels.table import MAX_DN, Meta, PixelError, block_id, make_batch, pixel_id

UNCLASSIFIED = 7  # a composite has no scene class; this one makes no claim
SHOWN = 5  # columns, values or rows that a message names


def from_wide(
    frame,
    bands: Mapping[str, str],
    dates: Sequence,
    *,
    column: str = "{band}_{step}",
    first: int = 0,
    label: str = "label",
    codes: Mapping | None = None,
    lon: str = "lon",
    lat: str = "lat",
    crs: str = "EPSG:5070",
    resolution: float = 10.0,
    block_m: float = 10_000.0,
    year: str | int = "year",
    area: str = "points",
    nodata: float | None = None,
    scale: float = 1.0,
    study: str = "own_points",
    simulated: bool = False,
    twins: str = "refuse",
) -> pa.Table:
    """Make a pixel table from a wide table of composites.

    Each composite becomes one observation on its date. One without a value in any band, or outside the row's year, is
    left out; a single band without a value is 0, no data. Composites have no scene class: theirs is 7, unclassified,
    so a legend for such a table leaves out 'No Crops Growing', which needs SCL.

    Args:
        frame: A pandas DataFrame, one row a point and year.
        bands: Your band's name in ``column`` → ours, such as ``{"B04": "red"}``, in the order the table will have.
        dates: T dates, one for each composite (its middle, say), ascending; the same for all rows.
        column: How a column is called: ``{band}`` and ``{step}`` (counted from ``first``), and ``*`` for anything.
        first: Number of the first step.
        label: Column of the label.
        codes: Label → code, 0 to 32,767; several labels may share one. None takes the labels as codes.
        lon, lat: Columns of the position, degrees (WGS 84).
        crs: A projected CRS of the place, for ``x``, ``y`` and blocks, such as a UTM zone.
        resolution: Side of a pixel, m; points within one count as the same pixel.
        block_m: Side of a spatial block, m, for splits without leakage.
        year: Column of the label's year, or that year. Windows start on a day of this year.
        area: Name of the area.
        nodata: Value that stands for none; NaN always does.
        scale: What turns a value into reflectance × 10,000; 10,000 where yours are reflectance.
        study: Key of the study.
        simulated: Whether the values were made up.
        twins: ``"refuse"`` two rows of the same pixel and year, or keep the ``"first"``.

    Returns:
        A table in ``SCHEMA`` with metadata, ready for ``write`` and ``samples``; labels and their codes are in the
        metadata's ``extra``.

    Raises:
        PixelError: Columns are missing, a label has no code, values lie outside 1-32,767 after scaling, dates do not
            ascend, positions are missing, or two rows are the same pixel and year.

    Lab: part3_train_and_test.
    """
    if twins not in ("refuse", "first"):
        raise PixelError(f"Expected twins = 'refuse' or 'first', received {twins!r}.")
    day = _days(dates)
    x, y, longitude, latitude = _places(frame, lon, lat, crs)
    years = frame[_known(frame, year)].to_numpy(np.int16) if isinstance(year, str) else np.full(len(frame), year, "i2")
    pixel = pixel_id(x, y, resolution)
    first_of = _firsts(pixel, years)
    if len(first_of) < len(frame):
        if twins == "refuse":
            raise _twins(pixel, years, first_of)
        frame, pixel, years = frame.iloc[first_of], pixel[first_of], years[first_of]
        x, y, longitude, latitude = (v[first_of] for v in (x, y, longitude, latitude))
    values = _values(frame, bands, len(day), column, first, nodata, scale)
    label_code, named = _codes(frame, label, codes)
    in_year = years[:, None] == np.asarray(dates, "datetime64[Y]").astype(int) + 1970
    if not in_year.any():
        raise PixelError(
            f"No date of {dates[0]} to {dates[-1]} lies in a year of the rows, {np.unique(years).tolist()}."
        )
    seen = values.any(axis=2) & in_year
    batch = make_batch(
        day=np.broadcast_to(day, seen.shape)[seen],
        scl=np.full(seen.sum(), UNCLASSIFIED),
        bands=values[seen],
        offsets=np.concatenate([[0], np.cumsum(seen.sum(axis=1))]),
        pixel=pixel,
        year=years,
        area=area,
        block=block_id(x, y, block_m),
        x=x,
        y=y,
        lon=longitude,
        lat=latitude,
        label_code=label_code,
    )
    extra = {"block_m": block_m, "layout": "wide", "label_codes": named}
    meta = Meta(tuple(bands.values()), crs, resolution, study, simulated, extra=extra)
    return pa.Table.from_batches([batch]).replace_schema_metadata(meta.to_kv())


def _days(dates: Sequence) -> np.ndarray:
    day = np.asarray(dates, "datetime64[D]").astype(np.int64)
    if day.ndim != 1 or not len(day) or (np.diff(day) <= 0).any() or day[0] < 0 or day[-1] > 65_535:
        raise PixelError(f"Expected dates from 1970 on in ascending order, received {list(map(str, dates))[:SHOWN]}.")
    return day


def _values(frame, bands, steps: int, column: str, first: int, nodata, scale: float) -> np.ndarray:
    """(P, T, C) uint16, 0 where there is no value."""
    names = [[_named(frame, column, band, first + step) for band in bands] for step in range(steps)]
    raw = np.stack([frame[row].to_numpy(np.float64) for row in names], axis=1)  # (P, T, C)
    none = np.isnan(raw) if nodata is None else np.isnan(raw) | (raw == nodata)
    scaled = np.round(np.where(none, 0, raw * scale))
    wrong = ~none & ((scaled < 0) | (scaled > MAX_DN))
    if wrong.any():
        i, t, c = np.argwhere(wrong)[0]
        raise PixelError(
            f"{wrong.sum()} values lie outside 0-{MAX_DN} as reflectance × 10,000; the first is {raw[i, t, c]} in "
            f"column {names[t][c]!r}, row {i}. Name the value that stands for no data with nodata=…, and scale=10_000 "
            f"where yours are reflectance from 0 to 1."
        )
    # 0 is a value in the wide table and 'no data' in ours.
    return np.where(none, 0, scaled.clip(1)).astype("<u2")


def _named(frame, column: str, band: str, step: int) -> str:
    pattern = re.escape(column).replace(r"\{band\}", re.escape(band)).replace(r"\{step\}", str(step))
    found = [c for c in frame.columns if re.fullmatch(pattern.replace(r"\*", ".*"), str(c))]
    if len(found) != 1:
        asked = column.replace("{band}", band).replace("{step}", str(step))
        raise PixelError(
            f"Expected one column called {asked!r}, found {found[:SHOWN] or 'none'}. The table has "
            f"{list(frame.columns[:SHOWN])} and so on; say how yours are called with column=… and first=…."
        )
    return found[0]


def _known(frame, name: str) -> str:
    if name not in frame.columns:
        raise PixelError(f"Expected a column {name!r}, the table has {list(frame.columns[:SHOWN])} and so on.")
    return name


def _codes(frame, label: str, codes: Mapping | None) -> tuple[np.ndarray, dict[str, int]]:
    """(P,) int16 and what each label became."""
    labels = frame[_known(frame, label)]
    present = labels.unique().tolist()
    if codes is None:
        codes = {value: value for value in present}
    unknown = [value for value in present if value not in codes]
    if unknown:
        raise PixelError(
            f"The labels {unknown[:SHOWN]} have no code. Give each one: codes={{{unknown[0]!r}: 1, …}}; codes that the "
            f"legend excludes are left out of training."
        )
    bad = [
        c for c in codes.values() if isinstance(c, bool) or not isinstance(c, int | np.integer) or not 0 <= c < 2**15
    ]
    if bad:
        raise PixelError(
            f"Codes must be whole numbers from 0 to 32,767, received {bad[:SHOWN]}. Give each label one of your own "
            f"with codes={{label: code, …}}."
        )
    return labels.map(codes).to_numpy(np.int16), {str(value): int(codes[value]) for value in present}


def _places(frame, lon: str, lat: str, crs: str):
    if not CRS(crs).is_projected:
        raise PixelError(f"Expected a projected CRS, so that blocks are in metres, received {crs}. Take the UTM zone.")
    longitude, latitude = (frame[_known(frame, name)].to_numpy(np.float64) for name in (lon, lat))
    x, y = (
        np.asarray(v) for v in Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform(longitude, latitude)
    )
    wrong = np.flatnonzero(~np.isfinite(x) | ~np.isfinite(y) | ~np.isfinite(longitude + latitude))
    if len(wrong):
        raise PixelError(f"{len(wrong)} rows have no position in {crs}; the first are {wrong[:SHOWN].tolist()}.")
    return x, y, longitude, latitude


def _firsts(pixel: np.ndarray, year: np.ndarray) -> np.ndarray:
    """Rows that are the first of their pixel and year, ascending."""
    key = np.stack([pixel, year.astype(np.int64)], axis=1)
    return np.sort(np.unique(key, axis=0, return_index=True)[1])


def _twins(pixel: np.ndarray, year: np.ndarray, first: np.ndarray) -> PixelError:
    row = np.setdiff1d(np.arange(len(pixel)), first)[0]
    same = np.flatnonzero((pixel == pixel[row]) & (year == year[row]))
    return PixelError(
        f"{len(pixel) - len(first)} rows are the same pixel and year as another, such as rows {same[:SHOWN].tolist()}. "
        f"Keep the first of each with twins='first', or make resolution smaller."
    )
