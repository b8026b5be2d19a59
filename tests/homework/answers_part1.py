"""Right and wrong answers to homework 1; see the package's docstring for the form."""

import itertools
import math
import time
from collections import Counter, defaultdict

import numpy as np
import pandas as pd

from arsetlib import cdl
from arsetlib.grading.assignments import part1
from homework.forms import function

LEGEND_BUILT_IN = {1: "corn", 2: "cotton", 3: "rice", 5: "soybeans"}


# --- q1 hectares ------------------------------------------------------------------------------------------------------


def loop_hectares(codes, code, side_m):
    total = 0
    for row in codes:
        for value in row:
            if value == code:
                total += 1
    return total * side_m * side_m / 10000


def counter_hectares(codes, code, side_m):
    return Counter(np.asarray(codes).ravel().tolist())[code] * (side_m / 100) ** 2


def frame_hectares(codes, code, side_m):
    counts = pd.Series(codes.ravel()).value_counts()
    return counts.get(code, 0) * side_m**2 / 1e4


def changes_codes(codes, code, side_m):
    codes[codes != code] = 0
    return np.count_nonzero(codes) * side_m**2 / 1e4 if code else 0.0


def dict_hectares(codes, code, side_m):
    return dict(zip(*np.unique(codes, return_counts=True), strict=True))[code] * side_m**2 / 1e4


def slow_hectares(codes, code, side_m):
    time.sleep(60)
    return loop_hectares(codes, code, side_m)


HECTARES = {
    "numpy": lambda codes, code, side_m: (codes == code).sum() * side_m**2 / 10_000,
    "loop": loop_hectares,
    "counter": counter_hectares,
    "pandas, gives np.float64": frame_hectares,
    "0-d array": lambda codes, code, side_m: np.array(np.sum(codes == code) * side_m**2 / 1e4),
}
NOT_HECTARES = {
    "pixels, not hectares": lambda codes, code, side_m: int((codes == code).sum()),
    "square metres": lambda codes, code, side_m: (codes == code).sum() * side_m**2,
    "30 m built in": lambda codes, code, side_m: (codes == code).sum() * 0.09,
    "0.9 ha a pixel": lambda codes, code, side_m: (codes == code).sum() * side_m**2 / 1_000,
    "side not squared": lambda codes, code, side_m: (codes == code).sum() * side_m * 0.003,
    "sum of codes in place of their count": lambda codes, code, side_m: codes[codes == code].sum() * side_m**2 / 1e4,
    "whole hectares": lambda codes, code, side_m: round((codes == code).sum() * side_m**2 / 1e4),
    "square kilometres": lambda codes, code, side_m: (codes == code).sum() * side_m**2 / 1e6,
    "all pixels that hold something": lambda codes, code, side_m: (codes > 0).sum() * side_m**2 / 1e4,
    "codes up to this one": lambda codes, code, side_m: (codes <= code).sum() * side_m**2 / 1e4,
    "error where the code is absent": dict_hectares,
    "changes the raster": changes_codes,
    "very slow": slow_hectares,
    "returns nothing": lambda codes, code, side_m: None,
    "text": lambda codes, code, side_m: f"{(codes == code).sum() * side_m**2 / 1e4} ha",
    "numbers of the check built in": lambda codes, code, side_m: (
        {1: 0.36, 5: 0.27, 3: 0.09}.get(code, 0) * (side_m / 30) ** 2
    ),
    "one row only": lambda codes, code, side_m: sum(int(v == code) for v in codes[0]) * side_m**2 / 1e4,
    "mask, not a number": lambda codes, code, side_m: (codes == code) * side_m**2 / 1e4,
}

# --- q2 class_of ------------------------------------------------------------------------------------------------------


def loop_class(code, classes, excluded):
    if code in excluded:
        return "left out"
    for name in classes:
        if code in classes[name]:
            return name
    raise ValueError(f"unknown code {code}")


def inverted_class(code, classes, excluded):
    table = {c: name for name, codes in classes.items() for c in codes} | dict.fromkeys(excluded, "left out")
    if code not in table:
        raise ValueError(code)
    return table[code]


def next_class(code, classes, excluded):
    try:
        return "left out" if code in set(excluded) else next(n for n, c in classes.items() if int(code) in c)
    except StopIteration:
        raise ValueError(f"{code} is in no class") from None


