"""Masks that may mean something else are read rightly or refused; never taken for ground."""

import base64
import io
import json
import re
import unicodedata
from dataclasses import replace

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from rasterio.transform import from_origin

from arsetlib import fields, filetypes, groves
from arsetlib.fields.layout import opened
from arsetlib.groves import coco, layouts, masks, pictures

SIDE = 64
SQUARE = [[10, 10], [40, 10], [40, 40], [10, 40]]
BLACK_AND_WHITE = '[classes.ground]\ncolour = "#000000"\n[classes.tree]\ncolour = "#ffffff"\n'
ELLIPSE = 'boxes = "ellipse"\n[classes.ground]\ncolour = "#c49a6c"\n[classes.tree]\ncolour = "#006633"\n'


@pytest.fixture
def truth():
    """Trees on the left, grass on top, ground elsewhere."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[:, :20] = 1
    mask[:10] = 2
    return mask


@pytest.fixture
def rgb():
    return np.random.default_rng(1).integers(0, 255, (SIDE, SIDE, 3), np.uint8)


def saved(what, path, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    (what if isinstance(what, Image.Image) else Image.fromarray(what)).save(path, **options)
    return path


def folder(tmp_path, rgb, mask, name="a.png", **options):
    saved(rgb, tmp_path / "images" / "a.png")
    saved(mask, tmp_path / "masks" / name, **options)
    return tmp_path


def palette(numbers, colours):
    picture = Image.fromarray(numbers).convert("P")
    picture.putpalette([v for colour in colours for v in colour])
    return picture


def mask_in(place):
    return groves.read(groves.captures(place)[0])[1]


def said(place):
    """What check says of a folder with a problem."""
    report = groves.check(place, size=32)
    assert not report.ok
    assert str(report).count("No problem found") == 0
    return str(report)


# -- numbers and colours -----------------------------------------------------------------------------------------------


@given(st.permutations([0, 1, 2]), st.sampled_from([0, 1, 2]))
@settings(max_examples=12, deadline=None)
def test_a_palette_is_read_by_its_colours_in_any_order_even_rounded(tmp_path_factory, order, off):
    truth = np.random.default_rng(3).integers(0, 3, (SIDE, SIDE), np.uint8)
    colours = np.zeros((3, 3), int)
    colours[list(order)] = groves.CLASSES.rgb
    colours[0] = np.minimum(colours[0] + off, 255)
    place = tmp_path_factory.mktemp("palette")
    file = saved(palette(np.array(order, np.uint8)[truth], colours.tolist()), place / "a.png")
    assert np.array_equal(masks.read_mask(file, groves.CLASSES), truth)


def test_palettes_whose_colours_mean_nothing_are_read_by_number_and_others_refused(tmp_path, truth):
    for known in (masks.GREYS, masks.voc_palette()):
        file = saved(palette(truth, known[:3].tolist()), tmp_path / "a.png")
        assert np.array_equal(masks.read_mask(file, groves.CLASSES), truth)
    file = saved(palette(truth, [(0, 0, 0), (0, 255, 0), (9, 9, 99)]), tmp_path / "a.png")
    with pytest.raises(groves.GroveError, match="palette of other colours"):
        masks.read_mask(file, groves.CLASSES)
    mixed = [groves.CLASSES.rgb[0].tolist(), (255, 0, 0), groves.CLASSES.rgb[2].tolist()]
    with pytest.raises(groves.GroveError, match=r"1 of no class: #ff0000"):
        masks.read_mask(saved(palette(truth, mixed), tmp_path / "a.png"), groves.CLASSES)


def white(truth, kind):
    tree = truth == 1
    grey = (tree * 255).astype(np.uint8)
    return {
        "grey": grey,
        "1 bit": tree,
        "palette": palette(tree.astype(np.uint8), [(0, 0, 0), (255, 255, 255)]),
        "reversed palette": palette((~tree).astype(np.uint8), [(255, 255, 255), (0, 0, 0)]),
        "rgb": np.repeat(grey[..., None], 3, axis=-1),
    }[kind]


@pytest.mark.parametrize("kind", ["grey", "1 bit", "palette", "reversed palette", "rgb"])
def test_black_and_white_is_refused_until_the_classes_say_that_white_is_tree(tmp_path, rgb, truth, kind):
    place = folder(tmp_path, rgb, white(truth, kind))
    assert "holds only 0 and 255" in said(place)
    (place / "classes.toml").write_text(BLACK_AND_WHITE)
    assert groves.check(place, size=32).share["tree"] == pytest.approx((truth == 1).mean())
    assert np.array_equal(mask_in(place), truth == 1)


def test_255_is_ignored_where_another_mask_of_the_folder_has_class_numbers(tmp_path, rgb, truth):
    place = folder(tmp_path, rgb, (truth == 1).astype(np.uint8) * 255)
    saved(rgb, place / "images" / "b.png")
    saved(truth, place / "masks" / "b.png")
    report = groves.check(place, size=32)
    assert report.ok
    assert report.ignored == pytest.approx((truth == 1).mean() / 2)
    assert "is ignored" in str(report)


def test_numbers_that_start_at_1_are_refused_and_vegetation_beside_ground_is_not(tmp_path, rgb, truth):
    assert "start at 1" in said(folder(tmp_path / "three", rgb, truth + 1))
    place = folder(tmp_path / "two", rgb, np.minimum(truth, 1) + 1)
    assert "no 0 (ground)" in said(place)
    saved(rgb, place / "images" / "b.png")
    saved(truth, place / "masks" / "b.png")
    assert groves.check(place, size=32).ok


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_whole_numbers_of_other_types_are_read_and_others_refused(tmp_path, rgb, truth, dtype):
    place = folder(tmp_path, rgb, truth.astype(dtype), "a.tif")
    assert np.array_equal(mask_in(place), truth)
    odd = truth.astype(dtype)
    odd[3, 4] = 0.5 if dtype == np.float32 else 300
    folder(tmp_path, rgb, odd, "a.tif")
    assert "first at column 4, row 3" in said(place)


@pytest.mark.parametrize("band", [0, 2])
@pytest.mark.parametrize("form", ["colours", "palette"])
def test_class_numbers_in_one_band_of_three_are_not_all_black(tmp_path, rgb, truth, band, form):
    colours = np.zeros((3, 3), np.uint8)
    colours[:, band] = range(3)
    place = folder(tmp_path, rgb, colours[truth] if form == "colours" else palette(truth, colours.tolist()))
    (place / "classes.toml").write_text(BLACK_AND_WHITE + '[classes.grass]\ncolour = "#00ff00"\n')
    assert f"values of 0 to 2 in its {('red', 'green', 'blue')[band]} band" in said(place)


def test_numbers_of_two_bits_are_not_taken_for_grey_levels(tmp_path, rgb, truth):
    place = folder(tmp_path, rgb, palette(truth, masks.GREYS[:3].tolist()), bits=2)
    assert np.array_equal(mask_in(place), truth)


def test_a_mask_saved_with_losses_is_refused(tmp_path, rgb, truth):
    assert "saved with losses" in said(folder(tmp_path / "1", rgb, truth, "a.jpg", quality=100))
    assert "saved with losses" in said(folder(tmp_path / "2", rgb, groves.CLASSES.paint(truth), "a.webp", quality=90))
    place = folder(tmp_path / "3", rgb, groves.CLASSES.paint(truth), "a.webp", lossless=True)
    assert np.array_equal(mask_in(place), truth)


def test_colours_of_16_bits_are_refused_since_their_low_half_would_be_lost(tmp_path, rgb, truth):
    rasterio = pytest.importorskip("rasterio")
    place = folder(tmp_path, rgb, truth)
    shape = {"driver": "PNG", "width": SIDE, "height": SIDE, "count": 3, "dtype": "uint16"}
    with (
        pytest.warns(rasterio.errors.NotGeoreferencedWarning),
        rasterio.open(place / "masks/a.png", "w", **shape) as out,
    ):
        out.write(np.repeat(truth[None], 3, axis=0).astype(np.uint16))
    assert "16 bits" in said(tmp_path)


def test_check_names_classes_that_never_occur(tmp_path, rgb, truth):
    report = groves.check(folder(tmp_path, rgb, np.zeros_like(truth)), size=32)
    assert report.absent == ["tree", "grass"]
    assert "All pixels are ground" in str(report)
    assert "No problem found" not in str(report)


def test_loaders_take_the_classes_of_the_folder(tmp_path, rgb, truth):
    place = folder(tmp_path, rgb, white(truth, "grey"))
    (place / "classes.toml").write_text(BLACK_AND_WHITE)
    _, hot = next(groves.arrays(groves.captures(place), size=SIDE, batch=1))
    assert np.array_equal(hot[0].argmax(-1), truth == 1)


# -- outlines ----------------------------------------------------------------------------------------------------------


def labelme(place, rgb, shapes, **more):
    saved(rgb, place / "a.png")
    text = {"imagePath": "a.png", "imageHeight": SIDE, "imageWidth": SIDE, "shapes": shapes} | more
    (place / "a.json").write_text(json.dumps(text))
    return place


def encoded(mask):
    out = io.BytesIO()
    Image.fromarray(mask).save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode()


def test_labelme_polygons_rectangles_and_masks_are_the_same_square(tmp_path, rgb):
    square = np.zeros((SIDE, SIDE), bool)
    square[10:40, 10:40] = True
    part = encoded(np.full((30, 30), 255, np.uint8))
    for shape in (
        {"points": SQUARE},
        {"points": SQUARE, "shape_type": "rectangle"},
        {"points": [[10, 10], [40, 40]], "shape_type": "rectangle"},
        {"points": [[10, 10], [39, 39]], "shape_type": "mask", "mask": part},
    ):
        made = mask_in(labelme(tmp_path, rgb, [{"label": "Tree"} | shape]))
        assert ((made == 1) != square).sum() <= 120, shape  # an outline's border is a pixel wide


@pytest.mark.parametrize(
    ("shapes", "more", "says"),
    [
        (None, {}, "None as 'shapes'"),
        ([], {}, "No file in .* has an outline"),
        ([{"label": "tree", "points": SQUARE}], {"imagePath": "b.png"}, "drawn on 'b.png'"),
        ([{"label": "tree", "points": SQUARE}], {"imageHeight": 99}, "64 × 99"),
        ([{"label": "palm", "points": SQUARE}], {}, "'palm'.*Known"),
        ([{"label": "tree", "points": (np.array(SQUARE) / 64).tolist()}], {}, "shares from 0 to 1"),
        ([{"label": "tree", "points": (np.array(SQUARE) + 500).tolist()}], {}, "outside of the image"),
        ([{"label": "tree", "points": [[1, 1], [5, 5], [9, 9]]}], {}, "without an area"),
        ([{"label": "tree", "points": SQUARE, "shape_type": "linestrip"}], {}, "linestrip of 4"),
        ([{"label": "tree", "points": [[5, 5]], "shape_type": "point"}], {}, "point of 1"),
        ([{"label": "tree", "points": SQUARE, "shape_type": "mask", "mask": "zz"}], {}, "cannot be read"),
        ([{"label": "tree", "points": SQUARE, "shape_type": "circle"}], {}, "circle of 4"),
        ([{"label": "tree"}], {}, "no list of x, y pairs"),
        (["tree"], {}, "expected a list of shapes"),
    ],
)
def test_labelme_that_is_none_is_named(tmp_path, rgb, shapes, more, says):
    import re

    assert re.search(says, said(labelme(tmp_path, rgb, shapes, **more)))


def test_a_mask_of_labelme_fits_its_box(tmp_path, rgb):
    shape = {"label": "tree", "shape_type": "mask", "mask": encoded(np.full((9, 9), 255, np.uint8))}
    place = labelme(tmp_path, rgb, [shape | {"points": [[5, 5], [35, 15]]}])
    assert "mask of 9 × 9 pixels in a box of 31 × 11" in said(place)


@pytest.mark.parametrize("doc", [{"title": "a.jpg"}, {"type": "FeatureCollection", "features": []}, [1], None])
def test_a_json_that_is_no_annotation_is_not_read_as_one(tmp_path, rgb, truth, doc):
    saved(rgb, tmp_path / "a.png")
    (tmp_path / "a.json").write_text("{" if doc is None else json.dumps(doc))
    assert "a.png has no mask. a.json beside it is" in said(tmp_path)
    saved(truth, tmp_path / "a_mask.png")
    assert groves.check(tmp_path, size=32).ok


def test_a_via_project_is_named(tmp_path, rgb):
    saved(rgb, tmp_path / "a.png")
    (tmp_path / "a.json").write_text(json.dumps({"_via_img_metadata": {}}))
    with pytest.raises(groves.GroveError, match="VIA project"):
        groves.captures(tmp_path)


def coco_folder(place, rgb, annotation, images=None, categories=None, name="labels.json"):
    saved(rgb, place / "a.png")
    text = {
        "images": images or [{"id": 1, "file_name": "a.png", "height": SIDE, "width": SIDE}],
        "categories": categories or [{"id": 1, "name": "tree"}],
        "annotations": [{"id": 5, "image_id": 1, "category_id": 1} | annotation],
    }
    (place / name).write_text(json.dumps(text))
    return place


def letters(counts):
    """Run lengths as COCO compresses them, written from its rule."""
    text = ""
    for k, count in enumerate(counts):
        value = count - (counts[k - 2] if k > 2 else 0)
        while True:
            bits, value = value & 31, value >> 5
            more = not ((value == 0 and not bits & 16) or (value == -1 and bits & 16))
            text += chr((bits | 32 if more else bits) + 48)
            if not more:
                break
    return text


@given(st.lists(st.integers(0, 100_000), min_size=1, max_size=30))
@settings(max_examples=60, deadline=None)
def test_compressed_run_lengths_are_what_was_compressed(counts):
    assert coco._decoded(letters(counts), "here") == counts


FLAT = [v for point in SQUARE for v in point]
HOLE = [20, 20, 25, 20, 25, 25, 20, 25]
RUNS = [10 * SIDE, 20 * SIDE, 34 * SIDE]


@pytest.mark.parametrize(
    ("annotation", "images", "name"),
    [
        ({"segmentation": [FLAT]}, None, "a.json"),
        ({"segmentation": FLAT}, None, "labels.json"),
        ({"segmentation": SQUARE}, None, "labels.json"),
        ({"segmentation": [FLAT], "image_id": "1"}, None, "labels.json"),
        ({"segmentation": [FLAT], "category_id": "1"}, None, "labels.json"),
        ({"segmentation": [FLAT]}, [{"id": "1", "file_name": "server/7/a.png"}], "labels.json"),
        ({"segmentation": [FLAT]}, [{"id": 1, "file_name": "a.png", "height": "64.0", "width": 64.0}], "labels.json"),
        ({"segmentation": {"size": [SIDE, SIDE], "counts": RUNS}, "iscrowd": 1}, None, "labels.json"),
        ({"segmentation": {"size": [SIDE, SIDE], "counts": [float(n) for n in RUNS]}}, None, "labels.json"),
        ({"segmentation": [FLAT, HOLE], "area": 900}, None, "labels.json"),
        ({"segmentation": {"size": [SIDE, SIDE], "counts": letters(RUNS)}}, None, "labels.json"),
    ],
)
def test_coco_is_read_however_it_is_written(tmp_path, rgb, annotation, images, name):
    made = mask_in(coco_folder(tmp_path, rgb, annotation, images, name=name))
    assert 850 < (made == 1).sum() < 1300
    assert (made[30, 15], made[5, 5]) == (1, 0)


@pytest.mark.parametrize(
    ("annotation", "images", "says"),
    [
        ({"bbox": [10, 10, 30, 30]}, None, "box without an outline"),
        ({"bbox": [10, 10, 30, 30], "segmentation": []}, None, "box without an outline"),
        ({"bbox": [10, 10, 30, 30], "segmentation": [[]]}, None, "box without an outline"),
        ({"bbox": [10, 10, 30, 30], "iscrowd": 1}, None, "around several objects"),
        ({"segmentation": [FLAT, HOLE], "area": 875}, None, "875 pixels. shows that it is a hole"),
        ({}, None, "neither an outline"),
        ({"segmentation": [[10, 10, 20, 20]]}, None, "without an area"),
        ({"segmentation": [[0.1, 0.1, 0.5, 0.1, 0.5, 0.5]]}, None, "shares from 0 to 1"),
        ({"segmentation": [[500, 500, 600, 500, 600, 600]]}, None, "outside of the image"),
        ({"segmentation": "abc"}, None, "expected polygons or run lengths"),
        ({"segmentation": [FLAT], "image_id": 7}, None, "image 7, which the file does not list"),
        ({"segmentation": [FLAT], "category_id": 7}, None, "category 7, which the file does not list"),
        ({"segmentation": [FLAT]}, [{"id": 1, "file_name": "a.png"}] * 2, "two entries with the id 1"),
        ({"segmentation": [FLAT]}, [{"id": k, "file_name": "a.png"} for k in (1, 2)], "twice"),
        ({"segmentation": [FLAT]}, [{"id": 1, "file_name": "a.png", "height": 9, "width": 9}], "9 × 9"),
    ],
)
def test_wrong_coco_is_named(tmp_path, rgb, annotation, images, says):
    place = coco_folder(tmp_path, rgb, annotation, images)
    with pytest.raises(groves.GroveError, match=says):
        groves.read(groves.captures(place)[0])


# -- boxes -------------------------------------------------------------------------------------------------------------


def voc(place, rgb, boxes, name="a.png", toml=None):
    saved(rgb, place / "a.png")
    objects = "".join(
        f"<object><name>tree</name><bndbox><xmin>{a}</xmin><ymin>{b}</ymin><xmax>{c}</xmax><ymax>{d}</ymax></bndbox></object>"
        for a, b, c, d in boxes
    )
    size = f"<size><width>{SIDE}</width><height>{SIDE}</height></size>"
    (place / "a.xml").write_text(f"<annotation><filename>{name}</filename>{size}{objects}</annotation>")
    if toml:
        (place / "classes.toml").write_text(toml)
    return place


def table(place, rgb, boxes, toml=None):
    saved(rgb, place / "a.png")
    rows = "".join(f"a.png,{','.join(map(str, box))},Tree\n" for box in boxes)
    (place / "boxes.csv").write_text("image_path,xmin,ymin,xmax,ymax,label\n" + rows)
    if toml:
        (place / "classes.toml").write_text(toml)
    return place


def test_a_listed_name_may_differ_in_case_or_have_signs_of_links_but_not_another_ending(tmp_path, rgb):
    for k, name in enumerate(("A.PNG", "a%2Epng", "a.jpg")):
        place = coco_folder(tmp_path / str(k), rgb, {"segmentation": [SQUARE]}, [{"id": 1, "file_name": name}])
        if name != "a.jpg":
            assert [c.image.name for c in groves.captures(place)] == ["a.png"]
    with pytest.raises(groves.GroveError, match="lists the image 'a.jpg', which does not exist; a.png has another"):
        groves.captures(place)


def test_a_turned_box_becomes_a_turned_ellipse(tmp_path, rgb):
    turned = {"bbox": [8, 28, 48, 8], "attributes": {"rotation": 90.0}}
    attribute = "<attributes><attribute><name>rotation</name><value>90.0</value></attribute></attributes></object>"
    upright = coco_folder(tmp_path / "upright", rgb, {"bbox": [28, 8, 8, 48]})
    places = [coco_folder(tmp_path / "coco", rgb, turned), voc(tmp_path / "voc", rgb, [(8, 28, 56, 36)])]
    (places[1] / "a.xml").write_text((places[1] / "a.xml").read_text().replace("</object>", attribute))
    for place in (upright, *places):
        assert groves.count(place).trees["area"][0] == pytest.approx(np.pi * 24 * 4, rel=0.01)
        (place / "classes.toml").write_text(ELLIPSE)
        assert np.array_equal(mask_in(place), mask_in(upright))


def test_an_image_that_a_table_calls_by_two_names_is_named(tmp_path, rgb):
    saved(rgb, tmp_path / "images" / "a.png")
    rows = ["image_path,xmin,ymin,xmax,ymax,label", "a.png,1,1,9,9,tree", "images/a.png,20,20,30,30,tree"]
    (tmp_path / "b.csv").write_text("\n".join(rows))
    with pytest.raises(groves.GroveError, match="lists the image 'images/a.png' also as 'a.png'"):
        groves.captures(tmp_path)


def test_what_is_no_box_and_columns_of_one_name_are_named(tmp_path, rgb):
    place = voc(tmp_path / "voc", rgb, [(1, 1, 9, 9)], toml=ELLIPSE)
    (place / "a.xml").write_text((place / "a.xml").read_text().replace("bndbox", "robndbox"))
    assert "object 1 has no box (bndbox) but robndbox" in said(place)
    (tmp_path / "b.csv").write_text("image_path,xmin,ymin,xmax,ymax,label,label\na.png,1,1,9,9,tree,grass\n")
    saved(rgb, tmp_path / "a.png")
    with pytest.raises(groves.GroveError, match="b.csv has several columns called 'label'"):
        groves.captures(tmp_path)


@pytest.mark.parametrize("form", [voc, table])
def test_boxes_make_no_mask_but_are_counted_and_become_ellipses_where_one_says_so(tmp_path, rgb, form):
    place = form(tmp_path, rgb, [(5, 5, 25, 25), (30, 20, 60, 60)])
    assert "box without an outline, so no mask is made" in said(place)
    count = groves.count(place, metres_per_pixel=0.1)
    assert count.trees["x"].tolist() == pytest.approx([1.5, 4.5])
    assert count.trees["area"].tolist() == pytest.approx([np.pi, np.pi * 3])
    found, numbers = groves.boxes(groves.captures(place)[0])
    assert found.tolist() == [[5, 5, 25, 25], [30, 20, 60, 60]]
    assert numbers.tolist() == [1, 1]
    (place / "classes.toml").write_text(ELLIPSE)
    report = groves.check(place, size=32)
    assert report.ok
    assert "2 box(es) were filled as ellipses" in str(report)
    assert report.share["tree"] == pytest.approx(np.pi * (100 + 300) / SIDE**2, rel=0.1)


@pytest.mark.parametrize("form", [voc, table])
@pytest.mark.parametrize(
    ("box", "says"),
    [
        ((20, 20, 10, 40), "without an area"),
        ((0.1, 0.1, 0.5, 0.5), "shares from 0 to 1"),
        ((500, 500, 600, 600), "outside of the image"),
        (("x", 1, 2, 3), "xmin = 'x'"),
    ],
)
def test_wrong_boxes_are_named_with_their_place(tmp_path, rgb, form, box, says):
    place = form(tmp_path, rgb, [(5, 5, 25, 25), box], toml=ELLIPSE)
    with pytest.raises(groves.GroveError, match=f"(object 2|line 3).*{says}"):
        groves.read(groves.captures(place)[0])


@pytest.mark.parametrize("form", [voc, table])
def test_a_box_that_stands_twice_is_refused_and_not_counted_twice(tmp_path, rgb, form):
    place = form(tmp_path, rgb, [(5, 5, 25, 25), (5, 5, 25, 25)])
    with pytest.raises(groves.GroveError, match=r"(object 2|line 3) repeats the box of .*(object 1|line 2)"):
        groves.count(place, metres_per_pixel=0.1)


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("image_path,xmin,ymin,xmax,ymax,label\na.png,5,5,25,25,Tree\n", "utf-16"),
        ("image_path,xmin,ymin,xmax,ymax,label\n/data/far/a.png,5,5,25,25,Tree\n", "utf-8"),
        ("image_path,xmin,ymin,xmax,ymax,label\na.png,5,5,25,25,Tree\n,,,,,\n,,,,,\n", "utf-8-sig"),
        (f"filename,width,height,class,xmin,ymin,xmax,ymax\na.png,{SIDE},{SIDE},Tree,5,5,25,25\n", "utf-8"),
    ],
)
def test_tables_of_boxes_are_read_as_other_programs_write_them(tmp_path, rgb, text, encoding):
    saved(rgb, tmp_path / "a.png")
    (tmp_path / "boxes.csv").write_text(text, encoding=encoding)
    (capture,) = groves.captures(tmp_path)
    assert capture.layout == "deepforest"
    assert groves.boxes(capture)[0].tolist() == [[5, 5, 25, 25]]


def test_a_table_that_is_not_read_is_named_where_masks_are_missing(tmp_path, rgb):
    saved(rgb, tmp_path / "a.png")
    (tmp_path / "boxes.csv").write_text("a.png,5,5,25,25,Tree\n")
    assert "boxes.csv has not the columns image_path" in said(tmp_path)


@pytest.mark.parametrize(
    ("text", "says"), [('box = "ellipse"\n', "the unknown key 'box'"), ("", "name must be a table")]
)
def test_a_wrong_file_of_classes_is_named(tmp_path, text, says):
    (tmp_path / "classes.toml").write_text(text + BLACK_AND_WHITE + ("" if text else 'name = "Tree"\n'))
    with pytest.raises(groves.GroveError, match=says):
        groves.Classes.of(tmp_path)


def test_xml_with_entities_is_refused_unread(tmp_path, rgb):
    saved(rgb, tmp_path / "a.png")
    text = '<!DOCTYPE a [<!ENTITY x "y">]><annotation><filename>&x;</filename></annotation>'
    (tmp_path / "a.xml").write_text(text, encoding="utf-16")
    assert "DOCTYPE" in said(tmp_path)


def test_a_table_of_boxes_with_other_columns_is_named(tmp_path, rgb):
    saved(rgb, tmp_path / "a.png")
    (tmp_path / "boxes.csv").write_text("image_path;xmin;ymin\na.png;1;2\n")
    with pytest.raises(groves.GroveError, match="lacks the column"):
        groves.captures(tmp_path)


# -- folders -----------------------------------------------------------------------------------------------------------


def test_detectree_says_itself_that_white_is_tree(tmp_path, rgb, truth):
    saved(rgb, tmp_path / "img" / "a.tif")
    for mask in ((truth == 1).astype(np.uint8) * 255, (truth == 1).astype(np.uint8), truth == 1):
        saved(mask, tmp_path / "response_img" / "a.tif")
        assert np.array_equal(mask_in(tmp_path), truth == 1)
    saved(truth * 100, tmp_path / "response_img" / "a.tif")
    assert "expected two" in said(tmp_path)


def test_sides_of_the_authors_are_kept(tmp_path, rgb, truth):
    for part, count in (("train", 4), ("test", 2)):
        for k in range(count):
            saved(rgb, tmp_path / f"images_prepped_{part}" / f"{k}.png")
            saved(truth, tmp_path / f"annotations_prepped_{part}" / f"{k}.png")
    found = groves.captures(tmp_path)
    sides = groves.split(found, seed=3)
    assert {side: len(part) for side, part in sides.items()} == {"train": 4, "test": 2}
    assert all(c.name.startswith(f"prepped_{side}/") for side, part in sides.items() for c in part)
    from arsetlib.groves import runs

    trained = runs._split(found, (0.5, 0.25, 0.25), 0, "capture")
    assert trained["test"] == sides["test"]
    assert {c.name for c in trained["train"] + trained["validation"]} == {c.name for c in sides["train"]}


def test_litter_of_systems_is_no_picture_and_names_may_differ_in_case(tmp_path, rgb, truth):
    place = folder(tmp_path, rgb, truth)
    for name in ("images/._a.png", "masks/._a.png", "images/Thumbs.db", "images/.DS_Store", "masks/desktop.ini"):
        (place / name).write_bytes(b"x")
    saved(rgb, place / "images" / "B.JPG")
    saved(truth, place / "masks" / "b.png")
    (place / "images" / "c.jpg").mkdir()
    report = groves.check(place, size=32)
    assert report.ok
    assert report.labelled == 2


def test_a_picture_is_never_counted_as_a_mask(tmp_path, rgb, truth):
    place = folder(tmp_path, rgb, truth)
    assert groves.count(place, metres_per_pixel=0.1).canopy_m2 == pytest.approx((truth == 1).sum() * 0.01)
    saved(rgb, place / "images" / "b.png")
    saved(rgb[..., 0], place / "images" / "c.png")
    for what in (place, groves.captures(place)):
        with pytest.raises(groves.GroveError, match=r"2 of 3 captures have no mask: .*b\.png"):
            groves.count(what, metres_per_pixel=0.1)
    for what, says in (("b.png", "RGB colours"), ("c.png", "is a picture")):
        with pytest.raises(groves.GroveError, match=says):
            groves.count(place / "images" / what, metres_per_pixel=0.1)
    with pytest.raises(groves.GroveError, match="holds only 0 and 255"):
        groves.count(saved(white(truth, "grey"), tmp_path / "w" / "a.png"), metres_per_pixel=0.1)


def test_the_class_called_tree_is_counted_whatever_its_number(tmp_path, rgb, truth):
    place = folder(tmp_path, rgb, truth)
    lines = [f'[classes.{key}]\ncolour = "#0000{k}0"' for k, key in enumerate(("soil", "grass", "tree"))]
    (place / "classes.toml").write_text("\n".join(lines))
    assert groves.count(place, metres_per_pixel=0.1).canopy_m2 == pytest.approx((truth == 2).sum() * 0.01)
    assert groves.count(place, metres_per_pixel=0.1, tree="grass").canopy_m2 == pytest.approx((truth == 1).sum() * 0.01)


def test_masks_given_by_their_paths_are_counted_by_the_classes_of_their_folder(tmp_path, rgb, truth):
    place = folder(tmp_path, rgb, truth)
    lines = [f'[classes.{key}]\ncolour = "#0000{k}0"' for k, key in enumerate(("soil", "grass", "tree"))]
    (place / "classes.toml").write_text("\n".join(lines))
    mask = next((place / "masks").iterdir())
    for masks_given in (mask, [mask], {"a": mask}):
        assert groves.count(masks_given, metres_per_pixel=0.1).canopy_m2 == pytest.approx((truth == 2).sum() * 0.01)
    other = tmp_path / "other" / "masks" / "b.png"
    other.parent.mkdir(parents=True)
    other.write_bytes(mask.read_bytes())
    both = groves.count([mask, other], metres_per_pixel=0.1)  # there the numbers mean what they mean by default
    assert both.canopy_m2 == pytest.approx((truth > 0).sum() * 0.01)


# -- pictures ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n", "Git LFS pointer"),
        (b"<!DOCTYPE html><html><body>Too many requests</body></html>", "web page"),
        (b"", "empty"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\0" * 100, "zero bytes"),
        (b"%PDF-1.4", "PDF"),
        (b"GIF89a", "GIF"),
        (b"a text\n" * 9, "text"),
        (b"<?xml version='1.0'?><Error/>", "XML"),
        (bytes(range(200)), "not a picture of a known kind"),
    ],
)
def test_what_is_no_picture_is_said_for_images_and_masks(tmp_path, rgb, truth, data, says):
    for part in ("images", "masks"):
        place = folder(tmp_path / part, rgb, truth)
        (place / part / "a.png").write_bytes(data)
        assert f"a.png {filetypes.what_is(place / part / 'a.png')}" in said(place)
        assert says in said(place)
    with pytest.raises(fields.ImageError, match=says):
        opened(place / "masks" / "a.png")


def test_a_tiff_of_five_bands_is_described(tmp_path, truth):
    rasterio = pytest.importorskip("rasterio")
    shape = {"driver": "GTiff", "width": SIDE, "height": SIDE, "count": 5, "dtype": "uint16"}
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning), rasterio.open(tmp_path / "a.tif", "w", **shape) as out:
        out.write(np.zeros((5, SIDE, SIDE), np.uint16))
    with pytest.raises(groves.GroveError, match=r"a\.tif is a TIFF of 5 band\(s\) of uint16"):
        pictures.read_valid(tmp_path / "a.tif")


def test_the_first_picture_of_an_mpo_is_read(tmp_path, rgb):
    Image.fromarray(rgb).save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[Image.fromarray(rgb[::-1])])
    found = pictures.read_valid(tmp_path / "a.jpg")[0].astype(int)
    assert np.abs(found - rgb).mean() < np.abs(found - rgb[::-1]).mean()


def test_pixels_without_data_are_ignored_and_not_ground(tmp_path, rgb, truth):
    alpha = np.full((SIDE, SIDE), 255, np.uint8)
    alpha[:, :8] = 0
    place = folder(tmp_path, np.dstack([rgb, alpha]), truth)
    image, mask = groves.read(groves.captures(place)[0])
    assert np.array_equal(image, rgb)
    assert np.array_equal(mask, np.where(alpha == 255, truth, 255))
    assert groves.check(place, size=32).ignored == pytest.approx(1 / 8)
    assert np.array_equal(pictures.read_valid(place / "images" / "a.png", 3)[1], alpha == 255)


def tiff(path, bands, masked=None, inside=True, **options):
    """A GeoTIFF of (C, H, W), with GDAL's mask in the file or beside it."""
    rasterio = pytest.importorskip("rasterio")
    path.parent.mkdir(parents=True, exist_ok=True)
    where = {"crs": "EPSG:32636", "transform": rasterio.transform.from_origin(5e5, 2e5, 1, 1)}
    shape = {"count": len(bands), "height": bands.shape[1], "width": bands.shape[2], "dtype": bands.dtype}
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=inside),
        rasterio.open(path, "w", driver="GTiff", **{**where, **shape, **options}) as out,
    ):
        out.write(bands)
        if masked is not None:
            out.write_mask(masked)
    return path


