"""One flipped bit in a file of ours is noticed wherever it is, and files that were made anew are not blamed."""

import hashlib
import json
import random
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import rasterio

from arsetlib import checksums, ingest
from arsetlib.catalogue import Scenes, find_scenes
from arsetlib.ingest import Reader, SceneError
from arsetlib.labels import CatalogueError, find_labels
from arsetlib.study import Study


def flip(path, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)
    checksums._once.cache_clear()  # the file's time may not have changed in a thousandth of a second


@pytest.fixture(scope="module")
def small(delta, tmp_path_factory):
    """The simulated delta with the files of its first scene only."""
    copy = shutil.copytree(delta, tmp_path_factory.mktemp("small") / "delta", ignore=shutil.ignore_patterns("scenes"))
    files = Path(first(delta).hrefs["red"]).parent
    shutil.copytree(files, copy / files.relative_to(delta))
    return copy


@pytest.fixture
def place(small, tmp_path):
    """A copy, to be damaged."""
    return shutil.copytree(small, tmp_path / "delta")


def first(folder):
    return next(iter(find_scenes(Study.load(folder / "study.toml"), progress=False)))


def reader(scene) -> Reader:
    """Reads a row of pixels through the middle of a scene."""
    step, _, west, _, down, north = scene.transform
    x = west + step * np.arange(1, scene.shape[1], 3)
    return Reader(x, np.full(x.size, north + down * scene.shape[0] / 2), scene.epsg, "c0")


def test_items_state_size_and_checksum_of_every_file_as_the_file_extension_says(delta):
    for item in sorted((delta / "items").glob("*.json"))[:3]:
        held = json.loads(item.read_text())
        assert any("/file/" in name for name in held["stac_extensions"])
        for asset in held["assets"].values():
            file = delta / "items" / asset["href"]
            assert asset["file:size"] == file.stat().st_size
            assert asset["file:checksum"] == "1220" + checksums.sha256(file)


@pytest.mark.parametrize("asset", ["red", "scl"])
def test_a_flipped_bit_anywhere_in_a_scene_is_noticed(place, asset):
    scene = first(place)
    file = next((place / "scenes").rglob(f"{scene.id}/{asset}.tif"))
    reader(scene).values(scene, asset)
    for bit in random.Random(1).sample(range(8 * file.stat().st_size), 200):
        flip(file, bit)
        with pytest.raises(SceneError, match=f"{asset} of scene {scene.id}.*{asset}.tif is damaged"):
            reader(scene).values(scene, asset)
        flip(file, bit)
    reader(scene).values(scene, asset)


def test_checksums_come_through_a_saved_list(place, tmp_path):
    scene = first(place)
    Scenes((scene,)).save(tmp_path / "items.json")
    (back,) = Scenes.load(tmp_path / "items.json")
    assert back.checksums == scene.checksums
    assert set(back.checksums) == set(scene.hrefs)


def test_a_local_copy_that_was_compressed_anew_is_read(place):

    scene = first(place)
    file = next((place / "scenes").rglob(f"{scene.id}/red.tif"))
    before = reader(scene).values(scene, "red")
    with rasterio.open(file) as src:
        data, profile = src.read(1), src.profile
    with rasterio.open(file, "w", **{**profile, "compress": "DEFLATE"}) as out:
        out.write(data, 1)
    checksums._once.cache_clear()
    np.testing.assert_array_equal(reader(scene).values(scene, "red"), before)


@pytest.mark.parametrize("said", [None, 7, "", "zz", "1114" + "0" * 40, "1220"])
def test_another_function_or_no_checksum_is_not_compared(tmp_path, said):
    (tmp_path / "a").write_bytes(b"abc")
    if said == "1220":
        with pytest.raises(checksums.ChecksumError):
            checksums.check(tmp_path / "a", 3, said)
    else:
        checksums.check(tmp_path / "a", 3, said)


@pytest.mark.parametrize("name", ["cdl_2021.tif", "cdl_2021_confidence.tif"])
def test_a_flipped_bit_anywhere_in_simulated_labels_is_noticed(place, name):
    study, file = Study.load(place / "study.toml"), place / name
    find_labels(study, 2021, progress=False)
    for bit in random.Random(2).sample(range(8 * file.stat().st_size), 100):
        flip(file, bit)
        with pytest.raises(CatalogueError, match=f"{name} is damaged"):
            find_labels(study, 2021, progress=False)
        flip(file, bit)
    find_labels(study, 2021, progress=False)


def test_the_list_of_checksums_is_one_that_sha256sum_checks(place):
    if shutil.which("sha256sum") is None:
        pytest.skip("no sha256sum here")
    done = subprocess.run(["sha256sum", "-c", checksums.LIST], cwd=place, capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout.count(": OK") == 3


def test_a_file_that_no_list_names_is_not_compared(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    checksums.check_beside(tmp_path / "a")
    (tmp_path / checksums.LIST).write_text("not a list\n")
    checksums.check_beside(tmp_path / "a")


def spoil(file, how: str) -> None:
    """Damage that GDAL cannot read; no list of checksums names the file."""
    (file.parent / checksums.LIST).unlink(missing_ok=True)
    data = file.read_bytes()
    if how == "cut short":
        file.write_bytes(data[: len(data) * 2 // 3])
    elif how == "text":
        file.write_text("version https://git-lfs.github.com/spec/v1\n")
    else:
        file.write_bytes(b"")


@pytest.mark.parametrize("how", ["cut short", "text", "empty"])
@pytest.mark.parametrize("name", ["cdl_2021.tif", "cdl_2021_confidence.tif"])
def test_damaged_labels_are_one_error_that_names_the_file(place, name, how):
    study = Study.load(place / "study.toml")
    scenes = find_scenes(study, progress=False)
    spoil(place / name, how)

    def build():
        labels = {2021: find_labels(study, 2021, progress=False)}
        ingest.ingest(study, scenes, labels, place / "px", progress=False)

    with pytest.raises((CatalogueError, ingest.IngestError), match=name):
        build()


def test_a_digest_of_json_or_arrays_is_sha256_of_plain_bytes_whatever_the_order_of_keys():
    plain = hashlib.sha256(b'{"a": [1, null], "b": "x"}').hexdigest()
    assert checksums.digest_json({"b": "x", "a": (1, None)}) == plain
    assert checksums.digest_json(Path("a"), default=str) == hashlib.sha256(b'"a"').hexdigest()
    columns = [np.arange(6, dtype="<i4").reshape(2, 3).T, np.float32([0.5])]
    assert checksums.digest_arrays(columns) == hashlib.sha256(b"".join(c.tobytes() for c in columns)).hexdigest()
