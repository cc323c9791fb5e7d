"""The policy that was in force: kept in every opening, and not weaker afterwards without an entry."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from runbook_lib import plain_files
from runbook_lib.batch import Observer, run_tenants
from runbook_lib.batch.at_once import run_at_once
from runbook_lib.batch.pages import write_index
from runbook_lib.batch.scan import withhold
from runbook_lib.cli import app
from runbook_lib.errors import ApprovalError, RunbookError
from runbook_lib.parameters import load_site
from runbook_lib.records import policy as policy_module
from runbook_lib.records.chain import CLOSED, Chain, digest_of
from runbook_lib.records.errors import RecordError
from runbook_lib.records.policy import OldSigner, change_policy, policy_of, require_floor
from runbook_lib.records.record import close_record, open_record, write_record
from runbook_lib.records.result import write_json
from runbook_lib.records.run_folder import carry_clean
from runbook_lib.records.verify import verify_records
from runbook_lib.runbook import Runbook
from runbook_lib.secret import remember
from tests.conftest import CHECKOUT, TestSandbox
from tests.parameters.test_live import project  # noqa: F401 - a fixture: a project with a live site
from tests.sections.test_tenant_level import SITE

STRICT = {
    "approval": "two-person",
    "approvers": 2,
    "emergency": False,
    "approval_valid": 3,
    "ticket": "CHG-[0-9]+",
    "allowed_signers": "sha256:" + "1" * 64,
}
TARGET = {"target": "live", "site": "big", "twilio_account": "AC1", "pbx": "https://pbx.example.com:8900"}
WEAKER: dict[str, Any] = {
    "approval": "required",
    "approvers": 1,
    "approval_valid": 7,
    "emergency": True,
    "ticket": None,
    "allowed_signers": "sha256:" + "2" * 64,
}


def opening(records: Path, number: int, policy: dict[str, Any], **target: str) -> dict[str, Any]:
    folder = records / f"big/acme/20261123T000000Z-{number:06x}"
    open_record(
        records,
        folder,
        mode="apply",
        site="big",
        tenant="acme",
        target=TARGET | target,
        order=("01",),
        parameters={},
        files={},
        policy=policy,
    )
    return json.loads((folder / "opening.json").read_text())


@pytest.mark.parametrize("name", WEAKER)
def test_a_weaker_policy_is_refused_for_the_same_account_or_pbx(tmp_path: Path, name: str) -> None:
    assert opening(tmp_path, 1, STRICT)["policy_seen"] == "policy first seen here"
    weak = STRICT | {name: WEAKER[name]}
    for number, elsewhere in enumerate(({}, {"twilio_account": "AC2"}, {"pbx": "https://other"}), 2):
        with pytest.raises(ApprovalError, match=name):
            opening(tmp_path, number, weak, site="another", **elsewhere)
    assert [entry.event for entry in Chain(tmp_path).entries()] == ["opened"]
    assert len([*tmp_path.glob("big/acme/*")]) == 1
    opening(tmp_path, 5, weak, twilio_account="AC2", pbx="https://other")


@pytest.mark.parametrize("name", WEAKER)
@pytest.mark.parametrize("stricter", [0, 1], ids=["older", "newer"])
def test_the_strictest_counts_part_by_part(tmp_path: Path, name: str, stricter: int) -> None:
    """One record of the same PBX and one of the same account: neither of the two is enough."""
    loose = {**WEAKER, "approval": "none", "allowed_signers": None}
    policies = [loose, loose]
    policies[stricter] = strict = loose | {name: STRICT[name]}
    opening(tmp_path, 1, policies[0], twilio_account="AC2")
    opening(tmp_path, 2, policies[1], pbx="https://other")
    with pytest.raises(ApprovalError, match=name):
        opening(tmp_path, 3, loose)
    assert opening(tmp_path, 3, strict)["policy_seen"] == "as before or stricter"


def test_the_sandbox_shows_and_does_not_refuse(tmp_path: Path) -> None:
    opening(tmp_path, 1, STRICT, target="sandbox")
    seen = opening(tmp_path, 2, STRICT | {"approvers": 1}, target="sandbox")["policy_seen"]
    assert seen.startswith("weaker than before") and "approvers" in seen


OPEN_TO_ALL = STRICT | {"approval": "none"}
DAMAGE: dict[str, Callable[[Path], object]] = {
    "changed": lambda path: path.write_text(path.read_text().replace("two-person", "none")),
    "deleted": Path.unlink,
    "its folder deleted": lambda path: shutil.rmtree(path.parent),
    "its folder moved": lambda path: path.parent.rename(path.parents[3] / "elsewhere"),
    "moved as if it was withheld": lambda path: withhold(path.parent),
    "a FIFO": lambda path: (path.unlink(), os.mkfifo(path)),
}


def close(records: Path, number: int) -> None:
    folder = records / f"big/acme/20261123T000000Z-{number:06x}"
    write_json(folder / "run.json", {"outcome": "succeeded", "sections": []})
    write_record(folder)
    close_record(records, folder)


@pytest.mark.parametrize("closed", [False, True], ids=["open", "closed"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_without_the_newest_opening_no_older_policy_counts(tmp_path: Path, damage: str, closed: bool) -> None:
    opening(tmp_path, 1, OPEN_TO_ALL)
    opening(tmp_path, 2, STRICT)
    if closed:
        close(tmp_path, 2)
    path = tmp_path / "big/acme/20261123T000000Z-000002/opening.json"
    if closed:
        path.chmod(0o644)
    DAMAGE[damage](path)
    entries = len(Chain(tmp_path).entries())
    # A sandbox's run is not refused, and does not make an older policy count afterwards.
    opening(tmp_path, 3, OPEN_TO_ALL, target="sandbox")
    for policy in (OPEN_TO_ALL, STRICT):
        with pytest.raises(RecordError) as refused:
            opening(tmp_path, 4, policy)
        assert path.relative_to(tmp_path).as_posix() in str(refused.value)
    assert len(Chain(tmp_path).entries()) == entries + 1


def test_a_change_of_policy_that_is_missing_is_not_passed_over(tmp_path: Path) -> None:
    opening(tmp_path, 1, STRICT)
    told = {"target": TARGET, "pinned_policy": OPEN_TO_ALL}
    event = Chain(tmp_path).record("policy", None, told)
    opening(tmp_path, 2, OPEN_TO_ALL)
    (tmp_path / event.file).unlink()
    # The newest opening has kept what it said; only without that it would be needed.
    opening(tmp_path, 3, OPEN_TO_ALL)
    event = Chain(tmp_path).record("policy", None, told)
    (tmp_path / event.file).unlink()
    with pytest.raises(RecordError):
        opening(tmp_path, 4, OPEN_TO_ALL)


def test_a_record_that_the_runbook_withheld_with_its_opening_does_not_stop_the_site(
    tmp_path: Path,
) -> None:
    remember("planted-canary-5172", "env:CANARY")
    opening(tmp_path, 1, STRICT)
    opening(tmp_path, 2, STRICT)
    folder = tmp_path / "big/acme/20261123T000000Z-000002"
    (folder / "opening.json").write_text("planted-canary-5172")
    withheld = withhold(folder)
    folder.mkdir()
    carry_clean(withheld, folder)
    assert not (folder / "opening.json").exists()
    close(tmp_path, 2)
    with pytest.raises(ApprovalError):  # the one before it counts
        opening(tmp_path, 3, OPEN_TO_ALL)
    opening(tmp_path, 4, STRICT)
    # Who writes the checksums anew does not make a withheld record of another one.
    close(tmp_path, 4)
    folder = tmp_path / "big/acme/20261123T000000Z-000004"
    (folder / "opening.json").unlink()
    checksums = json.loads((folder / "checksums.json").read_text())
    del checksums["files"]["opening.json"]
    (folder / "checksums.json").unlink()
    write_json(folder / "checksums.json", checksums)
    with pytest.raises(RecordError):
        opening(tmp_path, 5, STRICT)


def test_a_new_target_reads_one_opening_however_many_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(30):
        opening(tmp_path, number, STRICT, twilio_account=f"AC{number % 3}")
    open_record(  # a verification that is chained, too
        tmp_path,
        tmp_path / "big/acme/20261123T000001Z-000000",
        mode="verify",
        site="big",
        tenant="acme",
        target=TARGET,
        order=("01",),
        parameters={},
        files={},
    )
    opened, plain = list[Path](), policy_module.read
    monkeypatch.setattr(policy_module, "read", lambda path: opened.append(path) or plain(path))
    new = {"twilio_account": "AC9", "pbx": "https://other"}
    assert opening(tmp_path, 40, OPEN_TO_ALL, **new)["policy_seen"] == "policy first seen here"
    assert len(opened) == 1
    for account in ("AC0", "AC1", "AC2"):
        with pytest.raises(ApprovalError):
            opening(tmp_path, 41, OPEN_TO_ALL, twilio_account=account, pbx="https://other")


def test_openings_of_an_older_runbook_still_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy_module.Pins, "kept", {})  # each keeps its own target's only
    opening(tmp_path, 1, STRICT)
    opening(tmp_path, 2, OPEN_TO_ALL, twilio_account="AC2", pbx="https://other")
    monkeypatch.undo()
    with pytest.raises(ApprovalError):
        opening(tmp_path, 3, OPEN_TO_ALL)
    opening(tmp_path, 4, OPEN_TO_ALL, twilio_account="AC2", pbx="https://other")
    with pytest.raises(ApprovalError):
        opening(tmp_path, 5, OPEN_TO_ALL)


def test_a_weaker_policy_is_entered_by_a_signer_of_before(tmp_path: Path) -> None:
    root, records = tmp_path, tmp_path / "records"
    keys = {name: tmp_path / name for name in ("pat", "mallory")}
    for key in keys.values():
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", key], check=True)
    signers = tmp_path / "signers"
    signers.write_text(f"pat@example.com {keys['pat'].with_suffix('.pub').read_text()}")
    content = YAML().load(CHECKOUT / "parameters/sandbox/site.yaml")
    content["site"]["policies"] |= {"approval": "required"}
    YAML().dump(content, tmp_path / "site.yaml")
    site = load_site(tmp_path / "site.yaml", root)
    [account] = {one.account_sid for one in site.twilio_accounts.values()}
    target = {"target": "sandbox", "twilio_account": account, "pbx": site.pbx.url or "sandbox"}
    opening(records, 1, STRICT | {"allowed_signers": digest_of(signers.read_bytes())}, **target)

    with pytest.raises(ApprovalError, match="two people"):
        change_policy(records, site, root, "smaller team")
    with pytest.raises(ApprovalError, match="does not belong to a previously allowed signer"):
        change_policy(records, site, root, "smaller team", OldSigner(keys["mallory"], signers))
    own = tmp_path / "own"
    own.write_text(f"pat@example.com {keys['mallory'].with_suffix('.pub').read_text()}")
    with pytest.raises(RunbookError, match="is not the previous file"):
        change_policy(records, site, root, "smaller team", OldSigner(keys["mallory"], own))
    assert len(Chain(records).entries()) == 1

    given = ["--key", str(keys["pat"]), "--allowed-signers", str(signers), "--records", str(records)]
    command = ["records", "policy", "-s", str(tmp_path / "site.yaml"), "--reason", "smaller team", *given]
    entered = CliRunner().invoke(app, command, env={"RUNBOOK_ROOT": str(root)})
    assert entered.exit_code == 0, entered.output
    event = json.loads((records / Chain(records).entries()[-1].file).read_text())
    assert event["signed_by"] == "pat@example.com" and event["reason"] == "smaller team" and event["weaker"]
    assert opening(records, 2, policy_of(site, root), **target)["policy_seen"] == "as before or stricter"
    assert not [one for one in verify_records(records).problems if "never closed" not in one.what]


FLOORS: dict[str, tuple[str, int, type[Exception] | None]] = {
    "kept": ('approval = "two-person"\napprovers = 2\n', 0o644, None),
    "not kept": ("approvers = 3\n", 0o644, ApprovalError),
    "longer": ("approval_valid = 2\n", 0o644, ApprovalError),
    "not TOML": ("approvers: 3", 0o644, RunbookError),
    "a typo": ("approver = 3\n", 0o644, RunbookError),
    "writable": ("approvers = 1\n", 0o666, RunbookError),
}


@pytest.mark.parametrize("case", FLOORS)
def test_the_machines_floor_is_under_every_live_site(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    text, mode, error = FLOORS[case]
    path = tmp_path / "policy.toml"
    path.write_text(text)
    path.chmod(mode)
    check: Callable[[dict[str, str]], None] = lambda target: require_floor(target, STRICT, path)  # noqa: E731
    check(TARGET | {"target": "sandbox"})
    if path.stat().st_uid != 0:
        error = RunbookError  # not root's file
    if error is None:
        check(TARGET)
    else:
        with pytest.raises(error):
            check(TARGET)
    require_floor(TARGET, STRICT, tmp_path / "none")


@pytest.mark.parametrize(
    ("floor", "status"), [("approvers = 1\n", None), ('approval = "two-person"\n', ApprovalError)]
)
def test_the_floor_is_under_a_live_site_that_is_opened(
    project: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    floor: str,
    status: type[Exception] | None,
) -> None:
    path = project.parent / "policy.toml"
    path.write_text(floor)
    path.chmod(0o644)
    monkeypatch.setattr(policy_module, "FLOOR", path)
    monkeypatch.setenv("RUNBOOK_ROOT", str(project))
    files = ("parameters/bigtel/site.yaml", "parameters/bigtel/acme.yaml")
    Runbook.open(*files, mode="plan")
    if os.geteuid() != 0:
        status = RunbookError  # not root's file
    if status is None:
        Runbook.open(*files, mode="apply")
    else:
        with pytest.raises(status, match=r"policy\.toml"):
            Runbook.open(*files, mode="apply")
    assert not (project / "records").exists()


def test_policy_is_shown_before_a_run_writes(sandbox: TestSandbox) -> None:
    """One after the other, and at once: when a person reads it, nothing has been written yet."""
    records, site = sandbox.root / "records", load_site(Path(SITE), sandbox.root)
    [account] = {one.account_sid for one in site.twilio_accounts.values()}
    opening(records, 1, STRICT, target="sandbox", twilio_account=account, pbx="sandbox")
    seen: list[tuple[str, str]] = []

    class Order(Observer):
        def on_policy(self, tenant: str, seen_now: str) -> None:
            assert seen_now.startswith("weaker than before")
            closed = {one.run for one in Chain(records).entries() if one.event == CLOSED}
            assert not any(run.startswith(f"demo/{tenant}/") for run in closed)
            seen.append(("policy", tenant))

        def on_section_start(self, tenant: str, section: str) -> None:
            seen.append(("section", tenant))

    tenants = [Path(f"parameters/sandbox/{name}.yaml") for name in ("acme", "globex")]
    result = run_tenants(Path(SITE), tenants[:1], "apply", {}, Order(), ("01",))
    assert seen == [("policy", "acme"), ("section", "acme")] and result.remarks == ()
    seen.clear()
    result = run_at_once(Path(SITE), tenants[1:], "apply", {}, Order(), ("01",), 2)
    assert seen == [("policy", "globex")] and result.exit_status == 0 and result.remarks == ()


def test_changes_of_policy_are_on_the_page_and_no_opening_is_read_twice(
    sandbox: TestSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = sandbox.root / "records"
    for number in range(3):
        opening(records, number, STRICT, target="sandbox")
        close(records, number)
    site = load_site(Path(SITE), sandbox.root)
    [account] = {one.account_sid for one in site.twilio_accounts.values()}
    strict = STRICT | {"approval": "required"}
    opening(records, 3, strict, target="sandbox", twilio_account=account, pbx="sandbox")
    close(records, 3)
    command = ["records", "policy", "-s", SITE, "--reason", "a smaller team"]
    assert CliRunner().invoke(app, command).exit_code == 0
    page = (records / "index.html").read_text()
    assert "a smaller team" in page and "weaker: approval: none" in page
    opened, plain = list[str](), plain_files.descriptor

    def counted(path: Path, *options: Any) -> int:
        if path.name == "opening.json":
            opened.append(str(path))
        return plain(path, *options)

    monkeypatch.setattr(plain_files, "descriptor", counted)
    for call in (
        lambda: CliRunner().invoke(app, ["records", "verify"]),
        lambda: CliRunner().invoke(app, ["records", "list"]),
        lambda: write_index(records),
    ):
        opened.clear()
        call()
        assert len(opened) == len({*opened}) == 4
