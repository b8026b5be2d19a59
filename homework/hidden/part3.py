"""Hidden checks of homework 3: other networks, longer stacks, absent classes, no visits, the paper's own figures.

The truth is computed here in another way than in the public checks and in the solutions.
"""

import math
from collections import Counter

import numpy as np

from arsetlib.grading.assignments import part3
from arsetlib.grading.questions import Wrong, array, choice, mapping, number, table
from arsetlib.translation import _


def network(ask, hw):
    rng = hw.rng("hidden network")
    shapes = [
        hw.draw["network"],
        {"steps": 9, "bands": 1, "kernels": 1, "width": 1, "pool": 1, "dense": 1, "classes": 2},
    ]
    for _turn in range(8):
        width, pool = int(rng.integers(1, 8)), int(rng.integers(1, 6))
        sizes = rng.integers(1, 20, 4).tolist()
        shapes.append(
            {"steps": width + pool + int(rng.integers(0, 30)), "width": width, "pool": pool}
            | dict(zip(("bands", "kernels", "dense", "classes"), sizes, strict=True))
        )
    for s in shapes:
        places = sum(
            1 for first in range(0, s["steps"]) if first * s["pool"] + s["pool"] + s["width"] - 1 <= s["steps"]
        )
        layers = [
            (s["width"] * s["bands"], s["kernels"]),
            (places * s["kernels"], s["dense"]),
            (s["dense"], s["classes"]),
        ]
        expected = sum(inputs * outputs + outputs for inputs, outputs in layers)
        value = number(ask(**s), whole=True)
        if value != expected:
            raise Wrong(
                _("Another network, {s}: expected {expected} parameters, received {value}.").format(
                    s=s, expected=expected, value=value
                )
            )


def days(ask, hw):
    stacks = [
        hw.draw["stack"], [], [(1, 1)], [(2, 2), (2, 2), (2, 2)], [(3, 2), (5, 1), (2, 3), (4, 1)], [(5, 3)],
        [(3, 1)] * 6,
    ]  # fmt: skip
    for stack in stacks:
        seen = {0}
        for kernel, stride in reversed(stack):  # from the last layer back to the steps
            seen = {place * stride + offset for place in seen for offset in range(kernel)}
        for step_days in (hw.draw["step_days"], 1):
            expected = (max(seen) + 1) * step_days
            value = number(ask(stack, step_days))
            if value != expected:
                raise Wrong(
                    _(
                        "Other layers, {stack}, {step_days} days a step: expected {expected} days, received {value:g}."
                    ).format(stack=stack, step_days=step_days, expected=expected, value=value)
                )


def first_step(answer, hw):
    given, own = mapping(answer, ("loss", "sgd", "momentum")), hw.draw
    moves, places = [0.0], {"sgd": 0.0, "momentum": 0.0}
    for slope in own["slopes"]:
        moves.append(0.9 * moves[-1] - own["rate"] * slope)
        places["sgd"] -= own["rate"] * slope
    places["momentum"] = sum(moves)
    expected = places | {"loss": math.log(1 / own["shares"][own["truth"]])}
    for key, right in expected.items():
        if abs(number(given[key]) - right) > 2e-3:
            raise Wrong(
                _("Expected {key} to be {right:.4g}, received {given}.").format(key=key, right=right, given=given[key])
            )


def run(answer, hw):
    given, record = mapping(answer, ("best_epoch", "last_epoch", "saved_ms", "reading")), hw.draw["run"]
    best, at, waited = math.inf, 0, 0
    for epoch, loss in enumerate(record["val_loss"], 1):
        waited = 0 if loss < best else waited + 1
        best, at = (loss, epoch) if loss < best else (best, at)
        if waited == record["patience"]:
            break
    if (number(given["best_epoch"]), number(given["last_epoch"])) != (at, epoch):
        raise Wrong(_("Expected the best epoch {at} and the last {epoch}.").format(at=at, epoch=epoch))
    apart = record["val_loss"][-1] - record["loss"][-1]
    letter, digit = choice(given["reading"], "abcd", "1234")
    right, english = "It overfits" if apart > 0.5 else "It underfits", hw.drawn("en")
    if english["verdicts"][letter] != right or ("rises" in english["signs"][digit]) != (apart > 0.5):
        raise Wrong(_("Expected another reading: the two losses end {apart:.2f} apart.").format(apart=apart))


