"""Scores against scikit-learn, plain loops and published examples."""

import datetime
import math
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sklearn.metrics as sk
from hypothesis import given, settings
from hypothesis import strategies as st
from predicted import DAY, LEGEND, K, in_season, made, sure

from arsetlib import evaluation as ev
from arsetlib import seeds
from arsetlib.evaluation import blocks, scores
from arsetlib.study import Study

pairs = st.lists(st.tuples(st.integers(0, K - 1), st.integers(0, K - 1)), min_size=1, max_size=60)


# -- confusion --------------------------------------------------------------------------------------------------------


@given(pairs)
@settings(deadline=None)
def test_counts_are_those_of_a_plain_loop_with_rows_as_truth(pairs):
    counts = np.zeros((K, K), int)
    for t, p in pairs:
        counts[t, p] += 1
    assert np.array_equal(ev.Confusion.of(*np.array(pairs).T, K).counts, counts)


@given(pairs)
@settings(max_examples=60, deadline=None)
def test_scores_are_those_of_scikit_learn(pairs):
    truth, predicted = np.array(pairs).T
    c = ev.Confusion.of(truth, predicted, K)
    every = np.arange(K)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert c.accuracy == pytest.approx(sk.accuracy_score(truth, predicted))
        assert c.balanced_accuracy == pytest.approx(sk.balanced_accuracy_score(truth, predicted))
        assert c.macro_f1 == pytest.approx(sk.f1_score(truth, predicted, average="macro"))
        assert c.weighted_f1 == pytest.approx(sk.f1_score(truth, predicted, average="weighted"))
        assert c.micro_f1 == pytest.approx(sk.f1_score(truth, predicted, average="micro"))
        assert c.kappa == pytest.approx(sk.cohen_kappa_score(truth, predicted), nan_ok=True)
        assert c.mean_iou == pytest.approx(sk.jaccard_score(truth, predicted, average="macro"))
        assert c.frequency_weighted_iou == pytest.approx(sk.jaccard_score(truth, predicted, average="weighted"))
        options = {"labels": every, "average": None, "zero_division": np.nan}
        assert c.precision == pytest.approx(sk.precision_score(truth, predicted, **options), nan_ok=True)
        assert c.recall == pytest.approx(sk.recall_score(truth, predicted, **options), nan_ok=True)
        assert c.f1 == pytest.approx(sk.f1_score(truth, predicted, **options), nan_ok=True)


@given(pairs)
@settings(max_examples=40, deadline=None)
def test_scores_of_some_classes_are_those_of_the_samples_that_are_one_of_them(pairs):
    truth, predicted = np.array(pairs).T
    crops = ev.Confusion.of(truth, predicted, LEGEND).only(["corn", "rice"])
    kept = truth >= 2
    assert crops.total == kept.sum()
    if not kept.any():
        assert math.isnan(crops.accuracy)
        assert math.isnan(crops.macro_f1)
        return
    assert crops.accuracy == pytest.approx((truth[kept] == predicted[kept]).mean())
    options = {"labels": [2, 3], "zero_division": 0}
    f1 = sk.f1_score(truth[kept], predicted[kept], average=None, **options)
    there = [c in truth[kept] or c in predicted[kept] for c in (2, 3)]
    assert crops.macro_f1 == pytest.approx(f1[there].mean())
    assert crops.micro_f1 == pytest.approx(sk.f1_score(truth[kept], predicted[kept], average="micro", **options))
    assert np.isnan(crops.f1[:2]).all()


@given(pairs, pairs)
@settings(max_examples=30, deadline=None)
def test_confusions_add_up(one, other):
    a, b = (ev.Confusion.of(*np.array(p).T, LEGEND) for p in (one, other))
    both = ev.Confusion.of(*np.array(one + other).T, LEGEND)
    assert a + b == both == sum([b, a])


def test_a_class_that_truth_and_prediction_lack_enters_no_mean_and_is_named():
    c = ev.Confusion.of([0, 0, 2], [0, 2, 2], LEGEND)
    assert np.isnan(c.f1[[1, 3]]).all()
    assert c.macro_f1 == pytest.approx(2 / 3)
    assert "in no mean: Cultivated, Rice" in repr(c)


def test_a_table_of_counts_in_another_order_is_refused():
    table = pd.DataFrame([[5, 1], [0, 4]], index=["a", "b"], columns=["a", "b"])
    assert ev.Confusion.from_counts(table, ["a", "b"]).accuracy == 0.9
    for wrong in (table.loc[["b", "a"]], table[["b", "a"]], table.loc[["b", "a"], ["b", "a"]]):
        with pytest.raises(ev.EvaluationError, match=r"in the order \['a', 'b'\]"):
            ev.Confusion.from_counts(wrong, ["a", "b"])


