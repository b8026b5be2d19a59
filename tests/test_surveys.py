"""A sample of a map, and the areas that follow from its labels: against plain loops, the truth and the papers."""

import json
import unicodedata
from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pandas as pd
import pytest
import rasterio
import surveyed
from hypothesis import given
from hypothesis import strategies as st
from predicted import LEGEND
from scipy import stats
from typer.testing import CliRunner

from arsetlib import cli, folders, maps
from arsetlib import evaluation as ev
from arsetlib.errors import ArsetError
from arsetlib.study import Study

CHANGE = ("deforestation", "gain", "forest", "other")
PAPER = np.array([[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]])  # Olofsson 2014, rows = map
PIXELS = np.array([200_000, 150_000, 3_200_000, 6_450_000])


def by_class(counts):
    """(K, K, K): counts of map × truth as strata, which are the map's classes."""
    out = np.zeros((len(counts),) * 3, int)
    for h, row in enumerate(counts):
        out[h, :, h] = row
    return out


# -- estimates -------------------------------------------------------------------------------------------------------


def test_with_the_map_s_classes_as_strata_the_estimates_are_those_of_olofsson_2014():
    found = ev.survey_areas(by_class(PAPER), PIXELS * 1e6, PIXELS * 1e6, CHANGE)  # so many that none is missed
    plain = ev.stratified_areas(ev.Confusion.from_counts(PAPER.T, CHANGE), PIXELS * 1e6)
    for name in ("area", "share", "users", "producers", "mapped", "sampled"):
        np.testing.assert_allclose(found.table[name], plain.table[name], rtol=1e-12)
    z = NormalDist().inv_cdf(0.975)
    np.testing.assert_allclose(found.table["share_error"] * z, plain.table["share_high"] - plain.table["share"])
    np.testing.assert_allclose(
        found.table["producers_error"] * z, plain.table["producers"] - plain.table["producers_low"], rtol=1e-6
    )
    assert found.accuracy == pytest.approx(plain.accuracy)


def stehman(truth, mapped, stratum, sizes, k):
    """Stehman 2014 as it is printed, with one loop over strata: share, user's and producer's accuracy, and errors."""

    def mean_of(values):
        total = variance = 0.0
        for h, size in enumerate(sizes):
            mine = values[stratum == h]
            total += size * mine.mean()
            variance += size**2 * (1 - len(mine) / size) * mine.var(ddof=1) / len(mine)
        return total / sizes.sum(), np.sqrt(variance) / sizes.sum()

    def ratio_of(y, x):
        top, bottom = mean_of(y)[0], mean_of(x)[0]
        variance = 0.0
        for h, size in enumerate(sizes):
            mine = stratum == h
            c = np.cov(y[mine], x[mine], ddof=1)
            spread = c[0, 0] + (top / bottom) ** 2 * c[1, 1] - 2 * top / bottom * c[0, 1]
            variance += size**2 * (1 - mine.sum() / size) * spread / mine.sum()
        return top / bottom, np.sqrt(variance) / (bottom * sizes.sum())

    is_truth, is_map = (truth == k).astype(float), (mapped == k).astype(float)
    both = is_truth * is_map
    return (*mean_of(is_truth), *ratio_of(both, is_map), *ratio_of(both, is_truth))


@given(seed=st.integers(0, 2**32 - 1), strata=st.integers(1, 4))
def test_any_strata_give_what_stehman_s_formulas_give_in_a_plain_loop(seed, strata):
    random = np.random.default_rng(seed)
    n = 40 * strata
    stratum = np.arange(n) % strata
    truth, mapped = random.integers(0, 3, (2, n))
    truth = np.where(random.random(n) < 0.5, truth, mapped)
    sizes = random.integers(50, 400, strata)
    counts = np.zeros((strata, 3, 3), int)
    np.add.at(counts, (stratum, truth, mapped), 1)
    row = ev.survey_areas(counts, sizes, [sizes.sum(), 0, 0], ["a", "b", "c"], unit="pixels").table.loc["b"]
    names = ("share", "share_error", "users", "users_error", "producers", "producers_error")
    np.testing.assert_allclose([row[name] for name in names], stehman(truth, mapped, stratum, sizes, 1), rtol=1e-9)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"counts": np.eye(2)}, "Expected counts of 2 strata"),
        ({"mapped": [81, 9]}, "strata have 1,000 pixels and the classes 90"),
        ({"keys": ["a", "a"]}, "distinct class keys"),
        ({"names": ["x"]}, "a name for each of 2 classes"),
        ({"pixel_area": np.nan}, "pixel_area above 0"),
    ],
)
def test_a_survey_of_other_classes_or_units_is_refused(change, says):
    given = {"counts": by_class(np.array([[8, 2], [2, 8]])), "sizes": [900, 100], "mapped": [900, 100]}
    with pytest.raises(ev.EvaluationError, match=says):
        ev.survey_areas(**given | {"keys": ["a", "b"]} | change)


def test_a_stratum_that_was_sampled_whole_has_no_error():
    found = ev.survey_areas(by_class(np.array([[30, 10], [2, 8]])), [40, 10], [40, 10], ["a", "b"], unit="pixels")
    for name, expected in (("area", [32, 18]), ("area_low", [32, 18]), ("area_high", [32, 18]), ("area_error", [0, 0])):
        assert found.table[name].tolist() == pytest.approx(expected)


def test_a_stratum_with_one_label_is_refused_by_its_name():
    with pytest.raises(ev.EvaluationError, match="Stratum 'corn' has 900 pixels and 1 labelled samples"):
        ev.survey_areas(by_class(np.array([[1, 0], [2, 8]])), [900, 100], [900, 100], ["a", "b"], strata=["corn", "x"])


