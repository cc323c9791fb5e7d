"""Fifty records as a year makes them, and an auditor's sample of 25 of them, answered by one command.

Creates, updates, conflicts, failures, kills, rollbacks, changes of the shared trunk, approvals (typed and
signed), an emergency with and without a review, and two changes from outside: all of it made for real on the
sandbox. ``python -m tests.records.fifty`` prints the sample, and what of it is not what was done.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout, suppress
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from click.testing import Result
from ruamel.yaml import YAML
from typer.testing import CliRunner

from runbook_lib.cli import app as runbook
from runbook_lib.cli.records import app
from runbook_lib.errors import RunbookError
from runbook_lib.guide import ROLL_BACK, RUN_ORDER
from runbook_lib.lock import user_name, whoami
from runbook_lib.records import check_records
from runbook_lib.records.chain import CLOSED, FILE_NAME, FILES, Chain
from runbook_lib.records.problems import DAMAGED
from runbook_lib.records.result import now
from runbook_lib.runbook import Runbook
from tests.conftest import CHECKOUT, TestSandbox, started

SAMPLE, SEED = 25, 7
UNSURE = " (it is unknown whether it arrived)"
SITE = "parameters/sandbox/site.yaml"
#: Dies between the moment at which a write has left and the one at which its answer is kept.
KILLED = """
import os, signal, sys
from runbook_lib.records.journal import Journal
from runbook_lib.runbook import Runbook
Journal.answered = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
with Runbook.open(sys.argv[1], sys.argv[2], mode="apply", accept_interruption=True) as book:
    book.section(sys.argv[3]).apply()
