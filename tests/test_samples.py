"""Splits, windows, scaling and batches against plain loops, on tables made here."""

import itertools
import json
import os
import subprocess
import sys
from concurrent.futures import Future
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from arsetlib import cli, pixels, samples
from arsetlib.samples import kernels, scratch, store
from arsetlib.study import Legend, Season, Study

STUDY = Study.load("sample").replace(block_m=600.0)
BANDS = STUDY.bands
META = pixels.Meta(BANDS, "EPSG:5070", 30.0, "test", True, extra={"block_m": 600.0})
SCALER = samples.Scaler(BANDS, tuple(np.linspace(500, 3000, 12)), tuple(np.linspace(300, 1200, 12)))
CODES = (1, 2, 3, 5, 24, 141, 26)
SEASON = Season(window_days=45, step_days=5, first_day=1, last_day=60)


def make_table(rows=300, seed=0, most=40, codes=CODES, least=0, side=20) -> pa.Table:
    """Pixels on a lattice of `side` columns, three years each; series of `least` to `most` images."""
    random = np.random.default_rng(seed)
    count = random.integers(least, most + 1, rows)
    year = np.array([2019, 2020, 2021])[np.arange(rows) % 3]
    first = samples.start_days(year, 1)
    day = [f + np.sort(random.choice(300, n, replace=False)) for f, n in zip(first, count, strict=True)]
    place = np.arange(rows) // 3
    bands = random.integers(1, 9000, (count.sum(), len(BANDS)))
    bands[random.random(bands.shape) < 0.03] = 0
    return table_of(
        day, random.choice([2, 3, 4, 5, 6, 10], count.sum()), bands, year=year,
        x=400_005 + 30.0 * (place % side), y=1_400_005 - 30.0 * (place // side), label_code=random.choice(codes, rows),
    )  # fmt: skip


def table_of(day, scl, bands, *, year=2021, x=None, y=None, label_code=1) -> pa.Table:
    """A table from one list of days per row; scl and bands are flat."""
    x = 400_005 + 30.0 * np.arange(len(day)) if x is None else x
    y = np.full(len(day), 1_400_005.0) if y is None else y
    batch = pixels.make_batch(
        day=np.concatenate([np.asarray(d, int) for d in day]), scl=scl, bands=bands,
        offsets=np.cumsum([0] + [len(d) for d in day]), pixel=pixels.pixel_id(x, y, 30), year=year, area="here",
        block=pixels.block_id(x, y, 600), x=x, y=y, lon=-90.0, lat=34.0, label_code=label_code,
    )  # fmt: skip
    return pa.Table.from_batches([batch]).replace_schema_metadata(META.to_kv())


def series_of(days, values=None, scl=5) -> pixels.Ragged:
    """One row, one band; the value of an image is its number from 1 on."""
    values = np.arange(1, len(days) + 1) if values is None else values
    scl = np.broadcast_to(np.asarray(scl, np.uint8), len(days))
    return pixels.Ragged(np.array([0, len(days)]), np.array(days, "<u2"), scl, np.array(values, "<u2")[:, None])


@pytest.fixture(scope="module")
def table():
    return make_table()


@pytest.fixture(scope="module")
def path(table, tmp_path_factory):
    """The same table on disk: three files, six row groups each."""
    folder = tmp_path_factory.mktemp("table") / "pixels"
    whole, pixels.schema.ROW_GROUP = pixels.schema.ROW_GROUP, 17
    try:
        for i in range(3):
            pixels.write(table.slice(100 * i, 100), folder / f"part-{i}.parquet", META)
    finally:
        pixels.schema.ROW_GROUP = whole
    return folder


@pytest.fixture(params=["numpy", "numba"])
def engine(request, monkeypatch):
    """Both kernels, where both are there."""
    if request.param == "numba":
        pytest.importorskip("numba")
        kernels.place("first")  # loaded, so that no test begins with the other
    else:
        monkeypatch.setattr(kernels, "_compiled", lambda: None)
    return request.param


# Window


def loop_window(series, season, starts, choose, draws):
    """The same as a plain loop: x, seen, images, vegetation, and the images of each step."""
    x = np.zeros((len(starts), season.steps, series.bands.shape[1]), np.float32)
    seen = np.zeros((len(starts), season.steps), bool)
    images, vegetation, held = [], [], {}
    for b, start in enumerate(starts):
        inside = []
        for i in range(series.offsets[b], series.offsets[b + 1]):
            if start <= int(series.day[i]) < start + season.window_days:
                inside.append(i)
        images.append(len(inside))
        vegetation.append(any(series.scl[i] == 4 for i in inside[-2:]))
        for t in range(season.steps):
            here = [i for i in inside if (int(series.day[i]) - start) // season.step_days == t]
            held[b, t] = here
            if not here:
                continue
            seen[b, t] = True
            if choose == "median":
                for c in range(x.shape[2]):
                    there = [int(series.bands[i, c]) for i in here if series.bands[i, c]]
                    x[b, t, c] = np.median(there) if there else 0
                continue
            rank = {4: 9, 5: 9, 6: 9, 2: 8, 7: 7, 3: 6, 10: 5, 11: 4, 8: 3, 9: 2, 1: 1, 0: 0}
            pick = {
                "first": here[0],
                "last": here[-1],
                "clearest": max(here, key=lambda i: (rank[int(series.scl[i])], i)),
                "random": here[int(draws[b, t]) * len(here) >> 32],
            }[choose]
            x[b, t] = series.bands[pick]
    return x, seen, images, vegetation, held


@pytest.mark.parametrize("choose", samples.CHOICES)
def test_window_is_that_of_a_plain_loop(engine, table, choose):
    series = pixels.ragged(table)
    starts = samples.start_days(table["year"].to_numpy(), np.arange(300) % 250 - 20)
    keys = samples.keys_of(table["pixel"].to_numpy(), table["year"].to_numpy())
    draws = samples.draw_images(keys, SEASON.steps, seed=7, epoch=2)
    x, seen, images, vegetation, _ = loop_window(series, SEASON, starts, choose, draws)
    got = samples.window(series, SEASON, starts, choose=choose, seed=7, epoch=2, keys=keys)
    np.testing.assert_array_equal(got.x, x)
    np.testing.assert_array_equal(got.seen, seen)
    np.testing.assert_array_equal(got.images, images)
    np.testing.assert_array_equal(got.vegetation, vegetation)
    assert got.x.dtype == np.float32


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 12), st.sampled_from(samples.CHOICES), st.sampled_from([1, 5, 45]))
def test_any_series_gives_the_window_of_a_plain_loop(seed, most, choose, step):
    season = Season(45, step)
    random = np.random.default_rng(seed)
    count = random.integers(0, most + 1, 6)
    day = np.concatenate([np.sort(random.integers(0, 120, n)) for n in count]) if most else np.zeros(0)
    bands = random.integers(0, 5, (count.sum(), 2)).astype("<u2")
    scl = random.integers(0, 12, count.sum()).astype("u1")
    series = pixels.Ragged(np.cumsum([0, *count]), day.astype("<u2"), scl, bands)
    starts = random.integers(-30, 130, 6)
    draws = samples.draw_images(np.arange(6, dtype=np.uint64), season.steps, seed)
    x, seen, images, vegetation, _ = loop_window(series, season, starts, choose, draws)
    got = samples.window(series, season, starts, choose=choose, seed=seed)
    np.testing.assert_array_equal(got.x, x)
    np.testing.assert_array_equal(got.seen, seen)
    np.testing.assert_array_equal(got.images, images)
    np.testing.assert_array_equal(got.vegetation, vegetation)


