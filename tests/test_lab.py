"""What a lab works on: pictures found or made with one call, and a folder for what is made of them."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

from arsetlib import folders, lab


def test_what_is_made_of_pictures_lies_with_the_data_and_apart_from_that_of_other_pictures(tmp_path):
    one, other = tmp_path / "a" / "grove", tmp_path / "b" / "grove"
    for folder in (one, other):
        folder.mkdir(parents=True)
    mine, theirs = (lab.groves(folder, data=tmp_path / "data") for folder in (one, other))
    assert mine.work.parent == tmp_path / "data"
    assert mine.work != theirs.work
    assert mine.work == lab.groves(str(one), data=tmp_path / "data").work
    assert not mine.simulated
    assert lab.fields(one, data=tmp_path / "data").folder == one


def test_with_the_data_in_a_store_the_table_is_made_there_and_the_rest_on_this_machine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ARSET_DATA", "s3://class/data")
    here = lab.place("sample")
    assert str(here.table_path).startswith("s3://class/data/")
    assert here.work.parent == lab.groves(tmp_path).work.parent == Path("data")
    assert here.work.is_dir()


def test_a_file_of_a_scene_in_the_data_of_a_store_is_copied_and_any_other_stays_as_it_is(bucket):
    folders.put(bucket / "data" / "red.tif", b"red")
    here = dataclasses.replace(lab.place("sample"), data=bucket / "data")
    for href in ("https://host/red.tif", f"{bucket}/data-of-others/red.tif", "/data/red.tif"):
        assert here.file(SimpleNamespace(hrefs={"red": href}), "red") == href
    copy = here.file(SimpleNamespace(hrefs={"red": f"{bucket}/data/red.tif"}), "red")
    assert copy.read_bytes() == b"red"
