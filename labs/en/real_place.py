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
# # Does it hold on Earth?
#
# :::{admonition} At a glance
# :class: lab-header
# **Question.** All pictures of the course are simulated. Do its calls work on real images, and how do real images differ from the simulated ones?
#
# **Product.** A map of the trees of one square kilometre in Romania, made from real images, and a table of real against simulated.
#
# **You will be able to**
# - make a pixel table from a cube of images with `pixels.from_cube`, and say what is not in it;
# - find errors of the scene classification without any ground truth;
# - measure the noise from date to date, and compare a simulation with real images;
# - map trees with blocks that the model has not seen, beside baselines, and test the model on another year.
#
# **Time.** About 50 minutes. **You need** Labs 1 and 2, or to know what a pixel table and a block are.
# :::
#
# Each step has four parts, as in the labs. *Predict*: answer the question before you run the cell. *Run* the cell. *Read* the explanation. *Check*: an `assert` tests what the explanation claims.

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
# ## 1. A real place
#
# The images are in a package of their own, `nrt`, of the Joint Research Centre of the European Commission. It belongs to the extra `real` of the course's library. If it is missing, the next cell ends with the command that installs it.
#
# :::{admonition} Real and simulated data
# :class: simulated
# In this chapter the images of Romania are **real**: a satellite measured them. Their captions say so, with the credit that their licence asks for. Section 5 compares them with the **simulated** delta of Lab 1. Pictures of the delta say *simulated*.
# :::

# %%
from arsetlib import lab

cube = lab.cube()
print(cube.attrs["credit"])
print(", ".join(f"{name}: {size}" for name, size in cube.sizes.items()))
print(
    f"from {str(cube.time.values[0])[:10]} to {str(cube.time.values[-1])[:10]}"
)
assert dict(cube.sizes) == {"time": 140, "y": 100, "x": 100}

# %% [markdown]
# This is a *cube*: for each date and each pixel of 10 m a value of four bands and of SCL. The place lies at the edge of a mountain forest. `tree_cover` is the label: the share of each pixel of 20 m that trees covered in 2018, in percent.
#
# :::{admonition} Predict
# :class: predict
# Since 2017 two satellites together pass every 5 days, so one path of them gives 73 images a year. How many of these does the cube have in 2018?
# :::

# %%
import numpy as np
import pandas as pd

date = cube.time.values.astype("M8[D]")
year = date.astype("M8[Y]").astype(int) + 1970
apart = pd.Series(np.diff(date).astype(int))
print(pd.Series(year, name="dates").value_counts(sort=False).to_string())
print("days to the next date:", apart.value_counts().sort_index().to_dict())

# %%
print(f"2018: {(year == 2018).sum()} images of 73")
assert (apart % 5 == 0).all()  # one path, and dates are missing
assert (year == 2018).sum() < 73 / 2
assert apart.max() > 30

# %% [markdown]
# The cube has fewer than half of the images, and the distances between its dates are multiples of five. So somebody chose the dates before us, probably by their cloud cover. The package does not say by which rule.
# This matters in section 5: on Earth there is more cloud than in this cube. Ask of all data that you did not collect yourself what was left out of them.
#
# ## 2. The same calls
#
# The pixel table of Lab 1 has one row for each pixel and year. `pixels.from_cube` makes such a table from a cube. It needs the names of the bands, and a `PointFormat`, as for a table of points: the name of the label, the projection, and the study, which has the size of blocks.

# %%
from arsetlib import figures, pixels, sentinel2
from arsetlib.study import Study

study = Study.load("real_place")
BANDS = {"B2": "blue", "B3": "green", "B4": "red", "B8": "nir"}
cube["trees"] = (cube.tree_cover >= 50).astype(int)  # 1: half or more
form = pixels.PointFormat(label="trees", crs="EPSG:3035", study=study)
print(f"{float(cube.trees.mean()):.0%} of the pixels are trees")
assert cube.tree_cover.notnull().all()

# %% [markdown]
# :::{admonition} Predict
# :class: predict
# The study drops the same scene classes as in Lab 1: no data, cloud, snow and unclassified. Which share of the observations stays?
# :::

