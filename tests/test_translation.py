"""The reader's language: how it is set, what is in the catalogues, and how translations are known to be stale."""

import ast
import sys
from datetime import date
from pathlib import Path

import jupytext
import numpy as np
import pytest
from babel.messages import mofile, pofile

import arsetlib
from arsetlib import cdl, translation
from arsetlib.grading import certificate_pdf
from arsetlib.study import Study, StudyError

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "book"))

import languages  # noqa: E402
import proofread  # noqa: E402
import translations  # noqa: E402


@pytest.fixture(autouse=True)
def no_language(monkeypatch):
    """Each test begins without a language, and leaves none behind."""
    monkeypatch.setenv(translation.VARIABLE, "")


def test_words_are_english_until_a_language_is_set():
    assert arsetlib.language() == "en"
    assert cdl.name(1) == "Corn"
    assert arsetlib.language("es") == "es"
    assert cdl.name(1) == "Maíz"
    arsetlib.language("en")
    assert cdl.name(1) == "Corn"


@pytest.mark.parametrize("code", ["es", "ES", "es_MX", "es-AR.UTF-8"])
def test_a_regional_code_stands_for_its_language(code, monkeypatch):
    monkeypatch.setenv(translation.VARIABLE, code)
    assert arsetlib.language() == "es"


def test_the_values_of_a_machine_without_a_language_are_english(monkeypatch):
    monkeypatch.setenv(translation.VARIABLE, "C.UTF-8")
    assert arsetlib.language() == "en"


@pytest.mark.parametrize("code", ["fr", "", "español", "../es", 3])
def test_an_unknown_language_is_refused_with_those_that_exist(code):
    with pytest.raises(translation.LanguageError, match="Expected a language of en, es, received"):
        arsetlib.language(code)


def test_the_language_of_a_study_is_used_where_none_is_set():
    text = (ROOT / "arsetlib" / "studies" / "sample.toml").read_text(encoding="utf-8")
    spanish = text.replace("[study]", '[study]\nlanguage = "es"', 1)
    study = Study.parse(spanish)
    assert (arsetlib.language(), study.title(), study.areas[0].title()) == ("es", "Delta simulado", "Recuadro 1")
    assert study.legend.names()[0] == "Sin cultivo en pie"
    assert study.fingerprint() == Study.parse(text).fingerprint()
    arsetlib.language("en")
    Study.parse(spanish)
    assert arsetlib.language() == "en"


def test_a_study_in_a_language_that_does_not_exist_is_refused():
    text = (ROOT / "arsetlib" / "studies" / "sample.toml").read_text(encoding="utf-8")
    with pytest.raises(StudyError, match=r"\[study\] language must be one of en, es, got 'xx'"):
        Study.parse(text.replace("[study]", '[study]\nlanguage = "xx"', 1))


def test_data_keep_the_english_names_of_codes():
    arsetlib.language("es")
    assert cdl.CODES[1].name == "Corn"
    assert cdl.code_of("Corn") == 1


def test_days_are_written_as_the_language_writes_them():
    day = date(2021, 7, 1)
    assert translation.day_text(day, "d MMM y") == "1 Jul 2021"
    arsetlib.language("es")
    assert translation.day_text(day, "d MMM y") == "1 jul 2021"


def test_a_language_whose_words_are_not_compiled_says_what_to_do(tmp_path, monkeypatch):
    (tmp_path / "xx" / "LC_MESSAGES").mkdir(parents=True)
    (tmp_path / "xx" / "LC_MESSAGES" / "arsetlib.po").touch()
    monkeypatch.setattr(translation, "FOLDER", tmp_path)
    arsetlib.language("xx")
    with pytest.raises(translation.LanguageError, match="make env"):
        cdl.name(1)


