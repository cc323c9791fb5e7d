"""Tables of plans, current state and results: complete, captioned, and inert whatever they hold."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from rich.cells import cell_len

from ..plan import CHANGING, STOPPING, Action, Effect, Row, Slice
from .display import SANS, Box, Shown, badge, escaped, heading, padded, visible, wrapped
from .spreadsheets import csv_text

if TYPE_CHECKING:
    import pandas as pd

    from ..sections import Outcome, Verification, View

ABSENT = "—"

#: Symbol and colour of each action; the word stands beside them, so no meaning rests on either.
ACTIONS = {
    Action.IN_PLACE: ("✓", "#57606a"),
    Action.CREATE: ("+", "#1a7f37"),
    Action.UPDATE: ("~", "#8a5a00"),
    Action.REPLACE: ("±", "#8a5a00"),
    Action.REMOVE: ("−", "#b3261e"),
    Action.UNREADABLE: ("?", "#57606a"),
    Action.BLOCKED: ("‖", "#6e40c9"),
    Action.CONFLICT: ("✗", "#cf222e"),
    Action.NOT_MANAGED: ("·", "#57606a"),
}
EFFECTS = {
    Effect.INTERRUPTS_OUTBOUND: ("⚠", "#b3261e"),
    Effect.INTERRUPTS_INBOUND: ("⚠", "#b3261e"),
    Effect.INTERRUPTS_BOTH: ("⚠", "#b3261e"),
}
AS_EXPECTED, DIFFERS, SHOWN_ONLY = "as expected", "differs", "not checked"
RESULTS = {AS_EXPECTED: ("✓", "#1a7f37"), DIFFERS: ("✗", "#cf222e"), SHOWN_ONLY: ("·", "#57606a")}

_MARKS: dict[str, dict[Any, tuple[str, str]]] = {"Action": ACTIONS, "Effect": EFFECTS, "Result": RESULTS}
_ANY = "text-align:left;vertical-align:top;padding:3px 10px 3px 0"
_CELL = f"{_ANY};max-width:34em;overflow-wrap:anywhere;white-space:normal"
_NARROW = f"{_ANY};white-space:nowrap"
_NARROW_COLUMNS = frozenset(
    {"Step", "Action", "Effect", "Result", "Priority", "Weight", "Enabled", "Port", "Protocol"}
)
_YES_NO_COLUMNS = frozenset({"Owned", "Voice"})
_COLUMN_WIDTH = 44
#: A word of up to this length is not broken; a longer one is, so that no table needs scrolling.
_LONGEST_WORD = 30
_BREAKS = re.compile(r"(?<=[;,])")


class Table(Shown):
    """Rows under column names, with a caption: as HTML, as text, and as a pandas frame.

    Parameters
    ----------
    caption
        What the table shows, one line.
    columns
        Column names. ``Action``, ``Effect`` and ``Result`` are shown as marks.
    rows
        Plain values, one sequence for each row; ``None`` is absent.
    empty
        What it says instead of rows when there are none.
    owner
        Whose it is, such as ``demo/acme``: shown before the caption.
    read
        When it was read: shown behind the caption.
    """

    def __init__(
        self,
        caption: str,
        columns: Sequence[str],
        rows: Iterable[Sequence[Any]],
        *,
        empty: str = "nothing",
        owner: str = "",
        read: str = "",
    ) -> None:
        self.caption = caption
        self.heading = heading(owner, caption, read)
        self.columns = tuple(columns)
        self.rows = tuple(tuple(row) for row in rows)
        self.empty = empty

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The rows as a pandas frame; values stay what the vendors sent: for a spreadsheet, take ``csv``."""
        import pandas as pd  # takes half a second, and most tables are only shown

        return pd.DataFrame(list(self.rows), columns=list(self.columns), dtype=object)

    def csv(self, path: Path | str) -> Path:
        """Write the table as CSV for spreadsheets (UTF-8 with a mark), without formulas; never overwrites."""
        return _write_csv(path, [self])

    def headed(self, owner: str, read: str = "") -> Self:
        """Return the same table with ``owner`` before its caption, and behind it when it was read."""
        return type(self)(self.caption, self.columns, self.rows, empty=self.empty, owner=owner, read=read)

    def plain(self, row: Sequence[Any]) -> list[str]:
        """Return a row's values as text, without marks."""
        return [_plain(value, name) for name, value in zip(self.columns, row, strict=True)]

    def html(self) -> str:
        head = "".join(
            f'<th scope="col" style="{_NARROW};font-weight:600;min-width:{width}ch">{escaped(name)}</th>'
            for name, width in zip(self.columns, self._word_widths(), strict=True)
        )
        styles = [_NARROW if name in _NARROW_COLUMNS else _CELL for name in self.columns]
        lines = [
            '<tr style="border-bottom:1px solid rgba(128,128,128,0.3)">'
            + "".join(
                f'<td style="{style}">{_html_value(name, value)}</td>'
                for name, style, value in zip(self.columns, styles, row, strict=True)
            )
            + "</tr>"
            for row in self.rows
        ]
        if not lines:
            nothing = (
                f'<td colspan="{len(self.columns)}" style="{_CELL};opacity:0.75">{escaped(self.empty)}</td>'
            )
            lines = [f"<tr>{nothing}</tr>"]
        return (
            f'<table style="{SANS};font-size:13px;line-height:1.4;border-collapse:collapse;margin:10px 0;'
            f'width:auto;min-width:32em"><caption style="caption-side:top;text-align:left;font-weight:600;'
            f'font-size:14px;padding:2px 0 6px;color:inherit;white-space:normal">'
            f"{escaped(self.heading)}</caption>"
            f'<thead><tr style="border-bottom:2px solid rgba(128,128,128,0.6)">{head}</tr></thead>'
            f"<tbody>{''.join(lines)}</tbody></table>"
        )

    def _word_widths(self) -> list[int]:
        """The length of each column's longest word that is not to be broken."""
        return [
            min(
                _LONGEST_WORD,
                max((cell_len(word) for row in self.rows for word in _words(name, row[index])), default=0),
            )
            for index, name in enumerate(self.columns)
        ]

    def text(self) -> str:
        heading = visible(self.heading)
        if not self.rows:
            return f"{heading}\n  {visible(self.empty)}"
        cells = [
            [_text_value(name, value) for name, value in zip(self.columns, row, strict=True)]
            for row in self.rows
        ]
        head = [visible(name) for name in self.columns]
        widths = [min(_COLUMN_WIDTH, max(map(cell_len, column))) for column in zip(head, *cells, strict=True)]
        rule = ["-" * width for width in widths]
        return "\n".join(
            [heading, *(line for row in (head, rule, *cells) for line in _text_lines(row, widths))]
        )