"""


class Year:
    """What happens in a year at one site; each method makes one record, unless it is refused before."""

    def __init__(self, sandbox: TestSandbox) -> None:
        self.sandbox = sandbox
        self.records = sandbox.root / "records"
        self.number = 0
        #: How many calls acme's PBX trunk takes; what each run did, by its id, under the register's names.
        self.value = 100_000
        self.did: dict[str, dict[str, Any]] = {}

    def tenant(self, name: str, **changes: Any) -> str:
        """A tenant's file with other values; returns its path."""
        yaml, self.number = YAML(), self.number + 1
        content = yaml.load(self.sandbox.root / f"parameters/sandbox/{name}.yaml")
        content["tenant"] |= {"accept_interruption": True, **changes}
        path = self.sandbox.root / f"changed-{self.number}.yaml"
        yaml.dump(content, path)
        return str(path)

    def site(self, **policies: Any) -> str:
        """The site's file with other policies; returns its path."""
        yaml, self.number = YAML(), self.number + 1
        content = yaml.load(self.sandbox.root / SITE)
        calls = policies.pop("calls", None)
        content["site"]["policies"] |= policies
        if calls is not None:
            content["site"]["shared_trunks"]["carrier"]["pbx_trunk"]["max_concurrent_calls"] = calls
        path = self.sandbox.root / f"site-{self.number}.yaml"
        yaml.dump(content, path)
        return str(path)

    def apply(self, tenant: str, number: str, site: str = SITE, **options: Any) -> str:
        """Apply one section; returns the run's id, also of a run that failed."""
        began, outcome = now(), "failed"
        options = {"accept_interruption": True, **options}
        with Runbook.open(site, tenant, mode="apply", **options) as book, suppress(RunbookError):
            book.section(number).apply()
            outcome = "succeeded"
        self.note(book.run_id, outcome=outcome, began=began, ended=now())
        return book.run_id

    def note(self, run: str, **did: Any) -> None:
        """Note what a run did, as who works here knows it."""
        known = {"ticket": os.environ.get("RUNBOOK_TICKET", ""), "approver": "", "approved_at": ""}
        known |= {"emergency": os.environ.get("RUNBOOK_EMERGENCY", ""), "reviewed": False}
        known |= {"rolled_back_by": [], "outside": False}
        self.did[run] = {**known, **self.did.get(run, {}), **did}

    def calls(self, value: int, **options: Any) -> str:
        """Change one value: how many calls acme's PBX trunk takes."""
        run = self.apply(self.tenant("acme", pbx_trunk={"max_concurrent_calls": value}), "05", **options)
        self.changed(run, value)
        return run

    def changed(self, run: str, value: int, **did: Any) -> None:
        """Note that a run changed the value: fewer calls than before interrupt some."""
        what = f"max concurrent calls: {self.value} → {value}"
        self.note(run, changed=what, interrupts=value < self.value, **did)
        self.value = value

    def killed(self, tenant: str, number: str) -> str:
        """Kill a run within a write, and close its record."""
        known = {entry.run for entry in Chain(self.records).entries()}
        environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
        command = [sys.executable, "-c", KILLED, SITE, tenant, number]
        done = subprocess.run(command, cwd=self.sandbox.root, env=environment, check=False)
        assert done.returncode == -signal.SIGKILL
        [run] = {str(entry.run) for entry in Chain(self.records).entries()} - known
        closed = cli(self.records, "close", run, "--reason", "its machine lost power")
        assert closed.exit_code == 0, closed.output
        run_id = run.rpartition("/")[2]
        self.note(run_id, outcome="unknown")
        return run_id

    def rolled_back(self, run: str, tenant: str) -> str:
        """Roll a run back."""
        with Runbook.open(
            SITE, tenant, mode="apply", sections=(ROLL_BACK,), record=run, accept_interruption=True
        ) as book:
            book.section(ROLL_BACK).apply()
        self.note(run, rolled_back_by=[book.run_id])
        self.note(book.run_id, outcome="succeeded")
        return book.run_id

    def by_hand(self, value: int) -> None:
        """Change acme's PBX trunk behind the runbook's back."""
        pbx = self.sandbox.vendors.pbx("acme.pbx.example")
        [trunk] = [one for one in pbx.list("/providers") if one["name"] == "Twilio-Reg-Trunk"]
        whole = {name: one for name, one in pbx.get(f"/providers/{trunk['id']}").items() if one is not None}
        whole.pop("id")
        pbx.post(f"/providers/{trunk['id']}", {**whole, "concurrency": value})
        self.value = value

    def planned(self, tenant: str, number: str, site: str) -> Path:
        """Plan one section, as a file."""
        with Runbook.open(site, tenant, accept_interruption=True) as book:
            plan = book.plan_of(book.section(number).plan())
        self.number += 1
        path = self.sandbox.root / f"{self.number}.plan.json"
        path.write_text(json.dumps(plan.to_document()))
        return path


@contextmanager
def ticket(name: str | None, **more: str) -> Iterator[None]:
    """Work under a ticket."""
    wanted = {"RUNBOOK_TICKET": name, **{f"RUNBOOK_{key}": value for key, value in more.items()}}
    before = {key: os.environ.get(key) for key in wanted}
    os.environ.update({key: value for key, value in wanted.items() if value is not None})
    try:
        yield
    finally:
        for key, value in before.items():
            os.environ.pop(key, None)
            if value is not None:
                os.environ[key] = value


def cli(records: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments, "--records", str(records)], env={"COLUMNS": "300"})


