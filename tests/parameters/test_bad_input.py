"""Every malformed parameter ends in one clear refusal that names file and key, before any request."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from runbook_lib.errors import InputError
from runbook_lib.parameters import load, load_site
from tests.conftest import CHECKOUT

CANARY = "Canary-Passw0rd-77"
SETS = CHECKOUT / "parameters" / "sandbox"


def read(name: str) -> dict[str, Any]:
    return YAML(typ="safe").load(SETS / name)


def changed(document: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    document = copy.deepcopy(document)
    *way, last = path.split(".")
    node = document
    for part in way:
        node = node.setdefault(part, {})
    if value is ...:
        del node[last]
    else:
        node[last] = value
    return document


def live_site() -> dict[str, Any]:
    """The demo's site as a live one: another PBX, and secrets of its own."""
    site = read("site.yaml")
    for path, value in (
        ("site.target", "live"),
        ("site.pbx.url", "https://pbx.example.com:8887"),
        ("site.pbx.password", "env:RUNBOOK_TEST_ADMIN"),
        ("site.twilio_accounts.main.auth_token", "env:RUNBOOK_TEST_TOKEN"),
        ("site.shared_trunks.carrier.termination.credentials.password", "env:RUNBOOK_TEST_SIP"),
    ):
        site = changed(site, path, value)
    return site


def problems_of(tmp_path: Path, site: Any, tenant: Any) -> list[str]:
    """Write both files, load them, and return the problems of the refusal."""
    for name, content in (("site.yaml", site), ("acme.yaml", tenant)):
        with (tmp_path / name).open("w") as file:
            if isinstance(content, str):
                file.write(content)
            else:
                YAML(typ="safe").dump(content, file)
    with pytest.raises(InputError) as caught:
        load("site.yaml", "acme.yaml", tmp_path)
    assert CANARY not in str(caught.value)
    assert "Traceback" not in str(caught.value)
    return caught.value.problems


