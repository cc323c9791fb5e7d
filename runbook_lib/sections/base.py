"""What every section is: look, plan, apply exactly that, verify.

A section declares what it needs, how its facts are read (``look``), what it wants (``wanted``) and
what it shows (``views``). Only ``look`` and the write of an item send anything.

Planning is read-only, and applying carries out what planning produced: an item of a plan has its rows and
the one write that carries them out, so a dry run is not a second implementation.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

from ..errors import ConflictError, OutcomeUnknownError, StalePlanError, VendorError
from ..guide import SECTIONS
from ..keys import ResourceKey, Why
from ..meaning import meaning
from ..plan import CHANGING, SETTLED, STOPPING, Action, Effect, Row, Slice, Value, deviations
from ..records.journal import CLOCKS
from ..resources.written import keep_what_was_made
from ..vendors.twilio import as_read
from .guards import compared_with_records, describe_stop, kept_shared, needs_permission, what_was_approved
from .items import Field, Item, Outcome, Verification, View, rows_of

if TYPE_CHECKING:
    from ..context import Context

#: Reads may lag behind writes by some seconds (observed for Twilio's trunk associations; clients
#: in public use poll for 5 s), so reading back polls until this deadline.
SETTLE_S = 12.0
POLL_S = 0.4
ROUNDS = 3
#: How long another run, of another records folder and so without a common lock, may need to finish a
#: pair of passwords that it has begun: it makes the origination URIs between the two.
PAIR_S = 60.0
#: How long a write without an answer may still be carried out after it was sent again.
LATE_S = 30.0
#: Pause between two readings during a long wait.
SLOW_POLL_S = 2.0


#: Nothing that the API key can read shows which account it belongs to.
ACCOUNT_NOT_PROVEN = (
    "account not proven: there is no trunk yet, and the API key cannot read accounts;"
    " if Twilio's answer to the first write names another account, the run stops there"
)


class _OvertakenError(Exception):
    """A write was refused because the state has changed since the plan was made: plan again."""

    def __init__(self, refusal: VendorError) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal


#: What a section goes by, as one frozen value; each section has its own kind.
FactsT = TypeVar("FactsT")


class Section(ABC, Generic[FactsT]):
    """One section of the guide for one tenant.

    Parameters
    ----------
    context
        The run: parameters, clients, journal.
    ahead
        Numbers of sections that are treated as applied, to plan a whole tenant before anything exists.
    """

    number: str
    #: What was read last.
    facts: FactsT

    def __init__(self, context: Context, ahead: frozenset[str] = frozenset()) -> None:
        self.context = context
        self.ahead = ahead
        self.reading_back = False
        #: Until then (monotonic) reading back waits for a write that was sent twice to be carried out twice.
        self._late_until = 0.0

    @property
    def title(self) -> str:
        """The section's title in the guide."""
        return SECTIONS[self.number].title

    def read(self) -> None:
        """Read the current state from the vendors, as ``facts``; sends no write."""
        self.facts = self.look()
        self.context.account_is_proven()  # asked now, because later steps send nothing

    def look(self) -> FactsT:
        """Read and return all that the section goes by; sends no write.

        Views, items and expected results are functions of it, of the parameters and of the journals.
        """
        raise NotImplementedError(f"section {self.number} overrides read()")

    def read_for_tables(self) -> None:
        """Add to the facts what only the tables show; most sections show what they go by."""

    @abstractmethod
    def views(self) -> list[View]:
        """Return the current state, as read, for people."""

    @abstractmethod
    def wanted(self) -> list[Item]:
        """Return what turns the current state, as read, into the desired one, in order."""

    def items(self) -> list[Item]:
        """Return the section's items."""
        return self.wanted()

    def cautions(self) -> list[str]:
        """Return what a person should check in the state as read, although nothing has to be done."""
        return []

    def expected(self) -> list[Row]:
        """Return the guide's expected results as rows, from the state as read."""
        return []

    def new_reading(self) -> None:
        """Read the current state in a new moment: no earlier answer is used."""
        self.context.moment.begin()
        self.read()

    def plan(self) -> Slice:
        """Read, and return the section's slice of the plan."""
        self.read()
        return self.planned()

    def planned(self) -> Slice:
        """Return the section's slice of the plan, from the state as read."""
        return Slice(self.number, (*self._cautions(), *rows_of(self.guarded_items())))

    def to_write(self) -> list[ResourceKey]:
        """Return what would be written, from the state as read, in order."""
        items = self.guarded_items()
        return [item.resource for item in items if item.write is not None and item.resource is not None]

    def apply(self, approved: Slice | None = None, *, as_read: bool = False) -> Outcome:
        """Carry out the plan, one write at a time.

        ``as_read`` means that the state was read for this, under the lock, so the first round uses it.
        Raises ``ConflictError`` or ``StalePlanError`` before the first write. After a write whose
        outcome is unknown, reads until it shows or the vendors' lag is over, and continues from there.
        After a write that was refused because somebody else was first, plans again.
        """
        before = self.context.journal.writes
        done: dict[tuple[str, str], Row] = {}
        for remaining in reversed(range(ROUNDS)):
            items = self._settled_items(as_read=as_read and remaining == ROUNDS - 1)
            self.context.account_is_proven()
            self._check(rows_of(items), approved, written=self.context.journal.writes > before)
            try:
                for item in items:
                    if item.write is None:
                        continue
                    assert item.resource is not None, "a write without its resource"
                    with self.context.journal.writing(self.number, item.resource, item.rows, item.before):
                        self._carry_out(item)
                    done.update((row.key, row) for row in item.rows)
                return Outcome(tuple(done.values()), self.context.journal.writes - before)
            except OutcomeUnknownError:
                if not remaining:
                    raise
                if self._settles(item):
                    with at_step(item.rows[0].step):
                        keep_what_was_made(self.context)
                    done.update((row.key, row) for row in item.rows)
                elif any(row.action is Action.CREATE for row in item.rows):
                    self._late_until = time.monotonic() + LATE_S
            except _OvertakenError as overtaken:
                if not remaining:
                    raise overtaken.refusal from None
        raise AssertionError("the last round either returns or raises")

    def verify(self, *, wait: bool) -> Verification:
        """Read back and compare with what the guide expects.

        ``wait`` reads again until it is as expected or the vendors' lag is over: after writes. After a
        write that was sent twice, keeps reading for as long as the first one may still take effect.
        """
        deadline = time.monotonic() + (SETTLE_S if wait else 0)
        self.reading_back = True
        self.read()
        while True:
            rows = (*rows_of(self.items()), *self.expected())
            differences = tuple(row for row in rows if row.action in CHANGING | STOPPING)
            now = time.monotonic()
            if now > deadline if differences else now >= self._late_until:
                return Verification(rows, differences)
            time.sleep(POLL_S if differences else SLOW_POLL_S)
            self.new_reading()

    def row(
        self,
        step: str,
        setting: str,
        desired: Value,
        current: Value,
        *,
        effect: Effect = Effect.NONE,
        note: str = "",
        field: str = "",
    ) -> Row:
        """Return a row whose action follows from desired and current; ``effect`` counts if it changes.

        ``field`` is the vendor's name of the setting: a value with the same meaning counts as in place, and
        is shown as the vendor spells it.
        """
        if meaning(field, desired) == meaning(field, current):
            return Row(step, setting, desired, current, Action.IN_PLACE, note=note)
        action = Action.CREATE if current is None else Action.REMOVE if desired is None else Action.UPDATE
        return Row(step, setting, desired, current, action, effect, note)

    def compared(self, step: str, settings: Iterable[Field]) -> dict[str, Row]:
        """Return the row of each setting of a resource, by the vendor's name of it."""
        return {
            setting.name: self.row(
                setting.step or step,
                setting.label,
                setting.desired,
                setting.current,
                effect=setting.effect,
                note=setting.note,
                field=setting.name,
            )
            for setting in settings
        }

    def item(
        self,
        step: str,
        key: ResourceKey,
        settings: Collection[Field],
        write: Callable[[dict[str, Any]], Any],
        before: Mapping[str, Any] | None = None,
    ) -> Item:
        """Return the item of one resource: a row for each setting, and one write for those that differ.

        ``write`` creates or corrects the resource: it is called with the changes under the vendor's names.
        ``before`` is the resource as it was read, ``None`` for one to create.
        """
        rows = self.compared(step, settings)
        changes: dict[str, Any] = {}
        for setting in settings:
            if rows[setting.name].action is not Action.IN_PLACE:
                changes |= setting.change
        if not changes:
            return Item(tuple(rows.values()), key)
        write_changes = partial(write, changes)
        return Item(tuple(rows.values()), key, write_changes, before=before, names=tuple(rows))

    def leftover(self, step: str, setting: str, current: Value) -> Item:
        """Return the row of something that the parameters do not name and the runbook did not create."""
        note = "not in this site's records; left alone"
        row = Row(step, setting, None, current, Action.NOT_MANAGED, note=note, why=Why.NOT_OURS)
        return Item((row,))

    def removal(
        self,
        step: str,
        setting: str,
        current: Value,
        key: ResourceKey,
        live: Any,
        effect: Effect,
    ) -> Item:
        """Return the item that removes what the runbook created and the parameters no longer ask for."""
        row = self.row(step, setting, None, current, effect=effect)
        return Item((row,), key, live.delete, before=as_read(live))

    def conflict(
        self,
        step: str,
        setting: str,
        desired: Value,
        why: Why,
        note: str,
        *,
        current: Value = None,
        passing_s: float = 0.0,
        about: ResourceKey | None = None,
    ) -> Item:
        """Return a row that only a person can resolve, ``about`` a resource if it is about a single one."""
        row = Row(step, setting, desired, current, Action.CONFLICT, note=note, why=why)
        return Item((row,), about, passing_s=passing_s)

    def blocked(self, step: str, setting: str, desired: Value, by: str, *, field: str = "") -> Item:
        """Return a row that cannot be planned until another section is applied."""
        note = f"run section {by} first: {SECTIONS[by].title}"
        why = Why.BLOCKED_BY_SECTION
        row = Row(step, setting, desired, None, Action.BLOCKED, note=note, field=field, why=why)
        return Item((row,))

    def _cautions(self) -> tuple[Row, ...]:
        """Rows about the account, shown with the first section of a plan."""
        if self.context.account_is_proven() or self.ahead:
            return ()
        sid = self.context.account.account_sid
        return (Row("0.1", "account of the API key", sid, None, Action.UNREADABLE, note=ACCOUNT_NOT_PROVEN),)

    def duplicates(
        self,
        step: str,
        setting: str,
        found: Collection[Any],
        *,
        passing_s: float = 0.0,
        about: ResourceKey | None = None,
    ) -> list[Item]:
        """Return a conflict if something that must be unique was found more than once; otherwise nothing."""
        if len(found) < 2:
            return []
        note = "it exists more than once: delete the duplicates at the vendor, then plan again"
        return [
            self.conflict(
                step,
                f"number of: {setting}",
                1,
                Why.AMBIGUOUS,
                note,
                current=len(found),
                passing_s=passing_s,
                about=about,
            )
        ]

    def _settled_items(self, *, as_read: bool) -> list[Item]:
        """Read, and return the items once no conflict is left that may resolve itself, or time is up."""
        began = time.monotonic()
        if not as_read:
            self.new_reading()
        while True:
            items = self.guarded_items()
            stopping = [item for item in items if any(row.action in STOPPING for row in item.rows)]
            patience = min((item.passing_s for item in stopping), default=0.0)
            if time.monotonic() - began >= patience:
                return items
            time.sleep(SLOW_POLL_S)
            self.new_reading()

    def guarded_items(self) -> list[Item]:
        """The items, with those in conflict that this run is not allowed to carry out."""
        remains = self.context.remains()
        items = [compared_with_records(item, remains) for item in self.items()]
        if self.context.scope.creates_only:
            items = [kept_shared(item, self.context.settings.shared) for item in items]
        return self._within_leave(items)

    def _within_leave(self, items: list[Item]) -> list[Item]:
        """The items, with those as conflicts that would interrupt calls without permission."""
        leave = self.context.accept_interruption
        return [item if leave else needs_permission(item) for item in items]

    def _check(self, rows: tuple[Row, ...], approved: Slice | None, *, written: bool) -> None:
        so_far = "part of this section was written" if written else "nothing in this section was written"
        stopping = [row for row in rows if row.action in STOPPING]
        if stopping:
            raise ConflictError(
                "; ".join(describe_stop(row) + what_was_approved(row, approved) for row in stopping),
                step=stopping[0].step,
                meaning=so_far,
                next_step="resolve each row listed here (its note says how), then plan again",
            )
        moved = deviations(approved, rows) if approved is not None else []
        if moved:
            raise StalePlanError(
                "the live state is not the one that was approved: " + "; ".join(map(str, moved)),
                step=moved[0].row.step,
                meaning=f"it was changed after the plan was made; {so_far}",
                next_step="plan again, review the new plan, and have it approved",
            )

    def _carry_out(self, item: Item) -> None:
        assert item.write is not None
        try:
            with at_step(item.rows[0].step):
                item.write()
                keep_what_was_made(self.context)
        except VendorError as error:
            # The change may have been made already: the reading lagged behind, or another run was first.
            if not error.is_about_the_state or item.repeatable:
                raise
            if self._settles(item, SETTLE_S if error.vendor == "Twilio" else 0.0):
                return
            if self._overtaken(item):
                raise _OvertakenError(error) from None
            raise

    def _settles(self, item: Item, lag: float | None = None) -> bool:
        """Whether the item's rows reach their desired values before the vendor's lag (s) is over."""
        if item.repeatable:
            return False
        deadline = time.monotonic() + (SETTLE_S if lag is None else lag)
        while True:
            self.new_reading()
            live = self._rows_now(item)
            if all(row is not None and row.action in SETTLED for row in live):
                return True
            in_conflict = any(row is not None and row.action in STOPPING for row in live)
            if in_conflict or time.monotonic() > deadline:
                return False
            time.sleep(POLL_S)

    def _overtaken(self, item: Item) -> bool:
        """Whether the state, as just read, differs from the one that the item was planned for."""
        return any(
            live is None or live.current != row.current
            for row, live in zip(item.rows, self._rows_now(item), strict=True)
        )

    def _rows_now(self, item: Item) -> list[Row | None]:
        """Return the item's rows as planned from the state as read; ``None`` if there is no such item."""
        rows = {row.key: row for row in rows_of(self.items())}
        return [rows.get(row.key) for row in item.rows]


