"""Image classifiers: four channels by a rule, frozen and fine-tuned, trained, kept, scored beside baselines."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pytest
import squares

from arsetlib import fields, models, training
from arsetlib.fields import training as fitting
from arsetlib.fields.scoring import histograms, score
from arsetlib.models import ModelError
from arsetlib.models import images as networks
from arsetlib.training.run import BACKUP

HERE = Path(__file__).resolve().parent
TINY = {"epochs": 2, "batch": 32, "learning_rate": 3e-3, "progress": False}


@pytest.fixture(scope="module")
def sides():
    return squares.sides()


@pytest.fixture(scope="module")
def whole(sides, tmp_path_factory):
    """A finished run of three epochs, the first with a frozen backbone, and its folder."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    options = {**TINY, "epochs": 3, "freeze": 1, "balance": True, "seed": 2}
    return fields.fit("small", sides, folder=folder, **options), folder, options


def same(one, other) -> bool:
    pairs = zip(one.model.get_weights(), other.model.get_weights(), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


# Models


@pytest.mark.parametrize("name", ["small", "mobilenetv3"])
def test_a_model_is_as_described_and_comes_back_from_its_file(name, tmp_path):
    model = networks.build(name, size=32)
    assert model.count_params() == networks.describe().loc[name, "parameters"]
    assert (model.input_shape, model.output_shape) == ((None, 32, 32, 4), (None, 9))
    model.save(tmp_path / "model.keras")
    x = np.random.default_rng(0).random((2, 32, 32, 4)).astype("f4")
    again = networks.load(tmp_path / "model.keras")
    np.testing.assert_array_equal(np.asarray(again(x)), np.asarray(model(x)))
    momenta = [layer.momentum for layer in again.get_layer("backbone").layers if hasattr(layer, "momentum")]
    assert momenta
    assert set(momenta) == {0.9}


def test_heads_say_several_classes_or_one():
    x = np.random.default_rng(0).random((3, 32, 32, 4)).astype("f4")
    one = np.asarray(networks.build("small", size=32, head="single", classes=5)(x))
    np.testing.assert_allclose(one.sum(axis=1), 1, rtol=1e-5)
    several = np.asarray(networks.build("small", size=32)(x))
    assert ((several > 0) & (several < 1)).all()


def test_a_seed_gives_the_same_weights():
    one, two, other = (networks.build("small", size=32, seed=seed).get_weights() for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
    assert not np.array_equal(one[-2], other[-2])


@pytest.mark.parametrize("spread", [(1.0, 1.0, 1.0), (0.229, 0.224, 0.225)])
@pytest.mark.parametrize("channels", [4, 6])
def test_a_band_that_is_the_mean_of_the_three_changes_no_answer_of_a_widened_convolution(channels, spread):
    random = np.random.default_rng(0)
    kernel, image = random.normal(size=(3, 3, 3, 5)), random.random((3, 3, 3))
    wide = networks.widen(kernel, channels, spread)
    assert wide.shape == (3, 3, channels, 5)
    more = np.repeat(image.mean(axis=2, keepdims=True), channels - 3, axis=2)
    every = np.append(spread, [np.mean(spread)] * (channels - 3))
    before = np.einsum("hwc,hwcf->f", image / np.array(spread), kernel)
    np.testing.assert_allclose(np.einsum("hwc,hwcf->f", np.dstack([image, more]) / every, wide), before)
    lit = np.einsum("hwc,hwcf->cf", np.ones((3, 3, channels)) / every, wide)  # what each band does to brightness
    np.testing.assert_allclose(lit[3:], np.broadcast_to(lit[:3].mean(axis=0), lit[3:].shape))


@pytest.mark.parametrize("name", ["resnet50", "mobilenetv3"])
def test_weights_for_three_bands_answer_the_same_where_the_fourth_is_their_mean(name, tmp_path):
    """From a file as keras.applications has them; ResNet's expect blue before red."""
    import keras

    kind = networks.BACKBONES[name]
    plain = getattr(keras.applications, kind.application)
    options = {} if name == "resnet50" else {"include_preprocessing": False}
    donor = plain(include_top=False, weights=None, input_shape=(32, 32, 3), pooling="avg", **options)
    donor.save_weights(tmp_path / "notop.weights.h5")
    model = networks.build(name, size=32, weights=tmp_path / "notop.weights.h5")
    rgb = np.random.default_rng(0).random((2, 32, 32, 3)).astype("f4")
    four = np.concatenate([rgb, rgb.mean(axis=3, keepdims=True)], axis=3)
    prepared = keras.applications.resnet.preprocess_input(rgb * 255) if name == "resnet50" else rgb * 2 - 1
    features = model.get_layer("backbone")(model.get_layer("standardise")(four))
    np.testing.assert_allclose(np.asarray(features), np.asarray(donor(prepared)), rtol=1e-3, atol=1e-4)


def test_a_model_of_ours_starts_another(whole):
    model = networks.build("small", size=64, classes=4, weights=whole[1] / "model" / "model.keras")
    first = model.get_layer("backbone").get_weights()[0]
    np.testing.assert_array_equal(first, whole[0].model.get_layer("backbone").get_weights()[0])


def test_a_frozen_backbone_keeps_its_weights_and_its_averages(sides):
    before = networks.build("small", size=32, seed=0)
    done = fields.fit("small", sides, freeze=2, seed=0, **TINY)
    for old, new in zip(before.get_layer("backbone").weights, done.model.get_layer("backbone").weights, strict=True):
        np.testing.assert_array_equal(np.asarray(old), np.asarray(new), err_msg=new.path)
    assert not np.array_equal(before.get_weights()[-2], done.model.get_weights()[-2])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"name": "resnet-5O"}, "Did you mean 'resnet50'"),
        ({"head": "double"}, "no head 'double'"),
        ({"size": 16}, "size to be a whole number of at least 32"),
        ({"name": "resnet50", "channels": 2}, "channels to be a whole number of at least 3"),
        ({"weights": "imagenet"}, "no ImageNet weights of the model 'small'"),
        ({"weights": "nowhere.h5"}, "no file of weights nowhere.h5"),
    ],
)
def test_models_that_cannot_be(options, words):
    with pytest.raises(ModelError, match=words):
        networks.build(**{"name": "small", "size": 32, **options})


