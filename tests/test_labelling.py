"""The views of a sample's points, against a plain loop, and the page on which a person labels them, in a browser."""

import dataclasses
import json
import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from predicted import LEGEND
from pyproj import Transformer
from test_report import Balanced
from typer.testing import CliRunner

from arsetlib import active, cli, figures, maps, pixels, samples
from arsetlib.maps.products import legend_as_json
from arsetlib.study import Study
from arsetlib.translation import speaking

SIDE, WIDE, WEST, NORTH = 30.0, 12, 400_020.0, 1_400_010.0
BANDS = ("blue", "green", "red", "nir")
YEAR = 2021
STUDY = Study.load("sample").replace(legend=LEGEND)
FIRST = int(samples.start_days(YEAR, 1)[0])


def dense(missing=()):
    """A pixel table of 12 × 12 pixels with three dates of 2021 each, one of them cloudy, and one of 2020."""
    keep = np.setdiff1d(np.arange(WIDE * WIDE), missing)
    row, col = np.divmod(keep, WIDE)
    x, y = WEST + SIDE * (col + 0.5), NORTH - SIDE * (row + 0.5)
    days = FIRST + np.array([-100, 20, 90, 200])
    level = 100 + 20 * row[:, None, None] + 3 * col[:, None, None] + np.arange(4)[None, :, None] * 200
    bands = (level + np.array([0, 50, 100, 2_000])).astype("<u2")  # (P, 4 dates, 4 bands)
    tables = []
    for year, mine in ((2020, slice(0, 1)), (YEAR, slice(1, 4))):
        count = len(days[mine])
        tables.append(
            pixels.make_batch(
                day=np.tile(days[mine], len(x)), scl=np.tile([4, 9, 5][:count], len(x)),
                bands=bands[:, mine].reshape(-1, 4), offsets=np.arange(len(x) + 1) * count,
                pixel=pixels.pixel_id(x, y, SIDE), year=year, area="box", block=0, x=x, y=y, lon=0.0, lat=0.0,
                label_code=1,
            )
        )  # fmt: skip
    meta = pixels.Meta(BANDS, "EPSG:5070", SIDE, "made", True, extra={"block_m": 600.0})
    table = pa.Table.from_batches(tables)
    return table.replace_schema_metadata(meta.to_kv())


def sample_at(places, labels=None):
    """A sample of pixels (row, column) of the table above."""
    row, col = np.array(places).T
    x, y = WEST + SIDE * (col + 0.5), NORTH - SIDE * (row + 0.5)
    lon, lat = Transformer.from_crs("EPSG:5070", "EPSG:4326", always_xy=True).transform(x, y)
    count = len(places)
    table = pd.DataFrame(
        {
            "id": np.arange(1, count + 1), "stratum": "corn", "x": x, "y": y, "lon": lon, "lat": lat,
            "inclusion_probability": count / 144, "label": labels or "", "confidence": "", "remarks": "",
        }
    )  # fmt: skip
    design = {"legend": legend_as_json(LEGEND), "simulated": True, "crs": "EPSG:5070", "pixel_hectares": 0.09}
    return maps.MapSample(table, design)


# -- views ------------------------------------------------------------------------------------------------------------


def test_images_of_a_table_show_each_neighbour_where_it_lies_as_in_a_plain_loop(tmp_path):
    table, sample = dense(missing=[3 * WIDE + 4]), sample_at([(4, 4), (0, 0), (11, 6)])
    views = maps.views_of_table(table, sample.table, year=YEAR, side=5)
    assert views.kinds == ("true", "false")
    number = {(int(p), int(y)): i for i, (p, y) in enumerate(zip(table["pixel"], table["year"], strict=True))}
    flat = pixels.ragged(table)
    for i, (row, col) in enumerate([(4, 4), (0, 0), (11, 6)]):
        assert views.days[i].tolist() == [FIRST + 20, FIRST + 200]  # the cloudy date is not shown
        for d, day in enumerate(views.days[i]):
            for r in range(5):
                for c in range(5):
                    where = row + r - 2, col + c - 2
                    x, y = WEST + SIDE * (where[1] + 0.5), NORTH - SIDE * (where[0] + 0.5)
                    at = number.get((int(pixels.pixel_id(x, y, SIDE)), YEAR))
                    expected = [0, 0, 0]
                    if at is not None:
                        own = slice(flat.offsets[at], flat.offsets[at + 1])
                        values = flat.bands[own][flat.day[own] == day][0]
                        expected = [
                            int(np.sqrt(values[BANDS.index(b)] / 4_000) * 255) for b in ("red", "green", "blue")
                        ]
                    assert views.images[i][d, 0, r, c].tolist() == expected


