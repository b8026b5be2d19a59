"""Whether the values of a scene still hold the processing offset: measured, scene by scene, not believed.

From processing baseline 04.00 on, ESA adds 1000 to every value. Some services take it off again, and say so with a
flag that is wrong for some periods. Subtracting 1000 twice, or never, leaves values that look possible. So the values
are asked, with three kinds of evidence:

- **Dark pixels.** With 1000 in them, values of land hardly fall under 750, and those of water neither. Where they do,
  the offset is not there. This is nearly certain.
- **Vegetation that is too bright.** Healthy plants reflect under 10 % of some visible light. Where no pixel of
  vegetation does, the offset may be there; haze and thin crops on bright soil look alike, so this counts for little.
- **The same ground on other dates.** The offset moves all bands by the same 1000. Haze, rain, growth and harvest move
  bands by different amounts. So the difference of two scenes, band by band, tells whether one has the offset and the
  other has not, over bright sand too. This needs several bands.

Each kind gives a log-likelihood ratio. A prior says that metadata is mostly right, that a wrong flag tends to last for
several scenes, and that products older than baseline 04.00 have no offset. All scenes are decided together: the pairs
that tell most link them to a tree, on which sum-product is exact (Pearl 1988). Where the values do not decide, the
answer is "cannot tell", and what the metadata states is used.

benchmarks/offset.py measures false alarms and misses.

Lab: part1_build_dataset.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from arsetlib.sentinel2 import VEGETATION

OFFSET = -1000
MODES = ("measure", "state", "refuse")
ANSWERS = ("confirmed", "corrected", "contradicted", "cannot tell")
SURE = 3.0  # log-odds from which on the values decide: 95 %
WRONG = 0.1  # share of scenes whose flag is taken to be wrong before the values are seen
TURNS = 0.02  # chance that flags turn from right to wrong, or back, between two linked scenes
REPEATED = 4  # so many scenes of bright vegetation count in full
MIN_PIXELS = 30  # fewer prove little
FEW = 10  # fewer prove nothing
NEIGHBOURS = 8  # earlier scenes with which a scene is compared
REACH = 90  # days between two scenes that are compared
DARK = 750  # DN under which hardly any value lies while 1000 is in it
CLEAR = (2, 3, 4, 5, 6)  # scene classes in which darkness means something: shadow, plants, soil, water
COMPARED = (4, 5, 6)  # those whose values can be compared between dates
VISIBLE = ("coastal", "blue", "green", "red")
INFRARED = ("rededge2", "rededge3", "nir", "nir08", "nir09", "swir16", "swir22")
HAZE = 300  # DN of swir22 above blue over vegetation; less under thin cloud

# How much each band changes when haze, greenness or a shadow does, relative to the band that changes most.
_HAZE = {
    "coastal": 1.2, "blue": 1.0, "green": 0.85, "red": 0.75, "rededge1": 0.65, "rededge2": 0.5, "rededge3": 0.45,
    "nir": 0.4, "nir08": 0.4, "nir09": 0.4, "swir16": 0.2, "swir22": 0.12,
}  # fmt: skip
_GREEN = {
    "coastal": -0.05, "blue": -0.1, "green": -0.1, "red": -0.35, "rededge1": -0.25, "rededge2": 0.5, "rededge3": 0.85,
    "nir": 1.0, "nir08": 1.0, "nir09": 1.0, "swir16": -0.4, "swir22": -0.5,
}  # fmt: skip
_WET = {
    "coastal": 0.1, "blue": 0.15, "green": 0.2, "red": 0.35, "rededge1": 0.35, "rededge2": 0.3, "rededge3": 0.3,
    "nir": 0.3, "nir08": 0.3, "nir09": 0.3, "swir16": 1.0, "swir22": 0.9,
}  # fmt: skip
_HAZE_SD, _GREEN_SD, _WET_SD, _GAIN_SD, _DEGREES = 250.0, 900.0, 700.0, 0.25, 4.0
# Kinds of change: how common, how strong, DN and share of the level that each band has of its own.
_KINDS = ((0.6, 0.3, 40.0, 0.02), (0.35, 1.0, 100.0, 0.06), (0.05, 4.0, 400.0, 0.2))
WITNESSES = 4  # so many bands count in full
ENOUGH = 4.0  # log-likelihood from which on a pair tells as much as any


@dataclass(frozen=True)
class Sample:
    """Some pixels of one scene, the same places in all scenes of a group.

    Attributes:
        id: Of the scene.
        day: Days since 1970-01-01.
        group: Samples of one group show the same N places.
        dn: (N, C) as stored, 0 is no data.
        scl: (N,) scene classes.
        stated: Offset that the metadata states, 0 or -1000.
        wrong: How likely that is to be wrong before the values are seen, 0-1.
    """

    id: str
    day: int
    group: str
    dn: np.ndarray
    scl: np.ndarray
    stated: int
    wrong: float = WRONG


@dataclass(frozen=True)
class Decision:
    """What was found for one scene.

    Attributes:
        stated: Offset that the metadata states.
        measured: Offset that the values show, or None where they do not tell.
        decided: Offset that is used.
        answer: One of ``ANSWERS``.
        log_odds: Of the offset being in the values, prior included; positive: it is.
        evidence: In words, what decided.
    """

    stated: int
    measured: int | None
    decided: int
    answer: str
    log_odds: float
    evidence: str

    def as_dict(self) -> dict:
        return asdict(self)


def decide(samples: Sequence[Sample], bands: Sequence[str], mode: str = "measure") -> list[Decision]:
    """Decide for each scene whether its values hold the offset, from all scenes together.

    Args:
        samples: Of all scenes.
        bands: The C band names.
        mode: ``measure``: what the values show, else what is stated; ``state``: what is stated; ``refuse``: what is
            stated, and the answer ``contradicted`` where the values show another.

    Returns:
        One decision per sample, in their order.

    Lab: part1_build_dataset.
    """
    bands = tuple(bands)
    decisions: dict[int, Decision] = {}
    groups: dict[str, list[int]] = {}
    for i, sample in enumerate(samples):
        groups.setdefault(sample.group, []).append(i)
    for members in groups.values():
        members = sorted(members, key=lambda i: (samples[i].day, samples[i].id))
        of_group = [samples[i] for i in members]
        for i, decision in zip(members, _decide_group(of_group, bands, mode), strict=True):
            decisions[i] = decision
    return [decisions[i] for i in range(len(samples))]


def _decide_group(samples: list[Sample], bands: tuple[str, ...], mode: str) -> list[Decision]:
    seen = [_alone(s, bands) for s in samples]
    alone = np.array([llr for llr, _ in seen])
    links, trees = _forest(_pairs(samples, bands), len(samples))
    for tree in set(trees):
        bright = (alone > 0) & (trees == tree)
        if bright.sum() > REPEATED:  # the same bright ground on many dates is not new evidence each time
            alone[bright] *= REPEATED / bright.sum()
    odds = _sum_product(samples, alone, links)
    told = alone != 0
    for pair in links:
        told[[pair.i, pair.j]] |= pair.tells > 1
    found = []
    for i, sample in enumerate(samples):
        measured = None
        if abs(odds[i]) >= SURE and told[i]:
            measured = OFFSET if odds[i] > 0 else 0
        answer = "cannot tell" if measured is None else "confirmed"
        decided = sample.stated
        if measured is not None and measured != sample.stated:
            answer = "corrected" if mode == "measure" else "contradicted"
            decided = measured if mode == "measure" else sample.stated
        found.append(
            Decision(
                sample.stated, measured, decided, answer, round(float(odds[i]), 1), _words(i, samples, seen, links)
            )
        )
    return [_follow(i, samples, found, mode) for i in range(len(found))]


def _follow(i: int, samples: list[Sample], found: list[Decision], mode: str) -> Decision:
    """A scene under cloud, among scenes whose flag is wrong in the same way, is taken to be wrong as they are."""
    clear = np.isin(samples[i].scl, CLEAR) & (samples[i].dn != 0).all(1)
    if found[i].answer != "cannot tell" or clear.sum() >= MIN_PIXELS:
        return found[i]
    known = [k for k, d in enumerate(found) if d.measured is not None and d.stated == found[i].stated]
    near = [k for k in known if k < i][-2:] + [k for k in known if k > i][:2]
    near = [k for k in near if abs(samples[k].day - samples[i].day) <= REACH]
    if len(near) < 3 or any(found[k].measured == found[k].stated for k in near):
        return found[i]
    other = found[near[0]].measured
    answer, decided = ("corrected", other) if mode == "measure" else ("contradicted", found[i].stated)
    words = f"{found[i].evidence}; taken as {', '.join(samples[k].id for k in near)}"
    return Decision(found[i].stated, other, decided, answer, found[i].log_odds, words)


# -- one scene alone ----------------------------------------------------------------------------------------------


def _alone(sample: Sample, bands: tuple[str, ...]) -> tuple[float, str]:
    """Log-likelihood ratio, offset in the values against not, from one scene's own values; and the reason."""
    clear = np.isin(sample.scl, CLEAR) & (sample.dn != 0).all(1)
    if clear.sum() < FEW:
        return 0.0, f"{int(clear.sum())} clear pixels"
    dn, scl = sample.dn[clear].astype(np.float32), sample.scl[clear]
    # Correction for the atmosphere is at times too strong in blue, and leaves negative values there.
    sound = [i for i, b in enumerate(bands) if b not in ("coastal", "blue")] or list(range(len(bands)))
    dark = float(np.percentile(dn[:, sound].min(1), 5))
    if clear.sum() < MIN_PIXELS:
        dark = float(np.percentile(dn[:, sound].min(1), 25))
        return (-4.0 if dark < DARK else 0.0), f"{int(clear.sum())} clear pixels, a quarter under {dark:.0f} DN"
    if dark < DARK + 150:
        name = bands[sound[int(np.argmin(np.median(dn[:, sound], 0)))]]
        return (-8.0 if dark < DARK else -3.0), f"5 % of the clear pixels are under {dark:.0f} DN (mostly {name})"
    water = scl == 6
    far = [i for i, b in enumerate(bands) if b in ("swir16", "swir22")] or [
        i for i, b in enumerate(bands) if b in INFRARED
    ]
    if far and water.sum() >= MIN_PIXELS:
        level = float(np.median(dn[water][:, far].min(1)))
        if level >= 1000:
            return 4.0, f"water has {level:.0f} DN in the infrared"
    return _brightness_of_plants(dn[scl == VEGETATION], bands, dark)


