"""Right and wrong answers to the homework of case study B; see the package's docstring for the form."""

import itertools
import math
import random
from bisect import bisect_right
from statistics import mean, median

import numpy as np
import pandas as pd

from arsetlib.grading.assignments import fields
from homework.forms import functions, slow


def texts(hw, key, choice=0, reason=0):
    """The pair for a choice and a reason by their places in the module; 0 is right."""
    choices, reasons = (list(held) for held in fields.PAIRS[key])
    letter = next(k for k, text in hw.draw[key].items() if text == choices[choice])
    digit = next(k for k, text in hw.draw[f"{key}_reasons"].items() if text == reasons[reason])
    return letter, digit


def wrong_pairs(of, key):
    """Each wrong choice, each wrong reason, both wrong; ``of`` makes an answer with another entry."""
    made = {}
    for at in (1, 2, 3):
        made[f"{key}: wrong choice {at}"] = of(**{key: lambda hw, *_, at=at: texts(hw, key, at, 0)})
        made[f"{key}: wrong reason {at}"] = of(**{key: lambda hw, *_, at=at: texts(hw, key, 0, at)})
        made[f"{key}: both wrong {at}"] = of(**{key: lambda hw, *_, at=at: texts(hw, key, at, at)})
    made[f"{key}: no reason"] = of(**{key: lambda hw, *_: texts(hw, key)[0]})
    return made


def without(of, key):
    return lambda hw: {k: v for k, v in of()(hw).items() if k != key}


# --- q1 memory --------------------------------------------------------------------------------------------------------


def memory(**changes):
    """The right answer, or with entries made otherwise: entry=f(hw, the set, right answer)."""

    def made(hw):
        own = hw.draw["set"]
        chip = own["side"] ** 2 * own["channels"] * 4
        right = {
            "chip_bytes": chip,
            "set_gb": chip * own["chips"] / 1e9,
            "fit": own["memory_gb"] * 10**9 // (own["small_side"] ** 2 * own["channels"]),
            "feed": texts(hw, "feed"),
        }
        return right | {key: make(hw, own, right) for key, make in changes.items()}

    return made


