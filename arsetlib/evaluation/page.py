"""The report: one page that asks nothing of the network, and the same as JSON.

Lab: part3_train_and_test.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from pathlib import Path

import numpy as np
import pandas as pd

from arsetlib.evaluation import charts
from arsetlib.evaluation.charts import Line
from arsetlib.evaluation.comparison import BASELINE, compare
from arsetlib.evaluation.confusion import EvaluationError
from arsetlib.evaluation.facts import Facts, plain, to_json
from arsetlib.evaluation.predictions import Predictions, as_date

LONGEST = 400  # letters of a note that are shown; the JSON has them all
TABLE_ROWS = 40
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


@dataclass(frozen=True)
class Report:
    """Where a report was written: ``html``, ``json``; ``facts`` is what the JSON holds."""

    html: Path
    json: Path
    facts: dict


def report(
    predictions: Predictions | Mapping[str, Predictions], out: str | Path, *, title: str = "Crop map report",
    history: Mapping | None = None, notes: Mapping | None = None, training=None, mapped=None, unit: str | None = None,
    f1: float = 0.8, repeats: int = 500, seed: int = 0,
) -> Report:  # fmt: skip
    """Write one self-contained HTML page and a JSON file beside it.

    Args:
        predictions: Of one model, or name → predictions of several on the same samples.
        out: A folder (then ``report.html`` in it) or the page's name, ending in ``.html``.
        title: Of the page.
        history: Lists by epoch as Keras gives them (``loss``, ``val_loss``, …); by name where there are several models.
        notes: What else is known of the model (card, seed, versions); by name where there are several.
        training: (K,) samples of each class in training, for the majority baseline. None takes the commonest class of
            the truth itself.
        mapped: Area of each class on the whole map, (K,) or by class key; None takes the predictions themselves.
        unit: Of ``mapped``, ``"ha"`` where it is given.
        f1: What a crop must reach to count as known, for the table of earliest dates.
        repeats, seed: Draws of blocks for the intervals.

    Returns:
        Where both files are. Every text is escaped; neither file is left half written.

    Raises:
        EvaluationError: No predictions, or models that did not predict the same samples.

    Lab: part3_train_and_test.
    """
    several = isinstance(predictions, Mapping)
    models = dict(predictions) if several else {"model": predictions}
    if not models:
        raise EvaluationError("Expected predictions of at least one model, received none.")
    options = {"training": training, "mapped": mapped, "unit": unit, "f1": f1, "repeats": repeats, "seed": seed}
    told = {}
    for name, one in models.items():
        mine = [(given or {}).get(name) if several else given for given in (history, notes)]
        told[name] = Facts.of(one, history=mine[0], notes=mine[1], **options)
    first = next(iter(models.values()))
    many = compare(models, training=training, repeats=max(repeats, 2), seed=seed) if len(models) > 1 else None
    head = _head(title, models, first, told)
    facts = {**head, "comparison": many, "models": {name: f.as_dict() for name, f in told.items()}}
    html, beside = _paths(Path(out))
    _write(beside, to_json(facts))
    _write(html, _page(head, told, many, first, f1))
    return Report(html, beside, plain(facts))


# -- the page ---------------------------------------------------------------------------------------------------------


def _head(title: str, models, first: Predictions, told: dict[str, Facts]) -> dict:
    facts = next(iter(told.values()))
    return {
        "title": title,
        "simulated": any(p.simulated for p in models.values()),
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


def _page(head: dict, told: dict[str, Facts], many, first: Predictions, f1: float) -> str:
    style = resources.files("arsetlib.evaluation").joinpath("report.css").read_text(encoding="utf-8")
    banner = '<div class="banner">SIMULATED</div>' if head["simulated"] else ""
    years = ", ".join(map(str, head["years"]))
    span = f"{head['dates'][0]} to {head['dates'][-1]}" if len(head["dates"]) > 1 else head["dates"][0]
    lead = (
        f"{head['predictions']:,} predictions of {head['pixels']:,} pixels in {head['blocks']:,} blocks, year {years}, "
        f"made on {len(head['dates'])} date{'s' * (len(head['dates']) > 1)}: {span}."
    )
    if head["simulated"]:
        lead += " Nothing here was measured: data, labels or both are simulated."
    best = many.index[0] if many is not None else next(iter(told))
    body = [_cards(told[best], best if many is not None else None)]
    if many is not None:
        body.append(_comparison(told, many))
    for name in [best, *(n for n in told if n != best)]:
        sections = "".join(_sections(told[name], first, f1))
        opened = " open" if name == best else ""
        body.append(
            f'<details class="model"{opened}><summary>{escape(str(name))}</summary>{sections}</details>'
            if many is not None
            else sections
        )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(head['title'])}</title><style>{style}</style></head><body>"
        f"<header><div>{banner}<h1>{escape(head['title'])}</h1><p>{escape(lead)}</p></div></header>"
        f"<main>{''.join(body)}{_reading(head)}</main>"
        "<footer><p>Written by arsetlib. Every figure is in the JSON file beside this page.</p></footer></body></html>"
    )


def _cards(facts: Facts, name: str | None) -> str:
    s = facts.summary
    base, crops = facts.majority, facts.crops_majority
    cards = [
        ("Accuracy", s.accuracy, s.get("accuracy_low"), s.get("accuracy_high"), base.accuracy),
        ("Macro-F1", s.macro_f1, s.get("macro_f1_low"), s.get("macro_f1_high"), base.macro_f1),
        (
            f"Accuracy, {_crops(facts)}",
            s.crops_accuracy,
            s.get("crops_accuracy_low"),
            s.get("crops_accuracy_high"),
            crops.accuracy,
        ),
        (
            f"Macro-F1, {_crops(facts)}",
            s.crops_macro_f1,
            s.get("crops_macro_f1_low"),
            s.get("crops_macro_f1_high"),
            crops.macro_f1,
        ),
        ("Truth in the top two", s.top_2, None, None, None),
    ]
    made = []
    for label, value, low, high, floor in cards:
        small = f"{low:.1%} to {high:.1%}" if low is not None and low == low else "" if low is None else "no interval"
        mark, told = "", ""
        if floor is not None and floor == floor:
            mark, told = f'<u style="left:{floor:.1%}"></u>', f"majority baseline {floor:.1%}"
        small = "<br>".join(filter(None, (small, told)))
        width = 0 if value != value else value
        made.append(
            f'<div class="card"><span>{escape(label)}</span><b>{_share(value)}</b>'
            f'<div class="meter" aria-hidden="true"><i style="width:{width:.1%}"></i>{mark}</div>'
            f"<small>{small or '&nbsp;'}</small></div>"
        )
    whose = f'<p class="quiet" style="margin:.9em 4px 0">Best of the models compared: {escape(str(name))}.</p>'
    return f'<div class="cards">{"".join(made)}</div>' + (whose if name is not None else "")


def _comparison(told: dict[str, Facts], many: pd.DataFrame) -> str:
    rows = []
    for name, r in many.iterrows():
        behind = _between(r, "behind") if r.behind > 0 else ""
        cells = [_between(r, "accuracy"), _between(r, "macro_f1"), _between(r, "crops_macro_f1"), behind]
        cells += [_share(r.top_2), _number(r.calibration_error)]
        faint = ' class="faint"' if name == BASELINE else ""
        rows.append(f"<tr{faint}><th>{escape(str(name))}</th>{''.join(f'<td>{c}</td>' for c in cells)}</tr>")
    heads = ("model", "accuracy", "macro-F1", "crops macro-F1", "behind", "top two", "ECE")
    table = _table(heads, rows)
    order = [n for n in many.index if n in told][:7]
    dates = sorted({d for f in told.values() for d in f.dates.index})
    drawn = [
        Line(str(n), told[n].dates.crops_macro_f1.reindex(dates).tolist(), i, dash=False) for i, n in enumerate(order)
    ]
    chart = (
        charts.lines(dates, drawn[::-1], "Macro-F1 of the crops by date, a line for each model")
        if len(dates) > 1
        else ""
    )
    return _section(
        "Models side by side",
        "The same samples for all. In brackets: 95 % intervals from drawing whole blocks. "
        "<b>Behind</b> is the distance to the best in macro-F1, from the same draws for both: where its interval "
        "holds 0, these data cannot tell the two apart. <b>ECE</b>: calibration error.",
        table + ("<h3>Macro-F1 of the crops, by date</h3>" + chart if chart else ""),
    )


def _sections(facts: Facts, first: Predictions, f1: float):
    colours = first.legend.colours
    yield _dates(facts)
    yield _matrix(facts, colours)
    yield _classes(facts, colours)
    if len(facts.dates) > 1:
        yield _earliest(facts, f1)
    yield _probabilities(facts)
    yield _areas(facts, colours)
    yield _blocks(facts)
    if facts.history:
        yield _history(facts.history)
    if facts.notes:
        yield _notes(facts.notes)


def _dates(facts: Facts) -> str:
    t = facts.dates
    crops = f"{_crops(facts)}, accuracy"
    drawn = [
        Line("best constant answer that day, accuracy", t.majority_accuracy.tolist(), 6, dash=True),
        Line("macro-F1", t.macro_f1.tolist(), 2),
        _line(t, "crops_accuracy", crops, 1),
        _line(t, "accuracy", "all classes, accuracy", 0),
    ]
    best = t.accuracy.idxmax()
    label = (
        f"Accuracy by date of prediction, from {t.accuracy.iloc[0]:.0%} on {t.index[0]} to {t.accuracy.iloc[-1]:.0%} "
        f"on {t.index[-1]}, highest {t.accuracy.max():.0%} on {best}."
    )
    rows = []
    for day, r in t.iterrows():
        cells = [f"{r.samples:,.0f}", _between(r, "accuracy"), _between(r, "macro_f1"), _between(r, "crops_accuracy")]
        cells += [_between(r, "crops_macro_f1"), _share(r.majority_accuracy), _share(r.crops_share)]
        rows.append(f"<tr><th>{day}</th>{''.join(f'<td>{c}</td>' for c in cells)}</tr>")
    heads = (
        "date",
        "samples",
        "accuracy",
        "macro-F1",
        "crops accuracy",
        "crops macro-F1",
        "majority",
        "crops in truth",
    )
    note = ""
    rise = t.accuracy - t.crops_accuracy
    if len(t) > 1 and (t.crops_share.iloc[-1] < t.crops_share.max() / 2) and rise.iloc[-1] > 0:
        note = (
            f'<p class="note">On the last date {t.crops_share.iloc[-1]:.0%} of the truth is one of {_crops(facts)}, '
            f"down from {t.crops_share.max():.0%}. Accuracy there is mostly that of easy classes: read the crops' "
            "line.</p>"
        )
    chart = charts.lines(list(t.index), drawn, label) if len(t) > 1 else ""
    table = _table(heads, rows)
    table = f"<details><summary>The figures</summary>{table}</details>" if chart else table
    return _section(
        "By date of prediction",
        "A date is the last day of a window: what could be said on that day. Bands and brackets are 95 % intervals "
        "from drawing whole blocks, since the pixels of a field are not independent.",
        note + chart + table,
    )


def _matrix(facts: Facts, colours: Sequence[str]) -> str:
    shares, counts = facts.confusion.normalised("truth").to_numpy(), facts.confusion.counts
    names = facts.confusion.names
    rows = []
    for i, name in enumerate(names):
        cells = []
        for j in range(len(names)):
            share = shares[i, j]
            if share != share:
                cells.append('<td style="--s:0">–</td>')
                continue
            kind = " ".join(filter(None, ("right" if i == j else "", "deep" if share > 0.62 else "")))
            cells.append(
                f'<td class="{kind}" style="--s:{share:.3f}">{share:.0%}<small>{counts[i, j]:,.6g}</small></td>'
            )
        rows.append(f"<tr><th>{_swatch(colours[i])}{escape(name)}</th>{''.join(cells)}</tr>")
    heads = "".join(f'<th scope="col">{escape(n)}</th>' for n in names)
    table = (
        f'<div class="scroll"><table class="matrix"><caption class="sub">rows: truth · columns: prediction · '
        f"normalised by truth: each row sums to 100 %, so the diagonal is recall · small: counts</caption>"
        f"<thead><tr><th>truth ↓ predicted →</th>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )
    return _section("What was taken for what", "Green: right. Orange: wrong, darker where it is more.", table)


def _classes(facts: Facts, colours: Sequence[str]) -> str:
    rows = []
    for (name, r), colour in zip(facts.classes.iterrows(), colours, strict=True):
        bars = "".join(f"<td>{_share(r[c])}{_bar(r[c])}</td>" for c in ("precision", "recall", "f1", "iou"))
        rows.append(f"<tr><th>{_swatch(colour)}{escape(str(name))}</th><td>{r.truth:,.0f}</td>{bars}</tr>")
    heads = ("class", "truth", "precision", "recall", "F1", "IoU")
    c, m = facts.confusion, facts.majority
    text = (
        f"Balanced accuracy {_share(c.balanced_accuracy)}, macro-F1 {_share(c.macro_f1)}, weighted F1 "
        f"{_share(c.weighted_f1)}, kappa {_number(c.kappa)}; always naming {escape(_majority(facts))} scores "
        f"{_share(m.accuracy)} accuracy and {_share(m.macro_f1)} macro-F1. A dash: the class is absent, and in no mean."
    )
    return _section("Class by class", text, _table(heads, rows, "bars"))


def _earliest(facts: Facts, f1: float) -> str:
    rows = []
    for name, r in facts.earliest.iterrows():
        cells = [
            _day(r.date),
            _day(r.until),
            _day(r.stays),
            _share(r.f1),
            f"{_share(r.best_f1)} on {_day(r.best_date)}",
        ]
        rows.append(f"<tr><th>{escape(str(name))}</th>{''.join(f'<td>{c}</td>' for c in cells)}</tr>")
    heads = ("crop", "reached", "until", "and stays from", "F1 then", "best")
    known = [n for n in facts.earliest.index if n in facts.f1][:7]
    drawn = [Line(str(n), facts.f1[n].tolist(), i) for i, n in enumerate(known)]
    goal = Line(f"F1 = {f1:g}", [f1] * len(facts.f1), 6, dash=True)
    chart = charts.lines(list(facts.f1.index), [goal, *drawn], "F1 of each crop by date of prediction")
    least = facts.earliest.attrs.get("least", 0)
    text = (
        f"The first date on which a crop's F1 reaches {f1:g}, until when it lasts, and from when it holds on all later "
        f"dates. A date counts for a crop with {least} samples of it or more."
    )
    return _section("When each crop is known", text, chart + _table(heads, rows))


def _probabilities(facts: Facts) -> str:
    c = facts.calibration
    word = "surer" if c["confidence"] > c["accuracy"] else "less sure"
    label = f"Reliability diagram: {c['confidence']:.0%} sure on average, {c['accuracy']:.0%} right."
    pairs = (
        ("Mean confidence", _share(c["confidence"])),
        ("Accuracy", _share(c["accuracy"])),
        ("Calibration error (ECE)", _number(c["calibration_error"])),
        ("Brier score, 0 best, 2 worst", _number(c["brier"])),
        ("Log loss, nats", _number(c["log_loss"])),
    )
    body = f'<div class="two"><div>{charts.reliability(facts.reliability, label)}</div><div>{_pairs(pairs)}</div></div>'
    text = f"The model is {word} than it is right. Below the diagonal it promises too much. Bars: how many predictions."
    return _section("How far its probabilities can be believed", text, body)


def _areas(facts: Facts, colours: Sequence[str]) -> str:
    a = facts.areas
    rows = []
    for (name, r), colour in zip(a.table.iterrows(), colours, strict=True):
        estimate = f'{r.area:,.0f} <span class="quiet">({r.area_low:,.0f}–{r.area_high:,.0f})</span>'
        cells = [f"{r.mapped:,.6g}", estimate, _between(r, "users"), _between(r, "producers")]
        rows.append(f"<tr><th>{_swatch(colour)}{escape(str(name))}</th>{''.join(f'<td>{c}</td>' for c in cells)}</tr>")
    heads = ("class", f"mapped, {a.unit}", f"estimate, {a.unit}", "user's accuracy", "producer's accuracy")
    label = "Mapped and estimated share of each class with 95 % intervals. The figures are in the table below."
    text = (
        f"On {facts.areas_date}, the date with the best macro-F1 of the crops. Ring: share by counting the map's "
        "pixels, which is biased because errors do not cancel. Dot: estimate from the confusion of map and truth; bar "
        f"and brackets: its 95 % interval. {escape(a.method)}."
    )
    return _section("How much of each", text, charts.intervals(a.table, colours, label) + _table(heads, rows))


def _blocks(facts: Facts) -> str:
    t = facts.blocks
    label = f"Map of {len(t)} blocks coloured by accuracy, from {t.accuracy.min():.0%} to {t.accuracy.max():.0%}."
    spread = t.accuracy.quantile([0.1, 0.5, 0.9])
    pairs = (
        ("Blocks", f"{len(t):,}"),
        ("Median accuracy", _share(spread[0.5])),
        ("Worst tenth below", _share(spread[0.1])),
        ("Best tenth above", _share(spread[0.9])),
        ("Beaten by the majority baseline", f"{int((t.accuracy < t.majority_accuracy).sum()):,}"),
    )
    worst = t.sort_values("accuracy").head(6)
    rows = [
        f"<tr><th>{b}</th><td>{r.samples:,.0f}</td><td>{_share(r.accuracy)}</td><td>{_share(r.majority_accuracy)}</td></tr>"
        for b, r in worst.iterrows()
    ]
    table = "<h3>The worst</h3>" + _table(("block", "samples", "accuracy", "majority"), rows)
    scale = '<div class="scale"><span>0 %</span><i></i><span>100 % right</span></div>'
    body = f'<div class="two"><div>{charts.block_map(t, label)}{scale}</div><div>{_pairs(pairs)}{table}</div></div>'
    return _section("Where it works", "A dot is a spatial block, all dates together; north is up.", body)


def _history(history: dict) -> str:
    parts = []
    for key, word in (("loss", "Loss"), ("accuracy", "Accuracy")):
        drawn = []
        for side, name in ((0, "training"), (1, "validation")):
            found = [k for k in (f"{'val_' * side}{stem}{key}" for stem in ("", "categorical_")) if k in history]
            drawn += [Line(name, [float(v) for v in history[k]], side) for k in found[:1]]
        longest = max((len(line.values) for line in drawn), default=0)
        if longest > 1 and all(len(line.values) == longest for line in drawn):
            epochs = list(range(1, longest + 1))
            label = f"{word} by epoch of training and validation"
            chart = charts.lines(epochs, drawn, label, percent=key == "accuracy", width=400, height=250)
            parts.append(f"<div><h3>{word} by epoch</h3>{chart}</div>")
    text = "Where validation leaves training, the model learns its samples by heart."
    return _section("How it was trained", text, f'<div class="two">{"".join(parts)}</div>') if parts else ""


def _notes(notes: dict) -> str:
    def shown(value) -> str:
        value = plain(value)
        if isinstance(value, dict):
            value = ", ".join(f"{k} {v}" for k, v in value.items())
        elif isinstance(value, list):
            value = ", ".join(map(str, value))
        elif isinstance(value, float):
            value = f"{value:.5g}"
        text = str(value)
        return escape(text if len(text) <= LONGEST else text[:LONGEST] + " …")

    pairs = [(escape(str(k).replace("_", " ")), shown(v)) for k, v in notes.items()]
    return _section("What the model is", "", _pairs(pairs))


def _reading(head: dict) -> str:
    pairs = (
        ("Precision", "of what is mapped as a class, the share that is it (user's accuracy)"),
        ("Recall", "of what is a class, the share that was found (producer's accuracy)"),
        ("F1", "harmonic mean of both; macro-F1 is its mean over classes, rare ones weighing as much as common ones"),
        ("Crops only", f"scores of the samples whose truth is {escape(', '.join(head['crops']))}"),
        ("Majority", f"always naming {escape(head['majority'])}: what a score has to beat"),
        (
            "Intervals",
            "95 %, percentiles of a bootstrap that draws whole blocks; too narrow with fewer than ten blocks",
        ),
    )
    return _section("How to read this page", "", _pairs(pairs))


# -- small parts ------------------------------------------------------------------------------------------------------


def _section(title: str, text: str, body: str) -> str:
    return f"<section><h2>{title}</h2>{f'<p class=sub>{text}</p>' if text else ''}{body}</section>"


def _table(heads: Sequence[str], rows: Sequence[str], kind: str = "") -> str:
    head = "".join(f'<th scope="col">{escape(h)}</th>' for h in heads)
    left_out = f'<p class="quiet">{len(rows) - TABLE_ROWS:,} more rows are in the JSON.</p>' * (len(rows) > TABLE_ROWS)
    body = "".join(rows[:TABLE_ROWS])
    made = f'<table class="{kind}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    return f'<div class="scroll">{made}</div>{left_out}'


def _pairs(pairs) -> str:
    return f"<dl>{''.join(f'<dt>{k}</dt><dd>{v}</dd>' for k, v in pairs)}</dl>"


def _swatch(colour: str) -> str:
    return f'<i class="swatch" style="background:{escape(colour, quote=True)}"></i>'


def _bar(value: float) -> str:
    return f'<span class="v"><i style="width:{0 if value != value else value:.1%}"></i></span>'


def _line(table: pd.DataFrame, column: str, name: str, colour: int) -> Line:
    low, high = table.get(f"{column}_low"), table.get(f"{column}_high")
    band = (None, None) if low is None else (low.tolist(), high.tolist())
    return Line(name, table[column].tolist(), colour, low=band[0], high=band[1])


def _share(value) -> str:
    return "–" if pd.isna(value) else f"{value:.1%}"


def _number(value) -> str:
    return "–" if pd.isna(value) else f"{value:.3f}"


def _day(value) -> str:
    return "–" if pd.isna(value) else f"{value:%-d %b %Y}" if os.name != "nt" else f"{value:%d %b %Y}"


def _between(row, name: str) -> str:
    low, high = row.get(f"{name}_low", np.nan), row.get(f"{name}_high", np.nan)
    if pd.isna(low):
        return _share(row[name])
    between = f"{low:.0%}–{high:.0%}" if low >= 0 else f"{low:.0%} to {high:.0%}"
    return f'{_share(row[name])} <span class="quiet">({between})</span>'


def _crops(facts: Facts) -> str:
    many = len(facts.crops)
    word = NUMBERS[many] if many < len(NUMBERS) else str(many)
    return "one crop" if many == 1 else f"{word} crops"


def _majority(facts: Facts) -> str:
    counts = facts.majority.counts.sum(0)
    return facts.confusion.names[int(counts.argmax())]


def _paths(out: Path) -> tuple[Path, Path]:
    html = out if out.suffix == ".html" else out / "report.html"
    html.parent.mkdir(parents=True, exist_ok=True)
    return html, html.with_suffix(".json")


def _write(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
