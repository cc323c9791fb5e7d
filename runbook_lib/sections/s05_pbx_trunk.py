"""Section 5: the register-based trunk in the PBX, at tenant level or at system level."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from .. import keys
from ..did_pool import DidPool
from ..keys import Why
from ..parameters import TrunkScope
from ..plan import CHANGING, PASSWORD_AT_PBX, PASSWORD_AT_TWILIO, Action, Effect, Row, Value
from ..resources.pbx_trunk import associated, desired_fields, edge_caution
from ..vendors.pbx import quoted
from .base import Item, Section, View
from .passwords import AT_PBX, AT_TWILIO, PasswordPair, find_user

#: Fields that an update cannot change (PortSIP's update schema leaves them out).
IMMUTABLE = ("brand", "auth_mode")
#: Fields whose change touches calls that work.
EFFECTS = dict.fromkeys(
    ("hostname", "port", "transport", "auth_id", "username", "outbound_server", "outbound_server_port"),
    Effect.INTERRUPTS_OUTBOUND,
)


class PbxTrunkSection(Section):
    """Steps 5.1 to 5.5 and the expected result 5.E."""

    number = "05"

    def read(self) -> None:
        context, trunk = self.context, self.context.pbx_trunk
        self._candidates = trunk.candidates()
        self._namesake = trunk.namesake
        self._live = self._candidates[0] if len(self._candidates) == 1 else None
        self._pair = PasswordPair(
            context, None if self._live else find_user(context), reading_back=self.reading_back
        )
        self._status: str | None = None
        self._assignees: list[dict[str, Any]] = []
        if self._live is not None:
            path = f"/providers/{self._live['id']}"
            self._status = trunk.session.get(f"{path}/status").get("status")
            if context.settings.shared:
                self._assignees = trunk.session.get(f"{path}/assignees").get("items") or []
        self._others = [] if self._alone else self._foreign_pools()

    def views(self) -> list[View]:
        live, settings = self._live, self.context.settings
        fields = desired_fields(settings)
        rows = [(label, _plain(live.get(name))) for name, (_, label, _) in fields.items()] if live else []
        if live and not settings.shared:
            rows.append(("DID pool", live.get("did_numbers")))
        if live:
            rows.append(("status", self._status))
        views = [View(f"Trunk {settings.pbx_name} in the PBX", ("Field", "Value"), tuple(rows))]
        if settings.shared:
            views.append(self._assignee_view())
        return views

    def items(self) -> list[Item]:
        settings = self.context.settings
        if conflict := self._conflict():
            return [conflict]
        rows = {
            name: self.row(
                step,
                label,
                value,
                _plain(self._live.get(name)) if self._live else None,
                effect=self._effect(name, value),
                field=name,
            )
            for name, (step, label, value) in desired_fields(settings, self._live).items()
        }
        rows["additional_ips"] = self._ranges_row(rows["additional_ips"])
        if not settings.shared:
            live = self._live.get("did_numbers") if self._live else None
            rows["did_numbers"] = self._pool_row("5.2", "DID pool", live)
        if self._live is None:
            return [*self._to_create(rows), *self._assignment()]
        for name in IMMUTABLE:
            if rows[name].action is not Action.IN_PLACE:
                note = (
                    "the PBX cannot change it: delete the trunk there (its rules first), then run this again"
                )
                rows[name] = replace(rows[name], action=Action.CONFLICT, note=note, why=Why.IMMUTABLE)
        changed = {name: row.desired for name, row in rows.items() if row.action in CHANGING}
        update = self._to_update(self._live, tuple(rows.values()), changed)
        return [*update, Item(self._further_ranges()), *self._assignment()]

    def cautions(self) -> list[str]:
        if self._live is None:
            return []
        ranges = associated(self.context.settings, self._live)
        found = edge_caution(self.context.settings, self._live)
        if ranges.kept:
            found.append(f"Kept among the associated IP addresses, not Twilio's: {', '.join(ranges.kept)}.")
        if ranges.wide:
            found.append(
                f"Wider than a /24: {', '.join(ranges.wide)}. Whoever sends from there calls in without a"
                " password."
            )
        return found

    def expected(self) -> list[Row]:
        note = "registration is off, so the trunk is always Online: this proves nothing about the credentials"
        return [self.row("5.E", "status", "ONLINE", self._status, note=note, field="status")]

    @property
    def _alone(self) -> bool:
        """Whether this is a shared trunk on its own, without a tenant to assign it to."""
        return isinstance(self.context.tenant, TrunkScope)

    def _to_create(self, rows: dict[str, Row]) -> list[Item]:
        settings = self.context.settings
        if not self._pair.at_twilio and "02" not in self.ahead:
            return [self.blocked("5.3", "authentication name", settings.username, "02")]
        conflict = self._pair.conflict_at_pbx()
        if conflict:
            return [Item((conflict,), passing_s=self._pair.time_to_pass)]
        if not settings.shared and not self.context.pbx.tenant_may_have_trunks:
            note = "the PBX does not allow trunks at tenant level (its settings, or the tenant's features)"
            return [self._stopped(Why.UNSUITABLE, note)]
        password = Row("5.3", AT_PBX, str(settings.password), None, Action.CREATE, field=PASSWORD_AT_PBX)
        create = Item((*rows.values(), password), keys.pbx_trunk(settings.pbx_name), self._create)
        return [self._pair.item_at_twilio(step="5.3"), create]

    def _to_update(
        self, live: dict[str, Any], rows: tuple[Row, ...], changed: dict[str, Value]
    ) -> list[Item]:
        context, settings = self.context, self.context.settings
        # What a shared trunk has already, a tenant's run does not change: there these are conflicts.
        if not changed or context.creates_only:
            write = partial(context.pbx_trunk.update, changed) if changed else None
            return [
                Item(rows, keys.pbx_trunk(settings.pbx_name), write, before=live),
                PasswordPair(context, None).unreadable(),
            ]
        pair, is_planned = PasswordPair(context, find_user(context)), "02" in self.ahead
        if not pair.at_twilio and not is_planned and not context.site.pbx.update_keeps_password:
            return [Item(rows), self._blocked_password()]
        written_before = is_planned and (not pair.at_twilio or context.tenant.set_password)
        return pair.items_of_update(rows, changed, live, written_before=written_before)

    def _blocked_password(self) -> Item:
        reference = str(self.context.settings.password)
        return self.blocked("5.3", AT_TWILIO, reference, "02", field=PASSWORD_AT_TWILIO)

    def _create(self) -> None:
        settings = self.context.settings
        fields = {name: value for name, (_, _, value) in desired_fields(settings).items()}
        if not settings.shared:
            fields["did_numbers"] = str(self.context.tenant.dids)
        self.context.pbx_trunk.create({**fields, "password": self.context.sip_password()})

    def _assignment(self) -> list[Item]:
        """Step 5.5: this tenant's share of a shared trunk; nobody else's is touched."""
        if not self.context.settings.shared or self._alone:
            return []
        tenant, name = self.context.tenant, self.context.settings.pbx_name
        live = next((one for one in self._assignees if one["tenant_id"] == self._tenant_id), {})
        rows = (
            self._pool_row("5.5", "the tenant's DID pool", live.get("did_numbers")),
            self.row(
                "5.5",
                "the tenant's concurrent calls",
                tenant.concurrency,
                live.get("concurrency"),
                effect=_effect_of_limit(tenant.concurrency, live.get("concurrency")),
            ),
        )
        if not any(row.action in CHANGING for row in rows):
            return [Item(rows)]
        # A pool that is in place goes back as it was read: the PBX's spelling of it stays.
        pool = rows[0].desired if rows[0].action in CHANGING else rows[0].current
        body = {"did_numbers": pool, "concurrency": tenant.concurrency}
        return [
            Item(
                rows,
                keys.assignment(name, tenant.name),
                partial(self._assign, body),
                before=live or None,
            )
        ]

    def _assign(self, body: dict[str, Value]) -> None:
        trunk = self.context.pbx_trunk
        live = self._live or trunk.find()
        trunk.session.post(f"/providers/{live['id']}/assignees/{self._tenant_id}", body)

    def _pool_row(self, step: str, label: str, current: str | None) -> Row:
        """The DID pool: the tenant's numbers, and live ones until they are named under ``remove``."""
        tenant = self.context.tenant
        taken = [
            f"{', '.join(overlap)} {'is' if len(overlap) == 1 else 'are'} in the pool of {owner}"
            for owner, pool in self._others
            if (overlap := tenant.dids.overlap(pool))
        ]
        live = _pool(current)
        extra = [did for did in live if did not in tenant.dids] if live else []
        kept = [did for did in extra if did not in tenant.remove]
        in_use = [
            f"{did} is still used by {', '.join(users)}"
            for did in extra
            if did in tenant.remove and (users := self.context.rules.users_of(did))
        ]
        desired = str(tenant.dids.union(kept) if kept else tenant.dids)
        unread = (
            [f"the live pool {current!r} cannot be read: correct it in the PBX"]
            if current and not live
            else []
        )
        if taken or in_use or unread:
            note = "; ".join(taken + in_use + unread)
            why = Why.TAKEN if taken else Why.IN_USE if in_use else Why.UNSUITABLE
            return Row(step, label, desired, current, Action.CONFLICT, note=note, why=why)
        note = f"{', '.join(kept)} not in dids; left until named under remove" if kept else ""
        return self.row(step, label, desired, current, note=note, field="did_numbers")

    def _foreign_pools(self) -> list[tuple[str, DidPool]]:
        """Other pools that can be seen: of the tenant's trunks of the brand, and of this trunk's tenants.

        Other tenants' own trunks cannot be seen from here; the PBX refuses a number of theirs.
        """
        ours, brand = {one["id"] for one in self._candidates}, self.context.settings.pbx_brand
        pools = [
            (f"trunk {one['name']}", one.get("did_numbers"))
            for one in self.context.pbx.session.list("/providers", filter=f"brand eq {quoted(brand)}")
            if one["id"] not in ours
        ]
        pools += [
            ("another tenant of this trunk", one.get("did_numbers"))
            for one in self._assignees
            if one["tenant_id"] != self._tenant_id
        ]
        return [(owner, pool) for owner, text in pools if (pool := _pool(text))]

    def _assignee_view(self) -> View:
        names = self.context.pbx.tenant_names({one["tenant_id"] for one in self._assignees})
        return View(
            "Tenants that share the trunk",
            ("Tenant", "DID pool", "Concurrent calls"),
            tuple(
                (
                    names.get(one["tenant_id"], one["tenant_id"]),
                    one.get("did_numbers"),
                    one.get("concurrency"),
                )
                for one in self._assignees
            ),
        )

    def _ranges_row(self, row: Row) -> Row:
        """The associated addresses: those that are needed, and further ones until they are named."""
        if self._live is None:
            return row
        ranges = associated(self.context.settings, self._live)
        if ranges.in_part:
            note = (
                f"remove_signalling_ranges names a part of {', '.join(ranges.in_part)}: name the whole of it,"
                " and what of it is to stay among the site's additional_signalling_ranges"
            )
            return replace(row, action=Action.CONFLICT, effect=Effect.NONE, note=note, why=Why.UNSUITABLE)
        # The PBX takes calls in from these addresses only.
        # Without any it may take them from everywhere, and does not from then on.
        narrower = ranges.removed or not ranges.live.strip()
        effect = Effect.INTERRUPTS_INBOUND if narrower else Effect.NONE
        gone = ", ".join(ranges.removed)
        note = f"takes {gone} off: calls in from there are refused" if gone else ""
        return self.row(row.step, row.setting, ranges.desired, row.current, effect=effect, note=note)

    def _further_ranges(self) -> tuple[Row, ...]:
        note = (
            "neither published by Twilio nor named by the site; kept: whoever sends from there calls in"
            " without a password. To take it off: pbx_trunk.remove_signalling_ranges"
        )
        return tuple(
            Row("5.4", f"further range {text}", None, text, Action.NOT_MANAGED, note=note, why=Why.KEPT)
            for text in associated(self.context.settings, self._live).kept
        )

    @property
    def _tenant_id(self) -> str:
        return self.context.pbx.tenant["id"]

    def _conflict(self) -> Item | None:
        """What keeps the section from having a trunk of its own to work on."""
        hostname = self.context.settings.domain
        if len(self._candidates) > 1:
            note = f"{len(self._candidates)} trunks of the PBX have the hostname {hostname} or this name"
            return self._stopped(Why.AMBIGUOUS, note)
        if self._live is None and self._namesake is not None:
            other = self._namesake.get("hostname")
            note = f"a trunk of this name has the hostname {other}; choose another pbx_trunk.name"
            return self._stopped(Why.TAKEN, note)
        if self._live is not None and self._live.get("shared") and not self.context.settings.shared:
            note = f"a system-level trunk shared with this tenant has the hostname {hostname}"
            return self._stopped(Why.NOT_OURS, note)
        return None

    def _stopped(self, why: Why, note: str) -> Item:
        name = self.context.settings.pbx_name
        return Item((Row("5.1", "trunk", name, None, Action.CONFLICT, note=note, why=why),))

    def _effect(self, field: str, desired: Value) -> Effect:
        if self._live is None:
            return Effect.NONE
        live = self._live.get(field)
        if field == "concurrency":
            return _effect_of_limit(desired, live)
        return EFFECTS.get(field, Effect.NONE)


def _effect_of_limit(desired: Value, live: Value) -> Effect:
    """The PBX rejects calls over the limit, in both directions (PortSIP, trunk: Max Concurrent Calls)."""
    return Effect.INTERRUPTS_BOTH if live and desired < live else Effect.NONE


def _plain(value: Any) -> Value:
    """Unset values come as null or as an empty string."""
    return "" if value is None else value


def _pool(text: str | None) -> DidPool | None:
    try:
        return DidPool.read(text) if text else None
    except ValueError:
        return None  # no pool of numbers, so it holds none of ours
