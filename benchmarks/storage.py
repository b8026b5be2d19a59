"""Size and read rate of the pixel table, compared with other formats of the same series and with other settings.

The series are those of a simulated delta, simulated at the first call and stored in data/bench. Each format is read
back to the same three arrays: days (N,), scene classes (N,) and bands (N, C). TFRecord needs TensorFlow
(arsetlib[train]).
"""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import _sample
import measure
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from arsetlib import pixels
from arsetlib.pixels import arrays
from arsetlib.pixels import schema as layout

PLACE = Path("data/bench/storage")


class Store:
    """One format of the series: written once, then read in each timed run."""

    def __init__(self, name: str, write: Callable[[Path], None], read: Callable[[Path], tuple]):
        self.path = PLACE / "sides" / name
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write(self.path)
        self.read = lambda: read(self.path)

    @property
    def size(self) -> int:
        """Bytes on disk."""
        files = [self.path] if self.path.is_file() else self.path.glob("**/*.*")
        return sum(file.stat().st_size for file in files if file.is_file())


# The table, and the formats it is compared with


def table_store(table: pa.Table, meta: pixels.Meta) -> Store:
    def read(path):
        flat = pixels.ragged(pixels.read(path, list(pixels.SERIES)).combine_chunks())
        return flat.day, flat.scl, flat.bands

    return Store("table.parquet", lambda path: pixels.write(table, path, meta), read)


def list_store(table: pa.Table, flat: pixels.Ragged) -> Store:
    """The same rows with typed nested lists, zstd too."""
    offsets = pa.array(flat.offsets.astype(np.int32))
    steps = pa.array(np.arange(len(flat.day) + 1, dtype=np.int32) * flat.bands.shape[1])
    images = pa.ListArray.from_arrays(steps, pa.array(flat.bands.ravel()))
    lists = {
        "day": pa.ListArray.from_arrays(offsets, pa.array(flat.day)),
        "scl": pa.ListArray.from_arrays(offsets, pa.array(flat.scl)),
        "bands": pa.ListArray.from_arrays(offsets, images),
    }
    nested = pa.table({name: lists.get(name, table[name]) for name in table.column_names})

    def read(path):
        got = pq.read_table(path, columns=list(lists)).combine_chunks()
        day, scl, bands = (got[name].combine_chunks().flatten() for name in lists)
        return day.to_numpy(), scl.to_numpy(), bands.flatten().to_numpy().reshape(-1, flat.bands.shape[1])

    settings = {"compression": "zstd", "compression_level": layout.ZSTD_LEVEL, "row_group_size": layout.ROW_GROUP}
    return Store("lists.parquet", lambda path: pq.write_table(nested, path, **settings), read)


def arset_store(table: pa.Table, bands: int) -> Store:
    def read(path):
        files = [str(file) for file in sorted(path.glob("**/*.parquet"))]
        got = pa.concat_tables([pq.ParquetFile(f).read(["img_dates", "scl_vals", "bands"]) for f in files])
        day, scl, raw = (arrays.buffers(got[name])[1] for name in got.column_names)
        big = raw.view(">u2").reshape(-1, bands)
        return day.view(">u2").astype("<u2"), scl, big.astype("<u2")

    return Store("arset", lambda path: pixels.write_arset(table, path), read)


