"""What test_backends asks of one backend of Keras, in a process of its own: KERAS_BACKEND is fixed at import.

    KERAS_BACKEND=jax python tests/on_backend.py FOLDER [kill]

prints JSON: check → "" or what went wrong. With ``kill`` the process trains into a folder and kills itself.
TensorFlow is not asked for what ELSEWHERE names: it computes all other tests, and they have the same promises.
"""

import functools
import json
import os
import signal
import sys
import traceback
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import few
import keras
import numpy as np
import pyarrow as pa
import pytest

from arsetlib import maps, models, pixels, samples, training
from arsetlib.samples import SampleError
from arsetlib.study import Season

FOLDER = Path(sys.argv[1])
BACKEND = os.environ["KERAS_BACKEND"]
ELSEWHERE = {
    "a_killed_training_ends_the_same": "test_training",
    "pretraining_reconstructs_continues_and_starts_a_training": "test_pretrain",
}
OPTIONS = {"epochs": 5, "patience": 2, "batch": 64, "seed": 9, "learning_rate": 0.05, "progress": False}
SCALER = samples.Scaler(few.STUDY.bands, (1000.0, 3000.0, 2000.0), (300.0, 700.0, 400.0))


def same_batches(table, study=few.STUDY, scaler=SCALER, epochs=(0, 3), **options):
    """Every batch on the device is that of the host: choices bit for bit, scaled values to rounding in float32."""
    host = samples.Loader(table, study, scaler, **options)
    device = samples.Loader(table, study, scaler, place="device", **options)
    for epoch in epochs:
        pairs = zip(host.arrays(epoch), device.arrays(epoch), strict=True)
        for ours, theirs in ((keras.tree.flatten(a), keras.tree.flatten(b)) for a, b in pairs):
            for expected, tensor in zip(ours, theirs, strict=True):
                received = keras.ops.convert_to_numpy(tensor)
                assert (received.dtype, received.shape) == (expected.dtype, expected.shape)
                np.testing.assert_allclose(received, expected, rtol=0 if scaler is None else 1e-5, atol=1e-6)


def check_random_windows_are_those_of_the_host():
    every = ("seen", "weight", "day_of_year")
    same_batches(few.make_table(), batch=64, seed=5, extras=every)
    same_batches(few.make_table(), scaler=None, batch=64, seed=2**40 + 1, extras=every)  # without scaling: bit for bit


def check_fixed_windows_are_those_of_the_host():
    for choose in ("random", "first", "last"):
        same_batches(few.make_table(), batch=100, start=77, choose=choose, shuffle=True, extras=("seen",))


def check_seasons_and_legends_are_those_of_the_host():
    """Over New Year; with a class that only the vegetation rule gives; with steps that hold many images."""
    fallow = replace(few.STUDY.legend.classes[0], key="fallow", codes=(), crop=False)
    legend = replace(few.STUDY.legend, classes=(*few.STUDY.legend.classes, fallow))
    for season in (Season(60, 30, 100, 150), Season(30, 1, 1, 10), Season(90, 45, 330, 360)):
        study = few.STUDY.replace(season=season, legend=legend)
        same_batches(few.make_table(), study, batch=128, extras=("seen", "day_of_year"))


def check_rows_without_images_and_with_many():
    table = few.make_table(40)
    empty = few.make_table(1, seed=3)
    columns = {name: pa.array([b""], pa.binary()) for name in pixels.SERIES}
    columns |= {"num_images": pa.array([0], pa.int32()), "pixel": pa.array([5], pa.int64())}
    empty = pa.table([columns.get(n, empty.column(n)) for n in empty.column_names], schema=empty.schema)
    same_batches(pa.concat_tables([empty, table]), batch=16, extras=("seen",))
    day = np.full(300, 100 + int(samples.start_days(2021, 1)[0]))
    batch = pixels.make_batch(
        day=day, scl=np.full(300, 4), bands=np.arange(900).reshape(300, 3) + 1, offsets=[0, 300], pixel=[1],
        year=[2021], area="west", block=[1], x=[400_005.0], y=[1_400_005.0], lon=-90.0, lat=34.0, label_code=[1],
    )  # fmt: skip
    many = pa.Table.from_batches([batch]).replace_schema_metadata(few.META.to_kv())
    same_batches(many, scaler=None, epochs=range(6), batch=4)


def check_a_streamed_table_goes_to_the_device_pool_by_pool():
    place = FOLDER / "table"
    for part in range(8):
        pixels.write(few.make_table(50 + part, seed=part), place / f"part-{part}.parquet", few.META)
    same_batches(place, batch=32, stream=samples.Streaming(pool=100), extras=("seen",))


def check_a_table_goes_to_the_device_once():
    loader = samples.Loader(few.make_table(), few.STUDY, SCALER, place="device")
    first, other = (loader.device.block(epoch, 0).arguments[0] for epoch in (0, 1))
    assert all(first[name] is other[name] for name in first)


def check_what_does_not_fit_or_is_not_offered_is_refused():
    refused = {
        "stream=Streaming(pool=": {"place": samples.Device(memory=10_000)},
        "choose = 'random', 'first', 'last'": {"start": 80},
        "fill = 'zeros'": {"fill": "last"},
        "['pixel']": {"extras": ("pixel",)},
        "place = 'host', 'device'": {"place": "moon"},
    }
    for words, options in refused.items():
        with pytest.raises(SampleError) as refusal:
            samples.Loader(few.make_table(), few.STUDY, None, **{"place": "device", **options})
        assert words in str(refusal.value)


