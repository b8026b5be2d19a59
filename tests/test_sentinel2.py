"""Bands, classes and the offset rule, tried on a real Sentinel-2 cube."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from arsetlib import sentinel2

CUBE_BANDS = ("blue", "green", "red", "nir")


@pytest.fixture(scope="module")
def cube(real):
    """Real L2A values whose offset was removed by their provider: dn (N, 4), scl (N,)."""
    with xr.open_dataset(real / "s2_l2a_scl_19dates_antwerp2023.nc") as data:
        names = [f"S2-L2A-{sentinel2.BANDS[band].esa}" for band in CUBE_BANDS]
        dn = np.stack([data[name].values.ravel() for name in names], axis=1)
        return dn.astype(np.uint16), data["S2-L2A-SCL"].values.ravel().astype(np.uint8)


def test_bands_stand_in_the_order_of_the_course():
    order = "coastal blue green red rededge1 rededge2 rededge3 nir nir08 nir09 swir16 swir22"
    assert list(sentinel2.BANDS) == order.split()
    assert [band.name for band in sentinel2.BANDS.values()] == order.split()


def test_bands_have_their_documented_wavelengths_and_resolutions():
    bands = sentinel2.BANDS.values()
    assert [b.esa for b in bands] == [
        f"B{n}" for n in ["01", "02", "03", "04", "05", "06", "07", "08", "8A", "09", "11", "12"]
    ]
    assert [b.resolution_m for b in bands] == [60, 10, 10, 10, 20, 20, 20, 10, 20, 60, 20, 20]
    waves = [b.wavelength_nm for b in bands]
    assert waves == sorted(waves)
    assert (round(waves[0]), round(waves[7]), round(waves[-1])) == (443, 833, 2202)


def test_scl_has_twelve_classes_with_their_own_colours():
    assert list(sentinel2.SCL) == list(range(12))
    assert all(value == entry.value for value, entry in sentinel2.SCL.items())
    assert len({entry.colour for entry in sentinel2.SCL.values()}) == 12
    assert sentinel2.SCL[sentinel2.VEGETATION].name == "Vegetation"
    assert {"shadow" in sentinel2.SCL[v].name.lower() for v in (2, 3)} == {True}
    assert not {2, 3, 4, 5, 6, 10} & set(sentinel2.DROPPED_SCL)


@given(npst.arrays(np.uint16, st.integers(0, 40)), st.sampled_from([0, -1000]))
def test_reflectance_keeps_no_data_apart_from_dark(dn, offset):
    got = sentinel2.reflectance_dn(dn, offset)
    expected = [0 if v == 0 else (v if offset == 0 else max(int(v) + offset, 1)) for v in dn]
    assert got.dtype == np.uint16
    assert got.tolist() == expected


S2, ES = "s2:processing_baseline", "earthsearch:boa_offset_applied"
STATED, NONE = [{"scale": 0.0001, "offset": -0.1}], [{"scale": 0.0001, "offset": 0}]


@pytest.mark.parametrize(
    ("properties", "bands", "offset"),
    [
        ({S2: "05.09", ES: True}, STATED, 0),  # removed by the provider; raster:bands still says -0.1
        ({S2: "05.09", "sentinel:boa_offset_applied": True}, STATED, 0),
        ({S2: "04.00", ES: False}, STATED, -1000),
        ({S2: "02.12", ES: False}, NONE, 0),
        ({S2: "02.12"}, STATED, 0),  # before 04.00 no product had an offset
        ({S2: "05.00"}, None, -1000),  # a reprocessed scene of 2019
        ({S2: "05.00"}, NONE, 0),  # a provider that removed it and says so
        ({"processing:version": "05.11"}, None, -1000),
        ({S2: "N0509"}, None, -1000),
        ({}, STATED * 12, -1000),
        ({}, [{"scale": 0.0001}], 0),
        ({}, None, 0),
        ({S2: "unknown"}, [], 0),
    ],
)
def test_offset_follows_the_flag_then_the_bands_then_the_baseline(properties, bands, offset):
    assert sentinel2.offset_of(properties, bands) == offset


def test_bands_with_different_offsets_are_refused():
    with pytest.raises(sentinel2.OffsetError, match="one processing offset"):
        sentinel2.offset_of({}, STATED + NONE)


def test_an_unheard_of_offset_is_refused():
    with pytest.raises(sentinel2.OffsetError, match="received -500"):
        sentinel2.offset_of({}, [{"scale": 0.0001, "offset": -0.05}])


def test_the_real_cube_agrees_with_its_true_offset(cube):
    dn, scl = cube
    assert sentinel2.check_offset(dn, scl, CUBE_BANDS, 0) is None
    assert sentinel2.check_offset(dn + 1000, scl, CUBE_BANDS, -1000) is None


def test_the_real_cube_with_1000_too_much_is_refused(cube):
    dn, scl = cube
    with pytest.raises(sentinel2.OffsetError, match="still in the values"):
        sentinel2.check_offset(dn + 1000, scl, CUBE_BANDS, 0)


def test_the_real_cube_with_1000_too_little_is_refused(cube):
    dn, scl = cube
    with pytest.raises(sentinel2.OffsetError, match="removed already"):
        sentinel2.check_offset(dn, scl, CUBE_BANDS, -1000)


def test_the_real_cube_keeps_its_reflectance_through_the_offset(cube):
    dn, _ = cube
    valid = dn > 0
    np.testing.assert_array_equal(sentinel2.reflectance_dn((dn + 1000) * valid, -1000), dn)


def test_each_date_of_the_real_cube_passes_alone(cube):
    dn, scl = cube
    for one_dn, one_scl in zip(np.split(dn, 19), np.split(scl, 19), strict=True):
        sentinel2.check_offset(one_dn, one_scl, CUBE_BANDS, 0)
        sentinel2.check_offset(one_dn + 1000, one_scl, CUBE_BANDS, -1000)


def test_vegetation_partly_under_a_missed_cloud_passes(cube):
    dn, scl = cube
    some = np.flatnonzero(scl == sentinel2.VEGETATION)[:1000]
    hazy = dn[some].copy()
    hazy[20:] = hazy[20:] * 0.8 + 1100
    assert np.percentile(hazy[:, 0], 5) > 1000
    sentinel2.check_offset(hazy, scl[some], CUBE_BANDS, 0)


def test_vegetation_wholly_under_a_missed_cloud_passes_and_an_offset_does_not():
    clear = np.tile(np.array([[300, 900]], np.uint16), (500, 1))  # blue, swir22 of vegetation
    cloud, bands, scl = np.array([5500, 3000]), ("blue", "swir22"), np.full(500, 4)
    hazy = clear * 0.8 + cloud * 0.2
    assert hazy.min() > 1000
    sentinel2.check_offset(hazy.astype(np.uint16), scl, bands, 0)
    with pytest.raises(sentinel2.OffsetError, match="still in the values"):
        sentinel2.check_offset(clear + 1000, scl, bands, 0)


def test_dark_water_and_few_pixels_prove_nothing():
    dark = np.full((200, 4), 900, np.uint16)
    sentinel2.check_offset(dark, np.full(200, 6, np.uint8), CUBE_BANDS, -1000)
    sentinel2.check_offset(dark[:40], np.full(40, 4, np.uint8), CUBE_BANDS, -1000)
    bright = np.full((200, 4), 3000, np.uint16)
    sentinel2.check_offset(bright[:190], np.full(190, 4, np.uint8), CUBE_BANDS, 0)
    sentinel2.check_offset(bright, np.full(200, 9, np.uint8), CUBE_BANDS, 0)
    sentinel2.check_offset(bright[:, :1], np.full(200, 4, np.uint8), ("nir",), 0)
    sentinel2.check_offset(bright[:0], np.zeros(0, np.uint8), CUBE_BANDS, 0)
    sentinel2.check_offset(np.zeros((200, 4), np.uint16), np.full(200, 4, np.uint8), CUBE_BANDS, -1000)