def test_a_class_only_predicted_counts_as_zero():
    c = ev.Confusion.of([0, 0], [0, 1], 2)
    assert c.f1[1] == 0
    assert c.iou[1] == 0
    assert np.isnan(c.recall[1])
    assert c.macro_f1 == pytest.approx((2 / 3 + 0) / 2)


def test_weights_count_and_make_shares():
    c = ev.Confusion.of([0, 1], [0, 0], 2, weight=[3.0, 1.0])
    assert c.accuracy == 0.75
    assert c.counts.dtype == np.float64


def test_masks_of_any_shape_leave_out_what_is_not_labelled():
    truth = np.array([[[0, 1], [255, 2]]], np.uint8)
    c = ev.Confusion.of(truth, np.array([[[0, 1], [1, 1]]]), ["ground", "tree", "grass"], ignore=255)
    assert c.total == 3
    assert c.iou == pytest.approx([1, 0.5, 0])
    assert c.pixel_accuracy == c.accuracy == pytest.approx(2 / 3)


def test_pixel_accuracy_flatters_where_background_dominates():
    truth = np.repeat([0, 1], [95, 5])
    blind = ev.Confusion.of(truth, np.zeros(100, int), ["ground", "tree"])
    assert blind.pixel_accuracy == 0.95
    assert blind.iou[1] == 0
    assert blind.mean_iou == pytest.approx(0.475)


def test_counting_passes_over_long_inputs_in_parts(monkeypatch):
    random = np.random.default_rng(0)
    truth, predicted = random.integers(0, K, (2, 1000))
    whole = ev.Confusion.of(truth, predicted, K)
    monkeypatch.setattr("arsetlib.evaluation.confusion.PER_PASS", 64)
    assert ev.Confusion.of(truth, predicted, K) == whole


def test_normalised_says_over_what_and_sums_to_one():
    c = made().confusion()
    for over, axis in (("truth", 1), ("prediction", 0)):
        shares = c.normalised(over)
        assert shares.to_numpy().sum(axis) == pytest.approx(np.ones(K))
        assert shares.attrs["normalised"] == over
    assert "each row sums to 1" in str(c.normalised())
    assert np.diag(c.normalised("truth")) == pytest.approx(c.recall)
    assert np.diag(c.normalised("prediction")) == pytest.approx(c.precision)
    assert c.normalised("all").to_numpy().sum() == pytest.approx(1)
    with pytest.raises(ev.EvaluationError, match="'truth' or 'prediction'"):
        c.normalised("rows")


def test_original_defect_normalised_by_prediction_hides_recall():
    """Of 100 'Cultivated' one is found and never another called so: by prediction that looks perfect."""
    c = ev.Confusion.of([1] * 100 + [2] * 100, [1] + [2] * 199, LEGEND)
    assert c.normalised("prediction").loc["Cultivated", "Cultivated"] == 1
    assert c.normalised("truth").loc["Cultivated", "Cultivated"] == 0.01
    assert c.normalised().equals(c.normalised("truth"))


def test_table_has_a_row_a_class_with_names_in_any_language():
    table = made().confusion().table(LEGEND.names("es"))
    assert list(table.index) == ["Sin cultivo", "Cultivated", "Maíz", "Rice"]
    assert table.truth.sum() == 600


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ev.Confusion.of([0, 1], [0], 2), "one shape"),
        (lambda: ev.Confusion.of([0.0], [0], 2), "argmax"),
        (lambda: ev.Confusion.of([-1, 0], [0, 0], LEGEND), "double crop"),
        (lambda: ev.Confusion.of([0], [4], LEGEND), r"Prediction has class numbers \[4\]"),
        (lambda: ev.Confusion.of([0], [0], 2, weight=[np.nan]), "weights"),
        (lambda: ev.Confusion.of([0], [0], 2, weight=[1, 2]), "one weight"),
        (lambda: ev.Confusion.of([0], [0], ["a", "a"]), "distinct names"),
        (lambda: ev.Confusion.from_counts([[1, 2]]), "matrix"),
        (lambda: ev.Confusion.from_counts([[1, -2], [0, 1]]), "0 or more"),
        (lambda: ev.Confusion.of([0], [0], 2) + ev.Confusion.of([0], [0], 3), "same classes"),
        (lambda: ev.Confusion.of([0], [0], 2) + ev.Confusion.of([0], [0], 2).only([1]), "after adding"),
        (lambda: ev.Confusion.of([0], [0], LEGEND).only(["wheat"]), "'wheat'"),
        (lambda: ev.Confusion.of([0], [0], LEGEND).only([]), "at least one"),
    ],
)
def test_confusion_refuses_what_cannot_be_scored(call, message):
    with pytest.raises(ev.EvaluationError, match=message):
        call()


