"""What instructors read: notes for each section, syllabuses whose minutes and objectives are those of the labs."""

import os
import re
import shutil
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from test_grading import data, needs_sandbox, solved, state  # noqa: F401 - a fixture

from arsetlib.grading import objectives

ROOT = Path(__file__).resolve().parents[1]
LABS = {
    "part1_build_dataset": "part1",
    "part2_load_data": "part2",
    "part3_train_and_test": "part3",
    "part4_defend_the_map": "part4",
    "case_groves": "groves",
    "case_fields": "fields",
}  # and the names of their homework
LANGUAGES = sorted(file.parent.name for file in ROOT.glob("book/*/teach_notes.md"))
each_language = pytest.mark.parametrize("language", LANGUAGES)
every_lab = pytest.mark.parametrize(
    ("language", "lab"),
    [(one, lab) for one in LANGUAGES for lab in LABS if (ROOT / "labs" / one / f"{lab}.py").exists()],
)
SECTIONS = r"(?:sections|secciones) (\d+)–(\d+)"
PAUSE = r"[Pp]aus[ea] (after|before|después de la|antes de la) (?:section|sección) (\d+)"


def source(language, lab):
    return (ROOT / "labs" / language / f"{lab}.py").read_text(encoding="utf-8")


def page(language, name):
    return (ROOT / "book" / language / f"{name}.md").read_text(encoding="utf-8")


def table_rows(text):
    """The cells of the rows of all tables, without heads."""
    lines = text.splitlines()
    rows = [line for line, after in zip(lines, [*lines[1:], ""], strict=True) if not after.startswith("|---")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows if re.match(r"\|(?!---)", row)]


def parts(language):
    """Lab → how the notes call it, and its part of them."""
    found = re.findall(
        rf"^## \[([^\]]+)\]\(\.\./\.\./labs/{language}/(\w+)\)\n(.*?)(?=^## |\Z)",
        page(language, "teach_notes"),
        re.MULTILINE | re.DOTALL,
    )
    return {lab: (name, text) for name, lab, text in found}


def notes(language, lab):
    """Heading → minutes, question, mistake."""
    return {row[0]: row[1:] for row in table_rows(parts(language)[lab][1])}


def minutes(language, lab, first, last):
    rows = notes(language, lab).items()
    return sum(int(row[0]) for heading, row in rows if first <= int(heading.split(".")[0]) <= last)


@each_language
def test_the_notes_have_a_part_for_each_lab_and_complete_rows(language):
    assert list(parts(language)) == list(LABS)
    for lab in LABS:
        assert all(len(row) == 3 and all(row) for row in notes(language, lab).values())


@every_lab
def test_each_section_of_a_lab_has_its_note_and_each_note_its_section(language, lab):
    assert list(notes(language, lab)) == re.findall(r"^# ## (\d+\. .+)$", source(language, lab), re.MULTILINE)


@every_lab
def test_the_minutes_of_the_sections_add_up_to_what_the_lab_states(language, lab):
    stated = re.search(r"\*\*(?:Time\.\*\* About|Tiempo\.\*\* Unos) (\d+) minut[eo]s", source(language, lab))
    assert minutes(language, lab, 1, 99) == int(stated[1])


@every_lab
def test_the_notes_put_the_pause_where_the_lab_has_it(language, lab):
    stated = re.search(PAUSE, source(language, lab))
    assert re.search(PAUSE, parts(language)[lab][1]).groups() == stated.groups()


@each_language
def test_each_half_of_a_lab_in_the_syllabuses_has_its_minutes_and_its_objectives(language):
    table, seen, syllabus = objectives.load(), set(), page(language, "syllabus")
    called = {name: lab for lab, (name, _) in parts(language).items()}
    for row in table_rows(syllabus):
        if not (found := re.fullmatch(rf"(.+), {SECTIONS}", row[1])):
            continue
        lab, first, last = called[found[1]], int(found[2]), int(found[3])
        taught = [
            key
            for key, objective in table.items()
            if not key.startswith("S")
            and any(s.split()[0] == LABS[lab] and first <= int(s.split()[1]) <= last for s in objective.sections)
        ]
        assert int(row[2]) == minutes(language, lab, first, last), row
        assert row[3].split(", ") == taught, row
        seen.add(lab)
    assert seen == set(LABS)
    said = re.findall(rf"{SECTIONS}\s+(?:take|llevan) (\d+)", syllabus)
    assert len(said) == 2
    for first, last, stated in said:
        assert minutes(language, "case_fields", int(first), int(last)) == int(stated)


@each_language
def test_sessions_of_four_weeks_fit_into_90_minutes(language):
    rows = [row for row in table_rows(page(language, "syllabus")) if re.match("Week|Semana", row[0])]
    assert len(rows) == 11
    assert all(int(row[2]) <= 90 for row in rows)


