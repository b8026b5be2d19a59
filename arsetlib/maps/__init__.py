"""Maps: predict them, open what a prediction made, compare them with labels, smooth them, read rasters.

    made = maps.predict(trained, "data/pixels", 120, "maps", area="dense", year=2019)
    maps.compare(made[0], labels)
    here = maps.ClassMap.open(made[0].path())
    maps.draw_sample(here, maps.plan_sample(here, 500)).save("visit")       # to be labelled
    maps.sample_areas(maps.MapSample.load("visit"), here)                      # hectares with intervals

What draws a map is in ``figures``. A module of this package is loaded when one of its names is first used, so a
worker that predicts loads nothing else.

Labs: part1_build_dataset, part3_train_and_test.
"""

import lazy_loader

from arsetlib import oldnames

_lazy, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__getattr__ = oldnames.names_of("maps", _lazy)
