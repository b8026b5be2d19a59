"""Training on tables made here: what it refuses, what it keeps, and that a killed run ends the same."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import few
import numpy as np
import pytest

from arsetlib import folders, models, samples, training
from arsetlib.training.plan import even_weights, settled
from arsetlib.training.run import BACKUP, claimed

TINY = {"epochs": 3, "patience": 2, "batch": 64, "progress": False}
HERE = Path(__file__).resolve().parent


@pytest.fixture(scope="module")
def sides():
    return few.make_sides()


@pytest.fixture(scope="module")
def whole(sides, tmp_path_factory):
    """One finished run with everything on, and its folder."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    return training.fit(few.network(), sides, few.STUDY, folder=folder, seed=3, profile=(2, 3), **TINY), folder


def same(one, other) -> bool:
    a, b = one.model.get_weights(), other.model.get_weights()
    return len(a) == len(b) and all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


# What comes out


def test_history_has_one_value_of_each_metric_per_epoch(whole):
    history = whole[0].history
    for name in ("loss", "categorical_accuracy", "macro_f1", "val_loss", "val_macro_f1", "learning_rate", "seconds"):
        assert len(history[name]) == 3, name


def test_the_best_epoch_is_kept_not_the_last(sides):
    """A learning rate that explodes after the first epoch: the kept weights are those of before."""
    import keras

    rates = keras.callbacks.LearningRateScheduler(lambda epoch: 0.01 if epoch < 2 else 3.0)
    done = training.fit(few.network(), sides, few.STUDY, seed=1, callbacks=[rates], **{**TINY, "epochs": 9})
    losses = done.history["val_loss"]
    assert len(losses) < 9  # it stopped before the end
    assert done.notes["best_epoch"] == np.argmin(losses) + 1 < len(losses)
    x, y = windows(sides, done)
    kept = -np.log((done.model.predict(x, verbose=0) * y).sum(axis=1)).mean()
    assert kept == pytest.approx(min(losses), rel=1e-4)


def windows(sides, trained):
    """The validation windows that ``fit`` has drawn."""
    from arsetlib.training.fit import joined

    options = {"start": "random", "shuffle": False, "seed": trained.notes["seed"], "choose": "random"}
    return joined(samples.Loader(sides["validation"], few.STUDY, trained.scaler, batch=4096, **options))


def test_it_learns(sides):
    done = training.fit(few.network(), sides, few.STUDY, learning_rate=0.01, **{**TINY, "epochs": 8})
    assert max(done.history["val_macro_f1"]) > 0.6


def test_a_seed_gives_the_same_weights_bit_for_bit(sides, whole):
    again = training.fit(few.network(), sides, few.STUDY, seed=3, **TINY)
    assert same(again, whole[0])
    assert again.history["val_loss"] == whole[0].history["val_loss"]
    other = training.fit(few.network(), sides, few.STUDY, seed=4, **TINY)
    assert not same(other, whole[0])


def test_the_scaler_is_fitted_on_the_training_rows_unless_given(sides, whole):
    assert whole[0].scaler == samples.Scaler.fit(sides["train"])
    mine = samples.Scaler(few.STUDY.bands, (1.0, 2.0, 3.0), (4.0, 5.0, 6.0))
    assert training.fit(few.network(), sides, few.STUDY, scaler=mine, **TINY).scaler == mine


@pytest.mark.parametrize("options", [{"loss": "focal"}, {"balance": True}, {"optimizer": "sgd"}, {"starts": 90}])
def test_options_change_the_outcome(sides, whole, options):
    done = training.fit(few.network(), sides, few.STUDY, seed=3, **options, **TINY)
    assert not same(done, whole[0])
    assert np.isfinite(done.history["loss"]).all()


def test_macro_f1_is_that_of_scikit_learn():
    from sklearn.metrics import f1_score

    from arsetlib.training import tasks

    random = np.random.default_rng(0)
    truth, probability = random.integers(0, 3, 90), random.random((90, 5)).astype("f4")
    probability[:, 4] = 0
    counts = sum(
        tasks.confusion(np.eye(5, dtype="f4")[truth[part]], probability[part]).numpy()
        for part in (slice(0, 40), slice(40, 90))
    )
    found = tasks.class_scores(counts, macro_f1="macro_f1")["macro_f1"]
    assert found == pytest.approx(f1_score(truth, probability.argmax(1), average="macro"))


def test_a_baseline_is_fitted_through_the_same_call(sides, tmp_path):
    options = {"folder": tmp_path / "forest", "progress": False, "epochs": 2, "options": {"trees": 10}}
    options.pop("options")
    done = training.fit("random_forest", sides, few.STUDY, **options)
    assert done.history["val_macro_f1"][0] > 0.6
    majority = training.fit("majority", sides, few.STUDY, progress=False)
    assert majority.history["val_categorical_accuracy"][0] < done.history["val_categorical_accuracy"][0]