@dataclass(frozen=True, repr=False)
class Stack(Shown):
    """Several things below each other, tables among them."""

    parts: tuple[Shown, ...]

    @property
    def frames(self) -> dict[str, pd.DataFrame]:
        """The tables as pandas frames, by caption."""
        return {part.caption: part.frame for part in self.parts if isinstance(part, Table)}

    def csv(self, path: Path | str) -> Path:
        """Write the tables as CSV, below each other; see ``Table.csv``."""
        return _write_csv(path, [part for part in self.parts if isinstance(part, Table)])

    def headed(self, owner: str, read: str = "") -> Self:
        """Return the same parts, each with ``owner``, and when it was read, in its heading."""
        return replace(self, parts=tuple(part.headed(owner, read) for part in self.parts))

    def html(self) -> str:
        return "\n".join(part.html() for part in self.parts)

    def text(self) -> str:
        return "\n\n".join(part.text() for part in self.parts)


def view_table(view: View) -> Table:
    """Return a table of current state."""
    return Table(view.caption, view.columns, view.rows, empty="nothing there yet")


def row_table(caption: str, rows: Sequence[Row]) -> Table:
    """Return a table of a plan's rows; columns that would say nothing throughout are left out."""
    columns: dict[str, Callable[[Row], Any]] = {
        "Step": lambda row: row.step,
        "Setting": lambda row: row.setting,
        "Desired": lambda row: row.desired,
        "Current": lambda row: row.current,
        "Action": lambda row: row.action,
    }
    if rows and all(row.desired is None for row in rows):
        del columns["Desired"]  # nothing but removals
    if any(row.effect is not Effect.NONE for row in rows):
        columns["Effect"] = lambda row: row.effect
    if any(row.note for row in rows):
        columns["Note"] = lambda row: row.note
    return Table(caption, tuple(columns), [[value(row) for value in columns.values()] for row in rows])


def plan_shown(part: Slice, cautions: Sequence[str] = ()) -> Stack:
    """Return a section's plan with the sentence that sums it up, and what a person should look at."""
    table = row_table(f"Plan: {_counted(part.rows)}", part.rows)
    notices = [Box("caution", "Nothing to do, but look at this.", tuple(cautions))] if cautions else []
    return Stack((table, _verdict(part), *notices))


def outcome_shown(outcome: Outcome) -> Shown:
    """Return what ``apply`` did."""
    if not outcome.writes:
        return Box("good", "Everything was in place already: nothing was written.")
    writes = f"{outcome.writes} write" + ("s" if outcome.writes != 1 else "")
    return row_table(f"Carried out, in {writes}", outcome.rows)


