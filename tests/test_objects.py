"""The pixel table in an object store: made, checked and read as on a disk, whatever the store does."""

import json
import os
import pickle
import socket
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path

import failing_store
import few
import numpy as np
import pyarrow.compute as pc
import pytest
import requests
import tiny
from test_ingest import script, start

from arsetlib import folders, leases, pixels, samples, stores
from arsetlib.ingest import IngestError, ingest
from arsetlib.maps.sources import of_table
from arsetlib.pixels import sources
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
    folder = bucket / "table"
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
    folder = bucket / "table"
    with folders.lock(folder):
        before = (folder / ".lock").stat().stamp
        for _ in range(200):
            threading.Event().wait(0.05)
            if (folder / ".lock").stat().stamp != before:
                break
        assert (folder / ".lock").stat().stamp != before
    assert not folder.exists()


def taken_over(folder, **changes):
    """Another job takes the lease over."""
    content = json.loads((folder / ".lock").read_bytes())
    other = content | {"job": "other", "host": "node-7", "process": 77} | changes
    (folder / ".lock").write_bytes(json.dumps(other).encode())


@pytest.mark.parametrize("in_a_volume", [False, True])
def test_a_job_that_was_stopped_for_long_writes_no_more_and_says_who_works_there(
    bucket, tmp_path, monkeypatch, in_a_volume
):
    monkeypatch.setattr(folders, "VOLUMES", str(tmp_path))
    folder = tmp_path / "table" if in_a_volume else bucket / "table"

    def job():
        with folders.claim(folder, {}, ["a"], error=IngestError) as claimed:
            claimed.put("a.txt", "before")
            monkeypatch.setattr(leases, "DEAD", 0.0)  # as if the last sign of life were old
            claimed.put("a.txt", "still its own")
            taken_over(folder)
            with pytest.raises(IngestError, match="process 77"):
                folders.put(folder / "b.txt", "however it is written")
            with pytest.raises(IngestError, match="process 77"):
                claimed.delete("a.txt")
            claimed.publish()

    with pytest.raises(IngestError, match=r"writes no more into .*table: .*taken it over, process 77 on node-7"):
        job()
    assert sorted(folders.Folder(folder).keys()) == [".lock", "_plan.json", "a.txt"]
    assert json.loads((folder / ".lock").read_bytes())["job"] == "other"


def test_a_worker_that_outlives_its_job_writes_nothing_into_the_folder_of_the_next(bucket):
    folder = bucket / "table"
    with folders.claim(folder, {}, ["a"]) as claimed:
        late = pickle.loads(pickle.dumps(claimed))
        held_here, leases._held[:] = leases._held[:], []  # as in another process
        late.put("a.txt", "corn")
        leases._held[:] = held_here
    for write in (lambda: late.put("a.txt", "late"), lambda: late.finish("a", ["a.txt"]), lambda: late.fail("a", "?")):
        with pytest.raises(folders.FolderError, match=r"writes no more .*\.lock was deleted"):
            write()
    with (
        folders.claim(folder, {}, ["a"]),
        pytest.raises(folders.FolderError, match=f"taken it over, process {os.getpid()} on "),
    ):
        late.finish("a", ["a.txt"])
    assert (folder / "a.txt").read_text() == "corn"


def test_a_lost_lease_leaves_no_file_and_a_store_that_does_not_answer_loses_none(bucket, monkeypatch):
    monkeypatch.setattr(leases, "BEAT", 0.02)
    folder = bucket / "table"
    real, asked = StorePath.replace, []

    def unheard(self, content, tag):
        asked.append(real(self, content, tag))
        raise FileExistsError  # it arrived, the answer did not, and was asked again

    def silent(self):
        asked.append(None)
        raise stores.StoreAnswerError("busy")

    with folders.lock(folder):
        with monkeypatch.context() as patched:
            patched.setattr(StorePath, "replace", unheard)
            patched.setattr(StorePath, "read_bytes", silent)
            wait_for(lambda: asked.count(None) > 2)
        folders.put(folder / "a", "corn")
    assert sorted(folder.files()) == ["a"]
    with folders.lock(folder):
        (folder / ".lock").unlink()
        wait_for(lambda: leases._held[0].lost)
    assert sorted(folder.files()) == ["a"]


