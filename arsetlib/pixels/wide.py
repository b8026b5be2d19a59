"""Tables of points with a column for each band and date, read as pixel tables: bring your own labels.

Field surveys and public collections of labelled points often come like this: one row a point, one column for each
band of each composite. ``from_wide`` makes a pixel table of them, so that loader, models and scores work as ever.
``from_long`` reads tables with one row for each point and date.

Lab: part3_train_and_test.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from arsetlib.pixels import points
from arsetlib.pixels.places import places
from arsetlib.pixels.table import PixelError, pixel_id
from arsetlib.study import Study


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
    block_m: float | None = None,
    year: str | int = "year",
    area: str = "points",
    nodata: float | Sequence[float] | None = None,
    scale: float = 1.0,
    outside: str = "refuse",
    study: str | Study = "own_points",
    simulated: bool = False,
    twins: str = "refuse",
) -> pa.Table:
    """Make a pixel table from a wide table of composites.

    Each composite becomes one observation on its date. One without a value in any band, or outside the row's year, is
    left out and counted; a single band without a value is 0, no data. Composites have no scene class: theirs is 7,
    unclassified, so a legend for such a table leaves out 'No Crops Growing', which needs SCL.

    Args:
        frame: A pandas DataFrame, one row a point and year.
        bands: Your band's name in ``column`` → ours, such as ``{"B04": "red"}``, in the order the table will have.
        dates: T dates, one for each composite (its middle, say), ascending; the same for all rows.
        column: How a column is called: ``{band}`` and ``{step}`` (counted from ``first``), and ``*`` for anything.
        first: Number of the first step.
        label: Column of the label.
        codes: Label → code, 0 to 32,767; several labels may share one. None takes the labels as codes.
        lon, lat: Columns of the position, degrees (WGS 84). Without them, Earth Engine's column ``.geo`` is read.
        crs: A projected CRS of the place, for ``x``, ``y`` and blocks, such as a UTM zone. Points must lie in the
            region in which it is used, or at most 6 degrees outside.
        resolution: Side of a pixel, m; points within one count as the same pixel.
        block_m: Side of a spatial block, m, for splits without leakage; that of the study, or 10,000.
        year: Column of the label's year, or that year. Windows start on a day of this year.
        area: Name of the area.
        nodata: Value that stands for none, or several; NaN always does.
        scale: What turns a value into reflectance × 10,000; 10,000 where yours are reflectance.
        outside: ``"refuse"`` values that lie outside 0-32,767 after scaling, or ``"blank"`` them: they become 0, no
            data, and are counted.
        study: Key of the study, or a ``Study``: then all points must lie in its areas.
        simulated: Whether the values were made up.
        twins: ``"refuse"`` two rows of the same pixel and year, or keep the ``"first"``.

    Returns:
        A table in ``SCHEMA`` with metadata, ready for ``write`` and ``samples``. In the metadata's ``extra`` stand the
        labels with their codes (``label_codes``) and what is not in the table (``left_out``; see ``describe``).

    Raises:
        PixelError: Columns are missing or hold text, a label or position is missing, points lie where none is
            expected, a label has no code, values lie outside 0-32,767 after scaling or seem to have another unit,
            dates do not ascend, or two rows are the same pixel and year. The message names column and row.

    Lab: part3_train_and_test.
    """
    if twins not in ("refuse", "first"):
        raise PixelError(f"Expected twins = 'refuse' or 'first', received {twins!r}.")
    frame = points.checked_frame(frame)
    meta = points.meta_of(bands, crs, resolution, block_m, study, simulated)
    day = _days(dates)
    place = places(frame, lon, lat, crs, study)
    years = points.years(frame, year)
    pixel = pixel_id(*place[:2], resolution)
    label_code, named = points.label_codes(frame, label, codes)
    values, blanked = _values(frame, bands, len(day), column, first, nodata, scale, outside)
    rows = _firsts(pixel, years)
    if len(rows) < len(frame) and twins == "refuse":
        raise _twins(pixel, years, rows)
    pixel, years, label_code, values = pixel[rows], years[rows], label_code[rows], values[rows]
    in_year = years[:, None] == day.astype("datetime64[D]").astype("datetime64[Y]").astype(int) + 1970
    if not in_year.any():
        raise PixelError(
            f"No date of {dates[0]} to {dates[-1]} lies in a year of the rows, {np.unique(years).tolist()}. "
            f"Correct dates=… or the years."
        )
    there = values.any(axis=2)
    seen = there & in_year
    elsewhere = there & ~in_year
    when = np.broadcast_to(day, seen.shape)
    left_out = {
        "rows_again": len(frame) - len(rows),
        "observations_without_value": int((~there).sum()),
        "observations_of_another_year": int(elsewhere.sum()),
        "dates_of_another_year": points.dates_named(when[elsewhere]),
        "rows_without_observation": int((~seen.any(axis=1)).sum()),
        "values_blanked": blanked,
    }
    meta.extra.update(layout="wide", label_codes=named, left_out=left_out)
    offsets = np.concatenate([[0], np.cumsum(seen.sum(axis=1))])
    observations = when[seen], np.full(seen.sum(), points.UNCLASSIFIED), values[seen], offsets
    return points.table_of(observations, (pixel, years, label_code, *(v[rows] for v in place)), meta, area)


def _days(dates: Sequence) -> np.ndarray:
    if isinstance(dates, str) or not np.iterable(dates) or not len(dates := list(dates)):
        raise PixelError(f"Expected dates=[…], one for each composite, received {dates!r}.")
    day = points.days(dates, "dates")
    if (np.diff(day) <= 0).any():
        raise PixelError(f"Expected dates from 1970 on in ascending order, received {list(map(str, dates))[:5]}.")
    return day


def _values(frame, bands, steps: int, column: str, first: int, nodata, scale: float, outside: str):
    """(P, T, C) uint16, 0 where there is no value, and how many values were blanked."""
    names = [[_named(frame, column, band, first + step) for band in bands] for step in range(steps)]
    for band in bands:
        for step in (first - 1, first + steps):
            beside = _matching(frame, column, band, step)
            if beside:
                raise PixelError(
                    f"Expected a date for each composite, received {steps} dates from step {first} on, and the table "
                    f"also has the column {beside[0]!r}. Give its date, too (first=… says which step is the first), "
                    f"or drop this column."
                )
    raw = np.stack([np.stack([points.numbers(frame, n) for n in row], axis=1) for row in names], axis=1)  # (P, T, C)
    values, blanked = points.reflectance(
        raw.reshape(-1, len(bands)),
        lambda i, c: names[i % steps][c],
        lambda i: i // steps,
        nodata,
        scale,
        outside,
        steps,
    )
    return values.reshape(raw.shape), blanked


def _matching(frame, column: str, band: str, step: int) -> list:
    pattern = re.escape(column).replace(r"\{band\}", re.escape(str(band))).replace(r"\{step\}", str(step))
    return [c for c in frame.columns if re.fullmatch(pattern.replace(r"\*", ".*"), str(c))]


def _named(frame, column: str, band: str, step: int) -> str:
    found = _matching(frame, column, band, step)
    if len(found) != 1:
        asked = column.replace("{band}", str(band)).replace("{step}", str(step))
        raise PixelError(
            f"Expected one column called {asked!r}, found {found[: points.SHOWN] or 'none'}. The table has "
            f"{list(frame.columns[: points.SHOWN])} and so on; say how yours are called with column=… and first=…."
        )
    return found[0]


def _firsts(pixel: np.ndarray, year: np.ndarray) -> np.ndarray:
    """Rows that are the first of their pixel and year, ascending."""
    key = np.stack([pixel, year.astype(np.int64)], axis=1)
    return np.sort(np.unique(key, axis=0, return_index=True)[1])


def _twins(pixel: np.ndarray, year: np.ndarray, first: np.ndarray) -> PixelError:
    row = np.setdiff1d(np.arange(len(pixel)), first)[0]
    same = np.flatnonzero((pixel == pixel[row]) & (year == year[row]))
    return PixelError(
        f"{len(pixel) - len(first)} rows are the same pixel and year as another, such as rows "
        f"{same[: points.SHOWN].tolist()}. Keep the first of each with twins='first', or make resolution smaller."
    )
