"""Tables of plans, current state and results: pandas frames, shown in full, captioned, and inert."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from ..guide import NAMED, RUN_ORDER, STEPS
from ..keys import Why
from ..plan import CHANGING, STOPPING, TO_LOOK_AT, Action, Effect, Row, Slice
from ..states import State
from ..words import counted
from .display import Box, Shown, badge, broken, escaped, heading, marked_down, visible
from .spreadsheets import csv_text
from .styled import NO_TERMINAL, html_table, text_table, whole_columns

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console, ConsoleOptions
    from rich.text import Text

    from ..records.first_block import FirstBlock
    from ..sections import Outcome, Verification, View

ABSENT = "—"

#: Symbol and colour of each action; the word is shown as well, so the meaning depends on neither.
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
AS_EXPECTED, DIFFERS, NOT_YET, SHOWN_ONLY = "as expected", "differs", "not yet", "not checked"
RESULTS = {
    AS_EXPECTED: ("✓", "#1a7f37"),
    DIFFERS: ("✗", "#cf222e"),
    NOT_YET: ("·", "#57606a"),
    SHOWN_ONLY: ("·", "#57606a"),
}

#: The states of a section in the home page's table, as above.
STATES = {
    State.UNREACHABLE: ("⊘", "#cf222e"),
    State.INVALID: ("⊘", "#cf222e"),
    State.CONFLICT: ("✗", "#cf222e"),
    State.DIFFERS: ("≠", "#8a5a00"),
    State.TO_DO: ("+", "#1f5f99"),
    State.RINGS_NOWHERE: ("!", "#8a5a00"),
    State.CHECK: ("!", "#8a5a00"),
    State.IN_PLACE: ("✓", "#1a7f37"),
    State.NOT_ASKED: ("·", "#57606a"),
}

#: What a row says in place of its action, for a reason that has its own words: symbol and colour as above.
REASONS = {
    Why.NO_LEAVE: ("needs permission", ("⚠", "#8a5a00")),
    Why.RINGS_NOWHERE: ("rings nowhere", ("!", "#8a5a00")),
    Why.NO_EMERGENCY_ADDRESS: ("no emergency address", ("!", "#8a5a00")),
}
_OF_REASONS = dict(REASONS.values())

#: On a page, an action and its effect share a column.
_BOTH = "Action, effect"
_MARKS: dict[str, Mapping[Any, tuple[str, str]]] = {
    "Action": {**ACTIONS, **_OF_REASONS},
    "Effect": EFFECTS,
    "Result": {**RESULTS, **_OF_REASONS},
    **dict.fromkeys(("State", *RUN_ORDER), STATES),
}
_MARKS[_BOTH] = {}
_YES_NO_COLUMNS = frozenset({"Owned", "Voice"})
NOTE = "Note"
#: How many columns fit in the narrowest page; the others are a line below their row.
MOST_COLUMNS, FURTHER = 7, "Further columns"


@dataclass(frozen=True)
class Link:
    """A value of a table that leads somewhere: the words, and the address, if it can be reached from here."""

    words: str
    target: str | None

    def __str__(self) -> str:
        return self.words


class Table(Shown):
    """Rows under column names, with a caption: a pandas frame, and what it looks like.

    Parameters
    ----------
    caption
        What the table shows, one line.
    columns
        Column names. ``Action``, ``Effect`` and ``Result`` are shown as marks, ``Note`` below its row.
    rows
        Plain values, one sequence for each row; ``None`` is absent.
    empty
        What it says instead of rows when there are none.
    owner
        Whose it is, such as ``demo/acme``: shown before the caption.
    read
        When it was read: shown behind the caption.
    hidden
        Columns that are in the frame and are not shown.
    """

    #: How many columns are side by side at most; the others are a line below their row.
    most_columns: ClassVar[int] = MOST_COLUMNS
    #: … and how many are, even where a word has to be broken for it.
    fewest_columns: ClassVar[int] = 5

    def __init__(
        self,
        caption: str,
        columns: Sequence[str],
        rows: Iterable[Sequence[Any]],
        *,
        empty: str = "nothing",
        owner: str = "",
        read: str = "",
        hidden: Iterable[str] = (),
    ) -> None:
        self.caption = caption
        self.heading = heading(owner, caption, read)
        self.columns = tuple(columns)
        self.rows = tuple(tuple(row) for row in rows)
        self.empty = empty
        self.hidden = frozenset(hidden)

    @property
    def frame(self) -> pd.DataFrame:
        """The rows as a new pandas frame, with the vendors' raw values; use ``csv`` for a spreadsheet."""
        import pandas as pd  # takes half a second, and only who computes with a table needs it

        return pd.DataFrame(list(self.rows), columns=list(self.columns), dtype=object)

    def csv(self, path: Path | str) -> Path:
        """Write the table as CSV for spreadsheets (UTF-8 with a mark), without formulas; never overwrites."""
        return _write_csv(path, [self])

    def headed(self, owner: str, read: str = "") -> Self:
        """Return the same table with ``owner`` before its caption, and behind it when it was read."""
        return type(self)(
            self.caption,
            self.columns,
            self.rows,
            empty=self.empty,
            owner=owner,
            read=read,
            hidden=self.hidden,
        )

    def plain(self, row: Sequence[Any]) -> list[str]:
        """Return a row's values as text, without marks."""
        return [_plain(value, name) for name, value in zip(self.columns, row, strict=True)]

    def html(self) -> str:
        columns: dict[str, Sequence[Any]] = {
            name: [row[place] for row in self.rows]
            for place, name in enumerate(self.columns)
            if name not in self.hidden
        }
        if {"Action", "Effect"} <= {*columns}:  # below its action: a page has no room for both
            columns["Action"] = [*zip(columns["Action"], columns.pop("Effect"), strict=True)]
            columns = {_BOTH if name == "Action" else name: values for name, values in columns.items()}
        texts = {
            name: [name, *(_text_value(name, value) for value in values)] for name, values in columns.items()
        }
        if further := self._without_room(texts):
            rows = zip(*(texts.pop(name)[1:] for name in further), strict=True)
            named = [" · ".join(map(": ".join, zip(further, row, strict=True))) for row in rows]
            texts[FURTHER] = [FURTHER, *named]
            columns = {name: values for name, values in columns.items() if name in texts} | {FURTHER: named}
        return html_table(
            columns,
            _html_value,
            texts,
            caption=self.heading,
            empty=self.empty,
            lines=[FURTHER, NOTE],
            marks=_MARKS,
        )

    def _without_room(self, texts: Mapping[str, Sequence[str]]) -> list[str]:
        """The columns that have no room beside the others."""
        seen = [name for name in texts if name != NOTE]
        beside = [texts[name] for name in seen[: self.most_columns]]
        return seen[whole_columns(beside, [name in _MARKS for name in seen], self.fewest_columns) :]

    def markdown(self) -> str:
        title = f"**{marked_down(self.heading)}**"
        if not self.rows:
            return f"{title}\n\n{marked_down(self.empty)}"
        seen = [(index, name) for index, name in enumerate(self.columns) if name not in self.hidden]
        # A column of notes, each of which may say nothing, is not there if none says anything.
        seen = [(index, name) for index, name in seen if name != NOTE or any(row[index] for row in self.rows)]
        head = [[marked_down(name) for _, name in seen], ["---"] * len(seen)]
        body = [[marked_down(_text_value(name, row[index])) for index, name in seen] for row in self.rows]
        return "\n".join([title, "", *(f"| {' | '.join(cells)} |" for cells in [*head, *body])])

    def text(self, width: int = NO_TERMINAL) -> str:
        """Return the table as text, in lines of ``width`` characters as far as its words fit into them."""
        title = visible(self.heading)
        if not self.rows:
            return f"{title}\n  {visible(self.empty)}"
        shown = [index for index, name in enumerate(self.columns) if name != NOTE and name not in self.hidden]
        cells = [[_text_value(self.columns[index], row[index]) for index in shown] for row in self.rows]
        note = self.columns.index(NOTE) if NOTE in self.columns else None
        notes = ["" if note is None else visible(_plain(row[note], NOTE)) for row in self.rows]
        columns = [visible(self.columns[index]) for index in shown]
        return "\n".join([title, *text_table(columns, cells, notes, width)])

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        """What rich prints: as wide as the terminal, and wider where there is none."""
        from rich.text import Text

        width = options.max_width if console.is_terminal else max(options.max_width, NO_TERMINAL)
        yield Text(self.text(width))


