"""Homework of case study B: memory, split, shards, reading speed, late gradients, cost, review. Lab: case_fields.

It needs no images: all numbers are drawn from the learner's name.
"""

from __future__ import annotations

import math
from statistics import median

import numpy as np

from arsetlib.grading.assignments import picked
from arsetlib.grading.assignments.fields_draws import PAIRS, draw, records_of, shards
from arsetlib.grading.questions import Question, Wrong, array, close, mapping, number, shown
from arsetlib.translation import N_, _

__all__ = ["QUESTIONS", "TITLE", "draw"]

TITLE = N_("Homework of case study B: memory, split, shards, reading speed, late gradients, cost, review")
SIDES = "train", "validation", "test"

# --- right answers ----------------------------------------------------------------------------------------------------


def an_epoch(own) -> dict:
    """Shards, records of each worker, steps, records left out, and the raised learning rate."""
    records = records_of(own["sizes"], own["limit"], own["workers"])
    steps = min(records) // own["batch"]
    return {
        "shards": shards(own["sizes"], own["limit"])[-1] + 1,
        "records": records,
        "steps": steps,
        "left_out": sum(records) - steps * own["batch"] * own["workers"],
        "rate": own["rate"] * own["workers"],
    }


def descent(start, curve, rate, steps, staleness) -> list[float]:
    """(steps + 1,) values of the parameter, each step with the gradient of ``staleness`` steps before."""
    path = [float(start)]
    for step in range(int(steps)):
        path.append(path[-1] - rate * curve * path[max(0, step - staleness)])
    return path


def speed(own, machine) -> float:
    """Images a second: the lower rate, of the card or of the cores that decode for it."""
    return min(machine["card_images_s"], machine["cores"] * own["core_images_s"])


def price(own, machine) -> float:
    """Price of the whole training."""
    return own["images"] * own["epochs"] / speed(own, machine) / 3600 * machine["price_h"]


# --- public checks ----------------------------------------------------------------------------------------------------


def chosen(answer, hw, key: str, where: str) -> None:
    """Check the pair of choice and reason for ``key``."""
    choices, reasons = PAIRS[key]
    picked(
        answer,
        hw.draw[key],
        choices,
        hw.draw[f"{key}_reasons"],
        reasons,
        _("Case study B, {where}").format(where=where),
    )


def memory(answer, hw) -> None:
    given, own = (
        mapping(answer, ("chip_bytes", "set_gb", "fit", "feed"), hint=_("Case study B, section 5")),
        hw.draw["set"],
    )
    chip = own["side"] ** 2 * own["channels"] * 4
    value = number(given["chip_bytes"], hint=_("This is the bytes of one chip. Case study B, section 5"))
    more = (
        _("A 32-bit float has four bytes")
        if value in (chip / 4, chip / 2, chip * 2, chip * 8)
        else _("side × side × channels × 4")
    )
    more = _("Red, green, blue and near infrared are four channels") if value == chip * 3 / 4 else more
    close(value, chip, unit=_("bytes a chip"), hint=_("{more}. Case study B, section 5").format(more=more))
    value = number(given["set_gb"], hint=_("This is the size of the set. Case study B, section 5"))
    more = _("All chips as floats; a GB has 10**9 bytes here")
    close(
        value,
        chip * own["chips"] / 1e9,
        rel=5e-3,
        unit="GB",
        hint=_("{more}. Case study B, section 5").format(more=more),
    )
    fit = own["memory_gb"] * 1e9 // (own["small_side"] ** 2 * own["channels"])
    value = number(given["fit"], hint=_("This is how many chips fit. Case study B, section 5"))
    more = _("Reduced chips, {small_side} × {small_side}, four channels of one byte; whole chips").format(
        small_side=own["small_side"]
    )
    close(value, fit, tol=1.5, unit=_("chips that fit"), hint=_("{more}. Case study B, exercise 1").format(more=more))
    chosen(given["feed"], hw, "feed", _("sections 5 and 6"))