# -- intervals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hits", [0, 1, 7, 30, 59, 60])
def test_for_one_stratum_the_interval_is_close_to_that_of_clopper_and_pearson(hits):
    n = 60
    share = hits / n
    found = ev.limits(share, np.sqrt(share * (1 - share) / (n - 1)), 1 / n)
    exact = stats.binomtest(hits, n).proportion_ci(0.95)
    np.testing.assert_allclose(found, [exact.low, exact.high], atol=0.012)


def test_an_interval_of_an_unknown_share_is_unknown_and_others_hold_their_estimate():
    low, high = ev.limits([np.nan, 0, 0.3, 1], [np.nan, 0, 0.05, 0], 0.01)
    assert np.isnan([low[0], high[0]]).all()
    assert (low[1:] <= [0, 0.3, 1]).all()
    assert (high[1:] >= [0, 0.3, 1]).all()
    assert high[1] > 0.03
    assert low[3] < 0.97


def test_intervals_cover_what_they_say_where_those_of_the_normal_approximation_do_not():
    """A rare class that a large class hides: 0.4 % of 20,000 'forest' pixels are 'gain', which few samples meet."""
    population = np.array([[19_920, 80], [20, 180]])  # rows = map
    truth = population.sum(0) / population.sum()
    random = np.random.default_rng(0)
    covered = np.zeros(2)
    for _ in range(300):
        counts = np.array([random.multivariate_hypergeometric(row, 50) for row in population])
        ours = ev.survey_areas(by_class(counts), population.sum(1), population.sum(1), ["a", "b"]).table
        plain = ev.stratified_areas(ev.Confusion.from_counts(counts.T, ["a", "b"]), population.sum(1)).table
        for i, table in enumerate((ours, plain)):
            covered[i] += table["share_low"].iloc[1] <= truth[1] <= table["share_high"].iloc[1]
    assert covered[0] / 300 >= 0.94
    assert covered[1] / 300 < 0.6


# -- how many samples ------------------------------------------------------------------------------------------------


@given(
    kind=st.sampled_from(ev.sampling.ALLOCATIONS), size=st.integers(200, 2_000), seed=st.integers(0, 1_000),
    least=st.integers(2, 40),
)  # fmt: skip
def test_an_allocation_sums_to_its_size_and_gives_each_stratum_its_least(kind, size, seed, least):
    random = np.random.default_rng(seed)
    sizes = random.integers(2_000, 100_000, 5)
    shares = ev.expected_shares(random.uniform(0.5, 0.99, 5), sizes)
    found = ev.allocation(kind, size, sizes, shares=shares, target=1, least=least)
    assert found.sum() == size
    assert kind == "equal" or found.min() >= least
    assert kind != "equal" or np.ptp(found) <= 1


def test_no_other_allocation_has_a_smaller_error_than_neyman_s():
    sizes = np.array([5_000, 3_000, 2_000])
    shares = np.array([[0.9, 0.05, 0.05], [0.3, 0.6, 0.1], [0.02, 0.08, 0.9]])
    best = ev.allocation("neyman", 120, sizes, shares=shares, target=0, least=2)
    every = [(a, b, 120 - a - b) for a in range(2, 117) for b in range(2, 119 - a)]
    widths = [ev.half_widths(drawn, sizes, shares)[0] for drawn in every]
    assert ev.half_widths(best, sizes, shares)[0] <= min(widths) * 1.01


@pytest.mark.parametrize("kind", ev.sampling.ALLOCATIONS)
def test_the_size_for_an_interval_is_the_smallest_that_gives_it(kind):
    sizes = np.array([60_000, 30_000, 10_000])
    shares = ev.expected_shares([0.9, 0.8, 0.7], sizes)
    size = ev.size_for_interval(0.03, kind, sizes, shares, 2, least=20)

    def half(n):
        return ev.half_widths(ev.allocation(kind, n, sizes, shares=shares, target=2, least=20), sizes, shares)[2]

    assert half(size) <= 0.03 < half(size - 1)


def test_an_interval_that_no_sample_gives_is_refused():
    with pytest.raises(ev.EvaluationError, match="Want a wider one"):
        ev.size_for_interval(1e-9, "proportional", [10**9, 10**8], [[0.9, 0.1], [0.5, 0.5]], 0)


# -- prediction-powered ----------------------------------------------------------------------------------------------


def paper_s_interval(y, f, everywhere, factor=None):
    """Angelopoulos et al. 2023 and PPI++, one number after the other: estimate, error and factor."""
    n, N = len(y), len(everywhere)
    if factor is None:
        mean_y, mean_f = sum(y) / n, sum(f) / n
        together = sum((a - mean_y) * (b - mean_f) for a, b in zip(y, f, strict=True)) / (n - 1)
        mean = sum(everywhere) / N
        spread = sum((v - mean) ** 2 for v in everywhere) / N
        factor = min(max(together / ((1 + n / N) * spread), 0), 1)
    left = [a - factor * b for a, b in zip(y, f, strict=True)]
    mean_left = sum(left) / n
    share = factor * sum(everywhere) / N + mean_left
    mean = sum(everywhere) / N
    variance = factor**2 * sum((v - mean) ** 2 for v in everywhere) / N / N
    variance += sum((v - mean_left) ** 2 for v in left) / (n - 1) / n
    return share, variance**0.5, factor


