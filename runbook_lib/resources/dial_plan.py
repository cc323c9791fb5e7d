"""The dial plan that stands at the PBX, read now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..dialling.evaluator import DialPlan
from ..dialling.sources import from_pbx
from ..facts.side_by_side import side_by_side

if TYPE_CHECKING:
    from ..context import Context


def read_dial_plan(context: Context) -> DialPlan:
    """Read a tenant's rules, ours or not, and what stands in front of them; sends no write."""
    rules, pbx = context.rules, context.pbx
    in_pbx, outbound, inbound, own_list, version = side_by_side(
        context.pbx_trunk.look, rules.outbound, rules.inbound, rules.emergency_numbers, pbx.version
    )
    return from_pbx(
        context.tenant,
        outbound,
        inbound,
        in_pbx.trunk["id"] if in_pbx.trunk else None,
        described=pbx.tenant,
        own_list=own_list,
        version=version,
    )
