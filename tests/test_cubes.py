"""Cubes of images as pixel tables: the same as a loop over pixels and dates, also for real images."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arsetlib import extras, lab, pixels, sentinel2

xarray = pytest.importorskip("xarray", reason=f"xarray is not here: {extras.install('real')}")

BANDS = {"B4": "red", "B8": "nir"}
FORM = pixels.PointFormat(label="crop", crs="EPSG:32631", block_m=1000)
DATES = np.array(["2019-12-28", "2020-01-02", "2020-03-07", "2020-03-12", "2021-06-01"], "M8[ns]")


def made(seed=0, height=3, width=4, dates=DATES, holes=0.3):
    """A cube with values, clouds, holes and pixels without a label."""
    rng = np.random.default_rng(seed)
    shape = (len(dates), height, width)
    values = {}
    gone = rng.random(shape) < holes / 2  # no value in any band
    for name in BANDS:
        value = rng.integers(500, 5000, shape).astype("f4")
        values[name] = (("time", "y", "x"), np.where(gone | (rng.random(shape) < holes / 2), np.nan, value))
    label = rng.integers(1, 4, shape[1:]).astype("f4")
    label[0, 0] = np.nan
    values["crop"] = (("y", "x"), label)
    values["SCL"] = (("time", "y", "x"), rng.integers(2, 12, shape).astype("f4"))
    place = {"x": 500_005 + 10.0 * np.arange(width), "y": 5_700_005 - 10.0 * np.arange(height), "time": dates}
    return xarray.Dataset(values, place)


def by_hand(cube, drop):
    """(x, y, year) → label and observations (day, scene class, bands), and how many observations are dropped."""
    found, dropped = {}, 0
    years = sorted({int(str(t)[:4]) for t in cube.time.values})
    for j, y in enumerate(cube.y.values):
        for i, x in enumerate(cube.x.values):
            label = cube.crop.values[j, i]
            if np.isnan(label):
                continue
            for year in years:
                found[x, y, year] = (int(label), [])
            for t, date in enumerate(cube.time.values):
                values = [cube[name].values[t, j, i] for name in BANDS]
                if np.isnan(values).all():
                    continue
                scl = int(cube.SCL.values[t, j, i])
                if scl in drop:
                    dropped += 1
                    continue
                bands = [0 if np.isnan(v) else int(v) for v in values]
                day = int(date.astype("M8[D]").astype(int))
                found[x, y, int(str(date)[:4])][1].append((day, scl, bands))
    return found, dropped


@given(seed=st.integers(0, 99), holes=st.floats(0, 0.6), drop=st.sets(st.integers(2, 11), max_size=4))
def test_a_cube_becomes_the_rows_that_a_loop_over_pixels_and_dates_makes(seed, holes, drop):
    cube = made(seed, holes=holes)
    table = pixels.from_cube(cube, BANDS, FORM, scl="SCL", drop_scl=tuple(drop))
    expected, dropped = by_hand(cube, drop)
    assert table.num_rows == len(expected)
    for i in range(table.num_rows):
        row = {name: table[name][i].as_py() for name in ("x", "y", "year", "label_code", "num_images")}
        label, observations = expected[row["x"], row["y"], row["year"]]
        day, scl, bands = pixels.series(table, i)
        assert row["label_code"] == label
        assert list(zip(day.tolist(), scl.tolist(), bands.tolist(), strict=True)) == observations
    left_out = pixels.Meta.of(table).extra["left_out"]
    assert left_out["observations_of_dropped_classes"] == dropped
    assert left_out["pixels_without_label"] == 1
    seen = sum(len(observations) for _, observations in expected.values())
    counted = seen + dropped + left_out["observations_without_value"]
    assert counted == (made().crop.notnull().sum() * len(DATES)).item()


def test_the_table_keeps_all_rules(tmp_path):
    table = pixels.from_cube(made(), BANDS, FORM, scl="SCL")
    pixels.write(table, tmp_path / "cube.parquet", pixels.Meta.of(table))
    assert pixels.check(tmp_path / "cube.parquet").ok


def test_the_order_of_dates_and_dimensions_does_not_matter():
    cube = made()
    turned = cube.isel(time=[3, 0, 4, 1, 2]).transpose("x", "time", "y")
    assert pixels.from_cube(turned, BANDS, FORM, scl="SCL").equals(pixels.from_cube(cube, BANDS, FORM, scl="SCL"))


def test_with_a_year_the_dates_of_others_are_counted_and_named():
    table = pixels.from_cube(made(holes=0), BANDS, replace(FORM, year=2020))
    assert set(table["year"].to_pylist()) == {2020}
    assert set(table["num_images"].to_pylist()) == {3}
    left_out = pixels.Meta.of(table).extra["left_out"]
    assert left_out["dates_of_another_year"] == ["2019-12-28", "2021-06-01"]


def statement(cube, epsg):
    """The same cube with a CRS that it states."""
    from pyproj import CRS

    return cube.assign(spatial_ref=((), 0, {"crs_wkt": CRS.from_epsg(epsg).to_wkt()}))


@pytest.mark.parametrize(
    ("spoil", "options", "message"),
    [
        (lambda c: c.drop_vars("B8"), {}, "Expected a variable 'B8'"),
        (lambda c: c.drop_vars("crop"), {}, "Expected a variable 'crop'"),
        (lambda c: c.rename(time="t"), {}, "Expected a variable 'time'"),
        (lambda c: c.rename(y="lat"), {}, "Expected a variable 'y'"),
        (lambda c: c.assign(crop=c.SCL), {}, "'crop': expected the dimensions"),
        (lambda c: c.assign(crop=c.crop * np.nan), {}, "received none"),
        (lambda c: c.assign_coords(x=c.x * 2), {}, "Correct resolution"),
        (lambda c: statement(c, 32632), {}, "the cube states"),
        (lambda c: c.assign_attrs(crs="EPSG:32632"), {}, "the cube states"),
        (lambda c: c.assign_attrs(crs="my own"), {}, "states a CRS that is none: 'my own'"),
        (lambda c: c.assign(B8=c.B8.assign_attrs(scale_factor=2.75e-5, add_offset=-0.2)), {}, "are not decoded"),
        (lambda c: c.assign(B8=c.B8.fillna(1).assign_attrs(_FillValue=1)), {}, r"1 means no data .* or use nodata=1"),
        (lambda c: c.assign(crop=c.crop.fillna(255).assign_attrs(nodata=255)), {}, "255 means no data .* 1 of its"),
        (lambda c: c.B4, {}, "received DataArray"),
        (lambda c: c.assign(SCL=c.SCL + 5), {"scl": "SCL"}, "scene classes 0 to 11"),
        (lambda c: c.assign(B4=c.B4 / 10_000), {}, "B4"),
        (lambda c: c.assign(B4=c.B4.fillna(700) * 100), {}, r"'B4', row 0 and column 1 of the image of 2019-12-28"),
    ],
)
def test_an_invalid_cube_is_refused_with_what_to_do(spoil, options, message):
    with pytest.raises(pixels.PixelError, match=message):
        pixels.from_cube(spoil(made()), BANDS, FORM, **options)


def test_a_cube_is_the_same_before_and_after_xarray_decodes_it(tmp_path):
    counts = made().fillna(0).astype("i2")
    stored = {"dtype": "i2", "scale_factor": 1e-4, "_FillValue": 0}
    (counts[["B4", "B8"]] / 10_000).assign(crop=counts.crop).to_netcdf(
        tmp_path / "cube.nc", encoding={"B4": stored, "B8": stored}
    )
    tables = []
    for decoded, scale, nodata in ((True, 10_000, None), (False, 1, 0)):
        with xarray.open_dataset(tmp_path / "cube.nc", mask_and_scale=decoded) as cube:
            tables.append(pixels.from_cube(cube.load(), BANDS, replace(FORM, scale=scale, nodata=nodata)))
    assert tables[0].equals(tables[1])


def test_a_cube_that_states_its_own_crs_is_read():
    assert pixels.from_cube(statement(made(), 32631), BANDS, FORM).num_rows


# -- real images -----------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:numpy.core:DeprecationWarning")  # of netCDF4, when it is imported
def test_the_real_cube_comes_out_of_the_table_as_it_went_in():
    try:
        cube = lab.cube()
    except extras.MissingPackage as problem:
        pytest.skip(str(problem))
    assert "Contains modified Copernicus Sentinel data" in cube.attrs["credit"]
    names = {"B2": "blue", "B3": "green", "B4": "red", "B8": "nir"}
    cube["trees"] = (cube.tree_cover >= 50).astype(int)
    part = cube.isel(x=slice(40, 50), y=slice(7, 12))
    form = pixels.PointFormat(label="trees", crs="EPSG:3035", block_m=300)
    table = pixels.from_cube(part, names, form, scl="SCL", drop_scl=sentinel2.DROPPED_SCL)
    days = part.time.values.astype("M8[D]").astype(int)
    for i in range(table.num_rows):
        at = part.sel(x=table["x"][i].as_py(), y=table["y"][i].as_py())
        year = table["year"][i].as_py()
        seen = (at.time.dt.year == year).values & ~at.SCL.isin(sentinel2.DROPPED_SCL).values
        day, scl, bands = pixels.series(table, i)
        assert table["label_code"][i].as_py() == int(at.trees)
        assert day.tolist() == days[seen].tolist()
        assert scl.tolist() == at.SCL.values[seen].tolist()
        assert bands.tolist() == np.stack([at[name].values[seen] for name in names], 1).tolist()


def test_the_cube_of_antwerp_is_a_table_by_its_own_names(real):
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # netCDF4 is compiled against another NumPy
        cube = xarray.open_dataset(real / "s2_l2a_scl_19dates_antwerp2023.nc").load()
    cube["crop"] = ("y", "x"), np.ones((cube.sizes["y"], cube.sizes["x"]), int)
    bands = {f"S2-L2A-{code}": name for name, code in (("blue", "B02"), ("red", "B04"), ("nir", "B08"))}
    form = pixels.PointFormat(label="crop", crs="EPSG:32631", nodata=0, block_m=1000)
    table = pixels.from_cube(cube, bands, form, time="t", scl="S2-L2A-SCL")
    value = np.stack([cube[name].values for name in bands])
    assert sum(table["num_images"].to_pylist()) == ((np.nan_to_num(value) > 0).any(0)).sum()
    assert {*table["year"].to_pylist()} == {2023}
