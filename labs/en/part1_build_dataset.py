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
# **Question.** Satellite images come on irregular dates, and clouds hide half of them. How do they become something from which a model can learn?
#
# **Product.** A *pixel table*: one row per label pixel and year, with all its images in it. Lab 2 feeds it to a model.
#
# **You will be able to**
# - find Sentinel-2 scenes and crop labels for an area, and say what each filter dropped;
# - look at them on maps, in tables and as one pixel's series before you trust them;
# - build the table with Spark, query it with SQL, and check it;
# - name the errors that spoil such a table without an error message.
#
# **Time.** About 75 minutes, with a pause after section 6. **You need** Python, and to know what reflectance and NDVI are. You need no Spark.
# :::
#
# Each step has four parts. *Predict*: answer before you run. *Run* the cell. *Read* what appeared. *Check*: an `assert` that holds the claim.
# The lab runs in Google Colab, in Databricks and on a laptop. The first cell tells what your machine lacks and which command installs it.

# %%
from importlib.util import find_spec

from IPython import get_ipython

if find_spec("arsetlib") is None:  # a fresh Colab or Databricks notebook
    home = "https://github.com/--home-not-set--/crop-maps-at-scale"
    if "not-set" in home:
        raise RuntimeError(
            "No address yet: the owner of this copy runs make home URL=…"
        )
    extras = "platform"
    get_ipython().run_line_magic(
        "pip", f'install -q "arsetlib[{extras}] @ git+{home}"'
    )

from arsetlib import check_env

check_env()

# %% [markdown]
# ## 1. Choose the data
#
# One line decides where the data come from. `"simulated"` takes the simulated delta: a small, made-up place, written as files of the real layout, so that the code below is the code for real data.
# `"real"` asks the public services: Sentinel-2 scenes from Earth Search and the Cropland Data Layer of the USDA. Or name a study file of your own. All cells after this one stay the same.
# Files go to the folder `data`, or to the folder that the environment variable `ARSET_DATA` names: on Databricks, name a folder of a volume.
#
# :::{admonition} Simulated data
# :class: simulated
# Unless you change the line, nothing you see here was measured. Every picture says *simulated*. On a new machine the cell first makes the simulated delta, which takes a minute or two.
# :::

# %%
from arsetlib import lab

source = "simulated"  # or "real", or your study file, "mine.toml"
here = lab.place(source)
study, year = here.study, here.year
print(here)

# %% [markdown]
# ## 2. Three sources, in short
#
# **Sentinel-2** is a group of three satellites, each with a 13-band camera. We use *Level-2A*: reflectance at the ground, the effect of the atmosphere removed. Its files hold integers, reflectance × 10,000.
#
# **SCL**, the *scene classification layer*, comes with the bands and gives each pixel a class: vegetation, bare, water, cloud, shadow … It tells us which pixels to drop.
#
# **CDL**, the *Cropland Data Layer* of USDA-NASS, says what grew on each pixel of the United States in a year. It is our label, and its grid of 30 m is our grid.
# It is itself a map made by a classifier, so it has errors, and it is published months after harvest. That delay is why we want to predict during the season.
#
# :::{admonition} Predict
# :class: predict
# A label pixel of the CDL is 30 m wide. How many of the bands have pixels at least as fine as that?
# :::

# %%
import pandas as pd

from arsetlib import figures, maps, sentinel2

bands = pd.DataFrame([vars(sentinel2.BANDS[b]) for b in study.bands])
alt = "The bands of the study: wavelength and width in nm, pixel side in m"
figures.show(bands, alt)

# %%
fine = (bands["resolution_m"] <= 30).sum()
print(f"{fine} of {len(bands)} bands have pixels of 30 m or less")
assert "B10" not in set(bands["esa"])  # cirrus: not part of Level-2A
assert fine > 0

# %% [markdown]
# The printed line is the answer. Bands with pixels of 60 m are coarser than a label pixel, so neighbouring label pixels share their values. Band B10 is missing because it does not see the ground.
# Over crops, reflectance is low in the visible bands and high in the near infrared; the short-wave infrared depends on water.
#
# ## 3. Find scenes and labels
#
# A *STAC* service answers the question "which images touch this area in this time?" with items: footprint, date, cloud cover, and one link per band. No image is downloaded yet.
# The item list is saved, so that a rerun works on exactly the same scenes even when the service has changed.
#
# :::{admonition} Predict
# :class: predict
# Why would a catalogue hold the same image twice, and which of the two do you want?
# :::

