"""The page that a notebook opens: for which parameters it is, and what every kind of page does."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from functools import wraps
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from ..approval import SUFFIX, GivenApproval, approval_of
from ..errors import RunbookError, StalePageError
from ..guide import READS_ONLY, ROLL_BACK, RUN_ORDER, WHOLE
from ..keys import Why
from ..lock import whoami
from ..parameters import project_root, settled
from ..paths import current_folder, locate, near
from ..plan import Plan, Slice
from ..records.result import now, write_json
from ..runbook import Runbook
from .apply_form import ApplyForm
from .child import Order
from .display import Box, Shown, utc
from .failures import told_plainly
from .header import Header
from .live import Displays
from .offers import Approver, offer
from .outgoing import filter_kernel_output
from .passing import check_passed
from .served import Served
from .tables import Stack, first_block_shown
from .watch import watch_cells
from .widgets import is_watched

if TYPE_CHECKING:
    from ..parameters import Source
    from ..records.waits import Wait

S = TypeVar("S")
ShownT = TypeVar("ShownT", bound=Shown)
P = ParamSpec("P")
PageT = TypeVar("PageT", bound="Page")


def in_turn(
    method: Callable[Concatenate[PageT, P], S],
) -> Callable[Concatenate[PageT, P], S]:
    """Let a cell and the thread that reads again after a run use the page one after the other."""

    @wraps(method)
    def call(page: PageT, /, *args: P.args, **kwargs: P.kwargs) -> S:
        with page.turn:
            return method(page, *args, **kwargs)

    return call


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


class Page(ABC):
    """What every page does: it opens its parameters, shows what it works on, and offers its plan in a form.

    Errors of the runbook fail the cell and are shown without a stack trace. Once the notebook has other
    parameters than the page, every cell raises ``StalePageError`` and sends nothing.
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
        #: The plan on display; its digest, and the file that an approver reads.
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
                can_apply=self._can_apply,
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
        """Show a run that is working on the tenant, with the button that cancels it."""
        if self.form is not None:
            self.form.show_run()
            self.form.watch()

    @in_turn
    def refresh(self) -> None:
        """Read again what the cells show, and update it in place; after any run, whoever started it."""
        if self._displays is None or not self.is_current():
            return
        self._runbook.context.moment.begin()
        self._displays.refresh()

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
            self._runbook.context.waits.listeners.append(self._say_that_it_waits)
        #: The results of the sections that this page runs, so far.
        self._results = list[dict[str, Any]]()
        self._opened = now()
        self._last_read = None
        self._read = self._ended = False

    def _say_that_it_waits(self, wait: Wait | None) -> None:
        """Say in the cell that runs, once for each reason, why it takes longer."""
        from IPython import get_ipython
        from IPython.display import display

        if wait is None:
            return
        cell = (wait.why, getattr(get_ipython(), "execution_count", None))
        if cell in self._waited or (self._displays is not None and self._displays.is_refreshing):
            return
        self._waited.add(cell)
        told = f"{utc()}: {wait.why}."
        display(Box("info", told, ("This cell waits, and tries again by itself.",)).headed(self.name))

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
        """Discard what was read before or during a run's writes; show a run that is in progress."""
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

    def _live(self, shown: ShownT, again: Callable[[], Shown], read: str | None = None) -> ShownT:
        """The same, headed by whose it is and when it was read; where a person watches, it is read again."""
        shown = shown.headed(self.name, self._read_at if read is None else read)
        if self._displays is not None:
            self._displays.follow(shown, again)
        return shown

    def _must_be_current(self) -> None:
        self.is_current()  # withdraws the page if the parameters have changed
        if self._withdrawn is not None:
            with told_plainly():
                raise StalePageError(self._withdrawn)

    def _planned(self, part: Slice) -> None:
        """Keep the plan that is about to be shown, and offer it if it can be applied here."""
        self._read = True
        self._part = part
        if self.form is not None and self._can_apply:
            self._offer(self.form, part)

    def _asks(self) -> bool:
        """Show the form, where a person can apply the plan; whether it is shown."""
        self._must_be_current()
        if self.form is None or not self._can_apply:
            return False
        self.form.show()
        return True

    @contextmanager
    def _telling_first_of_a_failure(self) -> Iterator[None]:
        """Show below the header what the record says first if the ``with`` block raises."""
        try:
            yield
        except BaseException:
            self._tell_first()
            raise

    def _tell_first(self) -> None:
        """Show below the header what the record says first: its reader finds it before anything else.

        A page that somebody watches writes nothing itself, so its header stays as it is.
        """
        if self._header_display is not None and self.form is None and self._results:
            first = first_block_shown(self._runbook.first_block(*self._results))
            self._header_display.update(Stack((self.header, first)))

    def _about_the_run(self) -> list[str]:
        """What the last box of a run's page says below its title."""
        results = self._results
        sent = Counter[str]()
        for result in results:
            sent.update(result["requests"])
        writes = sum(result["writes"] for result in results)
        cautions = dict.fromkeys(chain.from_iterable(result["cautions"] for result in results))
        return [
            f"Run {self._runbook.run_id}, {sum(result['seconds'] for result in results):.1f} s",
            f"Requests: {requests_in_words(sent)}; writes: {writes}",
            *([f"Journal: {results[-1]['journal']}"] if writes or self.mode == "apply" else []),
            # Without the machine's own folders: this is read elsewhere.
            f"Record: {'/'.join(self._runbook.folder.parts[-4:])}",
            *(f"Check this: {caution}" for caution in cautions),
        ]

    @abstractmethod
    def _permitted(self) -> Slice:
        """The plan that is shown, as if changes that interrupt calls were allowed."""

    @abstractmethod
    def _plan_of(self, part: Slice) -> Plan:
        """The plan with these rows, in the form that is stored and approved."""

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

        An identical plan that a page of this tenant wrote earlier, and that has been approved since, is used.
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
        """Offer the plan that waits for an approval as soon as the approval exists."""
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

    def _near(self, path: Path) -> str:
        """A path as a person in the workspace would type it."""
        return near(path, self._runbook.context.root)


def requests_in_words(sent: Mapping[str, int]) -> str:
    """Return how many requests each vendor got, or ``none``."""
    return ", ".join(f"{count} to {vendor}" for vendor, count in sent.items()) or "none"


def _settled(site: Source, tenant: Source, approval: GivenApproval) -> tuple[Source, Source, GivenApproval]:
    """The parameters with full paths in the place of files that the current folder may decide on."""
    root, plan_file = project_root(), approval["plan_file"]
    if plan_file and (path := locate(plan_file, current_folder(), root)):
        approval = {**approval, "plan_file": str(path)}
    return settled(site, root), settled(tenant, root), approval
