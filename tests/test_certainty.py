"""Sets of classes with a promised coverage, the area of applicability, and their layers of a map."""

from types import SimpleNamespace

import labelled
import numpy as np
import pandas as pd
import predicted
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from rasterio.transform import from_origin

from arsetlib import certainty, samples
from arsetlib.certainty.sets import quantile, scores
from arsetlib.maps.products import NODATA, SCALE

START = 105


# -- sets -----------------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.sampled_from([0.01, 0.05, 0.1, 0.2, 0.5]))
def test_the_quantile_leaves_the_promised_share_of_n_plus_one_above_it(values, alpha):
    limit = quantile(values, alpha)
    needed = int(np.ceil(round((len(values) + 1) * (1 - alpha), 9)))
    if needed > len(values):
        assert limit == np.inf
    else:
        assert sum(v <= limit for v in values) >= needed
        assert sum(v < limit for v in values) < needed


@pytest.mark.parametrize("by_class", [False, True])
def test_sets_are_those_of_a_plain_loop(by_class):
    known, new = predicted.made(300, 1), predicted.made(100, 2)
    rule = certainty.Conformal.fit(known, 0.1, by_class=by_class)
    own = 1 - known.probability.astype(float)[np.arange(300), known.truth]
    for i, row in enumerate(rule.sets(new.probability)):
        for k in range(predicted.K):
            pool = own[known.truth == k] if by_class else own
            p_value = (1 + (pool >= 1 - new.probability[i, k] - 1e-9).sum()) / (len(pool) + 1)
            assert row[k] == (p_value > 0.1) or abs(p_value - 0.1) < 1e-9


@pytest.mark.parametrize("by_class", [False, True])
def test_sets_are_those_of_crepes(by_class):
    crepes = pytest.importorskip("crepes")
    known, new = predicted.made(700, 3), predicted.made(300, 4)
    rule = certainty.Conformal.fit(known, 0.13, by_class=by_class)
    own = 1 - known.probability.astype(float)[np.arange(len(known)), known.truth]
    theirs = crepes.ConformalClassifier()
    wanted = np.zeros((len(new), predicted.K), bool)
    for k in range(predicted.K):
        theirs.fit(own[known.truth == k] if by_class else own)
        alphas = 1 - new.probability.astype(float)
        wanted[:, k] = theirs.predict_set(alphas, confidence=0.87, smoothing=False)[:, k]
    assert (rule.sets(new.probability) == wanted).mean() > 0.9999


def test_aps_adds_the_more_probable_classes_and_a_share_of_its_own():
    probability = np.array([[0.2, 0.5, 0.3]])
    found = scores(probability, "aps", np.array([0.5]))
    np.testing.assert_allclose(found, [[0.8 + 0.1, 0.25, 0.5 + 0.15]])


@pytest.mark.parametrize("score", ["lac", "aps"])
@pytest.mark.parametrize("by_class", [False, True])
def test_coverage_is_what_was_promised_over_many_repetitions(score, by_class):
    hits, truth = [], []
    for seed in range(60):
        rule = certainty.Conformal.fit(predicted.made(300, 2 * seed), 0.1, score=score, by_class=by_class, seed=seed)
        new = predicted.made(300, 2 * seed + 1)
        hits.append(rule.sets(new.probability)[np.arange(300), new.truth])
        truth.append(new.truth)
    hits, truth = np.concatenate(hits), np.concatenate(truth)
    assert hits.mean() == pytest.approx(0.9, abs=0.012)
    for k in range(predicted.K):
        if by_class:
            assert hits[truth == k].mean() == pytest.approx(0.9, abs=0.03)


def test_a_class_with_too_few_rows_promises_nothing_and_is_in_every_set():
    known = predicted.made(300, 0)
    few = np.flatnonzero(known.truth == 2)[5:]
    rule = certainty.Conformal.fit(known.pick(np.setdiff1d(np.arange(300), few)), 0.1, by_class=True)
    assert rule.promises == (True, True, False, True)
    assert rule.counts[2] == 5
    assert rule.sets(predicted.made(50, 1).probability)[:, 2].all()


