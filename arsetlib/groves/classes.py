"""The classes of a segmentation: what a mask's numbers and colours mean.

Lab: case_groves.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from arsetlib import folders, textfiles
from arsetlib.errors import ArsetError
from arsetlib.translation import language

IGNORE = 255  # in a mask: the pixel is ignored
FILE = "classes.toml"  # in a folder of images


class GroveError(ArsetError, ValueError):
    """A capture, mask, tile, model or parameter that does not fit; the message names it and says what to do."""


@dataclass(frozen=True)
class Classes:
    """Classes of a segmentation, in the order of their numbers in a mask.

        >>> classes = Classes(("soil", "vine"), ("#c49a6c", "#006633"))
        >>> classes.number("Vine"), classes.paint(np.array([[0, 1]]))[0, 1].tolist()
        (1, [0, 102, 51])

    Args:
        keys: One word each, in code and in annotation files.
        colours: As #rrggbb, in coloured masks and in pictures.
        names: Language → names for the reader; keys serve where a language is missing.
        boxes: What to do with a box around an object in a mask: refuse it, since a box is not an outline
            (``"refuse"``), or fill the ellipse that touches its sides (``"ellipse"``), an approximation of a crown.

    Lab: case_groves.
    """

    keys: tuple[str, ...]
    colours: tuple[str, ...]
    names: dict[str, tuple[str, ...]] = field(default_factory=dict, compare=False)
    boxes: str = "refuse"

    def __post_init__(self):
        if not 2 <= len(self.keys) < IGNORE or len(set(self.keys)) != len(self.keys):
            raise GroveError(f"Expected 2 to {IGNORE - 1} classes with different keys, received {list(self.keys)}.")
        wrong = [c for c in self.colours if not re.fullmatch("#[0-9a-fA-F]{6}", str(c))]
        if wrong or len(set(map(str.lower, self.colours))) != len(self.keys):
            raise GroveError(
                f"Expected a colour of its own for each of {list(self.keys)}, as #rrggbb, "
                f"received {list(self.colours)}."
            )
        if self.boxes not in ("refuse", "ellipse"):
            raise GroveError(f"Expected boxes = 'refuse' or 'ellipse', received {self.boxes!r}.")

    @classmethod
    def of(cls, folder: str | Path) -> Classes:
        """The classes in ``classes.toml`` of a folder; without that file ground, tree and grass."""
        file = folders.place(folder) / FILE
        return cls.load(file) if file.is_file() else CLASSES

    @classmethod
    def load(cls, path: str | Path) -> Classes:
        """Read classes from a file, in the order of the file.

            [classes.ground]
            name = { en = "Ground", es = "Suelo" }
            colour = "#c49a6c"

        ``boxes = "ellipse"`` at the top lets boxes become ellipses in masks.

        Raises:
            GroveError: The file is not of this form.
        """
        try:
            content = tomllib.loads(textfiles.read_text(folders.place(path)))
            table = content["classes"]
            if unknown := sorted(set(content) - {"classes", "boxes"}):
                raise GroveError(f"it has the unknown key {unknown[0]!r}; known keys are classes and boxes.")
            for key, row in table.items():
                if not isinstance(row.get("name", {}), dict):
                    raise GroveError(f"[classes.{key}] name must be a table such as {{ en = 'Tree' }}.")
                for name in row.get("name", {}).values():
                    if problem := textfiles.name_problem(name):
                        raise GroveError(f"[classes.{key}] name {name!r} {problem}. Write letters and usual signs.")
            languages = {code for row in table.values() for code in row.get("name", {})}
            names = {
                code: tuple(row.get("name", {}).get(code, key) for key, row in table.items()) for code in languages
            }
            return cls(
                tuple(table), tuple(row["colour"] for row in table.values()), names, content.get("boxes", "refuse")
            )
        except GroveError as problem:
            raise GroveError(f"{path}: {problem}") from None
        except (ValueError, RecursionError, KeyError, AttributeError, TypeError) as problem:
            raise GroveError(
                f"{path} is no file of classes ({problem}). Expected tables such as [classes.tree] with a colour "
                "such as '#006633' each."
            ) from None

    def __len__(self) -> int:
        """K."""
        return len(self.keys)

    def titles(self) -> tuple[str, ...]:
        """Names in the reader's language, else the English ones, else the keys."""
        return self.names.get(language()) or self.names.get("en") or self.keys

    @cached_property
    def rgb(self) -> np.ndarray:
        """(K, 3) uint8."""
        return np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in self.colours], np.uint8)

    def number(self, label: object) -> int | None:
        """The number of the class with this key, upper or lower case; None where there is none."""
        folded = [key.casefold() for key in self.keys]
        wanted = label.strip().casefold() if isinstance(label, str) else None
        if label in self.keys:
            return self.keys.index(label)
        return folded.index(wanted) if folded.count(wanted) == 1 else None

    def of_colours(self, colours: np.ndarray, close: int = 0) -> np.ndarray:
        """(N,) class of each colour (N, 3), −1 where no class colour is within ``close`` levels in each channel."""
        away = np.abs(np.asarray(colours, int)[:, None] - self.rgb.astype(int)).max(-1)  # (N, K)
        near = away.argmin(1)
        alone = (away <= close).sum(1) == 1
        exact = (away == 0).any(1)
        return np.where(exact | alone, near, -1)

    def paint(self, mask: np.ndarray) -> np.ndarray:
        """A picture of a mask, (H, W, 3) uint8; ignored pixels are white."""
        table = np.full((256, 3), 255, np.uint8)
        table[: len(self)] = self.rgb
        return table[mask]


# The classes of the thesis: ground, tree, grass.
CLASSES = Classes(
    ("ground", "tree", "grass"),
    ("#c49a6c", "#006633", "#bed246"),
    {"en": ("Ground", "Tree", "Grass"), "es": ("Suelo", "Árbol", "Hierba")},
)
