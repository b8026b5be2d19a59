"""The store protocol, a table and scenes on other servers: Azurite, where it is installed, and one like Google's."""

import dataclasses
from pathlib import Path

import azurestore
import googlestore
import pytest
import tiny

from arsetlib import folders, maps, pixels
from arsetlib.ingest import ingest
from arsetlib.stores import StoreAnswerError, place

without = pytest.mark.skipif(azurestore.PROGRAM is None, reason="Azurite is not installed: make azurite")


@pytest.fixture(
    scope="module", params=[pytest.param(azurestore, id="azure", marks=without), pytest.param(googlestore, id="google")]
)
def server(request):
    with request.param.serve() as url:
        yield request.param, url


@pytest.fixture
def container(server, monkeypatch, tmp_path):
    kind, url = server
    for name, value in kind.variables(url).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return place(kind.new_container(url))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return tiny.make(tmp_path_factory.mktemp("tiny"))


def test_a_file_is_created_once_replaced_by_who_knows_it_and_read_in_parts(container):
    file = container / "a folder" / "a.txt"
    tag = file.create(b"corn and rice")
    with pytest.raises(FileExistsError):
        file.create(b"soy")
    new = file.replace(b"rice and corn", tag)
    with pytest.raises(FileExistsError):
        file.replace(b"soy", tag)
    assert new != tag
    assert bytes(file.read_range(5, 3)) == b"and"
    assert file.read_end(4)[0] == 13
    assert bytes(file.read_end(4)[1]) == b"corn"
    assert list(container.iterdir()) == [container / "a folder"]
    assert list(container.files()) == ["a folder/a.txt"]
    file.unlink()
    with pytest.raises(FileNotFoundError):
        file.read_bytes()


@pytest.mark.parametrize("server", [pytest.param(azurestore, marks=without)], indirect=True)
def test_an_address_that_names_the_account_leads_to_the_same_files(container):
    name = container.root.removeprefix("az://")
    (container / "a b" / "a.txt").create(b"corn")
    same = place(f"abfss://{name}@{azurestore.ACCOUNT}.dfs.core.windows.net") / "a b"
    assert list(same.files()) == ["a.txt"]
    assert (same / "a.txt").read_bytes() == b"corn"


def test_a_folder_is_complete_with_its_manifest_and_one_job_works_in_it(container):
    with folders.claim(container / "made", {"seed": 1}, ["a", "b"]) as folder:
        folder.put("a.txt", "corn")
        folder.finish("a", ["a.txt"])
        with pytest.raises(folders.FolderError, match="Another job"), folders.lock(container / "made"):
            pass
    assert folders.state(container / "made") == "unfinished"
    with folders.claim(container / "made", {"seed": 1}, ["a", "b"]) as folder:
        assert folder.missing() == ["b"]
        folder.put("b.txt", "rice")
        folder.finish("b", ["b.txt"])
        folder.publish()
    assert folders.state(container / "made") == "complete"
    assert list(folders.problems(container / "made", deep=True)) == []


def test_a_missing_container_is_named(container):
    nothing = f"{container.root.partition(':')[0]}://nothing"
    with pytest.raises(StoreAnswerError, match=f"There is no bucket {nothing}"):
        folders.put(f"{nothing}/a.txt", "corn")


def test_scenes_and_table_in_a_container_give_the_table_of_a_disk(container, made, tmp_path):
    ingest(made.study, made.scenes, made.labels, tmp_path / "table", progress=False)
    moved = []
    for scene in made.scenes:
        hrefs = {}
        for name, href in scene.hrefs.items():
            folders.put(container / scene.id / Path(href).name, Path(href).read_bytes())
            hrefs[name] = str(container / scene.id / Path(href).name)
        moved.append(dataclasses.replace(scene, hrefs=hrefs))
    scenes = dataclasses.replace(made.scenes, items=tuple(moved))
    ingest(made.study, scenes, made.labels, container / "table", progress=False)
    assert pixels.read(container / "table").equals(pixels.read(tmp_path / "table"))
    assert pixels.check(container / "table").ok
    values, _ = maps.read(moved[0].hrefs["red"], made.study.area("west"))
    own, _ = maps.read(made.scenes.items[0].hrefs["red"], made.study.area("west"))
    assert (values == own).all()