@pytest.mark.parametrize("tuned", [True, False])
def test_prediction_powered_areas_are_those_of_the_papers_in_a_plain_loop(tuned):
    random = np.random.default_rng(0)
    f = random.dirichlet([1, 2, 3], 1_000)
    truth = np.array([random.choice(3, p=p) for p in f[:80]])
    moments = sum(ev.ProbabilitySums.of(part, np.zeros(len(part), int), 1) for part in np.array_split(f, 7))
    found = ev.powered_areas(truth, f[:80], np.zeros(80, int), moments, list("abc"), tuned=tuned)
    for k, row in enumerate(found.itertuples()):
        expected = paper_s_interval((truth == k).tolist(), f[:80, k].tolist(), f[:, k].tolist(), None if tuned else 1)
        np.testing.assert_allclose([row.share, row.share_error, row.tuning], expected, rtol=1e-9)


def test_prediction_powered_areas_are_those_of_ppi_python():
    """Numbers of ppi-python 0.2.3, whose dependencies are too heavy for the tests; it divides by n, we by n − 1."""
    random = np.random.default_rng(3)
    f = random.random(2_080).round(3)
    y = (random.random(2_080) < f * 0.8).astype(int)
    both = np.stack([1 - f, f], axis=1)
    everywhere = ev.ProbabilitySums.of(both[80:], np.zeros(2_000, int), 1)
    for tuned, share, low, high in (
        (False, 0.3564445, 0.26578596, 0.4471030),
        (True, 0.35979175, 0.26936583, 0.4502177),
    ):
        row = ev.powered_areas(y[:80], both[:80], np.zeros(80, int), everywhere, ["no", "yes"], tuned=tuned).loc["yes"]
        assert row.share == pytest.approx(share, abs=4e-4)
        assert 2 * 1.959964 * row.share_error == pytest.approx(high - low, rel=0.01)


def test_probabilities_that_know_nothing_are_tuned_away_and_good_ones_narrow_the_interval():
    random = np.random.default_rng(1)
    p = random.beta(0.3, 0.3, 20_000)
    truth = (random.random(20_000) < p).astype(int)
    good, noise = np.stack([1 - p, p], 1), np.repeat(random.random((20_000, 1)), 2, 1) * [1, 0] + [0, 0]
    noise[:, 1] = 1 - noise[:, 0]
    rows, zero = slice(0, 300), np.zeros(300, int)
    errors = {}
    for name, f in (("good", good), ("noise", noise)):
        everywhere = ev.ProbabilitySums.of(f, np.zeros(len(f), int), 1)
        row = ev.powered_areas(truth[rows], f[rows], zero, everywhere, ["no", "yes"]).loc["yes"]
        errors[name] = row.share_error, row.tuning
    labels_alone = np.sqrt(truth[rows].var(ddof=1) / 300)
    assert errors["good"][0] < 0.7 * labels_alone
    assert errors["noise"][1] < 0.3
    assert errors["noise"][0] == pytest.approx(labels_alone, rel=0.05)


# -- drawing ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A map, its truth, and where it lies."""
    folder = tmp_path_factory.mktemp("map")
    truth, probability = surveyed.truth_and_map()
    path = surveyed.write(folder, truth, probability)
    return maps.ClassMap.open(path), truth, path


def test_a_map_is_counted_window_by_window_and_says_what_is_at_a_point(made):
    here, truth, _ = made
    with rasterio.open(here.path) as src:
        whole = src.read(1)
    assert here.sizes.tolist() == [(whole == k).sum() for k in range(4)]
    assert here.sizes.sum() == (truth >= 0).sum()
    assert here.hectares == pytest.approx(0.09)
    assert here.simulated
    alone = maps.ClassMap.open(here.path)  # the raster finds the JSON file beside it
    assert alone.legend == here.legend == LEGEND
    assert here.at([-100.0], [60.0]).tolist() == [-1]


def test_probabilities_everywhere_add_up_to_those_of_the_whole_raster(made):
    here = made[0]
    with rasterio.open(here.probability) as src, rasterio.open(here.path) as classes:
        values, number = src.read().reshape(4, -1).T, classes.read(1).ravel()
    there = number != 255
    values = values[there] / values[there].sum(1, keepdims=True)
    plain = ev.ProbabilitySums.of(values, number[there], 4)
    for name in ("count", "total", "square"):
        np.testing.assert_allclose(getattr(here.moments(), name), getattr(plain, name), rtol=1e-9)


@pytest.mark.parametrize("allocation", ["proportional", "equal", "neyman", "random"])
def test_a_sample_has_each_pixel_once_in_its_stratum_with_the_chance_it_had(made, allocation):
    here = made[0]
    plan = maps.plan_sample(here, 300, allocation=allocation, least=40, users=0.8, target="corn")
    table = maps.draw_sample(here, plan, seed=2).table
    assert len(table) == len(table[["x", "y"]].drop_duplicates()) == 300
    assert table["id"].tolist() == list(range(1, 301))
    number = here.at(table["lon"], table["lat"])
    names = np.array(LEGEND.keys)[number]
    size = pd.Series(here.sizes, LEGEND.keys)
    if allocation == "random":
        names, size = np.full(300, "all"), pd.Series({"all": here.sizes.sum()})
    assert table["stratum"].tolist() == names.tolist()
    drawn = table["stratum"].value_counts()
    for name, rows in table.groupby("stratum"):
        np.testing.assert_allclose(rows["inclusion_probability"], drawn[name] / size[name])


