"""Every output in an object store: the chain of the course with nothing left on this disk but copies in the cache."""

import json
import logging

import few
import numpy as np
import pytest

from arsetlib import (
    catalogue,
    checksums,
    evaluation,
    figures,
    folders,
    labels,
    models,
    training,
)
from arsetlib.stores import StoreError, StorePath, place
from arsetlib.study import Study

SECRET = "s3cr3t-s3cr3t-s3cr3t"


@pytest.fixture(scope="module")
def service():
    """Amazon's S3 as moto imitates it, on this machine."""
    moto = pytest.importorskip("moto.server")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def bucket(service, tmp_path, monkeypatch):
    """A new folder in a bucket; copies go to a cache of the test."""

    settings = {"AWS_ENDPOINT_URL": service, "AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": SECRET}
    for name, value in {**settings, "AWS_REGION": "us-east-1", "XDG_CACHE_HOME": str(tmp_path / "cache")}.items():
        monkeypatch.setenv(name, value)
    import requests

    requests.put(f"{service}/course", timeout=10)
    return place("s3://course") / tmp_path.name


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
    assert checksums.sha256(file) == checksums.sha256(folders.fetched(file))
    file.unlink()
    file.unlink(missing_ok=True)
    assert not bucket.exists()


def test_a_copy_follows_its_original(bucket):
    folders.put(bucket / "a.txt", "one")
    folders.put(bucket / "b.txt", "two")
    copy = folders.fetched(bucket)
    assert {file.name: file.read_text() for file in copy.iterdir()} == {"a.txt": "one", "b.txt": "two"}
    folders.put(bucket / "a.txt", "new")
    (bucket / "b.txt").unlink()
    assert {file.name: file.read_text() for file in folders.fetched(bucket).iterdir()} == {"a.txt": "new"}


@pytest.mark.parametrize(
    "address", ["s3://me:pass@bucket/x", "s3://bucket/x?sig=1", "s3://bucket/x#y", "ftp://a/b", "s3:///x"]
)
def test_an_address_with_keys_or_of_another_kind_is_refused_and_not_repeated(address):
    with pytest.raises(StoreError) as refused:
        place(address)
    assert "pass" not in str(refused.value)
    assert "sig" not in str(refused.value)


def test_a_wrong_key_is_an_error_without_the_key(bucket, monkeypatch):
    with pytest.raises(OSError, match="bucket-that-is-not-there") as failed:
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
