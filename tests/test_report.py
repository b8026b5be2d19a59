"""The report asks nothing of the network, escapes what it is told, and says what the scores are beside."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import few
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from predicted import K, in_season, made
from typer.testing import CliRunner

from arsetlib import cli, figures, models, samples
from arsetlib import evaluation as ev
from arsetlib.training.run import digest

VOID = {"meta", "br", "link", "img"}
PLOTLY = re.compile(r'<script type="application/gzip".*?</script>', re.S)


class Balanced(HTMLParser):
    """Knows whether every tag that opens closes."""

    def __init__(self):
        super().__init__()
        self.open, self.wrong = [], []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    history = {"loss": [1.0, 0.6, 0.5], "val_loss": [1.1, 0.8, 0.9], "accuracy": [0.4, 0.6, 0.7]}
    notes = {"seed": 3, "bands": ["red", "nir"], "<script>alert(1)</script>": "<img src=x onerror=alert(1)>"}
    out = tmp_path_factory.mktemp("one")
    run = ev.ModelPredictions(made(), "tempcnn <b>", history, notes)
    return figures.report(run, out, title="Corn & <rice>", repeats=40)


def test_page_is_whole_small_and_asks_nothing_of_the_network(one):
    page = one.html.read_text(encoding="utf-8")
    parser = Balanced()
    parser.feed(page)
    assert parser.wrong == []
    assert parser.open == []
    assert len(page) < 3_000_000
    own = PLOTLY.sub("", page)
    assert len(PLOTLY.findall(page)) == 1
    assert not re.search(r"https?:|//[a-z]|@import|url\(|<link|<img|src=\"|fetch\(", own)
    assert "prefers-color-scheme:dark" in page
    assert 'name="viewport"' in page


def test_every_text_is_escaped(one):
    page = one.html.read_text(encoding="utf-8")
    assert "<title>Corn &amp; &lt;rice&gt;</title>" in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page


def test_every_figure_has_a_text_for_those_who_cannot_see_it_and_its_data_as_a_table(one):
    page = one.html.read_text(encoding="utf-8")
    labels = re.findall(r'<div class="plot" role="img" aria-label="([^"]+)"', page)
    assert len(labels) == page.count('<div class="plot"') == page.count("<summary>Data of the figure</summary>") >= 6
    assert all(len(text) > 15 for text in labels)
    for data in re.findall(r'<script type="application/json">(.*?)</script>', page, re.S):
        assert json.loads(data)["data"]


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_a_browser_draws_the_page_without_a_request(one, browser, scheme, width):
    requests, errors = [], []
    page = browser.new_page(color_scheme=scheme, viewport={"width": width, "height": 900})
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(one.html.resolve().as_uri())
    page.wait_for_function("[...document.querySelectorAll('.plot')].every(p => p.querySelector('.main-svg'))")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    inks = page.evaluate("[...document.querySelectorAll('.plot')].map(p => p._fullLayout.font.color)")
    page.close()
    assert not errors
    assert [url for url in requests if not url.startswith(("file:", "blob:", "data:"))] == []
    assert set(inks) == {"#22303c" if scheme == "light" else "#e4eaee"}


def test_page_says_that_data_are_simulated_only_where_they_are(one, tmp_path):
    assert "SIMULATED" in one.html.read_text(encoding="utf-8")
    real = figures.report(made(simulated=False), tmp_path / "real.html", repeats=10)
    assert "SIMULATED" not in real.html.read_text(encoding="utf-8")
    assert real.json == tmp_path / "real.json"


def test_page_states_the_normalisation_and_the_baseline(one):
    page = one.html.read_text(encoding="utf-8")
    assert "Normalised by truth: each row sums to 100 %" in page
    assert "majority baseline" in page
    assert "2 crops" in page


def test_json_holds_the_figures_of_the_page(one):
    facts = json.loads(one.json.read_text(encoding="utf-8"))
    told = facts["models"]["tempcnn <b>"]
    p = made()
    assert told["confusion"]["counts"] == p.confusion().counts.tolist()
    assert told["summary"]["accuracy"] == pytest.approx(p.confusion().accuracy, rel=1e-6)
    assert [row["date"] for row in told["dates"]] == facts["dates"]
    assert told["majority"]["accuracy"] == pytest.approx(p.confusion().support.max() / len(p), rel=1e-6)
    assert facts["simulated"] is True
    assert f"{told['summary']['accuracy']:.1%}" in one.html.read_text(encoding="utf-8")


def test_several_models_are_compared(tmp_path):
    poor = ev.ModelPredictions(made(skill=0.5), history={"loss": [2, 1]})
    done = figures.report({"good <1>": made(skill=3), "poor": poor}, tmp_path, repeats=40)
    page = done.html.read_text(encoding="utf-8")
    assert page.count('<details class="model"') == 2
    assert page.index("<summary>good &lt;1&gt;") < page.index("<summary>poor")
    assert [row["index"] for row in done.facts["comparison"]] == ["good <1>", "poor", "majority baseline"]
    with pytest.raises(ev.EvaluationError, match="same pixels"):
        figures.report({"a": made(), "b": made(300)}, tmp_path)


def test_one_date_one_block_and_absent_classes_make_a_page(tmp_path):
    p = in_season([40])
    alone = p.pick(p.block == 0)
    done = figures.report(alone, tmp_path, repeats=20)
    page = done.html.read_text(encoding="utf-8")
    shown = re.sub(r"<style>.*?</style>|<script.*?</script>", "", page, flags=re.S)
    assert "nan" not in shown.lower()
    json.loads(done.json.read_text(encoding="utf-8"), parse_constant=pytest.fail)


def test_nothing_to_report_is_an_error(tmp_path):
    with pytest.raises(ev.EvaluationError, match="received none"):
        figures.report(made().pick(slice(0, 0)), tmp_path)
    with pytest.raises(ev.EvaluationError, match="at least one model"):
        figures.report({}, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_crop_line_and_a_warning_show_where_fallow_inflates_accuracy(tmp_path):
    p = made(dates=3)
    bare = p.pick(p.last == p.last.max())
    probability = np.full((len(bare), K), 0.01, np.float32)
    probability[:, 0] = 0.97
    columns = {n: getattr(bare, n) for n in ("start", "last", "pixel", "year", "x", "y", "block", "area")}
    truth = np.where(np.arange(len(bare)) % 9, 0, bare.truth).astype(np.int8)
    late = ev.Predictions(truth=truth, probability=probability, legend=bare.legend, simulated=True, **columns)
    done = figures.report(p.pick(p.last < p.last.max()) + late, tmp_path, repeats=10)
    assert "mostly that of easy classes" in done.html.read_text(encoding="utf-8")


# -- in a shell -------------------------------------------------------------------------------------------------------


def called(*arguments):
    return CliRunner().invoke(cli.app, list(map(str, arguments)))


def test_report_of_saved_predictions(tmp_path):
    for name, skill in (("a", 3), ("b", 1)):
        run = ev.ModelPredictions(made(skill=skill), name, {"loss": [1.0, 0.5]}, {"seed": 1}, [1, 2, 3, 4])
        run.save(tmp_path / name)
        back = ev.ModelPredictions.load(tmp_path / name)
        assert (back.name, back.history, back.notes, back.training) == (name, run.history, run.notes, run.training)
    done = called("report", tmp_path / "a", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == {k: str(tmp_path / "a" / f"report.{k}") for k in ("html", "json")}
    both = called("report", tmp_path / "a", tmp_path / "b", "--out", tmp_path / "both.html", "--title", "Both")
    assert both.exit_code == 0, both.output
    assert "<title>Both</title>" in (tmp_path / "both.html").read_text(encoding="utf-8")


def test_an_unfinished_folder_is_refused(tmp_path):
    made().save(tmp_path / "predictions.parquet")
    with pytest.raises(ev.EvaluationError, match="did not finish"):
        ev.ModelPredictions.load(tmp_path)
    assert isinstance(called("report", tmp_path / "nowhere").exception, ev.EvaluationError)


def test_a_report_of_a_file_of_predictions_stands_beside_it(tmp_path):
    made().save(tmp_path / "mine.parquet")
    done = called("report", tmp_path / "mine.parquet", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["html"] == str(tmp_path / "report.html")


def test_a_metric_that_is_missing_in_an_epoch_breaks_no_page(tmp_path):
    history = {"loss": [1.0, float("nan"), 0.5], "val_loss": [1.1, 0.9, 0.8]}
    run = ev.ModelPredictions(made(), "a", history)
    run.save(tmp_path / "a")
    assert ev.ModelPredictions.load(tmp_path / "a").history["loss"] == [1.0, None, 0.5]
    done = called("report", tmp_path / "a")
    assert done.exit_code == 0, done.output
    assert "Loss by epoch" in (tmp_path / "a" / "report.html").read_text(encoding="utf-8")


def test_predictions_are_not_put_into_a_models_folder(learnt):
    folder, _ = learnt
    before = sorted((folder / "run" / "model").iterdir())
    with pytest.raises(ev.EvaluationError, match="holds a trained model"):
        ev.ModelPredictions(made()).save(folder / "run" / "model")
    assert sorted((folder / "run" / "model").iterdir()) == before


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    """A table with some excluded labels, its study file and the folder of a model, as `arset train` leaves them."""
    folder = tmp_path_factory.mktemp("learnt")
    table = few.make_table(900, codes=(1, 2, 3, 9))
    pq.write_table(table, folder / "table.parquet")
    (folder / "study.toml").write_text(few.STUDY.text, encoding="utf-8")
    sides = samples.split(table, few.STUDY)
    model = models.build("random_forest", steps=6, bands=3, classes=3, seed=0, trees=10)
    scaler = samples.Scaler.fit(sides["train"])
    loader = samples.Loader(sides["train"], few.STUDY, scaler, extras=model.needs)
    model.fit(loader.arrays())
    notes = {"samples_of_class": dict(zip(few.STUDY.legend.keys, loader.class_counts.tolist(), strict=True))}
    models.Trained(model, "random_forest", scaler, few.STUDY, notes=notes).save(folder / "run" / "model")
    return folder, sides


def test_evaluate_in_a_shell(learnt, tmp_path):
    folder, sides = learnt
    given = [folder / "run", folder / "table.parquet", "--out", tmp_path / "test"]
    done = called("evaluate", *given, "--study", folder / "study.toml", "--start", 60, "--start", 100, "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    back = ev.ModelPredictions.load(tmp_path / "test")
    test = sides["test"]
    labelled = test.column("label_code") != 9
    assert 0 < labelled.sum() < len(test)  # double crops must not be in the test set
    assert len(back.predictions) == 2 * labelled.sum()
    assert set(back.predictions.pixel) == set(test.column("pixel")[labelled])
    assert told["summary"]["accuracy"] == pytest.approx(back.predictions.confusion().accuracy, rel=1e-6)
    assert told["simulated"]
    assert len(told["dates"]) == 2
    words = called("evaluate", *given, "--study", folder / "study.toml", "--start", 60)
    assert words.output.count("SIMULATED") == 1
    assert "majority baseline" in words.output
    page = called("report", tmp_path / "test")
    assert page.exit_code == 0, page.output


def test_evaluate_says_when_the_split_is_not_that_of_training(learnt, tmp_path):
    folder, sides = learnt
    for name, rows in (("same", sides["train"]), ("other", sides["validation"])):
        trained = models.load(folder / "run" / "model")
        trained.notes["digest_of_training_rows"] = digest(rows)
        trained.save(tmp_path / name)
        given = [tmp_path / name, folder / "table.parquet", "--study", folder / "study.toml", "--start", 60]
        done = called("evaluate", *given, "--out", tmp_path / "out")
        assert done.exit_code == 0, done.output
        assert ("score is too high" in done.stderr) == (name == "other")


def test_compare_sets_models_side_by_side_and_writes_the_table(tmp_path):
    for name, skill in (("strong", 3.0), ("weak", 1.0)):
        ev.ModelPredictions(made(skill=skill), name).save(tmp_path / name / "test")
    done = called("compare", tmp_path / "weak", tmp_path / "strong" / "test", "--out", tmp_path / "both.csv")
    assert done.exit_code == 0, done.output
    rows = [line.split()[0] for line in done.output.splitlines() if line.startswith(("strong", "weak", "majority"))]
    assert rows == ["strong", "weak", "majority"]
    assert done.output.startswith("SIMULATED: 2 models")
    table = pd.read_csv(tmp_path / "both.csv", index_col="model")
    assert table.loc["weak", "behind"] == pytest.approx(table.macro_f1["strong"] - table.macro_f1["weak"])
    told = json.loads(called("compare", tmp_path / "weak", tmp_path / "strong", "--json").stdout)
    assert told["samples"] == len(made())
    page = called("compare", tmp_path / "weak", tmp_path / "strong", "--out", tmp_path / "both.html")
    assert page.exit_code == 0, page.output
    assert "Models side by side" in (tmp_path / "both.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("differ", ["rows", "labels", "nothing saved"])
def test_compare_refuses_what_cannot_be_compared(tmp_path, differ):
    one, other = made(), made(seed=1, n=500)
    if differ == "labels":
        other = replace(one, truth=one.truth[::-1].copy())
    ev.ModelPredictions(one, "one").save(tmp_path / "one")
    if differ != "nothing saved":
        ev.ModelPredictions(other, "other").save(tmp_path / "other")
    says = {"rows": "the same pixels", "labels": "the same labels", "nothing saved": "Make them: arset evaluate"}
    assert says[differ] in str(called("compare", tmp_path / "one", tmp_path / "other").exception)


def test_evaluate_says_what_it_lacks(learnt, tmp_path):
    folder, _ = learnt
    given = ["evaluate", folder / "run" / "model", folder / "table.parquet", "--out", tmp_path / "out"]
    assert "Expected --study FILE" in str(called(*given).exception)
    stranger = called(*given, "--study", folder / "study.toml", "--side", "exam")
    assert "no side 'exam'" in str(stranger.exception)
    assert called(*given, "--side", "all", "--start", 60).exit_code == 0
    assert len(ev.ModelPredictions.load(tmp_path / "out").predictions) > 500


class Said:
    """A trained model that needs no Keras: what `ModelPredictions.of` takes of one."""

    name, options, history = "said", {"units": 4}, {"loss": [1.0, 0.4]}
    notes = {"samples_of_class": {"bare": 5, "other": 1, "corn": 9}}  # noqa: RUF012

    class study:
        bands = ("red", "nir")

    def predictions(self, rows, starts, progress=False):
        return made(simulated=False)


class SomeRows:
    class meta:
        simulated = True

    def __init__(self, n):
        self.n = n

    def __len__(self):
        return self.n


def test_model_predictions_keep_what_is_known_of_the_model_and_that_the_table_is_simulated():
    done = ev.ModelPredictions.of(Said(), SomeRows(3), [1, 31])
    assert done.predictions.simulated
    assert done.training == [5, 1, 9, 0]
    assert done.notes["starts"] == [1, 31]
    with pytest.raises(ev.EvaluationError, match="side 'validation', received none"):
        ev.ModelPredictions.of(Said(), SomeRows(0), [1], side="validation")


def test_facts_print_as_a_page_of_text():
    words = str(ev.Facts.of(made(), repeats=20))
    for part in ("majority baseline", "By date of prediction", "Class by class", "Earliest date with an F1 of 0.8"):
        assert part in words


@pytest.mark.parametrize(
    "wrong", [("--f1", 80), ("--start", 0), ("--start", 800), ("--side", "all", "--held-out", "box_1")]
)
def test_evaluate_refuses_a_slip_before_it_loads_anything(wrong, tmp_path):
    done = CliRunner().invoke(cli.app, ["evaluate", "no_model", "no_table", "--out", str(tmp_path), *map(str, wrong)])
    assert done.exit_code != 0
    assert wrong[-2].lstrip("-").split("-")[0] in done.output + str(done.exception)