def test_nothing_to_score_is_nan_without_a_warning():
    c = ev.Confusion.of(np.empty(0, int), np.empty(0, int), LEGEND)
    assert math.isnan(c.accuracy)
    assert math.isnan(c.kappa)
    assert math.isnan(c.macro_f1)
    assert "0 samples" in repr(c)


def test_four_crops_are_the_classes_of_one_code():
    assert ev.single_crops(Study.load("sample").legend) == ["corn", "soybeans", "cotton", "rice"]
    assert ev.single_crops(LEGEND) == ["corn", "rice"]


# -- predictions ------------------------------------------------------------------------------------------------------


def test_predictions_come_back_from_disk_as_they_were(tmp_path):
    p = made()
    q = ev.Predictions.load(p.save(tmp_path / "new" / "p.parquet"))
    for name in ("truth", "probability", "start", "last", "pixel", "year", "x", "y", "block", "area"):
        assert np.array_equal(getattr(p, name), getattr(q, name))
        assert getattr(p, name).dtype == getattr(q, name).dtype
    assert q.legend == p.legend
    assert q.simulated


def test_predictions_of_many_row_groups_come_back(tmp_path, monkeypatch):
    monkeypatch.setattr("arsetlib.evaluation.predictions.ROW_GROUP", 100)
    p = made()
    p.save(tmp_path / "p.parquet")
    assert pq.ParquetFile(tmp_path / "p.parquet").num_row_groups == 6
    assert np.array_equal(ev.Predictions.load(tmp_path / "p.parquet").probability, p.probability)


def test_predictions_add_pick_and_group():
    p = made()
    west = p.area == "west"
    assert len(p.pick(west)) + len(p.pick(~west)) == len(p) == len(p.pick(west) + p.pick(~west))
    for name in ("last", "start", "day_of_year", "block", "area", "year", "all"):
        assert sum(p.by(name).values()) == p.confusion()
    assert list(p.by("last")) == [datetime.date(1970, 1, 1) + datetime.timedelta(DAY + d + 119) for d in (0, 30, 60)]
    assert p.by("area")["east"] == p.pick(p.area == "east").confusion()
    assert list(p.by("block")) == list(range(12))


def test_adding_predictions_keeps_simulated():
    both = made(simulated=False) + made(simulated=True)
    assert both.simulated
    assert not made(simulated=False).simulated


def test_predicted_is_the_first_of_the_most_probable():
    p = sure([0, 1], [0, 0])
    q = ev.Predictions(**{**vars(p), "probability": np.array([[0.25] * 4, [0, 0.4, 0.4, 0.2]])})
    assert q.predicted.tolist() == [0, 1]
    assert q.predicted.dtype == np.int8


def changed(p=None, **columns):
    p = p or made(6)
    names = ("truth", "probability", "start", "last", "pixel", "year", "x", "y", "block", "area", "legend", "simulated")
    return ev.Predictions(**{**{n: getattr(p, n) for n in names}, **columns})


def with_nan():
    probability = made(6).probability.copy()
    probability[4, 1] = np.nan
    return changed(probability=probability)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (with_nan, "1 of 6 predictions have NaN: row 4, pixel 1"),
        (lambda: changed(probability=np.ones((6, K))), "sum to 1"),
        (lambda: changed(probability=np.ones((6, 3)) / 3), r"shape \(6, 4\)"),
        (lambda: changed(truth=np.full(6, 4)), "row 0 has 4"),
        (lambda: changed(last=np.full(6, 1)), "last day is not before the first"),
        (lambda: changed(truth=np.full(6, 0.0)), "int8"),
        (lambda: changed(block=np.full(6, 2**40)), "block from"),
        (lambda: changed(x=np.zeros(5)), r"x of shape \(6,\)"),
        (lambda: changed(area=[None] * 6), "text in every row"),
        (lambda: made(6).pick(np.ones(5, bool)), "mask of 6"),
        (lambda: made(6).by("crop"), "group by"),
        (lambda: made(6) + made(6, legend=Study.load("sample").legend), "one legend"),
        (lambda: ev.Predictions.concat([]), "at least one"),
        (lambda: ev.Predictions.load("nowhere.parquet"), "arset evaluate"),
    ],
)
def test_predictions_refuse_what_cannot_be_scored(call, message):
    with pytest.raises(ev.EvaluationError, match=message):
        call()


