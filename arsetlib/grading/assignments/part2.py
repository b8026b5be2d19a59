"""Homework 2: from the pixel table to batches. Lab: part2_load_data.

A learner draws the sizes of a loader, rows of the sample, the year and the blocks of a training set, the day on which
its windows start, and the times of a training step.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from arsetlib.grading.assignments import picked, shuffled
from arsetlib.grading.questions import Question, Wrong, array, close, equal, mapping, number, shown
from arsetlib.translation import N_, _

TITLE = N_("Homework 2: from the pixel table to batches")
BARE = "no_crops_growing"
WINDOW, STEP = 120, 5  # days, the study's season
SHAPES = ("x", "y", "batches", "last", "passes", "clear")

# Of each: what can be chosen, and why not; the first is right.
CHANGES = {
    N_("Parse whole batches at once in place of row after row."): "",
    N_("Put `cache()` after `map(parse)`."): (
        N_("It is fast and wrong: the random choices of the first epoch are kept, so all epochs are equal")
    ),
    N_("Get a faster graphics card."): N_(
        "That shortens only the work; the waiting, which is most of the step, remains"
    ),
    N_("Move `filter` behind `map(parse)`, and `shuffle` behind `batch`."): (
        N_("Then rows that are dropped later are parsed too, and a batch contains only neighbouring pixels")
    ),
}


def change_reasons(wait: float, work: float) -> dict[str, str]:
    """Reasons for a change of the pipeline, and why not."""
    share = 100 * wait / (wait + work)
    return {
        _("A step waits for its input {share:.0f} % of its time, so loading is what limits it.").format(
            share=share
        ): "",
        _("A step works {work:g} ms, so the network is too large for the machine.").format(work=work): (
            _("It waits {wait:g} ms meanwhile. Improve the longer part first").format(wait=wait)
        ),
        _("Random draws slow a loader down, so they should be made once and kept."): (
            _("Random choices make many different samples of one row, and they take very little time")
        ),
        _("The profiler calls a step input-bound only where it waits over half its time."): (
            _("Its limits are 5 % (moderately) and 20 % (highly)")
        ),
    }


def draw(rng: np.random.Generator) -> dict:
    """A learner's own numbers."""
    step = int(rng.choice([5, 6, 10, 15]))
    steps = int(rng.integers(9, min(24, 240 // step) + 1))
    batch = int(rng.choice([32, 64, 128, 256, 512]))
    rows = batch * int(rng.integers(6, 30)) + int(rng.integers(3, batch - 2))
    work = float(rng.integers(30, 61)) / 10
    wait = round(work * float(rng.integers(30, 61)) / 10, 1)
    double = int(rng.integers(11, 60))
    return {
        "window_days": step * steps,
        "step_days": step,
        "batch": batch,
        "rows": rows + double,
        "double_crops": double,
        "bands": int(rng.choice([n for n in (4, 6, 10, 12) if n != steps])),
        "classes": int(rng.choice([3, 5, 7])),
        "satellites": int(rng.integers(1, 3)),
        "orbits": int(rng.integers(1, 3)),
        "cloudy": 5 * int(rng.integers(7, 15)),
        "row": int(rng.integers(0, 300)),
        "year": int(rng.choice([2019, 2020, 2021])),
        "start_day": int(rng.integers(31, 41)) * 5,
        "held_out": sorted(rng.choice(20, 6, replace=False).tolist()),
        "wait_ms": wait,
        "work_ms": work,
        "changes": shuffled(rng, "abcd", CHANGES),
        "change_reasons": shuffled(rng, "1234", change_reasons(wait, work)),
    }


# --- public checks ----------------------------------------------------------------------------------------------------


def shapes(answer, hw) -> None:
    d = hw.draw
    found = mapping(answer, SHAPES, hint=_("Lab 2, sections 2, 4 and 10"))
    kept, steps = d["rows"] - d["double_crops"], d["window_days"] // d["step_days"]
    for key, expected, letters, hint in (
        (
            "x",
            (d["batch"], steps, d["bands"]),
            "(B, T, C)",
            _("{window_days} days in steps of {step_days}").format(
                window_days=d["window_days"], step_days=d["step_days"]
            ),
        ),
        ("y", (d["batch"], d["classes"]), "(B, K)", _("One-hot: one column for each class")),
    ):
        shape = found[key]
        if not isinstance(shape, tuple | list | np.ndarray) or len(shape) != len(expected):
            raise Wrong(
                _("Expected {key} to be a shape of {count} numbers, {letters}, received {shape}.").format(
                    key=key, count=len(expected), letters=letters, shape=shown(shape)
                )
            )
        for name, value, wanted in zip(letters.strip("()").split(", "), shape, expected, strict=True):
            close(
                value,
                wanted,
                rel=0,
                unit=_("as {name} of {key}").format(name=name, key=key),
                hint=_("{hint}. Lab 2, sections 4, 8 and 10").format(hint=hint),
            )
    more = _("The filter comes first; the last batch counts, too, though it is not full. Lab 2, section 2")
    close(found["batches"], -(-kept // d["batch"]), rel=0, unit=_("batches"), hint=more)
    more = _("What is left of the rows after the filter when all full batches are taken. Lab 2, section 2")
    close(found["last"], (kept - 1) % d["batch"] + 1, rel=0, unit=_("rows in the last batch"), hint=more)
    passes = d["window_days"] / 10 * d["satellites"] * d["orbits"]
    close(found["passes"], passes, unit=_("passes"), hint=_("Each satellite passes each of the orbits once in 10 days"))
    close(found["clear"], passes * (100 - d["cloudy"]) / 100, unit=_("clear images"),
          hint=_("{cloudy} of 100 passes are cloudy; leave the fraction").format(cloudy=d['cloudy']))  # fmt: skip


def decode(ask, hw) -> None:
    hint = _("Lab 2, section 3, and Lab 1, section 9")
    small = np.array([[1, 2, 3], [256, 500, 40_000]])
    for little in (True, False):
        text = small.astype("<u2" if little else ">u2").tobytes()
        of = _("decode(text, 3, {little}), two images of three bands,").format(little=little)
        value = array(ask(text, 3, little), shape=(2, 3), of=of, hint=hint)
        if np.array_equal(value, small.astype("u2").byteswap()):
            raise Wrong(
                _("Bytes are swapped in {of} received {value}: is little_endian used? {hint}.").format(
                    of=of, value=value.tolist(), hint=hint
                )
            )
        equal(
            value, small, of=of, hint=_("Numbers are unsigned, of 16 bits: from 0 to 65,535. {hint}").format(hint=hint)
        )
    text = hw.table["bands"][hw.draw["row"]].as_py()
    expected = np.frombuffer(text, "<u2").reshape(-1, 12)
    equal(
        array(ask(text, 12, True), shape=expected.shape, of=_("your row"), hint=hint),
        expected,
        of=_("your row"),
        hint=hint,
    )


def step_of(ask, hw) -> None:
    hint = _("Lab 2, section 4")
    for day, start, window_days, step_days, expected, why in (
        (100, 100, 120, 5, 0, _("the first day falls into step 0")),
        (104, 100, 120, 5, 0, _("step 0 has the days 100 to 104")),
        (105, 100, 120, 5, 1, _("step 1 begins on day 105")),
        (219, 100, 120, 5, 23, _("day 219 is the window's last")),
        (220, 100, 120, 5, -1, _("day 220 is after the window, which has 24 steps and not 25")),
        (93, 100, 120, 5, -1, _("day 93 is before the window")),
        (99, 100, 120, 5, -1, _("day 99 is before the window")),
        (57, 40, 60, 10, 1, _("step 1 has the days 50 to 59")),
    ):
        called = f"step_of({day}, {start}, {window_days}, {step_days})"
        value = number(
            ask(day, start, window_days, step_days),
            hint=_("{called} should be {expected}. {hint}").format(called=called, expected=expected, hint=hint),
        )
        if value != expected:
            raise Wrong(
                _("Expected {called} to be {expected}, received {value:g}: {why}. {hint}.").format(
                    called=called, expected=expected, value=value, why=why, hint=hint
                )
            )


def window(ask, hw) -> None:
    hint = _("Lab 2, sections 4 and 5")
    day = np.array([98, 101, 103, 104, 112, 120])
    bands = np.array([[9, 90], [1, 10], [2, 20], [3, 30], [4, 40], [5, 50]])
    x, seen = window_pair(ask(day, bands, 100, 20, 5, None), 4, 2, "window(day, bands, 100, 20, 5, None)", hint)
    equal(
        seen.astype(bool), np.array([True, False, True, False]), of=_("seen, of images on days 98 to 120,"), hint=hint
    )
    equal(
        x,
        np.array([[1, 10], [0, 0], [4, 40], [0, 0]]),
        of=_("x without a seed, when the first image is taken,"),
        hint=hint,
    )
    for days, of in (([112], _("one image")), ([], _("no image"))):
        x, seen = window_pair(ask(np.array(days, int), np.full((len(days), 3), 7), 100, 20, 5, None), 4, 3, of, hint)
        equal(x.sum(), 21 * len(days), of=_("the sum of x with {of} of three bands of 7").format(of=of), hint=hint)
        equal(int(seen.sum()), len(days), of=_("the number of steps seen with {of}").format(of=of), hint=hint)
    _draws_evenly(ask, day, bands, hint)
    _own_window(ask, hw, hint)


def window_pair(answer, steps: int, bands: int, of: str, hint: str = "") -> tuple[np.ndarray, np.ndarray]:
    """The pair (x, seen) of an answer, each in its shape."""
    if not isinstance(answer, tuple | list) or len(answer) != 2:
        raise Wrong(
            _("Expected {of} to be a pair, x and seen, received {kind}. Write `return x, seen`.").format(
                of=of, kind=type(answer).__name__
            )
        )
    x = array(answer[0], shape=(steps, bands), of=_("x of {of}").format(of=of), hint=hint)
    return x, array(answer[1], shape=(steps,), of=_("seen of {of}").format(of=of), hint=hint)


def _draws_evenly(ask, day, bands, hint: str) -> None:
    taken: Counter[int] = Counter()
    for seed in range(300):
        x, _seen = window_pair(ask(day, bands, 100, 20, 5, seed), 4, 2, f"window(…, seed={seed})", hint)
        taken[float(x[0, 0])] += 1
        if x[0].tolist() not in ([1, 10], [2, 20], [3, 30]):
            raise Wrong(
                _("Expected step 0 to hold the bands of one of its three images, received {x}. {hint}.").format(
                    x=x[0].tolist(), hint=hint
                )
            )
        if seed < 12 and not np.array_equal(x, np.asarray(ask(day, bands, 100, 20, 5, seed)[0])):
            raise Wrong(
                _("Expected seed {seed} to give the same x when it is used again, received another. {hint}.").format(
                    seed=seed, hint=hint
                )
            )
    shares = [round(taken[image] / 3) for image in (1, 2, 3)]
    if min(shares) < 22:
        raise Wrong(
            _(
                "Expected the three images of a step to be taken equally often over 300 seeds, received "
                "{shares}, {shares2} and {shares3} %. {hint}."
            ).format(shares=shares[0], shares2=shares[1], shares3=shares[2], hint=hint)
        )


def _own_window(ask, hw, hint: str) -> None:
    from arsetlib import pixels, samples

    row, season = hw.draw["row"], hw.study.season
    day, _scl, bands = pixels.series(hw.table, row)
    start = own_start(hw, hw.table["year"][row].as_py())
    right = samples.window(pixels.ragged(hw.table), season, np.array([start]), rows=np.array([row]), choose="first")
    x, seen = window_pair(ask(day.astype(int), bands, start, WINDOW, STEP, None), season.steps, 12, _("your row"), hint)
    equal(seen.astype(bool), right.seen[0], of=_("seen of your row"), hint=hint)
    equal(x, right.x[0].astype(float), of=_("x of your row"), tol=0.5, hint=hint)


def own_start(hw, year: int) -> int:
    """First day of the learner's window in a year, days since 1970-01-01."""
    return int(np.datetime64(f"{year}-01-01").astype(int)) + hw.draw["start_day"] - 1


def scaled(ask, hw) -> None:
    hint = _("Lab 2, section 6")
    train = np.array([[[2.0, 100], [0, 0]], [[4, 300], [6, 500]]])  # (2, 2, 2): three steps seen
    train_seen = np.array([[True, False], [True, True]])
    x, seen = np.array([[[4.0, 300], [0, 0], [8, 100]]]), np.array([[True, False, True]])
    value = array(ask(train, train_seen, x, seen), shape=x.shape, of="scaled(…)", hint=hint)
    mean, std = np.array([4, 300]), np.array([np.sqrt(8 / 3), np.sqrt(80_000 / 3)])
    expected = np.where(seen[..., None], (x - mean) / std, 0)
    if not np.allclose(value[0, 1], 0, atol=1e-6):
        raise Wrong(
            _("Expected a step that was not seen to stay 0, received {value}. {hint}.").format(
                value=value[0, 1].tolist(), hint=hint
            )
        )
    if not np.allclose(value[0, 0], 0, atol=1e-4):
        raise Wrong(
            _(
                "Expected a value equal to the mean of what was seen in training, (4, 300), to become (0, 0), "
                "received {value}. Does an empty step count, or x, or one band for another? {hint}."
            ).format(value=np.round(value[0, 0], 4).tolist(), hint=hint)
        )
    equal(
        value,
        expected,
        of="scaled(…)",
        rel=1e-4,
        tol=1e-6,
        hint=_("Each band is divided by its standard deviation, as np.std gives it. {hint}").format(hint=hint),
    )


def class_in_window(ask, hw) -> None:
    hint = _("Lab 2, section 7")
    crops = ["cultivated", "corn", "soybeans", "cotton", "rice"]
    day, pictured = (
        np.array([90, 105, 110, 150, 180, 219, 220]),
        _("images on days 90, 105, 110, 150, 180, 219 and 220"),
    )
    for name, scl, expected, why in (
        ("corn", [5, 5, 5, 5, 5, 4, 5], "corn", _("the last image of the window, day 219, is vegetation")),
        ("rice", [5, 5, 5, 5, 4, 5, 5], "rice", _("one of the last two images, day 180, is vegetation")),
        ("corn", [4, 4, 4, 4, 5, 3, 5], BARE, _("none of the last two images of the window is vegetation")),
        ("corn", [5, 5, 5, 5, 5, 5, 4], BARE, _("day 220 is after the window")),
        ("uncultivated", [5] * 7, "uncultivated", _("the rule is for crops alone")),
    ):
        value = ask(name, day, np.array(scl), 100, 120, crops)
        if not isinstance(value, str) or value != expected:
            raise Wrong(
                _(
                    "Expected {expected!r} for {name}, {pictured} of classes {scl}, a window of 120 days from day "
                    "100, received {value}: {why}. {hint}."
                ).format(
                    expected=expected, name=name, pictured=pictured, scl=scl, value=shown(value), why=why, hint=hint
                )
            )
    one = ask("cotton", np.array([100]), np.array([4]), 100, 120, crops)
    equal(one, "cotton", of=_("the class of cotton with one image, vegetation on the window's first day,"), hint=hint)
    none = ask("cotton", np.array([90]), np.array([4]), 100, 120, crops)
    equal(none, BARE, of=_("the class of cotton with no image in the window"), hint=hint)


def counts(answer, hw) -> None:
    hint = _("Lab 2, sections 7 to 9")
    if type(answer).__module__.startswith("pandas") and hasattr(answer, "to_dict"):
        answer = answer.iloc[:, 0].to_dict() if len(getattr(answer, "columns", ())) else answer.to_dict()
    if not isinstance(answer, dict):
        raise Wrong(
            _("Expected a dict, class → number of rows, received {answer}. {hint}.").format(
                answer=shown(answer), hint=hint
            )
        )
    expected = true_counts(hw)
    strangers = sorted(str(key) for key in answer if key not in hw.study.legend.keys)
    if strangers:
        raise Wrong(
            _("Expected classes of the legend as keys, received {key}. Leave out double crops. {hint}.").format(
                key=shown(strangers[0]), hint=hint
            )
        )
    found = {key: number(value, hint=_("It stands at {key}").format(key=key)) for key, value in answer.items()}
    total = sum(expected.values())
    close(
        sum(found.values()),
        total,
        rel=0,
        unit=_("rows in all"),
        hint=_("The year {year} alone, none of the blocks held out, no double crop. {hint}").format(
            year=hw.draw["year"], hint=hint
        ),
    )
    more = _("Does every window start on your day of the year, and is class_in_window used for all? {hint}").format(
        hint=hint
    )
    for key in hw.study.legend.keys:
        close(found.get(key, 0), expected.get(key, 0), rel=0, unit=_("rows of {key}").format(key=key), hint=more)


def true_counts(hw) -> dict[str, int]:
    """Class → rows of the learner's training set, by the library."""
    from arsetlib import pixels, samples

    block, year = hw.table["block"].to_numpy(), hw.table["year"].to_numpy()
    kept = (year == hw.draw["year"]) & ~np.isin(block, np.unique(block)[hw.draw["held_out"]])
    rows = np.flatnonzero(kept)
    series = pixels.ragged(hw.table)
    w = samples.window(series, hw.study.season, own_start(hw, hw.draw["year"]), rows=rows, choose="first")
    legend = hw.study.legend
    named = samples.apply_vegetation_rule(
        legend.classes_of(hw.table["label_code"].to_numpy()[rows]), w.vegetation, legend
    )
    return {legend.keys[k]: int(n) for k, n in Counter(named[named >= 0].tolist()).items()}


def bottleneck(answer, hw) -> None:
    reasons = change_reasons(hw.draw["wait_ms"], hw.draw["work_ms"])
    where = _("Lab 2, sections 2, 11 and 12")
    picked(answer, hw.draw["changes"], CHANGES, hw.draw["change_reasons"], reasons, where)


SPLIT, WAIT = "9. Split, and what is wrong with a random split", "12. Does the model wait for the loader?"
# The questions, in the order of the notebook.
QUESTIONS = (
    Question("q1", "shapes", "computed", 3, ("2.1", "2.3"), "4. The window: a regular calendar", shapes),
    Question("q2", "decode", "coded", 3, ("2.2", "S4"), "3. Bytes to arrays", decode),
    Question("q3", "step_of", "coded", 3, ("2.3",), "4. The window: a regular calendar", step_of),
    Question("q4", "window", "coded", 5, ("2.3", "2.4", "S5"), "5. Random draws", window),
    Question("q5", "scaled", "coded", 4, ("2.5",), "6. Zeros and the mean", scaled),
    Question("q6", "class_in_window", "coded", 4, ("2.6",), "7. When nothing grows", class_in_window),
    Question("q7", "counts", "computed", 3, ("2.6", "2.7", "S5"), SPLIT, counts),
    Question("q8", "bottleneck", "reasoned", 3, ("2.1", "2.8", "S4"), WAIT, bottleneck),
)
