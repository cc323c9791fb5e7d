"""The page on the format: its vectors are what the product makes, and its words are those of the code."""

from __future__ import annotations

import ast
import json
import re
import shutil
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from runbook_lib.outcomes import ExitStatus
from runbook_lib.plan import Plan
from runbook_lib.records import check_records
from runbook_lib.records.approvals import signed_approvals
from runbook_lib.records.chain import Chain, digest_of
from runbook_lib.records.chain_reading import read_chain
from runbook_lib.records.export import FORMAT_PAGE, VECTORS, proof
from runbook_lib.records.handing import handed_out
from runbook_lib.records.problems import CONSISTENT, DAMAGED, NEWER, VERIFIED, Code
from runbook_lib.records.verify import verify_records
from tests.conftest import CHECKOUT
from tests.records.vectors import make_vectors, put, verdict, write_given

PAGE = proof()[FORMAT_PAGE].decode()
STORED: dict[str, Any] = json.loads(proof()[VECTORS])
FILES, CASES = STORED["folders"]["records"], STORED["cases"]
needs_ssh_keygen = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs OpenSSH")


def rows(head: str) -> list[list[str]]:
    """The cells of the page's table whose first column is called so."""
    [table] = re.findall(rf"^\| {head} \|.*\n\|[-|]+\n((?:\|.*\n)+)", PAGE, re.M)
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines()]


