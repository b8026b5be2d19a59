"""Pixel tables that another program wrote again, and damaged ones: read rightly, or refused with the file's name."""

import re
import shutil

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from test_pixels import BANDS, META, change, make_table
from typer.testing import CliRunner

from arsetlib import cli, pixels, samples

LARGE = {pa.string(): pa.large_string(), pa.binary(): pa.large_binary()}
VIEWS = {pa.string(): pa.string_view(), pa.binary(): pa.binary_view()}
DUCKDB = {pa.int16(): pa.int32(), pa.uint8(): pa.int64(), pa.int32(): pa.int64()}


@pytest.fixture(scope="module")
def table():
    return make_table(90)


def retyped(table, types, keep=True):
    schema = pa.schema([f.with_type(types.get(f.type, f.type)).with_nullable(True) for f in table.schema])
    return table.cast(schema).replace_schema_metadata(table.schema.metadata if keep else None)


def put(table, name, column):
    return table.set_column(table.column_names.index(name), name, column)


def as_floats(table):
    """As pandas writes a column of whole numbers in which some are missing."""
    return put(table, "label_confidence", table["label_confidence"].cast(pa.float64()))


KEPT = {
    "large strings": lambda t: retyped(t, LARGE),
    "views": lambda t: retyped(t, VIEWS),
    "longer integers": lambda t: retyped(t, DUCKDB),
    "dictionaries": lambda t: put(put(t, "area", t["area"].dictionary_encode()), "year", t["year"].dictionary_encode()),
    "whole floats": as_floats,
    "nullable": lambda t: retyped(t, {}),
    "another order": lambda t: t.select(t.column_names[::-1]),
    "one more column": lambda t: t.append_column("note", pa.array(["x"] * t.num_rows)),
}


@pytest.mark.parametrize("writer", KEPT)
def test_a_table_in_other_types_is_read_as_the_original(table, tmp_path, writer):
    try:
        pq.write_table(KEPT[writer](table), tmp_path / "a.parquet", row_group_size=40)
    except pa.ArrowNotImplementedError as problem:
        pytest.skip(f"this Arrow writes no {writer}: {problem}")
    assert pixels.read(tmp_path).equals(table)
    assert pixels.check(tmp_path).ok
    assert pixels.summary(tmp_path)["rows"] == 90
    streamed = [part.batch for part in pixels.stream(tmp_path)]
    assert pa.Table.from_batches(streamed, pixels.SCHEMA).equals(table)
    groups = [pixels.row_group(tmp_path / "a.parquet", i, pixels.SCHEMA.names) for i in range(3)]
    assert pa.concat_tables(groups).equals(table)
    assert samples.Rows.of(tmp_path).read().equals(table)


def test_a_dictionary_of_byte_strings_is_read(table, tmp_path):
    pq.write_table(put(table, "scl", table["scl"].dictionary_encode()), tmp_path / "a.parquet")
    assert pixels.read(tmp_path).equals(table)


@pytest.mark.parametrize("names", [["year"], ["area", "year"], ["label_code"]])
def test_a_table_in_folders_of_its_columns_is_read(table, tmp_path, names):
    table = put(table, "area", pa.array(["north, a/b" if a == "north" else a for a in table["area"].to_pylist()]))
    pq.write_to_dataset(table, tmp_path / "px", partition_cols=names)
    order = [("pixel", "ascending"), ("year", "ascending")]
    assert pixels.read(tmp_path / "px").sort_by(order).equals(table.cast(pixels.SCHEMA).sort_by(order))
    assert pixels.check(tmp_path / "px").ok
    assert pixels.summary(tmp_path / "px")["rows"] == 90
    rows = samples.Rows.of(tmp_path / "px")
    assert rows.column("year").tolist() == rows.read(["year"])["year"].to_pylist()


def test_folders_of_other_names_are_no_partitions(table, tmp_path):
    pq.write_table(table, (tmp_path / "kind=old").mkdir() or tmp_path / "kind=old" / "a.parquet")
    with pytest.raises(pixels.PixelError, match="found no Parquet file. Its files lie in folders"):
        pixels.read(tmp_path)


