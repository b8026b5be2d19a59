"""Ingestion: the table equals what a plain loop over points reads, whatever happens on the way."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import rasterio
import tiny
from pyproj import Transformer
from shapely import box

from arsetlib import engine, folders, pixels, sentinel2
from arsetlib.ingest import Grid, IngestError, ingest, inputs, reader
from arsetlib.ingest import plan as module
from arsetlib.ingest import survey as surveys
from arsetlib.ingest.survey import Survey
from arsetlib.study import Area, StudyError


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tiny.make(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def table(place, tmp_path_factory):
    out = tmp_path_factory.mktemp("table") / "pixels"
    summary = ingest(place.study, place.scenes, place.labels, out, progress=False)
    return out, summary


def run(place, out, **changes):
    return ingest(place.study, place.scenes, place.labels, out, **{"progress": False, **changes})


def rows_of(out):
    """The table as a dictionary, the same for any order of files."""
    read = pixels.read(out)
    return sorted(map(repr, read.to_pylist()))


def by_plain_loop(place):
    """Every label pixel, scene and band, one point at a time."""
    expected = {}
    for year, labels in place.labels.items():
        with rasterio.open(labels.path) as src:
            codes, t = src.read(1), src.transform
        to_utm = Transformer.from_crs("EPSG:5070", tiny.UTM, always_xy=True)
        for row in range(codes.shape[0]):
            for col in range(codes.shape[1]):
                x, y = t * (col + 0.5, row + 0.5)
                area = next((a for a in place.study.areas if inside(a.bounds, x, y)), None)
                if area is None or codes[row, col] == 0:
                    continue
                series = []
                for scene in place.scenes:
                    if not scene.datetime.startswith(str(year)) or any(scene.day == s[0] for s in series):
                        continue
                    point = to_utm.transform(x, y)
                    scl = sample(scene.hrefs["scl"], point)
                    values = [sample(scene.hrefs[b], point) for b in place.study.bands]
                    if scl in place.study.drop_scl or 0 in values:
                        continue
                    series.append((scene.day, scl, [max(v + scene.offset, 1) for v in values]))
                expected[year, x, y] = (area, int(codes[row, col]), series)
    return expected


FILES = {}


def sample(href, point) -> int:
    if href not in FILES:
        with rasterio.open(href) as src:
            FILES[href] = src.read(1), src.transform
    data, t = FILES[href]
    col, row = (int(np.floor(v)) for v in ~t * point)
    return int(data[row, col]) if 0 <= row < data.shape[0] and 0 <= col < data.shape[1] else 0


def inside(bounds, x, y):
    return bounds[0] <= x < bounds[2] and bounds[1] < y <= bounds[3]


def test_the_table_equals_a_plain_loop_over_points(place, table):
    expected = by_plain_loop(place)
    read = pixels.read(table[0])
    got = {(r["year"], r["x"], r["y"]): i for i, r in enumerate(read.select(["year", "x", "y"]).to_pylist())}
    dense = {k: v for k, v in expected.items() if v[0].every == 1 and v[2]}
    sparse = {k: v for k, v in expected.items() if v[0].every == 3 and v[2]}
    assert set(dense) <= set(got)
    assert set(got) <= set(dense) | set(sparse)
    assert len(got) - len(dense) == pytest.approx(len(sparse) / 9, rel=0.3)
    for key, i in got.items():
        area, code, series = expected[key]
        day, scl, bands = pixels.series(read, i)
        assert read["area"][i].as_py() == area.key
        assert read["label_code"][i].as_py() == code
        assert day.tolist() == [s[0] for s in series]
        assert scl.tolist() == [s[1] for s in series]
        assert bands.tolist() == [s[2] for s in series]


def test_the_table_passes_its_own_check(table):
    report = pixels.check(table[0])
    assert report.ok, str(report)


def test_every_dropped_observation_is_counted_once(place, table):
    _, summary = table
    counts = summary.counts
    read = pixels.read(table[0])
    assert summary.rows == read.num_rows
    assert summary.observations == sum(read["num_images"].to_pylist())
    assert counts["observations_twice_on_a_day"] > 0
    assert counts["observations_without_data"] > 0
    assert counts["pixels_without_label"] > 0
    text = str(summary)
    assert f"{summary.rows:,} pixel-years" in text
    assert "twice on a day" in text


def test_chunks_of_another_size_give_the_same_rows(place, table, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "CHUNK_PIXELS", 49)
    small = run(place, tmp_path / "small")
    assert small.chunks > table[1].chunks
    assert rows_of(tmp_path / "small") == rows_of(table[0])


def test_a_second_run_gives_the_same_bytes(place, table, tmp_path):
    run(place, tmp_path / "again")
    files = sorted(f.name for f in table[0].glob("*.parquet"))
    assert files == sorted(f.name for f in (tmp_path / "again").glob("*.parquet"))
    for name in files:
        assert (table[0] / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_every_k_th_pixel_is_a_regular_grid_from_a_seeded_start(place, tmp_path):
    run(place, tmp_path / "k", every=4)
    read = pixels.read(tmp_path / "k")
    for area in ("west", "east"):
        mask = np.array([a == area for a in read["area"].to_pylist()])
        for axis in ("x", "y"):
            phases = np.unique(np.asarray(read[axis])[mask] % 120)
            assert len(phases) == 1
    other = ingest(place.study.replace(seed=4), place.scenes, place.labels, tmp_path / "s", every=4, progress=False)
    assert other.rows
    assert rows_of(tmp_path / "s") != rows_of(tmp_path / "k")


def test_a_number_per_class_is_taken_at_random_from_each_area_and_year(place, tmp_path):
    summary = run(place, tmp_path / "c", per_class=20)
    read = pixels.read(tmp_path / "c")
    classes = place.study.legend.classes_of(np.asarray(read["label_code"]))
    groups = list(zip(read["area"].to_pylist(), read["year"].to_pylist(), classes.tolist(), strict=True))
    assert set(groups) == {(a, y, c) for a in ("west", "east") for y in (2020, 2021) for c in (0, 1)}
    assert max(groups.count(g) for g in groups) <= 20
    assert len(groups) + summary.counts["pixels_without_images"] == 8 * 20
    west = np.asarray(read["x"])[[g[0] == "west" for g in groups]]
    bounds = place.study.area("west").bounds
    assert west.min() < bounds[0] + 150 < bounds[2] - 150 < west.max()  # from the whole box, not a corner


def test_labels_of_low_confidence_are_dropped_and_counted(place, tmp_path):
    summary = ingest(place.study.replace(min_confidence=60), place.scenes, place.labels, tmp_path / "c", progress=False)
    assert min(pixels.read(tmp_path / "c")["label_confidence"].to_pylist()) >= 60
    assert summary.counts["pixels_of_low_confidence"] > 0


def test_a_scene_is_not_opened_beyond_its_classification_where_that_rules_it_out(place, tmp_path, monkeypatch):
    opened, read_file = set(), reader.read_file
    monkeypatch.setattr(reader, "read_file", lambda scene, asset, *a: opened.add(asset) or read_file(scene, asset, *a))
    study = place.study.replace(drop_scl=tuple(range(12)))
    with pytest.raises(IngestError, match="No label pixel passed"):
        ingest(study, place.scenes, place.labels, tmp_path / "none", progress=False)
    assert not (tmp_path / "none").exists()  # nothing that would refuse a run with wider filters
    assert opened == {"scl"}


# -- the plan -------------------------------------------------------------------------------------------------------


def chunks_by_plain_loop(place, every=None):
    """Name, size and scenes of each chunk: cut row by row, and every scene compared with every chunk."""
    found = []
    for area in place.study.areas:
        side = module._side(every or area.every)
        for year in place.study.years:
            grid = Grid.of(place.labels[year])
            row0, row1, col0, col1 = grid.extent(area)
            for row in range(row0 - row0 % side, row1, side):
                for col in range(col0 - col0 % side, col1, side):
                    top, left, bottom, right = (
                        max(row, row0),
                        max(col, col0),
                        min(row + side, row1),
                        min(col + side, col1),
                    )
                    x, y = grid.x0 + np.array([left, right]) * grid.side, grid.y0 - np.array([top, bottom]) * grid.side
                    ground = Area("chunk", {}, (x[0], y[1], x[1], y[0]), grid.crs).outline()
                    days = place.study.season.days(year)
                    touch = [
                        s.id for s in place.scenes if days[0] <= s.day <= days[1] and s.footprint.intersects(ground)
                    ]
                    found.append((f"{area.key}-{year}-{top}-{left}", bottom - top, right - left, touch))
    return found


@pytest.mark.parametrize("pixels_of_a_chunk", [25, 49, 400, 256 * 256])
def test_tasks_find_the_chunks_and_scenes_of_a_plain_loop(place, tmp_path, monkeypatch, pixels_of_a_chunk):
    monkeypatch.setattr(module, "CHUNK_PIXELS", pixels_of_a_chunk)
    scene = place.scenes.items[3]
    west, south, east, north = scene.footprint.bounds  # one that touches some chunks only
    narrow = replace(scene, footprint=box(west, south, west + (east - west) / 3, north), tile=None)
    here = replace(place, scenes=replace(place.scenes, items=tuple(narrow if s is scene else s for s in place.scenes)))
    plan = module.plan(here.study, here.scenes, here.labels, None, None)
    chunks = module.chunks_of(here.study, here.labels, plan)
    bad = here.scenes.items[5].id
    survey = Survey({s.id: {"decided": s.offset} for s in here.scenes if s.id != bad}, {bad: "cut"})
    folder = folders.Folder(tmp_path)
    inputs.put(folder, here.scenes, survey)
    found = []
    for chunk in chunks:
        near, known = inputs.of(folder, pixels_of_a_chunk, chunks, chunk, here.study)
        found.append((chunk.name, chunk.rows, chunk.cols, [s.id for s in near]))
        assert near == [s for s in here.scenes if s.id in found[-1][3]]
        assert known == Survey(*({i: m[i] for i in found[-1][3] if i in m} for m in (survey.decisions, survey.bad)))
    assert found == chunks_by_plain_loop(here)
    assert found == [
        (c.name, c.rows, c.cols, [s.id for s in chunks.scenes_of(c, here.scenes.items, here.study)])
        for c in map(chunks.__getitem__, range(len(chunks)))
    ]
    for scene in here.scenes:
        assert chunks.touching([scene], here.study) == [name for name, *_, ids in found if scene.id in ids]


def test_a_footprint_that_changed_makes_another_table(place, table):
    first, *rest = place.scenes
    moved = replace(place.scenes, items=(replace(first, footprint=first.footprint.buffer(0.001)), *rest))
    with pytest.raises(IngestError, match="another run, which differs in: scenes"):
        ingest(place.study, moved, place.labels, table[0], progress=False)


# -- Spark ----------------------------------------------------------------------------------------------------------


@pytest.mark.spark
def test_spark_makes_the_same_table_as_this_process(place, table, tmp_path, spark):
    run(place, tmp_path / "spark", spark=spark)
    for file in table[0].glob("*.parquet"):
        assert file.read_bytes() == (tmp_path / "spark" / file.name).read_bytes()


def script(body: str, place, out) -> str:
    """A program of its own: one process holds one kind of Spark session."""
    return textwrap.dedent(
        f"""
        import sys
        from pathlib import Path
        sys.path.insert(0, {os.path.dirname(__file__)!r})
        import tiny
        from arsetlib import engine, ingest
        from arsetlib.catalogue import Scenes

        place = tiny.make(Path({str(place)!r}))
        out = Path({str(out)!r})
        """
    ) + textwrap.dedent(body)


def start(text: str, **env):
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", text], env={**os.environ, **env},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def test_the_sample_of_a_scene_does_not_grow_with_the_number_of_areas(place, monkeypatch):
    whole = place.study.areas[0]
    west, south, east, north = whole.bounds
    taken, decide = [], surveys.offset.decide
    monkeypatch.setattr(
        surveys.offset, "decide", lambda samples, *rest: taken.append(samples) or decide(samples, *rest)
    )
    for number in (4, 40):
        edges = np.linspace(west, east, number + 1).tolist()
        strips = [replace(whole, key=f"a{k}", bounds=(edges[k], south, edges[k + 1], north)) for k in range(number)]
        assert not surveys.survey(place.scenes.items, place.study, strips).bad
    few, many = (max(sample.dn.nbytes for sample in samples) for samples in taken)
    assert 0 < many <= few


@pytest.mark.spark
def test_scenes_are_judged_on_spark_as_in_this_process(place, spark, monkeypatch):
    first, second, *others = place.scenes.items
    gone = replace(second, hrefs=second.hrefs | {"scl": "gone.tif"})
    scenes = [first, gone, *others]
    monkeypatch.setattr(surveys, "OF_A_TASK", 2)
    monkeypatch.setattr(surveys, "OF_A_JOB", 5)
    here = surveys.survey(scenes, place.study)
    assert gone.id in here.bad
    assert here.decisions
    assert surveys.survey(scenes, place.study, spark=spark) == here


@pytest.mark.spark
def test_spark_connect_makes_the_same_table(table, tmp_path):
    (tmp_path / "place").mkdir()
    text = script(
        """
        spark = engine.session(remote="local[2]")
        assert "connect" in type(spark).__module__
        print(ingest.ingest(place.study, place.scenes, place.labels, out, spark=spark, progress=False).rows)
        """,
        tmp_path / "place",
        tmp_path / "out",
    )
    process = start(text)
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    assert rows_of(tmp_path / "out") == rows_of(table[0])


# Two ingests in one session, each of which loses an executor: once the first chunk is there, or once one has failed.
KILLER = """
    import os, signal, threading, time
    ingest.plan.CHUNK_PIXELS = 36
    spark = engine.session("local-cluster[2,1,1024]")

    def executors():
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                line = open(f"/proc/{pid}/cmdline").read()
            except OSError:
                continue
            if "CoarseGrainedExecutorBackend" in line and spark.sparkContext.applicationId in line:
                yield int(pid)

    def kill(folder, after):
        while not list(folder.glob(after)):
            time.sleep(0.01)
        found = list(executors())
        os.kill(found[0], signal.SIGKILL)
        print("killed one of", len(found), flush=True)

    broken = tiny.half_wrong(place, out, 4)
    for name, after, scenes in (("whole", "*.parquet", place.scenes), ("broken", "_errors/*.txt", broken)):
        while len(list(executors())) < 2:  # the killed one is replaced
            time.sleep(0.1)
        killer = threading.Thread(target=kill, args=(out / name, after), daemon=True)
        killer.start()
        try:
            ingest.ingest(place.study, scenes, place.labels, out / name, spark=spark, progress=False)
            print(name, "is made", flush=True)
        except ingest.IngestError as problem:
            print(name, "failed:", problem, flush=True)
        killer.join()
