"""Figures: scenes, labels, series, scores and predicted maps, and how a notebook and the book show them.

Maps are drawn on the label grid's projection, so that a metre is a metre, with a scale bar, a north arrow and a
legend of the classes present. Interactive figures are Plotly figures on plain axes in km: no map tiles, so they
work offline. What a figure holds is thinned to what the eye can see: at most 400 pixels a side.

Static pictures are matplotlib figures. `show` displays either kind, and a table too, with a text for readers who
cannot see it. A module of this package is loaded when one of its names is first used.

Labs: part1_build_dataset, part2_load_data, part3_train_and_test, case_groves, case_fields.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
