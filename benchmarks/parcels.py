"""Maps by parcel on the simulated delta: how well segments agree with true fields, and what parcels gain.

Five simulated deltas of their own seeds. A forest trained on the southern half in 2021 maps the northern half in 2020,
and the map is scored against the simulated truth, pixel by pixel and by parcel: with the true outlines, and with those
of each method of segmentation. Levels of the methods were chosen on two other seeds (``--tune`` shows how). Nothing is
timed, so the machine need not be quiet; a full run takes two minutes.
"""

import resource
import sys

import _parcels
import measure
import numpy as np
import rasterio

from arsetlib import parcels
from arsetlib.parcels.segmentation import LEVELS

SEEDS = (1, 2, 3, 4, 5)
TUNING = (11, 12)
FACTORS = (1 / 4, 1 / 2, 2 / 3, 1, 3 / 2, 2, 4)  # of each method's level


def segmented(delta: _parcels.Delta, method: str, level: float | None = None):
    """Outlines by one method, and their scores against the true fields, on the composite's own pixels."""
    with rasterio.open(delta.composite) as src:
        found = parcels.segment(delta.composite, method=method, level=level, progress=False)
        pairs = ((shape, i + 1) for i, shape in enumerate(found.shapes))
        shape = src.height, src.width
        numbers = rasterio.features.rasterize(pairs, shape, transform=src.transform, dtype="int32")
    return found, parcels.score_outlines(numbers, delta.numbers())


def gains(delta: _parcels.Delta, outlines: parcels.Parcels) -> dict[str, float]:
    """Accuracy and macro-F1 of both maps and their difference, in points."""
    out = {}
    for rule in ("probability", "majority"):
        gain = parcels.by_parcel(delta.prediction, outlines, rule=rule, progress=False).gain(delta.truth)
        out |= {f"{rule}_accuracy": 100 * gain.accuracy, f"{rule}_macro_f1": 100 * gain.macro_f1}
        out |= {"by_pixel": 100 * gain.pixels.accuracy, f"{rule}_by_parcel": 100 * gain.parcels.accuracy}
    return out


def tune() -> None:
    """Print scores of each method at several levels, on the seeds that are used for nothing else."""
    deltas = [_parcels.delta(seed) for seed in TUNING]
    for method, level in LEVELS.items():
        for factor in FACTORS:
            scores = [segmented(delta, method, level * factor)[1] for delta in deltas]
            row = [np.mean([getattr(s, n) for s in scores]) for n in ("boundary_f1", "over", "under", "segments")]
            print(method, f"{level * factor:g}", *(f"{v:.3f}" for v in row), flush=True)


def main() -> None:
    if "--tune" in sys.argv:
        return tune()
    options = measure.arguments(__doc__, quick=True)
    figures = measure.Figures("parcels")
    seeds = SEEDS[:1] if options.quick else SEEDS
    rows: dict[str, list[dict[str, float]]] = {}
    for seed in seeds:
        delta = _parcels.delta(seed)
        rows.setdefault("true outlines", []).append(gains(delta, delta.outlines))
        for method in parcels.METHODS:
            found, score = segmented(delta, method)
            facts = {n: getattr(score, n) for n in ("boundary_f1", "precision", "recall", "over", "under")}
            facts |= {"segments": score.segments, "parcels": score.parcels}
            rows.setdefault(method, []).append(facts | gains(delta, found))
    for name, found in rows.items():
        of = {key: [row[key] for row in found] for key in found[0]}
        key = name.replace(" ", "_")
        sides = {f"seed {s}": v for s, v in zip(seeds, of["majority_accuracy"], strict=True)}
        sides |= {"spread": float(np.ptp(of["majority_accuracy"]))}
        sides |= {k: float(np.mean(v)) for k, v in of.items()}
        figures.add(f"points_gained_with_{key}", float(np.mean(of["majority_accuracy"])), None, "points", sides)
        if "boundary_f1" in of:
            sides = {f"seed {s}": v for s, v in zip(seeds, of["boundary_f1"], strict=True)}
            sides |= {k: float(np.mean(of[k])) for k in ("over", "under", "precision", "recall")}
            figures.add(f"boundary_f1_of_{key}", float(np.mean(of["boundary_f1"])), None, "", sides)
    figures.add("peak_memory", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10, None, "MiB")
    figures.finish()


if __name__ == "__main__":
    main()
