"""Fields and points of a vector file that touch the areas of a study, with their label codes.

A pixel will take the code of the field in which its centre lies, or of the point that lies in it. A pixel in fields of
different codes gets no label, because it is not known which one is right.

Lab: part1_build_dataset.
"""

from __future__ import annotations

import codecs
import json
import re
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import numpy as np
import shapely
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError, ProjError
from shapely.geometry import box

from arsetlib import copies, filetypes, folders, ground
from arsetlib.study import MAX_CODE, Area
from arsetlib.translation import N_
from arsetlib.web import CatalogueError, public

SETS = (".shp", ".gpkg", ".geojson", ".json", ".kml", ".fgb")  # files of a zip that may hold fields
POINTS, POLYGONS, LINES, COLLECTION = (0, 4), (3, 6), (1, 2, 5), 7  # shapely's numbers of types
UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
ENDS = 100_000  # bytes at either end of an answer of a server, which say whether it is complete
SWAPPED = (
    "The file seems to hold latitude first. Export it again with longitude first (x, y), as GeoJSON and QGIS have it."
)


@dataclass
class Fields:
    """Fields of one file that touch the areas, in the CRS of the grid.

    Attributes:
        shapes: (N,) polygons and points.
        codes: (N,) label codes.
        rows: (N,) their rows in the file, from 0.
        name: Of the file, for messages.
        layer: Its layer.
        crs: Of the file.
        read: Rows of the layer.
        lost: Reason → fields that are not drawn.
        repaired: Outlines that cross themselves and were repaired.
        dropped: Reason → rows that are not drawn.
        mended: Rows that were repaired.
    """

    shapes: np.ndarray
    codes: np.ndarray
    rows: np.ndarray
    name: str
    layer: str
    crs: str
    read: int
    lost: Counter = field(default_factory=Counter)
    repaired: int = 0
    dropped: dict[str, list[int]] = field(default_factory=dict)
    mended: list[int] = field(default_factory=list)

    def __str__(self) -> str:
        return f"layer {self.layer!r} of {self.name} ({self.crs})"


def read_fields(place: str, layer: str | None, column: str, crs: CRS, areas: Iterable[Area]) -> Fields:
    """The fields or points of a vector file that touch some areas.

    Args:
        place: File, zip or URL: GeoParquet, or what GDAL reads: GeoPackage, GeoJSON, shapefile (also zipped), KML, …
        layer: Which of its layers; None where only one has geometry.
        column: Holds the label code, a whole number from 1.
        crs: To bring them to.
        areas: Of the study.

    Raises:
        CatalogueError: Not a vector file, several layers with geometry and none named, no such column, an invalid
            code, no CRS, or nothing to draw in the areas; with the reason.
    """
    areas = list(areas)
    name = public(place) if "://" in place else Path(place).name
    layer, geometry, (values,), stated_crs = read_layer(place, layer, [column])
    shapes = shapes_of(geometry)
    # Codes are read last: a row without geometry, or far away, needs none.
    fields = Fields(shapes, np.asarray(values), np.arange(len(shapes)), name, layer, "", len(shapes))
    if not len(shapes):
        raise CatalogueError(f"Layer {layer!r} of {place} has no fields. Export it again.")
    keep_drawable(fields, geometry)
    if len(fields.shapes):
        own = crs_of(stated_crs, place)
        fields.crs = ground.crs_name(own)
        check_degrees(fields, own, place)
    if not len(fields.shapes):
        raise CatalogueError(
            f"{fields.read} fields of layer {layer!r} of {place} contain nothing to draw: {lost_text(fields.lost)}. "
            "Labels are outlines (polygons) or points. Export the file again with its geometry."
        )
    outlines = [o for o in (a.outline(own.to_wkt()) for a in areas) if np.isfinite(o.bounds).all()]
    touches = np.zeros(len(fields.shapes), bool)
    for outline in outlines:
        touches |= shapely.intersects(fields.shapes, outline)
    if not touches.any():
        raise CatalogueError(_nothing_here(fields, own, outlines, areas, place))
    drop(fields, ~touches, "outside the areas")
    fields.codes = _codes(fields, place, column)
    shapes = moved(_near(fields.shapes, outlines), own, crs)
    off = ~np.isfinite(shapely.bounds(shapes)).all(axis=1)
    if off.any():
        raise CatalogueError(
            f"Row {fields.rows[off][0]} of {place} cannot be transformed from {fields.crs} to {crs.to_string()}: "
            "its coordinates lie outside the range of these. Correct the row or the file's CRS."
        )
    fields.shapes = shapes
    return fields


