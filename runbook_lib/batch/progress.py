"""The progress of a batch on the screen, and the table at its end."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from pydantic_core import to_jsonable_python
from rich.console import Console, Group
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ..guide import SECTIONS
from ..notebook.display import describe_wait, visible
from ..outcomes import FAILED, INTERRUPTED, SUCCEEDED
from ..records.living import reported_waits
from ..secret import scrub_data
from ..words import first_of
from .observer import Observer
from .results import NOT_RUN, RunResult, SectionResult, TenantResult

MARKS = {SUCCEEDED: ("✓", "green"), FAILED: ("✗", "red"), INTERRUPTED: ("✗", "red")}


class Progress(Observer):
    """Prints a line for every section when it ends; on a terminal, also shows what runs now."""

    def __init__(self, screen: Console) -> None:
        self._screen = screen
        self._status = screen.status("")
        self._folder: Path | None = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._status.stop()

    def on_begun(self, tenant: str, folder: Path) -> None:
        self._folder = folder

    def on_tenant_start(self, tenant: str) -> None:
        self._screen.print(Text(f"Tenant {visible(tenant)}", style="bold"))

    def on_policy(self, tenant: str, seen: str) -> None:
        self._screen.print(Padding(Text(visible(f"! {tenant}: {seen}"), style="yellow"), (0, 0, 0, 2)))

    def on_section_start(self, tenant: str, section: str) -> None:
        self._status.update(_Doing(f"{section} {SECTIONS[section].title} …", self._folder))
        self._status.start()

    def on_section_end(self, tenant: str, result: SectionResult) -> None:
        self._status.stop()
        symbol, colour = MARKS.get(result.outcome, ("·", "dim"))
        line = Text.assemble(
            (f"  {symbol} ", colour),
            f"{result.section} {SECTIONS[result.section].title:<39} ",
            (_counts(result), "dim"),
        )
        self._screen.print(line)
        if result.outcome != SUCCEEDED:
            for told in result.message.splitlines():
                self._screen.print(Padding(Text(visible(told), style="red"), (0, 0, 0, 6)))

    def on_tenant_end(self, result: TenantResult) -> None:
        for line in result.problem.splitlines():
            self._screen.print(Padding(Text(visible(line), style="red"), (0, 0, 0, 2)))
        self._screen.print()


@dataclass(frozen=True)
class _Doing:
    """What a run is doing, and below it what it waits for at the moment when this is drawn."""

    words: str
    folder: Path | None

    def __rich__(self) -> Text:
        waits = reported_waits(self.folder) if self.folder is not None else ()
        told = [f"\n{visible(describe_wait(wait))}" for wait in waits]
        return Text.assemble(self.words, *((line, "yellow") for line in told))


@dataclass(frozen=True)
class _Running:
    """A tenant that runs now: its run's folder, its present section, those before it, when it began."""

    folder: Path
    section: str = ""
    done: Sequence[SectionResult] = ()
    since: float = field(default_factory=time.monotonic)


class LiveTable(Progress):
    """On a terminal: a table of the tenants that run now, below the lines of those that have ended."""

    def __init__(self, screen: Console, tenants: int) -> None:
        super().__init__(screen)
        self._tenants = tenants
        self._running: dict[str, _Running] = {}
        self._ended: list[TenantResult] = []
        self._live = Live(get_renderable=self._table, console=screen, refresh_per_second=4, transient=True)

    def __enter__(self) -> LiveTable:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def on_begun(self, tenant: str, folder: Path) -> None:
        self._running[tenant] = _Running(folder)

    def on_going(self, tenant: str, section: str, done: Sequence[SectionResult]) -> None:
        self._running[tenant] = replace(self._running[tenant], section=section, done=done)

    def on_section_start(self, tenant: str, section: str) -> None:
        """Show it in the table."""

    def on_tenant_end(self, result: TenantResult) -> None:
        self._running.pop(result.tenant, None)
        self._ended.append(result)
        super().on_tenant_end(result)

    def _table(self) -> Table:
        failed = sum(result.outcome != SUCCEEDED for result in self._ended)
        table = Table(title=f"{len(self._ended)} of {self._tenants} tenants have ended, {failed} failed")
        for name in ("Tenant", "Section"):
            table.add_column(name, overflow="fold")
        for name in ("Done", "Changes", "Writes", "Seconds"):
            table.add_column(name, justify="right")
        for tenant, running in list(self._running.items()):
            section = running.section
            table.add_row(
                Text(visible(tenant)),
                _Doing(f"{section} {SECTIONS[section].title}" if section else "starting", running.folder),
                str(len(running.done)),
                str(sum(result.changes for result in running.done)),
                str(sum(result.writes for result in running.done)),
                f"{time.monotonic() - running.since:.0f}",
            )
        return table


class JsonLines(Observer):
    """Prints each event as one line of JSON."""

    def __enter__(self) -> JsonLines:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def on_begun(self, tenant: str, folder: Path) -> None:
        self._print("begun", tenant=tenant)

    def on_policy(self, tenant: str, seen: str) -> None:
        self._print("policy", tenant=tenant, seen=seen)

    def on_section_end(self, tenant: str, result: SectionResult) -> None:
        self._print("section", tenant=tenant, **asdict(result))

    def on_tenant_end(self, result: TenantResult) -> None:
        self._print("tenant", **_tenant_as_data(result))

    @staticmethod
    def _print(event: str, **details: object) -> None:
        print(_line(event, **details), flush=True)


