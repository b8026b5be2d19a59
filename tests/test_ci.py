"""Promises of what runs on servers: no credentials, every lane, the container, the versions of platforms."""

import importlib.util
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
WORKFLOWS = {file.stem: yaml.safe_load(file.read_text(encoding="utf-8")) for file in FILES}
LANES = ROOT / ".ci" / "lanes"

# Action → the first major that declares Node 24 in its action.yml; the runners have no Node 20 since September 2026.
# A major of `None` is not a program of Node.
WITH_NODE_24 = {
    "actions/checkout": 5,
    "actions/deploy-pages": 5,
    "actions/download-artifact": 7,
    "actions/setup-python": 6,
    "actions/upload-artifact": 6,
    "actions/upload-pages-artifact": 5,
    "astral-sh/setup-uv": 7,
    "pypa/gh-action-pypi-publish": None,
}

every_workflow = pytest.mark.parametrize("name", WORKFLOWS)


def load(path: Path):
    """A script of .ci as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


lanes = load(LANES / "lanes.py")


def steps(name: str) -> list[dict]:
    return [step for job in WORKFLOWS[name]["jobs"].values() for step in job["steps"]]


def commands(job: dict) -> list[str]:
    return [step["run"] for step in job["steps"] if "run" in step]


# -- workflows -------------------------------------------------------------------------------------------------------


def test_there_are_workflows_for_tests_services_the_site_and_releases():
    assert set(WORKFLOWS) == {"live", "pages", "release", "test"}


@every_workflow
def test_a_workflow_may_only_read_and_a_job_gets_no_more_than_it_needs(name):
    assert WORKFLOWS[name]["permissions"] == {"contents": "read"}
    extra = {job: set(settings.get("permissions", ())) for job, settings in WORKFLOWS[name]["jobs"].items()}
    needed = {"pages": {"deploy": {"pages", "id-token"}}, "release": {"publish": {"id-token"}}}.get(name, {})
    assert {job: more for job, more in extra.items() if more} == needed
    for job in needed:
        assert WORKFLOWS[name]["jobs"][job]["environment"], "a person may have to approve it"
        assert not commands(WORKFLOWS[name]["jobs"][job]), "no code of this repository runs with these rights"


@every_workflow
def test_no_workflow_holds_or_asks_for_a_credential(name):
    text = (ROOT / ".github" / "workflows" / f"{name}.yml").read_text(encoding="utf-8")
    assert not re.search(r"secrets\.|github\.token|GITHUB_TOKEN|password:|api[-_]?key", text, re.IGNORECASE)
    for step in steps(name):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False
    assert "pull_request_target" not in text


@every_workflow
def test_no_text_that_a_stranger_can_set_stands_in_a_command(name):
    for step in steps(name):
        assert not re.search(r"\$\{\{(?!\s*matrix\.)", step.get("run", "")), "take it from the environment"


@every_workflow
def test_no_action_is_a_program_of_node_20(name):
    for step in steps(name):
        if "uses" in step:
            action, _, version = step["uses"].partition("@")
            first = WITH_NODE_24[action]
            assert version == "release/v1" if first is None else int(version.removeprefix("v")) >= first, step["uses"]


@every_workflow
def test_every_job_has_an_end_in_time_and_a_fixed_system(name):
    for job in WORKFLOWS[name]["jobs"].values():
        assert 0 < job["timeout-minutes"] <= 90
        assert re.fullmatch(r"ubuntu-\d\d\.\d\d", job["runs-on"])


@every_workflow
def test_uv_is_that_of_the_project_and_its_downloads_are_kept_except_in_a_release(name):
    fixed = re.search(r'^UV = "uv==(.+)"$', (ROOT / ".ci" / "get_uv.py").read_text(encoding="utf-8"), re.MULTILINE)[1]
    for step in steps(name):
        if step.get("uses", "").startswith("astral-sh/setup-uv@"):
            assert step["with"]["version"] == fixed
            assert step["with"]["enable-cache"] is (name != "release"), "what another run left must not reach a release"


def test_servers_run_the_core_and_every_lane():
    jobs = WORKFLOWS["test"]["jobs"]
    assert commands(jobs["core"]) == [".ci/run core"]
    assert commands(jobs["lane"]) == ["make lane-${{ matrix.lane }}"]
    assert jobs["lane"]["strategy"]["matrix"]["lane"] == list(lanes.LANES)


def test_what_is_published_was_built_and_checked_by_the_job_before():
    jobs = WORKFLOWS["release"]["jobs"]
    assert WORKFLOWS["release"][True] == {"push": {"tags": ["v*"]}}  # YAML reads the word `on` as true
    assert commands(jobs["build"]) == ['make dist TAG="$GITHUB_REF_NAME"']
    assert jobs["publish"]["needs"] == "build"
    kept = next(step["with"] for step in jobs["build"]["steps"] if "upload-artifact" in step.get("uses", ""))
    taken = next(step["with"] for step in jobs["publish"]["steps"] if "download-artifact" in step["uses"])
    assert kept["name"] == taken["name"]
    assert taken["path"] == "dist", "where the publishing action looks"


def test_dependabot_looks_after_packages_actions_and_the_container():
    settings = yaml.safe_load((ROOT / ".github" / "dependabot.yml").read_text(encoding="utf-8"))
    assert {entry["package-ecosystem"] for entry in settings["updates"]} == {"uv", "github-actions", "docker"}


# -- lanes -----------------------------------------------------------------------------------------------------------


def test_every_lane_has_its_turn_within_as_many_days_as_there_are_in_the_rotation(monkeypatch):
    import datetime

    class Day(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2026, 3, 1, tzinfo=tz) + datetime.timedelta(days=cls.passed)

    assert set(lanes.ROTATION) <= set(lanes.LANES)
    monkeypatch.setattr(lanes.datetime, "datetime", Day)
    monkeypatch.setattr(lanes, "ROTATION", ("colab", "lowest", "python3.12"))
    chosen = []
    for Day.passed in range(3):
        chosen.append(lanes.today())
    assert sorted(chosen) == ["colab", "lowest", "python3.12"]


def test_the_lanes_cover_every_python_that_the_package_names():
    named = [c.split(" :: ")[-1] for c in PYPROJECT["project"]["classifiers"] if " :: 3." in c]
    text = (LANES / "lanes.py").read_text(encoding="utf-8")
    assert re.findall(r'run_tests\(place, "([\d.]+)"', text) == named
    installed = next(s for s in WORKFLOWS["test"]["jobs"]["lane"]["steps"] if "setup-python" in s.get("uses", ""))
    assert set(installed["with"]["python-version"].split()) == set(named)


def test_the_list_of_lanes_explains_each():
    printed = subprocess.run(
        [sys.executable, LANES / "lanes.py", "--list"], capture_output=True, text=True, check=True
    ).stdout
    assert [line.split()[0] for line in printed.splitlines()] == list(lanes.LANES)
    assert all(len(line.split()) > 5 for line in printed.splitlines())


def pins(name: str) -> dict[str, str]:
    lines = (LANES / name).read_text(encoding="utf-8").splitlines()
    found = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(r.name): str(r.specifier).removeprefix("==") for r in found}


@pytest.mark.parametrize("name", ["colab.txt", "databricks4.txt", "databricks5.txt"])
def test_the_versions_of_a_platform_lie_in_our_ranges(name):
    """Else the first cell would move them."""
    project = PYPROJECT["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["platform"]]
    here = pins(name)
    outside = {
        text: here[key]
        for text in asked
        if (key := canonicalize_name(Requirement(text).name)) in here
        and not Requirement(text).specifier.contains(Version(here[key]))
    }
    assert outside == {}
    assert {"ipykernel", "ipywidgets", "numpy", "pandas", "protobuf", "pyarrow"} <= set(here)


def test_the_pins_of_colab_state_their_source_and_day():
    text = (LANES / "colab.txt").read_text(encoding="utf-8")
    assert re.search(r"^# .*pip-freeze.*\d{4}-\d{2}-\d{2}", text, re.MULTILINE)
    assert {"tensorflow", "keras", "pyspark"} <= set(pins("colab.txt"))


@pytest.mark.parametrize(
    ("lane", "name"), [("colab", "Colab"), ("databricks4", "environment 4"), ("databricks5", "environment 5")]
)
def test_the_setup_page_says_when_a_platform_that_takes_turns_passed(lane, name):
    page = (ROOT / "book" / "en" / "setup.md").read_text(encoding="utf-8")
    table = page.split("## What was rehearsed")[1].split("## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("|") and name in line]
    assert len(rows) <= 1
    assert rows or lane not in lanes.ROTATION
    assert all(re.search(r"\| \d{4}-\d{2}-\d{2} \|$", row) for row in rows)


def test_every_lab_and_homework_is_rehearsed_on_colab_or_named_as_left_out():
    rehearsed = {*lanes.LABS, *lanes.CASES, *lanes.HOMEWORK}
    there = {f.relative_to(ROOT).as_posix() for f in [*ROOT.glob("labs/en/*.ipynb"), *ROOT.glob("homework/en/*.py")]}
    assert not rehearsed & set(lanes.NOT_REHEARSED)
    assert rehearsed | set(lanes.NOT_REHEARSED) == there


def test_a_lane_of_versions_tests_every_room_and_runs_every_lab():
    rooms = {file.parent.name for file in ROOT.glob("arsetlib/*/__init__.py")}
    assert set(lanes.ROOMS) - {""} == rooms
    for names in lanes.ROOMS.values():
        assert names
        assert all((ROOT / "tests" / f"test_{name}.py").is_file() for name in names), names
    labs = {*lanes.LABS, *lanes.CASES, *lanes.NOT_REHEARSED}
    assert labs == {f.relative_to(ROOT).as_posix() for f in ROOT.glob("labs/en/*.ipynb")}


# -- wheel, container ------------------------------------------------------------------------------------------------


def test_the_core_checks_wheel_and_container():
    ran = re.findall(r"^(?:make|beside) (.+)$", (ROOT / ".ci" / "run").read_text(encoding="utf-8"), re.MULTILINE)
    assert {"dist", "image"} <= {word for words in ran for word in words.split()}


def instructions() -> list[tuple[str, str]]:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines)]


def test_the_container_runs_a_user_without_rights_on_a_fixed_system():
    found = instructions()
    assert {word for word, _ in found} <= {"ARG", "CMD", "COPY", "ENV", "EXPOSE", "FROM", "RUN", "USER", "WORKDIR"}
    base = next(rest for word, rest in found if word == "FROM").split()[0]
    assert re.fullmatch(r"python:3\.\d+-slim-[a-z]+", base)
    assert [rest for word, rest in found if word == "USER"] == ["${NB_USER}"]
    assert all("--chown" in rest for word, rest in found if word == "COPY")
    after = found[[word for word, _ in found].index("USER") :]
    assert not any("apt-get" in rest for _, rest in after)
    assert not any(re.search(r"secret|token|password|curl|wget", rest, re.IGNORECASE) for _, rest in found)
    assert found[-1][0] == "CMD"
    assert json.loads(found[-1][1])[0] == "jupyter"


def test_the_container_holds_the_environment_of_the_book():
    made = next(rest for word, rest in instructions() if word == "RUN" and "make env" in rest)
    groups = set(re.search(r'GROUPS="([\w -]+)"', made)[1].split())
    assert groups <= set(PYPROJECT["dependency-groups"])
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert {".git", ".venv", "_build", "data"} <= set(ignored)
    assert any(Requirement(text).name == "jupyterlab" for text in PYPROJECT["dependency-groups"]["hub"])


def test_the_devcontainer_is_a_stage_of_the_container():
    settings = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8"))
    stages = [rest.split(" AS ")[1] for word, rest in instructions() if word == "FROM"]
    assert settings["build"]["target"] in stages
    assert settings["postCreateCommand"] == "make env"
    user = next(rest for word, rest in instructions() if word == "ARG" and rest.startswith("NB_USER=")).split("=")[1]
    assert settings["remoteUser"] == user
