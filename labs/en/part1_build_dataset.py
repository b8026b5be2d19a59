# ---
# jupyter:
#   jupytext:
#     formats: py:percent,ipynb
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Lab 1 · From scenes and labels to the pixel table
#
# :::{admonition} At a glance
# :class: lab-header
# **Question.** How does a pile of satellite images, taken on odd dates and half hidden by cloud, become something a model can learn from?
#
# **Product.** A *pixel table*: one row per label pixel and year, with all its images in it. Lab 2 feeds it to a model.
#
# **You will be able to**
# - find Sentinel-2 scenes and crop labels for an area, and say what each filter dropped;
# - look at them on maps, in tables and as one pixel's series before trusting them;
# - build the table with Spark, query it with SQL, and check it;
# - name the traps that spoil such a table without an error message.
#
# **Time.** About 40 minutes. **You need** Python, the idea of reflectance and NDVI, and no Spark.
# :::
#
# Each step has the same beat. *Predict*: answer before you run. *Run* the cell. *Read* what appeared. *Check*: an `assert` that holds the claim.
# The lab runs in Google Colab, in Databricks and on a laptop. The first cell tells what your machine lacks and how to mend it.

# %%
from importlib.util import find_spec

from IPython import get_ipython

if find_spec("arsetlib") is None:  # a fresh Colab or Databricks notebook
    course = "git+https://github.com/crop-maps-at-scale/crop-maps-at-scale"
    get_ipython().run_line_magic(
        "pip", f'install -q "arsetlib[labs] @ {course}"'
    )

from arsetlib import check_env

check_env()

# %% [markdown]
# ## 1. Choose the data
#
# One line decides where data come from. `"simulated"` takes a made-up delta, small enough for a laptop and written as files of the real layout, so that the code below is the code for real data.
# `"real"` asks the public services: Sentinel-2 scenes from Earth Search and USDA's Cropland Data Layer. Everything after this cell stays the same.
# Files go to the folder `data`, or where the environment variable `ARSET_DATA` says: on Databricks name a folder of a volume.
#
# :::{admonition} Simulated data
# :class: simulated
# Unless you change the line, nothing you see here was measured. Every picture says *simulated*. The simulated delta is missing on a fresh machine; the cell makes it, which takes a minute or two.
# :::

# %%
import os
import shutil
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from arsetlib import cdl, maps, pixels, sentinel2, simulate
from arsetlib.study import Study

source = "simulated"  # or "real"

SMALL = os.environ.get("ARSET_SCALE") == "small"  # tests run a toy
BARS = os.environ.get("ARSET_BOOK") != "1"  # the book's pages do not move
CHECKOUT = Path("../../pyproject.toml").exists()
DATA = Path(
    os.environ.get("ARSET_DATA") or ("../../data" if CHECKOUT else "data")
)

if source == "simulated":
    delta = DATA / ("delta-small" if SMALL else "delta")
    if not (delta / "_manifest.json").exists():
        print(f"Making the simulated delta in {delta} …")
        years = (2021,) if SMALL else (2019, 2020, 2021)
        simulate.delta(
            delta, scale=0.05 if SMALL else 1.0, years=years, progress=BARS
        )
    study = Study.load(delta / "study.toml")
    if SMALL:
        study = study.replace(areas=study.areas[::4])
else:
    study = Study.load("mississippi_delta")
    # A first taste: one small box, one year. Without the next line you get
    # the whole data set, and a long wait.
    study = study.replace(areas=(study.area("dense"),), years=(2021,))

year = study.years[-1]
work = DATA / f"lab1-{study.key}-{study.fingerprint()}"
print(f"{study.title()}: {len(study.areas)} areas, years {study.years}")
print(f"simulated: {study.simulated}")

# %% [markdown]
# ## 2. Three sources, in short
#
# **Sentinel-2** is a pair of satellites with a 13-band camera. We use *Level-2A*: reflectance at the ground, the atmosphere removed. Its files hold integers, reflectance × 10,000.
#
# **SCL**, the *scene classification layer*, comes beside the bands and calls each pixel vegetation, bare, water, cloud, shadow … It is how we know what to drop.
#
# **CDL**, the *Cropland Data Layer* of USDA-NASS, says what grew on each 30 m pixel of the United States in a year. It is our label, and its grid is our grid.
# It is itself a map made by a classifier, so it has errors, and it is published months after harvest. That delay is why one wants to predict in season.
#
# :::{admonition} Predict
# :class: predict
# A label pixel is 30 m wide. How many of the bands have pixels at least as fine as that?
# :::