# %%
table = pixels.from_cube(cube, BANDS, form, scl="SCL", drop_scl=study.drop_scl)
table = table.combine_chunks()
images = table["num_images"].to_numpy()
print(f"{table.num_rows:,} rows, {images.sum() / cube.SCL.size:.0%} stay")
left_out = pixels.Meta.of(table).extra["left_out"]
print({name: count for name, count in left_out.items() if count})

# %%
dropped = left_out["observations_of_dropped_classes"]
print(f"{images.sum():,} + {dropped:,} = {cube.SCL.size:,}")
assert images.sum() + dropped == cube.SCL.size
assert dropped == np.isin(cube.SCL, study.drop_scl).sum()
assert not pixels.Meta.of(table).simulated

# %% [markdown]
# About three quarters stay. `left_out` names and counts the rest: observations of dropped classes, and rows for which no observation is left. The sum of both kinds of observations is the whole cube, so nothing was lost silently. Irregular dates are no problem: a row has as many dates as there are.
#
# ## 3. The years of one real pixel
#
# Shape and colour of a marker show its scene class, as in Lab 1. The upper panel has all observations, the lower one those that are left after the filter.
#
# :::{admonition} Predict
# :class: predict
# After the filter, is the series of a forest smooth?
# :::

# %%
day = date.astype(int)


def draw(at):
    one = cube.isel(y=at[0], x=at[1])
    values = np.stack([one[band].values for band in BANDS], axis=1)
    title = "One real pixel, 2015 to 2021"
    scl = one.SCL.values.astype(int)
    return figures.series(day, scl, values, study=study, title=title)


# %%
cover = cube.tree_cover.values
at = {
    "dense forest": np.unravel_index(cover.argmax(), cover.shape),
    "open land": np.unravel_index(cover.argmin(), cover.shape),
}
at = {name: tuple(map(int, place)) for name, place in at.items()}
print(at)
assert cover[at["dense forest"]] > 90 > 10 > cover[at["open land"]]

# %%
alt = "Real: NDVI of one pixel, raw and filtered by scene class. Contains modified Copernicus Sentinel data 2015-2021."
figures.knob(draw, alt, at=at)

# %% [markdown]
# It is not smooth. In summer a forest hardly changes, and still many low values are left. Look at one of them, 15 August 2018, and at the clear dates before and after it.

# %%
dates = ["2018-07-01", "2018-08-15", "2018-08-25"]
three = cube.sel(time=dates)
middle = three[["B2", "B4", "B8"]].median(("y", "x")).to_dataframe()
middle["vegetation, %"] = 100 * (three.SCL == 4).mean(("y", "x")).values
middle = middle.round(1)
middle.insert(0, "date", dates)

# %%
figures.show(
    middle,
    "Real: reflectance × 10,000 of the whole place, medians. Contains modified Copernicus Sentinel data 2018.",
)

# %%
near_infrared = middle["B8"].to_numpy()
share = near_infrared[1] / near_infrared[[0, 2]].min()
print(f"near infrared, of the lower neighbour: {share:.0%}")
assert (middle["vegetation, %"] > 99).all()
assert share < 0.6
assert middle["B2"].iloc[1] < middle["B2"].iloc[[0, 2]].min()

# %% [markdown]
# On the second date all bands are darker, the near infrared by almost half, so the shadow of a cloud probably lies over the whole place. SCL calls nearly each pixel vegetation on each of the three dates. No filter by SCL removes this shadow. NDVI hides a part of it, because it is a ratio.
#
# ## 4. Errors of the scene classification
#
# Errors of a classification are usually counted with ground truth. Some show themselves without it.
#
# :::{admonition} Predict
# :class: predict
# A lake would be water on most dates. On how many of the 140 dates is the pixel that is called water most often called water? And in which months?
# :::

# %%
scl = cube.SCL.values.astype(int)
month = cube.time.dt.month.values
water = scl == 6
when = water.any(axis=(1, 2))
print(
    f"{water.any(axis=0).mean():.0%} of the pixels are called water on some date"
)
print(f"no pixel on more than {water.sum(axis=0).max()} of {len(scl)} dates")
print("months:", sorted(set(month[when].tolist())))
colour = [int(np.median(cube[band].values[water])) for band in BANDS]
print("where SCL says water:", dict(zip(BANDS, colour, strict=True)))

# %%
assert water.sum(axis=0).max() < 0.1 * len(scl)
assert set(month[when]) <= {11, 12, 1, 2, 3}
assert (np.diff(colour) < 0).all()  # darker from blue to infrared