# The folder


def test_a_finished_run_is_returned_without_training(sides, whole):
    before = (whole[1] / "_manifest.json").stat().st_mtime_ns
    again = training.fit(few.network(), sides, few.STUDY, folder=whole[1], seed=3, **TINY)
    assert same(again, whole[0])
    assert (whole[1] / "_manifest.json").stat().st_mtime_ns == before


def test_a_folder_with_another_run_is_refused(sides, whole):
    with pytest.raises(training.TrainingError, match=r"seed \(was 3, now 4\)"):
        training.fit(few.network(), sides, few.STUDY, folder=whole[1], seed=4, **TINY)
    fewer = {**sides, "train": sides["train"].pick(np.arange(len(sides["train"])) > 0)}
    with pytest.raises(training.TrainingError, match=r"train \(was"):
        training.fit(few.network(), fewer, few.STUDY, folder=whole[1], seed=3, **TINY)


def test_a_call_that_was_refused_leaves_its_folder_to_the_next(sides, tmp_path):
    with pytest.raises(ValueError, match="start = 'random'"):
        training.fit("majority", sides, few.STUDY, folder=tmp_path / "run", starts=900)
    training.fit("majority", sides, few.STUDY, folder=tmp_path / "run", progress=False)
    assert folders.state(tmp_path / "run") == "complete"


def test_a_folder_of_other_files_is_refused(sides, tmp_path):
    (tmp_path / "thesis.docx").write_text("years of work")
    with pytest.raises(training.TrainingError, match="holds something else"):
        training.fit(few.network(), sides, few.STUDY, folder=tmp_path, **TINY)


def test_a_run_that_dies_while_saving_is_not_finished(sides, tmp_path, monkeypatch):
    def full(self, folder):
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(models.Trained, "save", full)
        with pytest.raises(training.TrainingError, match="disk of .* is full"):
            training.fit(few.network(), sides, few.STUDY, folder=tmp_path / "run", **TINY)
    assert folders.state(tmp_path / "run") == "unfinished"
    assert not (tmp_path / "run" / "model").exists()
    done = training.fit(few.network(), sides, few.STUDY, folder=tmp_path / "run", **TINY)
    assert len(done.history["loss"]) == 3  # none of its epochs is done twice
    assert folders.state(tmp_path / "run") == "complete"


def test_scalars_and_pictures_of_tensorboard_are_those_of_the_history(whole):
    done, folder = whole
    logged = training.scalars(folder / "logs")
    assert logged.index.tolist() == [1, 2, 3]
    np.testing.assert_allclose(logged["validation/epoch_loss"], done.history["val_loss"], rtol=1e-5)
    pictures = training.pictures(folder / "logs")
    assert [p.ndim for p in pictures] == [3, 3, 3]


def test_a_folder_without_event_files_says_where_they_come_from(tmp_path, whole):
    with pytest.raises(training.TrainingError, match="Train with folder="):
        training.scalars(tmp_path)
    with pytest.raises(training.TrainingError, match="found .*epoch_loss"):
        training.pictures(whole[1] / "logs", "maps")


def test_tensorboard_gets_scalars_graph_histograms_a_picture_text_and_a_profile(whole):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = {"plugins": set(), "tags": set()}
    for folder in {file.parent for file in whole[1].rglob("events.out.*")}:
        events = EventAccumulator(str(folder)).Reload()
        tags = events.Tags()
        found["tags"] |= {tag for kind in tags.values() if isinstance(kind, list) for tag in kind}
        found["plugins"] |= set(events.summary_metadata[t].plugin_data.plugin_name for t in events.summary_metadata)
    assert {"scalars", "histograms", "images", "text", "hparams", "graph_keras_model"} <= found["plugins"]
    assert {"epoch_loss", "epoch_macro_f1", "confusion"} <= found["tags"]
    assert list(whole[1].rglob("*.xplane.pb"))


CHILD = """
import sys, os, signal
sys.path.insert(0, {here!r})
import few, keras
from arsetlib import training

class Kill(keras.callbacks.Callback):
    def on_train_batch_begin(self, batch, logs=None):
        if self.model.optimizer.iterations.numpy() == {step}:
            os.kill(os.getpid(), signal.SIGKILL)

training.fit(few.network(), few.make_sides(), few.STUDY, folder={folder!r}, callbacks=[Kill()], **{options!r})
"""