def test_the_same_seed_draws_the_same_pixels_and_another_seed_others(made):
    here = made[0]
    plan = maps.plan_sample(here, 300)
    one, again, other = (maps.draw_sample(here, plan, seed).table for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(one, again)
    places = [set(zip(t["x"], t["y"], strict=True)) for t in (one, other)]
    assert len(places[0] & places[1]) < 5


def test_drawing_all_pixels_gives_every_pixel_of_the_map(tmp_path):
    truth, probability = surveyed.truth_and_map()
    truth[70:], truth[:, 62:] = -1, -1
    truth[520:530, 515:525] = 0  # in another tile
    here = maps.ClassMap.open(surveyed.write(tmp_path, truth, probability))
    plan = maps.plan_sample(here, int(here.sizes.sum()), least=1)
    table = maps.draw_sample(here, plan).table
    row = np.floor((surveyed.GRID.y0 - table["y"]) / surveyed.SIDE).astype(int)
    col = np.floor((table["x"] - surveyed.GRID.x0) / surveyed.SIDE).astype(int)
    assert set(zip(row, col, strict=True)) == set(zip(*np.nonzero(truth >= 0), strict=True))


def test_the_first_points_of_a_sample_are_spread_over_its_strata(made):
    here = made[0]
    table = maps.draw_sample(here, maps.plan_sample(here, 400, allocation="equal")).table
    assert table["stratum"].head(60).value_counts().min() >= 6


def test_of_a_stratum_with_fewer_pixels_than_asked_all_are_taken_and_the_others_share_the_rest(made):
    here = made[0]
    equal = maps.plan_sample(here, 80_000, allocation="equal").table
    assert equal.loc["rice", "samples"] == equal.loc["rice", "pixels"]
    assert equal["samples"].sum() == 80_000
    assert np.ptp(equal["samples"].drop("rice")) <= 1
    assert ev.allocation("proportional", 30, [9000, 900, 3, 0], least=10).tolist() == [17, 10, 3, 0]
    assert ev.allocation("equal", 13, [3, 10]).tolist() == [3, 10]
    rows = [[0.9, 0.1, 0], [0.1, 0.9, 0], [0, 0, 1]]
    assert ev.size_for_interval(0.3, "proportional", [9000, 900, 3], rows, 0, least=10) == 23


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "either size=… samples or half_width"),
        ({"size": 100, "half_width": 5.0}, "not both"),
        ({"half_width": 5.0}, "needs target=…"),
        ({"size": 300, "allocation": "neyman"}, "needs users=…"),
        ({"size": 300, "target": "maize"}, "Expected target as one of bare, other, corn, rice"),
        (
            {"size": 4, "allocation": "equal"},
            "Fewer than 2 samples say nothing of the spread in a stratum: bare, other",
        ),
        ({"size": 20, "least": 0}, "Fewer than 2 samples say nothing .*: rice"),
        ({"size": 300, "allocation": "best"}, "Expected allocation = 'proportional'"),
        ({"size": 100}, "Expected at least 200 samples"),
        ({"size": 300, "users": {"corn": 0.9}}, "an accuracy for each of bare, other, corn, rice, received corn"),
    ],
)
def test_a_plan_that_cannot_be_made_says_why(made, options, says):
    with pytest.raises(ArsetError, match=says):
        maps.plan_sample(made[0], **options)


def test_the_size_for_hectares_gives_about_that_interval(made):
    here, truth, _ = made
    plan = maps.plan_sample(here, half_width=800, allocation="neyman", least=30, users=0.85, target="corn")
    assert plan.table.loc["corn", "half_width"] <= 800
    areas = maps.sample_areas(surveyed.fill_in(maps.draw_sample(here, plan), truth), here).areas.table.loc["Corn"]
    assert (areas.area_high - areas.area_low) / 2 == pytest.approx(800, rel=0.35)


# -- maps that cannot be sampled ---------------------------------------------------------------------------------------


def raster(path, values, crs="EPSG:5070", **options):
    options = {"driver": "GTiff", "count": 1, "dtype": values.dtype, "crs": crs} | options
    transform = rasterio.transform.from_origin(400_020, 1_400_010, 30, 30)
    with rasterio.open(path, "w", width=values.shape[1], height=values.shape[0], transform=transform, **options) as out:
        out.write(values, 1)
    return path


def test_a_map_without_a_legend_is_refused_and_a_study_may_give_it_one(tmp_path):
    path = raster(tmp_path / "codes.tif", np.array([[1, 5, 0], [1, 3, 3]], np.uint8))
    with pytest.raises(maps.MapError, match=r"has no legend: nothing says what its numbers mean"):
        maps.ClassMap.open(path)
    study = Study.load("sample")
    here = maps.ClassMap.open(path, study)
    assert {k: int(n) for k, n in zip(here.legend.keys, here.sizes, strict=True) if n} == {
        "corn": 2, "soybeans": 1, "rice": 2,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("values", "options", "says"),
    [
        (np.zeros((2, 2), np.float32), {}, "one band of whole numbers"),
        (np.full((2, 2), 255, np.uint8), {"nodata": 255}, "all of it is no data"),
        (np.array([[0, 9]], np.uint8), {}, r"no class of its legend 'map': 9 \(1 pixels\)"),
        (np.array([[0, 1]], np.uint8), {"crs": "EPSG:3857"}, "cannot be the CRS"),
        (np.array([[0, 1]], np.uint8), {"crs": "EPSG:4326"}, "its unit is degrees"),
        (np.array([[0, 1]], np.uint8), {"crs": "EPSG:2263"}, "foot"),
        (np.array([[0, 1]], np.uint8), {"crs": None}, "has no CRS"),
    ],
)
def test_a_raster_that_is_no_map_of_classes_is_refused(tmp_path, values, options, says):
    path = raster(tmp_path / "map.tif", values, **options)
    with rasterio.open(path, "r+") as out:
        out.update_tags(class_0="corn", class_1="rice")
    with pytest.raises(ArsetError, match=says):
        maps.ClassMap.open(path)


