"""Drift: exactly what differs, by whom, from one reading of the site; and never a write."""

from __future__ import annotations

import json
import stat
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from runbook_lib.lock import held
from runbook_lib.notebook.display import Box
from runbook_lib.notebook.home import HomePage
from runbook_lib.watch.report import NOT_KNOWN
from tests.commands import runbook_here
from tests.conftest import TestSandbox
from tests.test_cli import SITE, runbook

TENANTS = [f"parameters/sandbox/{name}.yaml" for name in ("acme", "globex", "initech")]
ANN = {"sid": "US" + "a" * 32, "kind": "user", "name": "ann", "source": "web", "ip": "192.0.2.7"}
TRUNK = "acme-pbx.pstn.twilio.com"


@pytest.fixture(scope="module")
def state(sandbox_of_file: TestSandbox) -> Any:
    """The demo tenants, set up."""
    sandbox_of_file.set_up(SITE, *TENANTS)
    return sandbox_of_file.control("GET", "state").json()


@pytest.fixture
def in_place(state: Any, sandbox: TestSandbox) -> TestSandbox:
    sandbox.control("POST", "reset", {"state": state})
    return sandbox


def change(sandbox: TestSandbox, vendor: str, kind: str, **what: Any) -> None:
    body = {"vendor": vendor, "kind": kind, "actor": ANN} | what
    sandbox.control("POST", "state/patch", body)


def drift(sandbox: TestSandbox, *options: str) -> tuple[int, dict[str, Any]]:
    """The exit status and the document."""
    ended = runbook_here(sandbox, "drift", "-s", SITE, "--all", "--json", *options)
    assert ended.returncode in (0, 2), ended.stdout + ended.stderr
    return ended.returncode, json.loads(ended.stdout)


def brief(found: dict[str, Any]) -> list[tuple[str, str, str | None]]:
    """Tenant, step and author of each difference."""
    authors = [one["changed_by"] for one in found["differences"]]
    return [
        (one["tenant"], one["step"], author and author["who"])
        for one, author in zip(found["differences"], authors, strict=True)
    ]


USER = f"user {ANN['sid']}"
SIP_URL = "sip:203.0.113.10;region=us1"
#: What is done by hand: vendor, table, the rows that it meets, the change; and what is to be found.
BY_HAND: dict[str, tuple[tuple[Any, ...], tuple[str, str, str]]] = {
    "trunk renamed": (
        ("twilio", "trunks", {"domain_name": TRUNK}, {"set": {"friendly_name": "X"}}),
        ("acme", "1.1", USER),
    ),
    "address widened": (
        (
            "twilio",
            "ip_addresses",
            {"friendly_name": "PBX 203.0.113.10"},
            {"set": {"cidr_prefix_length": 24}},
        ),
        ("acme", "2.2", USER),
    ),
    "user removed": (
        ("twilio", "credentials", {"username": "acme-pbx"}, {"remove": True}),
        ("acme", "2.3", USER),
    ),
    "priority": (
        ("twilio", "origination_urls", {"sip_url": SIP_URL}, {"set": {"priority": 99}}),
        ("acme", "3.1", USER),
    ),
    "uri removed": (
        ("twilio", "origination_urls", {"sip_url": SIP_URL}, {"remove": True}),
        ("acme", "3.1", USER),
    ),
    "number taken off": (
        ("twilio", "numbers", {"phone_number": "+12025550101"}, {"set": {"trunk_sid": None}}),
        ("acme", "4.1", USER),
    ),
    "number led away": (
        (
            "twilio",
            "numbers",
            {"phone_number": "+12025550102"},
            {"set": {"trunk_sid": None, "voice_url": "https://x.example/"}},
        ),
        ("acme", "4.1", USER),
    ),
    "limit": (
        ("portsip", "providers", {"hostname": TRUNK}, {"set": {"concurrency": 7}}),
        ("acme", "5.4", "ann"),
    ),
    "pool": (
        ("portsip", "providers", {"hostname": TRUNK}, {"set": {"did_numbers": "12025550101-12025550103"}}),
        ("acme", "5.2", "ann"),
    ),
    "shared trunk": (
        ("portsip", "providers", {"name": "Twilio-Shared-Trunk"}, {"set": {"keep_alive": True}}),
        ("trunk-carrier", "5.4", "ann"),
    ),
    "share": (
        ("portsip", "assignees", {"did_numbers": "12025550105;12025550106"}, {"set": {"concurrency": 3}}),
        ("globex", "5.5", "ann"),
    ),
    "rule rings another": (
        (
            "portsip",
            "inbound_rules",
            {"name": "Twilio reception"},
            {"set": {"office_hours_forward_rule": {"action": "FORWARD_TO_NUMBER", "number": "999"}}},
        ),
        ("globex", "6.2", "ann"),
    ),
    "rule off": (
        ("portsip", "outbound_rules", {"name": "Twilio 10 digits"}, {"set": {"enabled": False}}),
        ("globex", "6.1", "ann"),
    ),
    "outbound rule moved to another trunk": (
        (
            "portsip",
            "outbound_rules",
            {"name": "Twilio 11 digits"},
            {"set": {"routes": [{"provider_id": "820000000000000001", "prepend": "+"}]}},
        ),
        ("globex", "6.1", "ann"),
    ),
    "outbound rule with a further route elsewhere": (
        (
            "portsip",
            "outbound_rules",
            {"name": "Twilio"},
            {"set": {"routes": [{"prepend": "+1"}, {"provider_id": "820000000000000001"}]}},
        ),
        ("initech", "6.1", "ann"),
    ),
    "inbound rule moved to another trunk": (
        (
            "portsip",
            "inbound_rules",
            {"name": "Twilio support"},
            {"set": {"provider_id": "820000000000000001"}},
        ),
        ("globex", "6.2", "ann"),
    ),
    "rule removed": (
        ("portsip", "inbound_rules", {"name": "Twilio support"}, {"remove": True}),
        ("globex", "6.2", "ann"),
    ),
}


