"""What vendors return as names and messages does nothing: not on a page, in JupyterLab, CSV or a terminal."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from runbook_lib.batch.frame import SCRIPT
from runbook_lib.notebook.display import visible
from runbook_lib.notebook.tables import Stack, Table
from runbook_sandbox import demo
from tests.conftest import TestSandbox
from tests.notebooks.conftest import CHROMIUM, jupyterlab
from tests.notebooks.lab import PATIENCE_MS
from tests.test_cli import SITE, runbook

pytestmark = pytest.mark.skipif(
    CHROMIUM is None and not os.environ.get("CI"), reason="chromium is not installed; CI requires it"
)
SHORT = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</td></tr></table></pre><h1>out</h1>",
    "=cmd()",
    "\x1b[31mred\x1b[0m\x1b]0;title\x07",
    "abc\u202etxt.exe\u2066\u200f",
    "[bold red]markup[/]",
    "javascript:alert(1)",
)
ALL = " ".join(SHORT)
LONG = "=" + "x" * 9_999
TRUNK, LIST, USERS, OURS = "TK" + "a" * 32, "AL" + "a" * 32, "CL" + "a" * 32, "CL" + "b" * 32
#: Of these, no page may hold one: they could only have come from a vendor's text.
FOREIGN = "script, img, iframe, object, embed, link, form, [onerror], [onclick], a[href^='javascript']"


def plant(sandbox: TestSandbox) -> None:
    """Put the strings wherever a vendor's text is shown in the acme tenant's run."""

    def patch(vendor: str, kind: str, **what: object) -> None:
        sandbox.control("POST", "state/patch", {"vendor": vendor, "kind": kind, **what})

    dated = {"date_created": "2025-03-14T09:26:53Z", "date_updated": "2025-03-14T09:26:53Z"}
    own = demo.trunk_row(TRUNK, "PortSIP acme", "acme-pbx.pstn.twilio.com")
    patch("twilio", "account", set={"friendly_name": ALL})
    patch("twilio", "trunks", add=own)
    patch("twilio", "trunks", id=demo.LEGACY_TRUNK_SID, set={"friendly_name": ALL})
    patch("twilio", "ip_access_control_lists", add={"sid": LIST, "friendly_name": LONG, **dated})
    patch("twilio", "trunk_ip_access_control_lists", add={"trunk_sid": TRUNK, "sid": LIST, **dated})
    patch("twilio", "credential_lists", add={"sid": USERS, "friendly_name": f"n2 {ALL}", **dated})
    patch("twilio", "trunk_credential_lists", add={"trunk_sid": TRUNK, "sid": USERS, **dated})
    ours = {"sid": OURS, "friendly_name": "acme-pbx credentials", **dated}
    patch("twilio", "credential_lists", add=ours)
    patch("twilio", "trunk_credential_lists", add={"trunk_sid": TRUNK, "sid": OURS, **dated})
    user = {"credential_list_sid": OURS, "username": f"n3 {ALL}", "password": "Some-Passw0rd-1", **dated}
    patch("twilio", "credentials", add=user)
    url = {"trunk_sid": TRUNK, "friendly_name": f"n4 {ALL}", "sip_url": "sip:sbc.legacy.example", **dated}
    patch("twilio", "origination_urls", add={**url, "priority": 10, "weight": 10, "enabled": True})
    number = demo.number_sid("+12025550101")
    patch("twilio", "numbers", id=number, set={"friendly_name": ALL, "voice_url": f"https://n5/{ALL}"})
    patch("portsip", "tenants", id=demo.TENANTS["acme"], set={"name": ALL})
    patch("portsip", "providers", id=demo.ACME_GENERIC_TRUNK_ID, set={"name": f"n6 {ALL}"})
    patch("portsip", "providers", id=demo.TELNYX_TRUNK_ID, set={"name": ALL})
    patch("portsip", "inbound_rules", id="830000000000000001", set={"name": LONG})
    patch("portsip", "outbound_rules", id="840000000000000001", set={"name": f"n7 {ALL}"})


@pytest.fixture
def tenant(tmp_path: Path, sandbox: TestSandbox) -> str:
    text = (sandbox.root / "parameters/sandbox/acme.yaml").read_text()
    leave = '  accept_interruption: true\n  accept_unrouted: true\n  move: ["+12025550101"]\n'
    path = tmp_path / "acme.yaml"
    path.write_text(text + leave)
    return str(path)


@pytest.fixture
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def says(sandbox: TestSandbox, status: int, *arguments: str) -> str:
    """Run a command; return what it prints, which acts on no terminal."""
    ended = runbook(sandbox, *arguments)
    told = ended.stdout + ended.stderr
    assert ended.returncode == status, told
    acting = {one for one in told if unicodedata.category(one) in ("Cc", "Cf", "Cs")} - {"\n"}
    assert acting == set(), arguments
    return told


def watched(page: Page, address: str) -> list[str]:
    """Collect what a page must not do: dialogs, and requests other than for the file itself."""
    done: list[str] = []
    page.on("dialog", lambda dialog: (done.append(f"dialog {dialog.message}"), dialog.dismiss()))
    page.on("request", lambda request: done.append(request.url) if request.url != address else None)
    return done


def solid(text: str) -> str:
    """The text without the line breaks of a narrow cell."""
    return "".join(text.split())


def refuse(sandbox: TestSandbox, vendor: str, **where: str) -> None:
    fault = {"vendor": vendor, "kind": "status", "status": 400, "message": f"{vendor} told {ALL}", **where}
    sandbox.control("POST", "faults", fault)


def landline(sandbox: TestSandbox, **fields: str) -> None:
    """Change the tenant's PBX trunk of another maker."""
    what = {"vendor": "portsip", "kind": "providers", "id": demo.ACME_GENERIC_TRUNK_ID}
    sandbox.control("POST", "state/patch", {**what, "set": fields})


