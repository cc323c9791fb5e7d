"""What is wrong with a tenant's outbound rules as a whole.

What ``conflicts`` returns stops a run: a write of the runbook's own would cause it, whatever the undocumented
behaviour of the PBX is. Every other finding is a caution, which stops nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ..did_pool import DidPool
from . import numbers
from .countries import Country, country_of, example
from .evaluator import Call, CallOutcome, Decision, DialPlan, Route, Rule, explain, possible
from .finding import Finding, Trouble
from .ties import FILLINGS, ties

#: A lone + as a prefix works from this version of the PBX on.
LONE_PLUS_SINCE = (22, 3, 22)
#: A country to call abroad, and another one for those who live there.
_ABROAD = ("CH", "NZ")


@dataclass(frozen=True)
class Way:
    """One way of dialling in a country: its name, an example, and the number that is meant.

    ``needed`` is false for a second way to dial the same number: no rule has to match it.
    """

    name: str
    dialled: str
    meant: str
    needed: bool = True


def conflicts(before: DialPlan, after: DialPlan) -> list[Finding]:
    """Return what the runbook's own writes must not cause: ties, emergency numbers diverted.

    ``before`` is the present dial plan in the PBX, ``after`` the one that the runbook would leave.
    """
    changed = _changed(before, after)
    foreign = {rule.name for rule in after.rules if not rule.managed}
    as_it_was = {rule.name: rule for rule in before.rules}

    def is_new(first: Rule, second: Rule) -> bool:
        names = {first.name, second.name}
        if not changed & names or foreign & names:
            return False
        earlier = [as_it_was[name] for name in (first.name, second.name) if name in as_it_was]
        return not [one for one in ties(earlier) if one.trouble is Trouble.TIE]

    found = [tie for tie in ties(after.rules, is_new) if tie.trouble is Trouble.TIE]
    return [*found, *_emergency_taken(before, after)]


def _changed(before: DialPlan, after: DialPlan) -> set[str]:
    """The names of the rules that the runbook would make or change."""
    as_it_was = {rule.name: rule for rule in before.rules}
    return {rule.name for rule in after.rules if rule.managed and as_it_was.get(rule.name) != rule}


def moved_emergency(before: DialPlan, after: DialPlan) -> dict[str, list[str]]:
    """Return the emergency numbers that take another route today, by our own rule that would move them.

    That is our rule that would match the number, or our rule that matches it today and, once changed,
    would leave it to whatever comes next.
    """
    found: dict[str, list[str]] = {}
    changed, those_who_call = _changed(before, after), callers(after.rules)
    for number in country_of(after.country).emergency:
        for caller in those_who_call:
            now = {
                one.rule.name if one.rule else ""
                for one in possible(before, number, caller)
                if one.outcome is not CallOutcome.NONE
            }
            next_ones = [one.rule for one in possible(after, number, caller) if one.rule]
            then = {rule.name for rule in next_ones if rule.managed}
            left = (now & changed) - {rule.name for rule in next_ones}
            for name in sorted((then - now) | left if now else ()):
                if number not in found.setdefault(name, []):
                    found[name].append(number)
    return found


def cautions(plan: DialPlan) -> list[Finding]:
    """Return cautions about a dial plan; they stop nothing."""
    return [
        *ties(plan.rules),
        *_of_rules(plan),
        *_of_processing(plan),
        *(_of_country(plan) if plan.country else _without_country(plan)),
        *failing_examples(plan),
    ]


def failing_examples(plan: DialPlan) -> list[Finding]:
    """Return the examples of the parameters that fail."""
    found = []
    for dialled, expected in plan.examples:
        call = explain(plan, dialled)
        if call.decision.result != expected:
            what = f"Example {dialled}: expected {expected}, but: {call.verdict.removesuffix('.')}"
            found.append(_about(Trouble.EXAMPLE, what, "Correct the rules or the example", call))
    return found


def callers(rules: Sequence[Rule]) -> tuple[str | None, ...]:
    """Return one caller of each kind that the rules tell apart; ``None`` is one that no rule names."""
    ranges = sorted({one for rule in rules for one in rule.callers})
    ends = sorted({end for first, last in ranges for end in (first, last + 1)})
    named, reached, following = [], -1, 0
    for end in ends:
        while following < len(ranges) and ranges[following][0] <= end:
            reached = max(reached, ranges[following][1])
            following += 1
        if end <= reached:
            named.append(str(end))
    return (None, *named)


def ways(country: Country, area_code: str | None) -> Iterator[Way]:
    """Yield how people dial each kind of number from a country, with examples out of ``phonenumbers``."""
    region = country.region
    code = f"+{country.code}"
    for kind in ("fixed", "mobile", "toll-free"):
        meant = example(region, kind)
        if meant is None:
            continue
        digits = meant.removeprefix(code)
        direct = any(digits.startswith(one.prefixes) and len(digits) in one.lengths for one in country.direct)
        yield Way(kind, digits if direct else country.national_prefix + digits, meant)
        if direct and country.national_prefix:
            prefix = country.national_prefix
            yield Way(f"{kind} with {prefix}", prefix + digits, meant, needed=False)
        yield Way(f"{kind} with +", meant, meant)
    if area_code and country.local_begins:
        for total in country.local_total[-1:]:
            local = "2345678901"[: total - len(area_code)]
            yield Way("local", local, f"{code}{area_code}{local}")
    abroad = example(_ABROAD[region == _ABROAD[0]], "fixed")
    for prefix in country.international[:1]:
        carrier = "21" if country.carrier_digits else ""
        yield Way("abroad", f"{prefix}{carrier}{(abroad or '')[1:]}", abroad or "")


def _emergency_taken(before: DialPlan, after: DialPlan) -> list[Finding]:
    """The emergency numbers that would be sent as something else once the runbook has written its rules.

    By one of these rules, or by one that comes next because of them.
    """
    found: dict[tuple[str, str], Finding] = {}
    those_who_call = callers(after.rules)
    for number in country_of(after.country).emergency:
        for caller in those_who_call:
            now = {
                lost.rule.name for lost in possible(before, number, caller) if lost.rule and _is_lost(lost)
            }
            for decision in possible(after, number, caller):
                rule = decision.rule
                if rule is None or not _is_lost(decision) or rule.name in now:
                    continue
                found.setdefault((rule.name, number), _lost(decision, number, rule))
    return list(found.values())


def _is_lost(decision: Decision) -> bool:
    return decision.rule is not None and decision.outcome in (CallOutcome.REFUSED, CallOutcome.NO_ROUTE)


def _lost(decision: Decision, number: str, rule: Rule) -> Finding:
    sent = decision.sent or "nothing"
    return Finding(
        Trouble.EMERGENCY_TAKEN,
        f"Rule {rule.name} matches the emergency number {number} and would send it as {sent}"
        + (f": {decision.reason}" if decision.reason else ""),
        "Set number_length so that this number is excluded, or let a rule with a lower priority "
        "value match it",
        (rule.name,),
        number,
    )


def _of_rules(plan: DialPlan) -> Iterator[Finding]:
    """What each rule of the trunk shows by itself."""
    processed = plan.e164.enabled
    for rule in plan.rules:
        route = rule.route
        if not rule.readable:
            yield Finding(
                Trouble.UNREADABLE,
                f"Rule {rule.name}: its conditions cannot be read, so it is ignored here",
                "Check it in the PBX",
                (rule.name,),
            )
        if not rule.enabled or route is None or not route.ours:
            continue
        if not processed:
            yield from _not_e164(rule, country_of(plan.country))
        if rule.prefixes and "+" in rule.prefixes and _version(plan.version) < LONE_PLUS_SINCE:
            yield Finding(
                Trouble.LONE_PLUS,
                f"Rule {rule.name}: PBX {plan.version} does not match a lone + (supported since 22.3.22)",
                'Write number_prefix: "+1;+2;+3;+4;+5;+6;+7;+8;+9"',
                (rule.name,),
                "+",
            )
        if route.caller_id and numbers.is_toll_free(_plus(route.caller_id)):
            yield Finding(
                Trouble.TOLL_FREE_CALLER,
                f"Rule {rule.name}: its caller id {route.caller_id} is toll-free; many countries refuse that",
                "Use another of the tenant's numbers",
                (rule.name,),
            )


def _not_e164(rule: Rule, country: Country) -> Iterator[Finding]:
    """Where a rule's prefix, strip and prepend alone show that what it sends is not +E.164.

    What stands in front of the number that is left has to be the + and the first digits of a country code.
    """
    route = rule.route
    assert route is not None
    for string, sent, reason in _refused(
        rule.prefixes, rule.lengths, route.strip, route.prepend, country.emergency
    ):
        yield Finding(
            Trouble.NOT_E164,
            f"Rule {rule.name} sends {string} as {sent}: {reason}",
            _cure(string, country),
            (rule.name,),
            string,
        )


@lru_cache(maxsize=4096)
def _refused(
    prefixes: tuple[str, ...], lengths: tuple[int, ...], strip: int, prepend: str, emergency: tuple[str, ...]
) -> tuple[tuple[str, str, str], ...]:
    """The first string that cannot come out as +E.164: what is sent for it, and why that is refused."""
    route = Route(strip, prepend)
    for prefix in prefixes or ("",):
        string = _string_of(prefix, lengths)
        if not string or len(string) < 4 or string in emergency:
            continue  # short numbers are services; emergency numbers are judged by themselves
        sent = route.rewritten(string)
        known = route.rewritten(prefix) if len(prefix) >= strip else prepend
        reason = _refused_front(sent, known) or _refused_lengths(route, prefix, lengths, known)
        if reason:
            return ((string, sent, reason),)
    return ()


def sample_of(rule: Rule) -> str:
    """Return a number that a rule is for; empty for a rule with no condition except its callers."""
    return _string_of(rule.prefixes[0] if rule.prefixes else "", rule.lengths)


def _string_of(prefix: str, lengths: tuple[int, ...]) -> str:
    if not prefix and not lengths:
        return ""
    length = min(lengths, default=max(len(prefix) + 9, 11)) + prefix.startswith("+")
    return (prefix + FILLINGS[0])[: max(length, len(prefix))]


def _refused_front(sent: str, known: str) -> str:
    """Why a number of which only the front is known cannot be +E.164; empty if it can."""
    if not sent.startswith("+") or sent.startswith("+0"):
        return numbers.refusal(sent)
    # Only what the rule itself prepends counts, not the digits of the example.
    if len(known) > 3 and numbers.has_national_zero(sent) and known.rstrip("0") != known:
        return numbers.refusal(sent)
    return ""


def _refused_lengths(route: Route, prefix: str, lengths: tuple[int, ...], known: str) -> str:
    """Why a number of none of the rule's lengths can be one of the country that its front names."""
    first = ""
    for length in lengths:
        sent = route.rewritten(_string_of(prefix, (length,)))
        reason = numbers.refusal(sent) if numbers.has_code_of(sent, known) else ""
        if not reason:
            return ""
        first = first or reason
    return first


