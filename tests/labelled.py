"""A table of three crops in square fields, made in memory in a moment: labels whose truth is known."""

import numpy as np
import pandas as pd
from pyproj import Transformer

from arsetlib import pixels
from arsetlib.study import Study

FIELD, SIDE, STEP = 6, 36, 30.0  # pixels of a field's side, of the place's; m of a pixel
CODES = (1, 5, 2)  # corn, soybeans, cotton
DATES = tuple(str(day)[:10] for day in pd.date_range("2021-04-15", periods=12, freq="10D"))
PEAK = {1: 3, 5: 7, 2: 10}  # step at which a crop is greenest


def study(**changes):
    """The sample's study with two bands, small blocks, and a legend of three crops."""
    whole = Study.load("sample")
    keep = tuple(c for c in whole.legend.classes if c.key in ("corn", "soybeans", "cotton"))
    legend = type(whole.legend)("three crops", keep)
    options = {"bands": ("red", "nir"), "block_m": 360.0, "legend": legend, "years": (2021,)}
    return whole.replace(**{**options, **changes})


def table(seed=0, noise=0.15, codes=CODES, year=2021, shift=0.0, side=SIDE):
    """A pixel table of ``side`` × ``side`` pixels; ``shift`` moves all crops later, in steps."""
    random = np.random.default_rng(seed)
    row, col = np.divmod(np.arange(side**2), side)
    fields = -(-side // FIELD)
    crop = np.resize(np.array(codes), fields**2)
    random.shuffle(crop)
    label = crop[row // FIELD * fields + col // FIELD]
    x, y = 700_000 + STEP * col + STEP / 2, 3_700_000 - STEP * row - STEP / 2
    lon, lat = Transformer.from_crs("EPSG:32615", "EPSG:4326", always_xy=True).transform(x, y)
    peak = np.array([PEAK[c] for c in label])[:, None] + shift
    green = np.exp(-((np.arange(len(DATES)) - peak) ** 2) / 6) * (1 + noise * random.standard_normal((len(label), 1)))
    green = np.clip(green + noise * random.standard_normal(green.shape), 0, 2)
    frame = {"lon": lon, "lat": lat, "year": year, "label": label}
    frame |= {f"red_{i}": np.rint(1500 - 500 * green[:, i].clip(0, 1.5)) for i in range(len(DATES))}
    frame |= {f"nir_{i}": np.rint(2000 + 1500 * green[:, i]) for i in range(len(DATES))}
    form = pixels.PointFormat(crs="EPSG:32615", resolution=STEP, block_m=360.0, area="place", simulated=True)
    dates = [d.replace("2021", str(year)) for d in DATES]
    return pixels.from_wide(pd.DataFrame(frame), {"red": "red", "nir": "nir"}, dates, form)
