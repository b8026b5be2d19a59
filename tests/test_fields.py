"""Field images converted and fed: the same pixels in the same order from every form; errors name the record."""

import io
import json
import os
import shutil
import struct
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from PIL import Image

from arsetlib import fields, folders
from arsetlib.fields.order import BLOCK, Order
from arsetlib.fields.stored import SUFFIXES, load
from arsetlib.groves.changes import Augment, draw_changes, moved

SIDE, COUNT = 64, 100
FORMS = ("tfrecord", "parquet", "directory")
ALL = {"shuffle": True, "augment": True, "seed": 3, "batch": 16, "size": 32, "pool": 64}


def make_chips(folder, count=COUNT, side=SIDE, seed=0):
    """Images in the layout of Agriculture-Vision: noise, some with several classes, some with invalid pixels."""
    rng = np.random.default_rng(seed)
    for place in ("field_images/rgb", "field_images/nir", "field_bounds", "field_masks"):
        (folder / place).mkdir(parents=True)
    for name in fields.CLASSES:
        (folder / "field_labels" / name).mkdir(parents=True)
    for k in range(count):
        name = f"F{k // 4:04}_{k % 4 * 512}-0-{k % 4 * 512 + 512}-512"
        coarse = rng.integers(0, 256, (side // 8, side // 8, 4), np.uint8)
        pixels = np.asarray(Image.fromarray(coarse, "CMYK").resize((side, side), Image.Resampling.BICUBIC))
        Image.fromarray(pixels[..., :3].copy()).save(folder / "field_images/rgb" / f"{name}.jpg", quality=90)
        Image.fromarray(pixels[..., 3].copy()).save(folder / "field_images/nir" / f"{name}.jpg", quality=90)
        bounds, masks = (np.full((side, side), 255, np.uint8) for _ in range(2))
        if k % 3 == 0:
            bounds[: rng.integers(1, side // 2)] = 0
            masks[:, : rng.integers(1, side // 2)] = 0
        Image.fromarray(bounds).save(folder / "field_bounds" / f"{name}.png")
        Image.fromarray(masks).save(folder / "field_masks" / f"{name}.png")
        for number, label in enumerate(fields.CLASSES):
            mask = np.zeros((side, side), np.uint8)
            mask[-4:, -4:] = 255 * (k % 10 == number or (k % 4 == 0 and number == 7))
            Image.fromarray(mask).save(folder / "field_labels" / label / f"{name}.png")
    return folder


@pytest.fixture(scope="module")
def chips(tmp_path_factory):
    return fields.agriculture_vision(make_chips(tmp_path_factory.mktemp("fields") / "chips"))


@pytest.fixture(scope="module")
def converted(chips, tmp_path_factory):
    """Each form, in small files."""
    home = tmp_path_factory.mktemp("converted")
    made = {form: fields.convert(chips, home / form, form, shard_mb=0.1, progress=False) for form in FORMS}
    for form in ("tfrecord", "parquet"):
        made[f"raw {form}"] = fields.convert(
            chips, home / f"raw_{form}", form, size=32, encoding="raw", shard_mb=0.2, progress=False
        )
    return made


def a_copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


def all_of(source, epoch=0, **options):
    x, y = zip(*fields.batches(source, **options).arrays(epoch), strict=True)
    return np.concatenate(x), np.concatenate(y)


# -- the same from every form ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def expected(chips):
    return [all_of(chips, epoch, **ALL) for epoch in (0, 1)]


@pytest.mark.parametrize("form", [*FORMS, "raw tfrecord", "raw parquet"])
def test_every_form_gives_the_same_batches_for_a_seed(converted, expected, form):
    for epoch, readers in ((0, 1), (1, 3)):
        x, y = all_of(converted[form], epoch, readers=readers, **ALL)
        assert np.array_equal(x, expected[epoch][0])
        assert np.array_equal(y, expected[epoch][1])
    assert not np.array_equal(expected[0][0], expected[1][0])


def test_cached_pixels_give_the_same_batches(chips, converted, expected):
    for source in (chips, converted["tfrecord"], converted["directory"]):
        loader = fields.batches(source, cache=True, **ALL)
        for epoch in (1, 0):
            x, _ = zip(*loader.arrays(epoch), strict=True)
            assert np.array_equal(np.concatenate(x), expected[epoch][0])


def test_passes_over_the_dataset_are_the_epochs(converted, expected):
    loader = fields.batches(converted["tfrecord"], **ALL)
    assert len(loader.dataset) == loader.steps == len(loader) == -(-COUNT // 16)
    for epoch in (0, 1):
        x = np.concatenate([x for x, _ in loader.dataset.as_numpy_iterator()])
        assert np.array_equal(x, expected[epoch][0])


def test_full_size_pixels_are_those_of_a_plain_loop_with_pillow(chips, converted):
    x, y = all_of(converted["tfrecord"], size=SIDE)
    assert x.shape == (COUNT, SIDE, SIDE, 4)
    assert x.dtype == y.dtype == np.float32
    for k in range(COUNT):
        pixels, valid = fields.read(chips, k)
        assert np.array_equal(np.rint(x[k] * 255), np.where(valid[..., None], pixels, 0))
    assert np.array_equal(y, chips.labels)


def test_smaller_pixels_are_those_of_a_plain_loop(chips):
    half, fewer = all_of(chips, size=32)[0], all_of(chips, size=24)[0]
    at = (np.arange(24) + 0.5) * 32 / 24 - 0.5
    low, share = np.floor(at).astype(int), (at - np.floor(at)).astype(np.float32)
    for k in (0, 1, 3):
        paths = chips.paths(k)
        expected = np.zeros((32, 32, 4), np.uint8)
        for path, bands in ((paths.rgb, slice(3)), (paths.nir, slice(3, 4))):
            with Image.open(path) as picture:
                picture.draft(picture.mode, (32, 32))
                expected[..., bands] = np.asarray(picture).reshape(32, 32, -1)
        valid = fields.read(chips, k)[1]
        for row in range(32):
            for column in range(32):
                if not valid[2 * row : 2 * row + 2, 2 * column : 2 * column + 2].all():
                    expected[row, column] = 0
        assert np.array_equal(np.rint(half[k] * 255), expected)
        for i in range(24):
            for j in range(24):
                (a, b), (c, d) = expected[low[i] : low[i] + 2, low[j] : low[j] + 2].astype(np.float32)
                top, bottom = a + (b - a) * share[j], c + (d - c) * share[j]
                assert np.abs(fewer[k, i, j] * 255 - (top + (bottom - top) * share[i])).max() <= 0.501


def test_changes_are_those_of_a_plain_loop(chips):
    plain = all_of(chips, size=32)[0]
    loader = fields.batches(chips, size=32, augment=True, seed=5, batch=7)
    found = np.concatenate([x for x, _ in loader.arrays(2)])
    changes = draw_changes(Augment(contrast=(1, 1)), np.arange(COUNT), 5, 2)
    assert len({(m, f, t) for m, f, t in zip(changes.mirror, changes.flip, changes.turn, strict=True)}) == 16
    for k in range(COUNT):
        assert np.allclose(found[k], np.minimum(moved(plain[k], changes, k) * changes.brightness[k], 1), atol=1e-6)


def test_shuffled_each_image_comes_once(converted):
    x, y = all_of(converted["tfrecord"], shuffle=True, size=32)
    images = {image.tobytes() for image in x}
    assert images == {image.tobytes() for image in all_of(converted["tfrecord"], size=32)[0]}
    assert len(images) == COUNT
    assert y.sum() == load(converted["tfrecord"]).labels.sum()


def test_one_class_only_drops_the_others_and_says_how_many(chips, converted):
    one = chips.labels.sum(1) == 1
    loader = fields.batches(converted["parquet"], kind="single", size=32, shuffle=True)
    x, y = (np.concatenate(part) for part in zip(*loader.arrays(), strict=True))
    rows = loader.rows()
    assert loader.dropped == (~one).sum()
    assert sorted(rows) == np.flatnonzero(one).tolist()
    assert np.array_equal(y, chips.labels[rows])
    assert (y.sum(1) == 1).all()
    assert np.array_equal(x, all_of(chips, size=32)[0][rows])
    assert loader.counts.tolist() == chips.labels[one].sum(0).tolist()


def test_a_last_smaller_batch_can_be_left_out(converted):
    loader = fields.batches(converted["tfrecord"], batch=32, size=32, drop_remainder=True)
    assert [len(x) for x, _ in loader.arrays()] == [32, 32, 32]
    assert loader.steps == 3


# -- order and parts ---------------------------------------------------------------------------------------------------


def test_an_epoch_has_each_image_once_in_a_new_order():
    order = Order(np.arange(1000), shuffle=True, seed=1, pool=128)
    epochs = [order.epoch(k) for k in range(3)]
    assert all(np.array_equal(np.sort(e), np.arange(1000)) for e in epochs)
    assert len({e.tobytes() for e in epochs}) == 3
    assert np.array_equal(epochs[1], Order(np.arange(1000), shuffle=True, seed=1, pool=128).epoch(1))
    assert not np.array_equal(epochs[1], Order(np.arange(1000), shuffle=True, seed=2, pool=128).epoch(1))
    assert np.array_equal(Order(np.arange(1000)).epoch(5), np.arange(1000))


def test_a_pool_is_whole_blocks_and_no_larger_than_asked():
    pools = Order(np.arange(1000), shuffle=True, pool=100).pools(0)
    assert sorted(np.concatenate(pools)) == list(range(1000))
    for rows in pools:
        blocks = np.unique(rows // BLOCK)
        assert len(rows) <= 96
        assert len(blocks) <= 3
        assert sorted(rows) == [n for n in range(1000) if n // BLOCK in blocks]


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("count", [5, 64, 1001])
def test_parts_lose_and_repeat_nothing(count, shuffle):
    rows = np.arange(0, 2 * count, 2)
    for n in (1, 2, 3, 5):
        parts = [Order(rows, shuffle, 4, (k, n)) for k in range(n)]
        for epoch in (0, 1):
            given = [part.epoch(epoch) for part in parts]
            assert np.array_equal(np.sort(np.concatenate(given)), rows)
            assert [set(g) for g in given] == [set(part.rows) for part in parts]  # a worker keeps its images
        assert max(map(len, parts)) - min(map(len, parts)) <= 1
        if not shuffle:
            assert np.array_equal(np.concatenate(given), rows)


def test_workers_get_their_parts_of_the_files(converted):
    every = all_of(converted["directory"], size=32)[0]
    for form in ("tfrecord", "parquet", "directory"):
        loaders = [fields.batches(converted[form], part=(k, 3), shuffle=True, size=32) for k in range(3)]
        rows = np.concatenate([loader.rows(1) for loader in loaders])
        assert sorted(rows) == list(range(COUNT))
        x = np.concatenate([x for loader in loaders for x, _ in loader.arrays(1)])
        assert np.array_equal(x, every[rows])


# -- what a conversion writes ------------------------------------------------------------------------------------------


def test_records_are_the_files_as_they_were_and_the_index_says_where(chips, converted):
    import tensorflow as tf

    held = load(converted["tfrecord"])
    assert len(held.shards) > 1
    assert sum(shard.records for shard in held.shards) == COUNT
    for k in range(COUNT):
        with (held.folder / held.shards[held.shard[k]].file).open("rb") as file:
            file.seek(held.start[k])
            (length,) = struct.unpack("<Q", file.read(12)[:8])
            record = tf.train.Example.FromString(file.read(length)).features.feature
        paths = chips.paths(k)
        assert record["name"].bytes_list.value[0].decode() == chips.names[k]
        assert record["field"].bytes_list.value[0].decode() == chips.fields[k]
        assert list(record["labels"].int64_list.value) == chips.labels[k].tolist()
        assert record["rgb"].bytes_list.value[0] == paths.rgb.read_bytes()
        assert record["nir"].bytes_list.value[0] == paths.nir.read_bytes()
        valid, png = fields.read(chips, k)[1], record["valid"].bytes_list.value[0]
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(png))), valid) if png else valid.all()
    document = json.loads((held.folder / "index.json").read_text())
    assert document["classes"] == chips.counts
    assert document["images"] == COUNT
    assert document["licence"] == chips.licence
    assert not document["simulated"]


def test_a_directory_keeps_each_image_under_its_rarest_class_and_all_in_a_table(chips, converted):
    import pandas as pd

    table = pd.read_csv(converted["directory"] / "labels.csv", dtype={"field": str})
    assert table["name"].tolist() == chips.names.tolist()
    assert np.array_equal(table[list(fields.CLASSES)].to_numpy(), chips.labels)
    counts = chips.labels.sum(0)
    for k, row in table.iterrows():
        has = np.flatnonzero(chips.labels[k])
        expected = fields.CLASSES[min(has, key=lambda c: counts[c])] if len(has) else "no_anomaly"
        assert row.folder == expected
        files = [converted["directory"] / expected / f"{row['name']}{suffix}" for suffix in SUFFIXES[:2]]
        assert [f.read_bytes() for f in files] == [f.read_bytes() for f in (chips.paths(k).rgb, chips.paths(k).nir)]


@pytest.mark.parametrize("form", FORMS)
def test_the_number_of_threads_does_not_change_a_byte(chips, converted, tmp_path, form):
    again = fields.convert(chips, tmp_path / "again", form, shard_mb=0.1, jobs=5, progress=False)
    files = sorted(f.relative_to(again) for f in again.rglob("*") if f.is_file())
    assert files == sorted(f.relative_to(converted[form]) for f in converted[form].rglob("*") if f.is_file())
    assert all((again / f).read_bytes() == (converted[form] / f).read_bytes() for f in files)
    assert fields.verify(again) == COUNT


def test_files_have_about_the_size_asked_for(chips, tmp_path):
    out = fields.convert(chips, tmp_path / "out", "parquet", shard_mb=0.3, progress=False)
    sizes = [shard.bytes / 1e6 for shard in load(out).shards]
    assert len(sizes) > 1
    assert all(0.15 < size < 0.45 for size in sizes[:-1])


def test_images_made_smaller_once_are_nearly_those_made_smaller_each_time(chips, tmp_path):
    out = fields.convert(chips, tmp_path / "out", "tfrecord", size=32, progress=False)
    close = np.abs(all_of(out, size=32)[0] - all_of(chips, size=32)[0])
    assert load(out).side == 32
    assert close.mean() < 0.05
    assert (all_of(out, size=32)[0][0][:1] == 0).all()  # invalid pixels stay 0 in spite of JPEG


# -- interrupted, full, in the way -------------------------------------------------------------------------------------


def test_an_unreadable_image_stops_the_conversion_and_the_next_call_goes_on(chips, converted, tmp_path):
    folder = shutil.copytree(chips.folder, tmp_path / "chips")
    found = fields.agriculture_vision(folder)
    victim = found.paths(70).nir
    whole = victim.read_bytes()
    victim.write_bytes(whole[: len(whole) // 2] + bytes(len(whole) - len(whole) // 2))  # same size, no end
    with pytest.raises(fields.ImageError, match=f"{victim.name} is cut short"):
        fields.convert(found, tmp_path / "out", shard_mb=0.1, jobs=1, progress=False)
    kept = {f: f.stat().st_mtime_ns for f in (tmp_path / "out").glob("*.tfrecord")}
    assert 0 < len(kept) < len(load(converted["tfrecord"]).shards)
    assert not list((tmp_path / "out").glob(".*"))
    with pytest.raises(fields.ImageError, match="has not finished"):
        fields.batches(tmp_path / "out")
    victim.write_bytes(whole)
    out = fields.convert(found, tmp_path / "out", shard_mb=0.1, progress=False)
    assert all(f.stat().st_mtime_ns == when for f, when in kept.items())
    for file in converted["tfrecord"].glob("*.tfrecord"):
        assert (out / file.name).read_bytes() == file.read_bytes()
    assert fields.verify(out) == COUNT
    assert not list(out.glob(".*"))


def test_a_killed_conversion_goes_on_and_parquet_needs_no_tensorflow(chips, converted, tmp_path):
    code = f"""
        import os, signal, sys
        from arsetlib import fields
        from arsetlib.fields import writing
        write = writing.WRITERS["parquet"]
        def then_die(out, number, chips, *rest):
            if number == 2:
                next(iter(chips))
                assert "tensorflow" not in sys.modules
                (out / ".0123456789ab.part").write_bytes(b"half")
                os.kill(os.getpid(), signal.SIGKILL)
            return write(out, number, chips, *rest)
        writing.WRITERS["parquet"] = then_die
        chips = fields.agriculture_vision({str(chips.folder)!r})
        fields.convert(chips, {str(tmp_path / "out")!r}, "parquet", shard_mb=0.1, jobs=1, progress=False)
    """
    assert subprocess.run([sys.executable, "-c", textwrap.dedent(code)], timeout=100).returncode == -9
    kept = {f: f.stat().st_mtime_ns for f in (tmp_path / "out").glob("shard*")}
    assert len(kept) == 2
    out = fields.convert(chips, tmp_path / "out", "parquet", shard_mb=0.1, progress=False)
    assert all(f.stat().st_mtime_ns == when for f, when in kept.items())
    assert [f.read_bytes() for f in sorted(out.glob("*.parquet"))] == [
        f.read_bytes() for f in sorted(converted["parquet"].glob("*.parquet"))
    ]


@pytest.mark.parametrize("form", FORMS)
def test_a_full_disk_is_named_and_finished_files_are_kept(chips, tmp_path, form):
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000 if form == "directory" else 90_000, hard))
    try:
        with pytest.raises(fields.ImageError, match="disk of .* is full.*same command again"):
            fields.convert(chips, tmp_path / "out", form, shard_mb=0.5, progress=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert fields.verify(fields.convert(chips, tmp_path / "out", form, shard_mb=0.5, progress=False)) == COUNT


def test_a_folder_of_something_else_is_left_alone(chips, converted, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(fields.ImageError, match="holds something else"):
        fields.convert(chips, tmp_path, progress=False)
    with pytest.raises(fields.ImageError, match="form .was .tfrecord., now .parquet"):
        fields.convert(chips, converted["tfrecord"], "parquet", shard_mb=0.1, progress=False)
    with pytest.raises(fields.ImageError, match="conversion of another run.*identity"):
        fields.convert(chips[:50], converted["tfrecord"], shard_mb=0.1, progress=False)
    assert fields.convert(chips, converted["tfrecord"], shard_mb=0.1, progress=False) == converted["tfrecord"]


def test_two_conversions_to_one_folder_do_not_mix(chips, tmp_path):
    with folders.lock(tmp_path / "out"), pytest.raises(fields.ImageError, match="Another job"):
        fields.convert(chips, tmp_path / "out", "parquet", progress=False)


# -- damaged -----------------------------------------------------------------------------------------------------------


def flipped(file, at):
    data = bytearray(file.read_bytes())
    data[at] ^= 8
    file.write_bytes(data)


def test_a_bit_flipped_in_a_tfrecord_is_named_with_its_record(converted, tmp_path):
    folder = a_copy(converted["tfrecord"], tmp_path)
    held = load(folder)
    row = int(np.flatnonzero(held.shard == 1)[20])
    flipped(folder / held.shards[1].file, int(held.start[row]) + 500)
    loader = fields.batches(folder, size=32, shuffle=True)
    with pytest.raises(fields.ImageError, match=rf"{held.shards[1].file}, record 20 is damaged: its checksum"):
        list(loader.arrays())
    with pytest.raises(fields.ImageError, match=f"{held.shards[1].file} was changed"):
        fields.verify(folder)


def test_keras_shows_the_record_too(converted, tmp_path):
    import tensorflow as tf

    folder = a_copy(converted["tfrecord"], tmp_path)
    flipped(folder / load(folder).shards[0].file, 9)  # the checksum of the first length
    loader = fields.batches(folder, size=32)
    with pytest.raises(tf.errors.InvalidArgumentError, match="shard-00000.tfrecord, record 0 is damaged"):
        list(loader.dataset)
    with pytest.raises(fields.ImageError, match=r"^[^<>]*record 0 is damaged[^<>]*$"), loader.named_errors():
        list(loader.dataset)


def test_a_bit_flipped_in_parquet_is_named(converted, tmp_path):
    folder = a_copy(converted["parquet"], tmp_path)
    flipped(folder / load(folder).shards[0].file, 40_000)
    with pytest.raises(fields.ImageError, match=r"shard-00000.parquet, records from 0 on are damaged"):
        list(fields.batches(folder, size=32).arrays())


def test_records_that_arrow_leaves_out_are_an_error(converted, monkeypatch):
    import pyarrow.parquet as pq

    whole = pq.ParquetFile.read_row_group
    monkeypatch.setattr(pq.ParquetFile, "read_row_group", lambda *a, **k: whole(*a, **k).slice(1))
    with pytest.raises(fields.ImageError, match=r"records from \d+ on are damaged .*records came in place of"):
        list(fields.batches(converted["parquet"], size=32).arrays())


@pytest.mark.parametrize("form", ["tfrecord", "parquet"])
@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda f: f.write_bytes(f.read_bytes()[:-7]), "shard-00001.* has .* bytes, expected"),
        (lambda f: f.write_bytes(f.read_bytes() + b"more"), "shard-00001.* has .* bytes, expected"),
        (lambda f: f.unlink(), "shard-00001.* is missing"),
        (lambda f: shutil.copy(f, f.with_name("shard-00077" + f.suffix)), "shard-00077.* is not in index.json"),
        (lambda f: (f.parent / "records.parquet").write_bytes(b"x"), "records.parquet was changed"),
        (lambda f: (f.parent / "records.parquet").unlink(), "records.parquet is missing"),
        (lambda f: (f.parent / "index.json").write_text("{"), "index.json is damaged"),
        (lambda f: (f.parent / "index.json").write_text('{"schema": "other 7"}'), "schema 'other 7', expected"),
    ],
)
def test_a_set_that_is_not_as_its_index_says_is_not_read(converted, tmp_path, form, harm, message):
    folder = a_copy(converted[form], tmp_path)
    harm(folder / f"shard-00001.{form}")
    with pytest.raises(fields.ImageError, match=message):
        fields.batches(folder)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda d: [f.unlink() for f in (d / "water").iterdir()], "water.* is missing"),
        (lambda d: shutil.rmtree(d / "water"), "water.* is missing"),
        (lambda d: min((d / "water").iterdir()).unlink(), "water.* is missing"),
        (lambda d: (d / "water" / "new.rgb.jpg").write_bytes(b"x"), "new.rgb.jpg is not in index.json"),
        (lambda d: (d / "weeds").mkdir(), "weeds is not a class folder"),
    ],
)
def test_a_directory_that_is_not_as_its_index_says_is_not_read(converted, tmp_path, harm, message):
    folder = a_copy(converted["directory"], tmp_path)
    harm(folder)
    with pytest.raises(fields.ImageError, match=message):
        fields.batches(folder)


def test_damaged_files_of_a_directory_are_named(converted, tmp_path):
    folder = a_copy(converted["directory"], tmp_path)
    file = sorted((folder / "water").glob("*.rgb.jpg"))[2]
    whole, loader = file.read_bytes(), fields.batches(folder, size=32, shuffle=True)
    file.write_bytes(whole[:-100])
    with pytest.raises(fields.ImageError, match=f"{file.name} has {len(whole) - 100} bytes, expected {len(whole)}"):
        list(loader.arrays())
    with pytest.raises(fields.ImageError, match=f"{file.name} has {len(whole) - 100:,} bytes, expected {len(whole):,}"):
        fields.batches(folder, size=32)
    file.write_bytes(whole[:-100] + bytes(100))
    with pytest.raises(fields.ImageError, match=f"{file.name} cannot be decoded"):
        list(fields.batches(folder, size=32, shuffle=True).arrays())


def test_chips_that_changed_since_they_were_found_are_named(chips, tmp_path):
    folder = shutil.copytree(chips.folder, tmp_path / "chips")
    found = fields.agriculture_vision(folder)
    rgb, nir, masks = found.paths(5).rgb, found.paths(6).nir, found.paths(7).masks
    for path, make, message in (
        (rgb, lambda: Image.new("RGB", (32, 64)).save(rgb), "64 × 32 pixels of 3 channel.*expected 64 × 64 of 3"),
        (nir, lambda: Image.new("RGB", (64, 64)).save(nir), "64 × 64 pixels of 3 channel.*of 1 as the others"),
        (rgb, lambda: rgb.write_bytes(b"text"), "is a text .*Expected a JPEG"),
        (rgb, rgb.unlink, "missing|cannot be read"),
        (masks, lambda: Image.new("L", (32, 32), 255).save(masks), "32 × 32"),
    ):
        whole = path.read_bytes()
        make()
        for use in (
            lambda: list(fields.batches(found, size=32).arrays()),
            lambda: fields.convert(found, tmp_path / "out", "parquet", progress=False),
        ):
            with pytest.raises(fields.ImageError, match=message) as problem:
                use()
            assert path.stem in str(problem.value)
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        path.write_bytes(whole)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch": 0}, "batch and readers from 1"),
        ({"kind": "both"}, "kind multi"),
        ({"cache": "memory"}, "cache True or False"),
        ({"part": (2, 2)}, "part="),
        ({"augment": Augment()}, "contrast"),
        ({"batch": 1000, "drop_remainder": True}, "no batch of 1000"),
    ],
)
def test_wrong_options_of_a_loader_are_named(chips, options, message):
    with pytest.raises(fields.ImageError, match=message):
        fields.batches(chips, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"form": "zip"}, "'zip'"),
        ({"encoding": "png"}, "'png'"),
        ({"encoding": "raw"}, "needs size"),
        ({"size": 4}, "received 4"),
        ({"size": 999}, "received 999"),
        ({"shard_mb": 0}, "shard_mb above 0"),
        ({"jobs": 0}, "jobs from 1"),
    ],
)
def test_wrong_options_of_a_conversion_are_named(chips, tmp_path, options, message):
    with pytest.raises(fields.ImageError, match=message):
        fields.convert(chips, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


# -- larger than memory ------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited as Linux does")
def test_a_set_larger_than_memory_streams_and_does_not_fit_at_once(tmp_path):
    """Under a limit of what the process may ask for, all at once fails, and a stream gives every image."""
    few = fields.agriculture_vision(make_chips(tmp_path / "chips", count=8, side=256))
    many = few[np.arange(1000) % 8]
    out = fields.convert(many, tmp_path / "out", size=256, encoding="raw", shard_mb=30, progress=False)
    size = sum(f.stat().st_size for f in out.glob("*.tfrecord"))
    assert size > 250e6
    code = f"""
        import os, resource
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
        import numpy as np
        from arsetlib import fields
        def loader():
            return fields.batches({str(out)!r}, size=256, shuffle=True, seed=1, pool=64, batch=8)
        next(loader().arrays())  # what TensorFlow takes for itself
        used = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmData")) * 1024
        resource.setrlimit(resource.RLIMIT_DATA, (used + {size * 2 // 3}, -1))
        try:
            np.empty({size}, np.uint8)
        except MemoryError:
            print("does not fit")
        print(sum(len(x) for x, _ in loader().arrays()))
    """
    # Stacks and heaps of threads count as memory too, used or not: small ones leave the limit to the images.
    command = ["sh", "-c", 'ulimit -s 1024; exec "$0" -c "$1"', sys.executable, textwrap.dedent(code)]
    few_heaps = os.environ | {"MALLOC_ARENA_MAX": "2"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, env=few_heaps)
    assert done.stdout.split("\n")[:2] == ["does not fit", "1000"], done.stderr[-2000:]
