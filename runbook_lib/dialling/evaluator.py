"""Which rule a dialled number meets, what leaves the PBX, and whether Twilio accepts it.

Pure functions over values: no request, no file. They follow PortSIP's pages "Configuring outbound rule"
and "E.164 number processing"; what those do not specify is a setting (``Semantics``), and the answer says
when it depends on one. A caller's role and permissions, allowed countries, blacklists, user groups and office
hours are ignored.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from itertools import product
from typing import Literal

from ..did_pool import DidPool
from . import numbers
from .countries import country_of
from .rule_index import RuleIndex

#: Shown with every verdict.
NOT_LOOKED_AT = "Not checked: roles, permissions, allowed countries, blacklists, user groups, office hours."


@dataclass(frozen=True)
class Semantics:
    """What PortSIP's pages do not say; the first value of each is the one that is closest to their words.

    ``length_counts_plus`` and ``strip_counts_plus``: whether a leading ``+`` is one of a rule's digits;
    ``equals``: which of several rules with the same priority is used; ``own_list``: whether the PBX's own
    emergency numbers are looked up before or after the outbound rules.
    """

    length_counts_plus: bool = False
    strip_counts_plus: bool = True
    equals: Literal["first", "longest", "last"] = "first"
    own_list: Literal["before", "after"] = "before"


DOCUMENTED = Semantics()
#: Every way of counting a ``+``: what a number that begins with one can depend on.
PLUS_SEMANTICS = tuple(Semantics(length, strip) for length, strip in product((False, True), (True, False)))


@dataclass(frozen=True)
class Route:
    """One route of an outbound rule; ``ours`` if it leads to the tenant's Twilio trunk."""

    strip: int = 0
    prepend: str = ""
    caller_id: str = ""
    ours: bool = True
    enabled: bool = True

    def rewritten(self, number: str, semantics: Semantics = DOCUMENTED) -> str:
        """Return a number as it leaves: first digits stripped from the front, then others prepended."""
        if number.startswith("+") and not semantics.strip_counts_plus:
            return f"{self.prepend}+{number[1 + self.strip :]}" if self.strip else self.prepend + number
        return self.prepend + number[self.strip :]


@dataclass(frozen=True)
class Rule:
    """An outbound rule. An empty condition matches every call; all others must match together.

    ``managed`` says that the parameters name it; ``readable`` is false for conditions that make no sense.
    """

    name: str
    priority: int = 1000
    prefixes: tuple[str, ...] = ()
    lengths: tuple[int, ...] = ()
    callers: tuple[tuple[int, int], ...] = ()
    routes: tuple[Route, ...] = (Route(),)
    enabled: bool = True
    managed: bool = False
    readable: bool = True

    @property
    def route(self) -> Route | None:
        """The route that is tried first."""
        return next((route for route in self.routes if route.enabled), None)

    @property
    def conditions(self) -> tuple[object, ...]:
        """What decides which calls the rule applies to."""
        return (self.enabled, self.priority, {*self.prefixes}, {*self.lengths}, {*self.callers})

    def matches(self, number: str, caller: str | None, semantics: Semantics = DOCUMENTED) -> bool:
        """Return whether the rule applies to a number; ``None`` is a caller that no rule names."""
        return (
            self.enabled
            and self.readable
            and self.counts(number, semantics)
            and self.begins(number) is not None
            and self.takes(caller)
        )

    def counts(self, number: str, semantics: Semantics = DOCUMENTED) -> bool:
        """Return whether a number has as many digits as the rule asks for."""
        plus = number.startswith("+") and not semantics.length_counts_plus
        return not self.lengths or len(number) - plus in self.lengths

    def begins(self, number: str) -> str | None:
        """Return the longest prefix of the rule that a number begins with; ``None`` without one."""
        if not self.prefixes:
            return ""
        return max((one for one in self.prefixes if number.startswith(one)), key=len, default=None)

    def takes(self, caller: str | None) -> bool:
        """Return whether the rule is for this extension."""
        if not self.callers:
            return True
        return (
            caller is not None and caller.isdecimal() and any(a <= int(caller) <= b for a, b in self.callers)
        )


@dataclass(frozen=True)
class E164Processing:
    """The tenant's "Process E.164 numbers": it runs before the rules."""

    enabled: bool = False
    country_code: str = ""
    area_code: str = ""
    national_code: str = ""
    international_code: str = ""
    prefix: str = ""
    drop_country: bool = True
    drop_area: bool = True

    def processed(self, number: str) -> str:
        """Return a dialled number as the rules see it: only a number that begins with ``+`` changes."""
        if not self.enabled or not number.startswith("+"):
            return number
        digits = number[1:]
        if self.country_code and digits.startswith(self.country_code):
            if self.drop_country:
                digits = digits.removeprefix(self.country_code)
                if self.drop_area and self.area_code:
                    digits = digits.removeprefix(self.area_code)
            return self.prefix + self.national_code + digits
        return self.prefix + self.international_code + digits