def test_the_series_of_a_table_has_all_dates_of_the_year_with_ndvi():
    views = maps.views_of_table(dense(), sample_at([(4, 4)]).table, year=YEAR, side=3)
    line = views.series[0]
    assert line["day"].tolist() == [FIRST + 20, FIRST + 90, FIRST + 200]
    red, nir = 100 + 80 + 12 + 200 + 100, 100 + 80 + 12 + 200 + 2_000
    assert line["ndvi"].iloc[0] == pytest.approx((nir - red) / (nir + red))


def test_a_point_that_is_not_in_the_table_has_neither_images_nor_series():
    views = maps.views_of_table(dense(missing=[0]), sample_at([(0, 0), (5, 5)]).table, year=YEAR, side=3)
    assert len(views.series[0]) == len(views.days[0]) == 0
    assert len(views.series[1]) == 3
    with pytest.raises(maps.MapError, match="No point of the sample is in the table in 1999"):
        maps.views_of_table(dense(), sample_at([(0, 0)]).table, year=1999)


def test_views_of_scenes_are_what_the_scenes_show(delta):
    from arsetlib import catalogue
    from arsetlib.study import Study

    study = Study.load(delta / "two_areas.toml")
    area = study.areas[0]
    x, y = (area.bounds[0] + area.bounds[2]) / 2, (area.bounds[1] + area.bounds[3]) / 2
    sample = sample_at([(0, 0), (0, 0)])
    sample.table["x"], sample.table["y"] = x, [y, y + 60.0]
    scenes = catalogue.find_scenes(study, progress=False)
    options = {"year": YEAR, "crs": area.crs, "pixel": 30.0, "dates": 4, "side": 12, "progress": False}
    views = maps.views_of_scenes(scenes, study, sample.table, **options)
    assert [len(days) for days in views.days] == [4, 4]
    assert views.images[0].shape == (4, 2, 12, 12, 3)
    assert (views.images[0] > 0).mean() > 0.7  # the rest lies outside the small region
    assert len(views.series[0]) > 10
    # The second point lies 60 m to the north: its image is the first one's, moved down by six pixels of 10 m.
    both = sorted(set(views.days[0]) & set(views.days[1]))
    assert both
    for day in both:
        first, second = (views.images[i][list(views.days[i]).index(day)] for i in (0, 1))
        assert (first[:, :6] == second[:, 6:]).mean() > 0.9


# -- the page ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    sample = sample_at([(4, 4), (0, 0), (11, 6)])
    sample.table.loc[2, "remarks"] = '<b>"a", b</b>'
    views = maps.views_of_table(dense(), sample.table, year=YEAR, side=5)
    out = tmp_path_factory.mktemp("page")
    for language in ("en", "es"):
        with speaking(language):
            figures.labelling_page(sample, views, out / f"{language}.html")
    return out, sample


def test_the_page_is_whole_asks_nothing_of_the_network_and_escapes_what_it_is_told(page):
    text = (page[0] / "en.html").read_text(encoding="utf-8")
    parser = Balanced()
    parser.feed(text.replace("<progress", "<span").replace("</progress", "</span").replace("<input", "<meta"))
    assert parser.wrong == parser.open == []
    own = re.sub(r"data:image/webp;base64,[^\"]+", "", text).replace("http://www.w3.org/", "")
    assert not re.search(r"https?:|@import|url\(|<link|src=\"|fetch\(", own)
    assert "<b>" not in text
    assert 'name="viewport"' in text
    assert "SIMULATED" in text


def test_the_page_holds_the_sample_s_rows_and_does_not_show_what_the_map_says(page):
    text = (page[0] / "en.html").read_text(encoding="utf-8")
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.S)[1])
    assert [",".join(data["header"])] == page[1].csv().splitlines()[:1]
    assert [row[1] for row in data["rows"]] == ["corn"] * 3
    assert all("stratum" not in point for point in data["points"])
    script = text[text.index("<script>") :]
    assert "stratum" not in script


