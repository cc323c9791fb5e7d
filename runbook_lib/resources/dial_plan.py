"""A tenant's present dial plan in the PBX, for section 06 and ``runbook dial``."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..dialling.evaluator import DialPlan
from ..dialling.sources import from_parameters, from_pbx
from ..facts.side_by_side import side_by_side
from .pbx_trunk import InPbx
from .rules import RulesAsRead

if TYPE_CHECKING:
    from ..context import Context
    from ..parameters import Tenant


@dataclass(frozen=True)
class DialPlanAsRead:
    """Our trunk in the PBX, the tenant's rules, ours or not, and what comes before them.

    ``tenant`` is the tenant as the PBX describes it. ``own_list`` has the PBX's emergency numbers and
    ``version`` is the PBX's; ``None`` where they were not read.
    """

    in_pbx: InPbx
    rules: RulesAsRead
    tenant: Mapping[str, Any] = field(default_factory=dict)
    own_list: tuple[Mapping[str, Any], ...] | None = None
    version: str | None = None

    @property
    def trunk(self) -> Mapping[str, Any] | None:
        """The trunk, if it is known which one it is."""
        return self.in_pbx.trunk

    def standing(self, tenant: Tenant) -> DialPlan:
        """Return the PBX's present dial plan."""
        return from_pbx(
            tenant,
            self.rules.outbound,
            self.rules.inbound,
            self.trunk["id"] if self.trunk else None,
            described=self.tenant,
            own_list=self.own_list,
            version=self.version,
        )


def read_dial_plan(
    context: Context, tenant: Tenant, *, whole: bool = False, named: Collection[str] | None = None
) -> DialPlanAsRead:
    """Read it; sends no write.

    The PBX's emergency list and version are read where they say something about this tenant's parameters,
    or with ``whole``; of the outbound rules only those of these names, or all if ``named`` is ``None``.
    """
    rules, pbx = context.rules, context.pbx
    with_list = whole or bool(tenant.country or tenant.examples)
    with_version = with_list or any("+" in rule.prefixes for rule in from_parameters(tenant).rules)
    # What needs a second request goes first: not all of them are in flight at once.
    in_pbx, outbound, inbound, described, own_list, version = side_by_side(
        context.pbx_trunk.look,
        lambda: rules.outbound(named),
        rules.inbound,
        lambda: pbx.tenant,
        lambda: rules.emergency_numbers() if with_list else None,
        lambda: pbx.version() if with_version else None,
    )
    return DialPlanAsRead(
        in_pbx,
        RulesAsRead(in_pbx.ids, tuple(inbound), tuple(outbound)),
        described,
        None if own_list is None else tuple(own_list),
        version,
    )
