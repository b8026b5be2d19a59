"""Tables of points from other sources, read as pixel tables: field surveys, public collections, exports.

``from_long`` reads a table with a row for each point and date, ``from_wide`` one with a row for each point and a column
for each band and date, ``from_cube`` a cube of images. All share ``PointFormat``, which says what the columns mean.

Labs: part3_train_and_test, real_place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError

from arsetlib import oldnames
from arsetlib.pixels import columns
from arsetlib.pixels.arrays import make_batch
from arsetlib.pixels.meta import Meta
from arsetlib.pixels.places import places
from arsetlib.pixels.schema import BLOCK_M, PixelError, block_id, pixel_id
from arsetlib.sentinel2 import SCL
from arsetlib.study import Study

if TYPE_CHECKING:
    import xarray

STATED_CRS = ("crs_wkt", "spatial_ref", "crs")  # attributes of a cube or of its variables, the first that is there
UNCLASSIFIED = 7  # the scene class of an observation that has none


@dataclass(frozen=True)
class PointFormat:
    """What the columns and values of a table of points mean.

    Attributes:
        label: Column of the label.
        codes: Label → code, 0 to 32,767; several labels may share one. None takes the labels as codes.
        year: Column of the label's year, or that year. Windows start on a day of this year. None takes the column
            ``year`` of a wide table, and the year of each date of a long one.
        lon, lat: Columns of the position, degrees (WGS 84). Without them, Earth Engine's column ``.geo`` is read.
        crs: A projected CRS of the place, for ``x``, ``y`` and blocks, such as a UTM zone. Points must lie in the
            region in which it is used, or at most 6 degrees outside.
        resolution: Side of a pixel, m; points within one count as the same pixel.
        block_m: Side of a spatial block, m, for splits without leakage; None takes that of the study, or 10,000.
        area: Name of the area.
        study: Key of the study, or a ``Study``: then all points must lie in its areas.
        nodata: Value that means no data, or several; NaN always does.
        scale: The factor that turns a value into reflectance × 10,000; 10,000 if yours are reflectance.
        outside: ``"refuse"`` values that lie outside 0-32,767 after scaling, or ``"blank"`` them: they become 0, no
            data, and are counted.
        twins: What to do with rows that say the same pixel twice, in one year (wide) or on one day (long): ``"refuse"``
            them, or keep the ``"first"``.
        simulated: Whether the values are simulated.
    """

    label: str = "label"
    codes: Mapping | None = None
    year: str | int | None = None
    lon: str = "lon"
    lat: str = "lat"
    crs: str = "EPSG:5070"
    resolution: float = 10.0
    block_m: float | None = None
    area: str = "points"
    study: str | Study = "own_points"
    nodata: float | Sequence[float] | None = None
    scale: float = 1.0
    outside: str = "refuse"
    twins: str = "refuse"
    simulated: bool = False

    def meta(self, bands: Mapping[str, str]) -> Meta:
        """Metadata of the pixel table, checked; the CRS is checked with the positions."""
        if self.twins not in ("refuse", "first"):
            raise PixelError(f"Expected twins = 'refuse' or 'first', received {self.twins!r}.")
        if not isinstance(bands, Mapping) or not bands:
            raise PixelError(f"Expected bands={{your name: ours, …}}, such as {{'B04': 'red'}}, received {bands!r}.")
        if not isinstance(self.crs, str):
            raise PixelError(f"Expected crs as text such as 'EPSG:32636', received {self.crs!r}.")
        names = list(bands.values())
        if len(set(names)) < len(names) or not all(isinstance(n, str) and n for n in names):
            raise PixelError(f"Expected a different name of a band for each of yours, received {names}.")
        key, block_m = self.study, self.block_m
        if isinstance(self.study, Study):
            key, block_m = self.study.key, self.study.block_m if block_m is None else block_m
        block_m = BLOCK_M if block_m is None else block_m
        for name, value in (("resolution", self.resolution), ("block_m", block_m)):
            if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not 0 < value < np.inf:
                raise PixelError(f"Expected {name} in metres, above 0, received {value!r}.")
        extra: dict = {"block_m": float(block_m)}
        if not isinstance(self.study, Study) or self.study.labels.own_codes:
            extra["own_codes"] = True  # only a study can say that they are the CDL's
        return Meta(tuple(names), self.crs, float(self.resolution), key, bool(self.simulated), extra=extra)


@dataclass(frozen=True)
class _Rows:
    """P rows of a pixel table without their series, each array (P,)."""

    pixel: np.ndarray
    year: np.ndarray
    label_code: np.ndarray
    x: np.ndarray
    y: np.ndarray
    lon: np.ndarray
    lat: np.ndarray

    def take(self, rows: np.ndarray) -> _Rows:
        return _Rows(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class _Observations:
    """N observations: ``row`` is the row of the pixel table, ``source`` the row of the table of points."""

    row: np.ndarray
    source: np.ndarray
    day: np.ndarray
    scl: np.ndarray
    values: np.ndarray


def from_wide(
    frame: pd.DataFrame,
    bands: Mapping[str, str],
    dates: Sequence,
    form: PointFormat = PointFormat(),
    *,
    column: str = "{band}_{step}",
    first: int = 0,
    **old: Any,
) -> pa.Table:
    """Make a pixel table from a wide table of composites.

    Each composite becomes one observation on its date. One without a value in any band, or outside the row's year, is
    left out and counted; a single band without a value is 0, no data. Composites have no scene class: theirs is 7,
    unclassified, so a legend for such a table leaves out 'No Crops Growing', which needs SCL.

    Args:
        frame: A pandas DataFrame, one row a point and year.
        bands: Your band's name in ``column`` → ours, such as ``{"B04": "red"}``, in the order the table will have.
        dates: T dates, one for each composite (its middle, say), ascending; the same for all rows.
        form: What the other columns and the values mean.
        column: How a column is called: ``{band}`` and ``{step}`` (counted from ``first``), and ``*`` for anything.
        first: Number of the first step.
        old: Fields of ``PointFormat`` as keywords, as in version 0.1.0; until version 0.3.

    Returns:
        A table in ``SCHEMA`` with metadata, ready for ``write`` and ``samples``. The metadata's ``extra`` holds the
        labels with their codes (``label_codes``) and what is not in the table (``left_out``; see ``summary``).

    Raises:
        PixelError: Columns are missing or hold text, a label or position is missing, points lie where none is
            expected, a label has no code, values lie outside 0-32,767 after scaling or seem to have another unit,
            dates do not ascend, or two rows are the same pixel and year. The message names column and row.

    Lab: part3_train_and_test.

    >>> frame = pd.DataFrame({"lon": [33.0], "lat": [3.0], "year": [2017], "label": [1], "B4_0": [612], "B4_1": [580]})
    >>> table = from_wide(frame, {"B4": "red"}, ["2017-06-01", "2017-07-01"], PointFormat(crs="EPSG:32636"))
    >>> table["num_images"].to_pylist()
    [2]
    """
    form = oldnames.fields_of(form, old, "pixels.from_wide")
    frame = columns.checked_frame(frame)
    meta = form.meta(bands)
    days = _composite_days(dates)
    rows, label_codes = _rows(frame, form, columns.years(frame, "year" if form.year is None else form.year))
    values, blanked = _composites(frame, bands, len(days), column, first, form)
    key = np.stack([rows.pixel, rows.year.astype(np.int64)], axis=1)
    firsts = np.sort(np.unique(key, axis=0, return_index=True)[1])
    if len(firsts) < len(frame) and form.twins == "refuse":
        raise _twins(rows, firsts)
    count = len(firsts) * len(days)
    observations = _Observations(
        np.repeat(np.arange(len(firsts)), len(days)),
        np.repeat(firsts, len(days)),
        np.tile(days, len(firsts)),
        np.full(count, UNCLASSIFIED, np.uint8),
        values[firsts].reshape(count, -1),
    )
    left_out = {"rows_again": len(frame) - len(firsts), "values_blanked": blanked}
    meta.extra.update(layout="wide", label_codes=label_codes)
    return _table(rows.take(firsts), observations, meta, form, left_out)


def from_long(
    frame: pd.DataFrame,
    bands: Mapping[str, str],
    form: PointFormat = PointFormat(),
    *,
    date: str = "date",
    scl: str | None = None,
) -> pa.Table:
    """Make a pixel table from a long table: one row for each point and date, in any order.

    Rows of one pixel and year become one row of the pixel table, its observations in order of date; the pixel table
    keeps the order in which the points appear. A row without a value in any band (cloud, say), or outside the year of
    its label, is left out and counted; a single band without a value is 0, no data.

    Args:
        frame: A pandas DataFrame, one row a point and date.
        bands: Your column → our band, such as ``{"B4": "red", "B8": "nir"}``, in the order the table will have.
        form: What the other columns and the values mean.
        date: Column of the date or time. Times count as the day they have in UTC. Allowed are pandas' and Python's
            dates, text such as ``2017-01-15`` or ``2017-01-15T08:12:33Z``, numbers such as 20170115, and seconds to
            nanoseconds since 1970 (Earth Engine's ``system:time_start``).
        scl: Column of the scene class, 0 to 11; without one all observations have 7, unclassified, and a legend for
            the table leaves out 'No Crops Growing', which needs SCL.

    Returns:
        As ``from_wide``.

    Raises:
        PixelError: As in ``from_wide``; also for a date with several possible meanings, for a pixel with two labels in
            one year, and for two rows of one pixel and day.

    Lab: part3_train_and_test.

    >>> place = {"lon": [33.0, 33.0], "lat": [3.0, 3.0], "label": [1, 1]}
    >>> frame = pd.DataFrame({**place, "date": ["2017-06-01", "2017-07-01"], "B4": [612, 580]})
    >>> table = from_long(frame, {"B4": "red"}, PointFormat(crs="EPSG:32636"))
    >>> table["num_images"].to_pylist()
    [2]
    """
    frame = columns.checked_frame(frame)
    meta = form.meta(bands)
    day = columns.days(columns.column_of(frame, date), f"Column {date!r}")
    years = _years_of(day).astype(np.int16) if form.year is None else columns.years(frame, form.year)
    rows, label_codes = _rows(frame, form, years)
    names = list(bands)
    raw = np.stack([columns.numbers(frame, name) for name in names], axis=1)
    values, blanked = columns.reflectance(
        raw, lambda i, c: names[c], lambda i: i, form.nodata, form.scale, form.outside, tuple(bands.values())
    )
    firsts, owner = _series(rows)
    _check_labels(rows.label_code, firsts, owner, form.label)
    observations = _Observations(owner, np.arange(len(frame)), day, _classes(frame, scl), values)
    meta.extra.update(layout="long", label_codes=label_codes)
    return _table(rows.take(firsts), observations, meta, form, {"rows_again": 0, "values_blanked": blanked})


def from_cube(
    cube: xarray.Dataset,
    bands: Mapping[str, str],
    form: PointFormat = PointFormat(),
    *,
    time: str = "time",
    scl: str | None = None,
    drop_scl: Sequence[int] = (),
) -> pa.Table:
    """Make a pixel table from a cube of images: one row for each pixel and year, with all its dates.

    Dates may be irregular, and scene classes are kept. What is not in the table is counted: pixels without a label,
    observations of the classes that you drop, and what ``from_long`` counts.

    Args:
        cube: An xarray Dataset with the coordinates ``x`` and ``y`` in m, centres of pixels of ``form.resolution``. A
            variable is a band, (time, y, x), or the label, (y, x). Fill values that xarray has decoded are NaN, which
            means no data.
        bands: Your variable → our band, such as ``{"B4": "red", "B8": "nir"}``, in the order the table will have.
        form: What variables and values mean: ``label`` names the variable of the label, ``crs`` is that of the cube.
            ``lon`` and ``lat`` are not read.
        time: Name of the cube's dates.
        scl: Variable of the scene class, 0 to 11, (time, y, x); NaN is 0, no data. Without one all observations have
            7, unclassified.
        drop_scl: Scene classes whose observations are left out and counted.

    Returns:
        As ``from_wide``.

    Raises:
        PixelError: As in ``from_long``; also for a variable or coordinate that is missing or has other dimensions, for
            a CRS or resolution that is not the cube's, and for values that xarray has not decoded.

    Lab: real_place.
    """
    if not hasattr(cube, "data_vars"):
        raise PixelError(
            f"Expected an xarray Dataset with a variable for each band, received {type(cube).__name__}. Open a file "
            "with xarray.open_dataset; make one of a DataArray with .to_dataset('band')."
        )
    meta = form.meta(bands)
    _check_decoded(cube, bands, form, scl)
    day = columns.days(_variable(cube, time, (time,)), f"Dates {time!r}")
    x, y = _grid(cube, form)
    label = pd.Series(_variable(cube, form.label, ("y", "x")).ravel())
    there = label.notna().to_numpy()
    if not there.any():
        raise PixelError(f"Expected labels in the variable {form.label!r}, received none. Give pixels a label.")
    xs, ys = (v.ravel()[there] for v in np.meshgrid(x, y))
    lon, lat = Transformer.from_crs(form.crs, "EPSG:4326", always_xy=True).transform(xs, ys)
    frame = pd.DataFrame({"lon": lon, "lat": lat, form.label: label[there].to_numpy()})
    year_of_image = _years_of(day)
    years = np.unique(year_of_image) if form.year is None else columns.years(frame.head(1), form.year)
    count, positions = len(frame), np.flatnonzero(there)
    rows, label_codes = _rows(frame, replace(form, lon="lon", lat="lat"), np.zeros(count, np.int16))
    rows = replace(rows, x=xs, y=ys, pixel=pixel_id(xs, ys, form.resolution)).take(np.repeat(range(count), len(years)))
    rows = replace(rows, year=np.tile(years, count).astype(np.int16))

    def taken(name: str) -> np.ndarray:
        return _variable(cube, name, (time, "y", "x")).reshape(len(day), -1)[:, there].ravel()

    def place(i: int) -> str:
        row, column = divmod(int(positions[i % count]), len(x))
        return f"{row} and column {column} of the image of {_dates(day[[i // count]])[0]}"

    raw = np.stack([np.asarray(taken(name), np.float64) for name in bands], axis=1)
    values, blanked = columns.reflectance(
        raw, lambda i, c: list(bands)[c], place, form.nodata, form.scale, form.outside, tuple(bands.values())
    )
    classes = _cube_classes(scl, None if scl is None else taken(scl), len(raw))
    dropped = np.isin(classes, list(drop_scl)) & values.any(axis=1)
    number = np.minimum(np.searchsorted(years, year_of_image), len(years) - 1)
    source = np.flatnonzero(~dropped)
    image, pixel = np.divmod(source, count)
    observations = _Observations(
        pixel * len(years) + number[image], source, day[image], classes[source], values[source]
    )
    meta.extra.update(layout="cube", label_codes=label_codes)
    left_out = {
        "rows_again": 0,
        "values_blanked": blanked,
        "pixels_without_label": int((~there).sum()),
        "observations_of_dropped_classes": int(dropped.sum()),
    }
    return _table(rows, observations, meta, form, left_out)


def _rows(frame: pd.DataFrame, form: PointFormat, years: np.ndarray) -> tuple[_Rows, dict[str, int]]:
    """All rows of the table of points, and the code of each label."""
    x, y, lon, lat = places(frame, form.lon, form.lat, form.crs, form.study)
    codes, label_codes = columns.label_codes(frame, form.label, form.codes)
    return _Rows(pixel_id(x, y, form.resolution), years, codes, x, y, lon, lat), label_codes


def _table(rows: _Rows, observations: _Observations, meta: Meta, form: PointFormat, left_out: dict) -> pa.Table:
    """The pixel table, with counts of what is not in it."""
    of = observations
    has_value = of.values.any(axis=1)
    in_year = _years_of(of.day) == rows.year[of.row]
    if not in_year.any():
        dates = _dates(of.day)
        raise PixelError(
            f"No date of {dates[0]} to {dates[-1]} lies in a year of the rows, {np.unique(rows.year).tolist()}. "
            f"Correct the dates or the years."
        )
    chosen = np.flatnonzero(has_value & in_year)
    chosen = chosen[np.lexsort((of.day[chosen], of.row[chosen]))]  # stable: of one day, the first row comes first
    again = np.zeros(len(chosen), bool)
    again[1:] = (of.row[chosen][1:] == of.row[chosen][:-1]) & (of.day[chosen][1:] == of.day[chosen][:-1])
    if again.any() and form.twins == "refuse":
        k = np.flatnonzero(again)[0]
        one, other = of.source[chosen[[k - 1, k]]]
        raise PixelError(
            f"{again.sum():,} rows are the same pixel and day as another, such as rows {one} and {other} on "
            f"{_dates(of.day[chosen[[k]]])[0]}. Keep the first of each with twins='first', or, if they are different "
            f"points, make resolution smaller."
        )
    chosen = chosen[~again]
    elsewhere = has_value & ~in_year
    count = np.bincount(of.row[chosen], minlength=len(rows.pixel))
    meta.extra["left_out"] = {
        **left_out,
        "rows_again": left_out["rows_again"] + int(again.sum()),
        "observations_without_value": int((~has_value).sum()),
        "observations_of_another_year": int(elsewhere.sum()),
        "dates_of_another_year": _dates(of.day[elsewhere]),
        "rows_without_observation": int((count == 0).sum()),
    }
    batch = make_batch(
        day=of.day[chosen],
        scl=of.scl[chosen],
        bands=of.values[chosen],
        offsets=np.concatenate([[0], np.cumsum(count)]),
        area=form.area,
        block=block_id(rows.x, rows.y, meta.extra["block_m"]),
        **vars(rows),
    )
    return pa.Table.from_batches([batch]).replace_schema_metadata(meta.to_kv())


def _years_of(day: np.ndarray) -> np.ndarray:
    """(N,) int64 calendar year of days since 1970-01-01."""
    return day.astype("datetime64[D]").astype("datetime64[Y]").astype(np.int64) + 1970


def _dates(day: np.ndarray) -> list[str]:
    """Days since 1970-01-01 as text, each once, ascending."""
    return [str(date) for date in np.unique(day).astype("datetime64[D]")]


# -- wide tables ----------------------------------------------------------------------------------------------------


def _composite_days(dates: Sequence) -> np.ndarray:
    if isinstance(dates, str) or not np.iterable(dates) or not len(dates := list(dates)):
        raise PixelError(f"Expected dates=[…], one for each composite, received {dates!r}.")
    day = columns.days(dates, "dates")
    if (np.diff(day) <= 0).any():
        raise PixelError(f"Expected dates from 1970 on in ascending order, received {list(map(str, dates))[:5]}.")
    return day


def _composites(
    frame: pd.DataFrame, bands: Mapping[str, str], steps: int, column: str, first: int, form: PointFormat
) -> tuple[np.ndarray, int]:
    """(P, T, C) uint16, 0 where there is no value, and how many values were blanked."""
    names = [[_column_name(frame, column, band, first + step) for band in bands] for step in range(steps)]
    for band in bands:
        for step in (first - 1, first + steps):
            beside = _matching(frame, column, band, step)
            if beside:
                raise PixelError(
                    f"Expected a date for each composite, received {steps} dates from step {first} on, and the table "
                    f"also has the column {beside[0]!r}. Give its date, too (first=… is the number of the first step), "
                    f"or drop this column."
                )
    numbers = [np.stack([columns.numbers(frame, name) for name in row], axis=1) for row in names]
    raw = np.stack(numbers, axis=1)  # (P, T, C)
    values, blanked = columns.reflectance(
        raw.reshape(-1, len(bands)),
        lambda i, c: names[i % steps][c],
        lambda i: i // steps,
        form.nodata,
        form.scale,
        form.outside,
        tuple(bands.values()),
        steps,
    )
    return values.reshape(raw.shape), blanked


def _matching(frame: pd.DataFrame, column: str, band: str, step: int) -> list[str]:
    pattern = re.escape(column).replace(r"\{band\}", re.escape(str(band))).replace(r"\{step\}", str(step))
    return [c for c in frame.columns if re.fullmatch(pattern.replace(r"\*", ".*"), str(c))]


def _column_name(frame: pd.DataFrame, column: str, band: str, step: int) -> str:
    names = _matching(frame, column, band, step)
    if len(names) != 1:
        asked = column.replace("{band}", str(band)).replace("{step}", str(step))
        raise PixelError(
            f"Expected one column called {asked!r}, found {names[: columns.SHOWN] or 'none'}. The table has "
            f"{list(frame.columns[: columns.SHOWN])} and so on; give the names of yours with column=… and first=…."
        )
    return names[0]


def _twins(rows: _Rows, firsts: np.ndarray) -> PixelError:
    row = np.setdiff1d(np.arange(len(rows.pixel)), firsts)[0]
    same = np.flatnonzero((rows.pixel == rows.pixel[row]) & (rows.year == rows.year[row]))
    return PixelError(
        f"{len(rows.pixel) - len(firsts)} rows are the same pixel and year as another, such as rows "
        f"{same[: columns.SHOWN].tolist()}. Keep the first of each with twins='first', or make resolution smaller."
    )


# -- long tables ----------------------------------------------------------------------------------------------------


def _series(rows: _Rows) -> tuple[np.ndarray, np.ndarray]:
    """(P,) first row of each pixel and year in order of appearance, and (N,) which of them each row belongs to."""
    key = np.stack([rows.pixel, rows.year.astype(np.int64)], axis=1)
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
            f"resolution smaller if these are different points."
        )


def _classes(frame: pd.DataFrame, scl: str | None) -> np.ndarray:
    """(N,) uint8, the scene class of each row."""
    if scl is None:
        return np.full(len(frame), UNCLASSIFIED, np.uint8)
    value = columns.numbers(frame, scl)
    wrong = ~np.isin(value, np.arange(len(SCL)))
    if wrong.any():
        raise PixelError(
            f"Column {scl!r}: expected scene classes 0 to {len(SCL) - 1}, received {value[wrong][0]:g} in "
            f"{columns.rows_of(wrong)}. Drop these rows, or leave scl out."
        )
    return value.astype(np.uint8)


# -- cubes ----------------------------------------------------------------------------------------------------------


def _variable(cube: xarray.Dataset, name: str, dims: tuple[str, ...]) -> np.ndarray:
    """The values of a variable in this order of dimensions."""
    if name not in cube.variables:
        raise PixelError(f"Expected a variable {name!r} in the cube, it has {sorted(map(str, cube.variables))}.")
    if set(cube[name].dims) != set(dims):
        raise PixelError(
            f"Variable {name!r}: expected the dimensions {dims}, received {cube[name].dims}. Rename those of your cube "
            f"with cube.rename(…), or name the one of the dates with time=…."
        )
    return cube[name].transpose(*dims).values


def _check_decoded(cube: xarray.Dataset, bands: Mapping[str, str], form: PointFormat, scl: str | None) -> None:
    """Refuse stored counts and fill values that a variable states, and that xarray has not decoded."""
    of_bands = [0.0, *np.atleast_1d([] if form.nodata is None else form.nodata)]
    for name in dict.fromkeys([*bands, form.label, *([] if scl is None else [scl])]):
        if name not in cube.variables:
            continue
        stated = {key: v for key, v in cube[name].attrs.items() if not isinstance(v, str)}
        known = of_bands if name in bands else [0.0] if name == scl else []
        factor, offset = (float(stated.get(key, usual)) for key, usual in (("scale_factor", 1), ("add_offset", 0)))
        if (factor, offset) != (1, 0) and not (name in bands and offset == 0 and np.isclose(factor * 1e4, form.scale)):
            raise PixelError(
                f"Variable {name!r} states scale_factor={factor:g} and add_offset={offset:g}, and its values are not "
                "decoded. Open the file with mask_and_scale=True, or compute the values and delete both attributes."
            )
        for key in ("_FillValue", "missing_value", "nodata"):
            for fill in np.atleast_1d(stated.get(key, [])):
                if fill in known:
                    continue
                if found := int((cube[name] == fill).sum()):
                    raise PixelError(
                        f"Variable {name!r} states that {fill:g} means no data ({key}), and {found:,} of its values "
                        f"are {fill:g}. Make them NaN: cube[{name!r}].where(cube[{name!r}] != {fill:g})"
                        + (f", or use nodata={fill:g}." if name in bands else ".")
                    )


def _grid(cube: xarray.Dataset, form: PointFormat) -> tuple[np.ndarray, np.ndarray]:
    """(W,) x and (H,) y, m, if resolution and CRS are those that the form says."""
    x, y = (np.asarray(_variable(cube, name, (name,)), np.float64) for name in ("x", "y"))
    for name, values in (("x", x), ("y", y)):
        steps = np.abs(np.diff(values))
        if len(steps) and not np.allclose(steps, form.resolution, rtol=1e-3):
            raise PixelError(
                f"Expected resolution={form.resolution:g} m from one {name} to the next, the cube has steps of "
                f"{steps.min():g} to {steps.max():g}. Correct resolution=…."
            )
    stated = {
        key: v
        for attributes in (cube.attrs, *(cube[name].attrs for name in cube.variables))
        for key, v in attributes.items()
        if key in STATED_CRS
    }
    if stated:
        text = next(stated[key] for key in STATED_CRS if key in stated)
        try:
            found = CRS(text)
        except CRSError:
            raise PixelError(
                f"The cube states a CRS that is none: {str(text)[:60]!r}. Correct it, or delete this attribute and "
                "give the CRS as crs=…."
            ) from None
        corners = (x[[0, -1]], y[[0, -1]])
        moved = np.subtract(Transformer.from_crs(found, form.crs, always_xy=True).transform(*corners), corners)
        if not np.abs(moved).max() < form.resolution / 10:
            raise PixelError(f"Expected crs={form.crs!r}, the cube states {found.name!r}. Give its CRS as crs=….")
    return x, y


def _cube_classes(name: str | None, values: np.ndarray | None, count: int) -> np.ndarray:
    """(N,) uint8, the scene class of each observation of a cube."""
    if values is None:
        return np.full(count, UNCLASSIFIED, np.uint8)
    frame = pd.DataFrame({name: np.nan_to_num(np.asarray(values, np.float64))})
    return _classes(frame, name)
