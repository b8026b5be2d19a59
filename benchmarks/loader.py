"""Samples a second of the loader, against the row-by-row pipeline and against what else one might pick.

50,000 synthetic series of 40-75 images, made here from a seed, in windows of 120 days and batches of 1,024. All sides
give the same samples: one random image per step of 5 days, scaled, with one-hot labels. Rates are ratios within one
run; epochs differ, so that no side profits from the pools that the one before left in memory.
"""

import importlib.util
import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import measure
import numpy as np
import pyarrow as pa

from arsetlib import pixels, samples
from arsetlib.samples import kernels
from arsetlib.study import Study

PLACE = Path("data/bench/loader")
STUDY = Study.load("sample")
BATCH = 1024
ROWS = 50_000


# The table


def make_series(rows: int, seed: int) -> pa.Table:
    """Series of 40-75 images a year: a curve of the season, with noise as of a sensor."""
    random = np.random.default_rng(seed)
    count = random.integers(40, 76, rows)
    row = np.repeat(np.arange(rows), count)
    within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    year = np.where(np.arange(rows) % 2, 2021, 2020)
    spread = np.where(np.arange(75) < count[:, None], random.random((rows, 75)), 9)
    spread.sort(axis=1)
    of_year = (spread[row, within] * 285).astype(int) + within  # strictly ascending
    level = random.integers(400, 2500, (rows, 12))
    bands = level[row] * (1.3 + np.sin(of_year / 58)[:, None]) + random.normal(0, 40, (len(row), 12))
    x, y = 400_005 + 30.0 * (np.arange(rows) % 500), 1_400_005 - 30.0 * (np.arange(rows) // 500)
    batch = pixels.make_batch(
        day=samples.start_days(year, 1)[row] + of_year, scl=random.choice([4, 4, 5], len(row)),
        bands=bands.clip(1, 20_000).astype("<u2"), offsets=np.cumsum([0, *count]),
        pixel=pixels.pixel_id(x, y, 30) + seed * 2**40, year=year, area="bench", block=pixels.block_id(x, y, 600),
        x=x, y=y, lon=-90.0, lat=34.0, label_code=random.choice([1, 2, 3, 5, 24, 141], rows),
    )  # fmt: skip
    meta = pixels.Meta(STUDY.bands, "EPSG:5070", 30.0, "bench", True, extra={"block_m": 600.0})
    return pa.Table.from_batches([batch]).replace_schema_metadata(meta.to_kv())


def make_table(files: int) -> Path:
    """A table of so many files of 50,000 rows, made at the first call."""
    folder = PLACE / f"{files}x{ROWS}"
    for seed in range(files):
        file = folder / f"part-{seed}.parquet"
        if not file.exists():
            table = make_series(ROWS, seed)
            pixels.write(table, file, pixels.Meta.of(table))
    return folder


# Timing: one side is a function that gives the next epoch


class Side:
    """One way to get samples; each call runs over the next epoch, or over the first so many batches of it."""

    def __init__(self, epochs, batches: int | None = None):
        self.epochs, self.number, self.batches, self.samples = epochs, itertools.count(), batches, 0

    def __call__(self) -> None:
        epoch = self.epochs(next(self.number))
        self.samples = sum(batch[1].shape[0] for batch in itertools.islice(epoch, self.batches))


def rates(sides: dict[str, Side], repeats: int) -> dict[str, float]:
    """Samples a second of each side."""
    seconds = measure.sides(sides, repeats)
    return {name: side.samples / seconds[name] for name, side in sides.items()}


def without_numba(loader: samples.Loader):
    """The loader's epochs from the NumPy kernel."""

    def epochs(epoch):
        compiled, kernels._compiled = kernels._compiled, lambda: None
        try:
            yield from loader.arrays(epoch)
        finally:
            kernels._compiled = compiled

    return epochs


# What a user might pick instead


def tfrecord_side(table: pa.Table, scaler: samples.Scaler, limit: int) -> Side:
    """TFRecord: one Example a row with its byte strings, parsed, then the row-by-row parse, batch, prefetch."""
    import tensorflow as tf

    file = PLACE / "series.tfrecord"
    names = ("day", "scl", "bands")
    label = STUDY.legend.classes_of(table["label_code"].to_numpy())
    if not file.exists():
        with tf.io.TFRecordWriter(str(file)) as writer:
            for row, kind in zip(table.select([*names, "pixel", "year"]).to_pylist(), label.tolist(), strict=True):
                kinds = {n: tf.train.Feature(bytes_list=tf.train.BytesList(value=[row[n]])) for n in names}
                for name, value in (("class", kind), ("year", row["year"])):
                    kinds[name] = tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
                writer.write(tf.train.Example(features=tf.train.Features(feature=kinds)).SerializeToString())
    spec = {n: tf.io.FixedLenFeature([], tf.string) for n in names}
    spec |= {n: tf.io.FixedLenFeature([], tf.int64) for n in ("class", "year")}
    firsts = tf.constant(samples.start_days(np.arange(1970, 2100), 1))
    parse = samples.parser(STUDY, scaler)
    season = STUDY.season

    def one(row):
        day = tf.random.uniform([], season.first_day, season.last_day + 1, tf.int32)
        start = tf.gather(firsts, row["year"] - 1970) + day - 1
        draws = tf.cast(tf.random.uniform([season.steps], 0, 2**31 - 1, tf.int32), tf.int64) * 2
        return parse({**{n: row[n] for n in (*names, "class")}, "start": start, "draws": draws})

    data = tf.data.TFRecordDataset(str(file)).batch(BATCH).map(lambda text: tf.io.parse_example(text, spec))
    data = data.unbatch().shuffle(10 * BATCH).map(one, num_parallel_calls=tf.data.AUTOTUNE)
    data = data.batch(BATCH).prefetch(tf.data.AUTOTUNE)
    return Side(lambda epoch: data, limit)


def datasets_side(path: Path, scaler: samples.Scaler, limit: int) -> Side | None:
    """Hugging Face datasets: shuffled batches of byte strings, put together for our own window."""
    if importlib.util.find_spec("datasets") is None:
        print("datasets is left out: it is not installed (pip install datasets).")
        return None
    import datasets

    datasets.disable_progress_bars()
    files = [str(f) for f in pixels.files(path)]
    data = datasets.Dataset.from_parquet(files, cache_dir=str(PLACE / "datasets"))
    data = data.select_columns(["pixel", "year", "label_code", *pixels.SERIES])

    def batch(part, epoch):
        counts = [len(text) for text in part["scl"]]
        day, scl, bands = (
            np.frombuffer(b"".join(part[n]), k) for n, k in (("day", "<u2"), ("scl", "u1"), ("bands", "<u2"))
        )
        series = pixels.Ragged(np.cumsum([0, *counts]), day, scl, bands.reshape(len(scl), -1))
        keys = samples.keys_of(part["pixel"], part["year"])
        starts = samples.start_days(part["year"], samples.draw_starts(keys, STUDY.season, 0, epoch))
        windows = samples.window(series, STUDY.season, starts, scaler=scaler, epoch=epoch, keys=keys)
        classes = STUDY.legend.classes_of(np.array(part["label_code"]))
        classes = samples.apply_vegetation_rule(classes, windows.vegetation, STUDY.legend)
        return windows.x, np.eye(len(STUDY.legend.classes), dtype=np.float32)[classes]

    def epochs(epoch):
        return (batch(part, epoch) for part in data.shuffle(seed=epoch).iter(BATCH))

    return Side(epochs, limit)


# Memory, time to the first batch


def in_a_process(task: str, *arguments) -> dict:
    """Run one of the tasks below in a process of its own; what it prints is JSON."""
    command = [sys.executable, __file__, "--task", task, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1])


