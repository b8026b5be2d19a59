"""How often the measured processing offset is wrong, over real and simulated scenes whose true offset is known.

For each ground, set of bands and kind of statement, sequences of scenes are decided by ``arsetlib.ingest.offset``. A
false alarm is a scene whose metadata is right and whose decision is another; a miss is one whose metadata is wrong and
whose decision keeps it. Scenes with at least 30 clear pixels are counted.

Grounds are simulated: crops, bare soil, water beside crops, bright sand (desert), an area of 1 km (400 pixels) and
a sparse sample (60 pixels), with growth, rain on soil, haze, clouds and a sun that moves. Where ``ARSET_REAL`` names
the folder of real files, the cube of Antwerp is tried, and ``ARSET_NRT`` a folder with ``nrt``'s cubes of Romania.

Figures (1 is best):
    right_flags_kept: share of scenes with right metadata whose decision is right: 1 - false alarms.
    double_subtraction_found: share of scenes that state -1000 and hold no offset whose decision is 0.
    forgotten_offset_found: share of scenes that state 0 and hold the offset whose decision is -1000.
    ``…_sand``: the same over bright sand, where no value is dark; ``…_real``: on the real cubes; ``…_other``: where
    doubtful scenes are compared with another processing of the same image; ``…_sand_other``: both.
"""

import os
import sys
import warnings
from collections import defaultdict
from pathlib import Path

import measure
import numpy as np

from arsetlib.ingest import offset
from arsetlib.sentinel2 import BANDS

CHOICES = {
    2: ("red", "nir"),
    3: ("green", "red", "nir"),
    4: ("blue", "red", "nir", "swir22"),
    9: ("blue", "green", "red", "rededge1", "rededge2", "rededge3", "nir", "swir16", "swir22"),
    12: tuple(BANDS),
}
ALL = tuple(BANDS)
# Reflectance x 10,000 in the order of BANDS.
SPECTRA = {
    "leaf": (180, 250, 550, 280, 950, 3200, 4200, 4400, 4600, 4700, 2000, 950),
    "dry soil": (760, 1040, 1450, 1930, 2300, 2420, 2640, 2840, 3000, 3160, 4300, 4150),
    "dark soil": (420, 550, 760, 1000, 1180, 1360, 1500, 1640, 1740, 1860, 2800, 2600),
    "water": (500, 600, 800, 600, 580, 430, 430, 380, 330, 290, 140, 100),
    "sand": (1500, 1900, 2700, 3500, 3800, 4000, 4150, 4300, 4400, 4500, 5400, 5000),
}
HAZE = np.array((1.2, 1.0, 0.85, 0.75, 0.65, 0.5, 0.45, 0.4, 0.4, 0.4, 0.2, 0.12))
WET = np.array((0.38, 0.40, 0.41, 0.42, 0.42, 0.42, 0.42, 0.42, 0.42, 0.44, 0.52, 0.58))
GROUNDS = ("crops", "soil", "water", "sand", "small", "sparse")


def simulate(ground: str, scenes: int, rng):
    """(S,) days, (S, N, 12) true reflectance x 10,000, (S, N) scene classes."""
    pixels = {"small": 400, "sparse": 60}.get(ground, 1200)
    day = np.sort(rng.choice(np.arange(0, 365, 5), scenes, replace=False))
    soil = _between("dark soil", "dry soil", rng.random((pixels, 1)) ** 2)
    if ground == "sand":
        soil = np.array(SPECTRA["sand"]) * rng.normal(1, 0.12, (pixels, 1)).clip(0.7, 1.4)
    peak, width = rng.normal(190, 25, pixels), rng.uniform(35, 60, pixels)
    reach = {"soil": 0.25, "sand": 0.0}.get(ground, 1.0) * rng.uniform(0.6, 1, pixels)
    water = (rng.random(pixels) < {"water": 0.4, "crops": 0.02}.get(ground, 0)) & (ground != "sand")
    values, classes = np.empty((scenes, pixels, 12)), np.empty((scenes, pixels), np.uint8)
    for i, d in enumerate(day):
        cover = (reach * np.exp(-(((d - peak) / width) ** 2)))[:, None]
        moist = rng.beta(0.6, 1.8) * (0.25 if ground == "sand" else 1)
        seen = soil * (1 - moist * WET) * (1 - cover) + np.array(SPECTRA["leaf"]) * cover * rng.normal(1, 0.06)
        seen[water] = np.array(SPECTRA["water"]) * rng.lognormal(0, 0.15)
        low_sun = 1 - 0.12 * abs(np.cos(np.pi * d / 365)) * rng.random()
        seen = seen * low_sun * rng.normal(1, 0.03, (pixels, 1)) + rng.gamma(0.7, 130) * HAZE
        seen += rng.normal(0, 40, seen.shape)
        ndvi = (seen[:, 7] - seen[:, 3]) / (seen[:, 7] + seen[:, 3])
        classes[i] = np.where(water, 6, np.where(ndvi > 0.45, 4, 5))
        cloudy = np.convolve(rng.random(pixels) < 0.02, np.ones(25), "same") > 0
        part = rng.random() < 0.35
        cover = rng.beta(0.8, 0.8) if part else 0
        hidden = rng.random(pixels) < cover if part else cloudy & (rng.random() < 0.5)
        seen[hidden] = seen[hidden] * 0.4 + rng.uniform(2000, 6000)
        classes[i][hidden & (rng.random(pixels) < 0.97)] = 9  # some cloud is not noticed
        values[i] = np.clip(seen, -200, 20_000)
    return day, values, classes


