"""A study: everything that changes when the course moves to another place."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from arsetlib import checksums, textfiles, translation
from arsetlib.stores import place
from arsetlib.study.area import Area
from arsetlib.study.parsing import BACKSLASH, WAVES, Parser, StudyError, nearest
from arsetlib.study.settings import LabelSource, Legend, SceneSource, Season, scene_facts, text


@dataclass(frozen=True)
class Study:
    """One study: everything that changes when the course moves to another place.

    >>> Study.load("sample").bands[:2]
    ('coastal', 'blue')

    Attributes:
        key, name, description: Who it is. ``simulated`` says whether any of it is.
        language: Of what is shown, where the reader has set none (`arsetlib.language`); empty leaves it English.
        areas: Boxes to sample.
        years: Label years.
        split: Side → years; no year on two sides.
        block_m: Side of a spatial block, units of the label grid's CRS, for splits and for intervals of scores.
        season, bands, legend, labels, scenes: See their classes.
        drop_scl: Scene classes whose observations are dropped.
        min_confidence: Least label confidence (0-100) of a pixel; 0 takes all.
        seed: Of every random choice in building the table.
        root: Folder against which relative paths are read.
        text: The study file itself, kept with what is made from it.
        sensors: Sensor → its bands, for tables to which ``pixels.join`` added those of other sensors.
        indices: Spectral indices that are channels of a sample, such as ``ndvi``; see ``samples.INDICES``.
        day_of_year: Whether the time of the year is a channel, as a sine and a cosine.
    """

    key: str
    name: dict[str, str]
    description: str
    simulated: bool
    areas: tuple[Area, ...]
    years: tuple[int, ...]
    split: dict[str, tuple[int, ...]]
    block_m: float
    season: Season
    bands: tuple[str, ...]
    legend: Legend
    labels: LabelSource
    scenes: SceneSource
    drop_scl: tuple[int, ...]
    min_confidence: int
    seed: int
    root: Path | None = None
    text: str = ""
    sensors: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    indices: tuple[str, ...] = ()
    day_of_year: bool = False
    language: str = ""

    @classmethod
    def load(cls, name: str | Path) -> Study:
        """Read a study file: the name of a shipped one (``"sample"``) or a path that ends in ``.toml``.

        The file may lie in an object store (``s3://bucket/study.toml``); its relative paths do, then, too.

        >>> study = Study.load("sample")
        >>> study
        Study('sample')
        >>> study.legend.names()[:2]
        ['No Crops Growing', 'Uncultivated']

        Raises:
            StudyError: No such study, not TOML, a key that does not exist, an invalid value.
        """
        path = place(name)
        if path.suffix == ".toml":
            if not path.is_file():
                raise StudyError(f"There is no study file {path}. Shipped studies are: {', '.join(shipped())}.")
            try:
                text = textfiles.read_text(path)
            except ValueError as error:
                raise StudyError(f"{path} cannot be read: {error} and try again.") from None
            except OSError as error:
                raise StudyError(f"{path} cannot be read: {error.strerror}.") from None
            return cls.parse(text, str(path), root=path.resolve().parent)
        if str(name) not in shipped():
            raise StudyError(
                f"There is no study called {str(name)!r}{nearest(str(name), shipped())}. "
                f"Shipped studies are: {', '.join(shipped())}. A file of your own must end in .toml."
            )
        source = resources.files("arsetlib") / "studies" / f"{name}.toml"
        return cls.parse(source.read_text(encoding="utf-8"), f"{name}.toml")

    @classmethod
    def parse(cls, toml: str, source: str = "study", root: Path | None = None) -> Study:
        """Build a study from the text of a study file; ``source`` names it in errors."""
        try:
            raw = tomllib.loads(toml)
        except tomllib.TOMLDecodeError as error:
            hint = f" {BACKSLASH}." if re.search("escape|hex value", str(error), re.IGNORECASE) else ""
            raise StudyError(f"{source} is not valid TOML: {error}. Correct that line and try again.{hint}") from None
        except (RecursionError, ValueError) as error:  # nested without end; a whole number of thousands of digits
            raise StudyError(f"{source} cannot be read as TOML: {error}.") from None
        study = cls(**Parser(source).values(raw), root=root, text=toml)
        if study.language:
            translation.set_default(study.language)
        return study

    @property
    def channels(self) -> tuple[str, ...]:
        """Names along the last axis of a sample: the bands, then what the study adds to them."""
        return (*self.table_bands, *self.indices, *(WAVES if self.day_of_year else ()))

    @property
    def table_bands(self) -> tuple[str, ...]:
        """Bands of the table that samples are made from: the study's own, then those of its other sensors."""
        return (*self.bands, *(band for bands in self.sensors.values() for band in bands))

    def __repr__(self) -> str:
        return f"Study({self.key!r})"

    def area(self, key: str) -> Area:
        """The area with this key.

        >>> Study.load("mississippi_delta").area("dense").key
        'dense'

        Raises:
            StudyError: There is none.
        """
        for area in self.areas:
            if area.key == key:
                return area
        keys = [a.key for a in self.areas]
        raise StudyError(f"Study {self.key!r} has no area {key!r}{nearest(key, keys)}. It has: {', '.join(keys)}.")

    def replace(self, **changes: object) -> Study:
        """The same study with other values, e.g. ``study.replace(years=(2021,))``."""
        return dataclasses.replace(self, **changes)

    def at(self, root: str | Path) -> Study:
        """The same study with its relative paths read against another folder."""
        return self.replace(root=place(root).resolve())

    def resolve(self, path: str) -> str:
        """A path or URL of the study file as one that can be opened from anywhere."""
        if re.match(r"(?i)[a-z][a-z0-9+.-]*://", path):
            return path
        if path.startswith("~/"):
            return str(Path(path).expanduser())
        return str(place(self.root or ".").resolve() / path)

    def title(self, lang: str | None = None) -> str:
        """Its name in a language, by default the reader's."""
        return text(self.name, lang)

    def fingerprint(self) -> str:
        """Hex digest of all that changes the pixel table.

        Names, colours, legend and split do not, and the season only where it runs on over New Year.
        """
        parts = {
            "areas": [(a.key, a.bounds, a.crs, a.every) for a in self.areas],
            "years": self.years,
            "bands": self.bands,
            "block_m": self.block_m,
            "labels": self.labels.facts(),
            "scenes": scene_facts(self.scenes),
            "drop_scl": self.drop_scl,
            "min_confidence": self.min_confidence,
            "seed": self.seed,
        }
        if self.season.over_new_year:
            parts["days"] = [self.season.first_day, self.season.end_day]
        return checksums.digest_json(parts)[:16]


def shipped() -> list[str]:
    """Names of the studies that come with the package."""
    folder = resources.files("arsetlib") / "studies"
    return sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml"))