def wait_for(what):
    for _ in range(500):
        if what():
            return
        threading.Event().wait(0.02)
    raise AssertionError("waited for too long")


def test_of_many_jobs_that_begin_at_once_one_works(bucket):
    folder, inside, most, refused = bucket / "table", [], [], []

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


# -- requests


def test_a_table_in_a_store_takes_few_requests(bucket, s3_url, monkeypatch):
    server = failing_store.FailingStore(s3_url)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    parts, table, out = [f"part-{n:03d}" for n in range(200)], few.make_table(), f"{bucket}/table"

    def requests(call):
        server.seen.clear()
        call()
        return len(server.seen)

    def make(wanted):
        with folders.claim(out, {}, parts) as folder:
            for part in folder.missing()[:wanted]:
                pixels.write(table.slice(3 * parts.index(part), 3), folder.path / f"{part}.parquet", few.META)
                folder.finish(part, [f"{part}.parquet"])
            if not folder.missing():
                folder.publish()

    constant = 60
    assert requests(lambda: make(100)) < 3 * 100 + 100 + constant  # of each part: a file, its tag, a note; then notes
    assert requests(lambda: make(100)) < 3 * 100 + 100 + 100 + 200 + 200 + constant  # notes: found, missing, settled
    assert requests(lambda: pixels.read(out)) < 200 + constant  # the end of each file
    assert requests(lambda: samples.Rows.of(out)) < constant  # which is kept
    assert requests(lambda: pixels.read(out, ["pixel"])) < constant
    assert requests(lambda: pixels.files(out)) < constant
    server.close()


def test_the_files_of_a_table_are_asked_for_many_at_a_time(bucket, s3_url, monkeypatch):
    parts, table, out = [f"part-{n:02d}" for n in range(24)], few.make_table(), f"{bucket}/table"
    with folders.claim(out, {}, parts) as folder:
        for number, part in enumerate(parts):
            pixels.write(table.slice(20 * number, 20), folder.path / f"{part}.parquet", few.META)
            folder.finish(part, [f"{part}.parquet"])
        folder.publish()
    server, under_way = failing_store.FailingStore(s3_url), [0]
    known, waiting = threading.Lock(), threading.Event()

    def slow(_method, path):
        if ".parquet" in path:
            with known:
                under_way.append(under_way[-1] + 1)
            waiting.wait(0.05)
            with known:
                under_way.append(under_way[-1] - 1)

    server.fails = slow
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    for call in (pixels.cost, pixels.summary, lambda out: of_table(out, "west", 2021, few.STUDY)):
        sources._end.cache_clear()
        del under_way[1:]
        call(out)
        assert max(under_way) >= 4
        assert len(under_way) < 2 * 7 * len(
            parts
        )  # of a file: its end, facts, columns twice, never one after the other
    server.close()


# -- a job that is killed


@pytest.mark.skipif(not sys.platform.startswith(("linux", "darwin")), reason="processes get a new parent")
def test_the_server_of_a_drill_that_is_killed_ends_too():
    code = "import objectstore, time\nwith objectstore.s3_server() as url: print(url, flush=True), time.sleep(600)"
    drill = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent)
    url = drill.stdout.readline().strip()
    assert requests.get(url, timeout=60).ok
    drill.kill()
    drill.communicate()

    def gone():
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", int(url.rpartition(":")[2])))

    wait_for(gone)


POINTS = os.environ.get("ARSET_DRILL_POINTS")  # a large number takes all points, some minutes a command


