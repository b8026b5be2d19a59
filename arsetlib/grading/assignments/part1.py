"""Homework 1: from scenes and labels to the pixel table. Lab: part1_build_dataset.

A learner draws a box of the label raster, a year, an area of the pixel table, a limit of cloud cover and a list of
scenes.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from arsetlib import cdl
from arsetlib.grading.assignments import picked, shuffled
from arsetlib.grading.questions import Question, Wrong, array, close, equal, number, shown, table
from arsetlib.translation import N_, _

TITLE = N_("Homework 1: from scenes and labels to the pixel table")
YEARS = (2019, 2020, 2021)
LEFT, RIGHT, TOP, SIDE = 474_255, 475_515, 1_183_785, 30  # of the sample's label raster, EPSG:5070, and a pixel, m
LAND = ("class", "pixels", "hectares", "percent")
LEFT_OUT = "left out"  # what class_of returns

# Of each: what can be chosen, and why not; the first is right.
LAYOUTS = {
    N_("one row per pixel and year, its series as byte strings"): "",
    N_("one row per observation, to be sorted when a model asks"): (
        N_("A model asks for seasons, so every reading would sort all observations of all pixels")
    ),
    N_("one row per pixel, the images of all years in one series"): (
        N_("Next year another crop grows in the field, so a row would have several labels")
    ),
    N_("one file per pixel and year, its series as typed lists"): (
        N_("Millions of files, and every number decoded on its own: both are slow")
    ),
}
LAYOUT_REASONS = {
    N_("A model asks for a pixel's season, which is then stored in one piece, and reading it only copies memory."): "",
    N_("Compressed on disk, byte strings take a small part of the space of typed lists."): (
        N_("Section 9 of the lab measured it: compressed, their sizes on disk are similar")
    ),
    N_("Byte strings know their own type and byte order, so nobody can misread them."): (
        N_("They contain neither: the wrong order gives wrong numbers and no error")
    ),
    N_("A pixel carries the same crop in every year, so its years belong together."): (
        N_("Crops rotate: next year another crop often grows there")
    ),
}
RERUN_REASONS = {
    N_("Finished chunks are kept on disk, and a failed read stops the job, since zeros would look like data."): "",
    N_("A failed read becomes zeros, which mean 'no data' and do no harm."): (
        N_("Nobody would see the gap: a failed read is an error")
    ),
    N_("Spark keeps the finished chunks in memory until the session ends."): (
        N_("Then they would be lost if the session crashed. Look in the folder where they are")
    ),
    N_("Pixels are drawn at random, so chunks of two runs do not fit together."): (
        N_("The draw takes its seed from the study, so two runs draw the same pixels")
    ),
}


def reruns(chunks: int, done: int) -> dict[str, str]:
    """What the same call may do after a stop, and why not."""
    return {
        _("It makes the {n} chunks that are missing; then the table gets its final name.").format(n=chunks - done): "",
        _("It makes all {chunks} chunks again.").format(chunks=chunks): _(
            "Exercise 4 of the lab shows how many chunks were there already"
        ),
        _("It makes the one chunk that failed; then the table is complete."): (
            _("The job stopped after {done} of {chunks} chunks, so more than one is missing").format(
                done=done, chunks=chunks
            )
        ),
        _("It finds the {done} chunks and gives them back as the table.").format(done=done): (
            _("A table that has its final name is complete, and this one is not complete")
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
    hint = _("Lab 1, section 5: a pixel of 30 m × 30 m is 0.09 ha, and 1 ha is 10,000 m²")
    small = np.array([[1, 1, 5], [1, 5, 5], [0, 1, 3]], np.uint8)
    for code, side_m, expected in ((1, 30, 0.36), (5, 30, 0.27), (3, 30, 0.09), (5, 10, 0.03)):
        value = number(
            ask(small, code, side_m),
            hint=_("Return hectares(codes, {code}, {side_m}) as a number").format(code=code, side_m=side_m),
        )
        if abs(value - expected) < 1e-9:
            continue
        pixels = int((small == code).sum())
        more = hint
        if value == pixels:
            more = _("That is the number of pixels. {hint}").format(hint=hint)
        elif side_m != 30 and abs(value - pixels * 0.09) < 1e-9:
            more = _("Did you write 30 m into the function? Use side_m")
        elif abs(value - pixels * side_m**2) < 1e-6:
            more = _("That is in square metres. {hint}").format(hint=hint)
        raise Wrong(
            _(
                "Expected {expected:g} ha for {pixels} pixels of code {code} that are {side_m} m wide, received "
                "{value:g}. {more}."
            ).format(expected=expected, pixels=pixels, code=code, side_m=side_m, value=value, more=more)
        )
    equal(number(ask(small, 24, 30)), 0, of=_("the hectares of a code that the raster does not hold"))


def class_of(ask, hw) -> None:
    classes, excluded = legend(hw.study)
    hint = _("Lab 1, section 5")
    for code, expected in {1: "corn", 3: "rice", 190: "uncultivated", 21: "cultivated", 227: "cultivated",
                           229: "cultivated"}.items():  # fmt: skip
        value = ask(code, classes, excluded)
        if not isinstance(value, str) or value != expected:
            more = (
                _(
                    "Lettuce and Pumpkins have codes between those of double crops, but are no double crops. {hint}"
                ).format(hint=hint)
                if code > 226
                else hint
            )
            raise Wrong(
                _("Expected class_of({code}, …), {crop}, to be {expected!r}, received {value}. {more}.").format(
                    code=code, crop=cdl.name(code), expected=expected, value=shown(value), more=more
                )
            )
    for code in (26, 241, 0):
        equal(
            ask(code, classes, excluded),
            LEFT_OUT,
            of=_("class_of({code}, …), an excluded code,").format(code=code),
            hint=hint,
        )
    refuses(ask, (199, classes, excluded), _("a code that is in no class and not excluded, 199,"))


def refuses(ask, args: tuple, what: str) -> None:
    """The learner's function must raise a ValueError for these arguments."""
    try:
        value = ask(*args)
    except Wrong as wrong:
        kind, _colon, said = wrong.error.partition(":")
        if kind == "ValueError" and str(args[0]) in said:
            return
        if kind == "ValueError":
            raise Wrong(
                _("Expected the ValueError for {what} to name the code in its message, received: {said}").format(
                    what=what, said=said.strip() or "''"
                )
            ) from None
        if not wrong.error:
            raise Wrong(
                _("Expected {name} to raise a ValueError for {what} and not to end without one: {wrong}").format(
                    name=ask.name, what=what, wrong=wrong
                )
            ) from None
        raise Wrong(
            _("Expected {name} to raise a ValueError for {what} but {wrong}").format(
                name=ask.name, what=what, wrong=wrong
            )
        ) from None
    raise Wrong(
        _(
            "Expected {name} to raise a ValueError for {what} received {value}. An unknown code is no class. "
            "Write `raise ValueError(…)`. Lab 1, section 5."
        ).format(name=ask.name, what=what, value=shown(value))
    )


