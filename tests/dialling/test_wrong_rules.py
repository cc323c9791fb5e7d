"""The mistakes that people make in rules, in five countries: each is named before the first request."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import pytest

from runbook_lib.cli.running import dial_cautions
from runbook_lib.dialling.evaluator import DialPlan
from runbook_lib.dialling.finding import Trouble
from runbook_lib.dialling.judgement import cautions, conflicts
from runbook_lib.dialling.sources import from_parameters
from runbook_lib.parameters import Tenant, load_all
from runbook_lib.parameters.document import Document
from tests.conftest import CHECKOUT

SITE = CHECKOUT / "parameters" / "sandbox" / "site.yaml"
ACME = Document.read(str(SITE.with_name("acme.yaml")), "tenant", CHECKOUT).content


class Place(NamedTuple):
    """How people dial somewhere: abroad, nationally (with how many digits), and in an emergency."""

    abroad: str
    national: str
    digits: str
    code: str
    emergency: str


PLACES = {
    "AU": Place("0011", "0", "10", "+61", "000"),
    "DE": Place("00", "0", "6;7;8;9;10;11;12", "+49", "112"),
    "GB": Place("00", "0", "10;11", "+44", "999"),
    "JP": Place("010", "0", "10;11", "+81", "119"),
    "US": Place("011", "1", "11", "+1", "911"),
}
ABROAD, NATIONAL = "Abroad", "National"
Fields = dict[str, Any]


def good(place: Place) -> dict[str, Fields]:
    """Two rules that are right."""
    abroad = {"number_prefix": place.abroad, "strip_digits": len(place.abroad), "prepend": "+"}
    national = {"number_prefix": place.national, "number_length": place.digits, "strip_digits": 1}
    return {
        ABROAD: {"name": ABROAD, "priority": 10, **abroad},
        NATIONAL: {"name": NATIONAL, "priority": 20, **national, "prepend": place.code},
    }


#: By fault: the rule that has it, what is wrong with it, and what is found. Nothing but the values of the
#: countries differs, except where a fault of one country is none in another (see ``changes``).
FAULTS: dict[str, tuple[str, Fields, Trouble]] = {
    "no strip": (NATIONAL, {"strip_digits": 0}, Trouble.NOT_E164),
    "abroad, no strip (00 kept)": (ABROAD, {"strip_digits": 0}, Trouble.NOT_E164),
    "no prepend": (NATIONAL, {"prepend": ""}, Trouble.NOT_E164),
    "abroad, no prepend": (ABROAD, {"prepend": ""}, Trouble.NOT_E164),
    "no plus": (NATIONAL, {"prepend": "CODE"}, Trouble.NOT_E164),
    "equal priorities": (NATIONAL, {"priority": 10, "number_length": ""}, Trouble.TIE),
    "emergency taken": (NATIONAL, {"number_prefix": "TAKES", "number_length": ""}, Trouble.EMERGENCY_TAKEN),
}


def changes(country: str, fault: str) -> Fields:
    """What makes a good rule a wrong one."""
    place, (_, fields, _) = PLACES[country], FAULTS[fault]
    # Nobody dials 00 in the US, and no number there begins with both 1 and 011: equal priorities do no harm
    # to these two. What meets 011 there are ten digits, the other way of national calls.
    if (country, fault) == ("US", "equal priorities"):
        return {"priority": 10, "number_prefix": "", "number_length": "10", "strip_digits": 0}
    values = {"CODE": place.code.removeprefix("+"), "TAKES": f"{place.national};{place.emergency[0]}"}
    if place.emergency.startswith(place.national):
        values["TAKES"] = place.national
    return {key: values.get(value, value) for key, value in fields.items()}


def checked(country: str, rules: dict[str, Fields]) -> Tenant:
    """A tenant as ``runbook validate`` reads it."""
    content = {key: value for key, value in copy.deepcopy(dict(ACME)).items() if key != "dialling"}
    outbound = [{key: value for key, value in rule.items() if value != ""} for rule in rules.values()]
    content |= {"country": country, "rules": {"outbound": outbound}}
    [(_, tenant)] = load_all(str(SITE), [{"tenant": content}], CHECKOUT, secrets=False)
    assert isinstance(tenant, Tenant)
    return tenant


@pytest.mark.parametrize("country", PLACES)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_rule_is_named_with_an_example_and_the_cure(country: str, fault: str) -> None:
    name, _, trouble = FAULTS[fault]
    rules = good(PLACES[country])
    rules[name] |= changes(country, fault)
    tenant = checked(country, rules)
    plan = from_parameters(tenant)
    found = [one for one in cautions(plan) if one.trouble is trouble and name in one.rules]
    assert found, [str(one) for one in cautions(plan)]
    printed = dial_cautions([tenant])
    for finding in found:
        # The example is a string that the rule applies to, and the line that is printed has all of it.
        assert any(rule.name == name and rule.matches(finding.example, None) for rule in plan.rules)
        [line] = [line for line in printed if str(finding) in line]
        assert name in line and finding.example in line and finding.cure in line and finding.cure
    if trouble is Trouble.EMERGENCY_TAKEN:
        assert PLACES[country].emergency in {one.example for one in found}
    if trouble is Trouble.NOT_E164:
        # The cure has the country's own values, never those of another one.
        code = "+" if name == ABROAD else PLACES[country].code
        assert all(f'"{code}"' in one.cure for one in found), [one.cure for one in found]
    # What only our own write would cause stops the plan; a number that Twilio might refuse does not.
    stopping = [one for one in conflicts(DialPlan((), country=country), plan) if name in one.rules]
    assert bool([one for one in stopping if one.trouble is trouble]) is (trouble is not Trouble.NOT_E164)


@pytest.mark.parametrize("country", PLACES)
def test_the_rules_without_a_fault_are_not_named(country: str) -> None:
    plan = from_parameters(checked(country, good(PLACES[country])))
    assert {one.trouble for one in cautions(plan)} == {Trouble.NO_RULE}
    assert conflicts(DialPlan((), country=country), plan) == []


def test_a_prefix_that_is_kept_is_named_without_a_country_too() -> None:
    """phonenumbers drops the 1 in +112025550100 without a word; what is sent still has it."""
    rules = good(PLACES["US"])
    rules[NATIONAL]["strip_digits"] = 0
    tenant = checked("US", rules).model_copy(update={"country": None})
    assert Trouble.NOT_E164 in {one.trouble for one in cautions(from_parameters(tenant))}
