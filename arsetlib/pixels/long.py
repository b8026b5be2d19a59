"""Tables of points with a row for each point and date, read as pixel tables: the form of most exports.

Lab: part3_train_and_test.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from arsetlib.pixels import points
from arsetlib.pixels.places import places
from arsetlib.pixels.table import PixelError, pixel_id
from arsetlib.sentinel2 import SCL
from arsetlib.study import Study


def from_long(
    frame,
    bands: Mapping[str, str],
    *,
    date: str = "date",
    label: str = "label",
    codes: Mapping | None = None,
    lon: str = "lon",
    lat: str = "lat",
    scl: str | None = None,
    crs: str = "EPSG:5070",
    resolution: float = 10.0,
    block_m: float | None = None,
    year: str | int | None = None,
    area: str = "points",
    nodata: float | Sequence[float] | None = None,
    scale: float = 1.0,
    outside: str = "refuse",
    study: str | Study = "own_points",
    simulated: bool = False,
    twins: str = "refuse",
) -> pa.Table:
    """Make a pixel table from a long table: one row for each point and date, in any order.

    Rows of one pixel and year become one row of the pixel table, its observations in order of date; the pixel table
    keeps the order in which the points appear. A row without a value in any band (cloud, say), or outside the year of
    its label, is left out and counted; a single band without a value is 0, no data.

    Args:
        frame: A pandas DataFrame, one row a point and date.
        bands: Your column → our band, such as ``{"B4": "red", "B8": "nir"}``, in the order the table will have.
        date: Column of the date or time. Times count as the day they have in UTC. Taken are pandas' and Python's
            dates, text such as ``2017-01-15`` or ``2017-01-15T08:12:33Z``, numbers such as 20170115, and seconds to
            nanoseconds since 1970 (Earth Engine's ``system:time_start``).
        scl: Column of the scene class, 0 to 11; without one all observations have 7, unclassified, and a legend for
            the table leaves out 'No Crops Growing', which needs SCL.
        year: Column of the label's year, or that year; None takes the year of each date.
        label, codes, lon, lat, crs, resolution, block_m, area, nodata, scale, outside, study, simulated: As in
            ``from_wide``.
        twins: ``"refuse"`` two rows of the same pixel and day, as where two tiles overlap, or keep the ``"first"`` of
            those that have a value.

    Returns:
        As ``from_wide``.

    Raises:
        PixelError: As in ``from_wide``; also for a date whose meaning is not certain, and for a pixel with two labels
            in one year.

    Lab: part3_train_and_test.
    """
    if twins not in ("refuse", "first"):
        raise PixelError(f"Expected twins = 'refuse' or 'first', received {twins!r}.")
    frame = points.checked_frame(frame)
    meta = points.meta_of(bands, crs, resolution, block_m, study, simulated)
    day = points.days(frame[points.known(frame, date)], f"Column {date!r}")
    of_date = day.astype("datetime64[D]").astype("datetime64[Y]").astype(np.int64) + 1970
    years = of_date.astype(np.int16) if year is None else points.years(frame, year)
    place = places(frame, lon, lat, crs, study)
    pixel = pixel_id(*place[:2], resolution)
    label_code, named = points.label_codes(frame, label, codes)
    columns = list(bands)
    raw = np.stack([points.numbers(frame, name) for name in columns], axis=1)
    values, blanked = points.reflectance(raw, lambda i, c: columns[c], lambda i: i, nodata, scale, outside)
    classes = _classes(frame, scl)

    firsts, owner = _series(pixel, years)
    _check_labels(label_code, firsts, owner, label)
    there = values.any(axis=1)
    in_year = of_date == years
    if not in_year.any():
        raise PixelError(
            f"No date of {points.dates_named(day)[0]} to {points.dates_named(day)[-1]} lies in a year of the rows, "
            f"{np.unique(years).tolist()}. Correct the dates or the years."
        )
    rows = np.flatnonzero(there & in_year)
    rows = rows[np.lexsort((day[rows], owner[rows]))]  # stable: of one day, the first row of the table comes first
    again = np.zeros(len(rows), bool)
    again[1:] = (owner[rows][1:] == owner[rows][:-1]) & (day[rows][1:] == day[rows][:-1])
    if again.any() and twins == "refuse":
        k = np.flatnonzero(again)[0]
        raise PixelError(
            f"{again.sum():,} rows are the same pixel and day as another, such as rows {rows[k - 1]} and {rows[k]} on "
            f"{points.dates_named(day[rows[k : k + 1]])[0]}. Keep the first of each with twins='first', or, where they "
            f"are different points, make resolution smaller."
        )
    kept = rows[~again]
    elsewhere = there & ~in_year
    count = np.bincount(owner[kept], minlength=len(firsts))
    left_out = {
        "rows_again": int(again.sum()),
        "observations_without_value": int((~there).sum()),
        "observations_of_another_year": int(elsewhere.sum()),
        "dates_of_another_year": points.dates_named(day[elsewhere]),
        "rows_without_observation": int((count == 0).sum()),
        "values_blanked": blanked,
    }
    meta.extra.update(layout="long", label_codes=named, left_out=left_out)
    observations = day[kept], classes[kept], values[kept], np.concatenate([[0], np.cumsum(count)])
    rows = (pixel[firsts], years[firsts], label_code[firsts], *(v[firsts] for v in place))
    return points.table_of(observations, rows, meta, area)


def _series(pixel: np.ndarray, years: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(P,) first row of each pixel and year in order of appearance, and (N,) which of them each row belongs to."""
    key = np.stack([pixel, years.astype(np.int64)], axis=1)
    _, firsts, owner = np.unique(key, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(firsts)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return firsts[order], rank[owner.reshape(-1)]


def _check_labels(codes: np.ndarray, firsts: np.ndarray, owner: np.ndarray, label: str) -> None:
    wrong = np.flatnonzero(codes != codes[firsts][owner])
    if len(wrong):
        row, first = wrong[0], firsts[owner[wrong[0]]]
        raise PixelError(
            f"Column {label!r}: expected one label for each pixel and year, received another in {len(wrong):,} rows; "
            f"rows {first} and {row} have the codes {codes[first]} and {codes[row]}. Correct the label, or make "
            f"resolution smaller where these are different points."
        )


def _classes(frame, scl: str | None) -> np.ndarray:
    """(N,) uint8, the scene class of each row."""
    if scl is None:
        return np.full(len(frame), points.UNCLASSIFIED, np.uint8)
    value = points.numbers(frame, scl)
    wrong = ~np.isin(value, np.arange(len(SCL)))
    if wrong.any():
        raise PixelError(
            f"Column {scl!r}: expected scene classes 0 to {len(SCL) - 1}, received {value[wrong][0]:g} in "
            f"{points.rows_of(wrong)}. Drop these rows, or leave scl out."
        )
    return value.astype(np.uint8)
