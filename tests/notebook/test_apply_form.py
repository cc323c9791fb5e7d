"""The apply form: what it offers, and the child that it starts, on the sandbox."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from runbook_lib.lock import held, whoami
from runbook_lib.notebook import child
from runbook_lib.notebook.child import Order
from runbook_lib.notebook.forms import ApplyForm
from runbook_lib.notebook.page import SectionPage
from runbook_lib.notebook.served import Served
from runbook_lib.records.verify import verify
from runbook_lib.secret import remember
from tests.conftest import CHECKOUT, TestSandbox

SITE, ACME = "parameters/sandbox/site.yaml", "parameters/sandbox/acme.yaml"
NO_APPROVAL = {"plan_file": None, "approved_plan": None, "approved_by": None}
#: Carried out at once and answered late: nothing of it happens after the test.
FIRST_WRITE = {
    "vendor": "twilio",
    "method": "POST",
    "path": "/v1/Trunks$",
    "kind": "delay",
    "seconds": 40,
    "effect": "first",
}
PATIENCE_S = 90.0


@pytest.fixture
def opened(sandbox: TestSandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., SectionPage]]:
    """Opens pages as JupyterLab does; whatever they started is ended."""
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))
    pages = []

    def open_page(
        number: str = "01", site: Any = SITE, tenant: Any = ACME, leave: bool = False, **approval: str
    ) -> SectionPage:
        options = {"accept_interruption": True} if leave else {}
        approval = NO_APPROVAL | approval
        pages.append(SectionPage(number, site, tenant, "apply", approval, options, watched=True))
        return pages[-1]

    yield open_page
    for page in pages:
        page.form.cancel()
        page.form.wait(PATIENCE_S)
        page.finish()


@pytest.fixture
def page(opened: Callable[..., SectionPage]) -> SectionPage:
    return opened()


def controls(form: ApplyForm) -> tuple[Any, Any, Any, Any]:
    """The form's parts: what it says, name, Apply, Cancel."""
    said, line = form.widget.children
    return said, *line.children


def run_folders(sandbox: TestSandbox) -> list[Path]:
    return sorted(path.parent for path in sandbox.root.glob("records/demo/acme/*/opening.json"))


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_apply_in_the_parameter_cell_plans_where_a_person_watches(page: SectionPage) -> None:
    assert page.mode == "plan"


def test_nothing_is_offered_before_the_plan_was_seen(page: SectionPage) -> None:
    said, name, apply, cancel = controls(page.form)
    assert "Run the cell with the plan first" in said.value
    assert name.disabled and apply.disabled and cancel.disabled


def test_the_form_says_what_would_be_applied_where_and_wants_site_and_tenant(
    page: SectionPage, sandbox: TestSandbox
) -> None:
    said, name, apply, _ = controls(page.form)
    page.plan()
    (path,) = sandbox.root.glob("records/demo/acme/*/01.plan-*.json")
    digest = json.loads(path.read_text())["digest"]
    for part in ("SANDBOX demo/acme", "2 rows change", "Effect on calls: none", digest, "--section 01"):
        assert part in said.value.replace("<wbr>", "")
    assert "runbook apply -s" in said.value and name.placeholder == "type demo/acme to confirm"
    for typed, disabled in (
        ("", True),
        ("acme", True),
        ("demo/globex", True),
        ("other/acme", True),
        ("Demo/acme", True),
        (" demo/acme ", False),
    ):
        name.value = typed
        assert apply.disabled is disabled
    page.plan()
    assert name.value == "" and apply.disabled  # what was typed was for another plan
    assert sandbox.writes() == []


