"""Section 06 and ``runbook dial`` on the sandbox: what rules as a whole do, planned and written."""

from __future__ import annotations

import unicodedata
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from runbook_lib.cli import app
from runbook_lib.dialling.evaluator import Semantics, decide
from runbook_lib.errors import ConflictError, InputError
from runbook_lib.guide import RUN_ORDER
from runbook_lib.keys import Why
from runbook_lib.parameters import load
from runbook_lib.parameters.document import Document
from runbook_lib.plan import CHANGING, Action, Effect, Row
from runbook_lib.resources.dial_plan import read_dial_plan
from runbook_lib.runbook import Runbook
from runbook_sandbox import demo
from tests.conftest import CHECKOUT, TestSandbox
from tests.sections.test_connections import acme, run, site

DOMAIN = "acme.pbx.example"
GLOBEX = "parameters/sandbox/globex.yaml"
EXAMPLES = ("us", "gb", "de", "au", "jp")
#: What was in the demo before its rules had priorities of their own.
OLD_GLOBEX = (
    {"name": "Twilio 10 digits", "number_length": "10", "prepend": "+1"},
    {"name": "Twilio 11 digits", "number_prefix": "1", "number_length": "11", "prepend": "+"},
    {"name": "Twilio E.164", "number_prefix": "+"},
)
OBVIOUS = (
    {"name": "International", "number_prefix": "0011", "strip_digits": 4, "prepend": "+"},
    {"name": "National", "number_prefix": "0", "strip_digits": 1, "prepend": "+61"},
)


def example(name: str, **changes: Any) -> dict[str, Any]:
    """An example's tenant, as a tenant of the sandbox's PBX."""
    path = CHECKOUT / "parameters" / "example" / f"{name}.yaml"
    content = dict(Document.read(str(path), "tenant", CHECKOUT).content)
    own = acme()["tenant"]
    return {"tenant": content | {key: own[key] for key in ("name", "pbx_domain", "termination")} | changes}


