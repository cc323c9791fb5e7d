"""The path of a call, in and out, hop by hop: where it stops, before and after a plan.

Values only, from the rows of a plan or of a record; nothing here reads a file or sends a request. It shows
what the settings say, as far as they were read: no call is made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from .keys import Why
from .plan import CHANGING, STOPPING, Action, Row


class Passage(StrEnum):
    """What happens to a call at a hop."""

    PASSES = "passes"
    DIFFERS = "differs"
    STOPS = "stops here"
    SOME_STOP = "some stop here"
    UNKNOWN = "not read"


@dataclass(frozen=True)
class Setting:
    """One row of a plan: its step, what it asks for, whether there is something today, and what is amiss."""

    step: str
    action: Action
    exists: bool
    why: str | None = None


@dataclass(frozen=True)
class Hop:
    """One hop on a call's path, with the reason for its state in a few words."""

    name: str
    steps: tuple[str, ...]
    passage: Passage
    why: str


@dataclass(frozen=True)
class CallPath:
    """The way of a call; ``is_inbound``: from the telephone network to an extension."""

    is_inbound: bool
    hops: tuple[Hop, ...]

    @property
    def stop(self) -> Hop | None:
        """The hop at which all calls stop, or else some; ``None`` if they are known to stop at none."""
        stops = [hop for hop in self.hops if hop.passage in (Passage.STOPS, Passage.SOME_STOP)]
        return next((hop for hop in stops if hop.passage is Passage.STOPS), next(iter(stops), None))


@dataclass(frozen=True)
class _Place:
    """A hop's name and steps, those without which there is nothing, and what that means.

    ``each`` is what a row of those is one of, where they are several of the same, such as numbers.
    """

    name: str
    steps: tuple[str, ...]
    made_by: tuple[str, ...]
    nothing: str
    each: str = ""


_IN = (
    _Place("Number", ("4.1",), ("4.1",), "does not point to one of our trunks", "number"),
    _Place("SIP trunk", ("1.1",), ("1.1",), "does not exist"),
    _Place("Origination", ("3.1", "3.2"), ("3.1", "3.2"), "no URI leads to the PBX", "URI"),
    _Place("PBX trunk", ("5.1", "5.2", "5.5"), ("5.1",), "does not exist"),
    _Place("Inbound rule", ("6.2",), ("6.2",), "does not exist"),
)
_OUT = (
    _Place("Outbound rule", ("6.1",), ("6.1",), "does not exist"),
    _Place("PBX trunk", ("5.1", "5.2", "5.5"), ("5.1",), "does not exist"),
    _Place("Termination", ("1.1", "2.1"), ("1.1",), "the trunk does not exist"),
    _Place("Address list", ("2.2",), ("2.2",), "the PBX is not on it"),
    _Place("Credentials", ("2.3", "5.3"), ("2.3",), "do not exist"),
)
_Look = Callable[[Sequence[Setting], _Place, bool], tuple[Passage, str]]
#: Each number has its own path: a call to one that is not on the trunk does not take that of another.
_NUMBERS = "4.1"
#: A number that something else answers, and the assignment of a trunk: a conflict there stops our calls.
_ELSEWHERE = frozenset({"4.1", "5.5"})


def settings_of(rows: Iterable[Row]) -> list[Setting]:
    """Return the rows of a plan, of any number of sections."""
    return [Setting(row.step, row.action, row.current is not None, row.why) for row in rows]


def settings_in_record(rows: Iterable[Mapping[str, Any]]) -> list[Setting]:
    """Return the rows that a record keeps (``before``, ``after``), whatever somebody made of them."""
    found = []
    for row in rows:
        try:
            exists, why = row.get("value") is not None, row.get("why")
            found.append(Setting(str(row["step"]), Action(row["action"]), exists, why))
        except (KeyError, ValueError):
            continue
    return found


def call_paths(settings: Sequence[Setting]) -> tuple[CallPath, CallPath]:
    """Return today's path of inbound and outbound calls."""
    return _path(True, _IN, settings, _today), _path(False, _OUT, settings, _today)


