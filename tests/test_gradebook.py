"""The gradebook: one row for each learner, rules for late work, exports, and who handed in what."""

import csv
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from arsetlib import cli
from arsetlib.grading import certificate, submission
from arsetlib.grading.gradebook import Course, GradebookEntry, gradebook
from arsetlib.grading.grades import GradeError, Learner, write_csv
from arsetlib.grading.marking import Mark

DUE = datetime(2026, 10, 5, 22, 0, tzinfo=UTC)
COURSE = """
name = "Autumn"
pass_percent = 60
[assignments.part1]
deadline = 2026-10-05T22:00:00Z
[assignments.part2]
[late]
percent_per_day = 10
last_day = 5
"""


def mark(name, assignment, points, *, id="", after=timedelta(0), of=24, reason="", file=""):
    file = file or f"{name}-{assignment}.ipynb"
    when = (DUE + after).isoformat()
    return Mark(file, name, assignment, {"q1": points} if of else {}, of, {}, reason, id=id, handed_in=when)


@pytest.fixture
def book(tmp_path):
    def made(*marks, course=COURSE, roster=None):
        write_csv(tmp_path / "grades.csv", list(marks))
        if roster:
            (tmp_path / "learners.csv").write_text(roster, encoding="utf-8")
            course = 'roster = "learners.csv"\n' + course
        (tmp_path / "course.toml").write_text(course, encoding="utf-8")
        return gradebook([tmp_path / "grades.csv"], Course.load(tmp_path / "course.toml"))

    return made


def rows_of(path: Path) -> list[dict]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("after", "days", "points"),
    [(0, 0, 20), (-5, 0, 20), (1 / 86400, 1, 18), (1, 1, 18), (1.01, 2, 16), (5, 5, 10), (5.01, 6, 0)],
)
def test_late_work_loses_points_for_each_day_begun_and_counts_0_after_the_last(book, after, days, points):
    entry = book(mark("Ada", "part1", 20, after=timedelta(days=after))).entries[Learner("Ada")]["part1"]
    assert (entry.days_late, entry.points) == (days, points)
    assert bool(entry.note) == (days > 0)


def test_the_better_one_after_lateness_counts(book):
    late = mark("Ada", "part1", 24, after=timedelta(days=4), file="late.ipynb")  # 14.4
    early = mark("Ada", "part1", 15, file="early.ipynb")
    assert book(late, early).entries[Learner("Ada")]["part1"].points == 15


def test_two_learners_of_one_name_stay_two(book):
    made = book(mark("Ana", "part1", 24, id="s1"), mark("Ana", "part1", 3, id="s2"), mark("Ana", "part2", 9, id="s2"))
    assert made.entries[Learner("Ana", "s1")]["part1"].points == 24
    assert made.entries[Learner("Ana", "s1")]["part2"] == GradebookEntry()
    assert made.entries[Learner("Ana", "s2")]["part2"].points == 9


def test_a_notebook_without_an_id_belongs_to_the_only_learner_of_its_name(book):
    made = book(mark("Ana", "part1", 24, id="s1"), mark("Ana", "part2", 20))
    assert {key: one.points for key, one in made.entries[Learner("Ana", "s1")].items()} == {"part1": 24, "part2": 20}
    made = book(mark("Ana", "part1", 24, id="s1"), mark("Ana", "part1", 2, id="s2"), mark("Ana", "part2", 20))
    assert len(made.entries) == 3


def test_a_broken_file_counts_as_handed_in_with_0_for_whom_its_path_names(book):
    broken = Mark("s7_Ada/part1.ipynb", reason="The file is broken", handed_in=DUE.isoformat())
    made = book(broken, roster="id,name\ns7,Ada\ns8,Bob\n")
    entry = made.entries[Learner("Ada", "s7")]["part1"]
    assert (entry.points, entry.note) == (0, "counts as handed in with 0: The file is broken")
    assert made.nobodys == {}
    assert made.entries[Learner("Bob", "s8")]["part1"].note == "not handed in"
    assert book(broken).nobodys == {"s7_Ada/part1.ipynb": "The file is broken"}


