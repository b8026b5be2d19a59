"""What a mask's numbers and colours mean."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from arsetlib import textfiles

IGNORE = 255  # in a mask: counts for nothing


class TileError(ValueError):
    """Images, masks or tiles that do not fit together; the message names the file and what to do."""


@dataclass(frozen=True)
class Classes:
    """Classes of a segmentation, in the order of their numbers in a mask.

    Args:
        keys: One word each, in code and in annotation files.
        colours: As #rrggbb, in coloured masks and in pictures.
        names: Language → names for the reader; keys serve where a language is missing.

    Lab: case_olive_groves.
    """

    keys: tuple[str, ...]
    colours: tuple[str, ...]
    names: dict[str, tuple[str, ...]] = field(default_factory=dict, compare=False)

    def __post_init__(self):
        if not 2 <= len(self.keys) < IGNORE or len(set(self.keys)) != len(self.keys):
            raise TileError(f"Expected 2 to {IGNORE - 1} classes with different keys, received {list(self.keys)}.")
        wrong = [c for c in self.colours if not re.fullmatch("#[0-9a-fA-F]{6}", str(c))]
        if wrong or len(set(map(str.lower, self.colours))) != len(self.keys):
            raise TileError(
                f"Expected a colour of its own for each of {list(self.keys)}, as #rrggbb, "
                f"received {list(self.colours)}."
            )

    @classmethod
    def load(cls, path: str | Path) -> Classes:
        """Read classes from a file, in the order of the file.

            [classes.ground]
            name = { en = "Ground", es = "Suelo" }
            colour = "#c49a6c"

        Raises:
            TileError: The file is not of this form.
        """
        try:
            table = tomllib.loads(textfiles.read_text(path))["classes"]
            languages = {code for row in table.values() for code in row.get("name", {})}
            names = {
                code: tuple(row.get("name", {}).get(code, key) for key, row in table.items()) for code in languages
            }
            return cls(tuple(table), tuple(row["colour"] for row in table.values()), names)
        except (ValueError, RecursionError, KeyError, AttributeError, TypeError) as problem:
            if isinstance(problem, TileError):
                raise
            raise TileError(
                f"{path} is no file of classes ({problem}). Expected tables such as [classes.tree] with a colour "
                "such as '#006633' each."
            ) from None

    def __len__(self) -> int:
        return len(self.keys)

    def titles(self, language: str = "en") -> tuple[str, ...]:
        """Names for the reader."""
        return self.names.get(language, self.keys)

    @cached_property
    def rgb(self) -> np.ndarray:
        """(K, 3) uint8."""
        return np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in self.colours], np.uint8)

    def paint(self, mask: np.ndarray) -> np.ndarray:
        """A picture of a mask, (H, W, 3) uint8; what is ignored is white."""
        table = np.full((256, 3), 255, np.uint8)
        table[: len(self)] = self.rgb
        return table[mask]


CLASSES = Classes(
    ("ground", "tree", "grass"),
    ("#c49a6c", "#006633", "#bed246"),
    {"en": ("Ground", "Tree", "Grass"), "es": ("Suelo", "Árbol", "Hierba")},
)
