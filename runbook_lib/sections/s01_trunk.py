"""Section 1: an Elastic SIP Trunk with a friendly name, the General page left alone.

The trunk's identity is its domain name, so it is created with friendly name and domain name in one
request: after an interruption, the next run finds the trunk again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from .. import keys
from ..keys import Why
from ..meaning import same_name
from ..plan import Action, Row, Value
from ..resources.twilio_trunk import FoundTrunk
from ..vendors.twilio import as_read
from ..words import counted
from .base import Section
from .items import Field, Item, View

#: Twilio's defaults of the General page. Source: Twilio, Elastic SIP Trunking "Trunks resource".
GENERAL: dict[str, tuple[str, Value]] = {
    "secure": ("Secure trunking", False),
    "cnam_lookup_enabled": ("CNAM lookup", False),
    "transfer_mode": ("Call transfer", "disable-all"),
    "transfer_caller_id": ("Caller id of transfers", "from-transferee"),
    "symmetric_rtp_enabled": ("Symmetric RTP", False),
}
RECORDING: dict[str, tuple[str, Value]] = {
    "mode": ("Recording", "do-not-record"),
    "trim": ("Recording trim", "do-not-trim"),
}


#: The facts of section 1: the account's trunks, and which of them is ours.
Facts = FoundTrunk


class CreateTrunk(Section[Facts]):
    """Steps 1.1 and 1.2."""

    number = "01"

    def look(self) -> Facts:
        return self.context.twilio_trunk.look()

    def views(self) -> list[View]:
        return [
            View(
                "Trunks of the Twilio account", ("Friendly name", "Termination URI", "Ours"), self._trunks()
            ),
            View("General settings of the trunk", ("Setting", "Value"), tuple(self._general())),
        ]

    def _trunks(self) -> tuple[tuple[str | None, ...], ...]:
        """The account's trunks; of others, a tenant's record says only how many they are."""
        ours, others = self.facts.trunk, [one for one in self.facts.all if one is not self.facts.trunk]
        rows: list[tuple[str | None, ...]] = []
        if ours is not None:
            rows.append((ours.friendly_name, ours.domain_name, "this one"))
        if self.context.scope.has_tenant and others:
            rows.append((counted(len(others), "other trunk"), None, "not managed"))
        else:
            rows += [(one.friendly_name, one.domain_name, "not managed") for one in others]
        return tuple(rows)

    def wanted(self) -> list[Item]:
        settings, trunk, conflict = self.context.settings, self.facts.trunk, self.facts.conflict
        if conflict:
            return [self.conflict("1.1", "trunk", settings.friendly_name, Why.AMBIGUOUS, conflict)]
        name = Field(
            "friendly_name", "friendly name", settings.friendly_name, trunk.friendly_name if trunk else None
        )
        # Also a row here, not only in section 2, so that a plan from before the trunk can be applied again.
        uri = Field(
            "domain_name",
            "termination URI",
            settings.domain,
            trunk.domain_name if trunk else None,
            step="2.1",
        )
        key = keys.trunk(settings.domain)
        if trunk is None:
            note = "free in this account; whether another Twilio customer has it appears only on apply"
            create = lambda fields: self.context.twilio.trunks.create(**fields)  # noqa: E731
            return [self.item("1.1", key, (name, replace(uri, note=note)), create)]
        if not same_name(trunk.friendly_name, settings.friendly_name) and not self._ours(trunk):
            note = f"the trunk {trunk.friendly_name!r}, not created by this runbook, has this termination URI"
            return [
                self.conflict(
                    "1.1", name.label, name.desired, Why.NOT_OURS, note, current=trunk.friendly_name
                )
            ]
        rename = self.item("1.1", key, (name,), lambda fields: trunk.update(**fields), as_read(trunk))
        in_place = [Item(tuple(self.compared("2.1", [uri]).values()))] if trunk.domain_name else []
        return [rename, *in_place, *(Item((row,)) for row in self._general_rows())]

    def _ours(self, trunk: Any) -> bool:
        """Whether the runbook created the trunk; one without a termination URI was adopted by its name."""
        return self.context.made_by_us(
            keys.trunk(self.context.settings.domain), trunk.sid, trunk.date_created
        )

    def _general(self) -> list[tuple[str, Any]]:
        return [(row.setting, row.current) for row in self._general_rows()]

    def _general_rows(self) -> list[Row]:
        trunk = self.facts.trunk
        if trunk is None:
            return []
        values = [(label, default, getattr(trunk, name)) for name, (label, default) in GENERAL.items()]
        recording = trunk.recording or {}
        values += [
            (label, default, recording.get(name, default)) for name, (label, default) in RECORDING.items()
        ]
        note = "not Twilio's default; the guide leaves the General page alone, and so does the runbook"
        rows = [
            Row("1.2", label, default, value, Action.IN_PLACE)
            if value == default
            else Row("1.2", label, default, value, Action.NOT_MANAGED, note=note, why=Why.KEPT)
            for label, default, value in values
        ]
        tls = self.context.settings.pbx_transport == "TLS"
        if trunk.secure == tls:
            return rows
        note = "pbx_trunk.transport and secure trunking do not match, so calls would be refused; change one"
        secure = Row(
            "1.2",
            GENERAL["secure"][0],
            tls,
            trunk.secure,
            Action.CONFLICT,
            note=note,
            why=Why.UNSUITABLE,
        )
        return [secure, *rows[1:]]
