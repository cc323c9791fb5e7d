"""What is wrong with rules as a whole: named with the rule, one string and the cure, and nothing else."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import date
from itertools import product
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runbook_lib.dialling.countries import LINES, NOT_CHECKED, country_of
from runbook_lib.dialling.evaluator import (
    PLUS_SEMANTICS,
    DialPlan,
    E164Processing,
    Route,
    Rule,
    possible,
)
from runbook_lib.dialling.finding import Finding, Trouble
from runbook_lib.dialling.judgement import callers, cautions, conflicts, moved_emergency
from runbook_lib.dialling.presets import Wanted, preset_rules, problems
from runbook_lib.dialling.tables import sample_calls
from runbook_lib.dialling.ties import ties
from runbook_lib.did_pool import DidPool

#: Country, what is dialled abroad, the national prefix, an area code, and the country's own emergency number.
PLACES = {
    "GB": ("00", "0", "20", "999"),
    "DE": ("00", "0", "30", "112"),
    "AU": ("0011", "0", "2", "000"),
    "FR": ("00", "0", "1", "112"),
    "ZA": ("00", "0", "11", "112"),
}


COUNTRIES = (
    *("GB", "DE", "FR", "CH", "IT", "AU", "NZ", "JP"),
    *("SG", "IN", "BR", "MX", "ZA", "AE", "CA", "US"),
)


def rule(name: str, prefixes: str = "", lengths: str = "", strip: int = 0, prepend: str = "",
         priority: int = 1000, *, ours: bool = True, managed: bool = True) -> Rule:  # fmt: skip
    return Rule(
        name,
        priority,
        tuple(one for one in prefixes.split(";") if one),
        tuple(int(one) for one in lengths.split(";") if one),
        routes=(Route(strip, prepend, ours=ours),),
        managed=managed,
    )


def presets(country: str) -> tuple[Rule, ...]:
    facts = country_of(country)
    emergency = facts.emergency if facts.emergency_service else ()
    found = preset_rules(facts, Wanted(("plus", "international", "national"), emergency))
    return tuple(
        Rule(
            one.name,
            one.priority,
            one.prefixes,
            one.lengths,
            (),
            (Route(one.strip, one.prepend),),
            True,
            True,
        )
        for one in found
    )


def named(findings: list[Finding], trouble: Trouble, name: str) -> Finding:
    [finding, *_] = [one for one in findings if one.trouble is trouble and name in one.rules]
    assert finding.example and finding.cure and finding.example in str(finding)
    return finding


@pytest.mark.parametrize("country", PLACES)
@pytest.mark.parametrize(
    "wrong", ["no strip", "no prepend", "no plus", "abroad kept", "equal priorities", "emergency taken"]
)
def test_a_wrong_rule_is_named_before_anything_is_written(country: str, wrong: str) -> None:
    abroad, national, _, emergency = PLACES[country]
    code = country_of(country).code
    length = ";".join(str(len(national) + one) for one in country_of(country).lengths)
    good = {
        "abroad": rule("Abroad", abroad, "", len(abroad), "+", 10),
        "national": rule("National", national, length, len(national), f"+{code}", 20),
    }
    made = {
        "no strip": {"national": rule("National", national, length, 0, f"+{code}", 20)},
        "no prepend": {"national": rule("National", national, length, len(national), "", 20)},
        "no plus": {"national": rule("National", national, length, len(national), code, 20)},
        "abroad kept": {"abroad": rule("Abroad", abroad, "", 0, "+", 10)},
        "equal priorities": {"national": rule("National", national, "", len(national), f"+{code}", 10)},
        "emergency taken": {"national": rule("National", f"{national};1;9", "", 1, f"+{code}", 20)},
    }[wrong]
    fine = DialPlan(tuple(good.values()), country=country)
    plan = replace(fine, rules=tuple((good | made).values()))
    name = next(iter(made.values())).name
    trouble = {"equal priorities": Trouble.TIE, "emergency taken": Trouble.EMERGENCY_TAKEN}.get(
        wrong, Trouble.NOT_E164
    )
    assert {one.trouble for one in cautions(fine)} <= {Trouble.NO_RULE}
    named(cautions(plan), trouble, name)
    stopping = conflicts(DialPlan((), country=country), plan)
    if trouble is Trouble.NOT_E164:
        assert not stopping
    else:
        assert named(stopping, trouble, name)
    if wrong == "emergency taken":
        assert emergency in {one.example for one in stopping}
    # What stands already stops nothing, and is still shown.
    assert conflicts(plan, plan) == []


def test_australias_two_obvious_rules() -> None:
    plan = DialPlan(
        (rule("International", "0011", "", 4, "+"), rule("National", "0", "", 1, "+61")), country="AU"
    )
    found = conflicts(DialPlan((), country="AU"), plan)
    assert {(one.trouble, one.example) for one in found} >= {(Trouble.EMERGENCY_TAKEN, "000")}
    assert named(found, Trouble.TIE, "International").example.startswith("0011")
    # Without a country nothing stops, and the numbers' country lends its emergency numbers to a caution.
    unknown = replace(plan, country=None, dids=DidPool.parse("61291234567"))
    assert {one.trouble for one in conflicts(DialPlan(()), unknown)} == {Trouble.TIE}
    assert named(cautions(unknown), Trouble.EMERGENCY_TAKEN, "National").example == "000"


def test_a_foreign_rule_in_a_tie_is_a_caution() -> None:
    ours, foreign = rule("Ours", "0", "", 1, "+49"), rule("By hand", "00", "", 2, "+", managed=False)
    plan = DialPlan((foreign, ours))
    assert conflicts(DialPlan((foreign,)), plan) == []
    assert named(cautions(plan), Trouble.TIE, "By hand")


def test_a_tie_that_stands_already_does_not_stop_another_change_of_its_rules() -> None:
    first, second = rule("National", "0", "", 1, "+49"), rule("Abroad", "00", "", 2, "+")
    other_caller = replace(first, routes=(replace(first.routes[0], caller_id="+4930231250"),))
    before = DialPlan((first, second))
    assert conflicts(before, replace(before, rules=(other_caller, second))) == []
    assert named(cautions(before), Trouble.TIE, "National")


def test_a_tie_that_depends_on_how_a_plus_counts_is_a_caution() -> None:
    """The demo's tenant of before: 10 digits and a + that both have the default priority."""
    before = (
        rule("10 digits", "", "10", 0, "+1"),
        rule("11 digits", "1", "11", 0, "+"),
        rule("E.164", "+"),
    )
    assert conflicts(DialPlan(()), DialPlan(before)) == []
    assert {one.trouble for one in ties(before)} == {Trouble.UNDOCUMENTED}
    # With both lengths one string ties however it is counted.
    assert {one.trouble for one in ties((rule("both", "", "10;11", 0, "+1"), rule("E.164", "+")))} == {
        Trouble.TIE
    }


