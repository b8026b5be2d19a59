"""Crop maps at scale: from Sentinel-2 scenes and crop labels to pixel tables, models and maps.

    from arsetlib import pixels, samples, training      # each module is loaded when its name is first used

``dir(arsetlib)`` lists the modules, ``arsetlib.check_env()`` reports what this machine lacks.
"""

import os
import sys

from arsetlib import oldnames, quiet

__version__ = "0.1.0"

_MODULES = (
    "errors", "seeds", "translation",
    "study", "cdl", "sentinel2",
    "folders", "engine",
    "catalogue", "labels", "ingest",
    "pixels", "samples", "embeddings",
    "models", "training",
    "evaluation", "maps", "parcels", "active", "figures", "audit", "certainty",
    "groves", "fields",
    "simulate", "grading", "lab",
)  # fmt: skip

__all__ = [*_MODULES, "check_env", "language"]


def __getattr__(name: str):
    # By hand, with nothing but Python: check_env runs where the packages that the library needs are missing.
    from importlib import import_module

    if name == "check_env":
        return import_module("arsetlib.doctor").check_env
    if name == "language":
        return import_module("arsetlib.translation").language
    if name in _MODULES or name in oldnames.PACKAGES:
        return import_module(f"arsetlib.{name}")
    raise AttributeError(f"module 'arsetlib' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)


class _Extras:
    """Asked last for a module that nobody found. A package of an extra that arsetlib imports ends in one sentence.

    Only for imports by arsetlib, or by another package of an extra on its behalf (Keras imports TensorFlow): whoever
    else looks for a module gets Python's own answer.
    """

    @staticmethod
    def find_spec(name, path=None, target=None):
        if path is not None:  # a part of a package that is there
            return None
        frame = sys._getframe(1)
        while frame is not None:
            asks = frame.f_globals.get("__name__") or ""
            if asks == "importlib.util":  # looks whether a module is there
                return None
            root = asks.partition(".")[0]
            if root == "arsetlib":
                from arsetlib import extras

                if name in extras.OPTIONAL:
                    raise extras.missing(name)
                return None
            if root not in ("importlib", "_frozen_importlib", "keras", "skops", "optuna"):
                return None
            frame = frame.f_back
        return None


sys.meta_path.append(_Extras)

oldnames.install()
quiet.install()

if os.environ.get("PROJ_DATA") or os.environ.get("PROJ_LIB"):  # rasterio reads them when it is imported
    from arsetlib.variables import use_own_proj

    use_own_proj()
