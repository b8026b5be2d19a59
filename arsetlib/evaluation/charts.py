"""The report's charts as inline SVG: no script, no fonts to fetch, colours from the page's style sheet.

A chart takes its colours by class (``c0`` … ``c6``, ``ink``, ``grid``), so that it follows light and dark.

Lab: part3_train_and_test.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import pandas as pd

WIDTH, HEIGHT = 720, 300
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 14, 34
RAMP = ((178, 74, 0), (240, 200, 120), (60, 160, 125), (11, 94, 68))  # low to high, told apart without red and green


@dataclass(frozen=True)
class Line:
    """One line of a chart: ``values`` (N,), NaN where it breaks, and a band where ``low`` and ``high`` are given."""

    name: str
    values: Sequence[float]
    colour: int
    dash: bool = False
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None


def lines(
    x: Sequence, drawn: Sequence[Line], label: str, *, percent: bool = True, width: int = WIDTH, height: int = HEIGHT
) -> str:
    """Lines over dates or numbers, with a legend above.

    Args:
        x: (N,) dates or numbers, ascending.
        drawn: What to draw, the most important last.
        label: What a reader who cannot see it is told.
        percent: Whether y is a share from 0 to 1; else it starts at 0 and ends above the largest value.
        width, height: In CSS pixels, at full size.
    """
    dates = len(x) > 0 and isinstance(x[0], datetime.date)
    numbers = np.array([v.toordinal() if dates else v for v in x], float)
    low, high = (numbers.min(), numbers.max()) if len(numbers) else (0, 1)
    if high == low:
        low, high = low - 1, high + 1
    known = [v for line in drawn for v in line.values if v == v]
    top = 1.0 if percent else max([*known, 1e-9]) * 1.05

    def at(value):
        return LEFT + (value - low) / (high - low) * (width - LEFT - RIGHT)

    def up(value):
        return height - BOTTOM - value / top * (height - TOP - BOTTOM)

    parts = _y_axis(up, top, percent, width)
    parts += _date_ticks(low, high, at, height) if dates else _number_ticks(numbers, at, height)
    for line in drawn:
        parts.append(_band(line, numbers, at, up))
        parts.append(_path(line, numbers, at, up, x))
    return legend(drawn) + svg("".join(parts), label, width, height)


def legend(drawn: Sequence[Line]) -> str:
    items = (f'<li><i class="c{n.colour}{" dash" if n.dash else ""}"></i>{escape(n.name)}</li>' for n in drawn)
    return f'<ul class="legend">{"".join(items)}</ul>'


def svg(body: str, label: str, width: float, height: float) -> str:
    box = f'viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(label, quote=True)}"'
    kind = "chart" if width > 500 else "chart square"
    return f'<div class="{kind}"><svg {box}>{body}</svg></div>'


def reliability(table: pd.DataFrame, label: str) -> str:
    """Accuracy over confidence, with the diagonal of a model that keeps its word; bars: how many predictions."""
    side, top, bars = 300, 12, 56
    height = top + side + bars + 44

    def at(value):
        return LEFT + value * side

    def up(value):
        return top + side - value * side

    parts = []
    for v in (0, 0.25, 0.5, 0.75, 1):
        parts.append(f'<path class="grid" d="M{LEFT} {up(v):.1f}h{side}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{up(v) + 4:.1f}" text-anchor="end">{v:.0%}</text>')
        parts.append(f'<text x="{at(v):.1f}" y="{height - 24}" text-anchor="middle">{v:.0%}</text>')
    parts.append(f'<path class="ink dashed" d="M{at(0)} {up(0)}L{at(1)} {up(1)}"/>')
    share = table.samples / table.samples.max()
    floor = top + side + bars + 4
    for (_, r), s in zip(table.iterrows(), share, strict=True):
        told = f"{r.samples:,.0f} predictions, {r.confidence:.0%} sure, {r.accuracy:.0%} right"
        width = max((r.high - r.low) * side - 2, 1)
        parts.append(
            f'<rect class="soft" x="{at(r.low) + 1:.1f}" y="{floor - s * bars:.1f}" width="{width:.1f}" '
            f'height="{s * bars:.1f}"><title>{told}</title></rect>'
        )
    points = [(at(r.confidence), up(r.accuracy)) for _, r in table.iterrows()]
    parts.append(f'<path class="line c0" d="M{"L".join(f"{a:.1f} {b:.1f}" for a, b in points)}"/>')
    for (a, b), (_, r) in zip(points, table.iterrows(), strict=True):
        told = f"{r.samples:,.0f} predictions, {r.confidence:.0%} sure, {r.accuracy:.0%} right"
        parts.append(f'<circle class="dot c0" cx="{a:.1f}" cy="{b:.1f}" r="4"><title>{told}</title></circle>')
    parts.append(f'<text class="axis" x="{LEFT + side / 2}" y="{height - 5}" text-anchor="middle">how sure</text>')
    parts.append(f'<text class="axis" x="{LEFT + 6}" y="{top + 12}">how often right</text>')
    return svg("".join(parts), label, LEFT + side + RIGHT + 6, height)


def intervals(table: pd.DataFrame, colours: Sequence[str], label: str) -> str:
    """Mapped share (ring) and estimated share (dot with its interval) of each class."""
    step, left = 34, 150
    height = TOP + step * len(table) + BOTTOM
    mapped = table.mapped / table.mapped.sum()
    top = max(table.share_high.max(), mapped.max(), 0.01) * 1.06

    def at(value):
        return left + value / top * (WIDTH - left - RIGHT)

    parts = []
    for v in (0, *_steps(top)):
        parts.append(f'<path class="grid" d="M{at(v):.1f} {TOP}V{height - BOTTOM}"/>')
        parts.append(f'<text x="{at(v):.1f}" y="{height - 14}" text-anchor="middle">{v:.0%}</text>')
    for i, ((name, r), m, colour) in enumerate(zip(table.iterrows(), mapped, colours, strict=True)):
        y = TOP + step * (i + 0.5)
        told = f"{name}: mapped {m:.1%}, estimated {r.share:.1%} ({r.share_low:.1%} to {r.share_high:.1%})"
        parts.append(f'<rect x="2" y="{y - 6}" width="12" height="12" rx="2" fill="{escape(colour)}"/>')
        parts.append(f'<text x="22" y="{y + 4}">{escape(str(name))}</text><g><title>{escape(told)}</title>')
        if r.share_low == r.share_low:
            parts.append(f'<path class="bar c0" d="M{at(r.share_low):.1f} {y}H{at(r.share_high):.1f}"/>')
        parts.append(f'<circle class="ring" cx="{at(m):.1f}" cy="{y}" r="6.5"/>')
        parts.append(f'<circle class="dot c0" cx="{at(r.share):.1f}" cy="{y}" r="4.5"/></g>')
    return svg("".join(parts), label, WIDTH, height)


def block_map(table: pd.DataFrame, label: str, *, most: int = 1200) -> str:
    """A dot a block where it lies, coloured by its accuracy; at most ``most`` of them, evenly thinned."""
    table = table.iloc[:: -(-len(table) // most)]
    east, north = table.x - table.x.min(), table.y.max() - table.y
    span = max(east.max(), north.max(), 1e-9)
    width = 430
    height = 40 + (north.max() / span) * (width - 40)
    radius = float(np.clip((width - 40) * 0.42 / np.sqrt(len(table)), 2, 13))
    parts = []
    for (block, r), e, n in zip(table.iterrows(), east, north, strict=True):
        told = f"block {block}: {r.accuracy:.0%} of {r.samples:,.0f} right"
        parts.append(
            f'<circle cx="{20 + e / span * (width - 40):.1f}" cy="{20 + n / span * (width - 40):.1f}" '
            f'r="{radius:.1f}" fill="{ramp(r.accuracy)}"><title>{told}</title></circle>'
        )
    return svg("".join(parts), label, width, height)


def ramp(share: float) -> str:
    """Colour of a share, 0 to 1."""
    place = float(np.clip(share, 0, 1)) * (len(RAMP) - 1)
    low = min(int(place), len(RAMP) - 2)
    mixed = (a + (b - a) * (place - low) for a, b in zip(RAMP[low], RAMP[low + 1], strict=True))
    return "#" + "".join(f"{round(v):02x}" for v in mixed)


def _y_axis(up, top: float, percent: bool, width: int) -> list[str]:
    parts = []
    for v in (0, 0.25, 0.5, 0.75, 1) if percent else (0, *_steps(top)):
        parts.append(f'<path class="grid" d="M{LEFT} {up(v):.1f}H{width - RIGHT}"/>')
        told = f"{v:.0%}" if percent else f"{v:.3g}"
        parts.append(f'<text x="{LEFT - 8}" y="{up(v) + 4:.1f}" text-anchor="end">{told}</text>')
    return parts


def _date_ticks(low: float, high: float, at, height: int) -> list[str]:
    first = datetime.date.fromordinal(int(low))
    months = [datetime.date(first.year + m // 12, m % 12 + 1, 1) for m in range(first.month - 1, first.month + 40)]
    shown = [d for d in months if low <= d.toordinal() <= high]
    shown = shown[:: max(1, -(-len(shown) // 9))] or [first]
    names = (f"{d:%b}" if d.month > 1 and i else f"{d:%b %Y}" for i, d in enumerate(shown))
    return [
        f'<path class="tick" d="M{at(d.toordinal()):.1f} {height - BOTTOM}v5"/>'
        f'<text x="{at(d.toordinal()):.1f}" y="{height - BOTTOM + 20}" text-anchor="middle">{name}</text>'
        for d, name in zip(shown, names, strict=True)
    ]


def _number_ticks(numbers, at, height: int) -> list[str]:
    shown = numbers[:: max(1, -(-len(numbers) // 10))]
    return [
        f'<text x="{at(v):.1f}" y="{height - BOTTOM + 20}" text-anchor="middle">{v:g}</text>' for v in shown
    ]  # fmt: skip


def _steps(top: float) -> list[float]:
    """About four round values up to ``top``."""
    raw = top / 4
    size = 10.0 ** np.floor(np.log10(raw))
    step = next(size * m for m in (1, 2, 2.5, 5, 10) if size * m >= raw)
    return [float(v) for v in np.arange(step, top + 1e-12, step)]


def _band(line: Line, numbers, at, up) -> str:
    if line.low is None or line.high is None:
        return ""
    edge = [(n, a, b) for n, a, b in zip(numbers, line.low, line.high, strict=True) if a == a and b == b]
    if len(edge) < 2:
        return ""
    there = "L".join(f"{at(n):.1f} {up(b):.1f}" for n, _, b in edge)
    back = "L".join(f"{at(n):.1f} {up(a):.1f}" for n, a, _ in reversed(edge))
    return f'<path class="area c{line.colour}" d="M{there}L{back}Z"/>'


def _path(line: Line, numbers, at, up, x) -> str:
    steps, pen, dots = [], False, []
    for n, v, raw in zip(numbers, line.values, x, strict=True):
        if v != v:
            pen = False
            continue
        steps.append(f"{'L' if pen else 'M'}{at(n):.1f} {up(v):.1f}")
        pen = True
        told = escape(f"{line.name}, {raw}: {v:.3g}")
        dots.append(
            f'<circle class="dot c{line.colour}" cx="{at(n):.1f}" cy="{up(v):.1f}" r="3.2"><title>{told}</title>'
        )
    style = f"line c{line.colour}{' dashed' if line.dash else ''}"
    points = "" if line.dash or len(dots) > 60 else "</circle>".join([*dots, ""])
    return f'<path class="{style}" d="{"".join(steps)}"/>{points}'
