"""How well segments agree with known outlines.

Sources: boundary F, D. Martin, C. Fowlkes & J. Malik, Learning to detect natural image boundaries, PAMI 26(5), 2004;
over- and under-segmentation, C. Persello & L. Bruzzone, A novel protocol for accuracy assessment in classification of
very high resolution images, TGRS 48(3), 2010.

Lab: part4_defend_the_map.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_edt

from arsetlib.parcels.outlines import ParcelError


@dataclass(frozen=True)
class OutlineScores:
    """Segments against true parcels; 1 is best for F, 0 for the errors.

    Attributes:
        precision: Share of the segments' boundary pixels near a true boundary.
        recall: Share of the true boundary pixels near a segment's boundary.
        over: Over-segmentation: mean over true parcels, weighted by their size, of the share of a parcel outside the
            segment that covers most of it.
        under: Under-segmentation: likewise, of the share of that segment outside the parcel.
        segments: How many segments touch true parcels.
        parcels: How many true parcels there are.
    """

    precision: float
    recall: float
    over: float
    under: float
    segments: int
    parcels: int

    @property
    def boundary_f1(self) -> float:
        """Harmonic mean of precision and recall of boundaries."""
        return 2 * self.precision * self.recall / max(self.precision + self.recall, 1e-12)


def score_outlines(found: np.ndarray, truth: np.ndarray, *, tolerance: float = 1.0) -> OutlineScores:
    """Compare segments with true parcels.

    >>> truth = np.repeat([1, 2], 4)[None].repeat(4, axis=0)
    >>> score_outlines(truth, truth).boundary_f1
    1.0
    >>> score_outlines(np.ones_like(truth), truth).under
    0.5

    Args:
        found: (H, W) numbers of segments, 0 for none.
        truth: (H, W) numbers of parcels, 0 where none is known: such pixels are not compared.
        tolerance: How far apart two boundaries may be, pixels.

    Raises:
        ParcelError: Shapes differ, or no pixel has a true parcel.

    Lab: part4_defend_the_map.
    """
    if found.shape != truth.shape:
        raise ParcelError(f"Expected segments and truth of one shape, received {found.shape} and {truth.shape}.")
    there = truth > 0
    if not there.any():
        raise ParcelError("Expected true parcels, received none: every pixel of the truth is 0.")
    of_found, of_truth = edges(found), edges(truth)
    near_truth, near_found = (near(e, tolerance) for e in (of_truth, of_found))
    of_found, of_truth = of_found & there, of_truth & there
    # One boundary each: no boundary at all is right where there is none.
    precision = float(near_truth[of_found].mean()) if of_found.any() else 1.0
    recall = float(near_found[of_truth].mean()) if of_truth.any() else 1.0
    parcel, segment = np.unique(truth[there], return_inverse=True), np.unique(found[there], return_inverse=True)
    pairs, common = np.unique(parcel[1] * len(segment[0]) + segment[1], return_counts=True)
    which, with_segment = np.divmod(pairs, len(segment[0]))
    common = np.where(segment[0][with_segment] > 0, common, 0)
    order = np.lexsort((common, which))
    last = np.append(np.flatnonzero(np.diff(which[order])), len(order) - 1)
    best = order[last]  # the largest common part of each parcel
    size = np.bincount(parcel[1])
    # A segment's ground beside all known parcels is no error of it.
    whole = np.bincount(segment[1])[with_segment[best]]
    over = 1 - common[best] / size
    under = np.where(common[best] > 0, 1 - common[best] / whole, 0)
    return OutlineScores(
        precision, recall, float(np.average(over, weights=size)), float(np.average(under, weights=size)),
        int((segment[0] > 0).sum()), len(size),
    )  # fmt: skip


def near(edge: np.ndarray, tolerance: float) -> np.ndarray:
    """(H, W) bool: pixels at most so far from an edge; none where there is no edge, for which SciPy has no distance."""
    return distance_transform_edt(~edge) <= tolerance if edge.any() else np.zeros(edge.shape, bool)


def edges(labels: np.ndarray) -> np.ndarray:
    """(H, W) bool: pixels whose right or lower neighbour has another number."""
    out = np.zeros(labels.shape, bool)
    out[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    out[:-1] |= labels[:-1] != labels[1:]
    return out
