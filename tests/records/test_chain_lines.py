"""Lines of the chain are read in a quick way where nothing in them needs the other, with one result."""

from __future__ import annotations

import re

import pytest

from runbook_lib.records import chain
from runbook_lib.records.chain import Entry
from runbook_lib.records.chain_reading import is_run
from runbook_lib.secret import SecretFilter

DIGEST = "sha256:" + "0" * 64


def line(**other: object) -> bytes:
    values = {
        "seq": 3,
        "at": "2026-01-01T00:00:00+00:00",
        "event": "opened",
        "run": "demo/acme/20260101T000000Z-000001",
        "file": "demo/acme/20260101T000000Z-000001/opening.json",
        "content": DIGEST,
        "previous": DIGEST,
    }
    return Entry(**(values | other)).line


PLAIN = line()
LINES = {
    "plain": PLAIN,
    "first": line(seq=0, previous=None),
    "of no run": line(event="policy", run=None),
    "an opening of no run": line(run=None),
    "of format 1": Entry(0, "", "opened", "a/b/c", "a/b/c/opening.json", DIGEST, None, 1).line,
    "not ASCII": line(run="demo/büro/1"),
    "with a quote": line(run='demo/a"b/1'),
    "with a backslash": line(run="demo/a\\b/1"),
    "with an escape that need not be": PLAIN.replace(b"acme", b"\\u0061cme"),
    "with DEL": line(run="demo/a\x7fb/1"),
    "with DEL as it is": PLAIN.replace(b"acme", b"ac\x7fme"),
    "a number with a zero before it": PLAIN.replace(b'"seq": 3', b'"seq": 03'),
    "a negative number": PLAIN.replace(b'"seq": 3', b'"seq": -3'),
    "a number as a text": PLAIN.replace(b'"seq": 3', b'"seq": "3"'),
    "true": PLAIN.replace(b'"seq": 3', b'"seq": true'),
    "a very long number": PLAIN.replace(b'"seq": 3', b'"seq": ' + b"9" * 30),
    "a newer format": PLAIN.replace(b'"format": 2', b'"format": 3'),
    "another order": PLAIN.replace(b'"seq": 3, ', b"").replace(b"}", b', "seq": 3}'),
    "a key twice": PLAIN.replace(b'"seq": 3', b'"seq": 3, "seq": 3'),
    "without its end": PLAIN.rstrip(b"\n"),
    "with another end": PLAIN.replace(b"\n", b"\r\n"),
    "a space more": PLAIN.replace(b", ", b",  ", 1),
    "two lines": PLAIN + PLAIN,
    "null": PLAIN.replace(b'"opened"', b"null"),
    "nothing": b"",
}


def read(text: bytes) -> Entry | type[Exception]:
    try:
        return Entry.parse(text)
    except ValueError as error:
        return type(error)


@pytest.mark.parametrize("name", LINES)
def test_the_quick_way_and_the_other_one_read_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = read(LINES[name])
    monkeypatch.setattr(chain, "_PLAIN", re.compile(r"(?!)"))
    assert quick == read(LINES[name])
    if isinstance(quick, Entry):
        assert quick.line == LINES[name]


def test_what_most_lines_are_is_read_in_the_quick_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chain.json, "loads", lambda _: pytest.fail("read in the other way"))
    assert Entry.parse(PLAIN).seq == 3


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a/b/c", True),
        ("a/./b/c", True),
        ("a//b/c/", True),
        ("a/b", False),
        ("a/b/c/d", False),
        ("/a/b/c", False),
        ("/a/b", False),
        ("a/../c", False),
        ("a/b/\0", False),
        ("", False),
        (None, False),
    ],
)
def test_only_a_folder_below_the_records_is_a_run(name: str | None, expected: bool) -> None:
    assert is_run(name) is expected


def test_a_filter_without_secrets_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    known = SecretFilter()
    assert known.found_in("a text") == {}
    monkeypatch.setattr(known, "_built", lambda: pytest.fail("made again"))
    assert known.found_in("another") == {}
