"""Simulated fields and the reader of their layout: repeatable, recognisable, and clear about what is wrong."""

import hashlib
import itertools
import json
import re
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from test_simulate import spline
from typer.testing import CliRunner

from arsetlib import cli, fields, simulate
from arsetlib.fields import chips as reading
from arsetlib.fields import layout
from arsetlib.simulate import fields_draws, fields_noise, fields_scene
from arsetlib.simulate.fields import SAYS

SIZE = 64


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Thirty fields of two small chips, made by one process."""
    out = tmp_path_factory.mktemp("fields") / "fields"
    return simulate.fields(out, fields=30, chips=2, size=SIZE, jobs=1, progress=False)


@pytest.fixture(scope="module")
def chips(folder):
    return fields.agriculture_vision(folder)


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """Three fields of two chips, to be copied and spoilt."""
    out = tmp_path_factory.mktemp("few") / "few"
    return simulate.fields(out, fields=3, chips=2, size=48, seed=4, jobs=1, progress=False)


@pytest.fixture
def spoilt(few, tmp_path):
    return Path(shutil.copytree(few, tmp_path / "spoilt"))


def digest(folder, under=""):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((folder / under).rglob("*"))
        if path.is_file() and path.name != reading.INDEX
    }


def pixels(path):
    return np.asarray(Image.open(path))


# -- files of the simulation


def test_same_seed_gives_same_bytes_whatever_the_number_of_processes(tmp_path):
    asked = {"fields": 10, "chips": 1, "size": 48, "seed": 7, "progress": False}
    one, two = (simulate.fields(tmp_path / str(jobs), jobs=jobs, **asked) for jobs in (1, 2))
    assert digest(one) == digest(two)
    assert len(digest(one)) == 10 * 13 + 4


def test_first_fields_of_a_larger_set_are_those_of_a_smaller_one(folder, tmp_path):
    small = simulate.fields(tmp_path / "small", fields=3, chips=2, size=SIZE, jobs=1, progress=False)
    whole = digest(folder)
    for under in ("field_images", "field_labels", "field_bounds", "field_masks"):
        found = digest(small, under)
        assert found
        assert found.items() <= whole.items()


def test_an_unfinished_set_is_refused(spoilt):
    (spoilt / "_manifest.json").unlink()
    with pytest.raises(fields.ImageError, match="not finished"):
        fields.agriculture_vision(spoilt)


def test_an_interrupted_run_goes_on_and_gives_the_same_bytes(few, spoilt):
    for path in sorted((spoilt / "field_images" / "rgb").iterdir())[:2]:  # a field
        path.unlink()
    kept = sorted((spoilt / "field_images" / "rgb").iterdir())[0]
    before = kept.stat().st_mtime_ns
    simulate.fields(spoilt, fields=3, chips=2, size=48, seed=4, jobs=1, progress=False)
    assert digest(spoilt) == digest(few)
    assert kept.stat().st_mtime_ns == before


def test_a_folder_of_other_parameters_or_things_is_refused(few, tmp_path):
    with pytest.raises(FileExistsError, match="fields \\(was 3, now 4\\)"):
        simulate.fields(few, fields=4, chips=2, size=48, seed=4, jobs=1, progress=False)
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="new or an empty folder"):
        simulate.fields(tmp_path, fields=1, progress=False)


def test_files_are_those_of_agriculture_vision(folder):
    names = sorted(path.stem for path in (folder / "field_images" / "rgb").iterdir())
    assert len(names) == 60
    for name in names[:6]:
        field, x1, y1, x2, y2 = re.fullmatch(r"([A-Z0-9]+)_(\d+)-(\d+)-(\d+)-(\d+)", name).groups()
        assert len(field) == 9
        assert int(x2) - int(x1) == int(y2) - int(y1) == SIZE
        assert pixels(folder / "field_images" / "rgb" / f"{name}.jpg").shape == (SIZE, SIZE, 3)
        assert pixels(folder / "field_images" / "nir" / f"{name}.jpg").shape == (SIZE, SIZE)
        masks = [folder / f"field_{kind}" / f"{name}.png" for kind in ("bounds", "masks")]
        for path in masks + [folder / "field_labels" / c / f"{name}.png" for c in fields.CLASSES]:
            mask = pixels(path)
            assert mask.shape == (SIZE, SIZE)
            assert set(np.unique(mask)) <= {0, 255}


def test_says_everywhere_that_it_is_simulated(folder, chips):
    assert (folder / "README.txt").read_text().startswith("SIMULATED")
    assert json.loads((folder / "simulated.json").read_text())["simulated"] is True
    for kind in ("rgb", "nir"):
        with Image.open(next((folder / "field_images" / kind).iterdir())) as picture:
            assert picture.info["comment"].decode() == SAYS
    assert "SIMULATED" in repr(chips)


@pytest.mark.parametrize(
    "wrong", [{"fields": 0}, {"chips": 1.5}, {"size": 16}, {"seed": -1}, {"jobs": 0}, {"fields": True}]
)
def test_parameters_out_of_range_are_refused(tmp_path, wrong):
    with pytest.raises(fields.ImageError, match=f"Expected {next(iter(wrong))}"):
        simulate.fields(tmp_path / "x", **{"progress": False, **wrong})
    assert not (tmp_path / "x").exists()


def test_command_makes_fields(tmp_path):
    asked = [tmp_path / "f", "--fields", 2, "--chips", 1, "--size", 48, "--json"]
    done = CliRunner().invoke(cli.app, ["simulate-fields", *map(str, asked)])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["images"] == 2
    assert len(fields.agriculture_vision(tmp_path / "f")) == 2


def test_command_checks_a_folder_and_names_what_is_wrong(tmp_path):
    simulate.fields(tmp_path / "fields", fields=2, chips=1, size=64, jobs=1, progress=False)
    called = ["fields", "check", str(tmp_path / "fields")]
    assert "No problem found" in CliRunner().invoke(cli.app, called).output
    next((tmp_path / "fields" / "field_images" / "nir").glob("*.jpg")).unlink()
    done = CliRunner().invoke(cli.app, called)
    assert (done.exit_code, "PROBLEM" in done.output) == (1, True)


# -- what is on them


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 300), st.integers(1, 30))
def test_every_anomaly_of_a_field_is_dealt_to_one_of_its_chips_and_no_ground_is_shown_twice(seed, number, count):
    one = fields_draws.field(seed, number, 64)
    shown = fields_draws.shown(one, count)
    assert set().union(*shown) == set(one.prone)
    assert len(set(fields_draws.windows(one, count))) == len(shown) == count


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 50))
def test_ten_fields_have_each_anomaly_as_often_as_its_share_says(seed, deck):
    prone = [fields_draws.field(seed, 10 * deck + k, 64).prone for k in range(10)]
    found = {name: sum(name in p for p in prone) for name in fields.CLASSES}
    assert found == {name: count for name, (count, _) in fields_draws.PRONE.items()}


def test_thirty_fields_show_each_anomaly_on_three_and_some_chips_show_none_or_several(chips):
    spread = {name: len(set(chips.fields[chips.labels[:, k] > 0])) for k, name in enumerate(fields.CLASSES)}
    assert min(spread.values()) >= 3
    assert chips.counts["drydown"] > 2 * chips.counts["storm_damage"]
    each = chips.labels.sum(1)
    assert (each == 0).any()
    assert (each > 1).any()


def test_some_chips_have_a_border_and_some_lack_pixels_which_are_black(chips):
    borders = missing = 0
    for k in range(len(chips)):
        paths = chips.paths(k)
        bounds, mask = pixels(paths.bounds) > 0, pixels(paths.masks) > 0
        borders += not bounds.all()
        missing += not mask.all()
        if not mask.all():
            assert pixels(paths.rgb)[~mask].mean() < 12  # JPEG rings at the edge
    assert borders > 5
    assert missing > 2


def painted(name, number, names=None):
    """A chip with one anomaly and its mask; whole, so that all of it is field."""
    one = fields_draws.field(11, number, 192)
    chip = fields_scene.paint(one, 0, (0, 0), (name,))
    inside = chip.labels[name]
    outside = chip.bounds & chip.valid & ~inside
    return one, chip, inside, outside


def change(name, measure, fields=8):
    """Median over fields of what an anomaly does to a measure: inside minus outside."""
    found = []
    for number in range(fields):
        one, chip, inside, outside = painted(name, number)
        value = measure(one, chip)
        if inside.any() and outside.any():
            found.append(np.nanmean(value[inside]) - np.nanmean(value[outside]))
    assert len(found) >= fields - 2
    return float(np.median(found))


def greenness(_, chip):
    return fields.ndvi(np.moveaxis(chip.pixels, 0, -1))


def infrared(_, chip):
    return chip.pixels[3].astype(float)


def yellowness(_, chip):
    red, green, blue = (chip.pixels[k].astype(float) for k in range(3))
    return (red + green) / 2 - blue


def rowness(one, chip):
    """How much brightness changes across the rows against along them, per pixel."""
    grey = chip.pixels[:3].mean(0)
    down, right = np.gradient(grey)
    across = right * np.cos(one.angle) + down * np.sin(one.angle)
    along = down * np.cos(one.angle) - right * np.sin(one.angle)
    return np.abs(across) - np.abs(along)


def test_water_is_dark_in_the_near_infrared():
    assert change("water", infrared) < -60


def test_weeds_are_greener_and_dry_or_starved_or_unplanted_ground_is_less_green():
    assert change("weed_cluster", greenness) > 0.05
    for name in ("drydown", "nutrient_deficiency", "planter_skip"):
        assert change(name, greenness) < -0.05


def test_too_little_nitrogen_is_yellow():
    assert change("nutrient_deficiency", yellowness) > 5


def test_rows_vanish_where_stems_lie_and_on_grass_and_cross_where_planted_twice_and_turn_on_headlands():
    for name in ("storm_damage", "waterway", "double_plant", "endrow"):
        assert change(name, rowness) < -1


def test_what_lies_under_water_is_not_labelled():
    one = fields_draws.field(5, 3, 128)
    for number in range(4):
        labels = fields_scene.paint(one, number, (0, 0), ("drydown", "water", "waterway")).labels
        assert {"water", "waterway"} <= set(labels)
        for name in set(labels) - {"water"}:
            assert not (labels["water"] & labels[name]).any()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 6), st.integers(1, 9))
def test_noise_is_the_spline_through_its_knots(seed, cells, factor):
    knots = np.random.default_rng(seed).standard_normal((cells + 3, cells + 3)).astype(np.float32)
    size = cells * factor
    found = fields_noise._spread(knots, size, factor)
    for i in range(0, size, 3):
        for j in range(0, size, 3):
            total = 0.0
            for a in range(4):
                for b in range(4):
                    weight = spline((i % factor + 0.5) / factor, a) * spline((j % factor + 0.5) / factor, b)
                    total += weight * knots[i // factor + a, j // factor + b]
            assert abs(found[i, j] - total) < 1e-4


# -- reading


def test_reader_finds_what_a_plain_loop_finds(folder, chips):
    names = sorted(path.stem for path in (folder / "field_images" / "rgb").iterdir())
    assert chips.names.tolist() == names
    assert chips.fields.tolist() == [name.split("_")[0] for name in names]
    for k, name in enumerate(names):
        valid = pixels(folder / "field_bounds" / f"{name}.png").astype(bool)
        valid &= pixels(folder / "field_masks" / f"{name}.png").astype(bool)
        found, where = fields.read(chips, k)
        assert np.array_equal(where, valid)
        assert np.array_equal(found[..., :3], pixels(folder / "field_images" / "rgb" / f"{name}.jpg"))
        assert np.array_equal(found[..., 3], pixels(folder / "field_images" / "nir" / f"{name}.jpg"))
        for label, has in zip(fields.CLASSES, chips.labels[k], strict=True):
            mask = pixels(folder / "field_labels" / label / f"{name}.png").astype(bool)
            assert has == (mask & valid).any()
    assert found.dtype == np.uint8
    assert where.dtype == bool
    assert chips.labels.dtype == np.uint8


def test_some_of_the_chips(chips):
    water = chips[chips.labels[:, fields.CLASSES.index("water")] == 1]
    assert len(water) == chips.counts["water"] == water.counts["water"]
    assert chips[3:5].names.tolist() == chips.names[3:5].tolist()
    assert chips[[4, 1]].names.tolist() == chips.names[[4, 1]].tolist()
    assert chips[2].names.tolist() == [chips.names[2]]
    assert len(chips[[]]) == 0
    assert chips[[4, 1]].paths(1) == chips.paths(1)


def test_masks_are_read_once_until_a_file_changes(spoilt, monkeypatch):
    chips = fields.agriculture_vision(spoilt)

    def never(*_, **__):
        raise AssertionError("the masks were read again")

    with monkeypatch.context() as patch:
        patch.setattr(reading, "scan", never)
        assert np.array_equal(fields.agriculture_vision(spoilt).labels, chips.labels)
    target = chips.paths(0).labels[0]
    mask = np.full(chips.size, 255 * (1 - chips.labels[0, 0]), np.uint8)
    Image.fromarray(mask).save(target)
    assert fields.agriculture_vision(spoilt).labels[0, 0] == 1 - chips.labels[0, 0]
    (spoilt / reading.INDEX).write_bytes(b"PK damaged")
    assert fields.agriculture_vision(spoilt).labels[0, 0] == 1 - chips.labels[0, 0]


def test_a_label_counts_only_where_field_and_mask_are_valid(spoilt):
    chips = fields.agriculture_vision(spoilt)
    k = int(np.argmax(chips.labels.sum(1)))
    assert chips.labels[k].any()
    Image.fromarray(np.zeros(chips.size, np.uint8)).save(chips.paths(k).masks)
    again = fields.agriculture_vision(spoilt)
    assert not again.labels[k].any()
    assert not fields.read(again, k)[1].any()


def test_the_download_of_the_challenge_is_read_and_its_unlabelled_part_counted(few, tmp_path):
    root = tmp_path / "download"
    moved = {"images": "field_images", "labels": "field_labels", "boundaries": "field_bounds", "masks": "field_masks"}
    for part in ("train", "test"):
        for new, old in moved.items():
            if (part, new) != ("test", "labels"):
                shutil.copytree(few / old, root / part / new)
    chips = fields.agriculture_vision(root)
    plain = fields.agriculture_vision(few)
    assert np.array_equal(chips.labels, plain.labels)
    assert set(chips.published) == {"train"}
    assert not chips.simulated
    assert "non-commercial" in repr(chips)
    assert "without labels: 6" in repr(chips)
    assert np.array_equal(fields.read(chips, 2)[0], fields.read(plain, 2)[0])
    shutil.copytree(few / "field_labels", root / "test" / "labels")
    with pytest.raises(fields.ImageError, match="in two parts"):
        fields.agriculture_vision(root)


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 255), min_size=4, max_size=4), min_size=1, max_size=9))
def test_ndvi_is_that_of_a_plain_loop(values):
    found = fields.ndvi(np.array(values, np.uint8))
    assert found.dtype == np.float32
    for (red, _, _, nir), one in zip(values, found, strict=True):
        if red + nir == 0:
            assert np.isnan(one)
        else:
            assert abs(one - (nir - red) / (nir + red)) < 1e-6


def test_ndvi_wants_four_channels():
    with pytest.raises(fields.ImageError, match="red, green, blue, near infrared"):
        fields.ndvi(np.zeros((4, 4, 3), np.uint8))


# -- wrong input


def names_of(folder):
    return sorted(path.stem for path in (folder / "field_images" / "rgb").iterdir())


def drop(kind):
    return lambda f: (f / kind.format(names_of(f)[1])).unlink()


def over(kind, array, form="PNG"):
    return lambda f: Image.fromarray(array).save(f / kind.format(names_of(f)[1]), form)


def cut(kind):
    def spoil(f):
        path = f / kind.format(names_of(f)[1])
        path.write_bytes(path.read_bytes()[: len(path.read_bytes()) // 2])

    return spoil


def emptied(kind):
    def spoil(f):
        for path in (f / kind).iterdir():
            path.unlink()

    return spoil


def renamed(change, under=""):
    """Give the files of one image another name."""

    def spoil(f):
        for path in sorted((f / under).rglob(f"{names_of(f)[1]}.*")):
            path.rename(path.with_name(change(path.stem) + path.suffix))

    return spoil


def turned(f):
    path = f / RGB.format(names_of(f)[1])
    tag = Image.Exif()
    tag[0x0112] = 6
    with Image.open(path) as picture:
        picture.load()
    picture.save(path, exif=tag)


def with_accents(stem):
    return "ca\u00f1a_" + stem.split("_")[1]


def one_accent_stored_twice(f):
    renamed(with_accents)(f)
    name = next(n for n in names_of(f) if n.startswith("ca"))
    for path in sorted((f / "field_images" / "nir").glob(f"{name}.*")):
        path.rename(path.with_name(unicodedata.normalize("NFD", path.name)))


def as_link(f):
    path = f / RGB.format(names_of(f)[1])
    path.unlink()
    path.symlink_to(f / "gone.jpg")


RGB, NIR = "field_images/rgb/{}.jpg", "field_images/nir/{}.jpg"
WATER, BOUND, VALID = "field_labels/water/{}.png", "field_bounds/{}.png", "field_masks/{}.png"
ZEROS = np.zeros((48, 48), np.uint8)
WRONG = {
    "label mask without its image": (drop(RGB), "is a near-infrared image without its image|mask without its image"),
    "no near infrared": (drop(NIR), "has no near-infrared image"),
    "no label mask": (drop(WATER), "has no label mask"),
    "no boundary": (drop(BOUND), "has no boundary"),
    "no mask": (drop(VALID), "has no mask"),
    "other class": (lambda f: (f / "field_labels" / "cloud_shadow").mkdir(), "is not a class of the nine"),
    "class missing": (lambda f: shutil.rmtree(f / "field_labels" / "water"), "does not exist"),
    "class folder without masks": (emptied("field_labels/water"), "class folder without masks"),
    "no labels at all": (lambda f: shutil.rmtree(f / "field_labels"), "expected a folder of masks for each class"),
    "mixed sizes": (over(WATER, np.zeros((50, 48), np.uint8)), "50 × 48 pixels, expected 48 × 48"),
    "mixed image sizes": (over(RGB, np.zeros((40, 48, 3), np.uint8), "JPEG"), "40 × 48 pixels"),
    "three channels of infrared": (over(NIR, np.zeros((48, 48, 3), np.uint8), "JPEG"), r"3 channel\(s\).*expected 1"),
    "grey colours": (over(RGB, ZEROS, "JPEG"), r"1 channel\(s\).*expected 3"),
    "coloured mask": (over(WATER, np.zeros((48, 48, 3), np.uint8)), r"3 channel\(s\)"),
    "mask of other values": (over(WATER, ZEROS + 7), "value 7, expected 0 and 255"),
    "no picture": (
        lambda f: (f / RGB.format(names_of(f)[1])).write_bytes(b"hello"),
        "not a picture.*Expected a JPEG or PNG",
    ),
    "empty file": (lambda f: (f / WATER.format(names_of(f)[1])).write_bytes(b""), "is empty.*JPEG or PNG"),
    "cut mask": (cut(BOUND), "is damaged|cannot be read"),
    "other files": (lambda f: (f / "field_images/rgb/notes.txt").write_text("x"), r"is not a \.jpg"),
    "an ending in capitals": (
        lambda f: (f / RGB.format(names_of(f)[1])).rename(f / "field_images/rgb/A_0-0-1-1.JPG"),
        r"ends in \.JPG: expected \.jpg\. Rename it",
    ),
    "a field in capitals and not": (renamed(str.lower), "Field .* is field .*, too"),
    "an accent stored in two ways": (one_accent_stored_twice, "written in another way than"),
    "a picture turned by a tag": (turned, "EXIF orientation 6"),
    "a link to nothing": (as_link, "is a link to .*gone.jpg, which does not exist"),
    "16 bits": (over(NIR, np.full((48, 48), 40000, np.uint16)), "mode I;16, expected 1 of 8 bits"),
    "a name without its field": (
        lambda f: [p.rename(p.with_name("x" + p.suffix)) for p in sorted(f.rglob(f"{names_of(f)[1]}.*"))],
        "name without its field",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_folders_are_named_by_reader_and_check(spoilt, case):
    spoil, said = WRONG[case]
    spoil(spoilt)
    with pytest.raises(fields.ImageError, match=said):
        fields.agriculture_vision(spoilt)
    report = fields.check(spoilt)
    assert not report.ok
    assert any(re.search(said, what) for _, what in report.problems)
    assert "PROBLEM" in str(report)


@pytest.mark.parametrize("kind", [RGB, NIR])
def test_a_cut_image_is_named_by_read_and_check(spoilt, kind):
    cut(kind)(spoilt)
    with pytest.raises(fields.ImageError, match="is damaged|cannot be read"):
        fields.read(fields.agriculture_vision(spoilt), 1)
    assert [file for file, _ in fields.check(spoilt).problems] == [str(spoilt / kind.format(names_of(spoilt)[1]))]


def test_a_picture_of_another_size_is_named_and_not_the_others(spoilt):
    for kind in (RGB, NIR):
        path = spoilt / kind.format(names_of(spoilt)[0])
        Image.open(path).resize((40, 40)).save(path)
    assert [file for file, _ in fields.check(spoilt).problems] == [str(spoilt / RGB.format(names_of(spoilt)[0]))]


def test_check_names_one_picture_of_two_fields(spoilt):
    first, *_, last = names_of(spoilt)
    shutil.copy(spoilt / RGB.format(first), spoilt / RGB.format(last))
    assert re.search(f"{last}.*is the same picture as .*{first}", fields.check(spoilt).problems[0][1])


def test_images_beside_train_val_and_test_are_not_left_out_silently(spoilt, tmp_path):
    for name in ("train", "validation"):
        shutil.copytree(spoilt, tmp_path / "parts" / name)
    with pytest.raises(fields.ImageError, match="validation has images, and its name is none of train, val, test"):
        fields.agriculture_vision(tmp_path / "parts")


def test_all_problems_are_counted(spoilt):
    drop(NIR)(spoilt)
    drop(WATER)(spoilt)
    with pytest.raises(fields.ImageError, match=r"1 more: fields\.check"):
        fields.agriculture_vision(spoilt)
    assert len(fields.check(spoilt).problems) == 2


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(fields.ImageError, match="is not a folder"):
        fields.agriculture_vision(tmp_path / "none")
    with pytest.raises(fields.ImageError, match="no images in the layout"):
        fields.agriculture_vision(tmp_path)
    for name in ("field_images/rgb", *(f"field_labels/{c}" for c in fields.CLASSES)):
        (tmp_path / name).mkdir(parents=True)
    with pytest.raises(fields.ImageError, match="is empty"):
        fields.agriculture_vision(tmp_path)


def test_check_finds_nothing_wrong_with_simulated_fields(folder, chips):
    report = fields.check(folder)
    assert report.ok
    assert report.as_dict()["counts"] == chips.counts
    assert (report.images, report.fields, report.simulated) == (60, 30, True)
    assert "No problem found" in str(report)


def test_a_file_that_changes_size_after_listing_is_an_error(spoilt):
    chips = fields.agriculture_vision(spoilt)
    over(BOUND, np.zeros((50, 50), np.uint8))(spoilt)
    with pytest.raises(fields.ImageError, match="expected 48 × 48"):
        fields.read(chips, 1)


def test_reading_loads_no_tensorflow(few):
    code = (
        f"import sys; from arsetlib import fields; chips = fields.agriculture_vision({str(few)!r}); "
        "fields.read(chips, 0); fields.split(chips, (1, 0, 0)); fields.check(chips.folder); "
        "print([m for m in ('tensorflow', 'keras', 'pyspark') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# -- sides


def made_up(labels, field_of):
    """Chips without files."""
    names = np.array([f"F{field}_{k}-0-{k + 1}-1" for k, field in enumerate(field_of)], dtype=str)
    part = layout.Part("", Path(), Path(), Path(), Path(), tuple(names), "")
    sources = np.zeros(len(names), np.int8)
    return fields.Chips(Path(), names, np.array(labels, np.uint8).reshape(-1, 9), sources, (part,), (8, 8))


def drawn(seed, count, share):
    """Made-up chips of some fields, and on how many fields each class is."""
    rng = np.random.default_rng(seed)
    of = np.repeat(np.arange(count), rng.integers(1, 6, count))
    chips = made_up(rng.random((len(of), 9)) < share, of)
    return chips, [len(set(chips.fields[chips.labels[:, k] > 0])) for k in range(9)]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(15, 40), st.floats(0.02, 0.6), st.integers(0, 5))
def test_no_field_is_on_two_sides_and_each_class_is_on_all(seed, count, share, split_seed):
    chips, spread = drawn(seed, count, share)
    if any(0 < n < 3 for n in spread):
        with pytest.raises(fields.ImageError, match="at least 3 fields"):
            fields.split(chips, seed=split_seed)
        return
    sides = fields.split(chips, seed=split_seed)
    assert list(sides) == ["train", "validation", "test"]
    found = [set(side.fields) for side in sides.values()]
    assert sum(map(len, found)) == len(set.union(*found)) == count
    assert sum(map(len, sides.values())) == len(chips)
    for side in sides.values():
        assert (side.labels.any(0) == chips.labels.any(0)).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(3, 7), st.floats(0.1, 0.5))
def test_where_sides_with_all_classes_exist_they_are_found(seed, count, share):
    chips, spread = drawn(seed, count, share)
    if any(0 < n < 3 for n in spread):
        return
    names = np.unique(chips.fields)
    has = np.array([chips.labels[chips.fields == name].any(0) for name in names])
    exists = any(
        len(set(way)) == 3
        and all((has[[k for k in range(count) if way[k] == side]].any(0) == has.any(0)).all() for side in range(3))
        for way in itertools.product(range(3), repeat=count)
    )
    if exists:
        assert all((side.labels.any(0) == has.any(0)).all() for side in fields.split(chips).values())
    else:
        with pytest.raises(fields.ImageError, match="No split"):
            fields.split(chips)


def test_same_seed_same_sides_and_shares_are_kept(chips):
    one, two, other = (fields.split(chips, seed=seed) for seed in (0, 0, 1))
    assert all(np.array_equal(one[side].names, two[side].names) for side in one)
    assert not np.array_equal(one["train"].names, other["train"].names)
    assert abs(len(one["train"]) / len(chips) - 0.7) < 0.1
    assert list(fields.split(chips, (0.8, 0, 0.2))) == ["train", "test"]


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.5, 0.2, 0.2), (0, 0.5, 0.5), (1.2, -0.1, -0.1), (np.nan, 0.5, 0.5)])
def test_shares_out_of_range_are_refused(chips, shares):
    with pytest.raises(fields.ImageError, match="Expected"):
        fields.split(chips, shares)


def test_too_few_fields_are_refused():
    with pytest.raises(fields.ImageError, match="3 fields for 3 sides"):
        fields.split(made_up(np.zeros((4, 9)), [0, 0, 1, 1]))
