"""Retiring a tenant, or a shared trunk that no tenant uses any longer.

The order ensures that nothing ever points at something already removed: rules, the PBX trunk or the tenant's
assignment, numbers from the trunk (they stay in the account), origination, lists, the trunk. What
somebody else created or uses stays, and anything that a removal would break stops the run before its
first write.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from .. import keys
from ..did_pool import DidPool
from ..keys import LISTS, WORDS, Kind, ResourceKey, Why
from ..meaning import same_name
from ..plan import Action, Effect, Row
from ..resources.lists import ACL, CREDENTIALS, ListKind, lists_on, own_list
from ..resources.regions import why_not_assigned
from ..resources.twilio_trunk import numbers_on
from ..sections.base import Section, at_step
from ..sections.items import Item, View
from ..sections.s03_origination import host_of
from ..vendors.twilio import as_read
from .way_back import RULES, hanging_on

KEPT_NUMBER = "stays in the account and is billed; nothing answers it any longer"
INBOUND, OUTBOUND = Effect.INTERRUPTS_INBOUND, Effect.INTERRUPTS_OUTBOUND
BOTH_WAYS = Effect.INTERRUPTS_BOTH


class Retire(Section[None]):
    """Removes what the runbook set up for a tenant; each row has the step that it undoes."""

    number = "91"

    def read(self) -> None:
        context = self.context
        with at_step("1.1"):
            found = context.twilio_trunk.look()
        self._trunk = found.trunk
        with at_step("5.1"):
            in_pbx = context.pbx_trunk.look()
        self._candidates, self._in_pbx = in_pbx.candidates, in_pbx.trunk
        with at_step("6.1 to 6.2"):
            self._rules = context.rules.through(self._pbx_trunk["id"]) if self._has_rules else []
        with at_step("5.5"):
            self._assignees = self._read_assignees() if self._in_pbx and context.scope.is_shared else {}
            self._pool = self._read_pool()
        self._numbers: list[Any] = []
        self._uris: list[Any] = []
        if self._trunk is not None:
            trunk = context.twilio.trunks(self._trunk.sid)
            with at_step("4.1"):
                self._numbers = numbers_on(context.twilio, self._trunk.sid)
            with at_step("3.1"):
                self._uris = trunk.origination_urls.list()
        dids = context.tenant.dids if context.scope.has_tenant else ()
        ours = {one["id"] for _, one in self._rules}
        with at_step("6.1"):
            self._callers = context.rules.callers(dids, ours) if context.scope.has_tenant else {}
        with at_step("2.2 to 2.3"):
            self._lists = (
                [] if self._only_assigned else [*self._read_lists(ACL), *self._read_lists(CREDENTIALS)]
            )

    def views(self) -> list[View]:
        rows = [(WORDS[Kind.PBX_TRUNK], one["name"]) for one in self._candidates]
        rows += [(WORDS[RULES[kind]], one["name"]) for kind, one in self._rules]
        # A tenant's record names no other tenant of its trunk, and none of their numbers.
        tenants, numbers = self._assignees, self._numbers
        if self._only_assigned:
            tenants = {key: name for key, name in tenants.items() if key == self.context.pbx.tenant_id}
            numbers = [one for one in numbers if one.phone_number in self.context.tenant.dids]
        rows += [("assigned tenant", name) for name in tenants.values()]
        rows += [("Twilio trunk", self._trunk.domain_name)] if self._trunk is not None else []
        rows += [("number on the trunk", one.phone_number) for one in numbers]
        rows += [("origination URI", one.sip_url) for one in self._uris]
        rows += [(WORDS[kind], one.friendly_name) for kind, one, _ in self._lists]
        return [View("What exists for the tenant and its trunk", ("Kind", "Name"), tuple(rows))]

    def wanted(self) -> list[Item]:
        if len(self._candidates) > 1:
            note = f"{len(self._candidates)} trunks of the PBX have this hostname or name"
            return [
                self._conflict(
                    "5.1", WORDS[Kind.PBX_TRUNK], self.context.settings.pbx_name, Why.AMBIGUOUS, note
                )
            ]
        items = [*self._rule_items(), *self._pbx_items(), *self._number_items()]
        if not self._only_assigned:
            items += [*self._uri_items(), *self._list_items(), *self._trunk_items()]
        return items

    def expected(self) -> list[Row]:
        if self._only_assigned:
            return [self.row("5.5", "the tenant's assignment", None, self._assigned)]
        domain = self._trunk.domain_name if self._trunk is not None else None
        return [self.row("1.1", "trunk at Twilio", None, domain)]

    def guarded_items(self) -> list[Item]:
        # For a shared trunk, the items cover only what is the tenant's.
        return self._within_leave(self.items())

    @property
    def _only_assigned(self) -> bool:
        """Whether the tenant has a share of a trunk, and not the trunk."""
        return self.context.scope.creates_only

    @property
    def _has_rules(self) -> bool:
        return self._in_pbx is not None and self.context.scope.has_tenant

    @property
    def _pbx_trunk(self) -> dict[str, Any]:
        """The PBX trunk, for what depends on an existing one."""
        assert self._in_pbx is not None
        return self._in_pbx

    @property
    def _assigned(self) -> str | None:
        """The name of the trunk that is assigned to the tenant."""
        return self._pbx_trunk["name"] if self.context.pbx.tenant_id in self._assignees else None

    def _read_pool(self) -> DidPool | tuple[()]:
        """The numbers of the tenant's assignment, as far as they can be read."""
        if not self._only_assigned or self._assigned is None:
            return ()
        path = f"/providers/{self._pbx_trunk['id']}/assignees/{self.context.pbx.tenant_id}"
        return DidPool.read_if_any(self.context.pbx_trunk.session.get(path).get("did_numbers")) or ()

    def _read_assignees(self) -> dict[str, str]:
        """The tenants of the shared trunk: id and name."""
        path = f"/providers/{self._pbx_trunk['id']}"
        hanging = hanging_on(self.context, path)
        return {
            assigned.rpartition("/")[2]: key.name
            for assigned, key in hanging.items()
            if key.kind is Kind.TENANT
        }

    def _read_lists(self, kind: ListKind) -> list[tuple[Kind, Any, dict[str, ResourceKey]]]:
        """Our list of a kind, with what hangs on it; at most one."""
        context, twilio = self.context, self.context.twilio
        own = own_list(
            kind,
            context.settings,
            kind.of_account(twilio).list(),
            lambda: lists_on(kind, twilio, self._trunk),
            context.made_by_us,
        )
        if own is None:
            return []
        return [(kind.kind, own, hanging_on(context, f"{self._sip}/{kind.path}/{own.sid}.json"))]

    def _rule_items(self) -> list[Item]:
        rules = self.context.tenant.call_rules if self.context.scope.has_tenant else None
        ours = {
            "inbound_rules": [one.name for one in rules.inbound] if rules else [],
            "outbound_rules": [one.name for one in rules.outbound] if rules else [],
        }
        items = []
        for kind, one in self._rules:
            step, effect = ("6.2", INBOUND) if kind == "inbound_rules" else ("6.1", OUTBOUND)
            name = one["name"]
            key = ResourceKey.of(RULES[kind], name)
            elsewhere = any(
                route.get("provider_id") != self._pbx_trunk["id"] for route in one.get("routes") or ()
            )
            if not any(same_name(name, own) for own in ours[kind]) or elsewhere:
                note = "it uses another trunk too" if elsewhere else "it is not in the parameters"
                note += ": remove this trunk from it, or delete the rule in the PBX first"
                items.append(self._conflict(step, str(key), "present", Why.IN_USE, note))
                continue
            row = self.row(step, str(key), None, "present", effect=effect)
            write = partial(self.context.rules.remove, kind, one["id"])
            items.append(Item((row,), key, write, before=one))
        return items

    def _pbx_items(self) -> list[Item]:
        name = self.context.settings.pbx_name
        if self._in_pbx is None:
            return []
        path, session = f"/providers/{self._in_pbx['id']}", self.context.pbx_trunk.session
        if self._only_assigned:
            if self._assigned is None:
                return []
            row = self.row("5.5", "the tenant's assignment", None, name, effect=BOTH_WAYS)
            path = f"{path}/assignees/{self.context.pbx.tenant_id}"
            resource = keys.assignment(name, self.context.tenant.name)
            write = partial(session.post, f"{path}/destroy")
            return [Item((row,), resource, write, before=session.get(path))]
        if self._in_pbx.get("shared") and not self.context.scope.is_shared:
            note = "it is a system-level trunk, not the tenant's"
            return [self._conflict("5.1", WORDS[Kind.PBX_TRUNK], name, Why.NOT_OURS, note)]
        if self._assignees:
            note = f"assigned to {', '.join(sorted(self._assignees.values()))}: retire these tenants first"
            return [self._conflict("5.1", WORDS[Kind.PBX_TRUNK], name, Why.IN_USE, note)]
        row = self.row("5.1", WORDS[Kind.PBX_TRUNK], None, name, effect=BOTH_WAYS)
        write = partial(session.post, f"{path}/destroy")
        return [Item((row,), keys.pbx_trunk(name), write, before=self._in_pbx)]

    def _number_items(self) -> list[Item]:
        dids = self.context.tenant.dids if self.context.scope.has_tenant else ()
        domain = self.context.settings.domain
        items = list[Item]()
        if self._trunk is None:
            return items
        for number in sorted(self._numbers, key=lambda one: one.phone_number):
            did = number.phone_number
            if did not in dids:
                if did in self._pool:
                    note = "it is in the tenant's pool but not in dids: add it to dids, or remove it first"
                    items.append(self._conflict("4.1", did, domain, Why.IN_USE, note))
                elif not self._only_assigned:
                    note = "it is on the trunk but not in dids: move it first, or add it to dids"
                    items.append(self._conflict("4.1", did, domain, Why.IN_USE, note))
                continue
            if users := self._callers.get(did):
                note = f"still used by {', '.join(users)}"
                items.append(self._conflict("4.1", did, domain, Why.IN_USE, note))
                continue
            if reason := why_not_assigned(self.context.account.region):
                items.append(self._conflict("4.1", did, domain, Why.UNSUITABLE, reason))
                continue
            row = self.row("4.1", did, None, domain, effect=INBOUND, note=KEPT_NUMBER)
            write = self.context.twilio.trunks(self._trunk.sid).phone_numbers(number.sid).delete
            items.append(Item((row,), ResourceKey.of(Kind.NUMBER, did), write, before=as_read(number)))
        return items

    def _uri_items(self) -> list[Item]:
        items, address = [], self.context.settings.pbx_address
        for one in self._uris:
            setting = ResourceKey.of(Kind.ORIGINATION_URI, one.sip_url).words
            if host_of(one.sip_url) != address:
                note = "it leads to something other than this PBX: move it to its own trunk first"
                items.append(self._conflict("3.1", setting, "present", Why.NOT_OURS, note))
                continue
            row = self.row("3.1", setting, None, "present", effect=INBOUND)
            resource = keys.origination_uri(one.sip_url, self.context.settings.domain)
            items.append(Item((row,), resource, one.delete, before=as_read(one)))
        return items

    def _list_items(self) -> list[Item]:
        items = []
        ours = {one.sid for _, one, _ in self._lists}
        hanging = hanging_on(self.context, f"/v1/Trunks/{self._trunk.sid}") if self._trunk is not None else {}
        for path, key in hanging.items():
            if key.kind in LISTS and path.rpartition("/")[2] not in ours:
                note = "it is on the trunk but not in this site's records: detach it first"
                setting = f"{key.words} on the trunk"
                items.append(self._conflict("2.2", setting, "present", Why.NOT_OURS, note))
        for kind, one, users in self._lists:
            items += self._items_of_list(kind, one, users)
        return items

    def _items_of_list(self, kind: Kind, one: Any, hanging: dict[str, ResourceKey]) -> list[Item]:
        """The list from the trunk, its entries, then the list; one that something else needs stays whole."""
        step, name, settings = (
            "2.2" if kind is Kind.ACCESS_LIST else "2.3",
            one.friendly_name,
            self.context.settings,
        )
        own = f"/v1/Trunks/{self._trunk.sid}/" if self._trunk is not None else "(no trunk)"
        attached = next((path for path in hanging if path.startswith(own)), None)
        entries = {path: key for path, key in hanging.items() if path.startswith(self._sip)}
        wanted = {ResourceKey.of(Kind.USER, settings.username)} | {
            ResourceKey.of(Kind.ADDRESS, f"{address}/32") for address in settings.acl_addresses
        }
        foreign = sorted(
            key.words
            for path, key in hanging.items()
            if path != attached and not (path in entries and key in wanted)
        )
        items, of_list = [], ResourceKey.of(kind, name)
        if attached:
            row = self.row(step, f"{WORDS[kind]} on the trunk", None, name, effect=OUTBOUND)
            resource = keys.on_trunk(of_list, settings.domain)
            items.append(Item((row,), resource, partial(self.context.twilio.remove, attached)))
        if foreign:
            note = f"kept: it has or serves {', '.join(foreign)}"
            row = Row(step, WORDS[kind], None, name, Action.NOT_MANAGED, note=note, why=Why.IN_USE)
            return [*items, Item((row,))]
        for path, key in entries.items():
            row = self.row(step, key.words, None, "present")
            resource = replace(key, parent=of_list)
            items.append(Item((row,), resource, partial(self.context.twilio.remove, path)))
        row = self.row(step, WORDS[kind], None, name)
        return [*items, Item((row,), of_list, one.delete, before=as_read(one))]

    def _trunk_items(self) -> list[Item]:
        if self._trunk is None:
            return []
        domain = self._trunk.domain_name
        if not domain:
            note = "it has this trunk's friendly name but no termination URI, so it may be somebody else's"
            return [self._conflict("1.1", "trunk", self._trunk.friendly_name, Why.NOT_OURS, note)]
        row = self.row("1.1", "trunk", None, domain, effect=BOTH_WAYS)
        return [Item((row,), keys.trunk(domain), self._trunk.delete, before=as_read(self._trunk))]

    def _conflict(self, step: str, setting: str, current: str, why: Why, note: str) -> Item:
        return Item((Row(step, setting, None, current, Action.CONFLICT, note=note, why=why),))

    @property
    def _sip(self) -> str:
        return f"/2010-04-01/Accounts/{self.context.twilio.account_sid}/SIP"
