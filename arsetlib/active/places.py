"""Where to go next: pixels of a map, chosen in one pass over its rasters.

Lab: part4_defend_the_map.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import rasterio
from pyproj import CRS, Transformer
from scipy.spatial import KDTree
from tqdm.auto import tqdm

from arsetlib import copies, folders, seeds, web
from arsetlib.active.choice import METHODS, POOL, ActiveError, choose, uncertainty
from arsetlib.maps import MapSample, Prediction, cogs
from arsetlib.maps.products import NODATA, SCALE, MapError, legend_as_json
from arsetlib.maps.sampling import PROPOSED, check_degrees, parsed, read_csv

if TYPE_CHECKING:
    import pandas as pd

TILE = 1024  # pixels a side, read at once
KEPT = 50  # times as many candidates as are wanted: neighbours of chosen places drop out


@dataclass(frozen=True, eq=False)
class Places:
    """Pixels of a map to label, the most wanted first.

    Attributes:
        x, y: (N,) centres, in the map's CRS.
        probability: (N, K) of the map.
        prediction: The map.
        method: How they were chosen.
    """

    x: np.ndarray
    y: np.ndarray
    probability: np.ndarray
    prediction: Prediction
    method: str

    def __len__(self) -> int:
        return len(self.x)

    @cached_property
    def crs(self) -> str:
        """Of the map, as WKT."""
        with rasterio.open(copies.fetched(self.prediction.path())) as source:
            return source.crs.to_wkt()

    @cached_property
    def table(self) -> pd.DataFrame:
        """A row a place: ``place`` (from 1), ``x``, ``y``, ``lon``, ``lat``, ``predicted`` (the class's key), its
        ``probability``, the ``margin`` to the second class; ``label_code`` and ``note`` are empty, to be filled in."""
        import pandas as pd

        lon, lat = Transformer.from_crs(self.crs, "EPSG:4326", always_xy=True).transform(self.x, self.y)
        keys = np.array(self.prediction.legend.keys, object)
        columns = {"place": np.arange(1, len(self) + 1), "x": self.x, "y": self.y, "lon": lon, "lat": lat}
        columns |= {"predicted": keys[self.probability.argmax(1)], "probability": self.probability.max(1)}
        columns |= {"margin": 1 - uncertainty(self.probability)}
        columns |= {"label_code": np.full(len(self), "", object), "note": np.full(len(self), "", object)}
        return pd.DataFrame(columns)

    def sample(self) -> MapSample:
        """The places as points for the labelling page, without inclusion probabilities.

        `MapSample.save` writes the folder that `arset label` reads. Areas and accuracies refuse these points.

        Lab: part4_defend_the_map.
        """
        import pandas as pd

        made, table = self.prediction, self.table.rename(columns={"place": "id"})
        columns = {"id": table["id"], "stratum": PROPOSED, **{n: table[n] for n in ("x", "y", "lon", "lat")}}
        columns |= {"inclusion_probability": np.nan, "label": "", "confidence": "", "remarks": ""}
        with rasterio.open(copies.fetched(made.path())) as source:
            hectares = abs(source.transform.a * source.transform.e) / 10_000
        design = {"map": made.path().name, "method": self.method, "crs": CRS(self.crs).to_string()}
        design |= {"pixel_hectares": hectares, "simulated": made.simulated, "legend": legend_as_json(made.legend)}
        return MapSample(pd.DataFrame(columns), design)

    def save(self, path: str | Path) -> Path:
        """Write the table as ``.csv``, or as points in a ``.gpkg`` or ``.geojson``.

        Raises:
            ActiveError: Another ending.
        """
        path = folders.place(path)
        if path.suffix not in (".csv", ".gpkg", ".geojson"):
            raise ActiveError(f"Expected a file ending in .csv, .gpkg or .geojson, received {path.name!r}.")
        if path.suffix == ".csv":
            folders.put(path, self.table.to_csv(index=False))
        else:
            folders.put(path, lambda file: self._points(file, path.suffix))
        return path

    def _points(self, file: Path, ending: str) -> None:
        import shapely
        from pyogrio.raw import write

        made = file if file.suffix == ending else file.with_name(file.name + ending)
        table = self.table
        points = shapely.points(table["lon"], table["lat"])
        driver = "GPKG" if ending == ".gpkg" else "GeoJSON"
        write(
            str(made), shapely.to_wkb(points), [table[c].to_numpy() for c in table], list(table), crs="EPSG:4326",
            geometry_type="Point", layer="places", driver=driver,
        )  # fmt: skip
        if made != file:
            made.replace(file)


def next_places(
    prediction: Prediction,
    count: int,
    *,
    method: str = "margin",
    apart: float = 0.0,
    known: pd.DataFrame | None = None,
    seed: int = 0,
    progress: bool = True,
) -> Places:
    """Choose pixels of a map to label next.

    Memory does not grow with the map: of each tile only the best candidates are kept.

    Args:
        prediction: Of `maps.predict`.
        count: So many places.
        method: As in `choose`; ``"cluster"`` compares the pixels' probabilities. ``"k_centre"`` needs features, which a
            map does not hold.
        apart: Smallest distance between two places, m: about a field, so that no field is asked for twice. Of each
            square of this side only the best pixel is looked at.
        known: Places of earlier rounds, with ``lon`` and ``lat``, such as the ``table`` of a `MapSample` or of
            `Places`: their pixels, and all pixels less than ``apart`` from them, are not chosen again.
        seed: Of all draws, at least 0.
        progress: Show a bar.

    Raises:
        ActiveError: An unknown method, or fewer places than asked for.
        MapError: The map's probabilities are not those of its classes, or not on a grid in metres.

    Lab: part4_defend_the_map.
    """
    if method not in METHODS or method == "k_centre":
        known = ", ".join(repr(m) for m in METHODS if m != "k_centre")
        raise ActiveError(f"Expected method = {known}, received {method!r}.")
    if count < 1 or not apart >= 0 or not 0 <= seed < 2**64:
        raise ActiveError(
            f"Expected count of at least 1, and apart and seed of at least 0, received {count}, {apart} and {seed}."
        )
    before = np.empty((0, 2)) if known is None else _known(prediction, known)
    x, y, probability = _candidates(prediction, count * KEPT, method, apart, seed, progress, before)
    wanted = count * POOL if method == "cluster" else count
    taken = _apart(x, y, apart, wanted)
    if len(taken) < count:
        raise ActiveError(
            f"The map {prediction.stem} gives {len(taken)} places that are {apart:g} m apart"
            f"{'' if known is None else f' and not among the {len(known):,} known ones'}, {count} were asked for. "
            "Ask for fewer, or let them be closer (apart=…)."
        )
    x, y, probability = x[taken], y[taken], probability[taken]
    if method == "cluster":
        mine = choose(probability, count, method=method, features=probability, seed=seed)
        x, y, probability = x[mine], y[mine], probability[mine]
    return Places(x, y, probability, prediction, method)


def _known(prediction: Prediction, known: pd.DataFrame) -> np.ndarray:
    """(N, 2) known places in the map's CRS."""
    if missing := [name for name in ("lon", "lat") if name not in known]:
        raise ActiveError(f"Expected known places with lon and lat, received none of {', '.join(missing)}.")
    with rasterio.open(copies.fetched(prediction.path())) as source:
        crs = source.crs.to_wkt()
    change = Transformer.from_crs("EPSG:4326", crs, always_xy=True)
    return np.column_stack(change.transform(known["lon"].to_numpy(float), known["lat"].to_numpy(float)))


def _candidates(
    prediction: Prediction, most: int, method: str, apart: float, seed: int, progress: bool, taken: np.ndarray
):  # fmt: skip
    """The pixels of the highest score, the highest first, one of each square of the side ``apart``: x, y, chances."""
    measure = "margin" if method == "cluster" else method
    best: list[np.ndarray] = []
    tree = KDTree(taken) if len(taken) else None
    with web.gdal(**cogs.GDAL), ExitStack() as stack:
        source, classes = (
            stack.enter_context(rasterio.open(copies.fetched(prediction.path(n)))) for n in ("probability", "class")
        )
        cogs.refuse_unlike(source, classes, len(prediction.legend.classes))
        turn = np.array([seed], np.uint64) * seeds.GOLDEN
        windows = list(cogs.blocks(source, TILE))
        for window in tqdm(windows, desc="next", unit="tile", disable=not progress):
            raw = source.read(window=window)
            free = (raw != NODATA["probability"]).all(axis=0)
            if tree is not None:
                row, col = np.nonzero(free)
                x, y = source.transform @ (col + window.col_off + 0.5, row + window.row_off + 0.5)
                reach = max(apart, source.transform.a / 2)  # at least the pixel itself
                near = np.isfinite(tree.query(np.column_stack([x, y]), distance_upper_bound=reach)[0])
                free[row[near], col[near]] = False
            row, col = np.nonzero(free)
            chance = (raw[:, row, col].T / SCALE).astype(np.float32)
            place = (row + window.row_off).astype(np.int64) * source.width + col + window.col_off
            # A number that looks random, of the pixel and the seed: it draws, and it decides ties.
            lot = seeds.mix(place.astype(np.uint64) + turn).astype(np.float64) / 2.0**64
            score = np.zeros(len(place)) if method == "random" else uncertainty(chance, measure)
            found = np.column_stack([score, lot, place, chance])
            best.append(_one_a_square(found, row + window.row_off, col + window.col_off, apart / source.transform.a))
            if sum(map(len, best)) > 4 * most:
                best = [_top(np.concatenate(best), most)]
        found = _top(np.concatenate(best), most)
        row, col = np.divmod(found[:, 2].astype(np.int64), source.width)
        x, y = source.transform @ (col + 0.5, row + 0.5)
    return x, y, found[:, 3:]


def _one_a_square(found: np.ndarray, row: np.ndarray, col: np.ndarray, side: float) -> np.ndarray:
    """The best pixel of each square; all of them where a square is a pixel."""
    if side <= 1 or not len(found):
        return found
    square = (row // side) * 1e9 + col // side
    order = np.lexsort((-found[:, 1], -found[:, 0], square))
    return found[order[np.unique(square[order], return_index=True)[1]]]


def _top(rows: np.ndarray, most: int) -> np.ndarray:
    return rows[np.lexsort((-rows[:, 1], -rows[:, 0]))[:most]]


def _apart(x: np.ndarray, y: np.ndarray, apart: float, count: int) -> np.ndarray:
    """Positions of places, in their order, each at least ``apart`` from those before it."""
    if not apart:
        return np.arange(min(count, len(x)))
    near = np.zeros(len(x), bool)
    taken: list[int] = []
    for i in range(len(x)):
        if near[i]:
            continue
        taken.append(i)
        if len(taken) == count:
            break
        near |= (x - x[i]) ** 2 + (y - y[i]) ** 2 < apart**2
    return np.array(taken, np.int64)


def known_places(path: str | Path) -> pd.DataFrame:
    """``lon`` and ``lat`` of places in a file of an earlier round.

    Args:
        path: A ``.csv``, ``.gpkg`` or ``.geojson`` of `Places.save`, filled in or not, or a folder or file of a
            `MapSample`.

    Raises:
        ActiveError: No such file, one that cannot be read, or one without lon and lat in degrees.

    Lab: part4_defend_the_map.
    """
    import pandas as pd

    path = folders.place(path)
    path = path / "sample.csv" if path.is_dir() else path
    if not path.is_file():
        raise ActiveError(f"There are no places at {path}. Name a file that `arset next` or the labelling page wrote.")
    if path.suffix.lower() == ".csv":
        try:
            table = read_csv(path)
        except MapError as error:
            raise ActiveError(str(error)) from None
    else:
        from pyogrio.errors import DataLayerError, DataSourceError
        from pyogrio.raw import read

        try:
            meta, _, _, columns = read(str(copies.fetched(path)))
        except (DataSourceError, DataLayerError) as error:
            raise ActiveError(f"{path} cannot be read: {str(error).partition(';')[0]}. Write it again.") from None
        table = pd.DataFrame(dict(zip(meta["fields"], columns, strict=True)))
    if missing := [name for name in ("lon", "lat") if name not in table]:
        raise ActiveError(f"Expected a file with the columns lon and lat, {path} lacks {', '.join(missing)}.")
    try:
        places = pd.DataFrame({name: parsed(table[name], name, path) for name in ("lon", "lat")})
        check_degrees(places["lon"], places["lat"], path)
    except MapError as error:
        raise ActiveError(str(error)) from None
    return places