@dataclass(frozen=True)
class Asked:
    """What a caller's settings are called, for messages."""

    path: str = "[labels] path"
    layer: str = "[labels] layer"
    column: str = "[labels] code_column"


def read_layer(
    place: str, layer: str | None, columns: Sequence[str], asked: Asked = Asked()
) -> tuple[str, np.ndarray, list[np.ndarray], str | None]:
    """One layer of a vector file that GDAL reads, or a GeoParquet file.

    Args:
        place: File, zip or URL.
        layer: Its name; None where only one has geometry.
        columns: To read beside the geometry.
        asked: What the caller calls these.

    Returns:
        The layer's name, (N,) WKB, None where a row has no geometry, (N,) values of each column, and the CRS as the
        file states it.

    Raises:
        CatalogueError: Not a vector file, several layers with geometry and none named, or no such column.
    """
    from pyogrio import list_layers, read_info
    from pyogrio.errors import DataLayerError, DataSourceError, FeatureError, GeometryError
    from pyogrio.raw import read

    if place.lower().endswith((".parquet", ".geoparquet")) and not place.lower().startswith("http"):
        return _read_geoparquet(place, layer, columns, asked)
    named, place = place, _inside(place, asked)
    _check_complete(place)
    try:
        layer = _layer(list_layers(place), layer, named, asked)
        _check_columns(columns, list(read_info(place, layer=layer)["fields"]), named, asked)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Non closed ring")  # they are closed, or counted as lost
            meta, _, geometry, values = read(place, layer=layer, columns=list(columns), force_2d=True)
    except UnicodeDecodeError as error:
        shown = error.object.decode("latin-1")
        raise CatalogueError(
            f"{named} holds text that is not UTF-8, although it should be: {shown[:40]!r} as Latin-1. Save it as "
            "UTF-8; for a shapefile, write the encoding, such as ISO-8859-1, into its .cpg file."
        ) from None
    except (DataSourceError, DataLayerError, FeatureError, GeometryError) as error:
        if found := filetypes.placeholder(named, "vector file") or _utf_16(named):
            raise CatalogueError(f"{named} {found}") from None
        reason = str(error).split(".; It might help")[0].rstrip(".")
        raise CatalogueError(
            f"{named} cannot be read as a vector file: {reason}. Check {asked.path}; if it is right, the file, or one "
            "that belongs to it, is damaged or missing: copy or export it again."
        ) from None
    by_name = dict(zip(meta["fields"], values, strict=True))  # in the order of the file
    return layer, geometry, [by_name[column] for column in columns], meta["crs"]


