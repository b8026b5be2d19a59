"""Every output in an object store: the chain of the course with nothing left on this disk but copies in the cache."""

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import few
import kill_drill
import numpy as np
import objectstore
import pytest
import requests
import shapely
import tiny
from test_predict import Linear
from typer.testing import CliRunner

from arsetlib import (
    catalogue,
    checksums,
    cli,
    copies,
    evaluation,
    fields,
    figures,
    folders,
    groves,
    labels,
    maps,
    models,
    pixels,
    samples,
    simulate,
    training,
    variables,
)
from arsetlib.grading import grader, notebooks
from arsetlib.ingest import ingest, reader
from arsetlib.stores import StoreAnswerError, StoreError, StorePath, place
from arsetlib.study import Study

SECRET = objectstore.CREDENTIALS["AWS_SECRET_ACCESS_KEY"]


def held(folder: StorePath) -> dict[str, bytes]:
    """Key → content of all files of a folder of the store."""
    return {key: (folder / key).read_bytes() for key in folder.files()}


def test_a_place_in_a_store_is_addressed_like_a_path(bucket):
    file = bucket / "a" / "b.json"
    assert not file.exists()
    folders.put(file, "corn")
    assert file.read_text() == "corn"
    assert (file.name, file.stem, file.suffix, file.parent) == ("b.json", "b", ".json", bucket / "a")
    assert bucket.is_dir()
    assert list(bucket.iterdir()) == [bucket / "a"]
    assert list((bucket / "a").glob("*.json")) == [file]
    assert checksums.sha256(file) == checksums.sha256(copies.fetched(file))
    file.unlink()
    file.unlink(missing_ok=True)
    assert not bucket.exists()


def test_a_copy_follows_its_original(bucket):
    folders.put(bucket / "a.txt", "one")
    folders.put(bucket / "b.txt", "two")
    copy = copies.fetched(bucket)
    assert {file.name: file.read_text() for file in copy.iterdir()} == {"a.txt": "one", "b.txt": "two"}
    folders.put(bucket / "a.txt", "new")
    (bucket / "b.txt").unlink()
    assert {file.name: file.read_text() for file in copies.fetched(bucket).iterdir()} == {"a.txt": "new"}


def test_a_command_names_the_address_and_not_the_copy(bucket):
    simulate.groves(bucket / "grove", captures=2, size=(96, 128), jobs=1, progress=False)
    done = CliRunner().invoke(cli.app, ["groves", "check", str(bucket / "grove")])
    assert f"{bucket}/grove/images/capture_01.jpg has 128 × 96 pixels" in done.output
    assert str(variables.cache_folder()) not in done.output


@pytest.mark.parametrize(
    "address", ["s3://me:pass@bucket/x", "s3://bucket/x?sig=1", "s3://bucket/x#y", "ftp://a/b", "s3:///x"]
)
def test_an_address_with_keys_or_of_another_kind_is_refused_and_not_repeated(address):
    with pytest.raises(StoreError) as refused:
        place(address)
    assert "pass" not in str(refused.value)
    assert "sig" not in str(refused.value)