def test_files_in_two_places_of_a_folder_are_no_table(table, tmp_path):
    (tmp_path / "year=2021").mkdir()
    pq.write_table(table, tmp_path / "year=2021" / "a.parquet")
    for place in ("b.parquet", "more/b.parquet"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        pq.write_table(table, tmp_path / place)
        with pytest.raises(pixels.PixelError, match=r"in several places, such as .*b.parquet"):
            pixels.read(tmp_path)
        (tmp_path / place).unlink()


def test_temporary_folders_of_spark_are_no_part_of_a_table(table, tmp_path):
    pq.write_table(table, tmp_path / "a.parquet")
    (tmp_path / "_temporary").mkdir()
    (tmp_path / "_temporary" / "b.parquet").write_bytes(b"half")
    assert pixels.read(tmp_path).num_rows == 90


def test_a_folder_whose_name_ends_in_parquet_is_named_as_the_table(table, tmp_path):
    (tmp_path / "px.parquet").mkdir()
    pq.write_table(table, tmp_path / "px.parquet" / "part-0.parquet")
    with pytest.raises(pixels.PixelError, match=r"the first in .*px.parquet: name that folder"):
        pixels.read(tmp_path)
    assert pixels.read(tmp_path / "px.parquet").num_rows == 90


def test_files_of_other_endings_are_named_where_there_is_no_table(table, tmp_path):
    pq.write_table(table, tmp_path / "a.pq")
    with pytest.raises(pixels.PixelError, match=r"It has a.pq; names of Parquet files end in .parquet"):
        pixels.read(tmp_path)


def test_a_folder_may_repeat_a_column_but_not_contradict_it(table, tmp_path):
    one = table.filter(pc.field("year") == table["year"][0])
    year = one["year"][0].as_py()
    for named in (year, year - 1):
        folder = tmp_path / str(named) / f"year={named}"
        folder.mkdir(parents=True)
        pq.write_table(one, folder / "a.parquet")
    assert pixels.read(tmp_path / str(year)).num_rows == one.num_rows
    with pytest.raises(pixels.PixelError, match=f"rows with `year` = {year} in a folder named year={year - 1}"):
        pixels.read(tmp_path / str(year - 1))


def by_pandas(table, file):
    table.to_pandas().to_parquet(file)


def by_duckdb(table, file):
    with duckdb.connect() as connection:
        connection.register("pixels", table)
        connection.sql("SELECT * FROM pixels").write_parquet(str(file))


@pytest.mark.parametrize("write", [by_pandas, by_duckdb])
def test_a_table_without_its_metadata_is_read_with_those_of_the_original(table, tmp_path, write):
    write(table, tmp_path / "a.parquet")
    with pytest.raises(pixels.PixelError, match=r"a\.parquet is not a pixel table.*pixels.Meta.of\(original\)"):
        pixels.read(tmp_path)
    found = pixels.read(tmp_path, meta=META)
    assert found.equals(table)
    pixels.write(found, tmp_path / "b" / "mine.parquet", META)
    assert pixels.check(tmp_path / "b").ok


def test_metadata_given_must_agree_with_those_of_the_file(table, tmp_path):
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(pixels.PixelError, match=r"a\.parquet and meta=… differ"):
        pixels.read(tmp_path, meta=pixels.Meta(BANDS[::-1], "EPSG:5070", 30.0, "test", True))
    pq.write_table(table.replace_schema_metadata(None), tmp_path / "b.parquet")
    with pytest.raises(pixels.PixelError, match=r"b\.parquet is not a pixel table"):
        pixels.read(tmp_path)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda t: put(t, "x", t["x"].cast(pa.float32())), "`x` is float, too coarse"),
        (lambda t: put(t, "year", t["year"].cast(pa.string())), "`year` of type int16, received string"),
        (lambda t: put(t, "scl", t["label_code"]), "`scl` of type binary, received int16"),
        (lambda t: put(t, "label_code", pa.array([70_000] * t.num_rows)), "not of type int16.*70000"),
        (lambda t: put(t, "num_images", pa.array([1.5] * t.num_rows)), "value of `num_images` is not of type int32"),
        (lambda t: t.drop_columns(["block"]), "`block` of type int32, received none"),
        (lambda t: t.append_column("year", t["year"]), "column `year` twice"),
        (lambda t: put(t, "year", pa.nulls(t.num_rows, pa.int16())), "`year`, received none in 90 rows"),
    ],
)
def test_a_column_that_may_mean_something_else_is_refused(table, tmp_path, spoil, words):
    pq.write_table(
        retyped(spoil(retyped(table, {})), {}) if words != "column `year` twice" else spoil(table),
        tmp_path / "a.parquet",
    )
    with pytest.raises(pixels.PixelError, match=words):
        pixels.read(tmp_path)


