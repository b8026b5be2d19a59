"""Segmentation models: shapes, weights, saving; training, mapping and scoring with them. No network, small models."""

import functools
import inspect
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from arsetlib import checksums, groves, models, training
from arsetlib.groves import GroveError
from arsetlib.groves.losses import make_loss
from arsetlib.groves.training import validation_iou
from arsetlib.models import ModelError, segmentation
from arsetlib.training import TrainingError

keras = pytest.importorskip("keras")

SMALL = {
    "unet": {"filters": (16, 12, 8, 8)},
    "segnet": {"filters": (16, 12, 8, 8)},
    "fcn8": {"dense": 16},
    "pspnet": {"filters": 32},
}


RUN = {"size": 64, "options": {"alpha": 0.25, **SMALL["unet"]}, "learning_rate": 0.01, "progress": False}


def small(name="unet", **changed):
    """A model of a tenth of a million parameters."""
    given = {"encoder": "mobilenet", "size": 64, "alpha": 0.25} | SMALL[name] | changed
    return segmentation.build(name, **given)


@functools.cache
def of_five_bands(name):
    return small(name, channels=5)


def images(count=2, size=64, channels=3):
    return np.random.default_rng(0).random((count, size, size, channels), dtype=np.float32)


@pytest.fixture(scope="module")
def unet():
    return small()


@pytest.fixture(scope="module")
def greens():
    """Made-up tiles: green discs on brown, with a class for each; and a data set of them."""
    import tensorflow as tf

    rng = np.random.default_rng(1)
    rows, columns = np.mgrid[:64, :64]
    tiles, masks = [], []
    for _ in range(8):
        mask = np.zeros((64, 64), np.uint8)
        mask[:, rng.integers(40, 56) :] = 2
        for i, j in rng.integers(8, 56, (3, 2)):
            mask[(rows - i) ** 2 + (columns - j) ** 2 < 80] = 1
        colours = np.array([[0.6, 0.5, 0.3], [0.1, 0.4, 0.1], [0.6, 0.8, 0.3]], np.float32)
        tiles.append(colours[mask] + rng.normal(0, 0.02, (64, 64, 3)).astype(np.float32))
        masks.append(np.eye(3, dtype=np.float32)[mask])
    made = tf.data.Dataset.from_tensor_slices((np.clip(tiles, 0, 1), np.array(masks)))
    return {"train": made.batch(4), "validation": made.take(4).batch(4)}


def tiny():
    """A model that compiles in a second: it only sees colours."""
    image = keras.Input((64, 64, 3))
    shares = keras.layers.Conv2D(3, 1, activation="softmax")(image)
    return keras.Model(image, shares, name="tiny")


@pytest.fixture(scope="module")
def trained(greens, tmp_path_factory):
    """A run of 24 steps, and its folder."""
    folder = tmp_path_factory.mktemp("run") / "unet"
    made = groves.fit("unet", greens, **RUN, epochs=12, folder=folder, notes={"simulated": True})
    return made, folder


@pytest.fixture
def grove(tmp_path):
    """Two captures with masks as files."""
    rng = np.random.default_rng(2)
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for name in ("a", "b"):
        mask = np.zeros((100, 130), np.uint8)
        mask[20:60, 30:80], mask[:, 110:] = 1, 2
        mask[:5] = 255
        image = rng.integers(0, 255, (100, 130, 3), dtype=np.uint8)
        Image.fromarray(image).save(tmp_path / "images" / f"{name}.png")
        Image.fromarray(mask).save(tmp_path / "masks" / f"{name}.png")
    return tmp_path


# -- models ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", segmentation.ARCHITECTURES)
def test_a_model_gives_class_shares_at_the_size_of_the_image(name):
    model = segmentation.build(name, encoder="vgg16", size=(64, 96), classes=4, **SMALL[name])
    assert model.input_shape == (None, 64, 96, 3)
    assert model.output_shape == (None, 64, 96, 4)
    shares = np.asarray(model(np.full((1, 64, 96, 3), 0.5, np.float32)))
    np.testing.assert_allclose(shares.sum(-1), 1, atol=1e-5)
    assert not [layer for layer in model.layers if isinstance(layer, keras.layers.Lambda)]


