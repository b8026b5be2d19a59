"""Homework 3: count parameters, read a run, test by class and by date, estimate areas. Lab: part3_train_and_test.

In the notebook a random forest is trained on the sample's years 2020 and 2021 and tested on 2019.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from arsetlib.grading.assignments import picked
from arsetlib.grading.assignments.part3_draws import LATE, LATE_REASONS, SEARCH, SEARCH_REASONS, SIGNS, VERDICTS, draw
from arsetlib.grading.questions import Question, Wrong, array, close, equal, mapping, number, table
from arsetlib.translation import N_, _

if TYPE_CHECKING:
    import pandas as pd

    from arsetlib.grading.homework import Homework

__all__ = ["QUESTIONS", "TITLE", "draw", "predictions", "prepare"]

TITLE = N_("Homework 3: count parameters, read a run, test by class and by date, estimate areas")
SLIDES = {"steps": 20, "bands": 12, "kernels": 3, "width": 5, "pool": 5, "dense": 10, "classes": 6}
STARTS = (*range(1, 200, 15), 200)  # days of the year
TAUGHT, TESTED = (2020, 2021), 2019
SCORES = ("counts", "accuracy", "micro_f1", "macro_f1")
SEASON = ("start", "accuracy", "crops_accuracy", "constant")

# --- the learner's own run --------------------------------------------------------------------------------------------


def predictions(hw: Homework) -> pd.DataFrame:
    """Predictions of the learner's forest for the test: one row a pixel and window.

    Returns:
        DataFrame of ``start`` (first day of the window, day of the year), ``truth`` and ``predicted`` (numbers of
        ``hw.study.legend.classes``). Windows and images are fixed, so the same call gives the same rows.
    """
    return _forest(hw.draw["forest"], hw.prepared).copy()


class _Windows(tuple):
    """Arrays of windows, told apart by identity so that a cache can hold them."""

    __hash__, __eq__ = object.__hash__, object.__eq__


@lru_cache(maxsize=2)
def prepare(data: Path) -> tuple:
    """Windows of the sample, scaled by the training's statistics: (x, y, start) to learn from, and to be tested."""
    from arsetlib import lab, samples

    place = lab.place("simulated", data, small=True)
    study, rows = place.study, place.table()
    year = rows["year"].to_numpy()
    train = samples.Rows.of(rows.filter(np.isin(year, TAUGHT)))
    test = samples.Rows.of(rows.filter(year == TESTED))
    scaler = samples.Scaler.fit(train)

    def windows(side, starts):
        for start in starts:
            x, y = samples.Loader(side, study, scaler, start=start, batch=len(side)).batch(0, 0)
            yield x.reshape(len(x), -1), y.argmax(1), np.full(len(y), start)

    sides = (windows(train, range(1, 201, 15)), windows(test, STARTS))
    return _Windows(tuple(map(np.concatenate, zip(*side, strict=True))) for side in sides)


@lru_cache(maxsize=8)
def _forest(seed: int, windows: _Windows):
    import pandas as pd
    from sklearn.ensemble import RandomForestClassifier

    (x, y, _), (asked, truth, start) = windows
    forest = RandomForestClassifier(25, min_samples_leaf=5, max_features=24, random_state=seed, n_jobs=1).fit(x, y)
    return pd.DataFrame({"start": start, "truth": truth, "predicted": forest.predict(asked)})


def crops(study) -> list[int]:
    """Numbers of the classes that are one crop each."""
    from arsetlib.evaluation import single_crops

    return [study.legend.keys.index(key) for key in single_crops(study.legend)]


# --- what is true -----------------------------------------------------------------------------------------------------


def parameters(steps, bands, kernels, width, pool, dense, classes) -> int:
    """Parameters of the toy: convolution ('valid'), pooling, flatten, two dense layers."""
    places = (steps - width + 1) // pool
    return kernels * (width * bands + 1) + dense * (places * kernels + 1) + classes * (dense + 1)


def stop(losses, patience) -> tuple[int, int]:
    """(last epoch, best epoch), counted from 1."""
    best = 0
    for epoch, loss in enumerate(losses):
        if loss < losses[best]:
            best = epoch
        if epoch - best >= patience:
            break
    return epoch + 1, best + 1


def descended(slopes, rate, memory=0.9) -> float:
    """A parameter that begins at 0, after the steps of SGD with momentum."""
    place = move = 0.0
    for slope in slopes:
        move = memory * move - rate * slope
        place += move
    return place