NOT_MEMORY = {
    "uint8": memory(chip_bytes=lambda hw, own, r: r["chip_bytes"] // 4),
    "float64": memory(chip_bytes=lambda hw, own, r: r["chip_bytes"] * 2),
    "bits": memory(chip_bytes=lambda hw, own, r: r["chip_bytes"] * 8),
    "three channels": memory(chip_bytes=lambda hw, own, r: r["chip_bytes"] * 3 // 4),
    "one channel": memory(chip_bytes=lambda hw, own, r: r["chip_bytes"] // 4 + 0),
    "side not squared": memory(chip_bytes=lambda hw, own, r: own["side"] * 16),
    "megabytes": memory(chip_bytes=lambda hw, own, r: r["chip_bytes"] / 1e6),
    "GiB": memory(set_gb=lambda hw, own, r: r["set_gb"] * 1e9 / 2**30),
    "bytes of the set": memory(set_gb=lambda hw, own, r: r["set_gb"] * 1e9),
    "set as uint8": memory(set_gb=lambda hw, own, r: r["set_gb"] / 4),
    "a thousand chips": memory(set_gb=lambda hw, own, r: r["chip_bytes"] * 1000 / 1e9),
    "two hundredths too many": memory(set_gb=lambda hw, own, r: r["set_gb"] * 1.02),
    "fit as floats": memory(fit=lambda hw, own, r: r["fit"] // 4),
    "fit at full size": memory(fit=lambda hw, own, r: own["memory_gb"] * 10**9 // (512**2 * 4)),
    "fit three channels": memory(fit=lambda hw, own, r: r["fit"] * 4 // 3),
    "fit with GiB": memory(fit=lambda hw, own, r: own["memory_gb"] * 2**30 // (own["small_side"] ** 2 * 4)),
    "share that fits": memory(fit=lambda hw, own, r: r["fit"] / own["chips"]),
    "the whole set fits": memory(fit=lambda hw, own, r: own["chips"]),
    "no fit": without(memory, "fit"),
    "text": memory(set_gb=lambda hw, own, r: f"{r['set_gb']:.0f} GB"),
    "nothing": lambda hw: ...,
} | wrong_pairs(memory, "feed")

# --- q2 split_by_field ------------------------------------------------------------------------------------------------


def field(name):
    return name.split("_")[0]


def counts_of(number, shares):
    test, validation = max(1, round(number * shares[2])), max(1, round(number * shares[1]))
    return number - test - validation, validation, test


def dealt(order, shares):
    """Side → fields."""
    train, validation, _ = counts_of(len(order), shares)
    return {
        "train": set(order[:train]),
        "validation": set(order[train : train + validation]),
        "test": set(order[train + validation :]),
    }


def by_random(names, shares, seed):
    order = sorted({field(name) for name in names})
    random.Random(seed).shuffle(order)
    sides = dealt(order, shares)
    return {side: [name for name in names if field(name) in held] for side, held in sides.items()}


def by_pandas(names, shares, seed):
    frame = pd.DataFrame({"name": sorted(names)})
    frame["field"] = frame["name"].str.partition("_")[0]
    order = frame["field"].drop_duplicates().sample(frac=1, random_state=seed).tolist()
    return {side: frame.loc[frame["field"].isin(held), "name"].tolist() for side, held in dealt(order, shares).items()}


def by_groups(names, shares, seed):
    groups = [list(group) for _, group in itertools.groupby(sorted(names, key=lambda n: (field(n), n)), field)]
    order = np.random.default_rng(seed).permutation(len(groups))
    ends = np.cumsum(counts_of(len(groups), shares))
    sides = {"train": (), "validation": (), "test": ()}
    for place, at in enumerate(order):
        side = ("train", "validation", "test")[bisect_right(ends[:2].tolist(), place)]
        sides[side] += tuple(groups[at])
    return sides


def by_arrays(names, shares, seed):
    names = np.array(sorted(names))
    kinds, number = np.unique([field(n) for n in names], return_inverse=True)
    rank = np.random.default_rng(seed).permutation(len(kinds))[number]
    train, validation, _ = counts_of(len(kinds), shares)
    side = np.digitize(rank, [train, train + validation])
    return {key: names[side == k] for k, key in enumerate(("train", "validation", "test"))}


def by_chip(names, shares, seed):
    order = sorted(names)
    random.Random(seed).shuffle(order)
    a, b = int(shares[0] * len(order)), int((shares[0] + shares[1]) * len(order))
    return {"train": order[:a], "validation": order[a:b], "test": order[b:]}


def shares_of_chips(names, shares, seed):
    order = sorted({field(name) for name in names})
    random.Random(seed).shuffle(order)
    sides, total = {"train": [], "validation": [], "test": []}, 0
    for one in order:
        done = total / len(names)
        side = "train" if done < shares[0] else "validation" if done < shares[0] + shares[1] else "test"
        mine = [name for name in names if field(name) == one]
        sides[side] += mine
        total += len(mine)
    return sides


def split_with(order_of=None, side_of=None, shares_by=None, edit=lambda sides: sides, key=field):
    """A split with something done otherwise."""

    def made(names, shares, seed):
        kinds = sorted({key(name) for name in names})
        order = order_of(kinds, names, seed) if order_of else random.Random(seed).sample(kinds, len(kinds))
        sides = dealt(order, shares_by or shares)
        return edit({side: [n for n in names if key(n) in held] for side, held in sides.items()})

    return made


def cut_by_ends(names, shares, seed):
    """Counts rounded down from both ends: one field falls between."""
    order = sorted({field(name) for name in names})
    random.Random(seed).shuffle(order)
    n = len(order)
    a, b, c = (int(share * n) for share in shares)
    sides = {"train": order[:a], "validation": order[a : a + b], "test": order[n - c :] if c else []}
    return {side: [name for name in names if field(name) in held] for side, held in sides.items()}


def lists_of_fields(names, shares, seed):
    return {side: sorted(held) for side, held in dealt(sorted({field(n) for n in names}), shares).items()}


def first_listed(kinds, names, seed):
    order = list(dict.fromkeys(field(name) for name in names))
    return random.Random(seed).sample(order, len(order))


def sorts_names(names, shares, seed):
    names.sort()
    return by_random(names, shares, seed)


def empties_test(names, shares, seed):
    sides = by_random(names, shares, seed)
    return {"train": sides["train"] + sides["test"], "validation": sides["validation"], "test": []}


def overlapping(sides):
    """Validation and test are the same."""
    return sides | {"validation": sides["validation"] + sides["test"][:1]}


def moved(sides):
    """One chip stands on the wrong side."""
    return {"train": sides["train"][1:], "validation": sides["validation"] + sides["train"][:1], "test": sides["test"]}


def per_field(names, shares, seed):
    sides = {"train": [], "validation": [], "test": []}
    for kind in sorted({field(name) for name in names}):
        mine = sorted(name for name in names if field(name) == kind)
        random.Random(seed).shuffle(mine)
        a, b = round(0.7 * len(mine)), round(0.85 * len(mine))
        for side, part in zip(sides, (mine[:a], mine[a:b], mine[b:]), strict=True):
            sides[side] += part
    return sides


NOT_SPLIT = functions(
    by_chip=by_chip,
    each_field_over_all_sides=per_field,
    shares_of_chips=shares_of_chips,
    rounded_down_a_field_lost=cut_by_ends,
    not_random=split_with(lambda kinds, names, seed: kinds),
    seed_built_in=split_with(lambda kinds, names, seed: random.Random(0).sample(kinds, len(kinds))),
    no_seed=split_with(lambda kinds, names, seed: random.sample(kinds, len(kinds))),
    order_of_the_list=split_with(first_listed),
    first_letter_as_the_field=split_with(key=lambda name: name[0]),
    first_four_letters_as_the_field=split_with(key=lambda name: name[:2]),
    place_as_the_field=split_with(key=lambda name: name.split("_")[1]),
    x_as_the_field=split_with(key=lambda name: name.split("-")[1]),
    whole_name_as_the_field=split_with(key=lambda name: name),
    shares_built_in=split_with(shares_by=(0.7, 0.15, 0.15)),
    shares_turned_round=lambda names, shares, seed: by_random(names, shares[::-1], seed),
    even_sides=split_with(shares_by=(1 / 3, 1 / 3, 1 / 3)),
    no_test=empties_test,
    a_field_on_two_sides=split_with(edit=overlapping),
    one_chip_astray=split_with(edit=moved),
    one_chip_lost=split_with(edit=lambda sides: sides | {"train": sides["train"][1:]}),
    one_chip_twice=split_with(edit=lambda sides: sides | {"train": sides["train"] + sides["train"][:1]}),
    fields_in_place_of_chips=lists_of_fields,
    numbers_in_place_of_names=split_with(edit=lambda sides: {k: list(range(len(v))) for k, v in sides.items()}),
    tuple_of_lists=lambda names, shares, seed: list(by_random(names, shares, seed).values()),
    key_val=split_with(edit=lambda s: {"train": s["train"], "val": s["validation"], "test": s["test"]}),
    sorts_the_list_in_place=sorts_names,
    very_slow=slow(by_random),
    nothing=lambda names, shares, seed: print(names[0]),
    raises=lambda names, shares, seed: names.fields,
)

# --- q3 shard_for -----------------------------------------------------------------------------------------------------


def by_loop(sizes, limit):
    shards, room = [], 0
    number = -1
    for size in sizes:
        if size > room or number < 0:
            number, room = number + 1, limit
        room -= size
        shards.append(number)
    return shards


def by_lists(sizes, limit):
    packs = [[]]
    for size in sizes:
        if packs[-1] and sum(packs[-1]) + size > limit:
            packs.append([])
        packs[-1].append(size)
    return np.repeat(np.arange(len(packs)), [len(pack) for pack in packs])


def by_searching(sizes, limit):
    ends = np.concatenate([[0], np.cumsum(sizes)]).astype(int)
    found, first, number = [], 0, 0
    while first < len(sizes):
        after = max(first + 1, int(np.searchsorted(ends, ends[first] + limit, "right")) - 1)
        found += [number] * (after - first)
        first, number = after, number + 1
    return tuple(found)


def by_recursion(sizes, limit):
    count, held = 0, 0
    while count < len(sizes) and (count == 0 or held + sizes[count] <= limit):
        held += sizes[count]
        count += 1
    if count == len(sizes):
        return [0] * count
    return [0] * count + [1 + later for later in by_recursion(sizes[count:], limit)]


def shards_with(full=lambda held, size, limit: held and held + size > limit, start=0, carry=0):
    def made(sizes, limit):
        found, number, held = [], start, 0
        for size in sizes:
            if full(held, size, limit):
                number, held = number + 1, carry
            held += size
            found.append(number)
        return found

    return made


def drops_large(sizes, limit):
    return by_loop([size for size in sizes if size <= limit], limit)


def pops(sizes, limit):
    found, number, held = [], 0, 0
    while sizes:
        size = sizes.pop(0)
        if held and held + size > limit:
            number, held = number + 1, 0
        held += size
        found.append(number)
    return found


def sorted_first(sizes, limit):
    order = np.argsort(sizes, kind="stable")
    found = np.zeros(len(sizes), int)
    found[order] = by_loop([sizes[at] for at in order], limit)
    return found.tolist()


def turns(sizes, limit):
    number = max(1, math.ceil(sum(sizes) / limit))
    return [at % number for at in range(len(sizes))]


def same_number(sizes, limit):
    number = max(1, math.ceil(sum(sizes) / limit))
    return [at * number // max(len(sizes), 1) for at in range(len(sizes))]


NOT_SHARDS = functions(
    by_total_bytes=lambda sizes, limit: [
        int(end - size) // limit for size, end in zip(sizes, np.cumsum(sizes), strict=True)
    ],
    by_end_of_the_record=lambda sizes, limit: [int(end) // limit for end in np.cumsum(sizes)],
    up_to_but_not_the_limit=shards_with(lambda held, size, limit: held and held + size >= limit),
    closed_when_over=shards_with(lambda held, size, limit: held > limit),
    closed_when_full=shards_with(lambda held, size, limit: held >= limit),
    empty_shard_before_a_large_record=shards_with(lambda held, size, limit: held + size > limit),
    counted_from_1=shards_with(start=1),
    rest_carried_on=shards_with(carry=1),
    first_shard_with_room=fields._reopened,
    sorted_by_size=sorted_first,
    in_turns=turns,
    as_many_records_each=same_number,
    large_records_dropped=drops_large,
    large_record_shares_its_shard=shards_with(lambda held, size, limit: held and held + min(size, limit // 2) > limit),
    number_of_shards=lambda sizes, limit: max(by_loop(sizes, limit), default=-1) + 1,
    sizes_of_shards=lambda sizes, limit: [
        sum(s for s, k in zip(sizes, by_loop(sizes, limit), strict=True) if k == n)
        for n in range(max(by_loop(sizes, limit), default=-1) + 1)
    ],
    lists_of_records=lambda sizes, limit: [
        [at for at, k in enumerate(by_loop(sizes, limit)) if k == n]
        for n in range(max(by_loop(sizes, limit), default=-1) + 1)
    ],
    error_on_an_empty_list=lambda sizes, limit: by_loop(sizes, limit) if sizes[0] else [],
    limit_of_100_built_in=lambda sizes, limit: by_loop(sizes, 100),
    empties_the_list=pops,
    very_slow=slow(by_loop),
    all_in_one=lambda sizes, limit: [0] * len(sizes),
    a_shard_for_each=lambda sizes, limit: list(range(len(sizes))),
    text=lambda sizes, limit: [f"shard-{k:05d}" for k in by_loop(sizes, limit)],
)

# --- q4 epoch ---------------------------------------------------------------------------------------------------------


def epoch(**changes):
    def made(hw):
        own = hw.draw
        shard = by_loop(own["sizes"], own["limit"])
        workers, batch = own["workers"], own["batch"]
        records = [sum(k % workers == worker for k in shard) for worker in range(workers)]
        steps = min(records) // batch
        right = {
            "shards": shard[-1] + 1,
            "records": records,
            "steps": steps,
            "left_out": len(shard) - steps * batch * workers,
            "rate": own["rate"] * workers,
        }
        return right | {key: make(hw, own, right) for key, make in changes.items()}

    return made


def in_blocks(hw, own, right):
    """Each worker gets shards that follow one another."""
    shard, each = by_loop(own["sizes"], own["limit"]), math.ceil(right["shards"] / own["workers"])
    return [sum(k // each == worker for k in shard) for worker in range(own["workers"])]


def records_in_turns(hw, own, right):
    return [len(own["sizes"][worker :: own["workers"]]) for worker in range(own["workers"])]


def with_steps(steps):
    """Other steps, and what they leave out."""

    def made(hw):
        right, own = epoch()(hw), hw.draw
        count = steps(own, right)
        return right | {"steps": count, "left_out": len(own["sizes"]) - count * own["batch"] * own["workers"]}

    return made


NOT_EPOCH = {
    "last shard's number": epoch(shards=lambda hw, own, r: r["shards"] - 1),
    "bytes over the limit": epoch(shards=lambda hw, own, r: math.ceil(sum(own["sizes"]) / own["limit"]) - 1),
    "shards of a worker": epoch(shards=lambda hw, own, r: math.ceil(r["shards"] / own["workers"])),
    "records in turns": epoch(records=records_in_turns),
    "shards in blocks": epoch(records=in_blocks),
    "last worker first": epoch(
        records=lambda hw, own, r: [*r["records"][:-2], r["records"][-1] + 1, r["records"][-2] - 1]
    ),
    "shards in place of records": epoch(
        records=lambda hw, own, r: [len(range(k, r["shards"], own["workers"])) for k in range(own["workers"])]
    ),
    "all records": epoch(records=lambda hw, own, r: [len(own["sizes"])] * own["workers"]),
    "even": epoch(records=lambda hw, own, r: [len(own["sizes"]) / own["workers"]] * own["workers"]),
    "one number": epoch(records=lambda hw, own, r: sum(r["records"])),
    "largest worker": with_steps(lambda own, r: max(r["records"]) // own["batch"] + 1),
    "last part batch": with_steps(lambda own, r: min(r["records"]) // own["batch"] + 1),
    "all over the batch": with_steps(lambda own, r: len(own["sizes"]) // own["batch"]),
    "steps of all workers": with_steps(lambda own, r: sum(n // own["batch"] for n in r["records"])),
    "not whole": with_steps(lambda own, r: min(r["records"]) / own["batch"] + 0.01),
    "left out: of one worker": epoch(left_out=lambda hw, own, r: min(r["records"]) - r["steps"] * own["batch"] - 1),
    "left out: one batch a step": epoch(left_out=lambda hw, own, r: len(own["sizes"]) - r["steps"] * own["batch"]),
    "left out: none": epoch(left_out=lambda hw, own, r: -1),
    "rate as it was": epoch(rate=lambda hw, own, r: own["rate"]),
    "rate divided": epoch(rate=lambda hw, own, r: own["rate"] / own["workers"]),
    "square root rule": epoch(rate=lambda hw, own, r: own["rate"] * math.sqrt(own["workers"])),
    "rate times the batch": epoch(rate=lambda hw, own, r: own["rate"] * own["workers"] * own["batch"]),
    "no rate": without(epoch, "rate"),
    "NaN": epoch(rate=lambda hw, own, r: math.nan),
    "nothing": lambda hw: None,
}

# --- q5 race ----------------------------------------------------------------------------------------------------------


def race(**changes):
    def made(hw):
        own = hw.draw["race"]
        seconds = {(row["form"], row["state"]): row["seconds"] for row in own["rows"]}
        parts = own["parts_ms"]
        right = {
            "cold": median(seconds["directory", "cold"]) / median(seconds["tfrecord", "cold"]),
            "warm": median(seconds["directory", "warm"]) / median(seconds["tfrecord", "warm"]),
            "ceiling": sum(parts.values()) / (parts["decode"] + parts["shrink"]),
            "next": texts(hw, "next"),
        }
        return right | {key: make(hw, seconds, parts, right) for key, make in changes.items()}

    return made


def ratio(of, state="cold"):
    return lambda hw, s, parts, r: of(s["directory", state]) / of(s["tfrecord", state])


NOT_RACE = {
    "mean": race(cold=ratio(mean)),
    "mean, warm": race(warm=ratio(mean, "warm")),
    "slowest run": race(cold=ratio(max)),
    "seconds over seconds": race(cold=lambda hw, s, p, r: 1 / r["cold"]),
    "sums of all": race(cold=ratio(sum)),
    "cold and warm swapped": race(cold=lambda hw, s, p, r: r["warm"], warm=lambda hw, s, p, r: r["cold"]),
    "percent": race(warm=lambda hw, s, p, r: 100 * r["warm"]),
    "gain alone": race(cold=lambda hw, s, p, r: r["cold"] - 1),
    "cold over warm": race(warm=lambda hw, s, p, r: median(s["directory", "cold"]) / median(s["tfrecord", "warm"])),
    "images a second": race(cold=lambda hw, s, p, r: 400 / median(s["tfrecord", "cold"])),
    "published": race(cold=lambda hw, s, p, r: 57.29 / 26.36),
    "seconds rounded": race(cold=lambda hw, s, p, r: r["cold"] + 0.05),
    "ceiling: share of fetching": race(ceiling=lambda hw, s, p, r: p["fetch"] / sum(p.values())),
    "ceiling: share of the rest": race(ceiling=lambda hw, s, p, r: 1 / r["ceiling"]),
    "ceiling: no decoding": race(ceiling=lambda hw, s, p, r: sum(p.values()) / (p["fetch"] + p["shrink"])),
    "ceiling: without shrinking": race(ceiling=lambda hw, s, p, r: (p["fetch"] + p["decode"]) / p["decode"]),
    "ceiling: over fetching": race(ceiling=lambda hw, s, p, r: sum(p.values()) / p["fetch"]),
    "ceiling: cold ratio": race(ceiling=lambda hw, s, p, r: r["cold"]),
    "ceiling: none": race(ceiling=lambda hw, s, p, r: math.inf),
    "no ceiling": without(race, "ceiling"),
    "list": lambda hw: list(race()(hw).values()),
} | wrong_pairs(race, "next")

# --- q6 late_sgd ------------------------------------------------------------------------------------------------------


def by_path(start, curve, rate, steps, staleness):
    path = [start]
    while len(path) <= steps:
        late = max(len(path) - 1 - staleness, 0)
        path.append(path[-1] - rate * curve * path[late])
    return path


def by_array(start, curve, rate, steps, staleness):
    path = np.full(staleness + steps + 1, float(start))  # before the start w stood at the start
    for at in range(staleness + 1, len(path)):
        path[at] = path[at - 1] - rate * curve * path[at - 1 - staleness]
    return path[staleness:]


def by_slopes(start, curve, rate, steps, staleness):
    w, slopes, path = start, [], (start,)
    for _ in range(steps):
        slopes.append(curve * w)
        w = w - rate * slopes[max(-1 - staleness, -len(slopes))]
        path += (w,)
    return path


def by_generator(start, curve, rate, steps, staleness):
    waiting = [curve * start] * staleness
    places = itertools.accumulate(
        range(steps), lambda w, _: (waiting.append(curve * w), w - rate * waiting.pop(0))[1], initial=start
    )
    return list(places)


def late_with(index=lambda t, s: max(t - s, 0), slope=lambda c, w: c * w, step=lambda w, move: w - move, count=0):
    def made(start, curve, rate, steps, staleness):
        path = [float(start)]
        for t in range(steps + count):
            path.append(step(path[-1], rate * slope(curve, path[index(t, staleness)])))
        return path

    return made


def waits(start, curve, rate, steps, staleness):
    """No step is made before the first slope arrives."""
    path = [float(start)]
    for t in range(steps):
        path.append(path[-1] - rate * curve * path[t - staleness] if t >= staleness else path[-1])
    return path


def averaged(start, curve, rate, steps, staleness):
    path = [float(start)]
    for t in range(steps):
        path.append(path[-1] - rate * curve * mean(path[max(0, t - staleness) : t + 1]))
    return path


def in_rounds(start, curve, rate, steps, staleness):
    """The slope is taken anew every staleness + 1 steps."""
    path = [float(start)]
    for t in range(steps):
        path.append(path[-1] - rate * curve * path[t - t % (staleness + 1)])
    return path


NOT_LATE = functions(
    staleness_ignored=late_with(lambda t, s: t),
    one_step_too_late=late_with(lambda t, s: max(t - s - 1, 0)),
    one_step_too_early=late_with(lambda t, s: max(t - max(s - 1, 0), 0)),
    always_the_start=late_with(lambda t, s: 0 if s else t),
    index_runs_below_0=late_with(lambda t, s: t - s if t >= s else -1),
    negative_index_wraps=late_with(lambda t, s: max(t - s, -t - 1)),
    waits_for_the_first_slope=waits,
    mean_of_late_slopes=averaged,
    in_rounds=in_rounds,
    uphill=late_with(step=lambda w, move: w + move),
    curve_squared=late_with(slope=lambda c, w: c * c * w),
    curve_forgotten=late_with(slope=lambda c, w: w),
    slope_of_the_square=late_with(slope=lambda c, w: 2 * c * w),
    height_in_place_of_slope=late_with(slope=lambda c, w: c * w * w / 2),
    late_place_as_the_base=lambda start, curve, rate, steps, staleness: (
        late_with(lambda t, s: max(t - s, 0), step=lambda w, move: w - move)(start, curve, rate, steps, 0)
        if staleness == 0
        else [start * (1 - rate * curve) ** (t // (staleness + 1)) for t in range(steps + 1)]
    ),
    one_step_too_many=late_with(count=1),
    start_left_out=lambda *given: by_path(*given)[1:],
    last_place_alone=lambda *given: by_path(*given)[-1],
    rate_shared=lambda start, curve, rate, steps, staleness: by_path(start, curve, rate / (staleness + 1), steps, 0),
    momentum=lambda start, curve, rate, steps, staleness: by_path(start, curve, rate * (1 + 0.1 * staleness), steps, 0),
    stops_at_0=late_with(step=lambda w, move: max(w - move, 0)),
    rounded=lambda *given: [round(place, 2) for place in by_path(*given)],
    very_slow=slow(by_path),
    text=lambda *given: " → ".join(map(str, by_path(*given))),
    error_without_staleness=lambda start, curve, rate, steps, staleness: (
        by_path(start, curve, rate, steps, staleness) if steps % staleness >= 0 else []
    ),
    nothing=lambda *given: None,
)

# --- q7 bill ----------------------------------------------------------------------------------------------------------


def prices(own, speed=None):
    speed = speed or (lambda m: min(m["card_images_s"], m["cores"] * own["core_images_s"]))
    return {m["machine"]: own["images"] * own["epochs"] / speed(m) / 3600 * m["price_h"] for m in own["machines"]}


def bill(**changes):
    def made(hw):
        own = hw.draw["costs"]
        all_of = prices(own)
        best = min(all_of, key=all_of.get)
        right = {
            "cheapest": best,
            "cost": all_of[best],
            "efficiency": own["all_devices_images_s"] / own["one_device_images_s"] / own["devices"],
            "break_even": -(-own["conversion_s"] // (own["epoch_before_s"] - own["epoch_after_s"])),
            "licence": texts(hw, "licence"),
        }
        return right | {key: make(hw, own, right) for key, make in changes.items()}

    return made


def other_than_best(pick):
    """Another machine, and what it costs."""

    def made(hw):
        own = hw.draw["costs"]
        name = pick(own)["machine"]
        right = bill()(hw)
        if name == right["cheapest"]:  # for this learner that is no mistake: take the dearest
            name = max(prices(own), key=prices(own).get)
        return right | {"cheapest": name, "cost": prices(own)[name]}

    return made


def saved(own):
    return own["epoch_before_s"] - own["epoch_after_s"]


NOT_BILL = {
    "least an hour": other_than_best(lambda own: min(own["machines"], key=lambda m: m["price_h"])),
    "fastest card": other_than_best(lambda own: max(own["machines"], key=lambda m: m["card_images_s"])),
    "most cores": other_than_best(lambda own: max(own["machines"], key=lambda m: m["cores"])),
    "dearest": other_than_best(lambda own: max(own["machines"], key=lambda m: m["price_h"])),
    "card's rate for the cost": bill(
        cost=lambda hw, own, r: prices(own, lambda m: m["card_images_s"])[r["cheapest"]] * 0.98
    ),
    "no such machine": bill(cheapest=lambda hw, own, r: "T"),
    "place in the table": bill(cheapest=lambda hw, own, r: 2),
    "cost of an hour": bill(cost=lambda hw, own, r: r["cost"] * 0 + own["machines"][0]["price_h"]),
    "one epoch": bill(cost=lambda hw, own, r: r["cost"] / own["epochs"]),
    "seconds for hours": bill(cost=lambda hw, own, r: r["cost"] * 3600),
    "minutes for hours": bill(cost=lambda hw, own, r: r["cost"] * 60),
    "whole hours": bill(cost=lambda hw, own, r: math.ceil(r["cost"]) + 0.5),
    "speed-up": bill(efficiency=lambda hw, own, r: r["efficiency"] * own["devices"]),
    "turned round": bill(efficiency=lambda hw, own, r: 1 / r["efficiency"]),
    "percent": bill(efficiency=lambda hw, own, r: 100 * r["efficiency"]),
    "loss": bill(efficiency=lambda hw, own, r: 1 - r["efficiency"]),
    "full": bill(efficiency=lambda hw, own, r: 1.0),
    "rounded down": bill(
        break_even=lambda hw, own, r: own["conversion_s"] // saved(own) - (own["conversion_s"] % saved(own) == 0)
    ),
    "one epoch later": bill(break_even=lambda hw, own, r: r["break_even"] + 1),
    "not whole": bill(break_even=lambda hw, own, r: own["conversion_s"] / saved(own) + 0.01),
    "over the epoch before": bill(break_even=lambda hw, own, r: math.ceil(own["conversion_s"] / own["epoch_before_s"])),
    "over the epoch after": bill(break_even=lambda hw, own, r: own["conversion_s"] // own["epoch_after_s"] + 12),
    "no licence": without(bill, "licence"),
    "nothing": lambda hw: ...,
} | wrong_pairs(bill, "licence")

# --- q8 referee -------------------------------------------------------------------------------------------------------


def referee(**changes):
    def made(hw):
        right = {key: texts(hw, key) for key in ("cards", "mirrored", "gap")}
        return right | {key: make(hw) for key, make in changes.items()}

    return made


NOT_REFEREE = {
    "one answer": without(referee, "gap"),
    "letters": lambda hw: {key: pair[0] for key, pair in referee()(hw).items()},
    "a list": lambda hw: list(referee()(hw).values()),
    "nothing yet": lambda hw: dict.fromkeys(referee()(hw), ...),
}
for sentence in ("cards", "mirrored", "gap"):
    NOT_REFEREE |= wrong_pairs(referee, sentence)

RIGHT = {
    "q1": {
        "dict": memory(),
        "rounded": memory(set_gb=lambda hw, own, r: round(r["set_gb"], 1), fit=lambda hw, own, r: float(r["fit"])),
        "pair as a list": memory(feed=lambda hw, own, r: [r["feed"][0].upper(), int(r["feed"][1])]),
    },
    "q2": functions(random=by_random, pandas=by_pandas, groups_tuples=by_groups, arrays=by_arrays),
    "q3": functions(loop=by_loop, lists=by_lists, searching=by_searching, recursion=by_recursion),
    "q4": {
        "dict": epoch(),
        "array": epoch(records=lambda hw, own, r: np.array(r["records"])),
        "series": lambda hw: pd.Series(epoch()(hw)),
    },
    "q5": {
        "dict": race(),
        "two decimals": lambda hw: {k: round(v, 2) if k != "next" else v for k, v in race()(hw).items()},
    },
    "q6": functions(path=by_path, array=by_array, slopes_tuple=by_slopes, generator=by_generator),
    "q7": {
        "dict": bill(),
        "rounded": bill(cost=lambda hw, own, r: round(r["cost"], 2)),
    },
    "q8": {
        "pairs": referee(),
        "texts": lambda hw: {key: f"{a}, {b}" for key, (a, b) in referee()(hw).items()},
    },
}
WRONG = {
    "q1": NOT_MEMORY,
    "q2": NOT_SPLIT,
    "q3": NOT_SHARDS,
    "q4": NOT_EPOCH,
    "q5": NOT_RACE,
    "q6": NOT_LATE,
    "q7": NOT_BILL,
    "q8": NOT_REFEREE,
}
