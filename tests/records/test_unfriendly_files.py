"""Something else in the place of each file of the records: every command ends, and names the file."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from runbook_lib import cli
from runbook_lib.batch.pages import write_index
from runbook_lib.errors import RunbookError, SignInError
from runbook_lib.keys import trunk
from runbook_lib.lock import held
from runbook_lib.records import living
from runbook_lib.records.chain import Chain
from runbook_lib.records.errors import RecordError
from runbook_lib.records.ownership import Ownership
from runbook_lib.records.record import open_record
from runbook_lib.records.settling import close_dead
from runbook_lib.records.signatures import signed_heads
from runbook_lib.records.to_undo import record_to_undo
from runbook_lib.vendors.sign_in import SignInGate
from tests.records.conftest import make, start, work

RUN, OTHER = "demo/acme/20261123T000000Z-aaaaaa", "demo/acme/20261123T000001Z-bbbbbb"
GIB = 1 << 30
#: An account that owns nothing here; root reads everything.
NOBODY = 54321
WITHIN_S = 10.0


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _link_to_a_copy(path: Path) -> None:
    copy = path.parents[4] / "copy" if len(path.parents) > 4 else path.parent.parent / "copy"
    copy.write_bytes(b"{}")
    path.symlink_to(copy)


def _huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(GIB)


def _unreadable(path: Path) -> None:
    path.write_bytes(b"{}")
    path.chmod(0)


REPLACEMENTS: dict[str, Callable[[Path], None]] = {
    "missing": lambda path: None,
    "empty": _empty,
    "a folder": Path.mkdir,
    "a FIFO": os.mkfifo,
    "a link to a file": _link_to_a_copy,
    "a link to itself": lambda path: path.symlink_to(path),
    "a link to /dev/zero": lambda path: path.symlink_to("/dev/zero"),
    "1 GiB of zeros": _huge,
    "unreadable": _unreadable,
}
FILES = (
    "opening.json",
    "record.json",
    "checksums.json",
    "run.json",
    "journal.jsonl",
    "01_create_sip_trunk.ipynb",
    "01.result.json",
)
replaced = pytest.mark.parametrize("what", REPLACEMENTS)


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project's root, with two records, that other accounts may enter."""
    root = Path(tempfile.mkdtemp())
    root.chmod(0o777)
    monkeypatch.setenv("RUNBOOK_ROOT", str(root))
    monkeypatch.setenv("COLUMNS", "200")
    umask = os.umask(0)
    for run in (RUN, OTHER):
        make(root / "records", run)
    yield root
    os.umask(umask)
    shutil.rmtree(root)


def replace(path: Path, what: str) -> None:
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    path.unlink(missing_ok=True)
    REPLACEMENTS[what](path)


@contextmanager
def as_another_account() -> Iterator[None]:
    """As an account for which modes count; the test itself may run as root."""
    if os.geteuid() != 0:
        yield
        return
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def ended(*arguments: str) -> tuple[int, str]:
    """Exit status and all that a command said; it ended in time, and not with a traceback."""
    begun = time.monotonic()
    with as_another_account():
        result = CliRunner().invoke(cli.app, arguments)
    assert time.monotonic() - begun < WITHIN_S
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def next_apply(root: Path) -> Path:
    """What the next run does with the records, without its notebooks and vendors."""
    run = f"demo/acme/{time.time_ns()}"
    begun = time.monotonic()
    try:
        with as_another_account():
            folder = make(root / "records", run)
            write_index(root / "records")
            return folder
    finally:
        assert time.monotonic() - begun < WITHIN_S


