"""The sandbox as a process: foreground, detached, its secrets and its certificate."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from cryptography import x509

from runbook_sandbox import certificate, demo, process, secrets

from .conftest import REPOSITORY, foreground


@pytest.fixture
def root(tmp_path):
    yield tmp_path
    process.stop(tmp_path)


def health(endpoints: process.RunningSandbox) -> dict:
    return httpx.get(endpoints.control_url + "/health").json()


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_foreground_announces_serves_and_ends_cleanly(tmp_path):
    with foreground(tmp_path) as (running, endpoints):
        assert set(endpoints) == {
            "twilio_api_url",
            "twilio_trunking_url",
            "portsip_url",
            "control_url",
            "ca_file",
            "pid",
        }
        assert endpoints["pid"] == running.pid
        trust = ssl.create_default_context(cafile=endpoints["ca_file"])
        assert httpx.get(endpoints["portsip_url"] + "/api/info", verify=trust).status_code == 200
        by_name = endpoints["portsip_url"].replace("127.0.0.1", "localhost")
        assert httpx.get(by_name + "/api/info", verify=trust).status_code == 200
        running.send_signal(signal.SIGTERM)
        assert running.wait(10) == 0
        assert running.stdout.read() == ""
    assert not (tmp_path / ".sandbox" / "state.json").exists()


def test_taken_port(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "runbook_sandbox", "--root", str(tmp_path), "--foreground"]
        ended = subprocess.run(
            [*command, "--twilio-port", str(port)], capture_output=True, text=True, cwd=REPOSITORY, timeout=30
        )
    assert ended.returncode == 1 and ended.stdout == ""
    assert ended.stderr.count("\n") == 1 and f"port {port}" in ended.stderr


def test_one_detached_process_for_many_callers(root):
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(process.ensure_running, [root] * 6))
    assert len(set(found)) == 1
    assert process.find_running(root) == found[0]
    assert health(found[0])["pid"] == found[0].pid
    assert mode(root / ".sandbox" / "state.json") == 0o600
    assert process.stop(root) is True
    assert process.find_running(root) is None and process.stop(root) is False


def test_state_survives_a_restart(root):
    endpoints = process.ensure_running(root)
    auth = ("ACf3a1c0de5a4db0c5ba11ad5c0ffee001", secrets.read_secrets(root)["twilio_auth_token"])
    httpx.post(endpoints.twilio_url + "/v1/Trunks", data={"FriendlyName": "Kept"}, auth=auth)
    process.stop(root)
    assert mode(root / ".sandbox" / "data.json") == 0o600
    again = process.ensure_running(root)
    assert again.pid != endpoints.pid
    names = [
        t["friendly_name"] for t in httpx.get(again.twilio_url + "/v1/Trunks", auth=auth).json()["trunks"]
    ]
    assert "Kept" in names


def test_killed_process_is_replaced(root):
    first = process.ensure_running(root)
    os.kill(first.pid, signal.SIGKILL)
    second = process.ensure_running(root)
    assert second.pid != first.pid and health(second)["ok"]


def test_state_file_of_another_process_is_not_believed(root):
    with foreground(root) as (_, endpoints):
        state = {**endpoints, "instance": "somebody else"}
        (root / ".sandbox" / "state.json").write_text(json.dumps(state))
        assert process.find_running(root) is None


def test_idle_process_ends(root):
    # Long enough for the first health call to come in time on a busy machine.
    endpoints = process.ensure_running(root, idle_seconds=3)
    deadline = time.monotonic() + 30
    while (root / ".sandbox" / "state.json").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert process.find_running(root) is None
    with pytest.raises(httpx.TransportError):
        health(endpoints)


def test_secrets(tmp_path):
    files = secrets.ensure_secrets(tmp_path)
    assert mode(tmp_path / ".sandbox" / "secrets") == 0o700
    values = {name: path.read_text() for name, path in files.items()}
    assert all(mode(path) == 0o600 for path in files.values())
    assert all(len(value.strip()) == 32 for name, value in values.items() if name.startswith("twilio_"))
    for name in ("sip_password_acme", "sip_password_globex", "sip_password_shared"):
        value = values[name].strip()
        assert len(value) >= 20
        assert any(map(str.isupper, value)) and any(map(str.islower, value)) and any(map(str.isdigit, value))
    files["sip_password_acme"].write_text("Mine-Mine-Mine-1")
    assert {name: path.read_text() for name, path in secrets.ensure_secrets(tmp_path).items()} == values | {
        "sip_password_acme": "Mine-Mine-Mine-1"
    }


def test_certificate(tmp_path, monkeypatch):
    ca = certificate.ensure_certificate(tmp_path)
    chain, key = certificate.server_files(tmp_path)
    assert mode(key) == 0o600 and mode(ca.with_name("ca.key")) == 0o600
    before = (ca.read_bytes(), chain.read_bytes())
    assert certificate.ensure_certificate(tmp_path) == ca and (ca.read_bytes(), chain.read_bytes()) == before
    names = x509.load_pem_x509_certificate(chain.read_bytes()).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    assert sorted(map(str, names.value.get_values_for_type(x509.IPAddress))) == ["127.0.0.1", "::1"]
    monkeypatch.setattr(certificate, "RENEW_BEFORE", timedelta(days=400))
    certificate.ensure_certificate(tmp_path)
    assert ca.read_bytes() == before[0] and chain.read_bytes() != before[1], "the CA that clients trust stays"


def made_ahead(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The certificates of a sandbox that was started under a clock that is ahead."""
    (root / ".sandbox" / "ca.pem").unlink(missing_ok=True)
    with monkeypatch.context() as ahead:
        ahead.setattr(certificate, "VALID_SINCE", timedelta(days=-300))
        certificate.ensure_certificate(root)
    assert not certificate.is_good(root)


def answers(endpoints: process.RunningSandbox) -> bool:
    trust = ssl.create_default_context(cafile=endpoints.ca_file)
    return httpx.get(endpoints.portsip_url + "/api/info", verify=trust).status_code == 200


def test_a_sandbox_that_was_started_under_a_future_clock_starts_again(root, monkeypatch):
    made_ahead(root, monkeypatch)
    assert answers(process.ensure_running(root))


def test_a_sandbox_that_runs_with_a_certificate_of_the_future_is_started_again(root, monkeypatch):
    first = process.ensure_running(root)
    auth = (demo.ACCOUNT_SID, secrets.read_secrets(root)["twilio_auth_token"])
    made = httpx.post(first.twilio_url + "/v1/Trunks", data={"FriendlyName": "kept"}, auth=auth)
    made.raise_for_status()
    made_ahead(root, monkeypatch)
    second = process.ensure_running(root)
    assert second.pid != first.pid and answers(second)
    state = httpx.get(second.control_url + "/state").json()
    assert "kept" in [one["friendly_name"] for one in state["twilio"]["trunks"].values()]
    assert process.ensure_running(root) == second