def _brightness_of_plants(plants: np.ndarray, bands: tuple[str, ...], dark: float) -> tuple[float, str]:
    visible = [i for i, b in enumerate(bands) if b in VISIBLE]
    nothing = 0.0, f"the darkest 5 % of the clear pixels have {dark:.0f} DN"
    if not visible or len(plants) < MIN_PIXELS:
        return nothing
    if {"blue", "swir22"} <= set(bands):
        haze = np.median(plants[:, bands.index("swir22")] - plants[:, bands.index("blue")]) < HAZE
        if haze:
            return -3.0, "haze, which brightens all bands as an offset does"
    low = float(np.percentile(plants[:, visible].min(1), 5))
    if low < 1000:
        return nothing
    strength = 3.0 if "blue" in bands else 2.0 if len(visible) > 1 else 1.0
    return strength * (1.3 if low >= 1150 else 1.0), f"no vegetation is under {low:.0f} DN in visible light"


# -- two scenes of the same ground --------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Pair:
    """Two scenes: log-likelihood of their difference where i holds 1000 more than j (+1), the same (0), less (-1)."""

    i: int
    j: int
    likelihood: tuple[float, float, float]  # of -1, 0, +1
    difference: float

    @property
    def tells(self) -> float:
        low, high = sorted((self.likelihood[1], max(self.likelihood[0], self.likelihood[2])))
        return high - low