def verification_shown(verification: Verification, *, planning: bool) -> Stack:
    """Return what reading back showed beside what the guide expects."""
    columns = ["Step", "Setting", "Expected", "Read back", "Result"]
    noted = any(row.note for row in verification.rows)
    rows = [
        [row.step, row.setting, row.desired, row.current, _result(row), *([row.note] if noted else [])]
        for row in verification.rows
    ]
    table = Table("Expected result, read back", [*columns, "Note"] if noted else columns, rows)
    count = len(verification.differences)
    if verification.ok:
        verdict = Box("good", "Everything reads back as expected.")
    elif planning:
        verdict = Box(
            "info",
            f"{_settings(count)} not yet as expected.",
            ("This run only plans, so that is a result and not a failure.",),
        )
    else:
        verdict = Box("stop", f"{_settings(count)} not as expected.")
    return Stack((table, verdict))


def _write_csv(path: Path | str, tables: Sequence[Table]) -> Path:
    with Path(path).open("x", encoding="utf-8-sig", newline="") as file:
        file.write(csv_text((one.heading, one.columns, map(one.plain, one.rows)) for one in tables))
    return Path(path)


def _verdict(part: Slice) -> Box:
    stopping, changing = part.stopping, part.changing
    if stopping:
        words = {Action.CONFLICT: "in conflict", Action.BLOCKED: "blocked"}
        kinds = " or ".join(
            word for kind, word in words.items() if any(row.action is kind for row in stopping)
        )
        return Box(
            "stop" if any(row.action is Action.CONFLICT for row in stopping) else "caution",
            f"{_rows(len(stopping))} {kinds}: apply would stop before its first write.",
            ("The note of each such row says how to settle it.",),
        )
    if not changing:
        return Box("good", "Nothing to change: everything is as the parameters ask.")
    interrupting = [row for row in changing if row.effect is not Effect.NONE]
    if interrupting:
        return Box(
            "caution",
            f"{_rows(len(changing))} to carry out, {len(interrupting)} of them can interrupt calls.",
            ("The parameters allow that (accept_interruption). Choose a quiet hour.",),
        )
    return Box("info", f"{_rows(len(changing))} to carry out; none interrupts calls.")


def _counted(rows: Sequence[Row]) -> str:
    counts = Counter(row.action for row in rows)
    order = (*(action for action in Action if action in CHANGING | STOPPING), Action.IN_PLACE)
    parts = [f"{counts[action]} {action}" for action in order if counts[action]]
    rest = sum(count for action, count in counts.items() if action not in order)
    return ", ".join([*parts, *([f"{rest} only shown"] if rest else [])]) or "no settings"


def _rows(count: int) -> str:
    return f"{count} row" if count == 1 else f"{count} rows"


def _settings(count: int) -> str:
    return "1 setting is" if count == 1 else f"{count} settings are"


def _result(row: Row) -> str:
    if row.action in CHANGING | STOPPING:
        return DIFFERS
    return AS_EXPECTED if row.action is Action.IN_PLACE else SHOWN_ONLY


def _mark(column: str, value: Any) -> tuple[str, str] | None:
    return _MARKS[column].get(value) if column in _MARKS and isinstance(value, str) else None


def _html_value(column: str, value: Any) -> str:
    mark = _mark(column, value)
    if mark:
        symbol, colour = mark
        return badge(f"{symbol} {value}", colour)
    if value is None:
        return '<span title="absent" style="opacity:0.6">—</span>'
    # A line may break after each element of a list, such as a DID pool.
    return "<wbr>".join(map(escaped, _BREAKS.split(_plain(value, column))))


def _words(column: str, value: Any) -> list[str]:
    return [word for part in _BREAKS.split(_plain(value, column)) for word in part.split()]


def _text_value(column: str, value: Any) -> str:
    mark = _mark(column, value)
    if mark:
        return f"{mark[0]} {value}"
    return ABSENT if value is None else visible(_plain(value, column))


def _plain(value: Any, column: str) -> str:
    if value is None:
        return ""
    if value is True or value is False:
        words = ("no", "yes") if column in _YES_NO_COLUMNS else ("off", "on")
        return words[value]
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(str(one) for one in value)
    if value == "" and column != "Note":
        return "(empty)"
    return "" if value is Effect.NONE else str(value)


def _text_lines(cells: Sequence[str], widths: Sequence[int]) -> list[str]:
    """One row as lines: a cell that is too long goes on below itself."""
    parts = [wrapped(cell, width) for cell, width in zip(cells, widths, strict=True)]
    levels = zip_longest(*parts, fillvalue="")
    return ["  ".join(map(padded, level, widths)).rstrip() for level in levels]
