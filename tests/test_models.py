"""Models by name, their shapes and masks, baselines, and the folder that keeps a trained one."""

import contextlib
import json
import os
import shutil

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arsetlib import models, pixels, samples
from arsetlib.models import ModelError, Trained, folder, registry
from arsetlib.models import card as card_files
from arsetlib.study import Season, Study

COURSE = Study.load("sample")
STUDY = COURSE.replace(bands=("red", "nir", "swir16"), season=Season(30, 5, 1, 100), block_m=600.0)
SIZES = {"steps": 6, "bands": 3, "classes": 7}
SMALL = {
    "toy": {"padding": "same"},
    "original": {"padding": "same", "filters": 4, "units": 4},
    "tempcnn": {"filters": 4, "units": 4},
    "ltae": {"size": 8, "heads": 2, "key": 2, "units": 4, "hidden": 4},
    "transformer": {"size": 8, "heads": 2, "depth": 1, "wide": 4},
    "lstm": {"units": 4},
    "gru": {"units": 4},
    "majority": {},
    "random_forest": {"trees": 5},
    "gradient_boosting": {"rounds": 3},
}
KERAS = [name for name in models.names() if not registry.is_baseline(name)]
BASELINES = [name for name in models.names() if registry.is_baseline(name)]
MASKED = [name for name in KERAS if models.needs(name)]
SCALER = samples.Scaler(STUDY.bands, (1000.0, 3000.0, 2000.0), (500.0, 900.0, 700.0))


def small(name, **sizes):
    return models.build(name, **{**SIZES, **sizes}, **SMALL[name])


def inputs(count=5, steps=6, bands=3, seed=0) -> dict:
    random = np.random.default_rng(seed)
    return {
        "series": random.normal(size=(count, steps, bands)).astype("f4"),
        "seen": random.random((count, steps)) < 0.6,
        "day_of_year": random.integers(1, 201, count).astype("i4"),
    }


def fed(model, x):
    """What a model takes of x."""
    return {k: x[k] for k in ("series", *models.needs(model))} if models.needs(model) else x["series"]


def outputs(model, x):
    return np.asarray(model(fed(model, x)))


def batches(seed=0, classes=range(7), count=60):
    x = inputs(count, seed=seed)
    y = np.random.default_rng(seed).choice(list(classes), count)
    x["series"][:, :, 0] += 3 * y[:, None]
    return [(x, np.eye(7, dtype="f4")[y])]


@pytest.fixture(scope="module")
def table():
    """40 pixels of one year, a label each; some of a code that the legend excludes."""
    random = np.random.default_rng(1)
    count = random.integers(0, 12, 40)
    day = [samples.start_days(2021, 1)[0] + np.sort(random.choice(120, n, replace=False)) for n in count]
    x, y = 400_005 + 30.0 * np.arange(40), np.full(40, 1_400_005.0)
    batch = pixels.make_batch(
        day=np.concatenate(day), scl=random.choice([4, 5], count.sum()), 
        bands=random.integers(1, 9000, (count.sum(), 3)),
        offsets=np.cumsum([0, *count]), pixel=pixels.pixel_id(x, y, 30), year=2021, area="here",
        block=pixels.block_id(x, y, 600), x=x, y=y, lon=-90.0, lat=34.0, label_code=random.choice([1, 2, 3, 5, 26], 40),
    )  # fmt: skip
    meta = pixels.Meta(STUDY.bands, "EPSG:5070", 30.0, "test", True, extra={"block_m": 600.0})
    import pyarrow as pa

    return pa.Table.from_batches([batch]).replace_schema_metadata(meta.to_kv())


