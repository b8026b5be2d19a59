"""Names of version 0.1.0 that have changed. The old ones work in 0.2, with a ``DeprecationWarning``.

Remove in 0.3: this module, ``tests/test_oldnames.py`` and every line that ``grep -rn oldnames`` finds.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.abc
import importlib.machinery
import sys
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any

UNTIL = "0.3"
PACKAGES = {"tiles": "groves", "segment": "groves", "images": "fields"}
COMMANDS = {"tiles": "groves", "segment": "groves", "images": "fields", "simulate-grove": "simulate-groves"}

# Old name → new name of an object that does the same. Other names of the old packages have not changed.
NAMES = {
    "tiles": {"Dealt": "TileSplit", "Loader": "TileBatches", "Report": "CaptureCheck", "TileError": "GroveError"},
    "segment": {
        "Count": "TreeCount", "Evaluation": "CaptureScores", "SegmentError": "GroveError", "load": "models.load",
    },
    "images": {
        "Evaluation": "FieldScores", "Loader": "ChipBatches", "Report": "ChipCheck", "Scores": "LabelScores",
        "images": "batches", "load": "models.load",
    },
    "catalogue": {"Labels": "labels.Labels", "find_labels": "labels.find_labels", "sign": "web.sign"},
    "evaluation": {"Evaluated": "ModelPredictions", "evaluated": "ModelPredictions.of", "report": "figures.report"},
    "maps": {
        **{name: f"figures.{name}" for name in (
            "ACCENT", "DASHES", "EYE", "FALSE_COLOUR", "FONT", "FONT_SIZE", "GRID", "INK", "LINES", "PLOTLY_IN_BOOK",
            "SCL_INK", "SCL_SYMBOLS", "SIMULATED", "STYLE", "SWIR_COLOUR", "TRUE_COLOUR", "WIDTH", "bars", "by_date",
            "calendar", "chip", "class_bars", "confusion", "footprints", "knob", "labels_map", "learning_curves",
            "prediction_map", "reliability", "score_bars", "series", "show", "spreads", "timeline", "verdicts",
        )},
        "figure": "figures.empty_figure", "season": "figures.season_gif",
    },
    "pixels": {"BLOCK_M": "pixels.schema.BLOCK_M", "Part": "FileBatch", "Report": "TableReport"},
    "simulate": {"grove": "groves"},
}  # fmt: skip


def warn(old: str, new: str, depth: int) -> None:
    """Warn that a name is old; ``depth`` counts from the caller, as in ``warnings.warn``."""
    warnings.warn(f"{old} is now {new}; the old name works until version {UNTIL}.", DeprecationWarning, depth + 1)


def find(package: str, name: str) -> Any:
    """The object that an old name of a package means.

    Raises:
        AttributeError: The package had no such name, or its object was removed.
    """
    new = NAMES.get(package, {}).get(name) or (name if package in PACKAGES and not name.startswith("__") else None)
    if new is None:
        raise AttributeError(f"module 'arsetlib.{package}' has no attribute {name!r}")
    home = PACKAGES.get(package, package)
    path = new if new.split(".")[0].islower() and "." in new else f"{home}.{new}"
    first, *rest = path.split(".")
    found: Any = importlib.import_module(f"arsetlib.{first}")
    for i, part in enumerate(rest):
        if not hasattr(found, part) and isinstance(found, ModuleType):
            try:
                importlib.import_module(f"arsetlib.{'.'.join([first, *rest[: i + 1]])}")
            except ModuleNotFoundError:
                raise AttributeError(
                    f"arsetlib.{package}.{name} of version 0.1.0 was removed; see the changelog."
                ) from None
        found = getattr(found, part)
    warn(f"arsetlib.{package}.{name}", f"arsetlib.{path}", 3)
    return found


def names_of(package: str, otherwise: Callable[[str], Any] | None = None) -> Callable[[str], Any]:
    """Make the ``__getattr__`` of a package whose names have changed."""

    def __getattr__(name: str) -> Any:
        if otherwise is not None and name not in NAMES[package]:
            return otherwise(name)
        return find(package, name)

    return __getattr__


def fields_of(form: Any, keywords: dict[str, Any], function: str) -> Any:
    """Put keywords that a function took in version 0.1.0 into the dataclass that has them now."""
    if not keywords:
        return form
    known = {field.name for field in dataclasses.fields(form)}
    if unknown := sorted(keywords.keys() - known):
        raise TypeError(f"{function}() got an unexpected keyword argument {unknown[0]!r}")
    kind = type(form).__name__
    warn(f"{function}({', '.join(keywords)})", f"{function}(…, {kind}({', '.join(keywords)}))", 3)
    return dataclasses.replace(form, **keywords)


class _OldPackages(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports ``arsetlib.tiles`` and the like: empty modules that find each name in the new package."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        parent, _, package = fullname.partition(".")
        if parent == "arsetlib" and package in PACKAGES:
            return importlib.machinery.ModuleSpec(fullname, self)
        return None

    def exec_module(self, module: ModuleType) -> None:
        package = module.__name__.partition(".")[2]
        module.__doc__ = f"The old name of ``arsetlib.{PACKAGES[package]}``."
        module.__getattr__ = names_of(package, lambda name: find(package, name))  # type: ignore[method-assign]
        warn(module.__name__, f"arsetlib.{PACKAGES[package]}", 3)


def install() -> None:
    """Make the old packages importable."""
    if not any(isinstance(finder, _OldPackages) for finder in sys.meta_path):
        sys.meta_path.append(_OldPackages())
