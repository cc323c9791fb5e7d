"""The apply form: the one control of a section's notebook.

It never writes itself: it starts the command that an operator could type, and follows its journal.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from IPython import get_ipython

from ..guide import SECTIONS
from ..plan import Effect, Slice
from ..records.result import RUN_FOLDER
from . import child
from .child import RUNNING, Child, Order, Status
from .display import SANS, Box, Shown, escaped, visible
from .failures import boxed
from .served import Served
from .tables import Stack, Table

if TYPE_CHECKING:
    import ipywidgets

EXPLAINED = {
    "plan": "Reads and compares; changes nothing.",
    "apply": "Carries out the plan, then reads everything back.",
    "verify": "Reads back and fails on any difference; changes nothing.",
}
#: How often (s) the child's record is read while it runs.
FOLLOW_S = 0.3
TONE = {RUNNING: "info", "succeeded": "good", "interrupted": "caution"}
AGAIN = "Run this notebook's cells again, from the current state on, to see the new state."


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

    ``order`` is ``None`` where there is nothing to confirm; ``box`` says what or why.
    """

    box: Box
    order: Order | None = None


NOT_PLANNED = Offer(Box("info", "Nothing to apply yet.", ("Run the cell with the plan first.",)))


def offer(part: Slice, order: Order | None, digest: str) -> Offer:
    """Return the offer for a section's plan.

    Parameters
    ----------
    part
        The plan that the operator looks at.
    order
        What would be started; ``None`` where the site wants an approval that is not given.
    digest
        The digest of the plan that would be applied.
    """
    what = f"section {part.section}, {SECTIONS[part.section].title}"
    if part.stopping:
        rows = _count(len(part.stopping), "row is", "rows are")
        settle = ("Settle each of them first: its note in the plan says how. Then run the plan again.",)
        return Offer(Box("stop", f"Apply would stop: {rows} in conflict or blocked.", settle))
    if not part.changing:
        return Offer(Box("good", "Nothing to apply: everything is in place."))
    rows = _count(len(part.changing), "row changes", "rows change")
    if order is None:
        missing = (
            "This site wants an approved plan, and the parameter cell names none.",
            f"1. runbook plan -s SITE TENANT --section {part.section} --out FOLDER writes the plan's file.",
            f"2. Have this digest approved: {digest}. Another person signs it: runbook approve FILE --ticket"
            " TICKET.",
            "3. Set plan_file in the parameter cell, and approved_plan and approved_by unless a signed"
            " approval is beside the plan; then run all cells again.",
        )
        return Offer(Box("stop", f"Approval is missing: {rows} in {what}.", missing))
    effects = Counter(row.effect for row in part.changing)
    interrupting = [f"{effects[one]} {one}" for one in Effect if one is not Effect.NONE and effects[one]]
    lines = (
        f"Effect on calls: {', '.join(interrupting) or 'none'}",
        f"Plan: {digest}",
        f"The button runs: {order.command}",
    )
    return Offer(Box("caution", f"Apply: {rows} in {what}.", lines), order)