# %%
scenes = here.scenes()
labels = here.labels()
print(f"{len(scenes)} scenes. Dropped:")
print(pd.Series(scenes.dropped).to_string())

one_each = {(s.day, s.tile, s.platform, s.datetime) for s in scenes}
assert len(one_each) == len(scenes), "an image is in the list twice"

# %% [markdown]
# The lines count what each filter on *scenes* dropped: wrong place, too cloudy, too little of the area, an older processing.
# The last one answers the question: ESA processes its archive again from time to time, and a catalogue can list both versions. We keep the newest.
#
# :::{admonition} Predict
# :class: predict
# Together the satellites pass about every five days. Will the dates over our areas be five days apart?
# :::

# %%
import numpy as np

figures.show(
    figures.timeline(scenes, study=study),
    "Cloud cover of each scene against its date, by tile",
)

# %%
new_year = np.datetime64(f"{year}-01-01").astype(int)  # days since 1970-01-01
this_year = [s for s in scenes if 0 <= s.day - new_year < 366]
dates = np.unique([s.day for s in this_year])
gaps = np.diff(dates)
print(f"{len(this_year)} scenes on {len(dates)} dates of {year}")
print(f"from one date to the next: {gaps.min()} to {gaps.max()} days")
assert len(set(gaps.tolist())) > 1, "the dates are regular"

# %% [markdown]
# No: the dates are irregular. Where two orbits overlap, a place is seen more often, and two tiles can show one place on one day. Clouds then hide some dates, different ones for each pixel.
# This is the fact on which the whole course is built: optical series are *irregular in time*.
#
# :::{admonition} Exercise 1
# :class: exercise
# Count the dates of the year with a scene under 20 % cloud. How many days lie between them on average, and what is the longest gap from May to August?
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
print(f"longest gap from May to August: {np.diff(summer).max()} days")

# %% [markdown]
# ## 4. Look before you compute
#
# First the map. Hover over it, choose an area from its menu, switch layers off in its legend.

# %%
fig = figures.footprints(scenes, study.areas, study=study, labels=labels[year])
figures.show(
    fig,
    "Map of scene footprints, study areas and crop labels, axes in km",
)

# %% [markdown]
# The scenes are turned against the areas: each scene comes in the projection of its own UTM zone, while labels and areas use the projection of the label grid. To combine the two you must convert coordinates, and this is where the first error is often made.
#
# :::{admonition} Predict
# :class: predict
# To ask a service for an area you need its outline in longitude and latitude. Is it enough to convert two opposite corners?
# :::

# %%
import shapely
from pyproj import CRS, Transformer

area = study.areas[0]
west, south, east, north = area.bounds
to_lonlat = Transformer.from_crs(area.crs, "EPSG:4326", always_xy=True)
lon, lat = to_lonlat.transform([west, east], [south, north])
two_corners = shapely.box(lon[0], lat[0], lon[1], lat[1])

# %%
whole = area.outline("EPSG:4326")
missed = whole.difference(two_corners).area / whole.area
print(f"Two corners miss {missed:.1%} of {area.name['en']}")
assert missed > 0 or CRS(area.crs).is_geographic

# %% [markdown]
# It is not enough: the area is a rectangle in its own projection and a turned one in longitude and latitude, so two corners cut off its sides. The original notebooks did this, and lost a strip of each area without a message.
# `area.outline` sets points along every edge and converts them all.
#
# Now a scene: among those of mid season, the one that shows most areas, with least cloud. True colour is what an eye would see; false colour shows the near infrared, where leaves are bright, as red.

# %%
scene, view = figures.clear_view(scenes, study, year)
fig = figures.chip(
    scene, view, figures.TRUE_COLOUR, figures.FALSE_COLOUR, study=study
)
figures.show(fig, "One clear scene in true colour and in false colour")

# %% [markdown]
# Fields are patches with straight edges. In false colour a growing crop is red, and bare soil and towns are grey or blue-green.
# One date cannot separate crops that are all green on that day. Their *timing* can.
#
# ## 5. The labels
#
# :::{admonition} Predict
# :class: predict
# Look at the false-colour picture: which land cover will be the largest?
# :::

# %%
fig = figures.labels_map(labels[year], view, study=study)
figures.show(
    fig,
    "Crop labels of the largest classes, and their legend",
)

# %%
land = maps.class_areas(labels[year], study.areas, study)
figures.show(
    figures.class_bars(land, study=study),
    "Hectares of each label class, for all areas or one",
)

