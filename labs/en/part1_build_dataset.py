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
# **Question.** Satellite images come on irregular dates, and clouds hide parts of them. How do you turn them into a table from which a model can learn?
#
# **Product.** A *pixel table*: one row per label pixel and year, with the values of all its images. Lab 2 makes batches for a model from it.
#
# **You will be able to**
# - find Sentinel-2 scenes and crop labels for an area, and say what each filter dropped;
# - check them on maps, in tables and as the series of one pixel before you use them;
# - build the table with Spark, query it with SQL, and check it;
# - name the mistakes that put wrong values into such a table without an error message.
#
# **Time.** About 75 minutes, with a pause after section 6. **You need** Python, and you should know what reflectance and NDVI are. You need not know Spark.
# :::
#
# Each step has four parts. *Predict*: answer the question before you run the cell. *Run* the cell. *Read* the explanation. *Check*: an `assert` tests what the explanation claims.
# The lab runs in Google Colab, in Databricks and on a laptop. The first cell says what your machine lacks for the labs, and which command installs it.

# %%
from importlib.util import find_spec

from IPython import get_ipython

if find_spec("arsetlib") is None:  # a fresh Colab or Databricks notebook
    home = "https://github.com/--home-not-set--/crop-maps-at-scale"
    if "not-set" in home:
        raise RuntimeError("No address yet: the owner runs make home URL=…")
    own = "" if find_spec("tensorflow") else ",platform-tensorflow"
    get_ipython().run_line_magic(
        "pip", f'install -q "arsetlib[platform{own}] @ git+{home}"'
    )

from arsetlib import check_env, language

language("en")
check_env(("labs", "train", "images", "spark"))

# %% [markdown]
# ## 1. Choose the data
#
# One line decides where the data come from. `"simulated"` takes the simulated delta: a small place that a program makes. Its files have the layout of real files, so the code below also works on real data.
# `"real"` takes data from the public services: Sentinel-2 scenes from Earth Search and the Cropland Data Layer of the USDA. Or give the name of your own study file. All cells after this one stay the same.
# The files are written to the folder `data`, or to the folder in the environment variable `ARSET_DATA`. On Databricks, give a folder of a volume.
#
# :::{admonition} Simulated data
# :class: simulated
# Unless you change the line, nothing in this lab was measured by a satellite. All pictures say *simulated*. On a new machine the cell first makes the simulated delta, which takes a minute or two.
# :::

# %%
from arsetlib import lab

source = "simulated"  # or "real", or your study file, "mine.toml"
here = lab.place(source)
sample = source == "simulated"  # some asserts hold for the sample only
study, year = here.study, here.year
print(here)

# %% [markdown]
# ## 2. Three sources, in short
#
# **Sentinel-2** is a group of three satellites, each with a camera of 13 bands. We use *Level-2A*: reflectance at the ground, after the effect of the atmosphere was removed. Its files hold integers: reflectance × 10,000.
#
# **SCL**, the *scene classification layer*, comes with the bands. It gives each pixel a class, such as vegetation, bare soil, water, cloud or shadow. With it we decide which pixels to drop.
#
# **CDL**, the *Cropland Data Layer* of USDA-NASS, says what grew on each pixel of the United States in a year. In the course it gives the labels, and the pixel table uses its grid of 30 m. A study with other labels uses the grid of those.
# The CDL is a map made by a classifier, so it has errors. It is published months after harvest. Therefore we want to predict during the season.
#
# :::{admonition} Predict
# :class: predict
# A label pixel of the CDL is 30 m wide. How many of the bands have pixels of 30 m or less?
# :::

# %%
import pandas as pd

from arsetlib import figures, maps, sentinel2, wording

bands = pd.DataFrame([vars(sentinel2.BANDS[b]) for b in study.bands])
alt = "The bands of the study: wavelength and width in nm, pixel side in m"
figures.show(bands, alt)

