"""Whose trunk a run works on: a tenant's own, a shared one on its own, or a tenant's share of one."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from .errors import InputError
from .guide import RUN_ORDER, SECTIONS, TRUNK_ORDER
from .parameters import Tenant, TrunkScope
from .vendors.pbx import Pbx
from .vendors.portsip import Session


class Scope(ABC):
    """What depends on whose trunk it is; there are three kinds."""

    #: Whether there is a tenant, with its own numbers and rules.
    has_tenant: ClassVar[bool] = True
    #: Whether the trunk is at system level, where tenants have shares of it.
    is_shared: ClassVar[bool] = True
    #: Whether the run may only create missing parts of the trunk and change nothing that exists, because its
    #: settings affect every tenant.
    creates_only: ClassVar[bool] = False
    #: The sections of the guide that apply, in the order in which they are run.
    sections: ClassVar[tuple[str, ...]] = RUN_ORDER

    #: The tenant's SIP domain; ``None`` without a tenant.
    pbx_domain: str | None

    def journals(self, records: Path) -> Path:
        """The folder whose journals show what we created: for a shared trunk, by any tenant's run."""
        return records

    def session(self, pbx: Pbx) -> Session:
        """The session at the PBX in the scope that owns the trunk."""
        return pbx.system

    def require(self, section: str) -> None:
        """Raise ``InputError`` for a section of the guide that does not apply here."""
        if section in RUN_ORDER and section not in self.sections:
            title = SECTIONS[section].title
            raise InputError(
                [f"section {section} ({title}) needs a tenant: it does not apply to a shared trunk alone"],
                next_step=f"name a tenant, or one of the sections {', '.join(self.sections)}",
            )


@dataclass(frozen=True)
class OwnTrunk(Scope):
    """A tenant's own trunk, at tenant level: all of it is the tenant's."""

    tenant: str
    pbx_domain: str
    is_shared: ClassVar[bool] = False

    def journals(self, records: Path) -> Path:
        return records / self.tenant

    def session(self, pbx: Pbx) -> Session:
        return pbx.session


@dataclass(frozen=True)
class SharedTrunkAlone(Scope):
    """A shared trunk on its own, without a tenant: what ``runbook apply --trunk NAME`` works on."""

    pbx_domain: None = None
    has_tenant: ClassVar[bool] = False
    sections: ClassVar[tuple[str, ...]] = TRUNK_ORDER


@dataclass(frozen=True)
class ShareOfTrunk(Scope):
    """A tenant's share of a shared trunk: the tenant's numbers and rules, and its assignment."""

    pbx_domain: str
    creates_only: ClassVar[bool] = True


def scope_of(owner: Tenant | TrunkScope) -> Scope:
    """Return the scope of a tenant, or of a shared trunk on its own."""
    if isinstance(owner, TrunkScope):
        return SharedTrunkAlone()
    if owner.shared_trunk is not None:
        return ShareOfTrunk(owner.pbx_domain)
    return OwnTrunk(owner.name, owner.pbx_domain)
