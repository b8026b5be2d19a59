"""Pictures that are no maps: photos with an outline, and a drawing of boxes and arrows (matplotlib).

Lab: case_field_images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from arsetlib.maps.style import LINES, SIMULATED, STYLE

MOST = 256  # pixels a side of one photo of several
GREY = "#5a6872"


def outlined(photos: Mapping[str, tuple[np.ndarray, np.ndarray]], *, study=None, note: str = "") -> Figure:
    """Photos side by side, three in a row, each with a region outlined.

    Args:
        photos: Title → picture (H, W, 3), uint8 or 0..1; and mask (H, W), True inside the region.
        study: Whose pictures they are, so that the figure says whether they are simulated.
        note: What colours and line mean, for the foot of the figure.

    Returns:
        A matplotlib figure; pictures of over 256 pixels a side are thinned.

    Lab: case_field_images.
    """
    rows = -(-len(photos) // 3)
    with rc_context(STYLE):
        fig = Figure(figsize=(7.6, 0.3 + 2.6 * rows))
        axes = fig.subplots(rows, 3, squeeze=False)
    for ax in axes.flat:
        ax.axis("off")
    for ax, (title, (picture, inside)) in zip(axes.flat, photos.items(), strict=False):
        step = max(1, -(-max(inside.shape) // MOST))
        ax.imshow(picture[::step, ::step])
        thin = inside[::step, ::step]
        if thin.any() and not thin.all():  # else there is no edge to draw
            for colour, width in (("white", 2.6), ("black", 1)):
                ax.contour(thin, [0.5], colors=colour, linewidths=width)
        ax.set_title(title, fontsize=9)
    if study is not None and study.simulated:
        note = f"{note}   {SIMULATED}".strip()
    fig.text(0.98, 0.01, note, ha="right", style="italic", color=GREY)
    fig.subplots_adjust(0.01, 0.035, 0.99, 0.97, 0.03, 0.1)
    return fig


def flow(boxes: Mapping[str, tuple[float, float, str, str]], arrows: Sequence[tuple[str, str]]) -> Figure:
    """A drawing of what flows from where to where.

    Args:
        boxes: Name → (column, row from below, text in the box, text below it).
        arrows: Pairs of names, from and to.

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: An arrow begins or ends at no box.

    Lab: case_field_images.
    """
    unknown = sorted({name for arrow in arrows for name in arrow} - set(boxes))
    if unknown:
        raise ValueError(f"Expected arrows between the boxes {', '.join(boxes)}; got {', '.join(unknown)}.")
    right, top = (max(box[i] for box in boxes.values()) for i in (0, 1))
    with rc_context(STYLE):
        fig = Figure(figsize=(7.6, 1.7 * (top + 1)))
        ax = fig.subplots()
    drawn = {}
    for name, (x, y, text, below) in boxes.items():
        edge = {"boxstyle": "round,pad=0.5", "fc": "white", "ec": LINES[2]}
        words = ax.text(x, y, text, ha="center", va="center", fontsize=9, bbox=edge)
        drawn[name] = words.get_bbox_patch()
        ax.text(x + 0.04, y - 0.33, below, ha="left", fontsize=8.5, style="italic", color=GREY)
    fig.canvas.draw()  # boxes get their size
    for start, end in arrows:
        line = {"arrowstyle": "-|>", "color": LINES[0], "shrinkA": 0, "shrinkB": 2}
        ends = {"patchA": drawn[start], "patchB": drawn[end]}
        ax.annotate("", boxes[end][:2], boxes[start][:2], arrowprops=line | ends)
    ax.set(xlim=(-0.5, right + 0.5), ylim=(-0.5, top + 0.35))
    ax.axis("off")
    fig.subplots_adjust(0, 0, 1, 1)
    return fig