def test_running_means_follow_a_short_training(unet):
    momenta = {layer.momentum for layer in unet.layers if isinstance(layer, keras.layers.BatchNormalization)}
    assert momenta == {0.9}


def test_resnet50_has_its_five_stages():
    from arsetlib.models.segmentation import encoders

    _, stages = encoders.stages("resnet50", (96, 64, 3))
    assert [tuple(s.shape[1:]) for s in stages] == [
        (48, 32, 64), (24, 16, 256), (12, 8, 512), (6, 4, 1024), (3, 2, 2048),
    ]  # fmt: skip


@pytest.mark.parametrize("name", segmentation.ARCHITECTURES)
def test_a_saved_model_comes_back_in_safe_mode_with_the_same_answers(name, tmp_path):
    model = of_five_bands(name)
    model.save(tmp_path / "model.keras")
    shares = np.asarray(model(images(channels=5)))
    np.testing.assert_allclose(shares.sum(-1), 1, atol=1e-5)
    np.testing.assert_array_equal(segmentation.load(tmp_path / "model.keras")(images(channels=5)), shares)


def test_the_same_seed_gives_the_same_model_and_leaves_pythons_numbers_alone(unet):
    import random

    random.seed(5)
    one, other, third = unet, small(seed=0), small(seed=4)
    assert random.random() == random.Random(5).random()
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert any((a != c).any() for a, c in zip(one.get_weights(), third.get_weights(), strict=True))


@pytest.mark.parametrize("encoder", ["vgg16", "mobilenet"])
def test_the_input_is_prepared_inside_the_model_as_keras_does_it(encoder):
    from arsetlib.models.segmentation.encoders import STYLES, Standardise

    x = images(1, 32)
    theirs = {"vgg16": keras.applications.vgg16, "mobilenet": keras.applications.mobilenet}[encoder]
    ours = Standardise(STYLES[encoder])(x)
    np.testing.assert_allclose(ours, theirs.preprocess_input(x * 255.0), atol=1e-4)


def test_fcn8_starts_its_steps_up_as_bilinear():
    layer = of_five_bands("fcn8").get_layer("up1")
    ramp = np.ones((1, 8, 8, 3), np.float32) * np.arange(8, dtype=np.float32)[:, None, None]
    big = np.asarray(layer(ramp))
    assert big.shape == (1, 64, 64, 3)
    np.testing.assert_allclose(big[0, 8:-8, 30, 1], np.arange(8, 56) / 8 - 7 / 16, atol=1e-5)


def test_pyramid_pools_are_means_of_parts_that_need_not_divide_the_side():
    from arsetlib.models.segmentation.decoders import PyramidPool

    x = np.arange(7 * 7, dtype=np.float32).reshape(1, 7, 7, 1)
    got = np.asarray(PyramidPool(3)(x))[0, :, :, 0]
    expected = [[x[0, a:b, c:d].mean() for c, d in ((0, 3), (2, 5), (4, 7))] for a, b in ((0, 3), (2, 5), (4, 7))]
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_more_bands_keep_pretrained_filters_and_the_size_of_their_answer(tmp_path):
    donor = keras.applications.MobileNet(include_top=False, weights=None, input_shape=(224, 224, 3), alpha=0.25)
    donor.save_weights(tmp_path / "notop.weights.h5")
    five = small(channels=5, weights=tmp_path / "notop.weights.h5")
    kernel = donor.get_layer("conv1").get_weights()[0]
    wide = five.get_layer("conv1").get_weights()[0]
    np.testing.assert_allclose(wide[:, :, :3], kernel * 3 / 5, rtol=1e-6)
    np.testing.assert_allclose(wide.sum(axis=2), kernel.sum(axis=2), atol=1e-5)
    for name in ("conv_pw_5", "conv_dw_11_bn"):
        for a, b in zip(five.get_layer(name).get_weights(), donor.get_layer(name).get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)


