"""Label rasters: a GeoTIFF of your own, the Cropland Data Layer from three services, or fields from a vector file.

The result is always one GeoTIFF of whole-number codes on one grid in metres, checked to cover every area of the study.
Of national files only the windows of the areas are kept. A file made here says in its tag ``ARSET_LABELS`` from what
it was made.

    finding    the label raster of a study for one year
    rasters    checks, grids, and writing
    services   the Cropland Data Layer
    fields     fields and points of a vector file
    drawing    fields drawn as a raster

Sources: USDA NASS Cropland Data Layer (https://www.nass.usda.gov/Research_and_Science/Cropland/), Planetary
Computer ``usda-cdl``, CropScape (https://nassgeodata.gmu.edu/CropScape/). Lab: part1_build_dataset.
"""

from arsetlib.labels.finding import Labels, find_labels
from arsetlib.labels.rasters import CDL_CORNER, CDL_KINDS, majority, raster_grid
from arsetlib.web import CatalogueError

__all__ = ["CDL_CORNER", "CDL_KINDS", "CatalogueError", "Labels", "find_labels", "majority", "raster_grid"]
