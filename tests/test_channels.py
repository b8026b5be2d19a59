"""Indices, the calendar and a second sensor as channels, against plain loops, on tables made here."""

import math
import os

import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from arsetlib import cli, pixels, samples
from arsetlib.samples import kernels
from arsetlib.study import INDEX_BANDS, Season, Study, StudyError

SAMPLE = Study.load("sample").replace(block_m=600.0, season=Season(60, 10, 20, 80), split={})
BANDS = SAMPLE.bands
RADAR = ("vv", "vh")
CODES = (1, 2, 3, 5, 24, 141)
ALL = SAMPLE.replace(sensors={"radar": RADAR}, indices=("ndvi", "ndmi", "evi"), day_of_year=True)


def make_table(bands=BANDS, rows=60, seed=0, most=12, codes=CODES) -> pa.Table:
    """The same pixels and labels for every seed; other days and values."""
    random = np.random.default_rng(seed)
    count = random.integers(0, most + 1, rows)
    day = [18_628 + np.sort(random.choice(150, n, replace=False)) for n in count]
    values = random.integers(1, 9000, (count.sum(), len(bands)))
    values[random.random(values.shape) < 0.1] = 0
    values[~values.any(axis=1), 0] = 7
    x, y = 400_005 + 30.0 * (np.arange(rows) % 10), 1_400_005 - 30.0 * (np.arange(rows) // 10)
    batch = pixels.make_batch(
        day=np.concatenate([np.zeros(0, int), *day]), scl=random.choice([4, 4, 5, 6], count.sum()), bands=values,
        offsets=np.cumsum([0, *count]), pixel=pixels.pixel_id(x, y, 30), year=2021, area="here",
        block=pixels.block_id(x, y, 600), x=x, y=y, lon=-90.0, lat=34.0,
        label_code=np.array(codes)[np.arange(rows) % len(codes)],
    )  # fmt: skip
    meta = pixels.Meta(tuple(bands), "EPSG:5070", 30.0, "test", True, extra={"block_m": 600.0})
    return pa.Table.from_batches([batch]).replace_schema_metadata(meta.to_kv())


@pytest.fixture(scope="module")
def optical():
    return make_table()


@pytest.fixture(scope="module")
def radar():
    table = make_table(RADAR, seed=1)
    return table.take(pa.array(np.random.default_rng(2).permutation(table.num_rows)))


@pytest.fixture(scope="module")
def both(optical, radar):
    return pixels.join(optical, radar)


@pytest.fixture(scope="module")
def scaler(both):
    return samples.Scaler.fit(both, ALL)


@pytest.fixture(params=["numpy", "numba"])
def engine(request, monkeypatch):
    if request.param == "numba":
        pytest.importorskip("numba")
        kernels.place("first")
    else:
        monkeypatch.setattr(kernels, "_compiled", lambda: None)
    return request.param


# Indices


def test_every_index_has_a_title_a_paper_and_bands_that_the_study_file_knows():
    assert {name: index.bands for name, index in samples.INDICES.items()} == INDEX_BANDS
    for index in samples.INDICES.values():
        assert index.title
        assert any(character.isdigit() for character in index.paper)


def test_indices_are_those_of_their_papers():
    bands = ("blue", "green", "red", "rededge1", "nir", "swir16", "swir22")
    blue, green, red, edge, nir, swir1, swir2 = values = np.array([0.03, 0.06, 0.05, 0.1, 0.45, 0.2, 0.12])
    expected = {
        "ndvi": (nir - red) / (nir + red),
        "gndvi": (nir - green) / (nir + green),
        "ndre": (nir - edge) / (nir + edge),
        "evi": 2.5 * (nir - red) / (nir + 6 * red - 7.5 * blue + 1),
        "evi2": 2.5 * (nir - red) / (nir + 2.4 * red + 1),
        "savi": 1.5 * (nir - red) / (nir + red + 0.5),
        "ndmi": (nir - swir1) / (nir + swir1),
        "ndwi": (green - nir) / (green + nir),
        "mndwi": (green - swir1) / (green + swir1),
        "ndti": (swir1 - swir2) / (swir1 + swir2),
        "nbr": (nir - swir2) / (nir + swir2),
    }
    assert set(expected) == set(samples.INDICES)
    for name, value in expected.items():
        assert samples.index(name, np.rint(values * 10_000), bands) == pytest.approx(value * 10_000, abs=0.5)


def test_an_index_of_no_data_is_no_data_and_one_of_zero_is_not():
    values = np.array([[0, 0], [0, 900], [900, 0], [900, 900], [1, 30_000]])
    got = samples.index("ndvi", values, ("red", "nir"))
    assert got.tolist() == [0, 0, 0, 1, 9999]
    assert got.dtype == np.float32


def test_evi_of_clouds_stays_within_bounds():
    values = np.array([[9000, 12_000, 12_400], [2000, 12_000, 1], [3000, 4000, 32_767]])
    got = samples.index("evi", values, ("red", "nir", "blue"))
    assert np.isfinite(got).all()
    assert (np.abs(got) <= 10_000).all()


# The study file


def with_channels(text: str) -> Study:
    return Study.parse(f"{SAMPLE.text}\n[channels]\n{text}\n")


def test_a_study_file_names_its_channels():
    study = with_channels('sensors = { radar = ["vv", "vh"] }\nindices = ["ndvi", "ndmi"]\nday_of_year = true')
    assert study.table_bands == (*BANDS, "vv", "vh")
    assert study.channels == (*BANDS, "vv", "vh", "ndvi", "ndmi", "day_of_year_sin", "day_of_year_cos")
    assert samples.Channels.of(study).names == study.channels
    assert SAMPLE.channels == SAMPLE.table_bands == BANDS
    assert study.fingerprint() == Study.parse(SAMPLE.text).fingerprint()  # the table stays as it is


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('indices = ["ndvii"]', r"'ndvii' \(did you mean 'ndvi'\?\); indices are ndvi"),
        ("indices = [1]", "indices has 1"),
        ("indices = [[1]]", r"indices has \[1\]"),
        ('indices = "ndvi"', "must be a list"),
        ('indices = ["ndvi", "ndvi"]', r"names \['ndvi'\] twice"),
        ('day_of_year = "yes"', "must be true or false"),
        ("sensors = ['vv']", "must be a table"),
        ("sensors = { radar = [] }", "has no band"),
        ("sensors = { radar = ['vv', 'red'] }", r"names \['red'\] twice"),
        ("sensors = { radar = ['v v'] }", "cannot be a key"),
        ("bands = ['vv']", "the key 'bands', which means nothing"),
    ],
)
def test_a_wrong_table_of_channels_is_refused(text, words):
    with pytest.raises(StudyError, match=words):
        with_channels(text)


