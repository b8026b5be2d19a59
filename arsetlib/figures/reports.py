"""The report of one model or several: one HTML page that makes no requests, and the same figures as JSON.

The page holds Plotly's script once, compressed, so it opens without internet and stays small. Every figure has a text
for readers who cannot see it, and the table of its data beneath it. Colours follow the reader's light or dark theme.

Lab: part3_train_and_test.
"""

from __future__ import annotations

import base64
import datetime
import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import ArrayLike
from plotly.offline import get_plotlyjs

from arsetlib import folders
from arsetlib.evaluation import EvaluationError, Facts, ModelPredictions, Predictions, as_date, compare
from arsetlib.evaluation.comparison import BASELINE
from arsetlib.evaluation.facts import plain, to_json
from arsetlib.figures.plots import lines
from arsetlib.figures.scores import areas, block_map, by_date, confusion, learning_curves, reliability, score_bars
from arsetlib.figures.style import LINES, plotly_config
from arsetlib.translation import _, language, ngettext
from arsetlib.wording import column, day, shown, span

LONGEST = 400  # characters of a note that are shown; the JSON has them all
TABLE_ROWS = 40
MODELS = len(LINES)  # lines that a figure can tell apart


@dataclass(frozen=True)
class ReportFiles:
    """Where a report was written: ``html``, ``json``; ``facts`` is what the JSON holds."""

    html: Path
    json: Path
    facts: dict

    def __repr__(self) -> str:
        return f"ReportFiles({self.html}, {self.json})"


@dataclass(frozen=True)
class ReportFigure:
    """A figure, its text for a reader who cannot see it, and the data behind it."""

    figure: go.Figure
    alt: str
    data: pd.DataFrame

    @property
    def json(self) -> str:
        """The figure for Plotly's script."""
        return self.figure.to_json().replace("<", "\\u003c")  # a name cannot end the script


@dataclass(frozen=True)
class Section:
    """A part of the page. Plain text: the template escapes it."""

    title: str
    text: str = ""
    note: str = ""
    drawings: tuple[ReportFigure, ...] = ()
    table: pd.DataFrame | None = None
    pairs: dict[str, str] = field(default_factory=dict)


def report(
    models: Predictions | ModelPredictions | Mapping[str, Predictions | ModelPredictions], out: str | Path, *,
    title: str | None = None, training: ArrayLike | None = None, mapped: Mapping | ArrayLike | None = None,
    unit: str | None = None, f1: float = 0.8, repeats: int = 500, seed: int = 0,
) -> ReportFiles:  # fmt: skip
    """Write one self-contained HTML page and a JSON file beside it.

    Args:
        models: Predictions of one model, or name → predictions of several models for the same samples.
            ``ModelPredictions`` bring their history and notes.
        out: A folder (then ``report.html`` in it) or the page's name, ending in ``.html``; also in an object store
            (``s3://…``).
        title: Of the page.
        training: (K,) samples of each class in training, for the majority baseline. None takes those that come with
            the first model, or else the commonest class of the truth itself.
        mapped: Area of each class on the whole map, (K,) or by class key; None takes the predictions themselves.
        unit: Of ``mapped``, ``"ha"`` where it is given.
        f1: The F1 from which a crop counts as known, for the table of earliest dates.
        repeats, seed: Draws of blocks for the intervals.

    Returns:
        Where both files are. Each file is written whole or not at all.

    Raises:
        EvaluationError: No predictions, or models that did not predict the same samples.

    Lab: part3_train_and_test.
    """
    runs = dict(models) if isinstance(models, Mapping) else {getattr(models, "name", "model"): models}
    if not runs:
        raise EvaluationError("Expected predictions of at least one model, received none.")
    runs = {n: ModelPredictions(r, n) if isinstance(r, Predictions) else r for n, r in runs.items()}
    first = next(iter(runs.values()))
    training = first.training if training is None else training
    options = {"training": training, "mapped": mapped, "unit": unit, "f1": f1, "repeats": repeats, "seed": seed}
    facts = {n: Facts.of(r.predictions, history=r.history, notes=r.notes, **options) for n, r in runs.items()}
    several = len(runs) > 1
    table = None
    if several:
        by_name = {name: run.predictions for name, run in runs.items()}
        table = compare(by_name, training=training, repeats=max(repeats, 2), seed=seed)
    simulated = any(r.predictions.simulated for r in runs.values())
    title = title or (_("Models side by side") if several else _("{model}: how good it is").format(model=first.name))
    head = _head(title, first.predictions, simulated, next(iter(facts.values())))
    values = {**head, "comparison": table, "models": {name: f.as_dict() for name, f in facts.items()}}
    out = folders.place(out)
    html = out if out.suffix == ".html" else out / "report.html"
    page = _page(head, facts, table, first.predictions, f1)
    folders.put(html.with_suffix(".json"), to_json(values))
    folders.put(html, page)
    return ReportFiles(html, html.with_suffix(".json"), plain(values))


