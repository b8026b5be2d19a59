"""Fields and points of a vector file as label codes on a grid, with a count of what was read, drawn and lost.

A pixel takes the code of the field in which its centre lies, or of the point that lies in it. A pixel on which
fields of different codes lie has no label: nobody knows which one is right.

Lab: part1_build_dataset.
"""

from __future__ import annotations

import warnings
import zipfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import shapely
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError, ProjError
from rasterio.features import rasterize
from rasterio.transform import from_origin
from shapely.geometry import box

from arsetlib.study import MAX_CODE, Area
from arsetlib.web import CatalogueError, public

CONTRADICTED = 0.05  # largest share of the labelled pixels on which fields of different codes may lie
STRIP = 512  # rows drawn at once, to bound memory
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
        repaired: Outlines that cross themselves, mended before drawing.
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

    def __str__(self) -> str:
        return f"layer {self.layer!r} of {self.name} ({self.crs})"


def read_fields(place: str, layer: str | None, column: str, crs: CRS, areas: Iterable[Area]) -> Fields:
    """The fields or points of a vector file that touch some areas.

    Args:
        place: File, zip or URL that GDAL reads: GeoPackage, GeoJSON, shapefile (also zipped), KML, FlatGeobuf, …
        layer: Which of its layers; None where only one has geometry.
        column: Holds the label code, a whole number from 1.
        crs: To bring them to.
        areas: Of the study.

    Raises:
        CatalogueError: Not a vector file, several layers with geometry and none named, no such column, a code that is
            no code, no CRS, or nothing to draw in the areas; with the reason.
    """
    areas = list(areas)
    name = public(place) if "://" in place else Path(place).name
    layer, geometry, values, said = _read(place, layer, column)
    shapes = _shapes(geometry)
    # Codes are read last: a row without geometry, or far away, needs none.
    found = Fields(shapes, np.asarray(values), np.arange(len(shapes)), name, layer, "", len(shapes))
    if not len(shapes):
        raise CatalogueError(f"Layer {layer!r} of {place} has no fields. Export it again.")
    unread = shapely.is_missing(shapes) & np.array([wkb is not None for wkb in geometry], bool)
    empty = ~unread & (shapely.is_missing(shapes) | shapely.is_empty(shapes))
    for which, reason in ((unread, "whose outline cannot be read"), (empty[~unread], "without geometry")):
        _drop(found, which, reason)
    _drop(found, _endless(found.shapes), "with coordinates that are no numbers")
    _mend(found)
    if not len(found.shapes):
        raise CatalogueError(
            f"{found.read} fields of layer {layer!r} of {place} hold nothing to draw: {_told(found.lost)}. "
            "Labels are outlines (polygons) or points. Export the file again with its geometry."
        )
    own = _crs_of(said, place)
    found.crs = own.to_string() if own.to_epsg() is None else f"EPSG:{own.to_epsg()}"
    _check_degrees(found, own, place)
    outlines = [o for o in (a.outline(own.to_wkt()) for a in areas) if np.isfinite(o.bounds).all()]
    touches = np.zeros(len(found.shapes), bool)
    for outline in outlines:
        touches |= shapely.intersects(found.shapes, outline)
    if not touches.any():
        raise CatalogueError(_nothing_here(found, own, outlines, areas, place))
    _drop(found, ~touches, "outside the areas")
    found.codes = _codes(found, place, column)
    there = _moved(_near(found.shapes, outlines), own, crs)
    off = ~np.isfinite(shapely.bounds(there)).all(axis=1)
    if off.any():
        raise CatalogueError(
            f"Row {found.rows[off][0]} of {place} cannot be brought from {found.crs} to {crs.to_string()}: "
            "its coordinates lie outside of where these are defined. Correct the row or the file's CRS."
        )
    found.shapes = there
    return found


def _read(place: str, layer: str | None, column: str):
    """Name of the layer, (N,) WKB, (N,) values of the column, and the CRS as the file states it."""
    try:
        from pyogrio import list_layers, read_info
        from pyogrio.errors import DataLayerError, DataSourceError, FeatureError, GeometryError
        from pyogrio.raw import read
    except ImportError:
        raise CatalogueError("Fields need pyogrio. Install it: pip install 'arsetlib[vector]'.") from None
    named, place = place, _inside(place)
    try:
        layer = _layer(list_layers(place), layer, named)
        known = list(read_info(place, layer=layer)["fields"])
        if column not in known:
            raise CatalogueError(
                f"{named} has no column {column!r}; it has {', '.join(known) or 'none'}. Set [labels] code_column."
            )
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Non closed ring")  # they are closed, or counted as lost
            meta, _, geometry, (values,) = read(place, layer=layer, columns=[column], force_2d=True)
    except (DataSourceError, DataLayerError, FeatureError, GeometryError) as error:
        reason = str(error).split(".; It might help")[0]
        if place.lower().endswith((".parquet", ".geoparquet")):
            reason = (
                "GeoParquet is not read here; make a GeoPackage: geopandas.read_parquet(...).to_file('fields.gpkg')"
            )
        raise CatalogueError(f"{named} cannot be read as a vector file: {reason}. Check [labels] path.") from None
    return layer, geometry, values, meta["crs"]