@pytest.mark.parametrize(
    "first, second, tied",
    [
        (rule("a", "0"), rule("b", "1"), False),
        (rule("a", "00", "", 2, "+"), rule("b", "0", "10"), True),
        (rule("a", "", "8"), rule("b", "", "9"), False),
        (rule("a", "1", "", 1, "+1"), rule("b", "1", "", 0, "+"), False),  # the same in other words
        (rule("a", "1", "", 2, "+12"), rule("b", "1", "", 0, "+"), True),  # only where a 2 follows
        (rule("a", "0", priority=1), rule("b", "0", priority=2), False),
        (
            replace(rule("a"), callers=((100, 199),)),
            replace(rule("b", "", "", 1), callers=((200, 299),)),
            False,
        ),
        (
            replace(rule("a"), callers=((100, 200),)),
            replace(rule("b", "", "", 1), callers=((200, 299),)),
            True,
        ),
        (rule("a", "0"), replace(rule("b", "0", "", 1), enabled=False), False),
        (rule("a", "0"), rule("b", "0", ours=False), True),
        (rule("a", "12345", "3"), rule("b", "1", "", 1), False),  # no number is shorter than its prefix
    ],
)
def test_whether_two_rules_tie(first: Rule, second: Rule, tied: bool) -> None:
    assert bool(ties((first, second))) is tied


