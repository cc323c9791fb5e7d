"""The verifier that travels with records, beside the product's own verdict; the page that describes both."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from runbook_lib.cli.records import app
from runbook_lib.records import check_records
from runbook_lib.records.chain import Chain, Entry, digest_of
from runbook_lib.records.export import FORMAT_PAGE, VECTORS, VERIFIER, proof
from runbook_lib.records.problems import Anchor
from runbook_lib.records.verify import verify_records
from tests.conftest import CHECKOUT, sample
from tests.records.conftest import make, start, work
from tests.records.vectors import put

RUN = "demo/acme/20261123T000000Z-aaaaaa"
needs_ssh_keygen = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs OpenSSH")


def cli(records: Path, *arguments: str) -> Any:
    return CliRunner().invoke(app, [*arguments, "--records", str(records)], env={"COLUMNS": "200"})


Verdict = tuple[str, set[tuple[str, str]]]


def outsider(folder: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> Verdict:
    capsys.readouterr()
    status = check_records.main([str(folder), "--json", *arguments])
    found = json.loads(capsys.readouterr().out)
    assert status == (1 if found["problems"] else 0)
    return found["status"], {(problem["path"], problem["code"]) for problem in found["problems"]}


def product(records: Path, *heads: str) -> Verdict:
    report = verify_records(records, [Anchor(head, "kept") for head in heads])
    return report.status, {(problem.path, str(problem.code)) for problem in report.problems}


CHANGES: dict[str, Callable[[Path], object]] = {
    "changed": lambda path: path.write_bytes(path.read_bytes() + b" "),
    "removed": lambda path: path.unlink(),
    "added": lambda path: path.with_name("added.txt").write_text("x"),
    "an empty folder": lambda path: path.with_name("empty").mkdir(),
    "too large": lambda path: os.truncate(path, (64 << 20) + 1),
    "a link": lambda path: (path.rename(path.with_name("moved")), path.symlink_to("moved")),
}
FILES = [
    *("opening.json", "record.json", "run.json", "checksums.json"),
    *("journal.jsonl", "01.result.json", "01_create_sip_trunk.ipynb"),
]
CASES = [(change, file) for change in CHANGES for file in FILES]


@pytest.mark.parametrize("number", range(50))
def test_the_same_verdict_on_each_of_50_records(
    pristine: tuple[Path, str],
    runs: list[str],
    number: int,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    records = shutil.copytree(pristine[0], tmp_path / "records")
    if number == 0:
        assert outsider(records, capsys) == product(records) == ("consistent, not anchored", set())
        assert outsider(records, capsys, "--head", pristine[1]) == product(records, pristine[1])
    for change, file in sample(CASES, 3):
        folder = records / runs[number]
        kept = shutil.copytree(folder, tmp_path / "kept")
        (folder / file).chmod(0o644)
        CHANGES[change](folder / file)
        assert outsider(records, capsys) == product(records), (change, file)
        assert product(records)[0] == "not verified"
        shutil.rmtree(folder)
        kept.rename(folder)


def _lines(change: Callable[[list[bytes]], list[bytes]]) -> Callable[[Path], None]:
    def changed(records: Path) -> None:
        path = records / "chain.jsonl"
        path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))

    return changed


WHOLE: dict[str, Callable[[Path], object]] = {
    "a line out": _lines(lambda lines: [*lines[:3], *lines[4:]]),
    "cut": _lines(lambda lines: lines[:4]),
    "turned round": _lines(lambda lines: [lines[0], lines[2], lines[1], *lines[3:]]),
    "edited": _lines(lambda lines: [lines[0].replace(b"opened", b"opine "), *lines[1:]]),
    "half a line": _lines(lambda lines: [*lines[:-1], lines[-1][:20]]),
    "none": lambda records: (records / "chain.jsonl").unlink(),
    "empty": lambda records: (records / "chain.jsonl").write_text(""),
    "a record gone": lambda records: shutil.rmtree(records / RUN),
    "a copy beside it": lambda records: shutil.copytree(records / RUN, records / "demo/acme/copy"),
    "a run that is open": lambda records: work(start(records, "demo/acme/open")),
    "a run that died": lambda records: (work(start(records, "demo/acme/x")), _end(records / "demo/acme/x")),
    "a plan beside it": lambda records: _plan(records / "demo/acme/plan"),
    "events": lambda records: cli(records, "hold", RUN, "--reason", "x"),
}


def _end(folder: Path) -> None:
    (folder / ".run.lock").unlink()


def _plan(folder: Path) -> None:
    folder.mkdir()
    (folder / "run.json").write_text('{"mode": "plan"}')


@pytest.mark.parametrize("case", WHOLE)
def test_the_same_verdict_on_the_chain(tmp_path: Path, case: str, capsys: pytest.CaptureFixture[str]) -> None:
    records = tmp_path / "records"
    for number in range(3):
        make(records, RUN.replace("aaaaaa", f"{number:06x}") if number else RUN)
    head = str(Chain(records).head)
    WHOLE[case](records)
    for heads in ((), (head,)):
        arguments = [word for one in heads for word in ("--head", one)]
        status, found = outsider(records, capsys, *arguments)
        assert (status, found) == product(records, *heads)


@needs_ssh_keygen
def test_the_copy_of_a_record_proves_itself_with_a_signed_head(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records, keys = tmp_path / "records", tmp_path / "keys"
    keys.mkdir()
    for name in ("pat", "mallory"):
        key = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(keys / name)]
        subprocess.run(key, check=True)
        (keys / f"allowed-{name}").write_text(f"{name}@desk {(keys / f'{name}.pub').read_text()}")
    make(records, "demo/globex/20261123T000000Z-bbbbbb")
    make(records, RUN)
    make(records, "demo/globex/20261123T000001Z-cccccc")
    assert cli(records, "sign", "--key", str(keys / "pat")).exit_code == 0
    make(records, "demo/initech/20261123T000002Z-dddddd")
    assert cli(records, "export", RUN, str(tmp_path / "a.zip")).exit_code == 0
    with zipfile.ZipFile(tmp_path / "a.zip") as zipped:
        zipped.extractall(tmp_path / "a")
    [folder] = (tmp_path / "a").iterdir()
    assert {"record", "signatures", "chain.jsonl", "copy.json", VERIFIER, FORMAT_PAGE, VECTORS} <= {
        path.name for path in folder.iterdir()
    }
    assert b"initech" not in (folder / "chain.jsonl").read_bytes()  # behind the signed head
    command = [sys.executable, "-I", str(folder / VERIFIER), "--copy", str(folder)]
    signed = [*command, "--identity", "pat@desk", "--allowed-signers", str(keys / "allowed-pat")]
    assert subprocess.run(signed, check=False).returncode == 0
    assert outsider(folder, capsys, "--copy", *signed[5:])[0] == "verified"
    assert outsider(tmp_path / "a.zip", capsys, *signed[5:])[0] == "verified"
    stranger = ["--identity", "mallory@desk", "--allowed-signers", str(keys / "allowed-mallory")]
    assert subprocess.run([*command, *stranger], check=False, capture_output=True).returncode == 1
    assert subprocess.run([*command, "--identity", "x"], check=False, capture_output=True).returncode == 3
    closed = next(entry for entry in Chain(records).entries() if (entry.run, entry.event) == (RUN, "closed"))
    assert subprocess.run([*command, "--head", closed.digest], check=False).returncode == 0
    # Whatever is changed in it is found, also by who holds all of the zip.
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    for name in names:
        if not name.startswith(("record/", "signatures/")) and name != "chain.jsonl":
            continue
        path = folder / name
        content = path.read_bytes()
        path.chmod(0o644)
        path.write_bytes(content.replace(b"a", b"b", 1) if b"a" in content else content + b"x")
        assert subprocess.run(signed, check=False, capture_output=True).returncode == 1, name
        path.write_bytes(content)
    pages = [path.read_text() for path in folder.rglob("*.html")]
    assert not [link for page in pages for link in re.findall(r'href="(?:\.\./\.\.|file:|/|http)', page)]


STRAY = {
    "of nothing": {"format": 1, "folders": {}},
    "of one record": {"format": 1, "kind": "record", "folders": {RUN: RUN}},
    "of a year": {"format": 1, "year": 2026, "folders": {RUN: RUN}},
    "none": [],
}


@pytest.mark.parametrize("case", STRAY)
def test_a_copy_json_that_somebody_puts_into_the_records_hides_nothing(
    tmp_path: Path, case: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever may write there could have all other records deleted, and the rest called verified."""
    records, other = tmp_path / "records", RUN.replace("aaaaaa", "bbbbbb")
    make(records, RUN)
    make(records, other)
    head = str(Chain(records).head)
    (records / "copy.json").write_text(json.dumps(STRAY[case]))
    assert outsider(records, capsys, "--head", head) == product(records, head) == ("verified", set())
    shutil.rmtree(records / other)
    found = ("not verified", {(other, "missing")})
    assert outsider(records, capsys, "--head", head) == product(records, head) == found
    assert cli(records, "verify", "--head", head).exit_code == 1