def all_scores(truth, predicted, classes: int) -> dict:
    """Counts, rows = truth, and the scores made of them."""
    counts = np.zeros((classes, classes), int)
    np.add.at(counts, (np.asarray(truth, int), np.asarray(predicted, int)), 1)
    hits, there = np.diag(counts), counts.sum(0) + counts.sum(1)
    accuracy = hits.sum() / counts.sum()
    f1 = (2 * hits / there.clip(1))[there > 0]
    return dict(zip(SCORES, (counts, accuracy, accuracy, f1.mean()), strict=True))


def area(counts, mapped_ha, k) -> tuple[float, float, float]:
    """Hectares of class k with a 95 % interval (Olofsson et al. 2014)."""
    counts, mapped = np.asarray(counts, float), np.asarray(mapped_ha, float)
    sampled = counts.sum(0)
    share = counts[k] / sampled.clip(1)
    spread = mapped**2 * share * (1 - share) / (sampled - 1).clip(1)
    estimate, half = (mapped * share).sum(), 1.96 * np.sqrt(spread.sum())
    return float(estimate), float(max(estimate - half, 0)), float(estimate + half)


# --- public checks ----------------------------------------------------------------------------------------------------


def network(ask, hw) -> None:
    for shape in (SLIDES, SLIDES | {"steps": 24, "classes": 7}):
        counted(number(ask(**shape), whole=True, hint=_("Lab 3, section 2")), shape)


def counted(value: int, shape: dict) -> None:
    """Compare a number of parameters with the true one; a known mistake is named."""
    s, expected = shape, parameters(**shape)
    if value == expected:
        return
    places = (s["steps"] - s["width"] + 1) // s["pool"]
    constants = s["kernels"] + s["dense"] + s["classes"]
    slips = {
        expected - constants: _("That leaves out the constants: each kernel and each dense output has one"),
        parameters(**s | {"steps": s["steps"] + s["width"] - 1}): (
            _("With padding 'valid' a kernel stays inside the series: it fits at steps - width + 1 places")
        ),
        expected - s["dense"] * (places - 1) * s["kernels"]: _("Flatten keeps all places that pooling leaves"),
        parameters(**s | {"pool": 1}): _("Pooling leaves one place of every `pool`"),
        s["kernels"] * (s["width"] * s["bands"] + 1): _("That is the convolution alone"),
    }
    more = slips.get(
        value,
        _("Pooling leaves {places} places here, the rest is dropped; each holds one value a kernel").format(
            places=places
        ),
    )
    shown = ", ".join(f"{key}={n}" for key, n in shape.items())
    raise Wrong(
        _("Expected {expected} parameters for {shown}, received {value}. {more}. Lab 3, section 2.").format(
            expected=expected, shown=shown, value=value, more=more
        )
    )


def days(ask, hw) -> None:
    for stack, step_days, expected, why in (
        ([(5, 1)], 5, 25, _("one kernel of five steps, of five days each")),
        ([(5, 1), (5, 1)], 5, 45, _("the second kernel adds four steps to the five of the first")),
        ([(5, 1), (5, 1), (2, 2)], 5, 50, _("pooling by two adds one step")),
        ([(2, 2), (3, 1)], 1, 6, _("after a stride of 2 neighbours lie two steps apart, so a kernel of 3 adds four")),
    ):
        value = number(ask(stack, step_days), hint=_("Lab 3, section 3"))
        if value != expected:
            call = f"days_seen({stack}, {step_days})"
            raise Wrong(
                _("Expected {call} to be {expected}, received {value:g}: {why}. Lab 3, section 3.").format(
                    call=call, expected=expected, value=value, why=why
                )
            )


def first_step(answer, hw) -> None:
    given, draws = mapping(answer, ("loss", "sgd", "momentum"), hint=_("Lab 3, sections 4 and 5")), hw.draw
    share = draws["shares"][draws["truth"]]
    loss = number(given["loss"], hint=_("This is the loss. Lab 3, section 4"))
    if abs(loss + np.log(share)) > 2e-3:
        more = _("It looks at the share of the true class alone")
        if abs(loss + np.log10(share)) < 2e-3 or abs(loss + np.log2(share)) < 2e-3:
            more = _("Take the natural logarithm")
        more = _("No loss is below 0: check the sign") if loss < 0 else more
        raise Wrong(
            _("Expected another loss for the share {share}, received {loss:.4g}. {more}. Lab 3, section 4.").format(
                share=share, loss=loss, more=more
            )
        )
    rate, slopes = draws["rate"], draws["slopes"]
    for key, memory, words in (
        ("sgd", 0, _("Three steps of −rate × slope, from 0")),
        ("momentum", 0.9, _("Each time m = 0.9 m − rate × slope, and the place moves by m")),
    ):
        of = _("This is where {key} ends").format(key=key)
        value, expected = (
            number(given[key], hint=_("{of}. Lab 3, section 5").format(of=of)),
            descended(slopes, rate, memory),
        )
        more = _("A step goes against the slope") if abs(value + expected) < 1e-3 else words
        close(value, expected, tol=1e-3, hint=_("{of}. {more}. Lab 3, section 5").format(of=of, more=more))