def _cure(dialled: str, country: Country) -> str:
    """What a rule has to do to a number that was dialled in a country."""
    if dialled.startswith("+"):
        return "Strip nothing and prepend nothing: what is dialled is +E.164 already"
    for prefix in country.international:
        if dialled.startswith(prefix):
            return (
                f"Strip the {len(prefix) + country.carrier_digits} digits dialled for calls "
                'abroad, prepend "+"'
            )
    prefix = country.national_prefix
    if prefix and dialled.startswith(prefix):
        return f'Strip the {prefix} dialled in front of the national number, prepend "+{country.code}"'
    code = f' ("+{country.code}")' if country.code else ""
    return f"Begin prepend with + and the country code{code}, and strip the prefix that is dialled"


def _of_processing(plan: DialPlan) -> Iterator[Finding]:
    """What the tenant's E.164 processing and time zone do to the rules."""
    processing, country = plan.e164, country_of(plan.country)
    if processing.enabled:
        yield Finding(
            Trouble.PLUS_TAKEN,
            "The tenant's E.164 processing is on: it changes the + before the rules see the number"
            f" (+12025550100 becomes {processing.processed('+12025550100')})",
            "Rules for numbers with + are never used: switch this off, or write rules for its result",
        )
        if country.code and processing.country_code and processing.country_code != country.code:
            yield Finding(
                Trouble.E164_COUNTRY,
                f"The tenant's E.164 processing is for the country code {processing.country_code},"
                f" and tenant.country is {country.region} ({country.code})",
                "Choose the tenant's country there",
            )
        if country.international and processing.international_code not in country.international:
            code = processing.international_code or "empty"
            yield Finding(
                Trouble.E164_COUNTRY,
                f"The tenant's international code is {code}, but people in {country.region} dial"
                f" {', '.join(country.international)}: such calls are not barred as international",
                "Correct it in the tenant's E.164 settings",
            )
    if country.region and plan.time_zone and not _is_time_of(plan.time_zone, country.region):
        yield Finding(
            Trouble.TIME_ZONE,
            f"The tenant's time zone is {plan.time_zone}, which is not one of {country.region}:"
            " its rules' office hours and holidays follow that zone",
            "If that is not intended, correct it in the tenant's settings",
        )