"""


@pytest.fixture(scope="module")
def with_killed_executors(tmp_path_factory):
    """The folder of the two ingests, and what the program printed of each."""
    if not sys.platform.startswith("linux"):
        pytest.skip("finds the executors through /proc, which only Linux has")
    folder = tmp_path_factory.mktemp("killed")
    (folder / "place").mkdir()
    process = start(script(KILLER, folder / "place", folder))
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    of_whole, made, of_broken = output.partition("whole is made\n")
    assert made, output
    return folder, of_whole, of_broken


@pytest.mark.spark
@pytest.mark.drill
def test_an_executor_killed_in_the_middle_changes_nothing(table, with_killed_executors):
    folder, output, _ = with_killed_executors
    assert "killed one of 2" in output
    assert rows_of(folder / "whole") == rows_of(table[0])


@pytest.mark.spark
@pytest.mark.drill
def test_an_executor_killed_after_a_chunk_failed_does_not_lose_the_failure(with_killed_executors):
    folder, _, output = with_killed_executors
    assert "killed one of 2" in output
    assert re.search("broken failed:.*lie outside -1,000 to 32,767", output, re.DOTALL), output
    with pytest.raises(pixels.PixelError, match="unfinished"):
        pixels.check(folder / "broken")


# -- a bad day ------------------------------------------------------------------------------------------------------


def test_a_killed_job_goes_on_where_it_stopped_and_gives_the_same_table(table, tmp_path):
    (tmp_path / "place").mkdir()
    text = script(
        """
        ingest.plan.CHUNK_PIXELS = 36
        print("go", flush=True)
        summary = ingest.ingest(place.study, place.scenes, place.labels, out, progress=False)
        print(summary.resumed, summary.chunks)
        """,
        tmp_path / "place",
        tmp_path / "out",
    )
    process = start(text)
    unfinished = tmp_path / "out"
    while len(list(unfinished.glob("_parts/*.json"))) < 5 and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    finished = [unfinished / f"{f.stem}.parquet" for f in unfinished.glob("_parts/*.json")]
    finished = {f: f.stat().st_mtime_ns for f in finished}
    with pytest.raises(pixels.PixelError, match="unfinished"):
        pixels.read(unfinished)
    again = start(text)
    output, _ = again.communicate(timeout=240)
    assert again.returncode == 0, output
    resumed, chunks = map(int, output.split()[-2:])
    assert len(finished) <= resumed < chunks
    assert all(f.stat().st_mtime_ns == time_ns for f, time_ns in finished.items())
    assert rows_of(tmp_path / "out") == rows_of(table[0])


def test_a_finished_table_is_not_made_again(place, table):
    before = {f: f.stat().st_mtime_ns for f in table[0].iterdir()}
    summary = run(place, table[0])
    assert summary.resumed == summary.chunks
    assert summary.rows == table[1].rows
    assert before == {f: f.stat().st_mtime_ns for f in table[0].iterdir()}


def test_a_chunk_whose_note_lacks_its_counts_is_made_again(place, table, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(table[0], out)
    manifest = json.loads((out / "_manifest.json").read_text())
    (out / "_parts").mkdir()
    for number, (part, note) in enumerate(manifest["parts"].items()):
        kept = note if number else {"files": note["files"]}
        (out / "_parts" / f"{part}.json").write_text(json.dumps(kept))
    (out / "_manifest.json").unlink()
    summary = run(place, out)
    assert (summary.resumed, summary.rows) == (summary.chunks - 1, table[1].rows)
    assert rows_of(out) == rows_of(table[0])


def test_a_manifest_that_lacks_its_counts_is_named(place, table, tmp_path):
    shutil.copytree(table[0], tmp_path / "out")
    file = tmp_path / "out" / "_manifest.json"
    file.write_text(json.dumps({"parts": json.loads(file.read_text())["parts"]}))
    with pytest.raises(IngestError, match=r"_manifest\.json lacks 'rows'.*Delete it"):
        run(place, tmp_path / "out")
    file.unlink()
    assert run(place, tmp_path / "out").rows == table[1].rows


def test_a_folder_of_others_is_refused_before_the_scenes_are_surveyed(place, tmp_path, monkeypatch):
    (tmp_path / "notes.txt").write_text("mine")
    monkeypatch.setattr(surveys, "survey", lambda *_, **__: pytest.fail("surveyed"))
    with pytest.raises(IngestError, match=r"holds something else \(notes.txt\)"):
        run(place, tmp_path)


def test_two_runs_on_one_output_refuse_to_mix(place, table, tmp_path, monkeypatch):
    with pytest.raises(IngestError, match=r"holds the pixel table of another run.*every"):
        run(place, table[0], every=5)
    broken = tmp_path / "out"

    def fails(*_):
        raise pixels.PixelError("not now")

    monkeypatch.setattr(pixels, "write", fails)
    with pytest.raises(IngestError, match="not now"):
        run(place, broken)
    with pytest.raises(IngestError, match=r"holds the unfinished pixel table of another run.*every"):
        run(place, broken, every=5)


def test_two_jobs_at_once_on_one_output_refuse_to_mix(place, tmp_path):
    with folders.lock(tmp_path / "out"), pytest.raises(IngestError, match="Another job is writing"):
        run(place, tmp_path / "out")


def broken_scenes(place, href):
    """The scenes, one of which has another file for its red band."""
    scene = place.scenes.items[4]
    mended = replace(scene, hrefs={**scene.hrefs, "red": str(href)})
    items = tuple(mended if s.id == scene.id else s for s in place.scenes)
    return replace(place.scenes, items=items)


def truncated(place, tmp_path):
    path = tmp_path / "truncated.tif"
    whole = Path(place.scenes.items[4].hrefs["red"]).read_bytes()
    path.write_bytes(whole[: len(whole) // 10])
    return path


def named_as_an_answer(place, tmp_path):
    path = tmp_path / "AccessDenied NoSuchKey No such file.tif"
    path.write_bytes(truncated(place, tmp_path).read_bytes())
    return path


def other_crs(place, tmp_path):
    path = tmp_path / "zone16.tif"
    tiny.write(path, np.ones((252, 252), "u2"), rasterio.transform.from_origin(0, 0, 10, 10), 32616)
    return path


def blank(place, tmp_path):
    with rasterio.open(place.scenes.items[4].hrefs["red"]) as src:
        tiny.write(tmp_path / "blank.tif", np.zeros(src.shape, "u2"), src.transform, tiny.UTM)
    return tmp_path / "blank.tif"


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (truncated, "Could not read red.*finished chunks are kept"),
        (other_crs, "item says EPSG:32615, the file is in EPSG:32616"),
        (blank, r"\['red'\] have no data.*never zeros"),
        (lambda place, tmp_path: tmp_path / "gone.tif", "The file is gone"),
        (named_as_an_answer, "The file on the disk or the server must be repaired"),
    ],
)
def test_a_broken_file_stops_with_scene_band_and_chunk_and_mending_it_resumes(place, table, tmp_path, make, says):
    scenes = broken_scenes(place, make(place, tmp_path))
    out = tmp_path / "out"
    with pytest.raises(IngestError, match=says) as stop:
        ingest(place.study, scenes, place.labels, out, progress=False)
    assert place.scenes.items[4].id in str(stop.value)
    with pytest.raises(pixels.PixelError, match="unfinished|no Parquet file"):
        pixels.read(out)
    run(place, out)
    assert rows_of(out) == rows_of(table[0])


def with_mode(study, **how):
    return study.replace(scenes=replace(study.scenes, **how))


@pytest.mark.parametrize("said", [0, -1000])
def test_an_offset_that_contradicts_the_values_is_measured_or_refused(place, table, tmp_path, said):
    scene = [s for s in place.scenes if s.offset != said][-1]
    lying = replace(scene, offset=said)
    scenes = replace(place.scenes, items=tuple(lying if s.id == scene.id else s for s in place.scenes))
    summary = ingest(place.study, scenes, place.labels, tmp_path / "measure", progress=False)
    assert rows_of(tmp_path / "measure") == rows_of(table[0])
    assert summary.scenes == {"offset confirmed": 13, "offset corrected": 1}
    assert summary == replace(
        ingest(place.study, scenes, place.labels, tmp_path / "measure", progress=False),
        seconds=summary.seconds, resumed=0,
    )  # fmt: skip
    told = {}
    for file in (tmp_path / "measure").glob("*.parquet"):
        told |= pixels.Meta.of(file).extra["offsets"]
    assert told[scene.id]["answer"] == "corrected"
    assert (told[scene.id]["stated"], told[scene.id]["measured"]) == (said, scene.offset)
    with pytest.raises(
        IngestError, match=rf'{scene.id}.*states an offset of {said}.*\n.*\n  leave_out = \["{scene.id}"\]'
    ):
        ingest(with_mode(place.study, offset="refuse"), scenes, place.labels, tmp_path / "refuse", progress=False)
    summary = ingest(with_mode(place.study, offset="state"), scenes, place.labels, tmp_path / "state", progress=False)
    assert summary.scenes == {"offset confirmed": 13, "offset contradicted": 1}
    assert rows_of(tmp_path / "state") != rows_of(table[0])


def test_bad_scenes_are_named_all_at_once_and_left_out_as_far_as_the_study_allows(place, tmp_path):
    ids = [place.scenes.items[i].id for i in (2, 7, 9)]
    items = [
        replace(s, hrefs={**s.hrefs, "red": str(truncated(place, tmp_path))}) if s.id in ids else s
        for s in place.scenes
    ]
    scenes = replace(place.scenes, items=tuple(items))
    without = replace(place.scenes, items=tuple(s for s in place.scenes if s.id not in ids))
    with pytest.raises(IngestError) as stop:
        ingest(place.study, scenes, place.labels, tmp_path / "no", progress=False)
    assert all(str(stop.value).count(i) >= 3 for i in ids)
    assert f"leave_out = {json.dumps(ids)}" in str(stop.value)
    with pytest.raises(IngestError, match="more than the share of 0.1"):
        ingest(with_mode(place.study, max_bad_share=0.1), scenes, place.labels, tmp_path / "no", progress=False)
    summary = ingest(
        with_mode(place.study, max_bad_share=0.25), scenes, place.labels, tmp_path / "some", progress=False
    )
    assert list(summary.bad) == ids
    assert summary.scenes["bad"] == 3
    assert all(i in str(summary) for i in ids)
    assert folders.Folder(tmp_path / "some").manifest()["bad_scenes"] == summary.bad
    ingest(place.study, without, place.labels, tmp_path / "without", progress=False)
    assert rows_of(tmp_path / "some") == rows_of(tmp_path / "without")


def test_a_scene_that_fails_in_the_middle_is_in_no_row_of_the_table(place, tmp_path, monkeypatch):
    """The damage lies where the look at every scene does not see it: in a band that it does not read."""
    scene, scenes = place.scenes.items[9], tiny.half_wrong(place, tmp_path)
    without = replace(place.scenes, items=tuple(s for s in place.scenes if s is not scene))
    monkeypatch.setattr(module, "CHUNK_PIXELS", 49)
    with pytest.raises(IngestError, match=f"{scene.id}.*green: .*lie outside -1,000 to 32,767.*64,700.*wrapped"):
        ingest(place.study, scenes, place.labels, tmp_path / "no", progress=False)
    allowed = with_mode(place.study, max_bad_share=0.1)
    summary = ingest(allowed, scenes, place.labels, tmp_path / "some", progress=False)
    assert list(summary.bad) == [scene.id]
    fresh = ingest(place.study, without, place.labels, tmp_path / "without", progress=False)
    assert rows_of(tmp_path / "some") == rows_of(tmp_path / "without")
    went_on = ingest(place.study, without, place.labels, tmp_path / "no", progress=False)  # chunks of other years stay
    assert 0 < went_on.resumed < fresh.chunks
    assert rows_of(tmp_path / "no") == rows_of(tmp_path / "without")
    again = ingest(allowed, scenes, place.labels, tmp_path / "again", progress=False)
    assert again.counts == summary.counts
    for file in (tmp_path / "some").glob("*.parquet"):
        assert file.read_bytes() == (tmp_path / "again" / file.name).read_bytes()


def test_a_full_disk_is_one_clear_error_and_loses_nothing(place, table, tmp_path, monkeypatch):
    calls = []

    def full(batches, path, meta):
        calls.append(path)
        if len(calls) > 2:
            raise OSError(28, "No space left on device")
        real(batches, path, meta)

    real = pixels.write
    monkeypatch.setattr(pixels, "write", full)
    with pytest.raises(IngestError, match="is full.*Free some space"):
        run(place, tmp_path / "out")
    monkeypatch.setattr(pixels, "write", real)
    assert len(list((tmp_path / "out").glob("*.parquet"))) == 2
    assert run(place, tmp_path / "out").resumed == 2
    assert rows_of(tmp_path / "out") == rows_of(table[0])


def test_tasks_that_run_twice_after_a_failure_do_not_lose_it(place, tmp_path, monkeypatch):
    """Each job is called twice in turn, as by Spark after it lost a worker."""
    monkeypatch.setattr(
        engine, "run_watched",
        lambda job, tasks, *a, **k: [list(job(i)) for i in (*tasks, *reversed(tasks))],
    )  # fmt: skip
    with pytest.raises(IngestError, match="lie outside"):
        ingest(place.study, tiny.half_wrong(place, tmp_path), place.labels, tmp_path / "out", progress=False)
    with pytest.raises(pixels.PixelError, match="unfinished"):
        pixels.check(tmp_path / "out")


def test_a_table_that_lost_a_chunk_is_refused_and_made_whole_by_the_same_call(place, table, tmp_path):
    out = Path(shutil.copytree(table[0], tmp_path / "out"))
    lost = sorted(out.glob("*.parquet"))[1]
    before = lost.read_bytes()
    lost.unlink()
    for read in (pixels.read, pixels.Meta.of, pixels.summary):
        with pytest.raises(pixels.PixelError, match=f"not complete.*{lost.name} is missing"):
            read(out)
    report = pixels.check(out)
    assert not report.ok
    assert report.files == (f"{lost} is missing",)
    assert run(place, out).resumed == table[1].chunks - 1
    assert lost.read_bytes() == before
    assert pixels.check(out).planned == table[1].chunks
    lost.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    assert "its checksum differs" in str(pixels.check(out))
    lost.write_bytes(before)
    shutil.copy(lost, out / "copy.parquet")
    assert "copy.parquet is not in _manifest.json" in str(pixels.check(out))
    assert out / "copy.parquet" not in pixels.files(out)
    assert rows_of(out) == rows_of(table[0])  # readers read the files of the manifest and no other


def test_a_table_of_an_earlier_version_is_read_and_a_lost_chunk_of_it_noticed(place, table, tmp_path):
    out = Path(shutil.copytree(table[0], tmp_path / "out"))
    plan = json.loads((out / "_plan.json").read_text())
    keys = ("area", "year", "row", "col")
    chunks = [dict(zip(keys, part.rsplit("-", 3), strict=True)) for part in plan.pop("parts")]
    (out / "_plan.json").write_text(json.dumps(plan | {"chunks": chunks}))
    (out / "_manifest.json").unlink()
    (out / "_run.json").write_text('{"status": "complete"}')
    assert rows_of(out) == rows_of(table[0])
    assert pixels.check(out).ok
    with pytest.raises(IngestError, match="earlier version"):
        run(place, out)
    lost = sorted(out.glob("*.parquet"))[0]
    lost.unlink()
    with pytest.raises(pixels.PixelError, match=f"{lost.name} is missing"):
        pixels.read(out)


def test_a_folder_without_manifest_is_read_and_not_called_complete(table, tmp_path):
    out = Path(shutil.copytree(table[0], tmp_path / "out", ignore=shutil.ignore_patterns("_*")))
    assert rows_of(out) == rows_of(table[0])
    report = pixels.check(out)
    assert (report.ok, report.planned) == (True, None)
    assert "cannot be known whether it is complete" in str(report)


def test_labels_that_do_not_cover_the_area_are_refused(place, tmp_path):
    labels = place.labels[2021]
    with rasterio.open(labels.path) as src:
        tiny.write(tmp_path / "small.tif", src.read(1)[:20, :20], src.transform, 5070)
    short = replace(labels, path=tmp_path / "small.tif", confidence=None)
    with pytest.raises(IngestError, match="do not cover"):
        ingest(place.study, place.scenes, {**place.labels, 2021: short}, tmp_path / "o", progress=False)


@pytest.mark.parametrize("per_class", [None, 3])
def test_a_study_that_failed_on_its_legend_goes_on_once_it_is_corrected(place, table, tmp_path, per_class):
    crops, rest = place.study.legend.classes
    wrong = place.study.replace(legend=replace(place.study.legend, classes=(crops, replace(rest, codes=(7,)))))
    how = {"progress": False, "per_class": per_class}
    for _ in range(2):
        with pytest.raises(IngestError, match=r"Label codes \[176\] are in no class"):
            ingest(wrong, place.scenes, place.labels, tmp_path / "o", **how)
    ingest(place.study, place.scenes, place.labels, tmp_path / "o", **how)
    ingest(place.study, place.scenes, place.labels, tmp_path / "fresh", **how)
    assert rows_of(tmp_path / "o") == rows_of(tmp_path / "fresh") != []
    assert pixels.check(tmp_path / "o").ok


def test_years_on_different_grids_are_refused(place, tmp_path):
    labels = place.labels[2021]
    with rasterio.open(labels.path) as src:
        tiny.write(
            tmp_path / "shifted.tif", src.read(1), rasterio.transform.from_origin(450_000, 1_420_005, 30, 30), 5070
        )
    shifted = replace(labels, path=tmp_path / "shifted.tif", confidence=None)
    with pytest.raises(IngestError, match="another grid"):
        ingest(place.study, place.scenes, {**place.labels, 2021: shifted}, tmp_path / "o", progress=False)


def test_scenes_that_were_found_for_other_bands_are_refused(place, tmp_path):
    first, *rest = place.scenes
    few = replace(first, hrefs={k: v for k, v in first.hrefs.items() if k != "nir"})
    with pytest.raises(IngestError, match=r"no link to \['nir'\].*find the scenes again"):
        ingest(place.study, replace(place.scenes, items=(few, *rest)), place.labels, tmp_path / "o", progress=False)


def test_an_area_without_scenes_is_refused_before_any_work(place, tmp_path):
    none = replace(place.scenes, items=tuple(s for s in place.scenes if not s.datetime.startswith("2020")))
    with pytest.raises(IngestError, match=r"No scene of 2020 touches area 'west'"):
        ingest(place.study, none, place.labels, tmp_path / "o", progress=False)
    assert not (tmp_path / "o").exists()


def test_overlapping_areas_are_refused(place, tmp_path):
    west, east = place.study.areas
    wide = replace(west, bounds=(*west.bounds[:2], west.bounds[2] + 90, west.bounds[3]))
    with pytest.raises(StudyError, match="twice"):
        ingest(place.study.replace(areas=(wide, east)), place.scenes, place.labels, tmp_path / "o", progress=False)


def test_wrong_calls_are_refused_with_words(place, tmp_path):
    with pytest.raises(IngestError, match="not both"):
        run(place, tmp_path / "o", every=2, per_class=3)
    with pytest.raises(IngestError, match="must be at least 1"):
        run(place, tmp_path / "o", every=0)
    with pytest.raises(IngestError, match=r"no labels for \[2021\]"):
        ingest(place.study, place.scenes, {2020: place.labels[2020]}, tmp_path / "o", progress=False)


def test_what_a_file_says_of_itself(place, table):
    file = next(table[0].glob("*.parquet"))
    meta = pixels.Meta.of(file)
    assert meta.bands == tuple(sentinel2.BANDS)
    assert meta.crs == "EPSG:5070"
    assert meta.simulated
    counts = json.loads((table[0] / "_manifest.json").read_text())["counts"]
    assert set(counts) >= set(meta.extra["counts"]) - {"observations"}
    assert pq.read_schema(file).names == pixels.SCHEMA.names
