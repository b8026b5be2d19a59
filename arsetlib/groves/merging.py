"""Crowns and ground of overlapping captures: each tree once, each place once.

Lab: case_groves.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from arsetlib.groves.classes import IGNORE
from arsetlib.groves.flight import Pose

CELL = 0.1  # m, of the ground grid on which canopy is added up
WHOLE = 0.75  # radii: two crowns, neither cut by a border, are one tree if their centres are closer


def merged(crowns: pd.DataFrame, poses: dict[str, Pose], sizes: dict[str, tuple[int, int]]) -> pd.DataFrame:
    """One row for each tree: crowns of several captures that cannot be two trees are one.

    Of these the crown that no border cuts and that is nearest to the middle of its capture is kept.

    Args:
        crowns: One row a crown, see ``crowns.crowns``.
        poses, sizes: Capture name → pose, (rows, columns).
    """
    from scipy.spatial import cKDTree

    crowns = crowns.sort_values(["whole", "off"], ascending=[False, True], kind="stable").reset_index(drop=True)
    if not len(crowns):
        return crowns
    place, r = crowns[["x", "y"]].to_numpy(), crowns["radius"].to_numpy()
    capture, whole = crowns["capture"].to_numpy(), crowns["whole"].to_numpy()
    near = cKDTree(place).query_ball_point(place, float(r.max()))
    free, seen = np.ones(len(crowns), bool), np.ones(len(crowns), int)
    kept = []
    for i in range(len(crowns)):
        if not free[i]:
            continue
        kept.append(i)
        free[i] = False
        others = {capture[i]}
        for j in sorted(near[i], key=lambda j: np.hypot(*(place[j] - place[i]))):
            # Two crowns of one capture are two trees: the watershed separated them.
            if not free[j] or capture[j] == capture[i] or (whole[j] and capture[j] in others):
                continue
            if np.hypot(*(place[j] - place[i])) < max(r[i], r[j]) * (WHOLE if whole[j] and whole[i] else 1.0):
                free[j] = False
                others.add(capture[j])
        seen[i] = len(others)
    trees = crowns.iloc[kept].copy()
    trees["seen"] = seen[kept]
    x, y = trees["x"].to_numpy(), trees["y"].to_numpy()
    views = sum(poses[name].shows(size, x, y).astype(int) for name, size in sizes.items())
    trees["views"] = np.maximum(views, trees["seen"])
    trees = trees[~_fragments(trees)]
    return trees.sort_values(["y", "x"], ascending=[False, True], kind="stable").reset_index(drop=True)


def _fragments(trees: pd.DataFrame) -> np.ndarray:
    """Whether a tree is a part of a larger crown: under it, and found in at most half of the captures that show it."""
    from scipy.spatial.distance import cdist

    place, r = trees[["x", "y"]].to_numpy(), trees["radius"].to_numpy()
    doubtful = (trees["seen"] <= trees["views"] / 2).to_numpy(copy=True)
    under = (cdist(place[doubtful], place) < r) & (r[doubtful][:, None] < r)
    doubtful[doubtful] = under.any(axis=1)
    return doubtful


class Canopy:
    """Ground that captures show and ground under crowns, m².

    A place in several captures counts as in the one whose middle is nearest.

    Args:
        overlapping: Whether captures may show the same ground.
    """

    def __init__(self, overlapping: bool):
        self.overlapping = overlapping
        self.shown = self.covered = 0.0
        self.parts: list[tuple] = []

    def add(self, mask: np.ndarray, tree: int, pose: Pose) -> None:
        """Add a capture: (H, W) class numbers, the number of trees among them, and where it lies."""
        if not self.overlapping:
            self.shown += (mask != IGNORE).sum() * pose.metres**2
            self.covered += (mask == tree).sum() * pose.metres**2
            return
        height, width = mask.shape
        x, y = np.transpose(pose.outline(mask.shape))
        i0, i1 = int(np.floor(x.min() / CELL)), int(np.ceil(x.max() / CELL))
        j0, j1 = int(np.floor(y.min() / CELL)), int(np.ceil(y.max() / CELL))
        gx, gy = np.meshgrid((np.arange(i0, i1) + 0.5) * CELL, (np.arange(j0, j1) + 0.5) * CELL)
        column, row = (np.floor(v).astype(int) for v in pose.image(gx, gy))
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        value = np.full(gx.shape, IGNORE, np.uint8)
        value[inside] = mask[row[inside], column[inside]]
        centre = pose.ground(width / 2, height / 2)
        off = np.hypot(gx - centre[0], gy - centre[1]).astype(np.float32)
        off[value == IGNORE] = np.inf
        self.parts.append((i0, j0, value == tree, off))

    def areas(self) -> tuple[float, float]:
        """(shown, under crowns), m²."""
        if not self.parts:
            return float(self.shown), float(self.covered)
        i0, j0 = (min(part[k] for part in self.parts) for k in (0, 1))
        rows = max(j + off.shape[0] for _, j, _, off in self.parts) - j0
        columns = max(i + off.shape[1] for i, _, _, off in self.parts) - i0
        nearest, crown = np.full((rows, columns), np.inf, np.float32), np.zeros((rows, columns), bool)
        for i, j, is_tree, off in self.parts:
            part = np.s_[j - j0 : j - j0 + off.shape[0], i - i0 : i - i0 + off.shape[1]]
            nearer = off < nearest[part]
            nearest[part][nearer] = off[nearer]
            crown[part][nearer] = is_tree[nearer]
        return float(np.isfinite(nearest).sum() * CELL**2), float(crown.sum() * CELL**2)