def test_an_encoder_is_handed_on_from_a_trained_model(unet, tmp_path):
    from arsetlib.models.segmentation import encoders

    unet.save(tmp_path / "unet.keras")
    other = small("segnet", size=96, seed=9, weights=tmp_path / "unet.keras")
    ours, theirs = (model.get_layer("conv_pw_7") for model in (other, unet))
    np.testing.assert_array_equal(ours.get_weights()[0], theirs.get_weights()[0])
    ours.set_weights([0 * ours.get_weights()[0]])
    encoders.set_weights(other, "mobilenet", 3, groves.Segmenter(unet))
    np.testing.assert_array_equal(ours.get_weights()[0], theirs.get_weights()[0])


def test_no_network_is_told_with_what_to_do(monkeypatch):
    def no_network(*_, **__):
        raise Exception("URL fetch failure")

    monkeypatch.setattr(keras.utils, "get_file", no_network)
    with pytest.raises(ModelError, match=r"mobilenet could not be fetched.*\.h5 elsewhere.*weights='PATH'"):
        segmentation.build("unet", size=64, weights="imagenet")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"size": 100}, "multiple of 32, received 100.*nearest are 96 and 128"),
        ({"size": (64, 16)}, "multiple of 32, received 16"),
        ({"channels": 1}, "3 channels .* or more, received 1"),
        ({"classes": 1}, "2 classes or more"),
        ({"encoder": "resnet"}, "no encoder 'resnet'.*Did you mean 'resnet50'"),
        ({"encoder": "VGG-16"}, "Did you mean 'vgg16'"),
        ({"weights": "nowhere.h5"}, "no file of weights nowhere.h5"),
        ({"dense": 8}, "unet on mobilenet has no option dense"),
        ({"weights": "imagenet"}, "alpha = 1 only"),
    ],
)
def test_what_cannot_be_built_is_explained(changed, message):
    with pytest.raises(ModelError, match=message):
        small(**changed)


def test_an_unknown_architecture_is_told_with_the_nearest():
    with pytest.raises(ModelError, match=r"no architecture 'u-net'.*Did you mean 'unet'"):
        segmentation.build("u-net")


def test_weights_of_another_encoder_do_not_fit(unet):
    from arsetlib.models.segmentation import encoders

    wide = keras.Sequential([keras.Input((64, 64, 3)), keras.layers.Conv2D(16, 3, name="conv1", use_bias=False)])
    for other, message in ((wide, r"'conv1' .* received \[\(3, 3, 3, 16\)\]"), (tiny(), "received none")):
        with pytest.raises(ModelError, match=message):
            encoders.set_weights(unet, "mobilenet", 3, other)


def test_a_file_that_is_no_model_is_named(tmp_path):
    (tmp_path / "model.keras").write_bytes(b"nothing")
    with pytest.raises(ModelError, match=r"model\.keras cannot be loaded in safe mode"):
        segmentation.load(tmp_path / "model.keras")


# -- losses and training -----------------------------------------------------------------------------------------------


def test_weighted_crossentropy_is_that_of_a_plain_loop_and_skips_pixels_without_label():
    rng = np.random.default_rng(3)
    shares = rng.dirichlet(np.ones(3), (1, 4, 4)).astype(np.float32)
    truth = np.eye(3, dtype=np.float32)[rng.integers(0, 3, (1, 4, 4))]
    truth[0, 0] = 0
    weights = [1.0, 5.0, 0.5]
    total = norm = 0.0
    for i in range(1, 4):
        for j in range(4):
            k = truth[0, i, j].argmax()
            total, norm = total - weights[k] * np.log(shares[0, i, j, k]), norm + weights[k]
    assert float(make_loss("crossentropy", weights)(truth, shares)) == pytest.approx(total / norm, rel=1e-5)


