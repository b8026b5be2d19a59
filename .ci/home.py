"""Set the address of this copy's repository, everywhere: `python .ci/home.py https://github.com/me/copy`.

`pyproject.toml` holds it (`[project.urls]`, Homepage). Labs, homework, README, book and messages state the same one, so
that learners install what their instructor published. A paragraph that ends in `<!-- home not set -->` goes away.
"""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[1]
COLAB = "https://colab.research.google.com/github"  # continues with owner and repository
NOTE = re.compile(r"^.*<!-- home not set -->\n\n?", re.MULTILINE)
ADDRESS = re.compile(r"https://[\w.-]+(:\d+)?(/[\w.-]+){2,}")


def main(asked: str) -> str:
    """Returns what was done; ends with a message where the address is none."""
    old = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]["Homepage"]
    new = asked.strip().rstrip("/").removesuffix(".git")
    if not new:
        return f"The address is {old}\nTo set another: make home URL=https://github.com/YOU/YOUR-COPY"
    if not ADDRESS.fullmatch(new):
        sys.exit(f"Expected the web address of a git repository, https://github.com/you/your-copy, received {asked!r}.")
    told = [f"The address is {new}", *(f"  changed: {name}" for name in replace(old, new))]
    if urlsplit(new).hostname != "github.com":
        told.append("Colab opens notebooks of github.com only: the buttons that lead to Colab will not work.")
    return "\n".join(told)


def replace(old: str, new: str) -> list[str]:
    """Put another address into all files that git knows; returns the names of those that changed."""
    pairs = [(old, new), (COLAB + urlsplit(old).path, COLAB + urlsplit(new).path)]
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    changed = []
    for name in filter(None, listed.split("\0")):
        file = ROOT / name
        if not file.is_file() or b"\0" in (content := file.read_bytes()):
            continue
        before = text = content.decode("utf-8")
        for this, other in pairs:
            text = re.sub(re.escape(this) + r"(?![\w-]|\.\w)", lambda _, other=other: other, text)
        text = NOTE.sub("", text) if file.suffix == ".md" else text
        if text != before:
            file.write_bytes(text.encode("utf-8"))
            changed.append(name)
    return changed


if __name__ == "__main__":
    print(main(sys.argv[1] if len(sys.argv) > 1 else ""))
