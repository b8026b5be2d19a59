"""Homework: own numbers for each learner, checks that say what is wrong, grading, certificates.

    from arsetlib import grading

    hw = grading.start("part1", name="Ada Lovelace")      # own numbers, sample data
    grading.check("q3", answer)                           # right, or what is wrong in words

An answer is a variable or a function of a notebook, a check a function of that answer. The same check runs in the
learner's kernel and in the grader, where hidden checks with other data follow. NumPy is all that is imported here.

**An assignment** is a module of `arsetlib.grading.assignments`, named as its key, with

    from arsetlib.grading.questions import Question, close, number

    def draw(rng):                      # a learner's own numbers, from an own numpy Generator: plain values only
        return {"crop": str(rng.choice(["corn", "cotton"])), "year": int(rng.integers(2019, 2022))}

    def prepare(data):                  # only where hw.table and hw.study are not enough: make or find sample data in
        ...                             # the folder `data`, return what questions need; seen as hw.prepared

    def area_is_right(answer, hw):      # a public check: raise Wrong at the first problem, return nothing
        close(number(answer), expected_area(hw.table, **hw.draw), rel=1e-3, unit="ha", hint="Lab 1, section 10")

    QUESTIONS = (
        Question(key="q1", answer="corn_ha", kind="computed", points=2, objectives=("1.6",),
                 section="10. Ask the table", public=area_is_right),
    )

**A master** is `homework/en/<key>.py`, a notebook as jupytext py:percent with the marks of otter-grader. Its first code
cell holds `hw = grading.start("<key>", name="your name")`, a call with plain strings. A question is

    # %% [raw]
    # # BEGIN QUESTION
    # name: q1

    # %% [markdown]
    # ## Question 1 · …

    # %% [raw]
    # # BEGIN SOLUTION

    # %%
    corn_ha = hectares(...)  # SOLUTION

    # %% [raw]
    # # END SOLUTION

    # %% [raw]
    # # END QUESTION

`make homework` adds the rest: otter's settings, the points, the test cells, and a cell `check("q1", corn_ha)`.

**Hidden checks** are in `homework/hidden/<key>.py`: `HIDDEN = {"q1": area_generalises, …}`, each a function
`(answer, hw) -> None` like a public one, with other data or parameters. They may import the assignment's module.
"""

import lazy_loader

_HOMES = {
    "homework": (
        "ASSIGNMENTS",
        "Homework",
        "HomeworkError",
        "check",
        "open_homework",
        "read_start",
        "require",
        "start",
    ),
    "questions": ("Asked", "Question", "Result", "Wrong", "assess"),
}

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs=_HOMES)
