"""The Cropland Data Layer (CDL) of USDA-NASS: codes, names, colours, groups.

Match by code, not by name: names vary between years and files (`Dbl Crop WinWht/Soybeans` here,
`Winter Wheat/Soybeans` there), codes do not. ``code_of`` reads the spellings seen so far.

Source: USDA-NASS, Cropland Data Layer metadata and colour map (public domain).

Lab: part1_build_dataset.
"""

import re
from dataclasses import dataclass

from arsetlib.errors import ArsetError
from arsetlib.translation import _

__all__ = [
    "CODES",
    "CROPS",
    "CULTIVATED",
    "DOUBLE_CROPS",
    "CDLError",
    "Code",
    "code_of",
    "colormap",
    "entry",
    "name",
]


class CDLError(ArsetError, LookupError):
    """No such code or name in the Cropland Data Layer."""


@dataclass(frozen=True)
class Code:
    """One land cover of the CDL.

    Attributes:
        code: 0 to 255, the raster's value.
        name: As in NASS's own tables.
        colour: As in NASS's colour map, ``#rrggbb``.
    """

    code: int
    name: str
    colour: str


_TABLE = """
0 000000 Background
1 ffd300 Corn
2 ff2525 Cotton
3 00a8e2 Rice
4 ff9e09 Sorghum
5 256f00 Soybeans
6 ffff00 Sunflower
10 6fa600 Peanuts
11 00af49 Tobacco
12 dea609 Sweet Corn
13 dea609 Pop or Orn Corn
14 7cd3ff Mint
21 e2007c Barley
22 896053 Durum Wheat
23 d9b56b Spring Wheat
24 a66f00 Winter Wheat
25 d59ebc Other Small Grains
26 6f6f00 Dbl Crop WinWht/Soybeans
27 ab007c Rye
28 a05889 Oats
29 6f0049 Millet
30 d59ebc Speltz
31 d1ff00 Canola
32 7c99ff Flaxseed
33 d5d500 Safflower
34 d1ff00 Rape Seed
35 00af49 Mustard
36 ffa6e2 Alfalfa
37 a6f18b Other Hay/Non Alfalfa
38 00af49 Camelina
39 d59ebc Buckwheat
41 a800e2 Sugarbeets
42 a60000 Dry Beans
43 6f2500 Potatoes
44 00af49 Other Crops
45 af7cff Sugarcane
46 6f2500 Sweet Potatoes
47 ff6666 Misc Vegs & Fruits
48 ff6666 Watermelons
49 ffcc66 Onions
50 ff6666 Cucumbers
51 00af49 Chick Peas
52 00deaf Lentils
53 53ff00 Peas
54 f1a278 Tomatoes
55 ff6666 Caneberries
56 00af49 Hops
57 7cd3ff Herbs
58 e8beff Clover/Wildflowers
59 afffde Sod/Grass Seed
60 00af49 Switchgrass
61 bebe78 Fallow/Idle Cropland
63 93cc93 Forest
64 c6d59e Shrubland
65 ccbea2 Barren
66 ff00ff Cherries
67 ff8fab Peaches
68 b9004f Apples
69 6f4589 Grapes
70 007878 Christmas Trees
71 af996f Other Tree Crops
72 ffff7c Citrus
74 b56f5c Pecans
75 00a682 Almonds
76 e8d5af Walnuts
77 af996f Pears
81 f1f1f1 Clouds/No Data
82 999999 Developed
83 496fa2 Water
87 7cafaf Wetlands
88 e8ffbe Nonag/Undefined
92 00ffff Aquaculture
111 496fa2 Open Water
112 d3e2f9 Perennial Ice/Snow
121 999999 Developed/Open Space
122 999999 Developed/Low Intensity
123 999999 Developed/Med Intensity
124 999999 Developed/High Intensity
131 ccbea2 Barren
141 93cc93 Deciduous Forest
142 93cc93 Evergreen Forest
143 93cc93 Mixed Forest
152 c6d59e Shrubland
176 e8ffbe Grassland/Pasture
190 7cafaf Woody Wetlands
195 7cafaf Herbaceous Wetlands
204 00ff8b Pistachios
205 d59ebc Triticale
206 ff6666 Carrots
207 ff6666 Asparagus
208 ff6666 Garlic
209 ff6666 Cantaloupes
210 ff8fab Prunes
211 334933 Olives
212 e26f25 Oranges
213 ff6666 Honeydew Melons
214 ff6666 Broccoli
215 66994d Avocados
216 ff6666 Peppers
217 af996f Pomegranates
218 ff8fab Nectarines
219 ff6666 Greens
220 ff8fab Plums
221 ff6666 Strawberries
222 ff6666 Squash
223 ff8fab Apricots
224 00af49 Vetch
225 ffd300 Dbl Crop WinWht/Corn
226 ffd300 Dbl Crop Oats/Corn
227 ff6666 Lettuce
228 ffd300 Dbl Crop Triticale/Corn
229 ff6666 Pumpkins
230 896053 Dbl Crop Lettuce/Durum Wht
231 ff6666 Dbl Crop Lettuce/Cantaloupe
232 ff2525 Dbl Crop Lettuce/Cotton
233 e2007c Dbl Crop Lettuce/Barley
234 ff9e09 Dbl Crop Durum Wht/Sorghum
235 ff9e09 Dbl Crop Barley/Sorghum
236 a66f00 Dbl Crop WinWht/Sorghum
237 ffd300 Dbl Crop Barley/Corn
238 a66f00 Dbl Crop WinWht/Cotton
239 256f00 Dbl Crop Soybeans/Cotton
240 256f00 Dbl Crop Soybeans/Oats
241 ffd300 Dbl Crop Corn/Soybeans
242 000099 Blueberries
243 ff6666 Cabbage
244 ff6666 Cauliflower
245 ff6666 Celery
246 ff6666 Radishes
247 ff6666 Turnips
248 ff6666 Eggplants
249 ff6666 Gourds
250 ff6666 Cranberries
254 256f00 Dbl Crop Barley/Soybeans
"""


