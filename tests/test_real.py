"""Real files go through the same functions as the simulated ones: scenes of a cloudy autumn, labels of Kansas."""

import json
import warnings

import numpy as np
import pytest
import rasterio
import tiny
from pyproj import Transformer
from rasterio.transform import from_origin

from arsetlib import cdl, pixels
from arsetlib.catalogue import Scenes, find_scenes
from arsetlib.ingest import ingest
from arsetlib.labels import find_labels
from arsetlib.study import Study

BANDS = {"blue": "B02", "green": "B03", "red": "B04", "nir": "B08"}

STUDY = """
[study]
key = "real"
name = "Real files"
years = [{year}]
bands = ["blue", "green", "red", "nir"]

[split]
test = [{year}]
block_m = 1000

[scenes]
url = "items.json"
max_cloud = 100
min_valid = 0.0

[labels]
kind = "raster"
path = "{labels}"
{confidence}

[areas.field]
bounds = {bounds}
crs = "{crs}"

[legend]
name = "any"

[classes.any]
codes = "others"
"""


@pytest.fixture(scope="module")
def antwerp(real, tmp_path_factory):
    """The cube as single-band files with a STAC item each, and labels on its grid: the column's number."""
    xarray = pytest.importorskip("xarray")
    folder = tmp_path_factory.mktemp("antwerp")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # netCDF4 is compiled against another NumPy
        cube = xarray.open_dataset(real / "s2_l2a_scl_19dates_antwerp2023.nc").load()
    left, top = float(cube.x[0]) - 5, float(cube.y[0]) + 5
    transform, shape = from_origin(left, top, 10, 10), (cube.sizes["y"], cube.sizes["x"])
    right, bottom = left + 10 * shape[1], top - 10 * shape[0]
    degrees = Transformer.from_crs(32631, 4326, always_xy=True)
    ring = [degrees.transform(*c) for c in ((left, top), (right, top), (right, bottom), (left, bottom), (left, top))]
    features = []
    for i, when in enumerate(cube.t.values):
        day = str(when.astype("datetime64[D]"))
        assets = {}
        for name, code in {**BANDS, "scl": "SCL"}.items():
            path = folder / f"{day}-{name}.tif"
            tiny.write(path, cube[f"S2-L2A-{code}"].values[i].astype("u1" if name == "scl" else "u2"), transform, 32631)
            assets[name] = {"href": path.name, "proj:shape": shape, "proj:transform": list(transform)[:6]}
        features.append(
            {
                "type": "Feature",
                "stac_version": "1.0.0",
                "id": f"S2_31UES_{day}",
                "geometry": {"type": "Polygon", "coordinates": [ring]},
                "bbox": [
                    min(p[0] for p in ring),
                    min(p[1] for p in ring),
                    max(p[0] for p in ring),
                    max(p[1] for p in ring),
                ],
                "properties": {
                    "datetime": f"{day}T10:50:00Z",
                    "platform": "sentinel-2a",
                    "proj:epsg": 32631,
                    "eo:cloud_cover": 50,
                    "grid:code": "MGRS-31UES",
                    "s2:processing_baseline": "05.09",
                    "earthsearch:boa_offset_applied": True,
                },
                "links": [],
                "assets": assets,
                "collection": "sentinel-2-l2a",
            }
        )
    (folder / "items.json").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    codes = np.broadcast_to(np.arange(1, shape[1] + 1, dtype="u1"), shape)
    tiny.write(folder / "labels.tif", codes, transform, 32631)
    bounds = [left, bottom, right, top]
    text = STUDY.format(year=2023, labels="labels.tif", confidence="", bounds=bounds, crs="EPSG:32631")
    return Study.parse(text, "real", root=folder), cube, folder


def test_a_real_cube_comes_out_of_the_table_as_it_went_in(antwerp, tmp_path):
    study, cube, folder = antwerp
    scenes = find_scenes(study, progress=False)
    assert len(scenes) == cube.sizes["t"]
    ingest(study, scenes, {2023: find_labels(study, 2023, folder / "cache")}, tmp_path / "out", progress=False)
    assert pixels.check(tmp_path / "out").ok
    table = pixels.read(tmp_path / "out")
    stack = np.stack([cube[f"S2-L2A-{code}"].values for code in BANDS.values()], axis=-1)
    scl = cube["S2-L2A-SCL"].values
    days = cube.t.values.astype("datetime64[D]").astype(int)
    keep = ~np.isin(scl, study.drop_scl) & (stack > 0).all(-1)
    assert table.num_rows == keep.any(0).sum()
    for i in range(0, table.num_rows, 37):
        col = round((table["x"][i].as_py() - float(cube.x[0])) / 10)
        row = round((float(cube.y[0]) - table["y"][i].as_py()) / 10)
        day, classes, bands = pixels.series(table, i)
        seen = keep[:, row, col]
        assert table["label_code"][i].as_py() == col + 1
        assert day.tolist() == days[seen].tolist()
        assert classes.tolist() == scl[seen, row, col].tolist()
        assert bands.tolist() == stack[seen, row, col].tolist()


def test_the_real_cdl_gives_its_codes_and_confidence(real, tmp_path):
    """Labels of Kansas under made scenes: every code and confidence of the box is in the table."""
    left, top, side = -106095 + 30 * 400, 1822605 - 30 * 300, 24
    bounds = [left, top - side * 30, left + side * 30, top]
    confidence = f'confidence = "{real}/cdl_{{year}}_30m_kansas_confidence.tif"'
    text = STUDY.format(
        year=2021, labels=f"{real}/cdl_{{year}}_30m_kansas.tif", confidence=confidence, bounds=bounds, crs="EPSG:5070"
    )
    study = Study.parse(text, "real", root=tmp_path)
    x, y = Transformer.from_crs(5070, 32614, always_xy=True).transform(left, top)
    rng = np.random.default_rng(1)
    day = int(np.datetime64("2021-07-01").astype(int))
    scenes = [
        tiny.write_scene(
            tmp_path, f"made-{i}", day + 5 * i, "14SPG", x // 60 * 60 - 840, y // 60 * 60 + 600, 0, rng, epsg=32614
        )
        for i in range(4)
    ]
    labels = {2021: find_labels(study, 2021, tmp_path / "cache")}
    summary = ingest(study, Scenes(tuple(scenes)), labels, tmp_path / "out", progress=False)
    table = pixels.read(tmp_path / "out")
    assert summary.rows + summary.counts["pixels_without_images"] == side**2
    with (
        rasterio.open(real / "cdl_2021_30m_kansas.tif") as codes,
        rasterio.open(real / "cdl_2021_30m_kansas_confidence.tif") as sure,
    ):
        points = list(zip(table["x"].to_pylist(), table["y"].to_pylist(), strict=True))
        assert table["label_code"].to_pylist() == [int(v[0]) for v in codes.sample(points)]
        assert table["label_confidence"].to_pylist() == [int(v[0]) for v in sure.sample(points)]
    assert set(table["label_code"].to_pylist()) <= set(cdl.CODES)
    Study.load("mississippi_delta").legend.classes_of(np.asarray(table["label_code"]))
