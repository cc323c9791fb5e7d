"""The apply form: the one control of a section's notebook.

It never writes itself: it starts the command that an operator could type, and follows its record.
"""

from __future__ import annotations

import itertools
import os
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from IPython import get_ipython

from ..guide import RUN_ORDER, SECTIONS, TRUNK_ORDER, WHOLE
from ..outcomes import INTERRUPTED, RUNNING, SUCCEEDED, UNKNOWN
from ..plan import Effect, Slice
from ..records.living import Phase
from ..records.result import RUN_FOLDER
from . import child
from .child import Child, Order
from .display import SANS, Box, Shown, escaped, utc, visible
from .failures import boxed
from .following import Follower
from .runs import RecordedRun, Status
from .served import Served
from .tables import Stack, Table

if TYPE_CHECKING:
    from .panel import Panel

EXPLAINED = {
    "plan": "Reads and compares; changes nothing.",
    "apply": "Carries out the plan, then reads everything back.",
    "verify": "Reads back and fails on any difference; changes nothing.",
}
TONE = {RUNNING: "info", SUCCEEDED: "good", INTERRUPTED: "caution"}
AGAIN = "Run the plan's cell again: it shows what is true now."
#: What a run does, in order, as the form says it.
PHASES: dict[str, str] = {
    Phase.STARTING: "start",
    Phase.SIGNING_IN: "sign in",
    Phase.READING: "read",
    Phase.WRITING: "write",
    Phase.READING_BACK: "read back",
    Phase.ENDING: "keep the record",
}


def is_watched() -> bool:
    """Whether a person can answer what the running cell shows.

    A front end such as JupyterLab says with each cell that it takes input; papermill says that it does not.
    """
    kernel = getattr(get_ipython(), "kernel", None)
    if kernel is None or RUN_FOLDER in os.environ:
        return False
    return bool(kernel.get_parent("shell").get("content", {}).get("allow_stdin"))


@dataclass(frozen=True)
class Offer:
    """What the form offers to apply, or why it offers nothing.

    Parameters
    ----------
    box
        What would be done, or why there is nothing to confirm.
    order
        What would be started; ``None`` where there is nothing to confirm.
    permission
        What has to be ticked: what is interrupted; empty where nothing is.
    ticket
        What the site asks of a ticket, as a regular expression; empty where it asks for none.
    number
        Which offer it is: what is typed for one confirms no other.
    """

    box: Box
    order: Order | None = None
    permission: str = ""
    ticket: str = ""
    number: int = field(default_factory=itertools.count(1).__next__)


def not_planned() -> Offer:
    """Return the offer before there is a plan."""
    return Offer(Box("info", "Nothing to apply yet.", ("Run the cell with the plan first.",)))


@dataclass(frozen=True)
class Approver:
    """Where the site asks for an approval: how to get one, or who has given it.

    ``by`` says who approved; ``plan_file`` is the plan's file that another person is to approve; ``trouble``
    is what is wrong with an approval that is there.
    """

    plan_file: str = ""
    by: str = ""
    trouble: str = ""


def offer(
    part: Slice, order: Order | None, digest: str, approver: Approver | None = None, ticket: str = ""
) -> Offer:
    """Return the offer for a section's plan.

    Parameters
    ----------
    part
        The plan that would be applied.
    order
        What would be started; ``None`` where the site asks for an approval that is not given.
    digest
        The digest of the plan that would be applied.
    approver
        Of a site that asks for an approval.
    ticket
        What the site asks of a ticket.
    """
    lines: tuple[str, ...]
    whole = part.section == WHOLE
    what = "the whole tenant" if whole else f"section {part.section}, {SECTIONS[part.section].title}"
    if part.stopping:
        rows = _count(len(part.stopping), "row is", "rows are")
        lines = ("Resolve each of them first: its note in the plan says how. Then run the plan again.",)
        return Offer(Box("stop", f"Apply would stop: {rows} in conflict or blocked.", lines))
    if not part.changing:
        if not part.rows:
            return Offer(Box("info", "Nothing to apply: the parameters ask for nothing here."))
        return Offer(Box("info", "Nothing to apply: everything is in place."))
    rows = _count(len(part.changing), "row changes", "rows change")
    if order is None:
        assert approver is not None, "an order is missing for want of an approval only"
        lines = (
            f"Effect on calls: {interruptions(part) or 'none'}",
            f"Plan: {digest}, in {approver.plan_file}",
            f"Another person approves it with: runbook approve {approver.plan_file} --ticket TICKET",
            *([f"An approval is there, and does not count: {approver.trouble}"] if approver.trouble else []),
            "This page notices the approval when it arrives.",
        )
        return Offer(Box("stop", f"Approval is missing: {rows} in {what}.", lines))
    lines = (
        f"Changes: {_changes(part)}",
        f"Effect on calls: {interruptions(part) or 'none'}",
        f"Plan: {digest}",
        *([f"Approved by {approver.by}"] if approver is not None and approver.by else []),
        f"The button runs: {order.command}",
    )
    interrupted = interruptions(part)
    permission = f"I accept that calls are interrupted: {interrupted}" if interrupted else ""
    return Offer(Box("caution", f"Apply: {rows} in {what}.", lines), order, permission, ticket)


