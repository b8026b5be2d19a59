"""Everything that a reader sees comes from the catalogue: shown in a made-up language, no other word is left."""

import inspect
import json
import re
from datetime import date
from html.parser import HTMLParser
from pathlib import Path

import few
import matplotlib.figure
import matplotlib.text
import numpy as np
import pandas as pd
import plotly.graph_objects as go
import predicted
import pseudo
import pytest
import test_labelling
import typer
from babel.dates import get_month_names
from test_maps import areas, codes, labels, one_pixel, scene, season_of_maps, study  # noqa: F401
from typer.testing import CliRunner

from arsetlib import catalogue, cdl, cli, doctor, evaluation, figures, maps, pixels, samples, sentinel2, wording
from arsetlib.figures import notebook
from arsetlib.figures.style import plotly_config
from arsetlib.study import Season
from arsetlib.translation import language

ROOT = Path(__file__).resolve().parents[1]
# Names that no language changes.
NAMES = ("NDVI", "SCL", "EPSG", "IoU", "macro", "ECE", "MB", "GB", "JSON", "NaN", *sentinel2.BANDS)


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    folder = tmp_path_factory.mktemp("locale")
    pseudo.write(folder)
    return folder


@pytest.fixture(autouse=True)
def made_up(words, monkeypatch):
    pseudo.speak(words, monkeypatch)


def test_a_word_that_passed_no_catalogue_is_found():
    assert pseudo.unmarked(f"{cdl.name(1)}, corn") == {"corn"}
    assert pseudo.marked("{n} rows of <b>%{x}</b>") == "{n}⟦ rows of ⟧<b>%{x}</b>"


# -- figures ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def drawn(study, areas, labels, scene, season_of_maps):  # noqa: F811
    """Figure → how it is drawn, with names of the caller in ⟦…⟧."""
    day, scl, bands = one_pixel()
    predictions = predicted.made()
    history = {"loss": [1.0, 0.5], "val_loss": [1.1, 0.9], "macro_f1": [0.4, 0.6], "val_macro_f1": [0.4, 0.5]}
    given = {"title": "⟦title⟧", "x": "⟦x⟧", "y": "⟦y⟧"}
    photo = np.zeros((8, 8, 3), np.uint8)
    inside = np.zeros((8, 8), bool)
    inside[2:5, 2:5] = True
    scenes = catalogue.Scenes((scene,))
    rows = samples.Rows.of(few.make_table(60))
    return {
        "areas": lambda: figures.areas(
            evaluation.block_areas(predictions.pick(predictions.last == predictions.last[0]))
        ),
        "bars": lambda: figures.bars(pd.DataFrame({"train": [1.0], "test": [2.0]}, ["⟦a⟧"]), "⟦t⟧", "⟦u⟧", study=study),
        "block_map": lambda: figures.block_map(evaluation.by_block(predictions), study=predictions),
        "by_date": lambda: figures.by_date(evaluation.by_date(predictions, repeats=5), study=predictions),
        "calendar": lambda: figures.calendar(
            day, np.arange(5) / 10, Season(window_days=20, step_days=5), 100, [1, 2, -1, 3], study=study
        ),
        "chip": lambda: figures.chip(scene, areas[0], study=study),
        "class_bars": lambda: figures.class_bars(maps.class_areas(labels, areas, study), study=study),
        "confusion": lambda: figures.confusion(predictions.confusion(), study=predictions),
        "empty_figure": lambda: figures.empty_figure(**given, study=study),
        "flow": lambda: figures.flow({"a": (0, 0, "⟦a⟧", "⟦b⟧"), "b": (1, 0, "⟦b⟧", "")}, [("a", "b")]),
        "footprints": lambda: figures.footprints(scenes, areas, study=study, labels=labels),
        "labels_map": lambda: figures.labels_map(labels, areas[0], study=study, most=2),
        "learning_curves": lambda: figures.learning_curves(history, study=study),
        "lines": lambda: figures.lines({"⟦a⟧": ([1, 2], [1, 2])}, "⟦t⟧", "⟦x⟧", "⟦y⟧", study=study),
        "outlined": lambda: figures.outlined({"⟦a⟧": (photo, inside)}, study=study),
        "panels": lambda: figures.panels({"⟦a⟧": photo}, metres=0.1, study=study),
        "prediction_map": lambda: figures.prediction_map(season_of_maps, labels=labels, title="⟦t⟧"),
        "reliability": lambda: figures.reliability(evaluation.reliability(predictions), study=predictions),
        "scatter": lambda: figures.scatter({"⟦a⟧": ([1], [2])}, "⟦t⟧", "⟦x⟧", "⟦y⟧", study=study),
        "score_bars": lambda: figures.score_bars({"⟦a⟧": predictions.confusion()}, study=predictions),
        "series": lambda: figures.series(day, scl, bands, study=study),
        "split_map": lambda: figures.split_map({"train": rows, "test": rows}, study=study),
        "spreads": lambda: figures.spreads({"⟦a⟧": np.eye(3)}, ["⟦a⟧", "⟦b⟧", "⟦c⟧"], study=study),
        "timeline": lambda: figures.timeline(scenes, study=study),
        "verdicts": lambda: figures.verdicts(day, scl, bands, [104, 109, 114], [0, 3, 3], study=study),
    }


