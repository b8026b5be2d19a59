"""The homework's checks: right answers of any style pass, wrong ones fail with a message; masters say the points."""

import re

import pytest

from homework import run

MASTERS = run.ROOT / "homework" / "en"
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


@every_assignment
def test_a_master_says_the_points_of_each_question(assignment):
    text = (MASTERS / f"{assignment}.py").read_text(encoding="utf-8")
    said = [int(n) for n in re.findall(r"^# ## Question \d+ · .* \((\d+) points?\)$", text, re.MULTILINE)]
    assert said == [q.points for q in run.homework(assignment).questions]
