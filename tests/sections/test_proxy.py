"""Twilio through a company's proxy, which may inspect TLS: by parameter, never from the environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import nbformat
import pytest
from ruamel.yaml import YAML

from runbook_lib.errors import InputError, UnreachableError
from runbook_lib.keys import trunk
from runbook_lib.records import living
from runbook_lib.runbook import Runbook
from tests.conftest import CHECKOUT, TestSandbox
from tests.proxies import LOOPBACK, Authority, proxy, tls_in_front_of
from tests.sections.test_connections import ACME, DOMAIN, SITE_CONTENT, acme, run, site

RUNBOOK = (sys.executable, "-m", "runbook_lib")
BLOCKED = b"HTTP/1.1 403 Blocked by policy\r\nContent-Length: 0\r\n\r\n"
#: All the ways in which an environment names proxies and authorities.
ENVIRONMENT = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


def through(**settings: str | None) -> dict[str, Any]:
    """The demo's site with a proxy, a CA bundle or both for its Twilio account."""
    return site(twilio_accounts={"main": {**SITE_CONTENT["twilio_accounts"]["main"], **settings}})


def twilio_port(sandbox: TestSandbox) -> int:
    port = urlsplit(sandbox.urls["twilio_api_url"]).port
    assert port
    return port


@pytest.fixture
def company(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "company", "The company's TLS inspection")


def at(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    """Put Twilio's APIs behind TLS at a port."""
    for name in ("RUNBOOK_TWILIO_API_URL", "RUNBOOK_TWILIO_TRUNKING_URL"):
        monkeypatch.setenv(name, f"https://{LOOPBACK}:{port}")


def test_twilio_through_a_proxy_that_inspects_tls(
    sandbox: TestSandbox, company: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = twilio_port(sandbox)  # speaks plain HTTP: only the proxy can have ended the TLS
    at(monkeypatch, port)
    with proxy(inspects_as=company) as running:
        run(through(proxy=running.url, ca_file=str(company.ca_file)), acme(), "00", "01", "02", "05")
    assert DOMAIN in sandbox.vendors.trunk_sids()
    assert set(running.asked) == {f"{LOOPBACK}:{port}"}  # never the PBX


def test_twilio_through_a_proxy_that_only_tunnels(
    sandbox: TestSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    twilio = Authority(tmp_path / "twilio", "Twilio's own")
    with tls_in_front_of(twilio_port(sandbox), twilio) as port, proxy() as running:
        at(monkeypatch, port)
        run(through(proxy=running.url, ca_file=str(twilio.ca_file)), acme(), "01")
        assert DOMAIN in sandbox.vendors.trunk_sids() and running.asked
        before = len(running.asked)
        run(through(ca_file=str(twilio.ca_file)), acme(), "01")  # not named: not used
        assert len(running.asked) == before


@pytest.mark.parametrize("ca_file", [None, "another"])
def test_an_inspecting_proxy_whose_authority_is_not_named(
    sandbox: TestSandbox,
    company: Authority,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ca_file: str | None,
) -> None:
    at(monkeypatch, twilio_port(sandbox))
    bundle = str(Authority(tmp_path / "another", "Another").ca_file) if ca_file else None
    for name in BUNDLES:
        monkeypatch.setenv(name, str(company.ca_file))  # has no say
    with proxy(inspects_as=company) as running:
        the_site = through(proxy=running.url, ca_file=bundle)
        with Runbook.open(the_site, acme()) as runbook, pytest.raises(UnreachableError) as caught:
            runbook.section("01").plan()
    assert caught.value.vendor == "Twilio" and "twilio_accounts" in str(caught.value.next_step)


def test_what_the_environment_names_is_never_used(
    sandbox: TestSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    with proxy() as running:
        for name in ENVIRONMENT:
            monkeypatch.setenv(name, running.url)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        for name in BUNDLES:
            monkeypatch.setenv(name, os.devnull)
        for arguments in (["apply", "--section", "01", ACME], ["sign-in", ACME]):
            done = subprocess.run(
                [*RUNBOOK, *arguments],
                cwd=sandbox.root,
                env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, done.stdout + done.stderr
        for name in (*ENVIRONMENT, *BUNDLES):
            monkeypatch.delenv(name)
    assert DOMAIN in sandbox.vendors.trunk_sids() and running.asked == []


def test_no_proxy_does_not_lead_past_the_proxy(
    sandbox: TestSandbox, company: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    at(monkeypatch, twilio_port(sandbox))
    monkeypatch.setenv("NO_PROXY", "*")
    with proxy(inspects_as=company) as running:
        run(through(proxy=running.url, ca_file=str(company.ca_file)), acme(), "01")
    assert running.asked


@pytest.mark.parametrize("kind", ["refuses", "is not there"])
def test_a_proxy_that_lets_nothing_through(
    sandbox: TestSandbox, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Nothing has left, so a write that failed so is known not to have been carried out."""
    at(monkeypatch, twilio_port(sandbox))

    def write(url: str) -> None:
        with Runbook.open(through(proxy=url), acme(), mode="apply") as runbook:
            context = runbook.context
            runbook.open_own_record("01")
            with (
                pytest.raises(UnreachableError) as caught,
                context.journal.writing("01", trunk("x"), (), None),
            ):
                context.twilio.write("/v1/Trunks", {"friendly_name": "x"})
            living.end(runbook.folder)
        assert url in str(caught.value)

    with proxy(refusal=BLOCKED) as running:
        if kind == "refuses":
            write(running.url)
            assert running.asked
    if kind == "is not there":
        write(running.url)
    assert sandbox.writes() == []


def test_the_proxy_is_shown_in_00_and_in_the_record(
    sandbox: TestSandbox, company: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at(monkeypatch, twilio_port(sandbox))
    with proxy(inspects_as=company) as running:
        content = through(proxy=running.url, ca_file=str(company.ca_file))
        with (tmp_path / "site.yaml").open("w") as file:
            YAML(typ="safe").dump(content, file)
        done = subprocess.run(
            [*RUNBOOK, "apply", "-s", str(tmp_path / "site.yaml"), ACME, "--section", "00"],
            cwd=sandbox.root,
            env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
            capture_output=True,
            text=True,
        )
        with Runbook.open(content, acme()) as runbook:
            (who, *_) = runbook.section("00").current()
    assert done.returncode == 0, done.stdout + done.stderr
    assert ("Twilio", "proxy", running.url) in who.rows
    (path,) = sandbox.root.glob("records/demo/acme/*/record.json")
    account = json.loads(path.read_text())["parameters"]["site"]["twilio_accounts"]["main"]
    assert (account["proxy"], account["ca_file"]) == (running.url, str(company.ca_file))
    notebook = nbformat.read(next(path.parent.glob("00_*.ipynb")), as_version=4)
    assert running.url in json.dumps([cell.get("outputs") for cell in notebook.cells])


@pytest.mark.parametrize(
    "content", [b"", b"no certificate", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
@pytest.mark.parametrize("whose", ["Twilio", "PBX"])
def test_a_file_that_is_no_ca_bundle_ends_before_any_request(
    sandbox: TestSandbox, tmp_path: Path, content: bytes, whose: str
) -> None:
    (tmp_path / "ca.pem").write_bytes(content)
    bundle = str(tmp_path / "ca.pem")
    wrong = (
        through(ca_file=bundle) if whose == "Twilio" else site(pbx={**SITE_CONTENT["pbx"], "ca_file": bundle})
    )
    sandbox.clear_log()
    with pytest.raises(InputError, match="ca_file"):
        Runbook.open(wrong, acme())
    assert sandbox.control("GET", "requests").json()["requests"] == []
