# What the package gives, and where it is: lazy_loader and type checkers read this.
from .classmaps import ClassMap as ClassMap
from .comparison import compare as compare, labels_on as labels_on
from .neighbourhood import Bayes as Bayes, Majority as Majority
from .prediction import predict as predict
from .products import (
    MapError as MapError, Prediction as Prediction, open_prediction as open_prediction, predictions as predictions,
)
from .rasters import class_areas as class_areas, examples as examples, ndvi as ndvi, read as read
from .sampling import (
    MapSample as MapSample, SampleAreas as SampleAreas, SamplePlan as SamplePlan, draw_sample as draw_sample,
    plan_sample as plan_sample, sample_areas as sample_areas,
)
from .views import PixelViews as PixelViews, views_of_scenes as views_of_scenes, views_of_table as views_of_table
