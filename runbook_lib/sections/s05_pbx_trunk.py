"""Section 5: the register-based trunk in the PBX, at tenant level or at system level."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache, partial
from typing import Any

from .. import keys
from ..did_pool import DidPool
from ..errors import VerificationError
from ..facts.side_by_side import side_by_side
from ..keys import Why
from ..plan import CHANGING, PASSWORD_AT_PBX, PASSWORD_AT_TWILIO, Action, Effect, Row, Value
from ..resources.pbx_trunk import InPbx, associated, desired_fields, edge_caution
from ..resources.rules import RulesAsRead
from ..words import counted
from .base import Section
from .items import Field, Item, View
from .passwords import AT_PBX, AT_TWILIO, PasswordPair, find_user

#: Fields that an update cannot change (PortSIP's update schema leaves them out).
#: Concurrent calls from which on the number is the portal's default, and limits nothing.
NO_LIMIT = 100_000
IMMUTABLE = ("brand", "auth_mode")
#: Fields whose change affects working calls.
EFFECTS = dict.fromkeys(
    ("hostname", "port", "transport", "auth_id", "username", "outbound_server", "outbound_server_port"),
    Effect.INTERRUPTS_OUTBOUND,
)


@dataclass(frozen=True)
class Facts:
    """The facts of section 5.

    ``user`` is the credential at Twilio (SDK object), read if the pair of passwords may be written;
    ``of_brand`` the trunks of our brand that the tenant sees, ``assignees`` the shares of a shared trunk
    and ``tenant_names`` who has them, by id, read for the tables of the trunk's own run only. The rules are
    read where a number leaves the pool.
    """

    in_pbx: InPbx = field(default_factory=InPbx)
    tenant_id: str | None = None
    user: Any | None = None
    tenant_may_have_trunks: bool = True
    of_brand: tuple[Mapping[str, Any], ...] = ()
    assignees: tuple[Mapping[str, Any], ...] = ()
    tenant_names: Mapping[str, str] = field(default_factory=dict)
    rules: RulesAsRead = field(default_factory=RulesAsRead)

    @property
    def live(self) -> Mapping[str, Any] | None:
        """The trunk, if it is known which one it is."""
        return self.in_pbx.trunk

    @property
    def share(self) -> Mapping[str, Any]:
        """The tenant's assignment of a shared trunk; empty without one."""
        return next((share for share in self.assignees if share["tenant_id"] == self.tenant_id), {})

    @cached_property
    def foreign_pools(self) -> list[tuple[str, DidPool]]:
        """Other visible pools: those of the tenant's trunks of the brand, and of this trunk's tenants.

        Other tenants' own trunks cannot be seen from here; the PBX refuses a number of theirs.
        """
        pools = [
            (f"trunk {trunk['name']}", trunk.get("did_numbers"))
            for trunk in self.of_brand
            if trunk["id"] not in self.in_pbx.ids
        ]
        pools += [
            ("another tenant of this trunk", share.get("did_numbers"))
            for share in self.assignees
            if share["tenant_id"] != self.tenant_id
        ]
        return [(owner, pool) for owner, text in pools if (pool := _pool(text))]