def test_imagenet_weights_without_a_network(monkeypatch):
    import keras

    def nowhere(*_, **__):
        raise Exception("URL fetch failure")

    monkeypatch.setattr(keras.utils, "get_file", nowhere)
    with pytest.raises(ModelError, match=r"could not be fetched.*name the file with weights='PATH'"):
        networks.build("mobilenetv3", size=32, weights="imagenet")


def test_weights_of_another_network_are_refused(whole, tmp_path):
    with pytest.raises(ModelError, match="does not fit the mobilenetv3 with 4 channels"):
        networks.build("mobilenetv3", size=32, weights=whole[1] / "model" / "model.keras")
    (tmp_path / "text.h5").write_text("no weights")
    with pytest.raises(ModelError, match="does not hold weights of a mobilenetv3"):
        networks.build("mobilenetv3", size=32, weights=tmp_path / "text.h5")


# Training


def test_it_learns_and_beats_saying_the_same_of_all():
    many = squares.sides(320, 80)
    done = fields.fit("small", many, **{**TINY, "epochs": 6})
    found = fields.evaluate(done, squares.make(80, 2), train=many["train"])
    assert found.model.macro_f1 > 0.6
    assert found.model.mean_average_precision > found.baselines["majority"].mean_average_precision + 0.2
    assert list(found.table().index) == ["small", "majority", "random forest"]
    assert "f1 of random forest" in found.by_class()
    assert "macro-F1" in str(found)


def test_history_has_one_value_an_epoch_and_the_rates_of_both_phases(whole):
    history = whole[0].history
    for name in ("loss", "accuracy", "macro_f1", "val_loss", "val_accuracy", "val_macro_f1", "seconds"):
        assert len(history[name]) == 3, name
    assert history["learning_rate"] == pytest.approx([3e-3, 3e-4, 3e-4])


def test_the_scores_of_an_epoch_are_those_of_scikit_learn(sides):
    from sklearn.metrics import f1_score

    done = fields.fit("small", sides, **{**TINY, "epochs": 1})
    truth, shares = done.predictions(sides["validation"])
    said = shares >= 0.5
    f1 = f1_score(truth, said, average=None, zero_division=np.nan)
    assert done.history["val_macro_f1"][0] == pytest.approx(np.nanmean(f1), abs=1e-6)
    assert done.history["val_accuracy"][0] == pytest.approx((said == truth).mean())
    loss = -np.mean(truth * np.log(shares) + (1 - truth) * np.log(1 - shares))
    assert done.history["val_loss"][0] == pytest.approx(loss, rel=1e-4)


def test_one_class_an_image():
    x, _ = squares.make(64, 0)
    y = np.eye(3, dtype="f4")[np.arange(64) % 3]
    done = fields.fit("small", {"train": (x, y), "validation": (x, y)}, kind="single", balance=True, **TINY)
    shares = done.predict(x)
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-5)
    assert (done.labels(shares).sum(axis=1) == 1).all()
    assert done.history["val_accuracy"][-1] == pytest.approx((shares.argmax(1) == y.argmax(1)).mean())


def test_class_weights_balance_what_is_there():
    class Train:
        total, classes, counts = 100, ("a", "b", "c"), np.array([50, 10, 0])

    assert fitting._balanced(Train, "multi").tolist() == [1.0, 9.0, 1.0]
    single = fitting._balanced(Train, "single")
    assert single[0] * 50 == pytest.approx(single[1] * 10)