SITE_CASES = [
    ("site.name", ...),
    ("site.name", "../elsewhere"),
    ("site.name", "a/b"),
    ("site.name", ".hidden"),
    ("site.name", "a..b"),
    ("site.name", ""),
    ("site.name", "x" * 64),
    ("site.name", "Upper"),
    ("site.name", 7),
    ("site.name", None),
    ("site.nmae", "demo"),
    ("site.target", ...),
    ("site.target", "production"),
    ("site.target", True),
    ("site.twilio_accounts", ...),
    ("site.twilio_accounts", {}),
    ("site.twilio_accounts", []),
    ("site.twilio_accounts", "main"),
    ("site.twilio_accounts.main.account_sid", ...),
    ("site.twilio_accounts.main.account_sid", "AC123"),
    ("site.twilio_accounts.main.account_sid", "SK" + "0" * 32),
    ("site.twilio_accounts.main.account_sid", 123),
    ("site.twilio_accounts.main.auth_token", ...),
    ("site.twilio_accounts.main.auth_token", CANARY),
    ("site.twilio_accounts.main.auth_token", 1234567890),
    ("site.twilio_accounts.main.auth_token", ["env:X"]),
    ("site.twilio_accounts.main.auth_token", "env:RUNBOOK_TEST_NOT_SET"),
    ("site.twilio_accounts.main.auth_token", "file:not/there"),
    ("site.twilio_accounts.main.auth_tokn", "env:X"),
    ("site.twilio_accounts.main.api_key_sid", "SK" + "0" * 32),
    ("site.twilio_accounts.main.api_key_secret", "env:HOME"),
    ("site.twilio_accounts.main.region", "us9"),
    ("site.twilio_accounts.main.edge", "roaming"),
    ("site.twilio_accounts.main.proxy", "proxy.example.com:3128"),
    ("site.twilio_accounts.main.proxy", "http://proxy.example.com"),
    ("site.twilio_accounts.main.proxy", "https://proxy.example.com:3128"),
    ("site.twilio_accounts.main.proxy", "socks5://proxy.example.com:1080"),
    ("site.twilio_accounts.main.proxy", f"http://user:{CANARY}@proxy.example.com:3128"),
    ("site.twilio_accounts.main.proxy", f"http://{CANARY}@proxy.example.com:3128"),
    ("site.twilio_accounts.main.proxy", f"http://proxy.example.com:3128/?{CANARY}"),
    ("site.twilio_accounts.main.proxy", "http://proxy.example.com:99999"),
    ("site.twilio_accounts.main.proxy", "http://[::1"),
    ("site.twilio_accounts.main.proxy", "http://:3128"),
    ("site.twilio_accounts.main.proxy", 3128),
    ("site.twilio_accounts.main.ca_file", "not/there.pem"),
    ("site.twilio_accounts.main.ca_file", 5),
    ("site.additional_signalling_ranges", "203.0.113.0/24"),
    ("site.additional_signalling_ranges", ["203.0.113.1/24"]),
    ("site.additional_signalling_ranges", ["203.0.113.0/33"]),
    ("site.additional_signalling_ranges", ["2001:db8::/32"]),
    ("site.additional_signalling_ranges", ["sip.example.com"]),
    ("site.additional_signalling_ranges", [5]),
    ("site.pbx", ...),
    ("site.pbx", None),
    ("site.pbx.url", "https://pbx.example.com:8887"),
    ("site.pbx.url", "http://pbx.example.com:8888"),
    ("site.pbx.address", ...),
    ("site.pbx.address", "10.0.0.1."),
    ("site.pbx.address", "pbx"),
    ("site.pbx.address", "pbx.example.com"),
    ("site.pbx.address", "1.2.3.4:5060"),
    ("site.pbx.address", "2001:db8::1"),
    ("site.pbx.signalling_ips", []),
    ("site.pbx.signalling_ips", "203.0.113.10"),
    ("site.pbx.signalling_ips", ["203.0.113.10/24"]),
    ("site.pbx.signalling_ips", ["pbx.example.com"]),
    ("site.pbx.ca_file", "not/there.pem"),
    ("site.pbx.ca_file", 5),
    ("site.pbx.certificate_sha256", "abc"),
    ("site.pbx.username", ""),
    ("site.pbx.username", 42),
    ("site.pbx.password", ...),
    ("site.pbx.password", CANARY),
    ("site.pbx.password", "vault:" + CANARY),
    ("site.pbx.pasword", CANARY),
    ("site.policies", "none"),
    ("site.policies.approval", "maybe"),
    ("site.policies.allow_non_public_addresses", "yes"),
    ("site.policies.allow_non_public_addresses", 1),
    ("site.policies.aproval", "none"),
]