@pytest.mark.parametrize("choose", ["random", "first", "last", "clearest"])
@pytest.mark.parametrize("fill", samples.FILLS)
def test_the_compiled_kernel_gives_the_same_bits(table, monkeypatch, choose, fill):
    pytest.importorskip("numba")
    options = {"choose": choose, "fill": fill, "scaler": SCALER, "seed": 3}
    starts = samples.start_days(table["year"].to_numpy(), 30)
    fast = samples.window(pixels.ragged(table), STUDY.season, starts, **options)
    monkeypatch.setattr(kernels, "_compiled", lambda: None)
    plain = samples.window(pixels.ragged(table), STUDY.season, starts, **options)
    for name in ("x", "seen", "start", "images", "vegetation"):
        np.testing.assert_array_equal(getattr(fast, name), getattr(plain, name))


def test_a_window_of_45_days_in_steps_of_5_has_9_steps(engine):
    got = samples.window(series_of([100, 104, 105, 144, 145]), Season(45, 5), 100, choose="first")
    assert got.x.shape == (1, 9, 1)
    assert got.x[0, :, 0].tolist() == [1, 3, 0, 0, 0, 0, 0, 0, 4]


def test_steps_count_from_the_start_of_the_window_not_from_its_first_image(engine):
    got = samples.window(series_of([113, 117]), Season(45, 5), 100, choose="first")
    assert np.flatnonzero(got.seen[0]).tolist() == [2, 3]


def test_window_takes_each_image_of_a_bucket_equally_often(engine):
    """The original always took the earliest."""
    many = 6000
    one = series_of([100, 101, 102, 104])
    series = pixels.Ragged(
        4 * np.arange(many + 1), *(np.concatenate([v] * many) for v in (one.day, one.scl, one.bands))
    )
    taken = samples.window(series, Season(5, 5), 100, choose="random", seed=1).x[:, 0, 0]
    counts = np.bincount(taken.astype(int), minlength=5)[1:]
    assert (np.abs(counts - many / 4) < 4 * (many * 3 / 16) ** 0.5).all(), counts


@pytest.mark.parametrize("fill", samples.FILLS)
def test_exactly_one_image_in_the_window_is_a_sample_like_any_other(engine, fill):
    """The original's test parser crashed on it."""
    got = samples.window(series_of([90, 117, 200]), Season(45, 5), 100, fill=fill)
    assert got.images.tolist() == [1]
    assert got.seen[0].tolist() == [False] * 3 + [True] + [False] * 5
    before = {"zeros": 0, "last": 0, "linear": 2}[fill]
    after = {"zeros": 0, "last": 2, "linear": 2}[fill]
    assert got.x[0, :, 0].tolist() == [before] * 3 + [2] + [after] * 5


def test_no_image_in_the_window_is_a_sample_of_nothing_seen(engine):
    for days in ([], [99, 145]):
        got = samples.window(series_of(days), Season(45, 5), 100, scaler=None)
        assert not got.x.any()
        assert not got.seen.any()
        assert (got.images.tolist(), got.vegetation.tolist()) == ([0], [False])


def test_fills_put_in_the_last_value_or_the_line_between_neighbours(engine):
    series = series_of([105, 120, 125], [10, 40, 20])
    fills = {f: samples.window(series, Season(40, 5), 100, fill=f).x[0, :, 0].tolist() for f in samples.FILLS}
    assert fills["zeros"] == [0, 10, 0, 0, 40, 20, 0, 0]
    assert fills["last"] == [0, 10, 10, 10, 40, 20, 20, 20]
    assert fills["linear"] == [10, 10, 20, 30, 40, 20, 20, 20]


