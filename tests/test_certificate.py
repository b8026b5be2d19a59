"""Certificates: who gets one, what it looks like, and that not one byte of it can be changed."""

import csv
import json
import os
import stat
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from arsetlib.cli import app
from arsetlib.grading import certificate, certificate_pdf, keys, marking
from arsetlib.grading.grades import GradeError, Learner, write_csv
from arsetlib.grading.homework import ASSIGNMENTS
from arsetlib.grading.keys import CertificateError

TODAY = date(2026, 11, 21)
OF = {"part1": 24, "part2": 25, "part3": 28, "part4": 24, "groves": 22, "fields": 20}


def write_grades(path: Path, learners: dict[str, dict[str, int]]) -> Path:
    """Name → assignment → points, as a CSV of arset grade."""
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.DictWriter(file, ["submission", "learner", "assignment", "q1", "total", "of", "reason", "log"])
        rows.writeheader()
        for name, points in learners.items():
            for key, got in points.items():
                row = {"submission": f"{name}/{key}.ipynb", "learner": name, "assignment": key, "total": got}
                rows.writerow(row | {"of": OF[key]})
    return path


FULL = {key: of - 2 for key, of in OF.items()}


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("keys") / "mine"
    keys.make(folder, date(2031, 12, 31), "Universitat Politècnica", today=TODAY)
    return folder


@pytest.fixture(scope="module")
def issued(tmp_path_factory, pair) -> Path:
    """The PDF of a signed certificate; its JSON lies beside it."""
    work = tmp_path_factory.mktemp("issued")
    grades = write_grades(work / "grades.csv", {"Ada Lovelace": FULL})
    (path,) = certificate.issue(grades, work / "out", key=keys.load(pair), day=TODAY)
    return path


def public(pair: Path) -> keys.PublicKey:
    return keys.load_public(pair / keys.PUBLIC)


# --- who passes -------------------------------------------------------------------------------------------------------


def test_a_certificate_needs_the_pass_mark_in_every_assignment(tmp_path):
    low = FULL | {"groves": 13}  # of 22: 59.1 %
    just = FULL | {"fields": 12}  # of 20: 60 %
    some = {key: 20 for key in ASSIGNMENTS[:5]}
    learners = {"Low": low, "Just": just, "Some": some, "your name": FULL, "": FULL}
    done, missing = certificate.passed([write_grades(tmp_path / "grades.csv", learners)])
    assert {one.name for one in done} == {"Just"}
    assert {one.name: what for one, what in missing.items()} == {
        "Low": "groves has 13 of 22",
        "Some": "not handed in: fields",
    }


def test_a_course_of_three_parts_is_a_course_and_its_certificate_names_them(tmp_path, pair):
    parts = ("part1", "part2", "part3")
    grades = write_grades(tmp_path / "grades.csv", {"Ada": {key: FULL[key] for key in parts}})
    (page,) = certificate.issue(grades, tmp_path / "out", key=keys.load(pair), day=TODAY, assignments=parts)
    said = certificate.verify(page, public(pair), TODAY)
    assert list(said["points"]) == list(parts)
    assert said["total"] == [sum(FULL[key] for key in parts), sum(OF[key] for key in parts)]
    run = CliRunner().invoke(app, ["certificate", "verify", str(page), "--key", str(pair / keys.PUBLIC)])
    assert "It covers 3 of the 6 assignments of the course:\n  part1: 22 of 24\n  part2: 23 of 25\n" in run.output
    with pytest.raises(CertificateError, match=r"Expected assignments of part1, .*unknown is part9"):
        certificate.issue(grades, tmp_path / "out", assignments=("part1", "part9"))
    for twice in ("part1,part1", "part1,,part2", ","):
        run = CliRunner().invoke(app, ["certificate", "issue", str(grades), "--self-study", "--assignments", twice])
        assert "each once" in str(run.exception), twice


@pytest.mark.parametrize(
    ("keys_", "lang", "says"),
    [
        (ASSIGNMENTS, "en", "has completed the course"),
        (ASSIGNMENTS[:3], "en", "has completed 3 of the 6 assignments of the course"),
        (ASSIGNMENTS[:1], "es", "ha completado 1 de las 6 tareas del curso"),
    ],
)
def test_a_certificate_says_on_its_page_what_it_covers(keys_, lang, says):
    one = certificate.Certificate("Ada", lang, TODAY, {key: (FULL[key], OF[key]) for key in keys_})
    assert one.covers == says
    assert certificate_pdf.draw(one, "").startswith(b"%PDF")


