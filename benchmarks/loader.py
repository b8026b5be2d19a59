"""Samples a second of the loader, against the row-by-row pipeline and against what else one might pick.

50,000 synthetic series of 40-75 images, made here from a seed, in windows of 120 days and batches of 1,024. All sides
give the same samples: one random image per step of 5 days, scaled, with one-hot labels, in shuffled order.

What is measured:

- Rates are of a running pipeline. The clock of each side starts after its second batch, so that graph tracing, threads
  and the filling of shuffle buffers are not counted; it stops at the end of the epoch (of the fourth, for sides that
  stream, so that read-ahead is no gift), or with ``--quick`` after 8 batches of the slow sides. Sides take turns, and
  a rate is the median over the rounds. Ratios are within one run.
- ``streamed`` decodes Parquet (zstd) in every epoch, ``scratch`` reads the decoded copy that its first epoch made.
- Hugging Face ``datasets`` reads its own decoded copy, shuffled row by row (``datasets``) or in a buffer of ten batches
  (``datasets_buffer``); its batches then go through our own compiled window, so only the reading differs. Petastorm is
  left out, as it does not run beside this library: 0.13.1, the newest, fails on import with pyarrow 16 or newer
  ("No module named 'pyarrow.filesystem'"), and this library needs 18.
- Memory: a process whose private memory the kernel caps (RLIMIT_DATA on Linux) streams a table of 20 files, links to
  the same 50,000 series; a second one, with the same cap, is asked to hold the table in memory and must fail.
- Time to the first batch: from the table's path, in a new process, after imports.
"""

import importlib.util
import itertools
import json
import os
import statistics
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
CAP = 360_000  # KiB of private memory of the process that streams a large table
LARGE = 20  # files of the large table


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


def make_table() -> Path:
    """A table of one file of 50,000 rows, made at the first call."""
    file = PLACE / "table" / "part-0.parquet"
    if not file.exists():
        table = make_series(ROWS, 0)
        pixels.write(table, file, pixels.Meta.of(table))
    return file.parent


def make_large(parts: int = LARGE) -> Path:
    """A table of many files: each has the rows of ``make_table`` from another row on, since readers refuse copies."""
    (file,) = pixels.files(make_table())
    folder = PLACE / "turned"
    table = None
    for number in range(parts):
        part = folder / f"part-{number:02}.parquet"
        if not part.exists():
            table = table or pixels.read(file)
            first = number * (ROWS // LARGE)
            turned = pa.concat_tables([table.slice(first), table.slice(0, first)])
            pixels.write(turned, part, pixels.Meta.of(table))
    return folder


# Timing: one side is a function that gives the next epoch


class Side:
    """One way to get samples.

    Args:
        epochs: Gives the batches of an epoch by its number.
        count: Epochs in one measurement.
        batches: Stop after so many batches; None for whole epochs.
    """

    def __init__(self, epochs, count: int = 1, batches: int | None = None):
        self.epochs, self.numbers, self.count, self.batches = epochs, itertools.count(), count, batches

    def rate(self, skip: int = 2) -> float:
        """Samples a second, without the first batches."""
        epochs = (self.epochs(next(self.numbers)) for _ in range(self.count))
        batches = itertools.islice(itertools.chain.from_iterable(epochs), self.batches and self.batches + skip)
        for _ in itertools.islice(batches, skip):
            pass
        begin = time.perf_counter()
        samples = sum(batch[1].shape[0] for batch in batches)
        seconds = time.perf_counter() - begin
        time.sleep(0.3 if self.count > 2 else 0)  # what still reads ahead must not slow the next side down
        return samples / seconds


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


def tfrecord_side(table: pa.Table, scaler: samples.Scaler, limit: int | None) -> Side:
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
    return Side(lambda epoch: data, 1, limit)


def datasets_sides(path: Path, scaler: samples.Scaler, limit: int | None) -> dict[str, Side]:
    """Hugging Face datasets: shuffled batches of byte strings, put together for our own window."""
    if importlib.util.find_spec("datasets") is None:
        print("datasets is left out: it is not installed (pip install datasets).")
        return {}
    import datasets

    datasets.disable_progress_bars()
    files = [str(f) for f in pixels.files(path)]
    data = datasets.Dataset.from_parquet(files, cache_dir=str(PLACE / "datasets"))
    data = data.select_columns(["pixel", "year", "label_code", *pixels.SERIES]).with_format("arrow")

    def batch(part, epoch):
        year = part["year"].to_numpy()
        keys = samples.keys_of(part["pixel"].to_numpy(), year)
        starts = samples.start_days(year, samples.draw_starts(keys, STUDY.season, 0, epoch))
        windows = samples.window(pixels.ragged(part), STUDY.season, starts, scaler=scaler, epoch=epoch, keys=keys)
        classes = STUDY.legend.classes_of(part["label_code"].to_numpy())
        classes = samples.apply_vegetation_rule(classes, windows.vegetation, STUDY.legend)
        return windows.x, np.eye(len(STUDY.legend.classes), dtype=np.float32)[classes]

    def shuffled(epoch):
        return (batch(part, epoch) for part in data.shuffle(seed=epoch).iter(BATCH))

    def buffered(epoch):
        rows = data.to_iterable_dataset().shuffle(seed=epoch, buffer_size=10 * BATCH)
        return (batch(part, epoch) for part in rows.iter(BATCH))

    return {"datasets": Side(shuffled, 1, limit), "datasets_buffer": Side(buffered, 1, limit)}


# Memory, time to the first batch


def in_a_process(task: str, *arguments, cap: int | None = None) -> dict:
    """Run one of the tasks below in a process of its own; what it prints is JSON.

    With a cap (KiB of private memory) stacks are small and what is freed goes back at once: glibc keeps it otherwise.
    """
    command = [sys.executable, __file__, "--task", task, *map(str, arguments)]
    names = dict(os.environ)
    if cap:
        command = ["sh", "-c", f'ulimit -s 1024 && ulimit -d {cap} && exec "$@"', "sh", *command]
        names |= {"MALLOC_ARENA_MAX": "2", "ARROW_DEFAULT_MEMORY_POOL": "system", "OPENBLAS_NUM_THREADS": "1"}
        names |= {"MALLOC_MMAP_THRESHOLD_": str(2**20)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=names)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1])


