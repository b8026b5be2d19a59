"""The page 'Bring your own points': its cells run, and real points go through both of its functions."""

import os
import re
from pathlib import Path

import numpy as np
import pandas as pd

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from arsetlib import pixels

PAGE = Path(__file__).resolve().parents[1] / "book" / "en" / "own_points.md"


def test_the_cells_of_the_page_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    cells = re.findall(r"^```\{code-cell\}[^\n]*\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    names: dict = {}
    for cell in cells:
        code = "\n".join(line for line in cell.split("\n") if not line.startswith(":tags:"))
        exec(compile(code, PAGE.name, "exec"), names)
    printed = capsys.readouterr().out
    assert "swapped" in printed
    assert "scale=10_000" in printed
    assert names["table"].num_rows == 90
    assert len(names["frame"]) == 1620  # the figure in the text
    assert names["one"]["num_images"].to_pylist() == [2]


BANDS = {"B04": "red", "B08": "nir", "B11": "swir16"}
DATES = [month + np.timedelta64(14, "D") for month in np.arange("2016-12", "2017-12", dtype="datetime64[M]")]


def test_real_points_are_the_same_in_both_forms(real):
    """500 points of Uganda and South Sudan, 2017, as wide as they came and made long here."""
    frame = pd.read_parquet(real / "s2_points_uganda_south_sudan_2017.parquet")
    codes = {crop: i for i, crop in enumerate(frame["ewoc_code"].unique().tolist())}
    form = pixels.PointFormat(
        label="ewoc_code", codes=codes, crs="EPSG:32636", year="year", nodata=65_535, twins="first"
    )
    columns = {b: [f"OPTICAL-{b}-ts{t}-{20 if b == 'B11' else 10}m" for t in range(12)] for b in BANDS}
    wide = pixels.from_wide(frame, BANDS, DATES, column="OPTICAL-{band}-ts{step}-*", form=form)
    assert wide.num_rows == 450  # of 500; the others lie in the same pixel as one of these
    kept = frame.merge(wide.select(["lon", "lat"]).to_pandas()).drop_duplicates(["lon", "lat"])
    long = pd.concat(
        [
            kept[["lon", "lat", "ewoc_code", "year"]].assign(date=str(date), **{b: kept[columns[b][t]] for b in BANDS})
            for t, date in enumerate(DATES)
        ]
    )
    again = pixels.from_long(long.sample(frac=1, random_state=0), BANDS, form)
    order = [("pixel", "ascending")]
    both = [t.replace_schema_metadata(None).sort_by(order) for t in (wide, again)]
    for name in ("pixel", "num_images", "day", "bands"):
        assert both[0][name].equals(both[1][name])
    assert pixels.Meta.of(wide).extra["left_out"]["dates_of_another_year"] == ["2016-12-15"]