def test_what_is_handed_in_instead_of_a_notebook_is_found_and_what_lies_beside_one_is_not(tmp_path):
    there = ("s1/part1/part1.pdf", "s1/part2/part2.ipynb", "s1/part2/plots/a.png", "s2/part1.zip", "s2/notes.txt",
             "s3_part1.ipynb", "s4_part1.html", "learners.csv", "s5/part1/photo.heic", ".git/a.pdf")  # fmt: skip
    for name in there:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = [path.relative_to(tmp_path).as_posix() for path in submission.find(tmp_path)]
    assert found == ["s1/part1/part1.pdf", "s1/part2/part2.ipynb", "s2/part1.zip", "s3_part1.ipynb", "s4_part1.html",
                     "s5/part1/photo.heic"]  # fmt: skip


def test_a_path_names_nobody_who_has_no_id(book):
    broken = Mark("a__b/part1.ipynb", reason="The file is broken", handed_in=DUE.isoformat())
    made = book(broken, roster="id,name\n,Ada\ns8,Bob\n")
    assert made.nobodys == {"a__b/part1.ipynb": "The file is broken"}


def test_a_notebook_in_the_folder_of_another_learner_is_named_and_counts_for_whom_it_says(book):
    made = book(
        mark("Ada", "part1", 24, id="s7", file="s8/part1.ipynb"), mark("Ada", "part2", 20, id="s7", file="s7/p.ipynb"),
        roster="id,name\ns7,Ada\ns8,Bob\n",
    )  # fmt: skip
    said = "the notebook says Ada (s7), its path Bob (s8); it counts for Ada (s7)"
    assert made.doubts == {"s8/part1.ipynb": said}
    assert made.entries[Learner("Ada", "s7")]["part1"].points == 24


def test_certificates_by_a_course_file_agree_with_its_gradebook(book, tmp_path):
    late = timedelta(days=6)
    marks = [mark(name, key, 24, id=id) for name, id in (("Ada", "s7"), ("Eve", "s9")) for key in ("part1", "part2")]
    marks += [mark("Bob", "part1", 24, id="s8", after=late), mark("Bob", "part2", 24, id="s8")]
    marks += [mark("Dag", "part1", 18, id="s6", after=timedelta(days=1)), mark("Dag", "part2", 24, id="s6")]
    made = book(*marks, roster="id,name\ns6,Dag\ns7,Ada\ns8,Bob\n")
    done, missing = certificate.passed([tmp_path / "grades.csv"], course=made.course)
    assert (
        {one for one in made.entries if made.passed(one)} == set(done) == {Learner("Ada", "s7"), Learner("Dag", "s6")}
    )
    assert missing == {Learner("Bob", "s8"): "part1 has 0 of 24"}
    assert done[Learner("Dag", "s6")] == {"part1": (16, 24), "part2": (24, 24)}  # 16.2 is rounded down
    words = ["certificate", "issue", "grades.csv", "--self-study", "--course", "course.toml", "--out", "pages"]
    words = [str(tmp_path / word) if word in ("grades.csv", "course.toml", "pages") else word for word in words]
    assert CliRunner().invoke(cli.app, words).exit_code == 0
    assert len(list((tmp_path / "pages").glob("*.pdf"))) == 2
    assert "The file of --course says" in str(CliRunner().invoke(cli.app, [*words, "--pass-mark", "50"]).exception)


def test_who_is_not_in_the_roster_is_named_and_not_counted(book):
    made = book(mark("Eve", "part1", 24, id="s9"), roster="id;name\ns7;Ada\n")
    assert list(made.entries) == [Learner("Ada", "s7")]
    assert made.nobodys == {"Eve-part1.ipynb": "Eve (s9) is not in the roster"}