TENANT_CASES = [
    ("tenant.name", ...),
    ("tenant.name", "../globex"),
    ("tenant.name", "/etc"),
    ("tenant.name", "a\\b"),
    ("tenant.name", ".."),
    ("tenant.name", "acme."),
    ("tenant.name", "acme\n"),
    ("tenant.name", 5),
    ("tenant.pbx_domain", ...),
    ("tenant.pbx_domain", "acme"),
    ("tenant.pbx_domain", "acme corp.example"),
    ("tenant.dids", ...),
    ("tenant.dids", None),
    ("tenant.dids", ""),
    ("tenant.dids", 12025550101),
    ("tenant.dids", ["12025550101"]),
    ("tenant.dids", "+12025550101"),
    ("tenant.dids", "012025550101"),
    ("tenant.dids", "0012025550101"),
    ("tenant.dids", "12025550104-12025550101"),
    ("tenant.dids", "12025550101-2025550104"),
    ("tenant.dids", "12025550101-"),
    ("tenant.dids", "12025550101;;12025550102"),
    ("tenant.dids", "12025550101,12025550102"),
    ("tenant.dids", "12025550101-12025550104;12025550102"),
    ("tenant.dids", "10000000000-19999999999"),
    ("tenant.dids", "911"),
    ("tenant.twilio_account", "other"),
    ("tenant.twilio_account", 1),
    ("tenant.trunk", ...),
    ("tenant.trunk", "acme"),
    ("tenant.trunk.friendly_name", ...),
    ("tenant.trunk.friendly_name", ""),
    ("tenant.trunk.friendly_name", " acme"),
    ("tenant.trunk.friendly_name", "x" * 65),
    ("tenant.trunk.friendly_name", "two\nlines"),
    ("tenant.trunk.friendly_name", "esc\x1b[31m"),
    ("tenant.trunk.friendly_name", 12),
    ("tenant.trunk.termination", ...),
    ("tenant.trunk.termination", "-acme"),
    ("tenant.trunk.termination", "acme-"),
    ("tenant.trunk.termination", "acme_pbx"),
    ("tenant.trunk.termination", "Acme"),
    ("tenant.trunk.termination", "a" * 64),
    ("tenant.trunk.termination", "acme.pstn.example.com"),
    ("tenant.trunk.termination", "sip:acme"),
    ("tenant.trunk.termination", "acme pbx"),
    ("tenant.trunk.terminaton", "acme"),
    ("tenant.termination", ...),
    ("tenant.termination.ip_access_control_list.name", "x" * 65),
    ("tenant.termination.ip_access_control_list.addresses", []),
    ("tenant.termination.ip_access_control_list.addresses", ["1.2.3"]),
    ("tenant.termination.ip_access_control_list.addresses", ["::1"]),
    ("tenant.termination.ip_access_control_list.addresses", [1.5]),
    ("tenant.termination.ip_access_control_list.adresses", ["1.2.3.4"]),
    ("tenant.termination.credentials", "none"),
    ("tenant.termination.credentials", None),
    ("tenant.termination.credentials", ...),
    ("tenant.termination.credentials.username", ...),
    ("tenant.termination.credentials.username", "x" * 33),
    ("tenant.termination.credentials.username", "a b"),
    ("tenant.termination.credentials.username", 123456),
    ("tenant.termination.credentials.password", ...),
    ("tenant.termination.credentials.password", CANARY),
    ("tenant.termination.credentials.password", 12345678),
    ("tenant.termination.credentials.password", True),
    ("tenant.termination.credentials.password", "env:RUNBOOK_TEST_NOT_SET"),
    ("tenant.termination.credentials.passwd", CANARY),
    ("tenant.origination.parameter", "zone"),
    ("tenant.origination.transport", "UDP"),
    ("tenant.origination.transport", "ws"),
    ("tenant.origination.port", 0),
    ("tenant.origination.port", 65536),
    ("tenant.origination.port", "5060"),
    ("tenant.origination.uris", []),
    ("tenant.origination.uris", "us1"),
    ("tenant.origination.uris", [{"region": "us1"}]),
    ("tenant.origination.uris", [{"region": "us9", "priority": 10}]),
    ("tenant.origination.uris", [{"region": "us1", "priority": -1}]),
    ("tenant.origination.uris", [{"region": "us1", "priority": 65536}]),
    ("tenant.origination.uris", [{"region": "us1", "priority": "10"}]),
    ("tenant.origination.uris", [{"region": "us1", "priority": 10, "weight": 0}]),
    ("tenant.origination.uris", [{"region": "us1", "priority": 10, "weight": 65536}]),
    ("tenant.origination.uris", [{"region": "us1", "priority": 10, "enabled": "yes"}]),
    ("tenant.origination.uris", [{"region": "us1", "priority": 10, "wieght": 10}]),
    ("tenant.origination.uris", [{"region": "us1", "priority": 10}] * 2),
    ("tenant.origination.uris", [{"region": "us1", "priority": i} for i in range(11)]),
    ("tenant.pbx_trunk.name", ""),
    ("tenant.pbx_trunk.name", "x" * 65),
    ("tenant.pbx_trunk.brand", 3),
    ("tenant.pbx_trunk.transport", "sctp"),
    ("tenant.pbx_trunk.max_concurrent_calls", -1),
    ("tenant.pbx_trunk.max_concurrent_calls", 2**31),
    ("tenant.pbx_trunk.max_concurrent_calls", "100"),
    ("tenant.pbx_trunk.max_concurrent_calls", 1.5),
    ("tenant.pbx_trunk.remove_signalling_ranges", ["203.0.113.1/24"]),
    ("tenant.pbx_trunk.remove_signalling_ranges", ["54.172.60.0/30"]),
    ("tenant.pbx_trunk.remove_signalling_ranges", ["54.172.60.1"]),
    ("tenant.pbx_trunk.remove_signalling_ranges", "198.51.100.0/30"),
    ("tenant.move", "+12025550101"),
    ("tenant.move", [12025550101]),
    ("tenant.move", ["12025550101"]),
    ("tenant.move", ["+12025550199"]),
    ("tenant.remove", ["+12025550101"]),
    ("tenant.remove", ["+1 202 555 0199"]),
    ("tenant.accept_interruption", "true"),
    ("tenant.accept_unrouted", 1),
    ("tenant.set_password", "on"),
    ("tenant.set_pasword", True),
]