def test_a_band_without_data_in_an_image_is_filled_like_a_step_without_image(engine):
    series = pixels.Ragged(
        np.array([0, 2]), np.array([100, 105], "<u2"), np.array([5, 5], "u1"), np.array([[7, 8], [0, 9]], "<u2")
    )
    got = {f: samples.window(series, Season(10, 5), 100, fill=f).x[0].tolist() for f in samples.FILLS}
    assert got == {"zeros": [[7, 8], [0, 9]], "last": [[7, 8], [7, 9]], "linear": [[7, 8], [7, 9]]}


def test_after_scaling_what_was_not_seen_is_the_mean_and_seen_tells_it(engine, table):
    starts = samples.start_days(table["year"].to_numpy(), 60)
    raw = samples.window(pixels.ragged(table), STUDY.season, starts, seed=5)
    scaled = samples.window(pixels.ragged(table), STUDY.season, starts, seed=5, scaler=SCALER)
    expected = (raw.x - np.float32(SCALER.mean)) / np.float32(SCALER.std)
    np.testing.assert_array_equal(scaled.x, np.where(raw.x == 0, 0, expected))
    assert not scaled.x[~scaled.seen].any()


def test_dates_out_of_order_are_refused_with_their_row():
    series = pixels.Ragged(
        np.array([0, 2, 4]), np.array([9, 10, 8, 7], "<u2"), np.zeros(4, "u1"), np.ones((4, 1), "<u2")
    )
    with pytest.raises(samples.SampleError, match="row 1: expected days that ascend, received 7 after 8"):
        samples.window(series, SEASON, 0)


def test_a_row_may_begin_before_the_end_of_the_row_above():
    series = pixels.Ragged(
        np.array([0, 0, 2, 2, 4]), np.array([9, 10, 7, 8], "<u2"), np.zeros(4, "u1"), np.ones((4, 1), "<u2")
    )
    assert samples.window(series, SEASON, 0).images.tolist() == [0, 2, 0, 2]


@pytest.mark.parametrize(("option", "value"), [("choose", "best"), ("fill", "nan"), ("start", np.zeros(3))])
def test_unknown_options_of_a_window_are_refused(option, value):
    options = {"start": 100} | {option: value}
    with pytest.raises(samples.SampleError, match="Expected"):
        samples.window(series_of([100]), SEASON, **options)


# Labels


@pytest.mark.parametrize(
    ("scl", "green"), [([4, 5, 5], False), ([5, 4, 5], True), ([5, 5, 4], True), ([4, 4, 2], True), ([4], True)]
)
def test_one_of_the_last_two_images_of_the_window_must_be_vegetation(engine, scl, green):
    days = 100 + 5 * np.arange(len(scl))
    got = samples.window(series_of(days, scl=scl), Season(20, 5), 100)
    assert got.vegetation.tolist() == [green]


def test_images_after_the_window_do_not_count_for_the_vegetation_rule(engine):
    got = samples.window(series_of([100, 105, 125], scl=[5, 5, 4]), Season(20, 5), 100)
    assert got.vegetation.tolist() == [False]


def test_crops_without_vegetation_become_no_crops_growing_and_other_land_stays():
    codes = np.array([1, 5, 24, 141, 26, 1])
    classes = STUDY.legend.classes_of(codes)
    named = samples.apply_vegetation_rule(classes, np.array([0, 0, 0, 0, 0, 1], bool), STUDY.legend)
    keys = [STUDY.legend.keys[c] if c >= 0 else "out" for c in named]
    assert keys == [*["no_crops_growing"] * 3, "uncultivated", "out", "corn"]


def test_a_legend_without_a_class_of_no_codes_knows_no_vegetation_rule():
    legend = Legend("binary", STUDY.legend.classes[1:])
    classes = legend.classes_of([1, 141])
    assert samples.apply_vegetation_rule(classes, np.zeros(2, bool), legend).tolist() == classes.tolist()
    two = Legend("two", (STUDY.legend.classes[0], *STUDY.legend.classes))
    with pytest.raises(samples.SampleError, match="one class without codes"):
        samples.apply_vegetation_rule(classes, np.zeros(2, bool), two)


def test_double_crops_give_no_sample_and_barley_is_cultivated():
    """The original kept double crops in the test and made Barley 'Uncultivated'."""
    table = table_of([[1]] * 4, [4] * 4, np.ones((4, 12)), label_code=[26, 21, 254, 227])
    loader = samples.Loader(table, STUDY, SCALER, start=1)
    assert loader.counts == {"rows": 4, "excluded": 2, "no_image": 2, "samples": 2}
    names = {STUDY.legend.keys[i] for i in STUDY.legend.classes_of([21, 227])}
    assert names == {"cultivated"}


# Draws


def test_draws_are_uniform_and_belong_to_pixel_year_seed_and_epoch():
    keys = samples.keys_of(np.arange(20_000), 2021)
    draws = samples.draw_images(keys, 4)
    assert abs(draws.mean() / 2**32 - 0.5) < 0.005
    days = samples.draw_starts(keys, SEASON)
    assert (days.min(), days.max()) == (SEASON.first_day, SEASON.last_day)
    counts = np.bincount(days)[1:]
    assert (np.abs(counts - counts.mean()) < 5 * counts.mean() ** 0.5).all()
    order = np.random.default_rng(0).permutation(len(keys))
    np.testing.assert_array_equal(samples.draw_starts(keys[order], SEASON), days[order])
    for other in ({"seed": 1}, {"epoch": 1}):
        assert (samples.draw_starts(keys, SEASON, **other) != days).mean() > 0.9
    assert (samples.draw_starts(samples.keys_of(np.arange(20_000), 2020), SEASON) != days).mean() > 0.9