def make_year(sandbox: TestSandbox) -> Year:
    """Make fifty records; return what was done, with the records folder. The sandbox is as it was reset."""
    year = Year(sandbox)
    acme = f"{sandbox.root}/parameters/sandbox/acme.yaml"
    with ticket("CHG-1"):  # 6 + 12 that create
        for number in RUN_ORDER[1:]:
            year.apply(acme, number)
        for name in ("globex", "initech"):
            for number in RUN_ORDER[1:]:
                year.apply(f"{sandbox.root}/parameters/sandbox/{name}.yaml", number)
    for value in (50, 60, 70):  # updates, one without a ticket
        with ticket(None if value == 70 else f"CHG-{value}"):
            last = year.calls(value)
    with ticket("CHG-71"):
        year.changed(year.rolled_back(last, acme), 60)
        year.by_hand(999)
        year.note(year.calls(80), outside=True)  # found 999
        # Conflicts: what interrupts calls without leave, and somebody else's number.
        strict = {"pbx_trunk": {"max_concurrent_calls": 20}, "accept_interruption": False}
        for run in (
            year.apply(year.tenant("acme", **strict), "05", accept_interruption=False),
            year.apply(year.tenant("acme", dids="12025550101-12025550104;12025550107"), "04"),
        ):
            year.note(run, changed="", interrupts=False)
        # Failures of a vendor, of two kinds: after the one nobody knows what was done, the other is a no.
        lowered = year.tenant("acme", pbx_trunk={"max_concurrent_calls": 70})
        for status in (500, 403):
            fault = {"kind": "status", "vendor": "portsip", "method": "POST", "path": "/api/providers/"}
            sandbox.control("POST", "faults", fault | {"status": status, "count": 0})
            run = year.apply(lowered, "05")
            sandbox.control("DELETE", "faults")
            what = f"max concurrent calls: {year.value} → 70{UNSURE}" if status == 500 else ""
            year.note(run, changed=what, interrupts=status == 500)
    with ticket("CHG-72"):
        for value in (31, 32, 33, 34):
            run = year.killed(year.tenant("acme", pbx_trunk={"max_concurrent_calls": value}), "05")
            year.changed(run, value)
            year.note(run, changed=year.did[run]["changed"] + UNSURE)
    with ticket("CHG-73"):  # the shared trunk, whose calls are two tenants'
        for before, value in ((100_000, 200), (200, 300)):
            run = year.apply("trunk:carrier", "05", year.site(calls=value))
            year.note(run, changed=f"max concurrent calls: {before} → {value}", interrupts=value < before)
    if shutil.which("ssh-keygen"):
        _approved(year)
    _emergencies(year)
    with ticket("CHG-99"):
        for value in range(100, 100 + 50 - _count(year.records)):
            year.calls(value)
    return year


def _approved(year: Year) -> None:
    """Signed by another person, three times."""
    keys = year.sandbox.root / "keys"
    keys.mkdir(exist_ok=True)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(keys / "al")], check=True)
    (keys / "allowed").write_text(f"al@corp {(keys / 'al.pub').read_text()}")
    site = year.site(approval="two-person", allowed_signers=str(keys / "allowed"))
    for value in (41, 42, 43):
        tenant = year.tenant("acme", pbx_trunk={"max_concurrent_calls": value})
        plan = year.planned(tenant, "05", site)
        began = now()
        command = ["approve", str(plan), "--key", str(keys / "al"), "--ticket", f"CHG-{value}"]
        done = CliRunner().invoke(runbook, command, input="demo/acme\n")
        assert done.exit_code == 0, done.output
        run = year.apply(tenant, "05", site, plan_file=str(plan))
        year.changed(run, value, approver="al@corp", ticket=f"CHG-{value}", approved_at=(began, now()))


def _emergencies(year: Year) -> None:
    """Two that nobody had approved: one is reviewed."""
    site = year.site(approval="required", emergency=True)
    for value in (44, 45):
        with ticket(f"INC-{value}", EMERGENCY="calls fail"):
            run = year.calls(value, site=site)
    other = [{"kind": "account", "name": "bo", "known": "observed"}]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("runbook_lib.records.reviews.plain_identities", lambda: other)
        reviewed = cli(year.records, "review", run, "--remark", "as described")
    assert reviewed.exit_code == 0, reviewed.output
    year.note(run, reviewed=True)


def tampered(records: Path, kind: str, name: str) -> bool:
    """Whether the product and the verifier that travels agree about the records while one file is changed,
    removed, or has another one beside it; and neither calls that unchanged, if it is a file of a record."""
    path = records / name
    content, beside = path.read_bytes(), path.with_name("added.txt")
    if kind == "added":
        beside.write_text("x")
    else:
        path.unlink()
        if kind == "changed":
            path.write_bytes(content + b" ")
    try:
        ours = json.loads(cli(records, "verify", "--json").stdout)
        with redirect_stdout(StringIO()) as printed:
            check_records.main([str(records), "--json"])
        theirs = json.loads(printed.getvalue())
    finally:
        path.write_bytes(content)
        beside.unlink(missing_ok=True)
    found, other = (
        (one["status"], sorted((problem["path"], problem["code"]) for problem in one["problems"]))
        for one in (ours, theirs)
    )
    return found == other and (found[0] == DAMAGED or (records / name).parent == records)


