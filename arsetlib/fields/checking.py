"""Compare a folder of field images with the rules of its layout, before training.

Lab: case_fields.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from arsetlib import copies
from arsetlib.fields import layout
from arsetlib.fields.chips import NOTICE, SIMULATED, SPELLINGS, is_simulated, scan
from arsetlib.fields.classes import CLASSES, title
from arsetlib.translation import _


@dataclass(frozen=True)
class ChipCheck:
    """Content of a folder of field images, and its problems.

    Args:
        folder: The folder.
        images: How many images.
        fields: How many fields they show.
        counts: Class → number of images that show it.
        problems: (file, message).
        simulated: Whether the folder says that its images are.

    Lab: case_fields.
    """

    folder: Path
    images: int
    fields: int
    counts: dict[str, int] = field(default_factory=dict)
    problems: list[tuple[str, str]] = field(default_factory=list)
    simulated: bool = False

    @property
    def ok(self) -> bool:
        """Whether there is no problem."""
        return not self.problems

    def as_dict(self) -> dict:
        """JSON values."""
        problems = [{"file": file, "problem": text} for file, text in self.problems]
        return vars(self) | {"folder": str(self.folder), "ok": self.ok, "problems": problems}

    def __str__(self) -> str:
        words = _("{images} images of {fields} fields in {folder}")
        lines = [words.format(images=f"{self.images:,}", fields=f"{self.fields:,}", folder=self.folder)]
        lines += [f"  {title(name)}: {count:,}" for name, count in self.counts.items()]
        lines += [f"{_('PROBLEM')} {text}" for __, text in self.problems] or [_("No problem found")]
        return "\n".join([*lines, _(SIMULATED if self.simulated else NOTICE)])


def check(folder: str | Path, progress: bool = False) -> ChipCheck:
    """Read every file of a folder of field images and list what is wrong.

    Args:
        folder: As for ``fields.agriculture_vision``.
        progress: Show a progress bar.

    Returns:
        A ChipCheck; ``ok`` is False if an image lacks a mask or a mask its image, a class folder is missing, empty or
        unknown, sizes or channels differ, an image is also that of another field, or a file cannot be read.

    Raises:
        ImageError: The folder has no images in this layout.

    Lab: case_fields.
    """
    folder = copies.fetched(folder)
    parts = layout.parts(folder)
    problems = [problem for part in parts for problem in part.problems]
    names = [(name, k) for k, part in enumerate(parts) for name in part.names]
    labels, _, damaged = scan(parts, names, progress, whole=True)
    listed = {file for file, _ in problems}
    missing = {
        str(path) for name, k in names for path in parts[k].paths(name).all if not os.path.lexists(path)
    }  # listed too
    problems += [(file, text) for file, text in damaged if file not in listed | missing]
    counts = {name: int(n) for name, n in zip(CLASSES, labels.sum(0), strict=True)}
    fields = {layout.field_of(name) for name, _ in names}
    for one, other in layout.spellings(name for name, __ in names):
        problems.append((other, SPELLINGS.format(one=one, other=other, raw=ascii((one, other)), folder=folder)))
    problems += _copies([parts[k].paths(name).rgb for name, k in names])
    return ChipCheck(folder, len(names), len(fields), counts, problems, is_simulated(folder))


def _copies(images: list[Path]) -> list[tuple[str, str]]:
    """Images that are, byte for byte, also that of another field: one side could train on what another tests."""
    by_size: dict[int, list[Path]] = defaultdict(list)
    first: dict[bytes, Path] = {}
    problems = []
    for path in images:
        if path.is_file():
            by_size[path.stat().st_size].append(path)
    for path in (path for some in by_size.values() if len(some) > 1 for path in some):
        twin = first.setdefault(hashlib.sha256(path.read_bytes()).digest(), path)
        if layout.field_of(twin.stem) != layout.field_of(path.stem):
            text = f"{path} is the same picture as {twin}, of another field. Keep one: they could come into two sets."
            problems.append((str(path), text))
    return problems