# Split


@pytest.fixture(scope="module")
def wide():
    """Rows in 5 × 5 blocks of 20 pixels, three years."""
    return make_table(rows=7500, most=1, side=100, seed=4)


def test_no_block_and_no_year_is_on_two_sides(wide):
    sides = samples.split(wide, STUDY)
    assert list(sides) == ["train", "validation", "test"]
    for a, b in itertools.combinations(sides.values(), 2):
        for noun in ("year", "block", "pixel"):
            assert not set(a.column(noun)) & set(b.column(noun))
    for pair in samples.shared(sides).values():
        assert not any(len(rows) for rows in pair.values())


def test_sides_take_the_studys_years_and_about_their_share_of_blocks(wide):
    sides = samples.split(wide, STUDY)
    for side, rows in sides.items():
        assert set(rows.column("year").tolist()) == set(STUDY.split[side])
    assert 0.5 < len(sides["train"]) / 2500 < 0.7
    every = samples.split(wide, STUDY, by="block")
    assert sum(map(len, every.values())) == len(wide)
    by_year = samples.split(wide, STUDY, by="year")
    assert {side: len(rows) for side, rows in by_year.items()} == {"train": 2500, "validation": 2500, "test": 2500}


def test_split_is_the_same_from_disk_and_changes_with_the_studys_seed(table, path):
    small = STUDY.replace(block_m=90.0)
    for side, rows in samples.split(table, small).items():
        np.testing.assert_array_equal(rows.index, samples.split(path, small)[side].index)
    other = samples.split(table, small.replace(seed=9))
    assert not np.array_equal(other["train"].index, samples.split(table, small)["train"].index)


def test_held_out_areas_go_to_the_test(wide):
    area = pa.array(np.where(wide["x"].to_numpy() < 400_600, "dense", "box"))
    table = wide.set_column(wide.column_names.index("area"), pixels.SCHEMA.field("area"), area)
    sides = samples.split(table, STUDY, held_out=("dense",))
    assert "dense" not in set(sides["train"].column("area")) | set(sides["validation"].column("area"))
    assert (sides["test"].column("area") == "dense").sum() == (area.to_numpy(False) == "dense").sum() / 3
    with pytest.raises(samples.SampleError, match="box, dense"):
        samples.split(table, STUDY, held_out=("denes",))


def test_an_empty_side_is_refused(wide):
    with pytest.raises(samples.SampleError, match=r"\['validation'\] have no row.*2019, 2020, 2021"):
        samples.split(wide, STUDY.replace(split={"train": (2021,), "validation": (2018,), "test": (2019,)}))
    with pytest.raises(samples.SampleError, match="no year of any side"):
        samples.split(wide, STUDY.replace(split={}))
    with pytest.raises(samples.SampleError, match="Expected by"):
        samples.split(wide, STUDY, by="field")


def test_a_year_on_two_sides_is_refused_with_its_rows(wide):
    study = STUDY.replace(split={"train": (2021, 2020), "test": (2020,)})
    with pytest.raises(samples.SampleError, match=r"share their year \(\[2020\]\) with 'train'; the first are rows \["):
        samples.split(wide, study)


def test_a_random_split_says_that_it_leaks(wide):
    with pytest.warns(samples.LeakWarning, match="100% of the test rows"):
        sides = samples.random_split(wide, seed=1)
    assert [len(rows) for rows in sides.values()] == [6000, 750, 750]
    assert len(set(np.concatenate([rows.index for rows in sides.values()]).tolist())) == 7500
    leaks = samples.shared(sides)["train", "test"]
    assert len(leaks["pixel"]) > 600
    with pytest.raises(samples.SampleError, match="sum 1"):
        samples.random_split(wide, (0.8, 0.3, 0.1))


def test_each_block_is_tested_in_one_fold_only(wide):
    folds = samples.kfold(wide, 5, seed=2)
    tested = [set(fold["test"].column("block").tolist()) for fold in folds]
    assert sum(map(len, tested)) == len(set.union(*tested)) == len(set(wide["block"].to_pylist()))
    for fold in folds:
        assert not set(fold["train"].column("block").tolist()) & set(fold["test"].column("block").tolist())
        assert 0.1 < len(fold["test"]) / 7500 < 0.3
    with pytest.raises(samples.SampleError, match="folds"):
        samples.kfold(wide, 1000)


def test_rows_read_back_what_they_point_at(table, path):
    some = np.arange(300) % 7 == 0
    for source in (table, path):
        rows = samples.Rows.of(source).pick(some)
        assert rows.read() == table.filter(pa.array(some))
        np.testing.assert_array_equal(rows.column("pixel"), table["pixel"].to_numpy()[some])


# Scaler


def test_scaler_is_mean_and_spread_of_observed_values(table, path):
    bands = pixels.ragged(table).bands.astype(float)
    bands[bands == 0] = np.nan
    for source in (table, path):
        scaler = samples.Scaler.fit(source)
        np.testing.assert_allclose(scaler.mean, np.nanmean(bands, axis=0), rtol=1e-13)
        np.testing.assert_allclose(scaler.std, np.nanstd(bands, axis=0), rtol=1e-12)