def interruptions(part: Slice) -> str:
    """Return what carrying out a plan interrupts, such as ``2 both ways, 1 inbound``; empty for nothing."""
    effects = Counter(row.effect for row in part.changing)
    counted = [(effects[effect], str(effect).removeprefix("interrupts ")) for effect in Effect]
    return ", ".join(f"{count} {words}" for count, words in counted if count and words != str(Effect.NONE))


def _changes(part: Slice) -> str:
    counts = Counter(str(row.action) for row in part.changing)
    return ", ".join(f"{count} {action}" for action, count in counts.items())


class ApplyForm(Shown):
    """Asks for ``site/tenant``, starts the child, and shows the run that works on the tenant.

    Parameters
    ----------
    target
        ``"sandbox"`` or ``"live"``.
    name
        ``site/tenant``: what every heading names and what has to be typed.
    root, records
        The workspace's folder, and the tenant's records folder.
    served
        Where the open notebook's server shows files, for the links to the record.
    is_current
        Whether the page is still for the notebook's parameters; asked before anything is started.
    refresh
        Called when a run has ended: reads again what the page shows.
    looked
        Called about once a second while the form is on a page.
    """

    def __init__(
        self,
        target: str,
        name: str,
        root: Path,
        records: Path,
        served: Served,
        is_current: Callable[[], bool],
        refresh: Callable[[], object] = lambda: None,
        looked: Callable[[], object] = lambda: None,
        *,
        can_apply: bool = True,
    ) -> None:
        self.name = name
        self.status: Shown | None = None
        self.follower = Follower(records, self._seen, self._ended, self._looked)
        self._can_apply = can_apply
        self._owner = f"{target.upper()} {name}"
        self._root, self._records, self._served = root, records, served
        self._is_current, self._refresh, self._on_look = is_current, refresh, looked
        self._withdrawn = False
        self._offer = not_planned()
        self._refused = ""
        self._ended_at: str = ""
        self._shown_status: Any = None
        self._handle: Any = None
        self._panel: Panel | None = None
        #: Shows a run that was found by a cell which is not the form's.
        self._run_panel: Panel | None = None

    def show(self) -> None:
        """Show the form, and below it what becomes of a run."""
        from IPython.display import display

        self._refused = ""
        display(self)
        self._handle = display(self.status or Stack(()), display_id=True)
        self.follower.find()
        self.watch()
        if self._offer.order is not None:
            child.start_ahead(self._root)

    def show_run(self) -> bool:
        """Show a run that is in flight and can be cancelled here; whether there is one."""
        from IPython.display import display

        if not self.follower.find():
            return False
        if self._run_panel is None:
            from .panel import Panel

            self._run_panel = Panel(self._view(run_only=True), self.answered)
        display(WithWidget(self.run_shown(), self._run_panel))
        return True

    def watch(self) -> None:
        """Look for runs from now on, also for those that others start."""
        if not self._withdrawn:
            self.follower.keep_looking()

    def offer(self, offered: Offer) -> None:
        """Offer something else from now on; what was typed is asked for again."""
        if not self._withdrawn:
            self._offer = offered
            self._push()

    @property
    def has_order(self) -> bool:
        """Whether something is offered that could be started."""
        return self._offer.order is not None

    def withdraw(self, reason: str) -> None:
        """Stop offering anything, for ``reason``; a run is followed to its end and can be cancelled."""
        self._withdrawn = True
        self.follower.stop_looking()
        box = Box("stop", "This form is withdrawn.", (reason,))
        self._offer = Offer(box.headed("", f"as of {utc()}"))
        self._push()

    @property
    def _box(self) -> Box:
        return self._offer.box.headed(self._owner)

    def html(self) -> str:
        return self._box.html()

    def text(self) -> str:
        return self._box.text()

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        return _with_view(super()._repr_mimebundle_(), self.panel)

    @property
    def panel(self) -> Panel:
        """The controls; made when they are first shown, and the same wherever they are shown again."""
        if self._panel is None:
            from .panel import Panel  # a headless run never loads it

            self._panel = Panel(self._view(), self.answered)
        return self._panel

    def answered(self, content: Mapping[str, Any]) -> None:
        """Do what a person asked for in the panel."""
        if content.get("do") == "cancel":
            self.cancel()
        elif content.get("do") == "apply":
            self.apply(
                name=str(content.get("name", "")),
                number=content.get("offer"),
                permission=content.get("permission") is True,
                ticket=str(content.get("ticket", "")),
                reason=str(content.get("reason", "")),
            )

    def apply(
        self,
        *,
        name: str,
        number: object = None,
        permission: bool = False,
        ticket: str = "",
        reason: str = "",
    ) -> None:
        """Start the child, if that was confirmed for the plan that is offered and none runs.

        ``number`` is the offer that was confirmed; without it, the one that is made now.
        """
        current, offered = self._is_current(), self._offer
        own = child.running(self._records)
        if offered.order is None or not current or own is not None:
            self._push()
            return
        self._refused = self._why_not(offered, name, number, permission, ticket)
        if self._refused:
            self._push()
            return
        options = {**offered.order.options, "ticket": ticket, "reason": reason}
        if offered.permission:
            options["accept_interruption"] = True
        order = replace(offered.order, options=options)
        self.follower.follow(child.start(order, self._root, self._records))

    def cancel(self) -> None:
        """Ask the run to end."""
        self._refused = self.follower.cancel()
        self._push()

    def wait(self, seconds: float) -> None:
        """Wait until the run has ended and that is shown, ``seconds`` at most."""
        self.follower.wait(seconds)

    def _why_not(self, offered: Offer, name: str, number: object, permission: bool, ticket: str) -> str:
        if number is not None and number != offered.number:
            return "The plan was read again meanwhile: look at it, then confirm that one."
        if name.strip() != self.name:
            return f"Nothing was started: type {self.name} to confirm."
        if offered.permission and not permission:
            return "Nothing was started: tick that calls may be interrupted."
        if offered.ticket and not re.fullmatch(offered.ticket, ticket):
            return f"Nothing was started: this site asks for a ticket like {offered.ticket}."
        return ""

    def _seen(self) -> None:
        """Show what was just seen of the run."""
        status = self.follower.status
        assert status is not None, "a run is followed"
        self._ended_at = "" if status.state == RUNNING else self._ended_at or utc()
        self._push()
        static = status.state, len(status.writes), status.written, status.folder, self._is_cancelled
        if static != self._shown_status:
            self._shown_status = static
            self._tell(self.run_shown(whole=False))

    def _ended(self) -> None:
        box = Box("info", "Plan again before the next apply.", (AGAIN,))
        self.offer(Offer(box.headed("", f"as of {utc()}")))
        if not self._withdrawn:
            self._refresh()

    def _looked(self) -> None:
        for panel in (self._panel, self._run_panel):
            if panel is not None:
                panel.beat += 1
        self._on_look()

    @property
    def _is_cancelled(self) -> bool:
        followed = self.follower.followed
        return isinstance(followed, Child) and followed.cancelled

    def _push(self) -> None:
        if self._panel is not None:
            self._panel.view = self._view()
        if self._run_panel is not None:
            self._run_panel.view = self._view(run_only=True)

    def _view(self, *, run_only: bool = False) -> dict[str, Any]:
        """What the panel shows."""
        offered = self._offer
        form = None
        if offered.order is not None and not run_only:
            form = {
                "name": self.name,
                "offer": offered.number,
                "permission": offered.permission,
                "needs_ticket": bool(offered.ticket),
            }
        return {
            "box": "" if run_only or not self._can_apply else self._box.html(),
            "form": form,
            "run": self._run_view(run_only=run_only),
            "refused": self._refused,
        }

    def _run_view(self, *, run_only: bool) -> dict[str, Any] | None:
        status, run = self.follower.status, self.follower.run
        if status is None:
            return None
        box = self._run_box(status)
        running = status.state == RUNNING
        if running:
            current = next((write for write in reversed(status.writes) if write["answer"] is None), None)
            lines = [f"Now: {current['resource']}"] if current else []
            spoken = f"{box.title} {doing(status)}."
        else:
            lines, spoken = [], box.title
        cancellable = isinstance(self.follower.followed, Child) or (run is not None and run.can_be_cancelled)
        return {
            "title": visible(box.title),
            "tone": box.tone,
            "running": running,
            # Its end is shown below the form, with its journal and its record.
            "shown": running or run_only,
            "since": _epoch(run.started) if run and running else None,
            "phases": _phases(status) if running else [],
            "lines": [visible(line) for line in (*lines, *box.lines)],
            "can_cancel": running and cancellable,
            "cancelling": self._is_cancelled,
            "spoken": visible(spoken),
        }

    def run_shown(self, *, whole: bool = True) -> Stack:
        """Return what is known of the run that is followed, with its time.

        ``whole`` also while it runs: below the panel, which says that, there is only its journal.
        """
        status = self.follower.status
        assert status is not None, "a run is followed"
        ended = status.state != RUNNING
        box = self._run_box(status)
        if not ended:
            box = replace(box, title=f"{box.title} Now: {doing(status)}.")
        parts: list[Shown] = [box] if ended or whole else []
        if status.writes:
            parts.append(_journal(status.writes, ended))
        if status.error is not None and ended and status.state != INTERRUPTED:
            parts.append(boxed(status.error))
        if ended and status.folder is not None:
            parts.append(Links(tuple(_files(status.folder, self._sections)), self._served))
        return Stack(tuple(parts)).headed(self._owner, "" if ended else f"as of {utc()}")

    @property
    def _sections(self) -> list[str]:
        followed, run = self.follower.followed, self.follower.run
        if run is not None and run.sections:
            return run.sections
        return [followed.order.section] if isinstance(followed, Child) else []

    @property
    def _place(self) -> str:
        """Where a run of several sections is, in words; empty for a run of one."""
        status, sections = self.follower.status, self._sections
        section = status.phase.get("section") if status is not None else None
        if len(sections) < 2 or section not in sections:
            return ""
        number = sections.index(section) + 1
        return f"Section {section}, {SECTIONS[section].title}: {number} of {len(sections)} sections."

    def _run_box(self, status: Status) -> Box:
        """What a run is, and how it stands or how it ended."""
        followed, run = self.follower.followed, self.follower.run
        what = _named(self._sections)
        whose = [f"run {run.folder.name}, by {run.operator}, since {_as_shown(run.started)}"] if run else []
        if status.state == RUNNING:
            title = f"{what} is being applied."
            whose += [self._place] if self._place else []
            if self._is_cancelled:
                whose.append("Cancelling: it ends the write in flight and closes its record.")
            elif status.phase.get("phase") == Phase.WAITING:
                resource, holder = status.phase.get("what"), status.phase.get("holder")
                whose.append(f"Waiting: {resource} is in use by {holder}.")
            if isinstance(followed, RecordedRun):
                if not followed.can_be_cancelled:
                    whose.append("It cannot be cancelled from here.")
                elif len(followed.sections) != 1:
                    whose.append("Cancel ends the command that runs it, with tenants that it has not begun.")
            return Box("info", title, (*whose, *filter(None, [status.told])))
        lines = whose or ["It ended before its record was opened: nothing was written."]
        lines += status.told.splitlines()
        if status.state == UNKNOWN and status.folder:
            lines.append(f"It was killed: close its record with: runbook records close {status.folder.name}")
        if status.state == INTERRUPTED and status.error is not None:
            lines += [str(status.error[part]) for part in ("meaning",) if status.error.get(part)]
        if status.state in (INTERRUPTED, UNKNOWN) or (status.state != SUCCEEDED and status.error is None):
            lines.append("Apply again: it reads first and completes what is missing.")
        title = f"{what}: {status.state} at {self._ended_at}."
        return Box(TONE.get(status.state, "stop"), title, tuple(lines))

    def _tell(self, shown: Shown) -> None:
        self.status = shown
        if self._handle is not None:
            self._handle.update(self.status)


