"""What of a link may be saved, printed and logged."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arsetlib.web.links import PUBLIC_KEYS, public, redact

SECRET = "TopSecret123"
NAMES = ["sig", "auth", "jwt", "code", "session", "access_key", "bearer", "token", "api_key", "Key", "X-Amz-Signature",
         "whatever", "%73ig"]  # fmt: skip
SECRETS = [
    *(f"https://c.org/a.tif?{name}={SECRET}" for name in NAMES),
    *(f"https://c.org/a.tif#{name}={SECRET}" for name in NAMES),
    *(f"https://c.org/a.tif?year=2021{sep}{name}={SECRET}" for sep in "&;" for name in NAMES),
    f"https://c.org/a.tif?{SECRET}",
    f"https://c.org/a.tif#{SECRET}",
    f"https://c.org/a.tif?year=2021%3Bsig%3D{SECRET}",
    f"https://c.org/a.tif?year=2021%253Bsig%253D{SECRET}",
    f"https://c.org/a.tif;sig={SECRET}",
    f"https://c.org/a.tif&sig={SECRET}",
    f"https://c.org/a.tif%3Fsig%3D{SECRET}",
    f"https://c.org/a;jsessionid={SECRET}/b.tif",
    f"https://{SECRET}@c.org/a.tif",
    f"https://u:{SECRET}@c.org/a.tif",
    f"https://u:pa/{SECRET}@c.org/a.tif",
    f"https://u:pa?{SECRET}@c.org/a.tif",
    f"https://u:pa#{SECRET}@c.org/a.tif",
    f"https://u:12/{SECRET}@c.org/a.tif",
    f"https://u:p@a/{SECRET}@c.org/a.tif",
    f"https://u:p%40{SECRET}@c.org/a.tif",
    f"https://u:{SECRET}",
    f"HTTPS://u:{SECRET}@c.org/a.tif",
    f"s3://key:{SECRET}@bucket/a.tif",
    f"/vsicurl/https://u:{SECRET}@c.org/a.tif",
    f"/vsicurl/https://c.org/a.tif?sig={SECRET}",
]


@pytest.mark.parametrize("link", SECRETS)
def test_no_secret_stays_in_a_link_or_a_message(link):
    assert SECRET not in public(link)
    assert public(public(link)) == public(link)
    for text in (link, f"Read of {link} failed", f"cannot open '{link}' (HTTP 403)", f"<{link}>", f"{link}, {link}."):
        assert SECRET not in redact(text)
    path = link.partition(".org")[2]
    if path and "@" not in link:
        assert SECRET not in redact(f"Max retries exceeded with url: {path} (Caused by x)")


@given(st.text(st.characters(codec="utf-8", categories=["L", "N"]), min_size=1), st.sampled_from("?&;#"))
def test_only_known_keys_stay(key, separator):
    link = f"https://c.org/a.tif{separator}{key}={SECRET}"
    assert (SECRET not in public(link)) or (separator == "?" and key.lower() in PUBLIC_KEYS)


@pytest.mark.parametrize(
    "link",
    [
        "https://c.org/b.tif?year=2021&bbox=1,2", "https://c.org/b.tif?bbox=1%2C2", "https://c.org/b.tif?",
        "https://c.org/year=2021/month=07/b.tif", "https://c.org/a@2x.tif", "http://127.0.0.1:8000/a@2x.tif",
        "http://localhost:8000/x/a@b", "http://[::1]:80/a", "https://c.org:/x", "https://c.org/a.tif?versionId=a.b_c",
        "s3://bucket/key@1/a.tif", "/data/a.tif", "data/a?b.tif", "C:\\data\\a.tif", "/data/me@home/a.tif",
    ],
)  # fmt: skip
def test_harmless_links_stay_as_they_are(link):
    assert public(link) == link == redact(link)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"Authorization: Bearer {SECRET}", "Authorization: Bearer …"),
        (f'{{"access_token": "{SECRET}", "code": "BadRequest"}}', '{"access_token": "…", "code": "BadRequest"}'),
        (f"password={SECRET} is wrong", "password=… is wrong"),
        ("Is it there? Look; a = 5 (see #3)", "Is it there? Look; a = 5 (see #3)"),
    ],
)
def test_a_message_keeps_its_words(text, shown):
    assert redact(text) == shown
