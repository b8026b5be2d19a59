"""The pipeline of the original course, row by row: for teaching, and to compare the fast loader with.

Lab: part2_load_data.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from arsetlib.samples.draws import draw_images, draw_starts, keys_of
from arsetlib.samples.rows import Rows, SampleError
from arsetlib.samples.scaler import Scaler
from arsetlib.samples.windows import VEGETATION, start_days
from arsetlib.study import Study

if TYPE_CHECKING:
    import tensorflow as tf

FEATURES = ("day", "scl", "bands")


def row_by_row(
    source: Rows | pa.Table | str | Path,
    study: Study,
    scaler: Scaler,
    *,
    batch: int = 1024,
    start: str | int = "random",
    choose: str | None = None,
    shuffle: bool | None = None,
    seed: int = 0,
    epoch: int = 0,
    parallel: bool = True,
    prefetch: bool = True,
) -> tf.data.Dataset:
    """filter → shuffle → map(parse) → batch → prefetch, one row at a time.

    The samples are those of ``arrays(…, epoch=epoch)`` with the same options, because both use the same random numbers:
    each row here has its start and its draws as columns. Only the order of a shuffled epoch differs.

    Args:
        source, study, scaler, batch, start, seed, epoch: See ``Loader``.
        choose: ``"random"``, ``"first"`` or ``"last"``; by default random where the start is, else last.
        shuffle: In a buffer of ten batches; by default where the start is random.
        parallel: Whether ``map`` uses several threads.
        prefetch: Whether a batch is made while the one before is used.

    Returns:
        A ``tf.data.Dataset`` of ``(x, y)``.

    Lab: part2_load_data.
    """
    import tensorflow as tf

    rows = Rows.of(source)
    choose = choose or ("random" if start == "random" else "last")
    data = tf.data.Dataset.from_tensor_slices(_columns(rows, study, start, choose, seed, epoch))
    data = data.filter(lambda row: row["class"] >= 0)
    if shuffle or (shuffle is None and start == "random"):
        data = data.shuffle(10 * batch, seed=seed)
    data = data.map(parser(study, scaler), num_parallel_calls=tf.data.AUTOTUNE if parallel else None)
    data = data.batch(batch)
    return data.prefetch(tf.data.AUTOTUNE) if prefetch else data


def parser(study: Study, scaler: Scaler) -> Callable[[dict], tuple]:
    """The function that turns one row of byte strings into ``(x, y)``, in TensorFlow operations.

    Raises:
        SampleError: The study has more channels than its bands.

    Lab: part2_load_data.
    """
    if study.channels != study.bands:
        raise SampleError(
            f"Row by row gives the bands only, received a study with the channels {list(study.channels)}. Take "
            f"samples.batches, or leave [channels] out of the study file."
        )
    import tensorflow as tf

    season, bands = study.season, len(study.bands)
    mean, std = tf.constant(scaler.mean, tf.float32), tf.constant(scaler.std, tf.float32)
    legend = study.legend
    crop = tf.constant([c.crop for c in legend.classes])
    bare = next((i for i, c in enumerate(legend.classes) if not c.codes), None)

    def parse(row):
        day = tf.cast(tf.io.decode_raw(row["day"], tf.uint16), tf.int32)  # (N,)
        scl = tf.io.decode_raw(row["scl"], tf.uint8)  # (N,)
        values = tf.cast(tf.reshape(tf.io.decode_raw(row["bands"], tf.uint16), [-1, bands]), tf.float32)  # (N, C)
        since = day - row["start"]
        inside = (since >= 0) & (since < season.window_days)
        step = since[inside] // season.step_days  # (M,)
        count = tf.cast(tf.math.bincount(step, minlength=season.steps, maxlength=season.steps), tf.int64)  # (T,)
        first = tf.cumsum(count, exclusive=True)
        chosen = first + tf.bitwise.right_shift(row["draws"] * count, tf.constant(32, tf.int64))
        seen = count > 0
        values, scl = values[inside], scl[inside]
        picked = tf.gather(values, tf.boolean_mask(chosen, seen))
        picked = tf.where(picked == 0, tf.zeros_like(picked), (picked - mean) / std)
        x = tf.scatter_nd(tf.where(seen), picked, [season.steps, bands])  # (T, C)
        label = tf.cast(row["class"], tf.int32)
        if bare is not None:
            green = tf.reduce_any(scl[-2:] == VEGETATION)
            label = tf.where(tf.gather(crop, label) & ~green, bare, label)
        return x, tf.one_hot(label, len(legend.classes))

    return parse


def _columns(rows: Rows, study: Study, start, choose: str, seed: int, epoch: int) -> dict:
    """Row after row what ``parse`` needs: byte strings, class, first day, a draw per step."""
    table = rows.read(["pixel", "year", "label_code", *FEATURES])
    year = table.column("year").to_numpy()
    keys = keys_of(table.column("pixel").to_numpy(), year)
    day_of_year = draw_starts(keys, study.season, seed, epoch) if start == "random" else start
    shape = (len(year), study.season.steps)
    if choose not in ("random", "first", "last"):
        raise SampleError(f"Expected choose = 'random', 'first' or 'last' row by row, received {choose!r}.")
    draws = {
        "random": lambda: draw_images(keys, study.season.steps, seed, epoch).astype(np.int64),
        "first": lambda: np.zeros(shape, np.int64),
        "last": lambda: np.full(shape, 2**32 - 1, np.int64),
    }[choose]()
    return {name: np.array(table.column(name).to_pylist(), object) for name in FEATURES} | {
        "class": study.legend.classes_of(table.column("label_code").to_numpy()),
        "start": start_days(year, day_of_year),
        "draws": draws,
    }