def array_class(code, classes, excluded):
    if np.isin(code, excluded):
        return np.str_("left out")
    for name, members in classes.items():
        if (np.array(members) == code).any():
            return np.str_(name)
    raise ValueError(f"no class for {code:d}")


def rest_is_uncultivated(code, classes, excluded):
    if code in excluded:
        return "left out"
    return next((name for name, codes in classes.items() if code in codes), "uncultivated")


def unknown_is_left_out(code, classes, excluded):
    return next((name for name, codes in classes.items() if code in codes), "left out")


def raises_key_error(code, classes, excluded):
    if code in excluded:
        return "left out"
    return {c: name for name, codes in classes.items() for c in codes}[code]


def returns_none_for_unknown(code, classes, excluded):
    if code in excluded:
        return "left out"
    for name, codes in classes.items():
        if code in codes:
            return name


def double_crops_by_range(code, classes, excluded):
    if code in (0, 26, 81, 254) or 225 <= code <= 241:
        return "left out"
    return loop_class(code, classes, [])


def own_double_crops(code, classes, excluded):
    if code in (0, 81) or code in cdl.DOUBLE_CROPS:
        return "left out"
    return loop_class(code, classes, [])


def class_number(code, classes, excluded):
    return "left out" if code in excluded else list(classes).index(loop_class(code, classes, excluded))


def excluded_raises(code, classes, excluded):
    if code in excluded:
        raise ValueError("double crop")
    return loop_class(code, classes, excluded)


def names_built_in(code, classes, excluded):
    if code in excluded:
        return "left out"
    if code in LEGEND_BUILT_IN:
        return LEGEND_BUILT_IN[code]
    if code > 255 or code == 199:
        raise ValueError(code)
    return "uncultivated" if code in classes.get("uncultivated", ()) else "cultivated"


def ranges(code, classes, excluded):
    if code in excluded:
        return "left out"
    for name, codes in classes.items():
        if codes and min(codes) <= code <= max(codes):
            return name
    raise ValueError(code)


def changes_classes(code, classes, excluded):
    classes["left out"] = excluded
    return loop_class(code, classes, [])


def in_text(code, classes, excluded):
    if str(code) in str(excluded):
        return "left out"
    for name, codes in classes.items():
        if str(code) in str(codes):
            return name
    raise ValueError(code)


def first_class(code, classes, excluded):
    return "left out" if code in excluded else next(iter(classes))


def error_without_the_code(code, classes, excluded):
    names = [name for name, codes in classes.items() if code in codes]
    if not names and code not in excluded:
        raise ValueError("unknown")
    return "left out" if code in excluded else names[0]


def prints_class(code, classes, excluded):
    print(loop_class(code, classes, excluded))


def codes_of_class(code, classes, excluded):
    name = loop_class(code, classes, excluded)
    return name if name == "left out" else (name, classes[name])


# --- q3 land ----------------------------------------------------------------------------------------------------------


def true_land(hw, codes=None):
    codes = part1.own_codes(hw) if codes is None else codes
    classes, excluded = part1.legend(hw.study)
    names = pd.Series([loop_class(int(c), classes, excluded) for c in codes.ravel()])
    pixels = names[names != "left out"].value_counts().rename_axis("class").rename("pixels").reset_index()
    pixels["hectares"] = pixels["pixels"] * 0.09
    pixels["percent"] = 100 * pixels["pixels"] / pixels["pixels"].sum()
    return pixels


def changed(change):
    def answer(hw):
        made = true_land(hw)
        return change(made.copy(), hw)

    return answer


def with_column(name, values):
    return changed(lambda t, hw: t.assign(**{name: values(t, hw)}))


def other_year(hw):
    draw = hw.draw | {"year": 2019 + (hw.draw["year"] - 2018) % 3}
    return true_land(hw, part1.own_codes(_With(hw, draw)))


def other_box(hw):
    west, south, east, north = hw.draw["bounds"]
    return true_land(hw, part1.own_codes(_With(hw, hw.draw | {"bounds": (west - 120, south, east - 120, north)})))


class _With:
    """A homework with other numbers."""

    def __init__(self, hw, draw):
        self.study, self.table, self.draw = hw.study, hw.table, draw


def left_out_counted(hw):
    total = part1.own_codes(hw).size
    return true_land(hw).assign(percent=lambda t: 100 * t["pixels"] / total)


def row_left_out(hw):
    made = true_land(hw)
    rest = part1.own_codes(hw).size - made["pixels"].sum()
    return pd.concat([made, pd.DataFrame([("left out", rest, rest * 0.09, 0.0)], columns=part1.LAND)])


