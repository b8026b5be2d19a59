"""What a pixel table contains: a summary in one pass, and queries in SQL.

Lab: part1_build_dataset.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from arsetlib import cdl
from arsetlib.pixels import sources
from arsetlib.pixels.arrays import ragged
from arsetlib.pixels.listing import files
from arsetlib.pixels.meta import Meta
from arsetlib.pixels.reading import stream
from arsetlib.pixels.schema import SERIES, PixelError
from arsetlib.translation import _
from arsetlib.wording import column, span

CDL_CRS = "EPSG:5070"  # of the CDL's grid


def summary(path: str | Path) -> dict:
    """Count and measure a table in one streamed pass; memory does not grow with it.

    Args:
        path: Folder or file.

    Returns:
        JSON values: ``study``, ``simulated``, ``crs``, ``own_codes`` (whether they are not the CDL's), ``resolution``,
        ``files``, ``bytes``, ``rows``, ``observations``, ``left_out`` (counts of ``from_wide`` and its like, else
        empty), ``areas``, ``years`` and ``codes`` (key to rows), ``names`` (code to the words that points had as
        label), ``images`` (per row: min, median, mean, max), ``dates`` (first and last, or None where there is no
        image), ``bands`` (name to mean and std, DN, of valid values; None where there is none).

    Raises:
        PixelError: The table is missing, unfinished or damaged.

    Lab: part1_build_dataset.
    """
    meta, parquet = Meta.of(path), files(path)
    counts: dict[str, Counter]
    counts = {"area": Counter(), "year": Counter(), "label_code": Counter(), "num_images": Counter()}
    moments = np.zeros((3, len(meta.bands)))
    first, last = 2**16, -1
    for piece in stream(path, [*counts, *SERIES]):
        for name, counter in counts.items():
            _count(counter, piece.batch.column(name))
        try:
            flat = ragged(piece.batch.replace_schema_metadata(meta.to_kv()))
        except PixelError as error:
            raise PixelError(f"{piece.file}, row group {piece.row_group}, from row {piece.row} on: {error}") from None
        moments += _moments(flat.bands)
        if len(flat.day):
            first, last = min(first, int(flat.day.min())), max(last, int(flat.day.max()))
    images = counts["num_images"]
    return {
        "study": meta.study,
        "simulated": meta.simulated,
        "crs": meta.crs,
        "own_codes": meta.extra.get("own_codes", False),
        "resolution": meta.resolution,
        "files": len(parquet),
        "bytes": sum(sources.sizes(parquet)),
        "rows": images.total(),
        "observations": sum(n * rows for n, rows in images.items()),
        "left_out": meta.extra.get("left_out", {}),
        "areas": _sorted(counts["area"]),
        "years": _sorted(counts["year"]),
        "codes": _sorted(counts["label_code"]),
        "names": _names(meta.extra.get("label_codes", {})),
        "images": _spread(images),
        "dates": None if last < 0 else [str(np.datetime64(day, "D")) for day in (first, last)],
        "bands": {name: _mean_std(*moments[:, i]) for i, name in enumerate(meta.bands)},
    }


def _count(counter: Counter, column: pa.Array) -> None:
    for pair in pc.value_counts(column).to_pylist():
        counter[pair["values"]] += pair["counts"]


def _sorted(counter: Counter) -> dict:
    return {str(key): counter[key] for key in sorted(counter)}


def _moments(bands: np.ndarray) -> np.ndarray:
    """(3, C): number, sum and sum of squares of the valid values; 0 adds nothing to the sums."""
    values = bands.astype(np.float64)
    return np.stack([(bands > 0).sum(axis=0), values.sum(axis=0), np.einsum("nc,nc->c", values, values)])


def _mean_std(number: float, total: float, squares: float) -> dict[str, float] | None:
    if number == 0:
        return None
    mean = total / number
    return {"mean": float(mean), "std": float(np.sqrt(max(squares / number - mean**2, 0)))}


def _spread(images: Counter) -> dict[str, float] | None:
    if not images:
        return None
    keys = np.array(sorted(images))
    cumulated = np.cumsum([images[k] for k in keys])
    rows = cumulated[-1]
    middle = [keys[np.searchsorted(cumulated, k, side="right")] for k in ((rows - 1) // 2, rows // 2)]
    mean = sum(int(k) * images[k] for k in images) / rows
    return {"min": int(keys[0]), "median": float(np.mean(middle)), "mean": float(mean), "max": int(keys[-1])}


def format_summary(summary: dict) -> str:
    """What ``summary`` returns, as text.

    Lab: part1_build_dataset.
    """
    images, dates = summary["images"] or {}, summary["dates"] or ["-", "-"]
    size = _("{rows} pixel-years, {observations} observations, {size} MB in {files} files").format(
        rows=f"{summary['rows']:,}",
        observations=f"{summary['observations']:,}",
        size=f"{summary['bytes'] / 1e6:,.1f}",
        files=summary["files"],
    )
    kind = f" ({_('SIMULATED')})" if summary["simulated"] else ""
    counts = ", ".join(f"{column(key)} {value:,.4g}" for key, value in images.items())
    most = sorted(summary["codes"].items(), key=lambda pair: -pair[1])
    parts = {
        "dates": span(*dates),
        "images": _("{counts} per pixel-year").format(counts=counts),
        "areas": ", ".join(f"{name} {rows:,}" for name, rows in summary["areas"].items()),
        "years": ", ".join(f"{name} {rows:,}" for name, rows in summary["years"].items()),
        "labels": ", ".join(f"{_label(int(code), summary)} {rows:,}" for code, rows in most),
    }
    if any(summary["left_out"].values()):
        parts["left_out"] = _left_out(summary["left_out"])
    heads = {key: _("left out of the table") if key == "left_out" else column(key) for key in parts}
    width = max(map(len, heads.values())) + 1
    lines = [f"{summary['study']}{kind}, {summary['crs']}, {summary['resolution']:g} m: {size}"]
    lines += [f"{heads[key]:{width}} {words}" for key, words in parts.items()]
    for name, band in summary["bands"].items():
        said = f"{column('mean')} {band['mean']:7.1f}  {column('std')} {band['std']:7.1f}" if band else _("no value")
        lines.append(f"{name:9}{said}")
    return "\n".join(lines)


def _label(code: int, summary: dict) -> str:
    """Code with the name of its points' label or of the CDL; alone where it is the study's own, or on another grid."""
    said = summary["names"].get(str(code), "")
    if not said and summary["crs"] == CDL_CRS and not summary["own_codes"] and code in cdl.CODES:
        said = cdl.name(code)
    return f"{code} {said}".rstrip()


def _names(codes: dict[str, int]) -> dict[str, str]:
    """Code → the labels of points that became it, where these are words."""
    said: dict[str, list[str]] = {}
    for label, code in codes.items():
        if label != str(code):
            said.setdefault(str(code), []).append(label)
    return {code: " / ".join(labels) for code, labels in said.items()}


def _left_out(counts: dict) -> str:
    """Words for what a table made from points left out."""
    dates = counts.get("dates_of_another_year", [])
    named = f" ({', '.join(dates[:5])}{', …' if len(dates) > 5 else ''})" if dates else ""
    return ", ".join(
        f"{column(noun)} {n:,}{named if noun == 'observations_of_another_year' else ''}"
        for noun, n in counts.items()
        if isinstance(n, int) and n
    )


# SQL that Spark SQL and DuckDB understand alike, over a view called `pixels`.
QUERIES: dict[str, str] = {
    # Pixel-years per label code and year.
    "classes": """
        SELECT label_code, year, COUNT(*) AS pixel_years
        FROM pixels
        GROUP BY label_code, year
        ORDER BY year, pixel_years DESC, label_code""",
    # Pixels, labels and images per area and year.
    "areas": """
        SELECT area, year, COUNT(*) AS pixel_years, COUNT(DISTINCT label_code) AS codes,
               COUNT(DISTINCT block) AS blocks, AVG(num_images) AS mean_images
        FROM pixels
        GROUP BY area, year
        ORDER BY area, year""",
    # How many series have how many images, in steps of ten.
    "images": """
        SELECT year, CAST(FLOOR(num_images / 10.0) * 10 AS INT) AS images_from, COUNT(*) AS series
        FROM pixels
        GROUP BY year, CAST(FLOOR(num_images / 10.0) * 10 AS INT)
        ORDER BY year, images_from""",
    # Labels by their confidence; labels without one form a row of their own.
    "confidence": """
        SELECT CAST(FLOOR(label_confidence / 10.0) * 10 AS INT) AS confidence_from, COUNT(*) AS pixel_years
        FROM pixels
        GROUP BY CAST(FLOOR(label_confidence / 10.0) * 10 AS INT)
        ORDER BY confidence_from""",
    # How many pixels went from one label to another (or kept it) from one year to the next.
    "rotation": """
        SELECT a.label_code AS from_code, b.label_code AS to_code, COUNT(*) AS pixels
        FROM pixels a JOIN pixels b ON a.pixel = b.pixel AND b.year = a.year + 1
        GROUP BY a.label_code, b.label_code
        ORDER BY pixels DESC, from_code, to_code""",
    # Size of the series.
    "bytes": """
        SELECT SUM(num_images) AS observations,
               SUM(OCTET_LENGTH(day) + OCTET_LENGTH(scl) + OCTET_LENGTH(bands)) AS bytes
        FROM pixels""",
}
