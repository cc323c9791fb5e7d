"""One word for each section of a tenant, from the rows of its plan; and what to do next, in one sentence.

Values only: nothing here reads a file or sends a request.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from .guide import RUN_ORDER, SECTIONS
from .keys import Why
from .plan import CHANGING, PASSWORD_AT_PBX, PASSWORD_AT_TWILIO, STOPPING, TO_LOOK_AT, Action, Row
from .words import counted

#: Rows of what nobody can read.
PASSWORDS = frozenset({PASSWORD_AT_PBX, PASSWORD_AT_TWILIO})


class State(StrEnum):
    """The state of a section of a tenant, the most urgent first."""

    UNREACHABLE = "unreachable"
    INVALID = "invalid"
    CONFLICT = "conflict"
    DIFFERS = "differs"
    TO_DO = "to do"
    RINGS_NOWHERE = "rings nowhere"
    CHECK = "check"
    IN_PLACE = "in place"
    NOT_ASKED = "not asked for"


@dataclass(frozen=True)
class SectionState:
    """The state of one section, and the reason in a few words, such as ``2 create, 1 in place``."""

    state: State
    details: str = ""


@dataclass(frozen=True)
class OwnerStates:
    """The states of the sections of one tenant, or of a shared trunk, by section."""

    name: str
    is_shared_trunk: bool
    sections: Mapping[str, SectionState]
    error: str = ""

    @property
    def most_urgent(self) -> State:
        """The most urgent state of all sections; of a tenant that is not set up yet, that it is to do."""
        order = list(State)
        states = {section.state for section in self.sections.values()}
        return min(states - {State.DIFFERS} if State.TO_DO in states else states, key=order.index)

    def first_section(self, state: State) -> str:
        """Return the first section in this state, in the order in which sections are run."""
        return next(number for number in RUN_ORDER if self._state(number) is state)

    def _state(self, number: str) -> State | None:
        section = self.sections.get(number)
        return None if section is None else section.state


def invalid_owner(name: str, error: str) -> OwnerStates:
    """Return the states of a tenant whose parameters are wrong, so that it cannot be read."""
    return OwnerStates(name, False, dict.fromkeys(RUN_ORDER, SectionState(State.INVALID)), error)


def differs(row: Row) -> bool:
    """Whether a row is not in place; a password that is written along with something else says nothing."""
    if row.field in PASSWORDS and row.current is not None and row.why in (None, Why.NO_LEAVE):
        return False
    return row.action in CHANGING | STOPPING


def section_state(rows: Sequence[Row]) -> SectionState:
    """Return the state of a section from the rows of its plan.

    A section in which nothing exists yet is to do; one with something that is not as asked for differs.
    What only needs permission, because it would interrupt calls, is not a conflict.
    """
    counts = Counter(str(row.action) for row in rows if row.why is not Why.NO_LEAVE)
    needs_permission = sum(row.why is Why.NO_LEAVE for row in rows)
    words = [f"{count} {action}" for action, count in counts.items()]
    words += [f"{needs_permission} need permission"] if needs_permission else []
    return SectionState(_state(rows), ", ".join(words))


def _state(rows: Sequence[Row]) -> State:
    if any(row.action in STOPPING and row.why is not Why.NO_LEAVE for row in rows):
        return State.CONFLICT
    open_rows = [row for row in rows if differs(row)]
    if any(row.current is not None or row.action is not Action.CREATE for row in open_rows):
        return State.DIFFERS
    if open_rows:
        is_new = not any(row.action is Action.IN_PLACE for row in rows)
        return State.TO_DO if is_new else State.DIFFERS
    if any(row.why is Why.RINGS_NOWHERE for row in rows):
        return State.RINGS_NOWHERE
    if any(row.why in TO_LOOK_AT for row in rows):
        return State.CHECK
    settled = any(row.action in (Action.IN_PLACE, Action.UNREADABLE) for row in rows)
    return State.IN_PLACE if settled else State.NOT_ASKED


def next_step(site: str, owners: Sequence[OwnerStates], killed: Sequence[str] = ()) -> str:
    """Return what to do next on a site, in one sentence.

    ``killed`` are the ids of runs whose process, one of this machine, ended without closing its record.
    """
    if killed:
        more = f" ({len(killed) - 1} more like it)" if len(killed) > 1 else ""
        return (
            f"Run {killed[0]} ended without closing its record: check what it left, then run: "
            f"runbook records close {killed[0]}{more}."
        )
    if not owners:
        return f"{site} has no tenants yet: write a parameter file for the first one."
    # A shared trunk comes before the tenants that use it.
    owner = min(owners, key=lambda owner: (_urgency(owner), not owner.is_shared_trunk))
    state = owner.most_urgent
    if state in (State.IN_PLACE, State.NOT_ASKED):
        return f"Nothing to do: everything is in place for all {len(owners)} rows."
    number = owner.first_section(state)
    others = sum(other.most_urgent is state for other in owners) - 1
    more = f" ({others} more like it)" if others else ""
    return f"{_to_do(state, owner.name, number, len(open_sections(owner)))}{more}."


def _urgency(owner: OwnerStates) -> float:
    """How soon somebody should look, the smaller the sooner.

    A tenant whose most urgent state is that numbers ring nowhere is set up: its callers hear an error now.
    """
    order = list(State)
    if owner.most_urgent is State.RINGS_NOWHERE:
        return order.index(State.TO_DO) - 0.5
    return order.index(owner.most_urgent)


def open_sections(owner: OwnerStates) -> list[str]:
    """Return the sections of a tenant with something to apply or to resolve, in the order of the run."""
    is_open = {State.CONFLICT, State.DIFFERS, State.TO_DO}
    return [number for number in RUN_ORDER if owner._state(number) in is_open]


def _to_do(state: State, name: str, number: str, count: int) -> str:
    section = f"section {number} ({SECTIONS[number].title})"
    if state is State.UNREACHABLE:
        return f"{name} could not be read: hover over its row for the reason, then press Refresh"
    if state is State.INVALID:
        return f"Correct the parameters of {name}, then press Refresh"
    if state is State.CONFLICT:
        return f"Resolve what is in conflict for {name}: open its {section}"
    if state is State.DIFFERS:
        return f"Look at what differs for {name}: open its {section}"
    if state is State.TO_DO:
        return f"Set up {name}: {counted(count, 'section is', 'sections are')} to do; open {name}"
    if state is State.RINGS_NOWHERE:
        return f"Give {name} an inbound rule for each number, as some ring nowhere: open its {section}"
    return f"Check {name}: its {section} has something to look at"
