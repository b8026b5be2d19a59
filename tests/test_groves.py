"""Tiles: nothing is lost in cutting, nothing leaks in splitting, what does not fit is named."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from PIL import Image, ImageDraw

from arsetlib import groves, simulate
from arsetlib.groves import kernels, pictures

SIDE = 48


@pytest.fixture(scope="module")
def grove(tmp_path_factory):
    """Ten small captures of a simulated flight."""
    folder = tmp_path_factory.mktemp("tiles") / "grove"
    return simulate.groves(folder, captures=10, size=(150, 200), jobs=1, progress=False)


@pytest.fixture(scope="module")
def captures(grove):
    return groves.captures(grove)


@pytest.fixture
def pair():
    """A small image and its mask."""
    rng = np.random.default_rng(5)
    return rng.integers(0, 256, (60, 80, 3), np.uint8), rng.integers(0, 3, (60, 80), np.uint8)


def save(array, path, mode=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array, mode).save(path)
    return path


def folder_of(tmp_path, pair, mask_name="a.png"):
    save(pair[0], tmp_path / "images" / "a.png")
    save(pair[1], tmp_path / "masks" / mask_name)
    return tmp_path


# -- cut and stitch


shapes = st.tuples(st.integers(8, 40), st.integers(8, 40))
anything = st.one_of(
    arrays_of.arrays(np.uint8, shapes),
    shapes.flatmap(lambda s: arrays_of.arrays(np.uint8, (*s, 3))),
    shapes.flatmap(lambda s: arrays_of.arrays(np.float32, (*s, 2), elements=st.floats(-1e6, 1e6, width=32))),
)


@given(anything, st.integers(1, 8), st.integers(0, 7))
@settings(max_examples=60, deadline=None)
def test_stitching_what_was_cut_gives_it_back_to_the_bit(array, size, overlap):
    again = groves.stitch(groves.cut(array, size, overlap=min(overlap, size - 1)))
    assert again.dtype == array.dtype
    assert np.array_equal(again, array)


@given(anything, st.tuples(st.integers(1, 6), st.integers(1, 7)), st.integers(0, 2))
@settings(max_examples=60, deadline=None)
def test_a_grid_of_tiles_stitches_back_too(array, grid, overlap):
    cut = groves.cut(array, grid=grid, overlap=overlap)
    assert len(cut) == grid[0] * grid[1]
    assert np.array_equal(groves.stitch(cut), array)


@given(shapes, st.integers(2, 8), st.integers(0, 7))
@settings(max_examples=60, deadline=None)
def test_neighbouring_tiles_share_at_least_the_overlap(shape, size, overlap):
    overlap = min(overlap, size - 1)
    rows, columns, _ = groves.places(shape, size, overlap=overlap)
    for starts, n in ((np.unique(rows), shape[0]), (np.unique(columns), shape[1])):
        assert starts[0] == 0
        assert starts[-1] == n - size
        assert (np.diff(starts) <= size - overlap).all()


def test_cuts_35_tiles_of_a_capture_as_the_thesis_did():
    cut = groves.cut(np.zeros((2912, 3808), np.uint8))
    assert len(cut) == 35
    assert cut.values.shape[1:] == (583, 544)
    assert len(groves.cut(np.zeros((2912, 3808), np.uint8), 224)) == 13 * 17


def test_probabilities_blend_from_one_tile_into_the_next():
    cut = groves.cut(np.zeros((20, 30), np.float32), 20, overlap=10)
    line = groves.stitch(cut.with_values(np.stack([np.zeros((20, 20)), np.ones((20, 20))]).astype(np.float32)))[4]
    assert line[:10].max() == 0
    assert line[20:].min() == 1
    assert (np.diff(line[9:21]) > 0).all()


def test_stitch_takes_what_a_model_says_of_each_tile(pair):
    cut = groves.cut(pair[1], 20, overlap=6)
    said = np.eye(3, dtype=np.float32)[cut.values]
    assert np.array_equal(groves.stitch(cut.with_values(said)).argmax(-1), pair[1])
    with pytest.raises(groves.GroveError, match="tile's own size"):
        cut.with_values(said[:, ::2])


def test_an_image_smaller_than_a_tile_is_refused(pair):
    with pytest.raises(groves.GroveError, match="80 × 60 pixels, a tile 224 × 224"):
        groves.cut(pair[0], 224)
    with pytest.raises(groves.GroveError, match="overlap"):
        groves.cut(pair[0], 20, overlap=20)


# -- augment


def test_image_and_mask_are_moved_together(pair):
    image = np.repeat(pair[1][..., None] * 60, 3, axis=-1).astype(np.uint8)[:60, :60]
    how = groves.Augment(brightness=(1, 1), contrast=(1, 1))
    for key in range(20):
        new, mask = groves.augment(image, pair[1][:60, :60], seed=1, how=how, key=key)
        assert np.array_equal(new[..., 0], mask * 60)
    assert new.dtype == np.uint8


def test_all_eight_positions_come_about_equally_often():
    tile = np.arange(9, dtype=np.uint8).reshape(3, 3, 1) * 20
    how = groves.Augment(brightness=(1, 1), contrast=(1, 1))
    batch = np.repeat(tile[None], 2000, axis=0)
    new, _ = groves.augment(batch, seed=3, how=how)
    kinds, counts = np.unique(new.reshape(2000, -1), axis=0, return_counts=True)
    assert len(kinds) == 8
    assert counts.min() > 150


def test_light_stays_within_its_bounds():
    how = groves.Augment(flips=False, turns=False, brightness=(0.9, 1.1), contrast=(1, 1))
    grey = np.full((500, 2, 2, 3), 0.4, np.float32)
    new, _ = groves.augment(grey, seed=1, how=how)
    assert 0.36 <= new.min() < 0.37
    assert 0.43 < new.max() <= 0.4401


def test_the_same_seed_and_key_give_the_same_changes_in_any_batch(pair):
    batch = np.stack([pair[0], pair[0][::-1]])
    whole, _ = groves.augment(batch, seed=9, key=4)
    assert np.array_equal(whole[1], groves.augment(batch[1], seed=9, key=5)[0])
    assert not np.array_equal(whole[1], groves.augment(batch[1], seed=8, key=5)[0])


def test_refuses_light_out_of_range_and_masks_of_another_size(pair):
    with pytest.raises(groves.GroveError, match="brightness"):
        groves.Augment(brightness=(2, 1))
    with pytest.raises(groves.GroveError, match="mask of the image's size"):
        groves.augment(pair[0], pair[1][:10])


# -- layouts


def test_reads_class_numbers_palettes_colours_and_three_equal_bands_alike(tmp_path, pair):
    image, mask = pair
    palette = Image.fromarray(mask).convert("P")
    palette.putpalette([v for c in groves.CLASSES.rgb.tolist() for v in c])
    turned = Image.fromarray((2 - mask).astype(np.uint8)).convert("P")
    turned.putpalette([v for c in groves.CLASSES.rgb[::-1].tolist() for v in c])
    kinds = {
        "number": Image.fromarray(mask),
        "palette": palette,
        "turned": turned,
        "colours": Image.fromarray(groves.CLASSES.paint(mask)),
        "opaque": Image.fromarray(groves.CLASSES.paint(mask)).convert("RGBA"),
        "equal": Image.fromarray(np.repeat(mask[..., None], 3, axis=-1)),
    }
    (tmp_path / "masks").mkdir()
    for name, picture in kinds.items():
        save(image, tmp_path / "images" / f"{name}.png")
        picture.save(tmp_path / "masks" / f"{name}.png")
    found = groves.captures(tmp_path)
    assert [c.name for c in found] == sorted(kinds)
    for capture in found:
        pixels, numbers = groves.read(capture)
        assert np.array_equal(pixels, image)
        assert np.array_equal(numbers, mask), capture.name
    assert groves.check(tmp_path, size=48).ok


def test_reads_images_with_masks_beside_them(tmp_path, pair):
    save(pair[0], tmp_path / "a.png")
    save(groves.CLASSES.paint(pair[1]), tmp_path / "a_mask.png")
    (capture,) = groves.captures(tmp_path)
    assert capture.layout == "beside"
    assert np.array_equal(groves.read(capture)[1], pair[1])


def test_reads_the_two_folders_of_keras_segmentation(tmp_path, pair):
    for side in ("train", "test"):
        save(pair[0], tmp_path / f"images_prepped_{side}" / "a.png")
        save(pair[1], tmp_path / f"annotations_prepped_{side}" / "a.png")
    found = groves.captures(tmp_path)
    assert [c.name for c in found] == ["prepped_test/a", "prepped_train/a"]
    assert np.array_equal(groves.read(found[0])[1], pair[1])


def outline_mask():
    mask = np.zeros((60, 80), np.uint8)
    mask[10:30, 20:50] = 1
    mask[40:50, 5:15] = 2
    return mask


def test_reads_labelme_polygons_and_rectangles(tmp_path, pair):
    save(pair[0], tmp_path / "a.png")
    shapes = [
        {"label": "tree", "shape_type": "polygon", "points": [[20, 10], [50, 10], [50, 30], [20, 30]]},
        {"label": "grass", "shape_type": "rectangle", "points": [[5, 40], [15, 50]]},
    ]
    text = {"imagePath": "a.png", "imageHeight": 60, "imageWidth": 80, "shapes": shapes, "imageData": None}
    (tmp_path / "a.json").write_text(json.dumps(text))
    (capture,) = groves.captures(tmp_path)
    assert capture.layout == "labelme"
    assert (groves.read(capture)[1] != outline_mask()).mean() < 0.02
    shapes[0]["label"] = "olive"
    (tmp_path / "a.json").write_text(json.dumps(text))
    with pytest.raises(groves.GroveError, match=r"a\.json has the label 'olive'"):
        groves.read(capture)


def coco(tmp_path, pair, segmentation, **image):
    save(pair[0], tmp_path / "images" / "a.png")
    text = {
        "images": [{"id": 7, "file_name": "a.png", "height": 60, "width": 80} | image],
        "categories": [{"id": 3, "name": "tree"}, {"id": 4, "name": "grass"}],
        "annotations": [{"image_id": 7, "category_id": 3, "segmentation": s} for s in segmentation],
    }
    (tmp_path / "labels.json").write_text(json.dumps(text))
    return tmp_path


def test_reads_coco_polygons_and_run_lengths_alike(tmp_path, pair):
    truth = outline_mask() == 1
    flat = truth.T.ravel()
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff([0, *edges, flat.size]).tolist()
    one = coco(tmp_path / "runs", pair, [{"size": [60, 80], "counts": runs}])
    (capture,) = groves.captures(one)
    assert capture.layout == "coco"
    assert np.array_equal(groves.read(capture)[1] == 1, truth)
    two = coco(tmp_path / "polygon", pair, [[[20, 10, 50, 10, 50, 30, 20, 30]]])
    assert ((groves.read(groves.captures(two)[0])[1] == 1) != truth).mean() < 0.02


@pytest.mark.parametrize(
    ("segmentation", "image", "says"),
    [
        ([{"size": [60, 80], "counts": "Zk01"}], {}, "compressed RLE"),
        ([{"size": [60, 80], "counts": [5, 6]}], {}, "add up"),
        ([[[1, 2, 3, "x"]]], {}, "no list of x, y pairs"),
        ([], {"height": 61}, "80 × 61"),
    ],
)
def test_coco_that_cannot_be_read_is_named(tmp_path, pair, segmentation, image, says):
    folder = coco(tmp_path, pair, segmentation, **image)
    with pytest.raises(groves.GroveError, match=says):
        groves.read(groves.captures(folder)[0])
    assert not groves.check(folder, size=48).ok


def test_annotations_reach_no_file_outside_of_their_folder(tmp_path, pair):
    save(pair[0], tmp_path / "secret.png")
    with pytest.raises(groves.GroveError, match="outside of"):
        groves.captures(coco(tmp_path / "in", pair, [], file_name="../secret.png"))


def test_a_folder_of_no_known_layout_names_those_that_are(tmp_path):
    with pytest.raises(groves.GroveError, match="keras-segmentation: images"):
        groves.captures(tmp_path)
    with pytest.raises(groves.GroveError, match="is no folder"):
        groves.captures(tmp_path / "none")


def test_classes_come_from_a_file_beside_the_images(tmp_path, pair):
    folder = folder_of(tmp_path, (pair[0], np.minimum(pair[1], 1)))
    lines = ['[classes.soil]\ncolour = "#000000"\n', '[classes.vine]\nname = {en = "Vine"}\ncolour = "#ff0000"\n']
    (folder / "classes.toml").write_text("\n".join(lines))
    assert set(groves.check(folder, size=48).share) == {"soil", "vine"}
    assert groves.Classes.load(folder / "classes.toml").titles() == ("soil", "Vine")
    (folder / "classes.toml").write_text("[classes.soil]")
    with pytest.raises(groves.GroveError, match="no file of classes"):
        groves.check(folder)


def test_captures_come_in_the_order_of_their_numbers(tmp_path, pair):
    for number in (10, 9, 100):
        save(pair[0], tmp_path / f"image_{number}.png")
    assert [c.name for c in groves.captures(tmp_path)] == ["image_9", "image_10", "image_100"]


def test_a_picture_is_turned_as_its_camera_was_held(tmp_path, pair):
    held = Image.Exif()
    held[pictures.ORIENTATION] = 6
    Image.fromarray(pair[0]).save(tmp_path / "a.png", exif=held)
    (capture,) = groves.captures(tmp_path)
    assert pictures.size_of(capture.image) == (80, 60)
    assert np.array_equal(groves.read(capture)[0], np.rot90(pair[0], -1))


# -- wrong input


def problem_of(folder):
    report = groves.check(folder, size=48)
    assert not report.ok
    return str(report)


def test_names_image_and_mask_of_different_size(tmp_path, pair):
    folder = folder_of(tmp_path, (pair[0], pair[1][:50]))
    said = problem_of(folder)
    assert "a.png has 80 × 50 pixels, its image a.png has 80 × 60" in said
    assert "Nothing is resized" in said


def test_names_anti_aliased_colours_with_a_count_and_a_pixel(tmp_path, pair):
    big = Image.new("RGB", (320, 240), groves.CLASSES.colours[0])
    ImageDraw.Draw(big).ellipse((60, 60, 200, 200), fill=groves.CLASSES.colours[1])
    save(np.asarray(big.resize((80, 60), Image.Resampling.LANCZOS)), tmp_path / "masks" / "a.png")
    save(pair[0], tmp_path / "images" / "a.png")
    said = problem_of(tmp_path)
    assert "colour(s) of no class: #" in said
    assert "first at column" in said
    assert "anti-aliasing" in said


def test_names_one_unknown_colour(tmp_path, pair):
    painted = groves.CLASSES.paint(pair[1])
    painted[12, 34] = (1, 2, 3)
    said = problem_of(folder_of(tmp_path, (pair[0], painted)))
    assert "1 colour(s) of no class: #010203 (1 pixels, first at column 34, row 12)" in said


def test_names_an_unknown_class_number_and_keeps_what_is_ignored(tmp_path, pair):
    mask = pair[1].copy()
    mask[0, :5] = 255
    folder = folder_of(tmp_path, (pair[0], mask))
    assert np.array_equal(groves.read(groves.captures(folder)[0])[1], mask)
    mask[3, 4] = 9
    assert "class number 9 (1 pixels, first at column 4, row 3)" in problem_of(folder_of(tmp_path, (pair[0], mask)))


@pytest.mark.parametrize("keep", [20, 100, 0.6])
def test_names_a_corrupt_png(tmp_path, pair, keep):
    folder = folder_of(tmp_path, pair)
    file = folder / "masks" / "a.png"
    whole = file.read_bytes()
    file.write_bytes(whole[: keep if keep > 1 else int(keep * len(whole))])
    assert str(file) in problem_of(folder)


def test_names_images_without_masks_masks_without_images_and_small_images(tmp_path, pair):
    folder = folder_of(tmp_path, pair, mask_name="b.png")
    said = str(groves.check(folder))
    assert "a.png has no mask" in said
    assert "b.png belongs to no image" in said
    assert "smaller than a tile (224)" in said


def test_refuses_a_fourth_band_and_grey_images(tmp_path, pair):
    rgba = np.dstack([pair[0], np.full((60, 80), 90, np.uint8)])
    with pytest.raises(groves.GroveError, match=r"a\.png has 4 bands, expected 3"):
        groves.read(groves.captures(folder_of(tmp_path / "1", (rgba, pair[1])))[0])
    with pytest.raises(groves.GroveError, match="mode L"):
        groves.read(groves.captures(folder_of(tmp_path / "2", (pair[1], pair[1])))[0])


def test_refuses_a_picture_that_would_fill_the_memory(tmp_path, pair, monkeypatch):
    monkeypatch.setattr(pictures, "MOST_PIXELS", 1000)
    with pytest.raises(groves.GroveError, match="more than 1,000"):
        groves.read(groves.captures(folder_of(tmp_path, pair))[0])
    Image.new("1", (20_000, 10_000)).save(tmp_path / "images" / "b.png")
    with pytest.raises(groves.GroveError, match=r"b\.png"):
        groves.read(groves.captures(tmp_path)[1])


# -- split


def test_no_capture_and_so_no_tile_or_copy_is_on_two_sides(captures):
    with pytest.warns(groves.LeakWarning, match="by='flight'"):
        sides = groves.split(captures, seed=4)
    names = [c.name for side in sides.values() for c in side]
    assert {s: len(c) for s, c in sides.items()} == {"train": 8, "validation": 1, "test": 1}
    assert sorted(names) == [c.name for c in captures]


def test_by_flight_no_ground_is_on_two_sides(captures):
    sides = groves.split(captures, (0.8, 0, 0.2), by="flight")
    assert groves.ground_seen(sides["train"], sides["test"]) == 0
    assert len(sides["train"]) >= 3
    allowed = groves.split(captures, by="flight", allowed=0.3)
    assert set(allowed) == {"train", "validation", "test"}
    for side in ("validation", "test"):
        assert groves.ground_seen(allowed["train"], allowed[side]) < 0.35
    with pytest.raises(groves.GroveError, match="too few for 3 sides"):
        groves.split(captures, by="flight")


def test_by_flight_without_a_flight_file_takes_an_overlap_of_80_percent(captures):
    bare = [groves.Capture(c.name, Path("/nowhere") / c.image.name, c.mask) for c in captures]
    sides = groves.split(bare, (0.8, 0, 0.2), by="flight")
    assert [len(side) for side in sides.values()] == [5, 1]
    assert groves.ground_seen(bare[:1], bare[1:2]) is None


def test_the_leaky_split_says_so_and_puts_copies_of_a_tile_on_both_sides(captures):
    with pytest.warns(groves.LeakWarning, match="copies of a training tile"):
        sides = groves.leaky_split(captures, seed=1)
    assert {s: len(d) for s, d in sides.items()} == {"train": 1120, "validation": 140, "test": 140}
    train = set(zip(sides["train"].capture, sides["train"].tile, strict=True))
    assert np.mean([pair in train for pair in zip(sides["test"].capture, sides["test"].tile, strict=True)]) > 0.9


def test_refuses_shares_that_do_not_add_up(captures):
    with pytest.raises(groves.GroveError, match="sum 1"):
        groves.split(captures, (0.8, 0.1, 0.2))
    with pytest.raises(groves.GroveError, match="at least 3"):
        groves.split(captures[:2])


# -- batches


def same(one, other):
    return all(np.array_equal(a, b) for x, y in zip(one, other, strict=True) for a, b in zip(x, y, strict=True))


def test_batches_are_what_reading_cutting_and_counting_by_hand_gives(captures):
    x, y = next(groves.arrays(captures, size=SIDE, batch=5))
    image, mask = groves.read(captures[0])
    assert x.dtype == y.dtype == np.float32
    assert np.array_equal(x, groves.cut(image, SIDE).values[:5].astype(np.float32) / 255)
    assert np.array_equal(y.argmax(-1), groves.cut(mask, SIDE).values[:5])
    assert (y.sum(-1) == 1).all()


def test_an_epoch_shows_each_tile_once_in_another_order_each_time(captures):
    loader = groves.TileBatches(captures[:3], size=SIDE, batch=7, shuffle=True, seed=2)
    sums = [np.concatenate([x.sum((1, 2, 3)) for x, _ in loader.arrays(epoch)]) for epoch in (0, 1)]
    assert len(sums[0]) == 3 * len(groves.places((150, 200), SIDE)[0]) == len(loader.tile)
    assert not np.array_equal(*sums)
    assert np.array_equal(*(np.sort(s) for s in sums))


@pytest.mark.parametrize("cache", ["memory", "none", "disk"])
def test_a_capture_is_decoded_once_and_every_way_of_keeping_it_gives_the_same_tiles(captures, cache, tmp_path):
    options = {"size": SIDE, "batch": 8, "augment": True, "seed": 3, "pool": 2}
    loader = groves.TileBatches(captures[:6], cache=tmp_path / "tiles" if cache == "disk" else cache, **options)
    made = list(loader.arrays(0))
    assert loader.cache.decodings == 6
    if cache != "none":
        assert same(made, groves.arrays(captures[:6], **options))
    if cache == "disk":
        again = groves.TileBatches(captures[:6], cache=tmp_path / "tiles", **options)
        assert same(made, again.arrays(0))
        assert again.cache.decodings == 0


def test_numpy_and_the_compiled_kernel_give_the_same_bits(captures, monkeypatch):
    if kernels._compiled() is None:
        pytest.skip("Numba is not installed")
    options = {"size": SIDE, "batch": 16, "augment": True, "seed": 5}
    made = list(groves.arrays(captures[:3], **options))
    monkeypatch.setattr(kernels, "_compiled", lambda: None)
    assert same(made, groves.arrays(captures[:3], **options))


def test_tiles_of_a_grid_are_resampled(captures):
    x, y = next(groves.arrays(captures, size=32, grid=(2, 2), batch=4))
    image, mask = groves.read(captures[0])
    assert x.shape == (4, 32, 32, 3)
    assert x.mean() == pytest.approx(image.mean() / 255, abs=0.01)
    assert y.mean((0, 1, 2)) == pytest.approx(np.bincount(mask.ravel(), minlength=3) / mask.size, abs=0.03)


def test_ignored_pixels_are_of_no_class(tmp_path, pair):
    pair[1][0, 1] = groves.IGNORE
    _, hot = next(groves.arrays(groves.captures(folder_of(tmp_path, pair)), size=60, batch=1))
    assert hot[0, 0, 1].tolist() == [0, 0, 0]
    assert (hot[0].sum(-1) == 1).sum() == 60 * 60 - 1


def test_leaky_tiles_make_batches_of_their_copies(captures):
    with pytest.warns(groves.LeakWarning):
        tiles = groves.leaky_split(captures[:2], (1, 0, 0), size=SIDE)["train"]
    x, y = next(groves.arrays(tiles, size=SIDE, batch=4))
    assert np.array_equal(x[1], x[0][:, ::-1])
    assert np.array_equal(x[2], x[0][::-1])
    assert not np.array_equal(x[3], x[0])
    assert np.array_equal(y[3], y[0])
    with pytest.raises(groves.GroveError, match="split at size"):
        groves.TileBatches(tiles, size=32)


def test_names_captures_that_cannot_be_trained_on(tmp_path, pair, captures):
    folder = folder_of(tmp_path, pair, mask_name="b.png")
    with pytest.raises(groves.GroveError, match=r"a\.png has no mask"):
        groves.TileBatches(groves.captures(folder), size=32)
    with pytest.raises(groves.GroveError, match=r"capture_01\.jpg has 200 × 150 pixels, a tile 224"):
        groves.TileBatches(captures)
    with pytest.raises(groves.GroveError, match="from 1"):
        groves.TileBatches([], size=32)


def test_the_data_set_gives_the_batches_of_the_arrays_whatever_the_threads(captures):
    import tensorflow as tf

    options = {"size": SIDE, "batch": 16, "augment": True, "seed": 3}
    data = groves.batches(captures[:5], **options)
    assert data.element_spec[0].shape.as_list() == [None, SIDE, SIDE, 3]
    assert data.element_spec[1].shape.as_list() == [None, SIDE, SIDE, 3]
    loader = groves.TileBatches(captures[:5], **options)
    assert int(data.cardinality()) == len(loader)
    for epoch in range(2):
        assert same(loader.arrays(epoch), [tuple(v.numpy() for v in pair) for pair in data])
    one = tf.data.Options()
    one.threading.private_threadpool_size = 1
    again = [tuple(v.numpy() for v in pair) for pair in groves.batches(captures[:5], **options).with_options(one)]
    assert same(loader.arrays(0), again)


def test_importing_tiles_loads_neither_tensorflow_nor_pillow():
    heavy = ("tensorflow", "keras", "PIL", "pyspark")
    code = f"import sys, arsetlib.groves; print(*[m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