@replaced
@pytest.mark.parametrize("name", FILES)
def test_a_file_of_a_record(root: Path, name: str, what: str) -> None:
    path = root / "records" / RUN / name
    replace(path, what)
    for command in (["records", "verify"], ["records", "show", RUN]):
        status, told = ended(*command)
        assert status == 1 and f"{RUN}/{name}: " in told, (command, told)
    out = root / "out.zip"
    for command in (["records", "export", RUN, str(out)], ["rollback", RUN]):
        status, told = ended(*command)
        assert status == 1 and name in told, (command, told)
    assert not out.exists()
    status, told = ended("records", "list")
    vouched = name in ("opening.json", "record.json", "checksums.json")
    assert status == (1 if vouched else 0) and (f"{RUN}/{name}: " in told) == vouched
    # The other record is what it was, and the next run is not kept from making one.
    assert ended("records", "show", OTHER)[0] == 0
    next_apply(root)
    if name in ("run.json", "01.result.json") and what not in ("missing", "unreadable"):
        assert "cannot be read" in (root / "records/index.html").read_text()


@replaced
def test_the_chain(root: Path, what: str) -> None:
    replace(root / "records/chain.jsonl", what)
    out = root / "out.zip"
    commands = (
        ["records", "verify"],
        ["records", "list"],
        ["records", "head"],
        ["records", "show", RUN],
        ["records", "export", RUN, str(out)],
        ["records", "close", RUN],
        ["rollback", RUN],
    )
    for command in commands:
        status, told = ended(*command)
        assert status == 1 and "chain.jsonl" in told, (command, told)
    with pytest.raises(RecordError, match=r"chain\.jsonl"):
        next_apply(root)
    # Nothing of the run that was refused is left, and it is not in the way once the chain is back.
    assert sorted(path.name for path in (root / "records/demo/acme").iterdir()) == sorted(
        run.rpartition("/")[2] for run in (RUN, OTHER)
    )


@replaced
@pytest.mark.parametrize("name", [".chain.lock", "demo/acme/.tenant-acme.lock", "demo/.sign-in.lock"])
def test_a_lock(root: Path, name: str, what: str) -> None:
    path = root / "records" / name
    with as_another_account(), held(root / "records/demo/acme", "tenant acme"), SignInGate(path.parent):
        pass
    replace(path, what)
    assert ended("records", "list")[0] == 0
    status, told = ended("records", "verify")
    harmless = what in ("missing", "empty")
    assert status == 0 and (name in told) == (not harmless)

    def take() -> None:
        with as_another_account():
            if name == ".chain.lock":
                start(root / "records", f"demo/acme/{time.time_ns()}")
            elif name.endswith("acme.lock"):
                with held(root / "records/demo/acme", "tenant acme"):
                    pass
            else:
                with SignInGate(path.parent) as gate:
                    gate.check("admin", "https://pbx")

    begun = time.monotonic()
    if harmless:
        take()
    else:
        with pytest.raises(RunbookError, match=path.name):
            take()
    assert time.monotonic() - begun < WITHIN_S


@replaced
def test_the_name_of_a_lock_s_holder(root: Path, what: str) -> None:
    folder = root / "records/demo/acme"
    replace(folder / ".tenant-acme.holder", what)
    begun = time.monotonic()
    if what == "a folder":
        with pytest.raises(RunbookError, match=r"\.tenant-acme\.holder"), held(folder, "tenant acme"):
            pass
    else:
        with held(folder, "tenant acme"):
            (folder / ".tenant-acme.holder").unlink()
            REPLACEMENTS[what](folder / ".tenant-acme.holder")
            with pytest.raises(RunbookError, match="is being worked on"), held(folder, "tenant acme", 0.1):
                pass
    assert time.monotonic() - begun < WITHIN_S


@replaced
def test_the_memory_of_a_refused_sign_in(root: Path, what: str) -> None:
    """Whatever is there counts as a refusal: one more of these may lock the address out."""
    marker = root / "records/demo/sign-in-refused.json"
    replace(marker, what)
    with as_another_account(), SignInGate(marker.parent) as gate:
        if what == "missing":
            gate.check("admin", "https://pbx")
            return
        with pytest.raises(SignInError, match="sign-in-refused"):
            gate.check("admin", "https://pbx")


