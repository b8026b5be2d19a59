"""Drawing: what a picture holds, against plain loops on made data."""

import base64
import io
import itertools
import json
import re
from types import SimpleNamespace

import matplotlib.figure
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
from matplotlib.figure import Figure
from PIL import Image
from rasterio.transform import from_origin
from rasterio.warp import transform

from arsetlib import cdl, figures, maps, sentinel2
from arsetlib.evaluation import Confusion
from arsetlib.figures import notebook, seasons, style
from arsetlib.ingest import Grid
from arsetlib.maps import cogs, products
from arsetlib.study import Area, Class, Legend, Season, Study

WEST, NORTH, SIDE = 480_000.0, 1_200_000.0, 30.0
CORN, COTTON, WHEAT_SOY, WATER = 1, 2, 26, 111


def raster(path, values, crs="EPSG:5070", side=SIDE, origin=(WEST, NORTH)):
    height, width = values.shape
    with rasterio.open(
        path, "w", driver="GTiff", width=width, height=height, count=1, dtype=values.dtype, crs=crs,
        transform=from_origin(*origin, side, side),
    ) as out:  # fmt: skip
        out.write(values, 1)
    return path


@pytest.fixture(scope="module")
def codes():
    values = np.full((60, 80), CORN, np.uint8)
    values[:, 40:] = COTTON
    values[50:, :20] = WHEAT_SOY
    values[:5, 70:] = WATER
    return values


@pytest.fixture(scope="module")
def labels(codes, tmp_path_factory):
    path = raster(tmp_path_factory.mktemp("labels") / "cdl.tif", codes)
    return SimpleNamespace(path=path, confidence=None, year=2021, simulated=True)


@pytest.fixture(scope="module")
def areas():
    def area(key, west, east):
        return Area(key, {"en": f"Area {key}"}, (WEST + west, NORTH - 1800, WEST + east, NORTH), "EPSG:5070")

    return (area("left", 0, 1200), area("right", 1200, 2400))


@pytest.fixture(scope="module")
def study(areas):
    return Study.load("mississippi_delta").replace(areas=areas, years=(2021,), simulated=True)


@pytest.fixture(scope="module")
def scene(areas, tmp_path_factory):
    folder = tmp_path_factory.mktemp("scene")
    values = np.random.default_rng(1).integers(1200, 5000, (180, 240), dtype=np.uint16)
    values[:30] = 0
    hrefs = {b: raster(folder / f"{b}.tif", values + i * (values > 0), side=10.0)
             for i, b in enumerate(("red", "green", "blue", "nir"))}  # fmt: skip
    footprint = shapely.union_all([a.outline() for a in areas]).envelope.buffer(0.2)
    return SimpleNamespace(
        id="S2A_15SYT_20210703_0_L2A_SIM", day=18_811, tile="15SYT", cloud=3.0, offset=-1000, hrefs=hrefs,
        footprint=footprint,
    )  # fmt: skip


@pytest.fixture
def book(monkeypatch):
    """Everything shown while the book is built, as HTML."""
    shown = []
    monkeypatch.setenv("ARSET_BOOK", "1")
    monkeypatch.setattr(notebook, "_loaded", [])
    monkeypatch.setattr("IPython.display.display", lambda thing: shown.append(thing.data))
    return shown


def test_read_gives_the_pixels_whose_centres_lie_in_the_area(labels, areas, codes):
    values, extent = maps.read(labels.path, areas[1])
    assert np.array_equal(values, codes[:, 40:])
    assert extent == (WEST + 1200, WEST + 2400, NORTH - 1800, NORTH)


def test_read_moves_an_area_to_the_pixel_edges_of_the_raster(labels, codes):
    odd = Area("odd", {"en": "Odd"}, (WEST + 1, NORTH - 610, WEST + 292, NORTH - 14), "EPSG:5070")
    values, extent = maps.read(labels.path, odd)
    assert np.array_equal(values, codes[0:20, 0:10])
    assert extent == (WEST, WEST + 300, NORTH - 600, NORTH)


def test_a_thinned_label_pixel_is_the_majority_of_what_it_stands_for(tmp_path):
    values = np.random.default_rng(2).choice([1, 2, 3], (40, 40), p=[0.6, 0.3, 0.1]).astype(np.uint8)
    area = Area("all", {"en": "All"}, (WEST, NORTH - 1200, WEST + 1200, NORTH), "EPSG:5070")
    thin, _ = maps.read(raster(tmp_path / "l.tif", values), area, size=10, resampling="mode")
    assert thin.shape == (10, 10)
    for row in range(10):
        for col in range(10):
            cell = values[row * 4 : row * 4 + 4, col * 4 : col * 4 + 4]
            counts = np.bincount(cell.ravel(), minlength=4)
            assert counts[thin[row, col]] == counts.max()


def test_reading_where_the_raster_is_not_says_what_to_do(labels):
    elsewhere = Area("away", {"en": "Away"}, (0, 0, 900, 900), "EPSG:5070")
    with pytest.raises(ValueError, match=r"does not touch the area 'away'.*footprint"):
        maps.read(labels.path, elsewhere)


def test_a_scene_in_another_projection_is_shown_on_the_area_s_grid(tmp_path, areas):
    values = np.full((400, 400), 500, np.uint16)
    lon, lat = areas[0].outline().centroid.coords[0]
    x, y = transform("EPSG:4326", "EPSG:32615", [lon], [lat])
    path = raster(tmp_path / "utm.tif", values, "EPSG:32615", 10.0, (x[0] - 2000, y[0] + 2000))
    shown, _ = maps.read(path, areas[0], size=60)
    assert max(shown.shape) == 60
    assert (shown == 500).all()