def test_a_place_without_a_map_is_an_error(tmp_path):
    with pytest.raises(maps.MapError, match="There is no map at"):
        maps.ClassMap.open(tmp_path / "none.tif")


# -- files -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def visit(made, tmp_path):
    """A sample on disk, not filled in."""
    here = made[0]
    sample = maps.draw_sample(here, maps.plan_sample(here, 240, least=30), seed=1)
    sample.save(tmp_path / "visit")
    return tmp_path / "visit"


@pytest.mark.parametrize("name", ["", "sample.csv", "sample.gpkg"])
def test_a_sample_is_read_as_it_was_written(made, visit, name):
    here = made[0]
    drawn = maps.draw_sample(here, maps.plan_sample(here, 240, least=30), seed=1).table
    pd.testing.assert_frame_equal(maps.MapSample.load(visit / name).table, drawn, check_exact=False, rtol=1e-9)


def test_a_sample_says_how_to_fill_it_in_and_which_classes_there_are(visit):
    text = (visit / "README.txt").read_text(encoding="utf-8")
    assert all(f"{key}: {name}" in text for key, name in zip(LEGEND.keys, LEGEND.names(), strict=True))
    assert maps.MapSample.load(visit).legend == LEGEND
    assert maps.MapSample.load(visit).design["seed"] == 1


def test_labels_are_never_overwritten(made, visit):
    sample = maps.MapSample.load(visit)
    with pytest.raises(maps.MapError, match=r"already has sample.gpkg, README.txt, sample.json, sample.csv"):
        sample.save(visit)


def test_without_pyogrio_there_is_no_geopackage_and_the_rest_is_written(made, tmp_path, monkeypatch):
    monkeypatch.setattr("arsetlib.maps.sampling.has_pyogrio", lambda: False)
    here = made[0]
    files = maps.draw_sample(here, maps.plan_sample(here, 240, least=30)).save(tmp_path / "visit")
    assert [file.name for file in files] == ["README.txt", "sample.json", "sample.csv"]


def test_a_csv_of_a_spreadsheet_with_semicolons_and_decimal_commas_is_read(made, visit):
    table = maps.MapSample.load(visit).table
    text = (visit / "sample.csv").read_text(encoding="utf-8")
    (visit / "excel.csv").write_bytes(
        text.replace(",", ";").replace(".", ",").replace("\n", "\r\n").encode("utf-8-sig")
    )
    pd.testing.assert_frame_equal(maps.MapSample.load(visit / "excel.csv").table, table)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: t.drop(columns="inclusion_probability"), "lacks the columns inclusion_probability"),
        (lambda t: pd.concat([t, t.head(2)]), "come more than once"),
        (lambda t: t.assign(lon="west"), "expected a number in column 'lon', row 2 has 'west'"),
        (lambda t: t.assign(inclusion_probability=0.0), "expected inclusion probabilities above 0"),
        (lambda t: t.assign(lon=t["lat"], lat=t["lon"]), "lon from -180 to 180 and lat from -90 to 90"),
        (lambda t: t.head(0), "has no rows"),
    ],
)
def test_a_file_that_is_no_sample_any_more_is_refused(visit, change, says):
    change(maps.MapSample.load(visit).table).to_csv(visit / "wrong.csv", index=False)
    with pytest.raises(maps.MapError, match=says):
        maps.MapSample.load(visit / "wrong.csv")


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("wrong.csv", "", "is empty"),
        ("wrong.csv", "<!DOCTYPE html><html></html>", "is a web page"),
        ("wrong.csv", 'id,remarks\n1,"no end\n2,\n', "row 2 begins a text with a quote and never ends it"),
        ("wrong.xlsx", "PK", "is a spreadsheet. Save its table as CSV"),
        ("wrong.gpkg", "no layer", "cannot be read as a GeoPackage"),
        ("sample.json", "{", "sample.json cannot be read"),
        ("sample.json", "[1]", "sample.json is not what `arset sample` wrote"),
    ],
)
def test_a_file_that_is_no_table_is_named_as_what_it_is(visit, name, content, says):
    (visit / name).write_text(content)
    with pytest.raises(maps.MapError, match=says):
        maps.MapSample.load(visit if name == "sample.json" else visit / name)


def test_empty_rows_at_the_end_of_a_csv_are_no_points(visit):
    table = maps.MapSample.load(visit).table
    with (visit / "sample.csv").open("a", encoding="utf-8") as file:
        file.write(",,,,,,,,,\n" * 2)
    pd.testing.assert_frame_equal(maps.MapSample.load(visit).table, table)


def test_a_sample_lies_in_an_object_store_too(made, bucket):
    here = made[0]
    sample = maps.draw_sample(here, maps.plan_sample(here, 240, least=30), seed=1)
    assert [file.name for file in sample.save(bucket / "visit")][-1] == "sample.csv"
    for name in ("", "sample.gpkg"):
        table = maps.MapSample.load(f"{bucket}/visit/{name}".rstrip("/")).table
        pd.testing.assert_frame_equal(table, sample.table, check_exact=False, rtol=1e-9)
    assert maps.MapSample.load(f"{bucket}/visit").legend == LEGEND
    with pytest.raises(maps.MapError, match="already has"):
        sample.save(bucket / "visit")