class FactsOfTrunk(Protocol):
    """Facts of a section that works on a trunk which another section makes."""

    @property
    def trunk(self) -> Any | None:
        """The trunk, once it exists."""


FactsOfTrunkT = TypeVar("FactsOfTrunkT", bound=FactsOfTrunk)


class SectionOfTrunk(Section[FactsOfTrunkT]):
    """A section that works on a trunk which another section makes; until then each of its rows waits."""

    #: The section that makes the trunk.
    needs: ClassVar[str]

    @abstractmethod
    def outline(self) -> list[tuple[str, str, Value]]:
        """Return step, setting and desired value of what waits for the trunk."""

    def items(self) -> list[Item]:
        """Return what is wanted, or what waits for the section that is needed first."""
        if self.needs not in self.ahead and self.facts.trunk is None:
            return [self.blocked(*row, self.needs) for row in self.outline()]
        return self.wanted()


@contextmanager
def at_step(step: str) -> Iterator[None]:
    """Add the step that was being read to the vendors' errors that have none."""
    try:
        yield
    except VendorError as error:
        error.step = error.step or step
        raise


def time_to_pass(seconds: float, now: datetime, *created: datetime) -> float:
    """Return how long a conflict with something of these ages may take to resolve itself.

    Something created just now (``now`` is the vendor's time) may belong to another run that is about to
    send its next write: a run with another records folder, so that no lock separates the two.
    """
    return seconds if any(abs(now - made) < CLOCKS for made in created) else 0.0
