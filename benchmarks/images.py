"""Images a second from each storage form against the limit of decoding; the cost of a conversion; a set beyond memory.

Every side gives the same batches: 32 images of 224 × 224, four bands, in the same order. The limit is the same
decoding with the encoded bytes in memory, on the same cores. A form is read by one reader and by two; warm, with its
files in the system's memory, and cold, after the system was asked to drop them. Names and sizes of files stay in
memory, which is an advantage for the forms with many files; and a virtual machine's disk may be in its host's memory,
so the rate of plain reading is given too. Needs arsetlib[train,images].

An epoch always has 768 images: with few, the start of an epoch would count more than reading and decoding.
"""

import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import measure
import numpy as np
import tensorflow as tf

from arsetlib import fields, simulate
from arsetlib.fields import stored, streams

PLACE = Path("data/bench/images")
SIZE, BATCH = 224, 32
FORMS = ("tfrecord", "parquet", "directory", "chips")
SHARDS = (4, 32, 100)  # megabytes
IMAGES = 768  # of an epoch
ROUNDS = 4
HERE = Path(__file__).resolve().parent


# -- data, written at the first call ----------------------------------------------------------------------------------


def make_chips() -> fields.Chips:
    """Simulated chips of 512 × 512 pixels, four of a field."""
    count = IMAGES // 4
    folder = simulate.fields(PLACE / f"fields{count}", fields=count, chips=4, seed=1, progress=False)
    return fields.agriculture_vision(folder)


def converted(chips, form: str, name: str, **options) -> Path:
    return fields.convert(chips, PLACE / f"{chips.folder.name}_{name}", form, progress=False, **options)


def files_of(source) -> list[Path]:
    """The files from which the images of a source come."""
    if isinstance(source, Path):
        return [file for file in source.rglob("*") if file.suffix in (".tfrecord", ".parquet", ".jpg", ".png")]
    paths = [source.paths(k) for k in range(len(source))]
    return [file for p in paths for file in (p.rgb, p.nir, p.bounds, p.masks)]


def drop(files: list[Path]) -> None:
    """Ask the system to drop what it has of files in memory."""
    if not hasattr(os, "posix_fadvise"):
        raise RuntimeError("Cold reading is measured on Linux only.")
    os.sync()
    for file in files:
        handle = os.open(file, os.O_RDONLY)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


# -- sides ------------------------------------------------------------------------------------------------------------


class Side:
    """One way to get images.

    Args:
        data: Batches (x, y); each pass is another epoch.
        files: Files to drop from memory before each pass; none for a warm side.
    """

    def __init__(self, data, files: list[Path] | None = None):
        self.data, self.files = data, files

    def rate(self) -> float:
        """Images a second over the next epoch."""
        if self.files:
            drop(self.files)
        begin = time.perf_counter()
        count = sum(int(x.shape[0]) for x, _ in self.data)
        return count / (time.perf_counter() - begin)


def batches_of(source, readers: int = 2, **options) -> fields.ChipBatches:
    return fields.batches(source, size=SIZE, batch=BATCH, shuffle=True, seed=1, readers=readers, **options)


def in_memory(source, epoch: int = 0):
    """The encoded images of an epoch in memory: a tf.data.Dataset that reads no file."""
    batches = batches_of(source)
    stream = streams.stream_of(batches.source, batches.order, 1, tf.constant(epoch, tf.int64))
    parts = [np.array(part) for part in zip(*stream.as_numpy_iterator(), strict=True)]
    return tf.data.Dataset.from_tensor_slices(tuple(tf.constant(part) for part in parts))


def limit(source) -> Side:
    """The limit of decoding: the same steps, with the encoded bytes in memory."""
    batches, images = batches_of(source), in_memory(source)
    batches.decoded = lambda order, epoch: images.map(batches.decoder(), num_parallel_calls=os.cpu_count())
    return Side(batches.epoch(0))


def plain_rate(files: list[Path]) -> float:
    """Bytes a second of reading cold files from first to last."""
    drop(files)
    begin = time.perf_counter()
    size = 0
    for file in files:
        with file.open("rb", buffering=0) as source:
            while piece := source.read(1 << 22):
                size += len(piece)
    return size / (time.perf_counter() - begin)


