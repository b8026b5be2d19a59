"""What an audit found: every judged label, with what each of the three ways says of it.

Lab: part4_defend_the_map.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from arsetlib import copies, folders, textfiles
from arsetlib.audit.confidence import AuditError
from arsetlib.maps.products import legend_as_json, legend_of
from arsetlib.samples import Rows
from arsetlib.study import Legend
from arsetlib.translation import N_, _
from arsetlib.wording import shown

METHODS = ("confident", "som", "votes")
LEAST = 2  # ways that must agree before a label counts as suspicious
TABLE, FACTS = "labels.parquet", "audit.json"
ROW_GROUP = 262_144
MARKS = {
    "kept": (N_("nothing found"), "#d9d9d9"),
    "one": (N_("one of three ways"), "#fdd49e"),
    "two": (N_("two of three ways"), "#fc8d59"),
    "three": (N_("all three ways"), "#b30000"),
}
COLUMNS = {
    "pixel": np.int64, "year": np.int16, "area": object, "block": np.int32, "x": np.float64, "y": np.float64,
    "lon": np.float64, "lat": np.float64, "label_code": np.int16, "label": np.int16, "guess": np.int16,
    "margin": np.float32, "confident": np.bool_, "som": np.bool_, "votes": np.bool_,
}  # fmt: skip


@dataclass(frozen=True, eq=False, repr=False)
class LabelAudit:
    """N labels and what was found; arrays of one length.

    Attributes:
        pixel, year, area, block, x, y, lon, lat, label_code: Of the pixel table.
        label: (N,) class number of the label.
        guess: (N,) the most probable other class.
        margin: (N,) probability of the label minus that of ``guess``, mean of the models.
        confident: (N,) bool, confident learning on the mean of the models says that the label is wrong.
        som: (N,) bool, the label is rare in its neuron of the self-organising map ("remove").
        votes: (N,) bool, all models name one other class.
        legend: What the class numbers mean.
        facts: What was asked, rows that were not judged, estimated share of wrong labels; JSON values.

    Lab: part4_defend_the_map.
    """

    pixel: np.ndarray
    year: np.ndarray
    area: np.ndarray
    block: np.ndarray
    x: np.ndarray
    y: np.ndarray
    lon: np.ndarray
    lat: np.ndarray
    label_code: np.ndarray
    label: np.ndarray
    guess: np.ndarray
    margin: np.ndarray
    confident: np.ndarray
    som: np.ndarray
    votes: np.ndarray
    legend: Legend
    facts: dict = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.label)

    def __repr__(self) -> str:
        kind = _("SIMULATED") + ", " if self.facts.get("simulated") else ""
        return f"LabelAudit({kind}{int(self.suspicious().sum()):,} of {len(self):,} labels)"

    @property
    def found_by(self) -> np.ndarray:
        """(N,) int8, how many of the three ways say that the label is wrong."""
        return sum(getattr(self, name).astype(np.int8) for name in METHODS)

    def suspicious(self, least: int = LEAST) -> np.ndarray:
        """(N,) bool, labels that at least so many of the three ways call wrong, 1 to 3."""
        if not 1 <= least <= len(METHODS):
            raise AuditError(f"Expected least from 1 to {len(METHODS)}, the number of ways, received {least}.")
        return self.found_by >= least

    def table(self, least: int = 1) -> pd.DataFrame:
        """The suspicious labels, the most suspicious first: most ways, then the smallest margin.

        Returns:
            Columns of the report; ``label`` and ``guess`` are keys of classes; ``found_by``.
        """
        found = self.found_by
        mine = np.flatnonzero(found >= least)
        mine = mine[np.lexsort((self.margin[mine], -found[mine]))]
        keys = np.array(self.legend.keys)
        columns = {name: getattr(self, name)[mine] for name in COLUMNS}
        columns |= {name: keys[columns[name]] for name in ("label", "guess")} | {"found_by": found[mine]}
        return pd.DataFrame(columns)

    def by_class(self, least: int = LEAST) -> pd.DataFrame:
        """One row a class: its labels, how many are suspicious, their share, and which other class is guessed most."""
        classes, bad = len(self.legend.classes), self.suspicious(least)
        counts = np.bincount(self.label, minlength=classes)
        pairs = np.bincount(self.label[bad] * classes + self.guess[bad], minlength=classes**2).reshape(classes, classes)
        wrong, names = pairs.sum(1), np.array(self.legend.names())
        frame = pd.DataFrame({"labels": counts, "suspicious": wrong}, index=pd.Index(names, name="class"))
        frame["share"] = np.where(counts > 0, wrong / np.maximum(counts, 1), np.nan)
        frame["guess"] = np.where(wrong > 0, names[pairs.argmax(1)], "")
        return frame[counts > 0]

    def by_field(self, ids: np.ndarray, least: int = LEAST) -> pd.DataFrame:
        """One row a field, the most suspicious first.

        Args:
            ids: (N,) of the field of each label; -1 for none.
            least: As ``suspicious``.

        Returns:
            ``pixels``, ``suspicious``, ``share``, ``label`` (the commonest) and ``guess`` (the commonest among the
            suspicious, empty where there is none), keys of classes; the index is the field.
        """
        ids, classes = np.asarray(ids), len(self.legend.classes)
        if ids.shape != (len(self),):
            raise AuditError(f"Expected one field a label, ({len(self)},), received {ids.shape}.")
        inside = ids >= 0
        numbers, where = np.unique(ids[inside], return_inverse=True)
        label, guess, bad = self.label[inside], self.guess[inside], self.suspicious(least)[inside]

        def counted(which: np.ndarray, of: np.ndarray) -> np.ndarray:
            flat = np.bincount(where[which] * classes + of[which], minlength=len(numbers) * classes)
            return flat.reshape(len(numbers), classes)

        labels, guesses = counted(np.ones(len(label), bool), label), counted(bad, guess)
        pixels, wrong, keys = labels.sum(1), guesses.sum(1), np.array(self.legend.keys)
        frame = pd.DataFrame({"pixels": pixels, "suspicious": wrong}, index=pd.Index(numbers, name="field"))
        frame["share"] = wrong / pixels
        frame["label"] = keys[labels.argmax(1)]
        frame["guess"] = np.where(wrong > 0, keys[guesses.argmax(1)], "")
        return frame.sort_values(["share", "pixels"], ascending=False, kind="stable")

    def rows(self, source: Rows, least: int = LEAST) -> Rows:
        """Rows without those whose label is suspicious; the table itself is not changed.

        Rows that were not judged stay.

        Args:
            source: Rows of the table, such as a side of a split.
            least: As ``suspicious``.

        Raises:
            AuditError: Rows of another table than the one that was audited: none of them was judged, or their labels
                are others.
        """
        bad = self.suspicious(least)
        mine, judged = _key(source.column("pixel"), source.column("year")), _key(self.pixel, self.year)
        order = np.argsort(judged)
        at = order[np.searchsorted(judged, mine, sorter=order).clip(max=max(len(judged) - 1, 0))] if len(judged) else []
        there = judged[at] == mine if len(judged) else np.zeros(len(mine), bool)
        if len(judged) and not there.any():
            raise AuditError(
                f"None of the {len(mine):,} rows was judged by this audit of {len(self):,} labels. Give rows of the "
                "table that was audited, or audit this one."
            )
        other = there if not there.any() else there & (source.column("label_code") != self.label_code[at])
        if other.any():
            raise AuditError(
                f"{other.sum():,} of the {there.sum():,} judged rows have another label than when they were audited: "
                "the table is another one, or its labels were changed. Audit it again."
            )
        return source.pick(~np.isin(mine, _key(self.pixel[bad], self.year[bad])))

    def __str__(self) -> str:
        found, facts = self.found_by, self.facts
        words = _("{kind}Audit of {n} labels: at least two of three ways call {bad} of them wrong ({share:.1%}).")
        kind = _("SIMULATED") + ": " if facts.get("simulated") else ""
        bad = int((found >= LEAST).sum())
        lines = [words.format(kind=kind, n=f"{len(self):,}", bad=f"{bad:,}", share=bad / max(len(self), 1))]
        ways = {"confident": _("confident learning"), "som": _("self-organising map"), "votes": _("all models agree")}
        lines += [f"  {words}: {int(getattr(self, name).sum()):,}" for name, words in ways.items()]
        if "noise" in facts:
            words = _(
                "Share of wrong labels as confident learning estimates it, errors of models included: {share:.1%}."
            )
            lines.append(words.format(share=facts["noise"]))
        if "agreement_with_labels" in facts:
            words = _("The models agree with {shares} of the labels; always the commonest class would with {most:.1%}.")
            shares = ", ".join(f"{share:.1%}" for share in facts["agreement_with_labels"])
            lines.append(words.format(shares=shares, most=np.bincount(self.label).max() / max(len(self), 1)))
        reasons = {
            "excluded": _("excluded by the legend"), "no_image": _("without an image in the window"),
            "not_visible": _("crop not visible in the window"),
            "class_not_in_training": _("class in too few blocks"),
        }  # fmt: skip
        lost = [f"{reasons[name]} {count:,}" for name, count in facts.get("lost", {}).items() if count]
        if lost:
            lines.append(_("Rows that were not judged: {reasons}.").format(reasons=", ".join(lost)))
        table = self.by_class()
        table["share"] = [f"{share:.1%}" for share in table.share]
        return "\n".join([*lines, "", shown(table).to_string()])

    # -- on disk ------------------------------------------------------------------------------------------------------

    def save(self, folder: folders.Folder) -> list[str]:
        """Write ``labels.parquet`` and ``audit.json`` into a claimed folder; gives their keys."""
        schema = pa.schema([(n, pa.string() if k is object else pa.from_numpy_dtype(k)) for n, k in COLUMNS.items()])

        def write(file: Path) -> None:
            with pq.ParquetWriter(file, schema, compression="zstd") as out:
                for at in range(0, len(self), ROW_GROUP):
                    part = {name: pa.array(getattr(self, name)[at : at + ROW_GROUP]) for name in COLUMNS}
                    out.write_table(pa.table(part, schema=schema))

        folder.put(TABLE, write)
        facts = {"legend": legend_as_json(self.legend), **self.facts}
        folder.put(FACTS, json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
        return [TABLE, FACTS]

    @classmethod
    def load(cls, folder: str | Path) -> LabelAudit:
        """Read what `run` wrote.

        Raises:
            AuditError: The folder is missing, or unfinished.
        """
        folder = folders.place(folder)
        if folders.state(folder) != "complete":
            state = folders.state(folder) or "no audit"
            raise AuditError(f"Expected a complete audit in {folder}, found {state}. Run `arset audit` (again).")
        facts = textfiles.read_json(folder / FACTS)
        legend = legend_of(facts.pop("legend"))
        table = pq.read_table(copies.fetched(folder / TABLE))
        columns = {name: table.column(name).to_numpy().astype(kind, copy=False) for name, kind in COLUMNS.items()}
        return cls(**columns, legend=legend, facts=facts)


def _key(pixel: np.ndarray, year: np.ndarray) -> np.ndarray:
    return np.asarray(pixel, np.int64) * 4096 + np.asarray(year, np.int64)