def test_the_button_applies_what_was_shown_and_the_record_is_verified(
    page: SectionPage, sandbox: TestSandbox
) -> None:
    _, name, apply, cancel = controls(page.form)
    page.plan()
    page.finish()
    name.value = "demo/acme"
    apply.click()
    apply.click()
    page.form.apply()
    assert name.disabled and apply.disabled and not cancel.disabled
    page.form.wait(PATIENCE_S)
    text = page.form.status.text()
    (folder,) = run_folders(sandbox)
    assert "Section 01: succeeded" in text and folder.name in text
    assert "Twilio POST" in text and "201" in text and "1.1" in text
    assert f"records/demo/acme/{folder.name}/01_create_sip_trunk.html" in text
    record = json.loads((folder / "record.json").read_text())
    assert [one["section"] for one in record["guide_sections"]] == ["01"]
    assert record["approver"]["by"]["who"] == whoami()
    assert verify(sandbox.root / "records").problems == ()
    assert [one["path"] for one in sandbox.writes()] == ["/v1/Trunks"]
    assert "in place" in page.plan().text()
    assert "everything is in place" in page.form.text()


def test_cancel_interrupts_the_child_and_the_record_says_so(page: SectionPage, sandbox: TestSandbox) -> None:
    sandbox.control("POST", "faults", FIRST_WRITE)
    _, name, apply, cancel = controls(page.form)
    page.plan()
    name.value = "demo/acme"
    apply.click()
    until(lambda: page.form.status and "sent …" in page.form.status.text())
    process = child.running(sandbox.root / "records" / "demo" / "acme")._process
    family = [process.pid, *(one.pid for one in psutil.Process(process.pid).children(recursive=True))]
    assert len(family) > 1
    cancel.click()
    assert cancel.disabled
    page.form.cancel()
    page.form.wait(PATIENCE_S)
    text = page.form.status.text()
    assert "Section 01: interrupted" in text and "no answer was seen" in text
    assert "interrupted by SIGTERM" in text and "run it again" in text
    assert not [one for one in family if Path(f"/proc/{one}").exists()]
    (folder,) = run_folders(sandbox)
    assert json.loads((folder / "record.json").read_text())["outcome"] == "interrupted"
    assert (folder / "checksums.json").exists()
    assert apply.disabled and cancel.disabled


def test_cancelled_before_its_record_nothing_was_written(page: SectionPage, sandbox: TestSandbox) -> None:
    _, name, apply, cancel = controls(page.form)
    page.plan()
    name.value = "demo/acme"
    apply.click()
    cancel.click()
    page.form.wait(PATIENCE_S)
    assert "Section 01: interrupted" in page.form.status.text()
    assert "nothing was written" in page.form.status.text()
    assert run_folders(sandbox) == [] and sandbox.writes() == []


def test_a_child_outlives_the_kernel_that_started_it(sandbox: TestSandbox) -> None:
    """It writes to no pipe of ours and is in no process group of ours."""
    starter = f"""
import os, pathlib
from runbook_lib.notebook.child import Child, Order
order = Order("01", {SITE!r}, {ACME!r}, {NO_APPROVAL!r})
root = pathlib.Path({str(sandbox.root)!r})
print(Child(order, root, root / "records/demo/acme")._process.pid, flush=True)
os.killpg(0, 9)
"""
    ended = subprocess.run(
        [sys.executable, "-c", starter],
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        stdout=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    assert ended.returncode == -9
    until(lambda: [one for one in run_folders(sandbox) if (one / "checksums.json").exists()])
    (folder,) = run_folders(sandbox)
    assert json.loads((folder / "opening.json").read_text())["process"]["pid"] == int(ended.stdout)
    assert json.loads((folder / "run.json").read_text())["outcome"] == "succeeded"


def test_a_killed_child_is_told_as_unknown_with_its_write_in_flight(
    page: SectionPage, sandbox: TestSandbox
) -> None:
    sandbox.control("POST", "faults", FIRST_WRITE)
    _, name, apply, _ = controls(page.form)
    page.plan()
    name.value = "demo/acme"
    apply.click()
    until(lambda: page.form.status and "sent …" in page.form.status.text())
    process = child.running(sandbox.root / "records" / "demo" / "acme")._process
    kernels = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, 9)
    page.form.wait(PATIENCE_S)
    for kernel in kernels:
        with suppress(psutil.NoSuchProcess):  # the death of its parent may have ended it
            kernel.kill()
    text = page.form.status.text()
    (folder,) = run_folders(sandbox)
    assert "Section 01: unknown" in text and "no answer was seen" in text
    assert f"runbook records close {folder.name}" in text


