"""The simulated grove: repeatable, exact, and too hard for thresholds."""

import hashlib
import itertools
import json
import shutil

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from arsetlib import cli, folders, groves, simulate
from arsetlib.simulate import groves_camera
from arsetlib.simulate.groves import DESCRIPTION
from arsetlib.simulate.groves import SIZE as FULL
from arsetlib.simulate.groves_scene import FINEST, OVERLAP, Grove

SIZE = (300, 400)
TINY = (96, 128)


@pytest.fixture(scope="module")
def grove(tmp_path_factory):
    """Four small captures, made by one process."""
    folder = tmp_path_factory.mktemp("grove") / "grove"
    return simulate.groves(folder, captures=4, size=SIZE, jobs=1, progress=False)


@pytest.fixture(scope="module")
def flight(grove):
    return json.loads((grove / "flight.json").read_text())


def read(grove, number):
    image = np.asarray(Image.open(grove / "images" / f"capture_{number:02d}.jpg"))
    return image, np.asarray(Image.open(grove / "masks" / f"capture_{number:02d}.png"))


def digest(folder):
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


# -- files


def test_same_seed_gives_same_bytes_whatever_the_number_of_processes(tmp_path):
    made = [
        simulate.groves(tmp_path / str(jobs), captures=2, size=TINY, seed=7, jobs=jobs, progress=False)
        for jobs in (1, 2)
    ]
    assert digest(made[0]) == digest(made[1])
    assert len(digest(made[0])) == 9


def test_other_seed_gives_another_grove(grove, tmp_path):
    other = simulate.groves(tmp_path / "g", captures=1, size=TINY, seed=2, jobs=1, progress=False)
    one = simulate.groves(tmp_path / "h", captures=1, size=TINY, seed=1, jobs=1, progress=False)
    assert (read(one, 1)[0] != read(other, 1)[0]).mean() > 0.5


def test_captures_are_rgb_and_masks_hold_class_numbers_in_the_classes_colours(grove):
    for number in range(1, 5):
        image, mask = read(grove, number)
        assert image.shape == (*SIZE, 3)
        assert mask.shape == SIZE
        assert set(np.unique(mask)) == {0, 1, 2}
    palette = Image.open(grove / "masks" / "capture_01.png").convert("RGB")
    assert np.array_equal(np.asarray(palette), groves.CLASSES.paint(mask := read(grove, 1)[1]))
    assert mask.dtype == np.uint8


def test_says_everywhere_that_it_is_simulated(grove, flight):
    assert (grove / "README.txt").read_text().startswith("SIMULATED")
    assert flight["simulated"] is True
    assert json.loads((grove / "trees.geojson").read_text())["simulated"] is True
    with Image.open(grove / "images" / "capture_01.jpg") as image, Image.open(grove / "masks/capture_01.png") as mask:
        assert image.info["comment"].decode() == DESCRIPTION == mask.info["Description"]
    assert "SIMULATED" in str(groves.check(grove))


def test_a_full_size_capture_is_of_3808_by_2912_pixels_at_16_mm():
    scene = Grove(1, 10, FULL, FINEST)
    assert scene.size == (2912, 3808)
    assert len(scene.poses) == 10
    assert 150 < len(scene.trees) < 600


# -- an interrupted run


def test_an_interrupted_run_never_looks_finished_and_goes_on(tmp_path, monkeypatch):
    whole = simulate.groves(tmp_path / "whole", captures=2, size=TINY, jobs=1, progress=False)
    see, out = groves_camera.see, tmp_path / "part"

    def fails_at_the_second(scene, pose, *ground):
        if pose.second:
            raise KeyboardInterrupt
        return see(scene, pose, *ground)

    monkeypatch.setattr(groves_camera, "see", fails_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        simulate.groves(out, captures=2, size=TINY, jobs=1, progress=False)
    assert folders.state(out) == "unfinished"
    assert not (out / "flight.json").exists()
    with pytest.raises(groves.GroveError, match="not finished"):
        groves.captures(out)
    monkeypatch.undo()
    simulate.groves(out, captures=2, size=TINY, jobs=1, progress=False)
    assert digest(out) == digest(whole)


def test_a_complete_grove_is_left_as_it_is(grove):
    before = {p: p.stat().st_mtime_ns for p in grove.rglob("*")}
    simulate.groves(grove, captures=4, size=SIZE, progress=False)
    assert {p: p.stat().st_mtime_ns for p in grove.rglob("*")} == before


def test_refuses_a_folder_with_something_else_or_other_parameters(grove, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="holds something else \\(mine.txt\\)"):
        simulate.groves(tmp_path, captures=1, size=TINY, progress=False)
    with pytest.raises(FileExistsError, match="captures \\(was 4, now 3\\)"):
        simulate.groves(grove, captures=3, size=SIZE, progress=False)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"seed": -1}, "seed"),
        ({"captures": 0}, "captures"),
        ({"captures": 101}, "captures"),
        ({"size": (10, 4000)}, "size"),
        ({"size": (300, 400, 3)}, "size"),
        ({"resolution": 5.0}, "resolution"),
        ({"jobs": 0}, "jobs"),
        ({"size": (4000, 4000), "resolution": 0.2}, "400 m"),
    ],
)
def test_names_a_parameter_out_of_range(wrong, says, tmp_path):
    with pytest.raises(groves.GroveError, match=says):
        simulate.groves(tmp_path / "g", **wrong, progress=False)
    assert not (tmp_path / "g").exists()


# -- one ground, many views


def pixel_of(capture, x, y):
    a, b, c, d, e, f = capture["transform"]
    return np.linalg.solve([[a, b], [d, e]], [x - c, y - f])


