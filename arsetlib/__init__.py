"""Crop maps at scale: from Sentinel-2 scenes and crop labels to pixel tables, models and maps.

    from arsetlib import pixels, samples, training      # each module is loaded when its name is first used

``dir(arsetlib)`` lists the modules, ``arsetlib.check_env()`` reports what this machine lacks.
"""

import os

from arsetlib import oldnames

__version__ = "0.1.0"

_MODULES = (
    "errors", "seeds",
    "study", "cdl", "sentinel2",
    "folders", "engine",
    "catalogue", "labels", "ingest",
    "pixels", "samples",
    "models", "training",
    "evaluation", "maps", "figures",
    "groves", "fields",
    "simulate", "grading", "lab",
)  # fmt: skip

__all__ = [*_MODULES, "check_env"]


def __getattr__(name: str):
    # By hand, with nothing but Python: check_env runs where the packages that the library needs are missing.
    from importlib import import_module

    if name == "check_env":
        return import_module("arsetlib.doctor").check_env
    if name in _MODULES or name in oldnames.PACKAGES:
        return import_module(f"arsetlib.{name}")
    raise AttributeError(f"module 'arsetlib' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)


oldnames.install()

if os.environ.get("PROJ_DATA") or os.environ.get("PROJ_LIB"):  # rasterio reads them when it is imported
    from arsetlib.variables import use_own_proj

    use_own_proj()
