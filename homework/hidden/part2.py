"""Hidden checks of homework 2: other numbers of bands, other seasons, one image and none, other seeds, another legend.

The truth is computed here in another way than in the public checks and in the solutions.
"""

from collections import Counter

import numpy as np

from arsetlib import pixels
from arsetlib.grading.assignments import part2
from arsetlib.grading.questions import Wrong, array, equal, number, shown
from arsetlib.translation import _


def shapes(answer, hw):
    part2.shapes(answer, hw)


def decode(ask, hw):
    rng = hw.rng("hidden decode")
    for images, bands in ((0, 12), (1, 12), (5, 1), (3, 4), (80, 13)):
        numbers = rng.integers(0, 65_536, (images, bands))
        for little in (True, False):
            text = b"".join(int(n).to_bytes(2, "little" if little else "big") for n in numbers.ravel())
            of = _("{images} images of {bands} bands, little_endian={little},").format(
                images=images, bands=bands, little=little
            )
            equal(array(ask(text, bands, little), shape=(images, bands), of=of), numbers, of=of)


def step_of(ask, hw):
    rng = hw.rng("hidden steps")
    for window_days, step_days in ((120, 5), (45, 5), (180, 10), (7, 1), (60, 60), (90, 15)):
        start = int(rng.integers(0, 19_000))
        steps = window_days // step_days
        for since in (*(s * step_days - b for s in range(steps + 1) for b in (1, 0)), -3 * step_days, 2 * window_days):
            expected = next((s for s in range(steps) if s * step_days <= since < (s + 1) * step_days), -1)
            value = number(ask(start + since, start, window_days, step_days))
            if value != expected:
                raise Wrong(
                    _(
                        "Expected day {since} of a window of {window_days} days in steps of {step_days} to fall into "
                        "step {expected}, received {value:g}."
                    ).format(since=since, window_days=window_days, step_days=step_days, expected=expected, value=value)
                )


