"""How often an interval for a crop's area holds the true area, in the simulated delta, where the truth is known.

Five landscapes, each with a map by a random forest from sixteen dates, where clouds are filled with the date before;
the forest learns in the western quarter. Of each map 500 samples of 400 pixels are drawn and labelled with the truth;
an interval of 95 % should hold the true area in 95 of 100 samples. Counted is each class in each sample; a class is
left out where the truth has none of it.

Figures:
    coverage_*: % of intervals that hold the true area, all classes, all landscapes. ``stratified``: proportional, at
        least 30 a class, ``evaluation.survey_areas``; ``normal``: the same samples, the paper's normal intervals;
        ``equal``: the same number in each class; ``random``: simple random, the map's classes as strata afterwards;
        ``powered`` and ``powered_random``: with the probabilities beside; ``counted``: the map's pixels counted, with
        an interval as wide as that of ``stratified``; ``small`` and ``small_normal``: samples of 100 pixels, at least
        8 a class, with either interval; ``noise_*``: ``stratified``, with so many % of the labels wrong.
    lowest_*: the same for the class and landscape where it is lowest.
    narrower_powered: width of the intervals from labels alone, over that with the probabilities, simple random samples.
"""

import measure
import numpy as np

from arsetlib import evaluation as ev
from arsetlib import seeds
from arsetlib.sentinel2 import BANDS
from arsetlib.simulate import landscape, sky
from arsetlib.simulate.delta import observe
from arsetlib.study import Study

YEAR = 2021
LANDSCAPES, SCALE = (1, 2, 3, 4, 5), 1.0
REPEATS, SIZE, LEAST = 500, 400, 30
SMALL, SMALL_LEAST = 100, 8
DATES, FROM, TO = 16, 60, 310  # of the images, days of the year
NOISE = (5, 10, 20)  # % of the labels
HOLD = ("stratified", "small", "equal", "random", "powered", "powered_random")  # intervals that should cover 95 %
CLOUD = (3, 8, 9, 10)  # scene classes
FEWEST = 100  # pixels of a mapped class; smaller ones are no part of the map


