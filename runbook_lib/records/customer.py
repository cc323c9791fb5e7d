"""A record's copy for its own customer: made from the record's data, by an allow-list.

Nothing that somebody typed is copied: neither names, tickets, reasons nor notes. A value appears only if
it is a number, a switch or one of a few fixed words, or if it is made of the tenant's own telephone
numbers or termination URI; any other value is called ``(set)``. Rows of a trunk that several tenants share
are counted and not shown. Whatever is new in a record is therefore left out until it is allowed here.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..did_pool import DidPool
from ..guide import STEPS, TENANTS_STEPS
from ..outcomes import FAILED, INTERRUPTED, SUCCEEDED
from ..plan import Effect, Value, value_text
from ..sip_uri import TerminationUri
from ..statement import CONFIRMED, SIGNED
from .first_block import (
    AUTOMATIC,
    EMERGENCY,
    Changed,
    changed_rows,
    interrupting_writes,
    mapping,
    mappings,
    moment,
    read_back_at,
)

#: What stands in the place of a value that is not for this audience.
WITHHELD = "(set)"
_OUTCOMES = {SUCCEEDED: "completed", FAILED: "not completed", INTERRUPTED: "not completed"}
#: Settings that are shown under their own name; any other one is called as the guide calls its step.
_SETTINGS = frozenset(
    {
        *("max concurrent calls", "the tenant's concurrent calls", "the tenant's DID pool", "DID pool"),
        *("termination URI", "IP access control list", "credential list", "friendly name", "priority"),
        *("Recording", "Recording trim", "Secure trunking", "Symmetric RTP", "CNAM lookup", "Call transfer"),
        *(
            "transport",
            "port",
            "hostname",
            "enabled",
            "brand",
            "name",
            "kind of trunk",
            "authentication name",
        ),
        *("need registration", "registration interval, s", "send OPTIONS", "OPTIONS interval, s"),
        *("outbound proxy", "outbound proxy port", "user name (three-part authentication only)"),
        *("use private IP", "verify port", "rewrite Via host", "single Via", "adjust SDP on hold"),
        *("remove SRTP information", "require STIR/SHAKEN", "associated IP addresses"),
        *("numbers", "caller id"),
        *("digits dialled", "number begins with", "digits to strip", "prepend", "extensions", "office hours"),
        *("outside office hours", "holidays", "only for callers"),
        *("password at Twilio", "password at the PBX"),
    }
)
_RULE = re.compile(r"(inbound|outbound) rule (.+): ([^:]+)", re.DOTALL)
_ORIGINATION = re.compile(r"[a-z]{2}\d (SIP URI|priority|weight|enabled|name)")
_NUMBER = re.compile(r"\+?\d+", re.ASCII)
#: So few digits are a prefix or a length, and nobody's number.
_FEW_DIGITS = re.compile(r"\+?\d{0,3}", re.ASCII)
_WORDS = frozenset({"UDP", "TCP", "TLS", "Twilio", "present"})
_EFFECTS = {
    Effect.NONE: "none",
    Effect.INTERRUPTS_OUTBOUND: "interrupts outbound calls",
    Effect.INTERRUPTS_INBOUND: "interrupts inbound calls",
    Effect.INTERRUPTS_BOTH: "interrupts calls both ways",
}


@dataclass(frozen=True)
class CustomersCopy:
    """What a customer's copy shows: a title, facts with their names, and rows under ``columns``."""

    title: str
    facts: tuple[tuple[str, str], ...]
    rows: tuple[tuple[str, ...], ...]
    columns: tuple[str, ...] = ("Step", "Setting", "From", "To", "Effect on calls", "Read back")


def customers_copy(record: Mapping[str, Any], tenant: str, digest: str) -> CustomersCopy:
    """Return a record's copy for one tenant.

    Parameters
    ----------
    record
        What ``record.json`` holds.
    tenant
        The name of the tenant whose copy it is: the record's own, or one whose calls run through the trunk
        that the record is about.
    digest
        The digest of the chain's entry that closed the record.
    """
    allowed = _Allowed(record if record.get("tenant") == tenant else {})
    rows = list(changed_rows(record))
    own = [row for row in rows if allowed.is_own(row)]
    calls, sent = interrupting_writes(record)
    read_back = read_back_at(record)
    others = len(rows) - len(own)
    interrupted = f"{moment(sent[0])}, {moment(sent[-1])}" if sent else ""
    facts = (
        ("Run", str(record.get("run_id"))),
        ("Started", moment(record.get("started"))),
        ("Ended", moment(record.get("ended")) if record.get("ended") else ""),
        ("Result", _OUTCOMES.get(str(record.get("outcome")), "not known")),
        ("Carried out by", "an operator"),
        ("Approval", _approval(record)),
        ("Settings of this service that changed", str(len(own))),
        ("Settings of a shared trunk that changed", str(others) if others else ""),
        ("Calls that the plan expected to interrupt", " and ".join(calls) or "none"),
        ("First and last write that could interrupt calls", interrupted),
        ("Interruption of calls as measured", "not measured"),
        ("Read back", moment(read_back) if read_back else "not read back"),
        ("Digest of the record's entry", digest),
    )
    return CustomersCopy(
        f"Change record of {tenant}",
        tuple((name, value) for name, value in facts if value),
        tuple(allowed.cells(row) for row in own),
    )


