"""Delta, Iceberg and GeoParquet: what goes in comes back, row by row, or the error says why not."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyproj import CRS
from test_pixels import META, make_table
from typer.testing import CliRunner

from arsetlib import cli, pixels
from arsetlib.pixels import lakes

deltalake = pytest.importorskip("deltalake", reason="the extra lakes is not installed")
pytest.importorskip("pyiceberg", reason="the extra lakes is not installed")
KINDS = ("delta", "iceberg")
# pyiceberg's parser still calls pyparsing by its old names, and its ORM leaves a connection to the garbage collector.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*:DeprecationWarning:pyiceberg", "ignore:unclosed database:ResourceWarning"
)


def ordered(table: pa.Table) -> list[dict]:
    """All rows in an order of their own; a lake keeps none."""
    return table.sort_by([("year", "ascending"), ("pixel", "ascending")]).to_pylist()


def there_and_back(table: pa.Table, folder: Path, kind: str) -> lakes.Lake:
    pixels.write(table, folder / "table.parquet", pixels.Meta.of(table))
    assert pixels.export(folder / "table.parquet", folder / kind, kind) == table.num_rows
    return pixels.open_lake(folder / kind)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.integers(0, 60),
    seed=st.integers(0, 2**32 - 1),
    most=st.integers(0, 30),
    bands=st.lists(st.sampled_from(META.bands), min_size=1, unique=True),
    study=st.text(max_size=20),
)
def test_a_lake_gives_back_each_row_and_the_metadata(tmp_path_factory, kind, rows, seed, most, bands, study):
    meta = replace(META, bands=tuple(bands), study=study, extra={"block_m": 10_000.0, "days": [200, 480]})
    table = make_table(rows, seed, meta, most)
    lake = there_and_back(table, tmp_path_factory.mktemp("lake"), kind)
    assert (lake.kind, lake.rows, lake.meta) == (kind, rows, meta)
    again = lake.read()
    assert again.schema.equals(pixels.SCHEMA.with_metadata(meta.to_kv()), check_metadata=True)
    assert ordered(again) == ordered(table)


@pytest.mark.parametrize("kind", KINDS)
def test_real_points_come_back_from_a_lake(real, tmp_path, kind):
    frame = pd.read_parquet(real / "s2_points_uganda_south_sudan_2017.parquet")
    codes = {crop: i for i, crop in enumerate(frame["ewoc_code"].unique().tolist())}
    form = pixels.PointFormat(
        label="ewoc_code", codes=codes, crs="EPSG:32636", year="year", nodata=65_535, twins="first"
    )
    dates = [month + np.timedelta64(14, "D") for month in np.arange("2016-12", "2017-12", dtype="datetime64[M]")]
    bands = {"B04": "red", "B08": "nir", "B11": "swir16"}
    table = pixels.from_wide(frame, bands, dates, column="OPTICAL-{band}-ts{step}-*", form=form)
    lake = there_and_back(table, tmp_path, kind)
    assert lake.meta.bands == ("red", "nir", "swir16")
    assert not lake.meta.simulated
    assert ordered(lake.read()) == ordered(table)


@pytest.fixture
def folder(tmp_path):
    """A table of two files."""
    pixels.write(
        make_table(90, seed=1), tmp_path / "table" / "a.parquet", replace(META, extra={"chunk": "a", "block_m": 1e4})
    )
    west = make_table(40, seed=2, west=500_010)
    pixels.write(west, tmp_path / "table" / "b.parquet", replace(META, extra={"chunk": "b", "block_m": 1e4}))
    return tmp_path / "table"


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_of_several_files_is_one_commit_with_the_facts_of_all_files(folder, tmp_path, kind):
    pixels.export(folder, tmp_path / "lake", kind)
    lake = pixels.open_lake(tmp_path / "lake")
    assert lake.meta.extra == {"block_m": 10_000.0}
    assert ordered(lake.read()) == ordered(pixels.read(folder))
    assert lake.read(["pixel", "year"]).column_names == ["pixel", "year"]
    assert pixels.write(lake.batches(), tmp_path / "again.parquet", lake.meta) == 130
    assert pixels.check(tmp_path / "again.parquet").ok
    if kind == "delta":
        assert deltalake.DeltaTable(str(tmp_path / "lake")).version() == 0
    else:
        (newest,) = (tmp_path / "lake").glob("arset/pixels/metadata/*.metadata.json")
        assert ordered(pixels.open_lake(newest).read()) == ordered(pixels.read(folder))


@pytest.mark.parametrize("kind", KINDS)
def test_a_target_with_something_in_it_is_refused(folder, tmp_path, kind):
    pixels.export(folder, tmp_path / "lake", kind)
    with pytest.raises(pixels.PixelError, match="contains something.*delete it first"):
        pixels.export(folder, tmp_path / "lake", kind)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    with pytest.raises(pixels.PixelError, match=r"contains something \(notes.txt\)"):
        pixels.export(folder, tmp_path / "mine", kind)
    with pytest.raises(pixels.PixelError, match="is a file"):
        pixels.export(folder, tmp_path / "mine" / "notes.txt", kind)
    assert (tmp_path / "mine" / "notes.txt").read_text() == "keep"
    with pytest.raises(pixels.PixelError, match="'delta', 'iceberg', 'geoparquet', received 'hudi'"):
        pixels.export(folder, tmp_path / "other", "hudi")


SLOW = """
import sys, time
from arsetlib import pixels
from arsetlib.pixels import lakes
whole = lakes.stream
def slow(path, *columns):
    for number, piece in enumerate(whole(path, *columns)):
        if number == 1:
            print("go", flush=True)
            time.sleep(60)
        yield piece