@pytest.mark.parametrize("name", ["crossentropy", "dice", "focal"])
def test_a_right_answer_has_less_loss_than_a_wrong_one(name):
    truth = np.eye(3, dtype=np.float32)[np.random.default_rng(4).integers(0, 3, (2, 8, 8))]
    right, wrong = 0.05 / 3 + 0.95 * truth, 0.05 / 3 + 0.95 * np.roll(truth, 1, axis=-1)
    loss = make_loss(name)
    assert float(np.mean(loss(truth, right))) < float(np.mean(loss(truth, wrong)))


def test_dice_skips_pixels_without_label():
    rng = np.random.default_rng(7)
    truth = np.eye(3, dtype=np.float32)[rng.integers(0, 3, (1, 6, 6))]
    shares = rng.dirichlet(np.ones(3), (1, 6, 6)).astype(np.float32)
    truth[0, 3:] = 0
    loss = make_loss("dice")
    assert float(loss(truth, shares)) == pytest.approx(float(loss(truth[:, :3], shares[:, :3])), rel=1e-5)


def test_a_run_learns_and_keeps_what_it_was(trained):
    made, folder = trained
    assert made.history["loss"][-1] < made.history["loss"][0]
    assert {"accuracy", "val_accuracy", "mean_iou", "val_mean_iou", "seconds"} <= set(made.history)
    assert made.notes["best_epoch"] == 1 + int(np.argmax(made.history["val_mean_iou"]))
    assert min(made.notes["validation_iou"]) > 0.4  # its running means have followed: each class is found
    assert made.notes["verdict"] == "valid"
    back = models.load(folder)
    tiles = (images() * 255).astype(np.uint8)
    np.testing.assert_array_equal(back.shares(tiles), made.shares(tiles))
    assert (back.classes, back.history) == (made.classes, made.history)
    assert not (folder / "_work").exists()


def test_a_finished_run_is_returned_and_another_refused(trained, greens):
    made, folder = trained
    again = groves.fit("unet", greens, **RUN, epochs=12, folder=folder)
    assert again.history == made.history
    with pytest.raises(RuntimeError, match=r"epochs \(was 12, now 3\)"):
        groves.fit("unet", greens, **RUN, epochs=3, folder=folder)


def test_a_run_that_was_stopped_goes_on_after_its_last_epoch(greens, tmp_path):
    class Stop(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt

    given = {"epochs": 2, "progress": False, "folder": tmp_path / "run", "optimizer": "adadelta", "loss": "dice"}
    with pytest.raises(KeyboardInterrupt):
        groves.fit(tiny(), greens, callbacks=[Stop()], **given)
    seen = []
    told = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: seen.append(epoch))
    made = groves.fit(tiny(), greens, callbacks=[told], **given)
    assert seen == [1]
    assert len(made.history["loss"]) == 2
    assert made.notes["learning_rate"] == 1.0


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"optimizer": "adm"}, "Expected an optimiser of Keras"),
        ({"loss": "iou"}, "Expected loss = 'crossentropy' or 'dice' or 'focal', received 'iou'"),
        ({"monitor": "loss"}, "Expected monitor"),
        ({"balance": "even"}, "received 'even'"),
        ({"encoders": "vgg16"}, "no option 'encoders'"),
    ],
)
def test_a_run_with_wrong_options_is_explained(greens, changed, message, unet):
    with pytest.raises(TrainingError, match=message):
        groves.fit(unet, greens, progress=False, **changed)


@pytest.mark.parametrize(
    ("train", "validation", "verdict"),
    [
        ([0.5, 0.8], [0.5, 0.7], "valid"),
        ([0.5, 0.95], [0.5, 0.6], "overfit"),
        ([0.501, 0.505], [0.5, 0.5], "underfit"),
    ],
)
def test_verdict_is_the_rule_of_the_thesis(train, validation, verdict):
    assert groves.verdict({"accuracy": train, "val_accuracy": validation}) == verdict


def test_a_run_that_finds_no_tree_is_underfit_however_high_its_accuracy():
    lines = {"accuracy": [0.6, 0.8], "val_accuracy": [0.6, 0.8]}
    assert groves.verdict(lines, [0.8, 0.0, 0.7]) == "underfit"
    assert groves.verdict(lines, [0.8, np.nan, 0.7]) == "valid"  # the validation has no tree