def test_a_plan_that_moved_stops_the_child_with_the_sections_own_error(
    page: SectionPage, sandbox: TestSandbox
) -> None:
    _, name, apply, _ = controls(page.form)
    page.plan()
    name.value = "demo/acme"
    trunk = {"FriendlyName": "PortSIP acme", "DomainName": "somebody-elses.pstn.twilio.com"}
    sandbox.vendors.twilio_http.post("/v1/Trunks", data=trunk).raise_for_status()
    sandbox.clear_log()
    apply.click()
    page.form.wait(PATIENCE_S)
    text = page.form.status.text()
    assert "Section 01: failed" in text
    assert "What happened" in text and "What to do next" in text
    assert sandbox.writes() == []


def test_another_run_of_the_tenant_is_named(
    page: SectionPage, sandbox: TestSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, name, apply, _ = controls(page.form)
    page.plan()
    name.value = "demo/acme"
    with held(sandbox.root / "records" / "demo" / "acme", "tenant acme"):
        apply.click()
        page.form.wait(PATIENCE_S)
    assert "LockedError" in page.form.status.text() and whoami() in page.form.status.text()


def test_a_page_opened_anew_follows_the_child_that_runs(
    page: SectionPage, opened: Callable[..., SectionPage], sandbox: TestSandbox
) -> None:
    sandbox.control("POST", "faults", FIRST_WRITE | {"seconds": 3})
    _, name, apply, _ = controls(page.form)
    page.plan()
    name.value = "demo/acme"
    apply.click()
    again = opened()
    *_, cancel = controls(again.form)
    again.form.show()
    assert not cancel.disabled
    page.form.wait(PATIENCE_S)
    again.form.wait(PATIENCE_S)
    assert "Section 01: succeeded" in again.form.status.text()
    assert len(run_folders(sandbox)) == 1


def test_a_page_that_is_withdrawn_while_its_child_runs_can_still_cancel_and_offers_nothing_later(
    page: SectionPage, sandbox: TestSandbox
) -> None:
    sandbox.control("POST", "faults", FIRST_WRITE)
    said, name, apply, cancel = controls(page.form)
    page.plan()
    name.value = "demo/acme"
    apply.click()
    until(lambda: page.form.status and "sent …" in page.form.status.text())
    page.withdraw("the parameters have changed")
    assert name.disabled and apply.disabled and not cancel.disabled
    assert "the parameters have changed" in said.value
    cancel.click()
    page.form.wait(PATIENCE_S)
    assert "SANDBOX demo/acme · Section 01: interrupted" in page.form.status.text()
    name.value = "demo/acme"
    page.form.apply()
    assert apply.disabled and page.form._child is None
    assert "the parameters have changed" in said.value
    assert len(run_folders(sandbox)) == 1
    page._withdrawn = None  # so that the fixture can end it


def test_a_form_that_is_shown_twice_has_one_set_of_controls(page: SectionPage) -> None:
    """Otherwise the controls that were shown first would stay as they were."""
    assert page.form.widget is page.form.widget
    _, name, apply, _ = controls(page.form)
    page.plan()
    name.value = "demo/acme"
    page.form.show()
    assert name.value == "" and apply.disabled


def test_the_form_of_a_live_site_says_so(tmp_path: Path) -> None:
    form = ApplyForm("live", "bigtel/acme", tmp_path, tmp_path, Served(tmp_path, None), lambda: True)
    assert "LIVE bigtel/acme" in form.html() and "LIVE bigtel/acme" in form.text()
    _, name, *_ = controls(form)
    assert name.placeholder == "type bigtel/acme to confirm"


def test_where_the_site_wants_approval_the_form_says_how_and_passes_a_given_one_on(
    opened: Callable[..., SectionPage], sandbox: TestSandbox
) -> None:
    site = sandbox.root / "strict.yaml"
    site.write_text(
        (sandbox.root / SITE).read_text().replace("  policies:\n", "  policies:\n    approval: required\n")
    )
    page = opened(site="strict.yaml")
    _, name, apply, _ = controls(page.form)
    page.plan()
    assert "Approval is missing" in page.form.text() and "approved_by" in page.form.text()
    name.value = "demo/acme"
    assert apply.disabled
    plan = page._runbook.plan_of(page._run.plan())
    (sandbox.root / "approved.json").write_text(json.dumps(plan.to_document()))
    approval = {"plan_file": "approved.json", "approved_plan": plan.digest, "approved_by": "pat"}
    page = opened(site="strict.yaml", **approval)
    _, name, apply, _ = controls(page.form)
    page.plan()
    assert "--plan approved.json" in page.form.html() and "--approved-by pat" in page.form.html()
    name.value = "demo/acme"
    apply.click()
    page.form.wait(PATIENCE_S)
    assert "Section 01: succeeded" in page.form.status.text(), page.form.status.text()
    (folder,) = run_folders(sandbox)
    assert json.loads((folder / "record.json").read_text())["approver"]["by"]["who"] == "pat"
    site.unlink()
    (sandbox.root / "approved.json").unlink()


def test_blocked_rows_offer_nothing(opened: Callable[..., SectionPage]) -> None:
    page = opened("02")
    page.plan()
    _, name, apply, _ = controls(page.form)
    assert "in conflict or blocked" in page.form.text()
    name.value = "demo/acme"
    assert apply.disabled


def test_a_child_that_is_refused_at_once_tells_why_without_secrets(
    page: SectionPage, sandbox: TestSandbox
) -> None:
    remember("Canary-in-a-file-name", "env:FORM_CANARY")
    order = Order("01", SITE, "parameters/Canary-in-a-file-name.yaml", NO_APPROVAL)
    started = child.start(order, sandbox.root, sandbox.root / "records" / "demo" / "acme")
    until(lambda: not started.running)
    status = started.status()
    assert status.state == "failed"
    assert "[env:FORM_CANARY]" in status.told and "Canary-in" not in status.told
    started.close()


def test_parameters_that_papermill_passed_as_content_become_files(
    opened: Callable[..., SectionPage], sandbox: TestSandbox
) -> None:
    from ruamel.yaml import YAML

    content = [YAML(typ="safe").load(sandbox.root / one) for one in (SITE, ACME)]
    page = opened("01", *content)
    _, name, apply, _ = controls(page.form)
    page.plan()
    name.value = "demo/acme"
    apply.click()
    page.form.wait(PATIENCE_S)
    assert "Section 01: succeeded" in page.form.status.text(), page.form.status.text()


def test_the_way_back_is_started_by_its_own_commands(
    opened: Callable[..., SectionPage], sandbox: TestSandbox
) -> None:
    def applied(page: SectionPage) -> str:
        _, name, apply, _ = controls(page.form)
        page.plan()
        offered = page.form.html()
        name.value = "demo/acme"
        assert not apply.disabled, offered
        apply.click()
        page.form.wait(PATIENCE_S)
        assert ": succeeded" in page.form.status.text(), page.form.status.text()
        return offered

    applied(opened())
    (folder,) = run_folders(sandbox)
    assert f"runbook rollback {folder.name} -s" in applied(opened("90", leave=True))
    assert "acme-pbx.pstn.twilio.com" not in sandbox.vendors.trunk_sids()
    applied(opened())
    assert "runbook retire -s" in applied(opened("91", leave=True))
    assert "acme-pbx.pstn.twilio.com" not in sandbox.vendors.trunk_sids()


def test_a_shared_trunk_is_named_as_the_command_names_it() -> None:
    order = Order("01", SITE, "trunk:carrier", NO_APPROVAL)
    assert order.command == f"runbook apply -s {SITE} --trunk carrier --section 01"