def plain_window(day, bands, start, window_days, step_days):
    """Each step's images, in order."""
    steps = [[] for _turn in range(window_days // step_days)]
    for when, values in zip(day, bands, strict=True):
        if start <= when < start + window_days:
            steps[(int(when) - start) // step_days].append(values.tolist())
    return steps


def window(ask, hw):
    rng = hw.rng("hidden windows")
    for images, bands, window_days, step_days in ((40, 4, 60, 10), (12, 1, 45, 5), (1, 12, 120, 5), (0, 12, 120, 5),
                                                  (9, 2, 30, 30)):  # fmt: skip
        start = int(rng.integers(17_000, 19_000))
        day = np.sort(rng.integers(start - 10, start + window_days + 10, images))
        values = rng.integers(1, 9_000, (images, bands)).astype(np.uint16)
        held = plain_window(day, values, start, window_days, step_days)
        of = _("a window of {window_days} days in steps of {step_days} with {images} images of {bands} bands").format(
            window_days=window_days, step_days=step_days, images=images, bands=bands
        )
        for seed in (None, 5, 77):
            x, seen = part2.window_pair(ask(day, values, start, window_days, step_days, seed), len(held), bands, of)
            equal(seen.astype(bool), np.array([bool(step) for step in held]), of=_("seen of {of}").format(of=of))
            for step, one in zip(held, x.tolist(), strict=True):
                allowed = step if seed is not None else step[:1]
                if one not in (allowed or [[0] * bands]):
                    one_of = allowed or "zeros"
                    raise Wrong(
                        _("Expected a step of {of}, seed {seed}, to hold one of {one_of}, received {one}.").format(
                            of=of, seed=seed, one_of=one_of, one=one
                        )
                    )
    _steps_draw_apart(ask)


def _steps_draw_apart(ask):
    day, bands = np.array([0, 1, 5, 6]), np.array([[1], [2], [1], [2]])
    pairs = Counter()
    for seed in range(1_000, 1_080):
        x, _seen = part2.window_pair(ask(day, bands, 0, 10, 5, seed), 2, 1, _("two crowded steps"))
        pairs[x[0, 0] == x[1, 0]] += 1
    if min(pairs[True], pairs[False]) < 10:
        raise Wrong(
            _(
                "Expected two crowded steps to draw apart from each other; over 80 seeds they took images of the "
                "same rank {pairs} times. Make the generator once, before the loop over steps."
            ).format(pairs=pairs[True])
        )


def scaled(ask, hw):
    rng = hw.rng("hidden scaling")
    for rows, steps, bands, few in ((30, 24, 12, 5), (8, 6, 1, 1), (20, 9, 4, 0)):
        train, x = rng.normal(3_000, 700, (rows, steps, bands)), rng.normal(4_000, 300, (few, steps, bands))
        train *= np.arange(1, bands + 1)
        train_seen, seen = rng.random((rows, steps)) < 0.6, rng.random((few, steps)) < 0.4
        train[~train_seen], x[~seen] = 0, 0
        expected = np.zeros_like(x)
        for band in range(bands):
            values = [float(v) for v, s in zip(train[..., band].ravel(), train_seen.ravel(), strict=True) if s]
            mean = sum(values) / len(values)
            std = (sum((v - mean) ** 2 for v in values) / len(values)) ** 0.5
            expected[..., band][seen] = (x[..., band][seen] - mean) / std
        of = _("other data, {few} samples of {steps} steps and {bands} bands, scaled,").format(
            few=few, steps=steps, bands=bands
        )
        equal(array(ask(train, train_seen, x, seen), shape=x.shape, of=of), expected, of=of, rel=1e-4, tol=1e-5)


def class_in_window(ask, hw):
    rng = hw.rng("hidden classes")
    crops = ["maize", "winter crops"]
    for _turn in range(60):
        size = int(rng.integers(0, 7))
        day, scl = (
            np.sort(rng.integers(0, 90, size)),
            rng.choice([3, 4, 5, 10], size).astype(np.uint8),
        )
        name = str(rng.choice(["maize", "winter crops", "corn", "wet"]))
        start, window_days = int(rng.integers(0, 30)), int(rng.choice([30, 45]))
        last = [int(s) for d, s in zip(day, scl, strict=True) if start <= d < start + window_days][-2:]
        expected = part2.BARE if name in crops and 4 not in last else name
        value = ask(name, day, scl, start, window_days, crops)
        if not isinstance(value, str) or value != expected:
            raise Wrong(
                _(
                    "Expected, where the crops are {crops}, {expected!r} for {name}, images on days {day} of classes "
                    "{scl}, a window of {window_days} days from day {start}, received {value}."
                ).format(
                    crops=crops,
                    expected=expected,
                    name=name,
                    day=day.tolist(),
                    scl=scl.tolist(),
                    window_days=window_days,
                    start=start,
                    value=shown(value),
                )
            )


def counts(answer, hw):
    part2.counts(answer, hw)
    legend = hw.study.legend
    crops = {c.key for c in legend.classes if c.crop}
    block = np.unique(hw.table["block"].to_numpy())
    held = {int(block[i]) for i in hw.draw["held_out"]}
    expected = Counter()
    for row, (year, of, code) in enumerate(zip(*(hw.table[n].to_pylist() for n in ("year", "block", "label_code")),
                                               strict=True)):  # fmt: skip
        if year != hw.draw["year"] or of in held or code in legend.excluded:
            continue
        name = next(c.key for c in legend.classes if code in c.codes)
        day, scl, _bands = pixels.series(hw.table, row)
        start = part2.own_start(hw, year)
        last = scl[(day >= start) & (day < start + part2.WINDOW)][-2:]
        expected[part2.BARE if name in crops and 4 not in last else name] += 1
    found = {str(k): int(v) for k, v in dict(answer).items() if v} if isinstance(answer, dict) else None
    if found is not None and found != dict(expected):
        raise Wrong(_("Expected {expected}, received {found}.").format(expected=dict(expected), found=found))


def bottleneck(answer, hw):
    part2.bottleneck(answer, hw)


HIDDEN = {
    "q1": shapes, "q2": decode, "q3": step_of, "q4": window, "q5": scaled, "q6": class_in_window, "q7": counts,
    "q8": bottleneck,
}  # fmt: skip