def _ids(case: Any) -> str:
    return str(case)[:60] if isinstance(case, str) else ""


@pytest.mark.parametrize(("path", "value"), SITE_CASES, ids=_ids)
def test_bad_site(tmp_path: Path, path: str, value: Any) -> None:
    problems = problems_of(tmp_path, changed(read("site.yaml"), path, value), read("acme.yaml"))
    assert any("site.yaml" in one and path.rsplit(".", 1)[0] in one for one in problems), problems


@pytest.mark.parametrize(("path", "value"), TENANT_CASES, ids=_ids)
def test_bad_tenant(tmp_path: Path, path: str, value: Any) -> None:
    problems = problems_of(tmp_path, read("site.yaml"), changed(read("acme.yaml"), path, value))
    assert any("acme.yaml" in one and path.rsplit(".", 1)[0] in one for one in problems), problems


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "single key tenant"),
        ("[]", "single key tenant"),
        ("just words", "single key tenant"),
        ("tenant: [", "not readable YAML"),
        ("tenant:\n\t- x", "not readable YAML"),
        ("tenant: {name: acme}}", "not readable YAML"),
        ("tenant:\n  name: a\n  name: b\n  dids: '1'\n  dids: '2'\n", "duplicate key"),
        ("site:\n  name: demo\n", "unknown top-level key"),
        ("tenant: {name: acme}\nsite: {}\n", "unknown top-level key"),
        ("tenant: {name: acme}\nmode: apply\n", "unknown top-level key"),
        ("--- {}\n--- {}\n", "not readable YAML"),
        ("tenant: *nowhere", "not readable YAML"),
        ("tenant: !!python/object:os.system {}", "not readable YAML"),
        (
            "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
            + "".join(
                f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 10)}]\n" for i in range(8)
            ),
            "aliases",
        ),
        ("x" * 1_000_001, "larger than"),
    ],
    ids=lambda one: one[:20],
)
def test_unreadable_files(tmp_path: Path, text: str, reason: str) -> None:
    problems = problems_of(tmp_path, read("site.yaml"), text)
    assert any(reason in one and "acme.yaml" in one for one in problems), problems


def test_missing_binary_and_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    for name, reason in (
        ("not-there.yaml", "cannot be read"),
        (".", "cannot be read"),
        ("binary.yaml", "not UTF-8"),
    ):
        with pytest.raises(InputError, match=reason):
            load_site(name, tmp_path)


def test_all_problems_at_once_with_lines(tmp_path: Path) -> None:
    site = changed(changed(read("site.yaml"), "site.target", "real"), "site.pbx.address", "pbx")
    tenant = changed(changed(read("acme.yaml"), "tenant.dids", "+1"), "tenant.trunk.termination", "-")
    problems = problems_of(tmp_path, site, tenant)
    assert len(problems) == 4
    assert all(one.split(":")[1].isdigit() for one in problems)


