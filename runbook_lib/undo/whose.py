"""Whether what a record did belongs to this tenant, whatever its journal says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ..meaning import same_name
from ..records.footprint import Trace
from ..resources.written import collection_of

if TYPE_CHECKING:
    from ..context import Context


class Whose:
    """Decides which resources are the tenant's, by the present state.

    The tenant's are those that its parameters name, and those that the record made itself, if the
    record is in the chain. An unverified journal proves nothing: there only what
    the parameters name counts.
    """

    def __init__(self, context: Context, traces: Iterable[Trace]) -> None:
        self._context = context
        self._vouched = context.to_undo.vouched
        #: Paths of what the record made.
        self._made = {one.path for one in traces if one.kind == "made" and self._vouched}

    def problem(self, trace: Trace, live: Mapping[str, Any] | None) -> str:
        """Return what a trace belongs to that is not this tenant's; empty if it is the tenant's."""
        parts = trace.path.split("/")
        if trace.vendor == "PortSIP":
            return self._problem_in_pbx(trace, live or trace.before)
        if collection_of(trace.path) == "IncomingPhoneNumbers":
            on = trace.left.get("trunk_sid") or trace.before.get("trunk_sid")
            return self._problem_of_number(on, live)
        if parts[1] == "v1":
            of_number = collection_of(trace.path) == "PhoneNumbers"
            return self._problem_of_number(parts[3], live) if of_number else self._problem_of_trunk(parts[3])
        return self._problem_of_list(parts[5], parts[6].removesuffix(".json"))

    def _problem_of_trunk(self, sid: str | None) -> str:
        if f"/v1/Trunks/{sid}" in self._made or (self._trunk is not None and sid == self._trunk.sid):
            return ""
        return "a Twilio trunk that the parameters do not name"

    def _problem_of_number(self, trunk_sid: str | None, live: Mapping[str, Any] | None) -> str:
        if problem := self._problem_of_trunk(trunk_sid):
            return problem
        if self._vouched or not self._context.scope.has_tenant:
            return ""
        # On a shared trunk there are numbers of other tenants.
        tenant, did = self._context.tenant, (live or {}).get("phone_number")
        return "" if did in tenant.dids or did in tenant.remove else "a number that is not in dids"

    def _problem_of_list(self, kind: str, sid: str) -> str:
        context, settings = self._context, self._context.settings
        path = f"/2010-04-01/Accounts/{context.twilio.account_sid}/SIP/{kind}/{sid}.json"
        if path in self._made:
            return ""
        wanted = settings.credential_list_name if kind == "CredentialLists" else settings.acl_name
        if same_name((context.twilio.read(path) or {}).get("friendly_name"), wanted):
            return ""
        # The parameters may have had another name when the record was made.
        trunk = self._trunk if self._vouched else None
        if trunk is not None and context.twilio.read(f"/v1/Trunks/{trunk.sid}/{kind}/{sid}"):
            return ""
        return "a list that the parameters do not name"

    def _problem_in_pbx(self, trace: Trace, fields: Mapping[str, Any]) -> str:
        kind, parts = collection_of(trace.path), trace.path.split("/")
        if kind in ("providers", "assignees"):
            if f"/providers/{parts[2]}" not in self._made and parts[2] not in self._in_pbx:
                return "a PBX trunk that the parameters do not name"
            others = kind == "assignees" and parts[4] != self._context.pbx.tenant_id
            return "the assignment of another tenant" if others else ""
        # A rule is read in the tenant's scope, where there are no others.
        routes = fields.get("routes") or ()
        through = {fields.get("provider_id"), *(route.get("provider_id") for route in routes)}
        if self._vouched or through & self._in_pbx:
            return ""
        return "a PBX trunk that the parameters do not name"

    @cached_property
    def _trunk(self) -> Any | None:
        return self._context.twilio_trunk.find()

    @cached_property
    def _in_pbx(self) -> frozenset[str]:
        return self._context.pbx_trunk.look().ids
