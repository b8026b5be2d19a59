"""Crowns in the mask of one capture.

Lab: case_groves.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from arsetlib.groves.flight import Pose

NECK = 0.8  # of the lower top: a saddle above this parts no crowns; two discs are told apart from 1.2 radii on
FINE = 6  # pixels of the smallest radius that are enough to find crowns; finer masks are thinned


def instances(mask: np.ndarray, radius: float) -> np.ndarray:
    """Tell crowns apart that touch: watershed of the distance to the crowns' edge.

    Every tree pixel gets its distance to the nearest other pixel. A crown's middle is a hill of it, the neck between
    two crowns a saddle: from each hilltop water falls to the saddles. A crown is no disc, so it may have several tops:
    two are one crown where the saddle between them is nearly as high as the lower top.

    Args:
        mask: (H, W) bool, True on trees.
        radius: Of the smallest crown, pixels. Smaller specks are left out.

    Returns:
        (H, W) int32: 0 on the ground, 1, 2, … on crowns.
    """
    from scipy import ndimage
    from skimage.feature import peak_local_max
    from skimage.segmentation import watershed

    thin = max(1, int(radius // FINE))
    small, r = mask[::thin, ::thin], radius / thin
    small = ndimage.binary_fill_holes(small)
    padded = np.pad(small, 1, mode="edge")  # the border of the image is no edge of a crown
    distance = ndimage.distance_transform_edt(padded)[1:-1, 1:-1].astype(np.float32)
    smooth = ndimage.gaussian_filter(distance, max(0.5, r / 6))
    tops = peak_local_max(smooth * small, min_distance=max(1, round(r / 2)), threshold_abs=r / 4, exclude_border=False)
    markers = np.zeros(small.shape, np.int32)
    markers[tuple(tops.T)] = np.arange(1, len(tops) + 1)
    found = watershed(-smooth, markers, mask=small)
    found = _joined(found, smooth, np.concatenate([[0], smooth[tuple(tops.T)]]))[found]
    areas = np.bincount(found.ravel())
    keep = areas >= np.pi * r**2
    keep[0] = False
    found = np.where(keep, np.cumsum(keep), 0).astype(np.int32)[found]
    return np.repeat(np.repeat(found, thin, 0), thin, 1)[: mask.shape[0], : mask.shape[1]] * mask


def _joined(found: np.ndarray, height: np.ndarray, tops: np.ndarray) -> np.ndarray:
    """(N + 1,) the number that each basin gets when those between which there is hardly a saddle are one."""
    pairs, saddles = [], []
    for one, other in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
        border = (found[one] != found[other]) & (found[one] > 0) & (found[other] > 0)
        pairs.append(np.sort(np.stack([found[one][border], found[other][border]], axis=1), axis=1))
        saddles.append(np.minimum(height[one][border], height[other][border]))
    table = pd.DataFrame(np.concatenate(pairs), columns=["a", "b"]).assign(saddle=np.concatenate(saddles))
    table = table.groupby(["a", "b"])["saddle"].max().sort_values(ascending=False)
    home, tops = np.arange(len(tops)), tops.copy()

    def root(k):
        while home[k] != k:
            k = home[k]
        return k

    for (a, b), saddle in table.items():
        a, b = root(a), root(b)
        if a != b and saddle > NECK * min(tops[a], tops[b]):
            home[b], tops[a] = a, max(tops[a], tops[b])
    return np.array([root(k) for k in home])


def crowns(mask: np.ndarray, pose: Pose, name: str, tree: int, radius: float) -> pd.DataFrame:
    """The crowns of one capture, on the ground: those whose middle it shows."""
    from scipy import ndimage

    found = instances(mask == tree, radius / pose.metres)
    total = int(found.max()) + 1
    rows, columns = np.nonzero(found)
    whose = found[rows, columns]
    pixels, row, column = (np.bincount(whose, w, total)[1:] for w in (None, rows + 0.5, columns + 0.5))
    height, width = mask.shape
    boxes = ndimage.find_objects(found)
    whole = np.array([not _cut(box, height, width) for box in boxes], bool)
    shown = np.array([_shown(box, height, width) for box in boxes], bool)
    x, y = pose.ground(column / pixels, row / pixels)
    centre = pose.ground(width / 2, height / 2)
    table = {
        "x": x,
        "y": y,
        "radius": np.sqrt(pixels / np.pi) * pose.metres,
        "area": pixels * pose.metres**2,
        "capture": name,
        "views": 1,
        "seen": 1,
        "whole": whole,
        "off": np.hypot(x - centre[0], y - centre[1]),
    }
    return pd.DataFrame(table)[shown].reset_index(drop=True)


def of_boxes(boxes: np.ndarray, size: tuple[int, int], pose: Pose, name: str, radius: float) -> pd.DataFrame:
    """One crown for each box (x0, y0, x1, y1; px), on the ground: the ellipse that touches the box's sides."""
    x0, y0, x1, y1 = boxes.T
    area = np.pi / 4 * (x1 - x0) * (y1 - y0) * pose.metres**2
    x, y = pose.ground((x0 + x1) / 2, (y0 + y1) / 2)
    centre = pose.ground(size[1] / 2, size[0] / 2)
    table = {
        "x": x,
        "y": y,
        "radius": np.sqrt(area / np.pi),
        "area": area,
        "capture": name,
        "views": 1,
        "seen": 1,
        "whole": (x0 > 1) & (y0 > 1) & (x1 < size[1] - 1) & (y1 < size[0] - 1),
        "off": np.hypot(x - centre[0], y - centre[1]),
    }
    return pd.DataFrame(table)[area >= np.pi * radius**2].reset_index(drop=True)


def _cut(box, height: int, width: int) -> tuple[bool, bool]:
    """Whether the border of the capture cuts a crown (above or below, left or right); an empty tuple if not."""
    rows, columns = box
    cut = rows.start == 0 or rows.stop == height, columns.start == 0 or columns.stop == width
    return cut if any(cut) else ()


def _shown(box, height: int, width: int) -> bool:
    """Whether a crown's middle lies within the capture: what is seen of a disc is then deeper than half its width."""
    cut = _cut(box, height, width)
    if not cut:
        return True
    high, wide = (side.stop - side.start for side in box)
    return (not cut[0] or 2 * high >= wide) and (not cut[1] or 2 * wide >= high)