def test_a_page_is_never_overwritten_and_needs_the_points_of_its_sample(page, tmp_path):
    sample = page[1]
    views = maps.views_of_table(dense(), sample.table, year=YEAR, side=5)
    with pytest.raises(maps.MapError, match="exists. Name another file"):
        figures.labelling_page(sample, views, page[0] / "en.html")
    with pytest.raises(maps.MapError, match="Expected views of the 1 points"):
        figures.labelling_page(sample_at([(0, 0)]), views, tmp_path / "a.html")
    with pytest.raises(maps.MapError, match="ends in .html"):
        figures.labelling_page(sample, views, tmp_path / "a.csv")


def test_the_command_writes_the_page_of_a_drawn_sample(tmp_path):
    sample = sample_at([(4, 4), (0, 0)])
    sample.save(tmp_path / "visit")
    pixels.write(dense().to_batches(), tmp_path / "table.parquet", pixels.Meta.of(dense()))
    arguments = ["label", tmp_path / "visit", tmp_path / "table.parquet", "--year", YEAR, "--out", tmp_path / "p.html"]
    done = CliRunner().invoke(cli.app, list(map(str, arguments)))
    assert done.exit_code == 0, done.output
    assert "Page of 2 points" in done.stdout
    assert (tmp_path / "p.html").exists()


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_a_person_labels_with_the_keyboard_and_finds_the_labels_again(page, browser, width, scheme, tmp_path):
    requests, errors = [], []
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, accept_downloads=True)
    tab = context.new_page()
    tab.on("request", lambda request: requests.append(request.url))
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.goto((page[0] / "en.html").resolve().as_uri())
    assert tab.inner_text("#where") == "Point 1 of 3"
    assert tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert tab.locator("#images img").count() == 2
    assert tab.locator("#images img").first.get_attribute("alt").startswith("True colour, ")
    assert tab.evaluate("[...document.querySelectorAll('#images img')].every(i => i.complete && i.naturalWidth > 0)")
    assert "NDVI" in tab.locator("#chart svg").get_attribute("aria-label")
    tab.keyboard.press("c")
    tab.keyboard.press("3")  # corn
    assert tab.inner_text("#where") == "Point 2 of 3"
    assert tab.inner_text("#done") == "1 of 3 labelled"
    assert "Corn, point 1" in tab.inner_text("#said")
    tab.click("[data-class=rice]")
    tab.fill("#remarks", 'stones, "many"')
    tab.keyboard.press("Tab")
    tab.reload()  # the browser has kept it
    assert tab.inner_text("#done") == "2 of 3 labelled"
    assert tab.inner_text("#where") == "Point 3 of 3"
    tab.keyboard.press("ArrowLeft")
    assert tab.get_attribute("[data-class=rice]", "aria-pressed") == "true"
    tab.keyboard.press("0")  # removes it
    tab.keyboard.press("ArrowLeft")
    tab.keyboard.press("4")
    with tab.expect_download() as waiting:
        tab.keyboard.press("s")
    waiting.value.save_as(tmp_path / "sample.csv")
    context.close()
    assert errors == []
    assert [url for url in requests if not url.startswith(("file:", "blob:", "data:"))] == []
    table = maps.MapSample.load(tmp_path / "sample.csv").table
    assert table["label"].tolist() == ["corn", "rice", ""]
    assert table["confidence"].tolist() == ["sure", "", ""]
    assert table["remarks"].tolist() == ["", "", 'stones, "many"']
    columns = ["id", "stratum", "x", "y", "inclusion_probability"]
    pd.testing.assert_frame_equal(table[columns], page[1].table[columns], check_exact=False, rtol=1e-9)


@pytest.mark.browser
def test_the_page_remembers_that_nobody_can_tell_a_point(page, browser):
    tab = browser.new_page()
    tab.goto((page[0] / "en.html").resolve().as_uri())
    tab.click("[data-class='']")
    assert "it has no label" in tab.inner_text("#said")
    tab.reload()
    tab.keyboard.press("n")
    assert tab.inner_text("#where") == "Point 3 of 3"
    tab.keyboard.press("n")
    assert tab.inner_text("#where") == "Point 2 of 3"  # not point 1
    tab.click("#before")
    assert tab.get_attribute("[data-class='']", "aria-pressed") == "true"
    tab.click("[data-class=rice]")
    tab.click("#before")
    assert tab.get_attribute("[data-class='']", "aria-pressed") == "false"
    tab.close()


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 390])
def test_after_a_label_the_images_of_the_next_point_are_in_view(page, browser, width):
    tab = browser.new_context(viewport={"width": width, "height": 640}).new_page()
    tab.goto((page[0] / "en.html").resolve().as_uri())
    tab.evaluate("scrollTo(0, document.body.scrollHeight)")
    tab.click("[data-class=rice]")
    assert tab.inner_text("#where") == "Point 2 of 3"
    assert tab.evaluate("document.getElementById('images').getBoundingClientRect().top") >= 0
    tab.context.close()