@dataclass(frozen=True, repr=False)
class WithWidget(Shown):
    """Something that is shown by a widget, and by its own forms where there is no kernel."""

    shown: Shown
    panel: Any

    def html(self) -> str:
        return self.shown.html()

    def text(self) -> str:
        return self.shown.text()

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        return _with_view(super()._repr_mimebundle_(), self.panel)


def _with_view(bundle: dict[str, str], panel: Any) -> dict[str, Any]:
    widget = panel._repr_mimebundle_() or {}
    data = widget[0] if isinstance(widget, tuple) else widget
    return {**bundle, **{name: view for name, view in data.items() if name.endswith("widget-view+json")}}


@dataclass(frozen=True, repr=False)
class Links(Shown):
    """Links to files, from the open notebook; a file that its server does not show is named by its path."""

    files: tuple[tuple[str, Path], ...]
    served: Served

    def html(self) -> str:
        shown, hidden = self._parts()
        links = " &nbsp; ".join(f'<a href="{escaped(link)}">{escaped(label)}</a>' for label, link in shown)
        lines = [links, *map(escaped, hidden)]
        return f'<div style="{SANS};font-size:14px;margin:8px 0">{"<br>".join(filter(None, lines))}</div>'

    def text(self) -> str:
        shown, hidden = self._parts()
        return "\n".join([*(f"{label}: {visible(link)}" for label, link in shown), *map(visible, hidden)])

    def _parts(self) -> tuple[list[tuple[str, str]], list[str]]:
        """Labels with their links, and lines about files that the server does not show."""
        links = [(label, self.served.link(path), path) for label, path in self.files]
        hidden = [f"{label}: {path}" for label, link, path in links if link is None]
        outside = ["Outside the folder that this JupyterLab shows:"] if hidden else []
        return [(label, link) for label, link, _ in links if link is not None], [*outside, *hidden]


