"""Whether the values of a scene contain the processing offset: measured, scene by scene.

From processing baseline 04.00 on, ESA adds 1000 to every value. Some services subtract it again and state so with a
flag, which is wrong for some periods. If 1000 is subtracted twice, or never, the values still look plausible. So the
values themselves decide, by four kinds of evidence:

- **Dark pixels.** With the offset, hardly any value of land or water is under 750. If many are, the offset is not in
  the values. This is nearly certain.
- **Vegetation that is too bright.** Healthy plants reflect less than 10 % of some visible light. If no pixel of
  vegetation does, the offset may be in the values; haze and thin crops on bright soil look the same, so this counts
  little.
- **The same ground on other dates.** The offset changes all bands by the same 1000. Haze, rain, growth and harvest
  change bands by different amounts. So the difference of two scenes, band by band, shows whether one of them has the
  offset and the other has not, also over bright sand. This needs several bands.
- **Another processing of the same image.** Earth Search has many scenes in a second collection, which states the
  offset correctly. The two differ little, or by 1000 in all bands.

Each kind gives a log-likelihood ratio. A prior states that metadata is mostly right, that a wrong flag tends to last
for several scenes, and that products older than baseline 04.00 have no offset. All scenes are decided together: the
most informative pairs connect them to a tree, on which sum-product is exact (Pearl 1988). If the values do not decide,
the answer is "cannot tell", and what the metadata states is used.

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
SURE = 3.0  # least log-odds for a decision by the values: 95 %
WRONG = 0.1  # prior probability that the flag of a scene is wrong
TURNS = 0.02  # probability that flags change from right to wrong, or back, between two linked scenes
REPEATED = 4  # so many scenes of bright vegetation count in full
MIN_PIXELS = 30  # fewer are weak evidence
FEW = 10  # fewer are no evidence
NEIGHBOURS = 8  # earlier scenes with which a scene is compared
REACH = 90  # days between two scenes that are compared
DARK = 750  # DN; with the offset hardly any value is lower
CLEAR = (2, 3, 4, 5, 6)  # scene classes in which dark values are evidence: shadow, plants, soil, water
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
# The same for two processings of one image, which differ by their correction for the atmosphere only.
_KINDS_OF_PROCESSING = ((0.85, 0.05, 40.0, 0.02), (0.15, 0.3, 100.0, 0.04))
FULL_BANDS = 4  # so many bands count in full; bands are not independent
ENOUGH = 4.0  # log-likelihood ratio above which pairs count as equally informative


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
        wrong: Prior probability that this is wrong, 0-1.
        processing_of: Id of the scene of which this is another processing; empty for a scene of its own.
    """

    id: str
    day: int
    group: str
    dn: np.ndarray
    scl: np.ndarray
    stated: int
    wrong: float = WRONG
    processing_of: str = ""

    @property
    def clear(self) -> np.ndarray:
        """(N,) whether a pixel has data in all bands and is neither cloud nor snow."""
        return np.isin(self.scl, CLEAR) & (self.dn != 0).all(1)


@dataclass(frozen=True)
class Decision:
    """The offset of one scene.

    Attributes:
        stated: Offset that the metadata states.
        measured: Offset that the values show; None where they do not decide.
        decided: Offset that is used.
        answer: One of ``ANSWERS``.
        log_odds: Of the offset being in the values, prior included; positive if it is.
        evidence: What decided, in words.
    """

    stated: int
    measured: int | None
    decided: int
    answer: str
    log_odds: float
    evidence: str

    def as_dict(self) -> dict:
        """As JSON values."""
        return asdict(self)


