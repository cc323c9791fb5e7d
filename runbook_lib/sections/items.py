"""What a section shows, wants and finds: views, items with their rows, what came of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..keys import ResourceKey, Why
from ..plan import Action, Effect, Row, Value


@dataclass(frozen=True)
class View:
    """A table of current state: caption, column names, rows of plain values."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]


@dataclass(frozen=True)
class Item:
    """Rows that belong together and the one write that carries them out (``None``: nothing to do).

    ``resource`` is the key of what is written, for the journal; ``before`` is the vendor's previous
    state (``None`` if new), which a rollback restores. ``repeatable`` means that reading cannot show
    whether the write was done and that repeating it does no harm (a password). ``passing_s`` is how
    long a conflict may take to resolve itself; see ``time_to_pass``. ``names`` are the vendor's names of
    the rows' settings, where each row is one.
    """

    rows: tuple[Row, ...]
    resource: ResourceKey | None = None
    write: Callable[[], Any] | None = None
    repeatable: bool = False
    before: Mapping[str, Any] | None = None
    passing_s: float = 0.0
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Field:
    """One setting of a resource: its desired and its current value (``None`` if absent).

    ``name`` is the vendor's. ``effect`` is what a change does to calls, ``step`` the guide's where it is
    not the resource's, ``sent`` what a write sends for it where that is not the value that is shown.
    """

    name: str
    label: str
    desired: Value
    current: Value
    effect: Effect = Effect.NONE
    note: str = ""
    step: str = ""
    sent: Mapping[str, Any] | None = None

    @property
    def change(self) -> Mapping[str, Any]:
        """The value that a write sends for it."""
        return {self.name: self.desired} if self.sent is None else self.sent


@dataclass(frozen=True)
class Outcome:
    """What ``apply`` did: the rows that it carried out and the number of writes that were sent."""

    rows: tuple[Row, ...]
    writes: int


@dataclass(frozen=True)
class Verification:
    """What was read back: all rows, and those that differ from the guide's expected result."""

    rows: tuple[Row, ...]
    differences: tuple[Row, ...] = field(default=())

    @property
    def ok(self) -> bool:
        """Whether everything is as the guide expects."""
        return not self.differences


def rings_nowhere(step: str, did: str) -> Row:
    """Return the row of a number whose calls nothing in the PBX takes; it stops nothing."""
    note = "no enabled inbound rule takes them, so callers hear an error: add the number to an inbound rule"
    why = Why.RINGS_NOWHERE
    return Row(step, f"calls to {did}", None, "ring nowhere", Action.NOT_MANAGED, note=note, why=why)


def rows_of(items: Iterable[Item]) -> tuple[Row, ...]:
    return tuple(row for item in items for row in item.rows)
