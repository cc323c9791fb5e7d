"""Section 2: termination, that is calls from the PBX to Twilio.

Twilio enforces both lists when both are set (Twilio, Elastic SIP Trunking, "Termination"): the
first list of a kind on a trunk that works with the other kind can stop calls.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from .. import keys
from ..facts.side_by_side import side_by_side
from ..keys import WORDS, Kind, ResourceKey, Why
from ..meaning import same_name
from ..plan import Action, Effect, Row
from ..vendors.twilio import as_read
from .base import SETTLE_S, Item, Section, View, time_to_pass
from .passwords import PasswordPair


class Termination(Section):
    """Steps 2.1 to 2.3."""

    number = "02"

    def read(self) -> None:
        settings, twilio, sip = self.context.settings, self.context.twilio, self.context.twilio.account.sip
        self._trunk, acls, lists = side_by_side(
            self.context.twilio_trunk.require, sip.ip_access_control_lists.list, sip.credential_lists.list
        )
        self._attached_acls, self._attached_lists = [], []
        if self._trunk is not None:
            trunk = twilio.trunks(self._trunk.sid)
            self._attached_acls, self._attached_lists = side_by_side(
                trunk.ip_access_control_lists.list, trunk.credentials_lists.list
            )
        self._acls = [one for one in acls if same_name(one.friendly_name, settings.acl_name)]
        self._lists = [one for one in lists if same_name(one.friendly_name, settings.credential_list_name)]
        self._acl = self._ours(acls, settings.acl_name, self._attached_acls, ACL)
        self._list = self._ours(lists, settings.credential_list_name, self._attached_lists, LIST)
        self._addresses, self._users = side_by_side(
            lambda: sip.ip_access_control_lists(self._acl.sid).ip_addresses.list() if self._acl else [],
            lambda: sip.credential_lists(self._list.sid).credentials.list() if self._list else [],
        )
        self._user = next((user for user in self._users if user.username == settings.username), None)
        self._pair = PasswordPair(self.context, self._user, reading_back=self.reading_back)

    def views(self) -> list[View]:
        trunk = self._trunk
        lists = [(WORDS[ACL], one.friendly_name) for one in self._attached_acls]
        lists += [(WORDS[LIST], one.friendly_name) for one in self._attached_lists]
        return [
            View(
                "Termination of the trunk",
                ("Termination URI", "Authentication that Twilio enforces"),
                ((trunk.domain_name, trunk.auth_type or "none: calls are refused"),) if trunk else (),
            ),
            View("Lists on the trunk", ("Kind", "Name"), tuple(lists)),
            View(
                "Addresses in our IP access control list",
                ("Name", "Address"),
                tuple((one.friendly_name, _cidr(one)) for one in self._addresses),
            ),
            View(
                "Users in our credential list", ("User name",), tuple((one.username,) for one in self._users)
            ),
        ]

    def items(self) -> list[Item]:
        settings = self.context.settings
        if self._trunk is None and "01" not in self.ahead:
            wanted = (
                ("2.1", "termination URI", settings.domain),
                ("2.2", WORDS[ACL], settings.acl_name),
                ("2.3", WORDS[LIST], settings.credential_list_name),
            )
            return [self.blocked(step, setting, desired, "01") for step, setting, desired in wanted]
        return [*self._uri(), *self._acl_items(), *self._list_items()]

    def _uri(self) -> list[Item]:
        trunk, domain = self._trunk, self.context.settings.domain
        if trunk is None:
            return []  # made together with the trunk: section 01 shows it
        row = self.row("2.1", "termination URI", domain, trunk.domain_name or None, field="domain_name")
        write = None if row.action is Action.IN_PLACE else lambda: trunk.update(domain_name=domain)
        return [Item((row,), ResourceKey.of(Kind.TERMINATION_URI, domain), write, before=as_read(trunk))]

    def _acl_items(self) -> list[Item]:
        name, lists = self.context.settings.acl_name, self.context.twilio.account.sip.ip_access_control_lists
        items = [self._list_item("2.2", ACL, name, self._acl, lists)]
        items += self.duplicates("2.2", ResourceKey.of(ACL, name).words, self._acls)
        by_address = {one.ip_address: one for one in self._addresses}
        by_label = {one.friendly_name: one for one in self._addresses}
        ours = set()
        for address in self.context.settings.acl_addresses:
            entry = by_address.get(address) or by_label.get(_label(address))
            if entry is not None:
                ours.add(entry.sid)
            items.append(self._address_item(address, entry))
            same = [one for one in self._addresses if _cidr(one) == f"{address}/32"]
            items += self.duplicates("2.2", f"address {address}", same)
            ours |= {one.sid for one in same}
        items += [self._extra_address(one) for one in self._addresses if one.sid not in ours]
        return [*items, *self._attach_items("2.2", ACL, name, self._attached_acls, self._attached_lists)]

    def _extra_address(self, entry: Any) -> Item:
        """An address that the parameters do not ask for: left alone, unless it is one that we put there."""
        resource = self._address(_cidr(entry))
        if entry.friendly_name == _label(entry.ip_address) and self.context.made_by_us(resource, entry.sid):
            row = self.row("2.2", resource.words, None, _cidr(entry), effect=Effect.INTERRUPTS_OUTBOUND)
            return Item((row,), resource, entry.delete, before=as_read(entry))
        return Item((_not_ours("2.2", resource, _cidr(entry)),))

    def _address(self, cidr: str) -> ResourceKey:
        return ResourceKey.of(Kind.ADDRESS, cidr, ResourceKey.of(ACL, self.context.settings.acl_name))

    def _address_item(self, address: str, entry: Any | None) -> Item:
        desired, label = f"{address}/32", _label(address)
        resource = self._address(desired)
        if entry is None:
            row = self.row("2.2", f"address {address}", desired, None, effect=self._effect_on(self._acl, ACL))
            return Item(
                (row,),
                resource,
                lambda: self._entries().create(label, address, cidr_prefix_length=32),
                # A list that another run has just made gets its addresses next.
                passing_s=time_to_pass(
                    SETTLE_S,
                    self.context.journal.clocks.now("Twilio"),
                    *([self._acl.date_created] if self._acl else []),
                ),
            )
        rows = (
            # A wider or another address loses its permission to call.
            self.row("2.2", f"address {address}", desired, _cidr(entry), effect=Effect.INTERRUPTS_OUTBOUND),
            self.row("2.2", f"name of address {address}", label, entry.friendly_name),
        )
        if all(row.action is Action.IN_PLACE for row in rows):
            return Item(rows)
        write = lambda: entry.update(friendly_name=label, ip_address=address, cidr_prefix_length=32)  # noqa: E731
        return Item(rows, resource, write, before=as_read(entry))

    def _list_items(self) -> list[Item]:
        settings, sip = self.context.settings, self.context.twilio.account.sip
        name = settings.credential_list_name
        items = [self._list_item("2.3", LIST, name, self._list, sip.credential_lists)]
        items += self.duplicates("2.3", ResourceKey.of(LIST, name).words, self._lists)
        items += self._pair.items_at_twilio(self._users_of_list)
        same = [user for user in self._users if user.username == settings.username]
        items += self.duplicates("2.3", f"user {settings.username}", same)
        items += [
            Item((_not_ours("2.3", ResourceKey.of(Kind.USER, one.username), one.username),))
            for one in self._users
            if one.username != settings.username
        ]
        return [*items, *self._attach_items("2.3", LIST, name, self._attached_lists, self._attached_acls)]

    def _list_item(self, step: str, kind: Kind, name: str, found: Any | None, lists: Any) -> Item:
        row = self.row(step, WORDS[kind], name, found.friendly_name if found else None, field="friendly_name")
        if row.action is Action.IN_PLACE:
            return Item((row,))
        return Item(
            (row,),
            ResourceKey.of(kind, name),
            partial(self._make_or_rename, kind, name, found, lists),
            before=as_read(found) if found else None,
        )

    def _make_or_rename(self, kind: Kind, name: str, found: Any | None, lists: Any) -> None:
        if found is not None:
            found.update(friendly_name=name)
        elif kind is ACL:
            self._acl = lists.create(friendly_name=name)
        else:
            self._list = lists.create(friendly_name=name)

    def _attach_items(
        self, step: str, kind: Kind, name: str, attached: list[Any], other_kind: list[Any]
    ) -> list[Item]:
        ours = self._acl if kind is ACL else self._list
        on_trunk = ours is not None and any(one.sid == ours.sid for one in attached)
        effect = Effect.NONE
        if other_kind and not attached and self._calls_may_flow(other_kind):
            effect = Effect.INTERRUPTS_OUTBOUND
        row = self.row(step, f"{WORDS[kind]} on the trunk", name, name if on_trunk else None, effect=effect)
        write = None if row.action is Action.IN_PLACE else partial(self._attach, kind)
        resource = keys.on_trunk(ResourceKey.of(kind, name), self.context.settings.domain)
        items = [Item((row,), resource, write)]
        items += [
            Item((_not_ours(step, ResourceKey.of(kind, one.friendly_name), "on the trunk"),))
            for one in attached
            if ours is None or one.sid != ours.sid
        ]
        return items

    def _attach(self, kind: Kind) -> None:
        trunk = self._trunk or self.context.twilio_trunk.require()
        lists = self.context.twilio.trunks(trunk.sid)
        if kind is ACL:
            lists.ip_access_control_lists.create(self._acl.sid)
        else:
            lists.credentials_lists.create(self._list.sid)

    def _calls_may_flow(self, other_kind: list[Any]) -> bool:
        """Whether somebody may call out through the trunk with the kind of list that it has now."""
        ours = (self.context.settings.acl_name, self.context.settings.credential_list_name)
        foreign = [one for one in other_kind if not any(same_name(one.friendly_name, name) for name in ours)]
        return bool(foreign) or self.context.pbx_trunk.exists()

    def _effect_on(self, found: Any | None, kind: Kind) -> Effect:
        """A change to a list that we did not make may touch whatever else uses it."""
        name = self.context.settings.acl_name if kind is ACL else self.context.settings.credential_list_name
        ours = found is None or self.context.made_by_us(
            ResourceKey.of(kind, name), found.sid, found.date_created
        )
        return Effect.NONE if ours else Effect.INTERRUPTS_OUTBOUND

    def _entries(self) -> Any:
        return self.context.twilio.account.sip.ip_access_control_lists(self._acl.sid).ip_addresses

    def _users_of_list(self) -> Any:
        return self.context.twilio.account.sip.credential_lists(self._list.sid).credentials

    def _ours(self, lists: list[Any], name: str, attached: list[Any], kind: Kind) -> Any | None:
        """Return our list by its name; renamed by somebody, by the journal that shows that we made it."""
        named = next((one for one in lists if same_name(one.friendly_name, name)), None)
        if named is not None:
            return named
        sids, key = {one.sid for one in attached}, ResourceKey.of(kind, name)
        return next((one for one in lists if one.sid in sids and self.context.made_by_us(key, one.sid)), None)


ACL, LIST = Kind.ACCESS_LIST, Kind.CREDENTIAL_LIST
NOT_OURS = "not in this site's records; left alone"


def _not_ours(step: str, resource: ResourceKey, current: str) -> Row:
    return Row(step, resource.words, None, current, Action.NOT_MANAGED, note=NOT_OURS, why=Why.NOT_OURS)


def _label(address: str) -> str:
    return f"PBX {address}"


def _cidr(entry: Any) -> str:
    return f"{entry.ip_address}/{entry.cidr_prefix_length}"
