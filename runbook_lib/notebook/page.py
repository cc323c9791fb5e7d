"""One section in a notebook: every cell calls one method and shows what it returns."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from ..approval import SUFFIX, GivenApproval, approval_of
from ..errors import InputError, RunbookError, StalePageError
from ..guide import READS_ONLY, ROLL_BACK, RUN_ORDER, SECTIONS, STEPS, WHOLE, section_of
from ..keys import Why
from ..lock import whoami
from ..outcomes import SUCCEEDED
from ..parameters import project_root, settled
from ..paths import current_folder, locate, near
from ..plan import CHANGING, STOPPING, TO_LOOK_AT, Action, Plan, Slice
from ..records.result import now, write_json
from ..runbook import Runbook
from ..section_run import SectionRun
from .child import Order
from .diagrams import Picture, call_path, outbound_path
from .display import SANS, Box, Shown, badge, escaped, facts, utc, visible
from .failures import told_plainly
from .forms import EXPLAINED, ApplyForm, Approver, is_watched, offer
from .live import Displays
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

S = TypeVar("S")
P = ParamSpec("P")
PageT = TypeVar("PageT", bound="SectionPage")


def in_turn(
    method: Callable[Concatenate[PageT, P], S],
) -> Callable[Concatenate[PageT, P], S]:
    """Let a cell and the thread that reads again after a run use the page one after the other."""

    @wraps(method)
    def call(page: PageT, /, *args: P.args, **kwargs: P.kwargs) -> S:
        with page.turn:
            return method(page, *args, **kwargs)

    return call


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


def open_page(
    kind: type[PageT],
    number: str,
    site: Source,
    tenant: Source,
    mode: str,
    approval: GivenApproval,
    options: Mapping[str, Any],
) -> PageT:
    """Open a page of this kind, in the place of the one that was opened before; as ``open_section``."""
    filter_kernel_output()
    watch = watch_cells()
    if watch is not None:
        watch.start_opening()
    with told_plainly():
        check_passed(mode, options)
    page = kind(number, site, tenant, mode, approval, options, watched=is_watched())
    page.show_header()
    page.show_run()
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

    @property
    def _title(self) -> str:
        whole = self.section == WHOLE
        return "The whole tenant" if whole else f"{self.section} · {SECTIONS[self.section].title}"

    def html(self) -> str:
        colour = "#b3152b" if self.target == "live" else "#1f5f99"
        title = self._title
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
            self._title,
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
        self._number, self._options, self._watched = number, options, watched
        #: Of which cells it was said that they wait for a vendor.
        self._waited: set[object] = set()
        self._mode = "plan" if watched and mode == "apply" else mode
        self._header_display: Any = None
        self._withdrawn: str | None = None
        self._last_read: datetime | None = None
        #: One cell at a time, or the thread that reads again after a run.
        self.turn = threading.RLock()
        with told_plainly():
            # The same files to the end, even if a cell changes the current folder.
            self._site, self._tenant, self._approval = _settled(site, tenant, approval)
            self._open()
        context, target = self._runbook.context, self._runbook.target["target"]
        #: What the cells show, where a person watches: it is read again in place when a run has ended.
        self._displays = Displays() if watched else None
        #: The plan that is shown, and where it lies, by its digest, for whoever approves it.
        self._part: Slice | None = None
        self._plan_file: tuple[str, Path] | None = None
        self._approvals_seen: tuple[Path, ...] = ()
        self._run_seen: Path | None = None
        self.form: ApplyForm | None = None
        if watched:
            self.form = ApplyForm(
                target,
                self.name,
                context.root,
                context.records / context.owner.name,
                Served.by_this_kernel(),
                self.is_current,
                self.refresh,
                self._look_for_approval,
                can_apply=self._mode == "plan" and number != READS_ONLY,
            )

    @property
    def name(self) -> str:
        """What the page is for, as the headings name it and the form asks for it: ``site/tenant``."""
        context = self._runbook.context
        return f"{context.site.name}/{context.owner.name}"

    @property
    def _read_at(self) -> str:
        """When what is shown was read, for its heading; it may be of a moment that a run has ended since."""
        self._last_read = self._runbook.context.moment.began or self._last_read
        return f"as of {utc()}" if self._last_read is None else f"read {utc(self._last_read)}"

    def is_current(self) -> bool:
        """Whether the page is still for the notebook's parameters, as far as the kernel can know."""
        watch = watch_cells()
        settled = watch is None or watch.check()
        return settled and self._withdrawn is None

    def withdraw(self, reason: str) -> None:
        """Do nothing from now on, for ``reason``, one sentence: neither the cells nor the form."""
        self._withdrawn = reason  # at once, without waiting for a turn
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

    def show_run(self) -> None:
        """Show a run that works on the tenant now, and whoever cancels it does so here."""
        if self.form is not None:
            self.form.show_run()
            self.form.watch()

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

    @in_turn
    def refresh(self) -> None:
        """Read again what the cells show, and show it in its place; after a run, whoever started it."""
        if self._displays is None or not self.is_current():
            return
        self._runbook.context.moment.begin()
        self._displays.refresh()

    @in_turn
    def step(self, step: str) -> Table:
        """Show the settings of one step of the guide, desired beside current; read only what is missing."""
        self._begin()
        with told_plainly():
            if step not in STEPS or (self._number in RUN_ORDER and section_of(step).number != self._number):
                raise InputError([f"step: {step!r} is not a step of section {self._number}"])
            rows = self._run.step(step)
        shown = step_table(step, rows).headed(self.name, self._read_at)
        return self._live(shown, partial(self.step, step))

    @in_turn
    def current(self) -> Stack:
        """Read the current state and show it: ``state["Origination URIs"]`` is a pandas frame."""
        self._begin()
        with told_plainly():
            views = self._run.current()
        self._read = True
        shown = Stack(tuple(view_table(view) for view in views)).headed(self.name, self._read_at)
        return self._live(shown, self.current)

    @in_turn
    def plan(self) -> Stack:
        """Read, and show what turns the current state into the desired one."""
        self._begin()
        with told_plainly():
            part = self._run.plan()
        self._read = True
        self._part = part
        if self.form is not None and self._can_apply:
            self._offer(self.form, part)
        shown = plan_shown(part, self._run.cautions).headed(self.name, self._read_at)
        return self._live(shown, self.plan)

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
        self._must_be_current()
        if self.form is not None and self._can_apply:
            self.form.show()
            return None
        with self._told_first(), told_plainly():
            outcome = self._run.apply()
        if outcome is None:
            return Box("info", "Nothing was written.", (NOTHING_WRITTEN[self.mode],)).headed(self.name)
        return outcome_shown(self._number, outcome).headed(self.name)

    @in_turn
    def verify(self) -> Stack:
        """Read back, and compare with the guide's expected result."""
        self._begin()
        with self._told_first(), told_plainly():
            verification = self._run.verify()
        shown = verification_shown(self._number, verification, planning=self.mode == "plan")
        return self._live(shown.headed(self.name, self._read_at), self.verify)

    @in_turn
    def finish(self) -> Shown:
        """Save the section's result, sign out, and show where the record is.

        A cell that is run after this begins a new run.
        """
        self._begin()
        read = self._read_at
        with self._told_first():
            result = self._run.finish()
        requests = ", ".join(f"{count} to {vendor}" for vendor, count in result["requests"].items()) or "none"
        lines = [
            f"Run {result['run_id']}, {result['seconds']:.1f} s",
            f"Requests: {requests}; writes: {result['writes']}",
            *([f"Journal: {result['journal']}"] if result["writes"] or self.mode == "apply" else []),
            # Without the machine's own folders: this is read elsewhere.
            f"Record: {'/'.join(self._runbook.folder.parts[-4:])}",
            *(f"Check this: {caution}" for caution in result["cautions"]),
        ]
        self._ended = True
        return self._live(Box(*self._told(result), tuple(lines)).headed(self.name, read), self.finish)

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
            return "caution", f"Section {number} planned: {_rows(stopping)} in conflict or blocked."
        if self.mode == "plan":
            changing = sum(action in CHANGING for action in rows)
            if changing:
                return "info", f"Section {number} planned: {_rows(changing)} to apply."
            if any(row.get("why") in TO_LOOK_AT for row in result["plan"]):
                return (
                    "caution",
                    f"Section {number} planned: nothing to change; look at its marks.",
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
        return self._live(shown.headed(self.name, self._read_at), self.call_path)

    @in_turn
    def number_regions(self) -> Stack:
        """Section 4: read and show which Region serves each number; one request per number."""
        self._begin()
        with told_plainly():
            view = self._run.number_regions()
        shown = Stack((view_table(view),)).headed(self.name, self._read_at)
        return self._live(shown, self.number_regions)

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
        return self._live(shown.headed(self.name, f"as of {utc()}"), self.outbound_path)

    def _open(self) -> None:
        self._runbook = Runbook.open(
            self._site,
            self._tenant,
            mode=self._mode,
            sections=() if self._number in (*RUN_ORDER, WHOLE) else (self._number,),
            **self._approval,
            **self._options,
        )
        if self._watched:
            self._runbook.context.waits = self._say_that_it_waits
        if self._number != WHOLE:
            self._run: SectionRun = self._runbook.section(self._number)
        self._opened = now()
        self._last_read = None
        self._read = self._ended = False

    def _say_that_it_waits(self, vendor: str) -> None:
        """Say in the cell that runs, once, that it takes longer because a vendor wants it to."""
        from IPython import get_ipython
        from IPython.display import display

        cell = (vendor, getattr(get_ipython(), "execution_count", None))
        if cell in self._waited or (self._displays is not None and self._displays.is_refreshing):
            return
        self._waited.add(cell)
        told = f"{vendor} asked at {utc()} for fewer requests: this waits, and asks again for some minutes."
        display(Box("info", told, ("Nothing is wrong, and there is nothing to do.",)).headed(self.name))

    def _permitted(self) -> Slice:
        """The plan that is shown, as if changes that interrupt calls were allowed."""
        return self._run.permitted()

    def _plan_of(self, part: Slice) -> Plan:
        """The plan whose rows these are, as it is kept and approved."""
        return self._runbook.plan_of(part)

    def _begin(self) -> None:
        """Begin a new run after the last one has ended."""
        self._must_be_current()
        self._look_for_run()
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

    def _look_for_run(self) -> None:
        """Believe nothing that was read before or while a run was writing; show one that goes on."""
        if self.form is None:
            return
        follower = self.form.follower
        goes_on, seen = follower.find(), follower.run.folder if follower.run else None
        if goes_on or seen != self._run_seen:
            self._runbook.context.moment.begin()
        self._run_seen = None if goes_on else seen  # and once more when it has ended
        watch = watch_cells()
        if goes_on and watch is not None and watch.is_first_of_several:
            self.form.show_run()

    @property
    def _can_apply(self) -> bool:
        return self._mode == "plan" and self._number != READS_ONLY

    def _live(self, shown: S, again: Callable[[], Shown]) -> S:
        """The same, which is read again in its place after a run; where a person watches."""
        if self._displays is not None and isinstance(shown, Shown):
            self._displays.follow(shown, again)
        return shown

    def _must_be_current(self) -> None:
        self.is_current()  # withdraws the page if the parameters have changed
        if self._withdrawn is not None:
            with told_plainly():
                raise StalePageError(self._withdrawn)

    def _offer(self, form: ApplyForm, part: Slice) -> None:
        """Let the form offer exactly the plan that is shown, or the one that the parameters name."""
        given, policies = self._approval, self._runbook.context.site.policies
        waits_for_permission = part.stopping and all(row.why is Why.NO_LEAVE for row in part.stopping)
        if waits_for_permission and not any(given.values()):
            part = self._permitted()
        approval: GivenApproval | None = given
        approver, digest = None, given["approved_plan"] or self._plan_of(part).digest
        if not any(given.values()) and part.changing and not part.stopping:
            path = self._kept_plan(part)
            if policies.approval == "none":
                by: str | None = whoami()
            else:
                approver, by = self._approver(path), None
            approval = {"plan_file": self._near(path), "approved_plan": by and digest, "approved_by": by}
            if approver is not None and not approver.by:
                approval = None
        elif given["plan_file"]:
            approval = {**given, "plan_file": self._near(Path(given["plan_file"]))}
        order = None
        if approval is not None:
            options = dict(self._options)
            if self._number == ROLL_BACK:
                options["record"] = (
                    self._runbook.context.to_undo.name
                )  # the one that is shown, if none is named
            site, tenant = self._file(self._site, "site"), self._file(self._tenant, "tenant")
            order = Order(self._number, site, tenant, approval, options)
        ticket = policies.ticket if policies.approval == "none" else None  # else it is that of the approval
        offered = offer(part, order, digest, approver, ticket or "")
        form.offer(replace(offered, box=offered.box.headed("", f"plan {self._read_at}")))

    def _kept_plan(self, part: Slice) -> Path:
        """Keep a plan as a file: who confirms what is shown approves this plan and no other.

        One that this tenant's pages wrote before and that somebody has approved meanwhile is that plan too.
        """
        plan = self._plan_of(part)
        name = f"{self._number}.plan-{plan.digest.removeprefix('sha256:')[:12]}.json"
        runs = self._runbook.context.records / self._runbook.context.owner.name
        for path in sorted(runs.glob(f"*/{name}"), reverse=True):
            if any(path.parent.glob(f"*{SUFFIX}")) and self._approver(path).by:
                return path
        if self._plan_file is None or self._plan_file[0] != plan.digest or not self._plan_file[1].exists():
            self._plan_file = plan.digest, write_json(self._runbook.folder / name, plan.to_document())
        return self._plan_file[1]

    def _approver(self, plan_file: Path) -> Approver:
        """Who has approved a plan's file, as an apply would check it; sends nothing."""
        path = self._near(plan_file)
        if not any(plan_file.parent.glob(f"*{SUFFIX}")):
            return Approver(path)
        try:
            context = self._runbook.context
            approval = approval_of(context, self._runbook.target, str(plan_file), None, None)
        except RunbookError as error:
            return Approver(path, trouble=error.what)
        assert approval is not None, "a plan was given"
        return Approver(path, by=f"{approval.by['who']} ({approval.by['how']})")

    def _look_for_approval(self) -> None:
        """Offer the plan that waits for an approval as soon as that is there."""
        if self._plan_file is None or self.form is None or self.form.has_order or self._part is None:
            return
        found = tuple(sorted(self._plan_file[1].parent.glob(f"*{SUFFIX}*")))
        if found and found != self._approvals_seen and self.is_current():
            with self.turn:
                self._approvals_seen = found
                self._offer(self.form, self._part)

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
