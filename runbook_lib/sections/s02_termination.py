"""Section 2: termination, that is calls from the PBX to Twilio.

Twilio enforces both lists when both are set (Twilio, Elastic SIP Trunking, "Termination"): the
first list of a kind on a trunk that works with the other kind can stop calls.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from ..facts.side_by_side import side_by_side
<<<<<<< HEAD
from ..keys import WORDS, Kind, ResourceKey, Why
from ..meaning import same_name
from ..plan import Action, Effect, Row
=======
from ..keys import Kind, ResourceKey
from ..plan import Effect, Value
from ..resources.lists import ACL, CREDENTIALS, ListKind, Lists, read_lists
from ..resources.pbx_trunk import InPbx
>>>>>>> main
from ..vendors.twilio import as_read
from .base import SETTLE_S, Field, Item, Section, View, time_to_pass
from .passwords import PasswordPair


@dataclass(frozen=True)
class Facts:
    """What section 2 goes by: the trunk, the lists of both kinds, and whether the PBX can call out."""

    trunk: Any | None = None
    lists: Mapping[ListKind, Lists] = field(default_factory=lambda: {ACL: Lists(), CREDENTIALS: Lists()})
    in_pbx: InPbx = field(default_factory=InPbx)


class Termination(Section):
    """Steps 2.1 to 2.3."""

    number = "02"
    needs = "01"

    def look(self) -> Facts:
        context = self.context
        _ = context.pbx
        facts, in_pbx = side_by_side(self._look_at_twilio, context.pbx_trunk.look)
        return replace(facts, in_pbx=in_pbx)

    def _look_at_twilio(self) -> Facts:
        context, twilio = self.context, self.context.twilio
        trunk, *lists = side_by_side(
            context.twilio_trunk.require, *(kind.of_account(twilio).list for kind in (ACL, CREDENTIALS))
        )
        more = twilio, context.settings
        acl, credentials = side_by_side(
            *(
                partial(read_lists, kind, *more, of_account, trunk, context.made_by_us)
                for kind, of_account in zip((ACL, CREDENTIALS), lists, strict=True)
            )
<<<<<<< HEAD
        self._acls = [one for one in acls if same_name(one.friendly_name, settings.acl_name)]
        self._lists = [one for one in lists if same_name(one.friendly_name, settings.credential_list_name)]
        self._acl = self._ours(acls, settings.acl_name, self._attached_acls, ACL)
        self._list = self._ours(lists, settings.credential_list_name, self._attached_lists, LIST)
        self._addresses, self._users = side_by_side(
            lambda: sip.ip_access_control_lists(self._acl.sid).ip_addresses.list() if self._acl else [],
            lambda: sip.credential_lists(self._list.sid).credentials.list() if self._list else [],
=======
>>>>>>> main
        )
        return Facts(trunk, {ACL: acl, CREDENTIALS: credentials})

    def views(self) -> list[View]:
        trunk, acl, credentials = self.facts.trunk, self.facts.lists[ACL], self.facts.lists[CREDENTIALS]
        return [
            View(
                "Termination of the trunk",
                ("Termination URI", "Authentication that Twilio enforces"),
                ((trunk.domain_name, trunk.auth_type or "none: calls are refused"),) if trunk else (),
            ),
            View(
                "Lists on the trunk",
                ("Kind", "Name"),
                tuple(
                    (kind.words, attached.friendly_name)
                    for kind, lists in self.facts.lists.items()
                    for attached in lists.attached
                ),
            ),
            View(
                "Addresses in our IP access control list",
                ("Name", "Address"),
                tuple((entry.friendly_name, _cidr(entry)) for entry in acl.entries),
            ),
            View(
                "Users in our credential list",
                ("User name",),
                tuple((user.username,) for user in credentials.entries),
            ),
        ]

    def outline(self) -> list[tuple[str, str, Value]]:
        settings = self.context.settings
        lists = [(kind.step, kind.words, kind.name(settings)) for kind in (ACL, CREDENTIALS)]
        return [("2.1", "termination URI", settings.domain), *lists]

    def wanted(self) -> list[Item]:
        return [
            *self._uri(),
            *self._list(ACL, self._address_items()),
            *self._list(CREDENTIALS, self._user_items()),
        ]

    def _uri(self) -> list[Item]:
        """Step 2.1."""
        trunk, domain = self.facts.trunk, self.context.settings.domain
        if trunk is None:
            return []  # made together with the trunk: section 01 shows it
        uri = Field("domain_name", "termination URI", domain, trunk.domain_name or None)
        key = ResourceKey.of(Kind.TERMINATION_URI, domain)
        return [self.item("2.1", key, [uri], lambda fields: trunk.update(**fields), as_read(trunk))]

    def _list(self, kind: ListKind, entries: list[Item]) -> list[Item]:
        """Steps 2.2 and 2.3: our list, its entries, and its place on the trunk."""
        settings, lists = self.context.settings, self.facts.lists[kind]
        own, key = lists.own, kind.key(settings)
        name = Field("friendly_name", kind.words, key.name, own.friendly_name if own else None)
        return [
            self.item(
                kind.step,
                key,
                [name],
                (lambda fields: own.update(**fields)) if own else partial(self._make, kind),
                as_read(own) if own else None,
            ),
            *self.duplicates(kind.step, key.words, lists.named),
            *entries,
            *self._attachment(kind),
        ]

    def _attachment(self, kind: ListKind) -> list[Item]:
        settings, lists = self.context.settings, self.facts.lists[kind]
        sid = lists.own.sid if lists.own else None
        here = any(attached.sid == sid for attached in lists.attached)
        name, effect = kind.name(settings), Effect.NONE
        if not lists.attached and self._calls_flow_without(kind):
            effect = Effect.INTERRUPTS_OUTBOUND
        place = Field(kind.kind, f"{kind.words} on the trunk", name, name if here else None, effect)
        others = [attached for attached in lists.attached if attached.sid != sid]
        return [
            self.item(kind.step, kind.key_on_trunk(settings), [place], lambda _: self._attach(kind)),
            *(
                self.leftover(kind.step, ResourceKey.of(kind.kind, other.friendly_name).words, "on the trunk")
                for other in others
            ),
        ]

    def _calls_flow_without(self, kind: ListKind) -> bool:
        """Whether somebody may call out through the trunk with the kind of list that it has now."""
        settings = self.context.settings
        others = [
            attached.friendly_name
            for other, lists in self.facts.lists.items()
            if other != kind
            for attached in lists.attached
        ]
        ours = {settings.acl_name, settings.credential_list_name}
        return bool(others) and (not ours.issuperset(others) or bool(self.facts.in_pbx.candidates))

    def _address_items(self) -> list[Item]:
        """Step 2.2: the addresses that may call out."""
        found = self.facts.lists[ACL].entries
        by_address = {entry.ip_address: entry for entry in found}
        by_label = {entry.friendly_name: entry for entry in found}
        items, ours = [], set()
        for address in self.context.settings.acl_addresses:
            entry = by_address.get(address) or by_label.get(_label(address))
            same = [entry for entry in found if _cidr(entry) == f"{address}/32"]
            ours |= {entry.sid for entry in (entry, *same) if entry is not None}
            items.append(self._address_item(address, entry))
            items += self.duplicates("2.2", f"address {address}", same)
        return items + [self._extra_address(entry) for entry in found if entry.sid not in ours]

    def _address_item(self, address: str, entry: Any | None) -> Item:
        desired, label, own = f"{address}/32", _label(address), self.facts.lists[ACL].own
        # A wider or another address loses its permission to call.
        effect = Effect.INTERRUPTS_OUTBOUND if entry is not None else self._effect_on_list()
        fields = [Field("ip_address", f"address {address}", desired, entry and _cidr(entry), effect)]
        if entry is not None:
            name = f"name of address {address}"
            fields.append(Field("friendly_name", name, label, entry.friendly_name))
        whole = {"friendly_name": label, "ip_address": address, "cidr_prefix_length": 32}
        item = self.item(
            "2.2",
            self._address(desired),
            fields,
            lambda _: entry.update(**whole) if entry is not None else self._entries(ACL).create(**whole),
            as_read(entry) if entry is not None else None,
        )
        if entry is not None or own is None:
            return item
        # A list that another run has just made gets its addresses next.
        now = self.context.journal.clocks.now("Twilio")
        return replace(item, passing_s=time_to_pass(SETTLE_S, now, own.date_created))

    def _extra_address(self, entry: Any) -> Item:
        """An address that the parameters do not ask for: left alone, unless it is one that we put there."""
        key, cidr = self._address(_cidr(entry)), _cidr(entry)
        if entry.friendly_name == _label(entry.ip_address) and self.context.made_by_us(key, entry.sid):
            return self.removal("2.2", key.words, cidr, key, entry, Effect.INTERRUPTS_OUTBOUND)
        return self.leftover("2.2", key.words, cidr)

    def _address(self, cidr: str) -> ResourceKey:
        return ResourceKey.of(Kind.ADDRESS, cidr, ACL.key(self.context.settings))

<<<<<<< HEAD
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
=======
    def _effect_on_list(self) -> Effect:
>>>>>>> main
        """A change to a list that we did not make may touch whatever else uses it."""
        own, key = self.facts.lists[ACL].own, ACL.key(self.context.settings)
        ours = own is None or self.context.made_by_us(key, own.sid, own.date_created)
        return Effect.NONE if ours else Effect.INTERRUPTS_OUTBOUND

    def _user_items(self) -> list[Item]:
        """Step 2.3: our user, with its password; other users are left alone."""
        name, users = self.context.settings.username, self.facts.lists[CREDENTIALS].entries
        same = [user for user in users if user.username == name]
        pair = PasswordPair(self.context, same[0] if same else None, reading_back=self.reading_back)
        others = [user.username for user in users if user.username != name]
        return [
            *pair.items_at_twilio(lambda: self._entries(CREDENTIALS), self.facts.in_pbx.candidates),
            *self.duplicates("2.3", f"user {name}", same),
            *(self.leftover("2.3", ResourceKey.of(Kind.USER, other).words, other) for other in others),
        ]

    def _make(self, kind: ListKind, fields: Mapping[str, Any]) -> None:
        made = kind.of_account(self.context.twilio).create(**fields)
        lists = replace(self.facts.lists[kind], own=made)  # the section's next writes go to it
        self.facts = replace(self.facts, lists={**self.facts.lists, kind: lists})

<<<<<<< HEAD
    def _ours(self, lists: list[Any], name: str, attached: list[Any], kind: Kind) -> Any | None:
        """Return our list by its name; renamed by somebody, by the journal that shows that we made it."""
        named = next((one for one in lists if same_name(one.friendly_name, name)), None)
        if named is not None:
            return named
        sids, key = {one.sid for one in attached}, ResourceKey.of(kind, name)
        return next((one for one in lists if one.sid in sids and self.context.made_by_us(key, one.sid)), None)
=======
    def _entries(self, kind: ListKind) -> Any:
        return kind.of_list(self.context.twilio, self.facts.lists[kind].own.sid)
>>>>>>> main

    def _attach(self, kind: ListKind) -> None:
        trunk = self.facts.trunk or self.context.twilio_trunk.require()
        kind.of_trunk(self.context.twilio, trunk.sid).create(self.facts.lists[kind].own.sid)


def _label(address: str) -> str:
    return f"PBX {address}"


def _cidr(entry: Any) -> str:
    return f"{entry.ip_address}/{entry.cidr_prefix_length}"