def _zip(path: Path, names: list[str]) -> Path:
    with zipfile.ZipFile(path, "w") as zipped:
        for name in names:
            zipped.writestr(name, "{}")
    return path


def _told(**values: object) -> str:
    return json.dumps({"format": 1, "kind": "record", "folders": {RUN: "record"}, **values})


@pytest.mark.parametrize(
    "told",
    [
        None,
        "no JSON",
        _told(folders={}),
        _told(folders=[]),
        _told(folders={RUN: "a", "demo/acme/2": "b"}),
        _told(folders={"demo/acme": "record"}),
        _told(folders={RUN: "../elsewhere"}),
        _told(folders={RUN: 1}),
        _told(kind="year"),
        _told(kind="month"),
        _told(format=2),
    ],
)
def test_what_is_no_copy_is_not_taken_for_one(tmp_path: Path, told: str | None) -> None:
    records = tmp_path / "records"
    make(records, RUN)
    if told is not None:
        (records / "copy.json").write_text(told)
    assert check_records.main(["--copy", str(records)]) == 3


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    "names",
    [
        [],
        ["copy.json"],
        ["a/copy.json", "b/copy.json"],
        ["a/copy.json", "a/copy.json"],
        ["a/copy.json", "a/../../b"],
        ["/a/copy.json"],
    ],
)
def test_what_is_no_zip_of_a_copy(tmp_path: Path, names: list[str]) -> None:
    path = _zip(tmp_path / "a.zip", names)
    assert check_records.main([str(path)]) == 3
    path.write_bytes(path.read_bytes()[:-4])
    assert check_records.main([str(path)]) == 3
    assert check_records.main([str(tmp_path / "none")]) == 3


