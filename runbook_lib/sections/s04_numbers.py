"""Section 4: each DID's voice configuration points at the trunk.

Numbers that work today are not cut off: a number that something else answers is in conflict until
it is listed under ``move``, and then blocked until the PBX can answer its calls.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

from ..facts.side_by_side import side_by_side
from ..keys import Kind, ResourceKey, Why
from ..plan import Action, Effect, Row, Value
from ..resources.pbx_trunk import InPbx
from ..resources.regions import describe_region, why_not_assigned
from ..resources.rules import RulesAsRead
from ..resources.twilio_trunk import numbers_on
from ..vendors.twilio import as_read, serves_something
from .base import SectionOfTrunk
from .items import Field, Item, View, rings_nowhere


@dataclass(frozen=True)
class Facts:
    """The facts of section 4.

    ``trunks`` has the account's trunks as people know them, by SID; ``found`` the tenant's numbers and
    those on the trunk (SDK objects), in which one can be twice, and others of the account perhaps. What
    the PBX has is read only if a number is to be moved or removed.
    """

    trunk: Any | None = None
    trunks: Mapping[str, str] = field(default_factory=dict)
    found: tuple[Any, ...] = ()
    in_pbx: InPbx = field(default_factory=InPbx)
    rules: RulesAsRead = field(default_factory=RulesAsRead)

    @cached_property
    def numbers(self) -> dict[str, Any]:
        """Twilio's descriptions of the numbers, by number."""
        return {number.phone_number: number for number in self.found}

    @cached_property
    def sids(self) -> dict[str, set[str]]:
        """The SIDs of each number: more than one where the account has it twice."""
        sids: dict[str, set[str]] = {}
        for number in self.found:
            sids.setdefault(number.phone_number, set()).add(number.sid)
        return sids

    def on_trunk(self, number: Any) -> bool:
        """Whether a number is on the trunk."""
        return self.trunk is not None and number.trunk_sid == self.trunk.sid

    def is_taken(self, did: str) -> bool:
        """Whether something other than the trunk answers a number."""
        number = self.numbers.get(did)
        return number is not None and not self.on_trunk(number) and serves_something(number)


