"""Approval by a second person: a signature over the plan's digest, checked before the first request."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from runbook_lib.approval import NAMESPACE, read_plan, sign_plan, signature_of
from runbook_lib.cli import app
from runbook_lib.errors import ApprovalError, InputError, RunbookError
from runbook_lib.lock import user
from runbook_lib.runbook import Runbook
from tests.conftest import CHECKOUT, TestSandbox
from tests.sections.test_tenant_level import ACME, DOMAIN

PAT = "pat@example.com"


@dataclass
class TwoPersons:
    """A site that asks for two persons, a plan of acme, and the keys of both."""

    sandbox: TestSandbox
    folder: Path
    signers: Path
    pat: Path
    operator: Path

    @property
    def site(self) -> str:
        return "parameters/sandbox/two-person.yaml"

    @property
    def plan_file(self) -> Path:
        return self.folder / "acme.plan.json"

    def allow(self, *lines: str) -> None:
        self.signers.write_text("".join(f"{line}\n" for line in lines))

    def line(self, who: str, key: Path, options: str = "") -> str:
        return f"{who} {options}{key.with_suffix('.pub').read_text()}".strip()

    def sign(self, key: Path | None = None) -> Path:
        return sign_plan(self.plan_file, read_plan(self.plan_file), key or self.pat)

    def open(self, **approval: Any) -> Runbook:
        approval = {"plan_file": str(self.plan_file), **approval}
        return Runbook.open(self.site, ACME, mode="apply", **approval)


@pytest.fixture
def two(sandbox: TestSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TwoPersons:
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    keys = tmp_path / "pat", home / ".ssh" / "id_ed25519"
    for key in keys:
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", key], check=True)
    yaml = YAML()
    content = yaml.load(CHECKOUT / "parameters/sandbox/site.yaml")
    content["site"]["policies"] |= {"approval": "two-person", "allowed_signers": "parameters/sandbox/signers"}
    two = TwoPersons(sandbox, tmp_path, sandbox.root / "parameters/sandbox/signers", *keys)
    two.allow(two.line(PAT, two.pat))
    yaml.dump(content, sandbox.root / two.site)
    with Runbook.open(two.site, ACME) as runbook:
        plan = runbook.plan()
    two.plan_file.write_text(json.dumps(plan.to_document()))
    sandbox.clear_log()
    return two


def requests(sandbox: TestSandbox) -> list[Any]:
    return sandbox.control("GET", "requests").json()["requests"]


def test_a_signed_plan_is_applied_and_the_record_names_who_signed(two: TwoPersons) -> None:
    two.sign()
    with two.open() as runbook:
        section = runbook.section("01")
        section.apply()
        result = section.finish()
    assert DOMAIN in two.sandbox.vendors.trunk_sids()
    assert result["approved_by"]["who"] == PAT
    assert result["approved_by"]["how"] == "ssh signature"
    assert result["approved_by"]["key"].startswith("SHA256:")


def test_an_operator_under_another_name_is_the_operator(
    two: TwoPersons, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("USER", "LOGNAME"):
        monkeypatch.setenv(name, "somebody-else")
    two.allow(two.line(f"{pwd.getpwuid(os.getuid()).pw_name}@example.com", two.pat))
    two.sign()
    with pytest.raises(ApprovalError, match="is the operator"):
        two.open()


def test_an_operator_that_the_environment_names_is_refused(
    two: TwoPersons, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An account may have no name of its own; what the environment claims can refuse, never allow."""
    monkeypatch.setenv("USER", "pat")
    two.allow(two.line("pat@example.com", two.pat))
    two.sign()
    with pytest.raises(ApprovalError, match="is the operator"):
        two.open()


def _by_the_operator(two: TwoPersons) -> None:
    two.allow(two.line(f"{user()}@example.com", two.pat))


def _operators_expired_line(two: TwoPersons) -> None:
    expired = two.line(f"{user()}+old@example.com", two.pat, 'valid-before="20200101" ')
    two.allow(two.line(PAT, two.pat), expired)
    two.sign()


