"""Files that are hard to read, problems that must not hide each other, values that must not be repeated."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from runbook_lib.errors import InputError, SecretError
from runbook_lib.parameters import load, load_site, load_tenant
from tests.conftest import CHECKOUT
from tests.parameters.test_bad_input import CANARY, changed, live_site, problems_of, read

TENANT = (CHECKOUT / "parameters" / "sandbox" / "acme.yaml").read_text()
PASSWORD = "password: file:.sandbox/secrets/sip_password_acme"
WORD = CANARY.replace("-", "")


@pytest.mark.parametrize(
    "written",
    [
        f"password: *{WORD}",
        f"password: !{WORD} x",
        f"password: !!{WORD} x",
        f"password: &{WORD} {CANARY}",
        f'password: "{CANARY}',
        f"password: '{CANARY}",
        f"password: {CANARY}: x",
        f"password: @{CANARY}",
        f"password: %{CANARY}",
        f"password: `{CANARY}",
        f"password: [{CANARY}",
        f"password: {{{CANARY}: x}}",
        f"password: {{[{CANARY}]: x}}",
        f"password: [{CANARY}]",
        f"password: |\n        {CANARY}",
        f'password: "{CANARY}\\q"',
        f"password: env:{CANARY}",
        f"password: ENV:{CANARY}",
        f"password: file:{CANARY}\n      passwort: {CANARY}",
        f"password: keyring:{WORD}",
        f"? [{CANARY}]\n      : x",
    ],
)
def test_a_password_in_the_file_is_never_repeated(tmp_path: Path, written: str) -> None:
    text = TENANT.replace(PASSWORD, written)
    assert text != TENANT
    (tmp_path / "acme.yaml").write_text(text)
    with pytest.raises(InputError) as caught:
        load(read("site.yaml"), "acme.yaml", tmp_path)
    if "file:" not in written:  # a reference is no secret
        assert CANARY not in str(caught.value) and WORD not in str(caught.value)
    assert "acme.yaml:" in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "tenant: &a {name: *a}",
        "[" * 50_000,
        "tenant: {? [a]: b}",
        "tenant: {{a: b}: c}",
        "\0",
        "tenant: \x07",
        "%YAML 9",
    ],
    ids=lambda one: repr(one[:20]),
)
def test_hostile_yaml(tmp_path: Path, text: str) -> None:
    assert problems_of(tmp_path, read("site.yaml"), text)


def test_what_is_not_a_file_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", ".", "/dev/zero"):
        with pytest.raises(InputError, match="cannot be read"):
            load_site(name, tmp_path)


def test_a_byte_order_mark_is_no_problem(tmp_path: Path) -> None:
    (tmp_path / "acme.yaml").write_bytes(b"\xef\xbb\xbf" + TENANT.encode())
    assert load_tenant("acme.yaml", tmp_path).name == "acme"


@pytest.mark.parametrize("source", [None, 5, "", [], b"x", object()])
def test_what_is_not_a_source(tmp_path: Path, source: Any) -> None:
    with pytest.raises(InputError, match="site"):
        load_site(source, tmp_path)


def test_one_kind_of_problem_does_not_hide_another(tmp_path: Path) -> None:
    site = read("site.yaml")
    for path, value in (
        ("site.nmae", "x"),  # unknown key
        ("site.pbx.url", "https://pbx.example.com:8887"),  # against the target
        ("site.pbx.password", "env:RUNBOOK_TEST_NOT_SET"),  # a missing secret
        ("site.policies.allow_non_public_addresses", False),  # so the address is refused
    ):
        site = changed(site, path, value)
    tenant = (
        TENANT.replace('"12025550101-12025550104"', "12025550101")  # unquoted
        .replace("acme-pbx\n", "-acme\n", 1)  # a label
        .replace(PASSWORD, f"password: {CANARY}")  # a value instead of a reference
        .replace(
            "  name: acme\n", "  name: acme\n  name: acme\n  twilio_account: other\n"
        )  # duplicate, unknown
        + "  origination:\n    uris: [{region: us1, priority: 1}, {region: us1, priority: 2}]\n"
    )
    problems = problems_of(tmp_path, site, tenant)
    for part in (
        "site.nmae",
        "site.pbx.url",
        "site.pbx.password",
        "site.pbx.address",
        "tenant.name",
        "tenant.twilio_account",
        "tenant.dids",
        "tenant.trunk.termination",
        "tenant.termination.credentials.password",
        "tenant.origination.uris.1.region",
    ):
        assert sum(f" {part}: " in one for one in problems) == 1, (part, problems)
    assert len(problems) == 10
    path = f"{tmp_path / 'acme.yaml'}:"
    lines = [int(one.removeprefix(path).split(":")[0]) for one in problems if one.startswith(path)]
    assert lines == sorted(lines)


def test_several_duplicates_are_all_named(tmp_path: Path) -> None:
    problems = problems_of(tmp_path, read("site.yaml"), TENANT + "  name: b\n  dids: '1'\n  name: c\n")
    assert len([one for one in problems if "duplicate key, first on line 3" in one]) == 2
    assert len([one for one in problems if "duplicate key" in one]) == 3


@pytest.mark.parametrize(
    "url",
    [
        "",
        "pbx.example.com",
        "http://pbx.example.com",
        "https://",
        "https://:8887",
        "https://pbx",
        "https://a.b:0",
        "https://a.b:99999",
        "https://a.b:x",
        "https://user:pass@a.b",
        "https://a.b/api/v1",
        "https://a.b?x=1",
        "https://a.b#x",
        "https://[::1]:8887",
        "https://[::::",
        "https://a..b",
        "https://a.b\n",
        "ftp://a.b",
    ],
)
def test_urls_that_are_no_pbx(tmp_path: Path, url: str) -> None:
    site = changed(changed(read("site.yaml"), "site.target", "live"), "site.pbx.url", url)
    assert any("site.pbx.url" in one for one in problems_of(tmp_path, site, read("acme.yaml")))


@pytest.mark.parametrize(
    "url", ["https://pbx.example.com:8887", "https://54.1.2.3/api", "https://pbx.example.com/api/"]
)
def test_urls_of_a_pbx(tmp_path: Path, url: str) -> None:
    site = changed(live_site(), "site.pbx.url", url)
    assert load_site(site, tmp_path).pbx.url == url


@pytest.mark.parametrize("key", ["auth_token", "pbx"])
def test_short_secrets_are_refused_on_a_live_site(
    tmp_path: Path, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TOKEN", "ADMIN", "SIP"):
        monkeypatch.setenv(f"RUNBOOK_TEST_{name}", "Long-Enough-Passw0rd-" + name)
    monkeypatch.setenv("RUNBOOK_TEST_TOKEN" if key == "auth_token" else "RUNBOOK_TEST_ADMIN", "Sh0rt-7")
    site = live_site()
    tenant = changed(read("acme.yaml"), "tenant.termination.credentials.password", "env:RUNBOOK_TEST_SIP")
    with pytest.raises(SecretError, match="shorter than 8") as caught:
        load(site, tenant, tmp_path)
    assert len(caught.value.problems) == 1 and "Sh0rt" not in str(caught.value)
    assert load(site, tenant, tmp_path, secrets=False)[0].target == "live"


def test_a_value_that_is_a_secret_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNBOOK_TEST_SIP", CANARY)
    tenant = changed(read("acme.yaml"), "tenant.termination.credentials.password", "env:RUNBOOK_TEST_SIP")
    tenant = changed(tenant, "tenant.trunk.friendly_name", f"acme ({CANARY})")
    problems = problems_of(tmp_path, read("site.yaml"), tenant)
    assert (
        len(problems) == 1 and "tenant.trunk.friendly_name: contains the value of the secret" in problems[0]
    )


def test_only_the_secrets_of_this_run_are_needed(tmp_path: Path) -> None:
    other = {"account_sid": "AC" + "1" * 32, "auth_token": "env:RUNBOOK_TEST_NOT_SET"}
    site = changed(read("site.yaml"), "site.twilio_accounts.other", other)
    site = changed(site, "site.shared_trunks.carrier.twilio_account", "main")
    tenant = changed(read("acme.yaml"), "tenant.twilio_account", "main")
    assert load(site, tenant, tmp_path)[1].trunk_of(load_site(site, tmp_path)).twilio_account == "main"
    assert any("tenant.twilio_account" in one for one in problems_of(tmp_path, site, read("acme.yaml")))


def test_a_list_name_that_twilio_would_cut(tmp_path: Path) -> None:
    tenant = changed(read("acme.yaml"), "tenant.trunk.termination", "a" * 60)
    assert any("credentials.list_name" in one for one in problems_of(tmp_path, read("site.yaml"), tenant))


@pytest.mark.parametrize(
    ("name", "shared_trunk", "label"),
    [
        ("acme.yaml", None, "acme"),
        ("globex.yaml", "carrier", "carrier"),
        ("initech.yaml", "carrier", "carrier"),
    ],
)
def test_the_sandbox_set(tmp_path: Path, name: str, shared_trunk: str | None, label: str) -> None:
    site, tenant = load(read("site.yaml"), read(name), tmp_path)
    trunk = tenant.trunk_of(site)
    assert tenant.shared_trunk == shared_trunk
    assert trunk.trunk.uri.domain == f"{label}-pbx.pstn.twilio.com"
    assert trunk.acl_name == f"{label}-pbx PBX addresses"
    assert trunk.credential_list_name == f"{label}-pbx credentials"
    assert trunk.acl_addresses(site) == ["203.0.113.10"]
    assert YAML(typ="safe").load(f'"{tenant.dids}"') == str(tenant.dids)