def land(answer, hw) -> None:
    hint = _("Lab 1, section 5")
    found = table(answer, LAND, hint=hint)
    codes = own_codes(hw)
    number_of = hw.study.legend.classes_of(codes.ravel().astype(int))
    expected = {hw.study.legend.keys[k]: int(n) for k, n in Counter(number_of[number_of >= 0].tolist()).items()}
    total = sum(expected.values())
    names = [str(name) for name in found["class"]]
    for name in names:
        if name == LEFT_OUT or name not in hw.study.legend.keys:
            raise Wrong(
                _("Expected rows of classes alone, received {name}. Excluded codes are not counted. {hint}.").format(
                    name=shown(name), hint=hint
                )
            )
    if len(set(names)) < len(names):
        raise Wrong(
            _("Expected one row for each class, received several of {name}. {hint}.").format(
                name=shown(max(names, key=names.count)), hint=hint
            )
        )
    missing = sorted(set(expected) - set(names))
    if missing:
        raise Wrong(
            _("Expected a row for each class that occurs in your box, {missing!r} has none. {hint}.").format(
                missing=missing[0], hint=hint
            )
        )
    own = _("Is it your box, your year, and the whole class? Use class_of for every code. {hint}").format(hint=hint)
    wide = _("Your label pixels are 30 m wide; do not round. {hint}").format(hint=hint)
    share = _("Percent, 0 to 100, of the {total} pixels of your box that have a class; do not round. {hint}").format(
        total=total, hint=hint
    )
    for name, row in zip(names, found.itertuples(index=False), strict=True):
        pixels = expected.get(name, 0)
        for column, value, unit, more in (
            ("pixels", pixels, _("pixels"), own),
            ("hectares", pixels * 0.09, "ha", wide),
            ("percent", 100 * pixels / total, "%", share),
        ):
            received = number(
                getattr(row, column), hint=_("It is in the column {column} of {name}").format(column=column, name=name)
            )
            close(received, value, unit=_("{unit} of {name}").format(unit=unit, name=name), hint=more)


