"""Planning a whole tenant, shown section by section and kept as a plan file."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from ..detached import Detached
from ..guide import RETIRE, ROLL_BACK, SECTIONS
from ..keys import Why
from ..notebook.display import visible
from ..notebook.tables import row_table, rows_in_order
from ..outcomes import ExitStatus
from ..parameters import project_root, secret_cautions
from ..plan import Effect, Plan, Row, value_text
from ..records.result import write_json
from ..runbook import Runbook
from ..screen import conclude
from ..statement import Statement
from .interruption import INTERRUPTIONS, interruptible

POLL_S = 0.1


def plan_tenant(
    site: Path,
    tenant: Path | str,
    out: Path | None,
    screen: Console,
    sections: Sequence[str] = (),
    options: Mapping[str, Any] | None = None,
) -> int:
    """Plan a tenant, show the plan, write it to ``out/TENANT.plan.json`` if asked.

    ``sections`` and ``options`` as for ``run_tenants``; the sections of a rollback or retirement are part
    of the file's name.

    Returns the exit status: 0 nothing to change, 1 the plan has conflicts or blocked rows, 2 there
    are changes.
    """
    with Runbook.open(str(site), str(tenant), sections=sections, **(options or {})) as runbook:
        plan = runbook.plan()
        context = runbook.context
        cautions = [*secret_cautions(context.site, context.owner, context.root), *runbook.cautions]
    screen.print(
        Text(f"Plan of tenant {visible(plan.tenant)} ({visible(plan.target['target'])})", style="bold")
    )
    for part in plan.slices:
        screen.print()
        # A terminal narrower than the table's longest words wraps lines or scrolls; nothing is cut off.
        title = f"{part.section} {SECTIONS[part.section].title}"
        screen.print(row_table(title, rows_in_order(part.section, part.rows)), soft_wrap=True)
    stopping = sum(len(part.stopping) for part in plan.slices)
    changing = sum(len(part.changing) for part in plan.slices)
    screen.print()
    counts = f"{changing} to apply, {stopping} in conflict or blocked. Digest {plan.digest}"
    screen.print(Text(counts, style="bold"))
    conclude(f"Plan of tenant {plan.tenant}: {counts}")
    if any(row.why is Why.NO_LEAVE for part in plan.slices for row in part.stopping):
        way = (
            "--accept-interruption"
            if {ROLL_BACK, RETIRE} & set(sections)
            else "accept_interruption: true in the parameters"
        )
        screen.print(Text(f"To allow changes that interrupt calls: {way}"))
    for line in cautions:
        screen.print(Text(f"Caution: {visible(line)}"), soft_wrap=True)
    if out is not None:
        screen.print(Text(f"Plan file: {_write(plan, out, sections)}"))
    if stopping:
        return ExitStatus.FAILED
    return ExitStatus.CHANGES if changing else ExitStatus.FINE


def show_changes(plan: Plan, screen: Console) -> None:
    """Show an approver what apply compares with its own fresh plan, and nothing else of the file.

    The sentences are made here from the rows' values; notes in the file, which anybody can write, are
    not read.
    """
    target = ", ".join(f"{name} {visible(value)}" for name, value in plan.target.items())
    screen.print(Text(f"Plan of tenant {visible(plan.tenant)} for {target}", style="bold"), soft_wrap=True)
    for name, reference in plan.secrets.items():
        screen.print(Text(f"Secret that this plan may write: {visible(name)} from {visible(reference)}"))
    for part in plan.slices:
        if part.changing:
            title = f"{part.section} {SECTIONS[part.section].title}"
            rows = rows_in_order(part.section, part.changing)
            screen.print()
            screen.print(row_table(title, rows), soft_wrap=True)
            for row in rows:
                screen.print(Text(visible(describe_change(row))), soft_wrap=True)
    changing = sum(len(part.changing) for part in plan.slices)
    others = sum(len(part.rows) for part in plan.slices) - changing
    screen.print(Text(f"\n{changing} to apply. Digest {plan.digest}", style="bold"), soft_wrap=True)
    screen.print(Text(f"Not covered by the signature: {others} rows that change nothing."))


def describe_change(row: Row) -> str:
    """Return a row's change and its effect on calls, in one sentence."""
    calls = "does not interrupt calls" if row.effect is Effect.NONE else f"calls: {row.effect}"
    values = f"{value_text(row.current)} → {value_text(row.desired)}"
    return f"Step {row.step}: {row.action} {row.setting}: {values}; {calls}."


