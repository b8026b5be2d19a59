"""The pixel table against plain loops, on tables made here and on real values."""

import errno
import json
import math
import struct
import tempfile
from collections import Counter
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer

from arsetlib import cdl, pixels, sentinel2

BANDS = tuple(sentinel2.BANDS)
META = pixels.Meta(BANDS, "EPSG:5070", 30.0, "test", True, extra={"block_m": 10_000.0})
TO_LONLAT = Transformer.from_crs("EPSG:5070", "EPSG:4326", always_xy=True)
CODES = (1, 2, 3, 5, 24, 26, 111, 141, 176, 254)
EPOCH = date(1970, 1, 1)


def make_table(rows=50, seed=0, meta=META, most=20, years=(2019, 2020, 2021), west=420_000) -> pa.Table:
    """A valid table: pixels side by side from `west` on, each with up to `most` images in one of the years."""
    random = np.random.default_rng(seed)
    counts = random.integers(0, most + 1, rows)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    year = np.array(years)[np.arange(rows) % len(years)]
    first = np.array([(date(int(y), 1, 1) - EPOCH).days for y in year])
    day = [f + np.sort(random.choice(365, n, replace=False)) for f, n in zip(first, counts, strict=True)]
    x = west + 30.0 * (np.arange(rows) // len(years))
    y = np.full(rows, 1_410_000.0)
    lon, lat = Transformer.from_crs(meta.crs, "EPSG:4326", always_xy=True).transform(x, y)
    batch = pixels.make_batch(
        day=np.concatenate(day) if rows else [],
        scl=random.integers(2, 7, offsets[-1]),
        bands=random.integers(1, 10_000, (offsets[-1], len(meta.bands))),
        offsets=offsets,
        pixel=pixels.pixel_id(x, y, meta.resolution),
        year=year,
        area=["north" if i % 2 else "south" for i in range(rows)],
        block=pixels.block_id(x, y, 10_000),
        x=x,
        y=y,
        lon=lon,
        lat=lat,
        label_code=random.choice(CODES, rows),
        label_confidence=np.ma.masked_array(random.integers(0, 101, rows), mask=random.random(rows) < 0.2),
    )
    return pa.Table.from_batches([batch]).replace_schema_metadata(meta.to_kv())


def change(table: pa.Table, row: int, **values) -> pa.Table:
    """The table with other values in one row."""
    for name, value in values.items():
        column = table[name].to_pylist()
        column[row] = value
        place = table.column_names.index(name)
        kind = pixels.SCHEMA.field(name)
        table = table.set_column(place, kind, pa.array(column, kind.type))
    return table


def decode(row: dict, bands=12) -> tuple[list, list, list]:
    """A row's series, number by number."""
    n = len(row["day"]) // 2
    flat = struct.unpack(f"<{n * bands}H", row["bands"])
    images = [list(flat[i * bands : (i + 1) * bands]) for i in range(n)]
    return list(struct.unpack(f"<{n}H", row["day"])), list(row["scl"]), images


@pytest.fixture
def folder(tmp_path):
    """A finished table of two files, three row groups in the first."""
    out = tmp_path / "table"
    pixels.write(make_table(90, seed=1), out / "north-2019-0-0.parquet", META)
    pixels.write(make_table(40, seed=2, west=500_010), out / "south-2019-0-0.parquet", META)
    (out / "_run.json").write_text(json.dumps({"status": "complete", "schema_version": 1}))
    return out


# Identities


def test_pixel_numbers_follow_their_formula():
    assert pixels.pixel_id(45.0, -75.0, 30.0) == (2 + 2**24) * 2**25 + 1 + 2**24
    assert pixels.pixel_id(-106_080.0, 1_822_590.0, 30.0) == (-60_753 + 2**24) * 2**25 - 3536 + 2**24


@given(
    st.sampled_from([0.0, 0.5]),
    st.integers(-200_000, 200_000),
    st.integers(-200_000, 200_000),
    st.floats(-0.2, 0.2),
    st.sampled_from([10.0, 30.0]),
)
def test_pixel_numbers_are_those_of_row_and_column_wherever_in_the_middle(phase, col, row, off, size):
    x, y = (col + phase + off) * size, -(row + phase + off) * size
    assert pixels.pixel_id(x, y, size) == (row + 2**24) * 2**25 + col + 2**24


@given(st.floats(-3e6, 3e6), st.floats(-3e6, 1e7))
def test_block_numbers_follow_their_formula(x, y):
    expected = (math.floor(y / 1000) + 20_000) * 40_000 + math.floor(x / 1000) + 20_000
    assert pixels.block_id(x, y, 1000) == expected


def test_blocks_too_small_to_number_are_refused():
    with pytest.raises(pixels.PixelError, match="larger block_m"):
        pixels.block_id(np.array([0.0, 5e5]), np.array([0.0, 4e6]), 100)


# Series


def test_a_batch_holds_the_given_arrays_themselves():
    day, scl = np.arange(18_000, 18_006, dtype="<u2"), np.full(6, 4, "u1")
    bands = np.arange(72, dtype="<u2").reshape(6, 12)
    batch = make_small(day, scl, bands, [0, 2, 2, 6])
    flat = pixels.ragged(batch)
    for ours, given_ in ((flat.day, day), (flat.scl, scl), (flat.bands, bands)):
        assert np.shares_memory(ours, given_)
        np.testing.assert_array_equal(ours, given_)
    assert flat.offsets.tolist() == [0, 2, 2, 6]
    assert flat.rows.tolist() == [0, 0, 2, 2, 2, 2]
    assert batch.schema.equals(pixels.SCHEMA)


def make_small(day, scl, bands, offsets, **columns):
    defaults = dict.fromkeys(("pixel", "block", "x", "y", "lon", "lat"), 0) | {
        "year": 2021,
        "area": "a",
        "label_code": 1,
    }
    return pixels.make_batch(day=day, scl=scl, bands=bands, offsets=offsets, **(defaults | columns))


@pytest.mark.parametrize(
    ("day", "scl", "bands", "offsets"),
    [([1], [4, 4], [[1] * 12] * 2, [0, 2]), ([1], [4], [1], [0, 1]), ([1, 2], [4, 4], [[1] * 12] * 2, [1, 2])],
)
def test_arrays_that_disagree_make_no_batch(day, scl, bands, offsets):
    with pytest.raises(pixels.PixelError, match="Expected as many days"):
        make_small(day, scl, bands, offsets)


def test_a_missing_or_unknown_column_makes_no_batch():
    with pytest.raises(pixels.PixelError, match=r"unknown \['crop'\]"):
        make_small([1], [4], [[1] * 12], [0, 1], crop=1)
    with pytest.raises(pixels.PixelError, match=r"missing .*'area'"):
        pixels.make_batch(day=[1], scl=[4], bands=[[1] * 12], offsets=[0, 1], pixel=1)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 12), st.integers(0, 2**32 - 1), st.data())
