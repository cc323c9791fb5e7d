"""Approvals by real applies on the sandbox: each is good for one success, and only for what was signed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psutil
import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from runbook_lib.cli import app
from runbook_lib.errors import ApprovalError, RunbookError, StalePlanError
from runbook_lib.guide import RETIRE, ROLL_BACK, RUN_ORDER
from runbook_lib.notebook.section_page import SectionPage
from runbook_lib.records.chain import Chain
from runbook_lib.runbook import Runbook
from tests.conftest import CHECKOUT
from tests.sections.test_tenant_level import ACME, DOMAIN
from tests.test_approval import TwoPersons, _at
from tests.test_approval import two as two

GLOBEX = ACME.replace("acme", "globex")
PATIENCE_S = 90.0


def apply(two: TwoPersons, section: str = "01", tenant: str = ACME, **options: Any) -> int:
    """Apply one section with its approval, in a record of its own; return the writes that left for it."""
    before = len(two.sandbox.writes())
    options = {"plan_file": str(two.plan_file), **options}
    with Runbook.open(two.site, tenant, mode="apply", **options) as runbook:
        runbook.section(section).apply()
    return len(two.sandbox.writes()) - before


def set_back(two: TwoPersons) -> None:
    """Put the vendors back to where the plan was made, as somebody by hand could."""
    two.sandbox.control("POST", "reset")
    two.sandbox.clear_log()


def successes(two: TwoPersons) -> list[str]:
    """The runs whose records say that they succeeded and wrote."""
    records = [json.loads(path.read_text()) for path in two.records.glob("demo/*/*/record.json")]
    return [one["run_id"] for one in records if one["outcome"] == "succeeded" and one["changes"]]


def _used(two: TwoPersons) -> dict[str, Any]:
    assert apply(two) > 0
    set_back(two)
    return {}


def _revoked(two: TwoPersons) -> dict[str, Any]:
    command = ["revoke", str(two.approval), "--reason", "the customer called"]
    assert CliRunner().invoke(app, command).exit_code == 0
    return {}


def _signed_again(two: TwoPersons, **changes: Any) -> dict[str, Any]:
    two.approval.unlink()
    two.signature.unlink()
    two.sign(**changes)
    return {}


def _ended_for_the_vendors(two: TwoPersons) -> dict[str, Any]:
    two.sandbox.control("POST", "clock", {"advance": 8 * 86400})
    return {}


def _another_ticket(two: TwoPersons) -> dict[str, Any]:
    os.environ["RUNBOOK_TICKET"] = "CHG-8"  # the fixture has it taken away afterwards
    return {}


def _another_site(two: TwoPersons) -> dict[str, Any]:
    path, yaml = two.sandbox.root / two.site, YAML()
    content = yaml.load(path)
    content["site"]["name"] = "other"
    yaml.dump(content, path)
    return {}


def _another_folder(two: TwoPersons) -> dict[str, Any]:
    """The plan was made in a records folder that has a chain; this is not that one."""
    assert apply(two) > 0
    set_back(two)
    with Runbook.open(two.site, ACME) as runbook:
        two.plan_file.write_text(json.dumps(runbook.plan().to_document()))
    shutil.rmtree(two.records)
    two.end(two.start(Runbook.open("parameters/sandbox/site.yaml", GLOBEX, mode="apply")))
    return _signed_again(two)


REFUSED: dict[str, Callable[[TwoPersons], dict[str, Any]]] = {
    "used": _used,
    "expired": lambda two: _signed_again(two, not_before=_at(-3), not_after=_at(-1)),
    "expired by the vendors' clocks": _ended_for_the_vendors,
    "revoked": _revoked,
    "another tenant": lambda two: {"tenant": GLOBEX},
    "another ticket": _another_ticket,
    "another site": _another_site,
    "another site's statement": lambda two: _signed_again(two, site="other"),
    "another records folder": _another_folder,
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_approved_any_more_writes_nothing(
    two: TwoPersons, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNBOOK_TICKET", "CHG-7")  # its own: it is refused for another one only
    two.sign()
    options = REFUSED[case](two)
    two.sandbox.clear_log()
    with pytest.raises(ApprovalError):
        apply(two, **options)
    assert two.sandbox.writes() == []


def test_section_by_section_each_is_written_once(two: TwoPersons) -> None:
    """Half used: what succeeded is spent, what is left is not."""
    two.sign()
    for number, section in enumerate(RUN_ORDER):
        apply(two, section)
        for spent in RUN_ORDER[1 : number + 1]:
            if spent in ("01", section):
                with pytest.raises(ApprovalError):
                    apply(two, spent)
    assert sorted(two.sandbox.vendors.trunk(DOMAIN)["numbers"]) and len(successes(two)) == 5
    set_back(two)
    for section in ("01", "02", "03", "04", "05"):
        with pytest.raises(ApprovalError):
            apply(two, section)
    assert two.sandbox.writes() == []


def test_a_503_before_the_first_write_uses_nothing(two: TwoPersons, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runbook_lib.vendors.transport.ATTEMPTS", 2)
    two.sign()
    for section in ("01", "02"):
        two.sandbox.control(
            "POST",
            "faults",
            {"method": "GET", "path": "/v1/Trunks", "kind": "status", "status": 503, "count": 0},
        )
        two.sandbox.clear_log()
        with pytest.raises(RunbookError) as refused:
            apply(two, section)
        assert not isinstance(refused.value, ApprovalError) and two.sandbox.writes() == []
        two.sandbox.control("DELETE", "faults")
        assert apply(two, section) > 0


SCRIPT = """
import sys
from runbook_lib.runbook import Runbook
from runbook_lib.errors import RunbookError
site, tenant, plan = sys.argv[1:]
print("ready", flush=True)
sys.stdin.readline()
try:
    with Runbook.open(site, tenant, mode="apply", plan_file=plan) as runbook:
        runbook.section("01").apply()