def _read_geoparquet(place: str, layer: str | None, columns: Sequence[str], asked: Asked):
    """As `read_layer`; GDAL's wheels read no Parquet. Source: https://geoparquet.org/releases/v1.1.0."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = copies.fetched(folders.place(place))
    try:
        with pq.ParquetFile(path) as file:
            geo = json.loads((file.schema_arrow.metadata or {}).get(b"geo", b"{}"))
            if not geo:
                raise CatalogueError(
                    f"{place} is a Parquet file without geometry: its metadata has no 'geo'. Write it as GeoParquet."
                )
            primary = geo["primary_column"]
            about = geo["columns"][primary]
            _check_columns(columns, [n for n in file.schema_arrow.names if n != primary], place, asked)
            if about.get("encoding") != "WKB":
                raise CatalogueError(
                    f"{place} stores its geometry as {about.get('encoding')!r}; 'WKB' is read here. Write it again as "
                    "WKB."
                )
            table = file.read([primary, *columns])
        geometry = np.array(table[primary].to_pylist(), object)
        crs = about.get("crs", "OGC:CRS84")  # no entry means longitude and latitude; null means unknown
        stated = CRS.from_json_dict(crs).to_wkt() if isinstance(crs, dict) else crs
    except CatalogueError:
        raise
    except (pa.ArrowInvalid, OSError, KeyError, ValueError, TypeError, AttributeError, CRSError) as error:
        if found := filetypes.placeholder(str(path), "vector file"):
            raise CatalogueError(f"{place} {found}") from None
        reason = error if isinstance(error, pa.ArrowInvalid | OSError) else f"its metadata 'geo' are wrong ({error})"
        raise CatalogueError(
            f"{place} cannot be read as GeoParquet: {reason}. Check {asked.path}, or write the file again."
        ) from None
    if layer not in (None, path.stem, primary):
        raise CatalogueError(f"{place}: layer {layer!r} is not in it. A GeoParquet file has one layer: leave it out.")
    return path.stem, geometry, [table[c].to_numpy() for c in columns], stated


def _check_columns(columns: Sequence[str], known: list[str], place: str, asked: Asked) -> None:
    for column in columns:
        if not known:
            raise CatalogueError(
                f"{place} has no column {column!r}; it has none: it is empty, its outlines have no properties, or a "
                "shapefile lacks its .dbf file. Export it again."
            )
        if column not in known:
            raise CatalogueError(f"{place} has no column {column!r}; it has {', '.join(known)}. Set {asked.column}.")
        if known.count(column) > 1:
            raise CatalogueError(
                f"{place} has {known.count(column)} columns called {column!r}, and which one is meant is unknown. "
                "Rename one of them."
            )


def _utf_16(place: str) -> str:
    """Say that a file is UTF-16 text, and what to do; empty where it is not, or not a file on this disk."""
    try:
        with Path(place).open("rb") as file:
            mark = file.read(2)
    except (OSError, ValueError):
        return ""
    return "is text in UTF-16, which GDAL does not read. Save it as UTF-8." if mark in UTF_16 else ""


def _check_complete(place: str) -> None:
    """Refuse an answer of a server that says that it is only a part of all features."""
    if not place.lower().endswith((".json", ".geojson")) or not Path(place).is_file():
        return
    with Path(place).open("rb") as file:
        text = file.read(ENDS)
        file.seek(max(len(text), Path(place).stat().st_size - ENDS))
        text += file.read()
    all_of, sent = (re.search(rb'"%s"\s*:\s*(\d+)' % key, text) for key in (b"numberMatched", b"numberReturned"))
    if re.search(rb'"exceededTransferLimit"\s*:\s*true', text) or (all_of and sent and int(all_of[1]) > int(sent[1])):
        raise CatalogueError(
            f"{place} says itself that its server sent only a part of the features "
            f"({f'{int(sent[1]):,} of {int(all_of[1]):,}' if all_of and sent else 'exceededTransferLimit'}). Fetch the "
            "others and join them; if this part is all that you need, delete that statement from the file."
        )


def shapes_of(geometry: np.ndarray) -> np.ndarray:
    """(N,) shapes, None where there is none or it cannot be read; open rings are closed, heights are left out."""
    with np.errstate(invalid="ignore"):
        return shapely.force_2d(shapely.from_wkb(geometry, on_invalid="fix"))


def keep_drawable(fields: Fields, geometry: np.ndarray) -> None:
    """Drop what cannot be drawn, with the reason; repair outlines that cross themselves.

    Args:
        fields: All rows of a file.
        geometry: (N,) their WKB, None where there is none.
    """
    shapes = fields.shapes
    unread = shapely.is_missing(shapes) & np.array([wkb is not None for wkb in geometry], bool)
    empty = ~unread & (shapely.is_missing(shapes) | shapely.is_empty(shapes))
    for which, reason in ((unread, N_("whose outline cannot be read")), (empty[~unread], N_("without geometry"))):
        drop(fields, which, reason)
    drop(fields, _endless(fields.shapes), N_("with coordinates that are not numbers"))
    _repair(fields)


def _endless(shapes: np.ndarray) -> np.ndarray:
    """(N,) whether a shape has a coordinate that is infinite or NaN."""
    points, owner = shapely.get_coordinates(shapes, return_index=True)
    endless = np.zeros(len(shapes), bool)
    endless[owner[~np.isfinite(points).all(axis=1)]] = True
    return endless


def _inside(place: str, asked: Asked) -> str:
    """The data set in a folder of a zip: GDAL itself looks only at the top."""
    if not place.lower().endswith(".zip") or "://" in place or not zipfile.is_zipfile(place):
        return place
    with zipfile.ZipFile(place) as archive:
        names = [n for n in archive.namelist() if n.lower().endswith(SETS) and not n.startswith("__MACOSX")]
    if not any("/" in n for n in names):
        return place
    if len(names) > 1:
        raise CatalogueError(
            f"{place} holds {len(names)} vector files: {', '.join(names[:5])}. "
            f"Unpack it, and set {asked.path} to the one that holds the fields."
        )
    return f"/vsizip/{place}/{names[0]}"


def _layer(layers: np.ndarray, wanted: str | None, place: str, asked: Asked) -> str:
    """The name of the layer of fields. Tables without geometry, such as QGIS's ``layer_styles``, are ignored."""
    kinds = {str(name): kind for name, kind in layers}
    spatial = [name for name, kind in kinds.items() if kind is not None]
    if wanted is not None:
        if wanted in spatial:
            return wanted
        what = "is a table without geometry" if wanted in kinds else "is not in it"
        raise CatalogueError(
            f"{place}: layer {wanted!r} {what}. Set {asked.layer} to one of: {', '.join(spatial) or 'it has none'}."
        )
    if len(spatial) > 1:
        raise CatalogueError(
            f"{place} has {len(spatial)} layers with geometry: {', '.join(f'{n} ({kinds[n]})' for n in spatial)}. "
            f"Say which holds the fields, for example: {asked.layer} = {spatial[0]!r}."
        )
    if not spatial:
        if found := _utf_16(place):
            raise CatalogueError(f"{place} {found}")
        table = Path(place).with_suffix("").name
        how = (
            f"If it has columns of coordinates, make a layer of points of it: ogr2ogr -a_srs EPSG:4326 "
            f"-oo X_POSSIBLE_NAMES=lon -oo Y_POSSIBLE_NAMES=lat -oo AUTODETECT_TYPE=YES {table}.gpkg {Path(place).name}"
            ". If it has a column of WKT, take -oo GEOM_POSSIBLE_NAMES=geometry (its name) in place of both names."
            if place.lower().endswith((".csv", ".tsv", ".txt"))
            else "Export a layer with geometry; save a table of coordinates as CSV."
        )
        raise CatalogueError(f"{place} has no geometry, so the place of its rows is unknown. {how}")
    return spatial[0]


