"""Copies of folders that all processes of a run share."""

import os
import shutil
from pathlib import Path


def linked(folder: Path, copy: Path, **options) -> Path:
    """A copy of a folder in which files may be added, deleted and replaced, but not written into: they are links."""
    return Path(shutil.copytree(folder, copy, copy_function=os.link, **options))


def learners_data(sample: Path, data: Path, parts: str = "*") -> Path:
    """A learner's folder of data, with ``parts`` of ``sample``. Its delta of 11,000 files is a link: only read it."""
    data.mkdir()
    for folder in filter(Path.is_dir, sample.glob(parts)):
        if folder.name == "delta-toy":
            (data / folder.name).symlink_to(folder)
        else:
            linked(folder, data / folder.name)
    return data