# %%
fine = (bands["resolution_m"] <= 30).sum()
print(f"{fine} of {len(bands)} bands have pixels of 30 m or less")
assert "B10" not in set(bands["esa"])  # cirrus: not part of Level-2A
assert fine > 0

# %% [markdown]
# The printed line is the answer. Bands with pixels of 60 m are coarser than a label pixel of 30 m, so neighbouring label pixels share their values. Band B10 is missing because it does not show the ground.
#
# ## 3. Find scenes and labels
#
# You ask a *STAC* service: which images show a part of this area in this time? It answers with *items*. An item holds the footprint, the date, the cloud cover, and one link per band. No image is downloaded yet.
# The list of items is saved, so that a later run uses exactly the same scenes, even if the service has changed.
#
# :::{admonition} Predict
# :class: predict
# Why can a catalogue hold the same image twice, and which of the two do you want?
# :::

# %%
scenes = here.scenes()
labels = here.labels()
print(f"{len(scenes)} scenes. Dropped:")
print(wording.shown(pd.Series(scenes.dropped)).to_string())

one_each = {(s.day, s.tile, s.platform, s.datetime) for s in scenes}
assert len(one_each) == len(scenes), "an image is in the list twice"

# %% [markdown]
# The lines count the scenes that each filter dropped. The line 'older processing' answers the question: ESA processes its archive again from time to time, and a catalogue can list both versions. We want the newest, and the assert tests that each image is in the list once.
#
# :::{admonition} Predict
# :class: predict
# Two of the satellites together pass every five days in each orbit. Are the dates over our areas five days apart?
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
# No: the number of days from one date to the next changes. Where two orbits overlap, a place is seen more often, and two tiles can show one place on the same day. In addition, clouds hide some dates, different ones for each pixel.
# So optical series are *irregular in time*. The whole course deals with this.
#
# :::{admonition} Exercise 1
# :class: exercise
# Count the dates of the year that have a scene with less than 20 % cloud. How many days are between them on average, and what is the longest gap from May to August?
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
# First the map. Point at it to see names, choose an area in its menu, and click on its legend to hide a layer.

# %%
fig = figures.footprints(scenes, study.areas, study=study, labels=labels[year])
figures.show(
    fig,
    "Map of scene footprints, study areas and crop labels, axes in km",
)

# %% [markdown]
# The scenes have the projection of their own UTM zone. Labels and areas have the projection of the label grid. Where the two differ, the outlines of scenes are turned against those of the areas. To combine them you must convert coordinates, and the first mistake is often made here.
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
print(f"Two corners miss {missed:.1%} of {area.name.get('en', area.key)}")
assert missed > 0 or CRS(area.crs).is_geographic

# %% [markdown]
# It is not enough, unless the area is given in degrees. The area is a rectangle in its own projection. In longitude and latitude its sides are turned and curved, so two corners cut off its sides. The original notebooks did this, and lost a strip of each area without a message.
# `area.outline` puts points along each side and converts all of them.
#
# Now a scene. We take those of mid season that show most areas, and of these the one with the least cloud. True colour shows what an eye would see. False colour shows the near infrared as red, and leaves reflect much near infrared.

# %%
scene, view = figures.clear_view(scenes, study, year)
fig = figures.chip(
    scene, view, figures.TRUE_COLOUR, figures.FALSE_COLOUR, study=study
)
figures.show(fig, "One clear scene in true colour and in false colour")

# %% [markdown]
# Fields are patches with straight edges. In false colour a growing crop is red, and bare soil and towns are grey or blue-green.
# One date cannot separate crops that are all green on that day. The dates on which they become green and dry can: section 6 shows them.
#
# ## 5. The labels
#
# :::{admonition} Predict
# :class: predict
# Look at the false-colour picture: which land cover has the largest area?
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
assert np.allclose(per_pixel, per_pixel.iloc[0])  # one grid, one pixel size

