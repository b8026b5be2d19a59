"""What to label next, and how much it helps: learning curves on simulated deltas, with their truth as the expert.

Five simulated deltas. Of each, half of the blocks of the southern half may be asked for, in 2021, and a forest on
gap-filled 30-day medians is scored on the other blocks after every 30 labels, up to 200. All methods of a seed begin
with the same 20 random labels. A figure is the mean macro-F1 from 50 to 200 labels minus that of random samples, in
points; its sides hold each seed, the spread, and the curve. Nothing is timed, so the machine need not be quiet.
"""

import _parcels
import measure
import numpy as np
from sklearn.ensemble import RandomForestClassifier

from arsetlib import active

SEEDS = (1, 2, 3, 4, 5)
SHOWN = (50, 80, 110, 140, 200)  # labels at which the curves are written down
TREES = 100


def forest(x: np.ndarray, y: np.ndarray, seed: int) -> RandomForestClassifier:
    return RandomForestClassifier(TREES, min_samples_leaf=1, random_state=seed, n_jobs=1).fit(x, y)


def main() -> None:
    options = measure.arguments(__doc__, quick=True)
    figures = measure.Figures("labels")
    seeds = SEEDS[:1] if options.quick else SEEDS
    curves: dict[str, list[np.ndarray]] = {}
    for seed in seeds:
        delta = _parcels.delta(seed)
        table = active.learning_curve(
            delta.pool, delta.test, forest, classes=len(delta.prediction.legend.classes),
            methods=list(active.METHODS), step=30, budget=200,
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