def test_nothing_differs(in_place: TestSandbox) -> None:
    in_place.clear_log()
    status, found = drift(in_place)
    assert (status, found["differences"], found["unread"], found["tenants"]) == (0, [], [], 3)
    assert in_place.writes() == []


def by_hand(sandbox: TestSandbox, name: str, **who: Any) -> None:
    """Change the first row that is like it: acme's, which was set up first."""
    vendor, table, match, what = BY_HAND[name][0]
    rows = sandbox.control("GET", "state").json()[vendor][table].items()
    row_id = next(row_id for row_id, row in rows if match.items() <= row.items())
    change(sandbox, vendor, table, id=row_id, **what, **who)


@pytest.mark.parametrize("name", BY_HAND)
def test_what_was_changed_by_hand_and_by_whom(in_place: TestSandbox, name: str) -> None:
    by_hand(in_place, name)
    status, found = drift(in_place)
    assert status == 2
    assert set(brief(found)) == {BY_HAND[name][1]}, found["differences"]


@pytest.mark.parametrize("allowed", [True, False])
def test_the_home_page_says_who_it_was_only_when_it_is_asked(in_place: TestSandbox, allowed: bool) -> None:
    by_hand(in_place, "priority", actor=ANN)
    if not allowed:
        in_place.control("POST", "switches", {"twilio.events": "forbidden"})
    home = HomePage(in_place.root / SITE, watched=False)
    home.tenants()
    in_place.clear_log()
    assert isinstance(home.differences(), Box)
    assert in_place.control("GET", "requests").json()["requests"] == []
    home.answered({"do": "differences"})
    end = time.monotonic() + 60
    while isinstance(shown := home.differences(), Box):
        assert time.monotonic() < end
        time.sleep(0.1)
    [row] = shown["What differs"].to_dict("records")
    assert (row["Tenant"], row["Step"]) == ("acme", "3.1")
    assert (USER in row["Changed by"]) is allowed and (row["Changed by"] == NOT_KNOWN) is not allowed
    assert in_place.writes() == []


def test_who_it_was_is_not_known_where_it_may_not_be_read(in_place: TestSandbox) -> None:
    by_hand(in_place, "priority")
    by_hand(in_place, "rule off")
    in_place.control("POST", "switches", {"twilio.events": "forbidden", "portsip.audit_log": "forbidden"})
    status, found = drift(in_place)
    assert status == 2
    assert set(brief(found)) == {("acme", "3.1", None), ("globex", "6.1", None)}


def test_who_it_was_is_not_known_without_an_actor_or_with_another_value(in_place: TestSandbox) -> None:
    by_hand(in_place, "priority", actor=ANN)
    urls = in_place.control("GET", "state").json()["twilio"]["origination_urls"].values()
    sid = next(url["sid"] for url in urls if url["priority"] == 99)
    nobody = {"vendor": "twilio", "kind": "origination_urls", "id": sid, "set": {"priority": 77}}
    in_place.control("POST", "state/patch", nobody)
    # What Ann has set is not what is there now, but she is the one who took away what should be.
    assert set(brief(drift(in_place)[1])) == {("acme", "3.1", USER)}
    in_place.control("POST", "state/patch", nobody | {"set": {"priority": 10, "weight": 77}})
    assert set(brief(drift(in_place)[1])) == {("acme", "3.1", None)}


@pytest.mark.parametrize(
    "switches",
    [
        {"portsip.audit_scope": "all", "portsip.audit_order": "oldest", "portsip.filter": "ignored"},
        {"portsip.audit_states": "absent"},
        {"twilio.event_properties": "absent"},
        {"portsip.switch_without_id": "refused", "portsip.unset_text": "null"},
    ],
    ids=str,
)
def test_whatever_the_vendors_leave_open(in_place: TestSandbox, switches: dict[str, str]) -> None:
    in_place.control("POST", "switches", switches)
    for name in ("number taken off", "limit", "rule off"):
        by_hand(in_place, name)
    _, found = drift(in_place)
    assert set(brief(found)) == {BY_HAND[name][1] for name in ("number taken off", "limit", "rule off")}


