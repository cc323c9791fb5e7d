"""Several tenants of a batch at the same time, each in its own process with its own record.

The processes share what those of several operators would share: the locks of tenants and shared trunks,
the chain of records, and the memory of a refused sign-in.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..approval import GivenApproval
from ..detached import Detached
from ..outcomes import FAILED, INTERRUPTED
from ..parameters import project_root
from ..workspace import records_folder
from .interruption import INTERRUPTIONS, interruptible
from .pages import INDEX, write_index
from .runner import (
    NOT_RUN,
    Aside,
    Job,
    Observer,
    RunResult,
    SectionResult,
    TenantResult,
    jobs_of,
)
from .worker import ENDED, ERROR, POLICY, REMARK, SECTION, STARTED

POLL_S = 0.1
LOOK = "its journal in the tenant's records shows what it did; run it again to complete what is missing"
NOTHING = "no section had begun, so nothing was written"


def run_at_once(
    site: Path,
    tenants: Sequence[Path | str],
    mode: str,
    approval: GivenApproval,
    observer: Observer,
    sections: Sequence[str],
    at_once: int,
) -> RunResult:
    """Run the sections' notebooks for tenants, at most ``at_once`` of them at a time.

    As ``run_tenants``, but the observer hears about a tenant when it has ended, so that the lines of
    one tenant stay together; about its site's policy at once. A process that dies is a failed tenant. When
    this process is interrupted, it interrupts the others and waits for them; the remaining tenants are
    skipped.

    Raises ``InputError`` with the problems of all files before anything runs.
    """
    root = project_root()
    jobs = jobs_of(root, site, tenants, mode, approval, tuple(sections), {})
    commands = [
        ["runbook_lib.batch.worker", job.parameters["site"], job.parameters["tenant"], mode, *sections]
        for job in jobs
    ]
    results: dict[int, TenantResult] = {}
    with interruptible() as interruption, interruption.held():
        aside = Aside(observer, interruption)

        policies_shown = set[int]()

        def going(index: int, process: Detached) -> None:
            for event, what in _events(process.printed()):
                if event == POLICY and index not in policies_shown:
                    policies_shown.add(index)
                    aside.on_policy(*what)

        def ended(index: int, process: Detached) -> None:
            going(index, process)
            results[index] = result = _result(jobs[index], process)
            aside.on_tenant_start(result.tenant)
            for section in result.sections:
                aside.on_section_end(result.tenant, section)
            aside.on_tenant_end(result)
            aside.remarks += [what for event, what in _events(process.printed()) if event == REMARK]

        # A process cannot be started: wait for those that run; the rest is not begun.
        aside.attempt("starting another process", run_all, commands, root, at_once, ended, going)
        aside.attempt("writing the page over all records", write_index, records_folder(root))
    not_begun = tuple(job.tenant for index, job in enumerate(jobs) if index not in results)
    whole = tuple(results[index] for index in sorted(results))
    return RunResult(mode, whole, records_folder(root) / INDEX, not_begun, tuple(aside.remarks))


def run_all(
    commands: Sequence[Sequence[str]],
    root: Path,
    at_once: int,
    ended: Callable[[int, Detached], None],
    going: Callable[[int, Detached], None] = lambda *_: None,
) -> bool:
    """Run commands, at most ``at_once`` at a time; ``ended`` is called for each with its index.

    ``going`` is called repeatedly with each that runs.

    Returns whether all of them were started: after an interruption no further one is, and those that run
    are interrupted too.
    """
    waiting, running = list(enumerate(commands)), dict[int, Detached]()
    interrupted = False
    # A signal ends only the waiting: what an ended process reported is not lost.
    with interruptible() as interruption, interruption.held():
        while running or (waiting and not interrupted):
            while waiting and not interrupted and len(running) < at_once:
                try:
                    running[waiting[0][0]] = Detached(waiting[0][1], root)
                except OSError:
                    if not running:
                        raise
                    break  # no room for one more process: again when one has ended
                waiting.pop(0)
            for index in [index for index, process in running.items() if not process.running]:
                process = running.pop(index)
                ended(index, process)
                process.close()
            for index, process in running.items():
                going(index, process)
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


def _result(job: Job, process: Detached) -> TenantResult:
    """What an ended process reported about its tenant, and what is known of one that reported no end."""
    sections: dict[str, SectionResult] = {}
    begun, any_begun, errors = job.order[0], False, []
    for event, what in _events(process.printed()):
        with suppress(TypeError, KeyError):  # not an event that we wrote
            if event == ENDED:
                done = tuple(_section(one) for one in what["sections"])
                return TenantResult(job.site, job.tenant, Path(what["folder"]), done, what["problem"])
            if event == STARTED:
                begun, any_begun = what, True
            elif event == SECTION:
                sections[what["section"]] = _section(what)
            elif event == ERROR:
                errors.append(what)
    outcome = INTERRUPTED if process.status in (-signal.SIGTERM, -signal.SIGINT) else FAILED
    left = LOOK if any_begun else NOTHING
    told = "\n".join(errors) or f"its process {_told(process.status)} unexpectedly; {left}"
    if begun in sections:  # between two sections
        begun = next((one for one in job.order if one not in sections), begun)
    sections[begun] = SectionResult(begun, outcome, message=told)
    whole = tuple(sections.get(one, SectionResult(one, NOT_RUN)) for one in job.order)
    return TenantResult(job.site, job.tenant, job.folder.parent, whole)


def _events(printed: str) -> Iterator[tuple[str, Any]]:
    """The lines that are events; ignores anything else that a library may print."""
    for line in printed.splitlines():
        with suppress(ValueError, AttributeError):
            yield from json.loads(line).items()


def _section(told: Mapping[str, Any]) -> SectionResult:
    notebook = told["notebook"]
    to_look_at = tuple((why, setting) for why, setting in told["to_look_at"])
    return SectionResult(
        **{**told, "notebook": Path(notebook) if notebook else None, "to_look_at": to_look_at}
    )


def _told(status: int | None) -> str:
    return (
        f"was killed by {signal.Signals(-status).name}" if status and status < 0 else f"ended with {status}"
    )