def test_a_file_of_something_else_is_refused(tmp_path):
    pq.write_table(pa.table({"a": [1]}), tmp_path / "a.parquet")
    with pytest.raises(ev.EvaluationError, match="holds no predictions"):
        ev.Predictions.load(tmp_path / "a.parquet")
    (tmp_path / "b.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(ev.EvaluationError, match="cannot be read"):
        ev.Predictions.load(tmp_path / "b.parquet")


def test_original_defect_double_crops_must_not_be_in_the_test_set():
    """What the legend excludes is -1; predictions with such a truth cannot be made."""
    truth = LEGEND.classes_of(np.array([1, 26, 3, 254, 4, 1]))
    assert (truth < 0).sum() == 2
    with pytest.raises(ev.EvaluationError, match="2 truths are no class .* double crop"):
        changed(truth=truth)


# -- baselines, dates, blocks -----------------------------------------------------------------------------------------


def test_majority_names_one_class_for_all():
    p = sure([0] * 6 + [2] * 3 + [3], [0] * 10)
    assert ev.majority(p).accuracy == 0.6
    of_training = ev.majority(p, [1, 1, 50, 1])
    assert of_training.accuracy == 0.3
    assert of_training.counts[:, 2].sum() == 10
    with pytest.raises(ev.EvaluationError, match="class_counts"):
        ev.majority(p, [1, 2])


def test_table_by_date_is_that_of_each_date_alone():
    p = made()
    table = ev.by_date(p, repeats=50)
    for day, row in table.iterrows():
        alone = p.by("last")[day]
        assert row.accuracy == pytest.approx(alone.accuracy)
        assert row.macro_f1 == pytest.approx(alone.macro_f1)
        assert row.crops_accuracy == pytest.approx(alone.only(["corn", "rice"]).accuracy)
        assert row.crops_macro_f1 == pytest.approx(alone.only(["corn", "rice"]).macro_f1)
        assert row.majority_accuracy == pytest.approx(alone.support.max() / alone.total)
        assert row.accuracy_low <= row.accuracy <= row.accuracy_high
    assert table.attrs["crops"] == ["Corn", "Rice"]
    again = ev.by_date(p, repeats=50)
    pd.testing.assert_frame_equal(table, again)


def test_original_defect_the_late_peak_is_an_artefact_of_the_fallow_class():
    """Late in the season most truth is bare: accuracy rises while the crops are recognised less well."""
    early = ([0] * 10 + [2] * 45 + [3] * 45, [0] * 5 + [2] * 5 + [2] * 38 + [3] * 7 + [3] * 38 + [2] * 7)
    late = ([0] * 80 + [2] * 10 + [3] * 10, [0] * 80 + [2] * 5 + [0] * 5 + [3] * 5 + [0] * 5)
    truth, predicted = (np.array(a + b) for a, b in zip(early, late, strict=True))
    last = np.repeat([DAY, DAY + 60], 100)
    table = ev.by_date(sure(truth, predicted, last=last, start=last - 119), repeats=0)
    assert table.accuracy.is_monotonic_increasing
    assert table.crops_accuracy.is_monotonic_decreasing
    assert table.crops_macro_f1.is_monotonic_decreasing
    assert table.majority_accuracy.iloc[1] == 0.8
    published = ev.published.arset_by_start()
    assert published.accuracy[180] == published.accuracy.max()
    assert published.four_crops[180] < published.four_crops[105]


def test_intervals_by_block_are_wider_than_pixels_promise():
    random = np.random.default_rng(0)
    block = np.repeat(np.arange(20), 100)
    right = (random.random(20) < 0.7)[block]  # a field is right or wrong as a whole
    p = sure(np.full(2000, 2), np.where(right, 2, 0), block=block)
    row = ev.score_table(p, "all").iloc[0]
    naive = 2 * 1.96 * math.sqrt(row.accuracy * (1 - row.accuracy) / len(p))
    assert row.accuracy_high - row.accuracy_low > 5 * naive


def test_block_draws_have_the_spread_of_a_mean_of_blocks():
    counts = np.zeros((50, 1, 1))
    counts[:, 0, 0] = np.random.default_rng(1).normal(10, 2, 50)
    totals = blocks.resampled(counts, 4000, seed=1)[:, 0, 0]
    assert totals.mean() == pytest.approx(counts.sum(), rel=0.01)
    assert totals.std() == pytest.approx(counts.std() * math.sqrt(50), rel=0.05)


def test_draws_are_made_in_parts_without_changing(monkeypatch):
    _, counts = made().counts_by("block")
    whole = blocks.resampled(counts, 40, seed=3)
    monkeypatch.setattr(blocks, "PER_PASS", 60)
    assert np.array_equal(blocks.resampled(counts, 40, seed=3), whole)


def test_one_block_has_no_interval():
    p = made(blocks=1)
    table = ev.by_date(p)
    assert table.accuracy_low.isna().all()
    assert all(map(math.isnan, ev.score_interval(p.counts_by("block")[1], scores.accuracy)))


def test_table_by_block_has_the_middle_of_each():
    p = made()
    table = ev.by_block(p)
    assert table.x[3] == pytest.approx(p.x[p.block == 3].mean())
    assert table.samples.sum() == len(p)


def test_earliest_date_is_the_first_that_reaches_the_f1_and_says_whether_it_stays():
    table = ev.earliest_dates(in_season([10, 36, 12, 37, 40]), f1=0.9)
    days = pd.to_datetime(np.array([DAY, DAY + 10, DAY + 20, DAY + 30, DAY + 40], "datetime64[D]"))
    corn = table.loc["Corn"]
    assert (corn.date, corn.until, corn.stays) == (days[1], days[1], days[3])
    assert corn.f1 == pytest.approx(2 * 36 / (40 + 36))
    assert (corn.best_f1, corn.best_date) == (1, days[4])


def test_a_crop_that_never_gets_there_has_no_date():
    table = ev.earliest_dates(in_season([10, 36, 12]), f1=0.99)
    assert table.loc["Corn", ["date", "until", "stays"]].isna().all()
    lost = ev.earliest_dates(in_season([40, 12]), f1=0.9).loc["Corn"]
    assert lost.until == lost.date
    assert pd.isna(lost.stays)


def test_a_date_with_few_samples_of_a_crop_does_not_count():
    assert ev.earliest_dates(in_season([40], n=40), least=41).date.isna().all()
    assert ev.earliest_dates(in_season([40], n=40), least=41).dates.tolist() == [0, 0]


def test_earliest_dates_pool_years_by_day_of_year():
    one, other = in_season([40, 40]), in_season([0, 40])
    later = changed(other, start=other.start + 365, last=other.last + 365, year=other.year + 1)
    table = ev.earliest_dates(one + later, f1=0.9)
    assert table.dates.tolist() == [2, 2]
    assert table.loc["Corn", "date"] == pd.Timestamp(np.datetime64(DAY + 10 + 365, "D"))
    with pytest.raises(ev.EvaluationError, match="F1 above 0"):
        ev.earliest_dates(one, f1=80)


def test_f1_by_date_is_that_of_each_date():
    p = made()
    table = ev.f1_by_date(p)
    for day, row in table.iterrows():
        assert row.to_numpy() == pytest.approx(p.by("last")[day].f1, nan_ok=True)


def test_models_are_compared_on_the_same_blocks():
    good, bad = made(skill=3), made(skill=0.5)
    table = ev.compare({"bad": bad, "good": good}, repeats=100)
    assert list(table.index) == ["good", "bad", "majority baseline"]
    assert table.behind["bad"] == pytest.approx(good.confusion().macro_f1 - bad.confusion().macro_f1)
    assert 0 < table.behind_low["bad"] < table.behind["bad"] < table.behind_high["bad"]
    assert table.behind["good"] == table.behind_high["good"] == 0
    shuffled = bad.pick(np.random.default_rng(0).permutation(len(bad)))
    assert ev.compare({"bad": shuffled, "good": good}, repeats=100).behind_low["bad"] == table.behind_low["bad"]
    with pytest.raises(ev.EvaluationError, match="another name"):
        ev.compare({"majority baseline": good})
    with pytest.raises(ev.EvaluationError, match="same pixels"):
        ev.compare({"a": good, "b": bad.pick(bad.area == "west")})


# -- probabilities ----------------------------------------------------------------------------------------------------


@given(st.integers(0, 10_000), st.integers(1, K))
@settings(max_examples=25, deadline=None)
def test_top_k_is_that_of_a_plain_loop(seed, k):
    p = made(30, seed, skill=0.5)
    found = 0
    for truth, row in zip(p.truth, p.probability, strict=True):
        order = sorted(range(K), key=lambda i, row=row: (-row[i], i))
        found += truth in order[:k]
    assert ev.top_k(p, k) == found / 30
    assert ev.top_k(p, 1) == p.confusion().accuracy


def test_top_k_takes_the_first_of_equals():
    p = changed(sure([0, 1, 2, 3], [0] * 4), probability=np.full((4, 4), 0.25))
    assert [ev.top_k(p, k) for k in (1, 2, 3, 4)] == [0.25, 0.5, 0.75, 1]
    with pytest.raises(ev.EvaluationError, match="1 to 4"):
        ev.top_k(p, 5)


def test_log_loss_and_brier_are_those_of_scikit_learn():
    p = made()
    hot = np.eye(K)[p.truth]
    probability = p.probability.astype(np.float64)
    probability /= probability.sum(1, keepdims=True)
    assert ev.log_loss(p) == pytest.approx(sk.log_loss(p.truth, probability, labels=range(K)), rel=1e-5)
    assert ev.brier(p) == pytest.approx(((probability - hot) ** 2).sum(1).mean(), rel=1e-5)
    assert ev.brier(sure([0], [1])) == 2
    assert math.isfinite(ev.log_loss(sure([0], [1])))


@pytest.mark.parametrize("equal", ["width", "count"])
def test_calibration_error_is_that_of_a_plain_loop(equal):
    p = made()
    confidence, right = p.probability.max(1), p.predicted == p.truth
    table = ev.reliability(p, 10, equal=equal)
    assert table.samples.sum() == len(p)
    error = 0
    for low, high in zip(table.low, table.high, strict=True):
        here = (confidence > low) & (confidence <= high)
        error += here.sum() / len(p) * abs(confidence[here].mean() - right[here].mean())
    assert ev.calibration_error(p, 10, equal=equal) == pytest.approx(error, rel=1e-5)


def test_probabilities_that_come_true_have_no_calibration_error():
    random = np.random.default_rng(0)
    probability = random.dirichlet(np.ones(K), 40_000).astype(np.float32)
    truth = (probability.cumsum(1) < random.random((40_000, 1))).sum(1).clip(0, K - 1)
    p = changed(sure(truth, truth), probability=probability)
    assert ev.calibration_error(p) < 0.01
    assert ev.Temperature.fit(p).value == pytest.approx(1, abs=0.05)


def test_temperature_mends_overconfidence_and_changes_no_decision():
    p = made(3000)
    sharp = ev.Temperature(0.3).apply(p)
    fitted = ev.Temperature.fit(sharp)
    mended = fitted.apply(sharp)
    assert fitted.value == pytest.approx(ev.Temperature.fit(p).value / 0.3, rel=0.02)
    assert np.array_equal(mended.predicted, p.predicted)
    assert ev.calibration_error(mended) < ev.calibration_error(sharp)
    assert ev.log_loss(mended) < ev.log_loss(sharp)


def test_calibration_in_parts_is_the_same(monkeypatch):
    p = made()
    whole = ev.calibration(p)
    monkeypatch.setattr("arsetlib.evaluation.probabilities.PER_PASS", 7)
    assert ev.calibration(p) == pytest.approx(whole)
    assert ev.top_k(p, 2) <= 1


def test_nothing_to_score_is_an_error():
    empty = made().pick(slice(0, 0))
    for call in (ev.by_date, ev.top_k, ev.brier, ev.log_loss, ev.reliability, ev.earliest_dates, ev.Temperature.fit):
        with pytest.raises(ev.EvaluationError, match="received none"):
            call(empty)


# -- areas ------------------------------------------------------------------------------------------------------------

CHANGE = ["deforestation", "forest gain", "stable forest", "stable non-forest"]
# Olofsson et al. 2014, table 8: rows = map, columns = reference.
PAPER = np.array([[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]])
HECTARES = [18_000, 13_500, 288_000, 580_500]


def test_areas_are_those_of_the_worked_example_of_olofsson_2014():
    found = ev.stratified_areas(ev.Confusion.from_counts(PAPER.T, CHANGE), HECTARES)
    row = found.table.loc["deforestation"]
    assert row.area == pytest.approx(21_158, abs=0.5)
    assert row.area_high - row.area == pytest.approx(6_158, abs=0.5)
    assert found.accuracy == pytest.approx(0.95, abs=0.005)
    assert found.accuracy_high - found.accuracy == pytest.approx(0.02, abs=0.005)
    assert row.users == pytest.approx(0.88)
    assert row.users_high - row.users == pytest.approx(0.07, abs=0.005)
    assert row.producers == pytest.approx(0.75, abs=0.005)
    assert row.producers_high - row.producers == pytest.approx(0.21, abs=0.005)
    assert found.table.area.sum() == pytest.approx(900_000)
    assert "21,158" in str(found)


def test_stratified_errors_are_those_of_a_plain_loop():
    found = ev.stratified_areas(ev.Confusion.from_counts(PAPER.T, CHANGE), HECTARES, confidence=0.6826894921)
    weight, sampled = np.array(HECTARES) / 900_000, PAPER.sum(1)
    for j, name in enumerate(CHANGE):
        variance = sum(
            weight[i] ** 2 * PAPER[i, j] / sampled[i] * (1 - PAPER[i, j] / sampled[i]) / (sampled[i] - 1)
            for i in range(4)
        )
        row = found.table.loc[name]
        assert row.share_high - row.share == pytest.approx(math.sqrt(variance), rel=1e-6)


def test_counting_pixels_is_biased_and_the_estimate_is_not():
    """5 % of a large class is mapped as a small one: counting doubles the small class."""
    random = np.random.default_rng(0)
    truth = (random.random(100_000) < 0.05).astype(int)
    mapped = np.where(truth == 0, (random.random(100_000) < 0.05).astype(int), 1)
    area = np.bincount(mapped)
    inside = []
    for seed in range(100):
        draw = np.random.default_rng(seed)
        rows = np.concatenate([draw.choice(np.flatnonzero(mapped == c), 150, replace=False) for c in (0, 1)])
        row = ev.stratified_areas(ev.Confusion.of(truth[rows], mapped[rows], 2), area, unit="pixels").table.loc["1"]
        inside.append(row.area_low <= truth.sum() <= row.area_high)
    assert area[1] > 1.8 * truth.sum()
    assert 0.88 <= np.mean(inside) <= 1


def test_a_mapped_class_without_samples_is_an_error():
    c = ev.Confusion.of([0, 0, 1], [0, 0, 1], ["a", "b"])
    with pytest.raises(ev.EvaluationError, match="'b' covers 5 of the map but has 1 samples"):
        ev.stratified_areas(c, [10, 5])
    assert ev.stratified_areas(c, {"a": 10}).table.area.tolist() == [10, 0]
    for wrong in ({"c": 1}, [1, 2, 3], [0, 0], [-1, 2]):
        with pytest.raises(ev.EvaluationError):
            ev.stratified_areas(c, wrong)


def test_areas_by_block_of_the_sample_itself_are_its_truth():
    p = made(dates=1)
    found = ev.block_areas(p, repeats=200)
    assert found.table.area.tolist() == pytest.approx(p.confusion().support.tolist())
    assert (found.table.area_low <= found.table.area).all()
    assert (found.table.area <= found.table.area_high).all()
    assert found.table.users.tolist() == pytest.approx(p.confusion().precision.tolist())
    assert "12 blocks" in found.method


def test_areas_by_block_with_a_map_are_stratified():
    p = made(dates=1)
    mapped = [400, 100, 300, 200]
    by_block = ev.block_areas(p, mapped, repeats=200).table
    plain = ev.stratified_areas(p.confusion(), mapped).table
    for column in ("area", "share", "users", "producers"):
        assert by_block[column].tolist() == pytest.approx(plain[column].tolist())
    with pytest.raises(ev.EvaluationError, match="one date"):
        ev.block_areas(made())


def test_sample_size_is_that_of_the_paper():
    assert ev.sample_size([0.02, 0.015, 0.32, 0.645], [0.70, 0.60, 0.90, 0.95], error=0.01) == 641
    given_out = ev.allocate(641, [0.02, 0.015, 0.32, 0.645], least=75)
    assert given_out.tolist()[:2] == [75, 75]
    assert given_out.sum() == 641
    with pytest.raises(ev.EvaluationError, match="at least 300"):
        ev.allocate(100, [0.02, 0.015, 0.32, 0.645], least=75)


@given(st.lists(st.floats(0, 10), min_size=2, max_size=6), st.integers(0, 500), st.integers(0, 20))
@settings(max_examples=50, deadline=None)
def test_allocation_adds_up_and_gives_each_mapped_class_its_least(shares, more, least):
    if not sum(shares) > 1e-3:
        return
    on_map = np.array(shares) > 0
    size = int(least * on_map.sum() + more)
    given_out = ev.allocate(size, shares, least)
    assert given_out.sum() == size
    assert (given_out[on_map] >= least).all()
    assert (given_out[~on_map] == 0).all()


# -- importance -------------------------------------------------------------------------------------------------------

BANDS = ("blue", "red", "nir")


def series(n=600, seed=0):
    """Class 0, 1 or 2 by nir alone; red copies it with noise; blue is noise."""
    random = np.random.default_rng(seed)
    y = np.sort(random.integers(0, 3, n))  # sorted: neighbours are alike, as in a table
    x = random.normal(0, 1, (n, 5, 3)).astype(np.float32)
    x[:, :, 2] = y[:, None] + random.normal(0, 0.1, (n, 5))
    return x, np.eye(3, dtype=np.float32)[y]


def by_nir(x):
    x = x["series"] if isinstance(x, dict) else x
    distance = -np.abs(x[:, :, 2].mean(1)[:, None] - np.arange(3))
    return np.exp(distance) / np.exp(distance).sum(1, keepdims=True)


def in_batches(x, y, size=64, extra=False):
    for at in range(0, len(x), size):
        part = x[at : at + size]
        yield ({"series": part, "seen": np.ones(part.shape[:2], bool)} if extra else part), y[at : at + size]


@pytest.mark.parametrize("extra", [False, True])
@pytest.mark.parametrize("pool", [50, 8192])
def test_only_the_band_that_a_model_uses_is_important(extra, pool):
    x, y = series()
    again = x.copy()
    table = ev.permutation_importance(
        by_nir, lambda: in_batches(x, y, extra=extra), BANDS, score="accuracy", repeats=3, pool=pool
    )
    assert table.index[0] == "nir"
    assert table["drop"]["nir"] == pytest.approx(2 / 3, abs=0.06)  # donors come from all classes, not the neighbours
    assert table["drop"]["blue"] == table["drop"]["red"] == 0
    assert table.attrs["score"] == 1
    assert np.array_equal(x, again)


def test_a_pool_of_all_rows_is_a_permutation():
    x, y = series(100)
    table = ev.permutation_importance(by_nir, [(x, y)], BANDS, score="accuracy", repeats=2, seed=4)
    spoilt = []
    for r in range(2):
        mixed = x.copy()
        mixed[:, :, 2] = x[seeds.generator(4, "order", r).permutation(100)][:, :, 2]
        spoilt.append((by_nir(mixed).argmax(1) == y.argmax(1)).mean())
    assert table["drop"]["nir"] == pytest.approx(1 - np.mean(spoilt))
    again = ev.permutation_importance(by_nir, list(in_batches(x, y)), BANDS, score="accuracy", repeats=2, seed=4)
    pd.testing.assert_frame_equal(table, again)


def test_bands_can_be_spoilt_in_groups():
    x, y = series()
    groups = {"visible": ["blue", "red"], "all": list(BANDS)}
    table = ev.permutation_importance(by_nir, [(x, y)], BANDS, groups=groups, repeats=1)
    assert list(table.index) == ["all", "visible"]


def test_leave_one_out_tells_what_each_band_adds():
    worth = {"blue": 0.1, "red": 0.2, "nir": 0.5}
    table = ev.leave_one_out(lambda bands: sum(worth[b] for b in bands), BANDS)
    assert table["drop"].to_dict() == pytest.approx(worth)
    assert list(table.index) == ["nir", "red", "blue"]
    assert table.attrs["score"] == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, y: ev.permutation_importance(by_nir, [(x, y)], BANDS[:2]), r"shape \(B, T, 2\)"),
        (lambda x, y: ev.permutation_importance(by_nir, [(x, y)], BANDS, groups={"a": ["ndvi"]}), "ndvi"),
        (lambda x, y: ev.permutation_importance(by_nir, [(x, y)], BANDS, score="auc"), "'auc'"),
        (lambda x, y: ev.permutation_importance(by_nir, [], BANDS), "received 0"),
        (lambda x, y: ev.permutation_importance(by_nir, [(x, y)], BANDS, repeats=0), "repeat"),
        (lambda x, y: ev.leave_one_out(len, BANDS, groups={"all": BANDS}), "names all"),
    ],
)
def test_importance_refuses_what_does_not_fit(call, message):
    with pytest.raises(ev.EvaluationError, match=message):
        call(*series(20))


def test_importing_loads_nothing_that_draws_or_trains():
    heavy = ("matplotlib", "plotly", "sklearn", "scipy.stats")
    code = f"import sys, arsetlib.evaluation; print(*[m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


# -- published --------------------------------------------------------------------------------------------------------


def test_published_figures_name_their_source():
    tables = (ev.published.arset_overall(), ev.published.arset_by_start(), ev.published.arset_f1())
    assert all("ARSET" in t.attrs["source"] for t in tables)
    olives = ev.published.olive_iou()
    assert np.allclose(olives[["ground", "tree", "grass"]].mean(axis=1), olives.mean_iou, atol=0.0002)