@pytest.mark.parametrize(("name", "most"), [
    ("ingest", 2), ("predict", 1), ("convert parquet", 2), ("train baseline", 2),
    *(pytest.param(name, 1, marks=pytest.mark.skipif(not POINTS, reason="slow: set ARSET_DRILL_POINTS"))
      for name in ("segment predict", "train keras")),
])  # fmt: skip
@pytest.mark.drill
@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_command_that_is_killed_where_it_writes_to_a_store_ends_as_if_it_was_not(name, most):
    script = Path(__file__).with_name("kill_drill.py")
    command = [sys.executable, script, "--store", "--most", str(POINTS or most), name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3000)
    assert done.returncode == 0, done.stdout + done.stderr


# -- Spark, with no disk in common

ON_SPARK = """
    import os, shutil, signal, threading, time
    from dataclasses import replace
    from arsetlib import folders

    bucket = folders.place({bucket!r})
    ingest.plan.CHUNK_PIXELS = 100

    def moved(file):
        there = bucket / "given" / Path(file).name
        folders.put(there, Path(file).read_bytes())
        return there

    items = [replace(s, hrefs={{k: str(moved(v)) for k, v in s.hrefs.items()}}) for s in place.scenes]
    scenes = replace(place.scenes, items=tuple(items))
    labels = {{y: replace(l, path=moved(l.path), confidence=moved(l.confidence)) for y, l in place.labels.items()}}
    shutil.rmtree(place.folder)
    # a relative path: each executor has a cache in its own work directory
    spark = engine.session("local-cluster[2,1,1024]", spark__executorEnv__XDG_CACHE_HOME="cache")
    out = bucket / "table"

    def executors():
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                line = open(f"/proc/{{pid}}/cmdline").read()
            except OSError:
                continue
            if "CoarseGrainedExecutorBackend" in line and spark.sparkContext.applicationId in line:
                yield int(pid)

    def kill():
        while not (out / "_parts").exists():
            time.sleep(0.05)
        found = list(executors())
        print("work directories:", len({{os.readlink(f"/proc/{{pid}}/cwd") for pid in found}}), flush=True)
        os.kill(found[0], signal.SIGKILL)
        print("killed one of", len(found), flush=True)

    threading.Thread(target=kill, daemon=True).start()
    made = ingest.ingest(place.study, scenes, labels, out, spark=spark, progress=False)
    print("rows:", made.rows, "of", made.chunks, "chunks")
"""


@pytest.mark.spark
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds the executors through /proc")
def test_executors_without_a_common_disk_make_the_same_table_in_a_store_though_one_is_killed(bucket, on_disk, tmp_path):
    (tmp_path / "place").mkdir()
    process = start(script(ON_SPARK.format(bucket=str(bucket)), tmp_path / "place", tmp_path / "none"))
    output, _ = process.communicate(timeout=900)
    assert process.returncode == 0, output
    assert "work directories: 2\nkilled one of 2" in output
    table, own = (pixels.read(path).sort_by([("year", "ascending"), ("pixel", "ascending")]) for path in
                  (f"{bucket}/table", on_disk))  # fmt: skip
    assert table.equals(own)
    assert sorted(key for key in (bucket / "table").files() if not key.endswith(".parquet")) == [
        "_manifest.json", "_plan.json", "_scenes.json",
    ]  # fmt: skip


# -- a store that fails


@pytest.fixture
def failing(bucket, s3_url, monkeypatch):
    """A server that fails as a test asks, between the library and the store."""
    server = failing_store.FailingStore(s3_url)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    soon = {"init_backoff": timedelta(milliseconds=1), "max_backoff": timedelta(milliseconds=50), "base": 2}
    few = {"max_retries": 3, "retry_timeout": timedelta(seconds=20), "backoff": soon}
    monkeypatch.setattr(stores, "RETRY", few)
    yield server
    server.close()


def test_an_old_list_of_files_hides_nothing(failing, bucket, tiny_place, on_disk):
    failing.fails = lambda method, path: "hide" if method == "GET" and "list-type" in path else None
    stored = made(tiny_place, f"{bucket}/table")
    assert pixels.read(stored).equals(pixels.read(on_disk))
    failing.fails = lambda method, path: None
    again = ingest(tiny_place.study, tiny_place.scenes, tiny_place.labels, stored, progress=False)
    assert again.resumed == again.chunks
    assert same_table(stored, on_disk)