class AssignNumbers(SectionOfTrunk[Facts]):
    """Step 4.1."""

    number = "04"
    needs = "01"

    def look(self) -> Facts:
        _ = self.context.pbx  # made once, before two threads ask for it
        facts, (in_pbx, rules) = side_by_side(self._look_at_twilio, self._look_at_pbx)
        return replace(facts, in_pbx=in_pbx, rules=rules)

    def _look_at_twilio(self) -> Facts:
        context, tenant, twilio = self.context, self.context.tenant, self.context.twilio
        found, numbers = side_by_side(
            context.twilio_trunk.look,
            # Where section 0 is planned as well, it reads all of them anyway.
            twilio.all_numbers
            if "00" in self.ahead and not context.rows_only
            else lambda: twilio.numbers_like([*tenant.dids, *tenant.remove]),
        )
        trunk = found.trunk
        if trunk is not None and not context.scope.is_shared:
            # On the trunk but in no parameter: shown. On a shared trunk these are other tenants' numbers.
            numbers = [*numbers_on(twilio, trunk.sid), *numbers]
        names = {one.sid: one.domain_name or one.friendly_name for one in found.all}
        return Facts(trunk, names, tuple(numbers))

    def _look_at_pbx(self) -> tuple[InPbx, RulesAsRead]:
        """What moving or removing a number depends on in the PBX."""
        context = self.context
        if not context.scope.has_tenant:
            return InPbx(), RulesAsRead()
        in_pbx, rules = side_by_side(
            context.pbx_trunk.look,
            lambda: context.rules.look(lambda: (), users=bool(context.tenant.remove)),
        )
        return in_pbx, replace(rules, trunk_ids=in_pbx.ids)

    def views(self) -> list[View]:
        numbers = [self.facts.numbers.get(did) for did in self.context.tenant.dids]
        return [
            View(
                "The tenant's numbers, and what answers them now",
                ("Number", "Voice", "Answered by"),
                tuple(
                    (number.phone_number, number.capabilities.get("voice"), self._answered_by(number))
                    for number in numbers
                    if number
                ),
            )
        ]

    def regions(self) -> View:
        """Read which Region serves each of the tenant's numbers: one request each, so only when asked for."""
        dids, twilio, here = list(self.context.tenant.dids), self.context.twilio, self.context.account.region
        found = side_by_side(*(partial(twilio.voice_region_of_number, did) for did in dids))
        rows = tuple((did, describe_region(one, here)) for did, one in zip(dids, found, strict=True))
        return View("Region that serves calls to each number", ("Number", "Region"), rows)

    def outline(self) -> list[tuple[str, str, Value]]:
        return [("4.1", did, self.context.settings.domain) for did in self.context.tenant.dids]

    def wanted(self) -> list[Item]:
        dids = self.context.tenant.dids
        items = [self._item(did, self.facts.numbers.get(did)) for did in dids]
        for did in dids:
            items += self.duplicates("4.1", did, self.facts.sids.get(did, ()))
        items += [self._extra_item(number) for number in self._extra()]
        return [*items, *(Item((rings_nowhere("4.1", did),)) for did in dids if self._is_silent(did))]

    def _is_silent(self, did: str) -> bool:
        """Whether calls to a number ring nowhere: now, and with the rules that this run comes to make."""
        rules = self.context.tenant.call_rules
        planned = "06" in self.ahead and rules and any(did in rule.dids for rule in rules.inbound)
        return not planned and bool(self.facts.rules.uncovered([did]))

    def _extra(self) -> list[Any]:
        """The numbers on the trunk that are not in the tenant's dids, as far as they concern it."""
        tenant = self.context.tenant
        extra = [
            one
            for one in self.facts.numbers.values()
            if self.facts.on_trunk(one) and one.phone_number not in tenant.dids
        ]
        if self.context.scope.is_shared:
            # The others are other tenants' numbers.
            extra = [one for one in extra if one.phone_number in tenant.remove]
        return sorted(extra, key=lambda number: number.phone_number)

    def _item(self, did: str, number: Any | None) -> Item:
        domain = self.context.settings.domain
        if number is None:
            return self._conflict(did, None, Why.UNSUITABLE, "the Twilio account does not own it")
        now = self._answered_by(number)
        if self.facts.on_trunk(number):
            return Item((self.row("4.1", did, domain, domain),))
        if reason := why_not_assigned(self.context.account.region):
            return self._conflict(did, now, Why.UNSUITABLE, reason)
        if not number.capabilities.get("voice"):
            return self._conflict(did, now, Why.UNSUITABLE, "it is not voice-capable")
        place = Field("trunk_sid", did, domain, now)
        if self.facts.is_taken(did):
            if did not in self.context.tenant.move:
                note = "something answers it today; to take it over, list it under move"
                return self._conflict(did, now, Why.TAKEN, note)
            if reason := self._not_ready(did):
                row = Row("4.1", did, domain, now, Action.BLOCKED, note=reason, why=Why.NOT_READY)
                return Item((row,))
            note = "moved as requested: whatever answers it today no longer gets its calls"
            place = replace(place, effect=Effect.INTERRUPTS_INBOUND, note=note)
        point = lambda _: self._point_at_trunk(number)  # noqa: E731
        return self.item("4.1", _key(did), [place], point, as_read(number))

    def _extra_item(self, number: Any) -> Item:
        did, domain = number.phone_number, self.context.settings.domain
        if did not in self.context.tenant.remove:
            note = "on this trunk but not in dids; left alone until it is listed under remove"
            row = Row("4.1", did, None, domain, Action.NOT_MANAGED, note=note, why=Why.KEPT)
            return Item((row,))
        if reason := why_not_assigned(self.context.account.region):
            return self.conflict("4.1", did, None, Why.UNSUITABLE, reason, current=domain)
        if users := self.facts.rules.users_of(did):
            note = f"still used by {', '.join(users)}"
            return self.conflict("4.1", did, None, Why.IN_USE, note, current=domain)
        note = "stays in the account and is billed; calls to it no longer reach anything"
        row = self.row("4.1", did, None, domain, note=note)
        return Item((row,), _key(did), partial(self._take_away, number), before=as_read(number))

    def _point_at_trunk(self, number: Any) -> None:
        # Setting TrunkSid on the number moves it in one step, also from another trunk; adding it to
        # the trunk's list may be refused until it was removed from the other, which would cut it off.
        trunk = self.facts.trunk or self.context.twilio_trunk.must_find()
        number.update(trunk_sid=trunk.sid)

    def _take_away(self, number: Any) -> None:
        self.context.twilio.trunks(number.trunk_sid).phone_numbers(number.sid).delete()

    def _not_ready(self, did: str) -> str:
        """Why calls to the number would not yet reach the PBX; empty if they would."""
        if "05" not in self.ahead and not self.facts.in_pbx.candidates:
            return "run section 05 first: the PBX has no trunk for its calls"
        tenant = self.context.tenant
        if tenant.accept_unrouted or not self.facts.rules.uncovered([did]):
            return ""
        if "06" in self.ahead and tenant.rules and any(did in rule.dids for rule in tenant.rules.inbound):
            return ""
        return "no enabled inbound rule in the PBX covers it: create one first, or set accept_unrouted"

    def _answered_by(self, number: Any) -> str | None:
        if number.trunk_sid:
            return self.facts.trunks.get(number.trunk_sid, "a trunk of another account or Region")
        if number.voice_application_sid:
            return "a voice application"
        return f"voice URL {number.voice_url}" if number.voice_url else None

    def _conflict(self, did: str, now: str | None, why: Why, note: str) -> Item:
        return self.conflict("4.1", did, self.context.settings.domain, why, note, current=now)


def _key(did: str) -> ResourceKey:
    return ResourceKey.of(Kind.NUMBER, did)