def test_cannot_say_is_a_set_without_exactly_one_class():
    assert certainty.certain([[1, 0, 0], [0, 1, 1], [0, 0, 0]]).tolist() == [0, 3, 3]


@pytest.mark.parametrize("options", [{"alpha": 0}, {"alpha": 1.5}, {"score": "raps"}])
def test_a_rule_that_cannot_be_calibrated_is_refused(options):
    with pytest.raises(certainty.CertaintyError, match="Expected score"):
        certainty.Conformal.fit(predicted.made(30), **options)
    with pytest.raises(certainty.CertaintyError, match="received none"):
        certainty.Conformal.fit(predicted.made(30).pick(slice(0, 0)))
    with pytest.raises(certainty.CertaintyError, match=r"\(N, 4\)"):
        certainty.Conformal.fit(predicted.made(30)).sets(np.ones((3, 2)))


# -- coverage -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["all", "class", "block", "last"])
def test_coverage_is_that_of_a_plain_loop(by):
    known, new = predicted.made(300, 1), predicted.made(200, 2)
    rule = certainty.Conformal.fit(known, 0.1)
    table = certainty.coverage(rule, new, by, repeats=50)
    sets = rule.sets(new.probability)
    names, code = (new.legend.names(), new.truth) if by == "class" else new.groups(by)
    for number, name in enumerate(names):
        mine = np.flatnonzero(code == number)
        assert table.loc[name, "samples"] == len(mine)
        assert table.loc[name, "coverage"] == pytest.approx(np.mean([sets[i, new.truth[i]] for i in mine]))
        assert table.loc[name, "cannot_say"] == pytest.approx(np.mean([sets[i].sum() != 1 for i in mine]))
        assert table.loc[name, "mean_size"] == pytest.approx(np.mean([sets[i].sum() for i in mine]))
        assert np.isnan(table.loc[name, "coverage_low"]) == (by == "block")
        if by != "block":
            assert table.loc[name, "coverage_low"] <= table.loc[name, "coverage"] <= table.loc[name, "coverage_high"]
    assert table.attrs["promised"] == 0.9


def test_rows_of_another_source_break_the_promise_and_the_table_says_so():
    known, same, other = predicted.made(900, 1), predicted.made(900, 2), predicted.made(900, 3, skill=0.3)
    table = certainty.across(certainty.Conformal.fit(known, 0.1), {"same": same, "other": other}, repeats=200)
    assert table.holds.tolist() == [True, False]
    assert table.loc["other", "coverage"] < 0.8


def test_an_unknown_group_is_refused():
    rule = certainty.Conformal.fit(predicted.made(90))
    with pytest.raises(certainty.CertaintyError, match="by = 'class' or one of"):
        certainty.coverage(rule, predicted.made(30), "month")


# -- area of applicability ------------------------------------------------------------------------------------------


def clouds(n=300, seed=0, shift=0.0):
    random = np.random.default_rng(seed)
    return (random.normal(0, 1, (n, 5)) * [1, 2, 3, 0.5, 1] + shift).astype(np.float32), random.integers(0, 6, n)


def test_dissimilarity_and_threshold_are_those_of_a_plain_loop(monkeypatch):
    monkeypatch.setattr("arsetlib.certainty.applicability.PER_PASS", 1000)
    (x, fold), new = clouds(80), clouds(20, 1)[0]
    weights = np.array([1.0, 0.5, 0, 2, 1])
    found = certainty.Applicability.fit(x, fold, weights)
    scaled, far = ((v.astype(float) - x.mean(0)) / x.std(0) * weights for v in (x, new))
    apart = np.array([[np.linalg.norm(a - b) for b in scaled] for a in scaled])
    mean = apart.sum() / (80 * 79)
    assert found.mean_distance == pytest.approx(mean, rel=1e-4)
    wanted = [min(np.linalg.norm(row - p) for p in scaled) / mean for row in far]
    np.testing.assert_allclose(found.dissimilarity(new), wanted, rtol=1e-3)
    held_out = np.array([min(apart[i, j] for j in range(80) if fold[j] != fold[i]) for i in range(80)]) / mean
    np.testing.assert_allclose(found.held_out, held_out, rtol=1e-3)
    low, high = np.quantile(held_out, [0.25, 0.75])
    assert found.threshold == pytest.approx(max(h for h in held_out if h <= high + 1.5 * (high - low)), rel=1e-3)


