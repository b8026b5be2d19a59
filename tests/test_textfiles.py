"""Text that a person may have edited: read as editors save it, or refused in words."""

import json
import tomllib

import pytest

from arsetlib import textfiles
from arsetlib.groves import Classes
from arsetlib.groves.flight import poses
from arsetlib.samples import Scaler

ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-32")
CLASSES = """
[classes.ground]
name = { en = "Ground", es = "Suelo ñ" }
colour = "#c49a6c"
[classes.tree]
colour = "#006633"
"""


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_text_is_the_same_whatever_editor_saved_it(encoding, newline):
    text = "a = 'ñ'\nb = '中'\n"
    assert textfiles.decode(text.replace("\n", newline).encode(encoding)) == text
    assert tomllib.loads(textfiles.decode(text.replace("\n", newline).encode(encoding))) == {"a": "ñ", "b": "中"}


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ("ñ = 1".encode("latin-1"), r"not UTF-8 text \(byte 0"),
        ("a = 1".encode("utf-16-le"), "byte 1 is zero: it is UTF-16 without a byte-order mark"),
        ("a = 1".encode("utf-16-be"), "byte 0 is zero"),
        (b"\xff\xfea", "not UTF-16 text"),
    ],
)
def test_what_is_no_text_is_refused_in_words(data, says):
    with pytest.raises(ValueError, match=says):
        textfiles.decode(data)


@pytest.mark.parametrize("data", [b"{", b"[" * 100_000, b'{"a":' * 100_000, b"", b"\0"])
def test_what_is_no_json_is_a_value_error(data):
    with pytest.raises(ValueError):
        textfiles.parse_json(data)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_files_that_a_learner_edits_are_read_in_every_encoding(tmp_path, encoding):
    (tmp_path / "classes.toml").write_bytes(CLASSES.encode(encoding))
    assert Classes.load(tmp_path / "classes.toml").names["es"][0] == "Suelo ñ"
    flight = {"captures": [{"name": "ñ", "transform": [1, 0, 0, 0, -1, 0]}]}
    (tmp_path / "flight.json").write_bytes(json.dumps(flight, ensure_ascii=False).encode(encoding))
    assert list(poses(tmp_path / "flight.json")) == ["ñ"]
    scaler = {"bands": ["red"], "mean": [1.0], "std": [2.0]}
    (tmp_path / "scaler.json").write_bytes(json.dumps(scaler).encode(encoding))
    assert Scaler.load(tmp_path / "scaler.json").mean == (1.0,)