def test_the_thresholds_give_the_best_f1():
    from sklearn.metrics import f1_score

    random = np.random.default_rng(0)
    truth = (random.random((60, 3)) < [0.1, 0.5, 0.0]).astype("f4")
    shares = (0.3 * truth + 0.7 * random.random((60, 3))).round(1).astype("f4")
    found = fields.training.best_thresholds(truth, shares)
    for k in (0, 1):
        every = [f1_score(truth[:, k], shares[:, k] >= t) for t in np.arange(0.01, 1, 0.02)]
        assert f1_score(truth[:, k], shares[:, k] >= found[k]) == pytest.approx(max(every))
    assert found[2] == 0.5


# The folder


def test_a_kept_classifier_answers_the_same(whole, sides):
    again = models.load(whole[1])
    x = sides["validation"][0]
    np.testing.assert_array_equal(again.predict(x), whole[0].predict(x))
    np.testing.assert_array_equal(again.thresholds, whole[0].thresholds)
    assert (again.kind, again.classes, again.history) == (whole[0].kind, whole[0].classes, whole[0].history)
    np.testing.assert_array_equal(again.predict(x), again.predict(x.astype("f4") / 255))


def test_a_finished_run_is_returned_and_another_refused(whole, sides):
    done, folder, options = whole
    before = (folder / "_manifest.json").stat().st_mtime_ns
    assert same(fields.fit("small", sides, folder=folder, **options), done)
    assert (folder / "_manifest.json").stat().st_mtime_ns == before
    with pytest.raises(training.TrainingError, match=r"freeze \(was 1, now 0\)"):
        fields.fit("small", sides, folder=folder, **{**options, "freeze": 0})


def test_an_altered_part_is_refused(whole, tmp_path):
    folder = shutil.copytree(whole[1] / "model", tmp_path / "model")
    raw = bytearray((folder / "model.keras").read_bytes())
    raw[len(raw) // 2] ^= 1
    (folder / "model.keras").write_bytes(raw)
    with pytest.raises(ModelError, match=r"model\.keras is altered or damaged"):
        models.load(folder)
    with pytest.raises(ModelError, match="`arset fields train`"):
        models.load(tmp_path / "nowhere", kind="images")


CHILD = """
import os, signal, sys
sys.path.insert(0, {here!r})
import keras, squares
from arsetlib import fields

class Kill(keras.callbacks.Callback):
    def on_train_batch_begin(self, batch, logs=None):
        if self.model.optimizer.iterations.numpy() == 4:  # of the second phase: in its second epoch
            os.kill(os.getpid(), signal.SIGKILL)

fields.fit("small", squares.sides(), folder={folder!r}, callbacks=[Kill()], **{options!r})
"""


def test_a_killed_run_goes_on_and_ends_the_same(whole, sides, tmp_path):
    from arsetlib.training.callbacks import Backup

    done, _, options = whole
    code = CHILD.format(here=str(HERE), folder=str(tmp_path / "run"), options=options)
    died = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=HERE.parent, timeout=300)
    assert died.returncode == -9, died.stderr[-2000:]
    assert Backup(tmp_path / "run" / BACKUP, None).epochs == 2
    resumed = fields.fit("small", sides, folder=tmp_path / "run", **options)
    assert same(resumed, done)
    for name in ("loss", "val_loss", "learning_rate"):
        assert resumed.history[name] == done.history[name]


# Scores


def test_scores_are_those_of_scikit_learn_and_gaps_are_nan():
    from sklearn import metrics

    random = np.random.default_rng(1)
    truth = (random.random((50, 4)) < [0.5, 0.2, 0.1, 0.0]).astype("f4")
    shares = (0.4 * truth + 0.6 * random.random((50, 4))).astype("f4")
    found = score("x", truth, shares, classes="abcd", thresholds=[0.5, 0.4, 0.9, 0.99])
    said = shares >= np.array([0.5, 0.4, 0.9, 0.99])
    np.testing.assert_allclose(found.f1[:3], metrics.f1_score(truth, said, average=None, zero_division=0)[:3])
    assert np.isnan(found.f1[3])
    assert np.isnan(found.average_precision[3])
    assert found.macro_f1 == pytest.approx(found.f1[:3].mean())
    expected = metrics.average_precision_score(truth[:, :3], shares[:, :3], average="macro")
    assert found.mean_average_precision == pytest.approx(expected)
    assert found.accuracy == pytest.approx((said == truth).mean())
    assert found.exact == pytest.approx(metrics.accuracy_score(truth, said))
    assert found.by_class().loc["b", "images"] == truth[:, 1].sum()