# -- areas from labels -------------------------------------------------------------------------------------------------


def labelled(made, size=400, seed=1, **options):
    here, truth, _ = made
    return surveyed.fill_in(maps.draw_sample(here, maps.plan_sample(here, size, **options), seed), truth)


@pytest.mark.parametrize("allocation", ["proportional", "equal", "random"])
def test_areas_of_a_labelled_sample_hold_the_truth(made, allocation):
    here, truth, _ = made
    found = maps.sample_areas(labelled(made, 600, allocation=allocation), here)
    true_area = np.array([(truth == k).sum() * here.hectares for k in range(4)])
    for table in (found.areas.table, found.powered):
        assert ((table["area_low"] <= true_area) & (true_area <= table["area_high"])).sum() >= 3
        assert table["area"].sum() == pytest.approx(here.sizes.sum() * here.hectares, rel=0.002)
    assert found.labelled == 600
    assert ("afterwards" in found.areas.method) == (allocation == "random")


def test_labels_may_be_keys_or_names_in_any_language_and_case(made):
    here = made[0]
    sample = labelled(made)
    found = maps.sample_areas(sample, here)
    words = {
        "corn": unicodedata.normalize("NFD", " MAÍZ"),
        "rice": "Rice ",
        "bare": "no crops growing",
        "other": "other",
    }
    sample.table["label"] = sample.table["label"].map(words)
    sample.table["label"] = sample.table["label"].str.strip()
    pd.testing.assert_frame_equal(maps.sample_areas(sample, here).areas.table, found.areas.table)


def test_points_without_a_label_are_counted_and_named(made):
    sample = labelled(made)
    sample.table.loc[[2, 5], "label"] = ""
    found = maps.sample_areas(sample, made[0])
    assert found.unlabelled == (3, 6)
    assert found.labelled == 398
    assert "2 points without a label are left out: 3, 6." in str(found)


def test_labels_outside_the_legend_are_refused_with_their_ids(made):
    sample = labelled(made)
    sample.table.loc[[2, 5], "label"] = ["maize", "1"]
    with pytest.raises(
        maps.MapError, match=r"2 labels are in no class of the legend \(id: label\): 3: 'maize', 6: '1'"
    ):
        maps.sample_areas(sample, made[0])


def test_a_sample_without_labels_or_with_rows_removed_is_refused(made, visit):
    sample = maps.MapSample.load(visit)
    with pytest.raises(maps.MapError, match="No point has a label"):
        maps.sample_areas(sample, made[0])
    whole = labelled(made)
    with pytest.raises(maps.MapError, match=r"stands for [\d,]+ pixels and the map has [\d,]+: .*Rows were removed"):
        maps.sample_areas(maps.MapSample(whole.table.iloc[30:]), made[0])
    with pytest.raises(maps.MapError, match="not those that were drawn"):
        maps.sample_areas(replace(whole, table=whole.table.iloc[30:]), made[0])


def test_a_sample_of_another_map_of_the_area_estimates_as_stehman_says(made, tmp_path):
    _, truth, _ = made
    _, probability = surveyed.truth_and_map(seed=0, wrong=0.4)
    other = maps.ClassMap.open(surveyed.write(tmp_path, truth, probability))
    sample = labelled(made, 500)
    found = maps.sample_areas(sample, other)
    assert "Stehman" in found.areas.method
    assert found.powered is None
    assert found.notes == ("No areas with probabilities: the strata of the sample are not the classes of this map.",)
    stratum = sample.table["stratum"].map({k: i for i, k in enumerate(LEGEND.keys)}).to_numpy()
    number = sample.table["label"].map({k: i for i, k in enumerate(LEGEND.keys)}).to_numpy()
    mapped = other.at(sample.table["lon"], sample.table["lat"])
    expected = stehman(number, mapped, stratum, made[0].sizes, 2)
    row = found.areas.table.loc["Corn"]
    np.testing.assert_allclose([row.share, row.share_error, row.users, row.users_error], expected[:4], rtol=1e-6)


# -- the commands ----------------------------------------------------------------------------------------------------


def called(*arguments):
    return CliRunner().invoke(cli.app, list(map(str, arguments)))


def test_the_commands_draw_a_sample_and_estimate_areas_of_what_came_back(made, tmp_path):
    _, truth, path = made
    done = called("sample", path, "--size", 400, "--seed", 3, "--out", tmp_path / "visit")
    assert done.exit_code == 0, done.output
    assert "SIMULATED" in done.stdout
    assert "sample.gpkg" in done.stdout
    sample = surveyed.fill_in(maps.MapSample.load(tmp_path / "visit"), truth)
    (tmp_path / "visit" / "sample.csv").write_text(sample.csv(), encoding="utf-8")
    done = called("areas", tmp_path / "visit", path, "--out", tmp_path / "areas.csv", "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["labelled"] == 400
    assert [row["class"] for row in report["classes"]] == LEGEND.names()
    table = pd.read_csv(tmp_path / "areas.csv")
    assert {"area", "area_error", "area_low", "area_high", "powered_area", "users_low"} <= set(table)
    assert "user's accuracy" in called("areas", tmp_path / "visit", path).stdout


def test_without_a_folder_only_the_plan_is_shown(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = ["--allocation", "neyman", "--users", "0.85", "--target", "corn", "--half-width", 900, "--least", 30]
    done = called("sample", made[2], *options)
    assert done.exit_code == 0, done.output
    assert "Nothing was drawn" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_users_that_are_no_accuracies_are_refused(made):
    done = called("sample", made[2], "--size", 400, "--users", "corn=high")
    assert done.exit_code != 0
    assert "Expected --users 0.85" in str(done.exception)


# -- careless hands ----------------------------------------------------------------------------------------------------


def changed(change, path):
    """A saved and filled-in CSV after someone has changed its rows."""
    table = pd.read_csv(path / "sample.csv", keep_default_na=False, dtype=str)
    table["label"] = "corn"
    change(table).to_csv(path / "sample.csv", index=False)
    return maps.MapSample.load(path)


def other_row(table):
    """One row less and another one more of the same stratum: the numbers of rows stay what they were."""
    added = table.tail(1).assign(id="9999", lat="40.0")
    return pd.concat([table.iloc[:-1], added])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (other_row, r"Added: 9999; removed: 240"),
        (lambda t: t.assign(lon=t["lon"].mask(t["id"] == "7", "-95.5")), "Points 7 have another place"),
        (lambda t: t.assign(stratum=t["stratum"].to_numpy()[::-1]), "another place or stratum"),
    ],
)
def test_rows_that_were_not_drawn_are_refused(made, visit, change, says):
    with pytest.raises(maps.MapError, match=says):
        maps.sample_areas(changed(change, visit), made[0])