def test_validation_iou_is_that_of_a_plain_loop_over_labelled_pixels():
    rng = np.random.default_rng(8)
    truth, said = rng.integers(0, 2, (2, 3, 64, 64))
    hot = np.eye(3, dtype=np.float32)[truth]
    hot[:, :9] = 0
    echo = groves.Segmenter(Echo()).model
    x = np.repeat(said[..., None], 3, axis=-1).astype(np.float32) / 255
    a, b = truth[:, 9:], said[:, 9:]
    expected = [((a == k) & (b == k)).sum() / ((a == k) | (b == k)).sum() for k in (0, 1)]
    np.testing.assert_allclose(validation_iou(echo, [(x[:2], hot[:2]), (x[2:], hot[2:])])[:2], expected)
    assert np.isnan(validation_iou(echo, [(x, hot)])[2])


def test_the_search_of_the_thesis_trains_tiles_and_stops_runs_far_behind(greens):
    """A learning rate of 0 stays where it began; the bandit stops it, once the other has learned."""
    seen = []

    def fit(name, sides, **settings):
        seen.append((name, settings["batch"], settings["encoder"]))
        return groves.fit(tiny(), sides, **settings)

    space = {"learning_rate": [0.3, 1e-9], "batch": [8], "encoder": ["vgg16"]}
    fit.__signature__ = inspect.signature(groves.fit)
    found = training.search(
        space, lambda batch: greens, fit=fit, sampler="grid", pruner="bandit", monitor="val_accuracy", seed=1,
        model="unet", epochs=8, patience=8, progress=False,
    )  # fmt: skip
    assert set(seen) == {("unet", 8, "vgg16")}
    assert (found.best["model"], found.best["learning_rate"]) == ("unet", 0.3)
    assert found.table["parameters"][0] == 12
    assert sorted(found.table["state"]) == ["complete", "pruned"]


# -- maps and scores ---------------------------------------------------------------------------------------------------


class Echo:
    """A 'model' that says of each pixel what its red value is: 0, 1 or 2."""

    name, input_shape, output_shape = "echo", (None, 32, 32, 3), (None, 32, 32, 3)

    def __call__(self, x, training=False):
        import tensorflow as tf

        return tf.one_hot(tf.cast(tf.round(x[..., 0] * 255.0), tf.int32), 3)

    def get_weights(self):
        return [np.zeros(1)]


@pytest.mark.parametrize("overlap", [0, 0.25, 0.6])
def test_a_mapped_capture_is_what_the_model_says_of_each_pixel(overlap):
    truth = np.random.default_rng(5).integers(0, 3, (75, 101)).astype(np.uint8)
    image = np.repeat(truth[:, :, None], 3, axis=2)
    from arsetlib.groves import prediction

    np.testing.assert_array_equal(prediction.mapped(groves.Segmenter(Echo()), image, overlap, batch=3), truth)


def test_blended_shares_sum_to_one(unet):
    from arsetlib.groves import prediction

    image = np.random.default_rng(6).integers(0, 255, (100, 150, 3), dtype=np.uint8)
    shares = prediction.class_shares(groves.Segmenter(unet), image, 0.5)
    assert shares.shape == (100, 150, 3)
    np.testing.assert_allclose(shares.sum(-1), 1, atol=1e-5)


def test_a_shrunken_capture_is_mapped_at_its_own_size():
    truth = np.zeros((200, 260), np.uint8)
    truth[60:140, 100:180], truth[:, 220:] = 1, 2
    image = np.repeat(truth[:, :, None], 3, axis=2)
    from arsetlib.groves import prediction

    got = prediction.mapped(groves.Segmenter(Echo(), shrink=2.5), image)
    assert got.shape == truth.shape
    assert (got == truth).mean() > 0.97


