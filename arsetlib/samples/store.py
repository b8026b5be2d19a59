"""The rows of a loader: all in memory, or streamed from disk pool by pool.

Both have ``get(epoch, number)``, so that a batch can be made from its number alone.

Lab: part2_load_data.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from arsetlib import pixels
from arsetlib.pixels.arrays import buffers
from arsetlib.pixels.listing import footer
from arsetlib.pixels.sources import READERS, many
from arsetlib.samples.channels import Channels
from arsetlib.samples.draws import keys_of
from arsetlib.samples.rows import Rows, SampleError
from arsetlib.samples.scratch import BufferPool, Entry, Scratch, together
from arsetlib.samples.windows import check_order
from arsetlib.stores import StorePath
from arsetlib.study import Season, Study

KEPT = 3  # pools in memory: one that is used up, one in use, one being read
COLUMNS = ("pixel", "year", "label_code", "num_images", *pixels.SERIES)
PLACE = ("x", "y")


@dataclass(frozen=True)
class Streaming:
    """How a loader reads rows from disk instead of holding all in memory.

    Attributes:
        pool: Rows that are shuffled together: row groups from anywhere in the table. Memory holds three pools.
        scratch: A folder for a decoded copy of the table: uncompressed, up to twice the table's size on disk. The first
            epoch makes it, later ones and later loaders read it, nearly as fast as memory. Without one each epoch
            decodes the table anew, which halves the rate.

    Raises:
        SampleError: A pool without rows.

    Lab: part2_load_data.

    >>> Streaming(scratch="scratch")
    Streaming(pool=32768, scratch='scratch')
    """

    pool: int = 32_768
    scratch: str | Path | None = None

    def __post_init__(self):
        if self.pool < 1:
            raise SampleError(f"Expected a pool of at least one row, received {self.pool}.")


@dataclass(frozen=True)
class Pool:
    """Rows that are shuffled together.

    Attributes:
        series: Flat series of these and perhaps other rows, for each sensor.
        rows: (n,) which row of ``series`` each is.
        classes: (n,) int8, before the vegetation rule.
        columns: ``pixel``, ``year`` and, where wanted, ``x`` and ``y``, each (n,).
    """

    series: tuple[pixels.Ragged, ...]
    rows: np.ndarray
    classes: np.ndarray
    columns: dict[str, np.ndarray]

    @classmethod
    def of(
        cls, table: pa.Table, rows: np.ndarray, study: Study, channels: Channels, where: str = "", check: bool = True
    ) -> Pool:
        """Some rows of a table; ``where`` names its file in errors."""
        present = [n for n in ("label_code", "pixel", "year", *PLACE) if n in table.column_names]
        columns = {n: table.column(n).to_numpy()[rows] for n in present}
        series = checked(table, where) if check else pixels.ragged(table)
        classes = study.legend.classes_of(columns.pop("label_code"))
        return cls(channels.by_sensor(series), rows, classes, columns)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def keys(self) -> np.ndarray:
        """(n,) uint64, what the draws of each row hang on."""
        return keys_of(self.columns["pixel"], self.columns["year"])

    def take(self, order) -> Pool:
        """Some of the rows, in another order; the series stay where they are."""
        columns = {name: column[order] for name, column in self.columns.items()}
        return Pool(self.series, self.rows[order], self.classes[order], columns)


def checked(table: pa.Table, where: str = "") -> pixels.Ragged:
    """The series of a table whose lengths agree and whose days ascend.

    Raises:
        SampleError: Else, with the row.
    """
    try:
        series = pixels.ragged(table)
    except pixels.PixelError as error:
        raise SampleError(f"{where}{error}") from error
    images = table.column("num_images").to_numpy()
    wrong = np.flatnonzero(np.diff(series.offsets) != images)
    if len(wrong):
        row = int(wrong[0])
        raise SampleError(
            f"{where}row {row}: expected {images[row]} images as num_images says, received byte strings of "
            f"{np.diff(series.offsets)[row]}. Run `arset check` on the table."
        )
    check_order(series, where)
    return series


class MemoryPools:
    """All rows in memory: one pool."""

    def __init__(self, rows: Rows, study: Study, channels: Channels, columns, order: Callable):
        if isinstance(rows.source, pa.Table):
            self.pool = Pool.of(rows.source, rows.index, study, channels)
        else:
            table = rows.read(columns)
            self.pool = Pool.of(table, np.arange(len(rows)), study, channels, f"{rows.source}: ")
        self.order = order
        self.cache = PoolCache(lambda epoch, _: self.pool.take(self.order(epoch, 0, len(self.pool))))

    def ends(self, epoch: int) -> np.ndarray:
        """(P + 1,) number of the first sample of each pool, and the end of the last."""
        return np.array([0, len(self.pool)])

    def get(self, epoch: int, number: int) -> Pool:
        return self.cache.get((epoch, 0))


@dataclass(frozen=True)
class RowGroup:
    """A row group with the rows wanted of it."""

    file: Path | StorePath
    number: int
    rows: np.ndarray
    footer: pq.FileMetaData | None = None

    @property
    def where(self) -> str:
        """How an error about a row begins."""
        return f"{self.file}, row group {self.number}, "

    def decode(self, columns, check: bool) -> pa.Table:
        """All rows of the group, with checksums verified where ``check``."""
        return pixels.row_group(self.file, self.number, columns, check, self.footer)

    def pool(self, table: pa.Table, metadata: dict, study: Study, channels: Channels, check: bool) -> Pool:
        """The rows wanted of the group's table, with lengths and order verified where ``check``."""
        return Pool.of(table.replace_schema_metadata(metadata), self.rows, study, channels, self.where, check)