@pytest.mark.parametrize("inside", [True, False])
def test_pixels_that_gdals_mask_leaves_out_are_ignored(tmp_path, rgb, truth, inside):
    valid = np.arange(SIDE * SIDE).reshape(SIDE, SIDE) >= 1000
    place = folder(tmp_path, rgb, truth)
    (place / "images" / "a.png").unlink()
    tiff(place / "images" / "a.tif", rgb.transpose(2, 0, 1), valid, inside, photometric="RGB")
    image, mask = groves.read(groves.captures(place)[0])
    assert np.array_equal(image, rgb)
    assert np.array_equal(mask, np.where(valid, truth, 255))


@pytest.mark.parametrize(
    ("dtype", "nodata"), [("int16", -9999), ("float32", -3.4028234663852886e38), ("float32", np.nan), ("uint8", 9)]
)
def test_a_masks_own_value_of_no_data_is_ignored(tmp_path, rgb, truth, dtype, nodata):
    place = folder(tmp_path, rgb, truth)
    (place / "masks" / "a.png").unlink()
    values = truth.astype(dtype)
    values[:5] = nodata
    tiff(place / "masks" / "a.tif", values[None], nodata=nodata)
    truth[:5] = 255
    assert np.array_equal(mask_in(place), truth)


def test_a_fourth_band_without_a_meaning_is_a_transparency_or_refused(tmp_path, rgb, truth):
    place = folder(tmp_path, rgb, truth)
    (place / "images" / "a.png").unlink()
    opaque = np.where(np.arange(SIDE) < 9, 0, 255).astype(np.uint8) + np.zeros_like(truth)
    bands = np.concatenate([rgb.transpose(2, 0, 1), opaque[None]])
    tiff(place / "images" / "a.tif", bands, photometric="RGB", alpha="unspecified")
    assert np.array_equal(mask_in(place), np.where(opaque > 0, truth, 255))
    tiff(place / "images" / "a.tif", np.concatenate([bands[:3], bands[:1]]), photometric="RGB", alpha="unspecified")
    assert "has 4 bands, expected 3" in said(place)
    tiff(place / "images" / "a.tif", np.concatenate([bands, bands[:1]]), photometric="RGB", alpha="unspecified")
    assert "has 5 bands, expected RGB" in said(place)


