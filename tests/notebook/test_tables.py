"""Tables: complete, captioned, inert whatever they hold, readable without colour."""

from __future__ import annotations

import csv
import io
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from runbook_lib.notebook.display import Box, visible
from runbook_lib.notebook.tables import (
    MOST_COLUMNS,
    Stack,
    Table,
    outcome_shown,
    plan_shown,
    row_table,
    rows_in_order,
    step_table,
    verification_shown,
    view_table,
)
from runbook_lib.plan import Action, Effect, Row, Slice
from runbook_lib.sections import Outcome, Verification, View
from tests.conftest import CHECKOUT

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
            self.rows[-1][-1] += text.replace("\xa0", " ")
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
    assert shown.rows[0] == ["Name", visible(text)]
    assert shown.rows[1] == [visible(text), "after"]
    assert shown.caption == visible(text)
    assert Reader(Table("Empty", ("Name",), (), empty=text).html()).rows[1] == [visible(text)]
    # What the frame itself shows where an operator filters it.
    assert Reader(table.frame.to_html(escape=True, index=False)).tags <= TAGS
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
    values = (None, True, False, "", 0, ["a", "b"], 10.5, [])
    table = Table("Values", ("Value",), [(value,) for value in values])
    assert [cells[0] for cells in Reader(table.html()).rows[1:]] == [
        "—",
        "on",
        "off",
        "(empty)",
        "0",
        "a, b",
        "10.5",
        "none",
    ]
    assert list(table.frame["Value"])[:3] == [None, True, False]


VALUES = (None, True, False, "", 0, [], "none", Effect.NONE)


@pytest.mark.parametrize("column", ["Effect", "Action", "Result", "Owned", "From", "To"])
def test_no_cell_is_blank_in_any_form(column: str, tmp_path: Path) -> None:
    """Of a blank cell nobody knows whether it is nothing, none, no, or not known."""
    table = Table("Values", ("Step", column), [("5.4", value) for value in VALUES])
    assert all(cell for cells in Reader(table.html()).rows for cell in cells)
    assert all(len(line.split()) >= 2 for line in table.text().splitlines()[3:])
    for line in table.markdown().splitlines()[4:]:
        assert all(cell.strip() for cell in line.strip("|").split("|"))
    with table.csv(tmp_path / "t.csv").open(encoding="utf-8-sig", newline="") as file:
        assert all(cell for cells in csv.reader(file) for cell in cells)


@pytest.mark.parametrize("action", list(Action))
def test_an_action_is_a_word_with_a_symbol_and_a_colour(action: Action) -> None:
    table = row_table("Plan", [row("address", action)])
    cell = Reader(table.html()).rows[1][1]
    symbol, word = cell.split(" ", 1)
    assert word == str(action) and len(symbol) == 1 and not symbol.isalnum()
    assert "background-color:#" in table.html()
    assert cell in table.text()


