"""Making records: what they hold, that they are made once, and what a run that died leaves."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from filelock import FileLock
from typer.testing import CliRunner

from runbook_lib.cli.records import app
from runbook_lib.errors import RunbookError
from runbook_lib.keys import trunk
from runbook_lib.records import chain, living, record
from runbook_lib.records.chain import Chain, Event
from runbook_lib.records.errors import RecordError
from runbook_lib.records.export import export_record
from runbook_lib.records.journal import Journal
from runbook_lib.records.problems import CONSISTENT, VERIFIED, Anchor
from runbook_lib.records.record import close_record, open_record, write_record
from runbook_lib.records.result import CHECKSUMS
from runbook_lib.records.settling import Closing, close_dead, remove_unopened
from runbook_lib.records.verify import verify_records
from runbook_lib.records.versions import PACKAGE, source_digest
from runbook_lib.secret import remember
from tests.conftest import CHECKOUT
from tests.records.conftest import finish, make, start, work

RUN = "demo/acme/20261123T000000Z-aaaaaa"


def test_a_record_tells_the_whole_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNBOOK_TICKET", "CHG-42")
    monkeypatch.setenv("RUNBOOK_REASON", "new tenant")
    folder = make(tmp_path, RUN)
    told = json.loads((folder / "record.json").read_text())
    assert (told["ticket"], told["reason"]) == ("CHG-42", "new tenant")
    assert (told["run"], told["mode"], told["outcome"]) == (RUN, "apply", "succeeded")
    assert told["runbook"]["source"] == source_digest()
    assert told["tools"]["papermill"][0].isdigit() and told["tools"]["python"].startswith("3.")
    assert told["parameters"]["site"] == {"auth_token": "env:TOKEN"}
    assert told["approver"] == {"plan": None, "by": {"how": "auto-approval"}}
    assert [one["section"] for one in told["guide_sections"]] == ["01"]
    assert told["before"][0]["value"] is None and told["after"][0]["value"] == "PortSIP acme"
    assert told["verification"] == [{"section": "01", "ok": True, "differences": []}]
    (change,) = told["changes"]
    assert change["request_id"] == f"RQ-{folder.name}" and change["status"] == 201
    assert change["rows"][0]["step"] == "1.1"
    assert told["in_flight"] == []
    assert told["journal"] == {"digest": chain.digest_of_file(folder / "journal.jsonl"), "writes": 1}
    assert all(told[key].endswith("+00:00") for key in ("started", "ended"))


def test_the_source_digest_is_what_coreutils_say() -> None:
    command = "find . -name '*.py' | sed 's|^./||' | LC_ALL=C sort | xargs sha256sum | sha256sum"
    said = subprocess.run(["sh", "-c", command], cwd=PACKAGE, capture_output=True, text=True, check=True)
    assert source_digest() == "sha256:" + said.stdout.split()[0]


def test_no_secret_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remember("canary-4711-secret", "env:CANARY")
    monkeypatch.setenv("RUNBOOK_REASON", "the password is canary-4711-secret")
    folder = start(tmp_path, RUN)
    work(folder)
    finish(tmp_path, folder, message="refused: canary-4711-secret")
    for name in ("opening.json", "record.json", "checksums.json"):
        assert "canary-4711" not in (folder / name).read_text()
    assert "[env:CANARY]" in (folder / "record.json").read_text()


def test_a_record_is_written_once(tmp_path: Path) -> None:
    folder = make(tmp_path, RUN)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(RecordError, match="already closed"):
        close_record(tmp_path, folder)
    with pytest.raises(RecordError, match="already closed"):
        write_record(folder)
    with pytest.raises(RecordError, match="already opened"):
        start(tmp_path, RUN)
    with pytest.raises(RecordError, match="already closed"):
        Chain(tmp_path).append(Event(chain.OPENED, RUN, f"{RUN}/opening.json"))
    with pytest.raises(RecordError, match="never opened"):
        Chain(tmp_path).append(Event(chain.CLOSED, "demo/acme/other", "demo/acme/other/checksums.json"))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o444}


def test_a_folder_that_was_never_opened_is_not_closed(tmp_path: Path) -> None:
    folder = tmp_path / RUN
    folder.mkdir(parents=True)
    work(folder)
    with pytest.raises(RecordError, match="never opened"):
        close_record(tmp_path, folder)
    assert not (folder / CHECKSUMS).exists()


def test_an_opening_that_cannot_be_chained_stops_the_run(tmp_path: Path) -> None:
    make(tmp_path, RUN)
    path = tmp_path / chain.FILE_NAME
    path.write_bytes(b"{}\n" + path.read_bytes())
    with pytest.raises(RecordError, match="line 1 cannot be read") as caught:
        start(tmp_path, "demo/acme/next")
    assert caught.value.next_step


def test_a_disk_that_is_full_leaves_the_chain_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, RUN)
    path = tmp_path / chain.FILE_NAME
    before, write = path.read_bytes(), os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, data, place: write(file, data[:20], place))
    with pytest.raises(RecordError, match="full"):
        start(tmp_path, "demo/acme/next")
    assert path.read_bytes() == before


@pytest.mark.parametrize("rest", [b'{"format": 1, "se', b"\x00\x00"])
def test_the_rest_of_a_write_that_was_cut_off_is_no_entry(tmp_path: Path, rest: bytes) -> None:
    make(tmp_path, RUN)
    path = tmp_path / chain.FILE_NAME
    path.write_bytes(path.read_bytes() + rest)
    make(tmp_path, "demo/acme/next")
    assert verify_records(tmp_path).status == CONSISTENT


def test_a_last_line_without_its_end_is_kept(tmp_path: Path) -> None:
    make(tmp_path, RUN)
    head, path = Chain(tmp_path).head, tmp_path / chain.FILE_NAME
    assert head is not None
    path.write_bytes(path.read_bytes()[:-1])
    make(tmp_path, "demo/acme/next")
    assert verify_records(tmp_path, [Anchor(head, "kept")]).status == VERIFIED


def test_many_at_once_make_one_chain(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from tests.records.conftest import make\n"
        "for n in range(5): make(Path(sys.argv[1]), f'demo/{sys.argv[2]}/run{n}')"
    )

    def process(tenant: str) -> int:
        command = [sys.executable, "-c", code, str(tmp_path), tenant]
        return subprocess.run(command, cwd=CHECKOUT, check=False).returncode

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(process, ("a", "b", "c", "d"))) == [0, 0, 0, 0]
    assert len(Chain(tmp_path).entries()) == 40
    assert verify_records(tmp_path).status == CONSISTENT


def die(records: Path, *steps: str) -> Path:
    """A run in a process of its own that is killed after these steps."""
    code = (
        "import os, signal, sys; from pathlib import Path; from tests.records.conftest import *\n"
        f"records = Path(sys.argv[1]); folder = start(records, {RUN!r})\n"
        + "\n".join(steps)
        + "\nos.kill(os.getpid(), signal.SIGKILL)"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(records)], cwd=CHECKOUT, check=False)
    assert ended.returncode == -9
    return records / RUN


def test_a_run_that_was_killed_is_visible_and_can_be_closed_as_what_it_was(tmp_path: Path) -> None:
    folder = die(tmp_path, "work(folder, answered=False)")
    assert "begun, not ended" in verify_records(tmp_path).problems[0].what
    close_dead(tmp_path, folder)
    told = json.loads((folder / "record.json").read_text())
    assert told["outcome"] == "unknown"
    assert told["guide_sections"][0]["outcome"] == "unknown"
    assert [one["resource"] for one in told["in_flight"]] == ["trunk PortSIP acme"]
    assert verify_records(tmp_path).status == CONSISTENT
    with pytest.raises(RecordError, match="already closed"):
        close_dead(tmp_path, folder)


def test_a_run_that_was_killed_at_once_can_be_closed(tmp_path: Path) -> None:
    folder = die(tmp_path)
    close_dead(tmp_path, folder)
    told = json.loads((folder / "record.json").read_text())
    assert (told["outcome"], told["guide_sections"][0]["outcome"]) == ("unknown", "not run")


def test_a_run_that_was_killed_before_its_last_entry_can_be_closed(tmp_path: Path) -> None:
    folder = die(
        tmp_path,
        "from runbook_lib.records.chain import Chain",
        "Chain.append = lambda *_: os.kill(os.getpid(), signal.SIGKILL)",
        "work(folder); finish(records, folder)",
    )
    assert (folder / CHECKSUMS).exists()
    close_dead(tmp_path, folder)
    assert verify_records(tmp_path).status == CONSISTENT


def test_a_killed_run_that_nobody_has_waited_for_can_be_closed(tmp_path: Path) -> None:
    """In a container nobody may ever take the dead process from the list."""
    code = (
        "import sys; from pathlib import Path; from tests.records.conftest import start\n"
        f"start(Path(sys.argv[1]), {RUN!r}); print('opened', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=CHECKOUT, **pipes) as process:
        assert process.stdout.readline() == b"opened\n"
        with pytest.raises(RecordError, match="has not ended"):
            close_dead(tmp_path, tmp_path / RUN)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead, and still in the list
        close_dead(tmp_path, tmp_path / RUN)
    assert verify_records(tmp_path).status == CONSISTENT


#: Where a run can end on its way into the chain: what is replaced there, and by what, given the ending.
STEPS: dict[str, Callable[[Callable[..., None]], tuple[object, str, Callable[..., object]]]] = {
    "before the lock": lambda end: (FileLock, "acquire", end),
    "before its folder": lambda end: (Path, "mkdir", _when_named(RUN, end, Path.mkdir)),
    "before the approval is kept": lambda end: (record, "write_whole", end),
    "before the opening is written": lambda end: (record, "write_json", end),
    "before the opening has its name": lambda end: (Path, "replace", end),
    "before the chain is asked": lambda end: (Chain, "append", end),
    "before its entry": lambda end: (os, "pwrite", end),
    "when a part of its entry is there": lambda end: (os, "pwrite", _after_a_part(end, os.pwrite)),
    "before its entry is on disk": lambda end: (chain, "sync_folder", end),
    "when its entry is there": lambda end: (Chain, "append", _after(end, Chain.append)),
}


def _when_named(run: str, end: Callable[..., None], mkdir: Callable[..., None]) -> Callable[..., None]:
    name = run.rpartition("/")[2]
    return lambda path, *a, **b: end() if path.name == name else mkdir(path, *a, **b)


def _after_a_part(end: Callable[..., None], write: Callable[..., int]) -> Callable[..., object]:
    return lambda file, data, place: (write(file, data[:99], place), end())


def _after(end: Callable[..., None], call: Callable[..., object]) -> Callable[..., object]:
    return lambda *a: (call(*a), end())


def _killed(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _interrupted(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def _refused(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _opened_in_a_child(records: Path, step: str, end: Callable[..., None]) -> int:
    """Open a run in a process that ends at a step; return how it ended."""
    child = os.fork()
    if child == 0:
        try:
            place, name, instead = STEPS[step](end)
            setattr(place, name, instead)
            kept = {"approved.plan.json": b"{}"}
            known = {"mode": "apply", "site": "demo", "tenant": "acme", "target": {}, "order": ()}
            open_record(records, records / RUN, **known, parameters={}, files={}, kept=kept)
            os._exit(0)
        except BaseException:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("first", [True, False], ids=["the first run", "a later run"])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("end", [_killed, _interrupted, _refused])
def test_a_run_that_ends_while_it_opens_spoils_nothing(
    tmp_path: Path, step: str, end: Callable[..., None], first: bool
) -> None:
    """What never entered the chain leaves nothing, or what one command settles; verify does not fail."""
    if not first:
        make(tmp_path / "records", "demo/acme/20261122T000000Z-cccccc")
    (tmp_path / "plan.json").write_text("{}")
    status = _opened_in_a_child(tmp_path / "records", step, end)
    never = step == "before its entry is on disk" and not first  # of a new file only
    assert status == (0 if never else -9 if end is _killed else 1)
    records = tmp_path / "records"
    records.mkdir(exist_ok=True)
    chained = RUN in {one.run for one in verify_records(records).entries}
    assert chained or step != "when its entry is there"
    if not chained:
        cut = step == "when a part of its entry is there" and end is _killed
        assert verify_records(records).status == CONSISTENT or cut  # the rest of a line, until the next run
        if end is not _killed:
            assert not (records / RUN).exists()
    if chained or (records / RUN).exists():
        closed = CliRunner().invoke(app, ["close", RUN, "--records", str(records)])
        assert closed.exit_code == 0, closed.output
    make(records, "demo/acme/next")
    assert verify_records(records).status == CONSISTENT
    assert (records / RUN).exists() == chained


def test_a_run_killed_while_its_record_is_withheld_can_be_closed(tmp_path: Path) -> None:
    folder = die(tmp_path, "work(folder); (folder.parent / 'withheld').mkdir()")
    folder.rename(folder.parent / "withheld" / folder.name)
    close_dead(tmp_path, folder)
    assert verify_records(tmp_path).status == CONSISTENT
    assert (folder / "journal.jsonl").exists() and not list(folder.glob("*.ipynb"))


def test_only_what_never_opened_is_removed(tmp_path: Path) -> None:
    """Whatever a run may have written is no beginning, and neither is another run's opening."""
    folder = make(tmp_path, RUN)
    copied = tmp_path / "demo/acme/copied"
    copied.mkdir()
    (copied / "opening.json").write_bytes((folder / "opening.json").read_bytes())
    loose = tmp_path / "demo/acme/loose"
    loose.mkdir()
    work(loose)
    for one in (folder, copied, loose):
        with pytest.raises(RecordError):
            remove_unopened(tmp_path, one)
        assert one.exists()
    assert {one.path for one in verify_records(tmp_path).problems} == {"demo/acme/copied/opening.json"}


