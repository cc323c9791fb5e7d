"""A sandbox of its own for the tests, in a project root of its own, reset before every test."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import httpx
import pytest

from runbook_lib import secret
from runbook_lib.records.record import EMERGENCY, REASON, TICKET
from runbook_lib.runbook import Runbook
from tests import sampling
from tests.documents import FACTS, SPECS
from tests.vendor_state import VendorState

#: It comes before the variable of the tests' own projects, and may name somebody's real workspace.
os.environ.pop("RUNBOOK_WORKSPACE", None)
#: What samples are drawn with: another one each time, the same in every worker.
SEED = int(os.environ.setdefault("RUNBOOK_SEED", str(random.randrange(10**6))))
CHECKOUT = Path(__file__).parent.parent
T = TypeVar("T")


def pytest_report_header() -> str:
    return f"samples: RUNBOOK_SEED={SEED}"


@pytest.fixture(scope="module", autouse=True)
def forgotten() -> Iterator[None]:
    """What the tests of one file have remembered, or told the command, does not reach the next one's."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("_secrets", "_tokens"):
            patch.setattr(secret, name, secret.SecretFilter())
        # The command's options leave these to what it starts; here it runs in the tests' own process.
        for name in (TICKET, REASON, EMERGENCY):
            os.environ.pop(name, None)
        yield


def sample(cases: Sequence[T], size: int) -> list[T]:
    """Some of the cases, chosen by the seed; all of them with ``make sweep``."""
    if os.environ.get("RUNBOOK_SWEEP"):
        return list(cases)
    return random.Random(SEED).sample(cases, size)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    missing = [str(folder) for folder in (SPECS, FACTS) if not folder.is_dir()]
    if missing:
        terminalreporter.section("contract tests SKIPPED", yellow=True)
        terminalreporter.line("Nothing was checked against the vendors' own documents, which are not here:")
        terminalreporter.line(", ".join(missing))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    sampling.choose(config, items, SEED)
    sampling.in_order(items)


def pytest_addoption(parser: pytest.Parser) -> None:
    sampling.add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    if config.option.durations_file and not hasattr(config, "workerinput"):
        config.pluginmanager.register(sampling.Stopwatch())


@dataclass(frozen=True)
class TestSandbox:
    """A running sandbox: its root folder, URLs, and the onlooker's view of the vendors."""

    __test__ = False

    root: Path
    urls: dict[str, str]
    vendors: VendorState

    def control(self, method: str, path: str, body: object = None) -> httpx.Response:
        url = f"{self.urls['control_url']}/{path}"
        answer = httpx.request(method, url, json=body, timeout=30, trust_env=False)
        answer.raise_for_status()
        return answer

    def writes(self) -> list[dict[str, object]]:
        """What changed state at either vendor since the log was cleared; sessions do not count."""
        log = self.control("GET", "requests").json()["requests"]
        return [
            one
            for one in log
            if one["method"] != "GET" and "/auth/" not in one["path"] and "/tenants/switch" not in one["path"]
        ]

    def set_up(self, site: str, *tenants: str) -> None:
        """Carry the guide out for tenants: in this process and without notebooks, which takes a tenth."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.environment.items():
                patch.setenv(name, value)
            for tenant in tenants:
                with Runbook.open(self.root / site, self.root / tenant, mode="apply") as runbook:
                    for number in runbook.order:
                        section = runbook.section(number)
                        section.apply()
                        section.finish()

    def set_back(self) -> None:
        """Put vendors, parameters, records and kept sign-ins back, whatever earlier tests left of them."""
        self.control("POST", "reset")
        shutil.rmtree(self.root / "parameters")
        shutil.copytree(CHECKOUT / "parameters", self.root / "parameters")
        for folder in (self.root / "records", self.root.parent / "state"):
            shutil.rmtree(folder, ignore_errors=True)

    def clear_log(self) -> None:
        self.control("DELETE", "requests")

    def passwords(self, username: str, trunk: str) -> tuple[str | None, str | None]:
        """Digests of the two passwords that are one pair: of the user at Twilio, of the trunk in the PBX."""
        state = self.control("GET", "state").json()
        users, trunks = state["twilio"]["credentials"].values(), state["portsip"]["providers"].values()
        [at_twilio] = [one["password_sha256"] for one in users if one["username"] == username]
        [at_pbx] = [one["password_sha256"] for one in trunks if one["name"] == trunk]
        return at_twilio, at_pbx

    @property
    def environment(self) -> dict[str, str]:
        """What points a process's clients at this sandbox."""
        return {
            "RUNBOOK_ROOT": str(self.root),
            "RUNBOOK_TWILIO_API_URL": self.urls["twilio_api_url"],
            "RUNBOOK_TWILIO_TRUNKING_URL": self.urls["twilio_trunking_url"],
            "RUNBOOK_PORTSIP_URL": self.urls["portsip_url"],
            # Sign-ins that are kept are the operator's, so they lie outside of the project.
            "XDG_STATE_HOME": str(self.root.parent / "state"),
        }


@contextmanager
def started(root: Path) -> Iterator[TestSandbox]:
    """A sandbox with a project root of its own, ended with the ``with`` block."""
    shutil.copytree(CHECKOUT / "parameters", root / "parameters")
    shutil.copytree(CHECKOUT / "notebooks", root / "notebooks")
    command = [sys.executable, "-m", "runbook_sandbox", "--root", str(root), "--foreground"]
    with subprocess.Popen(
        [*command, "--twilio-port", "0", "--portsip-port", "0"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
    ) as process:
        try:
            urls = json.loads(process.stdout.readline())
            vendors = VendorState(
                urls["twilio_api_url"], urls["portsip_url"], urls["ca_file"], root / ".sandbox" / "secrets"
            )
            yield TestSandbox(root, urls, vendors)
            vendors.close()
        finally:
            process.terminate()


@pytest.fixture(scope="session")
def running_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestSandbox]:
    with started(tmp_path_factory.mktemp("project")) as running:
        yield running


@pytest.fixture(scope="module")
def sandbox_of_file(running_sandbox: TestSandbox) -> TestSandbox:
    """For what a file's tests have in common: set back once, before the first of them."""
    running_sandbox.set_back()
    return running_sandbox


@pytest.fixture
def sandbox(running_sandbox: TestSandbox, monkeypatch: pytest.MonkeyPatch) -> TestSandbox:
    running_sandbox.set_back()
    for name, value in running_sandbox.environment.items():
        monkeypatch.setenv(name, value)
    return running_sandbox
