"""Outlines of parcels: read from a vector file, checked, and written with what is known of each.

What cannot be an outline is left out, counted and named by its row. Outlines that cross themselves are repaired and
named. A parcel counts all of its own ground, so ground in two parcels counts in both; where that is more than
``SHARED`` of all ground, the file is refused.

Lab: part4_defend_the_map.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import shapely
from pyproj import CRS
from pyproj.exceptions import CRSError

from arsetlib import folders, ground
from arsetlib.errors import ArsetError
from arsetlib.labels import fields as vectors
from arsetlib.translation import N_, _
from arsetlib.web import CatalogueError, public

SHARED = 0.05  # largest share of the parcels' ground that may lie in two of them
SLIVER = 1e-3  # of the smaller parcel: less in common is no overlap, but the accuracy of coordinates
EQUAL_AREA = "EPSG:6933"  # of the whole Earth
EXACT = 2**53  # up to here a float holds every whole number
NAMED = 5  # rows or ids that a message shows
ASKED = vectors.Asked(path="the path", layer="layer", column="id_column=…")


class ParcelError(ArsetError, ValueError):
    """Outlines, or what is asked of them, are not as expected; the message says what to do."""


@dataclass(frozen=True, eq=False, repr=False)
class Parcels:
    """Outlines on the ground.

    >>> from shapely import box
    >>> Parcels(np.array([box(0, 0, 90, 60), box(90, 0, 150, 60)]), np.array([1, 2]), "EPSG:32615", "two.gpkg")
    2 parcels of two.gpkg, 0.9 ha

    Attributes:
        shapes: (N,) polygons or multipolygons, valid, with an area.
        ids: (N,) what each is called: values of a column, or rows of the file from 0.
        crs: Of the shapes.
        name: Where they are from, for messages.
        lost: Reason → rows of the file that are not here.
        repaired: Rows whose outline crossed itself and was repaired.
        simulated: True where they were not measured.
    """

    shapes: np.ndarray
    ids: np.ndarray
    crs: str
    name: str
    lost: dict[str, list[int]] = field(default_factory=dict)
    repaired: list[int] = field(default_factory=list)
    simulated: bool = False

    def __len__(self) -> int:
        return len(self.shapes)

    def __repr__(self) -> str:
        words = _("{n} parcels of {name}, {area} ha")
        return words.format(n=f"{len(self):,}", name=self.name, area=f"{self.hectares.sum():,.1f}")

    @cached_property
    def hectares(self) -> np.ndarray:
        """(N,) area on the ground, in any CRS; NaN outside its range."""
        with np.errstate(invalid="ignore"):
            area = shapely.area(vectors.moved(self.shapes, CRS(self.crs), CRS(EQUAL_AREA)))
        return np.where(np.isfinite(area), area, np.nan) / 10_000

    @cached_property
    def overlaps(self) -> tuple[np.ndarray, np.ndarray]:
        """(P, 2) pairs of parcels with ground in common, and (P,) how much, in square units of the CRS."""
        tree = shapely.STRtree(self.shapes)
        pairs, shared = [np.empty((0, 2), np.int64)], [np.empty(0)]
        for at in range(0, len(self), 10_000):  # so that memory does not grow with the pairs that only touch
            found = tree.query(self.shapes[at : at + 10_000], predicate="intersects").T + np.array([at, 0])
            found = found[found[:, 0] < found[:, 1]]
            common = shapely.area(shapely.intersection(self.shapes[found[:, 0]], self.shapes[found[:, 1]]))
            smaller = shapely.area(self.shapes[found]).min(axis=1) if len(found) else common
            pairs.append(found[common > SLIVER * smaller])
            shared.append(common[common > SLIVER * smaller])
        return np.concatenate(pairs), np.concatenate(shared)

    def to(self, crs: str | CRS) -> Parcels:
        """The same in another CRS.

        Raises:
            ParcelError: Some coordinates do not exist there, or it is no CRS.
        """
        try:
            shapes = vectors.moved(self.shapes, CRS(self.crs), CRS(crs))
        except CatalogueError as error:
            raise ParcelError(str(error)) from None
        except CRSError:
            raise ParcelError(f"{str(crs)!r} is no CRS that pyproj knows. Write one such as 'EPSG:32636'.") from None
        off = ~np.isfinite(shapely.bounds(shapes)).all(axis=1)
        if off.any():
            raise ParcelError(
                f"{int(off.sum())} of {len(self)} parcels of {self.name} lie outside the range of {CRS(crs).name}: "
                f"{some(self.ids[off])}. Correct the file's CRS, or leave them out."
            )
        return replace(self, shapes=shapes, crs=CRS(crs).to_wkt())

    def pick(self, which: np.ndarray) -> Parcels:
        """Some of them: a bool mask (N,) or positions."""
        return replace(self, shapes=self.shapes[which], ids=self.ids[which])

    def save(self, path: str | Path) -> Path:
        """Write them with their ids, as GeoParquet (``.parquet``) or GeoPackage (``.gpkg``).

        Raises:
            ParcelError: Another ending.
        """
        return write(path, self, {"parcel": self.ids}, {"simulated": self.simulated, "from": self.name})


def read(path: str | Path, *, layer: str | None = None, id_column: str | None = None) -> Parcels:
    """Outlines of a vector file: GeoParquet, GeoPackage, GeoJSON, a shapefile (also zipped), FlatGeobuf, ….

    Args:
        path: On disk, a URL, or in an object store (``s3://…``).
        layer: Which of its layers; not needed where only one has geometry.
        id_column: What each parcel is called; by default its row in the file, from 0.

    Raises:
        ParcelError: Not a vector file; no CRS, or one with which the coordinates do not agree; no polygon; two parcels
            of one id, or one without an id; more than 5 % of the ground in two parcels.

    Lab: part4_defend_the_map.
    """
    columns = [] if id_column is None else [id_column]
    where = str(folders.place(path)) if "://" not in str(path) or folders.in_store(path) else str(path)
    name = public(where) if "://" in where else Path(where).name
    try:
        layer, geometry, values, stated = vectors.read_layer(_local(where), layer, columns, ASKED)
        found = vectors.Fields(
            vectors.shapes_of(geometry), np.zeros(len(geometry), np.int64), np.arange(len(geometry)), name, layer, "",
            len(geometry),
        )  # fmt: skip
        vectors.keep_drawable(found, geometry)
        vectors.keep_parts(found.shapes, vectors.POLYGONS)  # points beside them have no area
        points = ~np.isin(shapely.get_type_id(found.shapes), vectors.POLYGONS)
        vectors.drop(found, points, N_("points, which have no area"))
        crs = vectors.crs_of(stated, where)
        found.crs = ground.crs_name(crs)
        if len(found.shapes):
            vectors.check_degrees(found, crs, where)
    except CatalogueError as error:
        raise ParcelError(str(error)) from None
    if not len(found.shapes):
        raise ParcelError(
            f"Layer {layer!r} of {name} has no outline of a parcel among {found.read} rows: "
            f"{vectors.lost_text(found.lost) or 'it is empty'}. Export it again as polygons."
        )
    ids = found.rows if id_column is None else _ids(np.asarray(values[0])[found.rows], found.rows, id_column, name)
    made = Parcels(found.shapes, ids, crs.to_wkt(), name, found.dropped, found.mended)
    _check_ids(made, id_column)
    _check_overlaps(made)
    return made


def _local(where: str) -> str:
    """A file that GDAL can open: a copy of one in an object store."""
    if folders.in_store(where):
        from arsetlib import copies

        return str(copies.fetched(where))
    return where


def _ids(values: np.ndarray, rows: np.ndarray, column: str, name: str) -> np.ndarray:
    """(N,) whole numbers or texts: what parcels are called. Whole numbers come as floats where one is missing."""
    if values.dtype.kind == "f":
        missing, number = ~np.isfinite(values), np.nan_to_num(values, posinf=0, neginf=0)
        if (np.abs(number) >= EXACT).any():
            raise ParcelError(
                f"Column {column!r} of {name} has numbers of more digits than its type holds exactly, such as "
                f"{number[np.abs(number).argmax()]:.0f}, so parcels may be mixed up. Export the column as text."
            )
        made = number.astype(np.int64) if (number == np.rint(number)).all() else values
    elif values.dtype.kind in "iu":
        return values
    else:
        missing = np.array([v is None or v != v or not str(v).strip() for v in values], bool)
        made = np.array([v if isinstance(v, str) else str(v) for v in values], object)
    if missing.any():
        raise ParcelError(
            f"Column {column!r} of {name} is empty in {int(missing.sum())} rows: {some(rows[missing])}. "
            "Fill it, or take another column (id_column=…)."
        )
    return made


def _check_ids(made: Parcels, column: str | None) -> None:
    values, counts = np.unique(made.ids.astype(str), return_counts=True)
    if (counts > 1).any():
        raise ParcelError(
            f"{int((counts > 1).sum())} values of column {column!r} of {made.name} name more than one parcel: "
            f"{some(values[counts > 1])}. Take a column of different values (id_column=…), or merge these parcels."
        )


def _check_overlaps(made: Parcels) -> None:
    pairs, shared = made.overlaps
    share = shared.sum() / shapely.area(made.shapes).sum()
    if share > SHARED:
        a, b = made.ids[pairs[shared.argmax()]]
        raise ParcelError(
            f"{share:.0%} of the ground of the {len(made):,} parcels of {made.name} lies in two of them "
            f"({len(pairs):,} pairs, for example {a} and {b}); up to {SHARED:.0%} is accepted, and counts in both. "
            "Take the parcels of one year or one layer, or cut them so that they do not overlap."
        )


def some(values: np.ndarray | list) -> str:
    """The first of some rows or ids, for a message."""
    shown = ", ".join(map(str, list(values)[:NAMED]))
    return shown if len(values) <= NAMED else f"{shown}, …"


# -- files ----------------------------------------------------------------------------------------------------------


def write(path: str | Path, parcels: Parcels, columns: dict[str, np.ndarray], about: dict) -> Path:
    """Write shapes with columns, as GeoParquet 1.1 (``.parquet``) or GeoPackage (``.gpkg``), whole or not at all.

    Heights are left out, as in reading.

    Args:
        path: Also in an object store.
        parcels: The shapes.
        columns: Name → (N,) values; masked values are null.
        about: What else the file says of itself, JSON values.

    Raises:
        ParcelError: Another ending.
    """
    path = folders.place(path)
    if path.suffix not in (".parquet", ".gpkg"):
        raise ParcelError(f"Expected a file ending in .parquet or .gpkg, received {path.name!r}.")
    parcels = replace(parcels, shapes=shapely.force_2d(parcels.shapes))
    made = _geoparquet if path.suffix == ".parquet" else _geopackage
    folders.put(path, lambda file: made(file, parcels, columns, about))
    return path


def _geoparquet(file: Path, parcels: Parcels, columns: dict, about: dict) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {3: "Polygon", 6: "MultiPolygon"}
    types = sorted({kinds[k] for k in np.unique(shapely.get_type_id(parcels.shapes)).tolist()})
    geometry = {"encoding": "WKB", "geometry_types": types, "crs": CRS(parcels.crs).to_json_dict(), "edges": "planar"}
    geometry |= {"bbox": shapely.total_bounds(parcels.shapes).tolist()} if len(parcels) else {}
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": geometry}}
    arrays = {name: _arrow(values) for name, values in columns.items()}
    table = pa.table(arrays | {"geometry": pa.array(shapely.to_wkb(parcels.shapes), pa.binary())})
    kept = {b"geo": json.dumps(geo).encode(), b"arset.parcels": json.dumps(about).encode()}
    pq.write_table(table.replace_schema_metadata(kept), file, compression="zstd")


def _arrow(values: np.ndarray):
    import pyarrow as pa

    if isinstance(values, np.ma.MaskedArray):
        return pa.array(np.asarray(values.data), mask=np.ma.getmaskarray(values))
    return pa.array(values if values.dtype != object else values.tolist())


def _geopackage(file: Path, parcels: Parcels, columns: dict, about: dict) -> None:
    from pyogrio.raw import write as write_layer

    made = file if file.suffix == ".gpkg" else file.with_name(f"{file.name}.gpkg")
    data, masks = [], []
    for values in columns.values():
        masks.append(np.ma.getmaskarray(values) if isinstance(values, np.ma.MaskedArray) else None)
        values = np.asarray(values)
        data.append(values.astype(object) if values.dtype.kind == "U" else values)
    shapes = shapely.multipolygons(parcels.shapes) if not len(parcels) else _as_multi(parcels.shapes)
    write_layer(
        str(made), shapely.to_wkb(shapes), data, list(columns), field_mask=masks, driver="GPKG", layer="parcels",
        crs=parcels.crs, geometry_type="MultiPolygon", layer_metadata={k: json.dumps(v) for k, v in about.items()},
    )  # fmt: skip
    if made != file:
        made.replace(file)


def _as_multi(shapes: np.ndarray) -> np.ndarray:
    """(N,) multipolygons: a GeoPackage layer has one type."""
    parts, owner = shapely.get_parts(shapes, return_index=True)
    return shapely.multipolygons(parts, indices=owner)