def scores(ask, hw):
    rng = hw.rng("hidden scores")
    cases = [([0], [0], 1), ([1], [0], 2), ([2, 2, 2], [2, 2, 2], 6), ([3] * 4 + [0], [1] * 5, 4)]
    for size, classes in ((40, 3), (300, 7), (50, 9)):
        there = rng.choice(classes, max(2, classes - 2), replace=False)  # two classes are absent
        truth = rng.choice(there, size)
        cases.append((truth, np.where(rng.random(size) < 0.6, truth, rng.choice(there, size)), classes))
    cases.append((np.zeros(9, np.uint8), np.arange(9, dtype=np.uint8) % 3, 12))
    for truth, predicted, classes in cases:
        truth, predicted = np.asarray(truth), np.asarray(predicted)
        pairs = Counter(zip(truth.tolist(), predicted.tolist(), strict=True))
        given = mapping(ask(truth, predicted, classes), part3.SCORES)
        what = _("{count} samples of {present} classes among {classes}").format(
            count=len(truth), present=len(set(truth.tolist())), classes=classes
        )
        counts = array(given["counts"], shape=(classes, classes), of=_("the counts of {what}").format(what=what))
        if any(counts[t, p] != pairs[t, p] for t in range(classes) for p in range(classes)):
            raise Wrong(
                _("Other data, {what}: the counts are not those of the samples, rows = truth.").format(what=what)
            )
        f1 = []
        for k in set(truth.tolist()) | set(predicted.tolist()):
            hits = pairs[k, k]
            missed = sum(n for (t, p), n in pairs.items() if t == k != p)
            false = sum(n for (t, p), n in pairs.items() if p == k != t)
            f1.append(2 * hits / (2 * hits + missed + false))
        right = sum(n for (t, p), n in pairs.items() if t == p) / len(truth)
        for key, expected in (("accuracy", right), ("micro_f1", right), ("macro_f1", sum(f1) / len(f1))):
            if abs(number(given[key]) - expected) > 1e-4:
                raise Wrong(
                    _("Other data, {what}: expected {key} to be {expected:.4f}, received {given}.").format(
                        what=what, key=key, expected=expected, given=given[key]
                    )
                )


def by_start(answer, hw):
    found = table(answer, part3.SEASON).astype(float).set_index("start")
    rows = part3.predictions(hw)
    four = part3.crops(hw.study)
    for start in part3.STARTS:
        pairs = [(t, p) for s, t, p in rows.itertuples(index=False) if s == start]
        crop = [t == p for t, p in pairs if t in four]
        expected = (
            sum(t == p for t, p in pairs) / len(pairs), sum(crop) / len(crop),
            Counter(t for t, _ in pairs).most_common(1)[0][1] / len(pairs),
        )  # fmt: skip
        if not np.allclose(found.loc[start].to_numpy(), expected, atol=2e-3):
            raise Wrong(
                _("Expected {expected} for the window from day {start}.").format(
                    expected=np.round(expected, 3), start=start
                )
            )


def claims(answer, hw):
    given = mapping(answer, ("late", "search"))
    for key, letter, digit in (
        ("late", "says little", "most of the truth"),
        ("search", "too high", "in part by chance"),
    ):
        option, reason = choice(given[key], "abcd", "1234")
        if letter not in hw.drawn("en")[key][option] or digit not in hw.drawn("en")[f"{key}_reasons"][reason]:
            raise Wrong(_("Expected another choice or reason for {key!r}.").format(key=key))


def hectares(ask, hw):
    # Olofsson et al. 2014, section 5: deforestation, 21,158 ha ± 6,158 ha; counts turned so that rows are the truth
    counts = np.array([[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]]).T
    mapped = np.array([18_000.0, 13_500, 288_000, 580_500])
    cases = [(counts, mapped, k) for k in range(4)]
    cases.append(
        (np.array([[30, 0, 1], [0, 0, 0], [0, 0, 29]]), np.array([500.0, 0, 200]), 0)
    )  # a class not on the map
    cases.append((np.array([[30, 0, 1], [0, 0, 0], [0, 0, 29]]), np.array([500.0, 0, 200]), 1))
    cases.append((np.array([[1, 1], [19, 199]]), np.array([10.0, 4_000]), 0))  # low would be below 0
    for counts, mapped, k in cases:
        estimate = spread = 0.0
        for j, area in enumerate(mapped):
            visited = counts[:, j].sum()
            if visited:
                p = counts[k, j] / visited
                estimate += area * p
                spread += area**2 * p * (1 - p) / (visited - 1)
        half = 1.96 * math.sqrt(spread)
        expected = (estimate, max(estimate - half, 0), estimate + half)
        value = array(ask(counts, mapped, k), shape=(3,), of="(estimate, low, high)").astype(float)
        if not np.allclose(value, expected, rtol=2e-3, atol=1e-6):
            raise Wrong(
                _(
                    "Another map, counts {counts}, {mapped} ha, class {k}: expected {expected}, received {value}."
                ).format(
                    counts=counts.tolist(),
                    mapped=mapped.tolist(),
                    k=k,
                    expected=np.round(expected, 1).tolist(),
                    value=np.round(value, 1).tolist(),
                )
            )


HIDDEN = {
    "q1": network, "q2": days, "q3": first_step, "q4": run, "q5": scores, "q6": by_start, "q7": claims, "q8": hectares,
}  # fmt: skip