# %%
bands = pd.DataFrame([vars(sentinel2.BANDS[b]) for b in study.bands])
maps.show(
    bands, "The bands of the study: wavelength and width in nm, pixel side in m"
)

fine = (bands["resolution_m"] <= 30).sum()
assert "B10" not in set(bands["esa"])  # cirrus: at Level-2A it is gone
assert 0 < fine < len(bands)

# %% [markdown]
# Reflectance in the visible bands is low over crops and in the near infrared high, and the short-wave infrared follows water.
# Two bands are coarser than a label pixel, so neighbours share their values. Band B10 is missing because it never sees the ground.
#
# ## 3. Find scenes and labels
#
# A *STAC* service answers "which images touch this area in this time?" with items: footprint, date, cloud cover, and one link per band. No image is downloaded yet.
# The item list is saved, so that a rerun works on the very same scenes even when the service has moved on.
#
# :::{admonition} Predict
# :class: predict
# Why would a catalogue hold the same image twice, and which of the two do you want?
# :::

# %%
from arsetlib.catalogue import find_scenes
from arsetlib.labels import find_labels

scenes = find_scenes(study, cache=work / "items.json", progress=BARS)
labels = {
    y: find_labels(study, y, cache=DATA / "labels", progress=BARS)
    for y in study.years
}
new_year = np.datetime64(f"{year}-01-01").astype(int)  # days since 1970-01-01
this_year = [s for s in scenes if 0 <= s.day - new_year < 366]
print(f"{len(scenes)} scenes. Dropped:")
print(pd.Series(scenes.dropped).to_string())

one_each = {(s.day, s.tile, s.platform, s.datetime) for s in scenes}
assert len(one_each) == len(scenes), "an image is in the list twice"

# %% [markdown]
# The lines above count what each filter on *scenes* dropped: wrong place, too cloudy, too little of the area, an older processing.
# The last of these answers the question: ESA processes its archive again, and both versions can be listed. We keep the newest, as the original course did with its 'highest processing number'.
#
# :::{admonition} Predict
# :class: predict
# Two satellites pass every five days together. Will the dates over our areas be five days apart?
# :::

# %%
maps.show(
    maps.timeline(scenes, study=study),
    "Cloud cover of each scene against its date, by tile",
)

dates = np.unique([s.day for s in this_year])
gaps = np.diff(dates)
print(f"{len(this_year)} scenes on {len(dates)} dates of {year}")
print(f"from one date to the next: {gaps.min()} to {gaps.max()} days")
assert len(set(gaps.tolist())) > 1, "the dates are regular"

# %% [markdown]
# They are not. Where two orbits overlap a place is seen more often, and two tiles can show one place on one day. Then cloud takes its share, and differently for each pixel.
# *Irregular in time* is the fact that shapes this whole course.
#
# :::{admonition} Exercise 1
# :class: exercise
# Count the dates of the year with a scene under 20 % cloud. How many days lie between them on average, and what is the longest gap in May to August?
# :::

# %% tags=["hide-cell"]
# Solution
clear_days = np.unique(
    [s.day for s in this_year if s.cloud is not None and s.cloud < 20]
)
since = clear_days - new_year
summer = clear_days[(since >= 120) & (since < 243)]
apart = np.diff(clear_days).mean()
print(f"{len(clear_days)} clear dates, {apart:.1f} days apart on average")
print(f"longest gap in summer: {np.diff(summer).max()} days")

# %% [markdown]
# ## 4. Look before you compute
#
# First the map. Hover over it, choose an area from its menu, switch layers off in its legend.

# %%
fig = maps.footprints(scenes, study.areas, study=study, labels=labels[year])
maps.show(
    fig,
    "Map of scene footprints, study areas and crop labels, axes in km",
)

# %% [markdown]
# Scenes are tilted against the areas: each comes in its own UTM zone, while labels and areas use one projection for the whole country. Bringing the two together is where the first trap waits.
#
# :::{admonition} Predict
# :class: predict
# To ask a service for an area one needs its outline in longitude and latitude. Is it enough to convert two opposite corners?
# :::

# %%
import shapely
from pyproj import Transformer

