"""The pixel table in an object store: made, checked and read as on a disk, whatever the store does."""

import json
import threading

import numpy as np
import pyarrow.compute as pc
import pytest
import tiny

from arsetlib import folders, leases, pixels, samples
from arsetlib.ingest import IngestError, ingest
from arsetlib.stores import StorePath, place


@pytest.fixture(scope="module")
def tiny_place(tmp_path_factory):
    return tiny.make(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def on_disk(tiny_place, tmp_path_factory):
    """The table on this disk."""
    return made(tiny_place, tmp_path_factory.mktemp("disk") / "table")


def made(a_place, out, **options):
    ingest(a_place.study, a_place.scenes, a_place.labels, out, progress=False, **options)
    return out


def held(folder) -> dict[str, bytes]:
    """Key → content of all files; JSON without what the clock decides."""
    keys = folder.files() if isinstance(folder, StorePath) else folders.Folder(folder).keys()
    return {key: (folder / key).read_bytes() for key in keys}


def same_table(stored, local) -> bool:
    """Whether all files are the same; the item list names its scenes relative to itself."""
    one, other = held(place(stored)), held(local)
    assert sorted(one) == sorted(other)
    return all(one[key] == other[key] for key in other if key != "_scenes.json")


def test_a_table_in_a_store_has_the_bytes_of_one_on_a_disk_and_a_rerun_makes_nothing(bucket, tiny_place, on_disk):
    stored = made(tiny_place, f"{bucket}/deep folder/table")
    assert same_table(stored, on_disk)
    again = ingest(tiny_place.study, tiny_place.scenes, tiny_place.labels, stored, progress=False)
    assert again.resumed == again.chunks


def test_a_table_in_a_store_is_read_checked_and_described_as_on_a_disk(bucket, tiny_place, on_disk):
    stored = made(tiny_place, f"{bucket}/table")
    assert pixels.read(stored).equals(pixels.read(on_disk))
    chosen = {"columns": ["pixel", "year"], "filter": pc.field("year") == 2021}
    assert pixels.read(stored, **chosen).equals(pixels.read(on_disk, **chosen))
    assert pixels.check(stored).ok, str(pixels.check(stored))
    assert pixels.summary(stored) == pixels.summary(on_disk)
    assert pixels.Meta.of(stored) == pixels.Meta.of(on_disk)
    assert [f.name for f in pixels.files(stored)] == [f.name for f in pixels.files(on_disk)]


def test_a_loader_gives_the_same_batches_from_a_store(bucket, tiny_place, on_disk, monkeypatch):
    monkeypatch.setattr(pixels.schema, "ROW_GROUP", 50)
    local = made(tiny_place, on_disk.with_name("small-groups"))
    stored = made(tiny_place, f"{bucket}/table")
    assert same_table(stored, local)
    scaler = samples.Scaler.fit(local, tiny_place.study)
    assert samples.Scaler.fit(stored, tiny_place.study) == scaler
    for stream in (False, samples.Streaming(pool=100)):
        options = {"start": "random", "seed": 3, "batch": 16, "stream": stream}
        one, other = (samples.arrays(path, tiny_place.study, scaler, **options) for path in (stored, local))
        for (x, y), (x2, y2) in zip(one, other, strict=True):
            np.testing.assert_array_equal(x, x2)
            np.testing.assert_array_equal(y, y2)


def test_a_folder_of_a_store_without_its_manifest_is_not_read_and_the_same_call_completes_it(
    bucket, tiny_place, on_disk
):
    stored = place(made(tiny_place, f"{bucket}/table"))
    (stored / "_manifest.json").unlink()
    with pytest.raises(pixels.PixelError, match="unfinished"):
        pixels.read(stored)
    first = next(stored.glob("*.parquet"))
    made(tiny_place, stored)
    first.unlink()
    with pytest.raises(pixels.PixelError, match=f"{first.name} is missing"):
        pixels.read(stored)
    assert not pixels.check(stored).ok
    made(tiny_place, stored)
    assert same_table(stored, on_disk)


def test_a_change_in_a_store_is_found_by_check(bucket, tiny_place):
    stored = place(made(tiny_place, f"{bucket}/table"))
    first = next(stored.glob("*.parquet"))
    content = bytearray(first.read_bytes())
    content[len(content) // 2] ^= 1
    first.write_bytes(bytes(content))
    assert "checksum" in str(pixels.check(stored))


def test_another_job_is_kept_out_and_a_killed_one_is_not_waited_for_long(bucket, monkeypatch):
    folder = place(bucket) / "table"
    with folders.claim(folder, {}, ["a"]):
        with (
            pytest.raises(folders.FolderError, match="Another job is writing") as busy,
            folders.claim(folder, {}, ["a"]),
        ):
            pass
        assert "sign of life" in str(busy.value)
        content = json.loads((folder / ".lock").read_bytes())
    assert not (folder / ".lock").exists()
    # a lease of a job on another machine that was killed: it is free when it is old
    (folder / ".lock").write_bytes(json.dumps(content | {"machine": "other", "job": "killed"}).encode())
    with pytest.raises(folders.FolderError, match="free"), folders.claim(folder, {}, ["a"]):
        pass
    monkeypatch.setattr(leases, "DEAD", -1.0)
    with folders.claim(folder, {}, ["a"]):
        assert json.loads((folder / ".lock").read_bytes())["job"] != "killed"
    monkeypatch.setattr(leases, "DEAD", 90.0)
    # one on this machine whose process has ended: at once
    gone = json.dumps(content | {"process": 2**22 + 1}).encode()
    (folder / ".lock").write_bytes(gone)
    with folders.claim(folder, {}, ["a"]):
        pass
    assert sorted(folder.files()) == ["_plan.json"]


def test_a_job_that_works_for_long_gives_signs_of_life(bucket, monkeypatch):
    monkeypatch.setattr(leases, "BEAT", 0.05)
    folder = place(bucket) / "table"
    with folders.lock(folder):
        before = (folder / ".lock").stat().stamp
        for _ in range(200):
            threading.Event().wait(0.05)
            if (folder / ".lock").stat().stamp != before:
                break
        assert (folder / ".lock").stat().stamp != before
    assert not folder.exists()


def test_of_many_jobs_that_begin_at_once_one_works(bucket):
    folder, inside, most, refused = place(bucket) / "table", [], [], []

    def job():
        try:
            with folders.lock(folder):
                inside.append(1)
                most.append(len(inside))
                threading.Event().wait(0.3)
                inside.pop()
        except folders.FolderError:
            refused.append(1)

    jobs = [threading.Thread(target=job) for _ in range(8)]
    for one in jobs:
        one.start()
    for one in jobs:
        one.join()
    assert max(most) == 1
    assert len(most) + len(refused) == 8


def test_a_table_of_another_run_in_a_store_is_refused(bucket, tiny_place):
    stored = made(tiny_place, f"{bucket}/table")
    with pytest.raises(IngestError, match="another run"):
        made(tiny_place, stored, every=2)


def test_no_key_is_saved_with_a_table(bucket, tiny_place):
    stored = place(made(tiny_place, f"{bucket}/table"))
    for key, content in held(stored).items():
        assert b"test-secret-never-saved" not in content, key
        assert b"test-key" not in content, key
