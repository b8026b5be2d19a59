"""What an instructor changes: a place, its labels, years, season, bands and legend, in one TOML file.

No other module knows a place, a year or a crop by name. ``Study.load("sample")`` reads a study that is part of the
package, ``Study.load("mine.toml")`` one of your own. A typo in the file is an error that names the key and the nearest
one that exists.

Labs: part1_build_dataset (areas, labels, filters), part2_load_data (season, split, legend).
"""

from arsetlib.study.area import Area, across_180, outlines
from arsetlib.study.parsing import ALL_BANDS, CDL_10_M, INDEX_BANDS, SIDES, WAVES, StudyError
from arsetlib.study.settings import MAX_CODE, Class, LabelSource, Legend, SceneSource, Season, text
from arsetlib.study.study import Study, shipped

__all__ = [
    "ALL_BANDS",
    "CDL_10_M",
    "INDEX_BANDS",
    "MAX_CODE",
    "SIDES",
    "WAVES",
    "Area",
    "Class",
    "LabelSource",
    "Legend",
    "SceneSource",
    "Season",
    "Study",
    "StudyError",
    "across_180",
    "outlines",
    "shipped",
    "text",
]
