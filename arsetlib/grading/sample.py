"""The sample that all homework uses: the toy delta of the labs, two areas of it with every pixel, three years.

It is small, so that a homework runs in seconds, and the same on every machine, so that an answer is too. Labs run with
``ARSET_SCALE=small`` make and read the very same folders.
"""

from __future__ import annotations

from pathlib import Path

SCALE, BLOCK_M, AREAS = 0.05, 120, 2


def study(data: Path):
    """The study of the sample in the folder ``data``; the scenes are made where they are missing."""
    from arsetlib import folders, simulate
    from arsetlib.study import Study

    delta = data / "delta-toy"
    if folders.state(delta) != "complete":
        print(f"Making the simulated sample in {delta}, once …")
        with _alone(data):
            simulate.delta(delta, scale=SCALE, progress=False)
    whole = Study.load(delta / "study.toml")
    return whole.replace(areas=whole.areas[-AREAS:], block_m=BLOCK_M)


def table(data: Path):
    """The pixel table of the sample, a pyarrow Table; made where it is missing."""
    from arsetlib import folders, pixels

    place = study(data)
    work = data / f"lab1-{place.key}-{place.fingerprint()}"
    if not (work / "pixels").exists() or folders.state(work / "pixels") == "unfinished":
        print(f"Making the table of the sample in {work}, once …")
        with _alone(data):
            _ingest(place, data, work)
    return pixels.read(work / "pixels").combine_chunks()


def _ingest(place, data: Path, work: Path) -> None:
    from arsetlib.catalogue import find_scenes
    from arsetlib.ingest import ingest
    from arsetlib.labels import find_labels

    scenes = find_scenes(place, cache=work / "items.json", progress=False)
    labels = {year: find_labels(place, year, cache=data / "labels", progress=False) for year in place.years}
    ingest(place, scenes, labels, work / "pixels", every=1, progress=False)


def _alone(data: Path):
    """A lock: two kernels that start at once make the sample once."""
    from filelock import FileLock

    data.mkdir(parents=True, exist_ok=True)
    return FileLock(data / ".homework.lock")