def _codes(fields: Fields, place: str, column: str) -> np.ndarray:
    """(N,) int64; numbers stored as text count as numbers, names do not."""
    values = fields.codes
    if values.dtype.kind in "iuf":
        number = values.astype(float)
    elif values.dtype.kind in "OU":
        number = np.array([_number(v) for v in values])
    else:
        number = np.full(len(values), np.nan)
    bad = ~(np.isfinite(number) & (number == np.round(number)) & (number > 0) & (number <= MAX_CODE))
    if bad.any():
        first = int(bad.argmax())
        raise CatalogueError(
            f"{place}: column {column!r} must hold whole numbers from 1 to {MAX_CODE} (0 is no label); "
            f"row {fields.rows[first]} has {str(values[first])!r}, and so {int(bad.sum())} of the {len(bad)} rows in "
            "the areas do not. Add a column with the number of each crop, or remove the rows without one from the file."
        )
    return number.astype(np.int64)


def _number(value) -> float:
    """A number of a column of texts or decimal numbers; NaN where it is none. ``1.0`` is what programs make of 1."""
    text = str(value).strip() if isinstance(value, str | Decimal) else ""
    return float(text) if re.fullmatch(r"[0-9]+(\.0)?", text) else np.nan


def crs_of(stated: str | None, place: str) -> CRS:
    """The CRS that a file states.

    Raises:
        CatalogueError: It states none, or one that does not say where on Earth it lies.
    """
    try:
        own = CRS(stated) if stated else None
    except CRSError:
        own = None
    if own is None or not (own.is_geographic or own.is_projected):
        raise CatalogueError(
            f"{place} has no CRS that says where on Earth it lies"
            f"{f' (it states {own.name!r})' if own is not None else ''}. "
            "Export it again with one; a shapefile needs its .prj file beside it. If you know it, state it, such as "
            f"EPSG:4326 for longitudes and latitudes: ogr2ogr -a_srs EPSG:4326 with_crs.gpkg {Path(place).name}"
        )
    return own


def check_degrees(fields: Fields, own: CRS, place: str) -> None:
    """Refuse a CRS in degrees with coordinates that are not longitude and latitude; drop outlines across 180°."""
    if not own.is_geographic:
        return
    west, south, east, north = shapely.bounds(fields.shapes).T
    off = (west < -360) | (east > 360) | (south < -90) | (north > 90)
    if not off.any():
        drop(fields, _across_180(fields.shapes), N_("across 180° of longitude, not cut there in two parts"))
        return
    i = int(off.argmax())
    lat_first = max(-west[off].min(), east[off].max()) <= 90 and max(-south[off].min(), north[off].max()) <= 360
    raise CatalogueError(
        f"{place} states that it is in {fields.crs}, which has degrees, and row {fields.rows[i]} has the coordinates "
        f"({west[i]:g}, {south[i]:g}), which are not longitude and latitude. "
        + (
            SWAPPED
            if lat_first
            else "They look like metres: export the file with the right CRS (a GeoJSON file must hold EPSG:4326)."
        )
    )