def test_an_index_without_its_bands_is_refused():
    text = SAMPLE.text.replace("seed = 1", 'seed = 1\nbands = ["red", "green"]', 1)
    with pytest.raises(StudyError, match=r"index 'ndvi' needs \['nir'\], which \[study\] bands does not have"):
        Study.parse(f"{text}\n[channels]\nindices = ['ndvi']\n")
    with pytest.raises(samples.SampleError, match=r"needs the bands \['nir', 'red'\]; the study lacks \['nir'\]"):
        samples.Channels.of(SAMPLE.replace(bands=("red", "green"), indices=("ndvi",)))
    with pytest.raises(samples.SampleError, match="Expected indices out of ndvi"):
        samples.Channels.of(SAMPLE.replace(indices=("best",)))


# Joining


def test_joined_tables_are_those_of_a_plain_loop(optical, radar, both):
    where = {int(pixel): i for i, pixel in enumerate(radar["pixel"].to_numpy())}
    for i, pixel in enumerate(optical["pixel"].to_numpy()):
        ours, theirs = pixels.series(optical, i), pixels.series(radar, where[int(pixel)])
        seen = {}
        for day, scl, bands in zip(*ours, strict=True):
            seen[int(day)] = [int(scl), *bands.tolist(), 0, 0]
        for day, _, bands in zip(*theirs, strict=True):
            seen.setdefault(int(day), [0] * 13 + [0, 0])[-2:] = bands.tolist()
        day, scl, bands = pixels.series(both, i)
        assert day.tolist() == sorted(seen)
        assert [[int(s), *b.tolist()] for s, b in zip(scl, bands, strict=True)] == [seen[d] for d in sorted(seen)]
    assert pixels.Meta.of(both).bands == (*BANDS, *RADAR)
    for name in ("pixel", "year", "label_code", "block", "x"):
        assert both[name].to_pylist() == optical[name].to_pylist()


