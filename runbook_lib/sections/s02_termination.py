"""Section 2: termination, that is calls from the PBX to Twilio.

Twilio enforces both lists if both are set (Twilio, Elastic SIP Trunking, "Termination"): adding the
first list of a kind to a trunk that works with the other kind can stop calls.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from ..facts.side_by_side import side_by_side
from ..keys import Kind, ResourceKey
from ..meaning import meaning
from ..plan import Effect, Value
from ..resources.lists import ACL, CREDENTIALS, ListKind, Lists, read_lists
from ..resources.pbx_trunk import InPbx
from ..vendors.twilio import as_read
from .base import SETTLE_S, SectionOfTrunk, time_to_pass
from .items import Field, Item, View
from .passwords import PasswordPair


@dataclass(frozen=True)
class Facts:
    """The facts of section 2: the trunk, the lists of both kinds, and whether the PBX can call out."""

    trunk: Any | None = None
    lists: Mapping[ListKind, Lists] = field(default_factory=lambda: {ACL: Lists(), CREDENTIALS: Lists()})
    in_pbx: InPbx = field(default_factory=InPbx)


class TerminationSection(SectionOfTrunk[Facts]):
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
            context.twilio_trunk.find,
            *(partial(twilio.kept, kind.path, kind.of_account(twilio).list) for kind in (ACL, CREDENTIALS)),
        )
        more = twilio, context.settings
        acl, credentials = side_by_side(
            *(
                partial(read_lists, kind, *more, of_account, trunk, context.made_by_us)
                for kind, of_account in zip((ACL, CREDENTIALS), lists, strict=True)
            )
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
            return []  # created together with the trunk: section 01 shows it
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
        """Whether somebody can call out through the trunk with the kind of list that it has now."""
        settings = self.context.settings
        others = [
            meaning("name", attached.friendly_name)
            for other, lists in self.facts.lists.items()
            if other != kind
            for attached in lists.attached
        ]
        ours = {meaning("name", one) for one in (settings.acl_name, settings.credential_list_name)}
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
        # An address that is wider or different loses its permission to call.
        effect = Effect.INTERRUPTS_OUTBOUND if entry is not None else self._effect_on_list()
        fields = [Field("ip_address", f"address {address}", desired, entry and _cidr(entry), effect)]
        if entry is not None and self.context.made_by_us(self._address(desired), entry.sid):
            # A name says nothing to calls: somebody else's entry keeps its own.
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
        # A list that another run has just created gets its addresses next.
        now = self.context.journal.clocks.now("Twilio")
        return replace(item, passing_s=time_to_pass(SETTLE_S, now, own.date_created))

    def _extra_address(self, entry: Any) -> Item:
        """An address that the parameters do not ask for: left alone unless the runbook added it."""
        key, cidr = self._address(_cidr(entry)), _cidr(entry)
        if entry.friendly_name == _label(entry.ip_address) and self.context.made_by_us(key, entry.sid):
            return self.removal("2.2", key.words, cidr, key, entry, Effect.INTERRUPTS_OUTBOUND)
        return self.leftover("2.2", key.words, cidr)

    def _address(self, cidr: str) -> ResourceKey:
        return ResourceKey.of(Kind.ADDRESS, cidr, ACL.key(self.context.settings))

    def _effect_on_list(self) -> Effect:
        """A change to a list that the runbook did not create may affect whatever else uses it."""
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

    def _entries(self, kind: ListKind) -> Any:
        return kind.of_list(self.context.twilio, self.facts.lists[kind].sid)

    def _attach(self, kind: ListKind) -> None:
        trunk = self.facts.trunk or self.context.twilio_trunk.must_find()
        kind.of_trunk(self.context.twilio, trunk.sid).create(self.facts.lists[kind].sid)


def _label(address: str) -> str:
    return f"PBX {address}"


def _cidr(entry: Any) -> str:
    return f"{entry.ip_address}/{entry.cidr_prefix_length}"