def test_without_states_nobody_is_named_for_what_two_tenants_have(in_place: TestSandbox) -> None:
    (in_place.root / TENANTS[2]).write_text(
        (in_place.root / TENANTS[2]).read_text().replace("name: Twilio, dids", "name: Twilio reception, dids")
    )
    in_place.control("POST", "switches", {"portsip.audit_scope": "all", "portsip.audit_states": "absent"})
    by_hand(in_place, "rule rings another")
    assert ("globex", "6.2", None) in set(brief(drift(in_place)[1]))


def test_whose_rule_of_one_name_was_removed_by_whom(in_place: TestSandbox) -> None:
    """A tenant's audit log may be everybody's, and a rule that is gone has no id to go by."""
    path = in_place.root / TENANTS[2]
    path.write_text(path.read_text().replace("name: Twilio, dids", "name: Twilio reception, dids"))
    in_place.control("POST", "switches", {"portsip.audit_scope": "all"})
    rows = in_place.control("GET", "state").json()["portsip"]["inbound_rules"].items()
    for name, who in (("Twilio reception", "ann"), ("Twilio", "bob")):
        rule = next(row_id for row_id, row in rows if row["name"] == name)
        change(in_place, "portsip", "inbound_rules", id=rule, set={"name": "Twilio reception"})
        change(in_place, "portsip", "inbound_rules", id=rule, remove=True, actor=ANN | {"name": who})
    assert set(brief(drift(in_place)[1])) == {("globex", "6.2", "ann"), ("initech", "6.2", "bob")}


def test_drift_waits_for_no_run_and_leaves_nothing(in_place: TestSandbox) -> None:
    records = in_place.root / "records" / "demo"
    with held(records / "acme", "tenant acme"), held(records, "trunk carrier"):
        before = {path for path in records.rglob("*") if not path.name.startswith(".")}
        assert drift(in_place)[0] == 0
    after = {path for path in records.rglob("*") if not path.name.startswith(".")}
    assert after == before


def test_a_text_file_for_node_exporter(in_place: TestSandbox, tmp_path: Path) -> None:
    by_hand(in_place, "priority")
    path = tmp_path / "runbook.prom"
    path.write_text("of an earlier run")
    assert drift(in_place, "--metrics", str(path))[0] == 2
    samples = dict(line.rsplit(" ", 1) for line in path.read_text().splitlines() if not line.startswith("#"))
    assert samples['runbook_drift_tenants{site="demo"}'] == "3"
    assert samples['runbook_drift_differing{site="demo"}'] == "1"
    assert samples['runbook_drift_differences{site="demo",tenant="acme"}'] == "1"
    assert float(samples['runbook_drift_timestamp_seconds{site="demo"}']) > 1.7e9
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert [entry.name for entry in tmp_path.iterdir()] == ["runbook.prom"]


@pytest.fixture
def receiver() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The URL of a server on this machine, and what was posted to it."""
    posted: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(500 if self.path == "/broken" else 200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", posted
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_summary_is_posted_only_if_something_differs(
    in_place: TestSandbox, receiver: tuple[str, list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, posted = receiver
    monkeypatch.setenv("DRIFT_URL", f"{url}/services/T0/secret-part")
    assert drift(in_place, "--post", "env:DRIFT_URL")[0] == 0
    assert posted == []
    by_hand(in_place, "priority")
    assert drift(in_place, "--post", "env:DRIFT_URL")[0] == 2
    [summary] = posted
    assert "acme" in summary["text"] and summary["differences"][0]["changed_by"]["who"] == USER
    monkeypatch.setenv("DRIFT_URL", f"{url}/broken")
    ended = runbook(in_place, "drift", "-s", SITE, "--all", "--post", "env:DRIFT_URL")
    assert ended.returncode == 1 and "/broken" not in ended.stdout + ended.stderr


@pytest.mark.parametrize("value", ["http://example.com/x", "ftp://127.0.0.1/", "no URL", "https://"])
def test_what_a_summary_cannot_be_posted_to_ends_before_the_first_request(
    in_place: TestSandbox, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("DRIFT_URL", value)
    in_place.clear_log()
    ended = runbook_here(in_place, "drift", "-s", SITE, "--all", "--post", "env:DRIFT_URL")
    assert ended.returncode == 3 and value not in ended.stdout + ended.stderr
    assert in_place.control("GET", "requests").json()["requests"] == []


def test_a_tenant_that_cannot_be_read_does_not_hide_the_others(in_place: TestSandbox) -> None:
    by_hand(in_place, "priority")
    gone = in_place.root / "parameters/sandbox/gone.yaml"
    acme = (in_place.root / TENANTS[0]).read_text()
    for old, new in (("acme", "gone"), ("12025550101-12025550104", "12025550100")):
        acme = acme.replace(old, new)
    gone.write_text(acme)
    ended = runbook(in_place, "drift", "-s", SITE, "--all", "--json")
    assert ended.returncode == 1, ended.stderr
    found = json.loads(ended.stdout)
    assert ended.returncode == 1
    assert [one["tenant"] for one in found["unread"]] == ["gone"]
    assert set(brief(found)) == {("acme", "3.1", USER)}
