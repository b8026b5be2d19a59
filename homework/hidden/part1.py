"""Hidden checks of homework 1: other pixel sizes, another legend, empty lists, one observation, another seed.

The truth is computed here in another way than in the public checks and in the solutions.
"""

import numpy as np

from arsetlib.grading.assignments import part1
from arsetlib.grading.questions import Wrong, choice, number, shown, table
from arsetlib.translation import _


def hectares(ask, hw):
    rng = hw.rng("hidden hectares")
    codes = rng.choice([0, 1, 2, 5, 24, 190, 254], (70, 90)).astype(np.uint8)
    for side_m, raster in ((10, codes), (30, codes.astype(np.int16)), (56, codes[:0]), (30, codes[:1])):
        for code in (1, 2, 254, 99):
            expected = sum(int(v) == code for v in raster.ravel()) * side_m * side_m / 10_000
            value = number(ask(raster, code, side_m))
            if abs(value - expected) > 1e-9:
                raise Wrong(_(
"Expected {expected:g} ha of code {code} in a raster of shape {shape} with pixels of {side_m} m, "
"received {value:g}."
).format(expected=expected, code=code, shape=raster.shape, side_m=side_m, value=value))  # fmt: skip


def class_of(ask, hw):
    legends = (
        ({"maize": [1, 12], "wet": [3], "winter crops": [21, 24, 27], "bare": []}, [5, 26]),
        ({"rice": [3], "all else": [1, 2, 5, 199, 226]}, []),
        ({}, [7]),
    )
    for classes, excluded in legends:
        for code in (1, 3, 5, 7, 12, 21, 24, 26, 199, 226, 2):
            expected = part1.LEFT_OUT if code in excluded else next((k for k, v in classes.items() if code in v), None)
            if expected is None:
                part1.refuses(
                    ask,
                    (code, classes, excluded),
                    _("code {code} of another legend, which does not know it,").format(code=code),
                )
            elif not isinstance(value := ask(code, classes, excluded), str) or value != expected:
                raise Wrong(_(
"Expected class_of({code}, {classes}, {excluded}) to be {expected!r}, received {value}. Take "
"classes and exclusions from the arguments."
).format(code=code, classes=classes, excluded=excluded, expected=expected, value=shown(value)))  # fmt: skip


def land(answer, hw):
    classes, excluded = part1.legend(hw.study)
    codes = [int(code) for code in part1.own_codes(hw).ravel()]
    kept = [code for code in codes if code not in excluded]
    found = table(answer, part1.LAND)
    seen = 0
    for name, pixels, hectares, percent in found.itertuples(index=False):
        count = sum(code in classes[str(name)] for code in kept)
        seen += count
        expected = (count, count * 900 / 1e4, 100 * count / len(kept))
        if not np.allclose([float(pixels), float(hectares), float(percent)], expected, rtol=1e-6):
            raise Wrong(
                _("Expected pixels, hectares and percent of {name} to be {expected}, received {row}.").format(
                    name=name, expected=expected, row=(pixels, hectares, percent)
                )
            )
    if seen != len(kept):
        raise Wrong(
            _("Expected all {count} pixels with a class in the table, received {seen}.").format(
                count=len(kept), seen=seen
            )
        )


def keep_scenes(ask, hw):
    rng = hw.rng("hidden scenes")
    if list(ask([], 50)):
        raise Wrong(_("Expected no ids for an empty list of scenes."))
    for turn in range(6):
        limit = int(rng.integers(0, 90))
        scenes = part1.scene_list(rng, limit)
        if turn % 2:  # names that say nothing of the image, and the oldest last
            scenes = [
                s | {"id": f"scene-{k:02d}"} for k, s in enumerate(sorted(scenes, key=lambda s: -s["processing"]))
            ]
        newest = {}
        for scene in sorted(scenes, key=lambda s: s["processing"]):
            newest[scene["day"], scene["tile"], scene["satellite"]] = scene
        expected = sorted(s["id"] for s in newest.values() if s["cloud"] <= limit)
        received = ask(scenes, limit)
        if not isinstance(received, list | tuple | set | np.ndarray) or sorted(map(str, received)) != expected:
            raise Wrong(
                _("Expected, with at most {limit} % cloud, {expected}, received {received}.").format(
                    limit=limit, expected=expected, received=received
                )
            )


def longest_gap(ask, hw):
    rng = hw.rng("hidden gaps")
    cases = [([], [], [9]), ([18_700], [4], []), ([18_700, 18_760], [8, 9], [8, 9]), ([60_000, 60_200], [4, 4], [])]
    for size in (2, 5, 30):
        day = np.sort(rng.choice(np.arange(17_900, 18_250), size, replace=False))
        cases.append((day, rng.integers(2, 12, size), rng.choice(np.arange(2, 12), 4, replace=False).tolist()))
        cases.append((day, rng.integers(2, 12, size), []))
    for day, scl, drop in cases:
        last, expected = None, 0
        for when, value in zip(day, scl, strict=True):
            if value not in drop:
                expected = expected if last is None else max(expected, int(when) - last)
                last = int(when)
        value = number(ask(np.array(day, np.uint16), np.array(scl, np.uint8), drop))
        if value != expected:
            raise Wrong(_(
"Expected of {count} observations, classes {drop} dropped, a longest gap of {expected} days, "
"received {value:g}."
).format(count=len(day), drop=drop, expected=expected, value=value))  # fmt: skip


def scl_counts(answer, hw):
    part1.scl_counts(answer, hw)
    if isinstance(answer, dict) and any(number(value) < 0 for value in answer.values()):
        raise Wrong(_("Expected counts, received a number below 0."))


def layout(answer, hw):
    part1.layout(answer, hw)


def rerun(answer, hw):
    letter, digit = choice(answer, "abcd", "1234")
    left = hw.draw["chunks"] - hw.draw["done"]
    if (
        f" {left} " not in hw.drawn("en")["reruns"][letter]
        or "kept on disk" not in hw.drawn("en")["rerun_reasons"][digit]
    ):
        raise Wrong(_("Expected the {left} chunks that are missing, and why.").format(left=left))


HIDDEN = {
    "q1": hectares, "q2": class_of, "q3": land, "q4": keep_scenes, "q5": longest_gap, "q6": scl_counts,
    "q7": layout, "q8": rerun,
}  # fmt: skip