@dataclass(frozen=True, repr=False)
class Stack(Shown):
    """Several things below each other; its tables are available as frames, by caption.

    ``state["Origination URIs"]`` is the table whose caption begins so.
    """

    parts: tuple[Shown, ...]

    def __getitem__(self, caption: str) -> pd.DataFrame:
        """Return a table as a pandas frame; ``KeyError`` unless one caption alone is or begins so."""
        exact = [table for table in self.tables if table.caption == caption]
        found = exact or [table for table in self.tables if table.caption.startswith(caption)]
        if len(found) != 1:
            names = "; ".join(visible(name) for name in self)
            raise KeyError(
                f"{'several tables begin' if found else 'no table begins'} like this. The tables are: {names}"
            )
        return found[0].frame

    def __iter__(self) -> Iterator[str]:
        return (table.caption for table in self.tables)

    @property
    def tables(self) -> list[Table]:
        """The tables among the parts, in order."""
        return [part for part in self.parts if isinstance(part, Table)]

    @property
    def frame(self) -> pd.DataFrame:
        """The first table as a pandas frame: of a plan or a verification, its rows."""
        return self.tables[0].frame

    def csv(self, path: Path | str) -> Path:
        """Write the tables as CSV, below each other; see ``Table.csv``."""
        return _write_csv(path, self.tables)

    def headed(self, owner: str, read: str = "") -> Self:
        """Return the same parts, each with ``owner``, and when it was read, in its heading."""
        return replace(self, parts=tuple(part.headed(owner, read) for part in self.parts))

    def html(self) -> str:
        return "\n".join(part.html() for part in self.parts)

    def markdown(self) -> str:
        return "\n\n".join(part.markdown() for part in self.parts)

    def text(self) -> str:
        return "\n\n".join(part.text() for part in self.parts)


