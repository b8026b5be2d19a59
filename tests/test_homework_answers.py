"""The homework's checks: right answers of any style pass, wrong ones fail with a message; masters say the points."""

import datetime
import math
import re

import numpy as np
import pandas as pd
import pytest
from sharing import learners_data

from homework import run

MASTERS = run.ROOT / "homework" / "en"
RAW_BRACES = re.compile(r"\{(?!['\"\d(}-]|np\.|True|False|None|nan)")  # a brace that begins neither a dict nor a set
HOSTILE = {
    "braces": "{x}", "no braces": "{}", "percent": "%s %(a)s", "empty": "", "long": "x" * 10_000, "bytes": b"\xff{",
    "dict": {}, "dicts": {"{a}": {"b": []}}, "set": {1, 2}, "list": [], "lists": [[1], [2, 3]], "deep": [[[[]]]],
    "tuple": ("a", 1), "nan": math.nan, "inf": -math.inf, "huge": 10**300, "yes": True,
    "day": datetime.date(2026, 1, 2),
    "array": np.array([]), "square": np.zeros((2, 2)), "texts": np.array(["{x}"]), "masked": np.ma.array([1]),
    "table": pd.DataFrame(), "odd table": pd.DataFrame({"{x}": ["a"], 3: [None]}), "series": pd.Series([1, None]),
    "object": object(), "type": dict, "nothing": None, "dots": ...,
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def data(toy, tmp_path_factory):
    """The sample, as the first homework of a learner makes it."""
    run.DATA = learners_data(toy, tmp_path_factory.mktemp("homework") / "data")


every_assignment = pytest.mark.parametrize("assignment", run.there())


@every_assignment
def test_each_question_has_enough_answers(assignment):
    answers = run.answers(assignment)
    questions = run.homework(assignment).questions
    assert list(answers.RIGHT) == list(answers.WRONG) == [q.key for q in questions]
    assert 5 <= len(questions) <= 8
    for question in questions:
        assert len(answers.RIGHT[question.key]) >= (3 if question.kind == "coded" else 1), question.key
        assert len(answers.WRONG[question.key]) >= 8, question.key


@every_assignment
@pytest.mark.parametrize("name", run.NAMES)
def test_right_answers_of_every_style_pass_for_every_learner(assignment, name):
    found = run.tried(run.homework(assignment, name), run.answers(assignment).RIGHT)
    assert [(t.question, t.answer, t.message) for t in found if t.by] == []


@every_assignment
def test_wrong_answers_fail_with_a_message(assignment):
    found = run.tried(run.homework(assignment), run.answers(assignment).WRONG)
    alive = [(t.question, t.answer) for t in found if not t.by]
    assert len(alive) <= 0.05 * len(found), alive
    assert all(len(t.message) > 20 for t in found if t.by)
    unread = [(t.question, t.answer, t.message) for t in found if "The check cannot read" in t.message]
    assert unread == []
    assert [t.message for t in found if RAW_BRACES.search(t.message)] == []


@every_assignment
def test_any_answer_has_one_short_message_without_raw_braces(assignment):
    hw = run.homework(assignment)
    answers = {name: (lambda hw, value=value: value) for name, value in HOSTILE.items()}
    functions = {name: (lambda hw, value=value: lambda *args: value) for name, value in HOSTILE.items()}
    made = {question.key: functions if question.kind == "coded" else answers for question in hw.questions}
    for t in run.tried(hw, made):
        assert t.by, (t.question, t.answer)
        assert 20 < len(t.message) < 1000, t
        assert "\n" not in t.message, t
        assert "The check cannot read" not in t.message, t
        assert not RAW_BRACES.search(t.message.replace("{x}", "").replace("{a}", "")), t


@every_assignment
def test_a_master_says_the_points_of_each_question(assignment):
    text = (MASTERS / f"{assignment}.py").read_text(encoding="utf-8")
    said = [int(n) for n in re.findall(r"^# ## Question \d+ · .* \((\d+) points?\)$", text, re.MULTILINE)]
    assert said == [q.points for q in run.homework(assignment).questions]