area = study.areas[0]
west, south, east, north = area.bounds
to_lonlat = Transformer.from_crs(area.crs, "EPSG:4326", always_xy=True)
two_corners = shapely.box(
    *to_lonlat.transform(west, south), *to_lonlat.transform(east, north)
)
whole = area.outline("EPSG:4326")
missed = whole.difference(two_corners).area / whole.area
print(f"Two corners miss {missed:.1%} of {area.name['en']}")
assert missed > 0.005

# %% [markdown]
# The box is turned in the other projection, so two corners cut off its sides. The original notebooks did this, and lost a strip of each area without a word.
# `area.outline` sets points along every edge and converts them all.
#
# Now a scene. True colour is what an eye would see; false colour puts the near infrared, where leaves are bright, into red.

# %%
# July and August; the scene that shows most areas, then that with least cloud
summer_scenes = [s for s in this_year if 180 <= s.day - new_year <= 240]
under = {
    s.id: [a for a in study.areas if s.footprint.covers(a.outline())]
    for s in summer_scenes
}
scene = max(summer_scenes, key=lambda s: (len(under[s.id]), -s.cloud))

corners = np.array([a.bounds for a in under[scene.id]])
view = replace(
    area,
    name={"en": study.title()},
    bounds=(*corners[:, :2].min(0), *corners[:, 2:].max(0)),
)
fig = maps.chip(scene, view, maps.TRUE_COLOUR, maps.FALSE_COLOUR, study=study)
maps.show(fig, "One clear summer scene in true colour and in false colour")

# %% [markdown]
# Fields stand out as straight-edged patches. In false colour a growing crop is red, bare soil and towns are grey or blue-green, water is dark.
# One date hardly tells corn from cotton: in summer both are simply green. Their *timing* does.
#
# ## 5. The labels
#
# :::{admonition} Predict
# :class: predict
# Look at the false-colour picture: which land cover will be the largest?
# :::

# %%
fig = maps.labels_map(labels[year], view, study=study)
maps.show(
    fig,
    "Crop labels in the Cropland Data Layer's colours, and their legend",
)

land = maps.class_areas(labels[year], study.areas, study.legend)
# A pixel of 30 m × 30 m is 0.09 ha.
assert np.isclose(land["pixels"].sum() * 0.09, land["hectares"].sum())

# %%
maps.show(
    maps.class_bars(land, study=study),
    "Hectares of each label class, for all areas or one",
)
maps.show(
    land.head(40).drop(columns="pixels"),
    "Land by area and label class; click a column's head to sort",
)

# %% [markdown]
# A few classes hold most of the land and a long tail holds the rest. Models learn the tail badly, for want of examples.
# The CDL has more than a hundred codes. The study's *legend* folds them into seven classes: four crops, 'Cultivated' for other crops, 'Uncultivated' for what is no crop,
# and 'No Crops Growing', which no label holds: Lab 2 derives it from the images.
# A double crop (wheat, then soybeans, say) has two right answers in one year, so it is *left out*.

# %%
by_class = (
    land.groupby("class")[["pixels", "hectares"]]
    .sum()
    .sort_values("hectares", ascending=False)
    .reset_index()
)
maps.show(by_class, "Land by class of the legend")
maps.show(
    maps.labels_map(labels[year], view, study=study, legend=study.legend),
    "The same labels, folded into classes",
)

codes = land["code"].to_numpy()
taken = codes[study.legend.classes_of(codes) >= 0]
assert not np.isin(taken, cdl.DOUBLE_CROPS).any()

# %% [markdown]
# :::{admonition} Exercise 2
# :class: exercise
# The label file also has a *confidence*, 0 to 100, of the classifier that made it. How many label pixels would go if you asked for at least 60? Is the share the same for every class?
# Hint: `maps.read(path, area)` gives the pixels of an area.
# :::

# %% tags=["hide-cell"]
# Solution
if labels[year].confidence:
    sure = np.concatenate(
        [maps.read(labels[year].confidence, a)[0].ravel() for a in study.areas]
    )
    what = np.concatenate(
        [maps.read(labels[year].path, a)[0].ravel() for a in study.areas]
    )
    classes = np.array([*study.legend.names(), "left out"])[
        study.legend.classes_of(what.astype(int))
    ]
    gone = sure < 60
    print(f"{gone.sum():,} of {gone.size:,} pixels go ({gone.mean():.1%})")
    share = pd.Series(100 * gone).groupby(classes).mean().round(1)
    print(share.rename("percent dropped").to_string())

