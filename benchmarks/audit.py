"""Wrong labels: what an audit finds, what cleaning is worth on true and on noisy labels, and rows a second.

On the simulated sample (sparse pixels of seven boxes and one dense box, 4,932 in a year), where the truth is known.
Labels of 2021 are set to the truth and then made wrong: 5, 10 or 20 % of them, at random, at edges, or one crop for
another. Each of five seeds draws other noise, folds and forests. The audit is that of the library with forests of 30
trees; both voters are forests that differ in seed and folds, because boosting would take most of the time.

What cleaning is worth: a forest trained on the noisy labels of the training blocks, against one trained without the
labels that two of three ways call wrong, both tested on the test blocks of 2019. The gain on the true labels is
real. The gain on labels with the same noise is what would be seen without the truth.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import time

import _sample
import measure
import numpy as np
import pyarrow as pa
import rasterio

from arsetlib import audit, models, samples
from arsetlib.audit.noise import KINDS
from arsetlib.study import Study

START, FOLDS, TREES = 120, 4, 30
RATES, SEEDS = (0.05, 0.1, 0.2), (0, 1, 2, 3, 4)
ROWS = 10_000_000  # of the made-up probabilities


def true_table(year: int) -> tuple[pa.Table, Study]:
    """The sample's rows of a year with the true label codes."""
    table, study = _sample.pixel_table()
    rows = samples.Rows.of(table)
    whole = rows.pick(rows.column("year") == year).read()
    with rasterio.open(_sample.DELTA / f"truth_{year}.tif") as source:
        places = np.stack([whole["x"].to_numpy(), whole["y"].to_numpy()], 1)
        code = np.array([v[0] for v in source.sample(places)], np.int16)
    return with_codes(whole, code), study


def with_codes(table: pa.Table, code: np.ndarray) -> pa.Table:
    place = table.schema.get_field_index("label_code")
    return table.set_column(place, table.schema.field(place), pa.array(code, pa.int16()))