def _between(a, b, share):
    return np.array(SPECTRA[a]) + share * (np.array(SPECTRA[b]) - np.array(SPECTRA[a]))


def statements(scenes: int, rng) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Kind → (offset truly in the values, offset stated), both (S,) bool."""
    none, every = np.zeros(scenes, bool), np.ones(scenes, bool)
    mixed, period, one = none.copy(), none.copy(), none.copy()
    mixed[scenes // 2 :] = True
    period[scenes // 3 : 2 * scenes // 3] = True
    one[rng.integers(1, scenes - 1)] = True
    return {
        "right, no offset": (none, none),
        "right, offset": (every, every),
        "right, both kinds": (mixed, mixed),
        "one scene forgotten": (one, none),
        "one scene twice": (~one, every),
        "period forgotten": (period, none),
        "period twice": (~period, every),
        "all forgotten": (every, none),
        "all twice": (none, every),
    }


def try_one(day, values, classes, bands, truth, stated, every, rng=None) -> list[tuple[bool, bool, bool, bool]]:
    """For each scene that shows something: truly in, stated, decided, cannot tell.

    With ``rng``, doubtful scenes are compared with another processing, which has the offset and states so.
    """
    columns = [every.index(b) for b in bands]
    dn = values[:, :, columns] + 1000 * truth[:, None, None]
    dn = np.where(values[:, :, columns] == -9999, 0, np.clip(np.rint(dn), 1, 65_535)).astype(np.int32)
    samples = [
        offset.Sample(f"{i:03d}", int(day[i]), "here", dn[i], classes[i], -1000 * int(stated[i]))
        for i in range(len(day))
    ]
    clear = [(np.isin(s.scl, offset.CLEAR) & (s.dn != 0).all(1)).sum() >= offset.MIN_PIXELS for s in samples]
    found = offset.decide(samples, bands)
    if rng is not None:
        others = [reprocessed(samples[i], truth[i], rng) for i in offset.doubtful(samples, found)]
        found = offset.decide([*samples, *others], bands)[: len(samples)]
    return [
        (bool(truth[i]), bool(stated[i]), d.decided != 0, d.answer == "cannot tell")
        for i, d in enumerate(found)
        if clear[i]
    ]


def reprocessed(sample, truth, rng):
    """The same image from another processing: each band changed a little by another correction for the atmosphere."""
    true = sample.dn - 1000.0 * truth
    bands = sample.dn.shape[1]
    other = true * rng.normal(1, 0.02, bands) + rng.normal(0, 50, bands) + rng.normal(0, 20, true.shape) + 1000
    dn = np.where(sample.dn == 0, 0, np.clip(np.rint(other), 1, 65_535)).astype(np.int32)
    return offset.Sample(f"{sample.id}-other", sample.day, "here", dn, sample.scl, -1000, 0.001, sample.id)


class Table:
    """Scenes counted by what is true, stated and decided."""

    def __init__(self):
        self.rows = defaultdict(list)

    def add(self, ground, bands, kind, outcomes):
        self.rows[ground, len(bands), kind] += outcomes

    def of(self, ground=None, kinds=None, bands=None):
        return [
            o for (g, n, k), found in self.rows.items()
            if (ground is None or g in ground) and (kinds is None or k in kinds) and (bands is None or n in bands)
            for o in found
        ]  # fmt: skip

    def show(self):
        print(
            f"{'ground':>11} {'bands':>5} | {'right':>6} {'false alarms':>12} | twice: wrong, missed | "
            "forgotten: wrong, missed | cannot tell"
        )
        for ground in dict.fromkeys(g for g, _, _ in self.rows):
            for n in dict.fromkeys(n for g, n, _ in self.rows if g == ground):
                found = self.of((ground,), bands=(n,))
                right = [o for o in found if o[0] == o[1]]
                twice = [o for o in found if o[1] and not o[0]]
                forgot = [o for o in found if o[0] and not o[1]]
                alarms, missed, kept = (sum(o[2] != o[0] for o in part) for part in (right, twice, forgot))
                unknown = sum(o[3] for o in found) / len(found)
                print(
                    f"{ground:>11} {n:>5} | {len(right):>6} {alarms:>12} | {len(twice):>12} {missed:>7} | "
                    f"{len(forgot):>16} {kept:>7} | {unknown:>10.0%}"
                )


def real_cubes() -> dict[str, tuple]:
    """Name → days, values (S, N, C), classes, bands of the real cubes that are there."""
    found = {}
    files = []
    if os.environ.get("ARSET_REAL"):
        names = {"blue": "S2-L2A-B02", "green": "S2-L2A-B03", "red": "S2-L2A-B04", "nir": "S2-L2A-B08"}
        path = Path(os.environ["ARSET_REAL"]) / "s2_l2a_scl_19dates_antwerp2023.nc"
        files.append(("antwerp", path, names, "S2-L2A-SCL", "t"))
    if os.environ.get("ARSET_NRT"):
        folder = Path(os.environ["ARSET_NRT"])
        ten = {"blue": "B2", "green": "B3", "red": "B4", "nir": "B8"}
        twenty = {"green": "B3", "red": "B4", "nir08": "B8A", "swir16": "B11"}
        files.append(("romania 10m", folder / "sentinel2_cube_subset_romania_10m.nc", ten, "SCL", "time"))
        files.append(("romania 20m", folder / "sentinel2_cube_subset_romania_20m.nc", twenty, "SCL", "time"))
    for name, path, names, scl, time in files:
        import xarray

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            cube = xarray.open_dataset(path).load()
        stack = np.stack([np.nan_to_num(cube[n].values.astype(float), nan=-9999) for n in names.values()], -1)
        days = cube[time].values.astype("datetime64[D]").astype(int)
        classes = np.nan_to_num(cube[scl].values).astype(np.uint8).reshape(len(days), -1)
        stack = np.where(stack > 0, stack, -9999).reshape(len(days), -1, len(names))
        keep = np.random.default_rng(0).permutation(stack.shape[1])[:1500]
        found[name] = days, stack[:, keep], classes[:, keep], tuple(names)
    return found


def main() -> None:
    options = measure.arguments(__doc__, quick=True)
    rounds = 1 if options.quick else 6
    table = Table()
    for turn in range(rounds):
        for number, ground in enumerate(GROUNDS):
            rng = np.random.default_rng([turn, number])
            day, values, classes = simulate(ground, 30, rng)
            for kind, (truth, stated) in statements(30, rng).items():
                for bands in CHOICES.values():
                    table.add(ground, bands, kind, try_one(day, values, classes, bands, truth, stated, ALL))
                    compared = try_one(day, values, classes, bands, truth, stated, ALL, rng)
                    table.add(f"{ground} other", bands, kind, compared)
    for name, (day, values, classes, every) in real_cubes().items():
        rng = np.random.default_rng(0)
        for kind, (truth, stated) in statements(len(day), rng).items():
            for bands in (every, every[1:], every[2:]):
                table.add(name, bands, kind, try_one(day, values, classes, bands, truth, stated, every))
    table.show()
    figures = measure.Figures("offset")
    real = tuple(dict.fromkeys(g for g, _, _ in table.rows if g.removesuffix(" other") not in GROUNDS))
    plain = tuple(g for g in GROUNDS if g != "sand")
    for suffix, ground, goals in (
        ("", plain, (0.99, 0.99, None)),
        ("_sand", ("sand",), (0.99, None, None)),
        ("_other", tuple(f"{g} other" for g in plain), (0.99, 0.99, None)),
        ("_sand_other", ("sand other",), (0.99, 0.99, 0.99)),
        ("_real", real, (0.99, 0.95, None)),
    ):
        if not ground:
            continue
        found = table.of(ground)
        right = [o[2] == o[0] for o in found if o[0] == o[1]]
        twice = [not o[2] for o in found if o[1] and not o[0]]
        forgot = [o[2] for o in found if o[0] and not o[1]]
        for name, hits, goal in zip(
            ("right_flags_kept", "double_subtraction_found", "forgotten_offset_found"), (right, twice, forgot), goals,
            strict=True,
        ):  # fmt: skip
            sides = {"scenes": len(hits), "wrong": len(hits) - sum(hits)}
            figures.add(name + suffix, sum(hits) / len(hits), goal=goal, unit="share", sides=sides)
    figures.finish()


if __name__ == "__main__":
    sys.exit(main())
