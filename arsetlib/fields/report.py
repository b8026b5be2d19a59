"""Hold a folder of field images against the rules, before anything is trained on it.

Lab: case_fields.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from arsetlib.fields import layout
from arsetlib.fields.chips import NOTICE, OURS, is_simulated, scan
from arsetlib.fields.classes import CLASSES


@dataclass(frozen=True)
class Report:
    """What a folder holds and what is wrong with it.

    Args:
        folder: The folder.
        images: How many images.
        fields: How many fields they are of.
        counts: Class → on how many images.
        problems: (file, what is wrong).
        simulated: True where the folder says so of itself.
    """

    folder: Path
    images: int
    fields: int
    counts: dict[str, int] = field(default_factory=dict)
    problems: list[tuple[str, str]] = field(default_factory=list)
    simulated: bool = False

    @property
    def ok(self) -> bool:
        return not self.problems

    def as_dict(self) -> dict:
        return {
            "folder": str(self.folder),
            "simulated": self.simulated,
            "images": self.images,
            "fields": self.fields,
            "counts": self.counts,
            "ok": self.ok,
            "problems": [{"file": file, "problem": what} for file, what in self.problems],
        }

    def __str__(self) -> str:
        lines = [f"{self.images:,} images of {self.fields:,} fields in {self.folder}"]
        lines += [f"  {name.replace('_', ' ')}: {count:,}" for name, count in self.counts.items()]
        lines += [f"PROBLEM {what}" for _, what in self.problems] or ["No problem found"]
        return "\n".join([*lines, OURS if self.simulated else NOTICE])


def check(folder: str | Path, progress: bool = False) -> Report:
    """Read every file of a folder of field images and name all that does not fit.

    Args:
        folder: As for ``fields.agriculture_vision``.
        progress: Show a progress bar.

    Returns:
        The report; ``ok`` is False where an image lacks a mask or a mask its image, a class folder is missing, empty
        or unknown, sizes or channels differ, or a file cannot be read.

    Raises:
        ImageError: The folder has no images in this layout.

    Lab: case_fields.
    """
    folder = Path(folder)
    parts = layout.parts(folder)
    problems = [problem for part in parts for problem in part.problems]
    whole = [(name, k) for k, part in enumerate(parts) for name in part.names]
    labels, _, damaged = scan(parts, whole, progress, whole=True)
    told = {file for file, _ in problems}
    lost = {str(path) for name, k in whole for path in _missing(parts[k], name)}
    problems += [(file, what) for file, what in damaged if file not in told and file not in lost]
    counts = {name: int(n) for name, n in zip(CLASSES, labels.sum(0), strict=True)}
    fields = {name.split("_")[0] for name, _ in whole}
    return Report(folder, len(whole), len(fields), counts, problems, is_simulated(folder))


def _missing(part: layout.Part, name: str) -> list[Path]:
    """Files of a chip that are not there: the listing has named them already."""
    paths = part.paths(name)
    return [p for p in (paths.rgb, paths.nir, paths.bounds, paths.masks, *paths.labels) if not p.is_file()]