def test_no_picture_holds_more_than_the_eye_can_see(tmp_path, areas):
    wide = np.ones((900, 1300), np.uint8)
    area = Area("wide", {"en": "Wide"}, (WEST, NORTH - 27_000, WEST + 39_000, NORTH), "EPSG:5070")
    values, _ = maps.read(raster(tmp_path / "wide.tif", wide), area, figures.EYE, "mode")
    assert max(values.shape) == figures.EYE


def test_class_areas_counts_pixels_as_a_loop_does(labels, areas, codes, study):
    frame = maps.class_areas(labels, areas, study)
    for area, part in zip(areas, (codes[:, :40], codes[:, 40:]), strict=True):
        for code in set(part.ravel().tolist()):
            row = frame[(frame["area"] == area.key) & (frame["code"] == code)].iloc[0]
            assert row["pixels"] == (part == code).sum()
            assert row["hectares"] == pytest.approx((part == code).sum() * 0.09)
            assert row["name"] == cdl.name(code)
    assert frame.groupby("area")["share"].sum().tolist() == pytest.approx([1.0, 1.0])
    assert frame.set_index("code").loc[WHEAT_SOY, "class"] == "left out"
    assert frame["hectares"].is_monotonic_decreasing


def test_class_areas_of_a_box_in_degrees_counts_the_pixels_whose_centres_lie_in_it(labels, areas, codes, study):
    west, south, east, north = areas[0].outline().bounds
    box = Area("box", {"en": "Box"}, (west, south, east, north), "EPSG:4326")
    frame = maps.class_areas(labels, [box], study)
    rows, cols = np.indices(codes.shape)
    lon, lat = transform(
        "EPSG:5070", "EPSG:4326", (WEST + (cols + 0.5) * SIDE).ravel(), (NORTH - (rows + 0.5) * SIDE).ravel()
    )
    inside = [west <= x < east and south <= y < north for x, y in zip(lon, lat, strict=True)]
    counted = dict(zip(frame["code"], frame["pixels"], strict=True))
    there = codes.ravel()[inside]
    for code in (CORN, COTTON, WHEAT_SOY):
        assert counted.get(code, 0) == (there == code).sum()
    assert frame["hectares"].sum() == pytest.approx(frame["pixels"].sum() * 0.09)


def test_class_areas_takes_codes_that_the_layer_does_not_have(tmp_path, areas):
    values = np.full((60, 80), 300, np.uint16)
    own = SimpleNamespace(path=raster(tmp_path / "own.tif", values), confidence=None, year=2021, simulated=True)
    mine = Study.load("own_labels").replace(areas=areas)
    frame = maps.class_areas(own, areas, mine)
    assert set(frame["name"]) == {"Other crops (code 300)"}
    assert figures.class_bars(frame, study=mine).data[0].y.tolist() == ["Other crops (code 300)"]


@pytest.mark.parametrize("rest", [(), "others"])
def test_land_without_a_label_is_in_no_class_also_where_one_takes_all_others(tmp_path, areas, rest):
    values = np.zeros((60, 80), np.uint8)
    values[:20] = 2
    own = SimpleNamespace(path=raster(tmp_path / "own.tif", values), confidence=None, year=2021, simulated=True)
    maize, others = (
        Class(key, {"en": key.title()}, colour, codes)
        for key, colour, codes in (("maize", "#ffd400", (2,)), ("rest", "#256f00", rest))
    )
    mine = Study.load("own_labels").replace(areas=areas, legend=Legend("own", (maize, others)))
    frame = maps.class_areas(own, areas, mine).groupby(["code", "name", "class"])["pixels"].sum()
    assert frame.to_dict() == {(0, "no label", "no label"): (values == 0).sum(), (2, "Maize", "Maize"): 1600}
    assert maps.examples(own, areas[0], study=mine)["name"].tolist() == ["Maize", "no label"]
    names, colours, index = maps.rasters.colours_in(values, mine)
    assert [(names[i], colours[i]) for i in np.unique(index)] == [("Maize", "#ffd400"), ("no label", "#ffffff")]


def test_the_label_map_has_the_layer_s_colours_and_names_only_what_is_there(labels, areas, study, codes):
    fig = figures.labels_map(labels, areas[0], study=study)
    picture = fig.axes[0].images[0].get_array()
    for code in (CORN, WHEAT_SOY):
        wanted = [int(cdl.CODES[code].colour[i : i + 2], 16) for i in (1, 3, 5)]
        assert (picture[codes[:, :40] == code] == wanted).all()
    legend = [text.get_text() for text in fig.axes[1].get_legend().get_texts()]
    assert [t.split(" (")[0] for t in legend] == [cdl.name(CORN), cdl.name(WHEAT_SOY)]


def test_the_label_map_of_a_legend_shows_its_classes_and_what_they_leave_out(labels, areas, study):
    fig = figures.labels_map(labels, areas[0], study=study, legend=study.legend)
    legend = [text.get_text().split(" (")[0] for text in fig.axes[1].get_legend().get_texts()]
    assert legend == ["Corn", "left out"]


def test_a_long_legend_says_how_many_classes_it_does_not_name(labels, study):
    area = Area("all", {"en": "All"}, (WEST, NORTH - 1800, WEST + 2400, NORTH), "EPSG:5070")
    legend = figures.labels_map(labels, area, study=study, most=2).axes[1].get_legend().get_texts()
    assert [t.get_text().split(" (")[0] for t in legend][2:] == ["and 2 more"]


