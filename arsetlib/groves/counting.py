"""Count trees: crowns in a mask, each tree of a flight once, canopy cover, and how right that is.

Lab: case_groves. Shell: ``arset groves count``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from arsetlib import groves, textfiles
from arsetlib.groves import captures as files
from arsetlib.groves.classes import FILE, GroveError
from arsetlib.groves.crowns import crowns, of_boxes
from arsetlib.groves.flight import Pose, inside, poses
from arsetlib.groves.layouts import classes_of, layout_of
from arsetlib.groves.masks import MARK

TREE = 1  # class number
RADIUS = 0.5  # m, of the smallest crown that counts
CELL = 0.1  # m, of the ground grid on which canopy is added up
COLUMNS = ("x", "y", "radius", "area", "capture", "views", "seen", "whole")


@dataclass
class Count:
    """Trees found.

    Attributes:
        trees: One row a tree: ``x``, ``y`` (m on the ground), ``radius`` (m, of a disc of the crown's area), ``area``
            (m²), ``capture`` (the one it was taken from), ``views`` (captures that show its place), ``seen`` (captures
            in which it was found), ``whole`` (False where the capture's border cuts the crown).
        area_ha: Ground that was seen, each place once.
        canopy_m2: Of it under crowns.
        simulated: Whether the captures were.
    """

    trees: pd.DataFrame
    area_ha: float
    canopy_m2: float
    simulated: bool = False
    poses: dict = field(default_factory=dict, repr=False)
    sizes: dict = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.trees)

    @property
    def cover(self) -> float:
        """Share of the ground under crowns."""
        return self.canopy_m2 / (self.area_ha * 1e4)

    @property
    def trees_per_ha(self) -> float:
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

    def score(self, truth, within: float = 1.0) -> dict:
        """Hold the trees against true ones.

        A found and a true tree make a pair if their centres are no further apart than the true crown's radius (times
        ``within``); of all ways to pair them, the one with most pairs, then least distance, is taken (Hungarian
        method).

        Args:
            truth: ``trees.geojson`` (points with a radius, m), or (N, 3) array or table of x, y, radius.
            within: How far, in radii of the true crown.

        Returns:
            dict of ``trees``, ``truth`` (that lie on the ground that was seen), ``matched``, ``count_error`` (found −
            true, as a share of true), ``precision``, ``recall``, ``f1``, ``distance`` (m, median), ``radius_error`` (m,
            mean, found − true).
        """
        if isinstance(truth, str | Path) and not self.poses:
            raise GroveError(
                f"{truth} tells places on the ground, but these trees were counted without a flight. Count with flight."
            )
        true = _truth(truth)
        if self.poses:
            true = true[self._sees(true[:, 0], true[:, 1])]
        found = self.trees[["x", "y", "radius"]].to_numpy(float)
        ours, theirs, apart = _pairs(found, true, within)
        matched = len(ours)
        precision = matched / len(found) if len(found) else float("nan")
        recall = matched / len(true) if len(true) else float("nan")
        return {
            "trees": len(found),
            "truth": len(true),
            "matched": matched,
            "count_error": (len(found) - len(true)) / len(true) if len(true) else float("nan"),
            "precision": precision,
            "recall": recall,
            "f1": 2 * matched / (len(found) + len(true)) if len(found) + len(true) else float("nan"),
            "distance": float(np.median(apart)) if matched else float("nan"),
            "radius_error": float(np.mean(found[ours, 2] - true[theirs, 2])) if matched else float("nan"),
        }

    def geojson(self, path: str | Path) -> Path:
        """Write points; coordinates are metres on the flight's ground, not degrees."""
        about = "Trees found by arsetlib. Coordinates: metres on the ground of the flight, not degrees."
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
        return _write(Path(path), json.dumps(body, indent=1) + "\n")

    def csv(self, path: str | Path) -> Path:
        """Write one row a tree."""
        return _write(Path(path), self.trees.round(3).to_csv(index_label="tree"))

    def _sees(self, x, y) -> np.ndarray:
        """Whether any capture shows these places."""
        return np.any([inside(self.poses[n], self.sizes[n], x, y) for n in self.poses], axis=0)


def count(masks, *, flight=None, metres_per_pixel=None, tree=None, radius=RADIUS, agree=0.0, progress=False) -> Count:
    """Count the trees of a mask, or of all captures of a flight, each once.

    In each mask the crowns are told apart (see ``instances``). Captures of a flight overlap, so a tree is found up to
    five times: the finds are laid on the ground by the captures' poses, and those that cannot be two trees (the centre
    of one lies under the crown of the other) are one. Of these the whole crown nearest to the middle of its capture is
    kept.

    Args:
        masks: (H, W) class numbers, a dict of name → mask, a PNG, a folder of maps, a folder of labelled captures, or a
            list of captures. Where captures are labelled with boxes (Pascal VOC, DeepForest, COCO without outlines),
            each box is a tree, and its crown the ellipse that touches its sides.
        flight: ``flight.json``, or name → Pose. None: the captures lie apart (no overlap), upright.
        metres_per_pixel: Where there is no flight; None counts in pixels as metres.
        tree: Class of trees, by key or number. None: the class ``tree``; 1 where the classes are not known.
        radius: m, of the smallest crown that counts.
        agree: Drop trees found in a smaller share than this of the captures that show their place.
        progress: Show a bar.

    Raises:
        GroveError: A capture that the flight does not know, or that has no mask; a mask that cannot be read, or that
            holds no class numbers; classes without ``tree``.

    Lab: case_groves.
    """
    from tqdm.auto import tqdm

    named, classes = _named(masks)
    where, simulated = _where(flight, named, metres_per_pixel)
    finds, canopy, sizes = [], None, {}
    for name, source in tqdm(named.items(), desc="count", unit="capture", disable=not progress):
        kinds = classes or (classes_of(source) if hasattr(source, "layout") else None)
        number = _tree(tree, kinds)
        canopy = canopy or _Canopy(where, number)
        mask, boxes = (source, None) if isinstance(source, np.ndarray) else _read(source, kinds)
        if mask.ndim != 2:
            raise GroveError(f"Mask {name}: expected (H, W) class numbers, received shape {mask.shape}.")
        sizes[name] = mask.shape
        if boxes is None:
            finds.append(crowns(mask, where[name], name, number, radius))
        else:
            finds.append(of_boxes(boxes[0][boxes[1] == number], mask.shape, where[name], name, radius))
        canopy.add(name, mask)
    trees = pd.concat(finds, ignore_index=True)
    if flight is not None:
        trees = _once(trees, where, sizes)
        trees = trees[trees["seen"] >= agree * trees["views"]].reset_index(drop=True)
    area, covered = canopy.result()
    simulated = simulated or _says_simulated(named)
    return Count(trees[list(COLUMNS)], area / 1e4, covered, simulated, where if flight is not None else {}, sizes)


def _once(finds: pd.DataFrame, where: dict[str, Pose], sizes: dict) -> pd.DataFrame:
    """One row for each tree: the best of the finds that are the same."""
    from scipy.spatial import cKDTree

    finds = finds.sort_values(["whole", "off"], ascending=[False, True], kind="stable").reset_index(drop=True)
    if not len(finds):
        return finds
    place, r = finds[["x", "y"]].to_numpy(), finds["radius"].to_numpy()
    capture, whole = finds["capture"].to_numpy(), finds["whole"].to_numpy()
    near = cKDTree(place).query_ball_point(place, float(r.max()))
    free, seen = np.ones(len(finds), bool), np.ones(len(finds), int)
    kept = []
    for i in range(len(finds)):
        if not free[i]:
            continue
        kept.append(i)
        free[i] = False
        others = {capture[i]}
        for j in sorted(near[i], key=lambda j: np.hypot(*(place[j] - place[i]))):
            # Two crowns of one capture are two trees: the watershed has told them apart.
            if not free[j] or capture[j] == capture[i] or (whole[j] and capture[j] in others):
                continue
            if np.hypot(*(place[j] - place[i])) < max(r[i], r[j]) * (0.75 if whole[j] and whole[i] else 1.0):
                free[j] = False
                others.add(capture[j])
        seen[i] = len(others)
    trees = finds.iloc[kept].copy()
    trees["seen"] = seen[kept]
    x, y = trees["x"].to_numpy(), trees["y"].to_numpy()
    trees["views"] = np.maximum(sum(inside(where[n], sizes[n], x, y).astype(int) for n in sizes), trees["seen"])
    trees = trees[~_splinters(trees)]
    return trees.sort_values(["y", "x"], ascending=[False, True], kind="stable").reset_index(drop=True)


def _splinters(trees: pd.DataFrame) -> np.ndarray:
    """Whether a tree is a piece of a larger crown: under it, and found in at most half of the captures that see it."""
    from scipy.spatial.distance import cdist

    place, r = trees[["x", "y"]].to_numpy(), trees["radius"].to_numpy()
    doubtful = (trees["seen"] <= trees["views"] / 2).to_numpy()
    under = (cdist(place[doubtful], place) < r) & (r[doubtful][:, None] < r)
    doubtful[doubtful] = under.any(axis=1)
    return doubtful


class _Canopy:
    """Ground seen and ground under crowns, m². A place in several captures counts as in the one whose middle is
    nearest."""

    def __init__(self, where: dict[str, Pose], tree: int):
        self.where, self.tree = where, tree
        self.cells: dict[tuple[int, int], np.ndarray] = {}
        self.apart = all(pose == Pose.upright(pose.metres) for pose in where.values())
        self.seen = self.covered = 0.0
        self.parts: list[tuple] = []

    def add(self, name: str, mask: np.ndarray) -> None:
        pose = self.where[name]
        if self.apart:
            known = mask != files.IGNORE
            self.seen += known.sum() * pose.metres**2
            self.covered += (mask == self.tree).sum() * pose.metres**2
            return
        height, width = mask.shape
        x, y = pose.ground(np.array([0, width, width, 0]), np.array([0, 0, height, height]))
        i0, i1 = int(np.floor(x.min() / CELL)), int(np.ceil(x.max() / CELL))
        j0, j1 = int(np.floor(y.min() / CELL)), int(np.ceil(y.max() / CELL))
        gx, gy = np.meshgrid((np.arange(i0, i1) + 0.5) * CELL, (np.arange(j0, j1) + 0.5) * CELL)
        column, row = (np.floor(v).astype(int) for v in pose.image(gx, gy))
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        value = np.full(gx.shape, files.IGNORE, np.uint8)
        value[inside] = mask[row[inside], column[inside]]
        centre = pose.ground(width / 2, height / 2)
        off = np.hypot(gx - centre[0], gy - centre[1]).astype(np.float32)
        off[value == files.IGNORE] = np.inf
        self.parts.append((i0, j0, value == self.tree, off))

    def result(self) -> tuple[float, float]:
        """(seen, under crowns), m²."""
        if self.apart or not self.parts:
            return float(self.seen), float(self.covered)
        i0, j0 = min(p[0] for p in self.parts), min(p[1] for p in self.parts)
        shape = (
            max(p[1] + p[3].shape[0] for p in self.parts) - j0,
            max(p[0] + p[3].shape[1] for p in self.parts) - i0,
        )
        best, crown = np.full(shape, np.inf, np.float32), np.zeros(shape, bool)
        for i, j, is_tree, off in self.parts:
            part = np.s_[j - j0 : j - j0 + off.shape[0], i - i0 : i - i0 + off.shape[1]]
            nearer = off < best[part]
            best[part][nearer] = off[nearer]
            crown[part][nearer] = is_tree[nearer]
        return float(np.isfinite(best).sum() * CELL**2), float(crown.sum() * CELL**2)


def _pairs(found: np.ndarray, true: np.ndarray, within: float):
    """Indices of found and true trees that make pairs, and their distances."""
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    if not len(found) or not len(true):
        return np.array([], int), np.array([], int), np.array([])
    apart = cdist(found[:, :2], true[:, :2])
    ok = apart <= true[None, :, 2] * within
    cost = np.where(ok, apart, 1e6)
    ours, theirs = linear_sum_assignment(cost)
    real = ok[ours, theirs]
    ours, theirs = ours[real], theirs[real]
    return ours, theirs, apart[ours, theirs]


def _truth(truth) -> np.ndarray:
    """(N, 3) x, y, radius of true trees, m."""
    if isinstance(truth, str | Path):
        try:
            held = textfiles.read_json(truth)
            rows = [(*f["geometry"]["coordinates"][:2], f["properties"]["radius"]) for f in held["features"]]
            known = np.array(rows, float).reshape(-1, 3)
            if not np.isfinite(known).all():
                raise ValueError("a number is missing")
        except FileNotFoundError as problem:
            raise GroveError(f"There is no file of true trees {truth}.") from problem
        except (ValueError, KeyError, TypeError) as problem:
            raise GroveError(f"{truth} holds no trees: expected GeoJSON points with the property radius.") from problem
        return known
    if isinstance(truth, pd.DataFrame):
        truth = truth[["x", "y", "radius"]]
    return np.asarray(truth, float).reshape(-1, 3)


def _named(masks) -> tuple[dict, groves.Classes | None]:
    """Name → mask, path of one or labelled capture; and the classes of a folder of maps, where it states them."""
    if isinstance(masks, np.ndarray):
        return {"capture": masks}, None
    if isinstance(masks, dict):
        return masks, _same([_stated(Path(m).parent) for m in masks.values() if isinstance(m, str | Path)])
    if not isinstance(masks, str | Path):
        return _several(masks)
    place = Path(masks)
    if place.is_dir() and not files.card(place) and _is_labelled(place):
        return _several(groves.captures(place))
    classes = _stated(place if place.is_dir() else place.parent)
    return {name: path for name, path, _ in files.listed(masks)}, classes  # never the masks of a folder beside them


def _stated(folder: Path) -> groves.Classes | None:
    """The classes of the maps or masks in a folder, where it states them."""
    card = files.card(folder) if folder.is_dir() else {}
    if "colours" in card:
        return groves.Classes(tuple(card["classes"]), tuple(card["colours"][: len(card["classes"])]))
    file = next((f for f in (folder / FILE, folder.parent / FILE) if f.is_file()), None)  # beside masks, or above them
    return groves.Classes.load(file) if file else None


def _same(stated: list[groves.Classes | None]) -> groves.Classes | None:
    """The classes that all masks have.

    Raises:
        GroveError: They differ.
    """
    if any(one != stated[0] for one in stated):
        raise GroveError(
            "The masks come from folders with different classes. Count those of each folder on their own, and add up."
        )
    return stated[0] if stated else None


def _is_labelled(folder: Path) -> bool:
    """Whether a folder holds captures with labels, in place of maps."""
    try:
        layout = layout_of(folder)
    except groves.GroveError:
        return False
    return layout != "beside" or any(p.stem.endswith(MARK) for p in files.pictures.files_of(folder))


def _several(masks) -> tuple[dict, groves.Classes | None]:
    """Of a list of captures and paths. A capture without a mask is refused: its picture is no mask."""
    masks = list(masks)
    bare = [str(c.image) for c in masks if hasattr(c, "image") and c.mask is None]
    if bare:
        raise GroveError(
            f"{len(bare)} of {len(masks)} captures have no mask: {', '.join(bare[:3])}{' …' if len(bare) > 3 else ''}. "
            "Trees are counted in masks, not in pictures: label these captures, leave them out, or map them first "
            "(arset groves predict)."
        )
    rows, stated = [], []
    for one in masks:
        if isinstance(one, str | Path):
            part, classes = _named(one)
            stated.append(classes)
            rows += part.items()
        else:
            rows += [(name, mask or image) for name, image, mask in files.listed([one])]
    names = [name for name, _ in rows]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise GroveError(f"Two captures are called {', '.join(twice)}. Count them one after the other, or rename them.")
    return dict(rows), _same(stated)


def _read(source, classes):
    """(H, W) mask of a file or capture, and its boxes where it is labelled with boxes."""
    if not hasattr(source, "layout"):
        return files.read_mask(source, classes), None
    try:
        boxes = groves.boxes(source, classes)
        if boxes is not None:
            return groves.read(source, replace(classes, boxes="ellipse"))[1], boxes
    except groves.GroveError as problem:
        raise GroveError(str(problem)) from problem
    return files.read_mask(source, classes), None


def _tree(tree, classes) -> int:
    """The number of the class of trees."""
    if isinstance(tree, str) and not tree.isdecimal():
        number = classes.number(tree) if classes else groves.CLASSES.number(tree)
        if number is None:
            raise GroveError(f"There is no class {tree!r}. Known: {', '.join((classes or groves.CLASSES).keys)}.")
        return number
    if tree is not None:
        return int(tree)
    if classes is None:
        return TREE
    number = classes.number("tree")
    if number is None:
        if len(classes) > 2:
            raise GroveError(f"Which class is the tree? Name it with tree: one of {', '.join(classes.keys)}.")
        return TREE
    return number


def _says_simulated(named: dict) -> bool:
    """Whether a map says of itself that it was made from simulated captures."""
    return any("SIMULATED" in files.described(path) for path in named.values() if isinstance(path, Path))


def _where(flight, named: dict, metres_per_pixel) -> tuple[dict[str, Pose], bool]:
    """Name → pose, and whether the flight says that it is simulated."""
    if flight is None:
        pose = Pose.upright(metres_per_pixel or 1.0)
        return dict.fromkeys(named, pose), False
    known, simulated = flight, False
    if not isinstance(flight, dict):
        known = poses(flight)
        simulated = bool(textfiles.read_json(flight).get("simulated", False))
    if missing := sorted(set(named) - set(known)):
        raise GroveError(
            f"The flight knows no capture {', '.join(missing)}. It has {len(known)}, {min(known)} to {max(known)}; "
            "a mask is called as its capture."
        )
    return {name: known[name] for name in named}, simulated


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
    return path