def test_windows_like_the_training_are_inside_and_others_are_not():
    x, fold = clouds(500)
    found = certainty.Applicability.fit(x, fold)
    assert found.inside(clouds(200, 1)[0]).mean() > 0.9
    assert found.inside(clouds(200, 1, shift=12)[0]).mean() < 0.05
    assert (found.dissimilarity(x) < 1e-3).all()


def test_a_feature_without_weight_does_not_count():
    x, fold = clouds(200)
    x = np.c_[x, np.ones(200)].astype(np.float32)
    found = certainty.Applicability.fit(x, fold, [0, 1, 1, 1, 1, 1])
    moved = x.copy()
    moved[:, 0] += 99
    np.testing.assert_allclose(found.dissimilarity(moved), 0, atol=1e-3)


def test_more_windows_than_asked_for_are_thinned_by_the_seed():
    x, fold = clouds(400)
    one, other = (certainty.Applicability.fit(x, fold, most=100, seed=2) for _ in range(2))
    assert len(one.points) == 100
    assert np.array_equal(one.points, other.points)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"fold": np.zeros(300)}, "at least two folds, received one"),
        ({"weights": np.zeros(5)}, "5 finite weights of 0 or more"),
        ({"x": np.full((300, 5), np.nan)}, "finite features"),
        ({"x": np.ones((300, 5))}, "that differ"),
    ],
)
def test_windows_that_teach_nothing_are_refused(change, says):
    x, fold = clouds()
    given = {"x": x, "fold": fold} | change
    with np.errstate(all="ignore"), pytest.raises(certainty.CertaintyError, match=says):
        certainty.Applicability.fit(**given)