NO_WORDS = {"paint_instances", "clear_view"}  # they give pixels, a scene
ELSEWHERE = {
    "knob",
    "show",
    "report",
    "labelling_page",
    "wipe",
    "season_gif",
}  # tested below; a GIF has the words of `prediction_map`


DRAWN = {n for n in figures.__all__ if inspect.isfunction(getattr(figures, n))} - NO_WORDS - ELSEWHERE


def test_all_figures_are_drawn_here(drawn):
    assert set(drawn) == DRAWN


def texts_of(fig) -> list[str]:
    """What a reader of a figure sees, hovers and chooses."""
    if isinstance(fig, matplotlib.figure.Figure):
        return [text.get_text() for text in fig.findobj(matplotlib.text.Text)]
    return list(_texts(json.loads(fig.to_json()), ""))


SHOWN = {"text", "name", "hovertemplate", "label", "prefix", "texttemplate", "title", "ticktext", "labels", "y", "x"}


def _texts(value, key):
    if isinstance(value, dict):
        for name, one in value.items():
            if name not in ("template", "font", "marker", "line", "images"):
                yield from _texts(one, name)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one, key)
    elif (
        isinstance(value, str)
        and key in SHOWN
        and not re.fullmatch(r"\d{4}-\d\d-\d\d.*|paper|container|x\d*|y\d*", value)
    ):
        yield value


@pytest.mark.parametrize("name", sorted(DRAWN))
def test_a_figure_has_no_word_that_passed_no_catalogue(name, drawn, study, areas, scene):  # noqa: F811
    allowed = [
        *NAMES,
        *(area.title() for area in areas),
        *study.legend.names(),
        *predicted.LEGEND.names(),
        scene.id,
        scene.tile,
    ]
    allowed += [scene.id, scene.tile, "left", "right", "closest", "made", "center"]
    found = {text: left for text in texts_of(drawn[name]()) if (left := pseudo.unmarked(text, allowed))}
    assert not found


def test_menus_and_heads_of_tables_pass_the_catalogue(monkeypatch):
    table = evaluation.score_table(predicted.made(), "last", repeats=5).reset_index()
    assert pseudo.unmarked(re.sub(r"<script>.*?</script>", "", notebook._table(table, ""), flags=re.S), NAMES) == set()
    shown = []
    monkeypatch.setenv("ARSET_BOOK", "1")
    monkeypatch.setattr("IPython.display.display", lambda thing: shown.append(thing.data))
    figures.knob(lambda run: figures.empty_figure("⟦t⟧", "⟦x⟧", "⟦y⟧"), "⟦alt⟧", run=["⟦a⟧"])
    assert "<label>⟦run⟧ <select>" in shown[0]
    figures.wipe(np.zeros((4, 4, 3), np.uint8), {"⟦a⟧": np.ones((4, 4, 3), np.uint8)}, "⟦alt⟧")
    assert pseudo.unmarked(re.sub(r"on\w+=\"[^\"]*\"|style=\"[^\"]*\"", "", shown[1])) == set()


def test_a_figure_takes_the_months_of_the_language_and_a_decimal_point(monkeypatch):
    config = plotly_config()["locales"][language()]
    assert config["format"]["months"][0] == "tammikuu"
    assert config["format"]["decimal"] == "."
    assert config["format"]["days"][0] == "sunnuntai"  # Plotly's week starts on Sunday
    assert config["dictionary"]["Zoom"] == "⟦Zoom⟧"
    given = []
    monkeypatch.setattr(go.Figure, "show", lambda fig, **options: given.append(options["config"]["locale"]))
    figures.show(go.Figure(), "")
    assert given == [language()]
    monkeypatch.setenv("ARSET_LANGUAGE", "en")
    assert plotly_config() == {}


# -- texts and tables ------------------------------------------------------------------------------------------------


