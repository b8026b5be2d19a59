"""Wide tables of points, against a plain loop, and what is refused."""

import numpy as np
import pandas as pd
import pytest

from arsetlib import pixels, samples

DATES = ["2017-01-15", "2017-02-15", "2017-03-15"]
BANDS = {"B04": "red", "B08": "nir"}
FORM = {"crs": "EPSG:32636", "year": 2017, "nodata": 65_535}


def from_wide(frame, dates=DATES, column="S2-{band}-t{step}-*m", **form):
    return pixels.from_wide(frame, BANDS, dates, pixels.PointFormat(**FORM | form), column=column)


def make_frame(rows: int = 6) -> pd.DataFrame:
    random = np.random.default_rng(0)
    columns = {
        f"S2-{b}-t{t}-{m}m": random.integers(1, 9000, rows) for b, m in (("B04", 10), ("B08", 20)) for t in range(3)
    }
    place = {"lon": 33.0 + 0.01 * np.arange(rows), "lat": np.full(rows, 3.0)}
    return pd.DataFrame({**place, "label": np.resize([11_010, 12, 13], rows), **columns})


def test_values_and_dates_are_those_of_the_wide_table():
    frame = make_frame()
    frame.loc[1, [f"S2-{b}-t1-{m}m" for b, m in (("B04", 10), ("B08", 20))]] = 65_535  # a composite without a value
    frame.loc[2, "S2-B04-t0-10m"] = 65_535  # a single band without one
    frame.loc[3, "S2-B04-t0-10m"] = 0  # no light at all is a value
    table = from_wide(frame)
    assert table["num_images"].to_pylist() == [3, 2, 3, 3, 3, 3]
    for i in range(len(frame)):
        day, scl, values = pixels.series(table, i)
        expected = []
        for t, date in enumerate(DATES):
            pair = [frame.loc[i, f"S2-B04-t{t}-10m"], frame.loc[i, f"S2-B08-t{t}-20m"]]
            if pair != [65_535, 65_535]:
                expected.append([np.datetime64(date).astype(int), *(0 if v == 65_535 else max(v, 1) for v in pair)])
        np.testing.assert_array_equal(np.column_stack([day, values]), expected)
        assert set(scl) == {7}


def test_the_table_keeps_the_rules_and_can_be_written(tmp_path):
    table = from_wide(make_frame())
    meta = pixels.Meta.of(table)
    assert (meta.bands, meta.crs) == (("red", "nir"), "EPSG:32636")
    assert meta.extra["label_codes"] == {"11010": 11_010, "12": 12, "13": 13}
    pixels.write(table, tmp_path / "points.parquet", meta)
    report = pixels.check(tmp_path / "points.parquet")
    assert report.ok, str(report)
    assert pixels.read(tmp_path / "points.parquet").equals(table)


def test_own_labels_become_the_codes_that_are_given():
    frame = make_frame().assign(label=["sorghum", "maize", "trees"] * 2)
    table = from_wide(frame, codes={"sorghum": 1, "maize": 2, "trees": 3, "tea": 4})
    assert table["label_code"].to_pylist() == [1, 2, 3, 1, 2, 3]


def test_reflectance_from_0_to_1_is_scaled():
    frame = make_frame()
    values = [c for c in frame if c.startswith("S2")]
    scaled = frame.assign(**{c: frame[c] / 10_000 for c in values})
    scaled.loc[0, values[0]] = np.nan
    frame.loc[0, values[0]] = 65_535
    expected = from_wide(frame)
    assert from_wide(scaled, scale=10_000).equals(expected)


def test_composites_of_another_year_are_left_out():
    table = from_wide(make_frame(), ["2016-12-15", *DATES[:2]])
    assert set(table["num_images"].to_pylist()) == {2}


def test_of_twins_the_first_can_be_kept():
    frame = make_frame()
    twice = pd.concat([frame, frame.iloc[:2].assign(label=13)], ignore_index=True)
    expected = from_wide(frame)
    assert from_wide(twice, twins="first").equals(expected)


def test_points_of_one_place_share_a_block():
    table = from_wide(make_frame(200), block_m=50_000)
    folds = samples.kfold(table, 3)
    for fold in folds:
        assert not set(fold["train"].column("block")) & set(fold["test"].column("block"))


@pytest.mark.parametrize(
    ("change", "options", "words"),
    [
        ({}, {"column": "B-{band}-{step}"}, "Expected one column called 'B-B04-0'"),
        ({}, {"dates": DATES[::-1]}, "ascending order"),
        ({}, {"dates": ["2017-01-15"] * 2}, "ascending order"),
        ({}, {"codes": {12: 1, 13: 2}}, r"labels \[11010\] have no code"),
        ({"label": 1_101_070_000}, {}, "whole numbers from 0 to 32,767"),
        ({}, {"nodata": None}, r"outside 0-32767.*'S2-B04-t0-10m', row 0"),
        ({}, {"label": "crop"}, "Expected a column 'crop'"),
        ({}, {"year": "year"}, "Expected a column 'year'"),
        ({}, {"crs": "EPSG:4326"}, "projected CRS"),
        ({}, {"year": 2018}, r"No date of 2017-01-15 to 2017-03-15 lies in a year of the rows, \[2018\]"),
        ({"lat": np.nan}, {}, "6 rows have no position"),
        ({"lon": 33.0}, {}, "same pixel and year"),
    ],
)
def test_invalid_tables_are_refused(change, options, words):
    frame = make_frame().assign(**change)
    frame.loc[0, "S2-B04-t0-10m"] = 65_535
    with pytest.raises(pixels.PixelError, match=words):
        from_wide(frame, **options)
