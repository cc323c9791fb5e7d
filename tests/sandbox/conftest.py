"""A sandbox process per test module, reset before every test."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from twilio.http.http_client import TwilioHttpClient
from twilio.rest import Client

from runbook_sandbox import demo, secrets

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass
class Running:
    """A sandbox and the ways to talk to it."""

    root: Path
    endpoints: dict[str, Any]
    secrets: dict[str, str]
    control: httpx.Client
    twilio: httpx.Client
    pbx: httpx.Client

    @property
    def auth(self) -> tuple[str, str]:
        return demo.ACCOUNT_SID, self.secrets["twilio_auth_token"]

    @property
    def account(self) -> str:
        return f"/2010-04-01/Accounts/{demo.ACCOUNT_SID}"

    def switch(self, **settings: Any) -> None:
        names = {name.replace("__", "."): value for name, value in settings.items()}
        answer = self.control.post("/switches", json=names)
        assert answer.status_code == 200, answer.text

    def fault(self, **wanted: Any) -> None:
        answer = self.control.post("/faults", json=wanted)
        assert answer.status_code == 200, answer.text

    def patch(self, **wanted: Any) -> None:
        answer = self.control.post("/state/patch", json=wanted)
        assert answer.status_code == 200, answer.text

    def state(self) -> dict[str, Any]:
        return self.control.get("/state").json()

    def requests(self) -> list[dict[str, Any]]:
        return self.control.get("/requests").json()["requests"]

    def sign_in(self, tenant: str | None = None, *, switch_to: str | None = None) -> httpx.Client:
        """Return a client that is signed in: as the administrator, or as a tenant's."""
        body = {"username": "admin", "password": self.secrets["portsip_admin_password"]}
        if tenant:
            body = {
                "username": "admin",
                "password": self.secrets["portsip_tenant_password"],
                "domain": f"{tenant}.pbx.example",
            }
        answer = self.pbx.post("/auth/sign_in", json=body)
        assert answer.status_code == 200, answer.text
        client = httpx.Client(
            base_url=self.pbx.base_url, verify=_trust(self.endpoints["ca_file"]), timeout=10
        )
        client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        if switch_to:
            switched = client.post("/tenants/switch", params={"id": demo.TENANTS[switch_to]})
            assert switched.status_code == 200, switched.text
        return client


def _trust(ca_file: str) -> Any:
    import ssl

    return ssl.create_default_context(cafile=ca_file)


@contextmanager
def foreground(root: Path) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """A sandbox of a root in the foreground, and what it announced; gone after the ``with`` block."""
    command = [sys.executable, "-m", "runbook_sandbox", "--root", str(root), "--foreground"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as process:
        try:
            assert process.stdout is not None
            yield process, json.loads(process.stdout.readline())
        finally:
            process.kill()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    root = tmp_path_factory.mktemp("sandbox")
    with (
        foreground(root) as (process, endpoints),
        httpx.Client(base_url=endpoints["control_url"], timeout=30) as control,
        httpx.Client(base_url=endpoints["twilio_api_url"], timeout=10) as twilio,
        httpx.Client(
            base_url=endpoints["portsip_url"] + "/api", verify=_trust(endpoints["ca_file"]), timeout=10
        ) as pbx,
    ):
        values = secrets.read_secrets(root)
        twilio.auth = (demo.ACCOUNT_SID, values["twilio_auth_token"])
        yield Running(root, endpoints, values, control, twilio, pbx)
        process.terminate()
        assert process.wait(10) == 0


@pytest.fixture
def sandbox(running: Running) -> Running:
    answer = running.control.post("/reset")
    assert answer.status_code == 200, answer.text
    return running


@pytest.fixture
def admin(sandbox: Running) -> Iterator[httpx.Client]:
    with sandbox.sign_in() as client:
        yield client


@pytest.fixture
def acme(sandbox: Running) -> Iterator[httpx.Client]:
    with sandbox.sign_in("acme") as client:
        yield client


@pytest.fixture
def sdk(sandbox: Running) -> Client:
    """Twilio's own SDK, pointed at the sandbox."""
    client = Client(*sandbox.auth, http_client=TwilioHttpClient(timeout=10, pool_connections=False))
    client.trunking.base_url = sandbox.endpoints["twilio_trunking_url"]
    client.api.base_url = sandbox.endpoints["twilio_api_url"]
    return client


@pytest.fixture
def trunk_body() -> Callable[..., dict[str, Any]]:
    """A trunk as the guide makes it; fields can be replaced."""

    def body(**different: Any) -> dict[str, Any]:
        wanted = {
            "name": "Twilio-Reg-Trunk",
            "brand": "Twilio",
            "auth_mode": "REGISTER_AUTH",
            "transport": "UDP",
            "hostname": "acme-runbook.pstn.twilio.com",
            "port": 5060,
            "outbound_server": "",
            "outbound_server_port": 0,
            "auth_id": "acme-pbx",
            "password": "Correct-Horse-42",
            "concurrency": 100000,
            "did_numbers": "12025550100-12025550103",
        }
        return wanted | different

    return body