def test_what_other_programs_leave_beside_a_table_is_no_part_of_it(table, tmp_path):
    pq.write_table(table, tmp_path / "part-00000.parquet")
    for name in (
        "_SUCCESS",
        ".part-00000.parquet.crc",
        "_committed_1",
        "_metadata",
        "._part-00000.parquet",
        "notes.txt",
    ):
        (tmp_path / name).write_bytes(b"x")
    assert pixels.read(tmp_path).equals(table)


def test_a_copy_of_a_file_is_refused(table, tmp_path):
    pq.write_table(table, tmp_path / "a.parquet")
    shutil.copy(tmp_path / "a.parquet", tmp_path / "a (1).parquet")
    for reader in (pixels.read, pixels.check, pixels.summary, samples.Rows.of, lambda p: list(pixels.stream(p))):
        with pytest.raises(pixels.PixelError, match=r"a\.parquet is a copy of .*a \(1\)\.parquet.*twice"):
            reader(tmp_path)


def test_empty_files_of_a_table_are_no_copies(table, tmp_path):
    for name in ("a", "b"):
        pq.write_table(table[:0], tmp_path / f"{name}.parquet")
    assert pixels.read(tmp_path).num_rows == 0


# -- damage ---------------------------------------------------------------------------------------------------------

DEEP = "[" * 100_000
METADATA = [
    ("version", '"2"'), ("version", "true"), ("version", "NaN"), ("version", "0"), ("version", "[1]"),
    ("bands", '"red"'), ("bands", "[]"), ("bands", "[1, 2]"), ("bands", "null"), ("bands", '{"red": 1}'),
    ("bands", '["red", "red"]'), ("bands", DEEP), ("bands", "['red']"), ("bands", ""), ("dtypes", "[]"),
    ("crs", '"EPSG:banana"'), ("crs", "5070"), ("crs", "null"), ("resolution", "NaN"), ("resolution", '"30"'),
    ("resolution", "0"), ("resolution", "-30"), ("scale", "Infinity"), ("scale", "true"), ("study", "3"),
    ("simulated", '"no"'), ("simulated", "1"), ("extra", "[]"), ("extra", '{"block_m": "10"}'), ("extra", DEEP),
    ("offset", "-1000"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value"), METADATA)
def test_metadata_of_another_kind_are_refused_with_file_and_key(table, tmp_path, key, value):
    kv = table.schema.metadata | {f"arset.{key}".encode(): value.encode()}
    pq.write_table(table.replace_schema_metadata(kv), tmp_path / "a.parquet")
    for reader in (pixels.read, pixels.check, pixels.summary, pixels.Meta.of, samples.Rows.of):
        with pytest.raises(pixels.PixelError, match=rf"a\.parquet.*({key}|other dtypes)"):
            reader(tmp_path)


def test_a_zero_byte_file_and_text_are_named(table, tmp_path):
    pq.write_table(table, tmp_path / "a.parquet")
    for content in (b"", b"PAR1", b"version https://git-lfs.github.com/spec/v1\n"):
        (tmp_path / "b.parquet").write_bytes(content)
        with pytest.raises(pixels.PixelError, match=r"b\.parquet (cannot be read|is (empty|a Git LFS pointer))"):
            pixels.read(tmp_path)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A table of few rows in one file, as the library writes it, and its bytes."""
    file = tmp_path_factory.mktemp("small") / "a.parquet"
    pixels.write(make_table(12, most=3), file, META)
    return pixels.read(file), file.read_bytes()


def outcome(file, table, data: bytes):
    """'same', 'error' or what differs when a file with these bytes is read whole and streamed."""
    file.write_bytes(data)
    found = []
    for reader in (pixels.read, lambda f: pa.Table.from_batches([p.batch for p in pixels.stream(f)])):
        try:
            got = reader(file)
        except pixels.PixelError as error:
            found.append("error" if file.name in str(error) else "an error without the file's name")
        else:
            meta = got.schema.metadata is None or pixels.Meta.of(got) == pixels.Meta.of(table)
            same = got.replace_schema_metadata(None).equals(table.replace_schema_metadata(None))
            found.append("same" if same and meta else "differs")
    return found


def test_a_truncated_file_is_an_error_wherever_it_ends(small, tmp_path):
    table, data = small
    for end in range(0, len(data), 97):
        assert outcome(tmp_path / "a.parquet", table, data[:end]) == ["error", "error"]


def test_a_flipped_bit_is_an_error_or_changes_nothing(small, tmp_path):
    table, data = small
    random = np.random.default_rng(0)
    found = []
    for place in random.choice(len(data), 300, replace=False):
        spoiled = bytearray(data)
        spoiled[place] ^= 1 << random.integers(8)
        found += outcome(tmp_path / "a.parquet", table, bytes(spoiled))
    assert set(found) == {"same", "error"}
    assert found.count("error") > 100


def test_rows_that_arrow_leaves_out_without_an_error_are_an_error(table, tmp_path, monkeypatch):
    pixels.write(table, tmp_path / "a.parquet", META)
    monkeypatch.setattr(pq.ParquetFile, "iter_batches", lambda *_, **__: iter([]))
    with pytest.raises(pixels.PixelError, match=r"a\.parquet.*0 rows came, its footer says"):
        list(pixels.stream(tmp_path / "a.parquet"))


@pytest.mark.parametrize("name", ["day", "scl", "bands"])
def test_byte_strings_that_are_no_whole_number_of_values_are_refused_by_all_readers(table, tmp_path, name):
    row = int(np.argmax(table["num_images"].to_numpy()))
    pixels.write(change(table, row, **{name: table[name][row].as_py() + b"x"}), tmp_path / "a.parquet", META)
    for reader in (pixels.read, lambda p: pixels.read(p, [name]), pixels.summary):
        if name == "scl" and reader is not pixels.read and reader is not pixels.summary:
            continue  # alone, any number of scene classes is right
        with pytest.raises(pixels.PixelError, match=r"a\.parquet"):
            reader(tmp_path)
    assert pixels.check(tmp_path).counts["lengths"] == 1


def test_days_out_of_order_are_refused(table, tmp_path):
    row = int(np.argmax(table["num_images"].to_numpy()))
    day = np.frombuffer(table["day"][row].as_py(), "<u2")[::-1]
    pixels.write(change(table, row, day=day.tobytes()), tmp_path / "a.parquet", META)
    for columns in (None, ["day"]):
        with pytest.raises(pixels.PixelError, match=rf"a\.parquet, row group 0, row {row}: day_order"):
            pixels.read(tmp_path, columns)


def test_the_commands_name_the_file_and_show_no_traceback(table, tmp_path):
    pq.write_table(table.replace_schema_metadata({b"arset.version": b"["}), tmp_path / "a.parquet")
    for command in ("check", "describe"):
        done = CliRunner().invoke(cli.app, [command, str(tmp_path)])
        assert isinstance(done.exception, pixels.PixelError)
        assert re.search(r"a\.parquet: expected arset\.version as JSON", str(done.exception))


def test_a_map_refuses_a_table_whose_days_are_out_of_order(table):
    from arsetlib.maps import sources
    from arsetlib.study import Study

    row = int(np.argmax(table["num_images"].to_numpy()))
    day = np.frombuffer(table["day"][row].as_py(), "<u2")[::-1]
    spoiled = change(table, row, day=day.tobytes())
    area, year = spoiled["area"][row].as_py(), spoiled["year"][row].as_py()
    source = sources.of_table(spoiled, area, year, Study.load("sample"))
    with pytest.raises(samples.SampleError, match=rf"row {row}: expected days that ascend"):
        source.read(0, {})
