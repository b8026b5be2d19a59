"""Tables of two sensors joined into one: optical and radar images, in order of date.

Lab: part3_train_and_test.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from arsetlib.pixels.arrays import Ragged, make_batch, ragged
from arsetlib.pixels.meta import Meta
from arsetlib.pixels.reading import read
from arsetlib.pixels.schema import SCHEMA, SMALL, PixelError

UNKNOWN = 0  # scene class of a day without an image of the first sensor: no data


def join(first: pa.Table | str | Path, second: pa.Table | str | Path, *, missing: str = "refuse") -> pa.Table:
    """Join two pixel tables of the same pixels and years into one with the bands of both.

    Each image of either becomes an observation with 0, no data, in the bands of the other; images of one day become
    one observation. Scene classes are those of the first table, and 0 where it has no image. With the second table's
    bands as ``[channels] sensors`` in the study file, each sensor gets an image of its own in each step.

    Args:
        first: The table that gives rows, their order, labels and scene classes, such as the optical one; in memory,
            or its path.
        second: The other, such as radar. Its values are whole numbers from 1 to 65,535 like all in a pixel table:
            scale your backscatter so that none is 0, which is no data.
        missing: What to do with rows that only one of the tables has: ``"refuse"``, or ``"drop"`` them.

    Returns:
        A table in ``SCHEMA`` with metadata, ready for ``write`` and ``samples``: the first table's bands, then the
        second's.

    Raises:
        PixelError: Tables of different grids, blocks or scales, with a band in common, with a pixel and year twice,
            with rows that the other lacks, with labels that differ, or with days that do not ascend strictly.

    Lab: part3_train_and_test.
    """
    tables = [table if isinstance(table, pa.Table) else read(table) for table in (first, second)]
    meta = _joined_meta(*(Meta.of(table) for table in tables))
    mine, theirs = _partners(tables[0], tables[1], missing)
    tables = [tables[0].take(pa.array(mine)), tables[1].take(pa.array(theirs))]
    _check_labels(*tables)
    parts = [ragged(table) for table in tables]
    keys = [_keys(part, noun) for part, noun in zip(parts, ("first", "second"), strict=True)]
    every = np.union1d(*keys)
    width = [part.bands.shape[1] for part in parts]
    scl, bands = np.full(len(every), UNKNOWN, "u1"), np.zeros((len(every), sum(width)), "<u2")
    at = [np.searchsorted(every, key) for key in keys]
    scl[at[0]] = parts[0].scl
    bands[at[0], : width[0]], bands[at[1], width[0] :] = parts[0].bands, parts[1].bands
    count = np.bincount(every >> 16, minlength=len(mine))
    small = {n: tables[0].column(n).combine_chunks() for n in SMALL if n != "num_images"}
    batch = make_batch(day=every & 0xFFFF, scl=scl, bands=bands, offsets=np.cumsum([0, *count]), **small)
    return pa.Table.from_batches([batch], SCHEMA).replace_schema_metadata(meta.to_kv())


def _joined_meta(first: Meta, second: Meta) -> Meta:
    for noun, ours, theirs in (
        ("grid", (first.crs, first.resolution), (second.crs, second.resolution)),
        ("scale", first.scale, second.scale),
        ("block side, m", first.extra.get("block_m"), second.extra.get("block_m")),
    ):
        if ours != theirs:
            raise PixelError(f"Expected two tables of one {noun}, received {ours} and {theirs}. Make them of one grid.")
    both = sorted(set(first.bands) & set(second.bands))
    if both:
        raise PixelError(f"Expected bands of different names, received {both} in both tables. Rename them in one.")
    extra = first.extra | {"joined_with": second.study}
    return replace(first, bands=first.bands + second.bands, simulated=first.simulated or second.simulated, extra=extra)


def _partners(first: pa.Table, second: pa.Table, missing: str) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers in both tables of the rows that both have, in the first's order."""
    import pandas as pd

    if missing not in ("refuse", "drop"):
        raise PixelError(f"Expected missing = 'refuse' or 'drop', received {missing!r}.")
    rows = [pd.MultiIndex.from_arrays([t["pixel"].to_numpy(), t["year"].to_numpy()]) for t in (first, second)]
    for index, noun in zip(rows, ("first", "second"), strict=True):
        twice = index[index.duplicated()]
        if len(twice):
            raise PixelError(
                f"Expected each pixel and year once, received pixel {twice[0][0]}, year {twice[0][1]} twice in the "
                f"{noun} table. Look at it with `arset check`."
            )
    partner = rows[1].get_indexer(rows[0])
    mine = np.flatnonzero(partner >= 0)
    alone = (len(rows[0]) - len(mine), len(rows[1]) - len(mine))
    if any(alone) and missing == "refuse":
        raise PixelError(
            f"Expected the same pixels and years in both tables, received {alone[0]} rows that only the first has and "
            f"{alone[1]} that only the second has. Ingest both with the same areas and years, or use missing='drop'."
        )
    if not len(mine):
        raise PixelError("The two tables have no pixel and year in common. Ingest both with the same areas and years.")
    return mine, partner[mine]


def _check_labels(first: pa.Table, second: pa.Table) -> None:
    codes = [table["label_code"].to_numpy() for table in (first, second)]
    wrong = np.flatnonzero(codes[0] != codes[1])
    if len(wrong):
        row = int(wrong[0])
        raise PixelError(
            f"Expected one label for each pixel and year, received {len(wrong)} that differ: pixel "
            f"{first['pixel'][row]}, year {first['year'][row]} is {codes[0][row]} and {codes[1][row]}. Ingest "
            f"both with the same labels."
        )


def _keys(series: Ragged, noun: str) -> np.ndarray:
    """(N,) int64, row and day of each observation in one number that ascends."""
    keys = (series.rows << 16) + series.day
    back = np.flatnonzero(keys[1:] <= keys[:-1])
    if len(back):
        raise PixelError(
            f"Expected days that ascend strictly, received {series.day[back[0] + 1]} after {series.day[back[0]]} in "
            f"the {noun} table. Run `arset check` on it."
        )
    return keys
