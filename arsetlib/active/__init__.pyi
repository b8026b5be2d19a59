# What the package gives, and where it is: lazy_loader and type checkers read this.
from .choice import ActiveError as ActiveError, METHODS as METHODS, choose as choose, uncertainty as uncertainty
from .curves import KnownSamples as KnownSamples, learning_curve as learning_curve
from .places import Places as Places, known_places as known_places, next_places as next_places
from .returned import LabelledRows as LabelledRows, labelled_rows as labelled_rows
