"""A live site never loads the sandbox: what is made up cannot take the place of what is real."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys

import pytest
from ruamel.yaml import YAML

from tests.conftest import CHECKOUT, TestSandbox

#: Runs the command, then says which modules of the sandbox it has loaded.
SHOWING_MODULES = """
import json, sys
from runbook_lib.__main__ import main
try:
    main()
finally:
    loaded = [name for name in sys.modules if name.partition(".")[0] == "runbook_sandbox"]
    print(json.dumps(sorted(loaded)))
"""
SECRETS = {"TOKEN": "twilio_auth_token", "ADMIN": "portsip_admin_password", "SIP": "sip_password_acme"}


@pytest.fixture
def live(sandbox: TestSandbox, monkeypatch: pytest.MonkeyPatch) -> TestSandbox:
    """The sandbox under the name of a live site, which has secrets and a CA of its own."""
    source, own = sandbox.root / "parameters" / "sandbox", sandbox.root / "parameters" / "bigtel"
    own.mkdir()
    shutil.copy(sandbox.urls["ca_file"], own / "ca.pem")
    for name, secret in SECRETS.items():
        value = (sandbox.root / ".sandbox" / "secrets" / secret).read_text().rstrip("\n")
        monkeypatch.setenv(f"RUNBOOK_TEST_{name}", value)
    yaml = YAML(typ="safe")
    site, tenant = yaml.load(source / "site.yaml"), yaml.load(source / "acme.yaml")
    of_site = site["site"]
    of_site |= {"name": "bigtel", "target": "live"}
    of_site["twilio_accounts"]["main"]["auth_token"] = "env:RUNBOOK_TEST_TOKEN"
    of_site["pbx"] |= {"url": "https://pbx.example:8887", "ca_file": "ca.pem"}
    of_site["pbx"]["password"] = "env:RUNBOOK_TEST_ADMIN"
    del of_site["shared_trunks"]
    tenant["tenant"]["termination"]["credentials"]["password"] = "env:RUNBOOK_TEST_SIP"
    yaml.dump(site, own / "site.yaml")
    yaml.dump(tenant, own / "acme.yaml")
    return sandbox


def plan(sandbox: TestSandbox, folder: str) -> list[str]:
    """Plan the tenant of this folder in a process of its own; return the sandbox's modules in it."""
    parameters = sandbox.root / "parameters" / folder
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            SHOWING_MODULES,
            "plan",
            "-s",
            parameters / "site.yaml",
            parameters / "acme.yaml",
        ],
        cwd=CHECKOUT,
        env=os.environ | sandbox.environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2, done.stdout + done.stderr  # it has planned, and there is much to do
    return json.loads(done.stdout.splitlines()[-1])


def test_planning_for_a_live_site_loads_nothing_of_the_sandbox(live: TestSandbox) -> None:
    assert plan(live, "bigtel") == []


def test_planning_for_a_sandbox_site_loads_it(sandbox: TestSandbox) -> None:
    assert "runbook_sandbox.process" in plan(sandbox, "sandbox")


def test_no_module_of_the_library_imports_the_sandbox_when_it_is_loaded() -> None:
    """Which modules may import it at all is a contract in pyproject.toml; they do so inside a function."""
    for path in (CHECKOUT / "runbook_lib").rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        late = {
            node
            for function in ast.walk(tree)
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
            for node in ast.walk(function)
        }
        assert not [node for node in ast.walk(tree) if node not in late and _is_of_the_sandbox(node)], path


def _is_of_the_sandbox(node: ast.AST) -> bool:
    names = (
        [str(node.module)]
        if isinstance(node, ast.ImportFrom) and not node.level
        else [alias.name for alias in node.names]
        if isinstance(node, ast.Import)
        else []
    )
    return any(name.partition(".")[0] == "runbook_sandbox" for name in names)
