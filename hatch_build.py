"""A step of building the package: compile the catalogues of words, which git does not keep."""

from pathlib import Path

from babel.messages import mofile, pofile
from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Catalogues(BuildHookInterface):
    def initialize(self, version, build_data):
        for source in Path(self.root, "arsetlib", "locale").rglob("*.po"):
            compiled = source.with_suffix(".mo")
            with source.open("rb") as read, compiled.open("wb") as written:
                mofile.write_mo(written, pofile.read_po(read))
            build_data["artifacts"].append(f"/{compiled.relative_to(self.root).as_posix()}")