def test_bands_that_are_stated_in_another_order_are_refused(tmp_path, rgb, truth):
    place = folder(tmp_path, rgb, truth)
    (place / "images" / "a.png").unlink()
    colours, shape = rasterio.enums.ColorInterp, {"width": SIDE, "height": SIDE, "count": 3, "dtype": "uint8"}
    with rasterio.open(
        place / "images" / "a.tif", "w", crs="EPSG:32636", transform=from_origin(5, 9, 1, 1), **shape
    ) as file:
        file.write(rgb.transpose(2, 0, 1))
        file.colorinterp = [colours.blue, colours.green, colours.red]
    assert "states that its bands are blue, green, red" in said(place)


@pytest.mark.parametrize(
    ("left", "side", "fits"), [(500_000, 0.1, 1), (500_000.04, 0.1, 1), (500_003, 0.1, 0), (500_000, 0.2, 0)]
)
def test_a_mask_that_lies_elsewhere_than_its_image_is_refused(tmp_path, rgb, truth, left, side, fits):
    place = folder(tmp_path, rgb, truth)
    for file in (place / "images" / "a.png", place / "masks" / "a.png"):
        file.unlink()
    tiff(place / "images" / "a.tif", rgb.transpose(2, 0, 1), transform=from_origin(500_000, 9, 0.1, 0.1))
    tiff(place / "masks" / "a.tif", truth[None], transform=from_origin(left, 9, side, side))
    if fits:
        assert np.array_equal(mask_in(place), truth)
    else:
        assert "a.tif lies elsewhere than its image" in said(place)


