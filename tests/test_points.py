"""Point tables of any form: what each row means, against a plain loop, and what is refused."""

import datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arsetlib import pixels
from arsetlib.study import Study

BANDS = {"B4": "red", "B8": "nir"}
PLACE = {"crs": "EPSG:32636"}
DATES = ["2017-01-15", "2017-02-15", "2017-03-15"]
WIDE = {**PLACE, "year": 2017}


def make_wide(rows: int = 6) -> pd.DataFrame:
    random = np.random.default_rng(0)
    values = {f"{b}_{t}": random.integers(100, 9000, rows) for b in BANDS for t in range(3)}
    place = {"lon": 33.0 + 0.01 * np.arange(rows), "lat": np.full(rows, 3.0)}
    return pd.DataFrame({**place, "year": 2017, "label": np.resize([1, 2], rows), **values})


def make_long(rows: int = 6) -> pd.DataFrame:
    """The same points and values, one row for each point and date."""
    wide = make_wide(rows)
    parts = [
        wide[["lon", "lat", "label"]].assign(date=date, **{b: wide[f"{b}_{t}"] for b in BANDS})
        for t, date in enumerate(DATES)
    ]
    return pd.concat(parts, ignore_index=True)


def from_wide(frame, dates=DATES, column="{band}_{step}", first=0, **form):
    return pixels.from_wide(frame, BANDS, dates, pixels.PointFormat(**WIDE | form), column=column, first=first)


def from_long(frame, date="date", scl=None, **form):
    return pixels.from_long(frame, BANDS, pixels.PointFormat(**PLACE | form), date=date, scl=scl)


def left_out(table) -> dict:
    return pixels.Meta.of(table).extra["left_out"]


def same_rows(one, other) -> bool:
    return one.replace_schema_metadata(None).equals(other.replace_schema_metadata(None))


# -- long tables ----------------------------------------------------------------------------------------------------


def test_a_long_table_is_the_wide_one():
    assert same_rows(from_long(make_long()), from_wide(make_wide()))


def test_the_order_of_the_rows_does_not_matter():
    long = make_long()
    mixed = pd.concat([long[:6], long[6:].sample(frac=1, random_state=1)])  # the points appear in the same order
    assert same_rows(from_long(mixed), from_long(long))


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 400), st.integers(0, 3)), min_size=1, max_size=40))
@settings(max_examples=60, deadline=None)
def test_a_long_table_is_that_of_a_plain_loop(rows):
    """Rows (point, day from 2017 on, kind): all values, red only, none, or of an unordered second."""
    frame = pd.DataFrame(
        [
            {
                "lon": 33 + 0.01 * point,
                "lat": 3.0,
                "label": point,
                "date": np.datetime64("2017-01-01") + np.timedelta64(day, "D"),
                "B4": np.nan if kind == 2 else 500 + 10 * i,
                "B8": np.nan if kind in (1, 2) else 3000 + 10 * i,
            }
            for i, (point, day, kind) in enumerate(rows)
        ]
    )
    if frame[["B4", "B8"]].isna().all().any():
        return
    expected: dict = {}
    for row in frame.itertuples():
        series = expected.setdefault((row.label, row.date.year), {})
        if row.B4 == row.B4:
            day = (row.date - pd.Timestamp("1970-01-01")).days
            series.setdefault(day, [row.B4, 0 if row.B8 != row.B8 else row.B8])
    table = from_long(frame, twins="first")
    assert list(expected) == list(zip(table["label_code"].to_pylist(), table["year"].to_pylist(), strict=True))
    for i, series in enumerate(expected.values()):
        day, scl, bands = pixels.series(table, i)
        assert day.tolist() == sorted(series)
        assert bands.tolist() == [series[d] for d in sorted(series)]
        assert set(scl) <= {7}


def test_a_long_table_keeps_the_rules(tmp_path):
    table = from_long(make_long())
    pixels.write(table, tmp_path / "points.parquet", pixels.Meta.of(table))
    assert pixels.check(tmp_path / "points.parquet").ok
    assert pixels.read(tmp_path / "points.parquet").equals(table)


def at_noon(text):
    return pd.to_datetime(text) + np.timedelta64(12, "h")


