"""Fifty records as a year makes them, and an auditor's sample of 25 of them, answered by one command.

Creates, updates, conflicts, failures, kills, rollbacks, changes of the shared trunk, approvals (typed and
signed), an emergency with and without a review, and two changes from outside: all of it made for real on the
sandbox. ``python -m tests.records.fifty`` prints how many of the sampled records answer each question.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from click.testing import Result
from ruamel.yaml import YAML
from typer.testing import CliRunner

from runbook_lib.cli import app as runbook
from runbook_lib.cli.records import app
from runbook_lib.errors import RunbookError
from runbook_lib.guide import ROLL_BACK, RUN_ORDER
from runbook_lib.records.chain import Chain
from runbook_lib.runbook import Runbook
from tests.conftest import CHECKOUT, TestSandbox, started

SAMPLE, SEED = 25, 7
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
        with Runbook.open(site, tenant, mode="apply", **{"accept_interruption": True, **options}) as book:
            with suppress(RunbookError):
                book.section(number).apply()
            return book.run_id

    def calls(self, value: int, **options: Any) -> str:
        """Change one value: how many calls acme's PBX trunk takes."""
        return self.apply(self.tenant("acme", pbx_trunk={"max_concurrent_calls": value}), "05", **options)

    def killed(self, tenant: str, number: str) -> str:
        """Kill a run within a write, and close its record."""
        known = {entry.run for entry in Chain(self.records).entries()}
        environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
        command = [sys.executable, "-c", KILLED, SITE, tenant, number]
        done = subprocess.run(command, cwd=self.sandbox.root, env=environment, check=False)
        assert done.returncode == -signal.SIGKILL
        [run] = {str(entry.run) for entry in Chain(self.records).entries()} - known
        cli(self.records, "close", run, "--reason", "its machine lost power")
        return run.rpartition("/")[2]

    def rolled_back(self, run: str, tenant: str) -> str:
        """Roll a run back."""
        with Runbook.open(
            SITE, tenant, mode="apply", sections=(ROLL_BACK,), record=run, accept_interruption=True
        ) as book:
            with suppress(RunbookError):
                book.section(ROLL_BACK).apply()
            return book.run_id

    def by_hand(self, value: int) -> None:
        """Change acme's PBX trunk behind the runbook's back."""
        pbx = self.sandbox.vendors.pbx("acme.pbx.example")
        [trunk] = [one for one in pbx.list("/providers") if one["name"] == "Twilio-Reg-Trunk"]
        whole = {name: one for name, one in pbx.get(f"/providers/{trunk['id']}").items() if one is not None}
        whole.pop("id")
        pbx.post(f"/providers/{trunk['id']}", {**whole, "concurrency": value})

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


def make_year(sandbox: TestSandbox) -> Path:
    """Make fifty records; return the records folder. The sandbox is as it was reset."""
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
        year.rolled_back(last, acme)
        year.by_hand(999)
        year.calls(80)  # found 999
        # Conflicts: what interrupts calls without leave, and somebody else's number.
        year.calls(20, accept_interruption=False)
        year.apply(year.tenant("acme", dids="12025550101-12025550104;12025550107"), "04")
        # Failures of a vendor, of two kinds.
        for status in (500, 403):
            fault = {"kind": "status", "vendor": "portsip", "method": "POST", "path": "/api/providers/"}
            sandbox.control("POST", "faults", fault | {"status": status})
            year.calls(30)
    with ticket("CHG-72"):
        for value in (31, 32, 33, 34):
            year.killed(year.tenant("acme", pbx_trunk={"max_concurrent_calls": value}), "05")
    with ticket("CHG-73"):  # the shared trunk, whose calls are two tenants'
        for value in (200, 300):
            year.apply("trunk:carrier", "05", year.site(calls=value))
    if shutil.which("ssh-keygen"):
        _approved(year)
    _emergencies(year)
    with ticket("CHG-99"):
        for value in range(100, 100 + 50 - _count(year.records)):
            year.calls(value)
    return year.records


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
        command = ["approve", str(plan), "--key", str(keys / "al"), "--ticket", f"CHG-{value}"]
        done = CliRunner().invoke(runbook, command, input="demo/acme\n")
        assert done.exit_code == 0, done.output
        year.apply(tenant, "05", site, plan_file=str(plan))


def _emergencies(year: Year) -> None:
    """Two that nobody had approved: one is reviewed."""
    site = year.site(approval="required", emergency=True)
    for value in (44, 45):
        with ticket(f"INC-{value}", EMERGENCY="calls fail"):
            run = year.calls(value, site=site)
    with ticket(None):
        os.environ["RUNBOOK_TICKET"] = ""
        cli(year.records, "review", run, "--remark", "as described")


def _count(records: Path) -> int:
    return len({entry.run for entry in Chain(records).entries()})


def answers(records: Path) -> list[dict[str, Any]]:
    """What one command answers about a sample."""
    done = cli(records, "list", "--json")
    assert done.exit_code == 0, done.output[-2000:]
    rows = json.loads(done.stdout)["runs"]
    return random.Random(SEED).sample(rows, SAMPLE)


def answered(rows: list[dict[str, Any]]) -> dict[str, int]:
    """How many of the rows answer each question of an auditor's."""
    changed = [row for row in rows if row["settings"]]
    return {
        "who, and how that is known": sum(bool(row["ran_by"]) for row in rows),
        "when (opened by the chain)": sum(bool(row["opened"]) for row in rows),
        "when closed": sum(bool(row["closed"]) for row in rows),
        "under which ticket, or named as without": sum(
            bool(row["ticket"]) or "no ticket" in row["exceptions"] for row in rows
        ),
        "approved by whom, or by nobody": sum(bool(row["approval"]) for row in rows),
        "approved when, of those that were signed": sum(bool(row["approved_at"]) for row in rows),
        "signed": sum(row["approval"] == "ssh signature" for row in rows),
        "from what to what, of those that changed something": sum(bool(row["changed"]) for row in changed),
        "changed something": len(changed),
        "effect on calls": sum(bool(row["effect"]) for row in rows),
        "read back": sum(row["verified"] is not None for row in rows),
        "rolled back": sum(bool(row["rolled_back_by"]) for row in rows),
        "changed outside before": sum("changed outside" in row["exceptions"] for row in rows),
    }


def main() -> None:
    """Make the year, take the sample, print what was answered."""
    with TemporaryDirectory() as place, started(Path(place) / "project") as sandbox:
        sandbox.control("POST", "reset")
        os.environ.update(sandbox.environment)
        os.chdir(sandbox.root)
        rows = answers(make_year(sandbox))
        for question, count in answered(rows).items():
            print(f"{count:3}  {question}")


if __name__ == "__main__":
    main()