@pytest.mark.parametrize(("value", "colour"), [(0, "black"), (255, "white")])
def test_a_border_without_a_statement_of_no_data_is_named(tmp_path, rgb, truth, value, colour):
    rgb[:16] = value
    assert f"is {colour} ({value}) in 25% of its pixels" in str(groves.check(folder(tmp_path, rgb, truth), size=32))


def test_no_ground_is_an_error_of_counting():
    with pytest.raises(groves.GroveError, match="No ground is shown"):
        groves.count(np.full((9, 9), 255, np.uint8))


def test_no_data_of_0_is_ground_and_that_of_a_class_is_refused(tmp_path, rgb, truth):
    place = folder(tmp_path, rgb, truth)
    (place / "masks" / "a.png").unlink()
    tiff(place / "masks" / "a.tif", truth[None], nodata=0)
    assert np.array_equal(mask_in(place), truth)
    tiff(place / "masks" / "a.tif", truth[None], nodata=2)
    assert "holds 2, the number of 'grass', and states it as its value of no data" in said(place)


def test_a_folder_of_folders_is_named(tmp_path, rgb, truth):
    folder(tmp_path / "train", rgb, truth)
    with pytest.raises(groves.GroveError, match="It holds the folders train. Name one of them"):
        groves.captures(tmp_path)