def _files(folder: Path, sections: list[str]) -> list[tuple[str, Path]]:
    """The files of a record that are there, with their labels."""
    files = [("Record of the run", folder / "index.html")]
    for section in sections:
        notebook = folder / f"{SECTIONS[section].notebook}.ipynb"
        files += [(f"Page of section {section}", notebook.with_suffix(".html"))]
        files += [("Executed notebook", notebook)] if len(sections) == 1 else []
    files.append(("All records", folder.parents[2] / "index.html"))
    return [(label, path) for label, path in files if path.exists()]


def _named(sections: list[str]) -> str:
    if sections == [WHOLE] or tuple(sections) in (RUN_ORDER, TRUNK_ORDER):
        return "The whole tenant"
    if len(sections) == 1:
        return f"Section {sections[0]}"
    return f"Sections {', '.join(sections)}" if sections else "A run"


def doing(status: Status) -> str:
    """Return what a run is doing, in a few words."""
    phase, total = status.phase.get("phase"), status.phase.get("total")
    if phase == Phase.WAITING:
        return "waiting for another run"
    if phase == Phase.WRITING:
        number = min(status.written + 1, total) if isinstance(total, int) else status.written + 1
        return f"write {number} of {total}" if total else f"write {number}"
    return PHASES.get(phase, PHASES[Phase.STARTING]) if isinstance(phase, str) else PHASES[Phase.STARTING]


