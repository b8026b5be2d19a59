"""Copies of folders that all processes of a run share."""

import os
import shutil
from pathlib import Path


def linked(folder: Path, copy: Path, **options) -> Path:
    """A copy of a folder in which files may be added, deleted and replaced, but not written into: they are links."""
    return Path(shutil.copytree(folder, copy, copy_function=os.link, **options))