class StreamedPools:
    """Rows on disk, read in pools of row groups: memory holds three pools, whatever the table's size."""

    def __init__(
        self,
        rows: Rows,
        study: Study,
        channels: Channels,
        columns,
        order,
        shuffle: Callable[[int, int], np.ndarray],
        streaming: Streaming,
    ):
        self.study, self.channels, self.columns = study, channels, columns
        self.order, self.shuffle, self.size = order, shuffle, streaming.pool
        folder = streaming.scratch
        self.scratch = None if folder is None else Scratch(folder, columns, series_bytes(rows))
        self.buffers = BufferPool()
        self.metadata = rows.meta.to_kv()
        self.groups = _groups(rows)
        self.verified: set[tuple[Path, int]] = set()
        stored = bool(self.groups) and not isinstance(self.groups[0].file, Path)
        self.readers = ThreadPoolExecutor(READERS if stored else 2, "arset-read")
        self.cache = PoolCache(self._read, ahead=self._next)
        self.plans: OrderedDict[int, tuple[list[list[RowGroup]], np.ndarray]] = OrderedDict()
        self.lock = Lock()

    def plan(self, epoch: int) -> tuple[list[list[RowGroup]], np.ndarray]:
        """The groups of each pool of an epoch, and where each pool begins."""
        with self.lock:
            if epoch not in self.plans:
                self.plans[epoch] = self._plan(epoch)
                while len(self.plans) > KEPT:
                    self.plans.popitem(last=False)
            return self.plans[epoch]

    def _plan(self, epoch: int) -> tuple[list[list[RowGroup]], np.ndarray]:
        pools: list[list[RowGroup]] = [[]]
        sizes = [0]
        for i in self.shuffle(epoch, len(self.groups)):
            if sizes[-1] and sizes[-1] + len(self.groups[i].rows) > self.size:
                pools.append([])
                sizes.append(0)
            pools[-1].append(self.groups[i])
            sizes[-1] += len(self.groups[i].rows)
        return pools, np.cumsum([0, *sizes])

    def ends(self, epoch: int) -> np.ndarray:
        return self.plan(epoch)[1]

    def get(self, epoch: int, number: int) -> Pool:
        return self.cache.get((epoch, number))

    def _next(self, epoch: int, number: int) -> tuple[int, int]:
        """The pool that will be asked for next: of this epoch, or the first of the next one."""
        return (epoch, number + 1) if number + 2 < len(self.ends(epoch)) else (epoch + 1, 0)

    def _read(self, epoch: int, number: int) -> Pool:
        groups = self.plan(epoch)[0][number]
        if self.scratch is None:
            pool = _joined(list(self.readers.map(self._read_group, groups)))
        else:
            pool = self._read_scratch(groups)
        return pool.take(self.order(epoch, number, len(pool)))

    def _read_scratch(self, groups: list[RowGroup]) -> Pool:
        entries = list(self.readers.map(self._entry, groups))
        series, columns = together(entries, self.readers.map, self.buffers)
        first = np.cumsum([0] + [entry.rows for entry in entries])
        rows = np.concatenate([group.rows + low for group, low in zip(groups, first[:-1], strict=True)])
        columns = {name: columns[name][rows] for name in columns}
        classes = self.study.legend.classes_of(columns.pop("label_code"))
        return Pool(self.channels.by_sensor(series), rows, classes, columns)

    def _entry(self, group: RowGroup) -> Entry:
        """The group in the scratch folder, its checksum verified when it is first used."""
        key = (group.file, group.number)
        entry = self.scratch.entry(*key, lambda: self._decoded(group), key not in self.verified)
        self.verified.add(key)
        return entry

    def _decoded(self, group: RowGroup) -> dict[str, np.ndarray]:
        table = group.decode(self.columns, True).replace_schema_metadata(self.metadata)
        series = checked(table, group.where)
        small = {n: table.column(n).to_numpy() for n in self.columns if n not in ("num_images", *pixels.SERIES)}
        return {"offsets": series.offsets, **{n: getattr(series, n) for n in pixels.SERIES}, **small}

    def _read_group(self, group: RowGroup) -> Pool:
        """Each group is verified when it is read for the first time."""
        key = (group.file, group.number)
        first = key not in self.verified
        table = group.decode(self.columns, first)
        pool = group.pool(table, self.metadata, self.study, self.channels, first)
        self.verified.add(key)
        return pool