def _pairs(samples: list[Sample], bands: tuple[str, ...]) -> list[_Pair]:
    usable = [np.isin(s.scl, COMPARED) & (s.dn != 0).all(1) for s in samples]
    pairs = []
    for i, sample in enumerate(samples):
        taken = 0 if len(bands) > 1 else NEIGHBOURS  # one band alone does not tell an offset from rain or growth
        for j in range(i - 1, -1, -1):
            if sample.day - samples[j].day > REACH or taken == NEIGHBOURS:
                break
            common = usable[i] & usable[j]
            if common.sum() < MIN_PIXELS:
                continue
            taken += 1
            here, there = sample.dn[common].astype(np.float64), samples[j].dn[common].astype(np.float64)
            difference = np.median(here - there, axis=0)
            level = np.median((here + there) / 2, axis=0)
            changes = _changes(level, bands, sample.day - samples[j].day)
            likelihood = tuple(_log_density(difference - 1000 * s, changes) for s in (-1, 0, 1))
            pairs.append(_Pair(i, j, likelihood, float(np.median(difference))))
    return pairs


def _changes(level: np.ndarray, bands: tuple[str, ...], days: int) -> list[tuple[float, np.ndarray, float]]:
    """Kinds of real change between two dates: how common, inverse and log determinant of the covariance.

    Each is made of what single bands do, of brightness, haze, greenness and moisture.
    """
    time = 0.3 + 0.7 * min(days, 30) / 30
    level = np.clip(level - 500, 200, 6000)  # half of the offset, as it may be in or not
    parts = np.array(
        [
            time * _GAIN_SD * level,
            [_HAZE_SD * _HAZE[b] for b in bands],
            [time * _GREEN_SD * _GREEN[b] for b in bands],
            [time * _WET_SD * _WET[b] for b in bands],
        ]
    )
    found = []
    for share, strength, own, relative in _KINDS:
        some = strength * parts
        covariance = np.diag((own + relative * level) ** 2) + some.T @ some
        found.append((np.log(share), np.linalg.inv(covariance), float(np.linalg.slogdet(covariance)[1])))
    return found