def _head(title: str, first: Predictions, simulated: bool, facts: Facts) -> dict:
    return {
        "title": title,
        "simulated": simulated,
        "predictions": len(first),
        "pixels": len(np.unique(first.pixel)),
        "blocks": len(facts.blocks),
        "areas": sorted(set(first.area.tolist())),
        "years": np.unique(first.year).tolist(),
        "dates": [as_date(d).isoformat() for d in np.unique(first.last)],
        "classes": [{"key": k, "name": n} for k, n in zip(first.legend.keys, first.legend.names(), strict=True)],
        "crops": facts.crops,
        "majority": facts.majority_names,
    }


def _page(head: dict, facts: dict[str, Facts], table: pd.DataFrame | None, first: Predictions, f1: float) -> str:
    import jinja2

    files = resources.files("arsetlib.figures")
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string((files / "report.html.jinja").read_text(encoding="utf-8"))
    best = next(iter(facts)) if table is None else table.index[0]
    order = [best, *(name for name in facts if name != best)]
    colours = dict(zip(first.legend.names(), first.legend.colours, strict=True))
    return template.render(
        _=_,
        lang=language(),
        config=json.dumps(plotly_config()).replace("<", "\\u003c"),
        counts=_counts(head),
        head=head,
        style=(files / "report.css").read_text(encoding="utf-8"),
        script=(files / "report.js").read_text(encoding="utf-8"),
        plotly=_packed_plotly(),
        cards=_cards(facts[best]),
        best=best if table is not None else None,
        comparison=None if table is None else _comparison(facts, table, first),
        models={name: list(_sections(facts[name], first, f1)) for name in order},
        colours=colours,
        most=TABLE_ROWS,
        explained=_explained(head),
    )


@cache
def _packed_plotly() -> str:
    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), 9, mtime=0)).decode()


# -- sections ---------------------------------------------------------------------------------------------------------


def _cards(facts: Facts) -> list[dict]:
    """The scores on top of the page, each with its interval and the majority baseline."""
    s, crops = facts.summary, _crops_in_words(facts)
    scores = [
        (_("Accuracy"), "accuracy", facts.majority.accuracy),
        (_("Macro-F1"), "macro_f1", facts.majority.macro_f1),
        (_("Accuracy, {crops}").format(crops=crops), "crops_accuracy", facts.crops_majority.accuracy),
        (_("Macro-F1, {crops}").format(crops=crops), "crops_macro_f1", facts.crops_majority.macro_f1),
        (_("Truth in the top two"), "top_2", np.nan),
    ]
    cards = []
    for label, name, baseline in scores:
        low, high = s.get(f"{name}_low"), s.get(f"{name}_high")
        interval = "" if low is None else _("no interval") if pd.isna(low) else span(f"{low:.1%}", f"{high:.1%}")
        card = {"label": label, "value": _share(s[name]), "width": np.nan_to_num(s[name]), "interval": interval}
        cards.append(card | {"baseline": None if pd.isna(baseline) else float(baseline)})
    return cards


def _comparison(facts: dict[str, Facts], table: pd.DataFrame, first: Predictions) -> Section:
    data = _intervals(table, ["accuracy", "macro_f1", "crops_macro_f1"])
    data["behind"] = [_with_interval(row, "behind") if row.behind > 0 else "" for __, row in table.iterrows()]
    data |= {"top_2": table.top_2.map(_share), _("ECE"): table.calibration_error.map(_number)}
    dates = sorted({date for f in facts.values() for date in f.dates.index})
    order = [name for name in table.index if name != BASELINE][:MODELS]
    scores = pd.DataFrame({name: facts[name].dates.crops_macro_f1.reindex(dates) for name in order})
    drawing = _drawn(
        lines(scores, "", _("date of prediction"), _("macro-F1 of the crops"), study=first),
        _("Macro-F1 of the crops by date, a line for each model"),
        shown(scores.map(_share)),
    )
    return Section(
        _("Models side by side"),
        _(
            "All models predicted the same samples. In brackets: 95 % intervals from drawing whole blocks. 'Behind' is "
            "how much lower the macro-F1 is than that of the best model, with the same draws for both: if the interval "
            "contains 0, these data cannot tell the two models apart. ECE: calibration error."
        ),
        drawings=(drawing,) if len(dates) > 1 else (),
        table=shown(pd.DataFrame(data, index=table.index).rename_axis("model")),
    )