def test_a_joined_table_keeps_the_rules_and_comes_back_from_disk(both, tmp_path):
    pixels.write(both, tmp_path / "both.parquet", pixels.Meta.of(both))
    broken = {rule: n for rule, n in pixels.check(tmp_path / "both.parquet").counts.items() if n}
    assert set(broken) <= {"lonlat"}  # made up here
    assert pixels.join(tmp_path / "both.parquet", make_table(("hh",), seed=3)).num_rows == both.num_rows


def test_tables_that_do_not_fit_are_refused(optical, radar):
    def refused(words, one=optical, other=radar, **options):
        with pytest.raises(pixels.PixelError, match=words):
            pixels.join(one, other, **options)

    def of_meta(**changes):
        values = vars(pixels.Meta.of(radar)) | changes
        return radar.replace_schema_metadata(pixels.Meta(**values).to_kv())

    refused("only the first has and 0", other=radar.slice(5))
    refused("5 rows that only the first has", other=radar.slice(5))
    refused("3 that only the second has", one=optical.slice(3))
    refused("no pixel and year in common", one=optical.slice(0, 0), missing="drop")
    refused("Expected missing", missing="keep")
    refused("of one grid", other=of_meta(crs="EPSG:32615"))
    refused("of one block side", other=of_meta(extra={}))
    refused(r"\['red'\] in both", other=of_meta(bands=("red", "vv")))
    refused("twice in the second table", other=pa.concat_tables([radar, radar.slice(0, 1)]))
    refused("40 that differ|differ: pixel", other=make_table(RADAR, codes=(1, 2)))
    assert pixels.join(optical, radar.slice(5), missing="drop").num_rows == 55


# Windows


