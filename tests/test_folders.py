"""A folder is complete when every planned part is there: whatever is repeated, killed, damaged or begun twice."""

import errno
import itertools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from arsetlib import folders
from arsetlib.folders import FolderError, OccupiedError, claim

PARTS = ["a", "b", "c"]


def make(folder, part):
    """What a task does: a part that is there is not made again, and none is begun once one has failed."""
    if folder.done(part) is None and not folder.failed:
        folder.put(f"{part}.bin", part * 1000)
        folder.finish(part, [f"{part}.bin"], letter=part)


def whole(path, parts=PARTS, **plan):
    with claim(path, plan, parts) as folder:
        if folder.manifest() is None:
            for part in parts:
                make(folder, part)
            folder.publish(letters=len(parts))
    return folder


def names(path):
    return sorted(str(p.relative_to(path)) for p in path.rglob("*") if p.is_file())


def test_a_folder_holds_its_parts_its_plan_and_a_manifest_and_nothing_else(tmp_path):
    folder = whole(tmp_path / "out", colour="red")
    assert names(tmp_path / "out") == ["_manifest.json", "_plan.json", "a.bin", "b.bin", "c.bin"]
    assert folders.state(tmp_path / "out") == "complete"
    assert folder.plan() == {"colour": "red", "parts": PARTS}
    assert folder.manifest()["letters"] == 3
    assert folder.manifest()["parts"]["b"] == {
        "files": {"b.bin": folders.size_and_sha256(tmp_path / "out" / "b.bin")},
        "letter": "b",
    }
    assert list(folders.problems(tmp_path / "out", deep=True)) == []


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    seen, replace = [], os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: seen.append(os.pread(handle, 9, 0).decode()))
    monkeypatch.setattr(os, "replace", lambda old, new: (seen.append("named"), replace(old, new)))
    folders.put(tmp_path / "a.txt", "corn")
    assert seen == ["corn", "named"]


def test_a_complete_folder_is_left_as_it_is(tmp_path):
    whole(tmp_path)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
    whole(tmp_path)
    assert before == {p: p.stat().st_mtime_ns for p in tmp_path.iterdir()}


@pytest.mark.parametrize("order", list(itertools.permutations(["fail b", "a", "c", "b"])))
def test_a_failure_is_not_lost_when_its_task_is_repeated(tmp_path, order):
    """Spark repeats the tasks of a lost worker, in any order, also that which failed."""

    def run(folder, task):
        if task == "fail b":
            folder.fail("b", "The scene is broken.")
        else:
            make(folder, task)

    order = [task for task in order if task != "b" or order.index("b") > order.index("fail b")]  # b fails, then stops
    with claim(tmp_path, {}, PARTS) as folder:
        for task in (*order, *order):
            run(folder, task)
        with pytest.raises(FolderError, match="^The scene is broken"):
            folder.publish()
    assert folders.state(tmp_path) == "unfinished"
    assert whole(tmp_path).manifest()["letters"] == 3
    assert not (tmp_path / "_errors").exists()


def test_nothing_is_published_without_every_planned_part(tmp_path):
    with claim(tmp_path, {}, PARTS) as folder:
        make(folder, "a")
        make(folder, "c")
        with pytest.raises(FolderError, match=r"unfinished: 1 of 3 parts are missing, the first is b\. Run the same"):
            folder.publish()
        make(folder, "b")
        (tmp_path / "a.bin").unlink()  # whatever its task had reported
        with pytest.raises(FolderError, match="1 of 3 parts are missing, the first is a"):
            folder.publish()
    assert folders.state(tmp_path) == "unfinished"