# %%
figures.show(
    land.head(40).drop(columns="pixels"),
    "Land by area and label class; click a column's head to sort",
)
per_pixel = land["hectares"] / land["pixels"]
largest = land.groupby("name")["hectares"].sum().idxmax()
print(f"the largest class over all areas: {largest}")
assert np.allclose(per_pixel, per_pixel.iloc[0])  # one grid, one pixel size

# %% [markdown]
# The printed line answers the question. A few classes hold most of the land; many small classes hold the rest. A model learns the small ones badly, because they have few examples.
# The CDL has more than a hundred codes. The study's *legend* groups them into classes: here four crops, 'Cultivated' for other crops, 'Uncultivated' for all that is not a crop,
# and 'No Crops Growing', which no label holds: Lab 2 derives it from the images.
# A double crop (wheat, then soybeans, say) has two right answers in one year, so it is *left out*.

# %%
by_class = land.groupby("class")[["pixels", "hectares"]].sum()
by_class = by_class.sort_values("hectares", ascending=False).reset_index()
figures.show(by_class, "Land by class of the legend")

# %%
fig = figures.labels_map(labels[year], view, study=study, legend=study.legend)
figures.show(fig, "The same labels, grouped into the classes of the legend")

codes = land["code"].to_numpy()
taken = codes[study.legend.classes_of(codes) >= 0]
assert not np.isin(taken, study.legend.excluded).any()

# %% [markdown]
# :::{admonition} Exercise 2
# :class: exercise
# The label file also has a *confidence*, 0 to 100, of the classifier that made it. How many label pixels would be dropped if you required at least 60? Is the share the same for every class?
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
# Confidence is lowest at the edges of fields and in rare classes. A high threshold gives cleaner labels, but a biased sample: it has fewer mixed pixels than the map that you will make.
#
# ## 6. One pixel through the year, by hand
#
# Before a library does it for millions of pixels, do it once yourself: take a point, open every file of every scene, read the value under the point.

# %%
import rasterio
from rasterio.warp import transform


def by_hand(scene, xs, ys, crs):
    """A scene at points: (points, 1 + bands), SCL and reflectance × 10,000."""
    columns = []
    for asset in ("scl", *study.bands):
        with rasterio.open(scene.hrefs[asset]) as image:
            points = np.transpose(transform(crs, image.crs, xs, ys))
            dn = np.array([v[0] for v in image.sample(points)], np.uint16)
        if asset != "scl":
            dn = sentinel2.reflectance_dn(dn, scene.offset)
        columns.append(dn)
    return np.stack(columns, axis=1)


# %% [markdown]
# Which points? One pixel of each of the commonest crops in the box of which we take every pixel.

# %%
points = maps.examples(labels[year], here.box, study=study)
figures.show(points, "One label pixel of each of the commonest crops")
xs, ys = points["x"], points["y"]

# %%
import time

started = time.perf_counter()
raw = [by_hand(s, xs, ys, points.attrs["crs"]) for s in this_year]
raw = np.stack(raw, axis=1)  # (points, scenes, 1 + bands)
seconds = time.perf_counter() - started
print(f"{len(xs)} pixels, {len(this_year)} scenes: {seconds:.1f} s")
print(f"{seconds / len(xs):.2f} s per pixel and year")

# %% [markdown]
# It works, and it is slow: most of the time is spent opening every file again for each small group of points. The original course needed more: it downloaded each file whole and then sampled it point by point.
# The library reverses the order of the loops: one task is one *chunk* of the label grid, which opens each file once and reads only the window it needs.
#
# Here is what we read. The upper panel shows all observations, the lower one those that are left when scene classes that cannot be trusted are dropped. Shape and colour of a marker show its scene class.
#
# :::{admonition} Predict
# :class: predict
# What does a cloud do to NDVI: does it raise or lower it?
# :::

# %%
day = np.array([s.day for s in this_year])


def draw(pixel):
    there = raw[pixel, :, 0] > 0  # SCL 0: outside the image
    seen = raw[pixel, there]
    title = f"A pixel of {points['name'][pixel]}, {year}"
    scl, bands = seen[:, 0], seen[:, 1:]
    return figures.series(day[there], scl, bands, study=study, title=title)


alt = "NDVI of one pixel through the year, raw and filtered by scene class."
figures.knob(
    draw, alt, pixel={name: i for i, name in enumerate(points["name"])}
)