def _approval(record: Mapping[str, Any]) -> str:
    by = mapping(mapping(record.get("approver")).get("by"))
    how = by.get("how")
    if how == SIGNED:
        at = f", {moment(by['at'])} by the signer's clock" if by.get("at") else ""
        return f"by another person, with a signature{at}"
    if how == EMERGENCY:
        return "an emergency, not approved beforehand"
    if how in (AUTOMATIC, CONFIRMED, None):
        return "not approved beforehand"
    return "by a person whom the operator named"


class _Allowed:
    """What may be shown of a tenant's own record; of somebody else's, an empty one, nothing."""

    def __init__(self, record: Mapping[str, Any]) -> None:
        tenant = mapping(mapping(record.get("parameters")).get("tenant"))
        self._has_rows = bool(record)
        self._shares = bool(tenant.get("shared_trunk"))
        self._numbers = DidPool.read_if_any(str(tenant.get("dids"))) or ()
        self._domains = frozenset[str]()
        own_trunk = mapping(tenant.get("trunk"))
        if not self._shares and own_trunk.get("termination"):
            uri = TerminationUri.parse(str(own_trunk["termination"]))
            self._domains = frozenset({str(uri), str(TerminationUri(uri.label))})
        self._rules: dict[tuple[str, str], str] = {}
        self._counts: Counter[str] = Counter()

    def is_own(self, row: Changed) -> bool:
        """Whether a row is the tenant's own."""
        return self._has_rows and (row.step in TENANTS_STEPS or not self._shares)

    def cells(self, row: Changed) -> tuple[str, ...]:
        """A row of the copy's table."""
        read_back = row.result
        if read_back == "as expected" and (value := self._value(row.read_back)) != WITHHELD:
            read_back = f"as expected: {value}"
        return (
            row.step if row.step in STEPS else "",
            self._setting(row),
            self._value(row.before),
            self._value(row.after),
            next((words for effect, words in _EFFECTS.items() if effect == row.effect), "not known"),
            read_back,
        )

    def _setting(self, row: Changed) -> str:
        title = STEPS.get(row.step, "a setting")
        if found := _RULE.fullmatch(row.setting):
            kind, name, part = found.groups()
            if (kind, name) not in self._rules:
                self._counts[kind] += 1
                self._rules[kind, name] = f"{kind} rule {self._counts[kind]}"
            return f"{self._rules[kind, name]}: {part}" if part in _SETTINGS else self._rules[kind, name]
        if row.setting in _SETTINGS or _ORIGINATION.fullmatch(row.setting):
            return row.setting
        if _NUMBER.fullmatch(row.setting) and self._are_own(row.setting):
            return f"{title}: {row.setting}"
        return title

    def _value(self, value: Value) -> str:
        if not isinstance(value, str):
            return value_text(value)
        if value in _WORDS or value in self._domains or _FEW_DIGITS.fullmatch(value) or self._are_own(value):
            return value_text(value)
        return WITHHELD

    def _are_own(self, text: str) -> bool:
        """Whether a text is made of the tenant's own numbers and nothing else."""
        numbers = [part.strip() for entry in text.split(";") for part in entry.split("-")]
        return bool(numbers) and all(_NUMBER.fullmatch(one) and one in self._numbers for one in numbers)


def tenants_of(record: Mapping[str, Any], domains: Mapping[str, str]) -> Sequence[str]:
    """Return the names of the tenants that a record can be copied for: its own, and those affected.

    ``domains`` has the tenants' names by the PBX's domain of each, as far as the register knows them.
    """
    affected = mappings(record, "affected")
    names = [domains.get(str(one.get("pbx_domain")), str(one.get("name"))) for one in affected]
    return list(dict.fromkeys([*names, *([] if affected else [str(record.get("tenant"))])]))