def view_table(view: View) -> Table:
    """Return a table of current state."""
    return Table(view.caption, view.columns, view.rows, empty="nothing yet")


#: The columns of a plan's table. An action and its effect are read first.
_PLAN: Mapping[str, Callable[[Row], Any]] = {
    "Step": lambda row: row.step,
    "Action": lambda row: _action(row),
    "Effect": lambda row: str(row.effect),
    "Setting": lambda row: row.setting,
    "Desired": lambda row: row.desired,
    "Current": lambda row: row.current,
    NOTE: lambda row: row.note,
}


def row_table(
    caption: str, rows: Sequence[Row], *, empty: str = "nothing", hidden: Iterable[str] = ()
) -> Table:
    """Return a table of a plan's rows; columns without any information are not shown."""
    hidden = {*hidden}
    if rows and all(row.desired is None for row in rows):
        hidden.add("Desired")  # nothing but removals
    if all(row.effect is Effect.NONE for row in rows):
        hidden.add("Effect")
    values = [[value(row) for value in _PLAN.values()] for row in rows]
    return Table(caption, tuple(_PLAN), values, empty=empty, hidden=hidden)


def step_table(step: str, rows: Sequence[Row]) -> Table:
    """Return what one step of the guide sets, desired beside current; or the rows that it waits for."""
    title = f"{step} {STEPS[step]}"
    if any(row.step != step for row in rows):
        return row_table(f"{title}: to resolve first", rows)
    rows = sorted(rows, key=lambda row: row.setting not in NAMED)
    return row_table(title, rows, empty="the parameters ask for nothing here", hidden=["Step"])