def _shapes(geometry) -> np.ndarray:
    """(N,) shapes, None where there is none or it cannot be read; rings that do not end where they begin are closed."""
    with np.errstate(invalid="ignore"):
        try:
            return shapely.from_wkb(geometry, on_invalid="fix")
        except ValueError:  # before shapely 2.1
            return shapely.from_wkb(geometry, on_invalid="ignore")


def _endless(shapes: np.ndarray) -> np.ndarray:
    """(N,) whether a shape has a coordinate that is infinite or not a number."""
    points, owner = shapely.get_coordinates(shapes, return_index=True)
    found = np.zeros(len(shapes), bool)
    found[owner[~np.isfinite(points).all(axis=1)]] = True
    return found


def _inside(place: str) -> str:
    """The data set in a zip, where it lies in a folder of it: GDAL looks only at the top."""
    if not place.lower().endswith(".zip") or "://" in place or not zipfile.is_zipfile(place):
        return place
    with zipfile.ZipFile(place) as archive:
        names = [n for n in archive.namelist() if n.lower().endswith(SETS) and not n.startswith("__MACOSX")]
    if not any("/" in n for n in names):
        return place
    if len(names) > 1:
        raise CatalogueError(
            f"{place} holds {len(names)} vector files: {', '.join(names[:5])}. "
            "Unpack it, and set [labels] path to the one that holds the fields."
        )
    return f"/vsizip/{place}/{names[0]}"


def _layer(layers: np.ndarray, asked: str | None, place: str) -> str:
    """The layer meant. Tables without geometry, such as QGIS's ``layer_styles``, are no layers of fields."""
    kinds = {str(name): kind for name, kind in layers}
    spatial = [name for name, kind in kinds.items() if kind is not None]
    if asked is not None:
        if asked in spatial:
            return asked
        what = "is a table without geometry" if asked in kinds else "is not in it"
        raise CatalogueError(
            f"{place}: layer {asked!r} {what}. Set [labels] layer to one of: {', '.join(spatial) or 'it has none'}."
        )
    if len(spatial) > 1:
        raise CatalogueError(
            f"{place} has {len(spatial)} layers with geometry: {', '.join(f'{n} ({kinds[n]})' for n in spatial)}. "
            f"Say which holds the fields, for example: [labels] layer = {spatial[0]!r}."
        )
    if not spatial:
        table = Path(place).with_suffix("").name
        raise CatalogueError(
            f"{place} has no geometry, so nothing says where its rows lie. If it has columns of coordinates, make a "
            f"layer of points of it: ogr2ogr -a_srs EPSG:4326 -oo X_POSSIBLE_NAMES=lon -oo Y_POSSIBLE_NAMES=lat "
            f"-oo AUTODETECT_TYPE=YES {table}.gpkg {Path(place).name}"
        )
    return spatial[0]


def _codes(found: Fields, place: str, column: str) -> np.ndarray:
    """(N,) int64; numbers that were kept as text count as numbers, names do not."""
    values = found.codes
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
            f"row {found.rows[first]} has {str(values[first])!r}, and so {int(bad.sum())} of the {len(bad)} rows in "
            "the areas do not. Add a column with the number of each crop, or take the rows without one out of the file."
        )
    return number.astype(np.int64)


def _crs_of(said: str | None, place: str) -> CRS:
    try:
        own = CRS(said) if said else None
    except CRSError:
        own = None
    if own is None or not (own.is_geographic or own.is_projected):
        raise CatalogueError(
            f"{place} has no CRS that says where on Earth it lies"
            f"{f' (it says {own.name!r})' if own is not None else ''}. "
            "Export it again with one; a shapefile needs its .prj file beside it. A table of longitudes and latitudes "
            f"gets it so: ogr2ogr -a_srs EPSG:4326 fields.gpkg {Path(place).name}"
        )
    return own