# -- figures ----------------------------------------------------------------------------------------------------------


def feeding(figures: measure.Figures, chips, sources: dict) -> float:
    """Each form, warm and cold, with one reader and with two."""
    sides = {"limit": limit(sources["tfrecord"])}
    sizes = {form: sum(file.stat().st_size for file in files_of(source)) for form, source in sources.items()}
    for form, readers in itertools.product(sources, (1, 2)):
        source = sources[form]
        sides[f"{form}_{readers}_warm"] = Side(batches_of(source, readers).dataset)
        sides[f"{form}_{readers}_cold"] = Side(batches_of(source, readers).dataset, files_of(source))
    rate = measure.rates(sides, ROUNDS)
    for name, value in rate.items():
        form = name.split("_")[0]
        each = sizes[form if form in sizes else "tfrecord"] / len(chips)
        both = {"images_per_second": round(value, 1), "bytes_per_second": round(value * each)}
        figures.add(f"images_{name}", value, None, "images/s", both)
    for state in ("warm", "cold"):
        of = {form: rate[f"{form}_2_{state}"] for form in FORMS}
        goal = 0.8 if state == "warm" else None
        pair = {"tfrecord": of["tfrecord"], "limit": rate["limit"]}
        figures.add(f"tfrecord_{state}_against_decode_limit", of["tfrecord"] / rate["limit"], goal, "x", pair)
        for form in ("directory", "parquet", "chips"):
            pair = {"tfrecord": of["tfrecord"], form: of[form]}
            figures.add(f"tfrecord_{state}_against_{form}", of["tfrecord"] / of[form], None, "x", pair)
    value = rate["tfrecord_2_cold"] / rate["tfrecord_1_cold"]
    figures.add("tfrecord_cold_two_readers_against_one", value, None, "x")
    return rate["limit"]


def disk(figures: measure.Figures, sources: dict, repeats: int) -> None:
    """The rate of plain reading, for the few large files and for the many small ones."""
    found = {form: statistics.median(plain_rate(files_of(sources[form])) for _ in range(repeats))
             for form in ("tfrecord", "directory")}  # fmt: skip
    figures.add("plain_reading_of_large_files", found["tfrecord"] / 1e6, None, "MB/s")
    figures.add("plain_reading_of_small_files", found["directory"] / 1e6, None, "MB/s")


def stages(figures: measure.Figures, source: Path, count: int, repeats: int) -> None:
    """Core milliseconds per image of each stage, measured as the time that it adds to the stages before."""
    cores = os.cpu_count()
    plain, augmented = batches_of(source), batches_of(source, augment=True)
    images = in_memory(source)
    half = fields.batches(source, size=256, batch=BATCH)  # JPEG decodes at half the size; then only resizing is left
    decoded = images.map(plain.decoder(), num_parallel_calls=cores)
    plain.decoded = augmented.decoded = lambda order, epoch: decoded
    steps = {
        "in_memory": images.batch(BATCH),
        "decoded": images.map(half.decoder(), num_parallel_calls=cores),
        "made_smaller": decoded,
        "batched": decoded.batch(BATCH),
        "as_numbers": plain.epoch(0),
        "augmented": augmented.epoch(0),
        "read": streams.stream_of(plain.source, plain.order, 2, tf.constant(0, tf.int64)),
    }
    seconds = measure.sides({name: lambda d=data: sum(1 for _ in d) for name, data in steps.items()}, repeats)
    each = {name: 1000 * cores * value / count for name, value in seconds.items()}
    parts = {"read": each["read"], "decode": each["decoded"] - each["in_memory"]}
    order = ["decoded", "made_smaller", "batched", "as_numbers", "augmented"]
    parts |= {late: each[late] - each[early] for early, late in itertools.pairwise(order)}
    figures.add("decode_share_of_the_time", parts["decode"] / each["as_numbers"], None, "x",
                {f"{name}_core_ms_per_image": round(value, 3) for name, value in parts.items()})  # fmt: skip


