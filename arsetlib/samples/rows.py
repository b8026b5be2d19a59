"""Some rows of a table: a split returns them, a loader reads them.

Lab: part2_load_data.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from arsetlib import folders, pixels
from arsetlib.errors import ArsetError
from arsetlib.study import Season


class SampleError(ArsetError, ValueError):
    """Samples cannot be made from the input; the message says why and what to do."""


@dataclass(frozen=True)
class Rows:
    """Some rows of a pixel table; nothing of the series is copied or read until it is needed.

    Attributes:
        source: A table in memory, or the path of one.
        index: (R,) int64, row numbers in ``source``, ascending.
        name: What messages call it.
    """

    source: pa.Table | Path
    index: np.ndarray
    name: str = "table"

    @classmethod
    def of(cls, source: Rows | pa.Table | str | Path) -> Rows:
        """Rows as they are, or all rows of a table or path.

        Raises:
            PixelError: The table is missing, unfinished or damaged, or no pixel table.
        """
        if isinstance(source, Rows):
            return source
        if isinstance(source, pa.Table):
            return cls(source, np.arange(source.num_rows))
        path = folders.place(source)
        return cls(path, np.arange(pixels.dataset(path).count_rows()), path.name)

    def __len__(self) -> int:
        return len(self.index)

    @property
    def meta(self) -> pixels.Meta:
        """Bands, grid and study of the table."""
        return pixels.Meta.of(self.source)

    def check_season(self, season: Season, start: int | None = None) -> None:
        """Refuse a table whose rows end before the windows of a season do.

        Args:
            season: Where windows start, and how long they are.
            start: The one day of the year on which windows start; None where it is any of the season's.

        Raises:
            SampleError: The season runs on over New Year, and the table was ingested for another one.
        """
        extra = self.meta.extra
        if "chunk" not in extra or not (season.over_new_year or "days" in extra):
            return  # not ingested by us, or both keep to the calendar year
        first, last = extra.get("days", (1, 365))
        low, high = (season.first_day, season.last_day) if start is None else (start, start)
        high += season.window_days - 1
        if low < first or high > last:
            raise SampleError(
                f"The windows go from day {low} to day {high} of a year, and the rows of {self.name!r} hold images of "
                f"the days {first} to {last}. Ingest the table again with this season; day 366 and later are of the "
                "next calendar year."
            )

    def pick(self, chosen: np.ndarray, name: str | None = None) -> Rows:
        """Some of these rows; ``chosen`` is (R,) bool."""
        return Rows(self.source, self.index[np.asarray(chosen, bool)], name or self.name)

    def column(self, name: str) -> np.ndarray:
        """(R,) one column of these rows, not a series."""
        if isinstance(self.source, pa.Table):
            whole = self.source.column(name)
        else:
            whole = pixels.read(self.source, [name]).column(name)
        return whole.to_numpy()[self.index]

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """These rows as a table in memory.

        Args:
            columns: All by default.

        Raises:
            PixelError: A file is truncated or damaged.
        """
        names = list(columns or pixels.SCHEMA.names)
        schema = pa.schema([pixels.SCHEMA.field(n) for n in names], metadata=self.meta.to_kv())
        parts = []
        for first, batch in self._pieces(names):
            low, high = np.searchsorted(self.index, (first, first + batch.num_rows))
            if high - low == batch.num_rows:
                parts.append(batch)
            elif high > low:
                parts.append(batch.take(pa.array(self.index[low:high] - first)))
        return pa.Table.from_batches([pa.RecordBatch.from_arrays(p.columns, schema=schema) for p in parts], schema)

    def _pieces(self, names: list[str]) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Batches of the whole source in order, each with the number of its first row."""
        if isinstance(self.source, pa.Table):
            pieces = iter(self.source.select(names).to_batches())
        else:
            pieces = (part.batch for part in pixels.stream(self.source, names))
        first = 0
        for batch in pieces:
            yield first, batch
            first += batch.num_rows