def test_series_are_those_of_a_plain_loop_in_chunks_and_slices(rows, seed, data):
    table = make_table(rows, seed)
    cut = data.draw(st.integers(0, rows))
    table = pa.concat_tables([table.slice(0, cut), table.slice(cut)]).slice(data.draw(st.integers(0, rows)))
    flat = pixels.ragged(table)
    for i, row in enumerate(table.to_pylist()):
        day, scl, bands = decode(row)
        here = slice(flat.offsets[i], flat.offsets[i + 1])
        for got in ((flat.day[here], flat.scl[here], flat.bands[here]), pixels.series(table, i)):
            assert [part.tolist() for part in got] == [day, scl, bands]
    assert len(flat.offsets) == table.num_rows + 1
    assert len(flat.day) == len(flat.scl) == len(flat.bands) == flat.offsets[-1]


def test_a_table_read_as_one_chunk_is_viewed_and_not_copied(folder):
    table = pixels.read(folder).combine_chunks()
    address = table["bands"].chunk(0).buffers()[2].address
    flat = pixels.ragged(table)
    assert flat.bands.__array_interface__["data"][0] == address
    assert flat.bands.shape == (sum(table["num_images"].to_pylist()), 12)


def test_large_byte_strings_are_read_too():
    table = make_table(10)
    wide = table.set_column(table.column_names.index("bands"), "bands", table["bands"].cast(pa.large_binary()))
    np.testing.assert_array_equal(pixels.ragged(wide).bands, pixels.ragged(table).bands)


def test_series_of_unequal_length_are_refused_with_their_row():
    table = change(make_table(10, most=5), 7, scl=b"\4\4")
    with pytest.raises(pixels.PixelError, match="Row 7: expected"):
        pixels.ragged(table)


# Writing and reading


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 40), st.integers(0, 2**32 - 1), st.integers(1, 41))
def test_what_was_written_is_read_again(rows, seed, size):
    table = make_table(rows, seed)
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "new" / "t.parquet"
        assert pixels.write(iter(table.to_batches(max_chunksize=size)), file, META) == rows
        again = pixels.read(file)
    assert again.equals(table)
    assert again.schema.equals(table.schema, check_metadata=True)
    assert pixels.Meta.of(again) == META


def test_row_groups_are_full_however_the_batches_come(tmp_path, monkeypatch):
    monkeypatch.setattr(pixels.schema, "ROW_GROUP", 16)
    table = make_table(70)
    for size in (1, 7, 16, 33, 70):
        pixels.write(table.to_batches(max_chunksize=size), tmp_path / "t.parquet", META)
        footer = pq.read_metadata(tmp_path / "t.parquet")
        assert [footer.row_group(i).num_rows for i in range(footer.num_row_groups)] == [16, 16, 16, 16, 6]
        assert pixels.read(tmp_path / "t.parquet").equals(table)


def test_reading_takes_columns_and_a_filter(folder):
    table = pixels.read(folder, ["year", "label_code", "day"], pc.field("year") == 2020)
    whole = pixels.read(folder).to_pylist()
    expected = [{k: r[k] for k in ("year", "label_code", "day")} for r in whole if r["year"] == 2020]
    assert table.to_pylist() == expected
    assert pixels.read(folder, ["pixel"]).num_rows == 130
    assert pixels.dataset(folder).count_rows() == 130