def _rows() -> dict[int, Code]:
    rows = (line.split(" ", 2) for line in _TABLE.strip().splitlines())
    return {int(code): Code(int(code), text, f"#{colour}") for code, colour, text in rows}


CODES: dict[int, Code] = _rows()  # code → its code, name and colour

# Two crops in one season, so neither name states what grows there on a given day.
# Lettuce (227) and Pumpkins (229) lie among them and are not.
DOUBLE_CROPS: tuple[int, ...] = (26, 225, 226, 228, *range(230, 242), 254)

# 'Cultivated' of the course: crops of the lower Mississippi delta beside corn, cotton, rice, soybeans.
# fmt: off
CULTIVATED: tuple[int, ...] = (
    4, 6, 10, 12, 13, 24, 27, 28, 36, 37, 42, 43, 44, 46, 48, 53, 57, 58, 59, 67, 74, 209,
)
# fmt: on

# NASS's own blocks of crop codes: 1-60, 66-80, from 196. Fallow (61) is cropland without a crop.
CROPS: tuple[int, ...] = tuple(c for c in CODES if 1 <= c <= 60 or 66 <= c <= 80 or c >= 196)

# Words that NASS writes in more than one way, and one misspelling each that files carry.
_WORDS = {
    "winwht": "winter wheat",
    "wht": "wheat",
    "durwht": "durum wheat",
    "orn": "ornamental",
    "popcorn": "pop corn",
    "med": "medium",
    "misc": "miscellaneous",
    "vegs": "vegetables",
    "veg": "vegetables",
    "vegetable": "vegetables",
    "cataloupe": "cantaloupe",
    "strawberreis": "strawberries",
    "nonag": "non ag",
    "chickpeas": "chick peas",
    "grassland": "grass",
}
_IGNORED = {"dbl", "double", "crop", "and", "or"}
# Land covers of older years that NASS has since merged into one code.
_MERGED = {
    "Pasture/Hay": 176,
    "Grassland Herbaceous": 176,
    "Wildflowers": 58,
    "Seed/Sod Grass": 59,
    "Developed/Medium Intensity": 123,
    "Background/No Data": 0,
}


def _key(text: str) -> tuple[str, ...]:
    """What is left of a name without case, order, punctuation, plural and abbreviations."""
    words = re.findall(r"[a-z]+", text.lower())
    words = " ".join(_WORDS.get(word, word) for word in words).split()
    return tuple(sorted({word.rstrip("s") for word in words if word not in _IGNORED}))


def _keys() -> dict[tuple[str, ...], int]:
    keys = {_key(entry.name): code for code, entry in CODES.items()}  # of two equal names, the newer code
    return keys | {_key(text): code for text, code in _MERGED.items()}


_BY_KEY = _keys()


def entry(code: int) -> Code:
    """What NASS's tables say of a code: name and colour, in no other language than English.

    Args:
        code: 0 to 255.

    Raises:
        CDLError: NASS names no land cover with this code.

    >>> entry(26).name
    'Dbl Crop WinWht/Soybeans'
    """
    found = CODES.get(int(code))
    if found is None:
        raise CDLError(
            f"Expected a code of the Cropland Data Layer, received {code}. "
            f"See arsetlib.cdl.CODES for the {len(CODES)} codes; labels of another source need their own legend."
        )
    return found


def name(code: int) -> str:
    """Name of a CDL code, in the reader's language (`arsetlib.language`); what is stored takes the name of `entry`.

    Args:
        code: 0 to 255.

    Returns:
        In English NASS's own name, such as ``Dbl Crop WinWht/Soybeans``.

    Raises:
        CDLError: NASS names no land cover with this code.

    Lab: part1_build_dataset.

    >>> name(26)
    'Dbl Crop WinWht/Soybeans'
    """
    return _(entry(code).name)


def code_of(text: str) -> int:
    """Code of a CDL name, whichever way it is spelt.

    Case, punctuation, plural, the order of two crops, the prefix ``Dbl Crop`` and NASS's abbreviations do not
    matter. Two names stand for two codes each: Barren is 131 (not 65) and Shrubland 152 (not 64), the codes
    in use since 2006.

    Args:
        text: A name such as ``Dbl Crop WinWht/Soybeans`` or ``Winter Wheat/Soybeans``.

    Returns:
        Its code.

    Raises:
        CDLError: No land cover has this name.

    Lab: part1_build_dataset.

    >>> code_of("winter wheat/soybeans")
    26
    """
    code = _BY_KEY.get(_key(text))
    if code is None:
        raise CDLError(
            f"Expected the name of a land cover of the Cropland Data Layer, received {text!r}. "
            f"See arsetlib.cdl.CODES for the names, or give the code."
        )
    return code


def colormap() -> dict[int, tuple[int, int, int, int]]:
    """Colours as a GeoTIFF's colour table wants them.

    Returns:
        Code to (red, green, blue, alpha), each 0 to 255, for all 256 codes; unnamed ones are black and opaque,
        as in NASS's files.

    >>> colormap()[1]
    (255, 211, 0, 255)
    """
    unnamed = (0, 0, 0, 255)
    return {code: _rgba(CODES[code].colour) if code in CODES else unnamed for code in range(256)}


def _rgba(colour: str) -> tuple[int, int, int, int]:
    red, green, blue = bytes.fromhex(colour.lstrip("#"))
    return red, green, blue, 255