@replaced
def test_the_page_over_all_records(root: Path, what: str) -> None:
    path = root / "records/index.html"
    replace(path, what)
    assert ended("records", "list")[0] == 0
    status, told = ended("records", "verify")
    assert status == 0 and ("not in the chain, unverified: index.html" in told) == (
        what not in ("missing", "empty")
    )
    if what == "a folder":
        with pytest.raises(OSError, match=r"index\.html"):
            next_apply(root)
        assert [one.name for one in (root / "records").iterdir() if one.name.startswith(".index")] == []
    else:
        next_apply(root)
        assert path.is_file() and not path.is_symlink()


@replaced
@pytest.mark.parametrize("name", ["000001-01234567.head", "000001-01234567.head.sig"])
def test_a_signature(root: Path, name: str, what: str) -> None:
    records = root / "records"
    (records / "signatures").mkdir()
    head = records / "signatures/000001-01234567.head"
    head.write_text(f"{Chain(records).head}\n")
    head.with_name(f"{head.name}.sig").write_text("-----BEGIN SSH SIGNATURE-----\n")
    replace(records / "signatures" / name, what)
    (root / "allowed").write_text("")
    trust = ("--allowed-signers", str(root / "allowed"), "--identity", "pat@desk")
    status, told = ended("records", "verify", *trust)
    assert status == 1
    assert "signatures/000001-01234567.head" in told or (what, name) == ("missing", head.name)
    with as_another_account():
        assert not signed_heads(records, Chain(records).entries(), root / "allowed", ["pat@desk"]).anchors


@replaced
@pytest.mark.parametrize("name", ["opening.json", "run.json", "01.result.json", "journal.jsonl"])
def test_a_file_of_a_run_that_died(root: Path, name: str, what: str) -> None:
    """It is closed with what it left, or the file that is in the way is named; never a traceback."""
    records = root / "records"
    with as_another_account():
        folder = start(records, "demo/acme/died")
        work(folder)
    replace(folder / name, what)
    begun = time.monotonic()
    try:
        with as_another_account():
            living.end(folder)
            close_dead(records, folder)
    except (RecordError, OSError) as error:
        assert name in str(error)
    else:
        assert ended("records", "verify")[0] == (0 if what != "unreadable" else 1)
    assert time.monotonic() - begun < WITHIN_S


@replaced
def test_a_journal_that_shows_what_is_ours(root: Path, what: str) -> None:
    """What another journal shows is ours; what only that one could show is not called somebody else's."""
    records = root / "records"
    replace(records / RUN / "journal.jsonl", what)
    with as_another_account():
        assert Ownership(records, {}).made(trunk("PortSIP acme"), "TK1")
        if what in ("missing", "empty"):
            assert not Ownership(records, {}).made(trunk("PortSIP acme"), "TK2")
            return
        with pytest.raises(RecordError, match=r"journal\.jsonl"):
            Ownership(records, {}).made(trunk("PortSIP acme"), "TK2")


def test_the_newest_record_to_roll_back_is_asked_of_the_chain(root: Path) -> None:
    """A copy with a later name is not the newest record, and its journal is not even opened."""
    tenant = root / "records/demo/acme"
    (tenant / "99999999T000000Z-cccccc").mkdir()
    os.mkfifo(tenant / "99999999T000000Z-cccccc" / "journal.jsonl")
    found = record_to_undo(root / "records", tenant, None, (), {}, {"site": {"auth_token": "env:TOKEN"}})
    assert found.folder.name == OTHER.rpartition("/")[2]


@pytest.mark.parametrize("name", ["demo", "demo/acme"])
def test_no_run_is_opened_behind_a_link(root: Path, name: str) -> None:
    records = root / "records"
    real = (records / name).rename(root / "elsewhere")
    (records / name).symlink_to(real)
    with pytest.raises(RecordError, match=name):
        open_record(
            records,
            records / "demo/acme/new",
            mode="apply",
            site="demo",
            tenant="acme",
            target={},
            order=(),
            parameters={},
            files={},
        )
    with pytest.raises(RunbookError, match=name), held(records / name, "tenant acme"):
        pass
    assert not list(real.rglob("new")) and not list(real.rglob(".tenant-acme.*"))
    status, told = ended("records", "list")
    assert status == 1 and f"✗ {name}: " in told