def test_pictures_of_simulated_data_say_so_and_others_do_not(scene, areas, study, labels):
    def words(fig):
        if isinstance(fig, Figure):
            return " ".join(text.get_text() for text in fig.findobj(lambda a: hasattr(a, "get_text")))
        return " ".join(note.text for note in fig.layout.annotations)

    frame = maps.class_areas(labels, areas, study)
    day, scl, bands = np.arange(3), np.array([4, 8, 9]), np.full((3, len(study.bands)), 500)
    for simulated in (True, False):
        s = study.replace(simulated=simulated)
        drawn = (
            figures.chip(scene, areas[0], study=s),
            figures.labels_map(labels, areas[0], study=s),
            figures.footprints([scene], areas, study=s, labels=labels),
            figures.timeline([scene], study=s),
            figures.class_bars(frame, study=s),
            figures.series(day, scl, bands, study=s),
        )
        assert [figures.SIMULATED in words(fig) for fig in drawn] == [simulated] * len(drawn)


def test_a_still_map_has_a_scale_and_a_north(scene, areas, study):
    texts = [t.get_text() for t in figures.chip(scene, areas[0], study=study).axes[0].texts]
    assert "N" in texts
    assert any(re.fullmatch(r"\d+ k?m", t) for t in texts)


def test_the_north_arrow_points_along_the_meridian():
    east_of_the_central_meridian = Area("e", {"en": "E"}, (480_000, 1_100_000, 490_000, 1_110_000), "EPSG:5070")
    on_it = Area("m", {"en": "M"}, (-5_000, 1_100_000, 5_000, 1_110_000), "EPSG:5070")
    assert style.north_turn(on_it) == pytest.approx(0, abs=0.01)
    assert -5 < style.north_turn(east_of_the_central_meridian) < -2


@pytest.mark.parametrize(("metres", "said"), [(999, "500 m"), (1000, "1 km"), (4999, "2 km"), (60_000, "50 km")])
def test_a_scale_bar_has_a_round_length(metres, said):
    assert style.length_name(style.round_length(metres)) == said