def planned_call_paths(settings: Sequence[Setting]) -> tuple[CallPath, CallPath]:
    """Return the paths of inbound and outbound calls as they would be after a plan."""
    return _path(True, _IN, settings, _planned), _path(False, _OUT, settings, _planned)


def _path(is_inbound: bool, places: Sequence[_Place], settings: Sequence[Setting], look: _Look) -> CallPath:
    read = {setting.step[0] for setting in settings}
    hops = []
    for place in places:
        rows = [row for row in settings if row.step in place.steps and row.action is not Action.NOT_MANAGED]
        passage, why = look(rows, place, place.steps[0][0] in read)
        silent = sum(row.step in place.steps and row.why == Why.RINGS_NOWHERE for row in settings)
        if silent and place.steps == ("6.2",):  # section 4 names the same numbers
            numbers = sum(row.step == _NUMBERS and _is_wanted(row) for row in settings)
            passage, why = _some(silent, numbers, "rings nowhere", "ring nowhere")
        hops.append(Hop(place.name, place.steps, passage, why))
    return CallPath(is_inbound, tuple(hops))


def _today(rows: Sequence[Setting], place: _Place, is_read: bool) -> tuple[Passage, str]:
    if not rows:
        # Rules are the only hop that a tenant's parameters may leave out.
        if is_read and place.steps[0][0] == "6":
            return Passage.STOPS, place.nothing
        return Passage.UNKNOWN, "was not read"
    wanted = [row for row in rows if _is_wanted(row)]
    stopping = sum(row.action is not Action.IN_PLACE for row in wanted)
    if _NUMBERS in place.steps and 0 < stopping < len(wanted):
        return _some(stopping, len(wanted), "stops here", "stop here")
    if any(row.action is Action.CONFLICT and row.step in _ELSEWHERE for row in rows):
        return Passage.STOPS, "something else answers it"
    # A shared trunk's own steps may be left out, too.
    made = [row for row in rows if row.step in place.made_by] or rows
    if not any(row.exists or row.action in (Action.IN_PLACE, Action.UNREADABLE) for row in made):
        return Passage.STOPS, place.nothing
    if any(row.action in CHANGING | STOPPING for row in rows):
        missing = sum(row.action is Action.CREATE and not row.exists for row in made)
        if place.each and missing:
            words = "is missing" if missing == 1 else "are missing"
            return Passage.DIFFERS, f"{missing} of {len(made)} {place.each}s {words}"
        return Passage.DIFFERS, "not as the parameters ask"
    return Passage.PASSES, "as the parameters ask"


def _planned(rows: Sequence[Setting], place: _Place, is_read: bool) -> tuple[Passage, str]:
    stopping = sum(row.action in STOPPING for row in rows)
    if stopping:
        passage, _ = _today(rows, place, is_read)
        numbers = sum(map(_is_wanted, rows))
        if _NUMBERS in place.steps and stopping < numbers:
            return _some(stopping, numbers, "stops here", "stop here")
        why = "in conflict: not applied" if any(row.action is Action.CONFLICT for row in rows) else "blocked"
        return (Passage.STOPS if passage is Passage.STOPS else Passage.DIFFERS), why
    kept = [row for row in rows if row.action is not Action.REMOVE]
    if kept:
        return Passage.PASSES, "as the parameters ask"
    return _today(kept, place, is_read)


def _is_wanted(row: Setting) -> bool:
    return row.action not in (Action.REMOVE, Action.NOT_MANAGED)


def _some(count: int, numbers: int, of_one: str, of_several: str) -> tuple[Passage, str]:
    """What happens to calls to this many of a tenant's numbers; how many it has may be unknown."""
    words = of_one if count == 1 else of_several
    if count < numbers:
        return Passage.SOME_STOP, f"{count} of {numbers} numbers {words}"
    return Passage.STOPS, f"{count} number{'' if count == 1 else 's'} {words}"
