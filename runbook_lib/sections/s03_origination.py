"""Section 3: origination, that is calls from Twilio to the PBX, with failover between two regions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from .. import keys
from ..facts.side_by_side import side_by_side
from ..keys import Kind, ResourceKey, Why
from ..meaning import meaning
from ..parameters import OriginationTarget
from ..plan import Action, Effect, Row, Value
from ..resources.rules import RulesAsRead
from ..resources.twilio_trunk import numbers_on
from ..sip_uri import OriginationUri
from ..vendors.twilio import as_read
from .base import SETTLE_S, SectionOfTrunk, time_to_pass
from .items import Field, Item, View


@dataclass(frozen=True)
class Facts:
    """The facts of section 3.

    ``live`` are the trunk's origination URIs and ``attached`` its numbers (SDK objects), ``transports``
    those that are activated in the PBX. The rules are read only if calls go elsewhere today.
    """

    trunk: Any | None = None
    transports: tuple[Mapping[str, Any], ...] = ()
    live: tuple[Any, ...] = ()
    attached: tuple[Any, ...] = ()
    rules: RulesAsRead = field(default_factory=RulesAsRead)


class OriginationSection(SectionOfTrunk[Facts]):
    """Steps 3.1, 3.2 and the expected result 3.E."""

    number = "03"
    needs = "01"

    def look(self) -> Facts:
        _ = self.context.pbx
        facts, transports = side_by_side(self._look_at_twilio, self.context.pbx.transports)
        facts = replace(facts, transports=tuple(transports))
        # A shared trunk on its own has no tenant whose rules could answer its calls.
        if not self.context.scope.has_tenant or not facts.attached or not self._leads_elsewhere(facts):
            return facts
        in_pbx = self.context.pbx_trunk
        return replace(facts, rules=self.context.rules.look(lambda: in_pbx.look().ids, users=False))

    def _look_at_twilio(self) -> Facts:
        trunk = self.context.twilio_trunk.find()
        if trunk is None:
            return Facts()
        twilio = self.context.twilio
        live, attached = side_by_side(
            twilio.trunks(trunk.sid).origination_urls.list, partial(numbers_on, twilio, trunk.sid)
        )
        return Facts(trunk, live=tuple(live), attached=tuple(attached))

    def _leads_elsewhere(self, facts: Facts) -> bool:
        """Whether an enabled URI sends calls to something other than the PBX."""
        here = self.context.settings.pbx_address
        return any(uri.enabled and host_of(uri.sip_url) != here for uri in facts.live)

    def views(self) -> list[View]:
        urls = sorted(self.facts.live, key=_order)
        return [
            View(
                "Origination URIs of the trunk, in the order in which Twilio tries them",
                ("Name", "SIP URI", "Priority", "Weight", "Enabled"),
                tuple(
                    (one.friendly_name, one.sip_url, one.priority, one.weight, one.enabled) for one in urls
                ),
            ),
            View(
                "Transports of the PBX",
                ("Protocol", "Port"),
                tuple((one["protocol"], one["port"]) for one in self.facts.transports),
            ),
        ]

    @property
    def path(self) -> list[tuple[str, str, int, int, bool]]:
        """The call path as desired, in failover order: label, SIP URI, priority, weight, enabled."""
        wanted = [
            (
                uri.region,
                self._sip_url(uri) or "no such transport",
                uri.priority,
                uri.weight,
                uri.enabled,
            )
            for uri in self.context.settings.origination_uris
        ]
        return sorted(wanted, key=lambda one: (one[2], -one[3], one[1]))

    def outline(self) -> list[tuple[str, str, Value]]:
        uris = enumerate(self.context.settings.origination_uris)
        return [(_step(index), f"{uri.region} SIP URI", None) for index, uri in uris]

    def wanted(self) -> list[Item]:
        protocol = self.context.settings.origination_transport
        port = self._port()
        if port is None:
            note = (
                f"the PBX has no {protocol.upper()} transport; add one there, or change origination.transport"
            )
            return [self.conflict("3.1", "transport", protocol, Why.UNSUITABLE, note)]
        uris, matches = self.context.settings.origination_uris, self._matches()
        items = [
            self._item(_step(index), uri, self._sip_url_at(uri, port), found)
            for index, (uri, found) in enumerate(zip(uris, matches, strict=True))
        ]
        ours = {found.sid for found in matches if found is not None}
        extra = [uri for uri in self.facts.live if uri.sid not in ours]
        doubled = {uri.sip_url for uri in extra if uri.sip_url in self._wanted and not self._made(uri)}
        items += [self._extra_item(uri) for uri in extra if uri.sip_url not in doubled]
        for url in sorted(doubled):
            same = [uri for uri in self.facts.live if uri.sip_url == url]
            # If two runs created it at the same time, one of them is about to remove its own.
            now = self.context.journal.clocks.now("Twilio")
            passing_s = time_to_pass(SETTLE_S, now, *(uri.date_created for uri in same))
            items += self.duplicates("3.2", _setting(url), same, passing_s=passing_s)
        return items

    def _matches(self) -> list[Any | None]:
        """The live URI for each desired one: by its text, its meaning, or its name."""
        # Of several equal ones, the first is ours and the others are duplicates.
        live = self.facts.live
        by_url = {uri.sip_url: uri for uri in reversed(live)}
        by_meaning = {_meant(uri.sip_url): uri for uri in reversed(live)}
        by_name = {uri.friendly_name: uri for uri in live}
        uris = self.context.settings.origination_uris
        matches = [by_url.get(url) or by_meaning.get(_meant(url)) for url in map(self._sip_url, uris)]
        taken = {found.sid for found in matches if found is not None}
        for index, uri in enumerate(uris):
            renamed = by_name.get(_friendly_name(uri))
            if matches[index] is None and renamed is not None and renamed.sid not in taken:
                matches[index] = renamed
        return matches

    @property
    def _wanted(self) -> set[str | None]:
        """The SIP URIs that the parameters ask for."""
        return {self._sip_url(uri) for uri in self.context.settings.origination_uris}

    def _made(self, live: Any) -> bool:
        """Whether the journals show that the runbook created a URI, even if the answer was lost."""
        created = live.date_created if live.sip_url in self._wanted else None
        return self.context.made_by_us(self._resource(live.sip_url), live.sid, created)

    def _extra_item(self, live: Any) -> Item:
        """A URI that the parameters do not ask for: left alone unless the runbook added it."""
        setting, key = _setting(live.sip_url), self._resource(live.sip_url)
        if not self._made(live):
            return self.leftover("3.2", setting, "present")
        # What the parameters ask for is created before this is removed.
        last = live.enabled and not any(uri.enabled for uri in self.context.settings.origination_uris)
        effect = self._effect_of_losing(live) if last else self._effect_of_rerouting()
        return self.removal("3.2", setting, "present", key, live, effect)

    def expected(self) -> list[Row]:
        urls = [url for _, url, _, _, enabled in self.path if enabled]
        wanted = list(map(_meant, urls))
        live = sorted((uri for uri in self.facts.live if uri.enabled), key=_order)
        tried = [uri.sip_url for uri in live if _meant(uri.sip_url) in wanted]
        others = [uri.sip_url for uri in live if _meant(uri.sip_url) not in wanted]
        note = (
            f"besides these, Twilio tries {', '.join(others)}, which this site's records do not have"
            if others
            else ""
        )
        if not live:
            note = "no origination URI is enabled: no call from Twilio reaches the PBX"
        row = self.row(
            "3.E", "order in which Twilio tries the PBX", " → ".join(urls), " → ".join(tried), note=note
        )
        same = list(dict.fromkeys(map(_meant, tried))) == wanted
        return [replace(row, action=Action.IN_PLACE) if same else row]

    def _item(self, step: str, uri: OriginationTarget, url: str, found: Any | None) -> Item:
        """One origination URI; its fields, with what a change of each does to calls."""
        rerouting = switching = self._effect_of_rerouting()
        if found is not None and found.enabled and not uri.enabled:
            switching = self._effect_of_losing(found)
        # Names change nothing for calls, and switching one on does not unless it takes others' calls.
        fields = [
            Field(name, f"{uri.region} {label}", desired, getattr(found, name, None), effect)
            for name, label, desired, effect in (
                ("sip_url", "SIP URI", url, rerouting),
                ("priority", "priority", uri.priority, rerouting),
                ("weight", "weight", uri.weight, rerouting),
                ("enabled", "enabled", uri.enabled, switching),
                ("friendly_name", "name", _friendly_name(uri), Effect.NONE),
            )
        ]
        if found is None:
            return self.item(step, self._resource(url), fields, self._create)
        if not self._made(found):
            # A name says nothing to calls: somebody else's URI keeps its own.
            fields = [field for field in fields if field.name != "friendly_name"]
        update = lambda changes: found.update(**changes)  # noqa: E731
        return self.item(step, self._resource(url), fields, update, as_read(found))

    def _create(self, desired: Mapping[str, Any]) -> None:
        trunk = self.facts.trunk or self.context.twilio_trunk.must_find()
        urls = self.context.twilio.trunks(trunk.sid).origination_urls
        # Twilio does not refuse the same URI twice, and another run may have made it since this was read.
        # Where two runs on different machines make it, each takes its own back unless it is the first: one
        # stays. Verification finds what stays twice all the same.
        wanted = _meant(desired["sip_url"])
        if any(_meant(uri.sip_url) == wanted for uri in self.facts.live):
            return
        made = urls.create(**desired)
        self.facts = replace(self.facts, live=tuple(urls.list()))  # the next one is compared with these
        same = [uri for uri in self.facts.live if _meant(uri.sip_url) == wanted]
        if same and made.sid != min(same, key=lambda uri: (uri.date_created, uri.sid)).sid:
            made.delete()

    def _effect_of_rerouting(self) -> Effect:
        """Whether a change here takes calls away from something else that gets them today.

        Between URIs that all lead to the PBX it does not; nor if the PBX already answers the calls to
        every number of the trunk.
        """
        facts = self.facts
        if not facts.attached or not self._leads_elsewhere(facts):
            return Effect.NONE
        uncovered = facts.rules.uncovered(number.phone_number for number in facts.attached)
        return Effect.INTERRUPTS_INBOUND if uncovered else Effect.NONE

    def _effect_of_losing(self, lost: Any) -> Effect:
        """Whether calls to the trunk's numbers, if it has any, stop arriving without this URI.

        Only a URI counts that is enabled now and still is when all of this plan is carried out: the
        plan's writes go out one after the other.
        """
        if not self.facts.attached or any(self._stays(one) for one in self.facts.live if one.sid != lost.sid):
            return self._effect_of_rerouting()
        return Effect.INTERRUPTS_INBOUND

    def _stays(self, live: Any) -> bool:
        if not live.enabled:
            return False
        uris = self.context.settings.origination_uris
        wanted = {_meant(self._sip_url(uri)): uri.enabled for uri in uris}
        ours = self.context.made_by_us(self._resource(live.sip_url), live.sid)
        return wanted.get(_meant(live.sip_url), not ours)

    def _resource(self, sip_url: str) -> ResourceKey:
        """The key of a URI: as the runbook writes it, however Twilio spells it now."""
        return keys.origination_uri(sip_url, self.context.settings.domain)

    def _port(self) -> int | None:
        """The PBX's port for our transport; ``None`` if the PBX does not have that transport."""
        settings = self.context.settings
        ports = [
            one["port"]
            for one in self.facts.transports
            if meaning("protocol", one["protocol"]) == settings.origination_transport
        ]
        if settings.origination_port is not None:
            return settings.origination_port if settings.origination_port in ports else None
        return ports[0] if ports else None

    def _sip_url(self, uri: OriginationTarget) -> str | None:
        port = self._port()
        return None if port is None else self._sip_url_at(uri, port)

    def _sip_url_at(self, uri: OriginationTarget, port: int) -> str:
        settings = self.context.settings
        return str(
            OriginationUri(
                settings.pbx_address,
                uri.region,
                settings.origination_parameter,
                settings.origination_transport,
                port,
            )
        )


def _order(live: Any) -> tuple[int, int, str]:
    """The order in which Twilio tries live URIs; equal ones are sorted by name."""
    return (live.priority, -live.weight, live.sip_url)


def host_of(sip_url: str) -> str:
    """Return the host that an origination URI leads to."""
    address = sip_url.strip().lower().removeprefix("sip:").split(";")[0]
    return meaning("hostname", address.split("@")[-1].split(":")[0])


def _setting(sip_url: str) -> str:
    """The name of a URI in a plan: as Twilio has it."""
    return ResourceKey.of(Kind.ORIGINATION_URI, sip_url).words


def _meant(sip_url: str | None) -> Any:
    return meaning("sip_url", sip_url)


def _step(index: int) -> str:
    return "3.1" if index == 0 else "3.2"


def _friendly_name(uri: Any) -> str:
    return f"PBX through {uri.region}"