def _phases(status: Status) -> list[dict[str, str]]:
    """The phases of a run: those that are over, the one that it is in, and those to come."""
    order = list(PHASES)
    phase = status.phase.get("phase")
    waits = phase == Phase.WAITING
    at = order.index(Phase.READING) if waits else order.index(Phase(phase)) if phase in order else 0
    shown = [
        {
            "words": doing(status) if place == at and not waits else words,
            "state": "done" if place < at else "now" if place == at and not waits else "to come",
        }
        for place, words in enumerate(PHASES.values())
    ]
    return [*shown[:at], {"words": doing(status), "state": "now"}, *shown[at:]] if waits else shown


def _as_shown(started: str) -> str:
    epoch = _epoch(started)
    return started if epoch is None else utc(datetime.fromtimestamp(epoch, UTC))


def _epoch(started: str) -> float | None:
    try:
        return datetime.fromisoformat(started).astimezone(UTC).timestamp()
    except ValueError:
        return None


def _journal(writes: Any, ended: bool) -> Table:
    read = f" as of {utc()}" if ended else ""  # while it runs, the heading says that of everything
    return Table(
        f"Journal: {_count(len(writes), 'write', 'writes')}{read}",
        ("Time (UTC)", "Step", "Resource", "Request", "Status"),
        [
            [
                one["at"][11:19],
                ", ".join(dict.fromkeys(row["step"] for row in one["rows"])),
                one["resource"],
                f"{one['vendor']} {one['method']}",
                _answer(one["answer"], ended),
            ]
            for one in writes
        ],
    )


def _answer(answer: Mapping[str, Any] | None, ended: bool) -> str:
    if answer is None:
        return "no answer was seen" if ended else "sent …"
    if answer["status"] is None:
        return f"no answer: {answer['error']}"
    return f"{answer['status']}, {answer['seconds']:.1f} s"


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