def observer_of(
    screen: Console, at_once: int, tenants: int = 1, *, as_json: bool = False
) -> Progress | JsonLines:
    """Return what shows a batch: JSON lines on request, a live table on a terminal, lines elsewhere."""
    if as_json:
        return JsonLines()
    return (
        LiveTable(screen, tenants) if min(at_once, tenants) > 1 and screen.is_terminal else Progress(screen)
    )


def as_event(result: RunResult) -> str:
    """Return the end of a batch as a line of JSON."""
    return _line(
        "end",
        mode=result.mode,
        batch=result.batch or None,
        page=result.page,
        stopped=result.stopped.name if result.stopped else None,
        tenants=[_tenant_as_data(tenant) for tenant in result.tenants],
        not_begun=result.not_begun,
        exit_status=result.exit_status,
    )


def _tenant_as_data(result: TenantResult) -> dict[str, object]:
    return {
        "tenant": result.tenant,
        "outcome": result.outcome,
        "cause": result.cause,
        "changes": result.changes,
        "writes": result.writes,
        "seconds": round(result.seconds, 2),
        "record": result.folder,
        "problem": result.problem,
    }


def _line(event: str, **details: object) -> str:
    return json.dumps(scrub_data(to_jsonable_python({"event": event, **details})))


def summary(result: RunResult) -> Group:
    """Return the table of results, and where the records are."""
    table = Table(title=f"Result ({result.mode})", title_justify="left", title_style="bold")
    for name in ("Tenant", "Outcome", "Sections"):
        table.add_column(name, overflow="fold")
    for name in ("Changes", "Writes", "Seconds"):
        table.add_column(name, justify="right")
    for one in result.tenants:
        symbol, colour = MARKS.get(one.outcome, ("·", "dim"))
        done = sum(section.outcome == SUCCEEDED for section in one.sections)
        table.add_row(
            Text(visible(one.tenant)),
            Text(f"{symbol} {one.outcome}", style=colour),
            f"{done} of {len(one.sections)}",
            str(one.changes),
            str(one.writes),
            f"{one.seconds:.1f}",
        )
    for tenant in result.not_begun:
        table.add_row(Text(visible(tenant)), Text("· not started", style="dim"), "", "", "", "")
    lines = [Text(f"! {line}", style="yellow") for line in lines_to_look_at(result)]
    untouched = all(tenant.outcome == SUCCEEDED and not tenant.writes for tenant in result.tenants)
    if untouched and not result.not_begun and result.mode == "apply":
        lines.append(Text("Everything was already in place: nothing was written.", style="green"))
    if folders := [one.folder for one in result.tenants if one.folder.exists()]:
        lines.append(Text("Records, with the executed notebooks:"))
        lines += [Text(f"  {_near(folder)}", no_wrap=True, overflow="ignore") for folder in folders]
    if at_once := max(
        (section.twilio_at_once for one in result.tenants for section in one.sections), default=0
    ):
        lines.append(Text(f"Most requests at once on the Twilio account: {at_once}", style="dim"))
    if result.page is not None:
        lines.append(Text(f"Batch {result.batch}: {_near(result.page)}"))
    if result.batch and result.exit_status:
        lines.append(Text(f"To run the remaining tenants: runbook {result.mode} --resume {result.batch}"))
    if result.index.is_file():  # if it could not be written, a remark says why
        lines.append(Text(f"All records: {_near(result.index)}"))
    return Group(table, *lines)


def lines_to_look_at(result: RunResult) -> list[str]:
    """What somebody should check although it stopped nothing, one line per tenant and reason."""
    found: dict[tuple[str, str], dict[str, None]] = {}
    for tenant in result.tenants:
        for why, setting in (pair for section in tenant.sections for pair in section.to_look_at):
            found.setdefault((tenant.tenant, why), {})[setting] = None
    return [visible(f"{tenant}: {why}: {first_of([*names], 2)}") for (tenant, why), names in found.items()]


def plain_summary(result: RunResult) -> list[str]:
    """Return the same without a table, one line per tenant."""
    lines = [f"Result ({result.mode}):"]
    for tenant in result.tenants:
        done = sum(section.outcome == SUCCEEDED for section in tenant.sections)
        lines.append(
            f"  {tenant.tenant}: {tenant.outcome}, {done} of {len(tenant.sections)} sections,"
            f" {tenant.changes} changes, {tenant.writes} writes; {_near(tenant.folder)}"
        )
        problems = [*tenant.problem.splitlines(), *_messages(tenant)]
        lines += [f"    {line}" for line in problems]
    lines += [f"  {line}" for line in lines_to_look_at(result)]
    lines += [f"  {tenant}: not started" for tenant in result.not_begun]
    return lines + (
        [f"  To run the remaining tenants: runbook {result.mode} --resume {result.batch}"]
        if result.batch
        else []
    )


def _messages(tenant: TenantResult) -> list[str]:
    failed = (section for section in tenant.sections if section.outcome != SUCCEEDED)
    return [line for section in failed for line in section.message.splitlines()]


def _counts(result: SectionResult) -> str:
    if result.outcome == NOT_RUN:
        return "not run"
    changes = f"{result.changes:>3} change" + (" " if result.changes == 1 else "s")
    writes = f"{result.writes:>2} write" + (" " if result.writes == 1 else "s")
    return f"{changes} {writes} {result.seconds:>5.1f} s"


def _near(path: Path) -> str:
    """A path as a person at this folder would type it."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative
