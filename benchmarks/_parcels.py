"""A map, composites and true outlines of one simulated delta: what several benchmarks by parcel start from.

The model is trained on the western half in 2021, with labels that have errors, and maps the eastern half in 2020: other
fields in another year.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import rasterio
from rasterio.features import rasterize

from arsetlib import catalogue, maps, parcels, samples, simulate, training
from arsetlib.ingest import ingest
from arsetlib.labels import find_labels
from arsetlib.maps import Prediction
from arsetlib.simulate import landscape as land
from arsetlib.study import Area, LabelSource, Study

PLACE = Path("data/bench/parcels")
SCALE = 0.5  # of each delta: 3.7 km × 3 km
START = 120  # first day of the window: 30 April to 27 August
BANDS = ("red", "nir", "swir16")  # of the composites


@dataclass(frozen=True)
class Delta:
    """One seed."""

    seed: int
    folder: Path
    study: Study
    prediction: Prediction
    composite: Path
    outlines: parcels.Parcels

    @property
    def truth(self) -> Path:
        return self.folder / "delta" / "truth_2020.tif"

    def numbers(self) -> np.ndarray:
        """(H, W) number of the true field on the composite's pixels, from 1; 0 where there is none."""
        with rasterio.open(self.composite) as src:
            shapes = self.outlines.to(src.crs.to_wkt()).shapes
            pairs = ((shape, i + 1) for i, shape in enumerate(shapes))
            return rasterize(pairs, (src.height, src.width), transform=src.transform, dtype="int32")


def delta(seed: int, scale: float = SCALE) -> Delta:
    """Simulate, train and map, once; later calls find it."""
    folder = PLACE / f"{seed}-{scale:g}"
    made = simulate.delta(folder / "delta", seed=seed, scale=scale, years=(2020, 2021), progress=False)
    west, south, east, north = land.Region.of(scale).inner_box()
    middle = west + 30 * round((east - west) / 60)
    study = Study.load(made / "study.toml")
    halves = {"west": (west, middle, 2), "east": (middle, east, 1)}
    areas = tuple(
        Area(key, {"en": key}, (left, south, right, north), land.ALBERS, every)
        for key, (left, right, every) in halves.items()
    )
    study = study.replace(areas=areas)
    scenes = catalogue.find_scenes(study, progress=False)
    try:
        prediction = maps.open_prediction(folder / f"maps/east_2020_{START}.json")
    except maps.MapError:
        trained_on = study.replace(areas=areas[:1])
        labels = {year: find_labels(trained_on, year, folder, progress=False) for year in study.years}
        ingest(trained_on, scenes, labels, folder / "pixels", progress=False)
        sides = samples.split(folder / "pixels", trained_on)
        model = training.fit("random_forest", sides, trained_on, epochs=8, seed=seed, progress=False)
        prediction = maps.predict(
            model, scenes, START, folder / "maps", area="east", year=2020, study=study, progress=False
        )
    composite = folder / "composite.tif"
    if not composite.exists():
        fine = LabelSource("vector", path="none.gpkg", code_column="none", crs=land.UTM, resolution=10.0)
        parcels.composite(
            scenes, composite, study=replace(study.replace(bands=BANDS), labels=fine), start=START, area="east",
            year=2020, progress=False,
        )  # fmt: skip
    return Delta(seed, folder, study, prediction, composite, simulate.outlines(made))