@pytest.mark.parametrize("damage", ["gone", "cut", "flipped"])
@pytest.mark.parametrize("finished", [True, False])
def test_a_damaged_part_is_made_anew_and_no_other(tmp_path, damage, finished):
    out = tmp_path / "out"
    with claim(out, {}, PARTS) as folder:
        make(folder, "a")
        make(folder, "b")
        if finished:
            make(folder, "c")
            folder.publish()
    before = (out / "b.bin").stat().st_mtime_ns
    if damage == "gone":
        (out / "a.bin").unlink()
    else:
        (out / "a.bin").write_bytes(b"x" * (10 if damage == "cut" else 1000))
    if finished and damage == "flipped":  # of a complete folder only a check reads all bytes
        assert list(folders.problems(out)) == []
        assert "a.bin was changed" in next(folders.problems(out, deep=True))
        return
    assert whole(out).manifest()["parts"].keys() == set(PARTS)
    assert (out / "a.bin").read_text() == "a" * 1000
    assert (out / "b.bin").stat().st_mtime_ns == before
    assert list(folders.problems(out, deep=True)) == []


def test_what_differs_from_the_manifest_is_named(tmp_path):
    whole(tmp_path)
    (tmp_path / "a.bin").unlink()
    (tmp_path / "b.bin").write_text("short")
    (tmp_path / "d.bin").write_text("more")
    found = list(folders.problems(tmp_path, listed=".bin"))
    assert [w.split(" ", 1)[1] for w in found] == [
        "is missing", "has 5 bytes, expected 1,000", "is not in _manifest.json: move it elsewhere",
    ]  # fmt: skip
    (tmp_path / "_manifest.json").write_text("{")
    assert "is damaged" in next(folders.problems(tmp_path))


BAD_MANIFESTS = {
    "no parts": lambda held: held.pop("parts"),
    "null for parts": lambda held: held.update(parts=None),
    "a list of parts": lambda held: held.update(parts=list(held["parts"])),
    "null for files": lambda held: held["parts"]["a"].update(files=None),
    "text for a size": lambda held: held["parts"]["a"]["files"]["a.bin"].update(size="5"),
    "no checksum": lambda held: held["parts"]["a"]["files"]["a.bin"].pop("sha256"),
}


@pytest.mark.parametrize("change", BAD_MANIFESTS.values(), ids=BAD_MANIFESTS)
def test_a_manifest_of_another_form_is_named_and_made_anew(tmp_path, change):
    whole(tmp_path / "out")
    held = json.loads((tmp_path / "out/_manifest.json").read_text())
    good = json.dumps(held)
    change(held)
    (tmp_path / "out/_manifest.json").write_text(json.dumps(held))
    assert "_manifest.json is damaged" in next(folders.problems(tmp_path / "out"))
    whole(tmp_path / "out")
    assert json.loads((tmp_path / "out/_manifest.json").read_text()) == json.loads(good)


def test_deep_nesting_is_damage(tmp_path):
    whole(tmp_path / "out")
    (tmp_path / "out/_manifest.json").write_text("[" * 100_000)
    assert "_manifest.json is damaged" in next(folders.problems(tmp_path / "out"))


def test_a_manifest_that_lacks_a_planned_part_is_not_complete(tmp_path):
    out = tmp_path / "out"
    whole(out)
    held = json.loads((out / "_manifest.json").read_text())
    for key in held["parts"].pop("a")["files"]:
        (out / key).unlink()
    (out / "_manifest.json").write_text(json.dumps(held))
    assert "_manifest.json lacks a, which _plan.json names" in next(folders.problems(out))
    whole(out)  # makes it again
    assert list(folders.problems(out, deep=True)) == []


def test_a_damaged_plan_is_named(tmp_path):
    out = tmp_path / "out"
    whole(out)
    (out / "_plan.json").write_text("{")
    assert "_plan.json is damaged" in next(folders.problems(out))
    with pytest.raises(FolderError, match=r"_plan\.json is damaged"):
        whole(out)


def test_a_folder_of_other_things_is_left_alone(tmp_path):
    (tmp_path / "thesis.doc").write_text("years of work")
    with pytest.raises(FileExistsError, match=r"holds something else \(thesis\.doc\)"), claim(tmp_path, {}, PARTS):
        pass
    assert names(tmp_path) == ["thesis.doc"]
    with pytest.raises(OccupiedError, match="is a file"), claim(tmp_path / "thesis.doc", {}, PARTS):
        pass


