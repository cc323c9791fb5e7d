"""Tables: complete, captioned, inert whatever they hold, readable without colour."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from runbook_lib.notebook.display import visible
from runbook_lib.notebook.tables import (
    Table,
    outcome_shown,
    plan_shown,
    row_table,
    verification_shown,
    view_table,
)
from runbook_lib.plan import Action, Effect, Row, Slice
from runbook_lib.sections import Outcome, Verification, View

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</td></tr></table><h1>out</h1>",
    "\x1b[31mred\x1b[0m\x07",
    "abc\u202etxt.exe",
    "zero\u200bwidth\ufeff",
    "line\nbreak\r\u2028end",
    "&lt;b&gt;",
    "\ud800 lone surrogate",
    "=cmd|'/c calc'!A0",
    "javascript:alert(1)",
    "x" * 10_000,
)
TAGS = {"table", "caption", "thead", "tbody", "tr", "th", "td", "span", "wbr"}


class Reader(HTMLParser):
    """The cells of the tables of a page, and every tag and attribute that it meets."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.rows: list[list[str]] = []
        self.caption = ""
        self._open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attributes}
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag != "wbr":
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, text: str) -> None:
        if "td" in self._open or "th" in self._open:
            self.rows[-1][-1] += text
        if "caption" in self._open:
            self.caption += text


def row(setting: str, action: Action, **rest: object) -> Row:
    values = {"desired": "wanted", "current": None, **rest}
    return Row("2.2", setting, action=action, **values)


def test_500_rows_show_500_rows_and_nothing_is_cut() -> None:
    numbers = [(f"+1202555{n:04}", "a very long description of what answers it now " * 5) for n in range(500)]
    table = Table("Numbers", ("Number", "Answered by"), numbers)
    shown = Reader(table.html())
    assert [cells[0] for cells in shown.rows[1:]] == [number for number, _ in numbers]
    assert {cells[1] for cells in shown.rows[1:]} == {numbers[0][1]}
    text = table.text()
    assert "…" not in table.html() + text and "..." not in table.html() + text
    assert all(number in text for number, _ in numbers)
    assert table.frame.shape == (500, 2)


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:20]))
def test_a_vendors_string_is_shown_whole_and_inert(text: str) -> None:
    table = Table(text, ("Name", text), [(text, "after")], empty=text)
    shown = Reader(table.html())
    assert shown.tags <= TAGS
    assert shown.attributes <= {"style", "scope", "title", "colspan"}
    assert shown.rows[1] == [visible(text), "after"]
    assert shown.caption == visible(text)
    for form in (table.html(), table.text()):
        form.encode("utf-8")
        assert all(one.isprintable() or one == "\n" for one in form)


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:20]))
def test_nothing_is_left_out_of_the_text_form(text: str) -> None:
    shown = Table("Caption", ("Name",), [(text,)]).text().split("\n", 3)[3]
    assert "".join(shown.split()) == "".join(visible(text).split())


def test_invisible_characters_show_their_code() -> None:
    assert visible("a\x1b[1m\u202eb\n") == "a⟨U+001B⟩[1m⟨U+202E⟩b⟨U+000A⟩"
    assert visible("plain – text") == "plain – text"


def test_values_are_shown_as_people_read_them() -> None:
    table = Table("Values", ("Value",), [(None,), (True,), (False,), ("",), (0,), (["a", "b"],), (10.5,)])
    assert [cells[0] for cells in Reader(table.html()).rows[1:]] == [
        "—",
        "on",
        "off",
        "(empty)",
        "0",
        "a, b",
        "10.5",
    ]
    assert list(table.frame["Value"])[:3] == [None, True, False]


@pytest.mark.parametrize("action", list(Action))
def test_an_action_is_a_word_with_a_symbol_and_a_colour(action: Action) -> None:
    table = row_table("Plan", [row("address", action)])
    cell = Reader(table.html()).rows[1][-1]
    symbol, word = cell.split(" ", 1)
    assert word == str(action) and len(symbol) == 1 and not symbol.isalnum()
    assert "background-color:#" in table.html()
    assert cell in table.text()


def test_effect_and_note_columns_appear_only_when_they_say_something() -> None:
    plain = row_table("Plan", [row("address", Action.CREATE)])
    assert plain.columns == ("Step", "Setting", "Desired", "Current", "Action")
    telling = row_table(
        "Plan",
        [
            row("a", Action.UPDATE, effect=Effect.INTERRUPTS_INBOUND, note="because"),
            row("b", Action.IN_PLACE),
        ],
    )
    assert telling.columns[-2:] == ("Effect", "Note")
    first, second = Reader(telling.html()).rows[1:]
    assert first[-2:] == ["⚠ interrupts inbound", "because"]
    assert second[-2:] == ["", ""]


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ((row("a", Action.IN_PLACE),), "Nothing to change"),
        ((row("a", Action.CREATE),), "1 row to carry out; none interrupts calls"),
        (
            (row("a", Action.UPDATE, effect=Effect.INTERRUPTS_OUTBOUND), row("b", Action.CREATE)),
            "2 rows to carry out, 1 of them can interrupt calls",
        ),
        (
            (row("a", Action.CONFLICT), row("b", Action.BLOCKED), row("c", Action.CREATE)),
            "2 rows in conflict or blocked: apply would stop before its first write",
        ),
    ],
)
def test_a_plan_is_summed_up_in_a_sentence(rows: tuple[Row, ...], sentence: str) -> None:
    shown = plan_shown(Slice("02", rows))
    assert sentence in shown.text() and sentence in shown.html()


def test_tables_are_had_as_pandas_frames_by_caption() -> None:
    shown = plan_shown(Slice("02", (row("a", Action.CREATE), row("b", Action.IN_PLACE))))
    frame = shown.frames["Plan: 1 create, 1 in place"]
    assert list(frame["Setting"]) == ["a", "b"]
    assert list(frame["Current"]) == [None, None]


def test_an_outcome_without_writes_says_so() -> None:
    assert "nothing was written" in outcome_shown(Outcome((), 0)).text()
    assert "in 2 writes" in outcome_shown(Outcome((row("a", Action.CREATE),), 2)).text()


def test_differences_stop_a_verification_but_are_a_result_of_a_plan() -> None:
    differing = Verification((row("a", Action.CREATE), row("b", Action.IN_PLACE)), (row("a", Action.CREATE),))
    assert "✗ differs" in verification_shown(differing, planning=False).text()
    assert "not a failure" in verification_shown(differing, planning=True).text()
    fine = Verification((row("b", Action.IN_PLACE),))
    assert "as expected." in verification_shown(fine, planning=False).text()


def test_an_empty_view_says_that_nothing_is_there() -> None:
    view = View("Lists on the trunk", ("Kind", "Name"), ())
    assert "nothing there yet" in view_table(view).text()
    assert Reader(view_table(view).html()).rows[1] == ["nothing there yet"]


def test_two_tables_on_a_page_have_no_ids_and_no_style_sheet() -> None:
    html = row_table("Plan", [row("a", Action.CREATE)]).html()
    assert " id=" not in html and "<style" not in html and "class=" not in html


def test_the_bundle_for_jupyter_has_html_and_text() -> None:
    table = Table("Caption", ("Name",), [("a",)])
    assert table._repr_mimebundle_() == {"text/plain": table.text(), "text/html": table.html()}
