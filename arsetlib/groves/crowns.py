"""Crowns in the mask of one capture.

Lab: case_groves.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from arsetlib.groves.flight import Pose

NECK = 0.8  # a saddle above this share of the lower maximum divides no crown; discs divide from 1.2 radii on
FINE = 6  # pixels of the smallest radius that are enough to find crowns; finer masks are thinned


def instances(mask: np.ndarray, radius: float) -> np.ndarray:
    """Tell crowns apart that touch: watershed of the distance to the crowns' edge.

        >>> mask = np.zeros((40, 60), bool)
        >>> mask[10:30, 5:25] = mask[10:30, 35:55] = True
        >>> int(instances(mask, radius=5).max())
        2

    Every tree pixel gets its distance to the nearest pixel of another class. The distance is largest in the middle of
    a crown and small where two crowns touch. The watershed grows a crown from each maximum until it meets the next. A
    crown is no disc, so it may have several maxima: two belong to one crown where the distance between them stays
    nearly as large as at the lower maximum.

    Args:
        mask: (H, W) bool, True on trees.
        radius: Of the smallest crown, pixels. Smaller specks are left out.

    Returns:
        (H, W) int32: 0 on the ground, 1, 2, … on crowns.

    Lab: case_groves.
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
    basins = watershed(-smooth, markers, mask=small)
    basins = _joined(basins, smooth, np.concatenate([[0], smooth[tuple(tops.T)]]))[basins]
    keep = np.bincount(basins.ravel()) >= np.pi * r**2
    keep[0] = False
    numbers = np.where(keep, np.cumsum(keep), 0).astype(np.int32)[basins]
    return np.repeat(np.repeat(numbers, thin, 0), thin, 1)[: mask.shape[0], : mask.shape[1]] * mask


def _joined(basins: np.ndarray, height: np.ndarray, tops: np.ndarray) -> np.ndarray:
    """(N + 1,) the number that each basin gets when those with hardly a saddle between them become one."""
    pairs, saddles = [], []
    for one, other in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
        border = (basins[one] != basins[other]) & (basins[one] > 0) & (basins[other] > 0)
        pairs.append(np.sort(np.stack([basins[one][border], basins[other][border]], axis=1), axis=1))
        saddles.append(np.minimum(height[one][border], height[other][border]))
    table = pd.DataFrame(np.concatenate(pairs), columns=["a", "b"]).assign(saddle=np.concatenate(saddles))
    table = table.groupby(["a", "b"])["saddle"].max().sort_values(ascending=False)
    parent, tops = np.arange(len(tops)), tops.copy()

    def root(k):
        while parent[k] != k:
            k = parent[k]
        return k

    for (a, b), saddle in table.items():
        a, b = root(a), root(b)
        if a != b and saddle > NECK * min(tops[a], tops[b]):
            parent[b], tops[a] = a, max(tops[a], tops[b])
    return np.array([root(k) for k in parent])


def crowns(mask: np.ndarray, pose: Pose, name: str, tree: int, radius: float) -> pd.DataFrame:
    """The crowns of one capture, on the ground: those whose middle it shows.

    Args:
        mask: (H, W) class numbers.
        pose: Where the capture lies.
        name: Of the capture.
        tree: Class number of trees.
        radius: Of the smallest crown, m.

    Returns:
        One row a crown: ``x``, ``y``, ``radius`` (m), ``area`` (m²), ``capture``, ``views``, ``seen`` (1 each),
        ``whole`` (no border cuts it), ``off`` (m from the middle of the capture).
    """
    from scipy import ndimage

    numbers = instances(mask == tree, radius / pose.metres)
    total = int(numbers.max()) + 1
    rows, columns = np.nonzero(numbers)
    owner = numbers[rows, columns]
    pixels, row, column = (np.bincount(owner, w, total)[1:] for w in (None, rows + 0.5, columns + 0.5))
    boxes = ndimage.find_objects(numbers)
    whole = np.array([not any(_cut(box, mask.shape)) for box in boxes], bool)
    shown = np.array([_shown(box, mask.shape) for box in boxes], bool)
    table = _table(pose, mask.shape, name, column / pixels, row / pixels, pixels * pose.metres**2, whole)
    return table[shown].reset_index(drop=True)


def of_boxes(boxes: np.ndarray, size: tuple[int, int], pose: Pose, name: str, radius: float) -> pd.DataFrame:
    """One crown for each box (x0, y0, x1, y1; px): the ellipse that touches the box's sides. See ``crowns``."""
    x0, y0, x1, y1 = boxes.T
    area = np.pi / 4 * (x1 - x0) * (y1 - y0) * pose.metres**2
    whole = (x0 > 1) & (y0 > 1) & (x1 < size[1] - 1) & (y1 < size[0] - 1)
    table = _table(pose, size, name, (x0 + x1) / 2, (y0 + y1) / 2, area, whole)
    return table[area >= np.pi * radius**2].reset_index(drop=True)


def _table(pose: Pose, size, name: str, column, row, area, whole) -> pd.DataFrame:
    x, y = pose.ground(column, row)
    centre = pose.ground(size[1] / 2, size[0] / 2)
    return pd.DataFrame(
        {
            "x": x,
            "y": y,
            "radius": np.sqrt(area / np.pi),
            "area": area,
            "capture": name,
            "views": 1,
            "seen": 1,
            "whole": whole,
            "off": np.hypot(x - centre[0], y - centre[1]),
        }
    )


def _cut(box, size: tuple[int, int]) -> tuple[bool, bool]:
    """Whether the border of the capture cuts a crown above or below, and left or right."""
    rows, columns = box
    return rows.start == 0 or rows.stop == size[0], columns.start == 0 or columns.stop == size[1]


def _shown(box, size: tuple[int, int]) -> bool:
    """Whether a crown's middle lies within the capture: the part that is seen is then deeper than half its width."""
    high, wide = (side.stop - side.start for side in box)
    above, beside = _cut(box, size)
    return (not above or 2 * high >= wide) and (not beside or 2 * wide >= high)
