"""Batches from rows: as NumPy arrays, as a tf.data.Dataset or as a Keras PyDataset; all three give the same batches.

The seed, the epoch and the number of a batch determine its rows, starts and images. So threads may make batches in any
order, and a seed gives the same batches on any machine.

TensorFlow asks for batches by number (``tf.numpy_function`` in a parallel map) and uses the arrays without a copy, as
their memory is aligned to 64 bytes. The compiled kernel releases the GIL, so that threads run in parallel.
``benchmarks/loader.py`` compares this with other ways.

Lab: part2_load_data.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from arsetlib import oldnames, processes
from arsetlib.samples.channels import Channels
from arsetlib.samples.device import Device, DeviceBatches
from arsetlib.samples.draws import draw_starts, scrambled
from arsetlib.samples.passes import epochs
from arsetlib.samples.rows import Rows, SampleError
from arsetlib.samples.scaler import Scaler
from arsetlib.samples.store import (
    COLUMNS,
    PLACE,
    MemoryPools,
    Pool,
    StreamedPools,
    Streaming,
    rows_with_images,
    series_bytes,
)
from arsetlib.samples.windows import (
    CHOICES,
    FILLS,
    _known,
    aligned,
    apply_vegetation_rule,
    check_channels,
    empty_windows,
    fill_windows,
    start_days,
)
from arsetlib.seeds import generator
from arsetlib.study import Study

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

EXTRAS = ("seen", "weight", "day_of_year", "xy", "pixel")  # what a batch may hold besides x and y
PLACES = ("host", "device")  # where batches are computed
IN_MEMORY = 2**30  # bytes of series that are held in memory unless the caller wants otherwise


class Loader:
    """Samples of some rows, batch by batch.

    Args:
        source: Rows (from ``split``), a table, or its path.
        study: Season, channels (bands and what the study file adds to them) and legend.
        scaler: Of the training rows; None leaves reflectance × 10,000.
        batch: Samples a batch; the last one of an epoch holds the rest.
        start: ``"random"`` for training (uniform over the season's starts, another one each epoch), or a day of the
            year, for evaluation: 1-366, or up to ``last_day`` of a season over New Year.
        choose: Which image stands for a step, see ``window``. By default ``"random"`` where the start is random and
            ``"clearest"`` where it is fixed.
        fill: What stands in a step without image, see ``window``.
        shuffle: Whether each epoch has another order. By default where the start is random.
        seed: Of all draws and orders.
        extras: More of each sample, any of ``EXTRAS``. ``weight`` comes third, after x and y, as Keras takes sample
            weights: classes then weigh the same in sum. With any other, x is a dict with ``series``, (B, T, C), and
            ``seen`` (B, T) bool, ``day_of_year`` (B,) int32 of the window's start, ``xy`` (B, 2) float64 in m,
            ``pixel`` (B,) int64.
        stream: Read pool by pool instead of holding all rows in memory: True, False, or a ``Streaming`` that says how
            large pools are and where a decoded copy is kept. By default where the table is on disk and its series take
            more than 1 GiB.
        place: ``"host"``, or ``"device"``: the columns go to the device of Keras's backend (a GPU) once, and batches
            are computed there, as tensors of the same numbers. It offers the bands of one sensor, ``choose`` random,
            first or last, ``fill`` zeros, and the extras seen, weight and day_of_year. Or a ``Device``, which says how
            much memory the columns may take there. See ``samples.device``.
        old: Fields of ``Streaming`` as keywords, as in version 0.1.0; until version 0.3.

    Attributes:
        rows: The rows that are used.
        steps: Batches an epoch.
        counts: ``rows`` received, ``excluded`` by the legend, ``no_image`` in the window (for a random start: in none
            of the windows), ``samples`` an epoch.

    Raises:
        SampleError: An unknown option; bands that differ between table, study and scaler; no row that the legend
            covers; while batches are made: dates out of order, byte strings of wrong length, with file, row group and
            row.
        PixelError: The table is missing, unfinished, damaged, or of another schema version.

    Lab: part2_load_data.

    >>> import pandas as pd; from arsetlib import pixels
    >>> points = pd.DataFrame({"lon": [33.0], "lat": [3.0], "year": [2021], "label": [1], "b_0": [612], "b_1": [580]})
    >>> dates, form = ["2021-06-01", "2021-07-01"], pixels.PointFormat(crs="EPSG:32636")
    >>> table = pixels.from_wide(points, {"b": "red"}, dates, form)
    >>> loader = Loader(table, Study.load("sample").replace(bands=("red",)), scaler=None, start=140)
    >>> loader
    Loader(1 sample, 1 batch of up to 1,024, windows from day 140)
    >>> x, y = loader.batch(epoch=0, number=0)
    >>> x.shape, y.shape
    ((1, 24, 1), (1, 7))
    """

    def __init__(
        self,
        source: Rows | pa.Table | str | Path,
        study: Study,
        scaler: Scaler | None,
        *,
        batch: int = 1024,
        start: str | int = "random",
        choose: str | None = None,
        fill: str = "zeros",
        shuffle: bool | None = None,
        seed: int = 0,
        extras: Sequence[str] = (),
        stream: bool | Streaming | None = None,
        place: str | Device = "host",
        **old: Any,
    ) -> None:
        random = start == "random"
        self.study, self.scaler, self.batch_size, self.start, self.seed = study, scaler, batch, start, seed
        self.choose = choose or ("random" if random else "clearest")
        self.fill, self.extras = fill, tuple(extras)
        self.shuffle = random if shuffle is None else shuffle
        self._check()
        if not isinstance(place, Device):
            _known("place", place, PLACES)
        rows = Rows.of(source)
        rows.check_season(study.season, None if random else start)
        self.channels = Channels.of(study)
        _check_bands(rows, study)
        check_channels(self.channels, len(study.table_bands), scaler)
        self.rows, self.counts = self._used(rows)
        self.steps = -(-len(self.rows) // batch)
        self.changes = self.shuffle or self.choose == "random" or random
        if stream is None:
            stream = not isinstance(rows.source, pa.Table) and series_bytes(rows) > IN_MEMORY
        if stream and isinstance(rows.source, pa.Table):
            raise SampleError("Expected the path of a table to stream from, received a table that is in memory.")
        columns = (*COLUMNS, *PLACE) if "xy" in self.extras else COLUMNS
        streaming = stream if isinstance(stream, Streaming) else Streaming()
        streaming = oldnames.fields_of(streaming, old, "samples.Loader")
        if stream:
            order, groups = self._order, self._order_of_groups
            self.pools = StreamedPools(self.rows, study, self.channels, columns, order, groups, streaming)
        else:
            self.pools = MemoryPools(self.rows, study, self.channels, columns, self._order)
        self.device = None
        if place != "host":
            self.device = DeviceBatches(self, place.memory if isinstance(place, Device) else None)

    def __len__(self) -> int:
        return self.steps

    def __repr__(self) -> str:
        samples, batches = self.counts["samples"], self.steps
        start = "random days" if self.start == "random" else f"day {self.start}"
        return (
            f"Loader({samples:,} sample{'s' * (samples != 1)}, {batches:,} batch{'es' * (batches != 1)} of up to "
            f"{self.batch_size:,}, windows from {start})"
        )

    def batch(self, epoch: int, number: int) -> tuple:
        """One batch.

        Returns:
            ``(x, y)`` or ``(x, y, weight)``: x (B, T, C) float32 (a dict with extras), y (B, K) float32, one-hot.

        Lab: part2_load_data.
        """
        return self.batch_on_host(epoch, number) if self.device is None else self.device.batch(epoch, number)

    def batch_on_host(self, epoch: int, number: int) -> tuple:
        """One batch as NumPy arrays, wherever the loader's place is."""
        parts = dict(zip(self._spec(), self._parts(epoch, number), strict=True))
        return self._packed(parts)

    def arrays(self, epoch: int = 0) -> Iterator[tuple]:
        """All batches of one epoch as NumPy arrays (tensors with ``place="device"``), see ``batch``."""
        if self.device is not None:
            return self.device.arrays(epoch)
        return (self.batch(epoch, i) for i in range(self.steps))

    def dataset(self, epoch: int | Callable[[], int] | None = None) -> tf.data.Dataset:
        """The batches as a ``tf.data.Dataset`` of known length; each pass over it is the next epoch, from 0 on.

        Needs TensorFlow. Passes count from the making of the data set, so a peek with ``next(iter(data))`` is one.

        Args:
            epoch: A number makes every pass that epoch; a function is asked for it as each pass begins, so that a
                training which goes on after a stop begins where it stood.
        """
        import tensorflow as tf

        if self.device is not None:
            raise SampleError("A tf.data.Dataset computes on the host: take place='host', or arrays() or sequence().")
        kinds = {n: tf.as_dtype(k) for n, (k, _) in self._spec().items()}

        def batch(epoch, number):
            flat = tf.numpy_function(self._parts, [epoch, number], list(kinds.values()))
            for part, (_, shape) in zip(flat, self._spec().values(), strict=True):
                part.set_shape([None, *shape])
            return self._packed(dict(zip(kinds, flat, strict=True)))

        def of_epoch(epoch):
            numbers = tf.data.Dataset.range(self.steps)
            return numbers.map(lambda i: batch(epoch, i), num_parallel_calls=processes.cores(), deterministic=True)

        return epochs(of_epoch, self.steps, 0 if epoch is None and not self.changes else epoch)

    def sequence(self) -> keras.utils.PyDataset:
        """The batches as a ``keras.utils.PyDataset``, for Keras on any backend.

        Needs Keras. Where rows are streamed call ``fit(…, shuffle=False)``: the loader shuffles already, and Keras's
        own order of batches would read pools again and again.
        """
        import keras

        loader = self

        class Batches(keras.utils.PyDataset):
            epoch = 0

            def __len__(self):
                return loader.steps

            def __getitem__(self, number):
                return loader.batch(self.epoch, number)

            def on_epoch_end(self):
                self.epoch += 1

        return Batches()

    @functools.cached_property
    def class_counts(self) -> np.ndarray:
        """(K,) int64, samples of each class in epoch 0, after the vegetation rule."""
        counts = np.zeros(len(self.study.legend.classes), np.int64)
        for number in range(self.steps):
            counts += np.bincount(self._samples(0, number)[1], minlength=len(counts))
        return counts

    @functools.cached_property
    def class_weights(self) -> np.ndarray:
        """(K,) float32, weights under which the classes that occur weigh the same; their mean over samples is 1."""
        counts = self.class_counts
        there = counts > 0
        return np.where(there, counts.sum() / (there.sum() * np.maximum(counts, 1)), 0).astype(np.float32)

    # -- one batch ----------------------------------------------------------------------------------------------------

    def _parts(self, epoch: int, number: int) -> list[np.ndarray]:
        """The parts of one batch, in the order of ``_spec``."""
        out, classes, days, chosen = self._samples(int(epoch), int(number))
        parts = {"series": lambda: out.x, "label": lambda: self._one_hot(classes)}
        parts |= {"seen": lambda: out.seen, "weight": lambda: self.class_weights[classes], "day_of_year": lambda: days}
        parts["xy"] = lambda: np.stack([_joined([p.columns[n] for p in chosen]) for n in PLACE], axis=1)
        parts["pixel"] = lambda: _joined([p.columns["pixel"] for p in chosen])
        return [parts[name]() for name in self._spec()]

    def _samples(self, epoch: int, number: int):
        """Windows, (B,) classes, (B,) days of the year and the rows of one batch."""
        chosen = list(self._rows(epoch, number))
        total = sum(map(len, chosen))
        out = empty_windows(total, self.study.season.steps, len(self.study.channels))
        days, at = aligned((total,), np.int32), 0
        for pool in chosen:
            days[at : at + len(pool)] = self._fill(out, at, pool, epoch)
            at += len(pool)
        classes = apply_vegetation_rule(_joined([p.classes for p in chosen]), out.vegetation, self.study.legend)
        return out, classes, days, chosen

    def _rows(self, epoch: int, number: int) -> Iterator[Pool]:
        """The rows of one batch; they may lie in several pools."""
        ends = self.pools.ends(epoch)
        low, high = number * self.batch_size, min((number + 1) * self.batch_size, len(self.rows))
        for i in range(np.searchsorted(ends, low, "right") - 1, np.searchsorted(ends, high, "left")):
            part = slice(max(low - ends[i], 0), min(high, ends[i + 1]) - ends[i])
            yield self.pools.get(epoch, i).take(part)

    def _fill(self, out, at: int, pool: Pool, epoch: int) -> np.ndarray:
        """Compute the windows of some rows into ``out`` from ``at`` on; gives their starts, days of the year."""
        season, keys, year = self.study.season, pool.keys, pool.columns["year"]
        seeds = [scrambled(self.seed, epoch, sensor) for sensor in range(len(pool.series))]

        if self.start == "random":
            days = draw_starts(keys, season, self.seed, epoch)
        else:
            days = np.full(len(pool), self.start, np.int32)
        options = (keys, season, self.choose, self.fill, self.scaler, seeds, self.channels)
        fill_windows(out, at, pool.series, pool.rows, start_days(year, days), *options, wait=False)
        return days

    def _one_hot(self, classes: np.ndarray) -> np.ndarray:
        hot = aligned((len(classes), len(self.study.legend.classes)), np.float32)
        hot[:] = 0
        hot[np.arange(len(classes)), classes] = 1
        return hot

    def _spec(self) -> dict[str, tuple[type, tuple[int, ...]]]:
        """Name → dtype and shape without the batch, of the parts that are made."""
        steps, channels = self.study.season.steps, len(self.study.channels)
        every = {
            "series": (np.float32, (steps, channels)),
            "label": (np.float32, (len(self.study.legend.classes),)),
            "seen": (np.bool_, (steps,)),
            "weight": (np.float32, ()),
            "day_of_year": (np.int32, ()),
            "xy": (np.float64, (2,)),
            "pixel": (np.int64, ()),
        }
        return {name: kind for name, kind in every.items() if name in ("series", "label", *self.extras)}

    def _packed(self, parts: dict) -> tuple:
        x, y, weight = parts["series"], parts["label"], parts.get("weight")
        if set(self.extras) - {"weight"}:
            x = {name: part for name, part in parts.items() if name not in ("label", "weight")}
        return (x, y) if weight is None else (x, y, weight)

    # -- which rows, in which order -----------------------------------------------------------------------------------

    def _check(self) -> None:
        _known("choose", self.choose, CHOICES)
        _known("fill", self.fill, FILLS)
        for extra in self.extras:
            _known("extras", extra, EXTRAS)
        latest = max(366, self.study.season.last_day)
        if self.start != "random" and not (isinstance(self.start, int | np.integer) and 1 <= self.start <= latest):
            raise SampleError(
                f"Expected start = 'random' or a day of the year, 1 to {latest}, received {self.start!r}."
            )
        if self.batch_size < 1:
            raise SampleError(f"Expected a batch of at least one sample, received {self.batch_size}.")

    def _used(self, rows: Rows) -> tuple[Rows, dict[str, int]]:
        """The rows that give samples, and how many do not."""
        labelled = self.study.legend.classes_of(rows.column("label_code")) >= 0
        if not labelled.any():
            raise SampleError(
                f"Expected rows with a class, received {len(rows)} rows of {rows.name!r} of which the legend "
                f"{self.study.legend.name!r} excludes all. Look at the labels with `arset describe`."
            )
        season, year = self.study.season, rows.column("year")
        days = (season.first_day, season.last_day) if self.start == "random" else (self.start, self.start)
        shows = rows_with_images(rows, season, *(start_days(year, day) for day in days))
        counts = {"rows": len(rows), "excluded": int((~labelled).sum()), "no_image": int((labelled & ~shows).sum())}
        return rows.pick(labelled), counts | {"samples": int(labelled.sum())}

    def _order(self, epoch: int, number: int, count: int):
        """In which order the rows of a pool come."""
        if not self.shuffle:
            return slice(None)
        return generator(self.seed, "rows", epoch, number).permutation(count)

    def _order_of_groups(self, epoch: int, count: int) -> np.ndarray:
        return generator(self.seed, "row groups", epoch).permutation(count) if self.shuffle else np.arange(count)


def batches(
    source: Rows | pa.Table | str | Path, study: Study, scaler: Scaler | None, **options: Any
) -> tf.data.Dataset:
    """A ``tf.data.Dataset`` of ``(x, y)``: x (B, T, C) float32, y (B, K) float32 one-hot.

    For training ``batches(train, study, scaler, start="random", seed=1)``; for a test that gives the same numbers each
    time ``batches(test, study, scaler, start=120)``.

    Args:
        source, study, scaler, **options: See ``Loader``.

    Returns:
        A data set of known length, ready for ``model.fit``; each pass over it is another epoch with new draws.

    Lab: part2_load_data.
    """
    return Loader(source, study, scaler, **options).dataset()


def arrays(
    source: Rows | pa.Table | str | Path, study: Study, scaler: Scaler | None, *, epoch: int = 0, **options: Any
) -> Iterator[tuple]:
    """The batches of ``batches`` as NumPy arrays, without TensorFlow: for scikit-learn, PyTorch, JAX.

    Args:
        source, study, scaler, **options: See ``Loader``.
        epoch: Which pass.

    Returns:
        Iterator over one epoch.

    Lab: part2_load_data.
    """
    return Loader(source, study, scaler, **options).arrays(epoch)


def sequence(
    source: Rows | pa.Table | str | Path, study: Study, scaler: Scaler | None, **options: Any
) -> keras.utils.PyDataset:
    """The batches of ``batches`` as a ``keras.utils.PyDataset``, for Keras on JAX or PyTorch.

    Args:
        source, study, scaler, **options: See ``Loader``.

    Lab: part2_load_data.
    """
    return Loader(source, study, scaler, **options).sequence()


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _check_bands(rows: Rows, study: Study) -> None:
    have, expected = tuple(rows.meta.bands), study.table_bands
    if have == expected:
        return
    missing = [b for b in expected if b not in have]
    joined = " and join the other sensors' tables with pixels.join" if study.sensors else ""
    raise SampleError(
        f"Expected the study's bands {list(expected)}, received a table with {list(have)}, missing "
        f"{missing or 'none, but the order differs'}. Ingest with this study{joined}."
    )