def task_memory(path: str) -> dict:
    """By how much a process grows, at most, while it streams a table."""
    scaler = samples.Scaler(STUDY.bands, (2000.0,) * 12, (900.0,) * 12)
    next(samples.arrays(make_series(BATCH, 0), STUDY, scaler))  # what is compiled and imported is no part of the table
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak until now
    before = _peak()
    count = sum(len(y) for _, y in samples.arrays(path, STUDY, scaler, stream=True, pool=8192))
    return {"samples": count, "grown": _peak() - before}


def _peak() -> int:
    """Largest resident size of this process, bytes (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def task_first(path: str) -> dict:
    begin = time.perf_counter()
    scaler = samples.Scaler(STUDY.bands, (2000.0,) * 12, (900.0,) * 12)
    next(samples.arrays(path, STUDY, scaler))
    return {"seconds": time.perf_counter() - begin}


def series_bytes(path: Path) -> int:
    return sum(pixels.read(f, pixels.SERIES).nbytes for f in pixels.files(path))


# Training


def small_cnn():
    import keras

    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((STUDY.season.steps, len(STUDY.bands))),
            layers.Conv1D(64, 5, activation="relu"),
            layers.Conv1D(64, 5, activation="relu"),
            layers.Dropout(0.5),
            layers.MaxPooling1D(2),
            layers.Flatten(),
            layers.Dense(50, activation="relu"),
            layers.Dense(len(STUDY.legend.classes), activation="softmax"),
        ]
    )
    model.compile("adam", "categorical_crossentropy")
    return model


def training_sides(loader: samples.Loader, steps: int) -> dict:
    """Functions that train so many steps, from the loader and from arrays that are ready in memory."""
    import tensorflow as tf

    model = small_cnn()
    x, y = (np.concatenate(parts) for parts in zip(*itertools.islice(loader.arrays(), steps), strict=True))
    ready = tf.data.Dataset.from_tensor_slices((x, y)).batch(BATCH).prefetch(2)
    data = loader.dataset().repeat()
    return {
        "loader": lambda: model.fit(data, steps_per_epoch=steps, verbose=0),
        "ready_arrays": lambda: model.fit(ready, verbose=0),
    }


def main() -> None:
    options = measure.arguments(__doc__)
    repeats, slow = (3, 4) if options.quick else (7, None)
    path = make_table(1)
    table = pixels.read(path).combine_chunks()
    scaler = samples.Scaler.fit(table)
    loader = samples.Loader(table, STUDY, scaler, batch=BATCH)
    stream = samples.Loader(path, STUDY, scaler, batch=BATCH, stream=True)
    figures = measure.Figures("loader")

    data, streamed = loader.dataset(), stream.dataset()
    rows = samples.row_by_row(table, STUDY, scaler, batch=BATCH)
    sides = {
        "row_by_row": Side(lambda epoch: rows, slow),
        "dataset": Side(lambda epoch: data),
        "arrays": Side(loader.arrays),
        "arrays_numpy": Side(without_numba(loader), slow),
        "streamed_dataset": Side(lambda epoch: streamed),
        "streamed_arrays": Side(stream.arrays),
        "tfrecord": tfrecord_side(table, scaler, slow),
    }
    others = datasets_side(path, scaler, slow)
    sides |= {"datasets": others} if others else {}
    rate = rates(sides, repeats)

    def against(name: str, ours: str, theirs: str, goal: float | None) -> None:
        figures.add(name, rate[ours] / rate[theirs], goal, "x", {side: rate[side] for side in (ours, theirs)})

    against("dataset_against_row_by_row", "dataset", "row_by_row", 15)
    against("arrays_against_row_by_row", "arrays", "row_by_row", 45)
    against("compiled_against_numpy", "arrays", "arrays_numpy", None)
    against("dataset_against_arrays", "dataset", "arrays", None)
    against("streamed_against_memory", "streamed_dataset", "dataset", 0.7)
    against("streamed_arrays_against_memory", "streamed_arrays", "arrays", None)
    against("dataset_against_tfrecord", "dataset", "tfrecord", 1)
    against("streamed_against_tfrecord", "streamed_dataset", "tfrecord", 1)
    if others:
        against("arrays_against_datasets", "arrays", "datasets", 1)
        against("streamed_arrays_against_datasets", "streamed_arrays", "datasets", 1)

    first = in_a_process("first", path)["seconds"]
    figures.add("two_seconds_over_time_to_first_batch", 2 / first, 1, "x", {"seconds": first})

    large = make_table(10)
    size = series_bytes(large)
    grown = in_a_process("memory", large)["grown"]
    sides = {"table_bytes": size, "grown_bytes": grown}
    figures.add("table_over_memory_to_stream_it", size / grown, 4, "x", sides)

    steps = 6 if options.quick else 48
    seconds = measure.sides(training_sides(loader, steps), repeats)
    figures.add("training_against_ready_arrays", seconds["ready_arrays"] / seconds["loader"], 0.9, "x", seconds)
    figures.finish()


if __name__ == "__main__":
    if "--task" in sys.argv:
        print(json.dumps({"memory": task_memory, "first": task_first}[sys.argv[2]](sys.argv[3])))
    else:
        main()