_ANY = st.builds(
    lambda prefixes, lengths, strip, prepend: rule("x", prefixes, lengths, strip, prepend),
    st.sampled_from(["", "0", "00", "0;1", "01", "+", "+1", "+1;0"]),
    st.sampled_from(["", "2", "3", "2;3", "4"]),
    st.integers(0, 4),
    st.sampled_from(["", "+", "+1", "0", "1"]),
)
#: Every string of up to four characters that these rules tell apart.
_STRINGS = [
    sign + "".join(digits)
    for size in range(1, 5)
    for digits in product("0123", repeat=size)
    for sign in ("", "+")
]


@settings(max_examples=120, deadline=None)
@given(_ANY, _ANY)
def test_ties_are_decided_as_trying_every_string_would(one: Rule, other: Rule) -> None:
    first, second = replace(one, name="a"), replace(other, name="b")
    found = ties((first, second))
    if found:
        string = found[0].example
        assert any(
            first.matches(string, None, how)
            and second.matches(string, None, how)
            and first.routes[0].rewritten(string, how) != second.routes[0].rewritten(string, how)
            for how in PLUS_SEMANTICS
        )
    else:
        assert not [
            string
            for string in _STRINGS
            if first.matches(string, None)
            and second.matches(string, None)
            and first.routes[0].rewritten(string) != second.routes[0].rewritten(string)
        ]


def test_an_emergency_number_that_goes_another_way_today_needs_leave() -> None:
    ours = rule("Emergency", "112", "3", priority=1)
    landline = rule("Landline", "", "3", ours=False, managed=False)
    nothing = DialPlan((), country="DE")
    assert moved_emergency(nothing, replace(nothing, rules=(ours,))) == {}
    assert moved_emergency(replace(nothing, rules=(landline,)), replace(nothing, rules=(landline, ours))) == {
        "Emergency": ["112"]
    }
    listed = replace(nothing, own_list=("112",))
    assert moved_emergency(listed, replace(listed, rules=(ours,))) == {"Emergency": ["112"]}
    assert moved_emergency(listed, listed) == {}


@pytest.mark.parametrize("managed", [True, False], ids=["ours", "somebody else's"])
def test_an_emergency_number_that_our_change_leaves_to_another_rule_stops(managed: bool) -> None:
    """What a rule of ours has today, it does not hand on to one that sends something else."""
    ours = rule("Emergency", "911", "3", priority=100)
    other = rule("All", "1;2;9", "", 1, "+44", priority=1000, ours=managed, managed=managed)
    before = DialPlan((ours, other), country="US")
    after = replace(before, rules=(replace(ours, priority=2000), other))
    assert "911" in moved_emergency(before, after)["Emergency"]
    if managed:
        assert [one.trouble for one in conflicts(before, after)] == [Trouble.EMERGENCY_TAKEN]
    assert moved_emergency(before, before) == {} and conflicts(before, before) == []