def test_rows_in_another_order_with_rounded_places_and_more_columns_are_those_that_were_drawn(made, visit):
    def change(table):
        table = table.iloc[::-1, ::-1].assign(who="me")
        return table.assign(lon=table["lon"].astype(float).round(7))

    assert maps.sample_areas(changed(change, visit), made[0]).labelled == 240


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda text: text.replace("\n1,", "\n1.5,", 1), "whole numbers as ids, received 1.5"),
        (lambda text: text.replace("remarks", "label", 1), "columns label more than once"),
        (lambda text: text.replace("\n2,", "\n2,,", 1), "row 3 has 11 cells, the header has 10"),
        (lambda text: "\n".join(f"0,{row}" if i else row for i, row in enumerate(text.splitlines())), "has 11 cells"),
    ],
)
def test_rows_that_do_not_fit_the_header_are_refused(visit, change, says):
    text = (visit / "sample.csv").read_text(encoding="utf-8")
    (visit / "sample.csv").write_text(change(text), encoding="utf-8")
    with pytest.raises(maps.MapError, match=says):
        maps.MapSample.load(visit)


@pytest.mark.parametrize("remark", ["a; b, c", '=1+1 "x"', "two\nlines"])
def test_any_text_in_a_remark_comes_back(made, visit, remark):
    sample = maps.MapSample.load(visit)
    sample.table.loc[0, "remarks"] = remark
    (visit / "again.csv").write_text(sample.csv(), encoding="utf-8")
    assert maps.MapSample.load(visit / "again.csv").table.loc[0, "remarks"] == remark


def test_a_name_that_two_classes_have_is_no_label(made):
    first, second, *rest = LEGEND.classes
    twins = replace(LEGEND, classes=(first, replace(second, name=first.name), *rest))
    assert maps.sampling.class_number("bare", twins) == 0
    with pytest.raises(maps.MapError, match="the name of several classes: bare, other"):
        maps.sampling.class_number(first.name["en"], twins)


def test_a_key_comes_before_the_name_of_another_class():
    first, second, *rest = LEGEND.classes
    crossed = replace(LEGEND, classes=(replace(first, name={"en": second.key}), second, *rest))
    assert maps.sampling.class_number(second.key, crossed) == 1


def test_a_class_of_which_no_drawn_point_has_a_label_is_refused_in_a_random_sample_too(made):
    here = made[0]
    sample = labelled(made, 600, allocation="random")
    sample.table.loc[here.at(sample.table["lon"], sample.table["lat"]) == 3, "label"] = ""
    with pytest.raises(maps.MapError, match="No point at which the map shows rice has a label"):
        maps.sample_areas(sample, here)


def test_points_without_a_label_are_counted_by_stratum(made):
    sample = labelled(made)
    mine = sample.table.index[sample.table["stratum"] == "rice"]
    sample.table.loc[mine[:20], "label"] = ""
    assert f"by stratum: rice 20/{len(mine)}." in str(maps.sample_areas(sample, made[0]))


def test_values_below_zero_and_the_largest_are_classes_or_an_error_but_never_dropped(tmp_path):
    study = Study.load("sample")
    for kind, value, named in (("int16", -5, study), ("int16", -1, study), ("uint16", 65_535, None)):
        values = np.ones((8, 8), kind)
        values[0, 0] = value
        for nodata in (None, value):
            path = raster(tmp_path / "map.tif", values, nodata=nodata)
            with rasterio.open(path, "r+") as out:
                out.update_tags(**({} if named else {"class_0": "corn", "class_1": "rice"}))
            if nodata is not None:
                assert maps.ClassMap.open(path, named).sizes.sum() == 63
                continue
            with pytest.raises(maps.MapError, match=rf"in no class of its legend .*: {value} \(1 pixels\)"):
                maps.ClassMap.open(path, named)


@pytest.mark.parametrize(
    ("truth", "probability", "says"),
    [
        ([0, -1, 1, 1], 0.5, "class of each labelled pixel as a whole number from 0 to 1"),
        ([0, 2, 1, 1], 0.5, "class of each labelled pixel as a whole number from 0 to 1"),
        ([0, 0, 1, 1], np.nan, "received NaN"),
    ],
)
def test_powered_areas_refuse_what_is_no_class_and_no_probability(truth, probability, says):
    everywhere = ev.ProbabilitySums.of(np.full((9, 2), 0.5), np.zeros(9, int), 1)
    with pytest.raises(ev.EvaluationError, match=says):
        ev.powered_areas(truth, np.full((4, 2), probability), np.zeros(4, int), everywhere, ["a", "b"])