class PoolCache:
    """The pools used last, each made once, in a thread; the next one is made ahead of time."""

    def __init__(self, make: Callable[[int, int], Pool], ahead=lambda epoch, number: None):
        self.make, self.ahead = make, ahead
        self.lock = Lock()
        self.pools: OrderedDict[tuple[int, int], Future] = OrderedDict()
        self.threads = ThreadPoolExecutor(1, "arset-pool")

    def get(self, key: tuple[int, int]) -> Pool:
        following = self.ahead(*key)
        with self.lock:
            pool = self._future(key)
            if following is not None:
                self._future(following)
            self.pools.move_to_end(key)
            while len(self.pools) > KEPT:
                self.pools.popitem(last=False)
        return pool.result()

    def get_of(self, epoch: int, number: int) -> Pool:
        """``get`` with two arguments."""
        return self.get((epoch, number))

    def _future(self, key: tuple[int, int]) -> Future:
        if key not in self.pools:
            self.pools[key] = self.threads.submit(self.make, *key)
        return self.pools[key]


def _joined(parts: list[Pool]) -> Pool:
    """Pools one after the other; the series are copied once."""
    if len(parts) == 1:
        return parts[0]
    rows = np.cumsum([0] + [len(p.series[0].offsets) - 1 for p in parts])
    series = tuple(_joined_series(one) for one in zip(*(p.series for p in parts), strict=True))
    places = np.concatenate([p.rows + n for p, n in zip(parts, rows[:-1], strict=True)])
    columns = {name: np.concatenate([p.columns[name] for p in parts]) for name in parts[0].columns}
    return Pool(series, places, np.concatenate([p.classes for p in parts]), columns)


def _joined_series(parts: tuple[pixels.Ragged, ...]) -> pixels.Ragged:
    images = np.cumsum([0] + [len(p.day) for p in parts])
    return pixels.Ragged(
        np.concatenate([[0]] + [p.offsets[1:] + n for p, n in zip(parts, images[:-1], strict=True)]),
        *(np.concatenate([getattr(p, name) for p in parts]) for name in pixels.SERIES),
    )


def _groups(rows: Rows) -> list[RowGroup]:
    """The row groups that hold rows wanted, in order."""
    groups, first = [], 0
    parquet = pixels.files(rows.source)
    for file, content in zip(parquet, many(footer, parquet), strict=True):
        for number in range(content.num_row_groups):
            count = content.row_group(number).num_rows
            low, high = np.searchsorted(rows.index, (first, first + count))
            if high > low:
                groups.append(RowGroup(file, number, rows.index[low:high] - first, content))
            first += count
    return groups


def series_bytes(rows: Rows) -> int:
    """Bytes that the series of a table on disk take in memory, about."""
    return sum(
        content.row_group(g).total_byte_size
        for content in many(footer, pixels.files(rows.source))
        for g in range(content.num_row_groups)
    )


def rows_with_images(rows: Rows, season: Season, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Rows with an image in some window.

    Args:
        rows: R rows.
        season: Length of a window.
        first, last: (R,) earliest and latest start of a window, days since 1970-01-01.

    Returns:
        (R,) bool.
    """
    has_image = np.zeros(len(rows), bool)
    for begin, batch in rows._pieces(["day"]):
        low, high = np.searchsorted(rows.index, (begin, begin + batch.num_rows))
        offsets, raw = buffers(batch.column("day"))
        day = raw[: len(raw) // 2 * 2].view("<u2").astype(np.int32)
        local = rows.index[low:high] - begin
        since, until = np.full((2, batch.num_rows), np.iinfo(np.int32).max)
        since[local], until[local] = first[low:high], last[low:high] + season.window_days
        owner = np.repeat(np.arange(batch.num_rows), np.diff(offsets // 2))
        inside = (day >= since[owner]) & (day < until[owner])
        has_image[low:high] = (np.bincount(owner[inside], minlength=batch.num_rows) > 0)[local]
    return has_image