DATE_FORMS = {
    "text": lambda d: d,
    "text with time": lambda d: d + "T08:12:33Z",
    "text with zone, the day before there": lambda d: d + "T01:00:00+00:00",
    "slashes": lambda d: d.str.replace("-", "/"),
    "eight digits": lambda d: d.str.replace("-", "").astype(int),
    "eight digits as text": lambda d: d.str.replace("-", ""),
    "datetime": at_noon,
    "with zone": lambda d: at_noon(d).dt.tz_localize("UTC").dt.tz_convert("America/Chicago"),
    "python dates": lambda d: d.map(datetime.date.fromisoformat),
    "python datetimes": lambda d: at_noon(d).map(lambda t: t.to_pydatetime()).astype(object),
    "milliseconds": lambda d: at_noon(d).astype("datetime64[ms]").astype("int64"),
    "milliseconds as floats": lambda d: at_noon(d).astype("datetime64[ms]").astype("int64").astype(float),
    "seconds": lambda d: at_noon(d).astype("datetime64[s]").astype("int64"),
    "nanoseconds": lambda d: at_noon(d).astype("int64"),
    "category": lambda d: d.astype("category"),
    "arrow": lambda d: d.astype("string[pyarrow]"),
}


@pytest.mark.parametrize("form", DATE_FORMS)
def test_dates_are_read_in_every_usual_form(form):
    long = make_long()
    assert same_rows(from_long(long.assign(date=DATE_FORMS[form](long["date"]))), from_long(long))


def test_times_count_as_the_day_in_utc():
    long = make_long().assign(date="2017-01-15T23:30:00-05:00").head(6)
    assert str(pixels.series(from_long(long), 0)[0].astype("datetime64[D]")[0]) == "2017-01-16"


@pytest.mark.parametrize(
    "date",
    ["15/01/2017", "01-02-2017", "2017-01", "2017",
     "20170115T080001_20170115T080523_T36NXJ", 42_736, 2017.04, None, "", True],
)  # fmt: skip
def test_a_date_that_can_mean_several_is_refused(date):
    with pytest.raises(pixels.PixelError, match=r"[Cc]olumn 'date'.*date"):
        from_long(make_long().assign(date=date))


def test_one_damaged_date_is_named():
    long = make_long()
    long.loc[7, "date"] = "cloudy"
    with pytest.raises(pixels.PixelError, match=r"'cloudy' in row 7"):
        from_long(long)


def test_a_year_of_its_own_leaves_out_the_dates_of_others():
    long = make_long().assign(when=2017)
    long.loc[:5, "date"] = "2016-12-15"
    table = from_long(long, year="when")
    assert table["num_images"].to_pylist() == [2] * 6
    assert left_out(table)["observations_of_another_year"] == 6
    assert left_out(table)["dates_of_another_year"] == ["2016-12-15"]
    assert from_long(long)["year"].to_pylist() == [2016] * 6 + [2017] * 6


def test_two_rows_of_a_day_are_refused_or_the_first_with_a_value_is_kept():
    long = make_long()
    cloudy = long[:2].assign(B4=np.nan, B8=np.nan)
    again = long[:2].assign(B4=77)
    twice = pd.concat([cloudy, long, again], ignore_index=True)
    with pytest.raises(pixels.PixelError, match="2 rows are the same pixel and day.*rows 2 and 20 on 2017-01-15"):
        from_long(twice)
    table = from_long(twice, twins="first")
    assert same_rows(table, from_long(long))
    assert left_out(table) | {"rows_again": 2, "observations_without_value": 2} == left_out(table)


def test_scene_classes_are_taken_where_the_table_has_them():
    long = make_long()
    long["scl"] = 4.0
    assert pixels.series(from_long(long, scl="scl"), 0)[1].tolist() == [4, 4, 4]
    long.loc[3, "scl"] = 12
    with pytest.raises(pixels.PixelError, match=r"'scl': expected scene classes 0 to 11, received 12 in row 3"):
        from_long(long, scl="scl")


def test_a_point_with_two_labels_is_refused():
    long = make_long()
    long.loc[6, "label"] = 9
    with pytest.raises(pixels.PixelError, match=r"rows 0 and 6 have the codes 1 and 9"):
        from_long(long)


def test_earth_engines_own_column_gives_the_position():
    long = make_long()
    text = [
        f'{{"geodesic":false,"type":"Point","coordinates":[{x!r},{y!r}]}}'
        for x, y in zip(long.lon, long.lat, strict=True)
    ]
    exported = long.drop(columns=["lon", "lat"]).assign(**{".geo": text})
    assert same_rows(from_long(exported), from_long(long))
    exported.loc[4, ".geo"] = '{"type":"MultiPoint","coordinates":[]}'
    with pytest.raises(pixels.PixelError, match="'.geo'.* row 4"):
        from_long(exported)


