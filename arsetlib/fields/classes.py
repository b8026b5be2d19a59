"""The nine anomalies of Agriculture-Vision, in the order of its codes 0 to 8.

Lab: case_fields.
"""

from arsetlib.errors import ArsetError
from arsetlib.translation import N_, _

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


_NAMES = (
    N_("storm damage"), N_("drydown"), N_("endrow"), N_("standing water"), N_("nutrient deficiency"),
    N_("double plant"), N_("waterway"), N_("weed cluster"), N_("planter skip"),
)  # fmt: skip


def titles() -> tuple[str, ...]:
    """Names of ``CLASSES`` in the reader's language, in the same order.

    >>> titles()[:2]
    ('storm damage', 'drydown')

    Lab: case_fields.
    """
    return tuple(map(_, _NAMES))


def title(key: str) -> str:
    """Name of one class in the reader's language; another key with spaces for underscores."""
    return titles()[CLASSES.index(key)] if key in CLASSES else key.replace("_", " ")


class ImageError(ArsetError, ValueError):
    """Field images cannot be read or used like this; the message names the file and says what to do."""