def test_the_umask_says_who_may_read_a_record(tmp_path: Path) -> None:
    """Closed, nobody may write any more; who may read is what the umask of the run said."""
    for number, (umask, journal, closed) in enumerate(
        ((0o002, 0o664, 0o444), (0o022, 0o644, 0o444), (0o077, 0o600, 0o400))
    ):
        records = tmp_path / str(number)
        before = os.umask(umask)
        try:
            folder = start(records, RUN)
            kept = Journal(folder / "journal.jsonl", lambda event: event, {})
            with kept.writing("01", trunk("one"), ()):
                kept.sending("Twilio", "POST", "/v1/Trunks", {})
            assert (folder / "journal.jsonl").stat().st_mode & 0o777 == journal
            assert (records / "chain.jsonl").stat().st_mode & 0o777 == journal
            assert (records / ".chain.lock").stat().st_mode & 0o777 == journal
            finish(records, folder)
        finally:
            os.umask(before)
        assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {closed}


def test_a_run_that_goes_on_is_not_closed_by_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = start(tmp_path, RUN)
    with pytest.raises(RecordError, match="has not ended"):
        close_dead(tmp_path, folder)
    report = verify_records(tmp_path)
    assert (report.status, report.going_on) == (CONSISTENT, (RUN,))
    # Whatever clock, process id or host name somebody has: the lock says that it goes on.
    here = socket.gethostname()
    for closing in (Closing("it hangs", folder.name), Closing()):
        with pytest.raises(RecordError, match="has not ended"):
            close_dead(tmp_path, folder, closing)
    living.end(folder)
    monkeypatch.setattr(socket, "gethostname", lambda: "elsewhere")
    with pytest.raises(RecordError, match=f"was opened on {here}"):
        close_dead(tmp_path, folder)
    (folder / "opening.json").write_text('{"process": {"host": "elsewhere", "pid": 4194305}}')
    with pytest.raises(RecordError, match="has changed since the run opened"):
        close_dead(tmp_path, folder)


