"""A made-up map with known truth: squares of four crops, mapped with mistakes, with probabilities beside it."""

import json

import numpy as np
import rasterio
from predicted import LEGEND

from arsetlib.ingest import Grid
from arsetlib.maps import cogs, products

HIGH, WIDE = 540, 530  # pixels: more than one tile of a raster along each side
SIDE = 30.0
GRID = Grid("EPSG:5070", SIDE, 400_020.0, 1_400_010.0, HIGH, WIDE)
SHARES = (0.55, 0.3, 0.12, 0.03)  # of the four classes, in truth


def truth_and_map(seed=0, wrong=0.15):
    """Truth and probabilities, (H, W) and (H, W, K); the map is their argmax. A corner has no data: -1."""
    random = np.random.default_rng(seed)
    truth = random.choice(len(SHARES), (HIGH // 10, WIDE // 10), p=SHARES).repeat(10, 0).repeat(10, 1)
    said = np.where(random.random(truth.shape) < wrong, random.choice(len(SHARES), truth.shape, p=SHARES), truth)
    logits = random.normal(0, 0.7, (*truth.shape, len(SHARES)))
    np.put_along_axis(logits, said[..., None], np.take_along_axis(logits, said[..., None], -1) + 2.5, -1)
    probability = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    truth[:20, :30] = -1
    return truth, probability


def write(folder, truth, probability, legend=LEGEND, stem="made_2021_120", simulated=True):
    """A prediction as ``maps.predict`` writes it: classes, probabilities and the JSON file; its path."""
    row, col = np.nonzero(truth >= 0)
    values = {"class": probability.argmax(-1)[row, col], "probability": probability[row, col] * products.SCALE}
    files = {}
    for product, value in values.items():
        bands = len(legend.classes) if product == "probability" else 1
        made = cogs.scratch(folder / f"{product}.tif", product, GRID, bands)
        with rasterio.open(made, "r+") as out:
            cogs.paint(out, row, col, np.rint(value).astype(out.dtypes[0]))
        files[product] = f"{stem}_{product}.tif"
        tags = {"simulated": "yes" if simulated else "no", "study": "made_up"}
        cogs.finish(made, folder / files[product], product, legend, tags)
        made.unlink()
    first, last = products.window_dates(2021, 120, 120)
    info = {
        "kind": products.KIND, "version": 1, "area": "made", "year": 2021, "start": 120, "simulated": simulated,
        "window": {"first": first, "last": last}, "legend": products.legend_as_json(legend), "files": files,
        "scale": products.SCALE, "model": "made up",
    }  # fmt: skip
    (folder / f"{stem}.json").write_text(json.dumps(info), encoding="utf-8")
    return folder / f"{stem}.json"


def fill_in(sample, truth, legend=LEGEND):
    """The labels of a sample, from the truth at its pixels."""
    col = np.floor((sample.table["x"].to_numpy() - GRID.x0) / SIDE).astype(int)
    row = np.floor((GRID.y0 - sample.table["y"].to_numpy()) / SIDE).astype(int)
    sample.table["label"] = np.array(legend.keys)[truth[row, col]]
    return sample
