"""Files become reflectance × 10,000, or an error that names what came."""

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp
from rasterio.transform import from_origin

from arsetlib.catalogue import Scene
from arsetlib.ingest import reflectance
from arsetlib.ingest.reflectance import ReflectanceError, encoding_of, to_dn
from arsetlib.ingest.survey import survey
from arsetlib.study import Area, Study

DN = np.array([[0, 1, 350], [4200, 12_000, 20_000]])


def write(path, data, *, scale=None, offset=None, mask=None, colormap=None, count=1, colorinterp=None, **more):
    with rasterio.open(
        path, "w", driver="GTiff", width=data.shape[1], height=data.shape[0], count=count, dtype=data.dtype,
        crs="EPSG:32636", transform=from_origin(0, 0, 10, 10), **more,
    ) as out:  # fmt: skip
        for i in range(count):
            out.write(data, i + 1)
        if scale is not None:
            out.scales = [scale] * count
        if offset is not None:
            out.offsets = [offset] * count
        if mask is not None:
            out.write_mask(mask)
        if colormap:
            out.write_colormap(1, colormap)
        if colorinterp:
            out.colorinterp = colorinterp
    return path


def read(path, scale=None, nodata=None):
    with rasterio.open(path) as src:
        how = encoding_of(src, scale, nodata)
        return to_dn(src.read(1), how, src.read_masks(1) > 0 if how.masked else None), how


GOOD = {
    "as Sentinel-2 has it": (DN.astype("u2"), {}, {}),
    "its own scale": (DN.astype("u2"), {"scale": 1e-4, "offset": 0}, {"scale": 1e-4}),
    "scale 1, which tools write": (DN.astype("u2"), {}, {"scale": 1.0}),
    "signed": (DN.astype("i2"), {}, {}),
    "signed with its own no data": (np.where(DN, DN, -9999).astype("i2"), {"nodata": -9999}, {}),
    "signed, no data in the item": (np.where(DN, DN, -9999).astype("i2"), {}, {"nodata": -9999}),
    "65535 as no data": (np.where(DN, DN, 65535).astype("u2"), {"nodata": 65535}, {}),
    "wide": (DN.astype("i4"), {}, {}),
    "whole numbers in a float file": (DN.astype("f4"), {}, {}),
    "whole numbers, NaN as no data": (np.where(DN, DN, np.nan).astype("f4"), {"nodata": np.nan}, {}),
    "NaN not even stated": (np.where(DN, DN, np.nan).astype("f4"), {}, {}),
    "whole floats, scale 1": (DN.astype("f4"), {}, {"scale": 1.0}),
    "fractions, scale stated": (np.where(DN, DN + 0.3, 0).astype("f4"), {}, {"scale": 1e-4}),
    "reflectance 0-1, stated": ((DN / 1e4).astype("f4"), {}, {"scale": 1.0}),
    "percent, stated by the item": ((DN / 1e2).astype("f4"), {}, {"scale": 0.01}),
    "percent, stated by the file": ((DN / 1e2).astype("f4"), {"scale": 0.01}, {}),
    "half the scale": ((DN * 2).astype("u2"), {"scale": 5e-5}, {}),
    "a mask of its own": (np.where(DN, DN, 777).astype("u2"), {"mask": DN > 0}, {}),
}


@pytest.mark.parametrize(("data", "file", "item"), GOOD.values(), ids=GOOD)
def test_what_is_stated_is_read_rightly(tmp_path, data, file, item):
    dn, _ = read(write(tmp_path / "band.tif", data, **file), **item)
    assert dn.tolist() == DN.tolist()
    assert dn.dtype in (np.uint16, np.int32)


BAD = {
    "reflectance 0-1": ((DN / 1e4).astype("f4"), {}, {}, r"float32 with values such as 0\.\d+.*no scale is stated"),
    "percent": ((DN / 1e2 + 0.003).astype("f4"), {}, {}, "If they are percent"),
    "0-1 with the old scale": ((DN / 1e4).astype("f4"), {}, {"scale": 1e-4}, "scaled already"),
    "8 bits": (DN.clip(0, 255).astype("u1"), {}, {}, "uint8 and no scale"),
    "colours": (DN.clip(0, 255).astype("u1"), {"colormap": {1: (1, 2, 3, 255)}}, {}, "palette"),
    "three layers": (DN.clip(0, 255).astype("u1"), {"count": 3}, {}, "3 layers"),
    "complex": (DN.astype("c8"), {}, {}, "complex64"),
    "two scales": (DN.astype("u2"), {"scale": 1e-4}, {"scale": 2e-4}, "item states scale 0.0002 and the file 0.0001"),
    "an unknown offset": (DN.astype("u2"), {"scale": 1e-4, "offset": -0.2}, {}, "offset 0 or -0.1"),
    "scale 0": (DN.astype("u2"), {}, {"scale": 0.0}, "above 0"),
}


