"""Crop maps at scale: from Sentinel-2 scenes and crop labels to pixel tables, models and maps.

Importing the package loads none of its modules; each is imported by its name: ``from arsetlib import study``.
"""

import os

__version__ = "0.1.0"
__all__ = ["check_env"]


def __getattr__(name: str):
    if name == "check_env":
        from arsetlib.doctor import check_env

        return check_env
    raise AttributeError(f"module 'arsetlib' has no attribute {name!r}")


if os.environ.get("PROJ_DATA") or os.environ.get("PROJ_LIB"):  # rasterio takes them when it is imported
    from arsetlib.variables import use_own_proj

    use_own_proj()
