"""Homework 1: from scenes and labels to the pixel table. Lab: part1_build_dataset.

A learner draws a box of the label raster, a year, an area of the pixel table, a limit of cloud cover and a list of
scenes.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from arsetlib.grading.assignments import picked, shuffled
from arsetlib.grading.questions import Question, Wrong, array, close, equal, number, shown, table

YEARS = (2019, 2020, 2021)
LEFT, RIGHT, TOP, SIDE = 474_255, 475_515, 1_183_785, 30  # of the sample's label raster, EPSG:5070, and a pixel, m
LAND = ("class", "pixels", "hectares", "percent")
LEFT_OUT = "left out"

# Of each: what can be chosen, and why not; the first is right.
LAYOUTS = {
    "one row per pixel and year, its series as byte strings": "",
    "one row per observation, to be sorted when a model asks": (
        "A model asks for seasons, so every reading would sort all observations of all pixels"
    ),
    "one row per pixel, the images of all years in one series": (
        "Next year another crop grows in the field, so a row would have several labels"
    ),
    "one file per pixel and year, its series as typed lists": (
        "Millions of files, and every number decoded on its own: both are slow"
    ),
}
LAYOUT_REASONS = {
    "A model asks for a pixel's season, which is then stored in one piece, and reading it only copies memory.": "",
    "Compressed on disk, byte strings take a small part of the space of typed lists.": (
        "Section 9 of the lab measured it: compressed, their sizes on disk are similar"
    ),
    "Byte strings know their own type and byte order, so nobody can misread them.": (
        "They contain neither: the wrong order gives wrong numbers and no error"
    ),
    "A pixel carries the same crop in every year, so its years belong together.": (
        "Crops rotate: next year another crop often grows there"
    ),
}
RERUN_REASONS = {
    "Finished chunks are kept on disk, and a failed read stops the job, since zeros would look like data.": "",
    "A failed read becomes zeros, which mean 'no data' and do no harm.": (
        "Nobody would see the gap: a failed read is an error"
    ),
    "Spark keeps the finished chunks in memory until the session ends.": (
        "Then they would be lost if the session crashed. Look in the folder where they are"
    ),
    "Pixels are drawn at random, so chunks of two runs do not fit together.": (
        "The draw takes its seed from the study, so two runs draw the same pixels"
    ),
}


def reruns(chunks: int, done: int) -> dict[str, str]:
    """What the same call may do after a stop, and why not."""
    return {
        f"It makes the {chunks - done} chunks that are missing; then the table gets its final name.": "",
        f"It makes all {chunks} chunks again.": "Exercise 4 of the lab shows how many chunks were there already",
        "It makes the one chunk that failed; then the table is complete.": (
            f"The job stopped after {done} of {chunks} chunks, so more than one is missing"
        ),
        f"It finds the {done} chunks and gives them back as the table.": (
            "A table that has its final name is complete, and this one is not complete"
        ),
    }


def draw(rng: np.random.Generator) -> dict:
    """A learner's own numbers."""
    row, high, col = int(rng.integers(0, 8)), int(rng.integers(22, 26)), int(rng.integers(12, 20))
    north = TOP - SIDE * row
    max_cloud = 5 * int(rng.integers(5, 12))
    chunks = int(rng.integers(40, 90))
    done = int(rng.integers(12, chunks - 10))
    return {
        "year": int(rng.choice(YEARS)),
        "bounds": (LEFT + SIDE * col, north - SIDE * high, RIGHT, north),
        "area": str(rng.choice(["box_6", "box_7"])),
        "table_year": int(rng.choice(YEARS)),
        "row": int(rng.integers(0, 300)),
        "max_cloud": max_cloud,
        "scenes": scene_list(rng, max_cloud),
        "layouts": shuffled(rng, "abcd", LAYOUTS),
        "layout_reasons": shuffled(rng, "1234", LAYOUT_REASONS),
        "chunks": chunks,
        "done": done,
        "reruns": shuffled(rng, "abcd", reruns(chunks, done)),
        "rerun_reasons": shuffled(rng, "1234", RERUN_REASONS),
    }


