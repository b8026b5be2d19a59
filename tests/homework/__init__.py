"""Answers to the homework, right and wrong, one module per assignment: `answers_<key>.py`.

Each module holds two dicts of the same form, question → name of the answer → function of the `Homework` that gives it:

    RIGHT = {"q1": {"loop": lambda hw: hectares_by_loop, "numpy": lambda hw: hectares_by_numpy, "set": …}}
    WRONG = {"q1": {"pixels, not hectares": lambda hw: …, "one step too many": lambda hw: …, …}}

What such a function returns is what a learner's variable would hold: a value, or a function where code is asked. At
least one right answer a question, three in different styles where code is asked; at least eight wrong ones, each
named by its mistake. `run.py` tries them all.
"""