# -- both forms -----------------------------------------------------------------------------------------------------


def blank(frame, name, row, value):
    column = frame[name].astype(object)
    column.iloc[row] = value
    return frame.assign(**{name: column})


def cell(name, row, value):
    return lambda frame: blank(frame, name, row, value)


def swapped(frame):
    return frame.rename(columns={"lon": "lat", "lat": "lon"})


def unit(factor):
    return lambda frame: frame.assign(**{c: frame[c] / factor for c in frame if c.startswith("B")})


BOTH = [
    (swapped, r"All .*outside the region in which EPSG:32636.*swapped"),
    (lambda f: f.assign(lon=-f.lon), "'lon' has the wrong sign"),
    (lambda f: f.assign(lat=f.lat + 30, lon=-f.lon), "'lon' has the wrong sign"),
    (lambda f: f.assign(lat=-f.lat - 30), "'lat' has the wrong sign"),
    (cell("lon", 3, -33.0), r"1 of .*row 3.*wrong sign"),
    (lambda f: f.assign(lon=0, lat=0), "0, 0 in rows 0, 1, 2, 3, 4 and"),
    (lambda f: blank(blank(f, "lon", 2, 0.0), "lat", 2, 0.0), "0, 0 in row 2"),
    (cell("lat", 1, 93.0), r"'lat': expected latitudes from -90 to 90, received 93 in row 1.*swapped"),
    (cell("lon", 1, 193.0), r"'lon': expected longitudes"),
    (lambda f: f.assign(lon=500_000.0, lat=331_000.0), "degrees.*metres of a projection"),
    (cell("lat", 4, np.nan), "'lat': 1 rows have no position: row 4"),
    (cell("lat", 4, np.inf), "'lat': 1 rows have no position: row 4"),
    (cell("lat", 4, None), "'lat': 1 rows have no position: row 4"),
    (cell("lon", 4, "33,04"), r"'lon', row 4: expected a number, received '33,04'.*decimal=','"),
    (lambda f: f.assign(lon=f.lon.astype(str)), r"'lon', row 0: expected a number.*pandas.to_numeric"),
    (cell("label", 2, np.nan), "'label': expected a label in every row, none in row 2"),
    (cell("label", 2, " "), "'label': expected a label in every row, none in row 2"),
    (lambda f: f.assign(label=1.5), "whole numbers"),
    (unit(10_000), "reflectance × 10,000.*scale=10_000"),
    (unit(100), "reflectance × 10,000.*scale=100"),
    (
        lambda f: f.assign(**{c: 30_000 for c in f if c.startswith("B8")}),
        r"reflectance × 10,000.*brighter than snow.*scale=0.1",
    ),
    (unit(20), r"reflectance × 10,000.*near infrared.*scale=10 if"),
    (unit(40), r"reflectance × 10,000, the largest value is .*0 to 255, are no reflectance"),
    (lambda f: f.assign(**{c: 7273 + f[c] for c in f if c.startswith("B")}), "all values are above 7,000.*Landsat"),
    (cell("lat", 3, -3.0), r"'lat': the other sign in row 3 .*a sign that is wrong"),
    (cell("lat", 3, 0.0), r"'lat': 0 in row 3 .*a position that is missing"),
    (lambda f: f.iloc[:0], "with rows, received 0 rows"),
    (lambda f: pd.concat([f, f[["lon"]]], axis=1), "'lon' twice"),
    (lambda f: f.to_numpy(), "pandas DataFrame, received ndarray"),
]
LONG = [
    (cell("B4", 5, "0,123"), r"'B4', row 5: expected a number, received '0,123' \(1 such rows\).*decimal=','"),
    (cell("B4", 5, "812"), r"'B4', row 5: expected a number, received '812'"),
    (cell("B4", 5, -30), r"1 values lie outside.*-30 in column 'B4', row 5.*outside='blank'"),
    (cell("B4", 5, np.inf), r"inf in column 'B4', row 5"),
    (cell("B4", 5, 65_535), r"65535 in column 'B4', row 5.*nodata"),
    (lambda f: f.assign(B4=0), r"Column 'B4' and those like it hold only 0"),
    (lambda f: f.assign(B4=f.B4 / 10_000), r"largest value.*'B4'.*scale=10_000"),
    (lambda f: blank(blank(f, "B4", 5, 0.12), "B8", 5, 0.31), r"2 values lie from 0 to 1.*0.12 in column 'B4', row 5"),
    (lambda f: blank(blank(f, "B4", 5, 0), "B8", 5, 0), r"1 observations have 0 in every band, the first in row 5"),
    (lambda f: blank(blank(f, "B4", 5, 32_767), "B8", 5, 32_767), r"32767 in every band.*nodata=32767"),
    (lambda f: blank(blank(f, "B4", 5, 9999), "B8", 5, 9999), r"9999 in every band, the first in row 5.*nodata=9999"),
    (lambda f: f.assign(B4=f.B4 + 1j), "'B4': expected numbers, received complex128"),
    (lambda f: f.assign(B4=np.nan), "'B4' and those like it have no value"),
    (lambda f: f.assign(B4=True), "'B4': expected numbers, received bool"),
    (lambda f: f.drop(columns="B4"), "Expected a column 'B4'"),
    (lambda f: f.drop(columns="date"), "Expected a column 'date'"),
]
IN_WIDE = [
    (cell("B4_1", 5, "0,123"), r"'B4_1', row 5: expected a number, received '0,123'"),
    (cell("B4_1", 5, -9999), r"-9999 in column 'B4_1', row 5.*nodata"),
    (lambda f: f.assign(B4_1=f.B4_1 / 10_000), r"values lie from 0 to 1.*'B4_1', row 0"),
    (lambda f: f.assign(B4_3=5), r"3 dates from step 0 on, and the table also has the column 'B4_3'"),
    (lambda f: f.assign(year=2017.5), r"'year'.*received 2017.5 in row"),
    (cell("year", 2, np.nan), r"'year': expected whole years.*"),
    (lambda f: f.assign(year=[2017, 2017, np.nan, 2017, 2017, 2017]), r"'year': .*received nan in row 2"),
    (lambda f: f.assign(year="2017-01-15"), r"'year': expected whole years such as 2021, received '2017-01-15'"),
    (lambda f: f.assign(year=pd.Timestamp("2017-01-15")), r"'year': .*\.dt\.year"),
    (lambda f: f.assign(year=17), r"'year': expected whole years from 1970 to 2148, received 17 in"),
    (lambda f: f.assign(year=67_553), r"'year': expected whole years"),  # 2017 in 16 bits
]


