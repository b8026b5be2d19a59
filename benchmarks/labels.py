"""What to label next, and how much it helps: learning curves on simulated deltas, with their truth as the expert.

Five simulated deltas. Of each, the blocks of one half of the western map may be asked for, in 2021, and a forest on
gap-filled 30-day medians is scored on the other blocks after every 20 labels, up to 200. All methods of a seed begin
with the same 20 random labels. A figure is the mean macro-F1 from 40 to 200 labels minus that of random samples, in
points; its sides hold each seed, the spread, and the curve. Nothing is timed, so the machine need not be quiet.
"""

from dataclasses import replace

import _parcels
import measure
import numpy as np
import rasterio
from sklearn.ensemble import RandomForestClassifier

from arsetlib import active, pixels, samples

SEEDS = (1, 2, 3, 4, 5)
SHOWN = (40, 60, 100, 140, 200)  # labels at which the curves are written down
TREES = 200


def sides(delta: _parcels.Delta, places: bool = False):
    """Pool and test: pixels of other blocks, with true classes after the vegetation rule; also (x, y) of each."""
    table = pixels.read(delta.folder / "pixels")
    keep = np.flatnonzero(table.column("year").to_numpy() == 2021)
    table = table.take(keep)
    season = replace(delta.study.season, step_days=30)
    first = int(samples.start_days(2021, _parcels.START)[0])
    found = samples.window(pixels.ragged(table), season, first, choose="median", fill="linear")
    x, y, block = (table.column(n).to_numpy() for n in ("x", "y", "block"))
    with rasterio.open(delta.folder / "delta" / "truth_2021.tif") as src:
        row, col = (np.asarray(v).astype(int) for v in src.index(x, y))
        codes = src.read(1)[row, col].astype(np.int64)
    truth = samples.apply_vegetation_rule(delta.study.legend.classes_of(codes), found.vegetation, delta.study.legend)
    features = found.x.reshape(len(x), -1)
    features = (features - features.mean(0)) / np.maximum(features.std(0), 1e-6)
    good = (truth >= 0) & (found.images > 0)
    ours = np.isin(block, np.unique(block)[::2])
    both = good & ours, good & ~ours
    made = [active.KnownSamples(features[side], truth[side].astype(np.int64)) for side in both]
    return (*made, [(x[side], y[side]) for side in both]) if places else tuple(made)


def forest(x: np.ndarray, y: np.ndarray, seed: int) -> RandomForestClassifier:
    return RandomForestClassifier(TREES, min_samples_leaf=1, random_state=seed, n_jobs=1).fit(x, y)


def main() -> None:
    options = measure.arguments(__doc__, quick=True)
    figures = measure.Figures("labels")
    seeds = SEEDS[:1] if options.quick else SEEDS
    curves: dict[str, list[np.ndarray]] = {}
    for seed in seeds:
        delta = _parcels.delta(seed)
        pool, test = sides(delta)
        table = active.learning_curve(
            pool, test, forest, classes=len(delta.study.legend.classes), methods=list(active.METHODS), budget=200,
            draws=(seed,),
        )  # fmt: skip
        for method, rows in table.groupby("method"):
            curves.setdefault(str(method), []).append(100 * rows["macro_f1"].to_numpy())
            labels = rows["labels"].to_numpy()
    baseline = np.array(curves["random"])
    at = [int(np.flatnonzero(labels == n)[0]) for n in SHOWN if n in labels]
    for method, found in curves.items():
        over = (np.array(found) - baseline)[:, 1:].mean(axis=1)
        facts = {f"seed {s}": float(v) for s, v in zip(seeds, over, strict=True)} | {"spread": float(np.ptp(over))}
        facts |= {f"macro-F1 at {labels[i]}": float(np.mean([curve[i] for curve in found])) for i in at}
        facts |= {f"spread at {labels[i]}": float(np.ptp([curve[i] for curve in found])) for i in at}
        name = f"macro_f1_points_over_random_with_{method}" if method != "random" else "macro_f1_points_of_random"
        value = float(np.mean(over)) if method != "random" else float(np.mean(baseline[:, 1:]))
        figures.add(name, value, None, "points", facts)
    figures.finish()


if __name__ == "__main__":
    main()