def plain_loop(table, study, start, choose, seed, epoch):
    """x (B, T, C) unscaled and unfilled, seen, images and vegetation, one value after the other."""
    flat, season = pixels.ragged(table), study.season
    keys = samples.keys_of(table["pixel"].to_numpy(), table["year"].to_numpy())
    owns = [range(len(study.bands))]
    for bands in study.sensors.values():
        owns.append(range(owns[-1].stop, owns[-1].stop + len(bands)))
    x = np.zeros((table.num_rows, season.steps, len(study.channels)), np.float32)
    seen, images, vegetation = np.zeros(x.shape[:2], bool), [], []
    for b in range(table.num_rows):
        total, green = 0, None
        for s, own in enumerate(owns):
            draws = samples.draw_images(keys, season.steps, seed, epoch, sensor=s)
            saw = [
                i for i in range(flat.offsets[b], flat.offsets[b + 1])
                if any(flat.bands[i, c] for c in own) and start <= int(flat.day[i]) < start + season.window_days
            ]  # fmt: skip
            total += len(saw)
            if green is None:
                green = any(flat.scl[i] == 4 for i in saw[-2:])
            for t in range(season.steps):
                here = [i for i in saw if (int(flat.day[i]) - start) // season.step_days == t]
                if not here:
                    continue
                seen[b, t] = True
                for c in own:
                    if choose == "median":
                        there = [int(flat.bands[i, c]) for i in here if flat.bands[i, c]]
                        x[b, t, c] = np.median(there) if there else 0
                    else:
                        pick = {"first": 0, "last": -1, "random": int(draws[b, t]) * len(here) >> 32}[choose]
                        x[b, t, c] = flat.bands[here[pick], c]
        images.append(total)
        vegetation.append(bool(green))
        for t in range(season.steps):
            nir, red, blue, swir = (float(x[b, t, BANDS.index(n)]) / 1e4 for n in ("nir", "red", "blue", "swir16"))
            index = {
                "ndvi": (nir and red) and (nir - red) / (nir + red),
                "ndmi": (nir and swir) and (nir - swir) / (nir + swir),
                "evi": (nir and red and blue) and 2.5 * (nir - red) / ((nir + 6 * red - 7.5 * blue + 1) or math.inf),
            }
            for i, name in enumerate(study.indices, owns[-1].stop):
                x[b, t, i] = round(max(-1, min(1, index[name])) * 1e4)
            if study.day_of_year:
                angle = 2 * math.pi * (start + (t + 0.5) * season.step_days) / 365.2425
                x[b, t, -2:] = math.sin(angle), math.cos(angle)
    return x, seen, images, vegetation


@pytest.mark.parametrize("choose", ["random", "first", "last", "median"])
def test_window_with_channels_is_that_of_a_plain_loop(engine, both, choose):
    keys = samples.keys_of(both["pixel"].to_numpy(), both["year"].to_numpy())
    options = {"choose": choose, "seed": 4, "epoch": 2, "keys": keys, "channels": samples.Channels.of(ALL)}
    got = samples.window(pixels.ragged(both), ALL.season, 18_640, **options)
    x, seen, images, vegetation = plain_loop(both, ALL, 18_640, choose, 4, 2)
    np.testing.assert_allclose(got.x, x, rtol=1e-6, atol=1)  # an index of exactly 0 is 1
    np.testing.assert_array_equal(got.x[..., :14], x[..., :14])
    np.testing.assert_allclose(got.x[..., -2:], x[..., -2:], rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(got.seen, seen)
    assert got.images.tolist() == images
    assert got.vegetation.tolist() == vegetation


def test_each_sensor_has_an_image_of_its_own_in_a_step(engine, optical, radar, both):
    """One image for both would leave the other sensor's bands empty in most steps."""
    got = samples.window(pixels.ragged(both), ALL.season, 18_640, choose="last", channels=samples.Channels.of(ALL))
    alone = samples.window(pixels.ragged(optical), ALL.season, 18_640, choose="last")
    np.testing.assert_array_equal(got.x[..., :12], alone.x)
    np.testing.assert_array_equal(got.vegetation, alone.vegetation)
    order = np.argsort(radar["pixel"].to_numpy())[np.argsort(np.argsort(optical["pixel"].to_numpy()))]
    other = samples.window(pixels.ragged(radar), ALL.season, 18_640, choose="last", rows=order)
    np.testing.assert_array_equal(got.x[..., 12:14], other.x)
    np.testing.assert_array_equal(got.seen, alone.seen | other.seen)
    assert (got.seen & ~alone.seen).any()


def test_a_study_without_channels_gives_the_same_bits_as_before(engine, optical):
    flat = pixels.ragged(optical)
    for fill in samples.FILLS:
        plain = samples.window(flat, SAMPLE.season, 18_640, fill=fill)
        got = samples.window(flat, SAMPLE.season, 18_640, fill=fill, channels=samples.Channels.of(SAMPLE))
        np.testing.assert_array_equal(got.x, plain.x)


@pytest.mark.parametrize("fill", samples.FILLS)
@pytest.mark.parametrize("choose", ["random", "clearest"])
def test_both_kernels_give_the_same_bits(both, scaler, monkeypatch, fill, choose):
    pytest.importorskip("numba")
    options = {"fill": fill, "choose": choose, "scaler": scaler, "channels": samples.Channels.of(ALL)}
    fast = samples.window(pixels.ragged(both), ALL.season, 18_640, **options)
    monkeypatch.setattr(kernels, "_compiled", lambda: None)
    plain = samples.window(pixels.ragged(both), ALL.season, 18_640, **options)
    for name in ("x", "seen", "start", "images", "vegetation"):
        np.testing.assert_array_equal(getattr(fast, name), getattr(plain, name))


def test_fills_fill_indices_like_bands(engine):
    values = np.array([[1000, 3000], [0, 5000], [1000, 9000]])  # red, nir; no red on the second day
    flat = pixels.Ragged(np.array([0, 3]), np.array([5, 15, 25], "<u2"), np.full(3, 5, "u1"), values.astype("<u2"))
    study = SAMPLE.replace(bands=("red", "nir"), indices=("ndvi",))
    got = {
        fill: samples.window(flat, Season(30, 10), 0, fill=fill, channels=samples.Channels.of(study)).x[0, :, 2]
        for fill in samples.FILLS
    }
    assert got["zeros"].tolist() == [5000, 0, 8000]
    assert got["last"].tolist() == [5000, 5000, 8000]
    assert got["linear"].tolist() == [5000, 6500, 8000]


def test_the_calendar_turns_once_a_year_whatever_was_seen():
    study = SAMPLE.replace(day_of_year=True, season=Season(365, 73, 1, 1))
    none = pixels.Ragged(np.zeros(2, int), np.zeros(0, "<u2"), np.zeros(0, "u1"), np.zeros((0, 12), "<u2"))
    start = samples.start_days(2021, 1)
    got = samples.window(none, study.season, start, channels=samples.Channels.of(study), fill="last")
    angle = 2 * np.pi * (np.arange(5) + 0.5) / 5
    np.testing.assert_allclose(got.x[0, :, -2], np.sin(angle), atol=0.02)
    np.testing.assert_allclose(got.x[0, :, -1], np.cos(angle), atol=0.02)
    assert not got.seen.any()
    assert not got.x[..., :-2].any()


def test_series_or_scalers_of_other_channels_are_refused(optical, both, scaler):
    channels = samples.Channels.of(ALL)
    with pytest.raises(samples.SampleError, match="received 12 bands"):
        samples.window(pixels.ragged(optical), ALL.season, 0, channels=channels)
    with pytest.raises(samples.SampleError, match=r"Scaler\.fit\(rows, study\)"):
        samples.window(pixels.ragged(both), ALL.season, 0, channels=channels, scaler=samples.Scaler.fit(both))
    with pytest.raises(samples.SampleError, match=r"Scaler\.fit\(rows, study\)"):
        samples.Loader(both, ALL, samples.Scaler.fit(both))
    with pytest.raises(samples.SampleError, match=r"missing \['vv', 'vh'\].*pixels\.join"):
        samples.Loader(optical, ALL, scaler)
    with pytest.raises(samples.SampleError, match="Expected a table with"):
        samples.Scaler.fit(optical, ALL)


# Scaler, loader


def test_the_scaler_knows_the_indices_of_all_images_and_leaves_the_calendar(both, scaler):
    bands = pixels.ragged(both).bands.astype(float)
    for i in range(bands.shape[1]):
        there = bands[bands[:, i] > 0, i]
        assert (scaler.mean[i], scaler.std[i]) == pytest.approx((there.mean(), there.std()))
    ndvi = samples.index("ndvi", bands, (*BANDS, *RADAR))
    ndvi = ndvi[ndvi != 0].astype(float)
    at = ALL.channels.index("ndvi")
    assert (scaler.mean[at], scaler.std[at]) == pytest.approx((ndvi.mean(), ndvi.std()))
    assert scaler.bands == ALL.channels
    assert (scaler.mean[-2:], scaler.std[-2:]) == ((0, 0), (1, 1))


def test_moments_of_parts_add_up_to_the_last_bit(both):
    parts = [samples.Moments.of(both.slice(a, 20), ALL) for a in (0, 20, 40)]
    assert parts[2] + parts[0] + parts[1] == samples.Moments.of(both, ALL)


def test_a_batch_is_window_of_its_rows_scaled(both, scaler):
    (x, _), *_ = samples.arrays(both, ALL, scaler, batch=100, start=30, choose="first", extras=("seen",))
    start = int(samples.start_days(2021, 30)[0])
    options = {"choose": "first", "channels": samples.Channels.of(ALL)}
    raw = samples.window(pixels.ragged(both), ALL.season, start, **options)
    np.testing.assert_allclose(x["series"], scaler.transform(raw.x), rtol=1e-6)
    np.testing.assert_array_equal(x["seen"], raw.seen)
    assert not x["series"][..., :-2][raw.x[..., :-2] == 0].any()


@pytest.mark.parametrize("options", [{}, {"fill": "linear"}])
def test_streamed_and_scratched_batches_are_those_in_memory(both, scaler, tmp_path, options):
    whole, pixels.schema.ROW_GROUP = pixels.schema.ROW_GROUP, 17
    try:
        pixels.write(both, tmp_path / "both.parquet", pixels.Meta.of(both))
    finally:
        pixels.schema.ROW_GROUP = whole
    options = {"batch": 16, "seed": 3, "extras": ("pixel",)} | options

    def epoch(source, **more):
        batches = list(samples.arrays(source, ALL, scaler, **options, **more))
        x = np.concatenate([x["series"] for x, _ in batches])
        return x[np.argsort(np.concatenate([x["pixel"] for x, _ in batches]))]

    expected = epoch(both)
    assert expected.shape[2] == len(ALL.channels)
    for streaming in (samples.Streaming(pool=20), samples.Streaming(pool=40, scratch=tmp_path / "scratch")):
        np.testing.assert_array_equal(epoch(tmp_path / "both.parquet", stream=streaming), expected)


def test_a_calendar_alone_needs_no_other_scaler(optical):
    study = SAMPLE.replace(day_of_year=True)
    plain, named = samples.Scaler.fit(optical), samples.Scaler.fit(optical, study)
    (x, _), (u, _) = (next(samples.arrays(optical, study, scaler, start=30)) for scaler in (plain, named))
    np.testing.assert_array_equal(x, u)
    assert x.shape[2] == 14


def test_a_data_set_has_the_channels_and_row_by_row_says_that_it_has_not(both, scaler):
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    pytest.importorskip("tensorflow")
    data = samples.batches(both, ALL, scaler, batch=32, seed=1)
    assert data.element_spec[0].shape.as_list() == [None, 6, len(ALL.channels)]
    for (x, _), (u, _) in zip(data, samples.arrays(both, ALL, scaler, batch=32, seed=1), strict=True):
        np.testing.assert_array_equal(x.numpy(), u)
    with pytest.raises(samples.SampleError, match="the bands only"):
        samples.row_by_row(both, ALL, scaler)


def test_a_model_with_channels_is_kept_loaded_and_maps_a_joined_table(both, scaler, tmp_path):
    pytest.importorskip("sklearn")
    from arsetlib import maps, models

    loader = samples.Loader(both, ALL, scaler, batch=32, extras=("seen", "day_of_year"))
    model = models.build("random_forest", steps=6, bands=len(ALL.channels), classes=7)
    trained = models.Trained(model.fit(loader.arrays()), "random_forest", scaler, ALL)
    trained.save(tmp_path / "model")
    back = models.load(tmp_path / "model")
    assert back.study.channels == ALL.channels
    assert back.study.sensors == ALL.sensors
    (x, _), *_ = back.loader(both, 30).arrays()
    np.testing.assert_array_equal(back.predict(x), trained.predict(x))
    for name, table in (("both", both), ("optical", make_table())):
        pixels.write(table, tmp_path / name / "part-0.parquet", pixels.Meta.of(table))
    made = maps.predict(back, tmp_path / "both", 30, tmp_path / "maps", progress=False)
    (x, _), *_ = back.loader(both, 30).arrays()
    seen = (x["seen"] if isinstance(x, dict) else x).any(axis=1)
    assert made.read("class").count() == seen.sum()
    with pytest.raises(maps.MapError, match=r"missing \['vv', 'vh'\]"):
        maps.predict(back, tmp_path / "optical", 30, tmp_path / "maps", progress=False)


def test_arset_batches_shows_the_channels(optical, tmp_path):
    pixels.write(optical, tmp_path / "table.parquet", pixels.Meta.of(optical))
    text = SAMPLE.text + '\n[channels]\nindices = ["ndvi"]\nday_of_year = true\n'
    for side, year in (("train", 2021), ("validation", 2020), ("test", 2019)):
        text = text.replace(f"{side} = [{year}]", f"{side} = {[2021] if side == 'train' else []}")
    (tmp_path / "study.toml").write_text(text)
    call = ["batches", str(tmp_path / "table.parquet"), str(tmp_path / "study.toml"), "--show", "--side", "train"]
    done = CliRunner().invoke(cli.app, call)
    assert all(word in done.stdout for word in ("ndvi", "day_of_year_cos", "24, 15")), (done.output, done.exception)