@pytest.fixture
def pseudo(tmp_path, monkeypatch):
    """A third language, in which each word stands in brackets."""
    catalogue = translations.template("arsetlib")
    for message in catalogue:
        if message.id:
            many = isinstance(message.id, tuple)
            message.string = tuple(f"[{one}]" for one in message.id) if many else f"[{message.id}]"
    folder = tmp_path / "xx" / "LC_MESSAGES"
    folder.mkdir(parents=True)
    (folder / "arsetlib.po").write_bytes(b"")
    with (folder / "arsetlib.mo").open("wb") as file:
        mofile.write_mo(file, catalogue)
    monkeypatch.setattr(translation, "FOLDER", tmp_path)
    arsetlib.language("xx")


def test_a_third_language_needs_a_catalogue_and_no_code(pseudo):
    assert translation.languages() == ["en", "xx"]
    assert {cdl.name(code) for code in cdl.CODES} == {f"[{one.name}]" for one in cdl.CODES.values()}
    assert certificate_pdf.words("xx")["course"] == "[Crop maps at scale]"
    assert languages.address("labs/en/part1", "en", "labs/xx/part1", "xx") == "../../xx/labs/xx/part1.html"
    assert languages.name_of("pt") == "Português"


# -- catalogues ------------------------------------------------------------------------------------------------------

CATALOGUES = [(domain, language) for domain in translations.DOMAINS for language in translations.languages()]
each_catalogue = pytest.mark.parametrize(("domain", "language"), CATALOGUES)


@each_catalogue
def test_every_word_is_translated_none_is_unused_and_placeholders_fit(domain, language):
    assert list(translations.word_problems(domain, language)) == []


@each_catalogue
def test_the_compiled_catalogue_has_the_words_of_its_source(domain, language):
    file = translations.catalogue_file(domain, language)
    with file.open("rb") as source, file.with_suffix(".mo").open("rb") as compiled:
        written, kept = pofile.read_po(source), mofile.read_mo(compiled)

    def words(catalogue):
        return sorted([list(np.atleast_1d(m.id)), list(np.atleast_1d(m.string))] for m in catalogue if m.id)

    assert words(written) == words(kept), "run: make env"


MARKS = {"_": 1, "N_": 1, "ngettext": 2}


def test_no_formatted_text_is_marked_for_a_catalogue():
    """``_(f"…")`` would never be found there."""
    for file in (ROOT / "arsetlib").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in MARKS:
                texts = node.args[: MARKS[node.func.id]]
                assert not any(isinstance(text, ast.JoinedStr | ast.BinOp) for text in texts), f"{file}:{node.lineno}"


def test_no_function_uses_the_mark_of_words_as_a_name_of_its_own():
    """``_, x = pair`` makes ``_("…")`` fail in the whole function."""

    def own(function):
        inner = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.FunctionDef, ast.Lambda)
        waiting = list(ast.iter_child_nodes(function))
        while waiting:
            node = waiting.pop()
            yield node
            waiting += [] if isinstance(node, inner) else ast.iter_child_nodes(node)

    for file in (ROOT / "arsetlib").rglob("*.py"):
        for function in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(function, ast.FunctionDef):
                named = any(
                    isinstance(n, ast.Name) and n.id == "_" and isinstance(n.ctx, ast.Store) for n in own(function)
                )
                calls = [n.func for n in ast.walk(function) if isinstance(n, ast.Call)]
                marks = any(isinstance(call, ast.Name) and call.id == "_" for call in calls)
                assert not (named and marks), f"{file}:{function.lineno} {function.name}"


@pytest.mark.parametrize(
    ("english", "forms", "problem"),
    [
        ("{n} rows", ("{n} filas",), None),
        ("{n} rows", ("{m} filas",), "other placeholders"),
        ("{n} rows", ("filas",), "other placeholders"),
        ("100 %{x}", ("100 {x}",), "other placeholders"),
        ("%{x|%-d %B}", ("%{x|%-d de %B}",), None),
        ("a <b>bold</b> word", ("una palabra",), "other placeholders or tags"),
        (("{n} row", "{n} rows"), ("{n} fila",), "expected 2 plural forms"),
        (("one row", "{n} rows"), ("una fila", "{n} filas"), None),
    ],
)
def test_a_translation_with_other_placeholders_tags_or_plurals_is_found(english, forms, problem):
    found = list(translations.form_problems(english, forms, 2))
    assert bool(found) == bool(problem)
    assert not problem or problem in found[0]