def _by_an_authority(two: TwoPersons) -> None:
    certify = ["ssh-keygen", "-q", "-s", str(two.operator), "-I", "pat", "-n", PAT]
    subprocess.run([*certify, str(two.pat.with_suffix(".pub"))], check=True)
    two.allow(two.line("*", two.operator, "cert-authority "))
    certificate = two.pat.with_name(f"{two.pat.name}-cert.pub")
    command = ["ssh-keygen", "-Y", "sign", "-f", str(certificate), "-n", NAMESPACE]
    message = f"{read_plan(two.plan_file).digest}\n".encode()
    signed = subprocess.run(command, input=message, capture_output=True, check=True).stdout
    signature_of(two.plan_file).write_bytes(signed)


def _with_the_operators_key(two: TwoPersons) -> None:
    two.allow(two.line(PAT, two.operator))
    two.sign(two.operator)


def _on_a_second_line(two: TwoPersons) -> None:
    two.allow(two.line(PAT, two.pat), two.line(f"{user()}@elsewhere", two.pat))


def _other_plan(two: TwoPersons) -> None:
    signature = two.sign()
    document = json.loads(two.plan_file.read_text())
    other = two.folder / "other.plan.json"
    other.write_text(json.dumps(document))
    with Runbook.open(two.site, ACME) as runbook:
        plan = runbook.plan_of(runbook.section("01").plan())
    two.plan_file.write_text(json.dumps(plan.to_document()))
    assert signature == signature_of(two.plan_file)


def _other_namespace(two: TwoPersons) -> None:
    message = f"{read_plan(two.plan_file).digest}\n".encode()
    command = ["ssh-keygen", "-Y", "sign", "-f", str(two.pat), "-n", "runbook-records-head"]
    signed = subprocess.run(command, input=message, capture_output=True, check=True).stdout
    signature_of(two.plan_file).write_bytes(signed)


def _garbage(two: TwoPersons) -> None:
    signature_of(two.plan_file).write_text("not a signature")


