"""Approval by a second person: a signature over the plan's digest, checked before the first request."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from ruamel.yaml import YAML
from typer.testing import CliRunner

from runbook_lib import ssh
from runbook_lib.approval import approval_beside, old_signature_of, read_plan, sign_statement
from runbook_lib.batch.pages import write_index
from runbook_lib.batch.plans import show_changes
from runbook_lib.batch.scan import withhold
from runbook_lib.cli import app
from runbook_lib.errors import ApprovalError, InputError, RunbookError
from runbook_lib.lock import user_name
from runbook_lib.plan import Plan, Row, Slice, deviations
from runbook_lib.records import living
from runbook_lib.records.approvals import signed_approvals
from runbook_lib.records.chain import Chain
from runbook_lib.records.record import close_record, open_record, write_record
from runbook_lib.records.result import write_json
from runbook_lib.records.run_folder import carry_clean
from runbook_lib.records.settling import Closing, close_dead
from runbook_lib.records.verify import verify_records
from runbook_lib.runbook import Runbook
from runbook_lib.statement import NAMESPACE, Statement
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
    sam: Path
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

    @property
    def approval(self) -> Path:
        return approval_beside(self.plan_file)

    @property
    def signature(self) -> Path:
        return self.approval.with_name(f"{self.approval.name}.sig")

    def statement(self, **changes: Any) -> Statement:
        return dataclasses.replace(Statement.over([read_plan(self.plan_file)], "CHG-7"), **changes)

    def sign(self, key: Path | None = None, **changes: Any) -> Path:
        return sign_statement(self.approval, self.statement(**changes), key or self.pat)

    def cosign(self, key: Path) -> Path:
        return sign_statement(self.approval, Statement.parse(self.approval.read_bytes()), key)

    def policy(self, **policies: Any) -> None:
        yaml, path = YAML(), self.sandbox.root / self.site
        content = yaml.load(path)
        content["site"]["policies"] |= policies
        yaml.dump(content, path)

    def carry_out(self) -> Path:
        """Run section 01 under the approval; return its folder, whose record is still open."""
        with self.open() as runbook:
            folder = self.start(runbook)
            section = runbook.section("01")
            section.apply()
            section.finish()
        return folder

    def start(self, runbook: Runbook, *order: str) -> Path:
        """Open the run's record, as the runner does before the first section."""
        context = runbook.context
        open_record(
            self.records,
            runbook.folder,
            mode="apply",
            site="demo",
            tenant=context.tenant.name,
            target=runbook.target,
            order=order or ("01",),
            parameters={},
            files={},
            approval=runbook.approver,
            **runbook.kept,
        )
        return runbook.folder

    def end(self, folder: Path, outcome: str = "succeeded", *sections: str) -> None:
        """Close the run's record, as the runner does after the last section."""
        ended = [{"section": one, "outcome": outcome} for one in sections or ("01",)]
        write_json(folder / "run.json", {"outcome": outcome, "sections": ended})
        write_record(folder)
        close_record(self.records, folder)

    @property
    def records(self) -> Path:
        return self.sandbox.root / "records"

    def open(self, **approval: Any) -> Runbook:
        approval = {"plan_file": str(self.plan_file), **approval}
        return Runbook.open(self.site, ACME, mode="apply", **approval)