def split(ask, hw) -> None:
    names, shares, seed = hw.draw["names"], (0.7, 0.15, 0.15), hw.draw["seed"]
    sides = sided(ask, names, shares, seed, _("your chips"))
    again = sided(ask, names, shares, seed, _("your chips, second call"))
    if sides != again:
        raise Wrong(
            _("Expected the same split from the same seed, received another. Draw the random numbers from `seed`.")
        )
    if all(sided(ask, names, shares, other, _("your chips")) == sides for other in (seed + 1, seed + 2, seed + 3)):
        raise Wrong(
            _("Expected another split from another seed, received the same. Draw the order of the fields from `seed`.")
        )


def sided(ask, names: list, shares: tuple, seed: int, what: str) -> dict[str, set]:
    """The split as sets of names, after all checks."""
    hint = _("Case study B, section 3")
    given = mapping(ask(list(names), shares, seed), SIDES, hint=hint)
    side_of: dict[str, str] = {}
    for side in SIDES:
        listed = given[side]
        if isinstance(listed, str | dict) or not hasattr(listed, "__iter__"):
            raise Wrong(
                _("Expected a list of names for {side!r}, received {listed}. {hint}.").format(
                    side=side, listed=shown(listed), hint=hint
                )
            )
        for name in listed:
            if name not in names:
                raise Wrong(
                    _("Expected names of chips for {side!r}, received {name}. {hint}.").format(
                        side=side, name=shown(name), hint=hint
                    )
                )
            if name in side_of:
                raise Wrong(
                    _("Expected each chip once; {name} is in {side_of} and again in {side}. {hint}.").format(
                        name=name, side_of=side_of[name], side=side, hint=hint
                    )
                )
            side_of[str(name)] = side
    if len(side_of) < len(names):
        lost = next(name for name in names if name not in side_of)
        raise Wrong(
            _("Expected all {count} of {what} in some set, {lost} is in none. {hint}.").format(
                count=len(names), what=what, lost=lost, hint=hint
            )
        )
    fields: dict[str, str] = {}
    for name, side in side_of.items():
        field = name.split("_")[0]
        if fields.setdefault(field, side) != side:
            raise Wrong(
                _(
                    "Expected all chips of a field in one set; {field} is in {fields} and in {side}. The field is "
                    "the text before the underscore. {hint}."
                ).format(field=field, fields=fields[field], side=side, hint=hint)
            )
    for side, share in zip(SIDES, shares, strict=True):
        count, wanted = sum(s == side for s in fields.values()), share * len(fields)
        if abs(count - wanted) > 1 + 1e-9 or (count == 0 and share and len(fields) >= 3):
            raise Wrong(
                _(
                    "Expected {wanted:.1f} of the {count} fields of {what} in {side}, one more or less, not 0; "
                    "received {received}. Shares are of fields. {hint}."
                ).format(wanted=wanted, count=len(fields), what=what, side=side, received=count, hint=hint)
            )
    return {side: {name for name, s in side_of.items() if s == side} for side in SIDES}


def sharded(ask, hw) -> None:
    for sizes, limit, why in (
        ([40, 50, 30], 100, _("40 + 50 is within 100, 40 + 50 + 30 is not")),
        ([60, 40, 1], 100, _("60 + 40 is 100, which is not above the limit")),
        (
            [60, 70, 20, 20],
            100,
            _("the second shard takes 70 and 20; the last 20 would make 110, so it begins a third"),
        ),
        ([250, 10], 100, _("a record above the limit gets a shard of its own")),
    ):
        cut(ask, sizes, limit, f": {why}")
    own = hw.draw
    cut(ask, own["sizes"], own["limit"], _(". Take your records in their order"))


def cut(ask, sizes: list, limit: int, why: str = "") -> None:
    """Compare the shards of records with the right ones."""
    hint = _("Case study B, sections 8 and 11")
    what = (
        f"shard_for({sizes}, {limit})"
        if len(sizes) < 8
        else _("shard_for of {count} records, limit {limit}").format(count=len(sizes), limit=limit)
    )
    value, expected = array(ask(sizes, limit), shape=(len(sizes),), of=what, hint=hint), np.array(shards(sizes, limit))
    if np.array_equal(value, expected):
        return
    at = int(np.flatnonzero(value != expected)[0])
    more = (
        _("Count shards from 0")
        if np.array_equal(value, expected + 1)
        else _("The first that differs is record {at}").format(at=at)
    )
    if np.array_equal(value, _reopened(sizes, limit)):
        more = _("A closed shard stays closed, because it is already on the disk")
    shown = (
        _("{expected}, received {value}").format(expected=expected.tolist(), value=value.tolist())
        if len(sizes) < 8
        else _("{expected} there, received {value}").format(expected=expected[at], value=value[at])
    )
    raise Wrong(
        _("Expected {what} to be {shown}{why}. {more}. {hint}.").format(
            what=what, shown=shown, why=why, more=more, hint=hint
        )
    )


