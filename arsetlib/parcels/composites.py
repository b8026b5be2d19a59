"""Gap-filled composites: what segmentation looks at.

Lab: part4_defend_the_map.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import rasterio
from tqdm.auto import tqdm

from arsetlib import checksums, copies, folders, samples, web
from arsetlib.catalogue import Scenes
from arsetlib.evaluation import as_date
from arsetlib.maps import cogs, sources
from arsetlib.parcels.outlines import ParcelError
from arsetlib.study import Area, Study

STEP_DAYS = 30
BATCH = 65_536  # pixels whose windows are made at once


def composite(
    source: str | Path | pa.Table | Scenes,
    out: str | Path,
    *,
    study: Study,
    start: int,
    area: str | Area | None = None,
    year: int | None = None,
    step_days: int = STEP_DAYS,
    bands: Sequence[str] | None = None,
    progress: bool = True,
) -> Path:
    """Median images of successive spans of days, with gaps filled, as one GeoTIFF.

    Args:
        source: A pixel table, or scenes of `catalogue.find_scenes`. A table of an area that holds every label pixel is
            needed.
        out: The ``.tif`` to write, also in an object store. Stopped, the same call continues.
        study: Its season says how long the window is, its areas and label grid where pixels are.
        start: First day of the window, day of the year.
        area: Key of an area, or an ``Area`` for scenes; may be left out where there is one only, or one only is dense.
        year: May be left out where there is one only.
        step_days: Length of a span; divides the season's window.
        bands: Of the study's; all by default.
        progress: Show a bar.

    Returns:
        ``out``: a band for each span and band of the study, reflectance × 10,000, 0 where a pixel has no image in the
        whole window. A span without an image lies on the line between its neighbours.

    Raises:
        ParcelError: Spans that do not divide the window, unknown bands, or no image in the window.
        MapError: No such area, year or scenes.

    Lab: part4_defend_the_map.
    """
    out, bands = folders.place(out), tuple(bands or study.bands)
    if out.suffix != ".tif":
        raise ParcelError(f"Expected a file ending in .tif, received {out.name!r}.")
    if step_days < 1 or study.season.window_days % step_days:
        raise ParcelError(
            f"Expected step_days to divide the window of {study.season.window_days} days, received {step_days}."
        )
    if unknown := [b for b in bands if b not in study.bands]:
        raise ParcelError(f"Expected bands out of {', '.join(study.bands)}, received {', '.join(unknown)}.")
    study = study.replace(season=replace(study.season, step_days=step_days))
    if isinstance(source, Scenes):
        data = sources.of_scenes(source, study, area, year, [start], None)
    else:
        data = sources.of_table(source, area.key if isinstance(area, Area) else area, year, study)
        if data.every > 1:
            raise ParcelError(
                f"The table holds one pixel in {data.every} along x and y of area {data.area!r}; outlines need all of "
                "them. Ingest the area with every = 1, or take the scenes themselves."
            )
    first = int(samples.start_days(data.year, start)[0])
    identity = checksums.digest_json([data.identity, start, step_days, bands, study.season.window_days])[:16]
    names = [f"piece-{i:06d}" for i in range(len(data))]
    work = out.parent / f".{out.stem}.partial"
    with folders.claim(work, {"identity": identity}, names, what="composite", error=ParcelError, ours=True) as folder:
        columns = [data.bands.index(b) for b in bands]
        for i in tqdm([i for i, n in enumerate(names) if folder.done(n) is None], desc="composite", unit="piece",
                      disable=not progress):  # fmt: skip
            parts = _piece(data, i, study, first, columns)
            folder.put(f"{names[i]}.npz", partial(_save, parts))
            folder.finish(names[i], [f"{names[i]}.npz"], seen=int(parts["values"].any(axis=1).sum()))
        if not sum(note["seen"] for note in folder.settle().values()):
            folder.remove()
            raise ParcelError(
                f"No pixel of area {data.area!r} has an image in the {study.season.window_days} days from day {start} "
                f"of {data.year}. Take another start."
            )
        spans = [as_date(first + k * step_days).isoformat() for k in range(study.season.steps)]
        tags = {"area": data.area, "year": data.year, "simulated": "yes" if data.simulated else "no"}
        described = [f"{span} {band}" for span in spans for band in bands]
        folders.put(out, partial(_write, data.grid, described, tags, _pieces(folder, names)))
        folder.remove()
    return out


def _piece(data, number: int, study: Study, first: int, columns: list[int]) -> dict[str, np.ndarray]:
    """Places and composites of one task's pixels."""
    piece = data.read(number, {})
    values = np.zeros((len(piece.rows), study.season.steps * len(columns)), np.uint16)
    for at in range(0, len(piece.rows), BATCH):
        rows = piece.rows[at : at + BATCH]
        found = samples.window(piece.series, study.season, first, choose="median", fill="linear", rows=rows)
        values[at : at + BATCH] = np.rint(found.x[:, :, columns]).reshape(len(rows), -1)
    return {"row": piece.row, "col": piece.col, "values": values}


def _save(parts: dict[str, np.ndarray], path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, **parts)


def _pieces(folder: folders.Folder, names: list[str]) -> Iterator[dict[str, np.ndarray]]:
    for name in names:
        with np.load(copies.fetched(folder.path / f"{name}.npz")) as parts:
            yield dict(parts)


def _write(grid, described: list[str], tags: dict, pieces: Iterator[dict], file: Path) -> None:
    with web.gdal(**cogs.GDAL), rasterio.open(
        file, "w+", driver="GTiff", width=grid.width, height=grid.height, count=len(described), dtype="uint16",
        crs=grid.crs, transform=grid.transform, nodata=0, tiled=True, blockxsize=cogs.TILE, blockysize=cogs.TILE,
        compress="deflate", predictor=2, SPARSE_OK=True, BIGTIFF="IF_SAFER",
    ) as out:  # fmt: skip
        for parts in pieces:
            cogs.paint(out, parts["row"], parts["col"], parts["values"])
        out.descriptions = described
        out.scales = (1e-4,) * len(described)
        out.update_tags(**{k: str(v) for k, v in tags.items()})
