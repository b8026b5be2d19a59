"""Fine-tuning on made-up places: what is kept, what is replaced, and that few labels go further."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import few
import numpy as np
import pytest

from arsetlib import samples, training
from arsetlib.study import Study
from arsetlib.training.transfer import adapted, held_back

TINY = {"epochs": 4, "patience": 3, "batch": 16, "progress": False}
OTHER = Study.parse(few.STUDY.text.replace("[classes.late]\ncodes = [2]", "[classes.late]\ncodes = [2, 7]").replace(
    "[classes.rest]\ncodes = [3]", "[classes.trees]\ncodes = [3]"))  # fmt: skip


@pytest.fixture(scope="module")
def trained():
    """Trained well where crops come early."""
    options = {"epochs": 25, "patience": 8, "batch": 32, "learning_rate": 0.01, "progress": False}
    return training.fit(few.network(), few.make_sides(rows=1500), few.STUDY, **options)


@pytest.fixture(scope="module")
def elsewhere():
    """Another place, a little later in the year."""
    return samples.Rows.of(few.make_table(rows=240, seed=8, shift=8))


def same(a, b) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a.get_weights(), b.get_weights(), strict=True))


def test_the_given_model_is_not_changed(trained, elsewhere):
    before = [w.copy() for w in trained.model.get_weights()]
    tuned = training.fine_tune(trained, elsewhere, few.STUDY, **TINY)
    assert all(np.array_equal(a, b) for a, b in zip(before, trained.model.get_weights(), strict=True))
    assert not same(tuned.model, trained.model)
    assert tuned.notes["fine_tuned_from"]["study"] == "few"


def test_frozen_layers_keep_their_weights(trained, elsewhere):
    tuned = training.fine_tune(trained, elsewhere, few.STUDY, freeze="body", **TINY)
    for old, new in zip(trained.model.layers[:-1], tuned.model.layers[:-1], strict=True):
        assert same(old, new), old.name
    assert not same(trained.model.layers[-1], tuned.model.layers[-1])
    with pytest.raises(training.TrainingError, match="layers out of"):
        training.fine_tune(trained, elsewhere, few.STUDY, freeze=["attention"], **TINY)


def test_the_head_is_replaced_where_the_legend_differs(trained, elsewhere):
    assert same(adapted(trained, few.STUDY), trained.model)
    body, old = adapted(trained, OTHER), trained.model
    assert all(same(a, b) for a, b in zip(old.layers[:-1], body.layers[:-1], strict=True))
    tuned = training.fine_tune(trained, elsewhere, OTHER, **TINY)
    assert tuned.study.legend.keys == ["early", "late", "trees"]
    assert tuned.predictions(elsewhere, 90).probability.shape[1] == 3


def test_the_scaler_is_kept_or_refitted(trained, elsewhere):
    assert training.fine_tune(trained, elsewhere, few.STUDY, **TINY).scaler == trained.scaler
    mine = training.fine_tune(trained, elsewhere, few.STUDY, scaler="refit", **TINY).scaler
    assert mine == samples.Scaler.fit(held_back(elsewhere, few.STUDY)["train"])
    with pytest.raises(training.TrainingError, match="'keep' or 'refit'"):
        training.fine_tune(trained, elsewhere, few.STUDY, scaler="new", **TINY)


def test_a_model_of_other_steps_or_channels_is_refused(trained, elsewhere):
    longer = Study.parse(few.STUDY.text.replace("window_days = 60", "window_days = 70"))
    with pytest.raises(training.TrainingError, match=r"Expected the steps"):
        training.fine_tune(trained, elsewhere, longer, **TINY)
    fewer = Study.parse(few.STUDY.text.replace('["red", "nir", "swir16"]', '["nir", "red", "swir16"]'))
    with pytest.raises(training.TrainingError, match=r"Expected the channels"):
        training.fine_tune(trained, elsewhere, fewer, **TINY)


def test_a_baseline_cannot_be_fine_tuned(elsewhere):
    forest = training.fit("majority", few.make_sides(), few.STUDY, progress=False)
    with pytest.raises(training.TrainingError, match="fitted anew"):
        training.fine_tune(forest, elsewhere, few.STUDY, **TINY)


def test_a_fifth_of_each_class_is_held_back(elsewhere):
    sides = held_back(elsewhere, few.STUDY)
    assert not set(sides["train"].index) & set(sides["validation"].index)
    for code in (1, 2, 3):
        kept, back = ((sides[side].column("label_code") == code).sum() for side in ("train", "validation"))
        assert back == pytest.approx(0.2 * (kept + back), abs=1)


def test_the_learning_curve_tests_on_other_blocks_with_the_same_labels(trained, elsewhere, monkeypatch):
    from arsetlib.training import transfer

    seen = []
    score = transfer._score
    monkeypatch.setattr(transfer, "_score", lambda *a: seen.append((a[0], a[2], a[4])) or score(*a))
    curve = training.learning_curve(trained, elsewhere, few.STUDY, (0, 4), repeats=2, folds=3, **TINY)
    assert len(curve) == 2 * (1 + 4)
    for _, drawn, test in seen:
        assert not set(drawn.column("block")) & set(test.column("block"))
    four = [drawn for method, drawn, _ in seen if len(drawn)]
    assert {len(d) for d in four} == {12}
    for first in (0, 4):
        assert len({tuple(d.index) for d in four[first : first + 4]}) == 1  # all methods get the same labels
    assert tuple(four[0].index) != tuple(four[4].index)  # another repeat, others


def test_few_labels_go_further_with_a_trained_model(trained, elsewhere):
    options = {**TINY, "epochs": 15, "patience": 5}
    curve = training.learning_curve(trained, elsewhere, few.STUDY, (0, 4), repeats=2, **options)
    table = training.mean_and_spread(curve)
    assert table.loc[4, ("fine-tuned", "mean")] > table.loc[4, ("from scratch", "mean")]
    assert table.loc[4, ("fine-tuned", "mean")] > table.loc[4, ("majority", "mean")]
    assert table.loc[0, ("fine-tuned", "mean")] > 0.5


def test_without_labels_only_classes_with_the_same_key_can_be_right(trained, elsewhere):
    curve = training.learning_curve(trained, elsewhere, OTHER, (0,), repeats=1, **TINY)
    assert 0.3 < curve["accuracy"][0] < 0.8