def scene_list(rng, max_cloud: int) -> list[dict]:
    """Ten scenes of seven images: three were processed again, one of them with more cloud found, one with less."""
    days = np.sort(rng.choice(np.arange(95, 270, 5), 5, replace=False)).tolist()
    images = [(d, "15SXT", "S2A") for d in days] + [(days[1], "15SYT", "S2A"), (days[2], "15SXT", "S2B")]
    cloud = {i: int(c) for i, c in enumerate(rng.integers(0, 100, len(images)))}
    cloud[3], cloud[4] = max_cloud, max_cloud + int(rng.integers(1, 4))  # at the limit, and just over it
    made = [(i, int(rng.integers(1, 3)), cloud[i]) for i in range(len(images))]
    kinder, stricter = max(0, max_cloud - int(rng.integers(5, 20))), min(100, max_cloud + int(rng.integers(5, 20)))
    made[0] = (0, 1, kinder)
    made += [(0, 2, stricter), (1, 9, stricter), (1, 10, kinder), (5, made[5][1] + 1, kinder)]
    made.remove((1, made[1][1], cloud[1]))
    scenes = []
    for at in rng.permutation(len(made)).tolist():
        image, processing, cover = made[at]
        day, tile, satellite = images[image]
        scenes.append(
            {
                "id": f"{satellite}_{tile}_{day:03d}_{processing}", "day": day, "tile": tile, "satellite": satellite,
                "cloud": cover, "processing": processing,
            }
        )  # fmt: skip
    return scenes


def own_codes(hw) -> np.ndarray:
    """(H, W) label codes of the learner's box in the learner's year."""
    from arsetlib import maps
    from arsetlib.study import Area

    box = Area("mine", {"en": "My box"}, tuple(hw.draw["bounds"]), "EPSG:5070")
    return maps.read(hw.study.resolve(f"cdl_{hw.draw['year']}.tif"), box)[0]


def legend(study) -> tuple[dict[str, list[int]], list[int]]:
    """Class → its codes, and the codes left out, as plain values."""
    return {c.key: list(c.codes) for c in study.legend.classes}, list(study.legend.excluded)


# --- public checks ----------------------------------------------------------------------------------------------------


def hectares(ask, hw) -> None:
    hint = "Lab 1, section 5: a pixel of 30 m × 30 m is 0.09 ha, and 1 ha is 10,000 m²"
    small = np.array([[1, 1, 5], [1, 5, 5], [0, 1, 3]], np.uint8)
    for code, side_m, expected in ((1, 30, 0.36), (5, 30, 0.27), (3, 30, 0.09), (5, 10, 0.03)):
        value = number(ask(small, code, side_m), hint=f"Return hectares(codes, {code}, {side_m}) as a number")
        if abs(value - expected) < 1e-9:
            continue
        pixels = int((small == code).sum())
        more = hint
        if value == pixels:
            more = "That is the number of pixels. " + hint
        elif side_m != 30 and abs(value - pixels * 0.09) < 1e-9:
            more = "Did you write 30 m into the function? Use side_m"
        elif abs(value - pixels * side_m**2) < 1e-6:
            more = "That is in square metres. " + hint
        raise Wrong(
            f"Expected {expected:g} ha for {pixels} pixels of code {code} that are {side_m} m wide, "
            f"received {value:g}. {more}."
        )
    equal(number(ask(small, 24, 30)), 0, of="the hectares of a code that the raster does not hold")


def class_of(ask, hw) -> None:
    classes, excluded = legend(hw.study)
    hint = "Lab 1, section 5"
    names = {1: "Corn", 3: "Rice", 21: "Barley", 227: "Lettuce", 229: "Pumpkins", 190: "Woody Wetlands"}
    for code, expected in {1: "corn", 3: "rice", 190: "uncultivated", 21: "cultivated", 227: "cultivated",
                           229: "cultivated"}.items():  # fmt: skip
        value = ask(code, classes, excluded)
        if not isinstance(value, str) or value != expected:
            more = (
                f"Lettuce and Pumpkins have codes between those of double crops, but are no double crops. {hint}"
                if code > 226
                else hint
            )
            raise Wrong(
                f"Expected class_of({code}, …), {names[code]}, to be {expected!r}, received {shown(value)}. {more}."
            )
    for code in (26, 241, 0):
        equal(ask(code, classes, excluded), LEFT_OUT, of=f"class_of({code}, …), an excluded code,", hint=hint)
    refuses(ask, (199, classes, excluded), "a code that is in no class and not excluded, 199,")


def refuses(ask, args: tuple, what: str) -> None:
    """The learner's function must raise a ValueError for these arguments."""
    try:
        value = ask(*args)
    except Wrong as wrong:
        said = str(wrong).partition("raised ValueError")[2]
        if str(args[0]) in said:
            return
        if said:
            raise Wrong(f"Expected the ValueError for {what} to name the code in its message, received{said}") from None
        if " raised " not in str(wrong):
            raise Wrong(
                f"Expected {ask.name} to raise a ValueError for {what} and not to end without one: {wrong}"
            ) from None
        raise Wrong(f"Expected {ask.name} to raise a ValueError for {what} but {wrong}") from None
    raise Wrong(
        f"Expected {ask.name} to raise a ValueError for {what} received {shown(value)}. An unknown code is no class. "
        "Write `raise ValueError(…)`. Lab 1, section 5."
    )


