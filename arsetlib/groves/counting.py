"""Count trees: crowns in a mask, each tree of a flight once, canopy cover, and a score against the true trees.

Lab: case_groves. Shell: ``arset groves count``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from arsetlib import copies, folders, textfiles
from arsetlib.groves import flight as flights
from arsetlib.groves import masks, pictures
from arsetlib.groves.capture import Capture, boxes, classes_of, read
from arsetlib.groves.classes import CLASSES, FILE, Classes, GroveError
from arsetlib.groves.crowns import crowns, of_boxes
from arsetlib.groves.flight import Flight, Pose
from arsetlib.groves.layouts import captures, layout_of
from arsetlib.groves.merging import Canopy, merged
from arsetlib.groves.scoring import classes_of_maps
from arsetlib.translation import _

TREE = 1  # class number
FAR = 10_000  # m; true trees that are all further away are in other coordinates
RADIUS = 0.5  # m, of the smallest crown that counts
COLUMNS = ("x", "y", "radius", "area", "capture", "views", "seen", "whole")


@dataclass(repr=False)
class TreeCount:
    """Trees that were counted.

    Attributes:
        trees: One row a tree: ``x``, ``y`` (m on the ground), ``radius`` (m, of a disc of the crown's area), ``area``
            (m²), ``capture`` (the one it was taken from), ``views`` (captures that show its place), ``seen`` (captures
            in which it was detected), ``whole`` (False where the capture's border cuts the crown).
        area_ha: Ground that the captures show, each place once.
        canopy_m2: Of it under crowns.
        simulated: Whether the captures were.
        poses, sizes: Capture name → pose, (rows, columns); no poses without a flight.

    Lab: case_groves.
    """

    trees: pd.DataFrame
    area_ha: float
    canopy_m2: float
    simulated: bool = False
    poses: dict[str, Pose] = field(default_factory=dict)
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.trees)

    def __repr__(self) -> str:
        words = _(
            "{trees} trees on {area} ha, {density} a hectare, crowns cover {cover} ({canopy} m² a hectare)"
        ).format(
            trees=len(self),
            area=f"{self.area_ha:.2f}",
            density=f"{self.trees_per_ha:.0f}",
            cover=f"{self.cover:.1%}",
            canopy=f"{self.canopy_m2_per_ha:,.0f}",
        )
        return f"{_('SIMULATED')}: {words}" if self.simulated else words

    @property
    def cover(self) -> float:
        """Share of the ground under crowns."""
        return self.canopy_m2 / (self.area_ha * 1e4)

    @property
    def trees_per_ha(self) -> float:
        """Trees on a hectare."""
        return len(self.trees) / self.area_ha

    @property
    def canopy_m2_per_ha(self) -> float:
        """Canopy cover: square metres of crown on a hectare."""
        return self.canopy_m2 / self.area_ha

    def summary(self) -> dict:
        """The figures, JSON values."""
        area = self.trees["area"]
        return {
            "trees": len(self.trees),
            "area_ha": self.area_ha,
            "trees_per_ha": self.trees_per_ha,
            "canopy_m2_per_ha": self.canopy_m2_per_ha,
            "canopy_cover": self.cover,
            "crown_area_m2_median": float(area.median()) if len(area) else None,
            "simulated": self.simulated,
        }

    def score(self, truth: str | Path | pd.DataFrame | np.ndarray, within: float = 1.0) -> dict:
        """Compare the trees with true ones.

        A detected and a true tree make a pair if their centres are no further apart than the true crown's radius (times
        ``within``); of all ways to pair them, the one with most pairs, then least distance, is taken (Hungarian
        method).

        Args:
            truth: ``trees.geojson`` (points with a radius, m), or (N, 3) array or table of x, y, radius.
            within: Largest distance, in radii of the true crown.

        Returns:
            dict of ``trees``, ``truth`` (on the ground that the captures show), ``matched``, ``count_error`` (detected
            − true, as a share of true), ``precision``, ``recall``, ``f1``, ``distance`` (m, median), ``radius_error``
            (m, mean, detected − true).

        Raises:
            GroveError: The file holds no trees, or these trees were counted without a flight.
        """
        if folders.is_place(truth) and not self.poses:
            raise GroveError(
                f"{truth} states places on the ground, but these trees were counted without a flight. Count with "
                "flight."
            )
        true = _truth(truth)
        if self.poses:
            x, y = true[:, 0], true[:, 1]
            pose = next(iter(self.poses.values()))
            if len(true) and np.hypot(x - pose.c, y - pose.f).min() > FAR:
                raise GroveError(
                    f"All {len(true):,} true trees lie more than {FAR / 1000:g} km from the captures; the first is at "
                    f"x {x[0]:,.1f}, y {y[0]:,.1f}. Expected metres in the coordinates of the flight, x first."
                )
            true = true[np.any([pose.shows(self.sizes[name], x, y) for name, pose in self.poses.items()], axis=0)]
        trees = self.trees[["x", "y", "radius"]].to_numpy(float)
        ours, theirs, apart = _pairs(trees, true, within)
        matched = len(ours)
        nan = float("nan")
        return {
            "trees": len(trees),
            "truth": len(true),
            "matched": matched,
            "count_error": (len(trees) - len(true)) / len(true) if len(true) else nan,
            "precision": matched / len(trees) if len(trees) else nan,
            "recall": matched / len(true) if len(true) else nan,
            "f1": 2 * matched / (len(trees) + len(true)) if len(trees) + len(true) else nan,
            "distance": float(np.median(apart)) if matched else nan,
            "radius_error": float(np.mean(trees[ours, 2] - true[theirs, 2])) if matched else nan,
        }

    def geojson(self, path: str | Path) -> Path:
        """Write points; coordinates are metres on the flight's ground, not degrees."""
        about = "Trees counted by arsetlib. Coordinates: metres on the ground of the flight, not degrees."
        features = [
            {
                "type": "Feature",
                "geometry": {"type": "Point", "coordinates": [round(row["x"], 3), round(row["y"], 3)]},
                "properties": {
                    "tree": number,
                    "radius": round(row["radius"], 3),
                    "area": round(row["area"], 3),
                    **{name: row[name] for name in ("capture", "views", "seen", "whole")},
                },
            }
            for number, row in enumerate(self.trees.to_dict("records"), start=1)
        ]
        about = f"From SIMULATED captures. {about}" if self.simulated else about
        body = {"type": "FeatureCollection", "simulated": self.simulated, "about": about, "features": features}
        folders.put(path, json.dumps(body, indent=1) + "\n")
        return folders.place(path)

    def csv(self, path: str | Path) -> Path:
        """Write one row a tree."""
        folders.put(path, self.trees.round(3).to_csv(index_label="tree"))
        return folders.place(path)


Source = np.ndarray | Path | Capture  # of a mask


def count(
    source: np.ndarray | dict | str | Path | Capture | Iterable,
    *,
    flight: str | Path | dict[str, Pose] | None = None,
    metres_per_pixel: float | None = None,
    tree: str | int | None = None,
    radius: float = RADIUS,
    agree: float = 0.0,
    progress: bool = False,
) -> TreeCount:
    """Count the trees of a mask, or of all captures of a flight, each once.

        >>> mask = np.zeros((40, 60), np.uint8)
        >>> mask[10:30, 5:25] = mask[10:30, 35:55] = 1
        >>> count(mask, metres_per_pixel=0.1)
        2 trees on 0.00 ha, 833 a hectare, crowns cover 33.3% (3,333 m² a hectare)

    In each mask crowns that touch are separated (see ``instances``). Captures of a flight overlap, so a tree is
    detected up to five times: detections are placed on the ground by the captures' poses, and those that cannot be two
    trees (the centre of one lies under the crown of the other) are merged. Of these the crown that no border cuts and
    that is nearest to the middle of its capture is kept.

    Args:
        source: (H, W) class numbers, a dict of name → mask, a PNG, a folder of maps, a folder of labelled captures, or
            a list of captures. Each file is read with the classes that its own folder states. Where captures are
            labelled with boxes (Pascal VOC, DeepForest, COCO without outlines), each box is a tree, and its crown the
            ellipse that touches the box's sides.
        flight: ``flight.json``, or name → Pose. None: the captures do not overlap and are upright.
        metres_per_pixel: Where there is no flight; None takes a pixel for a metre.
        tree: Class of trees, by key or number. None: the class ``tree``; 1 where the classes are not known.
        radius: m, of the smallest crown that counts.
        agree: Drop trees detected in a smaller share than this of the captures that show their place.
        progress: Show a bar.

    Raises:
        GroveError: A capture that the flight does not know, or that has no mask; a mask that cannot be read, or that
            holds no class numbers; classes without ``tree``.

    Lab: case_groves.
    """
    from tqdm.auto import tqdm

    named = _named(source)
    placed = _placed(flight, named, metres_per_pixel)
    detected, sizes, canopy = [], {}, Canopy(overlapping=flight is not None)
    for name, (one, classes) in tqdm(named.items(), desc="count", unit="capture", disable=not progress):
        number, pose = _tree(tree, classes), placed.poses[name]
        flights.check_pixel(pose, f"The place of {name}")
        mask, drawn = _read(one, classes)
        if mask.ndim != 2:
            raise GroveError(f"Mask {name}: expected (H, W) class numbers, received shape {mask.shape}.")
        sizes[name] = mask.shape
        if drawn is None:
            detected.append(crowns(mask, pose, name, number, radius))
        else:
            detected.append(of_boxes(drawn[0][drawn[1] == number], mask.shape, pose, name, radius))
        canopy.add(mask, number, pose)
    trees = pd.concat(detected, ignore_index=True)
    if flight is not None:
        trees = merged(trees, placed.poses, sizes)
        trees = trees[trees["seen"] >= agree * trees["views"]].reset_index(drop=True)
    shown, covered = canopy.areas()
    if not shown:
        raise GroveError(
            f"No ground is shown: all pixels of {', '.join(list(named)[:3])} are ignored (255 in the mask, or without "
            "data in the image: transparent, or the value of no data). Check these files."
        )
    files = [one for one, _ in named.values() if isinstance(one, Path)]
    simulated = placed.simulated or any("SIMULATED" in masks.description(file) for file in files)
    known = placed.poses if flight is not None else {}
    return TreeCount(trees[list(COLUMNS)], shown / 1e4, covered, simulated, known, sizes)


# -- which masks -------------------------------------------------------------------------------------------------------


def _named(source) -> dict[str, tuple[Source, Classes | None]]:
    """Name → mask and the classes that are stated for it."""
    rows = list(_rows(source))
    without = [str(one.image) for _, one, _ in rows if isinstance(one, Capture) and one.mask is None]
    if without:
        raise GroveError(
            f"{len(without)} of {len(rows)} captures have no mask: {', '.join(without[:3])}"
            f"{' …' if len(without) > 3 else ''}. Trees are counted in masks, not in pictures: label these captures, "
            "leave them out, or map them first (arset groves predict)."
        )
    names = [name for name, _, _ in rows]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise GroveError(f"Two captures are called {', '.join(twice)}. Count them separately, or rename them.")
    return {name: (one, classes) for name, one, classes in rows}


def _rows(source) -> Iterable[tuple[str, Source, Classes | None]]:
    """(name, mask, classes) of each mask."""
    if isinstance(source, np.ndarray):
        yield "capture", source, None
    elif isinstance(source, dict):
        for name, one in source.items():
            yield from ((name, *row[1:]) for row in _rows(one))
    elif isinstance(source, Capture):
        yield source.name, source, classes_of(source)
    elif not folders.is_place(source):
        for one in source:
            yield from _rows(one)
    elif (path := copies.fetched(source)).is_file():
        yield path.stem, path, _stated(path.parent)
    elif not path.is_dir():
        raise GroveError(f"There is no file or folder {path}.")
    elif not (classes := classes_of_maps(path)) and _is_labelled(path):
        yield from _rows(captures(path))
    else:  # a folder of maps; never the true masks that lie beside it
        classes = classes or _stated(path)
        files = pictures.files_of(path)
        if not files:
            raise GroveError(f"{path} holds no image ({', '.join(pictures.SUFFIXES)}).")
        yield from ((file.stem, file, classes) for file in files)


def _stated(folder: Path) -> Classes | None:
    """The classes of the maps or masks in a folder, where it states them."""
    file = next((f for f in (folder / FILE, folder.parent / FILE) if f.is_file()), None)  # beside masks, or above them
    return classes_of_maps(folder) or (Classes.load(file) if file else None)


def _is_labelled(folder: Path) -> bool:
    """Whether a folder holds captures with labels, in place of maps."""
    try:
        layout = layout_of(folder)
    except GroveError:
        return False
    return layout != "beside" or any(file.stem.endswith(masks.MARK) for file in pictures.files_of(folder))


def _read(source: Source, classes: Classes | None) -> tuple[np.ndarray, tuple | None]:
    """(H, W) mask, and its boxes where it is labelled with boxes."""
    if isinstance(source, np.ndarray):
        return source, None
    if not isinstance(source, Capture):
        return masks.read_mask(source, classes), None
    drawn = boxes(source, classes)
    return read(source, replace(classes, boxes="ellipse") if drawn else classes, channels=None)[1], drawn


def _tree(tree: str | int | None, classes: Classes | None) -> int:
    """The number of the class of trees."""
    if isinstance(tree, str) and not tree.isdecimal():
        number = (classes or CLASSES).number(tree)
        if number is None:
            raise GroveError(f"There is no class {tree!r}. Known: {', '.join((classes or CLASSES).keys)}.")
        return number
    if tree is not None or classes is None:
        return TREE if tree is None else int(tree)
    number = classes.number("tree")
    if number is None and len(classes) > 2:
        raise GroveError(f"Which class is the tree? Name it with tree: one of {', '.join(classes.keys)}.")
    return TREE if number is None else number


def _placed(flight, named: dict, metres_per_pixel: float | None) -> Flight:
    """Where the captures lie."""
    if flight is None:
        if metres_per_pixel is not None and not flights.SMALLEST <= metres_per_pixel < np.inf:
            raise GroveError(
                f"Expected metres_per_pixel of {flights.SMALLEST:g} or more, in metres, received {metres_per_pixel:g}."
            )
        return Flight(dict.fromkeys(named, Pose.upright(metres_per_pixel or 1.0)))
    known = Flight(flight) if isinstance(flight, dict) else flights.read(copies.fetched(flight))
    if missing := sorted(set(named) - set(known.poses)):
        raise GroveError(
            f"The flight knows no capture {', '.join(missing)}. It has {len(known.poses)}, {min(known.poses)} to "
            f"{max(known.poses)}; a mask must have the name of its capture."
        )
    return Flight({name: known.poses[name] for name in named}, known.simulated)


# -- scores ------------------------------------------------------------------------------------------------------------


def _pairs(trees: np.ndarray, true: np.ndarray, within: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Indices of detected and true trees that make pairs, and their distances."""
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    if not len(trees) or not len(true):
        return np.array([], int), np.array([], int), np.array([])
    apart = cdist(trees[:, :2], true[:, :2])
    close = apart <= true[None, :, 2] * within
    ours, theirs = linear_sum_assignment(np.where(close, apart, 1e6))
    real = close[ours, theirs]
    ours, theirs = ours[real], theirs[real]
    return ours, theirs, apart[ours, theirs]


def _truth(truth) -> np.ndarray:
    """(N, 3) x, y, radius of true trees, m."""
    if isinstance(truth, pd.DataFrame):
        if missing := [name for name in ("x", "y", "radius") if name not in truth.columns]:
            raise GroveError(f"The true trees lack the column {missing[0]!r}; expected x, y and radius, m.")
        truth = truth[["x", "y", "radius"]]
    if not folders.is_place(truth):
        return _usable(np.asarray(truth, float).reshape(-1, 3), "The table of true trees")
    try:
        features = textfiles.read_json(folders.place(truth))["features"]
        rows = [(*f["geometry"]["coordinates"][:2], f["properties"]["radius"]) for f in features]
        true = np.array(rows, float).reshape(-1, 3)
    except FileNotFoundError as problem:
        raise GroveError(f"There is no file of true trees {truth}.") from problem
    except (ValueError, KeyError, TypeError) as problem:
        raise GroveError(f"{truth} holds no trees: expected GeoJSON points with the property radius.") from problem
    return _usable(true, str(truth))


def _usable(true: np.ndarray, name: str) -> np.ndarray:
    """True trees with places and radii that are numbers, radii above 0."""
    wrong = ~(np.isfinite(true).all(axis=1) & (true[:, 2] > 0))
    if wrong.any():
        x, y, radius = true[wrong][0]
        raise GroveError(
            f"{name}: {int(wrong.sum())} of {len(true)} trees have no place, or no radius above 0, first tree "
            f"{int(wrong.argmax()) + 1} (x {x:g}, y {y:g}, radius {radius:g}). Correct or leave out these trees."
        )
    return true
