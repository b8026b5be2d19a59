"""Fields and points of a vector file that touch the areas of a study, with their label codes.

A pixel will take the code of the field in which its centre lies, or of the point that lies in it. A pixel in fields of
different codes gets no label, because it is not known which one is right.

Lab: part1_build_dataset.
"""

from __future__ import annotations

import json
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import shapely
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError, ProjError
from shapely.geometry import box

from arsetlib import copies, filetypes, folders
from arsetlib.study import MAX_CODE, Area
from arsetlib.translation import N_
from arsetlib.web import CatalogueError, public

SETS = (".shp", ".gpkg", ".geojson", ".json", ".kml", ".fgb")  # files of a zip that may hold fields
POINTS, POLYGONS, LINES, COLLECTION = (0, 4), (3, 6), (1, 2, 5), 7  # shapely's numbers of types
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
    if not len(fields.shapes):
        raise CatalogueError(
            f"{fields.read} fields of layer {layer!r} of {place} contain nothing to draw: {lost_text(fields.lost)}. "
            "Labels are outlines (polygons) or points. Export the file again with its geometry."
        )
    own = crs_of(stated_crs, place)
    fields.crs = own.to_string() if own.to_epsg() is None else f"EPSG:{own.to_epsg()}"
    check_degrees(fields, own, place)
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
    try:
        layer = _layer(list_layers(place), layer, named, asked)
        _check_columns(columns, list(read_info(place, layer=layer)["fields"]), named, asked)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Non closed ring")  # they are closed, or counted as lost
            meta, _, geometry, values = read(place, layer=layer, columns=list(columns), force_2d=True)
    except (DataSourceError, DataLayerError, FeatureError, GeometryError) as error:
        if found := filetypes.placeholder(named, "vector file"):
            raise CatalogueError(f"{named} {found}") from None
        reason = str(error).split(".; It might help")[0]
        raise CatalogueError(f"{named} cannot be read as a vector file: {reason}. Check {asked.path}.") from None
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
            _check_columns(columns, [n for n in file.schema_arrow.names if n != primary], place, asked)
            table = file.read([primary, *columns])
        about = geo["columns"][primary]
    except (pa.ArrowInvalid, OSError, KeyError, ValueError) as error:
        if isinstance(error, CatalogueError):
            raise
        if found := filetypes.placeholder(str(path), "vector file"):
            raise CatalogueError(f"{place} {found}") from None
        raise CatalogueError(f"{place} cannot be read as GeoParquet: {error}. Check {asked.path}.") from None
    if layer not in (None, path.stem, primary):
        raise CatalogueError(f"{place}: layer {layer!r} is not in it. A GeoParquet file has one layer: leave it out.")
    if about.get("encoding") != "WKB":
        raise CatalogueError(
            f"{place} stores its geometry as {about.get('encoding')!r}; 'WKB' is read here. Write it again as WKB."
        )
    crs = about.get("crs", "OGC:CRS84")  # no entry means longitude and latitude; null means unknown
    stated = CRS.from_json_dict(crs).to_wkt() if isinstance(crs, dict) else crs
    geometry = np.array(table[primary].to_pylist(), object)
    return path.stem, geometry, [table[c].to_numpy() for c in columns], stated


def _check_columns(columns: Sequence[str], known: list[str], place: str, asked: Asked) -> None:
    for column in columns:
        if column not in known:
            raise CatalogueError(
                f"{place} has no column {column!r}; it has {', '.join(known) or 'none'}. Set {asked.column}."
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
        table = Path(place).with_suffix("").name
        raise CatalogueError(
            f"{place} has no geometry, so the place of its rows is unknown. If it has columns of coordinates, make a "
            f"layer of points of it: ogr2ogr -a_srs EPSG:4326 -oo X_POSSIBLE_NAMES=lon -oo Y_POSSIBLE_NAMES=lat "
            f"-oo AUTODETECT_TYPE=YES {table}.gpkg {Path(place).name}"
        )
    return spatial[0]


def _codes(fields: Fields, place: str, column: str) -> np.ndarray:
    """(N,) int64; numbers stored as text count as numbers, names do not."""
    values = fields.codes
    if values.dtype.kind in "iuf":
        number = values.astype(float)
    elif values.dtype.kind in "OU":
        digits = [isinstance(v, str) and v.strip().isascii() and v.strip().isdigit() for v in values]
        number = np.array([float(v) if ok else np.nan for v, ok in zip(values, digits, strict=True)])
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
            "Export it again with one; a shapefile needs its .prj file beside it. For a table of longitudes and "
            f"latitudes: ogr2ogr -a_srs EPSG:4326 fields.gpkg {Path(place).name}"
        )
    return own


def check_degrees(fields: Fields, own: CRS, place: str) -> None:
    """Refuse a CRS in degrees with coordinates that are not longitude and latitude."""
    if not own.is_geographic:
        return
    west, south, east, north = shapely.bounds(fields.shapes).T
    off = (west < -360) | (east > 360) | (south < -90) | (north > 90)
    if not off.any():
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