def run(answer, hw) -> None:
    given = mapping(answer, ("best_epoch", "last_epoch", "saved_ms", "reading"), hint=_("Lab 3, sections 7 to 9"))
    held = hw.draw["run"]
    last, best = stop(held["val_loss"], held["patience"])
    value = number(given["best_epoch"], whole=True, hint=_("This is the best epoch, counted from 1"))
    if value != best:
        more = _("Go through the record epoch by epoch, and stop when `patience` epochs in a row were no better")
        if value == best - 1:
            more = _("Count epochs from 1")
        elif value == np.argmin(held["val_loss"]) + 1:
            more = _("That epoch comes after the stop: early stopping never saw it")
        elif value == np.argmin(held["loss"]) + 1:
            more = _("The validation loss decides, not the training loss")
        raise Wrong(
            _("Expected another best epoch, received {value}. {more}. Lab 3, section 7.").format(value=value, more=more)
        )
    value = number(given["last_epoch"], whole=True, hint=_("This is the last epoch, counted from 1"))
    if value != last:
        more = _("The best is {best}; training ends after {patience} epochs in a row that are no better").format(
            best=best, patience=held["patience"]
        )
        raise Wrong(
            _("Expected another last epoch, received {value}. {more}. Lab 3, section 7.").format(value=value, more=more)
        )
    device, factor = held["step_ms"]["device"], held["times_faster"]
    more = _(
        "A device {factor} times as fast needs 1/{factor} of its own {device} ms, and leaves the rest as it is"
    ).format(factor=factor, device=device)
    value = number(given["saved_ms"], hint=_("This is saved_ms. Lab 3, section 8"))
    close(
        value,
        device * (1 - 1 / factor),
        tol=0.02,
        unit=_("ms saved"),
        hint=_("{more}. Lab 3, section 8").format(more=more),
    )
    state = "over" if held["val_loss"][-1] - held["loss"][-1] > 0.5 else "under"
    why = _("Compare the two losses at the end of the record: their difference, and how high they are")
    verdicts, signs = ({t: "" if k == state else why for k, t in texts.items()} for texts in (VERDICTS, SIGNS))
    picked(given["reading"], hw.draw["verdicts"], verdicts, hw.draw["signs"], signs, _("Lab 3, section 9"))


def scores(ask, hw) -> None:
    scored(ask, np.array([0, 0, 1, 1, 1, 2]), np.array([0, 1, 1, 1, 0, 2]), 3, _("six samples"))
    scored(ask, np.array([0, 0, 0, 3]), np.array([0, 0, 1, 3]), 5, _("four samples without classes 2 and 4"))


def scored(ask, truth, predicted, classes: int, what: str) -> None:
    """Compare a learner's scores of some samples with the true ones."""
    hint = _("Lab 3, section 12")
    given = mapping(ask(truth, predicted, classes), SCORES, hint=hint)
    expected = all_scores(truth, predicted, classes)
    counts = array(given["counts"], shape=(classes, classes), of=_("the counts of {what}").format(what=what), hint=hint)
    turned = np.array_equal(counts.T, expected["counts"])
    more = _("Rows are the truth, columns the prediction") if turned else _("Count samples, and normalise nothing")
    equal(counts, expected["counts"], of=_("the counts of {what}").format(what=what), hint=f"{more}. {hint}")
    words = {
        "accuracy": _("The share of all samples that are right, 0 to 1"),
        "micro_f1": _("Add up TP, FP and FN of all classes, then 2 TP / (2 TP + FP + FN)"),
        "macro_f1": _("The mean F1 of the classes that truth or prediction has; one that neither has does not count"),
    }
    for key, more in words.items():
        value = number(given[key], hint=_("This is {key} of {what}. {hint}").format(key=key, what=what, hint=hint))
        equal(
            value,
            float(expected[key]),
            of=_("{key} of {what}").format(key=key, what=what),
            tol=1e-4,
            hint=f"{more}. {hint}",
        )