@dataclass(frozen=True)
class DialPlanInboundRule:
    """An inbound rule: its numbers, and what happens to calls in office hours, in words."""

    name: str
    dids: DidPool
    destination: str
    enabled: bool = True
    any_caller: bool = True
    ours: bool = True


@dataclass(frozen=True)
class DialPlan:
    """Everything that decides where a dialled number goes.

    ``own_list`` holds the prefixes of the PBX's own emergency numbers, ``None`` where they were not read;
    ``version`` is the PBX's; ``time_zone`` the tenant's.
    """

    rules: tuple[Rule, ...]
    country: str | None = None
    area_code: str | None = None
    dids: DidPool | None = None
    inbound: tuple[DialPlanInboundRule, ...] = ()
    e164: E164Processing = field(default_factory=E164Processing)
    own_list: tuple[str, ...] | None = None
    version: str | None = None
    time_zone: str | None = None
    examples: tuple[tuple[str, str], ...] = ()

    @cached_property
    def index(self) -> RuleIndex:
        """The rules, found by number and caller."""
        return RuleIndex(self.rules)


class CallOutcome(StrEnum):
    """What happens to a dialled number."""

    SENT = "sent"
    EMERGENCY = "emergency"
    REFUSED = "refused"  # sent, and Twilio does not accept it as documented
    NONE = "none"  # no rule: nothing leaves the PBX
    ELSEWHERE = "elsewhere"  # by another trunk
    NO_ROUTE = "no route"


@dataclass(frozen=True)
class Decision:
    """One possible route of a number: the rule that is used and what it sends."""

    rule: Rule | None
    processed: str
    sent: str | None
    outcome: CallOutcome
    reason: str = ""
    by_own_list: bool = False

    @property
    def result(self) -> str:
        """As examples of the parameters have it: ``+…``, ``none`` or ``emergency``."""
        if self.outcome in (CallOutcome.NONE, CallOutcome.NO_ROUTE):
            return "none"
        return "emergency" if self.outcome is CallOutcome.EMERGENCY else self.sent or ""


@dataclass(frozen=True)
class Call:
    """A dialled number explained: the documented decision, and every other possible one."""

    dialled: str
    caller: str | None
    country: str | None
    decision: Decision
    ties: tuple[str, ...] = ()
    others: tuple[Decision, ...] = ()

    @property
    def kind(self) -> str:
        """What kind of number was dialled, in a word or two."""
        return numbers.kind(self.dialled, self.decision.sent, self.country)

    @property
    def verdict(self) -> str:
        """Where the number goes, in one sentence."""
        words = _sentence(self.decision)
        if self.ties:
            words += f" Another rule has the same priority ({', '.join(self.ties)}): the PBX may use either."
        elif self.others:
            others = " or ".join(sorted({_short(other) for other in self.others}))
            words += f" PortSIP does not document this fully; also possible: {others}."
        return words


def choose(
    rules: Sequence[Rule], number: str, caller: str | None, semantics: Semantics = DOCUMENTED
) -> tuple[Rule | None, tuple[Rule, ...]]:
    """Return the rule that is used for a number, and all rules of its priority that match."""
    matching = [rule for rule in rules if rule.matches(number, caller, semantics)]
    if not matching:
        return None, ()
    best = min(rule.priority for rule in matching)
    equal = tuple(rule for rule in matching if rule.priority == best)
    if semantics.equals == "longest":
        return max(equal, key=lambda rule: len(rule.begins(number) or "")), equal
    return equal[-1 if semantics.equals == "last" else 0], equal


def decide(
    plan: DialPlan, dialled: str, caller: str | None = None, semantics: Semantics = DOCUMENTED
) -> Decision:
    """Return what happens to a dialled number under one setting of what is not documented."""
    return next(_decisions(plan, dialled, caller, semantics))


def possible(plan: DialPlan, dialled: str, caller: str | None = None) -> tuple[Decision, ...]:
    """Return every decision that is possible: the documented one first, then those that differ from it.

    Rules that tie count as equally possible.
    """
    processed = plan.e164.processed(dialled)
    settings = PLUS_SEMANTICS if processed.startswith("+") else (DOCUMENTED,)
    found: dict[Decision, None] = {}
    for semantics in settings:
        found.update(dict.fromkeys(_decisions(plan, dialled, caller, semantics)))
    if plan.own_list and any(dialled.startswith(prefix) for prefix in plan.own_list):
        found.update(dict.fromkeys(_decisions(plan, dialled, caller, replace(DOCUMENTED, own_list="after"))))
    return tuple(found)


def explain(plan: DialPlan, dialled: str, caller: str | None = None) -> Call:
    """Explain one dialled number."""
    first, *others = possible(plan, dialled, caller)
    _, equal = choose(plan.index.candidates(first.processed, caller), first.processed, caller)
    ties = tuple(
        rule.name
        for rule in equal
        if first.rule and rule.name != first.rule.name and _way(rule, first) != _way(first.rule, first)
    )
    differing = tuple(one for one in others if one.result != first.result or one.outcome != first.outcome)
    return Call(dialled, caller, plan.country, first, () if first.by_own_list else ties, differing)


