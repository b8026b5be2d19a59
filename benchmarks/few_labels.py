"""Few labels: 5, 20 and 100 samples a class, with bands, with annual vectors, with a network pre-trained by masking.

Five simulated deltas. Labels are drawn from some blocks of the southern half in 2021; the score is that of the other
blocks, on true classes. Sides:

- a forest on gap-filled 30-day medians of the bands, on annual vectors, on both. The vectors are simulated: mixtures
  of the ground's reflectance without clouds, which no network has made. So they show that the data path works and what
  vectors could give at best, never what AlphaEarth's give.
- L-TAE on the images in steps of 5 days: from random weights; fine-tuned after `training.pretrain` on series without
  labels of 2021, of the northern half and of the blocks that labels come from, never of the test's blocks; and its
  frozen vectors in a forest. Networks train for a number of epochs on all labels: a fifth of five labels is too small
  to tell when to stop.

Nothing is timed, so the machine need not be quiet. A full run takes about twenty minutes on two busy cores.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import _parcels
import labels
import measure
import numpy as np
import pyarrow as pa

from arsetlib import embeddings, evaluation, models, pixels, samples, seeds, training
from arsetlib.simulate import landscape as land
from arsetlib.simulate.embeddings import vectors_of
from arsetlib.study import Season, Study

SEEDS = (1, 2, 3, 4, 5)
COUNTS = (5, 20, 100)  # labels a class; all there are, where a class has fewer
YEAR = 2021
FEW = {"batch": 16, "starts": _parcels.START, "missing": "allow", "progress": False}
EPOCHS = {5: 100, 20: 50, 100: 20}  # 300 to 900 steps: 35 samples in batches of 16 are 3 steps an epoch
RATE = 1e-3  # of all networks
PRETRAINING = {"epochs": 10, "patience": 5, "batch": 256, "hide": 0.5, "starts": _parcels.START, "progress": False}
APART = 60  # pixels a side of the blocks of which one in five is the validation of the pre-training


def few(truth: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Positions of ``count`` random samples of each class."""
    order = seeds.generator(seed, "few", count).permutation(len(truth))
    return np.concatenate([order[truth[order] == k][:count] for k in np.unique(truth)])


def study_of() -> Study:
    """Steps of 5 days in the window of the forest's features."""
    season = Season(_parcels.SEASON.window_days, 5, _parcels.START, _parcels.START)
    return Study.load("sample").replace(bands=_parcels.USED, season=season)


