"""What every benchmark shares: interleaved timing, the machine's description, printing and JSON.

    options = measure.arguments(__doc__)
    figures = measure.Figures("storage")
    seconds = measure.sides({"ours": read_ours, "theirs": read_theirs}, repeats=5)
    figures.add("read_rate_against_lists", seconds["theirs"] / seconds["ours"], goal=4, unit="x", sides=seconds)
    figures.finish()

A goal is met by a value at or above it, so a figure that should be small is given inverted.
"""

import argparse
import gc
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path


def arguments(description: str | None = None, quick: bool = False) -> argparse.Namespace:
    """Read ``--json FILE`` from the command line, and ``--quick`` where a script can be shortened.

    A quick run has fewer rounds and fewer sides. The work of a round is that of a full run: with less of it, what it
    costs to begin would count more, and the figures would be others.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    if quick:
        parser.add_argument("--quick", action="store_true", help="fewer rounds and fewer sides, with the same work")
    parser.set_defaults(quick=False)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to this file")
    return parser.parse_args()


def sides(functions: dict[str, Callable[[], object]], repeats: int = 5) -> dict[str, float]:
    """Time several functions in turn, so that a slow moment of the machine hits all of them.

    Args:
        functions: Side to function of no arguments. Each runs once untimed first.
        repeats: Timed rounds; the order is rotated from round to round.

    Returns:
        Side to median wall time, s.
    """
    names = list(functions)
    for name in names:
        functions[name]()
    times: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(repeats):
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            times[name].append(_seconds(functions[name]))
    return {name: statistics.median(values) for name, values in times.items()}


def rates(sides: dict[str, object], repeats: int) -> dict[str, float]:
    """Median of what ``rate()`` of each side tells; they take turns, and each runs once untimed first."""
    for side in sides.values():
        side.rate()
    found: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(repeats):
        names = [*sides][turn % len(sides) :] + [*sides][: turn % len(sides)]
        for name in names:
            found[name].append(sides[name].rate())
    return {name: statistics.median(values) for name, values in found.items()}


def _seconds(function: Callable[[], object]) -> float:
    gc.collect()
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def machine() -> dict[str, object]:
    """What the figures depend on: processor, cores this process may use, memory (GiB), versions."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(_memory() / 2**30, 1),
        "system": platform.system(),
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return 0


class Figures:
    """The figures of one benchmark: printed as they come, written as JSON at the end."""

    def __init__(self, name: str):
        self.name = name
        self.rows: list[dict] = []

    def add(
        self,
        name: str,
        value: float,
        goal: float | None = None,
        unit: str = "x",
        sides: dict[str, float] | None = None,
    ) -> None:
        """Add one figure and print ``<figure> <value> goal <g>``.

        Args:
            name: One word, such as ``read_rate_against_lists``.
            value: Measured; at or above the goal is good.
            goal: None where the figure only informs.
            unit: Of the value; "x" for a ratio.
            sides: What the value was made of, such as seconds or bytes per side.
        """
        self.rows.append({"name": name, "value": value, "goal": goal, "unit": unit, "sides": sides or {}})
        print(f"{name} {value:.4g} goal {'-' if goal is None else f'{goal:g}'}", flush=True)

    def finish(self) -> None:
        """Write the figures to the file that ``--json`` names, if it does."""
        target = arguments(quick=True).json
        if target is not None:
            document = {"benchmark": self.name, "machine": machine(), "figures": self.rows}
            target.write_text(json.dumps(document, indent=1) + "\n")
