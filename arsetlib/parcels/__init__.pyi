# What the package gives, and where it is: lazy_loader and type checkers read this.
from .agreement import OutlineScores as OutlineScores, score_outlines as score_outlines
from .composites import composite as composite
from .outlines import ParcelError as ParcelError, Parcels as Parcels, read as read
from .segmentation import METHODS as METHODS, segment as segment, segments as segments
from .sums import Gain as Gain, ParcelMap as ParcelMap, by_parcel as by_parcel
