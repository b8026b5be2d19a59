"""Labels made wrong on purpose, where it is known which: to measure what an audit finds.

Lab: part4_defend_the_map.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike

from arsetlib import pixels, seeds
from arsetlib.audit.confidence import AuditError
from arsetlib.evaluation import single_crops
from arsetlib.study import Study

KINDS = ("random", "edges", "swap")


def spoiled(table: pa.Table, study: Study, rate: float, kind: str = "random", *, seed: int = 0) -> pa.Table:
    """A copy of a table in memory in which some labels are wrong.

    Args:
        table: A pixel table. Rows that the legend excludes keep their label, and no label becomes such a one.
        study: Its legend.
        rate: Share of the rows that get a wrong class, 0 to 0.5.
        kind: ``"random"``: any row gets the code of a row of another class, drawn at random. ``"edges"``: rows with a
            neighbour of another class in the table get the class of that neighbour, as where outlines are drawn beside
            the field. ``"swap"``: rows of the commonest single crop get the code of the second, as where an expert
            takes one crop for another.
        seed: Of which rows.

    Returns:
        The table with another ``label_code``; compare it with the first to know which are wrong.

    Raises:
        AuditError: An unknown kind; a rate that this kind cannot reach, because too few rows can be chosen.

    Lab: part4_defend_the_map.
    """
    if kind not in KINDS or not 0 <= rate <= 0.5:
        raise AuditError(f"Expected kind = {', '.join(KINDS)} and rate from 0 to 0.5, received {kind!r} and {rate}.")
    code = table.column("label_code").to_numpy().copy()
    classes = study.legend.classes_of(code)
    random = seeds.generator(seed, "noise", kind)
    other = {"random": _any, "edges": _neighbour, "swap": _swapped}[kind](table, study, code, classes, random)
    can = np.flatnonzero((classes >= 0) & (other >= 0))
    wanted = round(rate * int((classes >= 0).sum()))
    if wanted > len(can):
        raise AuditError(
            f"Expected a rate up to {len(can) / max((classes >= 0).sum(), 1):.3f}: {len(can):,} rows can be made wrong "
            f"by kind={kind!r}, received {rate}."
        )
    mine = random.permutation(can)[:wanted]
    code[mine] = other[mine]
    place = table.schema.get_field_index("label_code")
    return table.set_column(place, table.schema.field(place), pa.array(code, pa.int16()))


def _any(table, study, code, classes, random) -> np.ndarray:
    """(R,) the code of a row of another class."""
    known = np.flatnonzero(classes >= 0)
    out = np.full(len(code), -1, np.int64)
    for number in np.unique(classes[known]):
        mine, others = classes == number, known[classes[known] != number]
        if len(others):
            out[mine] = code[random.choice(others, int(mine.sum()))]
    return out


def _neighbour(table, study, code, classes, random) -> np.ndarray:
    """(R,) the code of a neighbour of another class in the same year; -1 where there is none."""
    meta = pixels.Meta.of(table)
    x, y = (np.rint(table.column(n).to_numpy() / meta.resolution).astype(np.int64) for n in ("x", "y"))
    year, out = table.column("year").to_numpy().astype(np.int64), np.full(len(code), -1, np.int64)
    row, column = y - y.min() + 4, x - x.min() + 4
    wide = int(column.max()) + 8
    key = (year - year.min()) * (int(row.max()) + 8) * wide + row * wide + column
    order = np.argsort(key, kind="stable")
    ways = np.array([(r, c) for step in (1, 2) for r, c in ((-step, 0), (step, 0), (0, -step), (0, step))])
    for r, c in ways[random.permutation(len(ways))]:  # two label pixels: where a table holds every second one
        asked = key + r * wide + c
        at = order[np.searchsorted(key[order], asked).clip(0, len(key) - 1)]
        take = (key[at] == asked) & (classes[at] >= 0) & (classes[at] != classes) & (out < 0)
        out[take] = code[at[take]]
    return out


def _swapped(table, study, code, classes, random) -> np.ndarray:
    """(R,) the code of the second crop for rows of the commonest one; -1 elsewhere."""
    crops = [study.legend.keys.index(key) for key in single_crops(study.legend)]
    counts = np.array([(classes == c).sum() for c in crops])
    order = np.argsort(-counts, kind="stable")
    if len(crops) < 2 or not counts[order[1]]:
        raise AuditError("Expected a legend and a table with at least two crops, received fewer. Take kind='random'.")
    first, second = (crops[i] for i in order[:2])
    return np.where(classes == first, code[classes == second][0], -1)


@dataclass(frozen=True)
class Found:
    """How well wrong labels were found: ``precision``, ``recall``, ``f1`` (NaN without any), and the three counts."""

    precision: float
    recall: float
    f1: float
    suspected: int
    wrong: int
    hits: int

    @classmethod
    def of(cls, suspected: ArrayLike, wrong: ArrayLike) -> Found:
        """From two masks (N,): what the audit suspects, and what is wrong in truth.

        >>> Found.of([True, True, False], [True, False, False]).precision
        0.5

        Lab: part4_defend_the_map.
        """
        suspected, wrong = np.asarray(suspected, bool), np.asarray(wrong, bool)
        hits, named, there = int((suspected & wrong).sum()), int(suspected.sum()), int(wrong.sum())
        precision, recall = hits / named if named else np.nan, hits / there if there else np.nan
        return cls(precision, recall, 2 * hits / (named + there) if named + there else np.nan, named, there, hits)