def keep_scenes(ask, hw) -> None:
    hint = _("Lab 1, section 3")
    few = [
        {"id": "a1", "day": 100, "tile": "15SXT", "satellite": "S2A", "cloud": 10, "processing": 1},
        {"id": "a2", "day": 100, "tile": "15SXT", "satellite": "S2A", "cloud": 12, "processing": 2},
        {"id": "b1", "day": 100, "tile": "15SYT", "satellite": "S2A", "cloud": 30, "processing": 1},
        {"id": "c1", "day": 105, "tile": "15SXT", "satellite": "S2B", "cloud": 31, "processing": 1},
        {"id": "d1", "day": 100, "tile": "15SYT", "satellite": "S2B", "cloud": 3, "processing": 2},
    ]
    _kept_right(ask(few, 30), few, 30, _("a list of five"), hint)
    limit = hw.draw["max_cloud"]
    _kept_right(ask(hw.draw["scenes"], limit), hw.draw["scenes"], limit, _("your list"), hint)


def _kept_right(kept, scenes: list[dict], limit: float, which: str, hint: str) -> None:
    """Say which id is wrong in what a learner kept, and why."""
    if not isinstance(kept, list | tuple | set | np.ndarray) or not all(isinstance(i, str) for i in kept):
        raise Wrong(
            _("Expected a list of ids (texts) for {which}, received {kept}. {hint}.").format(
                which=which, kept=shown(kept), hint=hint
            )
        )
    by_id, kept = {s["id"]: s for s in scenes}, [str(i) for i in kept]
    for name in kept:
        if name not in by_id:
            raise Wrong(
                _("Expected ids of {which}, received {name}. {hint}.").format(which=which, name=shown(name), hint=hint)
            )
        if kept.count(name) > 1:
            raise Wrong(
                _("Expected each id once, received {name} {count} times for {which}. {hint}.").format(
                    name=shown(name), count=kept.count(name), which=which, hint=hint
                )
            )
    for scene in scenes:
        image = [s for s in scenes if all(s[k] == scene[k] for k in ("day", "tile", "satellite"))]
        newest = scene["processing"] == max(s["processing"] for s in image)
        there, name = scene["id"] in kept, scene["id"]
        if there and not newest:
            raise Wrong(
                _(
                    "For {which}: {name} is there, though the list holds a newer processing of that image. {hint}."
                ).format(which=which, name=name, hint=hint)
            )
        if there and scene["cloud"] > limit:
            raise Wrong(
                _("For {which}: {name} is there with {cloud} % cloud; the limit is {limit} %. {hint}.").format(
                    which=which, name=name, cloud=scene["cloud"], limit=limit, hint=hint
                )
            )
        if not there and newest and scene["cloud"] <= limit:
            raise Wrong(
                _(
                    "For {which}: {name} is missing. It is the newest processing of its image and has {cloud} % "
                    "cloud, at most {limit} %. An image is named by day, tile and satellite together. {hint}."
                ).format(which=which, name=name, cloud=scene["cloud"], limit=limit, hint=hint)
            )