def _log_density(residual: np.ndarray, changes) -> float:
    """Of a change, up to a constant: a mixture of Student's distributions, so that odd values decide little."""
    n = len(residual)
    logs = [
        share - determinant / 2 - (_DEGREES + n) / 2 * np.log1p(float(residual @ inverse @ residual) / _DEGREES)
        for share, inverse, determinant in changes
    ]
    # Bands repeat each other: many of them do not count as so many witnesses.
    return min(1.0, WITNESSES / n) * float(np.logaddexp.reduce(logs))


def _forest(pairs: list[_Pair], n: int) -> tuple[list[_Pair], np.ndarray]:
    """The pairs that tell most and close no circle (Kruskal 1956); and (N,) in which tree each scene is."""
    root = list(range(n))

    def find(k: int) -> int:
        while root[k] != k:
            root[k] = root[root[k]]
            k = root[k]
        return k

    kept = []
    # Flags are wrong for whole periods, so of pairs that tell enough those closest in time come first.
    for pair in sorted(pairs, key=lambda p: (-min(round(p.tells, 6), ENOUGH), p.i - p.j, p.i)):
        a, b = find(pair.i), find(pair.j)
        if a != b:
            root[a] = b
            kept.append(pair)
    return kept, np.array([find(k) for k in range(n)])


# -- all together -------------------------------------------------------------------------------------------------


def _sum_product(samples: list[Sample], alone: np.ndarray, links: list[_Pair]) -> np.ndarray:
    """(N,) log-odds of the offset being in the values, exact on the tree."""
    n = len(samples)
    own = np.column_stack([np.zeros(n), alone])  # column 1: the offset is in
    neighbours: list[list[tuple[int, np.ndarray]]] = [[] for _ in range(n)]
    for pair in links:
        less, same, more = pair.likelihood
        table = np.array([[same, less], [more, same]])  # rows: state of i; columns: state of j
        neighbours[pair.i].append((pair.j, table))
        neighbours[pair.j].append((pair.i, table.T))
    turn = np.log([[1 - TURNS, TURNS], [TURNS, 1 - TURNS]])  # rows: this one right, wrong; columns: the next
    order, parent, seen = [], {}, set()
    for start in range(n):
        stack = [start]
        while stack:
            k = stack.pop()
            if k in seen:
                continue
            seen.add(k)
            order.append(k)
            for m, table in neighbours[k]:
                if m not in seen:
                    parent[m] = (k, table)
                    stack.append(m)

    def is_wrong(k: int, state: int) -> int:
        return int(state != (samples[k].stated != 0))

    def prior(k: int, state: int) -> float:
        return float(np.log(samples[k].wrong if is_wrong(k, state) else 1 - samples[k].wrong))

    def link(k: int, p: int, table: np.ndarray) -> np.ndarray:
        """Rows: state of the parent; columns: of the child: likelihood of the pair, and prior of the child."""
        alike = samples[k].wrong == samples[p].wrong  # flags of one kind are wrong for whole periods
        return table + np.array(
            [[turn[is_wrong(p, a), is_wrong(k, b)] if alike else prior(k, b) for b in (0, 1)] for a in (0, 1)]
        )

    up = own.copy()
    message = {}
    for k in reversed(order):
        if k not in parent:
            up[k] += [prior(k, b) for b in (0, 1)]
            continue
        p, table = parent[k]
        message[k] = np.logaddexp.reduce(link(k, p, table) + up[k], axis=1)
        up[p] = up[p] + message[k]
    belief = up.copy()
    for k in order:
        if k in parent:
            p, table = parent[k]
            without = belief[p] - message[k]
            belief[k] = up[k] + np.logaddexp.reduce(link(k, p, table) + without[:, None], axis=0)
    return np.clip(belief[:, 1] - belief[:, 0], -99, 99)


def _words(i: int, samples: list[Sample], seen, links: list[_Pair]) -> str:
    words = [seen[i][1]]
    mine = [p for p in links if i in (p.i, p.j)]
    if mine:
        best = max(mine, key=lambda p: p.tells)
        other = samples[best.j if best.i == i else best.i]
        change = best.difference if best.i == i else -best.difference
        words.append(f"against {other.id}: {change:+.0f} DN (median of the bands' medians)")
    return "; ".join(words)
