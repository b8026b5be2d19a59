"""Pre-training without labels: what is hidden, what the loss sees, that no label matters, and what starts from it."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import dataclasses

import few
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arsetlib import folders, models, samples, training
from arsetlib.models import ModelError
from arsetlib.study import Study
from arsetlib.training.pretrain import MaskedFeed, hidden_steps, masked, task
from arsetlib.training.run import BACKUP
from arsetlib.training.transfer import adapted

TINY = {"epochs": 3, "patience": 2, "batch": 64, "progress": False}
SMALL = {"size": 16, "heads": 2, "units": 16, "hidden": 16}


@pytest.fixture(scope="module")
def sides():
    return few.make_sides()


@pytest.fixture(scope="module")
def whole(sides, tmp_path_factory):
    """One finished pre-training of a network that takes all inputs, and its folder."""
    folder = tmp_path_factory.mktemp("runs") / "encoder"
    options = {**TINY, "epochs": 6, "patience": 5, "learning_rate": 0.01}
    return training.pretrain("ltae", sides, few.STUDY, folder=folder, options=SMALL, seed=3, **options), folder


def same(one, other) -> bool:
    a, b = one.get_weights(), other.get_weights()
    return len(a) == len(b) and all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def with_labels(sides, labels) -> dict[str, samples.Rows]:
    """The same rows with other labels."""
    out = {}
    for side, rows in sides.items():
        table = rows.source
        at = table.column_names.index("label_code")
        out[side] = dataclasses.replace(
            rows, source=table.set_column(at, table.field(at), pa.array(labels(table.num_rows), pa.int16()))
        )
    return out


# What is hidden, and what the loss sees


@given(st.integers(0, 2**32), st.floats(0.01, 0.99), st.floats(0, 1))
def test_the_share_of_each_windows_images_is_hidden(seed, share, density):
    random = np.random.default_rng(seed)
    seen = random.random((20, 9)) < density
    hidden = hidden_steps(seen, share, np.random.default_rng(seed))
    for window, gone in zip(seen, hidden, strict=True):
        count = window.sum()
        assert not gone[~window].any()
        assert gone.sum() == (min(max(round(share * count), 1), count - 1) if count > 1 else 0)


def test_every_image_is_hidden_equally_often():
    seen = np.ones((40_000, 5), bool)
    seen[:, 2] = False
    often = hidden_steps(seen, 0.5, np.random.default_rng(0)).mean(axis=0)
    assert often[2] == 0
    assert often[[0, 1, 3, 4]] == pytest.approx(0.5, abs=0.01)


def test_masking_is_that_of_a_plain_loop():
    random = np.random.default_rng(1)
    series = random.normal(size=(4, 5, 3)).astype("f4")  # two bands, and a channel of the calendar
    seen = random.random((4, 5)) < 0.7
    series[~seen, :2] = 0
    hidden = hidden_steps(seen, 0.5, random)
    x, y = masked(series, hidden, 2)
    for window in range(4):
        for step in range(5):
            shown, asked = series[window, step].copy(), np.zeros(2, "f4")
            if hidden[window, step]:
                asked, shown[:2] = shown[:2].copy(), 0
            np.testing.assert_array_equal(x[window, step], shown)
            np.testing.assert_array_equal(y[window, step], asked)


def test_the_loss_is_that_of_a_plain_loop_and_sees_only_what_was_hidden():
    from arsetlib.training.tasks import measured

    random = np.random.default_rng(2)
    series = random.normal(size=(6, 8, 3)).astype("f4")
    seen = random.random((6, 8)) < 0.6
    seen[0] = False
    series[~seen] = 0
    hidden, made = hidden_steps(seen, 0.5, random), random.normal(size=series.shape).astype("f4")
    y = masked(series, hidden, 3)[1]
    each, sums = (np.asarray(part) for part in measured(task(None), y, made))
    for window in range(6):
        errors = [(made[window, t] - series[window, t]) ** 2 for t in range(8) if hidden[window, t]]
        assert each[window] == pytest.approx(np.mean(errors) if errors else 0, rel=1e-5)
    assert task(None).scores(sums[2:])["explained"] == pytest.approx(
        1 - ((made - series)[hidden] ** 2).sum() / (series[hidden] ** 2).sum(), rel=1e-5
    )
    other = np.where(hidden[..., None], made, 1e3).astype("f4")  # wrong wherever nothing was hidden
    np.testing.assert_array_equal(np.asarray(measured(task(None), y, other)[1]), sums)


def test_what_is_hidden_is_nowhere_in_the_input(sides):
    """The values of hidden images may be anything: the network gets the same input."""
    scaler = samples.Scaler.fit(sides["train"])
    loader = samples.Loader(sides["train"], few.STUDY, scaler, batch=64, seed=1, extras=("seen", "day_of_year"))
    feed = MaskedFeed(loader, "train", ("seen", "day_of_year"), 0.5)
    before, x, y = loader.batch(0, 0)[0], *feed.batch(0, 0)
    hidden = before["seen"] & ~x["seen"]
    assert 0.4 < hidden.sum() / before["seen"].sum() < 0.6
    assert not x["series"][~x["seen"]].any()
    np.testing.assert_array_equal(x["series"][x["seen"]], before["series"][x["seen"]])
    np.testing.assert_array_equal(y, np.where(hidden[..., None], before["series"], 0))
    again, later = feed.batch(0, 0)[1], feed.batch(1, 0)[1]
    np.testing.assert_array_equal(again, y)  # by seed, epoch and number, on any thread
    assert not np.array_equal(later, y)


# No label matters


def test_pretraining_reads_no_label(sides, whole):
    spoilt = with_labels(sides, lambda n: np.random.default_rng(0).integers(-5, 30_000, n))
    options = {**TINY, "epochs": 6, "patience": 5, "learning_rate": 0.01}
    other = training.pretrain("ltae", spoilt, few.STUDY, options=SMALL, seed=3, **options)
    assert same(other.model, whole[0].model)
    excluded = with_labels(sides, lambda n: np.full(n, 9))
    rows = training.pretrain("ltae", excluded, few.STUDY, options=SMALL, **TINY).notes["rows"]
    assert rows["train"]["samples"] == len(sides["train"])


# What comes out


def test_it_learns_to_reconstruct(whole):
    explained = whole[0].history["val_explained"]
    assert explained[-1] > max(explained[0], 0.2)
    assert whole[0].notes["best_epoch"] == np.argmin(whole[0].history["val_loss"]) + 1


def test_a_saved_encoder_is_the_same(whole):
    done, folder = whole
    loaded = models.load(folder, few.STUDY)
    assert same(loaded.model, done.model)
    assert loaded.history == done.history
    x = next(done.loader(few.make_table(50), 90).arrays())[0]
    np.testing.assert_allclose(loaded.vectors(x), done.vectors(x), rtol=1e-5)
    assert loaded.vectors(x).shape == (50, 16)
    assert folders.state(folder) == "complete"
    assert set(training.scalars(folder / "logs")) >= {"validation/epoch_loss", "validation/epoch_explained"}


def test_it_predicts_nothing_before_it_has_seen_labels(whole, sides):
    for use in (whole[0], models.load(whole[1])):
        with pytest.raises(ModelError, match=r"pre-trained without any.*fine_tune"):
            use.predictions(sides["test"], 90)
    with pytest.raises(training.TrainingError, match="counts without 0"):
        training.learning_curve(whole[0], sides["test"], few.STUDY, (0,), repeats=1, **TINY)
    forest = training.fit("majority", sides, few.STUDY, progress=False)
    with pytest.raises(ModelError, match="Only networks have vectors"):
        forest.vectors(np.zeros((1, 6, 3)))


def test_fine_tuning_starts_from_its_weights_with_a_new_last_layer(whole, sides):
    """With no change of the weights, the body is the encoder's; the last layer is drawn by the seed."""
    import keras

    heads = []
    for seed in (0, 1):
        keras.utils.set_random_seed(seed)
        network = adapted(whole[0], few.STUDY)
        assert all(map(same, whole[0].model.layers[:-1], network.layers[:-1]))
        heads.append(network.layers[-1].get_weights()[0])
    assert not np.array_equal(*heads)
    frozen = training.fine_tune(whole[0], sides, few.STUDY, freeze="body", seed=1, **TINY)
    x = next(whole[0].loader(few.make_table(50), 90).arrays())[0]
    np.testing.assert_allclose(frozen.vectors(x), whole[0].vectors(x), rtol=1e-4, atol=1e-5)
    tuned = training.fine_tune(whole[0], sides, few.STUDY, seed=1, **TINY)
    assert tuned.predictions(sides["test"], 90).probability.shape[1] == 3
    assert not same(tuned.model.layers[3], whole[0].model.layers[3]) or not np.allclose(
        tuned.vectors(x), whole[0].vectors(x)
    )


