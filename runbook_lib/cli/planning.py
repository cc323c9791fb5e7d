"""``runbook validate`` and ``runbook plan``: what can be said before anything is changed."""

from __future__ import annotations

from functools import partial

from ..outcomes import worst
from ..screen import screen
from ..words import counted
from .ending import guarded
from .options import (
    SANDBOX_SITE,
    AllTenants,
    AtOnce,
    PlanFolder,
    SectionNumber,
    SiteFile,
    TenantFiles,
    TrunkName,
    chosen_sections,
    owners_of,
)
from .running import announce, caution


def validate(tenants: TenantFiles = None, site: SiteFile = SANDBOX_SITE, every: AllTenants = False) -> None:
    """Check parameter files; sends nothing."""
    given, owners = owners_of(site, tenants, None, every)
    caution(given, owners)
    screen.print(f"OK: the site file and {counted(len(owners), 'tenant file')}")


def plan(
    tenants: TenantFiles = None,
    site: SiteFile = SANDBOX_SITE,
    every: AllTenants = False,
    trunk: TrunkName = None,
    section: SectionNumber = None,
    out: PlanFolder = None,
    at_once: AtOnce = 1,
) -> int:
    """Plan tenants; changes nothing. Exit status 2 if there are changes."""
    from ..batch.plans import plan_at_once, plan_tenant

    sections = chosen_sections(section, trunk)
    site, owners = owners_of(site, tenants, trunk, every)
    if min(at_once, len(owners)) > 1:
        return worst(plan_at_once(site, owners, out, screen, sections, at_once))
    announce(site)
    statuses = [guarded(partial(plan_tenant, site, owner, out, screen, sections)) for owner in owners]
    return worst(statuses)