def land(answer, hw) -> None:
    hint = "Lab 1, section 5"
    found = table(answer, LAND, hint=hint)
    codes = own_codes(hw)
    number_of = hw.study.legend.classes_of(codes.ravel().astype(int))
    expected = {hw.study.legend.keys[k]: int(n) for k, n in Counter(number_of[number_of >= 0].tolist()).items()}
    total = sum(expected.values())
    names = [str(name) for name in found["class"]]
    for name in names:
        if name == LEFT_OUT or name not in hw.study.legend.keys:
            raise Wrong(
                f"Expected rows of classes alone, received {shown(name)}. Excluded codes are not counted. {hint}."
            )
    if len(set(names)) < len(names):
        raise Wrong(
            f"Expected one row for each class, received several of {shown(max(names, key=names.count))}. {hint}."
        )
    missing = sorted(set(expected) - set(names))
    if missing:
        raise Wrong(f"Expected a row for each class that occurs in your box, {missing[0]!r} has none. {hint}.")
    own = "Is it your box, your year, and the whole class? Use class_of for every code. " + hint
    wide = "Your label pixels are 30 m wide; do not round. " + hint
    share = f"Percent, 0 to 100, of the {total} pixels of your box that have a class; do not round. {hint}"
    for name, row in zip(names, found.itertuples(index=False), strict=True):
        pixels = expected.get(name, 0)
        for column, value, unit, more in (
            ("pixels", pixels, "pixels", own),
            ("hectares", pixels * 0.09, "ha", wide),
            ("percent", 100 * pixels / total, "%", share),
        ):
            received = number(getattr(row, column), hint=f"It is in the column {column} of {name}")
            close(received, value, unit=f"{unit} of {name}", hint=more)


def keep_scenes(ask, hw) -> None:
    hint = "Lab 1, section 3"
    few = [
        {"id": "a1", "day": 100, "tile": "15SXT", "satellite": "S2A", "cloud": 10, "processing": 1},
        {"id": "a2", "day": 100, "tile": "15SXT", "satellite": "S2A", "cloud": 12, "processing": 2},
        {"id": "b1", "day": 100, "tile": "15SYT", "satellite": "S2A", "cloud": 30, "processing": 1},
        {"id": "c1", "day": 105, "tile": "15SXT", "satellite": "S2B", "cloud": 31, "processing": 1},
        {"id": "d1", "day": 100, "tile": "15SYT", "satellite": "S2B", "cloud": 3, "processing": 2},
    ]
    _kept_right(ask(few, 30), few, 30, "a list of five", hint)
    limit = hw.draw["max_cloud"]
    _kept_right(ask(hw.draw["scenes"], limit), hw.draw["scenes"], limit, "your list", hint)


def _kept_right(kept, scenes: list[dict], limit: float, which: str, hint: str) -> None:
    """Say which id is wrong in what a learner kept, and why."""
    if not isinstance(kept, list | tuple | set | np.ndarray) or not all(isinstance(i, str) for i in kept):
        raise Wrong(f"Expected a list of ids (texts) for {which}, received {shown(kept)}. {hint}.")
    by_id, kept = {s["id"]: s for s in scenes}, [str(i) for i in kept]
    for name in kept:
        if name not in by_id:
            raise Wrong(f"Expected ids of {which}, received {shown(name)}. {hint}.")
        if kept.count(name) > 1:
            raise Wrong(f"Expected each id once, received {shown(name)} {kept.count(name)} times for {which}. {hint}.")
    for scene in scenes:
        image = [s for s in scenes if all(s[k] == scene[k] for k in ("day", "tile", "satellite"))]
        newest = scene["processing"] == max(s["processing"] for s in image)
        there, name = scene["id"] in kept, scene["id"]
        if there and not newest:
            raise Wrong(
                f"For {which}: {name} is there, though the list holds a newer processing of that image. {hint}."
            )
        if there and scene["cloud"] > limit:
            raise Wrong(f"For {which}: {name} is there with {scene['cloud']} % cloud; the limit is {limit} %. {hint}.")
        if not there and newest and scene["cloud"] <= limit:
            raise Wrong(
                f"For {which}: {name} is missing. It is the newest processing of its image and has {scene['cloud']} % "
                f"cloud, at most {limit} %. An image is named by day, tile and satellite together. {hint}."
            )