def test_a_given_network_of_one_input_is_pretrained_and_changed_in_place(sides):
    network = few.network()
    before = [layer.get_weights() for layer in network.layers]
    done = training.pretrain(network, sides, few.STUDY, **TINY)
    assert done.model is network
    assert not np.array_equal(before[1][0], network.layers[1].get_weights()[0])
    assert np.array_equal(before[-1][0], network.layers[-1].get_weights()[0])  # it learns from labels only
    assert training.fine_tune(done, sides, few.STUDY, **TINY).study is few.STUDY


def test_a_stopped_pretraining_ends_with_the_same_weights(sides, tmp_path):
    import keras

    class Stop(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt

    options = {"seed": 3, "options": SMALL, **TINY}
    straight = training.pretrain("ltae", sides, few.STUDY, **options)
    with pytest.raises(KeyboardInterrupt):
        training.pretrain("ltae", sides, few.STUDY, folder=tmp_path / "run", callbacks=[Stop()], **options)
    assert (tmp_path / "run" / BACKUP).exists()
    resumed = training.pretrain("ltae", sides, few.STUDY, folder=tmp_path / "run", **options)
    assert same(straight.model, resumed.model)
    assert straight.history["val_loss"] == resumed.history["val_loss"]
    again = training.pretrain("ltae", sides, few.STUDY, folder=tmp_path / "run", **options)  # finished: only read
    assert same(again.model, resumed.model)


# What is refused


@pytest.mark.parametrize("hide", [0, 1, -0.5, 1.5, float("nan"), True, "half"])
def test_a_share_that_hides_nothing_or_all_is_refused(sides, hide):
    with pytest.raises(training.TrainingError, match=r"above 0 and below 1, received .*Take 0\.5"):
        training.pretrain("ltae", sides, few.STUDY, hide=hide, **TINY)


def test_no_rows_and_rows_without_images_are_refused(sides):
    none = {**sides, "train": sides["train"].pick(np.zeros(len(sides["train"]), bool))}
    with pytest.raises(training.TrainingError, match="Expected rows on the side 'train'"):
        training.pretrain("ltae", none, few.STUDY, **TINY)
    season = dataclasses.replace(few.STUDY.season, first_day=250, last_day=260)
    with pytest.raises(training.TrainingError, match="rows without: "):
        training.pretrain("ltae", sides, few.STUDY.replace(season=season), options=SMALL, **TINY)


def test_what_does_not_fit_is_refused(sides, whole):
    with pytest.raises(training.TrainingError, match="6 steps and 3 channels.*received one of 7 steps and 3"):
        training.pretrain(few.network(steps=7), sides, few.STUDY, **TINY)
    with pytest.raises(training.TrainingError, match="received 'random_forest': a baseline needs labels"):
        training.pretrain("random_forest", sides, few.STUDY, **TINY)
    for option, message in (
        ({"fill": "linear"}, "fill='zeros'"),
        ({"loss": "focal"}, "neither loss nor balance"),
        ({"balance": True}, "neither loss nor balance"),
        ({"place": "device"}, "windows from the host"),
        ({"monitor": "val_macro_f1"}, "monitor = 'val_loss'"),
        ({"hidden": 0.5}, "There is no option 'hidden'"),
    ):
        with pytest.raises(training.TrainingError, match=message):
            training.pretrain("ltae", sides, few.STUDY, **{**TINY, **option})
    two = few.STUDY.replace(sensors={"radar": ("vv",)})
    with pytest.raises(training.TrainingError, match="channels of one sensor"):
        training.pretrain("ltae", sides, two, **TINY)
    longer = Study.parse(few.STUDY.text.replace("window_days = 60", "window_days = 70"))
    with pytest.raises(training.TrainingError, match="Expected the steps"):
        training.fine_tune(whole[0], sides, longer, **TINY)


def test_a_network_whose_last_layer_gets_no_vector_is_refused(sides):
    from keras import Input, Model, layers

    series = Input((6, 3), name="series")
    network = Model(series, layers.Flatten()(layers.Conv1D(1, 4)(series)))  # (B, 3), of (B, 3, 1)
    with pytest.raises(training.TrainingError, match="one vector for each window"):
        training.pretrain(network, sides, few.STUDY, **TINY)


def test_the_folder_of_another_training_is_refused(sides, whole):
    with pytest.raises(training.TrainingError, match=r"hide \(was 0.5, now 0.3\)"):
        training.pretrain("ltae", sides, few.STUDY, hide=0.3, folder=whole[1], options=SMALL, seed=3, **TINY)
    with pytest.raises(training.TrainingError, match="task"):
        training.fit("ltae", sides, few.STUDY, folder=whole[1], options=SMALL, seed=3, **TINY)


def test_the_calendar_of_hidden_steps_stays_and_indices_are_reconstructed(sides):
    study = few.STUDY.replace(indices=("ndvi",), day_of_year=True)
    done = training.pretrain("ltae", sides, study, options=SMALL, **TINY)
    assert done.model.input["series"].shape[-1] == 6
    scaler = samples.Scaler.fit(sides["train"], study)
    loader = samples.Loader(sides["train"], study, scaler, batch=64, seed=1, extras=("seen",))
    before, x, y = loader.batch(0, 0)[0], *MaskedFeed(loader, "train", ("seen",), 0.5).batch(0, 0)
    np.testing.assert_array_equal(x["series"][..., 4:], before["series"][..., 4:])
    assert y.shape[-1] == 4


def test_the_command_pretrains_and_train_starts_from_its_folder(sides, tmp_path):
    import json

    from typer.testing import CliRunner

    from arsetlib import cli, pixels

    table = sides["train"].source
    (tmp_path / "pixels").mkdir()
    pixels.write(table, tmp_path / "pixels" / "all.parquet", few.META)
    (tmp_path / "few.toml").write_text(few.STUDY.text)

    def call(name, *words):
        done = CliRunner().invoke(cli.app, [name, str(tmp_path / "pixels"), str(tmp_path / "few.toml"), *words])
        assert done.exit_code == 0, done.output
        return done.stdout

    short = ("--epochs", "2", "--batch", "64", "--patience", "1")
    said = call("pretrain", "--out", str(tmp_path / "encoder"), "--model", "gru", "--hide", "0.3", *short)
    assert "share explained" in said
    report = json.loads(
        call("train", "--from", str(tmp_path / "encoder"), "--out", str(tmp_path / "t"), *short, "--json")
    )
    assert report["notes"]["fine_tuned_from"] == {"name": "gru", "study": "few", "pretrained": {"hide": 0.3}}