def tfrecord_store(table: pa.Table, bands: int) -> Store | None:
    if importlib.util.find_spec("tensorflow") is None:
        print("TFRecord is left out: TensorFlow is not installed (uv sync --extra train).")
        return None
    import tensorflow as tf

    def feature(value):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))

    def write(path):
        with tf.io.TFRecordWriter(str(path)) as writer:
            for row in table.select(pixels.SERIES).to_pylist():
                features = tf.train.Features(feature={name: feature(row[name]) for name in pixels.SERIES})
                writer.write(tf.train.Example(features=features).SerializeToString())

    spec = {name: tf.io.FixedLenFeature([], tf.string) for name in pixels.SERIES}

    def read(path):
        batches = tf.data.TFRecordDataset(str(path)).batch(1024).map(lambda x: tf.io.parse_example(x, spec))
        parts = [[b"".join(batch[name].numpy()) for name in pixels.SERIES] for batch in batches]
        day, scl, values = (b"".join(column) for column in zip(*parts, strict=True))
        flat = np.frombuffer(values, "<u2").reshape(-1, bands)
        return np.frombuffer(day, "<u2"), np.frombuffer(scl, "u1"), flat

    return Store("series.tfrecord", write, read)


# Other orders of the bytes of `bands` within a row, with the vectorised inverse


def by_band(flat: pixels.Ragged) -> np.ndarray:
    """(N, C) where each value of `bands`, stored band after band within its row, lies in the flat buffer."""
    counts = np.diff(flat.offsets)
    images, bands = np.repeat(counts, counts), flat.bands.shape[1]
    within = np.arange(len(images)) - np.repeat(flat.offsets[:-1], counts)
    start = np.repeat(flat.offsets[:-1], counts) * bands + within
    return start[:, None] + np.arange(bands) * images[:, None]


def before(flat: pixels.Ragged, values: np.ndarray) -> np.ndarray:
    """(N, C) running values just before each row's first image."""
    padded = np.concatenate([np.zeros((1, values.shape[1]), values.dtype), values])
    return np.repeat(padded[flat.offsets[:-1]], np.diff(flat.offsets), axis=0)


def step(flat: pixels.Ragged, operator) -> np.ndarray:
    """Each image combined with the one before it in its row."""
    out = flat.bands.copy()
    out[1:] = operator(flat.bands[1:], flat.bands[:-1])
    first = flat.offsets[:-1][np.diff(flat.offsets) > 0]
    out[first] = flat.bands[first]
    return out


def scatter(values: np.ndarray, where: np.ndarray) -> np.ndarray:
    out = np.empty(values.size, values.dtype)
    out[where] = values
    return out


def planes(flat: pixels.Ragged) -> np.ndarray:
    """Band after band, and within a row all low bytes before all high bytes."""
    low = by_band(flat)
    size = np.repeat(np.diff(flat.offsets), np.diff(flat.offsets))[:, None] * flat.bands.shape[1]
    start = np.repeat(flat.offsets[:-1], np.diff(flat.offsets))[:, None] * flat.bands.shape[1]
    return np.stack([low + start, low + start + size])


def layouts(flat: pixels.Ragged) -> dict[str, tuple[np.ndarray, Callable]]:
    """Name to (buffer to store, function from the stored bytes back to (N, C))."""
    where, where2, shape = by_band(flat), planes(flat), flat.bands.shape
    two = np.stack([(flat.bands & 255).astype("u1"), (flat.bands >> 8).astype("u1")])

    def undo_delta(raw):
        total = np.cumsum(raw.view("<u2").reshape(shape), axis=0, dtype=np.uint16)
        return total - before(flat, total)

    def undo_xor(raw):
        total = np.bitwise_xor.accumulate(raw.view("<u2").reshape(shape), axis=0)
        return total ^ before(flat, total)

    def undo_planes(raw):
        low, high = raw[where2]
        return low.astype("<u2") | (high.astype("<u2") << 8)

    return {
        "as_it_is": (flat.bands, lambda raw: raw.view("<u2").reshape(shape)),
        "band_after_band": (scatter(flat.bands, where), lambda raw: raw.view("<u2")[where]),
        "delta": (step(flat, np.subtract), undo_delta),
        "xor": (step(flat, np.bitwise_xor), undo_xor),
        "byte_planes": (scatter(two, where2), undo_planes),
    }