class PbxTrunkSection(Section[Facts]):
    """Steps 5.1 to 5.5 and the expected result 5.E."""

    number = "05"

    def look(self) -> Facts:
        pbx, trunk, has_tenant = self.context.pbx, self.context.pbx_trunk, self.context.scope.has_tenant
        in_pbx, tenant_id, of_brand = side_by_side(
            lambda: trunk.look(with_status=not self.context.rows_only),
            lambda: pbx.tenant_id if has_tenant else None,
            lambda: trunk.of_brand(pbx.session) if has_tenant else (),
        )
        facts = Facts(in_pbx, tenant_id, of_brand=of_brand)
        live = facts.live
        return self._with_what_making_needs(facts) if live is None else self._with_the_trunk(facts, live)

    def _with_what_making_needs(self, facts: Facts) -> Facts:
        context = self.context
        user, may_have_trunks = side_by_side(
            partial(find_user, context),
            lambda: context.scope.is_shared or context.pbx.tenant_may_have_trunks,
        )
        return replace(facts, user=user, tenant_may_have_trunks=may_have_trunks)

    def _with_the_trunk(self, facts: Facts, live: Mapping[str, Any]) -> Facts:
        """The facts with the trunk's own; and the user at Twilio where an update is to be planned."""
        scope = self.context.scope
        if scope.is_shared:
            answer = self.context.pbx_trunk.session.get(f"/providers/{live['id']}/assignees")
            facts = replace(facts, assignees=tuple(answer.get("items") or ()))
        pool = (facts.share if scope.is_shared else live).get("did_numbers")
        leaves = scope.has_tenant and any(did in self.context.tenant.remove for did in self._extra(pool))
        changes = not scope.creates_only and bool(_changes(self._rows(facts)))
        rules, user = side_by_side(
            lambda: self.context.rules.look(lambda: facts.in_pbx.ids, users=True) if leaves else facts.rules,
            lambda: find_user(self.context) if changes else None,
        )
        return replace(facts, rules=rules, user=user)

    def read_for_tables(self) -> None:
        if not self.context.scope.has_tenant and self.facts.assignees:
            ids = {share["tenant_id"] for share in self.facts.assignees}
            self.facts = replace(self.facts, tenant_names=self.context.pbx.tenant_names(ids))

    def views(self) -> list[View]:
        live, settings = self.facts.live, self.context.settings
        fields = desired_fields(settings)
        rows = [(label, _plain(live.get(name))) for name, (_, label, _) in fields.items()] if live else []
        if live and not self.context.scope.is_shared:
            rows.append(("DID pool", live.get("did_numbers")))
        if live:
            rows.append(("status", self.facts.in_pbx.status))
        views = [View(f"Trunk {settings.pbx_name} in the PBX", ("Field", "Value"), tuple(rows))]
        if self.context.scope.is_shared:
            views.append(self._assignee_view())
        return views

    def wanted(self) -> list[Item]:
        if conflict := self._conflict():
            return [conflict]
        rows, live = self._rows(self.facts), self.facts.live
        if live is None:
            return [*self._to_create(rows), *self._assignment()]
        update = self._to_update(live, tuple(rows.values()), _changes(rows))
        return [*update, Item(self._further_ranges()), *self._assignment()]

    def _rows(self, facts: Facts) -> dict[str, Row]:
        """The row of each field of the trunk, by the PBX's name of it."""
        settings, live = self.context.settings, facts.live
        rows = self.compared(
            "5.1",
            [
                Field(
                    name,
                    label,
                    value,
                    _plain(live.get(name)) if live else None,
                    _effect(live, name, value),
                    step=step,
                )
                for name, (step, label, value) in desired_fields(settings, live).items()
            ],
        )
        kind = rows["auth_mode"]
        rows["auth_mode"] = replace(kind, note=f"{kind.desired} is the PBX's word for a register-based trunk")
        rows["additional_ips"] = self._ranges_row(rows["additional_ips"], live)
        if not self.context.scope.is_shared:
            rows["did_numbers"] = self._pool_row(facts, "5.2", "DID pool", (live or {}).get("did_numbers"))
        if live is None:
            return rows
        for name in IMMUTABLE:
            if rows[name].action is not Action.IN_PLACE:
                note = (
                    "the PBX cannot change it: delete the trunk there (its rules first), then run this again"
                )
                rows[name] = replace(rows[name], action=Action.CONFLICT, note=note, why=Why.IMMUTABLE)
        return rows

    def cautions(self) -> list[str]:
        settings, live = self.context.settings, self.facts.live
        found = []
        if settings.max_concurrent_calls >= NO_LIMIT:
            found.append(
                f"Step 5.4: max concurrent calls is {settings.max_concurrent_calls:,}, which limits nothing:"
                " set pbx_trunk.max_concurrent_calls to what the business needs, so that somebody who gets in"
                " cannot place thousands of calls at once."
            )
        if live is None:
            return found
        ranges = associated(settings, live)
        found += edge_caution(settings, live)
        if ranges.kept:
            found.append(
                f"Kept among the associated IP addresses, although not Twilio's: {', '.join(ranges.kept)}."
            )
        if ranges.wide:
            found.append(
                f"Wider than a /24: {', '.join(ranges.wide)}. Anyone sending from there can call in without a"
                " password."
            )
        return found

    def expected(self) -> list[Row]:
        note = "registration is off, so the trunk is always Online: this proves nothing about the credentials"
        return [self.row("5.E", "status", "ONLINE", self.facts.in_pbx.status, note=note, field="status")]

    def _to_create(self, rows: dict[str, Row]) -> list[Item]:
        settings, pair = self.context.settings, PasswordPair(self.context, self.facts.user)
        if not pair.at_twilio and "02" not in self.ahead:
            return [self.blocked("5.3", "authentication name", settings.username, "02")]
        if conflict := pair.conflict_at_pbx():
            return [Item((conflict,), passing_s=pair.time_to_pass)]
        if not self.facts.tenant_may_have_trunks:
            note = "the PBX does not allow trunks at tenant level (its settings, or the tenant's features)"
            return [self._stopped(Why.UNSUITABLE, note)]
        password = Row("5.3", AT_PBX, str(settings.password), None, Action.CREATE, field=PASSWORD_AT_PBX)
        create = Item((*rows.values(), password), keys.pbx_trunk(settings.pbx_name), self._create)
        return [pair.item_at_twilio(step="5.3"), create]

    def _to_update(
        self, live: Mapping[str, Any], rows: tuple[Row, ...], changed: dict[str, Value]
    ) -> list[Item]:
        context, settings = self.context, self.context.settings
        # A tenant's run does not change what a shared trunk already has: there these are conflicts.
        if not changed or context.scope.creates_only:
            write = partial(context.pbx_trunk.update, changed) if changed else None
            return [
                Item(rows, keys.pbx_trunk(settings.pbx_name), write, before=live),
                PasswordPair(context, None).unreadable(),
            ]
        pair, is_planned = PasswordPair(context, self.facts.user), "02" in self.ahead
        if not pair.at_twilio and not is_planned and not context.site.pbx.update_keeps_password:
            return [Item(rows), self._blocked_password()]
        written_before = is_planned and (not pair.at_twilio or context.owner.set_password)
        return pair.items_of_update(rows, changed, live, written_before=written_before)

    def _blocked_password(self) -> Item:
        reference = str(self.context.settings.password)
        return self.blocked("5.3", AT_TWILIO, reference, "02", field=PASSWORD_AT_TWILIO)

    def _create(self) -> None:
        settings = self.context.settings
        fields = {name: value for name, (_, _, value) in desired_fields(settings).items()}
        if not self.context.scope.is_shared:
            fields["did_numbers"] = str(self.context.tenant.dids)
        self.context.pbx_trunk.create({**fields, "password": self.context.sip_password()})

    def _assignment(self) -> list[Item]:
        """Step 5.5: this tenant's share of a shared trunk; other shares are never changed."""
        if not (self.context.scope.is_shared and self.context.scope.has_tenant):
            return []
        tenant, name = self.context.tenant, self.context.settings.pbx_name
        live = self.facts.share
        rows = (
            self._pool_row(self.facts, "5.5", "the tenant's DID pool", live.get("did_numbers")),
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
        # A pool that is in place is sent back as it was read: the PBX's spelling of it stays.
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
        live = self.facts.live or trunk.find()  # made just now, by this section
        if live is None:
            raise VerificationError(
                f"the PBX does not show the trunk {self.context.settings.pbx_name} that was just "
                "created, or shows more than one",
                step="5.5",
                meaning="the trunk has no numbers of this tenant yet, so it accepts none of the "
                "tenant's calls",
                next_step="plan again: the plan shows what the PBX has now",
            )
        trunk.session.post(f"/providers/{live['id']}/assignees/{self.facts.tenant_id}", body)

    def _extra(self, current: str | None) -> list[str]:
        """The numbers of a live pool that are not in the tenant's dids."""
        return [did for did in _pool(current) or () if did not in self.context.tenant.dids]

    def _pool_row(self, facts: Facts, step: str, label: str, current: str | None) -> Row:
        """The DID pool: the tenant's numbers, and live ones until they are listed under ``remove``."""
        tenant = self.context.tenant
        taken = [
            f"{', '.join(overlap)} {'is' if len(overlap) == 1 else 'are'} in the pool of {owner}"
            for owner, pool in facts.foreign_pools
            if (overlap := tenant.dids.overlap(pool))
        ]
        extra = self._extra(current)
        kept = [did for did in extra if did not in tenant.remove]
        in_use = [
            f"{did} is still used by {', '.join(users)}"
            for did in extra
            if did in tenant.remove and (users := facts.rules.users_of(did))
        ]
        desired = str(tenant.dids.union(kept) if kept else tenant.dids)
        unread = (
            [f"the live pool {current!r} cannot be read: correct it in the PBX"]
            if current and not _pool(current)
            else []
        )
        if taken or in_use or unread:
            note = "; ".join(taken + in_use + unread)
            why = Why.TAKEN if taken else Why.IN_USE if in_use else Why.UNSUITABLE
            return Row(step, label, desired, current, Action.CONFLICT, note=note, why=why)
        note = f"{', '.join(kept)} not in dids; kept until listed under remove" if kept else ""
        return self.row(step, label, desired, current, note=note, field="did_numbers")

    def _assignee_view(self) -> View:
        """Who shares the trunk; of others, a tenant's record says only how many they are."""
        facts, names = self.facts, self.facts.tenant_names
        shown = facts.assignees
        if self.context.scope.has_tenant:
            shown = tuple(one for one in shown if one["tenant_id"] == facts.tenant_id)
            names = {str(facts.tenant_id): self.context.tenant.pbx_domain}
        rows: list[tuple[Any, ...]] = [
            (names.get(one["tenant_id"], one["tenant_id"]), one.get("did_numbers"), one.get("concurrency"))
            for one in shown
        ]
        if others := len(facts.assignees) - len(shown):
            rows.append((counted(others, "other tenant"), None, None))
        return View("Tenants that share the trunk", ("Tenant", "DID pool", "Concurrent calls"), tuple(rows))

    def _ranges_row(self, row: Row, live: Mapping[str, Any] | None) -> Row:
        """The associated addresses: the required ones, and others until they are listed for removal."""
        if live is None:
            return row
        ranges = associated(self.context.settings, live)
        if ranges.in_part:
            note = (
                f"remove_signalling_ranges has only a part of {', '.join(ranges.in_part)}: give "
                "the whole range, and list the part to keep in the site's "
                "additional_signalling_ranges"
            )
            return replace(row, action=Action.CONFLICT, effect=Effect.NONE, note=note, why=Why.UNSUITABLE)
        # The PBX accepts inbound calls from these addresses only.
        # Without any it may accept them from everywhere, and stops doing so from then on.
        narrower = ranges.removed or not ranges.live.strip()
        effect = Effect.INTERRUPTS_INBOUND if narrower else Effect.NONE
        gone = ", ".join(ranges.removed)
        note = f"removes {gone}: inbound calls from there are refused" if gone else ""
        return self.row(row.step, row.setting, ranges.desired, row.current, effect=effect, note=note)

    def _further_ranges(self) -> tuple[Row, ...]:
        note = (
            "neither published by Twilio nor listed by the site, but kept: anyone who sends from "
            "there can call in without a password. To remove it: "
            "pbx_trunk.remove_signalling_ranges"
        )
        return tuple(
            Row("5.4", f"further range {text}", None, text, Action.NOT_MANAGED, note=note, why=Why.KEPT)
            for text in associated(self.context.settings, self.facts.live).kept
        )

    def _conflict(self) -> Item | None:
        """Why the section has no unambiguous trunk to work on."""
        hostname, in_pbx, live = self.context.settings.domain, self.facts.in_pbx, self.facts.live
        if len(in_pbx.candidates) > 1:
            note = f"{len(in_pbx.candidates)} trunks of the PBX have the hostname {hostname} or this name"
            return self._stopped(Why.AMBIGUOUS, note)
        if live is None and in_pbx.namesake is not None:
            other = in_pbx.namesake.get("hostname")
            note = f"a trunk with this name has the hostname {other}; choose another pbx_trunk.name"
            return self._stopped(Why.TAKEN, note)
        if live is not None and live.get("shared") and not self.context.scope.is_shared:
            note = f"a system-level trunk shared with this tenant has the hostname {hostname}"
            return self._stopped(Why.NOT_OURS, note)
        return None

    def _stopped(self, why: Why, note: str) -> Item:
        return self.conflict("5.1", "trunk", self.context.settings.pbx_name, why, note)


def _changes(rows: Mapping[str, Row]) -> dict[str, Value]:
    """The fields that an update changes, with their desired values."""
    return {name: row.desired for name, row in rows.items() if row.action in CHANGING}


def _effect(live: Mapping[str, Any] | None, name: str, desired: Any) -> Effect:
    if live is None:
        return Effect.NONE
    if name == "concurrency":
        return _effect_of_limit(desired, live.get(name))
    return EFFECTS.get(name, Effect.NONE)


def _effect_of_limit(desired: int | None, live: int | None) -> Effect:
    """The PBX rejects calls over the limit, in both directions (PortSIP, trunk: Max Concurrent Calls)."""
    return Effect.INTERRUPTS_BOTH if live and desired and desired < live else Effect.NONE


def _plain(value: Any) -> Value:
    """Unset values are null or an empty string."""
    return "" if value is None else value


@lru_cache(maxsize=10_000)
def _pool(text: str | None) -> DidPool | None:
    return DidPool.read_if_any(text)  # what is none cannot contain any of the tenant's numbers
