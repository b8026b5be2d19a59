"""Fields and points drawn as a label raster, with a count of what was read, drawn and lost."""

from __future__ import annotations

from collections import Counter

import numpy as np
import shapely
from rasterio.features import rasterize
from rasterio.transform import from_origin
from shapely.geometry import box

from arsetlib.labels.fields import Fields, lost_text
from arsetlib.study import MAX_CODE
from arsetlib.web import CatalogueError

CONTRADICTED = 0.05  # largest share of the labelled pixels on which fields of different codes may lie
STRIP = 512  # rows drawn at once, to bound memory


class Drawing:
    """Draws fields on a grid, window after window, and counts what was drawn and lost."""

    def __init__(self, fields: Fields, side: float):
        self.fields, self.side = fields, side
        self.dtype = "uint8" if fields.codes.max() < 256 else "uint16"
        self.tree = shapely.STRtree(fields.shapes)
        self.drawn = np.zeros(len(fields.shapes), bool)
        self.covers = np.zeros(len(fields.shapes), bool)
        self.pixels = np.zeros(MAX_CODE + 1, np.int64)
        self.contradicted, self.example = 0, None

    def window(self, left: float, top: float, rows: int, cols: int) -> np.ndarray:
        """(rows, cols) codes, 0 where there is no field, or fields of different codes."""
        out = np.zeros((rows, cols), self.dtype)
        for row in range(0, rows, STRIP):
            part = out[row : row + STRIP]
            part[:] = self._strip(left, top - row * self.side, *part.shape)
        self.pixels += np.bincount(out.ravel(), minlength=len(self.pixels))
        return out

    def _strip(self, left, top, rows, cols) -> np.ndarray:
        side = self.side
        here = np.sort(self.tree.query(box(left, top - rows * side, left + cols * side, top)))
        if not here.size:
            return np.zeros((rows, cols), self.dtype)
        order = here[np.argsort(self.fields.codes[here], kind="stable")]
        grid = from_origin(left, top, side, side)

        def on_top(numbers) -> np.ndarray:
            pairs = ((self.fields.shapes[i], int(i) + 1) for i in numbers)
            return rasterize(pairs, (rows, cols), fill=0, transform=grid, all_touched=False, dtype="int32")

        codes = np.concatenate([[0], self.fields.codes])
        high, low = on_top(order), on_top(order[::-1])  # a pixel's field of the highest and of the lowest code
        differ = codes[high] != codes[low]
        for numbers in (high, low):
            self.covers[np.unique(numbers[numbers > 0]) - 1] = True
            self.drawn[np.unique(numbers[(numbers > 0) & ~differ]) - 1] = True
        if differ.any():
            self.contradicted += int(differ.sum())
            self.example = self.example or (int(high[differ][0]) - 1, int(low[differ][0]) - 1)
        return np.where(differ, 0, codes[high]).astype(self.dtype)

    def close(self) -> dict:
        """What was drawn, as JSON values; ``pixels_by_code`` counts the label raster's pixels.

        Raises:
            CatalogueError: Nothing was drawn, or fields of different codes lie on too many pixels.
        """
        fields, lost = self.fields, Counter(self.fields.lost)
        for i in np.flatnonzero(~self.drawn):
            covered = self.covers[i] or self._holds_a_centre(fields.shapes[i])
            thin = f"too thin or small to hold the centre of a pixel of {self.side:g} m"
            lost["under other fields" if covered else thin] += 1
        labelled = int(self.pixels[1:].sum())
        share = self.contradicted / max(labelled + self.contradicted, 1)
        if share > CONTRADICTED:
            a, b = self.example
            raise CatalogueError(
                f"Fields of different codes lie on {self.contradicted:,} of {labelled + self.contradicted:,} labelled "
                f"pixels ({share:.0%}; up to {CONTRADICTED:.0%} are left without a label): in {fields}, for example "
                f"row {fields.rows[a]} (code {fields.codes[a]}) and row {fields.rows[b]} (code {fields.codes[b]}). "
                "Cut the fields so that they do not overlap, or take one layer or one year of them."
            )
        if not labelled:
            raise CatalogueError(
                f"No field of {fields} could be drawn: {lost_text(lost)}. "
                "Set a smaller [labels] resolution, or check the file and the areas."
            )
        return {
            "file": fields.name,
            "layer": fields.layer,
            "file_crs": fields.crs,
            "fields_read": fields.read,
            "fields_drawn": int(self.drawn.sum()),
            "fields_lost": dict(lost),
            "fields_repaired": fields.repaired,
            "pixels_without_label_since_codes_differ": self.contradicted,
            "pixels_by_code": {str(c): int(self.pixels[c]) for c in np.flatnonzero(self.pixels) if c},
        }

    def _holds_a_centre(self, shape) -> bool:
        """Whether a shape covers the centre of any pixel of the grid."""
        west, south, east, north = shape.bounds
        side = self.side
        left, top = np.floor(west / side) * side, np.ceil(north / side) * side
        cols, rows = (max(1, int(np.ceil(d / side))) for d in (east - left, top - south))
        grid = from_origin(left, top, side, side)
        return bool(rasterize([(shape, 1)], (rows, cols), fill=0, transform=grid, dtype="uint8").any())


def summary_text(about: dict) -> str:
    """The counts of ``Drawing.close``, in words."""
    lines = [
        f"{about['fields_read']:,} fields read from layer {about['layer']!r} of {about['file']} "
        f"({about['file_crs']}), {about['fields_drawn']:,} drawn"
    ]
    if about["fields_lost"]:
        lines.append(f"not drawn: {lost_text(Counter(about['fields_lost']))}")
    if about["fields_repaired"]:
        lines.append(f"{about['fields_repaired']:,} outlines cross themselves and were repaired")
    if n := about["pixels_without_label_since_codes_differ"]:
        lines.append(f"{n:,} pixels lie in fields of different codes and have no label")
    pixels = ", ".join(f"{code}: {n:,}" for code, n in about["pixels_by_code"].items())
    lines.append(f"pixels by code: {pixels}")
    return "; ".join(lines)