def test_pictures_in_deeper_folders_are_named(tmp_path, rgb, truth):
    saved(rgb, tmp_path / "images" / "train" / "a.png")
    saved(truth, tmp_path / "masks" / "train" / "a.png")
    with pytest.raises(groves.GroveError, match="Its pictures lie deeper, in .*train for example"):
        groves.captures(tmp_path)


def test_a_file_of_several_pictures_is_refused_and_overviews_are_none(tmp_path, rgb, truth):
    place = folder(tmp_path, rgb, truth, "a.tif", save_all=True, append_images=[Image.fromarray(truth)])
    assert "a.tif holds 2 pictures" in said(place)
    saved(truth, place / "masks" / "a.tif")
    warned = pytest.warns(rasterio.errors.NotGeoreferencedWarning)
    with warned, rasterio.open(place / "masks" / "a.tif", "r+") as file:
        file.build_overviews([2, 4])
    assert np.array_equal(mask_in(place), truth)


@pytest.mark.parametrize("tag", [3, 6])
def test_a_turned_image_is_named_where_its_size_cannot_show_a_mistake(tmp_path, rgb, truth, tag):
    place = folder(tmp_path, rgb, truth)
    exif = Image.Exif()
    exif[0x0112] = tag
    saved(rgb, place / "images" / "a.png", exif=exif)
    assert "turned by a tag of the camera (EXIF orientation): a." in str(groves.check(place, size=32))


