"""Learning objectives: what a learner can do after the course, and where it is taught, practised and asked.

They are listed in `objectives.toml`; each `Question` names its own objectives.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib import resources

from arsetlib.grading.homework import ASSIGNMENTS, open_homework

__all__ = ["Objective", "load", "questions_by_objective"]


@dataclass(frozen=True)
class Objective:
    """One objective.

    Attributes:
        key: "S1" to "S5" for the whole series, else part and number: "1.1", "A.3".
        can: Ends the sentence "A learner can …".
        sections: Sections of labs that teach it; "part1 8" is section 8 of Lab 1.
        exercises: Exercises of labs; "part1 4" is Exercise 4 of Lab 1.
        predicts: Sections of labs with a *Predict* question about it.
    """

    key: str
    can: str
    sections: tuple[str, ...]
    exercises: tuple[str, ...] = ()
    predicts: tuple[str, ...] = ()


def load() -> dict[str, Objective]:
    """Key → objective, in the order of the course."""
    text = (resources.files("arsetlib.grading") / "objectives.toml").read_text(encoding="utf-8")
    objectives = {}
    for key, row in tomllib.loads(text).items():
        lists = {name: tuple(value) for name, value in row.items() if name != "can"}
        objectives[key] = Objective(key, row["can"], **lists)
    return objectives


def questions_by_objective() -> dict[str, list[str]]:
    """Objective → the questions that ask for it, such as "part1.q3"."""
    questions: dict[str, list[str]] = {key: [] for key in load()}
    for assignment in ASSIGNMENTS:
        for question in open_homework(assignment, "anyone").questions:
            for key in question.objectives:
                questions.setdefault(key, []).append(f"{assignment}.{question.key}")
    return questions
