"""The real services still answer as the library expects. Run by ``make live`` and once a week, not by ``make test``."""

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from arsetlib import ingest, pixels, sentinel2
from arsetlib.catalogue import find_scenes
from arsetlib.labels import find_labels
from arsetlib.study import Area, LabelSource, SceneSource, Study

pytestmark = pytest.mark.live

WEST, SOUTH, SIDE = 486_015, 1_403_025, 10  # a corner of the original's dense test box, on the CDL's lattice
YEAR = 2021


@pytest.fixture
def corner(tmp_path) -> Study:
    """Ten by ten label pixels of the Mississippi delta, its clear scenes of one year, three bands."""
    delta = Study.load("mississippi_delta")
    bounds = (WEST, SOUTH, WEST + SIDE * 30, SOUTH + SIDE * 30)
    return delta.replace(
        key="corner",
        areas=(Area("corner", {"en": "Corner"}, bounds, "EPSG:5070", every=3),),
        years=(YEAR,),
        bands=("blue", "red", "nir"),
        scenes=SceneSource(delta.scenes.url, delta.scenes.collection, max_cloud=5.0),
        root=tmp_path,
    )


def corn_everywhere(path):
    profile = {"driver": "GTiff", "width": SIDE, "height": SIDE, "count": 1, "dtype": "uint8", "crs": "EPSG:5070"}
    with rasterio.open(path, "w", transform=from_origin(WEST, SOUTH + SIDE * 30, 30, 30), **profile) as raster:
        raster.write(np.ones((1, SIDE, SIDE), np.uint8))


def test_earth_search_gives_scenes_and_their_pixels_become_a_table(corner, tmp_path):
    corn_everywhere(tmp_path / "corn.tif")
    study = corner.replace(labels=LabelSource("raster", path="corn.tif"))
    scenes = find_scenes(study, cache=tmp_path / "cache", progress=False)
    assert 10 <= len(scenes) <= 150
    assert {scene.offset for scene in scenes} <= {0, -1000}
    labels = {YEAR: find_labels(study, YEAR, tmp_path / "labels")}
    ingest.ingest(study, scenes, labels, tmp_path / "table", progress=False)
    assert pixels.check(tmp_path / "table").ok
    ragged = pixels.ragged(pixels.read(tmp_path / "table"))
    assert len(ragged.offsets) - 1 >= 9
    red, nir = ragged.bands[:, 1].astype(float), ragged.bands[:, 2].astype(float)
    green = ragged.scl == sentinel2.VEGETATION
    assert green.any()
    assert np.median(((nir - red) / (nir + red))[green]) > 0.3  # vegetation looks like vegetation, offsets removed


def test_planetary_computer_gives_labels(corner, tmp_path):
    study = corner.replace(labels=LabelSource("planetary-computer"))
    labels = find_labels(study, YEAR, tmp_path, progress=False)
    with rasterio.open(labels.path) as raster:
        window = raster.window(*study.areas[0].bounds)
        codes = raster.read(1, window=window)
    assert codes.shape == (SIDE, SIDE)
    assert (study.legend.classes_of(codes) >= 0).any()