def test_maps_of_a_folder_are_whole_and_a_second_run_makes_only_the_rest(trained, grove, monkeypatch):
    from arsetlib.groves import prediction

    made, folder = trained
    out = grove / "maps"
    paths = groves.predict(folder, grove / "images", out, progress=False)
    assert [p.name for p in paths] == ["a.png", "b.png"]
    with Image.open(paths[0]) as picture:
        assert picture.mode == "P"
        assert picture.size == (130, 100)
        assert "SIMULATED" in picture.text["Description"]
        assert np.asarray(picture).max() <= 2
    paths[1].unlink()
    done = []
    real = prediction.mapped
    monkeypatch.setattr(prediction, "mapped", lambda *a, **k: done.append(a[4]) or real(*a, **k))
    groves.predict(made, grove, out, progress=False)
    assert len(done) == 1
    assert done[0].endswith("b.png")
    assert not list(out.glob(".*"))
    with pytest.raises(GroveError, match="maps of another run.*overlap"):
        groves.predict(made, grove, out, overlap=0.5, progress=False)


def test_an_old_map_does_not_pass_for_that_of_another_image(trained, grove):
    groves.predict(trained[0], grove, grove / "out", progress=False)
    Image.fromarray(np.zeros((100, 130, 3), np.uint8)).save(grove / "images" / "a.png")
    with pytest.raises(GroveError, match=r"a\.png is no map of .*another file of that name"):
        groves.predict(trained[0], grove, grove / "out", progress=False)


def test_a_list_of_folders_is_all_their_images(grove):
    from arsetlib.groves import layouts

    for place in (grove, grove / "images"):
        assert [(c.name, c.mask.name) for c in layouts.as_captures([place])] == [("a", "a.png"), ("b", "b.png")]
    with pytest.raises(GroveError, match="Two captures are called a, b"):
        layouts.as_captures([grove, grove / "images"])


def test_a_picture_that_would_fill_the_memory_is_refused(trained, grove, monkeypatch):
    from arsetlib.groves import pictures

    monkeypatch.setattr(pictures, "MOST_PIXELS", 1000)
    with pytest.raises(GroveError, match=r"a\.png has 130 × 100 pixels, more than 1,000"):
        groves.predict(trained[0], grove / "images" / "a.png", grove / "out", progress=False)


def test_maps_are_scored_with_the_classes_and_colours_they_were_made_with(grove):
    made = groves.Segmenter(Echo(), ("soil", "weed", "vine"), ("#000000", "#00ff00", "#ff0000"))
    mask = np.asarray(Image.open(grove / "masks" / "a.png"))
    Image.fromarray(np.where(mask == 255, 0, mask).astype(np.uint8)[..., None].repeat(3, 2)).save(grove / "a.png")
    groves.predict(made, grove / "a.png", grove / "maps", progress=False)
    colours = np.array([[0, 0, 0], [0, 255, 0], [255, 0, 0]], np.uint8)
    Image.fromarray(colours[np.where(mask == 255, 0, mask)]).save(grove / "coloured.png")  # as an editor saves it
    told = groves.evaluate(
        grove / "maps", [groves.Capture("a", grove / "a.png", grove / "coloured.png")], progress=False
    )
    assert told.confusion.names == ("soil", "weed", "vine")
    assert told.confusion.mean_iou == 1


def test_evaluate_scores_maps_and_models_alike_and_leaves_out_what_is_not_labelled(trained, grove):
    made, _ = trained
    groves.predict(made, grove, grove / "maps", progress=False)
    one = groves.evaluate(made, segment_captures(grove), progress=False)
    two = groves.evaluate(grove / "maps", segment_captures(grove), progress=False)
    assert one.captures == two.captures
    assert one.confusion.total == 2 * 95 * 130
    table = one.table("ours")
    assert list(table.columns[:5]) == ["frequency_weighted_iou", "mean_iou", "ground", "tree", "grass"]
    assert table.loc["ours", "mean_iou"] == pytest.approx(one.confusion.mean_iou)
    assert list(one.by_capture().index) == ["a", "b"]
    assert set(one.seconds) == {"a", "b"}


def segment_captures(grove):
    return [groves.Capture(n, grove / "images" / f"{n}.png", grove / "masks" / f"{n}.png") for n in ("a", "b")]