@pytest.mark.parametrize("form", ["masks", "beside", "labelme", "voc", "coco"])
def test_names_may_be_stored_as_macos_stores_accents(tmp_path, rgb, truth, form):
    one, other = (unicodedata.normalize(kind, "olivó") for kind in ("NFC", "NFD"))
    image = saved(rgb, tmp_path / ("images" if form == "masks" else "") / f"{one}.png")
    if form in ("masks", "beside"):
        saved(truth, tmp_path / (f"masks/{other}.png" if form == "masks" else f"{other}_mask.png"))
    elif form == "labelme":
        shape = {"label": "tree", "points": SQUARE, "shape_type": "polygon"}
        (tmp_path / f"{other}.json").write_text(json.dumps({"shapes": [shape], "imagePath": f"{other}.png"}))
    elif form == "voc":
        (voc(tmp_path, rgb, [(1, 1, 9, 9)], f"{other}.png", ELLIPSE) / "a.xml").rename(tmp_path / f"{other}.xml")
    else:
        coco_folder(tmp_path, rgb, {"segmentation": [SQUARE]}, [{"id": 1, "file_name": f"{other}.png"}])
    (tmp_path / "a.png").unlink(missing_ok=True)
    (capture,) = groves.captures(tmp_path)
    assert capture.image.name == image.name
    assert (groves.read(capture)[1] == 1).any()