def _check_degrees(found: Fields, own: CRS, place: str) -> None:
    """Refuse longitudes and latitudes that are none."""
    if not own.is_geographic:
        return
    west, south, east, north = shapely.bounds(found.shapes).T
    off = (west < -360) | (east > 360) | (south < -90) | (north > 90)
    if not off.any():
        return
    i = int(off.argmax())
    lat_first = max(-west[off].min(), east[off].max()) <= 90 and max(-south[off].min(), north[off].max()) <= 360
    raise CatalogueError(
        f"{place} says that it is in {found.crs}, which has degrees, and row {found.rows[i]} has the coordinates "
        f"({west[i]:g}, {south[i]:g}), which are not longitude and latitude. "
        + (
            SWAPPED
            if lat_first
            else "They look like metres: export the file with the right CRS (a GeoJSON file must hold EPSG:4326)."
        )
    )


def _moved(shapes: np.ndarray, own: CRS, crs: CRS) -> np.ndarray:
    if own == crs:
        return shapes
    try:
        change = Transformer.from_crs(own, crs, always_xy=True)
    except ProjError as error:
        raise CatalogueError(f"Fields cannot be brought from {own.name} to {crs.name}: {error}.") from None
    return shapely.transform(shapes, lambda p: np.column_stack(change.transform(p[:, 0], p[:, 1])))


def _near(shapes: np.ndarray, outlines: list) -> np.ndarray:
    """Shapes cut to the neighbourhood of the areas: what reaches far beyond cannot be brought to another CRS."""
    west, south, east, north = shapely.total_bounds(outlines)
    margin = max(east - west, north - south)
    near = box(west - margin, south - margin, east + margin, north + margin)
    far = ~shapely.covered_by(shapes, near)
    shapes = shapes.copy()
    shapes[far] = shapely.intersection(shapes[far], near)
    return shapes


def _nothing_here(found: Fields, own: CRS, outlines, areas: list[Area], place: str) -> str:
    """Why no field touches an area, in words."""
    told = f"None of the {len(found.shapes)} fields of {found} touches an area of the study"
    turned = shapely.transform(found.shapes, lambda p: p[:, ::-1])
    if any(shapely.intersects(turned, o).any() for o in outlines):
        swapped = SWAPPED if own.is_geographic else "The file seems to have x and y swapped. Export it with x first."
        return f"{told}. {swapped}"
    to_degrees = Transformer.from_crs(own, "EPSG:4326", always_xy=True)
    w, s, e, n = to_degrees.transform_bounds(*shapely.total_bounds(found.shapes))
    aw, as_, ae, an = shapely.total_bounds([a.outline() for a in areas])
    return (
        f"{told}: they lie at longitude {w:.3f} to {e:.3f}, latitude {s:.3f} to {n:.3f}, and the areas at "
        f"{aw:.3f} to {ae:.3f}, {as_:.3f} to {an:.3f}. Check the areas' bounds and crs, and the file's CRS."
    )


def _mend(found: Fields) -> None:
    """Keep polygons and points; repair outlines that cross themselves, and keep what has an area."""
    kind = shapely.get_type_id(found.shapes)
    _drop(found, np.isin(kind, LINES), "lines, which have no area")
    wrong = ~shapely.is_valid(found.shapes)
    found.repaired = int(wrong.sum())
    found.shapes[wrong] = shapely.make_valid(found.shapes[wrong])
    kind = shapely.get_type_id(found.shapes)
    for i in np.flatnonzero(kind == COLLECTION):
        parts = shapely.get_parts(found.shapes[i])
        parts = parts[np.isin(shapely.get_type_id(parts), (*POLYGONS, *POINTS))]
        found.shapes[i] = shapely.union_all(parts) if len(parts) else shapely.Polygon()
    kind = shapely.get_type_id(found.shapes)
    flat = ~np.isin(kind, POINTS) & ~(shapely.area(found.shapes) > 0)
    _drop(found, flat, "without an area")


def _drop(found: Fields, which: np.ndarray, reason: str) -> None:
    if which.any():
        found.lost[reason] += int(which.sum())
    for name in ("shapes", "codes", "rows"):
        setattr(found, name, getattr(found, name)[~which])


def _told(lost: Counter) -> str:
    return ", ".join(f"{n:,} {reason}" for reason, n in lost.items() if n)