@pytest.mark.parametrize("what", ["slow", "reset", "lost"])
def test_a_table_is_the_same_where_the_store_fails_once_for_each_request(failing, bucket, tiny_place, on_disk, what):
    seen = set()

    def fails(method, path):
        new = (method, path) not in seen
        seen.add((method, path))
        return what if new else None

    failing.fails = fails
    stored = made(tiny_place, f"{bucket}/table")
    assert {("PUT", ".lock"), ("PUT", "_manifest.json"), ("PUT", "_plan.json")} <= {
        (method, path.rpartition("/")[2]) for method, path in seen
    }
    assert pixels.read(stored).equals(pixels.read(on_disk))
    failing.fails = lambda method, path: None
    assert same_table(stored, on_disk)


@pytest.mark.parametrize(
    ("answer", "method", "part", "words"),
    [
        ((403, "AccessDenied"), "PUT", ".parquet", "access denied"),
        ((403, "ExpiredToken"), "PUT", "_parts", "does not accept the keys"),
        ((403, "AccessDenied"), "GET", "list-type", "access denied"),
        ((301, "PermanentRedirect"), "PUT", "_scenes.json", "Set AWS_REGION"),
        ((404, "NoSuchBucket"), "PUT", ".parquet", "There is no bucket"),
        ("slow", "PUT", "_parts", "is busy"),
        ("reset", "PUT", "_manifest.json", "did not do what was asked"),
        ((403, "AccessDenied"), "POST", "delete", "access denied"),
    ],
)
def test_a_table_that_stops_where_the_store_fails_for_good_is_completed_by_the_same_call(
    failing, bucket, tiny_place, on_disk, answer, method, part, words
):
    asked, good = set(), 1 if part in (".parquet", "_parts") else 0

    def fails(command, path):
        if command == method and part in path:
            asked.add(path)
        return answer if len(asked) > good else None

    failing.fails = fails  # from some request on, all fail
    stored = f"{bucket}/table"
    with pytest.raises(stores.StoreAnswerError, match=words) as failed:
        made(tiny_place, stored)
    assert "test-key" not in str(failed.value)
    failing.fails = lambda method, path: None
    if method != "POST":
        assert folders.state(stored) != "complete"
    made(tiny_place, stored)
    assert same_table(stored, on_disk)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((403, "AccessDenied"), "access denied"),
        ((403, "InvalidAccessKeyId"), "does not accept the keys"),
        ((403, "ExpiredToken"), "does not accept the keys"),
        ((403, "RequestTimeTooSkewed"), "the clock of this machine is wrong"),
        ((301, "PermanentRedirect"), "Set AWS_REGION"),
        ((400, "AuthorizationHeaderMalformed"), "Set AWS_REGION"),
        ((404, "NoSuchBucket"), "There is no bucket"),
        ("slow", "is busy"),
        ("reset", "did not do what was asked: the connection was cut"),
    ],
)
@pytest.mark.parametrize("name", ["a", "503 Slow region 403 Forbidden/credential metadata timeout.json"])
def test_a_request_that_fails_for_good_is_one_clear_error_whatever_the_name_says(failing, bucket, answer, words, name):
    failing.fails = lambda method, path: answer
    with pytest.raises(stores.StoreAnswerError, match=words) as failed:
        folders.put(f"{bucket}/{name}", b"x" * 100)
    if answer != (404, "NoSuchBucket"):
        with pytest.raises(stores.StoreAnswerError, match=words):
            (bucket / name).read_bytes()
    assert "test-key" not in str(failed.value)
    assert "Signature" not in str(failed.value)


def test_a_missing_file_is_no_missing_bucket_where_the_bucket_may_not_be_listed(failing, bucket):
    failing.fails = lambda method, path: (403, "AccessDenied") if "list-type" in path else None
    with pytest.raises(FileNotFoundError, match="No such file"):
        (bucket / "a").read_bytes()
