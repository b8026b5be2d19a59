# What the package gives, and where it is: lazy_loader and type checkers read this.
from .checking import ChipCheck as ChipCheck, check as check
from .chips import Chips as Chips, agriculture_vision as agriculture_vision, ndvi as ndvi, read as read
from .classes import CLASSES as CLASSES, ImageError as ImageError, titles as titles
from .classifier import Classifier as Classifier
from .conversion import convert as convert
from .loading import ChipBatches as ChipBatches, batches as batches
from .runs import convert_sides as convert_sides, sides_of as sides_of
from .scoring import FieldScores as FieldScores, LabelScores as LabelScores, evaluate as evaluate
from .sides import split as split
from .stored import verify as verify
from .training import ImageInput as ImageInput, Transfer as Transfer, fit as fit