def rows_in_order(section: str, rows: Sequence[Row]) -> Sequence[Row]:
    """Return a section's rows in the order of the guide's steps, in each what the guide names first.

    Those of the way back are in the order of its writes.
    """
    if section not in RUN_ORDER:
        return rows
    places = {step: place for place, step in enumerate(STEPS)}
    return sorted(rows, key=lambda row: (places.get(row.step, len(places)), row.setting not in NAMED))


def plan_shown(part: Slice, cautions: Sequence[str] = ()) -> Stack:
    """Return a section's plan with the sentence that sums it up, and what a person should look at."""
    table = row_table(f"Plan: {_counted(part.rows)}", rows_in_order(part.section, part.rows))
    return Stack((table, verdict(part), *to_check(cautions)))


def to_check(cautions: Sequence[str]) -> list[Box]:
    """Return what a person should look at as well, as a box; none for nothing."""
    return [Box("caution", "Check this, too. It does not stop the run.", tuple(cautions))] if cautions else []


def outcome_shown(section: str, outcome: Outcome) -> Stack:
    """Return what ``apply`` did."""
    if not outcome.writes:
        return Stack((Box("info", "Nothing to change: nothing was written."),))
    # A write sends the whole resource; settings that were already in place were not carried out.
    rows = [row for row in outcome.rows if row.action in CHANGING]
    return Stack(
        (row_table(f"Carried out, in {counted(outcome.writes, 'write')}", rows_in_order(section, rows)),)
    )


class _Changed(Table):
    """What changed, on the page of a record, which has room for all of it."""

    fewest_columns = MOST_COLUMNS


def first_block_shown(block: FirstBlock) -> Stack:
    """Return what a record says first: its sentence, and the table of what changed."""
    table = _Changed("What changed", block.columns, block.cells)
    return Stack((Box("info", block.sentence), *([table] if block.rows else [])))


def verification_shown(section: str, verification: Verification, *, planning: bool) -> Stack:
    """Return what was read back, compared with the guide's expected result."""
    table = verification_table("Expected result, read back", section, verification, planning=planning)
    return Stack((table, verification_verdict(verification, planning=planning)))


def verification_table(caption: str, section: str, verification: Verification, *, planning: bool) -> Table:
    """Return the table of what was read back in a section, compared with what is expected."""
    columns = ["Step", "Result", "Setting", "Expected", "Read back", NOTE]
    rows = [
        [row.step, _result(row, planning), row.setting, row.desired, row.current, row.note]
        for row in rows_in_order(section, verification.rows)
    ]
    return Table(caption, columns, rows)


def verification_verdict(verification: Verification, *, planning: bool) -> Box:
    """Return what a verification amounts to, in one sentence."""
    count = len(verification.differences)
    if verification.ok and not verification.rows:
        return Box("info", "There is nothing to compare: the parameters ask for nothing here.")
    if verification.ok and (silent := count_to_look_at(verification.rows)):
        return Box("caution", f"Everything that was asked for reads back as expected, but {silent}.")
    if verification.ok:
        return Box("good", "Everything reads back as expected.")
    if planning:
        reason = "This run only plans, so this is not a failure."
        return Box("info", f"{counted(count, 'setting is', 'settings are')} not yet as expected.", (reason,))
    return Box("stop", f"{counted(count, 'setting is', 'settings are')} not as expected.")


def _action(row: Row) -> str:
    """A row's action as it is shown, such as *needs permission* rather than *conflict*."""
    return REASONS[row.why][0] if row.why in REASONS else str(row.action)


def _write_csv(path: Path | str, tables: Sequence[Table]) -> Path:
    with Path(path).open("x", encoding="utf-8-sig", newline="") as file:
        file.write(csv_text((table.heading, table.columns, map(table.plain, table.rows)) for table in tables))
    return Path(path)