def longest_gap(ask, hw) -> None:
    hint = _("Lab 1, section 6")
    for day, scl, drop, expected, why in (
        ([3, 8, 13, 40], [4, 4, 5, 4], [], 27, _("nothing is dropped; from day 13 to day 40 are 27 days")),
        (
            [3, 8, 13, 40],
            [4, 9, 9, 4],
            [8, 9],
            37,
            _("days 8 and 13 are cloud and are dropped; 37 days remain"),
        ),
        ([3, 8, 13, 40], [3, 4, 4, 10], [3, 10], 5, _("shadow and cirrus are dropped; days 8 and 13 remain")),
        ([3, 8], [9, 4], [9], 0, _("one observation is left, which has no gap")),
    ):
        value = number(ask(np.array(day), np.array(scl), drop), hint=hint)
        if value != expected:
            raise Wrong(
                _(
                    "Expected longest_gap({day}, {scl}, {drop}) to be {expected}, received {value:g}: {why}. {hint}."
                ).format(day=day, scl=scl, drop=drop, expected=expected, value=value, why=why, hint=hint)
            )
    day, scl = own_series(hw)
    left = np.unique(day[(scl != 3) & (scl != 10)].astype(int))
    close(number(ask(day, scl, [3, 10]), hint=hint), int(np.diff(left).max()), unit=_("days for your pixel"), hint=hint)


def own_series(hw) -> tuple[np.ndarray, np.ndarray]:
    """Days (N,) and scene classes (N,) of the learner's pixel."""
    from arsetlib import pixels

    day, scl, _bands = pixels.series(hw.table, hw.draw["row"])
    return day, scl


def scl_counts(answer, hw) -> None:
    hint = _("Lab 1, sections 6 and 10")
    area, year = hw.draw["area"], hw.draw["table_year"]
    if type(answer).__module__.startswith("pandas") and hasattr(answer, "to_dict"):
        answer = _two_columns(answer) if hasattr(answer, "columns") else answer.to_dict()
    if isinstance(answer, list | tuple | np.ndarray) and len(answer) == 12:  # at position k the count of class k
        answer = dict(enumerate(array(answer).tolist()))
    if not isinstance(answer, dict):
        raise Wrong(
            _("Expected a dict, scene class → number of observations, received {answer}. {hint}.").format(
                answer=shown(answer), hint=hint
            )
        )
    try:
        found = {int(key): number(value) for key, value in answer.items()}
    except (TypeError, ValueError):
        raise Wrong(
            _("Expected the numbers of scene classes as keys, such as 4, received {answer}. {hint}.").format(
                answer=shown(list(answer)), hint=hint
            )
        ) from None
    frame = hw.table.select(["area", "year", "scl"]).to_pandas()
    mine = frame[(frame["area"] == area) & (frame["year"] == year)]
    expected = Counter(b"".join(mine["scl"]))
    if sum(found.values()) == len(mine):
        raise Wrong(
            _("Expected observations to be counted, received {count} in all: the number of rows. {hint}.").format(
                count=len(mine), hint=hint
            )
        )
    more = _("Count all observations of {area} in {year} and no others; in scl each is one byte. {hint}").format(
        area=area, year=year, hint=hint
    )
    for value in sorted(set(expected) | {k for k, n in found.items() if n}):
        close(
            found.get(value, 0),
            expected.get(value, 0),
            unit=_("observations of class {value}").format(value=value),
            hint=more,
        )


def _two_columns(frame) -> dict:
    if frame.shape[1] != 2:
        raise Wrong(
            _("Expected two columns, scene class and count, received {names}.").format(
                names=", ".join(map(str, frame.columns))
            )
        )
    return dict(zip(frame.iloc[:, 0].tolist(), frame.iloc[:, 1].tolist(), strict=True))


def layout(answer, hw) -> None:
    picked(answer, hw.draw["layouts"], LAYOUTS, hw.draw["layout_reasons"], LAYOUT_REASONS, _("Lab 1, sections 7 and 9"))


def rerun(answer, hw) -> None:
    options = reruns(hw.draw["chunks"], hw.draw["done"])
    picked(answer, hw.draw["reruns"], options, hw.draw["rerun_reasons"], RERUN_REASONS, _("Lab 1, section 8"))


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