class Drawing:
    """Draws fields on a grid, window after window, and counts."""

    def __init__(self, fields: Fields, side: float):
        self.fields, self.side = fields, side
        self.dtype = "uint8" if fields.codes.max() < 256 else "uint16"
        self.tree = shapely.STRtree(fields.shapes)
        self.drawn = np.zeros(len(fields.shapes), bool)
        self.covers = np.zeros(len(fields.shapes), bool)
        self.pixels = np.zeros(MAX_CODE + 1, np.int64)
        self.contradicted, self.example = 0, None

    def window(self, left: float, top: float, rows: int, cols: int) -> np.ndarray:
        """(rows, cols) codes, 0 where there is no field, or fields of different codes."""
        out = np.zeros((rows, cols), self.dtype)
        for row in range(0, rows, STRIP):
            part = out[row : row + STRIP]
            part[:] = self._strip(left, top - row * self.side, *part.shape)
        self.pixels += np.bincount(out.ravel(), minlength=len(self.pixels))
        return out

    def _strip(self, left, top, rows, cols) -> np.ndarray:
        side = self.side
        here = np.sort(self.tree.query(box(left, top - rows * side, left + cols * side, top)))
        if not here.size:
            return np.zeros((rows, cols), self.dtype)
        order = here[np.argsort(self.fields.codes[here], kind="stable")]
        grid = from_origin(left, top, side, side)

        def on_top(numbers) -> np.ndarray:
            pairs = ((self.fields.shapes[i], int(i) + 1) for i in numbers)
            return rasterize(pairs, (rows, cols), fill=0, transform=grid, all_touched=False, dtype="int32")

        codes = np.concatenate([[0], self.fields.codes])
        high, low = on_top(order), on_top(order[::-1])  # a pixel's field of the highest and of the lowest code
        differ = codes[high] != codes[low]
        for numbers in (high, low):
            self.covers[np.unique(numbers[numbers > 0]) - 1] = True
            self.drawn[np.unique(numbers[(numbers > 0) & ~differ]) - 1] = True
        if differ.any():
            self.contradicted += int(differ.sum())
            self.example = self.example or (int(high[differ][0]) - 1, int(low[differ][0]) - 1)
        return np.where(differ, 0, codes[high]).astype(self.dtype)

    def close(self) -> dict:
        """What was drawn, as JSON values; ``pixels_by_code`` counts the label raster's pixels.

        Raises:
            CatalogueError: Nothing was drawn, or fields of different codes lie on too many pixels.
        """
        fields, lost = self.fields, Counter(self.fields.lost)
        for i in np.flatnonzero(~self.drawn):
            covered = self.covers[i] or self._holds_a_centre(fields.shapes[i])
            thin = f"too thin or small to hold the centre of a pixel of {self.side:g} m"
            lost["under other fields" if covered else thin] += 1
        labelled = int(self.pixels[1:].sum())
        share = self.contradicted / max(labelled + self.contradicted, 1)
        if share > CONTRADICTED:
            a, b = self.example
            raise CatalogueError(
                f"Fields of different codes lie on {self.contradicted:,} of {labelled + self.contradicted:,} labelled "
                f"pixels ({share:.0%}; up to {CONTRADICTED:.0%} are left without a label): in {fields}, for example "
                f"row {fields.rows[a]} (code {fields.codes[a]}) and row {fields.rows[b]} (code {fields.codes[b]}). "
                "Cut the fields so that they do not overlap, or take one layer or one year of them."
            )
        if not labelled:
            raise CatalogueError(
                f"No field of {fields} could be drawn: {_told(lost)}. "
                "Set a smaller [labels] resolution, or check the file and the areas."
            )
        return {
            "file": fields.name,
            "layer": fields.layer,
            "file_crs": fields.crs,
            "fields_read": fields.read,
            "fields_drawn": int(self.drawn.sum()),
            "fields_lost": dict(lost),
            "fields_repaired": fields.repaired,
            "pixels_without_label_since_codes_differ": self.contradicted,
            "pixels_by_code": {str(c): int(self.pixels[c]) for c in np.flatnonzero(self.pixels) if c},
        }

    def _holds_a_centre(self, shape) -> bool:
        """Whether a shape covers the centre of any pixel of the grid."""
        west, south, east, north = shape.bounds
        side = self.side
        left, top = np.floor(west / side) * side, np.ceil(north / side) * side
        cols, rows = (max(1, int(np.ceil(d / side))) for d in (east - left, top - south))
        grid = from_origin(left, top, side, side)
        return bool(rasterize([(shape, 1)], (rows, cols), fill=0, transform=grid, dtype="uint8").any())


def told(about: dict) -> str:
    """What ``Drawing.close`` counted, in words."""
    lines = [
        f"{about['fields_read']:,} fields read from layer {about['layer']!r} of {about['file']} "
        f"({about['file_crs']}), {about['fields_drawn']:,} drawn"
    ]
    if about["fields_lost"]:
        lines.append(f"not drawn: {_told(Counter(about['fields_lost']))}")
    if about["fields_repaired"]:
        lines.append(f"{about['fields_repaired']:,} outlines cross themselves and were repaired")
    if n := about["pixels_without_label_since_codes_differ"]:
        lines.append(f"{n:,} pixels lie in fields of different codes and have no label")
    pixels = ", ".join(f"{code}: {n:,}" for code, n in about["pixels_by_code"].items())
    lines.append(f"pixels by code: {pixels}")
    return "; ".join(lines)