def show_statement(statement: Statement, screen: Console) -> None:
    """Show an approver what else is signed: site, ticket, time window, and each plan's purpose."""
    lines = [
        f"Approval {statement.id} for site {statement.site}, ticket {statement.ticket}",
        f"From {statement.not_before} to {statement.not_after} (or earlier, if the site's policy limits it)",
        *(f"{line.tenant}: {line.kind}, {line.digest}" for line in statement.lines),
    ]
    for line in lines:
        screen.print(Text(visible(line)), soft_wrap=True)


def plan_at_once(
    site: Path,
    tenants: Sequence[Path | str],
    out: Path | None,
    screen: Console,
    sections: Sequence[str],
    at_once: int,
) -> list[int]:
    """Plan tenants, at most ``at_once`` at a time, each in its own process; show each when it ends.

    Returns the exit statuses, as ``plan_tenant`` does; 1 for a process that died or was interrupted.
    """
    options = [part for one in sections for part in ("--section", one)]
    options += ["--out", str(out.absolute())] if out else []
    commands = [["runbook_lib.__main__", "plan", "-s", str(site), str(one), *options] for one in tenants]
    statuses: list[int] = []

    def ended(index: int, process: Detached) -> None:
        screen.print(Text(process.printed()), soft_wrap=True)
        status = process.status
        assert status is not None, "it has ended"
        statuses.append(status if status >= 0 else ExitStatus.FAILED)
        conclude(f"Plan of {tenants[index]}: exit status {statuses[-1]}")

    if not _run_all(commands, project_root(), at_once, ended):
        statuses.append(ExitStatus.FAILED)
    return statuses


def _run_all(
    commands: Sequence[Sequence[str]],
    root: Path,
    at_once: int,
    ended: Callable[[int, Detached], None],
) -> bool:
    """Run commands, at most ``at_once`` at a time; ``ended`` is called for each with its index.

    Returns whether all of them were started: after an interruption no more are, and those that run
    are interrupted too.
    """
    from .forked import Forked  # loads Jupyter's kernels, for which planning one tenant has no use

    waiting, running = list(enumerate(commands)), dict[int, Detached]()
    interrupted = False
    # A signal ends only the waiting: what an ended process reported is not lost.
    with interruptible() as interruption, interruption.held():
        while running or (waiting and not interrupted):
            while waiting and not interrupted and len(running) < at_once:
                try:
                    running[waiting[0][0]] = Forked(waiting[0][1], root)
                except OSError:
                    if not running:
                        raise
                    break  # no room for one more process: again when one has ended
                waiting.pop(0)
            for index in [index for index, process in running.items() if not process.running]:
                process = running.pop(index)
                ended(index, process)
                process.close()
            if interrupted:
                time.sleep(POLL_S)
                continue
            try:
                with interruption.allowed():
                    time.sleep(POLL_S)
            except INTERRUPTIONS:
                interrupted = True
                for process in running.values():
                    process.interrupt()
    return not waiting


def plan_name(tenant: str, sections: Sequence[str] = ()) -> str:
    """Return the name of a plan's file."""
    return ".".join([tenant, *(SECTIONS[one].notebook for one in sections), "plan.json"])


def _write(plan: Plan, out: Path, sections: Sequence[str]) -> Path:
    out.mkdir(parents=True, exist_ok=True)
    return write_json(out / plan_name(plan.tenant, sections), plan.to_document())
