"""Build the book in one or several languages: `python book/build.py en es` (`make book LANGUAGES="en es"`).

Labs are run in each language. English is `_build/html`, another language a folder of it. The settings of a language are
`_config.yml` and what `book/<language>/_config.yml` changes. ``ARSET_SCALE=small`` runs the labs on small data. Where a
site is built in several calls, ``ARSET_LANGUAGES="en es"`` says which languages it will have.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
SITE = ROOT / "_build" / "html"


def main(languages: list[str]) -> int:
    known = sorted(file.parent.name for file in (ROOT / "book").glob("*/_toc.yml"))
    languages = languages or ["en"]
    if unknown := sorted(set(languages) - set(known)):
        sys.exit(f"There is no book in {', '.join(unknown)}: expected languages of {', '.join(known)}.")
    languages = sorted(languages, key=lambda language: language != "en")  # others link to the English reference
    site = languages if "en" in languages or not SITE.exists() else ["en", *languages]
    site = os.environ.get("ARSET_LANGUAGES", "").split() or site
    for language in languages:
        if code := build(language, site):
            return code
    print(f"The book is built: {', '.join(languages)}. Open {SITE.relative_to(ROOT)}/index.html")
    return 0


def build(language: str, site: list[str]) -> int:
    """Run Jupyter Book for one language; returns its exit code."""
    environment = os.environ | {"ARSET_BOOK": "1", "ARSET_LANGUAGES": " ".join(site)}
    if language == "en":
        config, out = ROOT / "_config.yml", ROOT
    else:
        # In the root, because Jupyter Book reads paths of the settings from their folder.
        config, out = ROOT / f"_config.{language}.yml", ROOT / "_build" / language
        settings = merged(*(read(path) for path in (ROOT / "_config.yml", ROOT / "book" / language / "_config.yml")))
        config.write_text(yaml.safe_dump(settings, allow_unicode=True, sort_keys=False), encoding="utf-8")
    words = [f"{ROOT}", "--config", f"{config}", "--toc", f"{ROOT / 'book' / language / '_toc.yml'}"]
    try:
        done = subprocess.run(
            ["jupyter-book", "build", *words, "--path-output", f"{out}", "-W", "--keep-going"], env=environment
        )
    finally:
        if language != "en":
            config.unlink()
    if done.returncode == 0 and language != "en":
        shutil.rmtree(SITE / language, ignore_errors=True)
        shutil.copytree(out / "_build" / "html", SITE / language)
    return done.returncode


def read(path: Path) -> dict:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def merged(first: dict, second: dict) -> dict:
    """Settings of which the second change the first, at any depth; a list is replaced as a whole."""
    both = dict(first)
    for key, value in second.items():
        both[key] = merged(both[key], value) if isinstance(value, dict) and isinstance(both.get(key), dict) else value
    return both


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
