"""One section in a notebook: every cell calls one method and shows what it returns."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..guide import RUN_ORDER, SECTIONS
from ..records.result import RUN_FOLDER, now
from ..runbook import Runbook, SectionRun
from .diagrams import Picture, call_path, outbound_path
from .display import SANS, Box, Shown, badge, escaped, facts, visible
from .failures import told_plainly
from .forms import EXPLAINED, ModeSwitch
from .outgoing import filter_kernel_output
from .tables import Stack, outcome_shown, plan_shown, verification_shown, view_table

if TYPE_CHECKING:
    from ..parameters import Source

NOTHING_WRITTEN = {
    "plan": "To carry the plan out, choose apply in the mode switch or use the runbook command.",
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

    Parameters are those of the notebook's parameter cell; ``options`` those of the way back (see
    ``Runbook.open``). Sends no request. Raises ``InputError`` with all problems at once.
    """
    filter_kernel_output()
    page = SectionPage(number, site, tenant, mode, (plan_file, approved_plan, approved_by), options)
    page.show_header()
    return page


@dataclass(frozen=True, repr=False)
class Header(Shown):
    """What a run works on: the first thing to read on a page."""

    section: str
    target: str
    mode: str
    facts: tuple[tuple[str, str], ...]

    @property
    def _banner(self) -> str:
        if self.target == "live":
            return "LIVE: this is the telephone service of a real business"
        return "SANDBOX: both vendors are simulated on this machine"

    def html(self) -> str:
        colour = "#b3152b" if self.target == "live" else "#1f5f99"
        title = f"{self.section} · {SECTIONS[self.section].title}"
        mode_colour = "#9a6700" if self.mode == "apply" else "#57606a"
        return (
            f'<div style="{SANS};font-size:14px;line-height:1.6;border:2px solid {colour};border-radius:6px;'
            f'margin:8px 0;overflow:hidden">'
            f'<div style="background-color:{colour};color:#ffffff;font-weight:700;padding:4px 12px;'
            f'print-color-adjust:exact">{escaped(self._banner)}</div>'
            f'<div style="padding:6px 12px"><div><b>{escaped(title)}</b> &nbsp; '
            f"{badge('mode: ' + self.mode, mode_colour)} "
            f'<span style="opacity:0.8">{escaped(EXPLAINED[self.mode])}</span></div>'
            f"<div>{facts(self.facts)}</div></div></div>"
        )

    def text(self) -> str:
        lines = [
            f"=== {self._banner} ===",
            f"{self.section} · {SECTIONS[self.section].title}",
            f"mode: {self.mode} ({EXPLAINED[self.mode]})",
            *(f"{label}: {visible(value)}" for label, value in self.facts),
        ]
        return "\n".join(lines)


class SectionPage:
    """A section's notebook: ``current``, ``plan``, ``apply``, ``verify``, ``finish``, in this order.

    Errors of the runbook fail the cell and are shown without a stack trace.
    """

    def __init__(
        self,
        number: str,
        site: Source,
        tenant: Source,
        mode: str,
        approval: tuple[str | None, str | None, str | None],
        options: Mapping[str, Any],
    ) -> None:
        self._number, self._site, self._tenant, self._approval = number, site, tenant, approval
        self._options = options
        self._mode = mode
        self._header_display: Any = None
        with told_plainly():
            self._open(mode)

    @property
    def mode(self) -> str:
        """The mode that the next cell works in."""
        return self._runbook.mode

    @property
    def header(self) -> Header:
        """What this run works on."""
        runbook, target = self._runbook, self._runbook.target
        return Header(
            self._number,
            target["target"],
            runbook.mode,
            (
                ("Site", target["site"]),
                ("Tenant", runbook.context.tenant.name),
                ("Twilio account", target["twilio_account"]),
                ("PBX", target["pbx"]),
                ("Run", runbook.run_id),
                ("Opened (UTC)", self._opened),
            ),
        )

    def show_header(self) -> None:
        """Show the header; later changes of the mode show in the same place."""
        from IPython.display import display

        self._header_display = display(self.header, display_id=True)

    def mode_switch(self) -> Shown:
        """Show the mode, with a control to change it for this notebook; headless, only as text."""
        switch = ModeSwitch(self.mode, self._runbook.context.tenant.name, self._switch)
        return switch.without_control() if RUN_FOLDER in os.environ else switch

    def current(self) -> Stack:
        """Read the current state and show it."""
        with told_plainly():
            views = self._run.current()
        self._read = True
        return Stack(tuple(view_table(view) for view in views))

    def plan(self) -> Stack:
        """Read, and show what turns the current state into the desired one."""
        with told_plainly():
            part = self._run.plan()
        self._read = True
        return plan_shown(part)

    def apply(self) -> Shown:
        """Carry out the plan in mode ``apply``; in another mode, say that nothing was written."""
        with told_plainly():
            outcome = self._run.apply()
        if outcome is None:
            return Box("info", "Nothing was written.", (NOTHING_WRITTEN[self.mode],))
        return outcome_shown(outcome)

    def verify(self) -> Stack:
        """Read back, and show it beside the guide's expected result."""
        with told_plainly():
            verification = self._run.verify()
        return verification_shown(verification, planning=self.mode == "plan")

    def finish(self) -> Shown:
        """Keep the section's result, sign out, and say where the record lies.

        A mode chosen by the switch ends here: the page goes back to that of the parameter cell.
        """
        result = self._run.finish()
        requests = ", ".join(f"{count} to {vendor}" for vendor, count in result["requests"].items()) or "none"
        lines = [
            f"Run {result['run_id']}, {result['seconds']:.1f} s",
            f"Requests: {requests}; writes: {result['writes']}",
            f"Journal: {result['journal']}",
            f"Folder: {self._folder()}",
        ]
        if self.mode != self._mode:
            self._switch(self._mode)
            lines.append(f"The mode is {self._mode} again.")
        tone = "good" if result["outcome"] == "succeeded" else "stop"
        return Box(tone, f"Section {self._number} {result['outcome']}.", tuple(lines))

    def call_path(self) -> Picture:
        """Section 3: show the path that calls in will take, in failover order."""
        self._read_once()
        settings = self._runbook.context.settings
        return call_path(self._run.call_path, settings.pbx_address, settings.domain)

    def outbound_path(self) -> Picture:
        """Section 2: show the path that calls out take, and what Twilio checks."""
        settings = self._runbook.context.settings
        return outbound_path(
            settings.domain, settings.pbx_address, ", ".join(settings.acl_addresses), settings.username
        )

    def _open(self, mode: str) -> None:
        plan_file, approved_plan, approved_by = self._approval
        self._runbook = Runbook.open(
            self._site,
            self._tenant,
            mode=mode,
            plan_file=plan_file,
            approved_plan=approved_plan,
            approved_by=approved_by,
            sections=() if self._number in RUN_ORDER else (self._number,),
            **self._options,
        )
        self._run: SectionRun = self._runbook.section(self._number)
        self._opened = now()
        self._read = False

    def _switch(self, mode: str) -> None:
        before = self._runbook
        self._open(mode)
        before.context.close()
        if self._header_display is not None:
            self._header_display.update(self.header)

    def _read_once(self) -> None:
        if not self._read:
            self.current()

    def _folder(self) -> str:
        folder, root = self._runbook.folder, self._runbook.context.root
        return str(folder.relative_to(root)) if folder.is_relative_to(root) else str(folder)