@pytest.mark.parametrize(
    "plan, trouble",
    [
        (DialPlan((rule("R", "119", "3"),), country="JP"), Trouble.NO_SERVICE),
        (DialPlan((rule("R", "15", "2"),), country="FR"), Trouble.NO_SERVICE),
        (DialPlan((rule("R", "+"),), version="22.2.11"), Trouble.LONE_PLUS),
        (DialPlan((rule("R", "+"),), e164=E164Processing(True, "1")), Trouble.PLUS_TAKEN),
        (DialPlan((rule("R", "+"),), country="GB", e164=E164Processing(True, "1")), Trouble.E164_COUNTRY),
        (DialPlan((rule("R", "+"),), country="GB", time_zone="America/New_York"), Trouble.TIME_ZONE),
        (DialPlan((Rule("R", routes=(Route(0, "+1", "+18005550100"),)),)), Trouble.TOLL_FREE_CALLER),
        (DialPlan((rule("R", "0", "", 1, "+39"),), country="IT"), Trouble.NOT_VALID),
        (DialPlan((rule("R", "", "10"),)), Trouble.NOT_E164),
        (DialPlan((rule("R", "", "10", 0, "1"),)), Trouble.NOT_E164),
        (DialPlan((replace(rule("R"), readable=False),)), Trouble.UNREADABLE),
        (DialPlan((), country="SG"), Trouble.NO_RULE),
        (DialPlan((rule("R", "+"),), examples=(("112", "emergency"),)), Trouble.EXAMPLE),
    ],
)
def test_what_is_only_a_caution(plan: DialPlan, trouble: Trouble) -> None:
    found = [one for one in cautions(plan) if one.trouble is trouble]
    assert found, [str(one) for one in cautions(plan)]
    assert conflicts(plan, plan) == []


@pytest.mark.parametrize(
    "plan, trouble",
    [
        (DialPlan((rule("R", "+"),), version="22.3.22"), Trouble.LONE_PLUS),
        (DialPlan((rule("R", "+"),)), Trouble.LONE_PLUS),
        (DialPlan((), country="IN", time_zone="Asia/Calcutta"), Trouble.TIME_ZONE),
        (DialPlan((), country="US", time_zone="America/Los_Angeles"), Trouble.TIME_ZONE),
        (DialPlan((), country="AU", time_zone="Australia/Perth"), Trouble.TIME_ZONE),
        (DialPlan((rule("R", "0", "10", 0, "+39"),), country="IT"), Trouble.NOT_E164),
        (DialPlan((rule("R", "0", "", 1, "+49", ours=False),), country="GB"), Trouble.WRONG_NUMBER),
    ],
)
def test_what_is_no_caution(plan: DialPlan, trouble: Trouble) -> None:
    assert not [str(one) for one in cautions(plan) if one.trouble is trouble]


@pytest.mark.parametrize(
    "country",
    COUNTRIES,
)
def test_the_presets_of_a_country_are_sound(country: str) -> None:
    """Every way of dialling comes out; no two rules tie; a table of facts has sources, no rule a surprise."""
    plan = DialPlan(presets(country), country=country, version="22.2.11")
    found = cautions(plan)
    assert {one.trouble for one in found} <= {Trouble.NO_RULE}, [str(one) for one in found]
    assert not [str(one) for one in found if "No rule" in str(one)]
    assert conflicts(DialPlan((), country=country), plan) == []
    assert all(len(";".join(one.prefixes)) <= 64 for one in plan.rules)


def test_what_a_country_does_not_have_is_refused_with_the_reason() -> None:
    assert dict(problems(country_of("JP"), Wanted(("plus",), ("119",))))["emergency"]
    assert dict(problems(country_of("DE"), Wanted(("plus",), ("999",))))["emergency"]
    assert dict(problems(country_of("FR"), Wanted(("local",), (), "1")))["styles"]
    assert dict(problems(country_of("GB"), Wanted(("local",))))["area_code"]
    assert dict(problems(country_of("GB"), Wanted(("local",), (), "020")))["area_code"]
    assert not [*problems(country_of("DE"), Wanted(("plus", "local", "international"), ("112",), "30"))]


