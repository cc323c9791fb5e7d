"""A whole tenant on one page: one plan through all sections, one form, one run, one record.

It works as a section's page does, with all sections in the order of a run in the place of one. What applies
is ``runbook apply SITE TENANT`` in a separate process; the page itself writes nothing. It is also the record
of a run that finds nothing to change.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..approval import GivenApproval
from ..call_paths import call_paths, planned_call_paths, settings_of
from ..errors import InputError, RunbookError, StalePlanError
from ..guide import RUN_ORDER, SECTIONS, WHOLE
from ..parameters import Source
from ..plan import CHANGING, Plan, Slice
from ..section_run import require_verified
from ..sections import Outcome, Verification
from ..states import section_state
from ..words import counted
from .diagrams import path_states
from .display import Box, Shown
from .failures import told_plainly
from .offers import interruptions
from .page import Page, in_turn, open_page, requests_in_words
from .tables import (
    Stack,
    Table,
    count_to_look_at,
    outcome_shown,
    row_table,
    rows_in_order,
    to_check,
    verdict,
    verification_table,
    verification_verdict,
)

BY_COMMAND = "run it with: runbook apply -s SITE TENANT"


def open_tenant(site: Source, tenant: Source, mode: str = "plan", **options: Any) -> TenantPage:
    """Check the parameters, show what this page is about to work on, and return the tenant's page.

    As ``open_section``, for all sections at once. Mode ``apply`` without a person who presses the button is
    for the runner only, for a tenant with nothing to change; anyone else gets ``InputError``.
    """
    approval: GivenApproval = {"plan_file": None, "approved_plan": None, "approved_by": None}
    return open_page(TenantPage, WHOLE, site, tenant, mode, approval, options)


class TenantPage(Page):
    """A tenant's notebook: ``plan``, ``apply``, ``verify``, ``finish``, each for all sections."""

    def _open(self) -> None:
        super()._open()
        if self.mode == "apply" and not self._runbook.is_recorded:
            raise InputError(["mode: this page does not apply without a person"], next_step=BY_COMMAND)
        #: What the runner's own run of this page has read back, by section.
        self._read_back: dict[str, Verification] = {}

    @in_turn
    def plan(self) -> Stack:
        """Read, and show what turns the current state into the desired one, section by section."""
        self._begin()
        with told_plainly():
            self._plan = self._runbook.plan()
        whole = _joined(self._plan)
        self._planned(whole)
        parts: list[Shown] = [_order(self._plan.slices), verdict(whole)]
        parts += to_check(self._runbook.cautions)
        parts += _call_paths(self._plan)
        for part in self._plan.slices:
            title = f"{part.section} {SECTIONS[part.section].title}"
            empty = "the parameters ask for nothing here"
            parts.append(row_table(title, rows_in_order(part.section, part.rows), empty=empty))
        return self._live(Stack(tuple(parts)), self.plan)

    @in_turn
    def apply(self) -> Shown | None:
        """Show a person the form whose button applies the plan; otherwise report that nothing was written.

        In a run of the runner, plan and read back each section, and keep its result. A section that has
        something to change raises ``StalePlanError``: the runner then runs the sections' notebooks.
        """
        if self._asks():
            return None
        if self.mode == "apply":
            with told_plainly():
                for number in self._runbook.order:
                    self._keep(number)
            return outcome_shown(WHOLE, Outcome((), 0)).headed(self.name)
        return Box("info", "Nothing was written.", (f"To carry the plan out, {BY_COMMAND}.",)).headed(
            self.name
        )

    @in_turn
    def verify(self) -> Stack:
        """Read back all sections, and compare with the guide's expected results."""
        self._begin()
        planning = self.mode == "plan"
        with told_plainly():
            read = self._read_back or self._read_all_back()
            whole = Verification(
                tuple(row for part in read.values() for row in part.rows),
                tuple(row for part in read.values() for row in part.differences),
            )
            if not planning:
                require_verified(whole)
        tables = [
            verification_table(f"{number} {SECTIONS[number].title}", number, part, planning=planning)
            for number, part in read.items()
        ]
        shown = Stack((verification_verdict(whole, planning=planning), *tables))
        return self._live(shown, self.verify)

    @in_turn
    def finish(self) -> Shown:
        """Sign out, and show how the page ended; a cell that is run after this starts again."""
        self._begin()
        read, part, sent = self._read_at, self._part, self._runbook.context.requests
        self._runbook.context.close()
        self._ended = True
        if self._results:
            self._tell_first()
            told = tuple(self._about_the_run())
            box = Box("good", "The whole tenant: nothing had to change.", told)
        else:
            requests = f"Requests: {requests_in_words(sent)}; this page itself sends no writes: only runs do."
            box = Box(*_told(part), (requests,))
        return self._live(box, self.finish, read)

    def _read_all_back(self) -> dict[str, Verification]:
        found = dict(self._runbook.read_back(self._runbook.order))
        for result in found.values():
            if isinstance(result, RunbookError):
                raise result
        return {number: result for number, result in found.items() if isinstance(result, Verification)}

    def _keep(self, number: str) -> None:
        """Keep the result of a section that has nothing to change."""
        run = self._runbook.section(number)
        part = run.plan()
        if part.changing or part.stopping:
            raise StalePlanError(
                "this tenant has something to change by now",
                meaning="this page writes nothing",
                next_step="run it again",
            )
        self._read_back[number] = run.verify()
        self._results.append(run.finish())

    def _permitted(self) -> Slice:
        self._plan = self._runbook.permitted()
        return _joined(self._plan)

    def _plan_of(self, part: Slice) -> Plan:
        return self._plan


def _call_paths(plan: Plan) -> list[Shown]:
    """The path of calls today and after the plan; nothing for a shared trunk on its own."""
    if not {*RUN_ORDER} <= {part.section for part in plan.slices}:
        return []
    settings = settings_of(row for part in plan.slices for row in part.rows)
    return [
        path_states(("Today", today), ("After this plan", planned))
        for today, planned in zip(call_paths(settings), planned_call_paths(settings), strict=True)
    ]


def _joined(plan: Plan) -> Slice:
    """All rows of a plan, as one part."""
    return Slice(WHOLE, tuple(row for part in plan.slices for row in part.rows))


def _told(part: Slice | None) -> tuple[str, str]:
    """Tone and title of the closing box: as urgent as the verdict above it."""
    if part is None:
        return "info", "No plan was made on this page."
    tone = verdict(part).tone
    if part.stopping:
        stopping = counted(len(part.stopping), "row")
        return tone, f"The whole tenant planned: {stopping} in conflict or blocked."
    if part.changing:
        return tone, f"The whole tenant planned: {counted(len(part.changing), 'row')} to apply."
    silent = count_to_look_at(part.rows)
    return tone, f"The whole tenant planned: nothing to change{f', but {silent}' if silent else ''}."


def _order(parts: Sequence[Slice]) -> Table:
    """What each section would do, in the order in which they are run."""
    rows = []
    for place, part in enumerate(parts, 1):
        state = section_state(part.rows)
        changes = sum(row.action in CHANGING for row in part.rows)
        calls = interruptions(part)
        title = f"{part.section} {SECTIONS[part.section].title}"
        rows.append([place, title, str(state.state), changes, calls or None])
    columns = ("Order", "Section", "State", "To apply", "Interrupts calls")
    return _Order("The order of the run", columns, rows)


class _Order(Table):
    """What is not in one line with a section's state is in one below it."""

    most_columns = 3
