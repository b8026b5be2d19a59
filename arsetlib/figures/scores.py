"""Figures of results: confusion, scores by date, calibration, learning curves, scores by class, areas (Plotly).

Lab: part3_train_and_test.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from arsetlib.evaluation import Areas, Confusion
from arsetlib.figures.plots import bars, empty_figure
from arsetlib.figures.style import ACCENT, DASHES, FONT_SIZE, INK, LINES, SYMBOLS, Simulated, fit_names, plotly_layout
from arsetlib.translation import N_, _
from arsetlib.wording import column

SHARES = [[0, "#ffffff"], [0.25, "#cfe3f1"], [0.5, "#8bbcdc"], [0.75, "#3f8abf"], [1, "#0b4f8a"]]
NORMALISED = {
    "truth": N_("of each true class (rows sum to 1; diagonal: recall)"),
    "prediction": N_("of each predicted class (columns sum to 1; diagonal: precision)"),
    "all": N_("of all samples"),
    None: N_("samples"),
}
# Low to high accuracy, distinguished by readers of every kind of colour vision.
ACCURACIES = [[0, "#b24a00"], [0.33, "#f0c878"], [0.67, "#3ca07d"], [1, "#0b5e44"]]


def confusion(
    matrix: Confusion, normalise: str | None = "truth", *, study: Simulated | None = None, title: str | None = None
) -> go.Figure:
    """A confusion matrix: true classes down, predicted classes across; counts when hovering.

    Args:
        matrix: An ``evaluation.Confusion``.
        normalise: ``"truth"``, ``"prediction"``, ``"all"``, or None for counts; the title says which, because the
            same matrix looks different in each.
        study: Whose data it shows, so that it says whether they are simulated.
        title: What is shown.

    Returns:
        A Plotly figure.

    Lab: part3_train_and_test.
    """
    counts, names = np.asarray(matrix.counts), list(matrix.names)
    values = counts.astype(float) if normalise is None else matrix.normalised(normalise).to_numpy(float)
    whole = float(np.nanmax(values)) if normalise is None and values.size else 1.0
    if normalise is None:
        said = [[f"{v:,.0f}" if v else "" for v in row] for row in values]
    else:
        said = [["–" if np.isnan(v) else f"{100 * v:.0f}" if v >= 0.005 else "" for v in row] for row in values]
    said = [[f"<b>{cell}</b>" if i == j else cell for j, cell in enumerate(row)] for i, row in enumerate(said)]
    fig = go.Figure(
        layout=plotly_layout(
            f"{title or _('Confusion')}: {_(NORMALISED[normalise])}", 150 + 54 * len(names), _simulated(study)
        )
    )
    fig.update_layout(title_font_size=14)
    fig.add_heatmap(
        z=np.nan_to_num(values), x=names, y=names, zmin=0, zmax=whole or 1, colorscale=SHARES, xgap=2, ygap=2,
        text=said, texttemplate="%{text}", textfont={"size": FONT_SIZE},
        customdata=np.dstack([counts, np.nan_to_num(100 * values) if normalise else counts]), showscale=False,
        hovertemplate=_("truth %{y}<br>predicted %{x}<br>%{customdata[0]:,.0f} samples")
        + (", %{customdata[1]:.1f} %" if normalise else "") + "<extra></extra>",
    )  # fmt: skip
    unit = "" if normalise is None else ", %"
    fig.update_xaxes(title=f"{_('predicted')}{unit}", tickangle=-35, showgrid=False, ticks="")
    fig.update_yaxes(title=_("truth"), autorange="reversed", showgrid=False, ticks="")
    for axis in ("xaxis", "yaxis"):
        fit_names(fig, axis, names)
    return fig.update_layout(dragmode=False, margin={"t": 70, "b": 30})


def by_date(
    table: pd.DataFrame | Mapping[str, pd.DataFrame],
    *,
    measure: str = "accuracy",
    study: Simulated | None = None,
    title: str | None = None,
) -> go.Figure:
    """A score by date: of all samples, of the single crops only, and of always predicting the commonest class.

    Late in the season most fields are harvested, and 'No Crops Growing' is easy to predict: the line of the crops only
    shows how well crops are distinguished.

    Args:
        table: Of ``evaluation.by_date``, or name → table to compare models.
        measure: ``"accuracy"`` or ``"macro_f1"``.
        study: As in `confusion`.
        title: Of the figure.

    Returns:
        A Plotly figure; bands are the intervals of the table.

    Lab: part3_train_and_test.
    """
    tables = table if isinstance(table, Mapping) else {"": table}
    word = {"accuracy": _("accuracy"), "macro_f1": _("macro-F1")}[measure]
    fig = empty_figure(
        title or _("{score} by date of prediction").format(score=f"{word[0].upper()}{word[1:]}"),
        _("last day of the window"),
        word,
        study=study,
        height=430,
    )
    for i, (name, rows) in enumerate(tables.items()):
        x = pd.to_datetime(pd.Index(rows.index)) if not np.issubdtype(rows.index.dtype, np.number) else rows.index
        lines = [
            (measure, _("all classes"), LINES[i], "solid"),
            (f"crops_{measure}", _("crops only"), LINES[i], "dash"),
        ]
        if i == 0:
            lines.append((f"majority_{measure}", _("always the commonest class"), "#6d6d6d", "dot"))
        for key, said, colour, dash in lines:
            if key not in rows:
                continue
            said = f"{name}, {said}" if name and key != f"majority_{measure}" else said
            low, high = f"{key}_low", f"{key}_high"
            if low in rows and len(tables) == 1 and rows[low].notna().any():
                fig.add_scatter(
                    x=[*x, *x[::-1]], y=[*rows[high], *rows[low][::-1]], fill="toself", mode="lines", line={"width": 0},
                    fillcolor=_pale(colour), hoverinfo="skip", showlegend=False,
                )  # fmt: skip
            fig.add_scatter(
                x=x, y=rows[key].round(4), mode="lines+markers", name=said,
                line={"color": colour, "dash": dash, "width": 2}, marker={"symbol": SYMBOLS[i], "size": 7},
                customdata=rows["samples"] if "samples" in rows else np.zeros(len(rows)),
                hovertemplate=_("%{x|%-d %B}") + f"<br>{word} %{{y:.3f}}<br>" + _("%{customdata:,} samples")
                + f"<extra>{said}</extra>",
            )  # fmt: skip
    fig.update_yaxes(range=[0, 1.02])
    return fig.update_layout(margin={"t": 60, "b": 90}, hovermode="closest")


def reliability(
    table: pd.DataFrame | Mapping[str, pd.DataFrame], *, study: Simulated | None = None, title: str | None = None
) -> go.Figure:
    """Calibration: the share of right predictions by the probability of the predicted class.

    Points below the diagonal: the model is overconfident.

    Args:
        table: Of ``evaluation.reliability``, or name → table.
        study: As in `confusion`.
        title: Of the figure.

    Returns:
        A Plotly figure; the bars above count the predictions of each bin.

    Lab: part3_train_and_test.
    """
    tables = table if isinstance(table, Mapping) else {"": table}
    fig = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.05, row_heights=[0.22, 0.78])
    fig.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", name=_("perfectly calibrated"), line={"color": "#6d6d6d", "dash": "dot"},
        hoverinfo="skip", row=2, col=1,
    )  # fmt: skip
    for i, (name, rows) in enumerate(tables.items()):
        fig.add_bar(
            x=(rows["low"] + rows["high"]) / 2, y=rows["samples"], width=(rows["high"] - rows["low"]) * 0.92,
            marker={"color": LINES[i], "opacity": 0.6}, showlegend=False, row=1, col=1,
            hovertemplate=_("%{y:,} predictions") + f"<extra>{name}</extra>",
        )  # fmt: skip
        fig.add_scatter(
            x=rows["confidence"].round(4), y=rows["accuracy"].round(4), mode="lines+markers", name=name or _("model"),
            line={"color": LINES[i], "dash": DASHES[i], "width": 2}, marker={"symbol": SYMBOLS[i], "size": 8},
            customdata=rows["samples"], row=2, col=1,
            hovertemplate=_("mean probability %{x:.2f}<br>right %{y:.2f}<br>%{customdata:,} predictions")
            + "<extra></extra>",
        )  # fmt: skip
    layout = plotly_layout(title or _("Calibration"), 470, _simulated(study))
    layout["xaxis2"] = layout["xaxis"] | {"title": _("probability of the predicted class"), "range": [0, 1.02]}
    layout["yaxis2"] = layout["yaxis"] | {"title": _("share of right predictions"), "range": [0, 1.02]}
    layout["yaxis"] = layout["yaxis"] | {"title": _("predictions"), "nticks": 3}
    return fig.update_layout(layout | {"barmode": "overlay", "margin": layout["margin"] | {"t": 60, "b": 75}})


def learning_curves(history: Mapping, *, study: Simulated | None = None, title: str | None = None) -> go.Figure:
    """Loss and score of training and validation by epoch, and the best epoch.

    Where the training loss falls further and the validation loss rises, the model overfits.

    Args:
        history: Name → list, as ``Trained.history``: ``loss``, ``val_loss``, and scores with their ``val_``; or model
            name → such a history, to compare models.
        study: As in `confusion`.
        title: Of the figure.

    Returns:
        A Plotly figure: loss above, score below; the star marks the epoch of least validation loss.

    Lab: part3_train_and_test.
    """
    several = history if isinstance(next(iter(history.values())), Mapping) else {"": history}
    first = next(iter(several.values()))
    scores = [n for n in first if not n.startswith("val_") and n != "loss" and f"val_{n}" in first]
    score = next((n for n in scores if "accuracy" in n), scores[0] if scores else None)
    rows = 2 if score else 1
    fig = make_subplots(rows=rows, cols=1, shared_xaxes=True, vertical_spacing=0.06)
    for i, (name, history) in enumerate(several.items()):
        past = {key: np.array(values, float) for key, values in history.items() if np.ndim(values) == 1}
        colours = (LINES[0], LINES[1]) if len(several) == 1 else (LINES[i], LINES[i])
        for row, measure in enumerate(("loss", score)[:rows], 1):
            for side, key, colour, dash in (
                (_("training"), measure, colours[0], "dot" if len(several) > 1 else "solid"),
                (_("validation"), f"val_{measure}", colours[1], "solid"),
            ):
                if key in past:
                    said = f"{name}, {side}" if name else side
                    fig.add_scatter(
                        x=np.arange(1, len(past[key]) + 1), y=np.round(past[key], 5), mode="lines+markers", name=said,
                        legendgroup=said, showlegend=row == 1, line={"color": colour, "dash": dash, "width": 2},
                        marker={"symbol": SYMBOLS[0 if key == measure else 1], "size": 5}, row=row, col=1,
                        hovertemplate=_("epoch %{x}") + f"<br>{column(measure)} %{{y:.4f}}<extra>{said}</extra>",
                    )  # fmt: skip
            if np.isfinite(past.get("val_loss", np.nan)).any() and f"val_{measure}" in past:
                best = int(np.nanargmin(past["val_loss"]))
                fig.add_scatter(
                    x=[best + 1], y=[past[f"val_{measure}"][best]], mode="markers", row=row, col=1,
                    name=", ".join([*filter(None, [name]), _("best: epoch {number}").format(number=best + 1)]),
                    showlegend=row == 1,
                    marker={"symbol": "star", "size": 15, "color": ACCENT, "line": {"color": "white", "width": 1}},
                    hovertemplate=_("best: epoch {number}").format(number=best + 1) + "<br>%{y:.4f}<extra></extra>",
                )  # fmt: skip
    layout = plotly_layout(title or _("Learning curves"), 240 + 200 * rows, _simulated(study))
    last = "xaxis2" if rows == 2 else "xaxis"
    if rows == 2:
        layout["yaxis2"] = layout["yaxis"] | {"title": column(score)}
        layout["xaxis2"] = dict(layout["xaxis"])
    layout["yaxis"] = layout["yaxis"] | {"title": column("loss")}
    layout[last] |= {"title": _("epoch"), "rangemode": "tozero"}
    return fig.update_layout(layout | {"margin": layout["margin"] | {"t": 60, "b": 80}})


def score_bars(
    results: Mapping | pd.DataFrame, measure: str = "f1", *, study: Simulated | None = None, title: str | None = None
) -> go.Figure:
    """A score of each class, for one model or several side by side.

    Args:
        results: Name → ``evaluation.Confusion``; or a DataFrame, rows = classes, columns = models.
        measure: ``"f1"``, ``"precision"``, ``"recall"`` or ``"iou"``.
        study: As in `confusion`.
        title: Of the figure.

    Returns:
        A Plotly figure; a class that a model's truth and prediction both lack has no bar.

    Labs: part3_train_and_test, case_groves, case_fields.
    """
    if not isinstance(results, pd.DataFrame):
        results = pd.DataFrame({n: pd.Series(getattr(c, measure), list(c.names)) for n, c in results.items()})
    word = column(measure)
    fig = bars(
        results.round(4),
        title or _("{score} of each class").format(score=word),
        word,
        study=study,
        mode="group",
        text=".2f",
    )
    fig.update_traces(textposition="outside", cliponaxis=False)
    return fig.update_xaxes(range=[0, 1.08]).update_layout(showlegend=len(results.columns) > 1)


def areas(table: Areas, *, study: Simulated | None = None, title: str | None = None) -> go.Figure:
    """Share of each class: counted on the map, and estimated with its interval.

    Args:
        table: Of ``evaluation.stratified_areas`` or ``evaluation.block_areas``.
        study: As in `confusion`.
        title: Of the figure.

    Returns:
        A Plotly figure, in percent of the whole: a ring is the map's share, a dot the estimate.

    Lab: part3_train_and_test.
    """
    rows = table.table
    fig = empty_figure(
        title or _("Share of each class"), _("percent of the area"), "", study=study, height=150 + 38 * len(rows)
    )
    names, share = rows.index.tolist(), 100 * rows["share"]
    spread = {"array": 100 * rows["share_high"] - share, "arrayminus": share - 100 * rows["share_low"]}
    fig.add_scatter(
        x=(100 * rows["mapped"] / rows["mapped"].sum()).round(3), y=names, mode="markers", name=_("counted on the map"),
        marker={"symbol": "circle-open", "size": 13, "color": INK, "line": {"width": 2}},
        hovertemplate="%{y}<br>" + _("%{x:.1f} % of the map") + "<extra></extra>",
    )  # fmt: skip
    fig.add_scatter(
        x=share.round(3), y=names, mode="markers", marker={"size": 9, "color": LINES[0]},
        name=_("estimate, {confidence} interval").format(confidence=f"{table.confidence:.0%}"),
        error_x={"type": "data", "symmetric": False, **spread},
        hovertemplate="%{y}<br>" + _("estimated %{x:.1f} %") + "<extra></extra>",
    )  # fmt: skip
    fig.update_yaxes(autorange="reversed", title=None)
    fit_names(fig, "yaxis", names)
    return fig.update_xaxes(rangemode="tozero").update_layout(margin={"t": 60, "b": 90})


def block_map(
    blocks: pd.DataFrame, *, study: Simulated | None = None, title: str | None = None, most: int = 1200
) -> go.Figure:
    """Where the blocks are, coloured by accuracy.

    Args:
        blocks: Of ``evaluation.by_block``.
        study: As in `confusion`.
        title: Of the figure.
        most: Draw at most so many blocks, evenly thinned.

    Returns:
        A Plotly figure; axes are km of the label grid.

    Lab: part3_train_and_test.
    """
    rows = blocks.iloc[:: -(-len(blocks) // most)]
    fig = empty_figure(title or _("Accuracy by block"), _("east, km"), _("north, km"), study=study, height=430)
    fig.add_scatter(
        x=(rows["x"] / 1000).round(2), y=(rows["y"] / 1000).round(2), mode="markers", showlegend=False,
        text=[
            _("block {block}: {share} of {samples} right").format(
                block=b, share=f"{r.accuracy:.0%}", samples=f"{r.samples:,.0f}"
            )
            for b, r in rows.iterrows()
        ],
        hovertemplate="%{text}<extra></extra>",
        marker={"size": float(np.clip(190 / np.sqrt(len(rows)), 4, 20)), "color": rows["accuracy"].round(3),
                "cmin": 0, "cmax": 1, "colorscale": ACCURACIES, "line": {"width": 0.5, "color": INK},
                "colorbar": {"title": {"text": _("right")}, "tickformat": ".0%", "thickness": 12}},
    )  # fmt: skip
    fig.update_yaxes(scaleanchor="x", showgrid=False, tickformat=".1~f")
    return fig.update_xaxes(showgrid=False, tickformat=".1~f", nticks=6).update_layout(margin={"t": 60})


def _simulated(study: Simulated | None) -> bool:
    return study is not None and study.simulated


def _pale(colour: str) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.15)"