@pytest.mark.browser
def test_the_spanish_page_is_in_spanish(page, browser):
    tab = browser.new_page()
    tab.goto((page[0] / "es.html").resolve().as_uri())
    assert tab.inner_text("#where") == "Punto 1 de 3"
    assert "Maíz" in tab.inner_text(".classes")
    tab.close()


# -- the map of the page ----------------------------------------------------------------------------------------------


def test_the_ground_has_each_pixel_of_the_table_at_its_place_as_in_a_plain_loop(tmp_path):
    table, sample = dense(missing=[3 * WIDE + 4]), sample_at([(4, 4), (11, 6)])
    pixels.write(table.to_batches(), tmp_path / "table.parquet", pixels.Meta.of(table))
    for source in (table, tmp_path / "table.parquet"):
        ground = maps.views_of_table(source, sample.table, year=YEAR, side=5).ground
        assert ground.days.tolist() == [FIRST + 20, FIRST + 200]  # the cloudy date is not shown
        west, _south, _east, north = ground.bounds
        for row in range(WIDE):
            for col in range(WIDE):
                x, y = WEST + SIDE * (col + 0.5), NORTH - SIDE * (row + 0.5)
                r, c = int((north - y) / SIDE), int((x - west) / SIDE)
                expected = 0 if (row, col) == (3, 4) else 100 + 20 * row + 3 * col + 200
                assert ground.bands[0, r, c, 0] == expected


def test_the_ground_of_a_thinned_table_has_no_gaps():
    row, col = np.divmod(np.arange(WIDE * WIDE), WIDE)
    table = dense(missing=np.flatnonzero((row % 2 == 1) | (col % 2 == 1)))
    ground = maps.views_of_table(table, sample_at([(4, 4), (8, 2)]).table, year=YEAR, side=5).ground
    assert ground.pixel == 2 * SIDE
    west, _south, _east, north = ground.bounds
    for r, c in ((4, 4), (0, 0), (10, 6)):
        x, y = WEST + SIDE * (c + 0.5), NORTH - SIDE * (r + 0.5)
        i, j = (north - y) / ground.pixel, (x - west) / ground.pixel
        assert (i % 1, j % 1) == pytest.approx((0.5, 0.5))  # a place is in the middle of its square
        assert ground.bands[0, int(i), int(j), 0] == 100 + 20 * r + 3 * c + 200


def test_a_thinned_area_beside_a_dense_one_has_no_gaps_in_the_ground_nor_in_the_images():
    row, col = np.divmod(np.arange(WIDE * WIDE), WIDE)
    thinned = (col < 6) & ((row % 2 == 1) | (col % 2 == 1))
    table = dense(missing=np.flatnonzero(thinned))
    x = table["x"].to_numpy()
    at = table.schema.get_field_index("area")
    names = pa.array(np.where(x < WEST + 6 * SIDE, "thin", "box")).cast(table.schema.field(at).type)
    table = table.set_column(at, table.schema.field(at), names)
    views = maps.views_of_table(table, sample_at([(4, 4), (4, 9)]).table, year=YEAR, side=7)
    west, _south, _east, north = views.ground.bounds
    assert views.ground.pixel == SIDE
    for r, c, like in ((4, 4, (4, 4)), (3, 3, (4, 4)), (5, 2, (6, 2)), (5, 7, (5, 7)), (4, 6, (4, 6))):
        x, y = WEST + SIDE * (c + 0.5), NORTH - SIDE * (r + 0.5)
        i, j = int((north - y) / SIDE), int((x - west) / SIDE)
        assert views.ground.bands[0, i, j, 0] == 100 + 20 * like[0] + 3 * like[1] + 200
    image = views.images[0][0, 0]
    assert (image > 0).all()
    assert (image[2:4, 2:4] == image[3, 3]).all()  # gaps to the north and west of the point