def test_addresses_as_other_programs_write_them_are_taken_or_corrected(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert place("S3://Bucket/x") == place("s3://Bucket/x")
    assert place("file:/data/maps") == place("FILE:///data/maps") == Path("/data/maps")
    assert place("~/maps") == tmp_path / "maps"
    for address, right in {"s3a://b/x": "Write s3:// in place of s3a:", "gcs://b/x": "Write gs://"}.items():
        with pytest.raises(StoreError, match=right):
            place(address)


def test_the_empty_folders_of_a_console_are_no_files(bucket, s3_url, tmp_path):
    for key in ("own/", "own/sub/", "own/lone/"):
        requests.put(f"{s3_url}/{bucket.root[5:]}/{key}", data=b"", timeout=30).raise_for_status()
    own = bucket / "own"
    assert own.files() == {}
    folders.put(own / "sub" / "a.txt", "corn")
    folders.put(own / "empty", b"")
    assert sorted(own.files()) == ["empty", "sub/a.txt"]
    assert (copies.fetched(own) / "sub" / "a.txt").read_text() == "corn"
    with folders.claim(own / "sub" / "new", {}, ["a"]) as folder:
        folder.finish("a", [])
        folder.publish()


def test_an_object_whose_name_is_no_path_is_named(bucket, s3_url):
    requests.put(f"{s3_url}/{bucket.root[5:]}/own//a.txt", data=b"", timeout=30).raise_for_status()
    said = r"contains an object whose name is no path: 'own//a\.txt'.*Rename or delete"
    with pytest.raises(StoreAnswerError, match=said):
        (bucket / "own").files()
    with pytest.raises(StoreError, match="without '..', tabs"):
        place(f"{bucket}/a\tb")


def test_a_wrong_key_is_an_error_without_the_key(bucket, monkeypatch):
    with pytest.raises(StoreAnswerError, match="bucket-that-is-not-there") as failed:
        folders.put("s3://bucket-that-is-not-there/a", "corn")
    assert SECRET not in str(failed.value)


def test_a_study_and_its_item_list_lie_in_a_store(bucket, delta):
    for file in ("study.toml", "collection.json", *(f"items/{f.name}" for f in (delta / "items").iterdir())):
        folders.put(bucket / "delta" / file, (delta / file).read_bytes())
    study = Study.load(str(bucket / "delta" / "study.toml"))
    assert study.resolve("a.tif") == str(bucket / "delta" / "a.tif")
    scenes = catalogue.find_scenes(study, cache=bucket / "lists", progress=False)
    own = catalogue.find_scenes(Study.load(delta / "study.toml"), progress=False)
    assert [s.id for s in scenes] == [s.id for s in own]
    assert scenes.items[0].hrefs["red"].startswith(str(bucket / "delta" / "scenes"))
    assert catalogue.Scenes.load(bucket / "lists" / "items.json") == scenes


def test_a_list_of_scenes_on_this_disk_can_be_kept_in_a_store(bucket, delta):
    scenes = catalogue.find_scenes(Study.load(delta / "study.toml"), cache=bucket / "items.json", progress=False)
    assert catalogue.Scenes.load(bucket / "items.json") == scenes


def test_labels_are_made_on_this_machine_and_kept_in_a_store(bucket, delta):
    study = Study.load(delta / "two_areas.toml")
    for file in delta.glob("cdl_2021*.tif"):
        folders.put(bucket / file.name, file.read_bytes())
    folders.put(bucket / "study.toml", study.text)
    found = labels.find_labels(Study.load(str(bucket / "study.toml")), 2021, bucket / "labels", progress=False)
    assert found.path.parent == found.confidence.parent == bucket / "labels"
    assert checksums.of(found.path).is_file()
    again = labels.find_labels(Study.load(str(bucket / "study.toml")), 2021, bucket / "labels", progress=False)
    assert again == found


def test_a_training_goes_on_from_a_store_with_the_same_weights(bucket, tmp_path, monkeypatch):
    sides, options = few.make_sides(), {"epochs": 3, "patience": 2, "batch": 64, "seed": 2, "progress": False}
    alone = training.fit(few.network(), sides, few.STUDY, folder=tmp_path / "run", **options)

    class Stopped(Exception):
        pass

    with monkeypatch.context() as patched:
        import arsetlib.training.callbacks as callbacks

        real = callbacks.Backup.keep

        def keep(self, model, epoch, history):
            real(self, model, epoch, history)
            if epoch == 1:
                raise Stopped

        patched.setattr(callbacks.Backup, "keep", keep)
        with pytest.raises(Stopped):
            training.fit(few.network(), sides, few.STUDY, folder=bucket / "run", **options)
    assert (bucket / "run" / "_work" / "backup.npz").is_file()
    trained = training.fit(few.network(), sides, few.STUDY, folder=str(bucket / "run"), **options)
    for one, other in zip(alone.model.get_weights(), trained.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    keys = set((bucket / "run").files())
    assert {"_plan.json", "_manifest.json", "model/card.json", "model/model.keras"} <= keys
    assert any(key.startswith("logs/validation/events") for key in keys)
    assert not [key for key in keys if key.startswith("_work")]
    assert models.load(bucket / "run").notes["seed"] == 2
    assert len(training.events.scalars(bucket / "run" / "logs")) == len(trained.history["loss"])


def test_predictions_and_a_report_lie_in_a_store(bucket):
    pytest.importorskip("jinja2")
    sides = few.make_sides()
    trained = training.fit("majority", sides, few.STUDY, progress=False)
    done = evaluation.ModelPredictions.of(trained, sides["test"], [60, 90])
    done.save(bucket / "test")
    loaded = evaluation.ModelPredictions.load(str(bucket / "test"))
    np.testing.assert_array_equal(loaded.predictions.truth, done.predictions.truth)
    made = figures.report(loaded, str(bucket / "report"), repeats=5)
    assert made.html == bucket / "report" / "report.html"
    assert json.loads(made.json.read_bytes())["predictions"] == len(done.predictions)
    assert made.html.read_text().startswith("<!doctype html>")


@pytest.fixture(scope="module")
def mapped(tmp_path_factory):
    """A tiny place, its table on this disk, a model, and its maps on this disk."""
    folder = tmp_path_factory.mktemp("mapped")
    made = tiny.make(folder)
    ingest(made.study, made.scenes, made.labels, folder / "table", progress=False)
    model = Linear(made.study, samples.Scaler.fit(samples.Rows.of(folder / "table"), made.study))
    options = {"area": "west", "year": 2021, "smooth": "majority", "progress": False}
    return made, folder / "table", model, maps.predict(model, folder / "table", [120], folder / "maps", **options)[0]


def test_a_map_in_a_store_has_the_bytes_of_one_on_disk(bucket, mapped):
    made, table, model, own = mapped
    options = {"area": "west", "year": 2021, "smooth": "majority", "progress": False}
    (there,) = maps.predict(model, table, [120], str(bucket / "maps"), **options)
    keys = set((bucket / "maps").files())
    assert keys == {file.name for file in own.folder.iterdir()}
    for name in own.info["files"].values():
        assert (there.folder / name).read_bytes() == (own.folder / name).read_bytes()
    np.testing.assert_array_equal(there.read("probability"), own.read("probability"))
    again = maps.predict(model, table, [120], bucket / "maps", **options)[0]
    assert again.info["identity"] == there.info["identity"]
    assert [p.stem for p in maps.predictions(bucket / "maps")] == [own.stem]
    assert str(maps.compare(there, made.labels[2021])) == str(maps.compare(own, made.labels[2021]))
    assert figures.season_gif([there], bucket / "season.gif", labels=made.labels[2021]).read_bytes()[:3] == b"GIF"


@pytest.mark.parametrize("name", ["simulate delta", "simulate grove", "simulate fields", "segment predict"])
def test_what_is_made_in_pieces_has_the_same_bytes_in_a_store(bucket, tmp_path, name):
    drill = kill_drill.DRILLS[name](tmp_path)
    drill.call(tmp_path / "whole")
    drill.call(bucket / "whole")
    whole = tmp_path / "whole"
    own = {file.relative_to(whole).as_posix(): file.read_bytes() for file in whole.rglob("*") if file.is_file()}
    there = held(bucket / "whole")
    assert set(there) == set(own)
    assert [key for key in own if own[key] != there[key]] == []
    drill.call(bucket / "whole")  # a complete folder is left as it is


def test_images_are_converted_and_read_in_a_store(bucket, tmp_path):
    simulate.fields(bucket / "fields", fields=20, chips=2, size=32, jobs=1, progress=False)
    for form in ("parquet", "directory"):
        chips = fields.agriculture_vision(bucket / "fields")
        out = fields.convert(chips, bucket / form, form, shard_mb=0.02, jobs=1, progress=False)
        assert fields.verify(out) == len(chips) == 40


def test_trees_are_counted_from_a_store_into_one(bucket):
    simulate.groves(bucket / "grove", captures=2, size=(96, 128), jobs=1, progress=False)
    trees = groves.count(bucket / "grove", flight=bucket / "grove" / "flight.json")
    assert trees.geojson(bucket / "trees.geojson").is_file()
    assert trees.score(bucket / "grove" / "trees.geojson")["truth"] > 0
    assert len(groves.captures(str(bucket / "grove"))) == 2
    assert (bucket / "trees.geojson").read_text().startswith("{")


def test_a_search_refuses_a_store_for_its_database():
    with pytest.raises(training.TrainingError, match="on a disk of this machine"):
        training.search({"batch": [8]}, {}, few.STUDY, storage="s3://bucket/search.db")


@pytest.mark.parametrize(
    "name",
    [
        "predict",
        "simulate delta",
        "simulate grove",
        "convert tfrecord",
        "train keras",
        "train baseline",
        "segment predict",
    ],
)
def test_a_volume_gets_whole_files_only(tmp_path, name):
    command = [sys.executable, Path(__file__).with_name("volume.py"), name, tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["files"] > 0
    assert found["wrong"] == []


def called(*arguments):
    """``arset`` in this process; its JSON."""
    done = CliRunner().invoke(cli.app, [*map(str, arguments), "--json"])
    assert done.exit_code == 0, f"{done.output} {done.exception!r}"
    assert SECRET not in done.output
    return json.loads(done.stdout)


def test_the_chain_of_the_course_leaves_nothing_on_this_disk(bucket, tmp_path, monkeypatch, delta):
    here, temporary = tmp_path / "here", tmp_path / "temporary"
    for folder in (here, temporary):
        folder.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    study = delta / "two_areas.toml"
    found = called("scenes", study, "--cache", bucket / "data")
    assert found["saved"] == str(bucket / "data" / "sample" / "2021")
    table = bucket / "pixels"
    made = called("ingest", study, table, "--master", "none", "--every", 4, "--cache", bucket / "data")
    assert made["rows"] == called("describe", table)["rows"] > 0
    assert called("check", table)["ok"]
    few_table, few_study = bucket / "few.parquet", bucket / "few.toml"
    pixels.write(few.make_table(), few_table, few.META)
    folders.put(few_study, few.STUDY.text)
    run = called("train", few_table, few_study, "--model", "majority", "--out", bucket / "run")
    assert run["model"] == str(bucket / "run" / "model")
    called("evaluate", bucket / "run", few_table, "--study", few_study, "--start", 60, "--out", bucket / "test")
    report = called("report", bucket / "test", "--out", bucket / "report.html")
    assert place(report["html"]).is_file()
    maps_there = called("predict", bucket / "run", few_table, "--start", 90, "--year", 2019, "--out", bucket / "maps")
    assert maps.open_prediction(bucket / "maps" / "west_2019_090.json").info["files"] == maps_there[0]["files"]
    assert list(here.iterdir()) == list(temporary.iterdir()) == []
    assert not [key for key, content in held(bucket).items() if SECRET.encode() in content]


def test_an_address_of_this_disk_is_a_path(tmp_path, mapped, delta):
    made, table, *_ = mapped
    address = f"file://{tmp_path}/a%20table"
    ingest(made.study, made.scenes, made.labels, address, progress=False)
    assert pixels.read(address).equals(pixels.read(table))
    assert pixels.files(tmp_path / "a table") == pixels.files(address)
    options = ("--master", "none", "--every", 4, "--cache", f"file://{tmp_path}/data")
    rows = called("ingest", f"file://{delta}/two_areas.toml", f"file://{tmp_path}/pixels", *options)["rows"]
    assert rows == called("describe", f"file://{tmp_path}/pixels")["rows"] == pixels.read(tmp_path / "pixels").num_rows
    assert called("check", f"file://{tmp_path}/pixels")["ok"]


def test_a_place_that_is_none_is_wrong_usage():
    done = CliRunner().invoke(cli.app, ["describe", "s3://me:pass@bucket/x"])
    assert done.exit_code == 2
    assert "without user" in done.output
    assert "pass" not in done.output.replace("s3://me:pass@bucket", "")


def test_a_scene_that_is_gone_from_a_store_is_one_clear_error(bucket, mapped):
    made = mapped[0]
    scene = made.scenes.items[0]
    gone = dataclasses.replace(scene, hrefs={name: f"{bucket}/none/{name}.tif" for name in scene.hrefs})
    at = reader.Reader(np.array([450_030.0]), np.array([1_419_990.0]), "EPSG:5070", "home-2021-0-0")
    with pytest.raises(reader.SceneError, match=rf"Could not read red of scene .*{bucket}/none/red.tif.* is gone"):
        at.values(gone, "red")


def test_scenes_in_a_store_are_read_ahead_and_give_the_same_table(bucket, mapped, tmp_path, monkeypatch):
    made, table, *_ = mapped
    moved = {}
    monkeypatch.setattr(reader.web, "gdal", lambda **_: pytest.fail("GDAL reads one file after another"))
    for scene in made.scenes:
        hrefs = {name: bucket / scene.id / Path(href).name for name, href in scene.hrefs.items()}
        for name, there in hrefs.items():
            folders.put(there, Path(scene.hrefs[name]).read_bytes())
        moved[scene.id] = {name: str(there) for name, there in hrefs.items()}
    items = tuple(dataclasses.replace(s, hrefs=moved[s.id]) for s in made.scenes)
    ingest(made.study, dataclasses.replace(made.scenes, items=items), made.labels, tmp_path / "table", progress=False)
    assert pixels.read(tmp_path / "table").equals(pixels.read(table))


def test_fields_in_a_store_are_drawn_as_from_a_disk(bucket, tmp_path):
    text = few.STUDY.text.replace('kind = "raster"', 'kind = "vector"\nresolution = 30').replace(
        'path = "labels_{year}.tif"', 'path = "fields.geojson"\ncode_column = "code"\nsame_every_year = true'
    )
    ring = [[-91.9, 34.9], [-91.8, 34.9], [-91.8, 35.0], [-91.9, 35.0], [-91.9, 34.9]]
    one = {"type": "Feature", "properties": {"code": 2}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
    fields_file = json.dumps({"type": "FeatureCollection", "features": [one]})
    west, south, east, north = shapely.geometry.Polygon(ring).buffer(-0.01).bounds
    text = text.replace("bounds = [400000, 1400000, 410000, 1410000]", f"bounds = [{west}, {south}, {east}, {north}]")
    text = text.replace('crs = "EPSG:5070"', 'crs = "EPSG:4326"')
    for root in (bucket, tmp_path):
        folders.put(root / "study.toml", text)
        folders.put(root / "fields.geojson", fields_file)
    there = labels.find_labels(Study.load(bucket / "study.toml"), 2020, bucket / "labels", progress=False)
    here = labels.find_labels(Study.load(tmp_path / "study.toml"), 2020, tmp_path / "labels", progress=False)
    assert there.identity == here.identity


def test_homework_and_grades_lie_in_a_store(bucket, tmp_path):
    files = notebooks.write(["part1"], "Ada Lovelace", bucket / "homework")
    assert [written for _, written in files] == [True]
    assert [written for _, written in notebooks.write(["part1"], "Ada Lovelace", bucket / "homework")] == [False]
    (tmp_path / "submissions").mkdir()
    (tmp_path / "submissions" / "cy.ipynb").write_bytes(b"{}")
    options = {"data": tmp_path / "data", "jobs": 1, "trust": True, "progress": False}
    grades = grader.grade(tmp_path / "submissions", out=bucket / "out" / "grades.csv", **options)
    assert grades.path.read_text().splitlines()[1].startswith("cy.ipynb")
    assert grades.logs.is_dir()
    assert grader.grade(tmp_path / "submissions", out=bucket / "out" / "grades.csv", **options).reused == 1


def test_copies_are_bounded_and_those_in_use_are_kept(bucket, monkeypatch):
    for name in "abc":
        folders.put(bucket / name / "x.bin", name.encode() * 1000)
        copies.fetched(bucket / name)
    assert copies.cache_size() >= 3000
    notes = sorted((variables.cache_folder() / "copies").glob("*.json"))
    old = {json.loads(note.read_text())["copy"][-1]: note for note in notes}
    for name, age in (("a", 300_000), ("b", 200_000)):
        when = old[name].stat().st_mtime - age
        os.utime(old[name], (when, when))
    monkeypatch.setattr(copies, "CACHED", 2500)
    folders.put(bucket / "d" / "x.bin", b"d")
    copies.fetched(bucket / "d")  # b, c and d have more than 2,500 bytes with their notes, but a and b are old enough
    left = {file.parent.name for file in (variables.cache_folder() / "copies").rglob("x.bin")}
    assert {"c", "d"} <= left
    assert "a" not in left
    assert copies.fetched(bucket / "a").joinpath("x.bin").read_bytes() == b"a" * 1000


def test_the_command_shows_and_empties_the_copies(bucket):
    folders.put(bucket / "x.bin", b"x" * 1000)
    copy = copies.fetched(bucket / "x.bin")
    assert called("cache")["bytes"] >= 1000
    assert called("cache", "--empty")["deleted"] >= 1000
    assert not copy.exists()
    assert copies.fetched(bucket / "x.bin").read_bytes() == b"x" * 1000


def test_a_folder_is_removed_in_a_store_as_on_a_disk_and_its_neighbour_stays(bucket, tmp_path):
    for root in (bucket, tmp_path):
        for key in ("table/a", "table/below/b", "tables/c"):
            folders.put(root / key, "corn")
        folders.remove(root / "table")
        folders.remove(root / "none")
        assert not (root / "table").exists()
        assert (root / "tables" / "c").is_file()