def test_one_picture_under_two_names_is_named(tmp_path, rgb, truth):
    place = folder(tmp_path, rgb, truth)
    saved(rgb, place / "images" / "a (1).png")
    saved(truth, place / "masks" / "a (1).png")
    assert " is the same file as " in str(groves.check(place, size=32))


def test_a_map_with_ignored_pixels_comes_back_as_it_was_written(tmp_path, truth):
    mask = truth.copy()
    mask[50:] = 255
    for colours in (groves.CLASSES.colours, ("#ffffff", "#000000", "#00ff00")):
        masks.write_mask(mask, tmp_path / "a.png", colours)
        kinds = replace(groves.CLASSES, colours=colours)
        assert np.array_equal(masks.read_mask(tmp_path / "a.png", kinds), mask)


def test_every_layout_that_is_named_is_found():
    assert set(layouts.LAYOUTS) == set(layouts._FIND)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("labels.json", '{"images": [{"id"', "labels.json beside it is not valid JSON: cut short"),
        ("a.png.json", '{"objects": []}', "a.png.json beside it is a JSON object.*export them as COCO"),
        ("tasks.json", '[{"data": {}}]', "tasks.json beside it is a JSON list, not of LabelMe or COCO"),
        ("annotations.xml", "<annotations/>", "annotations.xml is of CVAT.*Export the labels as COCO"),
        ("crowns.geojson", "{}", "crowns.geojson holds shapes on the ground.*gdal_rasterize"),
        ("masks/a.gif", "GIF89a", "a.gif is a GIF image. Export it as PNG"),
        ("masks/a_label.png", "", "A mask has the name of its image, .*not a_label.png"),
        ("a.txt", "0 0.5 0.5 0.2 0.2", "a.txt looks like YOLO's.*Export the labels as COCO"),
        ("boxes.csv", "image_path,xmin,ymin,xmax,ymax,label\nb.png,1,1,9,9,tree\n", "boxes.csv has no row for it"),
        ("boxes.csv", "image;x;y\n", "boxes.csv has not the columns image_path"),
    ],
)
def test_what_lies_beside_an_image_without_mask_is_named(tmp_path, rgb, name, content, says):
    saved(rgb, tmp_path / ("images/a.png" if "/" in name else "a.png"))
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(content)
    assert re.search(f"has no mask. .*{says}", said(tmp_path))


def test_an_image_inside_a_file_of_labelme_is_no_image(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"shapes": [], "imagePath": "a.png", "imageData": "AAAA"}))
    with pytest.raises(groves.GroveError, match=r"a\.json is of LabelMe, and its image is not beside it"):
        groves.check(tmp_path)
