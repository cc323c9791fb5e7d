"""A country's presets send what people there dial to where it belongs, by tables that somebody else wrote."""

from __future__ import annotations

import re

import pytest

from runbook_lib.dialling.countries import country_of
from runbook_lib.dialling.evaluator import DialPlan, Route, Rule, decide
from runbook_lib.dialling.presets import Wanted, preset_rules, problems

from .tables import COUNTRIES, Dialled, Table, read

#: Of these a preset has to send every one; of the others it may leave some to a rule of the tenant's own.
EVERY = ("fixed", "mobile", "tollfree", "abroad")


def plan_of(country: str, table: Table) -> DialPlan:
    """The presets with every style that the country has, and nothing for emergencies."""
    facts = country_of(country)
    area = table.area_code.removeprefix(facts.national_prefix or "") or None
    styles = ("plus", "international", "national", *(("local",) if facts.local_begins and area else ()))
    several = (
        [] if "carrier" in table.international_prefix else re.findall(r"\d+", table.international_prefix)
    )
    wanted = Wanted(styles, (), area, tuple(several))
    assert list(problems(facts, wanted)) == []
    rules = tuple(
        Rule(preset.name, preset.priority, preset.prefixes, preset.lengths, (), (route,), managed=True)
        for preset in preset_rules(facts, wanted)
        for route in [Route(preset.strip, preset.prepend)]
    )
    return DialPlan(rules, country=country, area_code=area)


def is_right(line: Dialled, sent: str | None) -> bool:
    return sent == line.expected if line.expected.startswith("+") else sent is None


@pytest.mark.parametrize("country", COUNTRIES)
def test_what_people_dial_goes_where_it_belongs(country: str) -> None:
    table = read(country)
    plan = plan_of(country, table)
    clear = [line for line in table.lines if not line.ambiguous]
    sent = {line.dialled: decide(plan, line.dialled).sent for line in table.lines}
    wrong = [line for line in clear if sent[line.dialled] and not is_right(line, sent[line.dialled])]
    assert wrong == [], sent
    unsent = [line for line in clear if not is_right(line, sent[line.dialled])]
    assert [line for line in unsent if line.kind in EVERY] == []
