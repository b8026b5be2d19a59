"""What a lab works on: a place, a flight or fields, found or made with one call.

    here = lab.place("simulated")        # or "real", or your own study file
    here.study, here.scenes(), here.labels(), here.table()

Two environment variables change where and how large: ``ARSET_DATA`` is the folder of all data (default: ``data``, or
that of the checkout); with ``ARSET_SCALE=small`` the simulated data are small, as in the tests. Where ``ARSET_DATA`` is
in an object store, the pixel table is made there; pictures are copied to this machine, and what else a lab makes lies
in the default folder: packages that know no store open those files.

The module also hides TensorFlow's messages about processors and libraries, where nobody set which ones to show.

Labs: all.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from arsetlib import copies, extras, folders
from arsetlib.catalogue import Scene, Scenes, find_scenes
from arsetlib.labels import Labels, find_labels
from arsetlib.study import Area, Study
from arsetlib.translation import _, ngettext

if TYPE_CHECKING:
    import xarray

__all__ = ["Pictures", "Place", "cube", "fields", "groves", "place"]

TOY_SCALE, TOY_BLOCK_M, TOY_AREAS = 0.05, 120, 2

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # errors only; TensorFlow reads it when it is imported


@dataclass(frozen=True)
class Place:
    """A study and the folder in which its data lie.

    Attributes:
        study: Places, years, labels and legend.
        data: Folder of all data.
        small: Whether the data are small, for a fast run.
        bars: Whether to show progress bars.

    Labs: part1_build_dataset, part2_load_data, part3_train_and_test.
    """

    study: Study
    data: Path
    small: bool
    bars: bool

    @property
    def year(self) -> int:
        """The latest year of the study."""
        return max(self.study.years)

    @property
    def box(self) -> Area:
        """The area of which every label pixel is taken; the last area where there is none."""
        return next((a for a in self.study.areas if a.every == 1), self.study.areas[-1])

    @property
    def work(self) -> Path:
        """Folder on this machine of what is made for this study; another study has another folder."""
        folder = _on_this_machine(self.data) / self._name
        if folders.in_store(self.data):  # else the table is made in it
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    @property
    def _name(self) -> str:
        return f"lab1-{self.study.key}-{self.study.fingerprint()}"

    @property
    def table_path(self) -> Path:
        """Folder of the pixel table, in ``data``."""
        return self.data / self._name / "pixels"

    def scenes(self) -> Scenes:
        """The scenes of the study; the list is kept beside the table and used again."""
        return find_scenes(self.study, cache=self.data / self._name / "items.json", progress=self.bars)

    def file(self, scene: Scene, asset: str) -> str | Path:
        """A file of a scene as other packages open it: a copy on this machine where ``data`` is in an object store.

        Args:
            scene: Of ``scenes``.
            asset: A band, or ``scl``.

        Returns:
            Path or link. Links to other places stay as they are.
        """
        href = scene.hrefs[asset]
        ours = folders.in_store(self.data) and href.startswith(f"{self.data}/")
        return copies.fetched(href) if ours else href

    def labels(self) -> dict[int, Labels]:
        """Year → label raster."""
        return {y: find_labels(self.study, y, self.data / "labels", progress=self.bars) for y in self.study.years}

    def table(self) -> pa.Table:
        """The pixel table of Lab 1; made here, without Spark, where Lab 1 has not run.

        Raises:
            IngestError: It cannot be made; the message says why.
        """
        from arsetlib import pixels

        if not self._has_table():  # only then is a lock taken: the data may lie where nobody can write
            from arsetlib.ingest import ingest

            with _locked(self.data):
                if not self._has_table():
                    print(_("There is no table of Lab 1 yet. Making it in {folder} …").format(folder=self.table_path))
                    ingest(self.study, self.scenes(), self.labels(), self.table_path, progress=self.bars)
        return pixels.read(self.table_path).combine_chunks()

    def _has_table(self) -> bool:
        return self.table_path.exists() and folders.state(self.table_path) != "unfinished"

    def __str__(self) -> str:
        study = self.study
        made = _("simulated") if study.simulated else _("measured by satellites")
        areas = ngettext("{n} area", "{n} areas", len(study.areas)).format(n=len(study.areas))
        years = _("years {years}").format(years=", ".join(map(str, study.years)))
        return f"{study.title()}: {areas}, {years}, {made}"


@dataclass(frozen=True)
class Pictures:
    """A folder of pictures for a case study.

    Attributes:
        folder: Where the pictures lie on this machine.
        data: Folder of all data.
        small: Whether they are small, for a fast run.
        bars: Whether to show progress bars.

    Labs: case_groves, case_fields.
    """

    folder: Path
    data: Path
    small: bool
    bars: bool

    @property
    def work(self) -> Path:
        """Folder on this machine of what is made from these pictures; other pictures have another folder."""
        place = hashlib.sha256(str(self.folder.resolve()).encode()).hexdigest()[:8]
        return _on_this_machine(self.data) / f"work-{self.folder.name}-{place}"

    @cached_property
    def simulated(self) -> bool:
        """Whether a program made the pictures."""
        return folders.state(self.folder) == "complete"  # real pictures have no manifest


def place(source: str | Path = "simulated", data: str | Path | None = None, small: bool | None = None) -> Place:
    """A place to work on.

    Args:
        source: ``"simulated"`` is the simulated delta, made where it is missing; ``"real"`` one area and year of the
            Mississippi delta from the public services; else the path of a study file (``.toml``).
        data: Folder of all data; by default ``ARSET_DATA``, or ``data``.
        small: Take a small version of the simulated delta; by default ``ARSET_SCALE=small`` decides.

    Raises:
        StudyError: No such study file, or something in it is invalid.

    Labs: part1_build_dataset, part2_load_data, part3_train_and_test.
    """
    data, small = _data(data), _small(small)
    if str(source) == "simulated":
        study = _delta(data, small)
    elif str(source) == "real":
        study = Study.load("mississippi_delta")
        # One small area and one year, for a first look: the whole study takes hours.
        study = study.replace(areas=(study.area("dense"),), years=(max(study.split["train"]),))
    else:
        study = Study.load(source)
    return Place(study, data, small, _bars())


def cube() -> xarray.Dataset:
    """Real Sentinel-2 images of a forest edge in Romania, 1 km², on 140 dates from August 2015 to January 2021.

    They are in the package ``nrt`` 0.2.1 (EUPL-1.2) of the extra ``real``, whose code is not imported. Wherever you
    show them, add the credit in ``attrs["credit"]``.

    Returns:
        A Dataset in EPSG:3035 with pixels of 10 m: ``B2``, ``B3``, ``B4`` and ``B8`` (time, y, x), reflectance ×
        10,000, and ``SCL``, all NaN where there is no data; ``tree_cover`` (y, x), percent, of 2018, from pixels of
        20 m.

    Raises:
        MissingPackage: A package of the extra is not installed, or another version of ``nrt``; with the command.

    Lab: real_place.
    """
    import netCDF4  # noqa: F401 -- with it xarray reads the file
    import rasterio
    import xarray

    try:
        package = importlib.metadata.distribution("nrt")
    except importlib.metadata.PackageNotFoundError:
        raise extras.missing("nrt") from None
    images, cover = (
        Path(str(package.locate_file(f"nrt/data/{name}")))
        for name in ("sentinel2_cube_subset_romania_10m.nc", "tree_cover_density_2018_romania.tif")
    )
    if not images.is_file():
        raise extras.MissingPackage(
            _(
                "Expected the images of nrt 0.2.1, found nrt {version} without them. Install that version: {command}"
            ).format(version=package.version, command=extras.install("real")),
            name="nrt",
        )
    with xarray.open_dataset(images, engine="netcdf4") as source:
        found = source.load()
    with rasterio.open(cover) as source:
        percent = source.read(1, masked=True).astype("f4").filled(float("nan")).repeat(2, 0).repeat(2, 1)
    found["tree_cover"] = ("y", "x"), percent
    found.attrs["credit"] = _(
        "Contains modified Copernicus Sentinel data 2015-2021; tree cover: Copernicus Land Monitoring Service 2018. "
        "Files: nrt 0.2.1, EUPL-1.2."
    )
    return found


def groves(source: str | Path = "simulated", data: str | Path | None = None, small: bool | None = None) -> Pictures:
    """The captures of a flight over an olive grove.

    Args:
        source: ``"simulated"``, made where it is missing; else a folder with ``images``, ``masks``, ``flight.json``.
        data, small: As in ``place``.

    Lab: case_groves.
    """
    from arsetlib import simulate

    toy = {"captures": 7, "size": (400, 560)}
    return _pictures(source, data, small, "groves", simulate.groves, toy, {})


def fields(source: str | Path = "simulated", data: str | Path | None = None, small: bool | None = None) -> Pictures:
    """Images of farm fields in the layout of Agriculture-Vision.

    Args:
        source: ``"simulated"``, made where it is missing; else the folder of your copy of Agriculture-Vision.
        data, small: As in ``place``.

    Lab: case_fields.
    """
    from arsetlib import simulate

    toy, full = {"fields": 30, "chips": 3, "size": 128}, {"fields": 100, "chips": 6, "size": 512}
    return _pictures(source, data, small, "fields", partial(simulate.fields, seed=1), toy, full)


def _pictures(
    source: str | Path,
    data: str | Path | None,
    small: bool | None,
    name: str,
    simulate: Callable[..., object],
    toy: dict,
    full: dict,
) -> Pictures:
    """The folder that ``source`` names, or a simulated one, made where it is missing."""
    data, small = _data(data), _small(small)
    folder = folders.place(source)
    if str(source) == "simulated":
        folder = data / (f"{name}-toy" if small else name)
        simulate(folder, progress=_bars(), **(toy if small else full))
    return Pictures(copies.fetched(folder), data, small, _bars())


def _delta(data: Path, small: bool) -> Study:
    from arsetlib import simulate

    folder = data / ("delta-toy" if small else "delta")
    if folders.state(folder) != "complete":
        with _locked(data):
            print(_("Making the simulated delta in {folder}, once …").format(folder=folder))
            simulate.delta(folder, scale=TOY_SCALE if small else 1.0, progress=_bars())  # at once where it is complete
    study = Study.load(folder / "study.toml")
    if not small:
        return study
    areas = tuple(dataclasses.replace(a, every=1) for a in study.areas[-TOY_AREAS:])  # few areas, every pixel
    return study.replace(areas=areas, block_m=TOY_BLOCK_M)


def _data(data: str | Path | None) -> Path:
    return folders.place(data or os.environ.get("ARSET_DATA") or _default())


def _default() -> Path:
    checkout = Path("../../pyproject.toml").is_file()  # a lab runs in its own folder
    return Path("../../data" if checkout else "data")


def _on_this_machine(data: Path) -> Path:
    return _default() if folders.in_store(data) else data


def _small(small: bool | None) -> bool:
    return os.environ.get("ARSET_SCALE") == "small" if small is None else small


def _bars() -> bool:
    return os.environ.get("ARSET_BOOK") != "1"  # a page of the book does not move


def _locked(data: Path) -> AbstractContextManager:
    """Two notebooks that start at the same time make the data once: the second one waits."""
    return folders.lock(data, name=".lab.lock", wait=True)