def _sections(facts: Facts, first: Predictions, f1: float) -> Iterator[Section]:
    """All sections on one model, in the order of the page."""
    yield _dates(facts, first)
    yield _matrix(facts, first)
    yield _classes(facts, first)
    if len(facts.dates) > 1:
        yield _earliest(facts, first, f1)
    yield _probabilities(facts, first)
    yield _areas(facts, first)
    yield _blocks(facts, first)
    if (history := _history(facts.history)) is not None:
        yield history
    if facts.notes:
        yield Section(_("What the model is"), pairs={column(k): _note(v) for k, v in facts.notes.items()})


def _dates(facts: Facts, first: Predictions) -> Section:
    t, crops = facts.dates, _crops_in_words(facts)
    note = ""
    last = t.iloc[-1]
    if len(t) > 1 and last.crops_share < t.crops_share.max() / 2 and last.accuracy > last.crops_accuracy:
        note = _(
            "On the last date {share} of the truth is one of {crops}, down from {most}. Accuracy there is mostly that "
            "of easy classes: look at the line of the crops."
        ).format(share=f"{last.crops_share:.0%}", crops=crops, most=f"{t.crops_share.max():.0%}")
    columns = {"samples": t.samples.map("{:,.0f}".format)}
    columns |= _intervals(t, ["accuracy", "macro_f1", "crops_accuracy", "crops_macro_f1"])
    columns |= {"majority": t.majority_accuracy.map(_share), "crops_share": t.crops_share.map(_share)}
    data = shown(pd.DataFrame(columns, index=t.index).rename_axis("date"))
    alt = _(
        "Accuracy by date of prediction, from {first} on {first_day} to {last} on {last_day}, highest {best} on "
        "{best_day}."
    ).format(
        first=f"{t.accuracy.iloc[0]:.0%}",
        first_day=_day(t.index[0]),
        last=f"{last.accuracy:.0%}",
        last_day=_day(t.index[-1]),
        best=f"{t.accuracy.max():.0%}",
        best_day=_day(t.accuracy.idxmax()),
    )
    drawings = (_drawn(by_date(t, study=first), alt, data),) if len(t) > 1 else ()
    return Section(
        _("By date of prediction"),
        _(
            "The date is the last day of a window: the prediction can be made on that day. Bands and brackets are 95 % "
            "intervals from drawing whole blocks, since the pixels of a field are not independent."
        ),
        note,
        drawings,
        None if drawings else data,
    )


def _matrix(facts: Facts, first: Predictions) -> Section:
    matrix = facts.confusion
    shares = matrix.normalised("truth").map(lambda v: "–" if pd.isna(v) else f"{v:.0%}")
    counts = matrix.matrix().map("{:,.6g}".format)
    right = matrix.accuracy
    return Section(
        _("Which classes are confused"),
        _("Rows: truth, columns: prediction. Normalised by truth: each row sums to 100 %, so the diagonal is recall."),
        drawings=(
            _drawn(
                confusion(matrix, "truth", study=first),
                _("Confusion matrix of {n} classes, {share} of the samples on the diagonal.").format(
                    n=len(matrix), share=_share(right)
                ),
                (shares + " (" + counts.to_numpy() + ")").rename_axis(index=_("truth ↓ predicted →"), columns=None),
            ),
        ),
    )


def _classes(facts: Facts, first: Predictions) -> Section:
    c, m = facts.confusion, facts.majority
    t = facts.classes
    data = {"truth": t.truth.map("{:,.0f}".format)}
    data |= {name: t[name].map(_share) for name in ("precision", "recall", "f1", "iou")}
    fig = score_bars(shown(t[["precision", "recall", "f1"]]), study=first).update_xaxes(title=column("score"))
    constant = c.names[int(m.counts.sum(0).argmax())]
    return Section(
        _("Class by class"),
        _(
            "Balanced accuracy {balanced}, macro-F1 {macro_f1}, weighted F1 {weighted_f1}, kappa {kappa}; always "
            "predicting {constant} scores {accuracy} accuracy and {constant_f1} macro-F1. A dash: the class is absent "
            "and in no mean."
        ).format(
            balanced=_share(c.balanced_accuracy),
            macro_f1=_share(c.macro_f1),
            weighted_f1=_share(c.weighted_f1),
            kappa=_number(c.kappa),
            constant=constant,
            accuracy=_share(m.accuracy),
            constant_f1=_share(m.macro_f1),
        ),
        drawings=(_drawn(fig, _("Precision, recall and F1 of each class, as bars"), shown(pd.DataFrame(data))),),
    )