@pytest.mark.parametrize(("data", "file", "item", "says"), BAD.values(), ids=BAD)
def test_what_is_something_else_is_refused(tmp_path, data, file, item, says):
    with pytest.raises(ReflectanceError, match=says):
        read(write(tmp_path / "band.tif", data, **file), **item)


def test_a_band_with_an_alpha_layer_is_read_through_it(tmp_path):
    path = tmp_path / "band.tif"
    write(path, DN.astype("u2"), count=2, colorinterp=[ColorInterp.gray, ColorInterp.alpha])
    with rasterio.open(path, "r+") as out:
        out.write(np.where(DN > 350, 65535, 0).astype("u2"), 2)
    assert read(path)[0].tolist() == np.where(DN > 350, DN, 0).tolist()


@pytest.mark.parametrize(
    ("scale", "offset", "states"), [(1e-4, -0.1, -1000), (1e-4, 0, 0), (None, -1000, -1000), (1e-4, -1000, -1000)]
)
def test_the_offset_that_a_file_states_is_told(tmp_path, scale, offset, states):
    assert read(write(tmp_path / "band.tif", DN.astype("u2"), scale=scale, offset=offset))[1].offset == states


def test_a_file_of_sentinel_2_is_passed_on_without_a_copy(tmp_path):
    with rasterio.open(write(tmp_path / "band.tif", DN.astype("u2"), nodata=0)) as src:
        data, how = src.read(1), encoding_of(src, 1e-4, 0)
    assert how.plain
    assert to_dn(data, how) is data


@pytest.mark.parametrize("scale", [None, 1.0])
@pytest.mark.parametrize(("filler", "shown"), [(-9999, "-9999"), (-3.4028234663852886e38, r"-3\.40282e\+38")])
def test_a_value_of_no_data_that_nobody_states_is_named_beside_fractions(tmp_path, scale, filler, shown):
    data = np.append(DN / 1e4, np.full((3, 3), filler), axis=0).astype("f4")
    with pytest.raises(ReflectanceError, match=rf"and {shown} on 9 pixels: a value of no data that nobody states"):
        read(write(tmp_path / "band.tif", data), scale=scale)


def test_dark_values_stay_apart_from_missing_ones(tmp_path):
    data = np.array([[0.0, 0.00002, -0.003]], "f4")
    dn, _ = read(write(tmp_path / "band.tif", data), scale=1.0)
    assert dn.tolist() == [[0, 1, -30]]


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "f4"])
def test_scene_classes_of_any_whole_type_are_read(dtype):
    data = np.array([0, 4, 11, 5], dtype)
    how = reflectance.Encoding(1.0, (), True, False, None, dtype, True, False)
    assert reflectance.scene_classes(data, how).tolist() == [0, 4, 11, 5]


@pytest.mark.parametrize(
    ("data", "says"),
    [(np.array([4, 4.5], "f4"), "fractions such as 4.5.*nearest"), (np.array([4, 12], "u1"), "outside 0 to 11")],
)
def test_what_is_no_scene_classification_is_refused(data, says):
    how = reflectance.Encoding(1.0, (), True, False, None, str(data.dtype), True, False)
    with pytest.raises(ReflectanceError, match=says):
        reflectance.scene_classes(data, how)
    assert reflectance.scene_classes(data[:1], how).tolist() == [4]


def test_no_data_of_the_classification_becomes_0():
    how = reflectance.Encoding(1.0, (255.0,), True, False, None, "uint8", True, False)
    assert reflectance.scene_classes(np.array([4, 255], "u1"), how).tolist() == [4, 0]


def test_a_few_values_outside_the_range_are_dropped_and_many_refused():
    dn = np.full((2, 1000), 3000, np.uint16)
    dn[1, :3] = 64_700, 40_000, 65_535
    assert np.flatnonzero(~reflectance.refuse_many_outside(dn, 0, ("red", "nir"))).tolist() == [0, 1, 2]
    dn[1, 3:400] = 65_535  # saturated: bright, not broken
    assert np.count_nonzero(reflectance.refuse_many_outside(dn, 0, ("red", "nir"))) == 600
    dn[0, 500:520] = 64_700
    with pytest.raises(ReflectanceError, match="red: 20 of 1,000.*64,700.*wrapped"):
        reflectance.refuse_many_outside(dn, 0, ("red", "nir"))


def test_no_data_that_nobody_stated_is_named():
    dn = np.where(np.arange(300)[None] < 60, -9999, 2500).astype(np.int32)
    with pytest.raises(ReflectanceError, match="60 of 300.*-9,999.*state it"):
        reflectance.refuse_many_outside(dn, 0, ("red",))


def test_snow_cloud_and_dark_water_are_in_range():
    assert reflectance.in_range(np.array([20_000, 32_767, 0, -40, -1000]), 0).all()
    assert reflectance.in_range(np.array([1, 900, 33_767], np.uint16), -1000).all()


