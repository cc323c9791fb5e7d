"""The ``runbook`` command: exit status, messages, and what reaches the vendors."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from runbook_lib.cli import app
from runbook_lib.cli.app import COMMANDS
from runbook_lib.records.versions import runbook_version
from tests.commands import runbook_here
from tests.conftest import CHECKOUT, TestSandbox
from tests.sections.test_way_back import set_up

SITE, ACME = "parameters/sandbox/site.yaml", "parameters/sandbox/acme.yaml"
TENANTS = ["acme", "globex", "initech"]


def runbook(
    sandbox: TestSandbox, *arguments: str, timeout_s: float = 180
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from runbook_lib.cli import main; main()", *arguments],
        cwd=sandbox.root,
        env={**os.environ, **sandbox.environment, "PYTHONPATH": str(CHECKOUT), "COLUMNS": "140"},
        capture_output=True,
        text=True,
        timeout=timeout_s,
    )


def sign_ins(sandbox: TestSandbox) -> int:
    log = sandbox.control("GET", "requests").json()["requests"]
    return sum(one["path"].endswith("/auth/sign_in") for one in log)


def test_plan_apply_plan(sandbox: TestSandbox, tmp_path: Path) -> None:
    planned = runbook(sandbox, "plan", "-s", SITE, ACME, "--out", str(tmp_path))
    assert planned.returncode == 2, planned.stderr
    assert sandbox.writes() == []
    digest = json.loads((tmp_path / "acme.plan.json").read_text())["digest"]
    approval = ["--plan", str(tmp_path / "acme.plan.json"), "--approved-by", "pat"]
    refused = runbook(sandbox, "apply", "-s", SITE, ACME, *approval, "--approved-plan", "sha256:0")
    assert refused.returncode == 1
    assert sandbox.writes() == []
    applied = runbook(sandbox, "apply", "-s", SITE, ACME, *approval, "--approved-plan", digest)
    assert applied.returncode == 0, applied.stdout + applied.stderr
    assert runbook(sandbox, "plan", "-s", SITE, ACME).returncode == 0
    assert runbook(sandbox, "verify", "-s", SITE, ACME).returncode == 0


def test_a_secret_with_a_second_line_end_is_wrong_input(sandbox: TestSandbox, tmp_path: Path) -> None:
    (tmp_path / "X").write_bytes(b"Abcdefgh1234X\n\n")
    tenant = tmp_path / "acme.yaml"
    reference = "file:.sandbox/secrets/sip_password_acme"
    tenant.write_text((sandbox.root / ACME).read_text().replace(reference, f"file:{tmp_path}/X"))
    sandbox.clear_log()
    for command in ("validate", "plan", "apply", "verify", "retire"):
        ended = runbook(sandbox, command, "-s", SITE, str(tenant))
        assert ended.returncode == 3, (command, ended.stdout, ended.stderr)
        told = " ".join(ended.stderr.split())
        assert "acme.yaml" in told and "termination.credentials.password" in told
        assert "character 14 is U+000A (LINE FEED)" in told and "Abcdefgh" not in told
    assert sandbox.control("GET", "requests").json()["requests"] == []
    (tmp_path / "X").write_bytes(b"Abcdefgh1234X\r\n")
    assert runbook(sandbox, "validate", "-s", SITE, str(tenant)).returncode == 0


def test_a_secrets_file_that_others_reach_is_a_caution_and_no_failure(
    sandbox: TestSandbox, tmp_path: Path
) -> None:
    site, secret = tmp_path / "site.yaml", tmp_path / "pbx"
    reference = "file:.sandbox/secrets/portsip_admin_password"
    secret.write_text((sandbox.root / reference.removeprefix("file:")).read_text())
    site.write_text((sandbox.root / SITE).read_text().replace(reference, f"file:{secret}"))
    for mode, cautions in ((0o600, 0), (0o644, 1)):
        secret.chmod(mode)
        for command, status in (("validate", 0), ("plan", 2), ("verify", 1), ("retire", 0)):
            ended = runbook(sandbox, command, "-s", str(site), ACME)
            told = " ".join((ended.stdout + ended.stderr).split())
            assert ended.returncode == status, told
            assert told.count(f"site.pbx.password: file:{secret}") == cautions, (command, told)
    ended = runbook(sandbox, "apply", "-s", str(site), ACME, "--section", "00")
    assert ended.returncode == 0 and "mode 0644" in ended.stderr
    newest = max(sandbox.root.glob("records/demo/acme/2*/00_before_you_begin.ipynb"), key=os.path.getmtime)
    assert "everybody can read it (mode 0644)" in newest.read_text()


def test_one_section_alone(sandbox: TestSandbox, tmp_path: Path) -> None:
    """What a section waits for is blocked: alone, it counts no other section as applied."""
    one = ["-s", SITE, ACME, "--section"]
    assert runbook(sandbox, "apply", *one, "02").returncode == 1
    assert sandbox.writes() == []
    planned = runbook(sandbox, "plan", *one, "01", "--out", str(tmp_path))
    assert planned.returncode == 2, planned.stderr
    plan = json.loads((tmp_path / "acme.01_create_sip_trunk.plan.json").read_text())
    assert [part["section"] for part in plan["slices"]] == ["01"] and plan["digest"] in planned.stdout
    approval = ["--plan", str(tmp_path / "acme.01_create_sip_trunk.plan.json"), "--approved-by", "pat"]
    applied = runbook(sandbox, "apply", *one, "01", *approval, "--approved-plan", plan["digest"])
    assert applied.returncode == 0, applied.stdout + applied.stderr
    assert "1 of 1" in applied.stdout
    assert [one["path"] for one in sandbox.writes()] == ["/v1/Trunks"]
    assert runbook(sandbox, "verify", *one, "01").returncode == 0
    assert runbook(sandbox, "verify", *one, "03").returncode == 1
    # Approved for section 01 alone: no other section can use it.
    other = runbook(sandbox, "apply", *one, "03", *approval, "--approved-plan", plan["digest"])
    assert other.returncode == 1 and "no part for section 03" in other.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("frobnicate",),
        ("apply",),
        ("apply", ACME, "--trunk", "carrier"),
        ("apply", "--trunk", "no-such-trunk"),
        ("apply", "parameters/not-there.yaml"),
        ("plan", SITE),
        ("plan", ACME, "--section", "99"),
        ("validate",),
        ("plan", "--all", ACME),
        ("apply", "--all", "--trunk", "carrier"),
        ("retire", "--all"),
        ("verify", "--all", "-s", "parameters/not-there.yaml"),
        ("apply", ACME, "--section", "7"),
        ("apply", "--trunk", "carrier", "--section", "06"),
        ("validate", "parameters/example/dental.yaml", "-s", "parameters/example/site.yaml"),
    ],
)
def test_wrong_input_ends_with_3_before_any_request(sandbox: TestSandbox, arguments: tuple[str, ...]) -> None:
    ended = runbook_here(sandbox, *arguments)
    assert ended.returncode == 3, ended.stdout + ended.stderr
    assert ended.stderr.strip()
    assert "Traceback" not in ended.stderr + ended.stdout
    assert sandbox.control("GET", "requests").json()["requests"] == []


@pytest.mark.parametrize("arguments", [("frobnicate",), ("plan", "parameters/not-there.yaml")])
def test_wrong_input_ends_the_process_as_it_ends_the_command(
    sandbox: TestSandbox, arguments: tuple[str, ...]
) -> None:
    ended, here = runbook(sandbox, *arguments), runbook_here(sandbox, *arguments)
    assert ended.returncode == here.returncode == 3
    assert ended.stdout == here.stdout
    assert ended.stderr.splitlines()[-1] == here.stderr.splitlines()[-1]  # before it, the program's name


def test_all_tenants_of_a_site_and_no_other(sandbox: TestSandbox, tmp_path: Path) -> None:
    planned = runbook(sandbox, "plan", "--all", "-s", SITE, "--section", "00", "--out", str(tmp_path))
    assert planned.returncode == 0, planned.stdout + planned.stderr
    assert sorted(path.name.partition(".")[0] for path in tmp_path.iterdir()) == TENANTS
    assert runbook(sandbox, "validate", "--all").returncode == 0
    for mode in ("apply", "verify"):
        before = {*sandbox.root.glob("records/demo/*/*/*.result.json")}
        assert runbook(sandbox, mode, "--all", "--section", "00").returncode == 0
        made = {*sandbox.root.glob("records/demo/*/*/*.result.json")} - before
        assert sorted(path.parts[-3] for path in made) == TENANTS, mode


@pytest.mark.parametrize("command", ["plan", "apply", "verify", "validate"])
def test_all_tenants_where_there_are_none_is_wrong_input(
    sandbox: TestSandbox, tmp_path: Path, command: str
) -> None:
    site = tmp_path / "site.yaml"
    site.write_text((sandbox.root / SITE).read_text())
    ended = runbook_here(sandbox, command, "--all", "-s", str(site))
    assert ended.returncode == 3 and str(site) in ended.stderr.replace("\n", ""), ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr and not list(sandbox.root.glob("records/demo/*/*/opening.json"))
    assert sandbox.control("GET", "requests").json()["requests"] == []


def test_a_refused_sign_in_is_tried_once_by_everybody(sandbox: TestSandbox) -> None:
    sandbox.control("POST", "credentials", {"portsip_admin_password": "Another-Passw0rd-of-the-PBX"})
    first = runbook(sandbox, "apply", "-s", SITE, ACME, "parameters/sandbox/globex.yaml")
    again = runbook(sandbox, "plan", "-s", SITE, ACME)
    assert (first.returncode, again.returncode) == (1, 1)
    assert sign_ins(sandbox) == 1
    assert "runbook sign-in --clear" in first.stdout + first.stderr
    assert sandbox.writes() == []
    sandbox.control("POST", "reset")
    assert runbook(sandbox, "sign-in", "-s", SITE, "--clear").returncode == 0
    assert runbook(sandbox, "plan", "-s", SITE, ACME).returncode == 2


def test_shared_trunk_names_the_tenants_affected(sandbox: TestSandbox) -> None:
    tenants = ["parameters/sandbox/globex.yaml", "parameters/sandbox/initech.yaml"]
    assert runbook(sandbox, "apply", "-s", SITE, *tenants).returncode == 0
    ended = runbook(sandbox, "apply", "-s", SITE, "--trunk", "carrier")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "Tenants affected: Globex Logistics, Initech" in ended.stdout


def test_conflicts_anywhere_stop_a_tenant_before_its_first_write(sandbox: TestSandbox) -> None:
    """A number that answers today is found before sections 1 to 5 have written anything."""
    path = sandbox.root / "conflict.yaml"
    text = (sandbox.root / ACME).read_text().replace("12025550101-12025550104", "12025550101;12025550109")
    path.write_text(text)
    ended = runbook(sandbox, "apply", "-s", SITE, str(path))
    assert ended.returncode == 1
    assert "list it under move" in ended.stdout
    assert sandbox.writes() == []


def test_tenants_that_clash_are_refused_together(sandbox: TestSandbox) -> None:
    path = sandbox.root / "clash.yaml"
    path.write_text((sandbox.root / ACME).read_text().replace("name: acme", "name: other", 1))
    for command in ("validate", "apply"):
        ended = runbook(sandbox, command, "-s", SITE, ACME, str(path))
        assert ended.returncode == 3
        for key in ("tenant.pbx_domain", "tenant.trunk.termination", "tenant.dids"):
            assert key in ended.stderr
    assert sandbox.control("GET", "requests").json()["requests"] == []


def test_what_plain_papermill_left_is_rolled_back_when_named_with_its_files(sandbox: TestSandbox) -> None:
    folder = set_up(sandbox, chained=False)
    refused = runbook(sandbox, "rollback", folder.name)
    assert refused.returncode == 3 and "no record of the runbook command" in refused.stderr
    who = ("-s", SITE, "-t", ACME)
    ended = runbook(sandbox, "rollback", folder.name, *who, "--accept-interruption")
    assert ended.returncode == 2, ended.stdout + ended.stderr
    assert "the journal is unverified" in " ".join(ended.stdout.split())


def test_the_first_line_and_the_opening_name_where_it_worked(sandbox: TestSandbox) -> None:
    """Whoever copies a checkout, or has two, sees which one this was."""
    version = runbook_version()["version"]
    for command in ("plan", "apply", "verify"):
        first = runbook(sandbox, command, "--section", "01", "-s", SITE, ACME).stdout.splitlines()[0]
        assert str(sandbox.root) in first and "demo (sandbox)" in first and version in first, command
    (opening,) = sandbox.root.glob("records/demo/acme/*/opening.json")
    opened = json.loads(opening.read_text())
    told = [opened[key] for key in ("workspace", "records", "site")]
    assert told == [str(sandbox.root), str(sandbox.root / "records"), "demo"]
    assert opened["runbook"]["version"] == version


@pytest.mark.parametrize("command", [*COMMANDS])
def test_each_command_is_where_it_is_looked_for(command: str) -> None:
    done = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"})
    assert done.exit_code == 0 and f"{command} [OPTIONS]" in done.output, done.output