def test_private_address_needs_leave(tmp_path: Path) -> None:
    for address in ("10.1.2.3", "127.0.0.1", "203.0.113.10", "169.254.0.1"):
        site = changed(changed(read("site.yaml"), "site.pbx.address", address), "site.policies", {})
        assert any("site.pbx.address" in one for one in problems_of(tmp_path, site, read("acme.yaml")))


@pytest.mark.parametrize("password", ["Short1", "alllowercase123", "ALLUPPERCASE123", "NoDigitsAtAllHere"])
def test_password_that_twilio_would_refuse(
    tmp_path: Path, password: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNBOOK_TEST_SIP", password)
    tenant = changed(read("acme.yaml"), "tenant.termination.credentials.password", "env:RUNBOOK_TEST_SIP")
    problems = problems_of(tmp_path, read("site.yaml"), tenant)
    assert any("Twilio would refuse" in one for one in problems)
    assert not any(password in one for one in problems)


def test_misspelt_key_gets_a_suggestion(tmp_path: Path) -> None:
    problems = problems_of(
        tmp_path, read("site.yaml"), changed(read("acme.yaml"), "tenant.set_pasword", True)
    )
    assert any("did you mean set_password" in one for one in problems)


def test_content_as_papermill_injects_it(tmp_path: Path) -> None:
    site, tenant = load(read("site.yaml")["site"], read("acme.yaml"), tmp_path)
    assert (site.name, tenant.name) == ("demo", "acme")
    with pytest.raises(InputError, match=r"tenant\.dids"):
        load(read("site.yaml"), changed(read("acme.yaml"), "tenant.dids", "x"), tmp_path)


def test_example_set_lacks_only_what_is_the_sites_own() -> None:
    with pytest.raises(InputError) as caught:
        load("parameters/example/site.yaml", "parameters/example/dental.yaml", CHECKOUT)
    reasons = ("keyring:", "env:BIGTEL_PBX_PASSWORD", "a documentation address")
    assert all(any(reason in one for reason in reasons) for one in caught.value.problems)


@pytest.mark.parametrize("as_path", [str, Path])
def test_content_in_the_place_of_a_path_is_never_repeated(tmp_path: Path, as_path: type) -> None:
    content = '{"site": {"pbx": {"password": "Inline-canary-77"}}}'
    for site, tenant in ((as_path(content), "no-such.yaml"), ("no-such.yaml", as_path(content))):
        with pytest.raises(InputError) as caught:
            load(site, tenant, tmp_path)
        assert "Inline-canary-77" not in str(caught.value)
        assert "give the path of a parameter file" in str(caught.value)
    with pytest.raises(InputError) as caught:
        load(CHECKOUT / "parameters/sandbox/site.yaml", f"trunk:{content}", CHECKOUT, secrets=False)
    assert "Inline-canary-77" not in str(caught.value)


def test_a_file_that_is_not_there_is_answered_with_those_that_are(tmp_path: Path) -> None:
    folder = tmp_path / "parameters"
    shutil.copytree(CHECKOUT / "parameters" / "sandbox", folder)
    (folder / "notes.yaml").write_text("other: tenant\n")
    for site, tenant, there, not_there in (
        ("site.yaml", "none.yaml", {"acme.yaml", "globex.yaml", "initech.yaml"}, {"site.yaml", "notes.yaml"}),
        ("none.yaml", "acme.yaml", {"site.yaml"}, {"acme.yaml", "notes.yaml"}),
        ("site.yaml", "none/none.yaml", set(), {"acme.yaml"}),
    ):
        with pytest.raises(InputError) as refused:
            load(f"parameters/{site}", f"parameters/{tenant}", tmp_path, secrets=False)
        text = " ".join(refused.value.problems)
        assert all(f"parameters/{name}" in text for name in there)
        assert not [name for name in not_there if f"parameters/{name}" in text]