def test_a_killed_run_goes_on_and_ends_the_same(sides, tmp_path):
    """Killed within the fourth epoch; weights, optimiser, draws, dropout, patience and history go on as if not."""
    from arsetlib.training.callbacks import Backup

    options = {**TINY, "epochs": 7, "patience": 2, "seed": 9, "learning_rate": 0.05}
    steps = -(-len(sides["train"]) // 64)
    code = CHILD.format(here=str(HERE), step=3 * steps + 1, folder=str(tmp_path / "killed"), options=options)
    died = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=HERE.parent)
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert folders.state(tmp_path / "killed") == "unfinished"
    assert Backup(tmp_path / "killed" / BACKUP, None).epochs == 3
    resumed = training.fit(few.network(), sides, few.STUDY, folder=tmp_path / "killed", **options)
    straight = training.fit(few.network(), sides, few.STUDY, **options)
    assert same(resumed, straight)
    for name in ("loss", "val_loss", "val_macro_f1"):
        assert resumed.history[name] == straight.history[name]
    assert resumed.notes["best_epoch"] == straight.notes["best_epoch"]
    assert not (tmp_path / "killed" / BACKUP).exists()


# Several devices


TWO = """
import sys, json
sys.path.insert(0, {here!r})
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import few, keras
from arsetlib import training

def plain():
    series = keras.Input((6, 3), name="series")
    h = keras.layers.Flatten()(keras.layers.Conv1D(4, 3)(series))
    return keras.Model(series, keras.layers.Dense(3, activation="softmax")(h))

sides = few.make_sides()
sides["train"] = sides["train"].pick(few.np.arange(len(sides["train"])) < 96)
losses = []
for strategy in (None, tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])):
    keras.utils.set_random_seed(1)
    with strategy.scope() if strategy else __import__("contextlib").nullcontext():
        model = plain()
    folder = {folder!r} + str(bool(strategy))
    done = training.fit(model, sides, few.STUDY, strategy=strategy, folder=folder, **{options!r})
    losses.append((done.notes["devices"], done.history["loss"], done.history["val_loss"]))
print(json.dumps(losses))
"""


def test_two_devices_give_the_losses_of_one(tmp_path):
    options = {**TINY, "batch": 32}
    code = TWO.format(here=str(HERE), folder=str(tmp_path / "run"), options=options)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=HERE.parent)
    assert done.returncode == 0, done.stderr[-2000:]
    (one, *losses), (two, *others) = json.loads(done.stdout.splitlines()[-1])
    assert (one, two) == (1, 2)
    np.testing.assert_allclose(losses, others, rtol=1e-4)


def test_a_model_that_was_trained_in_mixed_precision_is_kept_in_float32(sides):
    done = training.fit("toy", sides, few.STUDY, mixed=True, options={"padding": "same", "pool": 2}, **TINY)
    assert done.notes["mixed"]
    assert {layer.compute_dtype for layer in done.model.layers} == {"float32"}
    assert np.isfinite(done.history["val_loss"]).all()


def test_one_epoch_needs_no_patience(sides):
    one = TINY | {"epochs": 1, "patience": None}
    done = training.fit("toy", sides, few.STUDY, options={"padding": "same", "pool": 2}, **one)
    assert len(done.history["loss"]) == 1


# What is refused


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"patience": 3}, "could never fire"),
        ({"patience": 0}, "patience to be a whole number of at least 1"),
        ({"epochs": 0, "patience": None}, "epochs to be a whole number of at least 1"),
        ({"monitor": "val_f1"}, "monitor = 'val_loss' or 'val_categorical_accuracy' or 'val_macro_f1'"),
        ({"balance": [1.0, 2.0]}, "3 numbers from 0 on"),
        ({"learning_rat": 1}, "no option 'learning_rat'. Did you mean 'learning_rate'"),
        ({"loss": "hinge"}, "'crossentropy' or 'focal'"),
        ({"learning_rate": -1}, "learning_rate above 0"),
        ({"optimizer": "nadia"}, "optimiser of Keras"),
        ({"strategy": "cloud"}, "strategy = 'mirrored'"),
    ],
)
def test_wrong_options_are_refused(sides, options, words):
    with pytest.raises(training.TrainingError, match=words):
        training.fit(few.network(), sides, few.STUDY, **{**TINY, **options})


def test_no_validation_rows(sides):
    with pytest.raises(training.TrainingError, match="'validation'"):
        training.fit(few.network(), {"train": sides["train"]}, few.STUDY, **TINY)


