"""One section in a notebook: every cell calls one method and shows what it returns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..approval import GivenApproval
from ..errors import InputError, StalePageError
from ..guide import READS_ONLY, ROLL_BACK, RUN_ORDER, SECTIONS, STEPS, section_of
from ..lock import whoami
from ..parameters import project_root, settled
from ..paths import current_folder, locate, near
from ..plan import CHANGING, STOPPING, Action, Slice
from ..records.result import now, write_json
from ..runbook import Runbook, SectionRun
from .child import Order
from .diagrams import Picture, call_path, outbound_path
from .display import SANS, Box, Shown, badge, escaped, facts, visible
from .failures import told_plainly
from .forms import EXPLAINED, ApplyForm, is_watched, offer
from .outgoing import filter_kernel_output
from .passing import check_passed
from .served import Served
from .tables import (
    Stack,
    Table,
    first_block_shown,
    outcome_shown,
    plan_shown,
    step_table,
    verification_shown,
    view_table,
)
from .watch import watch_cells

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
    filter_kernel_output()
    watch = watch_cells()
    if watch is not None:
        watch.start_opening()
    with told_plainly():
        check_passed(mode, options)
    approval: GivenApproval = {
        "plan_file": plan_file,
        "approved_plan": approved_plan,
        "approved_by": approved_by,
    }
    page = SectionPage(number, site, tenant, mode, approval, options, watched=is_watched())
    page.show_header()
    if watch is not None:
        watch.opened(page, {"site": site, "tenant": tenant, "mode": mode, **approval, **options})
    return page


@dataclass(frozen=True, repr=False)
class Header(Shown):
    """What a run works on: the first thing on a page."""

    section: str
    target: str
    mode: str
    facts: tuple[tuple[str, str], ...]

    @property
    def _banner(self) -> str:
        if self.target == "live":
            return "LIVE: changes affect the telephone service of a real business"
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
    """A section's notebook: ``step`` for each, ``current``, ``plan``, ``apply``, ``verify``, ``finish``.

    Errors of the runbook fail the cell and are shown without a stack trace. Once the notebook has other
    parameters than the page, every method raises ``StalePageError`` and sends nothing.
    """

    def __init__(
        self,
        number: str,
        site: Source,
        tenant: Source,
        mode: str,
        approval: GivenApproval,
        options: Mapping[str, Any],
        *,
        watched: bool = False,
    ) -> None:
        self._number, self._options = number, options
        self._mode = "plan" if watched and mode == "apply" else mode
        self._header_display: Any = None
        self._withdrawn: str | None = None
        with told_plainly():
            # The same files to the end, even if a cell changes the current folder.
            self._site, self._tenant, self._approval = _settled(site, tenant, approval)
            self._open()
        context, target = self._runbook.context, self._runbook.target["target"]
        self.form: ApplyForm | None = None
        if watched and self._mode == "plan" and number != READS_ONLY:
            records = context.records / context.owner.name
            self.form = ApplyForm(
                target, self.name, context.root, records, Served.by_this_kernel(), self.is_current
            )

    @property
    def name(self) -> str:
        """What the page is for, as the headings name it and the form asks for it: ``site/tenant``."""
        context = self._runbook.context
        return f"{context.site.name}/{context.owner.name}"

    @property
    def _read_at(self) -> str:
        """When what is shown was read, for its heading."""
        began = self._runbook.context.moment.began
        return "" if began is None else f"read {began:%H:%M:%S} UTC"

    def is_current(self) -> bool:
        """Whether the page is still for the notebook's parameters, as far as the kernel can know."""
        watch = watch_cells()
        settled = watch is None or watch.check()
        return settled and self._withdrawn is None

    def withdraw(self, reason: str) -> None:
        """Disable the cells and the form from now on; ``reason`` is one sentence."""
        self._withdrawn = reason
        if self.form is not None:
            self.form.withdraw(reason)

    @property
    def mode(self) -> str:
        """The mode that the cells work in."""
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
                ("Tenant", runbook.context.owner.name),
                ("Files", ", ".join(self._named(one) for one in (self._site, self._tenant))),
                ("Twilio account", target["twilio_account"]),
                ("PBX", target["pbx"]),
                ("Run", runbook.run_id),
                ("Opened (UTC)", self._opened),
            ),
        )

    def show_header(self) -> None:
        """Show the header; a later run of the same page replaces it in the same place."""
        from IPython.display import display

        self._header_display = display(self.header, display_id=True)

    @contextmanager
    def _told_first(self) -> Iterator[None]:
        """Show below the header what the record says first, also when the ``with`` block raises.

        A reader of the record finds it there before anything else. A page that somebody watches writes
        nothing itself, so its header stays as it is.
        """
        try:
            yield
        finally:
            if self._header_display is not None and self.form is None:
                first = first_block_shown(self._run.first_block())
                self._header_display.update(Stack((self.header, first)))

    def step(self, step: str) -> Table:
        """Show the settings of one step of the guide, desired beside current; read only what is missing."""
        self._begin()
        with told_plainly():
            if step not in STEPS or (self._number in RUN_ORDER and section_of(step).number != self._number):
                raise InputError([f"step: {step!r} is not a step of section {self._number}"])
            rows = self._run.step(step)
        return step_table(step, rows).headed(self.name, self._read_at)

    def current(self) -> Stack:
        """Read the current state and show it: ``state["Origination URIs"]`` is a pandas frame."""
        self._begin()
        with told_plainly():
            views = self._run.current()
        self._read = True
        return Stack(tuple(view_table(view) for view in views)).headed(self.name, self._read_at)

    def plan(self) -> Stack:
        """Read, and show what turns the current state into the desired one."""
        self._begin()
        with told_plainly():
            part = self._run.plan()
        self._read = True
        if self.form is not None:
            self._offer(self.form, part)
        return plan_shown(part, self._run.cautions).headed(self.name, self._read_at)

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

    def apply(self) -> Shown | None:
        """Carry out the plan in mode ``apply``; in other modes, report that nothing was written.

        For an interactive user, show the form whose button applies the plan in a separate process.
        """
        self._must_be_current()
        if self.form is not None:
            self.form.show()
            return None
        with self._told_first(), told_plainly():
            outcome = self._run.apply()
        if outcome is None:
            return Box("info", "Nothing was written.", (NOTHING_WRITTEN[self.mode],)).headed(self.name)
        return outcome_shown(self._number, outcome).headed(self.name)

    def verify(self) -> Stack:
        """Read back, and compare with the guide's expected result."""
        self._begin()
        with self._told_first(), told_plainly():
            verification = self._run.verify()
        shown = verification_shown(self._number, verification, planning=self.mode == "plan")
        return shown.headed(self.name, self._read_at)

    def finish(self) -> Shown:
        """Save the section's result, sign out, and show where the record is.

        A cell that is run after this begins a new run.
        """
        self._begin()
        with self._told_first():
            result = self._run.finish()
        requests = ", ".join(f"{count} to {vendor}" for vendor, count in result["requests"].items()) or "none"
        lines = [
            f"Run {result['run_id']}, {result['seconds']:.1f} s",
            f"Requests: {requests}; writes: {result['writes']}",
            f"Journal: {result['journal']}",
            f"Folder: {self._near(self._runbook.folder)}",
            *(f"Check this: {caution}" for caution in result["cautions"]),
        ]
        self._ended = True
        return Box(*self._told(result), tuple(lines)).headed(self.name)

    def _told(self, result: dict[str, Any]) -> tuple[str, str]:
        """Tone and title of the closing box: a plan that could not be applied is not a success."""
        rows = [Action(row["action"]) for row in result.get("plan") or ()]
        stopping = sum(action in STOPPING for action in rows)
        if result["outcome"] != "succeeded":
            return "stop", f"Section {self._number} {result['outcome']}."
        if self.mode == "plan" and stopping:
            return "caution", f"Section {self._number} is planned; in conflict or blocked: {_rows(stopping)}."
        if self.mode == "plan":
            changing = sum(action in CHANGING for action in rows)
            return "good", f"Section {self._number} is planned; {_rows(changing)} to apply."
        return "good", f"Section {self._number} succeeded."

    def call_path(self) -> Picture:
        """Section 3: show the path that inbound calls will take, in failover order."""
        self._must_be_current()
        self._read_once()
        settings = self._runbook.context.settings
        return call_path(self._run.call_path, settings.pbx_address, settings.domain).headed(self.name)

    def number_regions(self) -> Stack:
        """Section 4: read and show which Region serves each number; one request per number."""
        self._begin()
        with told_plainly():
            view = self._run.number_regions()
        return Stack((view_table(view),)).headed(self.name, self._read_at)

    def outbound_path(self) -> Picture:
        """Section 2: show the path that outbound calls take, and what Twilio checks."""
        self._must_be_current()
        settings = self._runbook.context.settings
        return outbound_path(
            str(settings.termination),
            settings.pbx_address,
            ", ".join(settings.acl_addresses),
            settings.username,
        ).headed(self.name)

    def _open(self) -> None:
        self._runbook = Runbook.open(
            self._site,
            self._tenant,
            mode=self._mode,
            sections=() if self._number in RUN_ORDER else (self._number,),
            **self._approval,
            **self._options,
        )
        self._run: SectionRun = self._runbook.section(self._number)
        self._opened = now()
        self._read = self._ended = False

    def _begin(self) -> None:
        """Begin a new run after the last one has ended."""
        self._must_be_current()
        if self.form is not None and self.form.may_have_written():
            self._runbook.context.moment.begin()
        if not self._ended:
            return
        opened_for = self.name, self._runbook.context.journal.target
        with told_plainly():
            self._open()
        if opened_for != (self.name, self._runbook.context.journal.target):
            self.withdraw(
                f"The parameter files no longer name the site and tenant that this page was opened for"
                f" ({opened_for[0]}), so no cell below does anything: run the opening cell again."
            )
        self._must_be_current()
        if self._header_display is not None:
            self._header_display.update(self.header)

    def _must_be_current(self) -> None:
        self.is_current()  # withdraws the page if the parameters have changed
        if self._withdrawn is not None:
            with told_plainly():
                raise StalePageError(self._withdrawn)

    def _offer(self, form: ApplyForm, part: Slice) -> None:
        """Let the form offer exactly the plan that is shown, or the one that the parameters name."""
        approval: GivenApproval | None
        approval, policy = self._approval, self._runbook.context.site.policies.approval
        digest = approval["approved_plan"] or self._runbook.plan_of(part).digest
        if not any(approval.values()):
            approval = self._own_approval(part) if policy == "none" else None
        elif approval["plan_file"]:
            approval = {**approval, "plan_file": self._near(Path(approval["plan_file"]))}
        order = None
        if approval is not None:
            options = dict(self._options)
            if self._number == ROLL_BACK:
                options["record"] = (
                    self._runbook.context.to_undo.name
                )  # the one that is shown, if none is named
            site, tenant = self._file(self._site, "site"), self._file(self._tenant, "tenant")
            order = Order(self._number, site, tenant, approval, options)
        form.offer(offer(part, order, digest))

    def _own_approval(self, part: Slice) -> GivenApproval:
        """Keep a plan as a file: who confirms what is shown approves this plan and no other."""
        plan = self._runbook.plan_of(part)
        name = f"{self._number}.plan-{plan.digest.removeprefix('sha256:')[:12]}.json"
        path = write_json(self._runbook.folder / name, plan.to_document())
        return {"plan_file": self._near(path), "approved_plan": plan.digest, "approved_by": whoami()}

    def _file(self, source: Source, name: str) -> str:
        """Parameters as a file that a command can name; content that papermill passed becomes one."""
        if isinstance(source, Mapping):
            source = write_json(self._runbook.folder / f"{name}.yaml", source)
        return self._near(source) if isinstance(source, Path) else source

    def _named(self, source: Source) -> str:
        """Parameters as the header names them, so that two folders in one run are seen."""
        return "content that was passed" if isinstance(source, Mapping) else self._near(Path(source))

    def _read_once(self) -> None:
        if not self._read:
            self.current()

    def _near(self, path: Path) -> str:
        """A path as a person in the workspace would type it."""
        return near(path, self._runbook.context.root)


def _settled(site: Source, tenant: Source, approval: GivenApproval) -> tuple[Source, Source, GivenApproval]:
    """The parameters with full paths in the place of files that the current folder may decide on."""
    root, plan_file = project_root(), approval["plan_file"]
    if plan_file and (path := locate(plan_file, current_folder(), root)):
        approval = {**approval, "plan_file": str(path)}
    return settled(site, root), settled(tenant, root), approval


def _rows(count: int) -> str:
    return f"{count or 'no'} {'row' if count == 1 else 'rows'}"