def with_rules(*outbound: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return acme(rules={"outbound": [*outbound]}, **changes)


def own_numbers(sandbox: TestSandbox, tenant: dict[str, Any]) -> None:
    _, parsed = load(site(), tenant, sandbox.root)
    owned = {row["phone_number"] for row in demo.data()["twilio"]["numbers"].values()}
    for number in {*parsed.dids} - owned:
        row = {"vendor": "twilio", "kind": "numbers", "add": demo.number_row(number)}
        sandbox.control("POST", "state/patch", row)


def six(tenant: Any, mode: str = "plan") -> dict[str, Any]:
    with Runbook.open(site(), tenant, mode=mode) as runbook:
        section = runbook.section("06")
        section.current()
        section.plan()
        section.apply()
        section.verify()
        return section.finish()


def planned(tenant: Any) -> list[Row]:
    with Runbook.open(site(), tenant) as runbook:
        return [row for part in runbook.plan().slices if part.section == "06" for row in part.rows]


def by_hand(sandbox: TestSandbox, **fields: Any) -> None:
    """Somebody makes an outbound rule in the portal, to another trunk of the tenant."""
    route = {"provider_id": demo.ACME_GENERIC_TRUNK_ID, "strip_digits": 0, "prepend": ""}
    sandbox.vendors.pbx(DOMAIN).post("/outbound_rules", {"routes": [route], **fields})


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_validated_planned_and_applied(sandbox: TestSandbox, name: str) -> None:
    tenant = example(name)
    own_numbers(sandbox, tenant)
    with Runbook.open(site(), tenant) as runbook:
        plan = runbook.plan()
    assert [part.section for part in plan.slices] == list(RUN_ORDER)
    assert [row for part in plan.slices for row in part.stopping] == []
    run(site(), tenant, "01", "02", "03", "05")
    # Japan's own calls have to enter at Twilio's edge there.
    hostnames = {str(trunk["hostname"]) for trunk in sandbox.vendors.pbx(DOMAIN).trunks().values()}
    assert f"bigtel-{name}.pstn.{'tokyo.' * (name == 'jp')}twilio.com" in hostnames
    result = six(tenant, "apply")
    assert result["outcome"] == "succeeded" and result["verification"]["ok"]
    country = tenant["tenant"]["country"]
    live = sandbox.vendors.pbx(DOMAIN).list("/outbound_rules")
    made = [rule for rule in live if rule["name"].startswith(f"Twilio {country} ")]
    assert len(made) == len({rule["priority"] for rule in made}) > 3
    emergency = [rule for rule in made if "emergency" in rule["name"]]
    assert bool(emergency) == bool(tenant["tenant"]["dialling"]["emergency"])
    # Each example is a row that holds; what the PBX does with it is what it says.
    for dialled, expected in tenant["tenant"]["examples"].items():
        sent = sandbox.control("POST", "dial", {"domain": DOMAIN, "number": dialled}).json()["sent"]
        assert sent == {"none": None, "emergency": dialled}.get(expected, expected)
    sandbox.clear_log()
    again = six(tenant, "apply")
    assert sandbox.writes() == [] and not [row for row in again["plan"] if row["action"] in CHANGING]


def test_the_sandbox_and_the_evaluator_agree_under_every_setting(sandbox: TestSandbox) -> None:
    tenant = example("au", accept_interruption=True)
    run(site(), tenant, "01", "02", "05", "06")
    by_hand(sandbox, name="Landline", number_prefix="+61;0", number_length="10;11", priority=106)
    by_hand(sandbox, name="Desk", number_prefix="+", number_mask="100-199", priority=1)
    pbx = sandbox.vendors.pbx(DOMAIN)
    pbx.post("/emergency_numbers", {"number_prefix": "000"})
    with Runbook.open(site(), tenant) as runbook:
        plan = read_dial_plan(runbook.context, runbook.context.tenant, whole=True).standing(
            runbook.context.tenant
        )
    dialled = ["000", "112", "0255500123", "55500123", "+61255500123", "+6125550012", "0011442079460000"]
    for counts, strips, equals, listed in product(
        "01", "01", ("first", "longest", "last"), ("before", "after")
    ):
        switches = {
            "portsip.length_counts_plus": ("no", "yes")[int(counts)],
            "portsip.strip_counts_plus": ("yes", "no")[int(strips)],
            "portsip.equal_priorities": equals,
            "portsip.emergency_list": listed,
        }
        sandbox.control("POST", "switches", switches)
        semantics = Semantics(counts == "1", strips == "0", equals, listed)
        for number, caller in product(dialled, ("", "101", "205")):
            body = {"domain": DOMAIN, "number": number, "caller": caller}
            answer = sandbox.control("POST", "dial", body).json()
            decision = decide(plan, number, caller or None, semantics)
            told = (decision.rule.name if decision.rule else None, decision.sent, decision.by_own_list)
            assert told == (answer["rule"], answer["sent"], answer["by_own_list"]), (switches, body)


def test_rules_that_would_take_an_emergency_number_are_not_written(sandbox: TestSandbox) -> None:
    run(site(), acme(), "01", "02", "05")
    sandbox.clear_log()
    with pytest.raises(ConflictError) as refused:
        six(with_rules(*OBVIOUS, country="AU"), "apply")
    assert refused.value.step == "6.1" and sandbox.writes() == []
    stopping = [row for row in planned(with_rules(*OBVIOUS, country="AU")) if row.action is Action.CONFLICT]
    assert {row.why for row in stopping} == {Why.UNSUITABLE}
    assert any("000" in row.setting for row in stopping)
    # Once they stand, whoever made them, they stop neither a verification nor another plan.
    without = [dict(one, priority=10 + index) for index, one in enumerate(OBVIOUS)]
    six(with_rules(*without), "apply")
    for mode in ("plan", "apply", "verify"):
        result = six(with_rules(*without, country="AU"), mode)
        assert result["outcome"] == "succeeded" and any("000" in line for line in result["cautions"])


def test_rules_that_tie_are_not_written_and_those_that_stand_are_shown(sandbox: TestSandbox) -> None:
    run(site(), acme(), "01", "02", "05")
    sandbox.clear_log()
    with pytest.raises(ConflictError):
        six(with_rules(*OBVIOUS), "apply")
    assert sandbox.writes() == []
    six(with_rules(dict(OBVIOUS[0], priority=1), OBVIOUS[1]), "apply")
    change = {"match": {"name": "International"}, "set": {"priority": 1000}}
    sandbox.control("POST", "state/patch", {"vendor": "portsip", "kind": "outbound_rules", **change})
    result = six(with_rules(*OBVIOUS), "verify")
    assert result["verification"]["ok"] and any("International" in line for line in result["cautions"])


def test_a_rule_of_somebody_elses_that_ties_stops_nothing(sandbox: TestSandbox) -> None:
    run(site(), acme(), "01", "02", "05")
    by_hand(sandbox, name="By hand", number_prefix="00", priority=1000)
    result = six(with_rules(OBVIOUS[1]), "apply")
    assert result["outcome"] == "succeeded" and any("By hand" in line for line in result["cautions"])


@pytest.mark.parametrize("how", ["own list", "rule by hand"])
def test_an_emergency_number_that_goes_another_way_needs_leave(sandbox: TestSandbox, how: str) -> None:
    run(site(), acme(), "01", "02", "05")
    if how == "own list":
        sandbox.vendors.pbx(DOMAIN).post("/emergency_numbers", {"number_prefix": "112"})
    else:
        by_hand(sandbox, name="Emergency by landline", number_prefix="112", number_length="3", priority=500)
    rule = {"name": "Emergency", "number_prefix": "112", "number_length": "3", "priority": 1}
    [row, *_] = [one for one in planned(with_rules(rule, country="DE")) if one.effect is not Effect.NONE]
    assert row.effect is Effect.INTERRUPTS_OUTBOUND and row.why is Why.NO_LEAVE
    with pytest.raises(ConflictError):
        six(with_rules(rule, country="DE"), "apply")
    result = six(with_rules(rule, country="DE", accept_interruption=True), "apply")
    assert result["outcome"] == "succeeded"


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_rule_is_one_rule_however_its_accents_are_written(sandbox: TestSandbox, form: str) -> None:
    """The PBX holds the name in one form, the parameters in the other: the rule does not stand twice."""
    run(site(), acme(), "01", "02", "05")
    rule = {"name": "Büro Österreich", "number_prefix": "0", "strip_digits": 1, "prepend": "+61"}
    other = "NFD" if form == "NFC" else "NFC"
    six(with_rules(rule | {"name": unicodedata.normalize(other, rule["name"])}), "apply")
    changed = with_rules(rule | {"name": unicodedata.normalize(form, rule["name"]), "prepend": "+49"})
    changed["tenant"]["accept_interruption"] = True
    assert not any("Büro" in unicodedata.normalize("NFC", line) for line in six(changed)["cautions"])
    assert six(changed, "apply")["outcome"] == "succeeded"
    rules = sandbox.vendors.pbx(DOMAIN).get("/outbound_rules")["items"]
    assert sum("Büro" in unicodedata.normalize("NFC", one["name"]) for one in rules) == 1


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_rule_in_any_script_needs_leave_for_an_emergency_number(sandbox: TestSandbox, form: str) -> None:
    run(site(), acme(), "01", "02", "05")
    sandbox.vendors.pbx(DOMAIN).post("/emergency_numbers", {"number_prefix": "112"})
    name = unicodedata.normalize(form, "Notruf Österreich")
    rule = {"name": name, "number_prefix": "112", "number_length": "3", "priority": 1}
    rows = planned(with_rules(rule, country="DE"))
    assert [row.why for row in rows if row.effect is not Effect.NONE] == [Why.NO_LEAVE]
    with pytest.raises(ConflictError):
        six(with_rules(rule, country="DE"), "apply")


def test_a_failing_example_is_a_conflict(sandbox: TestSandbox) -> None:
    run(site(), acme(), "01", "02", "05")
    rule = dict(OBVIOUS[1], number_length="10")
    good, bad = {"0255500123": "+61255500123", "*97": "none"}, {"0255500123": "+61255500124"}
    with pytest.raises(ConflictError):
        six(with_rules(rule, examples=good | bad), "apply")
    assert six(with_rules(rule, examples=good), "apply")["outcome"] == "succeeded"
    [row] = [one for one in planned(with_rules(rule, examples=bad)) if one.action is Action.CONFLICT]
    assert (row.desired, row.current) == ("+61255500124", "+61255500123")


def test_the_old_demo_file_plans_the_same_rows_and_applies(sandbox: TestSandbox) -> None:
    old = Document.read(GLOBEX, "tenant", CHECKOUT).content
    rules = [dict(one, caller_id="+12025550105") for one in OLD_GLOBEX]
    tenant = {"tenant": {**old, "rules": {**old["rules"], "outbound": rules}}}
    run(site(), "parameters/sandbox/globex.yaml", "01", "02", "05")
    assert not [row for row in planned(tenant) if row.action is Action.CONFLICT]
    result = six(tenant, "apply")
    assert result["outcome"] == "succeeded" and result["writes"] == 5
    assert any("does not document" in line for line in result["cautions"])
    assert any("22.2.11" in line for line in result["cautions"])  # which does not match a lone +
    # A plan in which all is in place shows them as well.
    with Runbook.open(site(), tenant) as runbook:
        assert not any(part.changing for part in runbook.plan().slices if part.section == "06")
        assert {*result["cautions"]} <= {*runbook.cautions}


def test_a_block_of_numbers_is_one_rule(sandbox: TestSandbox) -> None:
    tenant = example("de", accept_interruption=True)
    run(site(), tenant, "01", "02", "05", "06")
    [rule] = [
        one for one in sandbox.vendors.pbx(DOMAIN).list("/inbound_rules") if one["name"] == "Twilio Durchwahl"
    ]
    assert rule["did_numbers"] == "493023125100-493023125299"
    assert rule["office_hours_forward_rule"] == {"action": "FORWARD_TO_NUMBER", "number": "100-299"}
    with Runbook.open(site(), tenant) as runbook:
        section = runbook.section("06")
        [inbound, *_] = section.current()
        assert ("Twilio Durchwahl", "rings 100-299") in {(row[0], row[3]) for row in inbound.rows}
        assert not section.plan().changing
    # Somebody keeps the dialled number instead: shown as what it is.
    kept = {"office_hours_forward_rule": {"action": "FORWARD_TO_NUMBER", "number": "0"}}
    change = {"match": {"name": "Twilio Durchwahl"}, "set": kept}
    sandbox.control("POST", "state/patch", {"vendor": "portsip", "kind": "inbound_rules", **change})
    [row] = [one for one in planned(tenant) if one.action is Action.UPDATE]
    assert (row.current, row.desired) == ("keeps the dialled number", "rings 100-299")


@pytest.mark.parametrize(
    "wanted, sent",
    [
        ("1001", {"action": "FORWARD_TO_NUMBER", "number": "1001"}),
        ("keep", {"action": "FORWARD_TO_NUMBER", "number": "0"}),
        ("voicemail:1001", {"action": "FORWARD_TO_VOICEMAIL", "number": "1001"}),
        ("hang up", {"action": "HANGUP", "number": ""}),
        ("+493023125999", {"action": "FORWARD_TO_NUMBER", "number": "+493023125999"}),
        ("201-204", {"action": "FORWARD_TO_NUMBER", "number": "201-204"}),
    ],
)
def test_where_an_inbound_rule_can_send_calls(
    sandbox: TestSandbox, wanted: str, sent: dict[str, str]
) -> None:
    run(site(), acme(), "01", "02", "05")
    inbound = [
        {"name": "In", "dids": "12025550101-12025550104", "extension": "1000", "outside_hours": wanted}
    ]
    tenant = acme(rules={"inbound": inbound})
    assert six(tenant, "apply")["verification"]["ok"]
    [rule] = [one for one in sandbox.vendors.pbx(DOMAIN).list("/inbound_rules") if one["name"] == "In"]
    assert rule["non_office_hours_forward_rule"] == sent
    assert six(tenant, "verify")["verification"]["ok"]


@pytest.mark.parametrize(
    "changes, key",
    [
        ({"dialling": {"emergency": []}}, "tenant.country"),
        ({"country": "DE", "dialling": {}}, "tenant.dialling.emergency"),
        ({"country": "JP", "dialling": {"emergency": ["119"]}}, "tenant.dialling.emergency"),
        ({"country": "DE", "dialling": {"emergency": [], "styles": ["local"]}}, "tenant.dialling.area_code"),
        ({"country": "GB", "dialling": {"emergency": [], "area_code": "020"}}, "tenant.dialling.area_code"),
        ({"country": "FR", "dialling": {"emergency": [], "styles": ["local"]}}, "tenant.dialling.styles"),
        (
            {"country": "DE", "dialling": {"emergency": [], "caller_id": "+4930231250"}},
            "tenant.dialling.caller_id",
        ),
        ({"country": "Germany"}, "tenant.country"),
        ({"country": "XX"}, "tenant.country"),
        ({"examples": {"0 30": "none"}}, "tenant.examples"),
        ({"examples": {"030": "0049"}}, "tenant.examples.030"),
        (
            {
                "rules": {
                    "inbound": [{"name": "In", "dids": "12025550101-12025550104", "extension": "100-299"}]
                }
            },
            "tenant.rules.inbound.0.extension",
        ),
        (
            {"rules": {"inbound": [{"name": "In", "dids": "12025550101", "extension": "299-100"}]}},
            "tenant.rules.inbound.0.extension",
        ),
        (
            {
                "country": "DE",
                "dialling": {"emergency": []},
                "rules": {"outbound": [{"name": "Twilio DE plus", "number_prefix": "+"}]},
            },
            "tenant.dialling",
        ),
    ],
)
def test_wrong_input_names_its_key(changes: dict[str, Any], key: str) -> None:
    with pytest.raises(InputError) as refused:
        load(site(), acme(**changes), CHECKOUT, secrets=False)
    assert any(key in problem for problem in refused.value.problems), refused.value.problems


def dialled(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["dial", "-s", "parameters/sandbox/site.yaml", GLOBEX, *arguments])


def test_the_command_shows_where_numbers_go_without_a_request(sandbox: TestSandbox) -> None:
    sandbox.clear_log()
    shown = dialled("2025550123", "+44 20 7946 0000", "*97", "--from", "101")
    assert shown.exit_code == 0
    assert all(text in shown.stdout for text in ("+12025550123", "+442079460000", "*97", "+12025550105"))
    assert dialled("--called", "12025550105").exit_code == 0
    for wrong in (("abc",), ("101", "--from", "x")):
        assert dialled(*wrong).exit_code == 3
    for further in ((), ("--live",)):  # a shared trunk alone has no rules
        of_a_trunk = ["dial", "-s", "parameters/sandbox/site.yaml", "trunk:carrier", "911", *further]
        assert CliRunner().invoke(app, of_a_trunk).exit_code == 3
    assert sandbox.control("GET", "requests").json()["requests"] == []


def test_the_command_asks_the_pbx_for_all_its_rules(sandbox: TestSandbox) -> None:
    run(site(), GLOBEX, "01", "02", "05", "06")
    sandbox.control(
        "POST",
        "state/patch",
        {
            "vendor": "portsip",
            "kind": "outbound_rules",
            "match": {"name": "Twilio 10 digits"},
            "set": {"enabled": False},
        },
    )
    sandbox.clear_log()
    assert "+12025550123" in dialled("2025550123").stdout
    shown = dialled("2025550123", "--live")
    assert shown.exit_code == 0 and "+12025550123" not in shown.stdout
    assert sandbox.writes() == []


def test_validate_names_what_is_wrong_and_ends_well(sandbox: TestSandbox, tmp_path: Path) -> None:
    content = (CHECKOUT / "parameters/sandbox/acme.yaml").read_text(encoding="utf-8")
    rules = "\n".join(
        f'      - {{ name: {one["name"]}, number_prefix: "{one["number_prefix"]}",'
        f' strip_digits: {one["strip_digits"]}, prepend: "{one["prepend"]}" }}'
        for one in OBVIOUS
    )
    path = tmp_path / "acme.yaml"
    path.write_text(f"{content}  country: AU\n  rules:\n    outbound:\n{rules}\n", encoding="utf-8")
    told = CliRunner().invoke(app, ["validate", "-s", "parameters/sandbox/site.yaml", str(path)])
    assert told.exit_code == 0
    for text in ("National", "International", "000", "+6100", "priorit"):
        assert text in told.output
