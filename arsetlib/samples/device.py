"""The loader's batches computed on a GPU: the columns go there once, and only row numbers follow.

    train = samples.Loader(rows, study, scaler, batch=8192, seed=1, place="device")
    x, y = train.batch(epoch=0, number=0)      # tensors of Keras's backend, on its device

A processor core makes about a million windows a second, a small network on a GPU takes ten million. So windows, draws,
scaling and labels are computed beside the network, by Keras's operations: on TensorFlow, JAX and PyTorch. The draws are
those of ``draws``, so that batches are the same as without a GPU: the same rows, starts and images bit for bit, scaled
values equal to rounding in float32.

The fast form: a table with, for each row and each day, the number of images before that day. An image of a step is
then found by two look-ups, whatever the length of the series, and its values by one more.

Where a table is streamed (``stream=Streaming(pool=…)``) each pool goes to the device while the one before it is used.

Lab: part2_load_data.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from arsetlib.extras import missing
from arsetlib.pixels import Ragged
from arsetlib.samples.backends import backend, compiled, on_device, on_gpu
from arsetlib.samples.draws import START, scrambled
from arsetlib.samples.kernels import VEGETATION
from arsetlib.samples.rows import SampleError
from arsetlib.samples.store import MemoryPools, Pool, PoolCache
from arsetlib.samples.windows import start_days
from arsetlib.samples.words import arithmetic
from arsetlib.seeds import GOLDEN

if TYPE_CHECKING:
    from arsetlib.samples.loader import Loader

CHOICES = ("random", "first", "last")  # those that are computed on the device
EXTRAS = ("seen", "weight", "day_of_year")
AT_ONCE = 65_536  # windows that one call computes on a GPU: smaller calls cost more than the windows
SHARE = 0.5  # of the device's memory that the columns may take; the network needs the rest
ROWS = 8192  # rows whose table of days is made at once
LARGEST = 2**31 - 1  # elements of an array that 32-bit row numbers reach


@dataclass(frozen=True)
class Device:
    """The device of Keras's backend, and how much of it a loader may use.

    Attributes:
        memory: Bytes that the columns of the table may take there. None: half of what a GPU has; a CPU has no limit.

    Lab: part2_load_data.

    >>> Device(memory=2**30)
    Device(memory=1073741824)
    """

    memory: int | None = None


@dataclass(frozen=True)
class Block:
    """One or more batches that are computed on the device.

    Attributes:
        steps: K batches.
        arguments: Tensors: the columns, the seed of the epoch, (K, B) rows of the columns.
        make: (arguments, k) → ``(x, y)`` or ``(x, y, weight)`` of the k-th batch; it can be compiled.
    """

    steps: int
    arguments: tuple
    make: Callable


class DeviceBatches:
    """The batches of a loader, on the device of Keras's backend.

    Args:
        loader: Whose rows, draws and order are taken.
        memory: Bytes that the columns may take there. None: half of what the device has; a CPU has no limit.

    Raises:
        SampleError: Columns that do not fit; a choice, fill, channel or extra that is only offered on the host; Keras
            is too old.
        MissingPackage: Keras or its backend is not installed.
    """

    def __init__(self, loader: Loader, memory: int | None = None) -> None:
        _check(loader)
        self.loader, self.memory = loader, memory if memory is not None else _free_memory()
        self.make = _maker(loader)
        pools = loader.pools
        if isinstance(pools, MemoryPools):
            self._check_size(pools.pool)
            once = functools.cache(lambda: self._put(pools.pool))
            self._columns = lambda epoch, number: once()
        else:
            self._columns = PoolCache(lambda *key: self._put(pools.get(*key)), pools._next).get_of

    def blocks(self, epoch: int, most: int | None = None) -> Iterator[Block | tuple]:
        """The batches of an epoch in order.

        Args:
            epoch: Which.
            most: Batches in a block. None: as many as make ``AT_ONCE`` windows on a GPU, 1 on a CPU.

        Returns:
            Blocks. A batch that lies in two pools is made on the host and comes as arrays.
        """
        most = most or (max(AT_ONCE // self.loader.batch_size, 1) if on_gpu() else 1)
        number, steps = 0, self.loader.steps
        while number < steps:
            size = most if self._inside(epoch, number, number + most) else 1
            yield self.block(epoch, number, size)
            number += size

    def block(self, epoch: int, number: int, size: int = 1) -> Block | tuple:
        """``size`` batches from ``number`` on, all of one pool; arrays where one batch lies in two."""
        from keras import ops

        loader, batch = self.loader, self.loader.batch_size
        ends = loader.pools.ends(epoch)
        low, high = number * batch, min((number + size) * batch, len(loader.rows))
        pool = int(np.searchsorted(ends, low, "right")) - 1
        if high > ends[pool + 1]:
            return loader.batch_on_host(epoch, number)
        rows = self._order(epoch, pool)[low - ends[pool] : high - ends[pool]].reshape(size, -1)
        seed = ops.convert_to_tensor(arithmetic().stored(scrambled(loader.seed, epoch)[None]))
        return Block(size, (self._columns(epoch, pool), seed, ops.convert_to_tensor(rows)), self.make)

    def batch(self, epoch: int, number: int) -> tuple:
        """One batch, see ``Loader.batch``."""
        block = self.block(epoch, number)
        if isinstance(block, tuple):
            return on_device(block)
        return compiled(block.make)(block.arguments, _number(0))

    def arrays(self, epoch: int) -> Iterator[tuple]:
        """All batches of an epoch."""
        for block in self.blocks(epoch):
            if isinstance(block, tuple):
                yield on_device(block)
                continue
            for k in range(block.steps):
                yield compiled(block.make)(block.arguments, _number(k))

    def _inside(self, epoch: int, first: int, last: int) -> bool:
        """Whether these batches are full and of one pool."""
        ends, batch = self.loader.pools.ends(epoch), self.loader.batch_size
        pool = int(np.searchsorted(ends, first * batch, "right")) - 1
        return last * batch <= ends[pool + 1]

    @functools.lru_cache(maxsize=2)  # noqa: B019 -- as long as the loader
    def _order(self, epoch: int, pool: int) -> np.ndarray:
        """The rows of a pool, in the order of the epoch."""
        size = int(np.diff(self.loader.pools.ends(epoch))[pool])
        rows = np.arange(size, dtype=np.int32)
        if isinstance(self.loader.pools, MemoryPools):
            return rows[self.loader._order(epoch, 0, size)]
        return rows  # a streamed pool is in the order of its epoch

    def _put(self, pool: Pool) -> dict[str, Any]:
        """The columns of a pool, on the device."""
        from keras import ops

        (series,) = pool.series
        self._check_size(pool)
        series, first = _only(series, pool.rows), self._days()[0]
        zero = np.zeros((1, series.bands.shape[1]), "<u2")  # what a step without image points to
        before = images_before(series, start_days(pool.columns["year"], first), self._days()[1])
        green = (series.scl == VEGETATION).astype(np.uint8)
        twice = np.concatenate([green | np.concatenate([[0], green[:-1]]).astype(np.uint8) << 1, [0]])
        columns = {
            "bands": np.concatenate([series.bands, zero]).view(np.int16),
            "green": twice.astype(np.uint8),
            "before": before.reshape(-1),
            "first": series.offsets[:-1].astype(np.int32),
            "key": arithmetic().stored(pool.keys),
            "class": pool.classes.astype(np.int32),
        }
        return {name: ops.convert_to_tensor(_padded(column)) for name, column in columns.items()}

    def _days(self) -> tuple[int, int]:
        """The first day of the year on which a window may start, and how many days the table of images has."""
        season, start = self.loader.study.season, self.loader.start
        first, last = (season.first_day, season.last_day) if start == "random" else (start, start)
        return first, last - first + season.window_days + 1

    def _check_size(self, pool: Pool) -> None:
        (series,), days, rows = pool.series, self._days()[1], len(pool)
        images = int(np.diff(series.offsets)[pool.rows].sum()) + 1
        needed, elements = images * (2 * series.bands.shape[1] + 1) + rows * (days + 13), max(rows * days, images)
        streamed = not isinstance(self.loader.pools, MemoryPools)
        if (self.memory is None or needed * (2 if streamed else 1) <= self.memory) and elements <= LARGEST:
            return
        fits = max(int(rows * min((self.memory or needed) / needed / 2, LARGEST / elements)), 1)
        limit = f"{self.memory / 2**20:,.0f} MiB" if self.memory is not None else f"{LARGEST:,} elements in an array"
        raise SampleError(
            f"The columns of {rows:,} rows take {needed / 2**20:,.0f} MiB on the device"
            f"{', twice, because the next pool goes there meanwhile' if streamed else ''}; the limit is {limit}. Let "
            f"them go there in parts: give the path of the table and stream=Streaming(pool={fits}). Or take fewer "
            "rows, or place='host'."
        )


def _check(loader: Loader) -> None:
    """Refuse what only the host computes, and a Keras without the operations."""
    try:
        from keras import ops
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] == "keras":
            raise missing("keras") from error
        raise backend_absent(error) from error

    if not hasattr(ops, "right_shift"):
        raise SampleError("place='device' needs Keras 3.9 or newer. Update it, or take place='host'.")
    asked = {"choose": (loader.choose, CHOICES), "fill": (loader.fill, ("zeros",))}
    for noun, (value, offered) in asked.items():
        if value not in offered:
            raise SampleError(
                f"place='device' offers {noun} = {', '.join(map(repr, offered))}, received {value!r}. Take "
                "place='host'."
            )
    more = [extra for extra in loader.extras if extra not in EXTRAS]
    if more:
        raise SampleError(f"place='device' offers the extras {', '.join(EXTRAS)}, received {more}. Take place='host'.")
    if not loader.channels.plain:
        raise SampleError(
            f"place='device' offers the bands of one sensor, received the channels {list(loader.channels.names)}. Take "
            "place='host' for other sensors, indices and the calendar."
        )


def backend_absent(error: ModuleNotFoundError) -> SampleError:
    """The error for a backend of Keras that is not installed."""
    import os

    name = os.environ.get("KERAS_BACKEND", "tensorflow")
    return SampleError(
        f"Keras is asked for the backend {name!r}, and the package {error.name!r} is not installed. Install it, or set "
        "KERAS_BACKEND to tensorflow, jax or torch, whichever is there, before Python starts."
    )


# Columns, made on the host


def images_before(series: Ragged, start: np.ndarray, days: int) -> np.ndarray:
    """How many images of each row lie before each day.

    Args:
        series: R rows.
        start: (R,) the first of the days, days since 1970-01-01.
        days: D days.

    Returns:
        (R, D) uint8, or int32 where a row has more than 255 images.

    >>> series = Ragged(np.array([0, 2]), np.array([5, 7], "<u2"), np.zeros(2, "u1"), np.zeros((2, 1), "<u2"))
    >>> images_before(series, np.array([4]), 5).tolist()
    [[0, 0, 1, 1, 2]]
    """
    size = np.diff(series.offsets)
    out = np.empty((len(size), days), np.uint8 if size.max(initial=0) < 256 else np.int32)
    for low in range(0, len(size), ROWS):
        high = min(low + ROWS, len(size))
        images = slice(series.offsets[low], series.offsets[high])
        owner = np.repeat(np.arange(high - low), size[low:high])
        after = series.day[images].astype(np.int64) - start[low:high][owner] + 1  # first day that counts the image
        after = owner * (days + 1) + np.clip(after, 0, days)
        counts = np.bincount(after, minlength=(high - low) * (days + 1)).reshape(-1, days + 1)
        np.cumsum(counts[:, :days], axis=1, out=out[low:high], dtype=out.dtype)
    return out


def _only(series: Ragged, rows: np.ndarray) -> Ragged:
    """The series of these rows, in their order."""
    if len(rows) == len(series.offsets) - 1 and (rows == np.arange(len(rows))).all():
        return series
    size = np.diff(series.offsets)[rows]
    offsets = np.concatenate([[0], np.cumsum(size)])
    where = np.arange(offsets[-1]) + np.repeat(series.offsets[rows] - offsets[:-1], size)
    return Ragged(offsets, series.day[where], series.scl[where], series.bands[where])


def _padded(column: np.ndarray) -> np.ndarray:
    """A column whose length is one of few, so that pools of about the same size do not compile anew."""
    length = len(column)
    step = max(1 << max(length.bit_length() - 4, 0), 1)
    more = -length % step
    return np.concatenate([column, np.zeros((more, *column.shape[1:]), column.dtype)]) if more else column


# Computed on the device


def _maker(loader: Loader) -> Callable:
    """The function that computes a batch from ``Block.arguments``."""
    from keras import ops

    study, season, numbers = loader.study, loader.study.season, arithmetic()
    bare = [i for i, c in enumerate(study.legend.classes) if not c.codes]
    crop = np.array([c.crop for c in study.legend.classes])
    first, choices = season.first_day, season.last_day - season.first_day + 1
    days = (choices if loader.start == "random" else 1) + season.window_days
    edges = season.step_days * np.arange(season.steps + 1, dtype=np.int32)
    of_step = (np.arange(season.steps, dtype=np.uint64) + np.uint64(1)) * GOLDEN
    of_start = np.uint64((START + 1) * int(GOLDEN) % 2**64)
    weights = loader.class_weights if "weight" in loader.extras else None
    scaler = loader.scaler

    def make(arguments: tuple, k: Any) -> tuple:
        columns, seed, blocks = arguments
        rows = ops.take(blocks, k, axis=0)  # (B,)
        base = numbers.mixed(numbers.plus(numbers.taken(columns["key"], rows), seed))
        if loader.start == "random":
            begin = numbers.share(numbers.plus(base, numbers.constant(of_start[None])), choices)  # (B,) from 0 on
            day_of_year = begin + first
        else:
            begin = ops.zeros_like(rows)
            day_of_year = begin + int(loader.start)
        at = ops.expand_dims(rows * days + begin, 1) + ops.convert_to_tensor(edges)  # (B, T + 1)
        before = ops.cast(ops.take(columns["before"], at, axis=0), "int32")
        low, count = before[:, :-1], before[:, 1:] - before[:, :-1]
        seen, offset = count > 0, ops.take(columns["first"], rows, axis=0)
        if loader.choose == "random":
            drawn = numbers.plus(numbers.column(base), numbers.constant(of_step[None]))
            low = low + numbers.share(drawn, count)
        elif loader.choose == "last":
            low = low + count - 1
        nothing = ops.shape(columns["bands"])[0] - 1  # padding is zero, too
        image = ops.where(seen, ops.expand_dims(offset, 1) + low, nothing)
        raw = ops.cast(ops.take(columns["bands"], ops.reshape(image, (-1,)), axis=0), "int32")
        raw = ops.reshape(raw, (-1, season.steps, raw.shape[-1]))
        x = ops.cast(ops.where(raw < 0, raw + 65536, raw), "float32")
        if scaler is not None:
            mean, std = (ops.convert_to_tensor(np.float32(values)) for values in (scaler.mean, scaler.std))
            x = ops.where(raw == 0, ops.zeros_like(x), (x - mean) / std)
        classes = ops.take(columns["class"], rows, axis=0)
        if bare:
            images = before[:, -1] - before[:, 0]
            green = ops.cast(ops.take(columns["green"], ops.maximum(offset + before[:, -1] - 1, 0), axis=0), "int32")
            visible = ops.where(images > 1, green > 0, ops.logical_and(images > 0, green % 2 == 1))
            hidden = ops.logical_and(ops.take(ops.convert_to_tensor(crop), classes, axis=0), ops.logical_not(visible))
            classes = ops.where(hidden, bare[0], classes)
        parts = {"series": x, "label": ops.one_hot(classes, len(crop), dtype="float32")}
        if "seen" in loader.extras:
            parts["seen"] = seen
        if weights is not None:
            parts["weight"] = ops.take(ops.convert_to_tensor(weights), classes, axis=0)
        if "day_of_year" in loader.extras:
            parts["day_of_year"] = ops.cast(day_of_year, "int32")
        return loader._packed(parts)

    return make


def _free_memory() -> int | None:
    """Bytes that columns may take on the device; None on a CPU, and where the backend does not tell."""
    if not on_gpu():
        return None
    if backend() == "jax":
        import jax

        limit = (jax.devices()[0].memory_stats() or {}).get("bytes_limit")
        return None if limit is None else int(SHARE * limit)
    if backend() == "torch":
        import torch

        return int(SHARE * torch.cuda.mem_get_info()[0])
    return None


def _number(k: int) -> Any:
    from keras import ops

    return ops.convert_to_tensor(k, dtype="int32")
