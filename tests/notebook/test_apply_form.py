"""The apply form: what it offers, and the child that it starts, on the sandbox."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from runbook_lib.approval import CONFIRMED, approval_beside, read_plan, sign_statement
from runbook_lib.lock import held, whoami
from runbook_lib.notebook import child
from runbook_lib.notebook.apply_form import ApplyForm
from runbook_lib.notebook.child import Order
from runbook_lib.notebook.display import utc
from runbook_lib.notebook.failures import HEADINGS
from runbook_lib.notebook.following import Follower
from runbook_lib.notebook.section_page import SectionPage
from runbook_lib.notebook.served import Served
from runbook_lib.records.verify import verify_records
from runbook_lib.runbook import Runbook
from runbook_lib.secret import remember
from runbook_lib.statement import NAMESPACE, Statement
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


class Hand:
    """What somebody does at a form: reads what the panel shows, and sends what the panel would send."""

    def __init__(self, form: ApplyForm) -> None:
        self.form = form

    @property
    def view(self) -> dict[str, Any]:
        return self.form.panel.view

    @property
    def says(self) -> str:
        return self.view["box"].replace("<wbr>", "")

    @property
    def can_apply(self) -> bool:
        running = self.view["run"] is not None and self.view["run"]["running"]
        return self.view["form"] is not None and not running

    @property
    def can_cancel(self) -> bool:
        run = self.view["run"]
        return run is not None and run["can_cancel"] and not run["cancelling"]

    def apply(self, name: str = "demo/acme", **given: Any) -> None:
        offer = self.view["form"]["offer"] if self.view["form"] else None
        permission = bool(self.view["form"] and self.view["form"]["permission"])
        sent = {"do": "apply", "name": name, "offer": offer, "permission": permission, **given}
        self.form.answered(sent)

    def cancel(self) -> None:
        self.form.answered({"do": "cancel"})


def lines(hand: Hand) -> list[str]:
    """What the panel says of a run that is going on."""
    return hand.view["run"]["lines"] if hand.view["run"] else []


def said(form: ApplyForm) -> str:
    """What is shown of a run."""
    return form.status.text() if form.status else ""


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
    hand = Hand(page.form)
    assert "Run the cell with the plan first" in hand.says
    assert not hand.can_apply and not hand.can_cancel


def test_the_form_says_what_would_be_applied_where_and_wants_site_and_tenant(
    page: SectionPage, sandbox: TestSandbox
) -> None:
    hand = Hand(page.form)
    page.plan()
    (path,) = sandbox.root.glob("records/demo/acme/*/01.plan-*.json")
    digest = json.loads(path.read_text())["digest"]
    read = utc(page._runbook.context.moment.began)
    for part in ("SANDBOX demo/acme", "2 rows change", "calls: none", digest, "--section 01", read):
        assert part in hand.says
    assert "runbook apply -s" in hand.says and hand.view["form"]["name"] == "demo/acme"
    first = hand.view["form"]["offer"]
    for typed in ("", "acme", "demo/globex", "other/acme", "Demo/acme"):
        hand.apply(typed)
        assert hand.view["refused"] and hand.view["run"] is None
    page.plan()
    hand.apply(offer=first)  # what was typed was for another plan
    assert hand.view["refused"] and hand.view["run"] is None
    assert run_folders(sandbox) == [] and sandbox.writes() == []


def test_the_button_applies_what_was_shown_and_the_record_is_verified(
    page: SectionPage, sandbox: TestSandbox
) -> None:
    hand = Hand(page.form)
    page.plan()
    page.finish()
    hand.apply(ticket="CHG-1", reason="a test")
    hand.apply()
    assert not hand.can_apply and hand.can_cancel
    page.form.wait(PATIENCE_S)
    (folder,) = run_folders(sandbox)
    text = said(page.form)
    assert "Section 01: succeeded" in text and folder.name in text
    assert "Twilio POST" in text and "201" in text and "1.1" in text
    assert f"records/demo/acme/{folder.name}/01_create_sip_trunk.html" in text
    record = json.loads((folder / "record.json").read_text())
    assert [one["section"] for one in record["guide_sections"]] == ["01"]
    assert (record["ticket"], record["reason"]) == ("CHG-1", "a test")
    assert verify_records(sandbox.root / "records").problems == ()
    assert [one["path"] for one in sandbox.writes()] == ["/v1/Trunks"]
    assert "in place" in page.plan().text()
    assert not hand.can_apply


def test_the_operators_own_click_is_no_approval_by_somebody(page: SectionPage, sandbox: TestSandbox) -> None:
    hand = Hand(page.form)
    page.plan()
    hand.apply()
    page.form.wait(PATIENCE_S)
    (folder,) = run_folders(sandbox)
    by = json.loads((folder / "record.json").read_text())["approver"]["by"]
    assert by == {"who": whoami(), "how": CONFIRMED}


def test_cancel_interrupts_the_child_and_the_record_says_so(page: SectionPage, sandbox: TestSandbox) -> None:
    sandbox.control("POST", "faults", FIRST_WRITE)
    hand = Hand(page.form)
    page.plan()
    hand.apply()
    until(lambda: "sent …" in said(page.form))
    process = child.running(sandbox.root / "records" / "demo" / "acme")._process
    family = [process.pid, *(one.pid for one in psutil.Process(process.pid).children(recursive=True))]
    assert len(family) > 1
    hand.cancel()
    assert not hand.can_cancel
    hand.cancel()
    page.form.wait(PATIENCE_S)
    text = said(page.form)
    assert "Section 01: interrupted" in text and "no answer was seen" in text
    assert text.count("[!]") == 1 and "[✗]" not in text and "SIGTERM" not in text  # one box for one thing
    assert not [one for one in family if Path(f"/proc/{one}").exists()]
    (folder,) = run_folders(sandbox)
    assert json.loads((folder / "record.json").read_text())["outcome"] == "interrupted"
    assert (folder / "checksums.json").exists()
    assert not hand.can_apply and not hand.can_cancel


def test_cancelled_before_its_record_nothing_was_written(page: SectionPage, sandbox: TestSandbox) -> None:
    hand = Hand(page.form)
    page.plan()
    hand.apply()
    hand.cancel()
    page.form.wait(PATIENCE_S)
    assert "Section 01: interrupted" in said(page.form)
    assert "nothing was written" in said(page.form)
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
    hand = Hand(page.form)
    page.plan()
    hand.apply()
    until(lambda: "sent …" in said(page.form))
    process = child.running(sandbox.root / "records" / "demo" / "acme")._process
    kernels = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, 9)
    page.form.wait(PATIENCE_S)
    for kernel in kernels:
        with suppress(psutil.NoSuchProcess):  # the death of its parent may have ended it
            kernel.kill()
    text = said(page.form)
    (folder,) = run_folders(sandbox)
    assert "Section 01: unknown" in text and "no answer was seen" in text
    assert f"runbook records close {folder.name}" in text


def test_a_plan_that_moved_stops_the_child_with_the_sections_own_error(
    page: SectionPage, sandbox: TestSandbox
) -> None:
    hand = Hand(page.form)
    page.plan()
    trunk = {"FriendlyName": "PortSIP acme", "DomainName": "somebody-elses.pstn.twilio.com"}
    sandbox.vendors.twilio_http.post("/v1/Trunks", data=trunk).raise_for_status()
    sandbox.clear_log()
    hand.apply()
    page.form.wait(PATIENCE_S)
    text = said(page.form)
    assert "Section 01: failed" in text
    assert "What happened" in text and "What to do next" in text
    assert re.search(r"at step 1\.1 · \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", text)
    assert sandbox.writes() == []


def test_another_run_of_the_tenant_is_named(
    page: SectionPage, sandbox: TestSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand = Hand(page.form)
    page.plan()
    with held(sandbox.root / "records" / "demo" / "acme", "tenant acme"):
        hand.apply()
        until(lambda: any(f"tenant acme is in use by {whoami()}" in line for line in lines(hand)))
        assert "waiting for another run" in {one["words"] for one in hand.view["run"]["phases"]}
        page.form.wait(PATIENCE_S)
    assert HEADINGS["LockedError"] in said(page.form) and whoami() in said(page.form)


@pytest.mark.parametrize(
    ("number", "vendor", "path"),
    [("01", "Twilio", "/v1/Trunks$"), ("05", "PortSIP", "/auth/sign_in$")],
)
def test_a_vendor_that_asks_for_a_pause_is_named_as_long_as_it_lasts(
    opened: Callable[..., SectionPage], sandbox: TestSandbox, number: str, vendor: str, path: str
) -> None:
    """Of the process that writes, and of the one that signs in."""
    fault = {"vendor": vendor.lower(), "method": "POST", "path": path}
    with Runbook.open(SITE, ACME, mode="apply") as runbook:
        for earlier in runbook.order[1 : runbook.order.index(number)]:
            section = runbook.section(earlier)
            section.apply()
            section.finish()
    page = opened(number)
    hand = Hand(page.form)
    page.plan()
    sandbox.control("POST", "faults", {**fault, "kind": "status", "status": 429, "retry_after": "5"})
    # Its second attempt is answered late: until then the form says that it has no answer yet.
    sandbox.control("POST", "faults", {**fault, "kind": "delay", "effect": "first", "seconds": 2, "nth": 2})
    hand.apply()
    shown: list[tuple[bool, str, bool]] = []
    while hand.view["run"] is None or hand.view["run"]["running"]:
        view, status = hand.view["run"], page.form.follower.status
        if view is not None and status is not None:
            waits = [line for line in view["lines"] if "answered 429" in line]
            written = any((write["answer"] or {}).get("status") in (200, 201) for write in status.writes)
            shown.append((bool(waits), " ".join(waits), written))
        time.sleep(0.1)
    page.form.wait(PATIENCE_S)
    during = [line for waits, line, _ in shown if waits]
    assert all(vendor in line and re.search(r"\d\d:\d\d:\d\d UTC", line) for line in during)
    waiting = [line for line in during if "waiting" in line]
    assert len(waiting) > 20 and all("attempt 2" in line for line in waiting)
    assert any("waiting" not in line for line in during)
    # It is over with the answer, and did not come again.
    flags = [waits for waits, _, _ in shown]
    last = len(flags) - 1 - flags[::-1].index(True)
    assert all(flags[flags.index(True) : last]) and last < len(flags) - 1
    assert not any(waits and written for waits, _, written in shown)
    assert f"Section {number}: succeeded" in said(page.form) and "429 (" not in said(page.form)


def test_a_page_opened_anew_follows_the_child_that_runs(
    page: SectionPage, opened: Callable[..., SectionPage], sandbox: TestSandbox
) -> None:
    sandbox.control("POST", "faults", FIRST_WRITE | {"seconds": 3})
    hand = Hand(page.form)
    page.plan()
    hand.apply()
    again = opened()
    other = Hand(again.form)
    again.form.show()
    assert other.can_cancel
    page.form.wait(PATIENCE_S)
    again.form.wait(PATIENCE_S)
    assert "Section 01: succeeded" in said(again.form)
    assert len(run_folders(sandbox)) == 1


def test_a_page_that_is_withdrawn_while_its_child_runs_can_still_cancel_and_offers_nothing_later(
    page: SectionPage, sandbox: TestSandbox
) -> None:
    sandbox.control("POST", "faults", FIRST_WRITE)
    hand = Hand(page.form)
    page.plan()
    hand.apply()
    until(lambda: "sent …" in said(page.form))
    page.withdraw("the parameters have changed")
    assert not hand.can_apply and hand.can_cancel
    assert "the parameters have changed" in hand.says
    hand.cancel()
    page.form.wait(PATIENCE_S)
    assert "SANDBOX demo/acme · Section 01: interrupted" in said(page.form)
    hand.apply()
    assert not hand.can_apply and not page.form.follower.is_following
    assert "the parameters have changed" in hand.says
    assert len(run_folders(sandbox)) == 1
    page._withdrawn = None  # so that the fixture can end it


def test_a_form_that_is_shown_twice_has_one_set_of_controls(page: SectionPage) -> None:
    """Otherwise the controls that were shown first would stay as they were."""
    assert page.form.panel is page.form.panel


def test_the_form_of_a_live_site_says_so(tmp_path: Path) -> None:
    form = ApplyForm(
        "live", "bigtel/acme", tmp_path, tmp_path, Served(tmp_path, None), *[lambda: True] * 3, can_apply=True
    )
    assert "LIVE bigtel/acme" in form.html() and "LIVE bigtel/acme" in form.text()


def test_where_the_site_wants_approval_the_form_says_how_and_passes_a_given_one_on(
    opened: Callable[..., SectionPage], sandbox: TestSandbox
) -> None:
    site = sandbox.root / "strict.yaml"
    site.write_text(
        (sandbox.root / SITE).read_text().replace("  policies:\n", "  policies:\n    approval: required\n")
    )
    page = opened(site="strict.yaml")
    hand = Hand(page.form)
    page.plan()
    assert "Approval is missing" in page.form.text()
    [path] = sandbox.root.glob("records/demo/acme/*/01.plan-*.json")  # the page has written it
    assert f"runbook approve {path.relative_to(sandbox.root)} --ticket TICKET" in hand.says
    assert not hand.can_apply
    hand.apply()
    assert hand.view["run"] is None
    plan = page._runbook.plan_of(page._run.plan())
    (sandbox.root / "approved.json").write_text(json.dumps(plan.to_document()))
    approval = {"plan_file": "approved.json", "approved_plan": plan.digest, "approved_by": "pat"}
    page = opened(site="strict.yaml", **approval)
    hand = Hand(page.form)
    page.plan()
    assert "--plan approved.json" in page.form.html() and "--approved-by pat" in page.form.html()
    hand.apply()
    page.form.wait(PATIENCE_S)
    assert "Section 01: succeeded" in said(page.form), said(page.form)
    (folder,) = run_folders(sandbox)
    assert json.loads((folder / "record.json").read_text())["approver"]["by"]["who"] == "pat"
    site.unlink()
    (sandbox.root / "approved.json").unlink()


def test_blocked_rows_offer_nothing(opened: Callable[..., SectionPage]) -> None:
    page = opened("02")
    page.plan()
    hand = Hand(page.form)
    assert "in conflict or blocked" in page.form.text()
    assert not hand.can_apply
    hand.apply()
    assert hand.view["run"] is None


def test_a_child_that_is_refused_at_once_tells_why_without_secrets(
    page: SectionPage, sandbox: TestSandbox
) -> None:
    remember("Canary-in-a-file-name", "env:FORM_CANARY")
    order = Order("01", SITE, "parameters/Canary-in-a-file-name.yaml", NO_APPROVAL)
    records = sandbox.root / "records" / "demo" / "acme"
    started = child.start(order, sandbox.root, records)
    followers = [Follower(records, lambda: None, lambda: None) for _ in range(2)]  # as of two pages
    for follower in followers:
        follower.follow(started)
    for follower in followers:
        follower.wait(PATIENCE_S)
        status = follower.status
        assert status is not None and status.state == "failed"
        assert "[env:FORM_CANARY]" in status.told and "Canary-in" not in status.told


def test_parameters_that_papermill_passed_as_content_become_files(
    opened: Callable[..., SectionPage], sandbox: TestSandbox
) -> None:
    from ruamel.yaml import YAML

    content = [YAML(typ="safe").load(sandbox.root / one) for one in (SITE, ACME)]
    page = opened("01", *content)
    hand = Hand(page.form)
    page.plan()
    hand.apply()
    page.form.wait(PATIENCE_S)
    assert "Section 01: succeeded" in said(page.form), said(page.form)


def test_the_way_back_is_started_by_its_own_commands(
    opened: Callable[..., SectionPage], sandbox: TestSandbox
) -> None:
    def applied(number: str) -> str:
        page = opened(number, leave=number != "01")
        hand = Hand(page.form)
        page.plan()
        offered = page.form.html()
        assert hand.can_apply, offered
        hand.apply()
        page.form.wait(PATIENCE_S)
        assert f"Section {number}: succeeded" in said(page.form), said(page.form)
        has_trunk = "acme-pbx.pstn.twilio.com" in sandbox.vendors.trunk_sids()
        assert has_trunk == (number == "01"), sandbox.writes()
        return offered

    applied("01")
    (folder,) = run_folders(sandbox)
    assert f"runbook rollback {folder.name} -s" in applied("90")
    applied("01")
    assert "runbook retire -s" in applied("91")


def test_a_shared_trunk_is_named_as_the_command_names_it() -> None:
    order = Order("01", SITE, "trunk:carrier", NO_APPROVAL)
    assert order.command == f"runbook apply -s {SITE} --trunk carrier --section 01"


def test_what_interrupts_calls_is_named_and_has_to_be_ticked(
    opened: Callable[..., SectionPage], sandbox: TestSandbox
) -> None:
    page = opened()
    page.plan()
    Hand(page.form).apply()
    page.form.wait(PATIENCE_S)
    page = opened("91")  # without accept_interruption in its parameters
    hand, plan = Hand(page.form), page.plan()
    assert "needs permission" in set(plan.frame.Action) and "conflict" not in set(plan.frame.Action)
    assert re.search(r"I accept that calls are interrupted: \d", hand.view["form"]["permission"])
    hand.apply(permission=False)
    assert hand.view["refused"] and hand.view["run"] is None
    assert "acme-pbx.pstn.twilio.com" in sandbox.vendors.trunk_sids()
    hand.apply(permission=True)
    page.form.wait(PATIENCE_S)
    assert "Section 91: succeeded" in said(page.form), said(page.form)
    assert "acme-pbx.pstn.twilio.com" not in sandbox.vendors.trunk_sids()


def test_an_approval_is_noticed_when_it_arrives(
    opened: Callable[..., SectionPage], sandbox: TestSandbox, tmp_path: Path
) -> None:
    key = tmp_path / "pat"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", key], check=True)
    public = key.with_suffix(".pub").read_text()
    (sandbox.root / "signers").write_text(f'pat@example.com namespaces="{NAMESPACE}" {public}')
    policies = "  policies:\n    approval: two-person\n    allowed_signers: signers\n"
    (sandbox.root / "strict.yaml").write_text(
        (sandbox.root / SITE).read_text().replace("  policies:\n", policies)
    )
    page = opened(site="strict.yaml")
    page.plan()
    hand = Hand(page.form)
    assert not hand.can_apply
    [path] = sandbox.root.glob("records/demo/acme/*/01.plan-*.json")
    statement = Statement.over([read_plan(path)], "CHG-7", 7)
    sign_statement(approval_beside(path), statement, key)
    page._look_for_approval()
    assert hand.can_apply and "pat@example.com" in hand.says
    hand.apply()
    page.form.wait(PATIENCE_S)
    assert "Section 01: succeeded" in said(page.form), said(page.form)
    (folder,) = run_folders(sandbox)
    record = json.loads((folder / "record.json").read_text())
    assert record["approver"]["by"]["who"] == "pat@example.com" and record["ticket"] == "CHG-7"
    for name in ("strict.yaml", "signers"):
        (sandbox.root / name).unlink()


def test_a_cell_that_waits_because_a_vendor_asked_for_it_says_so_once(
    page: SectionPage, sandbox: TestSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[Any] = []
    monkeypatch.setattr("IPython.display.display", lambda *what, **_: shown.extend(what))
    fault = {"vendor": "twilio", "method": "GET", "path": "/v1/Trunks$", "kind": "status", "status": 429}
    for _ in range(2):
        sandbox.control("POST", "faults", fault)
    page.plan()
    [told] = [one.text() for one in shown]
    assert "Twilio" in told and re.search(r"\d\d:\d\d:\d\d UTC", told)
    page._runbook.context.moment.begin()
    shown.clear()
    page.plan()
    assert shown == []


def test_a_page_without_anything_to_apply_has_no_controls_and_no_empty_journal(
    opened: Callable[..., SectionPage],
) -> None:
    """Section 00 only reads; and before a plan, the closing box does not say that one was made."""
    reading = opened("00")
    reading.plan()
    assert reading.form.panel.view["form"] is None and reading.form.panel.view["box"] == ""
    for page in (reading, opened("01")):
        closing = page.finish().text()
        assert "Journal" not in closing and "e3b0c442" not in closing
    assert "no plan was made" in closing