def test_a_zip_that_would_fill_the_disk_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make(tmp_path / "records", RUN)
    assert cli(tmp_path / "records", "export", RUN, str(tmp_path / "a.zip")).exit_code == 0
    assert check_records.main([str(tmp_path / "a.zip")]) == 0
    monkeypatch.setattr(check_records, "UNPACKED", 1000)
    monkeypatch.setattr(zipfile.ZipFile, "extractall", lambda *_: pytest.fail("unpacked"))
    assert check_records.main([str(tmp_path / "a.zip")]) == 3
    assert "too large" in capsys.readouterr().err


def test_the_report_says_of_which_runs_it_is_a_copy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = tmp_path / "records"
    make(records, RUN)
    assert cli(records, "export", RUN, str(tmp_path / "a.zip")).exit_code == 0
    year = Chain(records).entries()[1].at[:4]
    assert cli(records, "archive", year, str(tmp_path / "b.zip")).exit_code == 0
    for name, kind in (("a.zip", "record"), ("b.zip", "year")):
        capsys.readouterr()
        assert check_records.main([str(tmp_path / name), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["copy"] == {"kind": kind, "runs": [RUN]}
        assert check_records.main([str(tmp_path / name)]) == 0
        assert RUN in capsys.readouterr().out
        # Unpacked, and not called a copy, it is a records folder with nearly nothing in it.
        with zipfile.ZipFile(tmp_path / name) as zipped:
            zipped.extractall(tmp_path / kind)
        [folder] = (tmp_path / kind).iterdir()
        assert check_records.main(["--copy", str(folder)]) == 0
    content = bytearray((tmp_path / "a.zip").read_bytes())
    content[100] ^= 1
    (tmp_path / "a.zip").write_bytes(content)
    assert check_records.main([str(tmp_path / "a.zip")]) in (1, 3)


@needs_ssh_keygen
@pytest.mark.parametrize("has_ssh", [True, False], ids=["", "without ssh-keygen"])
@pytest.mark.parametrize(
    ("change", "status", "without"),
    [
        ("as it is", 0, 0),
        ("a signature missing", 1, 0),
        ("another plan", 1, 1),
        ("no approval, though the policy was two-person", 1, 1),
    ],
)
def test_both_look_at_approvals_unasked(
    tmp_path: Path,
    change: str,
    status: int,
    without: int,
    has_ssh: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Without ssh-keygen all but the signatures is looked at, and the report says so."""
    records, vectors = tmp_path / "records", json.loads(proof()[VECTORS])
    put(records, vectors["folders"]["two"])
    put(records, vectors["changes"]["two"][change])
    if not has_ssh:
        monkeypatch.setenv("PATH", str(tmp_path))
    found = cli(records, "verify", "--json")
    assert found.exit_code == (status if has_ssh else without), found.output
    told = json.loads(found.stdout)
    capsys.readouterr()
    assert check_records.main([str(records), "--json"]) == found.exit_code
    travelling = json.loads(capsys.readouterr().out)
    for one in (told, travelling):
        assert [problem["code"] for problem in one["problems"]] == ["approval"] * found.exit_code
        assert has_ssh or found.exit_code or any("not checked" in note for note in one["notes"])


@pytest.mark.parametrize("version", ["3.8", "3.9", "3.10", "3.11", "3.12", "3.13"])
def test_the_verifier_runs_on_any_python_that_it_says(version: str, tmp_path: Path) -> None:
    major, minor = map(int, version.split("."))
    source = Path(check_records.__file__)
    ast.parse(source.read_text(encoding="utf-8"), feature_version=(major, minor))
    make(tmp_path / "records", RUN)
    found = shutil.which(f"python{version}")
    command = [found or "none", "-I", str(source), str(tmp_path / "records")]
    works = found and subprocess.run([*command[:2], "-c", "import sys"], capture_output=True).returncode == 0
    if not works:
        pytest.skip(f"only its syntax was looked at: there is no Python {version} here")
    assert subprocess.run(command, capture_output=True).returncode == 0
    (tmp_path / "records" / RUN / "more").write_text("")
    assert subprocess.run(command, capture_output=True).returncode == 1


def test_a_copy_without_a_signed_head_ends_with_its_own_closing(tmp_path: Path) -> None:
    records = tmp_path / "records"
    make(records, RUN)
    make(records, "demo/globex/20261123T000001Z-cccccc")
    assert cli(records, "export", RUN, str(tmp_path / "a.zip")).exit_code == 0
    with zipfile.ZipFile(tmp_path / "a.zip") as zipped:
        [name] = [name for name in zipped.namelist() if name.endswith("/chain.jsonl")]
        lines = zipped.read(name).splitlines(keepends=True)
    assert [Entry.parse(line).run for line in lines] == [RUN, RUN]


def test_the_page_of_the_format_is_true(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its test vectors are what product and verifier make of them, and the docs have the same page."""
    page = proof()[FORMAT_PAGE].decode()
    lines = [
        f"{line}\n".encode()
        for line in re.findall(r'^\{"format": 2, "seq": \d, "at": "2026.*\}$', page, re.M)
    ]
    entries = [Entry.parse(line) for line in lines]
    assert entries[1].previous == entries[0].digest and f"`{entries[0].digest}`; the head is" in page
    assert f"the head is `{entries[1].digest}`" in page
    [checksums] = re.findall(r'^`(\{"format": 1, "run".*\})`$', page, re.M)
    folder = tmp_path / "demo/acme/1"
    folder.mkdir(parents=True)
    (folder / "opening.json").write_text("{}\n")
    (folder / "checksums.json").write_text(checksums + "\n")
    (tmp_path / "chain.jsonl").write_bytes(b"".join(lines))
    assert digest_of((checksums + "\n").encode()) == entries[1].content
    assert outsider(tmp_path, capsys, "--head", entries[1].digest) == ("verified", set())
    assert product(tmp_path, entries[1].digest) == ("verified", set())
    body = page.partition("\n")[2].strip()
    assert body in (CHECKOUT / "docs/records.md").read_text()
