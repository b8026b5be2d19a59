"""The scenes of a task. The job puts them into the folder by place, so that a task reads those near it and no others.

An item list of a country has 100,000 scenes and takes minutes to read; the scenes near one chunk take milliseconds.
Which of them touch the chunk is computed by the task itself, so no list of chunks and scenes is made or sent.

Lab: part1_build_dataset.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import shapely

from arsetlib import folders
from arsetlib.catalogue import Scene, Scenes
from arsetlib.ingest.lattice import Chunk, Chunks
from arsetlib.ingest.survey import Survey
from arsetlib.study import Study

SCENES = "_scenes.json"  # the item list of a table, with its survey
PLACES = f"{folders.WORK}/scenes"  # one item list for each tile of Sentinel-2, and which part of the Earth each shows
INDEX = f"{PLACES}/index.json"


def put(folder: folders.Folder, scenes: Scenes, survey: Survey) -> None:
    """Put the scenes of a table into its folder, each with what is known of it: as one list, and by place.

    Args:
        folder: Of the table.
        scenes: The item list.
        survey: Of these scenes.
    """
    features = list(scenes.features(folder.path.resolve()))
    _put(folder, SCENES, replace(scenes, survey=survey.as_dict()), features)
    places: dict[str, list[int]] = {}
    for number, scene in enumerate(scenes):
        places.setdefault(_place(scene), []).append(number)
    index = []
    for number, numbers in enumerate(places.values()):
        key, here = f"{PLACES}/{number:05d}.json", tuple(scenes.items[i] for i in numbers)
        _put(folder, key, Scenes(here, survey=survey.only(here).as_dict()), [features[i] for i in numbers])
        index.append([key, *shapely.total_bounds([s.footprint for s in here]).tolist()])
    folder.put(INDEX, json.dumps(index))


def _put(folder: folders.Folder, key: str, scenes: Scenes, features: list[bytes]) -> None:
    def write(path: Path) -> None:
        with path.open("wb") as file:
            file.writelines(scenes.encode(features))

    folder.put(key, write)


def _place(scene: Scene) -> str:
    west, south, east, north = scene.footprint.bounds
    return scene.tile or f"{math.floor((west + east) / 2)} {math.floor((south + north) / 2)}"


def of(folder: folders.Folder, run_id: int, chunks: Chunks, chunk: Chunk, study: Study) -> tuple[list[Scene], Survey]:
    """The scenes that touch a chunk, in order of the item list, and what is known of them.

    Args:
        folder: Where ``put`` put them.
        run_id: Of the call of ``put``; what a process has read before is used again only for the same one.
        chunks: Of the table.
        chunk: One of them.
        study: Its seasons.
    """
    west, south, east, north = chunks.grid.outlines([chunk])[0].bounds
    near = [
        _scenes_at(folder, key, run_id)
        for key, x0, y0, x1, y1 in _index(folder, run_id)
        if x0 <= east and west <= x1 and y0 <= north and south <= y1
    ]
    scenes = chunks.scenes_of(chunk, Scenes(tuple(s for here, _ in near for s in here)).items, study)
    known = Survey()
    for _, survey in near:
        known = Survey(known.decisions | survey.decisions, known.bad | survey.bad)
    return scenes, known.only(scenes)


@lru_cache(maxsize=2)
def _index(folder: folders.Folder, run_id: int) -> list[list]:
    return json.loads(folder.read(INDEX))


@lru_cache(maxsize=32)
def _scenes_at(folder: folders.Folder, key: str, run_id: int) -> tuple[Scenes, Survey]:
    scenes = Scenes.decode(folder.read(key), folder.path)
    return scenes, Survey(**scenes.survey)
