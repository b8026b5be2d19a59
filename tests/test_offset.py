"""The processing offset is measured: over real scenes, and over made ones whose truth is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arsetlib.ingest import offset
from arsetlib.ingest.offset import Sample, decide

BANDS = ("blue", "green", "red", "nir", "swir16", "swir22")
LEAF = np.array([300, 600, 350, 4000, 2000, 1000])
SOIL = np.array([900, 1250, 1700, 2500, 3600, 3300])
SAND = np.array([1900, 2700, 3500, 4300, 5400, 5000])


def scenes(ground, n, seed=0, pixels=300):
    """(n, pixels, 6) reflectance x 10,000 of one ground on n dates, ten days apart, with haze, rain and sun."""
    rng = np.random.default_rng(seed)
    wet = 1 - rng.beta(0.6, 2, (n, 1, 1)) * (0.4 if ground is not SAND else 0.08)
    haze = rng.gamma(0.7, 100, (n, 1, 1)) * np.array([1, 0.85, 0.75, 0.4, 0.2, 0.12])
    own = rng.normal(1, 0.1, (1, pixels, 1)).clip(0.6, 1.5)
    return ground * own * wet * rng.normal(1, 0.02, (n, 1, 1)) + haze + rng.normal(0, 30, (n, pixels, 6))


def samples(values, truth, stated, scl, bands=BANDS):
    columns = [BANDS.index(b) for b in bands]
    return [
        Sample(f"{i}", 10 * i, "here", np.rint(v[:, columns] + 1000 * t).astype(int), np.full(len(v), scl), -1000 * s)
        for i, (v, t, s) in enumerate(zip(values, truth, stated, strict=True))
    ]


def wrong(found, truth):
    return [i for i, (d, t) in enumerate(zip(found, truth, strict=True)) if d.decided != -1000 * t]


CHOICES = [("red", "nir"), ("green", "red", "nir"), ("blue", "red", "nir", "swir22"), BANDS]


@pytest.mark.parametrize("bands", CHOICES, ids=len)
@pytest.mark.parametrize(("ground", "scl"), [(LEAF, 4), (SOIL, 5), (SAND, 5)], ids=["leaf", "soil", "sand"])
@pytest.mark.parametrize("truth", [[0] * 12, [1] * 12, [0] * 6 + [1] * 6], ids=["without", "with", "both"])
def test_right_metadata_is_never_overruled(ground, scl, truth, bands):
    for seed in range(5):
        assert wrong(decide(samples(scenes(ground, 12, seed), truth, truth, scl, bands), bands), truth) == []


@pytest.mark.parametrize("bands", CHOICES, ids=len)
def test_a_second_subtraction_over_plants_is_found_in_each_scene_alone(bands):
    found = decide(samples(scenes(LEAF, 12), [0] * 12, [1] * 12, 4, bands), bands)
    assert [d.answer for d in found] == ["corrected"] * 12
    alone = [decide([s], bands)[0] for s in samples(scenes(LEAF, 12), [0] * 12, [1] * 12, 4, bands)]
    assert {d.decided for d in alone} == {0}


@pytest.mark.parametrize("bands", CHOICES[2:], ids=len)
def test_a_forgotten_offset_over_plants_is_found(bands):
    assert wrong(decide(samples(scenes(LEAF, 12), [1] * 12, [0] * 12, 4, bands), bands), [1] * 12) == []


@pytest.mark.parametrize("stated", [0, 1])
@pytest.mark.parametrize("ground", [SOIL, SAND], ids=["soil", "sand"])
@pytest.mark.parametrize("lying", [{5}, {4, 5, 6, 7}], ids=["one", "period"])
def test_flags_that_are_wrong_for_a_while_are_found_on_bright_ground(ground, lying, stated):
    """No value is dark there: the same ground before and after tells."""
    truth = [1 - stated if i in lying else stated for i in range(12)]
    missed = 0
    for seed in range(5):
        found = decide(samples(scenes(ground, 12, seed), truth, [stated] * 12, 5), BANDS)
        assert set(wrong(found, truth)) <= lying
        missed += len(wrong(found, truth))
    assert missed <= len(lying) * 5 * (0.2 if ground is SOIL else 0)  # rain on soil can hide one


def test_bright_sand_alone_tells_nothing_and_what_is_stated_is_used():
    for truth in ([0] * 8, [1] * 8):
        for stated in ([0] * 8, [1] * 8):
            found = decide(samples(scenes(SAND, 8), truth, stated, 5), BANDS)
            assert {d.answer for d in found} == {"cannot tell"}
            assert [d.decided for d in found] == [-1000 * s for s in stated]


def test_modes_say_the_same_and_do_what_they_are_called():
    lies = samples(scenes(LEAF, 6), [0] * 6, [1] * 6, 4)
    for mode, decided, answer in (
        ("measure", 0, "corrected"), ("state", -1000, "contradicted"), ("refuse", -1000, "contradicted"),
    ):  # fmt: skip
        found = decide(lies, BANDS, mode)
        assert {(d.decided, d.answer, d.measured) for d in found} == {(decided, answer, 0)}


def test_a_sparse_field_with_red_as_the_only_visible_band_is_not_refused():
    """Two dates of a real field, on which no vegetation is under 1000 DN in red; on the others some is."""
    rng = np.random.default_rng(0)
    values = rng.normal([900, 2600], [150, 200], (31, 200, 2))
    values[[11, 20]] += [450, 500]
    assert np.percentile(values[11, :, 0], 5) > 1000
    made = [Sample(f"{i}", 5 * i, "f", np.rint(v).astype(int), np.full(200, 4), 0) for i, v in enumerate(values)]
    assert wrong(decide(made, ("red", "nir")), [0] * 31) == []
    assert decide([made[11]], ("red", "nir"))[0].decided == 0


def test_few_pixels_clouds_and_nothing_at_all_tell_nothing():
    for n, scl in ((9, 4), (300, 9), (300, 0)):
        one = Sample("a", 0, "g", np.full((n, 6), 300), np.full(n, scl), -1000)
        assert decide([one], BANDS)[0].answer == "cannot tell"
    assert decide([], BANDS) == []


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.permutations(range(8)))
def test_the_order_in_which_scenes_come_changes_nothing(seed, order):
    rng = np.random.default_rng(seed)
    truth, stated = rng.integers(0, 2, 8), rng.integers(0, 2, 8)
    made = samples(scenes(SOIL, 8, seed, 60), truth, stated, 5)
    straight = decide(made, BANDS)
    assert [straight[i] for i in order] == decide([made[i] for i in order], BANDS)


@pytest.mark.parametrize("kinds", [offset._KINDS, offset._KINDS_OF_PROCESSING])
def test_likelihoods_of_pairs_equal_those_of_a_plain_loop(kinds):
    rng, bands = np.random.default_rng(1), ("blue", "red", "nir", "swir16", "swir22")
    difference, level = rng.normal(0, 400, (7, 5)), rng.uniform(300, 5000, (7, 5))
    days = np.arange(7) * 8
    for p, row in enumerate(offset._likelihoods(difference, level, days, bands, kinds)):
        time, above = 0.3 + 0.7 * min(days[p], 30) / 30, np.clip(level[p] - 500, 200, 6000)
        parts = [time * offset._GAIN_SD * above, [offset._HAZE_SD * offset._HAZE[b] for b in bands]]
        parts += [[time * offset._GREEN_SD * offset._GREEN[b] for b in bands]]
        parts += [[time * offset._WET_SD * offset._WET[b] for b in bands]]
        for shift, result in zip((-1000, 0, 1000), row, strict=True):
            density = 0.0
            for share, strength, own, relative in kinds:
                covariance = np.diag((own + relative * above) ** 2)
                for part in parts:
                    covariance += strength**2 * np.outer(part, part)
                covariance *= 1e-4  # so that the determinant is a usual number
                r = (difference[p] - shift) / 100
                distance = r @ np.linalg.inv(covariance) @ r
                density += share * np.linalg.det(covariance) ** -0.5 * (1 + distance / 4) ** (-(4 + 5) / 2)
            np.testing.assert_allclose(result, 4 / 5 * (np.log(density) - 5 * np.log(100)), rtol=1e-9)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_sum_product_equals_the_sum_over_all_states(seed):
    """By hand for five scenes: all 32 combinations, weighed by priors, own evidence and links."""
    rng = np.random.default_rng(seed)
    made = [Sample(str(i), i, "g", np.empty(0), np.empty(0), int(rng.choice([0, -1000])), 0.1) for i in range(5)]
    alone = rng.normal(0, 2, 5)
    links = [offset._Pair(i, int(rng.integers(0, i)), tuple(rng.normal(0, 2, 3)), 0.0) for i in range(1, 5)]
    weight = np.zeros((5, 2))
    for number in range(32):
        state = [number >> k & 1 for k in range(5)]
        lie = [int(s != (m.stated != 0)) for s, m in zip(state, made, strict=True)]
        log = alone @ state + np.log([0.9, 0.1])[lie[0]]
        for p in links:
            log += p.likelihood[1 + state[p.i] - state[p.j]]
            log += np.log(offset.TURNS if lie[p.i] != lie[p.j] else 1 - offset.TURNS)
        for k in range(5):
            weight[k, state[k]] += np.exp(log)
    assert offset._sum_product(made, alone, links) == pytest.approx(np.log(weight[:, 1] / weight[:, 0]))


@pytest.fixture(scope="module")
def antwerp(real):
    xr = pytest.importorskip("xarray")
    with xr.open_dataset(real / "s2_l2a_scl_19dates_antwerp2023.nc") as data:
        dn = np.stack([data[f"S2-L2A-{b}"].values for b in ("B02", "B03", "B04", "B08")], -1).reshape(19, -1, 4)
        return (
            dn.astype(int),
            data["S2-L2A-SCL"].values.reshape(19, -1),
            data.t.values.astype("datetime64[D]").astype(int),
        )


@pytest.mark.parametrize("stated", [0, 1])
@pytest.mark.parametrize("truth", [0, 1])
def test_every_real_scene_that_shows_land_is_decided_rightly(antwerp, truth, stated):
    dn, scl, days = antwerp
    made = [
        Sample(str(d), int(d), "a", np.where(v > 0, v + 1000 * truth, 0), s, -1000 * stated)
        for v, s, d in zip(dn, scl, days, strict=True)
    ]
    found = decide(made, ("blue", "green", "red", "nir"))
    seen = [i for i, s in enumerate(scl) if np.isin(s, offset.CLEAR).sum() >= offset.MIN_PIXELS]
    assert len(seen) >= 3
    assert {found[i].decided for i in seen} == {-1000 * truth}