def test_an_unknown_column_is_refused(folder):
    with pytest.raises(pixels.PixelError, match=r"received \['ndvi'\]"):
        pixels.read(folder, ["year", "ndvi"])


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path):
    file = tmp_path / "t.parquet"
    pixels.write(make_table(5), file, META)

    def batches():
        yield from make_table(20_000, most=1).to_batches()
        raise RuntimeError("the scene went away")

    with pytest.raises(RuntimeError, match="scene went away"):
        pixels.write(batches(), file, META)
    assert list(tmp_path.iterdir()) == [file]
    assert pixels.read(file).num_rows == 5


def test_a_full_disk_is_named_and_nothing_is_left(tmp_path, monkeypatch):
    def no_space(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pq.ParquetWriter, "write_table", no_space)
    with pytest.raises(pixels.PixelError, match=r"The disk of .* is full"):
        pixels.write(make_table(5), tmp_path / "t.parquet", META)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda t: t.drop_columns(["block"]), "expected the columns"),
        (lambda t: t.set_column(1, "year", t["year"].cast("int32")), "expected `year` as int16, received int32"),
        (lambda t: t.set_column(2, "area", pa.nulls(t.num_rows, pa.string())), "received nulls"),
    ],
)
def test_a_table_in_another_schema_is_not_written(tmp_path, spoil, message):
    with pytest.raises(pixels.PixelError, match=message):
        pixels.write(spoil(make_table(5)), tmp_path / "t.parquet", META)
    assert list(tmp_path.iterdir()) == []


def test_metadata_survive_and_are_json():
    assert pixels.Meta.of(pixels.SCHEMA.with_metadata(META.to_kv())) == META
    assert all(json.loads(value) is not None for value in META.to_kv().values())


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("version", b"2", r"schema version 2.*Update it"),
        ("dtypes", b'{"day": ">u2"}', "states other dtypes"),
        ("bands", None, "lacks metadata"),
        ("version", None, r"received none\. Make one"),
    ],
)
def test_metadata_that_mean_something_else_are_refused(key, value, message):
    kv = META.to_kv()
    kv[f"arset.{key}".encode()] = value
    with pytest.raises(pixels.PixelError, match=message):
        pixels.Meta.of(pixels.SCHEMA.with_metadata({k: v for k, v in kv.items() if v is not None}))


def test_files_that_hold_different_things_are_not_one_table(folder):
    other = pixels.Meta(BANDS[::-1], "EPSG:5070", 30.0, "test", True)
    pixels.write(make_table(5), folder / "z.parquet", other)
    with pytest.raises(pixels.PixelError, match=r"z\.parquet and .* differ in bands"):
        pixels.read(folder)


def test_a_file_of_another_schema_is_named(folder):
    table = make_table(5)
    pq.write_table(table.drop_columns(["lon"]), folder / "z.parquet")
    with pytest.raises(pixels.PixelError, match=r"z\.parquet: expected a column `lon` of type double, received none"):
        pixels.read(folder)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.7, 0.99, 0.9999])
@pytest.mark.parametrize("reader", [pixels.read, pixels.check, pixels.summary], ids=lambda f: f.__name__)
def test_a_truncated_file_is_named(folder, share, reader):
    file = folder / "south-2019-0-0.parquet"
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * share)])
    says = "truncated or damaged" if share else r"is empty \(0 bytes\)"
    with pytest.raises(pixels.PixelError, match=rf"south-2019-0-0\.parquet .*{says}"):
        reader(folder)