def test_features_are_monthly_means_of_the_filled_windows():
    table, study = labelled.table(), labelled.study()
    x, names = certainty.features(table, study, None, START)
    loader = samples.Loader(table, study, None, start=START, fill="linear", shuffle=False)
    windows = np.concatenate([part for part, _ in loader.arrays()])
    assert names == [(band, month) for month in range(4) for band in ("red", "nir")]
    for column, (band, month) in enumerate(names):
        steps = [t for t in range(24) if t * 5 // 30 == month]
        wanted = windows[:, steps, ("red", "nir").index(band)].mean(1)
        np.testing.assert_allclose(x[:, column], wanted, rtol=1e-5)


def test_importance_of_bands_becomes_weights_of_their_months():
    importance = pd.DataFrame({"drop": [0.3, -0.1]}, index=["nir", "red"])
    assert certainty.weights_of(importance, [("red", 0), ("nir", 0), ("nir", 1)]).tolist() == [0, 0.3, 0.3]
    with pytest.raises(certainty.CertaintyError, match="missing \\['blue'\\]"):
        certainty.weights_of(importance, [("blue", 0)])


def test_drift_is_the_difference_of_means_in_standard_deviations():
    study = labelled.study()
    early, names = certainty.features(labelled.table(0), study, None, START)
    late, _ = certainty.features(labelled.table(0, shift=2), study, None, START)
    table = certainty.drift(early, late, names)
    assert table.loc["nir", 1] == pytest.approx((late[:, 1].mean() - early[:, 1].mean()) / early[:, 1].std(), rel=1e-4)
    assert table.shape == (2, 4)
    assert certainty.drift(early, early, names).abs().max().max() == 0


def test_accuracy_is_given_inside_outside_and_from_near_to_far():
    new = predicted.made(200)
    far = np.linspace(0, 1, 200)
    table = certainty.accuracy_by_dissimilarity(far, new, 0.25, bins=4)
    right = new.predicted == new.truth
    assert table.loc["inside", "accuracy"] == right[far <= 0.25].mean()
    assert table.loc["outside", "samples"] == 150
    assert table.loc["4", "accuracy"] == right[150:].mean()
    assert np.isnan(certainty.accuracy_by_dissimilarity(far, new, 2).loc["outside", "accuracy"])


# -- layers ---------------------------------------------------------------------------------------------------------


def test_a_map_of_sets_says_cannot_say_where_a_set_has_not_one_class(tmp_path):
    new = predicted.made(600, 5)
    raw = np.rint(new.probability.T * SCALE).astype(np.uint16).reshape(predicted.K, 20, 30)
    raw[:, 0, :3] = NODATA["probability"]
    profile = {"driver": "GTiff", "height": 20, "width": 30, "count": predicted.K, "dtype": "uint16"}
    profile |= {"crs": "EPSG:5070", "transform": from_origin(0, 600, 30, 30), "nodata": NODATA["probability"]}
    with rasterio.open(tmp_path / "p.tif", "w", **profile) as out:
        out.write(raw)
    made = SimpleNamespace(
        legend=predicted.LEGEND, folder=tmp_path, stem="a_2019_120", path=lambda product: tmp_path / "p.tif",
        area="a", year=2019, simulated=True, info={"model": "m"},
    )  # fmt: skip
    rule = certainty.Conformal.fit(predicted.made(400, 6), 0.1)
    path, counts = certainty.set_layer(made, rule)
    sets = rule.sets(new.probability)
    wanted = certainty.certain(sets).reshape(20, 30)
    wanted[0, :3] = 255
    with rasterio.open(path) as source:
        values, colours = source.read(1), source.colormap(1)
        assert source.tags()["alpha"] == "0.1"
    assert (values == wanted).mean() > 0.99  # rounding may add a class, never take one
    assert counts["cannot_say"] == counts["none"] + counts["several"] == (values == predicted.K).sum()
    assert sum(counts[key] for key in (*predicted.LEGEND.keys, "cannot_say")) == 597
    assert colours[predicted.K][:3] == (0x8C, 0x8C, 0x8C)
    assert "cannot say" in path.with_name(f"{path.name}.aux.xml").read_text("utf-8")
    with pytest.raises(certainty.CertaintyError, match="the prediction and would be lost"):
        certainty.set_layer(made, rule, tmp_path / "p.tif")
    with pytest.raises(certainty.CertaintyError, match="score='lac'"):
        certainty.set_layer(made, certainty.Conformal.fit(predicted.made(90), score="aps"))


def test_a_map_of_dissimilarity_has_each_pixels_value_and_the_threshold(tmp_path):
    table, study = labelled.table(), labelled.study()
    x, _ = certainty.features(table, study, None, START)
    found = certainty.Applicability.fit(x, table["block"].to_numpy())
    other = labelled.table(1, shift=2)
    options = {"area": "place", "year": 2021}
    path, share = certainty.applicability_layer(found, other, study, None, START, tmp_path / "far.tif", **options)
    far = found.dissimilarity(certainty.features(other, study, None, START)[0])
    assert share == (far <= found.threshold).mean()
    with rasterio.open(path) as source:
        rows, cols = np.array(
            rasterio.transform.rowcol(source.transform, other["x"].to_numpy(), other["y"].to_numpy()), int
        )
        values = source.read(1)[rows, cols] / SCALE
        assert float(source.tags()["threshold"]) == found.threshold
    np.testing.assert_allclose(values, far.clip(0, 6.5534), atol=1e-4)
    with pytest.raises(certainty.CertaintyError, match="no row of area 'elsewhere'"):
        certainty.applicability_layer(found, other, study, None, START, tmp_path / "x.tif", area="elsewhere", year=2021)


def test_a_predicted_map_gets_its_sets_beside_it_and_a_new_prediction_removes_them(tmp_path):
    from arsetlib import maps, training

    table, study = labelled.table(), labelled.study()
    parts = samples.kfold(table, 2, 0)[0]
    sides = {"train": parts["train"], "validation": parts["test"]}
    trained = training.fit("random_forest", sides, study, epochs=1, options={"trees": 5}, starts=START, progress=False)
    made = maps.predict(trained, table, START, tmp_path, area="place", year=2021, study=study, progress=False)
    rule = certainty.Conformal.fit(trained.predictions(sides["validation"], START), 0.1)
    path, counts = certainty.set_layer(made, rule)
    assert path == tmp_path / f"place_2021_{START}_set.tif"
    certain = made.read("class").compressed()
    with rasterio.open(path) as source:
        values = source.read(1)
    sure = values < len(study.legend.classes)
    assert sure.sum() == sum(counts[key] for key in study.legend.keys) > 0
    assert (values[sure] == made.read("class").data[sure]).all()
    assert counts["cannot_say"] == len(certain) - sure.sum()
    other = training.fit("majority", sides, study, epochs=1, progress=False)
    maps.predict(other, table, START, tmp_path, area="place", year=2021, study=study, progress=False)
    assert not path.exists()


# -- careless hands ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", [[np.nan] * 4, [0.9, 0.9, 0, 0], [4, -3, 0, 0], [0, 0, 0, 0]])
@pytest.mark.parametrize("count", [5, 400])
def test_a_row_that_is_no_probability_gets_no_set(row, count):
    rule = certainty.Conformal.fit(predicted.made(count), 0.1)
    with pytest.raises(certainty.CertaintyError, match="each row sums to 1"):
        rule.sets([[0.25] * 4, row])


@pytest.mark.parametrize("by_class", [False, True])
def test_with_fewer_rows_than_one_over_alpha_all_classes_are_in_each_set(by_class):
    rule = certainty.Conformal.fit(predicted.made(8), 0.1, by_class=by_class)
    assert not any(rule.promises)
    assert rule.sets(predicted.made(20, 1).probability).all()


@pytest.mark.parametrize("alpha", [0, 1, -0.1, np.nan])
def test_an_alpha_that_promises_nothing_is_refused(alpha):
    with pytest.raises(certainty.CertaintyError, match="alpha between 0 and 1"):
        certainty.Conformal.fit(predicted.made(30), alpha)


def test_coverage_is_not_measured_on_the_rows_of_the_calibration():
    known = predicted.made(300, 1)
    rule = certainty.Conformal.fit(known, 0.1)
    for same in (known, known.pick(np.arange(300)[::-1])):
        with pytest.raises(certainty.CertaintyError, match="rows on which the sets were calibrated"):
            certainty.coverage(rule, same)
    assert certainty.coverage(rule, known.pick(np.arange(200))).samples.iloc[0] == 200


def test_a_window_that_is_not_finite_is_neither_inside_nor_outside():
    x, fold = clouds()
    found = certainty.Applicability.fit(x, fold)
    x[3, 1] = np.nan
    with pytest.raises(certainty.CertaintyError, match="finite features, received .* in row 3"):
        found.dissimilarity(x)
    known = predicted.made(9)
    with pytest.raises(certainty.CertaintyError, match="received NaN"):
        certainty.accuracy_by_dissimilarity([np.nan] * 9, known, 0.5)


@pytest.mark.parametrize("weight", [np.nan, np.inf, -1])
def test_weights_that_are_none_are_refused(weight):
    x, fold = clouds()
    with pytest.raises(certainty.CertaintyError, match="5 finite weights of 0 or more"):
        certainty.Applicability.fit(x, fold, [1, 1, 1, 1, weight])


def test_thinning_that_leaves_one_fold_is_refused():
    x, fold = clouds()
    with pytest.raises(certainty.CertaintyError, match="two folds, received one in the 1 kept"):
        certainty.Applicability.fit(x, fold, most=1)


def test_another_value_of_a_feature_that_never_changed_in_the_training_is_outside():
    random = np.random.default_rng(3)
    x = np.column_stack([random.normal(size=(60, 2)), np.full(60, 0.3)]).astype(np.float32)
    fold = np.arange(60) % 3
    near = certainty.Applicability.fit(x, fold)
    without = certainty.Applicability.fit(x[:, :2], fold)
    assert np.allclose(near.dissimilarity(x), without.dissimilarity(x[:, :2]), atol=1e-6)
    other = x.copy()
    other[7, 2] += 0.1
    assert np.isinf(near.dissimilarity(other)[7])
    assert near.inside(other).tolist() == [i != 7 for i in range(60)]
    weightless = certainty.Applicability.fit(x, fold, [1, 1, 0])  # a feature that does not matter may change
    assert weightless.inside(other).all()