def _across_180(shapes: np.ndarray) -> np.ndarray:
    """(N,) whether an outline jumps from one side of 180° to the other, so that it would cover the rest of the Earth.

    An edge of 360° is that of an outline of the whole Earth.
    """
    parts, shape = shapely.get_parts(shapes, return_index=True)
    rings, part = shapely.get_rings(parts, return_index=True)
    points, ring = shapely.get_coordinates(rings, return_index=True)
    edge = np.abs(np.diff(points[:, 0]))
    jumps = (ring[1:] == ring[:-1]) & (edge > 180) & (edge < 360)
    return np.isin(np.arange(len(shapes)), shape[part[ring[1:][jumps]]])


def moved(shapes: np.ndarray, own: CRS, crs: CRS) -> np.ndarray:
    """Shapes in another CRS."""
    if own == crs:
        return shapes
    try:
        change = Transformer.from_crs(own, crs, always_xy=True)
    except ProjError as error:
        raise CatalogueError(f"Fields cannot be transformed from {own.name} to {crs.name}: {error}.") from None
    return shapely.transform(shapes, lambda p: np.column_stack(change.transform(p[:, 0], p[:, 1])))


def _near(shapes: np.ndarray, outlines: list) -> np.ndarray:
    """Shapes cut to the neighbourhood of the areas: what lies far away may not exist in the other CRS."""
    west, south, east, north = shapely.total_bounds(outlines)
    margin = max(east - west, north - south)
    near = box(west - margin, south - margin, east + margin, north + margin)
    far = ~shapely.covered_by(shapes, near)
    shapes = shapes.copy()
    shapes[far] = shapely.intersection(shapes[far], near)
    return shapes


def _nothing_here(fields: Fields, own: CRS, outlines, areas: list[Area], place: str) -> str:
    """Why no field touches an area, in words."""
    problem = f"None of the {len(fields.shapes)} fields of {fields} touches an area of the study"
    turned = shapely.transform(fields.shapes, lambda p: p[:, ::-1])
    if any(shapely.intersects(turned, o).any() for o in outlines):
        swapped = SWAPPED if own.is_geographic else "The file seems to have x and y swapped. Export it with x first."
        return f"{problem}. {swapped}"
    to_degrees = Transformer.from_crs(own, "EPSG:4326", always_xy=True)
    w, s, e, n = to_degrees.transform_bounds(*shapely.total_bounds(fields.shapes))
    aw, as_, ae, an = shapely.total_bounds([a.outline() for a in areas])
    return (
        f"{problem}: they lie at longitude {w:.3f} to {e:.3f}, latitude {s:.3f} to {n:.3f}, and the areas at "
        f"{aw:.3f} to {ae:.3f}, {as_:.3f} to {an:.3f}. Check the areas' bounds and crs, and the file's CRS."
    )


def _repair(fields: Fields) -> None:
    """Keep polygons and points; repair outlines that cross themselves, and keep what has an area."""
    kind = shapely.get_type_id(fields.shapes)
    drop(fields, np.isin(kind, LINES), N_("lines, which have no area"))
    wrong = ~shapely.is_valid(fields.shapes)
    fields.repaired, fields.mended = int(wrong.sum()), fields.rows[wrong].tolist()
    fields.shapes[wrong] = shapely.make_valid(fields.shapes[wrong])
    keep_parts(fields.shapes, (*POLYGONS, *POINTS))
    kind = shapely.get_type_id(fields.shapes)
    flat = ~np.isin(kind, POINTS) & ~(shapely.area(fields.shapes) > 0)
    drop(fields, flat, N_("without an area"))


def keep_parts(shapes: np.ndarray, kinds: Sequence[int]) -> None:
    """Of collections keep the parts of some types, in place."""
    for i in np.flatnonzero(shapely.get_type_id(shapes) == COLLECTION):
        parts = shapely.get_parts(shapes[i])
        parts = parts[np.isin(shapely.get_type_id(parts), kinds)]
        shapes[i] = shapely.union_all(parts) if len(parts) else shapely.Polygon()


def drop(fields: Fields, which: np.ndarray, reason: str) -> None:
    """Leave out some fields, counted by reason."""
    if which.any():
        fields.lost[reason] += int(which.sum())
        fields.dropped.setdefault(reason, []).extend(fields.rows[which].tolist())
    for name in ("shapes", "codes", "rows"):
        setattr(fields, name, getattr(fields, name)[~which])


def lost_text(lost: Counter) -> str:
    return ", ".join(f"{n:,} {reason}" for reason, n in lost.items() if n)
