"""How every command runs: what it says first, how errors end it, and the notebooks of tenants."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.text import Text

from ..dialling import judgement
from ..dialling.sources import from_parameters
from ..errors import InputError, RunbookError
from ..notebook.display import visible
from ..outcomes import ExitStatus
from ..parameters import Tenant, TrunkScope, load_all, load_site, project_root, secret_cautions
from ..paths import near
from ..plain_files import describe
from ..records.result import CHECKSUMS
from ..records.versions import runbook_version
from ..screen import complain, conclude, screen
from ..workspace import find_workspace

if TYPE_CHECKING:
    from ..approval import GivenApproval

RUN_AGAIN = "Interrupted. Run it again: it reads the current state and completes what is missing."
#: How many tenants of one caution are named.
_NAMED = 3


def guarded(call: Callable[[], int]) -> int:
    """The exit status of a command, or of one tenant's part of it; an error does not affect other tenants."""
    try:
        return call()
    except InputError as error:
        complain(str(error))
        return ExitStatus.WRONG_INPUT
    except RunbookError as error:
        complain(str(error))
        return ExitStatus.FAILED
    except (typer.Abort, typer.Exit, typer.BadParameter):
        raise
    except OSError as error:  # not reported elsewhere: a folder that cannot be written, a failing disk
        complain(describe(error))
        return ExitStatus.FAILED
    except Exception:
        # A bug in the runbook; what Python would print about it could contain a secret.
        complain(traceback.format_exc())
        return ExitStatus.FAILED


def run_notebooks(
    site: Path,
    tenants: Sequence[Path | str],
    mode: str,
    approval: GivenApproval | None = None,
    sections: tuple[str, ...] = (),
    options: Mapping[str, object] | None = None,
    at_once: int = 1,
) -> int:
    """Run the notebooks of tenants, one after the other or some at once, and show what happened."""
    from ..batch import run_tenants
    from ..batch.at_once import run_at_once
    from ..batch.progress import Progress, plain_summary, summary

    def run() -> int:
        announce(site)
        caution(site, tenants)
        given, progress = approval or {}, Progress(screen)
        if min(at_once, len(tenants)) > 1:
            result = run_at_once(site, tenants, mode, given, progress, sections, at_once)
        else:
            result = run_tenants(site, tenants, mode, given, progress, sections, options)
        screen.print(summary(result))
        runs = [tenant.folder for tenant in result.tenants]
        for remark in (*result.remarks, *_kept_elsewhere(result.index.parent, runs)):
            complain(f"The run itself was not affected by this: {remark}")
        if result.not_begun:
            complain(RUN_AGAIN)
        conclude(*plain_summary(result))
        return result.exit_status

    return guarded(run)


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
    return [f"{_names(tenants)}: {line}" for line, tenants in found.items()]


def _names(tenants: Sequence[str]) -> str:
    more = len(tenants) - _NAMED
    return ", ".join(tenants[:_NAMED]) + (f" and {more} more" if more > 0 else "")