@pytest.mark.parametrize("finished", [True, False])
def test_a_folder_of_another_plan_is_refused_with_what_differs(tmp_path, finished):
    with claim(tmp_path, {"seed": 1, "years": [2020]}, PARTS) as folder:
        if finished:
            [make(folder, part) for part in PARTS]
            folder.publish()
    before = names(tmp_path)
    state = "the folder" if finished else "the unfinished folder"
    with (
        pytest.raises(
            OccupiedError, match=rf"holds {state} of another run, which differs in: seed \(was 1, now 2\)\. Fin"
        ),
        claim(tmp_path, {"seed": 2, "years": [2020]}, PARTS),
    ):
        pass
    assert names(tmp_path) == before


@pytest.mark.parametrize(("name", "kind"), [
    (".lock", "folder"), ("_plan.json", "folder"), ("_manifest.json", "folder"), ("_errors", "file"),
    ("_parts", "file"),
])  # fmt: skip
def test_a_folder_or_file_that_has_one_of_our_names_is_named(tmp_path, name, kind):
    (tmp_path / name).mkdir() if kind == "folder" else (tmp_path / name).touch()
    with pytest.raises(OccupiedError, match=rf"{name} is a {kind}, and the library needs"), claim(tmp_path, {}, PARTS):
        pass
    assert (tmp_path / name).exists()
    if name == ".lock":
        with pytest.raises(FolderError, match="Rename it"), folders.lock(tmp_path):
            pass


def test_files_are_listed_read_and_deleted_by_key(tmp_path):
    with claim(tmp_path, {}, PARTS) as folder:
        folder.put("deep/a.bin", b"1")
        folder.put("b.bin", b"2")
        assert folder.keys() == [".lock", "_plan.json", "b.bin", "deep/a.bin"]
        assert folder.keys("deep") == ["deep/a.bin"]
        assert folder.keys("none") == []
        assert folder.read("deep/a.bin") == b"1"
        folder.delete("deep/a.bin")
        folder.delete("deep/a.bin")
        assert folder.keys("deep") == []


def test_two_at_once_are_refused_and_the_lock_leaves_nothing(tmp_path):
    second = claim(tmp_path, {}, PARTS)
    with claim(tmp_path, {}, PARTS), pytest.raises(FolderError, match="Another job is writing"):
        second.__enter__()
    assert names(tmp_path) == ["_plan.json"]


def test_a_link_that_leads_nowhere_is_named(tmp_path):
    (tmp_path / "link").symlink_to("gone")
    with pytest.raises(FolderError, match="link is a link to gone, which is not there"):
        claim(tmp_path / "link", {}, PARTS).__enter__()


def test_a_claim_that_was_killed_at_its_first_file_goes_on(tmp_path):
    (tmp_path / ".lock").touch()
    (tmp_path / ".0123456789ab.part").write_text('{"pa')
    whole(tmp_path)
    assert names(tmp_path) == ["_manifest.json", "_plan.json", "a.bin", "b.bin", "c.bin"]


def test_more_parts_can_be_planned_where_a_folder_grows(tmp_path):
    whole(tmp_path, ["a"])
    with claim(tmp_path, {}, ["b", "a"], grows=True) as folder:
        assert folders.state(tmp_path) == "unfinished"
        assert folder.missing() == ["b"]
        make(folder, "b")
        folder.publish()
    assert list(folder.manifest()["parts"]) == ["a", "b"]
    with claim(tmp_path, {}, ["a"], grows=True) as folder:
        assert folder.manifest() is not None


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    file = tmp_path / "deep" / "file.txt"
    folders.put(file, "one\n")

    def fails(half):
        half.write_text("tw")
        half.with_name(half.name + ".ovr.tmp").touch()  # of a library
        raise ValueError("a library failed")

    with pytest.raises(ValueError, match="a library failed"):
        folders.put(file, fails)
    assert file.read_text() == "one\n"
    assert names(tmp_path) == ["deep/file.txt"]