def task_memory(path: str, stream: str) -> dict:
    """Run over one epoch of a table, streamed or held in memory; tells where memory ran out."""
    scaler = samples.Scaler(STUDY.bands, (2000.0,) * 12, (900.0,) * 12)
    kernels.place("random")  # what is loaded and compiled is part of the process, too
    try:
        streaming = samples.Streaming(pool=8192) if stream == "streamed" else False
        count = sum(len(y) for _, y in samples.arrays(path, STUDY, scaler, stream=streaming))
    except MemoryError:
        count = None
    return {"samples": count, "peak": _peak()}


def _peak() -> int:
    """Largest resident size of this process, bytes (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def memory_figure(figures: measure.Figures) -> None:
    """Stream a table of several times the cap that the process is given; holding it must fail under that cap."""
    if not Path("/proc/self/status").exists():
        print("The memory cap is left out: it needs Linux.")
        return
    large = make_large()
    table = LARGE * pixels.read(make_table(), pixels.SERIES).nbytes
    streamed, held = (in_a_process("memory", large, how, cap=CAP) for how in ("streamed", "held"))
    if held["samples"] is not None:
        raise RuntimeError(f"The cap of {CAP} KiB does not hold here: {table} bytes were held in memory under it.")
    value = table / (1024 * CAP) if streamed["samples"] == LARGE * ROWS else 0.0
    sides = {"table_bytes": table, "cap_bytes": 1024 * CAP, "peak_resident_bytes": streamed["peak"]}
    figures.add("streamed_table_over_memory_cap", value, 4, "x", sides)


def task_first(path: str) -> dict:
    begin = time.perf_counter()
    scaler = samples.Scaler(STUDY.bands, (2000.0,) * 12, (900.0,) * 12)
    next(samples.arrays(path, STUDY, scaler))
    return {"seconds": time.perf_counter() - begin}


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
    options = measure.arguments(__doc__, quick=True)
    repeats, slow = (2, 8) if options.quick else (5, None)
    path = make_table()
    table = pixels.read(path).combine_chunks()
    scaler = samples.Scaler.fit(table)
    kernels.place("random")
    loader = samples.Loader(table, STUDY, scaler, batch=BATCH)
    stream = samples.Loader(path, STUDY, scaler, batch=BATCH, stream=True)
    scratch = samples.Loader(path, STUDY, scaler, batch=BATCH, stream=samples.Streaming(scratch=PLACE / "scratch"))
    figures = measure.Figures("loader")

    data, streamed, scratched = loader.dataset(), stream.dataset(), scratch.dataset()
    rows = samples.row_by_row(table, STUDY, scaler, batch=BATCH)
    sides = {
        "row_by_row": Side(lambda epoch: rows, 1, slow),
        "dataset": Side(lambda epoch: data, 2),
        "arrays": Side(loader.arrays, 2),
        "arrays_numpy": Side(without_numba(loader), 1, slow),
        "streamed_dataset": Side(lambda epoch: streamed, 4),
        "scratch_dataset": Side(lambda epoch: scratched, 4),
        "streamed_arrays": Side(stream.arrays, 4),
        "scratch_arrays": Side(scratch.arrays, 4),
        "tfrecord": tfrecord_side(table, scaler, slow),
    } | datasets_sides(path, scaler, slow)
    rate = measure.rates(sides, repeats)

    def against(name: str, ours: str, theirs: str, goal: float | None) -> None:
        if theirs in rate:
            figures.add(name, rate[ours] / rate[theirs], goal, "x", {side: rate[side] for side in (ours, theirs)})

    against("dataset_against_row_by_row", "dataset", "row_by_row", 15)
    against("arrays_against_row_by_row", "arrays", "row_by_row", 45)
    against("compiled_against_numpy", "arrays", "arrays_numpy", None)
    against("dataset_against_arrays", "dataset", "arrays", None)
    against("streamed_against_memory", "streamed_dataset", "dataset", 0.7)
    against("scratch_against_memory", "scratch_dataset", "dataset", 0.7)
    against("streamed_arrays_against_memory", "streamed_arrays", "arrays", None)
    against("scratch_arrays_against_memory", "scratch_arrays", "arrays", None)
    against("dataset_against_tfrecord", "dataset", "tfrecord", 1)
    against("streamed_against_tfrecord", "streamed_dataset", "tfrecord", 1)
    against("arrays_against_datasets", "arrays", "datasets", 1)
    against("scratch_arrays_against_datasets_buffer", "scratch_arrays", "datasets_buffer", 1)

    first = statistics.median(in_a_process("first", path)["seconds"] for _ in range(1 if options.quick else 3))
    figures.add("two_seconds_over_time_to_first_batch", 2 / first, 1, "x", {"seconds": first})
    memory_figure(figures)
    seconds = measure.sides(training_sides(loader, steps=48), 3 if options.quick else 5)
    figures.add("training_against_ready_arrays", seconds["ready_arrays"] / seconds["loader"], 0.9, "x", seconds)
    figures.finish()


if __name__ == "__main__":
    if "--task" in sys.argv:
        print(json.dumps({"memory": task_memory, "first": task_first}[sys.argv[2]](*sys.argv[3:])))
    else:
        main()