def test_boundary_f1_forgives_a_shift_within_tolerance_and_adds_up():
    from arsetlib.groves import scoring

    truth = np.zeros((60, 60), np.uint8)
    truth[20:40, 20:40] = 1

    def f1(*predicted):
        return scoring.boundary_f1(sum(scoring.border_counts(truth, p, 3) for p in predicted))

    assert f1(truth).tolist()[:2] == [1, 1]
    assert np.isnan(f1(truth)[2])
    assert f1(np.roll(truth, 3, 0)).tolist()[:2] == [1, 1]
    assert np.nanmean(f1(np.roll(truth, 8, (0, 1)))) < 0.7
    assert 0 < np.nanmean(f1(truth, np.zeros_like(truth))) < 1


def test_cost_tells_size_and_seconds(trained):
    told = groves.cost(trained[0], repeats=1)
    assert told["parameters"] == trained[0].model.count_params()
    assert told["bytes"] > 4 * told["parameters"]
    assert 0 < told["seconds_per_tile"] < told["seconds_per_capture"]


def test_what_does_not_fit_a_model_is_named_with_its_file(trained, grove):
    made, _ = trained
    Image.fromarray(np.full((100, 130, 4), 90, np.uint8)).save(grove / "four.png")
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(grove / "tiny.png")
    (grove / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing")
    for name, message in (
        ("four.png", r"four\.png has 4 bands, expected 3"),
        ("tiny.png", r"tiny\.png is 40 × 40 pixels, smaller than a tile"),
        ("broken.png", r"broken\.png is no picture that can be read"),
        ("none.png", r"no file or folder .*none\.png"),
    ):
        with pytest.raises(GroveError, match=message):
            groves.predict(made, grove / name, grove / "out", progress=False)
    Image.fromarray(np.zeros((90, 130), np.uint8)).save(grove / "masks" / "a.png")
    with pytest.raises(GroveError, match=r"a\.png has 130 × 90 pixels, its image a\.png has 130 × 100"):
        groves.evaluate(made, segment_captures(grove), progress=False)


def test_a_model_folder_that_was_altered_is_refused(trained, tmp_path):
    made, _ = trained
    folder = made.save(tmp_path / "copy")
    raw = bytearray((folder / "model.keras").read_bytes())
    raw[len(raw) // 2] ^= 1
    (folder / "model.keras").write_bytes(raw)
    with pytest.raises(ModelError, match="is altered or damaged"):
        models.load(folder)
    with pytest.raises(ModelError, match="`arset groves train`"):
        models.load(tmp_path / "nothing", kind="segmentation")
    with pytest.raises(ModelError, match="type 'segmentation', expected 'images'"):
        models.load(trained[1], kind="images")


def test_a_model_folder_of_an_earlier_version_is_read(trained, tmp_path):
    made, folder = trained
    shutil.copy(folder / "model" / "model.keras", tmp_path)
    sha256 = checksums.sha256(tmp_path / "model.keras")
    card = {"card": 1, "classes": made.classes, "colours": made.colours, "shrink": 2.5, "history": made.history}
    (tmp_path / "card.json").write_text(json.dumps(card | {"notes": {"simulated": True}, "sha256": sha256}))
    old, tiles = models.load(tmp_path), (images() * 255).astype(np.uint8)
    np.testing.assert_array_equal(old.shares(tiles), made.shares(tiles))
    assert (old.shrink, old.notes, old.history) == (2.5, {"simulated": True}, made.history)
    (tmp_path / "card.json").write_text(json.dumps(card | {"notes": {}, "sha256": "0" * 64}))
    with pytest.raises(ModelError, match="is altered or damaged"):
        models.load(tmp_path)


# -- a folder, and the shell -------------------------------------------------------------------------------------------


@pytest.fixture
def flown(tmp_path):
    """Six captures of a made-up flight."""
    from arsetlib import simulate

    return simulate.groves(tmp_path / "grove", captures=6, size=(192, 256), jobs=1, progress=False)


@pytest.mark.filterwarnings("ignore::arsetlib.groves.LeakWarning")
def test_a_folder_of_captures_becomes_a_scored_model(flown, tmp_path, monkeypatch):
    from arsetlib.groves import runs

    def fit(name, sides, **settings):
        return groves.fit(tiny(), sides, **settings)

    monkeypatch.setattr(runs, "fit", fit)
    made = groves.train_folder(
        flown, tmp_path / "run", size=64, grid="3x4", by="capture", shares=(0.5, 0.2, 0.3), epochs=1, progress=False
    )
    assert made.segmenter.shrink == 1
    assert made.segmenter.notes["simulated"]
    names = [c.name for side in made.sides.values() for c in side]
    assert sorted(names) == [f"capture_{k:02d}" for k in range(1, 7)]
    assert set(made.scores.captures) == {c.name for c in made.sides["test"]}
    assert made.scores.table().columns[0] == "frequency_weighted_iou"
    assert models.load(tmp_path / "run").notes["captures"]["test"] == [c.name for c in made.sides["test"]]


@pytest.mark.filterwarnings("ignore::arsetlib.groves.LeakWarning")
def test_by_flight_the_test_shows_no_ground_of_the_training(tmp_path):
    from arsetlib import groves, simulate
    from arsetlib.groves import runs

    found = groves.captures(simulate.groves(tmp_path / "g", captures=10, size=(64, 80), jobs=1, progress=False))
    sides = runs._split(found, (0.8, 0.1, 0.1), 0, "flight")
    assert set(sides) == {"train", "validation", "test"}
    assert groves.ground_seen([*sides["train"], *sides["validation"]], sides["test"]) == 0


def test_captures_of_two_sizes_are_not_trained_on_together(grove):
    Image.fromarray(np.zeros((200, 260, 3), np.uint8)).save(grove / "images" / "b.png")
    with pytest.raises(GroveError, match=r"a\.png and .*b\.png have other sizes"):
        groves.train_folder(grove, grove / "run", size=32, grid="2x3", progress=False)


@pytest.mark.parametrize(
    ("changed", "message"), [({"grid": "five"}, "grid such as 5x7"), ({"grid": "6x8"}, "Nothing is enlarged")]
)
def test_a_wrong_grid_is_explained(flown, tmp_path, changed, message):
    with pytest.raises(GroveError, match=message):
        groves.train_folder(flown, tmp_path / "run", size=64, progress=False, **changed)


def test_the_shell_maps_and_counts(trained, flown, tmp_path):
    from typer.testing import CliRunner

    from arsetlib.cli import app

    def run(*words):
        done = CliRunner().invoke(app, ["groves", *map(str, words)])
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    maps = run("predict", trained[1], flown, tmp_path / "maps", "--json")["maps"]
    assert len(maps) == 6
    where = ("--flight", flown / "flight.json", "--truth", flown / "trees.geojson", "--out", tmp_path / "trees.csv")
    told = run("count", flown / "masks", *where, "--radius", "0.3", "--json")
    assert told["simulated"]
    assert told["score"]["recall"] > 0.8
    assert (tmp_path / "trees.csv").read_text().startswith("tree,x,y,radius,area")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["count", "masks"], "Expected --flight, or --metres-per-pixel"),
        (["count", "masks", "--out", "trees.kml"], r"ending \.geojson or \.csv"),
        (["predict", "nowhere", "images", "maps"], "nowhere, found no such folder. Train one: `arset groves train`"),
        (["train", "nowhere", "run"], "nowhere is no folder"),
        (["train", "nowhere", "run", "--slim", "--encoder", "vgg16"], "--slim is for unet or segnet on mobilenet"),
    ],
)
def test_the_shell_tells_a_problem_in_one_message(monkeypatch, capsys, words, message):
    import re
    import sys

    from arsetlib import cli

    monkeypatch.setattr(sys, "argv", ["arset", "groves", *words])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 1
    told = capsys.readouterr().err
    assert told.startswith("arset: ")
    assert re.search(message, told)
