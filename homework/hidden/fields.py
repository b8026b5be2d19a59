"""Hidden checks of the homework of case study B: other fields, very large records, no records, other curves.

The right answers are computed in another way than in the public checks and in the solutions.
"""

import math
from collections import deque

import numpy as np

from arsetlib.grading.assignments import fields
from arsetlib.grading.questions import Wrong, array, choice, mapping, number
from arsetlib.translation import _


def said(answer, hw, key, choice_has, reason_has):
    """Is the pair that answers ``key`` the one with these words?"""
    letter, digit = choice(answer, "abcd", "1234")
    english = hw.drawn("en")
    if choice_has not in english[key][letter] or reason_has not in english[f"{key}_reasons"][digit]:
        raise Wrong(_("Expected another choice or reason for {key!r}.").format(key=key))


def memory(answer, hw):
    given, own = mapping(answer, ("chip_bytes", "set_gb", "fit", "feed")), hw.draw["set"]
    chip = np.zeros((own["side"], own["side"], own["channels"]), np.float32).nbytes
    small = np.zeros((own["small_side"], own["small_side"], own["channels"]), np.uint8).nbytes
    for key, right, near in (
        ("chip_bytes", chip, 0.5), ("set_gb", chip * own["chips"] / 1e9, chip * own["chips"] / 2e11),
        ("fit", own["memory_gb"] * 10**9 // small, 1.5),
    ):  # fmt: skip
        if abs(number(given[key]) - right) > near:
            raise Wrong(
                _("Expected {key} to be {right:.6g}, received {given}.").format(key=key, right=right, given=given[key])
            )
    said(given["feed"], hw, "feed", "when it is requested", "however large")


def split(ask, hw):
    rng = hw.rng("hidden fields")
    for count, shares in (
        (40, (0.6, 0.2, 0.2)),
        (10, (0.8, 0.1, 0.1)),
        (3, (0.34, 0.33, 0.33)),
        (101, (0.5, 0.25, 0.25)),
    ):
        names = []
        for field in range(count):  # similar names, single chips, one field with very many
            for chip in range(60 if field == 0 else int(rng.integers(1, 4))):
                names.append(f"F{field}_{chip}-0-{chip + 512}-512")
        names = [names[at] for at in rng.permutation(len(names)).tolist()]
        sides = fields.sided(ask, names, shares, 5, _("{count} other chips").format(count=len(names)))
        if count > 3 and all(fields.sided(ask, names, shares, seed, _("other chips")) == sides for seed in (6, 7, 8)):
            raise Wrong(_("Other chips: the seed changes nothing."))
        if fields.sided(ask, names[::-1], shares, 5, _("other chips")) != sides:
            raise Wrong(
                _(
                    "Other chips: the same names in another order give another split. Sort the fields before you "
                    "draw: neither a folder nor a set is listed in the same order on every machine."
                )
            )


def sharded(ask, hw):
    rng = hw.rng("hidden shards")
    cases = [
        ([], 10),
        ([5], 3),
        ([5, 5, 5], 5),
        ([1] * 30, 7),
        ([9, 9, 1, 9], 4),
        ([3, 8, 3, 2, 9, 1, 1], 9),
        ([10, 1, 10, 1], 10),
    ]
    for count in (50, 400):
        sizes = rng.integers(1, 100, count)
        cases.append((sizes.tolist(), int(rng.integers(20, 400))))
    for sizes, limit in cases:
        value = array(
            ask(list(sizes), limit), shape=(len(sizes),), of=_("shard_for of {count} records").format(count=len(sizes))
        )
        shard, room = -1, 0
        for at, size in enumerate(sizes):
            if shard < 0 or size > room:
                shard, room = shard + 1, limit
            room -= size
            if value[at] != shard:
                raise Wrong(
                    _(
                        "Others, {sizes}…, limit {limit}: expected shard {shard} for record {at}, received {value}."
                    ).format(sizes=sizes[: at + 2], limit=limit, shard=shard, at=at, value=value[at])
                )


def epoch(answer, hw):
    given, own = mapping(answer, ("shards", "records", "steps", "left_out", "rate")), hw.draw
    shard, room, records = -1, 0, [0] * own["workers"]
    for size in own["sizes"]:
        if shard < 0 or size > room:
            shard, room = shard + 1, own["limit"]
        room -= size
        records[shard % own["workers"]] += 1
    steps = min(n // own["batch"] for n in records)
    left = sum(n - steps * own["batch"] for n in records)
    right = {"shards": shard + 1, "steps": steps, "left_out": left, "rate": own["workers"] * own["rate"]}
    if array(given["records"]).tolist() != records or any(abs(number(given[k]) - v) > 1e-9 for k, v in right.items()):
        raise Wrong(_("Expected {right} and records {records}.").format(right=right, records=records))


def raced(answer, hw):
    given, own = mapping(answer, ("cold", "warm", "ceiling", "next")), hw.draw["race"]
    for state in ("cold", "warm"):
        rate = {r["form"]: own["images"] / sorted(r["seconds"])[1] for r in own["rows"] if r["state"] == state}
        if abs(number(given[state]) - rate["tfrecord"] / rate["directory"]) > 6e-3:
            raise Wrong(_("Expected another ratio of the medians, {state}.").format(state=state))
    parts = own["parts_ms"]
    if abs(number(given["ceiling"]) - sum(parts.values()) / (parts["decode"] + parts["shrink"])) > 6e-3:
        raise Wrong(_("Expected another ceiling."))
    said(given["next"], hw, "next", "Reduce", "Decoding")


def late(ask, hw):
    own = hw.draw["valley"]
    cases = [
        (own["start"], own["curve"], 0.05, 60, own["staleness"]), (3.0, 2.0, 0.1, 0, 2), (-2.0, 1.0, 0.3, 25, 0),
        (1.0, 0.7, 0.9, 30, 1), (5.0, 1.0, 0.2, 4, 20), (0.0, 1.0, 1.0, 5, 3), (1.0, 1.0, 1.5, 40, 6),
    ]  # fmt: skip
    for start, curve, rate, steps, staleness in cases:
        value = array(ask(start, curve, rate, steps, staleness), shape=(steps + 1,), of=_("the path")).astype(float)
        waiting, place = deque([curve * start] * staleness), float(start)
        for step in range(steps + 1):
            if not math.isclose(value[step], place, rel_tol=1e-6, abs_tol=1e-9):
                call = f"late_sgd({start}, {curve}, {rate}, {steps}, {staleness})"
                raise Wrong(
                    _("Another curve, {call}: expected value {step} to be {place:.6g}, received {value:.6g}.").format(
                        call=call, step=step, place=place, value=value[step]
                    )
                )
            waiting.append(curve * place)
            place -= rate * waiting.popleft()


def bill(answer, hw):
    given, own = mapping(answer, ("cheapest", "cost", "efficiency", "break_even", "licence")), hw.draw["costs"]
    costs = {}
    for one in own["machines"]:
        rate = own["core_images_s"] * one["cores"]
        seconds = own["images"] * own["epochs"] / (rate if rate < one["card_images_s"] else one["card_images_s"])
        costs[one["machine"]] = seconds / 3600 * one["price_h"]
    best = sorted(costs, key=costs.get)[0]
    saved, epochs = own["epoch_before_s"] - own["epoch_after_s"], 1
    while epochs * saved < own["conversion_s"]:
        epochs += 1
    efficient = own["all_devices_images_s"] / (own["devices"] * own["one_device_images_s"])
    if given["cheapest"] != best or number(given["break_even"]) != epochs:
        raise Wrong(_("Expected machine {best}, and {epochs} epochs.").format(best=best, epochs=epochs))
    for key, right in (("cost", costs[best]), ("efficiency", efficient)):
        if abs(number(given[key]) - right) > 6e-3 + 1e-6 * right:
            raise Wrong(
                _("Expected {key} to be {right:.4g}, received {given}.").format(key=key, right=right, given=given[key])
            )
    said(given["licence"], hw, "licence", "No:", "excludes commercial")


def referee(answer, hw):
    given = mapping(answer, ("cards", "mirrored", "gap"))
    said(given["cards"], hw, "cards", "cannot show it", "Two things changed")
    said(given["mirrored"], hw, "mirrored", "cost of sharing", "extra cost")
    said(given["gap"], hw, "gap", "memorised", "Only new fields")


HIDDEN = {
    "q1": memory, "q2": split, "q3": sharded, "q4": epoch, "q5": raced, "q6": late, "q7": bill, "q8": referee,
}  # fmt: skip
