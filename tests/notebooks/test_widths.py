"""Tables in all the room that a page may have: a word that fits in its column goes on in no other line."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page

from runbook_lib.dialling.tables import RULE_COLUMNS
from runbook_lib.notebook.tables import Table, row_table, verification_table
from runbook_lib.plan import Action, Effect, Row
from runbook_lib.records.first_block import FirstBlock
from runbook_lib.sections import Verification
from tests.notebooks.lab import needless, set_width, split_words

#: Windows, and what they leave for a table: in JupyterLab beside its file list, and on a page of a record.
ROOMS = ((800, 330), (1024, 554), (1280, 810), (800, 736), (1024, 960), (1280, 1072))
NARROWEST, CHANGED = 330, "What changed"
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
RULES = (
    ("Local calls (landlines)", True, False, 1000, "012", "10", "(empty)", 0, "", "+12025550140", 1),
    (NAME, False, True, 1, "+", "7-15", "1000-1999", 3, "+1", NAME, 2),
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
        row_table(
            "1.1 Create", [Row("1.1", "friendly name", "T" * 40, None, Action.CREATE)], hidden=["Step"]
        ),
        verification_table("Expected result", "02", Verification(ROWS, ROWS[:1]), planning=True),
        Table(CHANGED, first.columns, changed),
        Table("Outbound rules of the tenant", RULE_COLUMNS, RULES),
        Table("Facts", ("Vendor", "Kind"), [("PortSIP (the PBX)", f"registered as {NAME}")]),
    ]


def put(page: Page, html: str, window: int, room: int) -> None:
    set_width(page, window)
    page.set_content(
        f'<body style="margin:0;--runbook-room:{room}px"><div style="width:{room}px">{html}</div></body>'
    )
    assert page.evaluate("document.querySelector('table').scrollWidth") <= room


@pytest.mark.parametrize(("window", "room"), ROOMS)
def test_a_word_is_whole_where_it_fits(page: Page, window: int, room: int) -> None:
    for table in tables():
        put(page, table.html(), window, room)
        # Six columns beside each other are more than the narrowest place has room for.
        split = needless if (room, table.caption) == (NARROWEST, CHANGED) else split_words
        assert split(page) == [], table.caption


@pytest.mark.parametrize(("window", "room"), ROOMS)
def test_a_notebook_that_is_not_trusted_scrolls_nowhere(page: Page, window: int, room: int) -> None:
    for table in tables():
        html, count = DROPPED.subn("", table.html())
        assert count
        put(page, html, window, room)
        assert needless(page) == [], table.caption


def test_a_word_that_is_split_would_be_seen(page: Page) -> None:
    style = "font:16px monospace;padding:0;width:10ch;max-width:10ch"
    text = "aaaa read<wbr>able<br>aaaa un<wbr>fit1<br>un<wbr>breakable<wbr>1"
    page.set_content(f"<table><td style='{style}'>{text}")
    assert needless(page) == split_words(page) == ["readable", "unfit1"]
