"""Coverage of sets of classes, and the area of applicability, where rows come from another year or another place.

On the simulated sample. A forest is trained on blocks of the seven boxes in 2021 and calibrated on other blocks there.
It is tested on blocks that neither has seen: in the same year, in 2019, and in the dense box, which no training row
touches. Each of five seeds deals the blocks anew and trains another forest. What is promised is 90 %. The truth of a
test is the simulated one, so that wrong labels of the test do not count as misses; training and calibration have the
labels as published, with their mistakes.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from dataclasses import replace

import _sample
import measure
import numpy as np
import rasterio

from arsetlib import certainty, evaluation, samples, training
from arsetlib.study import Study

STARTS, START, ALPHA, TREES = (1, 60, 120, 180), 120, 0.1, 50
SEEDS = (0, 1, 2, 3, 4)


def with_truth(predictions: evaluation.Predictions, study: Study) -> evaluation.Predictions:
    """The same with the simulated truth, without rows that the legend excludes there.

    Where the window shows no crop, the truth stays 'No Crops Growing', as the vegetation rule has it.
    """
    truth, bare = predictions.truth.astype(int), study.legend.keys.index("no_crops_growing")
    for year in np.unique(predictions.year).tolist():
        with rasterio.open(_sample.DELTA / f"truth_{year}.tif") as source:
            mine = np.flatnonzero((predictions.year == year) & (predictions.truth != bare))
            places = np.stack([predictions.x[mine], predictions.y[mine]], 1)
            truth[mine] = study.legend.classes_of(np.array([v[0] for v in source.sample(places)], np.int64))
    known = np.flatnonzero(truth >= 0)
    return replace(predictions.pick(known), truth=truth[known].astype(np.int8))


def one(rows: samples.Rows, study: Study, seed: int) -> dict[str, float]:
    """Figures of one deal of the blocks and one forest."""
    year, area = rows.column("year"), rows.column("area").astype(str)
    boxes = rows.pick((year == 2021) & (area != "dense"))
    sides = samples.split(boxes, study.replace(seed=seed), by="block")
    blocks = np.unique(sides["test"].column("block"))
    there = np.isin(rows.column("block"), blocks) & (area != "dense")
    tests = {
        "same_year": sides["test"],
        "other_year": rows.pick(there & (year == 2019)),
        "other_place": rows.pick((area == "dense") & (year == 2021)),
        "both": rows.pick((area == "dense") & (year == 2019)),
    }
    options = {"epochs": 2, "seed": seed, "progress": False, "missing": "allow", "options": {"trees": TREES}}
    trained = training.fit("random_forest", sides, study, **options)
    known = trained.predictions(sides["validation"], list(STARTS))
    rules = {
        "lac": certainty.Conformal.fit(known, ALPHA),
        "aps": certainty.Conformal.fit(known, ALPHA, score="aps", seed=seed),
        "by_class": certainty.Conformal.fit(known, ALPHA, by_class=True),
    }
    out = {}
    predicted = {name: trained.predictions(test, list(STARTS)) for name, test in tests.items()}
    for name, labelled in predicted.items():
        found = with_truth(labelled, study)
        for rule, conformal in rules.items():
            table = certainty.coverage(conformal, found, repeats=200, seed=seed).iloc[0]
            out |= {f"{rule}_{name}": table.coverage, f"{rule}_{name}_size": table.mean_size}
            out |= {f"{rule}_{name}_cannot_say": table.cannot_say, f"{rule}_{name}_holds": float(table.holds)}
            by_class = certainty.coverage(conformal, found, "class", repeats=2)
            out[f"{rule}_{name}_lowest_class"] = by_class.coverage[by_class.samples >= 50].min()
        for start, part in zip(STARTS, certainty.coverage(rules["lac"], found, "day_of_year").coverage, strict=True):
            out[f"lac_{name}_day_{start}"] = part
        labels = certainty.coverage(rules["lac"], labelled, repeats=2).iloc[0]
        out[f"lac_{name}_on_labels"] = labels.coverage
    return {k: float(v) for k, v in (out | applicability(trained, sides, tests, study, seed)).items()}


def applicability(trained, sides: dict, tests: dict, study: Study, seed: int) -> dict[str, float]:
    """Share of the rows outside, and accuracy inside and outside; how far the months have moved."""
    loader = trained.loader(sides["validation"], START)
    importance = evaluation.permutation_importance(trained.predict, loader, study.channels, repeats=1, seed=seed)
    legend, scaler = study.legend, trained.scaler
    used = {n: r.pick(legend.classes_of(r.column("label_code")) >= 0) for n, r in {**tests, **sides}.items()}
    x, names = certainty.features(used["train"], study, scaler, START)
    near = certainty.Applicability.fit(x, used["train"].column("block"), certainty.weights_of(importance, names))
    out = {"threshold": near.threshold}
    for name in tests:
        new, _ = certainty.features(used[name], study, scaler, START)
        far = near.dissimilarity(new)
        found = trained.predictions(used[name], START)
        table = certainty.accuracy_by_dissimilarity(far, found, near.threshold, bins=4)
        out |= {f"outside_{name}": (far > near.threshold).mean(), f"dissimilarity_{name}": far.mean()}
        for group in table.index:
            out[f"accuracy_{name}_{group if not group.isdigit() else f'quarter_{group}'}"] = table.loc[
                group, "accuracy"
            ]
        out[f"drift_{name}"] = certainty.drift(x, new, names).abs().mean().mean()
    return out


def main() -> None:
    options = measure.arguments(__doc__, quick=True)
    figures = measure.Figures("certainty")
    table, study = _sample.pixel_table()
    rows = samples.Rows.of(samples.Rows.of(table).read())
    runs = [one(rows, study, seed) for seed in (SEEDS[:1] if options.quick else SEEDS)]
    mean = {name: float(np.nanmean([run[name] for run in runs])) for name in runs[0]}
    spread = {name: float(np.nanmax(v) - np.nanmin(v)) for name in runs[0] if (v := [run[name] for run in runs])}
    for where in ("same_year", "other_year", "other_place", "both"):
        for rule in ("lac", "aps", "by_class"):
            stem = f"{rule}_{where}"
            sides = {k.removeprefix(f"{stem}_"): v for k, v in mean.items() if k.startswith(f"{stem}_")}
            figures.add(f"coverage_of_{stem}", 100 * mean[stem], None, "%", sides | {"spread": spread[stem]})
        sides = {k: v for k, v in mean.items() if k.endswith(f"_{where}") and not k.startswith(("lac", "aps", "by_"))}
        sides |= {k: v for k, v in mean.items() if k.startswith(f"accuracy_{where}_")}
        sides |= {"spread": spread[f"outside_{where}"]}
        figures.add(f"outside_{where}", 100 * mean[f"outside_{where}"], None, "%", sides)
    print({name: f"{value:.3f} ± {spread[name] / 2:.3f}" for name, value in mean.items()})
    figures.finish()


if __name__ == "__main__":
    main()
