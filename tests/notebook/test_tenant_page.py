"""A whole tenant on one page: what it offers, and the one run that it starts, on the sandbox."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest

from runbook_lib.errors import VerificationError
from runbook_lib.guide import RUN_ORDER, TRUNK_ORDER, WHOLE
from runbook_lib.keys import Why
from runbook_lib.notebook.child import Order
from runbook_lib.notebook.tables import verdict
from runbook_lib.notebook.tenant_page import TenantPage, _told
from runbook_lib.plan import Action, Effect, Row, Slice
from runbook_lib.records.verify import verify_records
from tests.conftest import CHECKOUT, TestSandbox

SITE = "parameters/sandbox/site.yaml"
NO_APPROVAL = {"plan_file": None, "approved_plan": None, "approved_by": None}
PATIENCE_S = 240.0


@pytest.fixture
def opened(sandbox: TestSandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., TenantPage]]:
    """Opens pages as JupyterLab does; whatever they started is ended."""
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))
    pages: list[TenantPage] = []

    def open_page(tenant: str = "globex", mode: str = "apply", *, watched: bool = True) -> TenantPage:
        site = str(sandbox.root / SITE)
        owner = tenant if ":" in tenant else str(sandbox.root / f"parameters/sandbox/{tenant}.yaml")
        pages.append(TenantPage(WHOLE, site, owner, mode, NO_APPROVAL, {}, watched=watched))
        return pages[-1]

    yield open_page
    for page in pages:
        if page.form is not None:
            page.form.cancel()
            page.form.wait(PATIENCE_S)
        page.finish()


def view(page: TenantPage) -> dict[str, Any]:
    return page.form.panel.view


def press(page: TenantPage, name: str) -> None:
    form = view(page)["form"]
    sent = {"do": "apply", "name": name, "offer": form["offer"], "permission": bool(form["permission"])}
    page.form.answered(sent | {"ticket": "CHG-9"})


def row(action: Action, why: Why | None = None, effect: Effect = Effect.NONE) -> Row:
    return Row("4.1", f"{action} {why}", "wanted", "current", action, why=why, effect=effect)


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [row(Action.IN_PLACE)],
        [row(Action.IN_PLACE), row(Action.NOT_MANAGED, Why.RINGS_NOWHERE)],
        [row(Action.IN_PLACE), row(Action.NOT_MANAGED, Why.NO_EMERGENCY_ADDRESS)],
        [row(Action.UPDATE)],
        [row(Action.UPDATE, effect=Effect.INTERRUPTS_INBOUND)],
        [row(Action.CONFLICT, Why.NO_LEAVE)],
        [row(Action.CONFLICT, Why.TAKEN)],
        [row(Action.BLOCKED)],
    ],
)
def test_its_last_box_is_as_urgent_as_the_verdict_above(rows: list[Row]) -> None:
    part = Slice(WHOLE, tuple(rows))
    assert _told(part)[0] == verdict(part).tone


def test_its_plan_is_that_of_the_command_in_the_order_of_the_run(
    opened: Callable[..., TenantPage], sandbox: TestSandbox
) -> None:
    page = opened()
    shown = page.plan()
    out = sandbox.root / "plans"
    environment = {**os.environ, **sandbox.environment, "PYTHONPATH": str(CHECKOUT)}
    command = [sys.executable, "-m", "runbook_lib", "plan", "-s", SITE, "parameters/sandbox/globex.yaml"]
    subprocess.run([*command, "--out", str(out)], cwd=sandbox.root, env=environment, capture_output=True)
    [document] = [json.loads(path.read_text()) for path in out.glob("*.plan.json")]
    order = shown["The order of the run"]
    assert [title[:2] for title in order["Section"]] == [part["section"] for part in document["slices"]]
    assert [part["section"] for part in document["slices"]] == [*RUN_ORDER]
    for part in document["slices"]:
        frame = shown[part["section"]]
        assert len(frame) == len(part["rows"])
        assert sorted(map(str, frame["Setting"])) == sorted(row["setting"] for row in part["rows"])
    assert view(page)["form"]["name"] == "demo/globex"
    assert document["digest"] in view(page)["box"].replace("<wbr>", "")
    assert sandbox.writes() == []


def test_one_apply_is_one_run_of_all_sections_with_one_record(
    opened: Callable[..., TenantPage], sandbox: TestSandbox
) -> None:
    page = opened()
    page.plan()
    press(page, "globex")  # the tenant's name alone starts nothing
    assert view(page)["refused"] and page.form.follower.run is None
    press(page, "demo/globex")
    page.form.wait(PATIENCE_S)
    assert page.form.follower.status.state == "succeeded", page.form.status.text()
    [record] = sandbox.root.glob("records/demo/globex/*/record.json")
    content = json.loads(record.read_text())
    assert content["order"] == [*RUN_ORDER] and content["outcome"] == "succeeded"
    assert content["ticket"] == "CHG-9" and content["changes"]
    # Numbers are pointed at the trunk last.
    sections = [change["section"] for change in content["changes"]]
    assert sections == sorted(sections, key=RUN_ORDER.index) and sections[-1] == "04"
    assert verify_records(sandbox.root / "records").problems == ()
    # What the page offers and shows afterwards is read again.
    assert "SANDBOX demo/globex" in page.form.status.text()
    assert page.plan()["The order of the run"]["To apply"].sum() == 0
    assert view(page)["form"] is None
    read_back = page.verify()
    assert [caption[:2] for caption in read_back] == [*RUN_ORDER]
    assert not {"differs", "not yet"} & {
        value for number in RUN_ORDER for value in read_back[number]["Result"]
    }


def test_a_change_that_interrupts_calls_has_to_be_allowed(
    opened: Callable[..., TenantPage], sandbox: TestSandbox
) -> None:
    numbers = sandbox.control("GET", "state").json()["twilio"]["numbers"].values()
    sid = next(number["sid"] for number in numbers if number["phone_number"] == "+12025550105")
    patch = {"vendor": "twilio", "kind": "numbers", "id": sid, "set": {"voice_url": "https://ivr.example/"}}
    sandbox.control("POST", "state/patch", patch)
    page = opened()
    page.plan()
    assert view(page)["form"] is None  # in conflict: another service answers this number
    path = sandbox.root / "parameters/sandbox/globex.yaml"
    path.write_text(
        path.read_text().replace("  concurrency: 30\n", '  concurrency: 30\n  move: ["+12025550105"]\n')
    )
    page = opened()
    page.plan()
    assert "inbound" in view(page)["form"]["permission"]
    sandbox.clear_log()
    form = view(page)["form"]
    page.form.answered({"do": "apply", "name": "demo/globex", "offer": form["offer"], "permission": False})
    assert view(page)["refused"] and page.form.follower.run is None and sandbox.writes() == []


def test_the_command_is_that_of_the_whole_tenant() -> None:
    approval = {"plan_file": "p.json", "approved_plan": "sha256:0", "approved_by": "ann"}
    order = Order(WHOLE, "s.yaml", "t.yaml", approval, {"accept_interruption": True})
    given = ["--plan", "p.json", "--approved-plan", "sha256:0", "--approved-by", "ann"]
    assert order.arguments == ["apply", "-s", "s.yaml", "t.yaml", "--accept-interruption", *given]
    shared = Order(WHOLE, "s.yaml", "trunk:carrier", NO_APPROVAL)
    assert shared.arguments == ["apply", "-s", "s.yaml", "--trunk", "carrier"]


def test_a_shared_trunk_has_its_own_sections(opened: Callable[..., TenantPage]) -> None:
    page = opened("trunk:carrier")
    order = page.plan()["The order of the run"]
    assert [title[:2] for title in order["Section"]] == [*TRUNK_ORDER]


def test_a_verification_fails_on_what_differs(opened: Callable[..., TenantPage]) -> None:
    with pytest.raises(VerificationError):
        opened(mode="verify", watched=False).verify()
    assert opened(mode="plan", watched=False).verify().parts[0].tone == "info"


def test_unattended_it_plans_and_never_applies(sandbox: TestSandbox, tmp_path: Path) -> None:
    def papermill(mode: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "papermill", "--no-progress-bar", "--engine", "runbook"]
        environment = {**os.environ, **sandbox.environment, "PYTHONPATH": str(CHECKOUT)}
        output = tmp_path / f"{mode}.ipynb"
        given = ["-p", "site", SITE, "-p", "tenant", "parameters/sandbox/globex.yaml", "-p", "mode", mode]
        ended = subprocess.run(
            [*command, str(sandbox.root / "notebooks/tenant.ipynb"), str(output), *given],
            cwd=sandbox.root,
            env=environment,
            capture_output=True,
            text=True,
        )
        cells = nbformat.read(output, as_version=4).cells if output.exists() else []
        return ended.returncode, json.dumps(cells, ensure_ascii=False) + ended.stderr

    status, shown = papermill("plan")
    assert status == 0, shown
    assert "The whole tenant planned: " in shown and "widget-view" not in shown
    status, shown = papermill("apply")
    assert status != 0 and "runbook apply -s SITE TENANT" in shown
    assert sandbox.writes() == [] and not list(sandbox.root.glob("records/demo/globex/*/opening.json"))