def made_map(seed: int, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Truth (N,) and probabilities (N, K) of the pixels of a landscape, one every 30 m, without those of training."""
    from sklearn.ensemble import RandomForestClassifier

    legend, ground = Study.load("sample").legend, landscape.build(seed, scale)
    codes = np.abs(ground.codes(seed, YEAR)).astype(np.int64)
    truth = legend.classes_of(codes)[ground.unit[1::3, 1::3]]
    passes = [p for p in sky.overpasses(seed, [YEAR]) if FROM <= p.day <= TO]
    features, before = [], {}
    for at in np.linspace(0, len(passes) - 1, DATES).round().astype(int):
        images, scl = observe(seed, scale, passes[at])
        hidden = np.isin(scl, CLOUD).repeat(2, 0).repeat(2, 1)
        for name in ("red", "nir", "swir16"):
            image = images[list(BANDS).index(name)]
            image = image if image.shape == hidden.shape else image.repeat(2, 0).repeat(2, 1)
            unseen = hidden | (image == 0)
            before[name] = np.where(unseen, before.get(name, 0), image)
            features.append(before[name][1::3, 1::3])
    x = np.stack(features, axis=-1)
    west = np.arange(truth.shape[1]) < truth.shape[1] // 4
    known = truth >= 0
    learn = known & west & (seeds.generator(seed, "training").random(truth.shape) < 0.25)
    forest = RandomForestClassifier(60, min_samples_leaf=3, random_state=seed, n_jobs=-1).fit(x[learn], truth[learn])
    rest = known & ~west
    probability = np.zeros((rest.sum(), len(legend.classes)))
    probability[:, forest.classes_] = forest.predict_proba(x[rest])
    mapped = probability.argmax(1)
    large = np.bincount(mapped, minlength=len(legend.classes))[mapped] >= FEWEST
    return truth[rest][large].astype(np.int64), probability[large]


def drawn(random: np.random.Generator, members: list[np.ndarray], numbers: np.ndarray) -> np.ndarray:
    return np.concatenate(
        [random.choice(m, n, replace=False, shuffle=False) for m, n in zip(members, numbers, strict=True) if n]
    )


class Trials:
    """Repeated samples of one map."""

    def __init__(self, seed: int, scale: float):
        self.truth, self.probability = made_map(seed, scale)
        self.classes = self.probability.shape[1]
        self.mapped = self.probability.argmax(1)
        self.sizes = np.bincount(self.mapped, minlength=self.classes)
        self.share = np.bincount(self.truth, minlength=self.classes) / len(self.truth)
        self.members = [np.flatnonzero(self.mapped == k) for k in range(self.classes)]
        self.moments = ev.ProbabilitySums.of(self.probability, self.mapped, self.classes)
        self.whole = ev.ProbabilitySums.of(self.probability, np.zeros(len(self.truth), int), 1)
        self.keys = [str(k) for k in range(self.classes)]
        self.random = seeds.generator(seed, "samples of a map")
        self.ends: dict[str, list[np.ndarray]] = {}

    def note(self, name: str, low, high) -> None:
        self.ends.setdefault(name, []).append(np.stack([np.asarray(low), np.asarray(high)]))

    def estimate(self, name: str, rows: np.ndarray, labels: np.ndarray):
        counts = np.zeros((self.classes,) * 3, np.int64)
        np.add.at(counts, (self.mapped[rows], labels, self.mapped[rows]), 1)
        table = ev.survey_areas(counts, self.sizes, self.sizes, self.keys, unit="pixels").table
        self.note(name, table["share_low"], table["share_high"])
        return counts, table

    def normal(self, name: str, counts: np.ndarray) -> None:
        plain = ev.stratified_areas(ev.Confusion.from_counts(counts.sum(0)), self.sizes).table
        self.note(name, plain["share_low"], plain["share_high"])

    def once(self) -> None:
        there = self.sizes > 0
        rows = drawn(self.random, self.members, ev.allocation("proportional", SIZE, self.sizes, least=LEAST))
        labels = self.truth[rows]
        counts, table = self.estimate("stratified", rows, labels)
        half = (table["share_high"] - table["share_low"]) / 2
        count = self.sizes / self.sizes.sum()
        self.note("counted", count - half, count + half)
        self.normal("normal", counts)
        best = ev.powered_areas(labels, self.probability[rows], self.mapped[rows], self.moments, self.keys)
        self.note("powered", best["share_low"], best["share_high"])
        for percent in NOISE:
            other = (labels + self.random.integers(1, self.classes, len(labels))) % self.classes
            wrong = self.random.random(len(labels)) < percent / 100
            self.estimate(f"noise_{percent}", rows, np.where(wrong, other, labels))
        few = drawn(self.random, self.members, ev.allocation("proportional", SMALL, self.sizes, least=SMALL_LEAST))
        counts, _ = self.estimate("small", few, self.truth[few])
        self.normal("small_normal", counts)
        rows = drawn(self.random, self.members, ev.allocation("equal", SIZE, self.sizes))
        self.estimate("equal", rows, self.truth[rows])
        rows = self.random.choice(len(self.truth), SIZE, replace=False)
        if (np.bincount(self.mapped[rows], minlength=self.classes)[there] >= 2).all():
            self.estimate("random", rows, self.truth[rows])
        else:
            counts = np.zeros((1, self.classes, self.classes), np.int64)
            np.add.at(counts, (0, self.truth[rows], self.mapped[rows]), 1)
            table = ev.survey_areas(counts, [len(self.truth)], self.sizes, self.keys, unit="pixels").table
            self.note("random", table["share_low"], table["share_high"])
        best = ev.powered_areas(self.truth[rows], self.probability[rows], np.zeros(SIZE, int), self.whole, self.keys)
        self.note("powered_random", best["share_low"], best["share_high"])
        rows_of = self.truth[rows]
        alone = np.bincount(rows_of, minlength=self.classes) / SIZE
        low, high = ev.limits(alone, np.sqrt(alone * (1 - alone) / (SIZE - 1)), 1 / SIZE)
        self.note("labels_alone", low, high)

    def held(self, name: str) -> np.ndarray:
        """(classes that there are,) share of the intervals that hold the truth."""
        low, high = np.stack(self.ends[name], axis=1)
        return ((low <= self.share) & (self.share <= high)).mean(0)[self.share > 0]

    def width(self, name: str) -> float:
        low, high = np.stack(self.ends[name], axis=1)
        return float((high - low)[:, self.share > 0].mean())


def main() -> None:
    options = measure.arguments(__doc__, quick=True)
    landscapes = LANDSCAPES[:1] if options.quick else LANDSCAPES
    trials = {}
    for seed in landscapes:
        trials[seed] = Trials(seed, SCALE)
        for _ in range(REPEATS):
            trials[seed].once()
    figures = measure.Figures("areas")
    for name in trials[landscapes[0]].ends:
        held = {seed: 100 * one.held(name) for seed, one in trials.items()}
        sides = {f"landscape {seed}": float(np.mean(v)) for seed, v in held.items()}
        sides |= {"width of an interval, % of the map": 100 * float(np.mean([t.width(name) for t in trials.values()]))}
        goal = 95 if name in HOLD else None
        figures.add(f"coverage_{name}", float(np.mean(np.concatenate([*held.values()]))), goal, "%", sides)
        figures.add(f"lowest_{name}", float(min(v.min() for v in held.values())), None, "%")
    width = {n: float(np.mean([t.width(n) for t in trials.values()])) for n in ("labels_alone", "powered_random")}
    figures.add("narrower_powered", width["labels_alone"] / width["powered_random"], None, "x", width)
    right = {f"landscape {s}": float((t.mapped == t.truth).mean()) for s, t in trials.items()}
    figures.add("accuracy_of_the_maps", 100 * float(np.mean([*right.values()])), None, "%", right)
    figures.finish()


if __name__ == "__main__":
    main()
