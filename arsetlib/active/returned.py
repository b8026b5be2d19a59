"""Labels that come back from a labelling page, as rows to train on.

Lab: part4_defend_the_map.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pyproj import CRS, Transformer

from arsetlib import pixels
from arsetlib.active.choice import ActiveError
from arsetlib.maps import MapSample
from arsetlib.maps.sampling import class_number
from arsetlib.samples import Rows
from arsetlib.study import Legend, Study
from arsetlib.study.settings import MAX_CODE


@dataclass(frozen=True)
class LabelledRows:
    """Rows of a pixel table with the labels of a person.

    Attributes:
        rows: In memory; their ``label_code`` is the person's.
        missing: Ids of labelled places that are not among the rows of the table.
        unlabelled: Ids of places without a label.
        without_code: Ids of places whose class has no label code, such as bare ground that the vegetation rule decides:
            no row can hold it.
    """

    rows: Rows
    missing: tuple[int, ...]
    unlabelled: tuple[int, ...]
    without_code: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)


def labelled_rows(source: Rows | pa.Table | str, study: Study, labelled: MapSample, year: int) -> LabelledRows:
    """The rows of a table at places that a person has labelled, to train on.

    Args:
        source: A pixel table, or rows of it such as the training side: places in other rows are then missing.
        study: Its legend.
        labelled: From the labelling page: places that a model proposed, or that the person chose.
        year: Of the labels.

    Raises:
        ActiveError: No place has a label, or none lies in the table in this year; a label is in no class.

    Lab: part4_defend_the_map.
    """
    rows, legend, table = Rows.of(source), study.legend, labelled.table
    classes = {label: class_number(label, legend) for label in set(table["label"]) if label}
    if odd := sorted(label for label, number in classes.items() if number < 0):
        raise ActiveError(f"Expected labels among {', '.join(legend.keys)}, received {', '.join(odd)}.")
    filled = table[table["label"] != ""]
    codeless = filled["label"].map(lambda label: len(legend.classes[classes[label]].codes) == 0)
    without_code, filled = tuple(filled["id"][codeless.astype(bool)].tolist()), filled[~codeless.astype(bool)]
    meta = rows.meta
    change = Transformer.from_crs("EPSG:4326", CRS(meta.crs), always_xy=True)
    x, y = change.transform(filled["lon"].to_numpy(float), filled["lat"].to_numpy(float))
    asked = dict(zip(pixels.pixel_id(x, y, meta.resolution).tolist(), filled["label"].map(classes), strict=True))
    mine = rows.pick((rows.column("year") == year) & np.isin(rows.column("pixel"), list(asked)))
    if not len(mine):
        raise ActiveError(
            f"None of the {len(filled)} places with a label is among the {len(rows):,} rows in {year}. Take the table "
            "of these places, or ingest it with the labelled points as its labels."
        )
    part = mine.read()
    number = np.array([asked[one] for one in part["pixel"].to_numpy()], np.int64)
    code = part["label_code"].to_numpy()
    code = np.where(_classes_of(legend, code) == number, code, np.array([_code(legend, k) for k in number]))
    at = part.schema.get_field_index("label_code")
    part = part.set_column(at, part.schema.field(at), pa.array(code.astype(np.int16), part.schema.field(at).type))
    there = np.isin(pixels.pixel_id(x, y, meta.resolution), part["pixel"].to_numpy())
    blank = table["id"][table["label"] == ""]
    return LabelledRows(Rows.of(part), tuple(filled["id"][~there].tolist()), tuple(blank.tolist()), without_code)


def _classes_of(legend: Legend, code: np.ndarray) -> np.ndarray:
    """Class numbers; -1 also for a code that the legend does not know."""
    known = set(_codes(legend)) | set(legend.excluded)
    if any(one.codes == "others" for one in legend.classes):
        return legend.classes_of(code)
    return np.where(
        np.isin(code, list(known)), legend.classes_of(np.where(np.isin(code, list(known)), code, min(known))), -1
    )


def _codes(legend: Legend) -> list[int]:
    return [code for one in legend.classes if one.codes != "others" for code in one.codes]


def _code(legend: Legend, number: int) -> int:
    """A label code of a class."""
    own = legend.classes[number].codes
    if own != "others":
        return min(own)
    return next(code for code in range(1, MAX_CODE) if code not in {*_codes(legend), *legend.excluded})
