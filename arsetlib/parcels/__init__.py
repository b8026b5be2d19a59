"""A map by parcel: outlines from a file or from the images, the class of each parcel, and what that gains.

    outlines = parcels.read("farm.gpkg")                           # or, where there is no such file:
    outlines = parcels.segment(parcels.composite(scenes, "data/composite.tif", study=study, area="dense", start=90))
    made = parcels.by_parcel(maps.open_prediction("maps/dense_2021_120.json"), outlines)
    made.save("maps/parcels.parquet")                              # or .gpkg
    made.gain("data/delta/truth_2021.tif")                         # against the map of single pixels

Case study B, images of farm fields, is ``fields``: another thing. Here a parcel is an outline on the ground, with one
crop in a year.

Lab: part4_defend_the_map.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