def trained(name="gru", **changes) -> Trained:
    if "model" not in changes:
        changes |= {"model": small(name), "options": SMALL[name]}
        if registry.is_baseline(name):
            changes["model"].fit(batches())
    return Trained(**{"name": name, "scaler": SCALER, "study": STUDY, **changes})


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder of a small GRU, and the model it was made from; copy it before you change it."""
    model = trained(history={"loss": [1.0, float("nan")]}, notes={"seed": np.int64(3)}, fill="last")
    return model.save(tmp_path_factory.mktemp("models") / "gru"), model


@pytest.fixture
def copy(saved, tmp_path):
    return shutil.copytree(saved[0], tmp_path / "copy")


# The registry


def test_the_toy_has_the_summary_of_the_slides():
    toy = models.build("toy", steps=20, bands=12, classes=6)
    assert [layer.count_params() for layer in toy.layers] == [183, 0, 0, 100, 66]
    assert [layer.output.shape[1:] for layer in toy.layers] == [(16, 3), (3, 3), (9,), (10,), (6,)]
    assert toy.count_params() == 349


def test_the_original_has_the_shapes_of_2024():
    model = models.build("original", **registry.COURSE)
    assert [layer.output.shape[1:] for layer in model.layers] == [
        (20, 64), (16, 64), (16, 64), (8, 64), (512,), (50,), (7,),
    ]  # fmt: skip


@pytest.mark.parametrize("name", KERAS)
def test_parameters_and_needs_of_the_registry_are_those_of_the_model(name):
    model = models.build(name, **registry.COURSE)
    kind = registry.KINDS[name]
    assert (model.count_params(), models.needs(model)) == (kind.parameters, kind.needs)
    assert f"{kind.parameters:,} parameters" in registry._function(name, kind).__doc__
    assert (model.outputs[0].shape, model.outputs[0].dtype) == ((None, 7), "float32")


def test_layer_table_sums_to_the_parameters_of_the_model():
    model = models.build("toy", steps=20, bands=12, classes=6)
    table = models.layer_table(model)
    assert table["parameters"].sum() == model.count_params() == 349
    assert table["output"].tolist()[-1] == "(6,)"


def test_describe_lists_each_model():
    table = models.describe()
    assert list(table.index) == models.names()
    assert table.loc["ltae", "needs"] == "series, seen, day_of_year"


def test_building_imports_neither_keras_nor_scikit_learn_before_it_is_asked_to():
    import subprocess
    import sys

    code = "import sys, arsetlib.models as m; m.describe(); print({'keras', 'sklearn', 'tensorflow'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"name": "tempcn"}, "Did you mean 'tempcnn'"),
        ({"name": "gru", "unit": 3}, "units = 64.*Did you mean 'units'"),
        ({"name": "majority", "trees": 3}, "Its options are: none"),
        ({"name": "gru", "steps": 0}, "steps to be a whole number"),
        ({"name": "gru", "classes": 2.5}, "classes to be a whole number"),
        ({"name": "ltae", "size": 10, "heads": 4}, "ltae cannot be built"),
        ({"name": "tempcnn", "filters": -1}, "tempcnn cannot be built"),
        ({"name": "toy", "padding": "sane"}, "padding = 'valid' or 'same'"),
    ],
)
def test_what_cannot_be_built_is_said_so(call, message):
    with pytest.raises(ModelError, match=message):
        models.build(**{**SIZES, **call})


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(["toy", "original"]), st.integers(1, 14), st.sampled_from(["valid", "same"]))
def test_a_window_too_short_for_valid_padding_is_refused(name, steps, padding):
    convolutions, pool = {"toy": (1, 5), "original": (2, 2)}[name]
    left = steps - 4 * convolutions * (padding == "valid")
    if left < pool:
        with pytest.raises(ModelError, match=f"Expected at least {steps + pool - left} steps"):
            models.build(name, steps=steps, bands=2, classes=3, padding=padding)
    else:
        assert models.build(name, steps=steps, bands=2, classes=3, padding=padding).outputs[0].shape == (None, 3)


@pytest.mark.parametrize("name", KERAS)
def test_a_seed_gives_the_same_weights_and_leaves_pythons_random_state(name):
    import random

    state = random.getstate()
    one, same, other = (models.build(name, **SIZES, **SMALL[name], seed=seed) for seed in (1, 1, 2))
    assert random.getstate() == state
    x = inputs()
    np.testing.assert_array_equal(outputs(one, x), outputs(same, x))
    assert not np.allclose(outputs(one, x), outputs(other, x))


# Masks


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(MASKED), st.integers(0, 2**31), st.floats(-1e3, 1e3, width=32))
def test_values_of_steps_that_were_not_seen_change_nothing(name, seed, value):
    model = built(name)
    x = inputs(seed=seed)
    other = {**x, "series": np.where(x["seen"][..., None], x["series"], np.float32(value))}
    np.testing.assert_array_equal(outputs(model, x), outputs(model, other))


_built: dict = {}


def built(name):
    if name not in _built:
        _built[name] = small(name)
    return _built[name]


@pytest.mark.parametrize("name", KERAS)
def test_a_sample_of_nothing_gives_finite_shares(name):
    x = inputs(3)
    x["seen"][:] = False
    x["series"][:] = 0
    got = outputs(built(name), x)
    assert np.isfinite(got).all()
    np.testing.assert_allclose(got.sum(1), 1, rtol=1e-5)


@pytest.mark.parametrize("name", MASKED)
def test_gradients_of_a_sample_of_nothing_are_finite(name):
    import tensorflow as tf

    model, x = built(name), inputs(3)
    x["seen"][0] = False
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(-tf.math.log(model(fed(model, x), training=True)[:, 0]))
    assert all(np.isfinite(np.asarray(g)).all() for g in tape.gradient(loss, model.trainable_variables))


@pytest.mark.parametrize("name", MASKED)
def test_the_day_of_the_year_matters(name):
    model, x = built(name), inputs()
    assert not np.allclose(outputs(model, x), outputs(model, {**x, "day_of_year": x["day_of_year"] + 60}))


def test_attention_looks_only_at_what_was_seen():
    from arsetlib.models.layers import MasterQuery

    layer, x = MasterQuery(2, 3), inputs(4, bands=8)
    x["seen"][0] = False
    layer(x["series"], x["seen"])
    weight = np.asarray(layer.weights_of(x["series"], x["seen"]))
    assert weight.shape == (4, 2, 6)
    assert (weight[~np.repeat(x["seen"][:, None], 2, 1)] == 0).all()
    np.testing.assert_allclose(weight.sum(-1), np.repeat(x["seen"].any(1)[:, None], 2, 1), rtol=1e-5)


def test_the_calendar_is_that_of_a_plain_loop():
    from arsetlib.models.layers import Calendar

    got = np.asarray(Calendar(3, 5, 4, 100.0)(np.array([1, 200], "i4")))
    for b, first in enumerate((1, 200)):
        for t in range(3):
            for k in range(2):
                angle = (first + 5 * t) / 100.0 ** (2 * k / 4)
                assert got[b, t, k] == pytest.approx(np.sin(angle), abs=1e-5)
                assert got[b, t, 2 + k] == pytest.approx(np.cos(angle), abs=1e-5)
    year = np.asarray(Calendar(1, 5, 2, None)(np.array([1, 366], "i4")))
    np.testing.assert_allclose(year[0], year[1], atol=0.01)


def test_gaps_and_shifts_are_drawn_in_training_only():
    from arsetlib.models.layers import Calendar, Gaps

    gaps, calendar = Gaps(0.5), Calendar(3, 5, 4, shift=10)
    seen, day = np.ones((400, 6), bool), np.full(400, 100, "i4")
    assert np.asarray(gaps(seen)).all()
    assert np.asarray(gaps(seen, training=True)).mean() == pytest.approx(0.5, abs=0.05)
    assert not np.asarray(gaps(~seen, training=True)).any()
    still, moved = np.asarray(calendar(day)), np.asarray(calendar(day, training=True))
    assert (still == still[0]).all()
    angle = np.arcsin(moved[:, 0, 1] * np.cos(100 / 1000**0.5) - moved[:, 0, 3] * np.sin(100 / 1000**0.5))
    late = angle * 1000**0.5
    assert -10 <= late.min() < -8
    assert 8 < late.max() <= 10


@pytest.mark.parametrize("name", KERAS)
def test_under_mixed_precision_the_shares_are_float32_and_finite(name):
    import keras

    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = small(name)
    finally:
        keras.config.set_dtype_policy("float32")
    x = inputs()
    x["seen"][0] = False
    got = outputs(model, x)
    assert got.dtype == np.float32
    assert np.isfinite(got).all()
    np.testing.assert_allclose(got.sum(1), 1, rtol=1e-3)


# Baselines


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_has_a_column_for_each_class_even_if_training_lacked_it(name):
    model = small(name).fit(batches(classes=(1, 4, 6)))
    got = model.predict(inputs())
    assert (got.shape, got.dtype) == ((5, 7), np.float32)
    assert (got[:, [0, 2, 3, 5]] == 0).all()
    np.testing.assert_allclose(got.sum(1), 1, rtol=1e-5)


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_of_one_class_predicts_it(name):
    got = small(name).fit(batches(classes=(3,))).predict(inputs())
    assert (got.argmax(1) == 3).all()
    assert (got[:, 3] == 1).all()


def test_the_majority_is_the_commonest_class_by_weight():
    (x, y), *_ = batches(classes=(2, 2, 2, 5))
    assert (small("majority").fit([(x, y)]).predict(x).argmax(1) == 2).all()
    weight = np.where(y[:, 5] == 1, 100, 1).astype("f4")
    assert (small("majority").fit([(x, y, weight)]).predict(x["series"]).argmax(1) == 5).all()


@pytest.mark.parametrize("name", ["random_forest", "gradient_boosting"])
def test_a_baseline_learns_and_a_seed_repeats_it(name):
    sizes = {**SIZES, **SMALL[name]}
    one, same = (models.build(name, **sizes, seed=4).fit(batches()) for _ in range(2))
    (x, y), *_ = batches(seed=1)
    np.testing.assert_array_equal(one.predict(x), same.predict(x))
    assert (one.predict(x).argmax(1) == y.argmax(1)).mean() > 0.4


def test_wrong_samples_of_a_baseline_are_refused():
    forest = small("random_forest")
    (x, y), *_ = batches()
    with pytest.raises(ModelError, match="received none"):
        forest.fit([])
    with pytest.raises(ModelError, match="without \\['seen', 'day_of_year'\\]"):
        forest.fit([(x["series"], y)])
    with pytest.raises(ModelError, match=r"series \(B, 6, 3\), received \(60, 6, 2\)"):
        forest.fit([({**x, "series": x["series"][:, :, :2]}, y)])
    with pytest.raises(ModelError, match="one-hot labels"):
        forest.fit([(x, y.argmax(1))])
    with pytest.raises(ModelError, match="not fitted"):
        forest.predict(x)
    with pytest.raises(ModelError, match="not fitted"):
        forest.save("nowhere.skops")


# A trained model


@pytest.mark.parametrize("name", models.names())
def test_a_saved_model_comes_back_the_same(name, tmp_path):
    before = trained(name)
    after = models.load(before.save(tmp_path / "deep" / "model"))
    x = inputs(20)
    np.testing.assert_array_equal(before.predict(x if before.needs else x["series"]), after.predict(x))
    assert (after.name, after.options, after.needs, after.scaler) == (name, SMALL[name], before.needs, SCALER)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["deep"]
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["model"]


def test_a_history_with_gaps_comes_back_with_gaps(tmp_path):
    before = trained("majority")
    before.history = {"loss": [1.0, float("nan"), 0.5]}
    after = models.load(before.save(tmp_path / "model"))
    np.testing.assert_array_equal(after.history["loss"], before.history["loss"])


def test_the_card_is_enough_for_loaders_and_predictions(saved, table):
    path, model = saved
    alone, given = models.load(path), models.load(path, STUDY)
    assert (alone.fill, alone.notes) == ("last", {"seed": 3})
    np.testing.assert_array_equal(alone.history["loss"], [1.0, np.nan])
    assert (alone.study.legend, alone.study.season, alone.study.bands) == (STUDY.legend, STUDY.season, STUDY.bands)
    assert given.study is STUDY
    one, other = (m.predictions(table, 20).probability for m in (alone, model))
    np.testing.assert_array_equal(one, other)


def test_predictions_hold_each_row_and_start_with_its_place(table):
    model = trained("lstm")
    got = model.predictions(table, [20, 60])
    labelled = STUDY.legend.classes_of(table["label_code"].to_numpy()) >= 0
    assert 0 < labelled.sum() < len(table)
    assert len(got) == 2 * labelled.sum()
    for start, part in zip((20, 60), np.split(np.arange(len(got)), 2), strict=True):
        first = samples.start_days(2021, start)[0]
        assert (got.start[part] == first).all()
        assert (got.last[part] == first + 29).all()
        for name in ("pixel", "x", "block"):
            np.testing.assert_array_equal(getattr(got, name)[part], table[name].to_numpy()[labelled])
        (x, y), *_ = model.loader(table, start, extras=("pixel",)).arrays()
        np.testing.assert_array_equal(got.pixel[part], x["pixel"])
        np.testing.assert_array_equal(got.truth[part], y.argmax(1))
        np.testing.assert_allclose(got.probability[part], outputs(model.model, x), rtol=1e-5, atol=1e-6)
    assert (got.simulated, got.legend) == (STUDY.simulated, STUDY.legend)
    with pytest.raises(ModelError, match="at least one start"):
        model.predictions(table, [])


def test_a_loader_of_a_trained_model_draws_nothing_at_random(table):
    random, last = trained(choose="random"), trained(choose="last")
    assert (random.loader(table, 20).choose, last.loader(table, 20).choose) == ("clearest", "last")
    assert random.loader(table, 20, choose="random").choose == "random"
    assert not random.loader(table, 20).shuffle


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(["toy", "gru", "ltae"]), st.integers(0, 40))
def test_predict_gives_what_the_model_gives_for_any_size_of_batch(name, count):
    model = fast(name)
    x = inputs(count)
    got = model.predict(x)
    assert (got.shape, got.dtype) == ((count, 7), np.float32)
    if count:
        np.testing.assert_allclose(got, outputs(model.model, x), rtol=1e-5, atol=1e-6)


def fast(name):
    key = ("trained", name)
    if key not in _built:
        _built[key] = trained(name)
    return _built[key]


def test_predict_cuts_large_batches(monkeypatch):
    from arsetlib.models import trained as module

    whole = fast("gru").predict(inputs(25))
    monkeypatch.setattr(module, "CHUNK", 8)
    np.testing.assert_allclose(fast("gru").predict(inputs(25)), whole, rtol=1e-5, atol=1e-6)


def test_predict_sees_weights_that_were_trained_further():
    model, x = trained("gru"), inputs()
    before = model.predict(x)
    model.model.set_weights([w + 0.5 for w in model.model.get_weights()])
    assert not np.allclose(before, model.predict(x))


def test_wrong_inputs_of_a_trained_model_are_refused():
    x = inputs()
    with pytest.raises(ModelError, match="without \\['seen', 'day_of_year'\\]"):
        fast("gru").predict(x["series"])
    with pytest.raises(ModelError, match=r"series of shape \(B, 6, 3\), received \(5, 6, 2\)"):
        fast("gru").predict({**x, "series": x["series"][:, :, :2]})
    with pytest.raises(ModelError, match=r"day_of_year of shape"):
        fast("gru").predict({**x, "day_of_year": x["day_of_year"][:3]})


def test_a_model_that_does_not_fit_its_study_is_refused():
    import keras

    with pytest.raises(ModelError, match="model of 6 steps, 3 channels and 7 classes.*one of 8 steps"):
        trained(model=small("gru", steps=8))
    with pytest.raises(ModelError, match="scaler of the bands"):
        trained(scaler=samples.Scaler(("nir", "red", "swir16"), (1.0,) * 3, (1.0,) * 3))
    with pytest.raises(ModelError, match="input named 'series'"):
        trained(model=keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]))


def test_a_keras_model_of_ones_own_can_be_trained_and_kept(tmp_path):
    import keras

    own = keras.Sequential([keras.Input((6, 3)), keras.layers.Flatten(), keras.layers.Dense(7, activation="softmax")])
    own.compile("adam", "categorical_crossentropy")
    (x, y), *_ = batches()
    own.fit(x["series"], y, verbose=0)
    before = trained(model=own, name="mine")
    after = models.load(before.save(tmp_path / "mine"))
    np.testing.assert_array_equal(before.predict(x), after.predict(x))
    assert getattr(after.model, "optimizer", None) is None


# The folder


def test_a_model_is_replaced_whole_and_nothing_else_is(saved, tmp_path):
    _, model = saved
    path = model.save(tmp_path / "model")
    trained("toy").save(path)
    assert models.load(path).name == "toy"
    other = tmp_path / "papers"
    other.mkdir()
    (other / "thesis.txt").write_text("all of it")
    with pytest.raises(ModelError, match="holds something else"):
        model.save(other)
    assert [p.name for p in other.iterdir()] == ["thesis.txt"]


def test_a_save_that_fails_leaves_nothing_and_keeps_the_old_model(saved, tmp_path, monkeypatch):
    _, model = saved
    path = model.save(tmp_path / "model")
    monkeypatch.setattr(folder, "_card", lambda trained: 1 / 0)
    for target in (path, tmp_path / "new"):
        with pytest.raises(ZeroDivisionError):
            model.save(target)
    assert [p.name for p in tmp_path.iterdir()] == ["model"]
    assert models.load(path).name == "gru"


def test_a_save_that_was_killed_is_done_again_and_leaves_nothing(saved, tmp_path):
    path = tmp_path / "model"
    (path / "_work").mkdir(parents=True)
    (path / "_work" / "model.keras").write_text("half")
    (path / ".0123456789ab.part").write_text("half")
    with pytest.raises(ModelError, match="Expected a model's folder"):
        models.load(path)
    saved[1].save(path)
    assert sorted(p.name for p in path.iterdir()) == ["card.json", "model.keras", "scaler.json"]


def test_a_baseline_that_is_not_fitted_is_not_saved(tmp_path):
    with pytest.raises(ModelError, match="not fitted"):
        trained("majority", model=small("majority")).save(tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_a_card_of_an_earlier_version_that_names_no_type_is_one_of_series(copy):
    alter(copy, lambda card: card.pop("type"))
    assert models.load(copy).name == "gru"
    alter(copy, lambda card: card.update(type="radar"))
    with pytest.raises(ModelError, match="type 'radar', which this library does not know"):
        models.load(copy)


@pytest.mark.parametrize("part", ["model.keras", "scaler.json", "card.json"])
def test_a_folder_without_a_part_is_refused(copy, part):
    (copy / part).unlink()
    with pytest.raises(ModelError, match=part):
        models.load(copy)


def test_no_folder_is_refused(tmp_path):
    with pytest.raises(ModelError, match="no such folder"):
        models.load(tmp_path / "nowhere")


@pytest.mark.parametrize("part", ["model.keras", "scaler.json"])
def test_an_altered_part_is_refused(copy, part):
    raw = bytearray((copy / part).read_bytes())
    raw[len(raw) // 2] ^= 1
    (copy / part).write_bytes(raw)
    with pytest.raises(ModelError, match=f"{part} is altered or damaged: expected sha256"):
        models.load(copy)


def alter(path, change, sign=True):
    """Change a card; signed anew, as a card of another version of the library would be."""
    card = json.loads((path / "card.json").read_text())
    change(card)
    if sign:
        card["sha256"] = card_files.digest(card)
    (path / "card.json").write_text(json.dumps(card))


def test_an_altered_card_is_refused(copy):
    alter(copy, lambda card: card["bands"].reverse(), sign=False)
    with pytest.raises(ModelError, match="altered after the model was saved"):
        models.load(copy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda card: card.update(schema=2), "schema version 2, this library reads version 1. Update"),
        (lambda card: card.update(schema="x"), "Train the model again"),
        (lambda card: card.pop("schema"), "not a card of a model"),
        (lambda card: card["files"].update({"../evil": "0"}), "names the parts"),
        (lambda card: card.update(channels=["red"]), "has the channels"),
        (lambda card: card["season"].update(step_days=0), "step_days is 0"),
        (lambda card: card["season"].update(first_day=None), "first_day is None"),
        (lambda card: card.update(choose="best"), "choose is 'best'"),
        (lambda card: card["study"].update(simulated="no"), "simulated is 'no'"),
        (lambda card: card["study"].update(block_m=-1), "block_m is -1"),
        (lambda card: card["legend"]["classes"][1].update(key=card["legend"]["classes"][0]["key"]), "classes is "),
    ],
)
def test_a_card_with_a_wrong_value_is_refused(copy, change, message):
    alter(copy, change)
    with pytest.raises(ModelError, match=message):
        models.load(copy)


@pytest.mark.parametrize(
    "text", ["{", "[]", "3", "null", '{"a":' * 100_000, "[" * 900 + "]" * 900, '{"schema": 1' + "0" * 9999 + "}", "\0"]
)
def test_a_card_that_is_no_json_is_refused(copy, text):
    (copy / "card.json").write_text(text)
    with pytest.raises(ModelError, match="not a card of a model"):
        models.load(copy)


def test_a_card_that_is_too_large_is_refused_unread(copy):
    with (copy / "card.json").open("ab") as file:
        file.truncate(card_files.LARGEST + 1)
    with pytest.raises(ModelError, match="not a card of a model.*MB"):
        models.load(copy)


def places(value, path=()):
    """Where a card holds a value."""
    yield path
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inside:
        yield from places(part, (*path, key))


def test_a_card_with_a_value_of_any_other_kind_loads_or_is_one_clear_error(saved, tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "_read_model", lambda *_: saved[1].model)  # reading the network takes a second
    whole = json.loads((saved[0] / "card.json").read_text())
    there = [path for path in places(whole) if path and path[0] not in ("versions", "sha256", "files", "notes")]
    copy = shutil.copytree(saved[0], tmp_path / "copy")
    for path in there:
        for value in (None, 7, "x", [1], {"a": 1}, float("nan"), True):
            card = json.loads(json.dumps(whole))
            part = card
            for step in path[:-1]:
                part = part[step]
            part[path[-1]] = value
            card["sha256"] = card_files.digest(card)
            (copy / "card.json").write_text(json.dumps(card))
            with contextlib.suppress(ModelError):
                models.load(copy)


def classes(**changes):
    first, *rest = STUDY.legend.classes
    return STUDY.replace(legend=replace(STUDY.legend, classes=(replace(first, **changes), *rest)))


def replace(thing, **changes):
    import dataclasses

    return dataclasses.replace(thing, **changes)


@pytest.mark.parametrize(
    ("study", "message"),
    [
        (lambda: STUDY.replace(bands=("nir", "red", "swir16")), r"bands \['red', 'nir', 'swir16'\], received"),
        (lambda: STUDY.replace(bands=("red", "nir")), "bands"),
        (lambda: STUDY.replace(season=Season(30, 10, 1, 100)), "step_days': 5}, received .*step_days': 10}"),
        (lambda: STUDY.replace(season=Season(60, 5, 1, 100)), "window_days': 30}"),
        (lambda: classes(key="other"), "legend {'class 0'"),
        (lambda: classes(codes=(77,)), "legend {'class 0'"),
        (lambda: STUDY.replace(legend=replace(STUDY.legend, classes=STUDY.legend.classes[::-1])), "legend"),
        (lambda: STUDY.replace(legend=replace(STUDY.legend, classes=STUDY.legend.classes[:-1])), "'none'"),
        (lambda: STUDY.replace(legend=replace(STUDY.legend, excluded=(999,))), "legend {'excluded'"),
    ],
)
def test_a_study_that_differs_is_refused(saved, study, message):
    with pytest.raises(ModelError, match=message):
        models.load(saved[0], study())


def test_a_study_that_differs_in_name_colour_years_or_starts_is_taken(saved):
    study = classes(colour="#123456", name={"en": "Nothing yet"}).replace(
        key="elsewhere", years=(2030,), season=Season(30, 5, 50, 70)
    )
    assert models.load(saved[0], study).study is study


def resign(path):
    """Checksums of what lies there now: what someone would do who means harm."""

    def change(card):
        card["files"] = {f.name: card_files.sha256(f) for f in path.iterdir() if f.name != "card.json"}

    alter(path, change)


def test_a_network_with_code_in_it_is_refused(copy):
    import keras

    evil = keras.Sequential(
        [keras.Input((6, 3)), keras.layers.Lambda(lambda x: x[:, 0, :1] * 0 + 1), keras.layers.Dense(7)]
    )
    evil.save(copy / "model.keras")
    resign(copy)
    with pytest.raises(ModelError, match="cannot be loaded in safe mode"):
        models.load(copy)


def test_a_network_that_is_none_is_refused(copy):
    (copy / "model.keras").write_bytes(b"nothing of the kind")
    resign(copy)
    with pytest.raises(ModelError, match="cannot be loaded in safe mode"):
        models.load(copy)


class Stranger:
    """A type that no baseline is made of."""


def test_a_baseline_of_types_that_are_not_trusted_is_refused(tmp_path):
    import skops.io

    path = trained("random_forest").save(tmp_path / "model")
    skops.io.dump({"estimator": Stranger()}, path / "model.skops")
    resign(path)
    with pytest.raises(ModelError, match="types that are not trusted: .*Stranger"):
        models.load(path)
    skops.io.dump({"estimator": [1]}, path / "model.skops")
    resign(path)
    with pytest.raises(ModelError, match="holds a list, expected a RandomForestClassifier"):
        models.load(path)
    (path / "model.skops").write_bytes(b"nothing of the kind")
    resign(path)
    with pytest.raises(ModelError, match="cannot be read as a skops file"):
        models.load(path)


def test_a_majority_that_is_none_is_refused(tmp_path):
    path = trained("majority").save(tmp_path / "model")
    for text, message in (("{}", "is not a majority baseline"), ('{"share": [1.0]}', "has 1 classes, expected 7")):
        (path / "model.json").write_text(text)
        resign(path)
        with pytest.raises(ModelError, match=message):
            models.load(path)
