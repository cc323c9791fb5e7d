"""``runbook apply`` and ``runbook verify``: the guide carried out, and compared with what it expects."""

from __future__ import annotations

import re
from pathlib import Path

import typer
from rich.text import Text

from ..notebook.display import visible
from ..screen import screen
from .options import (
    SANDBOX_SITE,
    AcceptInterruption,
    AllTenants,
    ApprovalFile,
    ApprovedBy,
    ApprovedPlan,
    AsJson,
    AtOnce,
    Emergency,
    MaxFailures,
    PlanFile,
    PlansFolder,
    Reason,
    Resume,
    RunnerAddress,
    SectionNumber,
    SiteFile,
    TenantFiles,
    Ticket,
    TrunkName,
    chosen_sections,
    given_approval,
    owners_of,
)
from .running import How, resume_batch, run_notebooks


def apply(
    tenants: TenantFiles = None,
    site: SiteFile = SANDBOX_SITE,
    every: AllTenants = False,
    trunk: TrunkName = None,
    section: SectionNumber = None,
    accept_interruption: AcceptInterruption = False,
    plan_file: PlanFile = None,
    approval_file: ApprovalFile = None,
    approved_plan: ApprovedPlan = None,
    approved_by: ApprovedBy = None,
    ticket: Ticket = None,
    reason: Reason = None,
    emergency: Emergency = None,
    plans: PlansFolder = None,
    at_once: AtOnce = 1,
    max_failures: MaxFailures = None,
    resume: Resume = None,
    as_json: AsJson = False,
    runner: RunnerAddress = None,
) -> None:
    """Carry out the guide for tenants, section by section, and keep the executed notebooks."""
    how = How(at_once, max_failures, as_json, _scheduler(runner))
    if resume is not None:
        if any((tenants, every, trunk, section, accept_interruption, plan_file, approval_file, plans)):
            raise typer.BadParameter(
                "--resume: cannot be combined with tenants, a section, a plan or an approval"
            )
        raise typer.Exit(resume_batch(resume, "apply", how))
    site, owners = owners_of(site, tenants, trunk, every)
    if accept_interruption and len(owners) != 1:
        raise typer.BadParameter("--accept-interruption: needs exactly one tenant file")
    sections = chosen_sections(section, trunk)
    approval = given_approval(plan_file, approval_file, approved_plan, approved_by, owners)
    if trunk is not None and not as_json:  # the record has them as well
        _name_affected(site, f"trunk:{trunk}")
    options = {"accept_interruption": True} if accept_interruption else {}
    raise typer.Exit(run_notebooks(site, owners, "apply", approval, sections, options, how, plans))


def _name_affected(site: Path, trunk: str) -> None:
    """Name the tenants on a shared trunk before it is changed."""
    from ..runbook import Runbook

    with Runbook.open(site, trunk) as runbook:
        names = [tenant["name"] for tenant in runbook.tenants_affected()]
    screen.print(Text(f"Tenants affected: {visible(', '.join(names)) or 'none'}"))


def verify(
    tenants: TenantFiles = None,
    site: SiteFile = SANDBOX_SITE,
    every: AllTenants = False,
    trunk: TrunkName = None,
    section: SectionNumber = None,
    at_once: AtOnce = 1,
    max_failures: MaxFailures = None,
    resume: Resume = None,
    as_json: AsJson = False,
    runner: RunnerAddress = None,
) -> None:
    """Compare tenants with the guide's expected results; changes nothing."""
    how = How(at_once, max_failures, as_json, _scheduler(runner))
    if resume is not None:
        if any((tenants, every, trunk, section)):
            raise typer.BadParameter("--resume: cannot be combined with tenants or a section")
        raise typer.Exit(resume_batch(resume, "verify", how))
    sections = chosen_sections(section, trunk)
    site, owners = owners_of(site, tenants, trunk, every)
    raise typer.Exit(run_notebooks(site, owners, "verify", sections=sections, how=how))


def _scheduler(runner: str | None) -> str:
    """A runner's address, which has to be a Dask scheduler's."""
    if runner and not re.fullmatch(r"dask://[^/\s:]+:\d+", runner):
        raise typer.BadParameter("--runner: must have the form dask://HOST:PORT")
    return runner or ""
