"""The policy that was in force: kept in every opening, and not weaker afterwards without an entry."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from runbook_lib.cli import app
from runbook_lib.errors import ApprovalError, RunbookError
from runbook_lib.parameters import load_site
from runbook_lib.records.chain import Chain, digest_of
from runbook_lib.records.errors import RecordError
from runbook_lib.records.policy import OldSigner, change_policy, policy_of, require_floor
from runbook_lib.records.record import open_record
from runbook_lib.records.verify import verify
from tests.conftest import CHECKOUT

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


def test_an_opening_that_was_changed_is_no_policy(tmp_path: Path) -> None:
    opening(tmp_path, 1, STRICT)
    [path] = tmp_path.glob("big/acme/*/opening.json")
    path.write_text(path.read_text().replace("two-person", "none"))
    with pytest.raises(RecordError, match=r"opening\.json is not as it was recorded"):
        opening(tmp_path, 2, STRICT | {"approval": "none"})


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

    with pytest.raises(ApprovalError, match="two persons"):
        change_policy(records, site, root, "smaller team")
    with pytest.raises(ApprovalError, match="no key of an allowed signer"):
        change_policy(records, site, root, "smaller team", OldSigner(keys["mallory"], signers))
    own = tmp_path / "own"
    own.write_text(f"pat@example.com {keys['mallory'].with_suffix('.pub').read_text()}")
    with pytest.raises(RunbookError, match="is not the file of before"):
        change_policy(records, site, root, "smaller team", OldSigner(keys["mallory"], own))
    assert len(Chain(records).entries()) == 1

    given = ["--key", str(keys["pat"]), "--allowed-signers", str(signers), "--records", str(records)]
    command = ["records", "policy", "-s", str(tmp_path / "site.yaml"), "--reason", "smaller team", *given]
    entered = CliRunner().invoke(app, command, env={"RUNBOOK_ROOT": str(root)})
    assert entered.exit_code == 0, entered.output
    event = json.loads((records / Chain(records).entries()[-1].file).read_text())
    assert event["signed_by"] == "pat@example.com" and event["reason"] == "smaller team" and event["weaker"]
    assert opening(records, 2, policy_of(site, root), **target)["policy_seen"] == "as before or stricter"
    assert not [one for one in verify(records).problems if "never closed" not in one.what]


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