# %% [markdown]
# Choose another crop in the menu. A cloud lowers NDVI: it is about as bright in red as in near infrared, so NDVI comes close to zero. The raw series looks like noise, the filtered one like a season.
# Some low values remain. Look at the shape and colour of their markers: cloud shadow (3) and thin cirrus (10), for example, are among the classes that the original course kept, and this study keeps them too. Lab 2 and a model that sees the whole series deal with them.
# Each crop becomes green and dries at its own time. From that a model can learn.

# %%
there = raw[:, :, 0] > 0
scl, values = raw[:, :, 0][there], raw[there][:, 1:]
red, nir = (values[:, study.bands.index(b)] for b in ("red", "nir"))
cloudy = np.isin(scl, (8, 9))
ndvi = maps.ndvi(red, nir)
print(f"median NDVI: {np.median(ndvi[cloudy]):.2f} under cloud,")
print(f"             {np.median(ndvi[scl == 4]):.2f} where SCL says vegetation")
assert np.median(ndvi[cloudy]) < np.median(ndvi[scl == 4])

# %% [markdown]
# The study drops some classes and keeps others. Shadow, water and thin cirrus stay, as in the original course:

# %% tags=["hide-input"]
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
figures.show(counted, "Scene classes: kept or dropped, and how often they came")

# %%
kept = counted.loc[counted["filter"] == "kept", "observations"].sum()
print(f"{kept} of {counted['observations'].sum()} observations pass the filter")
assert 0 < kept < counted["observations"].sum()

# %% [markdown]
# :::{admonition} Exercise 3
# :class: exercise
# Also drop cloud shadow (3) and thin cirrus (10). How many more observations are dropped, and is the remaining series of one pixel smoother? `study.replace(drop_scl=…)` gives a study with another filter.
# :::

# %% tags=["hide-cell"]
# Solution
strict = study.replace(drop_scl=(*study.drop_scl, 3, 10))
inside = raw[0, :, 0] > 0
fig = figures.series(
    day[inside],
    raw[0, inside, 0],
    raw[0, inside, 1:],
    study=strict,
    title=f"{points['name'][0]}, strict filter",
)
figures.show(fig, "The same pixel with shadow and cirrus dropped too")
print(f"{np.isin(scl, (3, 10)).sum()} more of {kept} observations go")

# %% [markdown]
# ### Two errors in the numbers
#
# **Zeros.** In these files 0 means *no data*. NDVI of two zeros is NaN, and unsigned integers cannot be negative: 200 − 500 becomes 65,236.
#
# **The offset.** Since processing baseline 04.00 (January 2022, and older scenes that were processed again) the files hold reflectance × 10,000 *plus 1,000*. Item and file say so, but no error appears if you forget it.
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

# %%
offsets = pd.Series([s.offset for s in scenes]).value_counts()
print("scenes by offset:", offsets.to_dict())
assert set(offsets.index) <= {0, -1000}

# %% [markdown]
# The formula on stored integers gives water a larger NDVI than any forest. For a pixel without data the answer is NaN: the original wrote −100 there, which the next step took for a value. A forgotten offset makes every curve flatter, but only for some scenes, so a model would learn the processing date.
# The library reads the offset from each item's metadata and measures it in the values of the scene. Where the two contradict each other, the values decide, and the table says so.
#
# :::{admonition} A good place for a pause
# :class: tip
# The first half ends here. All that you have made is kept: after a pause, run the cells again from the top; it takes about a minute.
# :::
#
# ## 7. One row per pixel and year
#
# A table could have one row per *observation*. But a model needs the whole season of a pixel, and to collect it from billions of rows you must sort them all. So one row is one pixel in one year:
#
# | column | what it holds |
# |---|---|
# | `pixel`, `year` | which label pixel, which year: together they name a row |
# | `area`, `block` | for a split in which near neighbours are not on two sides |
# | `x`, `y`, `lon`, `lat` | the pixel's centre |
# | `label_code`, `label_confidence` | the label as a *code*: codes are grouped into classes later, because classes change often |
# | `num_images` | how many observations are left |
# | `day`, `scl`, `bands` | byte strings in date order: days since 1970, scene class, reflectance |
#
# Two years of one pixel are two rows, because another crop may grow there.
#
# ## 8. Run it with Spark
#
# Spark cuts work into tasks and gives them to what it has: the cores of a laptop, or the machines of a cluster. The same call runs on all of them.
# A task here is one chunk in one year. It reads SCL first, skips scenes that are all cloud over its chunk, reads the windows it needs, and writes one Parquet file. If the job is stopped, finished chunks are kept.

# %%
import shutil

from arsetlib import engine
from arsetlib.ingest import ingest