def decide(samples: Sequence[Sample], bands: Sequence[str], mode: str = "measure") -> list[Decision]:
    """Decide for each scene whether its values contain the offset, from all scenes together.

    Args:
        samples: Of all scenes.
        bands: The C band names.
        mode: ``measure``: use what the values show, else what is stated; ``state``: use what is stated; ``refuse``:
            the same, with the answer ``contradicted`` if the values show another.

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


def doubtful(samples: Sequence[Sample], decisions: Sequence[Decision]) -> list[int]:
    """Which scenes another processing could decide: clear enough, and not confirmed. Positions in ``samples``."""
    return [
        i
        for i, (sample, decision) in enumerate(zip(samples, decisions, strict=True))
        if decision.answer != "confirmed" and sample.clear.sum() >= MIN_PIXELS
    ]


def _decide_group(samples: list[Sample], bands: tuple[str, ...], mode: str) -> list[Decision]:
    evidence = [_alone(s, bands) for s in samples]
    alone = np.array([ratio for ratio, _ in evidence])
    links, trees = _forest(_pairs(samples, bands), len(samples))
    for tree in set(trees):
        bright = (alone > 0) & (trees == tree)
        if bright.sum() > REPEATED:  # the same bright ground on many dates is not new evidence each time
            alone[bright] *= REPEATED / bright.sum()
    odds = _sum_product(samples, alone, links)
    informed = alone != 0
    for pair in links:
        informed[[pair.i, pair.j]] |= pair.information > 1
    decisions = []
    for i, sample in enumerate(samples):
        measured = None
        if abs(odds[i]) >= SURE and informed[i]:
            measured = OFFSET if odds[i] > 0 else 0
        answer = "cannot tell" if measured is None else "confirmed"
        decided = sample.stated
        if measured is not None and measured != sample.stated:
            answer = "corrected" if mode == "measure" else "contradicted"
            decided = measured if mode == "measure" else sample.stated
        words = _words(i, samples, evidence, links)
        decisions.append(Decision(sample.stated, measured, decided, answer, round(float(odds[i]), 1), words))
    return [_follow(i, samples, decisions, mode) for i in range(len(decisions))]


def _follow(i: int, samples: list[Sample], decisions: list[Decision], mode: str) -> Decision:
    """Take a cloudy scene to be wrong in the same way as the scenes before and after it, if all of them are."""
    own = decisions[i]
    if own.answer != "cannot tell" or samples[i].clear.sum() >= MIN_PIXELS:
        return own
    known = [
        k for k, d in enumerate(decisions)
        if d.measured is not None and d.stated == own.stated and not samples[k].processing_of
    ]  # fmt: skip
    near = [k for k in known if k < i][-2:] + [k for k in known if k > i][:2]
    near = [k for k in near if abs(samples[k].day - samples[i].day) <= REACH]
    if len(near) < 3 or any(decisions[k].measured == decisions[k].stated for k in near):
        return own
    other = decisions[near[0]].measured
    answer, decided = ("corrected", other) if mode == "measure" else ("contradicted", own.stated)
    words = f"{own.evidence}; taken as {', '.join(samples[k].id for k in near)}"
    return Decision(own.stated, other, decided, answer, own.log_odds, words)


# -- one scene alone ----------------------------------------------------------------------------------------------


def _alone(sample: Sample, bands: tuple[str, ...]) -> tuple[float, str]:
    """Log-likelihood ratio of the offset being in the values, from one scene's own values; and the reason."""
    clear = sample.clear
    if clear.sum() < FEW:
        return 0.0, f"{int(clear.sum())} clear pixels"
    dn, scl = sample.dn[clear].astype(np.float32), sample.scl[clear]
    # The correction for the atmosphere is sometimes too strong in blue, and leaves negative values there.
    reliable = [i for i, b in enumerate(bands) if b not in ("coastal", "blue")] or list(range(len(bands)))
    dark = float(np.percentile(dn[:, reliable].min(1), 5))
    if clear.sum() < MIN_PIXELS:
        dark = float(np.percentile(dn[:, reliable].min(1), 25))
        return (-4.0 if dark < DARK else 0.0), f"{int(clear.sum())} clear pixels, a quarter under {dark:.0f} DN"
    if dark < DARK + 150:
        name = bands[reliable[int(np.argmin(np.median(dn[:, reliable], 0)))]]
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
    no_evidence = 0.0, f"the darkest 5 % of the clear pixels have {dark:.0f} DN"
    if not visible or len(plants) < MIN_PIXELS:
        return no_evidence
    if {"blue", "swir22"} <= set(bands):
        haze = np.median(plants[:, bands.index("swir22")] - plants[:, bands.index("blue")]) < HAZE
        if haze:
            return -3.0, "haze, which brightens all bands as an offset does"
    low = float(np.percentile(plants[:, visible].min(1), 5))
    if low < 1000:
        return no_evidence
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
    def information(self) -> float:
        """Log-likelihood ratio between 'the same' and the better of the two others."""
        low, high = sorted((self.likelihood[1], max(self.likelihood[0], self.likelihood[2])))
        return high - low


