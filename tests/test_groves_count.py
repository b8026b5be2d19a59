"""Counting trees: crowns told apart, each tree of a flight once, canopy per hectare, pairs with the truth."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from arsetlib import groves
from arsetlib.groves import GroveError, Pose

METRES = 0.05  # per pixel


def discs(size, places, radius, value=1):
    """A mask with discs of trees at (row, column)."""
    rows, columns = np.mgrid[: size[0], : size[1]] + 0.5
    mask = np.zeros(size, np.uint8)
    for i, j in places:
        mask[(rows - i) ** 2 + (columns - j) ** 2 <= radius**2] = value
    return mask


@pytest.fixture
def flight():
    """A ground of 40 × 20 m with 12 trees of 1 m, seen by four overlapping captures, one of them turned."""
    places = [(4 + 5.0 * k, y) for k in range(6) for y in (5.0, 13.0)]
    truth = np.array([(x, y, 1.0) for x, y in places])
    masks, poses = {}, {}
    for n, (left, turn) in enumerate([(0, 0), (6, 0), (12, 0.05), (18, 0)]):
        a, b = METRES * np.cos(turn), METRES * np.sin(turn)
        pose = Pose(a, b, left, b, -a, 18.0)
        rows, columns = np.mgrid[:340, :300] + 0.5
        x, y = pose.ground(columns, rows)
        mask = np.zeros((340, 300), np.uint8)
        for tx, ty, r in truth:
            mask[(x - tx) ** 2 + (y - ty) ** 2 <= r**2] = 1
        masks[f"capture_{n}"], poses[f"capture_{n}"] = mask, pose
    return masks, poses, truth


@pytest.mark.parametrize("gap", [1.3, 1.6, 2.0, 3.0])
def test_crowns_that_touch_are_told_apart(gap):
    found = groves.instances(discs((120, 200), [(60, 60), (60, 60 + gap * 30)], 30) > 0, radius=10)
    assert found.max() == 2
    assert found[60, 50] != found[60, int(60 + gap * 30) + 10]


def test_one_disc_is_one_crown_of_its_area():
    mask = discs((200, 200), [(100, 90)], 40)
    trees = groves.count(mask, metres_per_pixel=METRES).trees
    assert len(trees) == 1
    assert trees["area"][0] == pytest.approx(mask.sum() * METRES**2)
    assert trees["radius"][0] == pytest.approx(2.0, rel=0.01)
    assert (trees["x"][0], trees["y"][0]) == pytest.approx((4.5, -5.0), abs=0.05)


def test_a_ragged_crown_is_one_tree():
    rng = np.random.default_rng(0)
    angle = np.linspace(0, 2 * np.pi, 400)
    lobes = 40 * (1 + 0.15 * np.sin(5 * angle) + 0.05 * rng.normal(size=400))
    rows, columns = np.mgrid[:200, :200]
    turn = np.arctan2(rows - 100, columns - 100) % (2 * np.pi)
    mask = np.hypot(rows - 100, columns - 100) < np.interp(turn, angle, lobes)
    assert groves.instances(mask, radius=10).max() == 1


def test_specks_and_other_classes_are_no_trees():
    mask = discs((200, 200), [(50, 50)], 4) | discs((200, 200), [(120, 120)], 40, value=2)
    assert len(groves.count(mask, metres_per_pixel=METRES)) == 0


def test_a_hole_in_a_crown_does_not_make_it_two():
    mask = discs((200, 200), [(100, 100)], 40)
    mask[95:105, 95:105] = 0
    assert len(groves.count(mask, metres_per_pixel=METRES)) == 1


def test_an_empty_mask_has_no_trees_and_no_canopy():
    found = groves.count(np.zeros((100, 100), np.uint8), metres_per_pixel=METRES)
    assert (len(found), found.cover) == (0, 0.0)
    assert found.score(np.zeros((0, 3)))["matched"] == 0


def test_a_crown_counts_where_its_middle_lies_within_the_capture():
    inside, outside = discs((200, 200), [(100, 10)], 40), discs((200, 200), [(100, -10)], 40)
    found = groves.count(inside, metres_per_pixel=METRES)
    assert len(found) == 1
    assert not found.trees["whole"][0]
    assert len(groves.count(outside, metres_per_pixel=METRES)) == 0


def test_canopy_per_hectare_is_that_of_the_mask():
    mask = discs((400, 400), [(100, 100), (300, 300)], 40)
    found = groves.count(mask, metres_per_pixel=METRES)
    assert found.area_ha == pytest.approx(400 * METRES * 400 * METRES / 1e4)
    assert found.cover == pytest.approx(mask.mean())
    assert found.canopy_m2_per_ha == pytest.approx(mask.mean() * 1e4)
    assert found.trees_per_ha == pytest.approx(2 / found.area_ha)


def test_ground_that_is_not_labelled_does_not_count():
    mask = np.full((100, 100), 255, np.uint8)
    mask[:50] = 0
    assert groves.count(mask, metres_per_pixel=1.0).area_ha == pytest.approx(0.5)


def test_a_tree_in_several_captures_is_counted_once(flight):
    masks, poses, truth = flight
    alone = sum(len(groves.count(mask, metres_per_pixel=METRES)) for mask in masks.values())
    found = groves.count(masks, flight=poses)
    assert alone > len(truth)
    score = found.score(truth)
    assert len(found) == len(truth) == score["matched"] == score["truth"]
    assert (score["count_error"], score["precision"], score["recall"]) == (0, 1, 1)
    assert score["distance"] < METRES
    assert found.trees["views"].max() >= 2
    assert (found.trees["seen"] <= found.trees["views"]).all()


def test_canopy_of_overlapping_captures_counts_each_place_once(flight):
    masks, poses, _ = flight
    found = groves.count(masks, flight=poses)
    assert found.area_ha * 1e4 == pytest.approx((18 + 15) * 17, rel=0.03)
    assert found.canopy_m2 == pytest.approx(12 * np.pi, rel=0.03)


def test_a_find_that_most_captures_do_not_share_can_be_dropped(flight):
    masks, poses, truth = flight
    column, row = poses["capture_1"].image(11.5, 9.0)
    masks["capture_1"] |= discs((340, 300), [(row, column)], 20)
    assert len(groves.count(masks, flight=poses)) == len(truth) + 1
    assert len(groves.count(masks, flight=poses, agree=0.6)) == len(truth)


def test_score_pairs_each_tree_once():
    found = groves.TreeCount(pd.DataFrame({"x": [0.0, 0.2, 9.0], "y": 0.0, "radius": 1.0}), 1.0, 0.0)
    score = found.score(np.array([(0, 0, 1.0), (5, 0, 1.0)]))
    assert (score["matched"], score["precision"], score["recall"]) == (1, pytest.approx(1 / 3), 0.5)
    assert score["count_error"] == 0.5


def test_score_takes_the_pairing_with_most_pairs():
    """The middle one of three would take either; greedily nearest, one tree would stay alone."""
    found = groves.TreeCount(pd.DataFrame({"x": [0.0, 1.0], "y": 0.0, "radius": 1.0}), 1.0, 0.0)
    assert found.score(np.array([(0.9, 0, 1.0), (1.9, 0, 1.0)]))["matched"] == 2


def test_geojson_and_csv_hold_the_trees(flight, tmp_path):
    masks, poses, _ = flight
    found = groves.count(masks, flight=poses)
    made = json.loads(found.geojson(tmp_path / "trees.geojson").read_text())
    assert [f["geometry"]["coordinates"] for f in made["features"]] == found.trees[["x", "y"]].round(3).values.tolist()
    table = pd.read_csv(found.csv(tmp_path / "trees.csv"), index_col="tree")
    assert list(table.columns) == list(found.trees.columns)
    assert len(table) == len(found)
    assert found.score(tmp_path / "trees.geojson")["f1"] == 1


def test_masks_and_poses_are_read_from_files(flight, tmp_path):
    from PIL import Image

    masks, poses, truth = flight
    (tmp_path / "masks").mkdir()
    for name, mask in masks.items():
        Image.fromarray(mask).save(tmp_path / "masks" / f"{name}.png")
    captures = [{"name": n, "transform": [p.a, p.b, p.c, p.d, p.e, p.f]} for n, p in poses.items()]
    (tmp_path / "flight.json").write_text(json.dumps({"simulated": True, "captures": captures}))
    found = groves.count(tmp_path / "masks", flight=tmp_path / "flight.json")
    assert (len(found), found.simulated) == (len(truth), True)
    assert found.summary()["trees"] == len(truth)


def test_maps_are_counted_never_the_true_masks_beside_them(tmp_path):
    for folder, places in (("masks", [(60, 60), (60, 140)]), ("maps", [(60, 60)])):
        (tmp_path / folder).mkdir()
        Image.fromarray(discs((120, 200), places, 20)).save(tmp_path / folder / "a.png")
    assert len(groves.count(tmp_path / "maps", metres_per_pixel=METRES)) == 1


def test_the_masks_of_labelled_captures_are_read_by_their_colours(tmp_path):
    mask = discs((120, 200), [(60, 60), (60, 140)], 20)
    (tmp_path / "images").mkdir(), (tmp_path / "masks").mkdir()
    Image.fromarray(np.zeros((120, 200, 3), np.uint8)).save(tmp_path / "images" / "a.png")
    Image.fromarray(groves.CLASSES.paint(mask)).save(tmp_path / "masks" / "a.png")
    assert len(groves.count(tmp_path, metres_per_pixel=METRES)) == 2


def test_places_on_the_ground_are_not_held_against_pixels(tmp_path):
    found = groves.count(discs((120, 200), [(60, 60)], 20), metres_per_pixel=METRES)
    with pytest.raises(GroveError, match="counted without a flight"):
        found.score(tmp_path / "trees.geojson")


def test_a_transform_that_leads_nowhere_is_named(tmp_path):
    captures = [{"name": "a", "transform": [0, 0, 5, 0, 0, 5]}]
    (tmp_path / "flight.json").write_text(json.dumps({"captures": captures}))
    with pytest.raises(GroveError, match="transform of a leads to no ground"):
        groves.poses(tmp_path / "flight.json")


def test_a_capture_that_the_flight_does_not_know_is_named(flight):
    masks, poses, _ = flight
    del poses["capture_2"]
    with pytest.raises(GroveError, match="no capture capture_2"):
        groves.count(masks, flight=poses)


def test_a_file_that_is_no_flight_is_named(tmp_path):
    (tmp_path / "flight.json").write_text("{}")
    with pytest.raises(GroveError, match=r"flight\.json is no flight file"):
        groves.poses(tmp_path / "flight.json")


def test_a_pose_leads_to_the_ground_and_back():
    pose = Pose(0.05, 0.01, 3.0, 0.01, -0.05, 7.0)
    np.testing.assert_allclose(pose.image(*pose.ground(12.5, 40.0)), (12.5, 40.0))
    assert pose.metres == pytest.approx(np.hypot(0.05, 0.01))


@pytest.mark.parametrize("captures", ["[]", "{}"])
def test_a_flight_without_captures_is_named(tmp_path, captures):
    (tmp_path / "flight.json").write_text(f'{{"captures": {captures}}}')
    with pytest.raises(GroveError, match=r"flight\.json is no flight file"):
        groves.count({"a": np.zeros((8, 8), np.uint8)}, flight=tmp_path / "flight.json")


@pytest.mark.parametrize("place", ['["a", "b"]', "[[0, 0], [1, 0], [1, 1]]", "[1]", "null"])
def test_true_trees_that_are_no_points_are_named(tmp_path, place):
    feature = f'{{"geometry": {{"coordinates": {place}}}, "properties": {{"radius": 1}}}}'
    (tmp_path / "trees.geojson").write_text(f'{{"features": [{feature}]}}')
    found = groves.count({"a": np.zeros((8, 8), np.uint8)}, flight={"a": Pose.upright()})
    with pytest.raises(GroveError, match=r"trees\.geojson holds no trees: expected GeoJSON points"):
        found.score(tmp_path / "trees.geojson")


@pytest.mark.parametrize("transform", [[479000, 0.05, 0, 250000, 0, -0.05], [5e-7, 0, 32.8, 0, -5e-7, 2.26]])
def test_the_order_of_gdal_and_degrees_are_no_pose(tmp_path, transform):
    (tmp_path / "flight.json").write_text(json.dumps({"captures": [{"name": "a", "transform": transform}]}))
    with pytest.raises(GroveError, match="transform of a gives pixels of .* GDAL lists them as c, a, b, f, d, e"):
        groves.poses(tmp_path / "flight.json")


@pytest.mark.parametrize("metres", [-0.05, 0.0, 5e-7, np.nan, np.inf])
def test_pixels_without_a_size_are_refused(metres):
    with pytest.raises(GroveError, match="Expected metres_per_pixel of 0.0001 or more, in metres"):
        groves.count(np.ones((9, 9), np.uint8), metres_per_pixel=metres)


def test_a_capture_that_is_listed_twice_is_named(tmp_path):
    rows = [{"name": "a", "transform": [0.1, 0, x, 0, -0.1, 0]} for x in (0, 9)]
    (tmp_path / "flight.json").write_text(json.dumps({"captures": rows}))
    with pytest.raises(GroveError, match="lists the capture a more than once"):
        groves.poses(tmp_path / "flight.json")


@pytest.mark.parametrize(
    ("truth", "says"),
    [
        (pd.DataFrame({"x": [1.0], "y": [1.0]}), "lack the column 'radius'"),
        (np.array([[1.0, 1, 2], [np.nan, 1, 2]]), "1 of 2 trees have no place, or no radius above 0, first tree 2"),
        (np.array([[1.0, 1, 0]]), "no radius above 0"),
        (np.array([[32.8, 2.2, 1]]), "lie more than 10 km from the captures"),
    ],
)
def test_true_trees_that_cannot_be_compared_are_named(truth, says):
    counted = groves.count({"a": np.ones((40, 40), np.uint8)}, flight={"a": Pose.upright(0.1, 479_000, 250_000)})
    with pytest.raises(GroveError, match=says):
        counted.score(truth)