@pytest.mark.parametrize("reader", [pixels.read, pixels.check, pixels.summary], ids=lambda f: f.__name__)
def test_a_flipped_byte_is_noticed_and_its_file_named(folder, reader):
    file = folder / "south-2019-0-0.parquet"
    group = pq.read_metadata(file).row_group(0)
    bands = next(group.column(i) for i in range(14) if group.column(i).path_in_schema == "bands")
    content = bytearray(file.read_bytes())
    content[bands.data_page_offset + bands.total_compressed_size // 2] ^= 0x10
    file.write_bytes(bytes(content))
    with pytest.raises(pixels.PixelError, match=r"south-2019-0-0\.parquet cannot be read"):
        reader(folder)


def test_a_footer_whose_column_types_differ_is_an_error_and_does_not_end_the_process(tmp_path):
    """Arrow ends the process when it reads the statistics of such a column for a filter."""
    file = tmp_path / "t.parquet"
    pixels.write(make_table(60), file, META)
    content = bytearray(file.read_bytes())
    size = struct.unpack("<I", content[-8:-4])[0]
    year = content.index(b"\x04year", len(content) - 8 - size)  # in the schema: the name follows type and repetition
    assert content[year - 5 : year] == b"\x15\x02\x25\x00\x18"
    content[year - 4] ^= 8  # INT32 becomes DOUBLE
    file.write_bytes(content)
    with pytest.raises(pixels.PixelError, match=r"t\.parquet cannot be read"):
        pixels.read(file, filter=pc.field("year") == 2020)


@pytest.mark.parametrize("state", ["partial", "of it", "running", "spoilt"])
def test_an_unfinished_table_is_refused_with_the_way_to_resume(folder, state):
    path = folder
    if state in ("partial", "of it"):
        partial = folder.rename(folder.with_name("table.partial"))
        path = partial if state == "partial" else folder
    else:
        (folder / "_run.json").write_text('{"status": "running"}' if state == "running" else "{")
    for reader in (pixels.read, pixels.check, pixels.summary, pixels.dataset, pixels.Meta.of):
        with pytest.raises(pixels.PixelError, match=r"table is unfinished\. Run the `arset ingest` command"):
            reader(path)


def test_hidden_and_underscored_files_are_no_part_of_a_table(folder):
    (folder / ".north.parquet.123").write_bytes(b"half")
    (folder / ".half.parquet").write_bytes(b"half")
    (folder / "_old.parquet").write_bytes(b"half")
    assert pixels.read(folder).num_rows == 130


def test_a_missing_table_says_what_to_do(tmp_path):
    with pytest.raises(pixels.PixelError, match="found no Parquet file. Make one with `arset ingest`"):
        pixels.read(tmp_path / "nothing")


def test_a_table_that_is_not_ours_is_refused(tmp_path):
    pq.write_table(pa.table({"a": [1]}), tmp_path / "t.parquet")
    with pytest.raises(pixels.PixelError, match="is not a pixel table"):
        pixels.read(tmp_path / "t.parquet")


def test_reading_names_the_row_whose_series_disagree(folder, monkeypatch):
    monkeypatch.setattr(pixels.schema, "ROW_GROUP", 16)
    table = change(make_table(40), 35, day=b"\0\0" * 30)
    pixels.write(table, folder / "z.parquet", META)
    with pytest.raises(pixels.PixelError, match=r"z\.parquet, row group 2, row 3: lengths: .*day of 60 bytes"):
        pixels.read(folder)


# Checking


def test_a_valid_table_keeps_all_rules(folder):
    report = pixels.check(folder)
    assert report.ok
    assert report.rows == 130
    assert set(report.counts) == set(pixels.RULES)
    assert "130 rows keep all" in str(report)


FAR = struct.pack("<3H", 18_262, 18_263, 18_264)  # 2020-01-01 to -03
SPOILT = {
    "null": {"area": None},
    "num_images": {"num_images": -1, "day": b"", "scl": b"", "bands": b""},
    "lengths": {"num_images": 3, "day": FAR, "scl": b"\4" * 3, "bands": b"\1" * 71},
    "day_order": {"num_images": 3, "day": FAR[:4] + FAR[2:4], "scl": b"\4" * 3, "bands": b"\1" * 72},
    "day_year": {"num_images": 3, "day": FAR[4:] + FAR[4:], "scl": b"\4" * 3, "bands": b"\1" * 72},
    "scl": {"num_images": 3, "day": FAR, "scl": b"\4\14\4", "bands": b"\1" * 72},
    "bands": {"num_images": 3, "day": FAR, "scl": b"\4" * 3, "bands": b"\1" * 48 + b"\0" * 24},
    "finite": {"lon": math.nan},
    "pixel": {"pixel": 12},
    "block": {"block": 12},
    "lonlat": {"lat": 36.0},
    "label": {"label_code": -25_536},
    "confidence": {"label_confidence": 101},
    "duplicate": {},
}
SPOILT["day_year"]["day"] = struct.pack("<3H", 18_261, 18_263, 18_264)  # begins on 2019-12-31


@pytest.mark.parametrize("rule", pixels.RULES)
def test_a_row_that_breaks_a_rule_is_found_where_it_is(folder, rule, monkeypatch):
    monkeypatch.setattr(pixels.schema, "ROW_GROUP", 16)
    table = make_table(60, seed=3, west=600_000)
    if rule == "duplicate":
        row = table.slice(10, 1)
        table = pa.concat_tables([table.slice(0, 40), row, table.slice(41)])
    else:
        table = change(table, 40, **SPOILT[rule])  # rows 1, 4, ... 40 are of 2020
    kind = pixels.SCHEMA if rule != "null" else pa.schema([f.with_nullable(True) for f in pixels.SCHEMA])
    pq.write_table(table.cast(kind.with_metadata(META.to_kv())), folder / "m.parquet", row_group_size=16)
    report = pixels.check(folder)
    assert {r: n for r, n in report.counts.items() if n} == {rule: 1}
    (found,) = report.breaks
    assert (Path(found.file).name, found.row_group, found.row, found.rule) == ("m.parquet", 2, 8, rule)
    assert found.found
    assert f"row group 2, row 8: {rule}" in str(report)
    assert json.loads(json.dumps(report.as_dict()))["counts"][rule] == 1


def broken_rules(row: dict, seen: set) -> set[str]:
    """The rules a row breaks, by a plain loop."""
    if any(value is None for name, value in row.items() if name != "label_confidence"):
        return {"null"}
    n, bad = row["num_images"], set()
    if n < 0:
        bad.add("num_images")
    if (len(row["day"]), len(row["scl"]), len(row["bands"])) != (2 * max(n, 0), max(n, 0), 24 * max(n, 0)):
        bad.add("lengths")
    else:
        days, scl, images = decode(row)
        bad |= {"day_order" for a, b in pairwise(days) if b <= a}
        bad |= {"day_year" for d in days if (EPOCH + timedelta(d)).year != row["year"]}
        bad |= {"scl" for value in scl if value > 11}
        bad |= {"bands" for image in images if max(image) > 32_767 or max(image) == 0}
    if not all(math.isfinite(row[name]) for name in ("x", "y", "lon", "lat")):
        bad.add("finite")
    else:
        if row["pixel"] != pixels.pixel_id(row["x"], row["y"], 30):
            bad.add("pixel")
        if row["block"] != pixels.block_id(row["x"], row["y"], 10_000):
            bad.add("block")
        lon, lat = TO_LONLAT.transform(row["x"], row["y"])
        if max(abs(lon - row["lon"]), abs(lat - row["lat"])) > 1e-5:
            bad.add("lonlat")
    if (row["label_confidence"] or 0) > 100:
        bad.add("confidence")
    if (row["pixel"], row["year"]) in seen:
        bad.add("duplicate")
    seen.add((row["pixel"], row["year"]))
    return bad


SPOILS = st.one_of(
    st.fixed_dictionaries({"num_images": st.integers(-2, 5)}),
    st.fixed_dictionaries({"day": st.binary(max_size=12), "scl": st.binary(max_size=6)}),
    st.fixed_dictionaries(
        {
            "num_images": st.just(2),
            "day": st.lists(st.integers(17_890, 19_000), min_size=2, max_size=2).map(lambda d: struct.pack("<2H", *d)),
            "scl": st.lists(st.integers(0, 14), min_size=2, max_size=2).map(bytes),
            "bands": st.sampled_from([b"\1" * 48, b"\0" * 48, b"\1" * 24 + b"\0\x80" * 12]),
        }
    ),
    st.fixed_dictionaries({"x": st.sampled_from([math.nan, math.inf, 420_030.0, 0.0])}),
    st.fixed_dictionaries({"lon": st.floats(-91.4, -91.2), "pixel": st.integers(0, 2**50)}),
    st.fixed_dictionaries({"label_confidence": st.one_of(st.none(), st.integers(0, 255)), "block": st.integers(0, 9)}),
)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 30), st.integers(0, 99), st.lists(st.tuples(st.integers(0, 29), SPOILS), max_size=8), st.data())
def test_check_finds_what_a_plain_loop_finds(rows, seed, spoils, data):
    table = make_table(rows, seed, most=4)
    for row, values in spoils:
        table = change(table, row % rows, **values)
    twice = data.draw(st.lists(st.integers(0, rows - 1), max_size=4))
    table = pa.concat_tables([table, table.take(pa.array(twice, pa.int64()))])
    with tempfile.TemporaryDirectory() as place, pytest.MonkeyPatch.context() as patch:
        patch.setattr(pixels.schema, "ROW_GROUP", 7)
        patch.setattr(pixels.checking, "PER_PASS", data.draw(st.sampled_from([5, 1000])))
        pixels.write(table.slice(0, rows // 2), Path(place) / "a.parquet", META)
        pixels.write(table.slice(rows // 2), Path(place) / "b.parquet", META)
        report = pixels.check(place)
    seen: set = set()
    expected = []
    for i, row in enumerate(table.to_pylist()):
        file, row_in_file = ("a.parquet", i) if i < rows // 2 else ("b.parquet", i - rows // 2)
        expected += [(file, row_in_file // 7, row_in_file % 7, rule) for rule in broken_rules(row, seen)]
    got = [(Path(b.file).name, b.row_group, b.row, b.rule) for b in report.breaks]
    assert sorted(got) == sorted(expected)
    assert {rule: n for rule, n in report.counts.items() if n} == Counter(rule for *_, rule in expected)
    assert report.ok == (not expected)


def test_many_broken_rows_are_all_counted_and_a_few_named(tmp_path):
    table = make_table(100)
    table = table.set_column(3, pixels.SCHEMA.field("block"), pa.array([0] * 100, "int32"))
    pixels.write(table, tmp_path / "t.parquet", META)
    report = pixels.check(tmp_path / "t.parquet")
    assert report.counts["block"] == 100
    assert len(report.breaks) == pixels.EXAMPLES


@pytest.mark.parametrize("job", [pixels.check, pixels.summary], ids=lambda f: f.__name__)
def test_memory_does_not_grow_with_the_table(tmp_path, job, monkeypatch):
    monkeypatch.setattr(pixels.schema, "ROW_GROUP", 256)
    peaks = []
    for files in (2, 12):
        for i in range(files):
            pixels.write(make_table(2048, seed=1, most=60, west=420_000 + 30_000 * i), tmp_path / f"{i}.parquet", META)
        usual, counted = pa.default_memory_pool(), pa.proxy_memory_pool(pa.default_memory_pool())
        pa.set_memory_pool(counted)
        try:
            job(tmp_path)
        finally:
            pa.set_memory_pool(usual)
        peaks.append(counted.max_memory())
    assert peaks[1] < 1.5 * peaks[0]


# Describing


def test_summary_counts_and_measures_as_a_plain_loop_does(folder):
    got = pixels.summary(folder)
    rows = pixels.read(folder).to_pylist()
    images = sorted(row["num_images"] for row in rows)
    assert (got["rows"], got["observations"], got["files"]) == (130, sum(images), 2)
    assert got["areas"] == Counter(row["area"] for row in rows)
    assert got["years"] == Counter(str(row["year"]) for row in rows)
    assert got["codes"] == Counter(str(row["label_code"]) for row in rows)
    assert got["images"] == pytest.approx(
        {"min": images[0], "median": (images[64] + images[65]) / 2, "mean": sum(images) / 130, "max": images[-1]}
    )
    series = [decode(row) for row in rows]
    days = [day for days, _, _ in series for day in days]
    assert got["dates"] == [str(EPOCH + timedelta(d)) for d in (min(days), max(days))]
    for i, band in enumerate(BANDS):
        values = [image[i] for _, _, images in series for image in images if image[i]]
        assert got["bands"][band] == pytest.approx({"mean": np.mean(values), "std": np.std(values)})
    assert json.loads(json.dumps(got)) == got


@pytest.mark.parametrize("row", [-1, 130])
def test_the_series_of_a_row_that_is_not_there_is_an_error(folder, row):
    with pytest.raises(IndexError, match=rf"from 0 to 129, received {row}"):
        pixels.series(pixels.read(folder), row)


def test_a_summary_reads_well(folder):
    lines = pixels.format_summary(pixels.summary(folder)).splitlines()
    assert lines[0].startswith("test (SIMULATED), EPSG:5070, 30 m: 130 pixel-years")
    assert any(line.startswith("labels") and "24 Winter Wheat" in line for line in lines)
    assert len(lines) == 6 + len(BANDS)


@pytest.mark.parametrize("other", [{"crs": "EPSG:32636"}, {"own_codes": True}])
def test_a_summary_gives_no_cdl_name_to_codes_of_another_source(folder, other):
    own = pixels.summary(folder) | other
    labels = next(line for line in pixels.format_summary(own).splitlines() if line.startswith("labels"))
    assert "Wheat" not in labels
    assert "24 " in labels


@pytest.mark.parametrize("codes", [{"Soybeans": 2, "Maize": 5}, None])
def test_own_codes_of_points_on_the_cdl_grid_have_the_names_of_their_labels_and_never_the_cdls(tmp_path, codes):
    labels = list(codes) if codes else [2, 5]
    frame = pd.DataFrame({"lon": [-90.1, -90.2], "lat": [34.0, 34.1], "label": labels, "red_0": 300.0, "nir_0": 2500.0})
    table = pixels.from_wide(
        frame, {"red": "red", "nir": "nir"}, ["2021-06-01"], pixels.PointFormat(year=2021, codes=codes)
    )
    pixels.write(table, tmp_path / "t", pixels.Meta.of(table))
    said = next(x for x in pixels.format_summary(pixels.summary(tmp_path / "t")).splitlines() if x.startswith("labels"))
    assert said == ("labels  2 Soybeans 1, 5 Maize 1" if codes else "labels  2 1, 5 1")
    with pytest.raises(pixels.PixelError, match="This table has codes of its own"):
        pixels.write_arset(table, tmp_path / "arset")


def test_summary_leaves_missing_values_out(tmp_path):
    bands = np.array([[0] * 6 + [100] * 6, [0] * 5 + [300] * 7])
    table = pa.Table.from_batches([make_small([18_700, 18_701], [4, 4], bands, [0, 2])])
    pixels.write(table, tmp_path / "t.parquet", META)
    got = pixels.summary(tmp_path / "t.parquet")["bands"]
    assert got["coastal"] is None
    assert got[BANDS[5]] == {"mean": 300, "std": 0}
    assert got["nir"] == {"mean": 200, "std": 100}


def test_summary_of_a_table_without_rows_or_images(tmp_path):
    pixels.write([], tmp_path / "t.parquet", META)
    got = pixels.summary(tmp_path / "t.parquet")
    assert "0 pixel-years" in pixels.format_summary(got)
    assert (got["rows"], got["images"], got["dates"], got["bands"]["nir"]) == (0, None, None, None)
    assert pixels.check(tmp_path / "t.parquet").ok
    assert pixels.ragged(pixels.read(tmp_path / "t.parquet")).bands.shape == (0, 12)


def duck(folder: Path, query: str) -> list[tuple]:
    with duckdb.connect() as connection:
        connection.execute(f"CREATE VIEW pixels AS SELECT * FROM read_parquet('{folder}/*.parquet')")
        return connection.execute(query).fetchall()


def test_queries_answer_what_a_plain_loop_answers(folder):
    rows = pixels.read(folder).to_pylist()
    classes = Counter((row["label_code"], row["year"]) for row in rows)
    assert {(code, year): n for code, year, n in duck(folder, pixels.QUERIES["classes"])} == classes
    tens = Counter((row["year"], row["num_images"] // 10 * 10) for row in rows)
    assert {(year, ten): n for year, ten, n in duck(folder, pixels.QUERIES["images"])} == tens
    sure = Counter(None if row["label_confidence"] is None else row["label_confidence"] // 10 * 10 for row in rows)
    assert dict(duck(folder, pixels.QUERIES["confidence"])) == sure
    for area, year, count, codes, blocks, mean in duck(folder, pixels.QUERIES["areas"]):
        mine = [row for row in rows if (row["area"], row["year"]) == (area, year)]
        assert (count, codes) == (len(mine), len({row["label_code"] for row in mine}))
        assert blocks == len({row["block"] for row in mine})
        assert mean == pytest.approx(np.mean([row["num_images"] for row in mine]))
    label = {(row["pixel"], row["year"]): row["label_code"] for row in rows}
    pairs = Counter((code, label[p, y + 1]) for (p, y), code in label.items() if (p, y + 1) in label)
    assert {(a, b): n for a, b, n in duck(folder, pixels.QUERIES["rotation"])} == pairs
    images = sum(row["num_images"] for row in rows)
    assert duck(folder, pixels.QUERIES["bytes"]) == [(images, images * (2 + 1 + 24))]


@pytest.mark.spark
def test_queries_answer_alike_in_spark_and_duckdb(folder, spark):
    spark.read.parquet(str(folder)).createOrReplaceTempView("pixels")
    for query in pixels.QUERIES.values():
        ours, theirs = (sorted(map(comparable, rows)) for rows in (duck(folder, query), spark.sql(query).collect()))
        assert ours == theirs


def comparable(row) -> tuple:
    """A row that sorts with nulls first and does not hang on the last digit of a mean."""
    return tuple((value is not None, round(value, 9) if isinstance(value, float) else value) for value in row)


# The ARSET layout


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 30), st.integers(0, 2**32 - 1))
def test_a_table_survives_the_arset_layout(rows, seed):
    table = make_table(rows, seed, most=6)
    with tempfile.TemporaryDirectory() as place:
        pixels.write_arset(table, place)
        again = pixels.read_arset(place)
        pixels.write(again, Path(place) / "t.parquet", pixels.Meta.of(again))
        assert pixels.check(Path(place) / "t.parquet").ok
    by = [("area", "ascending"), ("year", "ascending"), ("pixel", "ascending")]
    lost = ["label_confidence"]
    assert again.sort_by(by).drop_columns(lost).equals(table.sort_by(by).drop_columns(lost))
    assert again["label_confidence"].null_count == rows
    assert again.schema.equals(pixels.SCHEMA)


def test_a_code_that_the_cdl_lacks_cannot_be_written_in_its_names(folder, tmp_path):
    table = pixels.read(folder)
    own = pa.array([9] * len(table), table["label_code"].type)
    table = table.set_column(table.schema.get_field_index("label_code"), "label_code", own)
    with pytest.raises(cdl.CDLError, match="Expected a code of the Cropland Data Layer, received 9"):
        pixels.write_arset(table, tmp_path / "arset")
    assert not (tmp_path / "arset").exists()


def test_what_is_stored_does_not_depend_on_the_readers_language(folder, tmp_path, monkeypatch):
    table = pixels.read(folder)
    for language in ("en", "es"):
        monkeypatch.setenv("ARSET_LANGUAGE", language)
        pixels.write_arset(table, tmp_path / language)
    first, second = (sorted((tmp_path / language).rglob("*.parquet")) for language in ("en", "es"))
    assert [file.read_bytes() for file in first] == [file.read_bytes() for file in second] != []


def arset_file(folder: Path, rows: list[dict]) -> Path:
    """One file as the notebooks of 2024 wrote it."""
    where = folder / "bbox=420000,1400000,430000,1410000" / "year=2021"
    where.mkdir(parents=True)
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    types = {"num_images": pa.int32()} | dict.fromkeys(("CDL", "bands", "tiles", "img_dates", "scl_vals"), pa.binary())
    table = pa.table({k: pa.array(v, types.get(k)) for k, v in columns.items()})
    pq.write_table(table, where / "part-00000-c000.snappy.parquet", compression="snappy")
    return where


def arset_row(days, images, name=b"Corn", scl=None) -> dict:
    lon, lat = TO_LONLAT.transform(420_030.0, 1_410_000.0)
    return {
        "lon": lon,
        "lat": lat,
        "CDL": name,
        "num_images": len(days),
        "bands": b"".join(struct.pack(">12H", *image) for image in images),
        "tiles": b",".join([b"15SYT"] * len(days)),
        "img_dates": struct.pack(f">{len(days)}H", *days),
        "scl_vals": bytes(scl or [4] * len(days)),
    }


def test_the_arset_layout_is_read_number_by_number(tmp_path):
    images = [[256 * i + b for b in range(1, 13)] for i in range(3)]
    arset_file(tmp_path, [arset_row([18_700, 18_705, 18_710], images, b"Dbl Crop WinWht/Soybeans", [4, 5, 6])])
    (row,) = pixels.read_arset(tmp_path).to_pylist()
    assert decode(row) == ([18_700, 18_705, 18_710], [4, 5, 6], images)
    assert (row["label_code"], row["year"], row["area"]) == (26, 2021, "420000,1400000,430000,1410000")
    assert (row["x"], row["y"]) == (420_030.0, 1_410_000.0)
    assert row["pixel"] == pixels.pixel_id(420_030, 1_410_000, 30)


def test_the_arset_layout_is_read_from_any_folder_of_it(tmp_path):
    where = arset_file(tmp_path, [arset_row([18_700], [[1] * 12])])
    file = next(where.iterdir())
    for path in (tmp_path, where.parent, where, file):
        assert pixels.read_arset(path).to_pylist()[0]["year"] == 2021


def test_images_of_one_day_and_empty_images_are_reduced_to_one_a_day(tmp_path):
    images = [[3] * 12, [1] * 12, [0] * 12, [2] * 12, [4] * 12]
    arset_file(tmp_path, [arset_row([18_705, 18_700, 18_702, 18_700, 18_710], images), arset_row([], [])])
    first, second = pixels.read_arset(tmp_path).to_pylist()
    assert decode(first) == ([18_700, 18_705, 18_710], [4] * 3, [[1] * 12, [3] * 12, [4] * 12])
    assert decode(second) == ([], [], [])


def test_arset_coordinates_off_the_grid_are_kept(tmp_path):
    row = arset_row([18_700], [[1] * 12])
    lon, lat = TO_LONLAT.transform(420_037.0, 1_410_004.0)
    arset_file(tmp_path, [row | {"lon": lon, "lat": lat}])
    (got,) = pixels.read_arset(tmp_path).to_pylist()
    assert (got["x"], got["y"]) == pytest.approx((420_037, 1_410_004), abs=1e-6)


def test_an_unknown_class_name_of_the_arset_layout_is_named(tmp_path):
    arset_file(tmp_path, [arset_row([18_700], [[1] * 12], b"Quinoa")])
    with pytest.raises(cdl.CDLError, match=r"part-00000.*'Quinoa'"):
        pixels.read_arset(tmp_path)


def test_series_of_unequal_length_in_the_arset_layout_are_named(tmp_path):
    bad = arset_row([18_700, 18_701], [[1] * 12])
    arset_file(tmp_path, [arset_row([18_700], [[1] * 12]), bad])
    with pytest.raises(pixels.PixelError, match=r"part-00000.*row 1: expected 24 bytes of `bands`"):
        pixels.read_arset(tmp_path)


def test_a_damaged_or_missing_file_of_the_arset_layout_is_named(tmp_path):
    with pytest.raises(pixels.PixelError, match="found none"):
        pixels.read_arset(tmp_path)
    file = next(arset_file(tmp_path, [arset_row([18_700], [[1] * 12])]).iterdir())
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(pixels.PixelError, match=r"part-00000.* cannot be read"):
        pixels.read_arset(tmp_path)


def test_opening_the_arset_layout_as_a_pixel_table_says_how_to_read_it(tmp_path):
    where = arset_file(tmp_path, [arset_row([18_700], [[1] * 12])])
    for path in (tmp_path, where):
        with pytest.raises(pixels.PixelError, match=r"pixels\.read_arset"):
            pixels.read(path)


# Real values


def test_the_real_cube_goes_through_the_table(real, tmp_path):
    with xr.open_dataset(real / "s2_l2a_scl_19dates_antwerp2023.nc") as cube:
        names = ("blue", "green", "red", "nir")
        values = [cube[f"S2-L2A-{sentinel2.BANDS[n].esa}"].values.transpose(1, 2, 0).ravel() for n in names]
        scl = cube["S2-L2A-SCL"].values.transpose(1, 2, 0).ravel()
        x, y = (v.ravel() for v in np.meshgrid(cube.x.values, cube.y.values))
        days = cube.t.values.astype("datetime64[D]").astype(int)
    meta = pixels.Meta(names, "EPSG:32631", 10.0, "antwerp", False, extra={"block_m": 1000})
    lon, lat = Transformer.from_crs(meta.crs, "EPSG:4326", always_xy=True).transform(x, y)
    batch = pixels.make_batch(
        day=np.tile(days, len(x)),
        scl=scl,
        bands=np.stack(values, axis=1),
        offsets=np.arange(len(x) + 1) * len(days),
        pixel=pixels.pixel_id(x, y, 10),
        year=2023,
        area="antwerp",
        block=pixels.block_id(x, y, 1000),
        x=x,
        y=y,
        lon=lon,
        lat=lat,
        label_code=176,
    )
    pixels.write([batch], tmp_path / "t.parquet", meta)
    assert pixels.check(tmp_path / "t.parquet").ok
    assert pixels.summary(tmp_path / "t.parquet")["dates"] == ["2023-10-02", "2023-12-31"]
    table = pixels.read(tmp_path / "t.parquet")
    day, _, bands = pixels.series(table, 7)
    assert day.tolist() == days.tolist()
    assert bands.tolist() == np.stack(values, axis=1)[7 * 19 : 8 * 19].tolist()