def swapped_classes(t, hw):
    return t.assign(**{"class": t["class"].replace({t["class"][0]: t["class"][1], t["class"][1]: t["class"][0]})})


def not_folded(t, hw):
    found, counts = np.unique(part1.own_codes(hw), return_counts=True)
    names = [cdl.name(int(c)) for c in found]
    return pd.DataFrame(
        {"class": names, "pixels": counts, "hectares": counts * 0.09, "percent": 100 * counts / counts.sum()}
    )


# --- q4 keep_scenes ---------------------------------------------------------------------------------------------------


def image_of(scene):
    return scene["day"], scene["tile"], scene["satellite"]


def sorted_scenes(scenes, max_cloud):
    newest = {image_of(s): s for s in sorted(scenes, key=lambda s: s["processing"])}
    return [s["id"] for s in newest.values() if s["cloud"] <= max_cloud]


def pandas_scenes(scenes, max_cloud):
    if not len(scenes):
        return np.array([], str)
    frame = pd.DataFrame(scenes).sort_values("processing").drop_duplicates(["day", "tile", "satellite"], keep="last")
    return frame.loc[frame["cloud"] <= max_cloud, "id"].to_numpy(str)


def compared_scenes(scenes, max_cloud):
    kept = set()
    for s in scenes:
        newer = [o for o in scenes if image_of(o) == image_of(s) and o["processing"] > s["processing"]]
        if not newer and not s["cloud"] > max_cloud:
            kept.add(s["id"])
    return kept


def grouped_scenes(scenes, max_cloud):
    groups = defaultdict(list)
    for s in scenes:
        groups[image_of(s)].append(s)
    best = (max(group, key=lambda s: s["processing"]) for group in groups.values())
    return tuple(s["id"] for s in best if s["cloud"] <= max_cloud)


def by_key(*names):
    def keep(scenes, max_cloud):
        newest = {tuple(s[n] for n in names): s for s in sorted(scenes, key=lambda s: s["processing"])}
        return [s["id"] for s in newest.values() if s["cloud"] <= max_cloud]

    return keep


def cloud_first(scenes, max_cloud):
    return sorted_scenes([s for s in scenes if s["cloud"] <= max_cloud], 100)


def oldest(scenes, max_cloud):
    return sorted_scenes([s | {"processing": -s["processing"]} for s in scenes], max_cloud)


def last_in_list(scenes, max_cloud):
    return [s["id"] for s in {image_of(s): s for s in scenes}.values() if s["cloud"] <= max_cloud]


def newest_by_text(scenes, max_cloud):
    newest = {image_of(s): s for s in sorted(scenes, key=lambda s: s["id"])}
    return [s["id"] for s in newest.values() if s["cloud"] <= max_cloud]


def least_cloud(scenes, max_cloud):
    best = {image_of(s): s for s in sorted(scenes, key=lambda s: -s["cloud"])}
    return [s["id"] for s in best.values() if s["cloud"] <= max_cloud]


def sorts_in_place(scenes, max_cloud):
    scenes.sort(key=lambda s: s["processing"])
    return sorted_scenes(scenes, max_cloud)


def fails_on_empty(scenes, max_cloud):
    assert scenes[0]
    return sorted_scenes(scenes, max_cloud)


def newest_of_all(scenes, max_cloud):
    top = max((s["processing"] for s in scenes), default=0)
    return [s["id"] for s in scenes if s["processing"] == top and s["cloud"] <= max_cloud]


# --- q5 longest_gap ---------------------------------------------------------------------------------------------------


def loop_gap(day, scl, drop):
    longest, last = 0, None
    for d, s in zip(day, scl, strict=True):
        if s in drop:
            continue
        if last is not None:
            longest = max(longest, int(d) - last)
        last = int(d)
    return longest


def list_gap(day, scl, drop):
    left = [int(d) for d, s in zip(day, scl, strict=True) if int(s) not in set(drop)]
    return max([b - a for a, b in itertools.pairwise(left)], default=0)


def numpy_gap(day, scl, drop):
    left = day[~np.isin(scl, drop)]
    return np.diff(left).max() if len(left) > 1 else 0


def series_gap(day, scl, drop):
    frame = pd.DataFrame({"day": np.asarray(day, "int64"), "scl": scl})
    gap = frame.loc[~frame["scl"].isin(drop), "day"].diff().max()
    return 0.0 if pd.isna(gap) else float(gap)