def test_action_and_effect_come_first_and_a_note_is_a_line_below_its_row() -> None:
    quiet = row_table("Plan", [row("address", Action.CREATE)])
    assert Reader(quiet.html()).rows[0] == ["Step", "Action", "Setting", "Desired", "Current"]
    rows = [
        row("a", Action.UPDATE, effect=Effect.INTERRUPTS_INBOUND, note="because"),
        row("b", Action.IN_PLACE),
    ]
    table = row_table("Plan", rows)
    head, first, note, second = Reader(table.html()).rows
    assert head == ["Step", "Action, effect", "Setting", "Desired", "Current"]
    assert first[:3] == ["2.2", "~ update ⚠ interrupts inbound", "a"]
    assert note == ["", "because"] and second[:3] == ["2.2", "✓ in place", "b"]
    lines = table.text().splitlines()
    assert lines[3].split()[:3] == ["2.2", "~", "update"] and lines[4].strip() == "because"
    # Whoever filters has the same columns whatever the plan says.
    for frame in (quiet.frame, table.frame):
        assert list(frame) == ["Step", "Action", "Effect", "Setting", "Desired", "Current", "Note"]
    assert list(table.frame[table.frame.Effect != "none"].Note) == ["because"]


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ((row("a", Action.IN_PLACE),), "Nothing to change"),
        ((row("a", Action.CREATE),), "1 row to apply; none interrupts calls"),
        (
            (row("a", Action.UPDATE, effect=Effect.INTERRUPTS_OUTBOUND), row("b", Action.CREATE)),
            "2 rows to apply; 1 can interrupt calls",
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


def test_a_frame_is_found_by_how_its_caption_begins() -> None:
    views = [View(f"{name} URIs of the trunk", ("SIP URI",), ((name,),)) for name in ("Origination", "Other")]
    state = Stack(tuple(view_table(view) for view in views))
    frame = state["Origination URIs"]
    assert isinstance(frame, pd.DataFrame) and list(frame["SIP URI"]) == ["Origination"]
    assert list(state) == [view.caption for view in views]
    frame.loc[0, "SIP URI"] = "changed by the operator"
    assert list(state["Origination URIs"]["SIP URI"]) == ["Origination"]
    for caption in ("O", "Termination"):
        with pytest.raises(KeyError):
            state[caption]
    same = Stack((*state.parts, Table("O", ("Name",), [("exact",)])))
    assert list(same["O"]["Name"]) == ["exact"]


def test_plan_outcome_and_verification_are_frames() -> None:
    rows = (row("a", Action.CREATE), row("b", Action.IN_PLACE, note="as it was"))
    plan = plan_shown(Slice("02", rows))
    assert list(plan.frame[plan.frame.Action == "create"].Setting) == ["a"]
    assert plan["Plan"].equals(plan.frame) and list(plan.frame.Current) == [None, None]
    # What stood there already was not carried out.
    assert list(outcome_shown("02", Outcome(rows, 2)).frame.Setting) == ["a"]
    read_back = verification_shown("02", Verification(rows, rows[:1]), planning=False).frame
    assert list(read_back.Result) == ["differs", "as expected"] and list(read_back.Note) == ["", "as it was"]


def test_rows_are_in_the_order_of_the_guides_steps_but_not_on_the_way_back() -> None:
    steps = ("5.3", "0.1", "5.2", "5.1", "5.2")
    rows = tuple(Row(step, str(n), 1, None, Action.CREATE) for n, step in enumerate(steps))
    verification = Verification(rows)
    for section, expected in (("05", ["1", "3", "2", "4", "0"]), ("91", ["0", "1", "2", "3", "4"])):
        shown = (
            plan_shown(Slice(section, rows)),
            outcome_shown(section, Outcome(rows, 1)),
            verification_shown(section, verification, planning=True),
        )
        for part in shown:
            assert list(part.frame.Setting) == expected


def test_what_the_guide_names_comes_before_the_other_options_of_its_step() -> None:
    settings = ["outbound proxy", "keep alive", "need registration", "max concurrent calls"]
    rows = tuple(Row("5.4", setting, 1, None, Action.CREATE) for setting in settings)
    shown = [*settings[2:], *settings[:2]]
    assert [row.setting for row in rows_in_order("05", rows)] == shown
    assert list(step_table("5.4", rows).frame["Setting"]) == shown


@pytest.mark.parametrize(("word", "beside"), [("c", MOST_COLUMNS), ("landlines", Table.fewest_columns)])
def test_columns_that_have_no_room_are_a_line_below_their_row(word: str, beside: int) -> None:
    columns = tuple(f"{word} {number}" for number in range(12))
    table = view_table(View("wide", columns, (tuple(f"<{number}>" for number in range(12)),)))
    html = re.sub("<wbr>|</?span[^>]*>", "", table.html()).replace("&nbsp;", " ")
    assert html.count("<th ") == beside
    assert all(f"&lt;{number}&gt;" in html for number in range(12))
    assert f"{word} 11: &lt;11&gt;" in html
    assert tuple(table.frame) == columns
    assert all(f"<{number}>" in table.text(500) for number in range(12))


def test_an_outcome_without_writes_says_so() -> None:
    assert "nothing was written" in outcome_shown("02", Outcome((), 0)).text()
    assert "in 2 writes" in outcome_shown("02", Outcome((row("a", Action.CREATE),), 2)).text()


def test_differences_stop_a_verification_but_are_a_result_of_a_plan() -> None:
    differing = Verification((row("a", Action.CREATE), row("b", Action.IN_PLACE)), (row("a", Action.CREATE),))
    assert "✗ differs" in verification_shown("02", differing, planning=False).text()
    planned = verification_shown("02", differing, planning=True)
    assert "not a failure" in planned.text() and list(planned.frame.Result) == ["not yet", "as expected"]
    fine = Verification((row("b", Action.IN_PLACE),))
    assert "as expected." in verification_shown("02", fine, planning=False).text()


def test_a_tick_stands_over_what_was_compared_only() -> None:
    nothing = plan_shown(Slice("06", ())), verification_shown("06", Verification(()), planning=False)
    for part in nothing:
        assert [box.tone for box in part.parts if isinstance(box, Box)] == ["info"]


def test_a_long_table_is_shown_whole() -> None:
    rows = [(f"+1202555{n:04}", "x" * 100) for n in range(200)]
    table = Table("Numbers", ("Number", "Answered by"), rows)
    assert Reader(table.html()).rows[1:] == [list(cells) for cells in rows]
    assert len(table.text(300).splitlines()) == 3 + len(rows)


@pytest.mark.parametrize("width", [20, 80, 200])
def test_text_is_as_wide_as_its_terminal_and_whole(width: int) -> None:
    words = "a sentence of words that has to be folded"
    table = row_table("Plan", [row(words, Action.CREATE, note=f"n {words}", desired="x" * 90)])
    lines = table.text(width).splitlines()
    assert max(map(len, lines)) <= max(width, 90)
    shown = "".join(lines)
    assert "…" not in shown and shown.count("x") == 90
    assert f"n{words}".replace(" ", "") in "".join(lines[-3:]).replace(" ", "")
    paper = io.StringIO()
    terminal = Console(file=paper, width=width, force_terminal=True, color_system=None)
    terminal.print(table, soft_wrap=True)
    assert paper.getvalue().rstrip("\n") == table.text(width)


def test_who_shows_a_table_does_not_load_pandas() -> None:
    code = (
        "import sys; from runbook_lib.notebook.tables import Table;"
        "Table('x', ('a',), [('b',)])._repr_mimebundle_(); print('pandas' in sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=CHECKOUT)
    assert ended.stdout == "False\n", ended.stderr


def test_an_empty_view_says_that_nothing_is_there() -> None:
    view = View("Lists on the trunk", ("Kind", "Name"), ())
    assert "nothing yet" in view_table(view).text()
    assert Reader(view_table(view).html()).rows[1] == ["nothing yet"]


def test_two_tables_on_a_page_have_no_ids_and_no_style_sheet() -> None:
    html = row_table("Plan", [row("a", Action.CREATE)]).html()
    assert " id=" not in html and "<style" not in html and "class=" not in html


def test_the_bundle_for_jupyter_has_html_markdown_and_text() -> None:
    table = Table("Caption", ("Name",), [("a",)])
    forms = {"text/plain": table.text(), "text/markdown": table.markdown(), "text/html": table.html()}
    assert table._repr_mimebundle_() == forms


@pytest.mark.parametrize(("notes", "columns"), [(("", ""), 1), (("", "because"), 2)])
def test_markdown_has_notes_if_there_are_any(notes: tuple[str, ...], columns: int) -> None:
    lines = Table("Plan", ("Setting", "Note"), [("a", note) for note in notes]).markdown().splitlines()
    assert [line.count(" | ") + 1 for line in lines[2:]] == [columns] * 4


def test_markdown_keeps_dates_and_numbers_legible() -> None:
    shown = Table("Read 2026-11-23 (UTC)", ("When",), [("2026-11-23 10:00:05 (UTC), +1 202",)]).markdown()
    assert "\\" not in shown


def test_markdown_is_a_table_in_which_nothing_acts() -> None:
    hostile = "a|b <img src=x> [link](http://evil) `code` *bold*\n# heading"
    lines = Table("Cap|tion", ("Name", "Other"), [(hostile, None)]).markdown().splitlines()
    assert lines[0] == r"**Cap\|tion**" and lines[3] == "| --- | --- |" and len(lines) == 5
    assert not re.search(r"(?<!\\)[\[\]`*#]|<", lines[4]) and len(re.findall(r"(?<!\\)\|", lines[4])) == 3
