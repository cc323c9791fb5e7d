"""Rules that the PBX may use in either order.

Whether two tie is decided from their conditions; the example is a string that both of them match.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from .evaluator import DOCUMENTED, PLUS_SEMANTICS, Rule, Semantics
from .finding import Finding, Trouble
from .rule_index import RuleIndex

#: As many rules are named that tie with one and the same: hundreds would say no more.
MOST_TIES = 3
#: Two numbers that differ in every digit: rules that treat them alike treat all alike.
FILLINGS = ("234567890123456789", "987654321098765432")


def ties(rules: Sequence[Rule], wanted: Callable[[Rule, Rule], bool] | None = None) -> list[Finding]:
    """Return the pairs of rules that apply to one call with one priority and do different things to it.

    A tie that every setting of what is not documented has is a ``TIE``, another one ``UNDOCUMENTED``.
    Only pairs that are ``wanted``; of a rule that ties with very many, the first ones.
    """
    found: list[Finding] = []
    by_priority: dict[int, list[Rule]] = {}
    for rule in rules:
        by_priority.setdefault(rule.priority, []).append(rule)
    for equal in (group for group in by_priority.values() if len(group) > 1):
        for first, others in RuleIndex(equal).meeting():
            # Counted apart: what is only possible hides nothing that is sure.
            told: Counter[bool] = Counter()
            for second in others:
                if told[True] == MOST_TIES:
                    break
                if wanted is not None and not wanted(first, second):
                    continue
                always, string = _tie(first, second)
                if string is None or told[always] == MOST_TIES:
                    continue
                told[always] += 1
                is_last = told[always] == MOST_TIES
                found.append(_tied(first, second, string, always=always, last=is_last))
    return found


def _tied(first: Rule, second: Rule, string: str, *, always: bool, last: bool) -> Finding:
    what = f"Rules {first.name} and {second.name} both apply to {string} with priority {first.priority}"
    if always:
        what += ": the PBX may use either"
    else:
        what += ", if a + counts (or does not count) as a digit, which PortSIP does not document"
    if last:
        what += f" (no more than {MOST_TIES} such rules are listed for {first.name})"
    return Finding(
        Trouble.TIE if always else Trouble.UNDOCUMENTED,
        what,
        f"Give them different priorities: the lower one is used first ({_longer(first, second)})",
        (min(first.name, second.name), max(first.name, second.name)),
        string,
    )


def _tie(first: Rule, second: Rule) -> tuple[bool, str | None]:
    """Whether two rules of one priority tie under every setting, and a string for which they do."""
    caller = _common_caller(first, second)
    if caller == "" or first.route == second.route:
        return False, None
    sometimes = None
    for string in _common_strings(first, second):
        hits = [
            semantics
            for semantics in _settings(string)
            if first.matches(string, caller, semantics)
            and second.matches(string, caller, semantics)
            and _result(first, string, semantics) != _result(second, string, semantics)
        ]
        if len(hits) == len(_settings(string)):
            return True, string
        if hits and sometimes is None:
            sometimes = string
    return False, sometimes


def _settings(string: str) -> tuple[Semantics, ...]:
    return PLUS_SEMANTICS if string.startswith("+") else (DOCUMENTED,)


def _common_caller(first: Rule, second: Rule) -> str | None:
    """A caller for whom both rules are: ``None`` for anybody, empty if there is none."""
    if not first.callers or not second.callers:
        both = first.callers or second.callers
        return str(both[0][0]) if both else None
    for low, high in first.callers:
        for start, end in second.callers:
            if max(low, start) <= min(high, end):
                return str(max(low, start))
    return ""


def _common_strings(first: Rule, second: Rule) -> Iterator[str]:
    """Strings that both rules can apply to: for each pair of prefixes and each length, two that differ.

    Both rules see a string as a fixed front (the longer prefix) and a rest of any digits. What they send for
    two rests that differ in every digit is the same only if it is the same for all rests: each takes digits
    off the front and puts others there, nothing else.
    """
    # Where none is common to both, one may still count a + where the other does not.
    apart = bool(first.lengths and second.lengths) and not {*first.lengths} & {*second.lengths}
    if apart and (_without_plus(first) or _without_plus(second)):
        return
    fixed = {*first.lengths} & {*second.lengths} or {*first.lengths, *second.lengths}
    fronts: dict[str, None] = {}
    for one in first.prefixes or ("",):
        for other in second.prefixes or ("",):
            if one.startswith(other) or other.startswith(one):
                front = max(one, other, key=len)
                fronts[front] = None
                if not front:
                    fronts["+"] = None
    for front in fronts:
        plus = front.startswith("+")
        wanted = (
            sorted(fixed | {length - 1 for length in fixed if plus}) if fixed else [max(len(front) + 8, 11)]
        )
        for length in wanted:
            rest = length + plus - len(front)
            if rest >= 0:
                for filling in FILLINGS:
                    yield front + filling[:rest] if rest else front


def _without_plus(rule: Rule) -> bool:
    """Whether no number with a + can meet a rule."""
    return bool(rule.prefixes) and not any(prefix.startswith("+") for prefix in rule.prefixes)


def _result(rule: Rule, string: str, semantics: Semantics) -> tuple[object, ...]:
    route = rule.route
    if route is None:
        return (None,)
    return route.rewritten(string, semantics), route.ours, route.caller_id


def _longer(first: Rule, second: Rule) -> str:
    """Which of two rules should come first: the one that is about fewer numbers."""
    specific = min(
        (first, second),
        key=lambda rule: (-max(map(len, rule.prefixes), default=0), not rule.lengths),
    )
    return f"usually this should be the more specific one, {specific.name}"