def longest_gap(ask, hw) -> None:
    hint = "Lab 1, section 6"
    for day, scl, drop, expected, why in (
        ([3, 8, 13, 40], [4, 4, 5, 4], [], 27, "nothing is dropped; from day 13 to day 40 are 27 days"),
        (
            [3, 8, 13, 40],
            [4, 9, 9, 4],
            [8, 9],
            37,
            "days 8 and 13 are cloud and are dropped; 37 days remain",
        ),
        ([3, 8, 13, 40], [3, 4, 4, 10], [3, 10], 5, "shadow and cirrus are dropped; days 8 and 13 remain"),
        ([3, 8], [9, 4], [9], 0, "one observation is left, which has no gap"),
    ):
        value = number(ask(np.array(day), np.array(scl), drop), hint=hint)
        if value != expected:
            raise Wrong(
                f"Expected longest_gap({day}, {scl}, {drop}) to be {expected}, received {value:g}: {why}. {hint}."
            )
    day, scl = own_series(hw)
    left = np.unique(day[(scl != 3) & (scl != 10)].astype(int))
    close(number(ask(day, scl, [3, 10]), hint=hint), int(np.diff(left).max()), unit="days for your pixel", hint=hint)


def own_series(hw) -> tuple[np.ndarray, np.ndarray]:
    """Days (N,) and scene classes (N,) of the learner's pixel."""
    from arsetlib import pixels

    day, scl, _ = pixels.series(hw.table, hw.draw["row"])
    return day, scl


def scl_counts(answer, hw) -> None:
    hint = "Lab 1, sections 6 and 10"
    area, year = hw.draw["area"], hw.draw["table_year"]
    if type(answer).__module__.startswith("pandas") and hasattr(answer, "to_dict"):
        answer = _two_columns(answer) if hasattr(answer, "columns") else answer.to_dict()
    if isinstance(answer, list | tuple | np.ndarray) and len(answer) == 12:  # at position k the count of class k
        answer = dict(enumerate(array(answer).tolist()))
    if not isinstance(answer, dict):
        raise Wrong(f"Expected a dict, scene class → number of observations, received {shown(answer)}. {hint}.")
    try:
        found = {int(key): number(value) for key, value in answer.items()}
    except (TypeError, ValueError):
        raise Wrong(
            f"Expected the numbers of scene classes as keys, such as 4, received {shown(list(answer))}. {hint}."
        ) from None
    frame = hw.table.select(["area", "year", "scl"]).to_pandas()
    mine = frame[(frame["area"] == area) & (frame["year"] == year)]
    expected = Counter(b"".join(mine["scl"]))
    if sum(found.values()) == len(mine):
        raise Wrong(f"Expected observations to be counted, received {len(mine)} in all: the number of rows. {hint}.")
    more = f"Count all observations of {area} in {year} and no others; in scl each is one byte. {hint}"
    for value in sorted(set(expected) | {k for k, n in found.items() if n}):
        close(found.get(value, 0), expected.get(value, 0), unit=f"observations of class {value}", hint=more)


def _two_columns(frame) -> dict:
    if frame.shape[1] != 2:
        raise Wrong(f"Expected two columns, scene class and count, received {', '.join(map(str, frame.columns))}.")
    return dict(zip(frame.iloc[:, 0].tolist(), frame.iloc[:, 1].tolist(), strict=True))


def layout(answer, hw) -> None:
    picked(answer, hw.draw["layouts"], LAYOUTS, hw.draw["layout_reasons"], LAYOUT_REASONS, "Lab 1, sections 7 and 9")


def rerun(answer, hw) -> None:
    options = reruns(hw.draw["chunks"], hw.draw["done"])
    picked(answer, hw.draw["reruns"], options, hw.draw["rerun_reasons"], RERUN_REASONS, "Lab 1, section 8")


# The questions, in the order of the notebook.
QUESTIONS = (
    Question("q1", "hectares", "coded", 2, ("1.1",), "5. The labels", hectares),
    Question("q2", "class_of", "coded", 4, ("1.1", "S3"), "5. The labels", class_of),
    Question("q3", "land", "computed", 3, ("1.1", "S2"), "5. The labels", land),
    Question("q4", "keep_scenes", "coded", 4, ("1.2", "S3"), "3. Find scenes and labels", keep_scenes),
    Question("q5", "longest_gap", "coded", 3, ("1.3",), "6. One pixel through the year, by hand", longest_gap),
    Question("q6", "scl_counts", "computed", 3, ("1.6", "S2"), "10. Ask the table", scl_counts),
    Question("q7", "layout", "reasoned", 2, ("1.4",), "9. Why byte strings?", layout),
    Question("q8", "rerun", "reasoned", 3, ("1.5", "S1"), "8. Run it with Spark", rerun),
)