def _of_country(plan: DialPlan) -> Iterator[Finding]:
    """The result of each way of dialling in the country."""
    country = country_of(plan.country)
    missing = []
    for way in ways(country, plan.area_code):
        call = explain(plan, way.dialled)
        decision = call.decision
        rule = decision.rule
        if decision.outcome in (CallOutcome.NONE, CallOutcome.NO_ROUTE):
            if way.needed:
                missing.append(f"{way.name} ({way.dialled})")
        elif rule is None or decision.outcome is CallOutcome.ELSEWHERE:
            continue
        elif decision.outcome is CallOutcome.REFUSED:
            what = f"Rule {rule.name} sends {way.dialled} ({way.name}) as {decision.sent}: {decision.reason}"
            yield _about(Trouble.NOT_E164, what, _cure(way.dialled, country), call)
        elif decision.sent != way.meant:
            valid = numbers.is_valid(decision.sent or "")
            trouble = Trouble.WRONG_NUMBER if valid else Trouble.NOT_VALID
            what = f"Rule {rule.name} sends {way.dialled} ({way.name}) as {decision.sent}, not as {way.meant}"
            if decision.reason:
                what += f": {decision.reason}"
            yield _about(trouble, what, "Correct what the rule strips and prepends", call)
    if missing:
        what = f"No rule in {country.region} for: {', '.join(missing)}"
        yield Finding(Trouble.NO_RULE, what, "Add rules, or accept that such calls do not leave the PBX")
    yield from _of_emergency(plan, country)


