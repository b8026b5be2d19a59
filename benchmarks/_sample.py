"""The pixel table of the simulated delta, which several benchmarks store, or train on."""

from pathlib import Path

from arsetlib import catalogue, simulate
from arsetlib.ingest import ingest
from arsetlib.labels import find_labels
from arsetlib.study import Study

DELTA = Path("data/delta")
PLACE = Path("data/bench/sample")


def pixel_table(years: tuple[int, ...] = (2019, 2020, 2021)) -> tuple[Path, Study]:
    """The table of some years, made at the first call, and its study."""
    simulate.delta(DELTA)
    study = Study.load(DELTA / "study.toml").replace(years=years)
    table = PLACE / "-".join(map(str, years))
    if not table.exists():
        scenes = catalogue.find_scenes(study, progress=False)
        labels = {year: find_labels(study, year, PLACE / "labels") for year in years}
        ingest(study, scenes, labels, table, progress=False)
    return table, study