def test_canvas_gets_its_own_columns_and_moodle_id_numbers(book, tmp_path):
    made = book(mark("Ana García", "part1", 20, id="s1"), mark("Ana García", "part2", 22, id="s1"))
    made.write(tmp_path / "canvas.csv", "canvas")
    points, ana = rows_of(tmp_path / "canvas.csv")
    assert points == {"Student": "    Points Possible", "ID": "", "SIS User ID": "", "SIS Login ID": "", "Section": "",
                      "Part 1": "24", "Part 2": "28"}  # fmt: skip
    assert (ana["Student"], ana["SIS User ID"], ana["Part 1"], ana["Part 2"]) == ("Ana García", "s1", "20", "22")
    made.write(tmp_path / "moodle.csv", "moodle")
    assert rows_of(tmp_path / "moodle.csv") == [
        {"ID number": "s1", "Full name": "Ana García", "Part 1": "20", "Part 2": "22"}
    ]


def test_moodle_and_canvas_need_ids(book, tmp_path):
    with pytest.raises(GradeError, match="Canvas knows learners by their ID, and 1 have none, the first is Ada"):
        book(mark("Ada", "part1", 20)).write(tmp_path / "canvas.csv", "canvas")


def test_the_plain_form_says_who_passed_and_why_points_are_missing(book, tmp_path):
    book(
        mark("Ada", "part1", 24, after=timedelta(days=1)), mark("Ada", "part2", 25, of=28), mark("Bob", "part1", 24)
    ).write(tmp_path / "book.csv")
    ada, bob = rows_of(tmp_path / "book.csv")
    assert (ada["part1"], ada["part1_days_late"], ada["passed"]) == ("21.6", "1", "yes")
    assert ada["notes"] == "part1: 1 day late: 24 of 24 become 21.6"
    assert (bob["passed"], bob["notes"]) == ("no", "part2: not handed in")


@given(points=st.integers(0, 24), days=st.floats(0, 30), percent=st.floats(0, 100))
def test_lateness_never_adds_points_and_never_takes_more_than_all(points, days, percent):
    from arsetlib.grading import gradebook as books
    from arsetlib.grading.grades import Row

    course = Course("c", {"part1": DUE}, percent_per_day=percent)
    entry = books._entry(Row(Learner("A"), "part1", points, 24, "a", DUE + timedelta(days=days)), course)
    assert 0 <= entry.points <= points


@pytest.mark.parametrize(
    ("course", "says"),
    [
        ("", "expected a table for each assignment"),
        ("[assignments.part9]", "received part9"),
        ("[assignments.part1]\ndeadline = 2026-10-05", "with its offset"),
        ("[assignments.part1]\ndeadline = 2026-10-05T10:00:00", "with its offset"),
        ("[assignments.part1]\ndue = 1", r"expected deadline = … in \[assignments.part1\]"),
        ("grace = 1\n[assignments.part1]", "received 'grace'"),
        ("[assignments.part1]\n[late]\npercent_per_day = 200", "a number from 0 to 100, received 200"),
        ("[assignments.part1]\n[late]\nhours = 2", "received 'hours'"),
        ('roster = "none.csv"\n[assignments.part1]', "There is no roster"),
        ("[assignments", "to be a TOML file"),
    ],
)
def test_a_wrong_course_file_is_refused(tmp_path, course, says):
    (tmp_path / "course.toml").write_text(course)
    with pytest.raises(GradeError, match=says):
        Course.load(tmp_path / "course.toml")


def test_a_roster_with_one_learner_twice_is_refused(tmp_path):
    (tmp_path / "learners.csv").write_text("id,name\ns1,Ada\ns1,Ada\n")
    (tmp_path / "course.toml").write_text('roster = "learners.csv"\n[assignments.part1]\n')
    with pytest.raises(GradeError, match=r"has Ada \(s1\) twice"):
        Course.load(tmp_path / "course.toml")