def test_two_learners_of_one_name_get_two_certificates(tmp_path):
    marks = [
        marking.Mark(f"{id}/{key}.ipynb", "Ana García", key, {"q1": got}, OF[key], id=id)
        for id in ("s1", "s2")
        for key, got in FULL.items()
    ]
    write_csv(tmp_path / "grades.csv", marks)
    pages = certificate.issue(tmp_path / "grades.csv", tmp_path / "out", day=TODAY)
    assert len(set(pages)) == 2
    assert all(page.name.startswith("ana-garcía-") for page in pages)
    assert len(certificate.issue(tmp_path / "grades.csv", tmp_path / "one", day=TODAY, learner="s2")) == 1


def test_the_better_submission_counts_and_files_are_taken_together(tmp_path):
    one = write_grades(tmp_path / "one.csv", {"Ada  Lovelace": FULL | {"part1": 3}})
    two = write_grades(tmp_path / "two.csv", {"Ada Lovelace ": {"part1": 24}})
    done, _ = certificate.passed([one, two])
    assert done[Learner("Ada Lovelace")]["part1"] == (24, 24)
    assert certificate.passed([one])[0] == {}


def test_what_could_not_be_graded_is_no_pass(tmp_path):
    grades = write_grades(tmp_path / "grades.csv", {"Ada": FULL})
    text = grades.read_text(encoding="utf-8").replace(",groves,,20,22,", ",groves,,0,0,")
    grades.write_text(text, encoding="utf-8")
    assert certificate.passed([grades]) == ({}, {Learner("Ada"): "groves could not be graded and counts as 0"})
    with pytest.raises(CertificateError, match="over 0 and up to 100"):
        certificate.issue(grades, tmp_path / "out", pass_mark=0)


def test_a_name_that_a_spreadsheet_would_run_is_read_back(tmp_path):
    grades = write_grades(tmp_path / "grades.csv", {"'=Ada": FULL, "'\uff1dBo": FULL, "'Cy": FULL})
    assert {one.name for one in certificate.passed([grades])[0]} == {"=Ada", "\uff1dBo", "'Cy"}


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "learner,assignment,total,of\nAda,part1,many,24\n"])
def test_a_file_that_is_no_csv_of_grades_is_named(tmp_path, text):
    path = tmp_path / "other.csv"
    path.write_text(text)
    message = "Nobody has 60 %" if not text else r"Expected .*other\.csv as arset grade writes it"
    with pytest.raises((CertificateError, GradeError), match=message):
        certificate.issue(path, tmp_path / "out")


# --- what it says -----------------------------------------------------------------------------------------------------


def test_both_files_verify_and_say_the_same(issued, pair):
    found = certificate.verify(issued, public(pair), TODAY)
    assert found == certificate.verify(issued.with_suffix(".json"), public(pair), TODAY)
    assert found["name"] == "Ada Lovelace"
    assert found["course"] == "Crop maps at scale"
    assert (found["date"], found["total"]) == ("2026-11-21", [sum(FULL.values()), sum(OF.values())])
    assert found["issuer"] == "Universitat Politècnica"


def test_the_same_certificate_is_the_same_bytes_in_another_process():
    one = certificate.Certificate("Ñandú Ωmega", "es", TODAY, dict.fromkeys(OF, (3, 4)))
    code = (
        "import sys; from datetime import date; from arsetlib.grading import certificate, certificate_pdf\n"
        f"one = certificate.Certificate('Ñandú Ωmega', 'es', date(2026, 11, 21), {dict.fromkeys(OF, (3, 4))!r})\n"
        "sys.stdout.buffer.write(certificate_pdf.draw(one, 'ab-cd'))"
    )
    environment = os.environ | {"PYTHONHASHSEED": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True)
    assert done.stdout == certificate_pdf.draw(one, "ab-cd")


@pytest.mark.parametrize("lang", ["en", "es"])
@pytest.mark.parametrize(
    "name",
    ["Bo", "María de los Ángeles Fernández-Villaverde y Gutiérrez de la Concha " * 2, "Владимир Вернадский", "$x$ & _"],
)
def test_a_page_is_one_sheet_with_its_fonts_in_it(lang, name):
    one = certificate.Certificate(" ".join(name.split()), lang, TODAY, dict.fromkeys(OF, (3, 4)), "Uni")
    body = certificate_pdf.draw(one, "ab-cd")
    assert body.count(b"/Type /Page ") + body.count(b"/Type /Page\n") == 1
    assert b"/FontFile2" in body
    assert b"Type3" not in body