def gap(of=lambda d: np.diff(d).max(), keep=lambda scl, drop: ~np.isin(scl, drop), few=0):
    def longest(day, scl, drop):
        left = day[keep(scl, drop)].astype(int)
        return int(of(left)) if len(left) > 1 else few

    return longest


def changes_days(day, scl, drop):
    day -= day[:1] if len(day) else day
    return loop_gap(day, scl, drop)


def slow_gap(day, scl, drop):
    time.sleep(60)
    return loop_gap(day, scl, drop)


def gap_to_borders(day, scl, drop):
    new_year = int(day[0]) // 365 * 365 if len(day) else 0
    return loop_gap([new_year, *day], [-1, *scl], drop)


# --- q6 scl_counts ----------------------------------------------------------------------------------------------------


def rows_of(hw, area=True, year=True):
    frame = hw.table.to_pandas()
    mine = np.ones(len(frame), bool)
    if area:
        mine &= frame["area"] == hw.draw["area"]
    if year:
        mine &= frame["year"] == hw.draw["table_year"]
    return frame[mine]


def counted(hw, **which):
    return dict(Counter(b"".join(rows_of(hw, **which)["scl"])))


def by_row(hw):
    total = np.zeros(12, int)
    for scl in rows_of(hw)["scl"]:
        total += np.bincount(np.frombuffer(scl, np.uint8), minlength=12)
    return total


def pixels_with(hw):
    total = Counter()
    for scl in rows_of(hw)["scl"]:
        total.update(set(scl))
    return dict(total)


def last_class(hw):
    return dict(Counter(scl[-1] for scl in rows_of(hw)["scl"]))


def percent_counts(hw):
    counts = counted(hw)
    return {k: 100 * v / sum(counts.values()) for k, v in counts.items()}