def test_a_class_without_samples_is_refused_before_tensorflow_is_loaded():
    code = (
        f"import sys; sys.path.insert(0, {str(HERE)!r})\n"
        "import few; from arsetlib import training\n"
        "try: training.fit('tempcnn', few.make_sides(codes=(1, 3)), few.STUDY)\n"
        "except training.TrainingError as error: print('late' in str(error), 'tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=HERE.parent)
    assert done.stdout.split() == ["True", "False"], done.stderr


def test_a_class_without_samples_is_named_and_can_be_allowed():
    sides = few.make_sides(codes=(1, 3))
    with pytest.raises(training.TrainingError, match=r"\['late'\] have no training sample"):
        training.fit(few.network(), sides, few.STUDY, **TINY)
    done = training.fit(few.network(), sides, few.STUDY, missing="allow", **TINY)
    assert done.notes["classes_without_samples"] == ["late"]


def test_a_loss_that_is_nan_stops_with_epoch_step_and_rows(sides):
    import keras

    run_away = keras.callbacks.LambdaCallback(
        on_train_batch_begin=lambda batch, logs: batch == 1 and model.layers[-1].bias.assign([np.nan] * 3)
    )
    model = few.network()
    loader = samples.Loader(sides["train"], few.STUDY, None, batch=64)
    pools = list(loader._rows(0, 1))
    with pytest.raises(training.TrainingError, match=r"epoch 1, step 2 of .*\(pixel, year\)") as told:
        training.fit(model, sides, few.STUDY, callbacks=[run_away], **TINY)
    assert f"({pools[0].columns['pixel'][0]}, {pools[0].columns['year'][0]})" in str(told.value)


def test_rows_that_make_the_loss_nan_are_named(sides):
    broken = samples.Scaler(few.STUDY.bands, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    object.__setattr__(broken, "mean", (float("nan"), 0.0, 0.0))  # as an index of two bands might
    with pytest.raises(training.TrainingError, match="64 of its 64 samples hold NaN or infinite values"):
        training.fit(few.network(), sides, few.STUDY, scaler=broken, **TINY)


def test_a_plan_that_cannot_be_read_is_told(tmp_path):
    (tmp_path / "_plan.json").write_text("{")
    with pytest.raises(training.TrainingError, match="is damaged"), claimed(tmp_path, {"seed": 1}):
        pass


def test_a_training_of_an_earlier_version_is_refused_and_its_model_read(whole, tmp_path):
    old = tmp_path / "old"
    shutil.copytree(whole[1] / "model", old / "model")
    (old / "plan.json").write_text("{}")
    with pytest.raises(training.TrainingError, match="earlier version of this library.*models.load"), claimed(old, {}):
        pass
    assert same(models.load(old), whole[0])


def test_groups_of_options_and_single_settings_mean_the_same():
    plan, log = settled({"epochs": 5, "progress": False}, training.Plan(batch=3), training.Log())
    assert (plan, log) == (training.Plan(epochs=5, batch=3), training.Log(progress=False))
    assert repr(plan) == "Plan(epochs=5, batch=3)"


def test_balanced_weights_let_each_class_count_the_same():
    weights = even_weights([90, 9, 0, 1])
    np.testing.assert_allclose(weights * [90, 9, 0, 1], [100 / 3, 100 / 3, 0, 100 / 3])


def test_arset_train_and_go_on_from_a_model(tmp_path):
    from typer.testing import CliRunner

    from arsetlib import cli, pixels

    table = few.make_table()
    (tmp_path / "pixels").mkdir()
    pixels.write(table, tmp_path / "pixels" / "all.parquet", few.META)
    (tmp_path / "few.toml").write_text(few.STUDY.text, encoding="utf-8")

    def call(*words):
        done = CliRunner().invoke(cli.app, ["train", str(tmp_path / "pixels"), str(tmp_path / "few.toml"), *words])
        assert done.exit_code == 0, done.output
        return done.output

    first = call("--model", "random_forest", "--out", str(tmp_path / "forest"), "--json")
    assert json.loads(first)["best"]["val_macro_f1"] > 0.5
    short = ["--epochs", "2", "--batch", "64"]
    told = call("--model", "gru", "--out", str(tmp_path / "gru"), *short)
    assert "epoch" in told
    call("--from", str(tmp_path / "gru"), "--freeze", "--out", str(tmp_path / "tuned"), *short)
    assert models.load(tmp_path / "tuned" / "model").notes["fine_tuned_from"]["name"] == "gru"


def test_training_loads_keras_only_when_called():
    code = "import sys, arsetlib.training; print(*[m for m in ('keras', 'tensorflow', 'optuna') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=HERE.parent)
    assert done.stdout.split() == []


def test_a_second_process_is_kept_out_of_a_run(tmp_path):
    code = (
        "import sys; from arsetlib.training import run\n"
        "try: run.claimed(sys.argv[1], {'seed': 1}).__enter__()\n"
        "except run.TrainingError as error: print(error)"
    )
    command = [sys.executable, "-c", code, tmp_path / "run"]
    with claimed(tmp_path / "run", {"seed": 1}) as run:
        told = subprocess.run(command, capture_output=True, text=True, check=True)
        assert "Another job is writing" in told.stdout
        assert not run.finished
