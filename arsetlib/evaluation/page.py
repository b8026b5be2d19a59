"""The report: one page that asks nothing of the network, and the same as JSON.

Lab: part3_train_and_test.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
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
from arsetlib.evaluation.sections import (
    as_list,
    as_number,
    as_share,
    as_table,
    crops_in_words,
    section,
    sections,
    with_interval,
)


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
        inner = "".join(sections(told[name], first, f1))
        opened = " open" if name == best else ""
        body.append(
            f'<details class="model"{opened}><summary>{escape(str(name))}</summary>{inner}</details>'
            if many is not None
            else inner
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
            f"Accuracy, {crops_in_words(facts)}",
            s.crops_accuracy,
            s.get("crops_accuracy_low"),
            s.get("crops_accuracy_high"),
            crops.accuracy,
        ),
        (
            f"Macro-F1, {crops_in_words(facts)}",
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
            f'<div class="card"><span>{escape(label)}</span><b>{as_share(value)}</b>'
            f'<div class="meter" aria-hidden="true"><i style="width:{width:.1%}"></i>{mark}</div>'
            f"<small>{small or '&nbsp;'}</small></div>"
        )
    whose = f'<p class="quiet" style="margin:.9em 4px 0">Best of the models compared: {escape(str(name))}.</p>'
    return f'<div class="cards">{"".join(made)}</div>' + (whose if name is not None else "")


def _comparison(told: dict[str, Facts], many: pd.DataFrame) -> str:
    rows = []
    for name, r in many.iterrows():
        behind = with_interval(r, "behind") if r.behind > 0 else ""
        cells = [with_interval(r, "accuracy"), with_interval(r, "macro_f1"), with_interval(r, "crops_macro_f1"), behind]
        cells += [as_share(r.top_2), as_number(r.calibration_error)]
        faint = ' class="faint"' if name == BASELINE else ""
        rows.append(f"<tr{faint}><th>{escape(str(name))}</th>{''.join(f'<td>{c}</td>' for c in cells)}</tr>")
    heads = ("model", "accuracy", "macro-F1", "crops macro-F1", "behind", "top two", "ECE")
    table = as_table(heads, rows)
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
    return section(
        "Models side by side",
        "The same samples for all. In brackets: 95 % intervals from drawing whole blocks. "
        "<b>Behind</b> is the distance to the best in macro-F1, from the same draws for both: where its interval "
        "holds 0, these data cannot tell the two apart. <b>ECE</b>: calibration error.",
        table + ("<h3>Macro-F1 of the crops, by date</h3>" + chart if chart else ""),
    )


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
    return section("How to read this page", "", as_list(pairs))


def _paths(out: Path) -> tuple[Path, Path]:
    html = out if out.suffix == ".html" else out / "report.html"
    html.parent.mkdir(parents=True, exist_ok=True)
    return html, html.with_suffix(".json")


def _write(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