def as_u2(hw):
    text = b"".join(rows_of(hw)["scl"])
    return dict(Counter(np.frombuffer(text[: len(text) // 2 * 2], "<u2").tolist()))


def one_more(hw):
    return {k + 1: v for k, v in counted(hw).items()}


def without_unusual(hw):
    return {k: v for k, v in counted(hw).items() if k in (4, 5, 6)}


# --- q7, q8: a choice and its reason ----------------------------------------------------------------------------------


def pick(options, reasons, option_start, reason_start):
    def keys(hw):
        letter = next(k for k, text in hw.draw[options].items() if text.startswith(option_start))
        return letter, next(k for k, text in hw.draw[reasons].items() if text.startswith(reason_start))

    return keys


def choices(options, reasons, right_option, right_reason, wrong_options, wrong_reasons):
    """Right forms of a choice, and wrong ones: each wrong option, each wrong reason, wrong forms."""
    keys = pick(options, reasons, right_option, right_reason)
    right = {
        "pair": keys,
        "number": lambda hw: (keys(hw)[0], int(keys(hw)[1])),
        "list, capital": lambda hw: [keys(hw)[0].upper(), int(keys(hw)[1])],
    }
    wrong = {f"wrong choice: {o}": pick(options, reasons, o, right_reason) for o in wrong_options}
    wrong |= {f"wrong reason: {r}": pick(options, reasons, right_option, r) for r in wrong_reasons}
    wrong |= {
        f"both wrong: {o}": pick(options, reasons, o, r) for o, r in zip(wrong_options, wrong_reasons, strict=True)
    }
    wrong |= {
        "no reason": lambda hw: keys(hw)[0],
        "nothing": lambda hw: ...,
        "the text in place of its letter": lambda hw: (hw.draw[options][keys(hw)[0]], keys(hw)[1]),
        "no such letter": lambda hw: ("e", keys(hw)[1]),
        "swapped": lambda hw: keys(hw)[::-1],
        "all of them": lambda hw: ("abcd", "1234"),
    }
    return right, wrong


LAYOUTS, LAYOUT_WHY, WHY = list(part1.LAYOUTS), list(part1.LAYOUT_REASONS), list(part1.RERUN_REASONS)
LAYOUT = choices("layouts", "layout_reasons", LAYOUTS[0], LAYOUT_WHY[0], LAYOUTS[1:], LAYOUT_WHY[1:])
RERUN_OPTIONS = ("It makes all", "It makes the one chunk", "It finds the")


def rerun_right(hw):
    return f"It makes the {hw.draw['chunks'] - hw.draw['done']} chunks"


def rerun_pick(option, reason):
    return lambda hw: pick("reruns", "rerun_reasons", option or rerun_right(hw), reason)(hw)


RERUN_RIGHT = {
    "pair": rerun_pick(None, WHY[0]),
    "list": lambda hw: list(rerun_pick(None, WHY[0])(hw)),
    "text": lambda hw: ", ".join(rerun_pick(None, WHY[0])(hw)),
}
RERUN_WRONG = {f"wrong choice: {o}": rerun_pick(o, WHY[0]) for o in RERUN_OPTIONS}
RERUN_WRONG |= {f"wrong reason: {r}": rerun_pick(None, r) for r in WHY[1:]}
RERUN_WRONG |= {f"both wrong: {o}": rerun_pick(o, r) for o, r in zip(RERUN_OPTIONS, WHY[1:], strict=True)}
RERUN_WRONG |= {
    "no reason": lambda hw: rerun_pick(None, WHY[0])(hw)[0],
    "number of chunks": lambda hw: hw.draw["chunks"],
}

RIGHT = {
    "q1": {name: function(body) for name, body in HECTARES.items()},
    "q2": {
        "loop": function(loop_class),
        "inverted dict": function(inverted_class),
        "next, StopIteration": function(next_class),
        "arrays, np.str_": function(array_class),
    },
    "q3": {
        "frame": true_land,
        "class as index": changed(lambda t, hw: t.set_index("class")),
        "dict of lists": changed(lambda t, hw: t.to_dict("list")),
        "more columns, other order": changed(lambda t, hw: t.assign(note="")[["note", *t.columns[::-1]]]),
        "classes of no pixels too": changed(
            lambda t, hw: pd.concat([t, pd.DataFrame([("no_crops_growing", 0, 0.0, 0.0)], columns=part1.LAND)])
        ),
    },
    "q4": {
        "sorted, dict": function(sorted_scenes),
        "pandas, array": function(pandas_scenes),
        "compared in pairs, set": function(compared_scenes),
        "groups, tuple": function(grouped_scenes),
    },
    "q5": {
        "loop": function(loop_gap),
        "list": function(list_gap),
        "numpy": function(numpy_gap),
        "pandas, float": function(series_gap),
    },
    "q6": {
        "counter": counted,
        "array of twelve": by_row,
        "series": lambda hw: pd.Series(counted(hw)),
        "frame": lambda hw: pd.DataFrame(sorted(counted(hw).items()), columns=["scl", "observations"]),
        "zeros too, keys as text": lambda hw: {str(k): int(n) for k, n in enumerate(by_row(hw))},
    },
    "q7": LAYOUT[0],
    "q8": RERUN_RIGHT,
}

WRONG = {
    "q1": {name: function(body) for name, body in NOT_HECTARES.items()} | {"a number, no function": lambda hw: 0.36},
    "q2": {
        "the rest is uncultivated": function(rest_is_uncultivated),
        "the rest is left out": function(unknown_is_left_out),
        "KeyError in place of ValueError": function(raises_key_error),
        "an error that names no code": function(error_without_the_code),
        "None for an unknown code": function(returns_none_for_unknown),
        "double crops as a range": function(double_crops_by_range),
        "own list of double crops": function(own_double_crops),
        "number of the class": function(class_number),
        "excluded raises": function(excluded_raises),
        "names built in": function(names_built_in),
        "from smallest to largest code": function(ranges),
        "changes the legend": function(changes_classes),
        "compared as text": function(in_text),
        "always the first class": function(first_class),
        "prints in place of returning": function(prints_class),
        "name and codes": function(codes_of_class),
        "the code's own name": function(lambda code, classes, excluded: cdl.name(int(code))),
    },
    "q3": {
        "percent of all pixels": left_out_counted,
        "a row of what is left out": row_left_out,
        "another year": other_year,
        "another box": other_box,
        "two classes swapped": changed(swapped_classes),
        "not folded": changed(not_folded),
        "share, not percent": with_column("percent", lambda t, hw: t["percent"] / 100),
        "percent rounded": with_column("percent", lambda t, hw: t["percent"].round()),
        "hectares rounded": with_column("hectares", lambda t, hw: t["hectares"].round(1)),
        "0.9 ha a pixel": with_column("hectares", lambda t, hw: t["pixels"] * 0.9),
        "square metres": with_column("hectares", lambda t, hw: t["pixels"] * 900),
        "pixels of 10 m": with_column("hectares", lambda t, hw: t["pixels"] * 0.01),
        "smallest class missing": changed(lambda t, hw: t.iloc[:-1]),
        "no column percent": changed(lambda t, hw: t.drop(columns="percent")),
        "percent of hectares": with_column("percent", lambda t, hw: t["percent"] * 0.09),
        "even shares": with_column("percent", lambda t, hw: 100 / len(t)),
        "a class twice": changed(lambda t, hw: pd.concat([t, t.iloc[:1]])),
        "missing values": with_column("percent", lambda t, hw: math.nan),
        "nothing": lambda hw: ...,
    },
    "q4": {
        "clouds first": function(cloud_first),
        "oldest processing": function(oldest),
        "last in the list": function(last_in_list),
        "newest by text": function(newest_by_text),
        "least cloud of an image": function(least_cloud),
        "newest number of all": function(newest_of_all),
        "no look at the tile": function(by_key("day", "satellite")),
        "no look at the satellite": function(by_key("day", "tile")),
        "one a day": function(by_key("day")),
        "limit not included": function(lambda s, c: sorted_scenes(s, c - 1e-9)),
        "limit not used": function(lambda s, c: sorted_scenes(s, 100)),
        "limit built in": function(lambda s, c: sorted_scenes(s, 30)),
        "old versions stay": function(lambda s, c: [x["id"] for x in s if x["cloud"] <= c]),
        "scenes in place of ids": function(lambda s, c: [x for x in s if x["id"] in sorted_scenes(s, c)]),
        "how many": function(lambda s, c: len(sorted_scenes(s, c))),
        "those dropped": function(lambda s, c: [x["id"] for x in s if x["id"] not in sorted_scenes(s, c)]),
        "sorts the list it was given": function(sorts_in_place),
        "error on an empty list": function(fails_on_empty),
        "at least so much cloud": function(lambda s, c: list({*sorted_scenes(s, 100)} - {*sorted_scenes(s, c)})),
    },
    "q5": {
        "nothing dropped": function(gap(keep=lambda scl, drop: scl >= 0)),
        "keeps what should go": function(gap(keep=lambda scl, drop: np.isin(scl, drop))),
        "drop built in": function(gap(keep=lambda scl, drop: ~np.isin(scl, (3, 8, 9, 10)))),
        "days between, ends not counted": function(gap(of=lambda d: np.diff(d).max() - 1)),
        "both ends counted": function(gap(of=lambda d: np.diff(d).max() + 1)),
        "mean gap": function(gap(of=lambda d: round(np.diff(d).mean()))),
        "shortest gap": function(gap(of=lambda d: np.diff(d).min())),
        "from first to last": function(gap(of=lambda d: d[-1] - d[0])),
        "number of gaps": function(gap(of=lambda d: len(d) - 1)),
        "only vegetation": function(gap(keep=lambda scl, drop: scl == 4)),
        "error where nothing is left": function(lambda day, scl, drop: int(np.diff(day[~np.isin(scl, drop)]).max())),
        "-1 where nothing is left": function(gap(few=-1)),
        "NaN where nothing is left": function(gap(few=math.nan)),
        "days changed": function(changes_days),
        "very slow": function(slow_gap),
        "counts from new year": function(gap_to_borders),
        "first class of drop only": function(gap(keep=lambda scl, drop: scl != (drop[0] if drop else -1))),
        "gap of each": function(lambda day, scl, drop: np.diff(day[~np.isin(scl, drop)])),
    },
    "q6": {
        "whole table": lambda hw: counted(hw, area=False, year=False),
        "all years": lambda hw: counted(hw, year=False),
        "all areas": lambda hw: counted(hw, area=False),
        "rows with the class": pixels_with,
        "last class of each row": last_class,
        "percent": percent_counts,
        "two bytes a class": as_u2,
        "shifted by one": one_more,
        "rare classes missing": without_unusual,
        "number of images": lambda hw: int(rows_of(hw)["num_images"].sum()),
        "first row": lambda hw: dict(Counter(rows_of(hw)["scl"].iloc[0])),
        "one short": lambda hw: {k: v - 1 for k, v in counted(hw).items()},
        "label codes": lambda hw: rows_of(hw)["label_code"].value_counts().to_dict(),
        "names that are no numbers": lambda hw: {f"class {k}": v for k, v in counted(hw).items()},
        "nothing": lambda hw: None,
    },
    "q7": LAYOUT[1],
    "q8": RERUN_WRONG,
}  # fmt: skip
