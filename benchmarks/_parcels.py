"""One simulated delta by parcel: a map, composites, true outlines, and samples with their truth.

The simulator's images are used as they come, without files of scenes between: what reads those is measured elsewhere.
A forest is trained on the southern half in 2021, with labels that have errors, and maps the northern half in 2020:
other fields in another year. All at 10 m.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import rasterio
from pyproj import Transformer
from rasterio.features import rasterize
from rasterio.transform import from_origin
from sklearn.ensemble import RandomForestClassifier

from arsetlib import active, parcels, pixels, samples, seeds
from arsetlib.maps import Prediction
from arsetlib.maps.pieces import encoded
from arsetlib.maps.products import NODATA, legend_as_json
from arsetlib.sentinel2 import BANDS
from arsetlib.simulate import landscape as land
from arsetlib.simulate import sky
from arsetlib.simulate.delta import observe
from arsetlib.simulate.labels import year_labels
from arsetlib.simulate.outlines import of_landscape
from arsetlib.study import Season, Study

PLACE = Path("data/bench/parcels")
SCALE = 0.8  # of each delta: 4.7 km × 3.8 km
START = 120  # first day of the window: 30 April to 27 August
SEASON = Season(window_days=120, step_days=30)
USED = ("red", "rededge2", "nir", "swir16", "swir22")
CLEAR = (4, 5, 6)  # scene classes: vegetation, bare soil, water
TRAINED_ON = 2000  # pixels


@dataclass(frozen=True)
class Delta:
    """One seed: the map, the composite and the truth of its northern half; samples of its southern half."""

    prediction: Prediction
    composite: Path
    truth: Path
    outlines: parcels.Parcels
    pool: active.KnownSamples
    test: active.KnownSamples
    places: tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]

    def numbers(self) -> np.ndarray:
        """(H, W) number of the true field on the composite's pixels, from 1; 0 where there is none."""
        with rasterio.open(self.composite) as src:
            pairs = ((shape, i + 1) for i, shape in enumerate(self.outlines.shapes))
            return rasterize(pairs, (src.height, src.width), transform=src.transform, dtype="int32")


