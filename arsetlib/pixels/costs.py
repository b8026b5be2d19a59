"""What a pixel table costs in an object store: bytes, requests and hours, at the prices of ``prices.toml``.

Bytes and requests are counted in the table's own files. Hours need a measured rate: it is read from
``benchmarks/results.json`` where the repository is there.

Lab: part1_build_dataset.
"""

from __future__ import annotations

import json
import math
import tomllib
from pathlib import Path

from arsetlib import extras
from arsetlib.pixels import sources
from arsetlib.pixels.listing import files, footer
from arsetlib.translation import _

PRICES = Path(__file__).with_name("prices.toml")
RANGE = 32 << 20  # bytes that one request reads at most
PUTS_OF_A_PART = 2  # the file, and the note that it is finished
PUTS_OF_A_TABLE = 3  # plan, scenes, manifest
GETS_OF_A_PART = 2  # its size, its footer
GB = 1e9


def prices() -> dict:
    """The price list: dollars for storage, requests, bytes that leave the region, and a compute hour.

    >>> sorted(prices())
    ['checked', 'compute', 'note', 'storage']
    """
    return tomllib.loads(PRICES.read_text(encoding="utf-8"))


def cost(path: str | Path, rows_per_second: float | None = None) -> dict:
    """What it costs to keep a table in S3 and to read it once, as an epoch of training does.

    Args:
        path: Folder or file.
        rows_per_second: How many rows a machine with the cores of the price list reads in a second; measured by
            ``benchmarks/loader.py`` where None.

    Returns:
        JSON values: ``bytes``, ``parts``, ``rows``, ``bytes_per_row``, ``puts`` (to write it once), ``gets`` (of an
        epoch), ``hours`` (of an epoch; None where no rate is known), ``rows_per_second``, and ``dollars``: ``keep`` (a
        month), ``write``, ``read`` (requests of an epoch), ``out`` (an epoch read from outside the region), ``compute``
        (an epoch; None where hours are).

    Raises:
        PixelError: The table is missing, unfinished or damaged.

    Lab: part1_build_dataset.
    """
    parquet = files(path)
    rate = measured("loader", "streamed_against_memory", "streamed_dataset") if rows_per_second is None else None
    rate = rows_per_second or rate
    rows, gets = 0, GETS_OF_A_PART * len(parquet)
    for content in sources.many(footer, parquet):
        rows += content.num_rows
        for group in map(content.row_group, range(content.num_row_groups)):
            packed = sum(group.column(i).total_compressed_size for i in range(group.num_columns))
            gets += max(1, math.ceil(packed / RANGE))
    size = sum(sources.sizes(parquet))
    puts = PUTS_OF_A_PART * len(parquet) + PUTS_OF_A_TABLE
    return {
        "bytes": size,
        "parts": len(parquet),
        "rows": rows,
        "bytes_per_row": size / rows if rows else None,
    } | priced(size, puts, gets, rows / rate / 3600 if rate else None, rate)


def priced(size: float, puts: float, gets: float, hours: float | None, rate: float | None = None) -> dict:
    """Requests, hours and dollars of a table of so many bytes, see ``cost``."""
    listed = prices()
    store, compute = listed["storage"], listed["compute"]
    return {
        "puts": puts,
        "gets": gets,
        "hours": hours,
        "rows_per_second": rate,
        "dollars": {
            "keep": size / GB * store["gb_month"],
            "write": puts / 1000 * store["put_1000"],
            "read": gets / 1000 * store["get_1000"],
            "out": size / GB * store["out_gb"],
            "compute": None if hours is None else hours * compute["hour"],
        },
    }


def measured(benchmark: str, figure: str, side: str, file: str = "results.json") -> float | None:
    """A side of a figure that a benchmark measured; None where the repository or the figure is not there."""
    results = extras.project() / "benchmarks" / file
    if not results.is_file():
        return None
    for run in json.loads(results.read_text(encoding="utf-8")):
        for one in run["figures"] if run["benchmark"] == benchmark else ():
            if one["name"] == figure:
                return one["sides"].get(side)
    return None


def format_cost(cost: dict) -> str:
    """What ``cost`` returns, as text."""
    listed, dollars = prices(), cost["dollars"]
    store, compute = listed["storage"], listed["compute"]
    size = _("{rows} rows, {size} GB in {parts} parts")
    price = {name: "" if one is None else f"${one:,.4f}" for name, one in dollars.items()}
    known = cost["hours"] is not None
    parts = {
        _("keep"): _("{price} a month ({what})").format(price=price["keep"], what=store["what"]),
        _("write"): _("{price}: {n} PUT requests").format(price=price["write"], n=f"{cost['puts']:,}"),
        _("read"): _("{price} an epoch: {n} GET requests").format(price=price["read"], n=f"{cost['gets']:,}"),
        _("out"): _("{price} an epoch, if it is read from outside the region").format(price=price["out"]),
        _("compute"): _("{price} an epoch: {hours} hours of {what}, at {rate} rows a second").format(
            price=price["compute"],
            hours=f"{cost['hours']:,.4f}",
            what=compute["what"],
            rate=f"{cost['rows_per_second']:,.0f}",
        )
        if known
        else _("not known: no measured rate here (benchmarks/results.json of the repository)"),
    }
    width = max(map(len, parts)) + 2
    lines = [size.format(rows=f"{cost['rows']:,}", size=f"{cost['bytes'] / GB:,.3f}", parts=f"{cost['parts']:,}")]
    lines += [f"{name:<{width}}{words}" for name, words in parts.items()]
    lines.append(_("Prices of {day}.").format(day=listed["checked"]) + f" {listed['note']}")
    lines += [f"{_('Source')}: {part['source']} ({part['source_date']})" for part in (store, compute)]
    return "\n".join(lines)