def test_parts_add_up_to_the_whole_to_the_last_bit(table):
    whole = samples.Moments.of(table)
    cuts = [0, 1, 50, 51, 200, 300]
    parts = [samples.Moments.of(table.slice(a, b - a)) for a, b in itertools.pairwise(cuts)]
    assert (
        sum(parts[1:], parts[0]) == sum(parts[-2::-1], parts[-1]) == parts[0].merge(sum(parts[2:], parts[1])) == whole
    )
    assert samples.Moments.of(samples.Rows.of(table)) == whole


def test_a_scaler_of_a_side_knows_nothing_of_the_others(table):
    rows = samples.Rows.of(table).pick(np.arange(300) < 100)
    assert samples.Scaler.fit(rows) == samples.Scaler.fit(table.slice(0, 100))


def test_huge_offsets_lose_no_digit():
    values = np.full((3_000_000, 1), 60_000, "<u2")
    values[::2] += 1
    scaler = samples.Moments.of_values(values, ("red",)).scaler()
    assert (scaler.mean, scaler.std) == ((60_000.5,), (0.5,))


def test_a_scaler_comes_back_from_json(tmp_path):
    SCALER.save(tmp_path / "scaler.json")
    assert samples.Scaler.load(tmp_path / "scaler.json") == SCALER
    x = np.random.default_rng(0).uniform(1, 9000, (5, 12)).astype(np.float32)
    np.testing.assert_allclose(SCALER.inverse(SCALER.transform(x)), x, rtol=1e-4)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"bands": ["red"], "mean": [1], "std": 2}'])
def test_a_file_that_is_no_scaler_is_refused(tmp_path, text):
    (tmp_path / "scaler.json").write_text(text)
    with pytest.raises(samples.SampleError, match=r"scaler\.json is no scaler"):
        samples.Scaler.load(tmp_path / "scaler.json")


@pytest.mark.parametrize(("mean", "std"), [(float("nan"), 1.0), (1.0, 0.0), (1.0, float("nan")), (1.0, float("inf"))])
def test_a_scale_that_is_none_is_refused(tmp_path, mean, std):
    with pytest.raises(samples.SampleError, match="'red' cannot be scaled"):
        samples.Scaler(("red",), (mean,), (std,))
    (tmp_path / "bad.json").write_text(json.dumps({"bands": ["red"], "mean": [mean], "std": [std]}))
    with pytest.raises(samples.SampleError, match="'red' cannot be scaled"):
        samples.Scaler.load(tmp_path / "bad.json")


def test_a_band_without_values_or_spread_is_refused():
    flat = table_of([[1, 2]], [4, 4], np.full((2, 12), 7))
    with pytest.raises(samples.SampleError, match="'coastal' cannot be scaled"):
        samples.Scaler.fit(flat)
    with pytest.raises(samples.SampleError, match="'coastal' has no observed value"):
        samples.Scaler.fit(table_of([[]], [], np.zeros((0, 12))))
    with pytest.raises(samples.SampleError, match="1 band|a mean per band"):
        samples.Scaler(("red", "nir"), (1.0,), (1.0, 2.0))


# Loader


def flat_batches(batches) -> tuple[np.ndarray, ...]:
    """All samples of some batches with extras, sorted by pixel and y: x parts and y."""
    batches = [(x, y) for x, y, *_ in batches]
    parts = {n: np.concatenate([np.asarray(x[n]) for x, _ in batches]) for n in batches[0][0]}
    parts["label"] = np.concatenate([np.asarray(y) for _, y in batches])
    order = np.lexsort((parts["series"].sum(axis=(1, 2)), parts["day_of_year"], parts["pixel"]))
    return {n: p[order] for n, p in parts.items()}


def assert_same(a: dict, b: dict) -> None:
    assert set(a) == set(b)
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], name)


OPTIONS = {"batch": 32, "seed": 5, "extras": ("seen", "day_of_year", "xy", "pixel")}


