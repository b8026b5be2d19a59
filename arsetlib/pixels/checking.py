"""Checking a pixel table: whether all its files are there, unchanged, and which rows break which rule.

Lab: part1_build_dataset.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyproj import Transformer

from arsetlib import folders
from arsetlib.pixels.listing import differences, planned
from arsetlib.pixels.meta import Meta
from arsetlib.pixels.reading import FileBatch, stream
from arsetlib.pixels.rules import RULES, Break, broken_places, broken_series, complete_rows, missing_values
from arsetlib.translation import _

EXAMPLES = 20  # rows named per rule; all are counted
PER_PASS = 16_000_000  # rows whose keys are compared at once


@dataclass(frozen=True)
class TableReport:
    """What ``check`` found.

    Attributes:
        path: The table.
        rows: Rows looked at.
        counts: Rule to number of rows that break it, for all rules of ``RULES``.
        breaks: The first rows that break each rule, at most 20 per rule.
        planned: Number of files that the table was planned to have; None if nothing states it (a single file, or a
            folder that another program wrote): then it cannot be known whether the table is complete.
        files: What is wrong with its files: missing, changed, or not planned. The rows are not checked then.
    """

    path: str
    rows: int
    counts: dict[str, int]
    breaks: tuple[Break, ...]
    planned: int | None = None
    files: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether all planned files are there, as they were written, and no row breaks a rule."""
        return not self.files and not any(self.counts.values())

    def as_dict(self) -> dict:
        """The same as JSON values."""
        return asdict(self) | {"ok": self.ok, "breaks": [asdict(b) for b in self.breaks]}

    def __str__(self) -> str:
        if self.files:
            words = _("{n} of its files are not as planned, so its rows were not checked.").format(n=len(self.files))
            lines = [f"{self.path}: {words}", *(f"  {words}." for words in self.files[:EXAMPLES])]
            return "\n".join([*lines, _("Run the command that made the table again, or copy it again.")])
        if self.ok:
            words = _("{rows} rows keep all {n} rules.").format(rows=f"{self.rows:,}", n=len(RULES))
            if self.planned is not None:
                words = _("All {n} planned files are there, unchanged.").format(n=f"{self.planned:,}") + f" {words}"
            elif folders.place(self.path).is_dir():
                words += " " + _("It has no manifest, so it cannot be known whether it is complete.")
            return f"{self.path}: {words}"
        lines = [f"{self.path}: " + _("of {rows} rows").format(rows=f"{self.rows:,}")]
        broken = _("{n} break {rule} ({words}), first:")
        for rule, count in self.counts.items():
            if count:
                lines.append(broken.format(n=f"{count:,}", rule=repr(rule), words=_(RULES[rule])))
                lines += [f"  {b}" for b in self.breaks if b.rule == rule][:3]
        return "\n".join(lines)


def check(path: str | Path) -> TableReport:
    """Check that all planned files of a table are there, unchanged, and that each row keeps the rules in ``RULES``.

    All bytes are compared with the checksums of the manifest. The table is streamed, so memory does not grow with it.

    Args:
        path: Folder or file.

    Returns:
        Wrong files; counts per rule, and the first rows that break each with file, row group and row.

    Raises:
        PixelError: The table cannot be read at all: missing, unfinished, damaged, or of another schema.

    Lab: part1_build_dataset.

    >>> report = check("data/pixels")  # doctest: +SKIP
    >>> assert report.ok, str(report)  # doctest: +SKIP
    """
    breaks, names = _Breaks(), planned(path)
    expected = None if names is None else len(names)
    if names is not None and (wrong := tuple(differences(path, deep=True, others=True))):
        return TableReport(str(path), 0, breaks.counts, (), expected, wrong)
    meta = Meta.of(path)
    to_lonlat = Transformer.from_crs(meta.crs, "EPSG:4326", always_xy=True)
    for piece in stream(path):
        breaks.rows += piece.batch.num_rows
        complete = complete_rows(piece.batch)
        breaks.add(piece, "null", ~complete, lambda i, b=piece.batch: missing_values(b, i))
        rows = np.flatnonzero(complete)
        batch = piece.batch if complete.all() else piece.batch.filter(pa.array(complete))
        for rule, broken, words in (*broken_places(batch, meta, to_lonlat), *broken_series(batch, meta)):
            breaks.add(piece, rule, broken, words, rows)
    _find_duplicates(path, breaks)
    examples = sorted(breaks.examples, key=lambda b: list(RULES).index(b.rule))
    return TableReport(str(path), breaks.rows, breaks.counts, tuple(examples), expected)


class _Breaks:
    """Counts and examples, added to as the table is streamed."""

    def __init__(self) -> None:
        self.rows = 0
        self.counts = dict.fromkeys(RULES, 0)
        self.examples: list[Break] = []

    def add(
        self,
        piece: FileBatch,
        rule: str,
        broken: np.ndarray,
        words: Callable[[int], str],
        rows: np.ndarray | None = None,
    ) -> None:
        """Add the rows of a piece where ``broken``: ``words(i)`` describes row i, ``rows[i]`` is its number there."""
        where = np.flatnonzero(broken)
        for i in where[: max(EXAMPLES - self.counts[rule], 0)]:
            row = piece.row + int(i if rows is None else rows[i])
            self.examples.append(Break(str(piece.file), piece.row_group, row, rule, words(int(i))))
        self.counts[rule] += len(where)


def _find_duplicates(path: str | Path, breaks: _Breaks) -> None:
    """Compare (pixel, year) of all rows, for some of the pixels at a time, so that memory does not grow."""
    passes = max(1, -(-breaks.rows // PER_PASS))
    for turn in range(passes):
        pieces, keys, start = [], [np.zeros((3, 0), np.int64)], 0
        for piece in stream(path, ["pixel", "year"]):
            pixel, year = (piece.batch.column(n).fill_null(-1).to_numpy() for n in ("pixel", "year"))
            mine = np.flatnonzero(pixel % passes == turn)
            keys.append(np.stack([pixel[mine], year[mine], mine + start]))
            pieces.append((start, piece.batch.num_rows, replace(piece, batch=None)))
            start += piece.batch.num_rows
        _add_duplicates(breaks, pieces, np.concatenate(keys, axis=1))


def _add_duplicates(breaks: _Breaks, pieces: list[tuple[int, int, FileBatch]], keys: np.ndarray) -> None:
    """Record the rows whose (pixel, year) an earlier row has; keys: (3, R) pixel, year, row in the table."""
    pixel, year, row = keys[:, np.lexsort(keys[::-1])]
    again = np.flatnonzero((pixel[1:] == pixel[:-1]) & (year[1:] == year[:-1])) + 1
    again = again[np.argsort(row[again])]
    owner = np.searchsorted([start for start, _, _ in pieces], row[again], side="right") - 1
    for number in np.unique(owner):
        start, count, piece = pieces[number]
        mine = again[owner == number]
        broken = np.zeros(count, bool)
        broken[row[mine] - start] = True
        words = {int(row[k] - start): f"pixel {pixel[k]} again in {year[k]}" for k in mine[:EXAMPLES]}
        breaks.add(piece, "duplicate", broken, words.__getitem__)