def test_an_export_is_the_same_every_time_and_checks_itself(tmp_path: Path) -> None:
    records = tmp_path / "records"
    folder = make(records, RUN)
    make(records, "demo/other-customer/20261123T000000Z-bbbbbb")
    one, two = (tmp_path / name for name in ("one.zip", "two.zip"))
    assert [export_record(records, RUN, out, tmp_path) for out in (one, two)] == [["env:TOKEN"]] * 2
    assert one.read_bytes() == two.read_bytes()
    with pytest.raises(RecordError, match="already exists"):
        export_record(records, RUN, one, tmp_path)
    assert one.read_bytes() == two.read_bytes()
    with zipfile.ZipFile(one) as archive:
        archive.extractall(tmp_path / "out")
        assert not any(b"other-customer" in archive.read(name) for name in archive.namelist())
    out = tmp_path / "out" / folder.name
    assert {path.name: path.read_bytes() for path in (out / "record").iterdir()} == {
        path.name: path.read_bytes() for path in folder.iterdir()
    }
    command = "cd record && sha256sum --check --strict --quiet ../SHA256SUMS && cd .. && "
    command += "sha256sum record/checksums.json && tail -n 1 chain.jsonl | sha256sum"
    said = subprocess.run(["sh", "-c", command], cwd=out, capture_output=True, text=True, check=True)
    closed = next(one for one in Chain(records).entries() if one.run == RUN and one.event == "closed")
    sums, last = (line.split()[0] for line in said.stdout.splitlines())
    assert [f"sha256:{sums}", f"sha256:{last}"] == [closed.content, closed.digest]
    how_to = (out / "HOW_TO_VERIFY.txt").read_text()
    assert sums in how_to and f"--head {closed.digest}" in how_to


def test_what_is_not_the_closed_record_is_not_exported(tmp_path: Path) -> None:
    records = tmp_path / "records"
    folder = make(records, RUN)
    start(records, "demo/acme/open")
    with pytest.raises(RecordError, match="is not closed"):
        export_record(records, "demo/acme/open", tmp_path / "open.zip", tmp_path)
    with pytest.raises(RecordError, match="is not closed"):
        export_record(records, "demo/acme/none", tmp_path / "open.zip", tmp_path)
    (folder / "record.json").chmod(0o644)
    (folder / "record.json").write_text("{}")
    with pytest.raises(RecordError, match=r"record\.json: changed"):
        export_record(records, RUN, tmp_path / "open.zip", tmp_path)
    with pytest.raises(RunbookError):
        export_record(records, RUN, tmp_path / "no-such-folder" / "one.zip", tmp_path)
    assert not (tmp_path / "open.zip").exists()