def test_a_stratum_of_one_pixel_that_has_its_label_is_no_hindrance():
    everywhere = ev.ProbabilitySums.of(np.full((10, 2), 0.5), np.r_[np.zeros(9, int), 1], 2)
    found = ev.powered_areas([0, 0, 1, 1], np.full((4, 2), 0.5), [0, 0, 0, 1], everywhere, ["a", "b"])
    assert np.isfinite(found.to_numpy()).all()


@pytest.mark.parametrize("confidence", [0, 1, 95, np.nan])
def test_a_confidence_that_is_none_is_refused(made, confidence):
    with pytest.raises(ev.EvaluationError, match="confidence between 0 and 1"):
        maps.sample_areas(labelled(made), made[0], confidence)


@pytest.mark.parametrize("options", [{"size": 0}, {"size": -5}, {"size": 400, "least": -1}])
def test_numbers_of_samples_that_are_none_are_refused(made, options):
    with pytest.raises(ev.EvaluationError, match="Expected"):
        maps.plan_sample(made[0], **options)


def test_areas_never_overwrite_the_labels(made, visit):
    before = (visit / "sample.csv").read_bytes()
    done = called("areas", visit, made[2], "--out", visit / "sample.csv")
    assert "sample.csv exists" in str(done.exception)
    assert (visit / "sample.csv").read_bytes() == before


def test_a_sample_is_not_written_where_another_job_writes_or_over_a_file(made, tmp_path):
    here = made[0]
    sample = maps.draw_sample(here, maps.plan_sample(here, 240, least=30))
    with folders.lock(tmp_path / "visit"), pytest.raises(maps.MapError, match="Another job is writing"):
        sample.save(tmp_path / "visit")
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    with pytest.raises(maps.MapError, match="is a file"):
        sample.save(tmp_path / "file")
    assert (tmp_path / "file").read_text(encoding="utf-8") == "mine"


def test_pixels_that_are_not_square_and_rows_from_south_to_north_have_their_area_and_place(tmp_path):
    path = tmp_path / "map.tif"
    options = {"driver": "GTiff", "count": 1, "dtype": "uint8", "crs": "EPSG:5070", "height": 2, "width": 3}
    with rasterio.open(path, "w", transform=rasterio.Affine(20, 0, 400_000, 0, 50, 1_400_000), **options) as out:
        out.write(np.array([[0, 0, 0], [1, 1, 1]], np.uint8), 1)
        out.update_tags(class_0="corn", class_1="rice")
    here = maps.ClassMap.open(path)
    assert here.hectares == 0.1
    drawn = maps.draw_sample(here, maps.plan_sample(here, 6, least=3)).table
    assert (drawn["y"] > 1_400_050).tolist() == (drawn["stratum"] == "rice").tolist()
    assert here.at(drawn["lon"], drawn["lat"]).tolist() == (drawn["stratum"] == "rice").astype(int).tolist()


def test_a_point_that_was_moved_in_a_gis_is_refused(visit):
    import pyogrio.raw
    import shapely

    meta, _, geometry, columns = pyogrio.raw.read(visit / "sample.gpkg")
    points = shapely.from_wkb(geometry)
    points[4] = shapely.Point(shapely.get_x(points[4]) + 0.001, shapely.get_y(points[4]))
    options = {"layer": "sample", "driver": "GPKG", "geometry_type": "Point", "crs": meta["crs"]}
    (visit / "sample.gpkg").unlink()
    pyogrio.raw.write(visit / "sample.gpkg", shapely.to_wkb(points), columns, meta["fields"], **options)
    with pytest.raises(maps.MapError, match="points 5 were moved away"):
        maps.MapSample.load(visit / "sample.gpkg")


def test_a_study_that_is_not_that_of_the_map_is_refused_and_not_ignored(made):
    with pytest.raises(
        maps.MapError, match=r"has its own legend \(bare, other, corn, rice\), and study .* has another"
    ):
        maps.ClassMap.open(made[2], Study.load("sample"))


def test_points_that_were_chosen_are_left_out_counted_and_named_and_alone_refused(made, visit):
    sample = labelled(made, 200, 3, least=20)
    expected = maps.sample_areas(sample, made[0])
    chosen = sample.table.head(3).assign(
        id=[901, 902, 903], stratum=["proposed", "chosen", "chosen"], inclusion_probability=np.nan
    )
    sample.save(visit.parent / "both")
    both = maps.MapSample(pd.concat([sample.table, chosen], ignore_index=True), sample.design)
    (visit.parent / "both" / "sample.csv").write_text(both.csv(), encoding="utf-8")
    loaded = maps.MapSample.load(visit.parent / "both")
    found = maps.sample_areas(loaded, made[0])
    pd.testing.assert_frame_equal(found.areas.table, expected.areas.table)
    assert found.undrawn == (901, 902, 903)
    assert "3 points that were chosen and not drawn are left out: 901, 902, 903." in str(found)
    with pytest.raises(maps.MapError, match="None of the 3 points was drawn at random"):
        maps.sample_areas(maps.MapSample(chosen, sample.design), made[0])
    lost = both.csv().replace(",chosen,", ",corn,")  # a point without a chance that says it was drawn
    (visit.parent / "both" / "sample.csv").write_text(lost, encoding="utf-8")
    with pytest.raises(maps.MapError, match="expected a number in column 'inclusion_probability'"):
        maps.MapSample.load(visit.parent / "both")
