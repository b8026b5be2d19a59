"""Annual vectors: decoded as published, read at places as a plain loop does, and beside the bands in every window."""

import shutil

import numpy as np
import pytest
import rasterio
from pyproj import Transformer
from rasterio.transform import Affine, from_origin

from arsetlib import catalogue, embeddings, pixels, samples, simulate
from arsetlib.ingest import ingest
from arsetlib.labels import find_labels
from arsetlib.study import Study

UTM, WEST, NORTH = "EPSG:32615", 500_000, 3_700_000


def write(path, data, **change):
    profile = {"driver": "GTiff", "width": data.shape[2], "height": data.shape[1], "count": len(data), "crs": UTM,
               "dtype": data.dtype, "transform": from_origin(WEST, NORTH, 10, 10)} | change  # fmt: skip
    with rasterio.open(path, "w", **profile) as out:
        out.write(data)
    return path


def unit(*shape, seed=0):
    vectors = np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=0)


def test_counts_are_decoded_as_published_and_encoding_comes_back():
    raw = np.arange(-128, 128).astype(np.int8)
    by_hand = [np.nan if v == -128 else (v / 127.5) ** 2 * (1 if v > 0 else -1 if v else 0) for v in raw.tolist()]
    assert np.allclose(embeddings.decode(raw), by_hand, equal_nan=True)
    assert np.array_equal(embeddings.encode(embeddings.decode(raw)), raw)
    with pytest.raises(embeddings.EmbeddingError, match="Expected int8 counts, received uint8"):
        embeddings.decode(raw.view(np.uint8))
    with pytest.raises(embeddings.EmbeddingError, match="from -1 to 1, received up to 9999"):
        embeddings.encode(np.array([0.5, -9999]))


