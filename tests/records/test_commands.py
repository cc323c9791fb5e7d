"""``runbook records``: exit status, what is said, and that hostile texts do nothing."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from runbook_lib.cli.records import app
from runbook_lib.records import chain, living
from runbook_lib.records.chain import Chain
from tests.records.conftest import finish, make, start, work

HOSTILE = (
    "\x1b[2J\x1b]0;owned\x07",
    "\u202egnp.exe",
    "[bold red]markup[/]",
    "<script>alert(1)</script>",
    "=cmd|' /C calc'!A0",
    "line\nbreak\r",
    "x" * 10_000,
)


@pytest.fixture
def records(tmp_path: Path) -> Path:
    records = tmp_path / "records"
    make(records, "demo/acme/20261123T000000Z-aaaaaa")
    make(records, "demo/globex/20261123T000001Z-bbbbbb")
    return records


def run(records: Path, *arguments: str, columns: str = "160") -> Result:
    return CliRunner().invoke(app, [*arguments, "--records", str(records)], env={"COLUMNS": columns})


def head(records: Path) -> str:
    return run(records, "head").stdout.strip()


def test_list_and_show(records: Path) -> None:
    work(start(records, "demo/acme/20261123T000002Z-cccccc"))
    listed = run(records, "list")
    assert listed.exit_code == 0
    states = re.findall(r"(going on|begun, not ended|closed) *$", listed.stdout, re.MULTILINE)
    assert states == ["closed", "closed", "going on"]
    shown = run(records, "show", "20261123T000000Z-aa")
    assert shown.exit_code == 0
    # A narrow terminal wraps cells: nothing is cut off, so it is all there without the borders.
    text = "".join(shown.stdout.replace("│", "").split())
    for expected in (
        "demo/acme/20261123T000000Z-aaaaaa",
        "succeeded",
        "RQ-20261123T000000Z-aaaaaa",
        "sha256:",
    ):
        assert expected in text
    assert "going on" in run(records, "show", "20261123T000002Z-cccccc").stdout
    living.end(records / "demo/acme/20261123T000002Z-cccccc")  # as its process ends
    assert run(records, "list").stdout.count("begun, not ended") == 2
    assert "begun, not ended" in run(records, "show", "20261123T000002Z-cccccc").stdout


@pytest.mark.parametrize("name", ["20261123T00000", "nothing", "", "../../etc"])
def test_a_run_that_is_not_one(records: Path, name: str) -> None:
    assert run(records, "show", name).exit_code == 3


def test_hostile_texts_do_nothing_in_a_terminal(records: Path) -> None:
    folder = start(records, "demo/acme/evil")
    work(folder)
    path = folder / "01.result.json"
    text = "".join(HOSTILE)
    result = json.loads(path.read_text())
    result["title"] = result["plan"][0]["setting"] = result["operator"] = text
    path.write_text(json.dumps(result))
    (folder / HOSTILE[0].replace("/", "")).write_text("x")
    finish(records, folder, message=text)
    for name in ("opening.json", "record.json"):
        content = json.loads((folder / name).read_text())
        for key in ("operator", "ticket", "outcome", "mode"):
            content[key] = text
        (folder / name).chmod(0o644)
        (folder / name).write_text(json.dumps(content))
    for arguments in (["list"], ["show", "evil"], ["verify"]):
        output = run(records, *arguments)
        assert not {"\x1b", "\x07", "\u202e", "\r"} & set(output.stdout + output.stderr), arguments
        assert "⟨U+001B⟩" in output.stdout or arguments == ["verify"]
    assert "[bold red]markup[/]<script>" in run(records, "show", "evil", columns="40000").stdout


def test_a_damaged_record_is_shown_without_a_traceback(records: Path) -> None:
    path = records / "demo/acme/20261123T000000Z-aaaaaa/record.json"
    path.chmod(0o644)
    for content in (
        "[]",
        '{"changes": 3, "target": [1], "guide_sections": [7], "approver": "x"}',
        "[" * 5000,
    ):
        path.write_text(content)
        for arguments in (["show", "20261123T000000Z-aaaaaa"], ["list"]):
            output = run(records, *arguments)
            assert output.exit_code == 1 and isinstance(output.exception, SystemExit)
            assert "demo/acme/20261123T000000Z-aaaaaa/record.json" in output.stdout


@pytest.mark.parametrize("name", ["opening.json", "record.json", "checksums.json", "run.json"])
def test_what_does_not_fit_its_digest_is_not_shown_as_if_nothing_were(records: Path, name: str) -> None:
    """One word is changed: the warning stands above all that is shown, and nothing ends with 0."""
    changed, other = "20261123T000000Z-aaaaaa", "20261123T000001Z-bbbbbb"
    path = records / f"demo/acme/{changed}" / name
    path.chmod(0o644)
    path.write_text(path.read_text().replace("demo", "dem0").replace("apply", "app1y"))
    shown = run(records, "show", changed)
    assert shown.exit_code == 1
    assert f"demo/acme/{changed}/{name}" in shown.stdout.splitlines()[0]
    assert run(records, "show", other).exit_code == 0
    listed = run(records, "list")
    # What the list shows comes from the opening and the record, and the checksums vouch for these.
    assert listed.exit_code == (0 if name == "run.json" else 1)
    if listed.exit_code:
        assert f"demo/acme/{changed}/{name}" in listed.stdout.splitlines()[0]
        assert next(line for line in listed.stdout.splitlines() if other in line).rstrip().endswith("closed")


def test_a_changed_chain_is_not_listed_as_if_nothing_were(records: Path) -> None:
    path = records / "chain.jsonl"
    path.write_text(path.read_text().replace('"opened"', '"opened" ', 1))
    for arguments in (["list"], ["show", "20261123T000001Z-bbbbbb"]):
        output = run(records, *arguments)
        assert output.exit_code == 1 and output.stdout.startswith("✗ chain.jsonl")


def test_verify_says_verified_with_a_kept_head_only(records: Path, tmp_path: Path) -> None:
    kept = head(records)
    without = run(records, "verify")
    assert without.exit_code == 0
    assert "consistent, not anchored" in without.stdout and "verified" not in without.stdout
    assert "verified up to entry 3" in run(records, "verify", "--head", kept).stdout
    make(records, "demo/acme/20261123T000003Z-dddddd")
    later = run(records, "verify", "--head", kept)
    assert later.exit_code == 0
    assert later.stdout.count("after the kept head") == 2
    (tmp_path / "heads").write_text(f"# Monday\n{kept}\n\n{head(records)}\n")
    both = run(records, "verify", "--head-file", str(tmp_path / "heads"))
    assert both.exit_code == 0 and "verified up to entry 5" in both.stdout


def test_verify_names_the_file_and_fails(records: Path) -> None:
    kept = head(records)
    path = records / "demo/acme/20261123T000000Z-aaaaaa/run.json"
    path.chmod(0o644)
    path.write_text("{}")
    for arguments in ((), ("--head", kept)):
        output = run(records, "verify", *arguments)
        assert output.exit_code == 1
        assert "demo/acme/20261123T000000Z-aaaaaa/run.json: changed" in output.stdout
        assert "not verified: 1 problem" in output.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("--head", "sha256:abc"),
        ("--head", "0" * 64),
        ("--head", ""),
        ("--head-file", "no-such-file"),
        ("--head-file", "/dev/null"),
        ("--identity", "pat"),
        ("--allowed-signers", "/dev/null"),
        ("--revoked", "/dev/null"),
    ],
)
def test_wrong_usage_is_not_taken_for_an_answer(records: Path, arguments: tuple[str, ...]) -> None:
    output = run(records, "verify", *arguments)
    assert output.exit_code == 3
    assert "verified" not in output.stdout


def test_no_records(tmp_path: Path) -> None:
    assert run(tmp_path, "list").exit_code == 0
    assert run(tmp_path, "head").exit_code == 1
    assert "0 closed records" in run(tmp_path, "verify").stdout
    assert run(tmp_path, "verify", "--head", "sha256:" + "0" * 64).exit_code == 1
    assert run(tmp_path / "none", "verify").exit_code == 3


def test_export(records: Path, tmp_path: Path) -> None:
    out = tmp_path / "one.zip"
    assert run(records, "export", "20261123T000000Z-aaaaaa", str(out)).exit_code == 0
    refused = run(records, "export", "20261123T000000Z-aaaaaa", str(out))
    assert refused.exit_code == 1 and "What to do next" in refused.stderr


def test_close_is_for_runs_that_died(records: Path) -> None:
    start(records, "demo/acme/going-on")
    assert run(records, "close", "going-on").exit_code == 1
    assert run(records, "close", "20261123T000000Z-aaaaaa").exit_code == 1


needs_ssh_keygen = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs OpenSSH")


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """Keys of Pat and of Mallory; Pat and Sam are allowed to sign."""
    folder = tmp_path / "keys"
    folder.mkdir()
    for name in ("pat", "sam", "mallory"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(folder / name)]
        subprocess.run(command, check=True)
    signers = [f"{name}@desk {(folder / f'{name}.pub').read_text()}" for name in ("pat", "sam")]
    (folder / "allowed").write_text("".join(signers))
    return folder


@needs_ssh_keygen
def test_a_signature_verifies_and_finds_what_was_changed(records: Path, keys: Path, tmp_path: Path) -> None:
    trust = ("verify", "--allowed-signers", str(keys / "allowed"), "--identity", "pat@desk")
    unsigned = run(records, *trust)
    assert unsigned.exit_code == 1 and "no valid signature by pat@desk" in unsigned.stdout
    assert run(records, "sign", "--key", str(keys / "pat")).exit_code == 0
    assert run(records, "sign", "--key", str(keys / "pat")).exit_code == 0  # the same signature again
    assert run(records, "sign", "--key", str(keys / "sam")).exit_code == 0
    signed = run(records, *trust)
    assert signed.exit_code == 0
    assert "verified up to entry 3, by the head that pat@desk signed" in signed.stdout
    make(records, "demo/acme/20261123T000003Z-dddddd")
    assert run(records, *trust).stdout.count("after the kept head") == 2

    # Signed by who may not sign: it counts for nothing and spoils nothing; or over something else.
    forged = shutil.copytree(records, tmp_path / "forged")
    assert run(forged, "sign", "--key", str(keys / "mallory")).exit_code == 0
    still = run(forged, *trust)
    assert still.exit_code == 0 and "verified up to entry 3" in still.stdout
    for path in (forged / "signatures").glob("000003-*"):
        path.unlink()
    assert run(forged, *trust).exit_code == 1
    changed = shutil.copytree(records, tmp_path / "changed")
    for path in (changed / "signatures").glob("*.head"):
        path.write_text(f"{Chain(changed).head}\n")
    assert run(changed, *trust).exit_code == 1

    # The tail cut, a record removed, everything written anew.
    for name, cut in (("tail", 3), ("all", 6)):
        other = shutil.copytree(records, tmp_path / name)
        lines = Chain(other).lines()
        (other / "chain.jsonl").write_bytes(b"".join(lines[:-cut]))
        output = run(other, *trust)
        assert output.exit_code == 1 and "cut or recreated" in output.stdout
    anew = shutil.copytree(records, tmp_path / "anew")
    (anew / "chain.jsonl").unlink()
    shutil.rmtree(anew / "demo")
    make(anew, "demo/acme/20261123T000000Z-aaaaaa")
    assert run(anew, *trust).exit_code == 1
    shutil.rmtree(anew / "signatures")
    output = run(anew, *trust)
    assert output.exit_code == 1 and "no valid signature by pat@desk" in output.stdout


@needs_ssh_keygen
def test_a_key_that_is_none(records: Path, tmp_path: Path) -> None:
    output = run(records, "sign", "--key", str(tmp_path / "none"))
    assert output.exit_code == 1 and "ssh-keygen could not sign" in output.stderr
    assert not (records / "signatures").exists()


def allow(keys: Path, *lines: tuple[str, str, str]) -> None:
    """Let keys sign: each as somebody, with options."""
    text = [f"{name} {options} {(keys / f'{key}.pub').read_text()}" for name, options, key in lines]
    (keys / "allowed").write_text("".join(text))


#: How the allowed signers change after Pat and Sam have signed: what becomes of what Pat signed.
LATER = {
    "nothing": ([("pat@desk", "", "pat")], True),
    "the key expires": ([("pat@desk", 'valid-before="20261124"', "pat")], True),
    "it expires, with other options": (
        [("pat@desk", 'namespaces="portsip-twilio-runbook",valid-before="20261124"', "pat")],
        True,
    ),
    "a new key takes its place": (
        [
            ("pat@desk", 'valid-before="20261124"', "pat"),
            ("pat@desk", 'valid-after="20261124"', "mallory"),
        ],
        True,
    ),
    "a key that was made after the head": ([("pat@desk", 'valid-after="20261124"', "pat")], True),
    "a key that had expired before": ([("pat@desk", 'valid-before="20261122"', "pat")], False),
    "Pat has left": ([], False),
}


@needs_ssh_keygen
@pytest.mark.parametrize("case", LATER)
def test_keys_come_and_go_and_what_was_signed_stays(
    records: Path, keys: Path, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chain, "now", lambda: "2026-11-23T12:00:00+00:00")
    make(records, "demo/acme/20261123T000003Z-dddddd")
    for key in ("pat", "sam"):
        run(records, "sign", "--key", str(keys / key))
    lines, holds = LATER[case]
    allow(keys, *lines, ("sam@desk", 'valid-before="20261124"', "sam"))
    trust = ("verify", "--allowed-signers", str(keys / "allowed"))
    alone = run(records, *trust, "--identity", "pat@desk")
    assert alone.exit_code == (0 if holds else 1)
    assert ("verified up to entry 5" in alone.stdout) == holds
    # Another one holds, so nothing is spoilt: who signed what is told for both.
    both = run(records, *trust, "--identity", "pat@desk", "--identity", "sam@desk")
    assert both.exit_code == 0 and "verified up to entry 5" in both.stdout
    assert "signed by sam@desk" in both.stdout and "the time of entry 5 by the clock of" in both.stdout


@needs_ssh_keygen
def test_the_chain_is_not_cut_unnoticed_because_a_key_has_expired(records: Path, keys: Path) -> None:
    run(records, "sign", "--key", str(keys / "pat"))
    allow(keys, ("pat@desk", 'valid-before="20261124"', "pat"))
    lines = Chain(records).lines()
    (records / "chain.jsonl").write_bytes(b"".join(lines[:2]))
    shutil.rmtree(records / "demo" / "globex")
    output = run(records, "verify", "--allowed-signers", str(keys / "allowed"), "--identity", "pat@desk")
    assert output.exit_code == 1 and "cut or recreated" in output.stdout


@needs_ssh_keygen
@pytest.mark.parametrize("form", ["public keys", "KRL"])
def test_a_revoked_key_never_counts(records: Path, keys: Path, tmp_path: Path, form: str) -> None:
    revoked = tmp_path / "revoked"
    if form == "KRL":
        subprocess.run(["ssh-keygen", "-q", "-k", "-f", str(revoked), str(keys / "pat.pub")], check=True)
    else:
        revoked.write_text(f"# stolen\n\n{(keys / 'pat.pub').read_text()}")
    run(records, "sign", "--key", str(keys / "pat"))
    trust = ("verify", "--allowed-signers", str(keys / "allowed"), "--identity", "pat@desk")
    assert run(records, *trust).exit_code == 0
    without = run(records, *trust, "--revoked", str(revoked))
    assert without.exit_code == 1 and "is revoked" in without.stdout
    run(records, "sign", "--key", str(keys / "sam"))
    other = run(records, *trust, "--identity", "sam@desk", "--revoked", str(revoked))
    assert other.exit_code == 0 and "verified up to entry 3" in other.stdout


@needs_ssh_keygen
@pytest.mark.parametrize("content", [None, "no key\n", "ssh-ed25519 AAAA pat\n"])
def test_revoked_keys_that_cannot_be_read_are_not_taken_for_an_answer(
    records: Path, keys: Path, tmp_path: Path, content: str | None
) -> None:
    run(records, "sign", "--key", str(keys / "pat"))
    if content is not None:
        (tmp_path / "revoked").write_text(content)
    trust = ("--allowed-signers", str(keys / "allowed"), "--identity", "pat@desk")
    output = run(records, "verify", *trust, "--revoked", str(tmp_path / "revoked"))
    assert output.exit_code == 3 and "verified" not in output.stdout