def _reopened(sizes, limit) -> list[int]:
    """A usual mistake: each record goes into the first shard with enough space."""
    filled: list[int] = []
    numbers: list[int] = []
    for size in sizes:
        at = next((k for k, bytes_in in enumerate(filled) if bytes_in + size <= limit), len(filled))
        filled[at : at + 1] = [(filled[at] if at < len(filled) else 0) + size]
        numbers.append(at)
    return numbers


def epoch(answer, hw) -> None:
    expected, hint = an_epoch(hw.draw), _("Case study B, sections 11 to 13")
    given = mapping(answer, tuple(expected), hint=hint)
    words = {
        "shards": _("shard_for gives the shard of each record"),
        "steps": _("Full batches of the worker with the fewest records: all workers make each step together"),
        "left_out": _("All records, minus those in the full batches of all workers"),
        "rate": _("The linear scaling rule: the rate grows like the joint batch of all workers. Section 12"),
    }
    close(number(given["shards"], hint=_("This is the number of shards")), expected["shards"], unit=_("shards"),
          hint=f"{words['shards']}. {hint}")  # fmt: skip
    records = array(given["records"], shape=(hw.draw["workers"],), of=_("the records of each worker"), hint=hint)
    if not np.array_equal(records, expected["records"]):
        more = (
            _("Together the workers have each record once")
            if records.sum() != sum(expected["records"])
            else _("Workers get whole shards, not records")
        )
        came = records.tolist()
        raise Wrong(
            _("Expected other records, received {came}. Shard s goes to worker s % workers. {more}. {hint}.").format(
                came=came, more=more, hint=hint
            )
        )
    for key in ("steps", "left_out", "rate"):
        value = number(given[key], hint=_("This is {key!r}. {hint}").format(key=key, hint=hint))
        close(value, expected[key], unit=f"({key})", hint=f"{words[key]}. {hint}")


def raced(answer, hw) -> None:
    given, own = (
        mapping(answer, ("cold", "warm", "ceiling", "next"), hint=_("Case study B, sections 9 and 10")),
        hw.draw["race"],
    )
    seconds = {(row["form"], row["state"]): row["seconds"] for row in own["rows"]}
    for state in ("cold", "warm"):
        one, other = seconds["directory", state], seconds["tfrecord", state]
        expected = median(one) / median(other)
        value = number(given[state], hint=_("This is {state!r}. Case study B, section 9").format(state=state))
        more = _("Images a second of TFRecord divided by those of the directory: with seconds it is the inverse")
        if abs(value - np.mean(one) / np.mean(other)) < 2e-3:
            more = _("A single disturbed run changes the mean; take the median of the three")
        close(value, expected, tol=6e-3, unit=f"({state})", hint=_("{more}. Case study B, section 9").format(more=more))
    parts = own["parts_ms"]
    total = sum(parts.values())
    value = number(given["ceiling"], hint=_("This is the ceiling. Case study B, section 10"))
    more = _("The sum of all parts, divided by the sum without fetch")
    close(
        value,
        total / (total - parts["fetch"]),
        tol=6e-3,
        unit="(ceiling)",
        hint=_("{more}. Case study B, section 10").format(more=more),
    )
    chosen(given["next"], hw, "next", _("section 10"))


def late(ask, hw) -> None:
    for start, curve, rate, steps, staleness in ((1.0, 1.0, 0.5, 3, 0), (1.0, 1.0, 0.5, 4, 1), (2.0, 0.5, 0.4, 6, 3)):
        descended(ask, start, curve, rate, steps, staleness)
    own = hw.draw["valley"]
    descended(ask, own["start"], own["curve"], 0.2, 40, own["staleness"])


