"""Columns of a table of points: numbers, years, dates, labels and values; positions are in ``places``.

Each function refuses invalid values. Its error names the column, the row (the first is 0) and what to do.

Lab: part3_train_and_test.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal

import numpy as np
import pandas as pd

from arsetlib.pixels.schema import MAX_DN, PixelError
from arsetlib.sentinel2 import NEAR_INFRARED

SHOWN = 5  # columns, values or rows that a message names
YEARS = (1970, 2148)  # those whose days all fit into the table's 16 bits
DARK = 150  # reflectance × 10,000; if no value of a band is larger, it is probably percent or reflectance from 0 to 1
BYTE = 255  # if no value of the table is larger, it is probably an 8-bit picture or percent
DIM = 500  # if no near infrared of the table is larger, its values are probably x 1,000 or percent
BRIGHTEST = 15_000  # if half of a band's values are larger, they are probably x 100,000, or stretched to 16 bits
BRIGHT = 7000  # if all values are larger, they are probably Landsat numbers, in which 7,273 is a reflectance of 0
FILLERS = (0, 9999, MAX_DN)  # mean no data where all bands have them
UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
EPOCH = (3e8, 5.6e9)  # seconds since 1970 of an image: 1979 to 2147


def checked_frame(frame: object) -> pd.DataFrame:
    """The table, if it is a pandas table with rows and one column of each name."""
    if not isinstance(frame, pd.DataFrame):
        raise PixelError(
            f"Expected a pandas DataFrame, received {type(frame).__name__}. Read your file with pandas.read_csv or "
            f"pandas.read_parquet; pyarrow and polars tables have .to_pandas()."
        )
    if frame.empty:
        raise PixelError(f"Expected a table with rows, received {len(frame)} rows of {frame.shape[1]} columns.")
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice):
        raise PixelError(f"Expected one column of each name, received {twice[0]!r} twice. Rename or drop one.")
    return frame


def column_of(frame: pd.DataFrame, name: str) -> pd.Series:
    """A column of the table."""
    if name not in frame.columns:
        raise PixelError(f"Expected a column {name!r}, the table has {list(frame.columns[:SHOWN])} and so on.")
    return frame[name]


def numbers(frame: pd.DataFrame, name: str) -> np.ndarray:
    """(P,) float64 of a column; NaN where it has no value. Text is refused: '0,123' and '1.234' can mean several."""
    column = column_of(frame, name)
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.cat.categories.dtype)
    kinds = pd.api.types.is_bool_dtype, pd.api.types.is_datetime64_any_dtype, pd.api.types.is_complex_dtype
    if any(kind(column) for kind in kinds):
        raise PixelError(f"Column {name!r}: expected numbers, received {column.dtype}. Name another column.")
    if not pd.api.types.is_numeric_dtype(column):
        value = column.map(lambda v: not pd.api.types.is_number(v) and not _missing(v) and not isinstance(v, Decimal))
        wrong = np.flatnonzero(value.to_numpy(bool))
        if len(wrong):
            example = column.iloc[wrong[0]]
            comma = isinstance(example, str) and "," in example
            raise PixelError(
                f"Column {name!r}, row {wrong[0]}: expected a number, received {example!r} ({len(wrong)} such rows). "
                + (
                    "Read the file with pandas.read_csv(…, decimal=',')."
                    if comma
                    else f"Make numbers of them with pandas.to_numeric(frame[{name!r}])."
                )
            )
        column = column.map(lambda v: np.nan if _missing(v) else float(v))
    return column.to_numpy(np.float64, na_value=np.nan)


def _missing(value: object) -> bool:
    return value is None or value is pd.NA or value is pd.NaT


def rows_of(wrong: np.ndarray) -> str:
    """Words for the rows where ``wrong`` is True."""
    rows = np.flatnonzero(wrong)
    more = f" and {len(rows) - SHOWN:,} more" if len(rows) > SHOWN else ""
    return f"row{'s' if len(rows) > 1 else ''} {', '.join(map(str, rows[:SHOWN]))}{more}"


# Years and dates


def years(frame: pd.DataFrame, year: str | int) -> np.ndarray:
    """(P,) int16, the year of each label."""
    if not isinstance(year, str):
        if isinstance(year, bool) or not isinstance(year, int | np.integer) or not YEARS[0] <= year <= YEARS[1]:
            raise PixelError(f"Expected year= as a column or a year such as 2021, received {year!r}.")
        return np.full(len(frame), year, np.int16)
    column = column_of(frame, year)
    if not pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
        value = column.iloc[0]
        raise PixelError(
            f"Column {year!r}: expected whole years such as 2021, received {value!r} (row 0). Make years of dates or "
            f"text with frame[{year!r}] = pandas.to_datetime(frame[{year!r}].astype(str)).dt.year."
        )
    value = column.to_numpy(np.float64, na_value=np.nan)
    wrong = ~((value >= YEARS[0]) & (value <= YEARS[1]) & (value == np.floor(value)))
    if wrong.any():
        raise PixelError(
            f"Column {year!r}: expected whole years from {YEARS[0]} to {YEARS[1]}, received {value[wrong][0]:g} in "
            f"{rows_of(wrong)}. Correct or drop these rows."
        )
    return value.astype(np.int16)


def days(values: Sequence | pd.Series, what: str) -> np.ndarray:
    """(N,) int64 days since 1970-01-01 (UTC) of dates in any form that has only one meaning.

    These are dates and times of pandas, NumPy and Python, text in the ISO form, whole numbers such as 20170115, and
    seconds, milliseconds, microseconds or nanoseconds since 1970.

    Args:
        values: Sequence or column; ``what`` names it in errors.
    """
    try:
        column = pd.Series(values).reset_index(drop=True)
    except (TypeError, ValueError) as error:
        raise PixelError(f"{what}: expected dates, received {values!r} ({error}).") from None
    empty = column.isna().to_numpy()
    if empty.any():
        raise PixelError(f"{what}: expected a date in every row, none in {rows_of(empty)}. Drop these rows.")
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        times = _times_of_numbers(column.to_numpy(np.float64), what)
    elif pd.api.types.is_datetime64_any_dtype(column):
        times = column
    else:
        times = _times_of_text(column, what)
    if times.dt.tz is not None:
        times = times.dt.tz_convert("UTC").dt.tz_localize(None)
    day = times.to_numpy().astype("datetime64[D]").astype(np.int64)
    wrong = (day < 0) | (day > 65_535)
    if wrong.any():
        raise PixelError(f"{what}: expected dates from 1970 on, received {times[wrong].iloc[0]} in {rows_of(wrong)}.")
    return day


def _times_of_numbers(value: np.ndarray, what: str) -> pd.Series:
    if ((value >= 1970_01_01) & (value <= 2148_12_31)).all():
        times = pd.to_datetime(pd.Series(value.astype(np.int64).astype(str)), format="%Y%m%d", errors="coerce")
        if not times.isna().any():
            return times
    for unit, per_second in UNITS.items():
        if ((value >= EPOCH[0] * per_second) & (value <= EPOCH[1] * per_second)).all():
            return pd.Series(value.astype(np.int64).astype(f"datetime64[{unit}]"))
    raise PixelError(
        f"{what}: expected dates, received numbers such as {value[0]:.12g} that are neither year, month and day "
        f"(20170115) nor milliseconds since 1970. Make dates of them with pandas.to_datetime."
    )


def _times_of_text(column: pd.Series, what: str) -> pd.Series:
    text = column.map(lambda v: v.isoformat() if isinstance(v, datetime.date) else str(v).strip())
    text = text.str.replace("/", "-", regex=False)
    full = text.str.match(r"\d{4}-?\d{2}-?\d{2}(?!\d)").to_numpy(bool)
    times = pd.to_datetime(text.where(full), format="ISO8601", utc=True, errors="coerce")
    wrong = times.isna().to_numpy()
    if wrong.any():
        raise PixelError(
            f"{what}: expected dates such as 2017-01-15, received {column[wrong].iloc[0]!r} in {rows_of(wrong)}. State "
            f"the order of its parts with pandas.to_datetime(…, format='%d/%m/%Y'), or take the date with .str[:8]."
        )
    return times


# Labels


def label_codes(frame: pd.DataFrame, label: str, codes: Mapping | None) -> tuple[np.ndarray, dict[str, int]]:
    """(P,) int16 and what each label became."""
    labels = column_of(frame, label)
    empty = labels.isna().to_numpy()
    if not pd.api.types.is_numeric_dtype(labels):
        empty = empty | (labels.astype(str).str.strip() == "").to_numpy()
    if empty.any():
        raise PixelError(
            f"Column {label!r}: expected a label in every row, none in {rows_of(empty)}. Give them a label (where only "
            f"the first row of each point has one, copy it to its other rows), or drop these rows with "
            f"frame.dropna(subset=[{label!r}])."
        )
    if pd.api.types.is_float_dtype(labels) and (labels == np.floor(labels)).all():
        labels = labels.astype(np.int64)  # pandas makes floats of whole numbers where one is missing
    present = labels.unique().tolist()
    if codes is None:
        codes = {value: value for value in present}
    elif not isinstance(codes, Mapping):
        raise PixelError(f"Expected codes={{label: code, …}}, received {type(codes).__name__}.")
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


# Values


def reflectance(
    raw: np.ndarray,
    name: Callable[[int, int], str],
    row: Callable[[int], int],
    nodata: float | Sequence[float] | None,
    scale: float,
    outside: str,
    bands: Sequence[str],
    steps: int = 1,
) -> tuple[np.ndarray, int]:
    """(N, C) uint16, 0 where there is no value, and how many values were blanked.

    Args:
        raw: (N, C) as in the table, NaN where it has no value.
        name: (observation, band) → the column, for messages.
        row: Observation → row of the table, for messages.
        nodata, scale, outside: As in ``PointFormat``.
        bands: The C names of the bands.
        steps: How many columns a band has: observation i is in the columns of step i modulo ``steps``.
    """
    if outside not in ("refuse", "blank"):
        raise PixelError(f"Expected outside = 'refuse' or 'blank', received {outside!r}.")
    if isinstance(scale, bool) or not np.isscalar(scale) or not np.isreal(scale) or not 0 < scale < np.inf:
        raise PixelError(f"Expected scale as a number above 0, such as 10_000, received {scale!r}.")
    empty = np.atleast_1d(np.asarray([] if nodata is None else nodata, np.float64))
    none = np.isnan(raw) | np.isin(raw, empty)
    scaled = np.round(np.where(none, 0, raw) * scale)
    wrong = ~none & ~((scaled >= 0) & (scaled <= MAX_DN))
    if wrong.any() and outside == "refuse":
        i, c = np.argwhere(wrong)[0]
        lowest = np.unique(raw[wrong])[:SHOWN].tolist()
        raise PixelError(
            f"{wrong.sum():,} values lie outside 0-{MAX_DN} as reflectance × 10,000; the first is {raw[i, c]:.12g} in "
            f"column {name(i, c)!r}, row {row(i)}; the lowest are {lowest}. Name the values that mean no data with "
            f"nodata=…, one or a list; use scale=10_000 if yours are reflectance from 0 to 1; or make all that lie "
            f"outside no data with outside='blank'."
        )
    none |= wrong
    scaled = np.where(none, 0, scaled)
    _check_unit(raw, scaled, none, name, row, scale, steps)
    _check_bands(scaled, none, name, bands)
    _check_empty(scaled, none, row)
    # In other tables 0 is a value, in ours it is no data.
    return np.where(none, 0, scaled.clip(1)).astype("<u2"), int(wrong.sum())


def _check_unit(raw, scaled, none, name, row, scale: float, steps: int) -> None:
    """Refuse reflectance from 0 to 1, and percent: in a whole band, in one column, or in some observations."""
    fraction = ~none & (raw != np.round(raw)) if scale == 1 else np.zeros(raw.shape, bool)
    largest = np.where(none, -1, scaled).argmax(axis=0)
    for c, i in enumerate(largest):
        if none[i, c]:
            raise PixelError(f"Column {name(0, c)!r} and those like it have no value. Leave this band out of bands=….")
        # Whole numbers can be this small in one band, such as the short-wave infrared over water.
        if (scaled[i, c] < DARK and fraction[:, c].any()) or scaled.max() <= BYTE:
            raise PixelError(
                f"Expected reflectance × 10,000, the largest value is {raw[i, c]:g} × {scale:g} in column "
                f"{name(i, c)!r}, row {row(i)}. Use scale=10_000 if yours are reflectance from 0 to 1, scale=100 if "
                f"they are percent. Values of a picture, 0 to 255, are no reflectance: take those of the scene."
            )
    if (none | (scaled > BRIGHT)).all():
        raise PixelError(
            f"Expected reflectance × 10,000, all values are above {BRIGHT:,}, brighter than snow in all bands. If they "
            f"are Landsat's numbers (Collection 2), make reflectance of them, 0.0000275 × value − 0.2, and use "
            f"scale=10_000."
        )
    small = none | (scaled < 2)
    columns = small.reshape(-1, steps, raw.shape[1]).all(axis=0)  # (T, C), columns of small values only
    only_small = np.tile(columns, (len(raw) // steps, 1)) | small.all(axis=1, keepdims=True)
    mixed = fraction & only_small
    if mixed.any():
        i, c = np.argwhere(mixed)[0]
        raise PixelError(
            f"{mixed.sum():,} values lie from 0 to 1 and others are far larger; the first is {raw[i, c]:g} in column "
            f"{name(i, c)!r}, row {row(i)}. Bring all to the same unit."
        )


def _check_bands(scaled, none, name, bands: Sequence[str]) -> None:
    """Refuse bands without a value above 0, without any near infrared that is bright, and brighter than snow."""
    for c in range(scaled.shape[1]):
        values = scaled[~none[:, c], c]
        if not values.any():
            raise PixelError(
                f"Column {name(0, c)!r} and those like it hold only 0. If 0 means no data, use nodata=0 and leave this "
                f"band out of bands=…."
            )
        if np.median(values) > BRIGHTEST:
            raise PixelError(
                f"Expected reflectance × 10,000, half of the values of column {name(0, c)!r} and those like it are "
                f"above {BRIGHTEST:,} (the middle one is {np.median(values):,.0f}), brighter than snow. Use scale=0.1 "
                f"if yours are reflectance × 100,000."
            )
    near = [c for c, band in enumerate(bands) if band in NEAR_INFRARED]
    largest = max((scaled[~none[:, c], c].max() for c in near), default=np.inf)
    if largest <= DIM:
        raise PixelError(
            f"Expected reflectance × 10,000, the largest value in the near infrared (column {name(0, near[0])!r} and "
            f"those like it) is {largest:,.0f}; land and plants have thousands. Use scale=10 if yours are "
            f"reflectance × 1,000, scale=100 if they are percent."
        )


def _check_empty(scaled, none, row) -> None:
    if scaled.shape[1] < 2:
        return
    for value in FILLERS:
        same = ((scaled == value) & ~none).all(axis=1)
        if same.any():
            i = np.flatnonzero(same)[0]
            raise PixelError(
                f"{same.sum():,} observations have {value} in every band, the first in row {row(i)}. No ground has "
                f"such values: they mean no data. Use nodata={value}, or nodata=[{value}, …] with your other values."
            )