def layout_store(name: str, flat: pixels.Ragged, buffer: np.ndarray, back: Callable, **changed) -> Store:
    column = arrays.binary(np.ascontiguousarray(buffer), flat.offsets, 2 * flat.bands.shape[1])
    day, scl = (arrays.binary(np.ascontiguousarray(v), flat.offsets, v.itemsize) for v in (flat.day, flat.scl))
    table = pa.table({"day": day, "scl": scl, "bands": column})
    settings = {
        "compression": "zstd",
        "compression_level": layout.ZSTD_LEVEL,
        "row_group_size": layout.ROW_GROUP,
        "use_dictionary": False,
        "write_statistics": False,
        "write_page_checksum": True,
    }

    def read(path):
        got = pq.read_table(path, page_checksum_verification=True)
        parts = [arrays.buffers(got[column].combine_chunks())[1] for column in pixels.SERIES]
        return parts[0].view("<u2"), parts[1], back(parts[2])

    return Store(f"{name}.parquet", lambda path: pq.write_table(table, path, **(settings | changed)), read)


SETTINGS = {
    "zstd_level_1": {"compression_level": 1},
    "zstd_level_6": {"compression_level": 6},
    "zstd_level_9": {"compression_level": 9},
    "row_group_1024": {"row_group_size": 1024},
    "row_group_65536": {"row_group_size": 65_536},
    "dictionary": {"use_dictionary": True},
    "statistics": {"write_statistics": True},
    "no_checksum": {"write_page_checksum": False},
    "lengths_apart": {"column_encoding": dict.fromkeys(pixels.SERIES, "DELTA_LENGTH_BYTE_ARRAY")},
    "snappy": {"compression": "snappy", "compression_level": None},
}


def compare(figures: measure.Figures, stores: dict[str, Store], flat: pixels.Ragged, repeats: int, goals: dict) -> None:
    """Add, for each store but the first, its bytes and its time over those of the first."""
    for store in stores.values():
        for got, expected in zip(store.read(), (flat.day, flat.scl, flat.bands), strict=True):
            np.testing.assert_array_equal(got, expected)
    seconds = measure.sides({name: store.read for name, store in stores.items()}, repeats)
    first, *others = stores
    for name in others:
        sizes = {side: stores[side].size / len(flat.day) for side in (first, name)}
        times = {side: seconds[side] for side in (first, name)}
        size_goal, rate_goal = goals.get(name, (None, None))
        figures.add(f"bytes_of_{name}_over_{first}", sizes[name] / sizes[first], size_goal, "x", sizes)
        figures.add(f"seconds_of_{name}_over_{first}", times[name] / times[first], rate_goal, "x", times)


def main() -> None:
    repeats = 5 if measure.arguments(__doc__, quick=True).quick else 15
    path, _ = _sample.pixel_table((2019, 2020, 2021))
    table, meta = pixels.read(path).combine_chunks(), pixels.Meta.of(path)
    flat = pixels.ragged(table)
    figures = measure.Figures("storage")

    ours = table_store(table, meta)
    seconds = measure.sides({"table": ours.read}, repeats)["table"]
    figures.add("table_bytes_per_observation", ours.size / len(flat.day), unit="bytes")
    figures.add("table_observations_per_second", len(flat.day) / seconds, unit="1/s")

    bands = flat.bands.shape[1]
    stores = {"table": ours, "lists": list_store(table, flat), "arset": arset_store(table, bands)}
    records = tfrecord_store(table, bands)
    stores |= {"tfrecord": records} if records else {}
    compare(figures, stores, flat, repeats, {"lists": (1.0, 4.0), "arset": (1.1, 1.0), "tfrecord": (1.2, 1.0)})

    orders = layouts(flat)
    stores = {name: layout_store(name, flat, *order) for name, order in orders.items()}
    stores |= {name: layout_store(name, flat, *orders["as_it_is"], **changed) for name, changed in SETTINGS.items()}
    compare(figures, stores, flat, repeats, {})
    figures.finish()


if __name__ == "__main__":
    main()