spark = engine.session()  # on Databricks: the notebook's own
out = here.table_path
shutil.rmtree(out, ignore_errors=True)  # to see it work; else it is kept
summary = ingest(study, scenes, labels, out, spark=spark, progress=here.bars)
print(summary)
assert summary.rows > 0

# %% [markdown]
# The lines say what each filter on *observations* dropped. 'Twice on a day' are places that two tiles show at the same moment: one of them is enough.
#
# Is the library's row what we read by hand? Filter the first pixel of section 6 in the same way, and compare.

# %%
import pyarrow.compute as pc

from arsetlib import pixels

table = pixels.read(out, filter=(pc.field("year") == year))
side = points.attrs["side"]  # of a label pixel, m
first_pixel = pixels.pixel_id(np.array(xs[:1]), np.array(ys[:1]), side)
row = table["pixel"].to_pylist().index(int(first_pixel[0]))
lib_day, lib_scl, lib_bands = pixels.series(table, row)

# %%
mine = raw[0]
good = ~np.isin(mine[:, 0], (0, *study.drop_scl))
good &= (mine[:, 1:] > 0).all(axis=1)
_, first = np.unique(day[good], return_index=True)  # one observation a day

assert np.array_equal(lib_day, day[good][first])
assert np.array_equal(lib_scl, mine[good][first, 0])
assert np.array_equal(lib_bands, mine[good][first, 1:])
print(f"{len(lib_day)} observations × {len(study.bands)} bands agree")

# %% [markdown]
# They agree exactly. Now divide the job's seconds by its rows and compare with section 6: that is the gain from reading in chunks, and it grows with the number of pixels in a chunk.
#
# :::{admonition} Exercise 4
# :class: exercise
# Call `ingest` again with the same arguments. What does it do, how long does it take, and why do you want that on a machine that stops after an hour?
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
# The original caught every exception and went on, so a broken download became a gap in the data that nobody saw. For other failures it gave an unclear error: where the label service CropScape gave no answer, an `IndexError`; and one saved file got its suffix twice, so the next step did not find it.
# Let us break one link and see what happens here.

# %%
from dataclasses import replace

from arsetlib.catalogue import Scenes
from arsetlib.ingest import IngestError

one = study.replace(areas=study.areas[:1], years=(year,))
covers = [s for s in this_year if s.footprint.covers(one.areas[0].outline())]
clearest = min(covers, key=lambda s: s.cloud or 0)
broken = replace(clearest, hrefs=clearest.hrefs | {"nir": "gone.tif"})

# %%
import textwrap

error_text = ""
try:
    ingest(one, Scenes((broken,)), labels, here.work / "broken", progress=False)
except IngestError as error:
    error_text = str(error)
print(textwrap.fill(error_text, 79))

assert "nir" in error_text
with np.testing.assert_raises(Exception):
    pixels.read(here.work / "broken")  # no table was made of a broken read

# %% [markdown]
# The message says what failed, where, and what to do next, and there is no table. If a table can be read, it is complete.
#
# ## 9. Why byte strings?
#
# Decode one by hand. The column does not tell its type, so you must know it: unsigned 16-bit integers, low byte first (`"<u2"`).
#
# :::{admonition} Predict
# :class: predict
# Tables of the original course have the high byte first (`">u2"`). If you confuse the two, do you get an error?
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
# There is no error: you get wrong numbers, and some of them look plausible. That is why a table's file carries byte order, band order and scale in its metadata, and `pixels.read` checks them. (`pixels.read_arset` reads the original's files.)
#
# Now measure. The same table once with byte strings, once with typed lists, both compressed in the same way:

# %% tags=["hide-input"]
import pyarrow as pa
import pyarrow.parquet as pq

table = pixels.read(out)
flat = pixels.ragged(table)
width = len(study.bands)


def as_lists(offsets, values):
    return pa.LargeListArray.from_arrays(offsets, pa.array(values.ravel()))


lists = pa.table(
    {
        "day": as_lists(flat.offsets, flat.day),
        "scl": as_lists(flat.offsets, flat.scl),
        "bands": as_lists(flat.offsets * width, flat.bands),
    }
)
byte_strings = table.select(["day", "scl", "bands"])


# %%
def measure(content, path):
    """Megabytes on disk, and the milliseconds of the fastest of 7 reads."""
    pq.write_table(content, path, compression="zstd")
    seconds = []
    for _ in range(7):
        started = time.perf_counter()
        pq.read_table(path, use_threads=False)
        seconds.append(time.perf_counter() - started)
    return path.stat().st_size / 1e6, 1000 * min(seconds)