# %%
of_class = land.groupby("name")["hectares"].sum().sort_values(ascending=False)
share = of_class / of_class.sum()
print(f"the largest class over all areas: {share.index[0]}")
print(f"the five largest of {len(share)} classes: {share[:5].sum():.0%}")
if sample:
    assert share[:5].sum() > 0.5

# %% [markdown]
# The first printed line answers the question. In the delta a few classes hold most of the land, as the second line shows, and many small classes hold the rest. A small class gives a model few examples to learn from.
# The CDL has more than a hundred codes. The *legend* of a study groups them into classes. The delta's legend has four crops, 'Cultivated' for other crops, and 'Uncultivated' for all that is not a crop. No label code belongs to its class 'No Crops Growing': Lab 2 derives this class from the images.
# A double crop, such as wheat and then soybeans, has two right answers in one year. So the legend *leaves it out*.

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
if sample:
    assert sum(c.crop for c in study.legend.classes if c.codes) == 5

# %% [markdown]
# :::{admonition} Exercise 2
# :class: exercise
# With the labels comes the *confidence* (0 to 100) of the classifier that made them. How many label pixels would be dropped if you required at least 60? Is the share the same for each class? Is it the same at the edges of fields?
# Hint: `maps.read(path, area)` gives the pixels of an area.
# :::

# %% tags=["hide-cell"]
# Solution. A pixel is at an edge if one of its 8 neighbours has another code.
from scipy import ndimage

if labels[year].confidence:
    parts = []
    for a in study.areas:
        code = maps.read(labels[year].path, a)[0]
        at_edge = ndimage.maximum_filter(code, 3) != ndimage.minimum_filter(
            code, 3
        )
        low = maps.read(labels[year].confidence, a)[0] < 60
        parts.append([v.ravel() for v in (code, at_edge, low)])
    code, at_edge, low = map(np.concatenate, zip(*parts, strict=True))
    print(
        f"{low.sum():,} of {low.size:,} pixels are dropped ({low.mean():.1%})"
    )
    print(f"at edges {low[at_edge].mean():.1%}, ", end="")
    print(f"elsewhere {low[~at_edge].mean():.1%}")
    classes = np.array([*study.legend.names(), "left out"])
    classes = classes[study.legend.classes_of(code.astype(int))]
    of_class = pd.Series(100 * low).groupby(classes).mean().round(1)
    print(of_class.rename("percent dropped").to_string())
    if sample:
        assert low[at_edge].mean() > low[~at_edge].mean()

# %% [markdown]
# The share is not the same everywhere. In the delta low confidence is far more frequent at the edges of fields. A high threshold gives labels with fewer errors, but a biased sample: it has fewer mixed pixels than the map that you will make.
#
# ## 6. One pixel through the year, by hand
#
# The library does this for millions of pixels. First do it once yourself: take a point, open each file of each scene, and read the value at the point.

# %%
import rasterio
from rasterio.warp import transform


def by_hand(scene, xs, ys, crs):
    """A scene at points: (points, 1 + bands), SCL and reflectance × 10,000."""
    columns = []
    for asset in ("scl", *study.bands):
        with rasterio.open(here.file(scene, asset)) as image:
            points = np.transpose(transform(crs, image.crs, xs, ys))
            dn = np.array([v[0] for v in image.sample(points)], np.uint16)
        if asset != "scl":
            dn = sentinel2.reflectance_dn(dn, scene.offset)
        columns.append(dn)
    return np.stack(columns, axis=1)


# %% [markdown]
# We take one pixel of each of the commonest crops in one area.

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
# It works, and it is slow: each file is opened for a few points only, and opened again for the next few. The original course needed even more time: it downloaded each file whole and then read it point by point.
# The library reverses the order of the loops. One task is one *chunk* of the label grid: it opens each file once and reads only the window that it needs.
#
# Here is what we read. The upper panel shows all observations. The lower panel shows those that are left after the study's filter has dropped some scene classes. Shape and colour of a marker show its scene class.
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

