"""Real crop points as a pixel table, a study for them, and a pre-training on the simulated delta that fits them.

The points (Uganda and South Sudan, 2017; monthly Sentinel-2 composites of ten bands, own crop codes) are a test file of
WorldCereal, MIT: see ../shared/real/SOURCES.md. They are no part of this project.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa

from arsetlib import evaluation, pixels, samples, training
from arsetlib.study import Legend, Season, Study
from arsetlib.training.transfer import held_back

FILE = Path(__file__).resolve().parents[2] / "shared" / "real" / "s2_points_uganda_south_sudan_2017.parquet"
BANDS = {
    "B02": "blue", "B03": "green", "B04": "red", "B05": "rededge1", "B06": "rededge2", "B07": "rededge3",
    "B08": "nir", "B8A": "nir08", "B11": "swir16", "B12": "swir22",
}  # fmt: skip
DATES = [
    month + np.timedelta64(14, "D") for month in np.arange("2016-12", "2017-12", dtype="datetime64[M]")
]  # the middle of each month
SEASON = Season(window_days=330, step_days=30, first_day=1, last_day=1)  # January to November; the first is left out
STUDY = """
[study]
key = "points"
name = { en = "Crop points in Uganda and South Sudan, 2017" }
bands = ["blue", "green", "red", "rededge1", "rededge2", "rededge3", "nir", "nir08", "swir16", "swir22"]
years = [2017]
simulated = false

[split]
train = [2017]
block_m = 20_000

[season]
window_days = 330
step_days = 30
first_day = 1
last_day = 1

[labels]
kind = "vector"
path = "points.gpkg"
code_column = "code"

[areas.points]
bounds = [500_000, 0, 700_000, 600_000]
crs = "EPSG:32636"

[legend]
name = "Four classes of the points"

[classes.sorghum]
name = { en = "Sorghum" }
codes = [1]
colour = "#ff9e0a"

[classes.corn]               # the same key as in the delta, so that a model from there can be right without labels
name = { en = "Maize" }
codes = [2]
colour = "#ffd400"

[classes.cultivated]
name = { en = "Other crops" }
codes = [3]
colour = "#a05989"

[classes.uncultivated]
name = { en = "Trees, grass, built-up" }
codes = [4]
colour = "#93cc93"
crop = false
"""


def code_of(ewoc: int) -> int:
    """Ours for a WorldCereal code: sorghum, maize, other temporary crops (11…), the rest."""
    known = {1_101_070_000: 1, 1_101_060_000: 2}
    return known.get(ewoc, 3 if str(ewoc).startswith("11") else 4)


def points() -> tuple[samples.Rows, Study]:
    """The points as rows of a pixel table, and their study."""
    import pandas as pd

    frame = pd.read_parquet(FILE)
    study = Study.parse(STUDY, "points")
    form = pixels.PointFormat(
        label="ewoc_code", codes={code: code_of(code) for code in frame["ewoc_code"].unique().tolist()},
        crs="EPSG:32636", block_m=study.block_m, study="points", nodata=65_535, twins="first",
    )  # fmt: skip
    table = pixels.from_wide(frame, BANDS, DATES, form, column="OPTICAL-{band}-ts{step}-*")
    return samples.Rows.of(table), study


def cross_validate(rows: samples.Rows, study: Study, names, k: int = 5, seed: int = 0, **options) -> dict:
    """Scores of some models when each place is predicted by a model that has not seen it.

    Args:
        names: Name → (name of ``models.build``, its options).
        **options: For ``training.fit`` of networks.

    Returns:
        Name → ``evaluation.Predictions`` of all rows, each predicted once.
    """
    found: dict[str, evaluation.Predictions] = {}
    for fold in samples.kfold(rows, k, seed):
        for name, (model, made) in names.items():
            plain = model in ("majority", "random_forest", "gradient_boosting")
            # A forest needs no one to tell it when to stop, so it learns from all rows of the fold.
            sides = {"train": fold["train"], "validation": fold["train"]} if plain else held_back(fold["train"], study)
            setting = {"epochs": 1} if plain else options
            done = training.fit(
                model, sides, study, options=made, seed=seed, choose="first", missing="allow", progress=False, **setting
            )
            part = done.predictions(fold["test"], study.season.first_day)
            found[name] = found[name] + part if name in found else part
    return found


def with_bands(table: pa.Table, bands) -> pa.Table:
    """The same table with some of its bands."""
    meta, flat = pixels.Meta.of(table), pixels.ragged(table.combine_chunks())
    chosen = flat.bands[:, [meta.bands.index(band) for band in bands]]
    names = [n for n in pixels.SCHEMA.names if n not in (*pixels.SERIES, "num_images")]
    columns = {n: table.column(n).combine_chunks() for n in names}
    batch = pixels.make_batch(day=flat.day, scl=flat.scl, bands=chosen, offsets=flat.offsets, **columns)
    kept = pixels.Meta(tuple(bands), meta.crs, meta.resolution, meta.study, meta.simulated, extra=meta.extra)
    return pa.Table.from_batches([batch]).replace_schema_metadata(kept.to_kv())


def pretraining(table: Path, delta: Study) -> tuple[dict[str, samples.Rows], Study]:
    """Sides and study of the simulated delta in the points' bands and steps.

    A window of 330 days ends when every field is bare, so the class that the vegetation rule makes is left out.
    """
    legend = Legend(delta.legend.name, tuple(c for c in delta.legend.classes if c.codes), delta.legend.excluded)
    season = Season(SEASON.window_days, SEASON.step_days, 1, 30)
    study = delta.replace(bands=tuple(BANDS.values()), season=season, legend=legend)
    return samples.split(with_bands(pixels.read(table), study.bands), study), study