def by_start(answer, hw) -> None:
    hint = _("Lab 3, section 13")
    found = table(answer, SEASON, rows=len(STARTS), hint=_("One row for each start. {hint}").format(hint=hint))
    frame, four = predictions(hw), crops(hw.study)
    starts = [int(number(start, hint=_("This is a start. {hint}").format(hint=hint))) for start in found["start"]]
    if sorted(starts) != list(STARTS):
        raise Wrong(
            _("Expected the starts {expected}, received {starts}. {hint}.").format(
                expected=list(STARTS), starts=starts, hint=hint
            )
        )
    for start, row in zip(starts, found.itertuples(index=False), strict=True):
        part = frame[frame["start"] == start]
        right, crop = part["truth"] == part["predicted"], part["truth"].isin(four)
        for key, expected, words in (
            ("accuracy", right.mean(), _("The share, 0 to 1, of this start's samples that are right")),
            ("crops_accuracy", right[crop].mean(), _("Of samples whose truth is a crop, the share that is right")),
            ("constant", part["truth"].value_counts().max() / len(part), _("The share of the commonest true class")),
        ):  # fmt: skip
            of = _("This is {key} for the window from day {start}").format(key=key, start=start)
            close(number(getattr(row, key), hint=of), expected, tol=2e-3, hint=f"{of}. {words}. {hint}")


def claims(answer, hw) -> None:
    given, own = mapping(answer, ("late", "search"), hint=_('Such as {"late": ("a", 1), "search": ("b", 2)}')), hw.draw
    picked(given["late"], own["late"], LATE, own["late_reasons"], LATE_REASONS, _("Lab 3, section 13"))
    picked(given["search"], own["search"], SEARCH, own["search_reasons"], SEARCH_REASONS, _("Lab 3, section 10"))


def hectares(ask, hw) -> None:
    estimated(ask, np.array([[45, 10], [5, 40]]), np.array([9_000.0, 1_000.0]), 1, _("two classes with 50 visits each"))
    own = hw.draw["visits"]
    estimated(ask, np.array(own["counts"]), np.array(own["mapped_ha"]), own["class"], _("your visits"))


def estimated(ask, counts, mapped, k: int, what: str) -> None:
    """Compare an area and its interval with the true ones; a known mistake is named."""
    hint = _("Lab 3, section 19")
    value = array(ask(counts, mapped, k), shape=(3,), of="(estimate, low, high)", hint=hint).astype(float)
    expected = np.array(area(counts, mapped, k))
    share = counts[k] / counts.sum(0).clip(1)
    more = _("The share of class k among the visits to each mapped class, times that class's hectares, added up")
    slips = {
        mapped[k]: _("That is what the map counts"),
        (mapped * counts[:, k] / counts.sum(1).clip(1)).sum(): _(
            "Rows are the truth: divide by the sums of the columns"
        ),
        (mapped * counts[:, k] / counts.sum(0).clip(1)).sum(): _("Rows are the truth, columns what the map says"),
        counts[k].sum() / counts.sum() * mapped.sum(): _("That treats visits as spread evenly over the whole map"),
        mapped[k] * share[k]: _("What the map calls something else may be class k as well"),
    }
    if np.isclose(value[0], expected[0], rtol=2e-3):
        more = _("Half the interval is 1.96 × √ Σ hectares² × p (1 − p) / (visits − 1), over the mapped classes")
        more = _("No area is below 0") if value[1] < 0 else more
    else:
        more = next((words for slip, words in slips.items() if np.isclose(value[0], slip, rtol=2e-3)), more)
    if not np.allclose(value, expected, rtol=2e-3, atol=1e-6):
        wanted, came = (tuple(np.round(v, 1).tolist()) for v in (expected, value))
        raise Wrong(
            _("Expected area_with_interval for {what} to be {wanted}, received {came}. {more}. {hint}.").format(
                what=what, wanted=wanted, came=came, more=more, hint=hint
            )
        )


# The questions, in the order of the notebook.
QUESTIONS = (
    Question("q1", "toy_parameters", "coded", 3, ("3.1",), "2. A small network, by hand", network),
    Question("q2", "days_seen", "coded", 3, ("3.2",), "3. The padding trap", days),
    Question("q3", "first_step", "computed", 3, ("3.3",), "5. Optimisers", first_step),
    Question("q4", "run", "reasoned", 4, ("3.4", "3.5", "3.6"), "7. Train, and stop in time", run),
    Question("q5", "scores", "coded", 4, ("3.8",), "12. Which score?", scores),
    Question("q6", "by_start", "computed", 4, ("3.9", "3.11", "S2"), "13. When: accuracy by date", by_start),
    Question("q7", "claims", "reasoned", 3, ("3.7", "3.9", "S5"), "10. Hyper-parameters", claims),
    Question("q8", "area_with_interval", "coded", 4, ("3.10",), "19. Hectares", hectares),
)