def test_the_command_writes_the_book_and_names_what_does_not_count(tmp_path):
    write_csv(tmp_path / "g.csv", [mark("Ada", "part1", 20), Mark("odd.zip", reason="no notebook in it")])
    (tmp_path / "course.toml").write_text(COURSE)
    out = tmp_path / "book.csv"
    done = CliRunner().invoke(
        cli.app, ["gradebook", str(tmp_path / "g.csv"), "--course", str(tmp_path / "course.toml"), "--out", str(out)]
    )
    assert done.exit_code == 0, done.output
    assert "1 learners in" in done.output
    assert "not counted: odd.zip: no notebook in it" in done.output
    assert json.loads(json.dumps(rows_of(out)))[0]["learner"] == "Ada"


# --- course files and tables as people write them ---------------------------------------------------------------------

VALUES = ("3", "-1", "2.5", "nan", "inf", "true", '""', '"x"', '"../x"', "[]", "[1]", "{}", "{ a = 1 }",
          "{ deadline = 3 }",
          "2026-10-05", "10:00:00", "2026-10-05T10:00:00", "2026-10-05T10:00:00Z", "0001-01-01T00:00:00+14:00",
          "9999-12-31T23:59:59-12:00", '"' + "x" * 5000 + '"')  # fmt: skip
PLACES = ("name", "pass_percent", "roster", "timezone", "late", "assignments", "late.percent_per_day",
          "late.last_day", "late.other", "assignments.part1", "assignments.part1.deadline",
          "assignments.part1.other", "other")  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_every_key_of_a_course_file_with_any_value_is_used_or_refused_in_one_message(tmp_path, place):
    (tmp_path / "x").mkdir()  # a folder called like a roster
    write_csv(tmp_path / "grades.csv", [mark("Ada", "part1", 20, after=timedelta(days=400))])
    for value in VALUES:
        before = "" if place.startswith("assignments") else "\n[assignments.part1]\ndeadline = 2026-10-05T22:00:00Z\n"
        (tmp_path / "course.toml").write_text(f"{place} = {value}{before}")
        said = ""
        try:
            gradebook([tmp_path / "grades.csv"], Course.load(tmp_path / "course.toml")).write(tmp_path / "book.csv")
        except GradeError as problem:
            said = str(problem)
        assert not said or (said.endswith(".") and "\n" not in said)


def course_of(tmp_path, text: str) -> Course:
    (tmp_path / "course.toml").write_text(text)
    return Course.load(tmp_path / "course.toml")


ZONED = 'timezone = "Europe/Madrid"\n[assignments.part1]\ndeadline = {}\n[late]\npercent_per_day = 10\n'


@pytest.mark.parametrize(
    ("deadline", "utc"),
    [
        ("2026-10-05T23:59:00", "2026-10-05T21:59:00+00:00"),  # summer
        ("2026-12-05T23:59:00", "2026-12-05T22:59:00+00:00"),  # winter
        ("2026-10-25T02:30:00", "2026-10-25T01:30:00+00:00"),  # twice that night: the later one
        ("2026-10-05T23:59:00-05:00", "2026-10-06T04:59:00+00:00"),  # its own offset wins
    ],
)
def test_a_deadline_without_an_offset_is_in_the_time_zone_of_the_course(tmp_path, deadline, utc):
    course = course_of(tmp_path, ZONED.format(deadline))
    assert course.assignments["part1"].astimezone(UTC).isoformat() == utc


def test_a_clock_time_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(GradeError, match=r"2026-03-29 02:30:00, does not exist in Europe/Madrid"):
        course_of(tmp_path, ZONED.format("2026-03-29T02:30:00"))


@pytest.mark.parametrize(
    ("handed_in", "days"),
    [
        ("2026-10-24 23:59:00", 0),
        ("2026-10-24 23:59:01", 1),
        ("2026-10-25 23:59:00", 1),  # 25 hours later, since clocks went back
        ("2026-10-25 23:59:01", 2),
        ("2026-10-24T21:59:00+00:00", 0),
        ("2026-10-24T23:59:00-01:00", 1),
    ],
)
def test_a_day_late_ends_at_the_clock_time_of_the_deadline_also_when_clocks_change(tmp_path, handed_in, days):
    course = course_of(tmp_path, ZONED.format("2026-10-24T23:59:00"))
    (tmp_path / "g.csv").write_text(f"learner,assignment,total,of,handed_in\nAda,part1,20,24,{handed_in}\n")
    entry = gradebook([tmp_path / "g.csv"], course).entries[Learner("Ada")]["part1"]
    assert (entry.days_late, entry.points) == (days, 20 - 2 * days)


