# What the package gives, and where it is: lazy_loader and type checkers read this.
from .capture import Capture as Capture, boxes as boxes, read as read
from .changes import Augment as Augment, augment as augment
from .classes import CLASSES as CLASSES, IGNORE as IGNORE, Classes as Classes, GroveError as GroveError
from .counting import TreeCount as TreeCount, count as count
from .crowns import instances as instances
from .cutting import GRID as GRID, Canvas as Canvas, Tiles as Tiles, cut as cut, places as places, stitch as stitch
from .flight import Pose as Pose, poses as poses
from .layouts import LAYOUTS as LAYOUTS, captures as captures
from .prediction import predict as predict
from .report import CaptureCheck as CaptureCheck, check as check
from .runs import train_folder as train_folder
from .scoring import CaptureScores as CaptureScores, cost as cost, evaluate as evaluate
from .segmenter import Segmenter as Segmenter
from .sides import (
    LeakWarning as LeakWarning, TileSplit as TileSplit, ground_seen as ground_seen, leaky_split as leaky_split,
    split as split,
)
from .tile_batches import TileBatches as TileBatches, arrays as arrays, batches as batches
from .training import Network as Network, fit as fit, verdict as verdict