@pytest.mark.parametrize(("fill", "dtype"), [(-999, "i2"), (-1, "i2"), (32_767, "i2"), (32_767, "u2"), (-1000, "i4")])
def test_one_impossible_value_in_all_bands_is_no_data_that_nobody_states(fill, dtype):
    dn = np.tile(np.array([[400], [900], [3000]], dtype), 1000)
    dn[:, :4] = fill
    assert np.flatnonzero(~reflectance.refuse_many_outside(dn, 0, ("red", "green", "nir"))).tolist() == [0, 1, 2, 3]
    dn[:, 4:300] = fill
    with pytest.raises(ReflectanceError, match=f"300 of 1,000 pixels hold {fill:,} in every band.*State it"):
        reflectance.refuse_many_outside(dn, 0, ("red", "green", "nir"))


def test_dark_water_whose_bands_happen_to_agree_is_kept():
    dn = np.tile(np.array([[-3], [-3]], "i2"), 500)
    assert reflectance.refuse_many_outside(dn, 0, ("swir16", "swir22")).all()


def one_scene(folder, factor, crs="EPSG:32636", scl=4):
    """What a survey says of one scene of green land, its values multiplied by a factor."""
    left, top, side = (32.82, 2.27, 1e-4) if crs == "EPSG:4326" else (480_000, 250_000, 10)
    ground = {"red": 500, "nir": 4000}
    grid = {"width": 100, "height": 100, "crs": crs, "transform": from_origin(left, top, side, side)}
    for name, value in {**ground, "scl": scl}.items():
        data = np.full((100, 100), value if name == "scl" else round(value * factor), "u1" if name == "scl" else "u2")
        with rasterio.open(folder / f"{name}.tif", "w", driver="GTiff", count=1, dtype=data.dtype, **grid) as out:
            out.write(data, 1)
    area = Area("home", {}, (left, top - 100 * side, left + 100 * side, top), crs)
    study = Study.load("mississippi_delta").replace(areas=(area,), bands=tuple(ground))
    scene = Scene(
        id="one", day=18_800, datetime="2021-06-22T08:20:00Z", platform="sentinel-2a", tile=None,
        epsg=int(crs[5:]), footprint=area.outline(), cloud=None, baseline="02.14", offset=0,
        hrefs={name: str(folder / f"{name}.tif") for name in (*ground, "scl")}, offset_by="old baseline",
    )  # fmt: skip
    return survey([scene], study)


@pytest.mark.parametrize("crs", ["EPSG:32636", "EPSG:4326"])
@pytest.mark.parametrize(
    ("factor", "says"), [(6.5535, "half of the vegetation is over"), (0.1, "brightest vegetation has 400 in nir")]
)
def test_vegetation_too_bright_or_too_dark_to_be_reflectance_times_10_000_is_refused(tmp_path, crs, factor, says):
    assert says in one_scene(tmp_path, factor, crs).bad["one"]


def test_land_brighter_than_snow_is_refused(tmp_path):
    assert "half of the land is over 26214 in nir" in one_scene(tmp_path, 6.5535, scl=5).bad["one"]
    assert not one_scene(tmp_path, 3, scl=5).bad


@pytest.mark.parametrize("crs", ["EPSG:32636", "EPSG:4326"])
def test_a_scene_is_looked_at_in_metres_and_in_degrees(tmp_path, crs):
    found = one_scene(tmp_path, 1, crs)
    assert not found.bad
    assert found.decisions["one"]["answer"] == "confirmed"


def test_values_where_the_scene_itself_says_no_data_condemn_nothing(tmp_path):
    assert not one_scene(tmp_path, 16, scl=0).bad


def test_bare_land_that_is_dark_on_every_date_has_another_unit(tmp_path):
    found = one_scene(tmp_path, 0.1, scl=5)  # x 1,000: 50 and 400 where 500 and 4000 are meant
    assert "the brightest land of all 1 scenes has 400 in nir" in found.bad["one"]
    assert not one_scene(tmp_path, 0.2, scl=5).bad


@pytest.mark.parametrize(
    ("driver", "options", "lossy"),
    [
        ("JPEG", {}, True),
        ("GTiff", {"compress": "JPEG"}, True),
        ("GTiff", {"compress": "LERC", "MAX_Z_ERROR": 2}, True),
        ("GTiff", {"compress": "LERC"}, False),
        ("GTiff", {"compress": "deflate"}, False),
    ],
)
@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_scene_classes_saved_with_losses_are_refused(tmp_path, driver, options, lossy):
    file = tmp_path / "scl"
    with rasterio.open(file, "w", driver=driver, width=32, height=32, count=1, dtype="uint8", **options) as out:
        out.write(np.full((32, 32), 4, "u1"), 1)
    with rasterio.open(file) as src:
        if lossy:
            with pytest.raises(reflectance.ReflectanceError, match="changes classes"):
                reflectance.classes_of(src)
        else:
            assert reflectance.classes_of(src).factor == 1