def test_consecutive_captures_overlap_by_about_80_percent(grove):
    found = groves.captures(grove)
    for one, other in itertools.pairwise(found):
        assert groves.ground_seen([one], [other]) == pytest.approx(OVERLAP, abs=0.06)


def test_the_same_ground_has_the_same_class_in_every_capture_that_shows_it(grove, flight):
    first, second = flight["captures"][:2]
    mask, other = read(grove, 1)[1], read(grove, 2)[1]
    rows, columns = np.mgrid[5 : SIZE[0] : 7, 5 : SIZE[1] : 7]
    a, b, c, d, e, f = first["transform"]
    x, y = a * (columns + 0.5) + b * (rows + 0.5) + c, d * (columns + 0.5) + e * (rows + 0.5) + f
    there = np.array([pixel_of(second, *p) for p in zip(x.ravel(), y.ravel(), strict=True)])
    j, i = there.T.astype(int)
    seen = (i >= 0) & (i < SIZE[0]) & (j >= 0) & (j < SIZE[1])
    assert seen.mean() > 0.7
    assert (mask[rows, columns].ravel()[seen] == other[i[seen], j[seen]]).mean() > 0.95


def test_crowns_lie_where_the_flight_says_and_their_areas_are_the_masks(grove, flight):
    trees = json.loads((grove / "trees.geojson").read_text())["features"]
    assert len(trees) > 5
    hits = []
    for tree in trees:
        for capture in flight["captures"]:
            if capture["name"] in tree["properties"]["captures"]:
                column, row = pixel_of(capture, *tree["geometry"]["coordinates"]).astype(int)
                mask = np.asarray(Image.open(grove / capture["mask"]))
                hits.append(mask[max(row - 6, 0) : row + 7, max(column - 6, 0) : column + 7].mean() > 0.3)
    assert len(hits) > len(trees)
    assert np.mean(hits) > 0.9
    for tree in trees:
        p = tree["properties"]
        assert p["area"] == pytest.approx(np.pi * p["radius"] ** 2, rel=0.01)
    areas = [t["properties"]["area"] for t in trees if t["properties"]["whole"]]
    assert max(areas) / np.median(areas) > 1.4  # of natural spread


def test_light_drifts_from_capture_to_capture(grove):
    means = [read(grove, k)[0].mean((0, 1)) for k in range(1, 5)]
    assert np.ptp([m.sum() for m in means]) > 2
    assert np.ptp([m[2] / m[0] for m in means]) > 0.002


def test_the_lens_darkens_the_corners():
    scene = Grove(1, 1, SIZE, 0.05)
    level = np.full((*scene.shape, 3), 150, np.uint8)
    image, _ = groves_camera.see(scene, scene.poses[0], level, level[..., 0])
    corners = np.mean(
        [image[i, j].mean() for i in (slice(30), slice(-30, None)) for j in (slice(30), slice(-30, None))]
    )
    assert 0.7 < corners / image[130:170, 180:220].mean() < 0.9


# -- how hard it is


def best_threshold(images, masks):
    """Highest mean IoU of any rule 'green and dark enough' over a range of thresholds, chosen on the answers."""
    total = images.sum(-1, dtype=np.float32) + 1
    green = ((2.0 * images[..., 1] - images[..., 0] - images[..., 2]) / total).ravel()
    bright, truth, best = (total / 3).ravel(), masks.ravel().astype(int), 0.0
    for least in np.linspace(-0.05, 0.2, 16):
        for most in np.arange(50, 180, 10):
            plant, dark = green > least, bright < most
            for guess in (
                np.where(plant, np.where(dark, 1, 2), 0),
                np.where(plant, np.where(dark, 2, 1), 0),
                np.where(dark, 1, np.where(plant, 2, 0)),
            ):
                counts = np.bincount(truth * 3 + guess, minlength=9).reshape(3, 3)
                both = np.diag(counts)
                best = max(best, float((both / (counts.sum(0) + counts.sum(1) - both)).mean()))
    return best


def test_no_excess_green_threshold_reaches_a_mean_iou_of_055(tmp_path):
    # A piece at the full resolution: what learners get, seen through a small window.
    folder = simulate.groves(tmp_path / "g", captures=2, size=(700, 1000), resolution=FINEST, jobs=1, progress=False)
    pairs = [read(folder, k) for k in (1, 2)]
    images, masks = (np.stack([p[k][::7, ::7] for p in pairs]) for k in (0, 1))
    shares = np.bincount(masks.ravel(), minlength=3) / masks.size
    assert shares.min() > 0.08
    assert 0.2 < best_threshold(images, masks) < 0.55


def test_crowns_differ_from_the_rest_in_texture(grove):
    image, mask = read(grove, 1)
    grey = image.mean(-1)
    rough = np.abs(np.diff(grey, axis=1))
    assert rough[mask[:, 1:] == 1].mean() > 1.3 * rough[mask[:, 1:] == 0].mean()


def test_the_command_makes_a_grove_that_the_checker_accepts(tmp_path):
    def arset(*words):
        return CliRunner().invoke(cli.app, list(map(str, words)))

    out = tmp_path / "g"
    size = ("--width", 256, "--height", 230)
    done = arset("simulate-groves", out, "--captures", 1, *size, "--jobs", 1, "--json")
    assert json.loads(done.stdout)["simulated"] is True
    done = arset("groves", "check", out, "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["labelled"] == 1
    shutil.copy(out / "images/capture_01.jpg", out / "images/extra.jpg")
    done = arset("groves", "check", out)
    assert done.exit_code == 1
    assert "extra.jpg has no mask" in done.stdout