# %% [markdown]
# There is no lake: no pixel is called water on a tenth of the dates. The months and the values give the reason. These pixels are bright in blue and darker in each longer wavelength. Water is like this, and so is snow on a slope that lies in shadow, because only the blue light of the sky reaches it. Such a slope exists in winter, when the sun is low. The filter *keeps* these pixels, as it does not drop water.


# %%
def rgb(red, green, blue):
    """(H, W, 3) of 0 to 1; brighter than in nature."""
    return np.clip(np.stack([red, green, blue], -1) / 3000, 0, 1) ** 0.7


def painted(classes):
    """The scene classes in their usual colours."""
    colours = [sentinel2.SCL[value].colour for value in range(12)]
    table = [[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in colours]
    return np.array(table, np.uint8)[classes]


# %% tags=["hide-input"]
pictures = {}
for one in ("2018-07-26", "2018-01-07"):
    image = cube.sel(time=one)
    pictures[f"{one}, real"] = rgb(
        *(image[b].values for b in ("B4", "B3", "B2"))
    )
    pictures[f"{one}, SCL"] = painted(image.SCL.values.astype(int))
fig = figures.panels(pictures, metres=10, study=study)
figures.show(
    fig,
    "Real: two dates and their scene classes; white and grey are cloud, green vegetation, blue water, brown cloud shadow, pink snow. Contains modified Copernicus Sentinel data 2018.",
)
assert (cube.SCL.sel(time="2018-01-07") == 6).mean() > 0.05

# %% [markdown]
# In July clouds have a ring of 'unclassified' and 'cloud, medium probability', and the dark shadows beside them are hardly found. In January SCL calls parts of one slope shadow, dark area, water, cloud and vegetation; the bluish white of the picture is probably snow, and much of it is called water.
#
# :::{admonition} Exercise 1
# :class: exercise
# Class 11 is snow. How many observations from May to September have it, on which dates, and how bright are they in the blue band? What are they?
# :::

# %% tags=["hide-cell"]
# Solution: clouds. A forest has about 300 in the blue band.
snow = (scl == 11) & np.isin(month, range(5, 10))[:, None, None]
blue = cube.B2.values
print(f"{snow.sum():,} observations")
print("dates:", ", ".join(map(str, date[snow.any(axis=(1, 2))])))
print(
    f"blue: {np.median(blue[snow]):,.0f}, of vegetation {np.median(blue[scl == 4]):,.0f}"
)
assert np.median(blue[snow]) > 10 * np.median(blue[scl == 4])

# %% [markdown]
# ## 5. Real beside simulated
#
# Now the simulated delta. Its files have the layout of the real services, so we read them scene by scene, on one area, at 20 m.

# %%
from dataclasses import replace

import rasterio
from rasterio.warp import transform_bounds
from rasterio.windows import from_bounds


def look(scene, area):
    """SCL, red and near infrared of a scene on an area, (3, H, W) at 20 m."""
    west, south, east, north = area.bounds
    rows, columns = int((north - south) // 20), int((east - west) // 20)
    parts = []
    for asset in ("scl", "red", "nir"):
        with rasterio.open(here.file(scene, asset)) as image:
            box = transform_bounds(area.crs, image.crs, *area.bounds)
            window = from_bounds(*box, image.transform)
            window = window.round_offsets().round_lengths()
            step = round(20 / image.res[0])
            dn = image.read(1, window=window)[::step, ::step]
        if asset != "scl":
            dn = sentinel2.reflectance_dn(dn, scene.offset)
        parts.append(dn[:rows, :columns])
    return np.stack(parts)


# %% [markdown]
# The delta lies where two paths of the satellites overlap. For a fair comparison take one path: the dates that are a multiple of five days apart.

# %%
from arsetlib import maps
from arsetlib.catalogue import find_scenes


def one_path(scenes, area, year):
    """The scenes of a year that show the whole area, one for each day, of one path."""
    outline = area.outline()
    shown = [
        s for s in scenes if s.year == year and s.footprint.covers(outline)
    ]
    shown = list({s.day: s for s in shown}.values())
    path = pd.Series([s.day % 5 for s in shown]).mode()[0]
    return [s for s in shown if s.day % 5 == path]


# %%
here = lab.place("simulated")
print(here)
cloudy_too = replace(here.study.scenes, max_cloud=100)
found = find_scenes(here.study.replace(scenes=cloudy_too), progress=False)
scenes = one_path(found, here.box, here.year)
delta = np.stack([look(scene, here.box) for scene in scenes])
print(f"{len(scenes)} images of {here.year}: {delta.shape}")
assert len(scenes) == len(delta)

# %%
delta_day = np.array([s.day for s in scenes])
flat = delta.reshape(len(scenes), 3, -1).astype(float)  # (T, 3, P)
print(f"simulated {flat.shape}")
assert np.isin(flat[:, 0], range(12)).all()  # scene classes

# %%
of_2018 = year == 2018
real = cube.sel(time=date[of_2018].astype("M8[ns]")).isel(
    x=slice(None, None, 2), y=slice(None, None, 2)
)
real_flat = np.stack(
    [real[b].values.reshape(of_2018.sum(), -1) for b in ("SCL", "B4", "B8")],
    axis=1,
)
print(f"real {real_flat.shape}")
assert real_flat.shape[1] == flat.shape[1] == 3

# %% [markdown]
# First the scene classes.
#
# :::{admonition} Predict
# :class: predict
# Which classes are missing in the simulated images, or nearly so?
# :::

# %%
classes = pd.DataFrame({"class": [sentinel2.SCL[v].name for v in range(1, 12)]})
for name, values in (("real 2018, %", real_flat), ("simulated, %", flat)):
    seen = values[:, 0][values[:, 0] > 0]
    classes[name] = [round(100 * (seen == v).mean(), 1) for v in range(1, 12)]
figures.show(
    classes,
    "Scene classes, share of the observations: real images of Romania, and the simulated delta. Contains modified Copernicus Sentinel data 2018.",
)

# %%
for name in ("real 2018, %", "simulated, %"):
    rare = classes.loc[classes[name] < 0.5, "class"]
    print(f"{name}: under 0.5: {', '.join(rare)}")
    assert abs(classes[name].sum() - 100) < 1
assert classes["real 2018, %"][1] > 2  # dark area
assert classes["real 2018, %"][10] > 0.5  # snow
assert classes["simulated, %"][10] > 0  # bright cloud

# %% [markdown]
# The printed lines name the rare classes of both. Do not compare the cloud: the cube has chosen dates. Dark areas belong to mountains, so their absence in a flat delta is right. There is no snow in a warm delta; its SCL calls some bright cloud snow, as the real one does (exercise 1), and on some dates it misses the shadows of clouds. These mistakes were set after the real images. The confusion on slopes is missing.
#
# ### Noise from date to date
#
# Take three clear dates of a pixel that follow each other, and draw a line from the first to the third. How far is the second from the line? Plants change slowly, so over a few weeks the distance is mostly noise: atmosphere, angle of sun and satellite, shadow and cloud that SCL missed. Vermote and others (2009, [sources](../../book/en/bibliography.md)) measure noise in this way.


# %%
def deviations(day, value, clear, most=30):
    """Distances of clear values from the line between their neighbours."""
    found = []
    for pixel in range(value.shape[1]):
        i = np.flatnonzero(clear[:, pixel])
        a, b, c = i[:-2], i[1:-1], i[2:]
        near = day[c] - day[a] <= most
        a, b, c = a[near], b[near], c[near]
        share = (day[b] - day[a]) / (day[c] - day[a])
        v = value[:, pixel]
        found.append(np.abs(v[b] - v[a] - share * (v[c] - v[a])))
    return np.concatenate(found)


# %%
by_hand = deviations(
    np.array([0, 10, 20]), np.array([[1.0], [5], [3]]), np.ones((3, 1), bool)
)
print("1, 5, 3 on days 0, 10, 20:", by_hand)
assert by_hand.tolist() == [3]  # the line has 2 in the middle


# %%
def facts(day, scl, red, nir):
    """Numbers of a place and year; each array is (T, P)."""
    clear = np.isin(scl, (4, 5)) & (red > 0) & (nir > 0)
    ndvi = deviations(day, maps.ndvi(red, nir), clear)
    infrared = deviations(day, nir, clear) / np.median(nir[clear])
    gaps = [np.diff(day[dates]).max(initial=0) for dates in clear.T]
    return {
        "dates": len(day),
        "clear dates of a pixel, median": np.median(clear.sum(axis=0)),
        "longest time between them, days, median": np.median(gaps),
        "NDVI, deviation, median": np.median(ndvi),
        "NDVI, deviations over 0.1, %": 100 * (ndvi > 0.1).mean(),
        "near infrared, deviation, median, %": 100 * np.median(infrared),
        "near infrared, deviations over 20 %, %": 100 * (infrared > 0.2).mean(),
    }


# %% [markdown]
# :::{admonition} Predict
# :class: predict
# Which of the two is noisier: a forest, which hardly changes, or a delta with crops, which grow and are harvested?
# :::

# %%
columns = {
    "real 2018": facts(day[of_2018], *np.moveaxis(real_flat, 1, 0)),
    "simulated": facts(delta_day, *np.moveaxis(flat, 1, 0)),
}
both = pd.DataFrame(columns)
shown = both.round(3).rename_axis("number").reset_index()
figures.show(
    shown,
    "Real images of Romania beside the simulated delta. Contains modified Copernicus Sentinel data 2018.",
)

# %%
noise = both.iloc[3:]
kinder = noise.index[noise["simulated"] < noise["real 2018"]]
print("the simulation is kinder in:", "; ".join(kinder))
assert both.loc["near infrared, deviation, median, %", "real 2018"] > 8
assert both.loc["NDVI, deviations over 0.1, %", "real 2018"] > 20
assert np.isfinite(noise.to_numpy()).all()

# %% [markdown]
# A forest should be less noisy than crops, because it changes less. The table shows what the real images do: a quarter of the clear NDVI values deviate by more than 0.1, and a third of the near infrared by more than a fifth. The printed line names the numbers in which the simulated delta is kinder than Earth.
# So a score on the simulated delta is an upper limit. Slopes explain a part of the difference, because they change their light with the sun; a flat delta has none. The delta has a brightness error that neighbours share on a date; it was set after the part of the real noise that the whole place shares.
#
# ## 6. Map the trees
#
# The label is 1 where trees cover at least half of a pixel. Neighbouring pixels are alike, so we split by blocks of 300 m, as in Lab 2: each block is predicted by a model that has not seen it. A baseline needs no model at all: it predicts the commonest class. A second baseline has one image and one number, a threshold of NDVI on a clear day in May.

# %%
from arsetlib import samples, training

rows = samples.Rows.of(table)
in_2018 = rows.pick(rows.column("year") == 2018, "2018")
in_2020 = rows.pick(rows.column("year") == 2020, "2020")
folds = samples.kfold(in_2018, 4, seed=1)
blocks = np.unique(in_2018.column("block"))
print(f"{len(in_2018):,} rows in {len(blocks)} blocks")
assert all(not samples.shared(f)["train", "test"]["block"].size for f in folds)


# %%
start = study.season.first_day


def train(name, rows, **options):
    sides = {"train": rows, "validation": rows}  # a forest needs no second set
    setting = {"seed": 1, "choose": "first", "missing": "allow"}
    return training.fit(
        name, sides, study, options=options, progress=False, epochs=1, **setting
    )


def other_blocks(rows, fold):
    """Those of the rows that lie in blocks of the fold's test."""
    return rows.pick(
        np.isin(rows.column("block"), fold["test"].column("block")), "test"
    )


# %% [markdown]
# :::{admonition} Predict
# :class: predict
# Trees of 2018 are mostly the trees of 2020. If a model of 2018 sees the images of 2020, how much lower is its accuracy?
# :::

# %%
found = {
    "the commonest class": [],
    "random forest": [],
    "the same, images of 2020": [],
}
for fold in folds:
    forest = train("random_forest", fold["train"], trees=50)
    commonest = train("majority", fold["train"])
    found["the commonest class"].append(
        commonest.predictions(fold["test"], start)
    )
    found["random forest"].append(forest.predictions(fold["test"], start))
    later = other_blocks(in_2020, fold)
    found["the same, images of 2020"].append(forest.predictions(later, start))
found = {name: sum(parts[1:], parts[0]) for name, parts in found.items()}
print(f"{len(found)} maps of {cube.trees.size:,} pixels")
assert all(len(set(p.pixel)) == cube.trees.size for p in found.values())

# %%
may = cube.sel(time="2018-05-22")
ndvi = maps.ndvi(may.B4.values, may.B8.values).ravel()
truth = cube.trees.values.ravel()  # in the order of the rows of a year
right = np.zeros(truth.size, bool)
for fold in folds:
    test = np.isin(in_2018.column("pixel"), fold["test"].column("pixel"))
    tried = np.linspace(0.5, 0.95, 91)
    fits = [((ndvi > t) == truth)[~test].mean() for t in tried]
    right[test] = ((ndvi > tried[np.argmax(fits)]) == truth)[test]
print(f"right with one threshold: {right.mean():.1%}")
assert (truth == in_2018.column("label_code")).all()

# %%
rng = np.random.default_rng(1)
random = rng.random(len(in_2018)) < 0.75  # neighbours on both sides: a leak
leaky = train("random_forest", in_2018.pick(random, "train"), trees=50)
leaky = leaky.predictions(in_2018.pick(~random, "test"), start)
print(f"{random.sum():,} rows to train, {(~random).sum():,} to test")

# %%
accuracy = {name: p.confusion().accuracy for name, p in found.items()}
accuracy["NDVI of one day, threshold"] = right.mean()
accuracy["random forest, random split"] = leaky.confusion().accuracy
accuracy = pd.Series(accuracy).sort_values()
print((100 * accuracy).round(1).to_string())

# %%
fig = figures.bars(
    100 * accuracy, "Accuracy of maps of trees, real images", "%", text=".1f"
)
figures.show(
    fig,
    "Accuracy of maps of trees from real images. Contains modified Copernicus Sentinel data 2018-2020.",
)

# %%
assert (
    accuracy["random forest"]
    > accuracy["NDVI of one day, threshold"]
    > accuracy["the commonest class"]
)
assert accuracy["random forest, random split"] > accuracy["random forest"]
assert accuracy["the same, images of 2020"] < accuracy["the commonest class"]

# %% [markdown]
# In its own year the forest is better than both baselines, on blocks that it has not seen. One image with one threshold is not far behind: always try the simple thing first. The random split seems better, and is not: neighbours of the test pixels were in training (Lab 2).
# On images of another year the same model falls **below the commonest class**. The trees are the same and the place is the same; the dates are not. In 2020 other days are cloudy, leaves come at another time, and steps are empty that had an image in 2018. One year of training does not teach a model what a year can be. That is why the course trains and tests on different years.

# %%
order = np.argsort(found["random forest"].pixel)
answer = found["random forest"].probability.argmax(axis=1)[order]
answer = answer.reshape(cube.trees.shape)
truth_map = cube.trees.values
print(f"{(answer != truth_map).sum():,} of {answer.size:,} pixels differ")
assert np.isclose((answer == truth_map).mean(), accuracy["random forest"])

# %% tags=["hide-input"]
colours = [
    tuple(int(c.colour[i : i + 2], 16) for i in (1, 3, 5))
    for c in study.legend.classes
]
paint = np.array(colours, np.uint8)
errors = np.where(
    (answer != truth_map)[..., None],
    np.uint8([213, 94, 0]),
    np.uint8([235, 235, 235]),
)
pictures = {
    "label, 2018": paint[truth_map],
    "map, real images of 2018": paint[answer],
    "errors": errors,
    "22 May 2018, real": rgb(*(may[b].values for b in ("B4", "B3", "B2"))),
}
figures.show(
    figures.panels(pictures, metres=10, study=study),
    "Trees (green) and open land: label, map, where they differ, and an image. Contains modified Copernicus Sentinel data 2018; label: Copernicus Land Monitoring Service.",
)

# %%
from scipy.ndimage import maximum_filter, minimum_filter

edge = maximum_filter(truth_map, 5) != minimum_filter(truth_map, 5)
wrong = answer != truth_map
print(f"{edge.mean():.0%} of the pixels lie within 20 m of an edge,")
print(f"{wrong[edge].sum() / wrong.sum():.0%} of the errors do")
assert wrong[edge].mean() > 5 * wrong[~edge].mean()

# %% [markdown]
# Most errors lie at edges. There a pixel of 10 m holds trees and grass, and the label was made from pixels of 20 m. Some of these 'errors' are errors of the label.
#
# :::{admonition} Exercise 2
# :class: exercise
# Train on the blocks in two years, 2018 and 2019, with the same labels, and test on 2020. Does a second year help?
# :::

# %% tags=["hide-cell"]
# Solution: it helps, and still not enough: two years are few.
two_years = rows.pick(np.isin(rows.column("year"), (2018, 2019)), "both")
parts = []
for fold in folds:
    known = np.isin(two_years.column("block"), fold["train"].column("block"))
    model = train("random_forest", two_years.pick(known, "train"), trees=50)
    parts.append(model.predictions(other_blocks(in_2020, fold), start))
two = sum(parts[1:], parts[0]).confusion()
print(
    f"one year {accuracy['the same, images of 2020']:.3f}, two {two.accuracy:.3f}"
)
assert two.accuracy > accuracy["the same, images of 2020"]

# %% [markdown]
# ## 7. What this place cannot show
#
# - **No crops.** Trees are among the easiest classes. A score here says nothing about corn and soybeans.
# - **One square kilometre, 16 blocks.** The accuracy of another place may be far from this one.
# - **Chosen dates.** The cloudiest images are missing, so the share of cloud and the gaps are those of the cube, not of the sky.
# - **Four bands**, and labels that come from satellite images themselves, not from a visit.
# - **Old processing.** All images are from before 2022, so the offset of 1000 does not appear.
#
# What it does show: the calls of the course read real images, dates and errors, and the simulation is kinder than Earth in the numbers that section 5 prints.
#
# ## 8. Ask the real services
#
# With an internet connection, the same numbers come from the real Mississippi delta: one square kilometre and one year. The cells below ask the public catalogue and read the small windows that they need.
#
# :::{admonition} Not in this book
# :class: tip
# The book was built without the work of these cells: `fetch` is False, so they show nothing of the delta of the Mississippi. Set it to True. Expect about ten minutes: up to 150 images with three files each, one or two seconds a file. The bar shows the time that is left. What has been read is kept; if you stop a cell, run it again and it continues.
# :::

# %%
fetch = False  # True asks the real services, about ten minutes
if fetch:
    there = lab.place("real")
    west, south, _, _ = there.box.bounds
    box = replace(there.box, bounds=(west, south, west + 1000, south + 1000))
    asked = there.study.replace(
        areas=(box,), scenes=replace(there.study.scenes, max_cloud=100)
    )
    kept = there.work / "looks"
    kept.mkdir(parents=True, exist_ok=True)
    scenes = one_path(find_scenes(asked, cache=kept), box, there.year)
    print(f"{len(scenes)} images of {there.year}")

# %%
if fetch:
    from tqdm.auto import tqdm

    for scene in tqdm(scenes):
        if not (kept / f"{scene.id}.npy").exists():
            np.save(kept / "part.npy", look(scene, box))
            (kept / "part.npy").rename(kept / f"{scene.id}.npy")

# %%
if fetch:
    looks = [np.load(kept / f"{scene.id}.npy") for scene in scenes]
    values = np.stack(looks).reshape(len(scenes), 3, -1).astype(float)
    days = np.array([scene.day for scene in scenes])
    both["Mississippi"] = facts(days, *np.moveaxis(values, 1, 0))
print(both.round(3).to_string())
assert fetch == ("Mississippi" in both)

# %% [markdown]
# What to expect: more dates than in Romania, as nobody has chosen them; the first two columns as above; and in the third a noise of which nobody can say before how large it is. If you compare, do it with the noise of the real column, not with the share of cloud.
#
# ## What you have learnt
#
# - `pixels.from_cube` makes a pixel table from a cube, and `left_out` says what is not in it.
# - Data that you did not collect have been chosen by somebody. Look at the dates.
# - SCL calls a slope in winter water, cloud snow, and some shadow vegetation. A filter does not find what the classes do not say.
# - Three clear dates in a row measure the noise without ground truth.
# - A model of one year may fail in the next one, below the simplest baseline, at the same place.
#
# ## What if …
#
# - **… I have a cube of my own place?** Give its variables and its projection to `pixels.from_cube`; the label is a variable without dates. If only some pixels have a label, let the others be NaN: they are left out and counted.
# - **… my cube has other pixels than 10 m?** Say so with `resolution`. Resample before you make the cube.