REFUSALS: dict[str, tuple[Callable[[TwoPersons], Any], str]] = {
    "not signed": (lambda two: shutil.rmtree(two.folder / "nothing", ignore_errors=True), "is not signed"),
    "the operator by name": (lambda two: (_by_the_operator(two), two.sign()), "is the operator"),
    "the operator on another line": (lambda two: (_on_a_second_line(two), two.sign()), "is the operator"),
    "the operator on a line that has expired": (_operators_expired_line, "is the operator"),
    "certified by an authority": (_by_an_authority, "no allowed signer has the key"),
    "the operator's own key": (_with_the_operators_key, "one of the operator's own"),
    "not allowed": (lambda two: (two.allow(), two.sign()), "no allowed signer has the key"),
    "a stranger": (lambda two: two.sign(two.operator), "no allowed signer has the key"),
    "another plan": (_other_plan, "is not a signature of this plan's digest"),
    "another namespace": (_other_namespace, "is not a signature of this plan's digest"),
    "garbage": (_garbage, "is not a signature of this plan's digest"),
    "expired": (
        lambda two: (two.allow(two.line(PAT, two.pat, 'valid-before="20200101" ')), two.sign()),
        "now|does not hold",
    ),
    "allowed for other things": (
        lambda two: (two.allow(two.line(PAT, two.pat, 'namespaces="git" ')), two.sign()),
        "no allowed signer|does not hold",
    ),
    "anybody": (lambda two: (two.allow(two.line("*", two.pat)), two.sign()), "names no one person"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_an_approval_that_does_not_hold_is_refused_before_the_first_request(
    two: TwoPersons, case: str
) -> None:
    prepare, problem = REFUSALS[case]
    prepare(two)
    two.sandbox.clear_log()
    with pytest.raises(ApprovalError, match=problem) as caught:
        two.open()
    assert caught.value.meaning == "nothing was sent" and caught.value.next_step
    assert requests(two.sandbox) == []


def test_what_is_typed_does_not_stand_for_a_signature(two: TwoPersons) -> None:
    digest = read_plan(two.plan_file).digest
    with pytest.raises(ApprovalError, match="is not signed"):
        two.open(approved_plan=digest, approved_by=PAT)
    two.sign()
    with pytest.raises(ApprovalError, match=f"approved_by says sam, and {PAT} signed"):
        two.open(approved_plan=digest, approved_by="sam")
    two.open(approved_plan=digest, approved_by=PAT)


def test_signers_that_cannot_be_read_are_a_refusal(two: TwoPersons) -> None:
    two.sign()
    two.signers.unlink()
    with pytest.raises(InputError, match="allowed_signers"):
        two.open()
    two.signers.mkdir()
    with pytest.raises(InputError, match="allowed_signers"):
        two.open()
    two.signers.rmdir()
    assert requests(two.sandbox) == []


def test_a_key_in_the_agent_is_the_operators_own(two: TwoPersons, monkeypatch: pytest.MonkeyPatch) -> None:
    socket = two.folder / "agent"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.DEVNULL)
    try:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
        while not socket.exists():
            assert agent.poll() is None
        subprocess.run(["ssh-add", "-q", str(two.pat)], check=True, env=dict(os.environ))
        two.sign()
        with pytest.raises(ApprovalError, match="one of the operator's own"):
            two.open()
    finally:
        agent.terminate()
        agent.wait()


def test_a_site_that_asks_for_approval_takes_a_signature_too(two: TwoPersons) -> None:
    path = two.sandbox.root / two.site
    path.write_text(path.read_text().replace("two-person", "required"))
    digest = read_plan(two.plan_file).digest
    assert two.open(approved_plan=digest, approved_by="sam").approved_by == {"who": "sam", "how": "claimed"}
    two.sign()
    assert two.open().approved_by["how"] == "ssh signature"


def test_approve_shows_the_plan_and_signs_once(two: TwoPersons) -> None:
    command = ["approve", str(two.plan_file), "--key", str(two.pat)]
    refused = CliRunner().invoke(app, command, input="globex\n")
    assert refused.exit_code == 3 and not signature_of(two.plan_file).exists()
    signed = CliRunner().invoke(app, command, input="acme\n")
    assert signed.exit_code == 0, signed.output
    for expected in ("Create a SIP trunk on Twilio", DOMAIN, read_plan(two.plan_file).digest, "Signed: "):
        assert expected in signed.output
    assert CliRunner().invoke(app, [*command, "--yes"]).exit_code == 3
    two.open()


def test_a_key_that_cannot_sign_is_told(two: TwoPersons) -> None:
    with pytest.raises(RunbookError, match="ssh-keygen could not sign"):
        two.sign(two.folder / "no such key")
    assert not signature_of(two.plan_file).exists()


def test_the_record_of_a_signed_run_keeps_plan_and_signature(two: TwoPersons) -> None:
    two.sign()
    options = ["-s", two.site, "--plan", str(two.plan_file), "--section", "01", "--ticket", "CHG-7"]
    ended = CliRunner().invoke(app, ["apply", ACME, *options, "--reason", "new customer"])
    assert ended.exit_code == 0, ended.output
    [folder] = (two.sandbox.root / "records/demo/acme").glob("*/record.json")
    record, folder = json.loads(folder.read_text()), folder.parent
    assert (record["ticket"], record["reason"]) == ("CHG-7", "new customer")
    assert record["approver"]["by"]["who"] == PAT and record["approver"]["by"]["how"] == "ssh signature"
    page = (folder / "index.html").read_text()
    assert PAT in page and "CHG-7" in page and "new customer" in page
    plan = read_plan(folder / "approved.plan.json")
    check = ["-f", str(two.signers), "-n", NAMESPACE, "-I", PAT, "-s", str(folder / "approved.plan.json.sig")]
    subprocess.run(["ssh-keygen", "-Y", "verify", *check], input=f"{plan.digest}\n".encode(), check=True)
    shown = CliRunner().invoke(app, ["records", "show", folder.name])
    assert "SHA256:" in "".join(shown.output.split())
