"""Prediction: a map equals what a plain loop over pixels says, here and on Spark, whatever happens on the way."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import rasterio

from arsetlib import catalogue, maps, pixels, samples
from arsetlib.ingest import ingest
from arsetlib.labels import find_labels
from arsetlib.maps import cogs, neighbourhood, prediction, products, sources
from arsetlib.study import Area, Study

START = 150


@dataclass
class Linear:
    """A model small enough to compute by hand: it stands for ``models.Trained``, whose contract it keeps."""

    study: Study
    scaler: samples.Scaler
    fill: str = "zeros"
    choose: str = "clearest"
    needs: tuple = ("seen",)
    name: str = "linear"
    asked: list = field(default_factory=list)
    tilt: float = 1.0

    def predict(self, x):
        series, seen = x["series"].astype(np.float64), x["seen"]
        self.asked.append(len(series))
        rng = np.random.default_rng(3)
        weights = rng.standard_normal((*series.shape[1:], len(self.study.legend.classes))) * 0.1 * self.tilt
        # Summed pixel by pixel, so that the sum does not depend on the batch.
        scores = np.stack([np.sum(s[..., None] * weights, axis=(0, 1)) for s in series]) + seen.mean(1)[:, None]
        odds = np.exp(scores - scores.max(1, keepdims=True))
        return (odds / odds.sum(1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def place(delta, tmp_path_factory):
    """A study of two areas, its scenes, labels and table."""
    folder = tmp_path_factory.mktemp("predict")
    study = Study.load(delta / "two_areas.toml")
    scenes = catalogue.find_scenes(study, progress=False)
    labels = {2021: find_labels(study, 2021, folder, False)}
    ingest(study, scenes, labels, folder / "pixels", progress=False)
    return study, scenes, labels[2021], folder / "pixels"


@pytest.fixture(scope="module")
def model(place):
    return Linear(place[0], samples.Scaler.fit(place[3]))


@pytest.fixture(scope="module")
def made(place, model, tmp_path_factory):
    return maps.predict(model, place[3], START, tmp_path_factory.mktemp("made"), area="dense", progress=False)


def by_plain_loop(model, table, area, start):
    """Row after row: series, window, model."""
    season, found = model.study.season, {}
    first = int(samples.start_days(2021, start)[0])
    rows = pixels.read(table)
    for i, row in enumerate(rows.select(["area", "x", "y"]).to_pylist()):
        if row["area"] != area:
            continue
        day, scl, bands = pixels.series(rows, i)
        flat = pixels.Ragged(np.array([0, len(day)]), day, scl, bands)
        window = samples.window(flat, season, first, choose="clearest", scaler=model.scaler)
        answer = model.predict({"series": window.x, "seen": window.seen})[0] if window.images[0] else None
        found[row["x"], row["y"]] = answer
    return found


def test_the_map_is_that_of_a_plain_loop(place, model, made):
    expected = by_plain_loop(model, place[3], "dense", START)
    with rasterio.open(made.path("class")) as src:
        classes, transform = src.read(1), src.transform
    probability, entropy, margin = (made.read(p) for p in ("probability", "entropy", "margin"))
    assert (classes != 255).sum() == sum(a is not None for a in expected.values()) > 40
    for (x, y), answer in expected.items():
        col, row = (int(np.floor(v)) for v in ~transform * (x, y))
        if answer is None:
            assert classes[row, col] == 255
            continue
        assert classes[row, col] == answer.argmax()
        assert np.abs(probability[:, row, col] - answer).max() < 1e-4
        first, second = np.sort(answer)[[-1, -2]]
        assert margin[row, col] == pytest.approx(first - second, abs=1e-4)
        assert entropy[row, col] == pytest.approx(-(answer * np.log(answer)).sum() / np.log(len(answer)), abs=1e-4)


def test_what_is_written_says_what_it_is(made, model):
    from rio_cogeo.cogeo import cog_validate

    for product in prediction.PRODUCTS:
        valid, errors, warned = cog_validate(made.path(product))
        assert valid, (product, errors, warned)
        with rasterio.open(made.path(product)) as src:
            tags = src.tags()
            assert src.nodata == products.NODATA[product]
            assert tags["simulated"] == "yes"
            assert (tags["window_start"], tags["window_last_day"]) == ("2021-05-30", "2021-09-26")
            assert (tags["model"], tags["study"], tags["area"]) == ("linear", model.study.key, "dense")
            if product == "class":
                names = [tags[f"class_{i}"] for i in range(len(model.study.legend.classes))]
                colours = src.colormap(1)
            if product == "probability":
                assert src.scales == (1e-4,) * len(model.study.legend.classes)
                assert list(src.descriptions) == model.study.legend.names()
    assert names == model.study.legend.names()
    for i, colour in enumerate(model.study.legend.colours):
        assert "#{:02x}{:02x}{:02x}".format(*colours[i][:3]) == colour
    beside = Path(f"{made.path('class')}.aux.xml").read_text()
    assert all(f"<Category>{name}</Category>" in beside for name in names)
    assert not list(made.folder.glob(".*"))


def test_the_json_counts_pixels_and_warns_of_counting_them(made):
    info = json.loads((made.folder / f"{made.stem}.json").read_text())
    classes = made.read()
    assert [c["pixels"] for c in info["classes"]] == [(classes == k).sum() for k in range(len(info["classes"]))]
    assert info["classes"][1]["hectares"] == pytest.approx(info["classes"][1]["pixels"] * 0.09)
    assert "biased" in info["about_hectares"]
    assert info["pixels"]["predicted"] == classes.count()
    assert info["simulated"]
    assert maps.open_prediction(made.folder / f"{made.stem}.json").info == made.info
    assert made.legend == Study.load("sample").legend


def test_scenes_and_table_give_the_same_map(place, model, made, tmp_path):
    _study, scenes, _, _ = place
    of_scenes = maps.predict(model, scenes, START, tmp_path, area="dense", progress=False)
    for product in prediction.PRODUCTS:
        assert np.array_equal(made.read(product).filled(), of_scenes.read(product).filled())
    assert of_scenes.info["pixels"] == made.info["pixels"]


def test_only_scenes_of_the_window_are_read(place, model):
    study, scenes, _, _ = place
    first = int(samples.start_days(2021, START)[0])
    source = sources.of_scenes(scenes, study, "dense", 2021, [START], None)
    assert {s.day for s in source.scenes} <= set(range(first, first + study.season.window_days))
    assert 0 < len(source.scenes) < len(scenes)


def test_a_map_needs_no_labels(place, model, made, tmp_path):
    study, scenes, _, _ = place
    labels = study.labels.__class__(kind="cdl")
    without = study.replace(labels=labels, root=tmp_path)
    of_scenes = maps.predict(model, scenes, START, tmp_path, area="dense", study=without, progress=False)
    assert np.array_equal(made.read().filled(), of_scenes.read().filled())


def test_chunks_and_batches_change_nothing(place, model, made, tmp_path, monkeypatch):
    _study, scenes, _, _table = place
    monkeypatch.setattr(sources, "CHUNK_SIDE", 5)
    monkeypatch.setattr(cogs, "TILE", 128)
    small = maps.predict(model, scenes, START, tmp_path, area="dense", batch=7, progress=False)
    assert len(small.info["chunks"]) > 4
    assert np.array_equal(made.read("probability").filled(), small.read("probability").filled())


def test_several_dates_come_from_one_read(place, model, made, tmp_path, monkeypatch):
    reads, real = [], sources.TableSource.read
    monkeypatch.setattr(sources.TableSource, "read", lambda *a: reads.append(1) or real(*a))
    several = maps.predict(model, place[3], [60, START], tmp_path, area="dense", progress=False)
    assert [p.start for p in several] == [60, START]
    assert len(reads) == 1
    assert np.array_equal(several[1].read().filled(), made.read().filled())
    assert [p.stem for p in maps.predictions(tmp_path)] == ["dense_2021_060", "dense_2021_150"]


def test_rows_and_tables_in_memory_give_the_same_map(place, model, made, tmp_path):
    rows = samples.Rows.of(place[3])
    for i, source in enumerate((rows, pixels.read(place[3]), rows.pick(rows.column("area") == "dense"))):
        other = maps.predict(model, source, START, tmp_path / str(i), area="dense", progress=False)
        assert np.array_equal(made.read().filled(), other.read().filled())


def test_a_sparse_table_gives_a_coarser_map_centred_on_its_pixels(place, model, tmp_path, capsys):
    coarse = maps.predict(model, place[3], START, tmp_path, area="box_1")
    assert "one label pixel in 2" in capsys.readouterr().out
    assert coarse.info["pixel_side"] == 60
    rows = pixels.read(place[3])
    mine = np.array(rows["area"]) == "box_1"
    x, y = (np.asarray(rows[n])[mine] for n in ("x", "y"))
    with rasterio.open(coarse.path()) as src:
        col, row = ~src.transform * (x, y)
        assert np.allclose(col % 1, 0.5)
        assert np.allclose(row % 1, 0.5)
        assert (src.read(1) != 255).sum() == coarse.info["pixels"]["predicted"]


def test_pixels_without_an_image_in_the_window_are_nodata_and_counted(place, model, tmp_path):
    table = pixels.read(place[3])
    mine = np.flatnonzero(np.array(table["area"]) == "dense")
    one = pixels.ragged(table.take(mine))
    first = int(samples.start_days(2021, START)[0])
    rows = one.rows
    keep = (rows % 2 == 0) | (one.day < first)
    counts = np.bincount(rows[keep], minlength=len(mine))
    small = table.take(mine).drop_columns(["num_images", "day", "scl", "bands"])
    batch = pixels.make_batch(
        day=one.day[keep], scl=one.scl[keep], bands=one.bands[keep], offsets=np.cumsum([0, *counts]),
        **{n: small[n].combine_chunks() for n in small.column_names},
    )  # fmt: skip
    pixels.write([batch], tmp_path / "half.parquet", pixels.Meta.of(table))
    half = maps.predict(model, tmp_path / "half.parquet", START, tmp_path / "maps", area="dense", progress=False)
    assert half.info["pixels"]["no_image"] == len(mine) // 2
    assert half.read().mask.sum() == len(mine) // 2
    assert half.read("probability").mask.sum() == len(mine) // 2 * len(model.study.legend.classes)


# -- Spark, and bad days --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def network(place):
    """A real model, untrained: what it says does not matter here."""
    from arsetlib import models

    study = place[0]
    sizes = {"steps": study.season.steps, "bands": len(study.channels), "classes": len(study.legend.classes)}
    return models.Trained(models.build("ltae", **sizes), "ltae", samples.Scaler.fit(place[3]), study)


@pytest.mark.spark
def test_spark_makes_the_same_map(place, network, tmp_path, spark):
    here = maps.predict(network, place[3], [60, START], tmp_path / "here", area="dense", progress=False)
    options = {"area": "dense", "spark": spark, "progress": False}
    there = maps.predict(network, place[3], [60, START], tmp_path / "there", **options)
    for one, other in zip(here, there, strict=True):
        for product in prediction.PRODUCTS:
            a, b = (p.read(product).filled().astype(float) for p in (one, other))
            assert np.abs(a - b).max() < 2e-4  # another batch size may round the last bit otherwise
    assert [p.name for p in (tmp_path / "there").iterdir() if p.name.startswith(".")] == []


def test_the_command_makes_the_map_of_a_saved_model(delta, place, network, tmp_path, capsys):
    from arsetlib import cli

    network.save(tmp_path / "model")
    expected = maps.predict(network, place[3], START, tmp_path / "here", area="dense", progress=False)
    for source in (place[3], delta / "two_areas.toml"):
        out = tmp_path / source.stem
        command = ["predict", tmp_path / "model", source, "--start", START, "--area", "dense", "--out", out, "--json"]
        cli.app([str(part) for part in [*command, "--cache", tmp_path / "cache"]], standalone_mode=False)
        (info,) = json.loads(capsys.readouterr().out)
        assert info["pixels"] == expected.info["pixels"]
        (made,) = maps.predictions(out)
        assert np.abs(made.read("probability") - expected.read("probability")).max() < 2e-4


def test_a_killed_job_goes_on_where_it_stopped(delta, place, model, made, tmp_path):
    text = textwrap.dedent(
        f"""
        import sys, time
        sys.path.insert(0, {os.path.dirname(__file__)!r})
        import test_predict as t
        from arsetlib import catalogue, maps
        from arsetlib.maps import sources
        sources.CHUNK_SIDE = 5
        slow, real = t.Linear.predict, sources.SceneChunks.read
        sources.SceneChunks.read = lambda *a: time.sleep(0.2) or real(*a)
        study = t.Study.load({str(delta / "two_areas.toml")!r})
        scenes = catalogue.find_scenes(study, progress=False)
        model = t.Linear(study, t.samples.Scaler.load({str(tmp_path / "scaler.json")!r}))
        print("go", flush=True)
        made = maps.predict(model, scenes, {START}, {str(tmp_path / "maps")!r}, area="dense", progress=False)
        print(made.info["resumed"], len(made.info["chunks"]))
        """
    )
    model.scaler.save(tmp_path / "scaler.json")

    def run():
        return subprocess.Popen([sys.executable, "-W", "ignore", "-c", text], stdout=subprocess.PIPE, text=True)

    process = run()
    while not len(list(tmp_path.glob("maps/.*.partial/_parts/*.json"))) > 2 and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not list(tmp_path.glob("maps/*.tif"))
    with pytest.raises(maps.MapError, match="no prediction"):
        maps.predictions(tmp_path / "maps")
    again = run()
    output, _ = again.communicate(timeout=120)
    resumed, chunks = map(int, output.split()[-2:])
    assert 2 < resumed < chunks
    (whole,) = maps.predictions(tmp_path / "maps")
    assert np.array_equal(whole.read("probability").filled(), made.read("probability").filled())
    assert not [f for f in (tmp_path / "maps").iterdir() if f.name.startswith(".") and f.is_dir()]


def test_a_damaged_piece_of_an_unfinished_map_is_made_anew(place, model, made, tmp_path, monkeypatch):
    options = {"area": "dense", "progress": False}

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(prediction, "_write", stop)
        with pytest.raises(KeyboardInterrupt):
            maps.predict(model, place[3], START, tmp_path, **options)
    piece = next(tmp_path.glob(".*.partial/*.npz"))
    piece.write_bytes(piece.read_bytes()[:-30] + bytes(30))
    again = maps.predict(model, place[3], START, tmp_path, **options)
    assert np.array_equal(again.read("probability").filled(), made.read("probability").filled())
    assert not list(tmp_path.glob(".*"))


def test_tasks_that_run_twice_after_a_failure_do_not_lose_it(place, model, tmp_path, monkeypatch):
    """Each job is called twice in turn, as by Spark after it lost a worker."""
    monkeypatch.setattr(
        prediction.engine, "run_watched",
        lambda job, n, *a, **k: [list(job(i)) for i in (*range(n), *reversed(range(n)))],
    )  # fmt: skip
    scenes, name = broken(place, tmp_path)
    with pytest.raises(maps.MapError, match=f"Could not read red of scene {name}"):
        maps.predict(model, scenes, START, tmp_path / "maps", area="dense", progress=False)
    assert not list((tmp_path / "maps").glob("[!.]*"))


def test_a_finished_map_is_not_made_again_and_another_model_s_replaces_it(place, model, made):
    before = made.path().stat().st_mtime_ns
    again = maps.predict(model, place[3], START, made.folder, area="dense", progress=False)
    assert again.path().stat().st_mtime_ns == before
    assert again.info == made.info


def test_another_model_s_map_replaces_an_older_one(place, model, tmp_path):
    one = maps.predict(model, place[3], START, tmp_path, area="dense", progress=False)
    old = one.read("probability").filled()
    other = Linear(model.study, model.scaler, tilt=0.3)
    two = maps.predict(other, place[3], START, tmp_path, area="dense", progress=False)
    assert not np.array_equal(old, two.read("probability").filled())
    assert two.info["identity"] != one.info["identity"]


def test_a_map_of_a_table_in_memory_is_made_anew_when_its_values_change(place, model, tmp_path):
    table = pixels.read(place[3]).combine_chunks()
    one = maps.predict(model, table, START, tmp_path, area="dense", progress=False)
    bands = table.column_names.index("bands")
    darker = [(np.frombuffer(v.as_py(), "<u2") // 2).clip(1).astype("<u2").tobytes() for v in table["bands"]]
    other = table.set_column(bands, table.schema.field(bands), [pa.array(darker, table.schema.field(bands).type)])
    assert (other.num_rows, other.nbytes) == (table.num_rows, table.nbytes)
    two = maps.predict(model, other, START, tmp_path, area="dense", progress=False)
    assert two.info["identity"] != one.info["identity"]


def test_what_a_kill_left_while_the_model_was_sent_is_in_nobodys_way(place, model, made, tmp_path):
    run = tmp_path / f".dense_2021_{START}.partial"
    (run / ".model-x1y2.partial").mkdir(parents=True)
    (run / ".model-x1y2.partial" / "model.keras").write_bytes(b"half")
    (run / "_identity").write_text(made.info["identity"])
    again = maps.predict(model, place[3], START, tmp_path, area="dense", progress=False)
    assert np.array_equal(again.read().filled(), made.read().filled())


def test_a_map_that_is_not_smoothed_leaves_nothing_of_one_that_was(place, model, tmp_path):
    options = {"area": "dense", "progress": False}
    maps.predict(model, place[3], START, tmp_path, smooth="majority", **options)
    maps.predict(model, place[3], START, tmp_path, **options)
    assert not list(tmp_path.glob("*unsmoothed*"))


def broken(place, tmp_path):
    study, scenes, _, _ = place
    source = sources.of_scenes(scenes, study, "dense", 2021, [START], None)
    bad = source.scenes[3]
    (tmp_path / "cut.tif").write_bytes(b"II*\0 what an interrupted copy left")
    items = [
        s if s.id != bad.id else sources.replace(s, hrefs={**s.hrefs, "red": str(tmp_path / "cut.tif")}) for s in scenes
    ]
    return catalogue.Scenes(tuple(items)), bad.id


def test_a_failed_read_is_an_error_that_names_the_scene_and_leaves_no_map(place, model, made, tmp_path):
    scenes, name = broken(place, tmp_path)
    with pytest.raises(maps.MapError, match=f"Could not read red of scene {name}"):
        maps.predict(model, scenes, START, tmp_path / "maps", area="dense", progress=False)
    assert not list((tmp_path / "maps").glob("*.tif"))
    mended = maps.predict(model, place[1], START, tmp_path / "maps", area="dense", progress=False)
    assert np.array_equal(mended.read().filled(), made.read().filled())


def test_a_bad_scene_is_left_out_of_the_whole_map_as_far_as_the_study_allows(place, model, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "CHUNK_SIDE", 32)
    scenes, name = broken(place, tmp_path)
    study = place[0].replace(scenes=sources.replace(place[0].scenes, max_bad_share=0.5))
    options = {"area": "dense", "study": study, "progress": False}
    surveyed = sources.survey
    with monkeypatch.context() as patch:  # the survey misses it, so it fails while the map is made
        patch.setattr(sources, "survey", lambda *given: sources.replace(surveyed(*given), bad={}))
        got = maps.predict(model, scenes, START, tmp_path / "some", **options)
    assert list(got.info["bad_scenes"]) == [name]
    without = catalogue.Scenes(tuple(s for s in scenes if s.id != name))
    expected = maps.predict(model, without, START, tmp_path / "without", **options)
    assert np.array_equal(got.read().filled(), expected.read().filled())
    few = place[0].replace(scenes=sources.replace(place[0].scenes, max_bad_share=0.001))
    with pytest.raises(maps.MapError, match="max_bad_share"):
        maps.predict(model, scenes, START, tmp_path / "few", **options | {"study": few})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"start": 800}, "from 1 to 731, received 800"),
        ({"start": [5, 5]}, "different days"),
        ({"area": "nowhere"}, "no area 'nowhere'.*box_1"),
        ({"year": 1999}, "no 1999 of area 'dense'"),
        ({"smooth": "blur"}, "smooth = 'none', 'majority' or 'bayes'"),
        ({"smooth": maps.Majority(4)}, "odd size"),
    ],
)
def test_wrong_options_are_refused(place, model, tmp_path, change, says):
    with pytest.raises(maps.MapError, match=says):
        maps.predict(model, place[3], **{"start": START, "out": tmp_path, "area": "dense", "progress": False, **change})


def test_an_area_and_a_date_without_scenes_are_refused(place, model, tmp_path):
    _study, scenes, _, _ = place
    away = Area("away", {"en": "Away"}, (-500_000, 1_000_000, -499_000, 1_001_000), "EPSG:5070")
    for area, start in ((away, START), ("dense", 366)):
        with pytest.raises(maps.MapError, match="No scene of the list shows area"):
            maps.predict(model, scenes, start, tmp_path, area=area, progress=False)
    with pytest.raises(maps.MapError, match="has an image in the window"):
        maps.predict(model, place[3], 366, tmp_path, area="dense", progress=False)
    assert not list(tmp_path.glob("*.tif"))


def test_bands_that_differ_from_the_model_s_are_refused(place, model, tmp_path):
    other = Linear(model.study.replace(bands=model.study.bands[::-1]), model.scaler)
    with pytest.raises(maps.MapError, match="Expected the model's bands.*another order"):
        maps.predict(other, place[3], START, tmp_path, area="dense", progress=False)


def test_a_start_that_the_model_was_not_trained_on_is_said(place, model, tmp_path, capsys):
    study = model.study.replace(season=model.study.season.__class__(last_day=100))
    made = maps.predict(Linear(study, model.scaler), place[3], START, tmp_path, area="dense")
    assert "between days 1 and 100" in capsys.readouterr().out
    assert not made.info["inside_season"]


def test_a_worker_that_predicts_loads_no_plotting():
    code = "import sys; from arsetlib.maps import predict; print({'plotly', 'matplotlib', 'keras'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_folder_that_cannot_be_written_is_refused_before_the_work(place, model, tmp_path):
    (tmp_path / "file").write_text("")
    asked = len(model.asked)
    with pytest.raises(maps.MapError, match="cannot be written"):
        maps.predict(model, place[3], START, tmp_path / "file", area="dense", progress=False)
    assert len(model.asked) == asked


def test_a_model_that_answers_nan_is_refused(place, model, tmp_path):
    class Sick(Linear):
        def predict(self, x):
            return super().predict(x) * np.nan

    with pytest.raises(maps.MapError, match="with NaN"):
        maps.predict(Sick(model.study, model.scaler), place[3], START, tmp_path, area="dense", progress=False)


# -- smoothing ------------------------------------------------------------------------------------------------------


def noise(classes=4, shape=(23, 31), seed=1):
    p = np.random.default_rng(seed).dirichlet(np.ones(classes), shape).transpose(2, 0, 1).astype(np.float32)
    p[:, 3:6, 4:9] = np.nan
    return p


@pytest.mark.parametrize("size", [3, 5])
def test_majority_is_that_of_a_loop(size):
    p = noise()
    classes = np.where(np.isnan(p[0]), 255, np.nan_to_num(p).argmax(0)).astype(np.uint8)
    got, half = maps.Majority(size)(classes), size // 2
    for i, j in np.ndindex(*classes.shape):
        near = classes[max(i - half, 0) : i + half + 1, max(j - half, 0) : j + half + 1]
        votes = np.bincount(near[near != 255], minlength=4)
        if classes[i, j] == 255:
            assert got[i, j] == 255
        elif votes[classes[i, j]] == votes.max():
            assert got[i, j] == classes[i, j]
        else:
            assert got[i, j] == votes.argmax()


@pytest.mark.parametrize("smoother", [maps.Bayes(), maps.Bayes(3, 2.0, 1.0)])
def test_bayes_is_that_of_a_loop(smoother):
    p = noise()
    got, half = smoother.log_odds(p), smoother.size // 2
    odds = np.log(p.clip(1e-4, 1 - 1e-4) / (1 - p.clip(1e-4, 1 - 1e-4)))
    for k, i, j in np.ndindex(*p.shape):
        near = odds[k, max(i - half, 0) : i + half + 1, max(j - half, 0) : j + half + 1].ravel()
        near = np.sort(near[~np.isnan(near)])[::-1]
        if np.isnan(odds[k, i, j]):
            assert np.isnan(got[k, i, j])
            continue
        near = near[: max(int(np.ceil(len(near) * smoother.fraction)), 1)]
        mean, spread = near.mean(), near.var(ddof=1) if len(near) > 1 else 0.0
        expected = (spread * odds[k, i, j] + smoother.smoothness * mean) / (spread + smoother.smoothness)
        assert got[k, i, j] == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("smoother", [maps.Majority(5), maps.Bayes(5)])
def test_smoothing_does_not_depend_on_blocks(place, model, tmp_path, monkeypatch, smoother):
    whole = maps.predict(model, place[3], START, tmp_path / "a", area="dense", smooth=smoother, progress=False)
    monkeypatch.setattr(neighbourhood, "BLOCK", 7)
    parts = maps.predict(model, place[3], START, tmp_path / "b", area="dense", smooth=smoother, progress=False)
    assert np.array_equal(whole.read().filled(), parts.read().filled())
    plain = whole.read("unsmoothed")
    if isinstance(smoother, maps.Majority):
        assert np.array_equal(whole.read().filled(), smoother(plain.filled()))
    else:
        odds = whole.read("probability").filled(np.nan)
        odds[:, plain.mask] = np.nan
        assert np.array_equal(whole.read().filled(), smoother(odds))
    assert (whole.read() != plain).any()


def test_compare_counts_as_evaluation_does_and_measures_smoothing(place, model, tmp_path):
    study, _, labels, table = place
    smooth = maps.predict(model, table, START, tmp_path, area="dense", smooth="majority", progress=False)
    rows = samples.Rows.of(table)
    rows = rows.pick(rows.column("area") == "dense")
    loader = samples.Loader(rows, study, model.scaler, start=START, extras=("seen",))
    x, y = (np.concatenate(p) for p in zip(*[((b[0]["series"]), b[1]) for b in loader.arrays()], strict=True))
    seen = np.concatenate([b[0]["seen"] for b in loader.arrays()])
    answers = model.predict({"series": x, "seen": seen}).argmax(1)[seen.any(1)]
    counts = np.zeros((7, 7), int)
    np.add.at(counts, (y.argmax(1)[seen.any(1)], answers), 1)
    before = maps.compare(smooth, labels, smoothed=False)
    assert np.array_equal(before.counts, counts)
    after = maps.compare(smooth, labels)
    assert after.total == before.total
    assert not np.array_equal(after.counts, before.counts)
    of_the_year = maps.compare(smooth.path(), labels.path, study.legend)
    bare = next(i for i, c in enumerate(study.legend.classes) if not c.codes)
    assert of_the_year.support[bare] == 0


def test_labels_on_a_map_are_the_truth_of_compare(made, place, tmp_path):
    _, _, labels, _ = place
    found, predicted = maps.labels_on(made, labels), made.read()
    assert found.shape == predicted.shape
    known = (found >= 0) & ~predicted.mask
    counts = np.zeros((7, 7), int)
    np.add.at(counts, (found[known], predicted.data[known]), 1)
    assert np.array_equal(counts, maps.compare(made, labels).counts)
    assert (found[predicted.mask] == -1).all()


def test_comparing_with_labels_of_elsewhere_is_refused(made, tmp_path):
    with rasterio.open(
        tmp_path / "l.tif", "w", driver="GTiff", width=2, height=2, count=1, dtype="uint8", crs="EPSG:5070",
        transform=rasterio.transform.from_origin(0, 0, 30, 30),
    ) as out:  # fmt: skip
        out.write(np.ones((2, 2), np.uint8), 1)
    with pytest.raises(maps.MapError, match="no pixel in common"):
        maps.compare(made, tmp_path / "l.tif")
    with pytest.raises(maps.MapError, match="Give the legend"):
        maps.compare(made.path(), tmp_path / "l.tif")