def test_a_letter_that_the_font_lacks_is_an_error_and_no_box(tmp_path, pair):
    grades = write_grades(tmp_path / "grades.csv", {"陳景潤": FULL})
    with pytest.raises(CertificateError, match=r"no letter '陳' \(CJK UNIFIED IDEOGRAPH-9673\).*--font.*--shown-as"):
        certificate.issue(grades, tmp_path / "out", key=keys.load(pair), day=TODAY)
    assert not (tmp_path / "out").exists()
    (path,) = certificate.issue(
        grades, tmp_path / "out", key=keys.load(pair), day=TODAY, learner="陳景潤", shown_as="Chen Jingrun"
    )
    assert certificate.verify(path, public(pair), TODAY)["name"] == "Chen Jingrun"


def test_joined_letters_are_refused_where_matplotlib_cannot_join_them(monkeypatch):
    import matplotlib as mpl

    one = certificate.Certificate("محمد", "en", TODAY, dict.fromkeys(OF, (3, 4)))
    monkeypatch.setattr(mpl, "__version__", "3.10.8")
    with pytest.raises(CertificateError, match=r"from version 3\.11 on, here is 3\.10\.8"):
        certificate_pdf.draw(one, "")


def test_a_self_study_certificate_says_that_it_proves_nothing(tmp_path, pair):
    grades = write_grades(tmp_path / "grades.csv", {"Ada": FULL})
    (path,) = certificate.issue(grades, tmp_path, day=TODAY)
    for file in (path, path.with_suffix(".json")):
        with pytest.raises(CertificateError, match="self-study certificate: nobody has signed it"):
            certificate.verify(file, public(pair), TODAY)


# --- what cannot be changed -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [".pdf", ".json"])
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_one_changed_byte_fails(kind, issued, pair, tmp_path, data):
    held = bytearray(issued.with_suffix(kind).read_bytes())
    # As many changes near the end, where the signature is, as anywhere.
    at = data.draw(st.one_of(st.integers(0, len(held) - 1), st.integers(max(0, len(held) - 1600), len(held) - 1)))
    held[at] ^= data.draw(st.integers(1, 255))
    changed = tmp_path / f"changed{kind}"
    changed.write_bytes(held)
    with pytest.raises(CertificateError):
        certificate.verify(changed, public(pair), TODAY)