def test_an_epoch_holds_each_row_of_the_legend_once(table):
    loader = samples.Loader(table, STUDY, SCALER, **OPTIONS)
    got = flat_batches(loader.arrays())
    kept = STUDY.legend.classes_of(table["label_code"].to_numpy()) >= 0
    assert sorted(got["pixel"]) == sorted(table["pixel"].to_numpy()[kept])
    assert loader.counts["samples"] == kept.sum() == len(got["pixel"])
    assert [len(y) for _, y in loader.arrays()] == [32] * (kept.sum() // 32) + [kept.sum() % 32]
    assert (got["label"].sum(axis=1) == 1).all()


def test_a_batch_is_window_and_rule_of_its_rows(table):
    rows = samples.Rows.of(table).pick(STUDY.legend.classes_of(table["label_code"].to_numpy()) >= 0)
    (x, y), *_ = samples.arrays(rows, STUDY, SCALER, batch=300, start=90, choose="first", extras=("seen", "xy"))
    read = rows.read()
    starts = samples.start_days(read["year"].to_numpy(), 90)
    w = samples.window(pixels.ragged(read), STUDY.season, starts, choose="first", scaler=SCALER)
    classes = STUDY.legend.classes_of(read["label_code"].to_numpy())
    classes = samples.apply_vegetation_rule(classes, w.vegetation, STUDY.legend)
    np.testing.assert_array_equal(x["series"], w.x)
    np.testing.assert_array_equal(x["seen"], w.seen)
    np.testing.assert_array_equal(x["xy"][:, 0], read["x"].to_numpy())
    np.testing.assert_array_equal(y.argmax(axis=1), classes)


@pytest.mark.parametrize("start", ["random", 60])
def test_streamed_batches_hold_the_same_samples_as_those_in_memory(path, start):
    memory = samples.arrays(path, STUDY, SCALER, stream=False, start=start, **OPTIONS)
    streamed = samples.arrays(path, STUDY, SCALER, stream=samples.Streaming(pool=40), start=start, **OPTIONS)
    assert_same(flat_batches(memory), flat_batches(streamed))


def test_without_shuffling_streamed_batches_come_in_the_tables_order(path):
    memory = samples.arrays(path, STUDY, SCALER, start=60, **OPTIONS)
    streamed = samples.arrays(path, STUDY, SCALER, start=60, stream=samples.Streaming(pool=40), **OPTIONS)
    for (a, y), (b, z) in zip(memory, streamed, strict=True):
        assert_same(a | {"y": y}, b | {"y": z})


def test_a_scratch_folder_changes_no_batch_and_is_read_by_the_next_loader(path, tmp_path, monkeypatch):
    plain = samples.Loader(path, STUDY, SCALER, stream=samples.Streaming(pool=40), **OPTIONS)
    streaming = samples.Streaming(pool=40, scratch=tmp_path / "scratch")
    epochs = [list(plain.arrays(epoch)) for epoch in range(2)]
    for again in range(2):
        if again:
            monkeypatch.setattr(store.RowGroup, "decode", None)
        scratched = samples.Loader(path, STUDY, SCALER, stream=streaming, **OPTIONS)
        for epoch in range(2):
            for (a, y), (b, z) in zip(epochs[epoch], scratched.arrays(epoch), strict=True):
                assert_same(a | {"y": y}, b | {"y": z})


@pytest.mark.parametrize("damage", ["cut", "altered", "empty", "another"])
def test_a_scratch_file_that_is_damaged_or_stale_is_made_anew(path, tmp_path, damage):
    folder = tmp_path / "scratch"

    def epoch():
        return flat_batches(samples.arrays(path, STUDY, SCALER, stream=samples.Streaming(scratch=folder), **OPTIONS))

    expected = epoch()
    made = sorted(folder.iterdir())
    whole = made[0].read_bytes()
    middle = len(whole) // 2
    made[0].write_bytes({
        "cut": whole[:middle],
        "altered": whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
        "empty": b"",
        "another": made[1].read_bytes(),
    }[damage])  # fmt: skip
    assert_same(epoch(), expected)
    assert made[0].read_bytes() == whole
    assert sorted(folder.iterdir()) == made


def test_memory_is_used_again_only_when_nothing_looks_at_it():
    buffers, kind = scratch.BufferPool(), np.dtype("<u2")
    first = buffers.array("day", (100,), kind)
    first[:] = 1
    part = first[10:20]
    del first
    second = buffers.array("day", (100,), kind)
    second[:] = 2
    assert (part == 1).all()
    where = part.__array_interface__["data"][0] - 20
    del part
    third = buffers.array("day", (110,), kind)
    assert third.ctypes.data == where  # the block has an eighth to spare
    assert not np.shares_memory(second, third)
    arrays = [buffers.array("day", (100,), kind) for _ in range(10)]
    assert len({array.ctypes.data for array in arrays}) == 10
    del arrays, second, third
    assert 0 < len(buffers.free["day"]) <= scratch.BLOCKS


def test_a_table_written_anew_is_not_read_from_an_old_scratch_folder(table, tmp_path):
    file = tmp_path / "pixels.parquet"
    for part in (table.slice(0, 150), table.slice(150, 150)):
        pixels.write(part, file, META)
        streamed = samples.arrays(
            file, STUDY, SCALER, stream=samples.Streaming(scratch=tmp_path / "scratch"), **OPTIONS
        )
        assert_same(flat_batches(streamed), flat_batches(samples.arrays(part, STUDY, SCALER, **OPTIONS)))


def test_a_scratch_folder_without_room_is_refused(path, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(samples.SampleError, match="No space in the scratch folder"):
        samples.Loader(path, STUDY, SCALER, stream=samples.Streaming(scratch=tmp_path / "scratch"))


def test_the_first_batches_are_the_same_while_the_kernel_is_loading(table, monkeypatch):
    ready = list(samples.arrays(table, STUDY, SCALER, **OPTIONS))
    monkeypatch.setattr(kernels, "_loading", Future)
    for (a, y), (b, z) in zip(ready, samples.arrays(table, STUDY, SCALER, **OPTIONS), strict=True):
        assert_same(a | {"y": y}, b | {"y": z})


def test_streaming_shuffles_across_files_and_row_groups(path, table):
    x, _ = next(samples.arrays(path, STUDY, SCALER, stream=samples.Streaming(pool=120), **OPTIONS))
    file = np.searchsorted(np.sort(table["pixel"].to_numpy()), x["pixel"])
    assert len(np.unique(file // 100)) > 1


def test_a_split_side_streams_its_own_rows_only(path):
    sides = samples.split(path, STUDY.replace(block_m=90.0))
    got = flat_batches(samples.arrays(sides["train"], STUDY, SCALER, stream=samples.Streaming(pool=40), **OPTIONS))
    assert set(got["pixel"]) <= set(sides["train"].column("pixel"))
    kept = STUDY.legend.classes_of(sides["train"].column("label_code")) >= 0
    assert len(got["pixel"]) == kept.sum()


def test_a_seed_gives_the_same_batches_and_epochs_differ(table):
    def series(epoch, **changed):
        return np.concatenate(
            [x["series"] for x, _ in samples.arrays(table, STUDY, SCALER, epoch=epoch, **(OPTIONS | changed))]
        )

    np.testing.assert_array_equal(series(0), series(0))
    assert not np.array_equal(series(0), series(1))
    assert not np.array_equal(series(0), series(0, seed=6))


def test_the_test_loader_draws_nothing(table):
    loader = samples.Loader(table, STUDY, SCALER, start=100)
    for (a, _), (b, _) in zip(loader.arrays(0), loader.arrays(1), strict=True):
        np.testing.assert_array_equal(a, b)


def test_windows_without_image_are_counted():
    table = table_of([[18_628 + 9], [18_628 + 300], []], [4, 4], np.ones((2, 12)))
    study = STUDY.replace(season=Season(10, 5, 1, 100))
    kept = samples.Loader(table, study, SCALER, start=5)
    assert kept.counts == {"rows": 3, "excluded": 0, "no_image": 2, "samples": 3}


def test_weights_make_the_classes_weigh_the_same(table):
    loader = samples.Loader(table, STUDY, SCALER, batch=64, extras=("weight",))
    y, w = (np.concatenate(part) for part in list(zip(*loader.arrays(), strict=True))[1:])
    sums = (y * w[:, None]).sum(axis=0)
    there = y.any(axis=0)
    np.testing.assert_allclose(sums[there], len(y) / there.sum(), rtol=1e-5)
    np.testing.assert_array_equal(y.sum(axis=0), loader.class_counts)


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("start", "monday", "a day of the year"),
        ("start", 0, "a day of the year"),
        ("extras", ("scl",), "seen"),
        ("batch", 0, "at least one"),
        ("stream", True, "in memory"),
    ],
)
def test_unknown_options_are_refused(table, option, value, words):
    with pytest.raises(samples.SampleError, match=words):
        samples.Loader(table, STUDY, SCALER, **{option: value})


def test_arset_batches_shows_what_a_model_is_fed(path, tmp_path):
    study = tmp_path / "study.toml"
    study.write_text(STUDY.text.replace("block_m = 600", "block_m = 90"))
    call = ["batches", str(path), str(study), "--side", "test", "--start", "100"]
    counts = json.loads(CliRunner().invoke(cli.app, [*call, "--json"]).stdout)
    done = CliRunner().invoke(cli.app, [*call, "--show", "--json"])
    report = json.loads(done.stdout)
    assert report["counts"] | {"batches": report["batches"]} == counts
    assert report["x"] == [counts["samples"], 24, 12]
    assert sum(report["class_shares"].values()) == pytest.approx(1)
    assert 0 < report["seen_share"] < 1
    words = CliRunner().invoke(cli.app, [*call, "--show"]).stdout
    assert all(name in words for name in (*STUDY.legend.names(), *BANDS, "samples/s"))
    for wrong in (["--side", "exam"], ["--start", "May"]):
        assert isinstance(CliRunner().invoke(cli.app, [*call, *wrong]).exception, samples.SampleError)


# Wrong input


def test_a_band_missing_is_named(table):
    with pytest.raises(samples.SampleError, match="study's bands .* missing none"):
        samples.Loader(table, STUDY.replace(bands=BANDS[::-1]), SCALER)
    kv = pixels.Meta(BANDS[:-1], "EPSG:5070", 30.0, "test", True).to_kv()
    fewer = table_of([[1]], [4], np.ones((1, 12)))
    with pytest.raises(samples.SampleError, match=r"missing \['swir22'\]"):
        samples.Loader(fewer.replace_schema_metadata(kv), STUDY, None)


def test_a_table_of_another_schema_version_is_refused(table):
    newer = pixels.Meta(BANDS, "EPSG:5070", 30.0, "test", True, version=99).to_kv()
    with pytest.raises(pixels.PixelError, match="schema version 99"):
        samples.Loader(table.replace_schema_metadata(newer), STUDY, SCALER)


def test_a_legend_that_covers_no_row_is_refused(table):
    none = STUDY.replace(legend=Legend("none", STUDY.legend.classes[:1], tuple(CODES)))
    with pytest.raises(samples.SampleError, match="excludes all"):
        samples.Loader(table, none, SCALER)


def broken_file(folder, table, row, **values) -> Path:
    for name, value in values.items():
        column = table[name].to_pylist()
        column[row] = value
        field = pixels.SCHEMA.field(name)
        table = table.set_column(table.column_names.index(name), field, pa.array(column, field.type))
    pixels.write(table, folder / "broken.parquet", META)
    return folder / "broken.parquet"


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"num_images": 3}, r"(row 7|lengths)"),
        ({"scl": b"\x04"}, r"([Rr]ow 7|lengths)"),
        ({"day": np.array([18700, 18699], "<u2").tobytes()}, "row 7: expected days that ascend, received 18699"),
    ],
)
def test_broken_rows_are_named_with_their_file(tmp_path, stream, values, words):
    good = table_of([[18_700, 18_710]] * 20, [4] * 40, np.ones((40, 12)))
    file = broken_file(tmp_path, good, 7, **values)
    with pytest.raises(ValueError, match=r"broken\.parquet.*" + words):
        list(samples.arrays(file, STUDY, SCALER, stream=stream))


