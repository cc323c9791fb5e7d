"""The pictures of call paths: order, words for those who do not see them, no clashes on a page."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from runbook_lib.notebook.diagrams import call_path, outbound_path

SVG = "{http://www.w3.org/2000/svg}"
GUIDE = [
    ("us1", "sip:203.0.113.10;region=us1", 10, 10, True),
    ("us2", "sip:203.0.113.10;region=us2", 20, 10, True),
]


def texts(svg: str) -> list[str]:
    return [one.text or "" for one in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_the_guides_path_shows_the_failover_order() -> None:
    picture = call_path(GUIDE, "203.0.113.10", "acme-pbx.pstn.twilio.com")
    shown = texts(picture.svg)
    assert shown.index("us1 (Virginia) · tried first") < shown.index("us2 (Oregon) · tried 2nd")
    assert "priority 10 · weight 10" in shown and "priority 20 · weight 10" in shown
    assert "sip:203.0.113.10;region=us1" in shown


def test_the_picture_is_told_in_words() -> None:
    picture = call_path(GUIDE, "203.0.113.10")
    svg = ElementTree.fromstring(picture.svg)
    assert svg.get("role") == "img" and svg.get("aria-label") == picture.title
    assert svg.find(f"{SVG}title").text == picture.title
    assert svg.find(f"{SVG}desc").text == " ".join(picture.description)
    assert all(line in picture.text() for line in picture.description)
    assert "tried first" in picture.description[0] and "tried 2nd" in picture.description[1]


def test_uris_of_one_priority_share_a_place_and_disabled_ones_have_none() -> None:
    hops = [
        ("us1", "sip:a;region=us1", 10, 10, True),
        ("ie1", "sip:a;region=ie1", 10, 20, True),
        ("de1", "sip:a;region=de1", 15, 10, False),
        ("us2", "sip:a;region=us2", 20, 10, True),
    ]
    picture = call_path(hops, "a")
    shown = " ".join(texts(picture.svg))
    # The same in words, for those who do not see the picture.
    assert [line.split(": ")[1] for line in picture.description] == [uri for _, uri, *_ in hops]
    assert ["switched off" in line for line in picture.description] == [False, False, True, False]
    assert shown.count("tried first") == 2
    assert "de1 (Germany) · switched off" in shown
    assert "us2 (Oregon) · tried 2nd" in shown


def test_no_uri_at_all_is_said() -> None:
    assert "calls fail" in call_path([], "203.0.113.10").text()


def test_hostile_names_are_inert_and_long_ones_whole_in_the_words() -> None:
    url = "sip:" + "h" * 300
    picture = call_path([('"><script>', url, 1, 1, True)], "<b>\u202e", "\x1b[31m")
    ElementTree.fromstring(picture.svg)
    assert (
        "<script" not in picture.html() and "<b>\u202e" not in picture.html() and "\x1b" not in picture.html()
    )
    assert url in picture.html() and url in picture.text()


def test_pictures_have_no_ids_and_follow_the_pages_colour() -> None:
    html = (
        call_path(GUIDE, "a").html() + outbound_path("a.pstn.twilio.com", "a", "203.0.113.10", "user").html()
    )
    assert not re.search(r"\sid=", html) and "<style" not in html and "url(#" not in html
    assert 'stroke="currentColor"' in html


def test_the_way_out_names_what_twilio_checks() -> None:
    text = outbound_path("acme-pbx.pstn.twilio.com", "pbx", "203.0.113.10", "acme").text()
    assert "source address is 203.0.113.10 and the credentials are those of acme" in text
    assert "credential" not in outbound_path("a.pstn.twilio.com", "pbx", "203.0.113.10", None).text()