def test_single_points_do_not_fill_the_ground_between_them():
    row, col = np.divmod(np.arange(WIDE * WIDE), WIDE)
    here = ((row == 4) & (col == 4)) | ((row == 4) & (col == 7)) | ((row == 7) & (col == 4))
    views = maps.views_of_table(dense(missing=np.flatnonzero(~here)), sample_at([(4, 4)]).table, year=YEAR, side=7)
    assert (views.images[0][0, 0].any(-1)).sum() == 3


def clicked(tab, right, down):
    """Click on the map at shares of its width and height."""
    box = tab.locator("#ground svg").bounding_box()
    tab.mouse.click(box["x"] + right * box["width"], box["y"] + down * box["height"])


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 390])
def test_a_click_on_the_map_opens_a_point_or_adds_a_place_that_trains_and_that_areas_leave_out(
    page, browser, width, tmp_path
):
    tab = browser.new_context(viewport={"width": width, "height": 900}, accept_downloads=True).new_page()
    errors = []
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.goto((page[0] / "en.html").resolve().as_uri())
    if width < 600:
        tab.click("#map summary")
    tab.locator("#ground svg").scroll_into_view_if_needed()
    ground = maps.views_of_table(dense(), page[1].table, year=YEAR, side=5).ground
    west, south, east, north = ground.bounds

    def share(row, col):
        x, y = WEST + SIDE * (col + 0.5), NORTH - SIDE * (row + 0.5)
        return (x - west) / (east - west), (north - y) / (north - south)

    clicked(tab, *share(11, 6))
    assert tab.inner_text("#where") == "Point 3 of 3"
    right, down = share(8, 2)
    clicked(tab, right + 0.4 * SIDE / (east - west), down)  # anywhere in the pixel
    assert tab.inner_text("#where") == "Point 4 of 4"
    assert "Place 4 added" in tab.inner_text("#said")
    assert tab.locator("#images .crop").count() == 2
    tab.click("[data-class=rice]")
    tab.locator("#ground svg").scroll_into_view_if_needed()
    clicked(tab, *share(2, 9))
    tab.click("#remove")  # a click by mistake
    assert tab.inner_text("#done") == "1 of 4 labelled"
    tab.reload()
    assert tab.inner_text("#done") == "1 of 4 labelled"
    with tab.expect_download() as waiting:
        tab.keyboard.press("s")
    waiting.value.save_as(tmp_path / "sample.csv")
    tab.context.close()
    assert errors == []
    labelled = maps.MapSample.load(tmp_path / "sample.csv")
    own = labelled.table.iloc[3]
    assert (own["stratum"], own["label"]) == ("chosen", "rice")
    assert np.isnan(own["inclusion_probability"])
    x, y = WEST + SIDE * 2.5, NORTH - SIDE * 8.5
    assert (own["x"], own["y"]) == pytest.approx((x, y), abs=0.01)
    lon, lat = Transformer.from_crs("EPSG:5070", "EPSG:4326", always_xy=True).transform(x, y)
    assert (own["lon"], own["lat"]) == pytest.approx((lon, lat), abs=1e-7)
    found = active.labelled_rows(dense(), STUDY, labelled, YEAR)
    assert found.rows.column("pixel").tolist() == [pixels.pixel_id(x, y, SIDE)]
    assert LEGEND.classes_of(found.rows.column("label_code")).tolist() == [LEGEND.keys.index("rice")]
    assert (found.missing, found.unlabelled) == ((), (1, 2, 3))
    bare = maps.MapSample(labelled.table.assign(label=["bare", "", "rice", "rice"]), labelled.design)
    assert active.labelled_rows(dense(), STUDY, bare, YEAR).without_code == (1,)
    with pytest.raises(active.ActiveError, match="None of the 1 places with a label is among"):
        active.labelled_rows(dense(), STUDY, labelled, 2020 + 5)


def test_without_pictures_of_the_ground_the_map_adds_no_place(tmp_path):
    sample = sample_at([(4, 4), (0, 0)])
    views = dataclasses.replace(maps.views_of_table(dense(), sample.table, year=YEAR, side=5), ground=None)
    text = figures.labelling_page(sample, views, tmp_path / "p.html").read_text(encoding="utf-8")
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.S)[1])
    assert data["map"]["ground"] == []
    assert "Click elsewhere" not in text
    assert all(0 < share < 1 for point in data["points"] for share in point["at"])