def _earliest(facts: Facts, first: Predictions, f1: float) -> Section:
    t = facts.earliest
    scores = facts.f1[[name for name in t.index if name in facts.f1][:MODELS]]
    fig = lines(scores, "", _("last day of the window"), column("f1"), study=first)
    fig.add_hline(f1, line={"dash": "dot", "color": "#6d6d6d"}, annotation_text=f"{column('f1')} = {f1:g}")
    on = _("{share} on {day}")
    best = [on.format(share=_share(row.best_f1), day=_day(row.best_date)) for __, row in t.iterrows()]
    data = {_("reached"): t.date.map(_day), "until": t.until.map(_day), "stays": t.stays.map(_day)}
    data |= {_("F1 when reached"): t.f1.map(_share), "best": best}
    fig.update_yaxes(range=[0, 1.02])
    return Section(
        _("From when on each crop is known"),
        _(
            "The first date on which the F1 of a crop reaches {f1}, until when it lasts, and from when it stays on all "
            "later dates. A date counts for a crop if it has at least {least} samples of it."
        ).format(f1=f"{f1:g}", least=t.attrs.get("least", 0)),
        drawings=(_drawn(fig, _("F1 of each crop by date of prediction"), shown(scores.map(_share))),),
        table=shown(pd.DataFrame(data, index=t.index)).rename_axis(_("crop")),
    )


def _probabilities(facts: Facts, first: Predictions) -> Section:
    c, t = facts.calibration, facts.reliability
    over = c["confidence"] > c["accuracy"]
    data = {_("from"): t.low.map(_share), _("to"): t.high.map(_share)}
    data |= {_("predictions"): t.samples.map("{:,.0f}".format)}
    data |= {"confidence": t.confidence.map(_share), "right": t.accuracy.map(_share)}
    alt = _("Calibration curve: mean probability {confidence}, right {accuracy}.")
    alt = alt.format(confidence=f"{c['confidence']:.0%}", accuracy=f"{c['accuracy']:.0%}")
    data = shown(pd.DataFrame(data).set_index(_("from")))
    return Section(
        _("How reliable its probabilities are"),
        (_("On average the model is overconfident.") if over else _("On average the model is underconfident."))
        + " "
        + _("Below the diagonal its probabilities are too high."),
        drawings=(_drawn(reliability(t, study=first), alt, data),),
        pairs={
            _("Mean probability"): _share(c["confidence"]),
            _("Accuracy"): _share(c["accuracy"]),
            _("Calibration error (ECE)"): _number(c["calibration_error"]),
            _("Brier score, 0 best, 2 worst"): _number(c["brier"]),
            _("Log loss, nats"): _number(c["log_loss"]),
        },
    )


def _areas(facts: Facts, first: Predictions) -> Section:
    a, t = facts.areas, facts.areas.table
    estimate = [f"{r.area:,.0f} ({r.area_low:,.0f}–{r.area_high:,.0f})" for __, r in t.iterrows()]
    data = {f"{column('mapped')}, {_(a.unit)}": t.mapped.map("{:,.6g}".format)}
    data |= {f"{column('estimate')}, {_(a.unit)}": estimate} | _intervals(t, ["users", "producers"])
    data = shown(pd.DataFrame(data, index=t.index))
    return Section(
        _("Area of each class"),
        _(
            "On {day}, the date with the best macro-F1 of the crops. Ring: share of the map's pixels, which is biased "
            "because errors do not cancel. Dot: estimate from the confusion of map and truth; bar and brackets: its "
            "95 % interval. {method}."
        ).format(day=_day(facts.areas_date), method=a.method),
        drawings=(
            _drawn(areas(a, study=first), _("Mapped and estimated share of each class with 95 % intervals"), data),
        ),
    )


