"""One section in a notebook: every cell calls one method and shows what it returns."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from ..approval import GivenApproval
from ..errors import InputError
from ..guide import RUN_ORDER, STEPS, section_of
from ..outcomes import SUCCEEDED
from ..plan import CHANGING, STOPPING, TO_LOOK_AT, Action, Plan, Slice
from ..section_run import SectionRun
from ..words import counted
from .diagrams import Picture, call_path, outbound_path
from .display import Box, Shown, utc
from .failures import told_plainly
from .page import Page, in_turn, open_page
from .tables import (
    Stack,
    Table,
    outcome_shown,
    plan_shown,
    step_table,
    verification_shown,
    view_table,
)

if TYPE_CHECKING:
    from ..parameters import Source

NOTHING_WRITTEN = {
    "plan": "To carry the plan out, use the runbook command, or this notebook in JupyterLab.",
    "verify": "This run only verifies. To change anything, plan first.",
}


def open_section(
    number: str,
    site: Source,
    tenant: Source,
    mode: str = "plan",
    plan_file: str | None = None,
    approved_plan: str | None = None,
    approved_by: str | None = None,
    **options: Any,
) -> SectionPage:
    """Check the parameters, show what this run is about to work on, and return the section.

    Parameters are those of the notebook's parameter cell; ``options`` those of a rollback or retirement (see
    ``Runbook.open``). Sends no request. Raises ``InputError`` with all problems at once,
    ``StalePageError`` after a parameter cell that did not complete. Where a person watches, mode
    ``apply`` becomes ``plan``: there the Apply button is the way to write.

    As soon as this is called, the page that was opened before does nothing any longer.
    """
    approval: GivenApproval = {
        "plan_file": plan_file,
        "approved_plan": approved_plan,
        "approved_by": approved_by,
    }
    return open_page(SectionPage, number, site, tenant, mode, approval, options)


class SectionPage(Page):
    """A section's notebook: ``step`` for each, ``current``, ``plan``, ``apply``, ``verify``, ``finish``."""

    def _open(self) -> None:
        super()._open()
        self._run: SectionRun = self._runbook.section(self._number)
        self._results.append(self._run.result)

    @in_turn
    def step(self, step: str) -> Table:
        """Show the settings of one step of the guide, desired beside current; read only what is missing."""
        self._begin()
        with told_plainly():
            if step not in STEPS or (self._number in RUN_ORDER and section_of(step).number != self._number):
                raise InputError([f"step: {step!r} is not a step of section {self._number}"])
            rows = self._run.step(step)
        return self._live(step_table(step, rows), partial(self.step, step))

    @in_turn
    def current(self) -> Stack:
        """Read the current state and show it: ``state["Origination URIs"]`` is a pandas frame."""
        self._begin()
        with told_plainly():
            views = self._run.current()
        self._read = True
        return self._live(Stack(tuple(view_table(view) for view in views)), self.current)

    @in_turn
    def plan(self) -> Stack:
        """Read, and show what turns the current state into the desired one."""
        self._begin()
        with told_plainly():
            part = self._run.plan()
        self._planned(part)
        return self._live(plan_shown(part, self._run.cautions), self.plan)

    @in_turn
    def check(self) -> Stack:
        """Plan a section that only reads; in mode ``apply``, a row in conflict stops the run here."""
        shown = self.plan()
        if self.mode == "apply":
            try:
                with told_plainly():
                    self._run.apply()
            except Exception:
                from IPython.display import display

                display(shown)  # the error names the rows, and the table has their notes
                raise
        return shown

    @in_turn
    def apply(self) -> Shown | None:
        """Carry out the plan in mode ``apply``; in other modes, report that nothing was written.

        For an interactive user, show the form whose button applies the plan in a separate process.
        """
        if self._asks():
            return None
        with self._telling_first_of_a_failure(), told_plainly():
            outcome = self._run.apply()
        if outcome is None:
            return Box("info", "Nothing was written.", (NOTHING_WRITTEN[self.mode],)).headed(self.name)
        return outcome_shown(self._number, outcome).headed(self.name)

    @in_turn
    def verify(self) -> Stack:
        """Read back, and compare with the guide's expected result."""
        self._begin()
        with self._telling_first_of_a_failure(), told_plainly():
            verification = self._run.verify()
        shown = verification_shown(self._number, verification, planning=self.mode == "plan")
        return self._live(shown, self.verify)

    @in_turn
    def finish(self) -> Shown:
        """Save the section's result, sign out, and show where the record is.

        A cell that is run after this begins a new run.
        """
        self._begin()
        read = self._read_at
        with self._telling_first_of_a_failure():
            result = self._run.finish()
        self._tell_first()
        self._ended = True
        return self._live(Box(*self._told(result), tuple(self._about_the_run())), self.finish, read)

    def _told(self, result: dict[str, Any]) -> tuple[str, str]:
        """Tone and title of the closing box: a plan that could not be applied is not a success."""
        rows = [Action(row["action"]) for row in result.get("plan") or ()]
        stopping = sum(action in STOPPING for action in rows)
        if result["outcome"] != SUCCEEDED:
            return "stop", f"Section {self._number} {result['outcome']}."
        number = self._number
        if self.mode == "plan" and result.get("plan") is None:
            return "info", f"Section {number}: no plan was made in this run."
        if self.mode == "plan" and stopping:
            return "caution", f"Section {number} planned: {counted(stopping, 'row')} in conflict or blocked."
        if self.mode == "plan":
            changing = sum(action in CHANGING for action in rows)
            if changing:
                return "info", f"Section {number} planned: {counted(changing, 'row')} to apply."
            if any(row.get("why") in TO_LOOK_AT for row in result["plan"]):
                return (
                    "caution",
                    f"Section {number} planned: nothing to change, but some rows are marked: check them.",
                )
            return "good" if rows else "info", f"Section {number} planned: nothing to change."
        return "good", f"Section {number} succeeded."

    @in_turn
    def call_path(self) -> Picture:
        """Section 3: show the path that inbound calls will take, in failover order."""
        self._must_be_current()
        self._read_once()
        settings = self._runbook.context.settings
        shown = call_path(self._run.call_path, settings.pbx_address, settings.domain)
        return self._live(shown, self.call_path)

    @in_turn
    def number_regions(self) -> Stack:
        """Section 4: read and show which Region serves each number; one request per number."""
        self._begin()
        with told_plainly():
            view = self._run.number_regions()
        return self._live(Stack((view_table(view),)), self.number_regions)

    @in_turn
    def outbound_path(self) -> Picture:
        """Section 2: show the path that outbound calls take, and what Twilio checks."""
        self._must_be_current()
        settings = self._runbook.context.settings
        shown = outbound_path(
            str(settings.termination),
            settings.pbx_address,
            ", ".join(settings.acl_addresses),
            settings.username,
        )
        return self._live(shown, self.outbound_path, f"as of {utc()}")

    def _permitted(self) -> Slice:
        return self._run.permitted()

    def _plan_of(self, part: Slice) -> Plan:
        return self._runbook.plan_of(part)

    def _read_once(self) -> None:
        if not self._read:
            self.current()