@pytest.mark.parametrize("problem", [
    OSError(errno.ENOSPC, "No space left on device"), OSError(errno.EDQUOT, "Disk quota exceeded"),
    RuntimeError("h5py: No space left on device"),
])  # fmt: skip
def test_a_full_disk_is_named_with_its_free_space(tmp_path, problem):
    says = rf"The disk of {tmp_path} is full \([\d,.]+ MB free\)\. Free some space and run"
    with pytest.raises(FolderError, match=says), claim(tmp_path, {}, PARTS):
        raise problem
    whole(tmp_path)


def test_other_problems_are_not_put_down_to_the_disk(tmp_path):
    with pytest.raises(PermissionError), claim(tmp_path, {}, PARTS):
        raise PermissionError(errno.EACCES, "Permission denied")


def test_a_complete_folder_can_be_used_where_nothing_can_be_written(tmp_path):
    whole(tmp_path)
    if os.geteuid() == 0:
        pytest.skip("root writes everywhere")
    tmp_path.chmod(0o500)
    try:
        whole(tmp_path)
    finally:
        tmp_path.chmod(0o700)


def test_in_a_volume_a_copy_that_was_cut_short_is_made_again(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "VOLUMES", str(tmp_path))
    whole(tmp_path / "whole")
    for name in ("_plan.json", "_manifest.json"):
        cut = tmp_path / name / "table"
        if name == "_manifest.json":
            whole(cut)
        cut.mkdir(parents=True, exist_ok=True)
        (cut / name).write_bytes((tmp_path / "whole" / name).read_bytes()[:20])
        assert folders.Folder(cut).manifest() is None
        whole(cut)
        assert names(cut) == names(tmp_path / "whole")
        assert (cut / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize("said", [NotImplementedError("use SoftFileLock"), OSError(errno.ENOLCK, "No locks available")])
def test_where_files_cannot_be_locked_a_lease_keeps_others_out(tmp_path, monkeypatch, said):
    def refused(lock):
        Path(lock.lock_file).touch()
        raise said

    monkeypatch.setattr(folders.FileLock, "acquire", refused)
    with folders.lock(tmp_path) as job:
        assert job
        with pytest.raises(FolderError, match="Another job is writing"), folders.lock(tmp_path):
            pass
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_of_this_machine_is_named_where_a_store_gets_the_file():
    with pytest.raises(FolderError, match="is full .*TMPDIR") as refused, folders.full_disk("s3://bucket/table"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert tempfile.gettempdir() in str(refused.value)


def test_a_link_into_a_volume_is_one(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "VOLUMES", str(tmp_path / "Volumes"))
    (tmp_path / "Volumes").mkdir()
    (tmp_path / "data").symlink_to(tmp_path / "Volumes")
    assert folders.on_disk(tmp_path)
    assert not folders.on_disk(tmp_path / "data" / "new" / "table")
    assert not folders.on_disk("/dbfs/data")
    with pytest.raises(FolderError, match="Expected the search on a disk of this machine"):
        folders.on_this_disk(tmp_path / "data", "the search", FolderError, changes=True)


def test_in_a_volume_a_file_that_did_not_arrive_is_an_error_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "VOLUMES", str(tmp_path))
    monkeypatch.setattr(folders.shutil, "copyfile", lambda made, file: file.write_bytes(made.read_bytes()[:3]))
    with pytest.raises(OSError, match="3 of 4 bytes arrived"):
        folders.put(tmp_path / "a.txt", "corn")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "most"), [
    ("ingest", 4), ("predict", 3), ("simulate delta", 3), ("simulate grove", 5), ("simulate fields", 5),
    ("convert parquet", 5), ("convert directory", 4), ("train baseline", 4), ("audit", 5),
])  # fmt: skip
@pytest.mark.drill
@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_command_killed_or_out_of_disk_where_it_writes_says_so_and_ends_as_if_it_was_not(name, most):
    """The kill drill in a process of its own: it forks, which a process with threads must not."""
    script = Path(__file__).with_name("kill_drill.py")
    command = [sys.executable, script, name, "--most", str(most), "--also-full", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(name) == 2, done.stdout  # killed, and on a full disk