lakes.stream = slow
pixels.export(*sys.argv[1:])
"""


@pytest.mark.parametrize("kind", [*KINDS, "geoparquet"])
def test_a_killed_export_is_no_table_and_the_same_call_makes_it(folder, tmp_path, kind):
    out = tmp_path / "lake"
    command = [sys.executable, "-W", "ignore", "-c", SLOW, str(folder), str(out), kind]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "go\n"
    time.sleep(0.2)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    with pytest.raises(pixels.PixelError, match="stopped|no table|found n"):
        pixels.read(out) if kind == "geoparquet" else pixels.open_lake(out)
    assert pixels.export(folder, out, kind) == 130
    again = pixels.read(out) if kind == "geoparquet" else pixels.open_lake(out).read()
    assert ordered(again) == ordered(pixels.read(folder))


@pytest.mark.parametrize("kind", KINDS)
def test_the_files_of_a_lake_are_not_read_as_a_pixel_table(folder, tmp_path, kind):
    pixels.export(folder, tmp_path / "lake", kind)
    with pytest.raises(pixels.PixelError, match=r"files of deleted rows.*pixels\.open_lake"):
        pixels.read(tmp_path / "lake")


def test_deleted_rows_of_a_delta_table_are_noticed_and_its_first_version_is_read(folder, tmp_path):
    pixels.export(folder, tmp_path / "lake", "delta")
    deltalake.DeltaTable(str(tmp_path / "lake")).delete("year = 2020")
    with pytest.raises(pixels.PixelError, match=r"130 were exported. Rows were deleted or added.*version=…"):
        pixels.open_lake(tmp_path / "lake")
    assert ordered(pixels.open_lake(tmp_path / "lake", version=0).read()) == ordered(pixels.read(folder))
    with pytest.raises(pixels.PixelError, match="cannot be read as a Delta table"):
        pixels.open_lake(tmp_path / "lake", version=9)


def test_deleted_rows_of_an_iceberg_table_are_noticed_and_its_first_snapshot_is_read(folder, tmp_path):
    pixels.export(folder, tmp_path / "lake", "iceberg")
    catalogue = lakes._catalogue(tmp_path / "lake")
    table = catalogue.load_table(lakes.NAME)
    first = table.current_snapshot().snapshot_id
    table.delete("year == 2020")
    catalogue.close()
    with pytest.raises(pixels.PixelError, match="130 were exported. Rows were deleted or added"):
        pixels.open_lake(tmp_path / "lake")
    assert ordered(pixels.open_lake(tmp_path / "lake", version=first).read()) == ordered(pixels.read(folder))
    with pytest.raises(pixels.PixelError, match=f"has no snapshot 9. It has: {first}"):
        pixels.open_lake(tmp_path / "lake", version=9)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: None, "table of another program: expected arset"),
        (lambda d: "bought in May", "table of another program"),
        (lambda d: d | {"arset.version": "99"}, "schema version 99"),
        (lambda d: {k: v for k, v in d.items() if k != "arset.bands"}, "expected arset.bands"),
        (lambda d: {k: v for k, v in d.items() if k != "arset.rows"}, "lacks arset.rows"),
        (lambda d: d | {"arset.rows": "few"}, "it is no number"),
        (lambda d: d | {"arset.scale": "0.0001]"}, "expected arset.scale as JSON"),
    ],
)
def test_a_delta_table_with_other_metadata_is_refused(tmp_path, change, says):
    said = change(lakes._properties(META, 5))
    said = json.dumps(said) if isinstance(said, dict) else said
    rows = make_table(5).set_column(9, "label_confidence", pa.nulls(5, pa.int16())).replace_schema_metadata(None)
    deltalake.write_deltalake(str(tmp_path / "lake"), rows, description=said)
    with pytest.raises(pixels.PixelError, match=says):
        pixels.open_lake(tmp_path / "lake")


def test_what_is_no_lake_or_lost_a_file_is_named(folder, tmp_path):
    with pytest.raises(pixels.PixelError, match="found neither.*A pixel table is read by pixels.read"):
        pixels.open_lake(folder)
    for kind in KINDS:
        pixels.export(folder, tmp_path / kind, kind)
        lake = pixels.open_lake(tmp_path / kind)
        next((tmp_path / kind).glob("**/*.parquet")).unlink()
        with pytest.raises(pixels.PixelError, match="its rows cannot be read"):
            lake.read()


def test_geoparquet_has_the_metadata_of_its_specification_and_points_at_pixel_centres(folder, tmp_path):
    out = tmp_path / "points.parquet"
    assert pixels.export(folder, out, "geoparquet") == 130
    with pytest.raises(pixels.PixelError, match="exists"):
        pixels.export(folder, out, "geoparquet")
    table, original = pq.read_table(out), pixels.read(folder)
    geo = json.loads(table.schema.metadata[b"geo"])
    assert set(geo) == {"version", "primary_column", "columns"}
    assert (geo["version"], geo["primary_column"], list(geo["columns"])) == ("1.1.0", "geometry", ["geometry"])
    column = geo["columns"]["geometry"]
    assert (column["encoding"], column["geometry_types"], column["edges"]) == ("WKB", ["Point"], "planar")
    assert CRS.from_json_dict(column["crs"]) == CRS(META.crs)
    points = shapely.from_wkb(table["geometry"].to_numpy())
    assert column["bbox"] == shapely.total_bounds(points).tolist()
    assert shapely.get_coordinates(points).T.tolist() == [original["x"].to_pylist(), original["y"].to_pylist()]
    assert pixels.read(out).equals(original)
    assert pixels.Meta.of(out).bands == META.bands


def test_duckdb_reads_the_geoparquet_file(folder, tmp_path):
    duckdb = pytest.importorskip("duckdb")
    pixels.export(folder, tmp_path / "points.parquet", "geoparquet")
    query = f"SELECT count(*), sum(octet_length(bands)) FROM '{tmp_path / 'points.parquet'}'"
    (said,) = duckdb.sql(query).fetchall()
    assert said == (130, sum(map(len, pixels.read(folder)["bands"].to_pylist())))


def test_memory_of_an_export_does_not_grow_with_the_table(folder, tmp_path, monkeypatch):
    """Batches are taken as they are asked for: never are two row groups in memory."""
    alive, most = [], []

    class Piece:
        def __init__(self, batch):
            self.batch = batch
            alive.append(1)
            most.append(len(alive))

        def __del__(self):
            alive.pop()

    batch = make_table(50).combine_chunks().to_batches()[0]
    monkeypatch.setattr(lakes, "stream", lambda path, *a: (Piece(batch) for _ in range(200)))
    reader = lakes._batches(folder, {})
    assert sum(b.num_rows for b in reader) == 200 * 50
    assert max(most) <= 2


def test_the_command_exports_and_says_how_many_rows(folder, tmp_path):
    done = CliRunner().invoke(cli.app, ["export", str(folder), str(tmp_path / "lake"), "--to", "delta"])
    assert done.exit_code == 0, done.output
    assert "130 rows in" in done.output
    assert pixels.open_lake(tmp_path / "lake").rows == 130
