"""A table of a few hundred series that a small network can learn in seconds: three bands, six steps, three crops.

A crop is a hump at its own time of the year, so the classes can be told apart, though not on every date.
"""

import numpy as np
import pyarrow as pa

from arsetlib import pixels, samples
from arsetlib.study import Study

STUDY = Study.parse(
    """
[study]
key = "few"
name = { en = "Few" }
simulated = true
years = [2019, 2020, 2021]
bands = ["red", "nir", "swir16"]
seed = 5

[split]
train = [2021]
validation = [2020]
test = [2019]
block_m = 1000

[labels]
kind = "raster"
path = "labels_{year}.tif"

[season]
window_days = 60
step_days = 10
first_day = 60
last_day = 120

[areas.west]
bounds = [400000, 1400000, 410000, 1410000]
crs = "EPSG:5070"

[legend]
name = "few"
excluded = [9]

[classes.early]
codes = [1]

[classes.late]
codes = [2]

[classes.rest]
codes = [3]
crop = false
"""
)
META = pixels.Meta(STUDY.bands, "EPSG:5070", 30.0, "few", True, extra={"block_m": 1000.0})


def make_table(rows: int = 600, seed: int = 0, codes=(1, 2, 3), shift: float = 0.0, study: Study = STUDY) -> pa.Table:
    """Series of 18-30 images in the first half of the year; ``shift`` days moves all crops, as another climate does."""
    random = np.random.default_rng(seed)
    code, year = random.choice(codes, rows), random.choice([2019, 2020, 2021], rows)
    count = random.integers(18, 31, rows)
    row = np.repeat(np.arange(rows), count)
    of_year = np.concatenate([np.sort(random.choice(np.arange(50, 185), n, replace=False)) for n in count])
    peak = np.select([code == 1, code == 2], [90.0, 140.0], 400.0)[row] + shift
    green = np.exp(-(((of_year - peak) / 30) ** 2))
    bands = np.stack([1500 - 1000 * green, 2000 + 2000 * green, 2500 - 800 * green], axis=1)
    bands = (bands + random.normal(0, 120, bands.shape)).clip(1).astype("<u2")
    place = random.permutation(100 * 100)[:rows]
    x, y = 400_005 + 100.0 * (place % 100), 1_400_005 + 100.0 * (place // 100)
    batch = pixels.make_batch(
        day=samples.start_days(year, 1)[row] + of_year - 1, scl=np.where(green > 0.2, 4, 5), bands=bands,
        offsets=np.cumsum([0, *count]), pixel=pixels.pixel_id(x, y, 30), year=year, area="west",
        block=pixels.block_id(x, y, 1000), x=x, y=y, lon=-90.0, lat=34.0, label_code=code,
    )  # fmt: skip
    return pa.Table.from_batches([batch]).replace_schema_metadata(META.to_kv())


def make_sides(table: pa.Table | None = None, **options) -> dict[str, samples.Rows]:
    return samples.split(make_table(**options) if table is None else table, STUDY)


def network(classes: int = 3, steps: int = 6, bands: int = 3, seed: int = 7):
    """A small Keras model with dropout and batch normalisation, whose states a backup must keep, too."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(seed)
    series = keras.Input((steps, bands), name="series")
    h = layers.Conv1D(8, 3, padding="same")(series)
    h = layers.ReLU()(layers.BatchNormalization()(h))
    h = layers.Dropout(0.3, seed=seed)(layers.Flatten()(h))
    return keras.Model(series, layers.Dense(classes, activation="softmax")(h), name="small")