# %% [markdown]
# Confidence is lowest at the edges of fields and in rare classes. A high threshold gives cleaner labels and a biased sample, with fewer mixed pixels than the map to be made has.
#
# ## 6. One pixel through the year, by hand
#
# Before a library does it for millions, do it once yourself: take one point, open every file of every scene, read the value under the point.

# %%
import rasterio
from rasterio.warp import transform


def by_hand(scene, xs, ys, crs):
    """A scene at points: (points, 1 + bands), SCL and reflectance × 10,000."""
    columns = []
    for asset in ("scl", *study.bands):
        with rasterio.open(scene.hrefs[asset]) as image:
            x, y = transform(crs, image.crs, xs, ys)
            points = np.column_stack([x, y])
            dn = np.array([v[0] for v in image.sample(points)], np.uint16)
        if asset != "scl":
            dn = sentinel2.reflectance_dn(dn, scene.offset)
        columns.append(dn)
    return np.stack(columns, axis=1)


box = study.area("dense")
codes, (west, east, south, north) = maps.read(labels[year].path, box)
found, counts = np.unique(codes, return_counts=True)
crops = np.isin(
    found, [code for c in study.legend.classes if c.crop for code in c.codes]
)
chosen = found[np.lexsort((-counts, ~crops))][:4]  # the box's commonest crops
where = [np.argwhere(codes == c)[(codes == c).sum() // 2] for c in chosen]
xs = [west + (col + 0.5) * 30 for _, col in where]  # centres of label pixels
ys = [north - (row + 0.5) * 30 for row, _ in where]

started = time.perf_counter()
raw = [by_hand(s, xs, ys, box.crs) for s in this_year]
raw = np.stack(raw, axis=1)  # (points, scenes, 1 + bands)
seconds = time.perf_counter() - started
print(f"{len(xs)} pixels, {len(this_year)} scenes: {seconds:.1f} s")
print(f"{seconds / len(xs):.2f} s per pixel and year")

# %% [markdown]
# It works, and it is slow: most of the time goes into opening files, again for every handful of points. The original course did worse: it downloaded each file whole, to sample it point by point.
# The library turns the loop inside out: one task is one *chunk* of the label grid, which opens each file once and reads just the window it needs.
#
# Here is what was found. The upper panel shows all observations, the lower one what is left when scene classes that cannot be trusted are dropped. Shape and colour tell the class.
#
# :::{admonition} Predict
# :class: predict
# What does a cloud do to NDVI: does it raise or lower it?
# :::

# %%
day = np.array([s.day for s in this_year])
names = [cdl.name(int(code)) for code in chosen]


def draw(pixel):
    there = raw[pixel, :, 0] > 0  # SCL 0: outside the image
    seen = raw[pixel, there]
    return maps.series(
        day[there],
        seen[:, 0],
        seen[:, 1:],
        study=study,
        title=f"A pixel of {names[pixel]}, {year}",
    )


alt = "NDVI of one pixel through the year, raw and filtered by scene class."
maps.knob(draw, alt, pixel={name: i for i, name in enumerate(names)})

# %% [markdown]
# Turn the knob. A cloud is as bright in red as in near infrared, so it pulls NDVI towards zero: the raw series looks like noise, the filtered one like a season.
# Some dips remain, because SCL misses thin cloud and the edges of shadows. No threshold mends that; Lab 2's random draws and a model with context do.
# Each crop rises and falls at its own time. That is the signal.
#
# The study drops these classes, and keeps shadow, water and thin cirrus, as the original course did:

# %%
scl = raw[:, :, 0][raw[:, :, 0] > 0]
counted = pd.DataFrame(
    {
        "SCL": list(sentinel2.SCL),
        "class": [c.name for c in sentinel2.SCL.values()],
        "filter": [
            "dropped" if v in study.drop_scl else "kept" for v in sentinel2.SCL
        ],
        "observations": [int((scl == v).sum()) for v in sentinel2.SCL],
    }
)
maps.show(counted, "Scene classes: kept or dropped, and how often they came")

kept = counted.loc[counted["filter"] == "kept", "observations"].sum()
print(f"{kept} of {counted['observations'].sum()} observations pass the filter")
assert 0 < kept < counted["observations"].sum()

# %% [markdown]
# :::{admonition} Exercise 3
# :class: exercise
# Also drop cloud shadow (3) and thin cirrus (10). How many observations go, and is the remaining series of your favourite pixel smoother? `study.replace(drop_scl=…)` gives a study with another filter.
# :::

# %% tags=["hide-cell"]
# Solution
strict = study.replace(drop_scl=(*study.drop_scl, 3, 10))
there = raw[0, :, 0] > 0
fig = maps.series(
    day[there],
    raw[0, there, 0],
    raw[0, there, 1:],
    study=strict,
    title=f"{names[0]}, strict filter",
)
maps.show(fig, "The same pixel with shadow and cirrus dropped too")
print(f"{np.isin(scl, (3, 10)).sum()} more of {kept} observations go")

# %% [markdown]
# ### Two traps in the numbers
#
# **Zeros.** In these files 0 means *no data*. An index of two zeros is no number, and integers without sign cannot go below zero.
#
# **The offset.** Since processing baseline 04.00 (January 2022, and older scenes processed anew) the files hold reflectance × 10,000 *plus 1,000*. Item and file say so, but nothing breaks if you forget it.
#
# :::{admonition} Predict
# :class: predict
# What does `(nir - red) / (nir + red)` give for water with red 500 and near infrared 200, stored as `uint16`? And for a pixel without data?
# :::

# %%
red = np.array([600, 500, 0], np.uint16)  # a crop, water, no data
nir = np.array([3000, 200, 0], np.uint16)
with np.errstate(invalid="ignore"):
    naive = (nir - red) / (nir + red)
print("naive    ", naive)
print("careful  ", maps.ndvi(red, nir))
print("forgotten", maps.ndvi(red + 1000, nir + 1000), "with the offset left in")

assert naive[1] > 1 > 0 > maps.ndvi(red, nir)[1]
assert np.isnan(maps.ndvi(red, nir)[2])
print(
    "scenes by offset:",
    pd.Series([s.offset for s in scenes]).value_counts().to_dict(),
)

# %% [markdown]
# The naive line calls water greener than any forest. And where there are no data, an index is no number: the original wrote −100 there, which the next step took for a value. The forgotten offset flattens every curve, and only for some scenes, so a model learns the processing date.
# The library takes the offset from each item's metadata, tries it against the values, and stops if the two contradict each other.
#
# ## 7. One row per pixel and year
#
# Images could stay in one table row per *observation*. But a model asks "show me this pixel's season", and gathering that from billions of rows means sorting them all. So:
#
# | column | what it holds |
# |---|---|
# | `pixel`, `year` | which label pixel, which year: together they name a row |
# | `area`, `block` | where to split without leaking from neighbour to neighbour |
# | `x`, `y`, `lon`, `lat` | the pixel's centre |
# | `label_code`, `label_confidence` | the label as a *code*: folding codes into classes can wait, and changes often |
# | `num_images` | how many observations are left |
# | `day`, `scl`, `bands` | byte strings in date order: days since 1970, scene class, reflectance |
#
# Two years of one pixel are two rows, because the field carries another crop.
#
# ## 8. Run it with Spark
#
# Spark cuts work into tasks and gives them to whatever it has: the cores of a laptop, the machines of a cluster. The same call runs on all of them.
# A task here is one chunk in one year. It reads SCL first, skips scenes that are all cloud over its chunk, reads the windows it needs, and writes one Parquet file. Finished chunks survive a crash.

# %%
from arsetlib import engine
from arsetlib.ingest import ingest

spark = engine.session()  # on Databricks: the notebook's own
out = work / "pixels"
shutil.rmtree(
    out, ignore_errors=True
)  # begin anew, to see it work; without this line a finished table is kept
summary = ingest(study, scenes, labels, out, spark=spark, progress=BARS)
print(summary)

# %% [markdown]
# The lines say what each filter on *observations* dropped. 'Twice on a day' are places that two tiles show at the same moment: the same light, so one of them is enough.
#
# Is the library's row what we read by hand? Filter the first pixel of section 6 in the same way, and compare.

# %%
import pyarrow.compute as pc

table = pixels.read(out, filter=(pc.field("year") == year))
row = (
    table["pixel"]
    .to_pylist()
    .index(int(pixels.pixel_id(np.array(xs[:1]), np.array(ys[:1]), 30.0)[0]))
)
lib_day, lib_scl, lib_bands = pixels.series(table, row)

mine = raw[0]
good = ~np.isin(mine[:, 0], (0, *study.drop_scl)) & (mine[:, 1:] > 0).all(
    axis=1
)
_, first = np.unique(day[good], return_index=True)  # one observation a day

assert np.array_equal(lib_day, day[good][first])
assert np.array_equal(lib_scl, mine[good][first, 0])
assert np.array_equal(lib_bands, mine[good][first, 1:])
print(f"{len(lib_day)} observations × {len(study.bands)} bands agree")

# %% [markdown]
# They agree to the last digit. Now divide the job's seconds by its rows and compare with section 6: that is what reading in chunks brings, and the more pixels a chunk holds, the more it brings.
#
# :::{admonition} Exercise 4
# :class: exercise
# Call `ingest` again with the same arguments. What does it do, how long does it take, and why is that what you want on a machine that stops after an hour?
# :::

# %% tags=["hide-cell"]
# Solution
again = ingest(study, scenes, labels, out, spark=spark, progress=False)
print(f"{again.resumed} of {again.chunks} chunks were there already")
print(f"{again.seconds:.2f} s")
assert (again.rows, again.resumed) == (summary.rows, again.chunks)

# %% [markdown]
# ### A failed read is an error, never zeros
#
# The original caught every exception and went on, so a broken download became a hole in the data that nobody saw. Other failures it met with a riddle: where the label service CropScape gave no answer, an `IndexError`; and one saved file got its suffix twice, so the next step looked for a name that did not exist.
# Let us break one link and see what happens here.

# %%
from arsetlib import folders
from arsetlib.catalogue import Scenes
from arsetlib.ingest import IngestError

one = study.replace(areas=tuple(under[scene.id][:1]), years=(year,))
broken = replace(scene, hrefs=scene.hrefs | {"nir": "gone.tif"})
said = ""
try:
    ingest(one, Scenes((broken,)), labels, work / "broken", progress=False)
except IngestError as error:
    said = str(error)
made = folders.state(work / "broken")
shutil.rmtree(work / "broken")
print(textwrap.fill(said, 100))

assert "Could not read nir" in said
assert made == "unfinished", "a table was made from a broken read"

# %% [markdown]
# One sentence says what, where and what next. The folder has a plan but no manifest, so it is unfinished: `pixels.read` refuses it until the same call has made every chunk of the plan.
#
# ## 9. Why byte strings?
#
# Decode one by hand. The column says nothing of its type, so you must know it: unsigned 16-bit numbers, low byte first (`"<u2"`).
#
# :::{admonition} Predict
# :class: predict
# Tables of the original course have the high byte first (`">u2"`). If you mix the two up, do you get an error?
# :::

# %%
text = table["bands"][row].as_py()
decoded = np.frombuffer(text, "<u2").reshape(-1, len(study.bands))
swapped = np.frombuffer(text, ">u2").reshape(-1, len(study.bands))
red_band = study.bands.index("red")
print(f"{len(text)} bytes")
print(f"red, read right: {decoded[:4, red_band]}")
print(f"red, read wrong: {swapped[:4, red_band]}")

assert np.array_equal(decoded, lib_bands)
assert np.array_equal(swapped, decoded.byteswap())

# %% [markdown]
# No error: wrong numbers, and some of them plausible. That is why a table's file carries byte order, band order and scale in its metadata, and `pixels.read` checks them. (`pixels.read_arset` reads the original's files.)
#
# Now measure. The same table once with byte strings, once with typed lists, both compressed in the same way:

# %%
import pyarrow as pa
import pyarrow.parquet as pq

table = pixels.read(out)
flat = pixels.ragged(table)
width = len(study.bands)
lists = pa.table(
    {
        "day": pa.LargeListArray.from_arrays(
            flat.offsets, pa.array(flat.day.ravel())
        ),
        "scl": pa.LargeListArray.from_arrays(
            flat.offsets, pa.array(flat.scl.ravel())
        ),
        "bands": pa.LargeListArray.from_arrays(
            flat.offsets * width, pa.array(flat.bands.ravel())
        ),
    }
)
files = {
    "byte strings": table.select(["day", "scl", "bands"]),
    "typed lists": lists,
}
measured = []
for name, content in files.items():
    path = work / "measured.parquet"
    pq.write_table(content, path, compression="zstd")
    seconds = []
    for _ in range(7):
        started = time.perf_counter()
        pq.read_table(path, use_threads=False)
        seconds.append(time.perf_counter() - started)
    measured.append((name, path.stat().st_size / 1e6, 1000 * min(seconds)))
measured = pd.DataFrame(
    measured, columns=["series stored as", "megabytes", "milliseconds to read"]
)
maps.show(
    measured, "Byte strings and typed lists: size on disk and time to read"
)

bytes_ms, lists_ms = measured["milliseconds to read"]
bytes_mb, lists_mb = measured["megabytes"]
assert SMALL or bytes_ms < lists_ms  # a toy is over before it can be timed
assert 0.7 < bytes_mb / lists_mb < 1.4

# %% [markdown]
# On disk they are much alike, because both are compressed. Reading is another matter: reading a byte string is copying memory; reading a list is decoding every number on its own. A training job reads its table many times, so this is where the time goes.
# And an Arrow column of byte strings *is* a ragged array already, offsets and one long buffer: `pixels.ragged` gives all observations of all pixels without copying one.
#
# ## 10. Ask the table
#
# Parquet is read by every tool of the field. Ask Spark, which scales to a cluster, and DuckDB, which needs none, the same question.

# %%
spark.read.parquet(str(out.resolve())).createOrReplaceTempView("pixels")
from_spark = spark.sql(pixels.QUERIES["classes"]).toPandas()
from_spark.insert(
    1, "name", [cdl.name(int(c)) for c in from_spark["label_code"]]
)
print(textwrap.dedent(pixels.QUERIES["classes"]))
maps.show(from_spark, "Pixel-years per label code and year, by Spark SQL")

assert from_spark["pixel_years"].sum() == summary.rows

# %%
import duckdb

duckdb.read_parquet(f"{out}/*.parquet").create_view("pixels", replace=True)
from_duckdb = duckdb.sql(pixels.QUERIES["classes"]).df()
maps.show(
    duckdb.sql(pixels.QUERIES["areas"]).df(),
    "Areas and years in the table, by DuckDB",
)

assert from_duckdb["pixel_years"].tolist() == from_spark["pixel_years"].tolist()

# %% [markdown]
# Both give the same counts. For a table that fits on one machine DuckDB answers at once; Spark answers for a hundred machines.
# Look at the mean number of images: it differs between years, because clouds do, and between areas, because some lie where orbits overlap.
#
# :::{admonition} Exercise 5
# :class: exercise
# An *observation* is one pixel on one date. Ask the table in one query how many each area and year has, and how many the best-seen pixel has. `num_images` counts those of a row, and `scl` holds one byte for each: do both ways of counting agree?
# :::

# %% tags=["hide-cell"]
# Solution
seen = duckdb.sql("""
    SELECT area, year, sum(num_images)::bigint AS observations,
           sum(octet_length(scl))::bigint AS bytes_of_scl, max(num_images) AS most
    FROM pixels GROUP BY area, year ORDER BY area, year
""").df()
maps.show(seen, "Observations per area and year, by DuckDB")
assert (seen["observations"] == seen["bytes_of_scl"]).all()

# %% [markdown]
# ## 11. Check it
#
# Would you notice a table with one series out of order? `pixels.check` tries every row against the rules that the rest of the course relies on.

# %%
report = pixels.check(out)
print(report)
assert report.ok

# %% [markdown]
# ## What you have learnt
#
# - Optical series are irregular: by orbit, by tile, by cloud. Keep them as they are; make them regular when a model asks (Lab 2).
# - One row is one pixel in one year; series are byte strings in date order; labels stay codes.
# - Filters act on scenes, on observations and on labels, and each should say what it dropped.
# - The quiet traps: two corners for an outline, zeros read as values, an offset forgotten, byte order mixed up, a failed read taken for zeros, one image counted twice.
#
# ## What if …
#
# - **… I work outside the United States?** Bring labels of your own, as a raster, as fields or as points: the study file `own_labels.toml` shows how. The calls to the library stay the same; names and the 30 m of a pixel, which this lab takes from the CDL, become yours.
# - **… the CDL is wrong?** It is, for some pixels. Ask for more confidence, or look at which classes it mixes up; a model learns its systematic errors along with its truth.
# - **… I want the real thing?** Set `source = "real"` in section 1. Begin with one small area and one year, as the cell does. The labels of a year come in a national file of some 2 GB, fetched once.
# - **… my machine stops in the middle?** Run the same call again: finished chunks are kept.
# - **… I need radar, Landsat, weather?** Any series with dates fits a byte string. The table then has more columns, and the rest of the pipeline stays.
# - **… I only want floods, or droughts?** Only the labels change.