def _blocks(facts: Facts, first: Predictions) -> Section:
    t = facts.blocks
    tenth, median, ninth = t.accuracy.quantile([0.1, 0.5, 0.9])
    worst = t.sort_values("accuracy")
    data = {"samples": worst.samples.map("{:,.0f}".format), "accuracy": worst.accuracy.map(_share)}
    data |= {"majority": worst.majority_accuracy.map(_share)}
    alt = _("Map of {n} blocks coloured by accuracy, from {least} to {most}.")
    alt = alt.format(n=len(t), least=f"{t.accuracy.min():.0%}", most=f"{t.accuracy.max():.0%}")
    return Section(
        _("Where it works"),
        _("A dot is a spatial block, all dates together; north is up. The table starts with the worst block."),
        drawings=(_drawn(block_map(t, study=first), alt, shown(pd.DataFrame(data).rename_axis("block"))),),
        pairs={
            _("Blocks"): f"{len(t):,}",
            _("Median accuracy"): _share(median),
            _("Worst tenth below"): _share(tenth),
            _("Best tenth above"): _share(ninth),
            _("Blocks below the majority baseline"): f"{int((t.accuracy < t.majority_accuracy).sum()):,}",
        },
    )


def _history(history: Mapping) -> Section | None:
    epochs = pd.DataFrame({k: pd.Series(v, dtype=float) for k, v in history.items() if np.ndim(v) == 1})
    if "loss" not in epochs or len(epochs) < 2:
        return None
    epochs.index = pd.RangeIndex(1, len(epochs) + 1, name="epoch")
    data = shown(epochs.map(_number))
    drawing = _drawn(learning_curves(history), _("Loss and score by epoch of training and validation"), data)
    text = _("Where the training loss falls further and the validation loss rises, the model overfits.")
    return Section(_("Loss by epoch"), text, drawings=(drawing,))


def _explained(head: dict) -> dict[str, str]:
    return {
        _("Precision"): _("of what is mapped as a class, the share that is this class (user's accuracy)"),
        _("Recall"): _("of what is a class, the share that was found (producer's accuracy)"),
        _("F1"): _("harmonic mean of both; macro-F1 is its mean over classes, in which each class counts the same"),
        _("Crops only"): _("scores of the samples whose truth is {crops}").format(crops=", ".join(head["crops"])),
        _("Majority"): _("always predicting {constant}: the baseline that a model has to exceed").format(
            constant=head["majority"]
        ),
        _("Intervals"): _(
            "95 %, percentiles of a bootstrap that draws whole blocks; too narrow with fewer than ten blocks"
        ),
    }


def _counts(head: dict) -> str:
    """What was predicted, in a sentence."""
    first, last = (_day(datetime.date.fromisoformat(head["dates"][i])) for i in (0, -1))
    made = ngettext("made on {n} date: {days}", "made on {n} dates: {days}", len(head["dates"]))
    return _("{predictions} predictions of {pixels} pixels in {blocks} blocks, year {years}, {made}.").format(
        predictions=f"{head['predictions']:,}",
        pixels=f"{head['pixels']:,}",
        blocks=f"{head['blocks']:,}",
        years=", ".join(map(str, head["years"])),
        made=made.format(n=len(head["dates"]), days=first if first == last else span(first, last)),
    )


# -- small parts ------------------------------------------------------------------------------------------------------


def _drawn(fig: go.Figure, alt: str, data: pd.DataFrame) -> ReportFigure:
    """A figure under the section's heading, which replaces its title."""
    return ReportFigure(fig.update_layout(title_text="", margin_t=34), alt, data)


def _note(value) -> str:
    value = plain(value)
    if isinstance(value, dict):
        value = ", ".join(f"{k} {v}" for k, v in value.items())
    elif isinstance(value, list):
        value = ", ".join(map(str, value))
    elif isinstance(value, float):
        value = f"{value:.5g}"
    text = str(value)
    return text if len(text) <= LONGEST else text[:LONGEST] + " …"


def _share(value) -> str:
    return "–" if pd.isna(value) else f"{value:.1%}"


def _number(value) -> str:
    return "–" if pd.isna(value) else f"{value:.3f}"


def _day(value) -> str:
    return "–" if pd.isna(value) else day(value)


def _with_interval(row: pd.Series, name: str) -> str:
    low, high = row.get(f"{name}_low", np.nan), row.get(f"{name}_high", np.nan)
    if pd.isna(low):
        return _share(row[name])
    between = f"{low:.0%}–{high:.0%}" if low >= 0 else span(f"{low:.0%}", f"{high:.0%}")
    return f"{_share(row[name])} ({between})"


def _intervals(table: pd.DataFrame, names: Sequence[str]) -> dict[str, list[str]]:
    """Scores with their intervals, as text."""
    return {name: [_with_interval(row, name) for __, row in table.iterrows()] for name in names}


def _crops_in_words(facts: Facts) -> str:
    return ngettext("{n} crop", "{n} crops", len(facts.crops)).format(n=len(facts.crops))