def _pairs(samples: list[Sample], bands: tuple[str, ...]) -> list[_Pair]:
    usable = [np.isin(s.scl, COMPARED) & (s.dn != 0).all(1) for s in samples]
    found: dict[bool, list[tuple]] = {False: [], True: []}  # of one image or of two
    for i, sample in enumerate(samples):
        taken = 0 if len(bands) > 1 else NEIGHBOURS  # in one band, an offset looks like rain or growth
        for j in range(i - 1, -1, -1):
            other = samples[j]
            if sample.day - other.day > REACH:
                break
            same_image = sample.processing_of == other.id or other.processing_of == sample.id
            if (sample.processing_of or other.processing_of) and not same_image:
                continue  # its own scene stands for it
            common = usable[i] & usable[j]
            if common.sum() < MIN_PIXELS or (taken == NEIGHBOURS and not same_image):
                continue
            taken += not same_image
            # A band a row: numpy takes medians of rows several times faster than of columns.
            here, there = (one.dn[common].T.astype(np.float64, order="C") for one in (sample, other))
            both = np.median(np.concatenate([here - there, (here + there) / 2]), axis=1)
            found[same_image].append((i, j, sample.day - other.day, *np.split(both, 2)))
    pairs = []
    for same_image, of_kind in found.items():
        if of_kind:
            i, j, days, difference, level = (np.array(column) for column in zip(*of_kind, strict=True))
            kinds = _KINDS_OF_PROCESSING if same_image else _KINDS
            likelihood = _likelihoods(difference, level, days, bands, kinds)
            columns = i.tolist(), j.tolist(), likelihood.tolist(), np.median(difference, axis=1).tolist()
            pairs += [_Pair(a, b, tuple(three), middle) for a, b, three, middle in zip(*columns, strict=True)]
    return pairs


def _likelihoods(
    difference: np.ndarray, level: np.ndarray, days: np.ndarray, bands: tuple[str, ...], kinds: tuple
) -> np.ndarray:
    """Log-likelihood of the difference of P pairs of images, up to a constant.

    A real change is a mixture of kinds. Each is a Student distribution, so that outliers decide little, and consists
    of independent changes of single bands, and of changes of brightness, haze, greenness and moisture.

    Args:
        difference: (P, C) medians of the first image less the second, DN.
        level: (P, C) medians of their mean, DN.
        days: (P,) between the two.
        bands: The C band names.
        kinds: How common, how strong, and each band's own change, DN and share of the level.

    Returns:
        (P, 3), where the first holds 1000 DN less than the second, the same, and 1000 more.
    """
    n = len(bands)
    time = (0.3 + 0.7 * np.minimum(days, 30) / 30)[:, None]
    level = np.clip(level - 500, 200, 6000)  # half of the offset, as it may be in or not
    haze = np.broadcast_to([_HAZE_SD * _HAZE[b] for b in bands], level.shape)
    green, wet = (time * sd * [table[b] for b in bands] for sd, table in ((_GREEN_SD, _GREEN), (_WET_SD, _WET)))
    parts = np.stack([time * _GAIN_SD * level, haze, green, wet], axis=1)  # (P, 4, C)
    residual = difference[:, None] - np.array([-1000, 0, 1000])[:, None]  # (P, 3, C)
    logs = []
    for share, strength, own, relative in kinds:
        some = strength * parts
        covariance = np.swapaxes(some, 1, 2) @ some + np.eye(n) * ((own + relative * level) ** 2)[:, None]
        distance = (residual * np.swapaxes(np.linalg.solve(covariance, np.swapaxes(residual, 1, 2)), 1, 2)).sum(2)
        determinant = np.linalg.slogdet(covariance)[1][:, None]
        logs.append(np.log(share) - determinant / 2 - (_DEGREES + n) / 2 * np.log1p(distance / _DEGREES))
    # Bands are correlated, so many bands do not count as many independent observations.
    return min(1.0, FULL_BANDS / n) * np.logaddexp.reduce(logs)


def _forest(pairs: list[_Pair], n: int) -> tuple[list[_Pair], np.ndarray]:
    """The most informative pairs that form no circle (Kruskal 1956); and (N,) in which tree each scene is."""
    root = list(range(n))

    def find(k: int) -> int:
        while root[k] != k:
            root[k] = root[root[k]]
            k = root[k]
        return k

    kept = []
    # Flags are wrong for whole periods, so among informative pairs those closest in time come first.
    for pair in sorted(pairs, key=lambda p: (-min(round(p.information, 6), ENOUGH), p.i - p.j, p.i)):
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
    order, parent, visited = [], {}, set()
    for start in range(n):
        stack = [start]
        while stack:
            k = stack.pop()
            if k in visited:
                continue
            visited.add(k)
            order.append(k)
            for m, table in neighbours[k]:
                if m not in visited:
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


def _words(i: int, samples: list[Sample], evidence: list[tuple[float, str]], links: list[_Pair]) -> str:
    words = [evidence[i][1]]
    mine = [p for p in links if i in (p.i, p.j)]
    if mine:
        best = max(mine, key=lambda p: p.information)
        other = samples[best.j if best.i == i else best.i]
        change = best.difference if best.i == i else -best.difference
        what = ", another processing of this image" if other.processing_of == samples[i].id else ""
        words.append(f"against {other.id}{what}: {change:+.0f} DN (median of the bands' medians)")
    return "; ".join(words)
