"""Find scenes, and write down what was found, so that a rerun works on the same ones.

Scenes come from any STAC API (Earth Search by default, no account needed) or from a static catalogue, collection or
item collection on http or on disk.

    selection   finds the scenes of a study and filters them
    sources     items of an API or of a static catalogue
    item        one STAC item, in the terms of any service
    scenes      scenes, and the saved item list

Source: STAC 1.0 with the EO, projection, raster and Sentinel-2 extensions. Lab: part1_build_dataset.
"""

from arsetlib import oldnames
from arsetlib.catalogue.scenes import Scene, Scenes
from arsetlib.catalogue.selection import find_scenes
from arsetlib.web import CatalogueError

__all__ = ["CatalogueError", "Scene", "Scenes", "find_scenes"]

__getattr__ = oldnames.names_of("catalogue")
