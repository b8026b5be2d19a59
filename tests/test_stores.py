"""Paths of this machine and of an object store."""

import pickle
from pathlib import Path

import pytest

from arsetlib import folders, stores
from arsetlib.stores import place


def test_a_path_stays_a_path_and_a_url_of_a_store_becomes_one_with_the_same_methods(tmp_path):
    assert place("data/a b") == Path("data/a b")
    assert place(tmp_path) is tmp_path or place(tmp_path) == tmp_path
    assert place("/Volumes/c/s/v/a") == Path("/Volumes/c/s/v/a")
    assert place("file:///tmp/a%20b") == Path("/tmp/a b")
    path = place("s3://bucket/pixels/a.tar.gz")
    same = Path("/bucket/pixels/a.tar.gz")
    for name in ("name", "stem", "suffix"):
        assert getattr(path, name) == getattr(same, name)
    assert str(path.parent / "b.txt") == "s3://bucket/pixels/b.txt"
    assert str(path.with_name("c").with_suffix(".json")) == "s3://bucket/pixels/c.json"
    assert str(path.relative_to(place("s3://bucket/pixels"))) == "a.tar.gz"
    assert place(path) is path
    assert pickle.loads(pickle.dumps(path)) == path
    assert [str(p) for p in path.parents] == ["s3://bucket/pixels", "s3://bucket"]
    assert str(place("s3://bucket/")) == "s3://bucket"
    with pytest.raises(TypeError):
        Path(path)  # so no code can make it a local folder without noticing


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://host/a", "begins with s3"),
        ("hdfs://host/a", "begins with s3"),
        ("dbfs:/Volumes/a", "/Volumes/"),
        ("s3a://bucket/a", "begins with s3"),
        ("s3:/bucket/a", "begins with s3"),
        ("s3:///a", "s3://bucket/folder"),
        ("s3://bucket/../a", "without '..'"),
        ("s3://key:hush@bucket/a", "without user"),
        ("s3://bucket/a?X-Amz-Signature=hush", "without user"),
        ("abfss://account.dfs.core.windows.net/a", "container@account"),
        (Path("s3://bucket/a"), "as text"),
        ("file://elsewhere/a", "of this machine"),
    ],
)
def test_a_wrong_url_is_refused_and_no_secret_of_it_is_shown(url, words):
    with pytest.raises(stores.StoreError, match=words) as refused:
        place(url)
    assert "hush" not in str(refused.value)


def test_files_of_a_store_are_put_read_listed_and_deleted_like_local_ones(bucket, tmp_path):
    for root in (bucket / "some folder", tmp_path):
        folders.put(root / "a.txt", "corn\n")
        folders.put(root / "deep" / "é b.bin", bytes(range(256)))
        folders.put(root / "made.bin", lambda file: file.write_bytes(b"x" * 3_000_000))
        (tmp_path / "of-disk").write_bytes(b"moved")
        folders.put(root / "moved", tmp_path / "of-disk")
        assert not (tmp_path / "of-disk").exists()
        assert (root / "a.txt").read_text() == "corn\n"
        assert (root / "deep" / "é b.bin").read_bytes() == bytes(range(256))
        assert (root / "made.bin").stat().st_size == 3_000_000
        with (root / "deep" / "é b.bin").open("rb") as file:
            assert file.seek(-2, 2) == 254
            assert file.read() == b"\xfe\xff"
            assert (file.seek(3), file.read(2)) == (3, b"\x03\x04")
        with (root / "a.txt").open("r", encoding="utf-8") as file:
            assert list(file) == ["corn\n"]
        assert sorted(p.name for p in root.iterdir()) == ["a.txt", "deep", "made.bin", "moved"]
        assert sorted(p.name for p in root.glob("*.bin")) == ["made.bin"]
        assert sorted(p.name for p in root.rglob("*.bin")) == ["made.bin", "é b.bin"]
        assert root.is_dir()
        assert not root.is_file()
        assert not (root / "a.txt").is_dir()
        assert (root / "deep").exists()
        assert not (root / "none").exists()
        with pytest.raises(FileNotFoundError):
            (root / "none").read_bytes()
        with pytest.raises(FileNotFoundError):
            (root / "none").open("rb")
        (root / "a.txt").unlink()
        (root / "a.txt").unlink(missing_ok=True)
        with pytest.raises(FileNotFoundError):
            (root / "a.txt").unlink()


def test_a_file_is_created_once_and_replaced_only_by_who_knows_it(bucket):
    file = bucket / "lease"
    tag = file.create(b"mine")
    with pytest.raises(FileExistsError):
        file.create(b"yours")
    newer = file.replace(b"mine again", tag)
    with pytest.raises(FileExistsError):
        file.replace(b"yours", tag)
    assert (file.read_bytes(), file.stat().stamp) == (b"mine again", newer)


def test_a_missing_bucket_is_named_whatever_is_asked_of_it(bucket):
    with pytest.raises(stores.StoreAnswerError, match="There is no bucket s3://not-there"):
        place("s3://not-there/a").read_bytes()
    with pytest.raises(stores.StoreAnswerError, match="There is no bucket s3://not-there-2"):
        place("s3://not-there-2/a").is_file()
    with pytest.raises(stores.StoreAnswerError, match="There is no bucket s3://not-there-3"):
        folders.put("s3://not-there-3/a", "x")
    with pytest.raises(stores.StoreAnswerError, match="There is no bucket s3://not-there-4"):
        place("s3://not-there-4").files()


def test_a_profile_gives_the_credentials(bucket, monkeypatch, tmp_path):
    (tmp_path / "credentials").write_text("[course]\naws_access_key_id = a\naws_secret_access_key = b\n")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_PROFILE", "course")
    folders.put(f"{bucket}/a", "corn")
    assert (bucket / "a").read_text() == "corn"
    monkeypatch.setattr("arsetlib.stores.find_spec", lambda name: None)
    stores._connected.cache_clear()
    with pytest.raises(stores.StoreAnswerError, match="pip install boto3"):
        (bucket / "a").read_text()