@each_language
@pytest.mark.parametrize("day", [1, 2])
def test_each_row_of_a_day_begins_where_the_one_before_ends(language, day):
    rows = table_rows(re.split(r"^### .+$", page(language, "syllabus"), flags=re.MULTILINE)[day])
    clock = [datetime.strptime(row[0], "%H:%M") for row in rows]
    lengths = [timedelta(minutes=int(row[2])) for row in rows]
    assert all(begin + length == after for begin, length, after in zip(clock, lengths, clock[1:], strict=False))
    assert clock[-1] + lengths[-1] <= datetime.strptime("17:00", "%H:%M")


# -- a class ------------------------------------------------------------------------------


def section_of_class(title):
    """A section of the page 'Run a class of 40'."""
    return next(part for part in page("en", "teach_class").split("\n## ") if part.startswith(title))


@each_language
def test_the_commands_of_a_class_are_the_same_in_each_language(language):
    """So the tests of the English page hold for all."""
    commands = [re.findall(r"```bash\n(.*?)```", page(one, "teach_class"), re.DOTALL) for one in ("en", language)]
    assert len({str([re.sub(r"--issuer \".*\"", "", block) for block in blocks]) for blocks in commands}) == 1


def test_four_learners_use_one_class_folder_at_once_and_nothing_in_it_changes(data, tmp_path):  # noqa: F811
    shared = tmp_path / "class"
    shutil.copytree(data, shared)
    for name in ("groves-toy", "fields-toy"):
        (shared / name).mkdir()
    before = state(shared)
    for folder in (shared, *(path for path in shared.rglob("*") if path.is_dir())):
        folder.chmod(0o555)
    share = re.findall(r"```bash\n(.*?)```", section_of_class("Prepare the data"), re.DOTALL)[1]
    use = "from arsetlib import lab; here = lab.place(); print(here.table().num_rows); (here.work / 'mine').touch()"
    learners = []
    for number in range(4):
        home = tmp_path / f"home{number}"
        home.mkdir()
        environment = os.environ | {"HOME": str(home), "CLASS": str(shared), "ARSET_DATA": str(home / "data")}
        environment["ARSET_SCALE"] = "small"
        environment["PYTHONPATH"] = str(ROOT)
        words = ["bash", "-euc", f'{share}\n"$0" -c "$1"', sys.executable, use]
        learners.append(subprocess.Popen(words, cwd=home, env=environment, stdout=subprocess.PIPE, text=True))
    assert [int(learner.communicate()[0]) for learner in learners] == [900] * 4
    for folder in (shared, *(path for path in shared.rglob("*") if path.is_dir())):
        folder.chmod(0o755)
    assert state(shared) == before


@needs_sandbox
def test_the_commands_from_an_empty_folder_to_certificates_work_as_the_page_has_them(data, tmp_path):  # noqa: F811
    """The page's own commands, for three learners, two of one name, and one assignment."""
    blocks = re.findall(r"```(\w+)\n(.*?)```", section_of_class("From an empty folder"), re.DOTALL)
    roster, course = (text for kind, text in blocks if kind in ("text", "toml"))
    key, hidden, learner, grade, verify = (text for kind, text in blocks if kind == "bash")
    people = [line.split(",") for line in roster.splitlines()[1:]]
    assert sorted(name for _, name in people) == ["Jürgen Weiß", "María Núñez", "María Núñez"]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"REPOSITORY": str(ROOT), "PATH": path}

    def type_in(commands, folder):
        words = ["bash", "-euc", commands]
        done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    type_in(key, tmp_path)
    folder = tmp_path / "course"
    (folder / "learners.csv").write_text(roster, encoding="utf-8")
    (folder / "course.toml").write_text(re.sub(r"\[assignments\.part[23]\]\n", "", course), encoding="utf-8")
    type_in(hidden, folder)
    assert "part1.ipynb" in type_in(learner.replace("part1 part2 part3", "part1").splitlines()[0], folder)
    for number, name in people:
        handed_in = folder / "submissions" / number / "part1.ipynb"
        handed_in.parent.mkdir(parents=True)
        handed_in.write_bytes(solved(name).replace(b'\\"part1\\"', f'\\"part1\\", id=\\"{number}\\"'.encode(), 1))
    shutil.copytree(data, folder / "data")  # else the sample is made, which takes a minute
    said = type_in(grade.replace("part1,part2,part3", "part1"), folder)
    assert "3 learners in gradebook.csv: 3 passed" in said
    assert len(list((folder / "certificates").glob("*.pdf"))) == 3
    assert type_in(verify, folder).count("Valid: ") == 3
