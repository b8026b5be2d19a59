"""The nine anomalies of Agriculture-Vision, in the order of its codes 0 to 8.

Lab: case_fields.
"""

from arsetlib.errors import ArsetError

# The nine anomalies of Agriculture-Vision, in the order of the columns.
CLASSES = (
    "storm_damage",
    "drydown",
    "endrow",
    "water",
    "nutrient_deficiency",
    "double_plant",
    "waterway",
    "weed_cluster",
    "planter_skip",
)


class ImageError(ArsetError, ValueError):
    """Field images cannot be read or used like this; the message names the file and says what to do."""