def descended(ask, start, curve, rate, steps, staleness) -> None:
    """Compare a path with the right one."""
    call, hint = f"late_sgd({start}, {curve}, {rate}, {steps}, {staleness})", _("Case study B, section 14")
    value = array(ask(start, curve, rate, steps, staleness), shape=(None,), of=call, hint=hint).astype(float)
    expected = np.array(descent(start, curve, rate, steps, staleness))
    if len(value) != len(expected):
        raise Wrong(
            _("Expected {count} values from {call}, the start and one per step, received {received}. {hint}.").format(
                count=len(expected), call=call, received=len(value), hint=hint
            )
        )
    with np.errstate(over="ignore", invalid="ignore"):
        wrong = np.flatnonzero(~np.isclose(value, expected, rtol=1e-6, atol=1e-9, equal_nan=True))
    if not len(wrong):
        return
    at = int(wrong[0])
    more = (
        _("Step {at} uses the gradient at the value {staleness} steps before the current one").format(
            at=at, staleness=staleness
        )
        if staleness
        else _("The gradient is curve × w")
    )
    if 0 < at <= staleness:
        more = _("In the first steps there are no values so old yet: use the gradient at the start")
    raise Wrong(
        _("Expected value {at} of {call} to be {expected:.6g}, received {value:.6g}. {more}. {hint}.").format(
            at=at, call=call, expected=expected[at], value=value[at], more=more, hint=hint
        )
    )


def bill(answer, hw) -> None:
    keys = ("cheapest", "cost", "efficiency", "break_even", "licence")
    given, own = mapping(answer, keys, hint=_("Case study B, section 20")), hw.draw["costs"]
    best = min(own["machines"], key=lambda machine: price(own, machine))
    machine = next((one for one in own["machines"] if one["machine"] == given["cheapest"]), None)
    if machine is not best:
        more = _("Its letter as in the table")
        if machine is not None:
            what = (
                _("its cores decode no more")
                if speed(own, machine) < machine["card_images_s"]
                else _("its card trains no more")
            )
            more = _("It trains {speed:,.0f} images a second, because {why}; another costs less in all").format(
                speed=speed(own, machine), why=what
            )
        raise Wrong(
            _("Expected another machine, received {cheapest}. {more}. Case study B, section 20.").format(
                cheapest=shown(given["cheapest"]), more=more
            )
        )
    for key, expected, words in (
        ("cost", price(own, best), _("Images × epochs / images a second, in hours, × the price per hour. Section 20")),
        (
            "efficiency",
            own["all_devices_images_s"] / own["one_device_images_s"] / own["devices"],
            _("The speed-up, all devices over one, divided by the number of devices. Section 15"),
        ),
        (
            "break_even",
            math.ceil(own["conversion_s"] / (own["epoch_before_s"] - own["epoch_after_s"])),
            _("Seconds of the conversion divided by the seconds saved per epoch, rounded up. Exercise 4"),
        ),
    ):
        value = number(given[key], hint=_("This is {key!r}. Case study B. {words}").format(key=key, words=words))
        close(
            value,
            expected,
            tol=0 if key == "break_even" else 6e-3,
            unit=f"({key})",
            hint=_("Case study B. {words}").format(words=words),
        )
    chosen(given["licence"], hw, "licence", _("section 22"))


def referee(answer, hw) -> None:
    given = mapping(answer, ("cards", "mirrored", "gap"), hint=_('Such as {"cards": ("a", 1), …}'))
    for key, where in (("cards", _("section 4")), ("mirrored", _("section 15")), ("gap", _("section 17"))):
        chosen(given[key], hw, key, where)


QUESTIONS = (
    Question("q1", "memory", "computed", 3, ("B.2",), "5. Which set fits in memory?", memory),
    Question("q2", "split_by_field", "coded", 4, ("B.1", "S5"), "3. Count, and split by field", split),
    Question("q3", "shard_for", "coded", 4, ("B.3",), "11. How large a shard?", sharded),
    Question("q4", "epoch", "computed", 3, ("B.3", "B.5", "S4"), "12. Batch size", epoch),
    Question("q5", "race", "computed", 4, ("B.4",), "10. Where the time goes", raced),
    Question("q6", "late_sgd", "coded", 4, ("B.5",), "14. Averaged and late gradients", late),
    Question("q7", "bill", "computed", 3, ("B.5", "B.8"), "20. What does it cost?", bill),
    Question("q8", "referee", "reasoned", 3, ("B.6", "B.7"), "4. Check the figures of the report", referee),
)
