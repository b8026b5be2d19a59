"""What a table costs: counted in its files, at the prices of one dated file."""

import json
import sys
from datetime import date
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from test_pixels import META, make_table
from typer.testing import CliRunner

from arsetlib import cli, pixels
from arsetlib.pixels import costs as module

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def table(tmp_path):
    for name in "ab":
        pixels.write(make_table(9000, most=3), tmp_path / "table" / f"{name}{name}.parquet", META)
    (tmp_path / "table" / "bb.parquet").unlink()
    pixels.write(make_table(50, seed=2, west=900_000), tmp_path / "table" / "c.parquet", META)
    return tmp_path / "table"


def test_bytes_requests_and_dollars_are_those_of_the_files(table):
    found, listed = pixels.cost(table, rows_per_second=1000.0), pixels.prices()
    files = sorted(table.iterdir())
    groups = sum(pq.read_metadata(f).num_row_groups for f in files)
    assert groups == 3
    assert (found["bytes"], found["parts"], found["rows"]) == (sum(f.stat().st_size for f in files), 2, 9050)
    assert found["bytes_per_row"] == found["bytes"] / 9050
    assert found["puts"] == 2 * 2 + 3
    assert found["gets"] == 2 * 2 + groups
    assert found["hours"] == 9050 / 1000 / 3600
    store = listed["storage"]
    assert found["dollars"] == pytest.approx(
        {
            "keep": found["bytes"] / 1e9 * store["gb_month"],
            "write": 7 / 1000 * store["put_1000"],
            "read": 7 / 1000 * store["get_1000"],
            "out": found["bytes"] / 1e9 * store["out_gb"],
            "compute": found["hours"] * listed["compute"]["hour"],
        }
    )


def test_the_rate_is_the_one_that_was_measured_and_unknown_where_none_was(table, tmp_path, monkeypatch):
    results = json.loads((ROOT / "benchmarks" / "results.json").read_text(encoding="utf-8"))
    (loader,) = (run for run in results if run["benchmark"] == "loader")
    (figure,) = (f for f in loader["figures"] if f["name"] == "streamed_against_memory")
    assert pixels.cost(table)["rows_per_second"] == figure["sides"]["streamed_dataset"]
    monkeypatch.setattr(module.extras, "project", lambda: tmp_path)
    found = pixels.cost(table)
    assert (found["hours"], found["dollars"]["compute"]) == (None, None)
    assert "no measured rate here" in pixels.format_cost(found)


def test_the_price_list_has_a_date_and_sources():
    listed = pixels.prices()
    assert isinstance(listed["checked"], date)
    assert "Check before you plan" in listed["note"]
    for part in ("storage", "compute"):
        assert listed[part]["source"].startswith("https://")
        assert listed[part]["source_date"]


def test_the_command_shows_costs_with_the_date_of_the_prices(table):
    done = CliRunner().invoke(cli.app, ["describe", str(table), "--cost"])
    assert done.exit_code == 0, done.output
    assert "7 PUT requests" in done.output
    assert f"Prices of {pixels.prices()['checked']}. Check before you plan" in done.output
    as_json = CliRunner().invoke(cli.app, ["describe", str(table), "--cost", "--json"])
    assert json.loads(as_json.output) == pixels.cost(table)


def test_the_plan_of_a_country_follows_from_what_was_measured(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "book"))
    sys.modules.pop("country", None)
    import country

    before = country.estimate()
    assert all(value > 0 for value in before.values())
    assert before["written, TB"] == pytest.approx(
        before["observations"] * country.rates()["bytes an observation in the table"] / 1e12
    )
    monkeypatch.setitem(country.ASSUMED, "years", (6, "twice as many"))
    after = country.estimate()
    for name in ("scenes", "chunks, which are tasks", "observations", "core hours", "dollars, compute"):
        assert after[name] == pytest.approx(2 * before[name])
    assert country.shown(123_456.0) == "120,000"
