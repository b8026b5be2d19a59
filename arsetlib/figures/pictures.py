"""Photos and masks: side by side, outlined, one over the other, instances in colours; a drawing of boxes and arrows.

Labs: case_groves, case_fields.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke

from arsetlib.figures.style import LINES, SIMULATED, STYLE, WIDTH, Simulated, data_uri, length_name, round_length
from arsetlib.translation import _

DPI_SHARE = 1.6  # picture pixels per CSS pixel in which `show` draws a matplotlib figure
OVER_WIDTH = 800  # pixels of a picture that is embedded to be uncovered
MOST = 256  # pixels a side of one photo of several
GREY = "#5a6872"
IN_A_ROW = 6  # classes of a legend; where there are more, 4 in each of several rows


class ClassNames(Protocol):
    """Classes of a mask, such as ``groves.Classes``."""

    colours: Sequence[str]

    def titles(self) -> Sequence[str]: ...


def panels(
    pictures: Mapping[str, np.ndarray],
    *,
    columns: int = 2,
    classes: ClassNames | None = None,
    metres: float | None = None,
    study: Simulated | None = None,
) -> Figure:
    """Pictures of one size side by side, thinned to what the page can show.

    Args:
        pictures: Title → (H, W, 3) uint8, or float of 0 to 1.
        columns: So many in a row.
        classes: ``groves.Classes`` of masks among the pictures, for a legend; None draws none.
        metres: Width of a pixel, for a scale bar in the first picture; None draws none.
        study: Whose pictures they are (anything with ``simulated``), so that it says whether they are simulated.

    Returns:
        A matplotlib figure.

    Lab: case_groves.
    """
    height, width = next(iter(pictures.values())).shape[:2]
    step = max(1, round(width * columns / (WIDTH * DPI_SHARE)))
    rows = -(-len(pictures) // columns)
    inches = WIDTH / 100
    count = 0 if classes is None else len(classes.colours)
    across = max(count, 1) if count <= IN_A_ROW else 4
    foot = 0.18 + 0.22 * max(1, -(-count // across))
    high = rows * (0.97 * inches / columns * height / width + 0.3) + 0.1 + foot
    with rc_context(STYLE):
        fig = Figure(figsize=(inches, high), dpi=100, facecolor="white")
        axes = fig.subplots(rows, columns, squeeze=False).ravel()
        for ax in axes:
            ax.axis("off")
        for ax, (title, picture) in zip(axes, pictures.items(), strict=False):
            ax.imshow(picture[::step, ::step], interpolation="nearest")
            ax.set_title(title, fontsize=9)
        if metres:
            length = round_length(width * metres / 4)
            left, bottom = 0.03 * width / step, 0.95 * height / step
            long = length / metres / step
            seen = {
                "color": "white",
                "path_effects": [withStroke(linewidth=5, foreground=GREY)],
            }  # on light ground, too
            axes[0].plot([left, left + long], [bottom, bottom], linewidth=3, **seen)
            seen["path_effects"] = [withStroke(linewidth=2, foreground=GREY)]
            axes[0].text(left, bottom - 0.025 * height / step, length_name(length), fontsize=9, va="bottom", **seen)
        if classes is not None:
            marks = [Patch(color=c, label=n) for c, n in zip(classes.colours, classes.titles(), strict=True)]
            fig.legend(handles=marks, ncol=across, loc="lower left", frameon=False)
        if study is not None and study.simulated:
            fig.text(0.98, 0.02, _(SIMULATED), ha="right", fontstyle="italic", color=GREY)
        fig.subplots_adjust(0.01, foot / high, 0.99, 1 - 0.3 / high, 0.03, 0.15)
    return fig


def wipe(
    image: np.ndarray,
    over: Mapping[str, np.ndarray],
    alt: str,
    *,
    classes: ClassNames | None = None,
    study: Simulated | None = None,
) -> None:
    """Display a picture with another one over it, of which a slider uncovers more or less.

    It is plain HTML: it needs no kernel, no internet and no library, so it works in a notebook and in the book.

    Args:
        image: (H, W, 3) uint8, the picture below.
        over: Name → (H, W, 3) uint8, of which one is chosen in a menu and shown right of the line.
        alt: What is shown, for readers who cannot see it.
        classes: ``groves.Classes`` for a legend, or None.
        study: Whose picture it is, as in `panels`.

    Lab: case_groves.
    """
    from IPython.display import HTML, display

    display(HTML(_wipe(image, over, alt, classes, study)))


def _wipe(image, over, alt, classes, study) -> str:
    said = html.escape(alt, quote=True)
    names = [html.escape(name, quote=True) for name in over]
    layers = "".join(
        f'<img class="over" src="{_small(picture)}" alt="{said}: {name}" style="position:absolute;inset:0;'
        f'width:100%;height:100%;display:{"none" if i else "block"};clip-path:inset(0 0 0 var(--at))">'
        for i, (name, picture) in enumerate(zip(names, over.values(), strict=True))
    )
    choices = "".join(f"<option>{name}</option>" for name in names)
    legend = ""
    if classes is not None:
        legend = "&ensp; ".join(
            '<span style="white-space:nowrap">'
            f'<span style="background:{colour}">&emsp;</span> {html.escape(name)}</span>'
            for colour, name in zip(classes.colours, classes.titles(), strict=True)
        )
    note = f"<em>{_(SIMULATED)}</em>" if study is not None and study.simulated else ""
    pick = (
        "this.closest('figure').querySelectorAll('.over')"
        ".forEach((layer, i) => { layer.style.display = i === this.selectedIndex ? 'block' : 'none'; })"
    )
    move = "this.closest('figure').style.setProperty('--at', this.value + '%')"
    return (
        f'<figure class="arset-wipe" style="--at:50%;max-width:{WIDTH}px;margin:0">'
        f'<label>{_("Right of the line")} <select onchange="{pick}">{choices}</select></label> '
        f'<input type="range" aria-label="{_("Move the line")}" min="0" max="100" value="50" '
        f'oninput="{move}" style="display:block;width:100%;margin:.4em 0">'
        '<div style="position:relative">'
        f'<img src="{_small(image)}" alt="{said}" style="display:block;width:100%">{layers}</div>'
        f"<figcaption>{legend} {note}</figcaption></figure>"
    )


def _small(picture: np.ndarray) -> str:
    from PIL import Image

    height, width = picture.shape[:2]
    wide = min(width, OVER_WIDTH)
    small = Image.fromarray(picture).resize((wide, max(1, round(wide * height / width))))
    return data_uri(small, "webp", quality=78)


def paint_instances(image: np.ndarray, instances: np.ndarray) -> np.ndarray:
    """A picture with each instance, such as a crown, filled with a colour; neighbours in number differ in colour.

    Args:
        image: (H, W, 3) uint8.
        instances: (H, W) whole numbers, 0 where there is none.

    Returns:
        (H, W, 3) uint8, a new array.

    Lab: case_groves.
    """
    wheel = colormaps["tab20"]
    count = int(instances.max(initial=0))
    # 7 and 20 have no common divisor, so all 20 colours come before one comes again.
    table = np.array([wheel(number * 7 % wheel.N)[:3] for number in range(count + 1)])
    shown = image.copy()
    there = instances > 0
    shown[there] = (table * 255).round().astype(np.uint8)[instances[there]]
    return shown


def outlined(
    photos: Mapping[str, tuple[np.ndarray, np.ndarray]], *, study: Simulated | None = None, note: str = ""
) -> Figure:
    """Photos side by side, three in a row, each with a region outlined.

    Args:
        photos: Title → picture (H, W, 3), uint8 or 0..1; and mask (H, W), True inside the region.
        study: Whose pictures they are, so that the figure says whether they are simulated.
        note: What colours and line mean, for the foot of the figure.

    Returns:
        A matplotlib figure; pictures of over 256 pixels a side are thinned.

    Lab: case_fields.
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
        note = f"{note}   {_(SIMULATED)}".strip()
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

    Lab: case_fields.
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