class ApplyForm(Shown):
    """Asks for ``site/tenant``, starts the child, follows it, cancels it.

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
    """

    def __init__(
        self,
        target: str,
        name: str,
        root: Path,
        records: Path,
        served: Served,
        is_current: Callable[[], bool],
    ) -> None:
        self.name = name
        self.status: Shown | None = None
        self._owner = f"{target.upper()} {name}"
        self._root, self._records, self._served = root, records, served
        self._is_current = is_current
        self._withdrawn = False
        self._offer = NOT_PLANNED
        self._child: Child | None = None
        self._handle: Any = None
        self._parts: tuple[Any, Any, Any, Any] | None = None
        self._follower: threading.Thread | None = None
        self._seen: Child | None = None

    def show(self) -> None:
        """Show the form, and below it what becomes of a child."""
        from IPython.display import display

        self._refresh()
        display(self)
        self._handle = display(self.status or Stack(()), display_id=True)
        if self._child is None and (before := child.running(self._records)):
            self._follow(before)  # started by a page of this kernel that is no longer shown

    def offer(self, offered: Offer) -> None:
        """Offer something else from now on; what was typed is asked for again."""
        if not self._withdrawn:
            self._offer = offered
            self._refresh()

    def withdraw(self, reason: str) -> None:
        """Offer nothing from now on, for ``reason``; a child that runs is followed and can be cancelled."""
        self._withdrawn = True
        self._offer = Offer(Box("stop", "This form is withdrawn.", (reason,)))
        self._refresh()

    @property
    def _box(self) -> Box:
        return self._offer.box.headed(self._owner)

    def html(self) -> str:
        return self._box.html()

    def text(self) -> str:
        return self._box.text()

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        widget = self.widget._repr_mimebundle_() or {}
        view = {name: content for name, content in widget.items() if name.endswith("widget-view+json")}
        return {**super()._repr_mimebundle_(), **view}

    @cached_property
    def widget(self) -> ipywidgets.Widget:
        """The controls; created when first shown, and the same wherever they are shown again."""
        import ipywidgets as widgets  # a headless run never loads them

        said = widgets.HTML()
        name = widgets.Text(
            placeholder=f"type {self.name} to confirm",
            description="Site/tenant:",
            continuous_update=True,
        )
        apply = widgets.Button(description="Apply", button_style="warning", icon="play")
        cancel = widgets.Button(description="Cancel", icon="stop")
        self._parts = said, name, apply, cancel
        name.observe(lambda _: self._enable(), "value")
        apply.on_click(lambda _: self.apply())
        cancel.on_click(lambda _: self.cancel())
        self._refresh()
        return widgets.VBox([said, widgets.HBox([name, apply, cancel])])

    def apply(self) -> None:
        """Start the child, if the name was typed, the page is current and none runs."""
        if self._is_current() and self._may_apply() and self._offer.order is not None:
            self._follow(child.start(self._offer.order, self._root, self._records))

    def cancel(self) -> None:
        """Ask the child to end."""
        if self._child is not None:
            self._child.cancel()
            self._enable()

    def may_have_written(self) -> bool:
        """Whether a child of this kernel may have written since this was asked last."""
        newest, running = child.newest(self._records), child.running(self._records)
        changed = newest is not self._seen
        self._seen = newest if running is None else self._seen
        return changed

    def wait(self, seconds: float) -> None:
        """Wait until the child has ended and that is shown, ``seconds`` at most."""
        if self._follower is not None:
            self._follower.join(seconds)

    def _may_apply(self) -> bool:
        typed = self._parts[1].value.strip() if self._parts else ""
        running = self._child is not None and self._child.running
        return self._offer.order is not None and not running and typed == self.name

    def _refresh(self) -> None:
        if self._parts is None:
            return
        said, name, *_ = self._parts
        said.value, name.value = self._box.html(), ""
        self._enable()

    def _enable(self) -> None:
        if self._parts is None:
            return
        _, name, apply, cancel = self._parts
        started = self._child
        running = started is not None and started.running
        name.disabled = running or self._offer.order is None
        apply.disabled = not self._may_apply()
        cancel.disabled = not running or (started is not None and started.cancelled)

    def _follow(self, started: Child) -> None:
        self._child = started
        self._enable()
        self._follower = threading.Thread(target=self._until_it_ends, args=(started,), daemon=True)
        self._follower.start()

    def _until_it_ends(self, started: Child) -> None:
        """Show what the child's record says, as long as it runs; in a thread, so that cells can run."""
        begun, last = time.monotonic(), None
        while True:
            try:
                status = started.status()
            except Exception as error:  # the follower must not die silently: the child continues
                self._tell(
                    Box(
                        "stop",
                        "The progress of the run cannot be shown; the run itself continues.",
                        (f"{type(error).__name__}: {error}",),
                    )
                )
                return
            ended = status.state != RUNNING
            now = (status, int(time.monotonic() - begun), started.cancelled)
            if now != last or ended:
                self._tell(told(started.order, status, now[1], self._served, cancelled=now[2]))
            if ended:
                break
            last = now
            time.sleep(FOLLOW_S)
        started.close()
        self._child = None
        self.offer(Offer(Box("info", "Run the plan again before the next apply.", (AGAIN,))))

    def _tell(self, shown: Shown) -> None:
        self.status = shown.headed(self._owner)
        if self._handle is not None:
            self._handle.update(self.status)


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


def told(order: Order, status: Status, seconds: int, served: Served, *, cancelled: bool) -> Stack:
    """Return what is known of a child: state, writes so far, and in the end its error and its record."""
    ended = status.state != RUNNING
    parts: list[Shown] = [_heading(order, status, seconds, cancelled)]
    if status.writes:
        parts.append(_journal(status.writes, ended))
    if status.error is not None and ended:
        parts.append(boxed(status.error))
    if ended and status.folder is not None:
        notebook = status.folder / f"{SECTIONS[order.section].notebook}.ipynb"
        files = (
            ("Record of the run", status.folder / "index.html"),
            (f"Page of section {order.section}", notebook.with_suffix(".html")),
            ("Executed notebook", notebook),
        )
        parts.append(Links(tuple((label, path) for label, path in files if path.exists()), served))
    return Stack(tuple(parts))


def _heading(order: Order, status: Status, seconds: int, cancelled: bool) -> Box:
    run = f"run {status.folder.name}" if status.folder else "no record yet"
    if status.state == RUNNING:
        doing = "" if status.writes else " Reading before the first write." if status.folder else " Starting."
        doing = (
            " Cancelling: the write in flight is stopped, and the record is closed." if cancelled else doing
        )
        return Box("info", f"Section {order.section} is being applied, {seconds} s.{doing}", (run,))
    lines = [run if status.folder else "The run ended before its record was opened: nothing was written."]
    lines += status.told.splitlines()
    if status.state == child.UNKNOWN and status.folder:
        lines.append(f"The run was killed. Close its record with: runbook records close {status.folder.name}")
    if status.state != "succeeded" and status.error is None:
        lines.append("Apply again: the run reads the current state and completes what is missing.")
    return Box(TONE.get(status.state, "stop"), f"Section {order.section}: {status.state}.", tuple(lines))


def _journal(writes: Any, ended: bool) -> Table:
    return Table(
        f"Journal: {_count(len(writes), 'write', 'writes')}",
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
