"""The apply form: the one control of a section's notebook.

It never writes itself: it starts the command that an operator could type, and follows its record.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..outcomes import RUNNING
from . import child
from .display import Box, Shown, utc
from .following import Follower
from .offers import Offer, not_planned
from .run_shown import RunShown
from .served import Served
from .tables import Stack
from .widgets import WithWidget, with_view

if TYPE_CHECKING:
    from .panel import Panel

AGAIN = "Run the plan's cell again: it shows the state as it is now."


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
    can_apply
        Whether the form is for a plan; without, it only shows runs.
    """

    def __init__(
        self,
        target: str,
        name: str,
        root: Path,
        records: Path,
        served: Served,
        is_current: Callable[[], bool],
        refresh: Callable[[], object],
        looked: Callable[[], object],
        *,
        can_apply: bool,
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
        assert self._run is not None, "a run is followed"
        display(WithWidget(self._run.stack(), self._run_panel))
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
        """Stop offering anything, because of ``reason``; a run is still followed and can be cancelled."""
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
        return with_view(super()._repr_mimebundle_(), self.panel)

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
            return "The plan has been read again in the meantime: review it, then confirm the new one."
        if name.strip() != self.name:
            return f"Nothing was started: type {self.name} to confirm."
        if offered.permission and not permission:
            return "Nothing was started: tick the box to accept that calls are interrupted."
        if offered.ticket and not re.fullmatch(offered.ticket, ticket):
            return f"Nothing was started: this site requires a ticket like {offered.ticket}."
        return ""

    def _seen(self) -> None:
        """Show what was just seen of the run."""
        status = self.follower.status
        assert status is not None, "a run is followed"
        self._ended_at = "" if status.state == RUNNING else self._ended_at or utc()
        self._push()
        run = self._run
        assert run is not None, "a run is followed"
        static = status.state, len(status.writes), status.written, status.folder, run.is_cancelled
        if static != self._shown_status:
            self._shown_status = static
            self._tell(run.stack(whole=False))

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
    def _run(self) -> RunShown | None:
        """What is known of the run that is followed."""
        followed, status = self.follower.followed, self.follower.status
        if followed is None or status is None:
            return None
        return RunShown(followed, status, self._owner, self._served, self._ended_at)

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
            # Its end is shown below the form, with its journal and its record.
            "run": self._run.view(with_end=run_only) if self._run is not None else None,
            "refused": self._refused,
        }

    def _tell(self, shown: Shown) -> None:
        self.status = shown
        if self._handle is not None:
            self._handle.update(self.status)