def test_a_chip_is_grey_where_there_is_no_data(scene, areas, study):
    picture = figures.chip(scene, areas[0], study=study).axes[0].images[0].get_array()
    assert (picture[: picture.shape[0] // 6 - 1] == 128).all()
    assert len(np.unique(picture[picture.shape[0] // 3 :])) > 50


def test_chip_shows_each_combination_side_by_side(scene, areas, study):
    fig = figures.chip(scene, areas[0], figures.TRUE_COLOUR, figures.FALSE_COLOUR, study=study)
    assert [ax.get_title() for ax in fig.axes] == ["True colour: red, green, blue", "False colour: nir, red, green"]


def test_the_interactive_map_names_the_label_under_the_mouse(scene, areas, study, labels, codes):
    fig = figures.footprints([scene], areas, study=study, labels=labels)
    heat = next(t for t in fig.data if t.type == "heatmap")
    west, north = WEST / 1000, NORTH / 1000
    for i, j in ((0, 0), (55, 3), (30, 30)):
        x, y = heat.x0 + j * heat.dx, heat.y0 + i * heat.dy
        row, col = int((north - y) * 1000 / SIDE), int((x - west) * 1000 / SIDE)
        assert heat.text[i][j] == cdl.name(int(codes[row, col]))


def test_codes_of_one_s_own_are_drawn_in_the_study_s_classes_not_the_layer_s(scene, tmp_path):
    values = np.full((40, 40), 1, np.uint16)
    values[:, 20:] = 300
    path = raster(tmp_path / "own.tif", values, crs="EPSG:32636", side=10.0, origin=(500_000.0, 300_000.0))
    own = SimpleNamespace(path=path, confidence=None, year=2021, simulated=False)
    area = Area("a", {"en": "A"}, (500_000.0, 299_600.0, 500_400.0, 300_000.0), "EPSG:32636")
    mine = Study.load("own_labels").replace(areas=(area,), years=(2021,))
    fig = figures.footprints([scene], [area], study=mine, labels=own)
    shown = {trace.name for trace in fig.data}
    assert {"Maize", "Other crops"} <= shown
    assert "Corn" not in shown
    land = maps.class_areas(own, [area], mine)
    assert dict(zip(land["code"], land["name"], strict=True)) == {1: "Maize", 300: "Other crops (code 300)"}
    bars = figures.class_bars(land, study=mine).data[0]
    colours = dict(zip(mine.legend.names(), mine.legend.colours, strict=True))
    assert dict(zip(bars.y, bars.marker.color, strict=True))["Maize"] == colours["Maize"]
    still = figures.labels_map(own, area, study=mine)
    assert any("Maize" in t.get_text() for ax in still.axes if ax.get_legend() for t in ax.get_legend().get_texts())


def test_the_interactive_map_holds_labels_as_small_pictures_in_the_layer_s_colours(areas, study, labels, codes):
    fig = figures.footprints([], areas, study=study, labels=labels)
    first = fig.layout.images[0]
    picture = Image.open(io.BytesIO(base64.b64decode(first.source.split(",")[1]))).convert("RGB")
    wanted = [int(cdl.CODES[CORN].colour[i : i + 2], 16) for i in (1, 3, 5)]
    assert (np.asarray(picture)[codes[:, :40] == CORN] == wanted).all()
    assert (first.x, first.y, first.sizex) == pytest.approx((WEST / 1000, NORTH / 1000, 1.2))


def test_choosing_an_area_shows_it_alone_and_names_it(scene, areas, study, labels):
    fig = figures.footprints([scene], areas, study=study)
    assert fig.layout.xaxis.constrain == fig.layout.yaxis.constrain == "domain"  # no wider than the range that is asked
    bars = figures.class_bars(maps.class_areas(labels, areas, study), study=study)
    on_map, on_bars = ({b.label: b.args for b in f.layout.updatemenus[0].buttons} for f in (fig, bars))
    for area in areas:
        (view,), (shown, title) = on_map[area.name["en"]], on_bars[area.name["en"]]
        for axis, low, high in (("x", *area.bounds[::2]), ("y", *area.bounds[1::2])):
            span = (high - low) / 1000
            assert view[f"{axis}axis.range"] == pytest.approx([low / 1000 - 0.06 * span, high / 1000 + 0.06 * span])
        assert [bar.name for bar, there in zip(bars.data, shown["visible"], strict=True) if there] == [area.title()]
        assert view["title.text"].endswith(f": {area.name['en']}")
        assert title["title.text"].endswith(f": {area.name['en']}")


def test_scenes_with_one_outline_are_drawn_once_and_counted(scene, areas, study):
    later = SimpleNamespace(**(vars(scene) | {"id": "later", "day": scene.day + 5, "cloud": None}))
    fig = figures.footprints([scene, later], areas, study=study)
    (outline,) = [t for t in fig.data if t.name == "scenes 15SYT"]
    assert outline.x.count(None) == 1
    assert outline.text[0].startswith("2 scenes, 3 Jul 2021 to 8 Jul 2021")


def test_bars_of_all_areas_are_the_sum_of_each(labels, areas, study):
    frame = maps.class_areas(labels, areas, study)
    bars = {bar.name: dict(zip(bar.y, bar.x, strict=True)) for bar in figures.class_bars(frame, study=study).data}
    for name, hectares in bars["all areas"].items():
        assert hectares == pytest.approx(sum(bars[a.title()].get(name, 0) for a in areas))


def test_a_series_shows_all_above_and_what_the_filter_leaves_below(study):
    rng = np.random.default_rng(3)
    scl = rng.integers(0, 12, 200)
    bands = rng.integers(1, 4000, (200, len(study.bands)))
    fig = figures.series(np.arange(200) + 18_000, scl, bands, study=study)
    markers = [t for t in fig.data if t.mode == "markers"]
    above = sum(len(t.x) for t in markers if t.yaxis == "y")
    below = sum(len(t.x) for t in markers if t.yaxis == "y2")
    assert above == 200
    assert below == sum(int(v) not in study.drop_scl for v in scl)
    titles = [note.text for note in fig.layout.annotations]
    assert {"raw: 200 observations", f"filtered: {below} observations"} <= set(titles)


def test_every_scene_class_has_its_own_shape_and_colour():
    assert set(figures.SCL_SYMBOLS) == set(figures.SCL_INK) == set(sentinel2.SCL)
    assert len(set(figures.SCL_SYMBOLS.values())) == len(set(figures.SCL_INK.values())) == len(sentinel2.SCL)


def test_series_refuses_what_is_no_band(study):
    with pytest.raises(ValueError, match=r"'ndvi' or one of coastal.*got 'evi'"):
        figures.series([1], [4], np.ones((1, 12)), study=study, quantity="evi")


def test_ndvi_is_that_of_a_loop_and_nan_without_data():
    rng = np.random.default_rng(4)
    red, nir = rng.integers(0, 3, 50).astype(np.uint16), rng.integers(0, 3, 50).astype(np.uint16)
    for r, n, got in zip(red.tolist(), nir.tolist(), maps.ndvi(red, nir), strict=True):
        assert np.isnan(got) if not r or not n else got == (n - r) / (n + r)


def test_the_book_gets_plain_html_with_the_text_and_loads_plotly_once(book, scene, study):
    for _ in range(2):
        figures.show(figures.timeline([scene], study=study), 'Cloud "cover" & date')
    assert book[0].count(f'<script src="{figures.PLOTLY_IN_BOOK}">') == 1
    assert "<script src" not in book[1]
    assert '<figure class="arset-figure" aria-label="Cloud &quot;cover&quot; &amp; date"' in book[0]
    assert "https://" not in re.sub(r"https://plot\.ly", "", book[0])
    ids = [re.search(r'id="(arset-figure-\d+)"', h)[1] for h in book]
    assert len(set(ids)) == 2


def test_a_still_picture_has_an_alt_text_and_loads_no_script(book, scene, areas, study):
    figures.show(figures.chip(scene, areas[0], study=study), "A chip")
    assert '<img alt="A chip" src="data:image/' in book[0]
    assert "<script" not in book[0]


def test_a_table_s_cells_are_escaped_and_sortable(book):
    figures.show(pd.DataFrame({"name": ["<b>", "b"], "value": [1.5, 20_000.0]}), "Two rows")
    assert "&lt;b&gt;" in book[0]
    assert "<caption>Two rows</caption>" in book[0]
    assert 'data-value="20000.0"' in book[0]
    assert "20,000.0" in book[0]


def test_the_book_s_knob_holds_every_choice_and_shows_the_first(book, study):
    bands = np.full((3, len(study.bands)), 500)

    def draw(band):
        return figures.series([1, 2, 3], [4, 4, 4], bands, study=study, quantity=band)

    figures.knob(draw, "A series.", band=["ndvi", "red", "nir"])
    assert re.findall(r"<option>(\w+)</option>", book[0]) == ["ndvi", "red", "nir"]
    assert book[0].count('class="arset-choice" hidden') == 2
    assert 'aria-label="A series. band: red."' in book[0]


def test_all_numbers_of_a_column_of_a_table_have_the_same_decimals():
    table = pd.DataFrame({"share": [1.0, 0.93], "times": [2.344, 0.5], "hectares": [672.14, 0.7], "rows": [3, 4]})
    cells = re.findall(r"<td[^>]*>([^<]*)<", notebook._table(table, ""))
    assert cells == ["1.00", "2.34", "672.1", "3", "0.93", "0.50", "0.7", "4"]


def test_in_a_notebook_a_plotly_figure_is_shown_as_usual(monkeypatch, scene, study):
    shown = []
    monkeypatch.delenv("ARSET_BOOK", raising=False)
    monkeypatch.setattr("IPython.display.display", shown.append)
    fig = figures.timeline([scene], study=study)
    figures.show(fig, "Clouds")
    assert shown == [fig]
    assert fig.layout.meta == {"alt": "Clouds"}


def test_the_real_label_file_is_drawn_in_its_own_colours(real, study):
    path = real / "cdl_2021_30m_kansas.tif"
    labels = SimpleNamespace(path=path, confidence=None, year=2021, simulated=False)
    with rasterio.open(path) as source:
        palette, bounds = source.colormap(1), source.bounds
        values = source.read(1)[:300, :300]
    area = Area("k", {"en": "Kansas"}, (bounds.left, bounds.top - 9000, bounds.left + 9000, bounds.top), "EPSG:5070")
    picture = figures.labels_map(labels, area, study=study).axes[0].images[0].get_array()
    for code in np.unique(values).tolist():
        assert np.abs(picture[values == code].astype(int) - palette[code][:3]).max() <= 2, code


# -- pictures of lab 2 ---------------------------------------------------------------------------------------------


def one_pixel():
    day = np.array([100, 101, 106, 119, 130], np.uint16)
    bands = np.tile(np.arange(1, 13, dtype=np.uint16) * 100, (5, 1))
    return day, np.array([4, 5, 4, 4, 8], np.uint8), bands


def test_calendar_tells_images_taken_from_others_and_empty_steps_from_filled(study):
    day, _, _ = one_pixel()
    season = Season(window_days=20, step_days=5)
    fig = figures.calendar(day, np.arange(5) / 10, season, 100, [1, 2, -1, 3], study=study)
    shown = {trace.name: list(trace.x) for trace in fig.data}
    assert shown["taken"] == [1, 6, 19]
    assert shown["not taken"] == [0]
    assert shown["outside the window"] == [30]
    assert shown["step with an image"] == [2.5, 7.5, 17.5]
    assert shown["empty step"] == [12.5]
    assert figures.SIMULATED in str(fig.layout.annotations)


def test_spreads_hold_the_percentiles_of_each_band_and_not_the_values(study):
    values = np.random.default_rng(1).normal(5, 2, (1000, 3))
    values[::2, 0] = np.nan
    fig = figures.spreads({"before": values, "after": (values - 5) / 2}, ["a", "b", "c"], study=study)
    low, middle, high = np.nanpercentile(values, (5, 50, 95), axis=0)
    box = fig.data[0]
    np.testing.assert_allclose((box.lowerfence, box.median, box.upperfence), (low, middle, high))
    assert len(box.median) == 3
    np.testing.assert_allclose(fig.data[1].median, (middle - 5) / 2)


def test_verdicts_show_each_window_at_its_last_day_in_its_class_and_colour(study):
    day, scl, bands = one_pixel()
    fig = figures.verdicts(day, scl, bands, [104, 109, 114], [0, 3, 3], study=study)
    strips = {t.name.split(": ")[1]: t for t in fig.data if t.type == "bar"}
    names, colours = study.legend.names(), study.legend.colours
    assert [len(strips[names[k]].x) for k in (0, 3)] == [1, 2]
    assert strips[names[3]].marker.color == colours[3]


def test_lines_draw_each_column_of_a_table_over_the_index_with_its_dash(study):
    table = pd.DataFrame({"a": [1.0, np.nan], "b": [2.0, 3.0], "c": [4.0, 5.0]}, index=[10, 20])
    fig = figures.lines(table, "title", "x", "y", study=study, dashes=["solid", "dot"])
    assert [t.name for t in fig.data] == ["a", "b", "c"]
    assert [t.line.dash for t in fig.data] == ["solid", "dot", "solid"]
    assert [list(t.x) for t in fig.data] == [[10, 20]] * 3
    np.testing.assert_array_equal(fig.data[0].y, [1, np.nan])
    long = figures.lines({"a": (np.arange(99), np.arange(99))}, "title", "x", "y", points={"dots": ([1], [2])})
    assert [t.mode for t in (*fig.data, *long.data)] == ["lines+markers"] * 3 + ["lines", "markers"]


def test_bars_keep_their_order_and_stack_the_columns_of_a_table(study):
    fig = figures.bars(pd.Series({"slow": 1.0, "fast": 9.0}), "Speed", "samples/s")
    assert list(fig.data[0].y) == ["slow", "fast"]
    assert figures.SIMULATED not in str(fig.layout.annotations)
    frame = pd.DataFrame({"waiting": [3, 1], "working": [1, 1]}, index=["slow", "fast"])
    fig = figures.bars(frame, "A step", "ms", study=study)
    assert [t.name for t in fig.data] == ["waiting", "working"]
    assert fig.layout.barmode == "stack"
    assert figures.SIMULATED in str(fig.layout.annotations)


def test_bars_write_small_values_without_a_prefix_and_large_ones_with_k(study):
    fig = figures.bars(pd.Series({"a": 0.488, "b": 12_300.0}), "Scores", "")
    assert list(fig.data[0].texttemplate) == ["%{x:.3~r}", "%{x:.3~s}"]
    assert list(figures.bars(pd.Series({"a": 0.488}), "Scores", "", text=".2f").data[0].texttemplate) == ["%{x:.2f}"]


def test_bars_in_groups_draw_a_bar_of_each_column_in_every_row(study):
    table = pd.DataFrame({"cold": [1.0, 2.0], "warm": [3.0, 4.0]}, index=["directory", "TFRecord"])
    fig = figures.bars(table, "A race", "images a second", study=study, mode="group")
    assert fig.layout.barmode == "group"
    assert [(t.name, list(t.x), list(t.y)) for t in fig.data] == [
        ("cold", [1, 2], ["directory", "TFRecord"]), ("warm", [3, 4], ["directory", "TFRecord"]),
    ]  # fmt: skip
    assert len({t.marker.pattern.shape for t in fig.data}) == 2


def test_outlined_draws_each_photo_with_its_region_thinned_and_says_simulated(study):
    inside = np.zeros((600, 600), bool)
    inside[100:300, 100:300] = True
    photos = {name: (np.full((600, 600, 3), 0.5), inside) for name in ("weed", "water", "skip", "end row")}
    photos["everywhere"] = (np.full((600, 600, 3), 0.5), np.ones((600, 600), bool))
    fig = figures.outlined(photos, study=study, note="line: marked")
    drawn = [ax for ax in fig.axes if ax.images]
    assert [ax.get_title() for ax in drawn] == list(photos)
    assert max(drawn[0].images[0].get_array().shape) <= 256
    assert [bool(ax.collections) for ax in drawn] == [True] * 4 + [False]
    assert figures.SIMULATED in fig.texts[0].get_text()


def test_a_long_name_of_a_class_leaves_room_for_the_figure_and_stays_whole_in_its_data():
    long = "Soybeans, irrigated and sown late after winter cereals"
    classes = (Class("soy", {"en": long}, "#256f00", (2,)), Class("corn", {"en": "Corn"}, "#ffd400", (1,)))
    matrix = Confusion.of(np.array([0, 1]), np.array([0, 1]), Legend("own", classes))
    for fig in (figures.confusion(matrix), figures.bars(pd.Series({long: 1.0, "Corn": 2.0}), "", "ha")):
        assert fig.layout.yaxis.ticktext == ("Soybeans, irrigated<br>and sown late after<br>winter cereals", "Corn")
        assert tuple(fig.layout.yaxis.tickvals) == tuple(fig.data[0].y) == (long, "Corn")
    assert figures.bars(pd.Series({"Corn": 1.0}), "", "ha").layout.yaxis.ticktext is None


def test_flow_draws_boxes_and_arrows_and_refuses_an_arrow_to_nowhere():
    boxes = {"camera": (0, 0, "camera", "a flight"), "store": (1, 0, "store", "a month")}
    fig = figures.flow(boxes, [("camera", "store")])
    texts = [t.get_text() for t in fig.axes[0].texts]
    assert {"camera", "a flight", "store", "a month"} <= set(texts)
    assert sum(getattr(t, "arrow_patch", None) is not None for t in fig.axes[0].texts) == 1
    with pytest.raises(ValueError, match="got cloud"):
        figures.flow(boxes, [("camera", "cloud")])


# -- pictures of lab 3 ---------------------------------------------------------------------------------------------

HIGH, WIDE = 60, 40


@pytest.fixture(scope="module")
def season_of_maps(study, labels, codes, tmp_path_factory):
    """Two predictions on the left area: the first right everywhere, the second corn everywhere."""
    folder = tmp_path_factory.mktemp("predictions")
    lattice = Grid("EPSG:5070", SIDE, WEST, NORTH, HIGH, WIDE)
    right = study.legend.classes_of(codes[:, :WIDE].ravel().astype(int)).reshape(HIGH, WIDE)
    corn = study.legend.keys.index("corn")
    return [
        saved(folder, study, lattice, start, classes)
        for start, classes in ((60, np.where(right < 0, corn, right)), (120, np.full_like(right, corn)))
    ]


def saved(folder, study, lattice, start, classes):
    row, col = np.indices(classes.shape).reshape(2, -1)
    stem, files = f"left_2021_{start:03d}", {}
    values = {"class": classes, "margin": np.full(classes.shape, 5000), "vegetation": np.ones(classes.shape)}
    for product, value in values.items():
        made = cogs.scratch(folder / f"{product}.tif", product, lattice)
        with rasterio.open(made, "r+") as out:
            cogs.paint(out, row, col, value.ravel().astype(out.dtypes[0]))
        files[product] = f"{stem}_{product}.tif"
        cogs.finish(made, folder / files[product], product, study.legend, {})
    first, last = products.window_dates(2021, start, 120)
    info = {
        "kind": products.KIND, "version": 1, "area": "left", "year": 2021, "start": start, "simulated": True,
        "window": {"first": first, "last": last}, "legend": products.legend_as_json(study.legend), "files": files,
        "scale": products.SCALE, "model": "made up",
    }  # fmt: skip
    (folder / f"{stem}.json").write_text(json.dumps(info))
    return maps.open_prediction(folder / f"{stem}.json")


def picture_of(image, shape):
    read = Image.open(io.BytesIO(base64.b64decode(image.source.split(",")[1]))).convert("RGB")
    factor = read.height // shape[0]
    return np.asarray(read)[factor // 2 :: factor, factor // 2 :: factor]


def test_the_prediction_map_shows_prediction_labels_and_disagreement(season_of_maps, labels, study, codes):
    fig = figures.prediction_map(season_of_maps, labels=labels)
    assert [i.visible for i in fig.layout.images] == [True] * 3 + [False] * 3
    names = [note.text for note in fig.layout.annotations]
    assert {"prediction", "labels on that date", "disagreement", "<i>simulated</i>", "<b>N</b>", "200 m"} <= set(names)
    first, truth, wrong, second, _, wrong_then = (picture_of(i, (HIGH, WIDE)) for i in fig.layout.images)
    corn = study.legend.colours[study.legend.keys.index("corn")]
    assert (second == [int(corn[i : i + 2], 16) for i in (1, 3, 5)]).all()
    excluded = codes[:, :WIDE] == WHEAT_SOY
    assert (truth[excluded] == 255).all()
    assert (first[~excluded] == truth[~excluded]).all()
    grey = [int(seasons.AGREE[i : i + 2], 16) for i in (1, 3, 5)]
    assert (wrong[~excluded] == grey).all()
    differs = ~excluded & (codes[:, :WIDE] != CORN)
    assert ((wrong_then == grey).all(-1) == (~excluded & ~differs)).all()
    shown = {t.name for t in fig.data if t.type == "scatter"}
    assert {"agree", "disagree", "Corn", "nothing"} <= shown
    assert "Cotton" not in shown


def test_beside_a_map_there_is_no_truth_where_there_is_no_label(study, tmp_path):
    legend = Legend("own", (Class("maize", {"en": "Maize"}, "#ffd400", (2,)),))
    values = np.zeros((HIGH, WIDE), np.uint8)
    values[:20] = 2
    lattice = Grid("EPSG:5070", SIDE, WEST, NORTH, HIGH, WIDE)
    made = saved(tmp_path, study.replace(legend=legend), lattice, 60, np.zeros((HIGH, WIDE), int))
    truth = maps.layers.Layers.of(made, raster(tmp_path / "own.tif", values), HIGH).truth
    assert (truth == np.where(values == 2, 0, 1)).all()


def test_each_step_of_the_slider_shows_its_date_and_no_other(season_of_maps, labels):
    fig = figures.prediction_map(season_of_maps[::-1], labels=labels)
    (slider,) = fig.layout.sliders
    assert [s.label for s in slider.steps] == ["28 Jun", "27 Aug"]
    for number, step in enumerate(slider.steps):
        traces, images = step.args
        assert [images[f"images[{i}].visible"] for i in range(6)] == [i // 3 == number for i in range(6)]
        heat = [v for v, t in zip(traces["visible"], fig.data, strict=True) if t.type == "heatmap"]
        assert heat == [i // 3 == number for i in range(6)]
        assert all(v for v, t in zip(traces["visible"], fig.data, strict=True) if t.type == "scatter")
    assert len(fig.to_json()) < 1_000_000


def test_without_labels_the_margin_stands_beside_the_prediction(season_of_maps):
    fig = figures.prediction_map(season_of_maps[0])
    assert [n.text for n in fig.layout.annotations][:2] == ["prediction", "margin"]
    assert not fig.layout.sliders
    assert "28 June" in fig.layout.title.text
    assert (fig.data[0].text[5][5], fig.data[0].z[5][5]) == ("Corn", 0.5)


def test_a_large_map_is_thinned_to_single_pixels(tmp_path, study):
    lattice = Grid("EPSG:5070", SIDE, WEST, NORTH, 900, 700)
    classes = np.random.default_rng(5).integers(0, 7, (900, 700))
    fig = figures.prediction_map(saved(tmp_path, study, lattice, 60, classes), size=300)
    shown = picture_of(fig.layout.images[0], (300, 233))
    palette = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in study.legend.colours])
    assert np.array_equal(shown, palette[classes[1::3, 1::3]])


def test_maps_of_two_areas_are_not_put_in_one_figure(season_of_maps):
    from dataclasses import replace

    other = replace(season_of_maps[1], info=season_of_maps[1].info | {"area": "right"})
    with pytest.raises(maps.MapError, match="one area, year and legend"):
        figures.prediction_map([season_of_maps[0], other])


def test_the_animated_season_has_a_frame_a_date_and_can_be_shown(season_of_maps, labels, study, tmp_path, book):
    path = figures.season_gif(season_of_maps, tmp_path / "season.gif", labels=labels, study=study)
    with Image.open(path) as gif:
        assert gif.n_frames == 2
        assert gif.size[0] == figures.WIDTH
    figures.show(path, "The season")
    assert '<img alt="The season" src="data:image/gif;base64,' in book[0]
    assert [f.name for f in tmp_path.iterdir()] == ["season.gif"]
    with pytest.raises(maps.MapError, match=r"ends in \.gif"):
        figures.season_gif(season_of_maps, tmp_path / "season.png")


def test_maps_of_the_season_show_what_the_study_calls_the_area(season_of_maps, study, areas, monkeypatch, tmp_path):
    name, stamps = areas[0].title(), []
    monkeypatch.setattr(matplotlib.figure.Figure, "suptitle", lambda self, text, **how: stamps.append(text))
    assert season_of_maps[0].area != name
    assert name in figures.prediction_map(season_of_maps, study=study).layout.title.text
    figures.season_gif(season_of_maps, tmp_path / "season.gif", study=study)
    assert len(stamps) == 2
    assert all(stamp.startswith(f"{name}: window ") for stamp in stamps)


@pytest.mark.parametrize("normalise", ["truth", "prediction", "all", None])
def test_a_confusion_says_how_it_is_normalised_and_keeps_the_counts(study, normalise):
    counts = np.random.default_rng(6).integers(0, 50, (7, 7))
    counts[2], counts[:, 3] = 0, 0
    fig = figures.confusion(Confusion.from_counts(counts, study.legend), normalise, study=study)
    heat = fig.data[0]
    assert np.array_equal(np.asarray(heat.customdata)[..., 0], counts)
    over = {"truth": counts.sum(1, keepdims=True), "prediction": counts.sum(0), "all": counts.sum(), None: 1}
    with np.errstate(invalid="ignore"):
        expected = np.nan_to_num(counts / over[normalise])
    assert np.allclose(heat.z, expected)
    words = {"truth": "rows sum to 1", "prediction": "columns sum to 1", "all": "of all samples", None: "samples"}
    assert words[normalise] in fig.layout.title.text
    assert fig.layout.yaxis.autorange == "reversed"


def test_scores_by_date_show_the_crops_and_the_baseline(study):
    table = pd.DataFrame(
        {"samples": [10, 10], "accuracy": [0.5, 0.9], "accuracy_low": [0.4, 0.8], "accuracy_high": [0.6, 1.0],
         "crops_accuracy": [0.6, 0.2], "majority_accuracy": [0.4, 0.8]},
        index=pd.to_datetime(["2019-05-01", "2019-09-01"]),
    )  # fmt: skip
    lines = {t.name: list(t.y) for t in figures.by_date(table, study=study).data if t.name}
    assert lines["all classes"] == [0.5, 0.9]
    assert lines["crops only"] == [0.6, 0.2]
    assert lines["always the commonest class"] == [0.4, 0.8]
    both = figures.by_date({"CNN": table, "forest": table}, study=study)
    assert {"CNN, all classes", "forest, crops only"} <= {t.name for t in both.data}


def test_learning_curves_mark_the_epoch_of_least_validation_loss():
    history = {"loss": [3, 2, 1], "val_loss": [3, 1.5, 2], "accuracy": [0.1, 0.5, 0.6], "val_accuracy": [0.1, 0.4, 0.3]}
    fig = figures.learning_curves(history)
    stars = [t for t in fig.data if t.marker.symbol == "star"]
    assert [(s.x[0], s.y[0]) for s in stars] == [(2, 1.5), (2, 0.4)]
    assert figures.SIMULATED not in str(fig.layout.annotations)


def test_reliability_and_bars_hold_what_the_tables_hold(study):
    table = pd.DataFrame(
        {"low": [0.4, 0.9], "high": [0.5, 1.0], "samples": [10, 30], "confidence": [0.45, 0.95], "accuracy": [0.4, 0.8]}
    )
    points = next(t for t in figures.reliability(table, study=study).data if t.name == "model")
    assert list(points.x) == [0.45, 0.95]
    assert list(points.y) == [0.4, 0.8]
    matrix = Confusion.from_counts(np.diag([5, 0, 3]), ["a", "b", "c"])
    (bar,) = figures.score_bars({"model": matrix}).data
    assert [v if v == v else None for v in bar.x] == [1.0, None, 1.0]


# -- photographs and masks ---------------------------------------------------------------------------------------------

SIMULATED, REAL = SimpleNamespace(simulated=True), SimpleNamespace(simulated=False)
KINDS = SimpleNamespace(colours=("#c49a6c", "#006633"), titles=lambda: ("Ground", "Tree"))


def picture(height=60, width=80):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def test_panels_show_each_picture_with_its_title_a_scale_a_legend_and_whether_they_are_simulated():
    fig = figures.panels({"one": picture(), "two": picture()}, classes=KINDS, metres=0.5, study=SIMULATED)
    assert [ax.get_title() for ax in fig.axes] == ["one", "two"]
    np.testing.assert_array_equal(fig.axes[0].images[0].get_array(), picture())
    (bar,) = fig.axes[0].lines  # 40 m wide: a bar of 10 m is 20 pixels long
    assert np.ptp(bar.get_xdata()) == 20
    assert fig.axes[0].texts[0].get_text() == "10 m"
    assert [t.get_text() for t in fig.legends[0].get_texts()] == ["Ground", "Tree"]
    assert [t.get_text() for t in fig.texts] == [figures.SIMULATED]
    assert not figures.panels({"one": picture()}, study=REAL).texts


def test_panels_hold_no_more_pixels_than_the_page_shows_and_leave_places_without_a_picture_empty():
    fig = figures.panels({str(k): picture(300, 4000) for k in range(3)}, columns=2)
    assert len(fig.axes) == 4
    assert not fig.axes[3].images
    assert max(ax.images[0].get_array().shape[1] for ax in fig.axes[:3]) <= 1.1 * 0.8 * figures.WIDTH


def test_a_wipe_holds_all_its_pictures_says_what_they_show_and_makes_no_request(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda thing: shown.append(thing.data))
    over = {"a <prediction>": picture(), "the truth": picture()}
    figures.wipe(picture(), over, 'Capture "1"', classes=KINDS, study=SIMULATED)
    (text,) = shown
    sources = re.findall(r'src="([^"]*)"', text)
    assert len(sources) == 3
    assert all(s.startswith("data:image/webp;base64,") for s in sources)
    assert "http" not in text
    assert "<option>a &lt;prediction&gt;</option><option>the truth</option>" in text
    assert 'alt="Capture &quot;1&quot;: the truth"' in text
    assert "Ground" in text
    assert figures.SIMULATED in text
    assert re.findall(r"display:(block|none);clip", text) == ["block", "none"]
    figures.wipe(picture(), over, "A real one", study=REAL)
    assert figures.SIMULATED not in shown[1]


def test_painted_instances_have_one_colour_each_that_differs_from_the_next_and_leave_the_rest_as_it_is():
    image, numbers = picture(), np.zeros((60, 80), np.int32)
    for k in range(1, 31):
        numbers[2 * k - 2] = k
    painted = figures.paint_instances(image, numbers)
    np.testing.assert_array_equal(painted[numbers == 0], image[numbers == 0])
    colours = [np.unique(painted[numbers == k], axis=0) for k in range(1, 31)]
    assert all(len(c) == 1 for c in colours)
    assert all((a != b).any() for a, b in itertools.pairwise(colours))
    np.testing.assert_array_equal(figures.paint_instances(image, 0 * numbers), image)


def test_scatter_draws_each_group_with_its_own_shape_and_colour():
    groups = {"found": ([1, 2], [3, 4]), "missed": ([5], [6])}
    fig = figures.scatter(groups, "title", "m", "m", study=SIMULATED, equal=True)
    assert [(t.name, list(t.x), list(t.y)) for t in fig.data] == [("found", [1, 2], [3, 4]), ("missed", [5], [6])]
    assert len({(t.marker.symbol, t.marker.color) for t in fig.data}) == 2
    assert fig.layout.yaxis.scaleanchor == "x"
    assert figures.SIMULATED in str(fig.layout.annotations)
    assert fig.layout.showlegend
