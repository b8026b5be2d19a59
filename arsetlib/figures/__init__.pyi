# What the package gives, and where it is: lazy_loader and type checkers read this.
from .interactive import footprints as footprints
from .labelling import labelling_page as labelling_page
from .notebook import PLOTLY_IN_BOOK as PLOTLY_IN_BOOK, knob as knob, show as show
from .pictures import (
    flow as flow, outlined as outlined, paint_instances as paint_instances, panels as panels, wipe as wipe,
)
from .plots import (
    bars as bars, class_bars as class_bars, empty_figure as empty_figure, lines as lines, scatter as scatter,
    series as series, timeline as timeline,
)
from .reports import ReportFiles as ReportFiles, report as report
from .scores import (
    areas as areas, block_map as block_map, by_date as by_date, confusion as confusion,
    learning_curves as learning_curves, reliability as reliability, score_bars as score_bars,
)
from .seasons import prediction_map as prediction_map, season_gif as season_gif
from .still import (
    FALSE_COLOUR as FALSE_COLOUR, SWIR_COLOUR as SWIR_COLOUR, TRUE_COLOUR as TRUE_COLOUR, chip as chip,
    clear_view as clear_view, labels_map as labels_map,
)
from .style import (
    ACCENT as ACCENT, DASHES as DASHES, EYE as EYE, FONT as FONT, FONT_SIZE as FONT_SIZE, GRID as GRID, INK as INK,
    LINES as LINES, SCL_INK as SCL_INK, SCL_SYMBOLS as SCL_SYMBOLS, SIMULATED as SIMULATED, STYLE as STYLE,
    WIDTH as WIDTH,
)
from .windows import calendar as calendar, split_map as split_map, spreads as spreads, verdicts as verdicts
