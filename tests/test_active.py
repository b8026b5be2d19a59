"""What to label next: each method takes what it says, a seed repeats it, and curves are fair."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
from hypothesis import given
from hypothesis import strategies as st
from pyogrio.raw import read as read_layer
from pyogrio.raw import write
from pyproj import CRS, Transformer
from rasterio.transform import from_origin
from sklearn.ensemble import RandomForestClassifier
from typer.testing import CliRunner

from arsetlib import active, cli
from arsetlib.active import places
from arsetlib.labels import CatalogueError
from arsetlib.labels.fields import read_fields
from arsetlib.maps.products import NODATA, MapError, Prediction, legend_as_json
from arsetlib.maps.sampling import MapSample
from arsetlib.study import Area, Class, Legend

LEGEND = Legend("three", tuple(Class(n, {"en": n}, "#ffd400", (i,)) for i, n in enumerate(("a", "b", "c"), 1)))
RNG = np.random.default_rng(5)
CHANCE = RNG.dirichlet([1, 1, 1], 300)
FEATURES = RNG.normal(0, 1, (300, 4)).astype(np.float32)


def chosen(method, count=20, seed=0, **more):
    return active.choose(CHANCE, count, method=method, features=FEATURES, seed=seed, **more)


@pytest.mark.parametrize("method", active.METHODS)
def test_a_method_gives_different_rows_and_the_same_ones_for_a_seed(method):
    found = chosen(method)
    assert len(set(found.tolist())) == 20
    assert np.array_equal(found, chosen(method))
    assert 0 <= found.min() <= found.max() < 300
    assert sorted(chosen(method, 300).tolist()) == list(range(300))


@given(st.integers(2, 6), st.integers(0, 999))
def test_uncertainty_is_that_of_a_plain_loop(classes, seed):
    chance = np.random.default_rng(seed).dirichlet(np.ones(classes), 20)
    for row, margin, entropy in zip(
        chance, active.uncertainty(chance), active.uncertainty(chance, "entropy"), strict=True
    ):
        first, second = sorted(row)[::-1][:2]
        assert margin == pytest.approx(1 - first + second)
        assert entropy == pytest.approx(-sum(p * np.log(max(p, 1e-12)) for p in row) / np.log(classes))


@pytest.mark.parametrize("method", ["margin", "entropy"])
def test_the_most_uncertain_come_first(method):
    unsure = active.uncertainty(CHANCE, method)
    assert np.array_equal(np.sort(unsure)[::-1][:20], unsure[chosen(method)])


def test_ties_are_drawn():
    same = np.full((100, 2), 0.5)
    draws = [active.choose(same, 10, seed=s) for s in range(2)]
    assert set(draws[0].tolist()) != set(draws[1].tolist())
    assert max(draws[0]) > 20


def test_k_centre_takes_the_farthest_from_all_that_is_known_or_chosen():
    known = FEATURES[:5]
    found = chosen("k_centre", 10, known=known)
    centres = list(known)
    for row in found:
        distances = np.min([np.sum((FEATURES - c) ** 2, axis=1) for c in centres], axis=0)
        assert distances[row] == pytest.approx(distances.max(), rel=1e-3)
        centres.append(FEATURES[row])


def test_cluster_takes_unsure_samples_that_differ():
    groups = np.repeat(np.eye(10), 30, axis=0) * 50
    found = active.choose(CHANCE, 10, method="cluster", features=groups + 0.1 * FEATURES[:, :1])
    unsure = active.uncertainty(CHANCE)
    assert set(found.tolist()) <= set(np.argsort(-unsure)[:100].tolist())
    there = {int(i) // 30 for i in np.argsort(-unsure)[:100]}
    assert {int(i) // 30 for i in found} == there


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"method": "best"}, "Expected method = 'random', 'entropy'"),
        ({"count": 301}, "Expected a count from 1 to 300"),
        ({"method": "k_centre", "features": None}, "The method 'k_centre' needs features"),
        ({"features": FEATURES[:9]}, r"of one pool, received lengths \[300, 9\]"),
        ({"probability": np.ones((300, 1))}, "at least 2 classes"),
        ({"probability": CHANCE * 10_000}, "rows sum to 1, received .* sums from 10000 to 10000"),
        ({"probability": CHANCE * 3 - 2 / 3}, "from 0 to 1"),
        ({"probability": np.where(np.arange(300)[:, None] == 7, np.nan, CHANCE)}, "finite probabilities"),
        ({"count": 0}, "Expected a count from 1 to 300"),
        (
            {"method": "k_centre", "features": np.where(np.arange(300)[:, None] == 7, np.inf, FEATURES)},
            "finite features",
        ),
        ({"method": "k_centre", "features": FEATURES, "known": np.full((1, 4), np.nan)}, "finite features"),
    ],
)
def test_what_cannot_be_chosen_is_refused(options, says):
    arguments = {"probability": CHANCE, "count": 20} | options
    with pytest.raises(active.ActiveError, match=says):
        active.choose(**arguments)


@pytest.mark.parametrize("method", ["k_centre", "cluster"])
def test_equal_rows_and_large_numbers_are_chosen_from_too(method):
    assert len(set(active.choose(CHANCE, 40, method=method, features=np.zeros((300, 4))).tolist())) == 40
    large = [active.choose(CHANCE, 9, method=method, features=FEATURES.round(2) + o) for o in (0, 4096)]
    assert np.array_equal(*large)


# -- curves ---------------------------------------------------------------------------------------------------------


def blobs(n, seed):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, n)
    return active.KnownSamples((np.eye(3)[truth] + rng.normal(0, 0.4, (n, 3))).astype(np.float32), truth)


def forest(x, y, seed):
    return RandomForestClassifier(20, random_state=seed).fit(x, y)


def test_all_methods_begin_alike_and_spend_the_same_budget():
    table = active.learning_curve(
        blobs(200, 1), blobs(100, 2), forest, classes=3, methods=("random", "margin", "k_centre"), start=10, step=15,
        budget=50, draws=(0, 1),
    )  # fmt: skip
    assert list(table.columns) == ["method", "seed", "labels", "accuracy", "macro_f1"]
    assert table.groupby(["method", "seed"])["labels"].apply(list).map(tuple).unique().tolist() == [(10, 25, 40, 50)]
    begin = table[table["labels"] == 10]
    assert begin.groupby("seed")["accuracy"].nunique().tolist() == [1, 1]
    again = active.learning_curve(blobs(200, 1), blobs(100, 2), forest, classes=3, methods=("margin",), start=10,
                                  step=15, budget=50, draws=(1,))  # fmt: skip
    mine = table[(table["method"] == "margin") & (table["seed"] == 1)].reset_index(drop=True)
    pd.testing.assert_frame_equal(mine, again)


@pytest.mark.parametrize(
    ("options", "says"),
    [({"budget": 500}, "at most 200"), ({"start": 60}, "start ≤ budget"), ({"step": 0}, "step ≥ 1")],
)
def test_budgets_that_cannot_be_are_refused(options, says):
    with pytest.raises(active.ActiveError, match=says):
        active.learning_curve(blobs(200, 1), blobs(9, 2), forest, classes=3, **{"start": 10, "budget": 50} | options)


def test_a_truth_that_is_no_class_or_missing_is_refused():
    pool, test = blobs(200, 1), blobs(9, 2)
    for wrong in (-1, 3):
        odd = active.KnownSamples(pool.features, np.where(np.arange(200) == 5, wrong, pool.truth))
        with pytest.raises(active.ActiveError, match="Expected class numbers from 0 to 2"):
            active.learning_curve(odd, test, forest, classes=3, start=10, budget=50)
    with pytest.raises(active.ActiveError, match="a truth for each sample, received 200 and 199"):
        active.KnownSamples(pool.features, pool.truth[1:])


# -- places of a map ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("map")
    counts = np.rint(np.random.default_rng(2).dirichlet([2, 2, 2], (40, 50)).transpose(2, 0, 1) * 10_000)
    counts = counts.astype(np.uint16)
    counts[:, :5, :5] = NODATA["probability"]
    files = {"class": "toy_class.tif", "probability": "toy_probability.tif"}
    for file, data in ((files["class"], counts.argmax(0)[None].astype(np.uint8)), (files["probability"], counts)):
        with rasterio.open(
            folder / file, "w", driver="GTiff", width=50, height=40, count=len(data), dtype=data.dtype,
            crs="EPSG:32615", transform=from_origin(500_000, 3_700_000, 10, 10),
        ) as out:  # fmt: skip
            out.write(data)
    info = {"legend": legend_as_json(LEGEND), "files": files, "simulated": True, "kind": "arset.prediction",
            "version": 1}  # fmt: skip
    (folder / "toy.json").write_text(json.dumps(info))
    return Prediction(folder, "toy", info)


def chances(made):
    with rasterio.open(made.path("probability")) as src:
        raw = src.read()
    return np.where(raw == NODATA["probability"], np.nan, raw / 10_000)


@pytest.mark.parametrize("method", ["margin", "entropy"])
def test_places_are_the_most_uncertain_pixels_whatever_the_tiles(made, method, monkeypatch):
    chance = chances(made)
    unsure = np.full(chance.shape[1:], -1.0)
    known = np.isfinite(chance[0])
    unsure[known] = active.uncertainty(chance[:, known].T, method)
    expected = np.sort(unsure.ravel())[::-1][:12]
    for tile, kept in ((1024, 50), (16, 2)):
        monkeypatch.setattr(places, "TILE", tile)
        monkeypatch.setattr(places, "KEPT", kept)
        found = active.next_places(made, 12, method=method, progress=False)
        row, col = ((3_700_000 - found.y) // 10).astype(int), ((found.x - 500_000) // 10).astype(int)
        assert unsure[row, col] == pytest.approx(expected, abs=1e-6)
        assert np.allclose(found.probability, chance[:, row, col].T, atol=1e-4)


@pytest.mark.parametrize("method", ["random", "margin", "cluster"])
def test_places_keep_apart_and_a_seed_repeats_them(made, method):
    found, again = (active.next_places(made, 8, method=method, apart=60, progress=False) for _ in range(2))
    assert np.array_equal(found.x, again.x)
    distance = np.hypot(found.x[:, None] - found.x, found.y[:, None] - found.y) + 1e9 * np.eye(8)
    assert distance.min() >= 60


def test_random_places_are_of_the_whole_map(made):
    found = active.next_places(made, 400, method="random", progress=False)
    other = active.next_places(made, 400, method="random", seed=1, progress=False)
    assert len(set(zip(found.x, found.y, strict=True)) & set(zip(other.x, other.y, strict=True))) < 150
    assert np.histogram(found.x, 5, (500_000, 500_500))[0].min() > 50


def test_too_many_places_or_unknown_methods_are_refused(made):
    with pytest.raises(active.ActiveError, match=r"gives \d+ places that are 300 m apart, 30 were asked for"):
        active.next_places(made, 30, apart=300, progress=False)
    for options in ({"seed": -1}, {"apart": np.nan}, {"count": 0}):
        with pytest.raises(active.ActiveError, match="Expected count of at least 1, and apart and seed"):
            active.next_places(made, **{"count": 3} | options, progress=False)
    with pytest.raises(active.ActiveError, match="received 'k_centre'"):
        active.next_places(made, 3, method="k_centre", progress=False)


@pytest.mark.parametrize("ending", ["csv", "gpkg", "geojson"])
def test_the_file_has_a_row_a_place_to_fill_in(made, tmp_path, ending):
    found = active.next_places(made, 5, progress=False)
    path = found.save(tmp_path / f"next.{ending}")
    if ending == "csv":
        table = pd.read_csv(path)
        assert table["label_code"].isna().all()
        assert list(table["place"]) == [1, 2, 3, 4, 5]
    else:
        meta, _, geometry, _values = read_layer(str(path))
        assert {"place", "predicted", "label_code"} <= set(meta["fields"])
        assert len(geometry) == 5
    assert not list(tmp_path.glob(".*"))
    with pytest.raises(active.ActiveError, match="received 'next.shp'"):
        found.save(tmp_path / "next.shp")


def altered(made, folder, **change):
    shutil.copytree(made.folder, folder, dirs_exist_ok=True)
    with rasterio.open(made.path("probability")) as src:
        data, profile = src.read(), src.profile
    data = change.pop("change", lambda d: d)(data)
    with rasterio.open(folder / "toy_probability.tif", "w", **profile | {"count": len(data)} | change) as out:
        out.write(data)
    return Prediction(folder, "toy", made.info)


def test_a_pixel_without_all_probabilities_is_no_place(made, tmp_path):
    def hidden(data):
        data[2, :, 10:] = NODATA["probability"]
        return data

    found = active.next_places(altered(made, tmp_path, change=hidden), 50, progress=False)
    assert found.x.max() < 500_100
    assert found.probability.max() <= 1


@pytest.mark.parametrize("change", [{"crs": "EPSG:2225"}, {"change": lambda d: np.concatenate([d, d])}])
def test_probabilities_of_another_grid_or_legend_are_refused(made, tmp_path, change):
    with pytest.raises(MapError, match="in metres|does not belong to"):
        active.next_places(altered(made, tmp_path, **change), 5, progress=False)


def test_places_that_a_person_has_filled_in_are_labels(made, tmp_path):
    found = active.next_places(made, 4, apart=50, seed=9, progress=False)
    _, _, geometry, _ = read_layer(str(found.save(tmp_path / "next.gpkg")))
    change = Transformer.from_crs("EPSG:4326", "EPSG:5070", always_xy=True)  # saved by a GIS in another CRS
    points = shapely.transform(shapely.from_wkb(geometry), lambda p: np.column_stack(change.transform(*p.T)))
    codes = np.array(["1", " 2 ", "3", "1"], object)
    write(str(tmp_path / "filled.gpkg"), shapely.to_wkb(points), [codes], ["label_code"], crs="EPSG:5070",
          geometry_type="Point")  # fmt: skip
    area = Area("toy", {"en": "toy"}, (500_000, 3_699_600, 500_500, 3_700_000), "EPSG:32615")
    labels = read_fields(str(tmp_path / "filled.gpkg"), None, "label_code", CRS("EPSG:32615"), [area])
    assert labels.codes.tolist() == [1, 2, 3, 1]
    assert np.allclose(shapely.get_coordinates(labels.shapes), np.column_stack([found.x, found.y]), atol=0.01)
    with pytest.raises(CatalogueError, match="row 0 has ''"):
        read_fields(str(tmp_path / "next.gpkg"), None, "label_code", CRS("EPSG:32615"), [area])


def test_the_command_writes_the_places_and_warns(made, tmp_path):
    arguments = ["next", str(made.folder / "toy.json"), "--count", "4", "--out", str(tmp_path / "n.csv")]
    done = CliRunner().invoke(cli.app, arguments)
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("SIMULATED: 4 places in")
    assert "never estimate accuracy or areas from them" in done.stdout
    assert len(pd.read_csv(tmp_path / "n.csv")) == 4


# -- a second round ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("apart", [0, 60])
def test_places_of_an_earlier_round_are_not_chosen_again(made, apart):
    first = active.next_places(made, 6, apart=apart, progress=False)
    second = active.next_places(made, 6, apart=apart, known=first.table, progress=False)
    distance = np.hypot(first.x[:, None] - second.x, first.y[:, None] - second.y)
    assert distance.min() >= max(apart, 1)
    if not apart:  # the next ones in the same order
        both = active.next_places(made, 12, progress=False)
        assert np.array_equal(both.x, np.concatenate([first.x, second.x]))
    everywhere = active.next_places(made, 1975, method="random", progress=False).table
    with pytest.raises(active.ActiveError, match="not among the 1,975 known ones"):
        active.next_places(made, 30, known=everywhere, progress=False)
    with pytest.raises(active.ActiveError, match="Expected known places with lon and lat, received none of lat"):
        active.next_places(made, 3, known=first.table[["lon"]], progress=False)


def test_the_command_leaves_out_the_places_of_earlier_rounds_whatever_their_file(made, tmp_path):
    def proposed(out, *known):
        arguments = ["next", str(made.folder / "toy.json"), "--count", "4", "--out", str(tmp_path / out)]
        for name in known:
            arguments += ["--known", str(tmp_path / name)]
        return CliRunner().invoke(cli.app, arguments)

    assert proposed("one").exit_code == 0  # a folder, for the labelling page
    assert proposed("two.gpkg", "one").exit_code == 0
    done = proposed("three.csv", "one", "two.gpkg")
    assert done.exit_code == 0, done.output
    assert "8 places of earlier rounds were left out" in done.stdout
    all_of = active.next_places(made, 12, progress=False)
    third = pd.read_csv(tmp_path / "three.csv")
    assert np.allclose(third["x"], all_of.x[8:])
    labels = MapSample.load(tmp_path / "one")
    assert set(labels.table["stratum"]) == {"proposed"}
    assert labels.table["inclusion_probability"].isna().all()
    assert labels.legend.keys == LEGEND.keys
    assert proposed("four.csv", "nothing.csv").exit_code != 0


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.csv", "", "is empty"),
        ("a.csv", "id,lon,lat\n1,409575,1383975\n", "lon from -180 to 180"),
        ("a.csv", "id,lon,lat\n1,,35\n", "expected a number in column 'lon', row 2 has ''"),
        ("a.csv", "id,x,y\n1,2,3\n", "lacks lon, lat"),
        ("a.gpkg", "no layer", "cannot be read"),
    ],
)
def test_a_file_of_known_places_that_has_none_is_named(tmp_path, name, content, says):
    (tmp_path / name).write_text(content)
    with pytest.raises(active.ActiveError, match=says):
        active.known_places(tmp_path / name)


def test_known_places_of_a_spreadsheet_are_read(tmp_path):
    (tmp_path / "a.csv").write_bytes("id;lon;lat\r\n1;-91,5;35,25\r\n;;\r\n".encode("utf-16"))
    assert active.known_places(tmp_path / "a.csv").to_numpy().tolist() == [[-91.5, 35.25]]
