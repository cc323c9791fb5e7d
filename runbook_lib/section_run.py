"""One section in one run: what a notebook's cells call, and the record that an apply keeps."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic_core import to_jsonable_python

from .errors import ApprovalError, InputError, RunbookError, StalePlanError, VerificationError, error_as_data
from .facts.sharing import hand_on, join_run
from .guide import SECTIONS, steps_of
from .identity import plain_identities
from .lock import held, whoami
from .outcomes import FAILED, INTERRUPTED, SUCCEEDED
from .plan import CHANGING, STOPPING, Row, Slice, value_text
from .records import living
from .records.anchor import head_cautions
from .records.clocks import clock_cautions
from .records.errors import RecordError
from .records.living import Phase
from .records.needs import try_out
from .records.plans import remove_old_plans
from .records.record import close_record, write_record
from .records.result import now, write_json, write_result
from .records.run_folder import OPENING, RUN, run_name
from .records.uses import claimed_by
from .records.waits import Wait
from .secret import scrub_data
from .sections import SECTION_CLASSES, Outcome, Section, Verification, View
from .sections.s03_origination import OriginationSection
from .sections.s04_numbers import AssignNumbers
from .undo import UNDO_CLASSES

if TYPE_CHECKING:
    from .runbook import Runbook


T = TypeVar("T")
ALL_SECTIONS: dict[str, type[Section]] = {**SECTION_CLASSES, **UNDO_CLASSES}


def require_verified(verification: Verification) -> None:
    """Raise ``VerificationError`` for what was read back and differs."""
    if verification.ok:
        return
    raise VerificationError(
        "; ".join(
            f"{row.setting} is {value_text(row.current)}, expected {value_text(row.desired)}"
            for row in verification.differences
        ),
        step=verification.differences[0].step,
        meaning="the vendors' state differs from what the guide expects, so calls may fail",
        next_step="run this section in plan mode to see what would change, then apply it",
    )


class SectionRun:
    """One section in one run: what a notebook's cells call, in order.

    Every error is saved in the section's result before it is raised. Outside the runner the result of an
    ``apply`` is in that call's own record, which is closed when it returns: later calls only read.
    """

    def __init__(self, runbook: Runbook, number: str) -> None:
        self.runbook = runbook
        self.number = number
        self._section = ALL_SECTIONS[number](runbook.context)
        self._started = time.monotonic()
        self._own_record_closed = False
        self._is_shared = False
        #: The locks of a section that changes something, from showing its plan to its last write.
        self._locks = ExitStack()
        self._is_locked = False
        self._result: dict[str, Any] = {
            "run_id": runbook.run_id,
            "section": number,
            "title": SECTIONS[number].title,
            "mode": runbook.mode,
            "target": runbook.target,
            "tenant": runbook.context.owner.name,
            "operator": whoami(),
            "by": plain_identities(),
            "approved_plan": runbook.approved.digest if runbook.approved else None,
            "approved_by": runbook.approved_by,
            "started": now(),
            "outcome": "unfinished",
            "plan": None,
            "cautions": [],
            "clocks": {},
            "twilio_at_once": 0,
            "applied": None,
            "writes": 0,
            "verification": None,
            "error": None,
        }

    @property
    def call_path(self) -> list[tuple[str, str, int, int, bool]]:
        """Section 3: the desired call path, in failover order: label, SIP URI, priority, weight, enabled."""
        assert isinstance(self._section, OriginationSection), "section 3 is where calls come in"
        return self._section.path

    @property
    def result(self) -> dict[str, Any]:
        """The section's result so far, as plain data."""
        return self._result

    @property
    def cautions(self) -> list[str]:
        """Cautions about the state that the plan was made from; they stop nothing."""
        return self._result["cautions"]

    def current(self) -> list[View]:
        """Read the current state and return it as tables."""
        return self._kept(self._current)

    def number_regions(self) -> View:
        """Section 4: read which Region serves each of the tenant's numbers; one request per number."""
        return self._kept(self._number_regions)

    def step(self, step: str) -> tuple[Row, ...]:
        """Return the rows of one step of the guide, or of an expected result; reads only what is missing.

        If the section cannot be planned up to this step, returns the rows that stop it.
        """
        return self._kept(partial(self._rows_of, step))

    def plan(self) -> Slice:
        """Read, and return what turns the current state into the desired one."""
        return self._kept(self._plan)

    def permitted(self) -> Slice:
        """Return the plan from the state as read, as if changes that interrupt calls were allowed."""
        with self.runbook.context.interruption_permitted():
            return self._section.planned()

    def apply(self) -> Outcome | None:
        """Carry out the plan; ``None`` in any mode other than ``apply``.

        Raises ``ConflictError`` or ``StalePlanError`` before the first write, ``LockedError`` when
        another run works on the tenant, ``VendorError`` when a vendor refuses, ``RecordError`` when the
        run cannot be recorded; outside the runner also ``VerificationError``, as ``verify`` does.
        """
        return self._kept(self._apply) if self.runbook.mode == "apply" else None

    def verify(self) -> Verification:
        """Read back and compare with the guide's expected result.

        Raises ``VerificationError`` on any difference, except in ``plan`` mode.
        """
        return self._kept(self._verify)

    def finish(self) -> dict[str, Any]:
        """Keep the section's result, sign out, and return the result as plain data."""
        if self._result["outcome"] == "unfinished":
            self._result["outcome"] = SUCCEEDED
        self._enter(Phase.ENDING)
        self._close()
        context = self.runbook.context
        remove_old_plans(context.records / context.owner.name, context.site.policies.keep_plans)
        return self._result

    def _begin_if_asked_again(self, what: str) -> None:
        moment = self.runbook.context.moment
        if not self._is_shared:
            self._is_shared = True
            join_run(moment, self.runbook.context.journal.clocks, self.runbook.run_id)
        asked = self.runbook.asked
        if (self.number, what) in asked:
            moment.begin()
        if moment.began is None:
            asked.clear()
        asked.add((self.number, what))

    def _enter(self, phase: Phase, **details: Any) -> None:
        """Report what an applying run is doing, to those who follow it."""
        living.enter(self.runbook.folder, phase, section=self.number, **details)

    def _wait(self, what: str, begin: Callable[[Wait], object], waited: list[str], holder: str) -> None:
        waited.append(what)
        self._enter(Phase.WAITING)
        begin(Wait(f"{what} is in use by {holder}"))

    def _lock(self) -> None:
        """Lock the tenant and any shared trunk against other runs until ``_locks`` is closed.

        What was read before another run let go of it is forgotten.
        """
        context, locks, waited = self.runbook.context, self._locks, list[str]()
        own = context.records / context.owner.name, f"tenant {context.owner.name}"
        trunk = context.records, f"trunk {context.settings.shared}"
        for folder, what in (own, trunk) if context.settings.shared else (own,):
            with context.waits.one() as begin:
                wait = partial(self._wait, what, begin, waited)
                locks.enter_context(held(folder, what, waiting=wait))
        if waited:
            context.moment.begin()
        self._enter(Phase.READING)
        self._is_locked = True
        locks.callback(setattr, self, "_is_locked", False)

    def _read_for_apply(self) -> None:
        """In a recorded apply, ensure that the plan shown and the writes are based on one reading.

        It is made under the lock. Only if everything is in place may earlier readings of the run be used,
        as long as nothing was written.
        """
        runbook = self.runbook
        if self._is_locked or runbook.mode != "apply" or not runbook.is_recorded:
            return
        moment = runbook.context.moment
        if moment.began is not None:
            rows = self._section.plan().rows
            if not any(row.action in CHANGING | STOPPING for row in rows):
                return
        self._lock()
        moment.begin()

    def _current(self) -> list[View]:
        self._begin_if_asked_again("current")
        self._read_for_apply()
        self._section.read()
        self._section.read_for_tables()
        return self._section.views()

    def _number_regions(self) -> View:
        assert isinstance(self._section, AssignNumbers), "section 4 is about the numbers"
        self._begin_if_asked_again("number regions")
        return self._section.regions()

    def _rows_of(self, step: str) -> tuple[Row, ...]:
        self._begin_if_asked_again(step)
        self._read_for_apply()
        part = self._section.plan()
        rows = (*part.rows, *self._section.expected())
        return tuple(row for row in rows if row.step == step) or part.stopping

    def _plan(self) -> Slice:
        self._begin_if_asked_again("plan")
        self._read_for_apply()
        part = self._section.plan()
        self._result["plan"] = [_plain(row) for row in part.rows]
        differences = self.runbook.context.journal.clocks.differences()
        self._result["cautions"] = [*self._section.cautions(), *clock_cautions(differences)]
        return part

    def _apply(self) -> Outcome:
        if self.runbook.is_recorded:
            return self._locked(partial(self._carried_out, may_be_as_read=True))
        try_out(self.runbook.context.records.parent)  # also what the locks need
        try:
            return self._locked(self._recorded)
        finally:
            self._after_own_record()

    def _locked(self, call: Callable[[], Outcome]) -> Outcome:
        """Call only while no other run works on the tenant or its shared trunk."""
        with self._locks:
            if not self._is_locked:
                self._lock()
            return call()

    def _recorded(self) -> Outcome:
        with self._own_record():
            outcome = self._carried_out(may_be_as_read=False)
            self._verify()
            return outcome

    def _after_own_record(self) -> None:
        """What the runner does after a batch; no lock is held any longer, and a failure here is a caution."""
        from .batch.pages import renew_index  # loads what makes pages, which most runs do not need here

        records = self.runbook.context.records.parent
        if not os.path.lexists(self.runbook.folder / OPENING):
            return  # it was refused before its record opened
        cautions = renew_index(records)
        if self._own_record_closed:
            cautions += head_cautions(records)
        self._result["cautions"] = [*self._result["cautions"], *cautions]

    def _carried_out(self, *, may_be_as_read: bool) -> Outcome:
        approved = None
        if self.runbook.approved is not None:
            approved = self.runbook.approved.slice(self.number)
            if approved is None:
                raise StalePlanError(
                    f"the approved plan has no part for section {self.number}",
                    meaning="nothing in this section was written",
                    next_step="plan the whole tenant again",
                )
        self._require_use()
        # Of what was planned in this moment, only rows in place were not read under the lock; what was not
        # planned in this moment is planned again by apply itself.
        is_planned = (self.number, "plan") in self.runbook.asked
        as_read = may_be_as_read and is_planned and self.runbook.context.moment.began is not None
        self._enter(Phase.WRITING, total=len(self._section.to_write()) if as_read else None)
        try:
            outcome = self._section.apply(approved, as_read=as_read)
        finally:
            self._result["writes"] = self.runbook.context.journal.writes
        self._result["applied"] = [_plain(row) for row in outcome.rows if row.action in CHANGING]
        return outcome

    @contextmanager
    def _own_record(self) -> Iterator[None]:
        """Open a record, and close it with what the ``with`` block did, also when that raises."""
        self.runbook.open_own_record(self.number)
        self._result["run_id"] = self.runbook.run_id
        try:
            if self._result["plan"] is None:
                self._plan()
            yield
        except BaseException as error:
            self._failed(error)
            # A record that cannot be closed stays open, and records verify lists it; the first error counts.
            with suppress(RecordError, OSError):
                self._close_own_record()
            raise
        self._result["outcome"] = SUCCEEDED
        # As read back; what failed may have left a reading half done, and has its rows in the plan.
        with suppress(RunbookError):  # everything was done and read back: the tables do without
            self._section.read_for_tables()
        self._result["tables"] = [to_jsonable_python(view) for view in self._section.views()]
        self._close_own_record()

    def _close_own_record(self) -> None:
        runbook, result = self.runbook, self._result
        self._measure()
        write_result(runbook.folder, self.number, scrub_data(result))
        error = result["error"]
        run = {
            **{key: result[key] for key in ("run_id", "tenant", "target", "mode")},
            **{key: result[key] for key in ("started", "ended", "outcome")},
            "site": runbook.context.site.name,
            "problem": "",
            "sections": [
                {
                    **{key: result[key] for key in ("section", "title", "outcome", "seconds", "writes")},
                    "changes": len(result["applied"] or ()),
                    "notebook": None,
                    "message": _told(error) if error else "",
                }
            ],
        }
        write_json(runbook.folder / RUN, scrub_data(run))
        write_record(runbook.folder)
        close_record(runbook.context.records.parent, runbook.folder)
        self._own_record_closed = True

    def _require_use(self) -> None:
        """Refuse writes that the run's signed approval does not, or no longer, cover."""
        runbook = self.runbook
        use = runbook.approval.use if runbook.approval else None
        if use is None:
            return
        records = runbook.context.records.parent
        claim = claimed_by(records, run_name(records, runbook.folder), use.statement.id)
        if claim is None:
            raise ApprovalError(
                "the records do not show that this run uses the approval",
                meaning="nothing in this section was written",
                next_step="apply the plan with: runbook apply --plan FILE",
            )
        if self.number not in claim.sections and self._section.plan().changing:
            raise ApprovalError(
                f"the approval was used for section {self.number} by an earlier run, which succeeded",
                meaning="nothing in this section was written",
                next_step="make a new plan and have it approved",
            )

    def _verify(self) -> Verification:
        self._begin_if_asked_again("verify")
        self._enter(Phase.READING_BACK)
        verification = self._section.verify(wait=self.runbook.mode == "apply")
        began = self.runbook.context.moment.began
        self._result["verification"] = {
            # What was read for the plan, if nothing was written since, is not read again.
            "at": now() if began is None else began.isoformat(timespec="seconds"),
            "ok": verification.ok,
            "rows": [_plain(row) for row in verification.rows],
            "differences": [_plain(row) for row in verification.differences],
        }
        if self.runbook.mode != "plan":
            require_verified(verification)
        return verification

    def _kept(self, call: Callable[[], T]) -> T:
        try:
            return call()
        except BaseException as error:
            self._failed(error)
            self._close()
            raise

    def _failed(self, error: BaseException) -> None:
        if isinstance(error, RunbookError) and not isinstance(error, InputError):
            # Reading, signing in and locking belong to all steps of the section.
            error.step = error.step or steps_of(self.number)
        cut_off = isinstance(error, KeyboardInterrupt | SystemExit)
        self._result["outcome"] = INTERRUPTED if cut_off else FAILED
        self._result["error"] = error_as_data(error)

    def _close(self) -> None:
        self._locks.close()
        self._measure()
        if self._is_shared:
            context = self.runbook.context
            hand_on(context.moment, context.journal.clocks, self.runbook.run_id)
        self.runbook.context.close()
        if not self._own_record_closed:
            write_result(self.runbook.folder, self.number, scrub_data(self._result))

    def _measure(self) -> None:
        context = self.runbook.context
        # The counts were already taken when the connections were closed.
        self._result["requests"] = context.requests or self._result.get("requests", {})
        self._result["clocks"] = context.journal.clocks.differences()
        self._result["twilio_at_once"] = context.journal.most_at_once
        self._result["ended"] = now()
        self._result["seconds"] = round(time.monotonic() - self._started, 3)
        self._result["journal"] = context.journal.digest()


def _plain(row: Row) -> dict[str, Any]:
    outside = {"outside": asdict(row.outside)} if row.outside else {}
    return {**row.covered(), "note": row.note, "why": row.why and str(row.why), **outside}


def _told(error: Mapping[str, Any]) -> str:
    """An error as the record has it, as an operator reads it."""
    return str(
        RunbookError(
            error["what"], step=error["step"], meaning=error["meaning"], next_step=error["next_step"]
        )
    )