def _without_country(plan: DialPlan) -> Iterator[Finding]:
    """The caution if the parameters do not name a country, which is never derived."""
    if not any(rule.route and rule.route.ours for rule in plan.rules):
        return
    region = _region_of(plan.dids) if plan.dids is not None else None
    cure = "Set it"
    if region:
        cure = (
            f"The tenant's numbers are in {region}: if the tenant is located there, set "
            f"tenant.country: {region}"
        )
        supposed = replace(plan, country=region)
        yield from (
            finding
            for finding in _of_emergency(supposed, country_of(region))
            if finding.trouble is Trouble.EMERGENCY_TAKEN
        )
    yield Finding(
        Trouble.NO_COUNTRY,
        "tenant.country is not set, so it is unknown how people dial, including in an emergency",
        cure,
    )


def _region_of(dids: DidPool) -> str | None:
    """The country that all numbers of a pool are of, judged by the ends of its entries."""
    ends = {end.strip() for entry in dids.entries for end in entry.split("-")}
    regions = {numbers.region_of(f"+{end}") for end in ends}
    return regions.pop() if len(regions) == 1 else None


def _of_emergency(plan: DialPlan, country: Country) -> Iterator[Finding]:
    nothing, elsewhere = [], []
    for number in country.emergency:
        for caller in callers(plan.rules):
            decision, *others = possible(plan, number, caller)
            lost = next((one for one in (decision, *others) if _is_lost(one)), None)
            if lost is not None and lost.rule is not None:
                service = lost.sent == number or lost.sent == f"+{country.code}{number}"
                finding = _lost(lost, number, lost.rule)
                yield replace(finding, trouble=Trouble.NO_SERVICE if service else finding.trouble)
                break
            if decision.outcome is CallOutcome.NONE:
                nothing.append(number)
                break
            if decision.by_own_list:
                elsewhere.append(number)
                break
    if nothing:
        what = f"Emergency numbers of {country.region} that no rule matches: {', '.join(nothing)}"
        if plan.own_list is None:
            what += " (the PBX's own emergency list was not read)"
        if not country.emergency_service:
            what += f"; Twilio's trunks have no emergency service in {country.region}"
        yield Finding(
            Trouble.NO_RULE, what, "Make sure that such calls leave the PBX another way, and test it"
        )
    if elsewhere:
        what = f"Emergency numbers in the PBX's own list: {', '.join(elsewhere)}"
        yield Finding(
            Trouble.UNDOCUMENTED, what, "It is not known where that list sends them: make a test call"
        )


def _about(trouble: Trouble, what: str, cure: str, call: Call) -> Finding:
    rule = call.decision.rule
    return Finding(trouble, what, cure, (rule.name,) if rule else (), call.dialled)


def _version(text: str | None) -> tuple[int, ...]:
    """A version as numbers; one that is not known counts as new."""
    parts = (text or "").split(".")
    return tuple(map(int, parts)) if text and all(part.isdecimal() for part in parts) else (10**6,)


def _plus(number: str) -> str:
    return f"+{number.lstrip('+0')}"


@lru_cache(maxsize=512)
def _is_time_of(zone: str, region: str) -> bool:
    """Whether a time zone goes as one of a country's; true where that cannot be said."""
    from phonenumbers import parse
    from phonenumbers.timezone import time_zones_for_number

    number = example(region, "toll-free") or example(region, "mobile") or example(region, "fixed")
    known = time_zones_for_number(parse(number)) if number else ()
    offsets = _offsets(zone)
    theirs = [_offsets(one) for one in known if one != "Etc/Unknown"]
    return offsets is None or not theirs or offsets in theirs


def _offsets(zone: str) -> tuple[object, ...] | None:
    """How far a zone is from UTC in January and in July."""
    try:
        there = ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None
    return tuple(datetime(2026, month, 1, tzinfo=UTC).astimezone(there).utcoffset() for month in (1, 7))
