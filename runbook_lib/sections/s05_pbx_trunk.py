"""Section 5: the register-based trunk in the PBX, at tenant level."""

from __future__ import annotations

from functools import partial
from typing import Any

from ..did_pool import DidPool
from ..plan import Action, Effect, Row, Value
from ..vendors.pbx import quoted
from .base import Item, Section, View
from .passwords import NOT_READABLE, PasswordPair, find_user
from .pbx_trunk import desired_fields

#: Fields that an update cannot change (PortSIP's update schema leaves them out).
IMMUTABLE = ("brand", "auth_mode")
#: Fields whose change touches calls that work.
EFFECTS = {
    "hostname": Effect.INTERRUPTS_OUTBOUND,
}


class PbxTrunkSection(Section):
    """Steps 5.1 to 5.4 and the expected result 5.E."""

    number = "05"

    def read(self) -> None:
        self._candidates = self.context.pbx_trunk.candidates()
        self._live = self._candidates[0] if len(self._candidates) == 1 else None
        self._user = None if self._live else find_user(self.context)
        self._pair = PasswordPair(self.context, self._user, reading_back=self.reading_back)
        self._status: str | None = None
        self._others = self._foreign_pools()
        if self._live is not None:
            self._status = self.context.pbx_trunk.session.get(f"/providers/{self._live['id']}/status").get(
                "status"
            )

    def views(self) -> list[View]:
        live = self._live
        fields = desired_fields(self.context.settings)
        rows = [(label, _plain(live.get(name))) for name, (_, label, _) in fields.items()] if live else []
        if live:
            rows += [("DID pool", live.get("did_numbers")), ("status", self._status)]
        return [View(f"Trunk {self.context.settings.pbx_name} in the PBX", ("Field", "Value"), tuple(rows))]

    def items(self) -> list[Item]:
        settings = self.context.settings
        conflict = self._conflict()
        if conflict:
            return [Item((Row("5.1", "trunk", settings.pbx_name, None, Action.CONFLICT, note=conflict),))]
        rows = {
            name: self.row(
                step,
                label,
                value,
                _plain(self._live.get(name)) if self._live else None,
                effect=self._effect(name),
            )
            for name, (step, label, value) in desired_fields(settings).items()
        }
        rows["did_numbers"] = self._pool_row()
        if self._live is None:
            return self._to_create(rows)
        password = Item(
            (Row("5.3", "password at the PBX", str(settings.password), NOT_READABLE, Action.UNREADABLE),)
        )
        if any(rows[name].action is not Action.IN_PLACE for name in IMMUTABLE):
            return self._to_replace(rows)
        changed = {
            name: _wire(name, row.desired)
            for name, row in rows.items()
            if row.action not in (Action.IN_PLACE, Action.CONFLICT)
        }
        write = partial(self.context.pbx_trunk.update, changed) if changed else None
        return [Item(tuple(rows.values()), f"PBX trunk {settings.pbx_name}", write), password]

    def expected(self) -> list[Row]:
        note = "registration is off, so the trunk is always Online: this proves nothing about the credentials"
        return [self.row("5.E", "status", "ONLINE", self._status, note=note)]

    def _to_create(self, rows: dict[str, Row]) -> list[Item]:
        settings = self.context.settings
        conflict = self._pair.conflict_at_pbx()
        if self._user is None and "02" not in self.ahead:
            return [self.blocked("5.3", "authentication name", settings.username, "02")]
        if conflict:
            return [Item((conflict,))]
        password = Row("5.3", "password at the PBX", str(settings.password), None, Action.CREATE)
        if not self.context.pbx.tenant_may_have_trunks:
            note = "the PBX does not allow trunks at tenant level (its settings, or the tenant's features)"
            return [Item((Row("5.1", "trunk", settings.pbx_name, None, Action.CONFLICT, note=note),))]
        create = Item((*rows.values(), password), f"PBX trunk {settings.pbx_name}", self._create)
        return [self._pair.item_at_twilio(step="5.3"), create]

    def _to_replace(self, rows: dict[str, Row]) -> list[Item]:
        """Brand and kind cannot be changed: the trunk is deleted and made again."""
        settings = self.context.settings
        using = self.context.rules.of_trunk(self._live["id"])
        if using:
            note = f"it can only be made again, and {', '.join(using)} use it; delete the rules first"
            changed = [
                row for name, row in rows.items() if name in IMMUTABLE and row.action is not Action.IN_PLACE
            ]
            return [
                Item((Row(row.step, row.setting, row.desired, row.current, Action.CONFLICT, note=note),))
                for row in changed
            ]
        note = "cannot be changed: the trunk is deleted and made again"
        final = tuple(
            row
            if row.action is Action.IN_PLACE
            else Row(
                row.step,
                row.setting,
                row.desired,
                row.current,
                Action.REPLACE,
                Effect.INTERRUPTS_OUTBOUND,
                note,
            )
            for row in rows.values()
        )
        return [Item(final, f"PBX trunk {settings.pbx_name}", self._replace)]

    def _create(self) -> None:
        settings = self.context.settings
        fields = {name: value for name, (_, _, value) in desired_fields(settings).items()}
        pool = str(self.context.tenant.dids)
        self.context.pbx_trunk.create(
            {**fields, "did_numbers": pool, "password": self.context.sip_password()}
        )

    def _replace(self) -> None:
        self.context.pbx_trunk.session.post(f"/providers/{self._live['id']}/destroy")
        self._create()

    def _pool_row(self) -> Row:
        """The DID pool: the tenant's numbers, and live ones that are not in ``remove``."""
        tenant = self.context.tenant
        taken = [
            f"{', '.join(sorted(tenant.dids.overlap(pool)))} in {owner}"
            for owner, pool in self._others
            if tenant.dids.overlap(pool)
        ]
        live = _pool(self._live.get("did_numbers")) if self._live else None
        extra = [did for did in live if did not in tenant.dids] if live else []
        kept = [did for did in extra if did not in tenant.remove]
        wanted = tenant.dids.union(kept) if kept else tenant.dids
        note = f"{', '.join(kept)} not in dids; left until named under remove" if kept else ""
        current = self._live.get("did_numbers") if self._live else None
        if taken:
            return Row("5.2", "DID pool", str(wanted), current, Action.CONFLICT, note="; ".join(taken))
        users = {did: self.context.rules.users_of(did) for did in extra if did in tenant.remove}
        in_use = [f"{did} is still used by {', '.join(names)}" for did, names in users.items() if names]
        if in_use:
            return Row("5.2", "DID pool", str(wanted), current, Action.CONFLICT, note="; ".join(in_use))
        # The same numbers written in another way are the same pool.
        return self.row("5.2", "DID pool", current if live == wanted else str(wanted), current, note=note)

    def _foreign_pools(self) -> list[tuple[str, DidPool]]:
        """The pools of other trunks of the brand that this session sees; the PBX itself refuses the rest."""
        ours, brand = {one["id"] for one in self._candidates}, self.context.settings.pbx_brand
        pools = []
        for one in self.context.pbx_trunk.session.list("/providers", filter=f"brand eq {quoted(brand)}"):
            pool = _pool(one.get("did_numbers"))
            if one["id"] not in ours and pool:
                pools.append((f"trunk {one['name']}", pool))
        return pools

    def _conflict(self) -> str:
        hostname = self.context.settings.domain
        if len(self._candidates) > 1:
            return f"{len(self._candidates)} trunks of the PBX have the hostname {hostname} or this name"
        if self._live is not None and self._live.get("shared"):
            return f"a system-level trunk shared with this tenant has the hostname {hostname}"
        return ""

    def _effect(self, field: str) -> Effect:
        return EFFECTS.get(field, Effect.NONE) if self._live else Effect.NONE


def _plain(value: Any) -> Value:
    """Unset values come as null or as an empty string."""
    return "" if value is None else value


def _wire(name: str, value: Value) -> Value:
    return str(value) if name == "did_numbers" else value


def _pool(text: str | None) -> DidPool | None:
    try:
        return DidPool.parse(text) if text else None
    except ValueError:
        return None