def words(text: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", text))


@needs_ssh_keygen
def test_the_vectors_are_what_the_product_makes() -> None:
    assert make_vectors() == STORED, "run: python -m tests.records.vectors"


@pytest.mark.parametrize("number", range(len(CASES)))
def test_product_and_verifier_say_what_the_vectors_say(
    number: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case, folder = CASES[number], tmp_path / "folder"
    given = case["given"]
    if shutil.which("ssh-keygen") is None and (case["of"] == "two" or "identity" in given):
        pytest.skip("needs OpenSSH")
    held = put(folder, STORED["folders"][case["of"]], FILES)
    held += put(folder, STORED["changes"][case["of"]][case["change"]])
    write_given(tmp_path, given, STORED["allowed_signers"])
    expected = (case["status"], case["problems"], case["verified_up_to"])
    if not given.get("copy"):  # the product reads no copies
        assert verdict(folder, given, tmp_path) == expected
    arguments = ["--copy"] if given.get("copy") else []
    arguments += [word for head in given.get("head", ()) for word in ("--head", head)]
    arguments += [word for name in given.get("identity", ()) for word in ("--identity", name)]
    arguments += ["--allowed-signers", str(tmp_path / "allowed")] if "identity" in given else []
    for name in {"revoked", "approvers"} & given.keys():
        arguments += [f"--{name}", str(tmp_path / name)]
    capsys.readouterr()
    status = check_records.main([str(folder), "--json", *arguments])
    found = json.loads(capsys.readouterr().out)
    problems = [[problem["path"], problem["code"]] for problem in found["problems"]]
    assert (found["status"], problems, found["verified_up_to"]) == expected
    assert status == (ExitStatus.FAILED if problems else ExitStatus.FINE)
    runs = [*json.loads(_copied(folder))["folders"]] if given.get("copy") else None
    assert (found["copy"] and found["copy"]["runs"]) == runs
    for file in held:
        file.close()


def _copied(folder: Path) -> str:
    return (folder / "copy.json").read_text()


def test_every_kind_of_vector_is_there(tmp_path: Path) -> None:
    """Each event, each status, each code that files alone can show; plan, approval, anchor, copy."""
    put(tmp_path, FILES)
    chain = Chain(tmp_path)
    entries = chain.entries()
    assert {entry.event for entry in entries} == events_of_the_code()
    assert [entry.digest for entry in entries] == STORED["digests"] and chain.head == STORED["head"]
    assert {case["status"] for case in CASES} == {VERIFIED, CONSISTENT, DAMAGED, NEWER}
    # What cannot be read needs a file of another account.
    assert {code for case in CASES for _, code in case["problems"]} == {*map(str, Code)} - {Code.UNREADABLE}
    assert {case["of"] for case in CASES} == {*STORED["folders"]} == {"records", "two", "record", "year"}
    asked = {(case["of"], case["change"]) for case in CASES}
    assert asked == {(of, name) for of, changes in STORED["changes"].items() for name in changes}
    plan = STORED["plan"]
    assert plan["digest"] == digest_of(plan["covered"].encode())
    document = json.loads(FILES[plan["of"]])
    assert plan["digest"] == Plan.from_document(document).digest == check_records.plan_digest(document)
    copy = tmp_path / "copy"
    copy.write_text(STORED["handed_out"]["copy"])
    [handed] = handed_out(tmp_path, entries, copy)
    assert handed.told["digest"] == STORED["handed_out"]["digest"] == digest_of(copy.read_bytes())


@needs_ssh_keygen
@pytest.mark.parametrize("edit", ["none", "the plan", "the statement", "the signature", "the signers"])
def test_a_signed_approval_that_does_not_fit(
    edit: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Somebody changed it, and made checksums and chain again: only the approval itself shows it."""
    records, run = tmp_path / "records", "demo/acme/2"
    put(records, FILES)
    name, old, new = {
        "none": ("run.json", "", ""),
        "the plan": ("approved.plan.json", "60", "61"),
        "the statement": ("approval.json", "CHG-7", "CHG-8"),
        "the signature": ("approval.json.sig", "U1NIU0lH", "U1NIU0lI"),
        "the signers": ("approval.signers", "AAAAIIE", "AAAAIIA"),
    }[edit]
    path = records / run / name
    path.write_text(path.read_text().replace(old, new, 1))
    _made_again(records)
    assert verify_records(records).problems == ()
    signers = tmp_path / "allowed"
    signers.write_text(STORED["allowed_signers"])
    problems = signed_approvals(records, read_chain(records)[0], signers)[0]
    if edit != "the signers":  # those that are asked come from elsewhere
        assert [problem.code for problem in problems] == ([] if edit == "none" else [Code.APPROVAL])
    capsys.readouterr()
    check_records.main([str(records), "--json"])
    found = json.loads(capsys.readouterr().out)["problems"]
    assert [problem["code"] for problem in found] == ([] if edit == "none" else ["approval"])


def _made_again(records: Path) -> None:
    """Give checksums and chain the digests of the files that are there now."""
    path, lines, previous = records / "demo/acme/2/checksums.json", [], None
    told = json.loads(path.read_text())
    told["files"] = {name: digest_of((path.parent / name).read_bytes()) for name in told["files"]}
    path.write_text(json.dumps(told))
    for name in ("anchors.jsonl", *(f"signatures/{one.name}" for one in (records / "signatures").iterdir())):
        (records / name).unlink()
    for line in (records / "chain.jsonl").read_text().splitlines():
        entry = json.loads(line)
        if (records / entry["file"]).exists():
            entry["content"] = digest_of((records / entry["file"]).read_bytes())
        entry["previous"] = previous
        lines.append(json.dumps(entry) + "\n")
        previous = digest_of(lines[-1].encode())
    (records / "chain.jsonl").write_text("".join(lines))


def events_of_the_code() -> set[str]:
    """The words of all events that some code enters."""
    found = set()
    for path in sorted((CHECKOUT / "runbook_lib").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            names = [
                one.id for one in ast.walk(node.args[0]) if isinstance(one, ast.Name) and one.id.isupper()
            ]
            if called in ("record", "Event") and names:
                module = import_module(".".join(path.relative_to(CHECKOUT).with_suffix("").parts))
                found |= {getattr(module, name) for name in names}
    return found


def test_every_event_and_its_keys_are_on_the_page_and_the_other_way_round() -> None:
    table = {event: (words(keys), file) for event, file, keys, _ in rows("event") for event in words(event)}
    assert set(table) == events_of_the_code()
    entries = [json.loads(line) for line in FILES["chain.jsonl"].splitlines()]
    missing: dict[str, set[str]] = {}
    for entry in entries:
        keys, file = table[entry["event"]]
        assert entry["file"].startswith("_events/") is ("_events/" in file)
        if entry["file"] in FILES:
            content = json.loads(FILES[entry["file"]])
            # Of an opening the page has some of its keys, of any other event all.
            is_opening = entry["event"] == "opened"
            assert (keys <= set(content)) if is_opening else (keys >= set(content)), entry["event"]
            missing[entry["event"]] = keys - set(content)
    # Only a change that a former signer had to sign has his signature.
    assert {event: keys for event, keys in missing.items() if keys} == {"policy": {"signed_by", "signature"}}


def test_every_code_status_and_field_is_on_the_page_and_the_other_way_round() -> None:
    codes = {code for cells in rows("code") for code in words(cells[0])}
    assert codes == {*map(str, Code)}
    text = " ".join(PAGE.split())
    for status in (VERIFIED, CONSISTENT, DAMAGED, NEWER):
        assert f"`{status}`" in text
    fields = {field: what for cells in rows("field") for field in words(cells[0]) for what in [cells[1]]}
    own = {field for field, what in fields.items() if what.startswith("of the product alone")}
    assert set(verify_records(Path("/nonexistent")).to_data()) == set(fields)
    assert set(check_records.as_data(check_records.Checked("/nonexistent"))) == set(fields) - own
    statuses = {int(number) for number in re.findall(r"[ ;](\d): ", text.partition("Exit status")[2][:60])}
    assert statuses == {ExitStatus.FINE, ExitStatus.FAILED, ExitStatus.WRONG_INPUT}
    source = (CHECKOUT / "runbook_lib/records/check_records.py").read_text(encoding="utf-8")
    assert {code for code in map(str, Code) if f'"{code}"' in source} == codes