def test_what_vendors_name_things_does_nothing_anywhere(
    sandbox: TestSandbox, tenant: str, browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(sandbox)
    monkeypatch.setenv("RUNBOOK_TICKET", f"CHG {ALL}")
    monkeypatch.setenv("RUNBOOK_REASON", LONG)
    who = ("-s", SITE, tenant)
    assert "src=x onerror=alert(1)>" in says(sandbox, 2, "plan", *who)
    landline(sandbox, brand="Twilio", did_numbers="12025550101")  # in conflict with the tenant's pool
    assert solid(visible(f"n6 {ALL}")) in solid(says(sandbox, 1, "plan", *who))
    says(sandbox, 1, "apply", *who)
    landline(sandbox, brand="Generic", did_numbers="13125550140")
    for vendor, path in (("twilio", "^/v1/Trunks"), ("portsip", "/providers")):
        refuse(sandbox, vendor, method="GET", path=path)
        assert visible(f"{vendor} told {ALL}") in says(sandbox, 1, "plan", *who)
    for vendor, path in (("twilio", "OriginationUrls$"), ("portsip", "/providers$")):
        refuse(sandbox, vendor, method="POST", path=path)
        says(sandbox, 1, "apply", *who)
    says(sandbox, 0, "apply", *who)
    run = max(sandbox.root.glob("records/demo/acme/*/record.json")).parent
    for command in (["list"], ["show", run.name], ["export", run.name, str(tmp_path / "record.zip")]):
        says(sandbox, 0, "records", *command)
    says(sandbox, 2, "rollback", run.name)
    says(sandbox, 0, "rollback", run.name, "--apply", "--accept-interruption")
    assert json.loads((run / "record.json").read_text())["ticket"] == f"CHG {ALL}"

    # Without the pages' own policy: what is shown is inert by itself.
    context = browser.new_context(bypass_csp=True, viewport={"width": 1280, "height": 900})
    pages = sorted((sandbox.root / "records").rglob("*.html"))
    shown = ""
    for path in pages:
        page = context.new_page()
        done = watched(page, path.as_uri())
        page.goto(path.as_uri())
        # The page over all records has one script, our own.
        own = [SCRIPT] if path.parent.name == "records" else []
        assert page.locator("script").all_text_contents() == own, path
        assert page.locator(FOREIGN).count() == len(own), path
        assert page.locator("h1", has_text=re.compile("^out$")).count() == 0, path
        # 10,000 characters on one line would be 70,000 pixels.
        assert page.evaluate("document.documentElement.scrollWidth") < 1400, path
        shown += solid(page.evaluate("document.body.textContent"))
        assert done == [], path
        page.close()
    assert len(pages) > 12
    told = [*(f"n{number} {ALL}" for number in (2, 3, 4, 6, 7)), f"n5/{ALL}", LONG]
    told += [f"{vendor} told {ALL}" for vendor in ("twilio", "portsip")]
    assert [one for one in told if solid(visible(one)) not in shown] == []


@pytest.fixture(scope="module", autouse=True)
def _own_signatures(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What is trusted here is trusted nowhere else."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_DATA_DIR", str(tmp_path_factory.mktemp("jupyter")))
        yield


@pytest.fixture
def lab(sandbox: TestSandbox, tmp_path: Path) -> Iterator[str]:
    """The address of a JupyterLab of this file's own, which knows what is trusted here."""
    with jupyterlab(sandbox, tmp_path) as address:
        yield address


def test_a_trusted_notebook_does_nothing_in_jupyterlab(
    sandbox: TestSandbox, lab: str, browser: Browser
) -> None:
    plant(sandbox)
    source, opened = sandbox.root / "notebooks/02_trunk_termination.ipynb", sandbox.root / "hostile.ipynb"
    opened.unlink(missing_ok=True)
    papermill = [sys.executable, "-m", "papermill", "--engine", "runbook", "--no-progress-bar"]
    subprocess.run([*papermill, str(source), str(opened)], cwd=sandbox.root, check=True, capture_output=True)
    subprocess.run([sys.executable, "-m", "jupyter", "trust", str(opened)], check=True, capture_output=True)
    page = browser.new_page(viewport={"width": 1300, "height": 5000})
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    page.goto(f"{lab}/lab/tree/{opened.name}?reset", timeout=PATIENCE_MS)
    page.locator(".jp-RenderedHTML table").first.wait_for(timeout=PATIENCE_MS)
    expect(page.locator(".jp-RenderedHTML:not(.jp-mod-trusted) table")).to_have_count(0)
    assert page.locator(".jp-OutputArea").locator(FOREIGN).count() == 0
    shown = solid(" ".join(page.locator(".jp-RenderedHTML").all_text_contents()))
    assert solid(visible(f"n2 {ALL}")) in shown and LONG in shown
    for output in page.locator(".jp-RenderedHTML").all():
        # A table of many columns may scroll a little; 10,000 characters on one line are 70,000 pixels.
        assert output.evaluate("one => one.scrollWidth") < 1300
    assert dialogs == []
    shutil.rmtree(sandbox.root / "records", ignore_errors=True)


@pytest.mark.parametrize(
    "text", [*SHORT, LONG, "+12025550101", "-1+1", "@SUM(1)", "\t=1", "\r=1", " =1", "＝1"]
)
def test_no_cell_of_a_csv_is_a_formula(text: str, tmp_path: Path) -> None:
    tables = Stack(
        (Table(text, ("Name", text), [(text, None), ("plain", 10)]), Table("Two", ("A",), [(True,)]))
    )
    path = tables.csv(tmp_path / "plan.csv")
    with path.open(encoding="utf-8-sig", newline="") as file:
        read = list(csv.reader(file))
    bare = visible(text)
    expected = f"'{bare}" if bare.lstrip()[0] in "=+-@＝" else bare
    assert read == [
        [expected],
        ["Name", expected],
        [expected, "absent"],
        ["plain", "10"],
        [],
        ["Two"],
        ["A"],
        ["on"],
    ]
    assert not any(cell[:1] in ("=", "+", "-", "@", "\t", "\r") for row in read for cell in row)
    with pytest.raises(FileExistsError):
        tables.csv(path)
