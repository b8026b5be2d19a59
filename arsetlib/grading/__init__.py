"""Homework: own numbers for each learner, checks that explain what is wrong, grading, certificates.

    from arsetlib import grading

    hw = grading.start("part1", name="Ada Lovelace")      # own numbers, sample data
    grading.check("q3", answer)                           # right, or what is wrong

An answer is a variable or a function of a notebook; a check is a function of that answer. The same check runs in the
learner's notebook and in the grader, which then also runs hidden checks with other data. Importing this package imports
NumPy and nothing larger.

**An assignment** is a module of `arsetlib.grading.assignments`, named like its key, with

    from arsetlib.grading.questions import Question, close, number

    TITLE = N_("Homework 1: …")         # `arset homework list` shows it

    def draw(rng):                      # the learner's own numbers, from a NumPy Generator: plain values only
        return {"crop": str(rng.choice(["corn", "cotton"])), "year": int(rng.integers(2019, 2022))}

    def prepare(data):                  # only if hw.table and hw.study are not enough: make or read sample data in
        ...                             # the folder `data`; what it returns is hw.prepared

    def area_is_right(answer, hw):      # a public check: raises Wrong at the first problem, returns nothing
        close(number(answer), expected_area(hw.table, **hw.draw), rel=1e-3, unit="ha", hint="Lab 1, section 10")

    QUESTIONS = (
        Question(key="q1", answer="corn_ha", kind="computed", points=2, objectives=("1.6",),
                 section="10. Ask the table", public=area_is_right),
    )

Texts for learners are marked for the catalogues, ``_("…")`` (`arsetlib.translation`): a check may run in any language,
and `shuffled` and `picked` translate choices. `hw.draw` has choices in the language in force, ``hw.drawn("en")`` those
in English.

**A master** is `homework/en/<key>.py`, a notebook as jupytext py:percent with the marks of otter-grader; its
translations are `homework/<language>/<key>.py`, with the same code. Its first code cell has the call `hw =
grading.start("<key>", name="your name")` with plain strings. A question is

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

`make homework` adds the rest: otter's settings, the points, the test cells and a cell `check("q1", corn_ha)`.

**Hidden checks** are in `homework/hidden/<key>.py`: `HIDDEN = {"q1": area_generalises, …}`, each a function
`(answer, hw) -> None` like a public check, with other data or parameters. They may import the assignment's module.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