@pytest.mark.parametrize(("change", "words"), BOTH + LONG, ids=lambda v: v if isinstance(v, str) else "")
def test_an_invalid_long_table_is_refused(change, words):
    with pytest.raises(pixels.PixelError, match=words):
        from_long(change(make_long()))


@pytest.mark.parametrize(("change", "words"), BOTH + IN_WIDE, ids=lambda v: v if isinstance(v, str) else "")
def test_an_invalid_wide_table_is_refused(change, words):
    with pytest.raises(pixels.PixelError, match=words):
        from_wide(change(make_wide()), year="year")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"crs": "EPSG:5070"}, "outside the region in which EPSG:5070.*crs='EPSG:32636'"),
        ({"crs": "EPSG:4326"}, "projected CRS"),
        ({"crs": "EPSG:2229"}, "in metres"),
        ({"crs": "mine"}, "Expected a CRS"),
        ({"year": "2017"}, "Expected a column '2017'"),
        ({"year": True}, "received True"),
        ({"year": datetime.date(2017, 1, 1)}, "such as 2021"),
        ({"scale": 0}, "scale"),
        ({"scale": "10000"}, "scale"),
        ({"outside": "drop"}, "outside = 'refuse' or 'blank'"),
        ({"twins": "last"}, "twins"),
        ({"resolution": 0}, "resolution in metres"),
        ({"block_m": np.nan}, "block_m in metres"),
        ({"codes": [1, 2]}, "label: code"),
    ],
)
def test_invalid_options_are_refused(options, words):
    for make, frame in ((from_wide, make_wide()), (from_long, make_long())):
        with pytest.raises(pixels.PixelError, match=words):
            make(frame, **options)


@pytest.mark.parametrize("dates", [["15/01/2017"] * 3, [None] * 3, "2017-01-15", [], [1, 2, 3], 2017])
def test_invalid_dates_of_composites_are_refused(dates):
    with pytest.raises(pixels.PixelError, match="date"):
        from_wide(make_wide(), dates=dates)


@pytest.mark.parametrize("first", [1, -1])
def test_a_first_step_that_is_one_off_is_refused(first):
    with pytest.raises(pixels.PixelError, match="column"):
        from_wide(make_wide(), first=first, dates=DATES[:2])


