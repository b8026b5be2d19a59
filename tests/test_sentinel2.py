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
    with pytest.raises(sentinel2.OffsetError, match="different processing offsets"):
        sentinel2.offset_of({}, STATED + NONE)


def test_an_unheard_of_offset_is_refused():
    with pytest.raises(sentinel2.OffsetError, match="offset of -500 DN; expected 0 or -1000"):
        sentinel2.offset_of({}, [{"scale": 0.0001, "offset": -0.05}])


@pytest.mark.parametrize(
    "properties", [{"s2:processing_baseline": "02.14"}, {"earthsearch:boa_offset_applied": True}, {}]
)
@pytest.mark.parametrize("stated", [{"scale": 2.75e-5, "offset": -0.2}, {"offset": float("nan")}])
def test_no_other_fact_of_an_item_hides_an_offset_that_cannot_be(properties, stated):
    with pytest.raises(sentinel2.OffsetError, match="expected 0 or -1000|expected -0.1"):
        sentinel2.offset_of(properties, [stated])  # Landsat's, say


def test_the_real_cube_keeps_its_reflectance_through_the_offset(cube):
    dn, _ = cube
    valid = dn > 0
    np.testing.assert_array_equal(sentinel2.reflectance_dn((dn + 1000) * valid, -1000), dn)


@pytest.mark.parametrize(
    ("asset", "stated"),
    [
        ({}, {}),
        (
            {"raster:bands": [{"scale": 0.0001, "offset": -0.1, "nodata": 0}]},
            {"scale": 1e-4, "offset": -0.1, "nodata": 0},
        ),
        ({"raster:scale": 0.0001, "raster:offset": -0.1}, {"scale": 1e-4, "offset": -0.1}),
        (
            {"bands": [{"raster:scale": 0.0001, "raster:offset": 0, "nodata": -9999}]},
            {"scale": 1e-4, "offset": 0, "nodata": -9999},
        ),
        (
            {"nodata": "nan", "raster:scale": 1e-4, "raster:bands": [{"scale": 0.0001}]},
            {"scale": 1e-4, "nodata": "nan"},
        ),
        ({"nodata": 0, "raster:bands": [{"nodata": -9999}]}, {"nodata": -9999.0}),
        ({"bands": [], "raster:bands": None}, {}),
    ],
)
def test_what_is_stated_is_found_wherever_it_can_stand(asset, stated):
    got = sentinel2.stated_of(asset)
    assert {k: str(v) if v != v else v for k, v in got.items()} == stated


@pytest.mark.parametrize(
    "asset",
    [
        {"raster:offset": 0, "raster:bands": [{"offset": -0.1}]},
        {"raster:scale": "0,0001"},
        {"nodata": -9999, "raster:bands": [{"nodata": 65535}]},
        {"raster:offset": True},
    ],
)
def test_statements_that_contradict_each_other_or_are_no_numbers_are_refused(asset):
    with pytest.raises(sentinel2.OffsetError, match="states"):
        sentinel2.stated_of(asset)


def test_an_offset_stated_in_numbers_of_the_file_is_understood():
    assert sentinel2.offset_of({}, [{"scale": 1.0, "offset": -1000}]) == -1000
    assert sentinel2.offset_of({}, [{"scale": 1.0, "offset": 0.0}]) == 0
    assert sentinel2.offset_of({}, [{"scale": 0.0001, "offset": -1000}]) == -1000
    assert sentinel2.offset_of({}, [{"scale": 0.0002, "offset": -0.1}]) == -1000