# %%
there = raw[:, :, 0] > 0
scl, values = raw[:, :, 0][there], raw[there][:, 1:]
red, nir = (values[:, study.bands.index(b)] for b in ("red", "nir"))
cloudy = np.isin(scl, (8, 9))
ndvi = maps.ndvi(red, nir)
print(f"median NDVI: {np.median(ndvi[cloudy]):.2f} under cloud,")
print(f"             {np.median(ndvi[scl == 4]):.2f} where SCL says vegetation")
assert np.median(ndvi[cloudy]) < np.median(ndvi[scl == 4])
if sample:
    assert abs(np.median(ndvi[cloudy])) < 0.2

# %%
pixel_of, when = np.nonzero(there)  # as in scl, red, nir and ndvi
for pixel, name in enumerate(points["name"]):
    of_it = (pixel_of == pixel) & (scl == 4)  # vegetation
    greenest = ndvi[of_it] >= 0.8 * ndvi[of_it].max(initial=-1)
    green = day[when[of_it][greenest]].astype("M8[D]")
    middle = " ".join(map(str, green[len(green) // 2 :][:1]))
    print(f"{name}: {len(green)} greenest dates, the middle one {middle}")
    assert (np.diff(green.astype(int)) >= 0).all()

# %% [markdown]
# A cloud lowers NDVI. It is about as bright in red as in near infrared, so in the delta NDVI is close to zero under cloud, as the first line shows. Choose another crop in the menu: the raw series hides the season, the filtered one shows it.
# The last lines show when each of these pixels is greenest. A model can use such dates to separate crops, if they differ.
#
# Some low values remain after the filter. The shape of their markers shows their scene class. The next table says which classes the study drops. The study of the course keeps cloud shadow (3), water (6) and thin cirrus (10), as the original course did. A model that uses the whole series must cope with the low values that remain.

# %% tags=["hide-input"]
counted = pd.DataFrame(
    {
        "SCL": list(sentinel2.SCL),
        "class": [c.title() for c in sentinel2.SCL.values()],
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
if sample:
    assert not {3, 6, 10} & set(study.drop_scl)

# %% [markdown]
# :::{admonition} Exercise 3
# :class: exercise
# Also drop cloud shadow (3) and thin cirrus (10). How many more observations are dropped, and is the remaining series of one pixel smoother? `study.replace(drop_scl=…)` gives a study with another filter.
# :::

# %% tags=["hide-cell"]
# Solution
strict = study.replace(drop_scl=tuple(sorted({*study.drop_scl, 3, 10})))
inside = raw[0, :, 0] > 0
fig = figures.series(
    day[inside],
    raw[0, inside, 0],
    raw[0, inside, 1:],
    study=strict,
    title=f"{points['name'][0]}, strict filter",
)
figures.show(fig, "The same pixel with shadow and cirrus dropped too")
more = np.isin(scl, (3, 10)) & ~np.isin(scl, study.drop_scl)
print(f"{more.sum()} more of {kept} observations are dropped")

# %% [markdown]
# ### Two errors in the numbers
#
# **Zeros.** In these files 0 means *no data*. NDVI of two zeros is NaN, and unsigned integers cannot be negative: 200 − 500 becomes 65,236.
#
# **The offset.** Since processing baseline 04.00 the files hold reflectance × 10,000 *plus 1,000*. This is so for scenes from January 2022 on, and for older scenes that were processed again. Item and file state it, but no error appears if you forget it.
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

right, late = maps.ndvi(red, nir), maps.ndvi(red + 1000, nir + 1000)
assert naive[1] > 1 > 0 > right[1]
assert np.isnan(right[2])
assert (abs(late[:2]) < abs(right[:2])).all()

# %%
offsets = pd.Series([s.offset for s in scenes]).value_counts()
print("scenes by offset:", offsets.to_dict())
assert set(offsets.index) <= {0, -1000}

# %% [markdown]
# With stored integers the formula gives water an NDVI above 1, which is impossible. For a pixel without data the answer is NaN: the original wrote −100 there, and the next step used it as a value. A forgotten offset brings NDVI closer to zero, as the last line shows. This happens only in some scenes, so a model would learn the date of processing.
# The library reads the offset from the metadata of each item and checks it against the values of the scene. Where the two contradict each other, it follows the values, and the table says so.
#
# :::{admonition} A good place for a pause
# :class: tip
# The first half ends here. The simulated delta and the list of scenes are kept. After the pause, run the cells again from the top.
# :::
#
# ## 7. One row per pixel and year
#
# A table could have one row per *observation*. But a model needs the whole season of a pixel, and to collect it you would have to sort billions of rows. So one row is one pixel in one year:
#
# | column | what it holds |
# |---|---|
# | `pixel`, `year` | which label pixel, which year: together they identify a row |
# | `area`, `block` | for a split that keeps neighbouring pixels in the same set |
# | `x`, `y`, `lon`, `lat` | the pixel's centre |
# | `label_code`, `label_confidence` | the label as a *code*: codes are grouped into classes later, because classes change often |
# | `num_images` | number of observations after the filter |
# | `day`, `scl`, `bands` | byte strings in date order: days since 1970, scene class, reflectance |
#
# Two years of one pixel are two rows, because the crop may change.
#
# ## 8. Run it with Spark
#
# Spark divides work into tasks and runs them on the cores of a laptop or on the machines of a cluster. The call is the same for both.
# Here a task is one chunk in one year. It reads SCL first and skips scenes that have only cloud over its chunk. Then it reads the windows that it needs and writes one Parquet file. If the job is stopped, finished chunks are kept.

# %%
from arsetlib import engine, folders
from arsetlib.ingest import ingest

spark = engine.session()  # on Databricks: the notebook's own
out = here.table_path
folders.remove(out)  # so that the job has work to do
summary = ingest(study, scenes, labels, out, spark=spark, progress=here.bars)
print(summary)
assert summary.rows > 0

# %%
by_hand_s, job_s = seconds / len(xs), summary.seconds / summary.rows
print(f"by hand {by_hand_s:.3f} s per pixel and year, job {job_s:.4f} s")
if sample:
    assert job_s < by_hand_s

# %% [markdown]
# The lines say what each filter on *observations* dropped. 'Observations twice on a day' counts places that two tiles show at the same moment: one observation is enough. The last line shows the gain from reading in chunks.
#
# Is the library's row equal to what we read by hand? Filter the first pixel of section 6 in the same way, and compare.

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
# They agree exactly.
#
# :::{admonition} Exercise 4
# :class: exercise
# Call `ingest` again with the same arguments. What does it do, and how long does it take? Why is this useful on a machine that stops after an hour?
# :::

# %% tags=["hide-cell"]
# Solution
again = ingest(study, scenes, labels, out, spark=spark, progress=False)
print(f"{again.resumed} of {again.chunks} chunks were finished already")
print(f"{again.seconds:.2f} s")
assert (again.rows, again.resumed) == (summary.rows, again.chunks)

# %% [markdown]
# ### A failed read is an error, never zeros
#
# The original caught every exception and went on, so a failed download became a gap in the data that nobody noticed. Other failures gave an unclear error: where the label service CropScape gave no answer, an `IndexError`. One saved file got its suffix twice, so the next step did not find it.
# Break one link and see what happens here.

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
# The message says what failed, where, and what to do next. There is no table: the last assert tries to read it. If a table can be read, it is complete.
#
# ## 9. Why byte strings?
#
# Decode one by hand. A byte string does not contain its type, so you must know it: unsigned 16-bit integers, low byte first (`"<u2"`).
#
# :::{admonition} Predict
# :class: predict
# Tables of the original course have the high byte first (`">u2"`). Do you get an error if you confuse the two?
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
# There is no error: you get wrong numbers. Therefore the files of a table store byte order, band order and scale in their metadata, and `pixels.read` checks them. (`pixels.read_arset` reads the files of the original course.)
#
# Now measure. Write the same series once as byte strings and once as typed lists, both compressed in the same way:

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

assert here.small or bytes_ms < lists_ms  # a small table is too fast to time
assert 0.7 < bytes_mb / lists_mb < 1.4

# %% [markdown]
# Their sizes on disk are similar, because both are compressed. Their times to read differ, because a byte string is copied and the numbers of a list are decoded one by one. A training job may read its table many times.
# In memory, an Arrow column of byte strings is one long buffer with the offsets of the rows. `pixels.ragged` gives all observations of all pixels as arrays on this buffer, without a copy.
#
# ## 10. Ask the table
#
# Many programs read Parquet. Ask the same question twice: with Spark, which also runs on a cluster, and with DuckDB, which runs on one machine.

# %%
from arsetlib import copies

files = copies.fetched(out).resolve()  # of a table in an object store: a copy
spark.read.parquet(str(files)).createOrReplaceTempView("pixels")
print(textwrap.dedent(pixels.QUERIES["classes"]))
from_spark = spark.sql(pixels.QUERIES["classes"]).toPandas()
figures.show(from_spark, "Pixel-years per label code and year, by Spark SQL")

assert from_spark["pixel_years"].sum() == summary.rows

# %%
import duckdb

duckdb.read_parquet(f"{files}/*.parquet").create_view("pixels", replace=True)
from_duckdb = duckdb.sql(pixels.QUERIES["classes"]).df()
figures.show(
    duckdb.sql(pixels.QUERIES["areas"]).df(),
    "Areas and years in the table, by DuckDB",
)
assert from_duckdb["pixel_years"].tolist() == from_spark["pixel_years"].tolist()

# %% [markdown]
# Both give the same counts, as the assert tests. DuckDB needs no cluster; Spark can also use a hundred machines.
# Look at the mean number of images. It can differ between years, because of clouds, and between areas, because some areas are where two orbits overlap.
#
# :::{admonition} Exercise 5
# :class: exercise
# An *observation* is one pixel on one date. Write one query: how many observations has each area and year, and how many images has the pixel with most images? `num_images` counts the observations of a row, and `scl` holds one byte for each. Do both ways of counting agree?
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
# ## 11. Check the table
#
# Would you notice one series whose dates are out of order? `pixels.check` tests each row against the rules that the rest of the course needs.

# %%
report = pixels.check(out)
print(report)
assert report.ok

# %% [markdown]
# ## What you have learnt
#
# - Optical series are irregular, because of orbits, tiles and clouds. Store them as they are; make them regular when a model needs it (Lab 2).
# - One row is one pixel in one year; series are byte strings in date order; labels stay codes.
# - Filters work on scenes, on observations and on labels, and each should say what it dropped.
# - Mistakes without an error message: two corners for an outline, zeros used as values, a forgotten offset, a wrong byte order, a failed read stored as zeros, one image counted twice.
#
# ## What if …
#
# - **… I work outside the United States?** Use your own labels, as a raster, as fields or as points: the study file `own_labels.toml` shows how. Then set `source` in section 1 to your study file; no other cell changes.
# - **… the CDL is wrong?** It is, for some pixels. Require a higher confidence, or find out which classes it confuses. A model also learns the systematic errors of its labels.
# - **… I want real data?** Set `source = "real"` in section 1. You get one small area and one year, for a start. The labels of a year come in a national file of some 2 GB (10 GB with pixels of 10 m), fetched once.
# - **… my machine stops in the middle?** Run the same call again: finished chunks are used again.
# - **… I need radar, Landsat, weather?** Any series with dates can be stored as a byte string. The table then has more columns, and the rest of the pipeline does not change.
# - **… I want to map floods, or droughts?** Only the labels change.