def test_texts_of_results_pass_the_catalogue(study, tmp_path):  # noqa: F811
    predictions = predicted.made()
    facts = evaluation.Facts.of(predictions, repeats=5)
    table = tmp_path / "pixels.parquet"
    pixels.write(few.make_table(60).to_batches(), table, pixels.Meta.of(few.make_table(60)))
    allowed = [*NAMES, *predicted.LEGEND.names(), *few.STUDY.legend.names(), "few", "west", "std"]
    rows = samples.Rows.of(few.make_table(60))
    loader = samples.Loader(rows, few.STUDY, samples.Scaler.fit(rows, few.STUDY), batch=8)
    compared = evaluation.compare({"⟦one⟧": predictions}, repeats=5)
    said = {
        "facts": str(facts),
        "confusion": repr(predictions.confusion()),
        "predictions": repr(predictions),
        "areas": str(facts.areas),
        "compared": wording.shown(compared).to_string(),
        "summary": pixels.format_summary(pixels.summary(table)),
        "samples": samples.format_description(samples.describe(loader), few.STUDY.legend.names()),
        "scenes": str(catalogue.Scenes((), dropped={"too_cloudy": 3, "older_processing": 1})),
        "check": str(pixels.check(table)).replace(str(table), ""),
    }
    allowed += ["float", *pixels.RULES, "expected"]  # what a broken row holds is written in English
    found = {name: left for name, text in said.items() if (left := pseudo.unmarked(text, allowed))}
    assert not found


def test_heads_of_the_library_s_tables_are_in_the_catalogue():
    """Each name of a column has a text; a column of another name is the caller's own."""
    for name in wording.COLUMNS:
        assert pseudo.unmarked(str(wording.column(name))) == set(), name
    assert wording.column("crops_macro_f1_low") == "⟦crops macro-F1⟧⟦, low⟧"
    assert wording.column("my_own") == "my own"
    assert wording.day(date(2021, 7, 1)) == f"⟦1 {get_month_names('abbreviated', locale=pseudo.CODE)[7]} 2021⟧"
    shown = wording.shown(pd.DataFrame({"f1": [1.0], "of": ["train"]}, pd.Index(["majority baseline"], name="model")))
    assert list(shown) == ["⟦F1⟧", "of"]
    assert list(wording.shown(pd.DataFrame({"a": [1]}, ["mean_iou"])).index) == ["⟦mean IoU⟧"]
    assert (shown.index[0], shown.index.name, shown.iloc[0, 1]) == ("⟦majority baseline⟧", "⟦model⟧", "⟦train⟧")


class Visible(HTMLParser):
    """Text of a page, without its scripts and styles."""

    def __init__(self):
        super().__init__()
        self.texts, self.hidden = [], 0

    def handle_starttag(self, tag, attrs):
        self.hidden += tag in ("script", "style")
        self.texts += [value for name, value in attrs if name in ("aria-label", "title", "alt")]

    def handle_endtag(self, tag):
        self.hidden -= tag in ("script", "style")

    def handle_data(self, data):
        if not self.hidden:
            self.texts.append(data)


def test_the_report_has_no_word_that_passed_no_catalogue(tmp_path):
    history = {"loss": [1.0, 0.6], "val_loss": [1.1, 0.8], "accuracy": [0.4, 0.6], "val_accuracy": [0.3, 0.5]}
    notes = {"seed": 1, "learning_rate": 0.1}
    runs = {f"⟦{i}⟧": evaluation.ModelPredictions(predicted.made(skill=i), f"⟦{i}⟧", history, notes) for i in (1, 2)}
    page = figures.report(runs, tmp_path, repeats=5).html.read_text(encoding="utf-8")
    assert '<html lang="fi">' in page
    reader = Visible()
    reader.feed(page)
    allowed = [*NAMES, *predicted.LEGEND.names(), "seed"]
    assert {text: left for text in reader.texts if (left := pseudo.unmarked(text, allowed))} == {}
    figures_of = re.findall(r'</div>\s*<script type="application/json">(.*?)</script>', page, re.S)
    assert len(figures_of) > 8
    for text in {text for one in figures_of for text in _texts(json.loads(one), "")}:
        assert pseudo.unmarked(text, [*allowed, "left", "right", "closest"]) == set()


def test_a_sample_s_plan_and_areas_have_no_word_that_passed_no_catalogue():
    table = pd.DataFrame({"pixels": [900], "hectares": [81.0], "samples": [50], "half_width": [2.0]}, ["⟦corn⟧"])
    plan = maps.SamplePlan(table.rename_axis("stratum"), "proportional", 50)
    assert pseudo.unmarked(str(plan)) == set()
    counts = np.zeros((2, 2, 2), int)
    counts[0, :, 0], counts[1, :, 1] = (20, 5), (3, 22)
    estimates = evaluation.survey_areas(counts, [900, 100], [900, 100], ["a", "b"], names=["⟦a⟧", "⟦b⟧"])
    powered = estimates.table[["area", "area_error", "area_low", "area_high"]]
    found = maps.SampleAreas(estimates, powered, 50, tuple(range(20)), (), ("⟦note⟧",), True)
    assert pseudo.unmarked(str(found), ["ha"]) == set()


