"""Section 3: origination, that is calls from Twilio to the PBX, with failover between two regions."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from .. import keys
from ..facts.side_by_side import side_by_side
from ..keys import Kind, ResourceKey, Why
from ..meaning import meaning
from ..plan import Action, Effect, Row, Value
from ..resources.twilio_trunk import numbers_on
from ..sip_uri import OriginationUri
from ..vendors.twilio import as_read
from .base import SETTLE_S, Item, Section, View, time_to_pass

NOT_OURS = "not in this site's records; left alone"
FIELDS = ("sip_url", "priority", "weight", "enabled", "friendly_name")
LABELS = {"sip_url": "SIP URI", "friendly_name": "name"}


class Origination(Section):
    """Steps 3.1, 3.2 and the expected result 3.E."""

    number = "03"

    def read(self) -> None:
        pbx = self.context.pbx
        self._trunk, self._transports = side_by_side(self.context.twilio_trunk.require, pbx.transports)
        self._live, self._attached = [], []
        if self._trunk is not None:
            trunk = self.context.twilio.trunks(self._trunk.sid)
            self._live, self._attached = side_by_side(
                trunk.origination_urls.list, lambda: numbers_on(self.context.twilio, self._trunk.sid)
            )

    def views(self) -> list[View]:
        urls = sorted(self._live, key=_order)
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
                tuple((one["protocol"], one["port"]) for one in self._transports),
            ),
        ]

    @property
    def path(self) -> list[tuple[str, str, int, int, bool]]:
        """The call path as desired, in failover order: label, SIP URI, priority, weight, enabled."""
        wanted = [
            (
                _edge_name(uri),
                self._sip_url(uri) or "no such transport",
                uri.priority,
                uri.weight,
                uri.enabled,
            )
            for uri in self.context.settings.origination_uris
        ]
        return sorted(wanted, key=lambda one: (one[2], -one[3], one[1]))

    def items(self) -> list[Item]:
        uris = self.context.settings.origination_uris
        if self._trunk is None and "01" not in self.ahead:
            return [
                self.blocked(_step(i), f"{_edge_name(uri)} SIP URI", None, "01") for i, uri in enumerate(uris)
            ]
        protocol = self.context.settings.origination_transport
        if self._port() is None:
            note = (
                f"the PBX has no {protocol.upper()} transport; add one there, or change origination.transport"
            )
            return [
                Item(
                    (Row("3.1", "transport", protocol, None, Action.CONFLICT, note=note, why=Why.UNSUITABLE),)
                )
            ]
        items, ours = [], set()
        # Of two that are the same, the first is ours and the others are the duplicates.
        by_url = {uri.sip_url: uri for uri in reversed(self._live)}
        by_meaning = {_meant(uri.sip_url): uri for uri in reversed(self._live)}
        by_name = {one.friendly_name: one for one in self._live}
        wanted = [self._sip_url(uri) for uri in uris]
        matches = [by_url.get(url) or by_meaning.get(_meant(url)) for url in wanted]
        taken = {one.sid for one in matches if one is not None}
        for index, uri in enumerate(uris):
            found = matches[index]
            if found is None:
                renamed = by_name.get(_friendly_name(uri))
                found = renamed if renamed is not None and renamed.sid not in taken else None
            if found is not None:
                ours.add(found.sid)
            items.append(self._item(_step(index), uri, found))
        extra = [one for one in self._live if one.sid not in ours]
        doubled = {one.sip_url for one in extra if one.sip_url in self._wanted and not self._made(one)}
        items += [self._extra_item(one) for one in extra if one.sip_url not in doubled]
        for url in sorted(doubled):
            same = [one for one in self._live if one.sip_url == url]
            # Of two runs that made it at one time, one is about to take its own back.
            now = self.context.journal.clocks.now("Twilio")
            passing_s = time_to_pass(SETTLE_S, now, *(one.date_created for one in same))
            items += self.duplicates("3.2", _setting(url), same, passing_s=passing_s)
        return items

    @property
    def _wanted(self) -> set[str | None]:
        """The SIP URIs that the parameters ask for."""
        return {self._sip_url(uri) for uri in self.context.settings.origination_uris}

    def _made(self, live: Any) -> bool:
        """Whether the journals show that we made a URI; a second one of a URI, also with its answer lost."""
        created = live.date_created if live.sip_url in self._wanted else None
        return self.context.made_by_us(self._resource(live.sip_url), live.sid, created)

    def _extra_item(self, live: Any) -> Item:
        """A URI that the parameters do not ask for: left alone, unless it is one that we put there."""
        setting, resource = _setting(live.sip_url), self._resource(live.sip_url)
        if self._made(live):
            # What the parameters ask for is made before this is taken away.
            last = live.enabled and not any(uri.enabled for uri in self.context.settings.origination_uris)
            effect = self._effect_of_losing(live) if last else self._effect_of_rerouting()
            row = self.row("3.2", setting, None, "present", effect=effect)
            return Item((row,), resource, live.delete, before=as_read(live))
        row = Row("3.2", setting, None, "present", Action.NOT_MANAGED, note=NOT_OURS, why=Why.NOT_OURS)
        return Item((row,))

    def expected(self) -> list[Row]:
        urls = [url for _, url, _, _, enabled in self.path if enabled]
        wanted = list(map(_meant, urls))
        live = sorted((uri for uri in self._live if uri.enabled), key=_order)
        tried = [uri.sip_url for uri in live if _meant(uri.sip_url) in wanted]
        others = [uri.sip_url for uri in live if _meant(uri.sip_url) not in wanted]
        note = (
            f"beside them Twilio tries {', '.join(others)}, which is not in this site's records"
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

    def _item(self, step: str, uri: Any, found: Any | None) -> Item:
        desired: dict[str, Value] = {
            "sip_url": self._sip_url(uri),
            "priority": uri.priority,
            "weight": uri.weight,
            "enabled": uri.enabled,
            "friendly_name": _friendly_name(uri),
        }
        effect = self._effect_of_rerouting()
        # Names change nothing for calls, and switching one on does not unless it takes others' calls.
        effects = dict.fromkeys(("sip_url", "priority", "weight", "enabled"), effect)
        if found is not None and found.enabled and not uri.enabled:
            effects["enabled"] = self._effect_of_losing(found)
        rows = tuple(
            self.row(
                step,
                f"{_edge_name(uri)} {LABELS.get(field, field)}",
                desired[field],
                getattr(found, field) if found else None,
                effect=effects.get(field, Effect.NONE),
                field=field,
            )
            for field in FIELDS
        )
        changed = [
            field for field, row in zip(FIELDS, rows, strict=True) if row.action is not Action.IN_PLACE
        ]
        if not changed:
            return Item(rows)
        resource = self._resource(desired["sip_url"])
        if found is None:
            return Item(rows, resource, partial(self._create, desired))
        update = partial(found.update, **{field: desired[field] for field in changed})
        return Item(rows, resource, update, before=as_read(found))

    def _create(self, desired: dict[str, Any]) -> None:
        trunk = self._trunk or self.context.twilio_trunk.require()
        urls = self.context.twilio.trunks(trunk.sid).origination_urls
        # Twilio does not refuse the same URI twice, and another run may have made it since the plan was
        # read. Where two runs on different machines make it at the same moment, each takes its own back
        # unless it is the first: one stays. Verification finds what stays twice all the same.
        wanted = _meant(desired["sip_url"])
        if any(_meant(uri.sip_url) == wanted for uri in urls.list()):
            return
        made = urls.create(**desired)
        same = [uri for uri in urls.list() if _meant(uri.sip_url) == wanted]
        if same and made.sid != min(same, key=lambda uri: (uri.date_created, uri.sid)).sid:
            made.delete()

    def _effect_of_rerouting(self) -> Effect:
        """Whether a change here takes calls away from something else that gets them today.

        Between URIs that all lead to the PBX it does not; nor where the PBX takes the calls of every
        number of the trunk already.
        """
        here = {self.context.settings.pbx_address}
        elsewhere = any(one.enabled and host_of(one.sip_url) not in here for one in self._live)
        if not self._attached or not elsewhere:
            return Effect.NONE
        numbers = [one.phone_number for one in self._attached]
        if self.context.pbx_trunk.exists() and not self.context.rules.uncovered(numbers):
            return Effect.NONE
        return Effect.INTERRUPTS_INBOUND

    def _effect_of_losing(self, lost: Any) -> Effect:
        """Whether calls to the trunk's numbers, if it has any, stop arriving without this URI.

        Only a URI counts that is enabled now and still is when all of this plan is carried out: the
        plan's writes go out one after the other.
        """
        if not self._attached or any(self._stays(one) for one in self._live if one.sid != lost.sid):
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
        """The key of a URI: as we write it, however Twilio has it now."""
        return keys.origination_uri(sip_url, self.context.settings.domain)

    def _port(self) -> int | None:
        """The PBX's port for our transport; ``None`` when the PBX does not have it."""
        settings = self.context.settings
        ports = [
            one["port"]
            for one in self._transports
            if meaning("protocol", one["protocol"]) == settings.origination_transport
        ]
        if settings.origination_port is not None:
            return settings.origination_port if settings.origination_port in ports else None
        return ports[0] if ports else None

    def _sip_url(self, uri: Any) -> str | None:
        port = self._port()
        if port is None:
            return None
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
    """The order in which Twilio tries live URIs; of equal ones any comes first, here by name."""
    return (live.priority, -live.weight, live.sip_url)


def host_of(sip_url: str) -> str:
    """Return the host that an origination URI leads to."""
    address = sip_url.strip().lower().removeprefix("sip:").split(";")[0]
    return meaning("hostname", address.split("@")[-1].split(":")[0])


def _setting(sip_url: str) -> str:
    """What a plan calls a URI: as Twilio has it."""
    return ResourceKey.of(Kind.ORIGINATION_URI, sip_url).words


def _meant(sip_url: str | None) -> Any:
    return meaning("sip_url", sip_url)


def _step(index: int) -> str:
    return "3.1" if index == 0 else "3.2"


def _edge_name(uri: Any) -> str:
    return uri.region


def _friendly_name(uri: Any) -> str:
    return f"PBX through {uri.region}"
