"""The report's sections on one model, as HTML. Every text that comes from outside is escaped here.

Lab: part3_train_and_test.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from html import escape

import numpy as np
import pandas as pd

from arsetlib.evaluation import charts
from arsetlib.evaluation.charts import Line
from arsetlib.evaluation.facts import Facts, plain
from arsetlib.evaluation.predictions import Predictions

LONGEST = 400  # letters of a note that are shown; the JSON has them all
TABLE_ROWS = 40
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def sections(facts: Facts, first: Predictions, f1: float) -> Iterator[str]:
    """All of them, in the order of the page."""
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
    crops = f"{crops_in_words(facts)}, accuracy"
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
        cells = [
            f"{r.samples:,.0f}",
            with_interval(r, "accuracy"),
            with_interval(r, "macro_f1"),
            with_interval(r, "crops_accuracy"),
        ]
        cells += [with_interval(r, "crops_macro_f1"), as_share(r.majority_accuracy), as_share(r.crops_share)]
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
            f'<p class="note">On the last date {t.crops_share.iloc[-1]:.0%} of the truth is one of '
            f"{crops_in_words(facts)}, down from {t.crops_share.max():.0%}. "
            "Accuracy there is mostly that of easy classes: read the crops' line.</p>"
        )
    chart = charts.lines(list(t.index), drawn, label) if len(t) > 1 else ""
    table = as_table(heads, rows)
    table = f"<details><summary>The figures</summary>{table}</details>" if chart else table
    return section(
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
    return section("What was taken for what", "Green: right. Orange: wrong, darker where it is more.", table)


def _classes(facts: Facts, colours: Sequence[str]) -> str:
    rows = []
    for (name, r), colour in zip(facts.classes.iterrows(), colours, strict=True):
        bars = "".join(f"<td>{as_share(r[c])}{_bar(r[c])}</td>" for c in ("precision", "recall", "f1", "iou"))
        rows.append(f"<tr><th>{_swatch(colour)}{escape(str(name))}</th><td>{r.truth:,.0f}</td>{bars}</tr>")
    heads = ("class", "truth", "precision", "recall", "F1", "IoU")
    c, m = facts.confusion, facts.majority
    text = (
        f"Balanced accuracy {as_share(c.balanced_accuracy)}, macro-F1 {as_share(c.macro_f1)}, weighted F1 "
        f"{as_share(c.weighted_f1)}, kappa {as_number(c.kappa)}; always naming {escape(_majority(facts))} scores "
        f"{as_share(m.accuracy)} accuracy and {as_share(m.macro_f1)} macro-F1. A dash: the class is absent, "
        "and in no mean."
    )
    return section("Class by class", text, as_table(heads, rows, "bars"))


def _earliest(facts: Facts, f1: float) -> str:
    rows = []
    for name, r in facts.earliest.iterrows():
        cells = [
            _day(r.date),
            _day(r.until),
            _day(r.stays),
            as_share(r.f1),
            f"{as_share(r.best_f1)} on {_day(r.best_date)}",
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
    return section("When each crop is known", text, chart + as_table(heads, rows))


def _probabilities(facts: Facts) -> str:
    c = facts.calibration
    word = "surer" if c["confidence"] > c["accuracy"] else "less sure"
    label = f"Reliability diagram: {c['confidence']:.0%} sure on average, {c['accuracy']:.0%} right."
    pairs = (
        ("Mean confidence", as_share(c["confidence"])),
        ("Accuracy", as_share(c["accuracy"])),
        ("Calibration error (ECE)", as_number(c["calibration_error"])),
        ("Brier score, 0 best, 2 worst", as_number(c["brier"])),
        ("Log loss, nats", as_number(c["log_loss"])),
    )
    body = (
        f'<div class="two"><div>{charts.reliability(facts.reliability, label)}</div><div>{as_list(pairs)}</div></div>'
    )
    text = f"The model is {word} than it is right. Below the diagonal it promises too much. Bars: how many predictions."
    return section("How far its probabilities can be believed", text, body)


def _areas(facts: Facts, colours: Sequence[str]) -> str:
    a = facts.areas
    rows = []
    for (name, r), colour in zip(a.table.iterrows(), colours, strict=True):
        estimate = f'{r.area:,.0f} <span class="quiet">({r.area_low:,.0f}–{r.area_high:,.0f})</span>'
        cells = [f"{r.mapped:,.6g}", estimate, with_interval(r, "users"), with_interval(r, "producers")]
        rows.append(f"<tr><th>{_swatch(colour)}{escape(str(name))}</th>{''.join(f'<td>{c}</td>' for c in cells)}</tr>")
    heads = ("class", f"mapped, {a.unit}", f"estimate, {a.unit}", "user's accuracy", "producer's accuracy")
    label = "Mapped and estimated share of each class with 95 % intervals. The figures are in the table below."
    text = (
        f"On {facts.areas_date}, the date with the best macro-F1 of the crops. Ring: share by counting the map's "
        "pixels, which is biased because errors do not cancel. Dot: estimate from the confusion of map and truth; bar "
        f"and brackets: its 95 % interval. {escape(a.method)}."
    )
    return section("How much of each", text, charts.intervals(a.table, colours, label) + as_table(heads, rows))


def _blocks(facts: Facts) -> str:
    t = facts.blocks
    label = f"Map of {len(t)} blocks coloured by accuracy, from {t.accuracy.min():.0%} to {t.accuracy.max():.0%}."
    spread = t.accuracy.quantile([0.1, 0.5, 0.9])
    pairs = (
        ("Blocks", f"{len(t):,}"),
        ("Median accuracy", as_share(spread[0.5])),
        ("Worst tenth below", as_share(spread[0.1])),
        ("Best tenth above", as_share(spread[0.9])),
        ("Beaten by the majority baseline", f"{int((t.accuracy < t.majority_accuracy).sum()):,}"),
    )
    worst = t.sort_values("accuracy").head(6)
    rows = [
        f"<tr><th>{b}</th><td>{r.samples:,.0f}</td><td>{as_share(r.accuracy)}</td><td>{as_share(r.majority_accuracy)}</td></tr>"
        for b, r in worst.iterrows()
    ]
    table = "<h3>The worst</h3>" + as_table(("block", "samples", "accuracy", "majority"), rows)
    scale = '<div class="scale"><span>0 %</span><i></i><span>100 % right</span></div>'
    body = f'<div class="two"><div>{charts.block_map(t, label)}{scale}</div><div>{as_list(pairs)}{table}</div></div>'
    return section("Where it works", "A dot is a spatial block, all dates together; north is up.", body)


def _history(history: dict) -> str:
    parts = []
    for key, word in (("loss", "Loss"), ("accuracy", "Accuracy")):
        drawn = []
        for side, name in ((0, "training"), (1, "validation")):
            found = [k for k in (f"{'val_' * side}{stem}{key}" for stem in ("", "categorical_")) if k in history]
            drawn += [Line(name, [np.nan if v is None else float(v) for v in history[k]], side) for k in found[:1]]
        longest = max((len(line.values) for line in drawn), default=0)
        if longest > 1 and all(len(line.values) == longest for line in drawn):
            epochs = list(range(1, longest + 1))
            label = f"{word} by epoch of training and validation"
            chart = charts.lines(epochs, drawn, label, percent=key == "accuracy", width=400, height=250)
            parts.append(f"<div><h3>{word} by epoch</h3>{chart}</div>")
    text = "Where validation leaves training, the model learns its samples by heart."
    return section("How it was trained", text, f'<div class="two">{"".join(parts)}</div>') if parts else ""


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
    return section("What the model is", "", as_list(pairs))


# -- small parts ------------------------------------------------------------------------------------------------------


def section(title: str, text: str, body: str) -> str:
    return f"<section><h2>{title}</h2>{f'<p class=sub>{text}</p>' if text else ''}{body}</section>"


def as_table(heads: Sequence[str], rows: Sequence[str], kind: str = "") -> str:
    head = "".join(f'<th scope="col">{escape(h)}</th>' for h in heads)
    left_out = f'<p class="quiet">{len(rows) - TABLE_ROWS:,} more rows are in the JSON.</p>' * (len(rows) > TABLE_ROWS)
    body = "".join(rows[:TABLE_ROWS])
    made = f'<table class="{kind}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    return f'<div class="scroll">{made}</div>{left_out}'


def as_list(pairs) -> str:
    return f"<dl>{''.join(f'<dt>{k}</dt><dd>{v}</dd>' for k, v in pairs)}</dl>"


def _swatch(colour: str) -> str:
    return f'<i class="swatch" style="background:{escape(colour, quote=True)}"></i>'


def _bar(value: float) -> str:
    return f'<span class="v"><i style="width:{0 if value != value else value:.1%}"></i></span>'


def _line(table: pd.DataFrame, column: str, name: str, colour: int) -> Line:
    low, high = table.get(f"{column}_low"), table.get(f"{column}_high")
    band = (None, None) if low is None else (low.tolist(), high.tolist())
    return Line(name, table[column].tolist(), colour, low=band[0], high=band[1])


def as_share(value) -> str:
    return "–" if pd.isna(value) else f"{value:.1%}"


def as_number(value) -> str:
    return "–" if pd.isna(value) else f"{value:.3f}"


def _day(value) -> str:
    return "–" if pd.isna(value) else f"{value:%-d %b %Y}" if os.name != "nt" else f"{value:%d %b %Y}"


def with_interval(row, name: str) -> str:
    low, high = row.get(f"{name}_low", np.nan), row.get(f"{name}_high", np.nan)
    if pd.isna(low):
        return as_share(row[name])
    between = f"{low:.0%}–{high:.0%}" if low >= 0 else f"{low:.0%} to {high:.0%}"
    return f'{as_share(row[name])} <span class="quiet">({between})</span>'


def crops_in_words(facts: Facts) -> str:
    many = len(facts.crops)
    word = NUMBERS[many] if many < len(NUMBERS) else str(many)
    return "one crop" if many == 1 else f"{word} crops"


def _majority(facts: Facts) -> str:
    counts = facts.majority.counts.sum(0)
    return facts.confusion.names[int(counts.argmax())]