def test_the_labelling_page_has_no_word_that_passed_no_catalogue(tmp_path):
    sample = test_labelling.sample_at([(4, 4), (0, 0)])
    views = maps.views_of_table(test_labelling.dense(), sample.table, year=test_labelling.YEAR, side=3)
    page = figures.labelling_page(sample, views, tmp_path / "page.html").read_text(encoding="utf-8")
    reader = Visible()
    reader.feed(page)
    said = json.loads(re.search(r'id="data">(.*?)</script>', page, re.S)[1])["words"].values()
    said = [re.sub(r"\{\w+\}", "", text) for text in said]
    allowed = [*NAMES, *predicted.LEGEND.names(), "CSV"]
    assert {text: left for text in [*reader.texts, *said] if (left := pseudo.unmarked(text, allowed))} == {}


# -- commands --------------------------------------------------------------------------------------------------------


def commands():
    waiting = [((), typer.main.get_command(cli.app))]
    while waiting:
        names, command = waiting.pop()
        inner = {key: one for key, one in getattr(command, "commands", {}).items() if not one.hidden}
        yield pytest.param(names, [*names, *inner, *(p.name for p in command.params)], id=" ".join(names) or "arset")
        waiting += [((*names, key), one) for key, one in inner.items()]


@pytest.mark.parametrize(("names", "typed"), list(commands()))
def test_the_help_of_a_command_has_no_word_that_passed_no_catalogue(names, typed):
    text = CliRunner().invoke(cli.app, [*names, "--help"], env={"COLUMNS": "200"}).stdout
    text = text.partition("⟦Example:⟧")[0]
    text = re.sub(r"--[\w-]+|\[⟦default⟧:[^\]]*\]", " ", text)  # options and their defaults are as they are typed
    assert "⟦Show this message and exit.⟧" in text
    assert pseudo.unmarked(text, [*typed, "arset", "root"]) == set()


@pytest.mark.parametrize(
    "typed",
    [
        "train", "train a b", "train a b c --out x", "train a b --out", "train a b --jsn", "train a b --json=3",
        "train a b --out x --epochs many", "train a b --out x --rate many", "report a --f1 3", "report a --f1 -1",
        "evaluat", "fields nope", "--nope",
    ],
)  # fmt: skip
def test_an_error_of_usage_has_no_word_that_passed_no_catalogue(typed):
    done = CliRunner().invoke(cli.app, typed.split())
    assert done.exit_code == 2
    assert done.stderr.startswith("⟦Usage⟧: ") or "⟦Error⟧: " in done.stderr
    # Options are as they are typed, names of arguments as Python has them.
    names = ["root", "folders", "table", "study", "evaluate", *typed.split()]
    assert pseudo.unmarked(re.sub(r"--[\w-]+", " ", done.stderr), names) == set()


def test_doctor_has_no_word_that_passed_no_catalogue():
    report = doctor.check_env(("labs",))
    packages = [f.name for f in report.findings if not f.name[0].isupper() or f.name in ("Python", "Java")]
    found = [finding.found for finding in report.findings if finding.state == "ok"]
    allowed = ["GiB", "arsetlib", report.platform, *packages, *found, *(f.wanted for f in report.findings)]
    own = {"memory", "free disk", "processor cores"}
    assert own <= {finding.name for finding in report.findings}
    allowed = [word for word in allowed if word not in own]
    assert pseudo.unmarked(str(report), allowed) == set()
    assert pseudo.unmarked(report._repr_html_(), allowed) == set()
    lacking = doctor.Finding("rasterio", "missing", doctor._("none"), ">=1", "labs")
    text = str(doctor.Report("local", (lacking,), ("pip install rasterio",)))
    assert pseudo.unmarked(text, ["rasterio", "arsetlib", "local", "pip install"]) == set()


def test_the_words_of_a_command_s_results_pass_the_catalogue(tmp_path):
    few_table = tmp_path / "pixels.parquet"
    pixels.write(few.make_table(60).to_batches(), few_table, pixels.Meta.of(few.make_table(60)))
    runner = CliRunner()
    text = runner.invoke(cli.app, ["describe", str(few_table), "--cost"]).stdout
    assert "⟦ a month (⟧" in text
    text = runner.invoke(cli.app, ["cache"]).stdout
    assert pseudo.unmarked(text.partition("⟦ MB in ⟧")[0]) == set()
    assert "⟦ MB in ⟧" in text
    done = runner.invoke(cli.app, ["homework", "list"])
    assert done.exit_code == 0
