"""Crop maps at scale: from Sentinel-2 scenes and crop labels to pixel tables, models and maps.

    from arsetlib import pixels, samples, training      # each module is loaded when its name is first used

``dir(arsetlib)`` lists the modules, ``arsetlib.check_env()`` reports what this machine lacks.
"""

import os

import lazy_loader

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

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, _MODULES, {"doctor": ("check_env",)})

if os.environ.get("PROJ_DATA") or os.environ.get("PROJ_LIB"):  # rasterio reads them when it is imported
    from arsetlib.variables import use_own_proj

    use_own_proj()