@pytest.fixture
def two(sandbox: TestSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TwoPersons:
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    for name in ("SSH_AUTH_SOCK", "RUNBOOK_TICKET", "RUNBOOK_EMERGENCY"):
        monkeypatch.delenv(name, raising=False)
    keys = tmp_path / "pat", tmp_path / "sam", home / ".ssh" / "id_ed25519"
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
        two.start(runbook)
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
    two.allow(two.line(f"{user_name()}@example.com", two.pat))


def _operators_expired_line(two: TwoPersons) -> None:
    expired = two.line(f"{user_name()}+old@example.com", two.pat, 'valid-before="20200101" ')
    two.allow(two.line(PAT, two.pat), expired)
    two.sign()


def _by_an_authority(two: TwoPersons) -> None:
    certify = ["ssh-keygen", "-q", "-s", str(two.operator), "-I", "pat", "-n", PAT]
    subprocess.run([*certify, str(two.pat.with_suffix(".pub"))], check=True)
    two.allow(two.line("*", two.operator, "cert-authority "))
    certificate = two.pat.with_name(f"{two.pat.name}-cert.pub")
    command = ["ssh-keygen", "-Y", "sign", "-f", str(certificate), "-n", NAMESPACE]
    _put(two, command)


def _put(two: TwoPersons, command: list[str]) -> None:
    message = two.statement().content
    two.approval.write_bytes(message)
    two.signature.write_bytes(subprocess.run(command, input=message, capture_output=True, check=True).stdout)


def _with_the_operators_key(two: TwoPersons) -> None:
    two.allow(two.line(PAT, two.operator))
    two.sign(two.operator)


def _on_a_second_line(two: TwoPersons) -> None:
    two.allow(two.line(PAT, two.pat), two.line(f"{user_name()}@elsewhere", two.pat))


def _other_plan(two: TwoPersons) -> None:
    two.sign()
    with Runbook.open(two.site, ACME) as runbook:
        plan = runbook.plan_of(runbook.section("01").plan())
    two.plan_file.write_text(json.dumps(plan.to_document()))


def _same_plan_again(two: TwoPersons) -> None:
    """The same changes, planned again: the digest fits, the plan is another one."""
    two.sign()
    document = json.loads(two.plan_file.read_text())
    two.plan_file.write_text(json.dumps({**document, "id": "0" * 32}))


def _other_namespace(two: TwoPersons) -> None:
    _put(two, ["ssh-keygen", "-Y", "sign", "-f", str(two.pat), "-n", "runbook-plan"])


def _edited_after_signing(two: TwoPersons) -> None:
    two.sign()
    two.approval.write_bytes(two.approval.read_bytes().replace(b"CHG-7", b"CHG-8"))


def _garbage(two: TwoPersons) -> None:
    two.sign().write_text("not a signature")


def _in_the_old_form(two: TwoPersons) -> None:
    command = ["ssh-keygen", "-Y", "sign", "-f", str(two.pat), "-n", "runbook-plan"]
    message = f"{read_plan(two.plan_file).digest}\n".encode()
    signed = subprocess.run(command, input=message, capture_output=True, check=True).stdout
    old_signature_of(two.plan_file).write_bytes(signed)


def _at(days: int) -> str:
    return (datetime.now(UTC) + timedelta(days=days)).isoformat(timespec="seconds")


def _by_the_author(two: TwoPersons) -> None:
    """A robot applies what pat planned and approved."""
    document = json.loads(two.plan_file.read_text())
    author = [{"kind": "account", "name": "pat", "known": "observed"}]
    two.plan_file.write_text(json.dumps({**document, "author": author}))
    two.sign()


def _two_keys_of_one_person(two: TwoPersons) -> None:
    two.policy(approvers=2)
    two.allow(two.line(PAT, two.pat), two.line("PAT+work@elsewhere", two.sam))
    two.sign()
    two.cosign(two.sam)


def _one_signature_twice(two: TwoPersons) -> None:
    two.policy(approvers=2)
    two.sign()
    two.cosign(two.pat)


REFUSALS: dict[str, tuple[Callable[[TwoPersons], Any], str]] = {
    "not signed": (lambda two: shutil.rmtree(two.folder / "nothing", ignore_errors=True), "is not signed"),
    "the operator by name": (lambda two: (_by_the_operator(two), two.sign()), "is the operator"),
    "the operator on another line": (lambda two: (_on_a_second_line(two), two.sign()), "is the operator"),
    "the operator on a line that has expired": (_operators_expired_line, "is the operator"),
    "certified by an authority": (_by_an_authority, "belongs to no allowed signer"),
    "the operator's own key": (_with_the_operators_key, "the operator's own"),
    "not allowed": (lambda two: (two.allow(), two.sign()), "belongs to no allowed signer"),
    "a stranger": (lambda two: two.sign(two.operator), "belongs to no allowed signer"),
    "another plan": (_other_plan, "is not signed"),
    "the same plan made again": (_same_plan_again, "is not signed"),
    "edited after it was signed": (_edited_after_signing, "is not a signature of this approval"),
    "the old form": (_in_the_old_form, "no longer valid"),
    "ended": (lambda two: two.sign(not_before=_at(-3), not_after=_at(-1)), "ended"),
    "longer than the site says": (
        lambda two: (two.policy(approval_valid=2), two.sign(not_before=_at(-3), not_after=_at(9))),
        "ended",
    ),
    "not begun": (lambda two: two.sign(not_before=_at(1), not_after=_at(9)), "begins"),
    "another site": (lambda two: two.sign(site="other"), "for site other"),
    "another register": (lambda two: two.sign(register="sha256:" + "0" * 64), "another records folder"),
    "by the plan's author": (_by_the_author, "made the plan"),
    "one approver of two": (lambda two: (two.policy(approvers=2), two.sign()), "2 approvers"),
    "two keys of one person": (_two_keys_of_one_person, "2 approvers"),
    "one signature twice": (_one_signature_twice, "2 approvers"),
    "another namespace": (_other_namespace, "is not a signature of this approval"),
    "garbage": (_garbage, "is not a signature of this approval"),
    "expired": (
        lambda two: (two.allow(two.line(PAT, two.pat, 'valid-before="20200101" ')), two.sign()),
        "at present|is not valid",
    ),
    "allowed for other things": (
        lambda two: (two.allow(two.line(PAT, two.pat, 'namespaces="git" ')), two.sign()),
        "no allowed signer|is not valid",
    ),
    "anybody": (lambda two: (two.allow(two.line("*", two.pat)), two.sign()), "not the name of one person"),
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
    with pytest.raises(ApprovalError, match=f"approved_by says sam, but {PAT} signed"):
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
        with pytest.raises(ApprovalError, match="the operator's own"):
            two.open()
    finally:
        agent.terminate()
        agent.wait()


def test_a_site_that_asks_for_approval_takes_a_signature_too(two: TwoPersons) -> None:
    two.policy(approval="required")
    digest = read_plan(two.plan_file).digest
    typed = two.open(approved_plan=digest, approved_by="sam")
    assert typed.approved_by == {"who": "sam", "how": "claimed"}
    two.sign()
    assert two.open().approved_by["how"] == "ssh signature"


def test_ones_own_name_is_recorded_as_self_approval(two: TwoPersons, monkeypatch: pytest.MonkeyPatch) -> None:
    two.policy(approval="required")
    monkeypatch.setenv("JUPYTERHUB_USER", "sam")
    digest = read_plan(two.plan_file).digest
    for name in (user_name(), f"{user_name()}@elsewhere", "Sam@example.com"):
        by = two.open(approved_plan=digest, approved_by=name).approved_by
        assert by == {"who": name, "how": "self-approved, claimed"}


CLAIMS = {
    "SUDO_USER": "pat",
    "DOAS_USER": "pat",
    "JUPYTERHUB_USER": "Pat",
    "GITLAB_USER_LOGIN": "pat",
    "GITLAB_USER_EMAIL": "pat@elsewhere",
    "GITHUB_ACTOR": "pat",
    "BUILD_REQUESTEDFOREMAIL": "pat@example.com",
    "LOGNAME": "CORP\\pat",
}


@pytest.mark.parametrize("variable", CLAIMS)
def test_a_signer_whom_anything_names_as_the_operator_is_refused(
    two: TwoPersons, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    two.sign()
    monkeypatch.setenv(variable, CLAIMS[variable])
    with pytest.raises(ApprovalError, match="is the operator"):
        two.open()


def test_claims_permit_nothing(two: TwoPersons, monkeypatch: pytest.MonkeyPatch) -> None:
    two.allow(two.line(f"{user_name()}@example.com", two.pat))
    two.sign()
    for variable in CLAIMS:
        monkeypatch.setenv(variable, "somebody-else")
    with pytest.raises(ApprovalError, match="is the operator"):
        two.open()


def test_everything_written_keeps_all_identities(two: TwoPersons, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "robin")
    two.sign()
    robin = {"kind": "sudo", "name": "robin", "known": "claimed"}
    account = {"kind": "account", "name": user_name(), "known": "observed"}
    with two.open() as runbook:
        folder = two.start(runbook)
        section = runbook.section("01")
        section.apply()
        result = section.finish()
    opening = json.loads((folder / "opening.json").read_text())
    used = json.loads((folder / "used.json").read_text())
    with Runbook.open(two.site, ACME) as runbook:
        author = runbook.plan().to_document()["author"]
    for by in (opening["by"], used["by"], result["by"], [*author]):
        assert robin in by and account in by


def test_two_approvers_are_two_keys_and_two_names(two: TwoPersons) -> None:
    two.policy(approvers=2)
    two.allow(two.line(PAT, two.pat), two.line("sam@example.com", two.sam))
    two.sign()
    with pytest.raises(ApprovalError, match="2 approvers"):
        two.open()
    command = ["approve", str(two.plan_file), "--approval", str(two.approval), "--key", str(two.sam)]
    signed = CliRunner().invoke(app, command, input="demo/acme\n")
    assert signed.exit_code == 0, signed.output
    assert two.open().approved_by["who"] == f"{PAT}, sam@example.com"


def test_a_signature_that_does_not_count_spoils_nothing(two: TwoPersons) -> None:
    two.sign()
    two.cosign(two.sam)  # whom nobody allowed
    assert two.open().approved_by["who"] == PAT


def test_an_approval_is_used_up_by_its_success(two: TwoPersons) -> None:
    two.sign()
    folder = two.carry_out()
    two.end(folder)
    with two.open() as again, pytest.raises(ApprovalError, match="was used by run"):
        two.start(again)
    assert not again.folder.exists()
    events = [entry.event for entry in Chain(two.records).entries()]
    assert events == ["opened", "used", "closed"]
    assert verify_records(two.records).status == "consistent, not anchored"


def test_a_withheld_run_still_shows_what_it_wrote_with_which_approval(two: TwoPersons) -> None:
    two.sign()
    folder = two.carry_out()
    (folder / "01.ipynb").write_text("planted")
    withheld = withhold(folder)
    folder.mkdir()
    carry_clean(withheld, folder)
    two.end(folder, "failed")
    assert not (folder / "01.ipynb").exists()
    problems, [note] = signed_approvals(two.records, Chain(two.records).entries())
    assert (verify_records(two.records).problems, problems) == ((), []) and PAT in note
    assert json.loads((folder / "record.json").read_text())["changes"]


def test_an_attempt_that_did_not_succeed_is_continued_until_it_does(two: TwoPersons) -> None:
    two.sign()
    for outcome in ("failed", "interrupted", "succeeded"):
        with two.open() as runbook:
            two.end(two.start(runbook), outcome)
    with two.open() as runbook, pytest.raises(ApprovalError, match="was used by run"):
        two.start(runbook)


def test_sections_are_counted_one_by_one(two: TwoPersons) -> None:
    """A section that succeeded is not written again by the run that continues with the others."""
    two.sign()
    with two.open() as runbook:
        folder = two.start(runbook, "01")
        section = runbook.section("01")
        section.apply()
        section.finish()
    two.end(folder)
    two.sandbox.control("POST", "reset")  # somebody set it back
    with two.open() as runbook:
        folder = two.start(runbook, "01", "02")
        used = json.loads((folder / "used.json").read_text())
        assert (used["sections"], used["done"]) == (["02"], ["01"])
        two.sandbox.clear_log()
        with pytest.raises(ApprovalError, match="was used for section 01"):
            runbook.section("01").apply()
    assert two.sandbox.writes() == []


def test_two_runs_at_once_cannot_use_one_approval(two: TwoPersons) -> None:
    two.sign()
    with two.open() as first, two.open() as second:
        folder = two.start(first)
        with pytest.raises(ApprovalError, match="is in use by run"):
            two.start(second)
        two.end(folder, "failed")
        two.start(second)


def dies(folder: Path) -> None:
    """Let go of a run's lock and leave all else as it is, as the system does when a process is killed."""
    os.close(living._own.pop(folder.absolute()))


def test_a_killed_run_is_continued_though_its_record_is_open(two: TwoPersons) -> None:
    two.sign()
    with two.open() as runbook:
        killed = two.start(runbook, "01", "02")
        section = runbook.section("01")
        section.apply()
        section.finish()
    dies(killed)
    with two.open() as runbook:
        folder = two.start(runbook, "01", "02")
        used = json.loads((folder / "used.json").read_text())
        assert (used["sections"], used["done"]) == (["02"], ["01"])
    dies(folder)  # killed before it wrote: it uses nothing, and what the first one did stays done
    (killed / "01.result.json").unlink()  # the chain has it by now
    with two.open() as runbook:
        folder = two.start(runbook, "01", "02")
        used = json.loads((folder / "used.json").read_text())
        assert (used["sections"], used["done"]) == (["02"], ["01"])
        with two.open() as second, pytest.raises(ApprovalError, match="going on"):
            two.start(second)
        section = runbook.section("02")
        section.apply()
        section.finish()
    two.end(folder, "succeeded", "01", "02")
    with two.open() as runbook, pytest.raises(ApprovalError, match="was used by run"):
        two.start(runbook, "01", "02")


def test_a_run_killed_on_another_host_blocks_until_it_is_closed(
    two: TwoPersons, monkeypatch: pytest.MonkeyPatch
) -> None:
    two.sign()
    with monkeypatch.context() as there:
        there.setattr("socket.gethostname", lambda: "elsewhere")
        killed = two.start(two.open())
    dies(killed)
    with two.open() as runbook, pytest.raises(ApprovalError, match="elsewhere"):
        two.start(runbook)
    close_dead(two.records, killed, Closing(reason="host is gone", confirmed=killed.name))
    two.start(two.open())


def test_an_attempt_without_a_write_uses_nothing(two: TwoPersons) -> None:
    """Section 01 succeeds as all is in place, 02 fails before it writes: 01 is still approved."""
    two.sign()
    with two.open() as runbook:
        folder = two.start(runbook, "01", "02")
    sections = [{"section": "01", "outcome": "succeeded"}, {"section": "02", "outcome": "failed"}]
    write_json(folder / "run.json", {"outcome": "failed", "sections": sections})
    write_record(folder)
    close_record(two.records, folder)
    with two.open() as runbook:
        folder = two.start(runbook, "01", "02")
    assert json.loads((folder / "used.json").read_text())["sections"] == ["01", "02"]


@pytest.mark.parametrize("door", ["recorded", "own record"])
def test_an_approval_that_ended_by_the_vendors_clock_is_refused_before_the_first_write(
    two: TwoPersons, door: str
) -> None:
    two.sign(not_after=_at(1))
    two.sandbox.control("POST", "clock", {"advance": 2 * 86400})
    two.sandbox.clear_log()
    with two.open() as runbook:
        if door == "recorded":
            two.start(runbook)
        section = runbook.section("01")
        with pytest.raises(ApprovalError, match="ended"):
            section.apply()
    assert two.sandbox.writes() == []
    assert not list(two.records.glob("**/journal.jsonl"))


def _expires(two: TwoPersons) -> None:
    two.allow(two.line(PAT, two.pat, f'valid-before="{datetime.now() + timedelta(seconds=1):%Y%m%d%H%M%S}" '))
    time.sleep(2.1)


def _stranger(two: TwoPersons) -> None:
    two.allow(two.line("sam@example.com", two.sam))


def _never_valid(two: TwoPersons) -> None:
    two.allow(two.line(PAT, two.pat, 'valid-before="20200101" '))


@pytest.mark.parametrize(
    ("change", "status"),
    [(_expires, 0), (_stranger, 1), (_never_valid, 1)],
    ids=["expired since", "a stranger's", "never valid"],
)
def test_a_records_approval_is_judged_at_the_time_of_its_use(
    two: TwoPersons, change: Callable[[TwoPersons], None], status: int
) -> None:
    two.sign()
    two.end(two.start(two.open()))
    check = ["records", "verify", "--approvers", str(two.signers)]
    checked = CliRunner().invoke(app, check)
    assert checked.exit_code == 0 and PAT in checked.output, checked.output
    change(two)
    checked = CliRunner().invoke(app, check)
    assert checked.exit_code == status, checked.output
    revoked = two.folder / "revoked"
    revoked.write_text(two.pat.with_suffix(".pub").read_text())
    assert CliRunner().invoke(app, [*check, "--revoked", str(revoked)]).exit_code == 1


def test_an_approval_in_the_old_form_is_still_checked_in_its_record(two: TwoPersons) -> None:
    _in_the_old_form(two)
    two.policy(approval="none")
    runbook = Runbook.open(two.site, ACME, mode="apply")
    plan, signature = two.plan_file.read_bytes(), old_signature_of(two.plan_file).read_bytes()
    by = {
        "who": PAT,
        "how": "ssh signature",
        "key": ssh.signing_key(
            f"{read_plan(two.plan_file).digest}\n".encode(), old_signature_of(two.plan_file), "runbook-plan"
        ),
    }
    open_record(
        two.records,
        runbook.folder,
        mode="apply",
        site="demo",
        tenant="acme",
        target=runbook.target,
        order=("01",),
        parameters={},
        files={},
        approval={"plan": read_plan(two.plan_file).digest, "by": by},
        kept={"approved.plan.json": plan, "approved.plan.json.sig": signature},
    )
    two.end(runbook.folder)
    check = ["records", "verify", "--approvers", str(two.signers)]
    assert CliRunner().invoke(app, check).exit_code == 0
    _stranger(two)
    assert CliRunner().invoke(app, check).exit_code == 1


def test_an_apply_outside_of_the_runner_uses_its_approval_once(two: TwoPersons) -> None:
    two.sign()
    with two.open() as runbook:
        runbook.section("01").apply()
    assert [entry.event for entry in Chain(two.records).entries()] == ["opened", "used", "closed"]
    twilio = two.sandbox.vendors.twilio_http
    trunks = twilio.get("/v1/Trunks").json()["trunks"]
    (made,) = [trunk["sid"] for trunk in trunks if trunk["friendly_name"] == "PortSIP acme"]
    twilio.delete(f"/v1/Trunks/{made}").raise_for_status()
    two.sandbox.clear_log()
    with pytest.raises(ApprovalError), two.open() as runbook:
        runbook.section("01").apply()
    assert two.sandbox.writes() == []


def test_a_revoked_approval_is_refused_also_to_a_run_that_has_begun(two: TwoPersons) -> None:
    two.sign()
    with two.open() as runbook:
        folder = two.start(runbook)
        command = ["revoke", str(two.approval), "--reason", "the customer called"]
        revoked = CliRunner().invoke(app, command)
        assert revoked.exit_code == 0, revoked.output
        with pytest.raises(ApprovalError, match="was revoked"):
            runbook.section("01").apply()
    two.end(folder, "failed")
    with pytest.raises(ApprovalError, match="was revoked"):
        two.open()
    assert CliRunner().invoke(app, command).exit_code == 3
    assert two.sandbox.writes() == []
    assert verify_records(two.records).status == "consistent, not anchored"


def test_another_records_folder_refuses_and_a_copy_cannot_know(two: TwoPersons) -> None:
    two.sign(), two.end(two.start(two.open()), "failed")
    with Runbook.open(two.site, ACME) as runbook:
        two.plan_file.write_text(json.dumps(runbook.plan().to_document()))
    two.approval.unlink(), two.signature.unlink(), two.sign()
    copy = two.folder / "copy"
    shutil.copytree(two.records, copy)
    two.end(two.start(two.open()))
    with two.open() as runbook, pytest.raises(ApprovalError, match="was used by run"):
        two.start(runbook)
    shutil.rmtree(two.records)
    with pytest.raises(ApprovalError, match="another records folder"):
        two.open()
    shutil.copytree(copy, two.records)  # as a restore of last night's backup does
    two.start(two.open())


def test_the_window_is_judged_by_the_chain_where_the_clock_is_behind(
    two: TwoPersons, monkeypatch: pytest.MonkeyPatch
) -> None:
    two.sign()
    monkeypatch.setattr("runbook_lib.records.chain.now", lambda: _at(30))
    two.end(two.start(two.open()), "failed")
    with pytest.raises(ApprovalError, match="ended"):
        two.open()


def test_the_ticket_is_the_approvals(two: TwoPersons, monkeypatch: pytest.MonkeyPatch) -> None:
    two.sign()
    two.policy(ticket="CHG-[0-9]+")
    folder = two.start(two.open())
    assert json.loads((folder / "opening.json").read_text())["ticket"] == "CHG-7"
    monkeypatch.setenv("RUNBOOK_TICKET", "CHG-8")
    with pytest.raises(ApprovalError, match="ticket CHG-7"):
        two.open()
    two.policy(ticket="INC-[0-9]+")
    monkeypatch.delenv("RUNBOOK_TICKET")
    with pytest.raises(InputError, match="INC-"):
        two.open()
    two.policy(approval="none")
    with pytest.raises(InputError, match="ticket"):
        Runbook.open(two.site, ACME, mode="apply")
    monkeypatch.setenv("RUNBOOK_TICKET", "INC-1")
    Runbook.open(two.site, ACME, mode="apply")


def test_one_approval_over_several_plans(two: TwoPersons) -> None:
    other = two.folder / "globex.plan.json"
    with Runbook.open(two.site, ACME.replace("acme", "globex")) as runbook:
        other.write_text(json.dumps(runbook.plan().to_document()))
    command = ["approve", str(two.plan_file), str(other), "--ticket", "CHG-7", "--key", str(two.pat)]
    for typed in ("CHG-7", "demo/acme\nglobex", "demo/globex\ndemo/acme", "demo/acme\ndemo/acme"):
        assert CliRunner().invoke(app, command, input=f"{typed}\n").exit_code == 3
    signed = CliRunner().invoke(app, command, input="demo/acme\ndemo/globex\n")
    assert signed.exit_code == 0, signed.output
    tenants = {two.plan_file: ACME, other: ACME.replace("acme", "globex")}
    for path, tenant in tenants.items():
        runbook = Runbook.open(two.site, tenant, mode="apply", plan_file=str(path))
        two.end(two.start(runbook))  # the use of one line is no use of the other


def test_approve_shows_the_plan_and_signs_once(two: TwoPersons) -> None:
    command = ["approve", str(two.plan_file), "--key", str(two.pat)]
    assert CliRunner().invoke(app, command, input="demo/acme\n").exit_code == 3  # without a ticket
    command += ["--ticket", "CHG-7"]
    for typed in ("demo/globex", "acme", "other/acme", "CHG-7"):
        refused = CliRunner().invoke(app, command, input=f"{typed}\n")
        assert refused.exit_code == 3 and not two.approval.exists() and not two.signature.exists()
    signed = CliRunner().invoke(app, command, input="demo/acme\n")
    assert signed.exit_code == 0, signed.output
    for expected in ("Create a SIP trunk on Twilio", DOMAIN, read_plan(two.plan_file).digest, "Signed: "):
        assert expected in signed.output
    assert CliRunner().invoke(app, [*command, "--yes"]).exit_code == 3
    two.open()


def test_a_key_that_cannot_sign_is_told(two: TwoPersons) -> None:
    with pytest.raises(RunbookError, match="ssh-keygen could not sign"):
        two.sign(two.folder / "no such key")
    assert not two.approval.exists() and not two.signature.exists()


def test_the_record_of_a_signed_run_keeps_plan_and_signature(two: TwoPersons) -> None:
    two.sign()
    elsewhere = two.folder / "mail"
    elsewhere.mkdir()
    for path in (two.approval, two.signature):
        path.rename(elsewhere / path.name)
    options = ["-s", two.site, "--plan", str(two.plan_file), "--section", "01"]
    options += ["--approval", str(elsewhere / two.approval.name), "--reason", "new customer"]
    ended = CliRunner().invoke(app, ["apply", ACME, *options])
    assert ended.exit_code == 0, ended.output
    [folder] = (two.records / "demo/acme").glob("*/record.json")
    record, folder = json.loads(folder.read_text()), folder.parent
    assert (record["ticket"], record["reason"]) == ("CHG-7", "new customer")
    assert record["approver"]["by"]["who"] == PAT and record["approver"]["by"]["how"] == "ssh signature"
    page = (folder / "index.html").read_text()
    assert PAT in page and "CHG-7" in page and "new customer" in page
    assert read_plan(folder / "approved.plan.json").digest == read_plan(two.plan_file).digest
    check = ["-f", str(two.signers), "-n", NAMESPACE, "-I", PAT, "-s", str(folder / "approval.json.sig")]
    message = (folder / "approval.json").read_bytes()
    subprocess.run(["ssh-keygen", "-Y", "verify", *check], input=message, check=True)
    shown = CliRunner().invoke(app, ["records", "show", folder.name])
    assert "SHA256:" in "".join(shown.output.split())
    again = CliRunner().invoke(app, ["apply", ACME, *options, "--ticket", "CHG-7"])
    assert again.exit_code == 1 and "was used by run" in "".join(again.output.split("\n")), again.output


def values(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all plain values of a document."""
    if isinstance(document, dict | list):
        for key, value in document.items() if isinstance(document, dict) else enumerate(document):
            yield from values(value, (*path, key))
    else:
        yield path


def changed(value: Any) -> list[Any]:
    """Other values in its place: of the same type, and of one that Python takes for the same."""
    if isinstance(value, bool):
        return [not value, int(value)]
    if isinstance(value, int):
        return [value + 1, str(value), bool(value)]
    return ["MARKED", 7, ["MARKED"]] if value is None else [f"{value}MARKED", None, "MARKED\nMARKED"]


def test_every_value_of_a_plan_is_not_shown_or_compared(two: TwoPersons) -> None:
    """Each value changed, with a digest that fits: the approver sees none that apply does not refuse."""
    document = json.loads(two.plan_file.read_text())
    document["slices"] = [one for one in document["slices"] if one["section"] in ("01", "02", "03")]
    original = Plan.from_document({**document, "digest": digest_of_edited(document)})
    shown = shown_to_approver(original)
    two.policy(approval="required")
    with Runbook.open(two.site, ACME) as runbook:
        live = {part.section: part.rows for part in runbook.plan().slices}
    refused = 0
    for path in values(document):
        if path == ("digest",):
            continue
        for value in changed(at_path(document, path)):
            edited = json.loads(json.dumps(document))
            at_path(edited, path[:-1])[path[-1]] = value
            try:
                edited["digest"] = digest_of_edited(edited)
                two.plan_file.write_text(json.dumps(edited))
                plan = read_plan(two.plan_file)
            except (ApprovalError, ValueError, TypeError, KeyError, AttributeError):
                refused += 1  # it is no plan: approve and apply read it the same way
                continue
            if shown_to_approver(plan) == shown:
                continue
            try:
                two.open(approved_plan=plan.digest, approved_by="sam")
            except ApprovalError:
                refused += 1
                continue
            parts = [part for part in plan.slices if part.section in live]
            moved = any(deviations(part, live[part.section]) for part in parts)
            missing = {part.section for part in plan.slices} != {part.section for part in original.slices}
            assert moved or missing, f"{path} = {value!r} is shown, and apply would not notice"
            refused += 1
    assert refused > 50


def digest_of_edited(document: dict[str, Any]) -> str:
    """The digest that fits a document, however it was edited."""
    try:
        Plan.from_document({**document, "digest": "sha256:0"})
    except ValueError:
        rows = [[Row(**row) for row in part["rows"]] for part in document["slices"]]
        slices = tuple(
            Slice(part["section"], tuple(found)) for part, found in zip(document["slices"], rows, strict=True)
        )
        return Plan(document["target"], document["tenant"], document["secrets"], slices).digest
    raise AssertionError("no plan has this digest")


def at_path(document: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        document = document[key]
    return document


def shown_to_approver(plan: Plan) -> str:
    screen = Console(record=True, width=300, file=io.StringIO())
    show_changes(plan, screen)
    # The digest and the count of what is not signed are ours, made from the rest.
    lines = screen.export_text().splitlines()
    return "\n".join(
        line for line in lines if "Digest sha256:" not in line and "Not covered by the signature:" not in line
    )


def test_a_note_of_the_file_is_not_shown(two: TwoPersons) -> None:
    document = json.loads(two.plan_file.read_text())
    for part in document["slices"]:
        for row in part["rows"]:
            row["note"] = "No calls are affected; agreed with the customer."
    two.plan_file.write_text(json.dumps(document))
    command = ["approve", str(two.plan_file), "--key", str(two.pat), "--ticket", "CHG-7", "--yes"]
    signed = CliRunner().invoke(app, command)
    assert signed.exit_code == 0 and "agreed with" not in signed.output


def test_an_emergency_is_marked_and_counted_until_another_person_reviews_it(
    two: TwoPersons, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNBOOK_EMERGENCY", "no calls since 02:10")
    with pytest.raises(ApprovalError, match="does not allow an emergency"):
        two.open()
    two.policy(emergency=True)
    with Runbook.open(two.site, ACME, mode="apply") as runbook:
        folder = two.start(runbook)
        section = runbook.section("01")
        section.apply()
        result = section.finish()
    two.end(folder)
    monkeypatch.delenv("RUNBOOK_EMERGENCY")
    assert result["approved_by"]["how"] == "emergency, not approved"
    assert json.loads((folder / "record.json").read_text())["emergency"] == "no calls since 02:10"
    run = folder.relative_to(two.records).as_posix()
    assert verify_records(two.records).unreviewed == (run,)
    review = ["records", "review", run, "--remark", "was right"]
    for command in ("verify", "list"):
        assert "nobody has reviewed" in CliRunner().invoke(app, ["records", command]).output
    assert f">{run}</div>" in write_index(two.records).read_text().replace("<wbr>", "")
    monkeypatch.setenv("SUDO_USER", "another-name-of-the-same")
    assert CliRunner().invoke(app, review).exit_code == 1  # the account ran it
    monkeypatch.setattr("runbook_lib.identity.user_name", lambda: "sam")
    assert CliRunner().invoke(app, review).exit_code == 0
    assert verify_records(two.records).unreviewed == ()
    assert f">{run}</div>" not in (two.records / "index.html").read_text().replace("<wbr>", "")
    assert CliRunner().invoke(app, review).exit_code == 3
    assert verify_records(two.records).status == "consistent, not anchored"


def test_an_emergency_is_nothing_on_a_site_without_approval(
    two: TwoPersons, monkeypatch: pytest.MonkeyPatch
) -> None:
    two.policy(approval="none", emergency=True)
    monkeypatch.setenv("RUNBOOK_EMERGENCY", "no calls since 02:10")
    with pytest.raises(InputError):
        Runbook.open(two.site, ACME, mode="apply")