# %%
file = here.work / "measured.parquet"
bytes_mb, bytes_ms = measure(byte_strings, file)
lists_mb, lists_ms = measure(lists, file)
measured = pd.DataFrame(
    {"MB on disk": [bytes_mb, lists_mb], "ms to read": [bytes_ms, lists_ms]},
    index=["byte strings", "typed lists"],
)
figures.show(measured.reset_index(names="series as"), "Size and time to read")

assert here.small or bytes_ms < lists_ms  # a toy is too small to be timed
assert 0.7 < bytes_mb / lists_mb < 1.4

# %% [markdown]
# Their sizes on disk are similar, because both are compressed. Their times to read differ: to read a byte string is to copy memory; to read a list is to decode each number. A training job reads its table many times, so the difference counts.
# And an Arrow column of byte strings *is* already a ragged array, offsets and one long buffer: `pixels.ragged` gives all observations of all pixels without a copy.
#
# ## 10. Ask the table
#
# Every tool of the field reads Parquet. Ask the same question of Spark, which also runs on a cluster, and of DuckDB, which needs none.

# %%
spark.read.parquet(str(out.resolve())).createOrReplaceTempView("pixels")
print(textwrap.dedent(pixels.QUERIES["classes"]))
from_spark = spark.sql(pixels.QUERIES["classes"]).toPandas()
figures.show(from_spark, "Pixel-years per label code and year, by Spark SQL")

assert from_spark["pixel_years"].sum() == summary.rows

# %%
import duckdb

duckdb.read_parquet(f"{out}/*.parquet").create_view("pixels", replace=True)
from_duckdb = duckdb.sql(pixels.QUERIES["classes"]).df()
figures.show(
    duckdb.sql(pixels.QUERIES["areas"]).df(),
    "Areas and years in the table, by DuckDB",
)
assert from_duckdb["pixel_years"].tolist() == from_spark["pixel_years"].tolist()

# %% [markdown]
# Both give the same counts. For a table that fits on one machine DuckDB is faster; Spark can also use a hundred machines.
# Look at the mean number of images: it differs between years, because of clouds, and between areas, because some lie where orbits overlap.
#
# :::{admonition} Exercise 5
# :class: exercise
# An *observation* is one pixel on one date. Ask the table in one query how many each area and year has, and how many images the pixel with most images has. `num_images` counts those of a row, and `scl` holds one byte for each: do both ways of counting agree?
# :::

# %% tags=["hide-cell"]
# Solution
seen = duckdb.sql("""
    SELECT area, year, sum(num_images)::bigint AS observations,
           sum(octet_length(scl))::bigint AS bytes_of_scl, max(num_images) AS most
    FROM pixels GROUP BY area, year ORDER BY area, year
""").df()
figures.show(seen, "Observations per area and year, by DuckDB")
assert (seen["observations"] == seen["bytes_of_scl"]).all()

# %% [markdown]
# ## 11. Check it
#
# Would you notice a table with one series out of order? `pixels.check` tests every row against the rules on which the rest of the course relies.

# %%
report = pixels.check(out)
print(report)
assert report.ok

# %% [markdown]
# ## What you have learnt
#
# - Optical series are irregular: by orbit, by tile, by cloud. Keep them as they are; make them regular when a model needs it (Lab 2).
# - One row is one pixel in one year; series are byte strings in date order; labels stay codes.
# - Filters act on scenes, on observations and on labels, and each should say what it dropped.
# - Errors without a message: two corners for an outline, zeros read as values, a forgotten offset, wrong byte order, a failed read taken for zeros, one image counted twice.
#
# ## What if …
#
# - **… I work outside the United States?** Bring labels of your own, as a raster, as fields or as points: the study file `own_labels.toml` shows how. Then set `source` in section 1 to your study file; no other cell changes.
# - **… the CDL is wrong?** It is, for some pixels. Require a higher confidence, or look at which classes it confuses; a model learns its systematic errors as well as its truth.
# - **… I want real data?** Set `source = "real"` in section 1. You get one small area and one year, for a start. The labels of a year come in a national file of some 2 GB (10 GB with pixels of 10 m), fetched once.
# - **… my machine stops in the middle?** Run the same call again: finished chunks are kept.
# - **… I need radar, Landsat, weather?** Any series with dates fits a byte string. The table then has more columns, and the rest of the pipeline stays.
# - **… I only want floods, or droughts?** Only the labels change.