class Windows:
    """Windows of a table that stay the same whatever its labels: only these change from run to run."""

    def __init__(self, table: pa.Table, study: Study, scaler: samples.Scaler):
        self.table, self.study, self.scaler = table, study, scaler
        rows = samples.Rows.of(table)
        rows = rows.pick(study.legend.classes_of(rows.column("label_code")) >= 0)
        loader = samples.Loader(
            rows, study, scaler, batch=8192, start=START, shuffle=False, extras=("seen", "day_of_year")
        )
        parts = list(loader.arrays())
        self.index = rows.index
        self.x = {name: np.concatenate([x[name] for x, _ in parts]) for name in parts[0][0]}
        self.visible = np.concatenate([y.argmax(1) for _, y in parts]) == study.legend.classes_of(self.codes(table))
        filled = samples.Loader(rows, study, scaler, batch=8192, start=START, shuffle=False, fill="linear")
        self.series = np.concatenate([x.reshape(len(x), -1) for x, _ in filled.arrays()])
        self.block = table["block"].to_numpy()[self.index]
        self.year = table["year"].to_numpy()[self.index]

    def codes(self, table: pa.Table) -> np.ndarray:
        return table["label_code"].to_numpy()[self.index]

    def labels(self, table: pa.Table) -> np.ndarray:
        """Classes: the label's, or 'No Crops Growing' where the window does not show it, as the loader has it."""
        label = self.study.legend.classes_of(self.codes(table))
        return np.where(self.visible, label, self.study.legend.keys.index("no_crops_growing"))

    def forest(self, rows: np.ndarray, label: np.ndarray, seed: int) -> models.Baseline:
        season, classes = self.study.season, len(self.study.legend.classes)
        sizes = {"steps": season.steps, "bands": len(self.study.channels), "classes": classes}
        model = models.build("random_forest", **sizes, seed=seed, trees=TREES)
        return model.fit([(self.part(rows), np.eye(classes, dtype=np.float32)[label[rows]])])

    def part(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        return {name: values[rows] for name, values in self.x.items()}


def out_of_fold(data: Windows, label: np.ndarray, seed: int) -> np.ndarray:
    """(N, K) as ``audit.out_of_fold`` gives them."""
    out = np.zeros((len(label), len(data.study.legend.classes)), np.float32)
    for fold in samples.kfold(samples.Rows(data.table, data.index), FOLDS, seed):
        train, test = (np.searchsorted(data.index, fold[side].index) for side in ("train", "test"))
        out[test] = data.forest(train, label, seed).predict(data.part(test))
    return out


def one(data: Windows, later: Windows, table: pa.Table, rate: float, kind: str, seed: int, som: audit.Som) -> dict:
    """One noise: what is found by each way, and what cleaning is worth."""
    noisy = audit.spoiled(table, data.study, rate, kind, seed=seed)
    truth, label = data.labels(table), data.labels(noisy)
    judged, wrong = data.visible, (label != truth)[data.visible]
    parts = [out_of_fold(data, label, seed + 100 * i) for i in range(2)]
    own = label[judged]
    ways = {
        "confident": audit.confident(own, (parts[0] + parts[1])[judged] / 2).wrong,
        "votes": audit.votes(own, [p[judged] for p in parts]).unanimous,
        "som": audit.judge(som.neurons(data.series[judged]), own, som.side, parts[0].shape[1]).verdict == 2,
    }
    found_by = sum(w.astype(int) for w in ways.values())
    ways |= {"two_of_three": found_by >= 2, "three_of_three": found_by >= 3}
    scores = {}
    for name, mask in ways.items():
        found = audit.Found.of(mask, wrong)
        scores |= {f"{name}_precision": found.precision, f"{name}_recall": found.recall}
    suspicious = np.zeros(len(label), bool)
    suspicious[np.flatnonzero(judged)[found_by >= 2]] = True
    sides = samples.split(samples.Rows.of(table), data.study, by="block")
    train = np.isin(data.block, np.unique(sides["train"].column("block")))
    test = np.isin(later.block, np.unique(sides["test"].column("block"))) & later.visible
    true_test = later.labels(later.table)[test]
    noisy_test = later.labels(audit.spoiled(later.table, data.study, rate, kind, seed=seed + 50))[test]
    for name, rows in {"noisy": train, "cleaned": train & ~suspicious, "perfect": train & (label == truth)}.items():
        said = data.forest(np.flatnonzero(rows), label, seed).predict(later.part(np.flatnonzero(test))).argmax(1)
        scores |= {f"{name}_on_true": (said == true_test).mean(), f"{name}_on_noisy": (said == noisy_test).mean()}
    scores["gain_on_true"] = scores["cleaned_on_true"] - scores["noisy_on_true"]
    scores["gain_on_noisy"] = scores["cleaned_on_noisy"] - scores["noisy_on_noisy"]
    return {name: float(value) for name, value in scores.items()}


def main() -> None:
    options = measure.arguments(__doc__, quick=True)
    figures = measure.Figures("audit")
    table, study = true_table(2021)
    after, _ = true_table(2019)
    scaler = samples.Scaler.fit(samples.Rows.of(table), study)
    data, later = (Windows(t, study, scaler) for t in (table, after))
    seeds = SEEDS[:1] if options.quick else SEEDS
    maps = {seed: audit.Som.fit(data.series[data.visible], seed=seed) for seed in seeds}
    for kind in KINDS:
        for rate in RATES[1:2] if options.quick else RATES:
            runs = []
            for seed in seeds:
                try:
                    runs.append(one(data, later, table, rate, kind, seed, maps[seed]))
                except audit.AuditError as reason:
                    print(f"{kind} {rate:.0%}: {reason}", flush=True)
            if not runs:
                continue
            mean = {name: float(np.mean([run[name] for run in runs])) for name in runs[0]}
            spread = {f"{name}_spread": float(np.ptp([run[name] for run in runs])) for name in runs[0]}
            stem = f"{kind}_{round(100 * rate)}"
            for way in ("confident", "som", "votes", "two_of_three", "three_of_three"):
                sides = {n: v for n, v in (mean | spread).items() if n.startswith(f"{way}_")}
                f1 = 2 / (1 / mean[f"{way}_precision"] + 1 / mean[f"{way}_recall"])
                figures.add(f"f1_of_{way}_at_{stem}", f1, None, "", sides)
            for where in ("true", "noisy"):
                sides = {n: v for n, v in (mean | spread).items() if f"on_{where}" in n}
                figures.add(f"gain_on_{where}_at_{stem}", 100 * mean[f"gain_on_{where}"], None, "points", sides)
            print({name: round(value, 3) for name, value in mean.items()}, flush=True)
    rates(figures, options.quick)
    figures.finish()


def rates(figures: measure.Figures, quick: bool) -> None:
    """Rows a second of confident learning, beside cleanlab's where it is installed, with the same labels found."""
    random = np.random.default_rng(0)
    count, classes = (ROWS // 10 if quick else ROWS), 7
    logits = random.standard_normal((count, classes), np.float32)
    label = random.integers(0, classes, count)
    logits[np.arange(count), np.where(random.random(count) < 0.9, label, (label + 1) % classes)] += 3
    probability = np.exp(logits)
    probability /= probability.sum(1, keepdims=True)
    began = time.perf_counter()
    found = audit.confident(label, probability)
    ours = time.perf_counter() - began
    sides = {"rows": count, "seconds": ours}
    try:
        from cleanlab.count import compute_confident_joint
    except ImportError:
        figures.add("confident_rows_per_second", count / ours, 1e6, "rows/s", sides)
        return
    began = time.perf_counter()
    _, theirs = compute_confident_joint(label, probability, calibrate=False, return_indices_of_off_diagonals=True)
    seconds = time.perf_counter() - began
    wrong = np.zeros(count, bool)
    wrong[theirs] = True
    agree = float((wrong == found.wrong).mean())
    figures.add("confident_rows_per_second", count / ours, 1e6, "rows/s", sides | {"cleanlab_seconds": seconds})
    figures.add("confident_agrees_with_cleanlab", agree, 0.999, "share", {"rows": count})


if __name__ == "__main__":
    main()
