"""Tables in all the room that a page may have: a word that fits in its column goes on in no other line."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, Page

from runbook_lib.notebook.tables import Table, row_table, verification_table
from runbook_lib.plan import Action, Effect, Row
from runbook_lib.records.first_block import FirstBlock
from runbook_lib.sections import Verification
from tests.notebooks.lab import split_words

#: In JupyterLab beside its file list at 800, 1024 and 1280 pixels; on pages of records in the same windows.
ROOMS = (330, 554, 810, 736, 960, 1072)
NAME = "n" * 40
ROWS = (
    Row("2.2", "credential list", NAME, None, Action.CREATE, effect=Effect.INTERRUPTS_OUTBOUND),
    Row("2.2", "password at Twilio", "(not shown)", "(not readable)", Action.UPDATE),
    Row(
        "3.1",
        "eu1 SIP URI",
        "sip:+12025550101@edge-number-one.pbx.example;transport=tls",
        "off",
        Action.UPDATE,
    ),
    Row("4.1", "+12025550101", "on the trunk", f"{NAME} and another", Action.IN_PLACE, note="because " * 9),
)
#: What JupyterLab drops from a notebook that it does not trust.
DROPPED = re.compile(
    r"(?:min-width|font-size):(?:calc|clamp|min)[^\";]*|overflow-wrap:anywhere|color:inherit"
)


def tables() -> list[Table]:
    first = FirstBlock("", ())
    changed = [
        ("2.2", "password at the PBX", "(not readable)", "(not shown)", "none", "not read back"),
        ("5.4", f"trunk {NAME}: outbound proxy", "—", "edge.pbx.example:5061", "interrupts inbound", "✓ yes"),
    ]
    return [
        row_table("Plan: 2 create", ROWS),
        row_table("Plan: 1 in place", [ROWS[3]], hidden=["Step"]),
        verification_table("Expected result", "02", Verification(ROWS, ROWS[:1]), planning=True),
        Table("What changed", first.columns, changed),
        Table("Facts", ("Vendor", "Kind"), [("PortSIP (the PBX)", f"registered as {NAME}")]),
    ]


def put(page: Page, html: str, room: int) -> None:
    page.set_content(
        f'<body style="margin:0;--runbook-room:{room}px"><div style="width:{room}px">{html}</div></body>'
    )


@pytest.fixture
def wide(browser: Browser) -> Page:
    return browser.new_page(viewport={"width": 1280, "height": 2000})


@pytest.mark.parametrize("room", ROOMS)
def test_a_word_is_whole_where_it_fits(wide: Page, room: int) -> None:
    for table in tables():
        put(wide, table.html(), room)
        assert split_words(wide) == [], table.caption
        assert wide.evaluate("document.documentElement.scrollWidth") <= max(room, 1280)
        assert wide.evaluate("document.querySelector('table').scrollWidth") <= room


@pytest.mark.parametrize("room", ROOMS)
def test_a_notebook_that_is_not_trusted_scrolls_nowhere(wide: Page, room: int) -> None:
    for table in tables():
        html, count = DROPPED.subn("", table.html())
        assert count
        put(wide, html, room)
        assert wide.evaluate("document.querySelector('table').scrollWidth") <= room, table.caption
        if room > 500:
            assert split_words(wide) == [], table.caption


def test_a_word_that_is_split_would_be_seen(wide: Page) -> None:
    cell = "<table><td style='padding:0;width:5em;max-width:5em'>a read<wbr>able word and "
    wide.set_content(f"{cell}un<wbr>break<wbr>able1</td></table>")
    assert split_words(wide) == ["readable", "unbreakable1"]