def fit(**options):
    return training.fit(few.network(), few.make_sides(), few.STUDY, **{**OPTIONS, **options})


def same(one, other) -> bool:
    return all(map(np.array_equal, one.model.get_weights(), other.model.get_weights()))


def check_a_killed_training_ends_the_same():
    straight, resumed = fit(), fit(folder=FOLDER / "killed")
    assert same(straight, resumed)
    assert straight.history["val_loss"] == resumed.history["val_loss"]
    assert np.isfinite(straight.history["loss"]).all()
    assert min(straight.history["val_loss"]) < straight.history["val_loss"][0]  # it learns


def check_windows_on_the_device_train_as_those_of_the_host():
    host, device = fit(epochs=3), fit(epochs=3, place="device")
    np.testing.assert_allclose(device.history["loss"], host.history["loss"], rtol=1e-2)
    assert same(device, fit(epochs=3, place="device"))


def check_several_steps_of_a_call_are_those_of_single_calls():
    from arsetlib.samples.device import DeviceBatches

    single, most = fit(epochs=2, patience=1, place="device"), DeviceBatches.blocks
    DeviceBatches.blocks = lambda self, epoch, size=None: most(self, epoch, 2)
    try:
        several = fit(epochs=2, patience=1, place="device")
    finally:
        DeviceBatches.blocks = most
    np.testing.assert_allclose(several.history["loss"], single.history["loss"], rtol=1e-2)


def check_callbacks_mixed_precision_and_curves():
    rates = keras.callbacks.LearningRateScheduler(lambda epoch: 0.01 / (epoch + 1))
    folder = FOLDER / "curves"
    sides = few.make_sides()
    done = training.fit(
        "ltae", sides, few.STUDY, folder=folder, callbacks=[rates], mixed=True, options={"size": 16, "heads": 2},
        **{**OPTIONS, "epochs": 2, "patience": 1},
    )  # fmt: skip
    np.testing.assert_allclose(done.history["learning_rate"], [0.01, 0.005])
    assert done.notes["mixed"] is True
    assert {v.dtype for v in done.model.weights if "seed" not in v.path} <= {"float32", "int32", "uint32", "int64"}
    curves = training.scalars(folder / "logs")
    np.testing.assert_allclose(curves["validation/epoch_loss"], done.history["val_loss"], rtol=1e-5)
    assert len(training.pictures(folder / "logs")) == 2


def check_a_saved_model_predicts_the_same_in_any_batch_and_maps():
    done = fit(epochs=2, patience=1, folder=FOLDER / "run")
    loaded = models.load(FOLDER / "run", few.STUDY)
    x = np.random.default_rng(0).normal(size=(37, 6, 3)).astype("f4")
    whole = loaded.predict(x)
    np.testing.assert_allclose(whole, done.predict(x), rtol=1e-5)
    np.testing.assert_allclose(np.concatenate([loaded.predict(x[:5]), loaded.predict(x[5:])]), whole, rtol=1e-4)
    np.testing.assert_allclose(whole.sum(axis=1), 1, rtol=1e-5)
    made = maps.predict(loaded, few.make_table(), 80, FOLDER / "maps", area="west", year=2021, progress=False)
    assert made.info["pixels"]["predicted"] > 0


def check_pretraining_reconstructs_continues_and_starts_a_training():
    options = {"epochs": 4, "patience": 3, "batch": 32, "seed": 3, "learning_rate": 0.01, "progress": False}
    sides, size = few.make_sides(), {"size": 16, "heads": 2}
    straight = training.pretrain("ltae", sides, few.STUDY, options=size, **options)
    assert straight.history["loss"][-1] < straight.history["loss"][0]
    assert np.isfinite(straight.history["explained"]).all()

    class Stop(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    call = functools.partial(
        training.pretrain, "ltae", sides, few.STUDY, folder=FOLDER / "encoder", options=size, **options
    )
    with pytest.raises(KeyboardInterrupt):
        call(callbacks=[Stop()])
    assert same(straight, call())
    loaded = models.load(FOLDER / "encoder", few.STUDY)
    x = next(loaded.loader(few.make_table(40), 90).arrays())[0]
    np.testing.assert_allclose(loaded.vectors(x), straight.vectors(x), rtol=1e-5)
    with pytest.raises(models.ModelError, match="without any"):
        loaded.predict(x)
    tuned = training.fine_tune(loaded, sides, few.STUDY, freeze="body", **{**options, "epochs": 2, "patience": 1})
    np.testing.assert_allclose(tuned.vectors(x), loaded.vectors(x), rtol=1e-4, atol=1e-5)


def check_errors_of_training_name_step_and_remedy():
    with pytest.raises(training.TrainingError, match="The loss is nan in epoch 1, step [23] of"):
        fit(learning_rate=1e38)
    if BACKEND != "tensorflow":
        with pytest.raises(training.TrainingError, match="KERAS_BACKEND=tensorflow"):
            fit(strategy="mirrored")


def check_tensorflow_is_loaded_only_where_it_computes():
    assert ("tensorflow" in sys.modules) == (BACKEND == "tensorflow")


class Kill(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2:
            os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    if sys.argv[2:] == ["kill"]:
        fit(folder=FOLDER / "killed", callbacks=[Kill()])
    found = {}
    for name, check in list(globals().items()):
        key = name.removeprefix("check_")
        if key != name and not (BACKEND == "tensorflow" and key in ELSEWHERE):
            try:
                check()
                found[key] = ""
            except Exception:
                found[key] = traceback.format_exc()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
