"""Few labels: 5, 20 and 100 samples a class, with the bands, with annual vectors, and with both.

Five simulated deltas. A forest is trained on some blocks of the southern half in 2021 and scored on the other blocks,
on true classes. The vectors are simulated: mixtures of the ground's reflectance without clouds, which no network has
made. So the figures show that the data path works and what vectors could give at best, never what AlphaEarth's give.
Nothing is timed, so the machine need not be quiet.
"""

import _parcels
import labels
import measure
import numpy as np

from arsetlib import embeddings, evaluation, seeds
from arsetlib.simulate.embeddings import vectors_of

SEEDS = (1, 2, 3, 4, 5)
COUNTS = (5, 20, 100)  # labels a class; all there are, where a class has fewer


def few(truth: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Positions of ``count`` random samples of each class."""
    order = seeds.generator(seed, "few", count).permutation(len(truth))
    return np.concatenate([order[truth[order] == k][:count] for k in np.unique(truth)])


def main() -> None:
    options = measure.arguments(__doc__, quick=True)
    figures = measure.Figures("few_labels")
    found: dict[tuple[str, int], list[float]] = {}
    chosen = SEEDS[:1] if options.quick else SEEDS
    for seed in chosen:
        delta = _parcels.delta(seed)
        raster = delta.composite.with_name("vectors.tif")
        vectors_of(seed, _parcels.SCALE, 2021, raster)
        pool, test = delta.pool, delta.test
        vectors = [np.nan_to_num(embeddings.read(raster, *xy, crs="EPSG:32615")) for xy in delta.places]
        classes = len(delta.prediction.legend.classes)
        for count in COUNTS:
            mine = few(pool.truth, count, seed)
            for name in ("bands", "vectors", "both"):
                x, z = (
                    {"bands": side.features, "vectors": v, "both": np.concatenate([side.features, v], 1)}[name]
                    for side, v in zip((pool, test), vectors, strict=True)
                )
                model = labels.forest(x[mine], pool.truth[mine], seed)
                answers = model.classes_[model.predict_proba(z).argmax(1)]
                score = evaluation.Confusion.of(test.truth, answers, classes).macro_f1
                found.setdefault((name, count), []).append(100 * score)
    for (name, count), scores in found.items():
        sides = {f"seed {s}": v for s, v in zip(chosen, scores, strict=True)} | {"spread": float(np.ptp(scores))}
        figures.add(f"macro_f1_with_{name}_of_{count}_a_class", float(np.mean(scores)), None, "points", sides)
    figures.finish()


if __name__ == "__main__":
    main()