def test_broken_rows_of_a_table_in_memory_are_named():
    good = table_of([[18_700, 18_710]] * 20, [4] * 40, np.ones((40, 12)))
    column = pa.array([2] * 7 + [3] + [2] * 12, pa.int32())
    wrong = good.set_column(good.column_names.index("num_images"), pixels.SCHEMA.field("num_images"), column)
    with pytest.raises(samples.SampleError, match="row 7: expected 3 images"):
        samples.Loader(wrong, STUDY, SCALER)


@pytest.mark.parametrize("stream", [True, False])
def test_a_truncated_or_changed_file_is_named(table, tmp_path, stream):
    file = tmp_path / "cut.parquet"
    pixels.write(table, file, META)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(pixels.PixelError, match=r"cut\.parquet cannot be read"):
        list(samples.arrays(file, STUDY, SCALER, stream=stream))
    middle = len(whole) // 2
    file.write_bytes(whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :])
    with pytest.raises(pixels.PixelError, match=r"cut\.parquet cannot be read"):
        list(samples.arrays(file, STUDY, SCALER, stream=stream))


def test_windows_and_arrays_need_neither_tensorflow_nor_keras():
    heavy = {"tensorflow", "keras", "numba", "pyspark"}
    code = f"import sys\nfrom arsetlib import samples\nprint(*{heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