def verdict(part: Slice) -> Box:
    """Return what a plan amounts to, in one sentence."""
    stopping, changing = part.stopping, part.changing
    if stopping and all(row.why is Why.NO_LEAVE for row in stopping):
        return Box(
            "caution",
            f"{counted(len(stopping), 'row')} would interrupt calls: apply needs your permission.",
            ("Allow it in the apply form, or with accept_interruption in the parameters.",),
        )
    if stopping:
        words = {Action.CONFLICT: "in conflict", Action.BLOCKED: "blocked"}
        kinds = " or ".join(
            word for kind, word in words.items() if any(row.action is kind for row in stopping)
        )
        return Box(
            "stop" if any(row.action is Action.CONFLICT for row in stopping) else "caution",
            f"{counted(len(stopping), 'row')} {kinds}: apply would stop before its first write.",
            ("The note of each such row says how to resolve it.",),
        )
    if not part.rows:
        return Box("info", "There is nothing to compare: the parameters ask for nothing here.")
    if not changing and (silent := count_to_look_at(part.rows)):
        return Box("caution", f"Nothing to change, but {silent}.")
    if not changing:
        return Box("good", "Nothing to change: everything matches the parameters.")
    interrupting = [row for row in changing if row.effect is not Effect.NONE]
    if interrupting:
        return Box(
            "caution",
            f"{counted(len(changing), 'row')} to apply; {len(interrupting)} can interrupt calls.",
            ("The parameters allow that (accept_interruption). Apply at a quiet hour.",),
        )
    return Box("info", f"{counted(len(changing), 'row')} to apply; none interrupts calls.")


def count_to_look_at(rows: Sequence[Row]) -> str:
    """Count what somebody should check although nothing has to be done; empty for nothing."""
    counts = Counter(REASONS[row.why][0] for row in rows if row.why in TO_LOOK_AT)
    return ", ".join(f"{counted(count, 'row')}: {words}" for words, count in counts.items())


def _counted(rows: Sequence[Row]) -> str:
    counts = Counter(_action(row) if row.why in REASONS else row.action for row in rows)
    order = (
        *(action for action in Action if action in CHANGING | STOPPING),
        *(words for words, _ in REASONS.values()),
        Action.IN_PLACE,
    )
    parts = [f"{counts[action]} {action}" for action in order if counts[action]]
    rest = sum(count for action, count in counts.items() if action not in order)
    return ", ".join([*parts, *([f"{rest} only shown"] if rest else [])]) or "no settings"


def _result(row: Row, planning: bool) -> str:
    if row.why in TO_LOOK_AT:
        return _action(row)
    if row.action in CHANGING | STOPPING:
        return NOT_YET if planning else DIFFERS
    return AS_EXPECTED if row.action is Action.IN_PLACE else SHOWN_ONLY


def _marked(column: str, value: Any) -> tuple[tuple[str, str, str], ...]:
    """Symbol, word and colour of each mark for a value; empty for a value without marks."""
    if column == _BOTH:
        return (*_marked("Action", value[0]), *_marked("Effect", value[1]))
    mark = _MARKS[column].get(value) if column in _MARKS and isinstance(value, str) else None
    return ((mark[0], str(value), mark[1]),) if mark else ()


def _html_value(column: str, value: Any, longest: int) -> str:
    if marks := _marked(column, value):
        return " ".join(badge(f"{symbol} {word}", colour) for symbol, word, colour in marks)
    if value is None:
        return f'<span title="absent" style="opacity:0.6">{ABSENT}</span>'
    words = broken(_plain(value, column), longest)
    if isinstance(value, Link) and value.target is not None:
        return f'<a href="{escaped(value.target)}">{words}</a>'
    return words


def _text_value(column: str, value: Any) -> str:
    if marks := _marked(column, value):
        return ", ".join(f"{symbol} {word}" for symbol, word, _ in marks)
    return ABSENT if value is None else visible(_plain(value, column))


def _plain(value: Any, column: str) -> str:
    """A value in words. Only a note may say nothing: of a blank cell nobody knows what it means."""
    if column == NOTE and not value:
        return ""
    if value is None:
        return "absent"
    if value is True or value is False:
        words = ("no", "yes") if column in _YES_NO_COLUMNS else ("off", "on")
        return words[value]
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(map(str, value)) or "none"
    return "(empty)" if value == "" else str(value)