def conversion(figures: measure.Figures, chips, limit_rate: float) -> None:
    """Images a second that are converted, against those that can be decoded."""
    cases = {"tfrecord": {}, "parquet": {}, "directory": {}, "tfrecord_224": {"size": SIZE}}
    cases |= {"tfrecord_224_raw": {"size": SIZE, "encoding": "raw"}}

    def convert(name: str):
        out = PLACE / "conversion" / name

        def run():
            shutil.rmtree(out, ignore_errors=True)
            fields.convert(chips, out, name.split("_")[0], progress=False, **cases[name])

        return run

    seconds = measure.sides({name: convert(name) for name in cases}, 3)
    for name in cases:
        rate = len(chips) / seconds[name]
        goal = 0.7 if name == "tfrecord" else None
        pair = {"converted": rate, "decode_limit": limit_rate}
        figures.add(f"conversion_{name}_against_decode_limit", rate / limit_rate, goal, "x", pair)
    shutil.rmtree(PLACE / "conversion")


def shard_sizes(figures: measure.Figures, chips, repeats: int) -> None:
    """Cold reading of small, middle and large files."""
    sources = {f"{size}_mb": converted(chips, "tfrecord", f"tfrecord_{size}mb", shard_mb=size) for size in SHARDS}
    rate = measure.rates({name: Side(batches_of(s).dataset, files_of(s)) for name, s in sources.items()}, repeats)
    count = {f"{name}_files": len(files_of(source)) for name, source in sources.items()}
    figures.add("shards_of_4_mb_against_100_mb_cold", rate["4_mb"] / rate["100_mb"], None, "x", rate | count)


def made_smaller_once(figures: measure.Figures, chips, repeats: int) -> None:
    """Rate of later epochs if images are converted to the model's size, as JPEG and raw, or cached in memory."""
    source = converted(chips, "tfrecord", "tfrecord")
    sides = {"as_found": Side(batches_of(source).dataset)}
    for encoding in ("jpeg", "raw"):
        small = converted(chips, "tfrecord", f"tfrecord_{SIZE}_{encoding}", size=SIZE, encoding=encoding)
        sides[f"{encoding}_{SIZE}"] = Side(batches_of(small).dataset)
    sides["cached_in_memory"] = Side(batches_of(source, cache=True).dataset)
    rate = measure.rates(sides, repeats)
    for name in list(sides)[1:]:
        pair = {name: rate[name], "as_found": rate["as_found"]}
        figures.add(f"images_{name}_against_as_found", rate[name] / rate["as_found"], None, "x", pair)


def larger_than_memory(figures: measure.Figures, chips) -> None:
    """Stream 4 GB of raw images under a limit within which they do not fit."""
    raw = converted(chips[:128], "tfrecord", "raw_512", size=512, encoding="raw")
    script = [sys.executable, str(HERE / "_images_large.py"), str(raw), "4"]
    few = os.environ | {"MALLOC_ARENA_MAX": "2"}  # stacks and heaps of threads count, used or not: few and small ones
    command = ["sh", "-c", 'ulimit -s 1024; exec "$@"', "sh", *script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=few)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    found = json.loads(done.stdout.splitlines()[-1])
    if found["fits"]:
        raise RuntimeError(f"The limit does not hold here: {found['bytes']} bytes fitted under {found['cap_bytes']}.")
    figures.add("streamed_set_over_peak_memory", found["bytes"] / found["peak_resident_bytes"], None, "x", found)


def main() -> None:
    measure.arguments(__doc__)
    chips = make_chips()
    sources = {form: converted(chips, form, form) for form in stored.FORMS} | {"chips": chips}
    figures = measure.Figures("images")
    disk(figures, sources, ROUNDS)
    limit_rate = feeding(figures, chips, sources)
    conversion(figures, chips, limit_rate)
    stages(figures, sources["tfrecord"], len(chips), ROUNDS)
    shard_sizes(figures, chips, ROUNDS)
    made_smaller_once(figures, chips, ROUNDS)
    larger_than_memory(figures, chips)
    figures.finish()


if __name__ == "__main__":
    main()