def test_a_histogram_forgets_where_a_pixel_is():
    x, y = squares.make(4, 0)
    mixed = np.random.default_rng(0).permutation(x.reshape(4, -1, 4), axis=1).reshape(x.shape)
    one, two = (histograms(fields.feeds.feed((v, y), batch=4, size=32, kind="multi"))[0] for v in (x, mixed))
    np.testing.assert_allclose(one, two, atol=1e-5)
    np.testing.assert_allclose(one[:, :16].sum(axis=1), 1, rtol=1e-5)


# Several devices


TWO = """
import json, sys
sys.path.insert(0, {here!r})
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import contextlib, squares
from arsetlib import fields

losses = []
for strategy in (None, tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])):
    with strategy.scope() if strategy else contextlib.nullcontext():
        model = squares.network()
    found = fields.fit(model, squares.sides(), strategy=strategy, epochs=3, batch=32, optimizer="sgd",
                       learning_rate=0.1, progress=False)
    losses.append((found.notes["devices"], found.history["loss"], found.history["val_loss"]))
print(json.dumps(losses))
"""


def test_two_devices_give_the_losses_of_one():
    code = TWO.format(here=str(HERE))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=HERE.parent, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    (one, *losses), (two, *others) = json.loads(done.stdout.splitlines()[-1])
    assert (one, two) == (1, 2)
    np.testing.assert_allclose(losses, others, rtol=1e-5)


# What is refused


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kind": "many"}, "Expected kind = 'multi', 'single'"),
        ({"monitor": "val_map"}, "Expected monitor"),
        ({"epochs": 0}, "epochs to be a whole number of at least 1"),
        ({"strategy": "cloud"}, "Expected strategy = None or 'mirrored' or 'workers'"),
        ({"balance": "equal"}, "balance = True, False or 9 numbers from 0 on, received 'equal'"),
        ({"balance": [1, 2]}, "9 numbers from 0 on"),
        ({"optimizer": "nadia"}, "optimiser of Keras"),
        ({"kind": "single"}, "exactly one 1 in each row"),
    ],
)
def test_wrong_options_are_refused(sides, options, words):
    with pytest.raises((fields.ImageError, training.TrainingError), match=words):
        fields.fit("small", sides, **{**TINY, **options})


def test_sides_and_images_that_do_not_fit(sides, whole):
    x, y = sides["train"]
    with pytest.raises(fields.ImageError, match="sides lacks validation"):
        fields.fit("small", {"train": (x, y)}, **TINY)
    with pytest.raises(fields.ImageError, match="labels of 0 and 1"):
        fields.fit("small", {**sides, "train": (x, y * 2)}, **TINY)
    with pytest.raises(fields.ImageError, match="Expected images"):
        fields.fit("small", {**sides, "train": (x[:5], y)}, **TINY)
    with pytest.raises(fields.ImageError, match="takes"):
        fields.fit(networks.build("small", size=32, classes=3), sides, **TINY)
    with pytest.raises(fields.ImageError, match=r"Expected images \(B, 32, 32, 4\), received"):
        whole[0].predict(x[:, :16])


def test_a_loss_that_is_not_finite_stops_with_its_step(sides):
    with pytest.raises(training.TrainingError, match=r"(nan|inf) in epoch 1, step \d of 3. Take a lower learning_rate"):
        fields.fit("small", sides, **{**TINY, "optimizer": "sgd", "learning_rate": 1e30})


# The command line


def test_convert_train_and_evaluate_in_a_shell(tmp_path):
    from typer.testing import CliRunner

    from arsetlib import cli, simulate

    simulate.fields(tmp_path / "fields", fields=30, chips=2, size=64, jobs=1, progress=False)

    def call(*words, code=0):
        done = CliRunner().invoke(cli.app, ["fields", *map(str, words)])
        assert done.exit_code == code, done.output
        return done

    said = json.loads(call("convert", tmp_path / "fields", tmp_path / "stored", "--json").stdout)
    assert sum(said["images"].values()) == 60
    assert said["simulated"]
    run = ["train", tmp_path / "stored", tmp_path / "run", "--size", 32, "--epochs", 1, "--batch", 16, "--json"]
    report = json.loads(call(*run).stdout)
    assert list(report["test"]) == ["small", "majority", "random forest"]
    assert report["simulated"]
    words = call("evaluate", tmp_path / "run", tmp_path / "stored").stdout
    assert "SIMULATED images" in words
    assert "random forest" in words
    for wrong, expected in (
        (["train", tmp_path / "stored", tmp_path / "other", "--model", "smal"], "Did you mean 'small'"),
        ([*run, "--epochs", 2], "epochs (was 1, now 2)"),
        (["train", tmp_path / "nowhere", tmp_path / "other"], "nowhere"),
        (["evaluate", tmp_path / "nowhere", tmp_path / "stored"], "arset fields train"),
    ):
        assert expected in str(call(*wrong, code=1).exception)
