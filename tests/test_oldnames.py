"""Names of version 0.1.0 that labs, pages and commands used still work, and name what replaces them."""

import importlib
import re
import subprocess
import sys

import few
import pandas as pd
import pytest
from typer.testing import CliRunner

import arsetlib
from arsetlib import oldnames, pixels, samples
from arsetlib.cli import app

# Used by the labs, the homework and the pages of 0.1.0; left out is what is gone without a replacement.
USED = {
    "tiles": "CLASSES GRID IGNORE LAYOUTS Augment Canvas Capture Classes Dealt LeakWarning Loader Report TileError "
             "Tiles arrays augment batches captures check cut ground_seen leaky_split places read split stitch",
    "segment": "Count Evaluation Pose SegmentError Segmenter cost count evaluate fit instances load poses predict "
               "train_folder verdict",
    "images": "CLASSES Chips Classifier Evaluation ImageError Loader Report Scores agriculture_vision check convert "
              "convert_sides evaluate fit images load ndvi read sides_of split verify",
    "catalogue": "Labels find_labels sign",
    "evaluation": "Evaluated evaluated report",
    "maps": "ACCENT DASHES EYE FALSE_COLOUR FONT FONT_SIZE GRID INK LINES PLOTLY_IN_BOOK SCL_INK SCL_SYMBOLS SIMULATED "
            "STYLE SWIR_COLOUR TRUE_COLOUR WIDTH bars by_date calendar chip class_bars confusion figure footprints "
            "knob labels_map learning_curves prediction_map reliability score_bars season series show spreads timeline "
            "verdicts",
    "pixels": "BLOCK_M Part Report",
    "simulate": "grove",
}  # fmt: skip


@pytest.mark.parametrize("package", USED)
def test_each_old_name_stands_for_something_and_names_the_new_one(package):
    if package in oldnames.PACKAGES:
        sys.modules.pop(f"arsetlib.{package}", None)
        with pytest.warns(DeprecationWarning, match=rf"arsetlib\.{package} is now arsetlib\."):
            importlib.import_module(f"arsetlib.{package}")
    module = importlib.import_module(f"arsetlib.{package}")
    for name in USED[package].split():
        with pytest.warns(DeprecationWarning, match=rf"arsetlib\.{package}\.{name} is now arsetlib\.\w+"):
            assert getattr(module, name) is not None


@pytest.mark.parametrize("package", USED)
def test_a_name_that_never_was_is_an_attribute_error(package):
    with pytest.raises(AttributeError, match="nonsense"):
        oldnames.find(package, "nonsense")


def test_an_old_package_is_imported_in_each_way():
    code = (
        "import arsetlib, arsetlib.tiles, arsetlib.segment as s; from arsetlib import images, groves; "
        "from arsetlib.tiles import CLASSES; assert CLASSES is groves.CLASSES; "
        "assert arsetlib.tiles.check is groves.check; "
        "assert s.count is groves.count; print(images.ImageError.__name__)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code], capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("ImageError\n", "")


def test_old_names_are_not_listed():
    assert not {"tiles", "segment", "images"} & set(dir(arsetlib))


COMMANDS = ("tiles check", "segment train", "segment predict", "segment count", "images check", "images convert",
            "images train", "images evaluate", "simulate-grove")  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_each_old_command_works_and_names_the_new_one(command):
    done = CliRunner().invoke(app, [*command.split(), "--help"])
    assert done.exit_code == 0
    assert "Usage" in done.stdout
    assert f"is now `arset {oldnames.COMMANDS[command.split()[0]]}`" in done.stderr


def test_help_does_not_list_old_commands():
    shown = CliRunner().invoke(app, ["--help"]).stdout
    listed = re.findall(r"^[ │]+([a-z-]+)  ", shown, re.MULTILINE)
    assert "ingest" in listed
    assert not set(oldnames.COMMANDS) & set(listed)


def test_fields_of_streaming_may_still_be_keywords_of_a_loader():
    old = r"samples.Loader\(pool, scratch\) is now samples.Loader\(…, Streaming\(pool, scratch\)\)"
    table = few.make_table(20)
    with pytest.warns(DeprecationWarning, match=old):
        samples.Loader(table, few.STUDY, None, pool=10, scratch="never made")
    with pytest.raises(TypeError, match="'empty'"):
        samples.Loader(table, few.STUDY, None, empty="drop")


def test_fields_of_a_point_format_may_still_be_keywords():
    frame = pd.DataFrame({"lon": [33.0], "lat": [3.0], "when": [2017], "crop": [1], "B4_0": [612]})
    form = pixels.PointFormat(crs="EPSG:32636", label="crop", year="when")
    with pytest.warns(DeprecationWarning, match=r"PointFormat\(crs, label, year\)"):
        old = pixels.from_wide(frame, {"B4": "red"}, ["2017-06-01"], crs="EPSG:32636", label="crop", year="when")
    assert old.equals(pixels.from_wide(frame, {"B4": "red"}, ["2017-06-01"], form))
    with pytest.raises(TypeError, match="'colour'"):
        pixels.from_wide(frame, {"B4": "red"}, ["2017-06-01"], colour=1)
