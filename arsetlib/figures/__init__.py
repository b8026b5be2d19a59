"""Figures: scenes, labels, series, scores and predicted maps, and how a notebook and the book show them.

Maps are drawn on the label grid's projection, so that a metre is a metre, with a scale bar, a north arrow and a
legend of the classes present. Interactive figures are Plotly figures on plain axes in km: no map tiles, so they
work offline. What a figure holds is thinned to what the eye can see: at most 400 pixels a side.

Static pictures are matplotlib figures. `show` displays either kind, and a table too, with a text for readers who
cannot see it. A module of this package is loaded when one of its names is first used.

Labs: part1_build_dataset, part2_load_data, part3_train_and_test, case_groves, case_fields.
"""

import lazy_loader

_HOMES = {
    "style": ("ACCENT", "DASHES", "EYE", "FONT", "FONT_SIZE", "GRID", "INK", "LINES", "SCL_INK", "SCL_SYMBOLS",
              "SIMULATED", "STYLE", "WIDTH"),
    "still": ("FALSE_COLOUR", "SWIR_COLOUR", "TRUE_COLOUR", "chip", "clear_view", "labels_map"),
    "interactive": ("footprints",),
    "pictures": ("flow", "outlined", "paint_instances", "panels", "wipe"),
    "plots": ("bars", "class_bars", "empty_figure", "lines", "scatter", "series", "timeline"),
    "windows": ("calendar", "split_map", "spreads", "verdicts"),
    "notebook": ("PLOTLY_IN_BOOK", "knob", "show"),
    "seasons": ("prediction_map", "season_gif"),
    "scores": ("areas", "block_map", "by_date", "confusion", "learning_curves", "reliability", "score_bars"),
    "report": ("ReportFiles", "report"),
}  # fmt: skip

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs=_HOMES)