def test_every_fact_about_a_country_has_a_source_and_a_date_or_says_that_nobody_checked_it() -> None:
    assert all(line.source and line.value is not None for line in LINES)
    dated = {line for line in LINES if line.date != NOT_CHECKED}
    assert all(date.fromisoformat(line.date) <= date.today() for line in dated)
    # What an emergency call depends on has been checked; nothing is dated that Twilio does not document.
    assert {line for line in LINES if line.about == "service"} <= dated
    assert {urlsplit(f"//{line.source}").hostname for line in dated} == {"twilio.com"}
    assert country_of("IE").emergency_service and not country_of("NZ").emergency_service


def test_callers_that_rules_tell_apart() -> None:
    rules = (replace(rule("a"), callers=((100, 199),)), replace(rule("b"), callers=((150, 160),)))
    assert callers(rules) == (None, "100", "150", "161")
    assert callers((rule("c"),)) == (None,)


def test_a_thousand_tenants_are_judged_in_time() -> None:
    """Beside the reading of the files: each tenant its own rules, caller ids and numbers."""
    plans = [
        DialPlan(
            tuple(
                replace(
                    one,
                    name=f"{one.name} {index}",
                    routes=(replace(one.routes[0], caller_id=f"+4930{index}"),),
                )
                for one in presets("DE")
            ),
            country="DE",
            dids=DidPool.parse(f"4930{100000 + index}"),
        )
        for index in range(1000)
    ]
    began = time.process_time()
    for plan in plans:
        cautions(plan)
    assert time.process_time() - began < 1.5


def test_possible_never_leaves_out_the_documented_decision() -> None:
    plan = DialPlan(presets("GB"), country="GB", own_list=("999",))
    assert len(possible(plan, "999")) == 2 and possible(plan, "999")[0].by_own_list


def test_naming_only_some_ties_hides_no_conflict() -> None:
    """Many ties come first: that stand already, that are somebody else's, or that are only possible."""
    standing = tuple(rule(f"Standing {index}", "0", "", 1, f"+4{index}") for index in range(10))
    foreign = tuple(rule(f"Foreign {index}", "0", "", 1, f"+5{index}", managed=False) for index in range(10))
    possible_only = tuple(rule(f"Digits {index}", "", "10", 0, f"+1{index}") for index in range(10))
    plus = rule("Plus", "+")
    before = DialPlan((*standing, *foreign, plus, *possible_only))
    # One more rule of ours that ties with the last of each kind, by a prefix that only they share.
    late = (rule("Late", "09;+", "", 2, "+"),)
    found = conflicts(before, replace(before, rules=(*before.rules, *late)))
    assert {name for one in found for name in one.rules} >= {"Late", "Plus"}
    assert {"Late"} == {name for one in found for name in one.rules} - {one.name for one in before.rules}
    # A rule whose first ties are only possible is in conflict with one that comes after them.
    sure = rule("Sure", "+", "", 1, "+9")
    found = conflicts(DialPlan(()), DialPlan((plus, *possible_only, sure)))
    assert ("Plus", "Sure") in {one.rules for one in found}
    # Each rule of ours that ties with others is in at least one conflict.
    many = tuple(rule(f"Many {index}", "0", "", 1, f"+4{index}") for index in range(40))
    named_rules = {name for one in conflicts(DialPlan(()), DialPlan(many)) for name in one.rules}
    assert named_rules == {one.name for one in many}


def test_six_hundred_rules_that_all_tie_are_judged_in_time() -> None:
    rules = tuple(rule(f"Rule {index}", "0", "9;10;11", 1, f"+49{index}") for index in range(600))
    began = time.process_time()
    found = cautions(DialPlan(rules, country="DE"))
    assert time.process_time() - began < 1 and len(found) > 600


def test_a_second_way_to_dial_is_shown_only_where_a_rule_applies_to_it() -> None:
    shown = {
        country: {call.dialled for call in sample_calls(DialPlan(presets(country), country=country))}
        for country in ("AU", "US")
    }
    assert {"1800123456"} <= shown["AU"] and "01800123456" not in shown["AU"]
    assert {"2015550123", "12015550123"} <= shown["US"]