# TensorFlow and Keras


@cache
def tensorflow():
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    return pytest.importorskip("tensorflow")


pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorflow")]


@pytest.mark.parametrize("options", [{}, {"stream": samples.Streaming(pool=40)}])
def test_a_data_set_gives_the_arrays_epoch_after_epoch(path, options):
    tensorflow()
    loader = samples.Loader(path, STUDY, SCALER, **(OPTIONS | options))
    data = samples.batches(path, STUDY, SCALER, **(OPTIONS | options))
    assert int(data.cardinality()) == loader.steps
    for epoch in range(3):
        for (x, y), (u, v) in zip(data, loader.arrays(epoch), strict=True):
            assert_same({n: p.numpy() for n, p in x.items()} | {"y": y.numpy()}, u | {"y": v})


def test_the_number_of_threads_changes_nothing(table, monkeypatch):
    tensorflow()
    epochs = []
    for threads in (1, 2, 7):
        monkeypatch.setattr("arsetlib.processes.cores", lambda n=threads: n)
        epochs.append(np.concatenate([x.numpy() for x, _ in samples.batches(table, STUDY, SCALER, batch=16, seed=2)]))
    np.testing.assert_array_equal(epochs[0], epochs[1])
    np.testing.assert_array_equal(epochs[0], epochs[2])


def test_repeat_goes_on_with_the_next_epoch(table):
    tensorflow()
    loader = samples.Loader(table, STUDY, SCALER, batch=100)
    data = loader.dataset().repeat()
    assert int(data.cardinality()) == -1
    expected = itertools.chain(loader.arrays(0), loader.arrays(1))
    for (x, _), (u, _) in zip(data.take(2 * loader.steps), expected, strict=True):
        np.testing.assert_array_equal(x.numpy(), u)


def test_row_by_row_gives_the_same_batches_for_the_same_draws(table):
    tensorflow()
    for options in ({"start": "random", "epoch": 2}, {"start": 80, "choose": "last"}, {"start": 1, "choose": "first"}):
        slow = samples.row_by_row(table, STUDY, SCALER, batch=50, shuffle=False, seed=3, **options)
        fast = samples.arrays(table, STUDY, SCALER, batch=50, shuffle=False, seed=3, **options)
        for (x, y), (u, v) in zip(slow, fast, strict=True):
            np.testing.assert_array_equal(x.numpy(), u)
            np.testing.assert_array_equal(y.numpy(), v)
    shuffled = samples.row_by_row(table, STUDY, SCALER, parallel=False, prefetch=False)
    assert sum(len(y) for _, y in shuffled) == samples.Loader(table, STUDY, SCALER).counts["samples"]


def test_keras_trains_on_all_three_forms(table):
    tensorflow()
    import keras

    model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(7, activation="softmax")])
    model.compile("adam", "categorical_crossentropy")
    options = {"batch": 64, "extras": ("weight",)}
    for data in (samples.batches(table, STUDY, SCALER, **options), samples.sequence(table, STUDY, SCALER, **options)):
        history = model.fit(data, epochs=2, verbose=0, shuffle=False)
        assert np.isfinite(history.history["loss"]).all()
    x, y, w = next(samples.arrays(table, STUDY, SCALER, **options))
    assert np.isfinite(model.train_on_batch(x, y, w))


def test_a_sequence_takes_new_draws_each_epoch(table):
    pytest.importorskip("keras")
    loader = samples.Loader(table, STUDY, SCALER, batch=64)
    data = loader.sequence()
    assert len(data) == loader.steps
    np.testing.assert_array_equal(data[1][0], loader.batch(0, 1)[0])
    data.on_epoch_end()
    np.testing.assert_array_equal(data[1][0], loader.batch(1, 1)[0])


DISTRIBUTED = """
import sys, numpy as np, tensorflow as tf
sys.path.insert(0, sys.argv[1])
from test_samples import make_table, samples, STUDY, SCALER
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2)
table = make_table()
loader = samples.Loader(table, STUDY, SCALER, batch=32, extras=("pixel",))
expected = sorted(p for x, _ in loader.arrays() for p in x["pixel"])
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
got = []
for x, y in strategy.experimental_distribute_dataset(loader.dataset()):
    for part in strategy.experimental_local_results(x["pixel"]):
        got += part.numpy().tolist()
assert sorted(got) == expected, (len(got), len(expected))
shards = [[p for x, _ in loader.dataset().shard(2, i) for p in x["pixel"].numpy()] for i in range(2)]
assert sorted(shards[0] + shards[1]) == expected
print("all rows once")
"""


def test_under_a_strategy_no_row_is_lost_or_repeated():
    tensorflow()
    command = [sys.executable, "-c", DISTRIBUTED, str(Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout.split("\n")[-2:-1] == ["all rows once"], done.stderr[-2000:]
