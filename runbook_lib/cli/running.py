"""How every command runs: what it says first, how errors end it, and the notebooks of tenants."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from ..dialling import judgement
from ..dialling.sources import from_parameters
from ..errors import InputError
from ..notebook.display import visible
from ..outcomes import ExitStatus
from ..parameters import Tenant, TrunkScope, load_all, load_site, project_root, secret_cautions
from ..paths import near
from ..records.result import CHECKSUMS
from ..records.versions import runbook_version
from ..screen import complain, conclude, screen
from ..words import counted, first_of
from ..workspace import find_workspace
from .ending import RUN_AGAIN, guarded

if TYPE_CHECKING:
    from ..approval import GivenApproval
    from ..batch import RunResult
    from ..batch.batch_file import Batch

#: How many tenants of one caution are named.
_NAMED = 3


@dataclass(frozen=True)
class How:
    """How tenants are run: how many at once, when no more are started, what is printed, and where."""

    at_once: int = 1
    max_failures: int | None = None
    as_json: bool = False
    runner: str = ""


def run_notebooks(
    site: Path,
    tenants: Sequence[Path | str],
    mode: str,
    approval: GivenApproval | None = None,
    sections: tuple[str, ...] = (),
    options: Mapping[str, object] | None = None,
    how: How = How(),
    plans: Path | None = None,
) -> int:
    """Run the notebooks of tenants, one after the other or some at once, and show what happened."""
    from ..batch import run_tenants
    from ..batch.batches import batch_of
    from ..batch.progress import observer_of

    def run() -> int:
        given = approval or {}
        if not how.as_json:
            announce(site)
        caution(site, tenants)
        if len(tenants) > 1 or how.runner or plans is not None:
            return _run_batch(batch_of(site, tenants, mode, given, sections, options or {}, plans), how)
        with observer_of(screen, 1, as_json=how.as_json) as progress:
            result = run_tenants(site, tenants, mode, given, progress, sections, options)
        return _show(result, how)

    return guarded(run)


def resume_batch(batch_id: str, mode: str, how: How) -> int:
    """Run the remaining tenants of a batch."""
    from ..batch.batch_file import Batch
    from ..parameters.loading import SHARED
    from ..records.result import now

    def run() -> int:
        batch, root = Batch.find(find_workspace().records, batch_id), project_root()
        if batch.mode != mode:
            raise InputError([f"--resume: batch {batch.id} was started by runbook {batch.mode}"])
        if not batch.left:
            screen.print(Text(f"Nothing to resume: all tenants of batch {batch.id} have succeeded."))
            return ExitStatus.FINE
        files = [part.file for part in batch.left]
        if not how.as_json:
            announce(root / batch.site)
        os.environ.update({name: text for name, text in batch.environment.items() if name not in os.environ})
        caution(root / batch.site, [file if file.startswith(SHARED) else root / file for file in files])
        batch.resumed.append(now())
        return _run_batch(batch, how)

    return guarded(run)


def _run_batch(batch: Batch, how: How) -> int:
    from ..batch.batches import run_batch
    from ..batch.progress import observer_of

    with observer_of(screen, how.at_once, len(batch.left), as_json=how.as_json) as progress:
        result = run_batch(
            batch, progress, at_once=how.at_once, max_failures=how.max_failures, runner=how.runner
        )
    return _show(result, how)


def _show(result: RunResult, how: How) -> int:
    """Print the end of one or more runs, and return the exit status."""
    from ..batch.progress import as_event, plain_summary, summary

    if how.as_json:
        print(as_event(result), flush=True)
    else:
        screen.print(summary(result))
    runs = [tenant.folder for tenant in result.tenants]
    for remark in (*result.remarks, *_kept_elsewhere(result.index.parent, runs)):
        complain(f"This did not affect the run itself: {remark}")
    if result.stopped:
        complain(f"Stopped: {result.stopped}.")
    elif result.not_begun and result.batch:  # the summary says how to go on
        complain(f"Interrupted: {counted(len(result.not_begun), 'tenant')} not started.")
    elif result.not_begun:
        complain(RUN_AGAIN)
    conclude(*plain_summary(result))
    return result.exit_status


def _kept_elsewhere(records: Path, runs: Sequence[Path]) -> list[str]:
    """Store the newest head elsewhere if this batch has closed a record; return why if that failed."""
    from ..records.anchor import head_cautions

    return head_cautions(records) if any(os.path.lexists(run / CHECKSUMS) for run in runs) else []


def announce(site: Path) -> None:
    """Show where a run works, on its first line, for users with several checkouts or sites."""
    workspace, version = find_workspace(), runbook_version()["version"]
    with suppress(InputError):  # reported by the run itself, with all other problems
        the_site = load_site(site, workspace.folder)
        line = f"Workspace {workspace.folder} · records {near(workspace.records, workspace.folder)}"
        line += f" · site {the_site.name} ({the_site.target}) · runbook {version}"
        screen.print(Text(visible(line), style="bold"), soft_wrap=True)
        if the_site.target == "sandbox":
            screen.print("Both vendors are simulated on this machine; nothing real is changed.\n")


def caution(site: Path, owners: Sequence[Path | str]) -> None:
    """Check the parameters, and print cautions: secrets that others can access, call rules."""
    root = project_root()
    loaded = load_all(site, owners, root)
    for line in dict.fromkeys(line for each in loaded for line in secret_cautions(*each, root)):
        complain(f"Caution: {line}")
    for line in dial_cautions(tenant for _, tenant in loaded):
        complain(f"Caution: {line}")


def dial_cautions(owners: Iterable[Tenant | TrunkScope]) -> list[str]:
    """Return cautions about the call rules of tenants, each once with the tenants that it concerns."""
    found: dict[str, list[str]] = {}
    for tenant in owners:
        if isinstance(tenant, Tenant):
            for finding in judgement.cautions(from_parameters(tenant)):
                found.setdefault(str(finding), []).append(tenant.name)
    return [f"{first_of(tenants, _NAMED)}: {line}" for line, tenants in found.items()]