def rows_of(seed: int, study: Study, x: np.ndarray, y: np.ndarray, labelled: bool = True) -> samples.Rows:
    """The series of some places as rows, with their true codes or without labels."""
    region, ground = land.Region.of(_parcels.SCALE), land.build(seed, _parcels.SCALE)
    row, col = ((region.north - y) // 10).astype(int), ((x - region.west) // 10).astype(int)
    flat = row * region.shape[1] + col
    codes = np.abs(ground.codes(seed, YEAR)).astype(np.int64)[ground.unit].ravel()[flat]
    found = _parcels.series(seed, YEAR, _parcels.SCALE, flat)
    batch = pixels.make_batch(
        day=found.day, scl=found.scl, bands=found.bands, offsets=found.offsets, pixel=pixels.pixel_id(x, y, 10),
        year=np.full(len(x), YEAR), area="delta", block=pixels.block_id(x, y, 10 * APART), x=x, y=y, lon=-90.0,
        lat=34.0, label_code=codes if labelled else np.zeros(len(x), int),
    )  # fmt: skip
    meta = pixels.Meta(study.bands, land.UTM, 10.0, study.key, True, extra={"block_m": 10.0 * APART})
    return samples.Rows.of(pa.Table.from_batches([batch]).replace_schema_metadata(meta.to_kv()))


def unlabelled(seed: int, study: Study, pool: tuple[np.ndarray, np.ndarray]) -> dict[str, samples.Rows]:
    """Series of the northern half and of the pool's blocks; one block in five is the validation."""
    region = land.Region.of(_parcels.SCALE)
    height, width = region.shape
    row, col = np.indices((height // 2, width)).reshape(2, -1)
    some = (row % 3 == 0) & (col % 3 == 0)
    x = np.concatenate([region.west + 10 * col[some] + 5, pool[0]])
    y = np.concatenate([region.north - 10 * row[some] - 5, pool[1]])
    rows = rows_of(seed, study, x, y, labelled=False)
    folds = samples.kfold(rows, 5, seed)[0]
    return {"train": folds["train"], "validation": folds["test"]}


def scores_of_forests(delta, vectors, count: int, seed: int) -> dict[str, float]:
    """Macro-F1, %, by what the forest sees."""
    pool, test = delta.pool, delta.test
    mine, classes = few(pool.truth, count, seed), len(delta.prediction.legend.classes)
    sides = {"bands": (pool.features, test.features)} | {name: pair for name, pair in vectors.items()}
    sides["both"] = tuple(np.concatenate(pair, 1) for pair in zip(sides["bands"], vectors["vectors"], strict=True))
    found = {}
    for name, (x, z) in sides.items():
        model = labels.forest(x[mine], pool.truth[mine], seed)
        answers = model.classes_[model.predict_proba(z).argmax(1)]
        found[name] = 100 * evaluation.Confusion.of(test.truth, answers, classes).macro_f1
    return found


def vectors_by(encoder: models.Trained, rows: samples.Rows) -> np.ndarray:
    """(N, D) of the encoder."""
    return np.concatenate([encoder.vectors(x) for x, _ in encoder.loader(rows, _parcels.START).arrays()])


def main() -> None:
    options = measure.arguments(__doc__, quick=True)
    figures = measure.Figures("few_labels")
    found: dict[tuple[str, int], list[float]] = {}
    chosen = SEEDS[:1] if options.quick else SEEDS
    counts = COUNTS[:1] if options.quick else COUNTS
    explained = []
    study = study_of()
    for seed in chosen:
        delta = _parcels.delta(seed)
        raster = delta.composite.with_name("vectors.tif")
        vectors_of(seed, _parcels.SCALE, YEAR, raster)
        pool, test = (rows_of(seed, study, *place) for place in delta.places)
        encoder = training.pretrain(
            "ltae", unlabelled(seed, study, delta.places[0]), study, seed=seed, learning_rate=RATE, **PRETRAINING
        )
        explained.append(100 * max(encoder.history["val_explained"]))
        annual = [np.nan_to_num(embeddings.read(raster, *xy, crs="EPSG:32615")) for xy in delta.places]
        vectors = {
            "vectors": tuple(annual),
            "pretrained_vectors": tuple(vectors_by(encoder, rows) for rows in (pool, test)),
        }
        for count in counts:
            mine = np.zeros(len(pool), bool)
            mine[few(delta.pool.truth, count, seed)] = True
            sides = dict.fromkeys(("train", "validation"), pool.pick(mine))  # too few to hold some back
            epochs = {"epochs": EPOCHS[count], "patience": EPOCHS[count] - 1}
            setting = {**FEW, **epochs, "learning_rate": RATE, "seed": seed}
            networks = {
                "ltae_from_scratch": training.fit("ltae", sides, study, scaler=encoder.scaler, **setting),
                "ltae_pretrained": training.fine_tune(encoder, sides, study, **setting),
            }
            scores = scores_of_forests(delta, vectors, count, seed)
            for name, network in networks.items():
                predictions = network.predictions(test, _parcels.START)
                assert (predictions.truth == delta.test.truth).all()  # both ways have the same test
                scores[name] = 100 * predictions.confusion().macro_f1
            for name, score in scores.items():
                found.setdefault((name, count), []).append(float(score))
            print(f"seed {seed}, {count}: " + ", ".join(f"{n} {v:.1f}" for n, v in scores.items()), flush=True)
    for (name, count), scores in found.items():
        figures.add(f"macro_f1_with_{name}_of_{count}_a_class", float(np.mean(scores)), None, "points", by_seed(scores))
    for count in counts:
        for one, other in (
            ("ltae_pretrained", "ltae_from_scratch"),
            ("ltae_pretrained", "bands"),
            ("pretrained_vectors", "bands"),
        ):
            gains = np.subtract(found[one, count], found[other, count]).tolist()
            name = f"points_of_{one}_over_{other}_with_{count}"
            figures.add(name, float(np.mean(gains)), None, "points", by_seed(gains))
    figures.add("hidden_values_explained", float(np.mean(explained)), None, "%", by_seed(explained))
    figures.finish()


def by_seed(values: list[float]) -> dict[str, float]:
    """The value of each seed, and the spread."""
    return {f"seed {s}": v for s, v in zip(SEEDS, values, strict=False)} | {"spread": float(np.ptp(values))}


if __name__ == "__main__":
    main()
