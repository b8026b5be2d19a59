"""Other processings of the same images: Earth Search lists many scenes in two collections."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime

from arsetlib.catalogue.geometry import Unusable
from arsetlib.catalogue.item import COLLECTION_1, Item
from arsetlib.catalogue.scenes import EPOCH, Scene
from arsetlib.catalogue.selection import COMPLETE, scene_of
from arsetlib.catalogue.sources import SAME_PASS, search, static_place
from arsetlib.study import Area, Study
from arsetlib.web import CatalogueError, host

OLD_COLLECTION = "sentinel-2-l2a"


def other_processings(
    scenes: Sequence[Scene], study: Study, areas: Iterable[Area], bands: Iterable[str]
) -> dict[str, Scene]:
    """The same images in Collection 1, which states the processing offset correctly.

    This is additional evidence, so nothing is an error: where the service does not answer at the first try, or has no
    Collection 1, or lacks an image, the result has fewer scenes.

    Args:
        scenes: Of ``find_scenes``.
        study: Where they come from.
        areas: That scenes must touch.
        bands: Whose files are needed, besides ``scl``.

    Returns:
        Id of a scene → the same image of Collection 1.
    """
    old = [s for s in scenes if s.tile and study.scenes.collection_of(s.year) == OLD_COLLECTION]
    others: dict[str, Scene] = {}
    try:
        if not old or static_place(study) or host(study.scenes.url).endswith(COMPLETE):
            return {}
        for year in sorted({s.year for s in old}):
            wanted = [s for s in old if s.year == year]
            first, last = (date.fromordinal(EPOCH + day(s.day for s in wanted)) for day in (min, max))
            items = list(search(study.scenes.url, COLLECTION_1, areas, first, last, attempts=1))
            for scene in wanted:
                if item := next((i for i in items if _same_image(i, scene)), None):
                    others[scene.id] = scene_of(item, scene.day, bands)
    except (CatalogueError, Unusable, ValueError, LookupError, TypeError):
        pass
    return others


def _same_image(item: Item, scene: Scene) -> bool:
    try:
        item.require_parts()
        apart = abs(item.time - datetime.fromisoformat(scene.datetime))
        return item.tile == scene.tile and item.platform in (None, scene.platform) and apart <= SAME_PASS
    except (Unusable, AttributeError, TypeError):
        return False
