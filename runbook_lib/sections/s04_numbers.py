"""Section 4: each DID's voice configuration points at the trunk.

Numbers that work today are not cut off: a number that something else serves is in conflict until
it is named under ``move``, and then blocked until the PBX can take its calls.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from ..facts.side_by_side import side_by_side
from ..keys import Kind, ResourceKey, Why
from ..plan import Action, Effect, Row
from ..resources.regions import describe_region, why_not_assigned
from ..resources.twilio_trunk import numbers_on
from ..vendors.twilio import as_read, serves_something
from .base import Item, Section, View


class AssignNumbers(Section):
    """Step 4.1."""

    number = "04"

    def read(self) -> None:
        tenant, twilio = self.context.tenant, self.context.twilio
        found, numbers = side_by_side(
            self.context.twilio_trunk.find, lambda: twilio.numbers_like([*tenant.dids, *tenant.remove])
        )
        self._trunk = found.trunk
        self._trunks = {trunk.sid: trunk.domain_name or trunk.friendly_name for trunk in found.all}
        if self._trunk is not None and not self.context.settings.shared:
            # On the trunk and in no parameter: to be shown. On a shared trunk these are other tenants'.
            numbers = [*numbers_on(self.context.twilio, self._trunk.sid), *numbers]
        self._numbers = {number.phone_number: number for number in numbers}
        self._sids: dict[str, set[str]] = {}
        for number in numbers:
            self._sids.setdefault(number.phone_number, set()).add(number.sid)

    def views(self) -> list[View]:
        wanted = [self._numbers.get(did) for did in self.context.tenant.dids]
        return [
            View(
                "The tenant's numbers, and what answers them now",
                ("Number", "Voice", "Answered by"),
                tuple(
                    (one.phone_number, one.capabilities.get("voice"), self._answered_by(one))
                    for one in wanted
                    if one
                ),
            )
        ]

    def regions(self) -> View:
        """Read which Region serves each of the tenant's numbers: a request for each, so only on request."""
        dids, twilio, here = list(self.context.tenant.dids), self.context.twilio, self.context.account.region
        found = side_by_side(*(partial(twilio.voice_region_of_number, did) for did in dids))
        rows = tuple((did, describe_region(one, here)) for did, one in zip(dids, found, strict=True))
        return View("Region that serves calls to each number", ("Number", "Region"), rows)

    def items(self) -> list[Item]:
        tenant = self.context.tenant
        if self._trunk is None and "01" not in self.ahead:
            return [self.blocked("4.1", did, self.context.settings.domain, "01") for did in tenant.dids]
        items = [self._item(did, self._numbers.get(did)) for did in tenant.dids]
        for did in tenant.dids:
            items += self.duplicates("4.1", did, self._sids.get(did, ()))
        attached = [one for one in self._numbers.values() if self._trunk and one.trunk_sid == self._trunk.sid]
        extra = [one for one in attached if one.phone_number not in tenant.dids]
        if self.context.settings.shared:
            # The others are other tenants' numbers.
            extra = [one for one in extra if one.phone_number in tenant.remove]
        return items + [self._extra_item(one) for one in sorted(extra, key=lambda one: one.phone_number)]

    def _item(self, did: str, number: Any | None) -> Item:
        domain = self.context.settings.domain
        if number is None:
            return self._conflict(did, None, Why.UNSUITABLE, "the Twilio account does not own it")
        now = self._answered_by(number)
        if self._trunk is not None and number.trunk_sid == self._trunk.sid:
            return Item((self.row("4.1", did, domain, domain),))
        if reason := why_not_assigned(self.context.account.region):
            return self._conflict(did, now, Why.UNSUITABLE, reason)
        if not number.capabilities.get("voice"):
            return self._conflict(did, now, Why.UNSUITABLE, "it is not voice-capable")
        effect, note = Effect.NONE, ""
        if serves_something(number):
            if did not in self.context.tenant.move:
                return self._conflict(
                    did, now, Why.TAKEN, "something answers it today; name it under move to take it over"
                )
            reason = self._not_ready(did)
            if reason:
                row = Row("4.1", did, domain, now, Action.BLOCKED, note=reason, why=Why.NOT_READY)
                return Item((row,))
            effect, note = (
                Effect.INTERRUPTS_INBOUND,
                "moved as asked: it stops reaching what answers it today",
            )
        row = self.row("4.1", did, domain, now, effect=effect, note=note)
        return Item((row,), _key(did), partial(self._point_at_trunk, number), before=as_read(number))

    def _extra_item(self, number: Any) -> Item:
        did, domain = number.phone_number, self.context.settings.domain
        if did not in self.context.tenant.remove:
            note = "on this trunk but not in dids; left alone until it is named under remove"
            row = Row("4.1", did, None, domain, Action.NOT_MANAGED, note=note, why=Why.KEPT)
            return Item((row,))
        if reason := why_not_assigned(self.context.account.region):
            return self._conflict(did, domain, Why.UNSUITABLE, reason, desired=None)
        users = self.context.rules.users_of(did)
        if users:
            note = f"still used by {', '.join(users)}"
            return self._conflict(did, domain, Why.IN_USE, note, desired=None)
        row = self.row(
            "4.1", did, None, domain, note="kept in the account and billed; it reaches nothing any more"
        )
        return Item((row,), _key(did), partial(self._take_away, number), before=as_read(number))

    def _point_at_trunk(self, number: Any) -> None:
        # Setting TrunkSid on the number moves it in one step, also from another trunk; adding it to
        # the trunk's list may be refused until it was removed from the other, which would cut it off.
        trunk = self._trunk or self.context.twilio_trunk.require()
        number.update(trunk_sid=trunk.sid)

    def _take_away(self, number: Any) -> None:
        self.context.twilio.trunks(self._trunk.sid).phone_numbers(number.sid).delete()

    def _not_ready(self, did: str) -> str:
        """Why calls to the number would not arrive yet at the PBX; empty when they would."""
        if "05" not in self.ahead and not self.context.pbx_trunk.exists():
            return "run section 05 first: the PBX has no trunk that takes its calls"
        tenant = self.context.tenant
        if tenant.accept_unrouted or not self.context.rules.uncovered([did]):
            return ""
        if "06" in self.ahead and tenant.rules and any(did in rule.dids for rule in tenant.rules.inbound):
            return ""
        return "no enabled inbound rule of the PBX covers it: make one first, or set accept_unrouted"

    def _answered_by(self, number: Any) -> str | None:
        if number.trunk_sid:
            return self._trunks.get(number.trunk_sid, "a trunk of another account or Region")
        if number.voice_application_sid:
            return "a voice application"
        return f"voice URL {number.voice_url}" if number.voice_url else None

    def _conflict(self, did: str, now: str | None, why: Why, note: str, *, desired: str | None = "") -> Item:
        wanted = self.context.settings.domain if desired == "" else desired
        return Item((Row("4.1", did, wanted, now, Action.CONFLICT, note=note, why=why),))


def _key(did: str) -> ResourceKey:
    return ResourceKey.of(Kind.NUMBER, did)