@given(st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1)), st.integers(1, 10**7))
def test_days_late_are_those_of_a_plain_count(deadline, seconds):
    from zoneinfo import ZoneInfo

    from arsetlib.grading import gradebook as books

    deadline = deadline.replace(tzinfo=ZoneInfo("Europe/Madrid"))
    handed_in = deadline.astimezone(UTC) + timedelta(seconds=seconds)
    ends = [(deadline + timedelta(days=day)).astimezone(UTC) for day in range(200)]
    assert books._days_begun(deadline, handed_in) == sum(end < handed_in for end in ends)


def test_a_time_without_a_time_zone_is_refused_with_what_to_write(tmp_path):
    (tmp_path / "g.csv").write_text(
        "submission,learner,assignment,total,of,handed_in\na,Ada,part1,2,24,2026-10-05 23:59\n"
    )
    course = course_of(tmp_path, COURSE)
    with pytest.raises(GradeError, match=r"a: handed_in is 2026-10-05 23:59:00, a time without a time zone.*\+02:00"):
        gradebook([tmp_path / "g.csv"], course)
    (tmp_path / "g.csv").write_text(
        "submission,learner,assignment,total,of,handed_in\na,Ada,part1,2,24,05/10/26 23:59\n"
    )
    with pytest.raises(GradeError, match=r"handed_in such as .* in line 2, received '05/10/26 23:59'"):
        gradebook([tmp_path / "g.csv"], course)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("first", ["", "sep"])
def test_rosters_and_grades_as_spreadsheets_write_them_are_read(tmp_path, encoding, separator, end, first):
    def write(name, *rows):
        lines = [f"sep={separator}"] * bool(first) + [separator.join(row) for row in rows] + [separator * 2, ""]
        (tmp_path / name).write_bytes(end.join(lines).encode(encoding))

    write("learners.csv", ("ID", " Name ", "Group"), ("s1", "Íñigo Núñez", "A"), ("s2", "José"))
    write("g.csv", ("learner", "id", "assignment", "total", "of"), ("Íñigo Núñez", "s1", "part1", "22.0", "24"))
    course = course_of(tmp_path, 'roster = "learners.csv"\n[assignments.part1]\n')
    assert course.roster == (Learner("Íñigo Núñez", "s1"), Learner("José", "s2"))
    assert gradebook([tmp_path / "g.csv"], course).entries[course.roster[0]]["part1"].points == 22


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "for each learner, found none"),
        ("id,name\n\n", "for each learner, found none"),
        ("id\ns1\n", "columns id and name, received id"),
        ("id,name\ns1,\n", "line 2: the ID s1 has no name"),
        ("id,name\ns1,Ada\ns1,Bob\n", r"has Ada \(s1\) twice"),
        ("id,name\n,Ada\n,Ada\n", "has Ada twice"),
        ("id,name\ns1,A\0da\n", "learners.csv"),
    ],
)
def test_a_wrong_roster_is_refused(tmp_path, text, says):
    (tmp_path / "learners.csv").write_text(text)
    with pytest.raises(GradeError, match=says):
        course_of(tmp_path, 'roster = "learners.csv"\n[assignments.part1]\n')


@pytest.mark.parametrize("points", ["22.5", "many", "-1", "nan", "1e999"])
def test_points_that_are_no_whole_number_are_named_with_their_line(tmp_path, points):
    (tmp_path / "g.csv").write_text(f"learner,assignment,total,of\nAda,part1,{points},24\n")
    with pytest.raises(GradeError, match=f"points as a whole number in line 2, received '{points}'"):
        gradebook([tmp_path / "g.csv"], course_of(tmp_path, COURSE))