except RunbookError as error:
    sys.exit(type(error).__name__)
"""


def test_of_processes_that_race_one_at_most_succeeds(two: TwoPersons) -> None:
    two.sign()
    racing = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, two.site, ACME, str(two.plan_file)],
            cwd=two.sandbox.root,
            env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for process in racing:
        assert process.stdout and process.stdout.readline() == "ready\n"
    for process in racing:
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()
    ended = [process.communicate()[1].strip().splitlines()[-1:] for process in racing]
    assert [process.returncode for process in racing].count(0) == 1, ended
    assert {one[0] for one in ended if one} <= {"ApprovalError", "LockedError"}, ended
    assert len(successes(two)) == 1
    used = [entry for entry in Chain(two.records).entries() if entry.event == "used"]
    assert len(used) == 1


WAYS_BACK = {ROLL_BACK: "roll back", RETIRE: "retire"}


@pytest.mark.parametrize("section", WAYS_BACK)
def test_a_way_back_has_an_approval_of_its_own(two: TwoPersons, section: str) -> None:
    """That of the way there is none for the way back, and each is good for one success."""
    for number in RUN_ORDER:
        with Runbook.open("parameters/sandbox/site.yaml", ACME, mode="apply") as runbook:
            runbook.section(number).apply()
    record = next(
        entry.run.rpartition("/")[2]
        for entry in Chain(two.records).entries()
        if entry.run and json.loads((two.records / entry.run / "opening.json").read_text())["order"] == ["04"]
    )
    options: dict[str, Any] = {"sections": (section,), "accept_interruption": True}
    if section == ROLL_BACK:
        options["record"] = record
    two.sign()  # the plan of the way there
    two.sandbox.clear_log()
    with pytest.raises((ApprovalError, StalePlanError)):
        apply(two, section, **options)
    assert two.sandbox.writes() == []
    with Runbook.open(two.site, ACME, **options) as runbook:
        two.plan_file.write_text(json.dumps(runbook.plan().to_document()))
    _signed_again(two)
    assert json.loads(two.approval.read_text())["lines"][0]["kind"].startswith(WAYS_BACK[section])
    if section == ROLL_BACK:
        others = {one.parent.name for one in two.records.glob("demo/acme/*/record.json")} - {record}
        with pytest.raises(RunbookError):
            apply(two, section, **{**options, "record": min(others)})
        assert two.sandbox.writes() == []
    assert apply(two, section, **options) > 0
    assert two.sandbox.vendors.numbers()["+12025550101"]["trunk_sid"] is None
    two.sandbox.clear_log()
    with pytest.raises(ApprovalError):
        apply(two, section, **options)
    assert two.sandbox.writes() == []


def _button(two: TwoPersons) -> SectionPage:
    approval = {"plan_file": str(two.plan_file), "approved_plan": None, "approved_by": None}
    page = SectionPage("02", two.site, ACME, "apply", approval, {}, watched=True)
    page.plan()
    assert page.form.has_order, page.form.text()
    page.form.apply(name="demo/acme")
    return page


def _ended(page: SectionPage) -> str:
    page.form.wait(PATIENCE_S)
    page.finish()
    assert page.form.status is not None
    return page.form.status.text()


def test_the_button_uses_the_approval_and_continues_one_that_was_killed(
    two: TwoPersons, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ticket is the approval's; a killed child's record stays open and blocks nothing."""
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))
    two.sign()
    assert apply(two) > 0
    path = "/IpAccessControlLists.json$"
    fault = {"vendor": "twilio", "method": "POST", "path": path, "kind": "delay", "seconds": 40}
    two.sandbox.control("POST", "faults", {**fault, "effect": "first"})
    page = _button(two)
    end = time.monotonic() + PATIENCE_S
    while len(list(two.records.glob("demo/acme/*/journal.jsonl"))) < 2:
        assert time.monotonic() < end
        time.sleep(0.1)
    process = psutil.Process(page.form.follower.followed._process.pid)
    for one in (*process.children(recursive=True), process):
        with suppress(psutil.NoSuchProcess):  # the death of its parent may have ended it
            one.kill()
    assert "Section 02: unknown" in _ended(page)
    two.sandbox.control("DELETE", "faults")
    assert "Section 02: succeeded" in _ended(_button(two))
    events = [(entry.event, entry.run) for entry in Chain(two.records).entries()]
    runs = list(dict.fromkeys(run for _, run in events))
    assert [run for event, run in events if event == "closed"] == [runs[0], runs[2]]
    for run in runs:
        assert json.loads((two.records / str(run) / "opening.json").read_text())["ticket"] == "CHG-7"
    assert two.sandbox.vendors.trunk(DOMAIN)["access_lists"]
    two.sandbox.control("POST", "reset")
    with Runbook.open("parameters/sandbox/site.yaml", ACME, mode="apply") as runbook:
        runbook.section("01").apply()
    two.sandbox.clear_log()
    assert "Section 02: failed" in _ended(_button(two))
    assert two.sandbox.writes() == []


def test_one_command_for_all_sections_uses_them_all(two: TwoPersons) -> None:
    two.sign()
    arguments = ["apply", "-s", two.site, ACME, "--plan", str(two.plan_file)]
    command = [sys.executable, "-m", "runbook_lib", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    statuses = []
    for _ in range(2):
        ended = subprocess.run(command, cwd=two.sandbox.root, env=environment, capture_output=True, text=True)
        statuses.append(ended.returncode)
        left = two.sandbox.writes()
        set_back(two)
    assert statuses == [0, 1] and left == []