def series(seed: int, year: int, scale: float, chosen: slice | np.ndarray = slice(None)) -> pixels.Ragged:
    """The clear images of all pixels row by row, or of some of them."""
    days, scenes, bands = [], [], []
    at = [list(BANDS).index(name) for name in USED]
    for overpass in sky.overpasses(seed, (year,)):
        if START <= overpass.day < START + SEASON.window_days:
            images, scl = observe(seed, scale, overpass)
            wide = scl.repeat(2, axis=0).repeat(2, axis=1)
            fine = [images[i].repeat(wide.shape[0] // images[i].shape[0], 0) for i in at]
            fine = [image.repeat(wide.shape[1] // image.shape[1], 1) for image in fine]
            days.append(int(samples.start_days(year, overpass.day)[0]))
            scenes.append(wide.ravel()[chosen])
            bands.append(np.stack([image.ravel()[chosen] for image in fine], 1))
    good = np.isin(np.stack(scenes, 1), CLEAR)  # (pixels, images)
    offsets = np.concatenate([[0], np.cumsum(good.sum(1))])
    day = np.broadcast_to(np.array(days, "<u2"), good.shape)[good]
    return pixels.Ragged(offsets, day, np.stack(scenes, 1)[good], np.stack(bands, 1)[good])


def windows(seed: int, year: int, scale: float) -> samples.Windows:
    """Gap-filled medians of every pixel, row by row."""
    first = int(samples.start_days(year, START)[0])
    return samples.window(series(seed, year, scale), SEASON, first, choose="median", fill="linear")


def delta(seed: int, scale: float = SCALE) -> Delta:
    """Simulate, train and map."""
    folder = PLACE / f"{seed}-{scale:g}"
    folder.mkdir(parents=True, exist_ok=True)
    legend, ground, region = Study.load("sample").legend, land.build(seed, scale), land.Region.of(scale)
    height, width = region.shape
    half = height // 2
    row, col = np.indices(region.shape).reshape(2, -1)
    x, y = region.west + 10 * col + 5, region.north - 10 * row - 5
    seen = {year: windows(seed, year, scale) for year in (2020, 2021)}
    features = {year: found.x.reshape(len(row), -1) for year, found in seen.items()}
    mean, std = features[2021].mean(0), np.maximum(features[2021].std(0), 1e-6)
    features = {year: ((values - mean) / std).astype(np.float32) for year, values in features.items()}
    codes = {year: np.abs(ground.codes(seed, year)).astype(np.int64)[ground.unit].ravel() for year in seen}
    truth = {
        year: samples.apply_vegetation_rule(legend.classes_of(codes[year]), seen[year].vegetation, legend)
        for year in seen
    }
    # Labels with errors, of the label grid's pixel in which each pixel lies.
    west, north, _, _ = region.label_grid()
    lx, ly = Transformer.from_crs(land.UTM, land.ALBERS, always_xy=True).transform(x, y)
    labels = year_labels(seed, scale, 2021).label.astype(np.int64)
    label = labels[((north - ly) // 30).astype(int), ((lx - west) // 30).astype(int)]
    label = np.where(label == 0, codes[2021], label)
    label = samples.apply_vegetation_rule(legend.classes_of(label), seen[2021].vegetation, legend)
    rng = seeds.generator(seed, "bench", "parcels")
    south = np.flatnonzero((row >= half) & (label >= 0) & (seen[2021].images > 0))
    mine = rng.permutation(south)[:TRAINED_ON]
    model = RandomForestClassifier(100, min_samples_leaf=2, random_state=seed).fit(features[2021][mine], label[mine])
    chance = np.zeros((half * width, len(legend.classes)), np.float32)
    chance[:, model.classes_] = model.predict_proba(features[2020][: half * width])
    shape, grid = (half, width), from_origin(region.west, region.north, 10, 10)
    there = seen[2020].images[: half * width] > 0
    files = {}

    def put(name: str, values: np.ndarray, nodata: int) -> Path:
        files[name] = f"map_{name}.tif"
        image = np.where(there.reshape(shape), np.moveaxis(values.reshape(*shape, -1), -1, 0), nodata)
        with rasterio.open(
            folder / files[name], "w", driver="GTiff", width=width, height=half, count=len(image), crs=land.UTM,
            dtype=values.dtype, transform=grid, nodata=nodata,
        ) as out:  # fmt: skip
            out.write(image.astype(values.dtype))
        return folder / files[name]

    for name, values in encoded(chance).items():
        put(name, values, NODATA[name])
    put("vegetation", seen[2020].vegetation[: half * width].astype(np.uint8), 255)
    composite = put("composite", np.rint(seen[2020].x.reshape(len(row), -1)[: half * width]).astype(np.uint16), 0)
    true = put("truth", codes[2020][: half * width].astype(np.uint8), 0)
    info = {"legend": legend_as_json(legend), "files": files, "simulated": True, "area": "north"}
    # Blocks of 600 m: half of them may be asked for, the others test; one pixel in nine.
    some = np.flatnonzero((row >= half) & (truth[2021] >= 0) & (row % 3 == 0) & (col % 3 == 0))
    block = (row[some] // 60 + col[some] // 60) % 2 == 0
    sides = [
        active.KnownSamples(features[2021][s], truth[2021][s].astype(np.int64)) for s in (some[block], some[~block])
    ]
    places = tuple((x[s], y[s]) for s in (some[block], some[~block]))
    field = of_landscape(ground)
    inside = np.array([shape.bounds[1] > region.north - 10 * half for shape in field.shapes])
    return Delta(Prediction(folder, "map", info), composite, true, replace(field.pick(inside)), *sides, places)