@pytest.mark.parametrize("kind", ["int8", "float32"])
@pytest.mark.parametrize("side", [None, 30.0])
def test_vectors_at_places_are_those_of_a_plain_loop(tmp_path, monkeypatch, kind, side):
    monkeypatch.setattr(embeddings, "TILE", 7)
    vectors = unit(4, 20, 25)
    vectors[:, 3, 4] = np.nan
    data = embeddings.encode(vectors) if kind == "int8" else vectors
    path = write(tmp_path / "v.tif", data, nodata=-128 if kind == "int8" else None)
    stored = embeddings.decode(data) if kind == "int8" else data
    rng = np.random.default_rng(1)
    x, y = WEST + rng.uniform(-20, 270, 60), NORTH - rng.uniform(-20, 220, 60)
    x[0], y[0] = WEST + 45, NORTH - 35  # the pixel without data
    lon, lat = Transformer.from_crs(UTM, "EPSG:4326", always_xy=True).transform(x, y)
    found = embeddings.read(path, lon, lat, crs="EPSG:4326", side=side)
    for i in range(60):
        row, col = int((NORTH - y[i]) // 10), int((x[i] - WEST) // 10)
        expected = np.full(4, np.nan)
        if 0 <= row < 20 and 0 <= col < 25:
            if side is None:
                expected = stored[:, row, col]
            else:
                near = [
                    stored[:, r, c] for r in range(20) for c in range(25)
                    if abs(WEST + 10 * c + 5 - x[i]) <= side / 2 and abs(NORTH - 10 * r - 5 - y[i]) <= side / 2
                    and np.isfinite(stored[:, r, c]).all()
                ]  # fmt: skip
                expected = np.sum(near, axis=0) / np.linalg.norm(np.sum(near, axis=0))
        assert np.allclose(found[i], expected, atol=1e-5, equal_nan=True)


@pytest.mark.parametrize(
    ("data", "change", "says"),
    [
        (unit(2, 4, 4), {"transform": Affine(10, 0, WEST, 0, 10, NORTH)}, "north up. Where a .vrt file lies beside"),
        (unit(2, 4, 4), {"crs": "EPSG:4326", "transform": from_origin(33, 3, 0.1, 0.1)}, "no CRS in metres"),
        (np.ones((2, 4, 4), np.uint16), {}, "int8 .AlphaEarth. or floating point .Tessera.*received uint16"),
        (unit(2, 4, 4), {"crs": "EPSG:2225"}, "no CRS in metres"),
        (np.rint(127 * unit(9, 4, 4)), {}, "whole numbers up to .* counts that were not decoded"),
        (np.rint(127 * unit(9, 4, 4)).astype(np.int8), {}, "int8 counts in the form of AlphaEarth"),
        (unit(2, 4, 4) * 0 - 9999, {}, "holds -9999 in all channels of 1 pixels.*-a_nodata -9999"),
        (unit(2, 4, 4), {"transform": from_origin(WEST + 9000, NORTH, 10, 10)}, "None of the 1 places lies on"),
    ],
)
def test_rasters_that_hold_no_vectors_of_the_place_are_refused(tmp_path, data, change, says):
    path = write(tmp_path / "v.tif", data, **change)
    with pytest.raises(embeddings.EmbeddingError, match=says):
        embeddings.read(path, WEST + 5, NORTH - 5, crs=UTM)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"path": "none.tif"}, "none.tif cannot be read as a raster.*check the name"),
        ({"path": "text.tif"}, "text.tif cannot be read as a raster"),
        ({"path": "cut.tif"}, "cut.tif cannot be read as a raster"),
        ({"path": "scaled.tif"}, "states a scale of 0.5"),
        ({"crs": "EPSG:999999"}, "received 'EPSG:999999'"),
        ({"crs": None}, "received None"),
        ({"y": [NORTH - 5]}, "as many x as y"),
    ],
)
def test_files_and_places_that_cannot_be_read_are_named(tmp_path, change, says):
    (tmp_path / "text.tif").write_text("no raster")
    whole = write(tmp_path / "v.tif", unit(2, 40, 40)).read_bytes()
    (tmp_path / "cut.tif").write_bytes(whole[: len(whole) // 2])
    with rasterio.open(write(tmp_path / "scaled.tif", unit(2, 4, 4)), "r+") as src:
        src.scales = (0.5, 0.5)
    places = {"x": [WEST + 5, WEST + 5], "y": [NORTH - 5, NORTH - 355], "crs": UTM, "path": "v.tif"} | change
    with pytest.raises(embeddings.EmbeddingError, match=says):
        embeddings.read(tmp_path / places.pop("path"), **places)


@pytest.mark.parametrize("side", [None, 30.0])
@pytest.mark.parametrize("nodata", [-9999, 0, None])
def test_what_the_file_says_is_no_data_is_no_vector(tmp_path, nodata, side):
    vectors = unit(4, 20, 25)
    vectors[:, :, :10] = nodata or 0
    vectors[0, 5, 20] = 0  # a value of one channel, not a missing vector
    path = write(tmp_path / "v.tif", vectors, nodata=nodata)
    found = embeddings.read(path, [WEST + 35, WEST + 205], [NORTH - 55] * 2, crs=UTM, side=side)
    assert np.isnan(found[0]).all()
    assert np.isfinite(found[1]).all()
    vectors[:, :, :10] = 0
    counts = write(tmp_path / "c.tif", embeddings.encode(vectors), nodata=-128)
    assert np.isnan(embeddings.read(counts, WEST + 35, NORTH - 55, crs=UTM, side=side)).all()


@pytest.mark.parametrize("side", [None, 30.0])
def test_what_the_file_masks_is_no_vector(tmp_path, side):
    path = write(tmp_path / "v.tif", unit(4, 20, 25))
    with rasterio.open(path, "r+") as out:
        out.write_mask(np.arange(25) >= np.full((20, 1), 10))
    found = embeddings.read(path, [WEST + 35, WEST + 205], [NORTH - 55] * 2, crs=UTM, side=side)
    assert np.isnan(found).all(axis=1).tolist() == [True, False]


def test_a_square_smaller_than_a_pixel_takes_the_pixel_that_holds_the_place(tmp_path):
    vectors = 3 * unit(4, 20, 25)
    path = write(tmp_path / "v.tif", vectors)
    found = embeddings.read(path, WEST + 32, NORTH - 58, crs=UTM, side=4)
    assert found[0] == pytest.approx(vectors[:, 5, 3] / 3, abs=1e-6)
    with pytest.raises(embeddings.EmbeddingError, match="Expected a side above 0 m, received -4"):
        embeddings.read(path, WEST + 32, NORTH - 58, crs=UTM, side=-4)


@pytest.fixture(scope="module")
def place(delta, tmp_path_factory):
    folder = tmp_path_factory.mktemp("embeddings")
    study = Study.load(delta / "two_areas.toml")
    scenes = catalogue.find_scenes(study, progress=False)
    ingest(study, scenes, {2021: find_labels(study, 2021, folder, False)}, folder / "pixels", progress=False)
    raster = simulate.embeddings(delta, folder / "v_2021.tif", 2021)
    return study, pixels.read(folder / "pixels"), raster


def test_simulated_vectors_have_the_form_of_alphaearth_and_say_that_they_are_simulated(place, delta, tmp_path):
    with rasterio.open(place[2]) as src:
        raw, tags = src.read(), src.tags()
        assert (src.count, src.dtypes[0], src.nodata, src.res) == (64, "int8", -128, (10, 10))
        assert src.descriptions[0] == "A00"
    assert tags["SIMULATED"] == "YES"
    assert np.linalg.norm(embeddings.decode(raw), axis=0) == pytest.approx(1, abs=0.02)
    again = simulate.embeddings(delta, tmp_path / "again.tif", 2021)
    assert again.read_bytes() == place[2].read_bytes()
    with pytest.raises(ValueError, match=r"ending in .tif, received v.png"):
        simulate.embeddings(delta, "v.png", 2021)
    with pytest.raises(ValueError, match="has no 2019; it has 2021"):
        simulate.embeddings(delta, tmp_path / "none.tif", 2019)


def test_each_window_holds_the_vector_once_beside_the_bands(place):
    study, table, raster = place
    extra = embeddings.as_sensor(table, {2021: raster}, study.season)
    meta = pixels.Meta.of(extra)
    assert meta.bands == embeddings.names(64)
    assert meta.simulated
    both = pixels.join(table, extra)
    joined = study.replace(sensors={"embedding": embeddings.names(64)})
    x, y = (table.column(n).to_numpy() for n in ("x", "y"))
    vectors = embeddings.read(raster, x, y, crs=meta.crs, side=meta.resolution)
    for start in (1, 77, 200):
        first = int(samples.start_days(2021, start)[0])
        channels = samples.Channels.of(joined)
        found = samples.window(pixels.ragged(both), study.season, first, choose="clearest", channels=channels)
        alone = samples.window(pixels.ragged(table), study.season, first, choose="clearest")
        width = len(study.bands)
        assert np.array_equal(found.x[:, :, :width], alone.x)
        values = found.x[:, :, width:]
        assert ((values > 0).all(axis=2).sum(axis=1) == 1).all()
        assert np.allclose((values.max(axis=1) - 1) / 32_767 - 1, vectors, atol=1e-4)


def test_a_table_of_another_year_or_place_is_refused_and_pixels_without_a_vector_are_counted(place, tmp_path):
    study, table, raster = place
    with rasterio.open(raster) as src:
        raw, profile = src.read(), src.profile
    x, y = (table.column(n).to_numpy() for n in ("x", "y"))
    east, _ = Transformer.from_crs(pixels.Meta.of(table).crs, profile["crs"].to_wkt(), always_xy=True).transform(x, y)
    half = raw.copy()
    half[:, :, : int((np.median(east) - profile["transform"].c) // 10)] = -128
    for name, data in (("half", half), ("none", np.full_like(raw, -128))):
        with rasterio.open(tmp_path / f"{name}.tif", "w", **profile) as out:
            out.write(data)
    made = embeddings.as_sensor(table, {2021: tmp_path / "half.tif", 1999: "unused.tif"}, study.season)
    shutil.copy(tmp_path / "half.tif", tmp_path / "A_2019_10N.tif")
    with pytest.raises(embeddings.EmbeddingError, match="rows are of 2021, and .* are of 2019"):
        embeddings.as_sensor(table, {2021: tmp_path / "A_2019_10N.tif"}, study.season)
    meta, empty = pixels.Meta.of(made), (made.column("num_images").to_numpy() == 0).sum()
    assert meta.extra["without_embedding"] == {"2021": empty}
    assert 0 < empty < table.num_rows
    assert list(meta.extra["embedding"]) == ["2021"]
    with pytest.raises(embeddings.EmbeddingError, match=r"No pixel of 2021 \(.*none.tif\) has a vector"):
        embeddings.as_sensor(table, {2021: tmp_path / "none.tif"}, study.season)
    with pytest.raises(embeddings.EmbeddingError, match=r"a raster of each year .* none of \[2021\]"):
        embeddings.as_sensor(table, {2020: raster}, study.season)


def test_vectors_of_an_encoder_of_ones_own_are_those_of_a_raster(place):
    study, table, raster = place
    meta = pixels.Meta.of(table)
    x, y = (table.column(n).to_numpy() for n in ("x", "y"))
    vectors = embeddings.read(raster, x, y, crs=meta.crs, side=meta.resolution)
    own = embeddings.as_sensor(table, vectors, study.season)
    assert own.equals(embeddings.as_sensor(table, {2021: raster}, study.season))
    assert pixels.Meta.of(own).extra["embedding"] == {"2021": "vectors of the rows"}
    with pytest.raises(embeddings.EmbeddingError, match=r"each of the .* rows of the table, .* received \(3, 64\)"):
        embeddings.as_sensor(table, vectors[:3], study.season)
    with pytest.raises(embeddings.EmbeddingError, match=r"from -1 to 1, received up to .* length 1"):
        embeddings.as_sensor(table, 20 * vectors, study.season)
    with pytest.raises(embeddings.EmbeddingError, match="No pixel of 2021"):
        embeddings.as_sensor(table, np.full_like(vectors, np.nan), study.season)