def ring(plan: DialPlan, number: str) -> str:
    """Return what happens to a call from outside to a number (+E.164), in one sentence."""
    if plan.dids is not None and number not in plan.dids:
        return "Not one of the tenant's numbers: the PBX refuses the call."
    for rule in plan.inbound:
        if rule.enabled and rule.ours and rule.any_caller and number in rule.dids:
            return f"Rule {rule.name}: {rule.destination}."
    return "No enabled inbound rule of the trunk matches, so the call rings nowhere."


def _decisions(plan: DialPlan, dialled: str, caller: str | None, semantics: Semantics) -> Iterator[Decision]:
    """The decision of one setting first, then those of rules that tie with it."""
    processed = plan.e164.processed(dialled)
    in_list = any(dialled.startswith(prefix) for prefix in plan.own_list or ())
    if in_list and semantics.own_list == "before":
        yield Decision(None, processed, dialled, CallOutcome.EMERGENCY, "the PBX's own emergency list", True)
        return
    rules = plan.index.candidates(processed, caller)
    chosen, equal = choose(rules, processed, caller, semantics)
    if chosen is None:
        if in_list:
            yield Decision(
                None, processed, dialled, CallOutcome.EMERGENCY, "the PBX's own emergency list", True
            )
        else:
            yield Decision(None, processed, None, CallOutcome.NONE)
        return
    yield _by(plan, chosen, dialled, processed, semantics)
    for rule in equal:
        if rule is not chosen:
            yield _by(plan, rule, dialled, processed, semantics)


def _by(plan: DialPlan, rule: Rule, dialled: str, processed: str, semantics: Semantics) -> Decision:
    route = rule.route
    if route is None:
        return Decision(rule, processed, None, CallOutcome.NO_ROUTE)
    sent = route.rewritten(processed, semantics)
    if dialled in country_of(plan.country).emergency:
        accepted, reason = numbers.emergency_accepted(dialled, sent, plan.country, ours=route.ours)
        outcome = CallOutcome.EMERGENCY if accepted else CallOutcome.REFUSED
        return Decision(rule, processed, sent, outcome, reason)
    if not route.ours:
        return Decision(rule, processed, sent, CallOutcome.ELSEWHERE)
    if reason := numbers.refusal(sent):
        return Decision(rule, processed, sent, CallOutcome.REFUSED, reason)
    return Decision(rule, processed, sent, CallOutcome.SENT, numbers.doubt(sent))


def _way(rule: Rule, decision: Decision) -> tuple[str | None, bool | None, str | None]:
    route = rule.route
    if route is None:
        return None, None, None
    return route.rewritten(decision.processed), route.ours, route.caller_id


def _sentence(decision: Decision) -> str:
    """A decision as a sentence. Statements about emergency calls never promise anything."""
    rule, sent, outcome = decision.rule, decision.sent, decision.outcome
    if decision.by_own_list:
        return "It is in the PBX's own emergency list; the runbook does not know where that list sends it."
    if rule is None:
        return "No rule matches: nothing leaves the PBX."
    if outcome is CallOutcome.NO_ROUTE:
        return f"Rule {rule.name} has no enabled route: the call fails."
    by = _caller_id(rule)
    if outcome is CallOutcome.ELSEWHERE:
        return f"Leaves as {sent} through another trunk."
    if outcome is CallOutcome.EMERGENCY:
        return f"Would be sent as {sent}{by}; there is no guarantee that the call is answered."
    if outcome is CallOutcome.REFUSED:
        return f"Would be sent as {sent}: {decision.reason}."
    return f"Sent as {sent}{by}" + (f" ({decision.reason})." if decision.reason else ".")


def _caller_id(rule: Rule) -> str:
    route = rule.route
    return f", caller id {route.caller_id}" if route and route.caller_id else ""


def _short(decision: Decision) -> str:
    return decision.sent if decision.sent and decision.outcome is not CallOutcome.NONE else "no rule"


_ENTRY = re.compile(r"(\d+)(?:\s*-\s*(\d+))?", re.ASCII)


def split_entries(text: str | None) -> tuple[str, ...]:
    """Return the entries of a list joined by semicolons."""
    return tuple(one.strip() for one in (text or "").split(";") if one.strip())


def ranges(text: str | None) -> tuple[tuple[int, int], ...]:
    """Return extensions and ranges of them as pairs of first and last.

    Raises ``ValueError`` for what is neither.
    """
    found = []
    for entry in split_entries(text):
        match = _ENTRY.fullmatch(entry)
        if match is None:
            raise ValueError("neither an extension nor a range of extensions")
        found.append((int(match[1]), int(match[2] or match[1])))
    return tuple(found)