@pytest.mark.parametrize("kind", [".pdf", ".json"])
def test_bytes_put_in_or_cut_off_fail(kind, issued, pair, tmp_path):
    held = issued.with_suffix(kind).read_bytes()
    for changed in (held + b"\n", held[:-1], b" " + held, held[: len(held) // 2], held + held, b""):
        (tmp_path / "changed").write_bytes(changed)
        with pytest.raises(CertificateError):
            certificate.verify(tmp_path / "changed", public(pair), TODAY)


def test_more_points_in_the_json_written_anew_fail(issued, pair, tmp_path):
    what = json.loads(issued.with_suffix(".json").read_text(encoding="utf-8"))
    what["points"]["part1"] = [24, 24]
    (tmp_path / "better.json").write_bytes(keys.canonical(what))
    with pytest.raises(CertificateError, match="the signature does not fit"):
        certificate.verify(tmp_path / "better.json", public(pair), TODAY)


def test_the_page_of_one_with_the_signature_of_another_fails(issued, pair, tmp_path):
    grades = write_grades(tmp_path / "grades.csv", {"Bob": FULL})
    (bob,) = certificate.issue(grades, tmp_path, key=keys.load(pair), day=TODAY)
    body, _ = certificate._split(bob.read_bytes(), bob)
    _, signed = certificate._split(issued.read_bytes(), issued)
    (tmp_path / "mixed.pdf").write_bytes(body + certificate._comment(body, signed))
    with pytest.raises(CertificateError, match="its page is not the one"):
        certificate.verify(tmp_path / "mixed.pdf", public(pair), TODAY)


def test_what_is_said_of_a_forged_file_is_safe_for_a_terminal(issued, pair, tmp_path):
    held = json.loads(issued.with_suffix(".json").read_bytes())
    (tmp_path / "x.json").write_bytes(keys.canonical(held | {"key": "\x1b[2JGood: Ada"}))
    with pytest.raises(CertificateError, match=r"another key \(\?+") as problem:
        certificate.verify(tmp_path / "x.json", public(pair))
    assert str(problem.value).isprintable()


def test_another_key_and_an_expired_one_fail_with_the_reason(issued, pair, tmp_path):
    other = keys.load_public(keys.make(tmp_path / "other", date(2031, 12, 31), today=TODAY))
    with pytest.raises(CertificateError, match="signed with another key"):
        certificate.verify(issued, other, TODAY)
    assert certificate.verify(issued, public(pair), date(2031, 12, 31))
    with pytest.raises(CertificateError, match="key expired on 2031-12-31"):
        certificate.verify(issued, public(pair), date(2032, 1, 1))


def test_an_expired_key_signs_nothing(tmp_path):
    keys.make(tmp_path / "short", date(2026, 11, 30), today=TODAY)
    grades = write_grades(tmp_path / "grades.csv", {"Ada": FULL})
    with pytest.raises(CertificateError, match="valid from 2026-11-21 to 2026-11-30, not on 2026-12-01"):
        certificate.issue(grades, tmp_path, key=keys.load(tmp_path / "short"), day=date(2026, 12, 1))


# --- keys -------------------------------------------------------------------------------------------------------------


def test_a_private_key_is_its_owners_alone_and_never_written_over(pair, tmp_path):
    if os.name == "posix":
        assert stat.S_IMODE((pair / keys.PRIVATE).stat().st_mode) == 0o600
    with pytest.raises(CertificateError, match=r"private\.pem exists"):
        keys.make(pair, date(2031, 12, 31))
    with pytest.raises(CertificateError, match="in the future"):
        keys.make(tmp_path / "late", date(2020, 1, 1))


@pytest.mark.skipif(os.name != "posix", reason="rights of files are those of POSIX")
def test_a_private_key_that_others_can_read_is_not_used(tmp_path):
    keys.make(tmp_path / "open", date(2031, 12, 31), today=TODAY)
    (tmp_path / "open" / keys.PRIVATE).chmod(0o644)
    with pytest.raises(CertificateError, match="chmod 600"):
        keys.load(tmp_path / "open")


@pytest.mark.parametrize("mark", ["folder", "file"])
def test_no_key_goes_where_git_looks(tmp_path, mark):
    repository = tmp_path / "repository"
    (repository / "deep").mkdir(parents=True)
    if mark == "folder":
        (repository / ".git").mkdir()
    else:  # a work tree or a submodule
        (repository / ".git").write_text("gitdir: elsewhere\n")
    (tmp_path / "link").symlink_to(repository / "deep")
    for folder in (repository, repository / "deep" / "keys", tmp_path / "link" / "keys"):
        with pytest.raises(CertificateError, match="git work tree"):
            keys.make(folder, date(2031, 12, 31))
    assert not list(repository.rglob("*.pem"))


def test_a_public_key_with_another_last_day_is_noticed(pair, tmp_path):
    what = json.loads((pair / keys.PUBLIC).read_text(encoding="utf-8"))
    (tmp_path / "later.json").write_bytes(keys.canonical(what | {"until": "2099-12-31"}))
    with pytest.raises(CertificateError, match="changed after it was made"):
        keys.load_public(tmp_path / "later.json")


def test_no_private_key_is_in_this_repository():
    root = Path(__file__).resolve().parents[1]
    word = "PRIVATE" + " KEY-----"
    done = subprocess.run(["git", "grep", "-l", word], cwd=root, capture_output=True, text=True)
    assert done.stdout == ""


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_command_makes_a_key_issues_and_verifies(tmp_path):
    def run(*words):
        return CliRunner().invoke(app, ["certificate", *map(str, words)], catch_exceptions=True)

    grades = write_grades(tmp_path / "grades.csv", {"Ada Lovelace": FULL, "Bob": {"part1": 3}})
    assert run("key", tmp_path / "keys", "--until", "2099-12-31", "--issuer", "Uni").exit_code == 0
    made = run("issue", grades, "--key", tmp_path / "keys", "--lang", "es", "--out", tmp_path / "out")
    assert made.exit_code == 0, made.output
    assert "None for Bob: not handed in: part2" in made.output
    (path,) = (tmp_path / "out").glob("*.pdf")
    good = run("verify", path, "--key", tmp_path / "keys" / keys.PUBLIC)
    assert good.exit_code == 0
    assert good.output.startswith("Valid: Ada Lovelace, Mapas de cultivos a gran escala")
    assert "verify that, too" not in good.output
    alone = run("verify", path.with_suffix(".json"), "--key", tmp_path / "keys" / keys.PUBLIC)
    assert "A PDF that came with it may say something else: verify that, too." in alone.output
    path.write_bytes(path.read_bytes().replace(b"%PDF-1.4", b"%PDF-1.5"))
    assert isinstance(run("verify", path, "--key", tmp_path / "keys" / keys.PUBLIC).exception, CertificateError)
    assert isinstance(run("issue", grades).exception, CertificateError)