# -- labs, homework and pages ----------------------------------------------------------------------------------------


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A course of one lab and one page, in a folder of its own."""
    (tmp_path / "arsetlib" / "locale" / "es").mkdir(parents=True)
    (tmp_path / "book" / "en").mkdir(parents=True)
    (tmp_path / "labs" / "en").mkdir(parents=True)
    (tmp_path / "book" / "en" / "setup.md").write_text("# Set up\n\nInstall it.\n")
    kernel = "#     display_name: Python 3\n#     language: python\n#     name: python3\n"
    head = f"# ---\n# jupyter:\n#   kernelspec:\n{kernel}# ---\n\n"
    lab = '# %% [markdown]\n# # Lab\n\n# %%\nprint("rows", 3)\n'
    (tmp_path / "labs" / "en" / "part1.py").write_text(head + lab)
    monkeypatch.setattr(translations, "ROOT", tmp_path)
    for file in translations.english_files():
        translations.start(file, "es")
    assert list(translations.file_problems("es")) == []
    return tmp_path


def test_a_changed_english_cell_makes_its_translation_stale(course):
    lab = course / "labs" / "en" / "part1.py"
    lab.write_text(lab.read_text().replace('"rows"', '"all rows"'))
    assert list(translations.file_problems("es")) == ['labs/es/part1.py: stale: cell 2: print("all rows", 3)']
    spanish = course / "labs" / "es" / "part1.py"
    spanish.write_text(spanish.read_text().replace('"rows"', '"todas las filas"'))
    translations.accept(spanish)
    assert list(translations.file_problems("es")) == []
    assert [c.source for c in jupytext.read(spanish).cells] == ["# Lab", 'print("todas las filas", 3)']


def test_a_changed_english_page_makes_its_translation_stale(course):
    page = course / "book" / "en" / "setup.md"
    page.write_text("# Set up\n\nInstall it first.\n")
    assert list(translations.file_problems("es")) == ["book/es/setup.md: stale: the English page has changed"]
    spanish = course / "book" / "es" / "setup.md"
    translations.accept(spanish)
    assert list(translations.file_problems("es")) == []
    assert spanish.read_text().count("made_from") == 1


def test_a_translated_page_with_other_headings_code_or_addresses_is_named(course):
    spanish = course / "book" / "es" / "setup.md"
    spanish.write_text(spanish.read_text() + "\n## Otra\n\nUsa `arset help` de [aquí](there.md).\n")
    assert list(translations.file_problems("es")) == [
        "book/es/setup.md: headings differ from the English page: missing [], added ['##']",
        "book/es/setup.md: words in code differ from the English page: missing [], added ['`arset help`']",
        "book/es/setup.md: addresses differ from the English page: missing [], added [('there.md', '')]",
    ]


def test_missing_added_and_orphaned_translations_are_named(course):
    (course / "book" / "en" / "faq.md").write_text("# Questions\n")
    (course / "book" / "en" / "setup.md").unlink()
    lab = course / "labs" / "en" / "part1.py"
    lab.write_text(lab.read_text() + "\n# %%\nassert True\n")
    assert sorted(translations.file_problems("es")) == [
        "book/es/faq.md: missing",
        "book/es/setup.md: there is no such English file",
        "labs/es/part1.py: 2 cells, the English file has 3",
    ]


@pytest.mark.parametrize(
    ("english", "other", "same"),
    [
        ('print("rows", 3)', 'print("filas", 3)', True),
        ("a = 1  # one", "a = 1  # uno", True),
        ('f"{n} rows of {m}"', 'f"de {m}, {n} filas"', True),
        ('print("rows", 3)', 'print("filas", 4)', False),
        ("rows = 3", "filas = 3", False),
        ('f"{n:.2f} rows"', 'f"{n:.1f} filas"', False),
        ("a = 1", "a = 1\nassert a", False),
        ("%pip install x\na = 1", "%pip install x\na = 1", True),
    ],
)
def test_a_translated_cell_may_change_strings_and_comments_and_nothing_else(english, other, same):
    assert (translations.masked(english) == translations.masked(other)) == same


def test_a_translated_lab_with_other_code_is_named(course):
    spanish = course / "labs" / "es" / "part1.py"
    spanish.write_text(spanish.read_text().replace("3)", "4)"))
    assert list(translations.file_problems("es")) == ["labs/es/part1.py: cell 2: other code than the English cell"]


@pytest.mark.parametrize("language", translations.languages())
def test_no_translation_is_stale_or_has_other_code(language):
    """Files that are not translated yet are listed by `make translations`."""
    assert [one for one in translations.file_problems(language) if not one.endswith(": missing")] == []


# -- the proofreader -------------------------------------------------------------------------------------------------

has_dictionary = pytest.mark.skipif(
    not (proofread.DICTIONARIES / "es.dic").exists(), reason="no Spanish dictionary here: python book/vendor.py"
)


@has_dictionary
@pytest.mark.parametrize("language", translations.languages())
def test_a_proofreader_finds_nothing_to_correct(language):
    assert list(proofread.problems(language)) == []


@has_dictionary
@pytest.mark.parametrize(
    ("text", "marked"),
    [
        ("La exactitud global del mapa.", None),
        ("La precisión global del mapa.", "accuracy is"),
        ("Hay pérdida de datos.", "fuga de información"),
        ("Si tenés dudas, seguí.", "a form of «vos»"),
        ("Usted puede seguir.", "the reader is «tú»"),
        ("Un mapa con ruuido.", "not in the dictionary: ruuido"),
        ("El lote (*batch*) y `batch_size`, `{term}`.", None),
        ("```python\nthe_english = code\n```\n\nUna línea.", None),
        ("La percepción remota, o teledetección.", "choose one"),
        ("```{glossary}\ntérmino\n  Un errror, y `code`.\n```\n", "not in the dictionary: errror"),
        (":::{note}\n:class: some-class\nUn errror.\n:::\n", "not in the dictionary: errror"),
        (" ".join(["palabra"] * 36) + ".", "a sentence of 36 words"),
    ],
)
def test_a_proofreader_marks(text, marked, tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text(text, encoding="utf-8")
    monkeypatch.setattr(translations, "ROOT", tmp_path)
    rules = proofread.rules("es")
    monkeypatch.setattr(proofread, "ROOT", tmp_path)
    monkeypatch.setattr(proofread, "rules", lambda language: rules)
    found = list(proofread.problems("es", [page]))
    assert bool(found) == bool(marked)
    assert not marked or marked in found[0]


def test_a_proofreader_reads_what_code_prints_and_its_comments():
    code = '# how many\nprint(f"In total {n} rows were found")\nx = table["a b"]'
    assert sorted(proofread.code_texts(code)) == [" rows were found", "In total ", "how many"]
    assert proofread.is_program("import sys\nfor line in sys.stdin: print(line)")
    assert not proofread.is_program("Read the lines.\nPrint them.")


# -- the site --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("page", "here", "target", "language", "address"),
    [
        ("book/en/setup", "en", "book/es/setup", "es", "../../es/book/es/setup.html"),
        ("book/es/setup", "es", "book/en/setup", "en", "../../../book/en/setup.html"),
        ("search", "en", "book/es/index", "es", "es/book/es/index.html"),
        ("labs/es/part1", "es", "book/xx/index", "xx", "../../../xx/book/xx/index.html"),
    ],
)
def test_a_page_knows_where_it_is_in_another_language(page, here, target, language, address):
    assert languages.address(page, here, target, language) == address
