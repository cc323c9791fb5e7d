"""Where a dialled number goes: PortSIP's documented figures, and what holds for all rules."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runbook_lib.dialling.evaluator import (
    DOCUMENTED,
    PLUS_SEMANTICS,
    CallOutcome,
    DialPlan,
    DialPlanInboundRule,
    E164Processing,
    Route,
    Rule,
    Semantics,
    choose,
    decide,
    explain,
    possible,
    ring,
)
from runbook_lib.did_pool import DidPool

US = E164Processing(True, country_code="1", area_code="212", national_code="1", international_code="011")


def rule(name: str = "R", strip: int = 0, prepend: str = "", **fields: object) -> Rule:
    return Rule(name, routes=(Route(strip, prepend),), **fields)


@pytest.mark.parametrize(
    "the_rule, dialled, caller, sent",
    [
        # "Strip precedes prepend": the page's own figure.
        (rule(strip=2, prepend="+44"), "002345", None, "+442345"),
        (rule(prefixes=("00", "123")), "1234567", None, "1234567"),
        (rule(prefixes=("00", "123")), "0123", None, None),
        (rule(lengths=(8, 10, 12)), "12345678", None, "12345678"),
        (rule(lengths=(8, 10, 12)), "123456789", None, None),
        # Twilio's figures on PortSIP's page: 10 digits as they are, or with a 1 in front.
        (rule(lengths=(10,)), "2025550123", None, "2025550123"),
        (rule(lengths=(10,), prepend="1"), "2025550123", None, "12025550123"),
        (rule(callers=((100, 200), (305, 305))), "0", "305", "0"),
        (rule(callers=((100, 200), (305, 305))), "0", "201", None),
        (rule(callers=((100, 200),)), "0", None, None),
        # All conditions together; a rule that is off matches nothing.
        (rule(prefixes=("0",), lengths=(3,)), "0301", None, None),
        (rule(prefixes=("0",), enabled=False), "0301", None, None),
        (rule(prefixes=("+",)), "+12025550123", None, "+12025550123"),
        (rule(prefixes=("*",), strip=1), "*97", None, "97"),
    ],
)
def test_documented_cases(the_rule: Rule, dialled: str, caller: str | None, sent: str | None) -> None:
    assert decide(DialPlan((the_rule,)), dialled, caller).sent == sent


@pytest.mark.parametrize(
    "processing, dialled, seen",
    [
        (E164Processing(False, country_code="1"), "+12125550100", "+12125550100"),
        (US, "2125550100", "2125550100"),
        (US, "+12125550100", "15550100"),
        (US, "+12025550100", "12025550100"),
        (US, "+442079460000", "011442079460000"),
        (
            E164Processing(True, country_code="1", prefix="9", drop_country=False),
            "+12025550100",
            "912025550100",
        ),
    ],
)
def test_e164_processing_runs_first(processing: E164Processing, dialled: str, seen: str) -> None:
    assert processing.processed(dialled) == seen
    plan = DialPlan((rule(prefixes=("+",)),), e164=processing)
    assert (decide(plan, dialled).rule is None) == (not seen.startswith("+"))


def test_the_lowest_priority_number_wins_and_equal_ones_are_all_possible() -> None:
    long, short = rule("long", 4, "+", prefixes=("0011",)), rule("short", 1, "+61", prefixes=("0",))
    early = rule("early", 4, "+", prefixes=("0011",), priority=1)
    assert decide(DialPlan((short, early)), "001144").sent == "+44"
    equals = {name: decide(DialPlan((short, long)), "001144", None, Semantics(equals=name)).rule.name
              for name in ("first", "longest", "last")}  # fmt: skip
    assert equals == {"first": "short", "longest": "long", "last": "long"}
    call = explain(DialPlan((short, long)), "0011442079460000")
    assert call.ties == ("long",) and {
        one.sent for one in possible(DialPlan((short, long)), call.dialled)
    } == {
        "+011442079460000".replace("+", "+61"),
        "+442079460000",
    }


def test_what_depends_on_how_a_plus_is_counted_is_said() -> None:
    plan = DialPlan((rule(lengths=(12,)),))
    assert explain(plan, "+12025550123").decision.outcome is CallOutcome.NONE
    assert [one.sent for one in explain(plan, "+12025550123").others] == ["+12025550123"]


def test_the_pbxs_own_emergency_list_may_come_before_or_after() -> None:
    plan = DialPlan((rule(strip=1, prepend="+61", prefixes=("0",)),), country="AU", own_list=("000",))
    before, after = possible(plan, "000")
    assert before.by_own_list and after.outcome is CallOutcome.REFUSED and after.sent == "+6100"


@pytest.mark.parametrize(
    "country, dialled, the_rule, outcome",
    [
        ("DE", "112", rule(lengths=(3,)), CallOutcome.EMERGENCY),
        ("AU", "000", rule(strip=1, prepend="+61", prefixes=("0",)), CallOutcome.REFUSED),
        ("FR", "15", rule(lengths=(2,)), CallOutcome.REFUSED),
        ("FR", "15", rule(lengths=(2,), prepend="+33"), CallOutcome.EMERGENCY),
        ("JP", "119", rule(lengths=(3,)), CallOutcome.REFUSED),
        ("DE", "112", Rule("other", routes=(Route(ours=False),)), CallOutcome.EMERGENCY),
        ("GB", "02079460000", rule(strip=1, prepend="+44"), CallOutcome.SENT),
        ("GB", "02079460000", rule(prepend="+44"), CallOutcome.REFUSED),
        ("GB", "02079460000", rule(strip=1), CallOutcome.REFUSED),
        ("GB", "0033142685300", rule(prepend="+"), CallOutcome.REFUSED),
        ("IT", "0669812345", rule(prepend="+39"), CallOutcome.SENT),
        ("US", "2025550123", rule(), CallOutcome.REFUSED),
        ("US", "2025550123", Rule("other", routes=(Route(ours=False),)), CallOutcome.ELSEWHERE),
        ("US", "2025550123", Rule("no route", routes=(Route(enabled=False),)), CallOutcome.NO_ROUTE),
    ],
)
def test_what_twilio_accepts(country: str, dialled: str, the_rule: Rule, outcome: CallOutcome) -> None:
    assert decide(DialPlan((the_rule,), country=country), dialled).outcome is outcome


def test_a_call_from_outside() -> None:
    pool = DidPool.parse("49301234100-49301234299")
    plan = DialPlan((), dids=pool, inbound=(DialPlanInboundRule("Block", pool, "rings 100-299"),))
    assert "rings 100-299" in ring(plan, "+49301234100")
    assert "Block" not in ring(plan, "+49301234300")
    assert "nowhere" in ring(DialPlan((), dids=pool), "+49301234100")


_PREFIX = st.sampled_from(["", "0", "00", "0011", "1", "+", "+1", "*", "9"])
_RULES = st.lists(
    st.builds(
        lambda prefixes, lengths, priority, strip, prepend, callers, enabled: Rule(
            f"{prefixes}{lengths}{priority}{strip}{prepend}{callers}",
            priority,
            tuple(one for one in prefixes if one),
            tuple(lengths),
            callers,
            (Route(strip, prepend),),
            enabled,
        ),
        st.lists(_PREFIX, max_size=3),
        st.lists(st.integers(1, 14), max_size=3),
        st.integers(1, 3),
        st.integers(0, 9),
        st.sampled_from(["", "+", "+1", "00"]),
        st.sampled_from([(), ((100, 199),), ((150, 300),)]),
        st.booleans(),
    ),
    max_size=6,
)
_DIALLED = st.from_regex(r"\A[+*]?(0011|00|0|1|9)?[0-9]{0,12}#?\Z").filter(bool)


@settings(max_examples=400, deadline=None)
@given(_RULES, _DIALLED, st.sampled_from([None, "101", "160", "999"]), st.sampled_from(PLUS_SEMANTICS))
def test_what_holds_for_all_rules(
    rules: list[Rule], dialled: str, caller: str | None, semantics: Semantics
) -> None:
    """The rule that is used matches and none of a lower number does; what is sent is what it makes."""
    used, equal = choose(rules, dialled, caller, semantics)
    matching = [one for one in rules if one.matches(dialled, caller, semantics)]
    assert (used is None) == (not matching)
    if used is None:
        return
    assert used in equal and all(one.priority == used.priority for one in equal)
    assert used.priority == min(one.priority for one in matching)
    # A rule that is off, or that comes after, changes nothing.
    assert choose([one for one in rules if one.enabled], dialled, caller, semantics)[0] == used
    later = [one for one in rules if one.priority <= used.priority]
    assert choose(later, dialled, caller, semantics)[0] == used
    sent = decide(DialPlan(tuple(rules)), dialled, caller, semantics).sent
    assert sent == used.routes[0].rewritten(dialled, semantics) and sent.startswith(used.routes[0].prepend)
    # The documented decision comes first among those that are possible.
    assert possible(DialPlan(tuple(rules)), dialled, caller)[0] == decide(
        DialPlan(tuple(rules)), dialled, caller, DOCUMENTED
    )


@pytest.mark.parametrize(
    "sent, meant",
    [("+39669812345", "390669812345"), ("+789161234567", "79161234567"), ("+43660", "")],
)
def test_a_number_that_is_possible_but_in_no_plan_names_the_one_that_is_meant(sent: str, meant: str) -> None:
    decision = decide(DialPlan((Rule("R"),)), sent)
    assert decision.reason and meant in decision.reason


@pytest.mark.parametrize("sent", ["+112025550100", "+4903012345678", "+55011987654321", "+5215541628900"])
def test_a_number_with_digits_that_are_dialled_only_at_home_is_refused(sent: str) -> None:
    """phonenumbers drops some of them without a word, and what is sent still has them."""
    assert decide(DialPlan((Rule("R"),)), sent).outcome is CallOutcome.REFUSED