def tamperings(records: Path) -> list[tuple[str, str]]:
    """Each file of the records and of their events: changed, removed, and with another one beside it."""
    chain = Chain(records).entries()
    folders = {str(entry.run) for entry in chain if entry.event == CLOSED}
    files = [path for run in sorted(folders) for path in sorted((records / run).iterdir())]
    names = [path.relative_to(records).as_posix() for path in files]
    names += [entry.file for entry in chain if entry.event not in FILES and entry.file not in names]
    kinds = ("changed", "removed", "added")
    return [(kind, name) for name in [*names, FILE_NAME] for kind in kinds if kind != "added" or "/2" in name]


def _count(records: Path) -> int:
    return len({entry.run for entry in Chain(records).entries()})


def answers(records: Path) -> list[dict[str, Any]]:
    """What one command answers about a sample."""
    done = cli(records, "list", "--json")
    assert done.exit_code == 0, done.output[-2000:]
    rows = json.loads(done.stdout)["runs"]
    return random.Random(SEED).sample(rows, SAMPLE)


def wrong(row: dict[str, Any], did: Mapping[str, Any]) -> list[str]:
    """Which answers of a row of the register are not what the run did."""
    names = {"outcome", "ticket", "approver", "emergency", "rolled_back_by", "changed"} & did.keys()
    found = [name for name in sorted(names) if row[name] != did[name]]
    if row["operator"] != whoami() or f"{user_name()} (account, observed)" not in row["ran_by"]:
        found.append("who")
    if "began" in did and not did["began"] <= row["opened"] <= row["closed"] <= did["ended"]:
        found.append("when")
    first, last = did["approved_at"] or ("", "")
    if not first <= row["approved_at"] <= last:
        found.append("approved_at")
    if "interrupts" in did and row["writes"] and ("interrupted" in row["effect"]) is not did["interrupts"]:
        found.append("effect")
    if row["verified"] is not (True if did["outcome"] == "succeeded" else None):
        found.append("verified")
    if bool(row["reviewed"]) is not did["reviewed"]:
        found.append("reviewed")
    if ("changed outside" in row["exceptions"]) is not did["outside"]:
        found.append("changed outside")
    return found


#: The columns of the sample's table, each with what ``records list --json`` calls it.
TABLE: dict[str, Callable[[dict[str, Any]], str]] = {
    "Run": lambda row: "/".join(row["run"].split("/")[1:]),
    "Who (how known)": lambda row: row["ran_by"],
    "When": lambda row: row["opened"],
    "Ticket": lambda row: row["ticket"] or "none",
    "Approved": lambda row: " ".join(filter(None, (row["approver"], row["approval"], row["approved_at"]))),
    "From and to": lambda row: row["changed"] or "nothing",
    "Effect": lambda row: row["effect"],
    "Verified": lambda row: {True: "yes", False: "NO", None: "not read back"}[row["verified"]],
    "Outcome": lambda row: row["outcome"],
    "Rolled back by": lambda row: ", ".join(row["rolled_back_by"]) or "none",
    "Wrong": lambda row: ", ".join(row["wrong"]) or "nothing",
}


def main() -> None:
    """Make the year, take the sample, and print it as a table, with what of it is not what was done."""
    with TemporaryDirectory() as place, started(Path(place) / "project") as sandbox:
        sandbox.control("POST", "reset")
        os.environ.update(sandbox.environment)
        os.chdir(sandbox.root)
        year = make_year(sandbox)
        for row in answers(year.records):
            cells = {**row, "wrong": wrong(row, year.did[row["run"].rpartition("/")[2]])}
            print("| " + " | ".join(str(column(cells)) for column in TABLE.values()) + " |")


if __name__ == "__main__":
    main()