def test_web_mercator_far_from_the_equator_is_refused():
    with pytest.raises(pixels.PixelError, match="areas 4.* times.*EPSG:32636"):
        from_long(make_long().assign(lat=60.0), crs="EPSG:3857")


STUDY = """
[study]
key = "mine"
name = { en = "Mine" }
bands = ["red", "nir"]
years = [2017]
[split]
train = [2017]
block_m = 4_000
[labels]
kind = "vector"
path = "points.gpkg"
code_column = "code"
[areas.points]
bounds = [32.9, 2.9, 33.1, 3.1]
crs = "EPSG:4326"
[legend]
name = "Two"
[classes.a]
name = { en = "A" }
codes = [1]
colour = "#ff9e0a"
[classes.b]
name = { en = "B" }
codes = "others"
colour = "#ffd400"
"""


def test_points_lie_in_the_areas_of_the_study():
    study = Study.parse(STUDY)
    table = from_long(make_long(), study=study)
    meta = pixels.Meta.of(table)
    assert (meta.study, meta.extra["block_m"]) == ("mine", 4000)
    with pytest.raises(
        pixels.PixelError, match=r"1 of 18 positions \(row 4.*areas of study 'mine'.*'lat' has the wrong"
    ):
        from_long(blank(make_long(), "lat", 4, -3.0), study=study)


# -- what is taken --------------------------------------------------------------------------------------------------


def test_whole_columns_of_other_types_are_taken():
    long = make_long()
    for change in (
        {"B4": long.B4.astype("Int64")},
        {"B4": long.B4.astype("float32")},
        {"B4": long.B4.astype(object)},
        {"B4": long.B4.map(Decimal)},
        {"B4": long.B4.astype("int64[pyarrow]")},
        {"B4": long.B4.astype("category")},
        {"lon": long.lon.astype("float64[pyarrow]")},
        {"label": long.label.astype(float)},
        {"label": long.label.astype("Int16")},
    ):
        assert same_rows(from_long(long.assign(**change)), from_long(long))
    assert same_rows(from_long(long.set_index("date", drop=False)), from_long(long))


def test_what_lies_outside_the_valid_range_can_be_blanked_and_is_counted():
    long = make_long().astype({"B4": float})
    long.loc[[0, 1, 2], "B4"] = [-9999, np.inf, 70_000]
    long.loc[2, "B8"] = -1
    table = from_long(long, outside="blank")
    assert pixels.series(table, 0)[2][0].tolist() == [0, long.B8[0]]
    assert table["num_images"].to_pylist() == [3, 3, 2, 3, 3, 3]
    assert left_out(table)["values_blanked"] == 4
    assert left_out(table)["observations_without_value"] == 1


def test_several_values_can_stand_for_no_data():
    long = make_long()
    long.loc[0, "B4"], long.loc[1, "B4"] = -9999, 65_535
    with pytest.raises(pixels.PixelError, match="65535"):
        from_long(long, nodata=-9999)
    table = from_long(long, nodata=[-9999, 65_535])
    assert [pixels.series(table, i)[2][0, 0] for i in (0, 1)] == [0, 0]


def test_points_south_of_the_equator_or_in_the_next_zone_are_taken():
    long = make_long()
    assert from_long(long.assign(lat=-1.2)).num_rows == 6
    assert from_long(long.assign(lon=long.lon + 6)).num_rows == 6


@pytest.mark.parametrize("lat", [[2.0, 2.1, -0.5, -0.6, 0.4, 0.0], [3.0, 3.1, 3.2, 3.3, -4.1, -4.2]])
def test_a_survey_on_both_sides_of_the_equator_is_taken(lat):
    wide = make_wide()
    assert from_wide(wide.assign(lat=lat, lon=33 + np.arange(6) * 0.01)).num_rows == 6


def test_points_without_any_image_are_kept_and_counted():
    long = make_long()
    long.loc[[0, 6, 12], ["B4", "B8"]] = np.nan
    table = from_long(long)
    assert table["num_images"].to_pylist() == [0, 3, 3, 3, 3, 3]
    assert left_out(table)["rows_without_observation"] == 1


def test_describe_names_what_was_left_out(tmp_path):
    wide = make_wide()
    table = from_wide(wide, dates=["2016-12-15", *DATES[:2]])
    assert left_out(table)["observations_of_another_year"] == 6
    pixels.write(table, tmp_path / "points.parquet", pixels.Meta.of(table))
    words = pixels.format_summary(pixels.summary(tmp_path / "points.parquet"))
    assert "left out" in words
    assert "observations of another year 6 (2016-12-15)" in words
